//! What tests of this crate share: a project with a coordinator, and a worker whose agents are
//! played by the test. Never part of the product.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kapelle_bus::memory::{self, MemoryCoordinator, MemoryWorker};
use kapelle_bus::{Offer, OutputChunk, OutputLane, OutputLine, Taken as _, WorkerEnd as _};
use kapelle_domain::attempt::{Outcome, Report};
use kapelle_domain::command::CommandAnswer;
use kapelle_domain::engine::{Answer, Claim, Directives, Holder, Input, Submission, WorkerRequest};
use kapelle_domain::ids::{CommandSeq, RequestId, SessionEpoch, Timestamp, WorkerId};
use kapelle_domain::plan::TaskSpec;
use kapelle_domain::testing;
use kapelle_domain::worker::Registration;
use kapelle_git::Repository;
use kapelle_runtime::clock::Clock;
use kapelle_runtime::config::{Config, LoadOptions};
use kapelle_runtime::identity::Identity;
use kapelle_store::{Mode, OpenOptions, Store};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{self, Dispatch, Engine};
use crate::service::{Parts, Service};
use crate::transcripts::Transcripts;

/// The identity of the project's log.
pub(crate) const EPOCH: u64 = 77;

const CONFIG: &str = "agents:\n  fake:\n    command: [no-such-program]\n";

const ROADMAP: &str = "\
# Roadmap

## Batch 1

### Phase 1.1: Lay the table

- **Status:** ⚪ Not Started
- **Tasks:**
  - [ ] Find a cloth
- **Effort:** S

### Phase 1.2: Serve the soup

- **Status:** ⚪ Not Started
- **Depends On:** Phase 1.1
- **Tasks:**
  - [ ] Heat it
- **Effort:** M
";

/// A coordinator at work for a project of its own.
pub(crate) struct Project {
    pub(crate) service: Service,
    pub(crate) engine: Engine,
    pub(crate) shutdown: CancellationToken,
    pub(crate) directory: tempfile::TempDir,
    worker: MemoryWorker,
    dispatching: JoinSet<()>,
}

impl Project {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        std::fs::write(root.join("kapelle.yaml"), CONFIG).expect("a configuration");
        std::fs::write(root.join("ROADMAP.md"), ROADMAP).expect("a roadmap");
        std::fs::write(root.join(".gitignore"), "/.kapelle\n").expect("ignore rules");
        for arguments in
            [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-qm", "all"]]
        {
            git(root, arguments);
        }
        let options = LoadOptions { project_root: root.to_owned(), ..LoadOptions::default() };
        let config = Config::load(&options).expect("a valid configuration").config;
        let project = crate::project::Project {
            repository: Repository::discover(root).await.expect("a repository"),
            config: Arc::new(config),
            state: root.join(".kapelle"),
        };
        let path = project.state.join("state.db");
        let options = OpenOptions { path, mode: Mode::Lead, new_epoch: EPOCH };
        let store = Arc::new(Store::open(options).await.expect("a store"));
        let (bus, worker) = memory::bus();
        let clock = Clock::system();
        let parts = dispatch::Parts {
            store: Arc::clone(&store),
            limits: project.limits(),
            reported: Vec::new(),
            bus: bus.clone(),
            clock: clock.clone(),
            seed: 1,
            merges: Arc::new(Notify::new()),
        };
        let (dispatch, engine) = Dispatch::start(parts).await.expect("a start");
        let transcripts = Transcripts::new(project.state.join("logs"));
        let shutdown = CancellationToken::new();
        let service = Service::new(Parts {
            project,
            engine: engine.clone(),
            store,
            transcripts: transcripts.clone(),
            admission: None,
            identity: Arc::new(Identity::new(clock.clone())),
            clock,
            role: "run",
            shutdown: shutdown.clone(),
        });
        let dispatching = run(dispatch, transcripts, bus);
        Self { service, engine, shutdown, directory, worker, dispatching }
    }

    /// Ends the loop that everything is decided in, as a crash of it would.
    pub(crate) async fn stop_dispatching(&mut self) {
        self.dispatching.shutdown().await;
    }

    /// Takes the next offer and starts an agent.
    pub(crate) async fn start_attempt(&self) -> Holder {
        let registration = Registration {
            embedded: true,
            ..Registration::new(WorkerId("w".to_owned()), 1, vec!["fake".into()])
        };
        let session = self.register(registration).await;
        start(self.worker.clone(), RequestId(1), session).await
    }

    /// Submits tasks that depend on nothing and starts an agent for each, all at once on one worker.
    pub(crate) async fn start_attempts(&self, count: u32) -> Vec<Holder> {
        let tasks = (0..count).map(|number| TaskSpec {
            agent: "fake".into(),
            ..testing::task(&format!("k{number}"), &[])
        });
        let spec = Arc::new(testing::run(1, count));
        let submission = Submission { spec, tasks: tasks.collect(), planned_at: Timestamp(0) };
        self.engine.give(Input::Submit(submission)).await.expect("it lives").expect("a plan");
        let name = WorkerId("w".to_owned());
        let registration =
            Registration { embedded: true, ..Registration::new(name, count, vec!["fake".into()]) };
        let session = self.register(registration).await;
        let mut starting = JoinSet::new();
        for number in 0..count {
            let worker = self.worker.clone();
            starting.spawn(start(worker, RequestId(u64::from(number) + 1), session));
        }
        let mut holders = starting.join_all().await;
        holders.sort_by_key(|holder| holder.attempt);
        holders
    }

    /// Asks what is wanted of an attempt.
    pub(crate) async fn look(&self, holder: &Holder) -> Directives {
        match self.ask(WorkerRequest::Look(holder.clone())).await {
            Answer::Directives(directives) => directives,
            other => panic!("{other:?}"),
        }
    }

    /// Lets the worker say what became of a command.
    pub(crate) async fn answer(&self, holder: &Holder, seq: CommandSeq, answer: CommandAnswer) {
        let holder = holder.clone();
        self.ask(WorkerRequest::Answered { holder, seq, answer }).await;
    }

    async fn register(&self, registration: Registration) -> SessionEpoch {
        match self.ask(WorkerRequest::Register(registration)).await {
            Answer::Registered { session, .. } => session,
            other => panic!("{other:?}"),
        }
    }

    /// Lets the agent say one line.
    pub(crate) async fn say(&self, holder: &Holder, n: u64, text: &str) {
        let at = Timestamp(1_772_357_400_000);
        let line = OutputLine { at, lane: OutputLane::Stdout, text: text.to_owned() };
        let chunk = OutputChunk { holder: holder.clone(), first: n, lines: vec![line] };
        assert_eq!(self.worker.send_output(chunk).await, Ok(n));
    }

    /// Lets the attempt end for a reason that no retry mends.
    pub(crate) async fn fail(&self, holder: Holder, outcome: Outcome) {
        let report = Arc::new(Report::stated(outcome, "the soup is cold"));
        self.ask(WorkerRequest::Finished { holder, report }).await;
    }

    async fn ask(&self, request: WorkerRequest) -> Answer {
        self.worker.request(request).await.expect("an answer").expect("no refusal")
    }
}

/// Takes the next offer and starts an agent.
async fn start(worker: MemoryWorker, request: RequestId, session: SessionEpoch) -> Holder {
    let (_classes, classes) = watch::channel(["fake".parse().expect("a class")].into());
    let taken = worker.next_offer(classes).await.expect("an offer");
    let Offer { attempt, offer, .. } = *taken.offer();
    let name = WorkerId("w".to_owned());
    let claim = Claim { request, attempt, offer, worker: name.clone(), session };
    let answer = worker.request(WorkerRequest::Claim(claim)).await.expect("an answer");
    let Ok(Answer::Granted(grant)) = answer else { panic!("the claim wins: {answer:?}") };
    let holder = Holder { attempt, fence: grant.fence, worker: name, session };
    let started = worker.request(WorkerRequest::Started(holder.clone())).await;
    started.expect("an answer").expect("no refusal");
    holder
}

fn run(
    dispatch: Dispatch<MemoryCoordinator>,
    transcripts: Transcripts,
    bus: MemoryCoordinator,
) -> JoinSet<()> {
    let mut running = JoinSet::new();
    running.spawn(async move { dispatch.run(CancellationToken::new()).await.expect("no failure") });
    running.spawn(transcripts.collect(bus));
    running
}

fn git(directory: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .current_dir(directory)
        .status();
    assert!(status.expect("git runs").success(), "git {arguments:?}");
}
