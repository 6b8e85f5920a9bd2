//! What every bus must do, whatever carries it.
//!
//! Each implementation runs these checks in its own tests. They panic on the first difference.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a check of a test suite fails by panicking"
)]

mod blobs;
mod control;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kapelle_domain::attempt::{Outcome, Report};
use kapelle_domain::engine::{Answer, Holder, Rejection, WorkerRequest};
use kapelle_domain::ids::{
    AttemptId, Fence, OfferSeq, RunId, SessionEpoch, TaskId, Timestamp, WorkerId,
};
use kapelle_domain::placement::Class;
use tokio::sync::watch;

pub use self::blobs::{LIMITS, check_blobs};
pub use self::control::{ControlFabric, check_control, some_agent, some_receipt, some_status};
use crate::{
    CoordinatorEnd, Error, Offer, OutputChunk, OutputLane, OutputLine, Poke, Pokes as _, Refusal,
    Taken as _, WorkerEnd,
};

/// How long anything may take before it counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing may arrive before that counts as nothing.
const SILENCE: Duration = Duration::from_millis(300);

/// A bus with both its ends.
pub trait Fabric {
    /// The coordinator's end.
    type Coordinator: CoordinatorEnd;
    /// A worker's end.
    type Worker: WorkerEnd;

    /// A new bus.
    fn new() -> impl Future<Output = Self>;

    /// The coordinator's end.
    fn coordinator(&self) -> Self::Coordinator;

    /// The end of a worker.
    fn worker(&self, worker: &WorkerId) -> impl Future<Output = Self::Worker>;
}

/// Runs every check, each on a bus of its own.
pub async fn check_all<F: Fabric>() {
    requests_are_answered(F::new().await).await;
    refusals_are_brought_back(F::new().await).await;
    a_dropped_answer_is_no_answer(F::new().await).await;
    many_requests_are_answered_each_with_its_own(F::new().await).await;
    an_offer_goes_to_one_worker_that_satisfies_its_class(F::new().await).await;
    an_offer_waits_for_a_worker(F::new().await).await;
    an_offer_that_is_handed_back_goes_to_another(F::new().await).await;
    an_offer_that_is_settled_goes_to_nobody(F::new().await).await;
    nothing_is_lost_by_not_waiting_any_longer(F::new().await).await;
    each_of_many_offers_has_one_taker(F::new().await).await;
    pokes_reach_their_worker_only(F::new().await).await;
    output_is_answered_with_a_watermark(F::new().await).await;
    what_was_sent_before_the_end_arrives(F::new().await).await;
}

/// Some attempt.
#[must_use]
pub fn attempt(number: u32) -> AttemptId {
    AttemptId { task: TaskId { run: RunId(1), index: 0 }, number }
}

/// Some worker.
#[must_use]
pub fn worker(name: &str) -> WorkerId {
    WorkerId(name.to_owned())
}

/// The holder of some attempt, on the worker `w`.
#[must_use]
pub fn holder() -> Holder {
    Holder { attempt: attempt(1), fence: Fence(3), worker: worker("w"), session: SessionEpoch(1) }
}

/// An offer of an attempt.
///
/// # Panics
/// When that is no class.
#[must_use]
pub fn offer(number: u32, class: &str) -> Offer {
    let class = class.parse().expect("a class");
    Offer { attempt: attempt(number), offer: OfferSeq(1), class }
}

/// The classes of a worker; they can be changed.
///
/// # Panics
/// When one is no class.
#[must_use]
pub fn classes(names: &[&str]) -> watch::Sender<Arc<[Class]>> {
    watch::Sender::new(names.iter().map(|name| name.parse().expect("a class")).collect())
}

/// Waits for something that must happen.
///
/// # Panics
/// When it doesn't.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took more than {PATIENCE:?}"),
    }
}

/// Waits for the next request.
///
/// # Panics
/// When none comes.
pub async fn next_request<C: CoordinatorEnd>(coordinator: &C) -> crate::Inbound {
    let mut requests = Vec::new();
    soon("a request", coordinator.requests(&mut requests, 1)).await.expect("the bus is open");
    requests.pop().expect("at least one request")
}

/// Waits for the next offer.
///
/// # Panics
/// When none comes.
pub async fn next_offer<W: WorkerEnd>(
    worker: &W,
    classes: &watch::Sender<Arc<[Class]>>,
) -> W::Taken {
    soon("an offer", worker.next_offer(classes.subscribe())).await.expect("the bus is open")
}

/// Makes sure that nobody is offered anything.
async fn no_offer<W: WorkerEnd>(worker: &W, classes: &watch::Sender<Arc<[Class]>>) {
    let offered = tokio::time::timeout(SILENCE, worker.next_offer(classes.subscribe())).await;
    if let Ok(Ok(taken)) = offered {
        panic!("nothing is to be offered, and this was: {:?}", taken.offer());
    }
}

/// Answers one request, and gives it back.
///
/// # Panics
/// When none comes.
pub async fn answer<C: CoordinatorEnd>(coordinator: &C, reply: crate::Reply) -> WorkerRequest {
    let inbound = next_request(coordinator).await;
    inbound.reply.send(reply).expect("the worker waits");
    inbound.request
}

async fn requests_are_answered<F: Fabric>(fabric: F) {
    let (coordinator, worker) = (fabric.coordinator(), fabric.worker(&worker("w")).await);
    let report = Arc::new(Report::stated(Outcome::Completed, "done"));
    let request = WorkerRequest::Finished { holder: holder(), report };
    let asked = worker.request(request.clone());
    let answered = answer(&coordinator, Ok(Answer::Done));
    let (reply, arrived) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    assert_eq!(reply, Ok(Ok(Answer::Done)));
    assert_eq!(arrived, request, "a request arrives as it was sent");
}

async fn refusals_are_brought_back<F: Fabric>(fabric: F) {
    let (coordinator, worker) = (fabric.coordinator(), fabric.worker(&worker("w")).await);
    let unavailable = Refusal::Unavailable { reason: "the disk is full".to_owned() };
    let fenced = Rejection::Fenced { attempt: attempt(1), fence: Fence(3) };
    for refusal in [Refusal::Rejected(fenced), unavailable] {
        let asked = worker.request(WorkerRequest::Look(holder()));
        let answered = answer(&coordinator, Err(refusal.clone()));
        let (reply, _) = soon("a refusal", async { tokio::join!(asked, answered) }).await;
        assert_eq!(reply, Ok(Err(refusal)));
    }
}

async fn a_dropped_answer_is_no_answer<F: Fabric>(fabric: F) {
    let (coordinator, worker) = (fabric.coordinator(), fabric.worker(&worker("w")).await);
    let asked = worker.request(WorkerRequest::Started(holder()));
    let dropped = async { drop(next_request(&coordinator).await) };
    let (reply, ()) = soon("the end of a request", async { tokio::join!(asked, dropped) }).await;
    assert_eq!(reply, Err(Error::NoAnswer));
}

async fn many_requests_are_answered_each_with_its_own<F: Fabric>(fabric: F) {
    const MANY: u64 = 500;
    let (coordinator, worker) = (fabric.coordinator(), fabric.worker(&worker("w")).await);
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..MANY {
        let worker = worker.clone();
        asking.spawn(async move {
            let holder = Holder { fence: Fence(number), ..holder() };
            (number, worker.request(WorkerRequest::Look(holder)).await)
        });
    }
    let mut requests = Vec::new();
    let mut answered = 0;
    while answered < MANY {
        soon("requests", coordinator.requests(&mut requests, 100)).await.expect("the bus is open");
        // Answered the other way round: order means nothing.
        for inbound in requests.drain(..).rev() {
            let WorkerRequest::Look(Holder { fence, .. }) = inbound.request else {
                panic!("{:?} was not asked", inbound.request)
            };
            let refusal = Refusal::Unavailable { reason: fence.to_string() };
            inbound.reply.send(Err(refusal)).expect("the worker waits");
            answered += 1;
        }
    }
    while let Some(asked) = soon("an answer", asking.join_next()).await {
        let (number, reply) = asked.expect("nothing panics");
        let refusal = Refusal::Unavailable { reason: number.to_string() };
        assert_eq!(reply, Ok(Err(refusal)));
    }
}

async fn an_offer_goes_to_one_worker_that_satisfies_its_class<F: Fabric>(fabric: F) {
    let coordinator = fabric.coordinator();
    let (one, two) = (fabric.worker(&worker("one")).await, fabric.worker(&worker("two")).await);
    for offer in [offer(1, "painter"), offer(2, "coder"), offer(3, "coder")] {
        coordinator.offer(offer).await.expect("published");
    }
    let coder = classes(&["coder"]);
    let both = async { tokio::join!(next_offer(&one, &coder), next_offer(&two, &coder)) };
    let mut numbers = Vec::new();
    let (first, second) = both.await;
    for taken in [first, second] {
        numbers.push(taken.offer().attempt.number);
        taken.settle().await;
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3], "each offer goes to one, and only to who satisfies its class");
    let several = classes(&["writer", "painter", "coder"]);
    let third = next_offer(&one, &several).await;
    assert_eq!(*third.offer(), offer(1, "painter"));
    third.settle().await;
}

async fn an_offer_waits_for_a_worker<F: Fabric>(fabric: F) {
    let (coordinator, worker) = (fabric.coordinator(), fabric.worker(&worker("w")).await);
    let now = classes(&["painter"]);
    let published = async {
        coordinator.offer(offer(1, "coder")).await.expect("published");
        // A worker may come to satisfy a class while it waits.
        now.send_replace(["coder".parse().expect("a class")].into());
    };
    let (taken, ()) = tokio::join!(next_offer(&worker, &now), published);
    assert_eq!(*taken.offer(), offer(1, "coder"));
    taken.settle().await;
}

async fn an_offer_that_is_handed_back_goes_to_another<F: Fabric>(fabric: F) {
    let coordinator = fabric.coordinator();
    let (one, two) = (fabric.worker(&worker("one")).await, fabric.worker(&worker("two")).await);
    let coder = classes(&["coder"]);
    coordinator.offer(offer(1, "coder")).await.expect("published");
    let taken = next_offer(&one, &coder).await;
    no_offer(&two, &coder).await;
    taken.hand_back(Duration::from_millis(10)).await;
    let taken = next_offer(&two, &coder).await;
    assert_eq!(*taken.offer(), offer(1, "coder"));
    taken.hand_back(Duration::ZERO).await;
    let taken = next_offer(&one, &coder).await;
    assert_eq!(*taken.offer(), offer(1, "coder"));
    taken.settle().await;
}

async fn an_offer_that_is_settled_goes_to_nobody<F: Fabric>(fabric: F) {
    let coordinator = fabric.coordinator();
    let (one, two) = (fabric.worker(&worker("one")).await, fabric.worker(&worker("two")).await);
    let coder = classes(&["coder"]);
    coordinator.offer(offer(1, "coder")).await.expect("published");
    next_offer(&one, &coder).await.settle().await;
    no_offer(&two, &coder).await;
}

async fn nothing_is_lost_by_not_waiting_any_longer<F: Fabric>(fabric: F) {
    let coordinator = fabric.coordinator();
    let (one, two) = (fabric.worker(&worker("one")).await, fabric.worker(&worker("two")).await);
    let coder = classes(&["coder"]);
    // Whoever has stopped waiting is not given what comes next.
    no_offer(&one, &coder).await;
    coordinator.offer(offer(1, "coder")).await.expect("published");
    next_offer(&two, &coder).await.settle().await;
    let mut requests = Vec::new();
    let waited = tokio::time::timeout(SILENCE, coordinator.requests(&mut requests, 1)).await;
    assert!(waited.is_err(), "nobody asks anything");
    let drain = WorkerRequest::Drain { worker: worker("one"), session: SessionEpoch(1) };
    let asked = one.request(drain);
    let answered = answer(&coordinator, Ok(Answer::Done));
    let (reply, _) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    assert_eq!(reply, Ok(Ok(Answer::Done)));
}

async fn each_of_many_offers_has_one_taker<F: Fabric>(fabric: F) {
    const MANY: u32 = 1_000;
    let coordinator = fabric.coordinator();
    let both = Arc::new(classes(&["coder", "painter"]));
    let mut takers = tokio::task::JoinSet::new();
    let (count, mut counted) = tokio::sync::mpsc::channel(100);
    for name in ["one", "two"] {
        let worker = fabric.worker(&worker(name)).await;
        for _slot in 0..3 {
            let (worker, both, count) = (worker.clone(), Arc::clone(&both), count.clone());
            takers.spawn(async move {
                while let Ok(taken) = worker.next_offer(both.subscribe()).await {
                    let number = taken.offer().attempt.number;
                    taken.settle().await;
                    count.send(number).await.expect("somebody counts");
                }
            });
        }
    }
    for number in 0..MANY {
        let class = if number % 3 == 0 { "painter" } else { "coder" };
        coordinator.offer(offer(number, class)).await.expect("published");
    }
    let mut times: BTreeMap<u32, u32> = BTreeMap::new();
    for _ in 0..MANY {
        let number = soon("an offer", counted.recv()).await.expect("takers live");
        *times.entry(number).or_default() += 1;
    }
    let more = tokio::time::timeout(SILENCE, counted.recv()).await;
    assert!(more.is_err(), "more was taken than was offered: {more:?}");
    assert!(times.values().all(|times| *times == 1), "each has one taker: {times:?}");
    takers.shutdown().await;
}

async fn pokes_reach_their_worker_only<F: Fabric>(fabric: F) {
    let coordinator = fabric.coordinator();
    let (one, two) = (worker("one"), worker("two"));
    let (first, second) = (fabric.worker(&one).await, fabric.worker(&two).await);
    let (mut others, mut pokes) = (first.pokes(&one), second.pokes(&two));
    coordinator.poke(&one, Poke::Attempt(attempt(1))).await.expect("sent");
    coordinator.poke(&two, Poke::Attempt(attempt(2))).await.expect("sent");
    coordinator.poke(&two, Poke::Hail).await.expect("sent");
    assert_eq!(soon("a poke", pokes.next()).await, Some(Poke::Attempt(attempt(2))));
    assert_eq!(soon("a poke", pokes.next()).await, Some(Poke::Hail));
    assert_eq!(soon("a poke", others.next()).await, Some(Poke::Attempt(attempt(1))));
}

async fn output_is_answered_with_a_watermark<F: Fabric>(fabric: F) {
    let (coordinator, worker) = (fabric.coordinator(), fabric.worker(&worker("w")).await);
    let line = OutputLine { at: Timestamp(1), lane: OutputLane::Stdout, text: "hello".to_owned() };
    let chunk = OutputChunk { holder: holder(), first: 1, lines: vec![line.clone(), line] };
    let sent = worker.send_output(chunk.clone());
    let kept = async {
        let inbound = coordinator.output().await.expect("the bus is open");
        assert_eq!(inbound.chunk, chunk);
        inbound.watermark.send(2).expect("the worker waits");
    };
    let (watermark, ()) = soon("a watermark", async { tokio::join!(sent, kept) }).await;
    assert_eq!(watermark, Ok(2));
    let sent = worker.send_output(chunk);
    let dropped = async { drop(coordinator.output().await) };
    let (watermark, ()) = soon("the end", async { tokio::join!(sent, dropped) }).await;
    assert_eq!(watermark, Err(Error::NoAnswer));
}

async fn what_was_sent_before_the_end_arrives<F: Fabric>(fabric: F) {
    const MANY: u32 = 200;
    let coordinator = fabric.coordinator();
    let name = worker("one");
    let one = fabric.worker(&name).await;
    let mut pokes = one.pokes(&name);
    for number in 0..MANY {
        coordinator.poke(&name, Poke::Attempt(attempt(number))).await.expect("sent");
    }
    coordinator.close().await;
    for number in 0..MANY {
        assert_eq!(soon("a poke", pokes.next()).await, Some(Poke::Attempt(attempt(number))));
    }
    one.close().await;
}
