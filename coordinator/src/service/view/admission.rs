//! Inviting machines to a fleet, and revoking them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whom to invite to become a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationRequest {
    /// As which worker; without it, the machine chooses.
    #[serde(default)]
    pub worker: Option<String>,
    /// For how long the invitation is good.
    pub seconds: u64,
    /// For how many machines.
    pub uses: u32,
    /// Where the machine finds the NATS server; where the coordinator finds it, if that is empty.
    #[serde(default)]
    pub servers: Vec<String>,
}

/// An invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationView {
    /// As which worker, if that was said.
    pub worker: Option<String>,
    /// What is given to `kapelle join` on the machine. A secret; it isn't shown again.
    pub token: String,
    /// Where the machine will look for the NATS server.
    pub servers: Vec<String>,
    /// For how many machines it is good.
    pub uses: u32,
    /// Until when.
    pub expires_at: i64,
}

impl std::fmt::Debug for InvitationView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationView").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// A worker that was shut out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevocationView {
    /// Its name.
    pub worker: String,
    /// Why the NATS server doesn't know yet, if it doesn't. It is told as soon as it can be.
    pub untold: Option<String>,
}
