//! Letting machines into a fleet, and shutting them out.
//!
//! What was decided is committed before anybody is told: the claims for a new worker, and the
//! server's orders to let a revoked one in no more. The server is told again whenever it may have
//! forgotten. Who may be let in is decided in [`kapelle_domain::admission`].

use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::nats::authority::{Authority, Revoked};
use kapelle_bus::nats::join::{JoinEnd, JoinRequest, JoinToken, TokenTerms};
use kapelle_bus::nats::{self, NatsOptions, PublicKey, publish_account};
use kapelle_bus::subject::WorkerName;
use kapelle_domain::admission::{Ask, Change, Credential, Invitation, Register};
use kapelle_domain::ids::{Timestamp, WorkerId};
use kapelle_runtime::clock::Clock;
use kapelle_runtime::identity;
use kapelle_runtime::telemetry::Chain;
use kapelle_store::{Batch, Store};
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::service::Error;
use crate::service::view::{InvitationRequest, InvitationView, RevocationView};

/// The wait before the server is told again what it could not be told.
const AGAIN: Duration = Duration::from_secs(2);

/// What admission is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where it is recorded who was let in.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Clock,
    /// Who signs.
    pub authority: Authority,
    /// How to reach the server; as whom doesn't matter.
    pub options: NatsOptions,
    /// Certificates, in PEM, of authorities that workers are to trust.
    pub authorities: Option<String>,
}

/// Lets machines in and shuts them out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// Held while something is decided, until it is committed.
    deciding: Mutex<()>,
    /// Held while the server is told, so that nothing older is told last.
    told: Mutex<u64>,
    /// Rung when the server has to be told something.
    untold: Notify,
}

/// Why the server doesn't know who may connect.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// It can't be read who was let in.
    #[error("it can't be read who was let in")]
    Store(#[from] kapelle_store::Error),
    /// The server can't be told.
    #[error(transparent)]
    Nats(#[from] nats::Error),
}

impl Admission {
    /// Admission of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let shared = Shared {
            parts,
            deciding: Mutex::default(),
            told: Mutex::default(),
            untold: Notify::new(),
        };
        Self(Arc::new(shared))
    }

    /// Tells the server what each role may do, and who is revoked.
    ///
    /// # Errors
    /// When it can't be told, or doesn't take it.
    pub async fn publish(&self) -> Result<(), Untold> {
        let Shared { parts, told, .. } = &*self.0;
        let mut told = told.lock().await;
        // Not from memory: another coordinator may have revoked somebody since.
        let revoked = revoked(&parts.store.register().await?);
        // A server compares whole seconds and keeps the newer.
        let now = seconds(self.now()).max(*told + 1);
        publish_account(&parts.options, &parts.authority, &revoked, now).await?;
        *told = now;
        Ok(())
    }

    /// Invites a machine, or several.
    ///
    /// # Errors
    /// When it can't be, or can't be recorded.
    pub async fn invite(&self, request: InvitationRequest) -> Result<InvitationView, Error> {
        let Shared { parts, deciding, .. } = &*self.0;
        let now = self.now();
        let expires_at = now.after(Duration::from_secs(request.seconds));
        let worker = request.worker.map(WorkerId);
        if let Some(worker) = &worker {
            WorkerName::new(worker)
                .map_err(|error| Error::invalid("worker_name", error.to_string()))?;
        }
        let servers = if request.servers.is_empty() {
            parts.options.servers.clone()
        } else {
            request.servers
        };
        if servers.iter().any(|server| server.contains('@')) {
            let message = "an address in an invitation can't have a user and a password";
            return Err(
                Error::invalid("servers", message).hint("give the address alone: --nats URL")
            );
        }
        let id = format!("{:016x}", identity::seed());
        let terms = TokenTerms {
            servers: servers.clone(),
            root: parts.options.root.clone(),
            worker: worker.clone(),
            require_tls: parts.options.tls_required,
            authorities: parts.authorities.clone(),
        };
        let (now_s, until_s) = (seconds(now), seconds(expires_at));
        let (token, key) = JoinToken::issue(&parts.authority, &id, terms, now_s, until_s)
            .map_err(|error| Error::internal("unsigned", Chain(&error).to_string()))?;
        let invitation = Invitation {
            id,
            key: key.to_string(),
            worker,
            uses_max: request.uses,
            created_at: now,
            expires_at,
        };
        let _deciding = deciding.lock().await;
        let register = parts.store.register().await?;
        register
            .decide_invitation(&invitation)
            .map_err(|denial| Error::conflict("not_invited", denial.to_string()))?;
        let view = InvitationView {
            worker: invitation.worker.as_ref().map(|worker| worker.0.clone()),
            token: token.to_text().reveal().to_owned(),
            servers,
            uses: invitation.uses_max,
            expires_at: invitation.expires_at.0,
        };
        self.record(Change::Invited(invitation)).await?;
        Ok(view)
    }

    /// Shuts a worker out: its connections end, and it doesn't come back.
    ///
    /// # Errors
    /// When there is none, or it can't be recorded.
    pub async fn revoke(&self, worker: &str) -> Result<RevocationView, Error> {
        {
            let _deciding = self.0.deciding.lock().await;
            let register = self.0.parts.store.register().await?;
            register
                .decide_revocation(worker)
                .map_err(|denial| Error::not_found("unknown_worker", denial.to_string()))?;
            let (worker, at) = (WorkerId(worker.to_owned()), self.now());
            self.record(Change::Revoked { worker, at }).await?;
        }
        let told = self.publish().await;
        if let Err(error) = &told {
            tracing::warn!(worker, error = %Chain(error), "the NATS server doesn't know yet that a worker is revoked");
            self.0.untold.notify_one();
        }
        let untold = told.err().map(|error| Chain(&error).to_string());
        Ok(RevocationView { worker: worker.to_owned(), untold })
    }

    /// Takes invitations that are handed in, and keeps the server informed, until `end`.
    pub async fn serve(
        self,
        joins: JoinEnd,
        mut online: watch::Receiver<bool>,
        end: CancellationToken,
    ) {
        online.mark_unchanged();
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                request = joins.next() => match request {
                    Ok(request) => self.answer(request).await,
                    Err(_) => return,
                },
                // It may be another server, or one that has lost everything.
                Ok(()) = online.changed() => if *online.borrow_and_update() { self.tell(&end).await },
                () = self.0.untold.notified() => self.tell(&end).await,
            }
        }
    }

    async fn tell(&self, end: &CancellationToken) {
        if let Err(error) = self.publish().await {
            tracing::warn!(error = %Chain(&error), "the NATS server can't be told who may connect; it is tried again");
            end.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
            self.0.untold.notify_one();
        }
    }

    async fn answer(&self, request: JoinRequest) {
        match self.admit(&request).await {
            Ok((worker, claims)) => {
                tracing::info!(%worker, invitation = request.invitation, "a machine has joined");
                request.welcome(&worker, claims).await;
            }
            Err(Turned::Away(reason)) => {
                tracing::warn!(invitation = request.invitation, reason, "a machine was not let in");
                request.refuse(reason).await;
            }
            Err(Turned::Later(reason)) => {
                tracing::error!(invitation = request.invitation, reason, "nobody can be let in");
                request.put_off().await;
            }
        }
    }

    async fn admit(&self, request: &JoinRequest) -> Result<(WorkerName, String), Turned> {
        let _deciding = self.0.deciding.lock().await;
        let register = self.0.parts.store.register().await;
        let register = register.map_err(|error| Turned::Later(Chain(&error).to_string()))?;
        let away = |error: &dyn std::error::Error| Turned::Away(error.to_string());
        let key = register.invitation(&request.invitation).map(|known| known.key.clone());
        if let Some(key) = key
            && !PublicKey::new(key).is_ok_and(|key| request.is_signed_by(&key))
        {
            return Err(Turned::Away("it isn't signed by the invitation's key".to_owned()));
        }
        let ask = Ask {
            invitation: &request.invitation,
            worker: &request.worker,
            key: request.key.as_str(),
        };
        let now = self.now();
        let credential = register.decide_join(ask, now).map_err(|denial| away(&denial))?;
        let worker = WorkerName::new(&credential.worker).map_err(|error| away(&error))?;
        let claims = self.claims(&worker, &request.key, &credential)?;
        self.record(Change::Admitted(credential))
            .await
            .map_err(|error| Turned::Later(error.to_string()))?;
        Ok((worker, claims))
    }

    fn claims(
        &self,
        worker: &WorkerName,
        key: &PublicKey,
        credential: &Credential,
    ) -> Result<String, Turned> {
        let issued_at = seconds(credential.issued_at);
        let claims = self.0.parts.authority.worker(worker, key, issued_at);
        claims.map_err(|error| Turned::Later(Chain(&error).to_string()))
    }

    async fn record(&self, change: Change) -> Result<(), Error> {
        let batch = Batch { admissions: vec![change], ..Batch::default() };
        Ok(self.0.parts.store.commit(batch).await?)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.0.parts.clock.now())
    }
}

/// Why a machine isn't let in.
enum Turned {
    /// It was decided so.
    Away(String),
    /// It could not be decided or recorded.
    Later(String),
}

fn revoked(register: &Register) -> Revoked {
    let revoked = register
        .credentials
        .iter()
        .filter_map(|credential| Some((credential.key.clone(), seconds(credential.revoked_at?))));
    revoked.collect()
}

/// Claims count in whole seconds.
fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.0 / 1_000).unwrap_or(0)
}
