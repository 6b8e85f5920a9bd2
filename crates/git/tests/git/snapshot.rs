//! Snapshots of what agents leave, friendly and hostile.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use kapelle_git::{
    AgentCommit, ChangeKind, ChangedPath, Error, Limits, RefName, SkipReason, Skipped, Workspace,
};
use nix::sys::stat::Mode;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{Fixture, git, message, write};

/// What git itself would commit, asked while the tree is still harmless.
fn tree_by_git(workspace: &Workspace) -> String {
    git(&workspace.tree, &["add", "-A"]);
    git(&workspace.tree, &["write-tree"])
}

fn changed(path: &str, kind: ChangeKind, lines: (u64, u64)) -> ChangedPath {
    let (added, deleted) = lines;
    ChangedPath { path: path.into(), kind, added: Some(added), deleted: Some(deleted) }
}

#[tokio::test]
async fn records_every_kind_of_change() {
    for format in ["sha1", "sha256"] {
        let long = "line\n".repeat(40);
        let fixture = Fixture::with_format(
            format,
            &[
                ("same", "x\r\ny\n"),
                ("edit", "1\n2\n"),
                ("gone", "x\n"),
                ("script", "#!/bin/sh\n"),
                ("old/name", &long),
                ("dir/file", "x\n"),
            ],
        )
        .await;
        let workspace = fixture.workspace().await;
        let tree = &workspace.tree;
        write(&tree.join("edit"), "1\n3\n4\n");
        fs::remove_file(tree.join("gone")).unwrap();
        fs::set_permissions(tree.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(tree.join("new")).unwrap();
        fs::rename(tree.join("old/name"), tree.join("new/größe\n\"zwei\"")).unwrap();
        fs::remove_dir_all(tree.join("dir")).unwrap();
        symlink("/etc/passwd", tree.join("dir")).unwrap();
        write(&tree.join("binary"), [0, 1, 2]);
        let snapshot = fixture.snapshot(&workspace).await;

        assert_eq!(snapshot.tree.as_str(), tree_by_git(&workspace));
        assert_eq!(snapshot.base, fixture.head());
        assert_eq!(snapshot.skipped, []);
        let from = PathBuf::from("old/name");
        let binary = PathBuf::from("binary");
        let expected = [
            ChangedPath { path: binary, kind: ChangeKind::Added, added: None, deleted: None },
            changed("dir", ChangeKind::Added, (1, 0)),
            changed("dir/file", ChangeKind::Deleted, (0, 1)),
            changed("edit", ChangeKind::Modified, (2, 1)),
            changed("gone", ChangeKind::Deleted, (0, 1)),
            changed("new/größe\n\"zwei\"", ChangeKind::Renamed { from }, (0, 0)),
            changed("script", ChangeKind::Modified, (0, 0)),
        ];
        assert_eq!(snapshot.changed, expected);
        // Only what changed is stored: four blobs, two trees, the commit.
        let stored = git(&workspace.directory.join("result"), &["count-objects", "-v"]);
        assert!(stored.contains("in-pack: 7\n"), "{stored}");
        let log = git(
            &workspace.directory.join("result"),
            &["log", "-1", "--format=%an|%ct|%P|%B", snapshot.commit.as_str()],
        );
        assert_eq!(
            log.trim(),
            format!("Agent \"7\" \\o/|1700000000|{}|agent: work", snapshot.base)
        );
        assert_eq!(fixture.snapshot(&workspace).await.commit, snapshot.commit);
    }
}

#[tokio::test]
async fn no_change_is_the_base_itself() {
    let fixture = Fixture::with(&[("a/b", "x"), ("crlf", "1\r\n2\r\n")]).await;
    let workspace = fixture.workspace().await;
    // Touched, not changed; and directories mean nothing to git.
    write(&workspace.tree.join("a/b"), "x");
    fs::create_dir_all(workspace.tree.join("empty/dir")).unwrap();
    let snapshot = fixture.snapshot(&workspace).await;
    assert!(snapshot.is_empty());
    assert_eq!((&snapshot.commit, snapshot.changed.len()), (&fixture.head(), 0));
    assert_eq!(snapshot.agent_committed, AgentCommit::Clean);
    let bundled = snapshot.bundle(&fixture.path("bundle")).await;
    assert!(matches!(bundled, Err(Error::NothingToBundle)), "{bundled:?}");
}

#[tokio::test]
async fn ignored_files_stay_out_and_tracked_ones_stay_in() {
    let fixture = Fixture::with(&[
        (".gitignore", "\u{feff}*.log\n/build/\n!keep.log\nsub/*.tmp\n"),
        ("tracked.log", "1\n"),
        ("build/tracked", "1\n"),
        ("build/unchanged/deep", "1\n"),
    ])
    .await;
    let workspace = fixture.workspace().await;
    let tree = &workspace.tree;
    for path in ["tracked.log", "build/tracked", "keep.log", "sub/keep", "other/build/x"] {
        write(&tree.join(path), "2\n");
    }
    for path in ["a.log", "build/junk", "build/unchanged/junk", "sub/x.tmp", "target/x"] {
        write(&tree.join(path), "2\n");
    }
    write(&tree.join("target/.gitignore"), "*\n");
    let snapshot = fixture.snapshot(&workspace).await;
    assert_eq!(snapshot.tree.as_str(), tree_by_git(&workspace));
    let paths: Vec<_> = snapshot.changed.iter().map(|c| c.path.to_str().unwrap()).collect();
    let expected = ["build/tracked", "keep.log", "other/build/x", "sub/keep", "tracked.log"];
    assert_eq!(paths, expected);
}

#[tokio::test]
async fn what_the_agent_tracks_although_it_is_ignored_is_part_of_its_work() {
    for (format, version) in [("sha1", "2"), ("sha256", "2"), ("sha1", "4"), ("sha256", "4")] {
        let base = [(".gitignore", "dist/\n*.log\n"), ("a", "1\n"), ("sub/deep/b", "1\n")];
        let fixture = Fixture::with_format(format, &base).await;
        let workspace = fixture.workspace().await;
        let tree = &workspace.tree;
        for path in ["dist/app.js", "dist/deep/b.js", "dist/junk", "sub/x.log", "y.log", "z.log"] {
            write(&tree.join(path), "2\n");
        }
        git(tree, &["update-index", "--index-version", version]);
        git(tree, &["add", "-f", "dist/app.js", "dist/deep/b.js", "sub/x.log"]);
        git(tree, &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "mine"]);
        // This one makes entries with more flags. What counts is what lies in the tree now.
        git(tree, &["add", "-f", "-N", "z.log"]);
        write(&tree.join("dist/app.js"), "3\n");

        let snapshot = fixture.snapshot(&workspace).await;
        let paths: Vec<_> = snapshot.changed.iter().map(|c| c.path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            ["dist/app.js", "dist/deep/b.js", "sub/x.log", "z.log"],
            "{format} {version}"
        );
        let result = workspace.directory.join("result");
        let kept = git(&result, &["show", &format!("{}:dist/app.js", snapshot.commit)]);
        assert_eq!(kept, "3");

        // An index that is none doesn't keep the rest from being taken.
        write(&workspace.git_dir.join("index"), "DIRC\0\0\0\u{2}\u{7f}\u{7f}\u{7f}\u{7f}no");
        write(&tree.join("a"), "2\n");
        let snapshot = fixture.snapshot(&workspace).await;
        let paths: Vec<_> = snapshot.changed.iter().map(|c| c.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["a"], "{format} {version}");
    }
}

#[tokio::test]
async fn nothing_that_an_agent_plants_runs_or_is_followed() {
    let fixture = Fixture::with(&[
        (".gitattributes", "* filter=evil diff=evil merge=evil\n"),
        ("sub/file", "x\n"),
        ("dir/secret", "x\n"),
    ])
    .await;
    let workspace = fixture.workspace().await;
    let tree = &workspace.tree;
    let marker = fixture.path("marker");
    let touch = format!("touch {}", marker.display());
    let evil = format!(
        "[core]\nrepositoryformatversion = 0\nfsmonitor = {touch}\nhooksPath = hooks\n\
         pager = {touch}\nsshCommand = {touch}\n[gpg]\nprogram = {touch}\n[commit]\ngpgSign = true\n\
         [filter \"evil\"]\nclean = {touch}\nsmudge = {touch}\nrequired = true\n\
         [diff]\nexternal = {touch}\n[diff \"evil\"]\ncommand = {touch}\ntextconv = {touch}\n\
         [merge \"evil\"]\ndriver = {touch}\n[alias]\nstatus = !{touch}\n"
    );
    for planted in [workspace.git_dir.join("config"), tree.join("sub/.git/config")] {
        write(&planted, &evil);
    }
    write(&tree.join("sub/.git/HEAD"), "ref: refs/heads/main\n");
    write(&tree.join("sub/deep/.GIT"), "gitdir: /etc\n");
    for hook in ["post-checkout", "reference-transaction", "pre-commit"] {
        let hook = workspace.git_dir.join("hooks").join(hook);
        write(&hook, format!("#!/bin/sh\n{touch}\n"));
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let secrets = fixture.path("secrets");
    write(&secrets.join("secret"), "TOP SECRET\n");
    fs::remove_dir_all(tree.join("dir")).unwrap();
    symlink(&secrets, tree.join("dir")).unwrap();
    nix::unistd::mkfifo(&tree.join("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    nix::unistd::mkfifo(&tree.join("sub/.gitignore"), Mode::S_IRWXU).unwrap();

    let snapshot = fixture.snapshot(&workspace).await;
    assert!(!marker.exists());
    let skipped = |path: &str, reason| Skipped { path: path.into(), reason };
    let expected = [
        skipped("fifo", SkipReason::Special),
        skipped("socket", SkipReason::Special),
        skipped("sub/.git", SkipReason::GitEntry),
        skipped("sub/.gitignore", SkipReason::Special),
        skipped("sub/deep/.GIT", SkipReason::GitEntry),
    ];
    assert_eq!(snapshot.skipped, expected);
    let result = workspace.directory.join("result");
    let listed = git(&result, &["ls-tree", "-r", "--name-only", snapshot.tree.as_str()]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), [".gitattributes", "dir", "sub/file"]);
    let link = git(&result, &["cat-file", "blob", &format!("{}:dir", snapshot.commit)]);
    assert_eq!(Path::new(&link), secrets);

    let bundle = fixture.path("bundle");
    snapshot.bundle(&bundle).await.unwrap();
    let name = kapelle_git::RefName::attempt("e", "r", "t", "1").unwrap();
    let imported = fixture.repository.import_bundle(&bundle, &snapshot.base, &name, 1 << 20).await;
    assert_eq!(imported.unwrap(), snapshot.commit);
    assert!(!marker.exists());
    // The trap is real: git in that tree falls into it (or hangs on the FIFO).
    let git = ["status", "--untracked-files=no"];
    let _ = Command::new("git").args(git).current_dir(&workspace.tree).output().unwrap();
    assert!(marker.exists());
    kapelle_git::remove_tree(&workspace.directory).await.unwrap();
    assert_eq!(fs::read_to_string(secrets.join("secret")).unwrap(), "TOP SECRET\n");
}

#[tokio::test]
async fn the_agents_own_commit_is_judged_by_its_files() {
    let fixture = Fixture::with(&[("file", "1\n")]).await;
    let check = async |name: &str, work: &dyn Fn(&Workspace), expected: AgentCommit| {
        let workspace = fixture.clone_at(name, &fixture.head()).await;
        write(&workspace.tree.join("file"), "2\n");
        write(&workspace.tree.join("new"), "2\n");
        work(&workspace);
        let snapshot = fixture.snapshot(&workspace).await;
        assert_eq!(snapshot.agent_committed, expected, "{name}");
        assert_eq!(snapshot.changed.len(), 2, "{name}");
    };
    let commit = |workspace: &Workspace| {
        git(&workspace.tree, &["add", "-A"]);
        git(&workspace.tree, &["commit", "-q", "-m", "mine"]);
    };
    let both = || AgentCommit::Uncommitted { paths: vec!["file".into(), "new".into()] };
    let one = AgentCommit::Uncommitted { paths: vec!["new".into()] };
    check("none", &|_| {}, both()).await;
    check("all", &commit, AgentCommit::Clean).await;
    let packed = |w: &Workspace| {
        commit(w);
        git(&w.tree, &["gc", "-q"]);
    };
    check("packed", &packed, AgentCommit::Clean).await;
    let detached = |w: &Workspace| {
        git(&w.tree, &["checkout", "-q", "--detach"]);
        commit(w);
    };
    check("detached", &detached, AgentCommit::Clean).await;
    let part = |w: &Workspace| drop(git(&w.tree, &["commit", "-q", "-m", "mine", "file"]));
    check("part", &part, one).await;
    let missing = || AgentCommit::Missing;
    check("deleted", &|w| fs::remove_file(w.tree.join(".git")).unwrap(), missing()).await;
    check("emptied", &|w| fs::remove_dir_all(&w.git_dir).unwrap(), missing()).await;
    let elsewhere = |w: &Workspace| write(&w.tree.join(".git"), "gitdir: /etc\n");
    check("elsewhere", &elsewhere, missing()).await;
    let hanging = |w: &Workspace| {
        fs::remove_file(w.git_dir.join("HEAD")).unwrap();
        nix::unistd::mkfifo(&w.git_dir.join("HEAD"), Mode::S_IRWXU).unwrap();
    };
    check("fifo", &hanging, missing()).await;
    let lying = |w: &Workspace| write(&w.git_dir.join("HEAD"), "1".repeat(40));
    check("lying", &lying, missing()).await;
    let climbing = |w: &Workspace| write(&w.git_dir.join("HEAD"), "ref: refs/../../../x");
    check("climbing", &climbing, missing()).await;
    let traps = |w: &Workspace| {
        commit(w);
        let objects = w.git_dir.join("objects");
        nix::unistd::mkfifo(&objects.join("pack/pack-00.pack"), Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", objects.join("pack/pack-00.idx")).unwrap();
        symlink("/", objects.join("00")).unwrap();
    };
    check("traps", &traps, AgentCommit::Clean).await;
}

/// Whatever an agent made of its `.git`: commands that run there next find the work, on its base,
/// and no other repository.
#[tokio::test]
async fn a_clone_without_its_repository_gets_one_again() {
    let fixture = Fixture::with(&[("file", "1\n"), ("gone", "1\n")]).await;
    let users = fixture.root.join(".git");
    let check = async |name: &str, work: &dyn Fn(&Workspace), mended: bool| {
        let workspace = fixture.clone_at(name, &fixture.head()).await;
        let tree = &workspace.tree;
        write(&tree.join("file"), "2\n");
        fs::remove_file(tree.join("gone")).unwrap();
        work(&workspace);
        let snapshot = fixture.snapshot(&workspace).await;
        let did = fixture.repository.mend_clone(&workspace, &snapshot).await.unwrap();
        assert_eq!(did, mended, "{name}");
        let head = git(tree, &["rev-parse", "HEAD"]);
        if mended {
            assert_eq!(head, snapshot.commit.as_str(), "{name}");
            assert_eq!(git(tree, &["rev-parse", "HEAD~1"]), fixture.head().as_str(), "{name}");
            assert_eq!(git(tree, &["status", "--porcelain"]), "", "{name}");
            git(tree, &["stash", "-q", "--all"]);
            git(tree, &["checkout", "-q", "-b", "another"]);
        }
        assert_eq!(fixture.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    };
    let remove = |w: &Workspace| fs::remove_file(w.tree.join(".git")).unwrap();
    check("kept", &|_| {}, false).await;
    check("deleted", &remove, true).await;
    let started_anew = |w: &Workspace| {
        remove(w);
        git(&w.tree, &["init", "-q"]);
    };
    check("started anew", &started_anew, true).await;
    let users_own = |w: &Workspace| {
        write(&w.tree.join(".git"), format!("gitdir: {}\n", users.display()));
    };
    check("the user's", &users_own, true).await;
    let linked = |w: &Workspace| {
        remove(w);
        symlink(&users, w.tree.join(".git")).unwrap();
    };
    check("linked", &linked, true).await;
    let shared = |w: &Workspace| {
        write(&w.git_dir.join("commondir"), format!("{}\n", users.display()));
    };
    check("shared", &shared, true).await;
    let elsewhere = |w: &Workspace| {
        git(&w.tree, &["config", "core.worktree", fixture.root.to_str().unwrap()]);
    };
    check("another tree", &elsewhere, true).await;
    check("emptied", &|w| fs::remove_dir_all(&w.git_dir).unwrap(), true).await;
}

#[tokio::test]
async fn a_forged_object_cannot_stand_in_for_a_file() {
    let fixture = Fixture::with(&[("sub/untouched", "honest\n"), ("file", "1\n")]).await;
    let workspace = fixture.workspace().await;
    write(&workspace.tree.join("forged"), "forged\n");
    git(&workspace.tree, &["add", "-A"]);
    git(&workspace.tree, &["commit", "-q", "-m", "mine"]);
    let object = |name: &str| {
        let id = git(&workspace.tree, &["rev-parse", name]);
        workspace.git_dir.join("objects").join(&id[..2]).join(&id[2..])
    };
    let honest = object("HEAD:sub/untouched");
    fs::create_dir_all(honest.parent().unwrap()).unwrap();
    fs::copy(object("HEAD:forged"), honest).unwrap();
    let snapshot = fixture.snapshot(&workspace).await;
    let spec = format!("{}:sub/untouched", snapshot.commit);
    let kept = git(&workspace.directory.join("result"), &["cat-file", "blob", &spec]);
    assert_eq!(kept, "honest");
}

#[tokio::test]
async fn limits_name_the_offender() {
    let large = "x".repeat(4_000);
    let fixture = Fixture::with(&[("large", &large), ("file", "1\n")]).await;
    let limits = Limits { files: 3, file_bytes: 1_000, total_bytes: 1_500 };
    let check = async |name: &str, work: &dyn Fn(&Path), offender: Option<&str>| {
        let workspace = fixture.clone_at(name, &fixture.head()).await;
        work(&workspace.tree);
        match (fixture.try_snapshot(&workspace, &limits).await, offender) {
            (Ok(_), None) => {}
            (Err(Error::TooLarge { path, .. }), Some(offender)) => {
                assert_eq!(path, Path::new(offender), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    };
    // What the base has already counts for nothing.
    check("within", &|tree| write(&tree.join("a"), "x".repeat(1_000)), None).await;
    let many = |tree: &Path| ["a", "b", "c", "d"].iter().for_each(|n| write(&tree.join(n), "x"));
    check("many", &many, Some("d")).await;
    let sum = |tree: &Path| ["a", "b"].iter().for_each(|n| write(&tree.join(n), [0; 900]));
    check("sum", &sum, Some("b")).await;
    // Sparse: reading it would take hours.
    let sparse = |tree: &Path| {
        fs::File::create(tree.join("large")).unwrap().set_len(1 << 40).unwrap();
    };
    check("sparse", &sparse, Some("large")).await;
}

#[tokio::test]
async fn submodules_stay_as_they_were() {
    let fixture = Fixture::with(&[("file", "1\n")]).await;
    let module = fixture.path("module");
    fs::create_dir(&module).unwrap();
    let entry = format!("160000,{},sub", fixture.head());
    fixture.git(&["update-index", "--add", "--cacheinfo", &entry]);
    fixture.git(&["commit", "-q", "-m", "submodule"]);
    let workspace = fixture.workspace().await;
    write(&workspace.tree.join("sub/file"), "x");
    write(&workspace.tree.join("file"), "2\n");
    let snapshot = fixture.snapshot(&workspace).await;
    assert_eq!(snapshot.changed, [changed("file", ChangeKind::Modified, (1, 1))]);
    let sub = workspace.tree.join("sub");
    let check = async |expected: Option<SkipReason>| {
        let again = fixture.snapshot(&workspace).await;
        let expected = expected.map(|reason| Skipped { path: "sub".into(), reason });
        assert_eq!(again.skipped, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(again.commit, snapshot.commit);
    };
    check(Some(SkipReason::Submodule)).await;
    write(&sub.join(".git"), "gitdir: elsewhere\n");
    check(Some(SkipReason::SubmoduleCheckout)).await;
    fs::remove_dir_all(&sub).unwrap();
    check(None).await;
    fs::create_dir(&sub).unwrap();
    check(None).await;
    fs::remove_dir(&sub).unwrap();
    write(&sub, "a file instead");
    check(Some(SkipReason::Submodule)).await;
}

#[tokio::test]
async fn endless_depth_is_left_out() {
    let fixture = Fixture::with(&[("file", "1\n")]).await;
    let workspace = fixture.workspace().await;
    write(&workspace.tree.join("d/".repeat(200)).join("file"), "x");
    write(&workspace.tree.join("file"), "2\n");
    let snapshot = fixture.snapshot(&workspace).await;
    assert_eq!(snapshot.changed.len(), 1);
    assert_eq!(snapshot.skipped[0].reason, SkipReason::TooDeep);
}

/// One thing an agent does to one of a few paths.
#[derive(Debug, Clone)]
enum Act {
    Write(usize, u8),
    Remove(usize),
    Link(usize),
    Executable(usize),
    Ignore(usize),
}

const PATHS: &[&str] = &["a", "a/b", "a/b/c", "b.log", "x/y.log", "x/\u{fc}\t\"", "x", "z", "-n"];

fn act() -> impl Strategy<Value = Act> {
    let path = 0..PATHS.len();
    prop_oneof![
        (path.clone(), any::<u8>()).prop_map(|(path, byte)| Act::Write(path, byte)),
        path.clone().prop_map(Act::Remove),
        path.clone().prop_map(Act::Link),
        path.clone().prop_map(Act::Executable),
        path.prop_map(Act::Ignore),
    ]
}

fn perform(tree: &Path, act: &Act) {
    // Most acts fail somewhere in some state of the tree; that is the agent's affair.
    let at = |path: usize| tree.join(PATHS[path]);
    let clear = |path: &Path| {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
        let _ = fs::create_dir_all(path.parent().unwrap());
    };
    match act {
        Act::Write(path, byte) => {
            clear(&at(*path));
            let _ = fs::write(at(*path), [*byte % 3, b'\r', b'\n']);
        }
        Act::Remove(path) => clear(&at(*path)),
        Act::Link(path) => {
            clear(&at(*path));
            let _ = symlink("target", at(*path));
        }
        Act::Executable(path) => {
            let plain_file = fs::symlink_metadata(at(*path)).is_ok_and(|meta| meta.is_file());
            if plain_file {
                fs::set_permissions(at(*path), fs::Permissions::from_mode(0o700)).unwrap();
            }
        }
        Act::Ignore(path) => {
            let name = PATHS[*path].rsplit('/').next().unwrap();
            fs::write(tree.join(".gitignore"), format!("{name}\n!x\n*.log\n")).unwrap();
        }
    }
}

/// The law: we read a tree exactly as `git add -A` does.
#[test]
fn a_snapshot_is_what_git_would_have_committed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(Fixture::with(&[
        ("a/b/c", "1\n"),
        ("b.log", "1\n"),
        ("x/y.log", "1\n"),
        ("z", "1\n"),
    ]));
    let mut runner = TestRunner::new(Config::with_cases(40));
    let acts = proptest::collection::vec(act(), 0..12);
    let law = |acts: Vec<Act>| {
        runtime.block_on(async {
            let workspace = fixture.workspace().await;
            acts.iter().for_each(|act| perform(&workspace.tree, act));
            let snapshot = fixture.snapshot(&workspace).await;
            let expected = tree_by_git(&workspace);
            kapelle_git::remove_tree(&workspace.directory).await.unwrap();
            proptest::prop_assert_eq!(snapshot.tree.as_str(), expected);
            Ok(())
        })
    };
    runner.run(&acts, law).unwrap();
}

#[tokio::test]
async fn work_in_progress_is_taken_from_under_an_agent_and_put_into_another_clone() {
    let files = [("same", "x\n"), ("edit", "1\n2\n"), ("gone", "x\n"), ("dir/file", "x\n")];
    let fixture = Fixture::with(&files).await;
    let repository = &fixture.repository;
    let workspace = fixture.workspace().await;
    let limits = Limits::default();
    let commit = message("in progress");
    let nothing = repository.snapshot_at_work(&workspace, &limits, &commit).await.unwrap();
    assert!(nothing.is_empty(), "{nothing:?}");
    // Of the same length: only its time tells that it was touched.
    write(&workspace.tree.join("edit"), "1\n3\n");
    write(&workspace.tree.join("new/name"), "y\r\n");
    fs::remove_file(workspace.tree.join("gone")).unwrap();
    let work = repository.snapshot_at_work(&workspace, &limits, &commit).await.unwrap();
    let again = repository.snapshot_at_work(&workspace, &limits, &commit).await.unwrap();
    assert_eq!((&work.tree, &work.commit), (&again.tree, &again.commit));
    assert_eq!(work.agent_committed, AgentCommit::AtWork);
    let paths: Vec<_> = work.changed.iter().map(|changed| changed.path.as_path()).collect();
    assert_eq!(paths, ["edit", "gone", "new/name"].map(Path::new));
    let bundle = workspace.directory.join("progress.bundle");
    again.bundle(&bundle).await.unwrap();

    let name = RefName::attempt("progress", "r-1", "t0", "1").unwrap();
    let imported =
        repository.import_bundle(&bundle, &workspace.base, &name, 1 << 20).await.unwrap();
    let second = fixture.clone_at("second", &workspace.base).await;
    repository.put_work_in_progress(&second, &imported).await.unwrap();
    assert_eq!(fs::read(second.tree.join("new/name")).unwrap(), b"y\r\n");
    assert!(!second.tree.join("gone").exists());
    let status = git(&second.tree, &["status", "--porcelain"]);
    assert_eq!(status, " M edit\n D gone\n?? new/", "nothing is staged");
    assert_eq!(git(&second.tree, &["rev-parse", "HEAD"]), workspace.base.to_string());
    let final_one = repository.snapshot(&second, &limits, &commit).await.unwrap();
    let at_work = repository.snapshot_at_work(&second, &limits, &commit).await.unwrap();
    assert_eq!(at_work.tree, work.tree, "what was put there counts as changed");
    assert_eq!(final_one.changed, at_work.changed);
}
