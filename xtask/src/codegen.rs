//! `cargo xtask codegen`: files in the repository that the `kapelle` program can print itself.
//!
//! They are committed so that editors and API clients can use them without a build, and so that a
//! change of a format shows up in review. `--check` compares instead of writing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::subprocess;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail when a file is not what the program prints
    #[arg(long)]
    check: bool,
}

/// A file of the repository and the arguments with which `kapelle` prints it.
struct Generated {
    path: &'static str,
    arguments: &'static [&'static str],
}

const GENERATED: &[Generated] = &[
    Generated { path: "docs/kapelle.schema.json", arguments: &["schema", "config"] },
    Generated { path: "docs/openapi.json", arguments: &["schema", "openapi"] },
    Generated { path: "docs/asyncapi.json", arguments: &["schema", "asyncapi"] },
];

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    subprocess::run(subprocess::cargo(&workspace.root).args([
        "build",
        "--quiet",
        "--package",
        "kapelle-cli",
    ]))?;
    let program = workspace.kapelle("debug");
    if args.check { check(workspace, &program) } else { write(workspace, &program) }
}

/// Fails, naming every file that differs from what `program` prints.
pub(crate) fn check(workspace: &Workspace, program: &Path) -> Result<()> {
    let mut stale = Vec::new();
    for generated in GENERATED {
        let expected = printed(program, generated)?;
        let path = workspace.root.join(generated.path);
        let actual = match std::fs::read(&path) {
            Ok(actual) => Some(actual),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", generated.path));
            }
        };
        if let Some(difference) = difference(&expected, actual.as_deref()) {
            stale.push(format!("{}: {difference}", generated.path));
        }
    }
    if !stale.is_empty() {
        bail!(
            "generated files are out of date:\n  {}\nrun `cargo xtask codegen` and commit the result",
            stale.join("\n  ")
        );
    }
    println!("{} generated files are up to date", GENERATED.len());
    Ok(())
}

fn write(workspace: &Workspace, program: &Path) -> Result<()> {
    for generated in GENERATED {
        let content = printed(program, generated)?;
        std::fs::write(workspace.root.join(generated.path), content)
            .with_context(|| format!("cannot write {}", generated.path))?;
        println!("wrote {}", generated.path);
    }
    Ok(())
}

fn printed(program: &Path, generated: &Generated) -> Result<Vec<u8>> {
    subprocess::capture(Command::new(program).args(generated.arguments))
}

/// Says in what way `actual` is not `expected`, by the first line that differs.
fn difference(expected: &[u8], actual: Option<&[u8]>) -> Option<String> {
    let Some(actual) = actual else { return Some("is missing".to_owned()) };
    if expected == actual {
        return None;
    }
    let newline = |byte: &u8| *byte == b'\n';
    let same = expected.split(newline).zip(actual.split(newline)).take_while(|(e, a)| e == a);
    Some(format!("differs from line {} on", same.count() + 1))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_is_located() {
        let check = |expected: &str, actual: Option<&str>, said: Option<&str>| {
            let found = difference(expected.as_bytes(), actual.map(str::as_bytes));
            assert_eq!(found.as_deref(), said, "{expected:?} against {actual:?}");
        };
        check("a\nb\n", Some("a\nb\n"), None);
        check("a\nb\n", None, Some("is missing"));
        check("a\nb\n", Some("a\nc\n"), Some("differs from line 2 on"));
        check("a\nb\n", Some("a\nb"), Some("differs from line 3 on"));
        check("a\nb\n", Some(""), Some("differs from line 1 on"));
    }
}
