//! Reading the lines of a roadmap into work streams, in one pass.
//!
//! What a line is depends on what came before it: a fence, a comment, a stream, a field. What the
//! streams' relations amount to is not looked at here; see [`super::check`].

mod hidden;
mod shape;
#[cfg(test)]
mod tests;

use super::block::{self, Fences};
use super::diagnostic::{Collector, Rule};
use super::field::{self, FieldKind, FieldLine};
use super::heading::{self, Announces, Heading, StreamHeading};
use super::inline::Plain;
use super::source::{Line, Source, Span};
use super::stream::{BatchRef, FieldRecord, Layout, TaskItem, WorkStream};
use super::task::{self, Mark};
use hidden::Code;
use shape::Quote;

/// What was read, before it is related.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) streams: Vec<WorkStream>,
    pub(super) backlog: Vec<TaskItem>,
    pub(super) diagnostics: Collector,
}

#[derive(Debug)]
pub(super) struct Parser<'s> {
    source: &'s Source<'s>,
    fences: Fences,
    parsed: Parsed,
    code: Option<Code>,
    /// Offset behind what isn't looked at: a comment that spans lines, a heading's underline.
    hidden_to: usize,
    comments_close: bool,
    batch: Option<(usize, BatchRef)>,
    batches: u32,
    /// The heading of the section outside of any stream, while nothing was said of it.
    section: Option<Span>,
    open: Option<Open>,
    outside: Outside,
    above: Above,
    quote: Quote,
    /// The line behind the one that is read.
    ahead: Option<Line<'s>>,
    front_matter_end: Option<usize>,
}

/// What the line above was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    Blank,
    /// Text or a field that is in no list.
    Text,
    Other,
}

/// Tasks that stand in no work stream, since the last heading.
#[derive(Debug, Default)]
struct Outside {
    indents: Vec<usize>,
    count: usize,
    first: Span,
}

/// A work stream that is being read.
#[derive(Debug)]
struct Open {
    level: usize,
    stream: WorkStream,
    indents: Vec<usize>,
    /// Index of the field that following lines belong to.
    field: Option<usize>,
    /// Columns before the task that the next line may go on with.
    wraps: Option<usize>,
}

impl<'s> Parser<'s> {
    pub(super) fn run(source: &'s Source<'s>) -> Parsed {
        let mut parser = Self {
            source,
            fences: Fences::find(source),
            parsed: Parsed::default(),
            code: None,
            hidden_to: 0,
            comments_close: true,
            batch: None,
            batches: 0,
            section: None,
            open: None,
            outside: Outside::default(),
            above: Above::Other,
            quote: Quote::Outside,
            ahead: None,
            front_matter_end: shape::front_matter_end(source),
        };
        let mut end = 0;
        let mut lines = source.lines().peekable();
        while let Some(line) = lines.next() {
            parser.ahead = lines.peek().copied();
            parser.line(line);
            end = line.next;
        }
        parser.close(end);
        parser.end_outside();
        if let Some(code) = parser.code.filter(|code| !code.quoted) {
            parser.report_unclosed(code);
        }
        parser.parsed
    }

    fn line(&mut self, line: Line<'s>) {
        if line.start < self.hidden_to || self.in_code(line) || self.opens_comment(line) {
            self.above = Above::Other;
            return;
        }
        if self.quoted(line) {
            return;
        }
        let heading = heading::read_line(line.text, line.start);
        if heading.is_some_and(|heading| self.heading(heading, line))
            || self.underlined_heading(line)
        {
            self.above = Above::Other;
            return;
        }
        let (columns, bytes) = block::indentation(line.text);
        let content = &line.text[bytes..];
        if content.trim().is_empty() {
            self.above = Above::Blank;
            return;
        }
        let bullet = block::bullet(content).unwrap_or(0);
        let at = Place { columns, bulleted: bullet > 0, heading: false, line };
        let body = Span::new(line.start + bytes + bullet, line.end());
        self.content(body, at);
        self.above = if at.bulleted { Above::Other } else { Above::Text };
    }

    /// A line that is no heading, no code and not blank.
    fn content(&mut self, body: Span, at: Place<'s>) {
        if at.bulleted && self.task(body, at) {
            return;
        }
        if let Some(open) = &mut self.open {
            let wraps = open.wraps.is_some_and(|columns| columns < at.columns);
            if wraps
                && !at.bulleted
                && self.above != Above::Blank
                && let Some(task) = open.stream.tasks.last_mut()
            {
                task.text.push(' ');
                task.text.push_str(self.source.string(body).trim());
                if let Some(lines) = open.stream.layout.task_lines.last_mut() {
                    lines.end = at.line.next;
                }
                extend(open, at);
                return;
            }
            open.wraps = None;
            if at.bulleted {
                task::leave(&mut open.indents, at.columns);
            }
        }
        let named = field::read(self.source.slice(body), body.start, at.bulleted);
        match named {
            Some(named) if self.takes_field(&named, at) => self.field(&named, at),
            Some(_) | None => self.continuation(body, at),
        }
    }

    /// Whether the line really is a heading.
    fn heading(&mut self, heading: Heading, line: Line<'s>) -> bool {
        let announced = self.announces(heading);
        if !heading.spaced {
            // `#12` and `#hashtag` are text.
            if !matches!(&announced, Announces::Stream(stream) if stream.worded) {
                return false;
            }
            let span = Span::new(line.start, line.end());
            self.parsed.diagnostics.add(Rule::HeadingWithoutSpace, span, || {
                "a heading needs a space behind its `#` marks".to_owned()
            });
        }
        self.end_outside();
        match announced {
            // What stands deeper than a work stream and is none belongs to it.
            Announces::Batch { .. } | Announces::MalformedId(_) | Announces::Section { .. }
                if self.open.as_ref().is_some_and(|open| heading.level > open.level) =>
            {
                self.subsection(heading, line);
            }
            Announces::Stream(stream) if self.is_part_of_open(&stream, heading.level) => {
                self.subsection(heading, line);
            }
            Announces::Stream(stream) => self.begin(stream, heading.level, line),
            Announces::Batch { number, title } => {
                self.close(line.start);
                let title = self.source.shown(&title);
                self.begin_batch(heading.level, number, title);
                self.section = None;
            }
            Announces::MalformedId(span) => {
                self.close(line.start);
                self.section = None;
                let text = self.source.slice(span);
                self.parsed.diagnostics.add(Rule::MalformedId, span, || {
                    let quoted = super::diagnostic::quote(text);
                    format!("{quoted} can't be a work stream's id; write numbers joined by dots, such as `1.2`")
                });
            }
            Announces::Section { title } => self.plain_section(heading, &title, line.start),
        }
        true
    }

    /// `#### Step 1: …` within `### Phase 1.2: …` is a part of it, no stream of its own.
    fn is_part_of_open(&self, stream: &StreamHeading, level: usize) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| level > open.level && stream.id.depth() < open.stream.id.depth())
    }

    fn plain_section(&mut self, heading: Heading, title: &str, start: usize) {
        self.close(start);
        if self.batch.as_ref().is_some_and(|(level, _)| heading.level <= *level) {
            self.batch = None;
        }
        self.section = Some(heading.text);
        if heading.level > 1 && self.batch.is_none() {
            let title = self.source.shown(title);
            self.begin_batch(heading.level, None, title);
        }
    }

    /// A heading within a stream may name a field, as in `#### Tasks`.
    fn subsection(&mut self, heading: Heading, line: Line<'s>) {
        let at = Place { columns: 0, bulleted: false, heading: true, line };
        let text = self.source.slice(heading.text);
        if let Some(named) = field::read(text, heading.text.start, false) {
            self.field(&named, at);
            return;
        }
        let whole = heading.text;
        let named = FieldLine {
            kind: FieldKind::by_name(&Plain::of(text, whole.start).text),
            name: whole.narrow(text, heading::strip_emphasis(text)),
            value: Span::new(whole.end, whole.end),
            emphasized: false,
        };
        self.field(&named, at);
    }

    fn begin_batch(&mut self, level: usize, number: Option<u32>, title: String) {
        self.batch = Some((level, BatchRef { number, title, position: self.batches }));
        self.batches = self.batches.saturating_add(1);
    }

    fn begin(&mut self, heading: StreamHeading, level: usize, line: Line<'s>) {
        // `## Phase 1: Foundation` above `### 1.1 …` was no stream but their batch.
        if let Some(open) = self.open.take() {
            if level > open.level && says_nothing(&open.stream) {
                self.begin_batch(open.level, open.stream.id.as_number(), open.stream.name);
            } else {
                self.open = Some(open);
            }
        }
        self.close(line.start);
        self.section = None;
        let name = self.source.shown(&heading.name);
        if name.is_empty() {
            self.parsed.diagnostics.add(Rule::MissingName, heading.id_span, || {
                "this work stream has no name".to_owned()
            });
        }
        let stream = WorkStream {
            name: if name.is_empty() { heading.id.to_string() } else { name },
            id: heading.id,
            batch: self.batch_at(level),
            tag: heading.tag,
            status: super::status::Status::NotStarted,
            on_hold: None,
            assigned_to: None,
            depends_on: Vec::new(),
            depends_text: None,
            effort: None,
            done_when: None,
            quality_gates: None,
            completed: None,
            completed_by: None,
            fields: Vec::new(),
            tasks: Vec::new(),
            design_notes: None,
            line: line.number,
            layout: Layout {
                section: Span::new(line.start, line.next),
                id: heading.id_span,
                heading_next: line.next,
                heading_mark: heading.mark,
                fields: Vec::new(),
                task_marks: Vec::new(),
                task_lines: Vec::new(),
            },
        };
        self.open = Some(Open { level, stream, indents: Vec::new(), field: None, wraps: None });
    }

    /// The batch of a stream whose heading has this level. A section without a number is only one
    /// if it is above the stream, not beside it.
    fn batch_at(&self, level: usize) -> Option<BatchRef> {
        let (of_batch, batch) = self.batch.as_ref()?;
        (batch.number.is_some() || *of_batch < level).then(|| batch.clone())
    }

    /// Reads `[x] text` behind a bullet.
    fn task(&mut self, body: Span, at: Place<'s>) -> bool {
        let text = self.source.slice(body);
        let Some(read) = task::read(text) else { return false };
        let mark = Span::new(body.start + 1, body.start + 1 + read.inside.len());
        let rest = body.narrow(text, read.text);
        if self.lists_dependency(at.columns) {
            self.continuation(rest, at);
            return true;
        }
        let taken = match read.mark {
            Mark::Open | Mark::Done => None,
            Mark::Ambiguous => {
                Some("; write `[~]` if it was begun, and take out what was given up")
            }
            Mark::Unreadable => Some("; write `[ ]`, `[~]` or `[x]`"),
        };
        if let Some(advice) = taken {
            self.parsed.diagnostics.add(Rule::UnreadableTaskMark, mark, || {
                let quoted = super::diagnostic::quote(read.inside);
                format!("the mark {quoted} is taken for an open task{advice}")
            });
        }
        let (text, done) = (self.source.string(rest), read.mark == Mark::Done);
        match &mut self.open {
            Some(open) => {
                let depth = task::nest(&mut open.indents, at.columns);
                open.stream.tasks.push(TaskItem { text, done, depth, line: at.line.number });
                open.stream.layout.task_marks.push(mark);
                let lines = Span::new(at.line.start, at.line.next);
                open.stream.layout.task_lines.push(lines);
                open.wraps = Some(at.columns);
                extend(open, at);
            }
            None => {
                self.outside.count += 1;
                if self.outside.count == 1 {
                    self.outside.first = body;
                }
                let depth = task::nest(&mut self.outside.indents, at.columns);
                self.parsed.backlog.push(TaskItem { text, done, depth, line: at.line.number });
            }
        }
        true
    }

    /// Whether a bullet at this indentation lists something depended on.
    fn lists_dependency(&self, columns: usize) -> bool {
        let field = self.open.as_ref().and_then(Open::record);
        field.is_some_and(|field| {
            let below = columns > field.indent || (!field.bulleted && field.value.is_empty());
            field.kind == FieldKind::DependsOn && below
        })
    }

    /// Says what was found outside of any stream since the last heading.
    fn end_outside(&mut self) {
        let Outside { count, first, .. } = std::mem::take(&mut self.outside);
        if count > 0 {
            self.parsed.diagnostics.add(Rule::TasksOutsideStreams, first, || {
                match count {
                    1 => "this task belongs to no work stream; it is kept as backlog, and nothing runs it".to_owned(),
                    _ => format!("{count} tasks from here on belong to no work stream; they are kept as backlog, and nothing runs them"),
                }
            });
        }
    }

    /// Whether a line that looks like a field is one of the stream's own, not a remark below one.
    fn takes_field(&mut self, named: &FieldLine, at: Place<'s>) -> bool {
        let Some(open) = &self.open else {
            if named.kind == FieldKind::Status
                && let Some(section) = self.section.take()
            {
                self.parsed.diagnostics.add(Rule::StreamWithoutId, section, || {
                    "this section has a status but no id, so it is no work stream; \
                     write `### 1.2: Name`"
                        .to_owned()
                });
            }
            return false;
        };
        let Some(above) = open.record() else { return true };
        let known = named.kind != FieldKind::Other;
        let within =
            if above.bulleted { at.columns > above.indent + 1 } else { at.bulleted && !known };
        if !within {
            return true;
        }
        // A filled value has no lines below it, and tasks have marks: the line is only indented badly.
        let filled = above.kind.is_scalar() && !above.value.is_empty();
        let missing = open.stream.layout.field(named.kind).is_none();
        filled || (above.kind == FieldKind::Tasks && known && named.emphasized && missing)
    }

    fn field(&mut self, named: &FieldLine, at: Place<'s>) {
        let Some(open) = &mut self.open else { return };
        open.indents.clear();
        open.wraps = None;
        let single = named.kind.is_scalar() && named.kind != FieldKind::DependsOn;
        if single && open.stream.layout.field(named.kind).is_some() {
            let name = self.source.slice(named.name);
            self.parsed.diagnostics.add(Rule::DuplicateField, named.name, || {
                let name = super::diagnostic::quote(name);
                format!("{name} stands here a second time; the first one counts")
            });
        }
        open.field = Some(open.stream.layout.fields.len());
        open.stream.layout.fields.push(FieldRecord {
            kind: named.kind,
            line_start: at.line.start,
            name: named.name,
            value: named.value,
            line_end: at.line.end(),
            block_end: at.line.next,
            pieces: vec![named.value],
            line: at.line.number,
            indent: at.columns,
            bulleted: at.bulleted,
            heading: at.heading,
        });
    }

    /// A line that begins nothing belongs to the field above it.
    fn continuation(&mut self, body: Span, at: Place<'s>) {
        let Some(open) = &mut self.open else { return };
        let Some(record) = open.record_mut() else { return };
        let filled = record.kind.is_scalar() && record.pieces.iter().any(|piece| !piece.is_empty());
        if filled && record.kind != FieldKind::DependsOn {
            return;
        }
        let slice = self.source.slice(body);
        let rule = slice.len() >= 3 && slice.trim_matches(['-', '*', '_', ' ']).is_empty();
        let below = at.columns > record.indent || !record.bulleted;
        // A list may go on behind a blank line, but prose there tells something else.
        let listed = at.bulleted && record.value.is_empty();
        let apart = filled && self.above == Above::Blank && at.columns <= record.indent;
        let below = below && (!apart || listed || record.heading);
        if rule || !(below || (!at.bulleted && self.above != Above::Blank)) {
            open.field = None;
            return;
        }
        record.pieces.push(body.narrow(slice, slice.trim()));
        record.block_end = at.line.next;
    }

    fn close(&mut self, end: usize) {
        let Some(mut open) = self.open.take() else { return };
        open.stream.layout.section.end = end;
        super::value::fill(&mut open.stream, self.source, &mut self.parsed.diagnostics);
        self.parsed.streams.push(open.stream);
    }
}

/// Where on its line a text stands.
#[derive(Debug, Clone, Copy)]
struct Place<'s> {
    /// Columns before the bullet or the text.
    columns: usize,
    bulleted: bool,
    /// It is a heading's.
    heading: bool,
    line: Line<'s>,
}

impl Open {
    fn record(&self) -> Option<&FieldRecord> {
        self.field.and_then(|index| self.stream.layout.fields.get(index))
    }

    fn record_mut(&mut self) -> Option<&mut FieldRecord> {
        self.field.and_then(|index| self.stream.layout.fields.get_mut(index))
    }
}

/// A task belongs to the field that it stands below.
fn extend(open: &mut Open, at: Place<'_>) {
    if let Some(record) = open.record_mut() {
        let below =
            at.columns > record.indent || record.kind == FieldKind::Tasks || !record.bulleted;
        if below && !record.kind.is_scalar() {
            record.block_end = at.line.next;
        } else {
            open.field = None;
        }
    }
}

/// A heading with nothing below it.
fn says_nothing(stream: &WorkStream) -> bool {
    stream.layout.fields.is_empty() && stream.tasks.is_empty()
}
