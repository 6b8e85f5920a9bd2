//! `integrate`: how verified work gets into the target branch.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Invalid;

/// How verified work gets into the target branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Integrate {
    /// The branch that work is integrated into.
    pub target: Target,
    /// Whether the checks are run again on the merged tree before the branch moves.
    pub verify_merged: bool,
    /// The name on Kapelle's commits. Default: git's own `user.name`.
    pub author_name: Option<String>,
    /// The address on Kapelle's commits. Default: git's own `user.email`.
    pub author_email: Option<String>,
}

/// The branch that work is integrated into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The current branch when its working copy is clean, else a new branch `kapelle/<run>`.
    #[default]
    Auto,
    /// This branch.
    Branch(String),
}

impl Default for Integrate {
    fn default() -> Self {
        Self {
            target: Target::default(),
            verify_merged: true,
            author_name: None,
            author_email: None,
        }
    }
}

impl Integrate {
    pub(in super::super) fn validate(&self) -> Result<(), Invalid> {
        if let Target::Branch(name) = &self.target {
            // git has the last word; this only catches what would be taken for something else.
            let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
            if name.is_empty() || name.starts_with('-') || name.contains(odd) {
                return Err(Invalid::new("target", format!("{name:?} cannot be a branch"))
                    .hint("write the name of a branch, or auto"));
            }
        }
        match (&self.author_name, &self.author_email) {
            (Some(_), None) => Err(Invalid::new("author_email", "is missing beside author_name")),
            (None, Some(_)) => Err(Invalid::new("author_name", "is missing beside author_email")),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Branch(name) => name,
        })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text == "auto" { Self::Auto } else { Self::Branch(text) })
    }
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "A branch, or auto: the current branch when its working copy is clean, \
                            else a new branch kapelle/<run>.",
            "examples": ["auto", "main"],
        })
    }
}
