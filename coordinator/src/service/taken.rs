//! Work streams that must not be started although the roadmap offers them: those that an open run
//! has, and those that are done on a branch which isn't merged yet.
//!
//! What is done where is read from git, from the trailers of the commits that integrated it. So it
//! stays true whatever people do to branches: merge, rebase, delete.

use std::collections::BTreeMap;

use kapelle_domain::roadmap::{Roadmap, StreamId};
use kapelle_domain::selection::{self, Taken, TakenStreams};
use kapelle_git::{Error as GitError, RefName};

use super::{Error, Service, show, wanted_target};
use crate::integrate;

/// Which work streams are done on which branch that the one that is checked out lacks.
pub(super) type Unmerged = BTreeMap<StreamId, String>;

impl Service {
    /// What is taken: `unmerged`, and what open runs have.
    pub(super) async fn taken(&self, unmerged: Unmerged) -> Result<TakenStreams, Error> {
        let mut taken: TakenStreams =
            unmerged.into_iter().map(|(id, branch)| (id, Taken::Unmerged(branch))).collect();
        taken.extend(self.claimed().await?.into_iter().map(|(id, task)| (id, Taken::By(task))));
        Ok(taken)
    }

    /// What is done on branches that are not merged: those of runs, and the configured target.
    pub(super) async fn unmerged(&self, roadmap: Option<&Roadmap>) -> Result<Unmerged, Error> {
        let repository = &self.0.project.repository;
        let head = match repository.head().await {
            Ok(head) => head.commit,
            Err(GitError::NoCommits) => return Ok(Unmerged::new()),
            Err(error) => return Err(error.into()),
        };
        let mut branches = repository.unmerged_own_branches(&head).await?;
        if let Some(name) = wanted_target(&self.0.project.config) {
            let name = RefName::branch(name)?;
            let at = repository.resolve(&name).await?;
            branches.extend(at.map(|commit| (name, commit)));
        }
        let mut done = Vec::new();
        for (branch, at) in branches {
            let keys = repository.trailer_values(integrate::TASK_TRAILER, &head, &at).await?;
            // A task that is no work stream of a roadmap has nothing to be taken.
            let ids = keys.iter().filter_map(|key| key.parse().ok());
            done.extend(ids.map(|id| (id, branch.short().to_owned())));
        }
        Ok(match roadmap {
            Some(roadmap) => selection::unmerged(roadmap, done),
            None => done.into_iter().collect(),
        })
    }

    /// The same when the roadmap doesn't matter otherwise.
    pub(super) async fn unmerged_at_hand(&self) -> Result<Unmerged, Error> {
        let roadmap = self.0.project.roadmap().await.ok();
        self.unmerged(roadmap.as_ref().map(|(_, roadmap)| roadmap)).await
    }

    /// The work streams that open runs have, with the task that has each.
    async fn claimed(&self) -> Result<BTreeMap<StreamId, String>, Error> {
        let claimed = self.0.engine.read(|world| {
            let open = world.runs().filter(|run| !run.is_finished()).flat_map(|run| &run.tasks);
            let unfinished = open.filter(|task| !task.record.state.is_ended());
            unfinished
                .filter_map(|task| {
                    let id = task.spec.key.parse().ok()?;
                    Some((id, show::name(task.id, &task.spec)))
                })
                .collect()
        });
        Ok(claimed.await?)
    }
}

/// The command that takes in what is done on `branch`.
pub(super) fn merge_command(branch: &str) -> String {
    format!("git merge {branch}")
}

/// That something is done on `branch`, and what to do about it.
pub(super) fn in_words(branch: &str) -> String {
    format!("{}: {}", selection::unmerged_in(branch), merge_command(branch))
}
