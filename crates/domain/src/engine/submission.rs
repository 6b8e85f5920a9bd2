//! Runs that people submit, and open again. What they order of running tasks is in `command`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decision::{Answer, Decision, Effect, Moment};
use super::input::{Resumption, Submission};
use super::rejection::Rejection;
use super::world::World;
use crate::event::{Event, RunEvent, TaskEvent};
use crate::ids::{RunId, TaskId, Timestamp};
use crate::plan::{PlanSource, RunSpec, validate};
use crate::run::Run;
use crate::task::{Task, TaskState};

impl World {
    pub(super) fn decide_submit(&self, submission: &Submission) -> Result<Decision, Rejection> {
        if let Some(run) = self.run_by_uid(submission.spec.uid) {
            return Ok(Decision { answer: Answer::Submitted(run), ..Decision::default() });
        }
        validate(&submission.spec, &submission.tasks)
            .map_err(|reason| Rejection::InvalidPlan { reason })?;
        let keys = submission.tasks.iter().map(|task| task.key.as_str());
        let repository = submission.tasks.first().map(|task| &task.repository);
        self.require_unclaimed(&submission.spec, repository, keys, submission.planned_at)?;
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

    /// A work stream is done by one run at a time, and not again by a plan that is older than its
    /// end.
    fn require_unclaimed<'k>(
        &self,
        spec: &RunSpec,
        repository: Option<&Arc<str>>,
        keys: impl Iterator<Item = &'k str>,
        planned_at: Timestamp,
    ) -> Result<(), Rejection> {
        if !names_streams(spec) {
            return Ok(());
        }
        let keys: BTreeSet<&str> = keys.collect();
        let recent = |run: &&Run| {
            names_streams(&run.record.spec)
                && run.record.finished_at.is_none_or(|finished| finished >= planned_at)
        };
        let tasks = self.runs.values().filter(recent).flat_map(|run| &run.tasks);
        let claims = |task: &&Task| {
            let record = &task.record;
            let done = matches!(record.state, TaskState::Succeeded { .. });
            let taken = !record.state.is_ended() || (done && record.since >= planned_at);
            taken
                && keys.contains(task.spec.key.as_str())
                && repository == Some(&task.spec.repository)
        };
        match tasks.into_iter().find(claims) {
            Some(task) => Err(Rejection::Claimed { key: task.spec.key.clone(), by: task.id }),
            None => Ok(()),
        }
    }

    pub(super) fn decide_resume(
        &self,
        moment: Moment,
        resumption: &Resumption,
    ) -> Result<Decision, Rejection> {
        let id = resumption.run;
        let run = self.run(id).ok_or(Rejection::UnknownRun { run: id })?;
        if !run.is_finished() {
            return Err(Rejection::RunOpen { run: id });
        }
        let unsuccessful = |task: &&Task| !matches!(task.record.state, TaskState::Succeeded { .. });
        let (done, again): (Vec<&Task>, Vec<&Task>) = run
            .tasks
            .iter()
            .filter(unsuccessful)
            .partition(|task| resumption.done.contains(&task.id));
        let Some(first) = again.first() else {
            return Err(Rejection::NothingToResume { run: id });
        };
        let keys = again.iter().map(|task| task.spec.key.as_str());
        let repository = Some(&first.spec.repository);
        self.require_unclaimed(&run.record.spec, repository, keys, moment.now)?;
        let mut decision = Decision::default();
        decision.events.push(Event::Run { run: id, event: RunEvent::Reopened });
        if let (Some(target), Some(head)) = (&run.record.target, &resumption.head)
            && target.head != *head
        {
            let event = RunEvent::TargetMoved { head: head.clone() };
            decision.events.push(Event::Run { run: id, event });
        }
        // First, so that what depends on them can start.
        for task in done {
            let event = TaskEvent::DoneElsewhere;
            decision.events.push(Event::Task { task: task.id, event });
        }
        for task in &again {
            if let (true, Some(attempt)) = (task.record.keeps_result(), task.attempt_id()) {
                decision.effects.push(Effect::Integrate { attempt });
            }
            decision.events.push(Event::Task { task: task.id, event: TaskEvent::Revived });
        }
        decision.answer = Answer::Resumed(again.iter().map(|task| task.id).collect());
        Ok(decision)
    }
}

fn names_streams(spec: &RunSpec) -> bool {
    match spec.source {
        PlanSource::Roadmap { .. } => true,
        PlanSource::Tasks => false,
    }
}
