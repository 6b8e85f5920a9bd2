//! Sessions of workers: registration, proof of life, duty, leaving.

use std::sync::Arc;

use super::decision::{Answer, Decision, Effect, HeldVerdict, Moment, Standing, Verdict, Volatile};
use super::input::WorkerRequest;
use super::rejection::Rejection;
use super::world::{Defect, World};
use crate::attempt::{Outcome, Phase, Report};
use crate::event::{Event, TaskEvent, WorkerEvent};
use crate::ids::{Fence, SessionEpoch, TaskId, Timestamp, WorkerId};
use crate::policy::Limits;
use crate::task::Task;
use crate::worker::{Duty, Held, Registration, Worker};

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
        registration.validate().map_err(|reason| Rejection::InvalidRegistration { reason })?;
        let session = self.last_session.next();
        let mut decision = Decision::default();
        let id = &registration.worker;
        for task in self.tasks_held_by(id) {
            // What it brings of an earlier attempt doesn't bring this one back.
            if registration.inventory.iter().any(|held| self.holds(id, task, *held)) {
                continue;
            }
            let number = task.record.attempt.as_ref().map_or(0, |attempt| attempt.number);
            let report = Report::stated(Outcome::Lost, "its worker came back without it");
            self.end_attempt(moment, task, number, Arc::new(report), &mut decision);
        }
        let earlier = self.workers.get(id).map(|worker| worker.duty);
        let standing = Standing {
            verdicts: self.verdicts(id, &registration.inventory),
            classes: self.classes_for(registration),
            duty: duty_after_registration(earlier),
        };
        let registration = registration.clone();
        let event = WorkerEvent::Registered { registration, session };
        decision.events.push(Event::Worker { worker: id.clone(), event });
        decision.answer = Answer::Registered { session, standing };
        Ok(decision)
    }

    pub(super) fn decide_heartbeat(
        &self,
        id: &WorkerId,
        session: SessionEpoch,
        held: &[Held],
    ) -> Result<Decision, Rejection> {
        let worker = self.session(id, session)?;
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
        decision.answer = Answer::Heard(Standing {
            verdicts: self.verdicts(id, held),
            classes: self.classes_for(&worker.registration),
            duty: worker.duty,
        });
        decision.volatile = Some(Volatile::Heard { worker: id.clone(), tasks: renewed });
        Ok(decision)
    }

    /// Whatever a worker asks proves that it lives. What it says of an attempt proves nothing of
    /// the agent, so that only a heartbeat renews those.
    pub(super) fn hear_in(&self, request: &WorkerRequest, decision: &mut Decision) {
        let Some(worker) = self.workers.get(request.worker()) else { return };
        let ends = matches!(request, WorkerRequest::Register(_) | WorkerRequest::Leave { .. });
        // One in our own process can't be silent.
        if worker.registration.embedded || ends {
            return;
        }
        let id = request.worker();
        if worker.suspect {
            let event = WorkerEvent::Recovered;
            decision.events.push(Event::Worker { worker: id.clone(), event });
        }
        decision
            .volatile
            .get_or_insert_with(|| Volatile::Heard { worker: id.clone(), tasks: Vec::new() });
    }

    pub(super) fn decide_drain(
        &self,
        id: &WorkerId,
        session: SessionEpoch,
    ) -> Result<Decision, Rejection> {
        let worker = self.session(id, session)?;
        let mut decision = Decision::default();
        if worker.duty != Duty::Draining {
            decision
                .events
                .push(Event::Worker { worker: id.clone(), event: WorkerEvent::Draining });
        }
        Ok(decision)
    }

    /// An operator's order. A worker that leaves can't be called back: it may have gone already.
    pub(super) fn decide_duty(&self, id: &WorkerId, duty: Duty) -> Result<Decision, Rejection> {
        let worker =
            self.workers.get(id).ok_or_else(|| Rejection::UnknownWorker { worker: id.clone() })?;
        if worker.duty == duty {
            return Ok(Decision::default());
        }
        if worker.duty == Duty::Draining {
            return Err(Rejection::OutOfPlace {
                subject: id.to_string(),
                state: Duty::Draining.name().to_owned(),
            });
        }
        let mut decision = Decision::default();
        let event = WorkerEvent::DutyChanged { duty };
        decision.events.push(Event::Worker { worker: id.clone(), event });
        decision.effects.push(Effect::Hail { worker: id.clone() });
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

    /// Workers that have been silent for too long. What they hold has a time limit of its own.
    pub(super) fn notice_silence(&self, now: Timestamp, decision: &mut Decision) {
        let due = self.index.silences.iter().take_while(|(at, _)| *at <= now);
        for (_, id) in due {
            let Some(worker) = self.workers.get(id) else { continue };
            let event = if worker.suspect {
                WorkerEvent::Gone { reason: "it was not heard of for too long".to_owned() }
            } else {
                WorkerEvent::Suspected
            };
            decision.events.push(Event::Worker { worker: id.clone(), event });
        }
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
                Some(task) if Self::is_something_wanted(task) => Verdict::Look,
                Some(_) => Verdict::Keep,
            }
        };
        inventory
            .iter()
            .map(|held| HeldVerdict { attempt: held.attempt, verdict: verdict(held) })
            .collect()
    }

    /// Whether a task's newest attempt is held under this fence.
    pub(super) fn is_held_under(task: &Task, fence: Fence) -> bool {
        let held = task.live_attempt().is_some_and(|attempt| attempt.phase.is_held());
        held && task.record.fence == fence
    }

    pub(super) fn apply_worker(
        &mut self,
        at: Timestamp,
        id: &WorkerId,
        event: &WorkerEvent,
    ) -> Result<(), Defect> {
        let misplaced = || Defect::Subject { event: event.name(), subject: id.to_string() };
        if let WorkerEvent::Registered { registration, session } = event {
            if *session <= self.last_session {
                return Err(misplaced());
            }
            self.last_session = *session;
            let held: Vec<TaskId> = self.tasks_held_by(id).map(|task| task.id).collect();
            for task in held {
                self.expect_report(task, at);
            }
            let duty = duty_after_registration(self.workers.get(id).map(|earlier| earlier.duty));
            self.open_session(registration.clone(), *session, duty, at);
            return Ok(());
        }
        let worker = self.take_worker(id);
        if let WorkerEvent::Gone { .. } = event {
            // After a restart a worker that never came back is unknown; it is gone all the same.
            return Ok(());
        }
        let mut worker = worker.ok_or_else(misplaced)?;
        match event {
            WorkerEvent::Draining => worker.duty = Duty::Draining,
            WorkerEvent::DutyChanged { duty } => worker.duty = *duty,
            WorkerEvent::Suspected => worker.suspect = true,
            WorkerEvent::Recovered => worker.suspect = false,
            WorkerEvent::Registered { .. } | WorkerEvent::Gone { .. } => {}
        }
        self.put_worker(worker);
        Ok(())
    }

    pub(super) fn open_session(
        &mut self,
        registration: Registration,
        session: SessionEpoch,
        duty: Duty,
        seen_at: Timestamp,
    ) {
        let holds = self.tasks_held_by(&registration.worker).map(|task| task.id).collect();
        self.put_worker(Worker { registration, session, seen_at, duty, suspect: false, holds });
    }

    /// Takes note of a proof of life.
    pub(super) fn hear(&mut self, id: &WorkerId, now: Timestamp) {
        let Some(mut worker) = self.take_worker(id) else { return };
        worker.seen_at = now;
        self.put_worker(worker);
    }

    /// When a worker that stays silent is suspect, or gone; never for one that can't be silent
    /// without us.
    fn silent_at(&self, worker: &Worker) -> Option<Timestamp> {
        let Limits { worker_ttl, worker_lost_after, .. } = &self.limits;
        let allowed = if worker.suspect { worker_lost_after } else { worker_ttl };
        (!worker.registration.embedded).then(|| worker.seen_at.after(*allowed))
    }

    /// Workers are changed by taking them out and putting them back, so that the index of their
    /// silences follows.
    fn put_worker(&mut self, worker: Worker) {
        let id = worker.registration.worker.clone();
        drop(self.take_worker(&id));
        if let Some(at) = self.silent_at(&worker) {
            self.index.silences.insert((at, id.clone()));
        }
        self.workers.insert(id, worker);
    }

    fn take_worker(&mut self, id: &WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(id)?;
        if let Some(at) = self.silent_at(&worker) {
            self.index.silences.remove(&(at, id.clone()));
        }
        Some(worker)
    }
}

/// What an operator ordered outlives a session; what the worker wanted itself doesn't.
fn duty_after_registration(earlier: Option<Duty>) -> Duty {
    match earlier {
        Some(Duty::Cordoned) => Duty::Cordoned,
        Some(Duty::Active | Duty::Draining) | None => Duty::Active,
    }
}
