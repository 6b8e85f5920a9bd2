//! `bench`: measures the product on the machine at hand.
//!
//! Whatever is measured stands beside what the machine itself can do, taken in the same run:
//! figures of two machines, or of one machine on two days, compare by these ratios only.
//! A measurement checks its own work: a run that is fast and loses an event fails.

mod engine;
mod figures;
mod fleet;
mod floors;
mod noop;
mod stage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use figures::Figures;

/// Measures the product beside the machine that it runs on
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// Life-cycles of tasks that do nothing: submit, claim, start, done
    Engine(EngineOptions),
    /// Many workers over a real nats-server: tasks, claims, commands, output, memory
    Fleet(FleetOptions),
    /// A fleet at full load for minutes: does memory stay flat, is anything left behind
    Soak(SoakOptions),
    /// The workers of a fleet that is measured
    #[command(hide = true)]
    FleetWorkers(fleet::workers::Options),
}

/// What every measurement has.
#[derive(Debug, clap::Args)]
struct Options {
    /// Where the store lies: a directory on a disk [default: the system's temporary directory]
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Also write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What is measured several times.
#[derive(Debug, clap::Args)]
struct Rounds {
    /// How often everything is measured; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Leave out what the machine can do by itself
    #[arg(long)]
    skip_floors: bool,
}

#[derive(Debug, clap::Args)]
struct EngineOptions {
    /// Tasks that are submitted at once
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// Attempts that the worker makes at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Tasks that are given one by one to an idle worker
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    #[command(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
struct FleetOptions {
    /// Sizes of the fleet
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100],
        value_parser = clap::value_parser!(u32).range(1..))]
    workers: Vec<u32>,
    /// Attempts that each worker makes at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Tasks that are submitted at once
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// Commands that are given one after the other
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    commands: u32,
    /// Idle workers whose cost is measured
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    idle: u32,
    #[command(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
struct SoakOptions {
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// How many workers there are
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Attempts that each worker makes at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Tasks that end at once, in each round
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().measure {
        Measure::Engine(engine) => measure_engine(&engine).await,
        Measure::Fleet(fleet) => measure_fleet(&fleet).await,
        Measure::Soak(soak) => measure_soak(&soak).await,
        Measure::FleetWorkers(options) => fleet::workers::run(options).await,
    }
}

async fn measure_engine(chosen: &EngineOptions) -> Result<()> {
    let Rounds { rounds, skip_floors } = chosen.rounds;
    let load = engine::Load { tasks: chosen.tasks, slots: chosen.slots, samples: chosen.samples };
    let mut figures = Figures::default();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let directory = chosen.options.place()?;
        if !skip_floors {
            floors::measure(directory.path(), &mut figures)?;
        }
        engine::measure(directory.path(), load, &mut figures).await?;
    }
    figures.derive_ratios();
    let sizes = json!({ "tasks": load.tasks, "slots": load.slots, "samples": load.samples,
        "rounds": rounds });
    chosen.options.report("engine", sizes, &figures)
}

async fn measure_fleet(chosen: &FleetOptions) -> Result<()> {
    let Rounds { rounds, skip_floors } = chosen.rounds;
    let options = &chosen.options;
    let mut figures = Figures::default();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        if !skip_floors {
            floors::measure(options.place()?.path(), &mut figures)?;
        }
        let floor = fleet::floor(&mut figures).await?;
        for &workers in &chosen.workers {
            eprintln!("  {workers} at work");
            let (slots, tasks, commands) = (chosen.slots, chosen.tasks, chosen.commands);
            let load = fleet::Load { workers, slots, tasks, commands };
            fleet::measure(options.place()?.path(), load, floor, &mut figures).await?;
        }
        eprintln!("  {} idle", chosen.idle);
        fleet::measure_idle(options.place()?.path(), chosen.idle, &mut figures).await?;
    }
    let sizes = json!({ "workers": chosen.workers, "slots": chosen.slots, "tasks": chosen.tasks,
        "commands": chosen.commands, "idle": chosen.idle, "rounds": rounds });
    options.report("fleet", sizes, &figures)
}

async fn measure_soak(chosen: &SoakOptions) -> Result<()> {
    let (workers, slots, tasks) = (chosen.workers, chosen.slots, chosen.tasks);
    let load = fleet::Load { workers, slots, tasks, commands: 0 };
    let span = Duration::from_secs(u64::from(chosen.minutes) * 60);
    let mut figures = Figures::default();
    let directory = chosen.options.place()?;
    fleet::soak::measure(directory.path(), load, span, &mut figures).await?;
    let sizes = json!({ "workers": workers, "slots": slots, "tasks": tasks,
        "minutes": chosen.minutes });
    chosen.options.report("soak", sizes, &figures)
}

impl Options {
    /// A place for one more store.
    fn place(&self) -> Result<tempfile::TempDir> {
        let parent = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        require_disk(&parent)?;
        tempfile::tempdir_in(&parent)
            .with_context(|| format!("making a directory in {}", parent.display()))
    }

    fn report(&self, measured: &str, sizes: Value, figures: &Figures) -> Result<()> {
        print!("{}", figures.table());
        let Some(path) = &self.json else { return Ok(()) };
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let report = json!({
            "measured": measured,
            "version": env!("CARGO_PKG_VERSION"),
            "optimized": !cfg!(debug_assertions),
            "cores": cores,
            "durability": "SQLite, write-ahead log, synchronous FULL",
            "sizes": sizes,
            "figures": figures.json(),
        });
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }
}

/// Commits to memory are no commits.
fn require_disk(directory: &Path) -> Result<()> {
    let file_system = nix::sys::statfs::statfs(directory)
        .with_context(|| format!("looking at {}", directory.display()))?
        .filesystem_type();
    ensure!(
        file_system != nix::sys::statfs::TMPFS_MAGIC,
        "{} is kept in memory, where nothing is durable; name a directory on a disk with --directory",
        directory.display(),
    );
    Ok(())
}
