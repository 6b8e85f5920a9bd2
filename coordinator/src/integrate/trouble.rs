//! Why a result is not integrated now, and whose business that is: the agent's, a person's, or
//! nobody's, because it passes.

use kapelle_bus::blob::BlobError;
use kapelle_domain::attempt::{Check, Verdict};
use kapelle_domain::prompt::tail;
use kapelle_git::Error as GitError;
use kapelle_runtime::telemetry::Chain;

use crate::dispatch::Stopped;

/// How much of a failed check an agent is told.
const DETAIL_BYTES_MAX: usize = 2_000;

/// What programs print when there is no room left for what they write.
const NO_ROOM: [&str; 2] = ["no space left on device", "disk quota exceeded"];

/// Why a result is not integrated now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Its work doesn't fit; the agent has to mend it.
    #[error("{0}")]
    Work(String),
    /// The result is gone; it has to be made again.
    #[error("{0}")]
    Lost(String),
    /// Nothing is wrong with the work.
    #[error("{reason}")]
    Hindered {
        /// What keeps it from being integrated.
        reason: String,
        /// Whether a person has to do something about it.
        for_person: bool,
        /// Whether a move that was announced may have begun.
        begun: bool,
    },
    /// The task isn't waiting any more.
    #[error("it is no longer waiting")]
    Gone,
    /// The coordinator ends.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Trouble {
    /// Something that passes.
    pub(super) fn hindered(reason: impl Into<String>) -> Self {
        Self::Hindered { reason: reason.into(), for_person: false, begun: false }
    }

    /// The same, of a move that was announced.
    pub(super) fn of_move(error: GitError) -> Self {
        // Nothing has changed after these, which is what git's own crate promises.
        let untouched = matches!(error, GitError::Locked { .. } | GitError::WouldOverwrite { .. });
        match Self::from(error) {
            Self::Hindered { reason, for_person, .. } => {
                Self::Hindered { reason, for_person, begun: !untouched }
            }
            other => other,
        }
    }
}

impl From<GitError> for Trouble {
    fn from(error: GitError) -> Self {
        let reason = Chain(&error).to_string();
        let for_person = match &error {
            GitError::Conflict { .. } => {
                return Self::Work(format!(
                    "{reason}; what was integrated meanwhile changed the same places"
                ));
            }
            GitError::InvalidBundle { .. } | GitError::TooLarge { .. } => {
                return Self::Work(reason);
            }
            GitError::WouldOverwrite { .. } => {
                let reason = format!("{reason}; move them away");
                return Self::Hindered { reason, for_person: true, begun: false };
            }
            GitError::GitMissing
            | GitError::GitTooOld { .. }
            | GitError::NotARepository { .. }
            | GitError::BareRepository { .. }
            | GitError::ForeignOwner { .. }
            | GitError::NameBlocked { .. }
            | GitError::InvalidName { .. }
            | GitError::PermissionDenied { .. } => true,
            _ => false,
        };
        Self::Hindered { reason, for_person, begun: false }
    }
}

impl From<BlobError> for Trouble {
    fn from(error: BlobError) -> Self {
        let reason = Chain(&error).to_string();
        match error {
            BlobError::Missing { .. } => Self::Lost(reason),
            _ => Self::hindered(reason),
        }
    }
}

/// What the checks of a merged tree say.
pub(super) fn of_checks(checks: &[Check]) -> Result<(), Trouble> {
    let failed = checks.iter().filter(|check| check.verdict != Verdict::Pass);
    let (full, failed): (Vec<&Check>, Vec<&Check>) =
        failed.partition(|check| NO_ROOM.iter().any(|words| has(&check.detail, words)));
    if let Some(check) = full.first() {
        let reason = format!("the disk is full: the check `{}` could not write", check.name);
        return Err(Trouble::hindered(reason));
    }
    if failed.is_empty() {
        return Ok(());
    }
    let failed: Vec<String> = failed
        .iter()
        .map(|check| format!("`{}`:\n{}", check.name, tail(&check.detail, DETAIL_BYTES_MAX)))
        .collect();
    Err(Trouble::Work(format!("after merging with the target, checks fail: {}", failed.join("\n"))))
}

/// Whether `text` has these words, however they are written.
fn has(text: &str, words: &str) -> bool {
    text.to_ascii_lowercase().contains(words)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_work_goes_back_to_an_agent() {
        let path = || PathBuf::from("x");
        let name = || kapelle_git::RefName::branch("main").expect("a name");
        let of = |error: GitError| match Trouble::from(error) {
            Trouble::Work(_) => "work",
            Trouble::Hindered { for_person: true, .. } => "person",
            Trouble::Hindered { for_person: false, .. } => "again",
            other => panic!("{other:?}"),
        };
        let killed = GitError::Git { action: "merging", code: None, stderr: String::new() };
        let eio = std::io::Error::from_raw_os_error(5);
        for (error, expected) in [
            (GitError::Conflict { paths: vec![path()] }, "work"),
            (GitError::InvalidBundle { path: path(), reason: String::new() }, "work"),
            (GitError::Locked { path: path() }, "again"),
            (GitError::DiskFull { action: "merging" }, "again"),
            (GitError::ReadOnly { action: "merging" }, "again"),
            (killed, "again"),
            (GitError::Io { action: "reading", path: path(), source: eio }, "again"),
            (GitError::RefMoved { name: name(), expected: None, actual: None }, "again"),
            (GitError::WouldOverwrite { paths: vec![path()] }, "person"),
            (GitError::PermissionDenied { action: "x", detail: String::new() }, "person"),
        ] {
            let text = error.to_string();
            assert_eq!(of(error), expected, "{text}");
        }
    }

    #[test]
    fn a_full_disk_is_not_the_fault_of_what_is_checked() {
        let check = |verdict, detail: &str| Check {
            name: "test".to_owned(),
            verdict,
            detail: detail.to_owned(),
            took: Duration::ZERO,
        };
        let full = "exit code 101\nerror: No space left on device (os error 28)";
        let hindered =
            of_checks(&[check(Verdict::Fail, "exit code 1"), check(Verdict::Fail, full)]);
        assert!(matches!(hindered, Err(Trouble::Hindered { for_person: false, .. })));
        let work = of_checks(&[check(Verdict::Pass, full), check(Verdict::Fail, "exit code 1")]);
        assert!(matches!(work, Err(Trouble::Work(_))), "{work:?}");
        assert!(of_checks(&[check(Verdict::Pass, full)]).is_ok());
    }
}
