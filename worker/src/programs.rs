//! What a worker finds of its agents' programs: whether they are there, which version they say
//! that they are, and whether somebody is logged in.
//!
//! Only programs that are known are asked: any other might begin to work when it is started. All
//! are asked at once and have a few seconds, after which they are ended with all that they have
//! started; what they didn't say by then isn't known. How an agent is run is not decided here.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kapelle_domain::worker::{Program, ProgramState};
use kapelle_runtime::config::{self, Driver};
use kapelle_runtime::telemetry::Chain;
use tokio::task::JoinSet;

use crate::process::{Ended, Output, ProcessSpec, Supervisor};

/// How long a program may take for one answer. Some take seconds to start.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of an answer is kept, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The longest version that is shown, in characters.
const VERSION_CHARS_MAX: usize = 60;

/// A program that may be asked.
struct Known {
    name: &'static str,
    /// How it is asked whether somebody is logged in, and what it says, without blanks, when
    /// nobody is. Only these very words count: whoever works with a key in the environment needs no
    /// login.
    login: Option<(&'static [&'static str], &'static str)>,
}

const KNOWN: [Known; 8] = [
    Known { name: "claude", login: Some((&["auth", "status"], "\"loggedIn\":false")) },
    Known { name: "codex", login: Some((&["login", "status"], "Notloggedin")) },
    Known { name: "gemini", login: None },
    Known { name: "copilot", login: None },
    Known { name: "opencode", login: None },
    Known { name: "goose", login: None },
    Known { name: "aider", login: None },
    Known { name: "mini", login: None },
];

/// Looks for the program of each agent, in `environment` with what is the agent's own, and asks
/// those that are known. `marker` begins the marks of the processes that are started.
pub async fn find(
    agents: &BTreeMap<String, config::Agent>,
    environment: &BTreeMap<OsString, OsString>,
    supervisor: &Arc<Supervisor>,
    marker: &str,
) -> Vec<Program> {
    let mut looking = JoinSet::new();
    for (name, agent) in agents {
        let mut environment = environment.clone();
        environment.extend(agent.env.iter().map(|(name, value)| (name.into(), value.into())));
        let marker = format!("{marker}look-{name}");
        let asking = Asking { environment, supervisor: Arc::clone(supervisor), marker };
        let (name, agent) = (name.as_str().into(), agent.clone());
        looking.spawn(async move {
            let (version, state) = asking.look(&agent).await;
            Program { agent: name, version, state }
        });
    }
    let mut programs = Vec::new();
    while let Some(found) = looking.join_next().await {
        // One that couldn't be looked for isn't named, and nothing is offered for it.
        programs.extend(found);
    }
    programs.sort_by(|one, other| one.agent.cmp(&other.agent));
    programs
}

/// The program called `name` in one of the directories of `path`.
#[must_use]
pub fn on_path(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|it| is_program(it))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

struct Asking {
    environment: BTreeMap<OsString, OsString>,
    supervisor: Arc<Supervisor>,
    marker: String,
}

impl Asking {
    async fn look(&self, agent: &config::Agent) -> (Option<String>, ProgramState) {
        let word = match (agent.driver, agent.command.first()) {
            (Driver::Scripted, _) => return (None, ProgramState::Installed),
            (Driver::Command, None) => return (None, ProgramState::Missing),
            (Driver::Command, Some(word)) => word,
        };
        // A program with a path of its own is looked for where the work is, which isn't here yet.
        if word.contains('/') && !word.starts_with('/') {
            return (None, ProgramState::Installed);
        }
        let path = self.environment.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        let program = match word.strip_prefix('/') {
            Some(_) => Some(PathBuf::from(word)).filter(|program| is_program(program)),
            None => on_path(&path, word),
        };
        let Some(program) = program else { return (None, ProgramState::Missing) };
        let name = Path::new(word).file_name();
        let Some(known) = KNOWN.iter().find(|known| name == Some(OsStr::new(known.name))) else {
            return (None, ProgramState::Installed);
        };
        let (version, logged_out) =
            tokio::join!(self.version(&program), self.is_logged_out(&program, known));
        let state = if logged_out { ProgramState::LoggedOut } else { ProgramState::Installed };
        (version, state)
    }

    /// The first line that `program --version` prints.
    async fn version(&self, program: &Path) -> Option<String> {
        let (text, exit) = self.ask(program, &["--version"]).await?;
        let line = text.lines().find(|line| !line.trim().is_empty())?;
        let plain = line.trim().chars().filter(|char| !char.is_control());
        let line: String = plain.take(VERSION_CHARS_MAX).collect();
        (exit == Ended::Code(0) && !line.is_empty()).then_some(line)
    }

    async fn is_logged_out(&self, program: &Path, known: &Known) -> bool {
        let Some((arguments, words)) = known.login else { return false };
        let Some((text, _)) = self.ask(program, arguments).await else { return false };
        let plain: String = text.chars().filter(|char| !char.is_whitespace()).collect();
        plain.contains(words)
    }

    /// What a program prints, and how it ends; `None` when it takes too long or can't be started.
    async fn ask(&self, program: &Path, arguments: &[&str]) -> Option<(String, Ended)> {
        let mut spec = ProcessSpec::new(program, "/", self.marker.clone());
        spec.args = arguments.iter().map(OsString::from).collect();
        spec.env = self.environment.clone();
        spec.output_limit = ANSWER_BYTES_MAX;
        let answer = async {
            let mut process = self.supervisor.spawn(spec).await?;
            let mut text = String::new();
            while let Some(output) = process.output.recv().await {
                if let Output::Line { text: line, .. } = output {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            Ok((text, process.wait().await.ended))
        };
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Some(answer),
            // Its processes are ended with the future that was dropped.
            Err(_) => {
                tracing::warn!(program = %program.display(), ?arguments, "no answer in {PATIENCE:?}");
                None
            }
            Ok(Err(error)) => {
                let error: crate::process::Error = error;
                tracing::warn!(program = %program.display(), error = %Chain(&error), "it can't be asked");
                None
            }
        }
    }
}
