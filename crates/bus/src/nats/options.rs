//! How to reach NATS, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::subject::Root;

/// How to reach NATS, and as whom.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The servers, as `nats://host:4222` or `tls://host:4222`; any one of them will do.
    pub servers: Vec<String>,
    /// The root of all subjects.
    pub root: Root,
    /// As whom.
    pub credentials: Credentials,
    /// Whether to refuse a connection without TLS.
    pub tls_required: bool,
    /// Certificates, in PEM, of authorities that are trusted beside the system's.
    pub tls_ca: Option<PathBuf>,
    /// How long a request may wait for its answer. It only ends waiting for an end that froze:
    /// one that isn't there is known at once.
    pub request_timeout: Duration,
    /// How many copies JetStream keeps of what is stored; more than 1 needs a cluster.
    pub replicas: usize,
    /// How long the server keeps what a class's offers are pulled from while no worker does.
    pub idle_class: Duration,
    /// The W3C trace context of what is being done, where there is one. It travels in the header
    /// `traceparent`.
    pub traceparent: fn() -> Option<String>,
}

impl NatsOptions {
    /// Options for `servers`, with everything else as it usually is.
    #[must_use]
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            root: Root::default(),
            credentials: Credentials::None,
            tls_required: false,
            tls_ca: None,
            request_timeout: Duration::from_secs(10),
            replicas: 1,
            idle_class: Duration::from_secs(600),
            traceparent: || None,
        }
    }
}

/// As whom to connect.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// As whom the server takes anybody for, or as the URL of the server says.
    None,
    /// As the owner of an NKey.
    NKey {
        /// Its seed.
        seed: Secret,
    },
    /// As the claims say, whose key one has.
    User {
        /// The claims.
        jwt: String,
        /// The seed of the key.
        seed: Secret,
    },
    /// As a `.creds` file says.
    File {
        /// The file.
        path: PathBuf,
    },
}

impl Credentials {
    /// The text of a `.creds` file, which is a secret; for credentials that are signed claims.
    #[must_use]
    pub fn text(&self) -> Option<Secret> {
        match self {
            Self::User { jwt, seed } => Some(Secret::new(format!(
                "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
                seed.reveal()
            ))),
            Self::None | Self::NKey { .. } | Self::File { .. } => None,
        }
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for whoever sends it or keeps it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The servers as they may be shown: without what a URL may say of users and passwords.
pub(super) fn shown(servers: &[String]) -> String {
    let one = |server: &String| match server.split_once('@') {
        None => server.clone(),
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://{host}"),
            None => host.to_owned(),
        },
    };
    servers.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut options = NatsOptions::new(vec!["nats://host:4222".to_owned()]);
        options.credentials = Credentials::NKey { seed: Secret::new("SUAseed".to_owned()) };
        assert!(!format!("{options:?}").contains("SUAseed"));
        let servers = ["nats://me:word@a:4222".to_owned(), "b:4222".to_owned()];
        assert_eq!(shown(&servers), "nats://a:4222, b:4222");
    }
}
