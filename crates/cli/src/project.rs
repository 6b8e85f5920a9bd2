//! The project that a command is about: its root, its configuration, and where things are in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kapelle_git::Repository;
use kapelle_runtime::config::{self, Config, LoadOptions, Loaded};

use crate::error::Error;

/// The directory of everything that Kapelle keeps about a project, in the project's root.
pub const STATE_DIRECTORY: &str = ".kapelle";

/// A repository with its configuration.
#[derive(Debug)]
pub struct Project {
    root: PathBuf,
    loaded: Loaded,
    environment: BTreeMap<OsString, OsString>,
}

impl Project {
    /// The root of the repository that holds `start`.
    ///
    /// # Errors
    /// [`Error::Project`] when there is none that can be worked in.
    pub async fn root_of(start: &Path) -> Result<PathBuf, Error> {
        let repository = Repository::discover(start)
            .await
            .map_err(|source| Error::Project { path: start.to_owned(), source })?;
        Ok(repository.root().to_owned())
    }

    /// Whether somebody has set up Kapelle in `root`, or used it.
    #[must_use]
    pub fn is_prepared(root: &Path) -> bool {
        root.join(config::PROJECT_FILE).exists() || root.join(STATE_DIRECTORY).exists()
    }

    /// Finds the repository that holds `start` and reads its configuration.
    ///
    /// # Errors
    /// [`Error::Project`] and [`Error::Config`].
    pub async fn open(
        start: &Path,
        environment: BTreeMap<OsString, OsString>,
    ) -> Result<Self, Error> {
        Self::at(Self::root_of(start).await?, environment)
    }

    /// Reads the configuration of the project whose root is known.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn at(root: PathBuf, environment: BTreeMap<OsString, OsString>) -> Result<Self, Error> {
        let loaded = Config::load(&LoadOptions {
            project_root: root.clone(),
            fleet_file: None,
            user_config_dir: config::user_config_dir(&environment),
            environment: environment.clone(),
            overrides: Vec::new(),
        })?;
        Ok(Self { root, loaded, environment })
    }

    /// A project whose configuration is known.
    #[must_use]
    pub fn with(root: PathBuf, loaded: Loaded, environment: BTreeMap<OsString, OsString>) -> Self {
        Self { root, loaded, environment }
    }

    /// The root of the repository.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// The configuration with its origins.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The environment that the program was started with.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<OsString, OsString> {
        &self.environment
    }

    /// The directory of everything that Kapelle keeps about the project.
    #[must_use]
    pub fn state_directory(&self) -> PathBuf {
        self.root.join(STATE_DIRECTORY)
    }

    /// The socket of its coordinator.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        Self::socket_in(&self.root)
    }

    /// The same of the project whose root is known, whatever is configured.
    #[must_use]
    pub fn socket_in(root: &Path) -> PathBuf {
        root.join(STATE_DIRECTORY).join("kapelle.sock")
    }

    /// The file with the token for clients over TCP, when the configuration names none.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        match &self.config().server.auth_token_file {
            Some(file) => self.root.join(file),
            None => self.state_directory().join("token"),
        }
    }

    /// The file with the secret of the project's fleet.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        match &self.config().nats.authority_file {
            Some(file) => self.root.join(file),
            None => self.state_directory().join("nats.nk"),
        }
    }

    /// The roadmap relative to the root.
    ///
    /// # Errors
    /// [`Error::NoRoadmap`].
    pub fn roadmap(&self) -> Result<PathBuf, Error> {
        let found = self.config().project.find_roadmap(&self.root);
        found.ok_or_else(|| Error::NoRoadmap { root: self.root.clone() })
    }
}
