//! What is ordered of running work: feedback, redirect, pause, stop and the rest.
//!
//! Whoever orders gets a receipt for each task that is concerned. What becomes of it later is in
//! the event log and in the task's own list of commands.

use std::collections::BTreeSet;

use kapelle_bus::Refusal;
use kapelle_bus::subject::AgentName;
use kapelle_domain::command::{CommandKind, CommandState};
use kapelle_domain::engine::{Answer, Input, Receipt, Scope};
use kapelle_domain::ids::{AttemptId, RunId, TaskId, WorkerId};
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
        let (scope, named) = self.scope(&request.scope).await?;
        let kind = self.kind(&request, named.as_ref()).await?;
        let text = request.text.unwrap_or_default();
        let receipts = self.order(scope, kind, text, named.as_ref()).await?;
        let mut views = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            views.push(self.receipt(receipt, named.as_ref(), kind).await?);
        }
        Ok(CommandAccepted { receipts: views })
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
        let request = CommandRequest { scope, verb: Verb::Stop, text: Some(text), to: None };
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
        let accepted = self.command(CommandRequest { scope, verb, text, to: None }).await?;
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
                    None => self.find_attempt(id).await?,
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

    async fn order(
        &self,
        scope: Scope,
        kind: CommandKind,
        text: String,
        named: Option<&StoredTask>,
    ) -> Result<Vec<Receipt>, Error> {
        let answer = self.0.engine.give(Input::Command { scope, kind, text }).await?;
        match answer.map_err(|refusal| refused(refusal, named))? {
            Answer::Commanded(receipts) => Ok(receipts),
            _ => Err(unexpected()),
        }
    }

    async fn receipt(
        &self,
        receipt: Receipt,
        named: Option<&StoredTask>,
        kind: CommandKind,
    ) -> Result<ReceiptView, Error> {
        let found = match named.filter(|task| task.id == receipt.task) {
            Some(_) => None,
            None => self.0.store.task(receipt.task).await?,
        };
        let task = named.filter(|task| task.id == receipt.task).or(found.as_ref());
        let reason = match &receipt.state {
            CommandState::Rejected { reason } => Some(reason.clone()),
            CommandState::Accepted
            | CommandState::Delivered { .. }
            | CommandState::Applied { .. }
            | CommandState::Carried { .. }
            | CommandState::Expired => None,
        };
        Ok(ReceiptView {
            task: task
                .map_or_else(|| receipt.task.to_string(), |task| show::name(task.id, &task.spec)),
            seq: receipt.seq.0,
            attempt: receipt.attempt,
            state: receipt.state.name().to_owned(),
            reason,
            delivery: (kind == CommandKind::Feedback)
                .then(|| task.map(|task| self.delivery(task, receipt.attempt)))
                .flatten(),
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

pub(super) fn unexpected() -> Error {
    Error::internal("unexpected_answer", "the engine gave another answer than was asked for")
}
