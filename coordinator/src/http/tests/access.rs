//! Who is let in.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};

use super::super::{Token, hosts_of};
use super::{Access, Answer, get, over_socket, request, router, send};
use crate::tests::Project;

const HOST: &str = "127.0.0.1:7400";
const RIGHT: &str = "Bearer s3cret";

fn over_tcp(project: &Project) -> Router {
    let hosts = hosts_of(HOST.parse().expect("an address"));
    router(project.service.clone(), Access::Token { token: Token::new("s3cret"), hosts })
}

async fn ask(router: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(request(Method::GET, path), |r, (k, v)| r.header(*k, *v));
    send(router, request.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn the_token_opens_everything_and_nothing_else_does() {
    let project = Project::start().await;
    let router = over_tcp(&project);
    let check = async |path, authorization: Option<&str>, expected: u16| {
        let mut headers = vec![("host", HOST)];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let answer = ask(&router, path, &headers).await;
        assert_eq!(answer.status, expected, "{path} {authorization:?}");
        if expected == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            answer.check_problem(401, "unauthenticated");
        }
    };
    for path in ["/api/v1/status", "/api/v1/events", "/api/openapi.json", "/ready", "/health"] {
        check(path, Some(RIGHT), 200).await;
        check(path, Some("bearer  s3cret "), 200).await;
        for wrong in
            ["Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret"]
        {
            check(path, Some(wrong), 401).await;
        }
    }
    for path in
        ["/api/v1/status", "/api/v1/events", "/api/openapi.json", "/nowhere", "/", "/health/"]
    {
        check(path, None, 401).await;
    }
    check("/api/v1/status?token=s3cret", None, 401).await;
    check("/nowhere", Some(RIGHT), 404).await;
    let twice = [("host", HOST), ("authorization", RIGHT), ("authorization", RIGHT)];
    ask(&router, "/api/v1/status", &twice).await.check_problem(401, "unauthenticated");
}

#[tokio::test]
async fn without_a_token_only_signs_of_life_are_given() {
    let mut project = Project::start().await;
    let router = over_tcp(&project);
    for path in ["/health", "/ready"] {
        let answer = ask(&router, path, &[("host", HOST)]).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"{\"status\":\"ok\"}"[..]));
    }
    project.stop_dispatching().await;
    let unknown = ask(&router, "/ready", &[("host", HOST)]).await;
    let problem = unknown.check_problem(503, "not_ready");
    assert_eq!(problem.detail, "the coordinator can't do its work at this moment");
    let known = ask(&router, "/ready", &[("host", HOST), ("authorization", RIGHT)]).await;
    known.check_problem(503, "stopped");
    assert_eq!(ask(&router, "/health", &[("host", HOST)]).await.status, 200);
}

#[tokio::test]
async fn hosts_and_origins_that_are_not_ours_are_turned_away_before_the_token_is_looked_at() {
    let project = Project::start().await;
    let router = over_tcp(&project);
    let check = async |path: &str, headers: &[(&str, &str)], expected: u16| {
        for authorization in [None, Some(("authorization", RIGHT))] {
            let headers: Vec<_> = headers.iter().copied().chain(authorization).collect();
            let answer = ask(&router, path, &headers).await;
            let expected = if expected == 200 && authorization.is_none() { 401 } else { expected };
            assert_eq!(answer.status, expected, "{path} {headers:?}");
        }
    };
    let path = "/api/v1/status";
    for ours in [HOST, "localhost:7400", "LocalHost:7400", "[::1]:7400"] {
        check(path, &[("host", ours)], 200).await;
        for scheme in ["http", "https"] {
            check(path, &[("host", HOST), ("origin", &format!("{scheme}://{ours}"))], 200).await;
        }
    }
    check(path, &[], 421).await;
    for theirs in
        ["evil.example", "evil.example:7400", "127.0.0.1", "127.0.0.1:7401", "localhost", ""]
    {
        check(path, &[("host", theirs)], 421).await;
        let origin = format!("http://{theirs}");
        check(path, &[("host", HOST), ("origin", &origin)], 403).await;
    }
    check(path, &[("host", HOST), ("host", "evil.example")], 421).await;
    check("http://evil.example/api/v1/status", &[("host", HOST)], 421).await;
    check("http://127.0.0.1:7400/api/v1/status", &[("host", HOST)], 200).await;
    check(path, &[("host", HOST), ("origin", "null")], 403).await;
    check(path, &[("host", HOST), ("origin", HOST)], 403).await;
    let both =
        [("host", HOST), ("origin", "http://127.0.0.1:7400"), ("origin", "http://evil.example")];
    check(path, &both, 403).await;
    // Also where no token is needed.
    check("/health", &[("host", "evil.example")], 421).await;
    check("/health", &[("host", HOST), ("origin", "http://evil.example")], 403).await;
}

#[tokio::test]
async fn no_site_is_invited() {
    let project = Project::start().await;
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri("/api/v1/status")
        .header("host", HOST)
        .header("origin", "http://127.0.0.1:7400")
        .header("authorization", RIGHT)
        .header("access-control-request-method", "POST");
    let preflight = preflight.body(Body::empty()).expect("a request");
    send(&over_tcp(&project), preflight).await.check_problem(405, "wrong_method");
}

#[tokio::test]
async fn the_socket_itself_is_the_authentication() {
    let project = Project::start().await;
    let router = over_socket(&project);
    assert_eq!(get(&router, "/api/v1/status").await.status, 200);
    assert_eq!(ask(&router, "/api/v1/status", &[("host", "whatever")]).await.status, 200);
}

#[test]
fn hosts_follow_from_the_address() {
    let check = |address: &str, expected: &[&str]| {
        assert_eq!(hosts_of(address.parse().expect("an address")), expected, "{address}");
    };
    check("127.0.0.1:7400", &["127.0.0.1:7400", "[::1]:7400", "localhost:7400"]);
    check("[::1]:7400", &["127.0.0.1:7400", "[::1]:7400", "localhost:7400"]);
    check("192.0.2.7:7400", &["192.0.2.7:7400"]);
    check("0.0.0.0:1", &["0.0.0.0:1", "127.0.0.1:1", "[::1]:1", "localhost:1"]);
    check("192.0.2.7:80", &["192.0.2.7", "192.0.2.7:80"]);
}

#[test]
fn a_token_does_not_show_itself() {
    assert_eq!(format!("{:?}", Token::new("s3cret")), "Token(…)");
}
