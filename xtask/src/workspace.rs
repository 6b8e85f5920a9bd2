//! What cargo says about this workspace: its members, their direct dependencies, its directories.
//! Only what the commands here ask for is read from `cargo metadata`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::subprocess;

/// The workspace, as `cargo metadata --no-deps` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
}

/// One member.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One direct dependency of a member, by the name of the package (never by a local alias).
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    kind: Option<DependencyKind>,
}

/// Cargo writes `null` for an ordinary dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DependencyKind {
    Dev,
    Build,
}

impl Dependency {
    /// Whether only tests, examples and benchmarks see it.
    pub(crate) fn only_for_tests(&self) -> bool {
        self.kind == Some(DependencyKind::Dev)
    }
}

impl Workspace {
    /// Asks cargo about the workspace that this program was built in.
    pub(crate) fn load() -> Result<Self> {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        let answer = subprocess::capture(subprocess::cargo(xtask).args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
        ]))?;
        serde_json::from_slice(&answer).context("cannot read the answer of `cargo metadata`")
    }

    /// The member called `name`.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        let found = self.packages.iter().find(|package| package.name == name);
        found.with_context(|| format!("this workspace has no member called {name}"))
    }

    /// Where cargo puts the `kapelle` program of `profile` (`debug` or `release`).
    pub(crate) fn kapelle(&self, profile: &str) -> PathBuf {
        self.target.join(profile).join("kapelle")
    }
}
