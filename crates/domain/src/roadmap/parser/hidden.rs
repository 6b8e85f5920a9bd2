//! What is left out of a roadmap's structure: fenced code and comments.

use super::super::block::{self, Outlook};
use super::super::diagnostic::Rule;
use super::super::heading;
use super::super::source::{Line, Span};
use super::Parser;
use super::shape::Underlined;

/// Fenced code that is being skipped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code {
    mark: u8,
    length: usize,
    /// It stands in a block quote.
    pub(super) quoted: bool,
    /// Columns before it; a heading further left can't be in the list item that it is in.
    indent: usize,
    outlook: Outlook,
    /// The line that opens it.
    pub(super) span: Span,
}

impl<'s> Parser<'s> {
    /// Whether the line is fenced code or one of its fences.
    pub(super) fn in_code(&mut self, line: Line<'s>) -> bool {
        let quote = block::quote(line.text);
        let fence = block::fence(&line.text[quote.unwrap_or(0)..]);
        match (self.code, fence) {
            // Code in a block quote ends with it.
            (Some(code), _) if code.quoted && quote.is_none() => {
                self.code = None;
                return self.in_code(line);
            }
            (Some(code), _) if self.escapes(code, line) => {
                self.report_unclosed(code);
                self.code = None;
                return false;
            }
            (Some(code), Some(fence))
                if fence.mark == code.mark
                    && fence.length >= code.length
                    && code.quoted == quote.is_some() =>
            {
                let outlook = match code.outlook {
                    Outlook::AnotherOpensFirst => Outlook::Closed,
                    Outlook::Closed | Outlook::NeverClosed => code.outlook,
                };
                self.code = (!fence.bare).then_some(Code { outlook, ..code });
            }
            (Some(_), _) => {}
            (None, Some(fence)) => {
                let quoted = quote.is_some();
                let outlook =
                    if quoted { Outlook::Closed } else { self.fences.outlook(line.number) };
                self.code = Some(Code {
                    mark: fence.mark,
                    length: fence.length,
                    quoted,
                    indent: if quoted { 0 } else { block::indentation(line.text).0 },
                    outlook,
                    span: Span::new(line.start, line.end()),
                });
            }
            (None, None) => return false,
        }
        self.keep_code(line);
        true
    }

    /// Whether `line` is a heading that can't have been meant as part of the code: the fence is not
    /// closed before another one opens, or the heading is outside of the fence's list item.
    fn escapes(&self, code: Code, line: Line<'s>) -> bool {
        let (columns, _) = block::indentation(line.text);
        (code.outlook != Outlook::Closed || columns < code.indent) && self.is_structure(line)
    }

    pub(super) fn report_unclosed(&mut self, code: Code) {
        self.parsed.diagnostics.add(Rule::UnclosedFence, code.span, || {
            "this code fence is never closed; it is taken to end at the next work stream".to_owned()
        });
    }

    /// A heading that announces a stream or a batch.
    fn is_structure(&self, line: Line<'s>) -> bool {
        let heading = heading::read_line(line.text, line.start);
        let heading = heading.or_else(|| match self.underlined(line)? {
            Underlined::Heading(heading, _) => Some(heading),
            Underlined::Sentence(_) => None,
        });
        heading.is_some_and(|heading| heading.spaced && self.announces(heading).is_structure())
    }

    /// Code belongs to the field that it stands in.
    fn keep_code(&mut self, line: Line<'s>) {
        let Some(open) = &mut self.open else { return };
        open.wraps = None;
        if let Some(record) = open.field.and_then(|index| open.stream.layout.fields.get_mut(index))
            && !record.kind.is_scalar()
        {
            record.pieces.push(Span::new(line.start, line.end()));
            // Nothing may be added behind code before it is closed.
            if self.code.is_none() {
                record.block_end = line.next;
            }
        }
    }

    /// Whether a comment begins with the line. It then hides whole lines, to the one it ends on;
    /// one that begins within a line hides none, for it may be text: `` `<!--` ``.
    pub(super) fn opens_comment(&mut self, line: Line<'s>) -> bool {
        if !line.text.trim_start().starts_with("<!--") || !self.comments_close {
            return false;
        }
        let start = line.end() - line.text.trim_start().len();
        if let Some(length) = self.source.text()[start..].find("-->") {
            self.hidden_to = start + length;
            return true;
        }
        self.comments_close = false;
        self.parsed.diagnostics.add(Rule::UnclosedComment, Span::new(start, line.end()), || {
            "this comment is never closed; what follows is read as if it weren't one".to_owned()
        });
        true
    }
}
