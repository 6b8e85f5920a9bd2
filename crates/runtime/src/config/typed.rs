//! From the merged tree to Rust types, strictly: nothing is converted that was not meant.
//!
//! A `Deserializer` of our own, because the errors must say *which key*: they carry the path
//! from the root, which [`super::layer`] turns into a place in a file.

use std::fmt::Display;

use config::{Value, ValueKind};
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer as _, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

/// What does not fit, and the path to it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) path: Vec<String>,
    pub(super) problem: Problem,
}

/// How something does not fit.
#[derive(Debug)]
pub(super) enum Problem {
    UnknownKey { name: String, known: &'static [&'static str] },
    UnknownValue { found: String, known: &'static [&'static str] },
    WrongType { expected: String, found: String },
    MissingKey { name: String },
    Unreadable { reason: String },
}

/// Reads a `T` out of the merged tree.
pub(super) fn from_value<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, Fault> {
    T::deserialize(Typed(value))
}

impl Fault {
    fn new(problem: Problem) -> Self {
        Self { path: Vec::new(), problem }
    }

    fn under(mut self, segment: &str) -> Self {
        self.path.insert(0, segment.to_owned());
        self
    }
}

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not fit: {:?}", self.path.join("."), self.problem)
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(Problem::Unreadable { reason: message.to_string() })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self::new(Problem::WrongType { expected, found })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownValue { found: found.to_owned(), known })
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownKey { name: name.to_owned(), known })
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(Problem::MissingKey { name: name.to_owned() })
    }
}

/// A value that is about to be typed.
#[derive(Clone, Copy)]
struct Typed<'de>(&'de Value);

impl<'de> Typed<'de> {
    fn text(self, expected: &str) -> Result<&'de str, Fault> {
        match &self.0.kind {
            ValueKind::String(text) => Ok(text),
            _ => Err(self.wrong_type(expected)),
        }
    }

    fn wrong_type(self, expected: &str) -> Fault {
        let found = match &self.0.kind {
            ValueKind::Nil => "nothing".to_owned(),
            ValueKind::Array(_) => "a list".to_owned(),
            ValueKind::Table(_) => "a map".to_owned(),
            scalar => format!("{:?}", scalar.to_string().chars().take(60).collect::<String>()),
        };
        Fault::new(Problem::WrongType { expected: expected.to_owned(), found })
    }
}

macro_rules! deserialize_number {
    ($($method:ident => $visit:ident: $number:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let expected =
                || format!("a number from {} to {}", <$number>::MIN, <$number>::MAX);
            let text = self.text(&expected())?;
            let number = text.parse::<$number>().map_err(|_| self.wrong_type(&expected()))?;
            visitor.$visit(number)
        }
    )*};
}

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Fault;

    deserialize_number! {
        deserialize_i8 => visit_i8: i8,
        deserialize_i16 => visit_i16: i16,
        deserialize_i32 => visit_i32: i32,
        deserialize_i64 => visit_i64: i64,
        deserialize_u8 => visit_u8: u8,
        deserialize_u16 => visit_u16: u16,
        deserialize_u32 => visit_u32: u32,
        deserialize_u64 => visit_u64: u64,
        deserialize_f32 => visit_f32: f32,
        deserialize_f64 => visit_f64: f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Array(_) => self.deserialize_seq(visitor),
            ValueKind::Table(_) => self.deserialize_map(visitor),
            _ => self.deserialize_str(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text("true or false")? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text("text")?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.kind {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let ValueKind::Array(items) = &self.0.kind else {
            return Err(self.wrong_type("a list"));
        };
        visitor.visit_seq(Items { items: items.iter().enumerate() })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let ValueKind::Table(table) = &self.0.kind else {
            return Err(self.wrong_type("a map"));
        };
        let mut entries: Vec<_> = table.iter().collect();
        // The table has no order of its own; of several faults always the same is reported.
        entries.sort_by_key(|(key, _)| *key);
        visitor.visit_map(Entries { entries: entries.into_iter(), current: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(StrDeserializer::new(self.text("a word")?))
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, item)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(Typed(item)).map(Some).map_err(|fault| fault.under(&index.to_string()))
    }
}

struct Entries<'de> {
    entries: std::vec::IntoIter<(&'de String, &'de Value)>,
    current: Option<(&'de String, &'de Value)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some((key, value)) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Typed(value)).map_err(|fault| fault.under(key))
    }
}
