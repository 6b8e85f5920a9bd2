//! What `kapelle` alone shows: how things stand, and what to do next. Never a wall of help.

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::{Canvas, Format, State, Tone, plural};
use crate::project::Project;
use crate::render::summary;
use crate::view::StatusView;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shows how things stand.
pub(super) async fn run(app: &App) -> Result<Exit, Error> {
    if app.remote()?.is_none() {
        match Project::root_of(&app.directory).await {
            Ok(root) if Project::is_prepared(&root) => {}
            Ok(root) => {
                let place = format!("{} is not prepared for Kapelle yet.", root.display());
                return welcome(app, &place, &["kapelle init", "kapelle demo", "kapelle help"]);
            }
            Err(_) => {
                let place = "There is no git repository here.";
                return welcome(app, place, &["kapelle demo", "kapelle help", "git init"]);
            }
        }
    }
    let status = app.with(Need::Read, async |client: &Client| client.status().await).await?;
    if app.console.format() == Format::Table {
        app.console.data(&glance(&app.console.out(), &status))?;
    } else {
        app.console.show(&status)?;
    }
    Ok(Exit::Ok)
}

fn welcome(app: &App, place: &str, next: &[&str]) -> Result<Exit, Error> {
    let canvas = app.console.out();
    let mut text = format!(
        "{} conducts fleets of coding agents: from a roadmap to verified, integrated commits.\n\
         {place}\n",
        canvas.paint(Tone::Strong, &format!("Kapelle {VERSION}")),
    );
    text.push_str(&suggestions(&canvas, next));
    app.console.data(&text)?;
    Ok(Exit::Ok)
}

fn suggestions(canvas: &Canvas, commands: &[&str]) -> String {
    let lines = commands.iter().map(|command| format!("  {}\n", canvas.paint(Tone::Live, command)));
    format!("\nNext:\n{}", lines.collect::<String>())
}

/// Six lines and three suggestions.
fn glance(canvas: &Canvas, status: &StatusView) -> String {
    let count = |state: &str| status.tasks.iter().filter(|task| task.state == state).count();
    let working = count("active") + count("integrating");
    let mut text = format!("{}\n", canvas.paint(Tone::Strong, &format!("Kapelle {VERSION}")));
    text.push_str(&summary(canvas, status));
    let open = plural(status.open_runs.len(), "open run");
    let waiting = status.tasks.len() - working;
    let lines = [
        format!("  {open}, {} working, {waiting} waiting", plural(working, "task")),
        match status.recent_runs.first() {
            Some(run) => {
                let state = State::of_task(&run.state).word();
                format!("  last run: {} {state}, {}", run.id, run.title)
            }
            None => "  no run has ended yet".to_owned(),
        },
        format!("  {}", plural(status.workers.len(), "worker")),
    ];
    for line in lines {
        text.push_str(&canvas.fit(&line));
        text.push('\n');
    }
    text.push_str(&suggestions(canvas, &next(status)));
    text
}

/// The three commands that make most sense now.
fn next(status: &StatusView) -> [&'static str; 3] {
    let ended_badly = status.recent_runs.first().is_some_and(|run| run.state == "failed");
    if !status.open_runs.is_empty() {
        ["kapelle status -w", "kapelle resume", "kapelle stop"]
    } else if ended_badly {
        ["kapelle report", "kapelle resume", "kapelle status"]
    } else if status.available > 0 {
        ["kapelle run", "kapelle batch -n 3", "kapelle status"]
    } else {
        ["kapelle status", "kapelle roadmap check", "kapelle report"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;

    #[test]
    fn it_is_six_lines_and_three_suggestions() {
        insta::assert_snapshot!(glance(&Canvas::plain(), &fixtures::status()), @"
        Kapelle 0.1.0
        plans/roadmap.md  ██████████░░░░░░░░░░  5/10 complete
          ✔ 5 complete  ● 1 in progress  ○ 3 not started  ⊘ 1 blocked  1 can start now
          1 open run, 1 task working, 2 waiting
          last run: r-41 failed, a title that is much longer than what a line of a term…
          1 worker

        Next:
          kapelle status -w
          kapelle resume
          kapelle stop
        ");
    }

    #[test]
    fn suggestions_fit_the_state() {
        let idle = StatusView { open_runs: Vec::new(), ..fixtures::status() };
        assert_eq!(next(&fixtures::status())[0], "kapelle status -w");
        assert_eq!(next(&idle)[0], "kapelle report");
        let fresh = StatusView { recent_runs: Vec::new(), ..idle };
        assert_eq!(next(&fresh)[0], "kapelle run");
        assert_eq!(next(&StatusView { available: 0, ..fresh })[0], "kapelle status");
    }
}
