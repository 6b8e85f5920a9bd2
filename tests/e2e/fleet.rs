//! A coordinator and workers that share no disk, over a real nats-server.

use std::path::Path;

use kapelle_tests::{NatsServer, Project, Running, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const AGENT: &str = "sleep 0.2; mkdir -p out; echo $KAPELLE_STREAM > out/$KAPELLE_STREAM";

/// Makes a place for a worker of its own: no path of it leads to the project. Returns the words that
/// start it.
pub(crate) fn settle_worker(project: &Project, url: &str, name: &str, script: &str) -> Vec<String> {
    let place = project.around().join(name);
    std::fs::create_dir_all(&place).expect("a directory");
    let script = serde_json::to_string(script).expect("a text");
    let config = format!("version: 1\nagents:\n  worker:\n    command: [sh, -c, {script}]\n");
    std::fs::write(place.join("kapelle.yaml"), config).expect("a file");
    let state = place.join("state");
    let words = ["-C", utf8(&place), "worker", "--nats", url, "--name", name, "--slots", "2"];
    words.into_iter().chain(["--state", utf8(&state)]).map(str::to_owned).collect()
}

fn worker(project: &Project, nats: &NatsServer, name: &str, more: &[&str]) -> Running {
    let words = settle_worker(project, &nats.url(), name, AGENT);
    project.start(&words.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
}

/// Waits until the coordinator that was started answers.
pub(crate) fn wait_for_coordinator(project: &Project) {
    project.wait_for("the coordinator", || {
        // In this order: a command that finds no coordinator is one for a moment.
        (project.root().join(".kapelle/kapelle.sock").exists()
            && project.kapelle(&["status"]).code == Some(0))
        .then_some(())
    });
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn workers(project: &Project) -> usize {
    let listed = project.kapelle(&["workers", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    listed.as_array().map_or(0, Vec::len)
}

fn streams(count: usize) -> Vec<String> {
    (1..=count).map(|number| stream(&format!("1.{number}"), "Stream", &[])).collect()
}

#[test]
fn a_fleet_does_a_roadmap_and_survives_the_death_of_a_worker() {
    let nats = NatsServer::start();
    let project = Project::with_streams(
        &streams(8),
        AGENT,
        "timeouts: {lease_ttl: 2s, lease_lost_after: 4s, heartbeat: 500ms}\n\
         nats: {blob_bytes: 64MiB, blobs_bytes: 64MiB}\n",
    );
    let coordinator = project.start(&["coordinator", "--nats", &nats.url()]);
    wait_for_coordinator(&project);
    let doomed = worker(&project, &nats, "doomed", &[]);
    project.wait_for("a worker", || (workers(&project) == 1).then_some(()));
    let batch = project.start(&["batch", "-n", "4"]);
    project.wait_for("work on the doomed worker", || {
        (!project.integrated("main").is_empty()).then_some(())
    });
    let other = worker(&project, &nats, "other", &["--label", "zone=b"]);
    project.wait_for("another worker", || (workers(&project) == 2).then_some(()));
    doomed.kill_tree();
    let finished = batch.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let mut integrated = project.integrated("main");
    integrated.sort();
    let expected: Vec<String> = (1..=8).map(|number| format!("1.{number}")).collect();
    assert_eq!(integrated, expected, "each once");
    for running in [other, coordinator] {
        kill(Pid::from_raw(running.id()), Signal::SIGTERM).expect("it runs");
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}
