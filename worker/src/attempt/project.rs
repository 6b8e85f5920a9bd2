//! The project as an attempt sees it: its repository on this machine, and what it says about
//! checks and limits.
//!
//! A worker on the project's own machine works from the repository itself, with the settings that
//! are in effect there. A worker elsewhere keeps a cache of the history, and reads the settings
//! from the commit that the work starts from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kapelle_domain::attempt::{Outcome, Report};
use kapelle_domain::engine::Grant;
use kapelle_git::{CommitId, ObjectFormat, Repository};
use kapelle_runtime::config::{self, Config, LoadOptions};
use kapelle_runtime::identity;
use kapelle_runtime::telemetry::Chain;

use crate::carrier::Carrier;

/// The largest configuration that is read from a commit.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The file in a cache that has the repository's name.
const NAME_FILE: &str = "kapelle-repository";

/// The most caches that a worker speaks of.
const CACHED_MAX: usize = 256;

/// What a project says about its checks and limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How results are checked.
    pub verify: config::Verify,
    /// Whether what an agent left uncommitted is a failed check.
    pub require_clean: bool,
    /// Limits on what an agent prints and leaves.
    pub limits: config::Limits,
    /// The roadmap's path in the repository, if there is one: the integrator's to write.
    pub roadmap: Option<String>,
}

/// Where projects come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The one project of this machine.
    Here(Arc<Project>),
    /// Projects of other machines.
    Elsewhere {
        /// Where caches are kept, one for each project; absolute.
        caches: PathBuf,
        /// Brings what they lack, and takes results away.
        carrier: Arc<dyn Carrier>,
    },
}

/// A project on this machine.
#[derive(Debug, Clone)]
pub struct Project {
    /// Where clones are made of.
    pub repository: Repository,
    /// What it says about itself.
    pub settings: Settings,
}

/// The repositories that have a cache in `caches`.
#[must_use]
pub fn cached(caches: &Path) -> Vec<Arc<str>> {
    let entries = std::fs::read_dir(caches).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| {
        let name = std::fs::read_to_string(entry.path().join(NAME_FILE)).ok()?;
        Some(name.into())
    };
    let mut names: Vec<Arc<str>> = entries.filter_map(name).take(CACHED_MAX).collect();
    names.sort();
    names
}

impl Source {
    /// The project of a grant, with the history that its work starts from.
    pub(crate) async fn open(&self, grant: &Grant) -> Result<Arc<Project>, Report> {
        match self {
            Self::Here(project) => Ok(Arc::clone(project)),
            Self::Elsewhere { caches, carrier } => bring(caches, &**carrier, grant).await,
        }
    }

    /// Takes a result away to where the project is. `None` when it is here already.
    pub(crate) async fn send(
        &self,
        name: &str,
        file: &Path,
    ) -> Option<Result<String, crate::carrier::Error>> {
        match self {
            Self::Here(_) => None,
            Self::Elsewhere { carrier, .. } => Some(carrier.send(name, file).await),
        }
    }

    /// Brings what an attempt on another machine has left to the file `to`. `None` when attempts
    /// leave everything on this machine.
    pub(crate) async fn receive(
        &self,
        reference: &str,
        to: &Path,
    ) -> Option<Result<(), crate::carrier::Error>> {
        match self {
            Self::Here(_) => None,
            Self::Elsewhere { carrier, .. } => Some(carrier.receive(reference, to).await),
        }
    }

    /// The root of the project's files, where they are on this machine.
    pub(crate) fn root(&self) -> Option<&Path> {
        match self {
            Self::Here(project) => Some(project.repository.root()),
            Self::Elsewhere { .. } => None,
        }
    }
}

async fn bring(
    caches: &Path,
    carrier: &dyn Carrier,
    grant: &Grant,
) -> Result<Arc<Project>, Report> {
    let base = CommitId::new(grant.base.as_deref().unwrap_or_default())
        .map_err(|error| stated(Outcome::Unrunnable, "the base is no commit", &error))?;
    let format = if base.as_str().len() > 40 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 };
    let plain: String =
        grant.repository.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let place = caches.join(format!("{plain}.git"));
    let cache = Repository::open_cache(&place, format).await;
    let repository = cache.map_err(|error| {
        stated(Outcome::Infrastructure, "the project's cache can't be used", &error)
    })?;
    carrier
        .fetch(&repository, &grant.repository, &base)
        .await
        .map_err(|error| stated(Outcome::Infrastructure, "the history could not be got", &error))?;
    // Without its name the next process asks for it as if it weren't there, and finds it.
    drop(std::fs::write(place.join(NAME_FILE), &*grant.repository));
    let settings = settings_at(&repository, &base, caches)
        .await
        .map_err(|reason| Report::stated(Outcome::Unrunnable, reason))?;
    Ok(Arc::new(Project { repository, settings }))
}

fn stated(outcome: Outcome, doing: &str, error: &(dyn std::error::Error + 'static)) -> Report {
    Report::stated(outcome, format!("{doing}: {}", Chain(error)))
}

/// What the project says about itself in a commit.
async fn settings_at(
    repository: &Repository,
    commit: &CommitId,
    scratch: &Path,
) -> Result<Settings, String> {
    let name = config::PROJECT_FILE;
    let file = repository.read_file(commit, Path::new(name), CONFIG_BYTES_MAX).await;
    let file =
        file.map_err(|error| format!("{name} of the base can't be read: {}", Chain(&error)))?;
    let config = match file {
        None => Config::default(),
        Some(bytes) => {
            load(&bytes, scratch).map_err(|error| format!("{name} of the base: {error}"))?
        }
    };
    let mut roadmap = None;
    for candidate in config.project.roadmap_candidates() {
        let found = repository.read_file(commit, &candidate, u64::MAX).await;
        if found.is_ok_and(|found| found.is_some()) {
            roadmap = Some(candidate.display().to_string());
            break;
        }
    }
    Ok(Settings {
        require_clean: config.require_clean(),
        verify: config.verify,
        limits: config.limits,
        roadmap,
    })
}

/// Reads a configuration as if it lay in a project's root, without anything of this machine.
fn load(bytes: &[u8], scratch: &Path) -> Result<Config, String> {
    let root = scratch.join(format!("settings-{:016x}", identity::seed()));
    let loaded = std::fs::create_dir_all(&root)
        .and_then(|()| std::fs::write(root.join(config::PROJECT_FILE), bytes))
        .map_err(|error| error.to_string())
        .and_then(|()| {
            let options = LoadOptions { project_root: root.clone(), ..LoadOptions::default() };
            Config::load(&options).map_err(|error| Chain(&error).to_string())
        });
    // What stays is cleared with the caches.
    drop(std::fs::remove_dir_all(&root));
    loaded.map(|loaded| loaded.config)
}
