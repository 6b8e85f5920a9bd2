//! The wire contract: what travels on the bus, generated from `kapelle/v1/*.proto`.
//!
//! Only `kapelle-bus` uses these types; it converts them from and to the domain's. Nothing is
//! validated here, and nothing here knows a subject.
//!
//! The contract grows by addition: a new field has a new number and a default that means "as
//! before", a removed one leaves its number reserved, and what can't be expressed that way goes
//! into a package `kapelle.v2`. Enumerations have a zero that says nothing, and whoever reads one
//! refuses it, so that nothing unknown is ever taken for something known.

/// Version 1 of the contract.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/kapelle.v1.rs"));
}
