use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kapelle_runtime::clock::Clock;
use kapelle_runtime::identity::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::output::{Console, Settings};
use crate::render::fixtures;

/// A coordinator that says what the test wants it to say.
#[derive(Clone)]
struct Pretender {
    run: Arc<Mutex<RunDetail>>,
    /// What each event stream sends before it breaks off; the last one stays open.
    streams: Arc<Mutex<Vec<String>>>,
    /// The paths that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Pretender {
    fn new(run: RunDetail, streams: &[&str]) -> Self {
        let streams = streams.iter().rev().map(|&stream| stream.to_owned()).collect();
        Self {
            run: Arc::new(Mutex::new(run)),
            streams: Arc::new(Mutex::new(streams)),
            asked: Arc::default(),
        }
    }

    async fn serve(self, listener: TcpListener) {
        let mut serving = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            serving.spawn(self.clone().answer(stream));
        }
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let asked = String::from_utf8_lossy(&asked);
        let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().expect("no test panics here").push(path.clone());
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        let (body, stays) = match path.as_str() {
            "/api/v1/runs/r-42" => {
                let run = self.run.lock().expect("no test panics here").clone();
                (serde_json::to_string(&run).expect("JSON"), false)
            }
            "/api/v1/workers" => ("[]".to_owned(), false),
            "/health" => {
                let health = r#"{"status":"ok","version":"0","pid":1,"project":"","role":"up"}"#;
                (health.to_owned(), false)
            }
            _ => {
                let mut streams = self.streams.lock().expect("no test panics here");
                let body = streams.pop().unwrap_or_default();
                (body, streams.is_empty())
            }
        };
        // A client that has gone has seen enough.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        if stays {
            // Open until the client hangs up.
            let _ = stream.read(&mut [0]).await;
        }
    }
}

fn event(seq: u64, kind: &str) -> String {
    format!(
        "data: {{\"id\":\"e.{seq}\",\"seq\":{seq},\"at\":0,\"kind\":\"{kind}\",\"run\":\"r-42\",\
         \"task\":\"r-42/1.2\",\"message\":\"m\",\"data\":{{}}}}\n\n"
    )
}

fn app() -> App {
    let clock = Clock::system();
    let settings = Settings { quiet: true, ..Settings::default() };
    App {
        console: Console::new(settings, &BTreeMap::new(), clock.clone()),
        identity: Identity::new(clock.clone()),
        clock,
        directory: PathBuf::from("."),
        log_file: None,
        environment: BTreeMap::new(),
    }
}

/// Follows the run of `pretender`; `meanwhile` is done beside it.
async fn follow(pretender: &Pretender, meanwhile: impl AsyncFnOnce(&Pretender)) -> Followed {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut serving = JoinSet::new();
    serving.spawn(pretender.clone().serve(listener));
    let client = Client::remote(&url, None).expect("a good address");
    let connection = Connection { client, hosted: None };
    let app = app();
    let mut follower = Follower::start(&app, &connection).await.expect("it answers");
    let (followed, ()) = tokio::join!(follower.follow("r-42"), meanwhile(pretender));
    followed.expect("it answers to the end")
}

fn ended() -> RunDetail {
    let mut detail = fixtures::detail();
    detail.run.state = "succeeded".to_owned();
    detail
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    let pretender = Pretender::new(fixtures::detail(), &[&event(1, "attempt_started")]);
    let followed = follow(&pretender, async |pretender| {
        *pretender.run.lock().expect("no test panics here") = ended();
    })
    .await;
    assert!(matches!(followed, Followed::Ended(detail) if *detail == ended()));
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let streams = [&event(6, "attempt_started"), &event(7, "task_succeeded"), ""];
    let pretender = Pretender::new(fixtures::detail(), &streams.map(|stream| stream as &str));
    let taken_up = |pretender: &Pretender| {
        let asked = pretender.asked.lock().expect("no test panics here");
        asked.iter().any(|path| path.ends_with("/events?after=e.7"))
    };
    let followed = follow(&pretender, async |pretender| {
        while !taken_up(pretender) {
            tokio::task::yield_now().await;
        }
        *pretender.run.lock().expect("no test panics here") = ended();
    })
    .await;
    assert!(matches!(followed, Followed::Ended(_)));
    let asked = pretender.asked.lock().expect("no test panics here");
    assert!(asked.iter().any(|path| path.ends_with("/events?after=e.6")), "{asked:?}");
}

#[tokio::test]
async fn work_that_no_worker_can_do_is_given_up() {
    let mut detail = fixtures::detail();
    // Ready since long ago, and nothing else goes on.
    detail.tasks = vec![fixtures::blocked()];
    detail.tasks[0].state = "ready".to_owned();
    let followed = follow(&Pretender::new(detail, &[""]), async |_| {}).await;
    assert!(matches!(followed, Followed::Unplaceable(agents) if agents == ["claude"]));
}
