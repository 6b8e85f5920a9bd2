//! `kapelle stop`.

use clap::Args;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::{Console, plural};
use crate::view::{RunView, StopAccepted, StopRequest};

/// What `stop` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle stop                 everything; asks when there is more than one run
  kapelle stop r-42
  kapelle stop r-42/1.2 --reason 'wrong direction'
  kapelle stop --all
  kapelle stop --all --except 1.2

What --except names goes on, and with it what it waits for.
Work that has been integrated stays; `kapelle resume` goes on with the rest.")]
pub struct StopArgs {
    /// A run or a task
    id: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Every run, without asking
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// But not this task or work stream; may be given several times
    #[arg(long, value_name = "ID", requires = "all")]
    except: Vec<String>,
}

impl StopArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        app.with(Need::Write, async |client: &Client| self.stop(app, client).await).await
    }

    async fn stop(self, app: &App, client: &Client) -> Result<Exit, Error> {
        let id = match self.id {
            Some(id) => Some(id),
            None if self.all => None,
            None => match scope(&app.console, &client.status().await?.open_runs)? {
                Scope::Everything => None,
                Scope::Run(id) => Some(id),
                Scope::Nothing => {
                    app.console.note("Nothing was stopped.");
                    return Ok(Exit::Ok);
                }
            },
        };
        let stopped =
            stop(client, StopRequest { id, except: self.except, reason: self.reason }).await?;
        app.console.show(&stopped)?;
        if !stopped.tasks.is_empty() {
            app.console.hint("integrated work stays; `kapelle resume` goes on with the rest");
        }
        Ok(Exit::Ok)
    }
}

/// Stops something. That nothing runs is no failure when everything was to be stopped.
pub(super) async fn stop(client: &Client, request: StopRequest) -> Result<StopAccepted, Error> {
    match client.stop(&request).await {
        Err(Error::Refused(problem))
            if request.id.is_none() && problem.code == "nothing_matches" =>
        {
            Ok(StopAccepted { tasks: Vec::new() })
        }
        result => result,
    }
}

/// What is to be stopped.
#[derive(Debug, PartialEq, Eq)]
enum Scope {
    Everything,
    Run(String),
    Nothing,
}

/// Asks which of several runs is meant. Without anybody to ask it is all of them.
fn scope(console: &Console, open: &[RunView]) -> Result<Scope, Error> {
    if open.len() < 2 || console.says_yes() || !console.can_ask() {
        return Ok(Scope::Everything);
    }
    for run in open {
        console.note(&format!("  {}  {}", run.id, run.title));
    }
    let question = format!("Which? An id, `all` for all {}:", plural(open.len(), "run"));
    let answer = console.ask(&question)?.unwrap_or_default();
    chosen(&answer, open)
}

fn chosen(answer: &str, open: &[RunView]) -> Result<Scope, Error> {
    match answer {
        "" => Ok(Scope::Nothing),
        "all" | "a" => Ok(Scope::Everything),
        id if open.iter().any(|run| run.id == id) => Ok(Scope::Run(id.to_owned())),
        other => Err(Error::usage(format!("{other:?} is none of them"), "kapelle stop ID")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;

    #[test]
    fn an_answer_chooses_what_is_stopped() {
        let open = [fixtures::run()];
        let check = |answer, scope| assert_eq!(chosen(answer, &open).ok(), scope, "{answer:?}");
        check("", Some(Scope::Nothing));
        check("all", Some(Scope::Everything));
        check("r-42", Some(Scope::Run("r-42".to_owned())));
        check("r-7", None);
    }
}
