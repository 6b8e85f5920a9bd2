//! The end of an attempt: its report, the rest of its transcript, and its spool; also of attempts
//! that an earlier process of this worker has left.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kapelle_bus::WorkerEnd;
use kapelle_domain::attempt::Report;
use kapelle_domain::engine::{HeldVerdict, Holder, Rejection, Verdict, WorkerRequest};
use kapelle_domain::worker::Held;
use kapelle_runtime::clock::Clock;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Session, ask};
use crate::attempt::Made;
use crate::spool::attempt::Found;
use crate::transcript::Delivery;

/// How long a report waits for its transcript to arrive: who follows the transcript should see
/// its end before the attempt's. A slow collector of transcripts must not delay work, though.
const COURTESY: Duration = Duration::from_secs(1);

/// How long a worker that ends waits for transcripts to arrive. What didn't is delivered by the
/// next one.
const FLUSH: Duration = Duration::from_secs(10);

/// Transcripts that may still be on their way when their attempts have left their slots.
pub(super) const LATE_TRANSCRIPTS_MAX: usize = 64;

/// Hands in the reports that nobody waits for any more, by the verdicts on the inventory. This
/// comes before anything is claimed: in a new history, after a state was deleted, the same ids may
/// be granted again, and a new grant must not get the report of an old one.
pub(super) async fn settle_the_past<B: WorkerEnd>(
    session: &Session<B>,
    found: &mut [Found],
    verdicts: &[HeldVerdict],
) {
    for found in found {
        let Held { attempt, fence } = found.spool.owner().held();
        let held = |held: &HeldVerdict| held.attempt == attempt && held.verdict != Verdict::Fenced;
        if verdicts.iter().any(held) {
            continue;
        }
        let Some(report) = found.report.take() else { continue };
        if !hand_in_report(session, session.holder(attempt, fence), report.clone()).await {
            found.report = Some(report);
        }
    }
}

/// Brings to its end what an earlier process of this worker has left.
pub(super) async fn hand_in<B: WorkerEnd>(
    session: Arc<Session<B>>,
    found: Found,
    clock: Clock,
    slot: Option<OwnedSemaphorePermit>,
) {
    let Held { attempt, fence } = found.spool.owner().held();
    tracing::info!(%attempt, finished = found.report.is_some(), "an earlier process has left an attempt");
    let holder = match found.report {
        Some(_) => session.hold(attempt, fence, Duration::MAX, CancellationToken::new()).0,
        None => session.holder(attempt, fence),
    };
    let delivery = Delivery::resume(session.bus.clone(), holder.clone(), clock, found.spool);
    let made = Made { report: found.report, delivery: Some(delivery) };
    conclude(&session, holder, made, slot).await;
}

/// Brings the coordinator what an attempt has come to, until it is answered and everything has
/// arrived. What the worker's own end comes before stays in the spool, for the next process.
pub(super) async fn conclude<B: WorkerEnd>(
    session: &Session<B>,
    holder: Holder,
    made: Made,
    slot: Option<OwnedSemaphorePermit>,
) {
    let Made { report, mut delivery } = made;
    if let Some(delivery) = &mut delivery {
        delivery.arrive(tokio::time::sleep(COURTESY)).await;
    }
    let attempt = holder.attempt;
    let answered = match report {
        Some(report) => hand_in_report(session, holder, report).await,
        None => true,
    };
    session.held().remove(&attempt);
    let Some(mut delivery) = delivery else { return };
    if !answered {
        session.owes.store(true, Ordering::Relaxed);
        return;
    }
    if !delivery.arrive(ready(())).await {
        let _place = session.late.acquire().await;
        drop(slot);
        let patience = async {
            session.ending.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        if !delivery.arrive(patience).await {
            tracing::warn!(%attempt, "the end of a transcript waits on disk for the next worker");
            return;
        }
    }
    delivery.remove().await;
}

/// Whether the report was recorded, kept aside, or refused.
async fn hand_in_report<B: WorkerEnd>(
    session: &Session<B>,
    holder: Holder,
    report: Report,
) -> bool {
    let attempt = holder.attempt;
    let finished = WorkerRequest::Finished { holder, report: Arc::new(report) };
    match ask(&session.bus, finished, &session.stop).await {
        Ok(Ok(_)) => true,
        // Said of the session, not of the report: the next one brings it again.
        Ok(Err(Rejection::SupersededSession { .. } | Rejection::UnknownWorker { .. })) => false,
        Ok(Err(rejection)) => {
            tracing::warn!(%attempt, %rejection, "the result came too late");
            true
        }
        Err(_) => false,
    }
}
