//! Events as pages and as streams.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::Method;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::super::STREAMS_MAX;
use super::{get, over_socket, post, request};
use crate::tests::{EPOCH, Project};

/// How long an event may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client's side of a stream.
pub(super) struct Stream {
    body: BodyDataStream,
    text: String,
}

/// One event as the client sees it.
#[derive(Debug, PartialEq)]
pub(super) struct Frame {
    id: Option<String>,
    event: Option<String>,
    data: Value,
}

impl Stream {
    async fn open(router: &Router, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = request(Method::GET, &format!("/api/v1/events{query}"))
            .header("accept", "text/html, text/event-stream;q=0.9");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("routers don't fail");
        assert_eq!(response.status(), 200);
        let header = |name| response.headers().get(name).map(|value| value.as_bytes().to_owned());
        assert_eq!(header("content-type").as_deref(), Some(&b"text/event-stream"[..]));
        assert_eq!(header("x-accel-buffering").as_deref(), Some(&b"no"[..]));
        assert_eq!(header("x-content-type-options").as_deref(), Some(&b"nosniff"[..]));
        let mut stream = Self::over(response.into_body());
        assert_eq!(stream.block().await.as_deref(), Some("retry: 1000"));
        stream
    }

    pub(super) fn over(body: Body) -> Self {
        Self { body: body.into_data_stream(), text: String::new() }
    }

    /// The next lines up to an empty one; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("in time")?;
            self.text += std::str::from_utf8(&chunk.expect("no failure")).expect("text");
        }
    }

    async fn next(&mut self) -> Frame {
        let block = self.block().await.expect("the stream goes on");
        let mut frame = Frame { id: None, event: None, data: Value::Null };
        for line in block.lines() {
            match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
                Some(("id", id)) => frame.id = Some(id.to_owned()),
                Some(("event", event)) => frame.event = Some(event.to_owned()),
                Some(("data", data)) => frame.data = serde_json::from_str(data).expect("JSON"),
                other => panic!("{other:?}"),
            }
        }
        frame
    }

    async fn take(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        for _ in 0..count {
            frames.push(self.next().await);
        }
        frames
    }
}

async fn submit(router: &Router) {
    let run = json!({"select": {"kind": "next"}});
    assert_eq!(post(router, "/api/v1/runs", run).await.status, 201);
}

async fn stop(router: &Router) {
    assert_eq!(post(router, "/api/v1/stop", json!({})).await.status, 202);
}

async fn page(router: &Router, query: &str) -> Value {
    let answer = get(router, &format!("/api/v1/events{query}")).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()
}

fn numbers<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<u64> {
    events.into_iter().map(|event| event["seq"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let project = Project::start().await;
    let router = over_socket(&project);
    submit(&router).await;
    stop(&router).await;
    let all = page(&router, "").await;
    let count = u64::try_from(all["events"].as_array().expect("a list").len()).expect("small");
    assert!(count >= 4, "{all}");
    assert_eq!(numbers(all["events"].as_array().expect("a list")), (1..=count).collect::<Vec<_>>());
    assert_eq!(all["next"], format!("{EPOCH}.{count}"));

    let mut place = format!("{EPOCH}.0");
    let mut seen = Vec::new();
    loop {
        let page = page(&router, &format!("?after={place}&limit=1&run=r-1")).await;
        let events = page["events"].as_array().expect("a list").clone();
        let Some(event) = events.first() else { break };
        assert_eq!(event["id"], page["next"]);
        place = page["next"].as_str().expect("a place").to_owned();
        seen.push(event.clone());
    }
    assert_eq!(Value::from(seen), all["events"]);
    get(&router, "/api/v1/events?after=78.1").await.check_problem(404, "unknown_epoch");
    for beyond in [format!("{EPOCH}.{}", count + 1), (count + 1).to_string()] {
        let answer = get(&router, &format!("/api/v1/events?after={beyond}")).await;
        answer.check_problem(404, "unknown_place");
    }
}

#[tokio::test]
async fn events_name_tasks_as_people_do() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let mut live = Stream::open(&router, "", None).await;
    submit(&router).await;
    stop(&router).await;
    let all = page(&router, "").await;
    let events = all["events"].as_array().expect("a list");
    let streamed: Vec<Value> =
        live.take(events.len()).await.into_iter().map(|frame| frame.data).collect();
    assert_eq!(&streamed, events);
    let of_tasks: Vec<&Value> =
        events.iter().filter(|event| event["task"] != Value::Null).collect();
    assert!(of_tasks.len() >= 2, "{all}");
    for event in of_tasks {
        assert_eq!((&event["task"], &event["data"]["task"]), (&json!("r-1/1.1"), &json!("r-1/t0")));
        let message = event["message"].as_str().expect("a message");
        assert!(message.starts_with("r-1/1.1: "), "{message}");
    }
}

/// Wherever a connection breaks, the next one goes on right there, whatever happens in between.
#[tokio::test]
async fn a_resumed_stream_has_every_event_once() {
    let project = Project::start().await;
    let router = over_socket(&project);
    submit(&router).await;
    let before = page(&router, "").await["events"].as_array().expect("a list").len();
    assert!(before >= 2);
    for cut in 1..=before {
        let mut first = Stream::open(&router, "?after=0", None).await;
        let mut frames = first.take(cut).await;
        drop(first);
        let last = frames[cut - 1].id.clone().expect("an id");
        if cut == before {
            // What happens while nobody is connected isn't lost either.
            stop(&router).await;
        }
        let all = page(&router, "").await["events"].as_array().expect("a list").clone();
        // A client that reconnects repeats its query; the header says where it really is.
        let mut second = Stream::open(&router, "?after=0", Some(&last)).await;
        frames.extend(second.take(all.len() - cut).await);
        assert_eq!(frames.iter().map(|frame| frame.data.clone()).collect::<Vec<_>>(), all);
        for frame in &frames {
            assert_eq!(frame.event, None);
            assert_eq!(frame.id.as_deref(), frame.data["id"].as_str());
        }
    }
}

#[tokio::test]
async fn a_stream_without_a_place_begins_now_and_follows_what_happens() {
    let project = Project::start().await;
    let router = over_socket(&project);
    submit(&router).await;
    let known = page(&router, "").await["events"].as_array().expect("a list").len();
    let mut stream = Stream::open(&router, "?run=r-1", None).await;
    stop(&router).await;
    let all = page(&router, "").await["events"].as_array().expect("a list").clone();
    let frames = stream.take(all.len() - known).await;
    let seen: Vec<_> = frames.iter().map(|frame| frame.data.clone()).collect();
    assert_eq!(seen, all[known..]);
}

#[tokio::test]
async fn a_place_in_another_log_resets_the_client() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let beyond = format!("{EPOCH}.999999");
    for place in ["78.3", &beyond] {
        let known = page(&router, "").await["events"].as_array().expect("a list").len();
        let mut stream = Stream::open(&router, "", Some(place)).await;
        let reset =
            Frame { id: Some(String::new()), event: Some("reset".to_owned()), data: json!({}) };
        assert_eq!(stream.next().await, reset);
        // It goes on with what happens from now on.
        if known == 0 {
            submit(&router).await
        } else {
            stop(&router).await
        }
        assert_eq!(stream.next().await.data["seq"], known + 1);
    }
}

#[tokio::test]
async fn a_stream_that_cannot_begin_is_a_problem() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let open = async |query: &str| {
        let request = request(Method::GET, &format!("/api/v1/events{query}"))
            .header("accept", "text/event-stream");
        super::send(&router, request.body(Body::empty()).expect("a request")).await
    };
    open("?after=yesterday").await.check_problem(422, "malformed_place");
    open("?run=nine").await.check_problem(422, "malformed_id");
    open("?since=1").await.check_problem(400, "invalid_query");

    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(Stream::open(&router, "", None).await);
    }
    let refused = open("").await;
    refused.check_problem(503, "too_many_streams");
    assert_eq!(refused.header("retry-after"), Some("5"));
    streams.pop();
    Stream::open(&router, "", None).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_coordinator() {
    let mut project = Project::start().await;
    let router = over_socket(&project);
    let mut stream = Stream::open(&router, "", None).await;
    drop(router);
    project.stop_dispatching().await;
    drop(project);
    assert_eq!(stream.block().await, None);
}
