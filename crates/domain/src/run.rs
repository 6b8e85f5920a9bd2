//! Runs: the state of one plan while it is executed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::RunEvent;
use crate::ids::{RunId, Timestamp};
use crate::plan::{RunSpec, Target};
use crate::task::Task;

/// A run and its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What can be stored of it by itself.
    pub record: RunRecord,
    /// Its tasks, in the order of the plan.
    pub tasks: Vec<Task>,
    /// For each task, the positions of those that depend on it.
    pub(crate) dependents: Vec<Vec<u32>>,
    /// How many of its tasks have ended.
    pub(crate) ended: u32,
    /// How many of its tasks have an attempt that is offered or held.
    pub(crate) live: u32,
}

/// The state of a run without its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its specification.
    pub spec: Arc<RunSpec>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// Where results go now.
    pub target: Option<Target>,
    /// Why they go elsewhere than where the run began, if they do.
    #[serde(default)]
    pub detour: Option<String>,
    /// Why somebody wants it to end, if somebody does.
    pub cancel: Option<String>,
    /// How it ended, once it has.
    pub outcome: Option<RunOutcome>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Every task succeeded.
    Succeeded,
    /// At least one task failed or had to be skipped.
    Failed,
    /// It was ended by order.
    Cancelled,
}

impl RunRecord {
    /// Whether its results go to a branch of its own, and not to where it began.
    #[must_use]
    pub fn has_own_branch(&self) -> bool {
        let branch = |target: &Option<Target>| target.as_ref().map(|target| target.branch.clone());
        branch(&self.spec.target) != branch(&self.target)
    }
}

impl RunOutcome {
    /// Its name, as stored and shown. Once released, a name keeps its meaning.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A run event that doesn't fit the run's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run {run}: `{event}` doesn't fit a run that {state}")]
pub struct IllegalRunEvent {
    /// The run.
    pub run: RunId,
    /// The event's name.
    pub event: &'static str,
    /// The state it met.
    pub state: &'static str,
}

impl Run {
    pub(crate) fn new(id: RunId, spec: Arc<RunSpec>, at: Timestamp) -> Self {
        let target = spec.target.clone();
        let record = RunRecord {
            spec,
            submitted_at: at,
            target,
            detour: None,
            cancel: None,
            outcome: None,
            finished_at: None,
        };
        Self { id, record, tasks: Vec::new(), dependents: Vec::new(), ended: 0, live: 0 }
    }

    /// Whether all its tasks have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.record.outcome.is_some()
    }

    pub(crate) fn apply(&mut self, at: Timestamp, event: &RunEvent) -> Result<(), IllegalRunEvent> {
        let state = if self.is_finished() { "has finished" } else { "is open" };
        let illegal = || IllegalRunEvent { run: self.id, event: event.name(), state };
        match (event, self.is_finished()) {
            (RunEvent::CancelRequested { reason }, false) => {
                self.record.cancel = Some(reason.clone())
            }
            (RunEvent::TargetMoved { head }, _) => match &mut self.record.target {
                Some(target) => target.head.clone_from(head),
                None => return Err(illegal()),
            },
            (RunEvent::TargetSwitched { branch, head, reason }, false) => {
                self.record.target = Some(Target { branch: branch.clone(), head: head.clone() });
                self.record.detour = Some(reason.clone());
            }
            (RunEvent::Finished { outcome }, false) => {
                self.record.outcome = Some(*outcome);
                self.record.finished_at = Some(at);
            }
            (RunEvent::Reopened, true) => {
                self.record.outcome = None;
                self.record.finished_at = None;
                self.record.cancel = None;
            }
            (
                RunEvent::Submitted { .. }
                | RunEvent::CancelRequested { .. }
                | RunEvent::TargetSwitched { .. }
                | RunEvent::Finished { .. }
                | RunEvent::Reopened,
                _,
            ) => return Err(illegal()),
        }
        Ok(())
    }
}
