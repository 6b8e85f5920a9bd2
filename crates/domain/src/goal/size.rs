//! Work streams by their size: "the small ones", "effort L".

use std::ops::RangeInclusive;

use super::catalog::Entry;
use super::lexicon;
use super::text::Token;
use crate::roadmap::Effort;

/// Which sizes are meant, and in which word it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) said: String,
    /// The sizes; `None` for a comparison such as "smallest", which names none.
    pub(super) efforts: Option<RangeInclusive<Effort>>,
    /// The word says something else than a size, which may be meant: "quick".
    pub(super) guessed: bool,
    /// Only one is asked for: "a small one".
    pub(super) one: bool,
}

impl Size {
    /// Whether a stream is of this size; `None` where nobody knows.
    pub(super) fn holds(&self, entry: &Entry) -> Option<bool> {
        Some(self.efforts.as_ref()?.contains(&entry.subject.effort?))
    }

    /// The sizes as a roadmap writes them: `XS to S`.
    pub(super) fn shown(&self) -> String {
        self.efforts.as_ref().map_or_else(String::new, |efforts| {
            if efforts.start() == efforts.end() {
                efforts.start().to_string()
            } else {
                format!("{} to {}", efforts.start(), efforts.end())
            }
        })
    }
}

/// Reads a size at `at`: "small" in front of "ones", or `S` behind "effort". Gives it with its words.
pub(super) fn read(tokens: &[Token], at: usize) -> Option<(Size, std::ops::Range<usize>)> {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.word.as_str());
    let said = word(at).to_owned();
    if matches!(said.as_str(), "effort" | "size" | "sized") {
        let effort = letter(word(at + 1))?;
        let said = format!("{said} {effort}");
        let efforts = Some(effort..=effort);
        return Some((Size { said, efforts, guessed: false, one: false }, at..at + 2));
    }
    let next = word(at + 1);
    let counted = lexicon::is_kind(next) && next != "work";
    let before = at.checked_sub(1).map_or("", word);
    let closes = tokens.len() == at + 1 && matches!(before, "the" | "all");
    if !counted && !closes {
        return None;
    }
    let (efforts, guessed) = match said.as_str() {
        "tiny" => (Some(Effort::Xs..=Effort::Xs), false),
        "small" | "little" => (Some(Effort::Xs..=Effort::S), false),
        "medium" => (Some(Effort::M..=Effort::M), false),
        "large" | "big" => (Some(Effort::L..=Effort::Xl), false),
        "huge" => (Some(Effort::Xl..=Effort::Xl), false),
        "short" | "quick" | "fast" | "easy" | "simple" | "trivial" => {
            (Some(Effort::Xs..=Effort::S), true)
        }
        "long" | "hard" | "difficult" => (Some(Effort::L..=Effort::Xl), true),
        "smallest" | "shortest" | "easiest" | "quickest" | "simplest" | "fastest" | "largest"
        | "biggest" | "longest" | "hardest" | "smaller" | "bigger" | "larger" => (None, false),
        _ => {
            let effort = letter(&said)?;
            (Some(effort..=effort), false)
        }
    };
    let one = counted && !next.ends_with('s') && next != "stuff";
    Some((Size { said, efforts, guessed, one }, at..at + 1 + usize::from(counted)))
}

fn letter(word: &str) -> Option<Effort> {
    Some(match word {
        "xs" => Effort::Xs,
        "s" => Effort::S,
        "m" => Effort::M,
        "l" => Effort::L,
        "xl" => Effort::Xl,
        _ => return None,
    })
}
