//! Steering and watching over NATS, by clients that are not ours.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, select_all};
use kapelle_bus::conformance::{ControlFabric, Fabric as _, check_control, some_receipt, soon};
use kapelle_bus::control::{CommandState, ControlEnd as _, Order, ReceiptEnd as _, Target};
use kapelle_bus::memory::Heard;
use kapelle_bus::nats::NatsControl;

use crate::bus::Nats;

const SILENCE: Duration = Duration::from_millis(300);

struct Stage {
    nats: Nats,
    control: NatsControl,
    client: Client,
}

impl ControlFabric for Stage {
    type End = NatsControl;

    async fn new() -> Self {
        let nats = Nats::new().await;
        let control = nats.coordinator.control().await.expect("control is served");
        let client = async_nats::connect(nats.server.url()).await.expect("connected");
        Self { nats, control, client }
    }

    fn end(&self) -> NatsControl {
        self.control.clone()
    }

    async fn request(
        &self,
        subject: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> BoxStream<'static, Heard> {
        let inbox = self.client.new_inbox();
        let receipts = self.client.subscribe(inbox.clone()).await.expect("subscribed");
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert("Content-Type", content_type);
        }
        let (subject, body) = (subject.to_owned(), body.to_vec().into());
        let sent = self.client.publish_with_reply_and_headers(subject, inbox, headers, body);
        sent.await.expect("sent");
        receipts.map(|message| as_heard(&message)).boxed()
    }

    async fn watch(&self) -> BoxStream<'static, Heard> {
        let mut told = Vec::new();
        for subjects in ["orchestrator.status.>", "orchestrator.event.*.*"] {
            told.push(self.client.subscribe(subjects).await.expect("subscribed"));
        }
        // Once something else is answered, the server has subscribed us.
        drop(self.client.request("orchestrator.nobody", Vec::new().into()).await);
        select_all(told).map(|message| as_heard(&message)).boxed()
    }
}

fn as_heard(message: &Message) -> Heard {
    let header = message.headers.as_ref().and_then(|headers| headers.get("content-type"));
    Heard {
        subject: message.subject.to_string(),
        content_type: header.map(ToString::to_string).unwrap_or_default(),
        body: message.payload.to_vec(),
    }
}

#[tokio::test]
async fn control_conforms() {
    check_control::<Stage>().await;
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let stage = Stage::new().await;
    let mut receipts = stage.request("orchestrator.broadcast.dance", None, b"").await;
    tokio::select! {
        refused = receipts.next() => assert!(refused.is_some()),
        request = stage.control.next() => panic!("{request:?} is to be refused"),
    }
    assert_eq!(stage.nats.coordinator.health().unreadable, 1);
}

#[tokio::test]
async fn a_request_without_a_reply_subject_is_a_request() {
    let stage = Stage::new().await;
    stage.client.publish("orchestrator.broadcast.pause", Vec::new().into()).await.expect("sent");
    let request = soon("a request", stage.control.next()).await.expect("control is open");
    assert_eq!(request.order.target, Target::Everyone);
    assert_eq!(request.order.order, Order::Pause { reason: String::new() });
    assert!(!request.receipts.is_wanted());
    request.receipts.send(&some_receipt(CommandState::Accepted)).await.expect("nobody is told");
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
