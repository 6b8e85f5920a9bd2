//! Commands: what an operator orders of a task, each a row with a state that can be asked for.
//!
//! None is lost silently: it is applied, or carried into the next attempt's prompt, or refused
//! with a reason, or expires with its task. What is *wanted* of a task (to end, to pause) is state
//! of the task and survives the command that asked for it; see [`crate::task::TaskRecord`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{CommandSeq, TaskId, Timestamp};

/// The longest text of a command.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The longest name of a request.
pub const REQUEST_BYTES_MAX: usize = 100;

/// How many commands of one task may be unsettled at once.
pub const PENDING_MAX: usize = 100;

/// Something ordered of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its place among the commands of its task.
    pub seq: CommandSeq,
    /// What is ordered.
    #[serde(default)]
    pub kind: CommandKind,
    /// What is said to the agent, or the reason for people.
    pub text: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// What became of it.
    pub state: CommandState,
    /// The name of the request that it came of, when whoever asked gave it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Arc<str>>,
}

/// What is ordered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum CommandKind {
    /// Tell the agent; if no agent can be told now, tell the next one.
    #[default]
    Feedback,
    /// End the attempt, count nothing, and begin anew with what was said.
    Restart,
    /// Take the agent off this task and put the other one first; this one goes on when the other
    /// has ended.
    Redirect {
        /// The other task.
        to: TaskId,
    },
    /// End the task.
    Stop,
    /// Freeze the agent, or start none.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Ask the worker whether the attempt is alive.
    Ping,
}

impl CommandKind {
    /// Its name, as stored, on subjects and shown. Once released, a name keeps its meaning.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Feedback => "feedback",
            Self::Restart => "restart",
            Self::Redirect { .. } => "redirect",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Ping => "ping",
        }
    }

    /// Whether its text goes to an agent, so that there has to be one.
    #[must_use]
    pub fn speaks(&self) -> bool {
        match self {
            Self::Feedback => true,
            Self::Restart
            | Self::Redirect { .. }
            | Self::Stop
            | Self::Pause
            | Self::Resume
            | Self::Ping => false,
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CommandState {
    /// Recorded; nobody has it yet.
    Accepted,
    /// The worker has it; it has no effect yet.
    Delivered {
        /// In which attempt.
        attempt: u32,
    },
    /// It had its effect.
    Applied {
        /// In which attempt; 0 when it needed none.
        attempt: u32,
    },
    /// It is part of what a later attempt was told when it started.
    Carried {
        /// In which attempt.
        attempt: u32,
    },
    /// It can't have its effect.
    Rejected {
        /// Why, in words for people.
        reason: String,
    },
    /// The task ended before it could have its effect.
    Expired,
}

impl CommandState {
    /// Whether nothing more can become of it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Accepted | Self::Delivered { .. } => false,
            Self::Applied { .. } | Self::Carried { .. } | Self::Rejected { .. } | Self::Expired => {
                true
            }
        }
    }

    /// The attempt in which it is so, if it is so in one.
    #[must_use]
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Self::Delivered { attempt } | Self::Applied { attempt } | Self::Carried { attempt } => {
                Some(*attempt).filter(|number| *number > 0)
            }
            Self::Accepted | Self::Rejected { .. } | Self::Expired => None,
        }
    }

    /// Why it was rejected, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Rejected { reason } => Some(reason),
            Self::Accepted
            | Self::Delivered { .. }
            | Self::Applied { .. }
            | Self::Carried { .. }
            | Self::Expired => None,
        }
    }

    /// Its name, as stored and shown. Once released, a name keeps its meaning.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Delivered { .. } => "delivered",
            Self::Applied { .. } => "applied",
            Self::Carried { .. } => "carried",
            Self::Rejected { .. } => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// What a worker says became of a command that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CommandAnswer {
    /// It had its effect: the agent took it, the processes are frozen.
    Applied,
    /// It can't be done in this attempt.
    Refused {
        /// Why, in words for people.
        reason: String,
    },
}
