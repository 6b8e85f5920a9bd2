//! What is ordered of running work: feedback, redirect, pause, stop and the rest.
//!
//! Whoever orders gets a receipt for each task that is concerned. What becomes of it later is in
//! the event log and in the task's own list of commands.

use std::collections::BTreeSet;
use std::sync::Arc;

use kapelle_bus::Refusal;
use kapelle_bus::subject::AgentName;
use kapelle_domain::command::{Command, CommandKind, CommandState, REQUEST_BYTES_MAX};
use kapelle_domain::engine::{Answer, Input, Receipt, Scope};
use kapelle_domain::ids::{AttemptId, CommandSeq, RunId, TaskId, WorkerId};
use kapelle_domain::plan::TaskSpec;
use kapelle_domain::worker::Duty;
use kapelle_store::StoredTask;

use super::view::{
    CommandAccepted, CommandRequest, CommandScope, Delivery, FeedbackAccepted, FeedbackRequest,
    ReceiptView, StopAccepted, StopRequest, Verb, WorkerDuty, WorkerView,
};
use super::{Error, Service, show};

impl Service {
    /// Orders something of tasks.
    ///
    /// # Errors
    /// When nothing is concerned, it makes no sense, or it can't be recorded.
    pub async fn command(&self, request: CommandRequest) -> Result<CommandAccepted, Error> {
        let ordered = self.order(&request).await?;
        let receipts = ordered.iter().map(|one| self.receipt(one, request.verb)).collect();
        Ok(CommandAccepted { receipts })
    }

    /// Orders something of tasks. A request that has a name has the effect of one, however often
    /// it is repeated, also to a coordinator that was started later.
    pub(crate) async fn order(&self, request: &CommandRequest) -> Result<Vec<Ordered>, Error> {
        let Some(name) = request.request_id.as_deref() else {
            return self.order_anew(request).await;
        };
        if !(1..=REQUEST_BYTES_MAX).contains(&name.len()) {
            let message = format!("`request_id` has {} bytes", name.len());
            let hint = format!("1 to {REQUEST_BYTES_MAX} are possible");
            return Err(Error::invalid("malformed_id", message).hint(hint));
        }
        // Whoever repeats a request that is being recorded waits until it is.
        let _turn = self.1.of(name).lock().await;
        let earlier = self.0.store.commands_of(name).await?;
        if earlier.is_empty() {
            return self.order_anew(request).await;
        }
        let text = request.text.as_deref().unwrap_or_default();
        let is_the_same =
            |command: &Command| verb(command.kind) == request.verb && command.text == text;
        if !earlier.iter().all(|(_, command)| is_the_same(command)) {
            let message = format!("the request `{name}` has ordered something else before");
            let hint = "another order needs another `request_id`";
            return Err(Error::conflict("request_id_reused", message).hint(hint));
        }
        self.named(earlier.into_iter().map(Unnamed::from).collect()).await
    }

    /// What has become of the commands of a request by now.
    pub(crate) async fn ordered_by(&self, request: &str) -> Result<Vec<Ordered>, Error> {
        let commands = self.0.store.commands_of(request).await?;
        self.named(commands.into_iter().map(Unnamed::from).collect()).await
    }

    async fn order_anew(&self, request: &CommandRequest) -> Result<Vec<Ordered>, Error> {
        let (scope, named) = self.scope(&request.scope).await?;
        let kind = self.kind(request, named.as_ref()).await?;
        // What has ended long ago is only in the store; the engine knows why it can't be ordered.
        for run in runs_of(&scope, kind) {
            self.0.engine.recall(run).await??;
        }
        let text = request.text.clone().unwrap_or_default();
        let request = request.request_id.as_deref().map(Into::into);
        let answer = self.0.engine.give(Input::Command { scope, kind, text, request }).await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(refusal) => {
                let mut spoken_of: Vec<StoredTask> = named.into_iter().collect();
                if let CommandKind::Redirect { to } = kind {
                    spoken_of.extend(self.0.store.task(to).await?);
                }
                return Err(refused(refusal, spoken_of));
            }
        };
        match answer {
            Answer::Commanded(receipts) => {
                self.named(receipts.into_iter().map(Unnamed::from).collect()).await
            }
            _ => Err(unexpected()),
        }
    }

    /// Commands with the names of their tasks.
    async fn named(&self, commands: Vec<Unnamed>) -> Result<Vec<Ordered>, Error> {
        let read = self.0.engine.read(|world| {
            let of = |command: Unnamed| match world.task(command.task) {
                Some(task) => Ok(command.of(&task.spec)),
                None => Err(command),
            };
            commands.into_iter().map(of).collect::<Vec<_>>()
        });
        let mut ordered = Vec::new();
        for command in read.await? {
            ordered.push(match command {
                Ok(command) => command,
                // Its run has ended: only the store has it.
                Err(command) => {
                    let task = self.0.store.task(command.task).await?.ok_or_else(unexpected)?;
                    command.of(&task.spec)
                }
            });
        }
        Ok(ordered)
    }

    /// Ends something.
    ///
    /// # Errors
    /// When there is nothing to end, or it can't be recorded.
    pub async fn stop(&self, request: StopRequest) -> Result<StopAccepted, Error> {
        if request.id.is_some() && !request.except.is_empty() {
            let message = "except goes with stopping everything, not with an id";
            return Err(Error::invalid("except_with_id", message));
        }
        let scope = match request.id {
            None => CommandScope::All { except: request.except },
            Some(id) if id.starts_with('@') || id.parse::<RunId>().is_ok() => {
                CommandScope::Run { id }
            }
            Some(id) => CommandScope::Task { id },
        };
        let text = request.reason.unwrap_or_else(|| "stopped by order".to_owned());
        let (verb, text) = (Verb::Stop, Some(text));
        let request = CommandRequest { scope, verb, text, to: None, request_id: None };
        let accepted = self.command(request).await?;
        // What was told before, or is being merged, is not being ended by this.
        let ending = accepted.receipts.into_iter().filter(|receipt| receipt.state != "rejected");
        Ok(StopAccepted { tasks: ending.map(|receipt| receipt.task).collect() })
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
        let scope = CommandScope::Task { id: id.to_owned() };
        let (verb, text) = (Verb::Feedback, Some(request.text));
        let request = CommandRequest { scope, verb, text, to: None, request_id: None };
        let accepted = self.command(request).await?;
        let receipt = accepted.receipts.into_iter().next().ok_or_else(unexpected)?;
        Ok(FeedbackAccepted {
            task: receipt.task,
            seq: receipt.seq,
            attempt: receipt.attempt,
            delivery: receipt.delivery.unwrap_or(Delivery::NextAttempt),
        })
    }

    /// Decides what a worker does about new work.
    ///
    /// # Errors
    /// When there is no such worker, or it leaves already.
    pub async fn set_duty(&self, worker: &str, duty: WorkerDuty) -> Result<WorkerView, Error> {
        let id = WorkerId(worker.to_owned());
        let duty = match duty {
            WorkerDuty::Active => Duty::Active,
            WorkerDuty::Cordoned => Duty::Cordoned,
            WorkerDuty::Draining => Duty::Draining,
        };
        self.0.engine.give(Input::SetDuty { worker: id.clone(), duty }).await??;
        let view = self.0.engine.read(move |world| {
            world.workers().find(|worker| worker.registration.worker == id).map(show::worker)
        });
        view.await?.ok_or_else(|| Error::not_found("unknown_worker", format!("{worker} has left")))
    }

    async fn scope(&self, scope: &CommandScope) -> Result<(Scope, Option<StoredTask>), Error> {
        Ok(match scope {
            CommandScope::All { except } if except.is_empty() => (Scope::All, None),
            CommandScope::All { except } => (Scope::AllBut(self.spared(except).await?), None),
            CommandScope::Run { id } => (Scope::Run(self.find_run(id).await?), None),
            CommandScope::Task { id } => {
                let task = self.find_task(id).await?;
                (Scope::Task(task.id), Some(task))
            }
            CommandScope::Attempt { id } => {
                let (task, attempt) = match self.find_agent(id).await? {
                    Some(found) => found,
                    None => self.find_attempt(id).await.map_err(|error| no_agent(id, error))?,
                };
                let over = || Error::conflict("attempt_over", format!("{id} has no attempt"));
                (Scope::Attempt(attempt.ok_or_else(over)?), Some(task))
            }
            CommandScope::Worker { id } => (Scope::Worker(WorkerId(id.clone())), None),
            CommandScope::Label { constraint } => {
                let constraint = constraint.parse().map_err(
                    |error: kapelle_domain::placement::MalformedConstraint| {
                        Error::invalid("malformed_constraint", error.to_string())
                    },
                )?;
                (Scope::Label(constraint), None)
            }
        })
    }

    /// The tasks that are left alone: those given, and those of open runs with the key. A work
    /// stream that no run has needs nothing; what nobody knows may be a slip of the pen.
    async fn spared(&self, except: &[String]) -> Result<BTreeSet<TaskId>, Error> {
        let mut spared = BTreeSet::new();
        for text in except {
            let key = text.clone();
            let found = self.0.engine.read(move |world| {
                let tasks =
                    world.runs().filter(|run| !run.is_finished()).flat_map(|run| &run.tasks);
                let named = tasks.filter(|task| task.spec.key == key);
                named.map(|task| task.id).collect::<Vec<TaskId>>()
            });
            let found = found.await?;
            if found.is_empty() && !self.is_stream(text).await {
                spared.insert(self.find_task(text).await?.id);
            }
            spared.extend(found);
        }
        Ok(spared)
    }

    async fn is_stream(&self, id: &str) -> bool {
        let roadmap = self.0.project.roadmap().await.ok();
        roadmap.zip(id.parse().ok()).is_some_and(|((_, roadmap), id)| roadmap.stream(&id).is_some())
    }

    /// The task and attempt behind an agent's name on the bus.
    async fn find_agent(
        &self,
        name: &str,
    ) -> Result<Option<(StoredTask, Option<AttemptId>)>, Error> {
        let known = AgentName::new(name).ok().and_then(|name| name.attempt());
        let Some(attempt) = known else { return Ok(None) };
        let task = self.0.store.task(attempt.task).await?;
        // What looks like one and was never given to an agent may be something else.
        let named = |task: &StoredTask| {
            AgentName::of(&task.spec.agent, &task.spec.key, attempt).as_str() == name
        };
        Ok(task.filter(named).map(|task| (task, Some(attempt))))
    }

    async fn kind(
        &self,
        request: &CommandRequest,
        named: Option<&StoredTask>,
    ) -> Result<CommandKind, Error> {
        Ok(match request.verb {
            Verb::Feedback => CommandKind::Feedback,
            Verb::Restart => CommandKind::Restart,
            Verb::Stop => CommandKind::Stop,
            Verb::Pause => CommandKind::Pause,
            Verb::Resume => CommandKind::Resume,
            Verb::Ping => CommandKind::Ping,
            Verb::Redirect => {
                let to = request.to.as_deref().ok_or_else(|| {
                    Error::invalid("no_destination", "to which work stream? give `to`".to_owned())
                })?;
                CommandKind::Redirect { to: self.destination(to, named).await? }
            }
        })
    }

    /// The task that an agent is redirected to: one of the same run before one of any other.
    async fn destination(&self, to: &str, from: Option<&StoredTask>) -> Result<TaskId, Error> {
        if let Some(from) = from {
            let tasks = self.tasks_of(from.id.run).await?;
            if let Some(task) = tasks.into_iter().find(|task| task.spec.key == to) {
                return Ok(task.id);
            }
        }
        let hint = "the other work stream must be part of an open run; `kapelle run` starts one";
        self.find_task(to).await.map(|task| task.id).map_err(|error| error.hint(hint))
    }

    fn receipt(&self, ordered: &Ordered, verb: Verb) -> ReceiptView {
        ReceiptView {
            task: ordered.task_name(),
            seq: ordered.seq.0,
            attempt: ordered.attempt,
            state: ordered.state.name().to_owned(),
            reason: ordered.state.reason().map(str::to_owned),
            delivery: (verb == Verb::Feedback).then(|| self.delivery(ordered)),
        }
    }

    /// Whether the agent of a running attempt can be told something while it works.
    pub(crate) fn delivery(&self, ordered: &Ordered) -> Delivery {
        let agent = self.0.project.config.agents.get(&*ordered.program);
        match (ordered.attempt, agent) {
            (Some(_), Some(agent)) if agent.speaks_lines() => Delivery::Now,
            (Some(_) | None, _) => Delivery::NextAttempt,
        }
    }
}

/// A command of one task, as it was recorded, and what is known to have become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ordered {
    pub(crate) task: TaskId,
    key: String,
    program: Arc<str>,
    /// Its number among the commands of the task.
    pub(crate) seq: CommandSeq,
    /// The running attempt that it concerns, or in which it had its effect.
    pub(crate) attempt: Option<u32>,
    pub(crate) state: CommandState,
}

impl Ordered {
    /// The task as people name it.
    pub(crate) fn task_name(&self) -> String {
        format!("{}/{}", self.task.run, self.key)
    }

    /// The agent that it concerns, if it concerns one.
    pub(crate) fn agent(&self) -> Option<AgentName> {
        let number = self.attempt?;
        Some(AgentName::of(&self.program, &self.key, AttemptId { task: self.task, number }))
    }

    /// Takes note of what has become of it. Whether that is news.
    pub(crate) fn note(&mut self, state: &CommandState) -> bool {
        let is_news = match (&self.state, state) {
            (CommandState::Accepted, CommandState::Delivered { .. }) => true,
            (CommandState::Accepted | CommandState::Delivered { .. }, _) => state.is_settled(),
            _ => false,
        };
        if is_news {
            self.attempt = state.attempt().or(self.attempt);
            self.state = state.clone();
        }
        is_news
    }
}

/// A command of one task before its task is named.
struct Unnamed {
    task: TaskId,
    seq: CommandSeq,
    attempt: Option<u32>,
    state: CommandState,
}

impl Unnamed {
    fn of(self, spec: &TaskSpec) -> Ordered {
        let Self { task, seq, attempt, state } = self;
        let (key, program) = (spec.key.clone(), Arc::clone(&spec.agent));
        Ordered { task, key, program, seq, attempt, state }
    }
}

impl From<Receipt> for Unnamed {
    fn from(Receipt { task, seq, attempt, state }: Receipt) -> Self {
        Self { task, seq, attempt, state }
    }
}

impl From<(TaskId, Command)> for Unnamed {
    fn from((task, command): (TaskId, Command)) -> Self {
        let attempt = command.state.attempt();
        Self { task, seq: command.seq, attempt, state: command.state }
    }
}

fn verb(kind: CommandKind) -> Verb {
    match kind {
        CommandKind::Feedback => Verb::Feedback,
        CommandKind::Restart => Verb::Restart,
        CommandKind::Redirect { .. } => Verb::Redirect,
        CommandKind::Stop => Verb::Stop,
        CommandKind::Pause => Verb::Pause,
        CommandKind::Resume => Verb::Resume,
        CommandKind::Ping => Verb::Ping,
    }
}

/// The runs that an order names, itself or by a task.
fn runs_of(scope: &Scope, kind: CommandKind) -> BTreeSet<RunId> {
    let ordered = match scope {
        Scope::Run(run) => Some(*run),
        Scope::Task(task) => Some(task.run),
        Scope::Attempt(attempt) => Some(attempt.task.run),
        Scope::All | Scope::AllBut(_) | Scope::Worker(_) | Scope::Label(_) => None,
    };
    let destination = match kind {
        CommandKind::Redirect { to } => Some(to.run),
        _ => None,
    };
    ordered.into_iter().chain(destination).collect()
}

/// What names no attempt may have been meant for the name of an agent.
fn no_agent(name: &str, error: Error) -> Error {
    match error.code {
        "unknown_task" | "malformed_id" => {
            Error::not_found("unknown_agent", format!("there is no agent or attempt {name}")).hint(
                "an attempt is given as r-42/1.2#1, or by its agent's name, as statuses have it",
            )
        }
        _ => error,
    }
}

/// A refusal that names tasks as people do, not by their places in the plan.
fn refused(refusal: Refusal, mut tasks: Vec<StoredTask>) -> Error {
    let mut error = Error::from(refusal);
    // Those with more digits first: `t1` is the beginning of `t12`.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.id));
    for task in tasks {
        let name = show::name(task.id, &task.spec);
        error.message = error.message.replace(&task.id.to_string(), &name);
    }
    error
}

pub(super) fn unexpected() -> Error {
    Error::internal("unexpected_answer", "the engine gave another answer than was asked for")
}
