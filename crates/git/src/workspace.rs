//! Private clones: one for each attempt of an agent, one for each verification.
//!
//! A clone borrows the repository's objects and shares nothing that can be
//! written: its git directory, configuration and references are its own, and it
//! knows no remote. It is made before anything untrusted runs; afterwards no git
//! of ours runs in it again.
//!
//! A clone may lie inside the user's working copy. Git looks for a repository in
//! the directories above, so an agent that deletes the `.git` of its clone would
//! work on the user's from then on. Two things keep it from that, each by itself:
//! a `.git` above the tree that leads nowhere, and the environment that
//! [`confine`] makes. Whoever means to get past both can, as with everything that
//! its user may do.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Git, blocking};
use crate::git_dir::GitDir;
use crate::{CommitId, Error, Identity, RefName, Repository};

/// The branch that an agent finds checked out.
pub const WORK_BRANCH: &str = "refs/heads/kapelle/work";

/// Variables that point git somewhere, whatever directory it runs in. They are set
/// where Kapelle is started by a hook, an alias or `git rebase --exec`.
const POINTERS: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
];

const CEILINGS: &str = "GIT_CEILING_DIRECTORIES";

/// Takes from the environment of a process that works in `tree` whatever leads git
/// to another repository, and keeps git from looking above `tree` for one.
pub fn confine(environment: &mut BTreeMap<OsString, OsString>, tree: &Path) {
    for name in POINTERS {
        environment.remove(OsStr::new(name));
    }
    let above = tree.parent().unwrap_or(tree);
    let mut ceilings = vec![above.to_owned()];
    ceilings.extend(above.canonicalize().ok().filter(|real| real != above));
    let known = environment.remove(OsStr::new(CEILINGS)).unwrap_or_default();
    // An empty one would only keep git from resolving links in those after it.
    ceilings.extend(env::split_paths(&known).filter(|path| !path.as_os_str().is_empty()));
    // A directory with a colon can't stand in the list; the `.git` above has to do.
    ceilings.retain(|path| env::join_paths([path]).is_ok());
    if let Ok(ceilings) = env::join_paths(ceilings) {
        environment.insert(CEILINGS.into(), ceilings);
    }
}

/// A private clone on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// The directory that holds everything of this clone; remove it with
    /// [`remove_tree`](crate::remove_tree).
    pub directory: PathBuf,
    /// The files.
    pub tree: PathBuf,
    /// The clone's own git directory.
    pub git_dir: PathBuf,
    /// The commit that was checked out.
    pub base: CommitId,
}

impl Workspace {
    /// The workspace that [`Repository::private_clone`] made in `directory`, for
    /// picking up after a restart. Looks at nothing on disk.
    #[must_use]
    pub fn at(directory: &Path, base: CommitId) -> Self {
        Self {
            directory: directory.to_owned(),
            tree: directory.join("tree"),
            git_dir: directory.join("git"),
            base,
        }
    }
}

/// The empty file whose time says when the files of the base had been written.
const CLONED: &str = "cloned";

impl Workspace {
    /// When the files of the base had been written, by the clock that stamps files.
    pub(crate) fn cloned_at(&self) -> Option<(i64, i64)> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::symlink_metadata(self.directory.join(CLONED)).ok()?;
        Some((meta.ctime(), meta.ctime_nsec()))
    }
}

impl Repository {
    /// Makes a private clone of `base` in the new directory `directory`, on the
    /// branch [`WORK_BRANCH`], with `identity` set so that an agent may commit.
    /// Files are the exact bytes of the commit: no line-end conversion, no filter.
    ///
    /// The clone borrows its objects, so some reference of the repository must keep
    /// `base` while the clone is in use.
    ///
    /// # Errors
    /// [`Error::UnknownCommit`]; [`Error::Io`] when `directory` exists already. A
    /// failure may leave a part of the clone, for the caller to remove.
    pub async fn private_clone(
        &self,
        base: &CommitId,
        directory: &Path,
        identity: &Identity,
    ) -> Result<Workspace, Error> {
        self.clone_to(base, directory, Some(identity)).await
    }

    /// Makes a private clone of `commit` in the new directory `directory` for
    /// commands that verify it.
    ///
    /// # Errors
    /// As [`Repository::private_clone`].
    pub async fn checkout_for_verification(
        &self,
        commit: &CommitId,
        directory: &Path,
    ) -> Result<Workspace, Error> {
        self.clone_to(commit, directory, None).await
    }

    async fn clone_to(
        &self,
        base: &CommitId,
        directory: &Path,
        identity: Option<&Identity>,
    ) -> Result<Workspace, Error> {
        let action = "creating a private clone at";
        fs::create_dir(directory).map_err(|e| Error::io(action, directory, e))?;
        let directory = directory.canonicalize().map_err(|e| Error::io(action, directory, e))?;
        let workspace = Workspace::at(&directory, base.clone());
        let (repository, made, identity) = (self.clone(), workspace.clone(), identity.cloned());
        blocking(action, move || lay_out(&repository, &made, identity.as_ref())).await?;
        let checked_out = Git::isolated("checking out a private clone", &workspace.git_dir)?
            .work_tree(&workspace.tree)
            .setting("core.fsync=none")
            .args(["read-tree", "-m", "-u", base.as_str()])
            .run()
            .await?;
        if checked_out.code != Some(0) {
            // Asked only now: the usual case should not pay for another process.
            self.tree_of(base).await?;
            return Err(checked_out.into_error());
        }
        let made = workspace.directory.join(CLONED);
        blocking(action, move || fs::write(&made, b"").map_err(|e| Error::io(action, &made, e)))
            .await?;
        Ok(workspace)
    }

    /// Puts the files of `work` into a fresh clone, where they are changes that nobody has
    /// committed yet. The repository must have the commit.
    ///
    /// # Errors
    /// When git refuses; the clone is of no use then.
    pub async fn put_work_in_progress(
        &self,
        workspace: &Workspace,
        work: &CommitId,
    ) -> Result<(), Error> {
        let git = || {
            let action = "putting work in progress into a private clone";
            let git = Git::isolated(action, &workspace.git_dir)?;
            Ok::<_, Error>(git.work_tree(&workspace.tree).setting("core.fsync=none"))
        };
        let base = workspace.base.as_str();
        git()?.args(["read-tree", "-m", "-u", base, work.as_str()]).output().await?;
        // The index goes back, the files stay.
        git()?.args(["read-tree", base]).output().await?;
        Ok(())
    }
}

fn lay_out(
    repository: &Repository,
    workspace: &Workspace,
    identity: Option<&Identity>,
) -> Result<(), Error> {
    let action = "creating a private clone at";
    fs::create_dir(&workspace.tree).map_err(|e| Error::io(action, &workspace.tree, e))?;
    let branch = RefName::new(WORK_BRANCH)?;
    GitDir {
        format: repository.format,
        bare: false,
        identity,
        alternates: &[&repository.objects()],
        head: (&branch, Some(&workspace.base)),
        shallow: Some(&repository.common_dir.join("shallow")),
    }
    .create(&workspace.git_dir)?;
    point(&workspace.tree, &workspace.git_dir)?;
    // Git ends its search here, and says this name.
    point(&workspace.directory, &workspace.directory.join("the .git of this clone is gone"))
}

/// Makes `git_dir` the one of `directory`.
pub(crate) fn point(directory: &Path, git_dir: &Path) -> Result<(), Error> {
    let pointer = directory.join(".git");
    let mut content = b"gitdir: ".to_vec();
    content.extend_from_slice(git_dir.as_os_str().as_encoded_bytes());
    content.push(b'\n');
    fs::write(&pointer, content).map_err(|e| Error::io("creating a private clone at", &pointer, e))
}
