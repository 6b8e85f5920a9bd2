//! Stored forms that are not the names of the domain's own types: a command's state, which is
//! three columns, and a worker's, which is its duty unless it is gone.

use kapelle_domain::command::CommandState;
use kapelle_domain::worker::Duty;

/// A command's state in columns.
pub(crate) struct CommandStateParts<'s> {
    /// Its name.
    pub(crate) name: &'static str,
    /// The attempt that it names.
    pub(crate) attempt: Option<u32>,
    /// Why, when it was rejected.
    pub(crate) reason: Option<&'s str>,
}

pub(crate) fn command_state(state: &CommandState) -> CommandStateParts<'_> {
    let (attempt, reason) = match state {
        CommandState::Accepted | CommandState::Expired => (None, None),
        CommandState::Delivered { attempt }
        | CommandState::Applied { attempt }
        | CommandState::Carried { attempt } => (Some(*attempt), None),
        CommandState::Rejected { reason } => (None, Some(reason.as_str())),
    };
    CommandStateParts { name: state.name(), attempt, reason }
}

/// What [`command_state`] gave; `None` when the parts don't fit together.
pub(crate) fn parse_command_state(
    name: &str,
    attempt: Option<u32>,
    reason: Option<String>,
) -> Option<CommandState> {
    match (name, attempt, reason) {
        ("accepted", None, None) => Some(CommandState::Accepted),
        ("delivered", Some(attempt), None) => Some(CommandState::Delivered { attempt }),
        ("applied", Some(attempt), None) => Some(CommandState::Applied { attempt }),
        ("carried", Some(attempt), None) => Some(CommandState::Carried { attempt }),
        ("rejected", None, Some(reason)) => Some(CommandState::Rejected { reason }),
        ("expired", None, None) => Some(CommandState::Expired),
        _ => None,
    }
}

/// The stored state of a worker with an open session.
pub(crate) fn worker_state(duty: Duty) -> &'static str {
    match duty {
        // Older than the other duties.
        Duty::Active => "registered",
        Duty::Cordoned | Duty::Draining => duty.name(),
    }
}

/// What [`worker_state`] gave.
pub(crate) fn parse_worker_state(state: &str) -> Option<Duty> {
    [Duty::Active, Duty::Cordoned, Duty::Draining]
        .into_iter()
        .find(|duty| worker_state(*duty) == state)
}
