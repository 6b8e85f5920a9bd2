//! The routes over a real service, a real store and a real repository; only agents are played.

mod access;
mod document;
mod errors;
mod events;
mod routes;
mod schema;
mod sockets;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::Value;
use tower::ServiceExt as _;

use super::{Access, Problem, router};
use crate::tests::Project;

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The problem, which agrees with the rest of the answer.
    fn problem(&self) -> Problem {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{:?}",
            self.body
        );
        let problem: Problem = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(Some(problem.request_id.as_str()), self.header("x-request-id"));
        assert_eq!(problem.kind, "about:blank");
        assert!(!problem.detail.is_empty() && !problem.title.is_empty());
        problem
    }

    fn check_problem(&self, status: u16, code: &str) -> Problem {
        let problem = self.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{}", problem.detail);
        problem
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().to_string());
    let response = router.clone().oneshot(request).await.expect("routers don't fail");
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let answer = Answer { status: head.status, headers: head.headers, body };
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    if answer.header("content-type") == Some("application/json") {
        schema::check(&method, &path, answer.status, &answer.body);
    }
    answer
}

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

async fn get(router: &Router, path: &str) -> Answer {
    send(router, request(Method::GET, path).body(Body::empty()).expect("a request")).await
}

async fn post(router: &Router, path: &str, body: Value) -> Answer {
    post_text(router, path, body.to_string()).await
}

async fn post_text(router: &Router, path: &str, body: impl Into<Body>) -> Answer {
    let request = request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
    send(router, request.body(body.into()).expect("a request")).await
}

fn over_socket(project: &Project) -> Router {
    router(project.service.clone(), Access::Socket)
}
