//! The public control subjects, as the coordinator serves them.

use std::sync::Arc;

use async_nats::{HeaderMap, Message, Subscriber};
use futures_util::StreamExt as _;
use kapelle_domain::ids::RunId;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::connection::{Asked, Connection, Counters};
use super::error::Error;
use super::serve::trace_of;
use crate::control::{
    ControlEnd, ControlRequest, Encoding, EventNotice, Incoming, Receipt, ReceiptEnd, Status, read,
};
use crate::subject::{self, Subjects};
use crate::wire;

const CONTENT_TYPE: &str = "content-type";

/// The coordinator's end of the public control subjects over NATS.
#[derive(Debug, Clone)]
pub struct NatsControl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    control: Connection,
    bulk: Connection,
    subjects: Subjects,
    messages: Mutex<Messages>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Messages {
    agent: Subscriber,
    broadcast: Subscriber,
}

/// Sends receipts to whoever sent a request over NATS.
#[derive(Debug, Clone)]
pub struct NatsReceipts {
    connection: Connection,
    reply: Option<String>,
    encoding: Encoding,
}

impl ReceiptEnd for NatsReceipts {
    fn is_wanted(&self) -> bool {
        self.reply.is_some()
    }

    async fn send(&self, receipt: &Receipt) -> Result<(), crate::Error> {
        let Some(reply) = self.reply.clone() else { return Ok(()) };
        let payload = wire::encode_receipt(receipt, self.encoding).into();
        self.connection.publish(reply, None, written_as(self.encoding), payload).await
    }
}

impl NatsControl {
    pub(super) async fn open(
        control: Connection,
        bulk: Connection,
        subjects: Subjects,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let silent = |_| Error::Silent { doing: "subscribing".to_owned() };
        let client = control.client();
        let agent = client.subscribe(subjects.agent_all()).await.map_err(silent)?;
        let broadcast = client.subscribe(subjects.broadcast_all()).await.map_err(silent)?;
        // Only once the server has answered something else is it known to have subscribed us.
        match control.ask("$JS.API.INFO".to_owned(), Vec::new()).await {
            Asked::Answered(_) | Asked::Nobody => {}
            Asked::Silence | Asked::Unsendable(_) => {
                return Err(Error::Silent { doing: "subscribing".to_owned() });
            }
        }
        control.check_not_denied().await?;
        let messages = Mutex::new(Messages { agent, broadcast });
        Ok(Self { shared: Arc::new(Shared { control, bulk, subjects, messages, stop }) })
    }

    async fn read(&self, message: &Message) -> Option<ControlRequest<NatsReceipts>> {
        let Shared { control, subjects, .. } = &*self.shared;
        let counters = control.counters();
        let subject = message.subject.as_str();
        let reply = message.reply.as_deref();
        if let Some(reply) = reply
            && !subject::is_inbox(reply)
        {
            Counters::count(&counters.forged);
            tracing::warn!(
                subject,
                reply,
                "a control request wants its receipt where it doesn't belong"
            );
            return None;
        }
        let (content_type, body) = (content_type(message), &*message.payload);
        let (encoding, order) = read(subjects, Incoming { subject, content_type, body });
        let reply = reply.map(str::to_owned);
        let receipts = NatsReceipts { connection: control.clone(), reply, encoding };
        match order {
            Ok(order) => Some(ControlRequest { order, trace: trace_of(message), receipts }),
            Err(refusal) => {
                Counters::count(&counters.unreadable);
                let Receipt { code, message, .. } = &refusal;
                tracing::warn!(subject, code, why = message, "a control request was refused");
                // Whoever asked may be gone.
                drop(receipts.send(&refusal).await);
                None
            }
        }
    }
}

impl ControlEnd for NatsControl {
    type Receipts = NatsReceipts;

    async fn next(&self) -> Result<ControlRequest<NatsReceipts>, crate::Error> {
        loop {
            let message = {
                let mut messages = self.shared.messages.lock().await;
                let Messages { agent, broadcast } = &mut *messages;
                tokio::select! {
                    () = self.shared.stop.cancelled() => None,
                    message = agent.next() => message,
                    message = broadcast.next() => message,
                }
            };
            let message = message.ok_or(crate::Error::Closed)?;
            if let Some(request) = self.read(&message).await {
                return Ok(request);
            }
        }
    }

    async fn publish_status(&self, status: &Status) -> Result<(), crate::Error> {
        let subject = self.shared.subjects.status(&status.agent);
        let payload = wire::encode_status(status, Encoding::Json).into();
        self.shared.bulk.publish(subject, None, written_as(Encoding::Json), payload).await
    }

    async fn publish_event(
        &self,
        run: Option<RunId>,
        event: &EventNotice,
    ) -> Result<(), crate::Error> {
        let refused = |reason: String| crate::Error::Refused { reason };
        let subject = self.shared.subjects.event(run, &event.kind);
        let subject = subject.map_err(|error| refused(error.to_string()))?;
        let payload = event.encode().map_err(|error| refused(error.to_string()))?;
        self.shared.bulk.publish(subject, None, written_as(Encoding::Json), payload.into()).await
    }
}

/// The header is looked up in both ways in which clients write it: names of headers are compared
/// letter by letter.
fn content_type(message: &Message) -> Option<&str> {
    let headers = message.headers.as_ref()?;
    let value = headers.get(CONTENT_TYPE).or_else(|| headers.get("Content-Type"))?;
    Some(value.as_str())
}

fn written_as(encoding: Encoding) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, encoding.content_type());
    headers
}
