//! `bench`: measures the product on the machine at hand.
//!
//! Whatever is measured stands beside what the machine itself can do, taken in the same run:
//! figures of two machines, or of one machine on two days, compare by these ratios only.
//! A measurement checks its own work: a run that is fast and loses an event fails.

mod engine;
mod figures;
mod floors;
mod noop;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

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
    Engine(Options),
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Tasks that are submitted at once
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// Attempts that the worker makes at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Tasks that are given one by one to an idle worker
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// How often everything is measured; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where the store lies: a directory on a disk [default: the system's temporary directory]
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Also write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Leave out what the machine can do by itself
    #[arg(long)]
    skip_floors: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Measure::Engine(options) = Cli::parse().measure;
    let parent = options.directory.clone().unwrap_or_else(std::env::temp_dir);
    require_disk(&parent)?;
    let mut figures = Figures::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        let directory = tempfile::tempdir_in(&parent)
            .with_context(|| format!("making a directory in {}", parent.display()))?;
        if !options.skip_floors {
            floors::measure(directory.path(), &mut figures)?;
        }
        let load =
            engine::Load { tasks: options.tasks, slots: options.slots, samples: options.samples };
        engine::measure(directory.path(), load, &mut figures).await?;
    }
    figures.derive_ratios();
    print!("{}", figures.table());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report(&options, &figures))?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
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

fn report(options: &Options, figures: &Figures) -> serde_json::Value {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "optimized": !cfg!(debug_assertions),
        "cores": cores,
        "durability": "SQLite, write-ahead log, synchronous FULL",
        "tasks": options.tasks,
        "slots": options.slots,
        "samples": options.samples,
        "rounds": options.rounds,
        "figures": figures.json(),
    })
}
