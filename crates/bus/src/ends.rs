//! The two ends of a bus.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kapelle_domain::engine::WorkerRequest;
use kapelle_domain::ids::WorkerId;
use kapelle_domain::placement::Class;
use tokio::sync::watch;

use crate::Error;
use crate::message::{Inbound, Offer, OutputChunk, Poke, Reply};

/// The coordinator's end.
pub trait CoordinatorEnd: Clone + Send + Sync + 'static {
    /// Waits for requests and appends up to `count_max` of them to `requests`. Nothing is lost
    /// when the future is dropped.
    ///
    /// # Errors
    /// [`Error::Closed`] when no worker can ever ask again.
    fn requests(
        &self,
        requests: &mut Vec<Inbound>,
        count_max: usize,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Waits for output of agents. Nothing is lost when the future is dropped; the worker goes on
    /// when the answer is sent.
    ///
    /// # Errors
    /// [`Error::Closed`] when no worker can ever send output again.
    fn output(&self) -> impl Future<Output = Result<InboundOutput, Error>> + Send;

    /// Publishes an offer.
    ///
    /// # Errors
    /// When it certainly reached nobody. Success promises nothing.
    fn offer(&self, offer: Offer) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether workers can be heard at this moment. Who can't hear them must not take their
    /// silence for their end.
    fn online(&self) -> watch::Receiver<bool>;

    /// Pokes a worker.
    ///
    /// # Errors
    /// When it certainly reached nobody. Success promises nothing.
    fn poke(&self, worker: &WorkerId, poke: Poke)
    -> impl Future<Output = Result<(), Error>> + Send;

    /// Waits until offers that were published may have been lost. Whatever is still to be offered
    /// is best published again then; without that it is once it has waited for long enough.
    fn offers_lost(&self) -> impl Future<Output = ()> + Send;

    /// Sends what waits to be sent, and ends. Nothing can be expected of this end afterwards.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Output at the coordinator's end, with the way back for the committed watermark.
#[derive(Debug)]
pub struct InboundOutput {
    /// The output.
    pub chunk: OutputChunk,
    /// The number of the last line that is safe with the coordinator.
    pub watermark: tokio::sync::oneshot::Sender<u64>,
}

/// A worker's end.
pub trait WorkerEnd: Clone + Send + Sync + 'static {
    /// The pokes of one worker.
    type Pokes: Pokes;
    /// An offer in the hands of a worker.
    type Taken: Taken;

    /// Asks the coordinator and waits for the answer.
    ///
    /// # Errors
    /// [`Error::NoAnswer`] leaves open whether the request had an effect; repeat it.
    /// [`Error::Refused`] when repeating it doesn't help.
    fn request(&self, request: WorkerRequest) -> impl Future<Output = Result<Reply, Error>> + Send;

    /// Sends output and waits until the coordinator has it safe. Returns the number of the last
    /// line that is; it may be one in the middle of the chunk.
    ///
    /// # Errors
    /// [`Error::NoAnswer`] leaves open whether it arrived; send it again. [`Error::Refused`] when
    /// sending it again doesn't help.
    fn send_output(&self, chunk: OutputChunk) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Waits for an offer of one of `classes`, which may change meanwhile, and takes it from the
    /// other workers. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] when there will be no more offers.
    fn next_offer(
        &self,
        classes: watch::Receiver<Arc<[Class]>>,
    ) -> impl Future<Output = Result<Self::Taken, Error>> + Send;

    /// The pokes of `worker` from now on.
    fn pokes(&self, worker: &WorkerId) -> Self::Pokes;

    /// Hands back what was not taken, sends what waits to be sent, and ends. Nothing can be
    /// expected of this end afterwards.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// An offer in the hands of a worker. One that is neither settled nor handed back is published
/// again after a while.
pub trait Taken: Send + 'static {
    /// What is offered.
    fn offer(&self) -> &Offer;

    /// The coordinator has given a definite answer: the offer is used up.
    fn settle(self) -> impl Future<Output = ()> + Send;

    /// Others may have it, after `delay`.
    fn hand_back(self, delay: Duration) -> impl Future<Output = ()> + Send;
}

/// The pokes of one worker.
pub trait Pokes: Send + 'static {
    /// Waits for the next poke; `None` when there will be no more.
    fn next(&mut self) -> impl Future<Output = Option<Poke>> + Send;
}
