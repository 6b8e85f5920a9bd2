//! What is read: status, runs, tasks, attempts, workers, the roadmap.

use std::collections::BTreeMap;

use kapelle_domain::attempt::{Attempt, Outcome, Usage};
use kapelle_domain::engine::{Explanation, World};
use kapelle_domain::event::{Event, TaskEvent};
use kapelle_domain::ids::{EventSeq, RunId, TaskId};
use kapelle_domain::roadmap::{Roadmap, Severity};
use kapelle_domain::selection::{self, Taken, TakenStreams};
use kapelle_domain::task::TaskState;
use kapelle_store::{RunFilter, RunStatus, StoredRun, StoredTask};

use super::taken::{self, Unmerged};
use super::view::{
    AttemptView, CommandView, RunDetail, RunPage, RunView, StatusView, StreamView, TaskView,
    WorkerView,
};
use super::{Error, Service, show, why};
use crate::project::RoadmapError;

/// Open runs that a status shows.
const OPEN_RUNS_MAX: u32 = 100;
/// Ended runs that a status shows.
const RECENT_RUNS_MAX: u32 = 5;
/// Events that are read at once.
const EVENTS_PAGE: u32 = 500;
/// Runs on a page.
const RUNS_PAGE_MAX: u32 = 200;

impl Service {
    /// The state of the project at a glance.
    ///
    /// # Errors
    /// When the store or the roadmap can't be read.
    pub async fn status(&self) -> Result<StatusView, Error> {
        let roadmap = match self.0.project.roadmap().await {
            Ok(roadmap) => Some(roadmap),
            Err(RoadmapError::None) => None,
            Err(error) => return Err(error.into()),
        };
        let unmerged = self.unmerged(roadmap.as_ref().map(|(_, roadmap)| roadmap)).await?;
        let open = RunFilter { status: Some(RunStatus::Open), before: None, limit: OPEN_RUNS_MAX };
        let open = self.0.store.runs(open).await?;
        let recent = RunFilter { status: None, before: None, limit: RECENT_RUNS_MAX };
        let recent = self.0.store.runs(recent).await?;
        let mut tasks = Vec::new();
        let mut open_runs = Vec::new();
        for run in &open {
            open_runs.push(self.run_view(run, &unmerged).await?);
            let stored = self.tasks_of(run.id).await?;
            for view in self.task_views(run.id, &stored).await? {
                let done =
                    ["succeeded", "failed", "cancelled", "skipped"].contains(&view.state.as_str());
                if !done {
                    tasks.push(view);
                }
            }
        }
        tasks.sort_by_key(|task| rank(&task.state));
        let mut recent_runs = Vec::new();
        for run in recent.iter().filter(|run| run.record.outcome.is_some()) {
            recent_runs.push(self.run_view(run, &unmerged).await?);
        }
        let mut status = StatusView {
            roadmap: None,
            counts: BTreeMap::new(),
            available: 0,
            diagnostics: 0,
            streams: Vec::new(),
            tasks,
            open_runs,
            recent_runs,
            workers: self.workers().await?,
            draining: self.is_draining(),
        };
        if let Some((path, roadmap)) = roadmap {
            status.roadmap = Some(path.display().to_string());
            fill_streams(&mut status, &roadmap, &self.taken(unmerged).await?);
        }
        Ok(status)
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// When `before` is no run, or the store can't be read.
    pub async fn runs(&self, before: Option<&str>, limit: u32) -> Result<RunPage, Error> {
        let before = match before {
            Some(text) => Some(self.find_run(text).await?),
            None => None,
        };
        let limit = limit.clamp(1, RUNS_PAGE_MAX);
        let stored = self.0.store.runs(RunFilter { status: None, before, limit }).await?;
        let full = stored.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let next = stored.last().filter(|_| full).map(|run| run.id.to_string());
        let unmerged = self.unmerged_at_hand().await?;
        let mut runs = Vec::new();
        for run in &stored {
            runs.push(self.run_view(run, &unmerged).await?);
        }
        Ok(RunPage { runs, next })
    }

    /// A run with its tasks.
    ///
    /// # Errors
    /// When there is none, or the store can't be read.
    pub async fn run(&self, id: &str) -> Result<RunDetail, Error> {
        let id = self.find_run(id).await?;
        let run = self.stored_run(id).await?;
        let tasks = self.tasks_of(id).await?;
        let run = self.run_view(&run, &self.unmerged_at_hand().await?).await?;
        Ok(RunDetail { run, tasks: self.task_views(id, &tasks).await? })
    }

    /// A task.
    ///
    /// # Errors
    /// When there is none, or the store can't be read.
    pub async fn task(&self, id: &str) -> Result<TaskView, Error> {
        let task = self.find_task(id).await?;
        self.task_view(&task).await
    }

    /// The attempts of a task, oldest first.
    ///
    /// # Errors
    /// When there is no such task, or the store can't be read.
    pub async fn attempts(&self, id: &str) -> Result<Vec<AttemptView>, Error> {
        let task = self.find_task(id).await?;
        self.attempt_views(&task).await
    }

    pub(super) async fn attempt_views(&self, task: &StoredTask) -> Result<Vec<AttemptView>, Error> {
        let attempts = self.0.store.attempts(task.id).await?;
        let mut refusals = self.refusals(task, &attempts).await?;
        let view = |attempt: &Attempt| {
            let refused = refusals.remove(&attempt.number);
            show::attempt(task, attempt, refused)
        };
        Ok(attempts.iter().map(view).collect())
    }

    /// Why the merge queue refused results of a task, by the number of the attempt. Only the log
    /// knows; it is read when there is a result that is neither in nor on its way.
    pub(super) async fn refusals(
        &self,
        task: &StoredTask,
        attempts: &[Attempt],
    ) -> Result<BTreeMap<u32, String>, Error> {
        let good = |attempt: &&Attempt| {
            attempt.report.as_ref().is_some_and(|report| report.outcome == Outcome::Completed)
        };
        let accepted = matches!(
            task.record.state,
            TaskState::Succeeded { .. } | TaskState::Integrating { .. }
        );
        let mut refusals = BTreeMap::new();
        if attempts.iter().filter(good).count() <= usize::from(accepted) {
            return Ok(refusals);
        }
        let (mut after, mut queued) = (EventSeq(0), None);
        loop {
            let page = self.0.store.events(after, EVENTS_PAGE, None, Some(task.id)).await?;
            let Some(last) = page.last() else { return Ok(refusals) };
            after = last.seq;
            for recorded in page {
                let Event::Task { event, .. } = recorded.event else { continue };
                if let TaskEvent::IntegrationQueued { attempt } = event {
                    queued = Some(attempt);
                } else if let TaskEvent::IntegrationRefused { reason } = event {
                    refusals.extend(queued.map(|attempt| (attempt, reason)));
                }
            }
        }
    }

    /// What was said to a task.
    ///
    /// # Errors
    /// When there is no such task, or the store can't be read.
    pub async fn commands(&self, id: &str) -> Result<Vec<CommandView>, Error> {
        let task = self.find_task(id).await?;
        Ok(self.0.store.commands(task.id).await?.iter().map(show::command).collect())
    }

    /// The workers with an open session.
    ///
    /// # Errors
    /// When the coordinator has stopped.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, Error> {
        Ok(self.0.engine.read(|world| world.workers().map(show::worker).collect()).await?)
    }

    /// The roadmap, as `kapelle roadmap parse` prints it.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub async fn roadmap(&self) -> Result<serde_json::Value, Error> {
        let (_, roadmap) = self.0.project.roadmap().await?;
        serde_json::to_value(roadmap.view())
            .map_err(|error| Error::internal("roadmap", error.to_string()))
    }

    pub(super) async fn stored_run(&self, id: RunId) -> Result<StoredRun, Error> {
        let run = self.0.store.run(id).await?;
        run.ok_or_else(|| kapelle_domain::engine::Rejection::UnknownRun { run: id }.into())
    }

    pub(super) async fn run_view(
        &self,
        run: &StoredRun,
        unmerged: &Unmerged,
    ) -> Result<RunView, Error> {
        let counts = self.0.store.task_counts(run.id).await?;
        let usages = self.0.store.usages(run.id).await?;
        let usage = usages.into_values().fold(Usage::default(), Usage::plus);
        let branch = run.record.target.as_ref().map(|target| &target.branch);
        let unmerged = branch.is_some_and(|branch| unmerged.values().any(|done| done == branch));
        Ok(show::run(run, counts, usage, unmerged))
    }

    pub(super) async fn task_view(&self, task: &StoredTask) -> Result<TaskView, Error> {
        let siblings = self.tasks_of(task.id.run).await?;
        let keys: Vec<String> = siblings.iter().map(|task| task.spec.key.clone()).collect();
        let facts = self.facts(task.id.run, vec![task.id]).await?;
        Ok(self.view_of(task, &keys, &facts))
    }

    /// The views of all tasks of a run, which may be thousands: what they need is asked for once.
    pub(super) async fn task_views(
        &self,
        run: RunId,
        tasks: &[StoredTask],
    ) -> Result<Vec<TaskView>, Error> {
        let keys: Vec<String> = tasks.iter().map(|task| task.spec.key.clone()).collect();
        let facts = self.facts(run, tasks.iter().map(|task| task.id).collect()).await?;
        Ok(tasks.iter().map(|task| self.view_of(task, &keys, &facts)).collect())
    }

    async fn facts(&self, run: RunId, tasks: Vec<TaskId>) -> Result<Facts, Error> {
        let explain = move |world: &World| {
            tasks.into_iter().filter_map(|task| Some((task, world.explain(task)?))).collect()
        };
        let explanations = self.0.engine.read(explain).await?;
        Ok(Facts { explanations, usages: self.0.store.usages(run).await? })
    }

    fn view_of(&self, task: &StoredTask, keys: &[String], facts: &Facts) -> TaskView {
        let reason = match facts.explanations.get(&task.id) {
            Some(explanation) if self.is_draining() && why::is_to_start(&explanation.reason) => {
                why::DRAINING.to_owned()
            }
            Some(explanation) => why::in_words(explanation, self.0.clock.now()),
            None => why::of_ended(task, keys),
        };
        let activity = match task.record.state {
            TaskState::Active => {
                show::newest_attempt(task).and_then(|attempt| self.0.transcripts.activity(attempt))
            }
            TaskState::Blocked
            | TaskState::Ready
            | TaskState::RetryWait { .. }
            | TaskState::Integrating { .. }
            | TaskState::Succeeded { .. }
            | TaskState::Failed { .. }
            | TaskState::Cancelled { .. }
            | TaskState::Skipped { .. } => None,
        };
        let usage = facts.usages.get(&task.id).copied().unwrap_or_default();
        show::task(task, keys, reason, activity, usage)
    }

    pub(super) async fn explanation(&self, task: TaskId) -> Result<Option<Explanation>, Error> {
        Ok(self.0.engine.read(move |world| world.explain(task)).await?)
    }
}

/// What is known of tasks of a run beside what is stored with them.
struct Facts {
    explanations: BTreeMap<TaskId, Explanation>,
    usages: BTreeMap<TaskId, Usage>,
}

/// Running tasks first, then those that follow.
fn rank(state: &str) -> u8 {
    match state {
        "active" => 0,
        "integrating" => 1,
        "retry_wait" => 2,
        "ready" => 3,
        _ => 4,
    }
}

fn fill_streams(status: &mut StatusView, roadmap: &Roadmap, taken: &TakenStreams) {
    for stream in &roadmap.streams {
        *status.counts.entry(stream.status.as_str().to_owned()).or_default() += 1;
    }
    let troubles =
        roadmap.diagnostics.iter().filter(|diagnostic| diagnostic.severity != Severity::Info);
    status.diagnostics = u32::try_from(troubles.count()).unwrap_or(u32::MAX);
    let complete = |position: usize| roadmap.streams[position].status.as_str() == "complete";
    for availability in roadmap.availability() {
        if complete(availability.position) {
            continue;
        }
        let stream = &roadmap.streams[availability.position];
        let (claimed_by, unmerged_in) = match taken.get(&stream.id) {
            None => (None, None),
            Some(Taken::By(task)) => (Some(task.clone()), None),
            Some(Taken::Unmerged(branch)) => (None, Some(branch.clone())),
        };
        let available = availability.why_not.is_none() && !taken.contains_key(&stream.id);
        status.available += u32::from(available);
        let stale = "marked blocked, but everything that it depends on is complete".to_owned();
        let done = unmerged_in.as_deref().map(taken::in_words);
        let why_not = availability.why_not.as_ref();
        let reason = done.or_else(|| Some(selection::explain(why_not?, taken)));
        status.streams.push(StreamView {
            id: stream.id.to_string(),
            name: stream.name.clone(),
            batch: stream.batch.as_ref().map(kapelle_domain::roadmap::BatchRef::label),
            tag: stream.tag.clone(),
            status: stream.status.as_str().to_owned(),
            effort: stream.effort.map(|effort| effort.as_str().to_owned()),
            available,
            reason: reason.or_else(|| availability.stale_mark.then_some(stale)),
            claimed_by,
            unmerged_in,
        });
    }
    status.streams.sort_by_key(|stream| !stream.available);
}

impl From<RoadmapError> for Error {
    fn from(error: RoadmapError) -> Self {
        let message = kapelle_runtime::telemetry::Chain(&error).to_string();
        match error {
            RoadmapError::None => Self::not_found("no_roadmap", message)
                .hint("name it as `project.roadmap` in kapelle.yaml"),
            RoadmapError::Unreadable { .. } | RoadmapError::TooLarge { .. } => {
                Self::invalid("unreadable_roadmap", message)
            }
        }
    }
}
