use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use super::*;
use crate::exit::Exit;

/// Answers one request with `answer` and gives back what was asked.
fn answer_once(mut stream: impl std::io::Read + std::io::Write, answer: &str) -> String {
    let mut asked = Vec::new();
    let mut buffer = [0; 1024];
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).expect("the client sends its request");
        assert!(read > 0, "the client has hung up");
        asked.extend_from_slice(&buffer[..read]);
    }
    stream.write_all(answer.as_bytes()).expect("the client takes the answer");
    String::from_utf8(asked).expect("the request is text")
}

fn serve(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it has an address"));
    let served = thread::spawn(move || {
        answer_once(listener.accept().expect("the client connects").0, answer)
    });
    (url, served)
}

const HEALTH: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
    {\"status\":\"ok\",\"version\":\"\\u001b[31m1\",\"pid\":7,\"project\":\"/p\",\"role\":\"up\"}";

#[tokio::test]
async fn the_token_is_shown_and_answers_are_made_harmless() {
    let (url, served) = serve(HEALTH);
    let client = Client::remote(&url, Some("s3cret")).expect("a good address");
    let health = client.health().await.expect("an answer");
    assert_eq!((health.version.as_str(), health.pid), ("1", 7));
    let asked = served.join().expect("it has served").to_lowercase();
    assert!(asked.starts_with("get /health http/1.1"), "{asked}");
    assert!(asked.contains("authorization: bearer s3cret"), "{asked}");
}

#[tokio::test]
async fn a_socket_is_as_good_as_an_address_and_texts_can_stay_raw() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kapelle.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let served = thread::spawn(move || {
        answer_once(listener.accept().expect("the client connects").0, HEALTH)
    });
    let client = Client::socket(&path).expect("a good path").with_texts(Texts::Raw);
    assert_eq!(client.health().await.expect("an answer").version, "\u{1b}[31m1");
    served.join().expect("it has served");
}

#[tokio::test]
async fn the_slash_of_a_task_id_stays_inside_its_segment() {
    let (url, served) = serve("HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n");
    let client = Client::remote(&url, None).expect("a good address");
    let error = client.why("r-42/1.2").await.expect_err("there is nothing");
    assert_eq!(error.exit(), Exit::NotFound);
    let asked = served.join().expect("it has served");
    assert!(asked.starts_with("GET /api/v1/tasks/r-42%2F1.2/why HTTP/1.1"), "{asked}");
}

#[tokio::test]
async fn a_refusal_is_told_as_the_service_tells_it() {
    let (url, served) = serve(
        "HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n\
         {\"type\":\"t\",\"title\":\"Conflict\",\"status\":409,\"detail\":\"r-1 is open\",\
         \"code\":\"run_open\",\"hint\":\"stop it\",\"request_id\":\"q\"}",
    );
    let client = Client::remote(&url, None).expect("a good address");
    let error = client.resume("r-1").await.expect_err("it refuses");
    assert_eq!((error.code(), error.hint().as_deref()), ("run_open", Some("stop it")));
    assert_eq!(error.to_string(), "r-1 is open");
    served.join().expect("it has served");
}

#[tokio::test]
async fn the_event_stream_gives_events_resets_and_its_own_end() {
    let (url, served) = serve(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
         : hello\n\nid: e.1\ndata: {\"id\":\"e.1\",\"seq\":1,\"at\":5,\"kind\":\"run_submitted\",\
         \"run\":\"r-1\",\"task\":null,\"message\":\"m\",\"data\":{}}\n\nevent: reset\ndata: {}\n\n",
    );
    let client = Client::remote(&url, None).expect("a good address");
    let stream = client.watch(Some("e.0"), Some("r-1")).await.expect("a stream");
    let entries: Vec<_> = stream.collect().await;
    assert!(matches!(&entries[0], Ok(Watched::Event(event)) if event.kind == "run_submitted"));
    assert!(matches!(&entries[1], Ok(Watched::Reset)));
    assert!(matches!(&entries[2], Err(Error::BrokenOff { .. })));
    assert_eq!(entries.len(), 3);
    let asked = served.join().expect("it has served").to_lowercase();
    assert!(asked.starts_with("get /api/v1/events?after=e.0&run=r-1 "), "{asked}");
    assert!(asked.contains("accept: text/event-stream"), "{asked}");
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_somebody_who_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let client = Client::socket(&directory.path().join("none.sock")).expect("a good path");
    let error = client.health().await.expect_err("nobody listens");
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(is_nobody_there(&error));

    let (url, served) = serve("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nnot json");
    let client = Client::remote(&url, None).expect("a good address");
    let error = client.health().await.expect_err("it talks nonsense");
    assert!(!is_nobody_there(&error));
    assert_eq!(error.code(), "garbled");
    served.join().expect("it has served");
}

#[test]
fn addresses_that_are_none_are_refused() {
    for url in ["", "localhost:7400", "https://example.com", "unix:/tmp/x", "http://"] {
        let error = Client::remote(url, None).expect_err(url);
        assert_eq!(error.exit(), Exit::Usage, "{url}");
    }
}
