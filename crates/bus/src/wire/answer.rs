//! The coordinator's answers.

use std::time::Duration;

use kapelle_domain::command::{Command, CommandKind, CommandState};
use kapelle_domain::engine::{
    Answer, Directives, Grant, HeldVerdict, Rejection, Standing, Verdict,
};
use kapelle_domain::ids::{CommandSeq, Fence, RunId, SessionEpoch, TaskId, Term, Timestamp};
use kapelle_domain::worker::Duty;
use kapelle_proto::v1;
use kapelle_proto::v1::answer::Kind;
use prost::Message as _;

use super::ids::{attempt, read_attempt};
use super::report::{read_work, work};
use super::{Answered, InTerm, Malformed, decode, millis, required, unknown};
use crate::{Refusal, Reply};

/// Why an answer can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsendable {
    /// It is more than one message carries.
    #[error("the answer has {bytes} bytes, and a message carries {bytes_max}")]
    TooLong {
        /// Its size.
        bytes: usize,
        /// What one message carries.
        bytes_max: usize,
    },
    /// No worker asks anything that has such an answer.
    #[error("this is no answer to a worker")]
    NotForWorkers,
}

/// Encodes an answer, or that there is none, within `bytes_max`. Of commands that don't fit, the
/// first ones are sent: the worker asks again once it has them.
pub(crate) fn encode_answer(
    term: Term,
    reply: Option<Reply>,
    bytes_max: usize,
) -> Result<Vec<u8>, Unsendable> {
    let kind = match reply {
        None => Kind::Dropped(v1::Dropped {}),
        Some(Ok(answer)) => answered(answer, bytes_max)?,
        Some(Err(Refusal::Rejected(rejection))) => Kind::Rejected(rejected(&rejection)),
        Some(Err(Refusal::Unavailable { reason })) => Kind::Unavailable(v1::Unavailable { reason }),
    };
    let message = v1::Answer { term: term.0, kind: Some(kind) };
    let bytes = message.encoded_len();
    if bytes > bytes_max {
        return Err(Unsendable::TooLong { bytes, bytes_max });
    }
    Ok(message.encode_to_vec())
}

/// Encodes that a request can't be read.
pub(crate) fn encode_unreadable(term: Term, reason: String) -> Vec<u8> {
    let kind = Kind::Unreadable(v1::Unreadable { reason });
    v1::Answer { term: term.0, kind: Some(kind) }.encode_to_vec()
}

fn answered(answer: Answer, bytes_max: usize) -> Result<Kind, Unsendable> {
    Ok(match answer {
        Answer::Done => Kind::Done(v1::Done {}),
        Answer::Registered { session, standing: with } => {
            Kind::Registered(v1::Registered { session: session.0, standing: Some(standing(&with)) })
        }
        Answer::Heard(with) => Kind::Heard(v1::Heard { standing: Some(standing(&with)) }),
        Answer::Orphaned => Kind::Orphaned(v1::Orphaned {}),
        Answer::Granted(grant) => Kind::Granted(Box::new(granted(*grant))),
        Answer::Directives(wanted) => Kind::Directives(directives(wanted, bytes_max)),
        Answer::Submitted(_) | Answer::Commanded(_) | Answer::Resumed(_) => {
            return Err(Unsendable::NotForWorkers);
        }
    })
}

/// Reads an answer.
pub(crate) fn decode_answer(bytes: &[u8]) -> Result<InTerm<Reply>, Malformed> {
    let v1::Answer { term, kind } = decode("Answer", bytes)?;
    Ok(InTerm { term: Term(term), answered: read_kind(required("kind", kind)?)? })
}

fn read_kind(kind: Kind) -> Result<Answered<Reply>, Malformed> {
    Ok(Answered::With(match kind {
        Kind::Done(v1::Done {}) => Ok(Answer::Done),
        Kind::Registered(v1::Registered { session, standing }) => Ok(Answer::Registered {
            session: SessionEpoch(session),
            standing: read_standing(standing)?,
        }),
        Kind::Heard(v1::Heard { standing }) => Ok(Answer::Heard(read_standing(standing)?)),
        Kind::Orphaned(v1::Orphaned {}) => Ok(Answer::Orphaned),
        Kind::Granted(grant) => Ok(Answer::Granted(Box::new(read_granted(*grant)?))),
        Kind::Directives(wanted) => Ok(Answer::Directives(read_directives(wanted)?)),
        Kind::Rejected(rejection) => Err(Refusal::Rejected(read_rejected(&rejection)?)),
        Kind::Unavailable(v1::Unavailable { reason }) => Err(Refusal::Unavailable { reason }),
        Kind::Dropped(v1::Dropped {}) => return Ok(Answered::Dropped),
        Kind::Unreadable(v1::Unreadable { reason }) => return Ok(Answered::Unreadable(reason)),
    }))
}

fn standing(standing: &Standing) -> v1::Standing {
    let duty = match standing.duty {
        Duty::Active => v1::Duty::Active,
        Duty::Cordoned => v1::Duty::Cordoned,
        Duty::Draining => v1::Duty::Draining,
    };
    v1::Standing {
        verdicts: verdicts(&standing.verdicts),
        classes: standing.classes.iter().map(ToString::to_string).collect(),
        duty: duty.into(),
    }
}

fn read_standing(standing: Option<v1::Standing>) -> Result<Standing, Malformed> {
    let v1::Standing { verdicts, classes, duty } = required("standing", standing)?;
    let duty = match v1::Duty::try_from(duty).map_err(|_| unknown("duty", duty))? {
        v1::Duty::Unspecified => return Err(unknown("duty", duty)),
        v1::Duty::Active => Duty::Active,
        v1::Duty::Cordoned => Duty::Cordoned,
        v1::Duty::Draining => Duty::Draining,
    };
    let classes =
        classes.into_iter().map(|class| class.parse().map_err(|_| unknown("class", class)));
    Ok(Standing {
        verdicts: read_verdicts(verdicts)?,
        classes: classes.collect::<Result<_, _>>()?,
        duty,
    })
}

fn verdicts(verdicts: &[HeldVerdict]) -> Vec<v1::HeldVerdict> {
    let one = |verdict: &HeldVerdict| {
        let fate = match verdict.verdict {
            Verdict::Keep => v1::HeldFate::Keep,
            Verdict::Look => v1::HeldFate::Look,
            Verdict::Fenced => v1::HeldFate::Fenced,
        };
        v1::HeldVerdict { attempt: Some(attempt(verdict.attempt)), fate: fate.into() }
    };
    verdicts.iter().map(one).collect()
}

fn read_verdicts(verdicts: Vec<v1::HeldVerdict>) -> Result<Vec<HeldVerdict>, Malformed> {
    let one = |verdict: v1::HeldVerdict| {
        let fate = v1::HeldFate::try_from(verdict.fate);
        let fate = match fate.map_err(|_| unknown("fate", verdict.fate))? {
            v1::HeldFate::Unspecified => return Err(unknown("fate", verdict.fate)),
            v1::HeldFate::Keep => Verdict::Keep,
            v1::HeldFate::Look => Verdict::Look,
            v1::HeldFate::Fenced => Verdict::Fenced,
        };
        Ok(HeldVerdict { attempt: read_attempt(verdict.attempt)?, verdict: fate })
    };
    verdicts.into_iter().map(one).collect()
}

fn granted(grant: Grant) -> v1::Grant {
    let Grant {
        attempt: id,
        fence,
        key,
        title,
        agent,
        repository,
        prompt,
        base,
        snapshot,
        verify,
        timeout,
        lost_after,
    } = grant;
    v1::Grant {
        attempt: Some(attempt(id)),
        fence: fence.0,
        key,
        title,
        agent: agent.to_string(),
        repository: repository.to_string(),
        prompt,
        base,
        verify,
        timeout_ms: millis(timeout),
        snapshot: snapshot.as_ref().map(work),
        lost_after_ms: millis(lost_after),
    }
}

fn read_granted(grant: v1::Grant) -> Result<Grant, Malformed> {
    Ok(Grant {
        attempt: read_attempt(grant.attempt)?,
        fence: Fence(grant.fence),
        key: grant.key,
        title: grant.title,
        agent: grant.agent.into(),
        repository: grant.repository.into(),
        prompt: grant.prompt,
        base: grant.base,
        verify: grant.verify,
        snapshot: grant.snapshot.map(read_work),
        timeout: Duration::from_millis(grant.timeout_ms),
        lost_after: Duration::from_millis(grant.lost_after_ms),
    })
}

/// What the envelope of an answer and the length of each field may add.
const FRAME_BYTES_MAX: usize = 32;

fn directives(wanted: Directives, bytes_max: usize) -> v1::Directives {
    let Directives { cancel, paused, commands } = wanted;
    let mut message = v1::Directives { cancel, paused, commands: Vec::new() };
    let mut bytes = message.encoded_len() + FRAME_BYTES_MAX;
    for command in commands.into_iter().filter_map(command) {
        bytes += command.encoded_len() + FRAME_BYTES_MAX;
        if bytes > bytes_max {
            break;
        }
        message.commands.push(command);
    }
    message
}

fn read_directives(wanted: v1::Directives) -> Result<Directives, Malformed> {
    let v1::Directives { cancel, paused, commands } = wanted;
    let commands = commands.into_iter().map(read_command).collect::<Result<_, _>>()?;
    Ok(Directives { cancel, paused, commands })
}

/// A command as a worker gets it; one that is settled is none of its business.
fn command(command: Command) -> Option<v1::Command> {
    // Who asked is none of the worker's business.
    let Command { seq, kind, text, at, state, request: _ } = command;
    let delivered_in = match state {
        CommandState::Accepted => None,
        CommandState::Delivered { attempt } => Some(attempt),
        CommandState::Applied { .. }
        | CommandState::Carried { .. }
        | CommandState::Rejected { .. }
        | CommandState::Expired => return None,
    };
    let redirect_to = match kind {
        CommandKind::Redirect { to } => Some(v1::TaskPlace { run: to.run.0, task: to.index }),
        CommandKind::Feedback
        | CommandKind::Restart
        | CommandKind::Stop
        | CommandKind::Pause
        | CommandKind::Resume
        | CommandKind::Ping => None,
    };
    Some(v1::Command {
        seq: seq.0,
        text,
        at_ms: at.0,
        kind: command_kind(kind).into(),
        redirect_to,
        delivered_in,
    })
}

fn read_command(command: v1::Command) -> Result<Command, Malformed> {
    let v1::Command { seq, text, at_ms, kind, redirect_to, delivered_in } = command;
    let state = match delivered_in {
        None => CommandState::Accepted,
        Some(attempt) => CommandState::Delivered { attempt },
    };
    Ok(Command {
        seq: CommandSeq(seq),
        kind: read_command_kind(kind, redirect_to)?,
        text,
        at: Timestamp(at_ms),
        state,
        request: None,
    })
}

fn command_kind(kind: CommandKind) -> v1::CommandKind {
    match kind {
        CommandKind::Feedback => v1::CommandKind::Feedback,
        CommandKind::Restart => v1::CommandKind::Restart,
        CommandKind::Redirect { .. } => v1::CommandKind::Redirect,
        CommandKind::Stop => v1::CommandKind::Stop,
        CommandKind::Pause => v1::CommandKind::Pause,
        CommandKind::Resume => v1::CommandKind::Resume,
        CommandKind::Ping => v1::CommandKind::Ping,
    }
}

fn read_command_kind(
    value: i32,
    redirect_to: Option<v1::TaskPlace>,
) -> Result<CommandKind, Malformed> {
    Ok(match v1::CommandKind::try_from(value).map_err(|_| unknown("kind", value))? {
        v1::CommandKind::Unspecified => return Err(unknown("kind", value)),
        v1::CommandKind::Feedback => CommandKind::Feedback,
        v1::CommandKind::Restart => CommandKind::Restart,
        v1::CommandKind::Redirect => {
            let v1::TaskPlace { run, task } = required("redirect_to", redirect_to)?;
            CommandKind::Redirect { to: TaskId { run: RunId(run), index: task } }
        }
        v1::CommandKind::Stop => CommandKind::Stop,
        v1::CommandKind::Pause => CommandKind::Pause,
        v1::CommandKind::Resume => CommandKind::Resume,
        v1::CommandKind::Ping => CommandKind::Ping,
    })
}

fn rejected(rejection: &Rejection) -> v1::Rejected {
    let detail = serde_json::to_value(rejection).unwrap_or_default();
    let code = detail.get("code").and_then(|code| code.as_str()).unwrap_or("unknown");
    v1::Rejected {
        code: code.to_owned(),
        message: rejection.to_string(),
        detail: detail.to_string(),
    }
}

fn read_rejected(rejected: &v1::Rejected) -> Result<Rejection, Malformed> {
    serde_json::from_str(&rejected.detail).map_err(|error| {
        let value = format!("{} ({}; {error})", rejected.code, rejected.message);
        unknown("rejected", value)
    })
}
