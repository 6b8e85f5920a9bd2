//! Deleting a directory tree that somebody else wrote.
//!
//! Works without recursion: a directory found inside another is first moved up to
//! the root of the tree, so a tree of any depth needs three open descriptors.
//! Links are removed and never followed; directories without permissions are
//! given some first.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::Error;
use crate::beneath;
use crate::command::blocking;

const REMOVING: &str = "removing";

/// Removes whatever is at `path`: a whole tree, a file, a link (not its target).
/// Nothing being there is success.
///
/// # Errors
/// [`Error::Io`] and its relatives for a mount point inside, a file that belongs
/// to another user and the like.
pub async fn remove_tree(path: &Path) -> Result<(), Error> {
    let path = path.to_owned();
    blocking(REMOVING, move || remove_tree_blocking(&path)).await
}

pub(crate) fn remove_tree_blocking(path: &Path) -> Result<(), Error> {
    let failed = |source: io::Error| Error::io(REMOVING, path, source);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.is_dir() {
        return fs::remove_file(path).map_err(failed);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::Error::from(io::ErrorKind::InvalidInput)));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = fs::File::open(parent).map_err(failed)?;
    let name = name.as_encoded_bytes();
    empty(parent.as_fd(), name)
        .and_then(|()| unlinkat(&parent, name, UnlinkatFlags::RemoveDir))
        .map_err(|errno| failed(errno.into()))
}

/// Empties the directory `name`.
fn empty(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let root = open_for_change(parent, name)?;
    let mut moved = 0_u64;
    loop {
        let entries = beneath::names(root.as_fd())?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            if !unlink_unless_directory(root.as_fd(), &entry)? {
                flatten(root.as_fd(), &entry, &mut moved)?;
                unlinkat(&root, entry.as_slice(), UnlinkatFlags::RemoveDir)?;
            }
        }
    }
}

/// Unlinks the files in a child of `root` and moves its directories to `root`.
fn flatten(root: BorrowedFd<'_>, child: &[u8], moved: &mut u64) -> Result<(), Errno> {
    let directory = open_for_change(root, child)?;
    for entry in beneath::names(directory.as_fd())? {
        if unlink_unless_directory(directory.as_fd(), &entry)? {
            continue;
        }
        // Moving a directory changes its `..`, which needs write permission on it.
        drop(open_for_change(directory.as_fd(), &entry)?);
        let target = loop {
            *moved += 1;
            let name = format!(".removing-{moved}");
            if beneath::kind_at(root, name.as_bytes())?.is_none() {
                break name;
            }
        };
        renameat(&directory, entry.as_slice(), root, target.as_str())?;
    }
    Ok(())
}

fn unlink_unless_directory(at: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match beneath::kind_at(at, name)? {
        Some(beneath::Kind::Directory) => Ok(false),
        Some(_) => unlinkat(at, name, UnlinkatFlags::NoRemoveDir).map(|()| true),
        None => Ok(true),
    }
}

fn open_for_change(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    // Refused for a directory that the sandbox's user owns; then opening decides.
    let _ = fchmodat(at, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink);
    beneath::open_directory(at, name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::sys::stat::Mode;

    use super::{remove_tree, remove_tree_blocking};

    #[tokio::test]
    async fn removes_hostile_trees_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "x").unwrap();

        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir_all(tree.join(".removing-1/x")).unwrap();
        fs::write(tree.join("a/b/c/file"), "x").unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink("/nonexistent", tree.join("dangling")).unwrap();
        nix::unistd::mkfifo(&tree.join("a/fifo"), Mode::S_IRWXU).unwrap();
        for locked in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(tree.join(locked), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&tree).await.unwrap();
        assert!(!tree.exists());

        let link = dir.path().join("link");
        symlink(&outside, &link).unwrap();
        remove_tree(&link).await.unwrap();
        assert!(fs::symlink_metadata(&link).is_err());
        assert_eq!(fs::read_to_string(outside.join("keep")).unwrap(), "x");
        remove_tree(&dir.path().join("missing")).await.unwrap();
    }

    #[test]
    fn depth_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut at = fs::File::open(&tree).unwrap();
        for _ in 0..2_000 {
            nix::sys::stat::mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
            at =
                super::beneath::open_directory(std::os::fd::AsFd::as_fd(&at), b"d").unwrap().into();
        }
        remove_tree_blocking(&tree).unwrap();
        assert!(!tree.exists());
    }
}
