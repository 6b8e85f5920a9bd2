//! Compares words with work streams: which one they mean, and how sure that is.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Catalog;
use super::lexicon;
use super::phrase::SubjectWord;
use super::vocabulary::as_f64;

/// A word found in a task counts about half of one found in a name.
const TASK_CREDIT: f64 = 0.55;
/// Two streams whose ranks differ by less than this share are equally good.
const TIE_MARGIN: f64 = 0.1;
/// Of streams that fit equally well, this many are told.
const TIED_MAX: usize = 8;

/// How the label of a group begins whose tag was not written but one that means the same.
pub(super) const SYNONYM: &str = "a tag that means";

/// How a stream was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    Task,
    Name,
    FullName,
}

/// A work stream that words may mean.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) entry: usize,
    pub(super) by: By,
    /// How sure it is that the words mean this stream and no other; 0 to 1.
    pub(super) confidence: f64,
    /// The written words that it has.
    pub(super) words: BTreeSet<usize>,
    rank: f64,
    name_words: BTreeSet<usize>,
    name_cover: f64,
    quality: f64,
}

/// What some words mean.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Nothing,
    One(Candidate),
    /// Several streams fit equally well.
    Tied(Vec<Candidate>, f64),
    /// All streams with a tag or of a batch.
    Group {
        label: String,
        entries: Vec<usize>,
        confidence: f64,
    },
}

/// What `words` mean. `batch` says that they are to name a batch.
pub(super) fn find(catalog: &Catalog, words: &[SubjectWord], batch: bool) -> Found {
    let words = &promoted(words);
    if !words.iter().any(|word| !word.soft) {
        return Found::Nothing;
    }
    let candidates = rank(catalog, words);
    let subject = best(&candidates);
    let Some((label, entries, confidence)) = group(catalog, words, batch) else {
        return subject;
    };
    let group = Found::Group { label: label.clone(), entries: entries.clone(), confidence };
    match subject {
        Found::One(one) if one.by == By::FullName && !batch => Found::One(one),
        Found::One(one) if one.by == By::Name && !batch && !label.starts_with("tag") => {
            Found::One(Candidate { confidence: one.confidence * 0.9, ..one })
        }
        Found::Tied(tied, confidence) if !batch => {
            let named = tied.iter().any(|one| one.by >= By::Name && !entries.contains(&one.entry));
            if named { Found::Tied(tied, confidence) } else { group }
        }
        Found::Nothing | Found::One(_) | Found::Tied(..) | Found::Group { .. } => group,
    }
}

/// Every stream that has all subject words, in its name if any has, else anywhere; and how sure
/// it is that these are meant.
pub(super) fn every(catalog: &Catalog, words: &[SubjectWord]) -> (Vec<usize>, f64) {
    let words = promoted(words);
    let hard: BTreeSet<usize> = (0..words.len()).filter(|&at| !words[at].soft).collect();
    if let Some((_, entries, confidence)) = group(catalog, &words, false) {
        return (entries, confidence);
    }
    let candidates = rank(catalog, &words);
    let having = |wanted: &dyn Fn(&Candidate) -> bool| {
        let found = candidates.iter().filter(|one| wanted(one)).map(|one| one.entry);
        found.collect::<BTreeSet<usize>>().into_iter().collect::<Vec<usize>>()
    };
    let named = having(&|one| hard.is_subset(&one.name_words));
    if !named.is_empty() {
        return (named, 0.75);
    }
    // "all tests" stands in many tasks and hardly means those streams.
    (having(&|one| hard.is_subset(&one.words)), 0.45)
}

/// Every stream that the words could mean at all, for leaving out (better one too many), and
/// whether they were found by more than words of their tasks.
pub(super) fn possible(catalog: &Catalog, words: &[SubjectWord]) -> (Vec<usize>, bool) {
    match find(catalog, words, false) {
        Found::Nothing => (Vec::new(), false),
        Found::Group { entries, .. } => (entries, true),
        Found::Tied(tied, _) => {
            let by_name = tied.iter().all(|one| one.by >= By::Name);
            (tied.iter().map(|one| one.entry).collect(), by_name)
        }
        Found::One(one) => {
            let (all, _) = every(catalog, words);
            let only = one.by == By::FullName || !all.contains(&one.entry);
            (if only { vec![one.entry] } else { all }, one.by >= By::Name)
        }
    }
}

/// Words that count only together stand for themselves where nothing else was said. The verb that
/// opens the goal stays a verb as long as another word can be the subject.
fn promoted(words: &[SubjectWord]) -> Vec<SubjectWord> {
    let mut words = words.to_vec();
    if words.iter().any(|word| !word.soft) {
        return words;
    }
    let known: Vec<usize> =
        (0..words.len()).filter(|&at| !words[at].resolved.terms.is_empty()).collect();
    let verb_first = |at: usize| lexicon::is_doing(&words[at].token.word) && at == 0;
    let subjects: Vec<usize> =
        known.iter().copied().filter(|&at| known.len() == 1 || !verb_first(at)).collect();
    for at in subjects {
        words[at].soft = false;
    }
    words
}

#[derive(Debug, Default)]
struct Tally {
    credit: f64,
    words: BTreeSet<usize>,
    hard: BTreeSet<usize>,
    name_words: BTreeSet<usize>,
    name_stems: BTreeSet<String>,
    quality: f64,
}

/// All streams that have some of `words`, best first.
fn rank(catalog: &Catalog, words: &[SubjectWord]) -> Vec<Candidate> {
    let unknown = (1.0 + as_f64(catalog.entries.len().max(1))).ln();
    let weight = |word: &SubjectWord| {
        let known = word.resolved.terms.iter().map(|term| catalog.vocabulary.weight(&term.stem));
        known.reduce(f64::max).unwrap_or(unknown)
    };
    let weights: Vec<f64> = words.iter().map(weight).collect();
    let hard = |at: &usize| !words[*at].soft;
    let total: f64 = (0..words.len()).filter(hard).map(|at| weights[at]).sum();
    let mut tallies: BTreeMap<usize, Tally> = BTreeMap::new();
    for at in 0..words.len() {
        tally_word(catalog, &words[at], at, weights[at], &mut tallies);
    }
    let mut candidates: Vec<Candidate> = tallies
        .into_iter()
        .filter(|(_, tally)| !tally.hard.is_empty())
        .map(|(entry, tally)| candidate(catalog, entry, tally, total))
        .map(|one| assess(one, words, &weights, total))
        .collect();
    candidates.sort_by(|a, b| b.rank.total_cmp(&a.rank).then(a.entry.cmp(&b.entry)));
    candidates
}

fn tally_word(
    catalog: &Catalog,
    word: &SubjectWord,
    at: usize,
    weight: f64,
    tallies: &mut BTreeMap<usize, Tally>,
) {
    let mut credits: BTreeMap<usize, (f64, Option<&str>)> = BTreeMap::new();
    for term in &word.resolved.terms {
        let Some(posting) = catalog.vocabulary.posting(&term.stem) else { continue };
        for &entry in &posting.tasks {
            let credit = credits.entry(entry).or_insert((0.0, None));
            if credit.0 < term.quality * TASK_CREDIT {
                *credit = (term.quality * TASK_CREDIT, None);
            }
        }
        for &entry in &posting.names {
            let credit = credits.entry(entry).or_insert((0.0, None));
            if credit.0 < term.quality {
                *credit = (term.quality, Some(&term.stem));
            }
        }
    }
    let quality = word.resolved.terms.first().map_or(0.0, |term| term.quality);
    for (entry, (credit, named)) in credits {
        let tally = tallies.entry(entry).or_default();
        tally.words.insert(at);
        if !word.soft {
            tally.credit += weight * credit;
            tally.hard.insert(at);
            tally.quality += quality;
        }
        if let Some(stem) = named {
            tally.name_words.insert(at);
            tally.name_stems.insert(stem.to_owned());
        }
    }
}

fn candidate(catalog: &Catalog, entry: usize, tally: Tally, total: f64) -> Candidate {
    let terms = &catalog.entries[entry].name_terms;
    let weigh = |stem: &String| catalog.vocabulary.weight(stem);
    let whole: f64 = terms.iter().map(weigh).sum();
    let matched: f64 = tally.name_stems.iter().map(weigh).sum();
    let name_cover = if whole > 0.0 { (matched / whole).min(1.0) } else { 0.0 };
    let full = !terms.is_empty() && terms.iter().all(|term| tally.name_stems.contains(term));
    let hard_name = tally.hard.iter().any(|at| tally.name_words.contains(at));
    let by = match (full, hard_name) {
        (true, _) => By::FullName,
        (false, true) => By::Name,
        (false, false) => By::Task,
    };
    let cover = if total > 0.0 { tally.credit / total } else { 0.0 };
    Candidate {
        entry,
        by,
        confidence: 0.0,
        rank: cover * (0.6 + 0.4 * name_cover),
        name_cover,
        quality: tally.quality / as_f64(tally.hard.len().max(1)),
        words: tally.words,
        name_words: tally.name_words,
    }
}

/// Sets how sure the reading is, other streams left aside.
fn assess(one: Candidate, words: &[SubjectWord], weights: &[f64], total: f64) -> Candidate {
    let hard = |at: &usize| !words[*at].soft;
    let hard_found = one.words.iter().filter(|at| hard(at)).count();
    let several = if hard_found > 1 { 0.06 } else { 0.0 };
    let base = match one.by {
        By::FullName => 0.95,
        By::Name => (0.62 + 0.26 * one.name_cover + several).min(0.88),
        By::Task => 0.52 + several,
    };
    let missing: Vec<f64> = (0..words.len())
        .filter(|at| hard(at) && !one.words.contains(at))
        .map(|at| weights[at])
        .collect();
    // One more word beside a whole name is how people talk ("… properly, with tests").
    let allowed = if one.by == By::FullName && one.name_words.len() > 1 { 1 } else { 0 };
    let missed: f64 = missing.iter().skip(allowed).sum();
    let share = if total > 0.0 { missed / total } else { 0.0 };
    let confidence = base * (0.3 + 0.7 * one.quality) * (1.0 - 0.6 * share);
    Candidate { confidence, ..one }
}

/// The best of `candidates`, unless others are as good.
fn best(candidates: &[Candidate]) -> Found {
    let Some(first) = candidates.first() else { return Found::Nothing };
    let rivals: Vec<Candidate> = candidates
        .iter()
        .take_while(|one| rivals_with(first, one) || one.rank >= 0.3 * first.rank)
        .filter(|one| rivals_with(first, one))
        .cloned()
        .collect();
    if rivals.len() > 1 {
        let confidence = match rivals.len() {
            2 => 0.55,
            3..=5 => 0.48,
            _ => 0.35,
        };
        let confidence = first.confidence.min(confidence);
        return Found::Tied(rivals.into_iter().take(TIED_MAX).collect(), confidence);
    }
    let second = candidates.get(1).map_or(0.0, |one| one.rank);
    let margin = ((first.rank - second) / first.rank.max(f64::EPSILON)).min(0.5);
    let confidence = if first.by == By::FullName {
        first.confidence
    } else {
        first.confidence * (0.85 + 0.3 * margin)
    };
    Found::One(Candidate { confidence, ..first.clone() })
}

/// Whether `other` fits as well as `first` does: about the same rank, or the same words in the
/// same place with only the length of the name between them.
fn rivals_with(first: &Candidate, other: &Candidate) -> bool {
    if first.entry == other.entry {
        return true;
    }
    if first.by == By::FullName && other.by != By::FullName {
        return false;
    }
    let near = other.rank >= first.rank * (1.0 - TIE_MARGIN);
    let same = first.by != By::FullName
        && first.by == other.by
        && other.words.is_superset(&first.words)
        && other.name_words.is_superset(&first.name_words);
    near || same
}

/// The tag or batch that all hard words name: what it is called, its streams, how sure that is.
fn group(
    catalog: &Catalog,
    words: &[SubjectWord],
    batch: bool,
) -> Option<(String, Vec<usize>, f64)> {
    let hard: Vec<&SubjectWord> = words.iter().filter(|word| !word.soft).collect();
    if hard.is_empty() {
        return None;
    }
    let has = |label: &[String], word: &SubjectWord| {
        word.resolved.terms.iter().any(|term| label.contains(&term.stem))
    };
    let all_in = |label: &[String]| hard.iter().all(|word| has(label, word));
    let quality = hard
        .iter()
        .map(|word| word.resolved.terms.first().map_or(1.0, |term| term.quality))
        .fold(1.0, f64::min);
    let said: Vec<&str> = hard.iter().map(|word| word.token.word.as_str()).collect();
    let tagged = catalog.select(|entry| all_in(&entry.tag));
    if !tagged.is_empty() && !batch {
        return Some((format!("tag \"{}\"", said.join(" ")), tagged, 0.8 * quality));
    }
    let of_batch = |wanted: &dyn Fn(&[String]) -> bool| {
        let named: Vec<usize> =
            (0..catalog.batches.len()).filter(|&at| wanted(&catalog.batches[at].stems)).collect();
        let inside = |at: &usize| catalog.entries[*at].batch.is_some_and(|b| named.contains(&b));
        let entries: Vec<usize> = (0..catalog.entries.len()).filter(inside).collect();
        (named.iter().map(|&at| catalog.batches[at].label.clone()).collect::<Vec<_>>(), entries)
    };
    let (labels, entries) = of_batch(&all_in);
    if !entries.is_empty() {
        let confidence = if batch { 0.88 } else { 0.75 };
        return Some((
            format!("batch \"{}\"", labels.join("\", \"")),
            entries,
            confidence * quality,
        ));
    }
    let [only] = hard.as_slice() else { return None };
    let synonyms = lexicon::label_synonyms(&only.token.word);
    if catalog.vocabulary.knows(&only.token) || synonyms.is_empty() {
        return None;
    }
    let same = |label: &[String]| {
        let known = |synonym: &&str| {
            let stems = super::text::tokenize(synonym);
            stems.iter().any(|token| label.contains(&token.stem))
        };
        synonyms.iter().any(known)
    };
    let tagged = catalog.select(|entry| same(&entry.tag));
    if !tagged.is_empty() {
        return Some((format!("{SYNONYM} \"{}\"", said.join(" ")), tagged, 0.65));
    }
    let (labels, entries) = of_batch(&same);
    let label = format!("batch \"{}\"", labels.join("\", \""));
    (!entries.is_empty()).then_some((label, entries, 0.65))
}
