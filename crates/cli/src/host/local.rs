//! A coordinator, and a worker where work is to be done, in this process: the composition of all
//! parts on embedded defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kapelle_bus::{CoordinatorEnd, memory};
use kapelle_coordinator::admission::Admission;
use kapelle_coordinator::dispatch::{self, Dispatch};
use kapelle_coordinator::http::{self, Access, Reach, Stale, Token};
use kapelle_coordinator::integrate::{CheckTree, Integrator};
use kapelle_coordinator::project::Project as Served;
use kapelle_coordinator::results::{self, Leftovers, Parcels, When};
use kapelle_coordinator::service::{self, Service};
use kapelle_coordinator::transcripts::Transcripts;
use kapelle_domain::ids::{Term, WorkerId};
use kapelle_domain::placement::Labels;
use kapelle_domain::worker::Registration;
use kapelle_git::{Identity, Repository};
use kapelle_runtime::clock::Clock;
use kapelle_runtime::config::Config;
use kapelle_runtime::identity;
use kapelle_runtime::telemetry::Chain;
use kapelle_store::{Mode, OpenOptions, Store};
use kapelle_worker::attempt::Workshop;
use kapelle_worker::attempt::project::{Project as Worked, Settings, Source};
use kapelle_worker::daemon::Worker;
use kapelle_worker::process::{Supervisor, sweep_strays};
use kapelle_worker::spool::attempt::{Reported, reported};
use kapelle_worker::verify::{Subject, Verifier, machine_fault};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::group::{Alarm, Group};
use super::{Ending, Error, How, Need};
use crate::project::Project;
use crate::secret_file;

/// Attempts that the worker of this process takes at once, when the configuration doesn't say.
/// What limits a run is its own concurrency; this only bounds all runs together.
const SLOTS: u32 = 64;

/// How the names of sockets begin that only one command uses.
const PRIVATE: &str = "private-";

/// Where attempts have their spools, within the project's state.
const SPOOLS: &str = "spool";

/// Connections to the state database are idle most of the time; its log is folded this often.
const CHECKPOINT_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// A coordinator in this process. Its parts end in an order of their own, see [`Hosted::finish`].
#[derive(Debug)]
pub struct Hosted {
    store: Arc<Store>,
    socket: PathBuf,
    /// Held so that the bus stays open where no worker is started.
    bus: Option<memory::MemoryWorker>,
    /// Makes attempts.
    worker: Group,
    /// Integrates results.
    merges: Group,
    /// Answers requests.
    pub(super) server: Group,
    /// Decides, and keeps what is to be kept.
    pub(super) core: Group,
    /// Work is to be ended, not waited for.
    kill: CancellationToken,
    alarm: Alarm,
}

impl Hosted {
    pub(super) fn new(ground: &Ground, socket: PathBuf) -> Self {
        Self {
            store: Arc::clone(&ground.store),
            socket,
            bus: None,
            worker: Group::default(),
            merges: Group::default(),
            server: Group::default(),
            core: Group::default(),
            kill: CancellationToken::new(),
            alarm: Alarm::default(),
        }
    }

    /// Ends it; waits until it has. A second call may only be more urgent than the first, whose
    /// future may have been dropped.
    ///
    /// # Errors
    /// When the store can't be closed in an orderly way; what was recorded is safe all the same.
    pub async fn finish(&self, how: How) -> Result<Ending, Error> {
        // From here on whatever is submitted would not be done.
        self.alarm.wanted.cancel();
        if how == How::Stop {
            self.kill.cancel();
        }
        self.worker.finish().await;
        self.merges.finish().await;
        self.server.finish().await;
        self.core.finish().await;
        self.store.close().await.map_err(Error::Store)?;
        Ok(Ending { failed: self.alarm.is_raised() })
    }

    /// The socket that it answers on.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns when somebody else wants it to end, or when it can't go on.
    pub async fn ended(&self) {
        self.alarm.wanted.cancelled().await;
    }
}

/// The places of a project's state.
pub(super) struct Places {
    root: PathBuf,
}

impl Places {
    pub(super) fn sub(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes the directory; git is told to leave it alone.
    fn prepare(&self) -> Result<(), Error> {
        let failed = |source| Error::Directory { path: self.root.clone(), doing: "made", source };
        std::fs::create_dir_all(&self.root).map_err(failed)?;
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n").map_err(failed)?;
        }
        Ok(())
    }
}

/// Everything that several parts need.
pub(super) struct Ground {
    pub(super) project: Served,
    pub(super) places: Places,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    author: Identity,
    verifier: Verifier,
    supervisor: Arc<Supervisor>,
    exe: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    marker: String,
    /// The reports that an earlier process has written down and not delivered.
    reported: Vec<Reported>,
}

impl Ground {
    /// The term in which this process leads.
    pub(super) fn term(&self) -> Result<Term, Error> {
        self.store.term().ok_or(Error::Store(kapelle_store::Error::NotLeading))
    }
}

/// Starts a coordinator in this process.
///
/// # Errors
/// When another process has the project, or something that it needs is missing.
pub(super) async fn start(project: &Project, need: Need) -> Result<Hosted, Error> {
    let ground = prepare(project).await?;
    let (coordinator_end, worker_end) = memory::bus();
    let mut hosted = Hosted::new(&ground, socket_for(project, need));
    hosted.bus = Some(worker_end.clone());
    let elsewhere = Elsewhere::default();
    let opened = open(project, role(need), &ground, coordinator_end, elsewhere, &hosted).await?;
    if matches!(need, Need::Work(_)) {
        integrate(&ground, &opened, None, &hosted);
        let worker = worker(ground, worker_end);
        let work = worker.run(hosted.worker.end.clone(), hosted.kill.clone());
        hosted.worker.run("worker", work, &hosted.alarm);
    } else {
        integrator(&ground, &opened, None).finish_moves().await;
    }
    Ok(hosted)
}

/// What a coordinator has whose workers are on other machines.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// Where their results are.
    pub(super) parcels: Option<Arc<dyn Parcels>>,
    /// Lets machines in.
    pub(super) admission: Option<Admission>,
}

/// What every coordinator has, whatever its bus.
pub(super) struct Opened {
    /// The way to the loop.
    pub(super) engine: dispatch::Engine,
    /// Rung when there is something to integrate.
    bell: Arc<Notify>,
    /// What can be asked.
    pub(super) service: Service,
}

/// Starts what every coordinator has, whatever its bus: the loop, the transcripts, the service.
pub(super) async fn open<C: CoordinatorEnd>(
    project: &Project,
    role: &'static str,
    ground: &Ground,
    bus: C,
    elsewhere: Elsewhere,
    hosted: &Hosted,
) -> Result<Opened, Error> {
    let Elsewhere { parcels, admission } = elsewhere;
    let bell = Arc::new(Notify::new());
    let parts = dispatch::Parts {
        store: Arc::clone(&ground.store),
        limits: ground.project.limits(),
        reported: ground.reported.iter().map(|reported| reported.held).collect(),
        bus: bus.clone(),
        clock: ground.clock.clone(),
        seed: identity::seed(),
        merges: Arc::clone(&bell),
    };
    let (loop_, engine) = Dispatch::start(parts).await.map_err(Error::Dispatch)?;
    let transcripts = Transcripts::new(ground.places.sub("logs"));
    let service = Service::new(service::Parts {
        project: ground.project.clone(),
        engine: engine.clone(),
        store: Arc::clone(&ground.store),
        transcripts: transcripts.clone(),
        admission,
        clock: ground.clock.clone(),
        identity: Arc::new(identity::Identity::new(ground.clock.clone())),
        role,
        shutdown: hosted.alarm.wanted.clone(),
    });
    serve(project, role != READER && role != WRITER, service.clone(), hosted).await?;
    hosted.core.run("dispatch", loop_.run(hosted.core.end.clone()), &hosted.alarm);
    let collected = transcripts.collect(bus);
    let until = hosted.core.end.clone();
    hosted.core.tasks.spawn(async move { until.run_until_cancelled(collected).await });
    hosted.core.tasks.spawn(checkpoints(Arc::clone(&ground.store), hosted.core.end.clone()));
    let leftovers = Leftovers {
        engine: engine.clone(),
        store: Arc::clone(&ground.store),
        repository: ground.project.repository.clone(),
        owner: results::owner(ground.store.identity()),
        directory: ground.places.sub("results"),
        parcels,
    };
    leftovers.clear(When::AtStart).await;
    hosted.core.tasks.spawn(leftovers.run(hosted.core.end.clone()));
    Ok(Opened { engine, bell, service })
}

/// Starts the merge queue.
pub(super) fn integrate(
    ground: &Ground,
    opened: &Opened,
    parcels: Option<Arc<dyn Parcels>>,
    hosted: &Hosted,
) {
    let integrator = integrator(ground, opened, parcels);
    hosted.merges.tasks.spawn(integrator.run(hosted.merges.end.clone(), hosted.kill.clone()));
}

fn integrator(ground: &Ground, opened: &Opened, parcels: Option<Arc<dyn Parcels>>) -> Integrator {
    Integrator {
        project: ground.project.clone(),
        engine: opened.engine.clone(),
        check: check_tree(ground),
        identity: ground.author.clone(),
        clock: ground.clock.clone(),
        bell: Arc::clone(&opened.bell),
        owner: results::owner(ground.store.identity()),
        parcels,
    }
}

/// The roles of coordinators that a command starts for itself alone.
const READER: &str = "reader";
const WRITER: &str = "writer";

fn role(need: Need) -> &'static str {
    match need {
        Need::Read => READER,
        Need::Write => WRITER,
        Need::Work(command) => command,
    }
}

/// Makes the directory of a project's state.
pub(super) fn prepare_state(project: &Project) -> Result<(), Error> {
    Places { root: project.state_directory() }.prepare()
}

pub(super) async fn prepare(project: &Project) -> Result<Ground, Error> {
    let repository = Repository::discover(project.root()).await.map_err(Error::Repository)?;
    let places = Places { root: project.state_directory() };
    places.prepare()?;
    let options = OpenOptions {
        path: project.config().store.path(project.root()),
        mode: Mode::Lead,
        // SQL integers are signed.
        new_epoch: identity::seed() >> 1,
    };
    let store = Store::open(options).await.map_err(Error::Store)?;
    // From here on the project is ours alone.
    let marker = format!("kapelle-{:x}-", store.identity());
    if let Err(error) = sweep_strays(&marker) {
        tracing::warn!(error = %Chain(&error), "processes of an earlier coordinator can't be looked for");
    }
    let reported = reported(&places.sub(SPOOLS));
    clear(&places.sub("work")).await?;
    clear_private_sockets(&places.root);
    clear_kept(&places.sub("kept"), project.config().store.keep_for.0).await;
    let results = places.sub("results");
    std::fs::create_dir_all(&results).map_err(|source| Error::Directory {
        path: results,
        doing: "made",
        source,
    })?;
    let config = Arc::new(project.config().clone());
    let author = author(&config, &repository).await?;
    let clock = Clock::system();
    let exe = std::env::current_exe().map_err(Error::OwnExecutable)?;
    let supervisor = Arc::new(Supervisor::new(&exe));
    let environment = environment(project.environment());
    let verifier = Verifier {
        supervisor: Arc::clone(&supervisor),
        settings: config.verify.clone(),
        environment: environment.clone(),
        clock: clock.clone(),
    };
    let project = Served { repository, config, state: places.root.clone() };
    Ok(Ground {
        project,
        places,
        store: Arc::new(store),
        clock,
        author,
        verifier,
        supervisor,
        exe,
        environment,
        marker,
        reported,
    })
}

/// Clears what an earlier coordinator left of its attempts; all of it is dead.
async fn clear(directory: &Path) -> Result<(), Error> {
    let failed =
        |doing| move |source| Error::Directory { path: directory.to_owned(), doing, source };
    kapelle_git::remove_tree(directory)
        .await
        .map_err(|error| failed("cleared")(std::io::Error::other(error)))?;
    std::fs::create_dir_all(directory).map_err(failed("made"))
}

/// Removes workspaces that were kept for long enough. One that can't be removed stays.
async fn clear_kept(directory: &Path, keep_for: std::time::Duration) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let age = modified.ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > keep_for)
            && let Err(error) = kapelle_git::remove_tree(&entry.path()).await
        {
            tracing::warn!(error = %Chain(&error), "a workspace that was kept can't be removed");
        }
    }
}

/// Removes the sockets of commands that were killed.
fn clear_private_sockets(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PRIVATE) {
            // One that stays does no harm.
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

async fn author(config: &Config, repository: &Repository) -> Result<Identity, Error> {
    match (&config.integrate.author_name, &config.integrate.author_email) {
        (Some(name), Some(email)) => Identity::new(name, email).map_err(Error::Author),
        (Some(_) | None, None) | (None, Some(_)) => {
            repository.default_identity().await.map_err(Error::Repository)
        }
    }
}

/// The environment of agents and checks: ours, without what is Kapelle's own.
pub(super) fn environment(ours: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
    let own = |name: &OsString| name.as_encoded_bytes().starts_with(b"KAPELLE_");
    ours.iter()
        .filter(|(name, _)| !own(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// What every worker says about its machine.
pub(super) fn labels() -> Labels {
    let known = [("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
    known.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Where it answers: on the project's socket when work is done, else only for this command.
fn socket_for(project: &Project, need: Need) -> PathBuf {
    match need {
        Need::Work(_) => project.socket(),
        Need::Read | Need::Write => {
            project.state_directory().join(format!("{PRIVATE}{}.sock", std::process::id()))
        }
    }
}

async fn serve(
    project: &Project,
    is_public: bool,
    service: Service,
    hosted: &Hosted,
) -> Result<(), Error> {
    let until = hosted.server.end.clone();
    let unix = http::bind_unix(&hosted.socket, Stale::Replace).await.map_err(Error::Socket)?;
    let router = http::router(service.clone(), Access::Socket);
    hosted.server.tasks.spawn(unix.serve(router, until.clone()));
    let server = &project.config().server;
    let Some(address) = server.listen.filter(|_| is_public) else { return Ok(()) };
    let reach = if server.allow_remote { Reach::Anywhere } else { Reach::Loopback };
    let tcp = http::bind_tcp(address, reach).await.map_err(Error::Socket)?;
    let bound = match tcp.address() {
        http::Address::Tcp(bound) => *bound,
        http::Address::Unix(_) => address,
    };
    let access = Access::Token { token: token(project)?, hosts: http::hosts_of(bound) };
    hosted.server.tasks.spawn(tcp.serve(http::router(service, access), until));
    Ok(())
}

/// The token for clients over TCP; a new one is made when there is none.
fn token(project: &Project) -> Result<Token, Error> {
    let configured = project.config().server.auth_token(project.root(), project.environment());
    if let Some(secret) = configured.map_err(Error::ConfiguredToken)? {
        return Ok(Token::new(secret.reveal()));
    }
    let path = project.token_file();
    let failed = |source| Error::Token { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Token::new(text.trim())),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let secret: String = (0..4).map(|_| format!("{:016x}", identity::seed())).collect();
    secret_file::write(&path, &format!("{secret}\n")).map_err(failed)?;
    Ok(Token::new(&secret))
}

fn check_tree(ground: &Ground) -> CheckTree {
    let (verifier, marker) = (ground.verifier.clone(), ground.marker.clone());
    let repository = ground.project.repository.clone();
    Arc::new(move |tree, base, name| {
        let (verifier, marker) = (verifier.clone(), format!("{marker}{name}"));
        let repository = repository.clone();
        Box::pin(async move {
            let subject = Subject { tree: &tree, repository: &repository, base: &base };
            let checks = verifier.check(subject, &marker, |_| {}).await;
            machine_fault(&checks).map_or(Ok(checks), Err)
        })
    })
}

fn worker(ground: Ground, bus: memory::MemoryWorker) -> Worker<memory::MemoryWorker> {
    let config = Arc::clone(&ground.project.config);
    let slots = config.limits.max_running.unwrap_or(SLOTS);
    let agents = config.agents.keys().map(|name| name.as_str().into()).collect();
    let registration = Registration {
        embedded: true,
        labels: labels(),
        ..Registration::new(WorkerId("local".to_owned()), slots, agents)
    };
    let workshop = Workshop {
        source: Source::Here(Arc::new(Worked {
            repository: ground.project.repository.clone(),
            settings: Settings {
                verify: config.verify.clone(),
                require_clean: config.require_clean(),
                limits: config.limits.clone(),
                roadmap: ground.project.roadmap_path().map(|path| path.display().to_string()),
            },
        })),
        identity: ground.author,
        agents: config.agents.clone(),
        agent_limit: config.timeouts.attempt.map(|limit| limit.0),
        silence: config.timeouts.no_progress.map(|limit| limit.0),
        snapshot_every: config.run.snapshot_every(),
        verifier: ground.verifier,
        output_bytes: config.limits.output_bytes.0,
        keep: config.store.keep_workspaces,
        supervisor: ground.supervisor,
        keeping: None,
        exe: ground.exe,
        environment: ground.environment,
        workspaces: ground.places.sub("work"),
        kept: ground.places.sub("kept"),
        results: ground.places.sub("results"),
        spools: ground.places.sub(SPOOLS),
        marker: ground.marker,
        clock: ground.clock,
    };
    Worker {
        bus,
        registration,
        workshop: Arc::new(workshop),
        heartbeat: config.timeouts.heartbeat.0,
        // Whoever sits in front of it says when it has been long enough.
        drain_within: None,
        first_request: identity::seed(),
    }
}

/// Folds the store's log into its file from time to time, so that no commit has to.
async fn checkpoints(store: Arc<Store>, end: CancellationToken) {
    while end.run_until_cancelled(tokio::time::sleep(CHECKPOINT_EVERY)).await.is_some() {
        if let Err(error) = store.checkpoint(kapelle_store::Checkpoint::Passive).await {
            tracing::debug!(error = %Chain(&error), "the store's log could not be folded");
        }
    }
}
