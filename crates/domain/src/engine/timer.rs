//! What time brings: retries that are due, grants that never started, leases that run out.

use std::sync::Arc;

use super::decision::{Decision, Effect, Moment, Volatile};
use super::footprint::overdue_at;
use super::world::World;
use crate::attempt::{Attempt, Outcome, Phase, Report};
use crate::event::{Event, TaskEvent};
use crate::ids::AttemptId;
use crate::policy::Timeouts;
use crate::task::{Task, TaskState};
use crate::worker::Held;

/// How many due tasks one tick looks at; the next tick follows at once. Bounds one commit.
const DUE_MAX: usize = 1_000;

impl World {
    pub(super) fn decide_tick(&self, moment: Moment) -> Decision {
        let mut decision = Decision::default();
        let due = self.index.timers.iter().take_while(|(at, _)| *at <= moment.now).take(DUE_MAX);
        for (_, id) in due {
            let Some(task) = self.task(*id) else { continue };
            let Some(run) = self.run(id.run) else { continue };
            let timeouts = run.record.spec.timeouts;
            match &task.record.state {
                // A due retry competes for room with everything else that is ready.
                TaskState::RetryWait { .. } => {
                    decision.events.push(Event::Task { task: task.id, event: TaskEvent::RetryDue });
                }
                TaskState::Active => self.expire(moment, task, &timeouts, &mut decision),
                TaskState::Blocked
                | TaskState::Ready
                | TaskState::Integrating { .. }
                | TaskState::Succeeded { .. }
                | TaskState::Failed { .. }
                | TaskState::Cancelled { .. }
                | TaskState::Skipped { .. } => {}
            }
        }
        self.notice_silence(moment.now, &mut decision);
        decision
    }

    fn expire(&self, moment: Moment, task: &Task, timeouts: &Timeouts, decision: &mut Decision) {
        let Some(attempt) = task.live_attempt() else { return };
        let number = attempt.number;
        let event = |event| Event::Task { task: task.id, event };
        match attempt.phase {
            Phase::Offered | Phase::Claimed => Self::publish_again(task, attempt, decision),
            Phase::Running
                if overdue_at(attempt, timeouts).is_some_and(|due| due <= moment.now) =>
            {
                let summary = "the attempt took longer than it may, and its worker didn't end it";
                let report = Report::stated(Outcome::TimedOut, summary);
                self.end_attempt(moment, task, number, Arc::new(report), decision);
            }
            Phase::Running => decision.events.push(event(TaskEvent::Suspected { attempt: number })),
            Phase::Suspect => {
                let report =
                    Report::stated(Outcome::Lost, "its worker was not heard of for too long");
                self.end_attempt(moment, task, number, Arc::new(report), decision);
            }
            Phase::Cancelling => {
                let report = Report::stated(Outcome::Lost, "its worker did not confirm the stop");
                self.end_attempt(moment, task, number, Arc::new(report), decision);
            }
            Phase::Ended => {}
        }
    }

    /// Publishes an attempt again under a new number, which makes every earlier offer and grant of
    /// it obsolete.
    fn publish_again(task: &Task, attempt: &Attempt, decision: &mut Decision) {
        let offer = task.record.offer.next();
        let event = TaskEvent::Offered { attempt: attempt.number, offer };
        decision.events.push(Event::Task { task: task.id, event });
        decision.effects.push(Effect::Offer {
            attempt: AttemptId { task: task.id, number: attempt.number },
            offer,
            class: task.class.clone(),
        });
    }

    /// Everything that is offered and not granted is published again.
    pub(super) fn decide_offers_lost(&self) -> Decision {
        let mut decision = Decision::default();
        let open = self.runs.values().filter(|run| run.live > 0);
        for task in open.flat_map(|run| &run.tasks) {
            let offered = task.live_attempt().filter(|attempt| attempt.phase == Phase::Offered);
            if let Some(attempt) = offered {
                Self::publish_again(task, attempt, &mut decision);
            }
        }
        decision
    }

    /// What a coordinator does first over a store that may hold unfinished work. Workers in its
    /// own process have died with the one before it; what they had finished and written down is
    /// left for the next one to report. Every other worker gets the full time to come back.
    pub(super) fn decide_recover(&self, moment: Moment, reported: &[Held]) -> Decision {
        let mut decision = Decision::default();
        let mut waiting = Vec::new();
        let open = self.runs.values().filter(|run| !run.is_finished());
        for task in open.flat_map(|run| &run.tasks) {
            match &task.record.state {
                TaskState::Integrating { .. } => {
                    let attempt = task.attempt_id();
                    decision.effects.extend(attempt.map(|attempt| Effect::Integrate { attempt }));
                }
                TaskState::Active if Self::awaits_report(task, reported) => waiting.push(task.id),
                TaskState::Active => self.recover_attempt(moment, task, &mut decision),
                TaskState::Blocked
                | TaskState::Ready
                | TaskState::RetryWait { .. }
                | TaskState::Succeeded { .. }
                | TaskState::Failed { .. }
                | TaskState::Cancelled { .. }
                | TaskState::Skipped { .. } => {}
            }
        }
        if !waiting.is_empty() {
            decision.volatile = Some(Volatile::Reported { tasks: waiting });
        }
        decision
    }

    /// Whether the report of a task's attempt is among `reported`, and still wanted: an order to
    /// stop has won over it already. A worker in another process proves its life itself.
    fn awaits_report(task: &Task, reported: &[Held]) -> bool {
        let is_its_own = |held: &Held| {
            task.attempt_id() == Some(held.attempt) && Self::is_held_under(task, held.fence)
        };
        task.live_attempt().is_some_and(|attempt| attempt.phase != Phase::Cancelling)
            && task.grant().is_some_and(|grant| grant.embedded)
            && reported.iter().any(is_its_own)
    }

    fn recover_attempt(&self, moment: Moment, task: &Task, decision: &mut Decision) {
        let Some(attempt) = task.live_attempt() else { return };
        let Some(grant) = &attempt.grant else {
            Self::publish_again(task, attempt, decision);
            return;
        };
        if grant.embedded {
            let summary = "the coordinator ended, and with it the agents that it ran itself";
            let report = Report::stated(Outcome::Interrupted, summary);
            self.end_attempt(moment, task, attempt.number, Arc::new(report), decision);
        }
    }
}
