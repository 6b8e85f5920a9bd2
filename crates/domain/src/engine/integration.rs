//! Integration: how results enter the target, exactly once each.
//!
//! The integrator announces a move of the target before it touches the ref
//! ([`super::Input::PrepareIntegration`]), and reports when it is done. An order to stop wins
//! until the announcement is committed, and loses after it.

use super::decision::{Decision, Moment};
use super::outcome::Setback;
use super::rejection::{RefusalClass, Rejection};
use super::world::World;
use crate::attempt::FailureClass;
use crate::event::{Event, RunEvent, TaskEvent};
use crate::ids::{AttemptId, RunId, Timestamp};
use crate::run::Run;
use crate::task::{Failure, Prepared, Task, TaskState};

impl World {
    /// The task whose newest attempt is being integrated.
    fn integrating(&self, id: AttemptId) -> Result<(&Task, Option<&Prepared>), Rejection> {
        let task = self.task(id.task).ok_or(Rejection::UnknownTask { task: id.task })?;
        match &task.record.state {
            TaskState::Integrating { prepared } if task.attempt_id() == Some(id) => {
                Ok((task, prepared.as_ref()))
            }
            TaskState::Integrating { .. }
            | TaskState::Blocked
            | TaskState::Ready
            | TaskState::Active
            | TaskState::RetryWait { .. }
            | TaskState::Succeeded { .. }
            | TaskState::Failed { .. }
            | TaskState::Cancelled { .. }
            | TaskState::Skipped { .. } => Err(Rejection::OutOfPlace {
                subject: id.to_string(),
                state: task.record.state.name().to_owned(),
            }),
        }
    }

    pub(super) fn decide_prepare(
        &self,
        id: AttemptId,
        branch: &str,
        old: &str,
        new: &str,
    ) -> Result<Decision, Rejection> {
        let (task, announced) = self.integrating(id)?;
        let known = announced
            .is_some_and(|known| known.branch == branch && known.old == old && known.new == new);
        if known {
            return Ok(Decision::default());
        }
        let event = TaskEvent::IntegrationPrepared {
            branch: branch.to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
        };
        Ok(recorded(task, event))
    }

    pub(super) fn decide_integrated(
        &self,
        id: AttemptId,
        commit: &str,
    ) -> Result<Decision, Rejection> {
        let task = self.task(id.task).ok_or(Rejection::UnknownTask { task: id.task })?;
        let same = |known: &Option<String>| known.as_deref() == Some(commit);
        if matches!(&task.record.state, TaskState::Succeeded { commit } if same(commit)) {
            return Ok(Decision::default());
        }
        let (task, _) = self.integrating(id)?;
        let mut decision = Decision::default();
        let event = RunEvent::TargetMoved { head: commit.to_owned() };
        decision.events.push(Event::Run { run: id.task.run, event });
        self.finish(task, TaskEvent::Succeeded { commit: Some(commit.to_owned()) }, &mut decision);
        Ok(decision)
    }

    pub(super) fn decide_refuse(
        &self,
        moment: Moment,
        id: AttemptId,
        class: RefusalClass,
        reason: &str,
    ) -> Result<Decision, Rejection> {
        let (task, _) = self.integrating(id)?;
        if let RefusalClass::Hindered { times, for_person, undone } = class {
            let known = task.record.hindrance.as_ref().map_or(0, |hindrance| hindrance.times);
            if times != known + 1 {
                return Ok(Decision::default());
            }
            let until = self.next_integration(moment, task, times);
            let (reason, last) = (reason.to_owned(), for_person || until.is_none());
            let until = until.unwrap_or(moment.now);
            let hindered = TaskEvent::IntegrationHindered { reason: reason.clone(), until, undone };
            let mut decision = recorded(task, hindered);
            if last {
                let failure = Failure { class: FailureClass::Integration, reason };
                self.finish(task, TaskEvent::Failed { failure }, &mut decision);
            }
            return Ok(decision);
        }
        let refused = TaskEvent::IntegrationRefused { reason: reason.to_owned() };
        let mut decision = recorded(task, refused);
        let (class, lesson) = match class {
            RefusalClass::Work => (FailureClass::Application, Some(reason.to_owned())),
            RefusalClass::Lost | RefusalClass::Hindered { .. } => {
                (FailureClass::Infrastructure, None)
            }
        };
        let setback = Setback { class, reason, lesson, wait: None };
        self.retry_or_give_up(moment, task, setback, &mut decision);
        Ok(decision)
    }

    /// When a result that was hindered for the `times`th time in a row is tried again; `None` when
    /// it is kept until somebody opens its run again. No agent is bothered either way.
    fn next_integration(&self, moment: Moment, task: &Task, times: u32) -> Option<Timestamp> {
        let policy = self.run(task.id.run)?.record.spec.retry;
        let wait = policy.backoff(times, moment.random);
        (times < policy.integration_attempts).then(|| moment.now.after(wait))
    }

    fn targeted(&self, id: RunId) -> Result<&Run, Rejection> {
        let run = self.run(id).ok_or(Rejection::UnknownRun { run: id })?;
        match run.record.target {
            Some(_) => Ok(run),
            None => Err(Rejection::OutOfPlace {
                subject: id.to_string(),
                state: "a run without a target".to_owned(),
            }),
        }
    }

    pub(super) fn decide_observe_target(
        &self,
        id: RunId,
        head: &str,
    ) -> Result<Decision, Rejection> {
        let run = self.targeted(id)?;
        let mut decision = Decision::default();
        if run.record.target.as_ref().is_some_and(|target| target.head != head) {
            let event = RunEvent::TargetMoved { head: head.to_owned() };
            decision.events.push(Event::Run { run: id, event });
        }
        Ok(decision)
    }

    pub(super) fn decide_switch_target(
        &self,
        id: RunId,
        branch: &str,
        head: &str,
        reason: &str,
    ) -> Result<Decision, Rejection> {
        let run = self.targeted(id)?;
        if run.is_finished() {
            return Err(Rejection::RunEnded { run: id });
        }
        let event = RunEvent::TargetSwitched {
            branch: branch.to_owned(),
            head: head.to_owned(),
            reason: reason.to_owned(),
        };
        Ok(Decision { events: vec![Event::Run { run: id, event }], ..Decision::default() })
    }
}

fn recorded(task: &Task, event: TaskEvent) -> Decision {
    Decision { events: vec![Event::Task { task: task.id, event }], ..Decision::default() }
}
