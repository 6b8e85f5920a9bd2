//! `kapelle resume`.

use clap::Args;

use std::time::Duration;

use super::run::{finish, follow, tell};
use super::steer::{give, scope_of};
use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::follow::Follower;
use crate::host::{Connection, Need};
use crate::output::Format;
use crate::view::{CommandRequest, CommandScope, Verb};

/// How long a task that was paused may take to go on before that is said.
const EFFECT: Duration = Duration::from_secs(10);

/// What `resume` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle resume               what was interrupted last, or else the newest run
  kapelle resume r-42
  kapelle resume 1.2           a task, or an open run, that is paused

What has succeeded is not done again. A run that goes on elsewhere is only followed.")]
pub struct ResumeArgs {
    /// Which run, or which paused task
    run: Option<String>,
}

impl ResumeArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        if let Some(id) = &self.run
            && let scope @ (CommandScope::Task { .. } | CommandScope::Attempt { .. }) =
                scope_of(id.clone())
        {
            let request = CommandRequest {
                scope,
                verb: Verb::Resume,
                text: None,
                to: None,
                request_id: None,
            };
            return give(app, request, EFFECT).await;
        }
        let connection = app.connect(Need::Work("resume")).await?;
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
            "running" => lift_pause(client, &run.id).await?,
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

/// Lets what is paused in an open run go on.
async fn lift_pause(client: &Client, id: &str) -> Result<(), Error> {
    let scope = CommandScope::Run { id: id.to_owned() };
    let request =
        CommandRequest { scope, verb: Verb::Resume, text: None, to: None, request_id: None };
    match client.command(&request).await {
        Err(Error::Refused(problem)) if problem.code == "nothing_matches" => Ok(()),
        result => result.map(drop),
    }
}

/// The newest run that is open, or else the newest.
async fn unfinished(client: &Client) -> Result<String, Error> {
    let open = client.status().await?.open_runs;
    let newest = open.into_iter().max_by_key(|run| run.submitted_at);
    Ok(newest.map_or_else(|| "@last".to_owned(), |run| run.id))
}
