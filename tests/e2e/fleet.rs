//! A coordinator and workers that share no disk, over a real nats-server.

use std::io::{Read as _, Write as _};
use std::path::Path;

use kapelle_tests::{NatsConfig, NatsServer, Project, Running, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const AGENT: &str = "sleep 0.2; mkdir -p out; echo $KAPELLE_STREAM > out/$KAPELLE_STREAM";

/// Makes a place for a worker of its own: no path of it leads to the project. Returns the words that
/// start it.
pub(crate) fn settle_worker(project: &Project, url: &str, name: &str, script: &str) -> Vec<String> {
    let config = format!("{}timeouts: {{heartbeat: 500ms}}\n", agent(script));
    settle_worker_with(project, url, name, &config)
}

/// A configuration with an agent that runs `script` in a shell.
pub(crate) fn agent(script: &str) -> String {
    let script = serde_json::to_string(script).expect("a text");
    format!("version: 1\nagents:\n  worker:\n    command: [sh, -c, {script}]\n")
}

/// The same for a worker with this configuration.
pub(crate) fn settle_worker_with(
    project: &Project,
    url: &str,
    name: &str,
    config: &str,
) -> Vec<String> {
    let place = project.around().join(name);
    std::fs::create_dir_all(&place).expect("a directory");
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

fn coordinator(project: &Project, nats: &NatsServer) -> Running {
    let coordinator = project.start(&["coordinator", "--nats", &nats.url()]);
    wait_for_coordinator(project);
    coordinator
}

/// How many messages a stream of the server holds, as its monitor says.
fn messages(nats: &NatsServer, stream: &str) -> Option<u64> {
    let ports = std::fs::read_dir(nats.directory().join("ports")).ok()?.next()?.ok()?.path();
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(ports).ok()?).ok()?;
    let address = ports["monitoring"][0].as_str()?.strip_prefix("http://")?.to_owned();
    let mut connection = std::net::TcpStream::connect(address).ok()?;
    write!(connection, "GET /jsz?streams=true HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let answer: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    let accounts = answer["account_details"].as_array()?.iter();
    let mut streams = accounts.filter_map(|one| one["stream_detail"].as_array()).flatten();
    streams.find(|one| one["name"] == stream)?["state"]["messages"].as_u64()
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
    let coordinator = coordinator(&project, &nats);
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

#[test]
fn a_worker_that_is_cut_off_says_so_and_when_it_is_back() {
    let monitored =
        NatsConfig { more: "http: \"127.0.0.1:-1\"\n".to_owned(), ..NatsConfig::default() };
    let nats = NatsServer::start_with(monitored);
    let more = "nats: {blob_bytes: 64MiB, blobs_bytes: 64MiB}\n";
    let project = Project::with_streams(&streams(1), AGENT, more);
    let first = coordinator(&project, &nats);
    let mut cut_off = worker(&project, &nats, "lonely", &[]);
    project.wait_for("a worker", || (workers(&project) == 1).then_some(()));
    first.kill_tree();
    let mut words = cut_off.words();
    words.wait_for("the coordinator has not answered for");
    let second = coordinator(&project, &nats);
    words.wait_for("the coordinator answers again, after");
    assert_eq!(project.kapelle(&["run"]).code, Some(0));
    assert_eq!(project.integrated("main"), ["1.1"]);
    project.wait_for("the results to be removed from the server", || {
        (messages(&nats, "OBJ_orchestrator-results") == Some(0)).then_some(())
    });
    for running in [cut_off, second] {
        kill(Pid::from_raw(running.id()), Signal::SIGTERM).expect("it runs");
        assert_eq!(running.wait().code, Some(0));
    }
}
