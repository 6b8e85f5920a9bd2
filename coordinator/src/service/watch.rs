//! The event log, as pages and as a stream without gaps.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::Stream;
use kapelle_domain::event::{Event, Recorded, TaskEvent};
use kapelle_domain::ids::{EventSeq, RunId, TaskId};
use kapelle_store::Store;
use tokio::sync::broadcast;

use super::view::{EventPage, EventView};
use super::{Error, Service, show};

/// Events on a page.
const PAGE_MAX: u32 = 500;

/// Keys that one reader remembers.
const KEYS_MAX: usize = 10_000;

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
        let after = match self.place(after).await? {
            Place::After(after) => after,
            Place::OfAnotherLog => {
                let message = "that place is of another log; begin anew";
                return Err(Error::not_found("unknown_epoch", message));
            }
            Place::Beyond(last) => {
                let message = format!("that place is beyond the end of the log, {last}");
                return Err(Error::not_found("unknown_place", message)
                    .hint("it is of another log, or of a state that was replaced; begin anew"));
            }
        };
        let run = match run {
            Some(run) => Some(self.find_run(run).await?),
            None => None,
        };
        let events = self.0.store.events(after, limit.clamp(1, PAGE_MAX), run, None).await?;
        let next = events.last().map_or(after, |event| event.seq);
        let mut shown = Vec::with_capacity(events.len());
        let mut keys = Keys::default();
        for event in &events {
            shown.push(keys.show(&self.0.store, event).await?);
        }
        Ok(EventPage { events: shown, next: format!("{}.{next}", self.0.store.epoch()) })
    }

    /// What is committed from now on; who lags behind misses some.
    pub(crate) fn committed(&self) -> broadcast::Receiver<Arc<Vec<Recorded>>> {
        self.0.engine.watch()
    }

    /// An event, as it is shown.
    pub(crate) async fn show(
        &self,
        keys: &mut Keys,
        recorded: &Recorded,
    ) -> Result<EventView, Error> {
        Ok(keys.show(&self.0.store, recorded).await?)
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
            Some(after) => match self.place(Some(after)).await? {
                Place::After(position) => (position, false),
                Place::OfAnotherLog => (self.0.store.last_seq().await?, true),
                Place::Beyond(last) => (last, true),
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
            keys: Keys::default(),
        };
        Ok(futures_util::stream::unfold(tail, Tail::next))
    }

    async fn place(&self, text: Option<&str>) -> Result<Place, Error> {
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
        if epoch.is_some_and(|epoch| epoch != self.0.store.epoch()) {
            return Ok(Place::OfAnotherLog);
        }
        let last = self.0.store.last_seq().await?;
        Ok(if seq > last { Place::Beyond(last) } else { Place::After(seq) })
    }
}

/// The keys by which people know tasks; a task never changes its own.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<TaskId, String>);

impl Keys {
    async fn show(
        &mut self,
        store: &Store,
        recorded: &Recorded,
    ) -> Result<EventView, kapelle_store::Error> {
        if let Event::Task { task, event: TaskEvent::Submitted { spec } } = &recorded.event {
            self.learn(*task, &spec.key);
        }
        let key = match recorded.event.task() {
            Some(task) => self.of(store, task).await?,
            None => None,
        };
        Ok(show::event(store.epoch(), recorded, key))
    }

    async fn of(
        &mut self,
        store: &Store,
        task: TaskId,
    ) -> Result<Option<&str>, kapelle_store::Error> {
        if !self.0.contains_key(&task) {
            let Some(stored) = store.task(task).await? else { return Ok(None) };
            self.learn(task, &stored.spec.key);
        }
        Ok(self.0.get(&task).map(String::as_str))
    }

    fn learn(&mut self, task: TaskId, key: &str) {
        if self.0.len() >= KEYS_MAX {
            self.0.clear();
        }
        self.0.insert(task, key.to_owned());
    }
}

enum Place {
    After(EventSeq),
    OfAnotherLog,
    /// No event has that number yet; the last one that has one.
    Beyond(EventSeq),
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
    keys: Keys,
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
            let taken = if self.behind {
                self.read().await
            } else {
                match self.live.recv().await {
                    Ok(batch) => self.take(&batch).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.behind = true;
                        Ok(())
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            };
            if let Err(error) = taken {
                tracing::warn!(%error, "a watcher is cut off: the log can't be read");
                return None;
            }
        }
    }

    /// Reads the next page.
    async fn read(&mut self) -> Result<(), kapelle_store::Error> {
        let page = self.store.events(self.position, PAGE_MAX, None, None).await?;
        self.behind = !page.is_empty();
        self.take(&page).await
    }

    async fn take(&mut self, batch: &[Recorded]) -> Result<(), kapelle_store::Error> {
        for recorded in batch {
            if recorded.seq <= self.position {
                continue;
            }
            if recorded.seq != self.position.next() {
                // Something is missing in between: the store has it.
                self.behind = true;
                return Ok(());
            }
            self.position = recorded.seq;
            if self.run.is_none() || recorded.event.run() == self.run {
                let event = self.keys.show(&self.store, recorded).await?;
                self.ready.push_back(Watched::Event(Box::new(event)));
            }
        }
        Ok(())
    }
}
