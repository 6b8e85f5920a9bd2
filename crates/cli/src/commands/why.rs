//! `kapelle why`.

use clap::Args;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;

/// What `why` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle why 1.3              a task, or a work stream that no run has
  kapelle why r-42/1.3 -o json")]
pub struct WhyArgs {
    /// The task or work stream
    id: String,
}

impl WhyArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let why = app.with(Need::Read, async |client: &Client| client.why(&self.id).await).await?;
        app.console.show(&why)?;
        Ok(Exit::Ok)
    }
}
