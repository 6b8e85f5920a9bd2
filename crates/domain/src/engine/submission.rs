//! Runs that people submit, and open again. What they order of running tasks is in `command`.

use std::sync::Arc;

use super::decision::{Answer, Decision};
use super::input::Submission;
use super::rejection::Rejection;
use super::world::World;
use crate::event::{Event, RunEvent, TaskEvent};
use crate::ids::{RunId, TaskId};
use crate::plan::validate;
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
        self.announce_classes(&submission.tasks, &mut decision);
        Ok(decision)
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
}
