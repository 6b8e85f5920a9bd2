//! `kapelle workers`, `cordon`, `uncordon` and `drain`.

use clap::Args;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::render::Workers;
use crate::view::WorkerDuty;

/// What `workers` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle workers
  kapelle workers -o json")]
pub struct WorkersArgs {}

/// What `cordon` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle cordon big

What it has goes on. `kapelle uncordon` gives it new work again.")]
pub struct CordonArgs {
    /// The worker
    worker: String,
}

/// What `uncordon` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle uncordon big")]
pub struct UncordonArgs {
    /// The worker
    worker: String,
}

/// What `drain` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle drain big            it finishes what it has, and ends")]
pub struct DrainArgs {
    /// The worker
    worker: String,
}

impl WorkersArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let workers = app.with(Need::Read, async |client: &Client| client.workers().await).await?;
        app.console.show(&Workers(workers))?;
        Ok(Exit::Ok)
    }
}

impl CordonArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        set_duty(app, &self.worker, WorkerDuty::Cordoned).await
    }
}

impl UncordonArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        set_duty(app, &self.worker, WorkerDuty::Active).await
    }
}

impl DrainArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        set_duty(app, &self.worker, WorkerDuty::Draining).await
    }
}

async fn set_duty(app: &App, worker: &str, duty: WorkerDuty) -> Result<Exit, Error> {
    let view =
        app.with(Need::Write, async |client: &Client| client.set_duty(worker, duty).await).await?;
    app.console.show(&Workers(vec![view]))?;
    Ok(Exit::Ok)
}
