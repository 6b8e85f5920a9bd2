//! Commands to running work, and orders to workers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::Api;
use crate::http::extract::{Body, Id};
use crate::http::problem::Trouble;
use crate::service::view::{
    CommandAccepted, CommandRequest, InvitationRequest, InvitationView, RevocationView, WorkerDuty,
    WorkerView,
};

/// Orders something of running or waiting work
///
/// The receipts say what is known when it is recorded. What becomes of a command later is among
/// the task's commands and in the events.
#[utoipa::path(
    post, path = "/api/v1/commands", tag = "tasks", request_body = CommandRequest,
    responses((status = 202, body = CommandAccepted, description = "It is recorded"))
)]
pub(super) async fn give_command(
    State(api): State<Api>,
    Body(request): Body<CommandRequest>,
) -> Result<(StatusCode, Json<CommandAccepted>), Trouble> {
    Ok((StatusCode::ACCEPTED, Json(api.service.command(request).await?)))
}

/// What a worker is to do about new work.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DutyRequest {
    duty: WorkerDuty,
}

/// Decides what a worker does about new work
#[utoipa::path(
    put, path = "/api/v1/workers/{id}/duty", tag = "project", request_body = DutyRequest,
    params(("id" = String, Path, description = "The worker's name")),
    responses((status = 200, body = WorkerView))
)]
pub(super) async fn set_duty(
    State(api): State<Api>,
    Id(id): Id,
    Body(request): Body<DutyRequest>,
) -> Result<Json<WorkerView>, Trouble> {
    Ok(Json(api.service.set_duty(&id, request.duty).await?))
}

/// Invites a machine to become a worker
///
/// The answer has a secret that is shown only here.
#[utoipa::path(
    post, path = "/api/v1/invitations", tag = "project", request_body = InvitationRequest,
    responses((status = 201, body = InvitationView, description = "It is recorded"))
)]
pub(super) async fn invite(
    State(api): State<Api>,
    Body(request): Body<InvitationRequest>,
) -> Result<(StatusCode, Json<InvitationView>), Trouble> {
    Ok((StatusCode::CREATED, Json(api.service.invite(request).await?)))
}

/// Shuts a worker out of the fleet
#[utoipa::path(
    post, path = "/api/v1/workers/{id}/revoke", tag = "project",
    params(("id" = String, Path, description = "The worker's name")),
    responses((status = 200, body = RevocationView))
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    Id(id): Id,
) -> Result<Json<RevocationView>, Trouble> {
    Ok(Json(api.service.revoke(&id).await?))
}
