//! The words of a heading without their inline markup, and where in the file each of them stands.
//!
//! Links, emphasis, code marks, escapes and the like are how a heading looks, not what it is called.
//! This follows CommonMark as far as headings need it, in time that is linear in the text. Marks
//! without a partner are text and stay. Values of fields are read elsewhere, with their markup.

use std::collections::HashMap;
use std::ops::Range;

use super::source::Span;

/// Bytes in which a tag or an address between angle brackets must end.
const ANGLE_BYTES_MAX: usize = 300;

/// Tags that are taken out; what else stands in angle brackets may be a type: `Option<T>`.
const TAGS: [&str; 16] = [
    "a", "b", "br", "code", "del", "em", "font", "i", "img", "kbd", "s", "span", "strong", "sub",
    "sup", "u",
];

/// A text without its markup.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) text: String,
    /// For each byte of `text` where it stands in the file.
    origins: Vec<usize>,
    /// End of the original.
    end: usize,
}

impl Plain {
    /// Reads `text`, which starts at `base`.
    pub(super) fn of(text: &str, base: usize) -> Self {
        let mut scanner = Scanner::new(text);
        scanner.run();
        let mut cuts = scanner.cuts;
        cuts.sort_unstable_by_key(|cut| cut.start);
        let mut plain = Self {
            text: String::with_capacity(text.len()),
            origins: Vec::with_capacity(text.len()),
            end: base + text.len(),
        };
        let mut from = 0;
        for cut in cuts {
            plain.keep(text, from..cut.start, base);
            from = cut.end;
        }
        plain.keep(text, from..text.len(), base);
        plain
    }

    fn keep(&mut self, text: &str, kept: Range<usize>, base: usize) {
        self.text.push_str(&text[kept.clone()]);
        self.origins.extend(base + kept.start..base + kept.end);
    }

    /// Where `part`, a slice of the text, stands in the file.
    pub(super) fn span_of(&self, part: &str) -> Span {
        let start = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        self.place(Span::new(start, start + part.len()))
    }

    /// Where a span of the text stands in the file.
    pub(super) fn place(&self, span: Span) -> Span {
        let start = self.origins.get(span.start).copied().unwrap_or(self.end);
        if span.is_empty() {
            return Span::new(start, start);
        }
        let last = self.origins.get(span.end - 1);
        Span::new(start, last.map_or(self.end, |last| last + 1))
    }
}

/// A run of `*`, `_` or `~` that may open emphasis.
#[derive(Debug, Clone, Copy)]
struct Opener {
    start: usize,
    length: usize,
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// What is no part of the words.
    cuts: Vec<Range<usize>>,
    /// Runs of `*`, of `_` and of `~` that nothing has closed yet.
    openers: [Vec<Opener>; 3],
    brackets: Vec<usize>,
    /// Where the last run of so many backticks begins.
    backticks: HashMap<usize, usize>,
    /// For each opening parenthesis the one that closes it.
    parentheses: HashMap<usize, usize>,
    comments_close: bool,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let mut backticks = HashMap::new();
        let mut parentheses = HashMap::new();
        let mut open = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'`' => {
                    let length = run_length(bytes, at);
                    backticks.insert(length, at);
                    at += length - 1;
                }
                b'(' => open.push(at),
                b')' => {
                    open.pop().map(|from| parentheses.insert(from, at));
                }
                _ => {}
            }
            at += 1;
        }
        Self {
            text,
            at: 0,
            cuts: Vec::new(),
            openers: Default::default(),
            brackets: Vec::new(),
            backticks,
            parentheses,
            comments_close: true,
        }
    }

    fn run(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\\' if bytes.get(self.at + 1).is_some_and(u8::is_ascii_punctuation) => {
                    self.cut(1);
                    self.at += 1;
                }
                b'`' => self.code(),
                b'<' => self.angle(),
                b'[' => {
                    self.brackets.push(self.at);
                    self.at += 1;
                }
                b']' => self.bracket(),
                b'*' => self.emphasis(0),
                b'_' => self.emphasis(1),
                b'~' => self.emphasis(2),
                _ => self.at += 1,
            }
        }
    }

    /// Leaves the next bytes out.
    fn cut(&mut self, length: usize) {
        self.cuts.push(self.at..self.at + length);
        self.at += length;
    }

    fn code(&mut self) {
        let bytes = self.text.as_bytes();
        let length = run_length(bytes, self.at);
        if self.backticks.get(&length).is_none_or(|last| *last <= self.at) {
            self.at += length;
            return;
        }
        self.cut(length);
        while let Some(&byte) = bytes.get(self.at) {
            let run = if byte == b'`' { run_length(bytes, self.at) } else { 0 };
            if run == length {
                self.cut(length);
                return;
            }
            self.at += run.max(1);
        }
    }

    /// A comment, a tag, or an address in angle brackets.
    fn angle(&mut self) {
        let rest = &self.text[self.at..];
        if rest.starts_with("<!--") && self.comments_close {
            match rest.find("-->") {
                Some(length) => return self.cut(length + 3),
                None => self.comments_close = false,
            }
        }
        let Some(end) = rest.bytes().take(ANGLE_BYTES_MAX).position(|byte| byte == b'>') else {
            self.at += 1;
            return;
        };
        let inner = &rest[1..end];
        let named = inner.strip_prefix('/').unwrap_or(inner);
        let name = named.split([' ', '\t', '/']).next().unwrap_or("");
        if TAGS.contains(&name) {
            self.cut(end + 1);
        } else if ["http://", "https://", "mailto:"].iter().any(|s| inner.starts_with(s)) {
            self.cut(1);
            self.at += inner.len();
            self.cut(1);
        } else {
            self.at += 1;
        }
    }

    /// The end of a link's text, if a target or a reference follows.
    fn bracket(&mut self) {
        let bytes = self.text.as_bytes();
        let close = self.at;
        self.at += 1;
        let Some(open) = self.brackets.pop() else { return };
        let behind = &self.text[close + 1..];
        let before = self.text[..open].chars().next_back();
        let end = match behind.bytes().next() {
            Some(b'(') => self.parentheses.get(&(close + 1)).copied(),
            // `cells[i][j]` is no link.
            Some(b'[') if !before.is_some_and(char::is_alphanumeric) => {
                let target = behind.bytes().take(ANGLE_BYTES_MAX).position(|byte| byte == b']');
                target.map(|length| close + 1 + length)
            }
            Some(_) | None => None,
        };
        let Some(end) = end else { return };
        let image = open > 0 && bytes[open - 1] == b'!';
        self.cuts.push(open - usize::from(image)..open + 1);
        self.cuts.push(close..end + 1);
        self.at = end + 1;
    }

    fn emphasis(&mut self, kind: usize) {
        let (start, length) = (self.at, run_length(self.text.as_bytes(), self.at));
        self.at += length;
        // A single `~` stands for about.
        if kind == 2 && length != 2 {
            return;
        }
        let (opens, closes) = self.flanks(start, kind == 1);
        let mut left = length;
        while closes && left > 0 {
            let Some(opener) = self.openers[kind].last_mut() else { break };
            let used = opener.length.min(left);
            opener.length -= used;
            let from = opener.start + opener.length;
            let (opener_start, spent) = (opener.start, opener.length == 0);
            if spent {
                self.openers[kind].pop();
            }
            self.cuts.push(from..from + used);
            self.cuts.push(start + length - left..start + length - left + used);
            left -= used;
            // What opened in between was never closed.
            for openers in &mut self.openers {
                while openers.last().is_some_and(|opener| opener.start > opener_start) {
                    openers.pop();
                }
            }
        }
        if opens && left > 0 {
            self.openers[kind].push(Opener { start: start + length - left, length: left });
        }
    }

    /// Whether the run between `start` and here can open emphasis, and whether it can close it.
    fn flanks(&self, start: usize, within_words: bool) -> (bool, bool) {
        let before = self.text[..start].chars().next_back();
        let behind = self.text[self.at..].chars().next();
        let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let sign = |c: Option<char>| c.is_some_and(|c| !c.is_alphanumeric() && !c.is_whitespace());
        let left = !blank(behind) && (!sign(behind) || blank(before) || sign(before));
        let right = !blank(before) && (!sign(before) || blank(behind) || sign(behind));
        if within_words {
            (left && (!right || sign(before)), right && (!left || sign(behind)))
        } else {
            (left, right)
        }
    }
}

/// How often the byte at `at` stands there.
fn run_length(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().take_while(|byte| **byte == bytes[at]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_taken_off_and_text_stays() {
        let cases = [
            ("plain", "plain"),
            ("[Name](https://a.b/c_(d)_e)", "Name"),
            ("[**Name**](x) and ![alt](y \"t\")", "Name and alt"),
            ("[Name][ref], [WIP] cells[i][j]", "Name, [WIP] cells[i][j]"),
            ("**Name**, __Name__, *Name*, _Name_, ***Name***", "Name, Name, Name, Name, Name"),
            ("**a *b* c** ~~d~~ ~5", "a b c d ~5"),
            ("`code` ``co`de`` `**`", "code co`de **"),
            ("`__init__.py` and snake_case_name", "__init__.py and snake_case_name"),
            ("2 * 3 * 4, *.rs, a_ b, **open", "2 * 3 * 4, *.rs, a_ b, **open"),
            ("1\\.2 \\*a\\* \\z", "1.2 *a* \\z"),
            (
                "<a name=\"x\"></a>A <!-- b --> <https://c.d> Vec<T> <!-- e",
                "A  https://c.d Vec<T> <!-- e",
            ),
            ("[a](b [c] `d", "[a](b [c] `d"),
            ("** **", "** **"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(Plain::of(text, 0).text, expected, "{text}");
        }
    }

    #[test]
    fn every_part_keeps_its_place() {
        let text = "[Phase **1.2**](x): `Näme` ✅";
        let plain = Plain::of(text, 100);
        assert_eq!(plain.text, "Phase 1.2: Näme ✅");
        for (part, original) in
            [("1.2", "1.2"), ("Näme", "Näme"), ("✅", "✅"), ("e 1.2:", "e **1.2**](x):")]
        {
            let at = plain.text.find(part).unwrap();
            let span = plain.span_of(&plain.text[at..at + part.len()]);
            assert_eq!(&text[span.start - 100..span.end - 100], original);
        }
        let end = plain.span_of(&plain.text[plain.text.len()..]);
        assert_eq!((end.start, end.end), (100 + text.len(), 100 + text.len()));
    }

    #[test]
    fn long_lines_take_no_long_time() {
        for part in ["[", "](", "*a _b ", "` `` ", "<", "<!--", "(", "![a](b", "_*~~"] {
            let text = part.repeat(200_000 / part.len());
            assert!(Plain::of(&text, 0).text.len() <= text.len(), "{part}");
        }
    }
}
