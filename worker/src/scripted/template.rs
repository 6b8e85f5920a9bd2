//! Texts with placeholders such as `{{stream}}`.

use serde::Deserialize;
use thiserror::Error;

/// A text with placeholders: `{{run}}`, `{{task}}`, `{{stream}}`, `{{name}}`, `{{attempt}}`,
/// `{{prompt}}`, `{{feedback}}` and `{{answer}}`. Braces around anything that does not look like
/// a lower-case name are plain text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// The run's id.
    Run,
    /// The task's id.
    Task,
    /// The work stream's id.
    Stream,
    /// The work stream's name.
    Name,
    /// The number of the attempt, from 1.
    Attempt,
    /// The prompt.
    Prompt,
    /// All feedback so far, a line each.
    Feedback,
    /// The last answer to a question.
    Answer,
}

impl Variable {
    const ALL: [Self; 8] = [
        Self::Run,
        Self::Task,
        Self::Stream,
        Self::Name,
        Self::Attempt,
        Self::Prompt,
        Self::Feedback,
        Self::Answer,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Task => "task",
            Self::Stream => "stream",
            Self::Name => "name",
            Self::Attempt => "attempt",
            Self::Prompt => "prompt",
            Self::Feedback => "feedback",
            Self::Answer => "answer",
        }
    }
}

/// The name between the braces is none that is known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "unknown placeholder {{{{{name}}}}}: use run, task, stream, name, attempt, prompt, feedback or answer"
)]
pub struct UnknownPlaceholder {
    /// The name.
    pub name: String,
}

impl TryFrom<String> for Template {
    type Error = UnknownPlaceholder;

    fn try_from(text: String) -> Result<Self, UnknownPlaceholder> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("{{") {
            let (before, braces) = rest.split_at(at);
            plain.push_str(before);
            let Some((name, after)) = placeholder(braces) else {
                let (brace, after) = braces.split_at(1);
                plain.push_str(brace);
                rest = after;
                continue;
            };
            let variable = Variable::ALL.into_iter().find(|known| known.name() == name);
            let variable = variable.ok_or_else(|| UnknownPlaceholder { name: name.to_owned() })?;
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Variable(variable));
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }
}

/// The name of the placeholder that `text` begins with, and what comes after.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix("{{")?.split_once("}}")?;
    let name = name.trim_matches(' ');
    let looks_like_one =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    looks_like_one.then_some((name, after))
}

impl Template {
    /// The text with its placeholders filled in.
    pub(super) fn fill<'v>(&self, value: impl Fn(Variable) -> &'v str) -> String {
        let mut filled = String::new();
        for part in &self.0 {
            filled.push_str(match part {
                Part::Text(text) => text,
                Part::Variable(variable) => value(*variable),
            });
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_other_braces_left_alone() {
        let check = |text: &str, expected: &str| {
            let template = Template::try_from(text.to_owned()).unwrap();
            assert_eq!(template.fill(Variable::name), expected);
        };
        check("", "");
        check("plain", "plain");
        check("{{stream}}: {{ name }}!", "stream: name!");
        check("{{{name}}}", "{name}");
        check("format!(\"{{}} {{:?}}\", {{Name}})", "format!(\"{{}} {{:?}}\", {{Name}})");
        check("{{ open", "{{ open");
        check("{{a b}}{{name}}", "{{a b}}name");
    }

    #[test]
    fn an_unknown_placeholder_is_refused() {
        let error = Template::try_from("{{strem}}".to_owned()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown placeholder {{strem}}: use run, task, stream, name, attempt, prompt, \
             feedback or answer"
        );
    }
}
