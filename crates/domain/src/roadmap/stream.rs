//! A work stream and what it consists of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::field::FieldKind;
use super::id::StreamId;
use super::source::Span;
use super::status::{Reading, Status};

/// One work stream: a heading with an id, and the fields and tasks below it.
#[derive(Debug, Clone)]
pub struct WorkStream {
    /// The id from the heading.
    pub id: StreamId,
    /// The name from the heading, without tag and status sign; the id where there is no name.
    pub name: String,
    /// The batch that the work stream stands in.
    pub batch: Option<BatchRef>,
    /// The word behind the heading's ⭐, in lower case: `bootstrap`, `priority`.
    pub tag: Option<String>,
    /// How far it has come. Without a readable mark: [`Status::NotStarted`] if there is none,
    /// [`Status::Blocked`] and [`WorkStream::on_hold`] if there is one that means nothing to us.
    pub status: Status,
    /// The mark that forbids to start it whatever its dependencies: `On Hold`, `Deferred`,
    /// `Cancelled`, or a status that cannot be read.
    pub on_hold: Option<String>,
    /// Who works on it, or is to.
    pub assigned_to: Option<String>,
    /// The ids it depends on, in the order of the text, batches and ranges resolved, each once.
    /// Ids that no work stream has are among them.
    pub depends_on: Vec<StreamId>,
    /// The dependencies as written.
    pub depends_text: Option<String>,
    /// How much work it is.
    pub effort: Option<Effort>,
    /// When it counts as done.
    pub done_when: Option<String>,
    /// The gates it has passed or must pass.
    pub quality_gates: Option<String>,
    /// When it was completed, as written.
    pub completed: Option<String>,
    /// Who completed it.
    pub completed_by: Option<String>,
    /// Fields that mean nothing to us, in the order of the file.
    pub fields: Vec<OtherField>,
    /// Its tasks, those of sub-sections included.
    pub tasks: Vec<TaskItem>,
    /// The text of its design notes, fenced blocks included.
    pub design_notes: Option<String>,
    /// Line of the heading, from 1.
    pub line: u32,
    pub(super) layout: Layout,
}

/// The batch that a work stream stands in.
///
/// A heading such as `## Batch 3 (Security)` has number 3 and the title `Security`. Without batch
/// headings, the section above the work streams serves as one, without a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRef {
    /// The number in the heading.
    pub number: Option<u32>,
    /// What the heading says besides the number; all of it if it says nothing else.
    pub title: String,
    /// Which of the file's batches it is, from 0.
    pub position: u32,
}

impl BatchRef {
    /// The number if there is one, otherwise the title: `3`, `Core work`.
    pub fn label(&self) -> String {
        self.number.map_or_else(|| self.title.clone(), |number| number.to_string())
    }
}

/// How much work a work stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Effort {
    /// Very small.
    Xs,
    /// Small.
    S,
    /// Medium.
    M,
    /// Large.
    L,
    /// Very large.
    Xl,
}

impl Effort {
    /// The size as the roadmap writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Xs => "XS",
            Self::S => "S",
            Self::M => "M",
            Self::L => "L",
            Self::Xl => "XL",
        }
    }

    /// The weight on a critical path, in points: each size is twice the one before.
    pub fn points(self) -> u32 {
        match self {
            Self::Xs => 1,
            Self::S => 2,
            Self::M => 4,
            Self::L => 8,
            Self::Xl => 16,
        }
    }

    /// Reads `M`, `medium`, `M (three days)`. `None` if the first word is no size.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase);
        let size = match words.next()?.as_str() {
            "xs" | "tiny" | "xsmall" => Self::Xs,
            "s" | "small" => Self::S,
            "m" | "medium" | "med" => Self::M,
            "l" | "large" => Self::L,
            "xl" | "xlarge" | "huge" => Self::Xl,
            "extra" | "very" | "x" => match words.next()?.as_str() {
                "small" => Self::Xs,
                "large" => Self::Xl,
                _ => return None,
            },
            _ => return None,
        };
        Some(size)
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A field that means nothing to us, kept as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherField {
    /// The name, without emphasis and colon.
    pub name: String,
    /// The value on the line, and the lines below it that belong to it.
    pub value: String,
    /// Line of the name, from 1.
    pub line: u32,
}

/// One line with a check mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskItem {
    /// What is to be done.
    pub text: String,
    /// Whether the mark says that it is done.
    pub done: bool,
    /// How deep it is nested below other tasks, from 0.
    pub depth: u32,
    /// Line, from 1.
    pub line: u32,
}

/// Where a work stream's parts stand in the original bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// From the heading to where the next section begins.
    pub(super) section: Span,
    /// Id in the heading, for diagnostics.
    pub(super) id: Span,
    /// Start of the line behind the heading.
    pub(super) heading_next: usize,
    /// A status sign in the heading.
    pub(super) heading_mark: Option<Reading>,
    pub(super) fields: Vec<FieldRecord>,
    /// Between the brackets of each task.
    pub(super) task_marks: Vec<Span>,
    /// The lines of each task.
    pub(super) task_lines: Vec<Span>,
}

/// Where a field stands.
#[derive(Debug, Clone)]
pub(super) struct FieldRecord {
    pub(super) kind: FieldKind,
    pub(super) line_start: usize,
    pub(super) name: Span,
    /// The value on the line of the name; may be empty.
    pub(super) value: Span,
    /// End of the line, before its line end.
    pub(super) line_end: usize,
    /// Start of the line behind the last one that belongs to the field.
    pub(super) block_end: usize,
    /// The value's parts: on the line of the name, and on lines below.
    pub(super) pieces: Vec<Span>,
    pub(super) line: u32,
    pub(super) indent: usize,
    pub(super) bulleted: bool,
    /// The name is a heading of its own, such as `#### Tasks`.
    pub(super) heading: bool,
}

impl Layout {
    /// The field that decides: the first of its kind.
    pub(super) fn field(&self, kind: FieldKind) -> Option<&FieldRecord> {
        self.fields.iter().find(|field| field.kind == kind)
    }
}

impl FieldRecord {
    /// The first part that says something; where it would stand, if there is none.
    pub(super) fn first_value(&self) -> Span {
        self.pieces.iter().copied().find(|piece| !piece.is_empty()).unwrap_or(self.value)
    }
}

impl WorkStream {
    /// Whether the roadmap says the same of both, wherever it says it.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.placeless() == other.placeless()
    }

    /// Everything but places.
    fn placeless(&self) -> impl PartialEq + '_ {
        let Self { id, name, batch, tag, status, on_hold, assigned_to, depends_on, .. } = self;
        let Self { depends_text, effort, done_when, quality_gates, completed, .. } = self;
        let Self { completed_by, fields, tasks, design_notes, line: _, layout: _, .. } = self;
        let fields: Vec<_> = fields.iter().map(|field| (&field.name, &field.value)).collect();
        let tasks: Vec<_> = tasks.iter().map(|task| (&task.text, task.done, task.depth)).collect();
        (
            (id, name, batch, tag, status, on_hold, assigned_to, depends_on),
            (depends_text, effort, done_when, quality_gates, completed),
            (completed_by, fields, tasks, design_notes),
        )
    }
}
