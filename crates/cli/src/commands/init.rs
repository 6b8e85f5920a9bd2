//! `kapelle init`: prepares a repository. What is there already is left as it is.

mod agents;
mod persona;
mod plan;

use std::path::Path;

use clap::Args;
use kapelle_runtime::config::{CommandLine, Config, DetectedCheck, Facts, PROJECT_FILE};

use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Show as _, plural};
use crate::project::Project;
use agents::Found;
use plan::{Plan, Step};

/// What `init` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle init                 shows what it would do, and asks if it can
  kapelle init --dry-run
  kapelle init --yes

It can be run again at any time: it only adds what is missing.")]
pub struct InitArgs {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

impl InitArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let root = Project::root_of(&app.directory).await?;
        let agents = agents::find(app).await;
        let facts = facts(&root, &agents)?;
        let plan = Plan::new(&root, &facts, agents)?;
        if self.dry_run {
            app.console.show(&plan)?;
            return Ok(Exit::Ok);
        }
        if app.console.is_json() {
            app.console.show(&plan)?;
        } else {
            app.console.note(plan.text(&app.console.err()).trim_end());
        }
        if plan.is_done() {
            app.console.note("Everything is in place.");
            return Ok(Exit::Ok);
        }
        // Nothing that exists is changed or lost, so without anybody to ask it may go on.
        if !app.console.says_yes() && !app.console.can_ask() {
            app.console.note(
                "Nobody can be asked here, so what is missing is written; --dry-run only shows it.",
            );
        }
        if app.console.confirm("Do this?")? == Some(false) {
            app.console.note("Nothing was changed.");
            return Ok(Exit::Ok);
        }
        let written = plan.carry_out()?;
        tell(app, &plan, &written);
        Ok(Exit::Ok)
    }
}

/// What there is to know about the project.
fn facts(root: &Path, agents: &[Found]) -> Result<Facts, Error> {
    let name = root.file_name().map(|name| name.to_string_lossy().into_owned());
    let roadmap = Config::default().project.find_roadmap(root);
    let checks = kapelle_worker::verify::detect(root).into_iter().map(|check| DetectedCheck {
        name: check.name,
        command: match check.command {
            CommandLine::Shell(line) => line,
            CommandLine::Argv(words) => words.join(" "),
        },
    });
    Ok(Facts {
        name,
        roadmap: roadmap.map(|path| path.display().to_string()),
        agents: agents.iter().map(Found::configured).collect(),
        checks: checks.collect(),
    })
}

fn tell(app: &App, plan: &Plan, written: &[&Step]) {
    app.console.note(&format!("Wrote {}.", plural(written.len(), "file")));
    let tracked: Vec<&str> = written.iter().filter(|step| step.tracked).map(|s| s.path).collect();
    if !tracked.is_empty() {
        app.console.hint(&format!(
            "commit them, so that results can go to your branch: git add {} && git commit",
            tracked.join(" ")
        ));
    }
    if !plan.has_roadmap() {
        app.console.hint("write a roadmap, such as ROADMAP.md: `kapelle roadmap check` reads it");
    }
    if let Some(agent) = plan.first_agent() {
        if written.iter().any(|step| step.path == PROJECT_FILE) {
            let name = agent.configured().name;
            app.console
                .note(&format!("Runs use {name}; to change that: run.agent in {PROJECT_FILE}."));
        }
        app.console.hint("next: kapelle doctor, kapelle status, kapelle run");
    } else {
        app.console.hint(&format!(
            "no known agent program is installed: name one in {PROJECT_FILE} under `agents:`"
        ));
    }
}
