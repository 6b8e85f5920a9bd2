//! What is written is read back as it was, and nothing else is read at all.

use std::sync::Arc;
use std::time::Duration;

use kapelle_domain::attempt::{
    Check, Outcome, ProcessExit, Report, Usage, Verdict as Checked, WorkResult,
};
use kapelle_domain::command::{Command, CommandAnswer, CommandKind, CommandState};
use kapelle_domain::engine::{
    Answer, Claim, Directives, Grant, HeldVerdict, Holder, Rejection, Standing, Verdict,
    WorkerRequest,
};
use kapelle_domain::ids::{
    CommandSeq, Fence, OfferSeq, RequestId, RunId, SessionEpoch, TaskId, Term, Timestamp,
};
use kapelle_domain::worker::{Duty, Held, Program, ProgramState, Registration};
use kapelle_proto::v1;
use prost::Message as _;

use super::*;
use crate::conformance::{attempt, holder, offer, some_receipt, some_status, worker};
use crate::control::{
    CommandState as Receipted, Encoding, FeedbackAction, Only, Order, Receipt, Status, Target,
    Unusable,
};
use crate::subject::{AgentName, ControlVerb, RpcVerb};
use crate::{OutputChunk, OutputLane, OutputLine, Poke, Refusal, Reply};

const TERM: Term = Term(7);

fn work() -> WorkResult {
    WorkResult {
        commit: "c".repeat(40),
        base: "b".repeat(40),
        bundle: "r-1-t0-1.bundle".to_owned(),
        bundle_bytes: u64::MAX,
        files_changed: 3,
        lines_added: 4,
        lines_deleted: 5,
    }
}

fn report(outcome: Outcome) -> Report {
    Report {
        outcome,
        summary: "grün".to_owned(),
        exit: Some(ProcessExit { code: None, signal: Some(-9) }),
        verdict: Checked::Unknown,
        checks: vec![Check {
            name: "tests".to_owned(),
            verdict: Checked::Fail,
            detail: "1 of 2\nfailed".to_owned(),
            took: Duration::from_millis(1_500),
        }],
        result: Some(work()),
        usage: Usage { input_tokens: 1, output_tokens: 2, cost_microusd: Some(0) },
    }
}

fn registration() -> Registration {
    let program = |state| Program { agent: "coder".into(), version: Some("1.2".to_owned()), state };
    Registration {
        labels: [("os".to_owned(), "linux".to_owned()), ("gpu".to_owned(), String::new())].into(),
        programs: vec![
            program(ProgramState::Installed),
            program(ProgramState::LoggedOut),
            Program { version: None, ..program(ProgramState::Missing) },
        ],
        cached: vec!["/srv/project".into()],
        inventory: vec![Held { attempt: attempt(7), fence: Fence(9) }],
        ..Registration::new(worker("w"), 4, vec!["coder".into(), "painter".into()])
    }
}

fn requests() -> Vec<WorkerRequest> {
    let (name, session) = (worker("w"), SessionEpoch(u64::MAX));
    let held = vec![Held { attempt: attempt(1), fence: Fence(2) }];
    let outcomes = [
        Outcome::Completed,
        Outcome::ChecksFailed,
        Outcome::AgentFailed,
        Outcome::TimedOut,
        Outcome::RateLimited { retry_after: Duration::from_secs(90) },
        Outcome::Infrastructure,
        Outcome::Unrunnable,
        Outcome::Cancelled,
        Outcome::Lost,
        Outcome::Interrupted,
        Outcome::Withdrawn,
    ];
    let finished = outcomes.map(|outcome| WorkerRequest::Finished {
        holder: holder(),
        report: Arc::new(report(outcome)),
    });
    let refused = CommandAnswer::Refused { reason: "it sleeps".to_owned() };
    let answered = [CommandAnswer::Applied, refused].map(|answer| WorkerRequest::Answered {
        holder: holder(),
        seq: CommandSeq(3),
        answer,
    });
    let mut requests = vec![
        WorkerRequest::Register(registration()),
        WorkerRequest::Heartbeat { worker: name.clone(), session, held },
        WorkerRequest::Drain { worker: name.clone(), session },
        WorkerRequest::Leave { worker: name.clone(), session },
        WorkerRequest::Claim(Claim {
            request: RequestId(5),
            attempt: attempt(1),
            offer: OfferSeq(6),
            worker: name,
            session,
        }),
        WorkerRequest::Started(holder()),
        WorkerRequest::Look(holder()),
        WorkerRequest::Snapshot { holder: holder(), work: work() },
    ];
    requests.extend(finished);
    requests.extend(answered);
    requests
}

fn command(kind: CommandKind, state: CommandState, bytes: usize) -> Command {
    let (seq, text, at) = (CommandSeq(8), "x".repeat(bytes), Timestamp(-1));
    Command { seq, kind, text, at, state, request: None }
}

fn answers() -> Vec<Reply> {
    let verdict = |verdict| HeldVerdict { attempt: attempt(2), verdict };
    let standing = |duty| Standing {
        verdicts: vec![verdict(Verdict::Keep), verdict(Verdict::Look), verdict(Verdict::Fenced)],
        classes: vec!["coder".parse().expect("a class")],
        duty,
    };
    let to = TaskId { run: RunId(4), index: 2 };
    let commands = [
        CommandKind::Feedback,
        CommandKind::Restart,
        CommandKind::Redirect { to },
        CommandKind::Stop,
        CommandKind::Pause,
        CommandKind::Resume,
        CommandKind::Ping,
    ];
    let states = [CommandState::Accepted, CommandState::Delivered { attempt: 2 }];
    let commands = commands.into_iter().zip(states.into_iter().cycle());
    let commands = commands.map(|(kind, state)| command(kind, state, 10)).collect();
    let grant = Grant {
        attempt: attempt(1),
        fence: Fence(2),
        key: "1.2".to_owned(),
        title: "Do it".to_owned(),
        agent: "coder".into(),
        repository: "/srv/project".into(),
        prompt: "Please do it.".to_owned(),
        base: Some("b".repeat(40)),
        snapshot: Some(work()),
        verify: true,
        timeout: Duration::from_secs(1_800),
        lost_after: Duration::from_secs(600),
    };
    let bare = Grant { base: None, snapshot: None, verify: false, ..grant.clone() };
    let superseded = Rejection::SupersededSession { worker: worker("w") };
    vec![
        Ok(Answer::Done),
        Ok(Answer::Registered { session: SessionEpoch(3), standing: standing(Duty::Active) }),
        Ok(Answer::Heard(standing(Duty::Cordoned))),
        Ok(Answer::Heard(standing(Duty::Draining))),
        Ok(Answer::Granted(Box::new(grant))),
        Ok(Answer::Granted(Box::new(bare))),
        Ok(Answer::Directives(Directives { cancel: None, paused: true, commands })),
        Ok(Answer::Directives(Directives {
            cancel: Some("enough".to_owned()),
            ..Directives::default()
        })),
        Ok(Answer::Orphaned),
        Err(Refusal::Rejected(superseded)),
        Err(Refusal::Rejected(Rejection::Fenced { attempt: attempt(1), fence: Fence(2) })),
        Err(Refusal::Unavailable { reason: "the disk is full".to_owned() }),
    ]
}

#[test]
fn requests_are_read_as_they_were_written() {
    for request in requests() {
        let bytes = encode_request(&request);
        assert_eq!(decode_request(verb(&request), &bytes), Ok(Some(request)));
    }
    assert_eq!(decode_request(RpcVerb::Hello, b""), Ok(None));
}

#[test]
fn answers_are_read_as_they_were_written() {
    let read = |bytes: &[u8]| decode_answer(bytes).map(|read| (read.term, read.answered));
    for answer in answers() {
        let bytes = encode_answer(TERM, Some(answer.clone()), 10_000).expect("it fits");
        assert_eq!(read(&bytes), Ok((TERM, Answered::With(answer))));
    }
    let dropped = encode_answer(TERM, None, 10_000).expect("it fits");
    assert_eq!(read(&dropped), Ok((TERM, Answered::Dropped)));
    let unreadable = encode_unreadable(TERM, "why".to_owned());
    assert_eq!(read(&unreadable), Ok((TERM, Answered::Unreadable("why".to_owned()))));
}

#[test]
fn messages_are_read_as_they_were_written() {
    let given = offer(3, "coder");
    assert_eq!(decode_offer(given.class.clone(), &encode_offer(&given)), Ok(given));
    for poke in [Poke::Attempt(attempt(1)), Poke::Hail] {
        assert_eq!(decode_poke(&encode_poke(poke)), Ok(poke));
    }
    let line = |lane| OutputLine { at: Timestamp(1), lane, text: "a\u{0}b".to_owned() };
    let lanes = [OutputLane::Stdout, OutputLane::Stderr, OutputLane::Agent, OutputLane::Worker];
    let chunk = OutputChunk { holder: holder(), first: 5, lines: lanes.map(line).into() };
    assert_eq!(decode_output(&encode_output(&chunk)), Ok(chunk));
    for reply in [Answered::With(0), Answered::Dropped, Answered::Unreadable("why".to_owned())] {
        let read = decode_output_reply(&encode_output_reply(TERM, reply.clone()));
        assert_eq!(read, Ok(InTerm { term: TERM, answered: reply }));
    }
}

#[test]
fn what_says_nothing_has_no_meaning() {
    for &verb in RpcVerb::ALL {
        let empty = decode_request(verb, b"");
        match verb {
            RpcVerb::Hello => assert_eq!(empty, Ok(None)),
            // These name a worker, and an empty name is nobody's.
            RpcVerb::Heartbeat | RpcVerb::Drain | RpcVerb::Leave | RpcVerb::Register => {
                let request = empty.expect("it is whole").expect("a request");
                assert_eq!(request.worker().0, "");
            }
            RpcVerb::Claim
            | RpcVerb::Started
            | RpcVerb::Finished
            | RpcVerb::Look
            | RpcVerb::Answered
            | RpcVerb::Snapshot => assert!(empty.is_err(), "{verb:?}: {empty:?}"),
        }
    }
    assert!(decode_answer(b"").is_err());
    assert!(decode_poke(b"").is_err(), "an empty poke is none, and hails nobody");
    assert!(decode_offer("coder".parse().expect("a class"), b"").is_err());
    assert!(decode_output(b"").is_err());
    assert!(decode_output_reply(b"").is_err());
}

#[test]
fn unknown_values_are_refused() {
    let finished = |outcome, verdict| {
        let report = v1::Report { outcome, verdict, ..v1::Report::default() };
        let holder = Some(super::ids::holder(&holder()));
        v1::FinishedRequest { holder, report: Some(report) }.encode_to_vec()
    };
    assert!(decode_request(RpcVerb::Finished, &finished(1, 1)).is_ok());
    for (outcome, verdict) in [(0, 1), (99, 1), (-1, 1), (1, 0), (1, 99)] {
        let read = decode_request(RpcVerb::Finished, &finished(outcome, verdict));
        assert!(matches!(read, Err(Malformed::Unknown { .. })), "{read:?}");
    }
    let rejected = v1::answer::Kind::Rejected(v1::Rejected {
        code: "later_invention".to_owned(),
        message: "words".to_owned(),
        detail: r#"{"code":"later_invention"}"#.to_owned(),
    });
    let bytes = v1::Answer { term: 1, kind: Some(rejected) }.encode_to_vec();
    let error = decode_answer(&bytes).expect_err("nobody knows it").to_string();
    assert!(error.contains("later_invention") && error.contains("words"), "{error}");
}

#[test]
fn damaged_bytes_never_panic() {
    for request in requests() {
        let bytes = encode_request(&request);
        for length in 0..bytes.len() {
            drop(decode_request(verb(&request), &bytes[..length]));
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            drop(decode_request(verb(&request), &damaged));
            drop(decode_answer(&damaged));
            drop(decode_output(&damaged));
        }
    }
}

#[test]
fn of_too_many_commands_the_first_are_sent() {
    let long = |_| command(CommandKind::Feedback, CommandState::Accepted, 1_000);
    let commands: Vec<_> = (0..10).map(long).collect();
    let wanted = Directives { cancel: None, paused: false, commands: commands.clone() };
    let bytes = encode_answer(TERM, Some(Ok(Answer::Directives(wanted))), 3_500).expect("it fits");
    assert!(bytes.len() <= 3_500);
    let answered = decode_answer(&bytes).map(|read| read.answered);
    let Ok(Answered::With(Ok(Answer::Directives(read)))) = answered else { panic!("an answer") };
    assert_eq!(read.commands, commands[..3]);
}

#[test]
fn an_answer_that_does_not_fit_is_not_cut() {
    let reason = "x".repeat(1_000);
    let refusal = Err(Refusal::Unavailable { reason });
    let error = encode_answer(TERM, Some(refusal), 500).expect_err("it is too long");
    assert!(error.to_string().contains("500"), "{error}");
    let other = encode_answer(TERM, Some(Ok(Answer::Submitted(RunId(1)))), 500);
    assert!(other.is_err(), "no worker submits");
}

fn agent() -> AgentName {
    AgentName::new("coder-1.2-7f3a").expect("a name")
}

fn read(
    verb: ControlVerb,
    agent: Option<AgentName>,
    json: &str,
) -> Result<crate::control::ControlOrder, Unusable> {
    decode_control(verb, agent, Encoding::Json, json.as_bytes())
}

#[test]
fn control_requests_mean_the_same_in_both_encodings() {
    let only = Some(v1::Only { kind: Some(v1::only::Kind::Run("r-42".to_owned())) });
    let stop = v1::Stop { request_id: "s".to_owned(), reason: "no".to_owned(), only };
    let json = r#"{"request_id":"s","reason":"no","only":{"run":"r-42"}}"#;
    let as_json = read(ControlVerb::Stop, None, json).expect("a request");
    let bytes = stop.encode_to_vec();
    let as_protobuf = decode_control(ControlVerb::Stop, None, Encoding::Protobuf, &bytes);
    assert_eq!(as_protobuf.as_ref(), Ok(&as_json));
    assert_eq!(as_json.target, Target::Only(Only::Run("r-42".to_owned())));
    assert_eq!(as_json.request_id.as_deref(), Some("s"));

    let feedback = v1::Feedback {
        text: "edges".to_owned(),
        action: v1::FeedbackAction::Restart.into(),
        ..v1::Feedback::default()
    };
    let json = r#"{"feedback":"edges","action":"restart"}"#;
    let as_json = read(ControlVerb::Feedback, Some(agent()), json).expect("a request");
    let bytes = feedback.encode_to_vec();
    let as_protobuf =
        decode_control(ControlVerb::Feedback, Some(agent()), Encoding::Protobuf, &bytes);
    assert_eq!(as_protobuf.as_ref(), Ok(&as_json));
    let (text, action) = ("edges".to_owned(), FeedbackAction::Restart);
    assert_eq!(as_json.order, Order::Feedback { text, action });
    assert_eq!(as_json.target, Target::Agent(agent()));

    for json in [r#"{"new_work_stream":"1.3"}"#, r#"{"work_stream":"1.3","reason":""}"#] {
        let redirect = read(ControlVerb::Redirect, Some(agent()), json).expect("a request");
        let (work_stream, reason) = ("1.3".to_owned(), String::new());
        assert_eq!(redirect.order, Order::Redirect { work_stream, reason });
    }
    // A request without a body says nothing beyond its subject.
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        for &verb in ControlVerb::ALL {
            let read = decode_control(verb, Some(agent()), encoding, b"");
            let needs_more = matches!(verb, ControlVerb::Feedback | ControlVerb::Redirect);
            assert_eq!(read.is_err(), needs_more, "{verb:?}: {read:?}");
        }
    }
}

#[test]
fn unusable_control_requests_are_refused_with_a_reason() {
    use ControlVerb::{Feedback, Ping, Redirect, Stop};
    let long = format!(r#"{{"request_id":"{}"}}"#, "x".repeat(101));
    for (verb, agent, json, code, reason) in [
        (Stop, None, "{", "malformed", "EOF"),
        (Stop, None, "stop", "malformed", "JSON"),
        (Stop, None, "[1]", "malformed", "JSON"),
        (Stop, None, r#"{"reson":"typo"}"#, "malformed", "reson"),
        (Stop, None, r#"{"only":{}}"#, "malformed", "JSON"),
        (Stop, None, r#"{"only":{"run":"a","task":"b"}}"#, "malformed", "JSON"),
        (Stop, None, r#"{"only":{"planet":"mars"}}"#, "malformed", "planet"),
        (Stop, Some(agent()), r#"{"only":{"run":"r-1"}}"#, "only_for_one", "broadcast"),
        (Ping, None, &long, "too_long", "request_id"),
        (Feedback, None, r#"{"text":"  "}"#, "malformed", "`text` is empty"),
        (Feedback, None, r#"{"text":"a","action":"dance"}"#, "malformed", "dance"),
        (Feedback, None, r#"{"text":"a","feedback":"b"}"#, "malformed", "duplicate"),
        (Redirect, Some(agent()), "{}", "malformed", "`work_stream` is empty"),
        (Redirect, None, r#"{"work_stream":"1.3"}"#, "not_for_many", "redirect is for one"),
    ] {
        let error = read(verb, agent, json).expect_err(json);
        assert_eq!(error.code(), code, "{json}");
        assert!(error.to_string().contains(reason), "{json}: {error}");
    }
    let json = decode_control(Stop, None, Encoding::Protobuf, b"{\"reason\":\"no\"}");
    let error = json.expect_err("it is JSON").to_string();
    assert!(error.contains("content-type: application/json"), "{error}");
    let nothing = v1::Stop { only: Some(v1::Only { kind: None }), ..v1::Stop::default() };
    let read = decode_control(Stop, None, Encoding::Protobuf, &nothing.encode_to_vec());
    assert!(read.is_err(), "whom it leaves open, it doesn't mean everybody: {read:?}");
}

#[test]
fn receipts_and_statuses_say_the_same_in_both_encodings() {
    let receipt = some_receipt(Receipted::Carried);
    let json = encode_receipt(&receipt, Encoding::Json);
    assert_eq!(serde_json::from_slice::<Receipt>(&json).expect("JSON"), receipt);
    let read = v1::Receipt::decode(&*encode_receipt(&receipt, Encoding::Protobuf)).expect("bytes");
    assert_eq!((read.request_id.as_str(), read.agents, read.open), ("one", 1, 1));
    assert_eq!(read.commands[0].state(), v1::CommandState::Carried);

    let status = Status { worker: String::new(), ..some_status() };
    let json = encode_status(&status, Encoding::Json);
    assert_eq!(serde_json::from_slice::<Status>(&json).expect("JSON"), status);
    let read = v1::Status::decode(&*encode_status(&status, Encoding::Protobuf)).expect("bytes");
    assert_eq!((read.agent.as_str(), read.at_ms), ("coder-1.2-42-3-1", 5));
}

#[test]
fn a_holder_is_whole_or_none() {
    let Holder { attempt, .. } = holder();
    let holder =
        v1::Holder { attempt: Some(super::ids::attempt(attempt)), ..v1::Holder::default() };
    let bytes = v1::LookRequest { holder: Some(holder) }.encode_to_vec();
    assert!(decode_request(RpcVerb::Look, &bytes).is_ok());
    let bytes = v1::LookRequest { holder: Some(v1::Holder::default()) }.encode_to_vec();
    assert_eq!(decode_request(RpcVerb::Look, &bytes), Err(Malformed::Missing { field: "attempt" }));
}
