//! `project`: what is worked on.

use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Invalid;

/// Where a roadmap is looked for when none is configured, in this order.
const ROADMAPS: [&str; 4] = ["plans/roadmap.md", "ROADMAP.md", "roadmap.md", "docs/roadmap.md"];

/// The project itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Project {
    /// The project's name in reports. Default: the name of its directory.
    pub name: Option<String>,
    /// The roadmap, relative to the project's root. Default: the first that exists of
    /// plans/roadmap.md, ROADMAP.md, roadmap.md and docs/roadmap.md.
    pub roadmap: Option<PathBuf>,
}

impl Project {
    /// The roadmap relative to `root`: the configured one, whether it exists or not, else the
    /// first of the usual places that is a file.
    #[must_use]
    pub fn find_roadmap(&self, root: &Path) -> Option<PathBuf> {
        let usual = || ROADMAPS.iter().map(PathBuf::from).find(|path| root.join(path).is_file());
        self.roadmap.clone().or_else(usual)
    }

    /// Where the roadmap may be, relative to the root: the configured place, else the usual ones in
    /// the order of preference.
    #[must_use]
    pub fn roadmap_candidates(&self) -> Vec<PathBuf> {
        let usual = || ROADMAPS.iter().map(PathBuf::from).collect();
        self.roadmap.as_ref().map_or_else(usual, |path| vec![path.clone()])
    }

    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        let inside = |path: &Path| {
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        };
        match &self.roadmap {
            Some(path) if path.as_os_str().is_empty() || !inside(path) => {
                Err(Invalid::new("roadmap", "must be a path inside the project").hint(
                    "Kapelle commits changes of the roadmap, so it has to be in the repository",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}
