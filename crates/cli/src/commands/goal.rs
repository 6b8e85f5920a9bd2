//! `kapelle goal`: what somebody wants, in words.

mod action;

pub(super) use action::{Action, running};
use clap::Args;

use super::run::{Manner, start};
use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::{Format, Show as _, percent};
use crate::view::GoalView;

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
            Action::Suggest => Err(nothing_clear()),
            Action::Help => {
                app.console.data(HELP)?;
                Ok(Exit::Ok)
            }
            other => {
                let need = if matches!(other, Action::Stop(_)) { Need::Write } else { Need::Read };
                let answer = async |client: &Client| other.answer(&app.console, client).await;
                app.with(need, answer).await?;
                Ok(Exit::Ok)
            }
        }
    }
}

fn nothing_clear() -> Error {
    Error::Nothing {
        message: "nothing in the roadmap is clearly what you mean".to_owned(),
        hint: Some("say an id or more of a name; `kapelle status` lists them".to_owned()),
    }
}

/// What can be said.
pub(super) const HELP: &str = "\
Say what you want in your own words, for example:
  build the task parser        one work stream, by its name
  1.2 and 1.3                  several, by their ids
  the next one                 whatever is first in line
  everything                   all there is, to the end
  everything except 1.3        the same without one, and without what waits for it
  who is working?              what runs now
  what is blocked?             what can't start, and why
  unblock 1.4                  what keeps this one from running
  stop 1.2                     this one
  stop                         everything that runs
";

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
