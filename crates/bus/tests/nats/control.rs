//! Steering and watching over NATS, by clients that are not ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures_util::StreamExt as _;
use kapelle_bus::conformance::{Fabric as _, soon};
use kapelle_bus::control::{
    CommandReceipt, CommandState, EventNotice, FeedbackAction, Only, Order, Receipt, Status, Target,
};
use kapelle_bus::nats::ControlEnd;
use kapelle_bus::subject::AgentName;
use kapelle_domain::ids::RunId;
use kapelle_proto::v1;
use prost::Message as _;
use serde_json::{Value, json};

use crate::bus::Nats;

const SILENCE: Duration = Duration::from_millis(300);

struct Stage {
    nats: Nats,
    control: ControlEnd,
    client: Client,
}

impl Stage {
    async fn new() -> Self {
        let nats = Nats::new().await;
        let control = nats.coordinator.control().await.expect("control is served");
        let client = async_nats::connect(nats.server.url()).await.expect("connected");
        Self { nats, control, client }
    }

    /// Sends a request, and listens for its receipts.
    async fn send(&self, subject: &str, content_type: Option<&str>, body: &[u8]) -> Subscriber {
        let inbox = self.client.new_inbox();
        let receipts = self.client.subscribe(inbox.clone()).await.expect("subscribed");
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert("Content-Type", content_type);
        }
        let body = body.to_vec().into();
        let subject = subject.to_owned();
        let sent = self.client.publish_with_reply_and_headers(subject, inbox, headers, body);
        sent.await.expect("sent");
        receipts
    }

    /// Sends a request that is refused.
    async fn refused(&self, subject: &str, content_type: Option<&str>, body: &[u8]) -> Receipt {
        let mut receipts = self.send(subject, content_type, body).await;
        let refused = tokio::select! {
            receipt = receipts.next() => receipt.expect("a receipt"),
            request = self.control.next() => panic!("{request:?} is to be refused"),
        };
        let receipt: Receipt = serde_json::from_slice(&refused.payload).expect("JSON");
        assert_eq!(receipt.state, CommandState::Rejected);
        receipt
    }
}

fn agent() -> AgentName {
    AgentName::new("coder-1.2-42-3-1").expect("a name")
}

fn accepted(state: CommandState) -> Receipt {
    Receipt {
        request_id: "one".to_owned(),
        state,
        code: String::new(),
        message: "for 1 agent".to_owned(),
        agents: 1,
        commands: vec![CommandReceipt {
            agent: agent().to_string(),
            task: "r-42/1.2".to_owned(),
            number: 1,
            state,
            message: String::new(),
        }],
    }
}

async fn receipt(receipts: &mut Subscriber) -> Message {
    soon("a receipt", receipts.next()).await.expect("a receipt")
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(|value| value.as_str())
}

#[tokio::test]
async fn a_request_in_json_is_answered_in_json_as_often_as_something_happens() {
    let stage = Stage::new().await;
    let body = json!({ "request_id": "one", "text": "edges", "action": "restart" });
    let subject = "orchestrator.agent.coder-1.2-42-3-1.feedback";
    let json = Some("application/json; charset=utf-8");
    let mut receipts = stage.send(subject, json, body.to_string().as_bytes()).await;
    let request = soon("a request", stage.control.next()).await.expect("control is open");
    assert_eq!(request.order.target, Target::Agent(agent()));
    let (text, action) = ("edges".to_owned(), FeedbackAction::Restart);
    assert_eq!(request.order.order, Order::Feedback { text, action });
    assert_eq!(request.order.request_id.as_deref(), Some("one"));
    assert!(request.receipts.is_wanted());
    for state in [CommandState::Accepted, CommandState::Delivered, CommandState::Applied] {
        request.receipts.send(&accepted(state)).await.expect("sent");
        let message = receipt(&mut receipts).await;
        assert_eq!(header(&message, "content-type"), Some("application/json"));
        let read: Value = serde_json::from_slice(&message.payload).expect("JSON");
        let name = serde_json::to_value(state).expect("a name");
        assert_eq!(read["state"], name);
        assert_eq!(read["commands"][0]["state"], name);
        assert_eq!(read.get("code"), None, "what there is nothing to say about is left out");
    }
}

#[tokio::test]
async fn a_request_in_protobuf_is_answered_in_protobuf() {
    let stage = Stage::new().await;
    let only = v1::Only { kind: Some(v1::only::Kind::Label("gpu".to_owned())) };
    let body = v1::Stop { reason: "no".to_owned(), only: Some(only), ..v1::Stop::default() };
    let mut receipts = stage.send("orchestrator.broadcast.stop", None, &body.encode_to_vec()).await;
    let request = soon("a request", stage.control.next()).await.expect("control is open");
    assert_eq!(request.order.target, Target::Only(Only::Label("gpu".to_owned())));
    assert_eq!(request.order.request_id, None);
    request.receipts.send(&accepted(CommandState::Accepted)).await.expect("sent");
    let message = receipt(&mut receipts).await;
    assert_eq!(header(&message, "content-type"), Some("application/protobuf"));
    let read = v1::Receipt::decode(message.payload).expect("protobuf");
    assert_eq!(read.state(), v1::CommandState::Accepted);
}

#[tokio::test]
async fn a_request_without_a_reply_subject_is_a_request() {
    let stage = Stage::new().await;
    stage.client.publish("orchestrator.broadcast.pause", Vec::new().into()).await.expect("sent");
    let request = soon("a request", stage.control.next()).await.expect("control is open");
    assert_eq!(request.order.target, Target::Everyone);
    assert_eq!(request.order.order, Order::Pause { reason: String::new() });
    assert!(!request.receipts.is_wanted());
    request.receipts.send(&accepted(CommandState::Accepted)).await.expect("nobody is told");
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_refused_with_a_reason() {
    let stage = Stage::new().await;
    let json = Some("application/json");
    for (subject, content_type, body, code) in [
        ("orchestrator.broadcast.stop", json, "{", "malformed"),
        ("orchestrator.broadcast.stop", json, r#"{"reson":"typo"}"#, "malformed"),
        ("orchestrator.broadcast.redirect", json, r#"{"work_stream":"1.3"}"#, "not_for_many"),
        ("orchestrator.broadcast.stop", Some("text/yaml"), "stop: true", "unknown_encoding"),
        ("orchestrator.broadcast.dance", json, "{}", "unknown_subject"),
        ("orchestrator.agent.coder.dance", json, "{}", "unknown_subject"),
        ("orchestrator.agent.stop", json, "{}", "unknown_subject"),
    ] {
        let receipt = stage.refused(subject, content_type, body.as_bytes()).await;
        assert_eq!(receipt.code, code, "{subject}: {receipt:?}");
        assert!(!receipt.message.is_empty());
    }
    assert_eq!(stage.nats.coordinator.health().unreadable, 7);
}

#[tokio::test]
async fn nobody_gets_the_coordinator_to_speak_to_others() {
    let stage = Stage::new().await;
    for reply in
        ["orchestrator.worker.w1.poke", "$JS.API.STREAM.DELETE.orchestrator-work", "_INBOX_w1.x"]
    {
        let sent = stage.client.publish_with_reply(
            "orchestrator.broadcast.stop",
            reply,
            Vec::new().into(),
        );
        sent.await.expect("sent");
    }
    let more = tokio::time::timeout(SILENCE, stage.control.next()).await;
    assert!(more.is_err(), "they are not carried out either: {more:?}");
    assert_eq!(stage.nats.coordinator.health().forged, 3);
}

#[tokio::test]
async fn statuses_and_events_are_heard_by_subscription() {
    let stage = Stage::new().await;
    let mut statuses = stage.client.subscribe("orchestrator.status.>").await.expect("subscribed");
    let mut events = stage.client.subscribe("orchestrator.event.*.*").await.expect("subscribed");
    drop(stage.client.request("orchestrator.nobody", Vec::new().into()).await);
    let status = Status {
        agent: agent(),
        run: "r-42".to_owned(),
        task: "r-42/1.2".to_owned(),
        attempt: 1,
        title: "Do it".to_owned(),
        program: "coder".to_owned(),
        worker: "box-1".to_owned(),
        phase: "running".to_owned(),
        outcome: String::new(),
        activity: "reads".to_owned(),
        at_ms: 5,
    };
    stage.control.publish_status(&status).await.expect("sent");
    let message = soon("a status", statuses.next()).await.expect("a status");
    assert_eq!(message.subject.as_str(), "orchestrator.status.coder-1.2-42-3-1");
    assert_eq!(header(&message, "content-type"), Some("application/json"));
    assert_eq!(serde_json::from_slice::<Status>(&message.payload).expect("JSON"), status);

    let mut event = EventNotice {
        seq: 7,
        at_ms: 5,
        run: "r-42".to_owned(),
        kind: "task_succeeded".to_owned(),
        data: json!({ "task": "r-42/1.2" }),
    };
    stage.control.publish_event(RunId(42), &event).await.expect("sent");
    let message = soon("an event", events.next()).await.expect("an event");
    assert_eq!(message.subject.as_str(), "orchestrator.event.r-42.task_succeeded");
    assert_eq!(serde_json::from_slice::<EventNotice>(&message.payload).expect("JSON"), event);
    event.kind = "a.b".to_owned();
    let refused = stage.control.publish_event(RunId(42), &event).await;
    assert!(matches!(refused, Err(kapelle_bus::Error::Refused { .. })), "{refused:?}");
}

/// The Python that has a NATS client which is not ours.
fn python() -> PathBuf {
    let usual = "target/parts/python/bin/python";
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = std::env::var_os("KAPELLE_TEST_PYTHON").map(PathBuf::from).or_else(|| {
        here.ancestors().map(|above| above.join(usual)).find(|program| program.exists())
    });
    found.expect("Python with nats-py is missing: run `cargo xtask test`, which gets it")
}

const FOREIGN: &str = r#"
import asyncio, json, sys, nats

async def main(url):
    client = await nats.connect(url)
    statuses = await client.subscribe("orchestrator.status.>")
    headers = {"content-type": "application/json"}
    body = json.dumps({"new_work_stream": "1.3", "reason": "1.2 is blocked"}).encode()
    subject = "orchestrator.agent.coder-1.2-42-3-1.redirect"
    answer = await client.request(subject, body, timeout=10, headers=headers)
    print(json.loads(answer.data)["state"])
    status = await statuses.next_msg(timeout=10)
    print(json.loads(status.data)["phase"])
    await client.close()

asyncio.run(main(sys.argv[1]))
"#;

#[tokio::test]
async fn a_client_that_is_not_ours_steers_and_watches() {
    let stage = Stage::new().await;
    let foreign = tokio::process::Command::new(python())
        .args(["-c", FOREIGN, &stage.nats.server.url()])
        .kill_on_drop(true)
        .output();
    let served = async {
        let request = stage.control.next().await.expect("control is open");
        let (work_stream, reason) = ("1.3".to_owned(), "1.2 is blocked".to_owned());
        assert_eq!(request.order.order, Order::Redirect { work_stream, reason });
        request.receipts.send(&accepted(CommandState::Accepted)).await.expect("sent");
        let status = Status {
            agent: agent(),
            run: String::new(),
            task: String::new(),
            attempt: 1,
            title: String::new(),
            program: String::new(),
            worker: String::new(),
            phase: "running".to_owned(),
            outcome: String::new(),
            activity: String::new(),
            at_ms: 0,
        };
        stage.control.publish_status(&status).await.expect("sent");
    };
    let (output, ()) = soon("the client", async { tokio::join!(foreign, served) }).await;
    let output = output.expect("python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "accepted\nrunning\n", "{}", String::from_utf8_lossy(&output.stderr));
}
