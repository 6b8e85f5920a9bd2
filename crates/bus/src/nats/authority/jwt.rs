//! The signed claims that a NATS server believes: JWTs in the form that nats-server defines.
//!
//! Only what a fleet needs of that form is here. Nothing is verified on reading: a server does that,
//! and whoever got claims from an authority of ours got them over a connection that it trusts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use nkeys::KeyPair;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::nats::permissions::Grants;

const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// The version of the form of claims.
const VERSION: u32 = 2;

/// For limits: none.
const UNLIMITED: i64 = -1;

/// Who is spoken of, and when it was said.
pub(super) struct Subject<'s> {
    pub(super) name: &'s str,
    /// The public key.
    pub(super) key: &'s str,
    /// Seconds since 1970.
    pub(super) issued_at: u64,
    /// Seconds since 1970; without it, the claims don't expire.
    pub(super) expires_at: Option<u64>,
}

/// A key that may sign users of one role, and what they may do. What it signs says nothing of
/// permissions, so that a newer Kapelle changes them for everybody at once.
pub(super) struct Scope {
    pub(super) key: String,
    pub(super) role: &'static str,
    pub(super) grants: Grants,
}

/// The claims of an operator, who signs for the accounts.
pub(super) fn operator(
    key: &KeyPair,
    subject: &Subject<'_>,
    system: &str,
) -> Result<String, nkeys::error::Error> {
    sign(key, subject, json!({ "type": "operator", "version": VERSION, "system_account": system }))
}

/// The claims of an account. `revoked` are the keys of its users that aren't let in any more, and
/// since when.
pub(super) fn account(
    operator: &KeyPair,
    subject: &Subject<'_>,
    stores: bool,
    scopes: &[Scope],
    revoked: &BTreeMap<String, u64>,
) -> Result<String, nkeys::error::Error> {
    let storage = if stores { UNLIMITED } else { 0 };
    let mut claims = json!({
        "type": "account", "version": VERSION,
        "limits": {
            "subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED, "imports": UNLIMITED,
            "exports": UNLIMITED, "wildcards": true, "conn": UNLIMITED, "leaf": UNLIMITED,
            "mem_storage": storage, "disk_storage": storage, "streams": UNLIMITED,
            "consumer": UNLIMITED,
        },
        "signing_keys": scopes.iter().map(scope).collect::<Vec<_>>(),
    });
    if !revoked.is_empty() {
        claims["revocations"] = json!(revoked);
    }
    sign(operator, subject, claims)
}

fn scope(scope: &Scope) -> Value {
    json!({
        "kind": "user_scope", "key": scope.key, "role": scope.role,
        "template": permissions(&scope.grants),
    })
}

/// The claims of a user who may do what the key that signs allows.
pub(super) fn scoped_user(
    signer: &KeyPair,
    subject: &Subject<'_>,
    account: &str,
) -> Result<String, nkeys::error::Error> {
    let claims = json!({ "type": "user", "version": VERSION, "issuer_account": account });
    sign(signer, subject, claims)
}

/// The claims of a user whom the account itself signs, with what it may do.
pub(super) fn user(
    account: &KeyPair,
    subject: &Subject<'_>,
    grants: &Grants,
) -> Result<String, nkeys::error::Error> {
    let mut claims = permissions(grants);
    claims["type"] = json!("user");
    claims["version"] = json!(VERSION);
    sign(account, subject, claims)
}

fn permissions(grants: &Grants) -> Value {
    let Grants { publish, subscribe, respond } = grants;
    let allowed = |subjects: &[String]| match subjects {
        [] => json!({ "deny": [">"] }),
        subjects => json!({ "allow": subjects }),
    };
    let mut permissions = json!({
        "pub": allowed(publish), "sub": allowed(subscribe),
        "subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED,
        "allowed_connection_types": ["STANDARD"],
    });
    if let Some((max, within)) = respond {
        let nanoseconds = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
        permissions["resp"] = json!({ "max": max, "ttl": nanoseconds });
    }
    permissions
}

fn sign(
    signer: &KeyPair,
    subject: &Subject<'_>,
    claims: Value,
) -> Result<String, nkeys::error::Error> {
    let mut body = json!({
        "iat": subject.issued_at, "iss": signer.public_key(), "name": subject.name,
        "sub": subject.key, "nats": claims,
    });
    if let Some(at) = subject.expires_at {
        body["exp"] = json!(at);
    }
    // What identifies the claims follows from them: the same claims are the same text.
    let digest = Sha256::digest(body.to_string());
    body["jti"] = json!(BASE64.encode(digest));
    let signed = format!("{}.{}", BASE64.encode(HEADER), BASE64.encode(body.to_string()));
    let signature = signer.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", BASE64.encode(signature)))
}

/// What claims say that somebody has shown; nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::nats) struct Said {
    pub(in crate::nats) name: String,
    pub(in crate::nats) key: String,
    pub(in crate::nats) expires_at: Option<u64>,
}

/// Reads claims without a proof.
pub(in crate::nats) fn read(jwt: &str) -> Option<Said> {
    let mut parts = jwt.split('.');
    let (_, body, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let body: Value = serde_json::from_slice(&BASE64.decode(body).ok()?).ok()?;
    let text = |field: &str| body.get(field)?.as_str().map(str::to_owned);
    Some(Said {
        name: text("name")?,
        key: text("sub")?,
        expires_at: body.get("exp").and_then(Value::as_u64),
    })
}
