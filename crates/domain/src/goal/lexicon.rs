//! The English words that carry no subject: grammar, politeness, verbs of doing, kinds of work.
//!
//! Nothing here belongs to one roadmap. A word of these lists still counts as a subject word
//! where the name of a work stream holds it.

use super::vocabulary::edits_allowed;

/// Words of grammar; never indexed and never a subject by themselves. Sorted.
const GRAMMAR: &[&str] = &[
    "a",
    "about",
    "across",
    "against",
    "along",
    "am",
    "an",
    "and",
    "are",
    "around",
    "as",
    "at",
    "back",
    "be",
    "because",
    "been",
    "being",
    "between",
    "both",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "doing",
    "done",
    "down",
    "each",
    "either",
    "for",
    "from",
    "had",
    "has",
    "have",
    "having",
    "he",
    "her",
    "here",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "may",
    "me",
    "might",
    "must",
    "my",
    "no",
    "nor",
    "not",
    "of",
    "off",
    "on",
    "onto",
    "or",
    "our",
    "out",
    "over",
    "per",
    "shall",
    "she",
    "should",
    "so",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "through",
    "throughout",
    "to",
    "too",
    "towards",
    "under",
    "up",
    "upon",
    "us",
    "via",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "within",
    "would",
    "you",
    "your",
];

/// Politeness, haste and hedging: said, but about nothing. Sorted.
const FILLER: &[&str] = &[
    "actually",
    "again",
    "ahead",
    "already",
    "also",
    "any",
    "asap",
    "away",
    "basically",
    "bit",
    "currently",
    "else",
    "ever",
    "everyone",
    "fast",
    "finally",
    "first",
    "give",
    "gonna",
    "great",
    "guess",
    "guys",
    "hello",
    "help",
    "hey",
    "hi",
    "hopefully",
    "immediately",
    "just",
    "kapelle",
    "kindly",
    "let",
    "like",
    "little",
    "look",
    "lot",
    "many",
    "maybe",
    "more",
    "most",
    "much",
    "need",
    "nice",
    "now",
    "ok",
    "okay",
    "only",
    "perhaps",
    "please",
    "pls",
    "possible",
    "probably",
    "properly",
    "quick",
    "quickly",
    "really",
    "right",
    "same",
    "simply",
    "some",
    "somehow",
    "someone",
    "soon",
    "still",
    "suppose",
    "sure",
    "thank",
    "thanks",
    "think",
    "today",
    "together",
    "try",
    "trying",
    "very",
    "wanna",
    "want",
    "wants",
    "well",
    "wish",
    "yeah",
    "yes",
    "yet",
];

/// Verbs that ask for work, in any form. Sorted.
const DOING: &[&str] = &[
    "add",
    "adding",
    "address",
    "attempt",
    "begin",
    "beginning",
    "bring",
    "build",
    "building",
    "carry",
    "choose",
    "code",
    "coding",
    "complete",
    "completing",
    "conduct",
    "continue",
    "continuing",
    "create",
    "creating",
    "deliver",
    "develop",
    "developing",
    "do",
    "doing",
    "execute",
    "executing",
    "finalize",
    "finish",
    "finishing",
    "fix",
    "fixing",
    "focus",
    "get",
    "getting",
    "go",
    "going",
    "grab",
    "handle",
    "handling",
    "implement",
    "implementing",
    "keep",
    "kick",
    "launch",
    "launching",
    "make",
    "making",
    "move",
    "perform",
    "pick",
    "prepare",
    "preparing",
    "proceed",
    "produce",
    "put",
    "rerun",
    "restart",
    "resume",
    "resuming",
    "retry",
    "run",
    "running",
    "schedule",
    "set",
    "ship",
    "shipping",
    "solve",
    "spawn",
    "spin",
    "start",
    "starting",
    "tackle",
    "tackling",
    "take",
    "trigger",
    "work",
    "working",
    "write",
    "writing",
];

/// What pieces of work are called in general. Sorted.
const KINDS: &[&str] = &[
    "bits",
    "feature",
    "features",
    "goal",
    "goals",
    "issue",
    "issues",
    "item",
    "items",
    "job",
    "jobs",
    "module",
    "one",
    "ones",
    "part",
    "parts",
    "phase",
    "phases",
    "piece",
    "pieces",
    "step",
    "steps",
    "story",
    "stream",
    "streams",
    "stuff",
    "task",
    "tasks",
    "thing",
    "things",
    "ticket",
    "tickets",
    "todo",
    "todos",
    "work",
    "workstream",
    "workstreams",
];

/// Adjectives that say nothing about which stream is meant. Sorted.
const GENERIC: &[&str] = &[
    "available",
    "backlog",
    "big",
    "correct",
    "current",
    "entire",
    "full",
    "good",
    "left",
    "lovely",
    "main",
    "new",
    "next",
    "old",
    "open",
    "other",
    "own",
    "plan",
    "project",
    "proper",
    "ready",
    "remaining",
    "roadmap",
    "several",
    "simple",
    "small",
    "useful",
    "various",
    "whole",
    "working",
];

/// Verbs that make something new, so that a following command word names the thing made. Sorted.
const MAKING: &[&str] = &[
    "add",
    "adding",
    "build",
    "building",
    "code",
    "create",
    "creating",
    "deliver",
    "design",
    "develop",
    "developing",
    "fix",
    "fixing",
    "implement",
    "implementing",
    "launch",
    "make",
    "making",
    "ship",
    "write",
    "writing",
];

fn holds(sorted: &[&str], word: &str) -> bool {
    sorted.binary_search(&word).is_ok()
}

/// Whether `word` is grammar only.
pub(super) fn is_grammar(word: &str) -> bool {
    holds(GRAMMAR, word)
}

/// Whether `word` is politeness, haste or hedging.
pub(super) fn is_filler(word: &str) -> bool {
    holds(FILLER, word)
}

/// Whether `word` asks for work to be done.
pub(super) fn is_doing(word: &str) -> bool {
    holds(DOING, word)
}

/// Whether `word` is a misspelled verb that asks for work.
pub(super) fn is_nearly_doing(word: &str) -> bool {
    let edits = edits_allowed(word.chars().count());
    let near = |verb: &&str| {
        verb.len() > 4
            && verb.chars().next() == word.chars().next()
            && strsim::osa_distance(verb, word) <= edits
    };
    edits > 0 && DOING.iter().any(|verb| near(&verb))
}

/// Whether `word` asks for something to be made.
pub(super) fn is_making(word: &str) -> bool {
    holds(MAKING, word)
}

/// Whether `word` is a general name for pieces of work.
pub(super) fn is_kind(word: &str) -> bool {
    holds(KINDS, word)
}

/// Whether `word` may stand in a goal without meaning any subject.
pub(super) fn is_weightless(word: &str) -> bool {
    is_grammar(word) || is_soft(word)
}

/// Whether `word` is a subject word only where a name holds it.
pub(super) fn is_soft(word: &str) -> bool {
    is_filler(word)
        || is_doing(word)
        || is_kind(word)
        || holds(GENERIC, word)
        || is_state(word)
        || (word.ends_with("ly") && word.len() > 5)
}

/// Whether a sentence that opens with `word` asks rather than orders.
pub(super) fn is_asking(word: &str) -> bool {
    matches!(
        word,
        "what"
            | "which"
            | "who"
            | "whose"
            | "why"
            | "when"
            | "where"
            | "how"
            | "is"
            | "are"
            | "was"
            | "were"
            | "does"
            | "did"
            | "has"
            | "have"
            | "should"
            | "shall"
    )
}

/// Whether `word` asks for the contrary of running something.
pub(super) fn is_contrary(word: &str) -> bool {
    matches!(
        word,
        "archive"
            | "close"
            | "defer"
            | "delay"
            | "delete"
            | "destroy"
            | "discard"
            | "drop"
            | "freeze"
            | "pause"
            | "postpone"
            | "purge"
            | "reject"
            | "remove"
            | "reset"
            | "revert"
            | "rollback"
            | "suspend"
            | "undo"
            | "wipe"
    )
}

/// Whether `word`, as the verb of a goal, asks to be told something.
pub(super) fn is_inquiry(word: &str) -> bool {
    matches!(
        word,
        "compare"
            | "describe"
            | "discuss"
            | "display"
            | "estimate"
            | "explain"
            | "inspect"
            | "list"
            | "print"
            | "show"
            | "summarize"
            | "tell"
            | "view"
    )
}

/// Whether `word` means the agents at work or the run as a whole.
pub(super) fn is_fleet(word: &str) -> bool {
    matches!(
        word,
        "agent"
            | "agents"
            | "worker"
            | "workers"
            | "run"
            | "runs"
            | "fleet"
            | "process"
            | "processes"
            | "everybody"
            | "everyone"
            | "execution"
            | "orchestrator"
            | "swarm"
    )
}

/// Whether `word` says in which state work is, as in "everything not started".
pub(super) fn is_state(word: &str) -> bool {
    matches!(
        word,
        "started"
            | "done"
            | "complete"
            | "completed"
            | "finished"
            | "blocked"
            | "running"
            | "claimed"
            | "assigned"
            | "ready"
            | "available"
            | "taken"
            | "merged"
            | "unblocked"
            | "waiting"
    )
}

/// The value of a number word.
pub(super) fn number_word(word: &str) -> Option<u64> {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    let mut values = 0_u64..;
    WORDS.iter().find_map(|known| {
        let value = values.next()?;
        (*known == word).then_some(value)
    })
}

/// The value of an ordinal: `first`, `2nd`, `third`.
pub(super) fn ordinal(word: &str) -> Option<u64> {
    match word {
        "first" | "1st" => Some(1),
        "second" | "2nd" => Some(2),
        "third" | "3rd" => Some(3),
        "fourth" | "4th" => Some(4),
        "fifth" | "5th" => Some(5),
        "sixth" | "6th" => Some(6),
        "seventh" | "7th" => Some(7),
        "eighth" | "8th" => Some(8),
        "ninth" | "9th" => Some(9),
        "tenth" | "10th" => Some(10),
        _ => None,
    }
}

/// Words that mean the same as a tag or batch title where the roadmap does not use them itself.
pub(super) fn label_synonyms(word: &str) -> &'static [&'static str] {
    match word {
        "important" | "urgent" | "critical" | "priority" | "priorities" | "prioritized" => {
            &["priority", "urgent", "critical", "important"]
        }
        "foundation" | "foundations" | "foundational" | "groundwork" | "basics" | "bootstrap"
        | "bootstrapping" => &["bootstrap", "foundation", "groundwork", "basics"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_so_that_they_can_be_searched() {
        for list in [GRAMMAR, FILLER, DOING, KINDS, GENERIC, MAKING] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }
}
