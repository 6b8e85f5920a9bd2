//! `kapelle resume`.

use clap::Args;

use super::run::{finish, follow, tell};
use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::follow::Follower;
use crate::host::{Connection, Need};
use crate::output::Format;

/// What `resume` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle resume               what was interrupted last, or else the newest run
  kapelle resume r-42

What has succeeded is not done again. A run that goes on elsewhere is only followed.")]
pub struct ResumeArgs {
    /// Which run
    run: Option<String>,
}

impl ResumeArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let connection = app.connect(Need::Work).await?;
        let result = self.go_on(app, &connection).await;
        finish(connection, result).await
    }

    async fn go_on(self, app: &App, connection: &Connection) -> Result<Exit, Error> {
        let client = &connection.client;
        let mut follower = Follower::start(app, connection).await?;
        let id = match self.run {
            Some(id) => id,
            None => unfinished(client).await?,
        };
        let mut run = client.run(&id).await?.run;
        match run.state.as_str() {
            // An open run needs no new start: the coordinator goes on with it by itself.
            "running" => {}
            "succeeded" => {
                app.console.note(&format!("{} has succeeded: nothing is left to do.", run.id));
                return tell(app, &client.report(&run.id).await?);
            }
            _ => run = client.resume(&run.id).await?.run,
        }
        match app.console.format() {
            Format::Name => app.console.data(&format!("{}\n", run.id))?,
            Format::Table | Format::Json | Format::Ndjson => {
                app.console.note(&format!("{} {}", run.id, run.title));
            }
        }
        follow(app, connection, &mut follower, &run.id).await
    }
}

/// The newest run that is open, or else the newest.
async fn unfinished(client: &Client) -> Result<String, Error> {
    let open = client.status().await?.open_runs;
    let newest = open.into_iter().max_by_key(|run| run.submitted_at);
    Ok(newest.map_or_else(|| "@last".to_owned(), |run| run.id))
}
