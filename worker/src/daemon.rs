//! The worker: takes offers while it has free slots, and makes one attempt for each grant.
//!
//! ```text
//!   offers --> claim --granted--> attempt (one for each slot) --> report
//!   pokes, heartbeat verdicts ------^ look, stop
//! ```
//!
//! It never decides what runs, and nothing starts before the coordinator has granted it. A
//! request without an answer is repeated; a report until it is recorded or refused. What an
//! earlier process of this worker has finished and not delivered is delivered first.

mod contact;
mod ending;
mod survivors;

pub use survivors::marks;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kapelle_bus::{Poke, Pokes as _, Refusal, Taken, WorkerEnd};
use kapelle_domain::engine::{Answer, Claim, Holder, Rejection, Standing, Verdict, WorkerRequest};
use kapelle_domain::ids::{AttemptId, Fence, RequestId, SessionEpoch, Timestamp, WorkerId};
use kapelle_domain::placement::Class;
use kapelle_domain::worker::{Duty, Held, Registration};
use kapelle_runtime::clock::Clock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::{self, Orders, Workshop};
use crate::spool::attempt::Found;
use contact::Contact;
use ending::LATE_TRANSCRIPTS_MAX;
use survivors::Survivor;

/// The wait before a request that was not recorded is repeated, doubled up to the second.
const REPEAT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long a worker that is to stop at once tries to be heard.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How many heartbeats go into a lease, at least.
const LEASE_BEATS: u32 = 4;

/// How long a worker that was replaced waits for its agents to end.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// How many offers it waits for at once, at most: more would not come any faster.
const WAITING_MAX: u32 = 64;

/// What a worker is made of.
#[derive(Debug)]
pub struct Worker<B> {
    /// Its end of the bus.
    pub bus: B,
    /// What it says of itself when it registers.
    pub registration: Registration,
    /// Everything that attempts need.
    pub workshop: Arc<Workshop>,
    /// How often it proves its life.
    pub heartbeat: Duration,
    /// How long agents may go on once it is told to end; as long as they like, where that isn't set.
    pub drain_within: Option<Duration>,
    /// Where the numbers of its requests start: random, so that no restart repeats one.
    pub first_request: u64,
}

/// Why a worker ended other than by order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus is closed for good, or doesn't take what has to be said.
    #[error("the bus is of no use any more")]
    Bus(#[source] kapelle_bus::Error),
    /// Another process has taken over the worker's name.
    #[error("another worker registered as {0}")]
    Superseded(WorkerId),
    /// The coordinator has given the worker up; it has to register again.
    #[error("the coordinator has given up worker {0}")]
    Forgotten(WorkerId),
    /// The coordinator refuses the worker.
    #[error("the coordinator refuses the worker")]
    Refused(#[source] Rejection),
}

/// What the parts of a running worker share.
struct Session<B> {
    bus: B,
    worker: WorkerId,
    epoch: SessionEpoch,
    held: Mutex<BTreeMap<AttemptId, Arc<Live>>>,
    /// When the last request was sent that the coordinator has answered, by `clock`.
    heard: watch::Sender<Timestamp>,
    clock: Clock,
    /// How often it proves its life, unless a lease is too short for that.
    heartbeat: Duration,
    /// What it may take offers of.
    classes: watch::Sender<Arc<[Class]>>,
    /// Prove life now.
    hailed: Notify,
    /// Places for transcripts that arrive late.
    late: Semaphore,
    /// The worker takes nothing new any more.
    ending: CancellationToken,
    /// What runs is to be handed over: the worker has waited for long enough.
    hand_over: CancellationToken,
    /// The worker is to stop at once.
    stop: CancellationToken,
    /// An operator wants it to finish what it has and leave.
    drained: CancellationToken,
    /// A report lies in its spool that the coordinator could not record.
    owes: AtomicBool,
}

/// An attempt that is being made.
struct Live {
    holder: Holder,
    orders: Orders,
    /// How long the worker may go unheard before somebody else may have the attempt.
    lost_after: Duration,
}

impl<B: WorkerEnd> Worker<B> {
    /// Works until `drain` (takes nothing new, finishes what it has, or hands it over when that takes
    /// too long) or `stop` (hands over what it has at once).
    ///
    /// # Errors
    /// When it can't go on.
    pub async fn run(
        mut self,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let (mut found, survivors) = self.find().await;
        let (session, standing) = self.register(&stop).await?;
        let session = Arc::new(session);
        let slots = usize::try_from(self.registration.slots).unwrap_or(usize::MAX);
        let slots = Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
        let mut services = JoinSet::new();
        services.spawn(listen(Arc::clone(&session)));
        services.spawn(beat(Arc::clone(&session)));
        ending::settle_the_past(&session, &mut found, &standing.verdicts).await;
        let mut attempts: JoinSet<()> = JoinSet::new();
        for survivor in survivors {
            let slot = Arc::clone(&slots).try_acquire_owned().ok();
            let verdict = survivors::verdict(&survivor, &standing.verdicts);
            let (session, workshop) = (Arc::clone(&session), Arc::clone(&self.workshop));
            attempts.spawn(survivors::go_on(
                session,
                survivor,
                verdict,
                workshop,
                stop.clone(),
                slot,
            ));
        }
        for found in found {
            // The coordinator counts what is reported as held until it has the report.
            let slot =
                found.report.as_ref().and_then(|_| Arc::clone(&slots).try_acquire_owned().ok());
            let clock = self.workshop.clock.clone();
            attempts.spawn(ending::hand_in(Arc::clone(&session), found, clock, slot));
        }
        let mut request = self.first_request;
        // As many wait for an offer as there are free slots.
        let mut waiting = JoinSet::new();
        for _ in 0..self.registration.slots.min(WAITING_MAX) {
            waiting.spawn(next_offer(Arc::clone(&session), Arc::clone(&slots)));
        }
        let ended = loop {
            tokio::select! {
                () = drain.cancelled() => break Ok(()),
                () = session.drained.cancelled() => break Ok(()),
                () = stop.cancelled() => break Ok(()),
                Some(Ok(taken)) = waiting.join_next() => {
                    let (taken, slot) = match taken {
                        Ok(taken) => taken,
                        Err(error) => break Err(Error::Bus(error)),
                    };
                    request = request.wrapping_add(1);
                    let work = take(Arc::clone(&session), taken, RequestId(request), Arc::clone(&self.workshop), stop.clone(), slot);
                    attempts.spawn(work);
                    waiting.spawn(next_offer(Arc::clone(&session), Arc::clone(&slots)));
                }
                Some(over) = services.join_next() => {
                    if let Ok(Err(error)) = over {
                        break Err(error);
                    }
                }
                // Reaped as they end, so that a long life doesn't collect them.
                Some(_) = attempts.join_next() => {}
            }
        };
        hand_back(waiting).await;
        if ended.is_ok() {
            // An operator's order to drain has no end of its own.
            let within = self.drain_within.filter(|_| drain.is_cancelled());
            self.finish(&session, &mut attempts, within, &stop).await;
        } else {
            abandon(&session, attempts, &ended).await;
        }
        ended
    }

    /// Takes over what earlier processes have left. What is finished belongs to the inventory, and
    /// so do the agents that are still at work.
    async fn find(&mut self) -> (Vec<Found>, Vec<Survivor>) {
        let (root, quota) = (self.workshop.spools.clone(), self.workshop.spool_quota());
        let now = Timestamp(self.workshop.clock.now());
        let taken = tokio::task::spawn_blocking(move || survivors::find(&root, quota, now)).await;
        let (found, survivors) = taken.unwrap_or_default();
        let finished = found.iter().filter(|found| found.report.is_some());
        let held = finished.map(|found| found.spool.owner().held());
        let held = held.chain(survivors.iter().map(Survivor::held));
        self.registration.inventory = held.collect();
        (found, survivors)
    }

    async fn register(&self, stop: &CancellationToken) -> Result<(Session<B>, Standing), Error> {
        let asked_at = Timestamp(self.workshop.clock.now());
        let request = WorkerRequest::Register(self.registration.clone());
        match ask(&self.bus, request, stop).await? {
            Ok(Answer::Registered { session, standing }) => {
                let session = Session {
                    bus: self.bus.clone(),
                    worker: self.registration.worker.clone(),
                    epoch: session,
                    held: Mutex::default(),
                    heard: watch::Sender::new(asked_at),
                    clock: self.workshop.clock.clone(),
                    heartbeat: self.heartbeat,
                    classes: watch::Sender::new(standing.classes.clone().into()),
                    hailed: Notify::new(),
                    late: Semaphore::new(LATE_TRANSCRIPTS_MAX),
                    ending: CancellationToken::new(),
                    hand_over: CancellationToken::new(),
                    stop: stop.clone(),
                    drained: CancellationToken::new(),
                    owes: AtomicBool::new(false),
                };
                Ok((session, standing))
            }
            Ok(_) => Err(Error::Bus(kapelle_bus::Error::NoAnswer)),
            Err(rejection) => Err(Error::Refused(rejection)),
        }
    }

    /// Lets attempts end by themselves, or hands them over, and says good-bye.
    async fn finish(
        &self,
        session: &Session<B>,
        attempts: &mut JoinSet<()>,
        within: Option<Duration>,
        stop: &CancellationToken,
    ) {
        session.ending.cancel();
        let (worker, epoch) = (session.worker.clone(), session.epoch);
        // First, so that nothing is offered to it that it would only hand back.
        let drain = WorkerRequest::Drain { worker: worker.clone(), session: epoch };
        let said = ask(&session.bus, drain, stop);
        let ended = async { while attempts.join_next().await.is_some() {} };
        let deadline = async {
            match within {
                Some(within) => tokio::time::sleep(within).await,
                None => std::future::pending().await,
            }
            tracing::info!("what still runs is handed over");
            session.hand_over.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = async { tokio::join!(said, ended) } => {}
            () = deadline => {}
        }
        // Leaving would give up what was finished; the next process brings it.
        if session.owes.load(Ordering::Relaxed) {
            return;
        }
        let leave = WorkerRequest::Leave { worker, session: epoch };
        // What a coordinator that can't record it makes of our silence is the same.
        drop(ask(&session.bus, leave, stop).await);
        session.bus.close().await;
    }
}

/// An offer in hand, and the slot that is free for it.
type Takeable<B> = (<B as WorkerEnd>::Taken, OwnedSemaphorePermit);

/// Waits for a free slot first: an offer that is taken without one would wait in vain.
async fn next_offer<B: WorkerEnd>(
    session: Arc<Session<B>>,
    slots: Arc<Semaphore>,
) -> Result<Takeable<B>, kapelle_bus::Error> {
    let slot = slots.acquire_owned().await.map_err(|_| kapelle_bus::Error::Closed)?;
    let taken = session.bus.next_offer(session.classes.subscribe()).await?;
    Ok((taken, slot))
}

/// Waits for no offer any more. Those that came in the last moment are for others.
async fn hand_back<T: Taken>(
    mut waiting: JoinSet<Result<(T, OwnedSemaphorePermit), kapelle_bus::Error>>,
) {
    waiting.abort_all();
    while let Some(ended) = waiting.join_next().await {
        if let Ok(Ok((taken, _slot))) = ended {
            taken.hand_back(Duration::ZERO).await;
        }
    }
}

/// Claims an offer and, when it is granted, makes the attempt.
async fn take<B: WorkerEnd>(
    session: Arc<Session<B>>,
    taken: B::Taken,
    request: RequestId,
    workshop: Arc<Workshop>,
    stop: CancellationToken,
    slot: OwnedSemaphorePermit,
) {
    let offer = taken.offer();
    let claim = Claim {
        request,
        attempt: offer.attempt,
        offer: offer.offer,
        worker: session.worker.clone(),
        session: session.epoch,
    };
    let grant = match ask(&session.bus, WorkerRequest::Claim(claim), &session.stop).await {
        Ok(Ok(Answer::Granted(grant))) => *grant,
        Ok(Err(Rejection::PreferOther { retry_after, .. })) => {
            // The slot is free for other offers meanwhile.
            drop(slot);
            return taken.hand_back(retry_after).await;
        }
        // Said of this worker, not of the offer.
        Ok(Err(Rejection::SupersededSession { .. } | Rejection::UnknownWorker { .. })) => {
            return taken.hand_back(Duration::ZERO).await;
        }
        // Somebody else was faster, or the offer is of the past: both are normal.
        Ok(Ok(_) | Err(_)) => return taken.settle().await,
        Err(_) => return taken.hand_back(Duration::ZERO).await,
    };
    taken.settle().await;
    let (holder, orders) = session.hold(grant.attempt, grant.fence, grant.lost_after, stop);
    let made = attempt::run(&session.bus, &holder, &grant, &workshop, &orders).await;
    ending::conclude(&session, holder, made, Some(slot)).await;
}

impl<B> Session<B> {
    fn holder(&self, attempt: AttemptId, fence: Fence) -> Holder {
        Holder { attempt, fence, worker: self.worker.clone(), session: self.epoch }
    }

    /// Takes note that the worker holds an attempt, until it is removed from [`Self::held`].
    fn hold(
        &self,
        attempt: AttemptId,
        fence: Fence,
        lost_after: Duration,
        stop: CancellationToken,
    ) -> (Holder, Orders) {
        let holder = self.holder(attempt, fence);
        let look = Arc::new(Notify::new());
        let (fenced, hand_over) = (CancellationToken::new(), self.hand_over.clone());
        let (heard, clock) = (self.heard.subscribe(), self.clock.clone());
        let orders = Orders { heard, clock, look, fenced, hand_over, stop };
        let live = Live { holder: holder.clone(), orders: orders.clone(), lost_after };
        self.held().insert(attempt, Arc::new(live));
        if attempt::unheard_max(lost_after) / LEASE_BEATS < self.heartbeat {
            // The wait for the next heartbeat may be longer than this one can bear.
            self.hailed.notify_one();
        }
        (holder, orders)
    }

    /// How often it proves its life: often enough for the shortest of its leases, which are the
    /// runs' to set.
    fn beats_every(&self) -> Duration {
        let held = self.held();
        let leases = held.values().map(|live| attempt::unheard_max(live.lost_after) / LEASE_BEATS);
        leases.fold(self.heartbeat, Duration::min)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<AttemptId, Arc<Live>>> {
        // Insertions and removals can't leave the map half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, attempt: AttemptId) -> Option<Arc<Live>> {
        self.held().get(&attempt).cloned()
    }
}

/// Lets go of everything because the session is over. Agents are left to the next session or the next
/// process; those of a worker whose name another one has taken are ended.
async fn abandon<B>(session: &Session<B>, mut attempts: JoinSet<()>, ended: &Result<(), Error>) {
    session.ending.cancel();
    if matches!(ended, Err(Error::Superseded(_))) {
        for live in session.held().values() {
            live.orders.fenced.cancel();
        }
        let all = async { while attempts.join_next().await.is_some() {} };
        if tokio::time::timeout(ENDED_WITHIN, all).await.is_err() {
            tracing::warn!("agents of a worker that was replaced take long to end");
        }
    }
    attempts.shutdown().await;
}

/// Passes pokes on to the attempts that they are for.
async fn listen<B: WorkerEnd>(session: Arc<Session<B>>) -> Result<(), Error> {
    let mut pokes = session.bus.pokes(&session.worker);
    while let Some(poke) = pokes.next().await {
        let lives: Vec<Arc<Live>> = match poke {
            Poke::Attempt(attempt) => session.live(attempt).into_iter().collect(),
            Poke::Hail => {
                session.hailed.notify_one();
                continue;
            }
        };
        for live in lives {
            live.orders.look.notify_one();
        }
    }
    Ok(())
}

/// Proves life, and follows the verdicts that come back.
async fn beat<B: WorkerEnd>(session: Arc<Session<B>>) -> Result<(), Error> {
    let clock = session.clock.clone();
    let mut contact = Contact::new(*session.heard.borrow(), session.heartbeat);
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = session.hailed.notified() => {}
        }
        wait = session.beats_every();
        fence_the_unheard(&session, contact.silence(Timestamp(clock.now())));
        let held: Vec<Held> = session
            .held()
            .values()
            .map(|live| Held { attempt: live.holder.attempt, fence: live.holder.fence })
            .collect();
        let (worker, epoch) = (session.worker.clone(), session.epoch);
        let request = WorkerRequest::Heartbeat { worker, session: epoch, held };
        // From when it was sent: how long the answer took says nothing of us.
        let sent_at = Timestamp(clock.now());
        match session.bus.request(request).await {
            Ok(Ok(Answer::Heard(Standing { verdicts, classes, duty }))) => {
                session.heard.send_replace(sent_at);
                contact.heard(sent_at).into_iter().for_each(|news| news.tell(None));
                if duty == Duty::Draining {
                    session.drained.cancel();
                }
                for verdict in verdicts {
                    obey(&session, verdict.attempt, verdict.verdict);
                }
                session.classes.send_if_modified(|known| {
                    let changed = **known != *classes;
                    *known = classes.into();
                    changed
                });
            }
            Ok(Err(Refusal::Rejected(Rejection::SupersededSession { worker }))) => {
                return Err(Error::Superseded(worker));
            }
            Ok(Err(Refusal::Rejected(Rejection::UnknownWorker { worker }))) => {
                return Err(Error::Forgotten(worker));
            }
            Ok(Ok(_) | Err(_)) => {}
            Err(kapelle_bus::Error::Closed) => return Err(Error::Bus(kapelle_bus::Error::Closed)),
            Err(kapelle_bus::Error::NoAnswer) => {}
            Err(error @ kapelle_bus::Error::Refused { .. }) => {
                tracing::warn!(%error, "a heartbeat was refused");
            }
        }
        let now = Timestamp(clock.now());
        if let Some(news) = contact.unheard(now) {
            news.tell(first_end(&session, contact.silence(now)));
        }
    }
}

impl Live {
    /// How long the worker may go unheard before it ends the attempt itself.
    fn patience(&self) -> Duration {
        attempt::unheard_max(self.lost_after)
    }
}

/// Ends what may soon be somebody else's, because nobody has heard of this worker for so long.
fn fence_the_unheard<B>(session: &Session<B>, unheard: Duration) {
    for live in session.held().values().filter(|live| unheard >= live.patience()) {
        live.orders.fenced.cancel();
    }
}

/// How long until the first attempt is ended, if nobody hears of this worker.
fn first_end<B>(session: &Session<B>, unheard: Duration) -> Option<Duration> {
    session.held().values().map(|live| live.patience().saturating_sub(unheard)).min()
}

fn obey<B>(session: &Session<B>, attempt: AttemptId, verdict: Verdict) {
    let Some(live) = session.live(attempt) else { return };
    match verdict {
        Verdict::Keep => {}
        Verdict::Look => live.orders.look.notify_one(),
        Verdict::Fenced => live.orders.fenced.cancel(),
    }
}

/// Asks until there is a definite answer. A worker that is to stop at once doesn't wait for ever
/// for a coordinator that can record nothing: what matters of its words is in the spool.
pub(crate) async fn ask<B: WorkerEnd>(
    bus: &B,
    request: WorkerRequest,
    stop: &CancellationToken,
) -> Result<Result<Answer, Rejection>, Error> {
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        answer = repeat(bus, request) => answer,
        () = patience => Err(Error::Bus(kapelle_bus::Error::NoAnswer)),
    }
}

async fn repeat<B: WorkerEnd>(
    bus: &B,
    request: WorkerRequest,
) -> Result<Result<Answer, Rejection>, Error> {
    let mut wait = REPEAT.0;
    loop {
        match bus.request(request.clone()).await {
            Ok(Ok(answer)) => return Ok(Ok(answer)),
            Ok(Err(Refusal::Rejected(rejection))) => return Ok(Err(rejection)),
            Err(error @ (kapelle_bus::Error::Closed | kapelle_bus::Error::Refused { .. })) => {
                return Err(Error::Bus(error));
            }
            Ok(Err(Refusal::Unavailable { .. })) | Err(kapelle_bus::Error::NoAnswer) => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(REPEAT.1);
    }
}

#[cfg(test)]
mod tests;
