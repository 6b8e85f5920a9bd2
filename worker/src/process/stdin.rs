//! The writing side of a process's standard input.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::{Error, Stdin};

/// Lines waiting to be read by the process. More make the caller wait.
const QUEUED_LINES: usize = 64;

/// Writes lines to a process. Dropping it closes the process's input after the last line.
#[derive(Clone, Debug)]
pub struct StdinWriter(mpsc::Sender<Vec<u8>>);

impl StdinWriter {
    /// Queues `line` and a line end; waits while the process reads too slowly.
    ///
    /// # Errors
    /// [`Error::StdinClosed`] when the process has ended or does not read any more. A line that
    /// was accepted before that may have been lost.
    pub async fn line(&self, line: &str) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.0.send(bytes).await.map_err(|_| Error::StdinClosed)
    }
}

/// The process's end, and ours.
pub(super) fn open(stdin: &Stdin) -> io::Result<(OwnedFd, Option<pipe::Sender>)> {
    match stdin {
        Stdin::Closed => {
            let nothing = std::fs::File::open("/dev/null")?;
            Ok((nothing.into(), None))
        }
        Stdin::Bytes(_) | Stdin::Piped => {
            let (theirs, ours): (PipeReader, _) = io::pipe()?;
            Ok((theirs.into(), Some(pipe::Sender::from_owned_fd(ours.into())?)))
        }
    }
}

/// The queue in front of a pipe.
pub(super) fn queue() -> (StdinWriter, mpsc::Receiver<Vec<u8>>) {
    let (sender, receiver) = mpsc::channel(QUEUED_LINES);
    (StdinWriter(sender), receiver)
}

/// Writes what is queued until the queue ends or the process stops reading.
pub(super) async fn write_queue(mut pipe: pipe::Sender, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if pipe.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Writes all of `bytes`, or as much as the process cares to read.
pub(super) async fn write_bytes(mut pipe: pipe::Sender, bytes: Vec<u8>) {
    pipe.write_all(&bytes).await.ok();
}
