//! The event log, as pages and as a stream without gaps.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::Stream;
use kapelle_domain::event::Recorded;
use kapelle_domain::ids::{EventSeq, RunId};
use kapelle_store::Store;
use tokio::sync::broadcast;

use super::view::{EventPage, EventView};
use super::{Error, Service, show};

/// Events on a page.
const PAGE_MAX: u32 = 500;

/// One item of a stream of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// An event.
    Event(Box<EventView>),
    /// The place that was asked for is not of this log: fetch everything anew.
    Reset,
}

impl Service {
    /// Events after a place in the log, oldest first.
    ///
    /// # Errors
    /// When the place is malformed or of another log, or the store can't be read.
    pub async fn events(
        &self,
        after: Option<&str>,
        limit: u32,
        run: Option<&str>,
    ) -> Result<EventPage, Error> {
        let Place::After(after) = self.place(after)? else {
            return Err(Error::not_found(
                "unknown_epoch",
                "that place is of another log; begin anew",
            ));
        };
        let run = match run {
            Some(run) => Some(self.find_run(run).await?),
            None => None,
        };
        let events = self.0.store.events(after, limit.clamp(1, PAGE_MAX), run, None).await?;
        let epoch = self.0.store.epoch();
        let next = events.last().map_or(after, |event| event.seq);
        let events = events.iter().map(|event| show::event(epoch, event)).collect();
        Ok(EventPage { events, next: format!("{epoch}.{next}") })
    }

    /// The events after a place in the log, or from now on, without gaps and each once, for as
    /// long as the coordinator lives.
    ///
    /// # Errors
    /// When the place is malformed, or the store can't be read.
    pub async fn watch(
        &self,
        after: Option<&str>,
        run: Option<&str>,
    ) -> Result<impl Stream<Item = Watched> + Send + 'static + use<>, Error> {
        let run = match run {
            Some(run) => Some(self.find_run(run).await?),
            None => None,
        };
        // Before the first read, so that nothing falls between the two.
        let live = self.0.engine.watch();
        let (position, reset) = match after {
            None => (self.0.store.last_seq().await?, false),
            Some(after) => match self.place(Some(after))? {
                Place::After(position) => (position, false),
                Place::OfAnotherLog => (self.0.store.last_seq().await?, true),
            },
        };
        let tail = Tail {
            store: Arc::clone(&self.0.store),
            live,
            run,
            position,
            reset,
            behind: true,
            ready: VecDeque::new(),
        };
        Ok(futures_util::stream::unfold(tail, Tail::next))
    }

    fn place(&self, text: Option<&str>) -> Result<Place, Error> {
        let Some(text) = text else { return Ok(Place::After(EventSeq(0))) };
        let malformed = || {
            Error::invalid("malformed_place", format!("`{text}` is no place in the log"))
                .hint("a place is the id of an event")
        };
        let (epoch, seq) = match text.split_once('.') {
            Some((epoch, seq)) => (Some(epoch.parse::<u64>().map_err(|_| malformed())?), seq),
            None => (None, text),
        };
        let seq = EventSeq(seq.parse().map_err(|_| malformed())?);
        Ok(match epoch {
            Some(epoch) if epoch != self.0.store.epoch() => Place::OfAnotherLog,
            Some(_) | None => Place::After(seq),
        })
    }
}

enum Place {
    After(EventSeq),
    OfAnotherLog,
}

/// The end of the log, followed. It reads from the store until it has caught up, then takes what
/// the dispatch loop commits; when it lags it reads from the store again.
struct Tail {
    store: Arc<Store>,
    live: broadcast::Receiver<Arc<Vec<Recorded>>>,
    run: Option<RunId>,
    position: EventSeq,
    reset: bool,
    behind: bool,
    ready: VecDeque<Watched>,
}

impl Tail {
    async fn next(mut self) -> Option<(Watched, Self)> {
        if std::mem::take(&mut self.reset) {
            return Some((Watched::Reset, self));
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            if self.behind {
                if !self.read().await {
                    return None;
                }
            } else {
                match self.live.recv().await {
                    Ok(batch) => self.take(&batch),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        }
    }

    /// Reads the next page; false when the store can't be read any more.
    async fn read(&mut self) -> bool {
        match self.store.events(self.position, PAGE_MAX, None, None).await {
            Ok(page) => {
                self.behind = !page.is_empty();
                self.take(&page);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a watcher is cut off: the log can't be read");
                false
            }
        }
    }

    fn take(&mut self, batch: &[Recorded]) {
        for recorded in batch {
            if recorded.seq <= self.position {
                continue;
            }
            if recorded.seq != self.position.next() {
                // Something is missing in between: the store has it.
                self.behind = true;
                return;
            }
            self.position = recorded.seq;
            if self.run.is_none() || recorded.event.run() == self.run {
                self.ready
                    .push_back(Watched::Event(Box::new(show::event(self.store.epoch(), recorded))));
            }
        }
    }
}
