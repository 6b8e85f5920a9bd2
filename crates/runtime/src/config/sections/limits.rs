//! `limits`: bounds on what runs and on what an attempt may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Invalid, require_at_least_one};
use crate::config::size::ByteSize;

/// Bounds on what runs and on what an attempt may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How many attempts may run at once, over all runs. Default: no limit but `run.concurrency`.
    #[schemars(range(min = 1))]
    pub max_running: Option<u32>,
    /// How many attempts may run at once on one repository. Default: no limit.
    #[schemars(range(min = 1))]
    pub per_repository: Option<u32>,
    /// How much output of one attempt is kept; what is more is left out, and marked as left out.
    pub output_bytes: ByteSize,
    /// How large the working copy of one attempt may grow.
    pub workspace_bytes: ByteSize,
    /// How many files the working copy of one attempt may have.
    #[schemars(range(min = 1))]
    pub workspace_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_running: None,
            per_repository: None,
            output_bytes: ByteSize::from_mib(8),
            workspace_bytes: ByteSize::from_mib(20 * 1024),
            workspace_files: 1_000_000,
        }
    }
}

impl Limits {
    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        require_at_least_one(&[
            ("max_running", self.max_running.unwrap_or(1).into()),
            ("per_repository", self.per_repository.unwrap_or(1).into()),
            ("output_bytes", self.output_bytes.0),
            ("workspace_bytes", self.workspace_bytes.0),
            ("workspace_files", self.workspace_files),
        ])
    }
}
