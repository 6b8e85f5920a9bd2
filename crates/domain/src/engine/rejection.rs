//! Why inputs are refused.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, Fence, RunId, TaskId, WorkerId};
use crate::plan::InvalidPlan;
use crate::worker::InvalidRegistration;

/// Whether the work or the machinery is the reason that a result can't be integrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// A conflict, a failed check: back to an agent.
    Work,
    /// The result is gone: it has to be made again.
    Lost,
    /// Nothing is wrong with the result. It is kept, and its integration is tried again.
    Hindered {
        /// How often in a row that is so with this time, from 1.
        times: u32,
        /// Whether trying again is of no use before a person has done something.
        for_person: bool,
        /// Whether it is certain that nothing of the announced move has happened.
        undone: bool,
    },
}

/// Why an input was refused. Part of normal operation: nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Rejection {
    /// No such run.
    #[error("there is no run {run}")]
    UnknownRun {
        /// As asked.
        run: RunId,
    },
    /// No such task.
    #[error("there is no task {task}")]
    UnknownTask {
        /// As asked.
        task: TaskId,
    },
    /// The plan can't be carried out.
    #[error("{reason}")]
    InvalidPlan {
        /// Why.
        reason: InvalidPlan,
    },
    /// What the worker says of itself can't be accepted.
    #[error(transparent)]
    InvalidRegistration {
        /// Why.
        reason: InvalidRegistration,
    },
    /// The worker has no open session.
    #[error("worker {worker} is not registered")]
    UnknownWorker {
        /// The worker.
        worker: WorkerId,
    },
    /// The worker has registered again since.
    #[error("a newer session of worker {worker} has taken over")]
    SupersededSession {
        /// The worker.
        worker: WorkerId,
    },
    /// The offer is of the past.
    #[error("the offer of {attempt} is obsolete")]
    ObsoleteOffer {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Somebody else was faster.
    #[error("{attempt} was granted to another claim")]
    Taken {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The worker can't take it.
    #[error("worker {worker} can't take the attempt: {reason}")]
    Ineligible {
        /// The worker.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// Another worker is the better one for it at this moment: hand the offer back.
    #[error("another worker is the better one for {attempt}")]
    PreferOther {
        /// The attempt.
        attempt: AttemptId,
        /// How long to leave the offer to others.
        #[serde(with = "crate::policy::millis")]
        retry_after: Duration,
    },
    /// The report carries a fence that is not the current one.
    #[error("{attempt} is no longer held under fence {fence}")]
    Fenced {
        /// The attempt.
        attempt: AttemptId,
        /// The fence that the report carried.
        fence: Fence,
    },
    /// What was reported doesn't fit where the attempt or task stands.
    #[error("that doesn't fit: {subject} is {state}")]
    OutOfPlace {
        /// The task or attempt.
        subject: String,
        /// Where it stands.
        state: String,
    },
    /// The task has ended; it can't be told anything.
    #[error("task {task} has ended ({state})")]
    TaskEnded {
        /// The task.
        task: TaskId,
        /// How.
        state: String,
    },
    /// The work stream is being done, or was done while the plan was made.
    #[error("{key} is done by {by}")]
    Claimed {
        /// The work stream.
        key: String,
        /// The task that does it.
        by: TaskId,
    },
    /// The run is still open.
    #[error("run {run} is not over yet")]
    RunOpen {
        /// The run.
        run: RunId,
    },
    /// The run has nothing left to do.
    #[error("run {run} has nothing to resume: every task has succeeded")]
    NothingToResume {
        /// The run.
        run: RunId,
    },
    /// The run has ended already.
    #[error("run {run} has already ended")]
    RunEnded {
        /// The run.
        run: RunId,
    },
    /// The attempt that was meant is over.
    #[error("{attempt} is over")]
    AttemptOver {
        /// The attempt.
        attempt: AttemptId,
    },
    /// There is nothing that this could be ordered of.
    #[error("there is nothing to {command}: {reason}")]
    NothingMatches {
        /// The command's name.
        command: String,
        /// Why, in words for people.
        reason: String,
    },
    /// The agent can't be put on that task.
    #[error("the agent of {from} can't be put on {to}: {reason}")]
    BadRedirect {
        /// The task that it is on.
        from: TaskId,
        /// The task that it should be on.
        to: TaskId,
        /// Why not.
        reason: String,
    },
    /// The text is empty or too long.
    #[error(
        "a message has 1 to {} bytes of text, this one has {bytes}",
        crate::command::TEXT_BYTES_MAX
    )]
    TextLength {
        /// Its length.
        bytes: usize,
    },
    /// Too many commands wait already.
    #[error("task {task} has {} commands that had no effect yet", crate::command::PENDING_MAX)]
    TooManyCommands {
        /// The task.
        task: TaskId,
    },
}
