//! The state of a work stream as people write it: by word, by sign, or by both.
//!
//! Reading finds where exactly the sign and the word stand, so that an edit can replace them and
//! keep the emphasis, the order and the remarks around them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::source::Span;

/// How far a work stream has come, as the roadmap says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has begun.
    NotStarted,
    /// Somebody works on it.
    InProgress,
    /// Done.
    Complete,
    /// Marked as waiting for something.
    Blocked,
}

impl Status {
    /// Every status, in the order of a report.
    pub const ALL: [Self; 4] = [Self::Complete, Self::InProgress, Self::NotStarted, Self::Blocked];

    /// The stable name: `not_started`, `in_progress`, `complete` or `blocked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::InProgress => "in_progress",
            Self::Complete => "complete",
            Self::Blocked => "blocked",
        }
    }

    /// The sign that stands for it in a roadmap.
    pub fn sign(self) -> &'static str {
        match self {
            Self::NotStarted => "⚪",
            Self::InProgress => "🔄",
            Self::Complete => "✅",
            Self::Blocked => "🔴",
        }
    }

    /// The name that code hosts give the sign.
    pub(super) fn sign_name(self) -> &'static str {
        match self {
            Self::NotStarted => ":white_circle:",
            Self::InProgress => ":arrows_counterclockwise:",
            Self::Complete => ":white_check_mark:",
            Self::Blocked => ":red_circle:",
        }
    }

    /// The words that stand for it in a roadmap.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotStarted => "Not Started",
            Self::InProgress => "In Progress",
            Self::Complete => "Complete",
            Self::Blocked => "Blocked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Signs, with the names that code hosts give them between colons.
const SIGNS: [(&str, Status); 38] = [
    ("✅", Status::Complete),
    ("☑", Status::Complete),
    ("✔", Status::Complete),
    ("✓", Status::Complete),
    ("🎉", Status::Complete),
    (":white_check_mark:", Status::Complete),
    (":heavy_check_mark:", Status::Complete),
    (":ballot_box_with_check:", Status::Complete),
    ("🔄", Status::InProgress),
    ("🔁", Status::InProgress),
    ("🟡", Status::InProgress),
    ("🔵", Status::InProgress),
    ("🚧", Status::InProgress),
    ("⏳", Status::InProgress),
    (":arrows_counterclockwise:", Status::InProgress),
    (":construction:", Status::InProgress),
    (":yellow_circle:", Status::InProgress),
    (":hourglass_flowing_sand:", Status::InProgress),
    ("⚪", Status::NotStarted),
    ("⬜", Status::NotStarted),
    ("◻", Status::NotStarted),
    ("☐", Status::NotStarted),
    ("○", Status::NotStarted),
    ("📋", Status::NotStarted),
    ("🔜", Status::NotStarted),
    (":white_circle:", Status::NotStarted),
    (":white_large_square:", Status::NotStarted),
    (":clipboard:", Status::NotStarted),
    (":soon:", Status::NotStarted),
    ("🔴", Status::Blocked),
    ("⛔", Status::Blocked),
    ("🚫", Status::Blocked),
    ("🛑", Status::Blocked),
    ("🔒", Status::Blocked),
    (":red_circle:", Status::Blocked),
    (":no_entry:", Status::Blocked),
    (":no_entry_sign:", Status::Blocked),
    (":lock:", Status::Blocked),
];

/// What a word says: a status, or that the stream is not to be started whatever its dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Is(Status),
    OnHold,
}

/// Phrases, longer ones before those they begin with. A space also matches `_`, `-` or nothing.
const PHRASES: [(&str, Meaning); 44] = [
    ("completed", Meaning::Is(Status::Complete)),
    ("complete", Meaning::Is(Status::Complete)),
    ("done", Meaning::Is(Status::Complete)),
    ("finished", Meaning::Is(Status::Complete)),
    ("merged", Meaning::Is(Status::Complete)),
    ("shipped", Meaning::Is(Status::Complete)),
    ("closed", Meaning::Is(Status::Complete)),
    ("in progress", Meaning::Is(Status::InProgress)),
    ("in review", Meaning::Is(Status::InProgress)),
    ("in work", Meaning::Is(Status::InProgress)),
    ("work in progress", Meaning::Is(Status::InProgress)),
    ("wip", Meaning::Is(Status::InProgress)),
    ("started", Meaning::Is(Status::InProgress)),
    ("ongoing", Meaning::Is(Status::InProgress)),
    ("active", Meaning::Is(Status::InProgress)),
    ("doing", Meaning::Is(Status::InProgress)),
    ("working", Meaning::Is(Status::InProgress)),
    ("underway", Meaning::Is(Status::InProgress)),
    ("claimed", Meaning::Is(Status::InProgress)),
    ("not started", Meaning::Is(Status::NotStarted)),
    ("not complete", Meaning::Is(Status::NotStarted)),
    ("not done", Meaning::Is(Status::NotStarted)),
    ("not blocked", Meaning::Is(Status::NotStarted)),
    ("unstarted", Meaning::Is(Status::NotStarted)),
    ("unblocked", Meaning::Is(Status::NotStarted)),
    ("unclaimed", Meaning::Is(Status::NotStarted)),
    ("to do", Meaning::Is(Status::NotStarted)),
    ("open", Meaning::Is(Status::NotStarted)),
    ("pending", Meaning::Is(Status::NotStarted)),
    ("planned", Meaning::Is(Status::NotStarted)),
    ("ready", Meaning::Is(Status::NotStarted)),
    ("available", Meaning::Is(Status::NotStarted)),
    ("queued", Meaning::Is(Status::NotStarted)),
    ("blocked", Meaning::Is(Status::Blocked)),
    ("waiting", Meaning::Is(Status::Blocked)),
    ("on hold", Meaning::OnHold),
    ("paused", Meaning::OnHold),
    ("deferred", Meaning::OnHold),
    ("postponed", Meaning::OnHold),
    ("cancelled", Meaning::OnHold),
    ("canceled", Meaning::OnHold),
    ("dropped", Meaning::OnHold),
    ("skipped", Meaning::OnHold),
    ("wont do", Meaning::OnHold),
];

/// Words after a status that explain it and belong to it: `Blocked by Phase 2.2`.
const CONTINUATIONS: [&str; 11] =
    ["by", "on", "until", "for", "since", "pending", "due", "because", "with", "waiting", "as"];

/// A status as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) status: Status,
    /// The words say that it is not to be started, whatever its dependencies.
    pub(super) on_hold: bool,
    /// The sign and the words say different things; the words were believed.
    pub(super) conflict: bool,
    pub(super) sign: Option<Span>,
    /// The words with what explains them.
    pub(super) phrase: Option<Span>,
    /// The words alone.
    pub(super) word: Option<Span>,
}

/// Length of the sign at the start of `text`, with its variation selector.
pub(super) fn sign_at(text: &str) -> Option<(usize, Status)> {
    // Most text is plain: no sign begins with an ASCII letter, digit or space.
    if text.bytes().next().is_none_or(|byte| byte.is_ascii() && byte != b':') {
        return None;
    }
    let (sign, status) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign))?;
    let selector =
        if text[sign.len()..].starts_with('\u{FE0F}') { '\u{FE0F}'.len_utf8() } else { 0 };
    Some((sign.len() + selector, *status))
}

/// Length of `phrase` at the start of `text`, if it stands there as whole words.
fn phrase_length(text: &str, phrase: &str) -> Option<usize> {
    let mut rest = text;
    for wanted in phrase.chars() {
        if wanted == ' ' {
            rest = rest.trim_start_matches([' ', '\t', '-', '_']);
        } else {
            rest = rest.strip_prefix(['\'', '’']).unwrap_or(rest);
            let found = rest.chars().next()?;
            if !found.eq_ignore_ascii_case(&wanted) {
                return None;
            }
            rest = &rest[found.len_utf8()..];
        }
    }
    let ends = rest.chars().next().is_none_or(|next| !next.is_alphanumeric());
    ends.then(|| text.len() - rest.len())
}

/// Whether `text` is `phrase` and nothing else, in any case and with any joint.
pub(super) fn is_phrase(text: &str, phrase: &str) -> bool {
    phrase_length(text, phrase) == Some(text.len())
}

/// How far the explanation behind a status word reaches; zero when there is none.
fn continuation_length(rest: &str) -> usize {
    let Some(words) = rest.strip_prefix(' ') else { return 0 };
    let first = words.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    if !CONTINUATIONS.iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return 0;
    }
    let end = rest
        .char_indices()
        .find(|&(at, c)| {
            matches!(c, '(' | '[' | ',' | ';' | '–' | '—' | '|' | '*' | '`')
                || (c == '-' && rest[..at].ends_with(' '))
                || sign_at(&rest[at..]).is_some()
        })
        .map_or(rest.len(), |(at, _)| at);
    rest[..end].trim_end().len()
}

/// What stands around a status without being part of it.
fn is_decoration(character: char) -> bool {
    character.is_whitespace() || matches!(character, '*' | '_' | '`' | '[' | ']' | '\u{FE0F}' | '~')
}

/// Reads the status in `value`, which lies at `base`; `None` if there is no known sign or word.
pub(super) fn read(value: &str, base: usize) -> Option<Reading> {
    let mut sign: Option<(Span, Status)> = None;
    let mut word: Option<(Span, Span, Meaning)> = None;
    let mut at = 0;
    while let Some(character) = value[at..].chars().next() {
        let rest = &value[at..];
        if let Some(struck) = rest.strip_prefix("~~")
            && let Some(length) = struck.find("~~")
        {
            at += length + 4;
        } else if is_decoration(character) {
            at += character.len_utf8();
        } else if let Some((length, status)) = sign_at(rest)
            && sign.is_none()
        {
            sign = Some((Span::new(base + at, base + at + length), status));
            at += length;
        } else if word.is_none()
            && let Some((length, meaning)) = phrase_at(rest)
        {
            let whole = length + continuation_length(&rest[length..]);
            let start = base + at;
            word =
                Some((Span::new(start, start + whole), Span::new(start, start + length), meaning));
            at += whole;
        } else {
            break;
        }
    }
    let signed = sign.map(|(_, status)| status);
    let (status, on_hold) = match (word.map(|(_, _, meaning)| meaning), signed) {
        (Some(Meaning::Is(status)), _) => (status, false),
        (Some(Meaning::OnHold), _) => (Status::Blocked, true),
        (None, Some(status)) => (status, false),
        (None, None) => return None,
    };
    Some(Reading {
        status,
        on_hold,
        conflict: !on_hold && signed.is_some_and(|signed| signed != status),
        sign: sign.map(|(span, _)| span),
        phrase: word.map(|(phrase, _, _)| phrase),
        word: word.map(|(_, word, _)| word),
    })
}

fn phrase_at(text: &str) -> Option<(usize, Meaning)> {
    PHRASES.iter().find_map(|(phrase, meaning)| Some((phrase_length(text, phrase)?, *meaning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_word_or_sign_in_any_dress() {
        use Status::{Blocked, Complete, InProgress, NotStarted};
        let cases = [
            ("✅", Complete),
            ("✔️", Complete),
            ("DONE", Complete),
            ("**✅ Complete**", Complete),
            ("✅ **Complete** (2031-05-04, #12)", Complete),
            ("Complete ✅", Complete),
            ("~~Blocked~~ ✅ Complete", Complete),
            (":white_check_mark:", Complete),
            ("🔄", InProgress),
            ("🚧 WIP", InProgress),
            ("in_progress", InProgress),
            ("InProgress", InProgress),
            ("`in-progress`", InProgress),
            ("⚪ Not Started", NotStarted),
            ("not  started", NotStarted),
            ("ToDo", NotStarted),
            ("Not complete", NotStarted),
            ("Unblocked", NotStarted),
            ("_Blocked_", Blocked),
            ("🔴", Blocked),
            ("Blocked by Phase 2.2 - see notes", Blocked),
        ];
        for (text, expected) in cases {
            let reading = read(text, 0).unwrap_or_else(|| panic!("{text}"));
            let found = (reading.status, reading.on_hold, reading.conflict);
            assert_eq!(found, (expected, false, false), "{text}");
        }
        for text in ["", "Someday", "Completely different", "100%", "❓", "Nearly done"] {
            assert_eq!(read(text, 0), None, "{text}");
        }
    }

    #[test]
    fn words_count_more_than_signs_and_some_put_on_hold() {
        let conflict = read("✅ Not Started", 0).unwrap();
        assert_eq!((conflict.status, conflict.conflict), (Status::NotStarted, true));
        for text in ["On Hold", "⚪ Deferred until spring", "Won't do", "Cancelled"] {
            let reading = read(text, 0).unwrap();
            assert_eq!((reading.status, reading.on_hold), (Status::Blocked, true), "{text}");
        }
    }

    #[test]
    fn what_explains_a_status_belongs_to_it_and_remarks_do_not() {
        let cases = [
            ("🔴 Blocked by Phase 2.2", "Blocked by Phase 2.2"),
            ("Blocked on legal (ask Ada)", "Blocked on legal"),
            ("Blocked until May – see notes", "Blocked until May"),
            ("Blocked (by 2.2)", "Blocked"),
            ("Complete, at last", "Complete"),
        ];
        for (text, expected) in cases {
            let span = read(text, 0).and_then(|reading| reading.phrase).unwrap();
            assert_eq!(&text[span.start..span.end], expected, "{text}");
        }
    }
}
