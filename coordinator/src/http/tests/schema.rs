//! Whether what is served is what the OpenAPI document promises: its schema, and nothing beyond it.

use std::sync::LazyLock;

use axum::http::{Method, StatusCode};
use serde_json::Value;

use super::super::openapi;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&openapi()).expect("JSON"));

/// Compares the answer to a request with the document. Errors have one schema for all.
pub(super) fn check(method: &Method, path: &str, status: StatusCode, body: &[u8]) {
    let Some(operation) = operation(method, path) else { return };
    let responses = &operation["responses"];
    let documented = &responses[status.as_str()];
    if !status.is_success() {
        return;
    }
    assert!(documented.is_object(), "{method} {path} isn't documented to answer with {status}");
    let Some(schema) = documented.pointer("/content/application~1json/schema") else { return };
    let served: Value = serde_json::from_slice(body).expect("JSON");
    if let Err(trouble) = fits(&served, schema, "", true) {
        panic!("{method} {path}: {trouble}");
    }
}

/// The operation of a path, whose ids are any single segment.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or_default();
    let alike = |template: &str| {
        let parts = template.split('/').count() == path.split('/').count();
        let mut pairs = template.split('/').zip(path.split('/'));
        parts && pairs.all(|(wanted, given)| wanted == given || wanted == "{id}")
    };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let (_, item) = paths.iter().find(|(template, _)| alike(template))?;
    item.get(method.as_str().to_lowercase())
}

/// Why `value`, which stands at `place`, isn't what `schema` says. To be exact is to have nothing
/// that isn't documented, which schemas allow.
fn fits(value: &Value, schema: &Value, place: &str, exact: bool) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{place} {what}: {value}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let target = DOCUMENT.pointer(reference.trim_start_matches('#')).expect("a schema");
        return fits(value, target, place, exact);
    }
    for all in schema["allOf"].as_array().into_iter().flatten() {
        fits(value, all, place, exact)?;
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = |choice: &&Value| fits(value, choice, place, false).is_ok();
        return match choices.iter().filter(fitting).collect::<Vec<_>>()[..] {
            [one] => fits(value, one, place, exact),
            [] => wrong("is none of what it may be one of".to_owned()),
            _ => wrong("is more than one of what it may be one of".to_owned()),
        };
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => Vec::from_iter(one.as_str()),
    };
    if !types.is_empty() && !types.iter().any(|name| is_a(value, name)) {
        return wrong(format!("is no {types:?}"));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        return wrong("is not among the values".to_owned());
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            fits(item, &schema["items"], &format!("{place}/{index}"), exact)?;
        }
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| !fields.contains_key(*name)) {
        return wrong(format!("has no `{missing}`"));
    }
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for (name, field) in fields {
        match properties.get(name) {
            Some(property) => fits(field, property, &format!("{place}/{name}"), exact)?,
            None if schema["additionalProperties"] == false => {
                return wrong(format!("must not have `{name}`"));
            }
            None if exact => return wrong(format!("has `{name}`, which isn't documented")),
            None => {}
        }
    }
    Ok(())
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    }
}
