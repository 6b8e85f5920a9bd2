//! Finds what a goal says about when, how often and with what, none of which is acted on. It is
//! set apart, so that it lowers the confidence and is told, instead of being passed over.
//!
//! Conditions that open with a word of their own ("after …", "if …") are [`super::scope`]'s.

use super::catalog::{Catalog, NameSpan};
use super::lexicon;
use super::text::{Gap, Token};

/// How many words before the one that tells may belong to it: "in the next two hours".
const LEAD_WORDS_MAX: usize = 4;

/// Takes what can't be heeded out of `tokens`; gives what is left, and what was taken as text.
pub(super) fn take(
    catalog: &Catalog,
    tokens: Vec<Token>,
    spans: &[NameSpan],
) -> (Vec<Token>, Vec<String>) {
    let finder = Finder { catalog, tokens: &tokens, spans };
    let mut taken = vec![false; tokens.len()];
    for at in 0..tokens.len() {
        if let Some((start, end)) = finder.at(at) {
            taken[start..end].fill(true);
        }
    }
    let mut told: Vec<String> = Vec::new();
    let mut left: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut open = false;
    for (mut token, taken) in tokens.into_iter().zip(taken) {
        match (taken, told.last_mut()) {
            (true, Some(last)) if open => {
                last.push(' ');
                last.push_str(&token.word);
            }
            (true, _) => told.push(token.word),
            (false, _) => {
                if left.is_empty() {
                    token.gap = Gap::Start;
                }
                left.push(token);
            }
        }
        open = taken;
    }
    (left, told)
}

struct Finder<'a> {
    catalog: &'a Catalog,
    tokens: &'a [Token],
    spans: &'a [NameSpan],
}

impl Finder<'_> {
    /// The words that belong to a condition that the word at `at` tells.
    fn at(&self, at: usize) -> Option<(usize, usize)> {
        if !self.is_free(at) {
            return None;
        }
        let word = self.word(at);
        if word == "dry" && matches!(self.word(at + 1), "run" | "runs") {
            return Some((at, at + 2));
        }
        if let Some(end) = self.means(at) {
            return Some((at, end));
        }
        let counted = is_unit(word) && self.is_counted(at);
        let day = is_time(word) && !self.is_left_for(at);
        let hour = word == "at" && self.is_hour(at + 1);
        if !(counted || day || hour || is_clock(word)) {
            return None;
        }
        let lead = |before: &usize| {
            let closed = matches!(self.tokens[before + 1].gap, Gap::Comma | Gap::Sentence);
            let counts = self.tokens[*before].integer().is_some()
                || lexicon::number_word(self.word(*before)).is_some();
            let leads = is_preposition(self.word(*before))
                || (counted && counts)
                || ((counted || is_day(word)) && is_determiner(self.word(*before)));
            !closed && leads && self.is_free(*before)
        };
        let leads = (0..at).rev().take(LEAD_WORDS_MAX).take_while(lead).count();
        Some((at - leads, at + 1 + usize::from(hour)))
    }

    /// Where "with codex", "using claude" or "on gpu-1" ends: a means that nothing in the roadmap
    /// answers to, behind what it is to be used for.
    fn means(&self, at: usize) -> Option<usize> {
        if !matches!(self.word(at), "with" | "using" | "via" | "on" | "under") {
            return None;
        }
        let named = |at: usize| {
            let posting = self.catalog.vocabulary.posting(&self.tokens[at].stem);
            let subject = posting.is_some_and(|posting| !posting.names.is_empty())
                && !lexicon::is_weightless(self.word(at));
            subject || self.tokens[at].is_number()
        };
        let article = matches!(self.word(at + 1), "the" | "a" | "an" | "our" | "my");
        let means = if article { at + 2 } else { at + 1 };
        let token = self.tokens.get(means)?;
        let resolved = self.catalog.vocabulary.resolve(token);
        let strange = resolved.terms.is_empty() || resolved.guessed.is_some();
        let common = lexicon::is_weightless(&token.word) || is_diligence(&token.word);
        let counts = token.is_number() || lexicon::number_word(&token.word).is_some();
        if !strange || common || counts || is_time(&token.word) || !(0..at).any(named) {
            return None;
        }
        let glued = self.tokens[means + 1..].iter().take_while(|token| token.gap.glues());
        Some(means + 1 + glued.count())
    }

    /// Not part of a stream's name, and no word that the roadmap itself uses for one.
    fn is_free(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        let follows = self.tokens.get(at + 1).is_some_and(|next| next.gap.glues());
        let posting = self.catalog.vocabulary.posting(&token.stem);
        let with_id = self.tokens.iter().any(|token| token.is_number());
        let theirs = posting.is_some_and(|posting| {
            !posting.names.is_empty() || (!with_id && !posting.tasks.is_empty())
        });
        let glued = token.word != "dry" && (token.gap.glues() || follows);
        !token.quoted
            && !glued
            && !theirs
            && !self.spans.iter().any(|span| span.start <= at && at < span.end)
    }

    /// "leave it for later" says what not to do, not when.
    fn is_left_for(&self, at: usize) -> bool {
        let left = |token: &Token| {
            matches!(token.word.as_str(), "leave" | "leaving" | "skip" | "save" | "keep" | "hold")
        };
        self.word(at) == "later" && self.tokens[..at].iter().any(left)
    }

    /// "two hours", "every day", "in a week".
    fn is_counted(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(1) else { return false };
        let word = self.word(before);
        if matches!(word, "the" | "a" | "an") {
            let lead = before.checked_sub(1).map_or("", |at| self.word(at));
            return matches!(
                lead,
                "in" | "at" | "for" | "within" | "once" | "by" | "over" | "during"
            ) || is_time(lead);
        }
        self.tokens[before].integer().is_some()
            || lexicon::number_word(word).is_some()
            || matches!(
                word,
                "few" | "every" | "each" | "next" | "per" | "this" | "several" | "many"
            )
    }

    /// The hour in "at 5"; "2 at 2 agents" counts something.
    fn is_hour(&self, at: usize) -> bool {
        let hour = self.tokens.get(at).and_then(Token::integer);
        let next = self.word(at + 1);
        let counts = lexicon::is_kind(next) || matches!(next, "at" | "a" | "agents" | "workers");
        hour.is_some_and(|hour| hour <= 24) && !counts
    }

    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.word)
    }
}

/// Words that stand in front of a time: "by friday".
fn is_preposition(word: &str) -> bool {
    matches!(
        word,
        "in" | "at" | "on" | "by" | "for" | "within" | "about" | "around" | "over" | "of" | "the"
    )
}

/// Words that say which of the days or hours: "every second week".
fn is_determiner(word: &str) -> bool {
    matches!(
        word,
        "every"
            | "each"
            | "next"
            | "this"
            | "a"
            | "an"
            | "per"
            | "few"
            | "several"
            | "many"
            | "once"
    )
}

fn is_day(word: &str) -> bool {
    word.ends_with("day") || matches!(word, "weekend" | "weekends")
}

/// Words that say when or how often by themselves.
fn is_time(word: &str) -> bool {
    matches!(
        word,
        "tomorrow"
            | "tonight"
            | "later"
            | "afterwards"
            | "overnight"
            | "midnight"
            | "midday"
            | "noon"
            | "weekend"
            | "weekends"
            | "monday"
            | "tuesday"
            | "wednesday"
            | "thursday"
            | "friday"
            | "saturday"
            | "sunday"
            | "hourly"
            | "daily"
            | "nightly"
            | "weekly"
            | "monthly"
            | "periodically"
            | "regularly"
            | "repeatedly"
            | "forever"
            | "someday"
            | "eventually"
            | "twice"
            | "thrice"
    )
}

/// Words that say when or how often with a number or the like in front.
fn is_unit(word: &str) -> bool {
    matches!(
        word,
        "seconds"
            | "minute"
            | "minutes"
            | "min"
            | "mins"
            | "hour"
            | "hours"
            | "day"
            | "days"
            | "week"
            | "weeks"
            | "month"
            | "months"
            | "morning"
            | "afternoon"
            | "evening"
            | "night"
            | "times"
            | "year"
            | "quarter"
    )
}

/// `5pm`, `17h`.
fn is_clock(word: &str) -> bool {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    (1..=2).contains(&digits) && matches!(&word[digits..], "am" | "pm" | "h")
}

/// "with tests" is how work should be done anyway.
fn is_diligence(word: &str) -> bool {
    matches!(
        word,
        "test"
            | "tests"
            | "testing"
            | "coverage"
            | "doc"
            | "docs"
            | "documentation"
            | "care"
            | "love"
    )
}
