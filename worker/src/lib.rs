//! Placeholder

pub mod process;
