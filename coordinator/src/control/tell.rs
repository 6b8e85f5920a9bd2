//! What is told to whoever listens: events, and how agents are doing.
//!
//! It may be lost, and never waited for: when it leaves more slowly than it is committed, some of
//! it is left out, which the numbers of events show. How an agent is doing is a state, told again
//! from time to time, so that who comes late or missed something learns it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kapelle_bus::control::{ControlEnd, EventNotice, Status};
use kapelle_domain::event::Recorded;
use kapelle_domain::ids::AttemptId;
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;

use crate::service::view::EventView;
use crate::service::{Keys, Service};

/// How often it is looked whether agents have said something.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After how many looks everything is told again.
const AGAIN_AFTER: u32 = 30;

/// Tells until the coordinator ends.
pub(super) struct Telling<C> {
    service: Service,
    end: C,
    committed: broadcast::Receiver<Arc<Vec<Recorded>>>,
    keys: Keys,
    /// What was told last of each attempt that isn't over.
    live: BTreeMap<AttemptId, Status>,
    /// How much agents had said at the last look.
    said: u64,
    looks: u32,
}

impl<C: ControlEnd> Telling<C> {
    pub(super) fn new(service: Service, end: C) -> Self {
        let (committed, said) = (service.committed(), service.said());
        let (keys, live) = (Keys::default(), BTreeMap::new());
        Self { service, end, committed, keys, live, said, looks: 0 }
    }

    pub(super) async fn run(mut self) {
        self.begin().await;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look().await,
                batch = self.committed.recv() => match batch {
                    Ok(batch) => self.tell(&batch).await,
                    Err(broadcast::error::RecvError::Lagged(batches)) => {
                        tracing::warn!(batches, "events come faster than they leave; some are left out");
                        self.begin().await;
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
        }
    }

    /// Tells how every agent is doing.
    async fn begin(&mut self) {
        match self.service.agents().await {
            Ok(agents) => self.live = agents.into_iter().collect(),
            Err(error) => tracing::warn!(%error, "how agents are doing can't be read"),
        }
        self.tell_all().await;
    }

    async fn tell(&mut self, batch: &[Recorded]) {
        for recorded in batch {
            let shown = match self.service.show(&mut self.keys, recorded).await {
                Ok(shown) => shown,
                Err(error) => {
                    tracing::warn!(%error, seq = %recorded.seq, "an event can't be shown");
                    continue;
                }
            };
            let told = self.end.publish_event(recorded.event.run(), &notice(shown)).await;
            if let Err(error) = told {
                tracing::debug!(%error, seq = %recorded.seq, "an event was told to nobody");
            }
        }
        let agents = match self.service.agents_after(batch).await {
            Ok(agents) => agents,
            Err(error) => {
                tracing::warn!(%error, "how agents are doing can't be read");
                return;
            }
        };
        for (attempt, mut status) in agents {
            let is_over = status.phase == "ended";
            let before = self.live.remove(&attempt);
            if let Some(before) = before.filter(|_| status.worker.is_empty()) {
                status.worker = before.worker;
            }
            publish(&self.end, &status).await;
            if !is_over {
                self.live.insert(attempt, status);
            }
        }
    }

    /// Tells what agents have said since the last look, and from time to time everything.
    async fn look(&mut self) {
        self.looks += 1;
        if self.looks >= AGAIN_AFTER {
            self.looks = 0;
            self.tell_all().await;
        }
        let said = self.service.said();
        if said == std::mem::replace(&mut self.said, said) {
            return;
        }
        let now = self.service.now_ms();
        for (attempt, status) in &mut self.live {
            let Some(activity) = self.service.activity(*attempt) else { continue };
            if activity != status.activity {
                status.activity = activity;
                status.at_ms = now;
                publish(&self.end, status).await;
            }
        }
    }

    async fn tell_all(&self) {
        for status in self.live.values() {
            publish(&self.end, status).await;
        }
    }
}

async fn publish<C: ControlEnd>(end: &C, status: &Status) {
    if let Err(error) = end.publish_status(status).await {
        tracing::debug!(%error, agent = %status.agent, "how an agent is doing was told to nobody");
    }
}

fn notice(shown: EventView) -> EventNotice {
    let EventView { id, seq, at, kind, run, task, message, data } = shown;
    EventNotice { id, seq, at, kind, run, task, message, data: Some(data) }
}
