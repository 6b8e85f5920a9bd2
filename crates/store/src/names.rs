//! The stored names of what columns are filtered by.
//!
//! A name, once released, keeps its meaning. The full values are in the JSON columns.

use kapelle_domain::attempt::{Outcome, Phase, Verdict};
use kapelle_domain::command::CommandState;
use kapelle_domain::run::RunOutcome;

pub(crate) fn run_outcome(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Succeeded => "succeeded",
        RunOutcome::Failed => "failed",
        RunOutcome::Cancelled => "cancelled",
    }
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Offered => "offered",
        Phase::Claimed => "claimed",
        Phase::Running => "running",
        Phase::Suspect => "suspect",
        Phase::Cancelling => "cancelling",
        Phase::Ended => "ended",
    }
}

pub(crate) fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::ChecksFailed => "checks_failed",
        Outcome::AgentFailed => "agent_failed",
        Outcome::TimedOut => "timed_out",
        Outcome::RateLimited { .. } => "rate_limited",
        Outcome::Infrastructure => "infrastructure",
        Outcome::Unrunnable => "unrunnable",
        Outcome::Cancelled => "cancelled",
        Outcome::Lost => "lost",
        Outcome::Interrupted => "interrupted",
        Outcome::Withdrawn => "withdrawn",
    }
}

pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Unknown => "unknown",
    }
}

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
