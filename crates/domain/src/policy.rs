//! Policies of a run: how often, how long, how many at once.
//!
//! Values only; the engine applies them. Durations are written as milliseconds so that what is
//! stored and sent is a plain number.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds as an integer: the stored form of every duration.
pub mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes a duration as whole milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads whole milliseconds.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// How often a task is tried, with a separate budget for each class of failure: a machine that
/// dies must not use up the tries that are meant for the work itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Tries that may end in a failure of the work (agent failed, checks failed, timeout).
    pub app_attempts: u32,
    /// Tries that may end in a failure of the machinery (worker lost, no disk).
    pub infra_attempts: u32,
    /// Tries to integrate one result while something beside it hinders that (a lock, no disk).
    #[serde(default = "integration_attempts")]
    pub integration_attempts: u32,
    /// For how long rate limits may keep a task waiting, counted from its first one.
    #[serde(with = "millis")]
    pub rate_limit_for: Duration,
    /// The waiting time before the first retry, doubled for each further one.
    #[serde(with = "millis")]
    pub backoff_base: Duration,
    /// The longest waiting time.
    #[serde(with = "millis")]
    pub backoff_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            app_attempts: 2,
            infra_attempts: 3,
            integration_attempts: integration_attempts(),
            rate_limit_for: Duration::from_secs(3600),
            backoff_base: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

/// With the usual pauses some minutes.
fn integration_attempts() -> u32 {
    10
}

impl RetryPolicy {
    /// The wait before the retry that follows `failures` failures (at least 1): full jitter, a
    /// uniform draw from nothing to the doubled-and-capped base.
    ///
    /// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    #[must_use]
    pub fn backoff(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let ceiling = self.backoff_base.saturating_mul(1 << doublings).min(self.backoff_max);
        let ceiling = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random % ceiling.saturating_add(1))
    }
}

/// The time limits of a run. Each is evaluated by the coordinator; the worker mirrors those of
/// the attempt, so that a cut-off worker ends its agents by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// From grant to the worker's report that the agent runs; then the task is offered anew.
    #[serde(with = "millis")]
    pub claim: Duration,
    /// From start to end of one attempt.
    #[serde(with = "millis")]
    pub attempt: Duration,
    /// Without a renewal for this long an attempt is suspect.
    #[serde(with = "millis")]
    pub lease_ttl: Duration,
    /// Without a renewal for this long an attempt is lost and another may start.
    #[serde(with = "millis")]
    pub lost_after: Duration,
    /// From the order to stop to the end of the agent at the latest; then it counts as stopped
    /// without confirmation.
    #[serde(with = "millis")]
    pub cancel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            claim: Duration::from_secs(60),
            attempt: Duration::from_secs(30 * 60),
            lease_ttl: Duration::from_secs(30),
            lost_after: Duration::from_secs(600),
            cancel: Duration::from_secs(60),
        }
    }
}

/// What holds over all runs: how many attempts may be live at once, and how long workers may be
/// silent. A run has limits of its own beside these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Over everything.
    pub total: u32,
    /// Per agent name; an agent that isn't listed has no limit of its own.
    pub per_agent: std::collections::BTreeMap<String, u32>,
    /// Per repository.
    pub per_repository: u32,
    /// How long a worker may be silent before it is offered nothing more.
    #[serde(with = "millis")]
    pub worker_ttl: Duration,
    /// How long a worker may be silent before it counts as gone.
    #[serde(with = "millis")]
    pub worker_lost_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: u32::MAX,
            per_agent: std::collections::BTreeMap::new(),
            per_repository: u32::MAX,
            worker_ttl: Duration::from_secs(30),
            worker_lost_after: Duration::from_secs(600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_stays_under_its_ceiling_and_reaches_it() {
        let policy = RetryPolicy::default();
        for (failures, ceiling_ms) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (7, 60_000), (u32::MAX, 60_000)]
        {
            let ceiling = Duration::from_millis(ceiling_ms);
            assert_eq!(policy.backoff(failures, ceiling_ms), ceiling, "the ceiling can be drawn");
            for random in [0, 1, 999, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
                assert!(policy.backoff(failures, random) <= ceiling);
            }
        }
    }
}
