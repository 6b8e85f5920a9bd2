//! Work in progress: kept from time to time while an agent works, so that an attempt that is cut off
//! costs minutes; and gone on from by the next attempt.
//!
//! The files are read from under the agent, as they are. Two places are used in turns, so that what
//! the coordinator knows of is never overwritten before it knows of something newer. Which attempt
//! goes on from what is the coordinator's decision.

use std::path::{Path, PathBuf};

use kapelle_bus::WorkerEnd;
use kapelle_bus::freight::PROGRESS;
use kapelle_domain::attempt::{FailureClass, Outcome, Report, WorkResult};
use kapelle_domain::engine::WorkerRequest;
use kapelle_git::{CommitId, RefName, TreeId, Workspace};
use kapelle_runtime::telemetry::Chain;
use tokio_util::sync::CancellationToken;

use super::{Desk, result};

/// The largest bundle that is taken over.
const BUNDLE_BYTES_MAX: u64 = 16 << 30;

/// What has been kept of an attempt's work.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The files that the coordinator knows of.
    tree: Option<TreeId>,
    /// Which of the two places they are not in.
    free: Place,
}

#[derive(Debug, Clone, Copy, Default)]
enum Place {
    #[default]
    First,
    Second,
}

impl Place {
    fn name<B>(self, desk: &Desk<'_, B>) -> String {
        let place = match self {
            Self::First => "a",
            Self::Second => "b",
        };
        format!("{PROGRESS}{}-{}-{place}", desk.slug(), desk.grant.fence)
    }

    fn file<B>(self, desk: &Desk<'_, B>) -> PathBuf {
        desk.workshop.results.join(format!("{}.bundle", self.name(desk)))
    }

    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Keeps the files as they are now, unless they are as they were when they were last kept. What is
/// read is read to its end; what is on its way when the agent is `over` is not waited for.
pub(super) async fn keep<B: WorkerEnd>(
    desk: &Desk<'_, B>,
    workspace: &Workspace,
    known: Progress,
    over: &CancellationToken,
) -> Progress {
    let snapshot = match result::snapshot_at_work(desk, workspace).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            // Mostly a file that was being written. The next time comes.
            let attempt = desk.grant.attempt;
            tracing::debug!(%attempt, error = %Chain(&error), "work in progress can't be kept");
            return known;
        }
    };
    if snapshot.is_empty() || known.tree.as_ref() == Some(&snapshot.tree) {
        return known;
    }
    let delivered = over.run_until_cancelled(async {
        let (name, file) = (known.free.name(desk), known.free.file(desk));
        match result::pack(desk, &snapshot, &name, &file).await {
            Ok(work) => tell(desk, work).await,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "work in progress can't be kept");
                false
            }
        }
    });
    if delivered.await != Some(true) {
        return known;
    }
    Progress { tree: Some(snapshot.tree), free: known.free.other() }
}

/// Whether the coordinator knows of it now.
async fn tell<B: WorkerEnd>(desk: &Desk<'_, B>, work: WorkResult) -> bool {
    let files = work.files_changed;
    let request = WorkerRequest::Snapshot { holder: desk.holder.clone(), work };
    let told = matches!(desk.bus.request(request).await, Ok(Ok(_)));
    if told {
        desk.transcript.say(&format!("work in progress was kept: {files} files"));
    }
    told
}

/// Removes what was kept on this machine, once nobody can go on from it any more.
pub(super) fn forget<B>(desk: &Desk<'_, B>, report: &Report) {
    let is_over = match report.outcome.failure_class() {
        None => report.outcome == Outcome::Completed,
        Some(FailureClass::Application | FailureClass::Final) => true,
        Some(
            FailureClass::Infrastructure
            | FailureClass::Integration
            | FailureClass::RateLimit
            | FailureClass::Uncounted,
        ) => false,
    };
    if is_over {
        for place in [Place::First, Place::Second] {
            // Mostly it isn't there.
            drop(std::fs::remove_file(place.file(desk)));
        }
    }
}

/// Puts the work of an attempt that was cut off into a fresh clone.
///
/// # Errors
/// Why it can't be gone on from, in words for people; the clone is of no use then.
pub(super) async fn go_on<B>(
    desk: &Desk<'_, B>,
    workspace: &Workspace,
    work: &WorkResult,
) -> Result<(), String> {
    let words = |error: &(dyn std::error::Error + 'static)| Chain(error).to_string();
    let scratch = workspace.directory.join("progress.bundle");
    let sent = desk.workshop.source.receive(&work.bundle, &scratch).await;
    let file = match sent {
        Some(received) => {
            received.map_err(|error| words(&error))?;
            scratch.as_path()
        }
        None => here(desk, work)?,
    };
    let repository = &desk.project.repository;
    let attempt = desk.grant.attempt;
    let (run, number) = (attempt.task.run.to_string(), attempt.number.to_string());
    let task = format!("t{}", attempt.task.index);
    let name = RefName::attempt("progress", &run, &task, &number);
    let name = name.map_err(|error| words(&error))?;
    let imported = repository.import_bundle(file, &workspace.base, &name, BUNDLE_BYTES_MAX).await;
    let commit = imported.map_err(|error| words(&error))?;
    let put = put(desk, workspace, work, &commit).await;
    // Its files are in the clone; nobody needs the commit any more.
    let forgotten = repository.delete_ref(&name, &commit).await;
    put.and(forgotten.map_err(|error| words(&error)))
}

async fn put<B>(
    desk: &Desk<'_, B>,
    workspace: &Workspace,
    work: &WorkResult,
    commit: &CommitId,
) -> Result<(), String> {
    if commit.as_str() != work.commit {
        return Err("it is another commit than was reported".to_owned());
    }
    let put = desk.project.repository.put_work_in_progress(workspace, commit).await;
    put.map_err(|error| Chain(&error).to_string())
}

/// The bundle of an earlier attempt on this machine. Only what an attempt laid there is one.
fn here<'w, B>(desk: &Desk<'_, B>, work: &'w WorkResult) -> Result<&'w Path, String> {
    let file = Path::new(&work.bundle);
    if file.parent() == Some(&*desk.workshop.results) {
        return Ok(file);
    }
    Err(format!("`{}` was kept for workers on other machines", work.bundle))
}
