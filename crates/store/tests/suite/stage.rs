//! A coordinator without anything around it: decides, remembers, and makes batches.
//!
//! It keeps on the side what the tables must say but its memory forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kapelle_domain::attempt::{Attempt, Check, Outcome, Report, Usage, Verdict};
use kapelle_domain::command::{Command, CommandState};
use kapelle_domain::engine::{
    Answer, Decision, Effect, Holder, Input, Moment, Rejection, Resumption, WorkerRequest, World,
};
use kapelle_domain::event::{Event, Recorded, TaskEvent};
use kapelle_domain::ids::{
    AttemptId, CommandSeq, EventSeq, OfferSeq, RequestId, RunId, SessionEpoch, TaskId, Timestamp,
};
use kapelle_domain::plan::{RunSpec, Target, TaskSpec};
use kapelle_domain::policy::{Limits, RetryPolicy};
use kapelle_domain::testing::{self, Stage as Driven};
use kapelle_store::{Batch, ChangedTask, Error, Store};

pub(crate) const WORKER: &str = "w0";

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) now: Timestamp,
    pub(crate) random: u64,
    pub(crate) last_seq: EventSeq,
    /// What is decided and not yet part of a batch.
    pub(crate) pending: Vec<Recorded>,
    pub(crate) offers: Vec<(AttemptId, OfferSeq)>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) commands: BTreeMap<(TaskId, CommandSeq), Command>,
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
            self.witness(&event);
            self.last_seq = self.last_seq.next();
            self.pending.push(Recorded { seq: self.last_seq, at: self.now, event });
        }
        if let Some(volatile) = decision.volatile {
            self.world.note(self.now, &volatile);
        }
        for effect in decision.effects {
            if let Effect::Offer { attempt, offer, .. } = effect {
                self.offers.push((attempt, offer));
            }
        }
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::over(World::new(Limits::default()), EventSeq(0))
    }

    fn over(world: World, last_seq: EventSeq) -> Self {
        Self {
            world,
            now: Timestamp(1_000_000),
            random: 0,
            last_seq,
            pending: Vec::new(),
            offers: Vec::new(),
            attempts: BTreeMap::new(),
            commands: BTreeMap::new(),
            requests: 0,
        }
    }

    /// What a coordinator does over a store that may hold unfinished work.
    pub(crate) async fn recover(store: &Store) -> Result<Self, Error> {
        let snapshot = store.load().await?;
        let last_seq = store.last_seq().await?;
        let now = Timestamp(1_000_000 + i64::try_from(last_seq.0).expect("few events"));
        let world = World::restore(Limits::default(), snapshot, now).expect("tables that fit");
        let mut stage = Self::over(world, last_seq);
        stage.now = now;
        stage.requests = last_seq.0;
        stage
            .give(Input::Recover { reported: Vec::new() })
            .expect("a coordinator can always start");
        Ok(stage)
    }

    fn witness(&mut self, event: &Event) {
        let Event::Task { task: id, event } = event else { return };
        match event {
            TaskEvent::CommandAccepted { command } => {
                self.commands.insert((*id, command.seq), command.clone());
            }
            TaskEvent::CommandDelivered { seq, attempt } => {
                if let Some(command) = self.commands.get_mut(&(*id, *seq)) {
                    command.state = CommandState::Delivered { attempt: *attempt };
                }
            }
            TaskEvent::CommandSettled { seq, state } => {
                if let Some(command) = self.commands.get_mut(&(*id, *seq)) {
                    command.state = state.clone();
                }
            }
            _ => {}
        }
        if let Some(attempt) = self.world.task(*id).and_then(|task| task.record.attempt.clone()) {
            self.attempts.insert(AttemptId { task: *id, number: attempt.number }, attempt);
        }
    }

    /// Everything that was decided since the last batch.
    pub(crate) fn batch(&mut self) -> Batch {
        let events = std::mem::take(&mut self.pending);
        let runs: BTreeSet<RunId> = events
            .iter()
            .filter(|recorded| recorded.event.task().is_none())
            .filter_map(|recorded| recorded.event.run())
            .collect();
        let tasks: BTreeSet<TaskId> =
            events.iter().filter_map(|recorded| recorded.event.task()).collect();
        let added: BTreeSet<TaskId> = events
            .iter()
            .filter(|recorded| {
                matches!(&recorded.event, Event::Task { event: TaskEvent::Submitted { .. }, .. })
            })
            .filter_map(|recorded| recorded.event.task())
            .collect();
        let runs = runs.into_iter().filter_map(|id| Some((id, self.world.run(id)?.record.clone())));
        let tasks = tasks.into_iter().filter_map(|id| {
            let task = self.world.task(id)?;
            let spec = added.contains(&id).then(|| Arc::clone(&task.spec));
            Some(ChangedTask { id, spec, record: task.record.clone() })
        });
        Batch { runs: runs.collect(), tasks: tasks.collect(), events, ..Batch::default() }
    }

    pub(crate) async fn commit(&mut self, store: &Store) -> Result<(), Error> {
        let batch = self.batch();
        if !batch.events.is_empty() {
            store.commit(batch).await?;
        }
        self.world.forget_finished();
        Ok(())
    }

    pub(crate) fn finish(
        &mut self,
        holder: &Holder,
        outcome: Outcome,
    ) -> Result<Answer, Rejection> {
        self.end(holder, report(outcome))
    }

    /// Carries every offer so far to its end.
    pub(crate) fn work_off(&mut self, session: SessionEpoch, outcome: &Outcome) {
        for offer in std::mem::take(&mut self.offers) {
            if let Ok(holder) = self.claim(offer, WORKER, session) {
                self.give(WorkerRequest::Started(holder.clone())).expect("a start");
                self.finish(&holder, outcome.clone()).expect("an end");
            }
        }
    }
}

/// A run that waits for nothing before it tries again.
pub(crate) fn run(uid: u128, concurrency: u32) -> RunSpec {
    let retry = RetryPolicy { backoff_base: Duration::ZERO, ..RetryPolicy::default() };
    let target = Target { branch: "main".to_owned(), head: "a".repeat(40) };
    RunSpec { retry, target: Some(target), ..testing::run(uid, concurrency) }
}

/// A task whose words are hard to keep.
pub(crate) fn task(key: &str, depends_on: &[u32]) -> TaskSpec {
    TaskSpec {
        title: format!("Task {key}, “quoted” and 'so'"),
        prompt: format!("Do {key}.\n\tAll of it; -- even this.\0"),
        ..testing::task(key, depends_on)
    }
}

/// A report with checks, and with what it has used.
pub(crate) fn report(outcome: Outcome) -> Report {
    let verdict = if outcome == Outcome::Completed { Verdict::Pass } else { Verdict::Fail };
    let check = |name: &str, verdict, detail: &str| Check {
        name: name.to_owned(),
        verdict,
        detail: detail.to_owned(),
        took: Duration::from_millis(12),
    };
    Report {
        verdict,
        checks: vec![
            check("exit code", Verdict::Pass, "0"),
            check("tests", verdict, "the end of\nthe output"),
        ],
        usage: Usage { input_tokens: 100, output_tokens: 20, cost_microusd: Some(7) },
        ..testing::report(outcome)
    }
}

pub(crate) fn resume(run: RunId) -> Input {
    Input::Resume(Resumption { run, head: None, done: BTreeSet::new() })
}
