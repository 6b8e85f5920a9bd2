//! Runs that are started, and opened again. What is ordered of running work is in `command`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kapelle_domain::engine::{Answer, Input, Resumption, Submission};
use kapelle_domain::ids::{RunId, Timestamp};
use kapelle_domain::placement::Constraint;
use kapelle_domain::plan::{PlanSource, RunSpec, Target, TaskSpec};
use kapelle_domain::roadmap::{MalformedStreamId, Roadmap, Status, StreamId};
use kapelle_domain::selection::{self, Choice, Common, NeedsOf, TakenStreams, Unplannable};
use kapelle_domain::words::plural;
use kapelle_git::RefName;
use kapelle_runtime::config;
use kapelle_runtime::telemetry::Chain;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::command::unexpected;
use super::view::{PlannedTask, RunAccepted, RunDetail, RunRequest, Selection};
use super::{Error, Service, taken};
use crate::integrate::target::{self, Chosen};

/// How often a plan is made anew because somebody else started the same meanwhile.
const PLANS_MAX: u32 = 5;

impl Service {
    /// Plans what is wanted from the roadmap and starts it.
    ///
    /// # Errors
    /// When it can't be planned or recorded.
    pub async fn submit(&self, request: RunRequest) -> Result<RunAccepted, Error> {
        require_counts(&request)?;
        let key = request.key.unwrap_or_else(|| self.0.identity.mint());
        if let Some(run) = self.0.engine.read(move |world| world.run_by_uid(key)).await? {
            self.require_same(run, &request).await?;
            return self.accepted(&run.to_string(), Vec::new()).await;
        }
        for _ in 0..PLANS_MAX {
            match self.plan_and_start(key, &request).await {
                // Somebody else was faster. What is left is planned from what is there now.
                Err(error) if error.code == "claimed" && !names_streams(&request) => {}
                result => return result,
            }
        }
        Err(Error::conflict("claimed", "others start the same work streams again and again"))
    }

    /// A key names one request. Another one with it must not get the answer of the first.
    async fn require_same(&self, run: RunId, request: &RunRequest) -> Result<(), Error> {
        if self.stored_run(run).await?.record.spec.request == digest(request) {
            return Ok(());
        }
        let message =
            format!("the key of this request is that of another one, which started {run}");
        Err(Error::invalid("key_reused", message)
            .hint("repeat a request as it was, or give another one a key of its own"))
    }

    async fn plan_and_start(&self, key: Uuid, request: &RunRequest) -> Result<RunAccepted, Error> {
        let planned_at = Timestamp(self.0.clock.now());
        let (path, roadmap) = self.0.project.roadmap().await?;
        let agent = self.agent(request.agent.as_deref())?;
        let common = Common {
            agent: agent.as_str().into(),
            needs: self.needs(&agent, &request.needs)?,
            needs_of: self.needs_of_streams()?,
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
            Choice::Next | Choice::Parallel(_) | Choice::Batch { .. } => left_out(&roadmap, &taken),
        };
        if request.dry_run || self.0.project.config.run.dry_run {
            notes.push("a dry run: nothing was started".to_owned());
            return Ok(RunAccepted { run: None, tasks: planned(&tasks), notes });
        }
        self.require_takes_work()?;
        let chosen = target::choose(&self.0.project).await?;
        let concurrency = match (&request.select, request.concurrency) {
            (_, Some(concurrency)) => concurrency,
            (Selection::Parallel { count }, None) => *count,
            (Selection::Next {} | Selection::Streams { .. } | Selection::Batch { .. }, None) => {
                self.0.project.config.run.concurrency
            }
        };
        let spec = RunSpec {
            uid: key,
            request: digest(request),
            title: title(&tasks, request.goal.as_deref()),
            source: PlanSource::Roadmap {
                path: path.display().to_string(),
                goal: request.goal.clone(),
            },
            concurrency,
            retry: self.0.project.retry(),
            timeouts: self.0.project.timeouts(&agent),
            target: Some(Target { branch: chosen.branch.clone(), head: chosen.head.to_string() }),
        };
        let submission = Submission { spec: Arc::new(spec), tasks, planned_at };
        self.start(submission, chosen, request, notes).await
    }

    async fn start(
        &self,
        submission: Submission,
        chosen: Chosen,
        request: &RunRequest,
        mut notes: Vec<String>,
    ) -> Result<RunAccepted, Error> {
        let answer = self.0.engine.give(Input::Submit(submission)).await??;
        let Answer::Submitted(run) = answer else { return Err(unexpected()) };
        self.require_same(run, request).await?;
        if let Some(reason) = chosen.instead {
            // A branch of its own is named after the run, whose number is known only now.
            match target::make_own(&self.0.project.repository, run, &chosen.head).await {
                Ok(own) => {
                    let branch = own.short().to_owned();
                    notes.push(format!("results go to the branch {branch}: {reason}"));
                    let head = chosen.head.to_string();
                    let switch = Input::SwitchTarget { run, branch, head, reason };
                    drop(self.0.engine.give(switch).await??);
                }
                // The merge queue tries it again when there is something to integrate.
                Err(error) => {
                    notes.push(format!("there is no branch for the results yet: {}", Chain(&error)))
                }
            }
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
            needs: task.needs.clone(),
        });
        Ok(RunAccepted { tasks: tasks.collect(), run: Some(detail.run), notes })
    }

    /// What an agent needs of a worker, and what somebody wants beside.
    fn needs(&self, agent: &str, wanted: &[String]) -> Result<Vec<Constraint>, Error> {
        let agents = &self.0.project.config.agents;
        let own = agents.get(agent).map(|agent| agent.needs.as_slice()).unwrap_or_default();
        let mut needs = constraints(own, &format!("agents.{agent}.needs"))?;
        needs.extend(constraints(wanted, "needs")?);
        Ok(needs)
    }

    fn needs_of_streams(&self) -> Result<Vec<NeedsOf>, Error> {
        let rules = self.0.project.config.run.needs.iter();
        let rule = |(pattern, needs): (&String, &Vec<String>)| {
            let needs = constraints(needs, &format!("run.needs of {pattern}"))?;
            Ok(NeedsOf { pattern: pattern.clone(), needs })
        };
        rules.map(rule).collect()
    }

    /// Tries again what has not succeeded in a run that is over.
    ///
    /// # Errors
    /// When the run is open or has nothing left to do.
    pub async fn resume(&self, id: &str) -> Result<RunDetail, Error> {
        self.require_takes_work()?;
        let run = self.find_run(id).await?;
        self.0.engine.recall(run).await??;
        let resumption = self.resumption(run).await?;
        self.0.engine.give(Input::Resume(resumption)).await??;
        self.run(&run.to_string()).await
    }

    /// What has become of a run's target and of its work streams since it ended.
    async fn resumption(&self, run: RunId) -> Result<Resumption, Error> {
        let mut resumption = Resumption { run, head: None, done: BTreeSet::new() };
        let Some(stored) = self.0.store.run(run).await? else { return Ok(resumption) };
        let has_own_branch = stored.record.has_own_branch();
        let Some(target) = stored.record.target else { return Ok(resumption) };
        let branch = RefName::branch(&target.branch)?;
        let head = self.0.project.repository.resolve(&branch).await?;
        resumption.head = head.map(|commit| commit.to_string());
        // A run whose results have a branch of their own isn't described by the roadmap at hand.
        if has_own_branch {
            return Ok(resumption);
        }
        let Ok((_, roadmap)) = self.0.project.roadmap().await else { return Ok(resumption) };
        let complete: BTreeSet<String> = roadmap
            .streams
            .iter()
            .filter(|stream| stream.status == Status::Complete)
            .map(|stream| stream.id.to_string())
            .collect();
        let tasks = self.tasks_of(run).await?;
        let done = tasks.into_iter().filter(|task| complete.contains(&task.spec.key));
        resumption.done = done.map(|task| task.id).collect();
        Ok(resumption)
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

/// Nobody wants none at once.
fn require_counts(request: &RunRequest) -> Result<(), Error> {
    let none = |field: &str| {
        Err(Error::invalid("invalid_count", format!("{field} is 0; it must be at least 1")))
    };
    match (&request.select, request.concurrency) {
        (Selection::Parallel { count: 0 }, _) => none("select.count"),
        (_, Some(0)) => none("concurrency"),
        _ => Ok(()),
    }
}

/// What a request says, but for its key.
fn digest(request: &RunRequest) -> String {
    let said = RunRequest { key: None, ..request.clone() };
    // Strings and numbers always have a JSON form.
    let said = serde_json::to_vec(&said).unwrap_or_default();
    Sha256::digest(said).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn names_streams(request: &RunRequest) -> bool {
    match request.select {
        Selection::Streams { .. } => true,
        Selection::Next {} | Selection::Parallel { .. } | Selection::Batch { .. } => false,
    }
}

fn choice(select: &Selection) -> Result<Choice, Error> {
    Ok(match select {
        Selection::Next {} => Choice::Next,
        Selection::Parallel { count } => Choice::Parallel(*count),
        Selection::Batch { exclude } => Choice::Batch { exclude: stream_ids(exclude)? },
        Selection::Streams { ids } => Choice::Streams(stream_ids(ids)?),
    })
}

fn constraints(texts: &[String], place: &str) -> Result<Vec<Constraint>, Error> {
    let constraint = |text: &String| {
        text.parse().map_err(|error| Error::invalid("bad_needs", format!("{place}: {error}")))
    };
    texts.iter().map(constraint).collect()
}

fn stream_ids(ids: &[String]) -> Result<Vec<StreamId>, Error> {
    let ids: Result<Vec<StreamId>, MalformedStreamId> = ids.iter().map(|id| id.parse()).collect();
    ids.map_err(|error| Error::invalid("malformed_id", error.to_string()))
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
        (None, tasks) => plural(tasks.len(), "work stream"),
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
            needs: task.needs.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

/// The configured branch, or the one that is checked out.
pub(crate) fn wanted_target(config: &config::Config) -> Option<&str> {
    match &config.integrate.target {
        config::Target::Auto => None,
        config::Target::Branch(name) => Some(name),
    }
}
