//! Claims, and what the holder of an attempt reports.
//!
//! Each report names its grant by the fence. A fence that is not the current one changes nothing,
//! whatever else the report says.

use std::sync::Arc;

use super::input::{Answer, Claim, Decision, Directives, Effect, Grant, Holder, Moment, Rejection};
use super::world::World;
use crate::attempt::{Attempt, Phase, Report};
use crate::command::CommandState;
use crate::event::{Event, TaskEvent};
use crate::ids::{CommandSeq, Fence};
use crate::prompt;
use crate::task::{Task, TaskState};

impl World {
    pub(super) fn decide_claim(&self, claim: &Claim) -> Result<Decision, Rejection> {
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
        let ineligible = |reason: &str| Rejection::Ineligible {
            worker: claim.worker.clone(),
            reason: reason.to_owned(),
        };
        if worker.free_slots() == 0 {
            return Err(ineligible("it has no free slot"));
        }
        if !worker.runs(&task.spec.agent) {
            return Err(ineligible("it doesn't have the agent"));
        }
        let fence = task.record.fence.next();
        let base = self
            .run(id.task.run)
            .and_then(|run| run.record.target.as_ref())
            .map(|target| target.head.clone());
        let event = TaskEvent::Claimed {
            attempt: id.number,
            fence,
            worker: claim.worker.clone(),
            session: claim.session,
            request: claim.request,
            base: base.clone(),
            embedded: worker.registration.embedded,
        };
        let mut decision = answer(self.grant_of(task, attempt, fence, base));
        decision.events.push(Event::Task { task: id.task, event });
        // The prompt of the grant tells the agent everything that was said so far.
        for command in &task.record.pending {
            let state = CommandState::Carried { attempt: id.number };
            let event = TaskEvent::CommandSettled { seq: command.seq, state };
            decision.events.push(Event::Task { task: id.task, event });
        }
        Ok(decision)
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
            prompt: prompt::of_attempt(&task.spec.prompt, &task.record.lessons, &said),
            base,
            verify: task.spec.verify,
            timeout: timeouts.attempt,
        }
    }

    /// The task whose attempt `holder` holds at this moment.
    fn held(&self, holder: &Holder) -> Result<&Task, Rejection> {
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
        let task = self.held(holder)?;
        if matches!(report.outcome, crate::attempt::Outcome::Withdrawn) {
            return Err(Rejection::OutOfPlace {
                subject: holder.attempt.to_string(),
                state: "held, and only an offer can be withdrawn".to_owned(),
            });
        }
        let mut decision = Decision::default();
        self.end_attempt(moment, task, holder.attempt.number, Arc::clone(report), &mut decision);
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

    pub(super) fn decide_look(&self, holder: &Holder) -> Result<Decision, Rejection> {
        let task = self.held(holder)?;
        let directives = Directives {
            cancel: task.record.cancel.clone(),
            commands: task.record.pending.clone(),
        };
        Ok(Decision { answer: Answer::Directives(directives), ..Decision::default() })
    }

    pub(super) fn decide_command_applied(
        &self,
        holder: &Holder,
        seq: CommandSeq,
    ) -> Result<Decision, Rejection> {
        let task = self.held(holder)?;
        let mut decision = Decision::default();
        // A command that is no longer pending was applied before; the answer was lost.
        if task.record.pending.iter().any(|command| command.seq == seq) {
            let state = CommandState::Applied { attempt: holder.attempt.number };
            let event = TaskEvent::CommandSettled { seq, state };
            decision.events.push(Event::Task { task: task.id, event });
        }
        Ok(decision)
    }

    /// Tells the holder of a task's live attempt, if somebody holds it, to look.
    pub(super) fn poke(&self, task: &Task, decision: &mut Decision) {
        let held = task.live_attempt().filter(|attempt| attempt.phase.is_held());
        let (Some(grant), Some(attempt)) = (held.and(task.grant()), task.attempt_id()) else {
            return;
        };
        decision.effects.push(Effect::Poke { worker: grant.worker.clone(), attempt });
    }

    /// Whether a task could still be told something.
    pub(super) fn can_be_told(task: &Task) -> bool {
        match task.record.state {
            TaskState::Blocked
            | TaskState::Ready
            | TaskState::Active
            | TaskState::RetryWait { .. }
            | TaskState::Integrating { .. } => true,
            TaskState::Succeeded { .. }
            | TaskState::Failed { .. }
            | TaskState::Cancelled { .. }
            | TaskState::Skipped { .. } => false,
        }
    }
}

fn answer(grant: Grant) -> Decision {
    Decision { answer: Answer::Granted(Box::new(grant)), ..Decision::default() }
}
