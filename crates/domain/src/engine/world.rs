//! The coordinator's memory and the one way in which it changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::admission::Classes;
use super::command::Order;
use super::decision::{Decision, Moment, Volatile};
use super::footprint::Footprint;
use super::input::{Input, WorkerRequest};
use super::rejection::Rejection;
use crate::event::{Event, RunEvent, TaskEvent};
use crate::ids::{RunId, SessionEpoch, TaskId, Timestamp, WorkerId};
use crate::placement::Class;
use crate::plan::position;
use crate::policy::Limits;
use crate::run::{IllegalRunEvent, Run, RunRecord};
use crate::task::{IllegalTaskEvent, Task, TaskRecord, TaskState};
use crate::worker::{Duty, Registration, Worker};

/// How many finished runs stay in memory. Older ones are found in the store.
const FINISHED_RUNS_MAX: usize = 100;

/// How many tasks of finished runs stay in memory, beside those of the newest one.
const FINISHED_TASKS_MAX: usize = 10_000;

/// Everything that a coordinator decides from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    pub(super) limits: Limits,
    pub(super) last_run: RunId,
    pub(super) last_session: SessionEpoch,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) uids: HashMap<Uuid, RunId>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) index: Index,
}

/// What is derived from runs and workers so that decisions need not search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Tasks that could start, per run, best first.
    pub(super) ready: BTreeMap<RunId, BTreeSet<(std::cmp::Reverse<i32>, u32)>>,
    /// The next point in time at which something is due for a task.
    pub(super) timers: BTreeSet<(Timestamp, TaskId)>,
    /// Attempts that are offered or held: over everything, per agent, per repository.
    pub(super) live: u32,
    pub(super) live_per_agent: BTreeMap<Arc<str>, u32>,
    pub(super) live_per_repository: BTreeMap<Arc<str>, u32>,
    /// Attempts that are offered and not yet held, per class.
    pub(super) offered_per_class: BTreeMap<Class, u32>,
    /// The classes that tasks which have not ended belong to.
    pub(super) classes: Classes,
    /// Tasks that wait by order: the one that has to end, and the one that waits for it.
    pub(super) deferred: BTreeSet<(TaskId, TaskId)>,
    /// The next point in time at which something is due for a worker that is silent till then.
    pub(super) silences: BTreeSet<(Timestamp, WorkerId)>,
    /// Tasks that have ended since the last settling.
    pub(super) ended: BTreeSet<TaskId>,
    /// Runs that are to be looked at in the next settling.
    pub(super) touched: BTreeSet<RunId>,
}

/// The tasks of a run as they are stored, in the order of its plan.
pub type StoredTasks = Vec<(Arc<crate::plan::TaskSpec>, TaskRecord)>;

/// What is loaded from a store to build a world.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The highest id that was ever given to a run.
    pub last_run: RunId,
    /// The newest session of any worker.
    pub last_session: SessionEpoch,
    /// The open runs with their tasks, in the order of the plan.
    pub runs: Vec<(RunId, RunRecord, StoredTasks)>,
    /// Workers of other processes whose sessions are open: they go on as if nothing had been.
    pub workers: Vec<(Registration, SessionEpoch, Duty)>,
}

/// An event that doesn't fit the memory: the log is damaged, or there is a defect in a decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A run's event doesn't fit.
    #[error(transparent)]
    Run(#[from] IllegalRunEvent),
    /// A task's event doesn't fit.
    #[error(transparent)]
    Task(#[from] IllegalTaskEvent),
    /// The event names something that doesn't exist, or creates what exists.
    #[error("`{event}` names {subject}, which doesn't fit")]
    Subject {
        /// The event's name.
        event: &'static str,
        /// What it names.
        subject: String,
    },
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            last_run: RunId(0),
            last_session: SessionEpoch(0),
            runs: BTreeMap::new(),
            uids: HashMap::new(),
            workers: BTreeMap::new(),
            index: Index::default(),
        }
    }

    /// The world as a store holds it. Each live attempt counts as heard of at `now`: nothing may
    /// expire because the coordinator was away.
    ///
    /// # Errors
    /// When tasks don't fit the plan that they belong to.
    pub fn restore(limits: Limits, snapshot: Snapshot, now: Timestamp) -> Result<Self, Defect> {
        let mut world = Self::new(limits);
        world.last_run = snapshot.last_run;
        world.last_session = snapshot.last_session;
        for (id, record, tasks) in snapshot.runs {
            let mut run = Run::new(id, Arc::clone(&record.spec), record.submitted_at);
            world.uids.insert(record.spec.uid, id);
            run.record = record;
            world.runs.insert(id, run);
            for (index, (spec, mut record)) in (0u32..).zip(tasks) {
                if let Some(attempt) = &mut record.attempt {
                    attempt.renewed_at = now;
                    attempt.watched_from = now;
                }
                world.add_task(TaskId { run: id, index }, spec, Some(record), now)?;
            }
            world.recount_unmet(id);
        }
        for (registration, session, duty) in snapshot.workers {
            world.open_session(registration, session, duty, now);
        }
        Ok(world)
    }

    /// Takes over what `earlier` knows of workers and no store does, when a world is rebuilt from
    /// its store while they go on: their open sessions, and whose reports wait on disk. What a
    /// worker holds is counted anew.
    pub fn take_over_sessions(&mut self, earlier: Self) {
        self.last_session = self.last_session.max(earlier.last_session);
        let waiting = earlier.runs.values().flat_map(|run| &run.tasks).filter(|task| {
            let same = self.task(task.id).is_some_and(|now| {
                now.attempt_id() == task.attempt_id() && now.record.fence == task.record.fence
            });
            same && task.live_attempt().is_some_and(|attempt| attempt.report_waits)
        });
        for task in waiting.map(|task| task.id).collect::<Vec<_>>() {
            self.await_report(task);
        }
        for (_, worker) in earlier.workers {
            self.open_session(worker.registration, worker.session, worker.duty, worker.seen_at);
        }
    }

    /// Brings a run that was forgotten back from the store.
    ///
    /// # Errors
    /// When its tasks don't fit its plan.
    pub fn recall(
        &mut self,
        id: RunId,
        record: RunRecord,
        tasks: StoredTasks,
        now: Timestamp,
    ) -> Result<(), Defect> {
        let snapshot = Snapshot { runs: vec![(id, record, tasks)], ..Snapshot::default() };
        let mut restored = Self::restore(self.limits.clone(), snapshot, now)?;
        if let (None, Some(run)) = (self.runs.get(&id), restored.runs.remove(&id)) {
            self.uids.insert(run.record.spec.uid, id);
            self.runs.insert(id, run);
        }
        Ok(())
    }

    /// A run, if it is in memory.
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// The runs in memory, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// A task, if its run is in memory.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.runs.get(&id.run)?.tasks.get(position(id.index))
    }

    /// The workers with an open session.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    /// The run that a submission with this UID led to.
    #[must_use]
    pub fn run_by_uid(&self, uid: Uuid) -> Option<RunId> {
        self.uids.get(&uid).copied()
    }

    /// When something is due next; give [`Input::Tick`] then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let task = self.index.timers.first().map(|(at, _)| *at);
        let worker = self.index.silences.first().map(|(at, _)| *at);
        [task, worker].into_iter().flatten().min()
    }

    /// Gives every worker and every attempt its full time again, because the coordinator could not
    /// have heard of them: it was frozen, or cut off.
    pub fn forgive_silence(&mut self, now: Timestamp) {
        let workers: Vec<WorkerId> = self.workers.keys().cloned().collect();
        for worker in workers {
            self.hear(&worker, now);
        }
        let held =
            |task: &&Task| task.live_attempt().is_some_and(|attempt| attempt.phase.is_held());
        let tasks = self.runs.values().flat_map(|run| &run.tasks).filter(held);
        for task in tasks.map(|task| task.id).collect::<Vec<_>>() {
            self.renew(task, now);
        }
    }

    /// Decides on one input. Nothing changes until the decision's events are applied.
    ///
    /// # Errors
    /// The reason for which the input is refused.
    pub fn decide(&self, moment: Moment, input: &Input) -> Result<Decision, Rejection> {
        match input {
            Input::Submit(submission) => self.decide_submit(submission),
            Input::Command { scope, kind, text, request } => {
                let order = Order { kind: *kind, text, request: request.as_ref() };
                self.decide_command(moment, scope, order)
            }
            Input::Resume(resumption) => self.decide_resume(moment, resumption),
            Input::SetDuty { worker, duty } => self.decide_duty(worker, *duty),
            Input::Worker(request) => self.decide_request(moment, request),
            Input::PrepareIntegration { attempt, branch, old, new } => {
                self.decide_prepare(*attempt, branch, old, new)
            }
            Input::Integrated { attempt, commit } => self.decide_integrated(*attempt, commit),
            Input::RefuseIntegration { attempt, class, reason } => {
                self.decide_refuse(moment, *attempt, *class, reason)
            }
            Input::ObserveTarget { run, head } => self.decide_observe_target(*run, head),
            Input::SwitchTarget { run, branch, head, reason } => {
                self.decide_switch_target(*run, branch, head, reason)
            }
            Input::OffersLost => Ok(self.decide_offers_lost()),
            Input::Recover { reported } => Ok(self.decide_recover(moment, reported)),
            Input::Tick => Ok(self.decide_tick(moment)),
        }
    }

    fn decide_request(
        &self,
        moment: Moment,
        request: &WorkerRequest,
    ) -> Result<Decision, Rejection> {
        let mut decision = self.decide_alone(moment, request)?;
        self.hear_in(request, &mut decision);
        Ok(decision)
    }

    fn decide_alone(&self, moment: Moment, request: &WorkerRequest) -> Result<Decision, Rejection> {
        match request {
            WorkerRequest::Register(registration) => self.decide_register(moment, registration),
            WorkerRequest::Heartbeat { worker, session, held } => {
                self.decide_heartbeat(worker, *session, held)
            }
            WorkerRequest::Drain { worker, session } => self.decide_drain(worker, *session),
            WorkerRequest::Leave { worker, session } => self.decide_leave(moment, worker, *session),
            WorkerRequest::Claim(claim) => self.decide_claim(moment, claim),
            WorkerRequest::Started(holder) => self.decide_started(holder),
            WorkerRequest::Snapshot { holder, work } => self.decide_snapshot(holder, work),
            WorkerRequest::Finished { holder, report } => {
                self.decide_finished(moment, holder, report)
            }
            WorkerRequest::Look(holder) => self.decide_look(holder),
            WorkerRequest::Answered { holder, seq, answer } => {
                self.decide_answered(holder, *seq, answer)
            }
        }
    }

    /// Folds an event into the world.
    ///
    /// # Errors
    /// When the event doesn't fit; the world is then unchanged.
    pub fn apply(&mut self, at: Timestamp, event: &Event) -> Result<(), Defect> {
        match event {
            Event::Run { run, event } => self.apply_run(at, *run, event),
            Event::Task { task, event } => self.apply_task(at, *task, event),
            Event::Worker { worker, event } => self.apply_worker(at, worker, event),
        }
    }

    /// Takes note of what is never stored.
    pub fn note(&mut self, now: Timestamp, volatile: &Volatile) {
        match volatile {
            Volatile::Heard { worker, tasks } => {
                self.hear(worker, now);
                for task in tasks {
                    self.renew(*task, now);
                }
            }
            Volatile::Reported { tasks } => {
                for task in tasks {
                    self.await_report(*task);
                }
            }
        }
    }

    fn await_report(&mut self, task: TaskId) {
        self.with_task(task, |task| {
            if let Some(attempt) = &mut task.record.attempt {
                attempt.report_waits = true;
            }
        });
    }

    /// The worker that has a task's report is back, and has the times of everybody to bring it.
    pub(super) fn expect_report(&mut self, task: TaskId, now: Timestamp) {
        self.with_task(task, |task| {
            let attempt = task.record.attempt.as_mut();
            if let Some(attempt) = attempt.filter(|attempt| attempt.report_waits) {
                attempt.report_waits = false;
                attempt.renewed_at = now;
                attempt.watched_from = now;
            }
        });
    }

    fn renew(&mut self, task: TaskId, now: Timestamp) {
        self.with_task(task, |task| {
            if let Some(attempt) = &mut task.record.attempt {
                attempt.renewed_at = now;
            }
        });
    }

    fn apply_run(&mut self, at: Timestamp, id: RunId, event: &RunEvent) -> Result<(), Defect> {
        if let RunEvent::Submitted { spec } = event {
            if id <= self.last_run || self.uids.contains_key(&spec.uid) {
                return Err(Defect::Subject { event: event.name(), subject: id.to_string() });
            }
            self.last_run = id;
            self.uids.insert(spec.uid, id);
            self.runs.insert(id, Run::new(id, Arc::clone(spec), at));
            return Ok(());
        }
        let run = self
            .runs
            .get_mut(&id)
            .ok_or_else(|| Defect::Subject { event: event.name(), subject: id.to_string() })?;
        run.apply(at, event)?;
        self.index.touched.insert(id);
        Ok(())
    }

    fn apply_task(&mut self, at: Timestamp, id: TaskId, event: &TaskEvent) -> Result<(), Defect> {
        let unknown = || Defect::Subject { event: event.name(), subject: id.to_string() };
        if let TaskEvent::Submitted { spec } = event {
            return self.add_task(id, Arc::clone(spec), None, at);
        }
        let result = self.with_task(id, |task| task.apply(at, event)).ok_or_else(unknown)?;
        result?;
        if matches!(event, TaskEvent::Succeeded { .. } | TaskEvent::DoneElsewhere) {
            self.credit_dependents(id);
        }
        Ok(())
    }

    /// Changes a task and keeps everything that is derived from it in step.
    fn with_task<T>(&mut self, id: TaskId, change: impl FnOnce(&mut Task) -> T) -> Option<T> {
        let run = self.runs.get_mut(&id.run)?;
        let timeouts = run.record.spec.timeouts;
        let task = run.tasks.get_mut(position(id.index))?;
        let before = Footprint::of(task, &timeouts);
        let result = change(task);
        let after = Footprint::of(task, &timeouts);
        if before != after {
            self.move_footprint(id, Some(before), after);
        }
        Some(result)
    }

    fn add_task(
        &mut self,
        id: TaskId,
        spec: Arc<crate::plan::TaskSpec>,
        record: Option<TaskRecord>,
        at: Timestamp,
    ) -> Result<(), Defect> {
        let misplaced = || Defect::Subject { event: "task_submitted", subject: id.to_string() };
        let run = self.runs.get_mut(&id.run).ok_or_else(misplaced)?;
        if run.tasks.len() != position(id.index) {
            return Err(misplaced());
        }
        for dependency in &spec.depends_on {
            let dependency = position(*dependency);
            if run.dependents.len() <= dependency {
                run.dependents.resize_with(dependency + 1, Vec::new);
            }
            run.dependents[dependency].push(id.index);
        }
        let mut task = Task::new(id, spec, at);
        if let Some(record) = record {
            task.record = record;
        }
        let footprint = Footprint::of(&task, &run.record.spec.timeouts);
        run.tasks.push(task);
        self.move_footprint(id, None, footprint);
        self.index.touched.insert(id.run);
        Ok(())
    }

    fn credit_dependents(&mut self, id: TaskId) {
        let Some(run) = self.runs.get_mut(&id.run) else { return };
        let dependents = run.dependents.get(position(id.index)).cloned().unwrap_or_default();
        for dependent in dependents {
            if let Some(task) = run.tasks.get_mut(position(dependent)) {
                task.unmet = task.unmet.saturating_sub(1);
            }
        }
    }

    fn recount_unmet(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let succeeded: Vec<bool> = run
            .tasks
            .iter()
            .map(|task| matches!(task.record.state, TaskState::Succeeded { .. }))
            .collect();
        for task in &mut run.tasks {
            let unmet = task.spec.depends_on.iter().filter(|dependency| {
                !succeeded.get(position(**dependency)).copied().unwrap_or(false)
            });
            task.unmet = u32::try_from(unmet.count()).unwrap_or(u32::MAX);
        }
    }

    /// Forgets the oldest finished runs, so that memory doesn't grow with history. Only for what is
    /// committed: what is forgotten can only be had from the store again.
    pub fn forget_finished(&mut self) {
        let mut tasks = 0;
        let newest_first = self.runs.values().rev().filter(|run| run.is_finished());
        let surplus = newest_first.enumerate().skip_while(|(position, run)| {
            let kept = *position == 0
                || (*position < FINISHED_RUNS_MAX && tasks + run.tasks.len() <= FINISHED_TASKS_MAX);
            tasks += run.tasks.len();
            kept
        });
        let surplus: Vec<RunId> = surplus.map(|(_, run)| run.id).collect();
        for id in &surplus {
            if let Some(run) = self.runs.remove(id) {
                self.uids.remove(&run.record.spec.uid);
            }
            self.index.ready.remove(id);
        }
    }
}
