//! Placement: what a task needs of a worker, and the classes that offers are published under.
//!
//! A worker has labels; a task has constraints on them. Tasks with the same agent and the same
//! constraints form a class, which is the unit in which offers reach workers: whoever satisfies a
//! class may take any offer of it. Which of several able workers is the best one is decided at the
//! claim, in [`crate::engine`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a worker says about its machine, such as `os` = `linux`.
pub type Labels = BTreeMap<String, String>;

/// The longest name and the longest value of a label.
pub const LABEL_BYTES_MAX: usize = 63;

/// How many labels a worker, and how many constraints a task, may have.
pub const LABELS_MAX: usize = 64;

/// The longest class: it becomes one token of a subject and the name of a consumer.
const CLASS_BYTES_MAX: usize = 40;

/// A condition on one label of a worker, written as people write it: `gpu`, `!gpu`, `os=linux`,
/// `os!=macos`, `zone in (a, b)`, `memory_gb>=16`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Constraint {
    label: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Test {
    Present,
    Absent,
    Is(String),
    /// Also when the label is absent.
    IsNot(String),
    OneOf(Vec<String>),
    /// Compares numbers; a label that is absent or no number never fits.
    Compare(Comparison, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Comparison {
    AtLeast,
    AtMost,
    More,
    Less,
}

/// The text is no constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no constraint on labels: {reason}; write `gpu`, `!gpu`, `os=linux`, `os!=macos`, `zone in (a, b)` or `memory_gb>=16`"
)]
pub struct MalformedConstraint {
    /// As given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Whether the text may be a label's name.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    (1..=LABEL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(legal)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// Whether the text may be a label's value.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    let legal =
        |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '/' | ':' | '+');
    text.len() <= LABEL_BYTES_MAX && text.chars().all(legal)
}

impl Constraint {
    /// Whether these labels fit.
    #[must_use]
    pub fn fits(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).map(String::as_str);
        match &self.test {
            Test::Present => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Is(wanted) => value == Some(wanted),
            Test::IsNot(unwanted) => value != Some(unwanted),
            Test::OneOf(wanted) => value.is_some_and(|value| wanted.iter().any(|one| one == value)),
            Test::Compare(comparison, bound) => {
                let numbers = value.and_then(number).zip(number(bound));
                numbers.is_some_and(|(value, bound)| match comparison {
                    Comparison::AtLeast => value >= bound,
                    Comparison::AtMost => value <= bound,
                    Comparison::More => value > bound,
                    Comparison::Less => value < bound,
                })
            }
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

impl FromStr for Constraint {
    type Err = MalformedConstraint;

    fn from_str(text: &str) -> Result<Self, MalformedConstraint> {
        let malformed = |reason| MalformedConstraint { text: text.to_owned(), reason };
        let (label, test) = split(text.trim()).map_err(malformed)?;
        if !is_label(label) {
            return Err(malformed(
                "a label's name has 1 to 63 letters, digits, `_`, `-`, `.` or `/`",
            ));
        }
        let legal = match &test {
            Test::Present | Test::Absent => true,
            Test::Is(value) | Test::IsNot(value) => is_label_value(value),
            Test::OneOf(values) => {
                !values.is_empty()
                    && values.len() <= LABELS_MAX
                    && values.iter().all(|value| is_label_value(value))
            }
            Test::Compare(_, bound) => number(bound).is_some(),
        };
        if !legal {
            return Err(malformed("its value can't be compared with"));
        }
        Ok(Self { label: label.to_owned(), test })
    }
}

/// The longest signs first, so that `>=` isn't taken for `>`.
fn split(text: &str) -> Result<(&str, Test), &'static str> {
    if let Some(label) = text.strip_prefix('!') {
        return Ok((label.trim(), Test::Absent));
    }
    if let Some((label, values)) = text.split_once(" in ") {
        let inner = values.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let inner = inner.ok_or("after `in` comes a list in parentheses")?;
        let mut values: Vec<String> = inner.split(',').map(|one| one.trim().to_owned()).collect();
        values.sort();
        values.dedup();
        return Ok((label.trim(), Test::OneOf(values)));
    }
    type Make = fn(String) -> Test;
    let signs: [(&str, Make); 7] = [
        (">=", |bound| Test::Compare(Comparison::AtLeast, bound)),
        ("<=", |bound| Test::Compare(Comparison::AtMost, bound)),
        ("!=", Test::IsNot),
        ("==", Test::Is),
        (">", |bound| Test::Compare(Comparison::More, bound)),
        ("<", |bound| Test::Compare(Comparison::Less, bound)),
        ("=", Test::Is),
    ];
    for (sign, make) in signs {
        if let Some((label, value)) = text.split_once(sign) {
            return Ok((label.trim(), make(value.trim().to_owned())));
        }
    }
    Ok((text, Test::Present))
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = &self.label;
        match &self.test {
            Test::Present => write!(f, "{label}"),
            Test::Absent => write!(f, "!{label}"),
            Test::Is(value) => write!(f, "{label}={value}"),
            Test::IsNot(value) => write!(f, "{label}!={value}"),
            Test::OneOf(values) => write!(f, "{label} in ({})", values.join(", ")),
            Test::Compare(comparison, bound) => {
                let sign = match comparison {
                    Comparison::AtLeast => ">=",
                    Comparison::AtMost => "<=",
                    Comparison::More => ">",
                    Comparison::Less => "<",
                };
                write!(f, "{label}{sign}{bound}")
            }
        }
    }
}

impl TryFrom<String> for Constraint {
    type Error = MalformedConstraint;

    fn try_from(text: String) -> Result<Self, MalformedConstraint> {
        text.parse()
    }
}

impl From<Constraint> for String {
    fn from(constraint: Constraint) -> Self {
        constraint.to_string()
    }
}

/// What offers of tasks with the same needs are published under: 1 to 40 lower-case letters,
/// digits and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Class(Arc<str>);

/// The text is no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no class: 1 to {CLASS_BYTES_MAX} lower-case letters, digits and `-`")]
pub struct MalformedClass {
    /// As given.
    pub text: String,
}

impl Class {
    /// The class of a task. Agents with plain names and without constraints give their name to
    /// it; everything else is told apart by a hash.
    #[must_use]
    pub fn of(agent: &Arc<str>, needs: &[Constraint]) -> Self {
        if needs.is_empty() && is_class(agent) {
            return Self(Arc::clone(agent));
        }
        let mut texts: Vec<String> = needs.iter().map(Constraint::to_string).collect();
        texts.sort();
        texts.dedup();
        texts.insert(0, agent.to_string());
        let plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        let agent: String =
            agent.to_ascii_lowercase().chars().filter(|char| plain(*char)).take(20).collect();
        // Two hyphens: no name of an agent that stands for itself is ever told from a hashed one
        // by luck.
        Self(format!("{agent}--{:016x}", fnv1a(&texts)).into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_class(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=CLASS_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal)
}

/// FNV-1a over all texts, each ended by a zero: stable over versions and machines, which the hash
/// of the standard library isn't.
///
/// Source: G. Fowler, L. Noll, K. Vo, "The FNV Non-Cryptographic Hash Algorithm",
/// draft-eastlake-fnv.
fn fnv1a(texts: &[String]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Class {
    type Err = MalformedClass;

    fn from_str(text: &str) -> Result<Self, MalformedClass> {
        if is_class(text) {
            Ok(Self(text.into()))
        } else {
            Err(MalformedClass { text: text.to_owned() })
        }
    }
}

impl TryFrom<String> for Class {
    type Error = MalformedClass;

    fn try_from(text: String) -> Result<Self, MalformedClass> {
        text.parse()
    }
}

impl From<Class> for String {
    fn from(class: Class) -> Self {
        class.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        let pairs = [("os", "linux"), ("memory_gb", "16"), ("zone", "eu-1"), ("gpu", "")];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn constraints_test_labels() {
        for (text, expected) in [
            ("gpu", true),
            ("!gpu", false),
            ("tpu", false),
            ("!tpu", true),
            ("os=linux", true),
            ("os == linux", true),
            ("os=macos", false),
            ("os!=macos", true),
            ("tpu!=v4", true),
            ("zone in (eu-1, eu-2)", true),
            ("zone in (us-1)", false),
            ("memory_gb>=16", true),
            ("memory_gb > 16", false),
            ("memory_gb<=16.5", true),
            ("memory_gb<9", false),
            ("os>=1", false),
            ("tpu<1", false),
        ] {
            let constraint: Constraint = text.parse().expect(text);
            assert_eq!(constraint.fits(&labels()), expected, "{text}");
            let again: Constraint = constraint.to_string().parse().expect("its own text");
            assert_eq!(again, constraint, "{text}");
        }
    }

    #[test]
    fn malformed_constraints_are_refused() {
        for text in ["", "=", "=x", "a b", "os=a b", "zone in a", "zone in ()x", "m>=many", "-x"] {
            assert!(text.parse::<Constraint>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn classes_are_tokens_and_stand_for_agent_and_needs() {
        let class = |agent: &str, needs: &[&str]| {
            let needs: Vec<Constraint> =
                needs.iter().map(|text| text.parse().expect("a constraint")).collect();
            Class::of(&agent.into(), &needs)
        };
        assert_eq!(class("claude", &[]).as_str(), "claude");
        assert_eq!(class("claude", &["gpu", "os=linux"]), class("claude", &["os=linux", "gpu"]));
        let different = [
            class("claude", &[]),
            class("claude", &["gpu"]),
            class("Claude", &[]),
            class("clau.de", &[]),
            class("claude", &["!gpu"]),
            class("ä", &[]),
        ];
        for (index, one) in different.iter().enumerate() {
            assert!(one.to_string().parse::<Class>().is_ok(), "{one}");
            assert!(different[..index].iter().all(|other| other != one), "{one}");
        }
    }
}
