//! Reads one part of a goal: which references, commands and subject words it holds.

use super::catalog::{Catalog, NameSpan, is_light};
use super::command::{self, Command, Standing};
use super::lexicon;
use super::reference::{self, References};
use super::text::{Gap, Token};
use super::vocabulary::Resolved;

/// One word that may name a work stream.
#[derive(Debug, Clone)]
pub(super) struct SubjectWord {
    pub(super) token: Token,
    pub(super) resolved: Resolved,
    /// Counts only together with others, as "task" in "task parser".
    pub(super) soft: bool,
}

/// Subject words that belong together: what stands between two "and"s.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment {
    pub(super) words: Vec<SubjectWord>,
    /// Streams named by id in the same breath: "2.1 team engine".
    pub(super) beside: Vec<usize>,
    /// Joined to the segment before by "or".
    pub(super) alternative: bool,
    /// Says "batch", so that its words may name one.
    pub(super) batch: bool,
}

impl Segment {
    /// Whether some word means a subject by itself.
    pub(super) fn has_subject(&self) -> bool {
        self.words.iter().any(|word| !word.soft)
    }
}

/// One part of a goal, read.
#[derive(Debug, Clone)]
pub(super) struct Phrase {
    pub(super) tokens: Vec<Token>,
    pub(super) spans: Vec<NameSpan>,
    pub(super) references: References,
    /// Commands that are no part of a stream's name.
    pub(super) commands: Vec<Command>,
    /// Commands that may as well be words of these streams.
    pub(super) contested: Vec<(Command, Vec<usize>)>,
    pub(super) segments: Vec<Segment>,
}

impl Phrase {
    /// Whether the order is to do something.
    pub(super) fn orders_work(&self) -> bool {
        self.tokens.iter().any(|token| lexicon::is_doing(&token.word) && token.word != "do")
    }

    /// Whether the part opens as a question does.
    pub(super) fn asks(&self) -> bool {
        let mut spoken = self.tokens.iter().filter(|token| !lexicon::is_filler(&token.word));
        let first = spoken.next().map_or("", |token| &token.word);
        let second = spoken.next().map_or("", |token| &token.word);
        // "could you start …" is an order, "could 2.1 start" is none.
        let possible = matches!(first, "can" | "could" | "would" | "will" | "may" | "might");
        (lexicon::is_asking(first) || (possible && !matches!(second, "you" | "somebody")))
            && !self.spans.iter().any(|span| span.start == 0 && span.full)
    }
}

/// Writes compounds the way the roadmap does: `taskparser` becomes two words and `back end` one.
pub(super) fn align(catalog: &Catalog, tokens: Vec<Token>) -> Vec<Token> {
    let mut aligned: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        if let Some(joined) = aligned.last().and_then(|last| joined(catalog, last, &token)) {
            aligned.pop();
            aligned.push(joined);
            continue;
        }
        let parts = if catalog.vocabulary.knows(&token) || lexicon::is_weightless(&token.word) {
            None
        } else {
            catalog.vocabulary.compound(&token.word)
        };
        match parts {
            Some((first, second)) => {
                let mut parts = super::text::tokenize(&format!("{first}_{second}"));
                parts.iter_mut().for_each(|part| part.quoted = token.quoted);
                if let Some(part) = parts.first_mut() {
                    part.gap = token.gap;
                }
                aligned.append(&mut parts);
            }
            None => aligned.push(token),
        }
    }
    aligned
}

fn joined(catalog: &Catalog, first: &Token, second: &Token) -> Option<Token> {
    let glued = second.gap == Gap::Glue;
    let plain = |token: &Token| !lexicon::is_weightless(&token.word) && !token.is_number();
    let both_known = catalog.vocabulary.knows(first) && catalog.vocabulary.knows(second);
    let apart = second.gap != Gap::Space && !glued;
    if apart || both_known || !(glued || plain(first) && plain(second)) {
        return None;
    }
    let word = format!("{}{}", first.word, second.word);
    if first.is_number() || second.is_number() || !catalog.vocabulary.writes(&word) {
        return None;
    }
    let mut token = super::text::tokenize(&word).into_iter().next()?;
    token.gap = first.gap;
    token.quoted = first.quoted;
    Some(token)
}

/// The spans of stream names in `tokens`, read past misspellings.
pub(super) fn name_spans(catalog: &Catalog, tokens: &[Token]) -> Vec<NameSpan> {
    let meant = |token: &Token| {
        if lexicon::is_grammar(&token.word) {
            return token.stem.clone();
        }
        let resolved = catalog.vocabulary.resolve(token);
        match resolved.terms.as_slice() {
            [only] => only.stem.clone(),
            _ => token.stem.clone(),
        }
    };
    let stems: Vec<String> = tokens.iter().map(meant).collect();
    let skipped: Vec<bool> = (0..tokens.len())
        .map(|at| {
            // "stop the words" is an order; "task parser & the registry" may be a name.
            let ordered = at > 0 && command::is_command_word(&tokens[at - 1].word);
            is_light(&tokens[at].word) && !ordered
        })
        .collect();
    let spans = catalog.name_spans(&stems, &skipped);
    let broken =
        |span: &NameSpan| (span.start + 1..span.end).any(|at| tokens[at].gap == Gap::Sentence);
    spans.into_iter().filter(|span| !broken(span)).collect()
}

/// Reads one part of a goal.
pub(super) fn read(catalog: &Catalog, tokens: Vec<Token>) -> Phrase {
    let spans = name_spans(catalog, &tokens);
    let references = reference::read(catalog, &tokens, &spans);
    let mut commands = Vec::new();
    let mut contested = Vec::new();
    for command in command::find(catalog, &tokens, &references.read) {
        match command::standing(&command, catalog, &tokens, &spans) {
            Standing::Clear => commands.push(command),
            Standing::Contested(streams) => contested.push((command, streams)),
            Standing::Subject => {}
        }
    }
    let mut taken = references.read.clone();
    for &at in commands.iter().flat_map(|command| &command.words) {
        taken[at] = true;
    }
    if commands.iter().any(Command::is_about_fleet) {
        for (at, token) in tokens.iter().enumerate() {
            let named = spans.iter().any(|span| span.start <= at && at < span.end);
            taken[at] |= lexicon::is_fleet(&token.word) && !named;
        }
    }
    let segments = segments(catalog, &tokens, &spans, &references, &taken);
    Phrase { tokens, spans, references, commands, contested, segments }
}

fn segments(
    catalog: &Catalog,
    tokens: &[Token],
    spans: &[NameSpan],
    references: &References,
    taken: &[bool],
) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut open = Segment::default();
    for (at, token) in tokens.iter().enumerate() {
        let in_span = spans.iter().any(|span| span.start < at && at < span.end);
        let named = spans.iter().any(|span| span.start <= at && at < span.end);
        let joint = is_joint(tokens, at);
        let parted = matches!(token.gap, Gap::Comma | Gap::Join | Gap::Sentence);
        if !in_span && (joint || parted) {
            flush(&mut segments, &mut open);
            open.alternative = token.word == "or";
        }
        if let Some((_, entries)) = references.at.iter().find(|(place, _)| *place == at) {
            open.beside.extend(entries);
        }
        if matches!(token.word.as_str(), "batch" | "batches") && !named {
            open.batch = true;
        } else if !taken[at] && !joint && (!lexicon::is_grammar(&token.word)) {
            let soft = lexicon::is_soft(&token.word);
            // A common word is never taken for a misspelled name.
            let resolvable = !soft || catalog.vocabulary.knows(token);
            let resolved =
                if resolvable { catalog.vocabulary.resolve(token) } else { Resolved::default() };
            let soft = soft || (resolved.terms.is_empty() && lexicon::is_nearly_doing(&token.word));
            open.words.push(SubjectWord { token: token.clone(), resolved, soft });
        }
    }
    flush(&mut segments, &mut open);
    segments
}

fn is_joint(tokens: &[Token], at: usize) -> bool {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.word.as_str());
    matches!(word(at), "and" | "or" | "plus" | "then" | "also" | "followed")
        || (word(at) == "as" && word(at + 1) == "well")
        || (word(at) == "along" && word(at + 1) == "with")
}

fn flush(segments: &mut Vec<Segment>, open: &mut Segment) {
    let done = std::mem::take(open);
    if !done.words.is_empty() || !done.beside.is_empty() {
        segments.push(done);
    }
}
