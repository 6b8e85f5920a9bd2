//! What the engine is asked.
//!
//! [`Input`] is closed: reading it tells everything that can make a coordinator act. The answers
//! are in [`super::decision`] and [`super::rejection`].

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rejection::RefusalClass;
use crate::attempt::{Report, WorkResult};
use crate::command::{CommandAnswer, CommandKind};
use crate::ids::{
    AttemptId, CommandSeq, Fence, OfferSeq, RequestId, RunId, SessionEpoch, TaskId, Timestamp,
    WorkerId,
};
use crate::placement::Constraint;
use crate::plan::{RunSpec, TaskSpec};
use crate::worker::{Duty, Held, Registration};

/// Everything that can make a coordinator act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody submits a run.
    Submit(Submission),
    /// Somebody orders something of tasks.
    Command {
        /// Of which.
        scope: Scope,
        /// What.
        kind: CommandKind,
        /// What is said to agents, or the reason for people.
        text: String,
        /// The name of the request. Whoever gives the input makes sure that it is given once.
        request: Option<Arc<str>>,
    },
    /// Somebody wants what has not succeeded in a finished run to be tried again.
    Resume(Resumption),
    /// Somebody decides what a worker does about new work.
    SetDuty {
        /// The worker.
        worker: WorkerId,
        /// What it is to do.
        duty: Duty,
    },
    /// A worker says or asks something.
    Worker(WorkerRequest),
    /// The integrator is about to move a target.
    PrepareIntegration {
        /// The attempt whose result it is.
        attempt: AttemptId,
        /// The branch that moves.
        branch: String,
        /// From this commit.
        old: String,
        /// To this one.
        new: String,
    },
    /// The integrator has moved a target.
    Integrated {
        /// The attempt whose result it is.
        attempt: AttemptId,
        /// The commit that integrated it.
        commit: String,
    },
    /// The integrator can't integrate a result.
    RefuseIntegration {
        /// The attempt whose result it is.
        attempt: AttemptId,
        /// What follows from it.
        class: RefusalClass,
        /// Why, in words for people and for the next attempt.
        reason: String,
    },
    /// A run's target was seen at another commit.
    ObserveTarget {
        /// The run.
        run: RunId,
        /// The commit.
        head: String,
    },
    /// A run's results must go to another branch.
    SwitchTarget {
        /// The run.
        run: RunId,
        /// The branch.
        branch: String,
        /// The commit it starts from.
        head: String,
        /// Why, in words for people.
        reason: String,
    },
    /// Offers that were published may have been lost on their way.
    OffersLost,
    /// The coordinator has started over a store that may hold unfinished work.
    Recover {
        /// The attempts of this machine whose final reports lie on its disk: their workers will
        /// register with them and deliver what was done.
        reported: Vec<Held>,
    },
    /// Time has passed.
    Tick,
}

/// What a worker says or asks. Each may be repeated: the second time has no effect and gets the
/// same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerRequest {
    /// Opens a session.
    Register(Registration),
    /// Proves its life and that of its attempts.
    Heartbeat {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionEpoch,
        /// The attempts that it holds.
        held: Vec<Held>,
    },
    /// Takes no new work and leaves when it has finished what it has.
    Drain {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionEpoch,
    },
    /// Ends its session in an orderly way.
    Leave {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionEpoch,
    },
    /// Wants an attempt that it was offered.
    Claim(Claim),
    /// An agent runs.
    Started(Holder),
    /// Work in progress was kept, so that another worker could go on from it.
    Snapshot {
        /// Which attempt, by whose grant.
        holder: Holder,
        /// What was kept.
        work: WorkResult,
    },
    /// An attempt is over.
    Finished {
        /// Which, by whose grant.
        holder: Holder,
        /// What came of it.
        report: Arc<Report>,
    },
    /// Asks what is wanted of an attempt.
    Look(Holder),
    /// Says what became of a command.
    Answered {
        /// In which attempt, by whose grant.
        holder: Holder,
        /// Which command.
        seq: CommandSeq,
        /// What became of it.
        answer: CommandAnswer,
    },
}

impl WorkerRequest {
    /// The worker that says it.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        match self {
            Self::Register(registration) => &registration.worker,
            Self::Heartbeat { worker, .. }
            | Self::Drain { worker, .. }
            | Self::Leave { worker, .. } => worker,
            Self::Claim(claim) => &claim.worker,
            Self::Started(holder)
            | Self::Snapshot { holder, .. }
            | Self::Finished { holder, .. }
            | Self::Look(holder)
            | Self::Answered { holder, .. } => &holder.worker,
        }
    }
}

impl From<WorkerRequest> for Input {
    fn from(request: WorkerRequest) -> Self {
        Self::Worker(request)
    }
}

/// A run that somebody submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its specification.
    pub spec: Arc<RunSpec>,
    /// Its tasks, in the order of the plan.
    pub tasks: Vec<TaskSpec>,
    /// When that was read which the plan was made from. Work streams that have been finished since
    /// are not done again.
    pub planned_at: Timestamp,
}

/// A finished run that is to be opened again, and what has become of its work meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumption {
    /// The run.
    pub run: RunId,
    /// The commit that its target is at now, when it has one.
    pub head: Option<String>,
    /// Its tasks that somebody else has done.
    pub done: BTreeSet<TaskId>,
}

/// Of which tasks something is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Scope {
    /// Of all tasks of all open runs.
    All,
    /// Of all tasks of all open runs but these and those that these still depend on: they couldn't
    /// go on without them.
    AllBut(BTreeSet<TaskId>),
    /// Of all tasks of one run.
    Run(RunId),
    /// Of one task; when it ends without success, those that depend on it can't run.
    Task(TaskId),
    /// Of one task, if this is still its attempt.
    Attempt(AttemptId),
    /// Of the tasks whose attempts a worker holds.
    Worker(WorkerId),
    /// Of the tasks whose attempts are held by workers with such a label.
    Label(Constraint),
}

/// A worker's answer to an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Names the claim, so that its retry gets the same answer.
    pub request: RequestId,
    /// The attempt that was offered.
    pub attempt: AttemptId,
    /// Which publication of the offer is answered.
    pub offer: OfferSeq,
    /// Who claims.
    pub worker: WorkerId,
    /// In which session.
    pub session: SessionEpoch,
}

/// The holder of an attempt, as each of its reports names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The attempt.
    pub attempt: AttemptId,
    /// The fence of the grant.
    pub fence: Fence,
    /// The worker.
    pub worker: WorkerId,
    /// Its session.
    pub session: SessionEpoch,
}
