//! What every command works with: the console, the clock, and the way to a coordinator.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use kapelle_runtime::clock::Clock;
use kapelle_runtime::identity::Identity;

use crate::client::{Client, Texts};
use crate::error::Error;
use crate::host::{self, Connection, How, Need};
use crate::output::Console;
use crate::project::Project;

/// What every command works with.
#[derive(Debug)]
pub struct App {
    /// The streams and the person in front of them.
    pub console: Console,
    /// The time.
    pub clock: Clock,
    /// Mints keys of requests.
    pub identity: Identity,
    /// Where the user is, or wants to be.
    pub directory: PathBuf,
    /// Where what the program logs goes instead of standard error.
    pub log_file: Option<PathBuf>,
    /// The environment of the program.
    pub environment: BTreeMap<OsString, OsString>,
}

impl App {
    /// A variable of the environment; nothing counts as not set.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = self.environment.get(OsStr::new(name))?.to_string_lossy();
        (!value.is_empty()).then(|| value.into_owned())
    }

    /// What becomes of hostile text: JSON escapes it by itself.
    #[must_use]
    pub fn texts(&self) -> Texts {
        if self.console.is_json() { Texts::Raw } else { Texts::Harmless }
    }

    /// The project that the user is in.
    ///
    /// # Errors
    /// When there is none, or its configuration is wrong.
    pub async fn project(&self) -> Result<Project, Error> {
        Project::open(&self.directory, self.environment.clone()).await
    }

    /// Speaks to the coordinator at `KAPELLE_URL`, if that is set.
    ///
    /// # Errors
    /// When it isn't an address.
    pub fn remote(&self) -> Result<Option<Client>, Error> {
        let Some(url) = self.variable("KAPELLE_URL") else {
            return Ok(None);
        };
        let token = self.variable("KAPELLE_AUTH_TOKEN");
        Ok(Some(Client::remote(&url, token.as_deref())?.with_texts(self.texts())))
    }

    /// A way to a coordinator: at `KAPELLE_URL`, behind the socket of the project, or one that is
    /// started in this process.
    ///
    /// One that runs is reached with a broken configuration as well: it has read its own, and must
    /// be stopped and asked all the same.
    ///
    /// # Errors
    /// When there is no project, or no coordinator can be reached or started.
    pub async fn connect(&self, need: Need) -> Result<Connection, Error> {
        if let Some(client) = self.remote()? {
            return Ok(Connection { client, hosted: None });
        }
        let root = Project::root_of(&self.directory).await?;
        let broken = match Project::at(root.clone(), self.environment.clone()) {
            Ok(project) => return self.connect_to(&project, need).await,
            Err(error) => error,
        };
        let Some((client, _)) = host::running(&Project::socket_in(&root)).await? else {
            return Err(broken);
        };
        let problem = broken.problem();
        let words = [vec![problem.detail], problem.causes].concat().join(": ");
        self.console.warn(&words);
        Ok(Connection { client: client.with_texts(self.texts()), hosted: None })
    }

    /// A client of a coordinator that must run already. The configuration is not looked at.
    ///
    /// # Errors
    /// When there is no project. Whether anybody listens shows later.
    pub async fn client(&self) -> Result<Client, Error> {
        match self.remote()? {
            Some(client) => Ok(client),
            None => Client::socket(&Project::socket_in(&Project::root_of(&self.directory).await?)),
        }
    }

    /// The same for a project that is known.
    ///
    /// # Errors
    /// When no coordinator can be reached or started.
    pub async fn connect_to(&self, project: &Project, need: Need) -> Result<Connection, Error> {
        let Connection { client, hosted } = host::connect(project, need).await?;
        Ok(Connection { client: client.with_texts(self.texts()), hosted })
    }

    /// Does something short with a coordinator, and ends one that was started for it.
    ///
    /// # Errors
    /// What `work` gives, or that there is no coordinator.
    pub async fn with<T>(
        &self,
        need: Need,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Connection { client, hosted } = self.connect(need).await?;
        let result = work(&client).await;
        if let Some(hosted) = hosted {
            let ended = hosted.finish(How::Drain).await;
            if result.is_ok() {
                ended?;
            }
        }
        result
    }
}
