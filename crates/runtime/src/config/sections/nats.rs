//! `nats`: the server that a coordinator and workers on other machines meet at.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Invalid;
use crate::config::size::ByteSize;

/// The server that a coordinator and its workers meet at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// The servers, as `nats://host:4222` or `tls://host:4222`; any one of them will do.
    pub servers: Vec<String>,
    /// What all subjects begin with; another one for each fleet on the same server.
    pub root: String,
    /// A file with the seed of the NKey to connect with.
    pub nkey_file: Option<PathBuf>,
    /// A `.creds` file to connect with.
    pub creds_file: Option<PathBuf>,
    /// The coordinator's: the secret from which all keys of the fleet follow, as `kapelle nats config`
    /// makes it; without this, `.kapelle/nats.nk`, if it is there. It goes for coordinators that have
    /// neither `nkey_file` nor `creds_file`.
    pub authority_file: Option<PathBuf>,
    /// Certificates, in PEM, of authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether to refuse a connection without TLS.
    pub require_tls: bool,
    /// The largest result, or part of a history, that may travel.
    pub blob_bytes: ByteSize,
    /// How much of the results, and how much of the histories, the server keeps; it sets that much
    /// storage aside.
    pub blobs_bytes: ByteSize,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            root: "orchestrator".to_owned(),
            nkey_file: None,
            creds_file: None,
            authority_file: None,
            ca_file: None,
            require_tls: false,
            blob_bytes: ByteSize(4 << 30),
            blobs_bytes: ByteSize(4 << 30),
        }
    }
}

impl Nats {
    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        if self.nkey_file.is_some() && self.creds_file.is_some() {
            return Err(Invalid::new("creds_file", "there is an nkey_file as well")
                .hint("give one of the two"));
        }
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.root.is_empty() || self.root.len() > 32 || !self.root.bytes().all(sound) {
            return Err(Invalid::new("root", "must be 1 to 32 lower-case letters, digits or `-`"));
        }
        Ok(())
    }
}
