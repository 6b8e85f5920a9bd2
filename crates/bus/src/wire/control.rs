//! Control requests, receipts and statuses, in both encodings.
//!
//! JSON is read strictly, so that a misspelled field is told; protobuf skips what it doesn't know,
//! as it must to grow.

use kapelle_proto::v1;
use prost::Message as _;
use serde::de::DeserializeOwned;

use crate::control::{
    CommandReceipt, CommandState, ControlOrder, Encoding, FeedbackAction, NAME_BYTES_MAX, Only,
    Order, REQUEST_ID_BYTES_MAX, Receipt, Status, Target, Unusable, body,
};
use crate::subject::{AgentName, ControlVerb};

/// Reads a control request; `agent` is the one that its subject names, if it names one.
pub(crate) fn decode_control(
    verb: ControlVerb,
    agent: Option<AgentName>,
    encoding: Encoding,
    bytes: &[u8],
) -> Result<ControlOrder, Unusable> {
    if agent.is_none() && !verb.is_for_many() {
        return Err(Unusable::NotForMany { verb: verb.token() });
    }
    let (request_id, order, only) = match verb {
        ControlVerb::Stop => {
            let body::Stop { request_id, reason, only } =
                read::<_, v1::Stop>(verb, encoding, bytes)?;
            (request_id, Order::Stop { reason }, only)
        }
        ControlVerb::Feedback => {
            let body::Feedback { request_id, text, action, only } =
                read::<_, v1::Feedback>(verb, encoding, bytes)?;
            present("text", &text)?;
            (request_id, Order::Feedback { text, action }, only)
        }
        ControlVerb::Redirect => {
            let body::Redirect { request_id, work_stream, reason } =
                read::<_, v1::Redirect>(verb, encoding, bytes)?;
            present("work_stream", &work_stream)?;
            no_longer("work_stream", &work_stream, NAME_BYTES_MAX)?;
            (request_id, Order::Redirect { work_stream, reason }, None)
        }
        ControlVerb::Pause => {
            let body::Pause { request_id, reason, only } =
                read::<_, v1::Pause>(verb, encoding, bytes)?;
            (request_id, Order::Pause { reason }, only)
        }
        ControlVerb::Resume => {
            let body::Resume { request_id, only } = read::<_, v1::Resume>(verb, encoding, bytes)?;
            (request_id, Order::Resume, only)
        }
        ControlVerb::Ping => {
            let body::Ping { request_id, only } = read::<_, v1::Ping>(verb, encoding, bytes)?;
            (request_id, Order::Ping, only)
        }
    };
    let request_id = request_id.filter(|id| !id.is_empty());
    no_longer("request_id", request_id.as_deref().unwrap_or_default(), REQUEST_ID_BYTES_MAX)?;
    if let Some(only) = &only {
        let (Only::Run(name) | Only::Task(name) | Only::Worker(name) | Only::Label(name)) = only;
        no_longer("only", name, NAME_BYTES_MAX)?;
    }
    let target = match (agent, only) {
        (Some(_), Some(_)) => return Err(Unusable::OnlyForOne),
        (Some(agent), None) => Target::Agent(agent),
        (None, Some(only)) => Target::Only(only),
        (None, None) => Target::Everyone,
    };
    Ok(ControlOrder { target, order, request_id })
}

fn present(field: &'static str, text: &str) -> Result<(), Unusable> {
    if text.trim().is_empty() { Err(Unusable::Empty { field }) } else { Ok(()) }
}

fn no_longer(field: &'static str, text: &str, bytes_max: usize) -> Result<(), Unusable> {
    let bytes = text.len();
    if bytes > bytes_max { Err(Unusable::TooLong { field, bytes, bytes_max }) } else { Ok(()) }
}

fn read<B, M>(verb: ControlVerb, encoding: Encoding, bytes: &[u8]) -> Result<B, Unusable>
where
    B: DeserializeOwned + TryFrom<M, Error = String>,
    M: prost::Message + Default,
{
    let malformed = |encoding, reason| Unusable::Malformed { verb: verb.token(), encoding, reason };
    match encoding {
        // A request without a body says nothing beyond its subject.
        Encoding::Json if bytes.is_empty() => {
            serde_json::from_slice(b"{}").map_err(|error| malformed("JSON", error.to_string()))
        }
        Encoding::Json => {
            serde_json::from_slice(bytes).map_err(|error| malformed("JSON", error.to_string()))
        }
        Encoding::Protobuf => {
            let read = M::decode(bytes).map_err(|error| error.to_string()).and_then(B::try_from);
            read.map_err(|reason| {
                let hint = "; JSON must say so by the header content-type: application/json";
                let hint = if bytes.first() == Some(&b'{') { hint } else { "" };
                malformed("protobuf", format!("{reason}{hint}"))
            })
        }
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn only(only: Option<v1::Only>) -> Result<Option<Only>, String> {
    let Some(only) = only else { return Ok(None) };
    Ok(Some(match only.kind.ok_or("`only` names nothing")? {
        v1::only::Kind::Run(run) => Only::Run(run),
        v1::only::Kind::Task(task) => Only::Task(task),
        v1::only::Kind::Worker(worker) => Only::Worker(worker),
        v1::only::Kind::Label(label) => Only::Label(label),
    }))
}

impl TryFrom<v1::Stop> for body::Stop {
    type Error = String;

    fn try_from(message: v1::Stop) -> Result<Self, String> {
        let v1::Stop { request_id, reason, only: some_only } = message;
        Ok(Self { request_id: some(request_id), reason, only: only(some_only)? })
    }
}

impl TryFrom<v1::Feedback> for body::Feedback {
    type Error = String;

    fn try_from(message: v1::Feedback) -> Result<Self, String> {
        let v1::Feedback { request_id, text, action, only: some_only } = message;
        let action = match v1::FeedbackAction::try_from(action) {
            Ok(v1::FeedbackAction::Unspecified | v1::FeedbackAction::Continue) => {
                FeedbackAction::Continue
            }
            Ok(v1::FeedbackAction::Restart) => FeedbackAction::Restart,
            Err(_) => {
                return Err(format!("`action` has the value {action}, which is unknown here"));
            }
        };
        Ok(Self { request_id: some(request_id), text, action, only: only(some_only)? })
    }
}

impl TryFrom<v1::Redirect> for body::Redirect {
    type Error = String;

    fn try_from(message: v1::Redirect) -> Result<Self, String> {
        let v1::Redirect { request_id, work_stream, reason } = message;
        Ok(Self { request_id: some(request_id), work_stream, reason })
    }
}

impl TryFrom<v1::Pause> for body::Pause {
    type Error = String;

    fn try_from(message: v1::Pause) -> Result<Self, String> {
        let v1::Pause { request_id, reason, only: some_only } = message;
        Ok(Self { request_id: some(request_id), reason, only: only(some_only)? })
    }
}

impl TryFrom<v1::Resume> for body::Resume {
    type Error = String;

    fn try_from(message: v1::Resume) -> Result<Self, String> {
        let v1::Resume { request_id, only: some_only } = message;
        Ok(Self { request_id: some(request_id), only: only(some_only)? })
    }
}

impl TryFrom<v1::Ping> for body::Ping {
    type Error = String;

    fn try_from(message: v1::Ping) -> Result<Self, String> {
        let v1::Ping { request_id, only: some_only } = message;
        Ok(Self { request_id: some(request_id), only: only(some_only)? })
    }
}

pub(crate) fn encode_receipt(receipt: &Receipt, encoding: Encoding) -> Vec<u8> {
    match encoding {
        // Strings and numbers always have a JSON form.
        Encoding::Json => serde_json::to_vec(receipt).unwrap_or_default(),
        Encoding::Protobuf => {
            let Receipt { request_id, state: of, code, message, hint, agents, open, commands } =
                receipt;
            let command = |command: &CommandReceipt| v1::CommandReceipt {
                agent: command.agent.clone(),
                task: command.task.clone(),
                number: command.number,
                state: state(command.state).into(),
                message: command.message.clone(),
            };
            let message = v1::Receipt {
                request_id: request_id.clone(),
                state: state(*of).into(),
                code: code.clone(),
                message: message.clone(),
                hint: hint.clone(),
                agents: *agents,
                open: *open,
                commands: commands.iter().map(command).collect(),
            };
            message.encode_to_vec()
        }
    }
}

fn state(state: CommandState) -> v1::CommandState {
    match state {
        CommandState::Accepted => v1::CommandState::Accepted,
        CommandState::Delivered => v1::CommandState::Delivered,
        CommandState::Applied => v1::CommandState::Applied,
        CommandState::Rejected => v1::CommandState::Rejected,
        CommandState::Expired => v1::CommandState::Expired,
        CommandState::Carried => v1::CommandState::Carried,
    }
}

pub(crate) fn encode_status(status: &Status, encoding: Encoding) -> Vec<u8> {
    match encoding {
        // Strings and numbers always have a JSON form.
        Encoding::Json => serde_json::to_vec(status).unwrap_or_default(),
        Encoding::Protobuf => {
            let status = status.clone();
            let message = v1::Status {
                agent: status.agent.to_string(),
                run: status.run,
                task: status.task,
                attempt: status.attempt,
                title: status.title,
                program: status.program,
                worker: status.worker,
                phase: status.phase,
                paused: status.paused,
                outcome: status.outcome,
                activity: status.activity,
                at_ms: status.at_ms,
                as_of: status.as_of,
            };
            message.encode_to_vec()
        }
    }
}
