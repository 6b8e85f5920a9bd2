//! Reading requests: the framework's extractors, with problems instead of their plain texts.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::problem::Trouble;

/// A body in JSON.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Trouble;

    async fn from_request(request: Request, state: &S) -> Result<Self, Trouble> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(Object(value))) => Ok(Self(value)),
            Err(rejection) => Err(bad_body(&rejection)),
        }
    }
}

/// What is written as a JSON object. Of itself a struct can also be read from a list of its
/// fields' values; an empty list would then be a request that leaves everything out.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

fn bad_body(rejection: &JsonRejection) -> Trouble {
    let trouble = |code| Trouble::new(rejection.status(), code, cause(rejection));
    match rejection {
        JsonRejection::JsonDataError(_) => meant(trouble("invalid_body")),
        JsonRejection::JsonSyntaxError(_) => trouble("invalid_json"),
        JsonRejection::MissingJsonContentType(_) => {
            trouble("wrong_media_type").hint("send JSON with `Content-Type: application/json`")
        }
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => trouble("body_too_large")
            .hint(format!("a request has at most {} bytes", super::BODY_MAX)),
        _ => trouble("unreadable_body"),
    }
}

/// With what may have been meant as its hint.
fn meant(trouble: Trouble) -> Trouble {
    match did_you_mean(&trouble.detail) {
        Some(hint) => trouble.hint(hint),
        None => trouble,
    }
}

/// What may have been meant, where the parser knows no field or value of the name: as in
/// "unknown field `di`, expected `id` or `reason`".
fn did_you_mean(detail: &str) -> Option<String> {
    let (_, unknown) =
        detail.split_once("unknown field `").or_else(|| detail.split_once("unknown variant `"))?;
    let (found, known) = unknown.split_once("`, expected ")?;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    kapelle_runtime::config::suggest(found, &known)
}

/// The parameters behind the question mark.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Trouble> {
        let bad = |rejection: QueryRejection| {
            meant(Trouble::new(StatusCode::BAD_REQUEST, "invalid_query", cause(&rejection)))
        };
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(value)| Self(value)).map_err(bad)
    }
}

/// The id in the path, with its percent-encoding undone.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Trouble> {
        let bad = |rejection: PathRejection| {
            Trouble::new(StatusCode::BAD_REQUEST, "invalid_path", cause(&rejection))
        };
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(id)| Self(id)).map_err(bad)
    }
}

/// What the parser objects to, and where. The rejection itself only says that it does.
fn cause(rejection: &dyn std::error::Error) -> String {
    rejection.source().map_or_else(|| rejection.to_string(), ToString::to_string)
}
