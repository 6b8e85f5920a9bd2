//! What can be wrong with a configuration, where, and how to mend it.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use super::layer::Origin;

/// The first thing that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file exists but cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is far larger than any configuration.
    #[error("{} is larger than {limit} bytes: that is no configuration", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// A file is not YAML, or not text, or not a map of sections.
    #[error("{reason}, in {}", place.origin)]
    Syntax {
        /// Where.
        place: Box<Place>,
        /// What the parser objects to.
        reason: String,
    },
    /// A key that no version of this section has.
    #[error("unknown key {:?} in {}", place.key, place.origin)]
    UnknownKey {
        /// Where.
        place: Box<Place>,
    },
    /// A word that is not among those the key takes.
    #[error("{}: unknown value {found:?} in {}", place.key, place.origin)]
    UnknownValue {
        /// Where.
        place: Box<Place>,
        /// The word as given.
        found: String,
    },
    /// A value that cannot be read as the key's type.
    #[error("{}: expected {expected}, found {found}, in {}", place.key, place.origin)]
    WrongType {
        /// Where.
        place: Box<Place>,
        /// What the key takes.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An entry lacks a key that has no default.
    #[error("{} is missing in {}", place.key, place.origin)]
    MissingKey {
        /// Where it is missing.
        place: Box<Place>,
    },
    /// A value of the right type that makes no sense, alone or with others.
    #[error("{}: {reason}, in {}", place.key, place.origin)]
    Invalid {
        /// Where.
        place: Box<Place>,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where in the configuration something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file with line and column, the variable, or the flag.
    pub origin: Origin,
    /// The key as a dotted path, e.g. `agents.claude.timeout`; empty for a whole file.
    pub key: String,
    /// The line of the file with the place marked, ready to print; `None` outside files.
    pub snippet: Option<String>,
    /// How to mend it, when that can be told.
    pub hint: Option<String>,
}

impl Error {
    /// Where it is; `None` for a file that could not be read at all.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Read { .. } | Self::TooLarge { .. } => None,
            Self::Syntax { place, .. }
            | Self::UnknownKey { place }
            | Self::UnknownValue { place, .. }
            | Self::WrongType { place, .. }
            | Self::MissingKey { place }
            | Self::Invalid { place, .. } => Some(place),
        }
    }

    /// The whole message for people, over several lines: what, where, the line itself, a hint.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.to_string();
        if let Some(source) = std::error::Error::source(self) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {source}");
        }
        if let Some(place) = self.place() {
            for part in [&place.snippet, &place.hint].into_iter().flatten() {
                text.push('\n');
                text.push_str(part);
            }
        }
        text
    }
}

/// Longest part of a line that a snippet shows, in characters.
const SNIPPET_WIDTH: usize = 100;

/// Line `line` of `text` with `length` characters from `column` on marked (both count from 1).
pub(super) fn snippet(text: &str, line: u32, column: u32, length: usize) -> Option<String> {
    let start = usize::try_from(column).ok()?.checked_sub(1)?;
    let line_text = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    // Control characters would move the cursor, and with it the mark.
    let clean = line_text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let skipped = start.saturating_sub(SNIPPET_WIDTH / 2);
    let shown: String = clean.skip(skipped).take(SNIPPET_WIDTH).collect();
    let indent = start - skipped;
    let mark = length.min(shown.chars().count().saturating_sub(indent)).max(1);
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    Some(format!(
        "{gutter} |\n{number} | {shown}\n{gutter} | {}{}",
        " ".repeat(indent),
        "^".repeat(mark)
    ))
}

/// `did you mean …?` when one of `known` is close to `found`, else the list of them.
#[must_use]
pub fn suggest<S: AsRef<str>>(found: &str, known: &[S]) -> Option<String> {
    if known.is_empty() {
        return None;
    }
    match closest(found, known) {
        Some(best) => Some(format!("did you mean {best:?}?")),
        None => {
            let known: Vec<&str> = known.iter().map(S::as_ref).collect();
            Some(format!("known here: {}", known.join(", ")))
        }
    }
}

fn closest<'k, S: AsRef<str>>(found: &str, known: &'k [S]) -> Option<&'k str> {
    let found = found.to_lowercase().replace('-', "_");
    // One slip in three letters is a typo; more is another word.
    let tolerance = (found.chars().count() / 3).max(1);
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&found, name.as_ref()), name.as_ref()))
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, name)| name)
}
