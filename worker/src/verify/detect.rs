//! Which checks a tree itself suggests.
//!
//! One look at the files in its root, no guess beyond that: a check that was not meant blocks
//! good work. Whoever wants others writes them into `kapelle.yaml`.

use std::fs;
use std::path::Path;

use kapelle_runtime::config::{Check, CommandLine, Severity};

/// The largest manifest that is looked into.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// The checks that `tree` suggests, by the files in its root.
#[must_use]
pub fn detect(tree: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    if has(tree, "Cargo.toml") {
        checks.push(check("cargo test", &["cargo", "test", "--quiet"]));
    }
    if tests_python(tree) {
        checks.push(check("pytest", &["python3", "-m", "pytest", "-q"]));
    }
    if let Some(runner) = node_runner(tree) {
        checks.push(check(&format!("{runner} test"), &[runner, "test"]));
    }
    if has(tree, "go.mod") {
        checks.push(check("go test", &["go", "test", "./..."]));
    }
    checks
}

fn check(name: &str, command: &[&str]) -> Check {
    let argv = command.iter().map(|&word| word.to_owned()).collect();
    Check {
        name: name.to_owned(),
        command: CommandLine::Argv(argv),
        timeout: None,
        severity: Severity::Error,
    }
}

fn has(tree: &Path, name: &str) -> bool {
    fs::symlink_metadata(tree.join(name)).is_ok_and(|meta| meta.is_file())
}

/// The text of a manifest, unless it is something else than a small file.
fn manifest(tree: &Path, name: &str) -> Option<String> {
    let path = tree.join(name);
    let meta = fs::symlink_metadata(&path).ok()?;
    (meta.is_file() && meta.len() <= MANIFEST_BYTES_MAX).then(|| fs::read_to_string(path).ok())?
}

/// A Python project with tests: pytest fails where it finds none.
fn tests_python(tree: &Path) -> bool {
    let configured = has(tree, "pytest.ini")
        || manifest(tree, "pyproject.toml").is_some_and(|text| text.contains("[tool.pytest"))
        || manifest(tree, "setup.cfg").is_some_and(|text| text.contains("[tool:pytest]"));
    let project = ["pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "tox.ini"];
    let tests = ["tests", "test"].iter().any(|name| holds_python_tests(&tree.join(name)));
    configured || (tests && project.iter().any(|name| has(tree, name)))
}

fn holds_python_tests(directory: &Path) -> bool {
    let is_directory = fs::symlink_metadata(directory).is_ok_and(|meta| meta.is_dir());
    let Some(entries) = is_directory.then(|| fs::read_dir(directory).ok()).flatten() else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"))
    })
}

/// The package manager of a Node project that has a script `test` of its own.
fn node_runner(tree: &Path) -> Option<&'static str> {
    let manifest: serde_json::Value =
        serde_json::from_str(&manifest(tree, "package.json")?).ok()?;
    let script = manifest.get("scripts")?.get("test")?.as_str()?;
    // What `npm init` writes fails on purpose.
    if script.contains("no test specified") {
        return None;
    }
    let lock_files = [("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lockb", "bun")];
    Some(lock_files.iter().find(|(file, _)| has(tree, file)).map_or("npm", |(_, runner)| runner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tree_suggests() {
        let check = |files: &[(&str, &str)], expected: &[&str]| {
            let tree = tempfile::tempdir().expect("a directory");
            for (name, content) in files {
                let path = tree.path().join(name);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(path, content).expect("a file");
            }
            let found: Vec<String> =
                detect(tree.path()).into_iter().map(|check| check.name).collect();
            assert_eq!(found, expected, "{files:?}");
        };
        check(&[], &[]);
        check(&[("README.md", "")], &[]);
        check(&[("Cargo.toml", "")], &["cargo test"]);
        check(&[("pyproject.toml", "")], &[]);
        check(&[("pyproject.toml", "[tool.pytest.ini_options]")], &["pytest"]);
        check(&[("setup.py", ""), ("tests/test_a.py", "")], &["pytest"]);
        check(&[("tests/test_a.py", "")], &[]);
        check(&[("package.json", "{}")], &[]);
        check(&[("package.json", "not json")], &[]);
        check(&[("package.json", r#"{"scripts":{"test":"vitest"}}"#)], &["npm test"]);
        check(
            &[("package.json", r#"{"scripts":{"test":"x"}}"#), ("yarn.lock", "")],
            &["yarn test"],
        );
        let untouched = r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#;
        check(&[("package.json", untouched)], &[]);
        check(&[("go.mod", ""), ("Cargo.toml", "")], &["cargo test", "go test"]);
    }
}
