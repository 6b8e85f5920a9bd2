//! Which known agent programs are installed here.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kapelle_runtime::config::{DetectedAgent, PromptDelivery};
use kapelle_worker::programs::on_path;
use serde::Serialize;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::app::App;
use crate::output::sanitize;

/// Some of them take seconds to start.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A program that is known, and how it is run without anybody at the keyboard.
struct Known {
    name: &'static str,
    /// After the program's own name.
    arguments: &'static [&'static str],
    prompt: PromptDelivery,
}

/// The preferred ones first.
const KNOWN: [Known; 8] = [
    Known {
        name: "claude",
        arguments: &[
            "-p",
            "--permission-mode",
            "acceptEdits",
            "--allowedTools",
            "Bash,Edit,Write,Read",
        ],
        prompt: PromptDelivery::Stdin,
    },
    // Its own sandbox makes .git read-only, which is as well: Kapelle commits.
    Known {
        name: "codex",
        arguments: &["exec", "--skip-git-repo-check", "-s", "workspace-write", "-"],
        prompt: PromptDelivery::Stdin,
    },
    Known {
        name: "gemini",
        arguments: &["--approval-mode", "yolo"],
        prompt: PromptDelivery::Stdin,
    },
    Known {
        name: "copilot",
        arguments: &["--allow-all", "--no-ask-user", "-p"],
        prompt: PromptDelivery::Argument,
    },
    Known { name: "opencode", arguments: &["run"], prompt: PromptDelivery::Argument },
    Known { name: "goose", arguments: &["run", "-i"], prompt: PromptDelivery::File },
    Known {
        name: "aider",
        arguments: &["--yes-always", "--no-auto-commits", "--no-check-update", "--message-file"],
        prompt: PromptDelivery::File,
    },
    Known {
        name: "mini",
        arguments: &["-y", "--exit-immediately", "-t"],
        prompt: PromptDelivery::Argument,
    },
];

/// An agent program that is installed here.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Found {
    name: &'static str,
    program: PathBuf,
    /// What it says of its version; absent when it says nothing in time.
    version: Option<String>,
    #[serde(skip)]
    command: Vec<String>,
    #[serde(skip)]
    prompt: PromptDelivery,
}

impl Found {
    /// As the configuration names it.
    pub(super) fn configured(&self) -> DetectedAgent {
        DetectedAgent {
            name: self.name.to_owned(),
            command: self.command.clone(),
            prompt: self.prompt,
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("version unknown");
        write!(f, "{} ({version})", self.name)
    }
}

/// Looks for all known programs, all at once. The preferred ones come first.
pub(super) async fn find(app: &App) -> Vec<Found> {
    let path = app.environment.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    let mut looking = JoinSet::new();
    for (rank, known) in KNOWN.iter().enumerate() {
        if let Some(program) = on_path(&path, known.name) {
            looking.spawn(async move {
                let command = std::iter::once(&known.name).chain(known.arguments);
                let found = Found {
                    name: known.name,
                    version: version(&program).await,
                    program,
                    command: command.map(|&word| word.to_owned()).collect(),
                    prompt: known.prompt,
                };
                (rank, found)
            });
        }
    }
    let mut found = looking.join_all().await;
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, found)| found).collect()
}

/// The first line that `program --version` prints.
async fn version(program: &Path) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_TIMEOUT, output).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    let line: String = sanitize(line).trim().chars().take(60).collect();
    (output.status.success() && !line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn program(directory: &Path, name: &str, script: &str) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, script).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may be run");
        path
    }

    #[tokio::test]
    async fn programs_are_found_with_their_version() {
        let directory = tempfile::tempdir().expect("a directory");
        let claude = program(directory.path(), "claude", "#!/bin/sh\necho; echo '2.1 (Claude)'\n");
        let broken = program(directory.path(), "codex", "#!/bin/sh\nexit 3\n");
        fs::write(directory.path().join("gemini"), "not executable").expect("a file");
        let path = directory.path().as_os_str();
        assert_eq!(on_path(path, "claude").as_ref(), Some(&claude));
        assert_eq!(on_path(path, "gemini"), None);
        assert_eq!(on_path(path, "opencode"), None);
        assert_eq!(version(&claude).await.as_deref(), Some("2.1 (Claude)"));
        assert_eq!(version(&broken).await, None);
    }
}
