//! A throw-away repository, and the plain git that its user would run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kapelle_git::{
    CommitId, Error, Identity, Limits, NewCommit, RefName, Repository, Snapshot, Workspace,
};

pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) repository: Repository,
}

impl Fixture {
    /// A repository with these files in its first commit, on the branch `main`.
    pub(crate) async fn with(files: &[(&str, &str)]) -> Self {
        Self::with_format("sha1", files).await
    }

    pub(crate) async fn with_format(format: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap().join("project");
        fs::create_dir(&root).unwrap();
        git(&root, &["init", "-q", "-b", "main", "--object-format", format]);
        git(&root, &["config", "user.name", "Una User"]);
        git(&root, &["config", "user.email", "una@example.org"]);
        for (path, content) in files {
            write(&root.join(path), content);
        }
        git(&root, &["add", "-A", "-f"]);
        git(&root, &["commit", "-q", "--allow-empty", "-m", "start"]);
        let repository = Repository::discover(&root).await.unwrap();
        Self { directory, root, repository }
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.root, arguments)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn head(&self) -> CommitId {
        CommitId::new(self.git(&["rev-parse", "HEAD"])).unwrap()
    }

    pub(crate) fn tree_of(&self, commit: &CommitId) -> String {
        self.git(&["rev-parse", &format!("{commit}^{{tree}}")])
    }

    /// Commits the files as they are in the working copy.
    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> CommitId {
        for (path, content) in files {
            write(&self.root.join(path), content);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    pub(crate) async fn clone_at(&self, name: &str, base: &CommitId) -> Workspace {
        self.repository.private_clone(base, &self.path(name), &agent()).await.unwrap()
    }

    pub(crate) async fn workspace(&self) -> Workspace {
        self.clone_at("attempt", &self.head()).await
    }

    pub(crate) async fn snapshot(&self, workspace: &Workspace) -> Snapshot {
        self.try_snapshot(workspace, &Limits::default()).await.unwrap()
    }

    pub(crate) async fn try_snapshot(
        &self,
        workspace: &Workspace,
        limits: &Limits,
    ) -> Result<Snapshot, Error> {
        self.repository.snapshot(workspace, limits, &message("agent: work")).await
    }

    /// What one agent makes of `base`, as a commit of this repository.
    pub(crate) async fn result(
        &self,
        name: &str,
        base: &CommitId,
        work: impl FnOnce(&Path),
    ) -> CommitId {
        let workspace = self.clone_at(name, base).await;
        work(&workspace.tree);
        let snapshot = self.snapshot(&workspace).await;
        let bundle = self.path(&format!("{name}.bundle"));
        snapshot.bundle(&bundle).await.unwrap();
        let reference = RefName::attempt("e", "run", name, "1").unwrap();
        self.repository.import_bundle(&bundle, base, &reference, 1 << 20).await.unwrap()
    }
}

pub(crate) fn agent() -> Identity {
    Identity::new("Agent \"7\" \\o/", "agent@example.org").unwrap()
}

pub(crate) fn message(text: &str) -> NewCommit {
    NewCommit { message: text.to_owned(), identity: agent(), seconds: 1_700_000_000 }
}

pub(crate) fn main_branch() -> RefName {
    RefName::branch("main").unwrap()
}

pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "core.quotePath=false", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
