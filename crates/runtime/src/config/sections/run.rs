//! `run`: how a run is executed.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Invalid;
use super::agents::Agent;
use crate::config::duration::HumanDuration;
use crate::config::error::suggest;

/// More agents at once than this is a slip of the keyboard.
const MAX_CONCURRENCY: u32 = 1_000;

/// How a run is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// What a run does when the command does not say.
    pub mode: Mode,
    /// How many tasks of one run are worked on at once.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: u32,
    /// The agent that gets the work, by its name in `agents`. Default: the only one there is.
    pub agent: Option<String>,
    /// Whether Kapelle commits what an agent has left uncommitted.
    pub auto_commit: bool,
    /// Only show what would be done.
    pub dry_run: bool,
    /// How often the files of an agent at work are kept, so that an attempt that is cut off can be
    /// gone on from. Nothing is kept when nothing has changed. `0s`: never.
    pub snapshot_every: HumanDuration,
    /// What work streams need of the machine that they are done on, beside what their agent needs,
    /// by id. An id with `*` at its end stands for all that begin so.
    pub needs: BTreeMap<String, Vec<String>>,
}

/// How much of the available work a run takes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The first available work stream.
    #[default]
    Single,
    /// As many available work streams as `concurrency` allows.
    Parallel,
    /// All available work streams and what they unblock, to the end.
    Batch,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            concurrency: 3,
            agent: None,
            auto_commit: true,
            dry_run: false,
            snapshot_every: HumanDuration::from_mins(2),
            needs: BTreeMap::new(),
        }
    }
}

impl Run {
    /// How often work in progress is kept, if it is.
    #[must_use]
    pub fn snapshot_every(&self) -> Option<Duration> {
        Some(self.snapshot_every.0).filter(|every| !every.is_zero())
    }

    pub(in super::super) fn validate(
        &self,
        agents: &BTreeMap<String, Agent>,
    ) -> Result<(), Invalid> {
        if !(1..=MAX_CONCURRENCY).contains(&self.concurrency) {
            let reason = format!("must be from 1 to {MAX_CONCURRENCY}");
            return Err(Invalid::new("concurrency", reason));
        }
        let inner = |pattern: &&String| pattern.strip_suffix('*').unwrap_or(pattern).contains('*');
        if let Some(pattern) = self.needs.keys().find(inner) {
            let reason = format!("{pattern:?}: only at its end may a `*` stand for anything");
            return Err(Invalid::new("needs", reason).hint("for example: \"2.*\": [gpu]"));
        }
        match &self.agent {
            Some(name) if !agents.contains_key(name) => {
                let known: Vec<&String> = agents.keys().collect();
                let hint = suggest(name, &known)
                    .unwrap_or_else(|| "no agent is configured: add one under `agents:`".into());
                Err(Invalid::new("agent", format!("there is no agent {name:?}")).hint(hint))
            }
            Some(_) | None => Ok(()),
        }
    }
}
