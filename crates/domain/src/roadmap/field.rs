//! Field lines of a work stream: `- **Status:** …` and the many ways people write it.

use super::heading::strip_emphasis;
use super::source::Span;

/// Characters of a field's name.
const NAME_CHARS_MAX: usize = 40;

/// The fields that mean something to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum FieldKind {
    Status,
    AssignedTo,
    DependsOn,
    Tasks,
    Effort,
    DoneWhen,
    QualityGates,
    Completed,
    CompletedBy,
    DesignNotes,
    Other,
}

impl FieldKind {
    /// The kind by a name as written.
    pub(super) fn by_name(name: &str) -> Self {
        let plain: String = name
            .chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .take(NAME_CHARS_MAX)
            .collect();
        match plain.as_str() {
            "status" | "state" => Self::Status,
            "assignedto" | "assigned" | "assignee" | "owner" => Self::AssignedTo,
            "dependson" | "depends" | "dependencies" | "dependency" | "blockedby" | "requires"
            | "prerequisites" => Self::DependsOn,
            "tasks" | "task" | "subtasks" => Self::Tasks,
            "effort" | "size" | "estimate" => Self::Effort,
            "donewhen" | "definitionofdone" | "acceptance" | "acceptancecriteria" => Self::DoneWhen,
            "qualitygates" | "qualitygate" => Self::QualityGates,
            "completed" | "completedon" | "completedat" | "completiondate" => Self::Completed,
            "completedby" => Self::CompletedBy,
            "designnotes" | "designnote" | "design" => Self::DesignNotes,
            _ => Self::Other,
        }
    }

    /// The name to write when the file has no name of its own for it.
    pub(super) fn default_name(self) -> &'static str {
        match self {
            Self::Status => "Status",
            Self::AssignedTo => "Assigned To",
            Self::DependsOn => "Depends On",
            Self::Tasks => "Tasks",
            Self::Effort => "Effort",
            Self::DoneWhen => "Done When",
            Self::QualityGates => "Quality Gates",
            Self::Completed => "Completed",
            Self::CompletedBy => "Completed By",
            Self::DesignNotes => "Design Notes",
            Self::Other => "Note",
        }
    }

    /// A single value on the line; what is indented below a filled one belongs to something else.
    pub(super) fn is_scalar(self) -> bool {
        match self {
            Self::Status
            | Self::AssignedTo
            | Self::DependsOn
            | Self::Effort
            | Self::Completed
            | Self::CompletedBy => true,
            Self::Tasks | Self::DoneWhen | Self::QualityGates | Self::DesignNotes | Self::Other => {
                false
            }
        }
    }
}

/// A line that names a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldLine {
    pub(super) kind: FieldKind,
    pub(super) name: Span,
    pub(super) value: Span,
    pub(super) emphasized: bool,
}

/// Reads `content` (a line behind indentation and bullet) that starts at `base`.
pub(super) fn read(content: &str, base: usize, bulleted: bool) -> Option<FieldLine> {
    let whole = Span::new(base, base + content.len());
    // A pictogram may stand before the name.
    let text = content.trim_start_matches(|c: char| {
        !c.is_ascii() && !c.is_alphanumeric() || c.is_whitespace() || c == '\u{FE0F}'
    });
    let opened = text.len() - text.trim_start_matches(['*', '_']).len();
    if opened > 3 {
        return None;
    }
    let body = &text[opened..];
    let length = name_length(body)?;
    let name = body[..length].trim_end();
    let kind = FieldKind::by_name(name);
    let rest = &body[length..];
    let value = if opened == 0 {
        let value = rest.strip_prefix([':', '：'])?;
        let separate = value.is_empty() || value.starts_with([' ', '\t', '\u{A0}']);
        let known = kind != FieldKind::Other;
        (known || (separate && bulleted)).then_some(value)?
    } else {
        value_behind_emphasis(rest, &text[..opened], kind != FieldKind::Other)?
    };
    Some(FieldLine {
        kind,
        name: whole.narrow(content, name),
        value: whole.narrow(content, value.trim()),
        emphasized: opened > 0,
    })
}

/// Length of what can be a field's name at the start of `text`.
fn name_length(text: &str) -> Option<usize> {
    if !text.starts_with(char::is_alphabetic) {
        return None;
    }
    let mut length = 0;
    for (count, character) in text.chars().enumerate() {
        let belongs = character.is_alphanumeric()
            || matches!(character, ' ' | '/' | '-' | '&' | '\'' | '(' | ')')
            || (character == '_' && text[length + 1..].starts_with(char::is_alphanumeric));
        if !belongs {
            break;
        }
        if count >= NAME_CHARS_MAX {
            return None;
        }
        length += character.len_utf8();
    }
    Some(length)
}

/// The value of `**Name:** value`, `**Name**: value` or, for a known name, `**Name** - value`.
fn value_behind_emphasis<'t>(rest: &'t str, opening: &str, known: bool) -> Option<&'t str> {
    if let Some(inside) = rest.strip_prefix([':', '：']) {
        // `**Status: Complete**`: the emphasis goes on and is the value's.
        return match inside.strip_prefix(opening) {
            Some(value) => Some(value),
            None => {
                let value = inside.trim_end();
                known.then(|| value.strip_suffix(opening).unwrap_or(value))
            }
        };
    }
    let outside = rest.strip_prefix(opening)?;
    let separated = outside.trim_start();
    if let Some(value) = separated.strip_prefix([':', '：']) {
        return Some(value);
    }
    if !known {
        return None;
    }
    Some(separated.strip_prefix(['-', '–', '—', '=']).unwrap_or(separated))
}

/// A value that says that nobody knows yet.
pub(super) fn is_open(value: &str) -> bool {
    let plain = strip_emphasis(value);
    plain.eq_ignore_ascii_case("tbd") || plain == "?"
}

/// A value that says there is none.
pub(super) fn is_nothing(value: &str) -> bool {
    let plain = strip_emphasis(value)
        .trim_matches(|c: char| c.is_whitespace() || matches!(c, '.' | '(' | ')'));
    const WORDS: [&str; 14] = [
        "",
        "-",
        "–",
        "—",
        "none",
        "nothing",
        "n/a",
        "na",
        "nil",
        "no one",
        "nobody",
        "unassigned",
        "tbd",
        "?",
    ];
    WORDS.iter().any(|word| plain.eq_ignore_ascii_case(word))
}
