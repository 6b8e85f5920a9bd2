//! Moving the target branch, together with the user's files where it is checked
//! out.
//!
//! The caller has recorded an [`Advance`] durably before it calls, and calls
//! [`Repository::recover_advance`] with it after a crash. In order:
//!
//! ```text
//! 1  index.lock     taken; no git command of the user can interfere from here on
//! 2  checks         on the branch, at `old`, nothing uncommitted, nothing in the way
//! 3  branch         old -> new by compare-and-swap        the point of commitment
//! 4  files          read-tree writes them, and the new index beside the old one
//! 5  index          the new one renamed over the old one
//! 6  index.lock     removed
//! ```
//!
//! So `branch == old` means that no file was touched, and `index == new` that all
//! were written; in between, a file of the change is as in `old`, as in `new`,
//! missing, or the beginning of one of them. Anything else is the user's.
//!
//! Our `index.lock` names the advance that it belongs to, and is locked (`flock`)
//! by an open file that the git children inherit: it is stale exactly when nobody
//! holds that lock any more, even when only the parent was killed.

use std::path::{Path, PathBuf};

use crate::command::{Git, blocking};
use crate::diff::{RawChange, raw_changes};
use crate::{Checkout, CommitId, Error, RefName, Repository, WorkingCopy};

mod disk;
mod lock;
mod recover;

pub use recover::Recovered;

use lock::IndexLock;

const CHECKING: &str = "checking the working copy";
const WRITING: &str = "bringing the working copy along";

/// One intended move of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The branch to move.
    pub branch: RefName,
    /// Where it is.
    pub old: CommitId,
    /// Where it is to be; `old` is in its history.
    pub new: CommitId,
}

/// What moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advanced {
    /// The branch is not checked out.
    BranchOnly,
    /// The branch and the user's files.
    BranchAndFiles,
}

impl Repository {
    /// Moves a branch from `old` to `new`, and the user's files with it when it is
    /// checked out here.
    ///
    /// # Errors
    /// Nothing has changed after [`Error::RefMoved`], [`Error::Dirty`],
    /// [`Error::WouldOverwrite`], [`Error::OperationInProgress`],
    /// [`Error::CheckedOutElsewhere`] and [`Error::Locked`]. After any other error,
    /// and when the future is dropped, ask [`Repository::recover_advance`].
    pub async fn advance(&self, advance: &Advance, reason: &str) -> Result<Advanced, Error> {
        let Advance { branch, old, new } = advance;
        match self.branch_checkout_state(branch).await? {
            Checkout::Nowhere => {
                self.update_ref(branch, Some(old), Some(new), reason, std::process::Stdio::null())
                    .await?;
                Ok(Advanced::BranchOnly)
            }
            Checkout::Elsewhere { path } => {
                Err(Error::CheckedOutElsewhere { branch: branch.clone(), path })
            }
            Checkout::Here(_) => {
                self.advance_here(advance, reason).await?;
                Ok(Advanced::BranchAndFiles)
            }
        }
    }

    /// Makes sure that nobody holds what moving `branch` needs, before work is spent on
    /// it. What a dead git has left of its references is removed.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody does.
    pub async fn require_unlocked(&self, branch: &RefName) -> Result<(), Error> {
        let path = self.git_dir.join("index.lock");
        let here = self.checked_out_branch().await?.as_ref() == Some(branch);
        if here && path.symlink_metadata().is_ok() {
            return Err(Error::Locked { path });
        }
        self.clear_stale_ref_locks(std::slice::from_ref(branch)).await
    }

    async fn advance_here(&self, advance: &Advance, reason: &str) -> Result<(), Error> {
        let Advance { branch, old, new } = advance;
        let mut lock = IndexLock::take(&self.git_dir, advance)?;
        let changes = self.checked_changes(advance).await?;
        let index = self.start_index().await?;
        self.refresh(&index, &lock).await?;
        self.read_tree(&lock, &index, &["-n", "-m", "-u", old.as_str(), new.as_str()]).await?;
        lock.keep_on_drop();
        let moved = self.update_ref(branch, Some(old), Some(new), reason, lock.share()?).await;
        if let Err(error) = moved {
            // Only a reference that was left where it was proves that nothing happened.
            if self.resolve(branch).await?.as_ref() == Some(new) {
                tracing::warn!(%error, "git reported a failure, but the branch has moved");
            } else {
                lock.release()?;
                return Err(error);
            }
        }
        let written =
            self.read_tree(&lock, &index, &["-m", "-u", old.as_str(), new.as_str()]).await;
        if let Err(error) = written {
            return Err(self.undo(lock, advance, &changes, error).await);
        }
        self.finish_index(index).await?;
        lock.release()
    }

    /// What the advance changes, after making sure that nothing stands against it.
    async fn checked_changes(&self, advance: &Advance) -> Result<Vec<RawChange>, Error> {
        let Advance { branch, old, new } = advance;
        let head = self.head().await?;
        if head.branch.as_ref() != Some(branch) || head.commit != *old {
            let (name, expected) = (branch.clone(), Some(old.clone()));
            return Err(Error::RefMoved { name, expected, actual: self.resolve(branch).await? });
        }
        match self.working_copy().await? {
            WorkingCopy::Clean => {}
            WorkingCopy::Dirty { paths } => return Err(Error::Dirty { paths }),
            WorkingCopy::Busy { operation } => {
                return Err(Error::OperationInProgress { operation });
            }
        }
        let changes = raw_changes(self.isolated(CHECKING)?, old.as_str(), new.as_str()).await?;
        let (root, checked) = (self.root.clone(), changes.clone());
        let paths = blocking(CHECKING, move || disk::in_the_way(&root, &checked)).await?;
        if paths.is_empty() { Ok(changes) } else { Err(Error::WouldOverwrite { paths }) }
    }

    /// After the branch has moved and the files could not: back to where we were.
    async fn undo(
        &self,
        lock: IndexLock,
        advance: &Advance,
        changes: &[RawChange],
        cause: Error,
    ) -> Error {
        match self.step_back(lock, advance, changes).await {
            Ok(kept) if kept.is_empty() => cause,
            Ok(paths) => Error::Dirty { paths },
            Err(error) => {
                tracing::warn!(%error, "the working copy could not be brought back");
                cause
            }
        }
    }

    /// A copy of the index beside it, for git to work on.
    async fn start_index(&self) -> Result<PathBuf, Error> {
        let (from, to) = (self.git_dir.join("index"), self.git_dir.join(lock::INDEX));
        blocking(WRITING, move || {
            std::fs::copy(&from, &to).map_err(|e| Error::io(WRITING, &to, e))?;
            Ok(to)
        })
        .await
    }

    async fn finish_index(&self, index: PathBuf) -> Result<(), Error> {
        let to = self.git_dir.join("index");
        blocking(WRITING, move || {
            std::fs::File::open(&index)
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&index, &to))
                .map_err(|e| Error::io(WRITING, &to, e))
        })
        .await
    }

    /// Git on the user's files, with `index` for the index.
    fn with_index(
        &self,
        action: &'static str,
        index: &Path,
        lock: &IndexLock,
    ) -> Result<Git, Error> {
        let git = Git::for_user(action, &self.root)?
            .env("GIT_DIR", &self.git_dir)
            .work_tree(&self.root)
            .env("GIT_INDEX_FILE", index);
        Ok(git.stdin(lock.share()?))
    }

    /// Without this, a file that was touched but not changed would stop `read-tree`.
    async fn refresh(&self, index: &Path, lock: &IndexLock) -> Result<(), Error> {
        let git = self.with_index(CHECKING, index, lock)?;
        let finished = git.args(["update-index", "-q", "--refresh"]).run().await?;
        match finished.code {
            // 1: some file differs; whoever needs it unchanged says so better.
            Some(0 | 1) => Ok(()),
            _ => Err(finished.into_error()),
        }
    }

    async fn read_tree(
        &self,
        lock: &IndexLock,
        index: &Path,
        arguments: &[&str],
    ) -> Result<(), Error> {
        let git = self.with_index(WRITING, index, lock)?;
        git.arg("read-tree").args(arguments).output().await.map(drop)
    }

    /// Brings every path that is ours back to `old`, then the branch. Gives the
    /// paths that are the user's.
    async fn step_back(
        &self,
        lock: IndexLock,
        advance: &Advance,
        changes: &[RawChange],
    ) -> Result<Vec<PathBuf>, Error> {
        let Advance { branch, old, new } = advance;
        let states = self.examine(changes).await?;
        let kept = disk::foreign(changes, &states);
        self.settle(&lock, changes, &states, (disk::Side::Old, old)).await?;
        let reason = "undone, the working copy could not follow";
        self.update_ref(branch, Some(new), Some(old), reason, lock.share()?).await?;
        lock.release()?;
        Ok(kept)
    }
}
