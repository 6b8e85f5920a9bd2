//! Cuts text into the words that goals and roadmaps are compared by.
//!
//! Knows letters, numbers, joints and English word forms; knows nothing of what a word means.

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longer words are cut: nothing a person types needs more, and edit distances stay cheap.
const WORD_CHARS_MAX: usize = 48;

/// What separates a word from the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The first word.
    Start,
    /// White space or punctuation without weight.
    Space,
    /// Written as one word: `next-gen`, `task_parser`, `TaskParser`.
    Glue,
    /// A slash without spaces: one term for words (`CI/CD`), a list for numbers.
    Slash,
    /// A dash that stands for a range: `2.1 - 2.3`, `2.1–2.3`, `2.1..2.3`.
    Dash,
    /// A comma.
    Comma,
    /// `&` or `+`.
    Join,
    /// The end of a sentence or line.
    Sentence,
}

impl Gap {
    /// Whether the two words are written as one term.
    pub(super) fn glues(self) -> bool {
        matches!(self, Gap::Glue | Gap::Slash)
    }
}

/// One word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Lower case, without diacritics.
    pub(super) word: String,
    /// The word without its English ending; what words are compared by.
    pub(super) stem: String,
    pub(super) gap: Gap,
    /// Stands in quotation marks inside a longer text, so it is a name and no command.
    pub(super) quoted: bool,
}

impl Token {
    fn new(word: &str, gap: Gap, quoted: bool, stemmer: &Stemmer) -> Self {
        let stem = stemmer.stem(word).into_owned();
        Self { word: word.to_owned(), stem, gap, quoted }
    }

    /// Whether this is digits, perhaps dotted: `3`, `1.2`, `2.x`.
    pub(super) fn is_number(&self) -> bool {
        self.word.starts_with(|c: char| c.is_ascii_digit())
            && self.word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '*' | 'x'))
    }

    /// The value of a plain integer.
    pub(super) fn integer(&self) -> Option<u64> {
        self.word.parse().ok()
    }
}

/// The words of `text`, in order.
pub(super) fn tokenize(text: &str) -> Vec<Token> {
    let text: Cow<'_, str> = if text.is_ascii() {
        text.into()
    } else {
        text.nfkd().filter(|c| !is_combining_mark(*c)).nfc().collect()
    };
    let quotes = quoted_spans(&text);
    let stemmer = Stemmer::create(Algorithm::English);
    let mut tokens = Vec::new();
    let mut end_of_last = 0;
    for (start, end) in word_spans(&text) {
        let gap =
            if tokens.is_empty() { Gap::Start } else { classify_gap(&text[end_of_last..start]) };
        let quoted = quotes.iter().any(|&(open, close)| open < start && end <= close);
        push_word(&mut tokens, &text[start..end], gap, quoted, &stemmer);
        end_of_last = end;
    }
    tokens
}

/// Byte ranges of words. An apostrophe between letters and a point between digits belong to them.
fn word_spans(text: &str) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut open: Option<(usize, char)> = None;
    while let Some((at, c)) = chars.next() {
        let following = chars.peek().map(|&(_, next)| next);
        let inside = match (open, following) {
            _ if c.is_alphanumeric() => true,
            (Some((_, last)), Some(next)) if is_apostrophe(c) => {
                last.is_alphabetic() && next.is_alphabetic()
            }
            (Some((_, last)), Some(next)) if c == '.' => {
                last.is_ascii_digit() && (next.is_ascii_digit() || matches!(next, 'x' | '*'))
            }
            (Some((_, last)), _) if c == '*' => last == '.',
            _ => false,
        };
        match (inside, open) {
            (true, Some((start, _))) => open = Some((start, c)),
            (true, None) => open = Some((at, c)),
            (false, Some((start, _))) => {
                spans.push((start, at));
                open = None;
            }
            (false, None) => {}
        }
    }
    if let Some((start, _)) = open {
        spans.push((start, text.len()));
    }
    spans
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | 'ʼ' | '‘')
}

fn classify_gap(gap: &str) -> Gap {
    let trimmed = gap.trim();
    let spaced_point = gap.contains(". ") || gap.starts_with(" .") || gap.contains(".\t");
    let range = matches!(trimmed, ".." | "...");
    if gap.contains(['\n', ';', '!', '?', '。', '！', '？']) || (spaced_point && !range) {
        return Gap::Sentence;
    }
    if gap.contains([',', '、', '，']) {
        return Gap::Comma;
    }
    if gap.contains(['&', '+']) {
        return Gap::Join;
    }
    match trimmed {
        "-" | "_" | "." if gap.len() == 1 => Gap::Glue,
        "/" if gap.len() == 1 => Gap::Slash,
        "-" | "–" | "—" | "~" | ".." | "..." | "->" | "→" => Gap::Dash,
        _ => Gap::Space,
    }
}

/// Byte ranges between double quotes or backticks, unless one pair holds the whole text.
fn quoted_spans(text: &str) -> Vec<(usize, usize)> {
    let trimmed = text.trim();
    let marks: Vec<usize> = text
        .char_indices()
        .filter(|(_, c)| matches!(c, '"' | '“' | '”' | '„' | '`' | '«' | '»'))
        .map(|(at, _)| at)
        .collect();
    let whole = |open: usize, close: usize| {
        let before = text.len() - text.trim_start().len();
        open == before && close + 4 > before + trimmed.len()
    };
    marks
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .filter(|&(open, close)| !whole(open, close))
        .collect()
}

fn push_word(tokens: &mut Vec<Token>, raw: &str, gap: Gap, quoted: bool, stemmer: &Stemmer) {
    let mut gap = gap;
    for part in camel_parts(raw) {
        let mut word = part.to_lowercase().replace(is_apostrophe, "'");
        if let Some((cut, _)) = word.char_indices().nth(WORD_CHARS_MAX) {
            word.truncate(cut);
        }
        for piece in expand_contraction(&word) {
            for term in unspaced_terms(&piece) {
                tokens.push(Token::new(&term, gap, quoted, stemmer));
                gap = Gap::Glue;
            }
            gap = Gap::Space;
        }
        gap = Gap::Glue;
    }
}

/// `TaskParser` and `NATSBus` as their words; names such as `OAuth` or `iPhone` stay whole.
fn camel_parts(raw: &str) -> Vec<&str> {
    let characters: Vec<(usize, char)> = raw.char_indices().collect();
    let mut cuts = vec![0];
    for window in characters.windows(2) {
        let [(_, before), (at, after)] = window else { continue };
        if before.is_lowercase() && after.is_uppercase() {
            cuts.push(*at);
        }
    }
    for window in characters.windows(3) {
        let [(_, first), (at, second), (_, third)] = window else { continue };
        if first.is_uppercase() && second.is_uppercase() && third.is_lowercase() {
            cuts.push(*at);
        }
    }
    cuts.push(raw.len());
    cuts.sort_unstable();
    cuts.dedup();
    let parts: Vec<&str> = cuts.windows(2).map(|pair| &raw[pair[0]..pair[1]]).collect();
    if parts.iter().any(|part| part.chars().count() < 2) { vec![raw] } else { parts }
}

/// `what's` is `what is`, `don't` is `do not`, `parser's` is `parser`; also without the apostrophe.
fn expand_contraction(word: &str) -> Vec<Cow<'_, str>> {
    let known: &[&str] = match word {
        "let's" | "lets" => &["let", "us"],
        "can't" | "cant" | "cannot" => &["can", "not"],
        "won't" | "wont" => &["will", "not"],
        "whats" => &["what", "is"],
        "hows" => &["how", "is"],
        "whos" => &["who", "is"],
        "wheres" => &["where", "is"],
        "dont" => &["do", "not"],
        "doesnt" => &["does", "not"],
        "didnt" => &["did", "not"],
        "isnt" => &["is", "not"],
        "arent" => &["are", "not"],
        "wasnt" => &["was", "not"],
        "shouldnt" => &["should", "not"],
        "im" => &["i", "am"],
        _ => &[],
    };
    if !known.is_empty() {
        return known.iter().map(|word| Cow::Borrowed(*word)).collect();
    }
    if let Some(verb) = word.strip_suffix("n't") {
        return vec![verb.into(), "not".into()];
    }
    match word.split_once('\'') {
        Some((asker @ ("what" | "who" | "how" | "where" | "that" | "it" | "there"), "s")) => {
            vec![asker.into(), "is".into()]
        }
        Some((owner, "s")) => vec![owner.into()],
        Some((subject, "re")) => vec![subject.into(), "are".into()],
        Some((subject, "ll")) => vec![subject.into(), "will".into()],
        Some((subject, "d")) => vec![subject.into(), "would".into()],
        Some((subject, "ve")) => vec![subject.into(), "have".into()],
        Some((subject, "m")) => vec![subject.into(), "am".into()],
        Some(_) => vec![word.replace('\'', "").into()],
        None => vec![word.into()],
    }
}

/// Scripts without spaces are compared by pairs of characters, everything else by the word.
fn unspaced_terms(word: &str) -> Vec<Cow<'_, str>> {
    let characters: Vec<char> = word.chars().collect();
    if characters.len() <= 2 || !characters.iter().all(|c| is_unspaced_script(*c)) {
        return vec![word.into()];
    }
    characters.windows(2).map(|pair| pair.iter().collect::<String>().into()).collect()
}

fn is_unspaced_script(c: char) -> bool {
    matches!(c, '\u{0E00}'..='\u{0EFF}' | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokenize(text).into_iter().map(|token| token.word).collect()
    }

    #[test]
    fn words_numbers_and_contractions() {
        let cases: &[(&str, &[&str])] = &[
            ("Run 1.2, then 2.x.", &["run", "1.2", "then", "2.x"]),
            ("2.1..2.3", &["2.1", "2.3"]),
            ("what's the parser's state", &["what", "is", "the", "parser", "state"]),
            ("don’t can't cannot", &["do", "not", "can", "not", "can", "not"]),
            (
                "TaskParser NATSBus OAuth iPhone",
                &["task", "parser", "nats", "bus", "oauth", "iphone"],
            ),
            ("Café CAFE\u{301} ﬁx", &["cafe", "cafe", "fix"]),
            ("解析器", &["解析", "析器"]),
            ("🚀 -- …", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), *expected, "{text}");
        }
    }

    #[test]
    fn what_separates_words_is_kept() {
        let cases = [
            ("a-b", Gap::Glue),
            ("a_b", Gap::Glue),
            ("a/b", Gap::Slash),
            ("a - b", Gap::Dash),
            ("a–b", Gap::Dash),
            ("a .. b", Gap::Dash),
            ("a, b", Gap::Comma),
            ("a & b", Gap::Join),
            ("a. b", Gap::Sentence),
            ("a . . b", Gap::Sentence),
            ("a\nb", Gap::Sentence),
            ("a (b)", Gap::Space),
        ];
        for (text, expected) in cases {
            assert_eq!(tokenize(text)[1].gap, expected, "{text}");
        }
    }

    #[test]
    fn quotes_mark_names_inside_a_text_only() {
        let quoted = |text: &str| tokenize(text).iter().any(|token| token.quoted);
        assert!(quoted("add a \"stop\" button"));
        assert!(!quoted("\"stop\""));
        assert!(!quoted(" “stop everything” "));
        assert!(!quoted("one \" alone"));
    }
}
