//! The file that remembers up to which record everything is acknowledged. It is not synced: a
//! stale one only makes records be sent twice.
//!
//! It is overwritten in place, since it is written often and a new file each time costs more than
//! what it is about. The number stands there twice, so that a write that a power failure tore is
//! seen, and never taken for a higher number.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::SEQ_MAX;

const NAME: &str = "acknowledged";

/// The watermark; `None` when there is none that can be read.
pub(super) fn read(dir: &Path) -> Option<u64> {
    let text = fs::read_to_string(dir.join(NAME)).ok()?;
    let (seq, again) = text.strip_suffix('\n')?.split_once(' ')?;
    (seq == again).then(|| seq.parse().ok()).flatten().filter(|seq| *seq < SEQ_MAX)
}

/// Replaces the watermark.
pub(super) fn write(dir: &Path, seq: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(dir.join(NAME));
    // Always of the same length, and in one piece.
    file?.write_all(format!("{seq:020} {seq:020}\n").as_bytes())
}
