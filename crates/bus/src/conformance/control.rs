//! What the public control subjects must do, whatever carries them.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kapelle_domain::ids::RunId;
use kapelle_proto::v1;
use prost::Message as _;
use serde_json::{Value, json};

use super::soon;
use crate::control::{
    BODY_BYTES_MAX, CommandReceipt, CommandState, ControlEnd, ControlRequest, EventNotice,
    FeedbackAction, Only, Order, Receipt, ReceiptEnd as _, Status, Target,
};
use crate::memory::Heard;
use crate::subject::AgentName;

const JSON: Option<&str> = Some("application/json");

/// Control subjects with both their ends.
pub trait ControlFabric {
    /// The coordinator's end.
    type End: ControlEnd;

    /// New ones.
    fn new() -> impl Future<Output = Self>;

    /// The coordinator's end.
    fn end(&self) -> Self::End;

    /// Sends a request, and listens for its receipts.
    fn request(
        &self,
        subject: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> impl Future<Output = BoxStream<'static, Heard>>;

    /// Everything that the coordinator tells from now on.
    fn watch(&self) -> impl Future<Output = BoxStream<'static, Heard>>;
}

/// Runs every check, each on subjects of its own.
pub async fn check_control<F: ControlFabric>() {
    a_request_in_json_is_answered_in_json_as_often_as_something_happens(F::new().await).await;
    a_request_in_protobuf_is_answered_in_protobuf(F::new().await).await;
    what_cannot_be_carried_out_is_refused_with_a_reason(F::new().await).await;
    statuses_and_events_are_heard_by_subscription(F::new().await).await;
    what_is_too_long_for_an_event_is_left_to_the_log(F::new().await).await;
}

/// Some agent.
#[must_use]
pub fn some_agent() -> AgentName {
    AgentName::new("coder-1.2-42-3-1").expect("a name")
}

/// How it is doing.
#[must_use]
pub fn some_status() -> Status {
    Status {
        agent: some_agent(),
        run: "r-42".to_owned(),
        task: "r-42/1.2".to_owned(),
        attempt: 1,
        title: "Do it".to_owned(),
        program: "coder".to_owned(),
        worker: "box-1".to_owned(),
        phase: "running".to_owned(),
        paused: false,
        outcome: String::new(),
        activity: "reads".to_owned(),
        at_ms: 5,
        as_of: "77.7".to_owned(),
    }
}

/// A receipt of a request for it.
#[must_use]
pub fn some_receipt(state: CommandState) -> Receipt {
    Receipt {
        request_id: "one".to_owned(),
        state,
        code: String::new(),
        message: "for 1 agent".to_owned(),
        hint: String::new(),
        agents: 1,
        open: 1,
        commands: vec![CommandReceipt {
            agent: some_agent().to_string(),
            task: "r-42/1.2".to_owned(),
            number: 1,
            state,
            message: String::new(),
        }],
    }
}

async fn next<E: ControlEnd>(end: &E) -> ControlRequest<E::Receipts> {
    soon("a request", end.next()).await.expect("control is open")
}

async fn heard(messages: &mut BoxStream<'static, Heard>) -> Heard {
    soon("a message", messages.next()).await.expect("a message")
}

async fn a_request_in_json_is_answered_in_json_as_often_as_something_happens<F: ControlFabric>(
    fabric: F,
) {
    let end = fabric.end();
    let body = json!({ "request_id": "one", "text": "edges", "action": "restart" }).to_string();
    let subject = "orchestrator.agent.coder-1.2-42-3-1.feedback";
    let json = Some("application/json; charset=utf-8");
    let mut receipts = fabric.request(subject, json, body.as_bytes()).await;
    let request = next(&end).await;
    assert_eq!(request.order.target, Target::Agent(some_agent()));
    let (text, action) = ("edges".to_owned(), FeedbackAction::Restart);
    assert_eq!(request.order.order, Order::Feedback { text, action });
    assert_eq!(request.order.request_id.as_deref(), Some("one"));
    assert!(request.receipts.is_wanted());
    for state in [CommandState::Accepted, CommandState::Delivered, CommandState::Applied] {
        request.receipts.send(&some_receipt(state)).await.expect("sent");
        let message = heard(&mut receipts).await;
        assert_eq!(message.content_type, "application/json");
        let read: Value = serde_json::from_slice(&message.body).expect("JSON");
        let name = serde_json::to_value(state).expect("a name");
        assert_eq!(read["state"], name);
        assert_eq!(read["commands"][0]["state"], name);
        assert_eq!(read.get("code"), None, "what there is nothing to say about is left out");
    }
}

async fn a_request_in_protobuf_is_answered_in_protobuf<F: ControlFabric>(fabric: F) {
    let end = fabric.end();
    let only = v1::Only { kind: Some(v1::only::Kind::Label("gpu".to_owned())) };
    let body = v1::Stop { reason: "no".to_owned(), only: Some(only), ..v1::Stop::default() };
    let body = body.encode_to_vec();
    let mut receipts = fabric.request("orchestrator.broadcast.stop", None, &body).await;
    let request = next(&end).await;
    assert_eq!(request.order.target, Target::Only(Only::Label("gpu".to_owned())));
    assert_eq!(request.order.request_id, None);
    request.receipts.send(&some_receipt(CommandState::Accepted)).await.expect("sent");
    let message = heard(&mut receipts).await;
    assert_eq!(message.content_type, "application/protobuf");
    let read = v1::Receipt::decode(&*message.body).expect("protobuf");
    assert_eq!(read.state(), v1::CommandState::Accepted);
    assert_eq!(read.open, 1);
}

async fn what_cannot_be_carried_out_is_refused_with_a_reason<F: ControlFabric>(fabric: F) {
    let end = fabric.end();
    let too_large = "x".repeat(BODY_BYTES_MAX + 1);
    let long_name = json!({ "only": { "run": "r".repeat(201) } }).to_string();
    for (subject, content_type, body, code) in [
        ("orchestrator.broadcast.stop", JSON, "{", "malformed"),
        ("orchestrator.broadcast.stop", JSON, r#"{"reson":"typo"}"#, "malformed"),
        ("orchestrator.broadcast.redirect", JSON, r#"{"work_stream":"1.3"}"#, "not_for_many"),
        ("orchestrator.broadcast.stop", Some("text/yaml"), "stop: true", "unknown_encoding"),
        ("orchestrator.broadcast.stop", JSON, too_large.as_str(), "too_long"),
        ("orchestrator.broadcast.stop", JSON, long_name.as_str(), "too_long"),
        ("orchestrator.broadcast.dance", JSON, "{}", "unknown_subject"),
        ("orchestrator.agent.coder.dance", JSON, "{}", "unknown_subject"),
        ("orchestrator.agent.stop", JSON, "{}", "unknown_subject"),
    ] {
        let mut receipts = fabric.request(subject, content_type, body.as_bytes()).await;
        let refused = tokio::select! {
            refused = heard(&mut receipts) => refused,
            request = end.next() => panic!("{:?} is to be refused", request.map(|it| it.order)),
        };
        let receipt: Receipt = serde_json::from_slice(&refused.body).expect("JSON");
        assert_eq!(receipt.state, CommandState::Rejected, "{subject}");
        assert_eq!(receipt.code, code, "{subject}: {receipt:?}");
        assert!(!receipt.message.is_empty() && !receipt.hint.is_empty(), "{receipt:?}");
    }
}

fn some_event(data: Value) -> EventNotice {
    EventNotice {
        id: "77.7".to_owned(),
        seq: 7,
        at: 5,
        kind: "task_succeeded".to_owned(),
        run: Some("r-42".to_owned()),
        task: Some("r-42/1.2".to_owned()),
        message: "r-42/1.2: done".to_owned(),
        data: Some(data),
    }
}

async fn statuses_and_events_are_heard_by_subscription<F: ControlFabric>(fabric: F) {
    let end = fabric.end();
    let mut messages = fabric.watch().await;
    end.publish_status(&some_status()).await.expect("sent");
    let message = heard(&mut messages).await;
    assert_eq!(message.subject, "orchestrator.status.coder-1.2-42-3-1");
    assert_eq!(message.content_type, "application/json");
    assert_eq!(serde_json::from_slice::<Status>(&message.body).expect("JSON"), some_status());

    let event = some_event(json!({ "task": "r-42/1.2" }));
    for (run, subject) in [
        (Some(RunId(42)), "orchestrator.event.r-42.task_succeeded"),
        (None, "orchestrator.event.fleet.task_succeeded"),
    ] {
        end.publish_event(run, &event).await.expect("sent");
        let message = heard(&mut messages).await;
        assert_eq!(message.subject, subject);
        assert_eq!(serde_json::from_slice::<EventNotice>(&message.body).expect("JSON"), event);
    }
    let nameless = EventNotice { kind: "a.b".to_owned(), ..event };
    let refused = end.publish_event(Some(RunId(42)), &nameless).await;
    assert!(matches!(refused, Err(crate::Error::Refused { .. })), "{refused:?}");
}

async fn what_is_too_long_for_an_event_is_left_to_the_log<F: ControlFabric>(fabric: F) {
    let end = fabric.end();
    let mut messages = fabric.watch().await;
    let mut event = some_event(json!({ "prompt": "x".repeat(2_000_000) }));
    event.message = "ä".repeat(1_000_000);
    end.publish_event(Some(RunId(42)), &event).await.expect("sent");
    let message = heard(&mut messages).await;
    let read: EventNotice = serde_json::from_slice(&message.body).expect("JSON");
    assert_eq!((read.id.as_str(), read.data), ("77.7", None));
    assert!(message.body.len() < 2_000, "{} bytes", message.body.len());
}
