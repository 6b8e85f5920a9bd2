//! Tasks that do nothing, through the coordinator's own parts on the bus of one process. No git, no
//! processes, no HTTP.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kapelle_bus::memory;
use kapelle_domain::ids::RunId;
use tokio::sync::mpsc;

use crate::figures::{Figures, percentile_ms, rate};
use crate::noop::{self, Place, Stamps};
use crate::stage::{self, Stage};

/// Events of each task: submitted, offered, claimed, started, ended, succeeded.
pub(crate) const EVENTS_OF_TASK: u64 = 6;

/// Events of each run: submitted, finished.
const EVENTS_OF_RUN: u64 = 2;

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

/// Measures everything once.
///
/// # Errors
/// When something fails, or when the store doesn't hold exactly what has happened.
pub(crate) async fn measure(directory: &Path, load: Load, figures: &mut Figures) -> Result<()> {
    let (coordinator_end, worker_end) = memory::bus();
    let mut stage = Stage::set_up(stage::store(directory).await?, coordinator_end).await?;
    let (sender, mut stamps) = mpsc::channel(usize::try_from(load.slots)?.max(1_024));
    stage.tend(noop::work(worker_end, Place::embedded("bench", load.slots), sender));
    let run = saturate(&mut stage, &mut stamps, load, figures).await?;
    trickle(&mut stage, &mut stamps, load.samples, figures).await?;
    let (store, found) = stage.finish().await?;
    let runs = u64::from(load.samples) + 1;
    let tasks = u64::from(load.tasks) + u64::from(load.samples);
    let expected = 1 + runs * EVENTS_OF_RUN + tasks * EVENTS_OF_TASK;
    ensure!(
        found == expected,
        "the log has {found} events; {tasks} tasks in {runs} runs and a worker make {expected}",
    );
    stage::all_succeeded(&store, run, load.tasks).await?;
    Ok(store.close().await?)
}

/// All tasks at once: how many life-cycles per second.
async fn saturate(
    stage: &mut Stage,
    stamps: &mut mpsc::Receiver<Stamps>,
    load: Load,
    figures: &mut Figures,
) -> Result<RunId> {
    let submission = stage.submission(noop::AGENT, load.tasks, load.slots);
    let mut turns = Vec::new();
    let course = tokio::select! {
        course = stage.complete(submission) => course?,
        () = collect(stamps, &mut turns) => bail!("the worker has stopped"),
    };
    let tasks = usize::try_from(load.tasks)?;
    let events = tasks * usize::try_from(EVENTS_OF_TASK)?;
    figures.add("submit_all", "ms", course.submitting.as_secs_f64() * 1_000.0);
    figures.add("tasks", "/s", rate(tasks, course.took));
    figures.add("events", "/s", rate(events, course.took));
    figures.add("commits", "/s", rate(course.commits, course.took));
    figures.add("events_of_commit", "mean", events as f64 / course.commits as f64);
    figures.add("cpu_of_task", "ms", course.cpu_seconds * 1_000.0 / f64::from(load.tasks));
    while turns.len() < tasks {
        turns.push(stamps.recv().await.context("the worker has stopped")?.turn());
    }
    figures.add("grant_to_done_p50", "ms", percentile_ms(&mut turns, 50));
    figures.add("grant_to_done_p99", "ms", percentile_ms(&mut turns, 99));
    Ok(course.run)
}

/// Collects what attempts took, until the worker stops.
async fn collect(stamps: &mut mpsc::Receiver<Stamps>, turns: &mut Vec<Duration>) {
    while let Some(stamps) = stamps.recv().await {
        turns.push(stamps.turn());
    }
}

/// One task at a time: how long an idle worker takes to start it.
async fn trickle(
    stage: &mut Stage,
    stamps: &mut mpsc::Receiver<Stamps>,
    samples: u32,
    figures: &mut Figures,
) -> Result<()> {
    let mut starts = Vec::new();
    let mut reports = Vec::new();
    let mut cycles = Vec::new();
    for _ in 0..samples {
        let submission = stage.submission(noop::AGENT, 1, 1);
        let begin = Instant::now();
        stage.submit(submission).await?;
        let next = async { stamps.recv().await.context("the worker has stopped") };
        let stamps = stage.wait(next).await?;
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
