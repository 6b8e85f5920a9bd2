//! Tasks that do nothing, through the coordinator's own parts: the dispatch loop, the store with
//! every commit durable, the bus of one process. No git, no processes, no HTTP.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kapelle_bus::memory;
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
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::figures::{Figures, percentile_ms, rate};
use crate::noop::{self, AGENT, Stamps};

/// Events of each task: submitted, offered, claimed, started, ended, succeeded.
const EVENTS_OF_TASK: u64 = 6;

/// Events of each run: submitted, finished.
const EVENTS_OF_RUN: u64 = 2;

/// How often the log is folded into the database, as the product does.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);

/// Nothing that is waited for here takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is given to the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Tasks at once.
    pub(crate) tasks: u32,
    /// Attempts at once.
    pub(crate) slots: u32,
    /// Tasks one by one.
    pub(crate) samples: u32,
}

/// A coordinator and its worker.
struct Stage {
    store: Arc<Store>,
    engine: Engine,
    identity: Identity,
    stamps: mpsc::Receiver<Stamps>,
    /// What works for or beside the coordinator; none of it ends by itself.
    parts: JoinSet<Result<()>>,
    dispatch: JoinSet<Result<(), dispatch::Error>>,
    end: CancellationToken,
}

/// Measures everything once.
///
/// # Errors
/// When something fails, or when the store doesn't hold exactly what has happened.
pub(crate) async fn measure(directory: &Path, load: Load, figures: &mut Figures) -> Result<()> {
    let mut stage = Stage::set_up(directory, load.slots).await?;
    stage.saturate(load, figures).await?;
    stage.trickle(load.samples, figures).await?;
    stage.finish(load).await
}

impl Stage {
    async fn set_up(directory: &Path, slots: u32) -> Result<Self> {
        let options = OpenOptions {
            path: directory.join("state.db"),
            mode: Mode::Lead,
            // SQL integers are signed.
            new_epoch: identity::seed() >> 1,
        };
        let store = Arc::new(Store::open(options).await?);
        let clock = Clock::system();
        let (coordinator_end, worker_end) = memory::bus();
        let parts = Parts {
            store: Arc::clone(&store),
            limits: Limits::default(),
            reported: Vec::new(),
            bus: coordinator_end,
            clock: clock.clone(),
            seed: identity::seed(),
            merges: Arc::new(Notify::new()),
        };
        let (coordinator, engine) = Dispatch::start(parts).await?;
        let (sender, stamps) = mpsc::channel(usize::try_from(slots)?.max(1_024));
        let end = CancellationToken::new();
        let mut dispatch = JoinSet::new();
        dispatch.spawn(coordinator.run(end.clone()));
        let mut parts = JoinSet::new();
        parts.spawn(noop::work(worker_end, slots, sender));
        parts.spawn(checkpoints(Arc::clone(&store)));
        Ok(Self { store, engine, identity: Identity::new(clock), stamps, parts, dispatch, end })
    }

    /// All tasks at once: how many life-cycles per second.
    async fn saturate(&mut self, load: Load, figures: &mut Figures) -> Result<()> {
        let submission = self.submission(load.tasks, load.slots);
        let events = self.engine.watch();
        let (begin, cpu_begin) = (Instant::now(), cpu_seconds()?);
        let run = self.submit(submission).await?;
        figures.add("submit_all", "ms", begin.elapsed().as_secs_f64() * 1_000.0);
        let mut finished = JoinSet::new();
        finished.spawn(end_of(run, events, self.engine.clone()));
        let mut turns = Vec::new();
        let commits = loop {
            tokio::select! {
                Some(commits) = finished.join_next() => break commits??,
                Some(stamps) = self.stamps.recv() => {
                    turns.push(stamps.finished.duration_since(stamps.granted));
                }
                Some(ended) = self.parts.join_next() => ended_early(ended?)?,
                () = tokio::time::sleep(PATIENCE) => bail!("nothing has happened for {PATIENCE:?}"),
            }
        };
        let took = begin.elapsed();
        let cpu = cpu_seconds()? - cpu_begin;
        let tasks = usize::try_from(load.tasks)?;
        let events = tasks * usize::try_from(EVENTS_OF_TASK)?;
        figures.add("tasks", "/s", rate(tasks, took));
        figures.add("events", "/s", rate(events, took));
        figures.add("commits", "/s", rate(commits, took));
        figures.add("events_of_commit", "mean", events as f64 / commits as f64);
        figures.add("cpu_of_task", "ms", cpu * 1_000.0 / f64::from(load.tasks));
        while turns.len() < tasks {
            let stamps = self.stamps.recv().await.context("the worker has stopped")?;
            turns.push(stamps.finished.duration_since(stamps.granted));
        }
        figures.add("grant_to_done_p50", "ms", percentile_ms(&mut turns, 50));
        figures.add("grant_to_done_p99", "ms", percentile_ms(&mut turns, 99));
        Ok(())
    }

    /// One task at a time: how long an idle worker takes to start it.
    async fn trickle(&mut self, samples: u32, figures: &mut Figures) -> Result<()> {
        let mut starts = Vec::new();
        let mut reports = Vec::new();
        let mut cycles = Vec::new();
        for _ in 0..samples {
            let submission = self.submission(1, 1);
            let begin = Instant::now();
            self.submit(submission).await?;
            let stamps = tokio::select! {
                stamps = self.stamps.recv() => stamps.context("the worker has stopped")?,
                () = tokio::time::sleep(PATIENCE) => bail!("a task didn't start within {PATIENCE:?}"),
            };
            starts.push(stamps.granted.duration_since(begin));
            reports.push(stamps.started.duration_since(begin));
            cycles.push(stamps.finished.duration_since(begin));
        }
        figures.add("idle_start_p50", "ms", percentile_ms(&mut starts, 50));
        figures.add("idle_start_p99", "ms", percentile_ms(&mut starts, 99));
        figures.add("idle_start_recorded_p50", "ms", percentile_ms(&mut reports, 50));
        figures.add("idle_start_recorded_p99", "ms", percentile_ms(&mut reports, 99));
        figures.add("idle_done_p50", "ms", percentile_ms(&mut cycles, 50));
        figures.add("idle_done_p99", "ms", percentile_ms(&mut cycles, 99));
        Ok(())
    }

    /// Ends it, and compares what the store holds with what has happened.
    async fn finish(mut self, load: Load) -> Result<()> {
        self.parts.shutdown().await;
        self.end.cancel();
        while let Some(ended) = self.dispatch.join_next().await {
            ended??;
        }
        let runs = u64::from(load.samples) + 1;
        let tasks = u64::from(load.tasks) + u64::from(load.samples);
        let expected = 1 + runs * EVENTS_OF_RUN + tasks * EVENTS_OF_TASK;
        // Also fails at a gap in the numbers, and where the tables don't follow from the log.
        let folded = self.store.verify_fold(Limits::default()).await?;
        ensure!(
            folded.events == expected,
            "the log has {} events; {tasks} tasks in {runs} runs and a worker make {expected}",
            folded.events,
        );
        let states = self.store.task_counts(RunId(1)).await?;
        let succeeded = states.get("succeeded").copied().unwrap_or(0);
        ensure!(succeeded == load.tasks, "{succeeded} of {} tasks have succeeded", load.tasks);
        Ok(self.store.close().await?)
    }

    async fn submit(&self, submission: Submission) -> Result<RunId> {
        match self.engine.give(Input::Submit(submission)).await?? {
            Answer::Submitted(run) => Ok(run),
            other => bail!("a submission was answered with {other:?}"),
        }
    }

    fn submission(&self, tasks: u32, concurrency: u32) -> Submission {
        let spec = RunSpec {
            uid: self.identity.mint(),
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
            agent: AGENT.into(),
            repository: "none".into(),
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

/// Waits for the end of a run, as a surface would. Returns how many commits that took.
async fn end_of(
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

fn ended_early(ended: Result<()>) -> Result<()> {
    ended?;
    bail!("a part has ended before its work was done")
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
