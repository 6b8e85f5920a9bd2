//! What can go wrong with a repository, one variant per thing a caller treats
//! differently.
//!
//! Git reports most troubles as English text on its standard error; the only
//! place that reads that text is [`Error::from_stderr`].

use std::io;
use std::path::{Path, PathBuf};

use crate::{CommitId, RefName};

/// Why an operation on a repository failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The git program is not installed.
    #[error("git was not found in PATH; install it (on Debian and Ubuntu: apt-get install git)")]
    GitMissing,
    /// The git program lacks commands that Kapelle uses.
    #[error("git {found} is too old; Kapelle needs {needed} or newer")]
    GitTooOld {
        /// What `git version` said.
        found: String,
        /// The oldest version that works.
        needed: &'static str,
    },
    /// No repository holds the path.
    #[error("{} is not in a git repository; run `git init` there first", path.display())]
    NotARepository {
        /// Where we looked.
        path: PathBuf,
    },
    /// The repository has no working copy.
    #[error("{} is a bare repository; use a clone that has a working copy", path.display())]
    BareRepository {
        /// Where we looked.
        path: PathBuf,
    },
    /// Git refuses a repository that belongs to another user.
    #[error("the repository at {} belongs to another user; allow it with `git config --global --add safe.directory {}`", path.display(), path.display())]
    ForeignOwner {
        /// Where we looked.
        path: PathBuf,
    },
    /// The repository has no commit yet.
    #[error(
        "the repository has no commits yet; make a first one, for example `git commit --allow-empty -m start`"
    )]
    NoCommits,
    /// No branch is checked out.
    #[error(
        "no branch is checked out (HEAD is detached at {commit}); check one out, for example `git switch -c work`"
    )]
    DetachedHead {
        /// The commit that is checked out.
        commit: CommitId,
    },
    /// A name or id that must not reach a command line.
    #[error("{value:?} is not a valid {kind}: {rule}")]
    InvalidName {
        /// What it should have been.
        kind: &'static str,
        /// What it was.
        value: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A commit that should be there is not.
    #[error("the repository has no commit {commit}")]
    UnknownCommit {
        /// The id that was asked for.
        commit: String,
    },
    /// Compare-and-swap lost: the reference is not where it was expected.
    #[error("{name} is at {}, not at {}", shown(actual.as_ref()), shown(expected.as_ref()))]
    RefMoved {
        /// The reference.
        name: RefName,
        /// Where it should have been; `None` for "nowhere".
        expected: Option<CommitId>,
        /// Where it is.
        actual: Option<CommitId>,
    },
    /// Git can't have both `a` and `a/b`.
    #[error(
        "the name {name} can't be used while there is {by}; rename that, for example `git branch -m {} {}-old`",
        short(by),
        short(by)
    )]
    NameBlocked {
        /// The reference that can't be made.
        name: String,
        /// The one that is in the way.
        by: String,
    },
    /// Both sides changed the same content.
    #[error("merge conflict in {}", listed(paths))]
    Conflict {
        /// The paths in conflict.
        paths: Vec<PathBuf>,
    },
    /// Something exceeds its limit.
    #[error("{}: {what} {size} is over the limit of {limit}", path.display())]
    TooLarge {
        /// What was measured, with its unit.
        what: &'static str,
        /// Where the limit was passed.
        path: PathBuf,
        /// The measure.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The user has uncommitted work in the working copy.
    #[error("uncommitted changes in {}", listed(paths))]
    Dirty {
        /// Tracked paths with changes.
        paths: Vec<PathBuf>,
    },
    /// Untracked files are where new tracked files would go.
    #[error("untracked files would be overwritten: {}", listed(paths))]
    WouldOverwrite {
        /// The files in the way.
        paths: Vec<PathBuf>,
    },
    /// The user is in the middle of a merge, rebase or the like.
    #[error("a {operation} is in progress in the working copy; finish or abort it")]
    OperationInProgress {
        /// Which operation.
        operation: &'static str,
    },
    /// Another linked working tree has the branch checked out.
    #[error("{branch} is checked out in {}", path.display())]
    CheckedOutElsewhere {
        /// The branch.
        branch: RefName,
        /// The other working tree.
        path: PathBuf,
    },
    /// Another process holds a lock file, or a dead one left it.
    #[error("{} exists: another git process is running, or one died; if none runs, remove the file", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A bundle that is not what it should be.
    #[error("the bundle {} was refused: {reason}", path.display())]
    InvalidBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot without changes has nothing to hand over.
    #[error("the snapshot changes nothing, so there is nothing to bundle")]
    NothingToBundle,
    /// A file changed while it was being read.
    #[error("{} changed while it was being read", path.display())]
    ChangedWhileReading {
        /// The file.
        path: PathBuf,
    },
    /// No space left.
    #[error("the disk is full while {action}")]
    DiskFull {
        /// What we were doing.
        action: &'static str,
    },
    /// The file system is mounted read-only.
    #[error("the file system is read-only while {action}")]
    ReadOnly {
        /// What we were doing.
        action: &'static str,
    },
    /// The operating system denied access.
    #[error("permission denied while {action}: {detail}")]
    PermissionDenied {
        /// What we were doing.
        action: &'static str,
        /// The path, or what git said.
        detail: String,
    },
    /// Git failed in a way that has no variant of its own.
    #[error("git failed while {action} ({}): {stderr}", exit(*code))]
    Git {
        /// What we were doing.
        action: &'static str,
        /// The exit code; `None` when a signal ended it.
        code: Option<i32>,
        /// The tail of its standard error.
        stderr: String,
    },
    /// Git printed something that it does not document.
    #[error("git answered unexpectedly while {action}: {output:?}")]
    UnexpectedOutput {
        /// What we were doing.
        action: &'static str,
        /// The head of what it printed.
        output: String,
    },
    /// The operating system failed an operation on a file.
    #[error("{action} {}", path.display())]
    Io {
        /// What we were doing.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { action },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { action },
            io::ErrorKind::PermissionDenied => {
                Self::PermissionDenied { action, detail: path.display().to_string() }
            }
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    pub(crate) fn unexpected_output(action: &'static str, output: &[u8]) -> Self {
        let head = output.get(..200).unwrap_or(output);
        Self::UnexpectedOutput { action, output: String::from_utf8_lossy(head).into_owned() }
    }

    /// Reads a failed command's standard error (in the C locale).
    pub(crate) fn from_stderr(action: &'static str, code: Option<i32>, stderr: String) -> Self {
        let says = |text: &str| stderr.contains(text);
        if says("No space left on device") || says("Disk quota exceeded") {
            return Self::DiskFull { action };
        }
        if says("Read-only file system") {
            return Self::ReadOnly { action };
        }
        if let Some(path) = lock_file(&stderr) {
            return Self::Locked { path };
        }
        if let Some((by, name)) = blocked_name(&stderr) {
            return Self::NameBlocked { name, by };
        }
        if says("Permission denied") || says("insufficient permission") {
            return Self::PermissionDenied { action, detail: stderr };
        }
        Self::Git { action, code, stderr }
    }
}

/// The path in `Unable to create '<path>.lock': File exists.`
fn lock_file(stderr: &str) -> Option<PathBuf> {
    let (before, _) = stderr.split_once("': File exists")?;
    let (_, path) = before.rsplit_once('\'')?;
    path.ends_with(".lock").then(|| PathBuf::from(path))
}

/// The names in `'refs/heads/a' exists; cannot create 'refs/heads/a/b'`.
fn blocked_name(stderr: &str) -> Option<(String, String)> {
    let (before, after) = stderr.split_once("' exists; cannot create '")?;
    let (_, by) = before.rsplit_once('\'')?;
    let (name, _) = after.split_once('\'')?;
    Some((by.to_owned(), name.to_owned()))
}

fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

fn shown(commit: Option<&CommitId>) -> &str {
    commit.map_or("no commit", CommitId::as_str)
}

fn exit(code: Option<i32>) -> String {
    code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}"))
}

fn listed(paths: &[PathBuf]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<_> =
        paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    if paths.len() > SHOWN {
        text.push(format!("and {} more", paths.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Error, PathBuf};

    #[test]
    fn stderr_becomes_a_variant() {
        let read = |stderr: &str| Error::from_stderr("testing", Some(128), stderr.to_owned());
        assert!(matches!(
            read("fatal: write error: No space left on device"),
            Error::DiskFull { .. }
        ));
        assert!(matches!(read("error: unable: Read-only file system"), Error::ReadOnly { .. }));
        assert!(matches!(
            read("error: insufficient permission for adding an object"),
            Error::PermissionDenied { .. }
        ));
        let blocked = "fatal: update_ref failed for ref 'refs/heads/k/r': cannot lock ref \
                       'refs/heads/k/r': 'refs/heads/k' exists; cannot create 'refs/heads/k/r'";
        let told = read(blocked).to_string();
        assert!(told.contains("there is refs/heads/k; rename that"), "{told}");
        assert!(told.contains("git branch -m k k-old"), "{told}");
        assert!(matches!(read("fatal: bad object"), Error::Git { code: Some(128), .. }));
        match read("fatal: Unable to create '/r/.git/index.lock': File exists.\n\nAnother git") {
            Error::Locked { path } => assert_eq!(path, PathBuf::from("/r/.git/index.lock")),
            other => panic!("{other:?}"),
        }
    }
}
