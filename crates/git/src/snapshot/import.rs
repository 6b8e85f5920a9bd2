//! Streaming changed files into a repository of ours with `git fast-import`.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::scan::{Change, Now, READING};
use super::{RESULT_BRANCH, line_ends};
use crate::beneath::{self, path_of};
use crate::command::{Git, blocking};
use crate::git_dir::quoted;
use crate::names::{NewCommit, clean_message};
use crate::{CommitId, Error, Workspace};

const IMPORTING: &str = "storing a snapshot";

/// Commits `changes` on top of the workspace's base.
pub(super) async fn import(
    repository: &Path,
    workspace: &Workspace,
    changes: Arc<Vec<Change>>,
    commit: &NewCommit,
) -> Result<CommitId, Error> {
    let (reader, writer) = io::pipe().map_err(|e| Error::io(IMPORTING, repository, e))?;
    let git = Git::isolated(IMPORTING, repository)?
        // One pack instead of a file for each object.
        .setting("fastimport.unpackLimit=1")
        .args(["fast-import", "--quiet", "--done", "--date-format=raw"])
        .stdin(OwnedFd::from(reader));
    let header = header(commit, &workspace.base);
    let tree = workspace.tree.clone();
    let feed = blocking(IMPORTING, move || {
        let root = beneath::open_root(&tree).map_err(|errno| Error::io(READING, &tree, errno))?;
        let feed = Feed { tree, root, out: BufWriter::with_capacity(64 * 1024, writer) };
        feed.run(&header, &changes)
    });
    let (fed, finished) = tokio::join!(feed, git.run());
    // When we stopped feeding, git only reports that its input ended early.
    if let Err(error) = fed {
        return Err(match (error, finished) {
            (Error::Io { source, .. }, Ok(finished))
                if source.kind() == io::ErrorKind::BrokenPipe && finished.code != Some(0) =>
            {
                finished.into_error()
            }
            (error, _) => error,
        });
    }
    CommitId::from_output(IMPORTING, &finished?.success()?)
}

fn header(commit: &NewCommit, base: &CommitId) -> Vec<u8> {
    let NewCommit { message, identity, seconds } = commit;
    let (name, email, message) = (identity.name(), identity.email(), clean_message(message));
    let length = message.len();
    format!(
        "commit {RESULT_BRANCH}\nmark :1\nauthor {name} <{email}> {seconds} +0000\n\
         committer {name} <{email}> {seconds} +0000\ndata {length}\n{message}\nfrom {base}\n"
    )
    .into_bytes()
}

struct Feed<W: Write> {
    tree: PathBuf,
    root: OwnedFd,
    out: W,
}

impl<W: Write> Feed<W> {
    fn run(mut self, header: &[u8], changes: &[Change]) -> Result<(), Error> {
        self.write(header)?;
        for change in changes {
            self.change(change)?;
        }
        self.write(b"\nget-mark :1\ndone\n")?;
        let flushed = self.out.flush();
        flushed.map_err(|e| Error::io(IMPORTING, &self.tree, e))
    }

    fn change(&mut self, change: &Change) -> Result<(), Error> {
        let path = quoted(&change.path);
        match &change.now {
            Now::Gone => self.command(&[b"D ", &path, b"\n"]),
            Now::Known { executable, id } => {
                let id = id.as_str().as_bytes();
                self.command(&[b"M ", mode(*executable), b" ", id, b" ", &path, b"\n"])
            }
            Now::Symlink { target } => {
                let data = format!("data {}\n", target.len());
                self.command(&[b"M 120000 inline ", &path, b"\n", data.as_bytes(), target, b"\n"])
            }
            Now::File { executable, size, lf, was: _ } => {
                let file = self.open(&change.path)?;
                let inline = [b"M ", mode(*executable), b" inline ", &path, b"\n"];
                self.command(&inline)?;
                if *lf {
                    let mut content = Vec::new();
                    let read = file.take(*size).read_to_end(&mut content);
                    read.map_err(|e| {
                        Error::io(READING, &self.tree.join(path_of(&change.path)), e)
                    })?;
                    let content = line_ends::with_lf(&content);
                    let data = format!("data {}\n", content.len());
                    self.command(&[data.as_bytes(), &content, b"\n"])
                } else {
                    self.write(format!("data {size}\n").as_bytes())?;
                    self.copy(file, *size, &change.path)?;
                    self.write(b"\n")
                }
            }
        }
    }

    fn open(&self, path: &[u8]) -> Result<File, Error> {
        let found = beneath::open_below(self.root.as_fd(), path)
            .map_err(|errno| Error::io(READING, &self.tree.join(path_of(path)), errno))?;
        found.ok_or_else(|| self.changing(path))
    }

    /// Exactly `size` bytes were announced: fewer would corrupt the stream.
    fn copy(&mut self, file: File, size: u64, path: &[u8]) -> Result<(), Error> {
        let mut file = file.take(size);
        let copied = io::copy(&mut file, &mut self.out)
            .map_err(|e| Error::io(IMPORTING, &self.tree.join(path_of(path)), e))?;
        if copied == size { Ok(()) } else { Err(self.changing(path)) }
    }

    fn command(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        parts.iter().try_for_each(|part| self.write(part))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|e| Error::io(IMPORTING, &self.tree, e))
    }

    fn changing(&self, path: &[u8]) -> Error {
        Error::ChangedWhileReading { path: self.tree.join(path_of(path)) }
    }
}

fn mode(executable: bool) -> &'static [u8] {
    if executable { b"100755" } else { b"100644" }
}
