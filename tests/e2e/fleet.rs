//! A coordinator and workers that share no disk, over a real nats-server.

use std::io::{Read as _, Write as _};
use std::path::Path;

use kapelle_tests::{NatsConfig, NatsServer, Project, Running, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const AGENT: &str = "sleep 0.2; mkdir -p out; echo $KAPELLE_STREAM > out/$KAPELLE_STREAM";

/// What a coordinator is told whose workers are given up soon.
pub(crate) const QUICK: &str = "timeouts: {lease_ttl: 2s, lease_lost_after: 4s, heartbeat: 500ms}\n\
     nats: {blob_bytes: 64MiB, blobs_bytes: 64MiB}\n";

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
    settle_at(&project.around().join(name), url, name, config)
}

/// The same in this place.
fn settle_at(place: &Path, url: &str, name: &str, config: &str) -> Vec<String> {
    std::fs::create_dir_all(place).expect("a directory");
    std::fs::write(place.join("kapelle.yaml"), config).expect("a file");
    let state = place.join("state");
    let words = ["-C", utf8(place), "worker", "--nats", url, "--name", name, "--slots", "2"];
    words.into_iter().chain(["--state", utf8(&state)]).map(str::to_owned).collect()
}

fn worker(project: &Project, nats: &NatsServer, name: &str, more: &[&str]) -> Running {
    worker_with(project, nats, name, (AGENT, "timeouts: {heartbeat: 500ms}\n"), more)
}

/// Starts a worker whose agent runs a script; `config` is added to its configuration.
pub(crate) fn worker_with(
    project: &Project,
    nats: &NatsServer,
    name: &str,
    (script, config): (&str, &str),
    more: &[&str],
) -> Running {
    worker_at(project, nats, (name, &project.around().join(name)), (script, config), more)
}

/// The same in this place.
pub(crate) fn worker_at(
    project: &Project,
    nats: &NatsServer,
    (name, place): (&str, &Path),
    (script, config): (&str, &str),
    more: &[&str],
) -> Running {
    let config = format!("{}{config}", agent(script));
    let words = settle_at(place, &nats.url(), name, &config);
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

pub(crate) fn coordinator(project: &Project, nats: &NatsServer) -> Running {
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

pub(crate) fn workers(project: &Project) -> Vec<serde_json::Value> {
    let listed = project.kapelle(&["workers", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    listed.as_array().cloned().unwrap_or_default()
}

pub(crate) fn wait_for_workers(project: &Project, count: usize) {
    project.wait_for("workers", || (workers(project).len() == count).then_some(()));
}

/// Tells them to end, and makes sure that they end well.
pub(crate) fn end(running: impl IntoIterator<Item = Running>) {
    for running in running {
        kill(Pid::from_raw(running.id()), Signal::SIGTERM).expect("it runs");
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

fn streams(count: usize) -> Vec<String> {
    (1..=count).map(|number| stream(&format!("1.{number}"), "Stream", &[])).collect()
}

#[test]
fn a_fleet_does_a_roadmap_and_survives_the_death_of_a_worker() {
    let nats = NatsServer::start();
    let project = Project::with_streams(&streams(8), AGENT, QUICK);
    let coordinator = coordinator(&project, &nats);
    let doomed = worker(&project, &nats, "doomed", &[]);
    wait_for_workers(&project, 1);
    let batch = project.start(&["batch", "-n", "4"]);
    project.wait_for("work on the doomed worker", || {
        (!project.integrated("main").is_empty()).then_some(())
    });
    let other = worker(&project, &nats, "other", &["--label", "zone=b"]);
    wait_for_workers(&project, 2);
    doomed.kill_tree();
    let finished = batch.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let mut integrated = project.integrated("main");
    integrated.sort();
    let expected: Vec<String> = (1..=8).map(|number| format!("1.{number}")).collect();
    assert_eq!(integrated, expected, "each once");
    end([other, coordinator]);
}

#[test]
fn work_goes_to_workers_that_have_what_it_needs() {
    let nats = NatsServer::start();
    let more = format!("run: {{needs: {{\"1.2\": [\"memory_gb>=16\"]}}}}\n{QUICK}");
    let project = Project::with_streams(&streams(2), AGENT, &more);
    let coordinator = coordinator(&project, &nats);
    let small = worker(&project, &nats, "small", &["--label", "memory_gb=8", "--label", "gpu"]);
    let big = worker(&project, &nats, "big", &["--label", "memory_gb=32"]);
    wait_for_workers(&project, 2);
    let finished =
        project.kapelle(&["run", "1.1", "1.2", "--needs", "os=linux", "--needs", "!tpu"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report = project.json(&["report", "r-1", "-o", "json"]);
    let tasks = report["tasks"].as_array().expect("tasks");
    let second = tasks.iter().find(|task| task["task"]["key"] == "1.2").expect("a task");
    assert_eq!(second["attempts"][0]["worker"], "big", "{report}");
    let needs = second["task"]["needs"].as_array().expect("needs");
    assert_eq!(needs.len(), 3, "{report}");
    let refused = project.kapelle(&["run", "1.1", "--needs", "memory_gb>=lots"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    // What they say of themselves.
    end([big]);
    let big = worker(&project, &nats, "big", &["--label", "memory_gb=32"]);
    let known = project.wait_for("the worker that came back", || {
        workers(&project).into_iter().find(|worker| worker["id"] == "big" && worker["held"] == 0)
    });
    assert_eq!(known["cached"], serde_json::json!(["project"]), "{known}");
    assert_eq!(known["protocol"], serde_json::json!([1, 1]), "{known}");
    let program = serde_json::json!({"agent": "worker", "version": null, "state": "installed"});
    assert_eq!(known["programs"], serde_json::json!([program]), "{known}");
    assert_eq!(known["labels"]["os"], "linux", "{known}");
    end([small, big, coordinator]);
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
    wait_for_workers(&project, 1);
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
