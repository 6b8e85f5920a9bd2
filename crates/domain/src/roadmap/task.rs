//! Lines with a check mark, and how they nest.

use super::status::{self, Status};

/// Bytes between the brackets of a mark; more is text.
const MARK_BYTES_MAX: usize = 40;

/// Columns that a task is indented by when it belongs to the one above.
const NESTING_COLUMNS: usize = 2;

/// What a check mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Not done; perhaps begun: `[~]` and `[/]`.
    Open,
    Done,
    /// `[-]`: to some it was begun, to others it was given up.
    Ambiguous,
    Unreadable,
}

/// A line's check mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read<'t> {
    pub(super) mark: Mark,
    /// What stands between the brackets.
    pub(super) inside: &'t str,
    /// What stands behind them.
    pub(super) text: &'t str,
}

/// Reads `[x] text`. Links (`[text](target)`), labels (`[API] text`) and references (`[1] text`)
/// are no tasks.
pub(super) fn read(text: &str) -> Option<Read<'_>> {
    let rest = text.strip_prefix('[')?;
    let close = rest.bytes().take(MARK_BYTES_MAX).position(|byte| byte == b']')?;
    let (inside, behind) = (&rest[..close], &rest[close + 1..]);
    let separate = behind.is_empty() || behind.starts_with([' ', '\t', '\u{A0}']);
    let mark = match known(inside.trim()) {
        Some(mark) if separate || behind.starts_with(char::is_alphanumeric) => mark,
        None if separate && is_odd_mark(inside.trim()) => Mark::Unreadable,
        Some(_) | None => return None,
    };
    Some(Read { mark, inside, text: behind.trim() })
}

fn known(mark: &str) -> Option<Mark> {
    match mark {
        "" | "~" | "/" => return Some(Mark::Open),
        "-" | "–" | "—" => return Some(Mark::Ambiguous),
        "x" | "X" | "√" => return Some(Mark::Done),
        _ => {}
    }
    let (_, status) = status::sign_at(mark).filter(|(length, _)| *length == mark.len())?;
    Some(if status == Status::Complete { Mark::Done } else { Mark::Open })
}

/// One character that is no number, or two that are no letters: `?`, `>`, `!`, `??`.
fn is_odd_mark(mark: &str) -> bool {
    let visible = || mark.chars().filter(|c| *c != '\u{FE0F}');
    match visible().count() {
        1 => !visible().any(char::is_numeric),
        2 => !visible().any(char::is_alphanumeric),
        _ => false,
    }
}

/// The depth of a task at `columns`, by the indentations of those above it.
pub(super) fn nest(indents: &mut Vec<usize>, columns: usize) -> u32 {
    leave(indents, columns);
    let depth = u32::try_from(indents.len()).unwrap_or(u32::MAX);
    indents.push(columns);
    depth
}

/// Forgets the tasks that a bullet at `columns` does not belong to.
pub(super) fn leave(indents: &mut Vec<usize>, columns: usize) {
    while indents.last().is_some_and(|above| columns < above + NESTING_COLUMNS) {
        indents.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_and_other_brackets_are_not() {
        let cases = [
            ("[ ] a", Some((Mark::Open, "a"))),
            ("[] a", Some((Mark::Open, "a"))),
            ("[x] a", Some((Mark::Done, "a"))),
            ("[X]\ta", Some((Mark::Done, "a"))),
            ("[ x ] a", Some((Mark::Done, "a"))),
            ("[x]a", Some((Mark::Done, "a"))),
            ("[✅] a", Some((Mark::Done, "a"))),
            ("[✔️] a", Some((Mark::Done, "a"))),
            ("[:white_check_mark:] a", Some((Mark::Done, "a"))),
            ("[🔄] a", Some((Mark::Open, "a"))),
            ("[x]", Some((Mark::Done, ""))),
            ("[~] a", Some((Mark::Open, "a"))),
            ("[/] a", Some((Mark::Open, "a"))),
            ("[-] a", Some((Mark::Ambiguous, "a"))),
            ("[ – ] a", Some((Mark::Ambiguous, "a"))),
            ("[~](target)", None),
            ("[>] a", Some((Mark::Unreadable, "a"))),
            ("[?] a", Some((Mark::Unreadable, "a"))),
            ("[x](target)", None),
            ("[](target)", None),
            ("[a link](target) a", None),
            ("[API] a", None),
            ("[1] a", None),
            ("[ a", None),
            ("a", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).map(|read| (read.mark, read.text)), expected, "{text}");
        }
    }

    #[test]
    fn two_columns_more_are_one_level_deeper() {
        let mut indents = Vec::new();
        let depths: Vec<u32> =
            [2, 4, 5, 8, 4, 3, 0].into_iter().map(|columns| nest(&mut indents, columns)).collect();
        assert_eq!(depths, [0, 1, 1, 2, 1, 0, 0]);
    }
}
