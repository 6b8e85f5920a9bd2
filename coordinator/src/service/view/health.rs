//! How the process that answers speaks of itself. Whether it can do its work is asked elsewhere.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a process is called that takes nothing new and ends once what runs is done.
const DRAINING: &str = "draining";

/// The process that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// `ok`, or `draining` when it takes nothing new and ends once what runs is done.
    pub status: String,
    /// The version of the program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The project's root.
    pub project: String,
    /// What it was started as, such as `run` or `up`.
    pub role: String,
}

impl HealthView {
    /// The word for a process that drains, or for one that doesn't.
    #[must_use]
    pub(crate) fn status_of(draining: bool) -> String {
        if draining { DRAINING } else { "ok" }.to_owned()
    }

    /// Whether it takes nothing new and ends once what runs is done.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.status == DRAINING
    }
}
