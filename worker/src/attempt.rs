//! One attempt, from its grant to its report.
//!
//! ```text
//!   private clone --> agent process --> all of it gone --> snapshot --> checks --> bundle
//! ```
//!
//! The agent works in a clone of its own. What it leaves is read by us after every one of its
//! processes has ended; its word that it is done is only the first of the checks. What is said in
//! between, and what comes of it, is on disk before it is sent: see [`crate::spool`].

mod agent;
mod progress;
pub mod project;
mod result;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::WorkerEnd;
use kapelle_domain::attempt::{Outcome, Report};
use kapelle_domain::engine::{Answer, Directives, Grant, Holder, WorkerRequest};
use kapelle_domain::ids::{AttemptId, Timestamp};
use kapelle_git::{CommitId, Identity, Workspace};
use kapelle_runtime::clock::Clock;
use kapelle_runtime::config;
use kapelle_runtime::telemetry::Chain;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::project::{Project, Source};
use crate::process::Supervisor;
use crate::process::keeper::{Keeping, Lease};
use crate::spool;
use crate::spool::attempt::{AttemptSpool, Owner};
use crate::transcript::{Delivery, Transcript};
use crate::verify::Verifier;

/// Everything that attempts need, the same for all of a worker.
#[derive(Debug)]
pub struct Workshop {
    /// Where projects come from.
    pub source: Source,
    /// Who agents' commits are by.
    pub identity: Identity,
    /// The agents, by name.
    pub agents: BTreeMap<String, config::Agent>,
    /// How long any agent may take, where that is set for all of them.
    pub agent_limit: Option<Duration>,
    /// How long an agent may be silent before that is noted.
    pub silence: Option<Duration>,
    /// How often work in progress is kept; never, where that isn't set.
    pub snapshot_every: Option<Duration>,
    /// How results are checked.
    pub verifier: Verifier,
    /// How much of an agent's output is kept, in bytes.
    pub output_bytes: u64,
    /// Which workspaces stay after the attempt.
    pub keep: config::KeepWorkspaces,
    /// Starts agents.
    pub supervisor: Arc<Supervisor>,
    /// How agents outlive the worker; where that isn't set, they die with it.
    pub keeping: Option<Keeping>,
    /// The executable that plays scripts and other hidden roles.
    pub exe: PathBuf,
    /// The environment of agents, before what is theirs alone.
    pub environment: BTreeMap<OsString, OsString>,
    /// Where workspaces are made; absolute.
    pub workspaces: PathBuf,
    /// Where workspaces that stay are moved to; absolute.
    pub kept: PathBuf,
    /// Where results are laid for the coordinator; absolute.
    pub results: PathBuf,
    /// Where attempts have their spools; absolute, and of this worker alone.
    pub spools: PathBuf,
    /// Marks every process of this project's attempts.
    pub marker: String,
    /// The clock.
    pub clock: Clock,
}

/// How an attempt is told what is wanted of it.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// When the coordinator was last heard, by this clock.
    pub(crate) heard: watch::Receiver<Timestamp>,
    pub(crate) clock: Clock,
    /// Somebody wants something of it: ask what.
    pub(crate) look: Arc<Notify>,
    /// It is somebody else's by now.
    pub(crate) fenced: CancellationToken,
    /// The worker ends soon: the work is to be handed over to another attempt as it is.
    pub(crate) hand_over: CancellationToken,
    /// The same at once.
    pub(crate) stop: CancellationToken,
}

/// How long before its attempts may be lost, at most, an unheard worker ends them.
const FENCE_MARGIN_MAX: Duration = Duration::from_secs(30);

/// How long an agent may go on without an answered heartbeat, when somebody else may have its attempt
/// after `lost_after`.
pub(crate) fn unheard_max(lost_after: Duration) -> Duration {
    lost_after.saturating_sub((lost_after / 5).min(FENCE_MARGIN_MAX))
}

impl Orders {
    /// For how long an agent may live without this worker.
    pub(crate) fn lease(&self, grant: &Grant) -> Lease {
        let (heard, clock) = (self.heard.clone(), self.clock.clone());
        Lease { heard, lasts: unheard_max(grant.lost_after), clock }
    }
}

/// What the parts of an attempt share.
pub(crate) struct Desk<'a, B> {
    pub(crate) bus: &'a B,
    pub(crate) holder: &'a Holder,
    pub(crate) grant: &'a Grant,
    pub(crate) workshop: &'a Workshop,
    pub(crate) project: &'a Project,
    pub(crate) orders: &'a Orders,
    pub(crate) transcript: Transcript,
    /// The directory of its spool.
    pub(crate) place: PathBuf,
}

impl<B> Desk<'_, B> {
    /// Names the attempt on disk and in the marks of its processes.
    pub(crate) fn slug(&self) -> String {
        slug(self.grant.attempt)
    }

    pub(crate) fn marker(&self) -> String {
        format!("{}{}", self.workshop.marker, self.slug())
    }
}

/// Names an attempt on disk and in the marks of its processes.
pub(crate) fn slug(attempt: AttemptId) -> String {
    format!("{}-t{}-{}", attempt.task.run, attempt.task.index, attempt.number)
}

/// What an attempt has come to.
#[derive(Debug)]
pub(crate) struct Made {
    /// `None` when there is nothing to report: the attempt is somebody else's, or the worker ends
    /// and says so itself.
    pub(crate) report: Option<Report>,
    /// The transcript on its way. `None` when there was no room to keep one.
    pub(crate) delivery: Option<Delivery>,
}

impl Workshop {
    /// How much of an attempt's transcript may wait on disk: all that is kept of its agent's
    /// output, even where each character is written as two, and what the worker itself says.
    pub(crate) fn spool_quota(&self) -> u64 {
        self.output_bytes.saturating_mul(2).saturating_add(1 << 20)
    }

    async fn make_spool(&self, owner: Owner) -> Result<AttemptSpool, spool::Error> {
        let (root, quota) = (self.spools.clone(), self.spool_quota());
        let made = tokio::task::spawn_blocking(move || AttemptSpool::create(&root, owner, quota));
        made.await.unwrap_or(Err(spool::Error::Broken))
    }
}

/// Makes an attempt. Its report, if there is one, is on disk when this returns.
pub(crate) async fn run<B: WorkerEnd>(
    bus: &B,
    holder: &Holder,
    grant: &Grant,
    workshop: &Workshop,
    orders: &Orders,
) -> Made {
    let spool = match workshop.make_spool(Owner::of(grant, &holder.worker)).await {
        Ok(spool) => spool,
        Err(error) => {
            let summary = format!("its transcript could not be begun: {}", Chain(&error));
            let report = Some(Report::stated(Outcome::Infrastructure, summary));
            return Made { report, delivery: None };
        }
    };
    if workshop.keeping.is_some()
        && let Err(error) = spool.keep_grant(grant)
    {
        tracing::warn!(error = %Chain(&error), "an agent would not be gone on with after a restart");
    }
    begin(bus, holder, grant, workshop, orders, (spool, None)).await
}

/// Goes on with an attempt whose agent has outlived its worker.
pub(crate) async fn adopt<B: WorkerEnd>(
    bus: &B,
    holder: &Holder,
    grant: &Grant,
    workshop: &Workshop,
    orders: &Orders,
    (spool, keeper): (AttemptSpool, UnixStream),
) -> Made {
    begin(bus, holder, grant, workshop, orders, (spool, Some(keeper))).await
}

async fn begin<B: WorkerEnd>(
    bus: &B,
    holder: &Holder,
    grant: &Grant,
    workshop: &Workshop,
    orders: &Orders,
    (spool, keeper): (AttemptSpool, Option<UnixStream>),
) -> Made {
    let place = spool.directory().to_owned();
    let (transcript, delivery) =
        Transcript::begin(bus.clone(), holder.clone(), workshop.clock.clone(), spool);
    let report = match workshop.source.open(grant).await {
        Ok(project) => {
            let transcript = transcript.clone();
            let project = &*project;
            let desk = Desk { bus, holder, grant, workshop, project, orders, transcript, place };
            match keeper {
                None => make(&desk).await,
                Some(keeper) => go_on(&desk, keeper).await,
            }
        }
        Err(report) => {
            transcript.say(&report.summary);
            transcript.keep_report(report.clone()).await;
            Some(report)
        }
    };
    transcript.close();
    Made { report, delivery: Some(delivery) }
}

async fn make<B: WorkerEnd>(desk: &Desk<'_, B>) -> Option<Report> {
    let (agent, directory, workspace) = match prepare(desk).await {
        Ok(prepared) => prepared,
        Err(report) => {
            desk.transcript.say(&report.summary);
            desk.transcript.keep_report(report.clone()).await;
            return Some(report);
        }
    };
    let work = agent::run(desk, agent, &directory, &workspace).await;
    conclude(desk, work, directory, &workspace).await
}

/// Goes on with an agent that is at work. Without what it is configured as, it is left to its end.
async fn go_on<B: WorkerEnd>(desk: &Desk<'_, B>, keeper: UnixStream) -> Option<Report> {
    let agent = desk.workshop.agents.get(&*desk.grant.agent)?;
    let base = CommitId::new(desk.grant.base.as_deref().unwrap_or_default()).ok()?;
    let directory = desk.workshop.workspaces.join(desk.slug());
    let workspace = Workspace::at(&directory, base);
    let work = agent::adopt(desk, agent, keeper, &workspace).await;
    conclude(desk, work, directory, &workspace).await
}

/// Makes a report of what has become of the agent, and writes it to disk.
async fn conclude<B: WorkerEnd>(
    desk: &Desk<'_, B>,
    work: agent::Work,
    directory: PathBuf,
    workspace: &Workspace,
) -> Option<Report> {
    let mut link = None;
    let report = match work {
        agent::Work::Ended(mut ended) => {
            link = ended.link.take();
            Some(if ended.is_handed_over() {
                result::handed_over(desk, workspace, ended).await
            } else {
                result::of(desk, workspace, ended).await
            })
        }
        agent::Work::Impossible(report) => Some(report),
        agent::Work::Abandoned => None,
    };
    if let Some(report) = &report {
        desk.transcript.keep_report(report.clone()).await;
        progress::forget(desk, report);
    }
    // Until here another worker could have done it again.
    if let Some(link) = link {
        link.bye().await;
    }
    clean_up(desk, directory, report.as_ref()).await;
    report
}

/// Finds the agent and makes the clone.
async fn prepare<'w, B>(
    desk: &Desk<'w, B>,
) -> Result<(&'w config::Agent, PathBuf, Workspace), Report> {
    let name = &*desk.grant.agent;
    let unrunnable = |summary: String| Report::stated(Outcome::Unrunnable, summary);
    let agent = desk.workshop.agents.get(name).ok_or_else(|| {
        unrunnable(format!("there is no agent `{name}`; add it under `agents:` in kapelle.yaml"))
    })?;
    let base = desk.grant.base.as_deref().unwrap_or_default();
    let base = CommitId::new(base).map_err(|error| unrunnable(error.to_string()))?;
    let directory = desk.workshop.workspaces.join(desk.slug());
    let mut workspace = clone(desk, &base, &directory).await;
    if let (Ok(fresh), Some(work)) = (&workspace, &desk.grant.snapshot) {
        match progress::go_on(desk, fresh, work).await {
            Ok(()) => desk.transcript.say(&format!(
                "goes on from the work of an attempt that was cut off: {} files",
                work.files_changed
            )),
            Err(reason) => {
                let text = "the work of an attempt that was cut off can't be gone on from";
                desk.transcript.say(&format!("{text}: {reason}"));
                workspace = clone(desk, &base, &directory).await;
            }
        }
    }
    let workspace = workspace.map_err(|error| {
        let outcome = match error {
            kapelle_git::Error::UnknownCommit { .. } => Outcome::Unrunnable,
            _ => Outcome::Infrastructure,
        };
        Report::stated(outcome, format!("no workspace could be made: {}", Chain(&error)))
    })?;
    desk.transcript.say(&format!("works in {}, from commit {base}", workspace.tree.display()));
    Ok((agent, directory, workspace))
}

async fn clone<B>(
    desk: &Desk<'_, B>,
    base: &CommitId,
    directory: &Path,
) -> Result<Workspace, kapelle_git::Error> {
    // Left by an attempt of the same name that was cut off.
    drop(kapelle_git::remove_tree(directory).await);
    desk.project.repository.private_clone(base, directory, &desk.workshop.identity).await
}

async fn clean_up<B>(desk: &Desk<'_, B>, directory: PathBuf, report: Option<&Report>) {
    let completed = report.is_some_and(|report| report.outcome == Outcome::Completed);
    let keep = match desk.workshop.keep {
        config::KeepWorkspaces::Never => false,
        config::KeepWorkspaces::Failed => report.is_some() && !completed,
        config::KeepWorkspaces::Always => true,
    };
    if keep {
        let kept = desk.workshop.kept.join(desk.slug());
        let moved = async {
            kapelle_git::remove_tree(&kept).await.map_err(std::io::Error::other)?;
            tokio::fs::create_dir_all(&desk.workshop.kept).await?;
            tokio::fs::rename(&directory, &kept).await
        };
        match moved.await {
            Ok(()) => desk.transcript.say(&format!("the workspace stays at {}", kept.display())),
            Err(error) => tracing::warn!(%error, "a workspace could not be kept"),
        }
        return;
    }
    if let Err(error) = kapelle_git::remove_tree(&directory).await {
        tracing::warn!(directory = %directory.display(), error = %Chain(&error), "a workspace could not be removed");
    }
}

/// What is wanted of the attempt; nothing when the coordinator doesn't say.
pub(crate) async fn look<B: WorkerEnd>(desk: &Desk<'_, B>) -> Directives {
    match desk.bus.request(WorkerRequest::Look(desk.holder.clone())).await {
        Ok(Ok(Answer::Directives(directives))) => directives,
        Ok(Err(kapelle_bus::Refusal::Rejected(_))) => {
            desk.orders.fenced.cancel();
            Directives::default()
        }
        // The next heartbeat asks to look again.
        Ok(Ok(_) | Err(_)) | Err(_) => Directives::default(),
    }
}

/// A stop ladder from an agent's own settings.
pub(crate) fn ladder(agent: &config::Agent) -> crate::process::StopLadder {
    crate::process::StopLadder {
        interrupt_after: Some(Duration::ZERO),
        terminate_after: Some(agent.stop_grace.0),
        kill_after: agent.stop_grace.0.saturating_add(agent.kill_grace.0),
    }
}
