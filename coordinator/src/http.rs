//! The service over HTTP: routes, problems, who may ask, and the sockets it is asked through.
//!
//! Everything here translates to [`Service`] and nothing more: no rule about runs or tasks lives
//! in this module. The OpenAPI document is made of the same annotations as the routes, so that
//! neither can have what the other lacks.

mod access;
mod envelope;
mod extract;
mod problem;
mod routes;
mod serve;
mod sse;

pub use access::{Access, Token, hosts_of};
pub use problem::Problem;
pub use serve::{Address, Bound, Error, Reach, SocketPath, Stale, bind_tcp, bind_unix};

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// The largest request body, in bytes. Requests hold words, not files.
const BODY_MAX: usize = 1024 * 1024;

/// Event streams that may be open at once: each keeps a connection for as long as it likes, and
/// other requests need connections too.
const STREAMS_MAX: usize = 64;

/// What the routes work with.
#[derive(Clone)]
struct Api {
    service: Service,
    streams: Arc<Semaphore>,
}

/// Told to requests by the server that they came through: cancelled when it drains, so that
/// nothing that waits keeps it waiting.
#[derive(Clone)]
struct Draining(CancellationToken);

/// Everything that the service does, for those whom `access` lets in.
///
/// The router doesn't know how it is reached; give it to [`Bound::serve`].
pub fn router(service: Service, access: Access) -> Router {
    let api = Api { service, streams: Arc::new(Semaphore::new(STREAMS_MAX)) };
    protect(routes::documented().split_for_parts().0.with_state(api), access)
}

/// Puts around the routes what holds for each: who may ask, how much, and the form of answers.
fn protect(routes: Router, access: Access) -> Router {
    routes
        .fallback(routes::no_such_path)
        .method_not_allowed_fallback(routes::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(Arc::new(access), access::guard))
        .layer(from_fn(envelope::wrap))
}

/// The OpenAPI 3.1 document of the routes, as indented JSON. The same program always gives the
/// same text.
#[must_use]
pub fn openapi() -> String {
    routes::document()
}

#[cfg(test)]
mod tests;
