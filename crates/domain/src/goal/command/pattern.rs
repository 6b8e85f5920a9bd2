//! The sentences that are commands, and how a goal is held against them.

use super::super::catalog::Catalog;
use super::super::lexicon;
use super::super::text::{Gap, Token};
use super::super::vocabulary::edits_allowed;
use super::{Intent, Shape, is_command_word};

/// Patterns are words in order. `a|b` is one of them, `?` after a word makes it optional, `*` is
/// up to five words of anything else, `^` the beginning of a clause, `$` its end. Politeness and
/// articles between the words are passed over. Longer finds win, then earlier lines.
pub(super) const PATTERNS: &[(Intent, Shape, &str)] = &[
    (Intent::Help, Shape::Phrase, "^help $"),
    (Intent::Help, Shape::Phrase, "^help me|us out|started? $"),
    (Intent::Help, Shape::Phrase, "^need|want help $"),
    (Intent::Help, Shape::Phrase, "^show|print|display|get|open help|usage|manual|commands $"),
    (Intent::Help, Shape::Phrase, "^help with? this|kapelle|commands|usage $"),
    (Intent::Help, Shape::Phrase, "^what can|could you|i|kapelle do|say|ask|type here?"),
    (Intent::Help, Shape::Phrase, "^what do|does you|this|it|kapelle do $"),
    (
        Intent::Help,
        Shape::Phrase,
        "^how do|does|can|should|to i|it|this|you|one|we|kapelle? work|use|operate|stop|start|run|begin|ask",
    ),
    (Intent::Help, Shape::Phrase, "^what commands|options are|can|do? there|i|you? use|know|have?"),
    (Intent::Help, Shape::Phrase, "^usage|manual|commands|instructions $"),
    (Intent::Stop, Shape::Phrase, "^stop|halt|abort|cancel|kill|terminate"),
    (
        Intent::Stop,
        Shape::Phrase,
        "everything|all|agents|workers|everybody|everyone|they must|should|to? stop|halt now|immediately? $",
    ),
    (Intent::Stop, Shape::Phrase, "^shut|wind everything|all|it|them|agents? down"),
    (Intent::Stop, Shape::Phrase, "^shut|wind down"),
    (Intent::Stop, Shape::Phrase, "^call it off|quits"),
    (Intent::Stop, Shape::Phrase, "^pull plug"),
    (Intent::Unblock, Shape::Phrase, "^unblock"),
    (Intent::Unblock, Shape::Phrase, "unblock"),
    (
        Intent::Unblock,
        Shape::Phrase,
        "^what|who|which * block|blocks|blocking|blocked|stuck|waiting|waits|holding|preventing|stopping|stalled|stalls",
    ),
    (
        Intent::Unblock,
        Shape::Phrase,
        "^why is|are|was|does|do|did|has|can * blocked|stuck|waiting|wait|running|run|start|started|available|moving|idle|ready|stalled|claimed|begin|progressing|happening",
    ),
    (Intent::Unblock, Shape::Phrase, "^why * blocked|stuck|waiting|idle|stalled"),
    (
        Intent::Unblock,
        Shape::Phrase,
        "^what does|do|is * wait|waiting|depend|depends|need|needs for|on?",
    ),
    (Intent::Unblock, Shape::Phrase, "^is|are * blocked|stuck|waiting|stalled"),
    (
        Intent::Unblock,
        Shape::Phrase,
        "^show|list|display|give|print me|all? blocked|blockers|stuck|waiting|dependencies",
    ),
    (Intent::Unblock, Shape::Phrase, "^blocked|blockers|stuck $"),
    (Intent::Unblock, Shape::Phrase, "^anything|something|anyone|who blocked|stuck|waiting"),
    (Intent::Unblock, Shape::Phrase, "^blockers|dependencies of|for"),
    (
        Intent::Agents,
        Shape::Phrase,
        "^who is|are|was|works|work|does|do|has working|busy|active|running|doing|on|there|around?",
    ),
    (Intent::Agents, Shape::Phrase, "^who $"),
    (Intent::Agents, Shape::Phrase, "^what|which is|are? agents|agent|workers|worker"),
    (Intent::Agents, Shape::Phrase, "^what|which * running|executing"),
    (Intent::Agents, Shape::Phrase, "^what|which * is|are running|active|in progress?"),
    (
        Intent::Agents,
        Shape::Phrase,
        "^what is|are|s everyone|everybody|they|agents|workers|you|fleet doing|working|up to|on?",
    ),
    (Intent::Agents, Shape::Phrase, "^what is|are being worked|done on|now?"),
    (Intent::Agents, Shape::Phrase, "^what is in progress"),
    (
        Intent::Agents,
        Shape::Phrase,
        "^show|list|display|give|see|print me|us|all|active|running? agents|workers|running|fleet",
    ),
    (Intent::Agents, Shape::Phrase, "^how many agents|workers"),
    (
        Intent::Agents,
        Shape::Phrase,
        "^is|are anyone|anybody|anything|something|agents|workers|someone working|running|active|busy",
    ),
    (Intent::Agents, Shape::Phrase, "^running|active agents|streams|tasks|workers|jobs|work? $"),
    (Intent::Agents, Shape::Phrase, "^agents|workers|fleet status? $"),
    (
        Intent::Status,
        Shape::Phrase,
        "^how is|are|was|were * going|doing|coming|progressing|proceeding|looking|faring along|so|far|on?",
    ),
    (
        Intent::Status,
        Shape::Phrase,
        "^how is|are everything|things|it|all|roadmap|work|project|we $",
    ),
    (Intent::Status, Shape::Phrase, "^how far along|are|is|have|has?"),
    (
        Intent::Status,
        Shape::Phrase,
        "^how much|many * done|left|complete|completed|finished|remain|remains|remaining|open|failed|available|ready",
    ),
    (Intent::Status, Shape::Phrase, "^where are|is we|things|everything|it|at|standing"),
    (
        Intent::Status,
        Shape::Phrase,
        "^what is|are * done|finished|complete|completed|left|remaining|open|available|ready|failed|failing",
    ),
    (
        Intent::Status,
        Shape::Phrase,
        "^which * is|are done|finished|complete|completed|left|remaining|open|available|ready|failed",
    ),
    (
        Intent::Status,
        Shape::Phrase,
        "^what has|have|did|is|was * finished|done|completed|failed|happened|happening|happen|merged|changed",
    ),
    (Intent::Status, Shape::Phrase, "^what is going on"),
    (Intent::Status, Shape::Phrase, "^how long left|remaining|until|does|will|is|has|take?"),
    (
        Intent::Status,
        Shape::Phrase,
        "^when is|are|will|do|does * done|finished|finish|ready|complete|completed|end|start",
    ),
    (Intent::Status, Shape::Phrase, "^what is new|up $"),
    (Intent::Status, Shape::Phrase, "^what remains|happened|failed|changed"),
    (
        Intent::Status,
        Shape::Phrase,
        "^what can|could i|we|be run|start|claim|claimed|started|run|picked",
    ),
    (
        Intent::Status,
        Shape::Phrase,
        "^is|are|was|were|has|have|did|does|will * done|finished|finish|complete|completed|ready|merged|fail|failed|pass|passed|started|over|there",
    ),
    (Intent::Status, Shape::Phrase, "^why did|has|does|is * fail|failed|failing"),
    (
        Intent::Status,
        Shape::Phrase,
        "^show|list|display|give|see|print|tell|check me|us|about|on|all|every|current|overall|project|available|open|remaining|complete|completed|finished|failed|ready|next? status|progress|roadmap|overview|summary|report|streams|phases|tasks|state|backlog|board|plan",
    ),
    (Intent::Status, Shape::Phrase, "^list|show $"),
    (Intent::Status, Shape::Phrase, "^state of things|play|affairs|roadmap|work|project"),
    (Intent::Status, Shape::Phrase, "^report|roadmap|overview|summary $"),
    (Intent::Status, Shape::Phrase, "^any|some news|update|updates"),
    (Intent::Status, Shape::Phrase, "^update|brief me|us"),
    (
        Intent::Status,
        Shape::Noun,
        "current|overall|project|roadmap|run|fleet? status|progress report|update|check|overview|summary|of|so|far?",
    ),
    (Intent::All, Shape::Phrase, "all|everything of|in? roadmap|plan|backlog"),
    (Intent::All, Shape::Phrase, "all of it|them|those"),
    (
        Intent::All,
        Shape::Noun,
        "all|everything else|left|remaining|that|there|is|open|available|possible?",
    ),
    (
        Intent::All,
        Shape::Noun,
        "every stream|phase|task|item|thing|step|remaining|single|available|last|open",
    ),
    (Intent::All, Shape::Phrase, "rest of|in roadmap|plan|backlog|project|work|it"),
    (Intent::All, Shape::Phrase, "the rest $"),
    (Intent::All, Shape::Phrase, "the rest of it|them|work|roadmap|everything?"),
    (
        Intent::All,
        Shape::Noun,
        "remaining|outstanding|available|open work|streams|tasks|phases|items|stuff|ones|steps|jobs",
    ),
    (
        Intent::All,
        Shape::Phrase,
        "whole|entire|full|complete roadmap|project|plan|backlog|lot|thing",
    ),
    (
        Intent::All,
        Shape::Phrase,
        "^run|finish|complete|execute|do|work|implement|start|build|deliver through|on? the roadmap|backlog|plan",
    ),
    (Intent::All, Shape::Phrase, "the lot $"),
    (Intent::All, Shape::Phrase, "what|whatever is left|remaining|open|available|ready|unblocked"),
    (Intent::All, Shape::Phrase, "what|whatever remains"),
    (Intent::All, Shape::Phrase, "as many|much as"),
    (Intent::All, Shape::Phrase, "^run|start|do? as|in? batch mode? $"),
    (Intent::Parallel, Shape::Phrase, "in parallel"),
    (Intent::Parallel, Shape::Phrase, "^parallel"),
    (Intent::Parallel, Shape::Phrase, "concurrently|simultaneously"),
    (Intent::Parallel, Shape::Phrase, "at once|same time? $"),
    (Intent::Next, Shape::Phrase, "^what is|comes next up? $"),
    (Intent::Next, Shape::Phrase, "^what is|comes next up?"),
    (Intent::Next, Shape::Phrase, "^what next|now"),
    (
        Intent::Next,
        Shape::Phrase,
        "^what should|shall|must|do|would|can|could|to i|we|you|be? do|run|work|start|tackle|done|pick|build on|with|next|now?",
    ),
    (
        Intent::Next,
        Shape::Noun,
        "next thing|one|ones|task|tasks|stream|streams|item|items|phase|step|available|job|piece|up|work",
    ),
    (Intent::Next, Shape::Noun, "next"),
    (
        Intent::Next,
        Shape::Phrase,
        "anything|something|whatever|any you|works|task|stream|phase|one|like|available|useful|else|ready?",
    ),
    (Intent::Resume, Shape::Phrase, "^resume|continue with|work|working?"),
    (Intent::Resume, Shape::Phrase, "^keep going|moving|working|on"),
    (Intent::Resume, Shape::Phrase, "^carry|go on"),
    (Intent::Next, Shape::Phrase, "^proceed with|work|working?"),
    (Intent::Next, Shape::Phrase, "^move on|ahead|forward"),
    (Intent::Next, Shape::Phrase, "^go ahead|forward"),
    (
        Intent::Next,
        Shape::Phrase,
        "^get|start|begin to? work|working|going|started|cracking|moving|busy $",
    ),
    (Intent::Next, Shape::Phrase, "^pick|choose|take|find|grab one|some|task|stream|work|for? me?"),
    (Intent::Next, Shape::Phrase, "^surprise me"),
    (Intent::Next, Shape::Phrase, "^do your thing|job|work|magic"),
    (
        Intent::Next,
        Shape::Phrase,
        "^do|get|start|run|pick some work|task|tasks|stream|phase|stuff|things",
    ),
    (
        Intent::Next,
        Shape::Phrase,
        "^do|start|run|begin|pick a|one task|stream|phase|thing|job|item $",
    ),
    (Intent::Next, Shape::Phrase, "^go|run|start|begin|work|execute $"),
];

/// Words that a misspelling may be read as. None of them stops anything.
const MISSPELLABLE: &[&str] = &[
    "status",
    "progress",
    "everything",
    "continue",
    "remaining",
    "running",
    "anything",
    "parallel",
    "overview",
    "roadmap",
    "summary",
    "finish",
    "complete",
    "implement",
    "something",
    "whatever",
    "agents",
    "workers",
];

/// A word as it is written and, if misspelled, as it may be meant.
pub(super) struct Spelling {
    pub(super) corrected: Option<&'static str>,
}

impl Spelling {
    pub(super) fn of(catalog: &Catalog, token: &Token) -> Self {
        let length = token.word.chars().count();
        let edits = edits_allowed(length);
        let known = lexicon::is_weightless(&token.word)
            || is_command_word(&token.word)
            || MISSPELLABLE.contains(&token.word.as_str())
            || catalog.vocabulary.knows(token)
            || matches!(token.word.as_str(), "states" | "state");
        if edits == 0 || known || token.is_number() {
            return Self { corrected: None };
        }
        let near = |word: &&&str| {
            // The first letter is seldom wrong, and other words are seldom so near.
            word.chars().next() == token.word.chars().next()
                && strsim::osa_distance(word, &token.word) <= edits
        };
        Self { corrected: MISSPELLABLE.iter().find(near).copied() }
    }
}

/// One pattern being tried on one goal.
pub(super) struct Matcher<'a> {
    elements: Vec<Element<'a>>,
    anchored: bool,
    tokens: &'a [Token],
    readable: &'a [Spelling],
    taken: &'a [bool],
}

#[derive(Debug)]
enum Element<'a> {
    Word { choices: Vec<&'a str>, optional: bool },
    Gap,
    End,
}

/// How many words `*` may pass over.
const GAP_WORDS_MAX: usize = 5;

impl<'a> Matcher<'a> {
    pub(super) fn new(
        pattern: &'a str,
        tokens: &'a [Token],
        readable: &'a [Spelling],
        taken: &'a [bool],
    ) -> Self {
        let anchored = pattern.starts_with('^');
        let element = |text: &'a str| match text {
            "*" => Element::Gap,
            "$" => Element::End,
            _ => Element::Word {
                choices: text.trim_end_matches('?').split('|').collect(),
                optional: text.ends_with('?'),
            },
        };
        let elements = pattern.trim_start_matches('^').split(' ').map(element).collect();
        Self { elements, anchored, tokens, readable, taken }
    }

    /// Whether the pattern matches with its first word at `start`; fills in the words it used.
    pub(super) fn at(&self, start: usize, words: &mut Vec<usize>) -> bool {
        let first = match self.elements.first() {
            Some(Element::Word { choices, optional: false }) => choices,
            _ => &Vec::new(),
        };
        let starts = first.is_empty() || self.is_one_of(start, first);
        starts
            && (!self.anchored || self.opens_clause(start))
            && self.matches(&self.elements, start, words)
            && !words.is_empty()
    }

    fn matches(&self, elements: &[Element<'_>], at: usize, words: &mut Vec<usize>) -> bool {
        let Some((element, rest)) = elements.split_first() else { return true };
        match element {
            Element::End => self.ends_clause(at),
            Element::Gap => (at..=at + GAP_WORDS_MAX)
                .take_while(|&next| next == at || self.same_clause(next))
                .any(|next| self.attempt(rest, next, words)),
            Element::Word { choices, optional } => {
                if *optional {
                    // Words of an optional element may follow each other: "on it now".
                    let mut next = at;
                    while let Some(found) = self.word_at(choices, next, words.is_empty()) {
                        words.push(found);
                        next = found + 1;
                    }
                    if self.attempt(rest, next, words) {
                        return true;
                    }
                    words.retain(|&used| used < at);
                    return self.attempt(rest, at, words);
                }
                let Some(found) = self.word_at(choices, at, words.is_empty()) else {
                    return false;
                };
                words.push(found);
                if self.attempt(rest, found + 1, words) {
                    return true;
                }
                words.pop();
                false
            }
        }
    }

    /// Matches the rest, and forgets what it used if that fails.
    fn attempt(&self, elements: &[Element<'_>], at: usize, words: &mut Vec<usize>) -> bool {
        let length = words.len();
        let matched = self.matches(elements, at, words);
        if !matched {
            words.truncate(length);
        }
        matched
    }

    /// The first word at or, past politeness and articles, after `at` that is one of `choices`.
    fn word_at(&self, choices: &[&str], at: usize, first: bool) -> Option<usize> {
        let mut next = at;
        while first || next == at || self.same_clause(next) {
            let token = self.tokens.get(next)?;
            if (!first && next == at && !self.same_clause(next)) || self.taken[next] {
                return None;
            }
            if self.is_one_of(next, choices) {
                return Some(next);
            }
            let passed = matches!(token.word.as_str(), "a" | "an" | "the")
                || lexicon::is_filler(&token.word);
            if first || !passed {
                return None;
            }
            next += 1;
        }
        None
    }

    fn is_one_of(&self, at: usize, choices: &[&str]) -> bool {
        let Some(token) = self.tokens.get(at) else { return false };
        let meant = self.readable[at].corrected.unwrap_or(&token.word);
        choices.contains(&meant)
    }

    fn same_clause(&self, at: usize) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|token| !matches!(token.gap, Gap::Start | Gap::Sentence | Gap::Comma))
    }

    fn opens_clause(&self, at: usize) -> bool {
        let mut index = at;
        loop {
            let Some(token) = self.tokens.get(index) else { return false };
            if matches!(token.gap, Gap::Start | Gap::Sentence | Gap::Comma) {
                return true;
            }
            let Some(before) = index.checked_sub(1) else { return true };
            let word = self.tokens[before].word.as_str();
            if matches!(word, "and" | "then" | "but" | "or") {
                return true;
            }
            if !is_polite(word) {
                return false;
            }
            index = before;
        }
    }

    fn ends_clause(&self, at: usize) -> bool {
        self.tokens[at.min(self.tokens.len())..]
            .iter()
            .take_while(|token| token.gap != Gap::Sentence)
            .all(|token| lexicon::is_filler(&token.word))
    }
}

/// Words before the verb of a request: "could you please", "I would like you to", "let us".
fn is_polite(word: &str) -> bool {
    lexicon::is_filler(word)
        || matches!(
            word,
            "i" | "we"
                | "you"
                | "to"
                | "can"
                | "could"
                | "would"
                | "will"
                | "should"
                | "us"
                | "me"
                | "so"
                | "must"
                | "the"
                | "have"
                | "got"
                | "tell"
                | "show"
                | "about"
                | "say"
                | "know"
                | "wonder"
                | "see"
        )
}
