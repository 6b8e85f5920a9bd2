//! What people order: submit, stop, resume, say.

use std::sync::Arc;

use super::input::{Answer, Decision, Moment, Receipt, Rejection, Scope, Submission};
use super::world::World;
use crate::attempt::{Outcome, Phase, Report};
use crate::command::{Command, CommandState, PENDING_MAX, TEXT_BYTES_MAX};
use crate::event::{Event, RunEvent, TaskEvent};
use crate::ids::{RunId, TaskId};
use crate::plan::validate;
use crate::run::Run;
use crate::task::{Task, TaskState};

impl World {
    pub(super) fn decide_submit(&self, submission: &Submission) -> Result<Decision, Rejection> {
        if let Some(run) = self.run_by_uid(submission.spec.uid) {
            return Ok(Decision { answer: Answer::Submitted(run), ..Decision::default() });
        }
        validate(&submission.spec, &submission.tasks)
            .map_err(|reason| Rejection::InvalidPlan { reason })?;
        let run = RunId(self.last_run.0 + 1);
        let mut decision = Decision { answer: Answer::Submitted(run), ..Decision::default() };
        let event = RunEvent::Submitted { spec: Arc::clone(&submission.spec) };
        decision.events.push(Event::Run { run, event });
        for (index, spec) in (0u32..).zip(&submission.tasks) {
            let event = TaskEvent::Submitted { spec: Arc::new(spec.clone()) };
            decision.events.push(Event::Task { task: TaskId { run, index }, event });
        }
        Ok(decision)
    }

    pub(super) fn decide_stop(&self, scope: Scope, reason: &str) -> Result<Decision, Rejection> {
        let mut decision = Decision::default();
        let mut stopped = Vec::new();
        match scope {
            Scope::All => {
                let open: Vec<&Run> = self.runs.values().filter(|run| !run.is_finished()).collect();
                if open.is_empty() {
                    return Err(Rejection::NothingToStop);
                }
                for run in open {
                    self.stop_run(run, reason, &mut stopped, &mut decision);
                }
            }
            Scope::Run(id) => {
                let run = self.run(id).ok_or(Rejection::UnknownRun { run: id })?;
                if run.is_finished() {
                    return Err(Rejection::RunEnded { run: id });
                }
                self.stop_run(run, reason, &mut stopped, &mut decision);
            }
            Scope::Task(id) => {
                let task = self.task(id).ok_or(Rejection::UnknownTask { task: id })?;
                if task.record.state.is_ended() {
                    let state = task.record.state.name().to_owned();
                    return Err(Rejection::TaskEnded { task: id, state });
                }
                self.stop_task(task, reason, &mut stopped, &mut decision);
            }
        }
        decision.answer = Answer::Stopping(stopped);
        Ok(decision)
    }

    fn stop_run(
        &self,
        run: &Run,
        reason: &str,
        stopped: &mut Vec<TaskId>,
        decision: &mut Decision,
    ) {
        let event = RunEvent::CancelRequested { reason: reason.to_owned() };
        decision.events.push(Event::Run { run: run.id, event });
        for task in run.tasks.iter().filter(|task| !task.record.state.is_ended()) {
            self.stop_task(task, reason, stopped, decision);
        }
    }

    fn stop_task(
        &self,
        task: &Task,
        reason: &str,
        stopped: &mut Vec<TaskId>,
        decision: &mut Decision,
    ) {
        if task.record.cancel.is_some() {
            return;
        }
        // Once the target's move is announced the integration can't be told from a finished one.
        if matches!(task.record.state, TaskState::Integrating { prepared: Some(_) }) {
            return;
        }
        stopped.push(task.id);
        let event = TaskEvent::CancelRequested { reason: reason.to_owned() };
        decision.events.push(Event::Task { task: task.id, event });
        match task.live_attempt() {
            Some(attempt) if attempt.phase == Phase::Offered => {
                let report = Report::stated(Outcome::Withdrawn, reason);
                let ended =
                    TaskEvent::AttemptEnded { attempt: attempt.number, report: Arc::new(report) };
                decision.events.push(Event::Task { task: task.id, event: ended });
                self.finish(task, TaskEvent::Cancelled { unconfirmed: false }, decision);
            }
            Some(_) => self.poke(task, decision),
            None => self.finish(task, TaskEvent::Cancelled { unconfirmed: false }, decision),
        }
    }

    pub(super) fn decide_resume(&self, id: RunId) -> Result<Decision, Rejection> {
        let run = self.run(id).ok_or(Rejection::UnknownRun { run: id })?;
        if !run.is_finished() {
            return Err(Rejection::RunOpen { run: id });
        }
        let unsuccessful = |task: &&Task| !matches!(task.record.state, TaskState::Succeeded { .. });
        let tasks: Vec<TaskId> =
            run.tasks.iter().filter(unsuccessful).map(|task| task.id).collect();
        if tasks.is_empty() {
            return Err(Rejection::NothingToResume { run: id });
        }
        let mut decision = Decision::default();
        decision.events.push(Event::Run { run: id, event: RunEvent::Reopened });
        for task in &tasks {
            decision.events.push(Event::Task { task: *task, event: TaskEvent::Revived });
        }
        decision.answer = Answer::Resumed(tasks);
        Ok(decision)
    }

    pub(super) fn decide_say(
        &self,
        moment: Moment,
        id: TaskId,
        text: &str,
    ) -> Result<Decision, Rejection> {
        let task = self.task(id).ok_or(Rejection::UnknownTask { task: id })?;
        if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(Rejection::TextLength { bytes: text.len() });
        }
        if !Self::can_be_told(task) {
            let state = task.record.state.name().to_owned();
            return Err(Rejection::TaskEnded { task: id, state });
        }
        if task.record.pending.len() >= PENDING_MAX {
            return Err(Rejection::TooManyCommands { task: id });
        }
        let seq = task.record.command.next();
        let command =
            Command { seq, text: text.to_owned(), at: moment.now, state: CommandState::Accepted };
        let mut decision = Decision::default();
        let event = TaskEvent::CommandAccepted { command };
        decision.events.push(Event::Task { task: id, event });
        self.poke(task, &mut decision);
        let held = task.live_attempt().filter(|attempt| attempt.phase.is_held());
        let receipt = Receipt { task: id, seq, attempt: held.map(|attempt| attempt.number) };
        decision.answer = Answer::Said(receipt);
        Ok(decision)
    }
}
