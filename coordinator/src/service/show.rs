//! From what is stored to what is shown.

use std::collections::BTreeMap;

use kapelle_domain::attempt::{Attempt, Phase, Usage};
use kapelle_domain::command::{Command, CommandKind, CommandState};
use kapelle_domain::event::{Event, Recorded, RunEvent, TaskEvent, WorkerEvent};
use kapelle_domain::ids::{AttemptId, CommandSeq, RunId, TaskId};
use kapelle_domain::plan::TaskSpec;
use kapelle_domain::run::RunRecord;
use kapelle_domain::task::TaskState;
use kapelle_domain::worker::{Duty, Program, Worker};
use kapelle_store::{StoredRun, StoredTask};

use super::view::{
    AttemptView, ChangesView, CheckView, CommandView, EventView, ProgramView, RunView, TaskView,
    UsageView, WorkerDuty, WorkerView,
};

/// A task as people name it, such as `r-42/1.2`.
pub(super) fn name(id: TaskId, spec: &TaskSpec) -> String {
    format!("{}/{}", id.run, spec.key)
}

pub(super) fn usage(usage: Usage) -> UsageView {
    UsageView {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cost_microusd: usage.cost_microusd,
    }
}

pub(super) fn run(
    stored: &StoredRun,
    counts: BTreeMap<String, u32>,
    used: Usage,
    unmerged: bool,
) -> RunView {
    let record = &stored.record;
    RunView {
        id: stored.id.to_string(),
        title: record.spec.title.clone(),
        state: run_state(record).to_owned(),
        branch: record.target.as_ref().map(|target| target.branch.clone()),
        head: record.target.as_ref().map(|target| target.head.clone()),
        note: record.detour.clone(),
        unmerged,
        submitted_at: record.submitted_at.0,
        finished_at: record.finished_at.map(|at| at.0),
        concurrency: record.spec.concurrency,
        counts,
        usage: usage(used),
    }
}

fn run_state(record: &RunRecord) -> &'static str {
    match record.outcome {
        None => "running",
        Some(outcome) => outcome.name(),
    }
}

/// Where an attempt stands, for people: an agent that is frozen doesn't run.
fn phase(attempt: &Attempt) -> String {
    let frozen = attempt.phase == Phase::Running && attempt.paused_at.is_some();
    if frozen { "paused" } else { attempt.phase.name() }.to_owned()
}

/// A task; `reason` says why it stands where it stands, `keys` names the tasks of its run.
pub(super) fn task(
    stored: &StoredTask,
    keys: &[String],
    reason: String,
    activity: Option<String>,
    used: Usage,
) -> TaskView {
    let attempt = stored.record.attempt.as_ref();
    let key = |index: &u32| {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        keys.get(index).cloned().unwrap_or_default()
    };
    let commit = match &stored.record.state {
        TaskState::Succeeded { commit } => commit.clone(),
        TaskState::Blocked
        | TaskState::Ready
        | TaskState::Active
        | TaskState::RetryWait { .. }
        | TaskState::Integrating { .. }
        | TaskState::Failed { .. }
        | TaskState::Cancelled { .. }
        | TaskState::Skipped { .. } => None,
    };
    TaskView {
        id: name(stored.id, &stored.spec),
        run: stored.id.run.to_string(),
        key: stored.spec.key.clone(),
        title: stored.spec.title.clone(),
        state: stored.record.state.name().to_owned(),
        since_at: stored.record.since.0,
        reason,
        agent: stored.spec.agent.to_string(),
        attempt: attempt.map_or(0, |attempt| attempt.number),
        phase: attempt.map(phase),
        worker: attempt
            .and_then(|attempt| attempt.grant.as_ref())
            .map(|grant| grant.worker.0.clone()),
        started_at: attempt.and_then(|attempt| attempt.started_at).map(|at| at.0),
        activity,
        commit,
        depends_on: stored.spec.depends_on.iter().map(key).collect(),
        needs: stored.spec.needs.iter().map(ToString::to_string).collect(),
        usage: usage(used),
    }
}

/// An attempt; `refused` says why its result was not integrated, if it was refused.
pub(super) fn attempt(
    stored: &StoredTask,
    attempt: &Attempt,
    refused: Option<String>,
) -> AttemptView {
    let report = attempt.report.as_deref();
    let result = report.and_then(|report| report.result.as_ref());
    AttemptView {
        id: format!("{}#{}", name(stored.id, &stored.spec), attempt.number),
        number: attempt.number,
        phase: attempt.phase.name().to_owned(),
        outcome: report.map(|report| report.outcome.name().to_owned()),
        summary: report.map(|report| report.summary.clone()),
        verdict: report.map(|report| report.verdict.name().to_owned()),
        checks: report.map_or_else(Vec::new, |report| {
            report
                .checks
                .iter()
                .map(|check| CheckView {
                    name: check.name.clone(),
                    verdict: check.verdict.name().to_owned(),
                    detail: check.detail.clone(),
                    took_ms: u64::try_from(check.took.as_millis()).unwrap_or(u64::MAX),
                })
                .collect()
        }),
        worker: attempt.grant.as_ref().map(|grant| grant.worker.0.clone()),
        claimed_at: attempt.grant.as_ref().map(|grant| grant.at.0),
        started_at: attempt.started_at.map(|at| at.0),
        ended_at: attempt.ended_at.map(|at| at.0),
        exit_code: report.and_then(|report| report.exit?.code),
        signal: report.and_then(|report| report.exit?.signal),
        changes: result.map(|result| ChangesView {
            files: result.files_changed,
            lines_added: result.lines_added,
            lines_deleted: result.lines_deleted,
        }),
        result_commit: result.map(|result| result.commit.clone()),
        goes_on_from: attempt.grant.as_ref().and_then(|grant| grant.goes_on_from),
        refused,
        usage: usage(report.map(|report| report.usage).unwrap_or_default()),
    }
}

pub(super) fn command(command: &Command) -> CommandView {
    CommandView {
        seq: command.seq.0,
        kind: command.kind.name().to_owned(),
        text: command.text.clone(),
        at: command.at.0,
        state: command.state.name().to_owned(),
        reason: command.state.reason().map(str::to_owned),
        attempt: command.state.attempt(),
    }
}

pub(super) fn worker(worker: &Worker) -> WorkerView {
    WorkerView {
        id: worker.registration.worker.0.clone(),
        slots: worker.registration.slots,
        held: u32::try_from(worker.holds.len()).unwrap_or(u32::MAX),
        agents: worker.registration.agents.iter().map(ToString::to_string).collect(),
        labels: worker.registration.labels.clone(),
        duty: match worker.duty {
            Duty::Active => WorkerDuty::Active,
            Duty::Cordoned => WorkerDuty::Cordoned,
            Duty::Draining => WorkerDuty::Draining,
        },
        suspect: worker.suspect,
        embedded: worker.registration.embedded,
        build: worker.registration.build.clone(),
        programs: worker.registration.programs.iter().map(program).collect(),
        cached: worker.registration.cached.iter().map(ToString::to_string).collect(),
        protocol: (worker.registration.protocol.oldest, worker.registration.protocol.newest),
        seen_at: worker.seen_at.0,
    }
}

fn program(program: &Program) -> ProgramView {
    ProgramView {
        agent: program.agent.to_string(),
        version: program.version.clone(),
        state: program.state.name().to_owned(),
    }
}

/// An event; `key` is that of its task.
pub(super) fn event(epoch: u64, recorded: &Recorded, key: Option<&str>) -> EventView {
    let run: Option<RunId> = recorded.event.run();
    let task = recorded.event.task().map(|task| match key {
        Some(key) => format!("{}/{key}", task.run),
        None => task.to_string(),
    });
    EventView {
        id: format!("{epoch}.{}", recorded.seq),
        seq: recorded.seq.0,
        at: recorded.at.0,
        kind: recorded.event.name().to_owned(),
        run: run.map(|run| run.to_string()),
        message: message(&recorded.event, task.as_deref().unwrap_or_default()),
        task,
        // Every event can be written: the store has done so.
        data: serde_json::to_value(&recorded.event).unwrap_or_default(),
    }
}

fn message(event: &Event, task: &str) -> String {
    match event {
        Event::Run { run, event } => format!("{run}: {}", run_message(event)),
        Event::Task { event, .. } => format!("{task}: {}", task_message(event)),
        Event::Worker { worker, event } => format!(
            "worker {worker}: {}",
            match event {
                WorkerEvent::Registered { .. } => "registered".to_owned(),
                WorkerEvent::Draining => "takes no new work".to_owned(),
                WorkerEvent::DutyChanged { duty } => format!("is {}", duty.name()),
                WorkerEvent::Suspected => "nothing was heard of it for a while".to_owned(),
                WorkerEvent::Recovered => "was heard of again".to_owned(),
                WorkerEvent::Gone { reason } => format!("gone: {reason}"),
            }
        ),
    }
}

fn run_message(event: &RunEvent) -> String {
    match event {
        RunEvent::Submitted { spec } => format!("submitted: {}", spec.title),
        RunEvent::CancelRequested { reason } => format!("is to end: {reason}"),
        RunEvent::TargetMoved { head } => format!("the target is at {}", short(head)),
        RunEvent::TargetSwitched { branch, reason, .. } => {
            format!("results go to {branch}: {reason}")
        }
        RunEvent::Finished { outcome } => outcome.name().to_owned(),
        RunEvent::Reopened => "opened again".to_owned(),
    }
}

fn task_message(event: &TaskEvent) -> String {
    match event {
        TaskEvent::Submitted { spec } => format!("{} {}", spec.key, spec.title),
        TaskEvent::DependenciesMet => "its dependencies are met".to_owned(),
        TaskEvent::Skipped { .. } => {
            "skipped: something that it depends on didn't succeed".to_owned()
        }
        TaskEvent::Offered { attempt, .. } => format!("attempt {attempt} is offered"),
        TaskEvent::Claimed { attempt, worker, goes_on_from: None, .. } => {
            format!("attempt {attempt} is granted to {worker}")
        }
        TaskEvent::Claimed { attempt, worker, goes_on_from: Some(earlier), .. } => {
            format!("attempt {attempt} is granted to {worker}; it goes on from attempt {earlier}")
        }
        TaskEvent::Started { attempt } => format!("attempt {attempt}: the agent runs"),
        TaskEvent::Suspected { attempt } => {
            format!("attempt {attempt}: nothing heard of its worker")
        }
        TaskEvent::Recovered { attempt } => format!("attempt {attempt}: its worker is back"),
        TaskEvent::CancelRequested { reason } => format!("is to end: {reason}"),
        TaskEvent::AttemptEnded { attempt, report } => {
            format!("attempt {attempt} ended ({}): {}", report.outcome.name(), report.summary)
        }
        TaskEvent::RetryScheduled { .. } => "will be tried again".to_owned(),
        TaskEvent::RetryDue => "is tried again".to_owned(),
        TaskEvent::IntegrationQueued { .. } => "its result waits in the merge queue".to_owned(),
        TaskEvent::IntegrationPrepared { branch, new, .. } => {
            format!("{branch} moves to {}", short(new))
        }
        TaskEvent::IntegrationRefused { reason } => {
            format!("its result was not integrated: {reason}")
        }
        TaskEvent::IntegrationHindered { reason, .. } => {
            format!("its result can't be integrated now, and is kept: {reason}")
        }
        TaskEvent::Succeeded { commit: Some(commit) } => format!("done, in {}", short(commit)),
        TaskEvent::Succeeded { commit: None } => "done".to_owned(),
        TaskEvent::Failed { failure } => format!("failed: {}", failure.reason),
        TaskEvent::Cancelled { unconfirmed: false } => "stopped".to_owned(),
        TaskEvent::Cancelled { unconfirmed: true } => "stopped, without confirmation".to_owned(),
        TaskEvent::Revived => "will be tried again".to_owned(),
        TaskEvent::DoneElsewhere => "was done by somebody else meanwhile".to_owned(),
        TaskEvent::PauseRequested { reason } => format!("is to pause: {reason}"),
        TaskEvent::PauseLifted => "may go on".to_owned(),
        TaskEvent::AttemptPaused { attempt } => format!("attempt {attempt} is frozen"),
        TaskEvent::AttemptResumed { attempt } => format!("attempt {attempt} goes on"),
        TaskEvent::YieldRequested { attempt, reason } => {
            format!("attempt {attempt} is to make room: {reason}")
        }
        TaskEvent::Preferred { .. } => "goes before the others of its run".to_owned(),
        TaskEvent::Deferred { until, reason } => format!("waits for {until}: {reason}"),
        TaskEvent::Undeferred => "need not wait any more".to_owned(),
        TaskEvent::SnapshotTaken { attempt, .. } => {
            format!("attempt {attempt}: its work in progress was kept")
        }
        TaskEvent::OrphanKept { orphan } => {
            format!("attempt {} came too late; its result is kept aside", orphan.grant.attempt)
        }
        TaskEvent::CommandAccepted { command } if command.kind == CommandKind::Feedback => {
            format!("told: {}", command.text)
        }
        TaskEvent::CommandAccepted { command } => {
            format!("command {} ({}): {}", command.seq, command.kind.name(), command.text)
        }
        TaskEvent::CommandDelivered { seq, attempt } => {
            format!("command {seq} reached the worker of attempt {attempt}")
        }
        TaskEvent::CommandSettled { seq, state } => command_message(*seq, state),
    }
}

fn command_message(seq: CommandSeq, state: &CommandState) -> String {
    match state {
        CommandState::Accepted => format!("command {seq} waits"),
        CommandState::Delivered { attempt } => {
            format!("command {seq} reached the worker of attempt {attempt}")
        }
        CommandState::Applied { attempt: 0 } => format!("command {seq} was applied"),
        CommandState::Applied { attempt } => {
            format!("command {seq} was applied to attempt {attempt}")
        }
        CommandState::Carried { attempt } => {
            format!("command {seq} is part of the prompt of attempt {attempt}")
        }
        CommandState::Rejected { reason } => format!("command {seq} was rejected: {reason}"),
        CommandState::Expired => format!("command {seq} had no effect before the end"),
    }
}

/// A commit as people read it.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// The newest attempt of a task.
pub(super) fn newest_attempt(task: &StoredTask) -> Option<AttemptId> {
    task.record.attempt.as_ref().map(|attempt| AttemptId { task: task.id, number: attempt.number })
}
