//! What differs between two trees, and what commits say: reading only.

use crate::beneath::path_of;
use crate::command::Git;
use crate::names::{ChangeKind, ChangedPath};
use crate::{CommitId, Error, Repository};

const COMPARING: &str = "comparing two trees";

impl Repository {
    /// What changed from `older` to `newer`, with line counts, renames detected.
    ///
    /// # Errors
    /// [`Error::Git`] when one of them is not there.
    pub async fn diff_stat(
        &self,
        older: &CommitId,
        newer: &CommitId,
    ) -> Result<Vec<ChangedPath>, Error> {
        changed_paths(self.isolated(COMPARING)?, older.as_str(), newer.as_str()).await
    }

    /// The commits that `newer` has and `older` has not, newest first, with their
    /// subjects.
    ///
    /// # Errors
    /// [`Error::Git`] when one of them is not there.
    pub async fn log_subjects(
        &self,
        older: &CommitId,
        newer: &CommitId,
    ) -> Result<Vec<(CommitId, String)>, Error> {
        let action = "reading the history";
        let output = self.log(action, "--format=%H %s", newer, Some(older)).await?;
        let mut commits = Vec::new();
        for entry in records(&output) {
            let entry = String::from_utf8_lossy(entry);
            let (id, subject) = entry.split_once(' ').unwrap_or((&entry, ""));
            commits.push((CommitId::new(id)?, subject.to_owned()));
        }
        Ok(commits)
    }

    /// The newest commit in the history of `target`, but not of `since`, with the
    /// trailer `key: value` in its message. It tells a repeated integration that it
    /// has been done already.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when `key` is not letters, digits and dashes.
    pub async fn find_commit_with_trailer(
        &self,
        target: &CommitId,
        key: &str,
        value: &str,
        since: Option<&CommitId>,
    ) -> Result<Option<CommitId>, Error> {
        let commits = self.trailers("looking for a commit by its trailer", key, target, since);
        let found = |(_, values): &(CommitId, Vec<String>)| values.iter().any(|one| one == value);
        Ok(commits.await?.into_iter().find(found).map(|(commit, _)| commit))
    }

    /// What the commits that `newer` has and `older` has not say behind the trailer
    /// `key`, newest first.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when `key` is not letters, digits and dashes.
    pub async fn trailer_values(
        &self,
        key: &str,
        older: &CommitId,
        newer: &CommitId,
    ) -> Result<Vec<String>, Error> {
        let commits = self.trailers("reading trailers", key, newer, Some(older)).await?;
        Ok(commits.into_iter().flat_map(|(_, values)| values).collect())
    }

    /// Commits, newest first, each with the values of a trailer.
    async fn trailers(
        &self,
        action: &'static str,
        key: &str,
        newer: &CommitId,
        older: Option<&CommitId>,
    ) -> Result<Vec<(CommitId, Vec<String>)>, Error> {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let rule = "letters, digits and dashes";
            return Err(Error::InvalidName { kind: "trailer", value: key.to_owned(), rule });
        }
        let format =
            format!("--format=%H%x1f%(trailers:key={key},valueonly,unfold,separator=%x1f)");
        let output = self.log(action, &format, newer, older).await?;
        let commit = |entry: &[u8]| {
            let entry = String::from_utf8_lossy(entry);
            let mut fields = entry.split('\u{1f}').map(str::trim);
            let id = CommitId::new(fields.next().unwrap_or_default())?;
            Ok((id, fields.filter(|value| !value.is_empty()).map(str::to_owned).collect()))
        };
        records(&output).map(commit).collect()
    }

    async fn log(
        &self,
        action: &'static str,
        format: &str,
        newer: &CommitId,
        older: Option<&CommitId>,
    ) -> Result<Vec<u8>, Error> {
        self.isolated(action)?
            .args(["log", "-z", "--no-decorate", "--no-notes", "--no-mailmap", format])
            .arg(newer.as_str())
            .args(older.map(|commit| format!("^{commit}")))
            .arg("--")
            .output()
            .await
    }
}

pub(crate) fn records(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output.split(|byte| *byte == 0).filter(|record| !record.is_empty())
}

/// `git` is any run on a repository that has both trees.
pub(crate) async fn changed_paths(
    git: Git,
    older: &str,
    newer: &str,
) -> Result<Vec<ChangedPath>, Error> {
    let output = git
        .setting("diff.renameLimit=1000")
        .args(["diff-tree", "-r", "-z", "--raw", "--numstat", "-M", "--no-ext-diff"])
        .args(["--no-textconv", "--ignore-submodules=none", older, newer, "--"])
        .output()
        .await?;
    parse(&output).ok_or_else(|| Error::unexpected_output(COMPARING, &output))
}

/// The raw records of all paths, then the line counts of all paths, both in the
/// same order.
fn parse(output: &[u8]) -> Option<Vec<ChangedPath>> {
    let mut fields = output.split(|byte| *byte == 0).peekable();
    let mut changes = Vec::new();
    while fields.peek().is_some_and(|field| field.starts_with(b":")) {
        let header = std::str::from_utf8(fields.next()?).ok()?;
        let status = header.rsplit(' ').next()?;
        let path = path_of(fields.next()?);
        let (path, kind) = match status.as_bytes().first()? {
            b'A' => (path, ChangeKind::Added),
            b'M' => (path, ChangeKind::Modified),
            b'D' => (path, ChangeKind::Deleted),
            b'T' => (path, ChangeKind::TypeChanged),
            b'R' => (path_of(fields.next()?), ChangeKind::Renamed { from: path }),
            _ => return None,
        };
        changes.push(ChangedPath { path, kind, added: None, deleted: None });
    }
    for change in &mut changes {
        let line = fields.next()?;
        let mut columns = line.splitn(3, |byte| *byte == b'\t');
        let count = |column: &[u8]| std::str::from_utf8(column).ok()?.parse().ok();
        change.added = count(columns.next()?);
        change.deleted = count(columns.next()?);
        if columns.next()?.is_empty() {
            // A rename: both names follow in fields of their own.
            fields.nth(1)?;
        }
    }
    Some(changes)
}

/// One path that differs, exactly as the trees have it; no renames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawChange {
    pub(crate) path: Vec<u8>,
    pub(crate) old: Option<Version>,
    pub(crate) new: Option<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) mode: String,
    pub(crate) id: String,
}

pub(crate) async fn raw_changes(
    git: Git,
    older: &str,
    newer: &str,
) -> Result<Vec<RawChange>, Error> {
    let output = git
        .args(["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev"])
        .args(["--ignore-submodules=none", older, newer, "--"])
        .output()
        .await?;
    let mut fields = records(&output);
    let mut changes = Vec::new();
    while let (Some(header), Some(path)) = (fields.next(), fields.next()) {
        let header = String::from_utf8_lossy(header);
        let mut columns = header.trim_start_matches(':').split(' ');
        let mut column = || columns.next().unwrap_or_default().to_owned();
        let (old_mode, new_mode, old_id, new_id) = (column(), column(), column(), column());
        let version = |mode: String, id: String| (mode != "000000").then_some(Version { mode, id });
        changes.push(RawChange {
            path: path.to_vec(),
            old: version(old_mode, old_id),
            new: version(new_mode, new_id),
        });
    }
    Ok(changes)
}
