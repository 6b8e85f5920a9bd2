//! Killing everything at random moments, and going on.

use std::collections::BTreeSet;
use std::time::Duration;

use kapelle_tests::{Project, Random, living_in, stream};

/// How often everything is killed.
const KILLS: u32 = 20;
/// How many work streams there are: more than can be done between the kills.
const STREAMS: u32 = 45;

/// `kill -9` of the whole process tree at random moments of a batch, each followed by `resume`:
/// each stream is integrated exactly once, the log has no gap, nothing is left behind.
#[test]
fn a_batch_survives_twenty_kills() {
    let mut random = Random::from_environment();
    let ids: Vec<String> = (1..=STREAMS).map(|number| format!("1.{number}")).collect();
    let streams: Vec<String> = ids
        .iter()
        .enumerate()
        .map(|(index, id)| {
            let depends = (index >= 3 && index % 3 == 0).then(|| ids[index - 3].as_str());
            stream(id, &format!("Part {id}"), depends.as_slice())
        })
        .collect();
    // Each agent leaves a process behind that would outlive it.
    let agent = "(setsid sleep 600 >/dev/null 2>&1 &) ; sleep 0.2; mkdir -p out; echo \"$KAPELLE_STREAM\" > out/$KAPELLE_STREAM";
    let project = Project::with_streams(&streams, agent, "store: {keep_workspaces: never}\n");
    let mut running = project.start(&["batch", "-n", "3"]);
    project.wait_for("the run to be recorded", || {
        let runs = project.kapelle(&["runs", "--json"]);
        runs.stdout.contains("\"r-1\"").then_some(())
    });
    let mut kills = 0;
    while kills < KILLS {
        std::thread::sleep(Duration::from_millis(50 + random.below(900)));
        if running.has_ended() {
            break;
        }
        running.kill_tree();
        kills += 1;
        // Whoever only looks finishes what had begun: the user's tree isn't left half moved.
        let looked = project.kapelle(&["status", "--json"]);
        assert_eq!(looked.code, Some(0), "{looked:?}");
        assert_eq!(project.git(&["status", "--porcelain"]).trim(), "", "after {kills} kills");
        assert!(!project.root().join(".git/index.lock").exists(), "after {kills} kills");
        running = project.start(&["resume"]);
    }
    let finished = running.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        kills >= KILLS,
        "the batch was over after {kills} kills: it is too short for this test"
    );

    let integrated = project.integrated("main");
    let distinct: BTreeSet<&String> = integrated.iter().collect();
    assert_eq!(distinct.len(), integrated.len(), "a stream was integrated twice: {integrated:?}");
    assert_eq!(integrated.len(), ids.len(), "{integrated:?}");
    for id in &ids {
        assert_eq!(project.read(&format!("out/{id}")).trim(), id);
    }
    let roadmap = project.json(&["roadmap", "parse", "plans/roadmap.md", "-o", "json"]);
    let streams = roadmap["streams"].as_array().expect("streams");
    assert!(streams.iter().all(|stream| stream["status"] == "complete"), "{roadmap}");
    check_log(&project);
    check_leftovers(&project);
}

/// Every event has its number, from 1 on.
fn check_log(project: &Project) {
    let mut after = "0".to_owned();
    let mut expected = 1;
    loop {
        let page = project.kapelle(&["events", "--json", "--after", &after]);
        assert_eq!(page.code, Some(0), "{page:?}");
        let mut seen = 0;
        for line in page.stdout.lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("an event");
            assert_eq!(event["seq"], expected, "{event}");
            expected += 1;
            seen += 1;
            after = event["id"].as_str().expect("an id").to_owned();
        }
        if seen == 0 {
            break;
        }
    }
    assert!(expected > 100, "only {expected} events");
}

fn check_leftovers(project: &Project) {
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    assert_eq!(project.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    project.git(&["fsck", "--no-dangling"]);
    for place in ["work", "results", "spool"] {
        let left =
            std::fs::read_dir(project.root().join(".kapelle").join(place)).expect("a directory");
        let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
        assert!(left.is_empty(), "{place}: {left:?}");
    }
    let strays = living_in(project.around());
    assert!(strays.is_empty(), "{strays:?}");
}
