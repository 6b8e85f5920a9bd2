//! `retry`: when a failed attempt is tried again. Each kind of failure has a budget of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Invalid, require_at_least_one, require_some_time};
use crate::config::duration::HumanDuration;

/// When a failed attempt is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// How often a task is tried in all when the agent or a check fails.
    #[schemars(range(min = 1))]
    pub app_attempts: u32,
    /// How often a task is tried in all when a worker, a disk or a network fails.
    #[schemars(range(min = 1))]
    pub infra_attempts: u32,
    /// How often a finished result is tried to be integrated while something beside it is in the
    /// way: a lock, a full disk. No agent works again for it.
    #[schemars(range(min = 1))]
    pub integration_attempts: u32,
    /// How long a task is tried again while its provider refuses for too many requests.
    pub rate_limit_for: HumanDuration,
    /// The longest wait before the second try; it doubles from try to try.
    pub backoff_base: HumanDuration,
    /// The longest wait before any try.
    pub backoff_max: HumanDuration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            app_attempts: 2,
            infra_attempts: 3,
            integration_attempts: 10,
            rate_limit_for: HumanDuration::from_mins(60),
            backoff_base: HumanDuration::from_secs(1),
            backoff_max: HumanDuration::from_secs(60),
        }
    }
}

impl Retry {
    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        require_at_least_one(&[
            ("app_attempts", self.app_attempts.into()),
            ("infra_attempts", self.infra_attempts.into()),
            ("integration_attempts", self.integration_attempts.into()),
        ])?;
        require_some_time(&[("backoff_base", self.backoff_base)])?;
        if self.backoff_max < self.backoff_base {
            let reason = format!("must not be less than backoff_base ({})", self.backoff_base);
            return Err(Invalid::new("backoff_max", reason));
        }
        Ok(())
    }
}
