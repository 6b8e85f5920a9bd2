//! The configuration as a flat list of settings with their origins, for `config show --origin`.

use serde::Serialize as _;
use serde_json::Value;

use super::Config;
use super::layer::{Layers, Origin};

/// One leaf of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The key as a dotted path.
    pub key: String,
    /// The value in effect; `null` when it is not set and has no default. A list is one leaf. What
    /// may be a secret is not told.
    pub value: Value,
    /// Who set it.
    pub origin: Origin,
}

/// All settings of `config`, sorted by key.
pub(super) fn list(config: &Config, layers: &Layers) -> Vec<Setting> {
    // A tree of maps with text keys, numbers and text always has a JSON form.
    let tree = config.serialize(serde_json::value::Serializer).unwrap_or(Value::Null);
    let mut settings = Vec::new();
    flatten(tree, &mut Vec::new(), layers, &mut settings);
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    settings
}

fn flatten(value: Value, path: &mut Vec<String>, layers: &Layers, settings: &mut Vec<Setting>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (name, value) in entries {
                path.push(name);
                flatten(value, path, layers, settings);
                path.pop();
            }
        }
        value => {
            let value = if is_secret(path) { Value::String(HIDDEN.to_owned()) } else { value };
            let value = if path.last().is_some_and(|key| key == "servers") {
                without_passwords(value)
            } else {
                value
            };
            settings.push(Setting { key: path.join("."), value, origin: layers.origin(path) });
        }
    }
}

/// Addresses without the passwords that may be in them.
fn without_passwords(value: Value) -> Value {
    let address = |text: &str| {
        let (scheme, rest) = text.split_once("://")?;
        let (who, host) = rest.rsplit_once('@')?;
        let user = who.split(':').next().unwrap_or_default();
        Some(format!("{scheme}://{user}:{HIDDEN}@{host}"))
    };
    match value {
        Value::String(text) => Value::String(address(&text).unwrap_or(text)),
        Value::Array(values) => values.into_iter().map(without_passwords).collect(),
        other => other,
    }
}

/// What stands for a value that isn't shown.
const HIDDEN: &str = "(hidden)";

/// Whether a setting may hold a secret: what an agent finds in its environment often does.
fn is_secret(path: &[String]) -> bool {
    matches!(path, [agents, _, env, _] if agents == "agents" && env == "env")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_addresses_are_not_told() {
        let told = without_passwords(serde_json::json!([
            "nats://me:p@ss:word@hub:4222",
            "tls://hub:4222",
            "hub"
        ]));
        let expected = ["nats://me:(hidden)@hub:4222", "tls://hub:4222", "hub"];
        assert_eq!(told, serde_json::json!(expected));
    }
}
