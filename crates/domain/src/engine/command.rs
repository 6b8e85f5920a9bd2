//! Commands: what is ordered of running tasks, and how it reaches its effect.
//!
//! Every command becomes a row of each task that it concerns. What needs no worker has its effect
//! in the same decision; the rest is wanted of the task from then on, and settled when the worker,
//! or the end of the attempt, says so. In order per task: a worker gets them by number.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decision::{Answer, Decision, Directives, Effect, Moment, Receipt};
use super::input::{Holder, Scope};
use super::outcome::settled;
use super::rejection::Rejection;
use super::world::World;
use crate::attempt::{Attempt, FailureClass, Outcome, Phase, Report};
use crate::command::{
    Command, CommandAnswer, CommandKind, CommandState, PENDING_MAX, TEXT_BYTES_MAX,
};
use crate::event::{Event, RunEvent, TaskEvent};
use crate::ids::{CommandSeq, TaskId};
use crate::run::Run;
use crate::task::{Task, TaskState};

/// What a task to which an agent was redirected goes before: everything else of its run.
const REDIRECTED: i32 = 1 << 24;

/// What is ordered of each task that it concerns.
#[derive(Clone, Copy)]
pub(super) struct Order<'i> {
    pub(super) kind: CommandKind,
    pub(super) text: &'i str,
    pub(super) request: Option<&'i Arc<str>>,
}

impl World {
    pub(super) fn decide_command(
        &self,
        moment: Moment,
        scope: &Scope,
        order: Order<'_>,
    ) -> Result<Decision, Rejection> {
        let Order { kind, text, .. } = order;
        let needs_words = kind.speaks();
        if text.len() > TEXT_BYTES_MAX || (needs_words && text.trim().is_empty()) {
            return Err(Rejection::TextLength { bytes: text.len() });
        }
        let mut decision = Decision::default();
        if kind == CommandKind::Stop {
            self.stop_runs(scope, text, &mut decision)?;
        }
        let tasks = self.concerned(scope, kind)?;
        let mut receipts = Vec::with_capacity(tasks.len());
        for task in tasks {
            if task.record.pending.len() >= PENDING_MAX {
                return Err(Rejection::TooManyCommands { task: task.id });
            }
            receipts.push(self.order(moment, task, order, &mut decision)?);
        }
        decision.answer = Answer::Commanded(receipts);
        Ok(decision)
    }

    /// A run that is stopped as a whole says so itself, also for tasks that were stopped before.
    fn stop_runs(
        &self,
        scope: &Scope,
        reason: &str,
        decision: &mut Decision,
    ) -> Result<(), Rejection> {
        let runs: Vec<&Run> = match scope {
            Scope::All => self.runs.values().filter(|run| !run.is_finished()).collect(),
            Scope::AllBut(spared) => {
                let spared = self.with_dependencies(spared);
                let whole = |run: &&Run| run.tasks.iter().all(|task| !spared.contains(&task.id));
                self.runs.values().filter(|run| !run.is_finished()).filter(whole).collect()
            }
            Scope::Run(id) => {
                let run = self.run(*id).ok_or(Rejection::UnknownRun { run: *id })?;
                if run.is_finished() {
                    return Err(Rejection::RunEnded { run: *id });
                }
                vec![run]
            }
            Scope::Task(_) | Scope::Attempt(_) | Scope::Worker(_) | Scope::Label(_) => Vec::new(),
        };
        for run in runs {
            let event = RunEvent::CancelRequested { reason: reason.to_owned() };
            decision.events.push(Event::Run { run: run.id, event });
        }
        Ok(())
    }

    /// The tasks that a command concerns. Those that it makes no sense for are left out where many
    /// are meant, and are an error where one is.
    fn concerned(&self, scope: &Scope, kind: CommandKind) -> Result<Vec<&Task>, Rejection> {
        let open = || self.runs.values().filter(|run| !run.is_finished());
        let held_by = |able: &dyn Fn(&crate::worker::Worker) -> bool| {
            let workers = self.workers.values().filter(|worker| able(worker));
            let ids = workers.flat_map(|worker| &worker.holds);
            ids.filter_map(|id| self.task(*id)).collect::<Vec<_>>()
        };
        let (tasks, what): (Vec<&Task>, String) = match scope {
            Scope::Task(id) => return Ok(vec![self.commandable(*id)?]),
            Scope::Attempt(id) => {
                let task = self.commandable(id.task)?;
                let current = task.live_attempt().is_some_and(|live| live.number == id.number);
                return if current {
                    Ok(vec![task])
                } else {
                    Err(Rejection::AttemptOver { attempt: *id })
                };
            }
            Scope::All => (open().flat_map(|run| &run.tasks).collect(), "nothing runs".to_owned()),
            Scope::AllBut(spared) => {
                let spared = self.with_dependencies(spared);
                let all = open().flat_map(|run| &run.tasks);
                (
                    all.filter(|task| !spared.contains(&task.id)).collect(),
                    "nothing else runs".to_owned(),
                )
            }
            Scope::Run(id) => {
                let run = self.run(*id).ok_or(Rejection::UnknownRun { run: *id })?;
                (run.tasks.iter().collect(), format!("no task of {id} is concerned"))
            }
            Scope::Worker(id) => {
                if !self.workers.contains_key(id) {
                    return Err(Rejection::UnknownWorker { worker: id.clone() });
                }
                let tasks = held_by(&|worker| worker.registration.worker == *id);
                (tasks, format!("{id} holds nothing that is concerned"))
            }
            Scope::Label(constraint) => {
                let tasks = held_by(&|worker| constraint.fits(&worker.registration.labels));
                (tasks, format!("no worker with `{constraint}` holds anything that is concerned"))
            }
        };
        let tasks: Vec<&Task> = tasks.into_iter().filter(|task| is_concerned(task, kind)).collect();
        // Stopping runs whose tasks are all told already is no error: they stop.
        let stops_runs = kind == CommandKind::Stop
            && matches!(scope, Scope::All | Scope::Run(_))
            && open().next().is_some();
        if tasks.is_empty() && !stops_runs {
            let command = kind.name().to_owned();
            return Err(Rejection::NothingMatches { command, reason: what });
        }
        Ok(tasks)
    }

    /// Those of `tasks` that are not over, and what they still depend on.
    fn with_dependencies(&self, tasks: &BTreeSet<TaskId>) -> BTreeSet<TaskId> {
        let mut open: Vec<TaskId> = tasks.iter().copied().collect();
        let mut found = BTreeSet::new();
        while let Some(id) = open.pop() {
            let task = self.task(id).filter(|task| !task.record.state.is_ended());
            let Some(task) = task.filter(|_| found.insert(id)) else { continue };
            let needs = task.spec.depends_on.iter();
            open.extend(needs.map(|index| TaskId { run: id.run, index: *index }));
        }
        found
    }

    fn commandable(&self, id: TaskId) -> Result<&Task, Rejection> {
        let task = self.task(id).ok_or(Rejection::UnknownTask { task: id })?;
        if task.record.state.is_ended() {
            let state = task.record.state.name().to_owned();
            return Err(Rejection::TaskEnded { task: id, state });
        }
        Ok(task)
    }

    /// Records a command of one task, with all that follows from it at once.
    fn order(
        &self,
        moment: Moment,
        task: &Task,
        order: Order<'_>,
        decision: &mut Decision,
    ) -> Result<Receipt, Rejection> {
        let Order { kind, text, request } = order;
        let seq = task.record.command.next();
        let (state, at) = (CommandState::Accepted, moment.now);
        let request = request.cloned();
        let command = Command { seq, kind, text: text.to_owned(), at, state, request };
        let accepted = TaskEvent::CommandAccepted { command: command.clone() };
        decision.events.push(Event::Task { task: task.id, event: accepted });
        let held = task.live_attempt().filter(|attempt| attempt.phase.is_held());
        let settled_as = match kind {
            CommandKind::Feedback => None,
            CommandKind::Ping => match held {
                Some(_) => None,
                None => Some(rejected("no agent runs")),
            },
            CommandKind::Pause => self.pause(task, held, text, decision),
            CommandKind::Resume => self.lift(task, held, decision),
            CommandKind::Restart => self.make_room(task, text, decision),
            CommandKind::Redirect { to } => self.redirect(task, to, text, decision)?,
            CommandKind::Stop => return Ok(self.stop(task, &command, decision)),
        };
        if let Some(state) = &settled_as {
            settled(task, &command, state.clone(), decision);
        } else {
            self.poke(task, decision);
        }
        Ok(Receipt {
            task: task.id,
            seq,
            attempt: held.map(|attempt| attempt.number),
            state: settled_as.unwrap_or(CommandState::Accepted),
        })
    }

    fn pause(
        &self,
        task: &Task,
        held: Option<&Attempt>,
        reason: &str,
        decision: &mut Decision,
    ) -> Option<CommandState> {
        if task.record.paused.is_none() {
            let event = TaskEvent::PauseRequested { reason: reason.to_owned() };
            decision.events.push(Event::Task { task: task.id, event });
        }
        match held {
            Some(attempt) if attempt.paused_at.is_none() => None,
            Some(attempt) => Some(CommandState::Applied { attempt: attempt.number }),
            None => {
                self.withdraw(task, reason, decision);
                Some(CommandState::Applied { attempt: 0 })
            }
        }
    }

    fn lift(
        &self,
        task: &Task,
        held: Option<&Attempt>,
        decision: &mut Decision,
    ) -> Option<CommandState> {
        if task.record.paused.is_none() {
            return Some(rejected("it isn't paused"));
        }
        let event = TaskEvent::PauseLifted;
        decision.events.push(Event::Task { task: task.id, event });
        match held {
            // Its worker may be about to freeze it: only the worker can say that it goes on.
            Some(_) => None,
            None => Some(CommandState::Applied { attempt: 0 }),
        }
    }

    /// Takes the agent off `task` and puts `to` first.
    fn redirect(
        &self,
        task: &Task,
        to: TaskId,
        reason: &str,
        decision: &mut Decision,
    ) -> Result<Option<CommandState>, Rejection> {
        let bad = |reason: String| Rejection::BadRedirect { from: task.id, to, reason };
        let other = self.task(to).ok_or(Rejection::UnknownTask { task: to })?;
        if to == task.id {
            return Err(bad("that is the same task".to_owned()));
        }
        if task.live_attempt().is_none() {
            return Err(bad("no agent is on it".to_owned()));
        }
        // So that no two tasks ever wait for each other.
        if other.record.deferred.is_some() {
            return Err(bad("it waits for another task by an earlier order".to_owned()));
        }
        match &other.record.state {
            TaskState::Ready | TaskState::RetryWait { .. } if other.record.paused.is_none() => {}
            TaskState::Ready | TaskState::RetryWait { .. } => {
                return Err(bad("it is paused".to_owned()));
            }
            TaskState::Blocked => {
                return Err(bad("what it depends on has not succeeded yet".to_owned()));
            }
            TaskState::Active
            | TaskState::Integrating { .. }
            | TaskState::Succeeded { .. }
            | TaskState::Failed { .. }
            | TaskState::Cancelled { .. }
            | TaskState::Skipped { .. } => {
                return Err(bad(format!("it is {}", other.record.state.name())));
            }
        }
        let preferred = TaskEvent::Preferred { boost: REDIRECTED };
        decision.events.push(Event::Task { task: to, event: preferred });
        let deferred = TaskEvent::Deferred { until: to, reason: reason.to_owned() };
        decision.events.push(Event::Task { task: task.id, event: deferred });
        Ok(self.make_room(task, reason, decision))
    }

    /// Has the live attempt of a task end without counting. Applied already when there is none to
    /// wait for.
    fn make_room(
        &self,
        task: &Task,
        reason: &str,
        decision: &mut Decision,
    ) -> Option<CommandState> {
        match task.live_attempt() {
            Some(attempt) if attempt.phase == Phase::Cancelling => return None,
            Some(attempt) if attempt.phase.is_held() => {
                let (attempt, reason) = (attempt.number, reason.to_owned());
                let event = TaskEvent::YieldRequested { attempt, reason };
                decision.events.push(Event::Task { task: task.id, event });
                return None;
            }
            Some(_) => self.withdraw(task, reason, decision),
            None => {}
        }
        Some(CommandState::Applied { attempt: 0 })
    }

    /// Takes an offer back that nobody has claimed. The task could start again at once, if nothing
    /// else keeps it.
    fn withdraw(&self, task: &Task, reason: &str, decision: &mut Decision) {
        let offered = task.live_attempt().filter(|attempt| attempt.phase == Phase::Offered);
        let Some(attempt) = offered else { return };
        let report = Arc::new(Report::stated(Outcome::Withdrawn, reason));
        let ended = TaskEvent::AttemptEnded { attempt: attempt.number, report };
        decision.events.push(Event::Task { task: task.id, event: ended });
        let (until, class) = (task.record.since, FailureClass::Uncounted);
        let again = TaskEvent::RetryScheduled { until, class, lesson: None };
        decision.events.push(Event::Task { task: task.id, event: again });
    }

    fn stop(&self, task: &Task, command: &Command, decision: &mut Decision) -> Receipt {
        let number = task.live_attempt().map(|attempt| attempt.number);
        let mut receipt = Receipt {
            task: task.id,
            seq: command.seq,
            attempt: number,
            state: CommandState::Accepted,
        };
        // Once the target's move is announced the integration can't be told from a finished one.
        if matches!(task.record.state, TaskState::Integrating { prepared: Some(_) }) {
            receipt.state = rejected("its result is being merged at this moment");
            settled(task, command, receipt.state.clone(), decision);
            return receipt;
        }
        if task.record.cancel.is_none() {
            let event = TaskEvent::CancelRequested { reason: command.text.clone() };
            decision.events.push(Event::Task { task: task.id, event });
        }
        match task.live_attempt() {
            Some(attempt) if attempt.phase.is_held() && !attempt.report_waits => {
                self.poke(task, decision);
                return receipt;
            }
            // Nobody runs it: it needs nobody's confirmation.
            Some(attempt) => {
                let held = attempt.phase.is_held();
                let outcome = if held { Outcome::Interrupted } else { Outcome::Withdrawn };
                let report = Arc::new(Report::stated(outcome, command.text.as_str()));
                let ended = TaskEvent::AttemptEnded { attempt: attempt.number, report };
                decision.events.push(Event::Task { task: task.id, event: ended });
            }
            None => {}
        }
        receipt.state = CommandState::Applied { attempt: number.unwrap_or(0) };
        settled(task, command, receipt.state.clone(), decision);
        self.finish(task, TaskEvent::Cancelled { unconfirmed: false }, decision);
        receipt
    }

    /// What is wanted of an attempt. Its commands count as delivered from then on.
    pub(super) fn decide_look(&self, holder: &Holder) -> Result<Decision, Rejection> {
        let task = self.held(holder)?;
        let attempt = holder.attempt.number;
        let mut decision = Decision::default();
        let mut commands = task.record.pending.clone();
        for command in &mut commands {
            if command.state == CommandState::Accepted {
                command.state = CommandState::Delivered { attempt };
                let event = TaskEvent::CommandDelivered { seq: command.seq, attempt };
                decision.events.push(Event::Task { task: task.id, event });
            }
        }
        let yielding = task.live_attempt().filter(|attempt| attempt.yields);
        let yielding = yielding.and_then(|attempt| attempt.cancel.as_ref());
        let directives = Directives {
            cancel: task
                .record
                .cancel
                .clone()
                .or_else(|| yielding.map(|order| order.reason.clone())),
            paused: task.record.paused.is_some(),
            commands,
        };
        decision.answer = Answer::Directives(directives);
        Ok(decision)
    }

    pub(super) fn decide_answered(
        &self,
        holder: &Holder,
        seq: CommandSeq,
        answer: &CommandAnswer,
    ) -> Result<Decision, Rejection> {
        let task = self.held(holder)?;
        let attempt = holder.attempt.number;
        let mut decision = Decision::default();
        // A command that is no longer pending was answered before; our word was lost.
        let Some(command) = task.record.pending.iter().find(|command| command.seq == seq) else {
            return Ok(decision);
        };
        let state = match (command.kind, answer) {
            // The end of the attempt settles these, and nothing else does.
            (CommandKind::Stop | CommandKind::Restart | CommandKind::Redirect { .. }, _) => {
                return Ok(decision);
            }
            // What this agent can't be told, the next one is.
            (CommandKind::Feedback, CommandAnswer::Refused { .. }) => return Ok(decision),
            (
                CommandKind::Feedback
                | CommandKind::Pause
                | CommandKind::Resume
                | CommandKind::Ping,
                CommandAnswer::Applied,
            ) => CommandState::Applied { attempt },
            (
                CommandKind::Pause | CommandKind::Resume | CommandKind::Ping,
                CommandAnswer::Refused { reason },
            ) => CommandState::Rejected { reason: reason.clone() },
        };
        if matches!(answer, CommandAnswer::Applied) {
            let frozen = task.live_attempt().is_some_and(|attempt| attempt.paused_at.is_some());
            let event = match command.kind {
                CommandKind::Pause if !frozen => Some(TaskEvent::AttemptPaused { attempt }),
                CommandKind::Resume if frozen => Some(TaskEvent::AttemptResumed { attempt }),
                CommandKind::Pause
                | CommandKind::Resume
                | CommandKind::Feedback
                | CommandKind::Restart
                | CommandKind::Redirect { .. }
                | CommandKind::Stop
                | CommandKind::Ping => None,
            };
            decision.events.extend(event.map(|event| Event::Task { task: task.id, event }));
        }
        settled(task, command, state, &mut decision);
        Ok(decision)
    }

    /// Tells the holder of a task's live attempt, if somebody holds it, to look.
    pub(super) fn poke(&self, task: &Task, decision: &mut Decision) {
        let held = task.live_attempt().filter(|attempt| attempt.phase.is_held());
        let (Some(grant), Some(attempt)) = (held.and(task.grant()), task.attempt_id()) else {
            return;
        };
        decision.effects.push(Effect::Poke { worker: grant.worker.clone(), attempt });
    }

    /// Whether the worker that holds a task's attempt has something to learn by looking.
    pub(super) fn is_something_wanted(task: &Task) -> bool {
        let attempt = task.live_attempt();
        task.record.cancel.is_some()
            || !task.record.pending.is_empty()
            || attempt.is_some_and(|attempt| {
                attempt.yields || attempt.paused_at.is_some() != task.record.paused.is_some()
            })
    }
}

fn rejected(reason: &str) -> CommandState {
    CommandState::Rejected { reason: reason.to_owned() }
}

/// Whether a command to many makes sense for this one.
fn is_concerned(task: &Task, kind: CommandKind) -> bool {
    let held = task.live_attempt().is_some_and(|attempt| attempt.phase.is_held());
    if task.record.state.is_ended() {
        return false;
    }
    match kind {
        CommandKind::Feedback
        | CommandKind::Restart
        | CommandKind::Redirect { .. }
        | CommandKind::Ping => held,
        CommandKind::Stop => task.record.cancel.is_none(),
        CommandKind::Pause => task.record.paused.is_none(),
        CommandKind::Resume => task.record.paused.is_some(),
    }
}
