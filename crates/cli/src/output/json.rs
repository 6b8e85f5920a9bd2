//! JSON that is lossless and still harmless on a terminal.

use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::sanitize::steers;

/// `value` as JSON, over several lines or in one, without a line end after it.
///
/// JSON escapes only the ASCII control characters. Here every character that could steer a
/// terminal is escaped, so that nothing has to be left out.
///
/// # Errors
/// When `value` has no JSON form, such as a map whose keys aren't text.
pub fn to_json<T: Serialize + ?Sized>(
    value: &T,
    pretty: bool,
) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    if pretty {
        let formatter = Harmless(PrettyFormatter::new());
        value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    } else {
        let formatter = Harmless(CompactFormatter);
        value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    }
    // Formatters are handed text and write text.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Harmless<F>(F);

/// Passes everything on to the inner formatter but the text.
impl<F: Formatter> Formatter for Harmless<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(steers) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut characters = rest[at..].chars();
            let character = characters.next().map_or(0, u32::from);
            write!(writer, "\\u{character:04x}")?;
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_it_was_and_steers_nothing() {
        let hostile = serde_json::json!({"text": ["\u{1b}[31m", "\u{9b}2J", "\u{202e}", "é\"\n"]});
        for pretty in [false, true] {
            let json = to_json(&hostile, pretty).expect("it has a JSON form");
            assert!(!json.contains(|c| steers(c) && c != '\n'), "{json:?}");
            let back: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
            assert_eq!(back, hostile);
        }
    }

    #[test]
    fn it_looks_as_usual() {
        let value = serde_json::json!({"a": [1, {}], "b": []});
        assert_eq!(to_json(&value, false).expect("JSON"), r#"{"a":[1,{}],"b":[]}"#);
        let usual = serde_json::to_string_pretty(&value).expect("JSON");
        assert_eq!(to_json(&value, true).expect("JSON"), usual);
    }
}
