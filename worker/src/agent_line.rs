//! Kapelle agent lines, version 1: what a worker and an agent may say to each other, one JSON
//! object per line. `docs/agent-protocol.md` describes it for those who write agents.
//!
//! Lines of the agent's standard output that are no such object are plain output. Fields that are
//! not known here are skipped, so that a later agent can say more to an earlier worker.

use std::fmt;

use kapelle_domain::attempt::Usage;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the format, the value of the field `kapelle` in each line.
pub const VERSION: u64 = 1;

/// The longest line of an agent, its end not counted, in bytes. A worker's are no longer, but for
/// the prompt.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// What an agent tells its worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentLine {
    /// Something said to people.
    Message {
        /// The words.
        text: String,
    },
    /// What was used up since the last such line.
    Usage(Usage),
    /// The agent has taken a [`WorkerLine`] into account.
    Ack {
        /// The number of that line.
        id: u64,
    },
    /// Everything else, which the worker passes on and does not act upon.
    Other(Activity),
}

/// What an agent does and thinks, for people to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Something thought aloud.
    Thought {
        /// The words.
        text: String,
    },
    /// The agent uses a tool.
    ToolCall {
        /// The tool's name, such as `run`.
        tool: String,
        /// What it is used for or on, such as the command line.
        text: String,
    },
    /// The agent changed a file.
    FileChange {
        /// Its path in the workspace.
        path: String,
        /// What happened to it.
        change: Change,
    },
    /// What the agent intends; replaces its earlier plan.
    Plan {
        /// The steps in their order.
        entries: Vec<PlanEntry>,
    },
    /// The agent waits for an answer.
    Question {
        /// The agent's own number for it, to which the answer refers.
        id: u64,
        /// The question.
        text: String,
    },
    /// The agent's last word: how it judges its own work.
    End {
        /// The judgment.
        outcome: EndOutcome,
        /// Whose fault a failure is.
        kind: Option<FailureKind>,
        /// A summary, or the reason of the failure.
        text: Option<String>,
    },
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Created,
    /// Its content changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// A step of an agent's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// What is to be done.
    pub text: String,
    /// Whether it is done.
    #[serde(default)]
    pub done: bool,
}

/// An agent's judgment of its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndOutcome {
    /// It did what it was asked.
    Completed,
    /// It could not.
    Failed,
    /// It was asked to stop and did.
    Interrupted,
}

/// Whose fault a failure is, which decides whether and when another attempt is worthwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The work itself did not succeed.
    Application,
    /// The agent could not work: its service or its machine failed.
    Infrastructure,
    /// The agent's service asked for a pause.
    RateLimited,
}

/// What a worker tells its agent. Each line carries a number that the agent acknowledges when it
/// has taken the line into account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerLine {
    /// The task: the first line, where the agent has its prompt on standard input.
    Prompt {
        /// [`PROMPT_ID`]; nobody waits for its acknowledgment.
        id: u64,
        /// The prompt.
        text: String,
    },
    /// Advice on the work in progress.
    Feedback {
        /// The number to acknowledge.
        id: u64,
        /// The advice.
        text: String,
    },
    /// The answer to an [`Activity::Question`].
    Answer {
        /// The number to acknowledge.
        id: u64,
        /// The agent's number of the question.
        question: u64,
        /// The answer.
        text: String,
    },
    /// A new task in place of the present one.
    Redirect {
        /// The number to acknowledge.
        id: u64,
        /// The new task.
        text: String,
    },
    /// Finish soon and end.
    Interrupt {
        /// The number to acknowledge.
        id: u64,
    },
}

impl WorkerLine {
    /// The number to acknowledge.
    #[must_use]
    pub fn id(&self) -> u64 {
        match self {
            Self::Prompt { id, .. }
            | Self::Feedback { id, .. }
            | Self::Answer { id, .. }
            | Self::Redirect { id, .. }
            | Self::Interrupt { id } => *id,
        }
    }

    /// The line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        to_line(self)
    }

    /// Reads a line from the worker; `None` when it is something else.
    ///
    /// # Errors
    /// When it calls itself an agent line and is none that is understood.
    pub fn parse(line: &str) -> Result<Option<Self>, Error> {
        parse(line)
    }
}

/// The number of a [`WorkerLine::Prompt`], which no other line has.
pub const PROMPT_ID: u64 = 0;

/// The line that gives an agent its prompt; [`WorkerLine::Prompt`] ready to be written.
#[must_use]
pub fn prompt(text: &str) -> String {
    WorkerLine::Prompt { id: PROMPT_ID, text: text.to_owned() }.to_line()
}

/// The line that gives an agent advice; [`WorkerLine::Feedback`] ready to be written.
#[must_use]
pub fn feedback(id: u64, text: &str) -> String {
    WorkerLine::Feedback { id, text: text.to_owned() }.to_line()
}

impl AgentLine {
    /// The line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        to_line(&wire::Line::from(self.clone()))
    }

    /// Reads a line of an agent's standard output; `None` when it is plain output.
    ///
    /// # Errors
    /// When it calls itself an agent line and is none that is understood. Treat it as plain
    /// output, and say so to whoever wrote the agent.
    pub fn parse(line: &str) -> Result<Option<Self>, Error> {
        let line = line.trim();
        if line.len() > LINE_BYTES_MAX && line.contains("\"kapelle\"") {
            return Err(Error::TooLong { bytes: line.len() });
        }
        Ok(parse::<wire::Line>(line)?.map(Self::from))
    }

    /// In words for people, in one or more lines.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Message { text } => text.clone(),
            Self::Usage(usage) => {
                format!("(used) {} tokens in, {} out", usage.input_tokens, usage.output_tokens)
            }
            Self::Ack { id } => format!("(takes note of {id})"),
            Self::Other(activity) => activity.to_string(),
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thought { text } => write!(f, "(thinks) {text}"),
            Self::ToolCall { tool, text } => write!(f, "({tool}) {text}"),
            Self::FileChange { path, change } => {
                let verb = match change {
                    Change::Created => "creates",
                    Change::Modified => "changes",
                    Change::Deleted => "deletes",
                };
                write!(f, "({verb}) {path}")
            }
            Self::Plan { entries } => {
                f.write_str("(plans)")?;
                entries.iter().try_for_each(|entry| {
                    write!(f, "\n  [{}] {}", if entry.done { 'x' } else { ' ' }, entry.text)
                })
            }
            Self::Question { text, .. } => write!(f, "(asks) {text}"),
            Self::End { outcome, text, .. } => {
                f.write_str(match outcome {
                    EndOutcome::Completed => "(completed)",
                    EndOutcome::Failed => "(failed)",
                    EndOutcome::Interrupted => "(interrupted)",
                })?;
                text.iter().try_for_each(|text| write!(f, " {text}"))
            }
        }
    }
}

/// Why a line that calls itself an agent line is not understood.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// It is longer than [`LINE_BYTES_MAX`].
    #[error("an agent line of {bytes} bytes; at most {LINE_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is of another version.
    #[error("agent lines of version {found}; this worker reads version {VERSION}")]
    Version {
        /// The version it names.
        found: serde_json::Value,
    },
    /// It is no JSON, of an unknown type, or a field is missing or wrong.
    #[error("not an agent line of version {VERSION}")]
    Malformed {
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    kapelle: u64,
    #[serde(flatten)]
    line: &'a T,
}

#[derive(Deserialize)]
struct Head {
    kapelle: Option<serde_json::Value>,
}

fn to_line(line: &impl Serialize) -> String {
    // Structs of strings and numbers always have a form in JSON.
    serde_json::to_string(&Envelope { kapelle: VERSION, line }).unwrap_or_default()
}

fn parse<T: for<'de> Deserialize<'de>>(line: &str) -> Result<Option<T>, Error> {
    let line = line.trim();
    if !line.starts_with('{') || !line.contains("\"kapelle\"") {
        return Ok(None);
    }
    let version = match serde_json::from_str::<Head>(line) {
        Ok(Head { kapelle: Some(version) }) => version,
        Ok(Head { kapelle: None }) => return Ok(None),
        // Some other program's broken JSON may mention us.
        Err(_) if !line.starts_with("{\"kapelle\"") => return Ok(None),
        Err(source) => return Err(Error::Malformed { source }),
    };
    if version != VERSION {
        return Err(Error::Version { found: version });
    }
    serde_json::from_str(line).map(Some).map_err(|source| Error::Malformed { source })
}

mod wire;

#[cfg(test)]
mod tests;
