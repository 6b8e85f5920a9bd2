//! `server`: the HTTP service over TCP. The project's own socket needs no settings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::Invalid;
use crate::config::error::Error;

/// The variable that holds the token itself. It wins over `server.auth_token_file`.
const TOKEN_VARIABLE: &str = "KAPELLE_AUTH_TOKEN";

/// The HTTP service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port to listen on, beside the project's socket. Default: none.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "Option<String>", example = "127.0.0.1:7400")]
    pub listen: Option<SocketAddr>,
    /// Whether `listen` may be an address that other machines reach.
    pub allow_remote: bool,
    /// A file with the token that clients over TCP must show, relative to the project's root.
    /// The variable `KAPELLE_AUTH_TOKEN` may hold the token instead.
    pub auth_token_file: Option<PathBuf>,
}

impl Server {
    /// The token that clients over TCP must show: from `KAPELLE_AUTH_TOKEN` in `environment`,
    /// else from the file; `None` when neither is set or the token is empty.
    ///
    /// # Errors
    /// [`Error::Read`] when the file cannot be read.
    pub fn auth_token(
        &self,
        project_root: &Path,
        environment: &BTreeMap<OsString, OsString>,
    ) -> Result<Option<Secret>, Error> {
        let from_environment = environment.get(&OsString::from(TOKEN_VARIABLE));
        let token = match (from_environment, &self.auth_token_file) {
            (Some(token), _) if !token.is_empty() => token.to_string_lossy().into_owned(),
            (_, Some(file)) => fs::read_to_string(project_root.join(file))
                .map_err(|source| Error::Read { file: file.clone(), source })?,
            (_, None) => String::new(),
        };
        let token = token.trim();
        Ok((!token.is_empty()).then(|| Secret(token.to_owned())))
    }

    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        match self.listen {
            Some(address) if !address.ip().is_loopback() && !self.allow_remote => {
                let reason = format!("other machines could reach {address}");
                Err(Invalid::new("listen", reason)
                    .hint("use 127.0.0.1, or set server.allow_remote: true if that is meant"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        de::Error::custom(format!("{text:?} is not an address with a port, such as 127.0.0.1:7400"))
    })
}

/// A text that must not end up in logs: its `Debug` form hides it, and it has no other.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one place that compares or sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
