//! Where results go: the branch that is checked out while its working copy is clean, else a
//! branch of the run's own.

use kapelle_git::{Checkout, CommitId, Error, RefName, Repository, WorkingCopy};

use crate::project::Project;
use crate::service::wanted_target;

/// Where the results of a run are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The branch's short name.
    pub branch: String,
    /// The commit that work starts from.
    pub head: CommitId,
    /// Why the branch can't be it, so that the run needs one of its own.
    pub instead: Option<String>,
}

/// Chooses the target of a new run.
///
/// # Errors
/// When the repository has no commit, or the configured branch doesn't exist.
pub async fn choose(project: &Project) -> Result<Chosen, Error> {
    let repository = &project.repository;
    let head = repository.head().await?;
    let branch = match (wanted_target(&project.config), &head.branch) {
        (Some(name), _) => RefName::branch(name)?,
        (None, Some(branch)) => branch.clone(),
        (None, None) => {
            return Ok(Chosen {
                branch: "HEAD".to_owned(),
                head: head.commit,
                instead: Some("no branch is checked out (HEAD is detached)".to_owned()),
            });
        }
    };
    let at = repository.resolve(&branch).await?;
    let at = at.ok_or_else(|| Error::UnknownCommit { commit: branch.short().to_owned() })?;
    let instead = obstacle(repository, &branch).await?;
    Ok(Chosen { branch: branch.short().to_owned(), head: at, instead })
}

/// Why `branch` can't be moved now; `None` when it can.
///
/// # Errors
/// Whatever keeps git from looking.
pub async fn obstacle(repository: &Repository, branch: &RefName) -> Result<Option<String>, Error> {
    Ok(match repository.branch_checkout_state(branch).await? {
        Checkout::Nowhere | Checkout::Here(WorkingCopy::Clean) => None,
        Checkout::Here(WorkingCopy::Dirty { paths }) => {
            let named: Vec<String> =
                paths.iter().take(3).map(|path| path.display().to_string()).collect();
            let more = if paths.len() > named.len() { " and others" } else { "" };
            Some(format!("the working copy has uncommitted changes in {}{more}", named.join(", ")))
        }
        Checkout::Here(WorkingCopy::Busy { operation }) => {
            Some(format!("a {operation} is in progress in the working copy"))
        }
        Checkout::Elsewhere { path } => {
            Some(format!("{} is checked out in {}", branch.short(), path.display()))
        }
    })
}
