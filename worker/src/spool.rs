//! What the worker has to report and nobody has confirmed yet, on disk.
//!
//! Records are numbered from 1 without gaps and kept until the committed watermark of the
//! coordinator has passed them. They lie in segment files, each named after its first record:
//!
//! ```text
//! 00000000000000000001.seg   magic, then records: length, checksum, number, payload
//! 00000000000000004711.seg   the last segment is the one that is written to
//! acknowledged               the watermark; may be stale after a power failure, never ahead
//! lock                       held while the spool is open
//! ```
//!
//! A crash of the process loses nothing that was appended. A power failure loses at most what was
//! appended after the last [`Spool::sync`], so **send only what `sync` has returned**: otherwise a
//! number may be given twice, and the second record be taken for a repetition of the first.
//!
//! All calls block on the disk; [`Spool::unsynced`] is for those who must not hold the spool as
//! long as a sync takes. The spool knows nothing of what is in the records: [`attempt`] does.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

pub mod attempt;
mod segment;
mod watermark;

use segment::{RECORD_OVERHEAD, Segment};

/// No record has a higher number. A file that names one is damaged.
const SEQ_MAX: u64 = 1 << 62;

/// How much a spool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A segment that has grown to this many bytes is followed by a new one.
    pub segment_bytes: u64,
    /// Records that are not acknowledged may take this many bytes together, their headers
    /// included. The disk holds up to two segments more.
    pub quota_bytes: u64,
    /// A payload may have this many bytes.
    pub record_bytes: u32,
}

impl Default for Limits {
    /// Segments of 4 MiB, 256 MiB in all, 1 MiB for a record.
    fn default() -> Self {
        Self { segment_bytes: 4 << 20, quota_bytes: 256 << 20, record_bytes: 1 << 20 }
    }
}

/// A record that has not been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// What [`Spool::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes at the end that were no whole record and have been cut off: a write that a crash
    /// interrupted.
    pub torn_bytes: u64,
    /// Records that are not acknowledged and cannot be read any more, because the disk has lost
    /// or changed them. Report them as lost; nothing else will.
    pub missing: Vec<RangeInclusive<u64>>,
}

/// An open spool.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    limits: Limits,
    /// Never empty; the last one is written to.
    segments: VecDeque<Segment>,
    acknowledged: u64,
    durable: u64,
    pending_bytes: u64,
    /// The name of the first segment may not survive a power failure yet.
    fresh: bool,
    /// A failed write or sync left the end of the last segment in doubt.
    broken: bool,
    _lock: File,
}

impl Spool {
    /// Opens the spool in `dir`, which is created if it is missing, and repairs what a crash has
    /// left.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, others when the disk refuses.
    pub fn open(dir: &Path, limits: Limits) -> Result<(Self, Recovery), Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("creating the directory", dir))?;
        let lock = lock(dir)?;
        let acknowledged = watermark::read(dir);
        let mut recovery = Recovery::default();
        let mut segments = VecDeque::new();
        let names = segment::list(dir).map_err(failed("listing", dir))?;
        let last = names.last().copied();
        for first in names {
            let (segment, torn) = Segment::open(dir, first, Some(first) == last)?;
            recovery.torn_bytes += torn;
            segments.push_back(segment);
        }
        let begun = segments.front().map_or(1, |segment: &Segment| segment.first);
        let mut spool = Self {
            dir: dir.to_owned(),
            limits,
            segments,
            acknowledged: acknowledged.unwrap_or(0).max(begun - 1),
            durable: 0,
            pending_bytes: 0,
            fresh: false,
            broken: false,
            _lock: lock,
        };
        spool.begin()?;
        recovery.missing = spool.missing();
        Ok((spool, recovery))
    }

    /// Brings the segments that were found into the shape of an open spool.
    fn begin(&mut self) -> Result<(), Error> {
        if self.segments.is_empty() {
            // Nothing is in it that could be lost: the first sync makes its name durable.
            self.segments.push_back(Segment::create(&self.dir, self.acknowledged + 1)?);
            self.durable = self.acknowledged;
            self.fresh = true;
            return Ok(());
        }
        // Records that were acknowledged and then lost with a power failure: their numbers are
        // taken all the same.
        if self.last() < self.acknowledged {
            self.add_segment(self.acknowledged + 1)?;
        }
        self.drop_acknowledged()?;
        // What is there has survived, but maybe only in memory so far.
        self.sync_active()?;
        let pending = |segment: &Segment| segment.bytes_after(self.acknowledged);
        self.pending_bytes = self.segments.iter().map(pending).sum();
        Ok(())
    }

    /// Appends a record and returns its number. It survives a crash of this process from now on,
    /// and a power failure from the next [`sync`](Self::sync) on.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] and [`Error::RecordTooLarge`] leave the spool as it was; so does
    /// [`Error::Io`], for instance when the disk is full, unless the spool is
    /// [`Error::Broken`] from then on.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let length = u32::try_from(payload.len()).ok();
        let Some(length) = length.filter(|length| *length <= self.limits.record_bytes) else {
            let limit = self.limits.record_bytes;
            return Err(Error::RecordTooLarge { bytes: payload.len(), limit });
        };
        let size = u64::from(length) + RECORD_OVERHEAD;
        if self.pending_bytes + size > self.limits.quota_bytes {
            let quota = self.limits.quota_bytes;
            return Err(Error::QuotaExceeded { pending: self.pending_bytes, quota });
        }
        let seq = self.last() + 1;
        let full = |segment: &Segment| {
            !segment.is_empty() && segment.length + size > self.limits.segment_bytes
        };
        if self.segments.back().is_none_or(full) {
            self.sync_active()?;
            self.add_segment(seq)?;
            self.drop_acknowledged()?;
        }
        let Some(active) = self.segments.back_mut() else { return Err(Error::Broken) };
        if let Err(source) = active.append(payload) {
            self.broken = active.cut_to_length().is_err();
            return Err(failed("appending to", &active.path)(source));
        }
        self.pending_bytes += size;
        Ok(seq)
    }

    /// Makes everything that was appended survive a power failure, and returns the last number
    /// of which that is true.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses. What is on it is in doubt then, so the spool is
    /// [`Error::Broken`] until it is opened again.
    pub fn sync(&mut self) -> Result<u64, Error> {
        match self.unsynced()? {
            None => Ok(self.durable),
            Some(unsynced) => {
                let outcome = unsynced.sync();
                self.synced(&unsynced, outcome)
            }
        }
    }

    /// What [`sync`](Self::sync) would do now, to be done without holding the spool; `None` when
    /// there is nothing to do. Tell [`synced`](Self::synced) how it went.
    ///
    /// # Errors
    /// [`Error::Broken`] after an earlier failure.
    pub fn unsynced(&self) -> Result<Option<Unsynced>, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let last = self.last();
        let active = self.segments.back().filter(|_| self.durable < last);
        Ok(active.map(|active| Unsynced {
            file: active.file(),
            path: active.path.clone(),
            directory: self.fresh.then(|| self.dir.clone()),
            last,
        }))
    }

    /// Takes note of how a sync went, and returns the last number that survives a power failure.
    ///
    /// # Errors
    /// The failure; the spool is [`Error::Broken`] from then on.
    pub fn synced(
        &mut self,
        unsynced: &Unsynced,
        outcome: Result<(), Error>,
    ) -> Result<u64, Error> {
        if let Err(error) = outcome {
            self.broken = true;
            return Err(error);
        }
        self.fresh &= unsynced.directory.is_none();
        // Meanwhile the end of the segment may have been synced by a record behind it.
        self.durable = self.durable.max(unsynced.last);
        Ok(self.durable)
    }

    /// Takes note that every record up to `seq` is safe elsewhere, and deletes those. A number
    /// that was acknowledged before changes nothing.
    ///
    /// # Errors
    /// [`Error::NotAppended`] for a number that was never given; [`Error::Io`] when files cannot
    /// be written or deleted. Acknowledge again then; at worst, records are sent twice.
    pub fn acknowledge(&mut self, seq: u64) -> Result<(), Error> {
        let last = self.last();
        if seq > last {
            return Err(Error::NotAppended { seq, last });
        }
        if seq <= self.acknowledged {
            return Ok(());
        }
        watermark::write(&self.dir, seq).map_err(failed("writing the watermark in", &self.dir))?;
        let freed =
            |segment: &Segment| segment.bytes_after(self.acknowledged) - segment.bytes_after(seq);
        self.pending_bytes -= self.segments.iter().map(freed).sum::<u64>();
        self.acknowledged = seq;
        self.drop_acknowledged()
    }

    /// Records that are not acknowledged, in order, from number `from` on: as many as have
    /// `max_bytes` of payload together, but at least one if there is one.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be read, [`Error::Corrupt`] when the first one is not what
    /// was written. What is whole before a damaged one is read first.
    pub fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut left = max_bytes;
        let from = from.max(self.acknowledged + 1);
        for segment in &self.segments {
            for seq in from.max(segment.first)..=segment.last() {
                let size = segment.payload_bytes(seq);
                if size > left && !records.is_empty() {
                    return Ok(records);
                }
                left = left.saturating_sub(size);
                match segment.read(seq) {
                    Ok(payload) => records.push(Record { seq, payload }),
                    Err(Error::Corrupt { .. }) if !records.is_empty() => return Ok(records),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(records)
    }

    /// The number of the last record; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.segments.back().map_or(0, Segment::last)
    }

    /// The number up to which records survive a power failure.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The number up to which records are acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// What the records that are not acknowledged take of the quota, in bytes.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    fn sync_active(&mut self) -> Result<(), Error> {
        let last = self.last();
        let Some(active) = self.segments.back() else { return Ok(()) };
        if let Err(source) = active.sync() {
            self.broken = true;
            return Err(failed("syncing", &active.path)(source));
        }
        self.durable = last;
        Ok(())
    }

    fn add_segment(&mut self, first: u64) -> Result<(), Error> {
        self.segments.push_back(Segment::create(&self.dir, first)?);
        sync_directory(&self.dir)?;
        self.fresh = false;
        Ok(())
    }

    /// Deletes segments whose records are all acknowledged, but for the one that is written to.
    fn drop_acknowledged(&mut self) -> Result<(), Error> {
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.front()
            && oldest.last() <= self.acknowledged
        {
            // Numbers that are missing after it are still missing without it.
            fs::remove_file(&oldest.path).map_err(failed("deleting", &oldest.path))?;
            self.segments.pop_front();
        }
        Ok(())
    }

    fn missing(&self) -> Vec<RangeInclusive<u64>> {
        let mut next = self.acknowledged + 1;
        let mut missing = Vec::new();
        for segment in &self.segments {
            if segment.first > next {
                missing.push(next..=segment.first - 1);
            }
            next = next.max(segment.last() + 1);
        }
        missing
    }
}

/// A part of a spool's file that a power failure may still take.
#[derive(Debug)]
pub struct Unsynced {
    file: Arc<File>,
    path: PathBuf,
    directory: Option<PathBuf>,
    last: u64,
}

impl Unsynced {
    /// Blocks until it survives a power failure.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(failed("syncing", &self.path))?;
        self.directory.as_deref().map_or(Ok(()), sync_directory)
    }
}

fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("locking", &path)(source)),
    }
}

/// Makes names in `dir` survive a power failure.
fn sync_directory(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("syncing", dir))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

/// Why a spool did not do as it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused.
    #[error("{doing} {} failed", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the spool open.
    #[error("the spool {} is in use by another process", dir.display())]
    Locked {
        /// The spool's directory.
        dir: PathBuf,
    },
    /// A file has the name of a segment and is none.
    #[error("{} is no segment of a spool: move it away", path.display())]
    NoSegment {
        /// The file.
        path: PathBuf,
    },
    /// A record is not what was written.
    #[error("record {seq} in {} has been changed on disk", path.display())]
    Corrupt {
        /// The record's number.
        seq: u64,
        /// The segment.
        path: PathBuf,
    },
    /// Too much is waiting to be acknowledged.
    #[error("the spool holds {pending} of {quota} bytes that nobody has acknowledged")]
    QuotaExceeded {
        /// Bytes that are waiting.
        pending: u64,
        /// The limit.
        quota: u64,
    },
    /// The payload is too long.
    #[error("a record of {bytes} bytes; at most {limit} are taken")]
    RecordTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: u32,
    },
    /// A record was acknowledged that does not exist.
    #[error("record {seq} is acknowledged, but the last one is {last}")]
    NotAppended {
        /// The number that was acknowledged.
        seq: u64,
        /// The last record's.
        last: u64,
    },
    /// A file of an attempt's spool is not what a worker writes.
    #[error("{} is not what a worker writes", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file of an attempt's spool is of a version that is not known here.
    #[error("{} was written by a newer worker, in version {version}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        version: u32,
    },
    /// An earlier failure left the end of the spool in doubt.
    #[error("the spool failed to write earlier: open it again")]
    Broken,
}

#[cfg(test)]
mod tests;
