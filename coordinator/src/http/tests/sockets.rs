//! Real sockets: who may open them, what is in the way, and how serving ends.

use std::fs;
use std::future::Future;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::{
    Address, Bound, Error, Reach, SocketPath, Stale, Token, bind_tcp, bind_unix, hosts_of,
};
use super::{Access, over_socket, router};
use crate::tests::Project;

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time")
}

/// Sends one request and reads until the server closes.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, head: &str) -> String {
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.expect("read");
    answer
}

/// Reads until `text` has come.
async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, text: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        let mut chunk = [0; 1024];
        let count = soon(stream.read(&mut chunk)).await.expect("read");
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&chunk[..count]);
    }
}

const GET_HEALTH: &str = "GET /health HTTP/1.1\r\nHost: kapelle\r\nConnection: close\r\n\r\n";
const POST_SHUTDOWN: &str =
    "POST /api/v1/shutdown HTTP/1.1\r\nHost: kapelle\r\nContent-Length: 0\r\n\r\n";

struct Serving {
    project: Project,
    path: PathBuf,
    running: JoinSet<()>,
}

async fn serve_unix() -> Serving {
    let project = Project::start().await;
    let path = project.directory.path().join(".kapelle/kapelle.sock");
    let bound = bind_unix(&path, Stale::Keep).await.expect("bound");
    let mut running = JoinSet::new();
    running.spawn(bound.serve(over_socket(&project), project.shutdown.clone()));
    Serving { project, path, running }
}

async fn connect(path: &Path) -> UnixStream {
    UnixStream::connect(path).await.expect("connected")
}

#[tokio::test]
async fn the_socket_is_for_its_user_alone_and_goes_when_serving_ends() {
    let mut serving = serve_unix().await;
    let mode = fs::metadata(&serving.path).expect("a socket").mode();
    assert_eq!(mode & 0o777, 0o600);
    let answer = talk(connect(&serving.path).await, GET_HEALTH).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"role\":\"run\""),
        "{answer}"
    );

    // Who asks for the end is still answered.
    let answer = talk(connect(&serving.path).await, POST_SHUTDOWN).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    soon(serving.running.join_next()).await.expect("one task").expect("no panic");
    assert!(!serving.path.exists());
}

#[tokio::test]
async fn a_directory_that_is_missing_is_made_for_the_user_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let parent = directory.path().join("a/b");
    let bound = bind_unix(&parent.join("s"), Stale::Keep).await.expect("bound");
    assert_eq!(fs::metadata(&parent).expect("made").mode() & 0o777, 0o700);
    assert_eq!(bound.address(), &Address::Unix(parent.join("s")));
    drop(bound);
    assert!(!parent.join("s").exists());
}

#[tokio::test]
async fn a_socket_that_answers_is_never_taken() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    let first = bind_unix(&path, Stale::Keep).await.expect("bound");
    for stale in [Stale::Keep, Stale::Replace] {
        let second = bind_unix(&path, stale).await;
        assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    }
    assert!(path.exists());
    drop(first);
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced_by_the_owner_of_the_project_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    drop(StdUnixListener::bind(&path).expect("bound"));
    let refused = bind_unix(&path, Stale::Keep).await;
    assert!(matches!(refused, Err(Error::Abandoned { .. })), "{refused:?}");
    let bound = bind_unix(&path, Stale::Replace).await.expect("replaced");
    connect(&path).await;
    // One that took its place isn't removed with it.
    fs::remove_file(&path).expect("removed");
    let other = StdUnixListener::bind(&path).expect("bound");
    drop(bound);
    assert!(path.exists());
    drop(other);
}

#[tokio::test]
async fn what_is_not_a_socket_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    fs::write(&path, "mine").expect("a file");
    let refused = bind_unix(&path, Stale::Replace).await;
    assert!(matches!(refused, Err(Error::NotASocket { .. })), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "mine");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_length_of_a_path_does_not_matter() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("d".repeat(200)).join("kapelle.sock");
    let bound = bind_unix(&path, Stale::Keep).await.expect("bound");
    assert_eq!(fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
    let short = SocketPath::new(&path).expect("a short form");
    connect(short.path()).await;
    let second = bind_unix(&path, Stale::Replace).await;
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    drop(bound);
    assert!(!path.exists());
}

/// Idle connections, streams, and requests that wait: none keeps a server that drains.
#[tokio::test]
async fn serving_ends_although_clients_would_stay() {
    let mut serving = serve_unix().await;
    let run = "{\"select\":{\"kind\":\"next\"}}";
    let submit = format!(
        "POST /api/v1/runs HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{run}",
        run.len()
    );
    let accepted = talk(connect(&serving.path).await, &submit).await;
    assert!(accepted.starts_with("HTTP/1.1 201 "), "{accepted}");
    let holder = serving.project.start_attempt().await;
    serving.project.say(&holder, 1, "hm").await;

    let mut idle = connect(&serving.path).await;
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: k\r\n{more}\r\n");
    idle.write_all(get("/ready", "").as_bytes()).await.expect("written");
    read_until(&mut idle, "{\"status\":\"ok\"}").await;
    let mut stream = connect(&serving.path).await;
    let events = get("/api/v1/events", "Accept: text/event-stream\r\n");
    stream.write_all(events.as_bytes()).await.expect("written");
    read_until(&mut stream, "retry: 1000").await;
    let mut waiting = connect(&serving.path).await;
    let wait = get("/api/v1/tasks/1.1/logs?after=1&wait_ms=20000", "");
    waiting.write_all(wait.as_bytes()).await.expect("written");

    serving.project.shutdown.cancel();
    soon(serving.running.join_next()).await.expect("one task").expect("no panic");
    let mut rest = String::new();
    soon(stream.read_to_string(&mut rest)).await.expect("read");
    assert!(rest.ends_with("0\r\n\r\n"), "the stream ends in good order: {rest:?}");
}

#[tokio::test]
async fn other_machines_reach_a_port_only_if_that_is_meant() {
    let address = "0.0.0.0:0".parse().expect("an address");
    let refused = bind_tcp(address, Reach::Loopback).await;
    assert!(matches!(refused, Err(Error::Remote { .. })), "{refused:?}");
    bind_tcp(address, Reach::Anywhere).await.expect("bound");
}

fn tcp_address(bound: &Bound) -> std::net::SocketAddr {
    match bound.address() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{}", path.display()),
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = bind_tcp("127.0.0.1:0".parse().expect("an address"), Reach::Loopback).await;
    let address = tcp_address(first.as_ref().expect("bound"));
    let second = bind_tcp(address, Reach::Loopback).await.expect_err("it is in use");
    assert!(matches!(second, Error::PortInUse { .. }), "{second:?}");
    let message = second.to_string();
    assert!(
        message.contains(&address.to_string()) && message.contains("server.listen"),
        "{message}"
    );
}

#[tokio::test]
async fn a_port_is_served_to_those_with_the_token() {
    let project = Project::start().await;
    let bound = bind_tcp("127.0.0.1:0".parse().expect("an address"), Reach::Loopback).await;
    let bound = bound.expect("bound");
    let address = tcp_address(&bound);
    let access = Access::Token { token: Token::new("s3cret"), hosts: hosts_of(address) };
    let shutdown = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(bound.serve(router(project.service.clone(), access), shutdown.clone()));
    let ask = async |more: &str| {
        let head = "GET /api/v1/status HTTP/1.1\r\nConnection: close";
        let stream = TcpStream::connect(address).await.expect("connected");
        talk(stream, &format!("{head}\r\nHost: {address}\r\n{more}\r\n")).await
    };
    assert!(ask("").await.starts_with("HTTP/1.1 401 "));
    assert!(ask("Authorization: Bearer s3cret\r\n").await.starts_with("HTTP/1.1 200 "));
    shutdown.cancel();
    // The port is free with it; another test may have it already, so it isn't tried.
    soon(running.join_next()).await.expect("one task").expect("no panic");
}
