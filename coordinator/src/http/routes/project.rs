//! The project as a whole.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::Api;
use crate::http::extract::Body;
use crate::http::problem::Trouble;
use crate::service::view::{
    GoalRequest, GoalView, StatusView, StopAccepted, StopRequest, WorkerView,
};

/// The state of the project at a glance
#[utoipa::path(
    get, path = "/api/v1/status", tag = "project", responses((status = 200, body = StatusView))
)]
pub(super) async fn show_status(State(api): State<Api>) -> Result<Json<StatusView>, Trouble> {
    Ok(Json(api.service.status().await?))
}

/// The roadmap as it was read: its streams, and what is odd about it
#[utoipa::path(
    get, path = "/api/v1/roadmap", tag = "project",
    responses((status = 200, body = Object, description = "`streams` and `diagnostics`"))
)]
pub(super) async fn show_roadmap(
    State(api): State<Api>,
) -> Result<Json<serde_json::Value>, Trouble> {
    Ok(Json(api.service.roadmap().await?))
}

/// The workers
#[utoipa::path(
    get, path = "/api/v1/workers", tag = "project", responses((status = 200, body = [WorkerView]))
)]
pub(super) async fn list_workers(State(api): State<Api>) -> Result<Json<Vec<WorkerView>>, Trouble> {
    Ok(Json(api.service.workers().await?))
}

/// What a goal in words is understood to mean
///
/// Nothing is started.
#[utoipa::path(
    post, path = "/api/v1/goal", tag = "project", request_body = GoalRequest,
    responses((status = 200, body = GoalView))
)]
pub(super) async fn understand_goal(
    State(api): State<Api>,
    Body(request): Body<GoalRequest>,
) -> Result<Json<GoalView>, Trouble> {
    Ok(Json(api.service.goal(request).await?))
}

/// Stops a run, a task, or everything
#[utoipa::path(
    post, path = "/api/v1/stop", tag = "project", request_body = StopRequest,
    responses((status = 202, body = StopAccepted, description = "They are told to stop"))
)]
pub(super) async fn stop(
    State(api): State<Api>,
    Body(request): Body<StopRequest>,
) -> Result<(StatusCode, Json<StopAccepted>), Trouble> {
    Ok((StatusCode::ACCEPTED, Json(api.service.stop(request).await?)))
}
