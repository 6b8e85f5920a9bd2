//! What a machine keeps of the fleet that it has joined: its credentials, and where the fleet is.
//!
//! It lies in the user's configuration directory. The key is made here, before it is known whether
//! the machine is let in, so that a join whose answer was lost can be repeated.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kapelle_bus::nats::Credentials;
use kapelle_bus::nats::join::{self, JoinToken, WorkerKey};
use kapelle_runtime::config;

use crate::error::Error;
use crate::secret_file;

/// Where the machine keeps what it has joined.
#[derive(Debug)]
pub struct Joined {
    directory: PathBuf,
}

impl Joined {
    /// By the environment of the program.
    ///
    /// # Errors
    /// When the user has no configuration directory.
    pub fn of(environment: &BTreeMap<OsString, OsString>) -> Result<Self, Error> {
        let directory = config::user_config_dir(environment).ok_or_else(|| {
            Error::usage("there is no place for credentials", "set HOME, or XDG_CONFIG_HOME")
        })?;
        Ok(Self { directory: directory.join("kapelle") })
    }

    /// The settings of the fleet, if the machine has joined one.
    #[must_use]
    pub fn settings(&self) -> Option<PathBuf> {
        let path = self.directory.join("fleet.yaml");
        path.is_file().then_some(path)
    }

    /// As which worker it has joined.
    #[must_use]
    pub fn worker(&self) -> Option<String> {
        self.settings()?;
        join::bearer(&fs::read_to_string(self.credentials()).ok()?)
    }

    fn credentials(&self) -> PathBuf {
        self.directory.join("fleet.creds")
    }

    fn pending_key(&self, token: &JoinToken) -> PathBuf {
        self.directory.join(format!("invitation-{}.key", token.invitation()))
    }

    fn pending_authorities(&self, token: &JoinToken) -> PathBuf {
        self.directory.join(format!("invitation-{}.pem", token.invitation()))
    }

    /// The key with which the invitation is handed in: a new one, or that of an earlier try.
    ///
    /// # Errors
    /// When it can't be kept.
    pub fn key(&self, token: &JoinToken) -> Result<WorkerKey, Error> {
        let path = self.pending_key(token);
        fs::create_dir_all(&self.directory).map_err(Error::file("make", &self.directory))?;
        match fs::read_to_string(&path) {
            Ok(text) => {
                if let Some(key) = WorkerKey::from_seed(&text) {
                    return Ok(key);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("read", path)(error)),
        }
        let key = WorkerKey::generate();
        let seed = key.seed().map_err(|error| Error::Join(Box::new(error.into())))?;
        secret_file::write(&path, seed.reveal()).map_err(Error::file("write", path))?;
        Ok(key)
    }

    /// The file with the authorities that the token says to trust, if it does.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn authorities(&self, token: &JoinToken) -> Result<Option<PathBuf>, Error> {
        let Some(text) = token.authorities() else { return Ok(None) };
        let path = self.pending_authorities(token);
        fs::write(&path, text).map_err(Error::file("write", &path))?;
        Ok(Some(path))
    }

    /// Keeps what the machine needs from now on; what it had joined before is forgotten.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&self, token: &JoinToken, credentials: &Credentials) -> Result<(), Error> {
        let at = self.credentials();
        let text = credentials.text().ok_or_else(|| {
            Error::usage("the coordinator gave no credentials", "look at its version and its log")
        })?;
        secret_file::write(&at, text.reveal()).map_err(Error::file("write", &at))?;
        let authorities = token.authorities().map(|_| self.directory.join("fleet-ca.pem"));
        if let Some(path) = &authorities {
            let renamed = fs::rename(self.pending_authorities(token), path);
            renamed.map_err(Error::file("write", path))?;
        }
        let settings = self.directory.join("fleet.yaml");
        let text = settings_text(token, &at, authorities.as_deref())?;
        secret_file::write(&settings, &text).map_err(Error::file("write", settings))?;
        // Its key is in the credentials now.
        let pending = self.pending_key(token);
        fs::remove_file(&pending).map_err(Error::file("remove", pending))
    }

    /// Forgets what was prepared for a token that is of no use.
    pub fn give_up(&self, token: &JoinToken) {
        for path in [self.pending_key(token), self.pending_authorities(token)] {
            // What stays is of no use to anybody.
            drop(fs::remove_file(path));
        }
    }
}

/// JSON is YAML, and leaves no doubt about what is text.
fn settings_text(
    token: &JoinToken,
    credentials: &Path,
    authorities: Option<&Path>,
) -> Result<String, Error> {
    let nats = serde_json::json!({
        "servers": token.servers(),
        "root": token.root().as_str(),
        "creds_file": credentials,
        "ca_file": authorities,
        "require_tls": token.require_tls(),
    });
    let text = serde_json::to_string_pretty(&serde_json::json!({ "nats": nats }));
    Ok(format!(
        "# The fleet that this machine has joined. Written by `kapelle join`, read by `kapelle worker`.\n{}\n",
        text.map_err(Error::Encode)?
    ))
}
