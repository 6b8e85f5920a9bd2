//! Workers that are killed, frozen or replaced while their agents are at work.

use std::path::PathBuf;

use kapelle_tests::{NatsServer, Project, Running, living_in, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fleet;

/// Nothing is given up while a test takes its time.
const PATIENT: &str = "timeouts: {lease_ttl: 2s, lease_lost_after: 60s, heartbeat: 500ms}\n\
                       nats: {blob_bytes: 64MiB, blobs_bytes: 64MiB}\n";

/// A project with one work stream, whose agent works until it may go.
struct Stage {
    nats: NatsServer,
    project: Project,
    coordinator: Running,
    batch: Running,
}

impl Stage {
    fn new(config: &str) -> Self {
        let nats = NatsServer::start();
        let project = Project::with_streams(&[stream("1.1", "Long work", &[])], "exit 1", config);
        let coordinator = fleet::coordinator(&project, &nats);
        let batch = project.start(&["run", "1.1"]);
        Self { nats, project, coordinator, batch }
    }

    fn go(&self) -> PathBuf {
        self.project.around().join("go")
    }

    /// Starts the worker of this name with a place of its own.
    fn worker(&self, name: &str, place: &str, timeouts: &str) -> Running {
        let config = format!("timeouts: {{heartbeat: 500ms{timeouts}}}\n");
        let agent = format!(
            "echo begun; while [ ! -e '{}' ]; do sleep 0.1; done; echo went on; \
             mkdir -p out; echo done > out/work",
            self.go().display()
        );
        let at = self.project.around().join(place);
        fleet::worker_at(&self.project, &self.nats, (name, &at), (&agent, &config), &[])
    }

    /// The shells of the agents in a place.
    fn agents(&self, place: &str) -> Vec<i32> {
        let work = self.project.around().join(place).join("state/work");
        let living = living_in(&work).into_iter().filter(|(pid, cwd)| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            cwd.ends_with("tree") && name.is_ok_and(|name| name.trim() == "sh")
        });
        living.map(|(pid, _)| pid).collect()
    }

    fn agent(&self, place: &str) -> i32 {
        self.project.wait_for("the agent", || self.agents(place).first().copied())
    }

    fn wait_for_the_end_of_agents(&self, place: &str) {
        self.project
            .wait_for("the end of the agent", || self.agents(place).is_empty().then_some(()));
    }

    /// Lets the work end, and shows what became of it.
    fn end(self, workers: impl IntoIterator<Item = Running>) -> (Project, Value) {
        std::fs::write(self.go(), "").expect("a file");
        let finished = self.batch.wait();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let report = self.project.json(&["report", "r-1", "-o", "json"]);
        fleet::end(workers);
        fleet::end([self.coordinator]);
        assert_eq!(self.project.integrated("main"), ["1.1"], "once");
        (self.project, report["tasks"][0]["attempts"].clone())
    }
}

/// Kills this process and none of those that it has started.
fn kill_alone(worker: Running) {
    kill(Pid::from_raw(worker.id()), Signal::SIGKILL).expect("it runs");
    drop(worker.wait());
}

fn held(project: &Project, name: &str) -> Option<u64> {
    let workers = fleet::workers(project);
    let worker = workers.iter().find(|worker| worker["id"] == name)?;
    worker["held"].as_u64()
}

fn registrations(project: &Project) -> usize {
    let events = project.kapelle(&["events", "--json"]).stdout;
    let kinds = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    kinds.filter(|event| event["kind"] == "worker_registered").count()
}

#[test]
fn an_agent_outlives_its_worker_and_is_gone_on_with_by_the_next_one() {
    let stage = Stage::new(PATIENT);
    let worker = stage.worker("w", "w", "");
    let agent = stage.agent("w");
    // Before and after it has been heard that the agent runs.
    stage.project.wait_for("the agent's first word", || {
        stage.project.kapelle(&["logs", "1.1"]).stdout.contains("begun").then_some(())
    });
    kill_alone(worker);
    assert_eq!(stage.agents("w"), [agent]);
    let worker = stage.worker("w", "w", "");
    stage.project.wait_for("the next worker", || {
        (registrations(&stage.project) == 2 && held(&stage.project, "w") == Some(1)).then_some(())
    });
    assert_eq!(stage.agents("w"), [agent], "the same process");
    let (project, attempts) = stage.end([worker]);
    assert_eq!(attempts.as_array().map(Vec::len), Some(1), "{attempts}");
    assert_eq!(attempts[0]["outcome"], "completed", "{attempts}");
    let said = project.kapelle(&["logs", "1.1"]).stdout;
    for text in ["begun", "its worker was started again", "went on"] {
        // The summary at the end quotes the agent's last words.
        let lines = said.lines().filter(|line| line.contains(text) && !line.contains("done:"));
        assert_eq!(lines.count(), 1, "{text}: {said}");
    }
    let state = project.around().join("w/state");
    for left in ["spool", "work"] {
        let left = std::fs::read_dir(state.join(left)).expect("a directory");
        assert_eq!(left.count(), 0, "nothing is left of it");
    }
}

#[test]
fn an_agent_that_nobody_comes_back_for_is_ended() {
    let stage = Stage::new(PATIENT);
    let worker = stage.worker("w", "w", ", orphan_grace: 1s");
    stage.agent("w");
    kill_alone(worker);
    stage.wait_for_the_end_of_agents("w");
    let worker = stage.worker("w", "w", "");
    let (_, attempts) = stage.end([worker]);
    assert_eq!(attempts[0]["outcome"], "lost", "{attempts}");
    assert_eq!(attempts[1]["outcome"], "completed", "{attempts}");
}

#[test]
fn an_agent_of_a_frozen_worker_is_ended_before_somebody_else_may_have_its_work() {
    let stage = Stage::new(fleet::QUICK);
    let frozen = stage.worker("frozen", "frozen", "");
    stage.agent("frozen");
    kill(Pid::from_raw(frozen.id()), Signal::SIGSTOP).expect("it runs");
    let other = stage.worker("other", "other", "");
    stage.project.wait_for("the other's agent", || {
        let there = !stage.agents("other").is_empty();
        // At no time do both work on it.
        assert!(!there || stage.agents("frozen").is_empty());
        there.then_some(())
    });
    kill(Pid::from_raw(frozen.id()), Signal::SIGCONT).expect("it is there");
    let (_, attempts) = stage.end([other, frozen]);
    assert_eq!(attempts[0]["outcome"], "lost", "{attempts}");
    assert_eq!(attempts[1]["outcome"], "completed", "{attempts}");
}

#[test]
fn of_two_workers_with_one_name_the_older_ends_with_its_agents() {
    let stage = Stage::new(PATIENT);
    let older = stage.worker("w", "older", "");
    stage.agent("older");
    let third = stage.worker("w", "older", "");
    let refused = third.wait();
    assert_ne!(refused.code, Some(0), "the place is one worker's: {refused:?}");
    assert!(refused.stderr.contains("another worker works in"), "{refused:?}");
    let newer = stage.worker("w", "newer", "");
    let ended = older.wait();
    assert_ne!(ended.code, Some(0), "{ended:?}");
    stage.wait_for_the_end_of_agents("older");
    stage.agent("newer");
    let (_, attempts) = stage.end([newer]);
    let last = attempts.as_array().and_then(|attempts| attempts.last()).expect("attempts");
    assert_eq!(last["outcome"], "completed", "{attempts}");
}
