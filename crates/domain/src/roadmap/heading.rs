//! Headings: which of them are work streams, which are batches, and what they are called.

use super::block;
use super::id::StreamId;
use super::source::Span;
use super::status;

/// Words before the id of a work stream.
const STREAM_WORDS: [&str; 12] = [
    "phase",
    "stream",
    "work stream",
    "workstream",
    "work item",
    "step",
    "task",
    "item",
    "story",
    "feature",
    "ticket",
    "issue",
];

/// Words before the number of a batch.
const BATCH_WORDS: [&str; 7] =
    ["batch", "sprint", "milestone", "wave", "iteration", "stage", "group"];

/// Signs before a tag.
const STARS: [char; 3] = ['⭐', '🌟', '★'];

/// The first part of an id without a word is at most this; more is a year or a version.
const UNWORDED_FIRST_PART_MAX: u32 = 999;

/// What stands around words for emphasis or as a link.
const EMPHASIS: [char; 4] = ['*', '_', '`', '['];

/// A heading line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heading {
    /// From 1 to 6.
    pub(super) level: usize,
    /// Columns before the first `#`.
    pub(super) indent: usize,
    /// There is white space after the `#`s, as Markdown wants it.
    pub(super) spaced: bool,
    /// The text, without the `#`s around it.
    pub(super) text: Span,
}

/// What a heading announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Announces {
    Stream(StreamHeading),
    Batch {
        number: Option<u32>,
        title: Span,
    },
    /// Begins like a work stream, but the id cannot be read.
    MalformedId(Span),
    Section,
}

/// The parts of a work stream's heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamHeading {
    pub(super) id: StreamId,
    pub(super) id_span: Span,
    /// May be empty.
    pub(super) name: Span,
    pub(super) tag: Option<String>,
    /// A status sign in the heading itself.
    pub(super) mark: Option<status::Reading>,
    /// There is a word such as `Phase` before the id.
    pub(super) worded: bool,
}

/// Reads `line`, which starts at `base`, as an ATX heading.
pub(super) fn read_line(line: &str, base: usize) -> Option<Heading> {
    let (indent, offset) = block::indentation(line);
    let content = &line[offset..];
    let level = content.bytes().take_while(|byte| *byte == b'#').count();
    // Four columns make it code.
    if !(1..=6).contains(&level) || indent > 3 {
        return None;
    }
    let rest = &content[level..];
    let spaced = rest.is_empty() || rest.starts_with([' ', '\t']);
    let trimmed = rest.trim();
    let unclosed = trimmed.trim_end_matches('#');
    let text = if unclosed.is_empty() || unclosed.ends_with([' ', '\t']) {
        unclosed.trim_end()
    } else {
        trimmed
    };
    let text = Span::new(base + offset + level, base + line.len()).narrow(rest, text);
    Some(Heading { level, indent, spaced, text })
}

/// The longest of `words` at the start of `text`, and what follows it.
fn strip_word<'t>(text: &'t str, words: &[&str]) -> Option<&'t str> {
    words
        .iter()
        .filter_map(|word| {
            let head = text.get(..word.len())?;
            let rest = &text[word.len()..];
            let whole = rest.chars().next().is_none_or(|next| !next.is_alphabetic());
            (head.eq_ignore_ascii_case(word) && whole).then_some(rest)
        })
        .min_by_key(|rest| rest.len())
}

/// Whether `word` (lower-case) is one of those that stand before a stream's id, or its plural.
pub(super) fn is_stream_word(word: &str) -> bool {
    let is = |word: &str| STREAM_WORDS.contains(&word);
    is(word) || word.strip_suffix('s').is_some_and(is) || word == "stories"
}

/// Whether `word` (lower-case) is one of those that stand before a batch's number, or its plural.
pub(super) fn is_batch_word(word: &str) -> bool {
    let is = |word: &str| BATCH_WORDS.contains(&word);
    is(word) || word.strip_suffix('s').is_some_and(is) || word == "batches"
}

/// Length of what could be an id at the start of `text`, without dots behind it.
pub(super) fn id_length(text: &str) -> usize {
    let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'.').count();
    text[..length].trim_end_matches('.').len()
}

/// What the heading with this `text`, which starts at `base`, announces.
pub(super) fn read(text: &str, base: usize) -> Announces {
    let whole = Span::new(base, base + text.len());
    let (bare, mark) = strip_mark(text, base);
    let bare = bare.trim_start_matches(EMPHASIS);
    if let Some(rest) = strip_word(bare, &BATCH_WORDS) {
        return read_batch(text, whole, rest);
    }
    let (worded, rest) = match strip_word(bare, &STREAM_WORDS) {
        Some(rest) => (true, rest.trim_start_matches([' ', '\t', '#', '-', '_', '\u{A0}'])),
        None => (false, bare),
    };
    let length = id_length(rest);
    let candidate = &rest[..length];
    let id_span = whole.narrow(text, candidate);
    let after = &rest[length..];
    let Ok(id) = candidate.parse::<StreamId>() else {
        let meant = worded && candidate.starts_with(|c: char| c.is_ascii_digit());
        return if meant { Announces::MalformedId(id_span) } else { Announces::Section };
    };
    if !ends_id(after, id.depth() > 1) {
        let meant = worded && candidate.contains('.');
        return if meant { Announces::MalformedId(id_span) } else { Announces::Section };
    }
    if !worded && !is_unworded_id(candidate, &id) {
        return Announces::Section;
    }
    let opened = bare.as_ptr() as usize - text.as_ptr() as usize;
    let (name, tag) =
        read_name(after, text[..opened].chars().filter(|c| EMPHASIS.contains(c)).count());
    let (name, trailing) = strip_trailing_mark(name, text, base);
    let name = trim_name(name);
    Announces::Stream(StreamHeading {
        id,
        id_span,
        name: whole.narrow(text, name),
        tag,
        mark: mark.or(trailing),
        worded,
    })
}

/// Without a word before it, only `1.2` and the like are ids: not `3`, not `2025.12`.
fn is_unworded_id(candidate: &str, id: &StreamId) -> bool {
    let first: Option<u32> = candidate.split('.').next().and_then(|part| part.parse().ok());
    id.depth() > 1 && first.is_some_and(|first| first <= UNWORDED_FIRST_PART_MAX)
}

/// Whether an id can end where `after` begins.
fn ends_id(after: &str, dotted: bool) -> bool {
    match after.chars().next() {
        None => true,
        Some('-') => dotted || after[1..].starts_with([' ', '\t']) || after.len() == 1,
        Some(next) => {
            next.is_whitespace()
                || EMPHASIS.contains(&next)
                || STARS.contains(&next)
                || matches!(next, ':' | '：' | '.' | ')' | '(' | ']' | '–' | '—' | '|' | ',')
        }
    }
}

fn read_batch(text: &str, whole: Span, rest: &str) -> Announces {
    let rest = rest.trim_start_matches([' ', '\t', '#', '-', '_', '\u{A0}']);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let number = rest[..digits].parse().ok();
    let title = rest[digits..].trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, ':' | '-' | '–' | '—' | '*' | '_' | '.')
    });
    let title = match title.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) if !inner.contains(['(', ')']) => inner.trim(),
        Some(_) | None => title,
    };
    let title = if title.is_empty() || number.is_none() { text } else { title };
    Announces::Batch { number, title: whole.narrow(text, title) }
}

/// Takes a status sign off the start of a heading.
fn strip_mark(text: &str, base: usize) -> (&str, Option<status::Reading>) {
    match status::sign_at(text) {
        Some((length, _)) => (text[length..].trim_start(), status::read(&text[..length], base)),
        None => (text, None),
    }
}

/// Takes a status sign off the end of a name.
fn strip_trailing_mark<'t>(
    name: &'t str,
    text: &str,
    base: usize,
) -> (&'t str, Option<status::Reading>) {
    let Some(start) =
        name.rfind(char::is_whitespace).map(|at| at + 1).filter(|at| name.is_char_boundary(*at))
    else {
        return (name, None);
    };
    let last = &name[start..];
    match status::sign_at(last) {
        Some((length, _)) if length == last.len() => {
            let offset = last.as_ptr() as usize - text.as_ptr() as usize;
            (name[..start].trim_end(), status::read(last, base + offset))
        }
        Some(_) | None => (name, None),
    }
}

/// Splits what stands behind the id into the name and the tag behind the star.
fn read_name(after: &str, opened: usize) -> (&str, Option<String>) {
    let name = after.trim_start_matches(|c: char| {
        c.is_whitespace()
            || matches!(c, ':' | '：' | '-' | '–' | '—' | '.' | ')' | ']' | '|' | '*' | '_')
    });
    // Emphasis that began before the id ends behind the name; what began behind it is the name's own.
    let separators = &after[..after.len() - name.len()];
    let reopened = separators.len() - separators.trim_end_matches(['*', '_']).len();
    let name = &after[separators.len() - reopened..];
    let (name, tag) = match name.find(STARS) {
        Some(at) => {
            let behind = name[at..].trim_start_matches(STARS).trim_start_matches('\u{FE0F}');
            let tag: String = behind
                .trim_start_matches(|c: char| c.is_whitespace() || EMPHASIS.contains(&c))
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
                .flat_map(char::to_lowercase)
                .collect();
            let tag = tag.trim_end_matches('_').to_owned();
            (&name[..at], Some(tag).filter(|tag| !tag.is_empty()))
        }
        None => (name, None),
    };
    let name = match name.find("](") {
        Some(end) => &name[..end],
        None => name,
    };
    let name = name.trim();
    let closing = name.len() - name.trim_end_matches(['*', '_']).len();
    let cut = if opened > 0 && reopened == 0 { closing.min(opened) } else { 0 };
    (&name[..name.len() - cut], tag)
}

fn trim_name(name: &str) -> &str {
    strip_emphasis(name.trim().trim_end_matches(['-', '–', '—', ':']).trim_end())
}

/// Takes off emphasis and code marks that enclose all of `text`.
pub(super) fn strip_emphasis(text: &str) -> &str {
    let mut inner = text.trim();
    loop {
        let stripped = ["**", "__", "*", "_", "`"].iter().find_map(|mark| {
            let body = inner.strip_prefix(mark)?.strip_suffix(mark)?;
            // `**a** and **b**` is not enclosed as a whole.
            (!body.is_empty() && !body.contains(mark)).then_some(body)
        });
        match stripped {
            Some(body) => inner = body.trim(),
            None => return inner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let slice = |span: Span| &text[span.start..span.end];
        match read(text, 0) {
            Announces::Stream(stream) => {
                let StreamHeading { id, name, tag, mark, .. } = stream;
                let mark = mark.map(|mark| mark.status.as_str());
                format!("{id}|{}|{}|{}", slice(name), tag.unwrap_or_default(), mark.unwrap_or(""))
            }
            Announces::Batch { number, title } => {
                format!(
                    "batch {}|{}",
                    number.map_or(String::new(), |n| n.to_string()),
                    slice(title)
                )
            }
            Announces::MalformedId(span) => format!("malformed {}", slice(span)),
            Announces::Section => "section".to_owned(),
        }
    }

    #[test]
    fn headings_are_told_apart() {
        let cases = [
            ("Phase 1.2: Name ⭐ PRIORITY", "1.2|Name|priority|"),
            ("Phase 1.2: Name ⭐️ **Bootstrap** (first)", "1.2|Name|bootstrap|"),
            ("Phase 1.2: Name ⭐", "1.2|Name||"),
            ("Phase 1.2 – Name – more", "1.2|Name – more||"),
            ("Phase 1.2. Name", "1.2|Name||"),
            ("Phase #3: Name", "3|Name||"),
            ("**Phase 1.2: Name**", "1.2|Name||"),
            ("Phase 1.2: **Name**", "1.2|Name||"),
            ("[Phase 1.2: Name](plan.md)", "1.2|Name||"),
            ("🔄 1.2 Name", "1.2|Name||in_progress"),
            ("Phase 1.2: Name ✅", "1.2|Name||complete"),
            ("1.2: Name", "1.2|Name||"),
            ("1.2", "1.2|||"),
            ("1.2-Name", "1.2|Name||"),
            ("Task 3-way merge", "section"),
            ("Task list", "section"),
            ("Step by step", "section"),
            ("Phases", "section"),
            ("2031.12 report", "section"),
            ("3 things", "section"),
            ("v1.2", "section"),
            ("Phase 1..2: Name", "malformed 1..2"),
            ("Batch 3 (Security - Blocked by Batch 2)", "batch 3|Security - Blocked by Batch 2"),
            ("Batch 3", "batch 3|Batch 3"),
            ("Sprint 4: **Speed**", "batch 4|Speed"),
            ("Milestone Alpha", "batch |Milestone Alpha"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
