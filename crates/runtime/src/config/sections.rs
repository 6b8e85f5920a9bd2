//! The sections of the configuration, one file each: fields, defaults, and what makes sense.

pub(super) mod agents;
pub(super) mod integrate;
pub(super) mod limits;
pub(super) mod nats;
pub(super) mod project;
pub(super) mod retry;
pub(super) mod run;
pub(super) mod server;
pub(super) mod store;
pub(super) mod timeouts;
pub(super) mod verify;

use super::duration::HumanDuration;

/// A value that has the right type and makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    /// From the section to the key.
    pub(super) path: Vec<String>,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

impl Invalid {
    pub(super) fn new(key: &str, reason: impl Into<String>) -> Self {
        Self { path: vec![key.to_owned()], reason: reason.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn under(mut self, segment: &str) -> Self {
        self.path.insert(0, segment.to_owned());
        self
    }
}

/// Fails for the first of `durations` that is zero.
fn require_some_time(durations: &[(&str, HumanDuration)]) -> Result<(), Invalid> {
    match durations.iter().find(|(_, duration)| duration.is_zero()) {
        Some((key, _)) => Err(Invalid::new(key, "must be longer than zero")),
        None => Ok(()),
    }
}

/// Fails for the first of `numbers` that is zero.
fn require_at_least_one(numbers: &[(&str, u64)]) -> Result<(), Invalid> {
    match numbers.iter().find(|(_, number)| *number == 0) {
        Some((key, _)) => Err(Invalid::new(key, "must be at least 1")),
        None => Ok(()),
    }
}
