//! What the worker writes to the agent's standard input, as it comes in.

use std::io::{self, BufRead as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::agent_line::WorkerLine;

/// Lines read ahead of the script. The worker's own queue comes before it.
const READ_AHEAD: usize = 64;

/// Lines from the worker.
#[derive(Debug)]
pub(super) struct Inbox(Receiver<WorkerLine>);

/// What [`Inbox::wait`] came back with.
#[derive(Debug)]
pub(super) enum Waited {
    /// A line.
    Line(WorkerLine),
    /// Nothing, in all that time.
    TimeOut,
    /// Nothing, and nothing will come any more.
    Closed,
}

impl Inbox {
    /// Reads standard input from now on. Lines that are none of the worker's are skipped.
    pub(super) fn open() -> Self {
        let (sender, receiver) = mpsc::sync_channel(READ_AHEAD);
        thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                let Ok(line) = line else { return };
                if let Ok(Some(line)) = WorkerLine::parse(&line)
                    && sender.send(line).is_err()
                {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// A line that is there already.
    pub(super) fn take(&self) -> Option<WorkerLine> {
        self.0.try_recv().ok()
    }

    /// Waits for the next line.
    pub(super) fn wait(&self, at_most: Duration) -> Waited {
        match self.0.recv_timeout(at_most) {
            Ok(line) => Waited::Line(line),
            Err(RecvTimeoutError::Timeout) => Waited::TimeOut,
            Err(RecvTimeoutError::Disconnected) => Waited::Closed,
        }
    }
}
