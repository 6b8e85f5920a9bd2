//! What holds for every request and answer: a name, a time limit, an answer even after a panic,
//! and problems in their one form.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use super::problem::Trouble;

/// How long an answer may take to begin. Longer than any wait that a request can ask for.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The longest name that a client may give to a request.
const REQUEST_ID_MAX: usize = 128;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Serves a request within its limits and finishes the answer.
pub(super) async fn wrap(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let serving = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout(ANSWER_WITHIN, serving).await {
        Ok(Ok(response)) => response,
        // What panicked is in the log by the panic hook; it is nobody else's business.
        Ok(Err(_)) => Trouble::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "panic",
            "this request met a defect of the program",
        )
        .hint("the log has the details, under the id of the request")
        .into_response(),
        Err(_) => Trouble::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        )
        .hint("try again; what was asked for may have happened all the same")
        .into_response(),
    };
    finish(&mut response, &id, &method, &path);
    response
}

fn finish(response: &mut Response, id: &HeaderValue, method: &Method, path: &str) {
    let status = response.status().as_u16();
    let request_id = id.to_str().unwrap_or_default();
    if let Some(trouble) = Trouble::of(response) {
        if response.status().is_server_error() {
            tracing::warn!(
                request_id, %method, path, status,
                code = trouble.code, detail = trouble.detail,
                "request failed"
            );
        }
        trouble.show(response, request_id);
    }
    tracing::debug!(request_id, %method, path, status, "request answered");
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The client's name for the request when it is a harmless one, else the next of ours.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let harmless = |id: &&HeaderValue| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        (1..=REQUEST_ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(allowed)
    };
    match headers.get(REQUEST_ID).filter(harmless) {
        Some(id) => id.clone(),
        // Numbers need no luck to differ, and a log belongs to one process.
        None => HeaderValue::from(LAST.fetch_add(1, Ordering::Relaxed) + 1),
    }
}
