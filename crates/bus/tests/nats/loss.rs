//! Servers that die, forget and come back, and workers that go away.

use std::time::Duration;

use kapelle_bus::blob::{BlobError, BlobName, BlobStore as _};
use kapelle_bus::conformance::{
    Fabric as _, answer, attempt, classes, holder, next_offer, offer, soon, worker,
};
use kapelle_bus::nats::{Bucket, NatsCoordinator, NatsOptions, NatsWorker};
use kapelle_bus::{
    CoordinatorEnd as _, Error, OutputChunk, OutputLane, OutputLine, Poke, Pokes as _, Refusal,
    Taken as _, WorkerEnd as _,
};
use kapelle_domain::attempt::{Outcome, Report};
use kapelle_domain::engine::{Answer, Standing, WorkerRequest};
use kapelle_domain::ids::{SessionEpoch, Term, Timestamp};
use tokio::task::JoinSet;

use crate::bus::Nats;
use crate::server::NatsServer;

/// Shorter than the server waits before it gives an offer to somebody else by itself.
const QUICKLY: Duration = Duration::from_secs(8);

/// Shorter than any request waits.
const AT_ONCE: Duration = Duration::from_secs(3);

fn look() -> WorkerRequest {
    WorkerRequest::Look(holder())
}

/// Asks until there is an answer, as workers do.
async fn ask_until_answered(worker: &NatsWorker) {
    let asking = async {
        while worker.request(look()).await != Ok(Ok(Answer::Done)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("an answer", asking).await;
}

/// Answers everything.
fn serve(coordinator: &NatsCoordinator) -> JoinSet<()> {
    let mut serving = JoinSet::new();
    let coordinator = coordinator.clone();
    serving.spawn(async move {
        let mut requests = Vec::new();
        while coordinator.requests(&mut requests, 100).await.is_ok() {
            for inbound in requests.drain(..) {
                drop(inbound.reply.send(Ok(Answer::Done)));
            }
        }
    });
    serving
}

#[tokio::test]
async fn everything_goes_on_after_the_server_lost_its_whole_store() {
    let mut nats = Nats::new().await;
    let (coordinator, name) = (nats.coordinator.clone(), worker("w"));
    let _serving = serve(&coordinator);
    let one = nats.worker(&name).await;
    let mut pokes = one.pokes(&name);
    let coder = classes(&["coder"]);
    coordinator.offer(offer(1, "coder")).await.expect("published");
    next_offer(&one, &coder).await.settle().await;
    let waits = one.next_offer(coder.subscribe());
    tokio::pin!(waits);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waits).await.is_err());
    coordinator.offer(offer(2, "painter")).await.expect("published");
    let directory = tempfile::tempdir().expect("a directory");
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, b"bundle").expect("a file");
    let blob = BlobName::new("a").expect("a name");
    let blobs = coordinator.blobs(Bucket::Bases, 1_000, 10_000).await.expect("a bucket");
    blobs.put(&blob, &from).await.expect("it is put");

    nats.server.kill();
    nats.server.wipe();
    let mut online = coordinator.online();
    soon("the news", online.wait_for(|online| !online)).await.expect("the bus is open");
    assert_eq!(coordinator.offer(offer(3, "coder")).await, Err(Error::NoAnswer));
    let asked = soon("no answer", one.request(look()));
    assert_eq!(tokio::time::timeout(AT_ONCE, asked).await, Ok(Err(Error::NoAnswer)));
    nats.server.start_again();

    soon("the news", online.wait_for(|online| *online)).await.expect("the bus is open");
    soon("the news", coordinator.offers_lost()).await;
    assert_eq!(soon("a poke", pokes.next()).await, Some(Poke::Hail), "pokes may be lost");
    ask_until_answered(&one).await;
    coordinator.offer(offer(4, "coder")).await.expect("published");
    let taken = soon("an offer", waits).await.expect("the bus is open");
    assert_eq!(*taken.offer(), offer(4, "coder"), "and not the one that was not sent");
    taken.settle().await;
    // A class that was known before the loss, and one that was not.
    for (number, class) in [(5, "painter"), (6, "writer")] {
        coordinator.offer(offer(number, class)).await.expect("published");
        let taken = next_offer(&one, &classes(&[class])).await;
        assert_eq!(*taken.offer(), offer(number, class));
        taken.settle().await;
    }
    coordinator.poke(&name, Poke::Attempt(attempt(1))).await.expect("sent");
    assert_eq!(soon("a poke", pokes.next()).await, Some(Poke::Attempt(attempt(1))));
    // What was put is gone, and can be put again.
    let lost = one.blobs(Bucket::Bases, 1_000).get(&blob, &to).await;
    assert!(matches!(lost, Err(BlobError::Missing { .. })), "{lost:?}");
    blobs.put(&blob, &from).await.expect("it is put");
    one.blobs(Bucket::Bases, 1_000).get(&blob, &to).await.expect("it is got");
}

#[tokio::test]
async fn nothing_stale_arrives_after_an_absence() {
    let mut nats = Nats::new().await;
    let (coordinator, name) = (nats.coordinator.clone(), worker("w"));
    let one = nats.worker(&name).await;
    let mut pokes = one.pokes(&name);
    nats.server.kill();
    let mut online = coordinator.online();
    soon("the news", online.wait_for(|online| !online)).await.expect("the bus is open");
    for number in 0..50 {
        let poke = Poke::Attempt(attempt(number));
        assert_eq!(coordinator.poke(&name, poke).await, Err(Error::NoAnswer));
        assert_eq!(one.request(look()).await, Err(Error::NoAnswer));
    }
    nats.server.start_again();
    soon("the news", online.wait_for(|online| *online)).await.expect("the bus is open");
    assert_eq!(soon("a poke", pokes.next()).await, Some(Poke::Hail));
    let (asked, answered) = (ask_until_answered(&one), answer(&coordinator, Ok(Answer::Done)));
    tokio::join!(asked, answered);
    let mut requests = Vec::new();
    let more = coordinator.requests(&mut requests, 100);
    let more = tokio::time::timeout(Duration::from_millis(300), more).await;
    assert!(more.is_err(), "requests of the absence arrived: {requests:?}");
    let more = tokio::time::timeout(Duration::from_millis(100), pokes.next()).await;
    assert!(more.is_err(), "pokes of the absence arrived: {more:?}");
    assert!(coordinator.health().unsent >= 50);
}

#[tokio::test]
async fn a_stream_that_is_deleted_is_made_again() {
    let nats = Nats::new().await;
    let (coordinator, one) = (nats.coordinator.clone(), nats.worker(&worker("w")).await);
    let coder = classes(&["coder"]);
    coordinator.offer(offer(1, "coder")).await.expect("published");
    next_offer(&one, &coder).await.settle().await;
    let client = async_nats::connect(nats.server.url()).await.expect("connected");
    let jetstream = async_nats::jetstream::new(client);
    jetstream.delete_stream("orchestrator-work").await.expect("deleted");
    coordinator.offer(offer(2, "coder")).await.expect("it is not known yet");
    soon("the news", coordinator.offers_lost()).await;
    coordinator.offer(offer(3, "coder")).await.expect("published");
    let taken = next_offer(&one, &coder).await;
    assert_eq!(*taken.offer(), offer(3, "coder"));
    taken.settle().await;
}

#[tokio::test]
async fn a_worker_finds_the_consumers_of_the_classes_that_it_is_told() {
    let nats = Nats::new().await;
    let (coordinator, one) = (nats.coordinator.clone(), nats.worker(&worker("w")).await);
    let told = Standing { classes: vec!["coder".parse().expect("a class")], ..Standing::default() };
    let heartbeat = WorkerRequest::Heartbeat {
        worker: worker("w"),
        session: SessionEpoch(1),
        held: Vec::new(),
    };
    let asked = one.request(heartbeat);
    let answered = answer(&coordinator, Ok(Answer::Heard(told)));
    let (reply, _) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    assert!(matches!(reply, Ok(Ok(Answer::Heard(_)))), "{reply:?}");
    let client = async_nats::connect(nats.server.url()).await.expect("connected");
    let stream = async_nats::jetstream::new(client).get_stream("orchestrator-work").await;
    let stream = stream.expect("a stream");
    let info = stream.consumer_info("coder").await.expect("a consumer");
    assert_eq!(info.config.filter_subject, "orchestrator.work.coder");
}

#[tokio::test]
async fn a_worker_that_goes_takes_no_offer_with_it() {
    let nats = Nats::new().await;
    let coordinator = nats.coordinator.clone();
    let (one, two) = (nats.worker(&worker("one")).await, nats.worker(&worker("two")).await);
    let coder = classes(&["coder"]);
    // It stops waiting while its pull is still at the server.
    let waits = one.next_offer(coder.subscribe());
    coordinator.offer(offer(1, "painter")).await.expect("published");
    assert!(tokio::time::timeout(Duration::from_millis(200), waits).await.is_err());
    one.close().await;
    coordinator.offer(offer(2, "coder")).await.expect("published");
    let taken = tokio::time::timeout(QUICKLY, next_offer(&two, &coder)).await.expect("quickly");
    taken.settle().await;
    assert_eq!(one.request(look()).await, Err(Error::Closed));
    assert!(matches!(one.next_offer(coder.subscribe()).await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_worker_without_room_keeps_no_offer() {
    let nats = Nats::new().await;
    let coordinator = nats.coordinator.clone();
    let (one, two) = (nats.worker(&worker("one")).await, nats.worker(&worker("two")).await);
    let both = classes(&["coder", "painter"]);
    let waits = one.next_offer(both.subscribe());
    let published = async {
        // Only once a pull of each class is out can one of them bring too much.
        tokio::time::sleep(Duration::from_millis(200)).await;
        coordinator.offer(offer(1, "coder")).await.expect("published");
    };
    let (first, ()) = tokio::join!(waits, published);
    let first = first.expect("an offer");
    coordinator.offer(offer(2, "painter")).await.expect("published");
    let second = tokio::time::timeout(QUICKLY, next_offer(&two, &both)).await.expect("quickly");
    assert_eq!(*second.offer(), offer(2, "painter"));
    // Whoever forgets about an offer hands it back.
    drop(first);
    let again = tokio::time::timeout(QUICKLY, next_offer(&two, &both)).await.expect("quickly");
    assert_eq!(*again.offer(), offer(1, "coder"));
    again.settle().await;
    second.settle().await;
}

#[tokio::test]
async fn what_a_worker_says_last_arrives() {
    let nats = Nats::new().await;
    let one = nats.worker(&worker("one")).await;
    let coder = classes(&["coder"]);
    for number in 0..20 {
        nats.coordinator.offer(offer(number, "coder")).await.expect("published");
    }
    for _ in 0..20 {
        next_offer(&one, &coder).await.settle().await;
    }
    one.close().await;
    drop(one);
    // What is not acknowledged stays in the stream.
    let client = async_nats::connect(nats.server.url()).await.expect("connected");
    let jetstream = async_nats::jetstream::new(client);
    let settled = async {
        loop {
            let stream = jetstream.get_stream("orchestrator-work").await.expect("a stream");
            if stream.cached_info().state.messages == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(QUICKLY, settled).await.expect("every acknowledgment arrives");
}

#[tokio::test]
async fn output_of_any_length_arrives_in_order() {
    let nats = Nats::new().await;
    let (coordinator, one) = (nats.coordinator.clone(), nats.worker(&worker("w")).await);
    let line =
        |bytes| OutputLine { at: Timestamp(1), lane: OutputLane::Stdout, text: "x".repeat(bytes) };
    let lines: Vec<_> = (0..60).map(|number| line(number * 1_000)).collect();
    let chunk = OutputChunk { holder: holder(), first: 11, lines: lines.clone() };
    let kept = async {
        let mut kept = Vec::new();
        while kept.len() < lines.len() {
            let inbound = coordinator.output().await.expect("the bus is open");
            assert_eq!(inbound.chunk.first, 11 + u64::try_from(kept.len()).expect("small"));
            kept.extend(inbound.chunk.lines);
            let last = 10 + u64::try_from(kept.len()).expect("small");
            inbound.watermark.send(last).expect("the worker waits");
        }
        kept
    };
    let sent = one.send_output(chunk);
    let (watermark, kept) = soon("output", async { tokio::join!(sent, kept) }).await;
    assert_eq!(watermark, Ok(70));
    assert_eq!(kept, lines);
}

#[tokio::test]
async fn what_is_too_long_is_said_at_once() {
    let nats = Nats::new().await;
    let (coordinator, one) = (nats.coordinator.clone(), nats.worker(&worker("w")).await);
    let long = "x".repeat(2 * 1024 * 1024);
    let report = std::sync::Arc::new(Report::stated(Outcome::Completed, long.clone()));
    let request = WorkerRequest::Finished { holder: holder(), report };
    let reply = tokio::time::timeout(AT_ONCE, one.request(request)).await.expect("at once");
    assert!(matches!(reply, Err(Error::Refused { .. })), "{reply:?}");
    let asked = one.request(look());
    let answered = answer(&coordinator, Err(Refusal::Unavailable { reason: long }));
    let (reply, _) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    let Ok(Err(Refusal::Unavailable { reason })) = reply else { panic!("{reply:?}") };
    assert!(reason.contains("bytes"), "{reason}");
}

#[tokio::test]
async fn a_silent_coordinator_and_one_that_is_away_are_told_apart_by_time_only() {
    let mut nats = Nats::new().await;
    nats.options.request_timeout = Duration::from_millis(300);
    let one = nats.worker(&worker("w")).await;
    // It is there, and says nothing.
    assert_eq!(soon("no answer", one.request(look())).await, Err(Error::NoAnswer));
    nats.coordinator.close().await;
    nats.options.request_timeout = Duration::from_secs(600);
    let two = nats.worker(&worker("two")).await;
    let drain = WorkerRequest::Drain { worker: worker("two"), session: SessionEpoch(1) };
    let reply = tokio::time::timeout(AT_ONCE, two.request(drain)).await;
    assert_eq!(reply, Ok(Err(Error::NoAnswer)), "an absence is known at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_comes_back_after_a_restart() {
    const FLEET: usize = 100;
    let mut nats = Nats::new().await;
    let _serving = serve(&nats.coordinator);
    let mut fleet = Vec::new();
    for number in 0..FLEET {
        fleet.push((number, nats.worker(&worker(&format!("w{number}"))).await));
    }
    nats.server.kill();
    nats.server.start_again();
    let mut asking = JoinSet::new();
    for (number, one) in fleet {
        asking.spawn(async move {
            let name = worker(&format!("w{number}"));
            loop {
                let worker = name.clone();
                let drain = WorkerRequest::Drain { worker, session: SessionEpoch(1) };
                if one.request(drain).await == Ok(Ok(Answer::Done)) {
                    return one;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let all = soon("the fleet", asking.join_all()).await;
    assert_eq!(all.len(), FLEET);
    assert!(all.iter().all(|one| one.health().denied == 0 && one.health().forged == 0));
}

#[tokio::test]
async fn a_server_that_starts_later_is_found() {
    let mut server = NatsServer::start();
    let options = NatsOptions::new(vec![server.url()]);
    server.kill();
    let error = NatsCoordinator::connect(&options, Term(1)).await.expect_err("nobody is there");
    assert!(error.is_transient(), "{error:?}");
    server.start_again();
    NatsCoordinator::connect(&options, Term(1)).await.expect("it is there now");
}

/// The names of the consumers that offers are pulled from.
async fn consumers(nats: &Nats) -> Vec<String> {
    use futures_util::TryStreamExt as _;
    let client = async_nats::connect(nats.server.url()).await.expect("connected");
    let stream = async_nats::jetstream::new(client).get_stream("orchestrator-work").await;
    let stream = stream.expect("the stream of offers");
    stream.consumer_names().try_collect().await.expect("its consumers")
}

#[tokio::test]
async fn what_a_class_was_pulled_from_goes_once_nobody_pulls_and_comes_back_with_an_offer() {
    let mut options = NatsOptions::new(Vec::new());
    options.idle_class = Duration::from_secs(1);
    let nats = Nats::with(NatsServer::start(), options).await;
    let one = nats.worker(&worker("one")).await;
    let (coder, painter) = (classes(&["coder"]), classes(&["painter"]));
    for class in ["coder", "painter"] {
        nats.coordinator.offer(offer(1, class)).await.expect("published");
    }
    next_offer(&one, &coder).await.settle().await;
    next_offer(&one, &painter).await.settle().await;
    let waits = one.next_offer(painter.subscribe());
    tokio::pin!(waits);
    let gone = async {
        while consumers(&nats).await != ["painter"] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = soon("the end of a consumer", gone) => {}
        taken = &mut waits => panic!("nothing was offered: {taken:?}"),
    }
    nats.coordinator.offer(offer(2, "coder")).await.expect("published");
    let taken = next_offer(&one, &coder).await;
    assert_eq!(*taken.offer(), offer(2, "coder"));
    taken.settle().await;
    nats.coordinator.offer(offer(3, "painter")).await.expect("published");
    let taken = soon("an offer", waits).await.expect("the bus is open");
    assert_eq!(*taken.offer(), offer(3, "painter"), "whoever pulls keeps it");
    taken.settle().await;
}

#[tokio::test]
async fn as_many_offers_come_in_one_go_as_somebody_waits_for() {
    const MANY: u32 = 20;
    let nats = Nats::new().await;
    let (one, two) = (nats.worker(&worker("one")).await, nats.worker(&worker("two")).await);
    let coder = classes(&["coder"]);
    for number in 0..MANY {
        nats.coordinator.offer(offer(number, "coder")).await.expect("published");
    }
    next_offer(&one, &coder).await.settle().await;
    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let (one, classes) = (one.clone(), coder.subscribe());
        waiting.spawn(async move { one.next_offer(classes).await.expect("the bus is open") });
    }
    let mut taken = Vec::new();
    while let Some(next) = soon("offers", waiting.join_next()).await {
        taken.push(next.expect("nothing panics"));
    }
    // What it didn't wait for is there for others.
    for _ in 11..MANY {
        let next = tokio::time::timeout(QUICKLY, next_offer(&two, &coder)).await;
        taken.push(next.expect("quickly"));
    }
    let mut numbers: Vec<u32> = taken.iter().map(|taken| taken.offer().attempt.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..MANY).collect::<Vec<_>>());
    for taken in taken {
        taken.settle().await;
    }
}
