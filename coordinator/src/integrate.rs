//! The merge queue: brings results into their targets, one after the other.
//!
//! ```text
//!   bundle --> refs/kapelle/… --> merged commit --> checks --> announced --> branch moves
//!                                  (no working tree)            (committed)   (compare-and-swap)
//! ```
//!
//! It has no queue of its own: what is to be integrated is what the engine says is waiting. A
//! crash anywhere leaves either nothing, or an announced move that is finished or found undone
//! when the coordinator comes back. The roadmap is written here and nowhere else, in the commit
//! that completes the work stream.

mod message;
pub mod target;
mod trouble;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::Refusal;
use kapelle_bus::freight::BlobReference;
use kapelle_domain::attempt::{Check, WorkResult};
use kapelle_domain::engine::{Input, RefusalClass};
use kapelle_domain::ids::{AttemptId, RunId, Timestamp};
use kapelle_domain::plan::{PlanSource, Target, TaskSpec};
use kapelle_domain::roadmap::{Edit as RoadmapEdit, Roadmap, Status};
use kapelle_domain::task::{Prepared, TaskState};
use kapelle_git::{
    Advance, ChangedPath, CommitId, Edit, Error as GitError, Identity, Merged, NewCommit,
    Recovered, RefName, Work,
};
use kapelle_runtime::clock::{self, Clock};
use kapelle_runtime::telemetry::Chain;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use self::message::TASK as TASK_TRAILER;
use self::trouble::Trouble;
use crate::dispatch::{Engine, Stopped};
use crate::project::{Project, ROADMAP_BYTES_MAX};
use crate::results::{Parcels, attempt_ref};

/// The largest bundle that is taken.
const BUNDLE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// How often a move is tried anew because the target moved meanwhile.
const RACES_MAX: u32 = 20;

/// How long the queue waits when nothing rings.
const IDLE: Duration = Duration::from_secs(5);

/// How long somebody who only looks at a project waits for a move to be finished.
const MOVE_MAX: Duration = Duration::from_secs(5);

/// Checks a merged tree in the given directory, which was made from the given commit; the name
/// marks the processes. Fails with the reason when this machine can't run them. Injected, because
/// running commands under supervision is the worker's art.
pub type CheckTree = Arc<dyn Fn(PathBuf, CommitId, String) -> Checking + Send + Sync>;

/// Checks that are being run.
pub type Checking = Pin<Box<dyn Future<Output = Result<Vec<Check>, String>> + Send>>;

/// What the integrator is made of.
#[derive(Clone)]
pub struct Integrator {
    /// The project.
    pub project: Project,
    /// The way to the engine.
    pub engine: Engine,
    /// Checks a merged tree.
    pub check: CheckTree,
    /// Who integrated commits are by.
    pub identity: Identity,
    /// The clock.
    pub clock: Clock,
    /// Rung when there may be something to integrate.
    pub bell: Arc<Notify>,
    /// Whose references and trailers are ours: [`crate::results::owner`] of the store.
    pub owner: String,
    /// Where workers on other machines put their results, if there are such.
    pub parcels: Option<Arc<dyn Parcels>>,
}

impl fmt::Debug for Integrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Integrator").field("project", &self.project.root()).finish_non_exhaustive()
    }
}

/// What the queue does next.
enum Next {
    /// Integrate this.
    Ready(Box<Waiting>),
    /// Wait for as long, or until the bell rings.
    Nothing { look_in: Duration },
}

/// One result that waits.
#[derive(Debug, Clone)]
struct Waiting {
    attempt: AttemptId,
    spec: Arc<TaskSpec>,
    run: RunId,
    title: String,
    source: PlanSource,
    target: Target,
    result: Option<WorkResult>,
    base: Option<String>,
    prepared: Option<Prepared>,
    /// How often in a row its integration was hindered.
    hindered: u32,
    /// Not to be tried before.
    until: Timestamp,
    /// Whether its worker is on another machine.
    remote: bool,
}

impl Integrator {
    /// Integrates what waits until `stop`. Once `drain` is cancelled it ends by itself when
    /// nothing waits any more.
    pub async fn run(self, drain: CancellationToken, stop: CancellationToken) {
        loop {
            match self.next().await {
                Ok(Next::Ready(waiting)) => {
                    // A move that has begun is always finished before the process ends.
                    if let Err(Stopped) = self.integrate(*waiting).await {
                        return;
                    }
                }
                // What is hindered is for the next process.
                Ok(Next::Nothing { .. }) if drain.is_cancelled() => return,
                Ok(Next::Nothing { look_in }) => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = drain.cancelled() => {}
                        () = self.bell.notified() => {}
                        () = tokio::time::sleep(look_in) => {}
                    }
                }
                Err(Stopped) => return,
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Finishes the moves that were announced by a coordinator that is gone, and nothing else: for a
    /// process that has no work done. What it can't finish soon is left to one that has.
    pub async fn finish_moves(&self) {
        let Ok(waiting) = self.waiting().await else { return };
        for one in waiting {
            let Some(prepared) = &one.prepared else { continue };
            let finished = self.finish_announced(&one, prepared);
            match tokio::time::timeout(MOVE_MAX, finished).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(attempt = %one.attempt, error = %Chain(&error), "a move that was announced can't be finished now");
                }
                Err(_) => {
                    tracing::warn!(attempt = %one.attempt, "a move that was announced takes too long to be finished now");
                }
            }
        }
    }

    /// The result that waits longest and isn't hindered; announced moves come first. One that has
    /// perhaps begun and can't be finished yet has everything else wait for it.
    async fn next(&self) -> Result<Next, Stopped> {
        let now = Timestamp(self.clock.now());
        let waiting = self.waiting().await?;
        let stuck = waiting.iter().any(|one| one.prepared.is_some() && one.until > now);
        let ready = |one: &Waiting| one.until <= now && (!stuck || one.prepared.is_some());
        let soonest = waiting.iter().map(|one| one.until.since(now)).filter(|wait| !wait.is_zero());
        let look_in = soonest.min().map_or(IDLE, |wait| wait.min(IDLE));
        let next = waiting.into_iter().find(ready);
        Ok(next.map_or(Next::Nothing { look_in }, |waiting| Next::Ready(Box::new(waiting))))
    }

    /// What waits, in the order in which it goes.
    async fn waiting(&self) -> Result<Vec<Waiting>, Stopped> {
        self.engine
            .read(|world| {
                let open = world.runs().filter(|run| !run.is_finished());
                let waiting = open.flat_map(|run| run.tasks.iter().map(move |task| (run, task)));
                let waiting = waiting.filter_map(|(run, task)| {
                    let TaskState::Integrating { prepared } = &task.record.state else {
                        return None;
                    };
                    let attempt = task.record.attempt.as_ref()?;
                    let hindrance = task.record.hindrance.as_ref();
                    let waiting = Waiting {
                        attempt: task.attempt_id()?,
                        spec: Arc::clone(&task.spec),
                        run: run.id,
                        title: task.spec.title.clone(),
                        source: run.record.spec.source.clone(),
                        target: run.record.target.clone()?,
                        result: attempt.report.as_ref()?.result.clone(),
                        base: attempt.grant.as_ref()?.base.clone(),
                        prepared: prepared.clone(),
                        hindered: hindrance.map_or(0, |hindrance| hindrance.times),
                        until: hindrance.map_or(Timestamp::default(), |hindrance| hindrance.until),
                        remote: !attempt.grant.as_ref()?.embedded,
                    };
                    Some(((prepared.is_none(), task.record.since, task.id), waiting))
                });
                let mut waiting: Vec<_> = waiting.collect();
                waiting.sort_by_key(|(order, _)| *order);
                waiting.into_iter().map(|(_, waiting)| waiting).collect()
            })
            .await
    }

    async fn integrate(&self, waiting: Waiting) -> Result<(), Stopped> {
        let attempt = waiting.attempt;
        let (class, reason) = match self.bring_in(&waiting).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Gone) => {
                self.forget(&waiting).await;
                return Ok(());
            }
            Err(Trouble::Stopped(stopped)) => return Err(stopped),
            Err(Trouble::Work(reason)) => (RefusalClass::Work, reason),
            Err(Trouble::Lost(reason)) => (RefusalClass::Lost, reason),
            Err(Trouble::Hindered { reason, for_person, begun }) => {
                let undone = if begun { self.is_undone(&waiting).await? } else { Some(true) };
                let Some(undone) = undone else { return Ok(()) };
                let times = waiting.hindered + 1;
                (RefusalClass::Hindered { times, for_person, undone }, reason)
            }
        };
        tracing::info!(%attempt, %reason, "a result was not integrated");
        let told = self.tell(Input::RefuseIntegration { attempt, class, reason }).await;
        if let Err(Trouble::Stopped(stopped)) = told {
            return Err(stopped);
        }
        if !matches!(class, RefusalClass::Hindered { .. }) {
            self.forget(&waiting).await;
        }
        Ok(())
    }

    /// Whether nothing of the move that was announced last has happened; `None` when all of it has,
    /// and is recorded. What can't be found out now is found out the next time.
    async fn is_undone(&self, waiting: &Waiting) -> Result<Option<bool>, Stopped> {
        let now = self.waiting().await?;
        let same = now.into_iter().find(|one| one.attempt == waiting.attempt);
        let Some(prepared) = same.and_then(|one| one.prepared) else { return Ok(Some(true)) };
        match self.finish_announced(waiting, &prepared).await {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(true)),
            Err(Trouble::Stopped(stopped)) => Err(stopped),
            Err(_) => Ok(Some(false)),
        }
    }

    async fn bring_in(&self, waiting: &Waiting) -> Result<(), Trouble> {
        if let Some(prepared) = &waiting.prepared
            && self.finish_announced(waiting, prepared).await?
        {
            return Ok(());
        }
        let work = self.import(waiting).await?;
        let mut target = waiting.target.clone();
        for _ in 0..RACES_MAX {
            let branch = self.branch(waiting, &mut target).await?;
            self.project.repository.require_unlocked(&branch).await?;
            let old = self.project.repository.resolve(&branch).await?;
            // Deleted at this very moment: there is another one the next time.
            let Some(old) = old else { continue };
            if let Some(commit) = self.already_in(waiting, &old).await? {
                return self.done(waiting, &commit).await;
            }
            if target.head != old.as_str() {
                // Somebody else has moved it: new attempts start from where it is now.
                let head = old.to_string();
                self.tell(Input::ObserveTarget { run: waiting.run, head }).await?;
            }
            let merged = self.merge(waiting, &old, work.as_ref()).await?;
            self.verify(waiting, &old, &merged).await?;
            if self.advance(waiting, &branch, &old, &merged).await? {
                return self.done(waiting, &merged).await;
            }
        }
        Err(Trouble::hindered("the target moved again and again"))
    }

    /// Finishes a move that was announced by a coordinator that is gone. False when nothing of it
    /// had happened.
    async fn finish_announced(
        &self,
        waiting: &Waiting,
        prepared: &Prepared,
    ) -> Result<bool, Trouble> {
        let advance = Advance {
            branch: RefName::branch(&prepared.branch)?,
            old: CommitId::new(prepared.old.as_str())?,
            new: CommitId::new(prepared.new.as_str())?,
        };
        let recovered = self.project.repository.recover_advance(&advance).await;
        // It may have begun before us, whatever keeps us from looking.
        let unknown = |error: GitError| match Trouble::from(error) {
            Trouble::Hindered { reason, for_person, .. } => {
                Trouble::Hindered { reason, for_person, begun: true }
            }
            other => other,
        };
        match recovered.map_err(unknown)? {
            Recovered::Completed | Recovered::LeftAlone { .. } => {
                self.done(waiting, &advance.new).await?;
                Ok(true)
            }
            Recovered::NotStarted | Recovered::RolledBack { .. } | Recovered::Superseded { .. } => {
                Ok(false)
            }
        }
    }

    /// Takes the result out of its bundle. `None` when there is none: nothing was changed.
    async fn import(&self, waiting: &Waiting) -> Result<Option<Work>, Trouble> {
        let Some(result) = &waiting.result else { return Ok(None) };
        let name = attempt_ref(&self.owner, waiting.attempt)?;
        let announced = CommitId::new(result.commit.as_str())?;
        // The base is what was granted, not what the worker says.
        let base = CommitId::new(waiting.base.clone().unwrap_or_default())?;
        if self.project.repository.resolve(&name).await?.as_ref() == Some(&announced) {
            return Ok(Some(Work { base, result: announced }));
        }
        let path = self.bundle(waiting, result).await?;
        if matches!(tokio::fs::try_exists(&path).await, Ok(false)) {
            return Err(Trouble::Lost(format!("the bundle {} is gone", path.display())));
        }
        let found =
            self.project.repository.import_bundle(&path, &base, &name, BUNDLE_BYTES_MAX).await;
        if waiting.remote {
            // It can be got again for as long as it may be needed.
            drop(tokio::fs::remove_file(&path).await);
        }
        let found = found?;
        if found != announced {
            return Err(Trouble::Work(
                "the bundle holds another commit than was reported".to_owned(),
            ));
        }
        Ok(Some(Work { base, result: found }))
    }

    /// Where the bundle of a result lies on this machine.
    async fn bundle(&self, waiting: &Waiting, result: &WorkResult) -> Result<PathBuf, Trouble> {
        if !waiting.remote {
            return Ok(PathBuf::from(&result.bundle));
        }
        // A worker on another machine has no business with paths of this one.
        let reference: BlobReference =
            result.bundle.parse().map_err(|error| Trouble::Work(Chain(&error).to_string()))?;
        let parcels = self.parcels.as_ref().ok_or_else(|| Trouble::Hindered {
            reason: "results of other machines can only be got by `kapelle coordinator`".to_owned(),
            for_person: true,
            begun: false,
        })?;
        let path = self.project.state.join("results").join(reference.name.as_str());
        drop(tokio::fs::remove_file(&path).await);
        if parcels.fetch(&reference.name, &path).await?.hash != reference.hash {
            drop(tokio::fs::remove_file(&path).await);
            return Err(Trouble::Lost(format!("{reference} is not what was reported")));
        }
        Ok(path)
    }

    /// The branch that results go to now; a new one of the run's own where the target can't move.
    async fn branch(&self, waiting: &Waiting, target: &mut Target) -> Result<RefName, Trouble> {
        let repository = &self.project.repository;
        let branch = RefName::branch(&target.branch)?;
        let Some(reason) = target::obstacle(repository, &branch).await? else {
            return Ok(branch);
        };
        let head = match repository.resolve(&branch).await? {
            Some(head) => head,
            None => CommitId::new(target.head.as_str())?,
        };
        let own = target::make_own(repository, waiting.run, &head).await?;
        *target = Target { branch: own.short().to_owned(), head: head.to_string() };
        let Target { branch, head } = target.clone();
        self.tell(Input::SwitchTarget { run: waiting.run, branch, head, reason }).await?;
        Ok(own)
    }

    /// The commit that integrated this attempt already, if one did.
    async fn already_in(
        &self,
        waiting: &Waiting,
        at: &CommitId,
    ) -> Result<Option<CommitId>, Trouble> {
        let since = waiting.base.clone().and_then(|base| CommitId::new(base).ok());
        let name = message::name(waiting.attempt, &self.owner);
        let repository = &self.project.repository;
        Ok(repository.find_commit_with_trailer(at, message::ATTEMPT, &name, since.as_ref()).await?)
    }

    async fn merge(
        &self,
        waiting: &Waiting,
        target: &CommitId,
        work: Option<&Work>,
    ) -> Result<CommitId, Trouble> {
        let edits = self.roadmap_edit(waiting, target).await?;
        let nothing = || Work { base: target.clone(), result: target.clone() };
        let work = work.cloned().unwrap_or_else(nothing);
        if self.requires_changes(waiting)
            && !news(&edits, &self.project.repository.diff_stat(&work.base, &work.result).await?)
        {
            let reason = "the result changes nothing but the roadmap, which is not an agent's";
            return Err(Trouble::Work(reason.to_owned()));
        }
        let merged = self.squash(waiting, target, &work, &edits, true).await?;
        if news(&edits, &merged.changed) {
            return Ok(merged.commit);
        }
        // Somebody else has brought in the same meanwhile: it is done, and the commit says so.
        Ok(self.squash(waiting, target, &work, &edits, false).await?.commit)
    }

    async fn squash(
        &self,
        waiting: &Waiting,
        target: &CommitId,
        work: &Work,
        edits: &[Edit],
        news: bool,
    ) -> Result<Merged, Trouble> {
        let commit = NewCommit {
            message: message::of(
                &waiting.spec,
                (waiting.attempt, &self.owner),
                &waiting.title,
                news,
            ),
            identity: self.identity.clone(),
            seconds: self.clock.now() / 1000,
        };
        Ok(self.project.repository.merge_squash(target, work, edits, &commit).await?)
    }

    /// Whether an agent that leaves nothing new has not done its work, whatever its worker says.
    fn requires_changes(&self, waiting: &Waiting) -> bool {
        let verify = &self.project.config.verify;
        waiting.spec.verify && verify.enabled && verify.require_changes
    }

    /// Marks the work stream complete in the target's version of the roadmap.
    async fn roadmap_edit(
        &self,
        waiting: &Waiting,
        target: &CommitId,
    ) -> Result<Vec<Edit>, Trouble> {
        let PlanSource::Roadmap { path, .. } = &waiting.source else { return Ok(Vec::new()) };
        let path = PathBuf::from(path);
        let Some(bytes) =
            self.project.repository.read_file(target, &path, ROADMAP_BYTES_MAX).await?
        else {
            // It isn't committed on this branch; there is nothing to keep true.
            return Ok(Vec::new());
        };
        let Ok(id) = waiting.spec.key.parse() else { return Ok(Vec::new()) };
        let roadmap = Roadmap::parse(&bytes);
        let edits = [
            RoadmapEdit::SetStatus(Status::Complete),
            RoadmapEdit::MarkTasks { done: true },
            RoadmapEdit::SetCompleted(clock::local_date(self.clock.now())),
        ];
        match roadmap.edit(&id, &edits) {
            Ok(content) => Ok(vec![Edit { path, content }]),
            Err(error) => {
                tracing::warn!(stream = %id, %error, "the roadmap could not be kept true");
                Ok(vec![Edit { path, content: bytes }])
            }
        }
    }

    /// Checks the merged tree as it would be, before anything moves.
    async fn verify(
        &self,
        waiting: &Waiting,
        target: &CommitId,
        merged: &CommitId,
    ) -> Result<(), Trouble> {
        if !waiting.spec.verify || !self.project.config.integrate.verify_merged {
            return Ok(());
        }
        let name = format!("merge-{}-t{}", waiting.run, waiting.attempt.task.index);
        let directory = self.project.state.join("work").join(&name);
        kapelle_git::remove_tree(&directory).await?;
        let parent = self.project.state.join("work");
        std::fs::create_dir_all(&parent).map_err(|error| {
            Trouble::hindered(format!("{} can't be made: {error}", parent.display()))
        })?;
        let clone = self.project.repository.checkout_for_verification(merged, &directory).await?;
        let checks = (self.check)(clone.tree.clone(), target.clone(), name).await;
        if let Err(error) = kapelle_git::remove_tree(&directory).await {
            tracing::warn!(error = %Chain(&error), "a clone for checks could not be removed");
        }
        trouble::of_checks(&checks.map_err(Trouble::hindered)?)
    }

    /// Announces the move, then makes it. False when the target moved meanwhile.
    async fn advance(
        &self,
        waiting: &Waiting,
        branch: &RefName,
        old: &CommitId,
        new: &CommitId,
    ) -> Result<bool, Trouble> {
        self.tell(Input::PrepareIntegration {
            attempt: waiting.attempt,
            branch: branch.short().to_owned(),
            old: old.to_string(),
            new: new.to_string(),
        })
        .await?;
        let advance = Advance { branch: branch.clone(), old: old.clone(), new: new.clone() };
        let reason = format!("integrate {}", waiting.attempt);
        match self.project.repository.advance(&advance, &reason).await {
            Ok(_) => Ok(true),
            Err(
                GitError::RefMoved { .. }
                | GitError::Dirty { .. }
                | GitError::OperationInProgress { .. }
                | GitError::CheckedOutElsewhere { .. },
            ) => Ok(false),
            Err(error) => Err(Trouble::of_move(error)),
        }
    }

    async fn done(&self, waiting: &Waiting, commit: &CommitId) -> Result<(), Trouble> {
        let integrated = Input::Integrated { attempt: waiting.attempt, commit: commit.to_string() };
        self.tell(integrated).await?;
        self.forget(waiting).await;
        Ok(())
    }

    /// Removes what held a result while it waited: its reference, and its bundle or parcel. What
    /// can't be removed now is removed later, by [`crate::results::Leftovers`].
    async fn forget(&self, waiting: &Waiting) {
        let Some(result) = &waiting.result else { return };
        let removed = async {
            let name = attempt_ref(&self.owner, waiting.attempt)?;
            self.project.repository.delete_ref(&name, &CommitId::new(result.commit.as_str())?).await
        };
        if let Err(error) = removed.await {
            tracing::warn!(attempt = %waiting.attempt, error = %Chain(&error), "a reference could not be removed");
        }
        if !waiting.remote {
            drop(tokio::fs::remove_file(&result.bundle).await);
        } else if let (Some(parcels), Ok(reference)) =
            (&self.parcels, result.bundle.parse::<BlobReference>())
            && let Err(error) = parcels.remove(&reference.name).await
        {
            tracing::warn!(attempt = %waiting.attempt, error = %Chain(&error), "a result could not be removed");
        }
    }

    /// Gives an input until it is recorded or refused.
    async fn tell(&self, input: Input) -> Result<(), Trouble> {
        loop {
            match self.engine.give(input.clone()).await? {
                Ok(_) => return Ok(()),
                Err(Refusal::Rejected(rejection)) => {
                    tracing::debug!(%rejection, "the merge queue was refused");
                    return Err(Trouble::Gone);
                }
                Err(Refusal::Unavailable { .. }) => {
                    tokio::time::sleep(Duration::from_millis(200)).await
                }
            }
        }
    }
}

/// Whether something has changed beside the integrator's own files.
fn news(edits: &[Edit], changed: &[ChangedPath]) -> bool {
    changed.iter().any(|changed| edits.iter().all(|edit| edit.path != changed.path))
}
