//! What the engine is asked, and the forms of its answers.
//!
//! [`Input`] is closed: reading it tells everything that can make a coordinator act.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::Report;
use crate::command::Command;
use crate::event::Event;
use crate::ids::{
    AttemptId, CommandSeq, Fence, OfferSeq, RequestId, RunId, SessionEpoch, TaskId, Timestamp,
    WorkerId,
};
use crate::plan::{InvalidPlan, RunSpec, TaskSpec};
use crate::worker::{Held, Registration};

/// The time and the randomness of one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// A uniform random number, new for each decision.
    pub random: u64,
}

/// Everything that can make a coordinator act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody submits a run.
    Submit(Submission),
    /// Somebody wants something to end.
    Stop {
        /// What.
        scope: Scope,
        /// Why, in words for people.
        reason: String,
    },
    /// Somebody wants what has not succeeded in a finished run to be tried again.
    Resume {
        /// The run.
        run: RunId,
    },
    /// Somebody says something to a task.
    Say {
        /// The task.
        task: TaskId,
        /// What.
        text: String,
    },
    /// A worker opens a session.
    Register(Registration),
    /// A worker proves its life and that of its attempts.
    Heartbeat {
        /// Which worker.
        worker: WorkerId,
        /// In which session.
        session: SessionEpoch,
        /// The attempts that it holds.
        held: Vec<Held>,
    },
    /// A worker takes no new work.
    Drain {
        /// Which worker.
        worker: WorkerId,
        /// In which session.
        session: SessionEpoch,
    },
    /// A worker ends its session in an orderly way.
    Leave {
        /// Which worker.
        worker: WorkerId,
        /// In which session.
        session: SessionEpoch,
    },
    /// A worker wants an attempt that it was offered.
    Claim(Claim),
    /// A worker reports that an agent runs.
    Started(Holder),
    /// A worker reports that an attempt is over.
    Finished {
        /// Which attempt, by whose grant.
        holder: Holder,
        /// What came of it.
        report: Arc<Report>,
    },
    /// A worker asks what is wanted of an attempt.
    Look(Holder),
    /// A worker reports that an agent took a command.
    CommandApplied {
        /// Which attempt, by whose grant.
        holder: Holder,
        /// Which command.
        seq: CommandSeq,
    },
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
        /// Whether the work or the machinery is the reason.
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
    /// The coordinator has started over a store that may hold unfinished work.
    Recover,
    /// Time has passed.
    Tick,
}

/// A run that somebody submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its specification.
    pub spec: Arc<RunSpec>,
    /// Its tasks, in the order of the plan.
    pub tasks: Vec<TaskSpec>,
}

/// What is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Scope {
    /// Every run.
    All,
    /// One run.
    Run(RunId),
    /// One task; those that depend on it can't run then.
    Task(TaskId),
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
    /// Publish an offer to the workers that have the agent.
    Offer {
        /// The attempt.
        attempt: AttemptId,
        /// The publication.
        offer: OfferSeq,
        /// The agent that is needed.
        agent: Arc<str>,
    },
    /// Tell a worker to ask what is wanted of an attempt.
    Poke {
        /// The worker.
        worker: WorkerId,
        /// The attempt.
        attempt: AttemptId,
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
}

/// The answer to an input that was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answer {
    /// Done; there is nothing more to say.
    #[default]
    Done,
    /// The run was accepted, now or by an earlier submission of the same.
    Submitted(RunId),
    /// These tasks were told to end.
    Stopping(Vec<TaskId>),
    /// These tasks will be tried again.
    Resumed(Vec<TaskId>),
    /// The command was recorded.
    Said(Receipt),
    /// The session is open.
    Registered {
        /// Its number.
        session: SessionEpoch,
        /// What is to become of each attempt in the inventory.
        verdicts: Vec<HeldVerdict>,
    },
    /// The heartbeat was heard.
    Heard(Vec<HeldVerdict>),
    /// The attempt is the worker's.
    Granted(Box<Grant>),
    /// What is wanted of the attempt.
    Directives(Directives),
}

/// What became of something that was said to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The task.
    pub task: TaskId,
    /// The number of the command.
    pub seq: CommandSeq,
    /// The running attempt whose agent will be told, when there is one.
    pub attempt: Option<u32>,
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
    /// Whether to verify the result.
    pub verify: bool,
    /// How long the attempt may take.
    #[serde(with = "crate::policy::millis")]
    pub timeout: Duration,
}

/// What is wanted of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directives {
    /// Stop it, for this reason.
    pub cancel: Option<String>,
    /// Tell the agent these, in order.
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
    /// It is somebody else's, or over: stop it, report nothing.
    Fenced,
}

/// Whether the work or the machinery is the reason that a result can't be integrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// A conflict, a failed check: back to an agent.
    Work,
    /// A disk, a repository that can't be written: tried again.
    Machinery,
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
    /// There is nothing that could be stopped.
    #[error("nothing is running")]
    NothingToStop,
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
    #[error("task {task} has {} messages that no agent has taken yet", crate::command::PENDING_MAX)]
    TooManyCommands {
        /// The task.
        task: TaskId,
    },
}
