//! `kapelle goal`: what somebody wants, in words.

use clap::Args;

use super::run::{Manner, Wish, start};
use super::stop::stop;
use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::{Format, Show as _, percent};
use crate::view::{GoalView, StatusView, StopRequest};

/// How sure one must be to start work without asking.
const AUTO_MIN: f64 = 0.8;

/// What `goal` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle goal 'build the task parser'
  kapelle goal 'run everything' --auto
  kapelle goal 'start decomposition' --dry-run -o json
  kapelle goal 'who is working?'

It shows what it has understood and asks before it starts anything. With --auto it does not ask,
but only starts what it is at least 80% sure of.")]
pub struct GoalArgs {
    /// What you want
    #[arg(required = true, num_args = 1..)]
    text: Vec<String>,
    /// Start without asking when it is clear enough
    #[arg(long)]
    auto: bool,
    /// Only say what was understood
    #[arg(long)]
    dry_run: bool,
    /// Use this agent instead of the configured one
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
}

impl GoalArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let text = self.text.join(" ");
        let goal = app.with(Need::Read, async |client: &Client| client.goal(&text).await).await?;
        if self.dry_run || app.console.format() == Format::Name {
            app.console.show(&goal)?;
        } else {
            app.console.note(goal.text(&app.console.err()).trim_end());
        }
        if self.dry_run {
            return Ok(Exit::Ok);
        }
        match Action::of(&goal) {
            Action::Run(wish) => {
                if !agreed(app, &goal, self.auto)? {
                    app.console.note("Nothing was started.");
                    return Ok(Exit::Ok);
                }
                let manner = Manner { agent: self.agent, ..Manner::default() };
                start(app, wish, manner, Some(text)).await
            }
            other => other.answer(app).await,
        }
    }
}

/// What a goal amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Starting work.
    Run(Wish),
    /// Nothing is clear enough.
    Suggest,
    /// Showing how things stand.
    Status,
    /// Stopping everything.
    Stop,
    /// Showing who works.
    Running,
    /// Showing what is blocked.
    Blocked,
    /// Saying what can be said.
    Help,
}

impl Action {
    pub(super) fn of(goal: &GoalView) -> Self {
        let ids: Vec<String> = goal.matches.iter().map(|found| found.id.clone()).collect();
        match goal.action.as_str() {
            "run_single" => match ids.into_iter().next() {
                Some(first) => Self::Run(Wish::Streams(vec![first])),
                None => Self::Run(Wish::AsConfigured),
            },
            "run_parallel" if ids.is_empty() => Self::Run(Wish::Parallel(None)),
            "run_parallel" => Self::Run(Wish::Streams(ids)),
            "run_batch" => Self::Run(Wish::Batch(None)),
            "status" => Self::Status,
            "stop" => Self::Stop,
            "list_agents" => Self::Running,
            "unblock" => Self::Blocked,
            "help" => Self::Help,
            // A newer service may know more than we do; what we don't know is not started.
            _ => Self::Suggest,
        }
    }

    /// Does what starts no work.
    async fn answer(self, app: &App) -> Result<Exit, Error> {
        match self {
            Self::Run(_) | Self::Suggest => Err(Error::Nothing {
                message: "nothing in the roadmap is clearly what you mean".to_owned(),
                hint: Some("say an id or more of a name; `kapelle status` lists them".to_owned()),
            }),
            Self::Status => {
                app.console.show(&status(app).await?)?;
                Ok(Exit::Ok)
            }
            Self::Running => {
                let mut status = status(app).await?;
                status.tasks.retain(|task| matches!(task.state.as_str(), "active" | "integrating"));
                if status.tasks.is_empty() {
                    app.console.note("Nothing is running.");
                }
                app.console.show(&only_tasks(status))?;
                Ok(Exit::Ok)
            }
            Self::Blocked => {
                let mut status = status(app).await?;
                status.streams.retain(|stream| !stream.available);
                app.console.show(&StatusView { tasks: Vec::new(), ..status })?;
                Ok(Exit::Ok)
            }
            Self::Stop => {
                if app.console.confirm("Stop everything that runs?")? != Some(true) {
                    app.console.note("Nothing was stopped.");
                    return Ok(Exit::Ok);
                }
                let request = StopRequest { id: None, reason: Some("goal".to_owned()) };
                let stop = async |client: &Client| stop(client, request).await;
                app.console.show(&app.with(Need::Write, stop).await?)?;
                Ok(Exit::Ok)
            }
            Self::Help => {
                app.console.data(HELP)?;
                Ok(Exit::Ok)
            }
        }
    }
}

/// What can be said.
pub(super) const HELP: &str = "\
Say what you want in your own words, for example:
  build the task parser        one work stream, by its name
  1.2 and 1.3                  several, by their ids
  the next one                 whatever is first in line
  everything                   all there is, to the end
  who is working?              what runs now
  what is blocked?             what can't start, and why
  stop                         everything that runs
";

async fn status(app: &App) -> Result<StatusView, Error> {
    app.with(Need::Read, async |client: &Client| client.status().await).await
}

/// The tasks and workers of a status.
pub(super) fn only_tasks(status: StatusView) -> StatusView {
    let (open_runs, recent_runs, streams) = (Vec::new(), Vec::new(), Vec::new());
    StatusView { streams, open_runs, recent_runs, ..status }
}

/// Whether work is to be started.
fn agreed(app: &App, goal: &GoalView, auto: bool) -> Result<bool, Error> {
    if auto {
        return if goal.confidence >= AUTO_MIN {
            Ok(true)
        } else {
            let (sure, least) = (percent(goal.confidence), percent(AUTO_MIN));
            Err(Error::usage(
                format!(
                    "only {sure} sure of what you mean, and --auto starts nothing below {least}"
                ),
                "say an id or a full name, or leave out --auto to be asked",
            ))
        };
    }
    match app.console.confirm("Start this?")? {
        Some(answer) => Ok(answer),
        None => Err(Error::usage(
            "there is nobody to ask whether this is to be started",
            "--auto starts it when it is clear enough, --yes in any case",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;

    #[test]
    fn an_action_becomes_a_wish() {
        let check = |action: &str, matches: usize, expected: Action| {
            let mut goal = fixtures::goal();
            action.clone_into(&mut goal.action);
            goal.matches.truncate(matches);
            assert_eq!(Action::of(&goal), expected, "{action} {matches}");
        };
        let streams = |ids: &[&str]| {
            Action::Run(Wish::Streams(ids.iter().map(|&id| id.to_owned()).collect()))
        };
        check("run_single", 2, streams(&["1.2"]));
        check("run_single", 0, Action::Run(Wish::AsConfigured));
        check("run_parallel", 2, streams(&["1.2", "1.6"]));
        check("run_parallel", 0, Action::Run(Wish::Parallel(None)));
        check("run_batch", 2, Action::Run(Wish::Batch(None)));
        check("suggest", 2, Action::Suggest);
        check("list_agents", 0, Action::Running);
        check("unblock", 0, Action::Blocked);
        check("of_the_future", 1, Action::Suggest);
    }
}
