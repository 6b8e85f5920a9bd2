//! Which of an advance's paths are as we know them on disk, and bringing those to
//! one side of the change.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::WRITING;
use super::lock::IndexLock;
use crate::beneath::{self, Kind, path_of};
use crate::command::{Git, blocking};
use crate::diff::{RawChange, Version};
use crate::git_dir::quoted;
use crate::names::ObjectFormat;
use crate::snapshot::{blob_id, hash_file};
use crate::{CommitId, Error, Repository};

const EXAMINING: &str = "comparing the working copy with two commits at";

/// One side of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

/// What is on disk at a changed path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Exactly what one side has there.
    As(Side),
    /// Nothing, or the beginning of what one side has: ours to write over.
    Unfinished,
    /// The user's.
    Foreign,
    /// A submodule on either side: its directory is none of our business.
    Submodule,
    /// A file of unknown content; line ends or filters may explain it.
    Unknown,
}

pub(super) fn foreign(changes: &[RawChange], states: &[State]) -> Vec<PathBuf> {
    let pairs = changes.iter().zip(states);
    pairs.filter(|(_, state)| **state == State::Foreign).map(|(c, _)| path_of(&c.path)).collect()
}

/// Untracked things, ignored ones included, where the change puts something new.
pub(super) fn in_the_way(root: &Path, changes: &[RawChange]) -> Result<Vec<PathBuf>, Error> {
    let root = open(root)?;
    let root = root.as_fd();
    let leaving: HashSet<&[u8]> =
        changes.iter().filter(|c| c.old.is_some()).map(|c| c.path.as_slice()).collect();
    let is_blocked = |path: &[u8]| {
        let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in parents {
            match kind(root, &path[..end]) {
                Some(Kind::Directory) => {}
                None => return false,
                // Not a directory: fine only if it is tracked and leaves.
                Some(_) => return !leaving.contains(&path[..end]),
            }
        }
        match kind(root, path) {
            None => false,
            Some(Kind::Directory) => !holds_only(root, path, &leaving),
            Some(_) => true,
        }
    };
    let added = changes.iter().filter(|change| change.old.is_none());
    Ok(added.filter(|c| is_blocked(&c.path)).map(|c| path_of(&c.path)).collect())
}

/// What is at `path`; `None` also when a parent is no directory.
fn kind(root: BorrowedFd<'_>, path: &[u8]) -> Option<Kind> {
    let (at, name) = beneath::open_parent(root, path).ok()?;
    beneath::kind_at(at.as_fd(), name).ok()?
}

/// Whether a directory holds nothing but files that the change takes away.
fn holds_only(root: BorrowedFd<'_>, path: &[u8], leaving: &HashSet<&[u8]>) -> bool {
    let names = beneath::open_parent(root, path)
        .and_then(|(at, name)| beneath::open_directory(at.as_fd(), name))
        .and_then(|directory| beneath::names(directory.as_fd()));
    let Ok(names) = names else { return false };
    names.iter().all(|name| {
        let path = [path, b"/", name].concat();
        if kind(root, &path) == Some(Kind::Directory) {
            holds_only(root, &path, leaving)
        } else {
            leaving.contains(path.as_slice())
        }
    })
}

impl Repository {
    /// The state of every changed path, in the order of `changes`.
    pub(super) async fn examine(&self, changes: &[RawChange]) -> Result<Vec<State>, Error> {
        let (root, format, all) = (self.root.clone(), self.format, changes.to_vec());
        let mut states = blocking(EXAMINING, move || {
            let root = open(&root)?;
            let look = |change| look(root.as_fd(), change, &all, format);
            Ok(all.iter().map(look).collect::<Vec<_>>())
        })
        .await?;
        let unknown: Vec<usize> =
            (0..states.len()).filter(|i| states[*i] == State::Unknown).collect();
        if unknown.is_empty() {
            return Ok(states);
        }
        let ids = self.converted_ids(unknown.iter().map(|i| changes[*i].path.as_slice())).await?;
        for (i, id) in unknown.into_iter().zip(ids) {
            let change = &changes[i];
            let is = |side: &Option<Version>| side.as_ref().is_some_and(|v| v.id == id);
            states[i] = match compare(is(&change.old), is(&change.new)) {
                Some(state) => state,
                None if self.is_beginning_of_either(change).await? => State::Unfinished,
                None => State::Foreign,
            };
        }
        Ok(states)
    }

    /// The blob ids of files as `git add` would store them.
    async fn converted_ids(
        &self,
        paths: impl Iterator<Item = &[u8]>,
    ) -> Result<Vec<String>, Error> {
        let mut input = Vec::new();
        for path in paths {
            input.extend(quoted(path));
            input.push(b'\n');
        }
        let output = Git::for_user(EXAMINING, &self.root)?
            .args(["hash-object", "--stdin-paths"])
            .input(input)
            .output()
            .await?;
        Ok(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect())
    }

    async fn is_beginning_of_either(&self, change: &RawChange) -> Result<bool, Error> {
        for version in change.new.iter().chain(&change.old).filter(|version| is_file(version)) {
            let mut path = OsString::from("--path=");
            path.push(path_of(&change.path));
            let whole = Git::for_user(EXAMINING, &self.root)?
                .args(["cat-file", "--filters"])
                .arg(path)
                .arg(&version.id)
                .output()
                .await?;
            let (root, name) = (self.root.clone(), change.path.clone());
            let begins = move || Ok(is_beginning(open(&root)?.as_fd(), &name, &whole));
            if blocking(EXAMINING, begins).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Brings every path that is ours, and the index, to one side.
    pub(super) async fn settle(
        &self,
        lock: &IndexLock,
        changes: &[RawChange],
        states: &[State],
        (side, commit): (Side, &CommitId),
    ) -> Result<(), Error> {
        let index = self.start_index().await?;
        // The index alone: what the files are is judged here, not by git.
        self.read_tree(lock, &index, &["-m", "-i", commit.as_str()]).await?;
        let is_wrong = |state: &State| match state {
            State::As(as_side) => *as_side != side,
            State::Unfinished => true,
            State::Foreign | State::Submodule | State::Unknown => false,
        };
        let pairs = changes.iter().zip(states).filter(|(_, state)| is_wrong(state));
        let wrong: Vec<RawChange> = pairs.map(|(change, _)| change.clone()).collect();
        let mut missing = Vec::new();
        for change in wrong.iter().filter(|change| version(change, side).is_some()) {
            missing.extend_from_slice(&change.path);
            missing.push(0);
        }
        let (root, all) = (self.root.clone(), changes.to_vec());
        blocking(WRITING, move || remove_files(&root, &wrong, &all, side)).await?;
        if !missing.is_empty() {
            // Without --force: git makes what is missing and overwrites nothing.
            self.with_index(WRITING, &index, lock)?
                .args(["checkout-index", "-z", "--stdin", "-u"])
                .stdout(lock.share()?)
                .input(missing)
                .output()
                .await?;
        }
        self.refresh(&index, lock).await?;
        self.finish_index(index).await
    }
}

fn open(root: &Path) -> Result<OwnedFd, Error> {
    beneath::open_root(root).map_err(|errno| Error::io(EXAMINING, root, errno))
}

fn version(change: &RawChange, side: Side) -> Option<&Version> {
    match side {
        Side::Old => change.old.as_ref(),
        Side::New => change.new.as_ref(),
    }
}

fn is_file(version: &Version) -> bool {
    version.mode.starts_with("100")
}

fn look(
    root: BorrowedFd<'_>,
    change: &RawChange,
    all: &[RawChange],
    format: ObjectFormat,
) -> State {
    let RawChange { path, old, new } = change;
    if old.iter().chain(new).any(|version| version.mode == "160000") {
        return State::Submodule;
    }
    let either = |is: &dyn Fn(&Version) -> bool| {
        compare(old.as_ref().is_some_and(is), new.as_ref().is_some_and(is))
    };
    match kind(root, path) {
        None => absent(change),
        Some(Kind::Directory) => {
            // It may be the other side's, whose files are judged one by one.
            let prefix = [path.as_slice(), b"/"].concat();
            let swapped = all.iter().any(|other| other.path.starts_with(&prefix));
            if swapped { absent(change) } else { State::Foreign }
        }
        Some(Kind::Special) => State::Foreign,
        Some(Kind::Symlink) => {
            let target = beneath::open_parent(root, path)
                .and_then(|(at, name)| beneath::link_target(at.as_fd(), name));
            let id = target.ok().map(|target| blob_id(format, &target));
            let is = |v: &Version| v.mode == "120000" && Some(&v.id) == id.as_ref();
            either(&is).unwrap_or(State::Foreign)
        }
        Some(Kind::File { executable, size }) => {
            let hashed = open_at(root, path).and_then(|file| hash_file(format, file, size));
            let Some(id) = hashed else { return State::Foreign };
            let content = |v: &Version| is_file(v) && v.id == id;
            let exact = |v: &Version| content(v) && (v.mode == "100755") == executable;
            // Where only the executable bit is off, the file is ours to write again.
            let nearly = || either(&content).map(|_| State::Unfinished);
            either(&exact).or_else(nearly).unwrap_or(State::Unknown)
        }
    }
}

fn absent(change: &RawChange) -> State {
    match (&change.old, &change.new) {
        (_, None) => State::As(Side::New),
        (None, Some(_)) => State::As(Side::Old),
        (Some(_), Some(_)) => State::Unfinished,
    }
}

fn compare(old: bool, new: bool) -> Option<State> {
    match (old, new) {
        (_, true) => Some(State::As(Side::New)),
        (true, false) => Some(State::As(Side::Old)),
        (false, false) => None,
    }
}

fn open_at(root: BorrowedFd<'_>, path: &[u8]) -> Option<File> {
    let (at, name) = beneath::open_parent(root, path).ok()?;
    beneath::open_file(at.as_fd(), name).ok()?
}

fn is_beginning(root: BorrowedFd<'_>, path: &[u8], whole: &[u8]) -> bool {
    let Some(file) = open_at(root, path) else { return false };
    let mut found = Vec::new();
    let read = file.take(whole.len() as u64 + 1).read_to_end(&mut found);
    read.is_ok() && whole.starts_with(&found)
}

/// Makes room for what `side` has: removes files of the other side, and then the
/// directories that only the other side had.
fn remove_files(
    root: &Path,
    wrong: &[RawChange],
    all: &[RawChange],
    side: Side,
) -> Result<(), Error> {
    let at = open(root)?;
    for RawChange { path, .. } in wrong {
        if matches!(kind(at.as_fd(), path), None | Some(Kind::Directory)) {
            continue;
        }
        unlink(at.as_fd(), path, UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| Error::io(WRITING, &root.join(path_of(path)), errno))?;
    }
    // Of all paths: git may have been killed between a file and its directory.
    for change in all.iter().filter(|change| version(change, side).is_none()) {
        let mut path = change.path.as_slice();
        while let Some(end) = path.iter().rposition(|byte| *byte == b'/') {
            path = &path[..end];
            // Fails, rightly, when something is left in it.
            let _ = unlink(at.as_fd(), path, UnlinkatFlags::RemoveDir);
        }
    }
    Ok(())
}

fn unlink(root: BorrowedFd<'_>, path: &[u8], flags: UnlinkatFlags) -> Result<(), Errno> {
    let (at, name) = beneath::open_parent(root, path)?;
    unlinkat(&at, name, flags)
}
