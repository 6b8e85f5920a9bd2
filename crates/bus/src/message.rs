//! What travels between coordinator and workers.

use kapelle_domain::engine::{Answer, Holder, Rejection, WorkerRequest};
use kapelle_domain::ids::{AttemptId, OfferSeq, Timestamp};
use kapelle_domain::placement::Class;
use tokio::sync::oneshot;

/// An attempt that any worker which satisfies the class may claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The attempt.
    pub attempt: AttemptId,
    /// Which publication this is.
    pub offer: OfferSeq,
    /// What a worker must satisfy.
    pub class: Class,
}

/// The coordinator's answer.
pub type Reply = Result<Answer, Refusal>;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is against the rules; repeating it doesn't help.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The coordinator can't record anything at this moment; repeat the request later.
    #[error("the coordinator can't record anything at this moment: {reason}")]
    Unavailable {
        /// Why, in words for people.
        reason: String,
    },
}

/// A request at the coordinator's end, with the way back for its answer.
#[derive(Debug)]
pub struct Inbound {
    /// What is asked.
    pub request: WorkerRequest,
    /// Where the answer goes. The asker may be gone; that is no error.
    pub reply: oneshot::Sender<Reply>,
    /// The W3C trace context that came with it.
    pub trace: Option<String>,
}

/// Tells a worker to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poke {
    /// At this attempt.
    Attempt(AttemptId),
    /// By proving its life at once: the answer has something new for it, or pokes were lost.
    Hail,
}

/// Output of an agent, in order and without gaps within its attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Which attempt, by whose grant.
    pub holder: Holder,
    /// The number of the first line, from 1.
    pub first: u64,
    /// The lines.
    pub lines: Vec<OutputLine>,
}

/// One line of an attempt's transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    /// When the worker read it, by the worker's clock. For display only.
    pub at: Timestamp,
    /// What kind of line it is.
    pub lane: OutputLane,
    /// The text, bounded by the worker.
    pub text: String,
}

/// What kind of line a line of a transcript is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputLane {
    /// Standard output of the agent.
    Stdout,
    /// Standard error of the agent.
    Stderr,
    /// Something that the agent reported in a structured form.
    Agent,
    /// The worker's own words: what it prepared, checked, left out.
    Worker,
}

impl OutputLane {
    /// Its name, as stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Agent => "agent",
            Self::Worker => "worker",
        }
    }
}
