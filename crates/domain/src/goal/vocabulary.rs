//! The words of one roadmap: which streams use them, how rare they are, and which word was meant
//! by one that is misspelled or cut short.

use std::collections::{BTreeMap, HashMap};

use super::text::Token;

/// Quality of a word read through one and through two wrong letters.
const ONE_EDIT: f64 = 0.85;
const TWO_EDITS: f64 = 0.75;
/// More readings than this of one misspelled or shortened word mean nothing.
const READINGS_MAX: usize = 6;

/// Where a word occurs.
#[derive(Debug, Default, Clone)]
pub(super) struct Posting {
    /// Entries that have it in their name, ascending.
    pub(super) names: Vec<usize>,
    /// Entries that have it in a task, ascending.
    pub(super) tasks: Vec<usize>,
}

/// One reading of a written word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    pub(super) stem: String,
    /// 1 for the word itself, less for a guess.
    pub(super) quality: f64,
}

/// What a written word may mean.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Resolved {
    pub(super) terms: Vec<Term>,
    /// The roadmap's word, where it is not the one written.
    pub(super) guessed: Option<String>,
}

/// A word as the roadmap writes it.
#[derive(Debug, Clone)]
struct Surface {
    word: String,
    stem: String,
    letters: u32,
    /// In characters.
    length: usize,
}

/// All words of a roadmap.
#[derive(Debug, Clone, Default)]
pub(super) struct Vocabulary {
    postings: Vec<Posting>,
    /// Places in `postings`, in order so that words with one beginning are together.
    stems: BTreeMap<String, usize>,
    /// The same by written word; only looked up, never walked.
    written: HashMap<String, usize>,
    /// Words by their length in characters, so that a misspelling is compared with few of them.
    surfaces: BTreeMap<usize, Vec<Surface>>,
    /// Two neighbours of a name written as one word.
    compounds: BTreeMap<String, (String, String)>,
    entries: usize,
}

/// Which field of an entry a word was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Name(usize),
    Task(usize),
    Label,
}

impl Vocabulary {
    /// A vocabulary for `entries` work streams.
    pub(super) fn new(entries: usize) -> Self {
        Self { entries, ..Self::default() }
    }

    /// Notes that `token` occurs in `field`. Entries must come in ascending order.
    pub(super) fn note(&mut self, token: &Token, field: Field) {
        let posting = match self.written.get(&token.word) {
            Some(&posting) => posting,
            None => self.add_word(token),
        };
        let posting = &mut self.postings[posting];
        match field {
            Field::Name(entry) => push_once(&mut posting.names, entry),
            Field::Task(entry) => push_once(&mut posting.tasks, entry),
            Field::Label => {}
        }
    }

    /// Makes room for a word that was not seen before; gives the place of its posting.
    fn add_word(&mut self, token: &Token) -> usize {
        let posting = *self.stems.entry(token.stem.clone()).or_insert_with(|| {
            self.postings.push(Posting::default());
            self.postings.len() - 1
        });
        self.written.insert(token.word.clone(), posting);
        let length = token.word.chars().count();
        let surface = Surface {
            word: token.word.clone(),
            stem: token.stem.clone(),
            letters: letters(&token.word),
            length,
        };
        self.surfaces.entry(length).or_default().push(surface);
        posting
    }

    /// Notes that a name has these two words side by side.
    pub(super) fn note_neighbors(&mut self, first: &Token, second: &Token) {
        let joined = format!("{}{}", first.word, second.word);
        let parts = (first.word.clone(), second.word.clone());
        self.compounds.entry(joined).or_insert(parts);
    }

    /// Where `stem` occurs.
    pub(super) fn posting(&self, stem: &str) -> Option<&Posting> {
        self.stems.get(stem).map(|&at| &self.postings[at])
    }

    /// Whether the roadmap has this very word or another form of it.
    pub(super) fn knows(&self, token: &Token) -> bool {
        self.stems.contains_key(&token.stem)
    }

    /// The two words that `word` runs together, if names have them side by side.
    pub(super) fn compound(&self, word: &str) -> Option<&(String, String)> {
        self.compounds.get(word)
    }

    /// Whether `word` is written so somewhere in the roadmap.
    pub(super) fn writes(&self, word: &str) -> bool {
        self.written.contains_key(word)
    }

    /// How much a word tells: high for one that few work streams use.
    pub(super) fn weight(&self, stem: &str) -> f64 {
        let uses = self.posting(stem).map_or(1, |posting| {
            let tasks_only =
                posting.tasks.iter().filter(|entry| posting.names.binary_search(entry).is_err());
            posting.names.len() + tasks_only.count()
        });
        (1.0 + as_f64(self.entries.max(1)) / as_f64(uses.max(1))).ln()
    }

    /// The words of the roadmap that `token` may mean, best first; none if it has no such word.
    pub(super) fn resolve(&self, token: &Token) -> Resolved {
        if self.knows(token) {
            let term = Term { stem: token.stem.clone(), quality: 1.0 };
            return Resolved { terms: vec![term], guessed: None };
        }
        if token.word.starts_with(|c: char| c.is_ascii_digit()) {
            return Resolved::default();
        }
        let misspelled = self.misspelled(&token.word);
        let shortened = self.shortened(&token.stem);
        let quality = |found: &Resolved| found.terms.first().map_or(0.0, |term| term.quality);
        if quality(&shortened) > quality(&misspelled) { shortened } else { misspelled }
    }

    /// Words at the smallest distance within the tolerance: one edit from five letters on, two
    /// from eight; a swap of neighbours is one edit.
    fn misspelled(&self, word: &str) -> Resolved {
        let length = word.chars().count();
        // A word of four letters may be one of five that lost a letter, though not at its ends:
        // "eror" is "error", but "plan" is not "plant".
        let lost_letter = length == 4;
        let edits_max = if lost_letter { 1 } else { edits_allowed(length) };
        if edits_max == 0 {
            return Resolved::default();
        }
        let seen = letters(word);
        let near = self.surfaces.range(length - edits_max..=length + edits_max);
        let mut best = edits_max;
        let mut found: Vec<(&Surface, usize)> = Vec::new();
        for surface in near.flat_map(|(_, words)| words.iter()) {
            let differing = (surface.letters ^ seen).count_ones();
            if surface.word.len() < 4 || differing as usize > 2 * best {
                continue;
            }
            if lost_letter && (surface.length != 5 || !same_ends(&surface.word, word)) {
                continue;
            }
            let edits = strsim::osa_distance(&surface.word, word);
            if edits <= best {
                best = edits;
                found.push((surface, edits));
            }
        }
        found.retain(|(_, edits)| *edits == best);
        let quality = if best <= 1 { ONE_EDIT } else { TWO_EDITS };
        let guessed = found.first().map(|(surface, _)| surface.word.clone());
        let terms = found.into_iter().map(|(surface, _)| (surface.stem.clone(), quality));
        readings(terms, guessed)
    }

    /// Words that begin as `stem` does (`config`), or whose stem another suffix hides (`optimise`).
    fn shortened(&self, stem: &str) -> Resolved {
        let length = stem.chars().count();
        if length < 4 {
            return Resolved::default();
        }
        let base = if length == 4 { 0.45 } else { 0.55 };
        let longer: Vec<(String, f64)> = self
            .stems
            .range(stem.to_owned()..)
            .take_while(|(known, _)| known.starts_with(stem))
            .map(|(known, _)| (known, known.chars().count()))
            // One letter more makes another word (plan, plant) sooner than a long form.
            .filter(|(_, known_length)| *known_length >= length + 2)
            .map(|(known, known_length)| {
                (known.clone(), base + 0.4 * as_f64(length) / as_f64(known_length))
            })
            .take(READINGS_MAX + 1)
            .collect();
        if !longer.is_empty() {
            let guessed = longer.first().map(|(known, _)| known.clone());
            return readings(longer.into_iter(), guessed);
        }
        let cuts = (1..=3).filter_map(|cut| stem.char_indices().rev().nth(cut - 1));
        let shorter = cuts
            .map(|(at, _)| &stem[..at])
            .find(|known| known.chars().count() >= 5 && self.stems.contains_key(*known));
        readings(shorter.into_iter().map(|known| (known.to_owned(), 0.75)), None)
    }
}

fn readings(terms: impl Iterator<Item = (String, f64)>, guessed: Option<String>) -> Resolved {
    let mut unique: BTreeMap<String, f64> = BTreeMap::new();
    for (stem, quality) in terms {
        let best = unique.entry(stem).or_insert(quality);
        *best = best.max(quality);
    }
    if unique.is_empty() || unique.len() > READINGS_MAX {
        return Resolved::default();
    }
    let mut terms: Vec<Term> =
        unique.into_iter().map(|(stem, quality)| Term { stem, quality }).collect();
    terms.sort_by(|a, b| b.quality.total_cmp(&a.quality).then_with(|| a.stem.cmp(&b.stem)));
    Resolved { terms, guessed }
}

/// How many wrong letters a word of this length may have.
pub(super) fn edits_allowed(length: usize) -> usize {
    match length {
        0..=4 => 0,
        5..=7 => 1,
        _ => 2,
    }
}

fn same_ends(one: &str, other: &str) -> bool {
    one.chars().next() == other.chars().next() && one.chars().last() == other.chars().last()
}

/// The set of letters of a word: two words that differ in many letters need no closer look.
fn letters(word: &str) -> u32 {
    word.bytes().fold(0, |set, byte| set | 1 << (byte % 32))
}

fn push_once(entries: &mut Vec<usize>, entry: usize) {
    if entries.last() != Some(&entry) {
        entries.push(entry);
    }
}

/// Counts are far below 2^52.
pub(super) fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
