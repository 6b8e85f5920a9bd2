//! `cargo xtask layering`: the architecture, checked.
//!
//! Two kinds of rules: which crate may depend on which (from `cargo metadata`, [`edges`]) and what
//! every source file keeps to (from the text alone, [`sources`]). It reports everything it finds,
//! with the rule, and needs nothing to compile. What the compiler or clippy can check is not here.

mod edges;
mod sources;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// One place where the workspace breaks one rule.
#[derive(Debug, PartialEq, Eq)]
enum Violation {
    /// A member for which no rule was written.
    UnknownMember { package: String },
    /// A member depends on another member that its layer must not know.
    Edge { from: String, to: String, allowed: &'static [&'static str] },
    /// A member depends on a library that belongs elsewhere.
    Library { from: String, library: &'static str, reason: &'static str },
    /// A source file longer than a reader can keep in mind.
    LongFile { path: PathBuf, lines: usize },
    /// A source file that does not open by saying what it is for.
    NoModuleDoc { path: PathBuf },
    /// The git program is started outside the crate that keeps its safety rules.
    GitProgram { path: PathBuf, line: usize },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMember { package } => {
                write!(f, "{package}: no layer; give it a row in xtask/src/layering/edges.rs")
            }
            Self::Edge { from, to, allowed: [] } => {
                write!(f, "{from} depends on {to}; it may depend on no other member")
            }
            Self::Edge { from, to, allowed } => {
                write!(f, "{from} depends on {to}; it may depend on {} only", allowed.join(", "))
            }
            Self::Library { from, library, reason } => {
                write!(f, "{from} depends on {library}; {reason}")
            }
            Self::LongFile { path, lines } => write!(
                f,
                "{}: {lines} lines, at most {} are allowed; split it by topic",
                path.display(),
                sources::LINES_MAX
            ),
            Self::NoModuleDoc { path } => write!(
                f,
                "{}:1: open with `//!`: what the module is for, and what it is not",
                path.display()
            ),
            Self::GitProgram { path, line } => write!(
                f,
                "{}:{line}: starts git; only kapelle-git does, which keeps git's safety rules",
                path.display()
            ),
        }
    }
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let files = sources::read(&workspace.root)?;
    let mut violations = edges::check(&workspace.packages);
    violations.extend(files.iter().flat_map(sources::check));
    if !violations.is_empty() {
        let lines: Vec<_> = violations.iter().map(Violation::to_string).collect();
        bail!("the layering is broken in {} places:\n  {}", lines.len(), lines.join("\n  "));
    }
    println!("{} crates and {} source files keep the rules", workspace.packages.len(), files.len());
    Ok(())
}
