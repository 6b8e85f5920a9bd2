//! What a `Depends On` text refers to, before it is known which work streams exist.
//!
//! An id counts where it is meant as one: at the start of an element, or behind a word such as
//! `Phase`. Numbers inside a remark (`needs Python 3.11`) are text.

use super::field;
use super::heading;
use super::id::StreamId;
use super::source::Span;
use super::status::{self, Status};

/// Batches that `Batches 1-9` may name.
const BATCH_RANGE_MAX: usize = 100;

/// What is referred to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A work stream; an id of one number may turn out to be a batch.
    Stream(StreamId),
    /// A number on its own: a work stream or a batch if there is one, else mere text.
    Number(StreamId),
    /// All work streams of a batch.
    Batch(u32),
    /// All work streams from the one to the other.
    Range(StreamId, StreamId),
}

/// One thing that is depended on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) target: Target,
    pub(super) span: Span,
    /// A sign behind it says that it is complete.
    pub(super) marked_complete: bool,
}

/// What was found in one text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) references: Vec<Reference>,
    /// Elements that refer to nothing we could find.
    pub(super) unread: Vec<Span>,
    /// What stands where an id belongs, but is none.
    pub(super) malformed: Vec<Span>,
}

/// Reads one piece of text that starts at `base`.
pub(super) fn read(text: &str, base: usize) -> Reading {
    if says_none(text) {
        return Reading::default();
    }
    let mut reader = Reader::new(text, base);
    reader.run();
    reader.end_element();
    reader.found
}

/// `None`, also with a remark behind it: `None (was Phase 1.2)`, `None - can start at once`.
fn says_none(text: &str) -> bool {
    let remark = text.find(['(', '–', '—']).or_else(|| text.find(" - "));
    let head = remark.map_or("", |at| text[..at].trim());
    field::is_nothing(text) || (!head.is_empty() && field::is_nothing(head))
}

/// The kind of thing that the last word announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    Nothing,
    Stream,
    Batch,
}

struct Reader<'t> {
    text: &'t str,
    base: usize,
    at: usize,
    announced: Announced,
    /// An id may stand here without a word.
    element_start: bool,
    /// The token before was an id, so that `and` or a dash may join another.
    after_id: bool,
    /// A dash or `to` joined the last id to what comes.
    range_open: bool,
    parentheses: usize,
    element_from: usize,
    /// The element has words or numbers that are not struck out.
    element_says: bool,
    references_before: usize,
    found: Reading,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, base: usize) -> Self {
        Self {
            text,
            base,
            at: 0,
            announced: Announced::Nothing,
            element_start: true,
            after_id: false,
            range_open: false,
            parentheses: 0,
            element_from: 0,
            element_says: false,
            references_before: 0,
            found: Reading::default(),
        }
    }

    fn run(&mut self) {
        while let Some(next) = self.text[self.at..].chars().next() {
            let rest = &self.text[self.at..];
            if next.is_ascii_digit() || (next.is_alphabetic() && self.is_lettered_id(rest)) {
                self.number(rest);
            } else if next.is_alphabetic() {
                self.word(rest);
            } else if let Some((length, status)) = status::sign_at(rest) {
                self.sign(status);
                self.at += length;
            } else {
                self.punctuation(next, rest);
            }
        }
    }

    /// `A.1` is an id right behind a word such as `Phase`, and only there.
    fn is_lettered_id(&self, rest: &str) -> bool {
        let length = heading::id_length(rest);
        self.announced == Announced::Stream && rest[..length].parse::<StreamId>().is_ok()
    }

    fn number(&mut self, rest: &str) {
        let length = heading::id_length(rest);
        let candidate = &rest[..length];
        let span = Span::new(self.base + self.at, self.base + self.at + length);
        self.at += length;
        self.element_says = true;
        let id = candidate.parse::<StreamId>();
        let expected = if self.after_id {
            self.element_start || (self.range_open && id.as_ref().is_ok_and(|id| self.joins(id)))
        } else {
            self.announced != Announced::Nothing || (self.element_start && self.parentheses == 0)
        };
        self.after_id = false;
        match id {
            Ok(id) if expected => {
                self.refer(id, span);
                self.after_id = true;
            }
            Err(_)
                if expected
                    && (self.announced != Announced::Nothing || candidate.contains('.')) =>
            {
                self.found.malformed.push(span);
            }
            Ok(_) | Err(_) => {}
        }
        self.element_start = false;
        self.range_open = false;
    }

    /// Whether `id` can be the end of a range that the last id begins.
    fn joins(&self, id: &StreamId) -> bool {
        self.found.references.last().is_some_and(|last| match &last.target {
            Target::Stream(from) | Target::Number(from) => from.depth() == id.depth() && from < id,
            Target::Batch(from) => id.as_number().is_some_and(|to| *from < to),
            Target::Range(..) => false,
        })
    }

    fn refer(&mut self, id: StreamId, span: Span) {
        let joins = self.range_open && self.joins(&id);
        match self.found.references.last_mut() {
            Some(Reference { target: target @ Target::Stream(_), span: whole, .. }) if joins => {
                if let Target::Stream(from) = target {
                    *target = Target::Range(from.clone(), id);
                }
                whole.end = span.end;
            }
            Some(Reference { target: Target::Batch(from), .. }) if joins => {
                let to = id.as_number().unwrap_or(*from);
                let batches = (*from + 1..=to).take(BATCH_RANGE_MAX).map(Target::Batch);
                let references =
                    batches.map(|target| Reference { target, span, marked_complete: false });
                self.found.references.extend(references.collect::<Vec<_>>());
            }
            Some(_) | None => {
                let target = match (self.announced, id.as_number()) {
                    (Announced::Batch, Some(number)) => Target::Batch(number),
                    (Announced::Nothing, Some(_)) => Target::Number(id),
                    (Announced::Batch | Announced::Stream | Announced::Nothing, _) => {
                        Target::Stream(id)
                    }
                };
                self.found.references.push(Reference { target, span, marked_complete: false });
            }
        }
    }

    fn word(&mut self, rest: &str) {
        let length: usize =
            rest.chars().take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum();
        let word = rest[..length].to_lowercase();
        self.at += length;
        self.element_says = true;
        match word.as_str() {
            "and" | "or" | "plus" if self.after_id => {
                self.element_start = true;
                self.range_open = false;
            }
            "to" | "through" | "thru" | "until" if self.after_id => self.range_open = true,
            word => {
                self.announced = if heading::is_stream_word(word) {
                    Announced::Stream
                } else if heading::is_batch_word(word) {
                    Announced::Batch
                } else {
                    Announced::Nothing
                };
                self.after_id = false;
                if self.announced == Announced::Nothing {
                    self.element_start = false;
                    self.range_open = false;
                }
            }
        }
    }

    fn sign(&mut self, status: Status) {
        if status == Status::Complete
            && let Some(last) = self.found.references.get_mut(self.references_before..)
            && let Some(last) = last.last_mut()
        {
            last.marked_complete = true;
        }
    }

    fn punctuation(&mut self, next: char, rest: &str) {
        let skipped = match next {
            // A link's target, and what was struck out, are no references.
            ']' if rest.starts_with("](") => rest.find(')').map_or(rest.len(), |end| end + 1),
            '~' if rest.starts_with("~~") => rest[2..].find("~~").map_or(2, |end| end + 4),
            _ => next.len_utf8(),
        };
        match next {
            ',' | ';' | '|' | '\n' if self.parentheses == 0 => self.end_element(),
            '&' | '+' | '/' | ',' => {
                self.element_start = true;
                self.range_open = false;
            }
            '-' | '–' | '—' | '…' => self.range_open = self.after_id,
            '(' => {
                self.parentheses += 1;
                self.announced = Announced::Nothing;
                self.after_id = false;
                self.range_open = false;
            }
            ')' => {
                self.parentheses = self.parentheses.saturating_sub(1);
                self.announced = Announced::Nothing;
            }
            '#' | '[' | ']' | '*' | '_' | '`' | '~' | '.' | ':' => {}
            other if other.is_whitespace() => {}
            _ => {
                self.element_start = false;
                self.after_id = false;
            }
        }
        self.at += skipped;
        if matches!(next, ',' | ';' | '|' | '\n') && self.parentheses == 0 {
            self.element_from = self.at;
        }
    }

    fn end_element(&mut self) {
        let element = &self.text[self.element_from..self.at];
        let empty = self.found.references.len() == self.references_before;
        if empty && self.element_says && !field::is_nothing(element) {
            let trimmed = element.trim();
            let whole = Span::new(self.base + self.element_from, self.base + self.at);
            let span = whole.narrow(element, trimmed);
            let malformed = self.found.malformed.last().is_some_and(|m| m.start >= span.start);
            if !malformed {
                self.found.unread.push(span);
            }
        }
        self.references_before = self.found.references.len();
        self.element_from = self.at;
        self.element_says = false;
        self.element_start = true;
        self.after_id = false;
        self.range_open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text refers to, and what is left unread of it.
    fn shown(text: &str) -> String {
        let Reading { references, unread, malformed } = read(text, 0);
        let mut shown: Vec<String> = references
            .iter()
            .map(|reference| {
                let mark = if reference.marked_complete { "+" } else { "" };
                match &reference.target {
                    Target::Stream(id) => format!("{id}{mark}"),
                    Target::Number(id) => format!("#{id}{mark}"),
                    Target::Batch(number) => format!("batch {number}{mark}"),
                    Target::Range(from, to) => format!("{from} to {to}{mark}"),
                }
            })
            .collect();
        let slice = |span: &Span| &text[span.start..span.end];
        shown.extend(unread.iter().map(|span| format!("unread {:?}", slice(span))));
        shown.extend(malformed.iter().map(|span| format!("malformed {:?}", slice(span))));
        shown.join("; ")
    }

    #[test]
    fn references_are_found_where_they_are_meant() {
        let cases = [
            ("Phase 1.4 ✅, Phase 2.1", "1.4+; 2.1"),
            ("1.4, 2.1", "1.4; 2.1"),
            ("Phases 1, 2 and 3", "1; 2; 3"),
            ("Step 1.1 & Step 1.2 / 1.3", "1.1; 1.2; 1.3"),
            ("**Phase 1.4** (registry), [Phase 2.1](#phase-21)", "1.4; 2.1"),
            ("Phase A.4", "A.4"),
            ("2.3a", "2.3a"),
            ("3", "#3"),
            ("Batch 2, Sprints 3-5", "batch 2; batch 3; batch 4; batch 5"),
            ("1.1 - 1.4", "1.1 to 1.4"),
            ("Phase 1.1 to Phase 1.4", "1.1 to 1.4"),
            ("Phase 1.2 - 3 days of work", "1.2"),
            ("needs Phase 1.4 first", "1.4"),
            ("1.1 (after Phase 1.3)", "1.1; 1.3"),
            ("~~Phase 1.1~~", ""),
            ("None", ""),
            ("N/A", ""),
            ("—", ""),
            ("None (was Phase 1.2)", ""),
            ("None - can start at once", ""),
            ("TBD, Phase 1.2", "1.2"),
            ("1.1, the lawyers", "1.1; unread \"the lawyers\""),
            ("Python 3.11", "unread \"Python 3.11\""),
            ("Phase 1..2", "malformed \"1..2\""),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
