//! The pure rules of Kapelle: what a roadmap says, what a goal means, and how the engine decides.
//!
//! Nothing here does IO, reads a clock, draws randomness or knows of tokio, SQL, NATS or protobuf.
//! Time, ids and random seeds are inputs, so that the same inputs always give the same history:
//! live execution, recovery after a crash and the property tests all run this very code.

pub mod admission;
pub mod attempt;
pub mod command;
pub mod engine;
pub mod event;
pub mod goal;
pub mod ids;
pub mod placement;
pub mod plan;
pub mod policy;
pub mod prompt;
pub mod roadmap;
pub mod run;
pub mod selection;
pub mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod words;
pub mod worker;
