//! A control request as it comes off a bus, read: the same for every bus.

use super::{BODY_BYTES_MAX, ControlOrder, Encoding, NO_REQUEST_ID, Receipt, Unusable, shortened};
use crate::subject::{AgentName, ControlVerb, Subjects};
use crate::wire;

/// A request that nobody has read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'m> {
    pub(crate) subject: &'m str,
    pub(crate) content_type: Option<&'m str>,
    pub(crate) body: &'m [u8],
}

/// Reads a request. Also gives the encoding that receipts have to be in. What can't be read is
/// refused with a receipt.
pub(crate) fn read(
    subjects: &Subjects,
    incoming: Incoming<'_>,
) -> (Encoding, Result<ControlOrder, Receipt>) {
    let Incoming { subject, content_type, body } = incoming;
    let encoding = Encoding::of(content_type);
    let order = match (encoding, addressee(subjects, subject)) {
        (_, None) => Err(Receipt::rejected(
            NO_REQUEST_ID,
            "unknown_subject",
            format!("nothing is done under {}", shortened(subject)),
            "`kapelle schema asyncapi` describes the subjects",
        )),
        (None, Some(_)) => {
            let content_type = shortened(content_type.unwrap_or_default()).into_owned();
            Err(refusal(&Unusable::UnknownEncoding { content_type }))
        }
        (Some(_), Some(_)) if body.len() > BODY_BYTES_MAX => {
            Err(refusal(&Unusable::TooLarge { bytes: body.len() }))
        }
        (Some(encoding), Some((agent, verb))) => {
            wire::decode_control(verb, agent, encoding, body).map_err(|error| refusal(&error))
        }
    };
    (encoding.unwrap_or(Encoding::Json), order)
}

/// Which agent, if it is one, is told what.
fn addressee(subjects: &Subjects, subject: &str) -> Option<(Option<AgentName>, ControlVerb)> {
    match subjects.read_broadcast(subject) {
        Some(verb) => Some((None, verb)),
        None => subjects.read_agent(subject).map(|(agent, verb)| (Some(agent), verb)),
    }
}

fn refusal(error: &Unusable) -> Receipt {
    Receipt::rejected(NO_REQUEST_ID, error.code(), error.to_string(), error.hint())
}
