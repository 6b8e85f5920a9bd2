//! The dispatch loop: the one place where the coordinator's memory changes.
//!
//! ```text
//!   workers (bus) --+                                             +--> answers
//!   service --------+--> drain --> decide, settle --> commit --+--+--> offers, pokes (bus)
//!   timers ---------+        (many inputs)       (one transaction) +--> merge queue
//!                                                                  +--> watchers
//! ```
//!
//! Inputs that are waiting are decided together and committed together, so that the cost of a
//! commit is shared by however many there are and no delay is added when there is one. Nothing
//! leaves before the commit. When a commit fails, everything decided since the last one is
//! forgotten: memory is rebuilt from the store and whoever asked is told to ask again.

mod batch;

use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::{CoordinatorEnd, Inbound, Offer, Poke, Refusal, Reply};
use kapelle_domain::engine::{Answer, Effect, Input, Moment, Rejection, World};
use kapelle_domain::event::Recorded;
use kapelle_domain::ids::{EventSeq, RunId, Timestamp};
use kapelle_domain::policy::Limits;
use kapelle_domain::worker::Held;
use kapelle_runtime::clock::Clock;
use kapelle_store::Store;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use batch::Pending;

/// Inputs that are decided together at most. Larger batches gain nothing and delay their answers.
const BATCH_MAX: usize = 512;

/// Questions of this process that may wait for the loop; whoever asks waits when it is full.
const ASKS_MAX: usize = 1_024;

/// Batches of events that a slow watcher may lag behind before it has to read from the store.
const WATCH_MAX: usize = 1_024;

/// How long the loop sleeps at most when nobody asks.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// When the loop wakes this much later than it wanted to, its process was frozen.
const FROZEN_AFTER: Duration = Duration::from_secs(5);

/// How long the loop waits before it tries again after the store refused.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// A way to the dispatch loop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    asks: mpsc::Sender<Ask>,
    events: broadcast::Sender<Arc<Vec<Recorded>>>,
}

/// Something that this process wants of the loop.
enum Ask {
    Decide(Box<Input>, oneshot::Sender<Reply>),
    /// Something that nobody waits for.
    Input(Box<Input>),
    Read(batch::Read),
    /// A finished run has to be in memory before the input makes sense.
    Recall(RunId, oneshot::Sender<Result<(), kapelle_store::Error>>),
}

/// The loop has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator has stopped")]
pub struct Stopped;

impl Engine {
    /// Has an input decided, and waits until what was decided is committed.
    ///
    /// # Errors
    /// [`Stopped`] when the loop has ended.
    pub async fn give(&self, input: Input) -> Result<Reply, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Decide(Box::new(input), reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Reads the memory between two batches. `read` must be quick: nothing is decided meanwhile.
    ///
    /// # Errors
    /// [`Stopped`] when the loop has ended.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&World) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Read(Box::new(move |world| drop(reply.send(read(world)))));
        self.asks.send(ask).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Makes sure that a run that the store knows is in memory.
    ///
    /// # Errors
    /// [`Stopped`] when the loop has ended; inside, the store's error.
    pub async fn recall(&self, run: RunId) -> Result<Result<(), kapelle_store::Error>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Recall(run, reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// The events that are committed from now on. Who lags behind reads the store.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<Vec<Recorded>>> {
        self.events.subscribe()
    }
}

/// What the loop is made of.
#[derive(Debug)]
pub struct Parts<B> {
    /// The store, opened to lead.
    pub store: Arc<Store>,
    /// The limits over all runs.
    pub limits: Limits,
    /// The attempts whose final reports lie on this machine's disk.
    pub reported: Vec<Held>,
    /// The coordinator's end of the bus.
    pub bus: B,
    /// The clock.
    pub clock: Clock,
    /// Where the loop's random numbers start.
    pub seed: u64,
    /// Rung when there is something to integrate.
    pub merges: Arc<Notify>,
}

/// The loop and everything that it owns.
pub struct Dispatch<B> {
    parts: Parts<B>,
    world: World,
    last_seq: EventSeq,
    random: SplitMix,
    asks: mpsc::Receiver<Ask>,
    events: broadcast::Sender<Arc<Vec<Recorded>>>,
    stale: bool,
    /// Whether workers can be heard.
    online: watch::Receiver<bool>,
    was_online: bool,
    /// When the loop last looked at the clock.
    looked_at: Timestamp,
}

/// Why the loop ended other than by order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the store holds can't be read or doesn't fit together.
    #[error("loading what the store holds")]
    Load(#[source] kapelle_store::Error),
    /// What the store holds breaks a rule of the engine.
    #[error("what the store holds breaks a rule")]
    Inconsistent(#[source] kapelle_domain::engine::Defect),
    /// Another coordinator leads over this store.
    #[error("another coordinator has taken over this store")]
    Deposed,
}

impl<B: CoordinatorEnd> Dispatch<B> {
    /// Loads what the store holds and takes the first decision over it: what becomes of the work
    /// that was in progress when the last coordinator ended.
    ///
    /// # Errors
    /// When the store can't be read, or holds what can't be.
    pub async fn start(parts: Parts<B>) -> Result<(Self, Engine), Error> {
        let (ask, asks) = mpsc::channel(ASKS_MAX);
        let (events, _) = broadcast::channel(WATCH_MAX);
        let engine = Engine { asks: ask, events: events.clone() };
        let random = SplitMix(parts.seed);
        let world = World::new(parts.limits.clone());
        let last_seq = EventSeq(0);
        let online = parts.bus.online();
        let looked_at = Timestamp(parts.clock.now());
        let (stale, was_online) = (true, true);
        let mut dispatch = Self {
            parts,
            world,
            last_seq,
            random,
            asks,
            events,
            stale,
            online,
            was_online,
            looked_at,
        };
        dispatch.reload().await?;
        let mut recovery = Pending::default();
        let reported = std::mem::take(&mut dispatch.parts.reported);
        dispatch.decide(&mut recovery, Input::Recover { reported }, None);
        dispatch.finish(recovery).await?;
        Ok((dispatch, engine))
    }

    /// Runs until `stop`, or until every way to it is gone. What was accepted before is committed.
    ///
    /// # Errors
    /// When it can't go on; the store then holds everything that was ever answered.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut asks = Vec::new();
        let mut requests = Vec::new();
        loop {
            let due = self.until_due();
            // Each branch only receives; the work is done below, where nothing can be dropped.
            let open = tokio::select! {
                () = stop.cancelled() => false,
                count = self.asks.recv_many(&mut asks, BATCH_MAX) => count > 0,
                result = self.parts.bus.requests(&mut requests, BATCH_MAX) => result.is_ok(),
                Ok(()) = self.online.changed() => true,
                () = self.parts.bus.offers_lost() => {
                    asks.push(Ask::Input(Box::new(Input::OffersLost)));
                    true
                }
                () = tokio::time::sleep(due) => true,
            };
            if !open {
                return Ok(());
            }
            self.forgive_absence(due);
            self.gather(&mut asks, &mut requests).await;
            if self.stale && self.recover_store().await?.is_some() {
                refuse_all(&mut asks, &mut requests);
                continue;
            }
            self.turn(&mut asks, &mut requests).await?;
        }
    }

    /// Gives everybody their full time again when we could not have heard them: the bus was down,
    /// or this very process was frozen.
    fn forgive_absence(&mut self, slept: Duration) {
        let now = self.now();
        let away = now.since(self.looked_at);
        let frozen = away > slept.saturating_add(FROZEN_AFTER);
        self.looked_at = now;
        let online = *self.online.borrow();
        let back = online && !self.was_online;
        self.was_online = online;
        if frozen || back {
            tracing::info!(
                frozen,
                away_ms = away.as_millis(),
                "nobody could be heard; everybody gets their full time again"
            );
            self.world.forgive_silence(now);
        }
    }

    /// Takes what else is waiting. Those whom the last commit answered are about to ask their next
    /// question: they get one turn of the scheduler, or each commit would carry only what the first
    /// of them asked. An idle coordinator loses microseconds by it.
    async fn gather(&mut self, asks: &mut Vec<Ask>, requests: &mut Vec<Inbound>) {
        tokio::task::yield_now().await;
        while asks.len() < BATCH_MAX
            && let Ok(ask) = self.asks.try_recv()
        {
            asks.push(ask);
        }
        let room = BATCH_MAX.saturating_sub(requests.len());
        if room == 0 {
            return;
        }
        tokio::select! {
            biased;
            // That the bus is closed shows again when the loop waits for it.
            _ = self.parts.bus.requests(requests, room) => {}
            () = std::future::ready(()) => {}
        }
    }

    /// Decides everything that is waiting, commits it, and lets its effects out.
    async fn turn(
        &mut self,
        asks: &mut Vec<Ask>,
        requests: &mut Vec<Inbound>,
    ) -> Result<(), Error> {
        let mut pending = Pending::default();
        for inbound in requests.drain(..) {
            self.decide(&mut pending, inbound.request.into(), Some(inbound.reply));
        }
        for ask in asks.drain(..) {
            match ask {
                Ask::Decide(input, reply) => self.decide(&mut pending, *input, Some(reply)),
                Ask::Input(input) => self.decide(&mut pending, *input, None),
                // Reads see what is committed: they wait for this batch.
                Ask::Read(read) => pending.reads.push(read),
                Ask::Recall(run, reply) => drop(reply.send(self.recall(run).await)),
            }
        }
        // Nobody's silence counts while nobody can be heard.
        let hears = *self.online.borrow();
        if hears && self.world.next_deadline().is_some_and(|at| at <= self.now()) {
            self.decide(&mut pending, Input::Tick, None);
        }
        self.finish(pending).await
    }

    fn decide(
        &mut self,
        pending: &mut Pending,
        input: Input,
        reply: Option<oneshot::Sender<Reply>>,
    ) {
        if pending.defect.is_some() {
            return;
        }
        let now = self.now();
        let moment = Moment { now, random: self.random.next() };
        match self.world.decide(moment, &input) {
            Ok(decision) => {
                let answer = decision.answer.clone();
                self.record(pending, now, decision);
                pending.replies.extend(reply.map(|reply| (reply, Ok(answer))));
            }
            // A refusal may rest on what this very batch decided, so it waits for the commit too.
            Err(rejection) => {
                if let Rejection::InvalidRegistration { .. } = &rejection {
                    tracing::warn!(error = %rejection, "a worker can't join");
                }
                pending
                    .replies
                    .extend(reply.map(|reply| (reply, Err(Refusal::Rejected(rejection)))));
            }
        }
    }

    fn record(
        &mut self,
        pending: &mut Pending,
        now: Timestamp,
        decision: kapelle_domain::engine::Decision,
    ) {
        for event in decision.events {
            if let Err(defect) = self.world.apply(now, &event) {
                tracing::error!(event = event.name(), %defect, "a decision breaks a rule; it is dropped");
                pending.defect = Some(defect);
                return;
            }
            self.last_seq = self.last_seq.next();
            pending.events.push(Recorded { seq: self.last_seq, at: now, event });
        }
        if let Some(volatile) = decision.volatile {
            self.world.note(now, &volatile);
        }
        pending.effects.extend(decision.effects);
    }

    /// Settles and commits a batch, then lets out its effects and answers.
    async fn finish(&mut self, mut pending: Pending) -> Result<(), Error> {
        let now = self.now();
        while pending.defect.is_none() {
            let decision = self.world.settle();
            if decision == kapelle_domain::engine::Decision::default() {
                break;
            }
            self.record(&mut pending, now, decision);
        }
        if let Some(defect) = pending.defect.take() {
            pending.refuse(&defect.to_string());
            return self.reload().await;
        }
        if !pending.events.is_empty() {
            let batch = batch::of(&self.world, std::mem::take(&mut pending.events));
            let events = batch.events.clone();
            if let Err(error) = self.parts.store.commit(batch).await {
                return self.commit_failed(pending, error).await;
            }
            // Nobody may be watching; the store has the events all the same.
            drop(self.events.send(Arc::new(events)));
        }
        self.release(pending).await;
        self.world.forget_finished();
        Ok(())
    }

    async fn commit_failed(
        &mut self,
        pending: Pending,
        error: kapelle_store::Error,
    ) -> Result<(), Error> {
        if matches!(error, kapelle_store::Error::Deposed) {
            return Err(Error::Deposed);
        }
        tracing::error!(error = %kapelle_runtime::telemetry::Chain(&error), "a commit failed; nothing of it is kept");
        pending.refuse(&error.to_string());
        self.stale = true;
        self.recover_store().await.map(drop)
    }

    async fn release(&mut self, pending: Pending) {
        for (reply, answer) in pending.replies {
            // Whoever asked may be gone; what was decided stays decided.
            drop(reply.send(answer));
        }
        for effect in pending.effects {
            let sent = match effect {
                Effect::Offer { attempt, offer, class } => {
                    self.parts.bus.offer(Offer { attempt, offer, class }).await
                }
                Effect::Hail { worker } => self.parts.bus.poke(&worker, Poke::Hail).await,
                Effect::Poke { worker, attempt } => {
                    self.parts.bus.poke(&worker, Poke::Attempt(attempt)).await
                }
                Effect::Integrate { .. } => {
                    self.parts.merges.notify_one();
                    Ok(())
                }
            };
            if let Err(error) = sent {
                // Offers are published again and heartbeats look; losing one costs time only.
                tracing::debug!(%error, "a message reached nobody");
            }
        }
        for read in pending.reads {
            read(&self.world);
        }
    }

    /// Rebuilds memory after a failed commit. Returns the reason when the store still refuses.
    async fn recover_store(&mut self) -> Result<Option<String>, Error> {
        match self.reload().await {
            Ok(()) => Ok(None),
            Err(Error::Load(error)) if error.is_transient() => {
                tracing::warn!(%error, "the store still refuses");
                Ok(Some(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    async fn reload(&mut self) -> Result<(), Error> {
        let snapshot = self.parts.store.load().await.map_err(Error::Load)?;
        let last_seq = self.parts.store.last_seq().await.map_err(Error::Load)?;
        let limits = self.parts.limits.clone();
        let mut world =
            World::restore(limits, snapshot, self.now()).map_err(Error::Inconsistent)?;
        let earlier = std::mem::replace(&mut self.world, World::new(Limits::default()));
        world.take_over_sessions(earlier);
        self.world = world;
        self.last_seq = last_seq;
        self.stale = false;
        Ok(())
    }

    async fn recall(&mut self, run: RunId) -> Result<(), kapelle_store::Error> {
        if self.world.run(run).is_some() {
            return Ok(());
        }
        if let Some((record, tasks)) = self.parts.store.load_run(run).await?
            && let Err(defect) = self.world.recall(run, record, tasks, self.now())
        {
            tracing::error!(%run, %defect, "a finished run doesn't fit its plan; it stays in the store");
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.parts.clock.now())
    }

    /// How long nothing has to be done unless somebody asks.
    fn until_due(&self) -> Duration {
        if self.stale {
            return STORE_RETRY;
        }
        if !*self.online.borrow() {
            return IDLE_MAX;
        }
        let due = self.world.next_deadline();
        due.map_or(IDLE_MAX, |at| at.since(self.now())).min(IDLE_MAX)
    }
}

fn refuse_all(asks: &mut Vec<Ask>, requests: &mut Vec<Inbound>) {
    let mut pending = Pending::default();
    pending.replies.extend(requests.drain(..).map(|inbound| (inbound.reply, Ok(Answer::Done))));
    for ask in asks.drain(..) {
        if let Ask::Decide(_, reply) = ask {
            pending.replies.push((reply, Ok(Answer::Done)));
        }
    }
    pending.refuse("the store refuses");
}

/// SplitMix64: small, fast, and good enough for jitter.
///
/// Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decide(input, _) => f.debug_tuple("Decide").field(input).finish(),
            Self::Input(input) => f.debug_tuple("Input").field(input).finish(),
            Self::Read(_) => f.write_str("Read"),
            Self::Recall(run, _) => f.debug_tuple("Recall").field(run).finish(),
        }
    }
}

impl<B> std::fmt::Debug for Dispatch<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch").field("last_seq", &self.last_seq).finish_non_exhaustive()
    }
}
