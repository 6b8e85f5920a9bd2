//! Giving an agent's tree a repository again, for the check commands that run there
//! next. What the agent left as its repository is neither read nor followed.

use std::fs;
use std::io;

use super::{AgentCommit, Snapshot};
use crate::command::{Git, blocking};
use crate::git_dir::GitDir;
use crate::workspace::{WORK_BRANCH, point};
use crate::{Error, RefName, Repository, Workspace};

const MENDING: &str = "restoring the repository of a clone at";

impl Repository {
    /// Where an agent has removed or replaced the repository of its clone: makes a
    /// new one that has the snapshot's commit checked out, so that commands in the
    /// tree find that one and never another. What the agent had put in the place of
    /// `.git` is moved out of the tree. True when it had to be done.
    ///
    /// # Errors
    /// Whatever keeps us from writing beside the tree.
    pub async fn mend_clone(
        &self,
        workspace: &Workspace,
        snapshot: &Snapshot,
    ) -> Result<bool, Error> {
        match snapshot.agent_committed {
            AgentCommit::Clean | AgentCommit::Uncommitted { .. } | AgentCommit::AtWork => {
                return Ok(false);
            }
            AgentCommit::Missing => {}
        }
        let mended = workspace.directory.join("mended");
        let (repository, workspace, git_dir) = (self.clone(), workspace.clone(), mended.clone());
        let (commit, result) = (snapshot.commit.clone(), snapshot.repository.join("objects"));
        blocking(MENDING, move || {
            let (left, aside) = (workspace.tree.join(".git"), workspace.directory.join("left.git"));
            match fs::rename(&left, &aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(MENDING, &left, error));
                }
                Ok(()) | Err(_) => {}
            }
            GitDir {
                format: repository.format,
                bare: false,
                identity: None,
                alternates: &[&result, &repository.objects()],
                head: (&RefName::new(WORK_BRANCH)?, Some(&commit)),
                shallow: Some(&repository.common_dir.join("shallow")),
            }
            .create(&git_dir)?;
            point(&workspace.tree, &git_dir)
        })
        .await?;
        // Only the index: the files are there.
        Git::isolated(MENDING, &mended)?
            .args(["read-tree", snapshot.commit.as_str()])
            .output()
            .await?;
        Ok(true)
    }
}
