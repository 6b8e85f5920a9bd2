//! What each role may do on a fleet's NATS server.
//!
//! Everybody has an NKey of their own, and the server lets each do only what its role needs. It
//! can't look into messages, so two rules are kept by the ends themselves: the coordinator answers a
//! worker only in the worker's own inboxes, and a worker takes a poke only from a coordinator.
//!
//! Two grants that are common elsewhere are left out on purpose. Permission to publish
//! acknowledgments would let a worker acknowledge what others were given; permission to *respond*
//! covers exactly what it was given itself. And whoever may create a consumer can have the server
//! deliver messages to any subject, so only the coordinator may.
//!
//! Where a role's subjects hold the name of its bearer, the server fills it in from signed claims.

use std::fmt;
use std::time::Duration;

use super::blobs::{Bucket, stream_of};
use super::layout;
use crate::subject::{self, Subjects, WorkerName};

/// What stands for the bearer's name in the subjects of a role.
const BEARER: &str = "{{name()}}";

/// Where a server takes new claims of an account.
pub(super) const CLAIMS_SUBJECT: &str = "$SYS.REQ.CLAIMS.UPDATE";

/// The public half of an NKey that belongs to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(String);

/// Text that is no public key of a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the public NKey of a user; one starts with U and has 56 characters")]
pub struct InvalidKey {
    /// The text as given.
    pub text: String,
}

impl PublicKey {
    /// Checks a key.
    ///
    /// # Errors
    /// When it isn't the public NKey of a user.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        match nkeys::KeyPair::from_public_key(&text) {
            Ok(pair) if pair.key_pair_type() == nkeys::KeyPairType::User => Ok(Self(text)),
            Ok(_) | Err(_) => Err(InvalidKey { text }),
        }
    }

    /// The public half of a user's key.
    pub(super) fn of(pair: &nkeys::KeyPair) -> Self {
        Self(pair.public_key())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the owner of the key has signed `text`.
    #[must_use]
    pub fn has_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        nkeys::KeyPair::from_public_key(&self.0)
            .is_ok_and(|pair| pair.verify(text, signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What somebody is on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A coordinator, active or not.
    Coordinator,
    /// A worker; the name of the bearer is its own.
    Worker,
    /// Somebody with an invitation, whose id is the name of the bearer.
    Guest,
    /// Who steers agents, and watches.
    Operator,
    /// Who watches.
    Observer,
}

impl Role {
    pub(super) const ALL: &[Self] =
        &[Self::Coordinator, Self::Worker, Self::Guest, Self::Operator, Self::Observer];

    /// The role in one word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Guest => "guest",
            Self::Operator => "operator",
            Self::Observer => "observer",
        }
    }
}

/// What one role may do.
#[derive(Debug, Default)]
pub(super) struct Grants {
    pub(super) publish: Vec<String>,
    pub(super) subscribe: Vec<String>,
    /// How many answers it may give to one message, and for how long after it.
    pub(super) respond: Option<(u32, Duration)>,
}

/// What a role may do.
pub(super) fn of(subjects: &Subjects, role: Role) -> Grants {
    match role {
        Role::Coordinator => coordinator(subjects),
        Role::Worker => worker(subjects),
        Role::Guest => guest(subjects),
        Role::Operator => operator(subjects),
        Role::Observer => observer(subjects),
    }
}

/// What the coordinator may do in the account of the system.
pub(super) fn messenger() -> Grants {
    Grants {
        publish: vec![CLAIMS_SUBJECT.to_owned()],
        subscribe: vec![format!("{}.>", subject::coordinator_inbox())],
        respond: None,
    }
}

fn coordinator(subjects: &Subjects) -> Grants {
    let root = subjects.root();
    let buckets = [Bucket::Bases, Bucket::Results].map(|bucket| bucket.name(root));
    let mut publish = vec![
        subjects.work_all(),
        subjects.worker_all(),
        subjects.status_all(),
        subjects.event_all(),
        // Receipts that follow the first one.
        "_INBOX.>".to_owned(),
        "$JS.API.INFO".to_owned(),
    ];
    publish.extend(buckets.iter().map(|bucket| format!("$O.{bucket}.>")));
    let streams = buckets.iter().map(|bucket| stream_of(bucket));
    for stream in std::iter::once(layout::work_stream(root)).chain(streams) {
        publish.push(format!("$JS.API.STREAM.*.{stream}"));
        publish.push(format!("$JS.API.CONSUMER.*.{stream}"));
        publish.push(format!("$JS.API.CONSUMER.*.{stream}.>"));
        publish.push(format!("$JS.API.DIRECT.GET.{stream}"));
        publish.push(format!("$JS.API.DIRECT.GET.{stream}.>"));
    }
    let subscribe = vec![
        subjects.rpc_all(),
        subjects.output_all(),
        subjects.agent_all(),
        subjects.broadcast_all(),
        subjects.join_all(),
        format!("{}.>", subject::coordinator_inbox()),
    ];
    // Longer than any request waits.
    Grants { publish, subscribe, respond: Some((1, Duration::from_secs(90))) }
}

fn worker(subjects: &Subjects) -> Grants {
    let root = subjects.root();
    let bearer = WorkerName::filled_in_later(BEARER);
    // It may pull the offers of any class, and can claim only what the coordinator finds it fit for.
    let pull = format!("$JS.API.CONSUMER.MSG.NEXT.{}.*", layout::work_stream(root));
    let mut publish = vec![subjects.rpc_of(&bearer), subjects.output(&bearer), pull];
    let bases = stream_of(&Bucket::Bases.name(root));
    publish.push(format!("$JS.API.DIRECT.GET.{bases}"));
    publish.push(format!("$JS.API.DIRECT.GET.{bases}.>"));
    let results = Bucket::Results.name(root);
    publish.push(format!("$O.{results}.C.*"));
    publish.push(format!("$O.{results}.M.*"));
    let subscribe = vec![subjects.worker_of(&bearer), format!("{}.>", bearer.inbox())];
    // An offer is answered once; the second answer is for one that was handed back late.
    Grants { publish, subscribe, respond: Some((2, Duration::from_secs(120))) }
}

fn guest(subjects: &Subjects) -> Grants {
    Grants {
        publish: vec![subjects.join(BEARER)],
        subscribe: vec![format!("{}.>", subject::guest_inbox(BEARER))],
        respond: None,
    }
}

fn operator(subjects: &Subjects) -> Grants {
    Grants {
        publish: vec![subjects.agent_all(), subjects.broadcast_all()],
        subscribe: vec![subjects.status_all(), subjects.event_all(), "_INBOX.>".to_owned()],
        respond: None,
    }
}

fn observer(subjects: &Subjects) -> Grants {
    Grants {
        publish: Vec::new(),
        subscribe: vec![subjects.status_all(), subjects.event_all()],
        respond: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_named_in_every_subject_that_is_not_for_all() {
        let subjects = Subjects::default();
        for (role, own) in [(Role::Worker, 4), (Role::Guest, 2)] {
            let Grants { publish, subscribe, .. } = of(&subjects, role);
            let named = publish.iter().chain(&subscribe).filter(|text| text.contains(BEARER));
            assert_eq!(named.count(), own, "{publish:?} {subscribe:?}");
        }
    }

    #[test]
    fn only_the_owner_of_a_key_signs() {
        let (pair, other) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
        let key = PublicKey::of(&pair);
        let signature = pair.sign(b"words").unwrap();
        assert!(key.has_signed(b"words", &signature));
        assert!(!key.has_signed(b"others", &signature));
        assert!(!PublicKey::of(&other).has_signed(b"words", &signature));
        for signature in [&[][..], &signature[..63], &[0; 64], &[0; 65]] {
            assert!(!key.has_signed(b"words", signature));
        }
    }

    #[test]
    fn only_public_keys_of_users_get_into_a_configuration() {
        let user = nkeys::KeyPair::new_user();
        assert!(PublicKey::new(user.public_key()).is_ok());
        let account = nkeys::KeyPair::new_account().public_key();
        let seed = user.seed().expect("a new key has a seed");
        for text in ["", "U", "U } }", account.as_str(), seed.as_str()] {
            assert!(PublicKey::new(text).is_err());
        }
    }
}
