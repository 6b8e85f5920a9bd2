//! Commands to a task while it runs or waits: what people say to agents.
//!
//! Each is a row with a state that can be asked for, so that none is lost silently: it is applied
//! by a running agent, or carried into the next attempt's prompt, or refused, or expires with its
//! task. Stopping is no command of this kind: it is the task's desired state.

use serde::{Deserialize, Serialize};

use crate::ids::{CommandSeq, Timestamp};

/// The longest text of a command.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// How many commands of one task may be unsettled at once.
pub const PENDING_MAX: usize = 100;

/// Something said to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its place among the commands of its task.
    pub seq: CommandSeq,
    /// What is said.
    pub text: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// What became of it.
    pub state: CommandState,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CommandState {
    /// Recorded; no agent has it yet.
    Accepted,
    /// A running agent has taken it.
    Applied {
        /// In which attempt.
        attempt: u32,
    },
    /// It is part of what a later attempt was told when it started.
    Carried {
        /// In which attempt.
        attempt: u32,
    },
    /// The task ended before any agent could be told.
    Expired,
}

impl CommandState {
    /// Whether nothing more can become of it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Accepted => false,
            Self::Applied { .. } | Self::Carried { .. } | Self::Expired => true,
        }
    }
}
