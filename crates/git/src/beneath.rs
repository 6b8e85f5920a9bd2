//! Looking into directories that somebody else wrote, without being led out of
//! them: every step is taken from an open directory and never through a link, so
//! not even a process that outlived its agent can redirect us.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat};

/// What a directory entry is, as its inode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File {
        executable: bool,
        size: u64,
    },
    Symlink,
    Directory,
    /// FIFO, socket or device.
    Special,
}

pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Opens a directory by a path that is ours and may be trusted.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, directory_flags(), Mode::empty())
}

pub(crate) fn open_directory(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat(at, name, directory_flags(), Mode::empty())
}

/// Opens a regular file for reading; anything else is `None`. Never blocks on a
/// FIFO and never follows a link.
pub(crate) fn open_file(at: BorrowedFd<'_>, name: &[u8]) -> Result<Option<File>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = match openat(at, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        // A link, and a socket or a device without driver.
        Err(Errno::ELOOP | Errno::EMLINK | Errno::ENXIO | Errno::ENODEV) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&fd)?;
    Ok(matches!(kind_of(&stat), Kind::File { .. }).then(|| File::from(fd)))
}

/// As [`open_file`], also when the file's owner took its own permission away.
pub(crate) fn open_readable(at: BorrowedFd<'_>, name: &[u8]) -> Result<Option<File>, Errno> {
    permitted(at, name, || open_file(at, name))
}

/// As [`open_readable`], for a relative path with `/` between its parts.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<File>, Errno> {
    let (at, name) = open_parent(root, path)?;
    open_readable(at.as_fd(), name)
}

/// As [`open_directory`], also when its owner took its own permission away.
pub(crate) fn enter_directory(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    permitted(at, name, || open_directory(at, name))
}

fn permitted<T>(
    at: BorrowedFd<'_>,
    name: &[u8],
    open: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match open() {
        Err(Errno::EACCES) => {
            let stat = fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let mode = Mode::from_bits_truncate(stat.st_mode);
            let more = match kind_of(&stat) {
                Kind::Directory => Mode::S_IRWXU,
                Kind::File { .. } | Kind::Symlink | Kind::Special => Mode::S_IRUSR,
            };
            fchmodat(at, name, mode | more, FchmodatFlags::NoFollowSymlink)?;
            open()
        }
        opened => opened,
    }
}

/// The whole content of a regular file of at most `limit` bytes, or `None` when
/// there is no such thing.
pub(crate) fn read_small(at: BorrowedFd<'_>, name: &[u8], limit: u64) -> Option<Vec<u8>> {
    let file = open_file(at, name).ok()??;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= limit).then_some(content)
}

/// Opens the directory that holds `path`, a relative path with `/` between its
/// parts, and gives the last part.
pub(crate) fn open_parent<'p>(
    root: BorrowedFd<'_>,
    path: &'p [u8],
) -> Result<(OwnedFd, &'p [u8]), Errno> {
    let mut parts = path.split(|byte| *byte == b'/');
    let name = parts.next_back().unwrap_or(path);
    let mut at = root.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
    for part in parts {
        at = open_directory(at.as_fd(), part)?;
    }
    Ok((at, name))
}

/// What is at `name`, or `None` when nothing is.
pub(crate) fn kind_at(at: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Kind>, Errno> {
    match fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(kind_of(&stat))),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// When the inode at `name` was last changed in any way, by the kernel's own clock.
pub(crate) fn changed_at(at: BorrowedFd<'_>, name: &[u8]) -> Result<(i64, i64), Errno> {
    let stat = fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok((stat.st_ctime, stat.st_ctime_nsec))
}

pub(crate) fn link_target(at: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    Ok(readlinkat(at, name)?.into_vec())
}

/// The names in a directory, without `.` and `..`, in byte order.
pub(crate) fn names(directory: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut dir = Dir::openat(directory, ".", directory_flags(), Mode::empty())?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn kind_of(stat: &FileStat) -> Kind {
    let format = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    if format == SFlag::S_IFREG {
        Kind::File {
            executable: stat.st_mode & Mode::S_IXUSR.bits() != 0,
            size: u64::try_from(stat.st_size).unwrap_or(0),
        }
    } else if format == SFlag::S_IFLNK {
        Kind::Symlink
    } else if format == SFlag::S_IFDIR {
        Kind::Directory
    } else {
        Kind::Special
    }
}
