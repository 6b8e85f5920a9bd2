//! A bus within one process.
//!
//! It loses nothing while both ends live, which is more than the seam promises; nobody may come
//! to rely on it.

mod control;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kapelle_domain::engine::WorkerRequest;
use kapelle_domain::ids::WorkerId;
use kapelle_domain::placement::Class;
use tokio::sync::{Mutex as AsyncMutex, Notify, broadcast, mpsc, oneshot, watch};

pub use self::control::{Heard, MemoryClient, MemoryControl, MemoryReceipts, control};
use crate::ends::InboundOutput;
use crate::message::{Inbound, Offer, OutputChunk, Poke, Reply};
use crate::{CoordinatorEnd, Error, Pokes, Taken, WorkerEnd};

/// Requests that may wait for the coordinator. Each worker waits for its answers, so this is
/// reached only when very many attempts report at once, and then waiting is right.
const REQUESTS_MAX: usize = 4_096;

/// Chunks of output that may wait for the coordinator; then the workers' spools fill instead.
const OUTPUT_MAX: usize = 64;

/// Pokes that a slow worker may lag behind; then it is hailed.
const POKES_MAX: usize = 1_024;

/// Makes the two ends of a new bus.
#[must_use]
pub fn bus() -> (MemoryCoordinator, MemoryWorker) {
    let (requests_tx, requests_rx) = mpsc::channel(REQUESTS_MAX);
    let (output_tx, output_rx) = mpsc::channel(OUTPUT_MAX);
    let (pokes, _) = broadcast::channel(POKES_MAX);
    let offers = Arc::new(Offers::default());
    let coordinator = MemoryCoordinator {
        requests: Arc::new(AsyncMutex::new(requests_rx)),
        output: Arc::new(AsyncMutex::new(output_rx)),
        offers: Arc::clone(&offers),
        pokes: pokes.clone(),
    };
    (coordinator, MemoryWorker { requests: requests_tx, output: output_tx, offers, pokes })
}

/// Offers that nobody has taken yet.
#[derive(Debug, Default)]
struct Offers {
    waiting: Mutex<VecDeque<Offer>>,
    arrived: Notify,
}

impl Offers {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Offer>> {
        // The queue is never left half changed, so a panic elsewhere doesn't spoil it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, offer: Offer) {
        self.waiting().push_back(offer);
        self.arrived.notify_waiters();
    }

    fn take(&self, classes: &[Class]) -> Option<Offer> {
        let mut waiting = self.waiting();
        let index = waiting.iter().position(|offer| classes.contains(&offer.class))?;
        waiting.remove(index)
    }
}

/// The coordinator's end of a bus within one process.
#[derive(Debug, Clone)]
pub struct MemoryCoordinator {
    requests: Arc<AsyncMutex<mpsc::Receiver<Inbound>>>,
    output: Arc<AsyncMutex<mpsc::Receiver<InboundOutput>>>,
    offers: Arc<Offers>,
    pokes: broadcast::Sender<(WorkerId, Poke)>,
}

impl CoordinatorEnd for MemoryCoordinator {
    async fn requests(&self, requests: &mut Vec<Inbound>, count_max: usize) -> Result<(), Error> {
        let received = self.requests.lock().await.recv_many(requests, count_max).await;
        if received == 0 { Err(Error::Closed) } else { Ok(()) }
    }

    async fn output(&self) -> Result<InboundOutput, Error> {
        self.output.lock().await.recv().await.ok_or(Error::Closed)
    }

    async fn offer(&self, offer: Offer) -> Result<(), Error> {
        self.offers.put(offer);
        Ok(())
    }

    fn online(&self) -> watch::Receiver<bool> {
        // Nothing lies between the two ends.
        watch::channel(true).1
    }

    async fn poke(&self, worker: &WorkerId, poke: Poke) -> Result<(), Error> {
        self.pokes.send((worker.clone(), poke)).map(drop).map_err(|_| Error::Closed)
    }

    async fn offers_lost(&self) {
        std::future::pending().await
    }

    /// Nothing waits to be sent, and the end of the last clone is the end.
    async fn close(&self) {}
}

/// A worker's end of a bus within one process.
#[derive(Debug, Clone)]
pub struct MemoryWorker {
    requests: mpsc::Sender<Inbound>,
    output: mpsc::Sender<InboundOutput>,
    offers: Arc<Offers>,
    pokes: broadcast::Sender<(WorkerId, Poke)>,
}

impl WorkerEnd for MemoryWorker {
    type Pokes = MemoryPokes;
    type Taken = MemoryTaken;

    async fn request(&self, request: WorkerRequest) -> Result<Reply, Error> {
        let (reply, answer) = oneshot::channel();
        let inbound = Inbound { request, reply, trace: None };
        self.requests.send(inbound).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::NoAnswer)
    }

    async fn send_output(&self, chunk: OutputChunk) -> Result<u64, Error> {
        let (watermark, committed) = oneshot::channel();
        self.output.send(InboundOutput { chunk, watermark }).await.map_err(|_| Error::Closed)?;
        committed.await.map_err(|_| Error::NoAnswer)
    }

    async fn next_offer(
        &self,
        mut classes: watch::Receiver<Arc<[Class]>>,
    ) -> Result<MemoryTaken, Error> {
        loop {
            let arrived = self.offers.arrived.notified();
            tokio::pin!(arrived);
            // Registered before the look, so that an offer between the two wakes this waiter.
            arrived.as_mut().enable();
            let wanted = Arc::clone(&classes.borrow_and_update());
            if let Some(offer) = self.offers.take(&wanted) {
                return Ok(MemoryTaken { offer, offers: Arc::clone(&self.offers) });
            }
            if self.requests.is_closed() {
                return Err(Error::Closed);
            }
            tokio::select! {
                () = arrived => {}
                Ok(()) = classes.changed() => {}
                () = self.requests.closed() => {}
            }
        }
    }

    fn pokes(&self, worker: &WorkerId) -> MemoryPokes {
        MemoryPokes { worker: worker.clone(), pokes: self.pokes.subscribe() }
    }

    /// Nothing waits to be sent, and the end of the last clone is the end.
    async fn close(&self) {}
}

/// An offer in the hands of a worker on a bus within one process.
#[derive(Debug)]
pub struct MemoryTaken {
    offer: Offer,
    offers: Arc<Offers>,
}

impl Taken for MemoryTaken {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    async fn settle(self) {}

    async fn hand_back(self, delay: Duration) {
        tokio::time::sleep(delay).await;
        self.offers.put(self.offer);
    }
}

/// The pokes of one worker on a bus within one process.
#[derive(Debug)]
pub struct MemoryPokes {
    worker: WorkerId,
    pokes: broadcast::Receiver<(WorkerId, Poke)>,
}

impl Pokes for MemoryPokes {
    async fn next(&mut self) -> Option<Poke> {
        loop {
            match self.pokes.recv().await {
                Ok((worker, poke)) if worker == self.worker => return Some(poke),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return Some(Poke::Hail),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Fabric, attempt, check_all};

    struct Memory(MemoryCoordinator, MemoryWorker);

    impl Fabric for Memory {
        type Coordinator = MemoryCoordinator;
        type Worker = MemoryWorker;

        async fn new() -> Self {
            let (coordinator, worker) = bus();
            Self(coordinator, worker)
        }

        fn coordinator(&self) -> MemoryCoordinator {
            self.0.clone()
        }

        async fn worker(&self, _: &WorkerId) -> MemoryWorker {
            self.1.clone()
        }
    }

    #[tokio::test]
    async fn conforms() {
        check_all::<Memory>().await;
    }

    #[tokio::test]
    async fn a_worker_that_lags_is_hailed() {
        let (coordinator, worker) = bus();
        let id = WorkerId("w".to_owned());
        let mut pokes = worker.pokes(&id);
        for number in 0..=u32::try_from(POKES_MAX).expect("small") {
            coordinator.poke(&id, Poke::Attempt(attempt(number))).await.expect("somebody listens");
        }
        assert_eq!(pokes.next().await, Some(Poke::Hail));
    }
}
