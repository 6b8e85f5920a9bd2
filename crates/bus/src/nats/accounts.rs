//! Tells the server what it is to know of the account: the roles, and who was revoked.
//!
//! This is said on a connection of its own, as a user of the system's account, and whenever the
//! server may have lost it. A server that is told of a revoked key closes its connections at once.

use std::sync::Arc;

use serde_json::Value;

use super::authority::{Authority, Revoked, Unsigned};
use super::connection::{Asked, Connection, Counters, Identity};
use super::error::Error;
use super::options::NatsOptions;
use super::permissions::CLAIMS_SUBJECT;
use crate::subject;

impl From<Unsigned> for Error {
    fn from(unsigned: Unsigned) -> Self {
        Self::Credentials { reason: unsigned.to_string() }
    }
}

/// Tells the server of `options` what it is to know of the account, as of `now` in seconds since
/// 1970. Who is connected with one of the `revoked` keys is cut off.
///
/// # Errors
/// When it can't be told, or doesn't take it.
pub async fn publish_account(
    options: &NatsOptions,
    authority: &Authority,
    revoked: &Revoked,
    now: u64,
) -> Result<(), Error> {
    let claims = authority.account_claims(&options.root, revoked, now)?;
    let options = NatsOptions { credentials: authority.messenger()?, ..options.clone() };
    let identity =
        Identity { name: "coordinator accounts".to_owned(), inbox: subject::coordinator_inbox() };
    let connection = Connection::open(&options, identity, Arc::<Counters>::default()).await?;
    let told = tokio::select! {
        told = connection.ask(CLAIMS_SUBJECT.to_owned(), claims.into_bytes()) => told,
        denied = connection.denied() => return Err(denied),
    };
    let refused =
        |reason: String| Error::Accounts { servers: connection.servers().to_owned(), reason };
    match told {
        Asked::Answered(answer) => verdict(&answer.payload).map_err(refused),
        Asked::Nobody => Err(refused("it keeps none".to_owned())),
        Asked::Silence => Err(Error::Silent { doing: "it was told who may connect".to_owned() }),
        Asked::Unsendable(reason) => Err(refused(reason)),
    }
}

/// What the server says to new claims.
fn verdict(answer: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    if answer.pointer("/data/code").and_then(Value::as_u64) == Some(200) {
        return Ok(());
    }
    let description = answer.pointer("/error/description").and_then(Value::as_str);
    Err(description.unwrap_or("it gives no reason").to_owned())
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn only_a_yes_is_one() {
        assert_eq!(verdict(br#"{"server":{},"data":{"code":200}}"#), Ok(()));
        let refused = br#"{"error":{"code":500,"description":"jwt update resulted in error"}}"#;
        assert_eq!(verdict(refused), Err("jwt update resulted in error".to_owned()));
        for answer in [&b""[..], b"{}", b"+OK", br#"{"data":{"code":500}}"#] {
            assert!(verdict(answer).is_err());
        }
    }
}
