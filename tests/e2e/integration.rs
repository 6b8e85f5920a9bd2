//! What comes between a finished result and its target, and whose names are whose: no agent works
//! again for a lock, and nothing of anybody else's is moved or taken for ours.

use std::path::PathBuf;
use std::process::{Child, Command};

use kapelle_tests::{Finished, Project, Running, stream};

/// Leaves a line for each time that it has worked.
const AGENT: &str = "echo x >> \"$HOME/worked\"; mkdir -p out; echo x > out/$KAPELLE_STREAM";

/// A project in which integration is tried `attempts` times.
fn project(attempts: u32, more: &str) -> Project {
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &["1.1"])];
    let project = Project::with_streams(&streams, AGENT, more);
    let config = project.read("kapelle.yaml");
    let limit = format!("backoff_max: 50ms, integration_attempts: {attempts}");
    project.write("kapelle.yaml", &config.replace("backoff_max: 50ms", &limit));
    project.git(&["commit", "--quiet", "-am", "settings"]);
    project
}

/// A git of somebody else's that holds locks, and lives: those of a dead one are removed.
struct Held {
    git: Child,
    path: PathBuf,
}

impl Held {
    fn take(project: &Project, name: &str) -> Self {
        let program = project.around().join(format!("git-{}", name.replace('/', "-")));
        std::fs::copy("/bin/sleep", &program).expect("a program");
        let mut git = Command::new(program);
        let git = git.arg("600").current_dir(project.root()).spawn().expect("it starts");
        let path = project.root().join(".git").join(name);
        std::fs::write(&path, "").expect("a file");
        Self { git, path }
    }

    fn release(mut self) {
        std::fs::remove_file(&self.path).expect("the lock");
        self.git.kill().expect("it lives");
        self.git.wait().expect("its end");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.git.kill().ok();
        self.git.wait().ok();
    }
}

const TARGET: &str = "refs/heads/main.lock";

fn worked(project: &Project) -> usize {
    let log = project.around().join("home/worked");
    std::fs::read_to_string(log).unwrap_or_default().lines().count()
}

fn attempts(project: &Project) -> usize {
    let report = project.json(&["report", "--json"]);
    report["tasks"][0]["attempts"].as_array().map_or(0, Vec::len)
}

fn results(project: &Project) -> usize {
    std::fs::read_dir(project.root().join(".kapelle/results")).expect("a directory").count()
}

fn integrated_once(project: &Project, finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!((worked(project), attempts(project)), (1, 1), "an agent worked again");
    assert_eq!(project.integrated("main"), ["1.1"]);
    assert_eq!(project.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    assert_eq!(results(project), 0);
}

#[test]
fn a_lock_in_the_way_costs_no_attempt() {
    let project = project(1_000_000, "");
    let target = Held::take(&project, TARGET);
    let running: Running = project.start(&["run", "1.1"]);
    let told = "its result is kept, and integrated later";
    project.wait_for("the hindrance to be told", || {
        let why = project.kapelle(&["why", "1.1"]).stdout;
        (why.contains(told) && why.contains("main.lock")).then_some(())
    });
    for arguments in [&["status", "-o", "json"][..], &["report"], &["report", "--markdown"]] {
        let shown = project.kapelle(arguments);
        assert!(shown.stdout.contains("its result is kept"), "{arguments:?}: {shown:?}");
    }
    let index = Held::take(&project, "index.lock");
    project.wait_for("the other hindrance to be told", || {
        project.kapelle(&["why", "1.1"]).stdout.contains("index.lock").then_some(())
    });
    index.release();
    target.release();
    integrated_once(&project, &running.wait());
}

#[test]
fn what_stays_in_the_way_leaves_the_result_for_resume() {
    let project = project(3, "");
    let held = Held::take(&project, TARGET);
    let finished = project.kapelle(&["run", "1.1"]);
    assert_eq!(finished.code, Some(10), "{finished:?}");
    let why = project.kapelle(&["why", "1.1"]);
    for words in ["main.lock", "its result is kept", "kapelle resume r-1"] {
        assert!(why.stdout.contains(words), "{words}: {why:?}");
    }
    let kept = project.git(&["for-each-ref", "--format=%(refname)", "refs/kapelle/"]);
    assert!(kept.ends_with("/r-1/t0/1"), "{kept}");
    // Neither a coordinator that starts here removes it, nor one of another working tree.
    let other = project.around().join("other");
    let other = other.to_str().expect("a plain path");
    project.git(&["worktree", "add", "--quiet", "-b", "other", other]);
    for directory in [".", other] {
        let status = project.kapelle(&["-C", directory, "status"]);
        assert_eq!(status.code, Some(0), "{status:?}");
        assert_eq!(project.git(&["for-each-ref", "--format=%(refname)", "refs/kapelle/"]), kept);
    }
    project.git(&["worktree", "remove", "--force", other]);
    project.git(&["branch", "--quiet", "-D", "other"]);
    held.release();
    integrated_once(&project, &project.kapelle(&["resume"]));
    let next = project.kapelle(&["run", "1.2"]);
    assert_eq!(next.code, Some(0), "what depends on it can start: {next:?}");
}

#[test]
fn a_full_disk_while_the_merged_tree_is_checked_costs_no_attempt() {
    let check = "case $PWD in */merge-*) [ -e \"$HOME/room\" ] || { touch \"$HOME/room\"; \
                 echo 'write: No space left on device'; exit 1; };; esac";
    let check = serde_json::to_string(check).expect("a text");
    let project = project(3, &format!("verify: {{checks: [{{name: t, command: {check}}}]}}\n"));
    integrated_once(&project, &project.kapelle(&["run", "1.1"]));
}

#[test]
fn a_result_that_is_gone_is_made_again() {
    let project = project(3, "");
    let held = Held::take(&project, TARGET);
    let finished = project.kapelle(&["run", "1.1"]);
    assert_eq!(finished.code, Some(10), "{finished:?}");
    let kept = project.git(&["for-each-ref", "--format=%(refname)", "refs/kapelle/"]);
    project.git(&["update-ref", "-d", &kept]);
    std::fs::remove_dir_all(project.root().join(".kapelle/results")).expect("a directory");
    held.release();
    let resumed = project.kapelle(&["resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!((worked(&project), attempts(&project)), (2, 2));
    assert_eq!(project.integrated("main"), ["1.1"]);
}

#[test]
fn a_target_that_is_deleted_meanwhile_costs_no_attempt() {
    let git = "git -C \"$HOME/../project\"";
    let agent = format!("{AGENT}; {git} branch -D wanted");
    let more = "integrate: {target: wanted}\n";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], &agent, more);
    project.git(&["branch", "wanted"]);
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!((worked(&project), attempts(&project)), (1, 1));
    assert_eq!(project.integrated("kapelle/r-1"), ["1.1"]);
    let shown = project.kapelle(&["show", "r-1"]);
    assert!(shown.stdout.contains("the branch wanted is gone"), "{shown:?}");
}

#[test]
fn a_branch_of_the_users_is_never_ours() {
    for (users, ours) in [("kapelle/r-1", "kapelle/r-1-2"), ("kapelle", "kapelle-runs/r-1")] {
        let project = project(3, "");
        project.git(&["branch", users]);
        project.write("kapelle.yaml", &format!("{}\n", project.read("kapelle.yaml")));
        let before = project.git(&["rev-parse", users]);
        let finished = project.kapelle(&["run", "1.1"]);
        assert_eq!(finished.code, Some(0), "{users}: {finished:?}");
        let told = format!("results go to the branch {ours}");
        assert!(finished.stderr.contains(&told), "{finished:?}");
        assert_eq!(project.git(&["rev-parse", users]), before, "it was moved");
        assert_eq!(project.integrated(ours), ["1.1"]);
        let merge = format!("git merge {ours}");
        assert!(project.kapelle(&["why", "1.1"]).stdout.contains(&merge), "{users}");
    }
}

#[test]
fn a_new_database_knows_nothing_of_what_an_older_one_did() {
    let project = project(3, "");
    // The user works on what an earlier run has left, with a database that counts from one again.
    project.write("notes.txt", "mine\n");
    project.git(&["add", "-A"]);
    assert_eq!(project.kapelle(&["run", "1.1"]).code, Some(0));
    project.git(&["commit", "--quiet", "-m", "notes"]);
    project.git(&["switch", "--quiet", "kapelle/r-1"]);
    std::fs::remove_dir_all(project.root().join(".kapelle")).expect("a directory");
    project.write("kapelle.yaml", &format!("{}\n", project.read("kapelle.yaml")));
    let before = project.git(&["rev-parse", "kapelle/r-1"]);
    let finished = project.kapelle(&["run", "1.2"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.git(&["rev-parse", "kapelle/r-1"]), before, "it was moved");
    assert_eq!(project.integrated("kapelle/r-1-2"), ["1.1", "1.2"]);
    let format = "--format=%(trailers:key=Kapelle-Attempt,valueonly)";
    let trailers = project.git(&["log", format, "kapelle/r-1-2"]);
    let trailers: Vec<&str> = trailers.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(trailers.len(), 2, "{trailers:?}");
    assert!(trailers.iter().all(|trailer| trailer.starts_with("r-1/t0#1@")), "{trailers:?}");
    assert_ne!(trailers[0], trailers[1]);
}
