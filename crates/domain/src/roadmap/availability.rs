//! Which work streams may be started, computed from the whole roadmap rather than read off marks.
//!
//! Marks go stale: in real roadmaps most `Blocked` marks stand long after what they waited for is
//! done. So a blocked stream whose dependencies are complete is available, and reported as such.

use super::id::StreamId;
use super::status::Status;
use super::stream::WorkStream;
use super::{Roadmap, Severity};

/// Whether a work stream may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Its position in [`Roadmap::streams`].
    pub position: usize,
    /// Why it may not; `None` when it may.
    pub why_not: Option<WhyNot>,
    /// It is marked blocked, and nothing holds it up.
    pub stale_mark: bool,
}

/// Why a work stream may not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyNot {
    /// It is complete.
    Complete,
    /// Somebody works on it.
    InProgress {
        /// Who, if the roadmap says.
        assignee: Option<String>,
    },
    /// The roadmap forbids it in these words.
    OnHold(String),
    /// These are not complete yet.
    WaitsFor(Vec<StreamId>),
    /// It depends on what no work stream is.
    UnknownDependency(Vec<StreamId>),
    /// It depends on itself, through others or at once.
    InCycle,
    /// Another work stream has its id.
    DuplicateId,
}

impl Roadmap {
    /// What may be started, in the order in which it should be: bootstrap first, then priority,
    /// then by batch and id. Those that may not are at their places in the same order.
    #[must_use]
    pub fn availability(&self) -> Vec<Availability> {
        let mut all: Vec<Availability> = (0..self.streams.len())
            .map(|position| {
                let why_not = self.why_not(position);
                let marked = self.streams[position].status == Status::Blocked;
                Availability { position, stale_mark: marked && why_not.is_none(), why_not }
            })
            .collect();
        all.sort_by(|one, other| {
            let key =
                |availability: &Availability| claim_order(&self.streams[availability.position]);
            key(one).cmp(&key(other)).then(one.position.cmp(&other.position))
        });
        all
    }

    /// The work streams that may be started and that nobody has claimed, in order.
    pub fn available(&self, claimed: impl Fn(&StreamId) -> bool) -> Vec<&WorkStream> {
        self.availability()
            .into_iter()
            .filter(|availability| availability.why_not.is_none())
            .map(|availability| &self.streams[availability.position])
            .filter(|stream| !claimed(&stream.id))
            .collect()
    }

    /// Why the work stream at `position` may not be started.
    fn why_not(&self, position: usize) -> Option<WhyNot> {
        let stream = &self.streams[position];
        if self.relations.positions.get(&stream.id).is_some_and(|all| all.len() > 1) {
            return Some(WhyNot::DuplicateId);
        }
        match stream.status {
            Status::Complete => return Some(WhyNot::Complete),
            Status::InProgress => {
                return Some(WhyNot::InProgress { assignee: stream.assigned_to.clone() });
            }
            Status::NotStarted | Status::Blocked => {}
        }
        if let Some(words) = &stream.on_hold {
            return Some(WhyNot::OnHold(words.clone()));
        }
        if self.relations.circular[position] {
            return Some(WhyNot::InCycle);
        }
        let known = |id: &StreamId| self.relations.positions.contains_key(id);
        let unknown: Vec<StreamId> =
            stream.depends_on.iter().filter(|id| !known(id)).cloned().collect();
        if !unknown.is_empty() {
            return Some(WhyNot::UnknownDependency(unknown));
        }
        let open: Vec<StreamId> = self.relations.needs[position]
            .iter()
            .filter(|need| !self.relations.complete[**need])
            .map(|need| self.streams[*need].id.clone())
            .collect();
        (!open.is_empty()).then_some(WhyNot::WaitsFor(open))
    }

    /// How many diagnostics have at least this severity.
    #[must_use]
    pub fn count_diagnostics(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity <= severity).count()
    }
}

/// How urgent a tag is; less is sooner.
#[must_use]
pub fn urgency(tag: Option<&str>) -> u8 {
    match tag {
        Some("bootstrap") => 0,
        Some("priority") => 1,
        Some(_) | None => 2,
    }
}

fn claim_order(stream: &WorkStream) -> (u8, (bool, Option<u32>, u32), &StreamId) {
    let batch = stream.batch.as_ref().map_or((true, None, u32::MAX), |batch| {
        (batch.number.is_none(), batch.number, batch.position)
    });
    (urgency(stream.tag.as_deref()), batch, &stream.id)
}
