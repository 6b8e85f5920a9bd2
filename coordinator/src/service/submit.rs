//! What is ordered: run, stop, resume, feedback.

use std::sync::Arc;

use kapelle_bus::Refusal;
use kapelle_domain::engine::{Answer, Input, Scope, Submission};
use kapelle_domain::plan::{PlanSource, RunSpec, Target, TaskSpec};
use kapelle_domain::roadmap::{Roadmap, StreamId};
use kapelle_domain::selection::{self, Choice, Common, TakenStreams, Unplannable};
use kapelle_runtime::config;
use kapelle_store::StoredTask;

use super::view::{
    Delivery, FeedbackAccepted, FeedbackRequest, PlannedTask, RunAccepted, RunDetail, RunRequest,
    Selection, StopAccepted, StopRequest,
};
use super::{Error, Service, show, taken};
use crate::integrate::target::{self, Chosen};

impl Service {
    /// Plans what is wanted from the roadmap and starts it.
    ///
    /// # Errors
    /// When it can't be planned or recorded.
    pub async fn submit(&self, request: RunRequest) -> Result<RunAccepted, Error> {
        let key = request.key.unwrap_or_else(|| self.0.identity.mint());
        if let Some(run) = self.0.engine.read(move |world| world.run_by_uid(key)).await? {
            return self.accepted(&run.to_string(), Vec::new()).await;
        }
        let (path, roadmap) = self.0.project.roadmap().await?;
        let agent = self.agent(request.agent.as_deref())?;
        let common = Common {
            agent: agent.as_str().into(),
            repository: self.0.project.name().into(),
            roadmap_path: path.display().to_string(),
            verify: self.0.project.config.verify.enabled && !request.no_verify,
            integrate: true,
        };
        let choice = choice(&request.select)?;
        let taken = self.taken(self.unmerged(Some(&roadmap)).await?).await?;
        let tasks = selection::plan(&roadmap, &choice, &common, &taken).map_err(unplannable)?;
        let mut notes = match choice {
            // Whoever names what they want misses nothing.
            Choice::Streams(_) => Vec::new(),
            Choice::Next | Choice::Parallel(_) | Choice::Batch => left_out(&roadmap, &taken),
        };
        if request.dry_run || self.0.project.config.run.dry_run {
            notes.push("a dry run: nothing was started".to_owned());
            return Ok(RunAccepted { run: None, tasks: planned(&tasks), notes });
        }
        let chosen = target::choose(&self.0.project).await?;
        let concurrency = match (&request.select, request.concurrency) {
            (_, Some(concurrency)) => concurrency.max(1),
            (Selection::Parallel { count }, None) => (*count).max(1),
            (Selection::Next | Selection::Streams { .. } | Selection::Batch, None) => {
                self.0.project.config.run.concurrency
            }
        };
        let spec = RunSpec {
            uid: key,
            title: title(&tasks, request.goal.as_deref()),
            source: PlanSource::Roadmap { path: path.display().to_string(), goal: request.goal },
            concurrency,
            retry: self.0.project.retry(),
            timeouts: self.0.project.timeouts(&agent),
            target: Some(Target { branch: chosen.branch.clone(), head: chosen.head.to_string() }),
        };
        self.start(spec, tasks, chosen, notes).await
    }

    async fn start(
        &self,
        spec: RunSpec,
        tasks: Vec<TaskSpec>,
        chosen: Chosen,
        mut notes: Vec<String>,
    ) -> Result<RunAccepted, Error> {
        let submission = Submission { spec: Arc::new(spec), tasks };
        let answer = self.0.engine.give(Input::Submit(submission)).await??;
        let Answer::Submitted(run) = answer else { return Err(unexpected()) };
        if let Some(reason) = chosen.instead {
            // A branch of its own is named after the run, whose number is known only now.
            let branch = format!("kapelle/{run}");
            notes.push(format!("results go to the branch {branch}: {reason}"));
            let head = chosen.head.to_string();
            let switch = Input::SwitchTarget { run, branch, head, reason };
            drop(self.0.engine.give(switch).await??);
        }
        self.accepted(&run.to_string(), notes).await
    }

    async fn accepted(&self, run: &str, notes: Vec<String>) -> Result<RunAccepted, Error> {
        let detail = self.run(run).await?;
        let tasks = detail.tasks.iter().map(|task| PlannedTask {
            key: task.key.clone(),
            title: task.title.clone(),
            agent: task.agent.clone(),
            depends_on: task.depends_on.clone(),
        });
        Ok(RunAccepted { tasks: tasks.collect(), run: Some(detail.run), notes })
    }

    /// Ends something.
    ///
    /// # Errors
    /// When there is nothing to end, or it can't be recorded.
    pub async fn stop(&self, request: StopRequest) -> Result<StopAccepted, Error> {
        let mut task = None;
        let scope = match request.id.as_deref() {
            None => Scope::All,
            Some(id) if id.starts_with('@') || id.parse::<kapelle_domain::ids::RunId>().is_ok() => {
                Scope::Run(self.find_run(id).await?)
            }
            Some(id) => {
                let found = self.find_task(id).await?;
                let scope = Scope::Task(found.id);
                task = Some(found);
                scope
            }
        };
        let reason = request.reason.unwrap_or_else(|| "stopped by order".to_owned());
        let answer = self.0.engine.give(Input::Stop { scope, reason }).await?;
        let answer = answer.map_err(|refusal| refused(refusal, task.as_ref()))?;
        let Answer::Stopping(ids) = answer else { return Err(unexpected()) };
        let mut tasks = Vec::with_capacity(ids.len());
        for id in ids {
            let task = self.0.store.task(id).await?;
            tasks.push(task.map_or_else(|| id.to_string(), |task| show::name(id, &task.spec)));
        }
        Ok(StopAccepted { tasks })
    }

    /// Tries again what has not succeeded in a run that is over.
    ///
    /// # Errors
    /// When the run is open or has nothing left to do.
    pub async fn resume(&self, id: &str) -> Result<RunDetail, Error> {
        let run = self.find_run(id).await?;
        self.0.engine.recall(run).await??;
        self.0.engine.give(Input::Resume { run }).await??;
        self.run(&run.to_string()).await
    }

    /// Says something to a task.
    ///
    /// # Errors
    /// When there is no such task, or it has ended.
    pub async fn feedback(
        &self,
        id: &str,
        request: FeedbackRequest,
    ) -> Result<FeedbackAccepted, Error> {
        let task = self.find_task(id).await?;
        let answer = self.0.engine.give(Input::Say { task: task.id, text: request.text }).await?;
        let answer = answer.map_err(|refusal| refused(refusal, Some(&task)))?;
        let Answer::Said(receipt) = answer else { return Err(unexpected()) };
        Ok(FeedbackAccepted {
            task: show::name(task.id, &task.spec),
            seq: receipt.seq.0,
            attempt: receipt.attempt,
            delivery: self.delivery(&task, receipt.attempt),
        })
    }

    /// Whether the agent of a running attempt can be told something while it works.
    fn delivery(&self, task: &StoredTask, attempt: Option<u32>) -> Delivery {
        let agent = self.0.project.config.agents.get(&*task.spec.agent);
        match (attempt, agent) {
            (Some(_), Some(agent)) if agent.speaks_lines() => Delivery::Now,
            (Some(_) | None, _) => Delivery::NextAttempt,
        }
    }

    fn agent(&self, wanted: Option<&str>) -> Result<String, Error> {
        let config = &self.0.project.config;
        let known = || {
            let names: Vec<&str> = config.agents.keys().map(String::as_str).collect();
            if names.is_empty() { "none is configured".to_owned() } else { names.join(", ") }
        };
        match wanted {
            Some(name) if config.agents.contains_key(name) => Ok(name.to_owned()),
            Some(name) => {
                Err(Error::invalid("unknown_agent", format!("there is no agent `{name}`; known: {}", known()))
                    .hint("add it under `agents:` in kapelle.yaml"))
            }
            None => match config.default_agent() {
                Some((name, _)) => Ok(name.to_owned()),
                None => Err(Error::invalid("no_agent", format!("which agent is to do it? known: {}", known()))
                    .hint("set `run.agent` in kapelle.yaml, or give --agent; `kapelle init` writes a first configuration")),
            },
        }
    }
}

fn choice(select: &Selection) -> Result<Choice, Error> {
    Ok(match select {
        Selection::Next => Choice::Next,
        Selection::Parallel { count } => Choice::Parallel((*count).max(1)),
        Selection::Batch => Choice::Batch,
        Selection::Streams { ids } => {
            let ids: Result<Vec<StreamId>, _> = ids.iter().map(|id| id.parse()).collect();
            Choice::Streams(ids.map_err(|error: kapelle_domain::roadmap::MalformedStreamId| {
                Error::invalid("malformed_id", error.to_string())
            })?)
        }
    })
}

fn unplannable(error: Unplannable) -> Error {
    let message = error.to_string();
    match error {
        Unplannable::Unknown(_) => Error::not_found("unknown_stream", message)
            .hint("`kapelle status` lists the work streams"),
        Unplannable::NotAvailable { id, .. } => {
            Error::conflict("not_available", message).hint(format!("kapelle why {id}"))
        }
        Unplannable::Claimed(id) => {
            Error::conflict("claimed", message).hint(format!("kapelle why {id}"))
        }
        Unplannable::Unmerged { branch, .. } => {
            Error::conflict("unmerged", message).hint(taken::merge_command(&branch))
        }
        Unplannable::Nothing { unmerged } => {
            let hint = unmerged.keys().next().map(|branch| taken::merge_command(branch));
            let hint = hint.unwrap_or_else(|| "kapelle status".to_owned());
            Error::conflict("nothing_available", message).hint(hint)
        }
    }
}

/// What would be part of the plan, were it not done already on a branch that is not merged.
fn left_out(roadmap: &Roadmap, taken: &TakenStreams) -> Vec<String> {
    let left_out = selection::left_out(roadmap, taken);
    let one = |(branch, ids): (String, Vec<StreamId>)| {
        let ids: Vec<&str> = ids.iter().map(StreamId::as_str).collect();
        format!("{}: {}", ids.join(", "), taken::in_words(&branch))
    };
    left_out.into_iter().map(one).collect()
}

fn title(tasks: &[TaskSpec], goal: Option<&str>) -> String {
    match (goal, tasks) {
        (Some(goal), _) => kapelle_domain::prompt::head(goal, 200).to_owned(),
        (None, [only]) => format!("{} {}", only.key, only.title),
        (None, tasks) => format!("{} work streams", tasks.len()),
    }
}

fn planned(tasks: &[TaskSpec]) -> Vec<PlannedTask> {
    let key = |index: &u32| {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        tasks.get(index).map(|task| task.key.clone())
    };
    tasks
        .iter()
        .map(|task| PlannedTask {
            key: task.key.clone(),
            title: task.title.clone(),
            agent: task.agent.to_string(),
            depends_on: task.depends_on.iter().filter_map(key).collect(),
        })
        .collect()
}

/// A refusal that names the task as people do, not by its place in the plan.
fn refused(refusal: Refusal, task: Option<&StoredTask>) -> Error {
    let mut error = Error::from(refusal);
    if let Some(task) = task {
        let name = show::name(task.id, &task.spec);
        error.message = error.message.replace(&task.id.to_string(), &name);
    }
    error
}

fn unexpected() -> Error {
    Error::internal("unexpected_answer", "the engine gave another answer than was asked for")
}

/// The configured branch, or the one that is checked out.
pub(crate) fn wanted_target(config: &config::Config) -> Option<&str> {
    match &config.integrate.target {
        config::Target::Auto => None,
        config::Target::Branch(name) => Some(name),
    }
}
