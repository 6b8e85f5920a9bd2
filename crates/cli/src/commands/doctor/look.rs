//! What `doctor` looks at.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use kapelle_git::Repository;
use kapelle_runtime::config::Driver;
use kapelle_store::{Mode, OpenOptions, Store};
use kapelle_worker::process::{Containment, ProcessSpec, Supervisor};
use kapelle_worker::programs::on_path;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{Finding, files};
use crate::app::App;
use crate::client::{Client, is_nobody_there};
use crate::error::Error;
use crate::project::{Project, STATE_DIRECTORY};

/// With less room than this (1 GiB), working copies of agents will fill the disk.
const ROOM_MIN: u64 = 1024 * 1024 * 1024;
/// Looks at everything.
pub(super) async fn around(app: &App) -> Vec<Finding> {
    let mut findings = vec![git().await, containment(&app.environment).await];
    let repository = match Repository::discover(&app.directory).await {
        Ok(repository) => repository,
        Err(source) => {
            let error = Error::Project { path: app.directory.clone(), source };
            findings.push(Finding::error("repository", &error));
            return findings;
        }
    };
    findings.push(state(&repository).await);
    findings.extend(files(app, repository.root()));
    findings.push(disk(repository.root()));
    findings.extend(unwritable(repository.root()));
    if let Ok(project) = Project::at(repository.root().to_owned(), app.environment.clone()) {
        findings.push(agents(&project));
        findings.push(socket(&project).await);
        findings.push(store(&project).await);
    }
    findings
}

async fn git() -> Finding {
    match kapelle_git::git_version().await {
        Ok(version) => Finding::ok("git", version),
        Err(error) => {
            let hint = "Kapelle works through the git program, 2.38 or newer".to_owned();
            Finding::failure("git", error.to_string(), Some(hint))
        }
    }
}

async fn state(repository: &Repository) -> Finding {
    let root = repository.root().display();
    match repository.head().await {
        Ok(head) => match head.branch {
            Some(branch) => Finding::ok("repository", format!("{root}, on {}", branch.short())),
            None => Finding::warning(
                "repository",
                format!("{root}: HEAD is detached"),
                "results will go to a branch of their own; `git switch` goes back to a branch",
            ),
        },
        Err(error) => {
            let hint = "Kapelle starts from a commit: git commit --allow-empty -m start";
            Finding::failure("repository", error.to_string(), Some(hint.to_owned()))
        }
    }
}

/// Starts a process the way agents are started, to see what holds it together.
async fn containment(environment: &BTreeMap<OsString, OsString>) -> Finding {
    let failed = |reason: String| Finding::failure("containment", reason, None);
    let Ok(program) = std::env::current_exe() else {
        return failed("cannot find my own program".to_owned());
    };
    let supervisor = Supervisor::new(program);
    let mut spec = ProcessSpec::new("true", "/", "kapelle-doctor");
    spec.env = environment.clone();
    let exit = match supervisor.spawn(spec).await {
        Ok(mut process) => process.wait().await,
        Err(error) => {
            return failed(kapelle_runtime::telemetry::Chain(&error).to_string());
        }
    };
    match exit.containment {
        Containment::PidNamespace => Finding::ok("containment", "PID namespace"),
        Containment::UserPidNamespace => Finding::ok("containment", "PID namespace of this user"),
        Containment::Subreaper => Finding::warning(
            "containment",
            "no namespaces: processes of agents are hunted down one by one",
            "allow unprivileged user namespaces, so that the kernel ends them for certain",
        ),
    }
}

fn disk(root: &Path) -> Finding {
    let room = match statvfs(root) {
        Ok(disk) => disk.blocks_available().saturating_mul(disk.fragment_size()),
        Err(error) => return Finding::failure("disk", error.desc(), None),
    };
    let tenths = room / (ROOM_MIN / 10);
    let message = format!("{}.{} GiB free", tenths / 10, tenths % 10);
    if room < ROOM_MIN {
        Finding::warning("disk", message, "each agent works in a copy of the repository")
    } else {
        Finding::ok("disk", message)
    }
}

/// That nothing can be written here. Files can be looked at all the same.
fn unwritable(root: &Path) -> Option<Finding> {
    let state = root.join(STATE_DIRECTORY);
    let place = if state.exists() { state } else { root.to_owned() };
    let error = access(&place, AccessFlags::W_OK).err()?;
    let message = format!("{} can't be written: {}", place.display(), error.desc());
    let hint = "nothing can run here; make it writable, or work in a copy";
    Some(Finding::warning("state", message, hint))
}

fn agents(project: &Project) -> Finding {
    let path = project.environment().get(OsStr::new("PATH")).cloned().unwrap_or_default();
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for (name, agent) in &project.config().agents {
        let present = match agent.driver {
            Driver::Command => agent.command.first().is_some_and(|program| {
                let direct = program.contains('/') && project.root().join(program).is_file();
                direct || on_path(&path, program).is_some()
            }),
            Driver::Scripted => {
                agent.script.as_ref().is_some_and(|script| project.root().join(script).is_file())
            }
        };
        if present { found.push(name.as_str()) } else { missing.push(name.as_str()) }
    }
    if !missing.is_empty() {
        let message = format!("the programs of these are missing: {}", missing.join(", "));
        let hint = "install them, or take them out of kapelle.yaml";
        return Finding::warning("agents", message, hint);
    }
    if found.is_empty() {
        let message = "no agent is configured";
        return Finding::failure("agents", message, Some("kapelle init finds those here".into()));
    }
    Finding::ok("agents", found.join(", "))
}

async fn socket(project: &Project) -> Finding {
    let path = project.socket();
    let client = match Client::socket(&path) {
        Ok(client) => client,
        Err(error) => return Finding::error("socket", &error),
    };
    match client.health().await {
        Ok(health) => {
            let message =
                format!("process {} answers, started as `kapelle {}`", health.pid, health.role);
            Finding::ok("socket", message)
        }
        Err(error) if is_nobody_there(&error) => {
            Finding::ok("socket", "no coordinator is up; one is started when it is needed")
        }
        Err(error) => Finding::error("socket", &error),
    }
}

async fn store(project: &Project) -> Finding {
    let url = &project.config().store.url;
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Finding::ok("store", url.clone());
    };
    let path = project.root().join(path);
    if !path.exists() {
        return Finding::ok("store", "not there yet; it is made when it is needed");
    }
    let options = OpenOptions { path: path.clone(), mode: Mode::Read, new_epoch: 0 };
    match Store::open(options).await {
        Ok(_) => Finding::ok("store", path.display().to_string()),
        Err(error) => {
            let message = kapelle_runtime::telemetry::Chain(&error).to_string();
            // SQLite needs files beside it even to read.
            if unwritable(project.root()).is_some() {
                let hint = "it can't be looked at where nothing can be written";
                return Finding::warning("store", message, hint);
            }
            Finding::failure("store", message, None)
        }
    }
}
