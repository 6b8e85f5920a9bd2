//! What every bus must do, whatever carries it.
//!
//! Each implementation runs these checks in its own tests. They panic on the first difference.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a check of a test suite fails by panicking"
)]

mod blobs;

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
use crate::{
    CoordinatorEnd, Offer, OutputChunk, OutputLane, OutputLine, Poke, Pokes as _, Refusal,
    Taken as _, WorkerEnd,
};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Some attempt.
#[must_use]
pub fn attempt(number: u32) -> AttemptId {
    AttemptId { task: TaskId { run: RunId(1), index: 0 }, number }
}

/// Runs every check, each on a bus of its own.
pub async fn check_all<C: CoordinatorEnd, W: WorkerEnd>(mut bus: impl FnMut() -> (C, W)) {
    requests_are_answered(bus()).await;
    refusals_are_brought_back(bus()).await;
    a_dropped_answer_is_no_answer(bus()).await;
    an_offer_goes_to_one_worker_that_satisfies_its_class(bus()).await;
    an_offer_waits_for_a_worker(bus()).await;
    an_offer_that_is_handed_back_goes_to_another(bus()).await;
    pokes_reach_their_worker_only(bus()).await;
    output_is_answered_with_a_watermark(bus()).await;
}

fn holder() -> Holder {
    Holder {
        attempt: attempt(1),
        fence: Fence(3),
        worker: WorkerId("w".to_owned()),
        session: SessionEpoch(1),
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took more than {PATIENCE:?}"),
    }
}

async fn next_request<C: CoordinatorEnd>(coordinator: &C) -> crate::Inbound {
    let mut requests = Vec::new();
    soon("a request", coordinator.requests(&mut requests, 1)).await.expect("the bus is open");
    requests.pop().expect("at least one request")
}

async fn requests_are_answered<C: CoordinatorEnd, W: WorkerEnd>((coordinator, worker): (C, W)) {
    let report = Arc::new(Report::stated(Outcome::Completed, "done"));
    let request = WorkerRequest::Finished { holder: holder(), report };
    let asked = worker.request(request.clone());
    let answered = async {
        let inbound = next_request(&coordinator).await;
        assert_eq!(inbound.request, request, "a request arrives as it was sent");
        inbound.reply.send(Ok(Answer::Done)).expect("the worker waits");
    };
    let (reply, ()) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    assert_eq!(reply, Ok(Ok(Answer::Done)));
}

async fn refusals_are_brought_back<C: CoordinatorEnd, W: WorkerEnd>((coordinator, worker): (C, W)) {
    let refusal = Refusal::Rejected(Rejection::Fenced { attempt: attempt(1), fence: Fence(3) });
    let asked = worker.request(WorkerRequest::Look(holder()));
    let answered = async {
        let inbound = next_request(&coordinator).await;
        inbound.reply.send(Err(refusal.clone())).expect("the worker waits");
    };
    let (reply, ()) = soon("a refusal", async { tokio::join!(asked, answered) }).await;
    assert_eq!(reply, Ok(Err(refusal)));
}

async fn a_dropped_answer_is_no_answer<C: CoordinatorEnd, W: WorkerEnd>(
    (coordinator, worker): (C, W),
) {
    let asked = worker.request(WorkerRequest::Started(holder()));
    let dropped = async { drop(next_request(&coordinator).await) };
    let (reply, ()) = soon("the end of a request", async { tokio::join!(asked, dropped) }).await;
    assert!(reply.is_err(), "{reply:?}");
}

fn offer(number: u32, class: &str) -> Offer {
    let class = class.parse().expect("a class");
    Offer { attempt: attempt(number), offer: OfferSeq(1), class }
}

/// The classes of a worker; they can be changed.
fn classes(names: &[&str]) -> watch::Sender<Arc<[Class]>> {
    watch::Sender::new(names.iter().map(|name| name.parse().expect("a class")).collect())
}

async fn an_offer_goes_to_one_worker_that_satisfies_its_class<C: CoordinatorEnd, W: WorkerEnd>(
    (coordinator, worker): (C, W),
) {
    let coder = classes(&["coder"]);
    let (one, two) = (worker.clone(), worker.clone());
    let published = async {
        coordinator.offer(offer(1, "painter")).await.expect("published");
        coordinator.offer(offer(2, "coder")).await.expect("published");
        coordinator.offer(offer(3, "coder")).await.expect("published");
    };
    let taken = async {
        tokio::join!(
            one.next_offer(coder.subscribe()),
            two.next_offer(coder.subscribe()),
            published
        )
    };
    let (one, two, ()) = soon("two offers", taken).await;
    let mut numbers = Vec::new();
    for taken in [one.expect("an offer"), two.expect("an offer")] {
        numbers.push(taken.offer().attempt.number);
        taken.settle().await;
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3], "each offer goes to one, and only to who satisfies its class");
}

async fn an_offer_waits_for_a_worker<C: CoordinatorEnd, W: WorkerEnd>(
    (coordinator, worker): (C, W),
) {
    let now = classes(&["painter"]);
    let taken = worker.next_offer(now.subscribe());
    let published = async {
        coordinator.offer(offer(1, "coder")).await.expect("published");
        // A worker may come to satisfy a class while it waits.
        now.send_replace(["coder".parse().expect("a class")].into());
    };
    let (taken, ()) = soon("an offer", async { tokio::join!(taken, published) }).await;
    let taken = taken.expect("an offer");
    assert_eq!(*taken.offer(), offer(1, "coder"));
    taken.settle().await;
}

async fn an_offer_that_is_handed_back_goes_to_another<C: CoordinatorEnd, W: WorkerEnd>(
    (coordinator, worker): (C, W),
) {
    let coder = classes(&["coder"]);
    let published = coordinator.offer(offer(1, "coder"));
    let taken = async { tokio::join!(worker.next_offer(coder.subscribe()), published) };
    let (first, published) = soon("an offer", taken).await;
    published.expect("published");
    first.expect("an offer").hand_back(Duration::from_millis(10)).await;
    let again =
        soon("the same offer", worker.next_offer(coder.subscribe())).await.expect("an offer");
    assert_eq!(*again.offer(), offer(1, "coder"));
    again.settle().await;
}

async fn pokes_reach_their_worker_only<C: CoordinatorEnd, W: WorkerEnd>(
    (coordinator, worker): (C, W),
) {
    let (one, two) = (WorkerId("one".to_owned()), WorkerId("two".to_owned()));
    let mut pokes = worker.pokes(&two);
    let _listener = worker.pokes(&one);
    coordinator.poke(&one, Poke::Attempt(attempt(1))).await.expect("sent");
    coordinator.poke(&two, Poke::Attempt(attempt(2))).await.expect("sent");
    assert_eq!(soon("a poke", pokes.next()).await, Some(Poke::Attempt(attempt(2))));
}

async fn output_is_answered_with_a_watermark<C: CoordinatorEnd, W: WorkerEnd>(
    (coordinator, worker): (C, W),
) {
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
}
