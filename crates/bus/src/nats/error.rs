//! What can be wrong with a NATS server, our access to it, or what was set up on it.

use std::fmt;

use crate::subject::InvalidName;

/// What went wrong, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that can't be part of a subject.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// What was given to connect with is unusable.
    #[error("the credentials for NATS can't be used: {reason}")]
    Credentials {
        /// Why.
        reason: String,
    },
    /// No connection came about.
    #[error("cannot connect to NATS at {servers}: {reason}")]
    Connect {
        /// The servers that were tried.
        servers: String,
        /// Why, in a few words.
        reason: Unreachable,
        /// Why, in full.
        #[source]
        source: Source,
    },
    /// The server is too old.
    #[error("nats-server {found} at {servers} is too old: Kapelle needs {least} or newer")]
    TooOld {
        /// Which.
        servers: String,
        /// Its version.
        found: String,
        /// The oldest that will do.
        least: &'static str,
    },
    /// The server has no JetStream.
    #[error("the NATS server at {servers} has no JetStream")]
    NoJetStream {
        /// Which.
        servers: String,
    },
    /// The account that we connected to has no JetStream.
    #[error("the account that Kapelle uses on the NATS server at {servers} has no JetStream")]
    NoJetStreamForAccount {
        /// Which.
        servers: String,
    },
    /// The server refuses something that we need.
    #[error("the NATS server refuses what Kapelle needs: {violation}")]
    Denied {
        /// In the server's words.
        violation: String,
    },
    /// The server doesn't take what it is told of the account.
    #[error("the NATS server at {servers} doesn't take who may connect: {reason}")]
    Accounts {
        /// Which.
        servers: String,
        /// Why.
        reason: String,
    },
    /// Something could not be set up.
    #[error("cannot set up {what} on NATS")]
    SetUp {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server took a configuration and did something else.
    #[error("the NATS server set up {what} with {field} = {got} instead of {asked}")]
    Ignored {
        /// What was set up.
        what: String,
        /// The field.
        field: String,
        /// What was asked.
        asked: String,
        /// What the server says that it has.
        got: String,
    },
    /// The server takes no request at the moment.
    #[error("the NATS server did not answer while {doing}")]
    Silent {
        /// What was being done.
        doing: String,
    },
}

/// An error of a library, whole.
pub(super) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why no connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// The address makes no sense.
    Address,
    /// The name of the host is unknown.
    Name,
    /// The server doesn't know us.
    Unauthorized,
    /// Encryption could not be agreed on.
    Tls,
    /// Nobody answered.
    Silent,
    /// The network refused.
    Network,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "the address can't be read",
            Self::Name => "the name of the host is unknown",
            Self::Unauthorized => "the server doesn't accept these credentials",
            Self::Tls => "TLS failed",
            Self::Silent => "nobody answered in time",
            Self::Network => "the connection was refused or broke",
        })
    }
}

impl Error {
    /// How to mend it, in one or two sentences for people.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name(_) => "Choose another name in the configuration.",
            Self::Credentials { .. } => {
                "Give the seed of an NKey that belongs to a user (it starts with SU), or the path of a .creds file."
            }
            Self::Connect { reason, .. } => match reason {
                Unreachable::Address => "A server looks like nats://host:4222 or tls://host:4222.",
                Unreachable::Name => "Check the host's name, and the name server of this machine.",
                Unreachable::Unauthorized => {
                    "Check that the server's configuration has this user, and that it was reloaded since."
                }
                Unreachable::Tls => {
                    "Check that the server's certificate names this host and that its authority is trusted here."
                }
                Unreachable::Silent | Unreachable::Network => {
                    "Check that nats-server runs and that this machine reaches its port."
                }
            },
            Self::TooOld { .. } => {
                "Install nats-server 2.15 or newer: older ones ignore silently what they don't know, and have known weaknesses."
            }
            Self::NoJetStream { .. } => {
                "Start nats-server with -js, or put a jetstream block into its configuration."
            }
            Self::NoJetStreamForAccount { .. } => {
                "Put `jetstream: enabled` into the account in the server's configuration, or use the one that Kapelle generates."
            }
            Self::Denied { .. } => {
                "Compare the user's permissions with the configuration that Kapelle generates for the fleet."
            }
            Self::Accounts { .. } => {
                "Start it with the configuration that `kapelle nats config` prints in this project."
            }
            Self::SetUp { .. } => {
                "See the cause. If storage is short, give the server more or lower nats.blobs_bytes. If a stream of that name was made by something else, give Kapelle another root or remove it."
            }
            Self::Ignored { .. } => {
                "A server that ignores settings is too old or limited; install nats-server 2.15 or newer, and check the account's limits."
            }
            Self::Silent { .. } => "Try again; if it stays so, look at the server's log.",
        }
    }

    /// Whether the same may succeed later with nothing changed here.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Name(_)
            | Self::Credentials { .. }
            | Self::TooOld { .. }
            | Self::NoJetStream { .. }
            | Self::NoJetStreamForAccount { .. }
            | Self::Denied { .. }
            | Self::Accounts { .. }
            | Self::Ignored { .. } => false,
            Self::Connect { reason, .. } => match reason {
                Unreachable::Address | Unreachable::Unauthorized | Unreachable::Tls => false,
                Unreachable::Name | Unreachable::Silent | Unreachable::Network => true,
            },
            Self::SetUp { .. } | Self::Silent { .. } => true,
        }
    }
}
