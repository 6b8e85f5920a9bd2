//! Between the domain's types and what travels on the wire (`kapelle-proto`).
//!
//! Whatever is read here comes from somebody else: anything that is missing, unknown or doesn't
//! fit is [`Malformed`] and never gets a meaning by default. No rule is applied; whether a report
//! is believed is decided in the domain.

mod answer;
mod control;
mod ids;
mod output;
mod report;
mod request;

use kapelle_domain::ids::Term;

pub(crate) use self::answer::{decode_answer, encode_answer, encode_unreadable};
pub(crate) use self::control::{decode_control, encode_receipt, encode_status};
pub(crate) use self::output::{
    decode_output, decode_output_reply, encode_output, encode_output_reply,
};
pub(crate) use self::request::{
    decode_offer, decode_poke, decode_request, encode_offer, encode_poke, encode_request, verb,
};

/// Something from the wire that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The bytes are no message of the kind.
    #[error("it is no {message}: {reason}")]
    Bytes {
        /// The kind.
        message: &'static str,
        /// Why.
        reason: String,
    },
    /// Something that must be there isn't.
    #[error("`{field}` is missing")]
    Missing {
        /// What.
        field: &'static str,
    },
    /// A value that this program doesn't know.
    #[error("`{field}` has the value {value}, which is unknown here")]
    Unknown {
        /// What.
        field: &'static str,
        /// Its value.
        value: String,
    },
}

/// An answer, and in which term of the coordinator it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InTerm<T> {
    pub(crate) term: Term,
    pub(crate) answered: Answered<T>,
}

/// What [`crate::Error::NoAnswer`] and its like don't say: how the other end answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered<T> {
    /// With this.
    With(T),
    /// It took the message and dropped it.
    Dropped,
    /// It can't read the message, for this reason.
    Unreadable(String),
}

fn decode<M: prost::Message + Default>(
    message: &'static str,
    bytes: &[u8],
) -> Result<M, Malformed> {
    M::decode(bytes).map_err(|error| Malformed::Bytes { message, reason: error.to_string() })
}

fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or(Malformed::Missing { field })
}

fn unknown(field: &'static str, value: impl ToString) -> Malformed {
    Malformed::Unknown { field, value: value.to_string() }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
