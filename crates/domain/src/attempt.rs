//! Attempts: one try at a task by one worker, and what comes back from it.
//!
//! The physical side of a task. Which attempt a task has, and what follows from its end, is the
//! engine's business.

mod transition;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Fence, OfferSeq, RequestId, SessionEpoch, Timestamp, WorkerId};
use crate::policy::millis;

/// One try at a task, as the coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which try this is, from 1.
    pub number: u32,
    /// Where it stands.
    pub phase: Phase,
    /// The newest publication of its offer.
    pub offer: OfferSeq,
    /// When it was first offered.
    pub offered_at: Timestamp,
    /// Who holds it, once it was granted.
    pub grant: Option<Granted>,
    /// When the worker reported that the agent runs.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The last proof of life. Kept in memory only: after a restart each attempt gets the full
    /// time again, because nothing may expire for the coordinator's own absence.
    #[serde(skip)]
    pub renewed_at: Timestamp,
    /// Since when this coordinator has watched the agent run; for the same reason in memory only.
    #[serde(skip)]
    pub watched_from: Timestamp,
    /// Whether its final report lies on its worker's disk, found when this coordinator started,
    /// and the worker has not come back yet. In memory only: the next one looks again.
    #[serde(skip)]
    pub report_waits: bool,
    /// When its agent was ordered to stop, and why.
    pub cancel: Option<Cancellation>,
    /// Whether it was ordered to stop only to make room: its task waits for the next attempt then.
    #[serde(default)]
    pub yields: bool,
    /// Since when its processes are frozen, while they are.
    #[serde(default)]
    pub paused_at: Option<Timestamp>,
    /// How long they were frozen since `watched_from`; this time doesn't count against the
    /// attempt's limit.
    #[serde(skip)]
    pub paused_for: Duration,
    /// How it ended.
    pub report: Option<Arc<Report>>,
}

/// The grant of an attempt to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The fence that every report must carry.
    pub fence: Fence,
    /// The worker that holds it.
    pub worker: WorkerId,
    /// The worker's registration at that time.
    pub session: SessionEpoch,
    /// The claim that was granted; its retry gets the same grant.
    pub request: RequestId,
    /// The commit that the work starts from.
    pub base: Option<String>,
    /// The attempt whose work in progress it goes on from, if it does.
    #[serde(default)]
    pub goes_on_from: Option<u32>,
    /// Whether the worker dies with the coordinator that granted it.
    pub embedded: bool,
    /// When it was granted.
    pub at: Timestamp,
}

impl Granted {
    /// Whether the work stands on the commit that was granted.
    #[must_use]
    pub fn is_base_of(&self, work: &WorkResult) -> bool {
        self.base.as_ref() == Some(&work.base)
    }
}

/// An order to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// Why, in words for people.
    pub reason: String,
    /// When it was given.
    pub at: Timestamp,
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Published; no worker has it.
    Offered,
    /// Granted; the agent hasn't started.
    Claimed,
    /// The agent runs.
    Running,
    /// No proof of life for longer than the lease; still the holder's, nobody else may start.
    Suspect,
    /// Ordered to stop; the agent may still run.
    Cancelling,
    /// Over, for ever.
    Ended,
}

impl Phase {
    /// Its name, as stored and shown. Once released, a name keeps its meaning.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Suspect => "suspect",
            Self::Cancelling => "cancelling",
            Self::Ended => "ended",
        }
    }

    /// Whether a worker holds the attempt, so that it counts against limits.
    #[must_use]
    pub fn is_held(self) -> bool {
        match self {
            Self::Claimed | Self::Running | Self::Suspect | Self::Cancelling => true,
            Self::Offered | Self::Ended => false,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The agent ended well and everything that was checked passed.
    Completed,
    /// The agent said that it was done; the checks say that it isn't.
    ChecksFailed,
    /// The agent ended with an error.
    AgentFailed,
    /// The attempt took longer than it may.
    TimedOut,
    /// The agent's provider refused for now.
    RateLimited {
        /// How long it asked us to wait.
        #[serde(with = "millis")]
        retry_after: Duration,
    },
    /// The machinery failed: no disk, no workspace, a spool that can't be written.
    Infrastructure,
    /// It can never run as it is configured: the program is missing, the base is unknown.
    Unrunnable,
    /// Stopped by order.
    Cancelled,
    /// The worker was not heard of for too long, or came back without the attempt.
    Lost,
    /// The worker ended in an orderly way, or together with its coordinator, before the agent did.
    Interrupted,
    /// Never granted; the offer was taken back.
    Withdrawn,
}

/// Which budget a failure counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The work failed.
    Application,
    /// The machinery failed.
    Infrastructure,
    /// A provider asked to wait.
    RateLimit,
    /// The work is done and kept; something beside it keeps it from being integrated.
    Integration,
    /// No retry can help.
    Final,
    /// Nobody's fault: tried again at once, and not counted.
    Uncounted,
}

impl Outcome {
    /// Its name, as stored and shown. Once released, a name keeps its meaning.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ChecksFailed => "checks_failed",
            Self::AgentFailed => "agent_failed",
            Self::TimedOut => "timed_out",
            Self::RateLimited { .. } => "rate_limited",
            Self::Infrastructure => "infrastructure",
            Self::Unrunnable => "unrunnable",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Interrupted => "interrupted",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// How long whoever refused asked us to wait, where somebody did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Completed
            | Self::ChecksFailed
            | Self::AgentFailed
            | Self::TimedOut
            | Self::Infrastructure
            | Self::Unrunnable
            | Self::Cancelled
            | Self::Lost
            | Self::Interrupted
            | Self::Withdrawn => None,
        }
    }

    /// The budget that this outcome counts against; `None` for success and for ordered stops.
    #[must_use]
    pub fn failure_class(&self) -> Option<FailureClass> {
        match self {
            Self::Completed | Self::Cancelled => None,
            Self::ChecksFailed | Self::AgentFailed | Self::TimedOut => {
                Some(FailureClass::Application)
            }
            Self::Infrastructure | Self::Lost => Some(FailureClass::Infrastructure),
            Self::RateLimited { .. } => Some(FailureClass::RateLimit),
            Self::Unrunnable => Some(FailureClass::Final),
            Self::Interrupted | Self::Withdrawn => Some(FailureClass::Uncounted),
        }
    }
}

/// What a worker reports of an attempt that has ended. Hostile until checked: the coordinator
/// believes the fence, and verifies the rest again before anything is integrated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// One or two lines for people: what was done, or what went wrong.
    pub summary: String,
    /// How the agent's process ended, when it was started.
    pub exit: Option<ProcessExit>,
    /// What the checks found, all of them taken together.
    pub verdict: Verdict,
    /// Each check.
    pub checks: Vec<Check>,
    /// What the agent left, when that could be kept.
    pub result: Option<WorkResult>,
    /// What it cost.
    pub usage: Usage,
}

impl Report {
    /// A report of an end that the coordinator itself states.
    #[must_use]
    pub fn stated(outcome: Outcome, summary: impl Into<String>) -> Self {
        Self {
            outcome,
            summary: summary.into(),
            exit: None,
            verdict: Verdict::Unknown,
            checks: Vec::new(),
            result: None,
            usage: Usage::default(),
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExit {
    /// Its exit code, when it exited.
    pub code: Option<i32>,
    /// The signal that ended it, when one did.
    pub signal: Option<i32>,
}

/// What verification says. Unknown blocks as fail does: reported is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every check ran and passed.
    Pass,
    /// At least one check ran and failed.
    Fail,
    /// At least one check could not be run to its end, and none failed.
    Unknown,
}

impl Verdict {
    /// Its name, as stored and shown. Once released, a name keeps its meaning.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// The name of an entry among the checks of a result that is none: its detail is something that
/// people should know. It always passes.
pub const NOTE: &str = "note";

/// How the detail of a check begins that failed and is configured not to count.
pub const ONLY_A_WARNING: &str = "only a warning, so it doesn't count: ";

/// One check of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, such as `exit code`, `changes` or a configured command's.
    pub name: String,
    /// What it says.
    pub verdict: Verdict,
    /// Why, or the end of its output; bounded by whoever makes it.
    pub detail: String,
    /// How long it took.
    #[serde(with = "millis")]
    pub took: Duration,
}

/// What an agent left behind, kept as a commit on top of the base in a git bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkResult {
    /// The commit.
    pub commit: String,
    /// The base it stands on.
    pub base: String,
    /// Where the bundle lies, as the bus names it.
    pub bundle: String,
    /// Its size.
    pub bundle_bytes: u64,
    /// How many files changed.
    pub files_changed: u32,
    /// Lines added, over all text files.
    pub lines_added: u64,
    /// Lines deleted, over all text files.
    pub lines_deleted: u64,
}

/// What an attempt used up. Unknown money is `None`, never zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that went in.
    pub input_tokens: u64,
    /// Tokens that came out.
    pub output_tokens: u64,
    /// Money in millionths of a US dollar.
    pub cost_microusd: Option<u64>,
}

impl Usage {
    /// Both together. Money is known only where both are known, or one of them used nothing.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let idle = |usage: Self| usage.input_tokens == 0 && usage.output_tokens == 0;
        let cost_microusd = match (self.cost_microusd, other.cost_microusd) {
            (Some(one), Some(two)) => Some(one.saturating_add(two)),
            (Some(one), None) if idle(other) => Some(one),
            (None, Some(two)) if idle(self) => Some(two),
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cost_microusd,
        }
    }
}
