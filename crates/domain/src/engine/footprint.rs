//! What a task contributes to the derived indexes, and how these follow a change of it.
//!
//! Every index is kept by comparing a task's footprint before and after a change, so no event can
//! forget to update one. The property tests compare the result with a full recount.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::world::World;
use crate::attempt::{Attempt, Phase};
use crate::ids::{TaskId, Timestamp, WorkerId};
use crate::policy::Timeouts;
use crate::task::{Task, TaskState};

/// An offer that nobody has claimed for this long is published again: messages may be lost.
const OFFER_TTL: std::time::Duration = std::time::Duration::from_secs(60);

/// What a task contributes to the indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Its priority, when it could start.
    startable: Option<i32>,
    live: bool,
    offered: bool,
    held_by: Option<WorkerId>,
    due: Option<Timestamp>,
    deferred_until: Option<TaskId>,
    open: bool,
    ended: bool,
}

impl Footprint {
    pub(super) fn of(task: &Task, timeouts: &Timeouts) -> Self {
        let attempt = task.live_attempt();
        let held = attempt.filter(|attempt| attempt.phase.is_held());
        let open = !task.record.state.is_ended();
        // One that has ended waits for nothing any more.
        let deferral = task.record.deferred.as_ref().filter(|_| open);
        Self {
            startable: task.is_startable().then(|| task.priority()),
            live: attempt.is_some(),
            offered: attempt.is_some_and(|attempt| attempt.phase == Phase::Offered),
            held_by: held
                .and_then(|attempt| attempt.grant.as_ref())
                .map(|grant| grant.worker.clone()),
            due: due(task, timeouts),
            deferred_until: deferral.map(|deferral| deferral.until),
            open,
            ended: !open,
        }
    }

    /// That of a task that doesn't exist yet, so that it is neither open nor ended.
    fn none() -> Self {
        Self {
            startable: None,
            live: false,
            offered: false,
            held_by: None,
            due: None,
            deferred_until: None,
            open: false,
            ended: false,
        }
    }
}

/// When something is due for a task.
fn due(task: &Task, timeouts: &Timeouts) -> Option<Timestamp> {
    match &task.record.state {
        TaskState::RetryWait { until, .. } => return Some(*until),
        TaskState::Active => {}
        TaskState::Blocked
        | TaskState::Ready
        | TaskState::Integrating { .. }
        | TaskState::Succeeded { .. }
        | TaskState::Failed { .. }
        | TaskState::Cancelled { .. }
        | TaskState::Skipped { .. } => return None,
    }
    let attempt = task.live_attempt()?;
    let overdue = overdue_at(attempt, timeouts);
    match attempt.phase {
        Phase::Claimed | Phase::Running | Phase::Suspect if attempt.report_waits => None,
        Phase::Offered => Some(attempt.offered_at.after(OFFER_TTL)),
        // A coordinator that has just started gives the whole time again.
        Phase::Claimed => {
            let begun = attempt.grant.as_ref().map(|grant| grant.at.max(attempt.watched_from));
            begun.map(|at| at.after(timeouts.claim))
        }
        Phase::Running => {
            let suspect = attempt.renewed_at.after(timeouts.lease_ttl);
            Some(overdue.map_or(suspect, |overdue| overdue.min(suspect)))
        }
        Phase::Suspect => Some(attempt.renewed_at.after(timeouts.lost_after)),
        Phase::Cancelling => attempt.cancel.as_ref().map(|cancel| cancel.at.after(timeouts.cancel)),
        Phase::Ended => None,
    }
}

/// When the coordinator ends a running attempt itself, because its worker should have done so
/// long ago. Never while it is frozen.
pub(super) fn overdue_at(attempt: &Attempt, timeouts: &Timeouts) -> Option<Timestamp> {
    let allowed = timeouts.attempt.saturating_add(timeouts.cancel);
    let allowed = allowed.saturating_add(attempt.paused_for);
    attempt.paused_at.is_none().then(|| attempt.watched_from.after(allowed))
}

impl World {
    /// Moves a task's contribution from `before` (`None` for a new task) to `after`.
    pub(super) fn move_footprint(
        &mut self,
        id: TaskId,
        before: Option<Footprint>,
        after: Footprint,
    ) {
        let Some(run) = self.runs.get_mut(&id.run) else { return };
        let Some(task) = run.tasks.get(crate::plan::position(id.index)) else { return };
        let (agent, repository) = (Arc::clone(&task.spec.agent), Arc::clone(&task.spec.repository));
        let class = task.class.clone();
        let spec = Arc::clone(&task.spec);
        let before = before.unwrap_or_else(Footprint::none);
        let index = &mut self.index;
        if before.startable != after.startable {
            let ready = index.ready.entry(id.run).or_default();
            before.startable.map(|priority| ready.remove(&(Reverse(priority), id.index)));
            after.startable.map(|priority| ready.insert((Reverse(priority), id.index)));
        }
        if before.live != after.live {
            step(&mut run.live, after.live);
            step(&mut index.live, after.live);
            step_in(&mut index.live_per_agent, &agent, after.live);
            step_in(&mut index.live_per_repository, &repository, after.live);
        }
        if before.offered != after.offered {
            step_in(&mut index.offered_per_class, &class, after.offered);
        }
        if before.due != after.due {
            before.due.map(|at| index.timers.remove(&(at, id)));
            after.due.map(|at| index.timers.insert((at, id)));
        }
        if before.deferred_until != after.deferred_until {
            if let Some(until) = before.deferred_until {
                index.deferred.remove(&(until, id));
            }
            if let Some(until) = after.deferred_until {
                index.deferred.insert((until, id));
            }
        }
        if before.open != after.open {
            index.classes.count(&class, &spec, after.open);
        }
        if before.ended != after.ended {
            step(&mut run.ended, after.ended);
            if after.ended {
                index.ended.insert(id);
            } else {
                index.ended.remove(&id);
            }
        }
        index.touched.insert(id.run);
        if before.held_by != after.held_by {
            if let Some(worker) = before.held_by.and_then(|worker| self.workers.get_mut(&worker)) {
                worker.holds.remove(&id);
            }
            if let Some(worker) = after.held_by.and_then(|worker| self.workers.get_mut(&worker)) {
                worker.holds.insert(id);
            }
        }
    }
}

fn step(count: &mut u32, up: bool) {
    *count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
}

fn step_in<K: Clone + Ord>(counts: &mut BTreeMap<K, u32>, key: &K, up: bool) {
    let count = counts.entry(key.clone()).or_default();
    step(count, up);
    if *count == 0 {
        counts.remove(key);
    }
}
