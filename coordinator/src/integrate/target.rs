//! Where results go: the branch that is checked out while its working copy is clean, else a
//! branch of the run's own.

use kapelle_domain::ids::RunId;
use kapelle_git::{Checkout, CommitId, Error, RefName, Repository, WorkingCopy};

use crate::project::Project;
use crate::service::wanted_target;

const NOT_ON_A_BRANCH: &str = "no branch is checked out (HEAD is detached)";

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
                branch: DETACHED.to_owned(),
                head: head.commit,
                instead: Some(NOT_ON_A_BRANCH.to_owned()),
            });
        }
    };
    let at = repository.resolve(&branch).await?;
    let at = at.ok_or_else(|| Error::UnknownCommit { commit: branch.short().to_owned() })?;
    let instead = obstacle(repository, &branch).await?;
    Ok(Chosen { branch: branch.short().to_owned(), head: at, instead })
}

/// Makes a branch of a run's own at `head`. It never is one that was there: where the name of the
/// run is taken, be it by a person or by a run of another database, it gets another one.
///
/// # Errors
/// Whatever keeps git from making one.
pub async fn make_own(
    repository: &Repository,
    run: RunId,
    head: &CommitId,
) -> Result<RefName, Error> {
    repository.create_free_branch(&run.to_string(), head).await
}

/// What stands for the branch of a run that began while none was checked out.
const DETACHED: &str = "HEAD";

/// Why `branch` can't be moved now; `None` when it can.
///
/// # Errors
/// Whatever keeps git from looking.
pub async fn obstacle(repository: &Repository, branch: &RefName) -> Result<Option<String>, Error> {
    if branch.short() == DETACHED {
        return Ok(Some(NOT_ON_A_BRANCH.to_owned()));
    }
    if repository.resolve(branch).await?.is_none() {
        return Ok(Some(format!("the branch {} is gone", branch.short())));
    }
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
