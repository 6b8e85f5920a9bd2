//! The public control subjects within one process.
//!
//! What a client sends is read as it is over NATS, so that what is tested here holds there. Nothing
//! else in a process of its own needs them: it calls the service.

use std::sync::Arc;

use kapelle_domain::ids::RunId;
use tokio::sync::{Mutex, broadcast, mpsc};

use crate::Error;
use crate::control::{
    ControlEnd, ControlRequest, Encoding, EventNotice, Incoming, Receipt, ReceiptEnd, Status, read,
};
use crate::subject::Subjects;
use crate::wire;

/// Requests that may wait for the coordinator; then clients wait.
const REQUESTS_MAX: usize = 1_024;

/// Receipts that a client may lag behind; then the coordinator waits.
const RECEIPTS_MAX: usize = 1_024;

/// Messages that a watcher may lag behind; then it misses some.
const PUBLISHED_MAX: usize = 4_096;

/// A message that a client hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its subject; empty for a receipt, which comes on the client's own.
    pub subject: String,
    /// What its header `content-type` says.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Makes the two ends of new control subjects, below the usual root.
#[must_use]
pub fn control() -> (MemoryControl, MemoryClient) {
    let (requests_tx, requests) = mpsc::channel(REQUESTS_MAX);
    let (published, _) = broadcast::channel(PUBLISHED_MAX);
    let requests = Arc::new(Mutex::new(requests));
    let client = MemoryClient { requests: requests_tx, published: published.clone() };
    (MemoryControl { requests, published, subjects: Subjects::default() }, client)
}

struct Sent {
    subject: String,
    content_type: Option<String>,
    body: Vec<u8>,
    receipts: mpsc::Sender<Heard>,
}

/// A client of the control subjects within one process.
#[derive(Debug, Clone)]
pub struct MemoryClient {
    requests: mpsc::Sender<Sent>,
    published: broadcast::Sender<Heard>,
}

impl MemoryClient {
    /// Sends a request, and listens for its receipts.
    pub async fn request(
        &self,
        subject: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> mpsc::Receiver<Heard> {
        let (receipts, heard) = mpsc::channel(RECEIPTS_MAX);
        let content_type = content_type.map(str::to_owned);
        let (subject, body) = (subject.to_owned(), body.to_vec());
        // Without a coordinator nobody answers, as over NATS.
        drop(self.requests.send(Sent { subject, content_type, body, receipts }).await);
        heard
    }

    /// Everything that the coordinator tells from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Heard> {
        self.published.subscribe()
    }
}

/// The coordinator's end of the control subjects within one process.
#[derive(Debug, Clone)]
pub struct MemoryControl {
    requests: Arc<Mutex<mpsc::Receiver<Sent>>>,
    published: broadcast::Sender<Heard>,
    subjects: Subjects,
}

/// Sends receipts to whoever sent a request within one process.
#[derive(Debug, Clone)]
pub struct MemoryReceipts {
    to: mpsc::Sender<Heard>,
    encoding: Encoding,
}

impl ReceiptEnd for MemoryReceipts {
    fn is_wanted(&self) -> bool {
        !self.to.is_closed()
    }

    async fn send(&self, receipt: &Receipt) -> Result<(), Error> {
        let content_type = self.encoding.content_type().to_owned();
        let body = wire::encode_receipt(receipt, self.encoding);
        let heard = Heard { subject: String::new(), content_type, body };
        self.to.send(heard).await.map_err(|_| Error::NoAnswer)
    }
}

impl MemoryControl {
    fn publish(&self, subject: String, body: Vec<u8>) -> Result<(), Error> {
        let content_type = Encoding::Json.content_type().to_owned();
        // Nobody may be watching.
        drop(self.published.send(Heard { subject, content_type, body }));
        Ok(())
    }
}

impl ControlEnd for MemoryControl {
    type Receipts = MemoryReceipts;

    async fn next(&self) -> Result<ControlRequest<MemoryReceipts>, Error> {
        loop {
            let sent = self.requests.lock().await.recv().await.ok_or(Error::Closed)?;
            let Sent { subject, content_type, body, receipts: to } = &sent;
            let incoming = Incoming { subject, content_type: content_type.as_deref(), body };
            let (encoding, order) = read(&self.subjects, incoming);
            let receipts = MemoryReceipts { to: to.clone(), encoding };
            match order {
                Ok(order) => return Ok(ControlRequest { order, trace: None, receipts }),
                // Whoever asked may be gone.
                Err(refusal) => drop(receipts.send(&refusal).await),
            }
        }
    }

    async fn publish_status(&self, status: &Status) -> Result<(), Error> {
        let body = wire::encode_status(status, Encoding::Json);
        self.publish(self.subjects.status(&status.agent), body)
    }

    async fn publish_event(&self, run: Option<RunId>, event: &EventNotice) -> Result<(), Error> {
        let refused = |reason: String| Error::Refused { reason };
        let subject = self.subjects.event(run, &event.kind);
        let subject = subject.map_err(|error| refused(error.to_string()))?;
        self.publish(subject, event.encode().map_err(|error| refused(error.to_string()))?)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::stream::{self, BoxStream};

    use super::*;
    use crate::conformance::{ControlFabric, check_control};

    struct Memory(MemoryControl, MemoryClient);

    impl ControlFabric for Memory {
        type End = MemoryControl;

        async fn new() -> Self {
            let (end, client) = control();
            Self(end, client)
        }

        fn end(&self) -> MemoryControl {
            self.0.clone()
        }

        async fn request(
            &self,
            subject: &str,
            content_type: Option<&str>,
            body: &[u8],
        ) -> BoxStream<'static, Heard> {
            let receipts = self.1.request(subject, content_type, body).await;
            let next = |mut receipts: mpsc::Receiver<Heard>| async move {
                receipts.recv().await.map(|heard| (heard, receipts))
            };
            stream::unfold(receipts, next).boxed()
        }

        async fn watch(&self) -> BoxStream<'static, Heard> {
            let next = |mut told: broadcast::Receiver<Heard>| async move {
                told.recv().await.ok().map(|heard| (heard, told))
            };
            stream::unfold(self.1.watch(), next).boxed()
        }
    }

    #[tokio::test]
    async fn conforms() {
        check_control::<Memory>().await;
    }
}
