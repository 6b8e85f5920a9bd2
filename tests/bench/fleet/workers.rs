//! The workers of a fleet, all in one process, each with connections of its own. They work until
//! standard input is closed, and then print how long each claim has waited, in microseconds.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use kapelle_bus::nats::{NatsOptions, NatsWorker};
use kapelle_domain::ids::WorkerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::noop::{self, Place};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The server
    #[arg(long)]
    nats: String,
    /// How many
    #[arg(long)]
    workers: u32,
    /// Attempts that each makes at once
    #[arg(long)]
    slots: u32,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let (sender, mut stamps) = mpsc::channel(4_096);
    let mut workers = JoinSet::new();
    for number in 0..options.workers {
        let nats = NatsOptions::new(vec![options.nats.clone()]);
        let place =
            Place { name: format!("bench-{number}"), slots: options.slots, embedded: false };
        let sender = sender.clone();
        workers.spawn(async move {
            let id = WorkerId(place.name.clone());
            let bus = NatsWorker::connect(&nats, &id).await.context("connecting a worker")?;
            noop::work(bus, place, sender).await
        });
    }
    let mut claims = Vec::new();
    let mut closed = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    loop {
        tokio::select! {
            read = &mut closed => {
                let nothing = read?.context("reading standard input")? == 0;
                ensure!(nothing, "standard input is only there to be closed");
                break;
            }
            Some(ended) = workers.join_next() => ended??,
            Some(stamps) = stamps.recv() => {
                claims.push(stamps.granted.duration_since(stamps.claimed).as_micros());
            }
        }
    }
    println!("{}", serde_json::to_string(&claims)?);
    Ok(())
}
