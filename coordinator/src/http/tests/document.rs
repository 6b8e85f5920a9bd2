//! The OpenAPI document: it is what the golden file says, and it tells the truth.

use std::collections::BTreeSet;
use std::path::Path;

use axum::body::Body;
use axum::http::Method;
use serde_json::Value;

use super::super::openapi;
use super::{get, over_socket, request, send};
use crate::tests::Project;

/// Everything that clients rely on. Adding to it is adding to a promise.
const ROUTES: [(&str, &str); 25] = [
    ("get", "/api/openapi.json"),
    ("get", "/api/v1/events"),
    ("get", "/api/v1/roadmap"),
    ("get", "/api/v1/runs"),
    ("get", "/api/v1/runs/{id}"),
    ("get", "/api/v1/runs/{id}/report"),
    ("get", "/api/v1/status"),
    ("get", "/api/v1/tasks/{id}"),
    ("get", "/api/v1/tasks/{id}/attempts"),
    ("get", "/api/v1/tasks/{id}/commands"),
    ("get", "/api/v1/tasks/{id}/logs"),
    ("get", "/api/v1/tasks/{id}/why"),
    ("get", "/api/v1/workers"),
    ("get", "/health"),
    ("get", "/ready"),
    ("post", "/api/v1/goal"),
    ("post", "/api/v1/runs"),
    ("post", "/api/v1/runs/{id}/resume"),
    ("post", "/api/v1/shutdown"),
    ("post", "/api/v1/stop"),
    ("post", "/api/v1/tasks/{id}/feedback"),
    ("post", "/api/v1/commands"),
    ("post", "/api/v1/invitations"),
    ("post", "/api/v1/workers/{id}/revoke"),
    ("put", "/api/v1/workers/{id}/duty"),
];

fn document() -> Value {
    serde_json::from_str(&openapi()).expect("JSON")
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().expect("operations").clone();
        let path = path.clone();
        item.into_iter().map(move |(method, operation)| (method, path.clone(), operation))
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_document_is_the_one_that_is_published() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let text = openapi();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).expect("written");
    }
    let published = std::fs::read_to_string(&golden).expect("docs/openapi.json");
    let differs = text.lines().zip(published.lines()).position(|(ours, theirs)| ours != theirs);
    assert!(
        text == published,
        "docs/openapi.json differs at line {:?}; if that is meant, run the tests with UPDATE_GOLDEN=1",
        differs.map(|line| line + 1),
    );
}

#[tokio::test]
async fn every_route_is_in_the_document_and_the_other_way_round() {
    let document = document();
    let operations = operations(&document);
    let documented: BTreeSet<_> =
        operations.iter().map(|(method, path, _)| (method.as_str(), path.as_str())).collect();
    assert_eq!(documented, BTreeSet::from(ROUTES));

    let project = Project::start().await;
    let router = over_socket(&project);
    for (method, path) in ROUTES {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
        let request = request(method, &path.replace("{id}", "r-1"));
        let answer = send(&router, request.body(Body::empty()).expect("a request")).await;
        let routed = answer.status.is_success()
            || !["unknown_path", "wrong_method"].contains(&answer.problem().code.as_str());
        assert!(routed, "{path}");
    }
    assert_eq!(get(&router, "/api/openapi.json").await.body, openapi());
}

#[test]
fn every_operation_is_named_explained_and_guarded() {
    let document = document();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().expect("a name").to_owned();
        assert!(names.insert(name), "{method} {path} shares its name");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
        let problem = &operation["responses"]["default"]["$ref"];
        assert_eq!(problem, "#/components/responses/Problem", "{path}");
        assert_eq!(operation.get("security").is_some(), path.starts_with("/api/"), "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(document: &Value, part: &Value) {
        match part {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').expect("a local reference");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                fields.values().for_each(|value| check(document, value));
            }
            Value::Array(items) => items.iter().for_each(|item| check(document, item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    check(&document, &document);
}
