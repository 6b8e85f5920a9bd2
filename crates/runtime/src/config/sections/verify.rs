//! `verify`: what is checked after an agent has ended, in a clean process of ours.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{Invalid, require_some_time};
use crate::config::duration::HumanDuration;

/// What is checked after an agent has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// Whether anything is checked at all. Without, the agent's exit code decides.
    pub enabled: bool,
    /// The commands to run. Default: found by looking at the project; an empty list means none.
    pub checks: Option<Vec<Check>>,
    /// Whether an attempt that changed nothing, or only the roadmap, fails.
    pub require_changes: bool,
    /// Whether uncommitted leftovers fail the attempt. Default: only when `run.auto_commit` is
    /// off, since Kapelle commits them otherwise.
    pub require_clean: Option<bool>,
    /// Whether the agent must have ticked all tasks of its work stream in the roadmap. Usually
    /// not: Kapelle ticks them itself when it integrates the work.
    pub roadmap: bool,
    /// How long all checks of one attempt may take together.
    pub timeout: HumanDuration,
}

/// A command whose success is required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Names the check in verdicts, reports and prompts.
    pub name: String,
    /// What is run, in the root of the attempt's working copy.
    pub command: CommandLine,
    /// How long it may take. Default: what is left of `verify.timeout`.
    #[serde(default)]
    pub timeout: Option<HumanDuration>,
    /// What its failure means.
    #[serde(default)]
    pub severity: Severity,
}

/// What the failure of a check means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The attempt has failed.
    #[default]
    Error,
    /// It is reported and nothing more.
    Warning,
}

/// A command: a list is a program with its arguments, a text is for `sh -c`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CommandLine {
    /// Program and arguments, without a shell.
    Argv(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            enabled: true,
            checks: None,
            require_changes: true,
            require_clean: None,
            roadmap: false,
            timeout: HumanDuration::from_mins(30),
        }
    }
}

impl Verify {
    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        require_some_time(&[("timeout", self.timeout)])?;
        let checks = self.checks.as_deref().unwrap_or_default();
        for (index, check) in checks.iter().enumerate() {
            let earlier = checks[..index].iter().map(|check| check.name.as_str());
            check
                .validate(earlier)
                .map_err(|invalid| invalid.under(&index.to_string()).under("checks"))?;
        }
        Ok(())
    }
}

impl Check {
    fn validate<'c>(&self, mut earlier: impl Iterator<Item = &'c str>) -> Result<(), Invalid> {
        if self.name.trim().is_empty() {
            return Err(Invalid::new("name", "a check needs a name"));
        }
        if earlier.any(|name| name == self.name) {
            let reason = format!("there are two checks called {:?}", self.name);
            return Err(Invalid::new("name", reason));
        }
        let command = match &self.command {
            CommandLine::Argv(argv) => argv.first(),
            CommandLine::Shell(line) => Some(line),
        };
        if command.is_none_or(|command| command.trim().is_empty()) {
            return Err(Invalid::new("command", "there is nothing to run"));
        }
        self.timeout.map_or(Ok(()), |timeout| require_some_time(&[("timeout", timeout)]))
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandLineVisitor)
    }
}

struct CommandLineVisitor;

impl<'de> Visitor<'de> for CommandLineVisitor {
    type Value = CommandLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line for the shell, or a list of program and arguments")
    }

    fn visit_str<E>(self, line: &str) -> Result<CommandLine, E> {
        Ok(CommandLine::Shell(line.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<CommandLine, A::Error> {
        let mut argv = Vec::new();
        while let Some(argument) = items.next_element()? {
            argv.push(argument);
        }
        Ok(CommandLine::Argv(argv))
    }
}

impl JsonSchema for CommandLine {
    fn schema_name() -> Cow<'static, str> {
        "CommandLine".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list is a program with its arguments; a text is for `sh -c`.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ],
        })
    }
}
