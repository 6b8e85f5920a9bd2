//! What is on a worker's disk and not with the coordinator yet, when everything is killed.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use kapelle_tests::{Project, Running, stream};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Where SQLite's one writer locks the index of its log, and for how many bytes.
const WRITER_LOCK: (i64, i64) = (120, 1);

/// Keeps every process from committing, as another writer of the database would.
struct NoCommits(#[expect(dead_code, reason = "held for its lock")] File);

impl NoCommits {
    fn take(project: &Project) -> Self {
        let path = project.root().join(".kapelle/state.db-shm");
        let mut options = File::options();
        let file = options.read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path);
        let file = file.expect("the database is open");
        let lock = libc::flock {
            l_type: libc::F_WRLCK as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: WRITER_LOCK.0,
            l_len: WRITER_LOCK.1,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_SETLKW(&lock)).expect("the writer lock");
        Self(file)
    }
}

/// The spools that there are.
fn spools(project: &Project) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project.root().join(".kapelle/spool"));
    entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn wait_for_event(project: &Project, name: &str) {
    project.wait_for(name, || {
        project.kapelle(&["events", "--json"]).stdout.contains(name).then_some(())
    });
}

/// The texts of a transcript: the agent's, and the worker's own words.
fn said(project: &Project, attempt: &str) -> (Vec<String>, Vec<String>) {
    let logs = project.kapelle(&["logs", attempt, "-o", "ndjson"]);
    assert_eq!(logs.code, Some(0), "{logs:?}");
    let lines = logs.stdout.lines().map(|line| serde_json::from_str(line).expect("a line"));
    let lines: Vec<serde_json::Value> = lines.collect();
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line["n"].as_u64()).collect();
    assert_eq!(numbers, (1..=lines.len() as u64).collect::<Vec<_>>(), "each once, in order");
    let (ours, theirs): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["lane"] == "worker");
    let text = |line: &serde_json::Value| line["text"].as_str().unwrap_or_default().to_owned();
    (theirs.into_iter().map(text).collect(), ours.into_iter().map(text).collect())
}

fn count_to(last: u32) -> Vec<String> {
    (1..=last).map(|number| number.to_string()).collect()
}

fn attempts(project: &Project) -> usize {
    let report = project.json(&["report", "--json"]);
    report["tasks"][0]["attempts"].as_array().map_or(0, Vec::len)
}

/// An attempt that has ended, its report on disk, and a store that takes no commits. Killed.
fn killed_before_the_report_was_recorded() -> Project {
    let agent = "seq 1 3000; mkdir -p out; echo \"$KAPELLE_ATTEMPT\" > out/1.1; \
                 while [ ! -e \"$HOME/go\" ]; do sleep 0.05; done; echo last words";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], agent, "");
    let running: Running = project.start(&["run"]);
    wait_for_event(&project, "attempt_started");
    let no_commits = NoCommits::take(&project);
    std::fs::write(project.around().join("home/go"), "").expect("a file");
    project.wait_for("the report to be on disk", || {
        spools(&project).iter().any(|spool| spool.join("report.json").exists()).then_some(())
    });
    running.kill_tree();
    drop(no_commits);
    project
}

#[test]
fn work_that_was_finished_is_not_done_again() {
    let project = killed_before_the_report_was_recorded();
    // Processes that only look find it as it is, and leave it so.
    for _ in 0..2 {
        let why = project.kapelle(&["why", "1.1"]);
        assert!(why.stdout.contains("the report waits to be delivered"), "{why:?}");
    }
    assert_eq!(attempts(&project), 1);
    let resumed = project.kapelle(&["resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(attempts(&project), 1, "it was made again");
    assert_eq!(project.integrated("main"), ["1.1"]);
    assert_eq!(project.read("out/1.1"), "1\n");
    let (theirs, ours) = said(&project, "r-1/1.1#1");
    let mut expected = count_to(3_000);
    expected.push("last words".to_owned());
    assert_eq!(theirs, expected);
    assert_eq!(ours.last().map(String::as_str), Some("done: last words"));
    assert!(spools(&project).is_empty());
    let results = std::fs::read_dir(project.root().join(".kapelle/results")).expect("a directory");
    assert_eq!(results.count(), 0);
}

#[test]
fn an_order_to_stop_wins_over_a_report_that_was_not_recorded() {
    let project = killed_before_the_report_was_recorded();
    let stopped = project.kapelle(&["stop", "--all"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let report = project.json(&["report", "--json"]);
    assert_eq!(report["tasks"][0]["task"]["state"], "cancelled", "{report}");
    // The next worker delivers what was said, and is told that nobody wants the result.
    assert_eq!(project.kapelle(&["run", "1.1"]).code, Some(0));
    assert_eq!(project.integrated("main"), ["1.1"]);
    assert_eq!(said(&project, "r-1/1.1#1").0.len(), 3_001);
    assert!(spools(&project).is_empty());
}

#[test]
fn a_transcript_that_nobody_took_is_delivered_after_the_crash() {
    let agent = "[ \"$KAPELLE_ATTEMPT\" = 1 ] && { seq 1 3000; sleep 600; }; mkdir -p out; echo x > out/1.1";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], agent, "");
    // Nothing can be written below it.
    project.write(".kapelle/logs", "");
    let running = project.start(&["run"]);
    project.wait_for("the transcript to be on disk", || {
        let files = spools(&project).into_iter().flat_map(|spool| std::fs::read_dir(spool).ok());
        let mut segments = files.flatten().flatten().map(|entry| entry.path());
        let whole = segments.any(|path| {
            let content = std::fs::read(path).unwrap_or_default();
            content.windows(6).any(|window| window == b"\"3000\"")
        });
        whole.then_some(())
    });
    running.kill_tree();
    std::fs::remove_file(project.root().join(".kapelle/logs")).expect("a file");
    let resumed = project.kapelle(&["resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let (theirs, ours) = said(&project, "r-1/1.1#1");
    assert_eq!(theirs, count_to(3_000));
    let end = ours.last().map_or("", String::as_str);
    assert!(end.starts_with("the worker was cut off here"), "{ours:?}");
    assert_eq!(attempts(&project), 2);
    assert!(spools(&project).is_empty());
}
