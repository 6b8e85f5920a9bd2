//! The English words that carry no subject: grammar, politeness, verbs of doing, kinds of work.
//!
//! Nothing here belongs to one roadmap. A word of these lists still counts as a subject word
//! where the name of a work stream holds it.

use super::vocabulary::edits_allowed;

mod lists;

use self::lists::{DOING, FILLER, GENERIC, GRAMMAR, KINDS, MAKING};

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
    edits > 0 && DOING.iter().any(near)
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

/// Whether `word` asks for something to be done about work streams that no agent does: what is
/// Kapelle's own or people's business.
pub(super) fn is_upkeep(word: &str) -> bool {
    matches!(
        word,
        "accept"
            | "approve"
            | "assign"
            | "check"
            | "claim"
            | "flag"
            | "label"
            | "mark"
            | "merge"
            | "move"
            | "rename"
            | "review"
            | "set"
            | "tag"
            | "test"
            | "tick"
            | "update"
            | "validate"
            | "verify"
    )
}

/// Whether `word` says that one work stream needs another: "what depends on 2.1".
pub(super) fn is_needing(word: &str) -> bool {
    matches!(
        word,
        "need"
            | "needs"
            | "needing"
            | "require"
            | "requires"
            | "requiring"
            | "depend"
            | "depends"
            | "depending"
            | "dependent"
            | "rely"
            | "relies"
            | "relying"
            | "wait"
            | "waits"
            | "waiting"
            | "blocked"
            | "independent"
            | "unrelated"
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

/// Whether `word` says how a thing is, by no measure that a roadmap has.
pub(super) fn is_quality(word: &str) -> bool {
    matches!(
        word,
        "big"
            | "correct"
            | "fast"
            | "good"
            | "great"
            | "little"
            | "lovely"
            | "main"
            | "new"
            | "nice"
            | "old"
            | "own"
            | "proper"
            | "quick"
            | "same"
            | "simple"
            | "small"
            | "useful"
    )
}

/// Whether `word`, behind a work stream, makes a statement about it.
pub(super) fn is_predicate(word: &str) -> bool {
    matches!(
        word,
        "is" | "are"
            | "was"
            | "were"
            | "has"
            | "have"
            | "had"
            | "needs"
            | "requires"
            | "depends"
            | "lacks"
            | "misses"
            | "looks"
            | "seems"
            | "fails"
            | "failed"
            | "works"
            | "worked"
            | "breaks"
            | "broke"
            | "blocks"
            | "waits"
            | "wants"
            | "conflicts"
            | "crashes"
            | "crashed"
            | "hangs"
            | "passes"
            | "passed"
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
