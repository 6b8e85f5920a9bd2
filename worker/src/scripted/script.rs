//! The form of a script. What the steps do is in the player.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use super::ScriptError;
use super::template::Template;
use crate::agent_line::FailureKind;

/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// How long a step waits for people when it does not say, in milliseconds.
const PATIENCE_MS: u64 = 600_000;

/// What an agent does, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The version of the format: 1.
    pub version: u32,
    /// Played from the first to the last, for every work stream that `streams` does not name.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Played instead for single work streams, by their id.
    #[serde(default)]
    pub streams: BTreeMap<String, Vec<Step>>,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// [`ScriptError::Malformed`] with the place of the first mistake, [`ScriptError::Version`]
    /// for a script of another version.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let script: Self = serde_saphyr::from_str(text)
            .map_err(|error| ScriptError::Malformed(Box::new(error)))?;
        if script.version != VERSION {
            return Err(ScriptError::Version { found: script.version });
        }
        Ok(script)
    }

    /// What is played for the work stream with this id.
    #[must_use]
    pub fn steps_for(&self, stream: &str) -> &[Step] {
        self.streams.get(stream).unwrap_or(&self.steps)
    }
}

/// One thing that a scripted agent does. In YAML a map with one key, the step's name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Thinks aloud.
    Think(Template),
    /// Says something.
    Say(Template),
    /// Writes a file, or adds to it; makes its directories.
    Write(Write),
    /// Replaces a text in a file, which must be there.
    Edit(Edit),
    /// Deletes a file or a whole directory.
    Delete(Delete),
    /// Runs a command and waits for it.
    Run(Run),
    /// Leaves a command running in the background.
    Fork(Fork),
    /// Waits for time to pass or for feedback.
    Wait(Wait),
    /// Asks, and waits for the answer.
    Ask(Ask),
    /// Reports tokens as used.
    Usage(Usage),
    /// Commits everything in the workspace.
    Commit(Commit),
    /// Prints very much.
    Flood(Flood),
    /// From here on takes no notice of signals and of requests to stop. In YAML just its name.
    IgnoreSignals,
    /// Gives up, with a reason.
    Fail(Fail),
    /// Ends without a word.
    Exit(Exit),
    /// Plays other steps, depending on the circumstances.
    When(When),
}

/// See [`Step::Write`]. In YAML the text is called `content` or `append`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WriteForm")]
pub struct Write {
    /// The file, relative to the workspace.
    pub path: Template,
    /// What is written.
    pub text: Template,
    /// Whether the text is added to what is there.
    pub append: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteForm {
    path: Template,
    content: Option<Template>,
    append: Option<Template>,
}

impl TryFrom<WriteForm> for Write {
    type Error = Ambiguous;

    fn try_from(form: WriteForm) -> Result<Self, Ambiguous> {
        let (text, append) = match (form.content, form.append) {
            (Some(text), None) => (text, false),
            (None, Some(text)) => (text, true),
            (None, None) | (Some(_), Some(_)) => {
                return Err(Ambiguous { step: "write", fields: "`content` and `append`" });
            }
        };
        Ok(Self { path: form.path, text, append })
    }
}

/// See [`Step::Edit`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file, relative to the workspace.
    pub path: Template,
    /// The text that must be in it.
    pub find: Template,
    /// What its first occurrence becomes.
    pub replace: Template,
}

/// See [`Step::Delete`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The file or directory, relative to the workspace.
    pub path: Template,
}

/// See [`Step::Run`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What is run.
    pub command: CommandLine,
    /// The exit code that it must have.
    #[serde(default)]
    pub expect: i32,
}

/// See [`Step::Fork`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// What is left running.
    pub command: CommandLine,
}

/// A command: a text for `sh -c`, or a program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a text for `sh -c`, or a list of a program and its arguments")]
pub enum CommandLine {
    /// For `sh -c`.
    Shell(Template),
    /// A program and its arguments.
    Argv(Vec<Template>),
}

/// See [`Step::Wait`]. In YAML `{ms: 100}`, or `{for: feedback, timeout_ms: 5000}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WaitForm")]
pub enum Wait {
    /// So many milliseconds.
    Time(u64),
    /// Until feedback has come that no such step has waited for before, at most so many
    /// milliseconds.
    Feedback(u64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitForm {
    ms: Option<u64>,
    r#for: Option<WaitedFor>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WaitedFor {
    Feedback,
}

impl TryFrom<WaitForm> for Wait {
    type Error = Ambiguous;

    fn try_from(form: WaitForm) -> Result<Self, Ambiguous> {
        match (form.ms, form.r#for, form.timeout_ms) {
            (Some(ms), None, None) => Ok(Self::Time(ms)),
            (None, Some(WaitedFor::Feedback), timeout_ms) => {
                Ok(Self::Feedback(timeout_ms.unwrap_or(PATIENCE_MS)))
            }
            (Some(_) | None, _, _) => Err(Ambiguous { step: "wait", fields: "`ms` and `for`" }),
        }
    }
}

/// See [`Step::Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The question.
    pub question: Template,
    /// How long the answer may take, in milliseconds; then it is empty.
    #[serde(default = "patience_ms")]
    pub timeout_ms: u64,
}

fn patience_ms() -> u64 {
    PATIENCE_MS
}

/// See [`Step::Usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens that went in.
    pub input_tokens: u64,
    /// Tokens that came out.
    pub output_tokens: u64,
    /// Money in millionths of a US dollar.
    pub cost_microusd: Option<u64>,
}

/// See [`Step::Commit`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The commit's message.
    pub message: Template,
}

/// See [`Step::Flood`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flood {
    /// How much.
    pub bytes: u64,
    /// Where to.
    #[serde(default)]
    pub stream: FloodStream,
}

/// Where a flood goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloodStream {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// See [`Step::Fail`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// The reason.
    pub message: Template,
    /// The exit code.
    #[serde(default = "failure_code")]
    pub code: u8,
    /// Whose fault it is.
    #[serde(default = "own_fault")]
    pub kind: FailureKind,
}

fn failure_code() -> u8 {
    1
}

fn own_fault() -> FailureKind {
    FailureKind::Application
}

/// See [`Step::Exit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The exit code.
    #[serde(default)]
    pub code: u8,
}

/// See [`Step::When`]. All conditions that are given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WhenForm")]
pub struct When {
    /// It is this attempt, from 1.
    pub attempt: Option<u32>,
    /// The prompt contains this.
    pub prompt_contains: Option<Template>,
    /// Feedback that has come so far contains this.
    pub feedback_contains: Option<Template>,
    /// The last answer contains this.
    pub answer_contains: Option<Template>,
    /// Played when they hold.
    pub then: Vec<Step>,
    /// Played when they do not; `else` in YAML.
    pub otherwise: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhenForm {
    attempt: Option<u32>,
    prompt_contains: Option<Template>,
    feedback_contains: Option<Template>,
    answer_contains: Option<Template>,
    #[serde(default)]
    then: Vec<Step>,
    #[serde(default)]
    r#else: Vec<Step>,
}

impl TryFrom<WhenForm> for When {
    type Error = NoCondition;

    fn try_from(form: WhenForm) -> Result<Self, NoCondition> {
        let when = Self {
            attempt: form.attempt,
            prompt_contains: form.prompt_contains,
            feedback_contains: form.feedback_contains,
            answer_contains: form.answer_contains,
            then: form.then,
            otherwise: form.r#else,
        };
        let texts = [&when.prompt_contains, &when.feedback_contains, &when.answer_contains];
        if when.attempt.is_none() && texts.iter().all(|text| text.is_none()) {
            return Err(NoCondition);
        }
        Ok(when)
    }
}

/// A step has none or both of two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("`{step}` needs exactly one of {fields}")]
pub struct Ambiguous {
    step: &'static str,
    fields: &'static str,
}

/// A `when` has no condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "`when` needs a condition: `attempt`, `prompt_contains`, `feedback_contains` or `answer_contains`"
)]
pub struct NoCondition;

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn every_form_of_a_step_is_read() {
        let check = |yaml: &str, expected: Step| {
            let script = Script::parse(&format!("version: 1\nsteps:\n  - {yaml}\n")).unwrap();
            assert_eq!(script.steps, [expected], "{yaml}");
        };
        check("think: hm", Step::Think(template("hm")));
        check("say: '{{name}}!'", Step::Say(template("{{name}}!")));
        let write = |text, append| Write { path: template("a"), text: template(text), append };
        check("write: {path: a, content: x}", Step::Write(write("x", false)));
        check("write: {path: a, append: x}", Step::Write(write("x", true)));
        let shell = CommandLine::Shell(template("ls | wc"));
        check("run: {command: ls | wc}", Step::Run(Run { command: shell, expect: 0 }));
        let argv = CommandLine::Argv(vec![template("ls"), template("-l")]);
        let run = Run { command: argv.clone(), expect: 2 };
        check("run: {command: [ls, -l], expect: 2}", Step::Run(run));
        check("fork: {command: [ls, -l]}", Step::Fork(Fork { command: argv }));
        check("wait: {ms: 5}", Step::Wait(Wait::Time(5)));
        check("wait: {for: feedback, timeout_ms: 5}", Step::Wait(Wait::Feedback(5)));
        check("wait: {for: feedback}", Step::Wait(Wait::Feedback(PATIENCE_MS)));
        let ask = Ask { question: template("why?"), timeout_ms: PATIENCE_MS };
        check("ask: {question: why?}", Step::Ask(ask));
        check("ignore_signals", Step::IgnoreSignals);
        let fail = |kind| Step::Fail(Fail { message: template("no"), code: 1, kind });
        check("fail: {message: no}", fail(FailureKind::Application));
        check("fail: {message: no, kind: rate_limited}", fail(FailureKind::RateLimited));
        let flood = Flood { bytes: 10, stream: FloodStream::Stderr };
        check("flood: {bytes: 10, stream: stderr}", Step::Flood(flood));
        let when = When {
            attempt: Some(2),
            prompt_contains: None,
            feedback_contains: None,
            answer_contains: None,
            then: vec![Step::Exit(Exit { code: 0 })],
            otherwise: vec![Step::IgnoreSignals],
        };
        check("when: {attempt: 2, then: [exit: {}], else: [ignore_signals]}", Step::When(when));
    }

    #[test]
    fn a_work_stream_can_have_steps_of_its_own() {
        let text = "version: 1\nsteps: [think: a]\nstreams: {'1.10': [think: b], '2': []}\n";
        let script = Script::parse(text).unwrap();
        assert_eq!(script.steps_for("1.1"), [Step::Think(template("a"))]);
        assert_eq!(script.steps_for("1.10"), [Step::Think(template("b"))]);
        assert_eq!(script.steps_for("2"), []);
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let check = |text: &str, place: &str, what: &str| {
            let message = Script::parse(text).unwrap_err().to_string();
            assert!(message.contains(place) && message.contains(what), "{text}\n{message}");
        };
        let steps = |step: &str| format!("version: 1\nsteps:\n  - say: hi\n  - {step}\n");
        check(&steps("dance: now"), "line 4", "dance");
        check(&steps("edit: {path: a, find: b}"), "line 4", "replace");
        check(&steps("say: '{{strem}}'"), "line 4", "unknown placeholder {{strem}}");
        check(&steps("write: {path: a}"), "line 4", "exactly one of `content` and `append`");
        check(&steps("wait: {ms: 5, for: feedback}"), "line 4", "exactly one of `ms` and `for`");
        check(&steps("when: {then: []}"), "line 4", "needs a condition");
        check(&steps("run: {command: {}}"), "line 4", "a text for `sh -c`, or a list");
        check("version: 1\nstep: []\n", "line 2", "step");
        check("version: 1\nsteps: [", "line", "");
        check("version: 2\n", "version 2", "write `version: 1`");
        check("", "", "");
    }
}
