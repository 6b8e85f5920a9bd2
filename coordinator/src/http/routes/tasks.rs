//! Tasks: their attempts, what is said to them, and what they say.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageSize;
use crate::http::extract::{Body, Id, Query};
use crate::http::problem::Trouble;
use crate::http::{Api, Draining};
use crate::service::view::{
    AttemptView, CommandView, FeedbackAccepted, FeedbackRequest, LogPage, TaskView, WhyView,
};

const LOG_PAGE: PageSize = PageSize { most: 1000, usual: 200 };

/// The longest wait for a line; well below the time that an answer may take.
const WAIT_MAX_MS: u64 = 20_000;

/// A task
#[utoipa::path(
    get, path = "/api/v1/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, description = "Such as `r-42/1.2`, or `1.2` for the newest run")),
    responses((status = 200, body = TaskView))
)]
pub(super) async fn show_task(
    State(api): State<Api>,
    Id(id): Id,
) -> Result<Json<TaskView>, Trouble> {
    Ok(Json(api.service.task(&id).await?))
}

/// The tries at a task, oldest first
#[utoipa::path(
    get, path = "/api/v1/tasks/{id}/attempts", tag = "tasks",
    params(("id" = String, Path, description = "Such as `r-42/1.2`, or `1.2` for the newest run")),
    responses((status = 200, body = [AttemptView]))
)]
pub(super) async fn list_attempts(
    State(api): State<Api>,
    Id(id): Id,
) -> Result<Json<Vec<AttemptView>>, Trouble> {
    Ok(Json(api.service.attempts(&id).await?))
}

/// What was said to a task, and what became of it
#[utoipa::path(
    get, path = "/api/v1/tasks/{id}/commands", tag = "tasks",
    params(("id" = String, Path, description = "Such as `r-42/1.2`, or `1.2` for the newest run")),
    responses((status = 200, body = [CommandView]))
)]
pub(super) async fn list_commands(
    State(api): State<Api>,
    Id(id): Id,
) -> Result<Json<Vec<CommandView>>, Trouble> {
    Ok(Json(api.service.commands(&id).await?))
}

/// Says something to the agent of a task
#[utoipa::path(
    post, path = "/api/v1/tasks/{id}/feedback", tag = "tasks", request_body = FeedbackRequest,
    params(("id" = String, Path, description = "Such as `r-42/1.2`, or `1.2` for the newest run")),
    responses((status = 202, body = FeedbackAccepted, description = "It is on its way"))
)]
pub(super) async fn give_feedback(
    State(api): State<Api>,
    Id(id): Id,
    Body(request): Body<FeedbackRequest>,
) -> Result<(StatusCode, Json<FeedbackAccepted>), Trouble> {
    Ok((StatusCode::ACCEPTED, Json(api.service.feedback(&id, request).await?)))
}

/// Why a task isn't running, or what it is doing
///
/// Answers for work streams that no run has, too.
#[utoipa::path(
    get, path = "/api/v1/tasks/{id}/why", tag = "tasks",
    params(("id" = String, Path, description = "A task, or the id of a work stream")),
    responses((status = 200, body = WhyView))
)]
pub(super) async fn explain_task(
    State(api): State<Api>,
    Id(id): Id,
) -> Result<Json<WhyView>, Trouble> {
    Ok(Json(api.service.why(&id).await?))
}

/// Which lines of a transcript.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogsQuery {
    /// The `next` of the page before; absent or 0 for the first lines.
    #[serde(default)]
    after: u64,
    /// How many at most, from 1 to 1000; 200 when absent.
    limit: Option<u32>,
    /// How long to wait for a line when there is none yet, in milliseconds up to 20000.
    #[serde(default)]
    wait_ms: u64,
}

/// The transcript of an attempt, or of a task's newest one
#[utoipa::path(
    get, path = "/api/v1/tasks/{id}/logs", tag = "tasks",
    params(
        ("id" = String, Path, description = "A task, or an attempt such as `r-42/1.2#1`"),
        LogsQuery
    ),
    responses((status = 200, body = LogPage))
)]
pub(super) async fn read_logs(
    State(api): State<Api>,
    draining: Option<Extension<Draining>>,
    Id(id): Id,
    Query(query): Query<LogsQuery>,
) -> Result<Json<LogPage>, Trouble> {
    let limit = LOG_PAGE.of(query.limit)?;
    if query.wait_ms > WAIT_MAX_MS {
        let detail = format!("wait_ms is {}; it must be at most {WAIT_MAX_MS}", query.wait_ms);
        return Err(Trouble::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_wait", detail));
    }
    let wait = Duration::from_millis(query.wait_ms);
    let draining = draining.map(|Extension(draining)| draining.0).unwrap_or_default();
    let page = tokio::select! {
        page = api.service.logs(&id, query.after, limit, wait) => page,
        // Whoever waits is answered with what there is, and finds nobody the next time.
        () = draining.cancelled() => {
            api.service.logs(&id, query.after, limit, Duration::ZERO).await
        }
    };
    Ok(Json(page?))
}
