//! The transcript of an attempt on its way to the coordinator.
//!
//! ```text
//!   line --> spool (disk) --sync--> chunk --> coordinator
//!              ^------- watermark -------------'
//! ```
//!
//! A line is on disk before the next one is taken, and stays there until the coordinator's
//! watermark has passed it. So a coordinator that is slow or away makes nobody wait and costs no
//! memory; what exceeds the quota is left out, and a line says so in its place. What is sent was
//! synced, for several lines together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kapelle_bus::{OutputChunk, OutputLane, OutputLine, WorkerEnd};
use kapelle_domain::attempt::Report;
use kapelle_domain::engine::Holder;
use kapelle_domain::ids::Timestamp;
use kapelle_runtime::clock::Clock;
use kapelle_runtime::telemetry::Chain;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::spool;
use crate::spool::attempt::AttemptSpool;

/// How long lines are gathered before they are synced and sent. A sync costs milliseconds, and
/// people don't notice a quarter of a second.
const GATHER: Duration = Duration::from_millis(250);

/// As many bytes are not gathered any longer, and are a chunk: far below what any bus carries.
const CHUNK_BYTES: usize = 64 * 1024;

/// The longest line. The agent's own are no longer.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The wait before a chunk that was not taken is sent again, doubled up to the second.
const REPEAT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Where the parts of an attempt write what people may want to read.
#[derive(Debug, Clone)]
pub(crate) struct Transcript(Arc<Shared>);

/// The sending side. Dropping it ends it; what was not taken stays on disk.
#[derive(Debug)]
pub(crate) struct Delivery {
    shared: Arc<Shared>,
    /// `None` once it has ended.
    sending: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was said, or nothing more will be.
    news: Notify,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    spool: AttemptSpool,
    /// Nothing more will be said.
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever a panic interrupted, the spool on disk is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now())
    }

    /// Waits until something is to be sent. False when nothing is and nothing will be.
    async fn gather(&self) -> bool {
        let mut deadline = None;
        loop {
            let (waits, bytes, closed) = {
                let state = self.state();
                let spool = &state.spool;
                (spool.last() > spool.acknowledged(), spool.pending_bytes(), state.closed)
            };
            if closed || bytes >= CHUNK_BYTES as u64 {
                return waits;
            }
            if !waits {
                self.news.notified().await;
                continue;
            }
            let at = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + GATHER);
            tokio::select! {
                () = self.news.notified() => {}
                () = tokio::time::sleep_until(at) => return true,
            }
        }
    }

    /// Makes what was said survive a power failure. Lines can be said meanwhile.
    async fn sync(&self) -> Result<(), spool::Error> {
        let Some(unsynced) = self.state().spool.unsynced()? else { return Ok(()) };
        let synced = tokio::task::spawn_blocking(move || {
            let outcome = unsynced.sync();
            (unsynced, outcome)
        });
        // It neither panics nor is it cancelled, but for the end of the process.
        let Ok((unsynced, outcome)) = synced.await else { return Err(spool::Error::Broken) };
        self.state().spool.synced(&unsynced, outcome).map(drop)
    }
}

impl Transcript {
    /// A transcript that is kept in `spool` and sent in the name of `holder`.
    #[expect(clippy::disallowed_methods, reason = "owned by the delivery, which ends it")]
    pub(crate) fn begin<B: WorkerEnd>(
        bus: B,
        holder: Holder,
        clock: Clock,
        spool: AttemptSpool,
    ) -> (Self, Delivery) {
        let state = Mutex::new(State { spool, closed: false });
        let shared = Arc::new(Shared { state, news: Notify::new(), clock });
        let sending = tokio::spawn(deliver(bus, holder, Arc::clone(&shared)));
        let sending = Some(AbortOnDropHandle::new(sending));
        (Self(Arc::clone(&shared)), Delivery { shared, sending })
    }

    /// Writes a line to disk, or takes note that one is left out. Never waits for the coordinator.
    pub(crate) fn line(&self, lane: OutputLane, text: &str) {
        let kept = kapelle_domain::prompt::head(text, LINE_BYTES_MAX);
        let mut line = OutputLine { at: self.0.now(), lane, text: kept.to_owned() };
        if kept.len() < text.len() {
            // In the place of as much as the notice takes.
            let cut = kapelle_domain::prompt::head(text, LINE_BYTES_MAX - 64);
            let missing = text.len() - cut.len();
            line.text = format!("{cut} [{missing} bytes of this line were not kept]");
        }
        self.0.state().spool.line(&line);
        self.0.news.notify_one();
    }

    /// The worker's own words.
    pub(crate) fn say(&self, text: &str) {
        self.line(OutputLane::Worker, text);
    }

    /// Writes the final report to disk, where it survives a crash of anything, as does what was
    /// said so far.
    pub(crate) async fn keep_report(&self, report: Report) {
        let place = self.0.state().spool.place();
        let kept = tokio::task::spawn_blocking(move || place.keep_report(report));
        // At the same time, since the disk does both in one go. The delivery meets the same
        // failure, and tells it.
        let (kept, _) = tokio::join!(kept, self.0.sync());
        if let Ok(Err(error)) = kept {
            // It is sent all the same; only a crash before that would cost the work.
            tracing::warn!(error = %Chain(&error), "a report could not be written to disk");
        }
    }

    /// Nothing more will be said.
    pub(crate) fn close(&self) {
        let now = self.0.now();
        let mut state = self.0.state();
        if let Err(error) = state.spool.mark_gap(now) {
            tracing::warn!(error = %Chain(&error), "lines that were left out can't be marked");
        }
        state.closed = true;
        drop(state);
        self.0.news.notify_one();
    }
}

impl Delivery {
    /// Delivers what an earlier process has left.
    pub(crate) fn resume<B: WorkerEnd>(
        bus: B,
        holder: Holder,
        clock: Clock,
        spool: AttemptSpool,
    ) -> Self {
        let (transcript, delivery) = Transcript::begin(bus, holder, clock, spool);
        transcript.close();
        delivery
    }

    /// Waits until a transcript that was closed has arrived as a whole, or until `patience` ends.
    /// Whether it has arrived.
    pub(crate) async fn arrive(&mut self, patience: impl Future<Output = ()>) -> bool {
        if let Some(sending) = &mut self.sending {
            tokio::select! {
                biased;
                _ = sending => self.sending = None,
                () = patience => return false,
            }
        }
        let state = self.shared.state();
        state.spool.acknowledged() == state.spool.last()
    }

    /// Removes the spool: nobody needs anything of it any more.
    pub(crate) async fn remove(self) {
        let place = self.shared.state().spool.place();
        let removed = tokio::task::spawn_blocking(move || place.remove()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(error = %Chain(&error), "a spool could not be removed");
        }
    }
}

async fn deliver<B: WorkerEnd>(bus: B, holder: Holder, shared: Arc<Shared>) {
    while shared.gather().await {
        let sent = match shared.sync().await {
            Ok(()) => send(&bus, &holder, &shared).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let attempt = holder.attempt;
                tracing::warn!(%attempt, error = %Chain(&error), "a transcript can't be delivered");
                return;
            }
        }
    }
}

/// Sends everything that was synced. False when there is nobody to send it to any more.
async fn send<B: WorkerEnd>(
    bus: &B,
    holder: &Holder,
    shared: &Shared,
) -> Result<bool, spool::Error> {
    let mut wait = REPEAT.0;
    loop {
        let next = shared.state().spool.next_lines(CHUNK_BYTES, shared.now())?;
        let Some((first, lines)) = next else { return Ok(true) };
        let last = first.saturating_add(lines.len() as u64) - 1;
        match bus.send_output(OutputChunk { holder: holder.clone(), first, lines }).await {
            Ok(watermark) if watermark >= first => {
                shared.state().spool.acknowledge(watermark.min(last))?;
                wait = REPEAT.0;
                continue;
            }
            Ok(_) | Err(kapelle_bus::Error::NoAnswer) => {}
            Err(kapelle_bus::Error::Closed) => return Ok(false),
            Err(error @ kapelle_bus::Error::Refused { .. }) => {
                tracing::warn!(attempt = %holder.attempt, %error, "a transcript can't be delivered");
                return Ok(false);
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(REPEAT.1);
    }
}

#[cfg(test)]
mod tests;
