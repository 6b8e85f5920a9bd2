//! The one table of a task's transitions.
//!
//! Live execution, recovery and the property tests all go through `Task::apply`.

use super::{
    FEEDBACK_MAX, Hindrance, IllegalTaskEvent, LESSONS_MAX, LostGrant, ORPHANS_MAX, Prepared,
    SHUNNED_MAX, Snapshot, Tally, Task, TaskState,
};
use crate::attempt::{Attempt, FailureClass, Granted, Outcome, Report};
use crate::command::{CommandKind, CommandState};
use crate::event::TaskEvent;
use crate::ids::{OfferSeq, Timestamp};

impl Task {
    /// Whether it waits for the follow-up of an attempt's end. Only within a decision.
    fn is_settling(&self) -> bool {
        self.record.state == TaskState::Active && self.live_attempt().is_none()
    }

    pub(crate) fn apply(
        &mut self,
        at: Timestamp,
        event: &TaskEvent,
    ) -> Result<(), IllegalTaskEvent> {
        use TaskEvent as E;
        let fits = match event {
            // It makes the task; nothing else does.
            E::Submitted { .. } => false,
            E::DependenciesMet
            | E::Skipped { .. }
            | E::RetryScheduled { .. }
            | E::RetryDue
            | E::IntegrationQueued { .. }
            | E::IntegrationPrepared { .. }
            | E::IntegrationRefused { .. }
            | E::Succeeded { .. }
            | E::Failed { .. }
            | E::Cancelled { .. }
            | E::Revived
            | E::DoneElsewhere => self.change_of_state(at, event),
            E::IntegrationHindered { .. } => self.change_of_hindrance(event),
            E::Offered { .. } => {
                self.change_of_state(at, event) || self.change_of_attempt(at, event)
            }
            E::Claimed { .. }
            | E::Started { .. }
            | E::Suspected { .. }
            | E::Recovered { .. }
            | E::AttemptPaused { .. }
            | E::AttemptResumed { .. }
            | E::YieldRequested { .. }
            | E::AttemptEnded { .. } => self.change_of_attempt(at, event),
            E::CancelRequested { .. }
            | E::PauseRequested { .. }
            | E::PauseLifted
            | E::Preferred { .. }
            | E::Deferred { .. }
            | E::Undeferred => self.change_of_wish(at, event),
            E::CommandAccepted { .. } | E::CommandDelivered { .. } | E::CommandSettled { .. } => {
                self.change_of_command(event)
            }
            E::SnapshotTaken { .. } | E::OrphanKept { .. } => self.change_of_keepsakes(event),
        };
        if fits {
            return Ok(());
        }
        Err(IllegalTaskEvent {
            task: self.id,
            event: event.name(),
            state: self.record.state.name(),
        })
    }

    /// The events that move the task from one logical state to another; false when `event` is
    /// none of them or doesn't fit.
    #[expect(clippy::too_many_lines, reason = "one table, which is read as a whole")]
    fn change_of_state(&mut self, at: Timestamp, event: &TaskEvent) -> bool {
        use TaskEvent as E;
        use TaskState as S;
        let settling = self.is_settling();
        let next = match (&self.record.state, event) {
            (S::Blocked, E::DependenciesMet) => S::Ready,
            (S::Blocked, E::Skipped { because }) => S::Skipped { because: *because },
            (S::RetryWait { .. }, E::RetryDue) => S::Ready,
            (S::Ready, E::Offered { attempt, offer }) => {
                if !self.begin_attempt(at, *attempt, *offer) {
                    return false;
                }
                S::Active
            }
            (S::Active, E::RetryScheduled { until, class, lesson }) if settling => {
                self.charge(at, *class, lesson.as_ref());
                S::RetryWait { until: *until, class: *class }
            }
            (S::Integrating { .. }, E::RetryScheduled { until, class, lesson }) => {
                self.charge(at, *class, lesson.as_ref());
                S::RetryWait { until: *until, class: *class }
            }
            (S::Active, E::IntegrationQueued { attempt })
                if settling && self.is_newest(*attempt) =>
            {
                S::Integrating { prepared: None }
            }
            (S::Integrating { .. }, E::IntegrationPrepared { branch, old, new }) => {
                let prepared =
                    Prepared { branch: branch.clone(), old: old.clone(), new: new.clone() };
                S::Integrating { prepared: Some(prepared) }
            }
            (S::Integrating { .. }, E::IntegrationRefused { .. }) => {
                S::Integrating { prepared: None }
            }
            (S::Active, E::Succeeded { commit }) if settling => {
                S::Succeeded { commit: commit.clone() }
            }
            (S::Integrating { .. }, E::Succeeded { commit }) => {
                S::Succeeded { commit: commit.clone() }
            }
            (S::Active, E::Failed { failure }) if settling => {
                S::Failed { failure: failure.clone() }
            }
            (S::Integrating { .. }, E::Failed { failure }) => {
                S::Failed { failure: failure.clone() }
            }
            (S::Active, E::Cancelled { unconfirmed }) if settling => {
                S::Cancelled { unconfirmed: *unconfirmed }
            }
            (
                S::Blocked | S::Ready | S::RetryWait { .. } | S::Integrating { .. },
                E::Cancelled { unconfirmed },
            ) => S::Cancelled { unconfirmed: *unconfirmed },
            (S::Failed { .. } | S::Cancelled { .. } | S::Skipped { .. }, E::DoneElsewhere) => {
                S::Succeeded { commit: None }
            }
            (S::Failed { failure }, E::Revived) if failure.class == FailureClass::Integration => {
                self.record.cancel = None;
                self.record.paused = None;
                S::Integrating { prepared: self.record.hindrance.take().and_then(|it| it.prepared) }
            }
            (S::Failed { .. } | S::Cancelled { .. } | S::Skipped { .. }, E::Revived) => {
                self.record.tally = Tally::default();
                self.record.cancel = None;
                self.record.paused = None;
                self.record.deferred = None;
                self.record.shunned = Vec::new();
                if self.unmet == 0 { S::Ready } else { S::Blocked }
            }
            (
                S::Blocked
                | S::Ready
                | S::Active
                | S::RetryWait { .. }
                | S::Integrating { .. }
                | S::Succeeded { .. }
                | S::Failed { .. }
                | S::Cancelled { .. }
                | S::Skipped { .. },
                _,
            ) => return false,
        };
        self.record.state = next;
        self.record.since = at;
        if !self.record.keeps_result() {
            self.record.hindrance = None;
        }
        true
    }

    /// What keeps the result from being integrated. It stays where it is in the merge queue.
    fn change_of_hindrance(&mut self, event: &TaskEvent) -> bool {
        let record = &mut self.record;
        let (
            TaskState::Integrating { prepared },
            TaskEvent::IntegrationHindered { reason, until, undone },
        ) = (&mut record.state, event)
        else {
            return false;
        };
        if *undone {
            *prepared = None;
        }
        let times = record.hindrance.as_ref().map_or(0, |hindrance| hindrance.times) + 1;
        let (reason, prepared) = (reason.clone(), prepared.clone());
        record.hindrance = Some(Hindrance { reason, times, until: *until, prepared });
        true
    }

    /// The events of the current attempt of an active task.
    fn change_of_attempt(&mut self, at: Timestamp, event: &TaskEvent) -> bool {
        let record = &mut self.record;
        let Some(attempt) = record.attempt.as_mut().filter(|_| record.state == TaskState::Active)
        else {
            return false;
        };
        let in_order = match event {
            TaskEvent::Offered { offer, .. } => *offer > record.offer,
            TaskEvent::Claimed { fence, .. } => *fence > record.fence,
            _ => true,
        };
        let grant = attempt.grant.clone();
        if !in_order || !attempt.follow(at, event) {
            return false;
        }
        match event {
            TaskEvent::Offered { offer, attempt } => {
                record.offer = *offer;
                // Its agent may be about to start all the same.
                if let Some(grant) = grant {
                    keep_newest(&mut record.lost, lost_grant(*attempt, &grant), ORPHANS_MAX);
                }
            }
            TaskEvent::Claimed { fence, .. } => record.fence = *fence,
            TaskEvent::AttemptEnded { report, .. } => self.keep_from_end(report),
            _ => {}
        }
        true
    }

    /// What people want of the task.
    fn change_of_wish(&mut self, at: Timestamp, event: &TaskEvent) -> bool {
        use TaskEvent as E;
        if self.record.state.is_ended() {
            return false;
        }
        match event {
            E::CancelRequested { reason } if self.record.cancel.is_none() => {
                self.record.cancel = Some(reason.clone());
                if let Some(attempt) = &mut self.record.attempt {
                    // Says nothing to one that isn't held.
                    attempt.follow(at, event);
                }
            }
            E::PauseRequested { reason } if self.record.paused.is_none() => {
                self.record.paused = Some(reason.clone());
            }
            E::PauseLifted => return self.record.paused.take().is_some(),
            E::Preferred { boost } => self.record.boost = *boost,
            E::Deferred { until, reason } if *until != self.id => {
                let (until, reason) = (*until, reason.clone());
                self.record.deferred = Some(super::Deferral { until, reason });
            }
            E::Undeferred => return self.record.deferred.take().is_some(),
            _ => return false,
        }
        true
    }

    /// Commands and what becomes of them.
    fn change_of_command(&mut self, event: &TaskEvent) -> bool {
        match event {
            TaskEvent::CommandAccepted { command }
                if !self.record.state.is_ended() && command.seq == self.record.command.next() =>
            {
                self.record.command = command.seq;
                if says_something(command.kind) && !command.text.is_empty() {
                    keep_newest(&mut self.record.feedback, command.text.clone(), FEEDBACK_MAX);
                }
                self.record.pending.push(command.clone());
            }
            TaskEvent::CommandDelivered { seq, attempt } => {
                let accepted = |command: &&mut crate::command::Command| {
                    command.seq == *seq && command.state == CommandState::Accepted
                };
                let Some(command) = self.record.pending.iter_mut().find(accepted) else {
                    return false;
                };
                command.state = CommandState::Delivered { attempt: *attempt };
            }
            TaskEvent::CommandSettled { seq, state } if state.is_settled() => {
                let Some(index) =
                    self.record.pending.iter().position(|command| command.seq == *seq)
                else {
                    return false;
                };
                self.record.pending.remove(index);
            }
            _ => return false,
        }
        true
    }

    /// What attempts leave behind for later ones and for people.
    fn change_of_keepsakes(&mut self, event: &TaskEvent) -> bool {
        match event {
            TaskEvent::SnapshotTaken { attempt, work } if self.is_newest(*attempt) => {
                self.record.snapshot = Some(Snapshot { attempt: *attempt, work: work.clone() });
            }
            TaskEvent::OrphanKept { orphan } => {
                let Some(index) = self.record.lost.iter().position(|lost| *lost == orphan.grant)
                else {
                    return false;
                };
                self.record.lost.remove(index);
                keep_newest(&mut self.record.orphans, orphan.clone(), ORPHANS_MAX);
            }
            _ => return false,
        }
        true
    }

    /// What the end of an attempt leaves: work to go on from, a grant that may still bring a
    /// result, a worker to keep away from.
    fn keep_from_end(&mut self, report: &Report) {
        let Some(attempt) = &self.record.attempt else { return };
        let Some(grant) = attempt.grant.as_ref() else { return };
        let class = report.outcome.failure_class();
        let goes_on = match class {
            Some(
                FailureClass::Infrastructure | FailureClass::Uncounted | FailureClass::RateLimit,
            ) => true,
            Some(FailureClass::Application | FailureClass::Integration | FailureClass::Final) => {
                false
            }
            None => attempt.yields,
        };
        match &report.result {
            // Nothing was wrong with the work: the next attempt goes on from it.
            Some(work) if goes_on && grant.is_base_of(work) => {
                let (attempt, work) = (attempt.number, work.clone());
                self.record.snapshot = Some(Snapshot { attempt, work });
            }
            Some(_) | None if goes_on => {}
            Some(_) | None => self.record.snapshot = None,
        }
        if report.outcome == Outcome::Lost {
            let lost = lost_grant(attempt.number, grant);
            keep_newest(&mut self.record.lost, lost, ORPHANS_MAX);
        }
        if class == Some(FailureClass::Infrastructure)
            && !self.record.shunned.contains(&grant.worker)
        {
            let worker = grant.worker.clone();
            keep_newest(&mut self.record.shunned, worker, SHUNNED_MAX);
        }
    }

    fn is_newest(&self, number: u32) -> bool {
        self.record.attempt.as_ref().is_some_and(|attempt| attempt.number == number)
    }

    fn begin_attempt(&mut self, at: Timestamp, number: u32, offer: OfferSeq) -> bool {
        let previous = self.record.attempt.as_ref().map_or(0, |attempt| attempt.number);
        if number != previous + 1 || offer <= self.record.offer {
            return false;
        }
        self.record.offer = offer;
        self.record.attempt = Some(Attempt::offered(at, number, offer));
        true
    }

    fn charge(&mut self, at: Timestamp, class: FailureClass, lesson: Option<&String>) {
        let tally = &mut self.record.tally;
        match class {
            FailureClass::Application => tally.app += 1,
            FailureClass::Infrastructure => tally.infra += 1,
            FailureClass::RateLimit => {
                tally.rate_limited += 1;
                tally.rate_limited_since.get_or_insert(at);
            }
            FailureClass::Integration | FailureClass::Final | FailureClass::Uncounted => {}
        }
        if let Some(lesson) = lesson {
            keep_newest(&mut self.record.lessons, lesson.clone(), LESSONS_MAX);
        }
    }
}

fn keep_newest<T>(list: &mut Vec<T>, newest: T, count_max: usize) {
    list.push(newest);
    let surplus = list.len().saturating_sub(count_max);
    list.drain(..surplus);
}

fn lost_grant(attempt: u32, grant: &Granted) -> LostGrant {
    LostGrant { attempt, fence: grant.fence, worker: grant.worker.clone() }
}

/// Whether a command's text is for the agents of the task, not only for people.
fn says_something(kind: CommandKind) -> bool {
    match kind {
        CommandKind::Feedback | CommandKind::Restart => true,
        CommandKind::Redirect { .. }
        | CommandKind::Stop
        | CommandKind::Pause
        | CommandKind::Resume
        | CommandKind::Ping => false,
    }
}
