//! The id of a work stream, as the roadmap's author numbers it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Digits of one part; enough for any roadmap and always within a `u64`.
const DIGITS_MAX: usize = 15;
/// Letters before or after the digits of one part.
const LETTERS_MAX: usize = 4;

/// The id of a work stream: parts joined by dots, such as `1.2`, `2.3a` or `A.4`.
///
/// Ids are ordered part by part and by number, so that `1.10` comes after `1.9`. Leading zeros
/// mean nothing and are dropped: `1.02` is `1.2`. Letters keep their case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(Arc<str>);

/// A text that is no work stream id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a work stream id; write numbers joined by dots, such as `1.2`")]
pub struct MalformedStreamId {
    /// The text as given.
    pub text: String,
}

impl StreamId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many parts the id has: two for `1.2`.
    pub fn depth(&self) -> usize {
        self.0.split('.').count()
    }

    /// The number, when the id is nothing but one.
    pub(super) fn as_number(&self) -> Option<u32> {
        self.0.parse().ok()
    }
}

/// One part, as letters, number and letters.
fn split_part(part: &str) -> Option<(&str, &str, &str)> {
    let digits_start = part.bytes().take_while(u8::is_ascii_alphabetic).count();
    let digits = part[digits_start..].bytes().take_while(u8::is_ascii_digit).count();
    let (before, rest) = part.split_at(digits_start);
    let (digits, after) = rest.split_at(digits);
    let fits = before.len() <= LETTERS_MAX
        && digits.len() <= DIGITS_MAX
        && after.len() <= LETTERS_MAX
        && after.bytes().all(|byte| byte.is_ascii_alphabetic());
    (!part.is_empty() && fits).then_some((before, digits, after))
}

/// What a part is ordered by. Without leading zeros, the longer of two numbers is the greater.
fn part_key(part: &str) -> (&str, usize, &str, &str) {
    let (before, digits, after) = split_part(part).unwrap_or((part, "", ""));
    (before, digits.len(), digits, after)
}

impl FromStr for StreamId {
    type Err = MalformedStreamId;

    fn from_str(text: &str) -> Result<Self, MalformedStreamId> {
        let malformed = || MalformedStreamId { text: text.chars().take(60).collect() };
        if !text.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let mut canonical = String::with_capacity(text.len());
        for part in text.split('.') {
            let (before, digits, after) = split_part(part).ok_or_else(malformed)?;
            if !canonical.is_empty() {
                canonical.push('.');
            }
            canonical.push_str(before);
            if !digits.is_empty() {
                let significant = digits.trim_start_matches('0');
                canonical.push_str(if significant.is_empty() { "0" } else { significant });
            }
            canonical.push_str(after);
        }
        Ok(Self(canonical.into()))
    }
}

impl Ord for StreamId {
    fn cmp(&self, other: &Self) -> Ordering {
        // The text decides between ids of equal parts (`a` and `a0`), so that order agrees with equality.
        self.0
            .split('.')
            .map(part_key)
            .cmp(other.0.split('.').map(part_key))
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for StreamId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for StreamId {
    type Error = MalformedStreamId;

    fn try_from(text: String) -> Result<Self, MalformedStreamId> {
        text.parse()
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> Self {
        id.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> StreamId {
        text.parse().unwrap()
    }

    #[test]
    fn ids_are_ordered_by_number() {
        let ordered =
            ["1", "1.2", "1.9", "1.10", "2", "2.3", "2.3a", "2.3b", "2.10", "10.1", "A.4"];
        for pair in ordered.windows(2) {
            assert!(id(pair[0]) < id(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn ids_are_written_in_one_way() {
        for (text, expected) in
            [("1.2", "1.2"), ("01.002", "1.2"), ("0.0", "0.0"), ("A.4b", "A.4b")]
        {
            assert_eq!(id(text).as_str(), expected, "{text}");
        }
        let malformed = [
            "",
            ".",
            "1.",
            ".1",
            "1..2",
            "a",
            "a.b",
            "1.2!",
            "1 2",
            "1-2",
            "1.1234567890123456",
            "é1",
        ];
        for text in malformed {
            assert!(text.parse::<StreamId>().is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&id("1.2")).unwrap(), "\"1.2\"");
        assert!(serde_json::from_str::<StreamId>("\"nothing\"").is_err());
    }

    fn part() -> impl Strategy<Value = String> {
        "[a-zA-Z]{0,2}[0-9]{1,4}[a-zA-Z]{0,2}"
    }

    fn any_id() -> impl Strategy<Value = StreamId> {
        prop::collection::vec(part(), 1..4).prop_map(|parts| id(&parts.join(".")))
    }

    proptest! {
        #[test]
        fn order_agrees_with_equality(one in any_id(), other in any_id(), third in any_id()) {
            prop_assert_eq!(one == other, one.cmp(&other) == Ordering::Equal);
            prop_assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
            let mut sorted = [&one, &other, &third];
            sorted.sort();
            prop_assert!(sorted[0] <= sorted[2]);
            prop_assert_eq!(&id(one.as_str()), &one);
        }
    }
}
