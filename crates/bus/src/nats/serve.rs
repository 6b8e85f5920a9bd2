//! Serving what workers ask: one task for requests, one for output, each on its own connection.
//!
//! An answer goes only to an inbox of the worker that the subject names, and a request is taken only
//! from the worker that it names itself. What can't be read is answered with the reason, so that its
//! sender need not guess, and counted; it never becomes another request.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kapelle_domain::engine::{Answer, WorkerRequest};
use kapelle_domain::ids::{Term, WorkerId};
use kapelle_domain::placement::Class;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Counters};
use super::layout::Layout;
use crate::subject::{RpcVerb, Subjects, WorkerName};
use crate::wire::{self, Answered};
use crate::{Inbound, InboundOutput, Refusal, Reply};

/// Requests and chunks that may be unanswered at once. Workers wait for their answers, so this is
/// reached only when very many report at once, and then waiting is right.
const UNANSWERED_MAX: usize = 8_192;

/// How long the last answers may take once the end is closed.
const CLOSING: Duration = Duration::from_secs(2);

/// An answer that is to be sent, once it is known.
pub(super) type Pending = Pin<Box<dyn Future<Output = Addressed> + Send>>;

/// An answer and where it goes.
pub(super) struct Addressed {
    to: String,
    payload: Vec<u8>,
}

/// What is made of one message.
pub(super) enum Taken<T> {
    /// To be given to the coordinator, and what to answer once it has answered.
    Inbound(T, Pending),
    /// To be answered at once.
    Answered(Addressed),
    /// To be forgotten.
    Dropped,
}

/// Serves the messages of one subscription until `stop`.
pub(super) async fn serve<T: Send>(
    connection: Connection,
    mut messages: Subscriber,
    inbound: mpsc::Sender<T>,
    take: impl Fn(&Message) -> Taken<T> + Send,
    stop: CancellationToken,
) {
    let mut pending: FuturesUnordered<Pending> = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(answer) = pending.next(), if !pending.is_empty() => send(&connection, answer).await,
            received = next(&mut messages, &inbound), if pending.len() < UNANSWERED_MAX => {
                let Some((room, message)) = received else { break };
                match take(&message) {
                    Taken::Inbound(request, answer) => {
                        room.send(request);
                        pending.push(answer);
                    }
                    Taken::Answered(answer) => send(&connection, answer).await,
                    Taken::Dropped => {}
                }
            }
        }
    }
    // Nobody new is served; who was promised an answer still gets it.
    drop((messages, inbound));
    let last = async {
        while let Some(answer) = pending.next().await {
            send(&connection, answer).await;
        }
    };
    drop(tokio::time::timeout(CLOSING, last).await);
}

/// The next message, once there is room for what it asks.
async fn next<'a, T>(
    messages: &mut Subscriber,
    inbound: &'a mpsc::Sender<T>,
) -> Option<(mpsc::Permit<'a, T>, Message)> {
    let room = inbound.reserve().await.ok()?;
    Some((room, messages.next().await?))
}

async fn send(connection: &Connection, answer: Addressed) {
    let Addressed { to, payload } = answer;
    // Lost, it is asked for again.
    drop(connection.publish(to, None, HeaderMap::new(), payload.into()).await);
}

/// Makes requests of messages.
pub(super) struct Requests {
    pub(super) subjects: Subjects,
    pub(super) connection: Connection,
    pub(super) layout: Arc<Layout>,
    pub(super) term: Term,
}

impl Requests {
    pub(super) fn take(&self, message: &Message) -> Taken<Inbound> {
        let counters = self.connection.counters();
        let Some((worker, verb)) = self.subjects.read_rpc(&message.subject) else {
            Counters::count(&counters.unreadable);
            tracing::warn!(subject = %message.subject, "a request has a subject that is none");
            return Taken::Dropped;
        };
        let Some(to) = answerable(&worker, message) else {
            Counters::count(&counters.forged);
            tracing::warn!(%worker, "a request wants its answer where it doesn't belong");
            return Taken::Dropped;
        };
        match read_request(&worker, verb, message) {
            Ok(Some(request)) => {
                let (reply, answer) = oneshot::channel();
                let trace = trace_of(message);
                let connection = self.connection.clone();
                let layout = Arc::clone(&self.layout);
                let answer = answer_to(answer, to, (connection, self.term), layout);
                Taken::Inbound(Inbound { request, reply, trace }, Box::pin(answer))
            }
            Ok(None) => {
                let done = wire::encode_answer(self.term, Some(Ok(Answer::Done)), usize::MAX);
                Taken::Answered(Addressed { to, payload: done.unwrap_or_default() })
            }
            Err(refused) => {
                refused.count(counters);
                tracing::warn!(%worker, verb = verb.token(), reason = refused.reason(), "a request was refused");
                let payload = wire::encode_unreadable(self.term, refused.into_reason());
                Taken::Answered(Addressed { to, payload })
            }
        }
    }
}

/// Why a message is not taken.
enum Refused {
    Unreadable(String),
    Forged(String),
}

impl Refused {
    fn count(&self, counters: &Counters) {
        match self {
            Self::Unreadable(_) => Counters::count(&counters.unreadable),
            Self::Forged(_) => Counters::count(&counters.forged),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Unreadable(reason) | Self::Forged(reason) => reason,
        }
    }

    fn into_reason(self) -> String {
        match self {
            Self::Unreadable(reason) | Self::Forged(reason) => reason,
        }
    }

    fn unless_from(worker: &WorkerName, claimed: &WorkerId) -> Result<(), Self> {
        if worker.id() == claimed {
            return Ok(());
        }
        Err(Self::Forged(format!("it says that it is from {claimed}, and came from {worker}")))
    }
}

fn read_request(
    worker: &WorkerName,
    verb: RpcVerb,
    message: &Message,
) -> Result<Option<WorkerRequest>, Refused> {
    let request = wire::decode_request(verb, &message.payload);
    let request = request.map_err(|error| Refused::Unreadable(error.to_string()))?;
    if let Some(request) = &request {
        Refused::unless_from(worker, request.worker())?;
    }
    Ok(request)
}

/// Where the answer to a worker's message goes, if it may go there.
fn answerable(worker: &WorkerName, message: &Message) -> Option<String> {
    let reply = message.reply.as_deref()?;
    worker.owns_inbox(reply).then(|| reply.to_owned())
}

pub(super) fn trace_of(message: &Message) -> Option<String> {
    let value = message.headers.as_ref()?.get("traceparent")?.as_str();
    // The form of the W3C is plain and short; anything else is not passed on.
    let plain =
        value.len() <= 128 && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    plain.then(|| value.to_owned())
}

async fn answer_to(
    answer: oneshot::Receiver<Reply>,
    to: String,
    (connection, term): (Connection, Term),
    layout: Arc<Layout>,
) -> Addressed {
    let reply = answer.await.ok();
    if let Some(Ok(answer)) = &reply {
        set_up_classes(&layout, classes_of(answer)).await;
    }
    let bytes_max = connection.message_bytes_max();
    let payload = wire::encode_answer(term, reply, bytes_max).unwrap_or_else(|error| {
        Counters::count(&connection.counters().unsent);
        tracing::error!(%error, "an answer can't be sent; raise max_payload of nats-server if it is too long");
        let refusal = Refusal::Unavailable { reason: error.to_string() };
        wire::encode_answer(term, Some(Err(refusal)), bytes_max).unwrap_or_default()
    });
    Addressed { to, payload }
}

/// A worker that is told to pull from a class must find its consumer.
async fn set_up_classes(layout: &Layout, classes: &[Class]) {
    for class in classes {
        if let Err(error) = layout.set_up_class(class).await {
            tracing::warn!(class = class.as_str(), %error, "the workers of a class can't pull yet");
        }
    }
}

/// The classes that an answer tells a worker to pull from.
fn classes_of(answer: &Answer) -> &[Class] {
    match answer {
        Answer::Registered { standing, .. } | Answer::Heard(standing) => &standing.classes,
        Answer::Done
        | Answer::Submitted(_)
        | Answer::Commanded(_)
        | Answer::Resumed(_)
        | Answer::Orphaned
        | Answer::Granted(_)
        | Answer::Directives(_) => &[],
    }
}

/// Makes output of messages.
pub(super) struct Outputs {
    pub(super) subjects: Subjects,
    pub(super) connection: Connection,
    pub(super) term: Term,
}

impl Outputs {
    pub(super) fn take(&self, message: &Message) -> Taken<InboundOutput> {
        let counters = self.connection.counters();
        let Some(worker) = self.subjects.read_output(&message.subject) else {
            Counters::count(&counters.unreadable);
            return Taken::Dropped;
        };
        let Some(to) = answerable(&worker, message) else {
            Counters::count(&counters.forged);
            tracing::warn!(%worker, "output wants its answer where it doesn't belong");
            return Taken::Dropped;
        };
        let chunk = wire::decode_output(&message.payload)
            .map_err(|error| Refused::Unreadable(error.to_string()))
            .and_then(|chunk| Refused::unless_from(&worker, &chunk.holder.worker).map(|()| chunk));
        match chunk {
            Ok(chunk) => {
                let (watermark, committed) = oneshot::channel();
                let term = self.term;
                let answer = async move {
                    let answered = committed.await.map_or(Answered::Dropped, Answered::With);
                    Addressed { to, payload: wire::encode_output_reply(term, answered) }
                };
                Taken::Inbound(InboundOutput { chunk, watermark }, Box::pin(answer))
            }
            Err(refused) => {
                refused.count(counters);
                tracing::warn!(%worker, reason = refused.reason(), "output was refused");
                let answer = Answered::Unreadable(refused.into_reason());
                Taken::Answered(Addressed {
                    to,
                    payload: wire::encode_output_reply(self.term, answer),
                })
            }
        }
    }
}
