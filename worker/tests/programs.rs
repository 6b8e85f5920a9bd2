//! What is found of agents' programs: real executables that answer well, badly, or not at all.

#![expect(clippy::expect_used, reason = "functions shared by tests fail as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kapelle_domain::worker::ProgramState;
use kapelle_runtime::config::Agent;
use kapelle_worker::process::Supervisor;
use kapelle_worker::programs::{find, on_path};
use pretty_assertions::assert_eq;

fn program(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may be run");
}

fn agent(program: &str) -> Agent {
    Agent { command: vec![program.to_owned(), "exec".to_owned()], ..Agent::default() }
}

#[tokio::test]
async fn programs_say_their_version_and_login_and_none_is_waited_for_long() {
    let place = tempfile::tempdir().expect("a directory");
    let directory = place.path();
    program(
        directory,
        "claude",
        "case $1 in --version) echo; echo '2.1 (Claude)';; \
         auth) printf '{\\n  \"loggedIn\": false,\\n}\\n'; exit 1;; esac",
    );
    program(
        directory,
        "codex",
        "case $1 in --version) echo codex-cli 0.169;; \
         login) [ -n \"$OPENAI_API_KEY\" ] || { echo Not logged in >&2; exit 1; };; esac",
    );
    program(directory, "gemini", "setsid sleep 300 & sleep 300");
    program(directory, "deploy", "touch \"$TOUCHED\"");
    program(directory, "opencode", "exit 3");
    fs::write(directory.join("goose"), "not executable").expect("a file");
    let mut path = directory.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").expect("a path"));
    let touched = directory.join("touched");
    let environment = BTreeMap::from([
        ("PATH".into(), path.clone()),
        ("TOUCHED".into(), touched.clone().into_os_string()),
    ]);
    let mut with_key = agent("codex");
    with_key.env.insert("OPENAI_API_KEY".to_owned(), "secret".to_owned());
    let named = ["claude", "codex", "deploy", "gemini", "goose", "opencode"];
    let mut agents: BTreeMap<String, Agent> =
        named.iter().map(|name| ((*name).to_owned(), agent(name))).collect();
    agents.insert("keyed".to_owned(), with_key);
    let supervisor = Arc::new(Supervisor::new(env!("CARGO_BIN_EXE_kapelle-agent-host")));
    let marker = format!("programs-{}-", std::process::id());
    let finding = find(&agents, &environment, &supervisor, &marker);
    let found = tokio::time::timeout(Duration::from_secs(60), finding).await;
    let found = found.expect("one that hangs is not waited for");
    let found: Vec<_> =
        found.iter().map(|found| (&*found.agent, found.version.as_deref(), found.state)).collect();
    let expected = [
        ("claude", Some("2.1 (Claude)"), ProgramState::LoggedOut),
        ("codex", Some("codex-cli 0.169"), ProgramState::LoggedOut),
        ("deploy", None, ProgramState::Installed),
        ("gemini", None, ProgramState::Installed),
        ("goose", None, ProgramState::Missing),
        ("keyed", Some("codex-cli 0.169"), ProgramState::Installed),
        ("opencode", None, ProgramState::Installed),
    ];
    assert_eq!(found, expected);
    assert!(!touched.exists(), "a program that is not known is not started");
    assert_eq!(on_path(&path, "goose"), None);
    let left = kapelle_worker::process::sweep_strays(&marker).expect("processes can be listed");
    assert_eq!((left.killed, left.left), (0, 0), "what hung was ended with all that it started");
}
