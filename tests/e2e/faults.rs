//! A fleet of machines that fail: each process on a network of its own, one machine dies, one is
//! cut off, one freezes. What comes out is what would have come out anyway.

use kapelle_tests::{Machine, NatsConfig, NatsServer, Project, Running, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fleet::{settle_worker, wait_for_coordinator};

/// It takes long enough to be under way when its machine fails.
const AGENT: &str = "sleep 1; mkdir -p out; echo done > out/$KAPELLE_STREAM";

const STREAMS: usize = 12;

/// A machine with a worker.
struct Member {
    name: &'static str,
    machine: Machine,
    words: Vec<String>,
    running: Option<Running>,
}

impl Member {
    fn start(project: &Project, port: u16, name: &'static str, agent: &str) -> Self {
        let machine = Machine::new();
        let url = format!("nats://{}:{port}", machine.here());
        let words = settle_worker(project, &url, name, agent);
        let mut member = Self { name, machine, words, running: None };
        member.start_again(project);
        member
    }

    fn start_again(&mut self, project: &Project) {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        self.running = Some(project.start_on(&self.machine, &words));
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("it runs");
        kill(Pid::from_raw(running.id()), signal).expect("it runs");
    }
}

/// The names of the workers that the coordinator hears.
fn heard(project: &Project) -> Vec<String> {
    let workers = project.json(&["workers", "-o", "json"]);
    let workers = workers.as_array().cloned().unwrap_or_default();
    let heard = workers.iter().filter(|worker| worker["suspect"] == Value::Bool(false));
    heard.filter_map(|worker| Some(worker["id"].as_str()?.to_owned())).collect()
}

/// The workers on which an agent runs now.
fn at_work(project: &Project) -> Vec<String> {
    let status = project.json(&["status", "-o", "json"]);
    let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
    let running = tasks.iter().filter(|task| task["phase"] == "running");
    running.filter_map(|task| Some(task["worker"].as_str()?.to_owned())).collect()
}

/// How many events of a kind there are whose message has these words.
fn events(project: &Project, kind: &str, words: &str) -> usize {
    let finished = project.kapelle(&["events", "-o", "ndjson"]);
    let lines = finished.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|event| event["kind"] == kind)
        .filter(|event| event["message"].as_str().is_some_and(|text| text.contains(words)))
        .count()
}

#[test]
fn what_comes_out_does_not_depend_on_the_machines_that_fail() {
    let nats = NatsServer::start_with(NatsConfig { everywhere: true, ..NatsConfig::default() });
    let streams: Vec<String> =
        (1..=STREAMS).map(|number| stream(&format!("1.{number}"), "Stream", &[])).collect();
    let project = Project::with_streams(
        &streams,
        AGENT,
        "timeouts: {lease_ttl: 2s, lease_lost_after: 10s, heartbeat: 500ms}\n\
         nats: {blob_bytes: 64MiB, blobs_bytes: 64MiB}\n",
    );
    let conductor = Machine::new();
    let url = format!("nats://{}:{}", conductor.here(), nats.port());
    let coordinator = project.start_on(&conductor, &["coordinator", "--nats", &url]);
    wait_for_coordinator(&project);
    // Behind the cable that is pulled, an agent ends after that, and before its worker gives up.
    let pulled = project.around().join("pulled");
    let (_, works) = AGENT.split_once("; ").expect("it sleeps first");
    let waits = format!("until test -e {}; do sleep 0.05; done; {works}", pulled.display());
    let mut members = [("dies", AGENT), ("is-cut-off", &waits), ("freezes", AGENT)]
        .map(|(name, agent)| Member::start(&project, nats.port(), name, agent));
    project.wait_for("three workers", || (heard(&project).len() == 3).then_some(()));
    let batch = project.start(&["batch", "-n", "6"]);
    project.wait_for("agents on all three", || {
        let at_work = at_work(&project);
        members.iter().all(|member| at_work.iter().any(|name| name == member.name)).then_some(())
    });

    members[0].running.take().expect("it runs").kill_tree();
    members[1].machine.cut();
    std::fs::write(&pulled, "").expect("a file");
    members[2].signal(Signal::SIGSTOP);
    project.wait_for("all three to be given up", || {
        (events(&project, "attempt_ended", "(lost)") >= 3 && heard(&project).is_empty())
            .then_some(())
    });
    members[0].start_again(&project);
    members[1].machine.mend();
    members[2].signal(Signal::SIGCONT);

    let finished = batch.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let mut integrated = project.integrated("main");
    integrated.sort();
    let mut expected: Vec<String> = (1..=STREAMS).map(|number| format!("1.{number}")).collect();
    expected.sort();
    assert_eq!(integrated, expected, "each once");
    let mut files: Vec<String> = std::fs::read_dir(project.root().join("out"))
        .expect("what the agents made")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, expected);
    assert!(!project.read("plans/roadmap.md").contains("Not Started"), "the roadmap is true");
    for member in &members {
        member.signal(Signal::SIGTERM);
    }
    for mut member in members {
        let ended = member.running.take().expect("it runs").wait();
        assert_eq!(ended.code, Some(0), "{}: {ended:?}", member.name);
        assert_eq!(member.machine.processes(), Vec::<i32>::new(), "{} is empty", member.name);
    }
    kill(Pid::from_raw(coordinator.id()), Signal::SIGTERM).expect("it runs");
    let ended = coordinator.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
