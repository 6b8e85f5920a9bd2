//! Identities, fences and points in time.
//!
//! Each is its own type so that none can stand in for another. Ids of runs are sequential per
//! store (random keys cost an index-bound insert path about nine times its speed); everything
//! inside a run is numbered within it. Nothing here mints an id: numbers come from the engine's
//! own counters, UUIDs from the edge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A run: one plan being executed. Shown as `r-42`.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(pub u64);

/// A task: one node of a run's plan, by its position. Shown as `r-42/t3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    /// The run that the task belongs to.
    pub run: RunId,
    /// The task's position in the plan, from 0.
    pub index: u32,
}

/// An attempt: one try at a task by one worker, numbered from 1. Shown as `r-42/t3#2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId {
    /// The task that is tried.
    pub task: TaskId,
    /// Which try this is, from 1.
    pub number: u32,
}

/// An id in text that doesn't have the form it must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct MalformedId {
    /// The text as given.
    pub text: String,
    /// The form that was expected, with an example.
    pub expected: &'static str,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{}", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/t{}", self.run, self.index)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.number)
    }
}

impl FromStr for RunId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        text.strip_prefix("r-")
            .and_then(parse_number)
            .map(Self)
            .ok_or_else(|| MalformedId { text: text.to_owned(), expected: "a run id such as r-42" })
    }
}

impl FromStr for TaskId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let malformed =
            || MalformedId { text: text.to_owned(), expected: "a task id such as r-42/t3" };
        let (run, index) = text.split_once("/t").ok_or_else(malformed)?;
        let run = run.parse().map_err(|_| malformed())?;
        let index = parse_number(index).ok_or_else(malformed)?;
        Ok(Self { run, index: u32::try_from(index).map_err(|_| malformed())? })
    }
}

impl FromStr for AttemptId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let malformed =
            || MalformedId { text: text.to_owned(), expected: "an attempt id such as r-42/t3#2" };
        let (task, number) = text.split_once('#').ok_or_else(malformed)?;
        let task = task.parse().map_err(|_| malformed())?;
        let number = parse_number(number).ok_or_else(malformed)?;
        Ok(Self { task, number: u32::try_from(number).map_err(|_| malformed())? })
    }
}

/// Digits only: `+1` and ` 1` are no numbers of ours.
fn parse_number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

macro_rules! text_conversions {
    ($($id:ty),*) => {$(
        impl TryFrom<String> for $id {
            type Error = MalformedId;
            fn try_from(text: String) -> Result<Self, MalformedId> {
                text.parse()
            }
        }
        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.to_string()
            }
        }
    )*};
}
text_conversions!(RunId, TaskId, AttemptId);

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
counters!(
    /// The fence of a grant: per task, one more at each grant. A report that carries an older one
    /// comes from a superseded attempt and changes nothing.
    Fence,
    /// One registration of a worker. A newer session of the same worker supersedes the older.
    SessionEpoch,
    /// One publication of an offer; a claim that names an older one answers a stale offer.
    OfferSeq,
    /// The number of a command among the commands of its task, from 1.
    CommandSeq,
    /// The number of an event in the log, from 1 and without gaps.
    EventSeq,
    /// One leadership of a coordinator over a store. Every write carries it.
    Term
);

/// The name of a worker, chosen by its operator and kept over restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub String);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one request, so that its retry gets the same answer. Chosen by the one who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// A point in time: milliseconds since the Unix epoch, from a clock that never steps back within
/// a process. Read only by the edge; the rules get it as an argument.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The point in time `span` after this one.
    #[must_use]
    pub fn after(self, span: std::time::Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        let millis = self.0.saturating_sub(earlier.0);
        std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_show() {
        let task = TaskId { run: RunId(42), index: 3 };
        let attempt = AttemptId { task, number: 2 };
        assert_eq!(attempt.to_string(), "r-42/t3#2");
        assert_eq!("r-42/t3#2".parse(), Ok(attempt));
        assert_eq!("r-42/t3".parse(), Ok(task));
        assert_eq!("r-42".parse(), Ok(RunId(42)));
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in ["", "r-", "42", "r-+1", "r- 1", "r-99999999999999999999"] {
            assert!(text.parse::<RunId>().is_err(), "{text:?}");
        }
        for text in ["r-1", "r-1/3", "r-1/t", "r-1/t4294967296"] {
            assert!(text.parse::<TaskId>().is_err(), "{text:?}");
        }
        for text in ["r-1/t1", "r-1/t1#", "r-1/t1#x"] {
            assert!(text.parse::<AttemptId>().is_err(), "{text:?}");
        }
    }
}
