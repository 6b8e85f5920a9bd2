//! Killing an advance: before and after each git process it starts, and at random
//! moments; with everything, or leaving git behind; with a user who edits next.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kapelle_git::{Advance, CommitId, Recovered, RefName, Repository};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::advance::{assert_at, assert_no_debris, with_change};
use crate::fixture::{Fixture, write};

const ARGUMENTS: &str = "KAPELLE_GIT_TEST_ADVANCE";

/// The process to kill: advances as its environment says.
#[tokio::test]
#[ignore = "started by the other tests of this file"]
async fn victim() {
    let arguments = std::env::var(ARGUMENTS).expect("only for the other tests of this file");
    let [root, branch, old, new] = *arguments.split('\n').collect::<Vec<_>>() else {
        panic!("{arguments:?}");
    };
    let advance = Advance {
        branch: RefName::new(branch).unwrap(),
        old: CommitId::new(old).unwrap(),
        new: CommitId::new(new).unwrap(),
    };
    let repository = Repository::discover(Path::new(root)).await.unwrap();
    repository.advance(&advance, "victim").await.unwrap();
}

fn start(fixture: &Fixture, advance: &Advance, path: &str) -> Child {
    let root = fixture.root.to_str().unwrap();
    let Advance { branch, old, new } = advance;
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "advance_kill::victim"])
        .env(ARGUMENTS, format!("{root}\n{branch}\n{old}\n{new}"))
        .env("PATH", path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Recovers, checks that nothing of ours is left and nothing of the user's is lost,
/// and brings the repository back to `old`.
async fn recover_and_check(fixture: &Fixture, advance: &Advance, edit: Option<&str>, story: &str) {
    let content = "the user's own words\n";
    if let Some(path) = edit {
        let path = fixture.root.join(path);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        write(&path, content);
    }
    let recovered = fixture.repository.recover_advance(advance).await;
    let recovered = recovered.unwrap_or_else(|error| panic!("{story}: {error:?}"));
    let (at, paths): (&CommitId, Vec<PathBuf>) = match &recovered {
        Recovered::Completed => (&advance.new, Vec::new()),
        Recovered::NotStarted => (&advance.old, Vec::new()),
        Recovered::RolledBack { kept } => (&advance.old, kept.clone()),
        other => panic!("{story}: {other:?}"),
    };
    match edit {
        None => {
            assert_eq!(paths, Vec::<PathBuf>::new(), "{story}");
            assert_at(fixture, at);
        }
        Some(path) => {
            let found = fs::read_to_string(fixture.root.join(path)).unwrap();
            assert_eq!(found, content, "{story}: {recovered:?}");
            assert_eq!(fixture.head(), *at, "{story}");
            let status = fixture.git(&["status", "--porcelain", "--untracked-files=all"]);
            assert_eq!(status.lines().count(), 1, "{story}: {recovered:?}\n{status}");
            assert!(paths.iter().all(|kept| kept == Path::new(path)), "{story}: {paths:?}");
            assert_no_debris(fixture);
        }
    }
    fixture.git(&["reset", "-q", "--hard", advance.old.as_str()]);
    fixture.git(&["clean", "-qfdx"]);
}

fn real_git() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|dir| dir.join("git")).find(|git| git.exists()).unwrap()
}

/// A `git` that kills its parent at the `nth` call, before or after its work.
fn deadly_git(directory: &Path, nth: u32, after: bool) -> String {
    let (git, count) = (real_git(), directory.join("count"));
    let work = if after { "\"$git\" \"$@\"" } else { ":" };
    let script = format!(
        "#!/bin/sh\ngit='{}'\ncount='{}'\necho x >> \"$count\"\n\
         if [ $(wc -l < \"$count\") -eq {nth} ]; then {work}; kill -9 $PPID; exit; fi\n\
         exec \"$git\" \"$@\"\n",
        git.display(),
        count.display()
    );
    let _ = fs::remove_file(&count);
    let file = directory.join("git");
    write(&file, script);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}

#[tokio::test]
async fn killed_at_each_step() {
    let (fixture, advance) = with_change().await;
    let directory = fixture.path("bin");
    let mut killed = 0;
    for nth in 1.. {
        let mut ended = false;
        for after in [false, true] {
            let path = deadly_git(&directory, nth, after);
            ended |= start(&fixture, &advance, &path).wait().unwrap().success();
            killed += u32::from(!ended);
            let edit = (nth % 2 == 1).then_some("edit");
            let story = format!("git process {nth}, after its work: {after}");
            recover_and_check(&fixture, &advance, edit, &story).await;
        }
        if ended {
            break;
        }
    }
    assert!(killed >= 20, "only {killed} kills");
}

#[tokio::test]
async fn killed_at_any_instant() {
    let seed = match std::env::var("KAPELLE_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => RandomState::new().hash_one(0_u8),
    };
    println!("KAPELLE_TEST_SEED={seed}");
    let mut random = seed;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (fixture, advance) = with_change().await;
    let path = std::env::var("PATH").unwrap();
    let branch_file = fixture.root.join(".git/refs/heads/main");
    for round in 0..20 {
        let mut victim = start(&fixture, &advance, &path);
        // Three of four die in the short time after the branch has moved.
        let in_the_middle = next(4) != 0;
        let moved = || fs::read_to_string(&branch_file).unwrap().trim() == advance.new.as_str();
        while in_the_middle && !moved() {
            assert!(victim.try_wait().unwrap().is_none_or(|status| status.success()));
        }
        // The moment is the test's subject; there is no condition to wait for.
        let moment = next(if in_the_middle { 12_000 } else { 30_000 });
        tokio::time::sleep(Duration::from_micros(moment)).await;
        let everything = next(2) == 0;
        let edit = [None, Some("edit"), Some("large"), Some("gone/deep/file")];
        let edit = edit[usize::try_from(next(4)).unwrap()];
        end(&mut victim, everything);
        let story = format!("seed {seed}, round {round}, everything: {everything}, {edit:?}");
        if !everything {
            // A git that is still at work would race with the user's edit, which no
            // order of ours can prevent; the edit comes after it.
            wait_for_git_to_end(&fixture.root);
        }
        recover_and_check(&fixture, &advance, edit, &story).await;
    }
}

#[tokio::test]
async fn dropped_at_any_instant() {
    let (fixture, advance) = with_change().await;
    for moment in 0..25 {
        let limit = Duration::from_millis(moment);
        let _ = tokio::time::timeout(limit, fixture.repository.advance(&advance, "x")).await;
        recover_and_check(&fixture, &advance, None, &format!("dropped after {limit:?}")).await;
    }
}

/// Kills the process, and with `everything` its children at the same instant.
fn end(victim: &mut Child, everything: bool) {
    let pid = Pid::from_raw(i32::try_from(victim.id()).unwrap());
    // Stopped, it cannot start another child while we look.
    if kill(pid, Signal::SIGSTOP).is_ok() && everything {
        for child in children(pid) {
            let _ = kill(child, Signal::SIGKILL);
        }
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

fn children(pid: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    let pids = lists.flat_map(|list| {
        list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()
    });
    pids.map(Pid::from_raw).collect()
}

fn wait_for_git_to_end(root: &Path) {
    let works_here = |process: fs::DirEntry| {
        let cwd = fs::read_link(process.path().join("cwd"));
        cwd.is_ok_and(|cwd| cwd.starts_with(root))
    };
    while fs::read_dir("/proc").unwrap().flatten().any(works_here) {
        std::thread::yield_now();
    }
}
