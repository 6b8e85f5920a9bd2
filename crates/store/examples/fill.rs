//! How fast a store takes in the life cycles of tasks: `fill [DIRECTORY] [TASKS] [IN_FLIGHT]`.
//!
//! Decides everything as a coordinator would (submitted, offered, claimed, started, ended,
//! succeeded), in batches of what came in since the last commit, and times the commits alone.

#[expect(clippy::expect_used, dead_code, reason = "it is made for the tests")]
#[path = "../tests/suite/stage.rs"]
mod stage;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kapelle_domain::attempt::Outcome;
use kapelle_domain::engine::{Holder, WorkerRequest};
use kapelle_domain::ids::SessionEpoch;
use kapelle_domain::testing::Stage as _;
use kapelle_store::{Checkpoint, Mode, OpenOptions, Store};
use stage::Stage;
use tokio::task::JoinSet;

/// How many tasks a run has.
const RUN: u32 = 1000;

/// What was counted.
#[derive(Default)]
struct Tally {
    events: usize,
    upserts: usize,
    commits: Vec<Duration>,
}

struct Load {
    store: Arc<Store>,
    stage: Stage,
    session: SessionEpoch,
    claimed: Vec<Holder>,
    running: Vec<Holder>,
    tally: Tally,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let tasks: u32 = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let in_flight: usize = arguments.next().map_or(Ok(512), |text| text.parse())?;
    let directory = tempfile::tempdir_in(directory)?;
    let path = directory.path().join("state.db");
    let store = Arc::new(Store::open(OpenOptions { path, mode: Mode::Lead, new_epoch: 1 }).await?);
    let mut upkeep = JoinSet::new();
    upkeep.spawn(checkpoints(Arc::clone(&store)));

    let mut stage = Stage::new();
    let session = stage.register(stage::WORKER, u32::MAX, Vec::new());
    let tally = Tally::default();
    let mut load = Load { store, stage, session, claimed: Vec::new(), running: Vec::new(), tally };
    let began = now();
    for number in 0..tasks.div_ceil(RUN) {
        load.submit(number).await?;
        while !load.stage.offers.is_empty() || !load.claimed.is_empty() || !load.running.is_empty()
        {
            load.turn(in_flight).await?;
        }
        // Its finished runs are of no use here.
        load.stage.attempts.clear();
    }
    report(&load, tasks, began.elapsed())
}

/// What a coordinator does beside its commits.
async fn checkpoints(store: Arc<Store>) -> Result<(), kapelle_store::Error> {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        store.checkpoint(Checkpoint::Passive).await?;
    }
}

impl Load {
    async fn submit(&mut self, number: u32) -> anyhow::Result<()> {
        let specs = (0..RUN).map(|index| stage::task(&format!("t{index}"), &[])).collect();
        self.stage.submit(stage::run(number.into(), RUN), specs);
        self.commit().await
    }

    /// A step further for everything that is in flight, and so many new ones.
    async fn turn(&mut self, in_flight: usize) -> anyhow::Result<()> {
        for holder in std::mem::take(&mut self.running) {
            self.stage.finish(&holder, Outcome::Completed)?;
        }
        for holder in std::mem::take(&mut self.claimed) {
            self.stage.give(WorkerRequest::Started(holder.clone()))?;
            self.running.push(holder);
        }
        let new = self.stage.offers.len().min(in_flight / 3);
        let offers: Vec<_> = self.stage.offers.drain(..new).collect();
        for offer in offers {
            self.claimed.push(self.stage.claim(offer, stage::WORKER, self.session)?);
        }
        self.commit().await
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        let batch = self.stage.batch();
        self.tally.events += batch.events.len();
        self.tally.upserts += 2 * batch.tasks.len() + batch.runs.len();
        let began = now();
        self.store.commit(batch).await?;
        self.tally.commits.push(began.elapsed());
        Ok(())
    }
}

fn report(load: &Load, tasks: u32, total: Duration) -> anyhow::Result<()> {
    let Tally { events, upserts, commits } = &load.tally;
    let mut sorted = commits.clone();
    sorted.sort_unstable();
    let committing: Duration = commits.iter().sum();
    let per_second = |count: f64| count / committing.as_secs_f64();
    let at = |share: usize| sorted.get(sorted.len() * share / 100).copied().unwrap_or_default();
    let bytes = load.store.path().metadata().context("the size of the store")?.len();
    let (events, upserts) = (u32::try_from(*events)?, u32::try_from(*upserts)?);
    let mut out = std::io::stdout();
    writeln!(
        out,
        "tasks     {tasks}: {:.0}/s in commits, {total:.1?} with deciding",
        per_second(tasks.into())
    )?;
    writeln!(out, "events    {events}: {:.0}/s", per_second(events.into()))?;
    writeln!(out, "upserts   {upserts}: {:.0}/s", per_second(upserts.into()))?;
    writeln!(
        out,
        "commits   {}: p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        commits.len(),
        at(50),
        at(99),
        at(100).max(sorted.last().copied().unwrap_or_default())
    )?;
    writeln!(out, "file      {} bytes a task", bytes / u64::from(tasks.max(1)))?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}
