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
    assert!(told.stdout.contains("the next try is told"), "{told:?}");
    let second = project.kapelle(&["run", "1.1"]);
    assert!(second.stderr.contains("is being worked on already"), "{second:?}");
    assert_eq!(running.wait().code, Some(0));
    let logs = project.kapelle(&["logs", "1.1"]);
    assert!(logs.stdout.contains("the agent `worker` runs"), "{logs:?}");
}

#[test]
fn feedback_says_when_it_is_heard() {
    let streams = [stream("1.1", "Deaf", &[]), stream("1.2", "Listening", &[])];
    let more = "  listener:\n    protocol: lines\n    command: [sh, -c, 'read prompt; read line; mkdir -p out; echo \"$line\" > out/heard']\nrun: {agent: worker}\n";
    let deaf = "until [ -e \"$HOME/go\" ]; do sleep 0.05; done; mkdir -p out; echo x > out/deaf";
    let project = Project::with_streams(&streams, deaf, "");
    // Another agent, in the map that is last but one.
    let config = project.read("kapelle.yaml").replace("retry:", &format!("{more}retry:"));
    project.write("kapelle.yaml", &config);
    project.git(&["commit", "--quiet", "-am", "config"]);
    let first = project.start(&["run", "1.1"]);
    let working = |count: usize| {
        project.wait_for("agents", || {
            let status = project.json(&["status", "--json"]);
            let tasks = status["tasks"].as_array().expect("tasks").iter();
            (tasks.filter(|task| task["phase"] == "running").count() == count).then_some(())
        });
    };
    working(1);
    let second = project.start(&["run", "1.2", "--agent", "listener"]);
    working(2);
    let told = |id: &str| project.json(&["feedback", id, "be brief", "--json"]);
    let (deaf, listening) = (told("1.1"), told("1.2"));
    assert_eq!(
        (&deaf["delivery"], &deaf["attempt"]),
        (&"next_attempt".into(), &1.into()),
        "{deaf}"
    );
    assert_eq!(listening["delivery"], "now", "{listening}");
    assert_eq!(second.wait().code, Some(0));
    std::fs::write(project.around().join("home/go"), "").expect("a file");
    assert_eq!(first.wait().code, Some(0));
    assert!(project.read("out/heard").contains("be brief"));
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

#[test]
fn a_coordinator_that_answers_is_named_to_whoever_wants_its_place() {
    let project = Project::with_streams(&[stream("1.1", "One", &[])], SLOW, "");
    let up = project.start(&["up"]);
    let wanted = format!("process {} answers, started as `kapelle up`", up.id());
    project.wait_for("the coordinator", || {
        project.kapelle(&["doctor"]).stdout.contains(&wanted).then_some(())
    });
    let runs = format!("a coordinator runs already: process {}, started as `kapelle up`", up.id());
    for args in [&["up"][..], &["coordinator", "--nats", "nats://127.0.0.1:1"]] {
        let refused = project.kapelle(args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(&runs), "{refused:?}");
        assert!(refused.stderr.contains("use it, or end it first: kapelle down"), "{refused:?}");
    }
    assert_eq!(project.kapelle(&["down"]).code, Some(0));
    assert_eq!(up.wait().code, Some(0));
}
