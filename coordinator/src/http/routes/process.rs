//! The process itself: whether it lives, whether it works, what it offers, and its end.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Api;
use crate::http::access::Trusted;
use crate::http::problem::Trouble;
use crate::service::view::HealthView;

/// Whether the process lives.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Health {
    /// For those who may ask for everything else, too.
    Known(HealthView),
    /// For everybody else.
    Unknown(Sign),
}

/// A sign of life.
// Closed, so that no `HealthView` is one as well.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sign {
    /// `ok`.
    status: &'static str,
}

/// Whether the process lives
///
/// Needs no token; without one the answer has nothing but `status`.
#[utoipa::path(get, path = "/health", tag = "process", responses((status = 200, body = Health)))]
pub(super) async fn health(
    State(api): State<Api>,
    trusted: Option<Extension<Trusted>>,
) -> Json<Health> {
    Json(match trusted {
        Some(_) => Health::Known(api.service.health()),
        None => Health::Unknown(Sign { status: "ok" }),
    })
}

/// Whether the coordinator can do its work
///
/// Needs no token; without one a refusal gives no reason.
#[utoipa::path(get, path = "/ready", tag = "process", responses((status = 200, body = Sign)))]
pub(super) async fn ready(
    State(api): State<Api>,
    trusted: Option<Extension<Trusted>>,
) -> Result<Json<Sign>, Trouble> {
    match (api.service.ready().await, trusted) {
        (Ok(()), _) => Ok(Json(Sign { status: "ok" })),
        (Err(error), Some(_)) => Err(error.into()),
        (Err(_), None) => {
            let detail = "the coordinator can't do its work at this moment";
            Err(Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail))
        }
    }
}

/// This document
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "process",
    responses((status = 200, body = Object, description = "OpenAPI 3.1"))
)]
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], super::document())
}

/// Asks the process to drain and to end
#[utoipa::path(
    post, path = "/api/v1/shutdown", tag = "process",
    responses((status = 202, description = "It is going to"))
)]
pub(super) async fn shut_down(State(api): State<Api>) -> StatusCode {
    api.service.shutdown();
    StatusCode::ACCEPTED
}
