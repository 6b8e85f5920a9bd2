//! Plans: frozen graphs of tasks that leave no choices to their execution.
//!
//! A plan comes from some source (a roadmap, a goal, a workflow …) and is checked once, here.
//! How a source makes its plan is the source's own business.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::placement::{Constraint, LABELS_MAX};
use crate::policy::{RetryPolicy, Timeouts};

/// The longest key of a task.
pub const KEY_BYTES_MAX: usize = 100;

/// Everything that must be known to carry out a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// A world-wide unique name of the run; also the key under which a repeated submission of the
    /// same run is recognized.
    pub uid: Uuid,
    /// A digest of the request that made the run: a repeated one has the same. Empty when it was
    /// made without one.
    #[serde(default)]
    pub request: String,
    /// What the run is for, in one line.
    pub title: String,
    /// Where its plan came from.
    pub source: PlanSource,
    /// How many of its tasks may be live at once; at least 1.
    pub concurrency: u32,
    /// Retries of its tasks.
    pub retry: RetryPolicy,
    /// Time limits of its tasks.
    pub timeouts: Timeouts,
    /// Where results go; `None` leaves each result on its own ref.
    pub target: Option<Target>,
}

/// Where a plan came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlanSource {
    /// Work streams of a roadmap.
    Roadmap {
        /// Its path, relative to the repository's root.
        path: String,
        /// The goal that chose among its streams, when one did.
        goal: Option<String>,
    },
    /// A list of tasks that somebody submitted.
    Tasks,
}

/// A branch that results are integrated into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The branch's short name.
    pub branch: String,
    /// The commit it was last known to point to.
    pub head: String,
}

/// One node of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task's name within its run, such as the id of its work stream: letters, digits,
    /// `.`, `_` and `-`, at most [`KEY_BYTES_MAX`] bytes, starting with a letter or digit.
    pub key: String,
    /// What it is about, in one line.
    pub title: String,
    /// What the agent is told.
    pub prompt: String,
    /// The agent that is to do it, by its configured name.
    pub agent: Arc<str>,
    /// The repository it works on.
    pub repository: Arc<str>,
    /// What it needs of a worker besides the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Constraint>,
    /// Positions in the plan of the tasks that must succeed first.
    pub depends_on: Vec<u32>,
    /// Higher goes first among tasks that could run.
    pub priority: i32,
    /// Whether the coordinator integrates the result into the run's target.
    pub integrate: bool,
    /// Whether the worker verifies the result after the agent has ended.
    pub verify: bool,
}

/// A plan that can't be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InvalidPlan {
    /// Nothing to do.
    #[error("the plan has no tasks")]
    Empty,
    /// A limit of zero would never let anything start.
    #[error("the run's concurrency is 0")]
    NoConcurrency,
    /// A key that can't name a task.
    #[error(
        "task {index} has the key `{key}`; a key is 1 to {KEY_BYTES_MAX} letters, digits, `.`, `_` or `-`, and starts with a letter or digit"
    )]
    MalformedKey {
        /// Which task.
        index: u32,
        /// Its key.
        key: String,
    },
    /// Two tasks with one name.
    #[error("two tasks have the key `{key}`")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// More constraints than anybody needs.
    #[error("task `{key}` has more than {LABELS_MAX} constraints on its worker")]
    TooManyNeeds {
        /// The task.
        key: String,
    },
    /// A dependency that points outside of the plan.
    #[error("task `{key}` depends on task number {dependency}, which the plan doesn't have")]
    UnknownDependency {
        /// The task that depends.
        key: String,
        /// The position that doesn't exist.
        dependency: u32,
    },
    /// Tasks that wait for each other.
    #[error("tasks depend on each other in a circle: {}", keys.join(" -> "))]
    Cycle {
        /// Their keys, in order.
        keys: Vec<String>,
    },
}

/// Checks that a plan can be carried out to its end.
///
/// # Errors
/// The first reason why it can't.
pub fn validate(spec: &RunSpec, tasks: &[TaskSpec]) -> Result<(), InvalidPlan> {
    if tasks.is_empty() {
        return Err(InvalidPlan::Empty);
    }
    if spec.concurrency == 0 {
        return Err(InvalidPlan::NoConcurrency);
    }
    let mut keys = std::collections::HashSet::with_capacity(tasks.len());
    for (index, task) in (0u32..).zip(tasks) {
        if !is_key(&task.key) {
            return Err(InvalidPlan::MalformedKey { index, key: task.key.clone() });
        }
        if !keys.insert(task.key.as_str()) {
            return Err(InvalidPlan::DuplicateKey { key: task.key.clone() });
        }
        if task.needs.len() > LABELS_MAX {
            return Err(InvalidPlan::TooManyNeeds { key: task.key.clone() });
        }
        let unknown =
            task.depends_on.iter().find(|dependency| tasks.get(position(**dependency)).is_none());
        if let Some(dependency) = unknown {
            return Err(InvalidPlan::UnknownDependency {
                key: task.key.clone(),
                dependency: *dependency,
            });
        }
    }
    match find_cycle(tasks) {
        Some(cycle) => Err(InvalidPlan::Cycle { keys: cycle }),
        None => Ok(()),
    }
}

fn is_key(key: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    key.len() <= KEY_BYTES_MAX
        && key.bytes().all(legal)
        && key.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        // A key becomes part of a git ref, which may not contain these.
        && !key.contains("..")
        && !key.ends_with('.')
        && !key.ends_with(".lock")
}

/// Positions are 32 bit on the wire; no supported machine has a smaller address space.
pub(crate) fn position(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Kahn's algorithm leaves over exactly the tasks that can never start; following any unmet
/// dependency among those must come back to where one has been.
fn find_cycle(tasks: &[TaskSpec]) -> Option<Vec<String>> {
    let mut dependents = vec![Vec::new(); tasks.len()];
    let mut unmet: Vec<usize> = tasks.iter().map(|task| task.depends_on.len()).collect();
    for (index, task) in tasks.iter().enumerate() {
        for dependency in &task.depends_on {
            dependents[position(*dependency)].push(index);
        }
    }
    let mut startable: Vec<usize> = (0..tasks.len()).filter(|index| unmet[*index] == 0).collect();
    while let Some(index) = startable.pop() {
        for &dependent in &dependents[index] {
            unmet[dependent] -= 1;
            if unmet[dependent] == 0 {
                startable.push(dependent);
            }
        }
    }
    let mut at = unmet.iter().position(|count| *count > 0)?;
    let mut path: Vec<usize> = Vec::new();
    loop {
        if let Some(start) = path.iter().position(|seen| *seen == at) {
            path.push(at);
            return Some(path[start..].iter().map(|index| tasks[*index].key.clone()).collect());
        }
        path.push(at);
        let next = tasks[at].depends_on.iter().find(|dependency| unmet[position(**dependency)] > 0);
        at = position(*next?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run, task};

    #[test]
    fn plans_that_cannot_end_are_refused() {
        let check = |tasks: &[TaskSpec], expected: Result<(), InvalidPlan>| {
            assert_eq!(validate(&run(1, 1), tasks), expected);
        };
        check(&[], Err(InvalidPlan::Empty));
        check(&[task("a", &[]), task("b", &[0])], Ok(()));
        check(
            &[task("a", &[]), task("a", &[])],
            Err(InvalidPlan::DuplicateKey { key: "a".to_owned() }),
        );
        check(
            &[task("a", &[7])],
            Err(InvalidPlan::UnknownDependency { key: "a".to_owned(), dependency: 7 }),
        );
        let keys = ["b", "c", "b"].map(str::to_owned).to_vec();
        check(
            &[task("a", &[1]), task("b", &[2]), task("c", &[1])],
            Err(InvalidPlan::Cycle { keys }),
        );
        for key in ["", "-x", "a/b", "a b", "..", "a..b", "x.lock", "x.", "ä"] {
            assert!(validate(&run(1, 1), &[task(key, &[])]).is_err(), "{key:?}");
        }
        assert_eq!(validate(&run(1, 0), &[task("a", &[])]), Err(InvalidPlan::NoConcurrency));
    }
}
