//! Messages that are not what they seem to be. Here everybody may send everything; what the server's
//! permissions keep away is tested in `permissions`.

use std::time::Duration;

use async_nats::{Client, HeaderMap};
use kapelle_bus::conformance::{
    Fabric as _, answer, attempt, classes, holder, next_offer, next_request, offer, soon, worker,
};
use kapelle_bus::nats::NatsCoordinator;
use kapelle_bus::{CoordinatorEnd as _, Error, Poke, Pokes as _, Taken as _, WorkerEnd as _};
use kapelle_domain::engine::{Answer, Holder, WorkerRequest};
use kapelle_domain::ids::Term;
use kapelle_proto::v1;
use prost::Message as _;

use crate::bus::Nats;

const SILENCE: Duration = Duration::from_millis(300);

/// A client that is neither coordinator nor worker.
async fn stranger(nats: &Nats, inbox: &str) -> Client {
    let options = async_nats::ConnectOptions::new().custom_inbox_prefix(inbox);
    options.connect(nats.server.url()).await.expect("connected")
}

fn look_of(worker: &str) -> Vec<u8> {
    let holder = v1::Holder {
        attempt: Some(v1::Attempt { run: 1, task: 0, number: 1 }),
        fence: 3,
        worker: worker.to_owned(),
        session: 1,
    };
    v1::LookRequest { holder: Some(holder) }.encode_to_vec()
}

fn unreadable(bytes: &[u8]) -> String {
    match v1::Answer::decode(bytes).expect("an answer").kind {
        Some(v1::answer::Kind::Unreadable(v1::Unreadable { reason })) => reason,
        other => panic!("{other:?}"),
    }
}

/// Makes sure that no request has come through but one that is asked now.
async fn only_honest_requests(nats: &Nats) {
    let honest = nats.worker(&worker("w")).await;
    let asked = honest.request(WorkerRequest::Look(holder()));
    let answered = answer(&nats.coordinator, Ok(Answer::Done));
    let (reply, request) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    assert_eq!((reply, request), (Ok(Ok(Answer::Done)), WorkerRequest::Look(holder())));
}

#[tokio::test]
async fn answers_go_to_the_workers_own_inbox_only() {
    let nats = Nats::new().await;
    let stranger = stranger(&nats, "_INBOX_w2").await;
    let elsewhere = [
        "orchestrator.worker.w1.poke",
        "_INBOX_w1.a.b",
        "_INBOX.a.b",
        "_INBOX_coordinator.none",
        "_INBOX_w22.a",
    ];
    let mut heard = Vec::new();
    for reply in elsewhere {
        heard.push(stranger.subscribe(reply).await.expect("subscribed"));
        let subject = "orchestrator.rpc.w2.look";
        stranger.publish_with_reply(subject, reply, look_of("w2").into()).await.expect("sent");
    }
    // Without one there is nobody to answer.
    stranger.publish("orchestrator.rpc.w2.look", look_of("w2").into()).await.expect("sent");
    stranger.publish("orchestrator.output.w2", Vec::new().into()).await.expect("sent");
    only_honest_requests(&nats).await;
    let forged = async {
        while nats.coordinator.health().forged < 7 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the count", forged).await;
    for mut heard in heard {
        let next = futures_util::StreamExt::next(&mut heard);
        assert!(tokio::time::timeout(SILENCE, next).await.is_err(), "an answer went astray");
    }
}

#[tokio::test]
async fn a_request_comes_from_whom_its_subject_names() {
    let nats = Nats::new().await;
    let stranger = stranger(&nats, "_INBOX_w2").await;
    let reply = stranger.request("orchestrator.rpc.w2.look", look_of("w1").into());
    let reason = unreadable(&reply.await.expect("an answer").payload);
    assert!(reason.contains("w1") && reason.contains("w2"), "{reason}");

    let chunk = v1::OutputChunk {
        holder: v1::LookRequest::decode(&*look_of("w1")).expect("a request").holder,
        first: 1,
        lines: Vec::new(),
    };
    let reply = stranger.request("orchestrator.output.w2", chunk.encode_to_vec().into()).await;
    let reply = v1::OutputAnswer::decode(reply.expect("an answer").payload).expect("an answer");
    assert!(matches!(reply.kind, Some(v1::output_answer::Kind::Unreadable(_))), "{reply:?}");
    assert_eq!(nats.coordinator.health().forged, 2);
    only_honest_requests(&nats).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_and_counted() {
    let nats = Nats::new().await;
    let stranger = stranger(&nats, "_INBOX_w2").await;
    for (verb, bytes) in [
        ("look", b"\xff\xff\xff".to_vec()),
        ("look", Vec::new()),
        ("finished", look_of("w2")),
        ("claim", b"{\"attempt\":1}".to_vec()),
    ] {
        let reply = stranger.request(format!("orchestrator.rpc.w2.{verb}"), bytes.into()).await;
        let reason = unreadable(&reply.expect("an answer").payload);
        assert!(!reason.is_empty());
    }
    assert_eq!(nats.coordinator.health().unreadable, 4);
    // Nobody knows what an unknown verb wants, not even whether it wants an answer.
    let reply = "_INBOX_w2.x.y";
    let subject = "orchestrator.rpc.w2.dance";
    stranger.publish_with_reply(subject, reply, Vec::new().into()).await.expect("sent");
    only_honest_requests(&nats).await;
    assert_eq!(nats.coordinator.health().unreadable, 5);
}

#[tokio::test]
async fn an_end_speaks_for_its_own_worker_only() {
    let nats = Nats::new().await;
    let one = nats.worker(&worker("one")).await;
    let request = WorkerRequest::Look(holder());
    let Err(Error::Refused { reason }) = one.request(request).await else { panic!("it is w's") };
    assert!(reason.contains("one"), "{reason}");
    assert_eq!(one.pokes(&worker("w")).next().await, None);
}

#[tokio::test]
async fn only_a_coordinator_pokes() {
    let nats = Nats::new().await;
    let one = nats.worker(&worker("w1")).await;
    let mut pokes = one.pokes(&worker("w1"));
    let stranger = stranger(&nats, "_INBOX_w2").await;
    let hail = v1::Poke { at: Some(v1::poke::At::Hail(v1::Hail {})) }.encode_to_vec();
    let mark = "_INBOX_coordinator.none";
    let typed = |kind: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("Kapelle-Type", kind);
        headers
    };
    let subject = "orchestrator.worker.w1.poke";
    let poke_type = "kapelle.v1.Poke";
    // An acknowledgment that the server sends where a stranger wants it, an answer, an offer: what
    // each lacks of a poke.
    stranger.publish(subject, hail.clone().into()).await.expect("sent");
    let no_mark = stranger.publish_with_headers(subject, typed(poke_type), hail.clone().into());
    no_mark.await.expect("sent");
    for reply in ["_INBOX_w2.x", "_INBOX.x", "_INBOX_coordinator"] {
        let (headers, payload) = (typed(poke_type), hail.clone().into());
        let sent = stranger.publish_with_reply_and_headers(subject, reply, headers, payload);
        sent.await.expect("sent");
    }
    stranger.publish_with_reply(subject, mark, hail.clone().into()).await.expect("sent");
    let other = stranger.publish_with_reply_and_headers(
        subject,
        mark,
        typed("kapelle.v1.Stop"),
        hail.clone().into(),
    );
    other.await.expect("sent");
    for payload in [Vec::new(), b"{}".to_vec(), b"+OK".to_vec()] {
        let sent = stranger.publish_with_reply_and_headers(
            subject,
            mark,
            typed(poke_type),
            payload.into(),
        );
        sent.await.expect("sent");
    }
    stranger.flush().await.expect("flushed");
    // The server has it all once it has answered this.
    drop(stranger.request("orchestrator.nobody", Vec::new().into()).await);
    let poke = Poke::Attempt(attempt(4));
    nats.coordinator.poke(&worker("w1"), poke).await.expect("sent");
    assert_eq!(soon("a poke", pokes.next()).await, Some(poke), "nothing else is one");
    let health = one.health();
    assert_eq!((health.forged, health.unreadable), (7, 3));
}

#[tokio::test]
async fn the_server_and_the_coordinator_are_no_one_elses_voice() {
    let nats = Nats::new().await;
    let one = nats.worker(&worker("w1")).await;
    let mut pokes = one.pokes(&worker("w1"));
    let coder = classes(&["coder"]);
    nats.coordinator.offer(offer(1, "coder")).await.expect("published");
    // So that the consumer is there.
    next_offer(&one, &coder).await.hand_back(Duration::ZERO).await;
    let stranger = stranger(&nats, "_INBOX_w2").await;
    let subject = "orchestrator.worker.w1.poke";
    // The server delivers an offer where the stranger wants it.
    let pull = "$JS.API.CONSUMER.MSG.NEXT.orchestrator-work.coder";
    stranger.publish_with_reply(pull, subject, "1".into()).await.expect("sent");
    // The server acknowledges a publication there.
    let work = "orchestrator.work.coder";
    stranger.publish_with_reply(work, subject, Vec::new().into()).await.expect("sent");
    // The coordinator is to answer there.
    let rpc = "orchestrator.rpc.w2.look";
    stranger.publish_with_reply(rpc, subject, look_of("w2").into()).await.expect("sent");
    let seen = async {
        while one.health().forged < 2 || nats.coordinator.health().forged < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the count", seen).await;
    let poke = Poke::Attempt(attempt(4));
    nats.coordinator.poke(&worker("w1"), poke).await.expect("sent");
    assert_eq!(soon("a poke", pokes.next()).await, Some(poke));
    assert_eq!(one.health().forged, 2);
}

#[tokio::test]
async fn an_offer_that_cannot_be_read_is_nobodys() {
    let nats = Nats::new().await;
    let one = nats.worker(&worker("w1")).await;
    let coder = classes(&["coder"]);
    let stranger = stranger(&nats, "_INBOX_w2").await;
    for garbage in [&b""[..], b"\xff\xff", b"{}"] {
        stranger.publish("orchestrator.work.coder", garbage.to_vec().into()).await.expect("sent");
    }
    drop(stranger.request("orchestrator.nobody", Vec::new().into()).await);
    nats.coordinator.offer(offer(2, "coder")).await.expect("published");
    let taken = next_offer(&one, &coder).await;
    assert_eq!(*taken.offer(), offer(2, "coder"));
    taken.settle().await;
    assert_eq!(one.health().unreadable, 3);
    let jetstream = async_nats::jetstream::new(stranger);
    let emptied = async {
        loop {
            let mut stream = jetstream.get_stream("orchestrator-work").await.expect("a stream");
            if stream.info().await.expect("info").state.messages == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of the garbage", emptied).await;
}

#[tokio::test]
async fn a_coordinator_that_was_replaced_is_not_listened_to() {
    let nats = Nats::new().await;
    let (old, options) = (&nats.coordinator, &nats.options);
    let one = nats.worker(&worker("w")).await;
    let look = || WorkerRequest::Look(holder());
    let done = || Ok(Answer::Done);
    let (reply, _) = tokio::join!(one.request(look()), answer(old, done()));
    assert_eq!(reply, Ok(done()), "nobody has replaced it yet");
    // It was frozen, say, and hears everything again, as its successor does.
    let new = &NatsCoordinator::connect(options, Term(2)).await.expect("connected");
    let newer = async {
        let (first, second) = (next_request(new).await, next_request(old).await);
        first.reply.send(done()).expect("the worker waits");
        second
    };
    let (reply, late) = tokio::join!(one.request(look()), newer);
    assert_eq!(reply, Ok(done()));
    drop(late.reply.send(done()));
    let faster = async {
        let (first, second) = (next_request(old).await, next_request(new).await);
        first.reply.send(done()).expect("the worker waits");
        second
    };
    let (reply, waiting) = tokio::join!(one.request(look()), faster);
    assert_eq!(reply, Err(Error::NoAnswer), "what it says means nothing");
    drop(waiting);
    old.close().await;
    let (reply, _) = tokio::join!(one.request(look()), answer(new, done()));
    assert_eq!(reply, Ok(done()));
}

#[tokio::test]
async fn a_trace_goes_with_the_request() {
    let mut nats = Nats::new().await;
    nats.options.traceparent =
        || Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    let traced = nats.worker(&worker("w")).await;
    nats.options.traceparent = || Some("not\r\nplain".to_owned());
    let broken = nats.worker(&worker("w")).await;
    for (one, expected) in [(traced, true), (broken, false)] {
        let asked = one.request(WorkerRequest::Look(Holder { ..holder() }));
        let answered = async {
            let inbound = next_request(&nats.coordinator).await;
            let trace = inbound.trace.clone();
            inbound.reply.send(Ok(Answer::Done)).expect("the worker waits");
            trace
        };
        let (reply, trace) = soon("an answer", async { tokio::join!(asked, answered) }).await;
        assert_eq!(reply, Ok(Ok(Answer::Done)));
        assert_eq!(trace.is_some_and(|trace| trace.starts_with("00-4bf9")), expected);
    }
}
