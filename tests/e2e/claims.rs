//! Work streams are done once, whoever asks for them and however often.

use kapelle_tests::{Project, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SLOW: &str = "sleep 0.5; mkdir -p out; echo x > out/$KAPELLE_STREAM";

#[test]
fn the_same_work_that_is_asked_for_at_once_is_done_once() {
    let streams = ["1.1", "1.2", "1.3"].map(|id| stream(id, "Stream", &[]));
    let project = Project::with_streams(&streams, SLOW, "");
    let started: Vec<_> = (0..4).map(|_| project.start(&["batch", "-n", "3"])).collect();
    for running in started {
        let finished = running.wait();
        // Whoever came too late is told that nothing is left.
        assert!(matches!(finished.code, Some(0 | 3)), "{finished:?}");
    }
    let mut integrated = project.integrated("main");
    integrated.sort();
    assert_eq!(integrated, ["1.1", "1.2", "1.3"]);
}

#[test]
fn a_resumed_run_takes_what_others_have_done_and_begins_where_the_branch_is() {
    let agent = "test -e ../../../../ok || exit 3; mkdir -p out; cat lib.txt > out/$KAPELLE_STREAM";
    let streams = ["1.1", "1.2"].map(|id| stream(id, "Stream", &[]));
    let project = Project::with_streams(&streams, agent, "");
    assert_eq!(project.kapelle(&["batch"]).code, Some(10));
    project.write("lib.txt", "new\n");
    project.git(&["add", "lib.txt"]);
    project.git(&["commit", "--quiet", "-m", "a library"]);
    std::fs::write(project.root().join("ok"), "").expect("a file");
    project.git(&["update-index", "--refresh"]);
    let other = project.kapelle(&["run", "1.1"]);
    assert_eq!(other.code, Some(0), "{other:?}");
    let resumed = project.kapelle(&["resume", "r-1"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(project.integrated("main"), ["1.1", "1.2"], "each once");
    assert_eq!(project.git(&["show", "main:out/1.2"]), "new", "from where the branch is");
}

#[test]
fn a_switch_in_the_environment_takes_what_people_write() {
    let project = Project::with_streams(&[stream("1.1", "One", &[])], SLOW, "");
    for value in ["1", "true", "no"] {
        let finished = project.kapelle_with(&["status"], &[("KAPELLE_ASCII", value)]);
        assert_eq!(finished.code, Some(0), "{value}: {finished:?}");
    }
}

/// A coordinator that drains takes nothing that it won't do; the next one does it.
#[test]
fn what_is_started_while_a_coordinator_drains_is_done_by_the_next_one() {
    let agent = "until [ -e \"$HOME/go\" ]; do sleep 0.05; done; mkdir -p out; echo x > out/$KAPELLE_STREAM";
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &[])];
    let project = Project::with_streams(&streams, agent, "");
    let up = project.start(&["up"]);
    project.wait_for("the coordinator", || {
        (project.kapelle(&["status"]).code == Some(0)
            && project.root().join(".kapelle").join("kapelle.sock").exists())
        .then_some(())
    });
    let first = project.start(&["run", "1.1"]);
    project.wait_for("an agent", || {
        let status = project.json(&["status", "--json"]);
        (status["tasks"][0]["phase"] == "running").then_some(())
    });
    kill(Pid::from_raw(up.id()), Signal::SIGINT).expect("it runs");
    project.wait_for("it to drain", || {
        (project.json(&["status", "--json"])["draining"] == true).then_some(())
    });
    let refused = project.kapelle(&["run", "1.2"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("is draining"), "{refused:?}");
    let runs = project.json(&["runs", "--json"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");

    let mut second = project.start(&["run", "1.2"]);
    assert!(!second.has_ended());
    std::fs::write(project.around().join("home/go"), "").expect("a file");
    assert_eq!(up.wait().code, Some(0));
    drop(first.wait());
    assert_eq!(second.wait().code, Some(0));
    let mut integrated = project.integrated("main");
    integrated.sort();
    assert_eq!(integrated, ["1.1", "1.2"]);
}
