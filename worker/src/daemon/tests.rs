//! A worker that starts over what an earlier process of it has left, and its coordinator, played.

use std::path::Path;
use std::process::Command;

use kapelle_bus::memory::{self, MemoryCoordinator, MemoryWorker};
use kapelle_bus::{CoordinatorEnd as _, Inbound, OutputChunk, OutputLane, OutputLine};
use kapelle_domain::attempt::{Outcome, Report};
use kapelle_domain::engine::HeldVerdict;
use kapelle_domain::ids::{RunId, TaskId};
use kapelle_git::{Identity, Repository};
use kapelle_runtime::clock::Clock;
use kapelle_runtime::config;
use pretty_assertions::assert_eq;
use tempfile::TempDir;

use super::*;
use crate::attempt::project::{Project, Settings, Source};
use crate::process::Supervisor;
use crate::spool::attempt::{AttemptSpool, Owner};
use crate::verify::Verifier;

const PATIENCE: Duration = Duration::from_secs(30);
const SESSION: SessionEpoch = SessionEpoch(5);
const FENCE: Fence = Fence(2);

/// A worker on a machine of its own, and the other end of its bus.
struct Stage {
    place: TempDir,
    coordinator: MemoryCoordinator,
    bus: MemoryWorker,
}

impl Stage {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let git = Command::new("git").args(["init", "-q"]).arg(place.path()).status().unwrap();
        assert!(git.success());
        let (coordinator, bus) = memory::bus();
        Self { place, coordinator, bus }
    }

    fn spools(&self) -> std::path::PathBuf {
        self.place.path().join("spool")
    }

    /// What an earlier process said in an attempt, and its report if it got that far.
    fn leave(&self, number: u32, text: &str, is_finished: bool) {
        let owner = Owner {
            attempt: attempt(number),
            fence: FENCE,
            worker: WorkerId("w".to_owned()),
            key: "1.2".to_owned(),
            title: "Parser".to_owned(),
            agent: "coder".to_owned(),
            base: None,
        };
        let mut spool = AttemptSpool::create(&self.spools(), owner, 1 << 20).unwrap();
        let (at, lane) = (Timestamp(1), OutputLane::Stdout);
        spool.line(&OutputLine { at, lane, text: text.to_owned() });
        if is_finished {
            spool.place().keep_report(report()).unwrap();
        }
    }

    async fn worker(&self) -> Worker<MemoryWorker> {
        let state = self.place.path();
        let supervisor = Arc::new(Supervisor::new(Path::new("/nonexistent")));
        let clock = Clock::system();
        let workshop = Workshop {
            source: Source::Here(Arc::new(Project {
                repository: Repository::discover(state).await.unwrap(),
                settings: Settings {
                    verify: config::Verify::default(),
                    require_clean: false,
                    limits: config::Limits::default(),
                    roadmap: None,
                },
            })),
            identity: Identity::new("Worker", "worker@example.org").unwrap(),
            agents: BTreeMap::new(),
            agent_limit: None,
            silence: None,
            snapshot_every: None,
            verifier: Verifier {
                supervisor: Arc::clone(&supervisor),
                settings: config::Verify::default(),
                environment: BTreeMap::new(),
                clock: clock.clone(),
            },
            output_bytes: config::Limits::default().output_bytes.0,
            keep: config::KeepWorkspaces::Never,
            supervisor,
            keeping: None,
            exe: "/nonexistent".into(),
            environment: BTreeMap::new(),
            workspaces: state.join("work"),
            kept: state.join("kept"),
            results: state.join("results"),
            spools: self.spools(),
            marker: "kapelle-test-".to_owned(),
            clock,
        };
        let registration = Registration::new(WorkerId("w".to_owned()), 1, vec!["coder".into()]);
        Worker {
            bus: self.bus.clone(),
            registration,
            workshop: Arc::new(workshop),
            heartbeat: Duration::from_secs(3600),
            drain_within: None,
            first_request: 0,
        }
    }

    /// The next request that is no heartbeat.
    async fn request(&self) -> Inbound {
        loop {
            let mut requests = Vec::new();
            soon("a request", self.coordinator.requests(&mut requests, 1)).await.unwrap();
            let inbound = requests.pop().unwrap();
            if !matches!(inbound.request, WorkerRequest::Heartbeat { .. }) {
                return inbound;
            }
        }
    }

    /// Opens the session. What is held under `kept` is still the worker's.
    async fn register(&self, kept: &[AttemptId]) -> Vec<Held> {
        let inbound = self.request().await;
        let WorkerRequest::Register(registration) = inbound.request else { panic!() };
        let verdict = |held: &Held| HeldVerdict {
            attempt: held.attempt,
            verdict: if kept.contains(&held.attempt) { Verdict::Keep } else { Verdict::Fenced },
        };
        let verdicts = registration.inventory.iter().map(verdict).collect();
        let standing = Standing { verdicts, ..Standing::default() };
        inbound.reply.send(Ok(Answer::Registered { session: SESSION, standing })).unwrap();
        registration.inventory
    }

    /// Takes chunks of output until `count` lines have come.
    async fn collect(&self, count: usize) -> Vec<(AttemptId, String)> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let inbound = soon("output", self.coordinator.output()).await.unwrap();
            let OutputChunk { holder, first, lines: said } = inbound.chunk;
            assert_eq!((holder.session, holder.fence), (SESSION, FENCE));
            let last = first + said.len() as u64 - 1;
            lines.extend(said.into_iter().map(|line| (holder.attempt, line.text)));
            inbound.watermark.send(last).unwrap();
        }
        lines.sort();
        lines
    }

    fn left(&self) -> usize {
        std::fs::read_dir(self.spools()).map_or(0, Iterator::count)
    }
}

fn attempt(number: u32) -> AttemptId {
    AttemptId { task: TaskId { run: RunId(1), index: 0 }, number }
}

fn report() -> Report {
    Report::stated(Outcome::Completed, "done")
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took more than {PATIENCE:?}"),
    }
}

/// Answers the good-byes of a worker that was told to end. One that owes a report doesn't leave:
/// that would give it up.
async fn see_off(stage: &Stage, drain: &CancellationToken, owes: bool) {
    drain.cancel();
    for _ in 0..if owes { 1 } else { 2 } {
        let inbound = stage.request().await;
        let is_bye =
            matches!(inbound.request, WorkerRequest::Drain { .. } | WorkerRequest::Leave { .. });
        assert!(is_bye, "{:?}", inbound.request);
        inbound.reply.send(Ok(Answer::Done)).unwrap();
    }
}

#[tokio::test]
async fn what_an_earlier_process_left_is_brought_to_its_end() {
    let stage = Stage::new();
    stage.leave(1, "finished", true);
    stage.leave(2, "cut off", false);
    stage.leave(3, "of the past", true);
    let worker = stage.worker().await;
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let coordinator = async {
        let inventory = stage.register(&[attempt(1)]).await;
        let held = |number| Held { attempt: attempt(number), fence: FENCE };
        assert_eq!(inventory, [held(1), held(3)]);
        // What isn't held any more comes before anything can be granted.
        let past = stage.request().await;
        let WorkerRequest::Finished { holder, .. } = &past.request else { panic!() };
        assert_eq!(holder.attempt, attempt(3));
        past.reply.send(Ok(Answer::Orphaned)).unwrap();
        let said = stage.collect(4).await;
        let texts: Vec<_> = said.iter().map(|(id, text)| (id.number, text.as_str())).collect();
        let end = "the worker was cut off here; what came after is not known";
        assert_eq!(texts, [(1, "finished"), (2, "cut off"), (2, end), (3, "of the past")]);
        let expected = Holder {
            attempt: attempt(1),
            fence: FENCE,
            worker: WorkerId("w".to_owned()),
            session: SESSION,
        };
        // The first answer is lost; the report comes again.
        for answer in [None, Some(Ok(Answer::Done))] {
            let inbound = stage.request().await;
            let WorkerRequest::Finished { holder, report: brought } = inbound.request else {
                panic!("{:?}", inbound.request)
            };
            assert_eq!((&holder, &*brought), (&expected, &report()));
            if let Some(answer) = answer {
                inbound.reply.send(answer).unwrap();
            }
        }
        see_off(&stage, &drain, false).await;
    };
    let (ended, ()) = tokio::join!(worker.run(drain.clone(), stop), coordinator);
    ended.unwrap();
    assert_eq!(stage.left(), 0);
}

#[tokio::test]
async fn a_report_that_only_the_session_was_refused_for_stays_for_the_next_one() {
    let stage = Stage::new();
    stage.leave(1, "finished", true);
    for (refused, left) in [(true, 1), (false, 0)] {
        let worker = stage.worker().await;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let coordinator = async {
            assert_eq!(stage.register(&[attempt(1)]).await.len(), 1);
            if refused {
                assert_eq!(stage.collect(1).await.len(), 1);
            }
            let inbound = stage.request().await;
            assert!(matches!(inbound.request, WorkerRequest::Finished { .. }));
            let worker = WorkerId("w".to_owned());
            let rejection = match refused {
                true => Rejection::SupersededSession { worker },
                false => Rejection::Fenced { attempt: attempt(1), fence: FENCE },
            };
            inbound.reply.send(Err(Refusal::Rejected(rejection))).unwrap();
            see_off(&stage, &drain, refused).await;
        };
        let (ended, ()) = tokio::join!(worker.run(drain.clone(), stop), coordinator);
        ended.unwrap();
        assert_eq!(stage.left(), left);
    }
}
