//! Inviting machines to a fleet, and revoking them.

use super::view::{InvitationRequest, InvitationView, RevocationView};
use super::{Error, Service};
use crate::admission::Admission;

impl Service {
    /// Invites a machine to become a worker.
    ///
    /// # Errors
    /// When there is no fleet to join, it can't be invited like this, or it can't be recorded.
    pub async fn invite(&self, request: InvitationRequest) -> Result<InvitationView, Error> {
        self.admission()?.invite(request).await
    }

    /// Shuts a worker out of the fleet.
    ///
    /// # Errors
    /// When there is no such worker, or it can't be recorded.
    pub async fn revoke(&self, worker: &str) -> Result<RevocationView, Error> {
        self.admission()?.revoke(worker).await
    }

    fn admission(&self) -> Result<&Admission, Error> {
        self.0.admission.as_ref().ok_or_else(|| {
            Error::conflict("no_admission", "this coordinator lets nobody into a fleet").hint(
                "start nats-server with what `kapelle nats config` prints, and then `kapelle coordinator`",
            )
        })
    }
}
