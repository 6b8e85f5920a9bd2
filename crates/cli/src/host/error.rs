//! Why there is no coordinator.

use std::path::PathBuf;

use kapelle_coordinator::admission::Untold;
use kapelle_runtime::telemetry::Chain;

use crate::client::Client;
use crate::exit::Exit;

/// Why there is no coordinator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository can't be worked in.
    #[error("the repository can't be worked in")]
    Repository(#[source] kapelle_git::Error),
    /// The state can't be kept.
    #[error("the state of the project can't be kept")]
    Store(#[source] kapelle_store::Error),
    /// A directory of ours can't be made or cleared.
    #[error("{} can't be {doing}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What was to be done with it.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The state can't be loaded.
    #[error("the coordinator can't start")]
    Dispatch(#[source] kapelle_coordinator::dispatch::Error),
    /// The socket can't be served.
    #[error("the coordinator can't be reached")]
    Socket(#[source] kapelle_coordinator::http::Error),
    /// This program can't be found on disk.
    #[error("this program can't find itself")]
    OwnExecutable(#[source] std::io::Error),
    /// The configured author is none.
    #[error("`integrate.author_name` can't be the author of a commit")]
    Author(#[source] kapelle_git::Error),
    /// TCP needs a token, and none could be made.
    #[error("the token {} can't be read or made", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration names a token that can't be read.
    #[error("the token can't be read")]
    ConfiguredToken(#[source] kapelle_runtime::config::Error),
    /// NATS can't be used.
    #[error("NATS can't be used")]
    Nats(#[source] kapelle_bus::nats::Error),
    /// The place for what travels between machines can't be used.
    #[error("what travels between machines can't be kept")]
    Blobs(#[source] kapelle_bus::blob::BlobError),
    /// A name or a setting of the fleet that can't be.
    #[error("{0}")]
    Setting(String),
    /// The worker can't go on.
    #[error("the worker can't go on")]
    Worker(#[source] kapelle_worker::daemon::Error),
    /// A coordinator answers on the project's socket.
    #[error("a coordinator runs already: process {pid}, started as `kapelle {role}`")]
    RunsAlready {
        /// Its process.
        pid: u32,
        /// The command that it was started as.
        role: String,
    },
    /// The client can't be made.
    #[error("{0}")]
    Client(String),
}

impl From<Untold> for Error {
    fn from(untold: Untold) -> Self {
        match untold {
            Untold::Store(error) => Self::Store(error),
            Untold::Nats(error) => Self::Nats(error),
        }
    }
}

impl Error {
    pub(super) fn client(error: &crate::error::Error) -> Self {
        Self::Client(Chain(error).to_string())
    }

    /// That the coordinator behind `client` runs, if it still answers.
    pub(crate) async fn runs_already(client: &Client) -> Option<Self> {
        let health = client.health().await.ok()?;
        Some(Self::RunsAlready { pid: health.pid, role: health.role })
    }

    /// Whether another process has the project.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self, Self::Store(kapelle_store::Error::Locked { .. }))
    }

    /// The code that the program ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(_)
            | Self::Dispatch(_)
            | Self::Socket(_)
            | Self::Nats(_)
            | Self::Blobs(_)
            | Self::Client(_) => Exit::Unreachable,
            Self::Author(_)
            | Self::ConfiguredToken(_)
            | Self::Setting(_)
            | Self::RunsAlready { .. } => Exit::Usage,
            Self::Worker(_)
            | Self::Repository(_)
            | Self::Directory { .. }
            | Self::OwnExecutable(_)
            | Self::Token { .. } => Exit::Failure,
        }
    }

    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Repository(_) => "repository",
            Self::Store(kapelle_store::Error::Locked { .. }) | Self::RunsAlready { .. } => "in_use",
            Self::Store(_) => "store",
            Self::Directory { .. } => "directory",
            Self::Dispatch(_) => "dispatch",
            Self::Socket(_) => "socket",
            Self::OwnExecutable(_) => "own_executable",
            Self::Author(_) => "author",
            Self::Token { .. } | Self::ConfiguredToken(_) => "token",
            Self::Nats(_) => "nats",
            Self::Blobs(_) => "blobs",
            Self::Setting(_) => "setting",
            Self::Worker(_) => "worker",
            Self::Client(_) => "client",
        }
    }

    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Directory { .. } => {
                "Kapelle keeps its state in .kapelle in the project's root; make it writable"
            }
            Self::Store(kapelle_store::Error::Locked { .. }) => {
                "it doesn't answer on the project's socket; when it hangs, end that process"
            }
            Self::Store(kapelle_store::Error::Corrupt { .. }) => {
                "`kapelle store restore FILE` puts a backup in its place and keeps this one"
            }
            Self::RunsAlready { .. } => "use it, or end it first: kapelle down",
            Self::Nats(error) => error.hint(),
            Self::Repository(_)
            | Self::Blobs(_)
            | Self::Setting(_)
            | Self::Worker(_)
            | Self::Store(_)
            | Self::Dispatch(_)
            | Self::Socket(_)
            | Self::OwnExecutable(_)
            | Self::Author(_)
            | Self::Token { .. }
            | Self::ConfiguredToken(_)
            | Self::Client(_) => return None,
        };
        Some(hint.to_owned())
    }
}
