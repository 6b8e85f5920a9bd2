//! Moving files between machines: bundles of commits and artifacts.
//!
//! A blob is a file under a name, hashed when it is put and checked when it is got. Whoever gets one
//! compares the hash with what it was told by somebody it trusts: a name alone proves nothing. A
//! blob may be lost at any time, as messages may; who needs it later keeps the file.
//!
//! [`Directory`] is for one machine. Over NATS it is [`crate::nats::NatsBlobs`]. What blobs mean, and
//! when they are removed, is decided by who uses them.

mod directory;

use std::fmt;
use std::future::Future;
use std::path::Path;

use sha2::{Digest as _, Sha256};

pub use self::directory::Directory;
pub(crate) use self::directory::{appear, partial};

/// The longest name of a blob.
pub const NAME_BYTES_MAX: usize = 160;

/// A place for blobs.
pub trait BlobStore: Clone + Send + Sync + 'static {
    /// Puts a copy of the file at `from` under `name`. Under a name that is taken already it
    /// replaces what is there.
    ///
    /// # Errors
    /// When it can't be read, is too large, or there is no room.
    fn put(
        &self,
        name: &BlobName,
        from: &Path,
    ) -> impl Future<Output = Result<Blob, BlobError>> + Send;

    /// Writes a copy of what is under `name` to `to`, where nothing may be yet. The file appears
    /// whole or not at all.
    ///
    /// # Errors
    /// When there is none, it is damaged, or it can't be written.
    fn get(
        &self,
        name: &BlobName,
        to: &Path,
    ) -> impl Future<Output = Result<Blob, BlobError>> + Send;

    /// Removes what is under `name`, if there is anything.
    ///
    /// # Errors
    /// When it can't be removed.
    fn delete(&self, name: &BlobName) -> impl Future<Output = Result<(), BlobError>> + Send;

    /// Everything that is there, in no order.
    ///
    /// # Errors
    /// When it can't be listed.
    fn list(&self) -> impl Future<Output = Result<Vec<(BlobName, Blob)>, BlobError>> + Send;
}

/// What is known of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub hash: Hash,
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hashes what passes by.
#[derive(Default)]
pub(crate) struct Hasher(Sha256, u64);

impl Hasher {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        self.1 = self.1.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// How much has passed by.
    pub(crate) fn bytes(&self) -> u64 {
        self.1
    }

    pub(crate) fn finish(self) -> Blob {
        Blob { bytes: self.1, hash: Hash(self.0.finalize().into()) }
    }
}

/// The name of a blob: letters, digits, `.`, `_` and `-`, and it starts with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(String);

impl BlobName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it can't be a file's name on every machine.
    pub fn new(name: impl Into<String>) -> Result<Self, BlobError> {
        let name = name.into();
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_sound = name.len() <= NAME_BYTES_MAX
            && name.bytes().all(sound)
            && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && !name.ends_with('.');
        if is_sound { Ok(Self(name)) } else { Err(BlobError::Name { name }) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a blob could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A name that can't be one.
    #[error(
        "`{name}` can't be the name of a blob: it has 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` or `-`, and starts with a letter or digit"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no blob `{name}`")]
    Missing {
        /// The name.
        name: String,
    },
    /// It is larger than one blob may be.
    #[error("`{name}` has {bytes} bytes; a blob has at most {bytes_max}")]
    TooLarge {
        /// The name.
        name: String,
        /// Its size, as far as it was looked at.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// All blobs together would have more than they may.
    #[error("there is no room for `{name}`: all blobs together have at most {bytes_max} bytes")]
    NoRoom {
        /// The name.
        name: String,
        /// The limit.
        bytes_max: u64,
    },
    /// What is there is not what was put.
    #[error("`{name}` is damaged: it is {got}, and was put as {put}")]
    Damaged {
        /// The name.
        name: String,
        /// What was put.
        put: String,
        /// What is there.
        got: String,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The place where blobs are kept failed.
    #[error("cannot {doing} `{name}`")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// With which blob.
        name: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BlobError {
    /// Whether the same may succeed later with nothing changed here.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Name { .. }
            | Self::Missing { .. }
            | Self::TooLarge { .. }
            | Self::Damaged { .. } => false,
            Self::NoRoom { .. } | Self::File { .. } | Self::Store { .. } => true,
        }
    }

    pub(crate) fn file(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| Self::File { doing, path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for name in ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "ä", "a.", "a\0"] {
            assert!(BlobName::new(name).is_err(), "{name:?}");
        }
        for name in ["a", "r-42-t3-1.bundle", "A_b.c-d"] {
            assert_eq!(BlobName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_hash_reads_back_what_it_shows() {
        let mut hasher = Hasher::default();
        hasher.add(b"abc");
        let blob = hasher.finish();
        assert_eq!(blob.bytes, 3);
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(blob.hash.to_string(), hex);
        assert_eq!(Hash::from_hex(hex), Some(blob.hash));
        for text in ["", "ba", &hex[1..], &format!("{}g", &hex[1..]), &"é".repeat(32)] {
            assert_eq!(Hash::from_hex(text), None, "{text}");
        }
    }
}
