//! A worker whose attempts need no process. It talks to the coordinator as the real one does: an
//! offer is claimed, the grant started, the end reported, each answered only when it is committed.
//! Some attempts end at once; some wait and obey until they are stopped; some print.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kapelle_bus::{
    Offer, OutputChunk, OutputLane, OutputLine, Poke, Pokes as _, Taken as _, WorkerEnd,
};
use kapelle_domain::attempt::{Outcome, Report, Usage, Verdict};
use kapelle_domain::command::CommandAnswer;
use kapelle_domain::engine::{Answer, Claim, Grant, Holder, WorkerRequest};
use kapelle_domain::ids::{AttemptId, RequestId, SessionEpoch, Timestamp, WorkerId};
use kapelle_domain::placement::Class;
use kapelle_domain::worker::{Held, Registration};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::stage::REPOSITORY;

/// The agent whose attempts end at once.
pub(crate) const AGENT: &str = "noop";

/// The agent whose attempts wait and obey.
pub(crate) const HOLD: &str = "hold";

/// The agent whose attempts print.
pub(crate) const TALK: &str = "talk";

/// What an attempt of [`TALK`] prints: so many chunks of so many lines of so many bytes.
pub(crate) const CHUNKS: u64 = 100;
pub(crate) const LINES: u64 = 64;
pub(crate) const LINE_BYTES: usize = 120;

/// How often it proves its life.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// When an attempt went how far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamps {
    /// The worker asks for the grant.
    pub(crate) claimed: Instant,
    /// The worker has the grant; an agent would be started now.
    pub(crate) granted: Instant,
    /// That it runs is committed.
    pub(crate) started: Instant,
    /// Its end is committed.
    pub(crate) finished: Instant,
}

impl Stamps {
    /// How long the attempt kept its slot.
    pub(crate) fn turn(&self) -> Duration {
        self.finished.duration_since(self.granted)
    }
}

/// Where a worker stands.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) slots: u32,
    /// Whether it shares the coordinator's process.
    pub(crate) embedded: bool,
}

impl Place {
    pub(crate) fn embedded(name: &str, slots: u32) -> Self {
        Self { name: name.to_owned(), slots, embedded: true }
    }

    fn registration(&self, worker: &WorkerId) -> Registration {
        let agents: Vec<Arc<str>> = vec![AGENT.into(), HOLD.into(), TALK.into()];
        Registration {
            embedded: self.embedded,
            cached: vec![REPOSITORY.into()],
            ..Registration::new(worker.clone(), self.slots, agents)
        }
    }
}

/// A worker with an open session; cheap to clone.
#[derive(Clone)]
struct Session<B> {
    bus: B,
    worker: WorkerId,
    epoch: SessionEpoch,
    /// What is to be looked at, by attempt.
    live: Arc<Mutex<BTreeMap<AttemptId, Arc<Live>>>>,
}

struct Live {
    held: Held,
    look: Notify,
}

/// Works until the bus closes or this is dropped, or something goes wrong.
///
/// # Errors
/// For any answer that isn't the expected one: nothing here gives a reason for a refusal.
pub(crate) async fn work<B: WorkerEnd>(
    bus: B,
    place: Place,
    stamps: mpsc::Sender<Stamps>,
) -> Result<()> {
    let worker = WorkerId(place.name.clone());
    let mut pokes = bus.pokes(&worker);
    let registration = WorkerRequest::Register(place.registration(&worker));
    let (epoch, standing) = match ask(&bus, registration).await? {
        Answer::Registered { session, standing } => (session, standing),
        other => bail!("registering was answered with {other:?}"),
    };
    let session = Session { bus, worker, epoch, live: Arc::default() };
    let (class_sender, classes) = watch::channel::<Arc<[Class]>>(standing.classes.into());
    let free = Arc::new(Semaphore::new(usize::try_from(place.slots)?));
    let mut attempts: JoinSet<Result<()>> = JoinSet::new();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let mut request = 0;
    loop {
        let next = async {
            // A free slot first: an offer that is taken without one waits in vain.
            let slot = Arc::clone(&free).acquire_owned().await?;
            let taken = session.bus.next_offer(classes.clone()).await?;
            let offer = taken.offer().clone();
            taken.settle().await;
            anyhow::Ok((offer, slot))
        };
        tokio::select! {
            taken = next => {
                let (offer, slot) = taken?;
                request += 1;
                let (session, request) = (session.clone(), RequestId(request));
                let stamps = stamps.clone();
                attempts.spawn(async move {
                    let made = session.attempt(offer, request).await?;
                    drop(slot);
                    stamps.send(made).await.context("nobody counts")
                });
            }
            poke = pokes.next() => match poke.context("the bus is closed")? {
                Poke::Attempt(attempt) => session.look_at(attempt),
                Poke::Hail => heartbeat.reset_immediately(),
            },
            _ = heartbeat.tick() => {
                let news = session.heartbeat().await?;
                class_sender.send_if_modified(|known| {
                    let changed = **known != *news;
                    *known = news;
                    changed
                });
            }
            Some(ended) = attempts.join_next() => ended??,
        }
    }
}

impl<B: WorkerEnd> Session<B> {
    /// Proves its life. Returns the classes that it may take offers of.
    async fn heartbeat(&self) -> Result<Arc<[Class]>> {
        let held = self.lives().values().map(|live| live.held).collect();
        let (worker, session) = (self.worker.clone(), self.epoch);
        let heartbeat = WorkerRequest::Heartbeat { worker, session, held };
        match ask(&self.bus, heartbeat).await? {
            Answer::Heard(standing) => Ok(standing.classes.into()),
            other => bail!("a heartbeat was answered with {other:?}"),
        }
    }

    async fn attempt(&self, offer: Offer, request: RequestId) -> Result<Stamps> {
        let claim = Claim {
            request,
            attempt: offer.attempt,
            offer: offer.offer,
            worker: self.worker.clone(),
            session: self.epoch,
        };
        let claimed = Instant::now();
        let grant = match ask(&self.bus, WorkerRequest::Claim(claim)).await? {
            Answer::Granted(grant) => grant,
            other => bail!("a claim was answered with {other:?}"),
        };
        let granted = Instant::now();
        let holder = Holder {
            attempt: grant.attempt,
            fence: grant.fence,
            worker: self.worker.clone(),
            session: self.epoch,
        };
        let held = Held { attempt: grant.attempt, fence: grant.fence };
        let live = Arc::new(Live { held, look: Notify::new() });
        self.lives().insert(held.attempt, Arc::clone(&live));
        ask(&self.bus, WorkerRequest::Started(holder.clone())).await?;
        let started = Instant::now();
        let outcome = self.do_nothing(&grant, &holder, &live).await?;
        let report = Arc::new(report(outcome));
        ask(&self.bus, WorkerRequest::Finished { holder, report }).await?;
        self.lives().remove(&held.attempt);
        Ok(Stamps { claimed, granted, started, finished: Instant::now() })
    }

    async fn do_nothing(&self, grant: &Grant, holder: &Holder, live: &Live) -> Result<Outcome> {
        match &*grant.agent {
            HOLD => self.obey(holder, live).await,
            TALK => self.print(holder).await.map(|()| Outcome::Completed),
            _ => Ok(Outcome::Completed),
        }
    }

    /// Does what is said until it is to end.
    async fn obey(&self, holder: &Holder, live: &Live) -> Result<Outcome> {
        loop {
            live.look.notified().await;
            let directives = match ask(&self.bus, WorkerRequest::Look(holder.clone())).await? {
                Answer::Directives(directives) => directives,
                other => bail!("a look was answered with {other:?}"),
            };
            if directives.cancel.is_some() {
                return Ok(Outcome::Cancelled);
            }
            for command in directives.commands {
                let (holder, seq) = (holder.clone(), command.seq);
                let answer = CommandAnswer::Applied;
                ask(&self.bus, WorkerRequest::Answered { holder, seq, answer }).await?;
            }
        }
    }

    async fn print(&self, holder: &Holder) -> Result<()> {
        let line =
            OutputLine { at: Timestamp(0), lane: OutputLane::Stdout, text: "x".repeat(LINE_BYTES) };
        for chunk in 0..CHUNKS {
            let first = chunk * LINES + 1;
            let lines = vec![line.clone(); usize::try_from(LINES)?];
            let chunk = OutputChunk { holder: holder.clone(), first, lines };
            let safe = self.bus.send_output(chunk).await?;
            ensure!(safe == first + LINES - 1, "of line {first} and on, {safe} is the last kept");
        }
        Ok(())
    }

    fn look_at(&self, attempt: AttemptId) {
        if let Some(live) = self.lives().get(&attempt) {
            live.look.notify_one();
        }
    }

    fn lives(&self) -> std::sync::MutexGuard<'_, BTreeMap<AttemptId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(outcome: Outcome) -> Report {
    Report {
        outcome,
        summary: "nothing was to be done, and that was done".to_owned(),
        exit: None,
        verdict: Verdict::Pass,
        checks: Vec::new(),
        result: None,
        usage: Usage::default(),
    }
}

async fn ask<B: WorkerEnd>(bus: &B, request: WorkerRequest) -> Result<Answer> {
    Ok(bus.request(request).await??)
}
