//! Plays a script: carries out its steps and listens to the worker between them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use kapelle_domain::attempt;
use kapelle_runtime::clock::Clock;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::inbox::{Inbox, Waited};
use super::script::{
    Ask, CommandLine, Commit, Edit, Fail, Flood, FloodStream, Run, Script, Step, Wait, When, Write,
};
use super::template::{Template, Variable};
use crate::agent_line::{Activity, AgentLine, Change, EndOutcome, FailureKind, WorkerLine};

/// Exit code after an interrupt, that of a shell after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Plays `script` in the current directory; the exit code of the agent.
pub(super) fn play(script: &Script) -> u8 {
    let mut player = Player::new();
    let steps = script.steps_for(&player.values.stream);
    let end = match player.play(steps) {
        ControlFlow::Break(end) => end,
        ControlFlow::Continue(()) => {
            End { code: 0, word: Some((EndOutcome::Completed, None, None)) }
        }
    };
    if let Some((outcome, kind, text)) = end.word {
        show(Activity::End { outcome, kind, text });
    }
    end.code
}

/// How the script ends before its last step, and with what last word.
struct End {
    code: u8,
    word: Option<(EndOutcome, Option<FailureKind>, Option<String>)>,
}

type Played = ControlFlow<End>;

fn failed(code: u8, kind: FailureKind, text: String) -> Played {
    ControlFlow::Break(End { code, word: Some((EndOutcome::Failed, Some(kind), Some(text))) })
}

/// Ends the script with a reason when something did not work.
fn expect<E: std::fmt::Display>(result: Result<(), E>, what: impl FnOnce() -> String) -> Played {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => failed(1, FailureKind::Application, format!("{} failed: {error}", what())),
    }
}

struct Player {
    inbox: Inbox,
    clock: Clock,
    values: Values,
    /// Feedback has come that no step has waited for.
    fresh_feedback: bool,
    answered: Option<u64>,
    questions: u64,
    /// Takes no notice of signals and of requests to stop.
    deaf: bool,
    /// Left running; never waited for.
    background: Vec<Child>,
}

/// What placeholders stand for.
struct Values {
    run: String,
    task: String,
    stream: String,
    name: String,
    attempt: String,
    prompt: String,
    feedback: String,
    answer: String,
}

impl Values {
    fn from_environment() -> Self {
        let value = |name: &str| std::env::var(name).unwrap_or_default();
        let prompt = std::env::var_os("KAPELLE_PROMPT_FILE").map(fs::read).and_then(Result::ok);
        let attempt = value("KAPELLE_ATTEMPT");
        Self {
            run: value("KAPELLE_RUN"),
            task: value("KAPELLE_TASK"),
            stream: value("KAPELLE_STREAM"),
            name: value("KAPELLE_STREAM_NAME"),
            attempt: if attempt.is_empty() { "1".to_owned() } else { attempt },
            prompt: String::from_utf8_lossy(&prompt.unwrap_or_default()).into_owned(),
            feedback: String::new(),
            answer: String::new(),
        }
    }

    fn get(&self, variable: Variable) -> &str {
        match variable {
            Variable::Run => &self.run,
            Variable::Task => &self.task,
            Variable::Stream => &self.stream,
            Variable::Name => &self.name,
            Variable::Attempt => &self.attempt,
            Variable::Prompt => &self.prompt,
            Variable::Feedback => &self.feedback,
            Variable::Answer => &self.answer,
        }
    }
}

impl Player {
    fn new() -> Self {
        Self {
            inbox: Inbox::open(),
            clock: Clock::system(),
            values: Values::from_environment(),
            fresh_feedback: false,
            answered: None,
            questions: 0,
            deaf: false,
            background: Vec::new(),
        }
    }

    fn play(&mut self, steps: &[Step]) -> Played {
        for step in steps {
            while let Some(line) = self.inbox.take() {
                self.hear(line)?;
            }
            self.step(step)?;
        }
        ControlFlow::Continue(())
    }

    fn step(&mut self, step: &Step) -> Played {
        match step {
            Step::Think(text) => show(Activity::Thought { text: self.fill(text) }),
            Step::Say(text) => say(&AgentLine::Message { text: self.fill(text) }),
            Step::Write(write) => return self.write(write),
            Step::Edit(edit) => return self.edit(edit),
            Step::Delete(delete) => {
                let path = self.fill(&delete.path);
                expect(remove(&path), || format!("deleting {path}"))?;
                show(Activity::FileChange { path, change: Change::Deleted });
            }
            Step::Run(run) => return self.run(run),
            Step::Fork(fork) => {
                let (mut command, shown) = self.command(&fork.command);
                let child = command.spawn().map(|child| self.background.push(child));
                expect(child, || format!("starting {shown}"))?;
            }
            Step::Wait(Wait::Time(ms)) => return self.listen(*ms, Awaited::Nothing),
            Step::Wait(Wait::Feedback(ms)) => {
                self.listen(*ms, Awaited::Feedback)?;
                self.fresh_feedback = false;
            }
            Step::Ask(ask) => return self.ask(ask),
            Step::Usage(usage) => say(&AgentLine::Usage(attempt::Usage {
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
                cost_microusd: usage.cost_microusd,
            })),
            Step::Commit(commit) => return self.commit(commit),
            Step::Flood(flooding) => flood(*flooding),
            Step::IgnoreSignals => {
                self.deaf = true;
                return expect(ignore_signals(), || "ignoring signals".to_owned());
            }
            Step::Fail(Fail { message, code, kind }) => {
                return failed(*code, *kind, self.fill(message));
            }
            Step::Exit(exit) => return ControlFlow::Break(End { code: exit.code, word: None }),
            Step::When(when) => {
                let steps = if self.holds(when) { &when.then } else { &when.otherwise };
                return self.play(steps);
            }
        }
        ControlFlow::Continue(())
    }

    fn fill(&self, template: &Template) -> String {
        template.fill(|variable| self.values.get(variable))
    }

    fn holds(&self, when: &When) -> bool {
        let contains = |text: &str, part: &Option<Template>| {
            part.as_ref().is_none_or(|part| text.contains(&self.fill(part)))
        };
        when.attempt.is_none_or(|attempt| self.values.attempt == attempt.to_string())
            && contains(&self.values.prompt, &when.prompt_contains)
            && contains(&self.values.feedback, &when.feedback_contains)
            && contains(&self.values.answer, &when.answer_contains)
    }

    fn write(&self, write: &Write) -> Played {
        let path = self.fill(&write.path);
        let existed = Path::new(&path).exists();
        let text = self.fill(&write.text);
        let written = make_parents(&path).and_then(|()| {
            let mut file = OpenOptions::new()
                .create(true)
                .write(true)
                .append(write.append)
                .truncate(!write.append)
                .open(&path)?;
            file.write_all(text.as_bytes())
        });
        expect(written, || format!("writing {path}"))?;
        let change = if existed { Change::Modified } else { Change::Created };
        show(Activity::FileChange { path, change });
        ControlFlow::Continue(())
    }

    fn edit(&self, edit: &Edit) -> Played {
        let path = self.fill(&edit.path);
        let (find, replace) = (self.fill(&edit.find), self.fill(&edit.replace));
        let edited = fs::read_to_string(&path).and_then(|text| {
            if !text.contains(&find) {
                return Err(io::Error::other(format!("{find:?} is not in the file")));
            }
            fs::write(&path, text.replacen(&find, &replace, 1))
        });
        expect(edited, || format!("editing {path}"))?;
        show(Activity::FileChange { path, change: Change::Modified });
        ControlFlow::Continue(())
    }

    fn run(&self, run: &Run) -> Played {
        let (mut command, shown) = self.command(&run.command);
        show(Activity::ToolCall { tool: "run".to_owned(), text: shown.clone() });
        let status = command.status().and_then(|status| match status.code() {
            Some(code) if code == run.expect => Ok(()),
            _ => Err(io::Error::other(format!("{status}, expected was {}", run.expect))),
        });
        expect(status, || shown)
    }

    /// A command ready to be started, and what to call it.
    fn command(&self, line: &CommandLine) -> (Command, String) {
        let words = match line {
            CommandLine::Shell(text) => vec!["sh".to_owned(), "-c".to_owned(), self.fill(text)],
            CommandLine::Argv(words) => words.iter().map(|word| self.fill(word)).collect(),
        };
        let shown = match line {
            CommandLine::Shell(_) => words.last().cloned().unwrap_or_default(),
            CommandLine::Argv(_) => words.join(" "),
        };
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdin(Stdio::null());
        (command, shown)
    }

    fn commit(&self, commit: &Commit) -> Played {
        let message = self.fill(&commit.message);
        show(Activity::ToolCall { tool: "commit".to_owned(), text: message.clone() });
        let git = |args: &[&str]| {
            // An identity of its own only where the worker gave none in the environment.
            let identity = ["-c", "user.name=Scripted agent", "-c", "user.email=agent@localhost"];
            let status =
                Command::new("git").args(identity).args(args).stdin(Stdio::null()).status()?;
            if status.success() { Ok(()) } else { Err(io::Error::other(format!("git: {status}"))) }
        };
        let committed = git(&["add", "--all"])
            .and_then(|()| git(&["commit", "--quiet", "--message", &message]));
        expect(committed, || "the commit".to_owned())
    }

    fn ask(&mut self, ask: &Ask) -> Played {
        self.questions += 1;
        let id = self.questions;
        self.values.answer.clear();
        show(Activity::Question { id, text: self.fill(&ask.question) });
        self.listen(ask.timeout_ms, Awaited::Answer(id))
    }

    /// Listens to the worker for so many milliseconds, or until what is awaited has come.
    fn listen(&mut self, ms: u64, awaited: Awaited) -> Played {
        let deadline = self.clock.now().saturating_add_unsigned(ms);
        while !self.has_come(awaited) {
            let left = deadline.saturating_sub(self.clock.now());
            let Ok(left @ 1..) = u64::try_from(left) else { break };
            let left = Duration::from_millis(left);
            match self.inbox.wait(left) {
                Waited::Line(line) => self.hear(line)?,
                Waited::TimeOut => break,
                Waited::Closed => {
                    if awaited == Awaited::Nothing {
                        thread::sleep(left);
                    }
                    break;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn has_come(&self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Nothing => false,
            Awaited::Feedback => self.fresh_feedback,
            Awaited::Answer(question) => self.answered == Some(question),
        }
    }

    /// Takes a line into account, and says so.
    fn hear(&mut self, line: WorkerLine) -> Played {
        let id = line.id();
        match line {
            WorkerLine::Prompt { text, .. } => self.values.prompt = text,
            WorkerLine::Feedback { text, .. } | WorkerLine::Redirect { text, .. } => {
                if !self.values.feedback.is_empty() {
                    self.values.feedback.push('\n');
                }
                self.values.feedback.push_str(&text);
                self.fresh_feedback = true;
            }
            WorkerLine::Answer { question, text, .. } => {
                self.values.answer = text;
                self.answered = Some(question);
            }
            WorkerLine::Interrupt { .. } if !self.deaf => {
                say(&AgentLine::Ack { id });
                let word = Some((EndOutcome::Interrupted, None, None));
                return ControlFlow::Break(End { code: INTERRUPTED, word });
            }
            WorkerLine::Interrupt { .. } => return ControlFlow::Continue(()),
        }
        say(&AgentLine::Ack { id });
        ControlFlow::Continue(())
    }
}

/// What a script waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// For time to pass.
    Nothing,
    Feedback,
    /// To the question of this number.
    Answer(u64),
}

fn ignore_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

fn show(activity: Activity) {
    say(&AgentLine::Other(activity));
}

/// Writes a line for the worker. When nobody reads any more, nobody misses it.
fn say(line: &AgentLine) {
    let mut text = line.to_line();
    text.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).ok();
}

fn make_parents(path: &str) -> io::Result<()> {
    match Path::new(path).parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    }
}

fn remove(path: &str) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn flood(flood: Flood) {
    let block = [b"x".repeat(79), vec![b'\n']].concat().repeat(1_024);
    let mut stream: Box<dyn io::Write> = match flood.stream {
        FloodStream::Stdout => Box::new(io::stdout().lock()),
        FloodStream::Stderr => Box::new(io::stderr().lock()),
    };
    let mut left = usize::try_from(flood.bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let part = &block[..left.min(block.len())];
        if stream.write_all(part).is_err() {
            return;
        }
        left -= part.len();
    }
    stream.flush().ok();
}
