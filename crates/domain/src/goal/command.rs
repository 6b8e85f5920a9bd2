//! Recognizes what a goal says about the fleet rather than about a work stream: next, all, status,
//! stop, who, unblock, help.
//!
//! Commands are sentences, not words: each is a pattern with its place in the clause. A command
//! word that belongs to the name of a work stream is left to that stream, or the two readings are
//! reported as contested.

use super::catalog::{Catalog, NameSpan};
use super::lexicon;
use super::text::{Gap, Token};

mod pattern;

use self::pattern::{Matcher, PATTERNS, Spelling};

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Next,
    /// To go on with what was interrupted.
    Resume,
    All,
    Parallel,
    Status,
    Stop,
    Agents,
    Unblock,
    Help,
}

/// How the words of a pattern are guarded against being part of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A noun: after a verb of making, or in front of another noun, it names a thing.
    Noun,
    /// A verb or a sentence.
    Phrase,
}

/// One command found in a goal.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) intent: Intent,
    /// Places of its words.
    pub(super) words: Vec<usize>,
    /// Its words without grammar; what a name might claim.
    pub(super) core: Vec<usize>,
    /// Asks rather than orders.
    pub(super) question: bool,
    /// One of its words is misspelled.
    pub(super) misspelled: bool,
    shape: Shape,
}

impl Command {
    /// Whether this is a noun with `next` as its head: "status page".
    pub(super) fn describes(&self, next: &Token) -> bool {
        self.shape == Shape::Noun && next.gap == Gap::Space
    }

    /// Whether this asks about or steers what is running, rather than asking for work.
    pub(super) fn is_about_fleet(&self) -> bool {
        match self.intent {
            Intent::Status | Intent::Stop | Intent::Agents | Intent::Unblock | Intent::Help => true,
            Intent::Next | Intent::Resume | Intent::All | Intent::Parallel => false,
        }
    }
}

/// Whether a command stands against a work stream that has its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// A command.
    Clear,
    /// Words of a work stream's name.
    Subject,
    /// Either; these are the streams.
    Contested(Vec<usize>),
}

/// Whether `word` is the heart of some command.
pub(super) fn is_command_word(word: &str) -> bool {
    matches!(
        word,
        "stop"
            | "halt"
            | "abort"
            | "cancel"
            | "kill"
            | "terminate"
            | "status"
            | "progress"
            | "overview"
            | "summary"
            | "report"
            | "roadmap"
            | "next"
            | "all"
            | "every"
            | "everything"
            | "anything"
            | "something"
            | "whatever"
            | "rest"
            | "remaining"
            | "who"
            | "help"
            | "unblock"
            | "blocked"
            | "blocking"
            | "blockers"
            | "running"
            | "agent"
            | "agents"
            | "worker"
            | "workers"
            | "continue"
            | "resume"
            | "parallel"
            | "news"
            | "usage"
            | "manual"
            | "commands"
            | "list"
            | "show"
            | "check"
            | "batch"
    )
}

/// All commands in `tokens`, the longest first where they overlap, in the order of the text.
pub(super) fn find(catalog: &Catalog, tokens: &[Token], taken: &[bool]) -> Vec<Command> {
    let readable: Vec<Spelling> = tokens.iter().map(|token| Spelling::of(catalog, token)).collect();
    let mut found: Vec<Command> = Vec::new();
    for (intent, shape, pattern) in PATTERNS {
        let matcher = Matcher::new(pattern, tokens, &readable, taken);
        for start in 0..tokens.len() {
            let mut words = Vec::new();
            if matcher.at(start, &mut words) {
                found.push(command(*intent, *shape, words, tokens, &readable));
            }
        }
    }
    // A stable sort: among finds of one length the earlier pattern wins.
    found.sort_by_key(|command| std::cmp::Reverse(command.words.len()));
    let mut used = vec![false; tokens.len()];
    found.retain(|command| {
        let free = command.words.iter().all(|&at| !used[at]);
        if free {
            command.words.iter().for_each(|&at| used[at] = true);
        }
        free
    });
    found.sort_by_key(|command| command.words.first().copied());
    found
}

fn command(
    intent: Intent,
    shape: Shape,
    words: Vec<usize>,
    tokens: &[Token],
    readable: &[Spelling],
) -> Command {
    let heart = |at: &&usize| {
        let word = tokens[**at].word.as_str();
        !lexicon::is_grammar(word) && !lexicon::is_filler(word) && !lexicon::is_kind(word)
    };
    let core: Vec<usize> = words.iter().filter(heart).copied().collect();
    let first = words.first().copied().unwrap_or_default();
    Command {
        intent,
        core: if core.is_empty() { words.clone() } else { core },
        question: lexicon::is_asking(&tokens[first].word),
        misspelled: words.iter().any(|&at| readable[at].corrected.is_some()),
        words,
        shape,
    }
}

/// Decides whether the words of `command` belong to a work stream instead. `sure` says that the
/// goal asks for something to be built.
pub(super) fn standing(
    command: &Command,
    catalog: &Catalog,
    tokens: &[Token],
    spans: &[NameSpan],
) -> Standing {
    let glued = |at: usize| {
        tokens[at].gap.glues() || tokens.get(at + 1).is_some_and(|next| next.gap.glues())
    };
    if command.core.iter().any(|&at| tokens[at].quoted || glued(at)) {
        return Standing::Subject;
    }
    if let Some(standing) = standing_in_names(command, tokens, spans) {
        return standing;
    }
    if command.shape == Shape::Noun && made(command, tokens) {
        return Standing::Subject;
    }
    standing_in_tasks(command, catalog, tokens)
}

fn standing_in_names(command: &Command, tokens: &[Token], spans: &[NameSpan]) -> Option<Standing> {
    let span = spans
        .iter()
        .find(|span| command.core.iter().any(|at| (span.start..span.end).contains(at)))?;
    let claimed = |at: usize| command.words.contains(&at);
    let beyond: Vec<usize> = (span.start..span.end)
        .filter(|&at| !claimed(at) && !super::catalog::is_light(&tokens[at].word))
        .collect();
    let run = (0..span.start).any(|at| lexicon::is_making(&tokens[at].word) && !claimed(at));
    let last_core = command.core.last().copied().unwrap_or_default();
    let goes_on = beyond.iter().any(|&at| at > last_core);
    let long = span.end - span.start > 2;
    Some(if beyond.is_empty() {
        // The command says every word of the name: only a whole name is worth asking about.
        if run {
            Standing::Subject
        } else if span.full {
            Standing::Contested(vec![span.entry])
        } else {
            Standing::Clear
        }
    } else if span.full || run || long || (goes_on && command.intent != Intent::Stop) {
        Standing::Subject
    } else {
        Standing::Contested(vec![span.entry])
    })
}

/// "build a status …" and "add help …" ask for things to be made.
fn made(command: &Command, tokens: &[Token]) -> bool {
    if matches!(command.intent, Intent::All | Intent::Next | Intent::Resume) {
        return false;
    }
    let Some(&first) = command.words.first() else { return false };
    let article = |at: &usize| {
        let word = tokens[*at].word.as_str();
        super::catalog::is_light(word) || lexicon::is_filler(word)
    };
    let before = (0..first).rev().find(|at| !article(at));
    before.is_some_and(|at| lexicon::is_making(&tokens[at].word))
}

/// A task may use the words side by side as well ("stop words").
fn standing_in_tasks(command: &Command, catalog: &Catalog, tokens: &[Token]) -> Standing {
    for &at in &command.core {
        let next = at + 1;
        let Some(following) = tokens.get(next) else { continue };
        let weightless = lexicon::is_weightless(&following.word)
            || is_command_word(&following.word)
            || following.is_number();
        if command.words.contains(&next) || weightless || following.gap != Gap::Space {
            continue;
        }
        let streams = catalog.tasks_with_pair(&tokens[at].stem, &following.stem);
        if !streams.is_empty() {
            return Standing::Contested(streams.to_vec());
        }
    }
    Standing::Clear
}
