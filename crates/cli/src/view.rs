//! The types that the service speaks in, under a short name.

pub use kapelle_coordinator::service::view::*;
