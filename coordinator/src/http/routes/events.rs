//! The event log, as pages or as a stream.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageSize;
use crate::http::extract::Query;
use crate::http::problem::Trouble;
use crate::http::{Api, Draining, sse};
use crate::service::view::EventPage;

const PAGE: PageSize = PageSize { most: 500, usual: 200 };

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only those after this place: `<epoch>.<seq>` or `<seq>`. When absent, a page begins with
    /// the first event there is, and a stream with the next one that happens.
    after: Option<String>,
    /// Only those of this run.
    run: Option<String>,
    /// How many at most, from 1 to 500; 200 when absent. A stream has no end.
    limit: Option<u32>,
}

/// Events, oldest first
///
/// With `Accept: text/event-stream`, a stream of them that goes on for as long as the connection
/// lives. Each is the JSON of an `EventView`; its id is the place to resume from, in
/// `Last-Event-ID` (which wins) or `after`. An event named `reset` says that the place isn't
/// known: what was learned from the stream must be fetched anew.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "Where to resume a stream")
    ),
    responses((status = 200, description = "A page, or a stream", content(
        (EventPage = "application/json"),
        (String = "text/event-stream")
    )))
)]
pub(super) async fn read_events(
    State(api): State<Api>,
    draining: Option<Extension<Draining>>,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Trouble> {
    let run = query.run.as_deref();
    if !wants_stream(&headers) {
        let limit = PAGE.of(query.limit)?;
        let page = api.service.events(query.after.as_deref(), limit, run).await?;
        return Ok(Json(page).into_response());
    }
    let Ok(permit) = Arc::clone(&api.streams).try_acquire_owned() else {
        return Ok(too_many_streams());
    };
    // A client that reconnects repeats its first request and adds the header.
    let resumed = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let after = resumed.filter(|id| !id.is_empty()).or(query.after.as_deref());
    let watched = api.service.watch(after, run).await?;
    let draining = draining.map(|Extension(draining)| draining.0).unwrap_or_default();
    Ok(sse::respond(watched, permit, draining))
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| {
        value.split(',').any(|range| {
            let media_type = range.split(';').next().unwrap_or_default().trim();
            media_type.eq_ignore_ascii_case("text/event-stream")
        })
    })
}

fn too_many_streams() -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let trouble = Trouble::new(status, "too_many_streams", "too many event streams are open")
        .hint("close one, or read pages instead");
    let mut response = trouble.into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
