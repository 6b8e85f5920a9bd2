//! Results on their way in: how they come from other machines, and the end of what they leave
//! behind (bundles, blobs, references) once nobody waits for them.
//!
//! It removes files and references, never a commit of a branch, and decides nothing: who waits is
//! what the engine and the store say.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::blob::{Blob, BlobError, BlobName, BlobStore};
use kapelle_domain::ids::{AttemptId, RunId, TaskId};
use kapelle_domain::task::TaskRecord;
use kapelle_git::{Error as GitError, RefName, Repository};
use kapelle_runtime::telemetry::Chain;
use kapelle_store::Store;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Engine;

/// How often it is looked for what nobody waits for any more. Much longer than any upload takes.
const LOOK_EVERY: Duration = Duration::from_secs(600);

type Carrying<'a, T> = Pin<Box<dyn Future<Output = Result<T, BlobError>> + Send + 'a>>;

/// Where workers on other machines put their results.
pub trait Parcels: Send + Sync + fmt::Debug {
    /// Gets one into a new file.
    fn fetch<'a>(&'a self, name: &'a BlobName, to: &'a Path) -> Carrying<'a, Blob>;
    /// Removes one; that is done already where it isn't there.
    fn remove<'a>(&'a self, name: &'a BlobName) -> Carrying<'a, ()>;
    /// What is there.
    fn names(&self) -> Carrying<'_, Vec<BlobName>>;
}

impl<S: BlobStore + fmt::Debug> Parcels for S {
    fn fetch<'a>(&'a self, name: &'a BlobName, to: &'a Path) -> Carrying<'a, Blob> {
        Box::pin(self.get(name, to))
    }

    fn remove<'a>(&'a self, name: &'a BlobName) -> Carrying<'a, ()> {
        Box::pin(self.delete(name))
    }

    fn names(&self) -> Carrying<'_, Vec<BlobName>> {
        Box::pin(async { Ok(self.list().await?.into_iter().map(|(name, _)| name).collect()) })
    }
}

/// Whose references to results are whose, where several coordinators share a repository: what the
/// identity of a store is written as. A restored store finds what was integrated before by it.
#[must_use]
pub fn owner(store: u64) -> String {
    format!("{store:x}")
}

/// Where the result of an attempt is kept until it is integrated.
///
/// # Errors
/// None for an id of ours: its parts are letters and digits.
pub fn attempt_ref(owner: &str, attempt: AttemptId) -> Result<RefName, GitError> {
    let task = format!("t{}", attempt.task.index);
    RefName::attempt(owner, &attempt.task.run.to_string(), &task, &attempt.number.to_string())
}

/// The attempt of a name of [`attempt_ref`].
fn attempt_of_ref(name: &RefName) -> Option<AttemptId> {
    let mut parts = name.as_str().rsplit('/');
    let (number, task, run) = (parts.next()?, parts.next()?, parts.next()?);
    format!("{run}/{task}#{number}").parse().ok()
}

/// The attempt of a file or blob that a worker named after it: `r-1-t0-2.bundle`,
/// `result-r-1-t0-2-3`.
fn attempt_of_file(name: &str) -> Option<AttemptId> {
    let (_, name) = name.split_once("r-")?;
    let mut parts = name.split(['-', '.']);
    let run = RunId(parts.next()?.parse().ok()?);
    let index = parts.next()?.strip_prefix('t')?.parse().ok()?;
    let number = parts.next()?.parse().ok()?;
    Some(AttemptId { task: TaskId { run, index }, number })
}

/// What a start finds, and what collects while a coordinator runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nobody writes results on this machine yet, and no process of an earlier coordinator lives.
    AtStart,
    /// Somebody may be writing one right now.
    Meanwhile,
}

/// Removes what results leave behind.
#[derive(Debug, Clone)]
pub struct Leftovers {
    /// Who knows what open runs wait for.
    pub engine: Engine,
    /// Who knows it of all others.
    pub store: Arc<Store>,
    /// Where the references are.
    pub repository: Repository,
    /// Which of them are ours.
    pub owner: String,
    /// Where bundles lie.
    pub directory: PathBuf,
    /// Where workers on other machines put results, if there are such.
    pub parcels: Option<Arc<dyn Parcels>>,
}

impl Leftovers {
    /// Looks for them from time to time, until `end`.
    pub async fn run(self, end: CancellationToken) {
        while end.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            self.clear(When::Meanwhile).await;
        }
    }

    /// Removes what nobody waits for. What can't be removed is tried again the next time.
    pub async fn clear(&self, when: When) {
        self.clear_files(when).await;
        if when == When::AtStart
            && let Err(error) = self.repository.clear_attempt_locks(&self.owner).await
        {
            tracing::warn!(error = %Chain(&error), "locks of dead processes can't be cleared");
        }
        if let Err(error) = self.clear_refs().await {
            tracing::warn!(error = %Chain(&error), "references to results can't be cleared");
        }
        if let Some(parcels) = &self.parcels
            && let Err(error) = self.clear_parcels(&**parcels).await
        {
            tracing::warn!(error = %Chain(&error), "results of workers can't be cleared");
        }
    }

    async fn clear_files(&self, when: When) {
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let needed = match entry.file_name().to_str().and_then(attempt_of_file) {
                Some(attempt) => self.is_needed(attempt).await,
                None => when == When::Meanwhile,
            };
            if !needed && let Err(error) = std::fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "a result can't be removed");
            }
        }
    }

    async fn clear_refs(&self) -> Result<(), GitError> {
        for (name, commit) in self.repository.attempt_refs(&self.owner).await? {
            let attempt = attempt_of_ref(&name);
            if let Some(attempt) = attempt
                && !self.is_needed(attempt).await
            {
                self.repository.delete_ref(&name, &commit).await?;
            }
        }
        Ok(())
    }

    async fn clear_parcels(&self, parcels: &dyn Parcels) -> Result<(), BlobError> {
        let mut seen = BTreeSet::new();
        for name in parcels.names().await? {
            if let Some(attempt) = attempt_of_file(name.as_str())
                && seen.insert(name.clone())
                && !self.is_needed(attempt).await
            {
                parcels.remove(&name).await?;
            }
        }
        Ok(())
    }

    /// Whether somebody waits for files of an attempt. In doubt somebody does.
    async fn is_needed(&self, attempt: AttemptId) -> bool {
        let needs = move |record: &TaskRecord| record.needs_files_of(attempt.number);
        let open = self
            .engine
            .read(move |world| world.task(attempt.task).map(|task| needs(&task.record)))
            .await;
        match open {
            Ok(Some(needed)) => needed,
            Ok(None) => match self.store.task(attempt.task).await {
                Ok(task) => task.is_some_and(|task| needs(&task.record)),
                Err(_) => true,
            },
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_attempts() {
        let attempt: AttemptId = "r-12/t3#2".parse().expect("an id");
        let name = attempt_ref(&owner(u64::MAX >> 1), attempt).expect("a name");
        assert_eq!(name.as_str(), "refs/kapelle/7fffffffffffffff/r-12/t3/2");
        assert_eq!(attempt_of_ref(&name), Some(attempt));
        for file in ["r-12-t3-2.bundle", "result-r-12-t3-2-7", "r-12-t3-2.bundle.lock"] {
            assert_eq!(attempt_of_file(file), Some(attempt), "{file}");
        }
        for file in ["", "r-", "r-x-t3-2", "r-12-3-2", "history-00000001", "result-12"] {
            assert_eq!(attempt_of_file(file), None, "{file}");
        }
    }
}
