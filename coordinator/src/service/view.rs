//! What the service shows: the one form that HTTP, CLI and tools share.
//!
//! Field names are a promise: they are added to, never renamed. Times are Unix milliseconds, as
//! `*_at`; durations are `*_ms`. Everything that came from an agent is plain text and hostile:
//! whoever shows it makes it harmless first.

mod admission;
mod health;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use admission::{InvitationRequest, InvitationView, RevocationView};
pub use health::HealthView;

/// A run in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its id, such as `r-42`.
    pub id: String,
    /// What it is for.
    pub title: String,
    /// `running`, `succeeded`, `failed` or `cancelled`.
    pub state: String,
    /// The branch that results go to, if any.
    pub branch: Option<String>,
    /// The commit that the branch is known to point to.
    pub head: Option<String>,
    /// Why results go elsewhere than the branch one works on, if they do.
    pub note: Option<String>,
    /// Whether its branch has results that the branch which is checked out lacks.
    #[serde(default)]
    pub unmerged: bool,
    /// When it was submitted.
    pub submitted_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// How many tasks may be live at once.
    pub concurrency: u32,
    /// How many of its tasks are in each state, by the state's name.
    pub counts: BTreeMap<String, u32>,
    /// What it has used up.
    pub usage: UsageView,
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// Its id, such as `r-42/1.2`.
    pub id: String,
    /// Its run.
    pub run: String,
    /// Its name within the run: the id of its work stream.
    pub key: String,
    /// What it is about.
    pub title: String,
    /// `blocked`, `ready`, `active`, `retry_wait`, `integrating`, `succeeded`, `failed`,
    /// `cancelled` or `skipped`.
    pub state: String,
    /// Since when.
    pub since_at: i64,
    /// Why it is in that state, in one line for people; never empty while it isn't running.
    pub reason: String,
    /// The agent that is to do it.
    pub agent: String,
    /// Which try is the newest, from 1; 0 before the first.
    pub attempt: u32,
    /// Where the newest attempt stands.
    pub phase: Option<String>,
    /// The worker that holds it.
    pub worker: Option<String>,
    /// When the agent of the newest attempt was started.
    pub started_at: Option<i64>,
    /// The last thing that the running agent said or did, if it runs.
    pub activity: Option<String>,
    /// The commit that integrated it.
    pub commit: Option<String>,
    /// The tasks, by key, that must succeed first.
    pub depends_on: Vec<String>,
    /// What it needs of a worker beside the agent, as constraints on labels.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What all its attempts together have used up.
    pub usage: UsageView,
}

/// What was used up. Unknown money is absent, never zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// Tokens that went in.
    pub input_tokens: u64,
    /// Tokens that came out.
    pub output_tokens: u64,
    /// Money in millionths of a US dollar, where it is known.
    pub cost_microusd: Option<u64>,
}

/// One try at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Its id, such as `r-42/1.2#1`.
    pub id: String,
    /// Which try, from 1.
    pub number: u32,
    /// `offered`, `claimed`, `running`, `suspect`, `cancelling` or `ended`.
    pub phase: String,
    /// How it ended, such as `completed`, `checks_failed` or `agent_failed`.
    pub outcome: Option<String>,
    /// What it said in the end, or what went wrong.
    pub summary: Option<String>,
    /// `pass`, `fail` or `unknown`.
    pub verdict: Option<String>,
    /// Each check.
    pub checks: Vec<CheckView>,
    /// The worker that held it.
    pub worker: Option<String>,
    /// When it was granted.
    pub claimed_at: Option<i64>,
    /// When its agent was started.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// The exit code of its agent.
    pub exit_code: Option<i32>,
    /// The signal that ended its agent.
    pub signal: Option<i32>,
    /// Files changed, lines added, lines deleted, when there is a result.
    pub changes: Option<ChangesView>,
    /// The commit of its result, kept under `refs/kapelle/`.
    pub result_commit: Option<String>,
    /// The attempt whose work in progress it went on from, if it did.
    #[serde(default)]
    pub goes_on_from: Option<u32>,
    /// Why the merge queue refused its result, if it did: a conflict, a check that fails on the
    /// merged tree, or trouble of the machinery.
    #[serde(default)]
    pub refused: Option<String>,
    /// What it used up.
    pub usage: UsageView,
}

/// One check of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// Its name.
    pub name: String,
    /// `pass`, `fail` or `unknown`.
    pub verdict: String,
    /// Why, or the end of its output.
    pub detail: String,
    /// How long it took.
    pub took_ms: u64,
}

/// How much a result changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangesView {
    /// Files.
    pub files: u32,
    /// Lines added.
    pub lines_added: u64,
    /// Lines deleted.
    pub lines_deleted: u64,
}

/// A run with its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunDetail {
    /// The run.
    pub run: RunView,
    /// Its tasks, in the order of the plan.
    pub tasks: Vec<TaskView>,
}

/// A page of runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunView>,
    /// Give this as `before` to get the next page; absent on the last.
    pub next: Option<String>,
}

/// A work stream, as the roadmap and the engine see it together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its batch's heading.
    pub batch: Option<String>,
    /// Its tag, in lower case.
    pub tag: Option<String>,
    /// Its status as the roadmap says: `not_started`, `in_progress`, `complete` or `blocked`.
    pub status: String,
    /// Its effort.
    pub effort: Option<String>,
    /// Whether it could be started now.
    pub available: bool,
    /// Why it couldn't, or what is odd about it, in one line.
    pub reason: Option<String>,
    /// The task of an open run that works on it, such as `r-42/1.2`.
    pub claimed_by: Option<String>,
    /// The branch that it is done on, when that isn't merged into the one that is checked out.
    #[serde(default)]
    pub unmerged_in: Option<String>,
}

/// The state of a project at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The roadmap's path, relative to the project's root; absent when there is none.
    pub roadmap: Option<String>,
    /// How many streams have each status.
    pub counts: BTreeMap<String, u32>,
    /// How many streams could be started now.
    pub available: u32,
    /// Errors and warnings in the roadmap.
    pub diagnostics: u32,
    /// The streams that aren't complete, those that can be claimed first.
    pub streams: Vec<StreamView>,
    /// Tasks that run, are integrated, or wait, over all open runs.
    pub tasks: Vec<TaskView>,
    /// The open runs.
    pub open_runs: Vec<RunView>,
    /// The newest runs that have ended.
    pub recent_runs: Vec<RunView>,
    /// The workers.
    pub workers: Vec<WorkerView>,
    /// Whether the coordinator takes nothing new and ends once what runs is done.
    pub draining: bool,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// Its name.
    pub id: String,
    /// How many attempts it takes at once.
    pub slots: u32,
    /// How many it holds.
    pub held: u32,
    /// The agents that it can run.
    pub agents: Vec<String>,
    /// What it says about its machine.
    pub labels: BTreeMap<String, String>,
    /// What it is to do about new work.
    pub duty: WorkerDuty,
    /// Whether it has not been heard of for longer than a worker may be silent.
    pub suspect: bool,
    /// Whether it lives in the coordinator's own process.
    pub embedded: bool,
    /// Its version.
    pub build: String,
    /// What it found of each agent's program.
    pub programs: Vec<ProgramView>,
    /// The repositories that it had a copy of when it registered.
    #[serde(default)]
    pub cached: Vec<String>,
    /// The oldest and the newest version of the protocol that it speaks.
    #[serde(default)]
    pub protocol: (u32, u32),
    /// When it was last heard of.
    pub seen_at: i64,
}

/// What a worker found of an agent's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgramView {
    /// The agent.
    pub agent: String,
    /// The version that the program says it has.
    pub version: Option<String>,
    /// `installed`, `logged_out` or `missing`.
    pub state: String,
}

/// What somebody wants to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Which work streams.
    pub select: Selection,
    /// The agent to use instead of the configured one.
    #[serde(default)]
    pub agent: Option<String>,
    /// What is needed of workers beside what is configured: `gpu`, `os=linux`, `memory_gb>=16`.
    #[serde(default)]
    pub needs: Vec<String>,
    /// How many at once instead of what is configured.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub concurrency: Option<u32>,
    /// Whether to leave out the checks.
    #[serde(default)]
    pub no_verify: bool,
    /// Whether only to say what would be run.
    #[serde(default)]
    pub dry_run: bool,
    /// The goal that chose the streams, when one did.
    #[serde(default)]
    pub goal: Option<String>,
    /// Names the request: repeating it with the same key starts nothing twice. Another request with
    /// the same key is refused.
    #[serde(default)]
    pub key: Option<uuid::Uuid>,
}

/// Which work streams to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// The first available one.
    // Braces, so that fields that it doesn't have are refused.
    Next {},
    /// Exactly these.
    Streams {
        /// Their ids.
        ids: Vec<String>,
    },
    /// Up to so many of the available ones, all at once.
    Parallel {
        /// How many.
        #[schema(minimum = 1)]
        count: u32,
    },
    /// Every available one, and all that they unblock.
    Batch {
        /// Ids of those that are left out, and with them what waits for them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exclude: Vec<String>,
    },
}

/// What was, or would be, started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunAccepted {
    /// The run; absent for a dry run.
    pub run: Option<RunView>,
    /// Its tasks in the order of the plan; for a dry run those that it would have.
    pub tasks: Vec<PlannedTask>,
    /// What one should know, such as that results go to a branch of their own.
    pub notes: Vec<String>,
}

/// A task of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedTask {
    /// Its key.
    pub key: String,
    /// What it is about.
    pub title: String,
    /// The agent that is to do it.
    pub agent: String,
    /// The keys of the tasks that must succeed first.
    pub depends_on: Vec<String>,
    /// What it needs of a worker beside the agent.
    #[serde(default)]
    pub needs: Vec<String>,
}

/// What to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// A run or a task; everything when absent.
    #[serde(default)]
    pub id: Option<String>,
    /// Where everything is stopped: the tasks or work streams that go on, and with them what they
    /// wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What was told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopAccepted {
    /// The tasks, by id.
    pub tasks: Vec<String>,
}

/// What to say to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackRequest {
    /// What.
    pub text: String,
}

/// What will become of what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeedbackAccepted {
    /// The task.
    pub task: String,
    /// The number of the command among those of the task.
    pub seq: u64,
    /// The attempt that runs, if one does.
    pub attempt: Option<u32>,
    /// Who is told.
    #[serde(default)]
    pub delivery: Delivery,
}

/// When something that was said to a task reaches an agent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// As soon as the agent of the running attempt listens: it takes messages while it works. What
    /// it doesn't acknowledge is part of the next attempt's prompt.
    Now,
    /// With the prompt of the next attempt, if there is one.
    #[default]
    NextAttempt,
}

/// Something that was said to a task, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandView {
    /// Its number among the commands of the task.
    pub seq: u64,
    /// What was ordered: `feedback`, `restart`, `redirect`, `stop`, `pause`, `resume` or `ping`.
    pub kind: String,
    /// What was said, or the reason.
    pub text: String,
    /// When.
    pub at: i64,
    /// `accepted`, `delivered`, `applied`, `carried`, `rejected` or `expired`.
    pub state: String,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// In which attempt it was applied or carried.
    pub attempt: Option<u32>,
}

/// What is ordered of running work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// Of which tasks.
    pub scope: CommandScope,
    /// What.
    pub verb: Verb,
    /// What is said to the agent, or the reason.
    #[serde(default)]
    pub text: Option<String>,
    /// The work stream that an agent is redirected to.
    #[serde(default)]
    pub to: Option<String>,
    /// Names the request, in up to 100 bytes: repeated, it has the effect of one.
    #[serde(default)]
    pub request_id: Option<String>,
}

/// Of which tasks something is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CommandScope {
    /// Of everything that runs or waits.
    All {
        /// The tasks or work streams that are left alone, and with them what they wait for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<String>,
    },
    /// Of one run.
    Run {
        /// Which.
        id: String,
    },
    /// Of one task.
    Task {
        /// Which.
        id: String,
    },
    /// Of one task, as long as this is its attempt.
    Attempt {
        /// The attempt, as `r-1/1.2#1`, or its agent's name on the bus, as `claude-1.2-1-0-1`.
        id: String,
    },
    /// Of what a worker holds.
    Worker {
        /// Which.
        id: String,
    },
    /// Of what workers with such a label hold.
    Label {
        /// A constraint, such as `gpu` or `zone=eu-1`.
        constraint: String,
    },
}

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Tell the agent, or the next one.
    Feedback,
    /// End the attempt and begin anew with what is said.
    Restart,
    /// Put the agent on another work stream.
    Redirect,
    /// End the task.
    Stop,
    /// Freeze the agent, or start none.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Ask whether the attempt is alive.
    Ping,
}

/// A command was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandAccepted {
    /// For each task that it concerns.
    pub receipts: Vec<ReceiptView>,
}

/// What became of a command, as far as is known when it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptView {
    /// The task.
    pub task: String,
    /// The number of the command among those of the task.
    pub seq: u64,
    /// The running attempt that it concerns.
    pub attempt: Option<u32>,
    /// `accepted`, or what became of it already.
    pub state: String,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Who hears feedback.
    pub delivery: Option<Delivery>,
}

/// What a worker is to do about new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerDuty {
    /// Take it.
    Active,
    /// Take none until further notice.
    Cordoned,
    /// Take none, finish what it has, and leave.
    Draining,
}

/// What a goal was understood to mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GoalView {
    /// `run_single`, `run_parallel`, `run_batch`, `suggest`, `status`, `stop`, `list_agents`,
    /// `unblock` or `help`.
    pub action: String,
    /// How sure, from 0 to 1.
    pub confidence: f64,
    /// Why, in words for people.
    pub explanation: String,
    /// The work streams that it is about, best first: those to run, to stop or to be told of.
    pub matches: Vec<GoalMatch>,
    /// Ids of the work streams that must be left alone, also when they could be started later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<String>,
    /// How many may be worked on at once, where the goal says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// What is to be stopped instead of work streams: agents, by the names that the goal gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
}

/// A work stream that a goal is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GoalMatch {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How well it fits, from 0 to 1.
    pub score: f64,
}

/// A goal in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GoalRequest {
    /// The words.
    pub text: String,
}

/// Why a task isn't running, or what it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// What is asked about: a task, or a work stream that no open run has.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The answer, in one line.
    pub answer: String,
    /// More lines, such as what holds the slots, or the end of a failed check's output.
    pub details: Vec<String>,
    /// The task, when there is one.
    pub task: Option<TaskView>,
    /// What could be done about it: commands to type.
    pub hints: Vec<String>,
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its place: `<epoch>.<seq>`.
    pub id: String,
    /// Its number.
    pub seq: u64,
    /// When it was decided.
    pub at: i64,
    /// Its name, such as `attempt_started`.
    pub kind: String,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// The task that it belongs to, such as `r-42/1.2`.
    pub task: Option<String>,
    /// What happened, in one line for people.
    pub message: String,
    /// Everything, as recorded: tasks are named by their place in the plan, such as `r-42/t0`.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// A page of events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub events: Vec<EventView>,
    /// Give this as `after` to get those that follow.
    pub next: String,
}

/// A line of an attempt's transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Its number within the attempt, from 1.
    pub n: u64,
    /// When it was read, by the worker's clock.
    pub at: i64,
    /// `stdout`, `stderr`, `agent` or `worker`.
    pub lane: String,
    /// The text.
    pub text: String,
}

/// A page of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// The attempt, such as `r-42/1.2#1`.
    pub attempt: String,
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Give this as `after` to get the lines that follow.
    pub next: u64,
    /// Whether the attempt is over and there is nothing after these lines.
    pub complete: bool,
}

/// A run, told from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// The run.
    pub run: RunView,
    /// Its tasks with their attempts.
    pub tasks: Vec<TaskReport>,
    /// How long it took, or has taken so far.
    pub took_ms: u64,
}

/// A task in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskReport {
    /// The task.
    pub task: TaskView,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// What was said to it.
    pub commands: Vec<CommandView>,
}
