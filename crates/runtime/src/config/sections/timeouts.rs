//! `timeouts`: how long things may take between coordinator and worker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Invalid, require_some_time};
use crate::config::duration::HumanDuration;

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// From the claim of a task to the start of its agent.
    pub claim: HumanDuration,
    /// From the start of an agent to its end, for all agents. Default: the agent's own `timeout`.
    pub attempt: Option<HumanDuration>,
    /// How long an agent may be silent before a warning. Default: no warning.
    pub no_progress: Option<HumanDuration>,
    /// How long a worker owns an attempt without being heard of.
    pub lease_ttl: HumanDuration,
    /// How long a worker may be missing before its attempts are given to others.
    pub lease_lost_after: HumanDuration,
    /// How often a worker says that it is alive.
    pub heartbeat: HumanDuration,
    /// How long the agents of a `kapelle worker` may go on once it was told to end (SIGTERM, Ctrl-C).
    /// Then they are ended, and other workers go on from what they have done.
    pub drain: HumanDuration,
    /// How long the agents of a `kapelle worker` that was killed go on and wait for it to be started
    /// again. Never longer than until their attempts may be given to others.
    pub orphan_grace: HumanDuration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            claim: HumanDuration::from_secs(60),
            attempt: None,
            no_progress: None,
            lease_ttl: HumanDuration::from_secs(30),
            lease_lost_after: HumanDuration::from_mins(10),
            heartbeat: HumanDuration::from_secs(5),
            drain: HumanDuration::from_mins(10),
            orphan_grace: HumanDuration::from_mins(5),
        }
    }
}

impl Timeouts {
    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        require_some_time(&[("claim", self.claim), ("heartbeat", self.heartbeat)])?;
        let optional = [("attempt", self.attempt), ("no_progress", self.no_progress)];
        for (key, timeout) in optional {
            timeout.map_or(Ok(()), |timeout| require_some_time(&[(key, timeout)]))?;
        }
        if self.lease_ttl.0 < self.heartbeat.0.saturating_mul(2) {
            return Err(Invalid::new("lease_ttl", "must be at least twice the heartbeat")
                .hint("one lost heartbeat must not cost a worker its lease"));
        }
        if self.lease_lost_after < self.lease_ttl {
            let reason = format!("must not be less than lease_ttl ({})", self.lease_ttl);
            return Err(Invalid::new("lease_lost_after", reason));
        }
        Ok(())
    }
}
