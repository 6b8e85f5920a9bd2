//! The crate against real repositories, real git and hostile trees.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod advance;
mod advance_kill;
mod clean;
mod discovery;
mod fixture;
mod history;
mod integration;
mod snapshot;
