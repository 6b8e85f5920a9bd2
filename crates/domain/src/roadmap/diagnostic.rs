//! What could not be read, or does not fit together, and where.
//!
//! A diagnostic never stops the parser. How it looks on a terminal is decided by the caller, who
//! may color the plain text of [`Diagnostic::render`].

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use unicode_width::UnicodeWidthChar as _;

use super::source::{self, Span};

/// Diagnostics kept of one kind; the rest is counted. A binary file must not become a book.
const KEPT_PER_CODE_MAX: usize = 100;
/// Characters of a source line shown in a snippet.
const SNIPPET_CHARS_MAX: usize = 110;
/// Characters shown before the caret when a long line is cut.
const SNIPPET_LEAD_CHARS: usize = 50;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The plan contradicts itself; some work streams cannot run until it is mended.
    Error,
    /// Something was read in the safest way, which may not be what was meant.
    Warning,
    /// Worth knowing; nothing has to be mended.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// One finding about the roadmap, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// Stable name of the kind of finding, such as `unknown-dependency`.
    pub code: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters that are marked in a snippet.
    #[serde(skip)]
    width: u32,
}

/// Every kind of finding. One place fixes its code and its severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    AmbiguousDependency,
    AmbiguousHeading,
    CompleteWithOpenTasks,
    ConflictingStatus,
    DependencyCycle,
    DuplicateField,
    DuplicateId,
    FreeTextDependency,
    HeadingWithoutSpace,
    InconsistentComplete,
    InvalidUtf8,
    MalformedId,
    MissingName,
    MissingStatus,
    NoStreams,
    QuotedHeading,
    SelfDependency,
    StaleBlockedMark,
    StaleDependencyMark,
    StreamWithoutId,
    TasksOutsideStreams,
    TooManyDependencies,
    UnclosedComment,
    UnclosedFence,
    UnknownDependency,
    UnknownEffort,
    UnknownStatus,
    UnreadableTaskMark,
    Utf16,
}

impl Rule {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::AmbiguousDependency => "ambiguous-dependency",
            Self::AmbiguousHeading => "ambiguous-heading",
            Self::CompleteWithOpenTasks => "complete-with-open-tasks",
            Self::ConflictingStatus => "conflicting-status",
            Self::DependencyCycle => "dependency-cycle",
            Self::DuplicateField => "duplicate-field",
            Self::DuplicateId => "duplicate-id",
            Self::FreeTextDependency => "free-text-dependency",
            Self::HeadingWithoutSpace => "heading-without-space",
            Self::InconsistentComplete => "inconsistent-complete",
            Self::InvalidUtf8 => "invalid-utf8",
            Self::MalformedId => "malformed-id",
            Self::MissingName => "missing-name",
            Self::MissingStatus => "missing-status",
            Self::NoStreams => "no-streams",
            Self::QuotedHeading => "quoted-heading",
            Self::SelfDependency => "self-dependency",
            Self::StaleBlockedMark => "stale-blocked-mark",
            Self::StaleDependencyMark => "stale-dependency-mark",
            Self::StreamWithoutId => "stream-without-id",
            Self::TasksOutsideStreams => "tasks-outside-streams",
            Self::TooManyDependencies => "too-many-dependencies",
            Self::UnclosedComment => "unclosed-comment",
            Self::UnclosedFence => "unclosed-fence",
            Self::UnknownDependency => "unknown-dependency",
            Self::UnknownEffort => "unknown-effort",
            Self::UnknownStatus => "unknown-status",
            Self::UnreadableTaskMark => "unreadable-task-mark",
            Self::Utf16 => "utf-16",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::DependencyCycle
            | Self::DuplicateId
            | Self::MalformedId
            | Self::SelfDependency
            | Self::TooManyDependencies
            | Self::UnknownDependency
            | Self::Utf16 => Severity::Error,
            Self::AmbiguousDependency
            | Self::AmbiguousHeading
            | Self::CompleteWithOpenTasks
            | Self::ConflictingStatus
            | Self::DuplicateField
            | Self::FreeTextDependency
            | Self::HeadingWithoutSpace
            | Self::InconsistentComplete
            | Self::InvalidUtf8
            | Self::MissingName
            | Self::MissingStatus
            | Self::NoStreams
            | Self::QuotedHeading
            | Self::StreamWithoutId
            | Self::UnclosedComment
            | Self::UnclosedFence
            | Self::UnknownEffort
            | Self::UnknownStatus
            | Self::UnreadableTaskMark => Severity::Warning,
            Self::StaleBlockedMark | Self::StaleDependencyMark | Self::TasksOutsideStreams => {
                Severity::Info
            }
        }
    }
}

/// Collects findings by byte offset; their lines and columns are found in one sweep at the end.
#[derive(Debug, Default)]
pub(super) struct Collector {
    found: Vec<(Span, Rule, String)>,
    counts: HashMap<Rule, (usize, Span)>,
}

impl Collector {
    /// Adds a finding. The message is only built when it will be kept.
    pub(super) fn add(&mut self, rule: Rule, span: Span, message: impl FnOnce() -> String) {
        let (count, last) = self.counts.entry(rule).or_default();
        *count += 1;
        *last = span;
        if *count <= KEPT_PER_CODE_MAX {
            self.found.push((span, rule, message()));
        }
    }

    /// All findings in the order of the file.
    pub(super) fn finish(mut self, text: &str) -> Vec<Diagnostic> {
        for (rule, (count, last)) in self.counts {
            if let Some(more @ 1..) = count.checked_sub(KEPT_PER_CODE_MAX) {
                let message = format!("{more} more of this kind, the last one here");
                self.found.push((last, rule, message));
            }
        }
        self.found.sort_by_key(|(span, rule, _)| (span.start, span.end, rule.code()));
        let mut sweep = Sweep::new(text);
        self.found
            .into_iter()
            .map(|(span, rule, message)| {
                let (line, column) = sweep.advance(span.start);
                let width = text[span.start..span.end].chars().take(SNIPPET_CHARS_MAX).count();
                Diagnostic {
                    severity: rule.severity(),
                    code: rule.code(),
                    message,
                    line,
                    column,
                    width: u32::try_from(width).unwrap_or(1),
                }
            })
            .collect()
    }
}

/// Turns ascending offsets into lines and columns, reading the text once.
struct Sweep<'t> {
    bytes: &'t [u8],
    position: usize,
    line: u32,
    column: u32,
}

impl<'t> Sweep<'t> {
    fn new(text: &'t str) -> Self {
        let position = source::content_start(text);
        Self { bytes: text.as_bytes(), position, line: 1, column: 1 }
    }

    fn advance(&mut self, offset: usize) -> (u32, u32) {
        while self.position < offset {
            let byte = self.bytes[self.position];
            let next = self.bytes.get(self.position + 1);
            self.position += 1;
            match byte {
                b'\r' if next == Some(&b'\n') => {}
                b'\n' | b'\r' => {
                    self.line = self.line.saturating_add(1);
                    self.column = 1;
                }
                // Continuation bytes belong to the character before them.
                0x80..=0xBF => {}
                _ => self.column = self.column.saturating_add(1),
            }
        }
        (self.line, self.column)
    }
}

impl Diagnostic {
    /// The finding with the line it speaks of and a caret under the place, as plain text.
    ///
    /// `source` is the bytes that were parsed, `filename` how the user knows them.
    pub fn render(&self, source: &[u8], filename: &str) -> String {
        let Self { severity, code, message, line, column, .. } = self;
        let head = format!("{severity}[{code}]: {message}\n");
        let source = source::Source::read(source);
        let wanted = usize::try_from(*line).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(text) = source.lines().nth(wanted) else {
            return format!("{head}  --> {}:{line}:{column}\n", printable(filename));
        };
        let (shown, before, marked) = self.snippet(text.text);
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        format!(
            "{head}{margin}--> {}:{line}:{column}\n{margin} |\n{number} | {shown}\n{margin} | {}{}\n",
            printable(filename),
            " ".repeat(before),
            "^".repeat(marked.max(1)),
        )
    }

    /// The visible part of `line`, and how many cells stand before and under the mark.
    fn snippet(&self, line: &str) -> (String, usize, usize) {
        let column = usize::try_from(self.column).unwrap_or(usize::MAX).saturating_sub(1);
        let width = usize::try_from(self.width).unwrap_or(1).max(1);
        let first = if column > SNIPPET_CHARS_MAX - SNIPPET_LEAD_CHARS {
            column - SNIPPET_LEAD_CHARS
        } else {
            0
        };
        let mut shown = String::new();
        let (mut before, mut marked) = (0, 0);
        if first > 0 {
            shown.push('…');
            before += 1;
        }
        let mut characters = line.chars().enumerate().skip(first);
        for (index, character) in characters.by_ref().take(SNIPPET_CHARS_MAX) {
            let cells = push_printable(&mut shown, character);
            if index < column {
                before += cells;
            } else if index < column + width {
                marked += cells;
            }
        }
        if characters.next().is_some() {
            shown.push('…');
        }
        (shown, before, marked)
    }
}

/// Appends `character` as one that cannot steer a terminal; returns the cells it takes.
fn push_printable(text: &mut String, character: char) -> usize {
    if character == '\t' {
        text.push_str("    ");
        return 4;
    }
    if is_unprintable(character) {
        text.push('\u{FFFD}');
        return 1;
    }
    text.push(character);
    character.width().unwrap_or(1)
}

/// Control characters, and those that reorder the text around them.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// `text` with nothing in it that could steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { '\u{FFFD}' } else { c }).collect()
}

/// A piece of the file as a message quotes it: short and printable.
pub(super) fn quote(text: &str) -> String {
    const QUOTED_CHARS_MAX: usize = 60;
    let mut quoted: String = printable(text).chars().take(QUOTED_CHARS_MAX).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        quoted.push('…');
    }
    format!("`{quoted}`")
}
