//! Laws over random histories: what was committed comes back, whatever happened and however it
//! was cut into batches.

use kapelle_domain::attempt::Outcome;
use kapelle_domain::command::{CommandAnswer, CommandKind};
use kapelle_domain::engine::{Holder, Input, RefusalClass, Scope, Snapshot, WorkerRequest, World};
use kapelle_domain::event::Recorded;
use kapelle_domain::ids::{
    AttemptId, CommandSeq, EventSeq, OfferSeq, RunId, SessionEpoch, TaskId, WorkerId,
};
use kapelle_domain::plan::TaskSpec;
use kapelle_domain::policy::Limits;
use kapelle_domain::task::TaskState;
use kapelle_domain::testing::Stage as _;
use kapelle_domain::worker::{Duty, Held};
use kapelle_store::{Checkpoint, Store};
use proptest::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::place::{Place, block_on};
use crate::stage::{self, Stage};

/// Something that may happen. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Submit(u8),
    Claim(usize),
    Start(usize),
    Finish(usize, u8),
    Integrate(usize, bool),
    Stop(usize),
    Command(usize, u8),
    Look(usize),
    Answered(usize, u64),
    Snapshot(usize),
    Duty(u8),
    Resume(usize),
    Register,
    Pass(u16),
    Commit,
    Checkpoint,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pick = any::<usize>;
    let step = prop_oneof![
        2 => any::<u8>().prop_map(Step::Submit),
        6 => pick().prop_map(Step::Claim),
        6 => pick().prop_map(Step::Start),
        6 => (pick(), any::<u8>()).prop_map(|(pick, outcome)| Step::Finish(pick, outcome)),
        3 => (pick(), any::<bool>()).prop_map(|(pick, refuse)| Step::Integrate(pick, refuse)),
        1 => pick().prop_map(Step::Stop),
        3 => (pick(), any::<u8>()).prop_map(|(pick, kind)| Step::Command(pick, kind)),
        2 => pick().prop_map(Step::Look),
        2 => (pick(), 1u64..4).prop_map(|(pick, seq)| Step::Answered(pick, seq)),
        1 => pick().prop_map(Step::Snapshot),
        1 => any::<u8>().prop_map(Step::Duty),
        1 => pick().prop_map(Step::Resume),
        1 => Just(Step::Register),
        3 => (0u16..900).prop_map(Step::Pass),
        5 => Just(Step::Commit),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..150)
}

struct History {
    place: Place,
    store: Store,
    stage: Stage,
    holders: Vec<Holder>,
    offers: Vec<(AttemptId, OfferSeq)>,
    session: SessionEpoch,
    submissions: u128,
    log: Vec<Recorded>,
}

impl History {
    async fn new() -> Self {
        let place = Place::new();
        let store = place.lead().await;
        let mut stage = Stage::new();
        let session = stage.register(stage::WORKER, 3, Vec::new());
        let (holders, offers, log) = (Vec::new(), Vec::new(), Vec::new());
        Self { place, store, stage, holders, offers, session, submissions: 0, log }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Submit(shape) => self.submit(shape),
            Step::Claim(pick) => self.claim(pick),
            Step::Start(pick) => {
                if let Some(holder) = choose(&self.holders, pick).cloned() {
                    self.give(WorkerRequest::Started(holder));
                }
            }
            Step::Finish(pick, outcome) => self.finish(pick, outcome),
            Step::Integrate(pick, refuse) => self.integrate(pick, refuse),
            Step::Stop(pick) => {
                let scope = self.any_task(pick).map_or(Scope::All, Scope::Task);
                self.command(scope, CommandKind::Stop);
            }
            Step::Command(pick, kind) => {
                let (Some(task), Some(to)) = (self.any_task(pick), self.any_task(pick / 2)) else {
                    return;
                };
                let kind = match kind % 5 {
                    0 => CommandKind::Feedback,
                    1 => CommandKind::Restart,
                    2 => CommandKind::Redirect { to },
                    3 => CommandKind::Pause,
                    _ => CommandKind::Resume,
                };
                self.command(Scope::Task(task), kind);
            }
            Step::Look(pick) => {
                if let Some(holder) = choose(&self.holders, pick).cloned() {
                    self.give(WorkerRequest::Look(holder));
                }
            }
            Step::Answered(pick, seq) => {
                if let Some(holder) = choose(&self.holders, pick).cloned() {
                    let (seq, answer) = (CommandSeq(seq), CommandAnswer::Applied);
                    self.give(WorkerRequest::Answered { holder, seq, answer });
                }
            }
            Step::Snapshot(pick) => self.snapshot(pick),
            Step::Duty(duty) => self.set_duty(duty),
            Step::Resume(pick) => self.resume(pick).await,
            Step::Register => {
                let held = self
                    .holders
                    .iter()
                    .map(|holder| Held { attempt: holder.attempt, fence: holder.fence });
                let inventory = held.rev().take(2).collect();
                self.session = self.stage.register(stage::WORKER, 3, inventory);
            }
            Step::Pass(seconds) => {
                self.stage.now = self.stage.now.after(Duration::from_secs(seconds.into()));
                self.give(Input::Tick);
            }
            Step::Commit => self.commit().await,
            Step::Checkpoint => {
                self.store.checkpoint(Checkpoint::Passive).await.expect("a checkpoint");
            }
            Step::Reopen => self.reopen().await,
        }
        self.offers.append(&mut self.stage.offers);
    }

    fn snapshot(&mut self, pick: usize) {
        let Some(holder) = choose(&self.holders, pick).cloned() else { return };
        let work = stage::report(Outcome::Completed).result.expect("a result");
        self.give(WorkerRequest::Snapshot { holder, work });
    }

    fn set_duty(&mut self, duty: u8) {
        let duty = if duty.is_multiple_of(2) { Duty::Active } else { Duty::Cordoned };
        let worker = WorkerId(stage::WORKER.to_owned());
        self.give(Input::SetDuty { worker, duty });
    }

    fn command(&mut self, scope: Scope, kind: CommandKind) {
        self.give(Input::Command {
            scope,
            kind,
            text: "listen".to_owned(),
            request: Some("law".into()),
        });
    }

    fn give(&mut self, input: impl Into<Input>) {
        // Refusals are part of the game.
        drop(self.stage.give(input));
    }

    fn submit(&mut self, shape: u8) {
        self.submissions += 1;
        let integrate = shape & 1 == 1;
        let make = |key: &str, deps: &[u32]| TaskSpec { integrate, ..stage::task(key, deps) };
        let tasks = match shape >> 1 & 3 {
            0 => vec![make("a", &[])],
            1 => vec![make("a", &[]), make("b", &[0]), make("c", &[0]), make("d", &[1, 2])],
            2 => (0..70).map(|number| make(&format!("t{number}"), &[])).collect(),
            _ => vec![make("a", &[]), make("b", &[0]), make("c", &[1])],
        };
        self.stage.submit(stage::run(self.submissions, 1 + u32::from(shape >> 3 & 7)), tasks);
    }

    fn claim(&mut self, pick: usize) {
        let Some(offer) = choose(&self.offers, pick).copied() else { return };
        if let Ok(holder) = self.stage.claim(offer, stage::WORKER, self.session) {
            self.holders.push(holder);
        }
    }

    fn finish(&mut self, pick: usize, outcome: u8) {
        let Some(holder) = choose(&self.holders, pick).cloned() else { return };
        let outcome = match outcome % 8 {
            0..=2 => Outcome::Completed,
            3 | 4 => Outcome::AgentFailed,
            5 => Outcome::Infrastructure,
            6 => Outcome::RateLimited { retry_after: Duration::from_secs(30) },
            _ => Outcome::Interrupted,
        };
        drop(self.stage.finish(&holder, outcome));
    }

    fn integrate(&mut self, pick: usize, refuse: bool) {
        let tasks = self.stage.world.runs().flat_map(|run| &run.tasks);
        let waiting: Vec<AttemptId> = tasks
            .filter(|task| matches!(task.record.state, TaskState::Integrating { .. }))
            .filter_map(kapelle_domain::task::Task::attempt_id)
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
            return self.give(Input::RefuseIntegration { attempt, class, reason });
        }
        let (branch, old, new) =
            ("main".to_owned(), "o".to_owned(), format!("commit of {attempt}"));
        self.give(Input::PrepareIntegration { attempt, branch, old, new: new.clone() });
        self.give(Input::Integrated { attempt, commit: new });
    }

    /// A run that a restarted coordinator doesn't remember is brought back first.
    async fn resume(&mut self, pick: usize) {
        let run = RunId(u64::try_from(pick % 6).expect("small"));
        if self.stage.world.run(run).is_none()
            && let Some((record, tasks)) = self.store.load_run(run).await.expect("a load")
        {
            self.stage.world.recall(run, record, tasks, self.stage.now).expect("a run that fits");
        }
        self.give(stage::resume(run));
    }

    fn any_task(&self, pick: usize) -> Option<TaskId> {
        let tasks: Vec<TaskId> =
            self.stage.world.runs().flat_map(|run| &run.tasks).map(|task| task.id).collect();
        choose(&tasks, pick).copied()
    }

    async fn commit(&mut self) {
        let batch = self.stage.batch();
        self.log.extend(batch.events.iter().cloned());
        self.store.commit(batch).await.expect("a commit");
    }

    /// A new coordinator over the same store. It must know what the old one knew.
    async fn reopen(&mut self) {
        self.commit().await;
        self.store.close().await.expect("an orderly end");
        self.store = self.place.lead().await;
        let snapshot = self.store.load().await.expect("a load");
        assert_eq!(durable(&self.stage.world), durable(&restored(snapshot)));
        let mut next = Stage::recover(&self.store).await.expect("a coordinator");
        next.now = next.now.max(self.stage.now);
        next.attempts.append(&mut self.stage.attempts);
        next.commands.append(&mut self.stage.commands);
        for (id, attempt) in attempts_of(&next.world) {
            next.attempts.insert(id, attempt);
        }
        self.stage = next;
        self.session = self.stage.register(stage::WORKER, 3, Vec::new());
    }

    async fn compare(&self) {
        let store = &self.store;
        store.check().await.expect("a sound file");
        store.verify_fold(Limits::default()).await.expect("tables that say what the log says");
        assert_eq!(store.last_seq().await.expect("the end of the log"), self.stage.last_seq);
        let snapshot = store.load().await.expect("a load");
        assert_eq!(durable(&self.stage.world), durable(&restored(snapshot)));
        assert_eq!(all_events(store, 7, None, None).await, self.log);
        for run in self.stage.world.runs() {
            let (record, tasks) = store.load_run(run.id).await.expect("a load").expect("the run");
            assert_eq!(record, run.record);
            assert_eq!(tasks.len(), run.tasks.len());
            let of_run = |recorded: &&Recorded| recorded.event.run() == Some(run.id);
            let expected: Vec<Recorded> = self.log.iter().filter(of_run).cloned().collect();
            assert_eq!(all_events(store, 100, Some(run.id), None).await, expected);
            for task in &run.tasks {
                self.compare_task(task.id).await;
            }
        }
    }

    async fn compare_task(&self, id: TaskId) {
        let store = &self.store;
        let attempts = store.attempts(id).await.expect("a read");
        let expected: Vec<_> = self
            .stage
            .attempts
            .iter()
            .filter(|(attempt, _)| attempt.task == id)
            .map(|(_, attempt)| attempt)
            .collect();
        assert_eq!(text(&attempts), text(&expected), "attempts of {id}");
        let commands = store.commands(id).await.expect("a read");
        let expected: Vec<_> = self
            .stage
            .commands
            .iter()
            .filter(|((task, _), _)| *task == id)
            .map(|(_, command)| command)
            .collect();
        assert_eq!(text(&commands), text(&expected), "commands of {id}");
        let of_task = |recorded: &&Recorded| recorded.event.task() == Some(id);
        let expected: Vec<Recorded> = self.log.iter().filter(of_task).cloned().collect();
        assert_eq!(all_events(store, 3, None, Some(id)).await, expected);
    }
}

async fn all_events(
    store: &Store,
    page: u32,
    run: Option<RunId>,
    task: Option<TaskId>,
) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    loop {
        let after = events.last().map_or(EventSeq(0), |recorded| recorded.seq);
        let page = store.events(after, page, run, task).await.expect("a read");
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

fn choose<T>(list: &[T], pick: usize) -> Option<&T> {
    // Towards the newest: most of the past is dead.
    let recent = list.len().min(6);
    if recent == 0 { None } else { list.get(list.len() - 1 - pick % recent) }
}

fn restored(snapshot: Snapshot) -> World {
    World::restore(Limits::default(), snapshot, kapelle_domain::ids::Timestamp(0))
        .expect("tables that fit")
}

fn attempts_of(world: &World) -> BTreeMap<AttemptId, kapelle_domain::attempt::Attempt> {
    let tasks = world.runs().flat_map(|run| &run.tasks);
    tasks.filter_map(|task| Some((task.attempt_id()?, task.record.attempt.clone()?))).collect()
}

/// What of a world a restart brings back.
fn durable(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for run in world.runs().filter(|run| !run.is_finished()) {
        lines.push(format!("{} {}", run.id, text(&run.record)));
        for task in &run.tasks {
            lines.push(format!("{} {} {}", task.id, text(&*task.spec), text(&task.record)));
        }
    }
    lines
}

fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("it can be written")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_comes_back(steps in steps()) {
        block_on(async {
            let mut history = History::new().await;
            for step in &steps {
                history.take(step).await;
            }
            history.reopen().await;
            history.commit().await;
            history.compare().await;
        });
    }
}
