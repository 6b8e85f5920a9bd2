//! How a machine that was invited becomes a worker: the token that is pasted there, and both ends of
//! the exchange.
//!
//! A token holds a key with which one can connect until it expires, and do nothing but hand the
//! invitation in. The worker makes a key of its own, whose secret half never leaves it, and gets
//! claims for it. Whether an invitation is good, and who is let in, is decided elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use futures_util::StreamExt as _;
use kapelle_domain::ids::WorkerId;
use kapelle_proto::v1;
use nkeys::{KeyPair, KeyPairType};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::authority::{Authority, Unsigned, jwt};
use super::connection::{Asked, Connection, Counters, Identity};
use super::error::{Error, Unreachable};
use super::options::{Credentials, NatsOptions, Secret};
use super::permissions::PublicKey;
use crate::subject::{self, Root, Subjects, WorkerName};

/// How a token begins, so that a person and a scanner for secrets know one.
const PREFIX: &str = "kapelle-join-";

/// More than this is no token. A certificate of an authority is the most of it.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// How many bytes of a token tell whether it was copied whole.
const CHECKSUM: usize = 6;

/// How often an answer is waited for.
const TRIES: u32 = 3;

/// What is pasted on another machine to make a worker of it. A secret until it is used.
#[derive(Debug, Clone)]
pub struct JoinToken {
    servers: Vec<String>,
    root: Root,
    claims: String,
    seed: Secret,
    invitation: String,
    worker: Option<String>,
    require_tls: bool,
    authorities: Option<String>,
}

/// The form of a token's text.
#[derive(Serialize, Deserialize)]
struct Written {
    servers: Vec<String>,
    root: String,
    jwt: String,
    seed: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    worker: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    tls: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ca: Option<String>,
}

/// Text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It is something else.
    #[error("this is no token: one begins with {PREFIX}")]
    Other,
    /// Some of it is missing or has changed.
    #[error("the token is damaged: it was not copied whole, or somebody changed it")]
    Damaged,
}

/// What the coordinator puts into a token, beside what it makes itself.
#[derive(Debug, Clone)]
pub struct TokenTerms {
    /// Where the worker finds the server.
    pub servers: Vec<String>,
    /// The root of the fleet's subjects.
    pub root: Root,
    /// As which worker; without it, the machine chooses.
    pub worker: Option<WorkerId>,
    /// Whether the worker refuses a connection without TLS.
    pub require_tls: bool,
    /// Certificates, in PEM, of authorities that the worker is to trust.
    pub authorities: Option<String>,
}

impl JoinToken {
    /// Makes the token of an invitation, which is good from `now` until `expires_at`, in seconds
    /// since 1970. Also gives its public key, by which the coordinator knows it.
    ///
    /// # Errors
    /// When nothing can be signed.
    pub fn issue(
        authority: &Authority,
        invitation: &str,
        terms: TokenTerms,
        now: u64,
        expires_at: u64,
    ) -> Result<(Self, PublicKey), Unsigned> {
        let (claims, seed, key) = authority.guest(invitation, now, expires_at)?;
        let TokenTerms { servers, root, worker, require_tls, authorities } = terms;
        let token = Self {
            servers,
            root,
            claims,
            seed,
            invitation: invitation.to_owned(),
            worker: worker.map(|worker| worker.0),
            require_tls,
            authorities,
        };
        Ok((token, key))
    }

    /// The text to paste.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        let written = Written {
            servers: self.servers.clone(),
            root: self.root.as_str().to_owned(),
            jwt: self.claims.clone(),
            seed: self.seed.reveal().to_owned(),
            worker: self.worker.clone(),
            tls: self.require_tls,
            ca: self.authorities.clone(),
        };
        // Text and a truth value always have a JSON form.
        let mut bytes = serde_json::to_vec(&written).unwrap_or_default();
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum[..CHECKSUM]);
        Secret::new(format!("{PREFIX}{}", BASE64.encode(bytes)))
    }

    /// Reads what was pasted. White space in it is left out: terminals and mail break lines.
    ///
    /// # Errors
    /// When it is no token, or not a whole one.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(BadToken::Other);
        }
        let text: String = text.split_whitespace().collect();
        let encoded = text.strip_prefix(PREFIX).ok_or(BadToken::Other)?;
        let bytes = BASE64.decode(encoded).map_err(|_| BadToken::Damaged)?;
        let end = bytes.len().checked_sub(CHECKSUM).ok_or(BadToken::Damaged)?;
        let (body, checksum) = bytes.split_at(end);
        if Sha256::digest(body)[..CHECKSUM] != *checksum {
            return Err(BadToken::Damaged);
        }
        let written: Written = serde_json::from_slice(body).map_err(|_| BadToken::Damaged)?;
        let said = jwt::read(&written.jwt).ok_or(BadToken::Damaged)?;
        // It becomes part of a subject, and of names of files.
        if !subject::is_token(&said.name, 63) {
            return Err(BadToken::Damaged);
        }
        Ok(Self {
            servers: written.servers,
            root: Root::new(written.root).map_err(|_| BadToken::Damaged)?,
            claims: written.jwt,
            seed: Secret::new(written.seed),
            invitation: said.name,
            worker: written.worker,
            require_tls: written.tls,
            authorities: written.ca,
        })
    }

    /// With which one connects to hand the invitation in.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials::User { jwt: self.claims.clone(), seed: self.seed.clone() }
    }

    /// The invitation.
    #[must_use]
    pub fn invitation(&self) -> &str {
        &self.invitation
    }

    /// Where the server is.
    #[must_use]
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// Has it lead to other servers, where the machine finds them under another name.
    pub fn lead_to(&mut self, servers: Vec<String>) {
        self.servers = servers;
    }

    /// The root of the fleet's subjects.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// As which worker; without it, the machine chooses.
    #[must_use]
    pub fn worker(&self) -> Option<&str> {
        self.worker.as_deref()
    }

    /// Whether a connection without TLS is refused.
    #[must_use]
    pub fn require_tls(&self) -> bool {
        self.require_tls
    }

    /// Certificates, in PEM, of authorities to trust.
    #[must_use]
    pub fn authorities(&self) -> Option<&str> {
        self.authorities.as_deref()
    }

    /// When it expires, in seconds since 1970, as it says itself.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        jwt::read(&self.claims)?.expires_at
    }
}

/// In whose name the text of a `.creds` file speaks, as it says itself.
#[must_use]
pub fn bearer(credentials: &str) -> Option<String> {
    let mut lines = credentials.lines();
    lines.find(|line| line.contains("BEGIN NATS USER JWT"))?;
    Some(jwt::read(lines.next()?.trim())?.name)
}

/// The key that a worker makes for itself.
#[derive(Clone)]
pub struct WorkerKey(KeyPair);

impl std::fmt::Debug for WorkerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorkerKey(…)")
    }
}

impl WorkerKey {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(KeyPair::new_user())
    }

    /// One that was kept; `None` when the text is no seed of a user.
    #[must_use]
    pub fn from_seed(text: &str) -> Option<Self> {
        let pair = KeyPair::from_seed(text.trim()).ok()?;
        (pair.key_pair_type() == KeyPairType::User).then_some(Self(pair))
    }

    /// Its secret half.
    ///
    /// # Errors
    /// When the library can't write it.
    pub fn seed(&self) -> Result<Secret, Unsigned> {
        Ok(Secret::new(self.0.seed()?))
    }
}

/// Why a machine has not become a worker.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server can't be reached, or won't do.
    #[error(transparent)]
    Nats(#[from] Error),
    /// This machine can't make a key, or use one.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// The time of the token is over.
    #[error("the token has expired")]
    Expired,
    /// The server doesn't know the token.
    #[error("the NATS server at {servers} doesn't accept the token")]
    Unknown {
        /// Which.
        servers: String,
    },
    /// The coordinator has refused it.
    #[error("the coordinator refuses: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The coordinator doesn't answer.
    #[error("the server is there, but no coordinator of the fleet answers")]
    NoCoordinator,
    /// The answer makes no sense.
    #[error("the coordinator's answer can't be used: {reason}")]
    Nonsense {
        /// Why.
        reason: String,
    },
}

impl JoinError {
    /// How to mend it, in one or two sentences for people.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Nats(error) => error.hint(),
            Self::Expired => {
                "Ask for a new one: `kapelle workers invite` on the coordinator's side."
            }
            Self::Unknown { .. } => {
                "It was changed, or is of another fleet. Ask for a new one: `kapelle workers invite` on the coordinator's side."
            }
            Self::Refused { .. } => {
                "`kapelle workers invite` on the coordinator's side makes a new invitation."
            }
            Self::NoCoordinator => "Start `kapelle coordinator`, then try the same again.",
            Self::Unsigned(_) => "Try again.",
            Self::Nonsense { .. } => {
                "Are both of the same version? `kapelle version` shows this one."
            }
        }
    }
}

/// Hands the invitation of a token in, as `worker`, with the key that it will have. `now` is in
/// seconds since 1970. Repeated with the same key, it has the effect of one. `authorities` is the
/// file with those of the token.
///
/// # Errors
/// Why the machine is no worker.
pub async fn join(
    token: &JoinToken,
    worker: &str,
    key: &WorkerKey,
    authorities: Option<PathBuf>,
    now: u64,
) -> Result<(WorkerName, Credentials), JoinError> {
    let mut options = NatsOptions::new(token.servers.clone());
    options.root = token.root.clone();
    options.tls_required = token.require_tls;
    options.tls_ca = authorities;
    options.credentials = token.credentials();
    let identity = Identity {
        name: format!("guest {}", token.invitation),
        inbox: subject::guest_inbox(&token.invitation),
    };
    let opened = Connection::open(&options, identity, Arc::<Counters>::default()).await;
    let connection = opened.map_err(|error| match error {
        Error::Connect { reason: Unreachable::Unauthorized, .. }
            if token.expires_at().is_some_and(|at| at <= now) =>
        {
            JoinError::Expired
        }
        Error::Connect { reason: Unreachable::Unauthorized, servers, .. } => {
            JoinError::Unknown { servers }
        }
        other => JoinError::Nats(other),
    })?;
    let public = PublicKey::of(&key.0);
    let guest = KeyPair::from_seed(token.seed.reveal())
        .map_err(|error| JoinError::Nats(Error::Credentials { reason: error.to_string() }))?;
    let signed = to_sign(&token.invitation, worker, public.as_str());
    let signature = guest.sign(signed.as_bytes()).map_err(Unsigned::from)?;
    let request = v1::Join { worker: worker.to_owned(), key: public.to_string(), signature };
    let subject = Subjects::new(token.root.clone()).join(&token.invitation);
    let answer = ask(&connection, &subject, &request).await?;
    let v1::Welcome { worker, claims } = answer;
    let nonsense = |reason: &str| JoinError::Nonsense { reason: reason.to_owned() };
    let worker =
        WorkerName::new(&WorkerId(worker)).map_err(|error| nonsense(&error.to_string()))?;
    match jwt::read(&claims) {
        Some(said) if said.key == public.as_str() && said.name == worker.id().0 => {
            let seed = key.seed()?;
            Ok((worker, Credentials::User { jwt: claims, seed }))
        }
        Some(_) => Err(nonsense("the claims speak of somebody else")),
        None => Err(nonsense("there are no claims")),
    }
}

async fn ask(
    connection: &Connection,
    subject: &str,
    request: &v1::Join,
) -> Result<v1::Welcome, JoinError> {
    for _ in 0..TRIES {
        let answer = tokio::select! {
            answer = connection.ask(subject.to_owned(), request.encode_to_vec()) => answer,
            denied = connection.denied() => return Err(denied.into()),
        };
        let answer = match answer {
            Asked::Answered(answer) => answer,
            Asked::Nobody => return Err(JoinError::NoCoordinator),
            Asked::Silence => continue,
            Asked::Unsendable(reason) => return Err(JoinError::Nonsense { reason }),
        };
        let joined = v1::Joined::decode(&*answer.payload)
            .map_err(|error| JoinError::Nonsense { reason: error.to_string() })?;
        match joined.kind {
            Some(v1::joined::Kind::Welcome(welcome)) => return Ok(welcome),
            Some(v1::joined::Kind::Refused(reason)) => return Err(JoinError::Refused { reason }),
            // It could not decide.
            None => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
        }
    }
    Err(JoinError::NoCoordinator)
}

/// What the key of an invitation signs.
fn to_sign(invitation: &str, worker: &str, key: &str) -> String {
    format!("kapelle join 1\n{invitation}\n{worker}\n{key}")
}

/// The coordinator's end: invitations as they are handed in. Its clones share what arrives.
#[derive(Debug, Clone)]
pub struct JoinEnd {
    connection: Connection,
    subjects: Subjects,
    messages: Arc<Mutex<async_nats::Subscriber>>,
    stop: CancellationToken,
}

/// An invitation that is handed in.
#[derive(Debug)]
pub struct JoinRequest {
    /// Which.
    pub invitation: String,
    /// As which worker; empty for the one that the invitation names.
    pub worker: String,
    /// The key that the worker has.
    pub key: PublicKey,
    signature: Vec<u8>,
    connection: Connection,
    reply: String,
}

impl JoinEnd {
    pub(super) async fn open(
        connection: Connection,
        subjects: Subjects,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let silent = |_| Error::Silent { doing: "subscribing".to_owned() };
        let messages = connection.client().subscribe(subjects.join_all()).await.map_err(silent)?;
        // Only once the server has answered something else is it known to have subscribed us.
        match connection.ask("$JS.API.INFO".to_owned(), Vec::new()).await {
            Asked::Answered(_) | Asked::Nobody => {}
            Asked::Silence | Asked::Unsendable(_) => {
                return Err(Error::Silent { doing: "subscribing".to_owned() });
            }
        }
        connection.check_not_denied().await?;
        Ok(Self { connection, subjects, messages: Arc::new(Mutex::new(messages)), stop })
    }

    /// Waits for an invitation to be handed in. What can't be read is refused on the way.
    ///
    /// # Errors
    /// [`crate::Error::Closed`] when no more will come.
    pub async fn next(&self) -> Result<JoinRequest, crate::Error> {
        loop {
            let message = {
                let mut messages = self.messages.lock().await;
                tokio::select! {
                    () = self.stop.cancelled() => None,
                    message = messages.next() => message,
                }
            };
            let message = message.ok_or(crate::Error::Closed)?;
            let counters = self.connection.counters();
            let Some(invitation) = self.subjects.read_join(&message.subject) else {
                Counters::count(&counters.unreadable);
                continue;
            };
            let reply = message.reply.as_deref();
            let Some(reply) = reply.filter(|to| subject::is_guest_inbox(to, invitation)) else {
                Counters::count(&counters.forged);
                tracing::warn!(
                    invitation,
                    "an invitation wants its answer where it doesn't belong"
                );
                continue;
            };
            match read(&message.payload) {
                Ok((v1::Join { worker, signature, .. }, key)) => {
                    return Ok(JoinRequest {
                        invitation: invitation.to_owned(),
                        worker,
                        key,
                        signature,
                        connection: self.connection.clone(),
                        reply: reply.to_owned(),
                    });
                }
                Err(reason) => {
                    Counters::count(&counters.unreadable);
                    tracing::warn!(invitation, reason, "an invitation can't be read");
                    let refused = v1::joined::Kind::Refused(reason);
                    answer(&self.connection, reply.to_owned(), Some(refused)).await;
                }
            }
        }
    }
}

fn read(payload: &[u8]) -> Result<(v1::Join, PublicKey), String> {
    let join = v1::Join::decode(payload).map_err(|error| error.to_string())?;
    let key = PublicKey::new(join.key.clone()).map_err(|error| error.to_string())?;
    Ok((join, key))
}

async fn answer(connection: &Connection, to: String, kind: Option<v1::joined::Kind>) {
    let payload = v1::Joined { kind }.encode_to_vec().into();
    // Lost, it is asked for again.
    drop(connection.publish(to, None, connection.headers(), payload).await);
}

impl JoinRequest {
    /// Whether whoever has the secret of `key` asks this.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let signed = to_sign(&self.invitation, &self.worker, self.key.as_str());
        key.has_signed(signed.as_bytes(), &self.signature)
    }

    /// Tells the worker that it is one, with its claims.
    pub async fn welcome(self, worker: &WorkerName, claims: String) {
        let welcome = v1::Welcome { worker: worker.id().0.clone(), claims };
        answer(&self.connection, self.reply, Some(v1::joined::Kind::Welcome(welcome))).await;
    }

    /// Tells it why it is none.
    pub async fn refuse(self, reason: String) {
        answer(&self.connection, self.reply, Some(v1::joined::Kind::Refused(reason))).await;
    }

    /// Tells it that nothing could be decided.
    pub async fn put_off(self) {
        answer(&self.connection, self.reply, None).await;
    }
}

#[cfg(test)]
mod tests;
