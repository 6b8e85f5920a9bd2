//! An interpretation in the making: work streams by place, sentences one by one.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use super::catalog::Catalog;
use super::vocabulary::as_f64;
use super::{Action, Ambiguity, Arguments, Interpretation, Match, Reading};

/// Below this an interpretation is only a suggestion.
pub(super) const CONFIDENCE_MIN: f64 = 0.5;
/// How many work streams are suggested where nothing was found.
const SUGGESTIONS_MAX: usize = 5;
/// How many work streams an explanation names.
const NAMED_MAX: usize = 5;

/// Work streams by place, and how well each fits.
pub(super) type Picks = Vec<(usize, f64)>;

/// What has been decided so far.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) action: Action,
    pub(super) confidence: f64,
    pub(super) picks: Picks,
    pub(super) sentences: Vec<String>,
    pub(super) readings: Vec<(Action, Picks)>,
    pub(super) arguments: Arguments,
}

impl<'a> Draft<'a> {
    /// A draft that does `action`.
    pub(super) fn new(catalog: &'a Catalog, action: Action, confidence: f64) -> Self {
        Self {
            catalog,
            action,
            confidence,
            picks: Vec::new(),
            sentences: Vec::new(),
            readings: Vec::new(),
            arguments: Arguments::default(),
        }
    }

    /// Adds a sentence to the explanation.
    pub(super) fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    /// Fills in `near`, work streams with names like `words`, and those that can start now.
    pub(super) fn suggest_like(&mut self, words: &[String], near: &[usize]) {
        let mut found: Picks = near.iter().map(|&entry| (entry, 0.3)).collect();
        for (entry, score) in nearest(self.catalog, words) {
            if !near.contains(&entry) {
                found.push((entry, score));
            }
        }
        let mut more = self.catalog.order.iter().copied();
        while found.len() < SUGGESTIONS_MAX {
            let Some(entry) = more.next() else { break };
            let known = found.iter().any(|(known, _)| *known == entry);
            if self.catalog.entries[entry].subject.available
                && !self.catalog.entries[entry].subject.complete
                && !known
            {
                found.push((entry, 0.1));
            }
        }
        found.retain(|(entry, _)| {
            let id = &self.catalog.entries[*entry].subject.id;
            !self.arguments.excluded.contains(id)
        });
        if !found.is_empty() {
            let shown = list(self.catalog, found.iter().map(|(entry, _)| *entry));
            self.say(format!("Nearest or available: {shown}."));
        }
        self.picks = found;
    }

    /// The interpretation, with what is too unsure turned into a suggestion.
    pub(super) fn finish(mut self) -> Interpretation {
        let confidence = if self.confidence.is_finite() { self.confidence } else { 0.0 };
        let confidence = (confidence.clamp(0.0, 1.0) * 100.0).round() / 100.0;
        if confidence < CONFIDENCE_MIN && self.action != Action::Suggest {
            self.readings.insert(0, (self.action, self.picks.clone()));
            self.action = Action::Suggest;
            self.arguments.stop_target = None;
            self.say("That is too unsure to act on: please say it more plainly.");
        }
        let catalog = self.catalog;
        let to_readings = |(action, picks): (Action, Picks)| Reading {
            action,
            matches: matches(catalog, &picks),
        };
        let readings: Vec<Reading> = self.readings.into_iter().map(to_readings).collect();
        Interpretation {
            action: self.action,
            confidence,
            explanation: self.sentences.join(" "),
            matches: matches(catalog, &self.picks),
            ambiguity: (readings.len() > 1).then_some(Ambiguity { readings }),
            arguments: self.arguments,
        }
    }
}

fn matches(catalog: &Catalog, picks: &[(usize, f64)]) -> Vec<Match> {
    let to_match = |&(entry, score): &(usize, f64)| {
        let subject = &catalog.entries[entry].subject;
        let score = (score.clamp(0.0, 1.0) * 100.0).round() / 100.0;
        Match { id: subject.id.clone(), name: subject.name.clone(), score }
    };
    picks.iter().map(to_match).collect()
}

/// `2.1 Team Engine, 2.3 Errors and 4 more`.
pub(super) fn list(catalog: &Catalog, entries: impl Iterator<Item = usize>) -> String {
    let shown: Vec<String> = entries
        .map(|entry| {
            let subject = &catalog.entries[entry].subject;
            format!("{} {}", subject.id, subject.name).trim().to_owned()
        })
        .collect();
    match shown.len().checked_sub(NAMED_MAX) {
        Some(more) if more > 0 => format!("{} and {more} more", shown[..NAMED_MAX].join(", ")),
        _ => shown.join(", "),
    }
}

/// Streams whose names hold the letters of some of `words` in order, as "tskprs" for "task parser".
fn nearest(catalog: &Catalog, words: &[String]) -> Picks {
    const WORDS_MAX: usize = 8;
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut scores: Vec<(usize, u32)> = Vec::new();
    for word in words.iter().filter(|word| word.chars().count() > 2).take(WORDS_MAX) {
        let pattern = Pattern::new(
            word,
            CaseMatching::Ignore,
            Normalization::Smart,
            nucleo_matcher::pattern::AtomKind::Fuzzy,
        );
        let mut buffer = Vec::new();
        for (at, entry) in catalog.entries.iter().enumerate() {
            let name: String = entry.subject.name.chars().take(200).collect();
            let Some(score) = pattern.score(Utf32Str::new(&name, &mut buffer), &mut matcher) else {
                continue;
            };
            // Letters scattered over a whole name are no likeness: ask for runs of them.
            let likely = u32::try_from(word.chars().count()).unwrap_or(u32::MAX) * 18;
            if score >= likely {
                match scores.iter_mut().find(|(known, _)| *known == at) {
                    Some((_, sum)) => *sum += score,
                    None => scores.push((at, score)),
                }
            }
        }
    }
    scores.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.truncate(3);
    let count = as_f64(scores.len());
    let rank = |(at, (entry, _)): (usize, (usize, u32))| {
        (entry, 0.2 + 0.2 * (count - as_f64(at)) / count.max(1.0))
    };
    scores.into_iter().enumerate().map(rank).collect()
}
