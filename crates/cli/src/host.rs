//! Finds the coordinator of a project, or runs one in this process for as long as it is needed.
//!
//! Either way a command speaks to it over a socket. There is never more than one: the store's lock
//! decides, and whoever doesn't get it becomes a client of the one who did. Only a coordinator
//! that has work done answers on the project's own socket; one that a command starts to look
//! something up answers that command alone, and the others wait the moment until it is gone.

pub mod authority;
mod error;
pub mod fleet;
mod group;
mod local;

use std::path::Path;
use std::time::Duration;

use crate::client::Client;
use crate::project::Project;
use crate::view::HealthView;

pub use error::Error;
pub use local::Hosted;

/// How long another process may have the project without answering on its socket.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// How often it is tried meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a command is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Look at things.
    Read,
    /// Change things, without work being done.
    Write,
    /// Have work done, by the command of this name.
    Work(&'static str),
}

/// How the coordinator of this process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing new is started; what runs is waited for.
    Drain,
    /// What runs is stopped.
    Stop,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Something that it can't do without failed.
    pub failed: bool,
}

/// A way to a coordinator.
#[derive(Debug)]
pub struct Connection {
    /// Speaks to it.
    pub client: Client,
    /// The coordinator, when it is in this process.
    pub hosted: Option<Hosted>,
}

/// Connects to the coordinator of `project`; starts one in this process when none runs.
///
/// # Errors
/// When none runs and none can be started.
pub async fn connect(project: &Project, need: Need) -> Result<Connection, Error> {
    let deadline = tokio::time::Instant::now() + BUSY_MAX;
    loop {
        if let Some((client, health)) = running(&project.socket()).await? {
            // Work is for the next one, which may be us: this one takes none any more.
            let leaves = health.is_draining() && matches!(need, Need::Work(_));
            if !leaves || tokio::time::Instant::now() >= deadline {
                return Ok(Connection { client, hosted: None });
            }
        }
        match local::start(project, need).await {
            Ok(hosted) => {
                let client =
                    Client::socket(hosted.socket()).map_err(|source| Error::client(&source))?;
                return Ok(Connection { client, hosted: Some(hosted) });
            }
            // Somebody was faster: it may only just be starting or ending, or look something up.
            Err(error) if error.is_taken() && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            // It answers after all.
            Err(error) if error.is_taken() => {
                let (client, _) = running(&project.socket()).await?.ok_or(error)?;
                return Ok(Connection { client, hosted: None });
            }
            Err(error) => return Err(error),
        }
    }
}

/// Starts a coordinator for workers on other machines in this process. Waits for a command that
/// only looks something up, and not for another coordinator.
///
/// # Errors
/// When another coordinator has the project, or none can be started.
pub async fn coordinate(project: &Project) -> Result<Hosted, Error> {
    let deadline = tokio::time::Instant::now() + BUSY_MAX;
    loop {
        match fleet::coordinate(project).await {
            Err(error) if error.is_taken() => {
                if let Some((client, _)) = running(&project.socket()).await? {
                    return Err(Error::runs_already(&client).await.unwrap_or(error));
                }
                if tokio::time::Instant::now() >= deadline {
                    return Err(error);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            result => return result,
        }
    }
}

/// A client of the coordinator that answers on a project's socket, if one does, and what it says of
/// itself.
///
/// # Errors
/// When no client can be made.
pub async fn running(socket: &Path) -> Result<Option<(Client, HealthView)>, Error> {
    if !socket.exists() {
        return Ok(None);
    }
    let client = Client::socket(socket).map_err(|source| Error::client(&source))?;
    Ok(client.health().await.ok().map(|health| (client, health)))
}
