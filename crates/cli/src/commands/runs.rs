//! `kapelle runs`.

use clap::Args;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::Format;

/// What `runs` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle runs
  kapelle runs -n 5 -q
  kapelle runs --before r-40")]
pub struct RunsArgs {
    /// How many, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those that are older than this one
    #[arg(long, value_name = "RUN")]
    before: Option<String>,
}

impl RunsArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let before = self.before.as_deref();
        let page = app
            .with(Need::Read, async |client: &Client| client.runs(before, self.limit).await)
            .await?;
        app.console.show(&page)?;
        if let Some(next) = page.next.as_deref().filter(|_| app.console.format() == Format::Table) {
            app.console.hint(&format!("older ones: kapelle runs --before {next}"));
        }
        Ok(Exit::Ok)
    }
}
