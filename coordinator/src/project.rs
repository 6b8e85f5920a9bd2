//! The project that a coordinator works for: its repository, its configuration, its places.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kapelle_domain::policy::{Limits, RetryPolicy, Timeouts};
use kapelle_domain::roadmap::Roadmap;
use kapelle_git::Repository;
use kapelle_runtime::config::Config;

/// The largest roadmap that is read.
pub const ROADMAP_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A project; cheap to clone.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its repository.
    pub repository: Repository,
    /// Its configuration.
    pub config: Arc<Config>,
    /// Where Kapelle keeps what is its own: `.kapelle` in the root.
    pub state: PathBuf,
}

/// Why there is no roadmap to read.
#[derive(Debug, thiserror::Error)]
pub enum RoadmapError {
    /// The project has none.
    #[error(
        "the project has no roadmap; looked for plans/roadmap.md, ROADMAP.md, roadmap.md and docs/roadmap.md"
    )]
    None,
    /// It can't be read.
    #[error("the roadmap {} can't be read", path.display())]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// Why it can't be read.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("the roadmap {} has more than {ROADMAP_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// Where it is.
        path: PathBuf,
    },
}

impl Project {
    /// The project's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.repository.root()
    }

    /// The roadmap's path, relative to the root.
    #[must_use]
    pub fn roadmap_path(&self) -> Option<PathBuf> {
        self.config.project.find_roadmap(self.root())
    }

    /// Reads the roadmap as it is in the working copy.
    ///
    /// # Errors
    /// When there is none, or it can't be read. What is odd in it is no error but a diagnostic.
    pub async fn roadmap(&self) -> Result<(PathBuf, Roadmap), RoadmapError> {
        let relative = self.roadmap_path().ok_or(RoadmapError::None)?;
        let path = self.root().join(&relative);
        let read = {
            let path = path.clone();
            move || {
                let size = std::fs::metadata(&path)?.len();
                if size > ROADMAP_BYTES_MAX {
                    return Ok(None);
                }
                std::fs::read(&path).map(|bytes| Some(Roadmap::parse(&bytes)))
            }
        };
        let read: std::io::Result<Option<Roadmap>> = tokio::task::spawn_blocking(read)
            .await
            .map_err(std::io::Error::other)
            .and_then(|read| read);
        match read {
            Ok(Some(roadmap)) => Ok((relative, roadmap)),
            Ok(None) => Err(RoadmapError::TooLarge { path: relative }),
            Err(source) => Err(RoadmapError::Unreadable { path: relative, source }),
        }
    }

    /// The limits over all runs.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let config = &self.config;
        let per_agent = config
            .agents
            .iter()
            .filter_map(|(name, agent)| Some((name.clone(), agent.max_parallel?)));
        Limits {
            total: config.limits.max_running.unwrap_or(u32::MAX),
            per_agent: per_agent.collect(),
            per_repository: config.limits.per_repository.unwrap_or(u32::MAX),
            worker_ttl: config.timeouts.lease_ttl.0,
            worker_lost_after: config.timeouts.lease_lost_after.0,
        }
    }

    /// The retry policy of a run.
    #[must_use]
    pub fn retry(&self) -> RetryPolicy {
        let retry = &self.config.retry;
        RetryPolicy {
            app_attempts: retry.app_attempts,
            infra_attempts: retry.infra_attempts,
            integration_attempts: retry.integration_attempts,
            rate_limit_for: retry.rate_limit_for.0,
            backoff_base: retry.backoff_base.0,
            backoff_max: retry.backoff_max.0,
        }
    }

    /// The time limits of a run whose tasks are done by `agent`. Checks run after the agent has
    /// ended and within the same attempt, so their time comes on top.
    #[must_use]
    pub fn timeouts(&self, agent: &str) -> Timeouts {
        let config = &self.config;
        let own = config.agents.get(agent).map(|agent| agent.timeout.0);
        let agent_time = config.timeouts.attempt.map(|limit| limit.0).or(own).unwrap_or_default();
        let grace = config.agents.get(agent).map(|agent| agent.stop_grace.0 + agent.kill_grace.0);
        Timeouts {
            claim: config.timeouts.claim.0,
            attempt: agent_time.saturating_add(config.verify.timeout.0),
            lease_ttl: config.timeouts.lease_ttl.0,
            lost_after: config.timeouts.lease_lost_after.0,
            cancel: grace.unwrap_or_default().saturating_add(Timeouts::default().cancel),
        }
    }

    /// The name under which tasks know this project's repository.
    #[must_use]
    pub fn name(&self) -> String {
        let directory = || self.root().file_name().map(|name| name.to_string_lossy().into_owned());
        self.config.project.name.clone().or_else(directory).unwrap_or_else(|| "project".to_owned())
    }
}
