//! The parts of a fleet: a coordinator whose workers are on other machines, and such a worker.
//! They meet at NATS, and share no disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::CoordinatorEnd as _;
use kapelle_bus::nats::{Bucket, Credentials, NatsCoordinator, NatsOptions, NatsWorker, Secret};
use kapelle_bus::subject::Root;
use kapelle_coordinator::admission::{self, Admission};
use kapelle_coordinator::control;
use kapelle_coordinator::histories::Histories;
use kapelle_coordinator::progress::Progress;
use kapelle_coordinator::results::Parcels;
use kapelle_domain::ids::WorkerId;
use kapelle_domain::placement::Labels;
use kapelle_domain::worker::{Program, ProgramState, Registration, is_worker_name};
use kapelle_git::Identity;
use kapelle_runtime::clock::Clock;
use kapelle_runtime::config::{self, Config};
use kapelle_runtime::identity;
use kapelle_runtime::telemetry::Chain;
use kapelle_worker::attempt::Workshop;
use kapelle_worker::attempt::project::{Source, cached};
use kapelle_worker::carrier::BlobCarrier;
use kapelle_worker::daemon::{self, Worker};
use kapelle_worker::process::keeper::Keeping;
use kapelle_worker::process::{Supervisor, sweep_strays_but};
use kapelle_worker::programs;
use kapelle_worker::verify::Verifier;
use tokio_util::sync::CancellationToken;

use super::local::{self, Elsewhere, Hosted};
use super::{Error, authority};
use crate::project::Project;
use crate::service_manager::ServiceManager;

/// Attempts that a worker takes at once, when nobody says.
const SLOTS: u32 = 4;

/// How often it is looked whether the coordinator has answered.
const HEARD_EVERY: Duration = Duration::from_secs(2);

/// The wait before a worker that was given up registers again.
const AGAIN: Duration = Duration::from_secs(1);

/// Starts a coordinator for workers on other machines in this process.
///
/// # Errors
/// When another process has the project, or something that it needs is missing.
pub(super) async fn coordinate(project: &Project) -> Result<Hosted, Error> {
    let settings = &project.config().nats;
    let mut options = options(settings, project.root())?;
    let ground = local::prepare(project).await?;
    let admission = admission(project, &ground, &mut options)?;
    if let Some(admission) = &admission {
        // First of all: what a coordinator may do is part of it.
        admission.publish().await.map_err(Error::from)?;
    }
    let bus = NatsCoordinator::connect(&options, ground.term()?).await.map_err(Error::Nats)?;
    let (blob_bytes, all_bytes) = (settings.blob_bytes.0, settings.blobs_bytes.0);
    let bucket = |bucket| bus.blobs(bucket, blob_bytes, all_bytes);
    let bases = bucket(Bucket::Bases).await.map_err(Error::Nats)?;
    let results = bucket(Bucket::Results).await.map_err(Error::Nats)?;
    let parcels: Arc<dyn Parcels> = Arc::new(results);
    let hosted = Hosted::new(&ground, project.socket());
    let elsewhere = Elsewhere { parcels: Some(Arc::clone(&parcels)), admission: admission.clone() };
    let opened =
        local::open(project, "coordinator", &ground, bus.clone(), elsewhere, &hosted).await?;
    if let Some(admission) = admission {
        let joins = bus.joins().await.map_err(Error::Nats)?;
        let serving = admission.serve(joins, bus.online(), hosted.core.end.clone());
        hosted.core.tasks.spawn(serving);
    }
    let control = bus.control().await.map_err(Error::Nats)?;
    let steering = control::serve(opened.service.clone(), control, hosted.server.end.clone());
    hosted.server.tasks.spawn(steering);
    let passing_on = bases.clone();
    let histories = Histories::new(
        bases,
        ground.project.repository.clone(),
        ground.project.name().into(),
        ground.places.sub("work"),
    );
    hosted.core.tasks.spawn(histories.run(opened.engine.clone(), hosted.core.end.clone()));
    let progress = Progress::new(Arc::clone(&parcels), passing_on, ground.places.sub("work"));
    hosted.core.tasks.spawn(progress.run(opened.engine.clone(), hosted.core.end.clone()));
    local::integrate(&ground, &opened, Some(parcels), &hosted);
    let end = hosted.core.end.clone();
    hosted.core.tasks.spawn(async move {
        end.cancelled().await;
        bus.close().await;
    });
    Ok(hosted)
}

/// Whom the server believes, where the project has the secret of its fleet; it goes for the coordinator
/// itself, too.
fn admission(
    project: &Project,
    ground: &local::Ground,
    options: &mut NatsOptions,
) -> Result<Option<Admission>, Error> {
    if !matches!(options.credentials, Credentials::None) {
        return Ok(None);
    }
    let Some(authority) = authority::find(project)? else { return Ok(None) };
    let credentials = authority.coordinator();
    options.credentials = credentials.map_err(|error| Error::Setting(Chain(&error).to_string()))?;
    let read = |path: &PathBuf| {
        let failed = |source| Error::Directory { path: path.clone(), doing: "read", source };
        std::fs::read_to_string(path).map_err(failed)
    };
    Ok(Some(Admission::new(admission::Parts {
        store: Arc::clone(&ground.store),
        clock: ground.clock.clone(),
        authority,
        authorities: options.tls_ca.as_ref().map(read).transpose()?,
        options: options.clone(),
    })))
}

/// What a worker of a fleet is made of.
#[derive(Debug)]
pub struct FleetWorker {
    /// Its name.
    pub name: String,
    /// What it says about its machine.
    pub labels: Labels,
    /// How many attempts it takes at once.
    pub slots: Option<u32>,
    /// Where it keeps everything; its alone.
    pub state: PathBuf,
    /// Agents, limits, and how to reach NATS.
    pub config: Config,
    /// What paths in the configuration are relative to.
    pub directory: PathBuf,
    /// The environment of the program.
    pub environment: BTreeMap<OsString, OsString>,
}

impl FleetWorker {
    /// Works until `drain` or `stop`, also beyond being given up for a while.
    ///
    /// # Errors
    /// When it can't go on.
    pub async fn work(
        self,
        manager: &ServiceManager,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        if !is_worker_name(&self.name) {
            return Err(Error::Setting(format!(
                "`{}` can't name a worker: lower-case letters, digits, `-` and `_`",
                self.name
            )));
        }
        let options = options(&self.config.nats, &self.directory)?;
        let _alone = self.lock()?;
        let id = WorkerId(self.name.clone());
        let bus = NatsWorker::connect(&options, &id).await.map_err(Error::Nats)?;
        let workshop = Arc::new(self.workshop(&bus)?);
        manager.ready("is connected");
        let heard = heard_file(&self.state);
        tokio::select! {
            result = self.serve(&id, &bus, &workshop, drain, stop) => result,
            () = manager.keep_alive(async || true) => Ok(()),
            () = note_answers(&bus, &heard) => Ok(()),
        }
    }

    async fn serve(
        &self,
        id: &WorkerId,
        bus: &NatsWorker,
        workshop: &Arc<Workshop>,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let programs = self.programs(workshop).await;
        loop {
            let worker = Worker {
                bus: bus.clone(),
                registration: self.registration(id.clone(), &programs),
                workshop: Arc::clone(workshop),
                heartbeat: self.config.timeouts.heartbeat.0,
                drain_within: Some(self.config.timeouts.drain.0),
                first_request: identity::seed(),
            };
            match worker.run(drain.clone(), stop.clone()).await {
                Ok(()) => return Ok(()),
                Err(daemon::Error::Forgotten(_)) if !drain.is_cancelled() => {
                    tracing::warn!("the coordinator has given this worker up; it registers again");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(Error::Worker(error)),
            }
        }
    }

    fn registration(&self, id: WorkerId, programs: &[Program]) -> Registration {
        let slots = self.slots.or(self.config.limits.max_running).unwrap_or(SLOTS);
        // Whatever is given to an agent that nobody is logged in for fails at once.
        let able = programs.iter().filter(|program| program.state == ProgramState::Installed);
        let agents = able.map(|program| Arc::clone(&program.agent)).collect();
        let mut labels = local::labels();
        labels.extend(self.labels.clone());
        Registration {
            labels,
            programs: programs.to_vec(),
            cached: cached(&self.state.join("caches")),
            ..Registration::new(id, slots, agents)
        }
    }

    /// What is there of the agents' programs. Said here too, since it decides what is done.
    async fn programs(&self, workshop: &Workshop) -> Vec<Program> {
        let Workshop { agents, environment, supervisor, marker, .. } = workshop;
        let found = programs::find(agents, environment, supervisor, marker).await;
        for Program { agent, version, state } in &found {
            match state {
                ProgramState::Installed => tracing::info!(%agent, version, "found"),
                ProgramState::LoggedOut => {
                    tracing::warn!(%agent, version, "nobody is logged in; it gets no work here");
                }
                ProgramState::Missing => tracing::warn!(%agent, "its program is missing"),
            }
        }
        found
    }

    fn workshop(&self, bus: &NatsWorker) -> Result<Workshop, Error> {
        let place = |name: &str| self.state.join(name);
        for name in ["work", "kept", "results", "spool", "caches", "scratch"] {
            let path = place(name);
            std::fs::create_dir_all(&path).map_err(|source| Error::Directory {
                path,
                doing: "made",
                source,
            })?;
        }
        let marker = self.marker()?;
        let spared = daemon::marks(&place("spool"), &marker);
        if let Err(error) = sweep_strays_but(&marker, &spared) {
            tracing::warn!(error = %Chain(&error), "processes of an earlier worker can't be looked for");
        }
        let blob_bytes = self.config.nats.blob_bytes.0;
        let carrier = BlobCarrier::new(
            bus.blobs(Bucket::Bases, blob_bytes),
            bus.blobs(Bucket::Results, blob_bytes),
            place("scratch"),
        );
        let clock = Clock::system();
        let exe = std::env::current_exe().map_err(Error::OwnExecutable)?;
        let supervisor = Arc::new(Supervisor::new(&exe));
        let environment = local::environment(&self.environment);
        let config = &self.config;
        Ok(Workshop {
            source: Source::Elsewhere { caches: place("caches"), carrier: Arc::new(carrier) },
            identity: Identity::fallback(),
            agents: config.agents.clone(),
            agent_limit: config.timeouts.attempt.map(|limit| limit.0),
            silence: config.timeouts.no_progress.map(|limit| limit.0),
            snapshot_every: config.run.snapshot_every(),
            verifier: Verifier {
                supervisor: Arc::clone(&supervisor),
                settings: config.verify.clone(),
                environment: environment.clone(),
                clock: clock.clone(),
            },
            output_bytes: config.limits.output_bytes.0,
            keep: config.store.keep_workspaces,
            supervisor,
            keeping: Some(Keeping { exe: exe.clone(), grace: config.timeouts.orphan_grace.0 }),
            exe,
            environment,
            workspaces: place("work"),
            kept: place("kept"),
            results: place("results"),
            spools: place("spool"),
            marker,
            clock,
        })
    }

    /// Held while this worker lives: what is in its place is one worker's.
    fn lock(&self) -> Result<File, Error> {
        let failed = |source| Error::Directory { path: self.state.clone(), doing: "used", source };
        std::fs::create_dir_all(&self.state).map_err(failed)?;
        let path = self.state.join("lock");
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::Setting(format!(
                "another worker works in {}; end it, or give --state DIR",
                self.state.display()
            ))),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Marks every process of this worker's attempts, also for the worker that is started next.
    fn marker(&self) -> Result<String, Error> {
        let path = self.state.join("marker");
        let failed = |source| Error::Directory { path: path.clone(), doing: "used", source };
        match std::fs::read_to_string(&path) {
            Ok(marker) if !marker.trim().is_empty() => return Ok(marker.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let marker = format!("kapelle-{:x}-", identity::seed());
        std::fs::write(&path, &marker).map_err(failed)?;
        Ok(marker)
    }
}

/// The file in a worker's directory whose age says how long the coordinator has not answered.
#[must_use]
pub fn heard_file(state: &Path) -> PathBuf {
    state.join("heard")
}

/// Keeps the file as young as the last answer of the coordinator. Never returns.
async fn note_answers(bus: &NatsWorker, file: &Path) {
    let mut ticks = tokio::time::interval(HEARD_EVERY);
    let mut known = 0;
    loop {
        ticks.tick().await;
        let answered = bus.health().answered;
        if answered != known {
            known = answered;
            if let Err(error) = std::fs::write(file, format!("{}\n", std::process::id())) {
                tracing::warn!(%error, file = %file.display(), "whether the worker is heard can't be noted");
            }
        }
    }
}

/// How to reach NATS, by the configuration.
fn options(settings: &config::Nats, directory: &Path) -> Result<NatsOptions, Error> {
    if settings.servers.is_empty() {
        return Err(Error::Setting(
            "no NATS server is configured; give --nats URL, or set `nats.servers`".to_owned(),
        ));
    }
    let mut options = NatsOptions::new(settings.servers.clone());
    options.root =
        Root::new(settings.root.as_str()).map_err(|error| Error::Setting(error.to_string()))?;
    options.credentials = match (&settings.nkey_file, &settings.creds_file) {
        (Some(file), _) => {
            let path = directory.join(file);
            let seed = std::fs::read_to_string(&path).map_err(|source| Error::Directory {
                path,
                doing: "read",
                source,
            })?;
            Credentials::NKey { seed: Secret::new(seed.trim().to_owned()) }
        }
        (None, Some(file)) => Credentials::File { path: directory.join(file) },
        (None, None) => Credentials::None,
    };
    options.tls_ca = settings.ca_file.as_ref().map(|file| directory.join(file));
    options.tls_required = settings.require_tls;
    Ok(options)
}
