//! Identities.

use kapelle_domain::engine::Holder;
use kapelle_domain::ids::{AttemptId, Fence, RunId, SessionEpoch, TaskId, WorkerId};
use kapelle_domain::worker::Held;
use kapelle_proto::v1;

use super::{Malformed, required};

pub(super) fn attempt(id: AttemptId) -> v1::Attempt {
    v1::Attempt { run: id.task.run.0, task: id.task.index, number: id.number }
}

pub(super) fn read_attempt(attempt: Option<v1::Attempt>) -> Result<AttemptId, Malformed> {
    let v1::Attempt { run, task, number } = required("attempt", attempt)?;
    Ok(AttemptId { task: TaskId { run: RunId(run), index: task }, number })
}

pub(super) fn holder(holder: &Holder) -> v1::Holder {
    v1::Holder {
        attempt: Some(attempt(holder.attempt)),
        fence: holder.fence.0,
        worker: holder.worker.0.clone(),
        session: holder.session.0,
    }
}

pub(super) fn read_holder(holder: Option<v1::Holder>) -> Result<Holder, Malformed> {
    let v1::Holder { attempt, fence, worker, session } = required("holder", holder)?;
    Ok(Holder {
        attempt: read_attempt(attempt)?,
        fence: Fence(fence),
        worker: WorkerId(worker),
        session: SessionEpoch(session),
    })
}

pub(super) fn held(held: &[Held]) -> Vec<v1::Held> {
    let one = |held: &Held| v1::Held { attempt: Some(attempt(held.attempt)), fence: held.fence.0 };
    held.iter().map(one).collect()
}

pub(super) fn read_held(held: Vec<v1::Held>) -> Result<Vec<Held>, Malformed> {
    let one = |v1::Held { attempt, fence }| {
        Ok(Held { attempt: read_attempt(attempt)?, fence: Fence(fence) })
    };
    held.into_iter().map(one).collect()
}
