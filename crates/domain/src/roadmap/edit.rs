//! Changing single values of a work stream and no other byte of the file.
//!
//! A roadmap belongs to the people who write it. So an edit replaces the span of a value, in the
//! words, signs and emphasis that the file itself uses, and proves before it is handed out that the
//! result reads as asked and that nothing else reads differently. Writing the file is the caller's.

mod dialect;

use super::Roadmap;
use super::field::{self, FieldKind};
use super::heading::strip_emphasis;
use super::id::StreamId;
use super::source::{Source, Span};
use super::status::{self, Reading, Status};
use super::stream::{FieldRecord, WorkStream};
use dialect::Dialect;

/// A change to one work stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// How far it has come. Remarks behind the status stay.
    SetStatus(Status),
    /// Who works on it; `None` for nobody.
    SetAssignee(Option<String>),
    /// When it was completed, as it shall be written.
    SetCompleted(String),
    /// The marks of all of its tasks.
    MarkTasks {
        /// Whether they are done.
        done: bool,
    },
}

/// Why a roadmap was not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No work stream has the id.
    #[error("there is no work stream {id} in the roadmap")]
    UnknownStream {
        /// The id as given.
        id: StreamId,
    },
    /// Several work streams have the id, so that it is not known which one is meant.
    #[error(
        "{id} is the id of more than one work stream, in lines {first} and {second}; give each its own"
    )]
    DuplicateId {
        /// The id as given.
        id: StreamId,
        /// Line of the first heading with it, from 1.
        first: u32,
        /// Line of the second heading with it, from 1.
        second: u32,
    },
    /// A value holds line breaks or other control characters.
    #[error("{value:?} can't stand in a roadmap; a value is one line without control characters")]
    NotOneLine {
        /// The value as given.
        value: String,
    },
    /// The roadmap would say something else than asked, as with a value that opens a comment.
    #[error(
        "the roadmap would not read as asked with this change to {id}; change line {line} and those below by hand"
    )]
    ReadsDifferently {
        /// The id as given.
        id: StreamId,
        /// Line of the stream's heading, from 1.
        line: u32,
    },
}

impl Roadmap {
    /// The bytes of this roadmap with `edits` made to the work stream `id`.
    ///
    /// Only the spans of the values change; a field that is missing is added as one line in the
    /// style of the others. Of several edits to one value the last one counts.
    ///
    /// # Errors
    /// When no or more than one work stream has the id, when a value is more than one line, or when
    /// the result would not read as asked.
    pub fn edit(&self, id: &StreamId, edits: &[Edit]) -> Result<Vec<u8>, EditError> {
        let position = self.only_position(id)?;
        let stream = &self.streams[position];
        let wanted = Wanted::of(edits)?;
        let source = Source::read(&self.source);
        let dialect = Dialect::new(&self.streams, &source);
        let mut editor = Editor { stream, source: &source, dialect, patches: Vec::new() };
        editor.all(&wanted);
        let patches = editor.patches;
        if patches.is_empty() {
            return Ok(self.source.to_vec());
        }
        let edited = splice(&self.source, patches);
        if self.reads_as_wanted(&edited, position, &wanted) {
            Ok(edited)
        } else {
            Err(EditError::ReadsDifferently { id: id.clone(), line: stream.line })
        }
    }

    fn only_position(&self, id: &StreamId) -> Result<usize, EditError> {
        let positions = self.relations.positions.get(id).map_or(&[][..], Vec::as_slice);
        match *positions {
            [] => Err(EditError::UnknownStream { id: id.clone() }),
            [position] => Ok(position),
            [first, second, ..] => Err(EditError::DuplicateId {
                id: id.clone(),
                first: self.streams[first].line,
                second: self.streams[second].line,
            }),
        }
    }

    fn reads_as_wanted(&self, edited: &[u8], position: usize, wanted: &Wanted<'_>) -> bool {
        let after = Self::parse(edited);
        let mut streams = self.streams.iter().zip(&after.streams).enumerate();
        self.streams.len() == after.streams.len()
            && self.backlog.len() == after.backlog.len()
            && streams.all(|(at, (before, after))| {
                if at == position {
                    wanted.applied_to(before, after).says_the_same_as(after)
                } else {
                    before.says_the_same_as(after)
                }
            })
    }
}

/// What the edits amount to. `None` leaves a value alone.
#[derive(Debug, Default)]
struct Wanted<'e> {
    status: Option<Status>,
    assignee: Option<Option<&'e str>>,
    completed: Option<&'e str>,
    tasks_done: Option<bool>,
}

impl<'e> Wanted<'e> {
    fn of(edits: &'e [Edit]) -> Result<Self, EditError> {
        let mut wanted = Self::default();
        for edit in edits {
            match edit {
                Edit::SetStatus(status) => wanted.status = Some(*status),
                Edit::SetAssignee(None) => wanted.assignee = Some(None),
                Edit::SetAssignee(Some(name)) => wanted.assignee = Some(Some(one_line(name)?)),
                Edit::SetCompleted(text) => wanted.completed = Some(one_line(text)?),
                Edit::MarkTasks { done } => wanted.tasks_done = Some(*done),
            }
        }
        Ok(wanted)
    }

    fn applied_to(&self, stream: &WorkStream, after: &WorkStream) -> WorkStream {
        let mut changed = stream.clone();
        if let Some(status) = self.status {
            changed.status = status;
            // Dependencies that can't be read hold a stream up too, some only with some statuses.
            changed.on_hold.clone_from(&after.on_hold);
        }
        if let Some(assignee) = self.assignee {
            changed.assigned_to = assignee.map(str::to_owned);
        }
        if let Some(completed) = self.completed {
            changed.completed = Some(completed.to_owned());
        }
        if let Some(done) = self.tasks_done {
            changed.tasks.iter_mut().for_each(|task| task.done = done);
        }
        changed
    }
}

fn one_line(value: &str) -> Result<&str, EditError> {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if value.contains(breaks) {
        return Err(EditError::NotOneLine { value: value.to_owned() });
    }
    Ok(value.trim())
}

/// A span of the original and what stands there instead.
#[derive(Debug)]
struct Patch {
    span: Span,
    text: String,
}

fn splice(original: &[u8], mut patches: Vec<Patch>) -> Vec<u8> {
    // Stable: what goes to the same place stays in the order of the fields.
    patches.sort_by_key(|patch| patch.span.start);
    let mut edited = Vec::with_capacity(original.len() + 64 * patches.len());
    let mut copied = 0;
    for Patch { span, text } in patches {
        edited.extend_from_slice(&original[copied..span.start]);
        edited.extend_from_slice(text.as_bytes());
        copied = span.end;
    }
    edited.extend_from_slice(&original[copied..]);
    edited
}

struct Editor<'a> {
    stream: &'a WorkStream,
    source: &'a Source<'a>,
    dialect: Dialect<'a>,
    patches: Vec<Patch>,
}

impl Editor<'_> {
    fn all(&mut self, wanted: &Wanted<'_>) {
        if let Some(status) = wanted.status {
            self.status(status);
        }
        match wanted.assignee {
            Some(Some(name)) => self.value(FieldKind::AssignedTo, name),
            Some(None) if self.stream.assigned_to.is_some() => {
                let nobody = self.dialect.nobody();
                self.value(FieldKind::AssignedTo, nobody);
            }
            Some(None) | None => {}
        }
        if let Some(completed) = wanted.completed {
            self.value(FieldKind::Completed, completed);
        }
        if let Some(done) = wanted.tasks_done {
            self.tasks(done);
        }
    }

    fn patch(&mut self, span: Span, text: impl Into<String>) {
        let text = text.into();
        if self.source.slice(span) != text {
            self.patches.push(Patch { span, text });
        }
    }

    fn status(&mut self, status: Status) {
        let record = self.stream.layout.field(FieldKind::Status);
        let value = record.map(FieldRecord::first_value).filter(|value| !value.is_empty());
        let heading = self.stream.layout.heading_mark;
        let Some(value) = value else {
            match (heading, record) {
                (Some(mark), _) => self.reading(mark, status),
                (None, Some(record)) => self.fill(record, &self.dialect.status(status)),
                (None, None) => self.insert(FieldKind::Status, &self.dialect.status(status)),
            }
            return;
        };
        match status::read(self.source.slice(value), value.start) {
            Some(reading) => {
                // A sign in the heading is kept true if it was; else it is an ornament.
                if let Some(mark) = heading.filter(|mark| mark.status == reading.status) {
                    self.reading(mark, status);
                }
                self.reading(reading, status);
            }
            None => {
                let text = self.dialect.status(status);
                self.replace(value, &text);
            }
        }
    }

    /// Replaces sign and words, whichever are there.
    fn reading(&mut self, reading: Reading, status: Status) {
        if reading.status == status && !reading.on_hold && !reading.conflict {
            return;
        }
        if let Some(span) = reading.sign {
            let sign = self.dialect.sign(status, Some(self.source.slice(span)));
            self.patch(span, sign);
        }
        if let Some(span) = reading.phrase {
            let words = self.dialect.words(status, Some(self.source.slice(span)));
            self.patch(span, words);
        }
    }

    fn value(&mut self, kind: FieldKind, text: &str) {
        match self.stream.layout.field(kind) {
            None => self.insert(kind, text),
            Some(record) => {
                let value = record.first_value();
                if value.is_empty() {
                    self.fill(record, text);
                } else {
                    self.replace(value, text);
                }
            }
        }
    }

    /// Replaces what stands within the emphasis of `value`.
    fn replace(&mut self, value: Span, text: &str) {
        let written = self.source.slice(value);
        let inner = value.narrow(written, strip_emphasis(written));
        let (before, after) =
            (&written[..inner.start - value.start], &written[inner.end - value.start..]);
        let emphasized = format!("{before}{text}{after}");
        // Emphasis does not hold around text that has the same marks in it.
        let holds = strip_emphasis(&emphasized) == text;
        self.patch(if holds { inner } else { value }, text);
    }

    /// Writes a value where none is.
    fn fill(&mut self, record: &FieldRecord, text: &str) {
        let at = record.value.start;
        let blank = self.source.slice(Span::new(at, record.line_end));
        if matches!(blank, " " | "\t") {
            self.patch(Span::new(record.line_end, record.line_end), text);
        } else {
            self.patch(Span::new(at, at), format!(" {text}"));
        }
    }

    /// Adds a line for a field that is missing.
    fn insert(&mut self, kind: FieldKind, text: &str) {
        let place = self.place(kind);
        let line = self.dialect.line(self.stream, place.beside, kind, text);
        let ending = line_ending_before(self.source.text(), place.at);
        let at_line_start = self.source.text()[..place.at].ends_with(['\n', '\r']);
        let line = if at_line_start { line + ending } else { format!("{ending}{line}") };
        self.patch(Span::new(place.at, place.at), line);
    }

    fn place(&self, kind: FieldKind) -> Place<'_> {
        let layout = &self.stream.layout;
        let lines = || layout.fields.iter().take_while(|field| !field.heading);
        let behind = match kind {
            FieldKind::AssignedTo => layout.field(FieldKind::Status),
            FieldKind::Completed => layout.field(FieldKind::DoneWhen).or_else(|| lines().last()),
            FieldKind::Status
            | FieldKind::DependsOn
            | FieldKind::Tasks
            | FieldKind::Effort
            | FieldKind::DoneWhen
            | FieldKind::QualityGates
            | FieldKind::CompletedBy
            | FieldKind::DesignNotes
            | FieldKind::Other => None,
        };
        match (behind, lines().next()) {
            (Some(field), _) => Place { at: field.block_end, beside: Some(field) },
            (None, Some(first)) => Place { at: first.line_start, beside: Some(first) },
            (None, None) => Place { at: layout.heading_next, beside: None },
        }
    }

    fn tasks(&mut self, done: bool) {
        let marks = &self.stream.layout.task_marks;
        let mark = if done { self.dialect.done_mark(self.stream) } else { " " };
        for (task, span) in self.stream.tasks.iter().zip(marks) {
            if task.done != done {
                self.patch(*span, mark);
            }
        }
    }
}

/// Where a line is added.
struct Place<'r> {
    at: usize,
    /// The field whose style it takes.
    beside: Option<&'r FieldRecord>,
}

/// How the last line before `at` ends that has an end.
fn line_ending_before(text: &str, at: usize) -> &'static str {
    let before = &text.as_bytes()[..at];
    match before.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(last) if before[last] == b'\r' => "\r",
        Some(last) if last > 0 && before[last - 1] == b'\r' => "\r\n",
        Some(_) | None => "\n",
    }
}

/// Whether `value` says that there is nobody, and not by being empty.
fn says_nobody(value: &str) -> bool {
    !value.is_empty() && field::is_nothing(value)
}

#[cfg(test)]
mod tests;
