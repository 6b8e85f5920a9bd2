//! A fleet over a real nats-server: life-cycles, claims, commands and output of many workers, and
//! what a worker costs the coordinator.
//!
//! The coordinator's parts are in this process, all workers in another one ([`workers`]), each with
//! connections of its own. Git, processes, checks and HTTP are left out.

mod crew;
pub(crate) mod soak;
pub(crate) mod workers;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kapelle_bus::nats::{NatsCoordinator, NatsOptions};
use kapelle_coordinator::dispatch::Engine;
use kapelle_coordinator::transcripts::Transcripts;
use kapelle_domain::command::{CommandKind, CommandState};
use kapelle_domain::engine::{Answer, Input, Scope};
use kapelle_domain::event::{Event, Recorded, TaskEvent, WorkerEvent};
use kapelle_domain::ids::{RunId, TaskId};
use kapelle_tests::NatsServer;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::figures::{Figures, percentile_ms, rate};
use crate::floors::nats::{self, Floor};
use crate::noop;
use crate::stage::{self, Stage};
use crew::Crew;

/// Attempts that wait to be told something, at most.
const HELD_MAX: u32 = 1_000;

/// Attempts that print at once, at most.
const TALKERS_MAX: u32 = 64;

/// What is given to a fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) workers: u32,
    /// Of each worker.
    pub(crate) slots: u32,
    /// Tasks at once.
    pub(crate) tasks: u32,
    /// Commands, one after the other.
    pub(crate) commands: u32,
}

impl Load {
    fn slots_of_all(self) -> u32 {
        self.workers.saturating_mul(self.slots)
    }

    fn named(self, what: &str) -> String {
        format!("{} workers: {what}", self.workers)
    }
}

/// A fleet at work.
struct Fleet {
    stage: Stage,
    crew: Crew,
    bus: NatsCoordinator,
    nats: NatsServer,
}

impl Fleet {
    async fn set_up(directory: &Path, workers: u32, slots: u32) -> Result<Self> {
        let nats = NatsServer::start();
        let store = stage::store(directory).await?;
        let term = store.term().context("the store leads")?;
        let bus = NatsCoordinator::connect(&NatsOptions::new(vec![nats.url()]), term).await?;
        let mut stage = Stage::set_up(store, bus.clone()).await?;
        let transcripts = Transcripts::new(directory.join("transcripts"));
        let output = bus.clone();
        stage.tend(async move {
            transcripts.collect(output).await;
            Ok(())
        });
        let mut events = stage.engine.watch();
        let crew = Crew::start(&mut stage, &nats.url(), workers, slots)?;
        let mut missing = workers;
        stage
            .wait(async {
                while missing > 0 {
                    let registered = |event: &Event| {
                        matches!(event, Event::Worker { event: WorkerEvent::Registered { .. }, .. })
                    };
                    let batch = events.recv().await?;
                    let new = batch.iter().filter(|recorded| registered(&recorded.event)).count();
                    missing = missing.saturating_sub(u32::try_from(new)?);
                }
                Ok(())
            })
            .await?;
        Ok(Self { stage, crew, bus, nats })
    }

    /// Ends it. Returns how long each claim has waited for its answer.
    async fn finish(mut self) -> Result<Vec<Duration>> {
        let claims = self.crew.finish(&mut self.stage).await?;
        let (store, _) = self.stage.finish().await?;
        kapelle_bus::CoordinatorEnd::close(&self.bus).await;
        store.close().await?;
        drop(self.nats);
        Ok(claims)
    }
}

/// Measures one size of a fleet once.
///
/// # Errors
/// When something fails, or when the store doesn't hold exactly what has happened.
pub(crate) async fn measure(
    directory: &Path,
    load: Load,
    floor: Floor,
    figures: &mut Figures,
) -> Result<()> {
    let mut fleet = Fleet::set_up(directory, load.workers, load.slots).await?;
    saturate(&mut fleet.stage, load, floor, figures).await?;
    command(&mut fleet.stage, load, floor, figures).await?;
    print(&mut fleet.stage, load, figures).await?;
    let mut claims = fleet.finish().await?;
    let p50 = percentile_ms(&mut claims, 50);
    figures.add(load.named("claim p50"), "ms", p50);
    figures.add(load.named("claim p99"), "ms", percentile_ms(&mut claims, 99));
    figures.add(load.named("claim p50 per round trip"), "ratio", p50 / floor.round_trip_p50_ms);
    Ok(())
}

/// Measures what idle workers cost the coordinator.
///
/// # Errors
/// When something fails.
pub(crate) async fn measure_idle(
    directory: &Path,
    workers: u32,
    figures: &mut Figures,
) -> Result<()> {
    // What connecting and the first worker cost anyhow is not counted.
    Fleet::set_up(&made(directory.join("first"))?, 1, 1).await?.finish().await?;
    let before = resident_kib()?;
    let fleet = Fleet::set_up(&made(directory.join("all"))?, workers, 1).await?;
    let grown = resident_kib()?.saturating_sub(before);
    figures.add(
        format!("coordinator's memory for {workers} idle workers"),
        "MiB",
        f64::from(grown) / 1_024.0,
    );
    fleet.finish().await?;
    Ok(())
}

fn made(directory: std::path::PathBuf) -> Result<std::path::PathBuf> {
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("making {}", directory.display()))?;
    Ok(directory)
}

/// All tasks at once.
async fn saturate(
    stage: &mut Stage,
    load: Load,
    floor: Floor,
    figures: &mut Figures,
) -> Result<()> {
    let submission = stage.submission(noop::AGENT, load.tasks, load.slots_of_all());
    let course = stage.complete(submission).await?;
    stage::all_succeeded(&stage.store, course.run, load.tasks).await?;
    let tasks = rate(usize::try_from(load.tasks)?, course.took);
    let events = crate::engine::EVENTS_OF_TASK as f64;
    figures.add(load.named("tasks"), "/s", tasks);
    figures.add(load.named("events"), "/s", tasks * events);
    figures.add(load.named("tasks per acknowledged publish"), "ratio", tasks / floor.publishes);
    let cpu = course.cpu_seconds * 1_000.0 / f64::from(load.tasks);
    figures.add(load.named("coordinator's processor time of a task"), "ms", cpu);
    Ok(())
}

/// Commands to attempts that wait for them: when nothing else happens, and beside a full load; then
/// the end of all of them at once.
async fn command(stage: &mut Stage, load: Load, floor: Floor, figures: &mut Figures) -> Result<()> {
    let held = (load.slots_of_all() / 2).clamp(1, HELD_MAX);
    let submission = stage.submission(noop::HOLD, held, held);
    let engine = stage.engine.clone();
    let mut events = engine.watch();
    let run = stage.submit(submission).await?;
    stage.wait(started(&mut events, run, held)).await?;
    let mut idle = stage.wait(pings(&engine, run, held, load.commands)).await?;
    let p50 = percentile_ms(&mut idle, 50);
    figures.add(load.named("command applied p50"), "ms", p50);
    figures.add(load.named("command applied p99"), "ms", percentile_ms(&mut idle, 99));
    let ratio = p50 / floor.round_trip_p50_ms;
    figures.add(load.named("command applied p50 per round trip"), "ratio", ratio);

    let free = load.slots_of_all().saturating_sub(held).max(1);
    let noise = stage.submission(noop::AGENT, load.tasks, free);
    let pinged = pings(&engine, run, held, load.commands);
    let (course, busy) = tokio::join!(stage.complete(noise), pinged);
    stage::all_succeeded(&stage.store, course?.run, load.tasks).await?;
    let mut busy = busy?;
    figures.add(
        load.named("command applied p50 beside a full load"),
        "ms",
        percentile_ms(&mut busy, 50),
    );
    figures.add(
        load.named("command applied p99 beside a full load"),
        "ms",
        percentile_ms(&mut busy, 99),
    );

    let begin = Instant::now();
    let ended = crate::stage::end_of(run, engine.watch(), engine.clone());
    give(&engine, Scope::Run(run), CommandKind::Stop).await?;
    stage.wait(ended).await?;
    let took = begin.elapsed().as_secs_f64() * 1_000.0;
    figures.add(load.named(&format!("{held} attempts stopped at once")), "ms", took);
    Ok(())
}

/// Waits until so many attempts of a run have started.
async fn started(
    events: &mut broadcast::Receiver<Arc<Vec<Recorded>>>,
    run: RunId,
    mut missing: u32,
) -> Result<()> {
    let started = |event: &Event| matches!(event, Event::Task { task, event: TaskEvent::Started { .. } } if task.run == run);
    while missing > 0 {
        let batch = events.recv().await.context("waiting for attempts to start")?;
        let count = batch.iter().filter(|recorded| started(&recorded.event)).count();
        missing = missing.saturating_sub(u32::try_from(count)?);
    }
    Ok(())
}

/// Commands to one attempt after the other, each from the call until its effect is committed.
async fn pings(engine: &Engine, run: RunId, held: u32, count: u32) -> Result<Vec<Duration>> {
    let mut samples = Vec::new();
    for number in 0..count {
        let task = TaskId { run, index: number % held };
        let mut events = engine.watch();
        let begin = Instant::now();
        give(engine, Scope::Task(task), CommandKind::Ping).await?;
        let applied = |event: &Event| {
            let Event::Task { task: found, event: TaskEvent::CommandSettled { state, .. } } = event
            else {
                return false;
            };
            *found == task && matches!(state, CommandState::Applied { .. })
        };
        loop {
            match events.recv().await {
                Ok(batch) if batch.iter().any(|recorded| applied(&recorded.event)) => break,
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => bail!("{missed} commits were missed"),
                Err(RecvError::Closed) => bail!("the coordinator has stopped"),
            }
        }
        samples.push(begin.elapsed());
    }
    Ok(samples)
}

async fn give(engine: &Engine, scope: Scope, kind: CommandKind) -> Result<()> {
    let text = "the benchmark says so".to_owned();
    match engine.give(Input::Command { scope, kind, text, request: None }).await?? {
        Answer::Commanded(receipts) => {
            ensure!(!receipts.is_empty(), "a command concerned nobody");
            Ok(())
        }
        other => bail!("a command was answered with {other:?}"),
    }
}

/// Output of many attempts at once, each line answered when it is in its transcript.
async fn print(stage: &mut Stage, load: Load, figures: &mut Figures) -> Result<()> {
    let talkers = load.slots_of_all().min(TALKERS_MAX);
    let submission = stage.submission(noop::TALK, talkers, talkers);
    let course = stage.complete(submission).await?;
    stage::all_succeeded(&stage.store, course.run, talkers).await?;
    let lines = u64::from(talkers) * noop::CHUNKS * noop::LINES;
    figures.add(load.named("lines of output"), "/s", rate(usize::try_from(lines)?, course.took));
    Ok(())
}

/// What this process keeps in memory.
fn resident_kib() -> Result<u32> {
    let text = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|line| line.trim().strip_suffix("kB"));
    value.context("/proc/self/status has no VmRSS")?.trim().parse().context("reading VmRSS")
}

/// What the server can do without us.
///
/// # Errors
/// When it can't be asked.
pub(crate) async fn floor(figures: &mut Figures) -> Result<Floor> {
    let server = NatsServer::start();
    nats::measure(&server.url(), figures).await
}
