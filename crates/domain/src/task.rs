//! Tasks: the logical state of one node of a plan.
//!
//! What may follow what is in `transition`; which of the possible events happens is decided in
//! [`crate::engine`].

mod transition;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, FailureClass, Granted, Phase, Report, WorkResult};
use crate::command::Command;
use crate::ids::{AttemptId, CommandSeq, Fence, OfferSeq, TaskId, Timestamp, WorkerId};
use crate::placement::Class;
use crate::plan::TaskSpec;

/// How many lessons of failed attempts a task keeps for the next one's prompt.
pub const LESSONS_MAX: usize = 3;

/// How much of what people said a task keeps for the next one's prompt.
pub const FEEDBACK_MAX: usize = 20;

/// How many late results a task keeps, and how many grants that may still bring one.
pub const ORPHANS_MAX: usize = 8;

/// How many workers a task keeps away from after they failed it.
pub const SHUNNED_MAX: usize = 8;

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What is to be done; never changes.
    pub spec: Arc<TaskSpec>,
    /// Everything about it that changes.
    pub record: TaskRecord,
    /// What its offers are published under; derived.
    pub(crate) class: Class,
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
    /// Why somebody wants it not to go on for now, if somebody does.
    #[serde(default)]
    pub paused: Option<String>,
    /// What is added to its priority.
    #[serde(default)]
    pub boost: i32,
    /// The task that it waits for by order, if it does.
    #[serde(default)]
    pub deferred: Option<Deferral>,
    /// Work in progress that the next attempt can go on from.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// Workers that failed it by their machinery; others are asked first.
    #[serde(default)]
    pub shunned: Vec<WorkerId>,
    /// Grants that were given up while the agent may still have run; the newest last.
    #[serde(default)]
    pub lost: Vec<LostGrant>,
    /// Results that came too late to count; the newest last.
    #[serde(default)]
    pub orphans: Vec<Orphan>,
    /// What keeps its result from being integrated, though nothing is wrong with it.
    #[serde(default)]
    pub hindrance: Option<Hindrance>,
}

/// What keeps a result from being integrated, though nothing is wrong with it: a lock, a full disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hindrance {
    /// What it is, in words for people.
    pub reason: String,
    /// How often in a row integration was hindered.
    pub times: u32,
    /// Not tried again before.
    pub until: Timestamp,
    /// The move of the target that was announced and may have begun, when the task was given up.
    pub prepared: Option<Prepared>,
}

/// A wait by order: an agent was taken off the task for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// The task that has to end first, however it ends.
    pub until: TaskId,
    /// Why, in words for people.
    pub reason: String,
}

/// Work in progress of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The attempt that it comes from.
    pub attempt: u32,
    /// What was kept.
    pub work: WorkResult,
}

/// A grant that was given up while the agent may still have run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostGrant {
    /// Which try.
    pub attempt: u32,
    /// Its fence.
    pub fence: Fence,
    /// Who had it.
    pub worker: WorkerId,
}

/// The result of an attempt that had been given up. It is kept for people to look at, and never
/// merged by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The grant that it was made under.
    pub grant: LostGrant,
    /// What the worker reported.
    pub report: Arc<Report>,
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

impl TaskRecord {
    /// Whether its result waits to be integrated, perhaps until somebody has removed what hinders it.
    #[must_use]
    pub fn keeps_result(&self) -> bool {
        match &self.state {
            TaskState::Integrating { .. } => true,
            TaskState::Failed { failure } => failure.class == FailureClass::Integration,
            TaskState::Blocked
            | TaskState::Ready
            | TaskState::Active
            | TaskState::RetryWait { .. }
            | TaskState::Succeeded { .. }
            | TaskState::Cancelled { .. }
            | TaskState::Skipped { .. } => false,
        }
    }

    /// Whether the files of attempt `number` may still be needed: its result, work in progress,
    /// what came too late, or what it may still bring.
    #[must_use]
    pub fn needs_files_of(&self, number: u32) -> bool {
        let newest = self.attempt.as_ref().filter(|attempt| attempt.number == number);
        let snapshot = self.snapshot.as_ref().filter(|_| !self.state.is_ended());
        newest.is_some_and(|attempt| attempt.phase != Phase::Ended || self.keeps_result())
            || snapshot.is_some_and(|snapshot| snapshot.attempt == number)
            || self.lost.iter().any(|lost| lost.attempt == number)
            || self.orphans.iter().any(|orphan| orphan.grant.attempt == number)
    }
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
            paused: None,
            boost: 0,
            deferred: None,
            snapshot: None,
            shunned: Vec::new(),
            lost: Vec::new(),
            orphans: Vec::new(),
            hindrance: None,
        };
        let class = Class::of(&spec.agent, &spec.needs);
        Self { id, spec, record, class, unmet }
    }

    /// What its offers are published under.
    #[must_use]
    pub fn class(&self) -> &Class {
        &self.class
    }

    /// Its place among the tasks of its run that could start: higher goes first.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.spec.priority.saturating_add(self.record.boost)
    }

    /// Whether nothing but room keeps it from starting.
    #[must_use]
    pub fn is_startable(&self) -> bool {
        let record = &self.record;
        record.state == TaskState::Ready && record.paused.is_none() && record.deferred.is_none()
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
}
