//! What the agent asked git to track beyond the base commit, by its index read as a plain file.
//!
//! Only the paths count: they say which ignored files are meant to be part of the work. What is in
//! those files comes from the tree, as everything else does; object names and modes are passed over.
//! An index that ends early, or is of a kind not known here, gives the paths up to there.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::os::fd::AsFd as _;

use super::scan::Files;
use crate::Workspace;
use crate::beneath;
use crate::names::ObjectFormat;

const INDEX_BYTES: u64 = 64 * 1024 * 1024;
/// Of one path; longer ones can't be opened.
const PATH_BYTES: usize = 4096;
/// Of all paths together that are new: prefix compression makes much of little.
const NEW_BYTES: usize = 16 * 1024 * 1024;

/// Of an entry before its object's name: times, device, inode, mode, owner, size.
const STAT_BYTES: usize = 40;
/// Of the flags behind the object's name, and of those behind them if `EXTENDED` is set.
const FLAG_BYTES: usize = 2;
const EXTENDED: u8 = 0x40;

/// Paths in byte order.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeSet<Vec<u8>>);

impl Paths {
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.0.contains(path)
    }

    pub(super) fn any_beneath(&self, prefix: &[u8]) -> bool {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.0.range::<[u8], _>(from).next().is_some_and(|path| path.starts_with(prefix))
    }
}

/// The paths in the agent's index that `base` doesn't have.
pub(super) fn added(workspace: &Workspace, base: &Files, format: ObjectFormat) -> Paths {
    let read = || {
        let git_dir = beneath::open_root(&workspace.git_dir).ok()?;
        beneath::read_small(git_dir.as_fd(), b"index", INDEX_BYTES)
    };
    let mut added = BTreeSet::new();
    let mut bytes = 0;
    if let Some(index) = read() {
        each_path(&index, format, |path| {
            if !base.contains_key(path) {
                bytes += path.len();
                added.insert(path.to_vec());
            }
            bytes <= NEW_BYTES
        });
    }
    Paths(added)
}

/// Gives every path to `visit` until that has enough. `None` when the index is not understood from
/// some place on.
fn each_path(
    index: &[u8],
    format: ObjectFormat,
    mut visit: impl FnMut(&[u8]) -> bool,
) -> Option<()> {
    let rest = index.strip_prefix(b"DIRC")?;
    let (version, rest) = number(rest)?;
    let (count, mut rest) = number(rest)?;
    if !(2..=4).contains(&version) {
        return None;
    }
    let mut path = Vec::new();
    for _ in 0..count {
        let entry = rest;
        rest = rest.get(STAT_BYTES + format.hex_len() / 2..)?;
        let extended = version > 2 && rest.first()? & EXTENDED != 0;
        rest = rest.get(if extended { 2 * FLAG_BYTES } else { FLAG_BYTES }..)?;
        if version == 4 {
            let (dropped, after) = offset(rest)?;
            path.truncate(path.len().checked_sub(dropped)?);
            rest = after;
        } else {
            path.clear();
        }
        // Within what one path may take, so that no hostile length is searched through.
        let name = rest.get(..rest.len().min(PATH_BYTES))?;
        let length = name.iter().position(|byte| *byte == 0)?;
        path.extend_from_slice(&name[..length]);
        rest = &rest[length + 1..];
        if version < 4 {
            // Each entry takes a multiple of eight bytes, with at least one zero at its end.
            let taken = entry.len() - rest.len();
            rest = rest.get(taken.next_multiple_of(8) - taken..)?;
        }
        if path.len() > PATH_BYTES || !visit(&path) {
            return None;
        }
    }
    Some(())
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// A number as packs have it: seven bits a byte, each but the last counting one more.
fn offset(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (position, byte) in bytes.iter().enumerate() {
        value = value.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[position + 1..]));
        }
        value = value.checked_add(1)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths(index: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let _ = each_path(index, ObjectFormat::Sha1, |path| {
            found.push(path.to_vec());
            true
        });
        found
    }

    fn head(version: u32, count: u32) -> Vec<u8> {
        [b"DIRC".as_slice(), &version.to_be_bytes(), &count.to_be_bytes()].concat()
    }

    /// An entry up to its path, all zero.
    const FIXED: [u8; STAT_BYTES + 20 + FLAG_BYTES] = [0; STAT_BYTES + 20 + FLAG_BYTES];

    #[test]
    fn what_breaks_off_gives_what_came_before() {
        let index = [head(2, 9).as_slice(), &FIXED, b"a\0", &FIXED, b"half"].concat();
        assert_eq!(paths(&index), [b"a"]);
    }

    #[test]
    fn a_path_never_drops_more_than_there_is() {
        let index = [head(4, 2).as_slice(), &FIXED, b"\0ab\0", &FIXED, b"\x03c\0"].concat();
        assert_eq!(paths(&index), [b"ab"]);
    }

    proptest! {
        #[test]
        fn no_index_is_a_danger(version in 1_u32..6, count in any::<u32>(), rest in any::<Vec<u8>>()) {
            let _ = paths(&[head(version, count), rest].concat());
        }
    }
}
