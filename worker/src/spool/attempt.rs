//! The spool of one attempt: whose it is, what was said in it, and how it ended.
//!
//! ```text
//! <root>/r-1-t0-1-f3/     the attempt r-1/t0#1 under fence 3
//!   attempt.json          who holds what: the first file, never changed
//!   *.seg, …              the transcript: a record for each line, so a record's number is its line's
//!   grant.json            the grant, where agents may outlive the worker: what another one needs
//!   keeper                the socket of whoever keeps the agent, where it may
//!   report.json           the final report and whose it is; durable before it is sent
//! ```
//!
//! Owner and report are no records: acknowledging takes records away, and these two are needed
//! until the directory goes. So the report has room however long the transcript is, and can be
//! looked for without opening the spool ([`reported`]).
//!
//! Nothing here talks to a coordinator; `crate::transcript` does. All calls block on the disk.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use kapelle_bus::{OutputLane, OutputLine};
use kapelle_domain::attempt::Report;
use kapelle_domain::engine::Grant;
use kapelle_domain::ids::{AttemptId, Fence, Timestamp, WorkerId};
use kapelle_domain::words::plural;
use kapelle_domain::worker::Held;
use kapelle_runtime::telemetry::Chain;
use serde::{Deserialize, Serialize};

use super::{Error, Limits, RECORD_OVERHEAD, Recovery, Spool, Unsynced, failed, sync_directory};

/// The version of everything that is written here.
const VERSION: u32 = 1;

const OWNER: &str = "attempt.json";
const REPORT: &str = "report.json";
const GRANT: &str = "grant.json";

/// Of the quota, what only the line may take that says how many others were left out.
const RESERVE_BYTES: u64 = 4 * 1024;

/// Spools that are taken over at once. More stay for the next start.
const FOUND_MAX: usize = 256;

/// Who holds which attempt, and what people may want to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The attempt.
    pub attempt: AttemptId,
    /// The fence of its grant.
    pub fence: Fence,
    /// The worker that it was granted to.
    pub worker: WorkerId,
    /// The task's name within its run.
    pub key: String,
    /// What the task is about.
    pub title: String,
    /// The agent that does it.
    pub agent: String,
    /// The commit that the work starts from.
    pub base: Option<String>,
}

impl Owner {
    /// The owner of what is done under `grant`.
    #[must_use]
    pub fn of(grant: &Grant, worker: &WorkerId) -> Self {
        Self {
            attempt: grant.attempt,
            fence: grant.fence,
            worker: worker.clone(),
            key: grant.key.clone(),
            title: grant.title.clone(),
            agent: grant.agent.to_string(),
            base: grant.base.clone(),
        }
    }

    /// The attempt, as an inventory names it.
    #[must_use]
    pub fn held(&self) -> Held {
        Held { attempt: self.attempt, fence: self.fence }
    }

    /// The spool's directory in `root`. The fence is part of its name: an attempt that was granted
    /// again is not to be mixed up with itself.
    fn directory(&self, root: &Path) -> PathBuf {
        let AttemptId { task, number } = self.attempt;
        root.join(format!("{}-t{}-{number}-f{}", task.run, task.index, self.fence))
    }
}

/// What is in `attempt.json` and `report.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    owner: Owner,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// The spool of an attempt, open.
#[derive(Debug)]
pub struct AttemptSpool {
    dir: PathBuf,
    owner: Owner,
    /// The transcript.
    records: Spool,
    quota_bytes: u64,
    left_out: Option<LeftOut>,
}

/// Lines that could not be kept, since the last one that was.
#[derive(Debug)]
struct LeftOut {
    lines: u64,
    reason: String,
}

/// A spool that an earlier process has left, taken over.
#[derive(Debug)]
pub struct Found {
    /// It.
    pub spool: AttemptSpool,
    /// The final report, if the attempt got that far.
    pub report: Option<Report>,
    /// What the agent was granted, if it is still at work.
    pub at_work: Option<Grant>,
}

impl AttemptSpool {
    /// Makes the spool of a new attempt in `root`. Lines that nobody has taken may occupy
    /// `quota_bytes`.
    ///
    /// # Errors
    /// When the disk refuses, or another process has the spool of this very grant open.
    pub fn create(root: &Path, owner: Owner, quota_bytes: u64) -> Result<Self, Error> {
        let dir = owner.directory(root);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(failed("creating the directory", root))?;
        match DirBuilder::new().mode(0o700).create(&dir) {
            // Of another history: a grant is made once.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                drop(super::lock(&dir)?);
                fs::remove_dir_all(&dir)
                    .and_then(|()| DirBuilder::new().mode(0o700).create(&dir))
                    .map_err(failed("clearing", &dir))?;
            }
            made => made.map_err(failed("creating the directory", &dir))?,
        }
        // Not synced: nothing is lost with it as long as there is no report, which names it again.
        let path = dir.join(OWNER);
        let document = Document { version: VERSION, owner: owner.clone(), report: None };
        write(&path, &document).map_err(failed("writing", &path))?;
        let (records, _) = Spool::open(&dir, limits(quota_bytes))?;
        Ok(Self { dir, owner, records, quota_bytes, left_out: None })
    }

    /// Writes down what another worker needs to go on with the agent. It needs not survive a power
    /// failure, which the agent doesn't either.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_grant(&self, grant: &Grant) -> Result<(), Error> {
        let path = self.dir.join(GRANT);
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(&serde_json::to_vec(grant)?));
        written.map_err(failed("writing", &path))
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Adds a line to the transcript. One that there is no room for is left out, and a line in its
    /// place will say so.
    pub fn line(&mut self, line: &OutputLine) {
        if let Err(error) = self.append(line) {
            let left_out = self.left_out.get_or_insert_with(|| {
                let attempt = self.owner.attempt;
                tracing::warn!(%attempt, error = %Chain(&error), "lines of a transcript are left out");
                LeftOut { lines: 0, reason: reason_of(&error) }
            });
            left_out.lines += 1;
        }
    }

    fn append(&mut self, line: &OutputLine) -> Result<(), Error> {
        let record = to_record(line);
        let marked = self.left_out.as_ref().map_or(0, |_| RESERVE_BYTES);
        let size = record.len() as u64 + RECORD_OVERHEAD + marked;
        let (pending, quota) = (self.records.pending_bytes(), self.quota_bytes);
        if pending + size > quota {
            return Err(Error::QuotaExceeded { pending, quota });
        }
        self.mark_gap(line.at)?;
        self.records.append(&record).map(drop)
    }

    /// Says how many lines were left out, in their place. Nothing to do where none were; at the
    /// end of a transcript it takes what was reserved for it.
    ///
    /// # Errors
    /// When not even that can be written.
    pub fn mark_gap(&mut self, at: Timestamp) -> Result<(), Error> {
        let Some(LeftOut { lines, reason }) = &self.left_out else { return Ok(()) };
        let were = if *lines == 1 { "was" } else { "were" };
        let text = format!("[{} {were} left out here: {reason}]", plural(*lines, "line"));
        self.records.append(&to_record(&note(at, text)))?;
        self.left_out = None;
        Ok(())
    }

    /// A line of ours behind the end of the transcript, from what is reserved.
    fn close_with(&mut self, at: Timestamp, text: String) {
        if let Err(error) = self.records.append(&to_record(&note(at, text))) {
            tracing::warn!(error = %Chain(&error), "the end of a transcript can't be marked");
        }
    }

    /// The number of the last line.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.records.last()
    }

    /// The number up to which lines are safe elsewhere.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.records.acknowledged()
    }

    /// The number up to which lines survive a power failure, and so may be sent.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.records.durable()
    }

    /// What is waiting to be acknowledged, in bytes.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.records.pending_bytes()
    }

    /// See [`Spool::unsynced`].
    ///
    /// # Errors
    /// Those.
    pub fn unsynced(&self) -> Result<Option<Unsynced>, Error> {
        self.records.unsynced()
    }

    /// See [`Spool::synced`].
    ///
    /// # Errors
    /// Those.
    pub fn synced(
        &mut self,
        unsynced: &Unsynced,
        outcome: Result<(), Error>,
    ) -> Result<u64, Error> {
        self.records.synced(unsynced, outcome)
    }

    /// The next durable lines that are not acknowledged, and the number of the first: about
    /// `max_bytes` of them, without a gap in their numbers. Lines that the disk has lost are one
    /// line that says so, under the last of their numbers. None when there is nothing to send.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn next_lines(
        &self,
        max_bytes: usize,
        now: Timestamp,
    ) -> Result<Option<(u64, Vec<OutputLine>)>, Error> {
        let from = self.acknowledged() + 1;
        let durable = self.durable();
        if from > durable {
            return Ok(None);
        }
        let lost = |up_to: u64| {
            let lines = up_to + 1 - from;
            let were = if lines == 1 { "was" } else { "were" };
            let text = format!("[{} {were} lost on the worker's disk]", plural(lines, "line"));
            Some((up_to, vec![note(now, text)]))
        };
        let records = match self.records.read(from, max_bytes) {
            Ok(records) => records,
            Err(Error::Corrupt { seq, .. }) => return Ok(lost(seq)),
            Err(error) => return Err(error),
        };
        let Some(first) = records.first().map(|record| record.seq) else {
            return Ok(lost(durable));
        };
        if first > from {
            return Ok(lost(first - 1));
        }
        let mut lines = Vec::with_capacity(records.len());
        for (record, number) in records.iter().zip(first..=durable) {
            if record.seq != number {
                break;
            }
            let damaged = || note(now, "[a line can't be read]".to_owned());
            lines.push(from_record(&record.payload).unwrap_or_else(damaged));
        }
        Ok(Some((first, lines)))
    }

    /// See [`Spool::acknowledge`]; numbers beyond the last line count as that one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn acknowledge(&mut self, number: u64) -> Result<(), Error> {
        self.records.acknowledge(number.min(self.records.last()))
    }

    /// Its directory, for what is done without holding the spool.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { dir: self.dir.clone(), owner: self.owner.clone() }
    }
}

/// The directory of an attempt's spool.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    owner: Owner,
}

impl Place {
    /// Writes the final report so that it survives a power failure.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_report(self, report: Report) -> Result<(), Error> {
        let Self { dir, owner } = self;
        let path = dir.join(REPORT);
        let new = dir.join("report.json.new");
        write(&new, &Document { version: VERSION, owner, report: Some(report) })
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&new, &path))
            .map_err(failed("writing", &path))?;
        sync_directory(&dir)?;
        dir.parent().map_or(Ok(()), sync_directory)
    }

    /// Removes the spool from the disk: everything in it is safe elsewhere, or of no use.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(self) -> Result<(), Error> {
        let failed = failed("removing", &self.dir);
        // In this order whatever a crash leaves is either told once more, or nobody's.
        for name in [OWNER, REPORT] {
            match fs::remove_file(self.dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                Ok(()) | Err(_) => {}
            }
        }
        fs::remove_dir_all(&self.dir).map_err(failed)
    }
}

/// A final report that lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Of which attempt.
    pub held: Held,
    /// Where its result lies, if it has one.
    pub bundle: Option<PathBuf>,
}

/// The final reports that lie in the spools of `root`. Opens none of them: their worker may, in
/// this process or in another one.
#[must_use]
pub fn reported(root: &Path) -> Vec<Reported> {
    let documents = directories(root).into_iter().filter_map(|dir| {
        read(&dir.join(REPORT)).unwrap_or_else(|error| {
            tracing::warn!(error = %Chain(&error), "a report can't be read");
            None
        })
    });
    let reported = |Document { owner, report, .. }| {
        let bundle = report?.result.map(|result| result.bundle.into());
        Some(Reported { held: owner.held(), bundle })
    };
    documents.filter_map(reported).collect()
}

/// Takes over the spools in `root` that earlier processes have left, those with a report first.
/// One that another process has open is that one's; one that can't be read stays, with a warning.
/// `is_at_work` says of a directory whether its agent is.
#[must_use]
pub fn take_over(
    root: &Path,
    quota_bytes: u64,
    now: Timestamp,
    is_at_work: impl Fn(&Path) -> bool,
) -> Vec<Found> {
    let mut dirs = directories(root);
    dirs.sort_by_key(|dir| !dir.join(REPORT).exists());
    let mut found = Vec::new();
    for dir in dirs.into_iter().take(FOUND_MAX) {
        match open(&dir, quota_bytes, now, is_at_work(&dir)) {
            Ok(taken) => found.extend(taken),
            Err(Error::Locked { .. }) => {}
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "what an earlier worker has left can't be taken over");
            }
        }
    }
    found
}

/// `None` when nothing of use was in it.
fn open(
    dir: &Path,
    quota_bytes: u64,
    now: Timestamp,
    is_at_work: bool,
) -> Result<Option<Found>, Error> {
    let owner = match read(&dir.join(REPORT))? {
        Some(document) => Some(document),
        None => read(&dir.join(OWNER)).or_else(|error| match error {
            // It was not on the disk yet when the power failed, and so nothing else was.
            Error::Malformed { .. } => Ok(None),
            error => Err(error),
        })?,
    };
    let Some(Document { owner, report, .. }) = owner else {
        drop(super::lock(dir)?);
        fs::remove_dir_all(dir).map_err(failed("removing", dir))?;
        return Ok(None);
    };
    let (records, recovery) = open_records(dir, quota_bytes)?;
    let mut spool =
        AttemptSpool { dir: dir.to_owned(), owner, records, quota_bytes, left_out: None };
    if recovery.torn_bytes > 0 {
        let bytes = recovery.torn_bytes;
        let text = format!("[{bytes} bytes at the end were no whole line and are left out]");
        spool.close_with(now, text);
    }
    let grant = || serde_json::from_slice(&fs::read(dir.join(GRANT)).ok()?).ok();
    let at_work = (is_at_work && report.is_none()).then(grant).flatten();
    if report.is_none() && at_work.is_none() {
        let text = "the worker was cut off here; what came after is not known";
        spool.close_with(now, text.to_owned());
    }
    Ok(Some(Found { spool, report, at_work }))
}

/// Opens the transcript. A file of it that is none any more is laid aside, or it would keep the
/// report from being delivered for ever; its lines count as lost.
fn open_records(dir: &Path, quota_bytes: u64) -> Result<(Spool, Recovery), Error> {
    loop {
        match Spool::open(dir, limits(quota_bytes)) {
            Err(Error::NoSegment { path }) => {
                tracing::warn!(path = %path.display(), "a part of a transcript is damaged");
                fs::rename(&path, path.with_extension("damaged"))
                    .map_err(failed("laying aside", &path))?;
            }
            opened => return opened,
        }
    }
}

/// Whose the spool in a directory is, if that can be read.
pub(crate) fn owner(directory: &Path) -> Option<Owner> {
    read(&directory.join(OWNER)).ok().flatten().map(|document| document.owner)
}

/// The directories of the attempts that have a spool in `root`.
pub(crate) fn directories(root: &Path) -> Vec<PathBuf> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(root = %root.display(), %error, "spools can't be looked for");
            return Vec::new();
        }
    };
    let mut dirs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    dirs.retain(|path| path.is_dir());
    dirs.sort();
    dirs
}

fn limits(quota_bytes: u64) -> Limits {
    Limits { quota_bytes: quota_bytes + RESERVE_BYTES, ..Limits::default() }
}

fn reason_of(error: &Error) -> String {
    match error {
        Error::QuotaExceeded { .. } => "the coordinator didn't take them in time".to_owned(),
        Error::RecordTooLarge { .. } => "they are too long".to_owned(),
        Error::Io { source, .. } => format!("the worker's disk refused them: {source}"),
        Error::Locked { .. }
        | Error::NoSegment { .. }
        | Error::Corrupt { .. }
        | Error::NotAppended { .. }
        | Error::Malformed { .. }
        | Error::Newer { .. }
        | Error::Broken => "the worker's disk refused them".to_owned(),
    }
}

/// A line in the worker's own words.
fn note(at: Timestamp, text: String) -> OutputLine {
    OutputLine { at, lane: OutputLane::Worker, text }
}

/// A line of a transcript, as it is written.
#[derive(Serialize, Deserialize)]
struct LineRecord<'a> {
    v: u32,
    at: Timestamp,
    lane: Lane,
    text: Cow<'a, str>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Lane {
    Stdout,
    Stderr,
    Agent,
    Worker,
}

fn to_record(line: &OutputLine) -> Vec<u8> {
    let lane = match line.lane {
        OutputLane::Stdout => Lane::Stdout,
        OutputLane::Stderr => Lane::Stderr,
        OutputLane::Agent => Lane::Agent,
        OutputLane::Worker => Lane::Worker,
    };
    let record = LineRecord { v: VERSION, at: line.at, lane, text: Cow::Borrowed(&line.text) };
    // Numbers and strings always have a form in JSON.
    serde_json::to_vec(&record).unwrap_or_default()
}

/// `None` when it is no line of a version that is known here.
fn from_record(payload: &[u8]) -> Option<OutputLine> {
    let record: LineRecord<'_> = serde_json::from_slice(payload).ok()?;
    let lane = match record.lane {
        Lane::Stdout => OutputLane::Stdout,
        Lane::Stderr => OutputLane::Stderr,
        Lane::Agent => OutputLane::Agent,
        Lane::Worker => OutputLane::Worker,
    };
    let line = || OutputLine { at: record.at, lane, text: record.text.into_owned() };
    (record.v == VERSION).then(line)
}

/// `None` when there is no such file.
fn read(path: &Path) -> Result<Option<Document>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("reading", path)(error)),
    };
    let malformed = |source| Error::Malformed { path: path.to_owned(), source };
    let Head { version } = serde_json::from_slice(&bytes).map_err(malformed)?;
    if version > VERSION {
        return Err(Error::Newer { path: path.to_owned(), version });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(malformed)
}

fn write(path: &Path, document: &Document) -> io::Result<File> {
    let bytes = serde_json::to_vec_pretty(document)?;
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
