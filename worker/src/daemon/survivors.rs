//! Agents that have outlived the process that started them, and are gone on with by this one.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use kapelle_bus::WorkerEnd;
use kapelle_domain::engine::{Grant, HeldVerdict, Verdict};
use kapelle_domain::ids::Timestamp;
use kapelle_domain::worker::Held;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Session, ending};
use crate::attempt::{self, Workshop, slug};
use crate::process::keeper;
use crate::spool::attempt::{AttemptSpool, Found, directories, take_over};

/// An agent that is still at work.
pub(super) struct Survivor {
    spool: AttemptSpool,
    grant: Grant,
    keeper: UnixStream,
}

impl Survivor {
    pub(super) fn held(&self) -> Held {
        self.spool.owner().held()
    }
}

/// What earlier processes have left in `root`: what is over, and the agents that are still at work.
/// Blocks on the disk.
pub(super) fn find(root: &Path, quota: u64, now: Timestamp) -> (Vec<Found>, Vec<Survivor>) {
    let living = |directory: std::path::PathBuf| {
        let keeper = keeper::connect(&directory)?;
        Some((directory, keeper))
    };
    let mut keepers: BTreeMap<_, _> = directories(root).into_iter().filter_map(living).collect();
    let taken = take_over(root, quota, now, |directory| keepers.contains_key(directory));
    let (mut over, mut survivors) = (Vec::new(), Vec::new());
    for Found { spool, report, at_work } in taken {
        match at_work.zip(keepers.remove(spool.directory())) {
            Some((grant, keeper)) => survivors.push(Survivor { spool, grant, keeper }),
            None => over.push(Found { spool, report, at_work: None }),
        }
    }
    (over, survivors)
}

/// The marks of the processes that are still at work for attempts in `root`, where `marker` begins
/// those of all attempts: whoever ends strays has to spare them.
#[must_use]
pub fn marks(root: &Path, marker: &str) -> Vec<String> {
    let at_work = directories(root).into_iter().filter(|at| keeper::connect(at).is_some());
    let owners = at_work.filter_map(|at| crate::spool::attempt::owner(&at));
    owners.map(|owner| format!("{marker}{}", slug(owner.attempt))).collect()
}

/// What is to become of a survivor.
pub(super) fn verdict(survivor: &Survivor, verdicts: &[HeldVerdict]) -> Verdict {
    let attempt = survivor.held().attempt;
    let its = verdicts.iter().find(|held| held.attempt == attempt);
    its.map_or(Verdict::Fenced, |held| held.verdict)
}

/// Goes on with an agent to its end, or ends it when it is somebody else's by now.
pub(super) async fn go_on<B: WorkerEnd>(
    session: Arc<Session<B>>,
    survivor: Survivor,
    verdict: Verdict,
    workshop: Arc<Workshop>,
    stop: CancellationToken,
    slot: Option<OwnedSemaphorePermit>,
) {
    let Survivor { spool, grant, keeper } = survivor;
    let Held { attempt, fence } = spool.owner().held();
    tracing::info!(%attempt, ?verdict, "an agent has outlived its worker");
    let (holder, orders) = session.hold(attempt, fence, grant.lost_after, stop);
    match verdict {
        Verdict::Keep => {}
        Verdict::Look => orders.look.notify_one(),
        Verdict::Fenced => orders.fenced.cancel(),
    }
    let survivor = (spool, keeper);
    let made = attempt::adopt(&session.bus, &holder, &grant, &workshop, &orders, survivor).await;
    ending::conclude(&session, holder, made, slot).await;
}
