//! Decides what a goal asks for, from the references, commands and words that were read in it.

use super::catalog::{Catalog, NaturalKey};
use super::command::{Command, Intent};
use super::condition;
use super::draft::{Draft, list};
use super::lexicon;
use super::phrase::{self, Phrase};
use super::scope::{self, Scopes};
use super::selection::{self, Selection};
use super::text::{Gap, Token, tokenize};
use super::vocabulary::as_f64;
use super::{Action, GOAL_CHARS_MAX, Interpretation};

mod fleet;
mod tone;
mod work;

/// What every reading of a goal may depend on.
pub(super) struct Context<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) main: Phrase,
    /// Streams that must not be touched.
    pub(super) excluded: Vec<usize>,
    /// They were ruled out neither by an id nor by a full name.
    pub(super) vague_exclusion: bool,
    /// A condition was stated that is not acted on.
    pub(super) condition: Option<String>,
}

impl Context<'_> {
    /// The first command with this intent.
    pub(super) fn command(&self, intent: Intent) -> Option<&Command> {
        self.main.commands.iter().find(|command| command.intent == intent)
    }

    pub(super) fn excluded_ids(&self) -> Vec<String> {
        let id = |&entry: &usize| self.catalog.entries[entry].subject.id.clone();
        self.excluded.iter().map(id).collect()
    }
}

/// Reads `text` against `catalog`.
pub(super) fn interpret(catalog: &Catalog, text: &str) -> Interpretation {
    if let Some(length) = too_long(text) {
        let mut draft = Draft::new(catalog, Action::Suggest, 0.0);
        draft.say(format!(
            "The goal is {length}; at most {GOAL_CHARS_MAX} characters are read. Say it shorter."
        ));
        draft.suggest_like(&[], &[]);
        return draft.finish();
    }
    let tokens = phrase::align(catalog, tokenize(text));
    if tokens.is_empty() {
        return without_words(catalog, text);
    }
    let spans = phrase::name_spans(catalog, &tokens);
    let (tokens, mut unheeded) = condition::take(catalog, tokens, &spans);
    let spans = if unheeded.is_empty() { spans } else { phrase::name_spans(catalog, &tokens) };
    let scopes = scope::split(&tokens, &spans);
    let exclusion = Exclusion::read(catalog, &scopes);
    unheeded.extend(condition(&scopes));
    let condition = (!unheeded.is_empty()).then(|| unheeded.join(", "));
    let main = phrase::read(catalog, scopes.main);
    if let Some(refused) = exclusion.refuse(catalog, &main) {
        return refused;
    }
    let context = Context {
        catalog,
        main,
        excluded: exclusion.entries,
        vague_exclusion: exclusion.vague,
        condition,
    };
    let mut draft = read(&context);
    if exclusion.commands && draft.action != Action::Suggest {
        draft.confidence *= 0.7;
        draft.say("What it says not to do was taken as a remark.");
    }
    draft.finish()
}

fn read<'a>(context: &Context<'a>) -> Draft<'a> {
    if let Some(draft) = fleet::contested(context) {
        return draft;
    }
    if let Some(draft) = fleet::read(context) {
        return draft;
    }
    work::read(context)
}

fn too_long(text: &str) -> Option<String> {
    // Bytes first: counting the characters of a huge text is work as well.
    if text.len() <= GOAL_CHARS_MAX {
        return None;
    }
    if text.len() > GOAL_CHARS_MAX * 8 {
        return Some(format!("{} bytes long", text.len()));
    }
    let characters = text.chars().count();
    (characters > GOAL_CHARS_MAX).then(|| format!("{characters} characters long"))
}

fn without_words(catalog: &Catalog, text: &str) -> Interpretation {
    if text.trim().starts_with('?') {
        let mut draft = Draft::new(catalog, Action::Help, 0.7);
        draft.say("A question mark alone asks for help.");
        return draft.finish();
    }
    let mut draft = Draft::new(catalog, Action::Suggest, 0.0);
    draft.say("The goal has no words to go by.");
    draft.suggest_like(&[], &[]);
    draft.finish()
}

/// What the goal says not to do.
#[derive(Debug, Default)]
struct Exclusion {
    entries: Vec<usize>,
    /// Words whose work stream could not be found.
    unresolved: Vec<String>,
    /// What needs the streams that were named is ruled out, not they themselves.
    needing: bool,
    /// It is neither by an id nor by a full name.
    vague: bool,
    /// An exclusion without anything in it.
    empty: bool,
    /// Something other than work streams is ruled out: "don't stop".
    commands: bool,
}

impl Exclusion {
    fn read(catalog: &Catalog, scopes: &Scopes) -> Self {
        let mut exclusion = Self::default();
        for tokens in &scopes.excluded {
            let phrase = phrase::read(catalog, tokens.clone());
            let (mut entries, unresolved) = selection::select_excluded(catalog, &phrase);
            let needing = tokens.first().is_some_and(|token| lexicon::is_needing(&token.word));
            if needing && !entries.is_empty() {
                entries = catalog.dependents(&entries);
                exclusion.needing = true;
            }
            let fleet = phrase
                .commands
                .iter()
                .any(|command| command.is_about_fleet() || command.intent == Intent::All);
            exclusion.commands |= fleet;
            exclusion.vague |=
                phrase.references.entries.is_empty() && !phrase.spans.iter().any(|span| span.full);
            let nothing = entries.is_empty() && unresolved.is_empty();
            exclusion.empty |= nothing && !fleet && !exclusion.needing;
            exclusion.entries.extend(entries);
            exclusion.unresolved.extend(unresolved);
        }
        exclusion.entries.sort_unstable();
        exclusion.entries.dedup();
        exclusion
    }

    /// A suggestion, where it is not clear what must not run or nothing else was said.
    fn refuse(&self, catalog: &Catalog, main: &Phrase) -> Option<Interpretation> {
        let said = main.segments.iter().any(super::phrase::Segment::has_subject)
            || !main.references.entries.is_empty()
            || !main.references.agents.is_empty()
            || !main.commands.is_empty();
        let sentence = if !self.unresolved.is_empty() {
            format!(
                "It rules out \"{}\", but no work stream answers to that, so nothing is started. \
                 Name what to leave out by its id.",
                self.unresolved.join(" ")
            )
        } else if self.empty {
            "It rules something out, but not which work stream, so nothing is started.".to_owned()
        } else if !said && (self.commands || !self.entries.is_empty()) {
            let left_out = list(catalog, self.entries.iter().copied());
            let left_out =
                if left_out.is_empty() { String::new() } else { format!(" ({left_out})") };
            format!("It only says what not to do{left_out}. Say what to do instead.")
        } else {
            return None;
        };
        let mut draft = Draft::new(catalog, Action::Suggest, 0.3);
        let id = |&entry: &usize| catalog.entries[entry].subject.id.clone();
        draft.arguments.excluded = self.entries.iter().map(id).collect();
        draft.say(sentence);
        draft.suggest_like(&[], &[]);
        Some(draft.finish())
    }
}

/// The words of the first condition that means something.
fn condition(scopes: &Scopes) -> Option<String> {
    let idle = |token: &Token| {
        lexicon::is_weightless(&token.word)
            || lexicon::is_state(&token.word)
            || matches!(
                token.word.as_str(),
                "end"
                    | "nothing"
                    | "necessary"
                    | "needed"
                    | "everything"
                    | "all"
                    | "left"
                    | "needs"
                    | "roadmap"
            )
    };
    // "when I am back" is a condition, "if you can" is politeness.
    let polite = |token: &Token| {
        matches!(token.word.as_str(), "can" | "could" | "may" | "might" | "would" | "do")
    };
    let grammar = |tokens: &[Token]| {
        let only = tokens.iter().all(|token| lexicon::is_grammar(&token.word));
        only && !tokens.is_empty() && !tokens.iter().any(polite)
    };
    let tells = |tokens: &&Vec<Token>| !tokens.iter().all(idle) || grammar(tokens);
    let told = scopes.conditions.iter().find(tells)?;
    Some(told.iter().map(|token| token.word.as_str()).collect::<Vec<_>>().join(" "))
}

/// Notes what the words were read as, and which were not understood.
fn explain_words(draft: &mut Draft<'_>, selection: &Selection) {
    for (written, guess) in &selection.guesses {
        if !guess.starts_with(written.as_str()) {
            draft.say(format!("Read \"{written}\" as \"{guess}\"."));
        }
    }
    if !selection.unmatched.is_empty() {
        draft.say(format!("Not in the roadmap: \"{}\".", selection.unmatched.join("\", \"")));
    }
}

/// Notes ids that do not exist; gives the streams with the nearest ids.
fn explain_unknown(draft: &mut Draft<'_>, context: &Context<'_>) -> Vec<usize> {
    let unknown = &context.main.references.unknown;
    if unknown.is_empty() {
        return Vec::new();
    }
    draft.say(format!("There is no work stream {}.", unknown.join(", ")));
    let near = |id: &String| {
        let mut key = NaturalKey::of(id.trim_start_matches("batch "));
        if key.0.len() > 1 {
            key.0.pop();
        }
        let below = if key.0.is_empty() { Vec::new() } else { context.catalog.below(&key) };
        below.into_iter().take(3)
    };
    unknown.iter().flat_map(near).collect()
}

/// Lowers the confidence for a condition that is not acted on.
fn weigh_condition(draft: &mut Draft<'_>, context: &Context<'_>) {
    if let Some(condition) = &context.condition {
        draft.confidence *= 0.7;
        draft.say(format!("The condition \"{condition}\" is not acted on."));
    }
}

/// A factor for words of no known meaning beside a command.
fn strangeness(selection: &Selection, each: f64) -> f64 {
    each.powf(as_f64(selection.unmatched.len()))
}

/// Whether the words open a new order: at the beginning or after "and", "then" or a comma.
fn opens_order(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    matches!(tokens[at].gap, Gap::Comma | Gap::Sentence)
        || matches!(tokens[before].word.as_str(), "and" | "then" | "also")
}
