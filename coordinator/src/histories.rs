//! Brings a project's history to workers on other machines.
//!
//! Each commit that work starts from has to be there before its worker asks for long. The history
//! is published as a chain of packs; see `kapelle_bus::freight`. Everything here can be made again
//! from the repository: what a broker loses is published anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::blob::{BlobError, BlobStore};
use kapelle_bus::freight::{CHAIN_MAX, Index, Pack};
use kapelle_domain::event::{Event, Recorded, RunEvent, TaskEvent};
use kapelle_git::{CommitId, Repository};
use kapelle_runtime::telemetry::Chain;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Engine, Stopped};

/// How often it is looked whether all is there, whatever was heard: blobs can be lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Publishes the history of one repository.
#[derive(Debug)]
pub struct Histories<S> {
    store: S,
    repository: Repository,
    name: Arc<str>,
    scratch: PathBuf,
    index: Index,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Git(#[from] kapelle_git::Error),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("writing {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
}

impl<S: BlobStore> Histories<S> {
    /// One for `repository`, known to workers as `name`. Files are made in `scratch`.
    #[must_use]
    pub fn new(store: S, repository: Repository, name: Arc<str>, scratch: PathBuf) -> Self {
        Self { store, repository, name, scratch, index: Index::default() }
    }

    /// Publishes until `end` what work starts from.
    pub async fn run(mut self, engine: Engine, end: CancellationToken) {
        let mut events = engine.watch();
        loop {
            if let Err(Stopped) = self.publish(&engine).await {
                return;
            }
            tokio::select! {
                () = end.cancelled() => return,
                heard = concerning(&mut events) => if heard.is_err() { return },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn publish(&mut self, engine: &Engine) -> Result<(), Stopped> {
        let wanted = engine.read(|world| {
            let mut wanted: Vec<String> = Vec::new();
            for run in world.runs().filter(|run| !run.is_finished()) {
                wanted.extend(run.record.target.iter().map(|target| target.head.clone()));
                let grants = run.tasks.iter().filter_map(|task| task.grant());
                wanted.extend(grants.filter_map(|grant| grant.base.clone()));
            }
            wanted.dedup();
            wanted
        });
        for commit in wanted.await? {
            if let Err(error) = self.provide(&commit).await {
                tracing::warn!(%commit, error = %Chain(&error), "the history could not be published; it is tried again");
            }
        }
        Ok(())
    }

    /// Makes sure that workers can get the history up to `commit`.
    async fn provide(&mut self, commit: &str) -> Result<(), Error> {
        let commit = CommitId::new(commit)?;
        if let Some(newest) = self.index.packs.last() {
            let newest = CommitId::new(newest.commit.as_str())?;
            let there = newest == commit || self.repository.is_ancestor(&commit, &newest).await?;
            if there && self.is_published().await? {
                return Ok(());
            }
            if there || self.index.packs.len() >= CHAIN_MAX {
                // Lost, or too long: from the beginning.
                self.index.packs.clear();
            }
        }
        let number = self.index.packs.last().map_or(1, |pack| pack.number + 1);
        let known = self.index.packs.last().map(|pack| CommitId::new(pack.commit.as_str()));
        let known = known.transpose()?;
        let file = self.scratch.join(format!("history-{number}.pack"));
        remove(&file)?;
        self.repository.pack_history(&commit, known.as_ref(), &file).await?;
        let put = self.store.put(&Index::pack_name(&self.name, number)?, &file).await;
        remove(&file)?;
        let hash = put?.hash;
        self.index.packs.push(Pack { number, commit: commit.to_string(), hash });
        self.put_index().await
    }

    async fn put_index(&self) -> Result<(), Error> {
        let file = self.scratch.join("history.index");
        let failed = |source| Error::File { path: file.clone(), source };
        std::fs::write(&file, self.index.to_string()).map_err(failed)?;
        self.store.put(&Index::name(&self.name)?, &file).await?;
        remove(&file)
    }

    /// Whether the index is where it was put.
    async fn is_published(&self) -> Result<bool, Error> {
        let file = self.scratch.join("history.index.seen");
        remove(&file)?;
        let found = self.store.get(&Index::name(&self.name)?, &file).await;
        remove(&file)?;
        match found {
            Ok(_) => Ok(true),
            Err(BlobError::Missing { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: path.to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Waits for something that may want another commit.
async fn concerning(
    events: &mut tokio::sync::broadcast::Receiver<Arc<Vec<Recorded>>>,
) -> Result<(), Stopped> {
    loop {
        match events.recv().await {
            Ok(batch) if batch.iter().any(|recorded| concerns(&recorded.event)) => return Ok(()),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Ok(()),
            Err(RecvError::Closed) => return Err(Stopped),
        }
    }
}

fn concerns(event: &Event) -> bool {
    match event {
        Event::Run { event, .. } => matches!(
            event,
            RunEvent::Submitted { .. }
                | RunEvent::TargetMoved { .. }
                | RunEvent::TargetSwitched { .. }
                | RunEvent::Reopened
        ),
        Event::Task { event, .. } => matches!(event, TaskEvent::Claimed { .. }),
        Event::Worker { .. } => false,
    }
}
