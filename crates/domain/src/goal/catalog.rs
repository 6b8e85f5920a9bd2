//! The work streams of one roadmap, arranged to be found by id, name, batch, tag and word.

use std::collections::{BTreeMap, HashMap};

use super::GoalSubject;
use super::command;
use super::lexicon;
use super::text::{Token, tokenize};
use super::vocabulary::{Field, Vocabulary};

/// One work stream and what it is found by.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) subject: GoalSubject,
    /// Stems of the name in order, without articles and "and".
    pub(super) name: Vec<String>,
    /// Stems of the name that are not grammar (all of them if there are no others).
    pub(super) name_terms: Vec<String>,
    pub(super) tag: Vec<String>,
    pub(super) batch: Option<usize>,
    pub(super) key: NaturalKey,
}

/// Streams that the roadmap keeps under one heading.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) label: String,
    pub(super) number: Option<u64>,
    /// Stems of the words that tell this batch from others.
    pub(super) stems: Vec<String>,
    pub(super) entries: Vec<usize>,
}

/// An id as people order it: 1.10 comes after 1.9.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NaturalKey(pub(super) Vec<KeyPart>);

/// Numbers come before letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyPart {
    Number(u64),
    Letters(String),
}

impl NaturalKey {
    /// Reads digits as numbers and letters as they are; all other characters separate.
    pub(super) fn of(id: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = id;
        while let Some(first) = rest.chars().next() {
            let digits = first.is_ascii_digit();
            let same = |c: char| c.is_alphanumeric() && c.is_ascii_digit() == digits;
            let end = rest.find(|c: char| !same(c)).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after;
            if part.is_empty() {
                rest = &rest[first.len_utf8()..];
            } else if digits {
                parts.push(KeyPart::Number(part.parse().unwrap_or(u64::MAX)));
            } else {
                parts.push(KeyPart::Letters(part.to_lowercase()));
            }
        }
        Self(parts)
    }
}

/// Neighbouring words of a goal that stand side by side in a name too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameSpan {
    pub(super) start: usize,
    /// One past the last word.
    pub(super) end: usize,
    pub(super) entry: usize,
    /// The words are the whole name.
    pub(super) full: bool,
}

/// Everything that is looked up when a goal is read.
#[derive(Debug, Clone)]
pub(super) struct Catalog {
    pub(super) entries: Vec<Entry>,
    pub(super) batches: Vec<Batch>,
    /// Entries in the order they should be worked on.
    pub(super) order: Vec<usize>,
    pub(super) vocabulary: Vocabulary,
    ids: BTreeMap<String, Vec<usize>>,
    /// The first stream with an id, as the roadmap writes it.
    exact: HashMap<String, usize>,
    /// The most words an id has.
    pub(super) id_words_max: usize,
    /// Where a name begins with, or contains, two words side by side: entry and position.
    name_pairs: BTreeMap<(String, String), Vec<(usize, usize)>>,
    whole_names: BTreeMap<String, usize>,
    batches_by_label: BTreeMap<String, usize>,
    /// Streams with a task that has two words side by side.
    task_pairs: BTreeMap<(String, String), Vec<usize>>,
}

/// How many places of one pair of words are kept; more would tell nothing.
const PAIR_PLACES_MAX: usize = 64;

impl Catalog {
    /// Arranges `subjects`; their order breaks ties.
    pub(super) fn build(subjects: &[GoalSubject]) -> Self {
        let mut catalog = Self {
            entries: Vec::with_capacity(subjects.len()),
            batches: Vec::new(),
            order: Vec::new(),
            vocabulary: Vocabulary::new(subjects.len()),
            ids: BTreeMap::new(),
            exact: HashMap::new(),
            id_words_max: 1,
            name_pairs: BTreeMap::new(),
            whole_names: BTreeMap::new(),
            batches_by_label: BTreeMap::new(),
            task_pairs: BTreeMap::new(),
        };
        for subject in subjects {
            catalog.add(subject);
        }
        catalog.order = catalog.working_order();
        catalog
    }

    /// The streams with this id, written as `words`.
    pub(super) fn with_id(&self, words: &[&str]) -> &[usize] {
        self.ids.get(&id_key(words)).map_or(&[], Vec::as_slice)
    }

    /// The stream with this id, written exactly so.
    pub(super) fn exact(&self, id: &str) -> Option<usize> {
        self.exact.get(id).copied()
    }

    /// Streams whose id is `digits` but for the points: 2.1 and `21`.
    pub(super) fn without_point(&self, digits: &str) -> Vec<usize> {
        let same = |entry: &Entry| {
            let id = &entry.subject.id;
            id.contains('.') && id.chars().filter(|c| *c != '.').eq(digits.chars())
        };
        if digits.len() < 2 { Vec::new() } else { self.select(same) }
    }

    /// Streams whose id begins with `prefix` and goes on below it: `2` finds 2.1 and 2.10.
    pub(super) fn below(&self, prefix: &NaturalKey) -> Vec<usize> {
        let inside = |entry: &Entry| {
            entry.key.0.len() > prefix.0.len() && entry.key.0.starts_with(&prefix.0)
        };
        self.select(inside)
    }

    /// Streams that satisfy `wanted`, in roadmap order.
    pub(super) fn select(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<usize> {
        (0..self.entries.len()).filter(|&at| wanted(&self.entries[at])).collect()
    }

    /// Runs of words of `stems` that stand in a name, longest first at each place; `skipped`
    /// words (articles and "and") do not count.
    pub(super) fn name_spans(&self, stems: &[String], skipped: &[bool]) -> Vec<NameSpan> {
        let kept: Vec<usize> = (0..stems.len()).filter(|&at| !skipped[at]).collect();
        let mut spans = Vec::new();
        let mut at = 0;
        while at < kept.len() {
            match self.span_at(stems, &kept[at..]) {
                Some((length, entry, full)) => {
                    let (start, end) = (kept[at], kept[at + length - 1] + 1);
                    spans.push(NameSpan { start, end, entry, full });
                    at += length;
                }
                None => at += 1,
            }
        }
        spans
    }

    /// Streams with a task where `first` and `second` stand side by side.
    pub(super) fn tasks_with_pair(&self, first: &str, second: &str) -> &[usize] {
        self.task_pairs.get(&(first.to_owned(), second.to_owned())).map_or(&[], Vec::as_slice)
    }

    fn span_at(&self, stems: &[String], kept: &[usize]) -> Option<(usize, usize, bool)> {
        let first = &stems[*kept.first()?];
        let alone = self.whole_names.get(first).map(|&entry| (1, entry, true));
        let Some(&second) = kept.get(1) else { return alone };
        let places = self.name_pairs.get(&(first.clone(), stems[second].clone()));
        let mut best = alone;
        for &(entry, place) in places.into_iter().flatten() {
            let name = &self.entries[entry].name;
            let same = name[place..].iter().zip(kept).take_while(|(a, at)| **a == stems[**at]);
            let length = same.count();
            let grammar = kept[..length].iter().all(|&at| lexicon::is_grammar(&stems[at]));
            let full = length == name.len();
            let better = best.is_none_or(|(known, _, was)| (length, full) > (known, was));
            if better && !grammar {
                best = Some((length, entry, full));
            }
        }
        best
    }

    fn add(&mut self, subject: &GoalSubject) {
        let at = self.entries.len();
        self.exact.entry(subject.id.clone()).or_insert(at);
        let id: Vec<Token> = tokenize(&subject.id);
        let words: Vec<&str> = id.iter().map(|token| token.word.as_str()).collect();
        if !words.is_empty() {
            self.id_words_max = self.id_words_max.max(words.len().min(6));
            self.ids.entry(id_key(&words)).or_default().push(at);
        }
        let (name, name_terms) = self.add_name(at, &subject.name);
        for task in &subject.tasks {
            self.add_task(at, task);
        }
        let tag = self.add_label(subject.tag.as_deref().unwrap_or_default());
        let batch = subject.batch.as_deref().filter(|label| !label.trim().is_empty());
        let batch = batch.map(|label| self.add_to_batch(at, label));
        let key = NaturalKey::of(&subject.id);
        self.entries.push(Entry { subject: subject.clone(), name, name_terms, tag, batch, key });
    }

    fn add_name(&mut self, at: usize, name: &str) -> (Vec<String>, Vec<String>) {
        let tokens = tokenize(name);
        for token in tokens.iter().filter(|token| !lexicon::is_grammar(&token.word)) {
            self.vocabulary.note(token, Field::Name(at));
        }
        for pair in tokens.windows(2) {
            if !pair.iter().any(|token| lexicon::is_grammar(&token.word)) {
                self.vocabulary.note_neighbors(&pair[0], &pair[1]);
            }
        }
        let kept: Vec<&Token> = tokens.iter().filter(|token| !is_light(&token.word)).collect();
        let sequence: Vec<String> = kept.iter().map(|token| token.stem.clone()).collect();
        for (place, pair) in sequence.windows(2).enumerate() {
            let key = (pair[0].clone(), pair[1].clone());
            let places = self.name_pairs.entry(key).or_default();
            if places.len() < PAIR_PLACES_MAX {
                places.push((at, place));
            }
        }
        if let [only] = sequence.as_slice() {
            self.whole_names.entry(only.clone()).or_insert(at);
        }
        let mut terms: Vec<String> = tokens
            .iter()
            .filter(|token| !lexicon::is_grammar(&token.word))
            .map(|token| token.stem.clone())
            .collect();
        if terms.is_empty() {
            terms.clone_from(&sequence);
        }
        terms.sort();
        terms.dedup();
        (sequence, terms)
    }

    fn add_task(&mut self, at: usize, task: &str) {
        let tokens = tokenize(task);
        for token in tokens.iter().filter(|token| !lexicon::is_grammar(&token.word)) {
            self.vocabulary.note(token, Field::Task(at));
        }
        for pair in tokens.windows(2) {
            if pair.iter().any(|token| command::is_command_word(&token.word)) {
                let key = (pair[0].stem.clone(), pair[1].stem.clone());
                let places = self.task_pairs.entry(key).or_default();
                if places.last() != Some(&at) && places.len() < PAIR_PLACES_MAX {
                    places.push(at);
                }
            }
        }
    }

    /// Notes the words of a tag or batch title that tell something; gives their stems.
    fn add_label(&mut self, label: &str) -> Vec<String> {
        let tokens = tokenize(label);
        let telling = |token: &&Token| {
            !lexicon::is_grammar(&token.word)
                && !lexicon::is_state(&token.word)
                && !lexicon::is_kind(&token.word)
                && !matches!(token.word.as_str(), "batch" | "batches" | "current" | "currently")
                && !token.is_number()
        };
        let mut stems = Vec::new();
        for token in tokens.iter().filter(telling) {
            self.vocabulary.note(token, Field::Label);
            stems.push(token.stem.clone());
        }
        stems
    }

    fn add_to_batch(&mut self, at: usize, label: &str) -> usize {
        if let Some(&known) = self.batches_by_label.get(label) {
            self.batches[known].entries.push(at);
            return known;
        }
        self.batches_by_label.insert(label.to_owned(), self.batches.len());
        let stems = self.add_label(label);
        let number = tokenize(label).iter().find_map(Token::integer);
        self.batches.push(Batch { label: label.to_owned(), number, stems, entries: vec![at] });
        self.batches.len() - 1
    }

    /// Bootstrap first, then priority, then by batch and id.
    fn working_order(&self) -> Vec<usize> {
        let urgency = |entry: &Entry| match entry.subject.tag.as_deref() {
            Some(tag) if tag.eq_ignore_ascii_case("bootstrap") => 0,
            Some(tag) if tag.eq_ignore_ascii_case("priority") => 1,
            Some(_) | None => 2,
        };
        let batch = |entry: &Entry| {
            let found = entry.batch.map(|at| (self.batches[at].number.unwrap_or(u64::MAX), at));
            found.unwrap_or((u64::MAX, usize::MAX))
        };
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_cached_key(|&at| {
            let entry = &self.entries[at];
            (urgency(entry), batch(entry), entry.key.clone())
        });
        order
    }
}

fn id_key(words: &[&str]) -> String {
    words.join("\u{1f}")
}

/// Words that a name may have or lack without being another name.
pub(super) fn is_light(word: &str) -> bool {
    matches!(word, "a" | "an" | "the" | "and")
}
