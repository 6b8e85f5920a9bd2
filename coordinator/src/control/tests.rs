//! Steering and watching over the subjects of one process; only agents are played.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::control::{
    CommandState, ControlEnd, ControlRequest, EventNotice, Receipt, Status,
};
use kapelle_bus::memory::{Heard, MemoryClient, MemoryReceipts, control};
use kapelle_domain::attempt::Outcome;
use kapelle_domain::command::CommandAnswer;
use kapelle_domain::engine::{Holder, Input};
use kapelle_domain::event::{Event, TaskEvent};
use kapelle_domain::ids::{CommandSeq, RunId, WorkerId};
use kapelle_domain::worker::Duty;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{LANE_MAX, serve};
use crate::tests::{EPOCH, Project};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// A project whose control subjects are served.
struct Stage {
    project: Project,
    client: MemoryClient,
    _serving: JoinSet<()>,
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} didn't come"))
}

/// The receipts of one request.
struct Receipts(mpsc::Receiver<Heard>);

impl Receipts {
    async fn next(&mut self) -> Receipt {
        let heard = soon("a receipt", self.0.recv()).await.expect("a receipt");
        serde_json::from_slice(&heard.body).expect("a receipt in JSON")
    }

    /// The next receipt, which names one command.
    async fn one(&mut self, state: CommandState) -> Receipt {
        let receipt = self.next().await;
        assert_eq!(receipt.state, state, "{receipt:?}");
        assert_eq!((receipt.agents, receipt.commands.len()), (1, 1), "{receipt:?}");
        assert_eq!(receipt.commands[0].state, state, "{receipt:?}");
        receipt
    }

    async fn refused(&mut self, code: &str) -> Receipt {
        let receipt = self.next().await;
        assert_eq!((receipt.state, receipt.code.as_str()), (CommandState::Rejected, code));
        receipt
    }
}

impl Stage {
    async fn new() -> Self {
        let project = Project::start().await;
        let (end, client) = control();
        let mut serving = JoinSet::new();
        serving.spawn(serve(project.service.clone(), end, CancellationToken::new()));
        Self { project, client, _serving: serving }
    }

    async fn send(&self, subject: &str, body: Value) -> Receipts {
        let (subject, body) = (format!("orchestrator.{subject}"), body.to_string());
        let json = Some("application/json");
        Receipts(self.client.request(&subject, json, body.as_bytes()).await)
    }

    /// Sends a request for the agent of an attempt.
    async fn to(&self, holder: &Holder, verb: &str, body: Value) -> Receipts {
        self.send(&format!("agent.{}.{verb}", agent(holder)), body).await
    }
}

fn agent(holder: &Holder) -> String {
    let task = holder.attempt.task;
    format!("fake-k{}-{}-{}-{}", task.index, task.run.0, task.index, holder.attempt.number)
}

#[tokio::test]
async fn what_becomes_of_a_command_is_told_as_it_happens() {
    let stage = Stage::new().await;
    let holders = stage.project.start_attempts(2).await;
    let told = json!({ "request_id": "f-1", "text": "mind the edges" });
    let mut receipts = stage.to(&holders[1], "feedback", told).await;
    let first = receipts.one(CommandState::Accepted).await;
    assert_eq!((first.request_id.as_str(), first.open), ("f-1", 1));
    assert_eq!(first.commands[0].agent, agent(&holders[1]));
    assert_eq!((first.commands[0].task.as_str(), first.commands[0].number), ("r-1/k1", 1));
    // This agent takes no messages while it works.
    assert!(first.message.contains("the next attempt is told"), "{first:?}");

    let directives = stage.project.look(&holders[1]).await;
    assert_eq!(directives.commands[0].text, "mind the edges");
    assert_eq!(receipts.one(CommandState::Delivered).await.open, 1);
    stage.project.answer(&holders[1], CommandSeq(1), CommandAnswer::Applied).await;
    assert_eq!(receipts.one(CommandState::Applied).await.open, 0);
    assert!(stage.project.look(&holders[0]).await.commands.is_empty(), "only one was told");
}

#[tokio::test]
async fn one_agent_is_stopped_and_another_redirected() {
    let stage = Stage::new().await;
    let holders = stage.project.start_attempts(3).await;
    let mut stopped = stage.to(&holders[0], "stop", json!({ "reason": "wrong branch" })).await;
    stopped.one(CommandState::Accepted).await;
    let directives = stage.project.look(&holders[0]).await;
    assert_eq!(directives.cancel.as_deref(), Some("wrong branch"));
    stopped.one(CommandState::Delivered).await;
    stage.project.fail(holders[0].clone(), Outcome::Cancelled).await;
    assert_eq!(stopped.one(CommandState::Applied).await.open, 0);

    // Nothing else waits, so there is nothing to redirect to.
    let to = json!({ "work_stream": "k2", "reason": "k1 waits" });
    let refused = stage.to(&holders[1], "redirect", to).await.refused("bad_redirect").await;
    let words = "the agent of r-1/k1 can't be put on r-1/k2: it is active";
    assert_eq!(refused.message, words);
    let paused = json!({ "only": { "task": "r-1/k2" }, "reason": "later" });
    stage.send("broadcast.pause", paused).await.one(CommandState::Accepted).await;
    assert!(stage.project.look(&holders[2]).await.paused);
}

#[tokio::test]
async fn a_request_that_is_repeated_has_the_effect_of_one() {
    let stage = Stage::new().await;
    let holders = stage.project.start_attempts(2).await;
    let body = json!({ "request_id": "twice", "text": "mind the edges" });
    let mut first = stage.send("broadcast.feedback", body.clone()).await;
    let mut second = stage.send("broadcast.feedback", body.clone()).await;
    for receipts in [&mut first, &mut second] {
        let receipt = receipts.next().await;
        assert_eq!((receipt.state, receipt.agents), (CommandState::Accepted, 2), "{receipt:?}");
        let numbers: Vec<u64> = receipt.commands.iter().map(|command| command.number).collect();
        assert_eq!(numbers, [1, 1], "{receipt:?}");
    }
    assert_eq!(stage.project.look(&holders[0]).await.commands.len(), 1);
    // Both hear what becomes of it.
    for receipts in [&mut first, &mut second] {
        let receipt = receipts.next().await;
        assert_eq!((receipt.agents, receipt.open), (2, 2));
        assert_eq!(receipt.message, "1 accepted, 1 delivered");
        assert_eq!(receipt.commands.len(), 1, "only what has changed is named: {receipt:?}");
    }

    // A coordinator that was started later knows the request, and tells how it stands.
    let (end, client) = control();
    let mut serving = JoinSet::new();
    serving.spawn(serve(stage.project.service.clone(), end, CancellationToken::new()));
    let later = Stage { client, _serving: serving, project: stage.project };
    let mut third = later.send("broadcast.feedback", body).await;
    assert_eq!(third.next().await.message, "1 accepted, 1 delivered");
    later.project.fail(holders[0].clone(), Outcome::Unrunnable).await;
    assert_eq!(third.next().await.message, "1 accepted, 1 expired");

    let other = json!({ "request_id": "twice", "text": "something else" });
    later.send("broadcast.feedback", other).await.refused("request_id_reused").await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_hint() {
    let stage = Stage::new().await;
    let holders = stage.project.start_attempts(1).await;
    let long = json!({ "text": "x".repeat(100_000) });
    for (subject, body, code) in [
        ("agent.fake-k0-1-0-2.stop", json!({}), "attempt_over"),
        ("agent.nobody.stop", json!({}), "unknown_agent"),
        ("broadcast.stop", json!({ "only": { "task": "r-1/nothing" } }), "unknown_task"),
        ("broadcast.stop", json!({ "only": { "run": "r-9" } }), "unknown_run"),
        ("broadcast.ping", json!({ "only": { "worker": "nobody" } }), "unknown_worker"),
        ("broadcast.ping", json!({ "only": { "label": "a b" } }), "malformed_constraint"),
        ("broadcast.resume", json!({}), "nothing_matches"),
        ("broadcast.feedback", long, "text_length"),
        ("broadcast.stop", json!({ "why": "typo" }), "malformed"),
    ] {
        let refused = stage.send(subject, body).await.refused(code).await;
        assert!(!refused.message.is_empty(), "{refused:?}");
        assert!(!refused.hint.is_empty(), "{refused:?}");
    }
    let nowhere = json!({ "work_stream": "9.9" });
    stage.to(&holders[0], "redirect", nowhere).await.refused("unknown_task").await;
    assert!(stage.project.look(&holders[0]).await.commands.is_empty(), "nothing was ordered");
    // What is recorded and refused at once says so in one receipt.
    let mut resumed = stage.to(&holders[0], "resume", json!({})).await;
    let refused = resumed.refused("command_rejected").await;
    assert_eq!((refused.open, refused.commands[0].message.as_str()), (0, "it isn't paused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_no_room_for_is_refused_at_once() {
    let stage = Stage::new().await;
    let holders = stage.project.start_attempts(1).await;
    // Nothing is decided until the loop is let go.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (begun, began) = tokio::sync::oneshot::channel();
    let engine = stage.project.engine.clone();
    let mut holding = JoinSet::new();
    holding.spawn(async move {
        let hold = move |_: &_| {
            begun.send(()).expect("somebody waits");
            held.recv().expect_err("it is let go");
        };
        engine.read(hold).await.expect("the loop lives");
    });
    soon("the loop to stand", began).await.expect("it stands");
    let mut all = Vec::new();
    for _ in 0..LANE_MAX + 6 {
        all.push(stage.to(&holders[0], "ping", json!({})).await);
    }
    let last = all.len() - 1;
    let refused = all[last].refused("overloaded").await;
    assert!(refused.hint.contains("again"), "{refused:?}");
    drop(hold);
    let mut accepted = 0;
    for receipts in &mut all[..last] {
        let receipt = receipts.next().await;
        match receipt.state {
            CommandState::Accepted => accepted += 1,
            _ => assert_eq!(receipt.code, "overloaded", "{receipt:?}"),
        }
    }
    // One may have left the lane before the others came.
    assert!((LANE_MAX..=LANE_MAX + 1).contains(&accepted), "{accepted}");
    let recorded = stage.project.look(&holders[0]).await.commands.len();
    assert_eq!(recorded, accepted, "what was refused was not done");
}

/// The next message below `area` that `wanted` finds something in.
async fn told<T>(
    messages: &mut broadcast::Receiver<Heard>,
    area: &str,
    mut wanted: impl FnMut(&Heard) -> Option<T>,
) -> T {
    let prefix = format!("orchestrator.{area}.");
    let found = async {
        loop {
            let message = messages.recv().await.expect("something is told");
            if message.subject.starts_with(&prefix)
                && let Some(found) = wanted(&message)
            {
                return found;
            }
        }
    };
    soon(area, found).await
}

fn status(message: &Heard) -> Status {
    serde_json::from_slice(&message.body).expect("a status")
}

#[tokio::test]
async fn whoever_listens_hears_events_without_gaps_and_how_agents_are_doing() {
    let stage = Stage::new().await;
    let (mut events, mut statuses) = (stage.client.watch(), stage.client.watch());
    let holders = stage.project.start_attempts(1).await;
    let name = agent(&holders[0]);
    let phase = |wanted: &'static str| {
        let name = name.clone();
        move |message: &Heard| {
            let status = status(message);
            let is_it = status.agent.as_str() == name && status.phase == wanted;
            is_it.then_some(status)
        }
    };
    let running = told(&mut statuses, "status", phase("running")).await;
    assert_eq!((running.worker.as_str(), running.task.as_str()), ("w", "r-1/k0"));
    assert!(running.as_of.starts_with(&format!("{EPOCH}.")), "{running:?}");

    stage.project.say(&holders[0], 1, "reads the tests").await;
    let speaks = |message: &Heard| (status(message).activity == "reads the tests").then_some(());
    told(&mut statuses, "status", speaks).await;

    stage.project.fail(holders[0].clone(), Outcome::Unrunnable).await;
    let ended = told(&mut statuses, "status", phase("ended")).await;
    assert_eq!((ended.outcome.as_str(), ended.worker.as_str()), ("unrunnable", "w"));
    assert_eq!(ended.activity, "the soup is cold");

    let mut seen: Vec<EventNotice> = Vec::new();
    told(&mut events, "event", |message| {
        let event: EventNotice = serde_json::from_slice(&message.body).expect("an event");
        let whose = event.run.clone().unwrap_or_else(|| "fleet".to_owned());
        assert_eq!(message.subject, format!("orchestrator.event.{whose}.{}", event.kind));
        seen.push(event);
        (seen.last()?.kind == "run_finished").then_some(())
    })
    .await;
    let first = seen[0].seq;
    for (expected, event) in (first..).zip(&seen) {
        assert_eq!(event.seq, expected, "no event is missing");
        assert_eq!(event.id, format!("{EPOCH}.{expected}"));
    }
    assert!(seen.iter().any(|event| event.kind == "worker_registered"), "{seen:?}");
    let failed = seen.iter().find(|event| event.kind == "task_failed").expect("it failed");
    assert_eq!(failed.task.as_deref(), Some("r-1/k0"));
}

/// An end whose watchers take nothing until they are let go.
#[derive(Clone)]
struct Stuck {
    go: Arc<Notify>,
    told: mpsc::Sender<String>,
}

impl ControlEnd for Stuck {
    type Receipts = MemoryReceipts;

    async fn next(&self) -> Result<ControlRequest<MemoryReceipts>, kapelle_bus::Error> {
        std::future::pending().await
    }

    async fn publish_status(&self, status: &Status) -> Result<(), kapelle_bus::Error> {
        self.tell(format!("status {}", status.agent)).await
    }

    async fn publish_event(
        &self,
        _: Option<RunId>,
        event: &EventNotice,
    ) -> Result<(), kapelle_bus::Error> {
        self.tell(format!("event {}", event.seq)).await
    }
}

impl Stuck {
    async fn tell(&self, what: String) -> Result<(), kapelle_bus::Error> {
        self.go.notified().await;
        self.go.notify_one();
        self.told.send(what).await.map_err(|_| kapelle_bus::Error::Closed)
    }
}

#[tokio::test]
async fn whoever_takes_nothing_holds_up_nobody_and_hears_again_how_agents_are_doing() {
    const BATCHES: u64 = 1_100;
    let project = Project::start().await;
    let holders = project.start_attempts(1).await;
    let (told, mut heard) = mpsc::channel(16_384);
    let end = Stuck { go: Arc::new(Notify::new()), told };
    let mut serving = JoinSet::new();
    serving.spawn(serve(project.service.clone(), end.clone(), CancellationToken::new()));
    let worker = WorkerId("w".to_owned());
    // Each is committed and watched alone.
    for number in 0..BATCHES {
        let duty = if number.is_multiple_of(2) { Duty::Cordoned } else { Duty::Active };
        let input = Input::SetDuty { worker: worker.clone(), duty };
        soon("a decision", project.engine.give(input)).await.expect("it lives").expect("a duty");
    }
    end.go.notify_one();
    let status = format!("status {}", agent(&holders[0]));
    assert_eq!(soon("the first", heard.recv()).await.as_deref(), Some(status.as_str()));
    assert_eq!(soon("all of them again", heard.recv()).await.as_deref(), Some(status.as_str()));
    let next = soon("an event", heard.recv()).await.expect("an event");
    let seq: u64 = next.strip_prefix("event ").expect("an event").parse().expect("a number");
    // Before them came the registration, the run, its task and the attempt.
    assert!(seq > 10, "the numbers show that something was left out: {seq}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_agents_are_stopped_in_one_commit() {
    const AGENTS: u32 = 1_000;
    let stage = Stage::new().await;
    let holders = stage.project.start_attempts(AGENTS).await;
    let mut committed = stage.project.engine.watch();
    let mut receipts = stage.send("broadcast.stop", json!({ "reason": "enough" })).await;
    let first = receipts.next().await;
    assert_eq!((first.state, first.agents, first.open), (CommandState::Accepted, AGENTS, AGENTS));
    assert_eq!(first.commands.len(), 100, "the first of them are named");

    let batch = soon("a commit", committed.recv()).await.expect("it lives");
    let count = |wanted: &dyn Fn(&TaskEvent) -> bool| {
        let event = |event: &Event| matches!(event, Event::Task { event, .. } if wanted(event));
        batch.iter().filter(|recorded| event(&recorded.event)).count()
    };
    let agents = usize::try_from(AGENTS).expect("small");
    assert_eq!(count(&|event| matches!(event, TaskEvent::CommandAccepted { .. })), agents);
    assert_eq!(count(&|event| matches!(event, TaskEvent::CancelRequested { .. })), agents);
    assert!(committed.is_empty(), "one commit has all of it");

    let ends = holders.into_iter().map(|holder| async {
        assert_eq!(stage.project.look(&holder).await.cancel.as_deref(), Some("enough"));
        stage.project.fail(holder, Outcome::Cancelled).await;
    });
    futures_util::future::join_all(ends).await;
    let last = loop {
        let receipt = receipts.next().await;
        if receipt.open == 0 {
            break receipt;
        }
    };
    assert_eq!((last.state, last.agents), (CommandState::Applied, AGENTS), "{}", last.message);
}
