//! `store`: durable state and what is kept on disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Invalid;
use crate::config::duration::HumanDuration;

/// Durable state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The database: `sqlite:` and a path, relative to the project's root.
    pub url: String,
    /// Which working copies are kept after their attempt, to look into.
    pub keep_workspaces: KeepWorkspaces,
    /// How long kept working copies stay.
    pub keep_for: HumanDuration,
}

/// Which working copies are kept after their attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeepWorkspaces {
    /// None.
    Never,
    /// Those of failed attempts.
    #[default]
    Failed,
    /// All.
    Always,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "sqlite:.kapelle/state.db".to_owned(),
            keep_workspaces: KeepWorkspaces::default(),
            keep_for: HumanDuration::from_mins(7 * 24 * 60),
        }
    }
}

impl Store {
    /// The database file of the project with this root.
    #[must_use]
    pub fn path(&self, root: &std::path::Path) -> std::path::PathBuf {
        root.join(self.url.strip_prefix("sqlite:").unwrap_or(&self.url))
    }

    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        match self.url.strip_prefix("sqlite:") {
            Some(path) if !path.trim_start_matches('/').is_empty() => Ok(()),
            Some(_) | None => Err(Invalid::new("url", "is not a database this program can use")
                .hint("for example: sqlite:.kapelle/state.db")),
        }
    }
}
