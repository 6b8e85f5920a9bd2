//! After a crash: finishing an advance, or undoing it.

use std::path::PathBuf;

use super::disk::{Side, foreign};
use super::lock::IndexLock;
use super::{Advance, CHECKING};
use crate::beneath::path_of;
use crate::diff::{raw_changes, records};
use crate::{CommitId, Error, Repository};

/// How an interrupted advance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// The branch and the files are at `new` (and perhaps beyond).
    Completed,
    /// Nothing had happened.
    NotStarted,
    /// The user had changed files in the meantime. The branch is back at `old`, and
    /// so is every other file of the change.
    RolledBack {
        /// The user's files, left exactly as they are.
        kept: Vec<PathBuf>,
    },
    /// The branch is at `new`, but the user has staged something since: index and
    /// files are left exactly as they are.
    LeftAlone {
        /// The staged paths.
        paths: Vec<PathBuf>,
    },
    /// The branch is neither at `old` nor at or beyond `new`: somebody moved it.
    Superseded {
        /// Where it is; `None` when it is gone.
        by: Option<CommitId>,
    },
}

impl Repository {
    /// Finishes or undoes an advance that may have been interrupted at any point,
    /// also a second time. Waits for a git child that outlived its parent.
    ///
    /// # Errors
    /// [`Error::Locked`] when a living process, or a dead one that was not ours,
    /// holds the index or the branch.
    pub async fn recover_advance(&self, advance: &Advance) -> Result<Recovered, Error> {
        let branch = &advance.branch;
        let here = self.checked_out_branch().await?.as_ref() == Some(branch);
        let lock = if here {
            Some(IndexLock::take_over(&self.git_dir, advance).await?)
        } else {
            // The user's index is not concerned, unless they left the branch since.
            IndexLock::take_abandoned(&self.git_dir, advance)?
        };
        self.clear_stale_ref_locks(std::slice::from_ref(branch)).await?;
        match (self.resolve(branch).await?, lock) {
            (Some(at), Some(lock)) if here && at == advance.new => {
                self.recover_files(lock, advance).await
            }
            (at, lock) => {
                let recovered = self.position(at, advance).await?;
                lock.map_or(Ok(()), IndexLock::release)?;
                Ok(recovered)
            }
        }
    }

    /// What a branch says that is at `at`, files aside.
    async fn position(&self, at: Option<CommitId>, advance: &Advance) -> Result<Recovered, Error> {
        Ok(match at {
            Some(at) if at == advance.old => Recovered::NotStarted,
            Some(at) if self.is_ancestor(&advance.new, &at).await? => Recovered::Completed,
            by => Recovered::Superseded { by },
        })
    }

    async fn recover_files(&self, lock: IndexLock, advance: &Advance) -> Result<Recovered, Error> {
        let Advance { old, new, .. } = advance;
        if self.staged(new).await?.is_empty() {
            lock.release()?;
            return Ok(Recovered::Completed);
        }
        let paths = self.staged(old).await?;
        if !paths.is_empty() {
            lock.release()?;
            return Ok(Recovered::LeftAlone { paths });
        }
        let changes = raw_changes(self.isolated(CHECKING)?, old.as_str(), new.as_str()).await?;
        let states = self.examine(&changes).await?;
        if !foreign(&changes, &states).is_empty() {
            let kept = self.step_back(lock, advance, &changes).await?;
            return Ok(Recovered::RolledBack { kept });
        }
        self.settle(&lock, &changes, &states, (Side::New, new)).await?;
        lock.release()?;
        Ok(Recovered::Completed)
    }

    /// The paths in which the index differs from `commit`.
    async fn staged(&self, commit: &CommitId) -> Result<Vec<PathBuf>, Error> {
        let output = self
            .isolated(CHECKING)?
            .args(["diff-index", "--cached", "-z", "--name-only", "--no-renames"])
            .args(["--ignore-submodules=none", commit.as_str(), "--"])
            .output()
            .await?;
        Ok(records(&output).map(path_of).collect())
    }
}
