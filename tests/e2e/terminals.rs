//! More than one terminal: the second process becomes a client of the first.

use kapelle_tests::{Project, living_in, stream};

const SLOW: &str = "sleep 1; mkdir -p out; echo x > out/$KAPELLE_STREAM";

#[test]
fn a_second_terminal_reaches_the_first() {
    let project = Project::with_streams(&[stream("1.1", "Slow", &[])], SLOW, "");
    let running = project.start(&["run"]);
    project.wait_for("an agent", || {
        (!living_in(&project.root().join(".kapelle/work")).is_empty()).then_some(())
    });
    let status = project.json(&["status", "--json"]);
    assert_eq!(status["tasks"][0]["key"], "1.1", "{status}");
    let why = project.kapelle(&["why", "1.1"]);
    assert!(why.stdout.contains("runs on local"), "{why:?}");
    let told = project.kapelle(&["feedback", "1.1", "be brief"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let second = project.kapelle(&["run", "1.1"]);
    assert!(second.stderr.contains("is being worked on already"), "{second:?}");
    assert_eq!(running.wait().code, Some(0));
    let logs = project.kapelle(&["logs", "1.1"]);
    assert!(logs.stdout.contains("the agent `worker` runs"), "{logs:?}");
}

#[test]
fn of_many_that_start_at_once_one_leads_and_the_others_ask_it() {
    let streams: Vec<String> = (1..=4).map(|n| stream(&format!("1.{n}"), "Part", &[])).collect();
    let project = Project::with_streams(&streams, SLOW, "");
    let all: Vec<_> =
        ["1.1", "1.2", "1.3", "1.4"].iter().map(|id| project.start(&["run", id])).collect();
    for (index, running) in all.into_iter().enumerate() {
        let finished = running.wait();
        assert_eq!(finished.code, Some(0), "{index}: {finished:?}");
    }
    let mut integrated = project.integrated("main");
    integrated.sort();
    assert_eq!(integrated, ["1.1", "1.2", "1.3", "1.4"]);
}
