//! What anybody may say to agents over the bus, and what they hear back: the types.
//!
//! A request comes under a subject that names the verb and the agent (see [`crate::subject`]), as
//! protobuf, or as JSON where it says so by its header `content-type: application/json`; receipts
//! go back in the same encoding. `docs/asyncapi.json` describes the JSON form, and is generated
//! from these types. What a request makes happen is not decided here.

pub mod asyncapi;
mod end;
mod reading;

use std::borrow::Cow;

use kapelle_domain::command::REQUEST_BYTES_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::end::{ControlEnd, ControlRequest, ReceiptEnd};
pub(crate) use self::reading::{Incoming, read};
use crate::subject::{AgentName, ControlVerb};

/// The longest id that a client may give a request.
pub const REQUEST_ID_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// The longest body of a request.
pub const BODY_BYTES_MAX: usize = 128 * 1024;

/// The longest name in a request: of a work stream, a run, a task, a worker, or a label.
pub const NAME_BYTES_MAX: usize = 200;

/// How many commands a receipt names.
pub const RECEIPT_COMMANDS_MAX: usize = 100;

/// Which agents a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This one.
    Agent(AgentName),
    /// Every one.
    Everyone,
    /// Some of them.
    Only(Only),
}

/// Which agents a broadcast is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// Those of a run, such as `r-42`.
    Run(String),
    /// That of a task, such as `r-42/1.2`.
    Task(String),
    /// Those on a worker.
    Worker(String),
    /// Those on workers with a label.
    Label(String),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// To end.
    Stop {
        /// Why, in words for people.
        reason: String,
    },
    /// To listen.
    Feedback {
        /// What is said; never empty.
        text: String,
        /// What comes after it.
        action: FeedbackAction,
    },
    /// To work on something else.
    Redirect {
        /// The id of the other work stream; never empty.
        work_stream: String,
        /// Why, in words for people.
        reason: String,
    },
    /// To pause.
    Pause {
        /// Why, in words for people.
        reason: String,
    },
    /// To go on after a pause.
    Resume,
    /// A sign of life.
    Ping,
}

impl Order {
    /// Its verb.
    #[must_use]
    pub fn verb(&self) -> ControlVerb {
        match self {
            Self::Stop { .. } => ControlVerb::Stop,
            Self::Feedback { .. } => ControlVerb::Feedback,
            Self::Redirect { .. } => ControlVerb::Redirect,
            Self::Pause { .. } => ControlVerb::Pause,
            Self::Resume => ControlVerb::Resume,
            Self::Ping => ControlVerb::Ping,
        }
    }
}

/// What an agent does once it was told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackAction {
    /// Goes on with it in mind.
    #[default]
    Continue,
    /// Begins anew with it in mind.
    Restart,
}

/// A request as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlOrder {
    /// Which agents it is for.
    pub target: Target,
    /// What is asked.
    pub order: Order,
    /// Names the request, when the client gave it a name: its repetition has the effect of one.
    pub request_id: Option<String>,
}

/// How a message is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As protobuf (`kapelle.v1`).
    #[default]
    Protobuf,
    /// As JSON.
    Json,
}

impl Encoding {
    /// What the header `content-type` says.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/protobuf",
            Self::Json => "application/json",
        }
    }

    /// The encoding that a message claims; `None` for one that nobody here reads. Without a claim
    /// it is protobuf.
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Option<Self> {
        let Some(content_type) = content_type else { return Some(Self::Protobuf) };
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Json),
            "" | "application/protobuf" | "application/x-protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// The answer to a control request. The first one says whether it was accepted; others follow on
/// the same reply subject as commands go on, until all are settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The id of the request: the client's, or one that the coordinator gave it.
    pub request_id: String,
    /// How the request stands as a whole.
    pub state: CommandState,
    /// The stable name of the reason, when it was rejected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What it means, in words for people.
    pub message: String,
    /// How to mend it, when it was rejected and that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// How many commands came of it: one for each task that it concerns.
    pub agents: u32,
    /// How many of them aren't settled yet. With none, this is the last receipt.
    pub open: u32,
    /// Commands that came of it, at most 100: in the first receipt the first ones, in the
    /// others those that have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CommandReceipt>,
}

impl Receipt {
    /// A refusal.
    #[must_use]
    pub fn rejected(
        request_id: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            request_id: request_id.into(),
            state: CommandState::Rejected,
            code: code.into(),
            message: message.into(),
            hint: hint.into(),
            agents: 0,
            open: 0,
            commands: Vec::new(),
        }
    }
}

/// How a command for one agent stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandReceipt {
    /// The agent that it was given to, that has taken it, or that was told when it started; none
    /// when it needed none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// The task, such as `r-42/1.2`.
    pub task: String,
    /// The number of the command among those of its task.
    pub number: u64,
    /// How it stands.
    pub state: CommandState,
    /// What that means, in words for people; why, when it was rejected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Recorded; it can't be lost any more.
    Accepted,
    /// The worker has it.
    Delivered,
    /// It has had its effect.
    Applied,
    /// It was refused.
    Rejected,
    /// Its task ended before it could have an effect.
    Expired,
    /// It is part of what the next attempt is told.
    Carried,
}

/// How an agent is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The agent.
    #[serde(with = "agent_name")]
    #[schemars(with = "String")]
    pub agent: AgentName,
    /// The run, such as `r-42`.
    pub run: String,
    /// The task, such as `r-42/1.2`.
    pub task: String,
    /// Which try at the task this is, from 1.
    pub attempt: u32,
    /// What the task is about, in one line.
    pub title: String,
    /// The program that does the work, by configured name.
    pub program: String,
    /// The worker that it runs on, once one has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub worker: String,
    /// Where the attempt stands: `offered`, `claimed`, `running`, `suspect`, `cancelling` or `ended`.
    pub phase: String,
    /// Whether its processes are frozen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// How it ended, such as `completed`, once it has.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// The last thing that it said or did, or how it ended, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub activity: String,
    /// When this was so, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The place in the log, `<epoch>.<seq>`, up to which it takes everything into account.
    pub as_of: String,
}

/// Something that has happened, for whoever watches. It is JSON only, in the form of the HTTP
/// service's events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventNotice {
    /// Its place in the log, `<epoch>.<seq>`; `GET /api/v1/events?after=` it gives what follows.
    pub id: String,
    /// Its number in the log. Numbers have no gaps: who listens to all events and sees one has
    /// missed something.
    pub seq: u64,
    /// When it was recorded, in milliseconds since the Unix epoch.
    pub at: i64,
    /// What kind it is, such as `attempt_started`; the last token of the subject.
    pub kind: String,
    /// The run that it belongs to, such as `r-42`; none for what happens to a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The task that it belongs to, such as `r-42/1.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What happened, in one line for people.
    pub message: String,
    /// Everything, in the form that its kind has. What is too long for a message is only in the
    /// log, and this is absent then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

/// The longest message about an event.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

impl EventNotice {
    /// It as JSON, without what would make it too long.
    pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let whole = serde_json::to_vec(self)?;
        if whole.len() <= EVENT_BYTES_MAX {
            return Ok(whole);
        }
        let message = shortened(&self.message).into_owned();
        serde_json::to_vec(&Self { data: None, message, ..self.clone() })
    }
}

mod agent_name {
    //! Agents' names in JSON.

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::subject::AgentName;

    pub(super) fn serialize<S: Serializer>(name: &AgentName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<AgentName, D::Error> {
        AgentName::new(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A control request that can't be carried out as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The body is no such request.
    #[error("the body is no {verb} request as {encoding}: {}", shortened(reason))]
    Malformed {
        /// The verb.
        verb: &'static str,
        /// What it was read as.
        encoding: &'static str,
        /// Why not.
        reason: String,
    },
    /// The body has an encoding that nobody here reads.
    #[error(
        "the content type `{content_type}` is unknown; send application/json or application/protobuf"
    )]
    UnknownEncoding {
        /// What the header says.
        content_type: String,
    },
    /// Something that must be said isn't.
    #[error("`{field}` is empty")]
    Empty {
        /// What.
        field: &'static str,
    },
    /// The body is too long to be looked at.
    #[error("the body has {bytes} bytes, more than {BODY_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Something is too long.
    #[error("`{field}` has {bytes} bytes, more than {bytes_max}")]
    TooLong {
        /// What.
        field: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// It can't be said to more than one agent.
    #[error("{verb} is for one agent; a broadcast can't say it")]
    NotForMany {
        /// The verb.
        verb: &'static str,
    },
    /// A request to one agent can't choose others.
    #[error("`only` belongs into a broadcast; the subject names the agent already")]
    OnlyForOne,
}

impl Unusable {
    /// Its stable name, the `code` of a receipt.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::Empty { .. } => "malformed",
            Self::TooLarge { .. } | Self::TooLong { .. } => "too_long",
            Self::UnknownEncoding { .. } => "unknown_encoding",
            Self::NotForMany { .. } => "not_for_many",
            Self::OnlyForOne => "only_for_one",
        }
    }

    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::Empty { .. } => {
                "`kapelle schema asyncapi` describes the bodies"
            }
            Self::TooLarge { .. } | Self::TooLong { .. } => {
                "say it shorter, or put it into a file of the repository and name that"
            }
            Self::UnknownEncoding { .. } => "send the header content-type: application/json",
            Self::NotForMany { .. } => "send it below <root>.agent.<agent>",
            Self::OnlyForOne => "leave `only` out, or send it below <root>.broadcast",
        }
    }
}

/// The bodies of requests, as JSON has them.
pub(crate) mod body {
    use super::{Deserialize, FeedbackAction, JsonSchema, Only, Serialize};

    /// Ends agents.
    #[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub(crate) struct Stop {
        /// Chosen by the client; a repeated request with the same id has the effect of one.
        pub(crate) request_id: Option<String>,
        /// Why, in words for people.
        pub(crate) reason: String,
        /// Which agents; only in a broadcast.
        pub(crate) only: Option<Only>,
    }

    /// Says something to agents.
    #[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub(crate) struct Feedback {
        /// Chosen by the client; a repeated request with the same id has the effect of one.
        pub(crate) request_id: Option<String>,
        /// What is said. It must not be empty. `feedback` is another name of it.
        #[serde(alias = "feedback")]
        pub(crate) text: String,
        /// What the agent does once it was told.
        pub(crate) action: FeedbackAction,
        /// Which agents; only in a broadcast.
        pub(crate) only: Option<Only>,
    }

    /// Takes an agent off its work stream and puts it on another.
    #[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub(crate) struct Redirect {
        /// Chosen by the client; a repeated request with the same id has the effect of one.
        pub(crate) request_id: Option<String>,
        /// The id of the other work stream, such as `1.3`. It must not be empty.
        /// `new_work_stream` is another name of it.
        #[serde(alias = "new_work_stream")]
        pub(crate) work_stream: String,
        /// Why, in words for people.
        pub(crate) reason: String,
    }

    /// Lets agents pause.
    #[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub(crate) struct Pause {
        /// Chosen by the client; a repeated request with the same id has the effect of one.
        pub(crate) request_id: Option<String>,
        /// Why, in words for people.
        pub(crate) reason: String,
        /// Which agents; only in a broadcast.
        pub(crate) only: Option<Only>,
    }

    /// Lets paused agents go on.
    #[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub(crate) struct Resume {
        /// Chosen by the client; a repeated request with the same id has the effect of one.
        pub(crate) request_id: Option<String>,
        /// Which agents; only in a broadcast.
        pub(crate) only: Option<Only>,
    }

    /// Asks agents for a sign of life.
    #[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub(crate) struct Ping {
        /// Chosen by the client; a repeated request with the same id has the effect of one.
        pub(crate) request_id: Option<String>,
        /// Which agents; only in a broadcast.
        pub(crate) only: Option<Only>,
    }
}

/// What a receipt says of a request without an id, when it never got one.
pub(crate) const NO_REQUEST_ID: &str = "";

/// Text of a client that goes into a message to it: shortened where it is long.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 300;
    match text.char_indices().nth(SHOWN) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
