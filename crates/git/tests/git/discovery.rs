//! Finding repositories, their problem states, and the user's working copy.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kapelle_git::{Checkout, CommitId, Error, Identity, RefName, Repository, WorkingCopy};

use crate::fixture::{Fixture, agent, git, main_branch, write};

#[tokio::test]
async fn the_version_is_new_enough() {
    assert!(kapelle_git::git_version().await.unwrap().starts_with("2."));
}

#[tokio::test]
async fn problem_states_are_distinct() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["plain", "empty", "bare"] {
        fs::create_dir(at(name)).unwrap();
    }
    git(&at("empty"), &["init", "-q"]);
    git(&at("bare"), &["init", "-q", "--bare"]);

    let missing = Repository::discover(&at("missing")).await;
    assert!(matches!(missing, Err(Error::Io { .. })), "{missing:?}");
    let plain = Repository::discover(&at("plain")).await;
    assert!(matches!(plain, Err(Error::NotARepository { .. })), "{plain:?}");
    for inside in ["bare", "bare/objects", "empty/.git"] {
        let bare = Repository::discover(&at(inside)).await;
        assert!(matches!(bare, Err(Error::BareRepository { .. })), "{inside}: {bare:?}");
    }
    let empty = Repository::discover(&at("empty")).await.unwrap();
    assert!(matches!(empty.head().await, Err(Error::NoCommits)));
}

#[tokio::test]
async fn finds_the_root_and_the_branch_from_below() {
    let fixture = Fixture::with(&[("a/b/file", "x")]).await;
    let found = Repository::discover(&fixture.root.join("a/b")).await.unwrap();
    assert_eq!(found.root(), fixture.root);
    assert_eq!(found.common_dir(), fixture.root.join(".git"));
    assert_eq!(found.current_branch().await.unwrap(), (main_branch(), fixture.head()));

    fixture.git(&["checkout", "-q", "--detach"]);
    let head = fixture.repository.head().await.unwrap();
    assert_eq!((head.branch, &head.commit), (None, &fixture.head()));
    match fixture.repository.current_branch().await {
        Err(Error::DetachedHead { commit }) => assert_eq!(commit, fixture.head()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_identity_is_the_users_or_ours() {
    let fixture = Fixture::with(&[]).await;
    let expected = Identity::new("Una User", "una@example.org").unwrap();
    assert_eq!(fixture.repository.default_identity().await.unwrap(), expected);
    fixture.git(&["config", "user.name", ""]);
    let fallback = fixture.repository.default_identity().await.unwrap();
    assert_eq!(fallback, Identity::fallback());
}

#[tokio::test]
async fn uncommitted_work_is_seen_and_untracked_files_are_not() {
    let fixture = Fixture::with(&[("tracked", "x"), ("größe\nzwei", "x")]).await;
    let state = || fixture.repository.working_copy();
    write(&fixture.root.join("untracked"), "x");
    assert_eq!(state().await.unwrap(), WorkingCopy::Clean);

    write(&fixture.root.join("größe\nzwei"), "y");
    let paths = vec![PathBuf::from("größe\nzwei")];
    assert_eq!(state().await.unwrap(), WorkingCopy::Dirty { paths });
    fixture.git(&["checkout", "-q", "--", "."]);

    fixture.git(&["add", "untracked"]);
    let paths = vec![PathBuf::from("untracked")];
    assert_eq!(state().await.unwrap(), WorkingCopy::Dirty { paths });
    fixture.git(&["commit", "-q", "-m", "tracked now"]);
    assert_eq!(state().await.unwrap(), WorkingCopy::Clean);

    write(&fixture.root.join(".git/MERGE_HEAD"), format!("{}\n", fixture.head()));
    assert_eq!(state().await.unwrap(), WorkingCopy::Busy { operation: "merge" });
}

#[tokio::test]
async fn where_a_branch_is_checked_out() {
    let fixture = Fixture::with(&[("file", "x")]).await;
    let other = fixture.path("other");
    fixture.git(&["branch", "free"]);
    fixture.git(&["worktree", "add", "-q", "-b", "side", other.to_str().unwrap()]);
    let check = async |repository: &Repository, branch: &str, expected: Checkout| {
        let branch = RefName::branch(branch).unwrap();
        let state = repository.branch_checkout_state(&branch).await.unwrap();
        assert_eq!(state, expected, "{branch}");
    };
    let here = Checkout::Here(WorkingCopy::Clean);
    check(&fixture.repository, "main", here.clone()).await;
    check(&fixture.repository, "free", Checkout::Nowhere).await;
    check(&fixture.repository, "side", Checkout::Elsewhere { path: other.clone() }).await;

    let linked = Repository::discover(&other).await.unwrap();
    check(&linked, "side", here).await;
    check(&linked, "main", Checkout::Elsewhere { path: fixture.root.clone() }).await;
}

#[tokio::test]
async fn own_references_are_made_and_deleted_once() {
    let fixture = Fixture::with(&[("file", "1")]).await;
    let old = fixture.head();
    let new = fixture.commit(&[("file", "2")], "second");
    let name = RefName::attempt("e", "r1", "t1", "1").unwrap();
    let repository = &fixture.repository;
    for _ in 0..2 {
        repository.create_ref(&name, &old).await.unwrap();
    }
    assert_eq!(repository.attempt_refs("e").await.unwrap(), [(name.clone(), old.clone())]);
    match repository.create_ref(&name, &new).await {
        Err(Error::RefMoved { actual: Some(actual), .. }) => assert_eq!(actual, old),
        other => panic!("{other:?}"),
    }
    let wrong = repository.delete_ref(&name, &new).await;
    assert!(matches!(wrong, Err(Error::RefMoved { .. })), "{wrong:?}");
    for _ in 0..2 {
        repository.delete_ref(&name, &old).await.unwrap();
    }
    assert_eq!(repository.attempt_refs("e").await.unwrap(), []);
    let users = repository.create_ref(&main_branch(), &new).await;
    assert!(matches!(users, Err(Error::InvalidName { .. })), "{users:?}");
}

#[tokio::test]
async fn a_branch_of_ours_never_takes_a_name_that_somebody_has() {
    let fixture = Fixture::with(&[("file", "1")]).await;
    let (repository, head) = (&fixture.repository, fixture.head());
    let made = async || repository.create_free_branch("r-1", &head).await.unwrap();
    assert_eq!(made().await.short(), "kapelle/r-1");
    // Also where it is at that very commit.
    assert_eq!(made().await.short(), "kapelle/r-1-2");
    fixture.git(&["branch", "kapelle/r-1-3/below"]);
    assert_eq!(made().await.short(), "kapelle/r-1-4");
    for branch in ["kapelle/r-1", "kapelle/r-1-2", "kapelle/r-1-3/below", "kapelle/r-1-4"] {
        fixture.git(&["branch", "--quiet", "-D", branch]);
    }
    fixture.git(&["branch", "kapelle"]);
    assert_eq!(made().await.short(), "kapelle-runs/r-1");
    assert!(RefName::branch("kapelle-runs/r-1").unwrap().is_own());
    fixture.git(&["branch", "--quiet", "-D", "kapelle-runs/r-1"]);
    fixture.git(&["branch", "kapelle-runs"]);
    let blocked = repository.create_free_branch("r-1", &head).await.unwrap_err();
    assert!(
        blocked.to_string().contains("git branch -m kapelle-runs kapelle-runs-old"),
        "{blocked}"
    );
}

#[tokio::test]
async fn a_lock_that_a_dead_git_left_is_removed() {
    let fixture = Fixture::with(&[("file", "1")]).await;
    let name = RefName::own_branch("run-1").unwrap();
    fixture.repository.create_ref(&name, &fixture.head()).await.unwrap();
    let lock = fixture.root.join(".git").join(format!("{name}.lock"));
    fs::write(&lock, "").unwrap();
    fixture.repository.clear_stale_ref_locks(std::slice::from_ref(&name)).await.unwrap();
    assert!(!lock.exists());
    fixture.repository.delete_ref(&name, &fixture.head()).await.unwrap();
}

#[tokio::test]
async fn locks_on_references_to_results_do_not_outlive_their_coordinator() {
    let fixture = Fixture::with(&[("file", "1")]).await;
    let (repository, head) = (&fixture.repository, fixture.head());
    let ours = RefName::attempt("e", "r-1", "t1", "1").unwrap();
    let anothers = RefName::attempt("f", "r-1", "t1", "1").unwrap();
    let lock = |name: &RefName| fixture.root.join(".git").join(format!("{name}.lock"));
    for name in [&ours, &anothers] {
        fs::create_dir_all(lock(name).parent().unwrap()).unwrap();
        fs::write(lock(name), "").unwrap();
    }
    repository.create_ref(&ours, &head).await.unwrap_err();
    repository.clear_attempt_locks("e").await.unwrap();
    repository.create_ref(&ours, &head).await.unwrap();
    assert!(lock(&anothers).exists(), "another coordinator's");
    repository.clear_attempt_locks("none").await.unwrap();
}

#[tokio::test]
async fn private_clones_are_exact_and_their_own() {
    let attributes = "* text=auto eol=crlf\n*.lfs filter=lfs\n";
    let fixture = Fixture::with(&[
        ("unix", "a\nb\n"),
        ("sub/run.sh", "#!/bin/sh\n"),
        ("x.lfs", "pointer\n"),
        (".gitattributes", attributes),
    ])
    .await;
    std::os::unix::fs::symlink("unix", fixture.root.join("link")).unwrap();
    fixture.git(&["update-index", "--chmod=+x", "sub/run.sh"]);
    fixture.git(&["add", "link"]);
    fixture.git(&["commit", "-q", "-m", "modes"]);
    let base = fixture.head();
    let workspace = fixture.workspace().await;
    assert_eq!(fs::read(workspace.tree.join("unix")).unwrap(), b"a\nb\n");
    assert_eq!(fs::read_link(workspace.tree.join("link")).unwrap(), PathBuf::from("unix"));
    let agent_git = |arguments: &[&str]| git(&workspace.tree, arguments);
    assert_eq!(agent_git(&["status", "--porcelain"]), "");
    assert_eq!(agent_git(&["remote"]), "");
    assert_eq!(agent_git(&["branch", "--show-current"]), "kapelle/work");
    write(&workspace.tree.join("new"), "x");
    agent_git(&["add", "-A"]);
    agent_git(&["commit", "-q", "-m", "mine"]);
    assert_eq!(agent_git(&["log", "-1", "--format=%an %ae"]), "Agent \"7\" \\o/ agent@example.org");
    assert_eq!(fixture.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(fixture.head(), base);

    let check = fixture.path("check");
    let verified = fixture.repository.checkout_for_verification(&base, &check).await.unwrap();
    assert_eq!(fs::read(verified.tree.join("x.lfs")).unwrap(), b"pointer\n");
    let unknown = CommitId::new("1".repeat(40)).unwrap();
    let result = fixture.repository.checkout_for_verification(&unknown, &fixture.path("no")).await;
    assert!(matches!(result, Err(Error::UnknownCommit { .. })), "{result:?}");
    let again = fixture.repository.checkout_for_verification(&base, &check).await;
    assert!(matches!(again, Err(Error::Io { .. })), "{again:?}");
}

/// A clone inside of the user's working copy, as the agent's is.
#[tokio::test]
async fn a_clone_without_its_git_does_not_lead_to_the_users() {
    let fixture = Fixture::with(&[("file", "1\n")]).await;
    let places = fixture.root.join(".kapelle");
    fs::create_dir(&places).unwrap();
    let base = fixture.head();
    let workspace = fixture.repository.private_clone(&base, &places.join("w"), &agent()).await;
    let workspace = workspace.unwrap();
    let below = workspace.tree.join("sub");
    fs::create_dir(&below).unwrap();
    let finds = |environment: &BTreeMap<OsString, OsString>| {
        let asked = Command::new("git")
            .args(["rev-parse", "--show-toplevel"])
            .current_dir(&below)
            .envs(environment)
            .output()
            .unwrap();
        let (out, error) = (asked.stdout, String::from_utf8_lossy(&asked.stderr).into_owned());
        if asked.status.success() { Ok(String::from_utf8(out).unwrap()) } else { Err(error) }
    };
    let mut misled = BTreeMap::new();
    misled.insert("GIT_DIR".into(), fixture.root.join(".git").into_os_string());
    misled.insert("GIT_CEILING_DIRECTORIES".into(), "/somewhere".into());
    kapelle_git::confine(&mut misled, &workspace.tree);
    assert_eq!(misled.len(), 1, "{misled:?}");
    let own = format!("{}\n", workspace.tree.display());
    assert_eq!((finds(&misled), finds(&BTreeMap::new())), (Ok(own.clone()), Ok(own)));

    fs::remove_file(workspace.tree.join(".git")).unwrap();
    let gone = finds(&BTreeMap::new()).unwrap_err();
    assert!(gone.contains("the .git of this clone is gone"), "{gone}");
    fs::remove_file(workspace.directory.join(".git")).unwrap();
    let users = format!("{}\n", fixture.root.display());
    assert_eq!(finds(&BTreeMap::new()), Ok(users), "or else this tests nothing");
    assert!(finds(&misled).unwrap_err().contains("not a git repository"));
}
