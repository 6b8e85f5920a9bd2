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
    ControlOrder, Encoding, EventNotice, NO_REQUEST_ID, Receipt, Status, Unusable, shortened,
};
use crate::subject::{self, Subjects};
use crate::wire;

const CONTENT_TYPE: &str = "content-type";

/// The coordinator's end of the public control subjects. Its clones share what arrives.
#[derive(Debug, Clone)]
pub struct ControlEnd {
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

/// A control request, and the way back for its receipts.
#[derive(Debug)]
pub struct ControlRequest {
    /// What is asked, of whom.
    pub order: ControlOrder,
    /// The W3C trace context that came with it.
    pub trace: Option<String>,
    /// Where receipts go.
    pub receipts: ReceiptSender,
}

/// Sends receipts to whoever sent a request: the first one at once, others as things go on.
#[derive(Debug, Clone)]
pub struct ReceiptSender {
    connection: Connection,
    reply: Option<String>,
    encoding: Encoding,
}

impl ReceiptSender {
    /// Whether anybody wants to know.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.reply.is_some()
    }

    /// Sends a receipt, if anybody wants to know.
    ///
    /// # Errors
    /// When it certainly reached nobody. Success promises nothing.
    pub async fn send(&self, receipt: &Receipt) -> Result<(), crate::Error> {
        let Some(reply) = self.reply.clone() else { return Ok(()) };
        let payload = wire::encode_receipt(receipt, self.encoding).into();
        self.connection.publish(reply, None, written_as(self.encoding), payload).await
    }
}

impl ControlEnd {
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

    /// Waits for a request. What can't be read is refused on the way. Nothing is lost when the
    /// future is dropped.
    ///
    /// # Errors
    /// [`crate::Error::Closed`] when no more requests will come.
    pub async fn next(&self) -> Result<ControlRequest, crate::Error> {
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

    async fn read(&self, message: &Message) -> Option<ControlRequest> {
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
        let content_type = content_type(message);
        let encoding = Encoding::of(content_type);
        let receipts = ReceiptSender {
            connection: control.clone(),
            reply: reply.map(str::to_owned),
            encoding: encoding.unwrap_or(Encoding::Json),
        };
        let order = match (encoding, addressee(subjects, subject)) {
            (_, None) => Err(("unknown_subject", format!("nothing is done under {subject}"))),
            (None, Some(_)) => {
                let content_type = shortened(content_type.unwrap_or_default()).into_owned();
                Err(refusal(&Unusable::UnknownEncoding { content_type }))
            }
            (Some(encoding), Some((agent, verb))) => {
                wire::decode_control(verb, agent, encoding, &message.payload)
                    .map_err(|error| refusal(&error))
            }
        };
        match order {
            Ok(order) => Some(ControlRequest { order, trace: trace_of(message), receipts }),
            Err((code, why)) => {
                Counters::count(&counters.unreadable);
                tracing::warn!(subject, code, why, "a control request was refused");
                let receipt = Receipt::rejected(NO_REQUEST_ID, code, why);
                // Whoever asked may be gone.
                drop(receipts.send(&receipt).await);
                None
            }
        }
    }

    /// Tells how an agent is doing.
    ///
    /// # Errors
    /// When it certainly reached nobody. Success promises nothing.
    pub async fn publish_status(&self, status: &Status) -> Result<(), crate::Error> {
        let subject = self.shared.subjects.status(&status.agent);
        let payload = wire::encode_status(status, Encoding::Json).into();
        self.shared.bulk.publish(subject, None, written_as(Encoding::Json), payload).await
    }

    /// Tells of an event.
    ///
    /// # Errors
    /// When it certainly reached nobody, or the kind of the event can't be part of a subject.
    /// Success promises nothing.
    pub async fn publish_event(&self, run: RunId, event: &EventNotice) -> Result<(), crate::Error> {
        let refused = |reason: String| crate::Error::Refused { reason };
        let subject = self.shared.subjects.event(run, &event.kind);
        let subject = subject.map_err(|error| refused(error.to_string()))?;
        let payload = serde_json::to_vec(event).map_err(|error| refused(error.to_string()))?;
        self.shared.bulk.publish(subject, None, written_as(Encoding::Json), payload.into()).await
    }
}

/// Which agent, if it is one, is told what.
fn addressee(
    subjects: &Subjects,
    subject: &str,
) -> Option<(Option<subject::AgentName>, subject::ControlVerb)> {
    match subjects.read_broadcast(subject) {
        Some(verb) => Some((None, verb)),
        None => subjects.read_agent(subject).map(|(agent, verb)| (Some(agent), verb)),
    }
}

fn refusal(error: &Unusable) -> (&'static str, String) {
    (error.code(), error.to_string())
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
