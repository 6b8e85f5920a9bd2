//! The scripted agent as a real process.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "shared by tests, fails as they do")]

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use kapelle_domain::attempt::Usage;
use kapelle_worker::agent_line::{
    Activity, AgentLine, Change, EndOutcome, FailureKind, WorkerLine,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pretty_assertions::assert_eq;
use tempfile::TempDir;

struct Stage(TempDir);

impl Stage {
    fn new(steps: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("work")).unwrap();
        fs::write(dir.path().join("prompt.md"), "Build the parser.\n").unwrap();
        fs::write(dir.path().join("script.yaml"), format!("version: 1\nsteps:\n{steps}")).unwrap();
        Self(dir)
    }

    fn work(&self) -> std::path::PathBuf {
        self.0.path().join("work")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kapelle-agent-host"));
        command
            .arg("__scripted")
            .arg(self.0.path().join("script.yaml"))
            .current_dir(self.work())
            .env("KAPELLE_PROMPT_FILE", self.0.path().join("prompt.md"))
            .env("KAPELLE_STREAM", "1.2")
            .env("KAPELLE_STREAM_NAME", "Parser")
            .env("KAPELLE_ATTEMPT", "1");
        command
    }

    fn play(&self) -> Output {
        self.command().stdin(Stdio::null()).output().unwrap()
    }

    fn start(&self) -> Conversation {
        let mut agent =
            self.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(agent.stdout.take().unwrap()).lines();
        Conversation { agent, lines }
    }
}

/// A running agent.
struct Conversation {
    agent: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Conversation {
    fn hear(&mut self) -> AgentLine {
        let line = self.lines.next().expect("the agent says something").unwrap();
        AgentLine::parse(&line).unwrap().expect("it speaks agent lines")
    }

    fn tell(&mut self, line: &WorkerLine) {
        writeln!(self.agent.stdin.as_ref().unwrap(), "{}", line.to_line()).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        self.agent.wait().unwrap().code()
    }
}

fn said(output: &Output) -> Vec<AgentLine> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| AgentLine::parse(line).unwrap()).collect()
}

fn message(text: &str) -> AgentLine {
    AgentLine::Message { text: text.to_owned() }
}

fn changed(path: &str, change: Change) -> AgentLine {
    AgentLine::Other(Activity::FileChange { path: path.to_owned(), change })
}

fn end(outcome: EndOutcome, kind: Option<FailureKind>, text: Option<&str>) -> AgentLine {
    AgentLine::Other(Activity::End { outcome, kind, text: text.map(ToOwned::to_owned) })
}

#[test]
fn a_script_works_on_files_and_says_so() {
    let stage = Stage::new(
        r#"
  - think: "{{prompt}}"
  - write: {path: "src/{{stream}}.txt", content: "one two two\n"}
  - write: {path: "src/{{stream}}.txt", append: "three {{name}}\n"}
  - edit: {path: src/1.2.txt, find: two, replace: 2}
  - write: {path: gone/a, content: ""}
  - delete: {path: gone}
  - run: {command: "cat src/*.txt; exit 3", expect: 3}
  - run: {command: [echo, "it's {{name}}"]}
  - usage: {input_tokens: 10, output_tokens: 2, cost_microusd: 7}
"#,
    );
    let output = stage.play();
    let usage = Usage { input_tokens: 10, output_tokens: 2, cost_microusd: Some(7) };
    let run = |text: &str| {
        AgentLine::Other(Activity::ToolCall { tool: "run".to_owned(), text: text.to_owned() })
    };
    assert_eq!(
        said(&output),
        [
            AgentLine::Other(Activity::Thought { text: "Build the parser.\n".to_owned() }),
            changed("src/1.2.txt", Change::Created),
            changed("src/1.2.txt", Change::Modified),
            changed("src/1.2.txt", Change::Modified),
            changed("gone/a", Change::Created),
            changed("gone", Change::Deleted),
            run("cat src/*.txt; exit 3"),
            run("echo it's Parser"),
            AgentLine::Usage(usage),
            end(EndOutcome::Completed, None, None),
        ]
    );
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\none 2 two\nthree Parser\n") && text.contains("\nit's Parser\n"));
    assert!(!stage.work().join("gone").exists());
}

#[test]
fn a_step_that_does_not_succeed_fails_the_task() {
    let check = |step: &str, code: i32, kind: FailureKind, reason: &str| {
        let output = Stage::new(&format!("  - {step}\n  - say: not reached\n")).play();
        let last = said(&output).pop();
        let Some(AgentLine::Other(Activity::End { outcome, kind: found, text })) = last else {
            unreachable!("{step}: no last word but {last:?}")
        };
        assert_eq!((outcome, found), (EndOutcome::Failed, Some(kind)), "{step}");
        assert!(text.as_ref().is_some_and(|text| text.contains(reason)), "{step}: {text:?}");
        assert!(!said(&output).contains(&message("not reached")));
        assert_eq!(output.status.code(), Some(code), "{step}");
    };
    let own = FailureKind::Application;
    check("edit: {path: none, find: a, replace: b}", 1, own, "editing none failed: No such file");
    check("delete: {path: none}", 1, own, "deleting none failed");
    check("run: {command: exit 4}", 1, own, "exit 4 failed: exit status: 4, expected was 0");
    check("run: {command: [no-such-program]}", 1, own, "no-such-program failed: No such file");
    check("commit: {message: m}", 1, own, "the commit failed: git: exit status: 128");
    let limited = "fail: {message: '{{name}} is beyond me', code: 9, kind: rate_limited}";
    check(limited, 9, FailureKind::RateLimited, "Parser is beyond me");
}

#[test]
fn circumstances_decide_what_is_played() {
    let stage = Stage::new(
        "
  - when: {attempt: 2, then: [say: again], else: [say: first]}
  - when: {prompt_contains: parser, then: [say: asked]}
  - when: {prompt_contains: parser, attempt: 2, then: [say: both], else: [exit: {code: 6}]}
",
    );
    let output = stage.play();
    assert_eq!(said(&output), [message("first"), message("asked")]);
    assert_eq!(output.status.code(), Some(6));
    let second = stage.command().env("KAPELLE_ATTEMPT", "2").stdin(Stdio::null()).output().unwrap();
    let completed = end(EndOutcome::Completed, None, None);
    assert_eq!(said(&second), [message("again"), message("asked"), message("both"), completed]);
}

#[test]
fn feedback_and_answers_change_the_course() {
    let stage = Stage::new(
        "
  - say: ready
  - wait: {for: feedback}
  - when: {feedback_contains: tabs, then: [say: 'heard {{feedback}}']}
  - ask: {question: 'which {{name}}?'}
  - say: 'so {{answer}}'
",
    );
    let mut agent = stage.start();
    assert_eq!(agent.hear(), message("ready"));
    agent.tell(&WorkerLine::Feedback { id: 7, text: "use tabs".to_owned() });
    assert_eq!(agent.hear(), AgentLine::Ack { id: 7 });
    assert_eq!(agent.hear(), message("heard use tabs"));
    let text = "which Parser?".to_owned();
    assert_eq!(agent.hear(), AgentLine::Other(Activity::Question { id: 1, text }));
    agent.tell(&WorkerLine::Answer { id: 8, question: 99, text: "of another".to_owned() });
    agent.tell(&WorkerLine::Answer { id: 9, question: 1, text: "the small one".to_owned() });
    assert_eq!(agent.hear(), AgentLine::Ack { id: 8 });
    assert_eq!(agent.hear(), AgentLine::Ack { id: 9 });
    assert_eq!(agent.hear(), message("so the small one"));
    assert_eq!(agent.hear(), end(EndOutcome::Completed, None, None));
    assert_eq!(agent.code(), Some(0));
}

#[test]
fn nobody_to_wait_for_is_no_reason_to_hang() {
    let output = Stage::new("  - wait: {for: feedback}\n  - ask: {question: anyone?}\n").play();
    assert_eq!(said(&output).last(), Some(&end(EndOutcome::Completed, None, None)));
}

#[test]
fn an_interrupt_ends_it_unless_it_is_deaf() {
    let stage = Stage::new("  - say: on\n  - wait: {ms: 600000}\n");
    let mut agent = stage.start();
    assert_eq!(agent.hear(), message("on"));
    agent.tell(&WorkerLine::Interrupt { id: 3 });
    assert_eq!(agent.hear(), AgentLine::Ack { id: 3 });
    assert_eq!(agent.hear(), end(EndOutcome::Interrupted, None, None));
    assert_eq!(agent.code(), Some(130));

    let stage = Stage::new("  - ignore_signals\n  - say: on\n  - wait: {for: feedback}\n");
    let mut agent = stage.start();
    assert_eq!(agent.hear(), message("on"));
    let pid = Pid::from_raw(i32::try_from(agent.agent.id()).unwrap());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        kill(pid, signal).unwrap();
    }
    agent.tell(&WorkerLine::Interrupt { id: 3 });
    agent.tell(&WorkerLine::Feedback { id: 4, text: String::new() });
    assert_eq!(agent.hear(), AgentLine::Ack { id: 4 });
    assert_eq!(agent.hear(), end(EndOutcome::Completed, None, None));
}

#[test]
fn a_commit_is_a_real_one() {
    let stage = Stage::new(
        "  - write: {path: a, content: x}\n  - commit: {message: \"feat: it's {{name}}\\n\\nWhy.\"}\n",
    );
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(stage.work()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    assert_eq!(stage.play().status.code(), Some(0));
    assert_eq!(git(&["log", "--format=%B"]).trim(), "feat: it's Parser\n\nWhy.");
    assert_eq!(git(&["status", "--porcelain"]), "");
}

#[test]
fn a_flood_has_the_size_that_was_asked_for() {
    let stage = Stage::new("  - flood: {bytes: 300001}\n  - flood: {bytes: 5, stream: stderr}\n");
    let output = stage.play();
    let words = end(EndOutcome::Completed, None, None).to_line().len() + 1;
    assert_eq!((output.stdout.len() - words, output.stderr.len()), (300_001, 5));
}

#[test]
fn a_script_that_cannot_be_played_says_where_it_is_wrong() {
    let output = Stage::new("  - say: a\n  - dance: now\n").play();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("script.yaml") && words.contains("line 4"), "{words}");

    let stage = Stage::new("  - say: a\n");
    fs::remove_file(stage.0.path().join("script.yaml")).unwrap();
    let words = String::from_utf8(stage.play().stderr).unwrap();
    assert!(words.contains("cannot read the script") && words.contains("No such file"), "{words}");
    assert!(Path::new(&stage.work()).exists());
}
