//! What a `Depends On` text refers to.
//!
//! Every token that is the id of a work stream counts, wherever it stands: a dependency that is
//! lost lets work start too early, one too many only lets it wait. What has the form of an id but
//! is none counts where an id is meant, which is everywhere but behind an ordinary word
//! (`needs Python 3.11`). What is ruled out by the word before it, or is a version, is told.

mod reader;
mod words;

use super::field;
use super::id::StreamId;
use super::source::Span;
use reader::Reader;

/// What is referred to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A work stream; an id of one number may turn out to be a batch.
    Stream(StreamId),
    /// A number on its own: a work stream or a batch if there is one, else mere text.
    Number(StreamId),
    /// All work streams of a batch.
    Batch(u32),
    /// All work streams from the lesser to the greater.
    Range(End, End),
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) id: StreamId,
    pub(super) span: Span,
}

/// One thing that is depended on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) target: Target,
    pub(super) span: Span,
    /// A sign behind it says that it is complete.
    pub(super) marked_complete: bool,
}

/// What is odd about an id, or what looks like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oddity {
    /// The word before it rules it out, so it is no dependency: `not 1.2`.
    RuledOut,
    /// It is one, though words further before it may rule it out: `not before 1.2`.
    Doubtful,
    /// It is the number of a version, and also the id of a work stream.
    Version,
    /// No work stream has it, and it stands behind an ordinary word.
    Stray,
}

/// What was found in one text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) references: Vec<Reference>,
    /// Elements that refer to nothing we could find.
    pub(super) unread: Vec<Span>,
    /// What stands where an id belongs, but is none.
    pub(super) malformed: Vec<Span>,
    pub(super) oddities: Vec<(Oddity, Span)>,
}

/// Reads one piece of text that starts at `base`. `known` tells the ids of work streams.
pub(super) fn read(text: &str, base: usize, known: &dyn Fn(&StreamId) -> bool) -> Reading {
    if field::is_nothing(text) {
        return Reading::default();
    }
    let mut reader = Reader::new(text, base, known);
    reader.run();
    let mut found = reader.finish();
    if says_none(text) {
        // `None (was Phase 1.2)`: what the remark names is told, and holds nothing up.
        found.oddities = found
            .references
            .drain(..)
            .map(|reference| (Oddity::RuledOut, reference.span))
            .chain(found.oddities.drain(..).filter(|(oddity, _)| *oddity == Oddity::RuledOut))
            .collect();
        found.unread.clear();
        found.malformed.clear();
    }
    found
}

/// `None` with a remark behind it: `None (was Phase 1.2)`, `None - can start at once`.
fn says_none(text: &str) -> bool {
    let remark = text.find(['(', '–', '—']).or_else(|| text.find(" - "));
    let head = remark.map_or("", |at| text[..at].trim());
    !head.is_empty() && field::is_nothing(head) && !field::is_open(head)
}

#[cfg(test)]
mod tests;
