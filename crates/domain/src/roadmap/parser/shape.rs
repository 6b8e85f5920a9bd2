//! Lines whose meaning depends on those around them: underlined headings and block quotes.
//!
//! Both are Markdown that people write seldom, and by accident as well: a rule right below a sentence
//! makes it a heading, and a quote may cite another roadmap. So they count where they can't have been
//! meant otherwise, and are told where they could.

use super::super::block;
use super::super::diagnostic::Rule;
use super::super::field::{self, FieldKind};
use super::super::heading::{self, Announces, Heading};
use super::super::source::{Line, Source, Span};
use super::super::task;
use super::{Above, Parser, Place};

/// A line that the next one underlines.
pub(super) enum Underlined<'s> {
    /// A heading, and both lines as one.
    Heading(Heading, Line<'s>),
    /// It begins like a work stream's heading, but goes on like a sentence above a rule.
    Sentence(Span),
}

/// What the block quote that the last line was part of turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    /// There is none.
    Outside,
    /// So far, text.
    Text,
    /// Fields or tasks.
    Structure,
    /// It cites a work stream.
    Cited,
}

/// Start of the line that ends the front matter of the file. It underlines nothing.
pub(super) fn front_matter_end(source: &Source<'_>) -> Option<usize> {
    let mut rules = source.lines().filter(|line| line.text.trim_end() == "---");
    let first = rules.next().filter(|line| line.number == 1);
    first.and_then(|_| rules.next()).map(|line| line.start)
}

impl<'s> Parser<'s> {
    pub(super) fn announces(&self, heading: Heading) -> Announces {
        heading::read(self.source.slice(heading.text), heading.text.start)
    }

    /// Reads the line as a heading that the next one underlines.
    pub(super) fn underlined(&self, line: Line<'s>) -> Option<Underlined<'s>> {
        let under = self.ahead?;
        let level = heading::underline(under.text)?;
        let (indent, offset) = block::indentation(line.text);
        let content = line.text[offset..].trim_end();
        let listed = indent > block::indentation(under.text).0;
        let begins_other = content.is_empty()
            || content.starts_with(['>', '|'])
            || block::bullet(content).is_some()
            || heading::underline(content).is_some();
        if begins_other || indent > 3 || listed || self.front_matter_end == Some(under.start) {
            return None;
        }
        let start = line.start + offset;
        let text = Span::new(start, start + content.len());
        let heading = Heading { level, indent, spaced: true, text };
        let structure = self.announces(heading).is_structure();
        if !structure && field::read(content, start, false).is_some() {
            return None;
        }
        // `===` means nothing else. `---` is a rule as well, which nobody wants to end a paragraph.
        if level > 1 {
            let sentence = content.ends_with(['.', ',', ';', ':', '!', '?']);
            if sentence && structure {
                return Some(Underlined::Sentence(text));
            }
            if sentence || (self.above == Above::Text && !structure) {
                return None;
            }
        }
        let both = &self.source.text()[line.start..under.end()];
        Some(Underlined::Heading(heading, Line { text: both, next: under.next, ..line }))
    }

    /// Whether the line was a heading that the next one underlines.
    pub(super) fn underlined_heading(&mut self, line: Line<'s>) -> bool {
        match self.underlined(line) {
            Some(Underlined::Heading(heading, both)) => {
                self.hidden_to = both.next;
                self.heading(heading, both)
            }
            Some(Underlined::Sentence(span)) => {
                self.parsed.diagnostics.add(Rule::AmbiguousHeading, span, || {
                    "this is underlined like a heading but ends like a sentence, so it is taken \
                     for text above a rule; a work stream begins with `## Phase 1.2: Name`"
                        .to_owned()
                });
                false
            }
            None => false,
        }
    }

    /// Whether the line was part of a block quote that holds fields or tasks.
    pub(super) fn quoted(&mut self, line: Line<'s>) -> bool {
        let Some(length) = block::quote(line.text) else {
            self.quote = Quote::Outside;
            return false;
        };
        if self.quote == Quote::Outside {
            self.quote = Quote::Text;
        }
        let inner = &line.text[length..];
        let start = line.start + length;
        let heading = heading::read_line(inner, start).filter(|heading| heading.spaced);
        if let Some(heading) = heading.filter(|heading| self.announces(*heading).is_structure()) {
            self.quote = Quote::Cited;
            self.parsed.diagnostics.add(Rule::QuotedHeading, heading.text, || {
                "a heading in a block quote begins no work stream; take the `>` away if it is to \
                 begin one"
                    .to_owned()
            });
        }
        let (columns, bytes) = block::indentation(inner);
        let content = &inner[bytes..];
        let bullet = block::bullet(content).unwrap_or(0);
        let body = &content[bullet..];
        let body_start = start + bytes + bullet;
        if self.quote == Quote::Text {
            let task = bullet > 0 && task::read(body).is_some();
            let field = field::read(body, body_start, bullet > 0);
            if task || field.is_some_and(|named| named.kind != FieldKind::Other) {
                self.quote = Quote::Structure;
            }
        }
        if self.quote != Quote::Structure {
            return false;
        }
        if content.trim().is_empty() {
            self.above = Above::Blank;
            return true;
        }
        let at = Place { columns, bulleted: bullet > 0, heading: false, line };
        self.content(Span::new(body_start, line.end()), at);
        self.above = Above::Other;
        true
    }
}
