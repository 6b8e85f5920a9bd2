//! One YAML text as a tree in which every key and value knows its place.
//!
//! Scalars stay the text that was written: what they mean is for the types to say.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Location, MessageFormatter as _, Spanned, UserMessageFormatter};

/// A place in a text; line and column count from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
    /// Length of the marked text in characters.
    pub(super) length: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) position: Position,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, `null` or `~`.
    Nothing,
    /// Any scalar, as written; quotes and escapes are resolved.
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, (Position, Node)>),
}

/// Why a text is not a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) reason: String,
    pub(super) position: Position,
}

/// Parses `text`, which must hold at most one document. An empty text is [`Kind::Nothing`].
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| SyntaxError {
            position: error_position(&error),
            reason: reason(&error),
        })?;
    settle(raw, text)
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // YAML 1.2: only `true` and `false` are booleans; `no` is a word.
        strict_booleans: true,
        // Numbers are kept as written, so it does not matter what these would be.
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        // We draw our own, for all kinds of errors alike.
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: 32, max_nodes: 50_000 },
    }
}

fn reason(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::AliasError { error, .. } => reason(error),
        serde_saphyr::Error::Budget { .. } => "the document nests too deep or is too big".into(),
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {key:?} is there twice")
        }
        serde_saphyr::Error::MultipleDocuments { .. } => "a second document after `---`".into(),
        other => {
            // The message may quote the text; it must not bring control characters along.
            UserMessageFormatter.format_message(other).replace(char::is_control, " ")
        }
    }
}

fn error_position(error: &serde_saphyr::Error) -> Position {
    let at = error.location().unwrap_or(Location::UNKNOWN);
    Position { line: narrow(at.line()).max(1), column: narrow(at.column()).max(1), length: 1 }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A node as the parser gives it: scalars that look like numbers or booleans have lost their
/// spelling, which [`settle`] restores from the text.
#[derive(Debug)]
enum Raw {
    Nothing,
    Plain,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn settle(raw: Spanned<Raw>, text: &str) -> Result<Node, SyntaxError> {
    let position = position(raw.referenced, text);
    let kind = match raw.value {
        Raw::Nothing => Kind::Nothing,
        Raw::Plain => Kind::Text(spelling(raw.defined, text).to_owned()),
        Raw::Text(scalar) => Kind::Text(scalar),
        Raw::List(items) => {
            Kind::List(items.into_iter().map(|item| settle(item, text)).collect::<Result<_, _>>()?)
        }
        Raw::Map(entries) => {
            let mut map = BTreeMap::new();
            for (key, value) in entries {
                let key = settle(key, text)?;
                let value = settle(value, text)?;
                let Kind::Text(name) = key.kind else {
                    let reason = "a key must be a word".to_owned();
                    return Err(SyntaxError { reason, position: key.position });
                };
                map.insert(name, (key.position, value));
            }
            Kind::Map(map)
        }
    };
    Ok(Node { kind, position })
}

/// The text of a scalar at `location`, as written.
fn spelling(location: Location, text: &str) -> &str {
    let span = location.span();
    let range = || {
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        text.get(start..end)
    };
    range().unwrap_or_default()
}

fn position(location: Location, text: &str) -> Position {
    let first_line = spelling(location, text).lines().next().unwrap_or_default();
    Position {
        line: narrow(location.line()),
        column: narrow(location.column()),
        length: first_line.trim_end().chars().count(),
    }
}
