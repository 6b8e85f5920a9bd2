//! Moving the target branch, and recovery from every state a crash can leave.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use kapelle_git::{Advance, Advanced, CommitId, Error, Recovered, RefName, Repository};

use crate::fixture::{Fixture, main_branch, write};

/// A repository at `old`, and a change that holds every kind of difference.
pub(crate) async fn with_change() -> (Fixture, Advance) {
    let fixture = Fixture::with(&[
        ("edit", "old edit\n"),
        ("gone/deep/file", "old gone\n"),
        ("file becomes directory", "old\n"),
        ("directory becomes file/a", "old a\n"),
        ("script", "same\n"),
        ("to link", "old\n"),
        ("unrelated", "unrelated\n"),
        (".gitignore", "ignored*\n"),
    ])
    .await;
    let old = fixture.head();
    let root = &fixture.root;
    for gone in ["gone", "directory becomes file"] {
        fs::remove_dir_all(root.join(gone)).unwrap();
    }
    for gone in ["file becomes directory", "to link"] {
        fs::remove_file(root.join(gone)).unwrap();
    }
    fs::set_permissions(root.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("edit", root.join("to link")).unwrap();
    let large = "new and large\n".repeat(200_000);
    let new = fixture.commit(
        &[
            ("edit", "new edit\n"),
            ("file becomes directory/b", "new b\n"),
            ("directory becomes file", "new\n"),
            ("added/größe\n", "new added\n"),
            ("large", &large),
        ],
        "change",
    );
    fixture.git(&["reset", "-q", "--hard", old.as_str()]);
    (fixture, Advance { branch: main_branch(), old, new })
}

/// The branch, index and files are exactly those of `commit`, with nothing left over.
pub(crate) fn assert_at(fixture: &Fixture, commit: &CommitId) {
    assert_eq!(fixture.head(), *commit);
    assert_eq!(fixture.git(&["status", "--porcelain", "--untracked-files=all"]), "");
    assert_eq!(fixture.git(&["write-tree"]), fixture.tree_of(commit));
    fixture.git(&["update-index", "--really-refresh"]);
    assert_no_debris(fixture);
}

pub(crate) fn assert_no_debris(fixture: &Fixture) {
    let left: Vec<_> = fs::read_dir(fixture.root.join(".git"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.contains("kapelle") || name.ends_with(".lock"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

fn lock_as_if_killed(fixture: &Fixture, advance: &Advance) {
    let Advance { branch, old, new } = advance;
    let marker = format!("kapelle advance {branch} {old} {new}\n");
    write(&fixture.root.join(".git/index.lock"), marker);
}

#[tokio::test]
async fn the_users_files_come_along() {
    let (fixture, advance) = with_change().await;
    write(&fixture.root.join("untracked"), "mine\n");
    // Touched, not changed.
    write(&fixture.root.join("edit"), "old edit\n");
    let moved = fixture.repository.advance(&advance, "integrate t1").await.unwrap();
    assert_eq!(moved, Advanced::BranchAndFiles);
    assert_eq!(fs::read_to_string(fixture.root.join("untracked")).unwrap(), "mine\n");
    fs::remove_file(fixture.root.join("untracked")).unwrap();
    assert_at(&fixture, &advance.new);
    assert!(!fixture.root.join("gone").exists());
    let reflog = fixture.git(&["reflog", "-1", "--format=%gs"]);
    assert_eq!(reflog, "kapelle: integrate t1");
    assert_eq!(fixture.repository.recover_advance(&advance).await.unwrap(), Recovered::Completed);
    assert_at(&fixture, &advance.new);
    let again = fixture.repository.advance(&advance, "again").await;
    assert!(matches!(again, Err(Error::RefMoved { .. })), "{again:?}");
    assert_at(&fixture, &advance.new);
}

#[tokio::test]
async fn line_end_conversion_is_the_users() {
    let fixture = Fixture::with(&[("text", "1\n2\n"), ("other", "1\n")]).await;
    let old = fixture.head();
    let new = fixture.commit(&[("text", "1\n2\n3\n")], "change");
    fixture.git(&["reset", "-q", "--hard", old.as_str()]);
    fixture.git(&["config", "core.autocrlf", "true"]);
    fs::remove_file(fixture.root.join("text")).unwrap();
    fixture.git(&["checkout", "-q", "--", "."]);
    assert_eq!(fs::read(fixture.root.join("text")).unwrap(), b"1\r\n2\r\n");
    let advance = Advance { branch: main_branch(), old, new };
    // A crash after the branch has moved, in the middle of writing the file.
    for on_disk in ["1\r\n2\r\n", "1\r\n2\r\n3", ""] {
        fixture.git(&["update-ref", "refs/heads/main", advance.new.as_str()]);
        write(&fixture.root.join("text"), on_disk);
        lock_as_if_killed(&fixture, &advance);
        let recovered = fixture.repository.recover_advance(&advance).await.unwrap();
        assert_eq!(recovered, Recovered::Completed, "{on_disk:?}");
        assert_eq!(fs::read(fixture.root.join("text")).unwrap(), b"1\r\n2\r\n3\r\n");
        assert_at(&fixture, &advance.new);
        fixture.git(&["reset", "-q", "--hard", advance.old.as_str()]);
    }
    fixture.repository.advance(&advance, "x").await.unwrap();
    assert_eq!(fs::read(fixture.root.join("text")).unwrap(), b"1\r\n2\r\n3\r\n");
}

#[tokio::test]
async fn a_branch_that_is_not_checked_out_moves_alone() {
    let (fixture, mut advance) = with_change().await;
    advance.branch = RefName::own_branch("run-1").unwrap();
    fixture.repository.create_ref(&advance.branch, &advance.old).await.unwrap();
    let moved = fixture.repository.advance(&advance, "x").await.unwrap();
    assert_eq!(moved, Advanced::BranchOnly);
    let at = fixture.repository.resolve(&advance.branch).await.unwrap();
    assert_eq!(at, Some(advance.new.clone()));
    assert_at(&fixture, &advance.old);
    let again = fixture.repository.advance(&advance, "x").await;
    assert!(matches!(again, Err(Error::RefMoved { .. })), "{again:?}");
    let recovered = fixture.repository.recover_advance(&advance).await.unwrap();
    assert_eq!(recovered, Recovered::Completed);

    let elsewhere = fixture.path("elsewhere");
    let side = advance.branch.short();
    fixture.git(&["worktree", "add", "-q", elsewhere.to_str().unwrap(), side]);
    let refused = fixture.repository.advance(&advance, "x").await;
    assert!(matches!(refused, Err(Error::CheckedOutElsewhere { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_linked_working_tree_is_as_good() {
    let (fixture, mut advance) = with_change().await;
    let linked = fixture.path("linked");
    fixture.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    advance.branch = RefName::branch("side").unwrap();
    let repository = Repository::discover(&linked).await.unwrap();
    let moved = repository.advance(&advance, "x").await.unwrap();
    assert_eq!(moved, Advanced::BranchAndFiles);
    assert_eq!(crate::fixture::git(&linked, &["status", "--porcelain"]), "");
    assert_eq!(fs::read_to_string(linked.join("edit")).unwrap(), "new edit\n");
    assert_at(&fixture, &advance.old);
}

#[tokio::test]
async fn refusals_change_nothing() {
    let (fixture, advance) = with_change().await;
    let root = &fixture.root;
    let check = async |name: &str, prepare: &dyn Fn(), expected: &dyn Fn(&Error) -> bool| {
        prepare();
        let before = fixture.git(&["status", "--porcelain", "--ignored"]);
        let error = fixture.repository.advance(&advance, "x").await.unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
        assert_eq!(fixture.git(&["status", "--porcelain", "--ignored"]), before, "{name}");
        assert_eq!(fixture.head(), advance.old, "{name}");
        assert_no_debris(&fixture);
        fixture.git(&["reset", "-q", "--hard"]);
        fixture.git(&["clean", "-qfdx"]);
    };
    let dirty = |error: &Error| matches!(error, Error::Dirty { .. });
    let blocked = |path: &'static str| {
        move |error: &Error| match error {
            Error::WouldOverwrite { paths } => *paths == [PathBuf::from(path)],
            _ => false,
        }
    };
    check("changed", &|| write(&root.join("edit"), "mine\n"), &dirty).await;
    check("unrelated", &|| write(&root.join("unrelated"), "mine\n"), &dirty).await;
    check("deleted", &|| fs::remove_file(root.join("script")).unwrap(), &dirty).await;
    let stage = || {
        write(&root.join("staged"), "mine\n");
        fixture.git(&["add", "staged"]);
    };
    check("staged", &stage, &dirty).await;
    let large = || write(&root.join("large"), "mine\n");
    check("untracked in the way", &large, &blocked("large")).await;
    let ignored = || {
        write(&root.join(".git/info/exclude"), "large\n");
        write(&root.join("large"), "mine\n");
    };
    check("ignored in the way", &ignored, &blocked("large")).await;
    fs::remove_file(root.join(".git/info/exclude")).unwrap();
    let parent = || write(&root.join("added"), "mine\n");
    check("parent in the way", &parent, &blocked("added/größe\n")).await;
    let inside = || write(&root.join("directory becomes file/ignored"), "mine\n");
    check("inside", &inside, &blocked("directory becomes file")).await;
    let rebase = || fs::create_dir(root.join(".git/rebase-merge")).unwrap();
    check("rebase", &rebase, &|e| matches!(e, Error::OperationInProgress { .. })).await;
    fs::remove_dir(root.join(".git/rebase-merge")).unwrap();
    assert_at(&fixture, &advance.old);

    fs::write(root.join(".git/index.lock"), "").unwrap();
    let locked = fixture.repository.advance(&advance, "x").await;
    assert!(matches!(locked, Err(Error::Locked { .. })), "{locked:?}");
    assert!(root.join(".git/index.lock").exists());
    fs::remove_file(root.join(".git/index.lock")).unwrap();

    let theirs = fixture.commit(&[("unrelated", "theirs\n")], "theirs");
    let lost = fixture.repository.advance(&advance, "x").await;
    assert!(matches!(lost, Err(Error::RefMoved { .. })), "{lost:?}");
    assert_at(&fixture, &theirs);
    let recovered = fixture.repository.recover_advance(&advance).await.unwrap();
    assert_eq!(recovered, Recovered::Superseded { by: Some(theirs.clone()) });
    assert_at(&fixture, &theirs);
}

/// Paths and their content; `None` for a path that is not there.
type OnDisk<'a> = &'a [(&'a str, Option<&'a str>)];

/// Puts the repository into one state that a kill can leave: the branch has moved,
/// the index has not, and these paths are as given.
fn crash_in_the_middle(fixture: &Fixture, advance: &Advance, on_disk: OnDisk<'_>) {
    fixture.git(&["update-ref", "refs/heads/main", advance.new.as_str()]);
    for (path, content) in on_disk {
        let path = fixture.root.join(path);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        if let Some(content) = content {
            write(&path, content);
        }
    }
    lock_as_if_killed(fixture, advance);
    for name in ["kapelle-index", "kapelle-index.lock", ".kapelle-lock-x"] {
        write(&fixture.root.join(".git").join(name), "half");
    }
}

#[tokio::test]
async fn recovery_finishes_what_is_ours() {
    let (fixture, advance) = with_change().await;
    let states: &[OnDisk<'_>] = &[
        &[],
        &[("edit", Some("new edit\n"))],
        &[("edit", None)],
        &[("edit", Some("new e"))],
        &[("edit", Some("old"))],
        &[("edit", Some(""))],
        &[("gone", None), ("to link", None), ("large", Some("new and large\nnew an"))],
        &[("file becomes directory", None), ("file becomes directory/b", Some("new"))],
        &[("directory becomes file/a", None)],
        &[("directory becomes file", None)],
        &[("directory becomes file", Some("ne"))],
        &[("added/größe\n", Some("new added\n")), ("unrelated", None)],
    ];
    for state in states {
        crash_in_the_middle(&fixture, &advance, state);
        let recovered = fixture.repository.recover_advance(&advance).await.unwrap();
        assert_eq!(recovered, Recovered::Completed, "{state:?}");
        let unrelated = fixture.git(&["status", "--porcelain"]);
        if state.iter().any(|(path, _)| *path == "unrelated") {
            // The user's own affair, and left to them.
            assert_eq!(unrelated, " D unrelated");
            fixture.git(&["checkout", "-q", "--", "unrelated"]);
        }
        assert_at(&fixture, &advance.new);
        fixture.git(&["reset", "-q", "--hard", advance.old.as_str()]);
        assert_at(&fixture, &advance.old);
    }
}

#[tokio::test]
async fn recovery_steps_back_from_what_is_the_users() {
    let (fixture, advance) = with_change().await;
    let states: &[(&str, OnDisk<'_>)] = &[
        ("edit", &[("edit", Some("my edit\n")), ("large", Some("new and"))]),
        ("edit", &[("edit", Some("new edit\nand mine\n")), ("gone", None)]),
        ("gone/deep/file", &[("gone/deep/file", Some("mine\n")), ("to link", None)]),
        ("large", &[("large", Some("my large file\n")), ("edit", Some("new edit\n"))]),
    ];
    for (users, state) in states {
        crash_in_the_middle(&fixture, &advance, state);
        let path = fixture.root.join(users);
        let content = fs::read(&path).unwrap();
        let recovered = fixture.repository.recover_advance(&advance).await.unwrap();
        let kept = vec![PathBuf::from(users)];
        assert_eq!(recovered, Recovered::RolledBack { kept }, "{state:?}");
        assert_eq!(fs::read(&path).unwrap(), content, "{state:?}");
        assert_eq!(fixture.head(), advance.old);
        let status = fixture.git(&["status", "--porcelain", "--untracked-files=all"]);
        assert!(status.ends_with(users) && status.lines().count() == 1, "{status}");
        assert_no_debris(&fixture);
        let again = fixture.repository.recover_advance(&advance).await.unwrap();
        assert_eq!(again, Recovered::NotStarted);
        assert_eq!(fs::read(&path).unwrap(), content);
        fixture.git(&["reset", "-q", "--hard"]);
        fixture.git(&["clean", "-qfdx"]);
    }
}

#[tokio::test]
async fn recovery_leaves_what_the_user_staged() {
    let (fixture, advance) = with_change().await;
    crash_in_the_middle(&fixture, &advance, &[("edit", Some("new edit\n"))]);
    fs::remove_file(fixture.root.join(".git/index.lock")).unwrap();
    write(&fixture.root.join("unrelated"), "staged\n");
    fixture.git(&["add", "unrelated"]);
    let before = fixture.git(&["status", "--porcelain"]);
    let recovered = fixture.repository.recover_advance(&advance).await.unwrap();
    assert_eq!(recovered, Recovered::LeftAlone { paths: vec!["unrelated".into()] });
    assert_eq!(fixture.git(&["status", "--porcelain"]), before);
    assert_no_debris(&fixture);
}

#[tokio::test]
async fn recovery_before_the_branch_moved_and_after_the_index_did() {
    let (fixture, advance) = with_change().await;
    lock_as_if_killed(&fixture, &advance);
    // Left by an `update-ref` that was killed with everything else.
    write(&fixture.root.join(".git/refs/heads/main.lock"), format!("{}\n", advance.new));
    write(&fixture.root.join(".git/HEAD.lock"), "");
    let recovered = fixture.repository.recover_advance(&advance).await.unwrap();
    assert_eq!(recovered, Recovered::NotStarted);
    assert!(!fixture.root.join(".git/refs/heads/main.lock").exists());
    assert_at(&fixture, &advance.old);

    fixture.repository.advance(&advance, "x").await.unwrap();
    lock_as_if_killed(&fixture, &advance);
    write(&fixture.root.join("edit"), "mine\n");
    assert_eq!(fixture.repository.recover_advance(&advance).await.unwrap(), Recovered::Completed);
    assert_eq!(fs::read_to_string(fixture.root.join("edit")).unwrap(), "mine\n");
    assert_no_debris(&fixture);
    // The user goes on.
    fixture.commit(&[], "theirs");
    assert_eq!(fixture.repository.recover_advance(&advance).await.unwrap(), Recovered::Completed);
}

#[tokio::test]
async fn a_living_holder_of_the_lock_is_waited_for() {
    let (fixture, advance) = with_change().await;
    crash_in_the_middle(&fixture, &advance, &[]);
    let path = fixture.root.join(".git/index.lock");
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    let recovery = {
        let (repository, advance) = (fixture.repository.clone(), advance.clone());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { repository.recover_advance(&advance).await });
        tasks
    };
    // Time enough to do it wrong.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(path.exists());
    assert_eq!(fs::read_to_string(fixture.root.join("edit")).unwrap(), "old edit\n");
    drop(held);
    let recovered = recovery.join_all().await.remove(0).unwrap();
    assert_eq!(recovered, Recovered::Completed);
    assert_at(&fixture, &advance.new);
}
