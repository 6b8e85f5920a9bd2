//! Headings: which of them are work streams, which are batches, and what they are called.

use super::block;
use super::id::StreamId;
use super::inline::Plain;
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

/// What may stand before a word as a mark that has no partner.
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
        title: String,
    },
    /// Begins like a work stream, but the id cannot be read.
    MalformedId(Span),
    Section {
        title: String,
    },
}

impl Announces {
    /// It begins a work stream or a batch with a number: nothing else looks like that by chance.
    pub(super) fn is_structure(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Batch { number: Some(_), .. })
    }
}

/// The parts of a work stream's heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamHeading {
    pub(super) id: StreamId,
    pub(super) id_span: Span,
    /// Without markup; may be empty.
    pub(super) name: String,
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

/// The level of the heading whose underline `line` is.
pub(super) fn underline(line: &str) -> Option<usize> {
    let (indent, offset) = block::indentation(line);
    let marks = line[offset..].trim_end();
    let all = |mark: u8| !marks.is_empty() && marks.bytes().all(|byte| byte == mark);
    match marks.len() {
        _ if indent > 3 => None,
        _ if all(b'=') => Some(1),
        // A single one is an empty bullet to everybody but CommonMark.
        2.. if all(b'-') => Some(2),
        _ => None,
    }
}

/// What the heading with this `text`, which starts at `base`, announces.
pub(super) fn read(text: &str, base: usize) -> Announces {
    let plain = Plain::of(text, base);
    let text = plain.text.as_str();
    let (bare, mark) = strip_mark(text);
    let bare = bare.trim_start_matches(EMPHASIS);
    if let Some(rest) = strip_word(bare, &BATCH_WORDS) {
        return read_batch(text, rest);
    }
    let section = || Announces::Section { title: text.to_owned() };
    let (worded, rest) = match strip_word(bare, &STREAM_WORDS) {
        Some(rest) => (true, rest.trim_start_matches([' ', '\t', '#', '-', '_', '[', '\u{A0}'])),
        None => (false, bare),
    };
    let length = id_length(rest);
    let candidate = &rest[..length];
    let id_span = plain.span_of(candidate);
    let after = &rest[length..];
    let Ok(id) = candidate.parse::<StreamId>() else {
        let meant = worded && candidate.starts_with(|c: char| c.is_ascii_digit());
        return if meant { Announces::MalformedId(id_span) } else { section() };
    };
    if !ends_id(after, id.depth() > 1) {
        let meant = worded && candidate.contains('.');
        return if meant { Announces::MalformedId(id_span) } else { section() };
    }
    if !worded && !is_unworded_id(candidate, &id) {
        return section();
    }
    let (name, tag) = read_name(after);
    let (name, trailing) = strip_trailing_mark(name, text);
    let name = name.trim().trim_end_matches(['-', '–', '—', ':']).trim_end().to_owned();
    let mark = mark
        .or(trailing)
        .map(|mark| status::Reading { sign: mark.sign.map(|span| plain.place(span)), ..mark });
    Announces::Stream(StreamHeading { id, id_span, name, tag, mark, worded })
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

fn read_batch(text: &str, rest: &str) -> Announces {
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
    Announces::Batch { number, title: title.to_owned() }
}

/// Takes a status sign off the start of a heading.
fn strip_mark(text: &str) -> (&str, Option<status::Reading>) {
    match status::sign_at(text) {
        Some((length, _)) => (text[length..].trim_start(), status::read(&text[..length], 0)),
        None => (text, None),
    }
}

/// Takes a status sign off the end of a name, which is part of `text`.
fn strip_trailing_mark<'t>(name: &'t str, text: &str) -> (&'t str, Option<status::Reading>) {
    let Some(start) =
        name.rfind(char::is_whitespace).map(|at| at + 1).filter(|at| name.is_char_boundary(*at))
    else {
        return (name, None);
    };
    let last = &name[start..];
    match status::sign_at(last) {
        Some((length, _)) if length == last.len() => {
            let offset = last.as_ptr() as usize - text.as_ptr() as usize;
            (name[..start].trim_end(), status::read(last, offset))
        }
        Some(_) | None => (name, None),
    }
}

/// Splits what stands behind the id into the name and the tag behind the star.
fn read_name(after: &str) -> (&str, Option<String>) {
    let name = after.trim_start_matches(|c: char| {
        c.is_whitespace()
            || matches!(c, ':' | '：' | '-' | '–' | '—' | '.' | ')' | ']' | '|' | '*' | '_' | '`')
    });
    // Marks without a partner right behind the id are left out; others are the name's own.
    let separators = &after[..after.len() - name.len()];
    let own = |at: &usize| separators[..*at].ends_with(char::is_whitespace);
    let mark = separators.match_indices(['*', '_', '`']).map(|(at, _)| at).find(own);
    let name = &after[mark.unwrap_or(separators.len())..];
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
    (name.trim(), tag)
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
        match read(text, 0) {
            Announces::Stream(stream) => {
                let StreamHeading { id, name, tag, mark, .. } = stream;
                let mark = mark.map(|mark| mark.status.as_str());
                format!("{id}|{name}|{}|{}", tag.unwrap_or_default(), mark.unwrap_or(""))
            }
            Announces::Batch { number, title } => {
                format!("batch {}|{title}", number.map_or(String::new(), |n| n.to_string()))
            }
            Announces::MalformedId(span) => format!("malformed {}", &text[span.start..span.end]),
            Announces::Section { .. } => "section".to_owned(),
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
            ("Work Stream 1.2: [Name](https://a.b/c) ✅", "1.2|Name||complete"),
            ("Work Stream [1.2](c): Name", "1.2|Name||"),
            ("Phase [1.2]: [WIP] Name", "1.2|[WIP] Name||"),
            ("Phase **1.2**: `__init__.py` in *all* [parts][1]", "1.2|__init__.py in all parts||"),
            ("`1.2` Name <!-- note -->", "1.2|Name||"),
            ("1\\.2 Name", "1.2|Name||"),
            ("**Phase 1.2:**Name", "1.2|Name||"),
            ("**Phase 1.2: Name", "1.2|Name||"),
            ("Phase 1.2: *.rs", "1.2|*.rs||"),
            ("**✅** [Phase 1.2](x) Name ⭐ `PRIORITY`", "1.2|Name|priority|complete"),
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
            ("[Sprint 4](x): Speed", "batch 4|Speed"),
            ("Milestone Alpha", "batch |Milestone Alpha"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
