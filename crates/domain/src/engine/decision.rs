//! What the engine answers: decisions, and the parts that they are made of.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::WorkResult;
use crate::command::{Command, CommandState};
use crate::event::Event;
use crate::ids::{
    AttemptId, CommandSeq, Fence, OfferSeq, RunId, SessionEpoch, TaskId, Timestamp, WorkerId,
};
use crate::placement::Class;
use crate::worker::Duty;

/// The time and the randomness of one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// A uniform random number, new for each decision.
    pub random: u64,
}

/// What is decided on one input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What has happened; to be committed before anything else is done.
    pub events: Vec<Event>,
    /// What is to be done once the events are committed.
    pub effects: Vec<Effect>,
    /// What changes in memory only.
    pub volatile: Option<Volatile>,
    /// The answer to whoever asked.
    pub answer: Answer,
}

/// Something to be done after the commit. Each may be lost with a crash and is derived again
/// from the state in recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Publish an offer to the workers that satisfy the class.
    Offer {
        /// The attempt.
        attempt: AttemptId,
        /// The publication.
        offer: OfferSeq,
        /// What a worker must satisfy.
        class: Class,
    },
    /// Tell a worker to ask what is wanted of an attempt.
    Poke {
        /// The worker.
        worker: WorkerId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Tell a worker to prove its life now, because the answer has something new for it.
    Hail {
        /// The worker.
        worker: WorkerId,
    },
    /// Integrate the result of an attempt.
    Integrate {
        /// The attempt.
        attempt: AttemptId,
    },
}

/// A change that is never stored, because it means nothing after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volatile {
    /// A worker was heard of, and vouches for these attempts.
    Heard {
        /// The worker.
        worker: WorkerId,
        /// The tasks whose current attempts it vouches for.
        tasks: Vec<TaskId>,
    },
    /// The reports of these tasks' attempts wait on disk. Nobody will prove that the attempts are
    /// alive until their worker is back, and they are not lost for that.
    Reported {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
}

/// The answer to an input that was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answer {
    /// Done; there is nothing more to say.
    #[default]
    Done,
    /// The run was accepted, now or by an earlier submission of the same.
    Submitted(RunId),
    /// The command was recorded, for each task that it concerns.
    Commanded(Vec<Receipt>),
    /// These tasks will be tried again.
    Resumed(Vec<TaskId>),
    /// The session is open.
    Registered {
        /// Its number.
        session: SessionEpoch,
        /// How the worker stands with the coordinator.
        standing: Standing,
    },
    /// The heartbeat was heard.
    Heard(Standing),
    /// The attempt is the worker's.
    Granted(Box<Grant>),
    /// What is wanted of the attempt.
    Directives(Directives),
    /// The result came too late to count. It is kept, and may be looked at; it will never be
    /// merged by itself.
    Orphaned,
}

/// How a worker stands with the coordinator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What is to become of each attempt that it holds.
    pub verdicts: Vec<HeldVerdict>,
    /// The classes whose offers it may take.
    pub classes: Vec<Class>,
    /// What it is to do about new work.
    pub duty: Duty,
}

/// What became of a command, as far as is known when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The task.
    pub task: TaskId,
    /// The number of the command among those of the task.
    pub seq: CommandSeq,
    /// The running attempt that it concerns, when there is one.
    pub attempt: Option<u32>,
    /// What became of it already.
    pub state: CommandState,
}

/// Everything that a worker needs to make an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The attempt.
    pub attempt: AttemptId,
    /// The fence that every report must carry.
    pub fence: Fence,
    /// The task's name within its run.
    pub key: String,
    /// What it is about, in one line.
    pub title: String,
    /// The agent that is to do it.
    pub agent: Arc<str>,
    /// The repository it works on.
    pub repository: Arc<str>,
    /// What the agent is told.
    pub prompt: String,
    /// The commit to start from; `None` when the repository has none to offer.
    pub base: Option<String>,
    /// Work in progress of an attempt that was cut off, to go on from. It stands on `base`.
    pub snapshot: Option<WorkResult>,
    /// Whether to verify the result.
    pub verify: bool,
    /// How long the attempt may take.
    #[serde(with = "crate::policy::millis")]
    pub timeout: Duration,
    /// Without an answered heartbeat for this long, the attempt may be given to somebody else: its
    /// worker must have ended it by then.
    #[serde(with = "crate::policy::millis")]
    pub lost_after: Duration,
}

/// What is wanted of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directives {
    /// Stop it, for this reason.
    pub cancel: Option<String>,
    /// Whether its processes are to be frozen.
    pub paused: bool,
    /// What was ordered and has had no effect yet, in order.
    pub commands: Vec<Command>,
}

/// What is to become of an attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldVerdict {
    /// The attempt.
    pub attempt: AttemptId,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// What is to become of an attempt that a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Go on.
    Keep,
    /// Go on, and ask what is wanted of it.
    Look,
    /// It is somebody else's, or over: stop it. What it has done may still be handed in, and is
    /// then kept aside.
    Fenced,
}
