//! Steering work that runs, from a second terminal.

use kapelle_tests::{Project, stream};

/// Works until the file `go` appears beside the project.
fn waiting_agent(project: &str) -> String {
    format!(
        "while ! test -e {project}/go; do sleep 0.05; done; mkdir -p out; echo x > out/$KAPELLE_STREAM"
    )
}

fn project(streams: &[String]) -> Project {
    // The agent is told the place by its environment, since the project makes its own.
    let agent = waiting_agent("$PLACE");
    Project::with_streams(streams, &agent, "")
}

fn running(project: &Project, key: &str) {
    project.wait_for(&format!("the agent of {key}"), || {
        let status = project.kapelle(&["show", key, "-o", "json"]);
        status.stdout.contains("\"running\"").then_some(())
    });
}

fn state_of(project: &Project, args: &[&str]) -> String {
    let receipts = project.json(args);
    receipts["receipts"][0]["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_paused_agent_stands_still_and_goes_on() {
    let project = project(&[stream("1.1", "One", &[])]);
    let place = project.around().display().to_string();
    let run = project.start_with(&["run"], &[("PLACE", &place)]);
    running(&project, "1.1");
    assert_eq!(state_of(&project, &["ping", "1.1", "-o", "json"]), "applied");
    assert_eq!(state_of(&project, &["pause", "1.1", "-o", "json"]), "applied");
    // A frozen agent doesn't see the file, however long it is there.
    std::fs::write(project.around().join("go"), "").expect("a file");
    let frozen = project.wait_for("the agent to be frozen", || {
        let states = kapelle_tests::states_in(project.root());
        (!states.is_empty() && states.iter().all(|state| *state == 'T')).then_some(states)
    });
    assert!(!frozen.is_empty());
    assert!(project.kapelle(&["why", "1.1"]).stdout.contains("paused"), "it says so");
    for args in [&["status"][..], &["show", "1.1"]] {
        let shown = project.kapelle(args).stdout;
        assert!(shown.contains("paused") && !shown.contains("runs on"), "{args:?}: {shown}");
    }
    assert_eq!(state_of(&project, &["resume", "1.1", "-o", "json"]), "applied");
    let finished = run.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.integrated("main"), ["1.1"]);
}

#[test]
fn a_frozen_agent_can_be_stopped() {
    let project = project(&[stream("1.1", "One", &[])]);
    let place = project.around().display().to_string();
    let run = project.start_with(&["run"], &[("PLACE", &place)]);
    running(&project, "1.1");
    assert_eq!(state_of(&project, &["pause", "1.1", "-o", "json"]), "applied");
    project.kapelle(&["stop", "1.1"]);
    let finished = run.wait();
    assert_eq!(finished.code, Some(10), "{finished:?}");
    assert!(kapelle_tests::states_in(project.root()).is_empty(), "nothing is left");
}

#[test]
fn a_redirected_agent_comes_back_after_the_other_work_stream() {
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &[])];
    let project = project(&streams);
    let place = project.around().display().to_string();
    let run = project.start_with(&["batch", "-n", "1"], &[("PLACE", &place)]);
    running(&project, "1.1");
    let args = ["redirect", "1.1", "1.2", "--reason", "1.1 waits", "-o", "json"];
    assert_eq!(state_of(&project, &args), "applied");
    running(&project, "1.2");
    assert!(project.kapelle(&["why", "1.1"]).stdout.contains("by order"), "it says so");
    std::fs::write(project.around().join("go"), "").expect("a file");
    let finished = run.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.integrated("main"), ["1.2", "1.1"]);
}

#[test]
fn a_command_that_makes_no_sense_says_why() {
    let project = project(&[stream("1.1", "One", &[])]);
    let place = project.around().display().to_string();
    let run = project.start_with(&["run"], &[("PLACE", &place)]);
    running(&project, "1.1");
    for (args, words) in [
        (&["redirect", "1.1", "9.9"][..], "9.9"),
        (&["ping", "--worker", "nobody"][..], "nobody"),
        (&["ping", "--label", "a b"][..], "constraint"),
        (&["resume", "1.1"][..], "isn't paused"),
        (&["pause", "1.7"][..], "1.7"),
    ] {
        let refused = project.kapelle(args);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains(words), "{words}: {refused:?}");
    }
    std::fs::write(project.around().join("go"), "").expect("a file");
    assert_eq!(run.wait().code, Some(0));
}

#[test]
fn what_has_ended_long_ago_says_so() {
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &[])];
    let project = project(&streams);
    std::fs::write(project.around().join("go"), "").expect("a file");
    let place = project.around().display().to_string();
    let finished = project.kapelle_with(&["batch", "-n", "1"], &[("PLACE", &place)]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    // Each of these has a coordinator of its own, which has loaded open runs alone.
    for args in [
        &["feedback", "1.1", "well done"][..],
        &["stop", "r-1/1.1"],
        &["pause", "1.1"],
        &["restart", "1.1"],
        &["redirect", "1.1", "1.2"],
        &["stop", "r-1"],
    ] {
        let refused = project.kapelle(args);
        assert_eq!(refused.code, Some(1), "{args:?}: {refused:?}");
        assert!(refused.stderr.contains("ended"), "{args:?}: {refused:?}");
        assert!(!refused.stderr.contains("there is no"), "{args:?}: {refused:?}");
    }
}

#[test]
fn a_broken_configuration_locks_nobody_out_of_a_run() {
    let project = project(&[stream("1.1", "One", &[])]);
    let place = project.around().display().to_string();
    let run = project.start_with(&["run"], &[("PLACE", &place)]);
    running(&project, "1.1");
    let sound = project.read("kapelle.yaml");
    project.write("kapelle.yaml", "agents: {\nrun: [");
    for args in [&["status"][..], &["why", "1.1"], &["logs", "1.1"], &["events"], &["report"]] {
        let finished = project.kapelle(args);
        assert_eq!(finished.code, Some(0), "{args:?}: {finished:?}");
        let warned =
            finished.stderr.contains("warning:") && finished.stderr.contains("kapelle.yaml");
        assert!(warned, "{args:?}: {finished:?}");
    }
    // What may have to start a coordinator needs the configuration.
    assert_eq!(project.kapelle(&["run"]).code, Some(2));
    assert_eq!(project.kapelle(&["stop", "1.1"]).code, Some(0));
    assert_eq!(run.wait().code, Some(10));
    let refused = project.kapelle(&["status"]);
    assert_eq!(refused.code, Some(2), "nobody is there to ask: {refused:?}");
    project.write("kapelle.yaml", &sound);
    assert_eq!(project.kapelle(&["status"]).code, Some(0));
}
