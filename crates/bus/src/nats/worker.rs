//! A worker's end of the bus over NATS.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use kapelle_domain::engine::WorkerRequest;
use kapelle_domain::ids::{Term, WorkerId};
use kapelle_domain::placement::Class;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Asked, Connection, Counters, Health, Identity};
use super::coordinator::{end, jetstream};
use super::error::Error;
use super::options::NatsOptions;
use super::pull::{Demand, NatsTaken, Puller, WAITING_MAX};
use crate::subject::{self, RpcVerb, Subjects, WorkerName};
use crate::wire::{self, Answered, InTerm};
use crate::{OutputChunk, Poke, Pokes, Reply, WorkerEnd};

/// The header that says what a message is, and its value for pokes.
pub(super) const TYPE_HEADER: &str = "Kapelle-Type";
pub(super) const POKE_TYPE: &str = "kapelle.v1.Poke";

/// How much output goes into one message. More would let the end of one agent's flood wait in
/// front of another's line, and gain nothing.
const OUTPUT_BYTES_MAX: usize = 128 * 1024;

/// Pokes that a slow worker may lag behind; then it is hailed.
const POKES_MAX: usize = 1_024;

/// A worker's end. It is connected as one worker and speaks for no other.
#[derive(Debug, Clone)]
pub struct NatsWorker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: WorkerName,
    subjects: Subjects,
    control: Connection,
    bulk: Connection,
    demands: mpsc::Sender<Demand>,
    pokes: broadcast::Sender<Poke>,
    newest: std::sync::Mutex<Newest>,
    stop: CancellationToken,
    services: Mutex<JoinSet<()>>,
}

impl NatsWorker {
    /// Connects as `worker`.
    ///
    /// # Errors
    /// When there is no connection, or the server won't do or refuses what a worker needs. Whether
    /// a coordinator is there doesn't matter yet.
    pub async fn connect(options: &NatsOptions, worker: &WorkerId) -> Result<Self, Error> {
        let name = WorkerName::new(worker)?;
        let subjects = Subjects::new(options.root.clone());
        let counters = Arc::<Counters>::default();
        let identity = |lane: &str| Identity { name: format!("{name}{lane}"), inbox: name.inbox() };
        let control = Connection::open(options, identity(""), Arc::clone(&counters)).await?;
        let bulk = Connection::open(options, identity(" output"), counters).await?;
        let (demands, demanded) = mpsc::channel(WAITING_MAX);
        let puller = Puller::new(control.clone(), subjects.clone(), demanded).await;
        let silent = |_| Error::Silent { doing: "subscribing".to_owned() };
        let puller = puller.map_err(silent)?;
        let poked = control.client().subscribe(subjects.poke(&name)).await.map_err(silent)?;
        let (pokes, _) = broadcast::channel(POKES_MAX);
        let stop = CancellationToken::new();
        let mut services = JoinSet::new();
        services.spawn(puller.run(stop.clone()));
        let listener = Listener {
            subject: subjects.poke(&name),
            messages: poked,
            reconnects: control.reconnects(),
            connection: control.clone(),
            overrun: 0,
        };
        services.spawn(listener.run(pokes.clone(), stop.clone()));
        let services = Mutex::new(services);
        let newest = std::sync::Mutex::default();
        let shared =
            Shared { name, subjects, control, bulk, demands, pokes, newest, stop, services };
        let worker = Self { shared: Arc::new(shared) };
        tokio::select! {
            _ = worker.hello() => {}
            denied = worker.shared.control.denied() => return Err(denied),
        }
        worker.shared.control.check_not_denied().await?;
        Ok(worker)
    }

    /// What went wrong since it was connected.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.control.counters().health()
    }

    /// Whether a coordinator answers. What was asked of the server before is done when it does, or
    /// when the server says that there is none.
    async fn hello(&self) -> Asked {
        let subject = self.shared.subjects.rpc(&self.shared.name, RpcVerb::Hello);
        self.shared.control.ask(subject, Vec::new()).await
    }

    pub(super) fn subjects(&self) -> &Subjects {
        &self.shared.subjects
    }

    pub(super) fn bulk_jetstream(&self) -> Context {
        jetstream(&self.shared.bulk)
    }

    fn open(&self) -> Result<&Shared, crate::Error> {
        if self.shared.stop.is_cancelled() { Err(crate::Error::Closed) } else { Ok(&self.shared) }
    }

    fn own(&self, worker: &WorkerId) -> Result<(), crate::Error> {
        let own = self.shared.name.id();
        if worker == own {
            return Ok(());
        }
        let reason = format!("this end of the bus is connected as {own}, not as {worker}");
        Err(crate::Error::Refused { reason })
    }
}

impl NatsWorker {
    /// What an answer says, or why there is none.
    fn definite<T>(
        &self,
        connection: &Connection,
        answer: Asked,
        decode: impl FnOnce(&[u8]) -> Result<InTerm<T>, wire::Malformed>,
    ) -> Result<T, crate::Error> {
        let message = match answer {
            Asked::Answered(message) => message,
            Asked::Nobody | Asked::Silence => return Err(crate::Error::NoAnswer),
            Asked::Unsendable(reason) => return Err(crate::Error::Refused { reason }),
        };
        let InTerm { term, answered } = decode(&message.payload).map_err(|error| {
            Counters::count(&connection.counters().unreadable);
            let reason = format!("the coordinator's answer can't be read: {error}");
            crate::Error::Refused { reason }
        })?;
        // Nothing panics while it is held, and it is whole at any time.
        let mut newest = self.shared.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if !newest.admits(term, Instant::now()) {
            tracing::warn!(%term, newest = %newest.term, "a coordinator that was replaced answered");
            return Err(crate::Error::NoAnswer);
        }
        match answered {
            Answered::With(answer) => Ok(answer),
            Answered::Dropped => Err(crate::Error::NoAnswer),
            Answered::Unreadable(reason) => Err(crate::Error::Refused { reason }),
        }
    }
}

/// The newest term that was heard of.
#[derive(Debug, Default)]
struct Newest {
    term: Term,
    heard_at: Option<Instant>,
}

/// How long a newer term that says nothing any more keeps an older one from being heard: terms
/// start over when a coordinator's store is restored from a backup.
const TERM_FORGOTTEN: Duration = Duration::from_secs(60);

impl Newest {
    /// Whether an answer of a term is listened to.
    fn admits(&mut self, term: Term, now: Instant) -> bool {
        let is_forgotten = self.heard_at.is_none_or(|at| now.duration_since(at) > TERM_FORGOTTEN);
        if term < self.term && !is_forgotten {
            return false;
        }
        *self = Self { term, heard_at: Some(now) };
        true
    }
}

impl WorkerEnd for NatsWorker {
    type Pokes = NatsPokes;
    type Taken = NatsTaken;

    async fn request(&self, request: WorkerRequest) -> Result<Reply, crate::Error> {
        let Shared { name, subjects, control, .. } = self.open()?;
        self.own(request.worker())?;
        let subject = subjects.rpc(name, wire::verb(&request));
        let answer = control.ask(subject, wire::encode_request(&request)).await;
        self.definite(control, answer, wire::decode_answer)
    }

    async fn send_output(&self, chunk: OutputChunk) -> Result<u64, crate::Error> {
        let Shared { name, subjects, bulk, .. } = self.open()?;
        self.own(&chunk.holder.worker)?;
        let bytes_max = bulk.message_bytes_max().min(OUTPUT_BYTES_MAX);
        let mut watermark = chunk.first.saturating_sub(1);
        for part in parts(chunk, bytes_max) {
            let answer = bulk.ask(subjects.output(name), wire::encode_output(&part)).await;
            let last = part.first + u64::try_from(part.lines.len()).unwrap_or(0);
            watermark = self.definite(bulk, answer, wire::decode_output_reply)?;
            if watermark.saturating_add(1) < last {
                // What follows would leave a gap; the sender starts over from the watermark.
                break;
            }
        }
        Ok(watermark)
    }

    async fn next_offer(
        &self,
        mut classes: watch::Receiver<Arc<[Class]>>,
    ) -> Result<NatsTaken, crate::Error> {
        loop {
            let shared = self.open()?;
            let (offer, taken) = oneshot::channel();
            let demand = Demand { classes: Arc::clone(&classes.borrow_and_update()), offer };
            shared.demands.send(demand).await.map_err(|_| crate::Error::Closed)?;
            tokio::select! {
                taken = taken => return taken.map_err(|_| crate::Error::Closed),
                // Whatever is given to the old demand meanwhile goes back.
                Ok(()) = classes.changed() => {}
            }
        }
    }

    fn pokes(&self, worker: &WorkerId) -> NatsPokes {
        let pokes = self.own(worker).is_ok().then(|| self.shared.pokes.subscribe());
        if pokes.is_none() {
            tracing::error!(%worker, "this end of the bus is connected as another worker");
        }
        NatsPokes { pokes, stop: self.shared.stop.clone() }
    }

    async fn close(&self) {
        self.shared.stop.cancel();
        end(&mut *self.shared.services.lock().await).await;
        self.shared.control.flush().await;
        self.shared.bulk.flush().await;
    }
}

/// Cuts a chunk into such that each fits into a message, as far as lines allow it.
fn parts(chunk: OutputChunk, bytes_max: usize) -> Vec<OutputChunk> {
    /// What a line has beside its text, and a chunk beside its lines, at most.
    const FRAME: usize = 256;
    let OutputChunk { holder, mut first, lines } = chunk;
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = FRAME;
    for line in lines {
        let more = line.text.len() + FRAME;
        if !part.is_empty() && bytes + more > bytes_max {
            let lines: Vec<_> = std::mem::take(&mut part);
            let next = first + u64::try_from(lines.len()).unwrap_or(0);
            parts.push(OutputChunk { holder: holder.clone(), first, lines });
            (first, bytes) = (next, FRAME);
        }
        bytes += more;
        part.push(line);
    }
    parts.push(OutputChunk { holder, first, lines: part });
    parts
}

/// The task that hears pokes.
struct Listener {
    subject: String,
    messages: Subscriber,
    reconnects: watch::Receiver<u64>,
    connection: Connection,
    overrun: u64,
}

impl Listener {
    async fn run(mut self, pokes: broadcast::Sender<Poke>, stop: CancellationToken) {
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => None,
                message = self.messages.next() => message,
                Ok(()) = self.reconnects.changed() => {
                    // What was sent meanwhile is lost.
                    drop(pokes.send(Poke::Hail));
                    continue;
                }
            };
            let Some(message) = message else { return };
            let overrun = self.connection.counters().health().overrun;
            if overrun != std::mem::replace(&mut self.overrun, overrun) {
                drop(pokes.send(Poke::Hail));
            }
            if let Some(poke) = self.read(&message) {
                // Nobody may be listening yet.
                drop(pokes.send(poke));
            }
        }
    }

    /// Reads a poke. A message on this subject may be one that somebody else had the server or the
    /// coordinator send here, so everything about it must be as it is with pokes.
    fn read(&self, message: &Message) -> Option<Poke> {
        let kind = message.headers.as_ref().and_then(|headers| headers.get(TYPE_HEADER));
        let is_poke = message.subject.as_str() == self.subject
            && message.status.is_none()
            && subject::is_from_coordinator(message.reply.as_deref())
            && kind.is_some_and(|kind| kind.as_str() == POKE_TYPE);
        if !is_poke {
            Counters::count(&self.connection.counters().forged);
            tracing::warn!(subject = %message.subject, "a message that is no poke came as one");
            return None;
        }
        match wire::decode_poke(&message.payload) {
            Ok(poke) => Some(poke),
            Err(error) => {
                Counters::count(&self.connection.counters().unreadable);
                tracing::warn!(%error, "a poke can't be read");
                None
            }
        }
    }
}

/// The pokes of one worker.
#[derive(Debug)]
pub struct NatsPokes {
    pokes: Option<broadcast::Receiver<Poke>>,
    stop: CancellationToken,
}

impl Pokes for NatsPokes {
    async fn next(&mut self) -> Option<Poke> {
        let received = tokio::select! {
            received = self.pokes.as_mut()?.recv() => received,
            () = self.stop.cancelled() => return None,
        };
        match received {
            Ok(poke) => Some(poke),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Poke::Hail),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use kapelle_domain::engine::Holder;
    use kapelle_domain::ids::{Fence, SessionEpoch, Timestamp};

    use super::*;
    use crate::{OutputLane, OutputLine};

    fn lengths(lines: &[usize], bytes_max: usize) -> Vec<(u64, usize)> {
        let line = |bytes: &usize| OutputLine {
            at: Timestamp(1),
            lane: OutputLane::Stdout,
            text: "x".repeat(*bytes),
        };
        let holder = Holder {
            attempt: crate::conformance::attempt(1),
            fence: Fence(1),
            worker: WorkerId("w".to_owned()),
            session: SessionEpoch(1),
        };
        let chunk = OutputChunk { holder, first: 5, lines: lines.iter().map(line).collect() };
        let parts = parts(chunk, bytes_max);
        for part in &parts {
            assert!(wire::encode_output(part).len() <= bytes_max || part.lines.len() == 1);
        }
        parts.into_iter().map(|part| (part.first, part.lines.len())).collect()
    }

    #[test]
    fn an_older_term_is_heard_again_only_when_the_newer_one_is_silent() {
        let (mut newest, start) = (Newest::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(newest.admits(Term(3), later(0)));
        assert!(newest.admits(Term(4), later(1)));
        assert!(!newest.admits(Term(3), later(2)));
        assert!(newest.admits(Term(4), later(30)));
        assert!(!newest.admits(Term(3), later(80)), "its silence counts from its last word");
        assert!(newest.admits(Term(3), later(91)));
        assert!(newest.admits(Term(4), later(92)));
    }

    #[test]
    fn chunks_are_cut_between_lines_and_keep_their_numbers() {
        assert_eq!(lengths(&[], 1_000), [(5, 0)]);
        assert_eq!(lengths(&[10, 10], 10_000), [(5, 2)]);
        assert_eq!(lengths(&[400, 400, 400], 1_500), [(5, 1), (6, 1), (7, 1)]);
        assert_eq!(lengths(&[400, 400, 400], 1_600), [(5, 2), (7, 1)]);
        assert_eq!(lengths(&[10, 5_000, 10], 2_000), [(5, 1), (6, 1), (7, 1)]);
    }
}
