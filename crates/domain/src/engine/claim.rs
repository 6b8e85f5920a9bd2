//! Claims, and what the holder of an attempt reports.
//!
//! Each report names its grant by the fence. A fence that is not the current one changes nothing,
//! whatever else the report says.

use std::sync::Arc;
use std::time::Duration;

use super::decision::{Answer, Decision, Grant, Moment};
use super::input::{Claim, Holder};
use super::outcome::settled;
use super::rejection::Rejection;
use super::world::World;
use crate::attempt::{Attempt, Outcome, Phase, Report, WorkResult};
use crate::command::CommandState;
use crate::event::{Event, TaskEvent};
use crate::ids::Fence;
use crate::prompt;
use crate::task::{LostGrant, Orphan, Task};
use crate::worker::Worker;

/// How long an offer is kept for a better worker before anybody gets it who asks.
const PREFERENCE: Duration = Duration::from_secs(3);

/// How long a worker that is not the best one leaves an offer to the others.
const STEP_BACK: Duration = Duration::from_millis(200);

impl World {
    pub(super) fn decide_claim(
        &self,
        moment: Moment,
        claim: &Claim,
    ) -> Result<Decision, Rejection> {
        let id = claim.attempt;
        let worker = self.session(&claim.worker, claim.session)?;
        let task = self.task(id.task).ok_or(Rejection::ObsoleteOffer { attempt: id })?;
        let attempt = task
            .live_attempt()
            .filter(|attempt| attempt.number == id.number)
            .ok_or(Rejection::ObsoleteOffer { attempt: id })?;
        if let Some(grant) = &attempt.grant {
            let same = grant.worker == claim.worker
                && grant.session == claim.session
                && grant.request == claim.request;
            // The answer to this very claim was lost on its way: it gets the same grant again.
            return if same && attempt.phase == Phase::Claimed {
                Ok(answer(self.grant_of(task, attempt, grant.fence, grant.base.clone())))
            } else {
                Err(Rejection::Taken { attempt: id })
            };
        }
        if attempt.offer != claim.offer {
            return Err(Rejection::ObsoleteOffer { attempt: id });
        }
        if let Some(reason) = unfit(worker, task) {
            return Err(Rejection::Ineligible { worker: claim.worker.clone(), reason });
        }
        if moment.now.since(attempt.offered_at) < PREFERENCE && self.is_better_free(worker, task) {
            return Err(Rejection::PreferOther { attempt: id, retry_after: STEP_BACK });
        }
        let fence = task.record.fence.next();
        let head = || self.run(id.task.run)?.record.target.as_ref().map(|at| at.head.clone());
        // Work in progress can only be gone on with where it stands.
        let snapshot = task.record.snapshot.as_ref();
        let base = snapshot.map_or_else(head, |snapshot| Some(snapshot.work.base.clone()));
        let event = TaskEvent::Claimed {
            attempt: id.number,
            fence,
            worker: claim.worker.clone(),
            session: claim.session,
            request: claim.request,
            base: base.clone(),
            goes_on_from: snapshot.map(|snapshot| snapshot.attempt),
            embedded: worker.registration.embedded,
        };
        let mut decision = answer(self.grant_of(task, attempt, fence, base));
        decision.events.push(Event::Task { task: id.task, event });
        // The prompt of the grant tells the agent everything that was said so far.
        for command in &task.record.pending {
            settled(task, command, CommandState::Carried { attempt: id.number }, &mut decision);
        }
        Ok(decision)
    }

    /// Whether another worker with room would do better: one that the task has not to keep away
    /// from, or one that has the repository already.
    fn is_better_free(&self, worker: &Worker, task: &Task) -> bool {
        let rank = |worker: &Worker| {
            let registration = &worker.registration;
            let trusted = !task.record.shunned.contains(&registration.worker);
            (trusted, registration.embedded || registration.cached.contains(&task.spec.repository))
        };
        let mine = rank(worker);
        if mine == (true, true) {
            return false;
        }
        self.workers.values().any(|other| unfit(other, task).is_none() && rank(other) > mine)
    }

    fn grant_of(
        &self,
        task: &Task,
        attempt: &Attempt,
        fence: Fence,
        base: Option<String>,
    ) -> Grant {
        let timeouts =
            self.run(task.id.run).map(|run| run.record.spec.timeouts).unwrap_or_default();
        let said: Vec<&str> = task.record.feedback.iter().map(String::as_str).collect();
        Grant {
            attempt: crate::ids::AttemptId { task: task.id, number: attempt.number },
            fence,
            key: task.spec.key.clone(),
            title: task.spec.title.clone(),
            agent: Arc::clone(&task.spec.agent),
            repository: Arc::clone(&task.spec.repository),
            prompt: prompt::of_attempt(
                &task.spec.prompt,
                task.record.snapshot.is_some(),
                &task.record.lessons,
                &said,
            ),
            base,
            snapshot: task.record.snapshot.as_ref().map(|snapshot| snapshot.work.clone()),
            verify: task.spec.verify,
            timeout: timeouts.attempt,
            lost_after: timeouts.lost_after,
        }
    }

    /// The task whose attempt `holder` holds at this moment.
    pub(super) fn held(&self, holder: &Holder) -> Result<&Task, Rejection> {
        self.session(&holder.worker, holder.session)?;
        let fenced = || Rejection::Fenced { attempt: holder.attempt, fence: holder.fence };
        let task = self.task(holder.attempt.task).ok_or_else(fenced)?;
        let current = task.attempt_id() == Some(holder.attempt)
            && Self::is_held_under(task, holder.fence)
            && task.grant().is_some_and(|grant| grant.worker == holder.worker);
        if current { Ok(task) } else { Err(fenced()) }
    }

    pub(super) fn decide_started(&self, holder: &Holder) -> Result<Decision, Rejection> {
        let task = self.held(holder)?;
        let phase = task.live_attempt().map(|attempt| attempt.phase);
        let mut decision = Decision::default();
        match phase {
            Some(Phase::Claimed) => {
                let event = TaskEvent::Started { attempt: holder.attempt.number };
                decision.events.push(Event::Task { task: task.id, event });
            }
            // Said twice, or said after an order to stop: nothing changes.
            Some(Phase::Running | Phase::Suspect | Phase::Cancelling) => {}
            Some(Phase::Offered | Phase::Ended) | None => {
                return Err(Rejection::Fenced { attempt: holder.attempt, fence: holder.fence });
            }
        }
        Ok(decision)
    }

    pub(super) fn decide_finished(
        &self,
        moment: Moment,
        holder: &Holder,
        report: &Arc<Report>,
    ) -> Result<Decision, Rejection> {
        if self.has_reported(holder, report) {
            return Ok(Decision::default());
        }
        let task = match self.held(holder) {
            Ok(task) => task,
            Err(Rejection::Fenced { .. }) if report.result.is_some() => {
                return self.keep_orphan(holder, report);
            }
            Err(rejection) => return Err(rejection),
        };
        if matches!(report.outcome, Outcome::Withdrawn) {
            return Err(Rejection::OutOfPlace {
                subject: holder.attempt.to_string(),
                state: "held, and only an offer can be withdrawn".to_owned(),
            });
        }
        let mut decision = Decision::default();
        self.end_attempt(moment, task, holder.attempt.number, Arc::clone(report), &mut decision);
        Ok(decision)
    }

    /// Keeps a result that comes too late to count, once, if its grant was ever made.
    fn keep_orphan(&self, holder: &Holder, report: &Arc<Report>) -> Result<Decision, Rejection> {
        let fenced = Rejection::Fenced { attempt: holder.attempt, fence: holder.fence };
        let task = self.task(holder.attempt.task).ok_or_else(|| fenced.clone())?;
        let (attempt, fence) = (holder.attempt.number, holder.fence);
        let grant = LostGrant { attempt, fence, worker: holder.worker.clone() };
        let mut decision = Decision { answer: Answer::Orphaned, ..Decision::default() };
        if task.record.lost.contains(&grant) {
            let orphan = Orphan { grant, report: Arc::clone(report) };
            let event = TaskEvent::OrphanKept { orphan };
            decision.events.push(Event::Task { task: task.id, event });
            return Ok(decision);
        }
        let known = task.record.orphans.iter().any(|orphan| orphan.grant == grant);
        if known { Ok(decision) } else { Err(fenced) }
    }

    pub(super) fn decide_snapshot(
        &self,
        holder: &Holder,
        work: &WorkResult,
    ) -> Result<Decision, Rejection> {
        let task = self.held(holder)?;
        // The next attempt starts from there, so that it has to stand where this one was sent.
        if task.grant().is_none_or(|grant| !grant.is_base_of(work)) {
            let (subject, state) =
                (work.commit.clone(), "not on the base of its attempt".to_owned());
            return Err(Rejection::OutOfPlace { subject, state });
        }
        let mut decision = Decision::default();
        let known = task.record.snapshot.as_ref().is_some_and(|known| known.work == *work);
        if !known {
            let (attempt, work) = (holder.attempt.number, work.clone());
            let event = TaskEvent::SnapshotTaken { attempt, work };
            decision.events.push(Event::Task { task: task.id, event });
        }
        Ok(decision)
    }

    /// Whether this very report was accepted before: its answer was lost on the way.
    fn has_reported(&self, holder: &Holder, report: &Arc<Report>) -> bool {
        let Some(task) = self.task(holder.attempt.task) else { return false };
        let Some(attempt) = &task.record.attempt else { return false };
        attempt.number == holder.attempt.number
            && attempt.phase == Phase::Ended
            && attempt.grant.as_ref().is_some_and(|grant| grant.fence == holder.fence)
            && attempt.report.as_ref() == Some(report)
    }
}

fn answer(grant: Grant) -> Decision {
    Decision { answer: Answer::Granted(Box::new(grant)), ..Decision::default() }
}

/// Why a worker can't take a task at this moment.
fn unfit(worker: &Worker, task: &Task) -> Option<String> {
    if worker.free_slots() == 0 {
        return Some("it has no free slot, or takes nothing new".to_owned());
    }
    let spec = &task.spec;
    if !worker.registration.satisfies(&spec.agent, &[]) {
        return Some(format!("it doesn't have the agent {}", spec.agent));
    }
    let labels = &worker.registration.labels;
    let misfit = spec.needs.iter().find(|constraint| !constraint.fits(labels));
    misfit.map(|constraint| format!("`{constraint}` doesn't fit its labels"))
}
