//! The engine: everything that a coordinator decides.
//!
//! [`World`] is the coordinator's whole memory. [`World::decide`] answers one [`Input`] with a
//! [`Decision`]: the events that record it, the effects that follow once they are committed, and
//! the answer to whoever asked. [`World::apply`] folds an event into the memory; it is the only
//! way in which the memory changes for good, live as well as in recovery. [`World::settle`] then
//! derives what has become possible: tasks that are unblocked, offers that there is room for,
//! runs that are over.
//!
//! ```text
//!   Input --decide--> Decision { events, effects, answer }
//!                        | apply          ^
//!                        v                | settle, until nothing follows
//!                      World -------------+
//! ```
//!
//! It is synchronous and does no IO. Time and randomness come in as a [`Moment`]. Nothing here
//! knows how events are stored, how effects are carried out, or what an agent is.

mod admission;
mod claim;
mod command;
mod decision;
mod explain;
mod footprint;
mod input;
mod integration;
mod outcome;
mod rejection;
mod submission;
mod timer;
mod worker_session;
mod world;

pub use admission::Wait;
pub use decision::{
    Answer, Decision, Directives, Effect, Grant, HeldVerdict, Moment, Receipt, Standing, Verdict,
    Volatile,
};
pub use explain::{Explanation, Waiting};
pub use input::{Claim, Holder, Input, Resumption, Scope, Submission, WorkerRequest};
pub use rejection::{RefusalClass, Rejection};
pub use world::{Defect, Snapshot, StoredTasks, World};

#[cfg(test)]
mod tests;
