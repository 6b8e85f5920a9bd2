//! A segment file: consecutive records behind a magic number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use super::{Error, SEQ_MAX, failed};

const MAGIC: [u8; 8] = *b"kspool\x00\x01";
const SUFFIX: &str = ".seg";
const CHECKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// What a record takes besides its payload: length and checksum (4 bytes each), number (8).
pub(super) const RECORD_OVERHEAD: u64 = 16;

/// A file of records.
#[derive(Debug)]
pub(super) struct Segment {
    /// The number of its first record, present or to come.
    pub(super) first: u64,
    pub(super) path: PathBuf,
    /// Bytes that are whole records, and the magic number.
    pub(super) length: u64,
    file: Arc<File>,
    /// Where each record begins.
    offsets: Vec<u64>,
}

/// The first numbers of the segments in `dir`, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let number = number.and_then(|number| number.parse().ok());
        names.extend(number.filter(|number| (1..=SEQ_MAX).contains(number)));
    }
    names.sort_unstable();
    Ok(names)
}

fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{SUFFIX}"))
}

impl Segment {
    /// A new one, which must not exist.
    pub(super) fn create(dir: &Path, first: u64) -> Result<Self, Error> {
        let path = path(dir, first);
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("creating", &path))?;
        let file = Arc::new(file);
        let mut segment = Self { first, path, length: 0, file, offsets: Vec::new() };
        if let Err(source) = segment.begin() {
            // Without its magic number it would be in the way of the next attempt.
            fs::remove_file(&segment.path).ok();
            return Err(failed("creating", &segment.path)(source));
        }
        Ok(segment)
    }

    /// An existing one, and how many bytes behind its last whole record were cut off. Only the
    /// last segment can have been torn by a crash, and only that one is cut.
    pub(super) fn open(dir: &Path, first: u64, is_last: bool) -> Result<(Self, u64), Error> {
        let path = path(dir, first);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&path)
            .map_err(failed("opening", &path))?;
        let found = file.metadata().map_err(failed("examining", &path))?.len();
        let file = Arc::new(file);
        let mut segment = Self { first, path, length: 0, file, offsets: Vec::new() };
        segment.scan(found)?;
        let torn = found - segment.length;
        if !is_last {
            return Ok((segment, 0));
        }
        let repaired = match torn {
            0 => Ok(()),
            _ => segment.cut_to_length(),
        };
        let repaired =
            repaired.and_then(|()| if segment.length == 0 { segment.begin() } else { Ok(()) });
        repaired.map_err(failed("repairing", &segment.path))?;
        Ok((segment, torn))
    }

    /// Writes the magic number.
    fn begin(&mut self) -> io::Result<()> {
        (&*self.file).write_all(&MAGIC)?;
        self.length = MAGIC.len() as u64;
        Ok(())
    }

    /// Finds the whole records of a file with `found` bytes.
    fn scan(&mut self, found: u64) -> Result<(), Error> {
        let path = &self.path;
        let mut reader = BufReader::with_capacity(1 << 16, &*self.file);
        let mut magic = Vec::new();
        reader
            .by_ref()
            .take(MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .map_err(failed("reading", path))?;
        if magic.len() < MAGIC.len() && MAGIC.starts_with(&magic) {
            return Ok(());
        }
        if magic != MAGIC {
            return Err(Error::NoSegment { path: path.clone() });
        }
        self.length = MAGIC.len() as u64;
        let mut payload = Vec::new();
        loop {
            let seq = self.first + self.offsets.len() as u64;
            let room = found.saturating_sub(self.length);
            let whole = read_record(&mut reader, seq, room, &mut payload);
            if !whole.map_err(failed("reading", path))? {
                return Ok(());
            }
            self.offsets.push(self.length);
            self.length += RECORD_OVERHEAD + payload.len() as u64;
        }
    }

    pub(super) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let seq = self.first + self.offsets.len() as u64;
        let mut record = Vec::with_capacity(payload.len() + 16);
        // The caller has checked the length against a limit of 32 bits.
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&checksum(length, seq, payload).to_le_bytes());
        record.extend_from_slice(&seq.to_le_bytes());
        record.extend_from_slice(payload);
        (&*self.file).write_all(&record)?;
        self.offsets.push(self.length);
        self.length += record.len() as u64;
        Ok(())
    }

    /// Removes what a failed write may have left behind the last record.
    pub(super) fn cut_to_length(&self) -> io::Result<()> {
        self.file.set_len(self.length)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes to another file from now on.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = Arc::new(file);
    }

    /// Its file, to be synced by somebody else.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The number of its last record; that before its first while it is empty.
    pub(super) fn last(&self) -> u64 {
        self.first + self.offsets.len() as u64 - 1
    }

    /// What its records with higher numbers than `seq` take.
    pub(super) fn bytes_after(&self, seq: u64) -> u64 {
        let index = usize::try_from((seq + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.offsets.get(index).map_or(0, |offset| self.length - offset)
    }

    /// The length of a record's payload; 0 for one that is not here.
    pub(super) fn payload_bytes(&self, seq: u64) -> usize {
        self.range(seq).map_or(0, |(begin, end)| {
            usize::try_from((end - begin).saturating_sub(RECORD_OVERHEAD)).unwrap_or(usize::MAX)
        })
    }

    /// A record's payload.
    pub(super) fn read(&self, seq: u64) -> Result<Vec<u8>, Error> {
        let corrupt = || Error::Corrupt { seq, path: self.path.clone() };
        let (begin, end) = self.range(seq).ok_or_else(corrupt)?;
        let mut record = vec![0; usize::try_from(end - begin).map_err(|_| corrupt())?];
        self.file.read_exact_at(&mut record, begin).map_err(failed("reading", &self.path))?;
        let (header, payload) = record.split_first_chunk().ok_or_else(corrupt)?;
        let is_whole = Header::parse(header).describes(seq, payload);
        is_whole.then(|| payload.to_vec()).ok_or_else(corrupt)
    }

    fn range(&self, seq: u64) -> Option<(u64, u64)> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        let begin = *self.offsets.get(index)?;
        Some((begin, self.offsets.get(index + 1).copied().unwrap_or(self.length)))
    }
}

struct Header {
    length: u32,
    checksum: u32,
    seq: u64,
}

impl Header {
    fn parse(bytes: &[u8; 16]) -> Self {
        let [l0, l1, l2, l3, c0, c1, c2, c3, seq @ ..] = *bytes;
        Self {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
            seq: u64::from_le_bytes(seq),
        }
    }

    fn describes(&self, seq: u64, payload: &[u8]) -> bool {
        self.seq == seq
            && usize::try_from(self.length) == Ok(payload.len())
            && self.checksum == checksum(self.length, seq, payload)
    }
}

fn checksum(length: u32, seq: u64, payload: &[u8]) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(&length.to_le_bytes());
    digest.update(&seq.to_le_bytes());
    digest.update(payload);
    digest.finalize()
}

/// Reads the next record into `payload`; whether there is a whole one with this number within the
/// `room` bytes that are left of the file.
fn read_record(
    reader: &mut impl io::Read,
    seq: u64,
    room: u64,
    payload: &mut Vec<u8>,
) -> io::Result<bool> {
    payload.clear();
    if room < RECORD_OVERHEAD {
        return Ok(false);
    }
    let mut header = [0; 16];
    reader.read_exact(&mut header)?;
    let header = Header::parse(&header);
    // Before memory is taken for a length that may be garbage.
    if header.seq != seq || u64::from(header.length) > room - RECORD_OVERHEAD {
        return Ok(false);
    }
    reader.take(u64::from(header.length)).read_to_end(payload)?;
    Ok(header.describes(seq, payload))
}
