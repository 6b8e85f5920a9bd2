//! Why a task isn't running, or what it is doing: one answer for CLI, API and tools.

use serde::Serialize;

use super::admission::Wait;
use super::world::World;
use crate::attempt::{FailureClass, Phase};
use crate::ids::{TaskId, Timestamp, WorkerId};
use crate::plan::position;
use crate::task::{Failure, Task, TaskState};

/// What a task is doing and what, if anything, holds it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The task.
    pub task: TaskId,
    /// Its name within its run.
    pub key: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// What holds it up, or what it is doing.
    pub reason: Waiting,
    /// Why somebody wants it to end, if somebody does.
    pub cancel: Option<String>,
    /// What its failures so far said; the newest last.
    pub failures: Vec<String>,
}

/// What holds a task up, or what it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Waiting {
    /// It waits for other tasks, named by key.
    Dependencies {
        /// Those that have not succeeded yet.
        on: Vec<String>,
    },
    /// It could start but for this.
    Room {
        /// What there is no room in.
        wait: Wait,
    },
    /// It is about to be offered.
    Next,
    /// It is offered; no worker has taken it yet.
    Offered,
    /// A worker has it.
    Held {
        /// Which worker.
        worker: WorkerId,
        /// How far it is.
        phase: Phase,
        /// Since when the agent runs.
        started_at: Option<Timestamp>,
        /// Whether the agent is frozen.
        paused: bool,
    },
    /// Its agent has ended; the report waits on disk for a worker to deliver it.
    Reported {
        /// Which worker had it.
        worker: WorkerId,
    },
    /// It failed and is tried again.
    Retry {
        /// Not before.
        until: Timestamp,
        /// The budget that the failure counted against.
        class: FailureClass,
    },
    /// Its result waits in the merge queue.
    Integration {
        /// How many results are before it.
        ahead: usize,
    },
    /// Something keeps its result from being integrated; it is kept, and tried again.
    Hindered {
        /// What.
        reason: String,
        /// How often so far.
        times: u32,
        /// Not tried again before.
        until: Timestamp,
    },
    /// It is done.
    Succeeded {
        /// The commit that integrated it.
        commit: Option<String>,
    },
    /// It was given up.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It was ended by order.
    Cancelled,
    /// Something that it depends on, named by key, didn't succeed.
    Skipped {
        /// That task.
        because: String,
    },
}

impl World {
    /// Why a task isn't running, or what it is doing.
    #[must_use]
    pub fn explain(&self, id: TaskId) -> Option<Explanation> {
        let task = self.task(id)?;
        Some(Explanation {
            task: id,
            key: task.spec.key.clone(),
            since: task.record.since,
            reason: self.waiting(task)?,
            cancel: task.record.cancel.clone(),
            failures: task.record.lessons.clone(),
        })
    }

    fn waiting(&self, task: &Task) -> Option<Waiting> {
        let run = self.run(task.id.run)?;
        let key_of = |index: u32| run.tasks.get(position(index)).map(|task| task.spec.key.clone());
        Some(match &task.record.state {
            TaskState::Blocked => {
                let unmet = |index: &&u32| {
                    let dependency = run.tasks.get(position(**index));
                    !dependency.is_some_and(|task| {
                        matches!(task.record.state, TaskState::Succeeded { .. })
                    })
                };
                let on =
                    task.spec.depends_on.iter().filter(unmet).filter_map(|index| key_of(*index));
                Waiting::Dependencies { on: on.collect() }
            }
            TaskState::Ready => match self.admission(run, task) {
                Some(wait) => Waiting::Room { wait },
                None => Waiting::Next,
            },
            TaskState::Active => match (task.live_attempt(), task.grant()) {
                (Some(attempt), Some(grant))
                    if attempt.report_waits && attempt.cancel.is_none() =>
                {
                    Waiting::Reported { worker: grant.worker.clone() }
                }
                (Some(attempt), Some(grant)) => Waiting::Held {
                    worker: grant.worker.clone(),
                    phase: attempt.phase,
                    started_at: attempt.started_at,
                    paused: attempt.paused_at.is_some(),
                },
                (Some(_) | None, None) | (None, Some(_)) => Waiting::Offered,
            },
            TaskState::RetryWait { until, class } => {
                Waiting::Retry { until: *until, class: *class }
            }
            TaskState::Integrating { .. } => {
                if let Some(hindrance) = &task.record.hindrance {
                    return Some(Waiting::Hindered {
                        reason: hindrance.reason.clone(),
                        times: hindrance.times,
                        until: hindrance.until,
                    });
                }
                let before = |other: &&Task| {
                    matches!(other.record.state, TaskState::Integrating { .. })
                        && (other.record.since, other.id) < (task.record.since, task.id)
                };
                Waiting::Integration { ahead: run.tasks.iter().filter(before).count() }
            }
            TaskState::Succeeded { commit } => Waiting::Succeeded { commit: commit.clone() },
            TaskState::Failed { failure } => Waiting::Failed { failure: failure.clone() },
            TaskState::Cancelled { .. } => Waiting::Cancelled,
            TaskState::Skipped { because } => {
                Waiting::Skipped { because: key_of(*because).unwrap_or_default() }
            }
        })
    }
}
