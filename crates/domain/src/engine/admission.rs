//! Which tasks may start, and what follows when others have ended.
//!
//! Concurrency is what is counted from the tasks' states at this moment; there is no counter that
//! could drift away from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::decision::{Decision, Effect};
use super::world::World;
use crate::event::{Event, RunEvent, TaskEvent};
use crate::ids::{AttemptId, TaskId};
use crate::placement::Class;
use crate::plan::{TaskSpec, position};
use crate::run::{Run, RunOutcome};
use crate::task::{Task, TaskState};
use crate::worker::Registration;

/// How many tasks of one run are looked at in one settling while the best of them have no room:
/// enough for any sane mix of agents, and a bound on the work that a long backlog can cause.
const LOOKED_AT_MAX: usize = 1_000;

/// Why a task that could start has to wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Wait {
    /// As many tasks of the run are live as may be.
    RunConcurrency {
        /// The limit.
        limit: u32,
    },
    /// As many tasks are live as may be.
    TotalLimit {
        /// The limit.
        limit: u32,
    },
    /// As many attempts of the agent are live as may be.
    AgentLimit {
        /// The agent.
        agent: Arc<str>,
        /// The limit.
        limit: u32,
    },
    /// As many attempts in the repository are live as may be.
    RepositoryLimit {
        /// The repository.
        repository: Arc<str>,
        /// The limit.
        limit: u32,
    },
    /// No worker has the agent and everything else that is needed.
    NoWorker {
        /// The agent.
        agent: Arc<str>,
        /// The constraints that no worker with the agent fits; empty when no worker has the agent.
        missing: Vec<String>,
    },
    /// Somebody wants it not to go on for now.
    Paused {
        /// Why, in words for people.
        reason: String,
    },
    /// By order it waits until another task has ended.
    Deferred {
        /// The other task.
        until: TaskId,
        /// Why, in words for people.
        reason: String,
    },
    /// Every worker that could take it is full, suspect, or takes nothing new.
    NoFreeSlot {
        /// The agent.
        agent: Arc<str>,
    },
}

impl World {
    /// Derives what has become possible since the last call. Call it until nothing follows.
    pub fn settle(&mut self) -> Decision {
        let mut decision = Decision::default();
        let mut released = BTreeSet::new();
        for id in std::mem::take(&mut self.index.ended) {
            self.release_dependents(id, &mut released, &mut decision);
            self.release_deferred(id, &mut decision);
        }
        if !decision.events.is_empty() {
            return decision;
        }
        let touched = std::mem::take(&mut self.index.touched);
        for id in touched {
            if let Some(outcome) = self.runs.get(&id).and_then(outcome_of) {
                decision.events.push(Event::Run { run: id, event: RunEvent::Finished { outcome } });
            }
        }
        self.offer_what_fits(&mut decision);
        decision
    }

    /// `released` are those that earlier calls for the same decision have decided on.
    fn release_dependents(
        &self,
        id: TaskId,
        released: &mut BTreeSet<TaskId>,
        decision: &mut Decision,
    ) {
        let Some(run) = self.runs.get(&id.run) else { return };
        let Some(ended) = run.tasks.get(position(id.index)) else { return };
        let succeeded = matches!(ended.record.state, TaskState::Succeeded { .. });
        for &dependent in run.dependents.get(position(id.index)).into_iter().flatten() {
            let Some(task) = run.tasks.get(position(dependent)) else { continue };
            if task.record.state != TaskState::Blocked {
                continue;
            }
            if succeeded && task.unmet > 0 {
                continue;
            }
            let event = (!succeeded).then_some(TaskEvent::Skipped { because: id.index });
            if !released.insert(task.id) {
                continue;
            }
            match event {
                Some(event) => self.finish(task, event, decision),
                None => {
                    let event = TaskEvent::DependenciesMet;
                    decision.events.push(Event::Task { task: task.id, event });
                }
            }
        }
    }

    fn release_deferred(&self, id: TaskId, decision: &mut Decision) {
        let first = TaskId { run: crate::ids::RunId(0), index: 0 };
        let waiting = self.index.deferred.range((id, first)..);
        for (_, task) in waiting.take_while(|(until, _)| *until == id) {
            decision.events.push(Event::Task { task: *task, event: TaskEvent::Undeferred });
        }
    }

    fn offer_what_fits(&self, decision: &mut Decision) {
        let mut room = Room::of(self);
        for (id, ready) in &self.index.ready {
            let Some(run) = self.runs.get(id) else { continue };
            let mut live = run.live;
            for (_, index) in ready.iter().take(LOOKED_AT_MAX) {
                if room.is_exhausted() || live >= run.record.spec.concurrency {
                    break;
                }
                let Some(task) = run.tasks.get(position(*index)) else { continue };
                if !room.take(self, task) {
                    continue;
                }
                live += 1;
                let number = task.record.attempt.as_ref().map_or(1, |attempt| attempt.number + 1);
                let offer = task.record.offer.next();
                let event = TaskEvent::Offered { attempt: number, offer };
                decision.events.push(Event::Task { task: task.id, event });
                decision.effects.push(Effect::Offer {
                    attempt: AttemptId { task: task.id, number },
                    offer,
                    class: task.class.clone(),
                });
            }
        }
    }

    /// Why a ready task isn't offered at this moment; `None` when it could be.
    pub(super) fn admission(&self, run: &Run, task: &Task) -> Option<Wait> {
        if let Some(reason) = &task.record.paused {
            return Some(Wait::Paused { reason: reason.clone() });
        }
        if let Some(deferral) = &task.record.deferred {
            let (until, reason) = (deferral.until, deferral.reason.clone());
            return Some(Wait::Deferred { until, reason });
        }
        let limit = run.record.spec.concurrency;
        if run.live >= limit {
            return Some(Wait::RunConcurrency { limit });
        }
        Room::of(self).refusal(self, task)
    }

    /// The slots that are free on workers which could take the task; `None` when none could.
    fn free_slots(&self, spec: &TaskSpec) -> Option<u32> {
        let able = |registration: &Registration| registration.satisfies(&spec.agent, &spec.needs);
        let mut able = self.workers.values().filter(|worker| able(&worker.registration)).peekable();
        able.peek()?;
        let free = able.fold(0u32, |sum, worker| sum.saturating_add(worker.free_slots()));
        Some(free)
    }

    /// Why no worker could take the task.
    fn unplaceable(&self, spec: &TaskSpec) -> Wait {
        let with_agent: Vec<&Registration> = self
            .workers
            .values()
            .map(|worker| &worker.registration)
            .filter(|registration| registration.satisfies(&spec.agent, &[]))
            .collect();
        let fits_nobody = |constraint: &&crate::placement::Constraint| {
            !with_agent.iter().any(|registration| constraint.fits(&registration.labels))
        };
        let mut missing: Vec<&crate::placement::Constraint> =
            spec.needs.iter().filter(fits_nobody).collect();
        if missing.is_empty() {
            // Each fits somebody, all of them nobody.
            missing = spec.needs.iter().collect();
        }
        if with_agent.is_empty() {
            missing.clear();
        }
        let missing = missing.into_iter().map(ToString::to_string).collect();
        Wait::NoWorker { agent: Arc::clone(&spec.agent), missing }
    }

    /// The classes whose offers a worker may take.
    pub(super) fn classes_for(&self, registration: &Registration) -> Vec<Class> {
        let plain = registration.agents.iter().map(|agent| Class::of(agent, &[]));
        let special = self.index.classes.satisfied_by(registration);
        plain.chain(special).collect::<BTreeSet<Class>>().into_iter().collect()
    }

    /// Tells workers of classes that a submission brings up and they could not know of.
    pub(super) fn announce_classes(&self, tasks: &[TaskSpec], decision: &mut Decision) {
        let special = tasks.iter().filter(|task| !task.needs.is_empty());
        let new = special.filter(|task| {
            !self.index.classes.0.contains_key(&Class::of(&task.agent, &task.needs))
        });
        let mut hailed = BTreeSet::new();
        for task in new {
            let able = self
                .workers
                .values()
                .filter(|worker| worker.registration.satisfies(&task.agent, &task.needs));
            hailed.extend(able.map(|worker| worker.registration.worker.clone()));
        }
        decision.effects.extend(hailed.into_iter().map(|worker| Effect::Hail { worker }));
    }
}

/// Classes in use: how many tasks each has that have not ended, and one of them as the example of
/// what it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Classes(BTreeMap<Class, (u32, Arc<TaskSpec>)>);

impl Classes {
    pub(super) fn count(&mut self, class: &Class, spec: &Arc<TaskSpec>, up: bool) {
        if up {
            let entry = self.0.entry(class.clone()).or_insert_with(|| (0, Arc::clone(spec)));
            entry.0 = entry.0.saturating_add(1);
        } else if let Some(entry) = self.0.get_mut(class) {
            entry.0 = entry.0.saturating_sub(1);
            if entry.0 == 0 {
                self.0.remove(class);
            }
        }
    }

    fn satisfied_by(&self, registration: &Registration) -> impl Iterator<Item = Class> {
        let able = move |(_, (_, spec)): &(&Class, &(u32, Arc<TaskSpec>))| {
            registration.satisfies(&spec.agent, &spec.needs)
        };
        self.0.iter().filter(able).map(|(class, _)| class.clone())
    }
}

/// What is left of each limit while offers are handed out.
struct Room {
    total: u32,
    agents: BTreeMap<Arc<str>, u32>,
    repositories: BTreeMap<Arc<str>, u32>,
    /// Slots that no attempt holds and no offer is out for, over all workers.
    slots: u32,
    slots_per_class: BTreeMap<Class, u32>,
}

impl Room {
    fn of(world: &World) -> Self {
        let offered: u32 = world.index.offered_per_class.values().sum();
        let free = world
            .workers
            .values()
            .fold(0u32, |sum, worker| sum.saturating_add(worker.free_slots()));
        Self {
            total: world.limits.total.saturating_sub(world.index.live),
            agents: BTreeMap::new(),
            repositories: BTreeMap::new(),
            slots: free.saturating_sub(offered),
            slots_per_class: BTreeMap::new(),
        }
    }

    fn is_exhausted(&self) -> bool {
        self.total == 0 || self.slots == 0
    }

    fn agent_room<'a>(&'a mut self, world: &World, agent: &Arc<str>) -> &'a mut u32 {
        self.agents.entry(Arc::clone(agent)).or_insert_with(|| {
            let limit = world.limits.per_agent.get(&**agent).copied().unwrap_or(u32::MAX);
            limit.saturating_sub(world.index.live_per_agent.get(agent).copied().unwrap_or(0))
        })
    }

    fn repository_room<'a>(&'a mut self, world: &World, repository: &Arc<str>) -> &'a mut u32 {
        self.repositories.entry(Arc::clone(repository)).or_insert_with(|| {
            let live = world.index.live_per_repository.get(repository).copied().unwrap_or(0);
            world.limits.per_repository.saturating_sub(live)
        })
    }

    fn slot_room<'a>(&'a mut self, world: &World, task: &Task) -> &'a mut u32 {
        self.slots_per_class.entry(task.class.clone()).or_insert_with(|| {
            let offered = world.index.offered_per_class.get(&task.class).copied().unwrap_or(0);
            world.free_slots(&task.spec).unwrap_or(0).saturating_sub(offered)
        })
    }

    fn refusal(&mut self, world: &World, task: &Task) -> Option<Wait> {
        let (agent, repository) = (&task.spec.agent, &task.spec.repository);
        if self.total == 0 {
            return Some(Wait::TotalLimit { limit: world.limits.total });
        }
        if *self.agent_room(world, agent) == 0 {
            let limit = world.limits.per_agent.get(&**agent).copied().unwrap_or(u32::MAX);
            return Some(Wait::AgentLimit { agent: Arc::clone(agent), limit });
        }
        if *self.repository_room(world, repository) == 0 {
            let limit = world.limits.per_repository;
            return Some(Wait::RepositoryLimit { repository: Arc::clone(repository), limit });
        }
        if self.slots > 0 && *self.slot_room(world, task) > 0 {
            return None;
        }
        // Only now, since it asks every worker.
        if world.free_slots(&task.spec).is_none() {
            return Some(world.unplaceable(&task.spec));
        }
        Some(Wait::NoFreeSlot { agent: Arc::clone(agent) })
    }

    /// Takes the room for one attempt, if there is any.
    fn take(&mut self, world: &World, task: &Task) -> bool {
        if self.refusal(world, task).is_some() {
            return false;
        }
        self.total -= 1;
        self.slots -= 1;
        *self.agent_room(world, &task.spec.agent) -= 1;
        *self.repository_room(world, &task.spec.repository) -= 1;
        *self.slot_room(world, task) -= 1;
        true
    }
}

/// How a run has ended, if all its tasks have and nobody has said so yet.
fn outcome_of(run: &Run) -> Option<RunOutcome> {
    let all = u32::try_from(run.tasks.len()).unwrap_or(u32::MAX);
    if run.is_finished() || run.ended < all || all == 0 {
        return None;
    }
    let mut outcome = RunOutcome::Succeeded;
    for task in &run.tasks {
        match &task.record.state {
            TaskState::Failed { .. } => return Some(RunOutcome::Failed),
            TaskState::Cancelled { .. } => outcome = RunOutcome::Cancelled,
            TaskState::Skipped { .. } if outcome == RunOutcome::Succeeded => {
                outcome = RunOutcome::Failed
            }
            TaskState::Skipped { .. }
            | TaskState::Succeeded { .. }
            | TaskState::Blocked
            | TaskState::Ready
            | TaskState::Active
            | TaskState::RetryWait { .. }
            | TaskState::Integrating { .. } => {}
        }
    }
    Some(outcome)
}
