//! From a roadmap to a plan: which of its work streams become tasks, and in which order.
//!
//! What a task then needs beyond the roadmap (an agent, a target) is the caller's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::placement::Constraint;
use crate::plan::TaskSpec;
use crate::prompt;
use crate::roadmap::{Roadmap, Status, StreamId, WhyNot, WorkStream};

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
    Batch {
        /// But not these, nor what only they would unblock.
        exclude: Vec<StreamId>,
    },
}

/// What every task of the plan has in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// The agent that is to do it.
    pub agent: Arc<str>,
    /// What all of them need of a worker besides.
    pub needs: Vec<Constraint>,
    /// What some of them need.
    pub needs_of: Vec<NeedsOf>,
    /// The repository it works on.
    pub repository: Arc<str>,
    /// The roadmap's path in the repository.
    pub roadmap_path: String,
    /// Whether results are checked.
    pub verify: bool,
    /// Whether results are integrated.
    pub integrate: bool,
}

/// What the work streams that a pattern fits need of a worker.
#[derive(Debug, Clone)]
pub struct NeedsOf {
    /// The id of a work stream, or the beginning of ids with `*` behind it.
    pub pattern: String,
    /// What they need.
    pub needs: Vec<Constraint>,
}

impl NeedsOf {
    fn fits(&self, id: &StreamId) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(beginning) => id.as_str().starts_with(beginning),
            None => id.as_str() == self.pattern,
        }
    }
}

/// What keeps a work stream from being started although the roadmap at hand doesn't say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// This task of an open run works on it.
    By(String),
    /// It is done on this branch, which is not merged into the one that is checked out.
    Unmerged(String),
}

/// The work streams that are taken.
pub type TakenStreams = BTreeMap<StreamId, Taken>;

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
    /// It is done on a branch that is not merged yet.
    #[error("work stream {id} is {}", unmerged_in(branch))]
    Unmerged {
        /// Which.
        id: StreamId,
        /// Where it is done.
        branch: String,
    },
    /// Nothing can be started.
    #[error("no work stream is available{}", and_unmerged(unmerged))]
    Nothing {
        /// What could be started if it weren't done on these branches already.
        unmerged: BTreeMap<String, Vec<StreamId>>,
    },
}

/// Makes the tasks of a plan, of what nobody has taken.
///
/// # Errors
/// The first reason why what is wanted can't be planned.
pub fn plan(
    roadmap: &Roadmap,
    choice: &Choice,
    common: &Common,
    taken: &TakenStreams,
) -> Result<Vec<TaskSpec>, Unplannable> {
    let available = || roadmap.available(|id| taken.contains_key(id)).into_iter();
    let chosen: Vec<&WorkStream> = match choice {
        Choice::Next => available().take(1).collect(),
        Choice::Parallel(count) => {
            available().take(usize::try_from(*count).unwrap_or(usize::MAX)).collect()
        }
        Choice::Batch { exclude } => batch(roadmap, exclude, taken)?,
        Choice::Streams(ids) => named(roadmap, ids, taken)?,
    };
    if chosen.is_empty() {
        return Err(Unplannable::Nothing { unmerged: left_out(roadmap, taken) });
    }
    Ok(tasks(&chosen, common))
}

/// Of what is done on unmerged branches, that which the roadmap at hand doesn't call complete. What
/// it does call complete has come here by another way than a merge.
pub fn unmerged(
    roadmap: &Roadmap,
    done: impl IntoIterator<Item = (StreamId, String)>,
) -> BTreeMap<StreamId, String> {
    let complete = |id: &StreamId| {
        let mut same = roadmap.streams.iter().filter(|stream| stream.id == *id);
        same.any(|stream| stream.status == Status::Complete)
    };
    done.into_iter().filter(|(id, _)| !complete(id)).collect()
}

/// What the roadmap alone would offer, but is done on a branch that is not merged yet; by branch.
#[must_use]
pub fn left_out(roadmap: &Roadmap, taken: &TakenStreams) -> BTreeMap<String, Vec<StreamId>> {
    let mut left_out: BTreeMap<String, Vec<StreamId>> = BTreeMap::new();
    for stream in roadmap.available(|_| false) {
        if let Some(Taken::Unmerged(branch)) = taken.get(&stream.id) {
            left_out.entry(branch.clone()).or_default().push(stream.id.clone());
        }
    }
    left_out
}

/// That something is done, but not here, in words for people.
#[must_use]
pub fn unmerged_in(branch: &str) -> String {
    format!("done in {branch}, not merged yet")
}

fn and_unmerged(unmerged: &BTreeMap<String, Vec<StreamId>>) -> String {
    let one = |(branch, ids): (&String, &Vec<StreamId>)| {
        format!("; {}: {}", listed(ids), unmerged_in(branch))
    };
    unmerged.iter().map(one).collect()
}

/// Everything that is available, then everything that these unblock, and so on.
fn batch<'r>(
    roadmap: &'r Roadmap,
    exclude: &[StreamId],
    taken: &TakenStreams,
) -> Result<Vec<&'r WorkStream>, Unplannable> {
    // Leaving out what isn't there may be a slip of the pen: what was meant would be started.
    if let Some(unknown) = exclude.iter().find(|id| roadmap.stream(id).is_none()) {
        return Err(Unplannable::Unknown(unknown.clone()));
    }
    let barred = |id: &StreamId| exclude.contains(id) || taken.contains_key(id);
    let mut chosen = roadmap.available(barred);
    let mut reached: BTreeSet<StreamId> = chosen.iter().map(|stream| stream.id.clone()).collect();
    loop {
        let before = chosen.len();
        for availability in roadmap.availability() {
            let Some(WhyNot::WaitsFor(open)) = &availability.why_not else { continue };
            let stream = &roadmap.streams[availability.position];
            let unblocked = open.iter().all(|id| reached.contains(id));
            if unblocked && !reached.contains(&stream.id) && !barred(&stream.id) {
                reached.insert(stream.id.clone());
                chosen.push(stream);
            }
        }
        if chosen.len() == before {
            return Ok(chosen);
        }
    }
}

fn named<'r>(
    roadmap: &'r Roadmap,
    ids: &[StreamId],
    taken: &TakenStreams,
) -> Result<Vec<&'r WorkStream>, Unplannable> {
    let availability = roadmap.availability();
    let mut chosen: Vec<&WorkStream> = Vec::new();
    for id in ids {
        let known = availability.iter().find(|known| roadmap.streams[known.position].id == *id);
        let known = known.ok_or_else(|| Unplannable::Unknown(id.clone()))?;
        match taken.get(id) {
            None => {}
            Some(Taken::By(_)) => return Err(Unplannable::Claimed(id.clone())),
            Some(Taken::Unmerged(branch)) => {
                return Err(Unplannable::Unmerged { id: id.clone(), branch: branch.clone() });
            }
        }
        let why = match &known.why_not {
            None => None,
            // Whoever names a stream knows that it was begun.
            Some(WhyNot::InProgress { .. }) => None,
            Some(WhyNot::WaitsFor(open)) => {
                let missing: Vec<StreamId> =
                    open.iter().filter(|id| !ids.contains(id)).cloned().collect();
                (!missing.is_empty()).then(|| explain(&WhyNot::WaitsFor(missing), taken))
            }
            Some(other) => Some(explain(other, taken)),
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
pub fn explain(why: &WhyNot, taken: &TakenStreams) -> String {
    match why {
        WhyNot::Complete => "it is complete".to_owned(),
        WhyNot::InProgress { assignee: Some(assignee) } => format!("{assignee} works on it"),
        WhyNot::InProgress { assignee: None } => "it is marked as in progress".to_owned(),
        WhyNot::OnHold(words) => format!("the roadmap says: {words}"),
        WhyNot::WaitsFor(ids) => {
            let one = |id: &StreamId| match taken.get(id) {
                Some(Taken::Unmerged(branch)) => format!("{id} ({})", unmerged_in(branch)),
                Some(Taken::By(_)) | None => id.to_string(),
            };
            format!("it waits for {}", ids.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        WhyNot::UnknownDependency(ids) => {
            format!("it depends on {}, which the roadmap doesn't have", listed(ids))
        }
        WhyNot::InCycle => "it depends on itself in a circle".to_owned(),
        WhyNot::DuplicateId => "another work stream has the same id".to_owned(),
    }
}

fn listed(ids: &[StreamId]) -> String {
    ids.iter().map(StreamId::as_str).collect::<Vec<_>>().join(", ")
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
            needs: needs_of(&stream.id, common),
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

/// Each constraint once: the same ones make the same class.
fn needs_of(id: &StreamId, common: &Common) -> Vec<Constraint> {
    let own = common.needs_of.iter().filter(|rule| rule.fits(id)).flat_map(|rule| &rule.needs);
    let all: BTreeSet<&Constraint> = common.needs.iter().chain(own).collect();
    all.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROADMAP: &str = "\
# Plan

### Phase 1.1: One
- **Status:** ⚪ Not Started

### Phase 1.2: Two
- **Status:** ⚪ Not Started
- **Depends On:** Phase 1.1

### Phase 1.3: Three
- **Status:** ✅ Complete

### Phase 1.4: Four
- **Status:** ⚪ Not Started
";

    fn id(text: &str) -> StreamId {
        text.parse().expect("an id")
    }

    fn common() -> Common {
        Common {
            agent: "a".into(),
            needs: Vec::new(),
            needs_of: Vec::new(),
            repository: "r".into(),
            roadmap_path: "roadmap.md".to_owned(),
            verify: true,
            integrate: true,
        }
    }

    #[test]
    fn a_task_needs_what_all_need_and_what_its_patterns_say() {
        let constraint = |text: &str| text.parse::<Constraint>().expect("a constraint");
        let rule = |pattern: &str, needs: &[&str]| NeedsOf {
            pattern: pattern.to_owned(),
            needs: needs.iter().map(|text| constraint(text)).collect(),
        };
        let common = Common {
            needs: vec![constraint("os=linux")],
            needs_of: vec![
                rule("1.*", &["memory_gb>=16", "os=linux"]),
                rule("1.4", &["gpu"]),
                rule("1", &["tpu"]),
                rule("2.*", &["tpu"]),
            ],
            ..common()
        };
        let batch = Choice::Batch { exclude: Vec::new() };
        let roadmap = Roadmap::parse(ROADMAP.as_bytes());
        let tasks = plan(&roadmap, &batch, &common, &TakenStreams::new()).expect("planned");
        let needs = |key: &str| {
            let task = tasks.iter().find(|task| task.key == key).expect("planned");
            task.needs.iter().map(ToString::to_string).collect::<BTreeSet<_>>()
        };
        let expected = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(needs("1.1"), expected(&["memory_gb>=16", "os=linux"]));
        assert_eq!(needs("1.4"), expected(&["gpu", "memory_gb>=16", "os=linux"]));
    }

    fn planned(choice: &Choice, taken: &TakenStreams) -> Result<Vec<String>, String> {
        let common = common();
        let tasks = plan(&Roadmap::parse(ROADMAP.as_bytes()), choice, &common, taken);
        let keys = |tasks: Vec<TaskSpec>| tasks.into_iter().map(|task| task.key).collect();
        tasks.map(keys).map_err(|error| error.to_string())
    }

    /// 1.1 and 1.3 are done on a branch; the roadmap knows of 1.3.
    fn taken() -> TakenStreams {
        let done = [(id("1.1"), "kapelle/r-1".to_owned()), (id("1.3"), "kapelle/r-1".to_owned())];
        let left = unmerged(&Roadmap::parse(ROADMAP.as_bytes()), done);
        left.into_iter().map(|(id, branch)| (id, Taken::Unmerged(branch))).collect()
    }

    #[test]
    fn what_is_done_on_an_unmerged_branch_is_not_planned_again() {
        let check = |choice: Choice, taken: &TakenStreams, expected: Result<&[&str], &str>| {
            let expected = expected.map(|keys| keys.iter().map(|&key| key.to_owned()).collect());
            let expected = expected.map_err(str::to_owned);
            assert_eq!(planned(&choice, taken), expected, "{choice:?}");
        };
        let named = |ids: &[&str]| Choice::Streams(ids.iter().map(|text| id(text)).collect());
        let batch = || Choice::Batch { exclude: Vec::new() };
        let (none, mut taken) = (TakenStreams::new(), taken());
        assert_eq!(taken.keys().collect::<Vec<_>>(), [&id("1.1")]);
        check(batch(), &none, Ok(&["1.1", "1.4", "1.2"]));
        check(batch(), &taken, Ok(&["1.4"]));
        check(Choice::Next, &taken, Ok(&["1.4"]));
        let done = "work stream 1.1 is done in kapelle/r-1, not merged yet";
        check(named(&["1.1", "1.2"]), &taken, Err(done));
        let waits = "work stream 1.2 can't be started: \
                     it waits for 1.1 (done in kapelle/r-1, not merged yet)";
        check(named(&["1.2"]), &taken, Err(waits));
        taken.insert(id("1.4"), Taken::By("r-2/1.4".to_owned()));
        check(named(&["1.4"]), &taken, Err("work stream 1.4 is being worked on already"));
        let nothing = "no work stream is available; 1.1: done in kapelle/r-1, not merged yet";
        check(batch(), &taken, Err(nothing));
        taken.remove(&id("1.1"));
        check(Choice::Parallel(2), &taken, Ok(&["1.1"]));
    }

    #[test]
    fn a_batch_leaves_out_what_it_is_told_to_and_what_waits_for_that() {
        let batch = |exclude: &[&str]| {
            let exclude = exclude.iter().map(|text| id(text)).collect();
            planned(&Choice::Batch { exclude }, &TakenStreams::new())
        };
        let keys = |keys: &[&str]| Ok(keys.iter().map(|&key| key.to_owned()).collect());
        assert_eq!(batch(&["1.4"]), keys(&["1.1", "1.2"]));
        assert_eq!(batch(&["1.2"]), keys(&["1.1", "1.4"]));
        assert_eq!(batch(&["1.1"]), keys(&["1.4"]));
        assert_eq!(batch(&["1.1", "1.4"]), Err("no work stream is available".to_owned()));
        assert_eq!(batch(&["1.44"]), Err("the roadmap has no work stream 1.44".to_owned()));
    }
}
