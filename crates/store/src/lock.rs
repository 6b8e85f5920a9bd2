//! The lock that only one leader of a store can hold.
//!
//! Advisory, on a file beside the database: it ends with the process, however that ends, and says
//! who holds it. It guards against mistakes; what makes a second writer harmless is the term that
//! every commit asserts.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Site};

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    // Closing the file gives the lock back.
    _file: File,
}

impl Lock {
    /// Takes the lock of the store at `database`.
    pub(crate) fn acquire(database: &Path) -> Result<Self, Error> {
        let path = beside(database, ".lock");
        let site = Site { path: &path, doing: "taking the lock of the store" };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| site.io(error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { path: database.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(site.io(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|error| site.io(error))?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    // The holder may be writing it at this moment; who it is only helps the message.
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// A file that lies beside `path` and is named after it.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
