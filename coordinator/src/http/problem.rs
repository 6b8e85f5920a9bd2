//! Errors as `application/problem+json` (RFC 9457): one form for ours and for the framework's.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::service::{Error, Kind};

/// The media type of problems.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request failed, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: `code` tells problems apart, and `title` is that of the status.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this very request.
    pub detail: String,
    /// A stable name of the trouble, such as `unknown_task`.
    pub code: String,
    /// How to mend it, when that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// The request, as the answer's `X-Request-Id` and the log name it.
    pub request_id: String,
}

/// What went wrong, on its way out. The envelope knows the request's name and makes a [`Problem`].
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: String,
    hint: Option<String>,
}

impl Trouble {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The trouble that a response stands for, if it does.
    pub(super) fn of(response: &mut Response) -> Option<Self> {
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        // The framework has answers of its own; none is known to get here, yet clients rely on
        // the form of every error.
        let framework = || Self::new(status, "http", "the request can't be served");
        Some(response.extensions_mut().remove().unwrap_or_else(framework))
    }

    /// Makes `response` show this trouble, and keeps its other headers.
    pub(super) fn show(self, response: &mut Response, request_id: &str) {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.to_owned(),
            hint: self.hint,
            request_id: request_id.to_owned(),
        };
        // A problem is strings and a number: it always has a JSON form.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = body.into();
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let status = match error.kind {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, code: error.code, detail: error.message, hint: error.hint }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
