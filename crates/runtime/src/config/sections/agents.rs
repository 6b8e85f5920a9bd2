//! `agents`: the programs that do the work, by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Invalid, require_at_least_one, require_some_time};
use crate::config::duration::HumanDuration;

/// An agent that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// How Kapelle talks to it.
    pub driver: Driver,
    /// The program and its arguments (driver `command`). No shell is involved.
    pub command: Vec<String>,
    /// How the program gets its prompt (driver `command`).
    pub prompt: PromptDelivery,
    /// The file with the script, relative to the project's root (driver `scripted`).
    pub script: Option<PathBuf>,
    /// Variables added to the agent's environment.
    pub env: BTreeMap<String, String>,
    /// How long one attempt may take.
    pub timeout: HumanDuration,
    /// How long the agent may take to end after it was asked to, before it gets SIGTERM.
    pub stop_grace: HumanDuration,
    /// How long it may take after SIGTERM, before it is killed.
    pub kill_grace: HumanDuration,
    /// How many attempts of this agent may run at once, over all runs. Default: no limit of its own.
    #[schemars(range(min = 1))]
    pub max_parallel: Option<u32>,
    /// What the agent's output means (driver `command`).
    pub protocol: Protocol,
    /// What it needs of the machine that it runs on, as constraints on the labels of workers: `gpu`,
    /// `!gpu`, `os=linux`, `os!=macos`, `zone in (a, b)`, `memory_gb>=16`.
    pub needs: Vec<String>,
}

/// How Kapelle talks to an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// Any program: it gets the prompt, works in its directory, and exits with 0 when done.
    #[default]
    Command,
    /// A script in YAML that Kapelle plays itself, for demonstrations and tests.
    Scripted,
}

/// How a program gets its prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptDelivery {
    /// On standard input, which is then closed; with `protocol: lines`, as its first line.
    #[default]
    Stdin,
    /// As the last argument.
    Argument,
    /// In a file, whose path is the last argument.
    File,
}

/// What an agent's output means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Text for people.
    #[default]
    None,
    /// One JSON message per line, both ways.
    Lines,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            driver: Driver::default(),
            command: Vec::new(),
            prompt: PromptDelivery::default(),
            script: None,
            env: BTreeMap::new(),
            timeout: HumanDuration::from_mins(30),
            stop_grace: HumanDuration::from_secs(10),
            kill_grace: HumanDuration::from_secs(20),
            max_parallel: None,
            protocol: Protocol::default(),
            needs: Vec::new(),
        }
    }
}

impl Agent {
    /// Whether it speaks agent lines on its standard output, and takes them on its standard input
    /// while it works.
    #[must_use]
    pub fn speaks_lines(&self) -> bool {
        match (self.driver, self.protocol) {
            (Driver::Scripted, _) | (Driver::Command, Protocol::Lines) => true,
            (Driver::Command, Protocol::None) => false,
        }
    }

    pub(in super::super) fn validate(&self, name: &str) -> Result<(), Invalid> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Invalid {
                path: Vec::new(),
                ..Invalid::new("", "is not a name for an agent")
            }
            .hint("use letters, digits, `.`, `_` and `-`"));
        }
        let program = self.command.first().is_some_and(|program| !program.is_empty());
        match self.driver {
            Driver::Command if !program => {
                return Err(Invalid::new(
                    "command",
                    "the driver `command` needs a program to start",
                )
                .hint("for example: command: [my-agent, --quiet]"));
            }
            Driver::Command if self.script.is_some() => {
                return Err(Invalid::new("script", "the driver `command` plays no script")
                    .hint("set driver: scripted, or remove the script"));
            }
            Driver::Scripted if self.script.is_none() => {
                return Err(Invalid::new("script", "the driver `scripted` needs a script"));
            }
            Driver::Scripted if !self.command.is_empty() => {
                return Err(Invalid::new("command", "the driver `scripted` starts no program")
                    .hint("set driver: command, or remove the command"));
            }
            Driver::Command | Driver::Scripted => {}
        }
        for name in self.env.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                let reason = format!("{name:?} cannot be the name of a variable");
                return Err(Invalid::new("env", reason));
            }
        }
        require_some_time(&[("timeout", self.timeout)])?;
        require_at_least_one(&[("max_parallel", self.max_parallel.unwrap_or(1).into())])
    }
}
