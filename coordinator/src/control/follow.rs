//! Receipts after the first one: whoever steers hears what becomes of the commands.
//!
//! One receipt for each commit that changes something of a request. Nothing of it is kept beyond
//! this process: the commands are rows in the store, and a client that repeats its request by its
//! name is told how they stand, and followed again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kapelle_bus::control::ReceiptEnd;
use kapelle_domain::command::CommandState;
use kapelle_domain::event::{Event, Recorded, TaskEvent};
use kapelle_domain::ids::{CommandSeq, TaskId};
use tokio::sync::{broadcast, mpsc};

use super::receipt;
use crate::service::view::Verb;
use crate::service::{Ordered, Service};

/// Commands that are followed at once. Beyond that the oldest requests are followed no longer.
const COMMANDS_MAX: usize = 20_000;

/// A request that was recorded.
pub(super) struct Followed<R> {
    id: String,
    verb: Verb,
    receipts: R,
    commands: Vec<Ordered>,
}

impl<R: ReceiptEnd> Followed<R> {
    pub(super) fn new(id: String, verb: Verb, receipts: R, commands: Vec<Ordered>) -> Self {
        Self { id, verb, receipts, commands }
    }

    /// Sends the first receipt.
    pub(super) async fn begin(&self, service: &Service) {
        self.send(self.commands.iter(), service).await;
    }

    /// Whether there will be more to say, to somebody who listens.
    pub(super) fn is_open(&self) -> bool {
        self.receipts.is_wanted() && self.commands.iter().any(|one| !one.state.is_settled())
    }

    async fn send(&self, named: impl Iterator<Item = &Ordered>, service: &Service) {
        let receipt = receipt::of(&self.id, self.verb, &self.commands, named, service);
        if let Err(error) = self.receipts.send(&receipt).await {
            // Whoever asked may be gone, or the connection is; the command is recorded all the same.
            tracing::debug!(request = self.id, %error, "a receipt reached nobody");
        }
    }
}

/// Everything that is followed.
pub(super) struct Following<R> {
    service: Service,
    new: mpsc::Receiver<Followed<R>>,
    committed: broadcast::Receiver<Arc<Vec<Recorded>>>,
    /// By the order in which they came.
    requests: BTreeMap<u64, Followed<R>>,
    /// Which requests a command belongs to, and its place in each.
    places: HashMap<(TaskId, CommandSeq), Vec<(u64, usize)>>,
    count: u64,
}

impl<R: ReceiptEnd> Following<R> {
    pub(super) fn new(service: Service, new: mpsc::Receiver<Followed<R>>) -> Self {
        let committed = service.committed();
        let (requests, places) = (BTreeMap::new(), HashMap::new());
        Self { service, new, committed, requests, places, count: 0 }
    }

    /// Follows until the coordinator ends.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                Some(followed) = self.new.recv() => self.take(followed).await,
                batch = self.committed.recv() => match batch {
                    Ok(batch) => self.note(&batch).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.look_at_all().await,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
        }
    }

    async fn take(&mut self, followed: Followed<R>) {
        self.count += 1;
        let ticket = self.count;
        for (place, command) in followed.commands.iter().enumerate() {
            let key = (command.task, command.seq);
            self.places.entry(key).or_default().push((ticket, place));
        }
        self.requests.insert(ticket, followed);
        // What was committed before it was followed.
        self.look_at(ticket).await;
        while self.places.len() > COMMANDS_MAX
            && self.requests.len() > 1
            && let Some((oldest, dropped)) = self.requests.pop_first()
        {
            tracing::warn!(request = dropped.id, "too much is followed; this is no longer");
            self.forget(oldest, &dropped);
        }
    }

    /// Takes note of what was committed.
    async fn note(&mut self, batch: &[Recorded]) {
        let mut changed: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        for recorded in batch {
            let Event::Task { task, event } = &recorded.event else { continue };
            let (seq, state) = match event {
                TaskEvent::CommandDelivered { seq, attempt } => {
                    (*seq, &CommandState::Delivered { attempt: *attempt })
                }
                TaskEvent::CommandSettled { seq, state } => (*seq, state),
                _ => continue,
            };
            for (ticket, place) in self.places.get(&(*task, seq)).into_iter().flatten() {
                let followed = self.requests.get_mut(ticket);
                let command = followed.and_then(|followed| followed.commands.get_mut(*place));
                if command.is_some_and(|command| command.note(state)) {
                    changed.entry(*ticket).or_default().insert(*place);
                }
            }
        }
        for (ticket, places) in changed {
            self.tell(ticket, &places).await;
        }
    }

    /// Reads from the store how the commands of a request stand.
    async fn look_at(&mut self, ticket: u64) {
        let Some(followed) = self.requests.get_mut(&ticket) else { return };
        let now = match self.service.ordered_by(&followed.id).await {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!(request = followed.id, %error, "what became of a request can't be read");
                return;
            }
        };
        let now: HashMap<_, _> =
            now.into_iter().map(|command| ((command.task, command.seq), command.state)).collect();
        let mut changed = BTreeSet::new();
        for (place, command) in followed.commands.iter_mut().enumerate() {
            let state = now.get(&(command.task, command.seq));
            if state.is_some_and(|state| command.note(state)) {
                changed.insert(place);
            }
        }
        if !changed.is_empty() {
            self.tell(ticket, &changed).await;
        }
    }

    async fn look_at_all(&mut self) {
        let tickets: Vec<u64> = self.requests.keys().copied().collect();
        for ticket in tickets {
            self.look_at(ticket).await;
        }
    }

    async fn tell(&mut self, ticket: u64, changed: &BTreeSet<usize>) {
        let Some(followed) = self.requests.get(&ticket) else { return };
        let named = changed.iter().filter_map(|place| followed.commands.get(*place));
        followed.send(named, &self.service).await;
        if !followed.is_open()
            && let Some(followed) = self.requests.remove(&ticket)
        {
            self.forget(ticket, &followed);
        }
    }

    fn forget(&mut self, ticket: u64, followed: &Followed<R>) {
        for command in &followed.commands {
            let key = (command.task, command.seq);
            if let Some(places) = self.places.get_mut(&key) {
                places.retain(|(other, _)| *other != ticket);
                if places.is_empty() {
                    self.places.remove(&key);
                }
            }
        }
    }
}
