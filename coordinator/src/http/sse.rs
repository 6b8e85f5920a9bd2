//! Events as server-sent events. What is sent, and from where on, is the service's business.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse as _, Response, Sse};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::service::Watched;

/// When clients should come back after the connection broke.
const RETRY: Duration = Duration::from_secs(1);

/// How long a stream may be silent: proxies and clients take longer silence for death.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Sends what is watched until it ends or the server drains, and holds `permit` for as long.
pub(super) fn respond<S>(
    watched: S,
    permit: OwnedSemaphorePermit,
    draining: CancellationToken,
) -> Response
where
    S: Stream<Item = Watched> + Send + 'static,
{
    let events = watched.map(move |watched| {
        let _held = &permit;
        Ok(event(&watched))
    });
    let first = stream::once(async { Ok::<_, Infallible>(Event::default().retry(RETRY)) });
    let until = first.chain(events).take_until(draining.cancelled_owned());
    let body = Sse::new(until).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let mut response = body.into_response();
    // Proxies that gather a response before they pass it on would never pass this one on.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn event(watched: &Watched) -> Event {
    match watched {
        // An event of the log is strings, numbers and JSON: it always has a JSON form.
        Watched::Event(view) => {
            Event::default().id(&view.id).data(serde_json::to_string(view).unwrap_or_default())
        }
        // The empty id makes the client forget the one that the service doesn't know.
        Watched::Reset => Event::default().event("reset").id("").data("{}"),
    }
}
