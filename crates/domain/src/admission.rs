//! Who may become a worker of a fleet, and who may stay one.
//!
//! An invitation is good for a time and for a number of machines. A machine that hands it in names
//! the key that it made for itself, and is the worker of its name from then on, until it is revoked.
//! Keys are opaque here; what proves that somebody has one is no concern of this module.

use std::time::Duration;

use crate::ids::{Timestamp, WorkerId};
use crate::worker::is_worker_name;

/// The longest that an invitation may be good.
pub const INVITATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The most machines that one invitation may be for.
pub const USES_MAX: u32 = 10_000;

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its name, one token of a subject.
    pub id: String,
    /// The public key that whoever hands it in has.
    pub key: String,
    /// As which worker; without it, the machine chooses.
    pub worker: Option<WorkerId>,
    /// For how many machines.
    pub uses_max: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// That the owner of a key is a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The public key.
    pub key: String,
    /// The worker.
    pub worker: WorkerId,
    /// By which invitation.
    pub invitation: String,
    /// Since when.
    pub issued_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// A change of who is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Somebody was invited.
    Invited(Invitation),
    /// A machine has become a worker.
    Admitted(Credential),
    /// A worker isn't one any more, and invitations in its name are void.
    Revoked {
        /// Which.
        worker: WorkerId,
        /// When.
        at: Timestamp,
    },
}

/// Everybody who was invited or admitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register {
    /// Invitations, those that are over among them.
    pub invitations: Vec<Invitation>,
    /// Credentials, revoked ones among them.
    pub credentials: Vec<Credential>,
}

/// Why somebody isn't let in, or invited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The name can't be one.
    #[error("`{name}` can't name a worker: lower-case letters, digits, `-` and `_`, 63 at most")]
    Name {
        /// The name.
        name: String,
    },
    /// No such invitation.
    #[error("the invitation is not known here, or was withdrawn")]
    Unknown,
    /// Its time is over.
    #[error("the invitation has expired")]
    Expired,
    /// It was used as often as it may be.
    #[error("the invitation was used already, by worker {worker}")]
    Used {
        /// Who used it last.
        worker: WorkerId,
    },
    /// It is for another worker.
    #[error("the invitation is for worker {invited}, not for {asked}")]
    OtherWorker {
        /// For whom.
        invited: WorkerId,
        /// Who asked.
        asked: String,
    },
    /// Another machine has the name.
    #[error(
        "another machine is worker {worker}: take another name, or revoke it first, with `kapelle workers revoke {worker}`"
    )]
    Taken {
        /// The name.
        worker: WorkerId,
    },
    /// It was let in, and revoked since.
    #[error("worker {worker} was revoked")]
    Revoked {
        /// Which.
        worker: WorkerId,
    },
    /// There is nobody to revoke.
    #[error("no machine has joined as worker {worker}, and nobody is invited as it")]
    Nobody {
        /// The name.
        worker: String,
    },
    /// For longer, or for more machines, than an invitation can be.
    #[error("an invitation is good for at most 366 days and for 1 to {USES_MAX} machines")]
    Limits,
}

/// What somebody with an invitation asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The invitation.
    pub invitation: &'a str,
    /// The name that it wants; nothing for the one that the invitation names.
    pub worker: &'a str,
    /// The key that it has made.
    pub key: &'a str,
}

impl Register {
    /// Whether somebody may be invited like this.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_invitation(&self, invitation: &Invitation) -> Result<(), Denial> {
        let span = invitation.expires_at.since(invitation.created_at);
        if span.is_zero() || span > INVITATION_MAX || !(1..=USES_MAX).contains(&invitation.uses_max)
        {
            return Err(Denial::Limits);
        }
        match &invitation.worker {
            Some(_) if invitation.uses_max > 1 => Err(Denial::Limits),
            Some(worker) if !is_worker_name(&worker.0) => {
                Err(Denial::Name { name: worker.0.clone() })
            }
            Some(worker) if self.admitted(worker).is_some() => {
                Err(Denial::Taken { worker: worker.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The invitation as it was made, so that its key can be asked for.
    #[must_use]
    pub fn invitation(&self, id: &str) -> Option<&Invitation> {
        self.invitations.iter().find(|invitation| invitation.id == id)
    }

    /// Whether a machine becomes a worker. One that asks again with its key gets the same answer.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_join(&self, ask: Ask<'_>, now: Timestamp) -> Result<Credential, Denial> {
        let invitation = self.invitation(ask.invitation).ok_or(Denial::Unknown)?;
        if let Some(known) = self.credentials.iter().find(|known| known.key == ask.key) {
            return match known.revoked_at {
                Some(_) => Err(Denial::Revoked { worker: known.worker.clone() }),
                None if known.invitation == ask.invitation => Ok(known.clone()),
                None => Err(Denial::Taken { worker: known.worker.clone() }),
            };
        }
        if invitation.expires_at <= now {
            return Err(Denial::Expired);
        }
        let used = self.credentials.iter().filter(|known| known.invitation == invitation.id);
        let used: Vec<&Credential> = used.collect();
        if let Some(last) = used.last()
            && used.len() >= usize::try_from(invitation.uses_max).unwrap_or(usize::MAX)
        {
            return Err(Denial::Used { worker: last.worker.clone() });
        }
        let worker = match &invitation.worker {
            Some(worker) if ask.worker.is_empty() || ask.worker == worker.0 => worker.clone(),
            Some(worker) => {
                let (invited, asked) = (worker.clone(), ask.worker.to_owned());
                return Err(Denial::OtherWorker { invited, asked });
            }
            None => WorkerId(ask.worker.to_owned()),
        };
        if !is_worker_name(&worker.0) {
            return Err(Denial::Name { name: worker.0 });
        }
        if self.admitted(&worker).is_some() {
            return Err(Denial::Taken { worker });
        }
        Ok(Credential {
            key: ask.key.to_owned(),
            worker,
            invitation: invitation.id.clone(),
            issued_at: now,
            revoked_at: None,
        })
    }

    /// Whether there is anybody to revoke.
    ///
    /// # Errors
    /// When nobody has the name or is invited to it.
    pub fn decide_revocation(&self, worker: &str) -> Result<(), Denial> {
        let id = WorkerId(worker.to_owned());
        let is_invited = self.invitations.iter().any(|one| one.worker.as_ref() == Some(&id));
        if self.admitted(&id).is_some() || is_invited {
            return Ok(());
        }
        Err(Denial::Nobody { worker: worker.to_owned() })
    }

    /// What the worker connects with, if it may.
    #[must_use]
    pub fn admitted(&self, worker: &WorkerId) -> Option<&Credential> {
        self.credentials.iter().find(|one| one.worker == *worker && one.revoked_at.is_none())
    }

    /// Makes a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Invited(invitation) => self.invitations.push(invitation),
            Change::Admitted(credential) => {
                self.credentials.retain(|known| known.key != credential.key);
                self.credentials.push(credential);
            }
            Change::Revoked { worker, at } => {
                self.invitations.retain(|invitation| invitation.worker.as_ref() != Some(&worker));
                let known = self.credentials.iter_mut();
                known
                    .filter(|known| known.worker == worker && known.revoked_at.is_none())
                    .for_each(|known| known.revoked_at = Some(at));
            }
        }
    }
}

#[cfg(test)]
mod tests;
