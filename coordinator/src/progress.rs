//! Passes work in progress on, from a worker that was cut off to the next one.
//!
//! Workers leave it where only the coordinator may read, and read where only the coordinator may
//! write. So what an attempt goes on from is copied from one place to the other, when it is known
//! that there will be such an attempt, and removed there when nobody goes on from it any more. What is
//! gone on from is decided in the engine; where workers leave it, [`crate::results`] clears up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::blob::{Blob, BlobError, BlobName, BlobStore, Hash};
use kapelle_bus::freight::{BlobReference, PROGRESS};
use kapelle_domain::engine::World;
use kapelle_domain::event::{Event, Recorded, TaskEvent};
use kapelle_domain::task::Task;
use kapelle_runtime::identity;
use kapelle_runtime::telemetry::Chain;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Engine, Stopped};
use crate::results::Parcels;

/// How often it is looked whether all is there, whatever was heard: blobs can be lost.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Passes work in progress on.
#[derive(Debug)]
pub struct Progress<S> {
    /// Where workers leave it.
    results: Arc<dyn Parcels>,
    /// Where workers read it.
    bases: S,
    scratch: PathBuf,
    /// What was passed on; `None` until it is known what an earlier coordinator did.
    passed_on: Option<BTreeMap<BlobName, Hash>>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("`{name}` is not what was reported")]
    Changed { name: String },
    #[error("using {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
}

impl<S: BlobStore> Progress<S> {
    /// Passes it on from `results` to `bases`, through files in `scratch`.
    #[must_use]
    pub fn new(results: Arc<dyn Parcels>, bases: S, scratch: PathBuf) -> Self {
        Self { results, bases, scratch, passed_on: None }
    }

    /// Passes on until `end`.
    pub async fn run(mut self, engine: Engine, end: CancellationToken) {
        let mut events = engine.watch();
        loop {
            let Ok(wanted) = engine.read(wanted).await else { return };
            if let Err(error) = self.settle(&wanted).await {
                tracing::warn!(error = %Chain(&error), "work in progress can't be passed on; it is tried again");
            }
            tokio::select! {
                () = end.cancelled() => return,
                heard = concerning(&mut events) => if heard.is_err() { return },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Makes what is wanted be there, and nothing else.
    async fn settle(&mut self, wanted: &[BlobReference]) -> Result<(), Error> {
        let mut passed_on = match self.passed_on.take() {
            Some(passed_on) => passed_on,
            None => progress(self.bases.list().await?).map(|(name, it)| (name, it.hash)).collect(),
        };
        let result = self.settle_with(&mut passed_on, wanted).await;
        self.passed_on = Some(passed_on);
        result
    }

    async fn settle_with(
        &self,
        passed_on: &mut BTreeMap<BlobName, Hash>,
        wanted: &[BlobReference],
    ) -> Result<(), Error> {
        let is_wanted = |name: &BlobName| wanted.iter().any(|wanted| wanted.name == *name);
        let old: Vec<BlobName> =
            passed_on.keys().filter(|name| !is_wanted(name)).cloned().collect();
        for name in old {
            self.bases.delete(&name).await?;
            passed_on.remove(&name);
        }
        for BlobReference { name, hash } in wanted {
            if passed_on.get(name) != Some(hash) {
                self.pass_on(name, *hash).await?;
                passed_on.insert(name.clone(), *hash);
            }
        }
        Ok(())
    }

    async fn pass_on(&self, name: &BlobName, hash: Hash) -> Result<(), Error> {
        let failed = |path: &PathBuf, source| Error::File { path: path.clone(), source };
        std::fs::create_dir_all(&self.scratch).map_err(|error| failed(&self.scratch, error))?;
        let file = self.scratch.join(format!("{PROGRESS}{:016x}", identity::seed()));
        let passed_on = async {
            let blob = self.results.fetch(name, &file).await?;
            if blob.hash != hash {
                return Err(Error::Changed { name: name.as_str().to_owned() });
            }
            self.bases.put(name, &file).await?;
            Ok(())
        };
        let passed_on = passed_on.await;
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(&file, error));
            }
            Ok(()) | Err(_) => {}
        }
        passed_on
    }
}

/// What the next attempts go on from.
fn wanted(world: &World) -> Vec<BlobReference> {
    let open = world.runs().filter(|run| !run.is_finished()).flat_map(|run| &run.tasks);
    let open = open.filter(|task| !task.record.state.is_ended() && !is_at_work(task));
    // What was kept on this machine is none of ours.
    open.filter_map(|task| task.record.snapshot.as_ref()?.work.bundle.parse().ok()).collect()
}

/// Whether the attempt that the work is of still has it.
fn is_at_work(task: &Task) -> bool {
    let newest = task.live_attempt().filter(|attempt| attempt.phase.is_held());
    newest
        .zip(task.record.snapshot.as_ref())
        .is_some_and(|(newest, kept)| newest.number == kept.attempt)
}

/// What of a bucket is work in progress.
fn progress(there: Vec<(BlobName, Blob)>) -> impl Iterator<Item = (BlobName, Blob)> {
    there.into_iter().filter(|(name, _)| name.as_str().starts_with(PROGRESS))
}

/// Waits for an event after which something else may be gone on from.
async fn concerning(events: &mut Receiver<Arc<Vec<Recorded>>>) -> Result<(), Stopped> {
    loop {
        match events.recv().await {
            Ok(recorded) if recorded.iter().any(|recorded| is_concerning(&recorded.event)) => {
                return Ok(());
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Ok(()),
            Err(RecvError::Closed) => return Err(Stopped),
        }
    }
}

fn is_concerning(event: &Event) -> bool {
    let Event::Task { event, .. } = event else { return false };
    matches!(event, TaskEvent::AttemptEnded { .. })
}
