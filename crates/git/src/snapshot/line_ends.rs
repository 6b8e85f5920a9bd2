//! Line ends as git stores them: the rules of gitattributes(5) for content on its way
//! into the repository. Pure; who asks for what is in `clean`.

/// What attributes and configuration ask of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its bytes as they are.
    Raw,
    /// LF at the end of each line.
    Text,
    /// LF, if it looks like text and wasn't stored with CRLF before.
    Auto,
}

/// Reads the attributes `text`, `crlf` and `eol` as `git check-attr` prints them.
/// `otherwise` is what the configuration asks for.
pub(super) fn wanted(text: &[u8], crlf: &[u8], eol: &[u8], otherwise: Wanted) -> Wanted {
    let of = |value: &[u8]| match value {
        b"set" | b"input" => Some(Wanted::Text),
        b"unset" => Some(Wanted::Raw),
        b"auto" => Some(Wanted::Auto),
        _ => None,
    };
    match of(text).or_else(|| of(crlf)) {
        Some(wanted) => wanted,
        // A wish for an end makes it text.
        None if matches!(eol, b"lf" | b"crlf") => Wanted::Text,
        None => otherwise,
    }
}

/// Whether `content` has to change to be what is wanted. `before` gives the content
/// that is stored so far, if any.
pub(super) fn changes<E>(
    wanted: Wanted,
    content: &[u8],
    before: impl FnOnce() -> Result<Option<Vec<u8>>, E>,
) -> Result<bool, E> {
    let has_crlf = |content: &[u8]| content.windows(2).any(|two| two == b"\r\n");
    Ok(match wanted {
        Wanted::Raw => false,
        Wanted::Text => has_crlf(content),
        Wanted::Auto => {
            has_crlf(content)
                && is_text(content)
                && !before()?.is_some_and(|before| has_crlf(&before) && is_text(&before))
        }
    })
}

/// `content` with LF for each CRLF.
pub(super) fn with_lf(content: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(content.len());
    for (at, byte) in content.iter().enumerate() {
        if *byte != b'\r' || content.get(at + 1) != Some(&b'\n') {
            kept.push(*byte);
        }
    }
    kept
}

/// Git's own guess: no NUL, no CR alone, and few other control characters.
fn is_text(content: &[u8]) -> bool {
    // A last byte of 26 is the end of file of old editors.
    let content = content.strip_suffix(&[26]).unwrap_or(content);
    let (mut printable, mut odd) = (0_usize, 0_usize);
    for (at, byte) in content.iter().enumerate() {
        match byte {
            0 => return false,
            b'\r' if content.get(at + 1) != Some(&b'\n') => return false,
            b'\r' | b'\n' => {}
            8 | b'\t' | 12 | 27 => printable += 1,
            1..32 | 127 => odd += 1,
            _ => printable += 1,
        }
    }
    printable >> 7 >= odd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_ask_for_line_ends() {
        let check = |[text, crlf, eol]: [&str; 3], expected: Wanted| {
            for otherwise in [Wanted::Raw, Wanted::Auto] {
                let found = wanted(text.as_bytes(), crlf.as_bytes(), eol.as_bytes(), otherwise);
                assert_eq!(found, expected, "{text} {crlf} {eol}");
            }
        };
        let none = "unspecified";
        check(["set", none, none], Wanted::Text);
        check(["set", "unset", "crlf"], Wanted::Text);
        check(["unset", "set", "lf"], Wanted::Raw);
        check(["auto", none, "crlf"], Wanted::Auto);
        check([none, "input", none], Wanted::Text);
        check([none, none, "crlf"], Wanted::Text);
        let none = none.as_bytes();
        for otherwise in [Wanted::Raw, Wanted::Auto] {
            assert_eq!(wanted(none, none, none, otherwise), otherwise);
        }
    }

    #[test]
    fn only_line_ends_change() {
        let check = |wanted: Wanted, content: &[u8], before: Option<&[u8]>, expected: bool| {
            let before = || Ok::<_, ()>(before.map(<[u8]>::to_vec));
            assert_eq!(changes(wanted, content, before), Ok(expected), "{wanted:?} {content:?}");
        };
        check(Wanted::Raw, b"a\r\n", None, false);
        check(Wanted::Text, b"a\r\n\0", None, true);
        check(Wanted::Text, b"a\rb\n", None, false);
        check(Wanted::Auto, b"a\r\n", None, true);
        check(Wanted::Auto, b"a\r\n", Some(b"a\n"), true);
        check(Wanted::Auto, b"a\r\nb\r\n", Some(b"a\r\n"), false);
        check(Wanted::Auto, b"a\r\n\0", None, false);
        check(Wanted::Auto, b"a\rb\r\n", None, false);
        check(Wanted::Auto, b"a\x01\r\n", None, false);
        check(Wanted::Auto, b"a\r\n\x1a", None, true);
        assert_eq!(with_lf(b"\r\r\na\r\n\n\r"), b"\r\na\n\n\r");
    }
}
