//! Reading a `Depends On` text token by token.

use super::words::{self, Role};
use super::{End, Oddity, Reading, Reference, Target};
use crate::roadmap::field;
use crate::roadmap::heading;
use crate::roadmap::id::StreamId;
use crate::roadmap::source::Span;
use crate::roadmap::status::{self, Status};

/// Batches that `Batches 1-9` may name.
const BATCH_RANGE_MAX: usize = 100;

/// The kind of thing that the last word announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    Nothing,
    Stream,
    Batch,
}

/// What stands right before the next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing: an element begins.
    Start,
    /// A word such as `Phase`.
    Announcement,
    Id,
    /// A word or sign that leads to an id: `and`, `after`, `→`.
    Link,
    /// An ordinary word, or a parenthesis that opens.
    Word,
    /// What says that a number is no id: `version`, `>=`.
    Version,
}

pub(super) struct Reader<'t> {
    text: &'t str,
    base: usize,
    at: usize,
    known: &'t dyn Fn(&StreamId) -> bool,
    announced: Announced,
    before: Before,
    /// A dash or `to` joined the last id to what comes.
    range_open: bool,
    /// The word before rules out what comes.
    ruled_out: bool,
    /// A word of this element may rule out what comes.
    doubtful: bool,
    last_word: String,
    parentheses: usize,
    element_from: usize,
    /// The element has words or numbers that are not struck out.
    element_says: bool,
    references_before: usize,
    oddities_before: usize,
    found: Reading,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, base: usize, known: &'t dyn Fn(&StreamId) -> bool) -> Self {
        Self {
            text,
            base,
            at: 0,
            known,
            announced: Announced::Nothing,
            before: Before::Start,
            range_open: false,
            ruled_out: false,
            doubtful: false,
            last_word: String::new(),
            parentheses: 0,
            element_from: 0,
            element_says: false,
            references_before: 0,
            oddities_before: 0,
            found: Reading::default(),
        }
    }

    pub(super) fn run(&mut self) {
        while let Some(next) = self.text[self.at..].chars().next() {
            let rest = &self.text[self.at..];
            if next.is_ascii_digit() {
                self.token(&rest[..heading::id_length(rest)]);
            } else if next.is_alphabetic() {
                self.letters(rest);
            } else if let Some((length, status)) = status::sign_at(rest) {
                self.sign(status);
                self.at += length;
            } else if let Some(length) = skipped(rest) {
                self.at += length;
            } else {
                self.punctuation(next);
                self.at += next.len_utf8();
            }
        }
    }

    pub(super) fn finish(mut self) -> Reading {
        self.end_element();
        self.found
    }

    /// Whether a letter stands right before or behind `range`, so that it is part of a word.
    /// Scripts without case have no spaces between words either.
    fn is_glued(&self, start: usize, end: usize) -> bool {
        let cased = |c: char| c.is_lowercase() || c.is_uppercase() || c.is_ascii_digit();
        self.text[..start].chars().next_back().is_some_and(cased)
            || self.text[end..].chars().next().is_some_and(cased)
    }

    /// Something that begins with a letter: an id such as `A.4`, a version, or a word.
    fn letters(&mut self, rest: &'t str) {
        if let Some(length) = url_length(rest) {
            self.at += length;
            self.element_says = true;
            self.ordinary();
            return;
        }
        let candidate = &rest[..heading::id_length(rest)];
        let digits = candidate.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let prefix = &candidate[..candidate.len() - digits.len()];
        let glued = self.is_glued(self.at, self.at + candidate.len());
        if let (Ok(id), false, false) = (candidate.parse::<StreamId>(), digits.is_empty(), glued) {
            let version = prefix.eq_ignore_ascii_case("v");
            let shaped = prefix.len() <= 2
                && digits.contains('.')
                && prefix.bytes().all(|byte| byte.is_ascii_uppercase());
            if (self.known)(&id) || self.before == Before::Announcement || (shaped && !version) {
                self.token(candidate);
                return;
            }
            if version {
                self.before = Before::Version;
                self.at += prefix.len();
                self.number(digits, false);
                return;
            }
        }
        self.word(rest);
    }

    fn token(&mut self, candidate: &str) {
        let glued = self.is_glued(self.at, self.at + candidate.len());
        self.number(candidate, glued && self.before != Before::Announcement);
    }

    /// Something with a number that may be an id.
    fn number(&mut self, candidate: &str, glued: bool) {
        let span = Span::new(self.base + self.at, self.base + self.at + candidate.len());
        self.at += candidate.len();
        self.element_says = true;
        let behind = &self.text[self.at..];
        let id = candidate.parse::<StreamId>().ok();
        let known = id.as_ref().is_some_and(self.known);
        let (before, ruled_out) = (self.before, std::mem::take(&mut self.ruled_out));
        let range = std::mem::take(&mut self.range_open);
        self.before = Before::Word;
        if glued {
            return;
        }
        if before == Before::Version {
            if known {
                self.found.oddities.push((Oddity::Version, span));
            }
            return;
        }
        let dotted = candidate.contains('.');
        let listed = matches!(before, Before::Start | Before::Link | Before::Id);
        let expected = before == Before::Announcement
            || (listed && (self.parentheses == 0 || before == Before::Link));
        let amount = words::measures(behind) || words::is_amount(candidate);
        let amount = amount && before != Before::Announcement;
        match id {
            Some(id) if known && (dotted || !amount) => {
                self.before = Before::Id;
                self.accept(id, span, ruled_out, range);
            }
            Some(_) if ruled_out => {}
            Some(id)
                if expected
                    && !amount
                    && (dotted || self.counts_alone(before, &id) || (range && self.joins(&id))) =>
            {
                self.before = Before::Id;
                self.refer(id, span, range);
            }
            Some(_) if dotted && !amount => self.found.oddities.push((Oddity::Stray, span)),
            None if expected && (dotted || before == Before::Announcement) => {
                self.found.malformed.push(span);
            }
            Some(_) | None => {}
        }
    }

    /// Whether a single number or the like that no work stream has is meant as an id.
    fn counts_alone(&self, before: Before, id: &StreamId) -> bool {
        let first = self.found.references.len() == self.references_before;
        match before {
            Before::Announcement => true,
            Before::Start => self.announced != Announced::Nothing || first,
            Before::Link => {
                self.announced != Announced::Nothing || (!first && id.as_number().is_some())
            }
            Before::Id | Before::Word | Before::Version => false,
        }
    }

    fn accept(&mut self, id: StreamId, span: Span, ruled_out: bool, range: bool) {
        if ruled_out {
            self.found.oddities.push((Oddity::RuledOut, span));
            // What it was joined to, it ends.
            self.before = Before::Link;
            return;
        }
        if self.doubtful {
            self.found.oddities.push((Oddity::Doubtful, span));
        }
        self.refer(id, span, range);
    }

    /// Whether `id` can be the other end of a range that the last id begins.
    fn joins(&self, id: &StreamId) -> bool {
        self.found.references.last().is_some_and(|last| match &last.target {
            Target::Stream(from) | Target::Number(from) => from.depth() == id.depth() && from != id,
            Target::Batch(from) => id.as_number().is_some_and(|to| *from != to),
            Target::Range(..) => false,
        })
    }

    fn refer(&mut self, id: StreamId, span: Span, range: bool) {
        let joins = range && self.joins(&id);
        match self.found.references.last_mut() {
            Some(Reference { target, span: whole, .. })
                if joins && matches!(target, Target::Stream(_) | Target::Number(_)) =>
            {
                if let Target::Stream(from) | Target::Number(from) = target {
                    let from = End { id: from.clone(), span: *whole };
                    let to = End { id, span };
                    let (low, high) = if from.id <= to.id { (from, to) } else { (to, from) };
                    *target = Target::Range(low, high);
                }
                whole.end = span.end;
            }
            Some(Reference { target: Target::Batch(from), .. }) if joins => {
                let (from, to) = (*from, id.as_number().unwrap_or(*from));
                let between = from.min(to)..=from.max(to);
                let batches = between.filter(|number| *number != from).take(BATCH_RANGE_MAX);
                let references = batches.map(|number| Reference {
                    target: Target::Batch(number),
                    span,
                    marked_complete: false,
                });
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
        // "isn't" comes as "isn" and "t".
        let negates = word == "t" && self.text[..self.at].ends_with(['\'', '’']);
        self.at += length;
        self.element_says = true;
        let previous = std::mem::replace(&mut self.last_word, word.clone());
        let announced = if heading::is_stream_word(&word) {
            Announced::Stream
        } else if heading::is_batch_word(&word) {
            Announced::Batch
        } else {
            Announced::Nothing
        };
        if announced != Announced::Nothing {
            // "1.1 to Phase 1.4" is a range, and "not Phase 1.1" rules it out.
            self.announced = announced;
            self.before = Before::Announcement;
            return;
        }
        let behind_id = self.before == Before::Id;
        match words::role(&word, &previous) {
            Role::Until if behind_id => self.range_open = true,
            Role::Ordinary if behind_id && word == "up" => {}
            Role::Joins => self.link(),
            Role::Leads | Role::Until => {
                self.announced = Announced::Nothing;
                self.link();
            }
            Role::RulesOut => {
                self.announced = Announced::Nothing;
                self.link();
                self.ruled_out = true;
                self.doubtful |= words::reaches_far(&word);
            }
            Role::Doubts => {
                self.ordinary();
                self.doubtful = true;
            }
            Role::Version => {
                self.ordinary();
                self.before = Before::Version;
            }
            Role::Ordinary => {
                self.ordinary();
                self.doubtful |= negates;
            }
        }
    }

    fn link(&mut self) {
        self.before = Before::Link;
        self.range_open = false;
        self.ruled_out = false;
    }

    fn ordinary(&mut self) {
        self.link();
        self.before = Before::Word;
        self.announced = Announced::Nothing;
    }

    fn sign(&mut self, status: Status) {
        if status == Status::Complete
            && let Some(last) = self.found.references.get_mut(self.references_before..)
            && let Some(last) = last.last_mut()
        {
            last.marked_complete = true;
        }
    }

    fn punctuation(&mut self, next: char) {
        match next {
            ',' | ';' | '|' | '\n' | '、' | '，' | '；' | '・' | '·' | '•' => {
                if self.parentheses == 0 {
                    self.end_element();
                    self.element_from = self.at + next.len_utf8();
                } else {
                    self.link();
                }
            }
            '@' | '^' | '$' | '€' | '£' | '≥' | '≤' => self.before = Before::Version,
            '<' | '>' | '=' if self.before != Before::Id && self.before != Before::Link => {
                self.before = Before::Version;
            }
            '&' | '+' | '/' | '→' | '⇒' | '>' => self.link(),
            '-' | '–' | '—' | '‐' | '‑' | '‒' | '−' | '…' | '~' | '〜' | '～' => {
                self.range_open = self.before == Before::Id;
            }
            '(' | '（' => {
                self.parentheses += 1;
                self.ordinary();
            }
            ')' | '）' => {
                self.parentheses = self.parentheses.saturating_sub(1);
                self.ordinary();
                // What follows is another one as long as it looks like one.
                self.before = Before::Id;
            }
            _ => {}
        }
    }

    fn end_element(&mut self) {
        let element = &self.text[self.element_from..self.at];
        let empty = self.found.references.len() == self.references_before;
        if empty && self.element_says && !field::is_nothing(element) {
            let whole = Span::new(self.base + self.element_from, self.base + self.at);
            let span = whole.narrow(element, element.trim());
            let malformed = self.found.malformed.last().is_some_and(|m| m.start >= span.start);
            let odd = &mut self.found.oddities;
            let told = odd[self.oddities_before..].iter().any(|(odd, _)| *odd == Oddity::RuledOut);
            if !malformed && !told {
                // The whole element is told of, and with it what strays in it.
                let first = self.oddities_before;
                let mut place = 0..;
                odd.retain(|(odd, _)| {
                    place.next().is_some_and(|at| at < first) || *odd != Oddity::Stray
                });
                self.found.unread.push(span);
            }
        }
        self.references_before = self.found.references.len();
        self.oddities_before = self.found.oddities.len();
        self.element_from = self.at;
        self.element_says = false;
        self.before = Before::Start;
        self.range_open = false;
        self.ruled_out = false;
        self.doubtful = false;
        self.last_word.clear();
    }
}

/// Length of what is no part of the text at the start of `rest`: a link's target, what was struck
/// out or commented out, a tag.
fn skipped(rest: &str) -> Option<usize> {
    const TAG_BYTES_MAX: usize = 60;
    let up_to = |from: usize, close: &str| Some(from + rest[from..].find(close)? + close.len());
    if rest.starts_with("](") {
        return Some(up_to(2, ")").unwrap_or(rest.len()));
    }
    if rest.starts_with("][") {
        return up_to(2, "]");
    }
    if rest.starts_with("~~") {
        return Some(up_to(2, "~~").unwrap_or(2));
    }
    if rest.starts_with("<!--") {
        return up_to(4, "-->");
    }
    let tag = rest.strip_prefix('<')?;
    let named = tag.strip_prefix('/').unwrap_or(tag).starts_with(|c: char| c.is_ascii_alphabetic());
    let length = up_to(1, ">")?;
    (named && length <= TAG_BYTES_MAX && !rest[..length].contains('\n')).then_some(length)
}

/// Length of the address at the start of `rest`.
fn url_length(rest: &str) -> Option<usize> {
    let scheme =
        ["http://", "https://", "www."].iter().find(|scheme| rest.starts_with(**scheme))?;
    let ends = |c: char| c.is_whitespace() || matches!(c, ')' | '>' | ']' | '"' | ',' | ';' | '|');
    Some(rest[scheme.len()..].find(ends).map_or(rest.len(), |end| scheme.len() + end))
}
