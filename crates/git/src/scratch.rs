//! Repositories that Kapelle makes itself, for demonstrations: made, filled and read back without
//! anybody's personal configuration having a say. Not for anything that an agent or a user wrote.

use std::fs;
use std::path::Path;

use crate::command::Git;
use crate::{CommitId, Error, Identity, RefName, Repository};

const CREATING: &str = "making a repository";
const COMMITTING: &str = "committing files of our own";

impl Repository {
    /// Makes a repository in the directory `root`, which exists and is not one yet, with `branch`
    /// to be born by the first commit. Commits in it are made by `identity`, unsigned and without
    /// conversion of line ends, whatever else the user has configured.
    ///
    /// # Errors
    /// [`Error::GitMissing`], [`Error::InvalidName`] for the branch, [`Error::Io`] when `root`
    /// cannot be written or holds a repository.
    pub async fn create(root: &Path, branch: &str, identity: &Identity) -> Result<Self, Error> {
        RefName::branch(branch)?;
        let root = root.canonicalize().map_err(|e| Error::io(CREATING, root, e))?;
        let git_dir = root.join(".git");
        let git = || Git::isolated(CREATING, &git_dir);
        // Git is looked for before anything is written.
        let init = git()?;
        fs::create_dir(&git_dir).map_err(|e| Error::io(CREATING, &git_dir, e))?;
        // From within its own git directory it would be taken for a bare one.
        let init = init.args(["-C".as_ref(), root.as_os_str()]);
        init.args(["init", "--quiet", "--template=", "--initial-branch", branch]).output().await?;
        for (key, value) in [
            ("user.name", identity.name()),
            ("user.email", identity.email()),
            ("commit.gpgSign", "false"),
            ("tag.gpgSign", "false"),
            ("core.autocrlf", "false"),
        ] {
            git()?.args(["config", key, value]).output().await?;
        }
        Self::discover(&root).await
    }

    /// Commits everything in the working copy that is not ignored, by the identity of the
    /// repository, and gives the new commit.
    ///
    /// # Errors
    /// [`Error::Git`] when there is nothing to commit.
    pub async fn commit_all(&self, message: &str) -> Result<CommitId, Error> {
        let git = || Ok::<_, Error>(self.isolated(COMMITTING)?.work_tree(&self.root));
        let at_root = ["-C".as_ref(), self.root.as_os_str()];
        git()?.args(at_root).args(["add", "--all"]).output().await?;
        let commit = ["commit", "--quiet", "--no-verify", "--message", message];
        git()?.args(at_root).args(commit).output().await?;
        Ok(self.head().await?.commit)
    }

    /// The newest commits of what is checked out, newest first, each with its subject.
    ///
    /// # Errors
    /// [`Error::Git`] when there are none.
    pub async fn newest_commits(&self, limit: u32) -> Result<Vec<(CommitId, String)>, Error> {
        let action = "listing commits";
        let output = self
            .isolated(action)?
            .args(["log", "--no-show-signature", "--format=%H %s"])
            .arg(format!("--max-count={limit}"))
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output);
        let parse = |line: &str| {
            let (id, subject) =
                line.split_once(' ').ok_or_else(|| Error::unexpected_output(action, &output))?;
            Ok((CommitId::new(id)?, subject.to_owned()))
        };
        text.lines().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_repository_of_our_own_is_made_filled_and_read() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::new("Una", "una@example.org").unwrap();
        let repository = Repository::create(directory.path(), "trunk", &identity).await.unwrap();
        assert!(matches!(repository.head().await, Err(Error::NoCommits)));
        fs::create_dir(repository.root().join("sub")).unwrap();
        fs::write(repository.root().join("sub/a"), "1\r\n").unwrap();
        fs::write(repository.root().join(".gitignore"), "secret\n").unwrap();
        fs::write(repository.root().join("secret"), "x").unwrap();
        let first = repository.commit_all("feat: start").await.unwrap();
        assert_eq!(repository.current_branch().await.unwrap().0.as_str(), "refs/heads/trunk");
        let read = |path| repository.read_file(&first, Path::new(path), 100);
        assert_eq!(read("sub/a").await.unwrap().unwrap(), b"1\r\n");
        assert_eq!(read("secret").await.unwrap(), None);
        assert_eq!(repository.default_identity().await.unwrap(), identity);
        assert!(matches!(repository.commit_all("nothing").await, Err(Error::Git { .. })));
        fs::write(repository.root().join("b"), "2").unwrap();
        let second = repository.commit_all("fix: more").await.unwrap();
        let expected = [(second, "fix: more".to_owned()), (first, "feat: start".to_owned())];
        assert_eq!(repository.newest_commits(5).await.unwrap(), expected);
        assert_eq!(repository.newest_commits(1).await.unwrap(), expected[..1]);
    }

    #[tokio::test]
    async fn nothing_is_made_over_a_repository_or_with_a_bad_branch() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::fallback();
        let make = |branch| Repository::create(directory.path(), branch, &identity);
        assert!(matches!(make("--bare").await, Err(Error::InvalidName { .. })));
        assert!(!directory.path().join(".git").exists());
        make("main").await.unwrap();
        assert!(matches!(make("main").await, Err(Error::Io { .. })));
    }
}
