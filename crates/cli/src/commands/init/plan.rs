//! What `init` is going to do, decided before anything is touched.

use std::fs;
use std::path::{Path, PathBuf};

use kapelle_runtime::config::{self, Facts, LOCAL_FILE, PROJECT_FILE, SCHEMA_FILE};
use serde::Serialize;
use serde_json::Value;

use super::agents::Found;
use super::persona;
use crate::error::Error;
use crate::output::{Align, Canvas, Show, Table, Tone, sanitize};

/// A file that `init` looks after.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// Relative to the root.
    pub(super) path: &'static str,
    /// What becomes of it.
    action: Action,
    /// What it is.
    about: &'static str,
    /// Whether it belongs into the repository.
    #[serde(skip)]
    pub(super) tracked: bool,
    #[serde(skip)]
    content: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Create,
    Update,
    Keep,
}

/// What was found, and what will be done.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    root: PathBuf,
    roadmap: Option<String>,
    agents: Vec<Found>,
    checks: Vec<String>,
    steps: Vec<Step>,
}

/// What is done with a file that exists.
enum Existing {
    /// It is the user's.
    Keep,
    /// It is ours.
    Replace,
    /// This line is missing in it, or not.
    AddLine(&'static str),
}

impl Plan {
    pub(super) fn new(root: &Path, facts: &Facts, agents: Vec<Found>) -> Result<Self, Error> {
        let schema = serde_json::to_string_pretty(&config::schema()).map_err(Error::Encode)?;
        let steps = [
            (PROJECT_FILE, "the configuration", true, config::template(facts), Existing::Keep),
            (SCHEMA_FILE, "its schema, for editors", false, schema + "\n", Existing::Replace),
            (
                ".kapelle/.gitignore",
                "keeps our files out of git",
                false,
                "*\n".to_owned(),
                Existing::Keep,
            ),
            (
                ".gitignore",
                "keeps your own settings out",
                true,
                format!("{LOCAL_FILE}\n"),
                Existing::AddLine(LOCAL_FILE),
            ),
            (
                persona::FILE,
                "how agents drive Kapelle",
                true,
                persona::TEXT.to_owned(),
                Existing::Keep,
            ),
        ];
        let steps = steps.into_iter().map(|(path, about, tracked, content, existing)| {
            let (action, content) = decide(&root.join(path), content, existing)?;
            Ok(Step { path, action, about, tracked, content })
        });
        Ok(Self {
            root: root.to_owned(),
            roadmap: facts.roadmap.clone(),
            agents,
            checks: facts.checks.iter().map(|check| check.command.clone()).collect(),
            steps: steps.collect::<Result<_, Error>>()?,
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Keep)
    }

    pub(super) fn has_roadmap(&self) -> bool {
        self.roadmap.is_some()
    }

    /// The agent that a new configuration makes the one that runs use.
    pub(super) fn first_agent(&self) -> Option<&Found> {
        self.agents.first()
    }

    /// Writes what is missing; gives back what was written.
    pub(super) fn carry_out(&self) -> Result<Vec<&Step>, Error> {
        let pending = || self.steps.iter().filter(|step| step.action != Action::Keep);
        for step in pending() {
            let path = self.root.join(step.path);
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
            }
            fs::write(&path, &step.content).map_err(Error::file("write", &path))?;
        }
        Ok(pending().collect())
    }
}

/// What becomes of the file at `path`, and its content then.
fn decide(path: &Path, content: String, existing: Existing) -> Result<(Action, String), Error> {
    let old = match fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok((Action::Create, content));
        }
        // What can't be read as text is somebody's own; it is not for us to replace it.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Ok((Action::Keep, String::new()));
        }
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    Ok(match existing {
        Existing::Replace if old != content => (Action::Update, content),
        Existing::AddLine(line) if !old.lines().any(|known| known.trim() == line) => {
            let gap = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
            (Action::Update, format!("{old}{gap}{content}"))
        }
        Existing::Keep | Existing::Replace | Existing::AddLine(_) => (Action::Keep, old),
    })
}

impl Show for Plan {
    fn text(&self, canvas: &Canvas) -> String {
        let mut facts = Table::new(&[("", Align::Left); 2], 1).indent(2);
        facts.row(["repository".to_owned(), sanitize(&self.root.display().to_string())]);
        let none = |what: &str| canvas.paint(Tone::Warn, what);
        // Looking counts for nothing where somebody has decided.
        let is_kept = |step: &Step| step.path == PROJECT_FILE && step.action == Action::Keep;
        let nothing = if self.steps.iter().any(is_kept) {
            canvas.paint(Tone::Faint, &format!("as {PROJECT_FILE} says"))
        } else {
            none("none found")
        };
        let roadmap = self.roadmap.as_deref().map(sanitize);
        facts.row(["roadmap".to_owned(), roadmap.unwrap_or_else(|| none("none found"))]);
        let checks = sanitize(&self.checks.join(", "));
        let checks = if checks.is_empty() { nothing.clone() } else { checks };
        facts.row(["checks".to_owned(), checks]);
        if self.agents.is_empty() {
            facts.row(["agents".to_owned(), nothing]);
        }
        for (index, agent) in self.agents.iter().enumerate() {
            let label = if index == 0 { "agents" } else { "" };
            facts.row([label.to_owned(), agent.to_string()]);
        }
        let mut steps = Table::new(&[("", Align::Left); 3], 2).indent(2);
        for step in &self.steps {
            let action = match step.action {
                Action::Create => canvas.paint(Tone::Good, "create"),
                Action::Update => canvas.paint(Tone::Live, "update"),
                Action::Keep => canvas.paint(Tone::Faint, "keep"),
            };
            steps.row([action, step.path.to_owned(), step.about.to_owned()]);
        }
        format!(
            "{}\n{}\n{}\n{}",
            canvas.paint(Tone::Strong, "Found"),
            facts.render(canvas),
            canvas.paint(Tone::Strong, "Files"),
            steps.render(canvas)
        )
    }

    fn names(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.path.to_owned()).collect()
    }

    fn rows(&self) -> Vec<Value> {
        self.steps.iter().filter_map(|step| serde_json::to_value(step).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kapelle_runtime::config::{Config, LoadOptions};

    fn plan(root: &Path) -> Plan {
        let facts = Facts { name: Some("p".to_owned()), ..Facts::default() };
        Plan::new(root, &facts, Vec::new()).expect("a plan")
    }

    #[test]
    fn it_writes_a_valid_configuration_once() {
        let root = tempfile::tempdir().expect("a directory");
        let first = plan(root.path());
        assert!(!first.is_done());
        assert_eq!(first.carry_out().expect("it writes").len(), 5);
        let options =
            LoadOptions { project_root: root.path().to_owned(), ..LoadOptions::default() };
        Config::load(&options).expect("the configuration is valid");

        let second = plan(root.path());
        assert!(second.is_done(), "{second:?}");
        assert!(second.carry_out().expect("nothing to write").is_empty());
    }

    #[test]
    fn what_is_the_users_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        write(PROJECT_FILE, "version: 1\n# mine\n");
        write(".gitignore", "/target");
        write(persona::FILE, "mine");
        write(SCHEMA_FILE, "old");
        let kept = plan(root.path());
        let text = kept.text(&Canvas::plain());
        assert!(text.contains("checks      as kapelle.yaml says"), "{text}");
        assert!(text.contains("agents      as kapelle.yaml says"), "{text}");
        kept.carry_out().expect("it writes");
        let read = |name: &str| fs::read_to_string(root.path().join(name)).expect("a file");
        assert_eq!(read(PROJECT_FILE), "version: 1\n# mine\n");
        assert_eq!(read(persona::FILE), "mine");
        assert_eq!(read(".gitignore"), "/target\nkapelle.local.yaml\n");
        assert!(read(SCHEMA_FILE).contains("Kapelle configuration"));
    }

    #[test]
    fn the_plan_is_a_table() {
        let root = tempfile::tempdir().expect("a directory");
        let mut plan = plan(root.path());
        plan.root = PathBuf::from("/home/ana/shop");
        insta::assert_snapshot!(plan.text(&Canvas::plain()), @"
        Found
          repository  /home/ana/shop
          roadmap     none found
          checks      none found
          agents      none found

        Files
          create  kapelle.yaml                            the configuration
          create  .kapelle/kapelle.schema.json            its schema, for editors
          create  .kapelle/.gitignore                     keeps our files out of git
          create  .gitignore                              keeps your own settings out
          create  .claude/agents/kapelle-orchestrator.md  how agents drive Kapelle
        ");
    }
}
