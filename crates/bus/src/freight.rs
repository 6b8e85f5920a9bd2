//! What is carried as blobs, and how it is named: a project's history on its way to workers, and
//! results and work in progress on their way back.
//!
//! The history is a chain of packs, each of which adds commits to those before it. An index names
//! them in order, so that a worker asks for what it lacks by name and lists nothing. What is in a
//! pack, and who trusts it, is not decided here.

use std::fmt;
use std::str::FromStr;

use crate::blob::{Blob, BlobError, BlobName, Hash};

/// The longest part of a name that comes from a repository's name.
const REPOSITORY_BYTES_MAX: usize = 40;

/// How many packs an index may name; a longer chain is begun anew.
pub const CHAIN_MAX: usize = 64;

/// How the names of blobs begin that hold work in progress.
pub const PROGRESS: &str = "progress-";

/// The largest index that is read.
pub const INDEX_BYTES_MAX: u64 = 64 * 1024;

/// A blob as a report names it: where it is, and what must be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobReference {
    /// Where it is.
    pub name: BlobName,
    /// What must be in it.
    pub hash: Hash,
}

/// The text names no blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no blob")]
pub struct MalformedReference {
    /// As given.
    pub text: String,
}

impl fmt::Display for BlobReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blob:{}:{}", self.name.as_str(), self.hash)
    }
}

impl FromStr for BlobReference {
    type Err = MalformedReference;

    fn from_str(text: &str) -> Result<Self, MalformedReference> {
        let parts = || {
            let (name, hash) = text.strip_prefix("blob:")?.split_once(':')?;
            Some(Self { name: BlobName::new(name).ok()?, hash: Hash::from_hex(hash)? })
        };
        parts().ok_or_else(|| MalformedReference { text: text.to_owned() })
    }
}

/// One pack of a project's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Its place in the chain.
    pub number: u64,
    /// The commit whose history is complete with it.
    pub commit: String,
    /// What must be in it.
    pub hash: Hash,
}

/// The chain of a project's history: the first pack has all of the history before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// The packs, oldest first.
    pub packs: Vec<Pack>,
}

/// The text is no index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the index of a history makes no sense")]
pub struct MalformedIndex {
    /// Which line, from 1.
    pub line: usize,
}

/// What an index begins with.
const MAGIC: &str = "kapelle history 1";

impl Index {
    /// The name of the index of a repository's history.
    ///
    /// # Errors
    /// Never for a name that people give a repository: what can't be part of a name is left out.
    pub fn name(repository: &str) -> Result<BlobName, BlobError> {
        BlobName::new(format!("history-{}-index", plain(repository)))
    }

    /// The name of a pack.
    ///
    /// # Errors
    /// As [`Index::name`].
    pub fn pack_name(repository: &str, number: u64) -> Result<BlobName, BlobError> {
        BlobName::new(format!("history-{}-{number:08}", plain(repository)))
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}")?;
        self.packs
            .iter()
            .try_for_each(|pack| writeln!(f, "{} {} {}", pack.number, pack.commit, pack.hash))
    }
}

impl FromStr for Index {
    type Err = MalformedIndex;

    fn from_str(text: &str) -> Result<Self, MalformedIndex> {
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return Err(MalformedIndex { line: 1 });
        }
        let pack = |line: &str| {
            let mut words = line.split(' ');
            let number = words.next()?.parse().ok()?;
            let (commit, hash) = (words.next()?.to_owned(), Hash::from_hex(words.next()?)?);
            words.next().is_none().then_some(Pack { number, commit, hash })
        };
        let packs: Result<Vec<Pack>, MalformedIndex> = lines
            .enumerate()
            .map(|(at, line)| pack(line).ok_or(MalformedIndex { line: at + 2 }))
            .collect();
        let packs = packs?;
        if packs.len() > CHAIN_MAX {
            return Err(MalformedIndex { line: CHAIN_MAX + 2 });
        }
        Ok(Self { packs })
    }
}

/// Whether what was got is what was promised.
#[must_use]
pub fn is_genuine(blob: &Blob, promised: Hash) -> bool {
    blob.hash == promised
}

/// What of a repository's name may be part of a blob's.
fn plain(repository: &str) -> String {
    let sound = |char: &char| char.is_ascii_alphanumeric();
    repository.chars().filter(sound).take(REPOSITORY_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: &str) -> Hash {
        Hash::from_hex(&digit.repeat(64)).expect("a hash")
    }

    #[test]
    fn references_read_back() {
        let name = BlobName::new("result-r-1-t0-1").expect("a name");
        let reference = BlobReference { name, hash: hash("a") };
        assert_eq!(reference.to_string().parse(), Ok(reference));
        for text in ["", "/a/path.bundle", "blob:", "blob:x:y", "blob:../x:aa", "blob:x"] {
            assert!(text.parse::<BlobReference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn indexes_read_back() {
        let pack = |number| Pack { number, commit: "c".repeat(40), hash: hash("b") };
        let index = Index { packs: vec![pack(3), pack(4)] };
        assert_eq!(index.to_string().parse(), Ok(index));
        assert_eq!(Index::default().to_string().parse(), Ok(Index::default()));
        for text in ["", "x", "kapelle history 2\n", "kapelle history 1\n1 c\n"] {
            assert!(text.parse::<Index>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_plain() {
        let name = Index::pack_name("My Project/ü", 7).expect("a name");
        assert_eq!(name.as_str(), "history-MyProject-00000007");
    }
}
