//! Process scaffold: what every Kapelle process needs around its real work.
//!
//! Time and identifiers enter the program here ([`clock`], [`identity`]), what it says of itself
//! leaves it here ([`telemetry`]), and its configuration is read here ([`config`]).
//! Nothing in this crate knows about runs, tasks or agents beyond the words of their settings.

pub mod clock;
pub mod config;
pub mod identity;
pub mod telemetry;
