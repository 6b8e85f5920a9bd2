//! A fleet at full load for minutes: nothing may pile up in the coordinator, and nothing may be left
//! on the server.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream;
use futures_util::TryStreamExt as _;
use kapelle_domain::command::CommandKind;
use kapelle_domain::engine::Scope;

use super::{Fleet, Load, give, resident_kib};
use crate::figures::{Figures, rate};
use crate::noop;
use crate::stage::{self, end_of};

/// By how much the memory of the last quarter may exceed that of the second: the allocator's play.
const GROWTH_MAX: f64 = 1.25;

/// Works for `span`: runs of tasks that end at once, that print, and that wait until they are
/// stopped, one after the other.
///
/// # Errors
/// When something fails, memory grows, or something is left behind.
pub(crate) async fn measure(
    directory: &Path,
    load: Load,
    span: Duration,
    figures: &mut Figures,
) -> Result<()> {
    let mut fleet = Fleet::set_up(directory, load.workers, load.slots).await?;
    let begin = Instant::now();
    let mut tasks = 0;
    let mut memory: Vec<(Duration, u32)> = Vec::new();
    while begin.elapsed() < span {
        tasks += round(&mut fleet, load).await?;
        memory.push((begin.elapsed(), resident_kib()?));
    }
    let took = begin.elapsed();
    let left = offers_left(&fleet.nats.url()).await?;
    fleet.finish().await?;
    ensure!(left == 0, "{left} messages are left in the streams of offers");
    let highest = |from: u32| {
        let quarter = |number| took * number / 4;
        let within = |at: &Duration| (quarter(from)..quarter(from + 1)).contains(at);
        let sizes = memory.iter().filter(|(at, _)| within(at)).map(|(_, size)| *size);
        sizes.max().map(|kib| f64::from(kib) / 1_024.0).context("a quarter without a round")
    };
    let (early, late) = (highest(1)?, highest(3)?);
    figures.add(load.named("tasks while soaking"), "/s", rate(usize::try_from(tasks)?, took));
    figures.add(load.named("memory in the second quarter, at most"), "MiB", early);
    figures.add(load.named("memory in the last quarter, at most"), "MiB", late);
    ensure!(late <= early * GROWTH_MAX, "memory has grown from {early:.1} to {late:.1} MiB");
    Ok(())
}

/// One run of each kind. Returns how many tasks there were.
async fn round(fleet: &mut Fleet, load: Load) -> Result<u32> {
    let stage = &mut fleet.stage;
    let slots = load.slots_of_all();
    let (noops, talks) = (load.tasks, slots.min(super::TALKERS_MAX));
    let held = slots.min(super::HELD_MAX);
    for (agent, tasks) in [(noop::AGENT, noops), (noop::TALK, talks)] {
        let submission = stage.submission(agent, tasks, slots);
        let course = stage.complete(submission).await?;
        stage::all_succeeded(&stage.store, course.run, tasks).await?;
    }
    let engine = stage.engine.clone();
    let mut events = engine.watch();
    let submission = stage.submission(noop::HOLD, held, held);
    let run = stage.submit(submission).await?;
    stage.wait(super::started(&mut events, run, held)).await?;
    let ended = end_of(run, engine.watch(), engine.clone());
    give(&engine, Scope::Run(run), CommandKind::Stop).await?;
    stage.wait(ended).await?;
    Ok(noops + talks + held)
}

/// How many messages the streams hold that are no files.
async fn offers_left(url: &str) -> Result<u64> {
    let client = async_nats::connect(url).await.context("connecting to nats-server")?;
    let streams: Vec<_> = jetstream::new(client).streams().try_collect().await?;
    let offers = streams.iter().filter(|stream| !stream.config.name.starts_with("OBJ_"));
    Ok(offers.map(|stream| stream.state.messages).sum())
}
