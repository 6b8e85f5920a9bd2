//! What is decided together and not yet committed.

use std::collections::BTreeSet;
use std::sync::Arc;

use kapelle_bus::{Refusal, Reply};
use kapelle_domain::engine::{Defect, Effect, World};
use kapelle_domain::event::{Event, Recorded, TaskEvent};
use kapelle_domain::ids::{RunId, TaskId};
use kapelle_store::{Batch, ChangedTask};
use tokio::sync::oneshot;

/// A look at the memory between two batches.
pub(super) type Read = Box<dyn FnOnce(&World) + Send>;

/// Decisions of one turn of the loop, before their commit.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) events: Vec<Recorded>,
    pub(super) effects: Vec<Effect>,
    pub(super) replies: Vec<(oneshot::Sender<Reply>, Reply)>,
    pub(super) reads: Vec<Read>,
    pub(super) defect: Option<Defect>,
}

impl Pending {
    /// Tells everybody who waits that nothing was recorded.
    pub(super) fn refuse(self, reason: &str) {
        for (reply, _) in self.replies {
            // Whoever asked may be gone.
            drop(reply.send(Err(Refusal::Unavailable { reason: reason.to_owned() })));
        }
    }
}

/// The events with the final state of everything that they changed: one write for each run and
/// task, however often it changed within the batch.
pub(super) fn of(world: &World, events: Vec<Recorded>) -> Batch {
    let mut runs: BTreeSet<RunId> = BTreeSet::new();
    let mut tasks: BTreeSet<TaskId> = BTreeSet::new();
    let mut added: BTreeSet<TaskId> = BTreeSet::new();
    for recorded in &events {
        match &recorded.event {
            Event::Run { run, .. } => drop(runs.insert(*run)),
            Event::Task { task, event } => {
                tasks.insert(*task);
                if matches!(event, TaskEvent::Submitted { .. }) {
                    added.insert(*task);
                }
            }
            Event::Worker { .. } => {}
        }
    }
    let runs = runs.into_iter().filter_map(|id| Some((id, world.run(id)?.record.clone())));
    let tasks = tasks.into_iter().filter_map(|id| {
        let task = world.task(id)?;
        let spec = added.contains(&id).then(|| Arc::clone(&task.spec));
        Some(ChangedTask { id, spec, record: task.record.clone() })
    });
    Batch { runs: runs.collect(), tasks: tasks.collect(), events, ..Batch::default() }
}
