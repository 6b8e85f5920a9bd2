//! Rules on the text of source files, for what neither the compiler nor clippy checks. They read
//! lines, not syntax: simple enough to be predictable, and good enough for a house rule.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Violation;

/// The longest source file.
pub(super) const LINES_MAX: usize = 700;

/// Directories without source of ours: build output, and inputs of tests.
const SKIPPED: &[&str] = &["target", "fixtures"];

/// Where the git program may be started beside tests: in its own crate, in the package that is not
/// part of the product, and by the scripted agent, which stands for programs that are not ours.
const MAY_START_GIT: &[&str] = &["crates/git", "xtask", "worker/src/scripted"];

/// One Rust file, its path relative to the workspace.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

/// Reads every Rust file of the workspace, in the order of their paths.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let reading = || format!("cannot read {}", directory.display());
        for entry in std::fs::read_dir(&directory).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().with_context(reading)?.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&&*name) {
                    directories.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                sources.push(Source { path: path.strip_prefix(root)?.to_owned(), text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// Everything that is wrong with `source`.
pub(super) fn check(source: &Source) -> Vec<Violation> {
    let path = || source.path.clone();
    let mut violations = Vec::new();
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        violations.push(Violation::LongFile { path: path(), lines });
    }
    // What the tests of a module are for stands at the module.
    let is_tests = source.path.file_name().is_some_and(|name| name == "tests.rs");
    if !is_tests && !source.text.starts_with("//!") {
        violations.push(Violation::NoModuleDoc { path: path() });
    }
    if !may_start_git(&source.path) {
        let lines = product_lines(&source.text).filter(|(_, line)| starts_git(line));
        violations.extend(lines.map(|(line, _)| Violation::GitProgram { path: path(), line }));
    }
    violations
}

fn may_start_git(path: &Path) -> bool {
    let in_tests = path.components().any(|part| part.as_os_str() == "tests");
    in_tests
        || path.file_name().is_some_and(|name| name == "tests.rs")
        || MAY_START_GIT.iter().any(|directory| path.starts_with(directory))
}

/// The lines before the file's tests, which stand at its end, numbered from one.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.take_while(|(_, line)| *line != "#[cfg(test)]")
}

fn starts_git(line: &str) -> bool {
    line.contains("Command::new(\"git\")") && !line.trim_start().starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, Source, check};

    fn violations(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.into(), text: text.to_owned() };
        check(&source).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_long_file_is_reported_from_the_first_line_too_many() {
        let longest = "//! Doc.\n".repeat(LINES_MAX);
        assert_eq!(violations("a.rs", &longest), [""; 0]);
        let found = violations("a.rs", &format!("{longest}\n"));
        assert_eq!(found, ["a.rs: 701 lines, at most 700 are allowed; split it by topic"]);
    }

    #[test]
    fn a_module_opens_with_its_purpose() {
        assert_eq!(violations("a.rs", "//! Doc.\n\nuse x::y;\n"), [""; 0]);
        for text in ["", "use x::y;\n", "#![forbid(unsafe_code)]\n//! Doc.\n", "// Doc.\n"] {
            let found = violations("a.rs", text);
            assert_eq!(found.len(), 1, "{text:?}: {found:?}");
            assert!(found[0].starts_with("a.rs:1: open with `//!`"), "{found:?}");
        }
    }

    #[test]
    fn git_is_started_in_its_own_crate_and_in_tests_only() {
        let product = "//! Doc.\nfn f() {\n    Command::new(\"git\");\n}\n";
        let found = violations("worker/src/a.rs", product);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("worker/src/a.rs:3: starts git"), "{found:?}");

        for path in ["crates/git/src/a.rs", "tests/harness/a.rs", "worker/src/a/tests.rs"] {
            assert_eq!(violations(path, product), [""; 0], "{path}");
        }
        let tests = "//! Doc.\n#[cfg(test)]\nmod tests {\n    Command::new(\"git\");\n}\n";
        assert_eq!(violations("worker/src/a.rs", tests), [""; 0]);
        let comment = "//! Doc.\n// Command::new(\"git\")\n";
        assert_eq!(violations("worker/src/a.rs", comment), [""; 0]);
    }
}
