//! Who may do what on a fleet's NATS server, as a block of nats-server's configuration.
//!
//! Everybody has an NKey of their own, and the server lets each do only what its role needs. It
//! can't look into messages, so two rules are kept by the ends themselves: the coordinator answers a
//! worker only in the worker's own inboxes, and a worker takes a poke only from a coordinator.
//!
//! Two grants that are common elsewhere are left out on purpose. Permission to publish
//! acknowledgments would let a worker acknowledge what others were given; permission to *respond*
//! covers exactly what it was given itself. And whoever may create a consumer can have the server
//! deliver messages to any subject, so only the coordinator may.

use std::fmt;
use std::fmt::Write as _;

use kapelle_domain::placement::Class;

use super::blobs::{Bucket, stream_of};
use super::layout;
use crate::subject::{self, Root, Subjects, WorkerName};

/// The name of the account that everybody is in.
pub const ACCOUNT: &str = "KAPELLE";

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
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A new NKey for a user: its seed, which is a secret, and its public half.
///
/// # Errors
/// Why no key could be made.
pub fn new_key() -> Result<(super::Secret, PublicKey), String> {
    let pair = nkeys::KeyPair::new_user();
    let seed = pair.seed().map_err(|error| error.to_string())?;
    Ok((super::Secret::new(seed), PublicKey(pair.public_key())))
}

/// Everybody who may connect.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The root of all subjects.
    pub root: Root,
    /// Every coordinator, active or not.
    pub coordinator: PublicKey,
    /// The workers.
    pub workers: Vec<WorkerUser>,
    /// Who may steer agents over NATS, and watch.
    pub operators: Vec<PublicKey>,
    /// Who may watch only.
    pub observers: Vec<PublicKey>,
}

/// A worker that may connect.
#[derive(Debug, Clone)]
pub struct WorkerUser {
    /// Its name.
    pub worker: WorkerName,
    /// Its key.
    pub key: PublicKey,
    /// What it may pull.
    pub classes: Classes,
}

/// Which offers a worker may pull. It can claim only what the coordinator finds it fit for; with
/// the offers of other classes it could only keep them from others for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classes {
    /// Those of any class.
    Any,
    /// Those of these classes.
    Only(Vec<Class>),
}

/// What one user may do.
#[derive(Debug, Default)]
struct Grants {
    publish: Vec<String>,
    subscribe: Vec<String>,
    /// How many answers it may give to one message, and for how long after it.
    respond: Option<(u32, &'static str)>,
}

impl Fleet {
    /// The configuration: one `accounts` block, to be included into the server's own.
    #[must_use]
    pub fn render(&self) -> String {
        let subjects = Subjects::new(self.root.clone());
        let mut users = String::new();
        add(&mut users, "coordinators", &self.coordinator, &coordinator(&subjects));
        for WorkerUser { worker, key, classes } in &self.workers {
            let role = format!("worker {worker}");
            add(&mut users, &role, key, &worker_grants(&subjects, worker, classes));
        }
        for key in &self.operators {
            add(&mut users, "operator", key, &operator(&subjects));
        }
        for key in &self.observers {
            add(&mut users, "observer", key, &observer(&subjects));
        }
        format!(
            "# Who may do what in a fleet of Kapelle. Generated: changes are lost.\n\
             accounts {{\n  {ACCOUNT} {{\n    jetstream: enabled\n    users: [\n{users}    ]\n  }}\n}}\n"
        )
    }
}

fn add(users: &mut String, role: &str, key: &PublicKey, grants: &Grants) {
    let Grants { publish, subscribe, respond } = grants;
    let list = |subjects: &[String]| {
        let quoted = subjects.iter().map(|subject| format!("\"{subject}\""));
        quoted.collect::<Vec<_>>().join(", ")
    };
    let allowed = |subjects: &[String]| {
        if subjects.is_empty() {
            "{ deny: \">\" }".to_owned()
        } else {
            format!("{{ allow: [{}] }}", list(subjects))
        }
    };
    let respond = respond.map_or_else(String::new, |(max, expires)| {
        format!("          allow_responses {{ max: {max}, expires: \"{expires}\" }}\n")
    });
    // Writing to a string cannot fail.
    let _ = write!(
        users,
        "      # {role}\n      {{ nkey: {key}, allowed_connection_types: [\"STANDARD\"]\n        \
         permissions {{\n          publish {}\n          subscribe {}\n{respond}        }} }}\n",
        allowed(publish),
        allowed(subscribe),
    );
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
        format!("{}.>", subject::coordinator_inbox()),
    ];
    // Longer than any request waits.
    Grants { publish, subscribe, respond: Some((1, "90s")) }
}

fn worker_grants(subjects: &Subjects, worker: &WorkerName, classes: &Classes) -> Grants {
    let root = subjects.root();
    let mut publish = vec![subjects.rpc_of(worker), subjects.output(worker)];
    match classes {
        Classes::Any => {
            publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{}.*", layout::work_stream(root)));
        }
        Classes::Only(classes) => {
            publish.extend(classes.iter().map(|class| layout::pull_subject(root, class)));
        }
    }
    let bases = stream_of(&Bucket::Bases.name(root));
    publish.push(format!("$JS.API.DIRECT.GET.{bases}"));
    publish.push(format!("$JS.API.DIRECT.GET.{bases}.>"));
    let results = Bucket::Results.name(root);
    publish.push(format!("$O.{results}.C.*"));
    publish.push(format!("$O.{results}.M.*"));
    let subscribe = vec![subjects.worker_of(worker), format!("{}.>", worker.inbox())];
    // An offer is answered once; the second answer is for one that was handed back late.
    Grants { publish, subscribe, respond: Some((2, "2m")) }
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
    use super::PublicKey;

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
