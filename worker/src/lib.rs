//! The worker: makes attempts.
//!
//! - [`daemon`] takes offers and holds the session with the coordinator;
//! - [`attempt`] makes one attempt: clone, agent, snapshot, checks, report;
//! - [`carrier`] brings history and results from and to other machines;
//! - [`spool`] keeps on disk what has to be reported, until the coordinator has it;
//! - [`process`] runs programs so that all of them end; [`verify`] runs checks with it, and
//!   [`programs`] asks agents' programs who they are;
//! - [`agent_line`] is what agents and the worker may say to each other, [`scripted`] an agent
//!   that plays a script.
//!
//! What runs, and what becomes of it, is decided by the coordinator. Nothing here touches the
//! store.

pub mod agent_line;
pub mod attempt;
pub mod carrier;
pub mod daemon;
pub mod process;
pub mod programs;
pub mod scripted;
pub mod spool;
mod transcript;
pub mod verify;
