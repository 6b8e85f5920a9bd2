//! Words in a `Depends On` text that say how what follows is meant.

/// What a word does to an id behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Joins another element of the same kind: "Phases 1 and 2".
    Joins,
    /// Leads to an id: "after 1.1".
    Leads,
    /// Joins the end of a range, behind an id.
    Until,
    /// Rules out what follows.
    RulesOut,
    /// May rule out what follows further on.
    Doubts,
    /// Says that a number is no id.
    Version,
    Ordinary,
}

/// The role of `word` (lower-case) behind `previous`.
pub(super) fn role(word: &str, previous: &str) -> Role {
    match word {
        "longer" | "more" if previous == "no" => Role::RulesOut,
        "of" if previous == "instead" => Role::RulesOut,
        "than" if matches!(previous, "rather" | "other") => Role::RulesOut,
        "and" | "or" | "plus" | "then" | "also" | "und" | "oder" | "sowie" | "et" | "ou" | "y"
        | "o" | "e" | "och" | "en" | "i" => Role::Joins,
        "after" | "as" | "both" | "by" | "either" | "for" | "from" | "mit" | "nach" | "need"
        | "needs" | "of" | "on" | "once" | "require" | "requires" | "well" | "when" | "with"
        | "finish" | "finishing" | "completing" | "including" | "all" => Role::Leads,
        "to" | "through" | "thru" | "until" | "till" | "til" | "bis" => Role::Until,
        "not" | "never" | "neither" | "nor" | "except" | "excluding" | "formerly"
        | "previously" | "was" | "were" | "replaces" | "supersedes" | "unlike" => Role::RulesOut,
        "no" | "none" | "nothing" | "without" | "independent" | "unrelated" => Role::Doubts,
        "version" | "versions" | "ver" | "v" => Role::Version,
        _ => Role::Ordinary,
    }
}

/// Whether `word` rules out in a way that reaches further than the next id: "not before 1.2".
pub(super) fn reaches_far(word: &str) -> bool {
    matches!(word, "not" | "never" | "neither" | "nor" | "except" | "excluding" | "longer" | "more")
}

/// Whether what stands behind a number says that it measures something: "2 weeks", "80%".
pub(super) fn measures(behind: &str) -> bool {
    let behind = behind.trim_start_matches([' ', '\t', '\u{A0}', '-']);
    if behind.starts_with(['%', '×', '€', '$']) {
        return true;
    }
    let length: usize = behind.chars().take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum();
    let word = behind[..length].to_lowercase();
    const UNITS: [&str; 25] = [
        "second",
        "sec",
        "minute",
        "min",
        "hour",
        "hr",
        "day",
        "week",
        "month",
        "year",
        "sprint",
        "people",
        "person",
        "dev",
        "developer",
        "engineer",
        "reviewer",
        "point",
        "pt",
        "time",
        "percent",
        "am",
        "pm",
        "gb",
        "mb",
    ];
    let is = |word: &str| UNITS.contains(&word);
    is(&word) || word.strip_suffix('s').is_some_and(is)
}

/// `2nd`, `3h`, `10x`: a number with letters that is no id unless a work stream has it.
pub(super) fn is_amount(token: &str) -> bool {
    let digits = token.bytes().take_while(u8::is_ascii_digit).count();
    let unit = token[digits..].to_ascii_lowercase();
    digits > 0
        && matches!(
            unit.as_str(),
            "st" | "nd"
                | "rd"
                | "th"
                | "h"
                | "d"
                | "w"
                | "m"
                | "s"
                | "ms"
                | "min"
                | "am"
                | "pm"
                | "x"
                | "k"
                | "kb"
                | "mb"
                | "gb"
                | "hr"
                | "hrs"
                | "sp"
                | "pt"
                | "pts"
        )
}
