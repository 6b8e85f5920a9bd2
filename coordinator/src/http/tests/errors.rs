//! Each way to be refused: always a problem, with a code, and with the name of the request.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::routing;
use serde_json::{Value, json};

use super::super::access::Access;
use super::super::problem::Trouble;
use super::super::{BODY_MAX, protect};
use super::{get, over_socket, post, post_text, request, send};
use crate::service::{Error, Kind};
use crate::tests::Project;

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_where() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let get = async |path: &str, status, code: &str, detail: &str| {
        let problem = get(&router, path).await.check_problem(status, code);
        assert!(problem.detail.contains(detail), "{path}: {}", problem.detail);
    };
    get("/api/v1/nothing", 404, "unknown_path", "/api/v1/nothing").await;
    get("/api/v1/tasks/r-1/1.2", 404, "unknown_path", "").await;
    get("/api/v1/stop", 405, "wrong_method", "doesn't take GET").await;
    get("/api/v1/runs?limti=3", 400, "invalid_query", "limti").await;
    get("/api/v1/runs?limit=many", 400, "invalid_query", "limit").await;
    get("/api/v1/runs?limit=0", 422, "invalid_limit", "from 1 to 200").await;
    get("/api/v1/runs?limit=201", 422, "invalid_limit", "from 1 to 200").await;
    get("/api/v1/events?limit=501", 422, "invalid_limit", "from 1 to 500").await;
    get("/api/v1/events?after=yesterday", 422, "malformed_place", "yesterday").await;
    get("/api/v1/tasks/1.1/logs?limit=1001", 422, "invalid_limit", "from 1 to 1000").await;
    get("/api/v1/tasks/1.1/logs?wait_ms=20001", 422, "invalid_wait", "20000").await;
    get("/api/v1/tasks/1.1/logs?after=-1", 400, "invalid_query", "after").await;
    get("/api/v1/tasks/%FF", 400, "invalid_path", "").await;
    get("/api/v1/runs/r-9", 404, "unknown_run", "r-9").await;
    get("/api/v1/runs/@last", 404, "no_runs", "").await;
    get("/api/v1/runs/nine", 422, "malformed_id", "nine").await;
    get("/api/v1/tasks/9.9", 404, "unknown_task", "9.9").await;
    get("/api/v1/tasks/9.9/why", 404, "unknown_task", "9.9").await;
}

#[tokio::test]
async fn bad_bodies_are_told_what_is_wrong_and_where() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let check = async |path, body: &str, status, code: &str, detail: &str| {
        let problem = post_text(&router, path, body.to_owned()).await.check_problem(status, code);
        assert!(problem.detail.contains(detail), "{path} {body:.40}: {}", problem.detail);
    };
    check("/api/v1/stop", "", 400, "invalid_json", "line 1 column 0").await;
    check("/api/v1/stop", "{\"id\": }", 400, "invalid_json", "line 1 column 8").await;
    check("/api/v1/stop", "[]", 422, "invalid_body", "expected a JSON object").await;
    check("/api/v1/stop", "{\"di\": \"r-1\"}", 422, "invalid_body", "unknown field `di`").await;
    check("/api/v1/stop", "{\"id\": 7}", 422, "invalid_body", "id: invalid type").await;
    check("/api/v1/runs", "{}", 422, "invalid_body", "missing field `select`").await;
    let unknown = r#"{"select": {"kind": "all"}}"#;
    check("/api/v1/runs", unknown, 422, "invalid_body", "select.kind: unknown variant `all`").await;
    let unknown = r#"{"select": {"kind": "next"}, "force": true}"#;
    check("/api/v1/runs", unknown, 422, "invalid_body", "unknown field `force`").await;
    let unknown = r#"{"select": {"kind": "streams", "ids": ["7.7"]}}"#;
    check("/api/v1/runs", unknown, 404, "unknown_stream", "7.7").await;
    // A selection takes what it has a use for, and nothing else.
    let surplus = r#"{"select": {"kind": "next", "count": 3}}"#;
    check("/api/v1/runs", surplus, 422, "invalid_body", "unknown field `count`").await;
    let none = r#"{"select": {"kind": "parallel", "count": 0}}"#;
    check("/api/v1/runs", none, 422, "invalid_count", "select.count is 0").await;
    let none = r#"{"select": {"kind": "next"}, "concurrency": 0}"#;
    check("/api/v1/runs", none, 422, "invalid_count", "concurrency is 0").await;
    let both = r#"{"id": "r-1", "except": ["1.2"]}"#;
    check("/api/v1/stop", both, 422, "except_with_id", "except").await;
    check("/api/v1/stop", r#"{"except": ["9.9"]}"#, 404, "unknown_task", "9.9").await;
    // Deeper than any request, and far deeper than a naive parser's stack.
    let deep = format!("{{\"select\": {{\"x\": {}", "[".repeat(500_000));
    check("/api/v1/runs", &deep, 400, "invalid_json", "recursion limit").await;
    let large = format!("{{\"text\": \"{}\"}}", "x".repeat(BODY_MAX));
    check("/api/v1/goal", &large, 413, "body_too_large", "").await;
    let fits = json!({"text": "x".repeat(BODY_MAX - 100)}).to_string();
    assert_eq!(post_text(&router, "/api/v1/goal", fits).await.status, 200);

    let untyped = request(Method::POST, "/api/v1/stop").body(Body::from("{}")).expect("a request");
    send(&router, untyped).await.check_problem(415, "wrong_media_type");
    let form = request(Method::POST, "/api/v1/stop")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let form = form.body(Body::from("id=r-1")).expect("a request");
    send(&router, form).await.check_problem(415, "wrong_media_type");
}

#[tokio::test]
async fn a_slip_of_the_pen_in_a_body_is_told_what_may_have_been_meant() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let hint = async |path: &str, body: &str| {
        let answer = post_text(&router, path, body.to_owned()).await;
        answer.check_problem(422, "invalid_body").hint.unwrap_or_default()
    };
    assert_eq!(hint("/api/v1/stop", r#"{"raeson": "x"}"#).await, "did you mean \"reason\"?");
    assert_eq!(hint("/api/v1/goal", r#"{"txt": "x"}"#).await, "did you mean \"text\"?");
    let select = r#"{"select": {"kind": "paralel", "count": 1}}"#;
    assert_eq!(hint("/api/v1/runs", select).await, "did you mean \"parallel\"?");
    let select = r#"{"select": {"kind": "batch", "exlude": []}}"#;
    assert_eq!(hint("/api/v1/runs", select).await, "did you mean \"exclude\"?");
    let far = hint("/api/v1/stop", r#"{"whatever": 1}"#).await;
    assert!(far.starts_with("known here: id, "), "{far}");
    let query = get(&router, "/api/v1/runs?limti=3").await.check_problem(400, "invalid_query");
    assert_eq!(query.hint.as_deref(), Some("did you mean \"limit\"?"));
    let command = r#"{"scope": {"kind": "all"}, "verb": "puase"}"#;
    assert_eq!(hint("/api/v1/commands", command).await, "did you mean \"pause\"?");
}

#[tokio::test]
async fn a_key_names_one_request() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let key = "01933b5e-7f00-7000-8000-000000000002";
    let run = |select: Value| json!({"select": select, "key": key});
    let first = run(json!({"kind": "streams", "ids": ["1.1"]}));
    for _ in 0..2 {
        assert_eq!(post(&router, "/api/v1/runs", first.clone()).await.status, 201);
    }
    let mut dry = first.clone();
    dry["dry_run"] = true.into();
    for other in
        [run(json!({"kind": "streams", "ids": ["1.2"]})), run(json!({"kind": "next"})), dry]
    {
        let problem = post(&router, "/api/v1/runs", other).await.check_problem(422, "key_reused");
        assert!(problem.detail.contains("r-1"), "{}", problem.detail);
        assert!(problem.hint.is_some_and(|hint| hint.contains("a key of its own")));
    }
    // What is left out is as it is when nothing is said.
    let mut same = first;
    same["no_verify"] = false.into();
    assert_eq!(post(&router, "/api/v1/runs", same).await.status, 201);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let project = Project::start().await;
    let remove = request(Method::DELETE, "/api/v1/runs").body(Body::empty()).expect("a request");
    let answer = send(&over_socket(&project), remove).await;
    answer.check_problem(405, "wrong_method");
    let mut allowed: Vec<_> = answer.header("allow").expect("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn what_makes_sense_only_at_another_time_is_a_conflict() {
    let mut project = Project::start().await;
    let router = over_socket(&project);
    post(&router, "/api/v1/stop", json!({})).await.check_problem(409, "nothing_matches");
    let run = json!({"select": {"kind": "next"}});
    assert_eq!(post(&router, "/api/v1/runs", run.clone()).await.status, 201);
    let resume = post(&router, "/api/v1/runs/r-1/resume", Value::Null).await;
    let problem = resume.check_problem(409, "run_open");
    assert!(problem.hint.is_some_and(|hint| hint.contains("kapelle stop")));
    let empty = post(&router, "/api/v1/tasks/1.1/feedback", json!({"text": ""})).await;
    empty.check_problem(422, "text_length");

    project.stop_dispatching().await;
    post(&router, "/api/v1/runs", run).await.check_problem(503, "stopped");
    get(&router, "/ready").await.check_problem(503, "stopped");
}

#[test]
fn each_kind_of_trouble_has_its_status() {
    let check = |kind, expected: u16| {
        let hint = Some("mend it".to_owned());
        let error = Error { kind, code: "code", message: "message".to_owned(), hint };
        let trouble = Trouble::from(error);
        assert_eq!(trouble.status, expected);
        assert_eq!((trouble.code, trouble.detail.as_str()), ("code", "message"));
    };
    check(Kind::NotFound, 404);
    check(Kind::Invalid, 422);
    check(Kind::Conflict, 409);
    check(Kind::Unavailable, 503);
    check(Kind::Internal, 500);
}

#[tokio::test]
async fn requests_keep_their_names_or_get_one() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let named = async |name: &str| {
        let request = request(Method::GET, "/api/v1/nothing").header("x-request-id", name);
        let answer = send(&router, request.body(Body::empty()).expect("a request")).await;
        answer.check_problem(404, "unknown_path").request_id
    };
    assert_eq!(named("cli-7.a_B").await, "cli-7.a_B");
    for harmful in ["", "a b", "<script>", "a\"b", &"x".repeat(129)] {
        assert_ne!(named(harmful).await, harmful);
    }
    assert_ne!(named("").await, named("").await);
}

/// What no route does is played by routes of the test.
fn misbehaving() -> Router {
    async fn panicking() -> StatusCode {
        panic!("a defect, made up by the test")
    }
    let routes = Router::new()
        .route("/panics", routing::get(panicking))
        .route("/hangs", routing::get(std::future::pending::<StatusCode>))
        .route("/mumbles", routing::get(|| async { (StatusCode::IM_A_TEAPOT, "hm") }));
    protect(routes, Access::Socket)
}

#[tokio::test]
async fn a_panic_ends_one_request_only() {
    let router = misbehaving();
    get(&router, "/panics").await.check_problem(500, "panic");
    get(&router, "/mumbles").await.check_problem(418, "http");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_begin_in_time_is_given_up() {
    get(&misbehaving(), "/hangs").await.check_problem(503, "timeout");
}
