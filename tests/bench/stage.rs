//! A coordinator's own parts on a bus: the dispatch loop and the store with every commit durable.
//! What works on the other end of the bus, and what is measured, is the business of the others.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kapelle_bus::CoordinatorEnd;
use kapelle_coordinator::dispatch::{self, Dispatch, Engine, Parts};
use kapelle_domain::engine::{Answer, Input, Submission};
use kapelle_domain::event::{Event, Recorded, RunEvent};
use kapelle_domain::ids::RunId;
use kapelle_domain::plan::{PlanSource, RunSpec, TaskSpec};
use kapelle_domain::policy::{Limits, RetryPolicy, Timeouts};
use kapelle_domain::run::Run;
use kapelle_runtime::clock::Clock;
use kapelle_runtime::identity::{self, Identity};
use kapelle_store::{Checkpoint, Mode, OpenOptions, Store};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often the log is folded into the database, as the product does.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);

/// Nothing that is waited for here takes this long unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// The repository that nothing is done in.
pub(crate) const REPOSITORY: &str = "none";

/// Opens a store of its own for a coordinator.
///
/// # Errors
/// When it can't be made.
pub(crate) async fn store(directory: &Path) -> Result<Arc<Store>> {
    let options = OpenOptions {
        path: directory.join("state.db"),
        mode: Mode::Lead,
        // SQL integers are signed.
        new_epoch: identity::seed() >> 1,
    };
    Ok(Arc::new(Store::open(options).await?))
}

/// A coordinator, and whatever works for or beside it.
pub(crate) struct Stage {
    pub(crate) store: Arc<Store>,
    pub(crate) engine: Engine,
    identity: Identity,
    /// None of it ends by itself.
    parts: JoinSet<Result<()>>,
    dispatch: JoinSet<Result<(), dispatch::Error>>,
    end: CancellationToken,
}

/// How a run went.
pub(crate) struct Course {
    pub(crate) run: RunId,
    /// From before it was submitted until a watcher saw its end.
    pub(crate) took: Duration,
    /// How long only submitting it took.
    pub(crate) submitting: Duration,
    pub(crate) commits: usize,
    /// What the process has used of all processors.
    pub(crate) cpu_seconds: f64,
}

impl Stage {
    pub(crate) async fn set_up(store: Arc<Store>, bus: impl CoordinatorEnd) -> Result<Self> {
        let clock = Clock::system();
        let parts = Parts {
            store: Arc::clone(&store),
            limits: Limits::default(),
            reported: Vec::new(),
            bus,
            clock: clock.clone(),
            seed: identity::seed(),
            merges: Arc::new(Notify::new()),
        };
        let (coordinator, engine) = Dispatch::start(parts).await?;
        let end = CancellationToken::new();
        let mut dispatch = JoinSet::new();
        dispatch.spawn(coordinator.run(end.clone()));
        let mut parts = JoinSet::new();
        parts.spawn(checkpoints(Arc::clone(&store)));
        Ok(Self { store, engine, identity: Identity::new(clock), parts, dispatch, end })
    }

    /// Takes care of a part that doesn't end before the stage does.
    pub(crate) fn tend(&mut self, part: impl Future<Output = Result<()>> + Send + 'static) {
        self.parts.spawn(part);
    }

    /// Waits for what has to come while all parts work.
    ///
    /// # Errors
    /// When a part fails or ends, or nothing comes.
    pub(crate) async fn wait<T>(&mut self, what: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            came = what => came,
            Some(ended) = self.parts.join_next() => {
                ended??;
                bail!("a part has ended before its work was done")
            }
            () = tokio::time::sleep(PATIENCE) => bail!("nothing has come for {PATIENCE:?}"),
        }
    }

    /// Submits a run and waits for its end, as a surface would.
    pub(crate) async fn complete(&mut self, submission: Submission) -> Result<Course> {
        let events = self.engine.watch();
        let (begin, cpu_begin) = (Instant::now(), cpu_seconds()?);
        let run = self.submit(submission).await?;
        let submitting = begin.elapsed();
        let commits = self.wait(end_of(run, events, self.engine.clone())).await?;
        let cpu_seconds = cpu_seconds()? - cpu_begin;
        Ok(Course { run, took: begin.elapsed(), submitting, commits, cpu_seconds })
    }

    /// Ends it, and checks that the tables follow from the log. Returns how many events that has.
    pub(crate) async fn finish(mut self) -> Result<(Arc<Store>, u64)> {
        self.parts.shutdown().await;
        self.end.cancel();
        while let Some(ended) = self.dispatch.join_next().await {
            ended??;
        }
        // Also fails at a gap in the numbers.
        let folded = self.store.verify_fold(Limits::default()).await?;
        Ok((self.store, folded.events))
    }

    pub(crate) async fn submit(&self, submission: Submission) -> Result<RunId> {
        match self.engine.give(Input::Submit(submission)).await?? {
            Answer::Submitted(run) => Ok(run),
            other => bail!("a submission was answered with {other:?}"),
        }
    }

    /// A run of equal tasks without dependencies.
    pub(crate) fn submission(&self, agent: &str, tasks: u32, concurrency: u32) -> Submission {
        let spec = RunSpec {
            uid: self.identity.mint(),
            request: String::new(),
            title: "Nothing, many times".to_owned(),
            source: PlanSource::Tasks,
            concurrency,
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            target: None,
        };
        let tasks = (0..tasks).map(|number| TaskSpec {
            key: format!("noop-{number}"),
            title: format!("Do nothing, number {number}"),
            prompt: "Nothing is to be done here. Say so in one line, and end.".to_owned(),
            agent: agent.into(),
            repository: REPOSITORY.into(),
            needs: Vec::new(),
            depends_on: Vec::new(),
            priority: 0,
            integrate: false,
            verify: false,
        });
        let planned_at = kapelle_domain::ids::Timestamp(0);
        Submission { spec: Arc::new(spec), tasks: tasks.collect(), planned_at }
    }
}

/// Fails unless every task of a run has succeeded.
///
/// # Errors
/// When one hasn't, or the store can't be read.
pub(crate) async fn all_succeeded(store: &Store, run: RunId, tasks: u32) -> Result<()> {
    let states = store.task_counts(run).await?;
    let succeeded = states.get("succeeded").copied().unwrap_or(0);
    ensure!(succeeded == tasks, "{succeeded} of {tasks} tasks have succeeded");
    Ok(())
}

/// Waits for the end of a run, as a surface would. Returns how many commits that took.
pub(crate) async fn end_of(
    run: RunId,
    mut events: broadcast::Receiver<Arc<Vec<Recorded>>>,
    engine: Engine,
) -> Result<usize> {
    let mut commits = 0;
    loop {
        let over = match events.recv().await {
            Ok(batch) => {
                commits += 1;
                batch.iter().any(|recorded| is_end_of(run, &recorded.event))
            }
            Err(RecvError::Lagged(missed)) => {
                commits += usize::try_from(missed)?;
                engine.read(move |world| world.run(run).is_none_or(Run::is_finished)).await?
            }
            Err(RecvError::Closed) => bail!("the coordinator has stopped"),
        };
        if over {
            return Ok(commits);
        }
    }
}

fn is_end_of(run: RunId, event: &Event) -> bool {
    matches!(event, Event::Run { run: found, event: RunEvent::Finished { .. } } if *found == run)
}

async fn checkpoints(store: Arc<Store>) -> Result<()> {
    loop {
        tokio::time::sleep(CHECKPOINT_EVERY).await;
        store.checkpoint(Checkpoint::Passive).await?;
    }
}

/// What this process has used of all processors so far.
fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    // The second field is a name in parentheses that may hold anything.
    let (_, fields) = text.rsplit_once(')').context("/proc/self/stat has no name in it")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks = ticks.sum::<Result<u32, _>>().context("reading times in /proc/self/stat")?;
    // The kernel's unit towards programs, on every architecture that we build for.
    Ok(f64::from(ticks) / 100.0)
}
