//! What git would do to an agent's files on their way into the repository, beside
//! storing them: line ends, which we do as well, and filters, which we don't.
//!
//! Without the first, what an agent wrote with CRLF would look changed in the user's
//! working copy as soon as it is there. Filters (git-lfs and its like) are programs;
//! running them on what an agent left would let it choose their input, and often
//! needs the network. So a file that needs one is named, for the caller to refuse.
//!
//! Attributes are those of the result's own tree, as for `git add`, with the user's
//! own on top. They are read from objects by git, and nothing of them is run.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::line_ends::{self, Wanted};
use super::result_of;
use super::scan::{Change, Now, READING};
use crate::beneath::{self, path_of};
use crate::command::{Git, blocking};
use crate::diff::{raw_changes, records};
use crate::git_dir::quoted;
use crate::names::BlobId;
use crate::{CommitId, Error, Repository, Workspace};

const ASKING: &str = "reading the attributes of a snapshot";

/// A file that can't be stored as it lies in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfiltered {
    /// Relative to the root of the tree.
    pub path: PathBuf,
    /// The name of the filter that its attributes ask for and the user has.
    pub filter: String,
}

/// What the user's configuration says of content on its way in.
#[derive(Debug)]
struct Settings {
    auto_crlf: bool,
    /// The names of filters that are programs here.
    filters: BTreeSet<Vec<u8>>,
}

impl Repository {
    /// Marks the files among `changes` whose line ends change on the way in, and
    /// gives those that need a filter. `raw` has all of them as they are.
    pub(super) async fn clean(
        &self,
        workspace: &Workspace,
        raw: &CommitId,
        changes: &mut [Change],
    ) -> Result<Vec<Unfiltered>, Error> {
        let is_file = |change: &&mut Change| matches!(change.now, Now::File { .. });
        let mut files: Vec<&mut Change> = changes.iter_mut().filter(is_file).collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let settings = self.clean_settings().await?;
        let otherwise = if settings.auto_crlf { Wanted::Auto } else { Wanted::Raw };
        let paths: Vec<&[u8]> = files.iter().map(|change| change.path.as_slice()).collect();
        let attributes = self.attributes(workspace, raw, &paths).await?;
        let mut filtered = Vec::new();
        for (change, [text, crlf, eol, filter]) in files.iter_mut().zip(attributes) {
            let Change { path, now: Now::File { size, was, lf, .. } } = &mut **change else {
                continue;
            };
            let wanted = line_ends::wanted(&text, &crlf, &eol, otherwise);
            if settings.filters.contains(&filter) {
                filtered.push((path.clone(), filter));
            } else if wanted != Wanted::Raw {
                *lf = self.needs_lf(workspace, path, *size, wanted, was.as_ref()).await?;
            }
        }
        if filtered.is_empty() {
            return Ok(Vec::new());
        }
        let git = Git::isolated(ASKING, &result_of(workspace))?;
        let stored = raw_changes(git, workspace.base.as_str(), raw.as_str()).await?;
        let known: BTreeSet<&String> =
            stored.iter().filter_map(|change| Some(&change.old.as_ref()?.id)).collect();
        // What was only moved is as git stores it.
        let moved = |path: &[u8]| {
            let mut changes = stored.iter().filter(|change| change.path == path);
            changes.any(|change| change.new.as_ref().is_some_and(|new| known.contains(&new.id)))
        };
        let unfiltered = filtered.into_iter().filter(|(path, _)| !moved(path));
        let named = |(path, filter): (Vec<u8>, Vec<u8>)| Unfiltered {
            path: path_of(&path),
            filter: String::from_utf8_lossy(&filter).into_owned(),
        };
        Ok(unfiltered.map(named).collect())
    }

    async fn clean_settings(&self) -> Result<Settings, Error> {
        let asked = Git::for_user(ASKING, &self.root)?
            .args(["config", "--null", "--get-regexp"])
            .arg(r"^(core\.autocrlf|filter\..*\.(clean|process))$")
            .run()
            .await?;
        if !matches!(asked.code, Some(0 | 1)) {
            return Err(asked.into_error());
        }
        let mut settings = Settings { auto_crlf: false, filters: BTreeSet::new() };
        for entry in records(&asked.stdout) {
            let mut parts = entry.splitn(2, |byte| *byte == b'\n');
            let key = parts.next().unwrap_or_default();
            // A key alone means yes.
            let value = parts.next().unwrap_or(b"true").to_ascii_lowercase();
            if key == b"core.autocrlf" {
                let on = ["true", "yes", "on", "input"].iter().any(|on| value == on.as_bytes());
                settings.auto_crlf = on || value == b"1";
            } else if let Some(name) = key.strip_prefix(b"filter.")
                && let Some(end) = name.iter().rposition(|byte| *byte == b'.')
                && !value.is_empty()
            {
                settings.filters.insert(name[..end].to_vec());
            }
        }
        Ok(settings)
    }

    /// The values of `text`, `crlf`, `eol` and `filter` for each path. Git finds them,
    /// over an index of ours that has the result's tree.
    async fn attributes(
        &self,
        workspace: &Workspace,
        raw: &CommitId,
        paths: &[&[u8]],
    ) -> Result<Vec<[Vec<u8>; 4]>, Error> {
        let (result, index) = (result_of(workspace), workspace.directory.join("attributes"));
        let read = Git::isolated(ASKING, &result)?.env("GIT_INDEX_FILE", &index);
        read.reads_untrusted_objects().args(["read-tree", raw.as_str()]).output().await?;
        let objects = quoted(result.join("objects").as_os_str().as_bytes());
        let output = Git::for_user(ASKING, &self.root)?
            .env("GIT_DIR", &self.git_dir)
            .env("GIT_INDEX_FILE", &index)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", OsStr::from_bytes(&objects))
            .reads_untrusted_objects()
            .args(["check-attr", "--cached", "-z", "--stdin", "text", "crlf", "eol", "filter"])
            .input([paths.join(&0), vec![0]].concat())
            .output()
            .await?;
        // Path, name and value, for each attribute of each path in turn.
        let mut values = output.split(|byte| *byte == 0).skip(2).step_by(3).map(<[u8]>::to_vec);
        let mut next = || values.next();
        let each = |_: &&[u8]| Some([next()?, next()?, next()?, next()?]);
        let found: Option<Vec<_>> = paths.iter().map(each).collect();
        found.ok_or_else(|| Error::unexpected_output(ASKING, &output))
    }

    async fn needs_lf(
        &self,
        workspace: &Workspace,
        path: &[u8],
        size: u64,
        wanted: Wanted,
        was: Option<&BlobId>,
    ) -> Result<bool, Error> {
        let (tree, path) = (workspace.tree.clone(), path.to_owned());
        let content = blocking(ASKING, move || {
            let at = tree.join(path_of(&path));
            let failed = |errno: nix::errno::Errno| Error::io(READING, &at, errno);
            let root = beneath::open_root(&tree).map_err(failed)?;
            let file: Option<File> = beneath::open_below(root.as_fd(), &path).map_err(failed)?;
            let mut content = Vec::new();
            let file = file.ok_or_else(|| Error::ChangedWhileReading { path: at.clone() })?;
            let read = file.take(size).read_to_end(&mut content);
            read.map_err(|e| Error::io(READING, &at, e))?;
            Ok(content)
        })
        .await?;
        // Asked only where the answer may depend on it.
        if wanted != Wanted::Auto || !content.contains(&b'\r') {
            return line_ends::changes(wanted, &content, || Ok(None));
        }
        let before = match was {
            Some(id) => {
                let blob = self.isolated(ASKING)?.args(["cat-file", "blob", id.as_str()]);
                Some(blob.output().await?)
            }
            None => None,
        };
        line_ends::changes(wanted, &content, || Ok(before))
    }
}
