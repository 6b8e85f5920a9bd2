//! What a sentence in natural language asks of a roadmap.
//!
//! [`GoalIndex`] is built from the work streams at hand; there is no table of words for any one
//! roadmap. [`GoalIndex::interpret`] finds the streams that a text names (by id, name, batch, tag
//! or distinctive words, misspelled or not), tells orders from questions, and says how sure it is.
//! It is deliberately conservative: what is excluded, conditional, ambiguous or mostly unknown
//! ends in [`Action::Suggest`], which starts nothing.
//!
//! This is no language model and does no IO. It reads English; other languages are matched by the
//! words of the roadmap alone.

mod catalog;
mod command;
mod condition;
mod decision;
mod dependence;
mod draft;
mod lexicon;
mod matching;
mod phrase;
mod reference;
mod scope;
mod selection;
mod size;
mod text;
mod vocabulary;

#[cfg(test)]
mod tests;

use serde::Serialize;

use self::catalog::Catalog;
use crate::roadmap::Effort;

/// Longer goals are not read: what is cut off might say what must not run.
pub const GOAL_CHARS_MAX: usize = 2_000;

/// A work stream as the goal interpreter sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GoalSubject {
    /// The id as the roadmap writes it, as `1.2`.
    pub id: String,
    /// The name without the id.
    pub name: String,
    /// The tag without its star, as `bootstrap` or `priority`.
    pub tag: Option<String>,
    /// The title of the batch it belongs to.
    pub batch: Option<String>,
    /// Texts of its tasks.
    pub tasks: Vec<String>,
    /// Nothing is left to do.
    pub complete: bool,
    /// It can be claimed now.
    pub available: bool,
    /// It can't be started whatever else gets done: it is claimed, on hold or in a circle.
    pub held: bool,
    /// Ids of the work streams that it depends on.
    pub depends_on: Vec<String>,
    /// How much work it is, if the roadmap says.
    pub effort: Option<Effort>,
}

/// What the interpreter proposes to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Run the one match.
    RunSingle,
    /// Run the matches, several at a time.
    RunParallel,
    /// Run the matches to the end, including those that only become available on the way.
    RunBatch,
    /// Start nothing: show the matches as suggestions and ask.
    Suggest,
    /// Show how the matches, or the whole roadmap if there are none, stand.
    Status,
    /// Stop what [`Arguments::stop_target`] says.
    Stop,
    /// Show which agents are at work (on the matches, if there are any).
    ListAgents,
    /// Show what keeps the matches, or anything, from running.
    Unblock,
    /// Show what can be asked.
    Help,
}

/// One work stream that the text means.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Match {
    /// The id as the roadmap writes it.
    pub id: String,
    /// The name without the id.
    pub name: String,
    /// How well it fits, 0 to 1.
    pub score: f64,
}

/// One of several ways to read a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What would be done.
    pub action: Action,
    /// To which work streams.
    pub matches: Vec<Match>,
}

/// The ways between which the user has to choose; at least two.
#[derive(Debug, Clone, PartialEq)]
pub struct Ambiguity {
    /// Each way to read the text.
    pub readings: Vec<Reading>,
}

/// What is to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopTarget {
    /// Everything that runs.
    All,
    /// Everything that runs but these work streams, by id.
    AllExcept(Vec<String>),
    /// These work streams, by id.
    Streams(Vec<String>),
    /// These agents, by the name the user gave.
    Agents(Vec<String>),
}

/// What a text says besides its action and matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments {
    /// How many work streams were asked for; the matches are no more than this.
    pub count: Option<usize>,
    /// How many agents may work at once.
    pub concurrency: Option<usize>,
    /// Ids that must not run, also if they become available later.
    pub excluded: Vec<String>,
    /// Set for [`Action::Stop`].
    pub stop_target: Option<StopTarget>,
}

/// What a text was understood to ask for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interpretation {
    /// What to do.
    pub action: Action,
    /// 0 to 1. An exact id or full name gives 0.9 or more, a distinctive word 0.5 or more; below
    /// 0.5 the action is always [`Action::Suggest`].
    pub confidence: f64,
    /// Why, in sentences for the user.
    pub explanation: String,
    /// The work streams concerned, best first; with [`Action::Suggest`] these are suggestions.
    pub matches: Vec<Match>,
    /// Other ways to read the text, if there are any.
    #[serde(skip)]
    pub ambiguity: Option<Ambiguity>,
    /// Counts, exclusions and the target of a stop.
    #[serde(skip)]
    pub arguments: Arguments,
}

/// The words of one roadmap, ready to be compared with goals.
#[derive(Debug, Clone)]
pub struct GoalIndex {
    catalog: Catalog,
}

impl GoalIndex {
    /// Indexes `subjects`, given in roadmap order. Linear in the size of their texts.
    #[must_use]
    pub fn build(subjects: &[GoalSubject]) -> Self {
        Self { catalog: Catalog::build(subjects) }
    }

    /// Reads `text`. Total and deterministic; its time is bounded by [`GOAL_CHARS_MAX`].
    #[must_use]
    pub fn interpret(&self, text: &str) -> Interpretation {
        decision::interpret(&self.catalog, text)
    }
}
