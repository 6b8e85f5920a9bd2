//! Which checks a tree itself suggests.
//!
//! One look at the files in its root, no guess beyond that: a check that was not meant blocks
//! good work. Whoever wants others writes them into `kapelle.yaml`.
//!
//! An agent can delete what suggests a check. So the tree that it started from counts as well as
//! what it left: see [`plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use kapelle_git::{CommitId, Repository};
use kapelle_runtime::config::{Check, CommandLine, Severity};

/// The largest manifest that is looked into.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// The manifests that are looked into.
const MANIFESTS: [&str; 3] = ["pyproject.toml", "setup.cfg", "package.json"];

/// Where the tests of a Python project are.
const TEST_DIRECTORIES: [&str; 2] = ["tests", "test"];

/// The checks that `tree` suggests, by the files in its root.
#[must_use]
pub fn detect(tree: &Path) -> Vec<Check> {
    Surface::of_directory(tree).suggestions().into_iter().map(|(_, check)| check).collect()
}

/// What is to be run on a tree that was made from another one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The checks.
    pub(super) commands: Vec<Check>,
    /// Checks that the earlier tree suggests and that can't be run any more, each with what is
    /// missing for it.
    pub(super) vanished: Vec<(Check, &'static str)>,
}

/// The checks of both trees together: what `now` suggests, and what only `before` suggests.
pub(super) fn plan(before: &Surface, now: &Surface) -> Plan {
    let current = now.suggestions();
    let has = |kind: Kind| current.iter().any(|(known, _)| *known == kind);
    let vanished = before.suggestions().into_iter().filter(|(kind, _)| !has(*kind));
    let vanished = vanished.map(|(kind, check)| (check, kind.needs())).collect();
    Plan { commands: current.into_iter().map(|(_, check)| check).collect(), vanished }
}

/// The kind of project that suggests a check. A tree has at most one check of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cargo,
    Python,
    Node,
    Go,
}

impl Kind {
    /// What in a tree suggests it.
    fn needs(self) -> &'static str {
        match self {
            Self::Cargo => "Cargo.toml",
            Self::Python => "the configuration of pytest, or the project's tests",
            Self::Node => "package.json, or its script `test`",
            Self::Go => "go.mod",
        }
    }
}

/// As much of a tree as suggestions need.
#[derive(Debug, Default)]
pub(super) struct Surface {
    /// The names of the regular files in the root.
    files: BTreeSet<String>,
    /// Those of the manifests that are looked into, unless they are too large or no text.
    manifests: BTreeMap<&'static str, String>,
    has_python_tests: bool,
}

impl Surface {
    /// Of files on disk. What can't be read isn't there.
    pub(super) fn of_directory(tree: &Path) -> Self {
        let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
        let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        let names = |directory: &Path| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let files = entries.filter(|entry| is_file(&entry.path()));
            files
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect::<BTreeSet<_>>()
        };
        let files = names(tree);
        let text = |name: &'static str| {
            let path = tree.join(name);
            let small = fs::metadata(&path).is_ok_and(|meta| meta.len() <= MANIFEST_BYTES_MAX);
            let text = (files.contains(name) && small).then(|| fs::read_to_string(path).ok());
            Some((name, text.flatten()?))
        };
        let manifests = MANIFESTS.into_iter().filter_map(text).collect();
        let tests = TEST_DIRECTORIES.iter().map(|name| tree.join(name));
        let has_python_tests = tests
            .filter(|path| is_directory(path))
            .any(|path| names(&path).iter().any(|name| is_python_test(name)));
        Self { files, manifests, has_python_tests }
    }

    /// Of the files of a commit.
    pub(super) async fn of_commit(
        repository: &Repository,
        commit: &CommitId,
    ) -> Result<Self, kapelle_git::Error> {
        let names = async |directory: &Path| {
            let files = repository.files_in(commit, directory).await?;
            let files = files.into_iter().map(|name| name.to_string_lossy().into_owned());
            Ok::<BTreeSet<String>, kapelle_git::Error>(files.collect())
        };
        let mut surface = Self { files: names(Path::new("")).await?, ..Self::default() };
        for name in MANIFESTS.into_iter().filter(|name| surface.files.contains(*name)) {
            let path = Path::new(name);
            let text = match repository.read_file(commit, path, MANIFEST_BYTES_MAX).await {
                Ok(bytes) => bytes.and_then(|bytes| String::from_utf8(bytes).ok()),
                Err(kapelle_git::Error::TooLarge { .. }) => None,
                Err(error) => return Err(error),
            };
            surface.manifests.extend(text.map(|text| (name, text)));
        }
        for directory in TEST_DIRECTORIES {
            surface.has_python_tests |=
                names(Path::new(directory)).await?.iter().any(|name| is_python_test(name));
        }
        Ok(surface)
    }

    fn suggestions(&self) -> Vec<(Kind, Check)> {
        let mut checks = Vec::new();
        if self.has("Cargo.toml") {
            checks.push((Kind::Cargo, check("cargo test", &["cargo", "test", "--quiet"])));
        }
        if self.tests_python() {
            checks.push((Kind::Python, check("pytest", &["python3", "-m", "pytest", "-q"])));
        }
        if let Some(runner) = self.node_runner() {
            checks.push((Kind::Node, check(&format!("{runner} test"), &[runner, "test"])));
        }
        if self.has("go.mod") {
            checks.push((Kind::Go, check("go test", &["go", "test", "./..."])));
        }
        checks
    }

    fn has(&self, name: &str) -> bool {
        self.files.contains(name)
    }

    fn says(&self, manifest: &str, words: &str) -> bool {
        self.manifests.get(manifest).is_some_and(|text| text.contains(words))
    }

    /// A Python project with tests: pytest fails where it finds none.
    fn tests_python(&self) -> bool {
        let configured = self.has("pytest.ini")
            || self.says("pyproject.toml", "[tool.pytest")
            || self.says("setup.cfg", "[tool:pytest]");
        let project = ["pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "tox.ini"];
        configured || (self.has_python_tests && project.iter().any(|name| self.has(name)))
    }

    /// The package manager of a Node project that has a script `test` of its own.
    fn node_runner(&self) -> Option<&'static str> {
        let manifest: serde_json::Value =
            serde_json::from_str(self.manifests.get("package.json")?).ok()?;
        let script = manifest.get("scripts")?.get("test")?.as_str()?;
        // What `npm init` writes fails on purpose.
        if script.contains("no test specified") {
            return None;
        }
        let lock_files = [("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lockb", "bun")];
        let mut lock_files = lock_files.iter();
        Some(lock_files.find(|(file, _)| self.has(file)).map_or("npm", |(_, runner)| runner))
    }
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

fn is_python_test(name: &str) -> bool {
    name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(checks: impl IntoIterator<Item = Check>) -> Vec<String> {
        checks.into_iter().map(|check| check.name).collect()
    }

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("a directory");
        for (name, content) in files {
            let path = tree.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, content).expect("a file");
        }
        tree
    }

    #[test]
    fn what_a_tree_suggests() {
        let check = |files: &[(&str, &str)], expected: &[&str]| {
            let tree = tree(files);
            assert_eq!(names(detect(tree.path())), expected, "{files:?}");
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

    #[tokio::test]
    async fn a_commit_suggests_what_its_files_do() {
        let files = [
            ("setup.py", ""),
            ("tests/test_a.py", ""),
            ("package.json", r#"{"scripts":{"test":"x"}}"#),
            ("pnpm-lock.yaml", ""),
            ("sub/go.mod", ""),
        ];
        let tree = tree(&files);
        let identity = kapelle_git::Identity::fallback();
        let repository = Repository::create(tree.path(), "main", &identity).await.expect("made");
        let commit = repository.commit_all("start").await.expect("a commit");
        let surface = Surface::of_commit(&repository, &commit).await.expect("its files");
        let found = names(surface.suggestions().into_iter().map(|(_, check)| check));
        assert_eq!(found, ["pytest", "pnpm test"]);
        assert_eq!(found, names(detect(tree.path())));
    }

    #[test]
    fn what_was_there_before_counts_too() {
        let check = |before: &[(&str, &str)], now: &[(&str, &str)], run: &[&str], gone: &[&str]| {
            let [before, now] = [before, now].map(tree);
            let (before, now) =
                (Surface::of_directory(before.path()), Surface::of_directory(now.path()));
            let Plan { commands, vanished } = plan(&before, &now);
            let vanished = names(vanished.into_iter().map(|(check, _)| check));
            assert_eq!((names(commands), vanished), (owned(run), owned(gone)));
        };
        let node = ("package.json", r#"{"scripts":{"test":"vitest"}}"#);
        check(&[node], &[node], &["npm test"], &[]);
        check(&[node], &[], &[], &["npm test"]);
        check(&[node], &[("package.json", "{}")], &[], &["npm test"]);
        check(&[], &[node], &["npm test"], &[]);
        // It is still the same check.
        check(&[node], &[node, ("yarn.lock", "")], &["yarn test"], &[]);
        let python = [("setup.py", ""), ("tests/test_a.py", "")];
        check(&python, &python[..1], &[], &["pytest"]);
        check(&[node, ("go.mod", "")], &[node], &["npm test"], &["go test"]);
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }
}
