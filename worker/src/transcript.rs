//! The transcript of an attempt on its way to the coordinator.
//!
//! Lines are numbered here and kept until the coordinator has them safe. They are sent in chunks,
//! as soon as there is one, and never make the agent wait: the queue is bounded by what may be
//! kept of an agent's output, which is bounded before it gets here.

use std::time::Duration;

use kapelle_bus::{OutputChunk, OutputLane, OutputLine, WorkerEnd};
use kapelle_domain::engine::Holder;
use kapelle_domain::ids::Timestamp;
use kapelle_runtime::clock::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Lines of one chunk.
const CHUNK_LINES_MAX: usize = 256;

/// Lines that may wait. Agent output beyond its budget was cut before; this is far above it.
const QUEUE_LINES_MAX: usize = 1 << 18;

/// The longest line that is sent.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How long the end of a transcript may take to reach the coordinator.
const FLUSH: Duration = Duration::from_secs(10);

/// The wait before a chunk that was not answered is sent again.
const REPEAT: Duration = Duration::from_millis(200);

/// Where the parts of an attempt write what people may want to read.
#[derive(Debug, Clone)]
pub(crate) struct Transcript {
    lines: mpsc::Sender<OutputLine>,
    clock: Clock,
}

/// The sending side; wait for it after the last [`Transcript`] is dropped.
#[derive(Debug)]
pub(crate) struct Delivery(JoinHandle<()>);

impl Transcript {
    #[expect(clippy::disallowed_methods, reason = "owned by the delivery, which is waited for")]
    pub(crate) fn begin<B: WorkerEnd>(bus: B, holder: Holder, clock: Clock) -> (Self, Delivery) {
        let (lines, queue) = mpsc::channel(QUEUE_LINES_MAX);
        (Self { lines, clock }, Delivery(tokio::spawn(deliver(bus, holder, queue))))
    }

    pub(crate) fn line(&self, lane: OutputLane, text: &str) {
        let text = kapelle_domain::prompt::head(text, LINE_BYTES_MAX).to_owned();
        let line = OutputLine { at: Timestamp(self.clock.now()), lane, text };
        // A full queue means that nobody takes the lines; the attempt goes on without them.
        drop(self.lines.try_send(line));
    }

    /// The worker's own words.
    pub(crate) fn say(&self, text: &str) {
        self.line(OutputLane::Worker, text);
    }
}

impl Delivery {
    /// Waits until everything has arrived, or for a while.
    pub(crate) async fn finish(mut self) {
        if tokio::time::timeout(FLUSH, &mut self.0).await.is_err() {
            tracing::warn!("the end of a transcript could not be delivered");
            self.0.abort();
        }
    }
}

async fn deliver<B: WorkerEnd>(bus: B, holder: Holder, mut queue: mpsc::Receiver<OutputLine>) {
    let mut first = 1u64;
    let mut lines = Vec::new();
    while queue.recv_many(&mut lines, CHUNK_LINES_MAX).await > 0 {
        let count = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let chunk =
            OutputChunk { holder: holder.clone(), first, lines: std::mem::take(&mut lines) };
        loop {
            match bus.send_output(chunk.clone()).await {
                Ok(_) => break,
                Err(kapelle_bus::Error::Closed) => return,
                Err(kapelle_bus::Error::NoAnswer) => tokio::time::sleep(REPEAT).await,
            }
        }
        first = first.saturating_add(count);
    }
}
