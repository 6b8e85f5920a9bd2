//! The bytes of a roadmap as text, without losing the place of any byte.
//!
//! Every span of the parser is a range of the *original* bytes, because edits must leave all other
//! bytes alone. Bytes that are no UTF-8 are therefore replaced one for one.

use std::borrow::Cow;

/// Stands in for one byte that is no UTF-8. One byte wide, so that offsets stay true.
const SUBSTITUTE: char = '\u{1A}';

const BOM: &str = "\u{FEFF}";

/// A range of bytes in the original file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub(super) fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The part of this span that is left when `inner`, a slice of `outer`, is what remains of it.
    pub(super) fn narrow(self, outer: &str, inner: &str) -> Self {
        let skipped = (inner.as_ptr() as usize).saturating_sub(outer.as_ptr() as usize);
        Self { start: self.start + skipped, end: self.start + skipped + inner.len() }
    }
}

/// A roadmap's text and where its bytes had to be replaced.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: Cow<'a, str>,
    /// Offset of each run of bytes that is no UTF-8.
    pub(super) invalid: Vec<usize>,
}

/// One line, without its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'t> {
    pub(super) text: &'t str,
    /// Offset of the first byte.
    pub(super) start: usize,
    /// Offset of the first byte of the next line.
    pub(super) next: usize,
    /// From 1.
    pub(super) number: u32,
}

impl Line<'_> {
    /// Offset just behind the text, before the line end.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

impl<'a> Source<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Self { text: Cow::Borrowed(text), invalid: Vec::new() };
        }
        let mut text = String::with_capacity(bytes.len());
        let mut invalid = Vec::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                invalid.push(text.len());
                text.extend(chunk.invalid().iter().map(|_| SUBSTITUTE));
            }
        }
        Self { text: Cow::Owned(text), invalid }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text of `span`, with U+FFFD for each byte that was no UTF-8.
    pub(super) fn string(&self, span: Span) -> String {
        self.shown(&self.text[span.start..span.end])
    }

    /// The same of a text that was made of this one.
    pub(super) fn shown(&self, text: &str) -> String {
        if self.invalid.is_empty() { text.to_owned() } else { text.replace(SUBSTITUTE, "\u{FFFD}") }
    }

    pub(super) fn slice(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    pub(super) fn lines(&self) -> Lines<'_> {
        Lines { text: &self.text, position: content_start(&self.text), number: 0 }
    }
}

/// Offset of the first byte behind a byte order mark.
pub(super) fn content_start(text: &str) -> usize {
    if text.starts_with(BOM) { BOM.len() } else { 0 }
}

/// Lines that end with LF, CRLF or a lone CR, in any mixture.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    position: usize,
    number: u32,
}

impl<'t> Iterator for Lines<'t> {
    type Item = Line<'t>;

    fn next(&mut self) -> Option<Line<'t>> {
        let rest = &self.text[self.position..];
        if rest.is_empty() {
            return None;
        }
        let length =
            rest.bytes().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let ending = match rest.as_bytes()[length..] {
            [b'\r', b'\n', ..] => 2,
            [_, ..] => 1,
            [] => 0,
        };
        let start = self.position;
        self.position = start + length + ending;
        self.number = self.number.saturating_add(1);
        Some(Line { text: &rest[..length], start, next: self.position, number: self.number })
    }
}
