//! How this file writes what an edit has to write: its words, signs, marks and the shape of a line.

use std::collections::BTreeMap;

use super::says_nobody;
use crate::roadmap::block;
use crate::roadmap::field::FieldKind;
use crate::roadmap::heading::strip_emphasis;
use crate::roadmap::source::{Source, Span};
use crate::roadmap::status::{self, Reading, Status};
use crate::roadmap::stream::{FieldRecord, WorkStream};

const DEFAULT_DONE_MARK: &str = "x";

/// Words that say no more than the status itself, so that they may be written for it.
const PLAIN_WORDS: [&str; 10] = [
    "complete",
    "completed",
    "done",
    "finished",
    "in progress",
    "wip",
    "not started",
    "to do",
    "open",
    "blocked",
];

pub(super) struct Dialect<'a> {
    streams: &'a [WorkStream],
    source: &'a Source<'a>,
}

impl<'a> Dialect<'a> {
    pub(super) fn new(streams: &'a [WorkStream], source: &'a Source<'a>) -> Self {
        Self { streams, source }
    }

    fn readings(&self) -> impl Iterator<Item = Reading> + '_ {
        self.values(FieldKind::Status).filter_map(|span| {
            status::read(self.source.slice(span), span.start).filter(|reading| !reading.conflict)
        })
    }

    /// The values of all fields of a kind.
    fn values(&self, kind: FieldKind) -> impl Iterator<Item = Span> + '_ {
        let records = self.streams.iter().filter_map(move |stream| stream.layout.field(kind));
        records.map(FieldRecord::first_value)
    }

    /// A whole status, with sign and words if the file mostly has both.
    pub(super) fn status(&self, status: Status) -> String {
        let (mut both, mut words, mut signs) = (0_usize, 0_usize, 0_usize);
        for reading in self.readings() {
            match (reading.sign, reading.word) {
                (Some(_), Some(_)) => both += 1,
                (None, _) => words += 1,
                (Some(_), None) => signs += 1,
            }
        }
        if both >= words && both >= signs {
            format!("{} {}", self.sign(status, None), self.words(status, None))
        } else if words >= signs {
            self.words(status, None)
        } else {
            self.sign(status, None).to_owned()
        }
    }

    /// The sign for a status, of the kind of the one that stands there now.
    pub(super) fn sign(&self, status: Status, now: Option<&str>) -> &'a str {
        let mut all = self.readings().filter(|reading| reading.status == status);
        let used = all.find_map(|reading| reading.sign).map(|span| self.source.slice(span));
        let named = |sign: &str| sign.starts_with(':');
        match (used, now) {
            (Some(used), None) => used,
            (Some(used), Some(now)) if named(used) == named(now) => used,
            (_, Some(now)) if named(now) => status.sign_name(),
            (Some(_) | None, _) => status.sign(),
        }
    }

    /// The words for a status, in the case of those that stand there now.
    pub(super) fn words(&self, status: Status, now: Option<&str>) -> String {
        let mut all = self.readings().filter(|reading| reading.status == status);
        let used = all.find_map(|reading| {
            let word = self.source.slice(reading.word?);
            PLAIN_WORDS.iter().any(|plain| status::is_phrase(word, plain)).then_some(word)
        });
        match (used, now) {
            (Some(used), _) => used.to_owned(),
            (None, Some(now)) => in_case_of(now, status.words()),
            (None, None) => status.words().to_owned(),
        }
    }

    /// The word for nobody.
    pub(super) fn nobody(&self) -> &'a str {
        self.values(FieldKind::AssignedTo)
            .map(|span| strip_emphasis(self.source.slice(span)))
            .find(|value| says_nobody(value))
            .unwrap_or("Unassigned")
    }

    /// The mark of a task that is done: the stream's own, else the one most used in the file.
    pub(super) fn done_mark(&self, stream: &WorkStream) -> &'a str {
        if let Some(own) = self.done_marks(stream).next() {
            return own;
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for mark in self.streams.iter().flat_map(|stream| self.done_marks(stream)) {
            *counts.entry(mark).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map_or(DEFAULT_DONE_MARK, |(mark, _)| mark)
    }

    fn done_marks(&self, stream: &WorkStream) -> impl Iterator<Item = &'a str> {
        let marks = stream.tasks.iter().zip(&stream.layout.task_marks);
        marks.filter(|(task, _)| task.done).map(|(_, span)| self.source.slice(*span))
    }

    /// A line for a field, in the style of the one beside it, else of any other.
    pub(super) fn line(
        &self,
        stream: &WorkStream,
        beside: Option<&FieldRecord>,
        kind: FieldKind,
        value: &str,
    ) -> String {
        let is_line = |field: &&FieldRecord| !field.heading;
        let style = match beside.filter(is_line) {
            Some(field) => self.style(field),
            None => {
                let own = stream.layout.fields.iter().find(is_line);
                let any = || self.streams.iter().flat_map(|s| &s.layout.fields).find(is_line);
                // Right below a heading nothing is indented.
                let style = own.or_else(any).map_or(Style::DEFAULT, |field| self.style(field));
                Style { indent: "", ..style }
            }
        };
        let Style { indent, bullet, open, separator, close } = style;
        let name = self.name(kind);
        format!("{indent}{bullet}{open}{name}{separator}{value}{close}")
    }

    /// What the file calls a field.
    fn name(&self, kind: FieldKind) -> &'a str {
        let record = self.streams.iter().find_map(|stream| stream.layout.field(kind));
        record.map_or(kind.default_name(), |record| self.source.slice(record.name))
    }

    fn style(&self, field: &FieldRecord) -> Style<'a> {
        let lead = self.source.slice(Span::new(field.line_start, field.name.start));
        let quote = block::quote(lead).unwrap_or(0);
        let indent = quote + block::indentation(&lead[quote..]).1;
        let bullet = if field.bulleted { block::bullet(&lead[indent..]).unwrap_or(0) } else { 0 };
        let unemphasized = lead.trim_end_matches(['*', '_']).len().max(indent + bullet);
        let open = &lead[unemphasized..];
        let behind = self.source.slice(Span::new(field.name.end, field.line_end));
        let before_value = field.value.start.saturating_sub(field.name.end);
        let separator = &behind[..before_value];
        let close = self.source.slice(Span::new(field.value.end, field.line_end));
        let plain = close.trim_start_matches(['*', '_']).trim().is_empty();
        Style {
            indent: &lead[..indent],
            bullet: &lead[indent..indent + bullet],
            open,
            separator: if field.value.is_empty() { "" } else { separator },
            close: if plain && !field.value.is_empty() { close } else { "" },
        }
        .completed()
    }
}

/// The parts of a field's line around name and value.
#[derive(Debug, Clone, Copy)]
struct Style<'a> {
    indent: &'a str,
    bullet: &'a str,
    open: &'a str,
    separator: &'a str,
    close: &'a str,
}

impl Style<'_> {
    const DEFAULT: Self =
        Style { indent: "", bullet: "- ", open: "**", separator: ":** ", close: "" };

    /// A field without a value does not show how one is set off.
    fn completed(self) -> Self {
        if !self.separator.is_empty() {
            return self;
        }
        let separator = match self.open {
            "" => ": ",
            "*" => ":* ",
            "_" => ":_ ",
            "__" => ":__ ",
            "***" => ":*** ",
            "___" => ":___ ",
            _ => return Style { open: "**", separator: ":** ", ..self },
        };
        Style { separator, ..self }
    }
}

/// `words` in the case, and with the joint, of `now`.
fn in_case_of(now: &str, words: &str) -> String {
    let has = |test: fn(&char) -> bool| now.chars().any(|c| test(&c));
    let lower = has(|c| c.is_lowercase());
    let upper = has(|c| c.is_uppercase());
    let joint = now.chars().find(|c| !c.is_alphanumeric()).filter(|c| matches!(c, '_' | '-'));
    let words =
        joint.map_or_else(|| words.to_owned(), |joint| words.replace(' ', &joint.to_string()));
    match (lower, upper) {
        (true, false) => words.to_lowercase(),
        (false, true) => words.to_uppercase(),
        (true, true) | (false, false) => words,
    }
}
