//! Making a git directory of ours from scratch.
//!
//! Written file by file (the layout is documented in gitrepository-layout) rather
//! than by `git init` and `git clone`: it saves two processes for every attempt,
//! and no template or configuration of the host can add anything to it.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::names::ObjectFormat;
use crate::{CommitId, Error, Identity, RefName};

const CREATING: &str = "creating a private repository at";

/// Content is checked out and compared byte for byte: no line-end conversion, no
/// filter, no keyword, whatever the tree's own attribute files ask for.
const RAW_ATTRIBUTES: &str = "* -text -crlf -filter -ident -working-tree-encoding\n";

#[derive(Debug)]
pub(crate) struct GitDir<'a> {
    pub(crate) format: ObjectFormat,
    pub(crate) bare: bool,
    pub(crate) identity: Option<&'a Identity>,
    /// Object directories to read from, beside its own.
    pub(crate) alternates: &'a [&'a Path],
    /// The checked-out branch and where it is; `None` for a branch yet to be born.
    pub(crate) head: (&'a RefName, Option<&'a CommitId>),
    /// The `shallow` file of the repository that the history comes from.
    pub(crate) shallow: Option<&'a Path>,
}

impl GitDir<'_> {
    /// Writes it to `path`, which must not exist.
    pub(crate) fn create(&self, path: &Path) -> Result<(), Error> {
        for directory in ["", "objects", "objects/info", "objects/pack", "refs", "info"] {
            let directory = path.join(directory);
            fs::create_dir(&directory).map_err(|e| Error::io(CREATING, &directory, e))?;
        }
        let (branch, commit) = self.head;
        write(&path.join("HEAD"), format!("ref: {branch}\n"))?;
        write(&path.join("config"), self.config())?;
        write(&path.join("info/attributes"), RAW_ATTRIBUTES)?;
        write(&path.join("objects/info/alternates"), alternates(self.alternates))?;
        let reference = path.join(branch.as_str());
        let parent = reference.parent().unwrap_or(path);
        fs::create_dir_all(parent).map_err(|e| Error::io(CREATING, parent, e))?;
        if let Some(commit) = commit {
            write(&reference, format!("{commit}\n"))?;
        }
        if let Some(shallow) = self.shallow.filter(|shallow| shallow.is_file()) {
            let to = path.join("shallow");
            fs::copy(shallow, &to).map_err(|e| Error::io(CREATING, &to, e))?;
        }
        Ok(())
    }

    fn config(&self) -> String {
        let (version, extension) = match self.format {
            ObjectFormat::Sha1 => (0, ""),
            ObjectFormat::Sha256 => (1, "[extensions]\n\tobjectFormat = sha256\n"),
        };
        let user = self.identity.map(user_section).unwrap_or_default();
        let bare = self.bare;
        format!(
            "[core]\n\trepositoryFormatVersion = {version}\n\tfileMode = true\n\tbare = {bare}\n\
             \tlogAllRefUpdates = true\n\tautocrlf = false\n\thooksPath = /dev/null\n\
             [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[commit]\n\tgpgSign = false\n\
             {extension}{user}"
        )
    }
}

fn user_section(identity: &Identity) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let (name, email) = (quoted(identity.name()), quoted(identity.email()));
    format!("[user]\n\tname = \"{name}\"\n\temail = \"{email}\"\n")
}

/// One path a line; quoted when git would read it as anything but a path.
fn alternates(directories: &[&Path]) -> Vec<u8> {
    let mut lines = Vec::new();
    for directory in directories {
        let bytes = directory.as_os_str().as_bytes();
        let plain =
            !bytes.contains(&b'\n') && !bytes.starts_with(b"\"") && !bytes.starts_with(b"#");
        if plain {
            lines.extend_from_slice(bytes);
        } else {
            lines.extend(quoted(bytes));
        }
        lines.push(b'\n');
    }
    lines
}

/// Quotes a path as git's stream formats take it.
pub(crate) fn quoted(path: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            0x20..=0x7e => text.push(*byte),
            _ => text.extend(format!("\\{byte:03o}").into_bytes()),
        }
    }
    text.push(b'"');
    text
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    fs::write(path, content).map_err(|e| Error::io(CREATING, path, e))
}
