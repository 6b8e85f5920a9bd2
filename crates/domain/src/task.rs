//! Tasks: the logical state of one node of a plan, and the one table of its transitions.
//!
//! Live execution, recovery and the property tests all go through `Task::apply`. It says what
//! may follow what; which of the possible events happens is decided in [`crate::engine`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Cancellation, FailureClass, Granted, Outcome, Phase};
use crate::command::{Command, CommandState};
use crate::event::TaskEvent;
use crate::ids::{AttemptId, CommandSeq, Fence, OfferSeq, TaskId, Timestamp};
use crate::plan::TaskSpec;

/// How many lessons of failed attempts a task keeps for the next one's prompt.
pub const LESSONS_MAX: usize = 3;

/// How much of what people said a task keeps for the next one's prompt.
pub const FEEDBACK_MAX: usize = 20;

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What is to be done; never changes.
    pub spec: Arc<TaskSpec>,
    /// Everything about it that changes.
    pub record: TaskRecord,
    /// How many of its dependencies have not succeeded yet; derived.
    pub(crate) unmet: u32,
}

/// Everything about a task that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Where it stands.
    pub state: TaskState,
    /// Since when.
    pub since: Timestamp,
    /// The fence of its newest grant.
    pub fence: Fence,
    /// The number of its newest offer.
    pub offer: OfferSeq,
    /// The newest attempt, live or ended.
    pub attempt: Option<Attempt>,
    /// What its failures have used up.
    pub tally: Tally,
    /// What the next attempt should know of the failures before it; the newest last.
    pub lessons: Vec<String>,
    /// Why somebody wants it to end, if somebody does.
    pub cancel: Option<String>,
    /// What people have said to it so far; every later attempt is told all of it.
    pub feedback: Vec<String>,
    /// The number of its newest command.
    pub command: CommandSeq,
    /// Its commands that aren't settled yet, in order.
    pub pending: Vec<Command>,
}

/// Failures so far, by the budget that they count against.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Of the work.
    pub app: u32,
    /// Of the machinery.
    pub infra: u32,
    /// How often a provider asked to wait.
    pub rate_limited: u32,
    /// When it did so first.
    pub rate_limited_since: Option<Timestamp>,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for what it depends on.
    Blocked,
    /// Could start; waits for room or for a worker.
    Ready,
    /// Has an attempt that is offered or held.
    Active,
    /// Failed and will be tried again.
    RetryWait {
        /// Not before.
        until: Timestamp,
        /// The budget that the failure counted against.
        class: FailureClass,
    },
    /// Its result waits to be integrated, or is being integrated.
    Integrating {
        /// The ref move that was announced, if one was.
        prepared: Option<Prepared>,
    },
    /// Done.
    Succeeded {
        /// The commit that integrated it, when it was integrated.
        commit: Option<String>,
    },
    /// Given up.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Ended by order.
    Cancelled {
        /// Whether the end of its agent could not be confirmed.
        unconfirmed: bool,
    },
    /// Can't run any more because something that it depends on didn't succeed.
    Skipped {
        /// The dependency, by its position in the plan.
        because: u32,
    },
}

/// A move of the target that was announced before the ref was touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The branch that moves.
    pub branch: String,
    /// From this commit.
    pub old: String,
    /// To this one.
    pub new: String,
}

/// Why a task was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The budget that was used up.
    pub class: FailureClass,
    /// The last attempt's own words.
    pub reason: String,
}

impl TaskState {
    /// Whether it has ended; only an operator's order opens it again.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Succeeded { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. }
            | Self::Skipped { .. } => true,
            Self::Blocked
            | Self::Ready
            | Self::Active
            | Self::RetryWait { .. }
            | Self::Integrating { .. } => false,
        }
    }

    /// Its name, as stored, filtered by and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::RetryWait { .. } => "retry_wait",
            Self::Integrating { .. } => "integrating",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Skipped { .. } => "skipped",
        }
    }
}

/// A task event that doesn't fit the task's state: a defect in whoever emitted it, or a log that
/// was tampered with. The state is left as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task}: `{event}` doesn't fit the state `{state}`")]
pub struct IllegalTaskEvent {
    /// The task.
    pub task: TaskId,
    /// The event's name.
    pub event: &'static str,
    /// The state's name.
    pub state: &'static str,
}

impl Task {
    pub(crate) fn new(id: TaskId, spec: Arc<TaskSpec>, at: Timestamp) -> Self {
        let unmet = u32::try_from(spec.depends_on.len()).unwrap_or(u32::MAX);
        let state = if unmet == 0 { TaskState::Ready } else { TaskState::Blocked };
        let record = TaskRecord {
            state,
            since: at,
            fence: Fence::default(),
            offer: OfferSeq::default(),
            attempt: None,
            tally: Tally::default(),
            lessons: Vec::new(),
            cancel: None,
            feedback: Vec::new(),
            command: CommandSeq::default(),
            pending: Vec::new(),
        };
        Self { id, spec, record, unmet }
    }

    /// Its attempt that is offered or held, if it has one.
    #[must_use]
    pub fn live_attempt(&self) -> Option<&Attempt> {
        self.record.attempt.as_ref().filter(|attempt| attempt.phase != Phase::Ended)
    }

    /// The id of its newest attempt.
    #[must_use]
    pub fn attempt_id(&self) -> Option<AttemptId> {
        self.record
            .attempt
            .as_ref()
            .map(|attempt| AttemptId { task: self.id, number: attempt.number })
    }

    /// The grant under which its live attempt is held.
    #[must_use]
    pub fn grant(&self) -> Option<&Granted> {
        self.live_attempt().and_then(|attempt| attempt.grant.as_ref())
    }

    /// Whether it waits for the follow-up of an attempt's end. Only within a decision.
    fn is_settling(&self) -> bool {
        self.record.state == TaskState::Active && self.live_attempt().is_none()
    }

    pub(crate) fn apply(
        &mut self,
        at: Timestamp,
        event: &TaskEvent,
    ) -> Result<(), IllegalTaskEvent> {
        let fits = self.change_of_state(at, event)
            || self.change_of_attempt(at, event)
            || self.change_of_wish(at, event);
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
            (S::Failed { .. } | S::Cancelled { .. } | S::Skipped { .. }, E::Revived) => {
                self.record.tally = Tally::default();
                self.record.cancel = None;
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
        true
    }

    /// The events of the current attempt of an active task.
    #[expect(clippy::too_many_lines, reason = "one table, which is read as a whole")]
    fn change_of_attempt(&mut self, at: Timestamp, event: &TaskEvent) -> bool {
        use TaskEvent as E;
        if self.record.state != TaskState::Active {
            return false;
        }
        let (fence, newest_offer) = (self.record.fence, self.record.offer);
        let Some(attempt) = &mut self.record.attempt else { return false };
        match (attempt.phase, event) {
            (Phase::Offered, E::Offered { attempt: number, offer })
                if *number == attempt.number && *offer > newest_offer =>
            {
                attempt.offer = *offer;
                attempt.offered_at = at;
                self.record.offer = *offer;
            }
            // A grant that never led to a start is taken back and offered anew.
            (Phase::Claimed, E::Offered { attempt: number, offer })
                if *number == attempt.number && *offer > newest_offer =>
            {
                attempt.phase = Phase::Offered;
                attempt.grant = None;
                attempt.offer = *offer;
                attempt.offered_at = at;
                self.record.offer = *offer;
            }
            (
                Phase::Offered,
                E::Claimed {
                    attempt: number,
                    fence: granted,
                    worker,
                    session,
                    request,
                    base,
                    embedded,
                },
            ) if *number == attempt.number && *granted > fence => {
                attempt.phase = Phase::Claimed;
                attempt.renewed_at = at;
                attempt.grant = Some(Granted {
                    fence: *granted,
                    worker: worker.clone(),
                    session: *session,
                    request: *request,
                    base: base.clone(),
                    embedded: *embedded,
                    at,
                });
                self.record.fence = *granted;
            }
            (Phase::Claimed, E::Started { attempt: number }) if *number == attempt.number => {
                attempt.phase = Phase::Running;
                attempt.started_at = Some(at);
                attempt.watched_from = at;
                attempt.renewed_at = at;
            }
            (Phase::Running, E::Suspected { attempt: number }) if *number == attempt.number => {
                attempt.phase = Phase::Suspect;
            }
            (Phase::Suspect, E::Recovered { attempt: number }) if *number == attempt.number => {
                attempt.phase = Phase::Running;
                attempt.renewed_at = at;
            }
            (_, E::AttemptEnded { attempt: number, report })
                if *number == attempt.number
                    && attempt.phase != Phase::Ended
                    && (attempt.phase == Phase::Offered)
                        == (report.outcome == Outcome::Withdrawn) =>
            {
                attempt.phase = Phase::Ended;
                attempt.ended_at = Some(at);
                attempt.report = Some(Arc::clone(report));
            }
            (
                Phase::Offered
                | Phase::Claimed
                | Phase::Running
                | Phase::Suspect
                | Phase::Cancelling
                | Phase::Ended,
                _,
            ) => return false,
        }
        true
    }

    /// What people want of the task: its end, or something said to it.
    fn change_of_wish(&mut self, at: Timestamp, event: &TaskEvent) -> bool {
        let ended = self.record.state.is_ended();
        match event {
            TaskEvent::CancelRequested { reason } if !ended && self.record.cancel.is_none() => {
                self.record.cancel = Some(reason.clone());
                if let Some(attempt) =
                    self.record.attempt.as_mut().filter(|attempt| attempt.phase.is_held())
                {
                    attempt.phase = Phase::Cancelling;
                    attempt.cancel = Some(Cancellation { reason: reason.clone(), at });
                }
            }
            TaskEvent::CommandAccepted { command }
                if !ended && command.seq == self.record.command.next() =>
            {
                self.record.command = command.seq;
                keep_newest(&mut self.record.feedback, command.text.clone(), FEEDBACK_MAX);
                self.record.pending.push(command.clone());
            }
            TaskEvent::CommandSettled { seq, state } if *state != CommandState::Accepted => {
                let Some(index) =
                    self.record.pending.iter().position(|command| command.seq == *seq)
                else {
                    return false;
                };
                self.record.pending.remove(index);
            }
            TaskEvent::Submitted { .. }
            | TaskEvent::DependenciesMet
            | TaskEvent::Skipped { .. }
            | TaskEvent::Offered { .. }
            | TaskEvent::Claimed { .. }
            | TaskEvent::Started { .. }
            | TaskEvent::Suspected { .. }
            | TaskEvent::Recovered { .. }
            | TaskEvent::CancelRequested { .. }
            | TaskEvent::AttemptEnded { .. }
            | TaskEvent::RetryScheduled { .. }
            | TaskEvent::RetryDue
            | TaskEvent::IntegrationQueued { .. }
            | TaskEvent::IntegrationPrepared { .. }
            | TaskEvent::IntegrationRefused { .. }
            | TaskEvent::Succeeded { .. }
            | TaskEvent::Failed { .. }
            | TaskEvent::Cancelled { .. }
            | TaskEvent::Revived
            | TaskEvent::CommandAccepted { .. }
            | TaskEvent::CommandSettled { .. } => return false,
        }
        true
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
        self.record.attempt = Some(Attempt {
            number,
            phase: Phase::Offered,
            offer,
            offered_at: at,
            grant: None,
            started_at: None,
            ended_at: None,
            renewed_at: at,
            watched_from: at,
            cancel: None,
            report: None,
        });
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
            FailureClass::Final | FailureClass::Uncounted => {}
        }
        if let Some(lesson) = lesson {
            keep_newest(&mut self.record.lessons, lesson.clone(), LESSONS_MAX);
        }
    }
}

fn keep_newest(list: &mut Vec<String>, newest: String, count_max: usize) {
    list.push(newest);
    let surplus = list.len().saturating_sub(count_max);
    list.drain(..surplus);
}
