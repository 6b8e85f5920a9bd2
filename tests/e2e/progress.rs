//! Agents that are cut off, and the next ones, which go on from what they had done.

use kapelle_tests::{NatsServer, Project, Running, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fleet;

/// Works for ever where nobody was before it, and finishes what somebody has begun.
const AGENT: &str = "\
if [ -e half ]; then mkdir -p out; { cat half; echo went on; } > out/work; rm half
else echo begun > half; sleep 600; fi";

const OFTEN: &str = "run: {snapshot_every: 100ms}\n";

fn events(project: &Project, kind: &str) -> usize {
    let events = project.kapelle(&["events", "--json"]).stdout;
    let kinds = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    kinds.filter(|event| event["kind"] == kind).count()
}

fn streams() -> Vec<String> {
    vec![stream("1.1", "Long work", &[])]
}

/// The first attempt ended as `outcome` without counting as a failure of the work; the second one
/// began with its files.
fn check(project: &Project, outcome: &str) {
    assert_eq!(project.read("out/work"), "begun\nwent on\n");
    assert!(!project.root().join("half").exists());
    let report = project.json(&["report", "r-1", "-o", "json"]);
    let attempts = &report["tasks"][0]["attempts"];
    assert_eq!(attempts.as_array().map(Vec::len), Some(2), "{report}");
    assert_eq!(attempts[0]["outcome"], outcome, "{report}");
    assert_eq!(attempts[1]["goes_on_from"], 1, "{report}");
    let told = project.kapelle(&["report", "r-1"]).stdout;
    assert!(told.contains("went on from the work of try 1"), "{told}");
}

#[test]
fn a_run_that_was_killed_goes_on_from_the_files_that_were_kept() {
    let project = Project::with_streams(&streams(), AGENT, OFTEN);
    let running = project.start(&["run", "1.1"]);
    project.wait_for("work in progress", || (events(&project, "snapshot_taken") > 0).then_some(()));
    // The agent sleeps: nothing changes, and nothing is kept.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(events(&project, "snapshot_taken"), 1);
    let why = project.kapelle(&["why", "1.1"]).stdout;
    assert!(why.contains("work in progress of attempt 1 is kept (1 files)"), "{why}");
    running.kill_tree();
    let finished = project.kapelle(&["resume"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    check(&project, "interrupted");
    let left = std::fs::read_dir(project.root().join(".kapelle/results")).expect("a directory");
    assert_eq!(left.count(), 0, "nothing is kept that nobody goes on from");
    let refs = project.git(&["for-each-ref", "refs/kapelle/"]);
    assert!(!refs.contains("progress"), "{refs}");
}

#[test]
fn a_run_that_was_stopped_goes_on_from_what_its_agents_had_done() {
    // Never by itself: what is there at the end is enough.
    let project = Project::with_streams(&streams(), AGENT, "run: {snapshot_every: 0s}\n");
    let running = project.start(&["run", "1.1"]);
    let work = project.root().join(".kapelle/work");
    project.wait_for("the agent's first file", || {
        let mut clones = std::fs::read_dir(&work).ok()?.flatten();
        clones.any(|clone| clone.path().join("tree/half").exists()).then_some(())
    });
    for _ in 0..2 {
        kill(Pid::from_raw(running.id()), Signal::SIGINT).expect("it runs");
        // Two that come together are one.
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    drop(running.wait());
    assert_eq!(events(&project, "snapshot_taken"), 0);
    let finished = project.kapelle(&["resume"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    check(&project, "interrupted");
}

/// A coordinator, and a worker whose agent has begun.
fn begun(project: &Project, nats: &NatsServer, config: &str) -> (Running, Running, Running) {
    let coordinator = fleet::coordinator(project, nats);
    let doomed = fleet::worker_with(project, nats, "doomed", (AGENT, config), &[]);
    fleet::wait_for_workers(project, 1);
    let batch = project.start(&["run", "1.1"]);
    let tree = project.around().join("doomed/state/work");
    project.wait_for("the agent's first file", || {
        let mut clones = std::fs::read_dir(&tree).ok()?.flatten();
        clones.any(|clone| clone.path().join("tree/half").exists()).then_some(())
    });
    (coordinator, doomed, batch)
}

#[test]
fn another_machine_goes_on_from_the_files_of_one_that_was_lost() {
    let nats = NatsServer::start();
    let project = Project::with_streams(&streams(), AGENT, fleet::QUICK);
    let (coordinator, doomed, batch) = begun(&project, &nats, OFTEN);
    project.wait_for("work in progress", || (events(&project, "snapshot_taken") > 0).then_some(()));
    doomed.kill_tree();
    let other = fleet::worker_with(&project, &nats, "other", (AGENT, ""), &[]);
    let finished = batch.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    check(&project, "lost");
    fleet::end([other, coordinator]);
}

#[test]
fn a_worker_that_is_told_to_end_hands_over_what_takes_too_long() {
    let nats = NatsServer::start();
    let project = Project::with_streams(&streams(), AGENT, fleet::QUICK);
    let config = "timeouts: {drain: 300ms}\nrun: {snapshot_every: 0s}\n";
    let (coordinator, drained, batch) = begun(&project, &nats, config);
    kill(Pid::from_raw(drained.id()), Signal::SIGTERM).expect("it runs");
    let ended = drained.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let other = fleet::worker_with(&project, &nats, "other", (AGENT, ""), &[]);
    let finished = batch.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    check(&project, "interrupted");
    fleet::end([other, coordinator]);
}
