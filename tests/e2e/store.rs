//! Looking after the state database, also while a run goes on.

use kapelle_tests::{Project, stream};

#[test]
fn a_backup_of_a_living_store_can_be_checked_and_restored() {
    let agent = "until [ -e \"$HOME/go\" ]; do sleep 0.05; done; mkdir -p out; echo x > out/$KAPELLE_STREAM";
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &[])];
    let project = Project::with_streams(&streams, agent, "");
    let backup = project.around().join("backup.db");
    let backup = backup.to_str().expect("a path");
    assert_eq!(project.kapelle(&["store", "check"]).code, Some(3), "there is none yet");

    let running = project.start(&["run", "1.1"]);
    project.wait_for("an agent", || {
        let status = project.json(&["status", "--json"]);
        (status["tasks"][0]["phase"] == "running").then_some(())
    });
    let written = project.json(&["store", "backup", backup, "--json"]);
    assert!(written["bytes"].as_u64() > Some(0), "{written}");
    let again = project.kapelle(&["store", "backup", backup]);
    assert!(again.code == Some(2) && again.stderr.contains("exists already"), "{again:?}");
    let live = project.json(&["store", "check", "--json"]);
    assert_eq!((&live["runs"], &live["tasks"]), (&1.into(), &1.into()), "{live}");
    let led = project.kapelle(&["store", "restore", backup]);
    assert!(led.code == Some(5) && led.stderr.contains("is in use by"), "{led:?}");
    std::fs::write(project.around().join("home/go"), "").expect("a file");
    assert_eq!(running.wait().code, Some(0));

    // What was recorded after the backup is gone after the restore, and beside it.
    assert_eq!(project.kapelle(&["run", "1.2"]).code, Some(0));
    let after = project.json(&["store", "check", "--json"]);
    assert_eq!(after["runs"], 2, "{after}");
    let events = project.kapelle(&["events", "--json"]).stdout;
    let last: serde_json::Value =
        events.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("an event");
    let place = last["id"].as_str().expect("a place");
    let none = project.kapelle(&["events", "--after", place, "--json"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), ""));
    let restored = project.json(&["store", "restore", backup, "--json"]);
    // The numbers after the backup are for other events now, and nobody is told that all is well.
    let lost = project.kapelle(&["events", "--after", place]);
    assert!(lost.code != Some(0) && lost.stderr.contains("of another log"), "{lost:?}");
    let checked = project.json(&["store", "check", backup, "--json"]);
    assert_eq!(restored["events"], checked["events"], "{restored} {checked}");
    let runs = project.json(&["runs", "--json"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");
    let aside = restored["replaced"].as_str().expect("a file");
    let aside = project.json(&["store", "check", aside, "--json"]);
    assert_eq!(aside["events"], after["events"], "{aside} {after}");
    assert!(project.kapelle(&["store", "migrate"]).stdout.contains("up to date"));
}

#[test]
fn damage_is_found_and_a_backup_mends_it() {
    let agent = "mkdir -p out; echo x > out/$KAPELLE_STREAM";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], agent, "");
    assert_eq!(project.kapelle(&["run"]).code, Some(0));
    let backup = project.around().join("backup.db");
    let backup = backup.to_str().expect("a path");
    assert_eq!(project.kapelle(&["store", "backup", backup]).code, Some(0));
    let path = project.root().join(".kapelle/state.db");
    let mut bytes = std::fs::read(&path).expect("the database");
    // The first page says what the file is; all behind it is wrong.
    bytes[4096..].fill(0xa5);
    std::fs::write(&path, bytes).expect("a file");
    let damaged = project.kapelle(&["store", "check"]);
    assert!(damaged.code == Some(1) && damaged.stderr.contains("is damaged"), "{damaged:?}");
    assert_ne!(project.kapelle(&["runs"]).code, Some(0));
    assert_eq!(project.kapelle(&["store", "restore", backup]).code, Some(0));
    let runs = project.json(&["runs", "--json"]);
    assert_eq!(runs["runs"][0]["state"], "succeeded", "{runs}");
}
