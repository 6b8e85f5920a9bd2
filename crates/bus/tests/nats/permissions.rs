//! What the generated configuration allows, and what it denies.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use kapelle_bus::blob::{BlobName, BlobStore as _};
use kapelle_bus::conformance::{answer, attempt, classes, holder, next_offer, offer, soon, worker};
use kapelle_bus::control::{CommandState, ControlEnd as _, Receipt, ReceiptEnd as _};
use kapelle_bus::nats::authority::{Authority, Revoked};
use kapelle_bus::nats::{
    Bucket, Credentials, NatsCoordinator, NatsOptions, NatsWorker, Secret, publish_account,
};
use kapelle_bus::{CoordinatorEnd as _, OutputChunk, Poke, Pokes as _, Taken as _, WorkerEnd as _};
use kapelle_domain::engine::{Answer, Holder, WorkerRequest};
use kapelle_domain::ids::Term;

use crate::secured::{LATER, NOW, Secured, Worker};
use crate::server::NatsServer;

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
        let receipt = |state| Receipt { state, ..Receipt::rejected("a", "b", "c", "d") };
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
    let _coordinator = secured.coordinator().await;
    let mut w2 = secured.client(&secured.w2.credentials, "_INBOX_w2").await;
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
        "$JS.API.DIRECT.GET.orchestrator-work",
        // With what others were given, or have put.
        "$JS.ACK.orchestrator-work.coder.1.1.1.1.0",
        "$JS.API.DIRECT.GET.OBJ_orchestrator-results",
        "$JS.API.STREAM.PURGE.OBJ_orchestrator-results",
        "$O.orchestrator-bases.C.abc",
        "$O.orchestrator-bases.M.abc",
        // With the server.
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.CLAIMS.UPDATE",
        // As a guest.
        "orchestrator.join.w2",
        "_INBOX_GUEST_w2.a",
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
        "_INBOX_GUEST_w2.>",
        "orchestrator.join.*",
        "$SYS.>",
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
    let mut two = secured.client(&secured.w2.credentials, "_INBOX_w2").await;
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
async fn who_was_not_let_in_gets_nowhere() {
    let secured = Secured::new();
    let anonymous = NatsOptions::new(vec![secured.server.url()]);
    let connected = NatsCoordinator::connect(&anonymous, Term(1)).await;
    connected.expect_err("who says nothing is nobody");
    let Credentials::User { jwt, seed } = &secured.w2.credentials else {
        panic!("they are claims")
    };
    let stranger = Authority::generate().expect("a key");
    let their_own = Worker::admitted("w1", &stranger).credentials;
    let other_seed = Secret::new(nkeys::KeyPair::new_user().seed().expect("a seed"));
    let (head, signature) = jwt.rsplit_once('.').expect("a signature");
    let (header, body) = head.split_once('.').expect("a body");
    let body = String::from_utf8(BASE64.decode(body).expect("a body")).expect("text");
    let body = BASE64.encode(body.replace("\"name\":\"w2\"", "\"name\":\"w1\""));
    let renamed = format!("{header}.{body}.{signature}");
    assert_ne!(renamed, *jwt);
    for (what, credentials) in [
        ("claims of another authority", their_own),
        ("claims of w2 without its key", Credentials::User { jwt: jwt.clone(), seed: other_seed }),
        ("claims that were changed", Credentials::User { jwt: renamed, seed: seed.clone() }),
        ("a key without claims", Credentials::NKey { seed: seed.clone() }),
        ("no claims", Credentials::User { jwt: "a.b.c".to_owned(), seed: seed.clone() }),
    ] {
        let options = secured.options(&credentials);
        let connected = soon(what, NatsWorker::connect(&options, &worker("w1"))).await;
        let error = connected.expect_err(what);
        assert!(!error.is_transient(), "{what}: {error:?}");
    }
    // The claims of one worker are none of another.
    let options = secured.options(&secured.w2.credentials);
    let error = NatsWorker::connect(&options, &worker("w1")).await.expect_err("it is w2's");
    assert!(error.to_string().contains("w1"), "{error:?}");
}

#[tokio::test]
async fn a_guest_can_hand_in_its_own_invitation_and_nothing_else() {
    let secured = Secured::new();
    let _coordinator = secured.coordinator().await;
    let (token, _) = secured.token("0a1b", None, LATER);
    let mut guest = secured.client(&token.credentials(), "_INBOX_GUEST_0a1b").await;
    for subject in [
        "orchestrator.join.0a1c",
        "orchestrator.join.0a1b.more",
        "orchestrator.rpc.0a1b.claim",
        "orchestrator.rpc.w1.claim",
        "orchestrator.output.0a1b",
        "orchestrator.broadcast.stop",
        "_INBOX_coordinator.a.b",
        "$JS.API.INFO",
        "$JS.API.CONSUMER.MSG.NEXT.orchestrator-work.coder",
        "$SYS.REQ.CLAIMS.UPDATE",
    ] {
        guest.may_not_publish(subject).await;
    }
    for subject in
        ["orchestrator.join.0a1b", "orchestrator.worker.0a1b.poke", "_INBOX_GUEST_0a1c.>", ">"]
    {
        guest.may_not_subscribe(subject).await;
    }
}

#[tokio::test]
async fn who_is_revoked_is_cut_off_and_stays_out() {
    let mut secured = Secured::new();
    let coordinator = secured.coordinator().await;
    let one = secured.worker("w1", &secured.w1).await;
    let two = secured.worker("w2", &secured.w2).await;
    let mut watched = secured.client(&secured.w1.credentials, "_INBOX_w1").await;
    secured.revoke(&[(&secured.w1, NOW)], NOW + 1).await;
    let told = soon("it is told", watched.denials.recv()).await.expect("the client lives");
    assert!(told.to_lowercase().contains("revo"), "{told}");
    assert_eq!(one.request(look("w1")).await, Err(kapelle_bus::Error::NoAnswer));
    let error = secured.shut_out("w1", &secured.w1).await;
    assert!(!error.is_transient(), "{error:?}");
    // Nobody else notices.
    let (asked, answered) = (two.request(look("w2")), answer(&coordinator, Ok(Answer::Done)));
    let (reply, _) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    assert_eq!(reply, Ok(Ok(Answer::Done)));
    assert_eq!((two.health().reconnects, coordinator.health().reconnects), (0, 0));
    // A server that starts again keeps it, whatever its configuration begins with.
    secured.server.kill();
    secured.server.start_again();
    secured.shut_out("w1", &secured.w1).await;
    // The same name comes back with another key.
    let again = Worker::admitted("w1", &secured.authority);
    secured.worker("w1", &again).await;
}

#[tokio::test]
async fn a_server_that_keeps_no_accounts_says_so() {
    let server = NatsServer::start();
    let authority = Authority::generate().expect("a key");
    let options = NatsOptions::new(vec![server.url()]);
    let told = publish_account(&options, &authority, &Revoked::new(), NOW).await;
    let error = told.expect_err("it knows no accounts");
    assert!(error.to_string().contains("who may connect"), "{error:?}");
    assert!(error.hint().contains("kapelle nats config"), "{}", error.hint());
}
