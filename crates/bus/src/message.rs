//! What travels between coordinator and workers.

use std::sync::Arc;

use kapelle_domain::attempt::Report;
use kapelle_domain::engine::{Answer, Claim, Holder, Rejection};
use kapelle_domain::ids::{AttemptId, CommandSeq, OfferSeq, SessionEpoch, Timestamp, WorkerId};
use kapelle_domain::worker::{Held, Registration};
use tokio::sync::oneshot;

/// An attempt that any worker with the agent may claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The attempt.
    pub attempt: AttemptId,
    /// Which publication this is.
    pub offer: OfferSeq,
    /// The agent that is needed.
    pub agent: Arc<str>,
}

/// What a worker asks or reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerRequest {
    /// Opens a session.
    Register(Registration),
    /// Proves life.
    Heartbeat {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionEpoch,
        /// The attempts that it holds.
        held: Vec<Held>,
    },
    /// Takes no new work from now on.
    Drain {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionEpoch,
    },
    /// Ends its session.
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
    /// An attempt is over.
    Finished {
        /// Which, by whose grant.
        holder: Holder,
        /// What came of it.
        report: Arc<Report>,
    },
    /// Asks what is wanted of an attempt.
    Look(Holder),
    /// An agent took a command.
    CommandApplied {
        /// Which attempt, by whose grant.
        holder: Holder,
        /// Which command.
        seq: CommandSeq,
    },
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
}

/// Tells a worker to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poke {
    /// At this attempt.
    Attempt(AttemptId),
    /// At everything it holds: pokes were lost.
    All,
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
