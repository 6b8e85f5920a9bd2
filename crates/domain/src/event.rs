//! Events: what has happened, in the order in which it was committed.
//!
//! The log of these is the history that everything else is derived from: live state, recovery,
//! watchers, reports. A variant, once released, keeps its meaning and its stored form.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attempt::{FailureClass, Report, WorkResult};
use crate::command::{Command, CommandState};
use crate::ids::{
    CommandSeq, EventSeq, Fence, OfferSeq, RequestId, RunId, SessionEpoch, TaskId, Timestamp,
    WorkerId,
};
use crate::plan::{RunSpec, TaskSpec};
use crate::run::RunOutcome;
use crate::task::{Failure, Orphan};
use crate::worker::{Duty, Registration};

/// An event at its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number; the log has no gaps.
    pub seq: EventSeq,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Something that happened to a run, a task or a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "snake_case")]
pub enum Event {
    /// To a run.
    Run {
        /// Which.
        run: RunId,
        /// What.
        event: RunEvent,
    },
    /// To a task or its current attempt.
    Task {
        /// Which.
        task: TaskId,
        /// What.
        event: TaskEvent,
    },
    /// To a worker.
    Worker {
        /// Which.
        worker: WorkerId,
        /// What.
        event: WorkerEvent,
    },
}

impl Event {
    /// The run that it belongs to, if it belongs to one.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Run { run, .. } => Some(*run),
            Self::Task { task, .. } => Some(task.run),
            Self::Worker { .. } => None,
        }
    }

    /// The task that it belongs to, if it belongs to one.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::Task { task, .. } => Some(*task),
            Self::Run { .. } | Self::Worker { .. } => None,
        }
    }

    /// Its name, as watchers and the log show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run { event, .. } => event.name(),
            Self::Task { event, .. } => event.name(),
            Self::Worker { event, .. } => event.name(),
        }
    }
}

/// What happens to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunEvent {
    /// Accepted, with this specification; its tasks follow.
    Submitted {
        /// The specification.
        spec: Arc<RunSpec>,
    },
    /// Somebody wants it to end.
    CancelRequested {
        /// Why, in words for people.
        reason: String,
    },
    /// Its target moved, by our own integration or by somebody's commit.
    TargetMoved {
        /// The commit it points to now.
        head: String,
    },
    /// Results go to another branch from now on.
    TargetSwitched {
        /// The branch.
        branch: String,
        /// The commit it starts from.
        head: String,
        /// Why, in words for people.
        reason: String,
    },
    /// All its tasks have ended.
    Finished {
        /// How.
        outcome: RunOutcome,
    },
    /// A finished run was opened again to try what had not succeeded.
    Reopened,
}

/// What happens to a task or its current attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskEvent {
    /// Accepted as a part of its run.
    Submitted {
        /// The specification.
        spec: Arc<TaskSpec>,
    },
    /// Everything that it depends on has succeeded.
    DependenciesMet,
    /// It can't run any more because something that it depends on didn't succeed.
    Skipped {
        /// The dependency, by its position in the plan.
        because: u32,
    },
    /// An attempt was published, for the first time or again.
    Offered {
        /// Which try.
        attempt: u32,
        /// Which publication.
        offer: OfferSeq,
    },
    /// A worker was granted the attempt.
    Claimed {
        /// Which try.
        attempt: u32,
        /// The fence of the grant.
        fence: Fence,
        /// To whom.
        worker: WorkerId,
        /// In which of its sessions.
        session: SessionEpoch,
        /// On which request.
        request: RequestId,
        /// The commit that the work starts from.
        base: Option<String>,
        /// The attempt whose work in progress it goes on from, if it does.
        #[serde(default)]
        goes_on_from: Option<u32>,
        /// Whether the worker dies with this coordinator.
        embedded: bool,
    },
    /// The agent runs.
    Started {
        /// Which try.
        attempt: u32,
    },
    /// The worker has not been heard of for longer than the lease.
    Suspected {
        /// Which try.
        attempt: u32,
    },
    /// The worker of a suspect attempt was heard of again.
    Recovered {
        /// Which try.
        attempt: u32,
    },
    /// Somebody wants the task to end.
    CancelRequested {
        /// Why, in words for people.
        reason: String,
    },
    /// Somebody wants it not to go on for now.
    PauseRequested {
        /// Why, in words for people.
        reason: String,
    },
    /// It may go on.
    PauseLifted,
    /// The processes of the attempt are frozen.
    AttemptPaused {
        /// Which try.
        attempt: u32,
    },
    /// The processes of the attempt go on.
    AttemptResumed {
        /// Which try.
        attempt: u32,
    },
    /// The attempt is to end without counting; the task is tried again.
    YieldRequested {
        /// Which try.
        attempt: u32,
        /// Why, in words for people.
        reason: String,
    },
    /// It goes before others of its run.
    Preferred {
        /// What is added to its priority.
        boost: i32,
    },
    /// It waits until another task has ended.
    Deferred {
        /// The other task.
        until: TaskId,
        /// Why, in words for people.
        reason: String,
    },
    /// It need not wait for that any more.
    Undeferred,
    /// Work in progress was kept.
    SnapshotTaken {
        /// Of which try.
        attempt: u32,
        /// What was kept.
        work: WorkResult,
    },
    /// The result of an attempt that had been given up came after all. It is kept aside.
    OrphanKept {
        /// What came.
        orphan: Orphan,
    },
    /// The attempt is over.
    AttemptEnded {
        /// Which try.
        attempt: u32,
        /// What came of it.
        report: Arc<Report>,
    },
    /// It will be tried again.
    RetryScheduled {
        /// Not before.
        until: Timestamp,
        /// The budget that the failure counted against.
        class: FailureClass,
        /// What the next attempt should know of this failure.
        lesson: Option<String>,
    },
    /// The time to try again has come.
    RetryDue,
    /// Its result waits for integration.
    IntegrationQueued {
        /// The try whose result it is.
        attempt: u32,
    },
    /// The target is about to move. Recorded before the ref is touched, so that a crash between
    /// the two can be recognized and mended.
    IntegrationPrepared {
        /// The branch that moves.
        branch: String,
        /// From this commit.
        old: String,
        /// To this one.
        new: String,
    },
    /// The result could not be integrated.
    IntegrationRefused {
        /// Why, in words for people and for the next attempt.
        reason: String,
    },
    /// Nothing is wrong with the result, and something else keeps it from being integrated.
    IntegrationHindered {
        /// What, in words for people.
        reason: String,
        /// Not tried again before.
        until: Timestamp,
        /// Whether it is certain that nothing of the announced move has happened.
        undone: bool,
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
    /// Opened again after it had ended without success.
    Revived,
    /// After it had ended without success, somebody else has done its work.
    DoneElsewhere,
    /// A command was recorded.
    CommandAccepted {
        /// The command.
        command: Command,
    },
    /// The worker has a command; it has had no effect yet.
    CommandDelivered {
        /// Which.
        seq: CommandSeq,
        /// In which try.
        attempt: u32,
    },
    /// Something became of a command.
    CommandSettled {
        /// Which.
        seq: CommandSeq,
        /// What.
        state: CommandState,
    },
}

/// What happens to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkerEvent {
    /// It registered; an older session of the same worker is over.
    Registered {
        /// What it said of itself.
        registration: Registration,
        /// Its session from now on.
        session: SessionEpoch,
    },
    /// It takes no new work.
    Draining,
    /// What it does about new work has changed by order.
    DutyChanged {
        /// What it does from now on.
        duty: Duty,
    },
    /// It was not heard of for longer than a worker may be silent.
    Suspected,
    /// It was heard of again.
    Recovered,
    /// It left, or was given up.
    Gone {
        /// Why, in words for people.
        reason: String,
    },
}

impl RunEvent {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "run_submitted",
            Self::CancelRequested { .. } => "run_cancel_requested",
            Self::TargetMoved { .. } => "target_moved",
            Self::TargetSwitched { .. } => "target_switched",
            Self::Finished { .. } => "run_finished",
            Self::Reopened => "run_reopened",
        }
    }
}

/// Which attempt of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// That of this number.
    Numbered(u32),
    /// The newest.
    Newest,
}

impl TaskEvent {
    /// The attempt that it changes, if it changes one.
    #[must_use]
    pub fn changed_attempt(&self) -> Option<Which> {
        match self {
            Self::Offered { attempt, .. }
            | Self::Claimed { attempt, .. }
            | Self::Started { attempt }
            | Self::Suspected { attempt }
            | Self::Recovered { attempt }
            | Self::AttemptPaused { attempt }
            | Self::AttemptResumed { attempt }
            | Self::YieldRequested { attempt, .. }
            | Self::AttemptEnded { attempt, .. } => Some(Which::Numbered(*attempt)),
            Self::CancelRequested { .. } => Some(Which::Newest),
            Self::Submitted { .. }
            | Self::DependenciesMet
            | Self::Skipped { .. }
            | Self::RetryScheduled { .. }
            | Self::RetryDue
            | Self::IntegrationQueued { .. }
            | Self::IntegrationPrepared { .. }
            | Self::IntegrationRefused { .. }
            | Self::IntegrationHindered { .. }
            | Self::Succeeded { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. }
            | Self::Revived
            | Self::DoneElsewhere
            | Self::PauseRequested { .. }
            | Self::PauseLifted
            | Self::Preferred { .. }
            | Self::Deferred { .. }
            | Self::Undeferred
            | Self::SnapshotTaken { .. }
            | Self::OrphanKept { .. }
            | Self::CommandAccepted { .. }
            | Self::CommandDelivered { .. }
            | Self::CommandSettled { .. } => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "task_submitted",
            Self::DependenciesMet => "dependencies_met",
            Self::Skipped { .. } => "task_skipped",
            Self::Offered { .. } => "attempt_offered",
            Self::Claimed { .. } => "attempt_claimed",
            Self::Started { .. } => "attempt_started",
            Self::Suspected { .. } => "attempt_suspected",
            Self::Recovered { .. } => "attempt_recovered",
            Self::CancelRequested { .. } => "task_cancel_requested",
            Self::PauseRequested { .. } => "task_pause_requested",
            Self::PauseLifted => "task_pause_lifted",
            Self::AttemptPaused { .. } => "attempt_paused",
            Self::AttemptResumed { .. } => "attempt_resumed",
            Self::YieldRequested { .. } => "attempt_yield_requested",
            Self::Preferred { .. } => "task_preferred",
            Self::Deferred { .. } => "task_deferred",
            Self::Undeferred => "task_undeferred",
            Self::SnapshotTaken { .. } => "snapshot_taken",
            Self::OrphanKept { .. } => "orphan_kept",
            Self::AttemptEnded { .. } => "attempt_ended",
            Self::RetryScheduled { .. } => "retry_scheduled",
            Self::RetryDue => "retry_due",
            Self::IntegrationQueued { .. } => "integration_queued",
            Self::IntegrationPrepared { .. } => "integration_prepared",
            Self::IntegrationRefused { .. } => "integration_refused",
            Self::IntegrationHindered { .. } => "integration_hindered",
            Self::Succeeded { .. } => "task_succeeded",
            Self::Failed { .. } => "task_failed",
            Self::Cancelled { .. } => "task_cancelled",
            Self::Revived => "task_revived",
            Self::DoneElsewhere => "task_done_elsewhere",
            Self::CommandAccepted { .. } => "command_accepted",
            Self::CommandDelivered { .. } => "command_delivered",
            Self::CommandSettled { .. } => "command_settled",
        }
    }
}

impl WorkerEvent {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "worker_registered",
            Self::Draining => "worker_draining",
            Self::DutyChanged { .. } => "worker_duty_changed",
            Self::Suspected => "worker_suspected",
            Self::Recovered => "worker_recovered",
            Self::Gone { .. } => "worker_gone",
        }
    }
}
