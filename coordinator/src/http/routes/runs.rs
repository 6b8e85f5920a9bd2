//! Runs.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageSize;
use crate::http::Api;
use crate::http::extract::{Body, Id, Query};
use crate::http::problem::Trouble;
use crate::service::view::{ReportView, RunAccepted, RunDetail, RunPage, RunRequest};

const PAGE: PageSize = PageSize { most: 200, usual: 20 };

/// Which page of the runs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsQuery {
    /// The `next` of the page before; absent for the newest runs.
    before: Option<String>,
    /// How many at most, from 1 to 200; 20 when absent.
    limit: Option<u32>,
}

/// The runs, newest first
#[utoipa::path(
    get, path = "/api/v1/runs", tag = "runs", params(RunsQuery),
    responses((status = 200, body = RunPage))
)]
pub(super) async fn list_runs(
    State(api): State<Api>,
    Query(query): Query<RunsQuery>,
) -> Result<Json<RunPage>, Trouble> {
    let limit = PAGE.of(query.limit)?;
    Ok(Json(api.service.runs(query.before.as_deref(), limit).await?))
}

/// Starts a run, or says what would be run
#[utoipa::path(
    post, path = "/api/v1/runs", tag = "runs", request_body = RunRequest,
    responses(
        (status = 201, body = RunAccepted, description = "The run is started",
            headers(("Location" = String, description = "Where the run is"))),
        (status = 200, body = RunAccepted, description = "Nothing is started: it was a dry run")
    )
)]
pub(super) async fn submit_run(
    State(api): State<Api>,
    Body(request): Body<RunRequest>,
) -> Result<Response, Trouble> {
    let accepted = api.service.submit(request).await?;
    let location = accepted.run.as_ref().map(|run| format!("/api/v1/runs/{}", run.id));
    Ok(match location {
        Some(location) => {
            (StatusCode::CREATED, [(header::LOCATION, location)], Json(accepted)).into_response()
        }
        None => Json(accepted).into_response(),
    })
}

/// A run and its tasks
#[utoipa::path(
    get, path = "/api/v1/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "Such as `r-42`, or `@last`")),
    responses((status = 200, body = RunDetail))
)]
pub(super) async fn show_run(
    State(api): State<Api>,
    Id(id): Id,
) -> Result<Json<RunDetail>, Trouble> {
    Ok(Json(api.service.run(&id).await?))
}

/// Takes up a run that ended before all its tasks succeeded
#[utoipa::path(
    post, path = "/api/v1/runs/{id}/resume", tag = "runs",
    params(("id" = String, Path, description = "Such as `r-42`, or `@last`")),
    responses((status = 200, body = RunDetail))
)]
pub(super) async fn resume_run(
    State(api): State<Api>,
    Id(id): Id,
) -> Result<Json<RunDetail>, Trouble> {
    Ok(Json(api.service.resume(&id).await?))
}

/// A run, told from its beginning to its end
#[utoipa::path(
    get, path = "/api/v1/runs/{id}/report", tag = "runs",
    params(("id" = String, Path, description = "Such as `r-42`, or `@last`")),
    responses((status = 200, body = ReportView))
)]
pub(super) async fn report_run(
    State(api): State<Api>,
    Id(id): Id,
) -> Result<Json<ReportView>, Trouble> {
    Ok(Json(api.service.report(&id).await?))
}
