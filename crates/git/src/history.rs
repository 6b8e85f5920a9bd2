//! A project's history on its way to workers on other machines.
//!
//! It travels as packs: the whole history up to a commit, or what a commit adds to an earlier one.
//! A worker keeps what it got in a bare repository of its own, its cache of the project, which it
//! makes private clones of as if it were the project itself. Results travel the other way, as
//! bundles.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::command::blocking;
use crate::git_dir::GitDir;
use crate::names::ObjectFormat;
use crate::removal::remove_tree_blocking;
use crate::{CommitId, Error, RefName, Repository};

const PACKING: &str = "packing the history into";
const UNPACKING: &str = "taking over the history in";

/// The branch that HEAD of a cache names; it is never born.
const UNBORN: &str = "refs/heads/kapelle/unborn";

impl Repository {
    /// A worker's bare copy of a project's history at `directory`, which is made when it isn't
    /// there, or isn't whole. It has no working copy: [`Repository::root`] is the directory itself.
    /// Any number of attempts, also of several processes, may open the same one at once.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory can't be made.
    pub async fn open_cache(directory: &Path, format: ObjectFormat) -> Result<Self, Error> {
        let directory = directory.to_owned();
        blocking(UNPACKING, move || {
            if !is_cache(&directory) {
                make_cache(&directory, format)?;
            }
            let root = directory.canonicalize().map_err(|e| Error::io(UNPACKING, &directory, e))?;
            Ok(Self { root: root.clone(), git_dir: root.clone(), common_dir: root, format })
        })
        .await
    }

    /// How the repository names its objects.
    #[must_use]
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Whether the commit is here.
    ///
    /// # Errors
    /// Whatever keeps git from looking.
    pub async fn has_commit(&self, commit: &CommitId) -> Result<bool, Error> {
        match self.tree_of(commit).await {
            Ok(_) => Ok(true),
            Err(Error::UnknownCommit { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the history up to `commit`, without what `known` has already, to the new file
    /// `path`.
    ///
    /// # Errors
    /// [`Error::UnknownCommit`]; [`Error::Io`] when the file can't be written.
    pub async fn pack_history(
        &self,
        commit: &CommitId,
        known: Option<&CommitId>,
        path: &Path,
    ) -> Result<(), Error> {
        self.tree_of(commit).await?;
        let file = File::create_new(path).map_err(|e| Error::io(PACKING, path, e))?;
        let done = file.try_clone().map_err(|e| Error::io(PACKING, path, e))?;
        let mut wanted = format!("{commit}\n");
        if let Some(known) = known {
            wanted.push('^');
            wanted.push_str(known.as_str());
            wanted.push('\n');
        }
        self.isolated("packing the history")?
            .args([
                "pack-objects",
                "--revs",
                "--thin",
                "--stdout",
                "--quiet",
                "--delta-base-offset",
            ])
            .input(wanted)
            .stdout(file)
            .output()
            .await?;
        let path = path.to_owned();
        blocking(PACKING, move || done.sync_all().map_err(|e| Error::io(PACKING, &path, e))).await
    }

    /// Takes over the history up to `commit` from a pack, in this cache. Doing it again is success.
    ///
    /// # Errors
    /// [`Error::InvalidBundle`] when the pack is damaged or lacks something; [`Error::UnknownCommit`]
    /// when it isn't the history of this commit.
    pub async fn unpack_history(
        &self,
        path: &Path,
        commit: &CommitId,
        limit: u64,
    ) -> Result<(), Error> {
        let pack = File::open(path).map_err(|e| Error::io(UNPACKING, path, e))?;
        let indexed = self
            .isolated("checking the objects of a history")?
            .reads_untrusted_objects()
            .args(["index-pack", "--stdin", "--fix-thin", "--strict"])
            .arg(format!("--max-input-size={limit}"))
            .stdin(pack)
            .run()
            .await?;
        if indexed.code != Some(0) {
            return Err(match indexed.into_error() {
                Error::Git { stderr, .. } => {
                    Error::InvalidBundle { path: path.to_owned(), reason: stderr }
                }
                error => error,
            });
        }
        self.tree_of(commit).await?;
        self.create_ref(&history_ref(commit)?, commit).await
    }
}

/// Keeps a commit of the history from being collected as garbage.
fn history_ref(commit: &CommitId) -> Result<RefName, Error> {
    RefName::new(format!("refs/kapelle/history/{commit}"))
}

fn is_cache(directory: &Path) -> bool {
    directory.join("HEAD").is_file()
}

/// Makes a cache, unless somebody else has meanwhile: attempts of one project begin together.
fn make_cache(directory: &Path, format: ObjectFormat) -> Result<(), Error> {
    let failed = |e: io::Error| Error::io(UNPACKING, directory, e);
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    // The lock's file stays: removing it would let two hold it.
    let lock = File::create(directory.with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if is_cache(directory) {
        return Ok(());
    }
    // Made aside and moved in place, so that what a crash leaves is never taken for a cache.
    let draft = directory.with_extension("draft");
    remove_tree_blocking(&draft)?;
    let unborn = RefName::new(UNBORN)?;
    let head = (&unborn, None);
    GitDir { format, bare: true, identity: None, alternates: &[], head, shallow: None }
        .create(&draft)?;
    remove_tree_blocking(directory)?;
    fs::rename(&draft, directory).map_err(failed)
}
