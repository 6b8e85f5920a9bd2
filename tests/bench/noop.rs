//! A worker whose attempts do nothing. It talks to the coordinator as the real one does: an offer
//! is claimed, the grant started, the end reported, each answered only when it is committed.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use kapelle_bus::{Offer, Taken as _, WorkerEnd};
use kapelle_domain::attempt::{Outcome, Report, Usage, Verdict};
use kapelle_domain::engine::{Answer, Claim, Holder, WorkerRequest};
use kapelle_domain::ids::{RequestId, SessionEpoch, WorkerId};
use kapelle_domain::worker::Registration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// The only agent there is.
pub(crate) const AGENT: &str = "noop";

/// When an attempt went how far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamps {
    /// The worker has the grant; an agent would be started now.
    pub(crate) granted: Instant,
    /// That it runs is committed.
    pub(crate) started: Instant,
    /// Its end is committed.
    pub(crate) finished: Instant,
}

/// Works until the bus closes or this is dropped, or something goes wrong.
///
/// # Errors
/// For any answer that isn't the expected one: nothing here gives a reason for a refusal.
pub(crate) async fn work<B: WorkerEnd>(
    bus: B,
    slots: u32,
    stamps: mpsc::Sender<Stamps>,
) -> Result<()> {
    let worker = WorkerId("bench".to_owned());
    let agents: Vec<Arc<str>> = vec![AGENT.into()];
    let registration =
        Registration { embedded: true, ..Registration::new(worker.clone(), slots, agents) };
    let (session, standing) = match ask(&bus, WorkerRequest::Register(registration)).await? {
        Answer::Registered { session, standing } => (session, standing),
        other => bail!("registering was answered with {other:?}"),
    };
    let (_classes, classes) = watch::channel(standing.classes.into());
    let free = Arc::new(Semaphore::new(usize::try_from(slots)?));
    let mut attempts: JoinSet<Result<()>> = JoinSet::new();
    let mut request = 0;
    loop {
        let next = async {
            // A free slot first: an offer that is taken without one waits in vain.
            let slot = Arc::clone(&free).acquire_owned().await?;
            let taken = bus.next_offer(classes.clone()).await?;
            let offer = taken.offer().clone();
            taken.settle().await;
            anyhow::Ok((offer, slot))
        };
        tokio::select! {
            taken = next => {
                let (offer, slot) = taken?;
                request += 1;
                let attempt = attempt(bus.clone(), offer, RequestId(request), worker.clone(), session);
                let stamps = stamps.clone();
                attempts.spawn(async move {
                    let made = attempt.await?;
                    drop(slot);
                    stamps.send(made).await.context("nobody counts")
                });
            }
            Some(ended) = attempts.join_next() => ended??,
        }
    }
}

async fn attempt<B: WorkerEnd>(
    bus: B,
    offer: Offer,
    request: RequestId,
    worker: WorkerId,
    session: SessionEpoch,
) -> Result<Stamps> {
    let claim = Claim {
        request,
        attempt: offer.attempt,
        offer: offer.offer,
        worker: worker.clone(),
        session,
    };
    let grant = match ask(&bus, WorkerRequest::Claim(claim)).await? {
        Answer::Granted(grant) => grant,
        other => bail!("a claim was answered with {other:?}"),
    };
    let granted = Instant::now();
    let holder = Holder { attempt: grant.attempt, fence: grant.fence, worker, session };
    ask(&bus, WorkerRequest::Started(holder.clone())).await?;
    let started = Instant::now();
    let report = Arc::new(report());
    ask(&bus, WorkerRequest::Finished { holder, report }).await?;
    Ok(Stamps { granted, started, finished: Instant::now() })
}

fn report() -> Report {
    Report {
        outcome: Outcome::Completed,
        summary: "nothing was to be done, and that was done".to_owned(),
        exit: None,
        verdict: Verdict::Pass,
        checks: Vec::new(),
        result: None,
        usage: Usage::default(),
    }
}

async fn ask<B: WorkerEnd>(bus: &B, request: WorkerRequest) -> Result<Answer> {
    Ok(bus.request(request).await??)
}
