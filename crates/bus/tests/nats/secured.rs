//! A fleet on a server with the configuration that is generated for it.

use async_nats::Client;
use kapelle_bus::conformance::{soon, worker};
use kapelle_bus::nats::authority::{Authority, Revoked};
use kapelle_bus::nats::join::{JoinToken, TokenTerms};
use kapelle_bus::nats::server::ServerConfig;
use kapelle_bus::nats::{
    Credentials, Error, NatsCoordinator, NatsOptions, NatsWorker, PublicKey, Secret,
    publish_account,
};
use kapelle_bus::subject::{Root, WorkerName};
use kapelle_domain::ids::{Term, WorkerId};

use crate::server::{NatsConfig, NatsServer};

/// Seconds since 1970, as the tests have it.
pub(crate) const NOW: u64 = 1_700_000_000;

/// Long after it.
pub(crate) const LATER: u64 = 4_000_000_000;

/// A fleet on a server with the configuration that is generated for it.
pub(crate) struct Secured {
    pub(crate) server: NatsServer,
    _store: tempfile::TempDir,
    pub(crate) authority: Authority,
    pub(crate) coordinator: Credentials,
    pub(crate) w1: Worker,
    pub(crate) w2: Worker,
    pub(crate) operator: Credentials,
    pub(crate) observer: Credentials,
}

/// A worker that was let in.
pub(crate) struct Worker {
    pub(crate) key: PublicKey,
    pub(crate) credentials: Credentials,
}

impl Worker {
    pub(crate) fn admitted(name: &str, authority: &Authority) -> Self {
        let pair = nkeys::KeyPair::new_user();
        let key = PublicKey::new(pair.public_key()).expect("a user's key");
        let name = WorkerName::new(&worker(name)).expect("a name");
        let jwt = authority.worker(&name, &key, NOW).expect("signed");
        let seed = Secret::new(pair.seed().expect("a seed"));
        Self { key, credentials: Credentials::User { jwt, seed } }
    }
}

impl Secured {
    pub(crate) fn new() -> Self {
        let authority = Authority::generate().expect("a key");
        let store = tempfile::tempdir().expect("a directory");
        let config = ServerConfig {
            listen: "127.0.0.1:4222".parse().expect("an address"),
            monitor: None,
            store: store.path().to_owned(),
            store_bytes: 1 << 30,
            tls: None,
        };
        let whole = config.render(&authority, &Root::default()).expect("signed");
        let server =
            NatsServer::start_with(NatsConfig { whole: Some(whole), ..NatsConfig::default() });
        let client = |may_steer, name| authority.client(may_steer, name, NOW, LATER);
        Self {
            server,
            _store: store,
            coordinator: authority.coordinator().expect("signed"),
            w1: Worker::admitted("w1", &authority),
            w2: Worker::admitted("w2", &authority),
            operator: client(true, "ann").expect("signed"),
            observer: client(false, "bob").expect("signed"),
            authority,
        }
    }

    pub(crate) fn options(&self, credentials: &Credentials) -> NatsOptions {
        let mut options = NatsOptions::new(vec![self.server.url()]);
        options.credentials = credentials.clone();
        options
    }

    pub(crate) async fn coordinator(&self) -> NatsCoordinator {
        let options = self.options(&self.coordinator);
        NatsCoordinator::connect(&options, Term(1)).await.expect("a coordinator may")
    }

    pub(crate) async fn worker(&self, name: &str, one: &Worker) -> NatsWorker {
        let options = self.options(&one.credentials);
        NatsWorker::connect(&options, &worker(name)).await.expect("a worker may")
    }

    /// What a worker hears that may not connect.
    pub(crate) async fn shut_out(&self, name: &str, one: &Worker) -> Error {
        let (options, name) = (self.options(&one.credentials), worker(name));
        let connected = soon("a refusal", NatsWorker::connect(&options, &name)).await;
        connected.expect_err("it is not let in")
    }

    /// A client with nothing of ours but the credentials.
    pub(crate) async fn client(&self, credentials: &Credentials, inbox: &str) -> Watched {
        let (denied, denials) = tokio::sync::mpsc::channel(64);
        let text = credentials.text().expect("they are claims");
        let options = async_nats::ConnectOptions::with_credentials(text.reveal())
            .expect("they are read")
            .custom_inbox_prefix(inbox)
            .event_callback(move |event| {
                let denied = denied.clone();
                async move {
                    if let async_nats::Event::ServerError(error) = event {
                        denied.send(error.to_string()).await.expect("somebody listens");
                    }
                }
            });
        let client = options.connect(self.server.url()).await.expect("connected");
        Watched { client, denials }
    }

    /// The token of an invitation, and its public key.
    pub(crate) fn token(
        &self,
        invitation: &str,
        name: Option<&str>,
        expires_at: u64,
    ) -> (JoinToken, PublicKey) {
        let terms = TokenTerms {
            servers: vec![self.server.url()],
            root: Root::default(),
            worker: name.map(|name| WorkerId(name.to_owned())),
            require_tls: false,
            authorities: None,
        };
        JoinToken::issue(&self.authority, invitation, terms, NOW, expires_at).expect("signed")
    }

    /// Tells the server who is revoked.
    pub(crate) async fn revoke(&self, revoked: &[(&Worker, u64)], now: u64) {
        let revoked: Revoked = revoked.iter().map(|(one, at)| (one.key.to_string(), *at)).collect();
        let options = self.options(&Credentials::None);
        let told = publish_account(&options, &self.authority, &revoked, now).await;
        told.expect("the server takes it");
    }
}

/// A client, and what the server denied it.
pub(crate) struct Watched {
    pub(crate) client: Client,
    pub(crate) denials: tokio::sync::mpsc::Receiver<String>,
}

impl Watched {
    pub(crate) async fn is_denied(&mut self, what: &str) {
        let denial = soon(what, self.denials.recv()).await.expect("the client lives");
        assert!(denial.to_lowercase().contains("permissions violation"), "{denial}");
        assert!(denial.contains(what), "{denial} is not about {what}");
    }

    pub(crate) async fn may_not_publish(&mut self, subject: &str) {
        self.client.publish(subject.to_owned(), "x".into()).await.expect("it is sent");
        self.is_denied(subject).await;
    }

    pub(crate) async fn may_not_subscribe(&mut self, subject: &str) {
        let subscriber = self.client.subscribe(subject.to_owned()).await.expect("it is sent");
        self.is_denied(subject).await;
        drop(subscriber);
    }
}
