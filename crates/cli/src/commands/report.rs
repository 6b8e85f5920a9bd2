//! `kapelle report`.

use clap::Args;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::render::markdown;

/// What `report` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle report               the newest run
  kapelle report r-42 --json
  kapelle report --markdown > report.md")]
pub struct ReportArgs {
    /// Which run
    #[arg(default_value = "@last")]
    run: String,
    /// As a Markdown document
    #[arg(long, conflicts_with_all = ["json", "output"])]
    markdown: bool,
}

impl ReportArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let report =
            app.with(Need::Read, async |client: &Client| client.report(&self.run).await).await?;
        if self.markdown {
            app.console.data(&markdown(&report, &app.console.out()))?;
        } else {
            app.console.show(&report)?;
        }
        Ok(Exit::Ok)
    }
}
