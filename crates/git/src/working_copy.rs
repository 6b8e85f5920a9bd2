//! The state of the user's own files: whether a branch is checked out, and
//! whether there is uncommitted work. Reading only.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::beneath::path_of;
use crate::command::Git;
use crate::diff::records;
use crate::{Error, RefName, Repository};

/// Whether the user's files are as committed. Untracked files do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkingCopy {
    /// Every tracked file is as committed, and nothing is staged.
    Clean,
    /// There is uncommitted work.
    Dirty {
        /// Tracked paths with changes, staged or not.
        paths: Vec<PathBuf>,
    },
    /// The user is in the middle of something.
    Busy {
        /// A merge, rebase, cherry-pick or revert.
        operation: &'static str,
    },
}

/// Where a branch is checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkout {
    /// Nowhere: moving it touches no files.
    Nowhere,
    /// In the working copy that we were started on.
    Here(WorkingCopy),
    /// In another working tree that is linked to the repository.
    Elsewhere {
        /// Its root.
        path: PathBuf,
    },
}

const OPERATIONS: &[(&str, &str)] = &[
    ("MERGE_HEAD", "merge"),
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
];

impl Repository {
    /// Whether the user has uncommitted work.
    ///
    /// # Errors
    /// Whatever keeps git from looking.
    pub async fn working_copy(&self) -> Result<WorkingCopy, Error> {
        for (file, operation) in OPERATIONS {
            if self.git_dir.join(file).exists() {
                return Ok(WorkingCopy::Busy { operation });
            }
        }
        let output = Git::for_user("looking for uncommitted changes", &self.root)?
            .args(["status", "--porcelain", "-z", "--no-renames", "--untracked-files=no"])
            .args(["--ignore-submodules=dirty"])
            .output()
            .await?;
        // Two letters of state and a space come before each path.
        let paths: Vec<_> =
            records(&output).map(|entry| path_of(entry.get(3..).unwrap_or_default())).collect();
        Ok(if paths.is_empty() { WorkingCopy::Clean } else { WorkingCopy::Dirty { paths } })
    }

    /// Where `branch` is checked out.
    ///
    /// # Errors
    /// Whatever keeps git from looking.
    pub async fn branch_checkout_state(&self, branch: &RefName) -> Result<Checkout, Error> {
        if self.checked_out_branch().await?.as_ref() == Some(branch) {
            return Ok(Checkout::Here(self.working_copy().await?));
        }
        let trees = self.working_trees().await?;
        let found = trees.into_iter().find(|(_, name)| name.as_deref() == Some(branch.as_str()));
        Ok(found.map_or(Checkout::Nowhere, |(path, _)| Checkout::Elsewhere { path }))
    }

    async fn working_trees(&self) -> Result<Vec<(PathBuf, Option<String>)>, Error> {
        let output = self
            .isolated("listing linked working trees")?
            .args(["worktree", "list", "--porcelain", "-z"])
            .output()
            .await?;
        let mut trees: Vec<(PathBuf, Option<String>)> = Vec::new();
        for line in records(&output) {
            if let Some(path) = line.strip_prefix(b"worktree ") {
                trees.push((Path::new(OsStr::from_bytes(path)).to_owned(), None));
            } else if let (Some(name), Some((_, branch))) =
                (line.strip_prefix(b"branch "), trees.last_mut())
            {
                *branch = Some(String::from_utf8_lossy(name).into_owned());
            }
        }
        Ok(trees)
    }
}
