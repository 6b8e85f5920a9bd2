//! The transcripts of attempts: what agents print and report, kept as files.
//!
//! One file for each attempt, whoever had it, one JSON object for each line, appended in order and never changed.
//! The database knows nothing of them; a lost file loses no work. What comes from a worker is
//! hostile: its amount is bounded here as well.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kapelle_bus::{CoordinatorEnd, OutputChunk, OutputLine};
use kapelle_domain::ids::{AttemptId, Fence};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::service::view::LogLine;

/// How much of one attempt is kept. A worker keeps to less; this bounds one that doesn't.
const ATTEMPT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The longest line that is kept.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Attempts whose newest state stays in memory.
const REMEMBERED_MAX: usize = 1_000;

/// A line as it is kept: with the grant that it comes from, and its number there.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    line: LogLine,
    #[serde(default)]
    fence: Fence,
    #[serde(default)]
    own: u64,
}

/// All transcripts of a project; cheap to clone.
#[derive(Debug, Clone)]
pub struct Transcripts {
    directory: Arc<PathBuf>,
    tails: Arc<Mutex<BTreeMap<AttemptId, Tail>>>,
    /// Grows with each line that arrives.
    arrived: watch::Sender<u64>,
}

/// The end of a transcript.
#[derive(Debug, Clone, Default)]
struct Tail {
    /// The grant that the last lines come from.
    fence: Fence,
    /// How many lines are from grants before it: each numbers its own from 1.
    earlier: u64,
    lines: u64,
    bytes: u64,
    last: Option<String>,
}

impl Transcripts {
    /// The transcripts in `directory`, which is made when the first one begins.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        let (arrived, _) = watch::channel(0);
        Self { directory: Arc::new(directory), tails: Arc::default(), arrived }
    }

    /// Takes output off the bus until it is closed.
    pub async fn collect(self, bus: impl CoordinatorEnd) {
        while let Ok(inbound) = bus.output().await {
            let (transcripts, chunk) = (self.clone(), inbound.chunk);
            let attempt = chunk.holder.attempt;
            let appended = tokio::task::spawn_blocking(move || transcripts.append(&chunk)).await;
            match appended {
                // The worker may be gone; the lines are safe all the same.
                Ok(Ok(watermark)) => drop(inbound.watermark.send(watermark)),
                // Without an answer the worker sends them again.
                Ok(Err(error)) => tracing::warn!(%attempt, %error, "output could not be kept"),
                Err(error) => tracing::error!(%attempt, %error, "keeping output failed"),
            }
        }
    }

    /// Keeps what is new of a chunk. Gives the number of the last line that is safe.
    fn append(&self, chunk: &OutputChunk) -> io::Result<u64> {
        let attempt = chunk.holder.attempt;
        let mut tail = self.tail(attempt)?;
        let count = u64::try_from(chunk.lines.len()).unwrap_or(u64::MAX);
        let end = chunk.first.saturating_add(count).saturating_sub(1);
        if chunk.holder.fence < tail.fence {
            // Somebody else has the attempt; whoever had it before need not keep this for us.
            return Ok(end);
        }
        if chunk.holder.fence > tail.fence {
            tail.fence = chunk.holder.fence;
            tail.earlier = tail.lines;
        }
        let known = (tail.lines - tail.earlier).saturating_add(1).saturating_sub(chunk.first);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let fresh = chunk.lines.get(known..).unwrap_or_default();
        if !fresh.is_empty() && tail.bytes < ATTEMPT_BYTES_MAX {
            // Numbers stay the worker's, also behind lines that were lost with its disk.
            let before = tail.earlier.saturating_add(chunk.first.saturating_sub(1));
            tail.lines = tail.lines.max(before);
            self.write(attempt, fresh, &mut tail)?;
        }
        tail.lines = tail.lines.max(tail.earlier.saturating_add(end));
        let mut tails = self.tails();
        tails.insert(attempt, tail);
        if tails.len() > REMEMBERED_MAX {
            tails.pop_first();
        }
        drop(tails);
        self.arrived.send_modify(|lines| *lines = lines.saturating_add(1));
        Ok(end)
    }

    fn write(&self, attempt: AttemptId, lines: &[OutputLine], tail: &mut Tail) -> io::Result<()> {
        let path = self.path(attempt);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let mut text = Vec::new();
        for line in lines {
            tail.lines = tail.lines.saturating_add(1);
            let line = LogLine {
                n: tail.lines,
                at: line.at.0,
                lane: line.lane.name().to_owned(),
                text: kapelle_domain::prompt::head(&line.text, LINE_BYTES_MAX).to_owned(),
            };
            if !line.text.trim().is_empty() {
                tail.last = Some(kapelle_domain::prompt::head(&line.text, 200).to_owned());
            }
            let own = tail.lines.saturating_sub(tail.earlier);
            let kept = Kept { line, fence: tail.fence, own };
            serde_json::to_writer(&mut text, &kept)?;
            text.push(b'\n');
        }
        tail.bytes = tail.bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        OpenOptions::new().create(true).append(true).open(path)?.write_all(&text)
    }

    /// The lines of an attempt after line `after`.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub async fn page(
        &self,
        attempt: AttemptId,
        after: u64,
        limit: usize,
    ) -> io::Result<Vec<LogLine>> {
        let path = self.path(attempt);
        let read = move || {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            read_after(file, after, limit)
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// Waits until a line has arrived since `seen`, or for `wait`. Gives what to pass next time.
    pub async fn changed(&self, seen: Option<u64>, wait: Duration) -> u64 {
        let mut arrived = self.arrived.subscribe();
        let seen = seen.unwrap_or(*arrived.borrow_and_update());
        let news = arrived.wait_for(|lines| *lines != seen);
        match tokio::time::timeout(wait, news).await {
            Ok(Ok(lines)) => *lines,
            Ok(Err(_)) | Err(_) => seen,
        }
    }

    /// How much has arrived so far, for [`Transcripts::changed`].
    #[must_use]
    pub fn arrived(&self) -> u64 {
        *self.arrived.borrow()
    }

    /// The last thing that an attempt said, if it said something lately.
    #[must_use]
    pub fn activity(&self, attempt: AttemptId) -> Option<String> {
        self.tails().get(&attempt)?.last.clone()
    }

    /// The file of an attempt.
    #[must_use]
    pub fn path(&self, attempt: AttemptId) -> PathBuf {
        let run = self.directory.join(attempt.task.run.to_string());
        run.join(format!("t{}-{}.ndjson", attempt.task.index, attempt.number))
    }

    fn tail(&self, attempt: AttemptId) -> io::Result<Tail> {
        if let Some(tail) = self.tails().get(&attempt) {
            return Ok(tail.clone());
        }
        measure(&self.path(attempt))
    }

    fn tails(&self) -> std::sync::MutexGuard<'_, BTreeMap<AttemptId, Tail>> {
        // Each change of the map is one insertion or removal.
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_after(file: File, after: u64, limit: usize) -> io::Result<Vec<LogLine>> {
    let mut lines = Vec::new();
    for line in BufReader::new(file).lines() {
        // A line that was cut off by a crash is the last one.
        let Ok(line) = serde_json::from_str::<LogLine>(&line?) else { break };
        if line.n > after {
            lines.push(line);
        }
        if lines.len() >= limit {
            break;
        }
    }
    Ok(lines)
}

/// The end of a transcript that an earlier process wrote. A last line without its end was cut off
/// by a crash and is removed: its sender sends it again.
fn measure(path: &Path) -> io::Result<Tail> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tail::default()),
        Err(error) => return Err(error),
    };
    let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < content.len() {
        let length = u64::try_from(whole).unwrap_or(u64::MAX);
        OpenOptions::new().write(true).open(path)?.set_len(length)?;
    }
    let last = content[..whole].split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    let last: Option<Kept> = last.and_then(|line| serde_json::from_slice(line).ok());
    let bytes = u64::try_from(whole).unwrap_or(u64::MAX);
    let Some(Kept { line, fence, own }) = last else {
        return Ok(Tail { bytes, ..Tail::default() });
    };
    let earlier = line.n.saturating_sub(own);
    Ok(Tail { fence, earlier, lines: line.n, bytes, last: Some(line.text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kapelle_bus::OutputLane;
    use kapelle_domain::engine::Holder;
    use kapelle_domain::ids::{RunId, SessionEpoch, TaskId, Timestamp, WorkerId};

    fn chunk(first: u64, texts: &[&str]) -> OutputChunk {
        chunk_under(1, first, texts)
    }

    fn chunk_under(fence: u64, first: u64, texts: &[&str]) -> OutputChunk {
        let attempt = AttemptId { task: TaskId { run: RunId(1), index: 0 }, number: 1 };
        let worker = WorkerId("w".to_owned());
        let holder = Holder { attempt, fence: Fence(fence), worker, session: SessionEpoch(1) };
        let line = |text: &&str| OutputLine {
            at: Timestamp(7),
            lane: OutputLane::Stdout,
            text: (*text).to_owned(),
        };
        OutputChunk { holder, first, lines: texts.iter().map(line).collect() }
    }

    /// An attempt that was granted again, because its first worker never said that it runs: both
    /// number their lines from 1, and the first one may still speak.
    #[tokio::test]
    async fn each_grant_of_an_attempt_numbers_its_own_lines() {
        let directory = tempfile::tempdir().expect("a directory");
        let attempt = chunk(1, &[]).holder.attempt;
        for restart in [false, true] {
            let root = directory.path().join(restart.to_string());
            let mut transcripts = Transcripts::new(root.clone());
            let append = |transcripts: &Transcripts, fence, first, texts: &[&str]| {
                transcripts.append(&chunk_under(fence, first, texts)).expect("kept")
            };
            assert_eq!(append(&transcripts, 1, 1, &["a", "b"]), 2);
            assert_eq!(append(&transcripts, 2, 1, &["c"]), 1);
            if restart {
                transcripts = Transcripts::new(root);
            }
            assert_eq!(append(&transcripts, 2, 1, &["c", "d"]), 2, "repeated in part");
            assert_eq!(append(&transcripts, 1, 3, &["late"]), 3, "it need not say it again");
            assert_eq!(append(&transcripts, 2, 3, &["e"]), 3);
            let page = transcripts.page(attempt, 0, 100).await.expect("read");
            let texts: Vec<_> = page.iter().map(|line| (line.n, line.text.as_str())).collect();
            assert_eq!(texts, [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]);
        }
    }

    #[tokio::test]
    async fn repeated_and_overlapping_chunks_are_kept_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let attempt = chunk(1, &[]).holder.attempt;
        for restart in [false, true] {
            let root = directory.path().join(restart.to_string());
            let mut transcripts = Transcripts::new(root.clone());
            assert_eq!(transcripts.append(&chunk(1, &["a", "b"])).expect("kept"), 2);
            if restart {
                let path = transcripts.path(attempt);
                let mut file = OpenOptions::new().append(true).open(path).expect("a file");
                file.write_all(b"{\"n\":3,\"at\":7,\"la").expect("torn");
                transcripts = Transcripts::new(root);
            }
            assert_eq!(transcripts.append(&chunk(1, &["a", "b"])).expect("kept"), 2);
            assert_eq!(transcripts.append(&chunk(2, &["b", "c"])).expect("kept"), 3);
            let page = transcripts.page(attempt, 0, 100).await.expect("read");
            let texts: Vec<_> = page.iter().map(|line| (line.n, line.text.as_str())).collect();
            assert_eq!(texts, [(1, "a"), (2, "b"), (3, "c")]);
            assert_eq!(transcripts.page(attempt, 2, 100).await.expect("read").len(), 1);
            assert_eq!(transcripts.activity(attempt).as_deref(), Some("c"));
        }
    }
}
