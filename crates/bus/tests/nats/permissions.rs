//! What the generated configuration allows, and what it denies.

use std::time::Duration;

use async_nats::Client;
use kapelle_bus::blob::{BlobName, BlobStore as _};
use kapelle_bus::conformance::{answer, attempt, classes, holder, next_offer, offer, soon, worker};
use kapelle_bus::control::{CommandState, Receipt};
use kapelle_bus::nats::permissions::{Classes, Fleet, PublicKey, WorkerUser, new_key};
use kapelle_bus::nats::{Bucket, Credentials, NatsCoordinator, NatsOptions, NatsWorker, Secret};
use kapelle_bus::subject::{Root, WorkerName};
use kapelle_bus::{CoordinatorEnd as _, OutputChunk, Poke, Pokes as _, Taken as _, WorkerEnd as _};
use kapelle_domain::engine::{Answer, Holder, WorkerRequest};
use kapelle_domain::ids::Term;

use crate::server::{NatsConfig, NatsServer};

/// A key: its seed and its public half.
struct Key {
    seed: String,
    public: PublicKey,
}

impl Key {
    fn new() -> Self {
        let pair = nkeys::KeyPair::new_user();
        let public = PublicKey::new(pair.public_key()).expect("a user's key");
        Self { seed: pair.seed().expect("a seed"), public }
    }
}

/// A fleet of two workers on a server that knows them.
struct Secured {
    server: NatsServer,
    coordinator: Key,
    w1: Key,
    w2: Key,
    operator: Key,
    observer: Key,
}

impl Secured {
    fn new() -> Self {
        let (coordinator, w1, w2) = (Key::new(), Key::new(), Key::new());
        let (operator, observer) = (Key::new(), Key::new());
        let user = |name: &str, key: &Key, classes| WorkerUser {
            worker: WorkerName::new(&worker(name)).expect("a name"),
            key: key.public.clone(),
            classes,
        };
        let coder = "coder".parse().expect("a class");
        let fleet = Fleet {
            root: Root::default(),
            coordinator: coordinator.public.clone(),
            workers: vec![
                user("w1", &w1, Classes::Any),
                user("w2", &w2, Classes::Only(vec![coder])),
            ],
            operators: vec![operator.public.clone()],
            observers: vec![observer.public.clone()],
        };
        let config = NatsConfig { more: fleet.render(), ..NatsConfig::default() };
        let server = NatsServer::start_with(config);
        Self { server, coordinator, w1, w2, operator, observer }
    }

    fn options(&self, key: &Key) -> NatsOptions {
        let mut options = NatsOptions::new(vec![self.server.url()]);
        options.credentials = Credentials::NKey { seed: Secret::new(key.seed.clone()) };
        options
    }

    async fn coordinator(&self) -> NatsCoordinator {
        let options = self.options(&self.coordinator);
        NatsCoordinator::connect(&options, Term(1)).await.expect("a coordinator may")
    }

    async fn worker(&self, name: &str, key: &Key) -> NatsWorker {
        NatsWorker::connect(&self.options(key), &worker(name)).await.expect("a worker may")
    }

    /// A client with nothing of ours but the key.
    async fn client(&self, key: &Key, inbox: &str) -> Watched {
        let (denied, denials) = tokio::sync::mpsc::channel(64);
        let options = async_nats::ConnectOptions::with_nkey(key.seed.clone())
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
}

/// A client, and what the server denied it.
struct Watched {
    client: Client,
    denials: tokio::sync::mpsc::Receiver<String>,
}

impl Watched {
    async fn is_denied(&mut self, what: &str) {
        let denial = soon(what, self.denials.recv()).await.expect("the client lives");
        assert!(denial.to_lowercase().contains("permissions violation"), "{denial}");
        assert!(denial.contains(what), "{denial} is not about {what}");
    }

    async fn may_not_publish(&mut self, subject: &str) {
        self.client.publish(subject.to_owned(), "x".into()).await.expect("it is sent");
        self.is_denied(subject).await;
    }

    async fn may_not_subscribe(&mut self, subject: &str) {
        let subscriber = self.client.subscribe(subject.to_owned()).await.expect("it is sent");
        self.is_denied(subject).await;
        drop(subscriber);
    }
}

fn look(name: &str) -> WorkerRequest {
    WorkerRequest::Look(Holder { worker: worker(name), ..holder() })
}

#[tokio::test]
async fn everybody_may_do_their_work_and_nothing_is_denied_on_the_way() {
    let secured = Secured::new();
    let coordinator = secured.coordinator().await;
    let control = coordinator.control().await.expect("control is served");
    for (name, key) in [("w1", &secured.w1), ("w2", &secured.w2)] {
        let one = secured.worker(name, key).await;
        let mut pokes = one.pokes(&worker(name));
        let (asked, answered) = (one.request(look(name)), answer(&coordinator, Ok(Answer::Done)));
        let (reply, _) = soon("an answer", async { tokio::join!(asked, answered) }).await;
        assert_eq!(reply, Ok(Ok(Answer::Done)));
        let coder = classes(&["coder"]);
        coordinator.offer(offer(1, "coder")).await.expect("published");
        next_offer(&one, &coder).await.hand_back(Duration::ZERO).await;
        next_offer(&one, &coder).await.settle().await;
        coordinator.poke(&worker(name), Poke::Attempt(attempt(1))).await.expect("sent");
        assert_eq!(soon("a poke", pokes.next()).await, Some(Poke::Attempt(attempt(1))));
        let holder = Holder { worker: worker(name), ..holder() };
        let sent = one.send_output(OutputChunk { holder, first: 1, lines: Vec::new() });
        let kept = async {
            let inbound = coordinator.output().await.expect("the bus is open");
            inbound.watermark.send(0).expect("the worker waits");
        };
        let (watermark, ()) = soon("a watermark", async { tokio::join!(sent, kept) }).await;
        assert_eq!(watermark, Ok(0));
        blobs_travel(&coordinator, &one).await;
        one.close().await;
        assert_eq!(one.health().denied, 0);
    }

    let mut operator = secured.client(&secured.operator, "_INBOX").await;
    let mut observer = secured.client(&secured.observer, "_INBOX_observer").await;
    let _watching = observer.client.subscribe("orchestrator.status.>").await.expect("subscribed");
    let asked = operator.client.request("orchestrator.broadcast.stop", Vec::new().into());
    let served = async {
        let request = control.next().await.expect("control is open");
        let receipt = |state| Receipt { state, ..Receipt::rejected("a", "b", "c") };
        for state in [CommandState::Accepted, CommandState::Delivered, CommandState::Applied] {
            request.receipts.send(&receipt(state)).await.expect("sent");
        }
    };
    let (answered, ()) = soon("a receipt", async { tokio::join!(asked, served) }).await;
    answered.expect("a receipt");
    assert!(operator.denials.try_recv().is_err(), "an operator may steer");
    assert!(observer.denials.try_recv().is_err(), "an observer may watch");
    assert_eq!(coordinator.health().denied, 0);
}

async fn blobs_travel(coordinator: &NatsCoordinator, one: &NatsWorker) {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("base"), b"base").expect("a file");
    let name = BlobName::new("a.bundle").expect("a name");
    let (size, all) = (1_000_000, 10_000_000);
    let bases = coordinator.blobs(Bucket::Bases, size, all).await.expect("a bucket");
    let results = coordinator.blobs(Bucket::Results, size, all).await.expect("a bucket");
    let given = bases.put(&name, &at("base")).await.expect("it is put");
    let got = one.blobs(Bucket::Bases, size).get(&name, &at("got")).await.expect("it is got");
    assert_eq!(got, given);
    let put = one.blobs(Bucket::Results, size).put(&name, &at("got")).await.expect("it is put");
    assert_eq!(results.get(&name, &at("back")).await.expect("it is got"), put);
    assert_eq!(results.list().await.expect("it is listed"), [(name.clone(), put)]);
    results.delete(&name).await.expect("it is deleted");
    bases.delete(&name).await.expect("it is deleted");
}

#[tokio::test]
async fn a_worker_can_do_nothing_in_the_name_of_another() {
    let secured = Secured::new();
    let coordinator = secured.coordinator().await;
    coordinator.offer(offer(1, "painter")).await.expect("published");
    let mut w2 = secured.client(&secured.w2, "_INBOX_w2").await;
    for subject in [
        // In the name of another worker, or of the coordinator.
        "orchestrator.rpc.w1.claim",
        "orchestrator.rpc.w1.finished",
        "orchestrator.rpc.w2.claim.more",
        "orchestrator.output.w1",
        "orchestrator.worker.w1.poke",
        "orchestrator.worker.w2.poke",
        "orchestrator.work.coder",
        "orchestrator.status.coder-1.2-42-3-1",
        "orchestrator.event.r-1.task_succeeded",
        "_INBOX_w1.a.b",
        "_INBOX_coordinator.a.b",
        // As an operator.
        "orchestrator.agent.coder-1.2-42-3-1.stop",
        "orchestrator.broadcast.stop",
        // With streams and consumers.
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.INFO.orchestrator-work",
        "$JS.API.STREAM.DELETE.orchestrator-work",
        "$JS.API.STREAM.PURGE.orchestrator-work",
        "$JS.API.STREAM.MSG.GET.orchestrator-work",
        "$JS.API.STREAM.CREATE.mine",
        "$JS.API.CONSUMER.CREATE.orchestrator-work.mine",
        "$JS.API.CONSUMER.CREATE.OBJ_orchestrator-bases",
        "$JS.API.CONSUMER.DELETE.orchestrator-work.coder",
        "$JS.API.CONSUMER.INFO.orchestrator-work.coder",
        "$JS.API.CONSUMER.MSG.NEXT.orchestrator-work.painter",
        "$JS.API.DIRECT.GET.orchestrator-work",
        // With what others were given, or have put.
        "$JS.ACK.orchestrator-work.coder.1.1.1.1.0",
        "$JS.API.DIRECT.GET.OBJ_orchestrator-results",
        "$JS.API.STREAM.PURGE.OBJ_orchestrator-results",
        "$O.orchestrator-bases.C.abc",
        "$O.orchestrator-bases.M.abc",
        // With the server.
        "$SYS.REQ.SERVER.PING",
    ] {
        w2.may_not_publish(subject).await;
    }
    for subject in [
        "orchestrator.worker.w1.poke",
        "orchestrator.worker.*.*",
        "orchestrator.worker.>",
        "orchestrator.rpc.w2.claim",
        "orchestrator.output.*",
        "orchestrator.work.*",
        "orchestrator.agent.>",
        "orchestrator.status.>",
        "_INBOX.>",
        "_INBOX_w1.>",
        "_INBOX_coordinator.>",
        "$JS.EVENT.ADVISORY.>",
        "$O.orchestrator-results.C.*",
        "*",
        ">",
    ] {
        w2.may_not_subscribe(subject).await;
    }
}

#[tokio::test]
async fn a_worker_cannot_acknowledge_what_another_was_given() {
    let secured = Secured::new();
    let coordinator = secured.coordinator().await;
    let one = secured.worker("w1", &secured.w1).await;
    let mut two = secured.client(&secured.w2, "_INBOX_w2").await;
    let coder = classes(&["coder"]);
    coordinator.offer(offer(1, "coder")).await.expect("published");
    let taken = next_offer(&one, &coder).await;
    // Of the subject where it is acknowledged, only the time is not easily guessed.
    two.may_not_publish("$JS.ACK.orchestrator-work.coder.1.1.1.1700000000000000000.0").await;
    taken.hand_back(Duration::ZERO).await;
    let again = next_offer(&one, &coder).await;
    assert_eq!(*again.offer(), offer(1, "coder"), "the offer is still there");
    again.settle().await;
}

#[tokio::test]
async fn operators_and_observers_keep_to_what_they_are() {
    let secured = Secured::new();
    let _coordinator = secured.coordinator().await;
    let mut observer = secured.client(&secured.observer, "_INBOX_observer").await;
    for subject in
        ["orchestrator.broadcast.stop", "orchestrator.status.a", "anything", "$JS.API.INFO"]
    {
        observer.may_not_publish(subject).await;
    }
    for subject in ["orchestrator.agent.>", "orchestrator.rpc.>", "_INBOX.>", ">"] {
        observer.may_not_subscribe(subject).await;
    }
    let mut operator = secured.client(&secured.operator, "_INBOX").await;
    for subject in [
        "orchestrator.rpc.w1.claim",
        "orchestrator.worker.w1.poke",
        "orchestrator.work.coder",
        "orchestrator.status.a",
        "$JS.API.STREAM.DELETE.orchestrator-work",
    ] {
        operator.may_not_publish(subject).await;
    }
    for subject in ["orchestrator.rpc.>", "orchestrator.worker.w1.poke", "_INBOX_w1.>"] {
        operator.may_not_subscribe(subject).await;
    }
}

#[tokio::test]
async fn a_coordinator_keeps_to_its_own_streams() {
    let secured = Secured::new();
    let mut coordinator = secured.client(&secured.coordinator, "_INBOX_coordinator").await;
    for subject in [
        "$JS.API.STREAM.CREATE.other",
        "$JS.API.STREAM.DELETE.other",
        "orchestrator.rpc.w1.claim",
        "orchestrator.broadcast.stop",
        "anything",
    ] {
        coordinator.may_not_publish(subject).await;
    }
    for subject in ["orchestrator.worker.w1.poke", "_INBOX_w1.>", ">"] {
        coordinator.may_not_subscribe(subject).await;
    }
}

#[tokio::test]
async fn who_has_no_key_gets_nowhere() {
    let secured = Secured::new();
    let stranger = Key::new();
    let options = secured.options(&stranger);
    let error = NatsWorker::connect(&options, &worker("w1")).await.expect_err("nobody knows it");
    assert!(!error.is_transient(), "{error:?}");
    let anonymous = NatsOptions::new(vec![secured.server.url()]);
    let connected = NatsCoordinator::connect(&anonymous, Term(1)).await;
    connected.expect_err("who says nothing is nobody");
    // A key of one worker is none of another.
    let options = secured.options(&secured.w2);
    let error = NatsWorker::connect(&options, &worker("w1")).await.expect_err("it is w2's");
    assert!(error.to_string().contains("w1"), "{error:?}");
    let (seed, public) = new_key().expect("a key");
    assert!(!format!("{seed:?}").contains("SU"), "no seed is shown");
    assert!(public.to_string().starts_with('U'));
}
