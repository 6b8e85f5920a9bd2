//! `kapelle interactive`: talking to the orchestrator.

mod editor;
mod said;

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;

use super::goal::{Action, HELP, running};
use super::run::finish;
use super::steer::{order_and_wait, redirection};
use super::stop::stop;
use crate::app::App;
use crate::client::{Client, Texts, Watched};
use crate::error::Error;
use crate::exit::Exit;
use crate::follow::{Followed, Follower};
use crate::host::{Connection, How, Need};
use crate::interrupt::Interrupts;
use crate::output::{Show as _, plural};
use crate::render::event_line;
use crate::view::{EventView, GoalView, RunRequest, StatusView, StopRequest};
use editor::{Editor, Line};
use said::Said;

/// How long the effect of an order is waited for.
const EFFECT_WITHIN: Duration = Duration::from_secs(10);

/// Lines of a transcript that are shown at once.
const LOG_LINES: u32 = 200;

/// What `interactive` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle interactive
  echo status | kapelle interactive

Say `help` there for what can be said.")]
pub struct InteractiveArgs {}

impl InteractiveArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let Self {} = self;
        let Connection { client, hosted } = app.connect(Need::Work("interactive")).await?;
        // People read here, whatever form data is to have elsewhere.
        let client = client.with_texts(Texts::Harmless);
        let connection = Connection { client, hosted };
        let result = talk(app, &connection).await;
        finish(connection, result).await
    }
}

async fn talk(app: &App, connection: &Connection) -> Result<Exit, Error> {
    let client = &connection.client;
    let status = client.status().await?;
    let words = status.streams.iter().flat_map(|stream| [stream.id.clone(), stream.name.clone()]);
    let mut editor = Editor::new(app, words.collect()).await?;
    let mut watching = JoinSet::new();
    let events = Box::pin(client.watch(None, None).await?);
    watching.spawn(tell_events(events, editor.announcer(app)));
    app.console.note("Say what you want; `help` shows what can be said, `quit` ends.");
    loop {
        let said = match editor.read().await? {
            Line::Text(text) => Said::parse(&text),
            Line::Nothing => continue,
            Line::End => Said::Quit,
        };
        if said == Said::Quit {
            if !editor.is_terminal() {
                // What a script has started is not given up because the script is over.
                see_through(app, connection).await?;
            }
            quit(app, connection).await?;
            return Ok(Exit::Ok);
        }
        // A wrong word must not end the conversation.
        if let Err(error) = answer(app, client, said).await {
            app.console.fail(&error);
            if matches!(error, Error::Unreachable { .. } | Error::BrokenOff { .. }) {
                return Ok(error.exit());
            }
        }
    }
}

/// Tells what happens while nobody says anything.
async fn tell_events(
    mut events: impl futures_util::Stream<Item = Result<Watched, Error>> + Unpin,
    announcer: editor::Announcer,
) {
    while let Some(Ok(entry)) = events.next().await {
        if let Watched::Event(event) = entry
            && is_news(&event)
        {
            announcer.say(event_line(&announcer.canvas(), &event));
        }
    }
}

/// Whether somebody who only listens wants to hear of it.
fn is_news(event: &EventView) -> bool {
    matches!(
        event.kind.as_str(),
        "attempt_started"
            | "task_succeeded"
            | "task_failed"
            | "task_cancelled"
            | "retry_scheduled"
            | "integration_refused"
            | "command_settled"
            | "target_switched"
            | "run_finished"
    )
}

async fn answer(app: &App, client: &Client, said: Said) -> Result<(), Error> {
    let console = &app.console;
    match said {
        Said::Help => console.data(&format!("{HELP}{}", said::COMMANDS)),
        Said::Status => console.show(&client.status().await?),
        Said::Running => {
            let status = running(client.status().await?, &[]);
            if status.tasks.is_empty() {
                return console.data("Nothing is running.\n");
            }
            console.show(&StatusView { workers: Vec::new(), ..status })
        }
        Said::Stop(id) => {
            let stopped =
                stop(client, StopRequest { id, except: Vec::new(), reason: None }).await?;
            console.show(&stopped)
        }
        Said::Report(run) => {
            let run = run.unwrap_or_else(|| "@last".to_owned());
            console.show(&client.report(&run).await?)
        }
        Said::Feedback { id, text } => console.show(&client.feedback(&id, &text).await?),
        Said::Redirect { id, to, reason } => {
            let order = redirection(id, to, reason);
            console.show(&order_and_wait(client, &order, EFFECT_WITHIN).await?)
        }
        Said::Why(id) => console.show(&client.why(&id).await?),
        Said::Logs(id) => {
            let page = client.logs(&id, 0, LOG_LINES, Duration::ZERO).await?;
            let lines = page.lines.iter().map(|line| format!("{}\n", line.text));
            console.data(&lines.collect::<String>())?;
            if !page.complete {
                console.hint(&format!("the rest: kapelle logs {id} -f"));
            }
            Ok(())
        }
        Said::Incomplete(usage) => Err(Error::usage("something is missing", usage)),
        Said::Goal(text) => goal(app, client, &text).await,
        // Answered by the caller.
        Said::Quit => Ok(()),
    }
}

async fn goal(app: &App, client: &Client, text: &str) -> Result<(), Error> {
    let goal = client.goal(text).await?;
    app.console.data(&goal.text(&app.console.out()))?;
    match Action::of(&goal) {
        Action::Run(wish) => {
            if app.console.confirm("Start this?")? != Some(true) {
                return app.console.data("Nothing was started.\n");
            }
            let config = app.project().await.ok();
            let (select, concurrency) = wish.select(config.as_ref().map(|p| p.config()));
            let request = RunRequest {
                select,
                agent: None,
                needs: Vec::new(),
                concurrency,
                no_verify: false,
                dry_run: false,
                goal: Some(text.to_owned()),
                key: Some(app.identity.mint()),
            };
            app.console.show(&client.submit(&request).await?)
        }
        Action::Suggest => nothing_fits(app, &goal),
        Action::Help => Box::pin(answer(app, client, Said::Help)).await,
        other => other.answer(&app.console, client).await,
    }
}

fn nothing_fits(app: &App, goal: &GoalView) -> Result<(), Error> {
    if goal.matches.is_empty() {
        app.console.hint("say an id or more of a name; `status` lists them");
    } else {
        app.console.hint("say one of these ids to start it");
    }
    Ok(())
}

/// Follows what runs in this process to its end.
async fn see_through(app: &App, connection: &Connection) -> Result<(), Error> {
    if connection.hosted.is_none() {
        return Ok(());
    }
    let mut follower = Follower::start(app, connection).await?;
    while let Some(run) = connection.client.status().await?.open_runs.first() {
        match follower.follow(&run.id).await? {
            Followed::Ended(_) => {}
            Followed::Unplaceable(_)
            | Followed::Detached
            | Followed::Stopped
            | Followed::Drained { .. } => break,
        }
    }
    Ok(())
}

/// Ends the conversation. What runs in this process is finished or stopped first.
async fn quit(app: &App, connection: &Connection) -> Result<(), Error> {
    let Some(hosted) = &connection.hosted else {
        return Ok(());
    };
    let status = connection.client.status().await?;
    let live = |state: &str| matches!(state, "active" | "integrating");
    let working = status.tasks.iter().filter(|task| live(&task.state)).count();
    if working == 0 {
        return Ok(());
    }
    app.console.note(&format!(
        "{} at work here may finish, nothing new is started; Ctrl-C stops them now. \
         `kapelle resume` goes on with the rest.",
        plural(working, "agent")
    ));
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        ending = hosted.finish(How::Drain) => drop(ending?),
        () = interrupts.next() => drop(hosted.finish(How::Stop).await?),
    }
    Ok(())
}
