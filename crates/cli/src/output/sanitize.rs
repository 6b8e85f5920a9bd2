//! Makes text of agents, check commands and roadmaps harmless for a terminal.

use anstream::adapter::strip_str;
use serde_json::Value;

/// `text` without escape sequences, control characters and signs that reorder what is around
/// them. Line ends stay; a tab becomes spaces; of a line that was redrawn with `\r` each version
/// is a line of its own.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let stripped = strip_str(text).to_string();
    let mut characters = stripped.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => clean.push('\n'),
            '\t' => clean.push_str("    "),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' if characters.peek().is_some() => clean.push('\n'),
            _ if steers(character) => {}
            _ => clean.push(character),
        }
    }
    clean
}

/// Whether a terminal might do something other than show it: C0, C1, direction and format signs.
pub(super) fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}'
            | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
        )
}

/// Makes every text in `value` harmless, names of fields included.
pub fn scrub(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.contains(|c| steers(c) && c != '\n') {
                *text = sanitize(text);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        Value::Object(fields) => {
            let hostile = |name: &String| name.contains(steers);
            if fields.keys().any(hostile) {
                let renamed = std::mem::take(fields).into_iter();
                *fields = renamed.map(|(name, value)| (sanitize(&name), value)).collect();
            }
            fields.values_mut().for_each(scrub);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_text_becomes_plain_text() {
        let check = |hostile: &str, expected: &str| assert_eq!(sanitize(hostile), expected);
        check("plain ünïcode 漢字 🎺", "plain ünïcode 漢字 🎺");
        check("\u{1b}[31mred\u{1b}[0m", "red");
        check("title\u{1b}]0;owned\u{7} set", "title set");
        check("clipboard\u{1b}]52;c;aGk=\u{1b}\\ stolen", "clipboard stolen");
        check("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link");
        check("\u{1b}[2J\u{1b}[Hcleared", "cleared");
        check("c1 \u{9b}31m", "c1 31m");
        check("bell\u{7} null\u{0} back\u{8}", "bell null back");
        check("reversed \u{202e}txt.exe", "reversed txt.exe");
        check("a\tb", "a    b");
        check("windows\r\nlines\r\n", "windows\nlines\n");
        check("10%\r20%\r100%\r", "10%\n20%\n100%");
    }

    #[test]
    fn every_text_of_a_document_is_scrubbed() {
        let mut value = serde_json::json!({"a\u{1b}[1m": ["\u{1b}[31mx", {"b": "y\u{7}"}], "n": 1});
        scrub(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["x", {"b": "y"}], "n": 1}));
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in "(\\PC|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}]|\u{1b}[\\[\\]P_^X]){0,40}") {
            let clean = sanitize(&text);
            prop_assert!(!clean.contains(|c| steers(c) && c != '\n'), "{clean:?}");
            prop_assert_eq!(sanitize(&clean), clean);
        }
    }
}
