//! Bundles on their way in, and merging on objects alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kapelle_git::{ChangeKind, CommitId, Edit, Error, RefName, Repository, Work};
use nix::sys::stat::Mode;

use crate::fixture::{Fixture, message, write};

const LIMIT: u64 = 1 << 20;

fn attempt() -> RefName {
    RefName::attempt("e", "run", "task", "1").unwrap()
}

async fn bundle_of(fixture: &Fixture, work: impl FnOnce(&Path)) -> (PathBuf, CommitId) {
    let workspace = fixture.workspace().await;
    work(&workspace.tree);
    let snapshot = fixture.snapshot(&workspace).await;
    let bundle = fixture.path("result.bundle");
    snapshot.bundle(&bundle).await.unwrap();
    (bundle, snapshot.commit)
}

#[tokio::test]
async fn a_bundle_arrives_once() {
    for format in ["sha1", "sha256"] {
        let fixture = Fixture::with_format(format, &[("file", "1\n")]).await;
        let base = fixture.head();
        let (bundle, commit) = bundle_of(&fixture, |tree| write(&tree.join("file"), "2\n")).await;
        for _ in 0..2 {
            let import = fixture.repository.import_bundle(&bundle, &base, &attempt(), LIMIT).await;
            assert_eq!(import.unwrap(), commit);
        }
        let refs = fixture.repository.attempt_refs("e").await.unwrap();
        assert_eq!(refs, [(attempt(), commit.clone())]);
        fixture.git(&["fsck", "--strict"]);
        let stored = fs::read_dir(fixture.path("")).unwrap().flatten();
        let partial = stored.filter(|e| e.file_name().to_string_lossy().contains("partial"));
        assert_eq!(partial.count(), 0);

        let other = fixture.commit(&[("file", "other\n")], "other");
        fixture.repository.delete_ref(&attempt(), &commit).await.unwrap();
        fixture.repository.create_ref(&attempt(), &other).await.unwrap();
        let import = fixture.repository.import_bundle(&bundle, &base, &attempt(), LIMIT).await;
        assert!(matches!(import, Err(Error::RefMoved { .. })), "{import:?}");
    }
}

async fn refused(repository: &Repository, bundle: &Path, base: &CommitId, limit: u64) -> Error {
    let error = repository.import_bundle(bundle, base, &attempt(), limit).await.unwrap_err();
    assert_eq!(repository.attempt_refs("e").await.unwrap(), []);
    error
}

#[tokio::test]
async fn bundles_are_not_trusted() {
    let fixture = Fixture::with(&[("file", "1\n")]).await;
    let base = fixture.head();
    let (bundle, _) = bundle_of(&fixture, |tree| write(&tree.join("file"), "2\n")).await;
    let repository = &fixture.repository;
    let good = fs::read(&bundle).unwrap();

    let other = fixture.commit(&[("file", "other\n")], "other");
    let error = refused(repository, &bundle, &other, LIMIT).await;
    assert!(matches!(error, Error::InvalidBundle { .. }), "{error:?}");
    let error = refused(repository, &bundle, &base, 50).await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");

    let planted = fixture.path("planted");
    for end in [0, 10, good.len() / 2, good.len() - 1] {
        write(&planted, &good[..end]);
        let error = refused(repository, &planted, &base, LIMIT).await;
        assert!(matches!(error, Error::InvalidBundle { .. }), "{end}: {error:?}");
    }
    let mut flipped = good.clone();
    let middle = good.len() - 40;
    flipped[middle] ^= 0xff;
    write(&planted, &flipped);
    let error = refused(repository, &planted, &base, LIMIT).await;
    assert!(matches!(error, Error::InvalidBundle { .. }), "{error:?}");

    fs::remove_file(&planted).unwrap();
    symlink(&bundle, &planted).unwrap();
    let error = refused(repository, &planted, &base, LIMIT).await;
    assert!(matches!(error, Error::InvalidBundle { .. }), "{error:?}");
    fs::remove_file(&planted).unwrap();
    nix::unistd::mkfifo(&planted, Mode::S_IRWXU).unwrap();
    let error = refused(repository, &planted, &base, LIMIT).await;
    assert!(matches!(error, Error::InvalidBundle { .. }), "{error:?}");
    let error = refused(repository, &fixture.path("missing"), &base, LIMIT).await;
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn objects_that_attack_git_are_refused() {
    let fixture = Fixture::with(&[("file", "1\n")]).await;
    let modules = "[submodule \"x\"]\n\tpath = x\n\turl = -u./payload\n";
    let plant = |tree: &Path| write(&tree.join(".gitmodules"), modules);
    let (bundle, _) = bundle_of(&fixture, plant).await;
    let error = refused(&fixture.repository, &bundle, &fixture.head(), LIMIT).await;
    assert!(matches!(error, Error::InvalidBundle { .. }), "{error:?}");
}

#[tokio::test]
async fn a_bundle_brings_exactly_one_commit() {
    let fixture = Fixture::with(&[("file", "1\n")]).await;
    let base = fixture.head();
    fixture.commit(&[("file", "2\n")], "second");
    fixture.commit(&[("file", "3\n")], "third");
    let bundle = fixture.path("two.bundle");
    let range = format!("{base}..main");
    fixture.git(&["bundle", "create", "-q", bundle.to_str().unwrap(), &range]);
    let error = refused(&fixture.repository, &bundle, &base, LIMIT).await;
    assert!(matches!(error, Error::InvalidBundle { .. }), "{error:?}");
}

fn on(base: &CommitId, result: &CommitId) -> Work {
    Work { base: base.clone(), result: result.clone() }
}

#[tokio::test]
async fn results_merge_into_one_line_of_commits() {
    let fixture = Fixture::with(&[("a", "1\n2\n3\n4\n5\n"), ("b", "1\n")]).await;
    let base = fixture.head();
    let one = fixture.result("one", &base, |tree| write(&tree.join("a"), "0\n2\n3\n4\n5\n")).await;
    let two = fixture.result("two", &base, |tree| write(&tree.join("a"), "1\n2\n3\n4\n6\n")).await;
    let repository = &fixture.repository;
    let text = "feat: one\n\nbody\n\nKapelle-Task: t1\nKapelle-Run: r1\n";
    let first =
        repository.merge_squash(&base, &on(&base, &one), &[], &message(text)).await.unwrap();
    let second = message("feat: two\n\nKapelle-Task: t2\n");
    let second =
        repository.merge_squash(&first.commit, &on(&base, &two), &[], &second).await.unwrap();

    let content = repository.read_file(&second.commit, Path::new("a"), 100).await.unwrap();
    assert_eq!(content.as_deref(), Some(b"0\n2\n3\n4\n6\n".as_slice()));
    let parents = fixture.git(&["log", "--format=%P", &format!("{base}..{}", second.commit)]);
    assert_eq!(parents, format!("{}\n{base}", first.commit));
    assert_eq!(second.changed.len(), 1);
    assert_eq!((second.changed[0].added, second.changed[0].deleted), (Some(1), Some(1)));
    assert_eq!(second.tree.as_str(), fixture.tree_of(&second.commit));
    assert_eq!(fixture.head(), base);
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");

    let subjects = repository.log_subjects(&base, &second.commit).await.unwrap();
    let expected = [
        (second.commit.clone(), "feat: two".to_owned()),
        (first.commit.clone(), "feat: one".to_owned()),
    ];
    assert_eq!(subjects, expected);
    let find = async |key: &str, value: &str, since: Option<&CommitId>| {
        repository.find_commit_with_trailer(&second.commit, key, value, since).await.unwrap()
    };
    assert_eq!(find("Kapelle-Task", "t1", Some(&base)).await, Some(first.commit.clone()));
    assert_eq!(find("Kapelle-Task", "t2", None).await, Some(second.commit.clone()));
    assert_eq!(find("Kapelle-Task", "t1", Some(&first.commit)).await, None);
    assert_eq!(find("Kapelle-Task", "t", None).await, None);
    assert_eq!(find("Kapelle-Run", "t1", None).await, None);
    let bad = repository.find_commit_with_trailer(&base, "x)%x", "y", None).await;
    assert!(matches!(bad, Err(Error::InvalidName { .. })), "{bad:?}");
    // The same merge again is the same commit.
    let again =
        repository.merge_squash(&base, &on(&base, &one), &[], &message(text)).await.unwrap();
    assert_eq!(again, first);
}

#[tokio::test]
async fn a_branch_of_ours_is_unmerged_until_it_is_merged_or_gone() {
    let fixture = Fixture::with(&[("a", "0\n")]).await;
    let base = fixture.head();
    let repository = &fixture.repository;
    let work = fixture.result("one", &base, |tree| write(&tree.join("b"), "1\n")).await;
    let text = "feat: one\n\nKapelle-Task: 1.1\n";
    let merged = repository
        .merge_squash(&base, &on(&base, &work), &[], &message(text))
        .await
        .unwrap()
        .commit;
    let own = RefName::own_branch("r-1").unwrap();
    repository.create_ref(&own, &merged).await.unwrap();
    fixture.git(&["branch", "other", merged.as_str()]);
    // Git takes this name, we would not.
    fixture.git(&["update-ref", "refs/heads/kapelle/-x", merged.as_str()]);
    let unmerged = async || repository.unmerged_own_branches(&fixture.head()).await.unwrap();
    assert_eq!(unmerged().await, [(own.clone(), merged.clone())]);
    let values = async |older: &CommitId| {
        repository.trailer_values("Kapelle-Task", older, &merged).await.unwrap()
    };
    assert_eq!(values(&base).await, ["1.1"]);
    fixture.commit(&[("c", "1\n")], "meanwhile");
    assert_eq!(unmerged().await.len(), 1);
    fixture.git(&["merge", "--quiet", "--no-edit", "kapelle/r-1"]);
    assert_eq!(unmerged().await, []);
    assert!(values(&fixture.head()).await.is_empty());
    fixture.git(&["reset", "--quiet", "--hard", base.as_str()]);
    assert_eq!(unmerged().await.len(), 1);
    fixture.git(&["branch", "--quiet", "-D", "kapelle/r-1"]);
    assert_eq!(unmerged().await, []);
}

#[tokio::test]
async fn conflicts_are_named() {
    let fixture = Fixture::with(&[("a", "1\n"), ("b ö\n", "1\n"), ("c", "1\n")]).await;
    let base = fixture.head();
    let change = |text: &'static str| {
        move |tree: &Path| ["a", "b ö\n"].iter().for_each(|path| write(&tree.join(path), text))
    };
    let one = fixture.result("one", &base, change("2\n")).await;
    let two = fixture.result("two", &base, change("3\n")).await;
    let first = fixture
        .repository
        .merge_squash(&base, &on(&base, &one), &[], &message("one"))
        .await
        .unwrap();
    let second = fixture
        .repository
        .merge_squash(&first.commit, &on(&base, &two), &[], &message("two"))
        .await;
    match second {
        Err(Error::Conflict { paths }) => {
            assert_eq!(paths, [PathBuf::from("a"), PathBuf::from("b ö\n")]);
        }
        other => panic!("{other:?}"),
    }
}

/// Whatever the user does to the branch meanwhile: only the work comes in.
#[tokio::test]
async fn what_the_user_took_back_stays_away() {
    let fixture = Fixture::with(&[("a", "1\n"), ("plan", "- [ ] one\n")]).await;
    let kept = fixture.commit(&[("b", "1\n")], "kept");
    let base = fixture.commit(&[("secret", "x\n"), ("plan", "- [ ] one\nsecret\n")], "dropped");
    let result = fixture
        .result("one", &base, |tree| {
            write(&tree.join("work"), "done\n");
            write(&tree.join("plan"), "- [x] one\nsecret\n");
        })
        .await;
    let edits = [Edit { path: "plan".into(), content: b"- [x] one\n".to_vec() }];
    fixture.git(&["checkout", "-q", "--orphan", "rewritten", kept.as_str()]);
    let rewritten = fixture.commit(&[("b", "2\n")], "another root");
    for target in [&kept, &rewritten] {
        let work = on(&base, &result);
        let merged = fixture.repository.merge_squash(target, &work, &edits, &message("one")).await;
        let merged = merged.unwrap();
        let mut paths: Vec<_> = merged.changed.iter().map(|change| change.path.clone()).collect();
        paths.sort();
        assert_eq!(paths, [PathBuf::from("plan"), PathBuf::from("work")]);
        let read = fixture.git(&["show", &format!("{}:plan", merged.commit)]);
        assert_eq!(read, "- [x] one");
    }
    let clash = fixture.commit(&[("work", "mine\n")], "the same file");
    let (work, text) = (on(&base, &result), message("x"));
    let merged = fixture.repository.merge_squash(&clash, &work, &edits, &text).await;
    let paths = vec![PathBuf::from("work")];
    assert!(matches!(merged, Err(Error::Conflict { paths: named }) if named == paths));
}

#[tokio::test]
async fn the_integrators_files_are_its_own() {
    let plan = "plans/road map.md";
    let fixture = Fixture::with(&[(plan, "- [ ] one\n- [ ] two\n"), ("code", "1\n")]).await;
    let base = fixture.head();
    let edit = |text: &str| vec![Edit { path: plan.into(), content: text.as_bytes().to_vec() }];
    type Work<'a> = &'a dyn Fn(&Path);
    let works: [(&str, Work<'_>); 4] = [
        ("changed", &|tree| write(&tree.join(plan), "- [x] everything\n")),
        ("deleted", &|tree| fs::remove_dir_all(tree.join("plans")).unwrap()),
        ("replaced", &|tree| {
            fs::remove_file(tree.join(plan)).unwrap();
            write(&tree.join(plan).join("nested"), "x\n");
        }),
        ("moved", &|tree| fs::rename(tree.join("plans"), tree.join("other")).unwrap()),
    ];
    let mut target = base.clone();
    for (i, (name, work)) in works.into_iter().enumerate() {
        let result = fixture
            .result(name, &base, |tree| {
                work(tree);
                write(&tree.join(name), "new\n");
            })
            .await;
        let text = format!("- [x] one\r\n- [ ] {i}\n");
        let (edit, message, work) = (edit(&text), message(name), on(&base, &result));
        let merged = fixture.repository.merge_squash(&target, &work, &edit, &message);
        let merged = merged.await.unwrap();
        let read = async |path: &str| {
            fixture.repository.read_file(&merged.commit, Path::new(path), 100).await.unwrap()
        };
        assert_eq!(read(plan).await.as_deref(), Some(text.as_bytes()), "{name}");
        assert_eq!(read(name).await.as_deref(), Some(b"new\n".as_slice()), "{name}");
        assert_eq!(read("plans/road map.md/nested").await, None, "{name}");
        target = merged.commit;
    }
    let listed = fixture.git(&["ls-tree", "-r", "--name-only", target.as_str()]);
    let expected = ["changed", "code", "deleted", "moved", "other/road map.md", plan, "replaced"];
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);

    let path = PathBuf::from("new/dir/file");
    let edits = [Edit { path: path.clone(), content: b"x".to_vec() }];
    let merged = fixture
        .repository
        .merge_squash(&target, &on(&target, &target), &edits, &message("new"))
        .await;
    let changed = merged.unwrap().changed;
    assert_eq!((&changed[0].path, &changed[0].kind), (&path, &ChangeKind::Added));
}

#[tokio::test]
async fn the_files_of_a_directory_are_named() {
    let fixture = Fixture::with(&[("a", ""), ("tests/b ö\n", ""), ("tests/sub/c", "")]).await;
    symlink("a", fixture.root.join("tests/link")).unwrap();
    let commit = fixture.commit(&[], "link");
    let check = async |directory: &str, expected: &[&str]| {
        let files = fixture.repository.files_in(&commit, Path::new(directory)).await.unwrap();
        assert_eq!(files, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{directory}");
    };
    check("", &["a"]).await;
    check("tests", &["b ö\n"]).await;
    check("tests/sub", &["c"]).await;
    check("a", &[]).await;
    check("none", &[]).await;
}

#[tokio::test]
async fn reading_a_file_is_bounded_and_literal() {
    let fixture =
        Fixture::with(&[("*", "star"), ("dir/:x", "colon"), ("long", "0123456789")]).await;
    symlink("long", fixture.root.join("link")).unwrap();
    let commit = fixture.commit(&[], "link");
    let read = async |path: &str| fixture.repository.read_file(&commit, Path::new(path), 9).await;
    assert_eq!(read("*").await.unwrap().as_deref(), Some(b"star".as_slice()));
    assert_eq!(read("dir/:x").await.unwrap().as_deref(), Some(b"colon".as_slice()));
    for path in ["dir", "dir/", "none", "link", "dir/*"] {
        assert_eq!(read(path).await.unwrap(), None, "{path}");
    }
    assert!(matches!(read("long").await, Err(Error::TooLarge { size: 10, .. })));
}
