//! Private clones: one for each attempt of an agent, one for each verification.
//!
//! A clone borrows the repository's objects and shares nothing that can be
//! written: its git directory, configuration and references are its own, and it
//! knows no remote. It is made before anything untrusted runs; afterwards no git
//! of ours runs in it again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Git, blocking};
use crate::git_dir::GitDir;
use crate::{CommitId, Error, Identity, RefName, Repository};

/// The branch that an agent finds checked out.
pub const WORK_BRANCH: &str = "refs/heads/kapelle/work";

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
        Ok(workspace)
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
    let pointer = workspace.tree.join(".git");
    let mut content = b"gitdir: ".to_vec();
    content.extend_from_slice(workspace.git_dir.as_os_str().as_encoded_bytes());
    content.push(b'\n');
    fs::write(&pointer, content).map_err(|e| Error::io(action, &pointer, e))
}
