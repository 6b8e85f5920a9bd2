//! What follows from the end of an attempt: success, integration, another try, or giving up.

use std::sync::Arc;

use super::decision::{Decision, Effect, Moment};
use super::world::World;
use crate::attempt::{FailureClass, Outcome, Report, Verdict};
use crate::command::{Command, CommandKind, CommandState};
use crate::event::{Event, TaskEvent};
use crate::ids::{AttemptId, Timestamp};
use crate::prompt::{LESSON_BYTES_MAX, head, tail};
use crate::task::{Failure, Task};

/// How many failed checks a lesson quotes.
const QUOTED_CHECKS_MAX: usize = 4;

impl World {
    /// Records the end of a task's live attempt and what follows from it.
    pub(super) fn end_attempt(
        &self,
        moment: Moment,
        task: &Task,
        number: u32,
        report: Arc<Report>,
        decision: &mut Decision,
    ) {
        let ended = TaskEvent::AttemptEnded { attempt: number, report: Arc::clone(&report) };
        decision.events.push(Event::Task { task: task.id, event: ended });
        // The order to stop was committed before this end was: the order has won.
        if task.record.cancel.is_some() {
            let unconfirmed = report.outcome == Outcome::Lost;
            self.finish(task, TaskEvent::Cancelled { unconfirmed }, decision);
            return;
        }
        if task.live_attempt().is_some_and(|attempt| attempt.yields) {
            settle_with_attempt(task, decision);
            let class = FailureClass::Uncounted;
            let event = TaskEvent::RetryScheduled { until: moment.now, class, lesson: None };
            decision.events.push(Event::Task { task: task.id, event });
            return;
        }
        match report.outcome.failure_class() {
            None if report.outcome == Outcome::Cancelled => {
                self.finish(task, TaskEvent::Cancelled { unconfirmed: false }, decision);
            }
            None if task.spec.integrate => {
                settle_with_attempt(task, decision);
                let event = TaskEvent::IntegrationQueued { attempt: number };
                decision.events.push(Event::Task { task: task.id, event });
                let attempt = AttemptId { task: task.id, number };
                decision.effects.push(Effect::Integrate { attempt });
            }
            None => self.finish(task, TaskEvent::Succeeded { commit: None }, decision),
            Some(class) => {
                let lesson = (class == FailureClass::Application).then(|| lesson_of(&report));
                let wait = report.outcome.retry_after();
                let setback = Setback { class, reason: &report.summary, lesson, wait };
                self.retry_or_give_up(moment, task, setback, decision);
            }
        }
    }

    /// Schedules another try, or gives up when the budget of this class is used up.
    pub(super) fn retry_or_give_up(
        &self,
        moment: Moment,
        task: &Task,
        setback: Setback<'_>,
        decision: &mut Decision,
    ) {
        match self.next_try(moment, task, &setback) {
            Some(until) => {
                settle_with_attempt(task, decision);
                let event = TaskEvent::RetryScheduled {
                    until,
                    class: setback.class,
                    lesson: setback.lesson,
                };
                decision.events.push(Event::Task { task: task.id, event });
            }
            None => {
                let reason = setback.reason.to_owned();
                let failure = Failure { class: setback.class, reason };
                self.finish(task, TaskEvent::Failed { failure }, decision);
            }
        }
    }

    fn next_try(&self, moment: Moment, task: &Task, setback: &Setback<'_>) -> Option<Timestamp> {
        let policy = self.run(task.id.run)?.record.spec.retry;
        let tally = task.record.tally;
        let (failures, allowed) = match setback.class {
            FailureClass::Application => (tally.app + 1, tally.app + 1 < policy.app_attempts),
            FailureClass::Infrastructure => {
                (tally.infra + 1, tally.infra + 1 < policy.infra_attempts)
            }
            FailureClass::RateLimit => {
                let since = tally.rate_limited_since.unwrap_or(moment.now);
                (tally.rate_limited + 1, moment.now.since(since) < policy.rate_limit_for)
            }
            // What is kept is not made again.
            FailureClass::Integration | FailureClass::Final => (1, false),
            FailureClass::Uncounted => return Some(moment.now),
        };
        let wait = policy.backoff(failures, moment.random).max(setback.wait.unwrap_or_default());
        allowed.then(|| moment.now.after(wait))
    }

    /// Ends a task for good. What was ordered of it has had its effect with that, or can't have it
    /// any more.
    pub(super) fn finish(&self, task: &Task, event: TaskEvent, decision: &mut Decision) {
        let attempt = task.record.attempt.as_ref().map_or(0, |attempt| attempt.number);
        let stopped = matches!(event, TaskEvent::Cancelled { .. });
        for command in &task.record.pending {
            let state = match (command.kind, stopped) {
                (CommandKind::Stop, true) => CommandState::Applied { attempt },
                (CommandKind::Stop, false) => {
                    CommandState::Rejected { reason: "the task had ended by itself".to_owned() }
                }
                (
                    CommandKind::Feedback
                    | CommandKind::Restart
                    | CommandKind::Redirect { .. }
                    | CommandKind::Pause
                    | CommandKind::Resume
                    | CommandKind::Ping,
                    _,
                ) => CommandState::Expired,
            };
            settled(task, command, state, decision);
        }
        decision.events.push(Event::Task { task: task.id, event });
    }
}

/// Settles the commands that have had their effect now that the attempt is over and the task goes
/// on. What was said to the agent stays pending: the next one is told.
fn settle_with_attempt(task: &Task, decision: &mut Decision) {
    let attempt = task.record.attempt.as_ref().map_or(0, |attempt| attempt.number);
    for command in &task.record.pending {
        let state = match command.kind {
            // A stop ends the task, which settles it.
            CommandKind::Feedback | CommandKind::Stop => continue,
            CommandKind::Restart
            | CommandKind::Redirect { .. }
            | CommandKind::Pause
            | CommandKind::Resume => CommandState::Applied { attempt },
            CommandKind::Ping => {
                CommandState::Rejected { reason: "the attempt is over".to_owned() }
            }
        };
        settled(task, command, state, decision);
    }
}

pub(super) fn settled(
    task: &Task,
    command: &Command,
    state: CommandState,
    decision: &mut Decision,
) {
    let event = TaskEvent::CommandSettled { seq: command.seq, state };
    decision.events.push(Event::Task { task: task.id, event });
}

/// A failure, before it is decided whether it is the last one.
pub(super) struct Setback<'a> {
    pub(super) class: FailureClass,
    pub(super) reason: &'a str,
    pub(super) lesson: Option<String>,
    pub(super) wait: Option<std::time::Duration>,
}

/// What the next attempt should know of a failed one.
fn lesson_of(report: &Report) -> String {
    let mut lesson = head(&report.summary, LESSON_BYTES_MAX / 4).to_owned();
    let failed = report.checks.iter().filter(|check| check.verdict != Verdict::Pass);
    for check in failed.take(QUOTED_CHECKS_MAX) {
        lesson.push_str("\n\n`");
        lesson.push_str(head(&check.name, 100));
        lesson.push_str(match check.verdict {
            Verdict::Unknown => "` could not be run:\n",
            Verdict::Pass | Verdict::Fail => "` failed:\n",
        });
        lesson.push_str(tail(&check.detail, LESSON_BYTES_MAX / 4));
    }
    head(&lesson, LESSON_BYTES_MAX).to_owned()
}
