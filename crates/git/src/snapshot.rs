//! Turning the files that an agent left behind into a commit.
//!
//! Runs after the agent and all its processes have ended, and never runs git in
//! the agent's tree or on the agent's git directory: planted configuration,
//! filters and `.git` files would execute there. Instead we read the files
//! ourselves and stream what changed into a repository of ours beside the tree.
//!
//! ```text
//! <workspace>/tree      the agent's files            read, never run in
//! <workspace>/git       the agent's git directory    HEAD, index and objects read
//! <workspace>/result    ours: base + one commit      what a bundle is made from
//! <workspace>/inspect   ours: copies of the agent's objects, for comparing only
//! ```
//!
//! The agent's objects never enter `result`: git does not verify an object's name
//! on reading, so a forged one could stand in for a file the agent never touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::command::{Git, blocking};
use crate::diff::changed_paths;
use crate::git_dir::GitDir;
use crate::names::{ChangedPath, NewCommit};
use crate::removal::remove_tree_blocking;
use crate::{CommitId, Error, RefName, Repository, TreeId, Workspace};

mod agent_commit;
mod clean;
mod dot_git;
mod import;
mod index;
mod line_ends;
mod mend;
mod scan;

pub use clean::Unfiltered;
use scan::{Change, Now};
pub(crate) use scan::{blob_id, hash_file};

/// The branch of the result repository that bundles carry.
pub(crate) const RESULT_BRANCH: &str = "refs/heads/kapelle/result";

/// What one attempt may add or change. Files that are as they were in the base
/// commit count for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of changed files.
    pub files: u64,
    /// Size of one changed file in bytes.
    pub file_bytes: u64,
    /// Size of all changed files together in bytes.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 20_000, file_bytes: 50 * 1024 * 1024, total_bytes: 500 * 1024 * 1024 }
    }
}

/// The commit that holds an agent's work, on disk in the workspace until that is
/// removed.
#[derive(Debug)]
pub struct Snapshot {
    /// One commit on top of `base`, or `base` itself when nothing changed.
    pub commit: CommitId,
    /// The tree of `commit`.
    pub tree: TreeId,
    /// The commit that the agent started from.
    pub base: CommitId,
    /// What the agent changed.
    pub changed: Vec<ChangedPath>,
    /// What was there and is not in the commit, beside ignored files that the
    /// agent doesn't track.
    pub skipped: Vec<Skipped>,
    /// Changed files that a filter of the user's would have to pass, which we never
    /// run. They are in the commit as they lie in the tree, which is wrong.
    pub unfiltered: Vec<Unfiltered>,
    /// Whether the agent had committed its work itself.
    pub agent_committed: AgentCommit,
    pub(crate) repository: PathBuf,
}

/// Something in the agent's tree that a commit cannot or must not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Relative to the root of the tree.
    pub path: PathBuf,
    /// Why it was left out.
    pub reason: SkipReason,
}

/// Why a path was left out of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// `.git`, or a name that some file system takes for it.
    GitEntry,
    /// A FIFO, socket or device.
    Special,
    /// Something in the place of a submodule of the base commit, which the commit
    /// keeps as it was. No submodule was checked out there, so it is work of the
    /// agent's that is lost.
    Submodule,
    /// A submodule of the base commit that the agent checked out; the commit keeps
    /// it as it was, whatever was done in it.
    SubmoduleCheckout,
    /// Too many directories inside each other.
    TooDeep,
}

/// Whether the agent's own last commit holds the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentCommit {
    /// Its HEAD has exactly the files of the snapshot.
    Clean,
    /// These paths differ between its HEAD and the snapshot.
    Uncommitted {
        /// The paths.
        paths: Vec<PathBuf>,
    },
    /// The clone's own repository is gone, cannot be read, or leads to another one.
    Missing,
    /// The agent still works, so that it says nothing yet.
    AtWork,
}

impl Snapshot {
    /// Whether the agent changed nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commit == self.base
    }

    /// Says what differs from the base; nothing makes it the base itself.
    async fn compared(mut self) -> Result<Self, Error> {
        let git = Git::isolated("comparing a snapshot with its base", &self.repository)?;
        self.changed = changed_paths(git, self.base.as_str(), self.commit.as_str()).await?;
        if self.changed.is_empty() {
            self.commit = self.base.clone();
        }
        Ok(self)
    }
}

impl Repository {
    /// Commits the files in `workspace` on top of its base, with the line ends that
    /// attributes and the user's configuration ask for. The agent and all its
    /// processes must have ended. Taking it again gives the same commit.
    ///
    /// # Errors
    /// [`Error::TooLarge`] names the first path over a limit;
    /// [`Error::ChangedWhileReading`] means that a process is still at work.
    pub async fn snapshot(
        &self,
        workspace: &Workspace,
        limits: &Limits,
        commit: &NewCommit,
    ) -> Result<Snapshot, Error> {
        let base = self.base_files(&workspace.base).await?;
        let (owned, format, limits) = (workspace.clone(), self.format, *limits);
        let scanned =
            blocking(scan::READING, move || scan::scan(&owned, base, format, &limits, None))
                .await?;
        let (mut changes, skipped) = (Arc::new(scanned.changes), scanned.skipped);
        let result = result_of(workspace);
        let mut new = self.store(workspace, &changes, commit).await?;
        let mut tree = tree_of(&result, &new).await?;
        let agent_committed = self.agent_commit(workspace, &tree, &limits).await?;
        let unfiltered =
            self.clean(workspace, &new, Arc::make_mut(&mut changes).as_mut_slice()).await?;
        if changes.iter().any(|change| matches!(change.now, Now::File { lf: true, .. })) {
            new = self.store(workspace, &changes, commit).await?;
            tree = tree_of(&result, &new).await?;
        }
        let work = Snapshot { skipped, unfiltered, agent_committed, ..taken(workspace, new, tree) };
        work.compared().await
    }

    /// Commits the files in `workspace` as they are at this moment, while the agent works: what it
    /// has written half is in it half. Files that nobody has touched since the clone was made are
    /// not read, and line ends stay as they are.
    ///
    /// # Errors
    /// As [`Repository::snapshot`]; [`Error::ChangedWhileReading`] is normal here: try again.
    pub async fn snapshot_at_work(
        &self,
        workspace: &Workspace,
        limits: &Limits,
        commit: &NewCommit,
    ) -> Result<Snapshot, Error> {
        let base = self.base_files(&workspace.base).await?;
        let (owned, format, limits) = (workspace.clone(), self.format, *limits);
        let scanned = blocking(scan::READING, move || {
            let cloned = owned.cloned_at();
            scan::scan(&owned, base, format, &limits, cloned)
        })
        .await?;
        let new = self.store(workspace, &Arc::new(scanned.changes), commit).await?;
        let tree = tree_of(&result_of(workspace), &new).await?;
        let work = Snapshot { skipped: scanned.skipped, ..taken(workspace, new, tree) };
        work.compared().await
    }

    /// Makes the result's repository anew, and in it one commit of `changes` on the
    /// workspace's base; the base itself when there are none.
    async fn store(
        &self,
        workspace: &Workspace,
        changes: &Arc<Vec<Change>>,
        commit: &NewCommit,
    ) -> Result<CommitId, Error> {
        let result = result_of(workspace);
        self.fresh_bare_repository(&result, RESULT_BRANCH, &[]).await?;
        if changes.is_empty() {
            return Ok(workspace.base.clone());
        }
        import::import(&result, workspace, Arc::clone(changes), commit).await
    }

    async fn base_files(&self, base: &CommitId) -> Result<scan::Files, Error> {
        let action = "listing the files of the base commit";
        let listing = self
            .isolated(action)?
            .args(["ls-tree", "-r", "-z", "--long", "--full-tree", base.as_str()])
            .output()
            .await?;
        scan::parse_listing(&listing).ok_or_else(|| Error::unexpected_output(action, &listing))
    }

    /// A new, empty, bare repository of ours at `path`, whatever was there before.
    async fn fresh_bare_repository(
        &self,
        path: &Path,
        branch: &'static str,
        more_objects: &[PathBuf],
    ) -> Result<(), Error> {
        let (path, repository) = (path.to_owned(), self.clone());
        let mut objects = vec![self.objects()];
        objects.extend_from_slice(more_objects);
        blocking("creating a repository for a snapshot at", move || {
            remove_tree_blocking(&path)?;
            let alternates: Vec<&Path> = objects.iter().map(PathBuf::as_path).collect();
            GitDir {
                format: repository.format,
                bare: true,
                identity: None,
                alternates: &alternates,
                head: (&RefName::new(branch)?, None),
                shallow: Some(&repository.common_dir.join("shallow")),
            }
            .create(&path)
        })
        .await
    }
}

fn taken(workspace: &Workspace, commit: CommitId, tree: TreeId) -> Snapshot {
    Snapshot {
        commit,
        tree,
        base: workspace.base.clone(),
        changed: Vec::new(),
        skipped: Vec::new(),
        unfiltered: Vec::new(),
        agent_committed: AgentCommit::AtWork,
        repository: result_of(workspace),
    }
}

fn result_of(workspace: &Workspace) -> PathBuf {
    workspace.directory.join("result")
}

async fn tree_of(git_dir: &Path, commit: &CommitId) -> Result<TreeId, Error> {
    let action = "reading a snapshot's tree";
    let output = Git::isolated(action, git_dir)?
        .args(["rev-parse", "--verify"])
        .arg(format!("{commit}^{{tree}}"))
        .output()
        .await?;
    TreeId::from_output(action, &output)
}
