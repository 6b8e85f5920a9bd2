//! Laws that hold over every history: random inputs, some of them stale, doubled or out of place.

use proptest::prelude::*;

use super::*;
use crate::worker::Duty;

/// Something that may happen in a random history. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Submit { shape: u8 },
    Claim { pick: usize, stale: bool },
    Start { pick: usize },
    Finish { pick: usize, outcome: u8 },
    Heartbeat { pick: usize },
    Integrate { pick: usize, refuse: bool },
    Stop { pick: usize },
    Command { pick: usize, kind: u8, scope: u8 },
    Look { pick: usize },
    Answer { pick: usize, refused: bool },
    Snapshot { pick: usize },
    SetDuty { worker: u8, duty: u8 },
    Resume { pick: usize },
    Register { worker: u8 },
    Restart { reported: bool },
    Pass { seconds: u16 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => any::<u8>().prop_map(|shape| Step::Submit { shape }),
        6 => (any::<usize>(), prop::bool::weighted(0.1)).prop_map(|(pick, stale)| Step::Claim { pick, stale }),
        6 => any::<usize>().prop_map(|pick| Step::Start { pick }),
        6 => (any::<usize>(), any::<u8>()).prop_map(|(pick, outcome)| Step::Finish { pick, outcome }),
        2 => any::<usize>().prop_map(|pick| Step::Heartbeat { pick }),
        4 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(pick, refuse)| Step::Integrate { pick, refuse }),
        1 => any::<usize>().prop_map(|pick| Step::Stop { pick }),
        2 => (any::<usize>(), any::<u8>(), any::<u8>()).prop_map(|(pick, kind, scope)| Step::Command { pick, kind, scope }),
        2 => any::<usize>().prop_map(|pick| Step::Look { pick }),
        2 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(pick, refused)| Step::Answer { pick, refused }),
        1 => any::<usize>().prop_map(|pick| Step::Snapshot { pick }),
        1 => (0u8..3, 0u8..3).prop_map(|(worker, duty)| Step::SetDuty { worker, duty }),
        1 => any::<usize>().prop_map(|pick| Step::Resume { pick }),
        1 => (0u8..3).prop_map(|worker| Step::Register { worker }),
        1 => any::<bool>().prop_map(|reported| Step::Restart { reported }),
        3 => (0u16..900).prop_map(|seconds| Step::Pass { seconds }),
    ];
    prop::collection::vec(step, 1..120)
}

/// A random history on a stage, with everything ever granted kept, so that the past can speak up.
struct History {
    stage: Stage,
    offers: Vec<(AttemptId, OfferSeq)>,
    holders: Vec<Holder>,
    sessions: Vec<(String, SessionEpoch)>,
    submissions: u128,
    origin: World,
}

impl History {
    fn new() -> Self {
        let per_agent = [("coder".to_owned(), 3)].into();
        let limits = Limits { total: 4, per_agent, per_repository: 4, ..Limits::default() };
        let stage = Stage::with_limits(limits);
        let origin = stage.world.clone();
        let mut history = Self {
            stage,
            offers: Vec::new(),
            holders: Vec::new(),
            sessions: Vec::new(),
            submissions: 0,
            origin,
        };
        history.register(0);
        history
    }

    /// The first worker lives with its coordinator.
    fn register(&mut self, worker: u8) {
        self.register_with(worker, Vec::new());
    }

    fn register_with(&mut self, worker: u8, inventory: Vec<Held>) {
        let name = if worker == 0 { "local".to_owned() } else { format!("w{worker}") };
        let session = self.stage.register(&name, 2, inventory);
        self.sessions.push((name, session));
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Submit { shape } => self.submit(*shape),
            Step::Claim { pick, stale } => self.claim(*pick, *stale),
            Step::Start { pick } => {
                if let Some(holder) = choose(&self.holders, *pick).cloned() {
                    self.give(WorkerRequest::Started(holder));
                }
            }
            Step::Finish { pick, outcome } => self.finish(*pick, *outcome),
            Step::Heartbeat { pick } => {
                if let Some(holder) = choose(&self.holders, *pick).cloned() {
                    let held = vec![Held { attempt: holder.attempt, fence: holder.fence }];
                    let (worker, session) = (holder.worker, holder.session);
                    self.give(WorkerRequest::Heartbeat { worker, session, held });
                }
            }
            Step::Integrate { pick, refuse } => self.integrate(*pick, *refuse),
            Step::Stop { pick } => {
                let task = self.any_task(*pick);
                let scope = task.map_or(Scope::All, Scope::Task);
                let (kind, text) = (CommandKind::Stop, "stop".to_owned());
                self.give(Input::Command { scope, kind, text, request: None });
            }
            Step::Command { pick, kind, scope } => self.command(*pick, *kind, *scope),
            Step::Look { pick } => {
                if let Some(holder) = choose(&self.holders, *pick).cloned() {
                    self.give(WorkerRequest::Look(holder));
                }
            }
            Step::Answer { pick, refused } => self.answer(*pick, *refused),
            Step::Snapshot { pick } => {
                if let Some(holder) = choose(&self.holders, *pick).cloned() {
                    let work = report(Outcome::Completed).result.expect("a result");
                    self.give(WorkerRequest::Snapshot { holder, work });
                }
            }
            Step::SetDuty { worker, duty } => {
                let worker = WorkerId(format!("w{worker}"));
                let duty = [Duty::Active, Duty::Cordoned, Duty::Draining][usize::from(*duty)];
                self.give(Input::SetDuty { worker, duty });
            }
            Step::Resume { pick } => {
                let run = RunId(u64::try_from(pick % 4).expect("small"));
                self.give(Input::Resume(resumption(run)));
            }
            Step::Register { worker } => self.register(*worker),
            Step::Restart { reported } => self.restart(*reported),
            Step::Pass { seconds } => self.stage.pass(Duration::from_secs((*seconds).into())),
        }
        self.offers.extend(self.stage.offers());
        self.stage.effects.clear();
    }

    /// Gives an input twice: the second time it must change nothing, or be refused.
    fn give(&mut self, input: impl Into<Input>) {
        let input = input.into();
        let counted_twice = matches!(input, Input::Command { .. } | Input::Resume(_));
        if self.stage.give(input.clone()).is_ok() && !counted_twice {
            let before = (self.stage.world.clone(), self.stage.log.len());
            let _ = self.stage.give(input.clone());
            assert_eq!(self.stage.world, before.0, "{input:?} had an effect twice");
            assert_eq!(self.stage.log.len(), before.1, "{input:?} was recorded twice");
        }
    }

    fn command(&mut self, pick: usize, kind: u8, scope: u8) {
        let Some(task) = self.any_task(pick) else { return };
        let to = self.any_task(pick.wrapping_add(1)).unwrap_or(task);
        let kind = match kind % 6 {
            0 => CommandKind::Feedback,
            1 => CommandKind::Restart,
            2 => CommandKind::Redirect { to },
            3 => CommandKind::Pause,
            4 => CommandKind::Resume,
            _ => CommandKind::Ping,
        };
        let scope = match scope % 8 {
            0 => Scope::All,
            1 => Scope::Run(task.run),
            2 => Scope::Worker(WorkerId("w0".to_owned())),
            3 => Scope::Attempt(AttemptId { task, number: 1 }),
            _ => Scope::Task(task),
        };
        self.give(Input::Command { scope, kind, text: "listen".to_owned(), request: None });
    }

    fn answer(&mut self, pick: usize, refused: bool) {
        let Some(holder) = choose(&self.holders, pick).cloned() else { return };
        let task = self.stage.world.task(holder.attempt.task);
        let pending = task.map(|task| task.record.pending.clone()).unwrap_or_default();
        let Some(command) = choose(&pending, pick) else { return };
        let answer = if refused {
            CommandAnswer::Refused { reason: "it can't".to_owned() }
        } else {
            CommandAnswer::Applied
        };
        self.give(WorkerRequest::Answered { holder, seq: command.seq, answer });
    }

    fn submit(&mut self, shape: u8) {
        self.submissions += 1;
        let integrate = shape & 1 == 1;
        let make = |key: &str, deps: &[u32]| TaskSpec { integrate, ..plans::task(key, deps) };
        let tasks = match shape >> 1 & 3 {
            0 => vec![make("a", &[])],
            1 => vec![make("a", &[]), make("b", &[0]), make("c", &[0]), make("d", &[1, 2])],
            2 => vec![make("a", &[]), make("b", &[]), make("c", &[])],
            _ => vec![make("a", &[]), make("b", &[0]), make("c", &[1])],
        };
        let spec = targeted(self.submissions, 1 + u32::from(shape >> 3 & 3));
        self.stage.submit(spec, tasks);
    }

    fn claim(&mut self, pick: usize, stale: bool) {
        let Some(offer) = choose(&self.offers, pick).copied() else { return };
        let newest = self.sessions.iter().rev();
        let session = if stale { self.sessions.first() } else { choose_rev(newest, pick) };
        let Some((worker, session)) = session.cloned() else { return };
        if let Ok(holder) = self.stage.claim(offer, &worker, session) {
            let earlier =
                self.holders.iter().filter(|other| other.attempt.task == holder.attempt.task);
            assert!(earlier.clone().all(|other| other.fence < holder.fence), "fences must grow");
            self.holders.push(holder);
        }
    }

    fn finish(&mut self, pick: usize, outcome: u8) {
        let Some(holder) = choose(&self.holders, pick).cloned() else { return };
        let outcome = match outcome % 9 {
            0..=3 => Outcome::Completed,
            8 => Outcome::Interrupted,
            4 => Outcome::AgentFailed,
            5 => Outcome::Infrastructure,
            6 => Outcome::RateLimited { retry_after: Duration::from_secs(30) },
            _ => Outcome::Cancelled,
        };
        let accepted_before = self.stage.log.len();
        let report = Arc::new(report(outcome));
        let input = WorkerRequest::Finished { holder: holder.clone(), report };
        let counted = matches!(self.stage.give(input), Ok(Answer::Done));
        if counted && self.stage.log.len() > accepted_before {
            let task = self.stage.world.task(holder.attempt.task).expect("it was just reported");
            assert_eq!(task.record.fence, holder.fence, "only the current fence may report");
        }
    }

    fn integrate(&mut self, pick: usize, refuse: bool) {
        let waiting: Vec<AttemptId> = self
            .tasks()
            .filter(|task| matches!(task.record.state, TaskState::Integrating { .. }))
            .filter_map(crate::task::Task::attempt_id)
            .collect();
        let Some(attempt) = choose(&waiting, pick).copied() else { return };
        if refuse {
            let class = match pick % 4 {
                0 => RefusalClass::Work,
                1 => RefusalClass::Lost,
                rest => RefusalClass::Hindered {
                    times: 1 + u32::try_from(pick / 8 % 3).expect("small"),
                    for_person: rest == 2,
                    undone: pick % 8 < 4,
                },
            };
            let reason = "conflict".to_owned();
            self.give(Input::RefuseIntegration { attempt, class, reason });
            return;
        }
        let (branch, old, new) =
            ("main".to_owned(), "o".to_owned(), format!("commit of {attempt}"));
        self.give(Input::PrepareIntegration { attempt, branch, old, new: new.clone() });
        self.give(Input::Integrated { attempt, commit: new });
    }

    /// A new coordinator over the same store. What it holds must be what a replay of the log
    /// gives. What was finished and lies on disk is nobody else's until its worker is back.
    fn restart(&mut self, reported: bool) {
        let local = self.holders.iter().rev().filter(|holder| holder.worker.0 == "local");
        let spooled: Vec<Holder> = local.take(if reported { 3 } else { 0 }).cloned().collect();
        let log = std::mem::take(&mut self.stage.log);
        let mut next = super::stories::reopened(&self.stage);
        next.log = log;
        next.requests = self.stage.requests;
        self.stage = next;
        let on_disk: Vec<Held> = spooled
            .iter()
            .map(|holder| Held { attempt: holder.attempt, fence: holder.fence })
            .collect();
        let before = self.stage.world.clone();
        let kept = |world: &World, holder: &&Holder| {
            let task = world.task(holder.attempt.task);
            let phase = task.and_then(crate::task::Task::live_attempt).map(|live| live.phase);
            task.is_some_and(|task| World::is_held_under(task, holder.fence))
                && phase != Some(crate::attempt::Phase::Cancelling)
        };
        let recover = Input::Recover { reported: on_disk.clone() };
        self.stage.give(recover).expect("a coordinator can always start");
        if reported {
            self.stage.pass(Duration::from_secs(7200));
        }
        for holder in spooled.iter().filter(|holder| kept(&before, holder)) {
            assert!(kept(&self.stage.world, &holder), "{holder:?} was given up");
        }
        self.sessions.clear();
        self.register_with(0, on_disk);
        // What it brought is its own to report, under the new session.
        for holder in &spooled {
            let session = self.sessions[0].1;
            let holder = Holder { session, ..holder.clone() };
            if kept(&before, &&holder) {
                assert!(kept(&self.stage.world, &&holder), "{holder:?} was not brought back");
            }
            self.holders.push(holder);
        }
    }

    fn tasks(&self) -> impl Iterator<Item = &crate::task::Task> {
        self.stage.world.runs().flat_map(|run| &run.tasks)
    }

    fn any_task(&self, pick: usize) -> Option<TaskId> {
        let tasks: Vec<TaskId> = self.tasks().map(|task| task.id).collect();
        choose(&tasks, pick).copied()
    }

    fn check_invariants(&self) {
        let world = &self.stage.world;
        let live: Vec<_> = self.tasks().filter(|task| task.live_attempt().is_some()).collect();
        assert_eq!(u32::try_from(live.len()), Ok(world.index.live), "live is counted");
        assert!(world.index.live <= 4, "the total limit holds");
        assert!(
            world.index.live_per_agent.values().all(|count| *count <= 3),
            "the agent's limit holds"
        );
        for run in world.runs() {
            let live = run.tasks.iter().filter(|task| task.live_attempt().is_some()).count();
            assert_eq!(u32::try_from(live), Ok(run.live));
            assert!(run.live <= run.record.spec.concurrency, "the run's limit holds");
            let ended = run.tasks.iter().filter(|task| task.record.state.is_ended()).count();
            assert_eq!(u32::try_from(ended), Ok(run.ended));
            assert_eq!(
                run.is_finished(),
                ended == run.tasks.len(),
                "a run is over when all of it is"
            );
            for task in &run.tasks {
                let is_active = task.record.state == TaskState::Active;
                assert_eq!(is_active, task.live_attempt().is_some(), "{task:?}");
                let ready = world.index.ready.get(&run.id);
                let listed =
                    ready.is_some_and(|set| set.iter().any(|(_, index)| *index == task.id.index));
                assert_eq!(listed, task.is_startable(), "what could start is indexed");
                assert!(
                    task.record.state.is_ended() <= task.record.pending.is_empty(),
                    "nothing said is lost"
                );
            }
        }
        for worker in world.workers() {
            let held = worker.holds.len();
            assert!(held <= 2, "{} holds {held} of 2 slots", worker.registration.worker);
        }
    }
}

fn choose<T>(list: &[T], pick: usize) -> Option<&T> {
    // Towards the newest: most of the past is dead.
    let recent = list.len().min(6);
    if recent == 0 { None } else { list.get(list.len() - 1 - pick % recent) }
}

fn choose_rev<'a, T>(mut newest_first: impl Iterator<Item = &'a T>, pick: usize) -> Option<&'a T> {
    newest_first.nth(pick % 2)
}

/// A world in which nothing is left that a restart may forget.
fn durable(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for run in world.runs() {
        lines.push(serde_json::to_string(&run.record).expect("a run can be written"));
        for task in &run.tasks {
            lines.push(serde_json::to_string(&task.record).expect("a task can be written"));
        }
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_keep_the_laws(steps in steps()) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
            history.check_invariants();
        }
        let mut replayed = history.origin.clone();
        for (at, event) in &history.stage.log {
            replayed.apply(*at, event).expect("what was recorded can be replayed");
        }
        prop_assert_eq!(durable(&replayed), durable(&history.stage.world));
    }

    #[test]
    fn events_read_back_what_was_written(steps in steps()) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
        }
        for (_, event) in &history.stage.log {
            let text = serde_json::to_string(event).expect("an event can be written");
            let back: Event = serde_json::from_str(&text).expect("and read");
            prop_assert_eq!(&back, event);
        }
    }
}
