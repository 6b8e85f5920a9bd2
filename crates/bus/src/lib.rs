//! The seam between the coordinator and its workers.
//!
//! A message is a hint, a request, or an idempotent report; only what the coordinator has
//! committed is a fact. So a bus may lose, repeat or reorder anything, and nothing here promises
//! more than that it tries:
//!
//! - *offers* go to any worker that satisfies their class; the coordinator publishes lost ones again;
//! - *requests* of workers are answered by the coordinator; a worker repeats what got no answer;
//! - *pokes* tell a worker to ask what is wanted of an attempt; a heartbeat finds out as well;
//! - *output* of agents has a lane of its own, so that no control message queues behind it;
//! - *blobs* are files that move between machines.
//!
//! [`CoordinatorEnd`] and [`WorkerEnd`] are the two ends. [`memory`] joins them within one process,
//! [`nats`] between machines. Anybody who may can also steer agents, by the subjects of [`control`]. What a
//! message makes happen is decided in `kapelle-domain`; no rule is applied here.

pub mod blob;
pub mod conformance;
pub mod control;
mod ends;
pub mod freight;
pub mod memory;
mod message;
pub mod nats;
pub mod subject;
mod wire;

pub use ends::{CoordinatorEnd, InboundOutput, Pokes, Taken, WorkerEnd};
pub use message::{Inbound, Offer, OutputChunk, OutputLane, OutputLine, Poke, Refusal, Reply};

/// A message that could not be brought to the other end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The other end is gone and doesn't come back.
    #[error("the other end of the bus is closed")]
    Closed,
    /// No answer came; whether the request had an effect is unknown. Repeat it.
    #[error("no answer came")]
    NoAnswer,
    /// It can't be sent or can't be read, now and later: it is too long, in the name of somebody
    /// else, or of a version that the other end doesn't know.
    #[error("the message was refused: {reason}")]
    Refused {
        /// Why, in words for people.
        reason: String,
    },
}
