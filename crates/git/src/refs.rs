//! Moving, making, listing and deleting references, always by compare-and-swap,
//! and breaking the lock files that a killed git left behind.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::command::blocking;
use crate::names::BRANCH_SPACES;
use crate::{CommitId, Error, RefName, Repository};

const MOVING: &str = "moving a reference";
/// How many names are tried for a branch, in each place.
const NAMES_MAX: u32 = 99;
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Git holds a reference's lock for milliseconds; one that outlives this wait and
/// has no git process near it is dead.
const LOCK_POLLS: u32 = 20;

const CLEARING: &str = "removing the stale lock";

impl Repository {
    /// Makes a reference of Kapelle's own. Doing it again is success.
    ///
    /// # Errors
    /// [`Error::RefMoved`] when it exists and points elsewhere;
    /// [`Error::NameBlocked`] when another reference keeps git from making it;
    /// [`Error::InvalidName`] when it is not one of Kapelle's own.
    pub async fn create_ref(&self, name: &RefName, commit: &CommitId) -> Result<(), Error> {
        require_own(name)?;
        match self.update_ref(name, None, Some(commit), "created", Stdio::null()).await {
            Err(Error::RefMoved { actual: Some(actual), .. }) if actual == *commit => Ok(()),
            result => result,
        }
    }

    /// Makes a branch at `commit` that did not exist: `kapelle/<name>`, or a name like it
    /// where that is taken, be it by a person or by an earlier Kapelle.
    ///
    /// # Errors
    /// [`Error::NameBlocked`] when none of these names can be used.
    pub async fn create_free_branch(
        &self,
        name: &str,
        commit: &CommitId,
    ) -> Result<RefName, Error> {
        let mut blocked = None;
        for space in BRANCH_SPACES {
            for number in 1..=NAMES_MAX {
                let numbered = format!("{name}-{number}");
                let free = RefName::in_space(space, if number == 1 { name } else { &numbered })?;
                let made =
                    self.update_ref(&free, None, Some(commit), "created", Stdio::null()).await;
                match made {
                    Ok(()) => return Ok(free),
                    Err(Error::RefMoved { .. }) => {}
                    Err(error @ Error::NameBlocked { .. }) => blocked = Some(error),
                    Err(error) => return Err(error),
                }
                // The space itself, and so each name in it.
                let by = blocked.as_ref().and_then(blocker);
                if by.is_some_and(|by| space.strip_suffix('/') == Some(by)) {
                    break;
                }
            }
        }
        let rule = "a name that is not taken; delete or rename branches called kapelle/…";
        Err(blocked.unwrap_or_else(|| Error::InvalidName {
            kind: "branch",
            value: format!("kapelle/{name}"),
            rule,
        }))
    }

    /// Deletes a reference of Kapelle's own that is at `commit`. When it is gone
    /// already, that is success.
    ///
    /// # Errors
    /// [`Error::RefMoved`] when it points elsewhere; [`Error::InvalidName`] when it
    /// is not one of Kapelle's own.
    pub async fn delete_ref(&self, name: &RefName, commit: &CommitId) -> Result<(), Error> {
        require_own(name)?;
        match self.update_ref(name, Some(commit), None, "deleted", Stdio::null()).await {
            Err(Error::RefMoved { actual: None, .. }) => Ok(()),
            result => result,
        }
    }

    /// The references to results of `owner`, in order of their names.
    ///
    /// # Errors
    /// Whatever keeps git from listing them.
    pub async fn attempt_refs(&self, owner: &str) -> Result<Vec<(RefName, CommitId)>, Error> {
        self.list_refs(&[&format!("refs/kapelle/{owner}/")]).await
    }

    /// The branches of Kapelle's own that have commits which `commit` has not in its
    /// history, in order of their names.
    ///
    /// # Errors
    /// Whatever keeps git from listing them.
    pub async fn unmerged_own_branches(
        &self,
        commit: &CommitId,
    ) -> Result<Vec<(RefName, CommitId)>, Error> {
        let [usual, other] = BRANCH_SPACES;
        self.list_refs(&[&format!("--no-merged={commit}"), usual, other]).await
    }

    async fn list_refs(&self, which: &[&str]) -> Result<Vec<(RefName, CommitId)>, Error> {
        let action = "listing references";
        let output = self
            .isolated(action)?
            .args(["for-each-ref", "--format=%(objectname) %(refname)"])
            .args(which)
            .output()
            .await?;
        let mut found = Vec::new();
        for line in String::from_utf8_lossy(&output).lines() {
            let (id, name) =
                line.split_once(' ').ok_or_else(|| Error::unexpected_output(action, &output))?;
            // People may use our name space too; what we would never make is not ours.
            if let Ok(name) = RefName::new(name) {
                found.push((name, CommitId::new(id)?));
            }
        }
        Ok(found)
    }

    /// Moves `name` from `old` to `new`; `None` stands for "does not exist". The
    /// git process keeps `stdin` open, for a caller who watches its life by that.
    pub(crate) async fn update_ref(
        &self,
        name: &RefName,
        old: Option<&CommitId>,
        new: Option<&CommitId>,
        reason: &str,
        stdin: impl Into<Stdio>,
    ) -> Result<(), Error> {
        let null = self.format.null_id();
        let id =
            |commit: Option<&CommitId>| commit.map_or_else(|| null.clone(), CommitId::to_string);
        let identity = crate::Identity::fallback();
        let finished = self
            .isolated(MOVING)?
            .env("GIT_COMMITTER_NAME", identity.name())
            .env("GIT_COMMITTER_EMAIL", identity.email())
            .args(["update-ref", "--no-deref", "-m"])
            .arg(format!("kapelle: {reason}"))
            .args([name.as_str(), &id(new), &id(old)])
            .stdin(stdin)
            .run()
            .await?;
        if finished.code == Some(0) {
            return Ok(());
        }
        let actual = self.resolve(name).await?;
        if actual.as_ref() == old {
            return Err(finished.into_error());
        }
        Err(Error::RefMoved { name: name.clone(), expected: old.cloned(), actual })
    }

    /// Removes lock files of `names`, of HEAD and of the packed references that
    /// belong to no living process. For start-up after a crash, while the caller
    /// holds whatever makes it the only Kapelle on this repository.
    ///
    /// # Errors
    /// [`Error::Locked`] when a living git process may hold one.
    pub async fn clear_stale_ref_locks(&self, names: &[RefName]) -> Result<(), Error> {
        let mut locks =
            vec![self.git_dir.join("HEAD.lock"), self.common_dir.join("packed-refs.lock")];
        locks.extend(names.iter().map(|name| self.common_dir.join(format!("{name}.lock"))));
        for lock in locks {
            self.clear_stale_lock(lock).await?;
        }
        Ok(())
    }

    /// Removes what a dead git has left of locks on the references to results of `owner`. Nobody but
    /// that coordinator writes there, so it is for when none of its git processes lives.
    ///
    /// # Errors
    /// [`Error::Io`] when one can't be removed.
    pub async fn clear_attempt_locks(&self, owner: &str) -> Result<(), Error> {
        let mut directories = vec![self.common_dir.join("refs/kapelle").join(owner)];
        blocking(CLEARING, move || {
            while let Some(directory) = directories.pop() {
                // None there means no locks there.
                for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                    let path = entry.path();
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        directories.push(path);
                    } else if path.extension().is_some_and(|extension| extension == "lock") {
                        fs::remove_file(&path).map_err(|e| Error::io(CLEARING, &path, e))?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn clear_stale_lock(&self, lock: PathBuf) -> Result<(), Error> {
        let Some(found) = inode(&lock) else { return Ok(()) };
        for _ in 0..LOCK_POLLS {
            tokio::time::sleep(LOCK_POLL).await;
            // Gone, or another one: whoever takes and releases it is alive.
            if inode(&lock) != Some(found) {
                return Ok(());
            }
        }
        let repository = self.clone();
        blocking("looking for git processes", move || {
            if git_is_running(&[&repository.root, &repository.git_dir, &repository.common_dir]) {
                return Err(Error::Locked { path: lock });
            }
            tracing::warn!(path = %lock.display(), "removing the lock file of a dead git process");
            fs::remove_file(&lock).map_err(|e| Error::io(CLEARING, &lock, e))
        })
        .await
    }
}

/// The reference that is in the way of another one.
fn blocker(error: &Error) -> Option<&str> {
    match error {
        Error::NameBlocked { by, .. } => Some(by),
        _ => None,
    }
}

fn require_own(name: &RefName) -> Result<(), Error> {
    if name.is_own() {
        return Ok(());
    }
    let rule = "only references of Kapelle's own are made and deleted";
    Err(Error::InvalidName { kind: "reference", value: name.to_string(), rule })
}

fn inode(path: &Path) -> Option<u64> {
    Some(fs::symlink_metadata(path).ok()?.ino())
}

/// Whether a git process works in one of the directories or names one of them on
/// its command line. Without a process file system the answer is yes, always.
fn git_is_running(directories: &[&Path]) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    let mut seen_any = false;
    for process in processes.flatten().map(|entry| entry.path()) {
        let Ok(name) = fs::read(process.join("comm")) else { continue };
        seen_any = true;
        if !name.starts_with(b"git") {
            continue;
        }
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        // A zombie has no command line, and holds nothing.
        if command.is_empty() {
            continue;
        }
        let near = |directory: &&Path| {
            let wanted = directory.as_os_str().as_encoded_bytes();
            command.windows(wanted.len()).any(|window| window == wanted)
                // A process that hides where it works may work here.
                || fs::read_link(process.join("cwd")).map_or(true, |cwd| cwd.starts_with(directory))
        };
        if directories.iter().any(near) {
            return true;
        }
    }
    !seen_any
}
