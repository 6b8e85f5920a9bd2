//! The engine's rules, told in its own vocabulary, and its laws over random histories.

mod commands;
mod laws;
mod stories;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::attempt::Outcome;
use crate::command::{CommandAnswer, CommandKind, CommandState};
use crate::event::{Event, TaskEvent};
use crate::ids::{
    AttemptId, CommandSeq, OfferSeq, RequestId, RunId, SessionEpoch, TaskId, Timestamp, WorkerId,
};
use crate::plan::{RunSpec, Target, TaskSpec};
use crate::policy::Limits;
use crate::task::TaskState;
use crate::testing::{self as plans, Stage as Driven, report};
use crate::worker::{Held, Registration};

/// A world with a clock, that commits what it decides and remembers what it should do.
struct Stage {
    world: World,
    now: Timestamp,
    random: u64,
    log: Vec<(Timestamp, Event)>,
    effects: Vec<Effect>,
    requests: u64,
}

impl Driven for Stage {
    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, random: self.random }
    }

    fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn take(&mut self, decision: Decision) {
        for event in decision.events {
            self.world.apply(self.now, &event).expect("every event of a decision is legal");
            self.log.push((self.now, event));
        }
        if let Some(volatile) = decision.volatile {
            self.world.note(self.now, &volatile);
        }
        self.effects.extend(decision.effects);
    }
}

impl Stage {
    fn new() -> Self {
        // Most stories are not about workers that fall silent.
        let worker_ttl = Duration::from_secs(1_000_000);
        Self::with_limits(Limits { worker_ttl, ..Limits::default() })
    }

    fn with_limits(limits: Limits) -> Self {
        Self {
            world: World::new(limits),
            now: Timestamp(1_000_000),
            random: 0,
            log: Vec::new(),
            effects: Vec::new(),
            requests: 0,
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.give(Input::Tick).expect("time can always pass");
    }

    /// The offers since the last call.
    fn offers(&mut self) -> Vec<(AttemptId, OfferSeq)> {
        let effects = std::mem::take(&mut self.effects);
        let (offers, others): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Offer { .. }));
        self.effects = others;
        offers
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Offer { attempt, offer, .. } => Some((attempt, offer)),
                Effect::Poke { .. } | Effect::Hail { .. } | Effect::Integrate { .. } => None,
            })
            .collect()
    }

    /// Claims the only offer and starts it.
    fn start_next(&mut self, worker: &str, session: SessionEpoch) -> Holder {
        let offers = self.offers();
        assert_eq!(offers.len(), 1, "{offers:?}");
        let holder = self.claim(offers[0], worker, session).expect("a grant");
        self.give(WorkerRequest::Started(holder.clone())).expect("a start");
        holder
    }

    fn finish(&mut self, holder: &Holder, outcome: Outcome) -> Result<Answer, Rejection> {
        self.end(holder, report(outcome))
    }

    fn order(&mut self, scope: Scope, kind: CommandKind, text: &str) -> Vec<Receipt> {
        let command = Input::Command { scope, kind, text: text.to_owned(), request: None };
        match self.give(command).expect("a command that makes sense") {
            Answer::Commanded(receipts) => receipts,
            other => panic!("{other:?}"),
        }
    }

    fn look(&mut self, holder: &Holder) -> Directives {
        match self.give(WorkerRequest::Look(holder.clone())).expect("directives") {
            Answer::Directives(directives) => directives,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, holder: &Holder, seq: CommandSeq, answer: CommandAnswer) {
        let answered = WorkerRequest::Answered { holder: holder.clone(), seq, answer };
        self.give(answered).expect("noted");
    }

    /// What became of the commands of a task, by number.
    fn settled(&self, task: TaskId) -> Vec<(u64, CommandState)> {
        let settled = self.log.iter().filter_map(|(_, event)| match event {
            Event::Task { task: id, event: TaskEvent::CommandSettled { seq, state } }
                if *id == task =>
            {
                Some((seq.0, state.clone()))
            }
            _ => None,
        });
        settled.collect()
    }

    fn state(&self, run: RunId, index: u32) -> &'static str {
        self.world.task(TaskId { run, index }).expect("a task").record.state.name()
    }
}

fn targeted(uid: u128, concurrency: u32) -> RunSpec {
    let target = Target { branch: "main".to_owned(), head: "a".repeat(40) };
    RunSpec { target: Some(target), ..plans::run(uid, concurrency) }
}

fn integrated(key: &str, depends_on: &[u32]) -> TaskSpec {
    TaskSpec { integrate: true, ..plans::task(key, depends_on) }
}

fn resumption(run: RunId) -> Resumption {
    Resumption { run, head: None, done: std::collections::BTreeSet::new() }
}
