//! Sessions of workers: registration, proof of life, leaving.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::input::{Answer, Decision, HeldVerdict, Moment, Rejection, Verdict, Volatile};
use super::world::World;
use crate::attempt::{Outcome, Phase, Report};
use crate::event::{Event, TaskEvent, WorkerEvent};
use crate::ids::{SessionEpoch, TaskId, WorkerId};
use crate::task::Task;
use crate::worker::{Held, Registration, Worker};

impl World {
    /// The worker, if `session` is its newest.
    pub(super) fn session(
        &self,
        id: &WorkerId,
        session: SessionEpoch,
    ) -> Result<&Worker, Rejection> {
        let worker =
            self.workers.get(id).ok_or_else(|| Rejection::UnknownWorker { worker: id.clone() })?;
        if worker.session == session {
            Ok(worker)
        } else {
            Err(Rejection::SupersededSession { worker: id.clone() })
        }
    }

    /// Opens a session. What the worker held before and doesn't hold any more is lost.
    pub(super) fn decide_register(
        &self,
        moment: Moment,
        registration: &Registration,
    ) -> Result<Decision, Rejection> {
        let session = self.last_session.next();
        let mut decision = Decision::default();
        let id = &registration.worker;
        let brought: BTreeSet<TaskId> =
            registration.inventory.iter().map(|held| held.attempt.task).collect();
        for task in self.tasks_held_by(id) {
            if brought.contains(&task.id) {
                continue;
            }
            let number = task.record.attempt.as_ref().map_or(0, |attempt| attempt.number);
            let report = Report::stated(Outcome::Lost, "its worker came back without it");
            self.end_attempt(moment, task, number, Arc::new(report), &mut decision);
        }
        let registration = registration.clone();
        let verdicts = self.verdicts(id, &registration.inventory);
        let event = WorkerEvent::Registered { registration, session };
        decision.events.push(Event::Worker { worker: id.clone(), event });
        decision.answer = Answer::Registered { session, verdicts };
        Ok(decision)
    }

    pub(super) fn decide_heartbeat(
        &self,
        id: &WorkerId,
        session: SessionEpoch,
        held: &[Held],
    ) -> Result<Decision, Rejection> {
        self.session(id, session)?;
        let mut decision = Decision::default();
        let mut renewed = Vec::new();
        for held in held {
            let Some(task) = self.task(held.attempt.task) else { continue };
            if !self.holds(id, task, *held) {
                continue;
            }
            renewed.push(task.id);
            if task.live_attempt().is_some_and(|attempt| attempt.phase == Phase::Suspect) {
                let event = TaskEvent::Recovered { attempt: held.attempt.number };
                decision.events.push(Event::Task { task: task.id, event });
            }
        }
        decision.answer = Answer::Heard(self.verdicts(id, held));
        decision.volatile = Some(Volatile::Heard { worker: id.clone(), tasks: renewed });
        Ok(decision)
    }

    pub(super) fn decide_drain(
        &self,
        id: &WorkerId,
        session: SessionEpoch,
    ) -> Result<Decision, Rejection> {
        let worker = self.session(id, session)?;
        let mut decision = Decision::default();
        if !worker.draining {
            decision
                .events
                .push(Event::Worker { worker: id.clone(), event: WorkerEvent::Draining });
        }
        Ok(decision)
    }

    /// An orderly end: what the worker still holds is tried elsewhere and counts for nothing.
    pub(super) fn decide_leave(
        &self,
        moment: Moment,
        id: &WorkerId,
        session: SessionEpoch,
    ) -> Result<Decision, Rejection> {
        self.session(id, session)?;
        let mut decision = Decision::default();
        for task in self.tasks_held_by(id) {
            let number = task.record.attempt.as_ref().map_or(0, |attempt| attempt.number);
            let report = Report::stated(Outcome::Interrupted, "its worker was shut down");
            self.end_attempt(moment, task, number, Arc::new(report), &mut decision);
        }
        let event = WorkerEvent::Gone { reason: "it was shut down".to_owned() };
        decision.events.push(Event::Worker { worker: id.clone(), event });
        Ok(decision)
    }

    pub(super) fn tasks_held_by<'a>(&'a self, id: &'a WorkerId) -> impl Iterator<Item = &'a Task> {
        // Not by the worker's own list: after a restart the grants are known and the worker isn't.
        let open = self.runs.values().filter(|run| !run.is_finished() && run.live > 0);
        open.flat_map(|run| &run.tasks).filter(move |task| {
            let held = task.live_attempt().is_some_and(|attempt| attempt.phase.is_held());
            held && task.grant().is_some_and(|grant| grant.worker == *id)
        })
    }

    fn holds(&self, id: &WorkerId, task: &Task, held: Held) -> bool {
        task.attempt_id() == Some(held.attempt)
            && Self::is_held_under(task, held.fence)
            && task.grant().is_some_and(|grant| grant.worker == *id)
    }

    fn verdicts(&self, id: &WorkerId, inventory: &[Held]) -> Vec<HeldVerdict> {
        let verdict = |held: &Held| {
            let task = self.task(held.attempt.task).filter(|task| self.holds(id, task, *held));
            match task {
                None => Verdict::Fenced,
                Some(task) if task.record.cancel.is_some() || !task.record.pending.is_empty() => {
                    Verdict::Look
                }
                Some(_) => Verdict::Keep,
            }
        };
        inventory
            .iter()
            .map(|held| HeldVerdict { attempt: held.attempt, verdict: verdict(held) })
            .collect()
    }
}
