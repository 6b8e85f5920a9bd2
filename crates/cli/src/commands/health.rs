//! `kapelle health`: whether the coordinator or the worker of this machine does its work, for
//! containers and their managers. It starts nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::fleet::state_of;
use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::fleet::heard_file;

/// How long a worker may be without an answer of the coordinator.
const UNHEARD_MAX: Duration = Duration::from_secs(60);

/// What `health` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle health            of the coordinator: can it decide and record?
  kapelle health --worker   of the worker: does the coordinator answer it?

Ends with 0 when all is well.")]
pub struct HealthArgs {
    /// Look at this machine's worker
    #[arg(long)]
    worker: bool,
    /// Where the worker keeps what it has; as `kapelle worker --state`
    #[arg(long, value_name = "DIR", requires = "worker", env = "KAPELLE_WORKER_STATE")]
    state: Option<PathBuf>,
}

impl HealthArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        if self.worker {
            return worker(app, self.state);
        }
        let client = app.client().await?;
        client.ready().await?;
        app.console.note("The coordinator is ready.");
        Ok(Exit::Ok)
    }
}

fn worker(app: &App, state: Option<PathBuf>) -> Result<Exit, Error> {
    let path = heard_file(&state.unwrap_or_else(|| state_of(app, None)));
    let heard = std::fs::metadata(&path).and_then(|found| found.modified());
    let age = heard.map_err(Error::file("read", &path))?.elapsed().unwrap_or_default();
    if age > UNHEARD_MAX {
        return Err(Error::Nothing {
            message: format!("the coordinator has not answered for {} s", age.as_secs()),
            hint: Some("look at the worker's log".to_owned()),
        });
    }
    app.console.note("The worker is heard.");
    Ok(Exit::Ok)
}
