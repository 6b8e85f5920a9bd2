//! The coordinator: decides, records, integrates and answers.
//!
//! - [`dispatch`] owns the memory that everything is decided from, and commits;
//! - [`integrate`] brings results into the target, one after the other;
//! - [`results`] is how results come in, and the end of what they leave behind;
//! - [`histories`] brings what work starts from to workers on other machines, [`progress`] what was
//!   done by those that were lost;
//! - [`admission`] lets machines into the fleet, and shuts them out;
//! - [`transcripts`] keeps what agents print;
//! - [`service`] is what can be asked, one function for each use; [`http`] translates to it, and
//!   [`control`] for clients of the bus.
//!
//! The rules themselves are in `kapelle-domain`; agents are run by `kapelle-worker`.

pub mod admission;
pub mod control;
pub mod dispatch;
pub mod histories;
pub mod http;
pub mod integrate;
pub mod progress;
pub mod project;
pub mod results;
pub mod service;
#[cfg(test)]
mod tests;
pub mod transcripts;
