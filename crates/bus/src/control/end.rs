//! The coordinator's end of the public control subjects.

use std::future::Future;

use kapelle_domain::ids::RunId;

use super::{ControlOrder, EventNotice, Receipt, Status};
use crate::Error;

/// The coordinator's end of the public control subjects. Its clones share what arrives.
pub trait ControlEnd: Clone + Send + Sync + 'static {
    /// The way back to whoever sent a request.
    type Receipts: ReceiptEnd;

    /// Waits for a request. What can't be read is refused on the way. Nothing is lost when the
    /// future is dropped.
    ///
    /// # Errors
    /// [`Error::Closed`] when no more requests will come.
    fn next(&self) -> impl Future<Output = Result<ControlRequest<Self::Receipts>, Error>> + Send;

    /// Tells how an agent is doing.
    ///
    /// # Errors
    /// When it certainly reached nobody. Success promises nothing.
    fn publish_status(&self, status: &Status) -> impl Future<Output = Result<(), Error>> + Send;

    /// Tells of an event: of a run, or of a worker.
    ///
    /// # Errors
    /// When it certainly reached nobody, or the kind of the event can't be part of a subject.
    /// Success promises nothing.
    fn publish_event(
        &self,
        run: Option<RunId>,
        event: &EventNotice,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A control request, and the way back for its receipts.
#[derive(Debug)]
pub struct ControlRequest<R> {
    /// What is asked, of whom.
    pub order: ControlOrder,
    /// The W3C trace context that came with it.
    pub trace: Option<String>,
    /// Where receipts go.
    pub receipts: R,
}

/// Sends receipts to whoever sent a request: the first one at once, others as things go on.
pub trait ReceiptEnd: Send + Sync + 'static {
    /// Whether anybody wants to know.
    fn is_wanted(&self) -> bool;

    /// Sends a receipt, if anybody wants to know.
    ///
    /// # Errors
    /// When it certainly reached nobody. Success promises nothing.
    fn send(&self, receipt: &Receipt) -> impl Future<Output = Result<(), Error>> + Send;
}
