//! Reading the lines of a roadmap into work streams, in one pass.
//!
//! What a line is depends on what came before it: a fence, a comment, a stream, a field. What the
//! streams' relations amount to is not looked at here; see [`super::check`].

use super::block::{self, Fences, Outlook};
use super::dependency::Reference;
use super::diagnostic::{Collector, Rule};
use super::field::{self, FieldKind, FieldLine};
use super::heading::{self, Announces, Heading, StreamHeading};
use super::source::{Line, Source, Span};
use super::stream::{BatchRef, FieldRecord, Layout, TaskItem, WorkStream};

/// What a check mark is at most long; more is text in brackets.
const MARK_CHARS_MAX: usize = 3;

/// What was read, before it is related.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) streams: Vec<WorkStream>,
    /// For each stream what its dependencies refer to.
    pub(super) references: Vec<Vec<Reference>>,
    pub(super) backlog: Vec<TaskItem>,
    pub(super) diagnostics: Collector,
}

#[derive(Debug)]
pub(super) struct Parser<'s> {
    source: &'s Source<'s>,
    fences: Fences,
    parsed: Parsed,
    code: Option<Code>,
    /// Offset behind a comment that spans lines.
    comment_end: usize,
    comments_close: bool,
    batch: Option<(usize, BatchRef)>,
    batches: u32,
    /// The heading of the section outside of any stream, while nothing was said of it.
    section: Option<Span>,
    open: Option<Open>,
    /// Indentations of the tasks above, outside of any stream.
    backlog_indents: Vec<usize>,
}

/// Fenced code that is being skipped.
#[derive(Debug, Clone, Copy)]
struct Code {
    mark: u8,
    length: usize,
    /// No line closes it: it ends at the next heading.
    endless: bool,
}

/// A work stream that is being read.
#[derive(Debug)]
struct Open {
    level: usize,
    stream: WorkStream,
    indents: Vec<usize>,
    /// Index of the field that following lines belong to.
    field: Option<usize>,
}

impl<'s> Parser<'s> {
    pub(super) fn run(source: &'s Source<'s>) -> Parsed {
        let mut parser = Self {
            source,
            fences: Fences::find(source),
            parsed: Parsed::default(),
            code: None,
            comment_end: 0,
            comments_close: true,
            batch: None,
            batches: 0,
            section: None,
            open: None,
            backlog_indents: Vec::new(),
        };
        let mut end = 0;
        for line in source.lines() {
            parser.line(line);
            end = line.next;
        }
        parser.close(end);
        parser.parsed
    }

    fn line(&mut self, line: Line<'s>) {
        if line.start < self.comment_end || self.in_code(line) || self.opens_comment(line) {
            return;
        }
        if let Some(heading) = heading::read_line(line.text, line.start) {
            if self.heading(heading, line) {
                return;
            }
        }
        let (columns, bytes) = block::indentation(line.text);
        let content = &line.text[bytes..];
        if content.is_empty() {
            return;
        }
        let bullet = block::bullet(content).unwrap_or(0);
        let body = Span::new(line.start + bytes + bullet, line.end());
        if bullet > 0 && self.task(body, columns, line) {
            return;
        }
        let named = field::read(self.source.slice(body), body.start, bullet > 0);
        match named {
            Some(named) if self.takes_field(&named, columns) => {
                self.field(&named, columns, bullet > 0, line)
            }
            Some(_) | None => self.continuation(body, columns, line),
        }
    }

    /// Whether the line is fenced code or one of its fences.
    fn in_code(&mut self, line: Line<'s>) -> bool {
        let fence = block::fence(line.text);
        match (self.code, fence) {
            (Some(code), _) if code.endless && self.is_structure(line) => {
                self.code = None;
                return false;
            }
            (Some(code), Some(fence)) => {
                if fence.bare && fence.mark == code.mark && fence.length >= code.length {
                    self.code = None;
                }
            }
            (Some(_), None) => {}
            (None, Some(fence)) => {
                let endless = self.fences.outlook(line.number) == Outlook::NeverClosed;
                if endless {
                    let span = Span::new(line.start, line.end());
                    self.parsed.diagnostics.add(Rule::UnclosedFence, span, || {
                        "this code fence is never closed; it is taken to end at the next heading".to_owned()
                    });
                }
                self.code = Some(Code { mark: fence.mark, length: fence.length, endless });
            }
            (None, None) => return false,
        }
        self.keep_code(line);
        true
    }

    /// A heading that announces a stream or a batch.
    fn is_structure(&self, line: Line<'s>) -> bool {
        heading::read_line(line.text, line.start).is_some_and(|heading| {
            let announced = heading::read(self.source.slice(heading.text), heading.text.start);
            heading.spaced && matches!(announced, Announces::Stream(_) | Announces::Batch { .. })
        })
    }

    /// Code belongs to the field that it stands in.
    fn keep_code(&mut self, line: Line<'s>) {
        let Some(open) = &mut self.open else { return };
        if let Some(record) = open.field.and_then(|index| open.stream.layout.fields.get_mut(index))
            && !record.kind.is_scalar()
        {
            record.pieces.push(Span::new(line.start, line.end()));
            record.block_end = line.next;
        }
    }

    fn opens_comment(&mut self, line: Line<'s>) -> bool {
        let Some(at) = line.text.find("<!--").filter(|_| self.comments_close) else { return false };
        if line.text[at..].contains("-->") {
            // A comment within a line hides the line only when nothing else stands on it.
            let rest = line.text.trim();
            return rest.starts_with("<!--") && rest.find("-->") == Some(rest.len() - 3);
        }
        let start = line.start + at;
        match self.source.text()[start..].find("-->") {
            Some(length) => self.comment_end = start + length + 3,
            None => {
                self.comments_close = false;
                self.parsed.diagnostics.add(
                    Rule::UnclosedComment,
                    Span::new(start, line.end()),
                    || {
                        "this comment is never closed; what follows is read as if it weren't one"
                            .to_owned()
                    },
                );
            }
        }
        at == line.text.len() - line.text.trim_start().len()
    }

    /// Whether the line really is a heading.
    fn heading(&mut self, heading: Heading, line: Line<'s>) -> bool {
        let announced = heading::read(self.source.slice(heading.text), heading.text.start);
        if !heading.spaced {
            if !matches!(announced, Announces::Stream(_)) {
                return false;
            }
            let span = Span::new(line.start, line.end());
            self.parsed.diagnostics.add(Rule::HeadingWithoutSpace, span, || {
                "a heading needs a space behind its `#` marks".to_owned()
            });
        }
        self.backlog_indents.clear();
        match announced {
            Announces::Stream(stream) if self.is_part_of_open(&stream, heading.level) => {
                self.subsection(heading, line);
            }
            Announces::Stream(stream) => self.begin(stream, heading.level, line),
            Announces::Batch { number, title } => {
                self.close(line.start);
                let title = self.source.string(title);
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
            Announces::Section => self.plain_section(heading, line),
        }
        true
    }

    /// `#### Step 1: …` within `### Phase 1.2: …` is a part of it, no stream of its own.
    fn is_part_of_open(&self, stream: &StreamHeading, level: usize) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| level > open.level && stream.id.depth() < open.stream.id.depth())
    }

    fn plain_section(&mut self, heading: Heading, line: Line<'s>) {
        if self.open.as_ref().is_some_and(|open| heading.level > open.level) {
            self.subsection(heading, line);
            return;
        }
        self.close(line.start);
        if self.batch.as_ref().is_some_and(|(level, _)| heading.level <= *level) {
            self.batch = None;
        }
        self.section = Some(heading.text);
        if heading.level > 1 && self.batch.is_none() {
            let title = self.source.string(heading.text);
            self.begin_batch(heading.level, None, title);
        }
    }

    /// A heading within a stream may name a field, as in `#### Tasks`.
    fn subsection(&mut self, heading: Heading, line: Line<'s>) {
        let Some(open) = &mut self.open else { return };
        let name = self.source.slice(heading.text).trim_end_matches([':', ' ']);
        open.field = None;
        open.indents.clear();
        let kind = FieldKind::by_name(name);
        let value = Span::new(heading.text.end, heading.text.end);
        push_field(open, kind, heading.text, value, line, 0, false);
    }

    fn begin_batch(&mut self, level: usize, number: Option<u32>, title: String) {
        self.batch = Some((level, BatchRef { number, title, position: self.batches }));
        self.batches = self.batches.saturating_add(1);
    }

    fn begin(&mut self, heading: StreamHeading, level: usize, line: Line<'s>) {
        // `## Phase 1: Foundation` above `### 1.1 …` was no stream but their batch.
        if let Some(open) = self.open.take() {
            if level > open.level && open.stream.id.depth() == 1 && says_nothing(&open.stream) {
                self.begin_batch(open.level, open.stream.id.as_number(), open.stream.name);
            } else {
                self.open = Some(open);
            }
        }
        self.close(line.start);
        self.section = None;
        let name = self.source.string(heading.name);
        if name.is_empty() {
            self.parsed.diagnostics.add(Rule::MissingName, heading.id_span, || {
                "this work stream has no name".to_owned()
            });
        }
        let stream = WorkStream {
            name: if name.is_empty() { heading.id.to_string() } else { name },
            id: heading.id,
            batch: self.batch.as_ref().map(|(_, batch)| batch.clone()),
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
            },
        };
        self.open = Some(Open { level, stream, indents: Vec::new(), field: None });
    }

    /// Reads `[x] text` behind a bullet.
    fn task(&mut self, body: Span, columns: usize, line: Line<'s>) -> bool {
        let text = self.source.slice(body);
        let Some(inner) = text.strip_prefix('[') else { return false };
        let Some((mark, rest)) = inner.split_once(']') else { return false };
        let separate = rest.is_empty() || rest.starts_with([' ', '\t', '\u{A0}']);
        if !separate || mark.chars().filter(|c| *c != '\u{FE0F}').count() > MARK_CHARS_MAX {
            return false;
        }
        let span = Span::new(body.start + 1, body.start + 1 + mark.len());
        let done = match mark.trim().trim_end_matches('\u{FE0F}') {
            "" => false,
            "x" | "X" | "✅" | "✓" | "✔" | "☑" => true,
            odd => {
                self.parsed.diagnostics.add(Rule::UnreadableTaskMark, span, || {
                    let quoted = super::diagnostic::quote(odd);
                    format!("the mark {quoted} is taken for an open task; write `[ ]` or `[x]`")
                });
                false
            }
        };
        let text = self.source.string(body.narrow(text, rest.trim()));
        match &mut self.open {
            Some(open) => {
                let depth = nest(&mut open.indents, columns);
                open.stream.tasks.push(TaskItem { text, done, depth, line: line.number });
                open.stream.layout.task_marks.push(span);
                if let Some(record) =
                    open.field.and_then(|index| open.stream.layout.fields.get_mut(index))
                {
                    record.block_end = line.next;
                }
            }
            None => {
                if self.parsed.backlog.is_empty() {
                    self.parsed.diagnostics.add(Rule::TasksOutsideStreams, body, || {
                        "tasks outside of a work stream are kept as backlog; nobody works on them".to_owned()
                    });
                }
                let depth = nest(&mut self.backlog_indents, columns);
                self.parsed.backlog.push(TaskItem { text, done, depth, line: line.number });
            }
        }
        true
    }

    /// Whether a line that looks like a field is one of the stream's own, not a remark below one.
    fn takes_field(&mut self, named: &FieldLine, columns: usize) -> bool {
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
        let outermost = open.stream.layout.fields.iter().map(|record| record.indent).min();
        let Some(outermost) = outermost else { return true };
        if columns <= outermost + 1 {
            return true;
        }
        // Deeper lines belong to the field above, unless they are what the field can't have.
        let above = open.field.and_then(|index| open.stream.layout.fields.get(index));
        above.is_none() && named.emphasized
    }

    fn field(&mut self, named: &FieldLine, columns: usize, bulleted: bool, line: Line<'s>) {
        let Some(open) = &mut self.open else { return };
        open.indents.clear();
        if named.kind != FieldKind::Other && open.stream.layout.field(named.kind).is_some() {
            let name = self.source.string(named.name);
            self.parsed.diagnostics.add(Rule::DuplicateField, named.name, || {
                let name = super::diagnostic::quote(&name);
                format!("{name} stands here a second time; the first one counts")
            });
        }
        push_field(open, named.kind, named.name, named.value, line, columns, bulleted);
    }

    /// A line that begins nothing belongs to the field above it.
    fn continuation(&mut self, body: Span, columns: usize, line: Line<'s>) {
        let Some(open) = &mut self.open else { return };
        let Some(record) = open.field.and_then(|index| open.stream.layout.fields.get_mut(index))
        else {
            return;
        };
        let filled = record.kind.is_scalar() && record.pieces.iter().any(|piece| !piece.is_empty());
        if filled && record.kind != FieldKind::DependsOn {
            return;
        }
        if columns > record.indent || !record.bulleted {
            let slice = self.source.slice(body);
            let rule = slice.trim_matches(['-', '*', '_', ' ']).is_empty() && slice.len() >= 3;
            if !rule {
                record.pieces.push(body.narrow(slice, slice.trim()));
                record.block_end = line.next;
            }
        }
    }

    fn close(&mut self, end: usize) {
        let Some(mut open) = self.open.take() else { return };
        open.stream.layout.section.end = end;
        let references =
            super::value::fill(&mut open.stream, self.source, &mut self.parsed.diagnostics);
        self.parsed.streams.push(open.stream);
        self.parsed.references.push(references);
    }
}

fn push_field(
    open: &mut Open,
    kind: FieldKind,
    name: Span,
    value: Span,
    line: Line<'_>,
    indent: usize,
    bulleted: bool,
) {
    open.field = Some(open.stream.layout.fields.len());
    open.stream.layout.fields.push(FieldRecord {
        kind,
        line_start: line.start,
        name,
        value,
        line_end: line.end(),
        block_end: line.next,
        pieces: vec![value],
        line: line.number,
        indent,
        bulleted,
    });
}

/// A heading with nothing below it.
fn says_nothing(stream: &WorkStream) -> bool {
    stream.layout.fields.is_empty() && stream.tasks.is_empty()
}

/// The depth of a task by the indentations of those above it.
fn nest(indents: &mut Vec<usize>, columns: usize) -> u32 {
    while indents.last().is_some_and(|above| *above >= columns) {
        indents.pop();
    }
    let depth = u32::try_from(indents.len()).unwrap_or(u32::MAX);
    indents.push(columns);
    depth
}
