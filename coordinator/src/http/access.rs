//! Who may ask.
//!
//! The checks go from the cheapest lie to the dearest: a request whose `Host` isn't ours was sent
//! by a page that tricked a browser's name resolution, one whose `Origin` isn't ours was sent by a
//! page of somebody else, and the token decides about the rest. A request without an `Origin`
//! gains nothing by that.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::problem::Trouble;

/// Whom a router lets in.
#[derive(Debug)]
pub enum Access {
    /// Everybody who can open the Unix socket: its file mode is the authentication.
    Socket,
    /// Whoever shows the token, on every route but `/health` and `/ready`.
    Token {
        /// The token.
        token: Token,
        /// The values of `Host` that are ours, such as `127.0.0.1:7400`; see [`hosts_of`]. Pages
        /// that come from one of these may ask too.
        hosts: Vec<String>,
    },
}

/// What remains of a token: enough to recognize it, too little to show it.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Keeps the hash of `secret`.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Compares in a time that doesn't depend on where the two differ, or on their lengths.
    fn is(&self, shown: &str) -> bool {
        self.0.ct_eq(&Self::new(shown).0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The values of `Host` with which clients reach a server that listens on `address`: the address
/// itself and, as far as it is this machine's own, the names of the loopback interface.
#[must_use]
pub fn hosts_of(address: SocketAddr) -> Vec<String> {
    let port = address.port();
    let mut names = vec![match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }];
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        names.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
    }
    let mut hosts: Vec<_> = names.iter().map(|name| format!("{name}:{port}")).collect();
    if port == 80 {
        // Clients leave out the port that the scheme implies.
        hosts.extend(names);
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Marks a request whose sender may see what is inside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted;

/// The paths that load balancers and supervisors look at; they have no token.
const OPEN: [&str; 2] = ["/health", "/ready"];

/// Lets a request through, or says why not.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    let trusted = match &*access {
        Access::Socket => true,
        Access::Token { token, hosts } => {
            if let Err(trouble) = check_provenance(request.uri(), request.headers(), hosts) {
                return trouble.into_response();
            }
            match bearer(request.headers()) {
                Some(shown) if token.is(shown) => true,
                // A wrong token is a mistake that its sender wants to know of, wherever sent.
                None if OPEN.contains(&request.uri().path()) => false,
                shown => return unauthenticated(shown.is_some()),
            }
        }
    };
    if trusted {
        request.extensions_mut().insert(Trusted);
    }
    next.run(request).await
}

fn check_provenance(uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> Result<(), Trouble> {
    let ours = |host: &str| hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
    let named = uri.authority().map(axum::http::uri::Authority::as_str);
    if named.is_some_and(|host| !ours(host)) || !only(headers, &HOST).is_some_and(ours) {
        return Err(Trouble::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown_host",
            "the request is addressed to a host that this server isn't known as",
        )
        .hint("use the address that the server listens on"));
    }
    let from_us = |origin: &str| {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(ours)
    };
    if headers.contains_key(ORIGIN) && !only(headers, &ORIGIN).is_some_and(from_us) {
        return Err(Trouble::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "pages of other sites may not use this server",
        ));
    }
    Ok(())
}

/// The value of a header that must not be repeated.
fn only<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// What the request shows as its token; `Some` of nothing sensible when it shows something else.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.contains_key(AUTHORIZATION).then(|| only(headers, &AUTHORIZATION))?;
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).unwrap_or_default();
    Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
}

fn unauthenticated(shown: bool) -> Response {
    let detail = if shown { "the token isn't the right one" } else { "the request has no token" };
    let trouble = Trouble::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
        .hint("send `Authorization: Bearer` with the server's token");
    let mut response = trouble.into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
