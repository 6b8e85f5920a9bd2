//! The `index.lock` of the user's working copy, held by us.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::Advance;
use crate::{Error, beneath};

/// The index that an advance prepares, beside the real one.
pub(super) const INDEX: &str = "kapelle-index";
const UNFINISHED: &str = ".kapelle-lock-";

const LOCKING: &str = "locking the index with";
const POLL: Duration = Duration::from_millis(20);
/// Long enough for a git child that outlived us to finish a checkout.
const POLLS: u32 = 500;

/// Holds `index.lock`; removes it on drop, unless told to leave it for recovery.
#[derive(Debug)]
pub(super) struct IndexLock {
    file: File,
    path: PathBuf,
    keep: bool,
}

impl IndexLock {
    /// Takes the lock, or fails at once with [`Error::Locked`].
    pub(super) fn take(git_dir: &Path, advance: &Advance) -> Result<Self, Error> {
        let path = git_dir.join("index.lock");
        let failed = |e: io::Error| Error::io(LOCKING, &path, e);
        // Linked into place complete: an empty `index.lock` is never ours.
        let unfinished =
            tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(git_dir).map_err(failed)?;
        let (mut file, unfinished) = unfinished.into_parts();
        file.write_all(marker(advance).as_bytes()).map_err(failed)?;
        file.try_lock().map_err(|error| failed(error.into()))?;
        match fs::hard_link(&unfinished, &path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Locked { path });
            }
            Err(e) => return Err(failed(e)),
        }
        let lock = Self { file, path, keep: false };
        lock.clear_debris(&[INDEX])?;
        Ok(lock)
    }

    /// Takes the lock, also from a dead process that held it for the same advance.
    /// Waits for a living one.
    pub(super) async fn take_over(git_dir: &Path, advance: &Advance) -> Result<Self, Error> {
        let path = git_dir.join("index.lock");
        for _ in 0..POLLS {
            match Self::take(git_dir, advance) {
                Err(Error::Locked { .. }) => {}
                taken => return taken,
            }
            if let Some(lock) = Self::take_abandoned(git_dir, advance)? {
                return Ok(lock);
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Error::Locked { path })
    }

    /// Takes the lock only from a dead process that held it for the same advance.
    pub(super) fn take_abandoned(git_dir: &Path, advance: &Advance) -> Result<Option<Self>, Error> {
        let path = git_dir.join("index.lock");
        let Some(file) = abandoned(git_dir, &path, advance)? else { return Ok(None) };
        let lock = Self { file, path, keep: true };
        lock.clear_debris(&[INDEX])?;
        Ok(Some(lock))
    }

    /// From here on, only [`IndexLock::release`] removes the lock.
    pub(super) fn keep_on_drop(&mut self) {
        self.keep = true;
    }

    /// For one of a child's standard streams: the lock lives as long as the child.
    pub(super) fn share(&self) -> Result<Stdio, Error> {
        let file = self.file.try_clone().map_err(|e| Error::io(LOCKING, &self.path, e))?;
        Ok(Stdio::from(file))
    }

    pub(super) fn release(mut self) -> Result<(), Error> {
        self.clear_debris(&[INDEX, UNFINISHED])?;
        self.keep = true;
        fs::remove_file(&self.path).map_err(|e| Error::io("unlocking the index at", &self.path, e))
    }

    /// Removes what a killed advance left beside the lock.
    fn clear_debris(&self, prefixes: &[&str]) -> Result<(), Error> {
        let git_dir = self.path.parent().unwrap_or(Path::new("."));
        let failed = |e: io::Error| Error::io("tidying", git_dir, e);
        for entry in fs::read_dir(git_dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let bytes = name.as_encoded_bytes();
            if prefixes.iter().any(|prefix| bytes.starts_with(prefix.as_bytes())) {
                fs::remove_file(git_dir.join(name)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing to do about a failure here: recovery finds the lock stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The open and locked file at `path`, when it belongs to this advance and to no
/// living process.
fn abandoned(git_dir: &Path, path: &Path, advance: &Advance) -> Result<Option<File>, Error> {
    let failed = |e: io::Error| Error::io(LOCKING, path, e);
    let directory = beneath::open_root(git_dir).map_err(|errno| failed(errno.into()))?;
    let Ok(Some(mut file)) = beneath::open_file(directory.as_fd(), b"index.lock") else {
        return Ok(None);
    };
    let mut content = String::new();
    let readable = (&mut file).take(1024).read_to_string(&mut content).is_ok();
    if !readable || content != marker(advance) {
        return Ok(None);
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(failed(e)),
    }
    // Its owner may have removed it between our opening and locking it.
    let ours = file.metadata().map_err(failed)?.ino();
    let current = fs::symlink_metadata(path).map(|meta| meta.ino());
    Ok((current.ok() == Some(ours)).then_some(file))
}

fn marker(advance: &Advance) -> String {
    let Advance { branch, old, new } = advance;
    format!("kapelle advance {branch} {old} {new}\n")
}
