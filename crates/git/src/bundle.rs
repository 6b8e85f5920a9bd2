//! Results on their way from a worker to the repository.
//!
//! A bundle arrives from a process that is not trusted. We read its short text
//! header ourselves and hand the pack that follows to `index-pack`, which checks
//! every object and that nothing is missing; fetching from a bundle skips those
//! checks in several versions of git.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use crate::beneath;
use crate::command::{Git, blocking};
use crate::names::ObjectFormat;
use crate::snapshot::RESULT_BRANCH;
use crate::{CommitId, Error, RefName, Repository, Snapshot};

const WRITING: &str = "writing a bundle to";
const READING: &str = "reading the bundle";
const HEADER_BYTES: u64 = 16 * 1024;

impl Snapshot {
    /// Writes the commit, without the history it stands on, to `path`. The file
    /// appears there whole and durable, or not at all.
    ///
    /// # Errors
    /// [`Error::NothingToBundle`] when the snapshot is empty.
    pub async fn bundle(&self, path: &Path) -> Result<(), Error> {
        if self.is_empty() {
            return Err(Error::NothingToBundle);
        }
        let (parent, partial) = beside(path)?;
        Git::isolated("writing a bundle", &self.repository)?
            .args(["bundle", "create", "--quiet"])
            .arg(&partial)
            .arg(RESULT_BRANCH)
            .arg(format!("^{}", self.base))
            .output()
            .await?;
        let path = path.to_owned();
        blocking(WRITING, move || {
            File::open(&partial)
                .and_then(|file| file.sync_all())
                .and_then(|()| fs::rename(&partial, &path))
                .and_then(|()| File::open(&parent)?.sync_all())
                .map_err(|e| Error::io(WRITING, &path, e))
        })
        .await
    }
}

/// The directory of `path`, and a name in it for the unfinished file.
fn beside(path: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let absolute = std::path::absolute(path).map_err(|e| Error::io(WRITING, path, e))?;
    let parent = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let mut name = absolute.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = parent.join(name);
    Ok((parent, partial))
}

impl Repository {
    /// Takes over the one commit in the bundle at `path`, which must stand
    /// directly on `expect_base`, and makes `name` point at it. Doing it again is
    /// success.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above `limit` bytes; [`Error::InvalidBundle`] for
    /// anything in it that should not be, and not for what the machine did; [`Error::RefMoved`] when `name` exists and
    /// points elsewhere.
    pub async fn import_bundle(
        &self,
        path: &Path,
        expect_base: &CommitId,
        name: &RefName,
        limit: u64,
    ) -> Result<CommitId, Error> {
        let (owned, format) = (path.to_owned(), self.format);
        let (header, pack) = blocking(READING, move || {
            let mut file = open(&owned, limit)?;
            let header = Header::read(&mut file, &owned, format)?;
            Ok((header, file))
        })
        .await?;
        let refused = |reason: String| Error::InvalidBundle { path: path.to_owned(), reason };
        if header.base != *expect_base {
            return Err(refused(format!("it stands on {}, not on {expect_base}", header.base)));
        }
        let indexed = self
            .isolated("checking a bundle's objects")?
            .reads_untrusted_objects()
            .args(["index-pack", "--stdin", "--fix-thin", "--strict"])
            .arg(format!("--max-input-size={limit}"))
            .stdin(pack)
            .run()
            .await?;
        if indexed.code != Some(0) {
            return Err(match indexed.into_error() {
                Error::Git { stderr, code: Some(_), .. } if !is_of_the_machine(&stderr) => {
                    refused(stderr)
                }
                error => error,
            });
        }
        let action = "reading a bundle's commit";
        let line = self
            .isolated(action)?
            .args(["rev-list", "--parents", "--no-walk", header.commit.as_str(), "--"])
            .output()
            .await?;
        let expected = format!("{} {expect_base}", header.commit);
        if line.trim_ascii() != expected.as_bytes() {
            return Err(refused("its commit's parent is not its base".to_owned()));
        }
        self.create_ref(name, &header.commit).await?;
        Ok(header.commit)
    }
}

/// Whether git failed for want of something that no bundle can be blamed for.
fn is_of_the_machine(stderr: &str) -> bool {
    let words = [
        "Input/output error",
        "Cannot allocate memory",
        "Out of memory",
        "out of memory",
        "Too many open files",
        "Resource temporarily unavailable",
        "unable to create thread",
        "unable to create temporary file",
    ];
    words.iter().any(|words| stderr.contains(words))
}

fn open(path: &Path, limit: u64) -> Result<File, Error> {
    let failed = |errno: nix::errno::Errno| Error::io(READING, path, errno);
    let absolute = std::path::absolute(path).map_err(|e| Error::io(READING, path, e))?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(failed(nix::errno::Errno::EISDIR));
    };
    let parent = beneath::open_root(parent).map_err(failed)?;
    let file = beneath::open_file(parent.as_fd(), name.as_encoded_bytes()).map_err(failed)?;
    let Some(file) = file else {
        let reason = "it is not a regular file".to_owned();
        return Err(Error::InvalidBundle { path: path.to_owned(), reason });
    };
    let size = file.metadata().map_err(|e| Error::io(READING, path, e))?.len();
    if size > limit {
        let (what, path) = ("size in bytes", path.to_owned());
        return Err(Error::TooLarge { what, path, size, limit });
    }
    Ok(file)
}

/// What comes before the pack: one base and one branch.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    base: CommitId,
    commit: CommitId,
}

impl Header {
    /// Leaves `file` at the first byte of the pack.
    fn read(file: &mut File, path: &Path, format: ObjectFormat) -> Result<Self, Error> {
        let mut head = Vec::new();
        file.take(HEADER_BYTES).read_to_end(&mut head).map_err(|e| Error::io(READING, path, e))?;
        let (header, length) = Self::parse(&head, format).map_err(|reason| {
            Error::InvalidBundle { path: path.to_owned(), reason: reason.to_owned() }
        })?;
        file.seek(SeekFrom::Start(length)).map_err(|e| Error::io(READING, path, e))?;
        Ok(header)
    }

    fn parse(head: &[u8], format: ObjectFormat) -> Result<(Self, u64), &'static str> {
        let end = head.windows(2).position(|two| two == b"\n\n").ok_or("it has no header")?;
        // The first comment line may hold bytes of any encoding.
        let text = String::from_utf8_lossy(&head[..end]);
        let mut lines = text.lines();
        match lines.next() {
            Some("# v2 git bundle" | "# v3 git bundle") => {}
            _ => return Err("it is not a git bundle"),
        }
        let (mut bases, mut commits) = (Vec::new(), Vec::new());
        for line in lines {
            if let Some(capability) = line.strip_prefix('@') {
                let expected = match format {
                    ObjectFormat::Sha1 => "object-format=sha1",
                    ObjectFormat::Sha256 => "object-format=sha256",
                };
                if capability != expected {
                    return Err("it needs a capability that the repository has not");
                }
            } else if let Some(base) = line.strip_prefix('-') {
                bases.push(base.split(' ').next().unwrap_or_default());
            } else {
                commits.push(line.split(' ').next().unwrap_or_default());
            }
        }
        let ([base], [commit]) = (bases.as_slice(), commits.as_slice()) else {
            return Err("it does not hold exactly one branch on exactly one base");
        };
        let id = |text: &str| CommitId::new(text).map_err(|_| "it names an invalid commit id");
        Ok((Self { base: id(base)?, commit: id(commit)? }, end as u64 + 2))
    }
}

#[cfg(test)]
mod tests {
    use super::Header;
    use crate::ObjectFormat;

    #[test]
    fn headers() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let parse = |text: &str| Header::parse(text.as_bytes(), ObjectFormat::Sha1);
        let good = format!("# v2 git bundle\n-{a} subject of it\n{b} refs/heads/x\n\nPACK");
        let (header, offset) = parse(&good).unwrap();
        assert_eq!((header.base.as_str(), header.commit.as_str()), (a.as_str(), b.as_str()));
        assert_eq!(&good.as_bytes()[usize::try_from(offset).unwrap()..], b"PACK");
        for bad in [
            String::new(),
            "PACK".to_owned(),
            format!("# v9 git bundle\n-{a}\n{b} refs/heads/x\n\n"),
            format!("# v2 git bundle\n{b} refs/heads/x\n\n"),
            format!("# v2 git bundle\n-{a} s\n-{b} s\n{b} refs/heads/x\n\n"),
            format!("# v2 git bundle\n-{a} s\n{b} refs/heads/x\n{b} refs/heads/y\n\n"),
            format!("# v2 git bundle\n-{a} s\n--all refs/heads/x\n\n"),
            format!("# v3 git bundle\n@filter=blob:none\n-{a} s\n{b} refs/heads/x\n\n"),
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
