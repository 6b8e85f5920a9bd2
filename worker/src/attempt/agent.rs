//! The agent's process: what it is told, what it says, and how it ends.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kapelle_bus::{OutputLane, WorkerEnd};
use kapelle_domain::attempt::{Outcome, Report, Usage};
use kapelle_domain::command::{CommandAnswer, CommandKind};
use kapelle_domain::engine::WorkerRequest;
use kapelle_domain::ids::CommandSeq;
use kapelle_domain::words::plural;
use kapelle_git::Workspace;
use kapelle_runtime::config::{self, Driver, PromptDelivery, Protocol};
use kapelle_runtime::telemetry::Chain;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::progress::{self, Progress};
use super::{Desk, ladder, look};
use crate::agent_line::{self, Activity, AgentLine, EndOutcome, FailureKind};
use crate::process::keeper::{self, Adopted, Link};
use crate::process::{self, Exit, Output, OutputStream, Process, ProcessSpec, Stdin, StopLadder};

/// Longer than any attempt.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What became of the agent.
pub(crate) enum Work {
    /// It ran and ended.
    Ended(AgentEnd),
    /// It could not be started.
    Impossible(Report),
    /// It was ended without anybody to report to.
    Abandoned,
}

/// How the agent ended.
pub(crate) struct AgentEnd {
    /// What is to be let go of once it is known on disk what has come of it.
    pub(crate) link: Option<Link>,
    pub(crate) exit: Exit,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) usage: Usage,
    /// The last thing that it said.
    pub(crate) last_words: String,
    /// How it judges its own work, where it says so.
    pub(crate) word: Option<Word>,
}

/// An agent's own judgment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Word {
    pub(crate) outcome: EndOutcome,
    /// Whose fault a failure is.
    pub(crate) blames: Option<FailureKind>,
}

/// What has to be known of a conversation when another worker goes on with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    usage: Usage,
    last_words: String,
    word: Option<Word>,
    /// Commands that were written and not yet acknowledged.
    told: Vec<CommandSeq>,
}

/// Why we ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    TimedOut,
    Cancelled,
    /// The worker ends before it does: what it has done is for the next attempt.
    HandedOver,
    Abandoned,
}

impl AgentEnd {
    pub(crate) fn is_handed_over(&self) -> bool {
        self.stopped == Some(Stopped::HandedOver)
    }
}

pub(crate) async fn run<B: WorkerEnd>(
    desk: &Desk<'_, B>,
    agent: &config::Agent,
    directory: &Path,
    workspace: &Workspace,
) -> Work {
    let spec = match spec(desk, agent, directory, workspace) {
        Ok(spec) => spec,
        Err(error) => {
            let summary = format!("the prompt could not be written: {error}");
            return Work::Impossible(Report::stated(Outcome::Infrastructure, summary));
        }
    };
    let by_line = has_prompt_by_line(agent);
    let (process, link) = match start(desk, spec).await {
        Ok(started) => started,
        Err(error) => return Work::Impossible(not_started(&error)),
    };
    desk.transcript.say(&format!(
        "the agent `{}` runs ({})",
        desk.grant.agent,
        process.containment()
    ));
    if let Some(stdin) = process.stdin.as_ref().filter(|_| by_line) {
        // Whoever has ended without reading it has an exit code that says more than we could.
        drop(stdin.line(&agent_line::prompt(&desk.grant.prompt)).await);
    }
    accompany(desk, Conversation::new(desk, agent, process, link), workspace).await
}

/// Goes on with an agent whose worker is gone.
pub(crate) async fn adopt<B: WorkerEnd>(
    desk: &Desk<'_, B>,
    agent: &config::Agent,
    keeper: UnixStream,
    workspace: &Workspace,
) -> Work {
    let adopted = keeper::adopt(keeper, &desk.marker(), desk.orders.lease(desk.grant)).await;
    let (process, link, adopted) = match adopted {
        Ok(adopted) => adopted,
        Err(error) => {
            let summary = format!("its agent could not be taken over: {}", Chain(&error));
            return Work::Impossible(Report::stated(Outcome::Infrastructure, summary));
        }
    };
    desk.transcript.say("its worker was started again; the agent has gone on");
    let mut conversation = Conversation::new(desk, agent, process, Some(link));
    conversation.recall(adopted);
    accompany(desk, conversation, workspace).await
}

async fn start<B>(
    desk: &Desk<'_, B>,
    spec: ProcessSpec,
) -> Result<(Process, Option<Link>), process::Error> {
    match &desk.workshop.keeping {
        None => Ok((desk.workshop.supervisor.spawn(spec).await?, None)),
        Some(keeping) => {
            let lease = desk.orders.lease(desk.grant);
            let (process, link) = keeper::start(keeping, &desk.place, &spec, lease).await?;
            Ok((process, Some(link)))
        }
    }
}

/// Says that the agent runs, and stays with it to its end.
async fn accompany<B: WorkerEnd>(
    desk: &Desk<'_, B>,
    mut conversation: Conversation<'_, '_, B>,
    workspace: &Workspace,
) -> Work {
    let started = WorkerRequest::Started(desk.holder.clone());
    match crate::daemon::ask(desk.bus, started, &desk.orders.stop).await {
        Ok(Ok(_)) => {}
        // The grant is of the past.
        Ok(Err(_)) | Err(_) => {
            conversation.process.stop(StopLadder::KILL);
            conversation.process.wait().await;
            conversation.let_go().await;
            return Work::Abandoned;
        }
    }
    let ended = conversation.hold(workspace).await;
    match ended.stopped {
        Some(Stopped::Abandoned) => {
            if let Some(link) = ended.link {
                link.bye().await;
            }
            Work::Abandoned
        }
        Some(Stopped::TimedOut | Stopped::Cancelled | Stopped::HandedOver) | None => {
            Work::Ended(ended)
        }
    }
}

fn not_started(error: &process::Error) -> Report {
    let outcome = match error {
        process::Error::SpawnFailed { .. } => Outcome::Unrunnable,
        _ => Outcome::Infrastructure,
    };
    let hint = match outcome {
        Outcome::Unrunnable => "; install it, or mend `command` of the agent in kapelle.yaml",
        _ => "",
    };
    Report::stated(outcome, format!("{}{hint}", Chain(error)))
}

fn spec<B>(
    desk: &Desk<'_, B>,
    agent: &config::Agent,
    directory: &Path,
    workspace: &Workspace,
) -> std::io::Result<ProcessSpec> {
    let prompt_file = directory.join("prompt.md");
    std::fs::write(&prompt_file, &desk.grant.prompt)?;
    let mut argv: Vec<OsString> = match agent.driver {
        Driver::Command => agent.command.iter().map(OsString::from).collect(),
        Driver::Scripted => {
            let script = agent.script.clone().unwrap_or_default();
            let root = desk.workshop.source.root().unwrap_or(&workspace.tree);
            let script = root.join(script);
            vec![desk.workshop.exe.clone().into(), "__scripted".into(), script.into()]
        }
    };
    let talks = agent.speaks_lines();
    let stdin = match (agent.prompt, talks) {
        (_, true) => Stdin::Piped,
        (PromptDelivery::Stdin, false) => Stdin::Bytes(desk.grant.prompt.clone().into_bytes()),
        (PromptDelivery::Argument | PromptDelivery::File, false) => Stdin::Closed,
    };
    match agent.prompt {
        PromptDelivery::Argument => argv.push(desk.grant.prompt.clone().into()),
        PromptDelivery::File if agent.driver == Driver::Command => {
            argv.push(prompt_file.clone().into());
        }
        PromptDelivery::File | PromptDelivery::Stdin => {}
    }
    let mut words = argv.into_iter();
    let mut spec =
        ProcessSpec::new(words.next().unwrap_or_default(), &workspace.tree, desk.marker());
    spec.args = words.collect();
    spec.stdin = stdin;
    spec.output_limit = usize::try_from(desk.workshop.output_bytes).unwrap_or(usize::MAX);
    spec.env = environment(desk, agent, prompt_file);
    kapelle_git::confine(&mut spec.env, &workspace.tree);
    Ok(spec)
}

fn environment<B>(
    desk: &Desk<'_, B>,
    agent: &config::Agent,
    prompt_file: PathBuf,
) -> std::collections::BTreeMap<OsString, OsString> {
    let grant = desk.grant;
    let mut environment = desk.workshop.environment.clone();
    for (name, value) in &agent.env {
        environment.insert(name.into(), value.into());
    }
    let own: [(&str, OsString); 6] = [
        ("KAPELLE_RUN", grant.attempt.task.run.to_string().into()),
        ("KAPELLE_TASK", format!("{}/{}", grant.attempt.task.run, grant.key).into()),
        ("KAPELLE_STREAM", grant.key.clone().into()),
        ("KAPELLE_STREAM_NAME", grant.title.clone().into()),
        ("KAPELLE_ATTEMPT", grant.attempt.number.to_string().into()),
        ("KAPELLE_PROMPT_FILE", prompt_file.into()),
    ];
    environment.extend(own.map(|(name, value)| (name.into(), value)));
    environment
}

/// Whether its prompt is the first line on its standard input, which is a channel of lines.
fn has_prompt_by_line(agent: &config::Agent) -> bool {
    match (agent.driver, agent.protocol, agent.prompt) {
        (Driver::Command, Protocol::Lines, PromptDelivery::Stdin) => true,
        (Driver::Command, Protocol::Lines, PromptDelivery::Argument | PromptDelivery::File)
        | (Driver::Command, Protocol::None, _)
        | (Driver::Scripted, _, _) => false,
    }
}

/// Ticks that begin after the first time and never come closer together.
fn every(time: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + time, time);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// A stop ladder for a worker that can't wait.
fn hurried(agent: &config::Agent) -> StopLadder {
    let mut ladder = ladder(agent);
    ladder.kill_after = ladder.kill_after.min(Duration::from_secs(5));
    ladder.terminate_after = Some(Duration::ZERO);
    ladder
}

/// What comes of something that may be under way; waits for ever while nothing is.
async fn next<F: Future + Unpin>(under_way: &mut Option<F>) -> F::Output {
    match under_way {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
}

/// The time from the agent's start to its end.
struct Conversation<'d, 'a, B> {
    desk: &'d Desk<'a, B>,
    agent: &'d config::Agent,
    process: Process,
    /// Where the process outlives this worker.
    link: Option<Link>,
    memory: Memory,
    /// What the next worker would be told.
    remembered: Memory,
    /// How long it ran under earlier workers.
    ran_before: Duration,
    stopped: Option<Stopped>,
    /// Since when its processes stand still, while they do.
    frozen_since: Option<tokio::time::Instant>,
    /// How long they stood still that no limit was moved for yet.
    stood_still: Duration,
}

impl<'d, 'a, B: WorkerEnd> Conversation<'d, 'a, B> {
    fn new(
        desk: &'d Desk<'a, B>,
        agent: &'d config::Agent,
        process: Process,
        link: Option<Link>,
    ) -> Self {
        Self {
            desk,
            agent,
            process,
            link,
            memory: Memory::default(),
            remembered: Memory::default(),
            ran_before: Duration::ZERO,
            stopped: None,
            frozen_since: None,
            stood_still: Duration::ZERO,
        }
    }

    /// Goes on where another worker was.
    fn recall(&mut self, adopted: Adopted) {
        let memory = adopted.memory.and_then(|text| serde_json::from_str(&text).ok());
        self.memory = memory.unwrap_or_default();
        self.remembered = self.memory.clone();
        self.ran_before = adopted.running;
        self.frozen_since = adopted.frozen.then(tokio::time::Instant::now);
    }

    /// What was printed last is on disk.
    async fn taken(&mut self) {
        let Some(link) = &mut self.link else { return };
        let is_new = self.memory != self.remembered;
        let memory = is_new.then(|| serde_json::to_string(&self.memory).ok()).flatten();
        self.remembered.clone_from(&self.memory);
        link.taken(memory).await;
    }

    async fn let_go(self) {
        if let Some(link) = self.link {
            link.bye().await;
        }
    }

    async fn hold(mut self, workspace: &Workspace) -> AgentEnd {
        let own = self.desk.workshop.agent_limit.unwrap_or(self.agent.timeout.0);
        let limit = own.min(self.desk.grant.timeout);
        let deadline = tokio::time::sleep(limit.saturating_sub(self.ran_before));
        tokio::pin!(deadline);
        let silence = tokio::time::sleep(self.desk.workshop.silence.unwrap_or(FOREVER));
        tokio::pin!(silence);
        let (desk, orders) = (self.desk, self.desk.orders);
        let mut snapshots = every(desk.workshop.snapshot_every.unwrap_or(FOREVER));
        let over = CancellationToken::new();
        let mut keeping = None;
        let mut progress = Progress::default();
        let mut hurries = false;
        loop {
            tokio::select! {
                output = self.process.output.recv() => match output {
                    Some(output) => {
                        let quiet = self.desk.workshop.silence.unwrap_or(FOREVER);
                        silence.as_mut().reset(tokio::time::Instant::now() + quiet);
                        self.hear(output).await;
                        self.taken().await;
                    }
                    None => break,
                },
                () = &mut deadline, if self.stopped.is_none() && self.frozen_since.is_none() => {
                    self.desk.transcript.say(&format!("out of time after {} s", limit.as_secs()));
                    self.end(Stopped::TimedOut, ladder(self.agent));
                }
                () = &mut silence, if self.frozen_since.is_none() => {
                    let quiet = self.desk.workshop.silence.unwrap_or(FOREVER);
                    let note = format!("nothing was heard of the agent for {} s", quiet.as_secs());
                    self.desk.transcript.say(&note);
                    silence.as_mut().reset(tokio::time::Instant::now() + quiet);
                }
                () = orders.look.notified() => {
                    self.look().await;
                    let still = std::mem::take(&mut self.stood_still);
                    let (end, quiet) = (deadline.deadline() + still, silence.deadline() + still);
                    deadline.as_mut().reset(end);
                    silence.as_mut().reset(quiet);
                }
                () = orders.fenced.cancelled(), if self.stopped != Some(Stopped::Abandoned) => {
                    self.end(Stopped::Abandoned, StopLadder::KILL);
                }
                () = orders.hand_over.cancelled(), if self.stopped.is_none() => {
                    desk.transcript.say("its worker ends; what is done is handed over");
                    self.end(Stopped::HandedOver, ladder(self.agent));
                }
                () = orders.stop.cancelled(), if !hurries => {
                    hurries = true;
                    self.end(self.stopped.unwrap_or(Stopped::HandedOver), hurried(self.agent));
                }
                _ = snapshots.tick(), if keeping.is_none() && self.is_undisturbed() => {
                    let known = std::mem::take(&mut progress);
                    keeping = Some(Box::pin(progress::keep(desk, workspace, known, &over)));
                }
                kept = next(&mut keeping) => (progress, keeping) = (kept, None),
            }
        }
        over.cancel();
        // It may still read the files, which are about to be read by somebody else.
        if let Some(keeping) = keeping {
            keeping.await;
        }
        let exit = self.process.wait().await;
        if self.stopped.is_none() && exit.stopped.is_some() {
            // Its keeper did, because this worker was frozen for too long.
            self.stopped = Some(Stopped::HandedOver);
        }
        let Self { stopped, link, memory: Memory { usage, last_words, word, .. }, .. } = self;
        AgentEnd { link, exit, stopped, usage, last_words, word }
    }

    /// Whether the agent works.
    fn is_undisturbed(&self) -> bool {
        self.stopped.is_none() && self.frozen_since.is_none()
    }

    fn end(&mut self, why: Stopped, ladder: StopLadder) {
        self.stopped = Some(why);
        self.process.stop(ladder);
    }

    async fn look(&mut self) {
        let wanted = look(self.desk).await;
        if let Some(reason) = wanted.cancel
            && self.stopped.is_none()
        {
            self.desk.transcript.say(&format!("stopped: {reason}"));
            self.end(Stopped::Cancelled, ladder(self.agent));
            return;
        }
        self.freeze(wanted.paused).await;
        for command in wanted.commands {
            if self.memory.told.contains(&command.seq) {
                continue;
            }
            match command.kind {
                CommandKind::Feedback => {}
                // The directives themselves say what is wanted.
                CommandKind::Stop | CommandKind::Restart | CommandKind::Redirect { .. } => continue,
                CommandKind::Ping => {
                    self.memory.told.push(command.seq);
                    self.answer(command.seq, CommandAnswer::Applied).await;
                    continue;
                }
                CommandKind::Pause | CommandKind::Resume => {
                    self.memory.told.push(command.seq);
                    let wanted = command.kind == CommandKind::Pause;
                    let answer = if self.frozen_since.is_some() == wanted {
                        CommandAnswer::Applied
                    } else {
                        let reason = "its processes don't do as they are told".to_owned();
                        CommandAnswer::Refused { reason }
                    };
                    self.answer(command.seq, answer).await;
                    continue;
                }
            }
            // An agent without lines on its input is told in its next attempt: the command stays
            // pending, and the prompt of that attempt carries it.
            let Some(stdin) = &self.process.stdin else { continue };
            let line = agent_line::feedback(command.seq.0, &command.text);
            if stdin.line(&line).await.is_ok() {
                self.desk.transcript.say(&format!("told the agent: {}", command.text));
                self.memory.told.push(command.seq);
            }
        }
    }

    /// Has the processes stand still, or go on. The limits on time stand still with them.
    async fn freeze(&mut self, frozen: bool) {
        if frozen == self.frozen_since.is_some() || self.stopped.is_some() {
            return;
        }
        if !self.process.freeze(frozen).await {
            self.desk.transcript.say("the agent could not be frozen, or made to go on");
            return;
        }
        let now = tokio::time::Instant::now();
        if let Some(since) = self.frozen_since.take() {
            self.stood_still += now - since;
            self.desk.transcript.say("the agent goes on");
        } else {
            self.frozen_since = Some(now);
            self.desk.transcript.say("the agent is frozen");
        }
    }

    /// Says what became of a command. Unanswered, it is given again: twice rather than never.
    async fn answer(&self, seq: CommandSeq, answer: CommandAnswer) {
        let holder = self.desk.holder.clone();
        let answered = WorkerRequest::Answered { holder, seq, answer };
        drop(self.desk.bus.request(answered).await);
    }

    async fn hear(&mut self, output: Output) {
        let (stream, text) = match output {
            Output::Line { stream, text, .. } => (stream, text),
            Output::Gap { bytes, lines, .. } => {
                let lines = plural(lines, "line");
                let gap = format!("[{bytes} bytes of output, {lines}, were not kept]");
                self.desk.transcript.say(&gap);
                return;
            }
        };
        let lane = match stream {
            OutputStream::Stdout => OutputLane::Stdout,
            OutputStream::Stderr => OutputLane::Stderr,
        };
        let structured = (stream == OutputStream::Stdout && self.agent.speaks_lines())
            .then(|| AgentLine::parse(&text).ok().flatten())
            .flatten();
        match structured {
            Some(line) => self.understand(line).await,
            None => {
                if !text.trim().is_empty() {
                    kapelle_domain::prompt::head(&text, 500)
                        .clone_into(&mut self.memory.last_words);
                }
                self.desk.transcript.line(lane, &text);
            }
        }
    }

    async fn understand(&mut self, line: AgentLine) {
        match &line {
            AgentLine::Usage(usage) => self.memory.usage = self.memory.usage.plus(*usage),
            AgentLine::Ack { id } => {
                let seq = CommandSeq(*id);
                if self.memory.told.contains(&seq) {
                    self.answer(seq, CommandAnswer::Applied).await;
                }
            }
            AgentLine::Message { text } => text.clone_into(&mut self.memory.last_words),
            AgentLine::Other(Activity::End { outcome, kind, text }) => {
                self.memory.word = Some(Word { outcome: *outcome, blames: *kind });
                if let Some(text) = text {
                    text.clone_into(&mut self.memory.last_words);
                }
            }
            AgentLine::Other(
                Activity::Thought { .. }
                | Activity::ToolCall { .. }
                | Activity::FileChange { .. }
                | Activity::Plan { .. }
                | Activity::Question { .. },
            ) => {}
        }
        self.desk.transcript.line(OutputLane::Agent, &line.shown());
    }
}
