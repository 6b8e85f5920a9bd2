//! Puts together the work streams that one part of a goal means, and how sure that is.

use super::catalog::{Catalog, Entry};
use super::draft::Picks;
use super::lexicon;
use super::matching::{self, By, Candidate, Found, SYNONYM};
use super::phrase::{Phrase, Segment, SubjectWord};

/// Confidence in a stream that is named by its id.
const BY_ID: f64 = 0.97;
/// How much of the confidence a part of the goal without any meaning leaves.
const PART_UNKNOWN: f64 = 0.65;

/// The work streams that words mean.
#[derive(Debug, Default, Clone)]
pub(super) struct Selection {
    /// Streams and how well each fits, in the order they were named.
    pub(super) picks: Picks,
    pub(super) confidence: f64,
    /// Why these streams: clauses for the explanation.
    pub(super) reasons: Vec<String>,
    /// Words that nothing in the roadmap answers to.
    pub(super) unmatched: Vec<String>,
    /// Words and what they were read as.
    pub(super) guesses: Vec<(String, String)>,
    /// The streams are alternatives, of which somebody has to choose.
    pub(super) undecided: bool,
    /// The streams were named together: a batch, a tag, a range.
    pub(super) grouped: bool,
}

/// What the references and subject words of `phrase` mean; `all` asks for every stream that fits.
pub(super) fn select(catalog: &Catalog, phrase: &Phrase, all: bool) -> Selection {
    let mut selection = Selection { confidence: 1.0, ..Selection::default() };
    take_references(phrase, &mut selection);
    let said = phrase.segments.iter().any(Segment::has_subject);
    let nothing_else =
        phrase.references.read.iter().all(|read| !read) && phrase.commands.is_empty();
    let speaks = |segment: &&Segment| {
        segment.has_subject() || (!said && nothing_else && !segment.words.is_empty())
    };
    let segments: Vec<&Segment> = phrase.segments.iter().filter(speaks).collect();
    for segment in &segments {
        note_words(&segment.words, &mut selection);
    }
    let (beside, free): (Vec<&Segment>, Vec<&Segment>) =
        segments.into_iter().partition(|segment| !segment.beside.is_empty());
    for segment in beside {
        compare_with_ids(catalog, segment, &mut selection);
    }
    if all && !free.is_empty() {
        take_every(catalog, &free, &mut selection);
    } else {
        take_segments(catalog, &free, &mut selection);
    }
    let strangers = selection.unmatched.len();
    if !phrase.references.entries.is_empty() && strangers > 0 {
        let extra = u32::try_from(strangers - 1).unwrap_or(u32::MAX);
        let confidence = (BY_ID - 0.03 - 0.1 * f64::from(extra)).max(0.5);
        selection.confidence = selection.confidence.min(confidence);
    }
    if selection.picks.is_empty() {
        selection.confidence = 0.0;
    }
    selection
}

/// Every stream that what is left out could mean, and the words that mean none.
pub(super) fn select_excluded(catalog: &Catalog, phrase: &Phrase) -> (Vec<usize>, Vec<String>) {
    let mut entries = phrase.references.entries.clone();
    let mut unresolved = phrase.references.unknown.clone();
    if let Some((_, size)) = &phrase.references.size {
        // Of unknown size may be of this one: better one too many left out.
        let of_size = catalog.select(|entry| size.holds(entry) != Some(false));
        let named = !phrase.references.entries.is_empty();
        if named {
            entries.retain(|entry| of_size.contains(entry));
        } else {
            entries.extend(of_size);
        }
    }
    for segment in &phrase.segments {
        if let Some(state) = only_state(segment) {
            match in_state(catalog, state) {
                Some(found) => entries.extend(found),
                None => unresolved.push(state.to_owned()),
            }
            continue;
        }
        let (mut found, by_name) = matching::possible(catalog, &segment.words);
        let strange = |word: &SubjectWord| !word.soft && word.resolved.terms.is_empty();
        if !by_name && segment.words.iter().any(strange) {
            found.clear();
        }
        let speaks = segment.has_subject();
        if !speaks && !phrase.references.entries.is_empty() {
            continue;
        }
        if found.is_empty() && speaks && segment.beside.is_empty() {
            unresolved.extend(segment.words.iter().map(|word| word.token.word.clone()));
        }
        if segment.beside.is_empty() || found.len() == 1 {
            entries.extend(found);
        }
    }
    entries.sort_unstable();
    entries.dedup();
    (entries, unresolved)
}

/// The word of a segment that says nothing but a state: "the blocked ones".
fn only_state(segment: &Segment) -> Option<&str> {
    let alone = !segment.has_subject() && segment.beside.is_empty();
    let words = segment.words.iter().map(|word| word.token.word.as_str());
    alone.then(|| words.into_iter().find(|word| lexicon::is_state(word))).flatten()
}

/// The streams in a state, as far as a roadmap tells it.
fn in_state(catalog: &Catalog, state: &str) -> Option<Vec<usize>> {
    let wanted: fn(&Entry) -> bool = match state {
        "blocked" | "waiting" => |entry| !entry.subject.available && !entry.subject.complete,
        "done" | "complete" | "completed" | "finished" | "merged" => |entry| entry.subject.complete,
        "ready" | "available" | "unblocked" => |entry| entry.subject.available,
        _ => return None,
    };
    Some(catalog.select(wanted))
}

fn take_references(phrase: &Phrase, selection: &mut Selection) {
    let references = &phrase.references;
    if references.entries.is_empty() {
        return;
    }
    selection.picks.extend(references.entries.iter().map(|&entry| (entry, BY_ID)));
    selection.confidence = BY_ID;
    selection.grouped = references.grouped;
    selection.reasons.push(format!("named by {}", references.named.join(", ")));
    if references.doubtful {
        selection.confidence = 0.45;
        selection.reasons.push("the number may belong to the word before it".to_owned());
    }
    if references.alternatives {
        selection.confidence = selection.confidence.min(0.55);
        selection.undecided = true;
        selection.reasons.push("\"or\" leaves the choice open".to_owned());
    }
    if references.shared_id {
        selection.confidence = 0.6;
        selection.undecided = true;
        selection.reasons.push("several work streams share this id".to_owned());
    }
    if !references.unknown.is_empty() {
        selection.confidence = selection.confidence.min(0.6);
    }
}

fn note_words(words: &[SubjectWord], selection: &mut Selection) {
    for word in words.iter().filter(|word| !word.soft) {
        let written = &word.token.word;
        if word.resolved.terms.is_empty() {
            // "tell me" is no stranger in a question.
            if !selection.unmatched.contains(written) && !lexicon::is_inquiry(written) {
                selection.unmatched.push(written.clone());
            }
        } else if let Some(guess) = &word.resolved.guessed {
            selection.guesses.push((written.clone(), guess.clone()));
        }
    }
}

/// Words said together with an id should mean the same stream: "2.1 team engine".
fn compare_with_ids(catalog: &Catalog, segment: &Segment, selection: &mut Selection) {
    let Found::One(one) = matching::find(catalog, &segment.words, segment.batch) else { return };
    if segment.beside.contains(&one.entry) || one.by == By::Task {
        return;
    }
    let subject = &catalog.entries[one.entry].subject;
    let strong = one.by == By::FullName || one.words.len() > 1;
    if strong && one.confidence >= 0.6 {
        selection.picks.push((one.entry, one.confidence));
        selection.undecided = true;
        selection.confidence = selection.confidence.min(0.6);
        selection.reasons.push(format!("but the words mean {} {}", subject.id, subject.name));
    } else {
        selection.confidence = selection.confidence.min(0.75);
    }
}

/// "all parser streams": whatever fits, not the best one.
fn take_every(catalog: &Catalog, segments: &[&Segment], selection: &mut Selection) {
    for segment in segments {
        let (found, confidence) = matching::every(catalog, &segment.words);
        let said = said(&segment.words);
        if found.is_empty() {
            take_segments(catalog, &[segment], selection);
            continue;
        }
        selection.reasons.push(format!("every one that answers to \"{said}\""));
        for entry in found {
            pick(selection, entry, confidence);
        }
        selection.grouped = true;
        selection.confidence = selection.confidence.min(confidence);
    }
}

fn take_segments(catalog: &Catalog, segments: &[&Segment], selection: &mut Selection) {
    if let Some(one) = covers_all(catalog, segments) {
        accept(catalog, segments_words(segments), one, selection);
        return;
    }
    for segment in segments {
        let before = selection.picks.len();
        match matching::find(catalog, &segment.words, segment.batch) {
            Found::Nothing => selection.confidence *= PART_UNKNOWN,
            Found::One(one) => accept(catalog, segment.words.clone(), one, selection),
            Found::Tied(tied, confidence) => {
                let picked = |entry| selection.picks.iter().any(|(known, _)| *known == entry);
                if tied.iter().any(|one| picked(one.entry)) {
                    // "task parser and parser tests": one of them is meant already.
                    continue;
                }
                let said = said(&segment.words);
                selection.reasons.push(format!("\"{said}\" fits {} work streams", tied.len()));
                tied.iter().for_each(|one| pick(selection, one.entry, one.confidence));
                selection.confidence = selection.confidence.min(confidence);
                selection.undecided = true;
            }
            // A synonym ("it's urgent") beside a stream describes it.
            Found::Group { label, .. } if label.starts_with(SYNONYM) && before > 0 => {}
            Found::Group { label, entries, confidence } => {
                selection.reasons.push(format!("named by {label}"));
                selection.grouped = true;
                entries.into_iter().for_each(|entry| pick(selection, entry, confidence));
                selection.confidence = selection.confidence.min(confidence);
            }
        }
        if segment.alternative && before > 0 && selection.picks.len() > before {
            selection.undecided = true;
            selection.confidence = selection.confidence.min(0.55);
            selection.reasons.push("\"or\" leaves the choice open".to_owned());
        }
    }
}

/// One stream that has words of every part, and fits them together as well as others fit one:
/// "safety constraints and kill switches" may be one name.
fn covers_all(catalog: &Catalog, segments: &[&Segment]) -> Option<Candidate> {
    if segments.len() < 2 {
        return None;
    }
    let Found::One(one) = matching::find(catalog, &segments_words(segments), false) else {
        return None;
    };
    let mut offset = 0;
    for segment in segments {
        let range = offset..offset + segment.words.len();
        let touched = one.words.iter().any(|at| range.contains(at));
        if !touched {
            return None;
        }
        offset = range.end;
    }
    let apart = segments
        .iter()
        .filter_map(|segment| match matching::find(catalog, &segment.words, segment.batch) {
            Found::One(part) => Some(part),
            Found::Nothing | Found::Tied(..) | Found::Group { .. } => None,
        })
        .filter(|part| part.entry != one.entry)
        .map(|part| part.confidence)
        .fold(0.0, f64::max);
    (one.confidence + 0.05 >= apart).then_some(one)
}

fn segments_words(segments: &[&Segment]) -> Vec<SubjectWord> {
    segments.iter().flat_map(|segment| segment.words.clone()).collect()
}

fn accept(catalog: &Catalog, words: Vec<SubjectWord>, one: Candidate, selection: &mut Selection) {
    let said: Vec<&str> = words
        .iter()
        .enumerate()
        .filter(|(at, _)| one.words.contains(at))
        .map(|(_, word)| word.token.word.as_str())
        .collect();
    let said = if said.is_empty() { said_all(&words) } else { said.join(" ") };
    let id = &catalog.entries[one.entry].subject.id;
    selection.reasons.push(match one.by {
        By::FullName => format!("\"{said}\" is the name of {id}"),
        By::Name => format!("\"{said}\" is in the name of {id}"),
        By::Task => format!("\"{said}\" is in the tasks of {id}"),
    });
    selection.confidence = selection.confidence.min(one.confidence);
    pick(selection, one.entry, one.confidence);
}

fn pick(selection: &mut Selection, entry: usize, score: f64) {
    if !selection.picks.iter().any(|(known, _)| *known == entry) {
        selection.picks.push((entry, score));
    }
}

fn said(words: &[SubjectWord]) -> String {
    let hard: Vec<&str> =
        words.iter().filter(|word| !word.soft).map(|word| word.token.word.as_str()).collect();
    if hard.is_empty() { said_all(words) } else { hard.join(" ") }
}

fn said_all(words: &[SubjectWord]) -> String {
    words.iter().map(|word| word.token.word.as_str()).collect::<Vec<_>>().join(" ")
}
