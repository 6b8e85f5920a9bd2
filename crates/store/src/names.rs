//! The stored form of a command's state, which is two columns.
//!
//! Other names are those of the domain's own types.

use kapelle_domain::command::CommandState;

/// The name of a command's state, and the attempt that it names.
pub(crate) fn command_state(state: &CommandState) -> (&'static str, Option<u32>) {
    match state {
        CommandState::Accepted => ("accepted", None),
        CommandState::Applied { attempt } => ("applied", Some(*attempt)),
        CommandState::Carried { attempt } => ("carried", Some(*attempt)),
        CommandState::Expired => ("expired", None),
    }
}

/// What [`command_state`] gave; `None` when the two don't fit together.
pub(crate) fn parse_command_state(name: &str, attempt: Option<u32>) -> Option<CommandState> {
    match (name, attempt) {
        ("accepted", None) => Some(CommandState::Accepted),
        ("applied", Some(attempt)) => Some(CommandState::Applied { attempt }),
        ("carried", Some(attempt)) => Some(CommandState::Carried { attempt }),
        ("expired", None) => Some(CommandState::Expired),
        _ => None,
    }
}
