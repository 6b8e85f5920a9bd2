//! The user's repository: finding it and asking it simple questions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::command::Git;
use crate::diff::records;
use crate::names::{BlobId, ObjectFormat};
use crate::{CommitId, Error, Identity, RefName, TreeId};

/// The first version with `git merge-tree --write-tree`.
const OLDEST_GIT: (u32, u32) = (2, 38);
const OLDEST_GIT_TEXT: &str = "2.38";

/// A repository with a working copy, as the user has it.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) root: PathBuf,
    /// Of this working tree: `index` and `HEAD` are here.
    pub(crate) git_dir: PathBuf,
    /// Shared by all linked working trees: references and objects are here.
    pub(crate) common_dir: PathBuf,
    pub(crate) format: ObjectFormat,
}

/// What is checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The branch; `None` when HEAD is detached.
    pub branch: Option<RefName>,
    /// The commit.
    pub commit: CommitId,
}

/// The version of the git program, for example `2.39.5`.
///
/// # Errors
/// [`Error::GitMissing`], or [`Error::GitTooOld`] when Kapelle cannot use it.
pub async fn git_version() -> Result<String, Error> {
    let action = "asking for its version";
    let output = Git::isolated(action, Path::new("/"))?.arg("version").output().await?;
    usable_version(&String::from_utf8_lossy(&output))
        .unwrap_or_else(|| Err(Error::unexpected_output(action, &output)))
}

/// Reads what `git version` prints; `None` when it is something else.
fn usable_version(output: &str) -> Option<Result<String, Error>> {
    let version = output.trim().strip_prefix("git version ")?;
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next()?, numbers.next()?);
    let version = version.to_owned();
    let too_old = |found| Error::GitTooOld { found, needed: OLDEST_GIT_TEXT };
    Some(if found >= OLDEST_GIT { Ok(version) } else { Err(too_old(version)) })
}

impl Repository {
    /// Finds the repository that holds `path`, which must be a directory.
    ///
    /// # Errors
    /// [`Error::GitMissing`], [`Error::NotARepository`], [`Error::BareRepository`],
    /// [`Error::ForeignOwner`], and [`Error::Io`] when there is no such directory.
    pub async fn discover(path: &Path) -> Result<Self, Error> {
        let action = "looking for a repository at";
        let path = path.canonicalize().map_err(|e| Error::io(action, path, e))?;
        let asked = Git::for_user(action, &path)?
            .args(["rev-parse", "--path-format=absolute", "--is-inside-work-tree"])
            .args(["--show-toplevel", "--git-dir", "--git-common-dir", "--show-object-format"])
            .run()
            .await?;
        if asked.code != Some(0) {
            let says = |text: &str| asked.stderr.contains(text);
            return Err(if says("dubious ownership") {
                Error::ForeignOwner { path }
            } else if says("must be run in a work tree") || says("cannot use bare repository") {
                Error::BareRepository { path }
            } else if says("not a git repository") {
                Error::NotARepository { path }
            } else {
                asked.into_error()
            });
        }
        let lines: Vec<&[u8]> =
            asked.stdout.trim_ascii_end().split(|byte| *byte == b'\n').collect();
        let &[b"true", root, git_dir, common_dir, format] = lines.as_slice() else {
            return Err(Error::unexpected_output(action, &asked.stdout));
        };
        let directory = |line: &[u8]| {
            let path = Path::new(OsStr::from_bytes(line));
            path.canonicalize().map_err(|e| Error::io(action, path, e))
        };
        Ok(Self {
            root: directory(root)?,
            git_dir: directory(git_dir)?,
            common_dir: directory(common_dir)?,
            format: if format == b"sha256" { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 },
        })
    }

    /// The root of the working copy.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The git directory that all linked working trees share.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// What is checked out.
    ///
    /// # Errors
    /// [`Error::NoCommits`] when the branch is yet to be born.
    pub async fn head(&self) -> Result<Head, Error> {
        let branch = self.checked_out_branch().await?;
        let commit = self.commit_at("HEAD").await?.ok_or(Error::NoCommits)?;
        Ok(Head { branch, commit })
    }

    /// The branch that is checked out, and its commit.
    ///
    /// # Errors
    /// [`Error::DetachedHead`], [`Error::NoCommits`].
    pub async fn current_branch(&self) -> Result<(RefName, CommitId), Error> {
        let Head { branch, commit } = self.head().await?;
        match branch {
            Some(branch) => Ok((branch, commit)),
            None => Err(Error::DetachedHead { commit }),
        }
    }

    /// The name and mail address that the user has configured, else
    /// [`Identity::fallback`].
    ///
    /// # Errors
    /// Whatever keeps git from reading its configuration.
    pub async fn default_identity(&self) -> Result<Identity, Error> {
        let asked = Git::for_user("reading the user's identity", &self.root)?
            .args(["config", "--null", "--get-regexp", r"^user\.(name|email)$"])
            .run()
            .await?;
        if !matches!(asked.code, Some(0 | 1)) {
            return Err(asked.into_error());
        }
        let text = String::from_utf8_lossy(&asked.stdout);
        let value = |key: &str| {
            text.split('\0').filter_map(|entry| entry.split_once('\n')).rfind(|(k, _)| *k == key)
        };
        let identity = match (value("user.name"), value("user.email")) {
            (Some((_, name)), Some((_, email))) => Identity::new(name, email).ok(),
            _ => None,
        };
        Ok(identity.unwrap_or_else(Identity::fallback))
    }

    /// Where a reference points; `None` when it does not exist.
    ///
    /// # Errors
    /// Whatever keeps git from reading it.
    pub async fn resolve(&self, name: &RefName) -> Result<Option<CommitId>, Error> {
        self.commit_at(name.as_str()).await
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// [`Error::UnknownCommit`].
    pub async fn tree_of(&self, commit: &CommitId) -> Result<TreeId, Error> {
        let action = "reading a commit's tree";
        let asked = self
            .isolated(action)?
            .args(["rev-parse", "--verify", "--quiet"])
            .arg(format!("{commit}^{{tree}}"))
            .run()
            .await?;
        match asked.code {
            Some(0) => TreeId::from_output(action, &asked.stdout),
            _ => Err(Error::UnknownCommit { commit: commit.to_string() }),
        }
    }

    /// Whether `ancestor` is `commit` or in its history.
    ///
    /// # Errors
    /// [`Error::Git`] when one of them is not there.
    pub async fn is_ancestor(&self, ancestor: &CommitId, commit: &CommitId) -> Result<bool, Error> {
        let asked = self
            .isolated("looking for a commit in the history")?
            .args(["merge-base", "--is-ancestor", ancestor.as_str(), commit.as_str()])
            .run()
            .await?;
        match asked.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(asked.into_error()),
        }
    }

    /// The content of a regular file in a commit; `None` when the commit has no
    /// regular file there.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above `limit` bytes.
    pub async fn read_file(
        &self,
        commit: &CommitId,
        path: &Path,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let action = "reading a file of a commit";
        let listing = self
            .isolated(action)?
            .args(["ls-tree", "-z", "--long", "--full-tree", commit.as_str(), "--"])
            .arg(path)
            .output()
            .await?;
        let mut entries = records(&listing).filter_map(TreeEntry::parse);
        let wanted = path.as_os_str().as_bytes();
        let Some(found) = entries.find(|entry| entry.path == wanted && entry.is_file()) else {
            return Ok(None);
        };
        if found.size > limit {
            let (what, path) = ("size in bytes", path.to_owned());
            return Err(Error::TooLarge { what, path, size: found.size, limit });
        }
        let content = self.isolated(action)?.args(["cat-file", "blob", found.id.as_str()]);
        Ok(Some(content.output().await?))
    }

    /// The names of the regular files directly in a directory of a commit, the root
    /// when `directory` is empty. None when the commit has no such directory.
    ///
    /// # Errors
    /// [`Error::Git`] when the commit is not there.
    pub async fn files_in(
        &self,
        commit: &CommitId,
        directory: &Path,
    ) -> Result<Vec<PathBuf>, Error> {
        let action = "listing a directory of a commit";
        let mut git = self.isolated(action)?.args([
            "ls-tree",
            "-z",
            "--long",
            "--full-tree",
            commit.as_str(),
        ]);
        if !directory.as_os_str().is_empty() {
            // The slash asks for what is in it.
            git = git.arg("--").arg(directory.join(""));
        }
        let listing = git.output().await?;
        let files = records(&listing).filter_map(TreeEntry::parse).filter(TreeEntry::is_file);
        let name = |entry: TreeEntry| {
            let path = Path::new(OsStr::from_bytes(&entry.path));
            path.file_name().map(PathBuf::from)
        };
        Ok(files.filter_map(name).collect())
    }

    pub(crate) async fn checked_out_branch(&self) -> Result<Option<RefName>, Error> {
        let symbolic =
            self.isolated("reading HEAD")?.args(["symbolic-ref", "--quiet", "HEAD"]).run().await?;
        match symbolic.code {
            Some(0) => {
                RefName::new(String::from_utf8_lossy(symbolic.stdout.trim_ascii_end())).map(Some)
            }
            Some(1) => Ok(None),
            _ => Err(symbolic.into_error()),
        }
    }

    pub(crate) fn isolated(&self, action: &'static str) -> Result<Git, Error> {
        Git::isolated(action, &self.git_dir)
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.common_dir.join("objects")
    }

    async fn commit_at(&self, revision: &str) -> Result<Option<CommitId>, Error> {
        let action = "reading a reference";
        let asked = self
            .isolated(action)?
            .args(["rev-parse", "--verify", "--quiet"])
            .arg(format!("{revision}^{{commit}}"))
            .run()
            .await?;
        match asked.code {
            Some(0) => CommitId::from_output(action, &asked.stdout).map(Some),
            Some(1) => Ok(None),
            _ => Err(asked.into_error()),
        }
    }
}

/// One line of `ls-tree --long`.
#[derive(Debug, Clone)]
pub(crate) struct TreeEntry {
    pub(crate) mode: String,
    pub(crate) id: BlobId,
    /// Of a blob, in bytes; 0 for anything else.
    pub(crate) size: u64,
    pub(crate) path: Vec<u8>,
}

impl TreeEntry {
    /// `<mode> <type> <id> <padded size>\t<path>`
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (fields, path) = line.split_at(tab);
        let fields = std::str::from_utf8(fields).ok()?;
        let mut fields = fields.split_ascii_whitespace();
        let (mode, _kind, id) = (fields.next()?, fields.next()?, fields.next()?);
        let size = fields.next().and_then(|size| size.parse().ok()).unwrap_or(0);
        let id = BlobId::new(id).ok()?;
        Some(Self { mode: mode.to_owned(), id, size, path: path[1..].to_vec() })
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.mode.as_str(), "100644" | "100755" | "100664")
    }

    pub(crate) fn is_submodule(&self) -> bool {
        self.mode == "160000"
    }
}

#[cfg(test)]
mod tests {
    use super::usable_version;

    #[test]
    fn versions() {
        let check = |output: &str, expected: Option<bool>| {
            assert_eq!(usable_version(output).map(|version| version.is_ok()), expected, "{output}");
        };
        check("git version 2.39.5\n", Some(true));
        check("git version 2.50.1 (Apple Git-155)", Some(true));
        check("git version 3.0.rc1", Some(true));
        check("git version 2.37.9", Some(false));
        check("git version 1.99.0", Some(false));
        check("git version next", None);
        check("hub version 2.39", None);
    }
}
