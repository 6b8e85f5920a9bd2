//! What is told when a server won't do.

use std::time::Duration;

use kapelle_bus::conformance::{soon, worker};
use kapelle_bus::nats::{Credentials, Error, NatsCoordinator, NatsOptions, NatsWorker, Secret};
use kapelle_domain::ids::Term;

use crate::server::{NatsConfig, NatsServer};

/// A user `someone` who may do this, and one `anyone` who may do everything.
fn users(permissions: &str) -> NatsConfig {
    let more = format!(
        "authorization {{ users: [ {{ user: someone, password: word, permissions {{ {permissions} }} }}, \
         {{ user: anyone, password: word }} ] }}\n"
    );
    NatsConfig { more, ..NatsConfig::default() }
}

fn as_user(server: &NatsServer, user: &str) -> NatsOptions {
    NatsOptions::new(vec![server.url().replace("nats://", &format!("nats://{user}:word@"))])
}

async fn refused(options: &NatsOptions) -> Error {
    let connected = soon("a refusal", NatsCoordinator::connect(options, Term(1))).await;
    connected.expect_err("the server won't do")
}

async fn refused_worker(options: &NatsOptions) -> Error {
    let name = worker("w1");
    let connected = soon("a refusal", NatsWorker::connect(options, &name)).await;
    connected.expect_err("the server won't do")
}

#[tokio::test]
async fn a_server_without_jetstream() {
    let config = NatsConfig { without_jetstream: true, ..NatsConfig::default() };
    let server = NatsServer::start_with(config);
    let error = refused(&NatsOptions::new(vec![server.url()])).await;
    assert!(matches!(error, Error::NoJetStream { .. }), "{error:?}");
    assert!(error.hint().contains("-js"), "{}", error.hint());
    assert!(!error.is_transient());
}

#[tokio::test]
async fn an_account_without_jetstream() {
    let more = "accounts { ONE { users: [ { user: someone, password: word } ] } }\n".to_owned();
    let server = NatsServer::start_with(NatsConfig { more, ..NatsConfig::default() });
    let error = refused(&as_user(&server, "someone")).await;
    assert!(matches!(error, Error::NoJetStreamForAccount { .. }), "{error:?}");
    assert!(!error.to_string().contains("word"), "no password is shown: {error}");
}

#[tokio::test]
async fn a_coordinator_that_may_not_hear_requests() {
    let server = NatsServer::start_with(users("subscribe { deny: \"orchestrator.rpc.>\" }"));
    let error = refused(&as_user(&server, "someone")).await;
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("orchestrator.rpc.*.*"), "{error}");
    assert!(error.hint().contains("permissions"), "{}", error.hint());
}

#[tokio::test]
async fn a_coordinator_that_may_not_hear_output() {
    let server = NatsServer::start_with(users("subscribe { deny: \"orchestrator.output.>\" }"));
    let error = refused(&as_user(&server, "someone")).await;
    assert!(error.to_string().contains("orchestrator.output.*"), "{error:?}");
}

#[tokio::test]
async fn a_coordinator_that_may_not_use_jetstream() {
    let server = NatsServer::start_with(users("publish { deny: \"$JS.API.STREAM.>\" }"));
    let error = refused(&as_user(&server, "someone")).await;
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("$JS.API.STREAM"), "{error}");
}

#[tokio::test]
async fn a_coordinator_that_may_not_serve_control() {
    let server = NatsServer::start_with(users("subscribe { deny: \"orchestrator.broadcast.>\" }"));
    let coordinator = NatsCoordinator::connect(&as_user(&server, "someone"), Term(1)).await;
    let coordinator = coordinator.expect("workers are served");
    let error = coordinator.control().await.expect_err("control is not");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_eq!(coordinator.health().denied, 1);
}

#[tokio::test]
async fn a_worker_that_may_not_ask() {
    let server = NatsServer::start_with(users("publish { deny: \"orchestrator.rpc.>\" }"));
    let error = refused_worker(&as_user(&server, "someone")).await;
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    let connected = NatsWorker::connect(&as_user(&server, "anyone"), &worker("w1")).await;
    assert!(connected.is_ok(), "a coordinator need not be there: {connected:?}");
}

#[tokio::test]
async fn a_worker_that_may_not_hear_pokes() {
    let server = NatsServer::start_with(users("subscribe { deny: \"orchestrator.worker.>\" }"));
    let error = refused_worker(&as_user(&server, "someone")).await;
    assert!(error.to_string().contains("orchestrator.worker.w1.poke"), "{error:?}");
}

#[tokio::test]
async fn names_that_would_make_other_subjects() {
    let options = NatsOptions::new(vec!["nats://127.0.0.1:1".to_owned()]);
    for name in ["", "a.b", "*", "coordinator"] {
        let error = NatsWorker::connect(&options, &worker(name)).await.expect_err(name);
        assert!(matches!(error, Error::Name(_)), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_to_connect_to() {
    let error = refused(&NatsOptions::new(vec!["nats://127.0.0.1:1".to_owned()])).await;
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("nats://127.0.0.1:1"), "{error}");
    let error = refused(&NatsOptions::new(vec!["nats://no such host".to_owned()])).await;
    assert!(!error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn credentials_that_are_not_accepted() {
    let server = NatsServer::start_with(users("publish { deny: nothing }"));
    for user in ["stranger", "someone:not"] {
        let error = refused(&as_user(&server, user)).await;
        assert!(!error.is_transient(), "{error:?}");
        assert!(error.to_string().contains("credentials"), "{error}");
    }
    let mut options = NatsOptions::new(vec![server.url()]);
    let account = nkeys::KeyPair::new_account().seed().expect("a seed");
    for seed in ["", "SUA", account.as_str()] {
        options.credentials = Credentials::NKey { seed: Secret::new(seed.to_owned()) };
        let error = refused(&options).await;
        assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
        assert!(seed.is_empty() || !error.to_string().contains(seed), "no seed is shown");
    }
    options.credentials = Credentials::File { path: "/no/such.creds".into() };
    assert!(refused(&options).await.to_string().contains("/no/such.creds"));
}

#[tokio::test]
async fn a_password_in_a_url_is_written_as_in_a_url() {
    let more =
        "authorization { users: [ { user: \"a@b\", password: \"p@s/s:%é\" } ] }\n".to_owned();
    let server = NatsServer::start_with(NatsConfig { more, ..NatsConfig::default() });
    let with = |who: &str| {
        NatsOptions::new(vec![server.url().replace("nats://", &format!("nats://{who}@"))])
    };
    let options = with("a%40b:p%40s%2Fs%3A%25%C3%A9");
    NatsCoordinator::connect(&options, Term(1)).await.expect("it is right");
    let error = refused(&with("a%40b:p%40s")).await;
    let shown = format!("{error} {}", error.hint());
    assert!(!shown.contains("p%40s") && !shown.contains("p@s"), "no password is shown: {shown}");
}

#[tokio::test]
async fn a_stream_that_somebody_changed_is_mended() {
    let server = NatsServer::start();
    let options = NatsOptions::new(vec![server.url()]);
    let client = async_nats::connect(server.url()).await.expect("connected");
    let jetstream = async_nats::jetstream::new(client);
    let other = async_nats::jetstream::stream::Config {
        name: "orchestrator-work".to_owned(),
        subjects: vec!["orchestrator.work.*".to_owned()],
        retention: async_nats::jetstream::stream::RetentionPolicy::WorkQueue,
        storage: async_nats::jetstream::stream::StorageType::Memory,
        max_age: Duration::from_secs(5),
        ..Default::default()
    };
    jetstream.create_stream(other.clone()).await.expect("a stream");
    NatsCoordinator::connect(&options, Term(1)).await.expect("it is mended");
    let mended = jetstream.get_stream("orchestrator-work").await.expect("a stream");
    assert_eq!(mended.cached_info().config.max_age, Duration::from_secs(120));
    // What can't be changed is not touched.
    jetstream.delete_stream("orchestrator-work").await.expect("deleted");
    let limits = async_nats::jetstream::stream::RetentionPolicy::Limits;
    let foreign = async_nats::jetstream::stream::Config { retention: limits, ..other };
    jetstream.create_stream(foreign).await.expect("a stream");
    let error = refused(&options).await;
    assert!(matches!(error, Error::SetUp { .. }), "{error:?}");
    assert!(error.hint().contains("another root"), "{}", error.hint());
}

#[tokio::test]
async fn two_roots_are_two_fleets() {
    let server = NatsServer::start();
    let mut options = NatsOptions::new(vec![server.url()]);
    let one = NatsCoordinator::connect(&options, Term(1)).await.expect("connected");
    options.root = kapelle_bus::subject::Root::new("other").expect("a root");
    let two = NatsCoordinator::connect(&options, Term(1)).await.expect("connected");
    let worker = NatsWorker::connect(&options, &worker("w")).await.expect("connected");
    let (asked, answered) = (
        kapelle_bus::WorkerEnd::request(
            &worker,
            kapelle_domain::engine::WorkerRequest::Look(kapelle_bus::conformance::holder()),
        ),
        kapelle_bus::conformance::answer(&two, Ok(kapelle_domain::engine::Answer::Done)),
    );
    let (reply, _) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    assert!(reply.is_ok(), "{reply:?}");
    drop(one);
}

/// A server with TLS, and where its authority's certificate lies.
fn tls_server() -> (NatsServer, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).expect("a certificate");
    let issuer = rcgen::Issuer::new(authority, key);
    let server_key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let server = rcgen::CertificateParams::new(names).expect("parameters");
    let server = server.signed_by(&server_key, &issuer).expect("a certificate");
    let write = |name: &str, text: String| {
        std::fs::write(directory.path().join(name), text).expect("a file");
    };
    write("ca.pem", certificate.pem());
    write("server.pem", server.pem());
    write("server.key", server_key.serialize_pem());
    let at = directory.path().display();
    let more = format!("tls {{ cert_file: \"{at}/server.pem\", key_file: \"{at}/server.key\" }}\n");
    (NatsServer::start_with(NatsConfig { more, ..NatsConfig::default() }), directory)
}

#[tokio::test]
async fn tls_is_used_where_the_server_can_be_trusted() {
    let (server, directory) = tls_server();
    let mut options = NatsOptions::new(vec![server.url()]);
    let error = refused(&options).await;
    assert!(error.to_string().contains("TLS"), "{error:?}");
    // Another authority doesn't vouch for it.
    let (_other, elsewhere) = tls_server();
    options.tls_ca = Some(elsewhere.path().join("ca.pem"));
    let error = refused(&options).await;
    assert!(error.to_string().contains("TLS"), "{error:?}");
    assert!(error.hint().contains("authority is trusted"), "{}", error.hint());
    assert!(!error.is_transient());
    options.tls_ca = Some(directory.path().join("ca.pem"));
    options.tls_required = true;
    NatsCoordinator::connect(&options, Term(1)).await.expect("it is trusted");
    NatsWorker::connect(&options, &worker("w")).await.expect("it is trusted");

    let plain = NatsServer::start();
    options.servers = vec![plain.url()];
    let error = refused(&options).await;
    assert!(error.to_string().contains("TLS"), "plain text is not spoken: {error:?}");
}
