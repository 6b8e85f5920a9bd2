//! Which file names git, on some file system, would take for `.git`.

/// Code points that HFS+ leaves out when it compares names.
const IGNORED_BY_HFS: &[char] = &[
    '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{206a}', '\u{206b}', '\u{206c}', '\u{206d}', '\u{206e}', '\u{206f}', '\u{feff}',
];

/// Errs on the side of yes: git refuses a whole tree for one such name.
pub(super) fn is_dot_git(name: &[u8]) -> bool {
    let name: String = String::from_utf8_lossy(name)
        .chars()
        .filter(|c| !IGNORED_BY_HFS.contains(c))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    // NTFS: streams after a colon, backslash as separator, ignored tail, short names.
    name.split('\\').any(|part| {
        let stem = part.split(':').next().unwrap_or(part);
        matches!(stem.trim_end_matches([' ', '.']), ".git" | "git~1")
    })
}

#[cfg(test)]
mod tests {
    use super::is_dot_git;

    #[test]
    fn names_that_mean_dot_git() {
        for name in [".git", ".GIT", ".Git", "git~1", ".git.", ".git ", ".g\u{200c}it", ".git::$X"]
        {
            assert!(is_dot_git(name.as_bytes()), "{name:?}");
        }
        for name in [".gitignore", ".github", "git", "x.git", ".gitx", "git~2x", "\u{fe}"] {
            assert!(!is_dot_git(name.as_bytes()), "{name:?}");
        }
    }
}
