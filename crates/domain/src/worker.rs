//! Workers, as the coordinator knows them.
//!
//! What a worker does inside is not here; see the crate `kapelle-worker`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, Fence, SessionEpoch, TaskId, Timestamp, WorkerId};

/// What a worker says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its name.
    pub worker: WorkerId,
    /// Whether it lives in the coordinator's own process and dies with it.
    pub embedded: bool,
    /// How many attempts it takes at once.
    pub slots: u32,
    /// The agents it can run, by configured name.
    pub agents: Vec<Arc<str>>,
    /// The attempts that it holds, from before this registration.
    pub inventory: Vec<Held>,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub attempt: AttemptId,
    /// Under which grant.
    pub fence: Fence,
}

/// A worker with an open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// What it said of itself.
    pub registration: Registration,
    /// Its newest registration.
    pub session: SessionEpoch,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// Whether it takes new work; a draining worker finishes what it has.
    pub draining: bool,
    /// The tasks whose current attempt it holds.
    pub holds: BTreeSet<TaskId>,
}

impl Worker {
    /// How many more attempts it can take.
    #[must_use]
    pub fn free_slots(&self) -> u32 {
        if self.draining {
            return 0;
        }
        let held = u32::try_from(self.holds.len()).unwrap_or(u32::MAX);
        self.registration.slots.saturating_sub(held)
    }

    /// Whether it has the agent.
    #[must_use]
    pub fn runs(&self, agent: &str) -> bool {
        self.registration.agents.iter().any(|known| &**known == agent)
    }
}
