//! Verification: what our own processes find out about a result, whatever its agent says.
//!
//! Check commands run after every process of the agent has ended, and nothing of ours runs git in
//! their directory afterwards. A check that can't be run to its end is unknown, and unknown blocks
//! as a failure does.

mod detect;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kapelle_domain::attempt::{Check, NOTE, ONLY_A_WARNING, Verdict};
use kapelle_git::{CommitId, Repository};
use kapelle_runtime::clock::Clock;
use kapelle_runtime::config::{self, CommandLine, Severity};
use kapelle_runtime::telemetry::Chain;

use crate::process::{self, Ended, Exit, Output, ProcessSpec, StopLadder, Supervisor};

pub use detect::detect;
use detect::{Plan, Surface};

/// The end of a check's output that is kept: enough to see why it failed.
const DETAIL_BYTES_MAX: usize = 8 * 1024;

/// Lines of output that are kept in memory while a check runs.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// How long a check that is out of time gets to end by itself.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What is said where nothing of the project's own has looked at a result.
const NOTHING_RAN: &str = "no check command ran; add verify.checks to kapelle.yaml";

/// How the detail of a check begins that the machine kept from being run.
const NOT_RUN: &str = "it could not be run here: ";

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The files.
    pub tree: &'a Path,
    /// Where their base is.
    pub repository: &'a Repository,
    /// The commit that they were made from.
    pub base: &'a CommitId,
}

/// Runs check commands.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// Starts the commands and ends them with everything they started.
    pub supervisor: Arc<Supervisor>,
    /// What is configured.
    pub settings: config::Verify,
    /// The environment of the commands.
    pub environment: BTreeMap<OsString, OsString>,
    /// For the time that they take.
    pub clock: Clock,
}

impl Verifier {
    /// Runs the configured checks, or those that the tree and its base suggest, one after the
    /// other. `say` gets a line for each as it begins and ends. Warnings that fail are passed
    /// checks with their reason in the detail.
    pub async fn check(
        &self,
        subject: Subject<'_>,
        marker: &str,
        mut say: impl FnMut(String) + Send,
    ) -> Vec<Check> {
        let tree = subject.tree;
        let plan = match self.plan(&subject).await {
            Ok(plan) => plan,
            Err(error) => return vec![unknown("checks", not_run(&Chain(&error)))],
        };
        let began = self.clock.now();
        let mut checks: Vec<Check> =
            plan.vanished.into_iter().map(|(command, needs)| vanished(&command, needs)).collect();
        if checks.is_empty() && plan.commands.is_empty() {
            say(NOTHING_RAN.to_owned());
            checks.push(note(NOTHING_RAN));
        }
        for command in plan.commands {
            let used = elapsed(began, self.clock.now());
            let left = self.settings.timeout.0.saturating_sub(used);
            let limit = command.timeout.map_or(left, |own| own.0.min(left));
            say(format!("check `{}`: {}", command.name, shown(&command.command)));
            let check = self.run(&command, tree, marker, limit).await;
            let word = if check.detail.starts_with(ONLY_A_WARNING) {
                "failed, which is only a warning"
            } else {
                verdict_word(check.verdict)
            };
            say(format!("check `{}`: {word}", check.name));
            checks.push(check);
        }
        checks
    }

    /// What is to be run.
    async fn plan(&self, subject: &Subject<'_>) -> Result<Plan, kapelle_git::Error> {
        if let Some(commands) = self.settings.checks.clone() {
            return Ok(Plan { commands, vanished: Vec::new() });
        }
        let before = Surface::of_commit(subject.repository, subject.base).await?;
        Ok(detect::plan(&before, &Surface::of_directory(subject.tree)))
    }

    async fn run(
        &self,
        command: &config::Check,
        tree: &Path,
        marker: &str,
        limit: Duration,
    ) -> Check {
        let began = self.clock.now();
        let (verdict, detail) = if limit.is_zero() {
            (Verdict::Unknown, "no time was left for it".to_owned())
        } else {
            self.outcome(command, tree, marker, limit).await
        };
        let took = elapsed(began, self.clock.now());
        let (verdict, detail) = match (command.severity, verdict) {
            (Severity::Warning, Verdict::Fail | Verdict::Unknown) => {
                (Verdict::Pass, format!("{ONLY_A_WARNING}{detail}"))
            }
            (Severity::Warning, Verdict::Pass) | (Severity::Error, _) => (verdict, detail),
        };
        Check { name: command.name.clone(), verdict, detail, took }
    }

    async fn outcome(
        &self,
        command: &config::Check,
        tree: &Path,
        marker: &str,
        limit: Duration,
    ) -> (Verdict, String) {
        let mut spec = match &command.command {
            CommandLine::Shell(line) => {
                let mut spec = ProcessSpec::new("sh", tree, marker);
                spec.args = vec!["-c".into(), line.into()];
                spec
            }
            CommandLine::Argv(argv) => {
                let mut words = argv.iter().map(OsString::from);
                let mut spec = ProcessSpec::new(words.next().unwrap_or_default(), tree, marker);
                spec.args = words.collect();
                spec
            }
        };
        spec.env = self.environment.clone();
        kapelle_git::confine(&mut spec.env, tree);
        spec.output_limit = OUTPUT_BYTES_MAX;
        let mut process = match self.supervisor.spawn(spec).await {
            Ok(process) => process,
            Err(error) => {
                let reason = match &error {
                    // The work, or the configuration, has no such program.
                    process::Error::SpawnFailed { .. } => Chain(&error).to_string(),
                    _ => not_run(&Chain(&error)),
                };
                return (Verdict::Unknown, reason);
            }
        };
        let mut tail = Tail::default();
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(deadline);
        let mut late = false;
        loop {
            tokio::select! {
                output = process.output.recv() => match output {
                    Some(output) => tail.push(&output),
                    None => break,
                },
                () = &mut deadline, if !late => {
                    late = true;
                    process.stop(StopLadder {
                        interrupt_after: None,
                        terminate_after: Some(Duration::ZERO),
                        kill_after: STOP_GRACE,
                    });
                }
            }
        }
        judge(process.wait().await, late.then_some(limit), tail.text)
    }
}

fn judge(exit: Exit, late: Option<Duration>, output: String) -> (Verdict, String) {
    let with = |reason: String| {
        if output.is_empty() { reason } else { format!("{reason}\n{output}") }
    };
    if let Some(limit) = late {
        return (Verdict::Unknown, with(format!("it took longer than {} s", limit.as_secs())));
    }
    match exit.ended {
        Ended::Code(0) => (Verdict::Pass, output),
        Ended::Code(code) => (Verdict::Fail, with(format!("exit code {code}"))),
        Ended::Signal(_) if exit.probably_out_of_memory() => {
            (Verdict::Unknown, with("it was killed, probably for want of memory".to_owned()))
        }
        Ended::Signal(signal) => (Verdict::Fail, with(format!("ended by signal {signal}"))),
        Ended::Lost => (Verdict::Unknown, with(not_run(&"how it ended is not known"))),
    }
}

/// The end of what a check printed.
#[derive(Debug, Default)]
struct Tail {
    text: String,
}

impl Tail {
    fn push(&mut self, output: &Output) {
        match output {
            Output::Line { text, .. } => {
                self.text.push_str(text);
                self.text.push('\n');
            }
            Output::Gap { bytes, .. } => {
                self.text.push_str("[… ");
                self.text.push_str(&bytes.to_string());
                self.text.push_str(" bytes are missing here]\n");
            }
        }
        // Cutting seldom keeps the cost of a flood of lines proportional to it.
        if self.text.len() > 4 * DETAIL_BYTES_MAX {
            self.text = kapelle_domain::prompt::tail(&self.text, DETAIL_BYTES_MAX).to_owned();
        }
    }
}

/// Something that people should know of a result, among its checks.
#[must_use]
pub fn note(words: &str) -> Check {
    let (name, detail) = (NOTE.to_owned(), words.to_owned());
    Check { name, verdict: Verdict::Pass, detail, took: Duration::ZERO }
}

fn unknown(name: &str, detail: String) -> Check {
    Check { name: name.to_owned(), verdict: Verdict::Unknown, detail, took: Duration::ZERO }
}

fn vanished(command: &config::Check, needs: &str) -> Check {
    let detail = format!(
        "it can't be run any more: {needs} was there before and is gone. Bring it back; if it is \
         meant to go, a person has to list the checks under verify.checks in kapelle.yaml"
    );
    let name = command.name.clone();
    Check { name, verdict: Verdict::Fail, detail, took: Duration::ZERO }
}

fn not_run(reason: &dyn std::fmt::Display) -> String {
    format!("{NOT_RUN}{reason}")
}

/// Why a check could not be run by a fault of this machine, if there is such a check: it says
/// nothing of what was to be checked.
#[must_use]
pub fn machine_fault(checks: &[Check]) -> Option<String> {
    let faulty = checks
        .iter()
        .find(|check| check.verdict == Verdict::Unknown && check.detail.starts_with(NOT_RUN))?;
    Some(format!("the check `{}`: {}", faulty.name, faulty.detail))
}

/// All checks taken together.
#[must_use]
pub fn verdict_of(checks: &[Check]) -> Verdict {
    let has = |verdict| checks.iter().any(|check| check.verdict == verdict);
    if has(Verdict::Fail) {
        Verdict::Fail
    } else if has(Verdict::Unknown) {
        Verdict::Unknown
    } else {
        Verdict::Pass
    }
}

/// A verdict in a word.
#[must_use]
pub fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "passed",
        Verdict::Fail => "failed",
        Verdict::Unknown => "could not be run",
    }
}

fn shown(command: &CommandLine) -> String {
    match command {
        CommandLine::Shell(line) => line.clone(),
        CommandLine::Argv(argv) => argv.join(" "),
    }
}

fn elapsed(from_ms: i64, to_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0))
}
