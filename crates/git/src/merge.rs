//! Merging a result onto the target, with objects alone: no working tree, no
//! index, no branch moves.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::beneath::path_of;
use crate::diff::{changed_paths, records};
use crate::names::{BlobId, ChangedPath, NewCommit, clean_message};
use crate::{CommitId, Error, Repository, TreeId};

const MERGING: &str = "merging a result";
const TREE: &str = "040000";

/// A file that the integrator writes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Relative to the root of the tree.
    pub path: PathBuf,
    /// The whole content that the merged commit will have there.
    pub content: Vec<u8>,
}

/// What one attempt made of the commit that it started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The commit that it started from.
    pub base: CommitId,
    /// What it made of that.
    pub result: CommitId,
}

/// A result merged onto a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// A commit whose only parent is the target.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// What it changes in the target.
    pub changed: Vec<ChangedPath>,
}

/// One line of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: String,
    kind: String,
    id: String,
    name: Vec<u8>,
}

impl Repository {
    /// Merges `work` onto `target` as one commit. Each path of `edits` belongs to
    /// the integrator: what the work did to it is dropped, and the commit has the
    /// given content there. What `target` no longer has of the work's base stays
    /// gone. Nothing but new objects is written.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the paths that both sides changed.
    pub async fn merge_squash(
        &self,
        target: &CommitId,
        work: &Work,
        edits: &[Edit],
        commit: &NewCommit,
    ) -> Result<Merged, Error> {
        let result = self.without_changes_to(edits, work).await?;
        let mut tree = self.merge_trees(&work.base, target, &result).await?;
        let paths: Vec<&Path> = edits.iter().map(|edit| edit.path.as_path()).collect();
        let present = self.entries(target, &paths).await?;
        for edit in edits {
            let path = edit.path.as_os_str().as_bytes();
            let executable = |entry: &Entry| entry.name == path && entry.mode == "100755";
            let mode = if present.iter().any(executable) { "100755" } else { "100644" };
            let blob = self.write_blob(&edit.content).await?;
            let entry = Entry {
                mode: mode.to_owned(),
                kind: "blob".to_owned(),
                id: blob.to_string(),
                name: path.to_vec(),
            };
            tree = self.tree_with(&tree, path, Some(entry)).await?;
        }
        let new = self.commit_tree(&tree, Some(target), commit).await?;
        let git = self.isolated("comparing a merged commit with its target")?;
        let changed = changed_paths(git, target.as_str(), new.as_str()).await?;
        Ok(Merged { commit: new, tree, changed })
    }

    /// The tree of the result, with the paths of `edits` as they are in its base.
    async fn without_changes_to(&self, edits: &[Edit], work: &Work) -> Result<TreeId, Error> {
        let Work { base, result } = work;
        let mut tree = self.tree_of(result).await?;
        let paths: Vec<&Path> = edits.iter().map(|edit| edit.path.as_path()).collect();
        let before = self.entries(base, &paths).await?;
        if before == self.entries(result, &paths).await? {
            return Ok(tree);
        }
        for path in paths {
            let path = path.as_os_str().as_bytes();
            let entry = before.iter().find(|entry| entry.name == path).cloned();
            tree = self.tree_with(&tree, path, entry).await?;
        }
        Ok(tree)
    }

    /// Merges `result`, which was made on `base`, into the tree of `target`.
    ///
    /// Git would look for a base in the history, and find an older one, or none,
    /// where the user has dropped or rewritten commits since. So it gets commits of
    /// ours with these trees and no other history. (`--merge-base` came with 2.40.)
    async fn merge_trees(
        &self,
        base: &CommitId,
        target: &CommitId,
        result: &TreeId,
    ) -> Result<TreeId, Error> {
        if base == target {
            return Ok(result.clone());
        }
        let (ours, theirs) = (self.tree_of(target).await?, result);
        let base = self.bare_commit(&self.tree_of(base).await?, None).await?;
        let ours = self.bare_commit(&ours, Some(&base)).await?;
        let theirs = self.bare_commit(theirs, Some(&base)).await?;
        let merged = self
            .isolated(MERGING)?
            .setting("merge.renames=true")
            .setting("merge.directoryRenames=conflict")
            .setting("merge.renormalize=false")
            .args(["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"])
            .args([ours.as_str(), theirs.as_str()])
            .run()
            .await?;
        let clean = match merged.code {
            Some(0) => true,
            Some(1) => false,
            _ => return Err(merged.into_error()),
        };
        let mut fields = records(&merged.stdout);
        let tree = TreeId::from_output(MERGING, fields.next().unwrap_or_default())?;
        if clean {
            return Ok(tree);
        }
        let paths: BTreeSet<PathBuf> = fields.map(path_of).collect();
        Err(Error::Conflict { paths: paths.into_iter().collect() })
    }

    /// A commit that only serves to merge; no reference keeps it.
    async fn bare_commit(
        &self,
        tree: &TreeId,
        parent: Option<&CommitId>,
    ) -> Result<CommitId, Error> {
        let commit = NewCommit {
            message: "a side of a merge".to_owned(),
            identity: crate::Identity::fallback(),
            seconds: 0,
        };
        self.commit_tree(tree, parent, &commit).await
    }

    /// Stores `content` as it is: no line-end conversion, no filter.
    async fn write_blob(&self, content: &[u8]) -> Result<BlobId, Error> {
        let action = "storing a file";
        let git = self.isolated(action)?.args(["hash-object", "-w", "--stdin"]);
        BlobId::from_output(action, &git.input(content).output().await?)
    }

    async fn commit_tree(
        &self,
        tree: &TreeId,
        parent: Option<&CommitId>,
        commit: &NewCommit,
    ) -> Result<CommitId, Error> {
        let action = "storing a commit";
        let NewCommit { message, identity, seconds } = commit;
        let date = format!("@{seconds} +0000");
        let git = self
            .isolated(action)?
            .env("GIT_AUTHOR_NAME", identity.name())
            .env("GIT_AUTHOR_EMAIL", identity.email())
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_NAME", identity.name())
            .env("GIT_COMMITTER_EMAIL", identity.email())
            .env("GIT_COMMITTER_DATE", &date)
            .args(["commit-tree", tree.as_str(), "-F", "-"])
            .args(parent.into_iter().flat_map(|parent| ["-p", parent.as_str()]))
            .input(clean_message(message));
        CommitId::from_output(action, &git.output().await?)
    }

    /// What `commit` has at `paths`; the names are whole paths.
    async fn entries(&self, commit: &CommitId, paths: &[&Path]) -> Result<Vec<Entry>, Error> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let action = "reading a tree";
        let output = self
            .isolated(action)?
            .args(["ls-tree", "-z", "--full-tree", commit.as_str(), "--"])
            .args(paths)
            .output()
            .await?;
        parse_entries(&output).ok_or_else(|| Error::unexpected_output(action, &output))
    }

    /// `tree` with `entry` at `path`, or with nothing there. Reads and writes only
    /// the directories on the way.
    async fn tree_with(
        &self,
        tree: &TreeId,
        path: &[u8],
        entry: Option<Entry>,
    ) -> Result<TreeId, Error> {
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let mut levels = Vec::new();
        let mut at = Some(tree.to_string());
        for part in &parts {
            let level = match &at {
                Some(id) => self.list(id).await?,
                None => Vec::new(),
            };
            let below = level.iter().find(|e| e.name == *part && e.mode == TREE);
            at = below.map(|entry| entry.id.clone());
            levels.push(level);
        }
        let mut replacement = entry;
        for (mut level, part) in levels.into_iter().zip(parts).rev() {
            level.retain(|entry| entry.name != part);
            level.extend(replacement.map(|entry| Entry { name: part.to_vec(), ..entry }));
            replacement = if level.is_empty() {
                None
            } else {
                let id = self.write_tree(&level).await?.to_string();
                Some(Entry { mode: TREE.to_owned(), kind: "tree".to_owned(), id, name: Vec::new() })
            };
        }
        match replacement {
            Some(root) => TreeId::new(root.id),
            None => self.write_tree(&[]).await,
        }
    }

    async fn list(&self, tree: &str) -> Result<Vec<Entry>, Error> {
        let action = "reading a tree";
        let git = self.isolated(action)?.args(["ls-tree", "-z", "--full-tree", tree]);
        let output = git.output().await?;
        parse_entries(&output).ok_or_else(|| Error::unexpected_output(action, &output))
    }

    async fn write_tree(&self, entries: &[Entry]) -> Result<TreeId, Error> {
        let action = "storing a tree";
        let mut input = Vec::new();
        for Entry { mode, kind, id, name } in entries {
            input.extend_from_slice(format!("{mode} {kind} {id}\t").as_bytes());
            input.extend_from_slice(name);
            input.push(0);
        }
        // A submodule's commit is not among our objects.
        let git = self.isolated(action)?.args(["mktree", "-z", "--missing"]).input(input);
        TreeId::from_output(action, &git.output().await?)
    }
}

fn parse_entries(output: &[u8]) -> Option<Vec<Entry>> {
    let parse = |line: &[u8]| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let mut fields = str::from_utf8(&line[..tab]).ok()?.split(' ').map(str::to_owned);
        let (mode, kind, id) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Entry { mode, kind, id, name: line[tab + 1..].to_vec() })
    };
    records(output).map(parse).collect()
}
