//! Where code fences open and close, known before the structure is read.
//!
//! A fence that is never closed would swallow the rest of the roadmap. Knowing beforehand whether a
//! closing line exists lets the parser end such a fence at the next heading and say so, in one pass.

use super::source::Source;

/// Columns that a tab reaches to the next multiple of.
const TAB_COLUMNS: usize = 4;

/// A line that opens or closes fenced code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FenceLine {
    pub(super) mark: u8,
    pub(super) length: usize,
    /// Nothing but the fence stands on the line, so that it may close one.
    pub(super) bare: bool,
}

/// What follows a fence line of the file, for its mark.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    line: u32,
    fence: FenceLine,
    /// The longest bare fence of the same mark behind this one.
    longest_bare_after: usize,
    /// Whether the next fence of the same mark that is at least as long is a bare one.
    closes_next: bool,
}

/// All fence lines of a file, in order.
#[derive(Debug)]
pub(super) struct Fences(Vec<Ahead>);

/// Width of the indentation in columns, and its length in bytes.
pub(super) fn indentation(text: &str) -> (usize, usize) {
    let mut columns = 0;
    let mut bytes = 0;
    for byte in text.bytes() {
        match byte {
            b' ' => columns += 1,
            b'\t' => columns += TAB_COLUMNS - columns % TAB_COLUMNS,
            _ => break,
        }
        bytes += 1;
    }
    (columns, bytes)
}

/// Length of the `>` marks that make `line` part of a block quote, with what stands before them and
/// the space behind each; `None` if it is part of none.
pub(super) fn quote(line: &str) -> Option<usize> {
    let mut length = indentation(line).1;
    let marks = length;
    while line[length..].starts_with('>') {
        length += 1;
        length += usize::from(line[length..].starts_with(' '));
    }
    (length > marks).then_some(length)
}

/// Length of the bullet at the start of `content`, with the white space behind it.
pub(super) fn bullet(content: &str) -> Option<usize> {
    let marker = match content.as_bytes() {
        [b'-' | b'*' | b'+', ..] => 1,
        [b'0'..=b'9', ..] => {
            let digits = content.bytes().take_while(u8::is_ascii_digit).count();
            let closed = matches!(content.as_bytes().get(digits), Some(b'.' | b')'));
            if digits > 9 || !closed {
                return None;
            }
            digits + 1
        }
        _ if content.starts_with('•') => '•'.len_utf8(),
        _ => return None,
    };
    let rest = &content[marker..];
    let gap = rest.len() - rest.trim_start_matches([' ', '\t', '\u{A0}']).len();
    (gap > 0 || rest.is_empty()).then_some(marker + gap)
}

/// Reads the line as a fence, also right behind bullets.
pub(super) fn fence(line: &str) -> Option<FenceLine> {
    let mut content = line.trim_start();
    let mut bare = true;
    while let Some(length @ 1..) = bullet(content) {
        bare = false;
        content = &content[length..];
    }
    let mark = *content.as_bytes().first().filter(|byte| matches!(byte, b'`' | b'~'))?;
    let length = content.bytes().take_while(|byte| *byte == mark).count();
    let info = content[length..].trim();
    if length < 3 || (mark == b'`' && info.contains('`')) {
        return None;
    }
    Some(FenceLine { mark, length, bare: bare && info.is_empty() })
}

impl Fences {
    pub(super) fn find(source: &Source<'_>) -> Self {
        let lines = source.lines().filter_map(|line| Some((line.number, fence(line.text)?)));
        let mut all: Vec<Ahead> = lines
            .map(|(line, fence)| Ahead { line, fence, longest_bare_after: 0, closes_next: false })
            .collect();
        for mark in *b"`~" {
            // Lengths still in sight from the right, longest at the bottom.
            let mut in_sight: Vec<(usize, bool)> = Vec::new();
            let mut longest_bare = 0;
            for ahead in all.iter_mut().rev().filter(|ahead| ahead.fence.mark == mark) {
                let FenceLine { length, bare, .. } = ahead.fence;
                while in_sight.last().is_some_and(|(shorter, _)| *shorter < length) {
                    in_sight.pop();
                }
                ahead.longest_bare_after = longest_bare;
                ahead.closes_next = in_sight.last().is_some_and(|(_, bare)| *bare);
                in_sight.push((length, bare));
                if bare {
                    longest_bare = longest_bare.max(length);
                }
            }
        }
        Self(all)
    }

    /// Whether the fence that opens on `line` has a line that closes it, and whether that one comes
    /// before any other fence that could as well be a new one.
    pub(super) fn outlook(&self, line: u32) -> Outlook {
        let Ok(index) = self.0.binary_search_by_key(&line, |ahead| ahead.line) else {
            return Outlook::NeverClosed;
        };
        let ahead = &self.0[index];
        if ahead.longest_bare_after < ahead.fence.length {
            Outlook::NeverClosed
        } else if ahead.closes_next {
            Outlook::Closed
        } else {
            Outlook::AnotherOpensFirst
        }
    }
}

/// What is known of a fence when it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    Closed,
    AnotherOpensFirst,
    NeverClosed,
}
