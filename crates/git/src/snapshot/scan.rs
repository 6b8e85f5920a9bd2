//! Walking an agent's tree and finding what differs from the base commit.
//!
//! Ignore files count as they do for `git add`: only those inside the tree, and
//! never for a path that the base commit tracks, or that the agent tracks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::ops::Bound;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use nix::errno::Errno;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::dot_git::is_dot_git;
use super::index::{self, Paths};
use super::{Limits, SkipReason, Skipped};
use crate::beneath::{self, Kind, path_of};
use crate::names::{BlobId, ObjectFormat};
use crate::repository::TreeEntry;
use crate::{Error, Workspace};

pub(super) const READING: &str = "reading what the agent left at";

/// Holds one open descriptor each.
const MAX_DEPTH: usize = 128;
const IGNORE_FILE_BYTES: u64 = 256 * 1024;
/// Of all ignore files together: matchers take memory many times their text.
const IGNORE_BYTES: u64 = 2 * 1024 * 1024;
/// Reported only; the rest is as little part of the commit.
const MAX_SKIPPED: usize = 1_000;

/// The files of the base commit by path.
pub(super) type Files = BTreeMap<Vec<u8>, TreeEntry>;

#[derive(Debug)]
pub(super) struct Scanned {
    /// Deletions first, so that a directory can take a file's place.
    pub(super) changes: Vec<Change>,
    pub(super) skipped: Vec<Skipped>,
}

#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    pub(super) now: Now,
}

/// What a changed path is now.
#[derive(Debug, Clone)]
pub(super) enum Now {
    Gone,
    File {
        executable: bool,
        size: u64,
        /// The content that the base commit has there.
        was: Option<BlobId>,
        /// Whether each CRLF is stored as LF.
        lf: bool,
    },
    /// The content is as it was; the executable bit is not.
    Known {
        executable: bool,
        id: BlobId,
    },
    Symlink {
        target: Vec<u8>,
    },
}

pub(super) fn parse_listing(listing: &[u8]) -> Option<Files> {
    let entries = crate::diff::records(listing).map(TreeEntry::parse);
    entries.map(|entry| entry.map(|entry| (entry.path.clone(), entry))).collect()
}

/// A file of the base that was last changed before `as_cloned_before` counts as unchanged, without
/// being read.
pub(super) fn scan(
    workspace: &Workspace,
    base: Files,
    format: ObjectFormat,
    limits: &Limits,
    as_cloned_before: Option<(i64, i64)>,
) -> Result<Scanned, Error> {
    let tree = &workspace.tree;
    let mut scanner = Scanner {
        tree,
        added: index::added(workspace, &base, format),
        base,
        format,
        limits,
        as_cloned_before,
        found: Vec::new(),
        skipped: Vec::new(),
        rules: Vec::new(),
        rule_bytes: 0,
        total_bytes: 0,
    };
    let root = beneath::open_root(tree).map_err(|errno| scanner.failed(b"", errno))?;
    scanner.directory(&root, b"", false)?;
    let Scanner { base, found, skipped, .. } = scanner;
    let gone = base.into_values().filter(|entry| !entry.is_submodule());
    let mut changes: Vec<Change> =
        gone.map(|entry| Change { path: entry.path, now: Now::Gone }).collect();
    changes.extend(found);
    Ok(Scanned { changes, skipped })
}

/// The ignore file of one directory.
#[derive(Debug)]
struct Rules {
    /// Length of the directory's path with its final slash.
    prefix: usize,
    matcher: Gitignore,
}

struct Scanner<'a> {
    tree: &'a Path,
    /// Loses every entry that the walk finds; what is left at the end is gone.
    base: Files,
    /// What the agent tracks beside these, also where it is ignored.
    added: Paths,
    format: ObjectFormat,
    limits: &'a Limits,
    as_cloned_before: Option<(i64, i64)>,
    found: Vec<Change>,
    skipped: Vec<Skipped>,
    rules: Vec<Rules>,
    rule_bytes: u64,
    total_bytes: u64,
}

impl Scanner<'_> {
    /// `prefix` is the directory's path with a slash at its end, or empty.
    fn directory(
        &mut self,
        directory: &OwnedFd,
        prefix: &[u8],
        tracked_only: bool,
    ) -> Result<(), Error> {
        let at = directory.as_fd();
        let has_rules = self.push_rules(at, prefix.len());
        let names = beneath::names(at).map_err(|errno| self.failed(prefix, errno))?;
        for name in names {
            let path = [prefix, name.as_slice()].concat();
            if is_dot_git(&name) {
                // The one at the root is there by right.
                if path != b".git" {
                    self.skip(path, SkipReason::GitEntry);
                }
                continue;
            }
            if self.base.get(&path).is_some_and(TreeEntry::is_submodule) {
                self.submodule(at, &name, path)?;
                continue;
            }
            self.entry(at, &name, path, tracked_only)?;
        }
        if has_rules {
            self.rules.pop();
        }
        Ok(())
    }

    /// An empty directory is how a submodule looks that isn't checked out.
    fn submodule(&mut self, at: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<(), Error> {
        let failed = |errno| Error::io(READING, &self.tree.join(path_of(&path)), errno);
        let mut reason = SkipReason::Submodule;
        if beneath::kind_at(at, name).map_err(failed)? == Some(Kind::Directory) {
            let directory = beneath::enter_directory(at, name).map_err(failed)?;
            let names = beneath::names(directory.as_fd()).map_err(failed)?;
            if names.is_empty() {
                return Ok(());
            }
            if names.iter().any(|name| name == b".git") {
                reason = SkipReason::SubmoduleCheckout;
            }
        }
        self.skip(path, reason);
        Ok(())
    }

    fn entry(
        &mut self,
        at: BorrowedFd<'_>,
        name: &[u8],
        path: Vec<u8>,
        tracked_only: bool,
    ) -> Result<(), Error> {
        let kind = beneath::kind_at(at, name).map_err(|errno| self.failed(&path, errno))?;
        let is_directory = kind == Some(Kind::Directory);
        let ignored = tracked_only || self.is_ignored(&path, is_directory);
        match kind {
            None => return Err(self.changing(&path)),
            Some(Kind::Directory) => {
                let prefix = [path.as_slice(), b"/"].concat();
                if ignored && !self.tracks_beneath(&prefix) {
                    return Ok(());
                }
                if prefix.iter().filter(|byte| **byte == b'/').count() > MAX_DEPTH {
                    self.skip(path, SkipReason::TooDeep);
                    return Ok(());
                }
                let opened = beneath::enter_directory(at, name);
                let directory = opened.map_err(|errno| self.failed(&path, errno))?;
                self.directory(&directory, &prefix, ignored)?;
            }
            Some(Kind::Special) => self.skip(path, SkipReason::Special),
            Some(Kind::Symlink | Kind::File { .. })
                if ignored && !self.base.contains_key(&path) && !self.added.contains(&path) => {}
            Some(Kind::Symlink) => {
                let target =
                    beneath::link_target(at, name).map_err(|errno| self.failed(&path, errno))?;
                let id = blob_id(self.format, &target);
                let was = self.base.remove(&path);
                if was.is_none_or(|was| was.mode != "120000" || was.id.as_str() != id) {
                    self.admit(path, target.len() as u64, Now::Symlink { target })?;
                }
            }
            Some(Kind::File { executable, size }) => {
                self.file(at, name, path, (executable, size))?;
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        at: BorrowedFd<'_>,
        name: &[u8],
        path: Vec<u8>,
        (executable, size): (bool, u64),
    ) -> Result<(), Error> {
        let was = self.base.remove(&path).filter(TreeEntry::is_file);
        if was.is_some() && self.is_as_cloned(at, name) {
            return Ok(());
        }
        // Another size is another content: no need to read it to know.
        if let Some(was) = was.as_ref().filter(|was| was.size == size) {
            let opened = beneath::open_readable(at, name);
            let file = opened.map_err(|errno| self.failed(&path, errno))?;
            let file = file.ok_or_else(|| self.changing(&path))?;
            if hash_file(self.format, file, size).ok_or_else(|| self.changing(&path))?
                == was.id.as_str()
            {
                return if executable == (was.mode == "100755") {
                    Ok(())
                } else {
                    self.admit(path, 0, Now::Known { executable, id: was.id.clone() })
                };
            }
        }
        let was = was.map(|was| was.id);
        self.admit(path, size, Now::File { executable, size, was, lf: false })
    }

    fn is_as_cloned(&self, at: BorrowedFd<'_>, name: &[u8]) -> bool {
        // Not at the very time: the clock that files are stamped by stands still for milliseconds.
        let earlier = |cloned| beneath::changed_at(at, name).is_ok_and(|changed| changed < cloned);
        self.as_cloned_before.is_some_and(earlier)
    }

    fn admit(&mut self, path: Vec<u8>, size: u64, now: Now) -> Result<(), Error> {
        self.total_bytes = self.total_bytes.saturating_add(size);
        let measures = [
            ("size in bytes", size, self.limits.file_bytes),
            ("total size of the changed files in bytes", self.total_bytes, self.limits.total_bytes),
            ("number of changed files", self.found.len() as u64 + 1, self.limits.files),
        ];
        for (what, size, limit) in measures {
            if size > limit {
                return Err(Error::TooLarge { what, path: path_of(&path), size, limit });
            }
        }
        self.found.push(Change { path, now });
        Ok(())
    }

    fn push_rules(&mut self, at: BorrowedFd<'_>, prefix: usize) -> bool {
        let Some(text) = beneath::read_small(at, b".gitignore", IGNORE_FILE_BYTES) else {
            return false;
        };
        self.rule_bytes += text.len() as u64;
        if self.rule_bytes > IGNORE_BYTES {
            return false;
        }
        // Paths are matched relative to the ignore file's own directory.
        let mut builder = GitignoreBuilder::new(".");
        for line in String::from_utf8_lossy(&text).trim_start_matches('\u{feff}').lines() {
            // Git passes over a pattern that it cannot read.
            let _ = builder.add_line(None, line);
        }
        let Ok(matcher) = builder.build() else { return false };
        self.rules.push(Rules { prefix, matcher });
        true
    }

    fn is_ignored(&self, path: &[u8], is_directory: bool) -> bool {
        for rules in self.rules.iter().rev() {
            match rules.matcher.matched(path_of(&path[rules.prefix..]), is_directory) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        false
    }

    fn tracks_beneath(&self, prefix: &[u8]) -> bool {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let first = self.base.range::<[u8], _>(from).next();
        first.is_some_and(|(path, _)| path.starts_with(prefix)) || self.added.any_beneath(prefix)
    }

    fn skip(&mut self, path: Vec<u8>, reason: SkipReason) {
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(Skipped { path: path_of(&path), reason });
        }
    }

    fn failed(&self, path: &[u8], errno: Errno) -> Error {
        Error::io(READING, &self.tree.join(path_of(path)), errno)
    }

    fn changing(&self, path: &[u8]) -> Error {
        Error::ChangedWhileReading { path: self.tree.join(path_of(path)) }
    }
}

/// Git's name for this content.
pub(crate) fn blob_id(format: ObjectFormat, content: &[u8]) -> String {
    let mut hasher = BlobHasher::new(format, content.len() as u64);
    hasher.update(content);
    hasher.finish()
}

/// Git's name for the content of a file of `size` bytes; `None` when it has
/// another size or cannot be read.
pub(crate) fn hash_file(format: ObjectFormat, file: File, size: u64) -> Option<String> {
    let mut hasher = BlobHasher::new(format, size);
    let mut buffer = vec![0; 64 * 1024];
    let mut left = size;
    // One byte more than expected shows a file that grew.
    let mut file = file.take(size + 1);
    loop {
        let read = file.read(&mut buffer).ok()?;
        if read == 0 {
            return (left == 0).then(|| hasher.finish());
        }
        left = left.checked_sub(read as u64)?;
        hasher.update(&buffer[..read]);
    }
}

enum BlobHasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl BlobHasher {
    fn new(format: ObjectFormat, size: u64) -> Self {
        let mut hasher = match format {
            ObjectFormat::Sha1 => Self::Sha1(Sha1::new()),
            ObjectFormat::Sha256 => Self::Sha256(Sha256::new()),
        };
        hasher.update(format!("blob {size}\0").as_bytes());
        hasher
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        let digest = match self {
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
        };
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
