//! `kapelle coordinator` and `kapelle worker`: a fleet on several machines.

use std::path::PathBuf;

use clap::Args;
use kapelle_domain::placement::{Labels, is_label, is_label_value};
use kapelle_runtime::config::{self, Config, LoadOptions, Override};
use tokio_util::sync::CancellationToken;

use super::join;
use super::server::{end, greet};
use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::{self, fleet::FleetWorker};
use crate::interrupt::Interrupts;
use crate::joined::Joined;
use crate::project::Project;
use crate::service_manager::ServiceManager;

/// What `coordinator` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle coordinator --nats nats://hub:4222
  kapelle coordinator          as `nats.servers` of the configuration says

It decides, records, integrates and answers; agents run on `kapelle worker`, on any machine that
reaches NATS. Other commands in the project find it by themselves.")]
pub struct CoordinatorArgs {
    /// The NATS server; default: `nats.servers` of the configuration
    #[arg(long, value_name = "URL", env = "NATS_URL")]
    nats: Option<String>,
}

/// What `worker` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle worker               where `kapelle join` was before
  kapelle worker --join token.txt
  kapelle worker --nats nats://hub:4222 --slots 8 --label gpu --label zone=eu-1

Agents are those of the user's configuration and of a kapelle.yaml in the current directory. The
project needs not be on this machine. Ctrl-C finishes what runs and leaves; twice stops it.")]
pub struct WorkerArgs {
    /// The NATS server; default: `nats.servers` of the configuration
    #[arg(long, value_name = "URL", env = "NATS_URL")]
    nats: Option<String>,
    /// Join first with the token in FILE, unless this machine has joined a fleet before
    #[arg(long, value_name = "FILE", env = "KAPELLE_JOIN_FILE")]
    join: Option<PathBuf>,
    /// Its name; default: as which it has joined, else that of the machine
    #[arg(long)]
    name: Option<String>,
    /// Something about this machine, as `gpu` or `zone=eu-1`; may be given several times
    #[arg(long, value_name = "LABEL", value_parser = label)]
    label: Vec<(String, String)>,
    /// How many attempts it takes at once
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: Option<u32>,
    /// Where it keeps caches, workspaces and what is not delivered yet
    #[arg(long, value_name = "DIR", env = "KAPELLE_WORKER_STATE")]
    state: Option<PathBuf>,
}

impl CoordinatorArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let root = Project::root_of(&app.directory).await?;
        let loaded = load(app, root.clone(), None, self.nats.as_deref())?;
        let project = Project::with(root, loaded, app.environment.clone());
        let hosted = host::coordinate(&project).await?;
        greet(app, &project)?;
        let mut interrupts = Interrupts::listen()?;
        let manager = ServiceManager::of(&app.environment);
        let client = Client::socket(&project.socket())?;
        manager.ready("leads the project");
        // Any answer is one: that it can't record at the moment is no reason to start anew.
        let lives = async || match client.ready().await {
            Ok(()) | Err(Error::Refused(_)) => true,
            Err(_) => false,
        };
        tokio::select! {
            () = interrupts.next() => {}
            () = hosted.ended() => {}
            () = manager.keep_alive(lives) => {}
        }
        manager.stopping();
        end(&hosted, &mut interrupts).await
    }
}

impl WorkerArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let joined = Joined::of(&app.environment).ok();
        let fleet = |joined: &Joined| joined.settings();
        if let Some(file) = &self.join
            && joined.as_ref().and_then(fleet).is_none()
        {
            let token = std::fs::read_to_string(file).map_err(Error::file("read", file))?;
            let (name, nats) = (self.name.as_deref(), self.nats.as_deref());
            join::hand_in(app, &token, name, nats).await?;
        }
        let fleet = joined.as_ref().and_then(fleet);
        let loaded = load(app, app.directory.clone(), fleet, self.nats.as_deref())?;
        let name = self.name.unwrap_or_else(|| worker_name(app));
        let state = self.state.unwrap_or_else(|| state_of(app, Some(&name)));
        let worker = FleetWorker {
            labels: self.label.into_iter().collect::<Labels>(),
            slots: self.slots,
            state: std::path::absolute(&state)
                .map_err(|source| Error::System { action: "find the current directory", source })?,
            config: loaded.config,
            directory: app.directory.clone(),
            environment: app.environment.clone(),
            name: name.clone(),
        };
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut interrupts = Interrupts::listen()?;
        let manager = ServiceManager::of(&app.environment);
        let working = worker.work(&manager, drain.clone(), stop.clone());
        tokio::pin!(working);
        app.console
            .note(&format!("Worker {name} is at work. Ctrl-C finishes what runs and leaves."));
        loop {
            tokio::select! {
                result = &mut working => {
                    result?;
                    return Ok(Exit::Ok);
                }
                () = interrupts.next() => {
                    manager.stopping();
                    if drain.is_cancelled() {
                        stop.cancel();
                    }
                    drain.cancel();
                }
            }
        }
    }
}

fn load(
    app: &App,
    root: PathBuf,
    fleet_file: Option<PathBuf>,
    nats: Option<&str>,
) -> Result<config::Loaded, Error> {
    let servers = nats.map(|url| Override {
        flag: "--nats".to_owned(),
        key: "nats.servers".to_owned(),
        value: serde_json::json!([url]).to_string(),
    });
    Ok(Config::load(&LoadOptions {
        project_root: root,
        fleet_file,
        user_config_dir: config::user_config_dir(&app.environment),
        environment: app.environment.clone(),
        overrides: servers.into_iter().collect(),
    })?)
}

fn label(text: &str) -> Result<(String, String), String> {
    let (label, value) = text.split_once('=').unwrap_or((text, ""));
    if is_label(label) && is_label_value(value) {
        return Ok((label.to_owned(), value.to_owned()));
    }
    Err("a label is a name, or a name and a value, as in gpu or zone=eu-1".to_owned())
}

/// The machine's name as a worker may have it.
pub(super) fn machine_name(app: &App) -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = app.variable("HOSTNAME").or(name).unwrap_or_default();
    let short = name.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    let sound = |char: &char| char.is_ascii_lowercase() || char.is_ascii_digit() || *char == '-';
    let plain: String = short.chars().filter(sound).take(63).collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "worker".to_owned() } else { plain.to_owned() }
}

/// As which worker this machine has joined, else its own name.
fn worker_name(app: &App) -> String {
    let joined = Joined::of(&app.environment).ok();
    joined.and_then(|joined| joined.worker()).unwrap_or_else(|| machine_name(app))
}

/// Where a worker of this machine keeps what it has, unless it is told otherwise.
pub(super) fn state_of(app: &App, name: Option<&str>) -> PathBuf {
    let name = name.map_or_else(|| worker_name(app), str::to_owned);
    let home = || PathBuf::from(app.variable("HOME").unwrap_or_default()).join(".local/state");
    let base = app.variable("XDG_STATE_HOME").map_or_else(home, PathBuf::from);
    base.join("kapelle").join(format!("worker-{name}"))
}
