//! The configuration of a project: read in layers, typed strictly, every value with its origin.
//!
//! From weak to strong: defaults in code, the user's file
//! (`$XDG_CONFIG_HOME/kapelle/config.yaml`), for a worker the fleet that its machine has joined
//! (`fleet.yaml` beside it), `kapelle.yaml`, `kapelle.local.yaml`, environment
//! (`KAPELLE__SECTION__KEY`), flags. Maps are merged key by key; lists and scalars are replaced;
//! an empty value (`run:` with nothing after it) says nothing.
//!
//! The `config` crate merges the layers. It does not type the result: its conversions would take
//! `concurrency: yes` for 1 and forget where a value came from. Here a scalar stays text until a
//! type asks for it (so an agent may be called `no` or `1.10`), and whatever does not fit is an
//! [`Error`] that knows its file, line and column or its variable, and how to mend it.

mod document;
mod duration;
mod error;
mod layer;
mod sections;
mod settings;
mod size;
mod template;
mod typed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use duration::HumanDuration;
pub use error::{Error, Place, suggest};
pub use layer::{Origin, Override};
pub use sections::agents::{Agent, Driver, PromptDelivery, Protocol};
pub use sections::integrate::{Integrate, Target};
pub use sections::limits::Limits;
pub use sections::nats::Nats;
pub use sections::project::Project;
pub use sections::retry::Retry;
pub use sections::run::{Mode, Run};
pub use sections::server::{Secret, Server};
pub use sections::store::{KeepWorkspaces, Store};
pub use sections::timeouts::Timeouts;
pub use sections::verify::{Check, CommandLine, Severity, Verify};
pub use settings::Setting;
pub use size::ByteSize;
pub use template::{DetectedAgent, DetectedCheck, Facts, template};

use layer::Layers;
use sections::Invalid;

/// The project's own file, in the root of the project.
pub const PROJECT_FILE: &str = "kapelle.yaml";
/// Personal settings beside [`PROJECT_FILE`]; ignored by git.
pub const LOCAL_FILE: &str = "kapelle.local.yaml";
/// The user's file, below the user's configuration directory.
pub const USER_FILE: &str = "kapelle/config.yaml";
/// Where `init` puts [`schema`], relative to the project's root; [`template()`] points there.
pub const SCHEMA_FILE: &str = ".kapelle/kapelle.schema.json";

/// The newest version of the configuration format this program reads.
const VERSION: u32 = 1;

/// Everything that can be configured. Components get their sections, never the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Kapelle configuration")]
pub struct Config {
    /// Version of this format.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The project itself.
    pub project: Project,
    /// How a run is executed.
    pub run: Run,
    /// The agents that may be used, by name.
    pub agents: BTreeMap<String, Agent>,
    /// What is checked after an agent has ended.
    pub verify: Verify,
    /// How verified work gets into the target branch.
    pub integrate: Integrate,
    /// When a failed attempt is tried again.
    pub retry: Retry,
    /// Bounds on what runs and on what an attempt may use.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// The HTTP service.
    pub server: Server,
    /// Durable state.
    pub store: Store,
    /// The server that a coordinator and workers on other machines meet at.
    pub nats: Nats,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: VERSION,
            project: Project::default(),
            run: Run::default(),
            agents: BTreeMap::new(),
            verify: Verify::default(),
            integrate: Integrate::default(),
            retry: Retry::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            server: Server::default(),
            store: Store::default(),
            nats: Nats::default(),
        }
    }
}

/// Where [`Config::load`] looks. Nothing else is consulted, in particular not the process's own
/// environment.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The directory of `kapelle.yaml`.
    pub project_root: PathBuf,
    /// What `kapelle join` has written about the fleet of this machine; goes before the user's file.
    pub fleet_file: Option<PathBuf>,
    /// The directory that holds `kapelle/config.yaml`; see [`user_config_dir`].
    pub user_config_dir: Option<PathBuf>,
    /// The environment, e.g. `std::env::vars_os().collect()`. Variables that are set to nothing
    /// count as not set.
    pub environment: BTreeMap<OsString, OsString>,
    /// Settings from flags; a later one wins over an earlier one.
    pub overrides: Vec<Override>,
}

/// A valid configuration and the story of its values.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The files that were read, weakest first.
    pub files: Vec<PathBuf>,
    /// Every leaf of the configuration, sorted by key, with its value and origin.
    pub settings: Vec<Setting>,
}

impl Config {
    /// Reads all layers, merges them, and checks the result.
    ///
    /// # Errors
    /// The first thing that is wrong, located. A file that does not exist is not an error.
    pub fn load(options: &LoadOptions) -> Result<Loaded, Error> {
        let layers = Layers::read(options)?;
        layers.check::<Self>()?;
        let merged = layers.merge();
        let config: Self = typed::from_value(&merged).map_err(|fault| layers.locate(fault))?;
        config.validate().map_err(|invalid| layers.locate_invalid(invalid))?;
        let settings = settings::list(&config, &layers);
        Ok(Loaded { config, files: layers.files(), settings })
    }

    /// The agent that a task gets when it names none: `run.agent`, else the only one there is.
    #[must_use]
    pub fn default_agent(&self) -> Option<(&str, &Agent)> {
        let found = match &self.run.agent {
            Some(name) => self.agents.get_key_value(name),
            None if self.agents.len() == 1 => self.agents.first_key_value(),
            None => None,
        };
        found.map(|(name, agent)| (name.as_str(), agent))
    }

    /// Whether leftovers in the working copy fail verification: `verify.require_clean`, else
    /// exactly when Kapelle does not commit them itself (`run.auto_commit: false`).
    #[must_use]
    pub fn require_clean(&self) -> bool {
        self.verify.require_clean.unwrap_or(!self.run.auto_commit)
    }

    fn validate(&self) -> Result<(), Invalid> {
        if self.version != VERSION {
            return Err(Invalid::new(
                "version",
                format!("{} is not a known version", self.version),
            )
            .hint("this program reads version 1; a newer file needs a newer Kapelle"));
        }
        let sections = [
            ("project", self.project.validate()),
            ("run", self.run.validate(&self.agents)),
            ("verify", self.verify.validate()),
            ("integrate", self.integrate.validate()),
            ("retry", self.retry.validate()),
            ("limits", self.limits.validate()),
            ("timeouts", self.timeouts.validate()),
            ("server", self.server.validate()),
            ("store", self.store.validate()),
            ("nats", self.nats.validate()),
        ];
        for (section, result) in sections {
            result.map_err(|invalid| invalid.under(section))?;
        }
        for (name, agent) in &self.agents {
            agent.validate(name).map_err(|invalid| invalid.under(name).under("agents"))?;
        }
        Ok(())
    }
}

/// The user's configuration directory by the rules of XDG: `XDG_CONFIG_HOME` when it is
/// absolute, else `.config` in `HOME`; `None` when there is neither.
#[must_use]
pub fn user_config_dir(environment: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let directory = |name: &str| {
        let path = Path::new(environment.get(&OsString::from(name))?);
        path.is_absolute().then(|| path.to_owned())
    };
    directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))
}

/// The JSON Schema of the configuration files, for editors and `kapelle config schema`.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

#[cfg(test)]
mod tests;
