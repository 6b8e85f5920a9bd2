//! One connection to NATS: how it is made, what it tells of itself, and when it takes messages.
//!
//! The library reports much of what goes wrong only as events, a denied permission among it. They
//! are logged, counted ([`Health`]) and brought to whoever waits for an answer that won't come.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, HeaderMap, HeaderValue,
};
use async_nats::{Message, Request, RequestErrorKind, ServerAddr, ServerError};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;

use super::check;
use super::error::{Error, Unreachable};
use super::options::{Credentials, NatsOptions, Secret, shown};

/// How often a connection is tested; after two tests without an answer it counts as broken.
const PING_EVERY: Duration = Duration::from_secs(10);

/// How long an attempt to connect may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the news of a denied permission may take from the socket to whoever looks.
const DENIAL_DELAY: Duration = Duration::from_millis(50);

/// How an end has fared since it was connected. Each number only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Requests that were answered.
    pub answered: u64,
    /// Connections that broke and came back.
    pub reconnects: u64,
    /// Times that the server refused a permission.
    pub denied: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
    /// Messages that came from somebody who may not send them.
    pub forged: u64,
    /// Messages that were dropped because they came faster than they were taken.
    pub overrun: u64,
    /// Messages that were not sent, because there was no connection or they would not fit.
    pub unsent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) answered: AtomicU64,
    pub(super) reconnects: AtomicU64,
    pub(super) denied: AtomicU64,
    pub(super) unreadable: AtomicU64,
    pub(super) forged: AtomicU64,
    pub(super) overrun: AtomicU64,
    pub(super) unsent: AtomicU64,
}

impl Counters {
    pub(super) fn health(&self) -> Health {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Health {
            answered: read(&self.answered),
            reconnects: read(&self.reconnects),
            denied: read(&self.denied),
            unreadable: read(&self.unreadable),
            forged: read(&self.forged),
            overrun: read(&self.overrun),
            unsent: read(&self.unsent),
        }
    }

    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Who connects.
pub(super) struct Identity {
    /// As the server's lists show it.
    pub(super) name: String,
    /// The prefix of its inboxes.
    pub(super) inbox: String,
}

/// A connection. Its clones are the same connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    client: Client,
    signals: Arc<Signals>,
    servers: Arc<str>,
    timeout: Duration,
    traceparent: fn() -> Option<String>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Asked {
    Answered(Message),
    /// Nobody serves the subject.
    Nobody,
    /// No answer came, or the connection broke.
    Silence,
    /// It can never be sent.
    Unsendable(String),
}

/// What the library's events say.
#[derive(Debug)]
struct Signals {
    name: String,
    counters: Arc<Counters>,
    /// Whether the connection is there.
    online: watch::Sender<bool>,
    reconnects: watch::Sender<u64>,
    violation: watch::Sender<Option<String>>,
    closed: watch::Sender<bool>,
}

impl Signals {
    fn note(&self, event: Event) {
        let name = self.name.as_str();
        match event {
            Event::Connected => {
                if !self.online.send_replace(true) {
                    Counters::count(&self.counters.reconnects);
                    self.reconnects.send_modify(|count| *count += 1);
                    tracing::info!(connection = name, "connected to NATS again");
                }
            }
            Event::Disconnected => {
                self.online.send_replace(false);
                tracing::warn!(connection = name, "the connection to NATS broke");
            }
            Event::LameDuckMode => {
                tracing::info!(connection = name, "the NATS server is about to stop");
            }
            Event::Draining => {}
            Event::Closed => {
                self.closed.send_replace(true);
            }
            Event::SlowConsumer(_) | Event::ServerError(ServerError::SlowConsumer(_)) => {
                Counters::count(&self.counters.overrun);
                tracing::warn!(
                    connection = name,
                    "messages came faster than they were taken; some are lost"
                );
            }
            Event::ServerError(ServerError::AuthorizationViolation) => {
                tracing::error!(
                    connection = name,
                    "the NATS server doesn't accept these credentials any more"
                );
            }
            Event::ServerError(ServerError::Other(error)) => self.note_error(error),
            Event::ClientError(error) => {
                tracing::warn!(connection = name, %error, "NATS");
            }
        }
    }

    fn note_error(&self, error: String) {
        let name = self.name.as_str();
        if error.to_ascii_lowercase().contains("permissions violation") {
            Counters::count(&self.counters.denied);
            tracing::error!(connection = name, %error, "the NATS server refuses a permission");
            self.violation.send_replace(Some(error));
        } else {
            tracing::warn!(connection = name, %error, "the NATS server complains");
        }
    }
}

impl Connection {
    /// Connects, once.
    pub(super) async fn open(
        options: &NatsOptions,
        identity: Identity,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let signals = Arc::new(Signals {
            name: identity.name.clone(),
            counters,
            online: watch::Sender::new(true),
            reconnects: watch::Sender::new(0),
            violation: watch::Sender::new(None),
            closed: watch::Sender::new(false),
        });
        let was_connected = Arc::new(AtomicBool::new(false));
        let connect = authenticated(options)
            .await?
            .name(&identity.name)
            .custom_inbox_prefix(&identity.inbox)
            .ping_interval(PING_EVERY)
            .connection_timeout(CONNECT_PATIENCE)
            .require_tls(options.tls_required)
            .event_callback({
                let signals = Arc::clone(&signals);
                move |event| {
                    signals.note(event);
                    std::future::ready(())
                }
            })
            .reconnect_delay_callback({
                let (was_connected, name) = (Arc::clone(&was_connected), identity.name);
                move |attempts| delay(&name, attempts, was_connected.load(Ordering::Relaxed))
            });
        let connect = match &options.tls_ca {
            Some(path) => connect.add_root_certificates(path.clone()),
            None => connect,
        };
        let servers = shown(&options.servers);
        let client = connect.connect(options.servers.as_slice()).await.map_err(|source| {
            let reason = unreachable(&source);
            Error::Connect { servers: servers.clone(), reason, source: Box::new(source) }
        })?;
        was_connected.store(true, Ordering::Relaxed);
        if let Some(advice) = check::judge(&servers, &client.server_info().version)? {
            tracing::warn!(%servers, "{advice}");
        }
        Ok(Self {
            client,
            signals,
            servers: servers.into(),
            timeout: options.request_timeout,
            traceparent: options.traceparent,
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.signals.counters
    }

    /// Whether a message would leave now. The library keeps what is published without a
    /// connection and delivers it later, when it may have become wrong; so nothing is published
    /// without one.
    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until the connection is there.
    pub(super) async fn up(&self) {
        // Nobody can close the channel while this borrows it.
        drop(self.online().wait_for(|online| *online).await);
    }

    /// Whether the connection is there, as far as is known.
    pub(super) fn online(&self) -> watch::Receiver<bool> {
        self.signals.online.subscribe()
    }

    /// Counts how often the connection came back.
    pub(super) fn reconnects(&self) -> watch::Receiver<u64> {
        self.signals.reconnects.subscribe()
    }

    /// The bytes that one message may carry, headers included.
    pub(super) fn message_bytes_max(&self) -> usize {
        // Room for our few headers.
        self.client.max_payload().saturating_sub(512)
    }

    /// The headers of a message of ours.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // Parsed, because a line break in a header would make the library panic.
        if let Some(Ok(value)) = (self.traceparent)().map(|text| text.parse::<HeaderValue>()) {
            headers.insert("traceparent", value);
        }
        headers
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(&self, subject: String, payload: Vec<u8>) -> Asked {
        if !self.is_up() {
            return Asked::Silence;
        }
        let request = Request::new()
            .payload(payload.into())
            .headers(self.headers())
            .timeout(Some(self.timeout));
        let mut online = self.online();
        // The library lets requests of a broken connection wait until they time out.
        let answer = tokio::select! {
            answer = self.client.send_request(subject, request) => answer,
            _ = online.wait_for(|online| !online) => return Asked::Silence,
        };
        match answer {
            Ok(message) => {
                Counters::count(&self.counters().answered);
                Asked::Answered(message)
            }
            Err(error) => match error.kind() {
                RequestErrorKind::NoResponders => Asked::Nobody,
                RequestErrorKind::TimedOut | RequestErrorKind::Other => Asked::Silence,
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    Asked::Unsendable(error.to_string())
                }
            },
        }
    }

    /// Publishes, unless there is no connection or the message is too large.
    pub(super) async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), crate::Error> {
        if !self.is_up() {
            Counters::count(&self.counters().unsent);
            return Err(crate::Error::NoAnswer);
        }
        let sent = match reply {
            Some(reply) => {
                self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
            None => self.client.publish_with_headers(subject, headers, payload).await,
        };
        sent.map_err(|error| {
            Counters::count(&self.counters().unsent);
            match error.kind() {
                async_nats::client::PublishErrorKind::Send => crate::Error::NoAnswer,
                async_nats::client::PublishErrorKind::MaxPayloadExceeded
                | async_nats::client::PublishErrorKind::InvalidSubject => {
                    crate::Error::Refused { reason: error.to_string() }
                }
            }
        })
    }

    /// The permission that the server refused last, as soon as it refused one.
    pub(super) async fn denied(&self) -> Error {
        let mut violation = self.signals.violation.subscribe();
        let seen = violation.wait_for(Option::is_some).await;
        let violation = seen.ok().and_then(|seen| seen.clone()).unwrap_or_default();
        Error::Denied { violation }
    }

    /// Fails when the server has refused a permission. What was asked of the server before must
    /// have been answered, or followed by something that was.
    pub(super) async fn check_not_denied(&self) -> Result<(), Error> {
        match tokio::time::timeout(DENIAL_DELAY, self.denied()).await {
            Ok(denied) => Err(denied),
            Err(_) => Ok(()),
        }
    }

    /// Brings everything that was published to the server, as far as there is a connection.
    pub(super) async fn flush(&self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        if self.is_up() && tokio::time::timeout(PATIENCE, self.client.flush()).await.is_err() {
            tracing::warn!("the last messages to NATS may not have left");
        }
    }
}

async fn authenticated(options: &NatsOptions) -> Result<ConnectOptions, Error> {
    match &options.credentials {
        // The library does not do it.
        Credentials::None => Ok(match options.servers.iter().find_map(|url| user_of(url)) {
            Some((user, password)) => ConnectOptions::with_user_and_password(user, password),
            None => ConnectOptions::new(),
        }),
        Credentials::User { jwt, seed } => {
            let pair = user_key(seed)?;
            let pair = Arc::new(pair);
            Ok(ConnectOptions::with_jwt(jwt.clone(), move |nonce| {
                let pair = Arc::clone(&pair);
                async move { pair.sign(&nonce).map_err(async_nats::AuthError::new) }
            }))
        }
        Credentials::NKey { seed } => {
            user_key(seed)?;
            Ok(ConnectOptions::with_nkey(seed.reveal().trim().to_owned()))
        }
        Credentials::File { path } => ConnectOptions::with_credentials_file(path)
            .await
            .map_err(|error| Error::Credentials { reason: format!("{}: {error}", path.display()) }),
    }
}

/// The key of a seed. The library would only complain once the server asks for a signature.
fn user_key(seed: &Secret) -> Result<nkeys::KeyPair, Error> {
    let refused = |reason| Error::Credentials { reason };
    let pair = nkeys::KeyPair::from_seed(seed.reveal().trim())
        .map_err(|error| refused(format!("the seed is none: {error}")))?;
    if pair.key_pair_type() == nkeys::KeyPairType::User {
        Ok(pair)
    } else {
        Err(refused("the seed is not that of a user".to_owned()))
    }
}

/// The user and password that the URL of a server says. In a URL, what has a meaning there is
/// written as `%40`.
fn user_of(url: &str) -> Option<(String, String)> {
    let server: ServerAddr = url.parse().ok()?;
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = plain(server.username()?);
    Some((user, plain(server.password().unwrap_or_default())))
}

fn unreachable(error: &ConnectError) -> Unreachable {
    let cause = std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind);
    match error.kind() {
        // A certificate that isn't trusted comes as bad data from the network.
        ConnectErrorKind::Io if cause == Some(std::io::ErrorKind::InvalidData) => Unreachable::Tls,
        ConnectErrorKind::ServerParse => Unreachable::Address,
        ConnectErrorKind::Dns => Unreachable::Name,
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            Unreachable::Unauthorized
        }
        ConnectErrorKind::TimedOut => Unreachable::Silent,
        ConnectErrorKind::Tls => Unreachable::Tls,
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => Unreachable::Network,
    }
}

/// How long to wait before another attempt to connect. A fleet whose server was restarted comes
/// back spread over half a second; the spread follows from the name, so that it needs no dice.
fn delay(name: &str, attempts: usize, was_connected: bool) -> Duration {
    const MOST: u64 = 4_000;
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    if attempts <= 1 && !was_connected {
        return Duration::ZERO;
    }
    let mut hasher = DefaultHasher::new();
    (name, attempts).hash(&mut hasher);
    let least =
        50_u64.saturating_mul(2_u64.saturating_pow(attempts.saturating_sub(1))).min(MOST / 2);
    let spread = (least * 2).max(500).min(MOST - least);
    Duration::from_millis(least + hasher.finish() % spread)
}

#[cfg(test)]
mod tests {
    use super::delay;

    #[test]
    fn a_fleet_comes_back_spread_out() {
        let first = |name: &str| delay(name, 1, true).as_millis();
        let delays: Vec<_> = (0..1_000).map(|number| first(&format!("w{number}"))).collect();
        assert!(delays.iter().all(|millis| (50..550).contains(millis)), "{delays:?}");
        let early = delays.iter().filter(|millis| **millis < 300).count();
        assert!((400..600).contains(&early), "{early}");
    }

    #[test]
    fn the_first_connection_is_made_at_once_and_late_ones_are_not_too_late() {
        assert!(delay("w", 1, false).is_zero());
        assert!(!delay("w", 2, false).is_zero());
        for attempts in [3, 10, 100, usize::MAX] {
            let millis = delay("w", attempts, true).as_millis();
            assert!((100..=4_000).contains(&millis), "{attempts}: {millis}");
        }
    }
}
