//! From a roadmap to a plan: which of its work streams become tasks, and in which order.
//!
//! What a task then needs beyond the roadmap (an agent, a target) is the caller's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::placement::Constraint;
use crate::plan::TaskSpec;
use crate::prompt;
use crate::roadmap::{Roadmap, StreamId, WhyNot, WorkStream};

/// Which work streams are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The first that is available.
    Next,
    /// Exactly these.
    Streams(Vec<StreamId>),
    /// The first so many that are available.
    Parallel(u32),
    /// Everything that is available, and all that becomes so.
    Batch,
}

/// What every task of the plan has in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// The agent that is to do it.
    pub agent: Arc<str>,
    /// What they need of a worker besides.
    pub needs: Vec<Constraint>,
    /// The repository it works on.
    pub repository: Arc<str>,
    /// The roadmap's path in the repository.
    pub roadmap_path: String,
    /// Whether results are checked.
    pub verify: bool,
    /// Whether results are integrated.
    pub integrate: bool,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplannable {
    /// There is no such work stream.
    #[error("the roadmap has no work stream {0}")]
    Unknown(StreamId),
    /// A work stream can't be started now.
    #[error("work stream {id} can't be started: {why}")]
    NotAvailable {
        /// Which.
        id: StreamId,
        /// Why, in words for people.
        why: String,
    },
    /// An open run works on it already.
    #[error("work stream {0} is being worked on already")]
    Claimed(StreamId),
    /// Nothing can be started.
    #[error("no work stream is available")]
    Nothing,
}

/// Makes the tasks of a plan. `claimed` says which work streams an open run has.
///
/// # Errors
/// The first reason why what is wanted can't be planned.
pub fn plan(
    roadmap: &Roadmap,
    choice: &Choice,
    common: &Common,
    claimed: impl Fn(&StreamId) -> bool,
) -> Result<Vec<TaskSpec>, Unplannable> {
    let available = || roadmap.available(&claimed).into_iter();
    let chosen: Vec<&WorkStream> = match choice {
        Choice::Next => available().take(1).collect(),
        Choice::Parallel(count) => {
            available().take(usize::try_from(*count).unwrap_or(usize::MAX)).collect()
        }
        Choice::Batch => batch(roadmap, available().collect(), &claimed),
        Choice::Streams(ids) => named(roadmap, ids, &claimed)?,
    };
    if chosen.is_empty() {
        return Err(Unplannable::Nothing);
    }
    Ok(tasks(&chosen, common))
}

/// Everything that is available, then everything that these unblock, and so on.
fn batch<'r>(
    roadmap: &'r Roadmap,
    available: Vec<&'r WorkStream>,
    claimed: &impl Fn(&StreamId) -> bool,
) -> Vec<&'r WorkStream> {
    let mut chosen = available;
    let mut reached: BTreeSet<StreamId> = chosen.iter().map(|stream| stream.id.clone()).collect();
    loop {
        let before = chosen.len();
        for availability in roadmap.availability() {
            let Some(WhyNot::WaitsFor(open)) = &availability.why_not else { continue };
            let stream = &roadmap.streams[availability.position];
            let unblocked = open.iter().all(|id| reached.contains(id));
            if unblocked && !reached.contains(&stream.id) && !claimed(&stream.id) {
                reached.insert(stream.id.clone());
                chosen.push(stream);
            }
        }
        if chosen.len() == before {
            return chosen;
        }
    }
}

fn named<'r>(
    roadmap: &'r Roadmap,
    ids: &[StreamId],
    claimed: &impl Fn(&StreamId) -> bool,
) -> Result<Vec<&'r WorkStream>, Unplannable> {
    let availability = roadmap.availability();
    let mut chosen: Vec<&WorkStream> = Vec::new();
    for id in ids {
        let known = availability.iter().find(|known| roadmap.streams[known.position].id == *id);
        let known = known.ok_or_else(|| Unplannable::Unknown(id.clone()))?;
        if claimed(id) {
            return Err(Unplannable::Claimed(id.clone()));
        }
        let why = match &known.why_not {
            None => None,
            // Whoever names a stream knows that it was begun.
            Some(WhyNot::InProgress { .. }) => None,
            Some(WhyNot::WaitsFor(open)) => {
                let missing: Vec<&str> =
                    open.iter().filter(|id| !ids.contains(id)).map(StreamId::as_str).collect();
                (!missing.is_empty()).then(|| format!("it waits for {}", missing.join(", ")))
            }
            Some(other) => Some(explain(other)),
        };
        if let Some(why) = why {
            return Err(Unplannable::NotAvailable { id: id.clone(), why });
        }
        if !chosen.iter().any(|stream| stream.id == *id) {
            chosen.push(&roadmap.streams[known.position]);
        }
    }
    Ok(chosen)
}

/// Why a work stream can't be started, in words for people.
#[must_use]
pub fn explain(why: &WhyNot) -> String {
    let listed = |ids: &[StreamId]| ids.iter().map(StreamId::as_str).collect::<Vec<_>>().join(", ");
    match why {
        WhyNot::Complete => "it is complete".to_owned(),
        WhyNot::InProgress { assignee: Some(assignee) } => format!("{assignee} works on it"),
        WhyNot::InProgress { assignee: None } => "it is marked as in progress".to_owned(),
        WhyNot::OnHold(words) => format!("the roadmap says: {words}"),
        WhyNot::WaitsFor(ids) => format!("it waits for {}", listed(ids)),
        WhyNot::UnknownDependency(ids) => {
            format!("it depends on {}, which the roadmap doesn't have", listed(ids))
        }
        WhyNot::InCycle => "it depends on itself in a circle".to_owned(),
        WhyNot::DuplicateId => "another work stream has the same id".to_owned(),
    }
}

fn tasks(chosen: &[&WorkStream], common: &Common) -> Vec<TaskSpec> {
    let positions: BTreeMap<&StreamId, u32> =
        (0u32..).zip(chosen).map(|(position, stream)| (&stream.id, position)).collect();
    (0i32..)
        .zip(chosen)
        .map(|(rank, stream)| TaskSpec {
            key: stream.id.to_string(),
            title: stream.name.clone(),
            prompt: prompt::of_work_stream(stream, &common.roadmap_path),
            agent: Arc::clone(&common.agent),
            needs: common.needs.clone(),
            repository: Arc::clone(&common.repository),
            depends_on: stream
                .depends_on
                .iter()
                .filter_map(|id| positions.get(id).copied())
                .collect(),
            priority: -rank,
            integrate: common.integrate,
            verify: common.verify,
        })
        .collect()
}
