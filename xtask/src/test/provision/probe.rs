//! Looking whether a part works. An answer is the reason why it does not, for a person to read.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// A program that needs the C library's headers.
const C_PROGRAM: &[u8] = b"#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n";

/// Whether a command exists and ends well.
pub(super) fn runs(words: &[&str]) -> Result<(), String> {
    output(words).map(drop)
}

/// Whether the first version number in a command's answer is `least` or newer.
pub(super) fn at_least(words: &[&str], least: (u32, u32)) -> Result<(), String> {
    let answer = output(words)?;
    let answer = answer.trim();
    let (major, minor) = least;
    match version(answer) {
        Some(found) if found >= least => Ok(()),
        Some(_) => Err(format!("{answer:?} is older than {major}.{minor}")),
        None => Err(format!("`{}` names no version: {answer:?}", words.join(" "))),
    }
}

/// Whether a command's answer has `word` in it: the exact version of something that is pinned.
pub(super) fn says(words: &[&str], word: &str) -> Result<(), String> {
    let answer = output(words)?;
    let said = answer.split_whitespace().any(|said| said.trim_start_matches('v') == word);
    if said { Ok(()) } else { Err(format!("{:?} is not {word}", answer.trim())) }
}

/// Whether `cc` compiles and links a program; a compiler without headers is of no use.
pub(super) fn compiles_c() -> Result<(), String> {
    let start = Command::new("cc")
        .args(["-x", "c", "-o", "/dev/null", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut compiler = start.map_err(|error| format!("cannot start `cc`: {error}"))?;
    if let Some(mut source) = compiler.stdin.take() {
        source.write_all(C_PROGRAM).map_err(|error| format!("cannot write to `cc`: {error}"))?;
    }
    let output =
        compiler.wait_with_output().map_err(|error| format!("cannot wait for `cc`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`cc` cannot build a program: {}", said.lines().next().unwrap_or("it is silent")))
}

/// Whether this process may install packages without help.
pub(super) fn is_root() -> bool {
    output(&["id", "-u"]).is_ok_and(|answer| answer.trim() == "0")
}

fn output(words: &[&str]) -> Result<String, String> {
    let shown = words.join(" ");
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first `<number>.<number>` in `text`.
fn version(text: &str) -> Option<(u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches('v').split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::{at_least, runs, says, version};

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, found) in [
            ("git version 2.39.5", Some((2, 39))),
            ("git version 2.39.5 (Apple Git-154)", Some((2, 39))),
            ("git version 2.48.rc1", Some((2, 48))),
            ("nats-server: v2.10.24", Some((2, 10))),
            ("psql (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", Some((15, 14))),
            ("no number here", None),
            ("", None),
        ] {
            assert_eq!(version(text), found, "{text:?}");
        }
    }

    #[test]
    fn an_old_version_is_told_from_a_new_one() {
        let check = |said: &str| at_least(&["echo", said], (2, 38));
        assert_eq!(check("tool 2.38.0"), Ok(()));
        assert_eq!(check("tool 3.0"), Ok(()));
        assert_eq!(check("tool 2.9.1"), Err("\"tool 2.9.1\" is older than 2.38".to_owned()));
        assert_eq!(check("tool"), Err("`echo tool` names no version: \"tool\"".to_owned()));
    }

    #[test]
    fn a_pinned_version_is_no_other() {
        assert_eq!(says(&["echo", "nats-server: v2.15.1"], "2.15.1"), Ok(()));
        let other = says(&["echo", "nats-server: v2.15.10"], "2.15.1");
        assert_eq!(other, Err("\"nats-server: v2.15.10\" is not 2.15.1".to_owned()));
    }

    #[test]
    fn a_missing_or_failing_program_is_named() {
        let missing = runs(&["kapelle-no-such-program", "--version"]).unwrap_err();
        assert!(
            missing.starts_with("cannot start `kapelle-no-such-program --version`"),
            "{missing}"
        );
        let failing = runs(&["false"]).unwrap_err();
        assert!(failing.starts_with("`false` ended with"), "{failing}");
    }
}
