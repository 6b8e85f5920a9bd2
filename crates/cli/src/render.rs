//! How each answer of the service looks: one file for each thing that can be looked at.
//!
//! Renderings are pure: a view and a [`Canvas`](crate::output::Canvas) in, text out.

mod attempt;
mod command;
mod event;
mod goal;
mod markdown;
mod report;
mod run;
mod status;
mod stop;
mod task;
mod why;
mod worker;

pub use attempt::notes;
pub use event::{clock_time, event_line, what};
pub use markdown::markdown;
pub use run::{counts_line, progress};
pub use status::summary;
pub use task::{TaskDetail, elapsed, who};
pub use why::Answers;
pub use worker::{Invitation, Revocation, Workers};

#[cfg(test)]
pub(crate) mod fixtures;
