//! The file that remembers up to which record everything is acknowledged. It is not synced: a
//! stale one only makes records be sent twice.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::SEQ_MAX;

const NAME: &str = "acknowledged";

/// The watermark; `None` when there is none that can be read.
pub(super) fn read(dir: &Path) -> Option<u64> {
    let text = fs::read_to_string(dir.join(NAME)).ok()?;
    // A file that was cut short has no line end.
    text.strip_suffix('\n')?.parse().ok().filter(|seq| *seq < SEQ_MAX)
}

/// Replaces the watermark as a whole.
pub(super) fn write(dir: &Path, seq: u64) -> io::Result<()> {
    let new = dir.join("acknowledged.new");
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{seq}")?;
    fs::rename(&new, dir.join(NAME))
}
