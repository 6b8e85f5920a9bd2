//! What a process prints, as lines, in bounded memory.
//!
//! The process is never made to wait for whoever consumes its lines. Up to the limit they are
//! queued; the queue is as long as the limit allows lines to be, so there always is room. From
//! then on bytes are only counted, but for the last ones of each stream, which tend to hold the
//! reason for the end: they are delivered at the end, after a [`Output::Gap`] that says how much
//! is missing.

use std::time::Duration;

use memchr::{memchr, memchr_iter};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::{mpsc, oneshot};

/// A longer line is delivered in pieces of at most this many bytes.
const LINE_BYTES: usize = 64 * 1024;
/// The end of a stream that is delivered after a gap.
const TAIL_BYTES: usize = 64 * 1024;
const TAIL_LINES: usize = 1_000;
/// What a line costs of the limit besides its text, so that a flood of empty lines ends too.
const LINE_COST: usize = 64;
const READ_BYTES: usize = 64 * 1024;
/// How long output is read after the tree is gone. Only a process outside of the tree that was
/// handed the pipe can hold it open so long.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output. The order is kept within a stream, and only roughly between the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// A line without its end (`\n` or `\r\n`). Bytes that are not UTF-8 are replaced.
    Line {
        /// Where it was written to.
        stream: OutputStream,
        /// At most 64 KiB of it.
        text: String,
        /// The line is longer: the next line of this stream is its continuation.
        truncated: bool,
    },
    /// Output that was not kept, in the place where it is missing.
    Gap {
        /// The stream that it is missing from.
        stream: OutputStream,
        /// How many bytes are missing.
        bytes: u64,
        /// How many line ends were among them.
        lines: u64,
        /// Why.
        reason: GapReason,
    },
}

/// Why output is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GapReason {
    /// The process printed more than [`output_limit`](super::ProcessSpec::output_limit).
    OverLimit,
}

/// How many messages a process with this limit can cause at most.
pub(super) fn queue_bound(limit: usize) -> usize {
    limit / LINE_COST + 2 * (TAIL_LINES + 4)
}

/// Reads both streams to their end into `queue`. A consumer that went away does not stop it: the
/// process must not be stopped by a full pipe either.
pub(super) async fn pump(
    stdout: ChildStdout,
    stderr: ChildStderr,
    limit: usize,
    queue: mpsc::Sender<Output>,
    mut gone: oneshot::Receiver<()>,
) {
    let mut collector = Collector::new(limit);
    // The queue cannot be full (`queue_bound`), and a closed one means that nobody wants to know.
    let mut deliver = |output| {
        queue.try_send(output).ok();
    };
    let mut stdout = Source::new(stdout);
    let mut stderr = Source::new(stderr);
    let both = async {
        while stdout.open || stderr.open {
            tokio::select! {
                count = stdout.read(), if stdout.open => {
                    collector.push(OutputStream::Stdout, &stdout.buffer[..count], &mut deliver);
                }
                count = stderr.read(), if stderr.open => {
                    collector.push(OutputStream::Stderr, &stderr.buffer[..count], &mut deliver);
                }
            }
        }
    };
    let patience = async {
        (&mut gone).await.ok();
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        () = both => {}
        () = patience => tracing::warn!("output is held open from outside of the process tree"),
    }
    collector.finish(OutputStream::Stdout, &mut deliver);
    collector.finish(OutputStream::Stderr, &mut deliver);
}

struct Source<R> {
    reader: R,
    buffer: Box<[u8]>,
    open: bool,
}

impl<R: AsyncRead + Unpin> Source<R> {
    fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; READ_BYTES].into_boxed_slice(), open: true }
    }

    /// How many bytes of the buffer are new; none at the end.
    async fn read(&mut self) -> usize {
        let count = self.reader.read(&mut self.buffer).await.unwrap_or(0);
        self.open = count > 0;
        count
    }
}

/// Splits bytes into lines and keeps to the limit. No clock and no I/O.
struct Collector {
    /// What is left of the limit, for both streams together.
    left: usize,
    stdout: Channel,
    stderr: Channel,
}

/// The state of one stream.
enum Channel {
    /// Lines are delivered; this is the beginning of the next.
    Kept(Vec<u8>),
    /// Over the limit.
    Counted(Counted),
}

#[derive(Default)]
struct Counted {
    bytes: u64,
    lines: u64,
    /// The last bytes, at least [`TAIL_BYTES`] of them when there were as many.
    tail: Vec<u8>,
}

impl Collector {
    fn new(limit: usize) -> Self {
        Self { left: limit, stdout: Channel::Kept(Vec::new()), stderr: Channel::Kept(Vec::new()) }
    }

    fn push(&mut self, stream: OutputStream, mut bytes: &[u8], deliver: &mut impl FnMut(Output)) {
        let (channel, left) = match stream {
            OutputStream::Stdout => (&mut self.stdout, &mut self.left),
            OutputStream::Stderr => (&mut self.stderr, &mut self.left),
        };
        while !bytes.is_empty() {
            match channel {
                Channel::Counted(counted) => return counted.push(bytes),
                Channel::Kept(begun) => {
                    let rest = take_line(begun, bytes);
                    let Some((taken, end)) = rest else { return };
                    bytes = &bytes[taken..];
                    let line = &begun[..end.length];
                    let text = if end.truncated { to_text(line) } else { whole_line(line) };
                    let cost = text.len() + LINE_COST;
                    if cost > *left {
                        *left = 0;
                        let mut counted = Counted::default();
                        counted.push(begun);
                        *channel = Channel::Counted(counted);
                        continue;
                    }
                    *left -= cost;
                    deliver(Output::Line { stream, text, truncated: end.truncated });
                    begun.drain(..end.length + usize::from(!end.truncated));
                }
            }
        }
    }

    fn finish(&mut self, stream: OutputStream, deliver: &mut impl FnMut(Output)) {
        let channel = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        match std::mem::replace(channel, Channel::Kept(Vec::new())) {
            Channel::Kept(begun) if begun.is_empty() => {}
            Channel::Kept(begun) => {
                deliver(Output::Line { stream, text: whole_line(&begun), truncated: false });
            }
            Channel::Counted(counted) => counted.finish(stream, deliver),
        }
    }
}

/// Where a line ends within the bytes gathered so far.
struct LineEnd {
    length: usize,
    truncated: bool,
}

/// Moves bytes into `begun` up to and including a line end or the longest line; how many were
/// moved, and where the line ends, or `None` when all were moved without completing it.
fn take_line(begun: &mut Vec<u8>, bytes: &[u8]) -> Option<(usize, LineEnd)> {
    let room = LINE_BYTES.saturating_sub(begun.len());
    // One more than fits, as a line end behind a line of exactly that size still belongs to it.
    let window = &bytes[..bytes.len().min(room + 1)];
    if let Some(at) = memchr(b'\n', window) {
        begun.extend_from_slice(&window[..=at]);
        return Some((at + 1, LineEnd { length: begun.len() - 1, truncated: false }));
    }
    begun.extend_from_slice(window);
    if begun.len() <= LINE_BYTES {
        return None;
    }
    Some((window.len(), LineEnd { length: char_boundary(begun, LINE_BYTES), truncated: true }))
}

/// The last place at or before `at` that does not cut a UTF-8 character in two.
fn char_boundary(bytes: &[u8], at: usize) -> usize {
    let is_continuation = |index: usize| bytes.get(index).is_some_and(|byte| byte >> 6 == 0b10);
    (at.saturating_sub(3)..=at).rev().find(|index| !is_continuation(*index)).unwrap_or(at)
}

fn whole_line(line: &[u8]) -> String {
    to_text(line.strip_suffix(b"\r").unwrap_or(line))
}

fn to_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Counted {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.lines += memchr_iter(b'\n', bytes).count() as u64;
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        if self.tail.len() + kept.len() > 2 * TAIL_BYTES {
            let surplus = (self.tail.len() + kept.len()).saturating_sub(TAIL_BYTES);
            self.tail.drain(..surplus.min(self.tail.len()));
        }
        self.tail.extend_from_slice(kept);
    }

    fn finish(self, stream: OutputStream, deliver: &mut impl FnMut(Output)) {
        let tail = self.last_lines();
        let dropped = self.bytes - tail.len() as u64;
        if dropped > 0 {
            let lines = self.lines - memchr_iter(b'\n', tail).count() as u64;
            let reason = GapReason::OverLimit;
            deliver(Output::Gap { stream, bytes: dropped, lines, reason });
        }
        for line in tail.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            deliver(Output::Line { stream, text: whole_line(line), truncated: false });
        }
    }

    /// The part of the tail that is delivered: whole lines where possible.
    fn last_lines(&self) -> &[u8] {
        let start = self.tail.len().saturating_sub(TAIL_BYTES);
        let tail = &self.tail[start..];
        let is_whole = self.bytes == tail.len() as u64;
        let cut = match memchr(b'\n', tail) {
            Some(end) if !is_whole && end + 1 < tail.len() => end + 1,
            _ => 0,
        };
        let tail = &tail[cut..];
        let ended = usize::from(tail.last() == Some(&b'\n'));
        let from = memchr_iter(b'\n', tail).rev().nth(TAIL_LINES - 1 + ended);
        from.map_or(tail, |end| &tail[end + 1..])
    }
}

#[cfg(test)]
mod tests;
