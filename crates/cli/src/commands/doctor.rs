//! `kapelle doctor` looks at the world, `kapelle validate` only at files.

mod look;

use std::fmt::Write as _;

use clap::Args;
use kapelle_runtime::config::PROJECT_FILE;
use serde::Serialize;
use serde_json::Value;

use super::roadmap::read_file;
use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Canvas, Show, Tone, plural, sanitize};
use crate::project::Project;

/// What `doctor` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle doctor
  kapelle doctor --json

It ends with 1 when something is missing that Kapelle cannot do without.")]
pub struct DoctorArgs {}

/// What `validate` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle validate             good for CI: reads files, and starts nothing")]
pub struct ValidateArgs {}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Something will not work, or not as well as it could.
    Warning,
    /// Kapelle can't work like this.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    name: &'static str,
    level: Level,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    pub(super) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, message: message.into(), hint: None }
    }

    pub(super) fn warning(
        name: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let hint = Some(hint.into());
        Self { name, level: Level::Warning, message: message.into(), hint }
    }

    pub(super) fn failure(
        name: &'static str,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        Self { name, level: Level::Failure, message: message.into(), hint }
    }

    /// A failure that is an error, with all that it says.
    pub(super) fn error(name: &'static str, error: &Error) -> Self {
        let problem = error.problem();
        let mut message = problem.detail;
        for cause in problem.causes {
            message = format!("{message}: {cause}");
        }
        Self::failure(name, message, error.hint())
    }
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    fn exit(&self, failure: Exit) -> Exit {
        let failed = self.findings.iter().any(|finding| finding.level == Level::Failure);
        if failed { failure } else { Exit::Ok }
    }
}

impl Show for Findings {
    fn text(&self, canvas: &Canvas) -> String {
        let mut text = String::new();
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
        for finding in &self.findings {
            let sign = match finding.level {
                Level::Ok => canvas.paint(Tone::Good, canvas.sign("✔", "+")),
                Level::Warning => canvas.paint(Tone::Warn, "!"),
                Level::Failure => canvas.paint(Tone::Bad, canvas.sign("✘", "x")),
            };
            let indent = " ".repeat(width + 4);
            let message = sanitize(&finding.message).replace('\n', &format!("\n{indent}"));
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "{sign} {:<width$}  {message}", finding.name);
            if let Some(hint) = &finding.hint {
                let label = canvas.paint(Tone::Live, "hint:");
                let _ = writeln!(text, "{indent}{label} {}", sanitize(hint));
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let _ = writeln!(
            text,
            "\n{}, {}",
            plural(count(Level::Failure), "failure"),
            plural(count(Level::Warning), "warning")
        );
        text
    }

    fn names(&self) -> Vec<String> {
        let bad = self.findings.iter().filter(|finding| finding.level != Level::Ok);
        bad.map(|finding| finding.name.to_owned()).collect()
    }

    fn rows(&self) -> Vec<Value> {
        self.findings.iter().filter_map(|finding| serde_json::to_value(finding).ok()).collect()
    }
}

impl DoctorArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let Self {} = self;
        let findings = Findings { findings: look::around(app).await };
        app.console.show(&findings)?;
        Ok(findings.exit(Exit::Failure))
    }
}

impl ValidateArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let Self {} = self;
        let root = Project::root_of(&app.directory).await?;
        let findings = Findings { findings: files(app, &root) };
        app.console.show(&findings)?;
        Ok(findings.exit(Exit::Usage))
    }
}

/// What the files of a project say: configuration and roadmap.
fn files(app: &App, root: &std::path::Path) -> Vec<Finding> {
    match Project::at(root.to_owned(), app.environment.clone()) {
        Ok(project) => vec![configuration(&project), roadmap(&project)],
        Err(error) => vec![Finding::error("config", &error)],
    }
}

fn configuration(project: &Project) -> Finding {
    if project.loaded().files.is_empty() {
        let message = format!("there is no {PROJECT_FILE}; the defaults hold");
        return Finding::warning("config", message, "kapelle init");
    }
    let files: Vec<String> =
        project.loaded().files.iter().map(|file| file.display().to_string()).collect();
    let agents = plural(project.config().agents.len(), "agent");
    Finding::ok("config", format!("{}; {agents}", files.join(", ")))
}

fn roadmap(project: &Project) -> Finding {
    let path = match project.roadmap() {
        Ok(path) => path,
        Err(error) => {
            return Finding::warning(
                "roadmap",
                error.to_string(),
                error.hint().unwrap_or_default(),
            );
        }
    };
    let roadmap = match read_file(&project.root().join(&path)) {
        Ok(roadmap) => roadmap,
        Err(error) => return Finding::error("roadmap", &error),
    };
    let streams = plural(roadmap.streams.len(), "work stream");
    let findings = plural(roadmap.diagnostics.len(), "finding");
    let message = format!("{}: {streams}, {findings}", path.display());
    let hint = "kapelle roadmap check".to_owned();
    if roadmap.has_errors() {
        Finding::failure("roadmap", message, Some(hint))
    } else if roadmap.streams.is_empty() {
        Finding::warning("roadmap", message, hint)
    } else {
        Finding::ok("roadmap", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_a_sign_and_a_hint() {
        let findings = Findings {
            findings: vec![
                Finding::ok("git", "2.39.5"),
                Finding::warning("agents", "codex is not installed", "install it"),
                Finding::failure("config", "unknown key\n  |\n3 | rum:", None),
            ],
        };
        insta::assert_snapshot!(findings.text(&Canvas::plain()), @"
        ✔ git     2.39.5
        ! agents  codex is not installed
                  hint: install it
        ✘ config  unknown key
                    |
                  3 | rum:

        1 failure, 1 warning
        ");
        assert_eq!(findings.names(), ["agents", "config"]);
        assert_eq!(findings.exit(Exit::Usage), Exit::Usage);
        assert_eq!(Findings { findings: Vec::new() }.exit(Exit::Usage), Exit::Ok);
    }
}
