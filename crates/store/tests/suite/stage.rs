//! A coordinator without anything around it: decides, remembers, and makes batches.
//!
//! It keeps on the side what the tables must say but its memory forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kapelle_domain::attempt::{
    Attempt, Check, Outcome, ProcessExit, Report, Usage, Verdict, WorkResult,
};
use kapelle_domain::command::{Command, CommandState};
use kapelle_domain::engine::{
    Answer, Claim, Decision, Effect, Holder, Input, Moment, Rejection, Resumption, Submission,
    WorkerRequest, World,
};
use kapelle_domain::event::{Event, Recorded, TaskEvent};
use kapelle_domain::ids::{
    AttemptId, CommandSeq, EventSeq, OfferSeq, RequestId, RunId, SessionEpoch, TaskId, Timestamp,
    WorkerId,
};
use kapelle_domain::plan::{PlanSource, RunSpec, Target, TaskSpec};
use kapelle_domain::policy::{Limits, RetryPolicy, Timeouts};
use kapelle_domain::worker::{Held, Registration};
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

    pub(crate) fn give(&mut self, input: impl Into<Input>) -> Result<Answer, Rejection> {
        let input = input.into();
        let moment = Moment { now: self.now, random: self.random };
        let decision = self.world.decide(moment, &input)?;
        let answer = decision.answer.clone();
        self.take(decision);
        loop {
            let next = self.world.settle();
            if next == Decision::default() {
                return Ok(answer);
            }
            self.take(next);
        }
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
        Batch { runs: runs.collect(), tasks: tasks.collect(), events }
    }

    pub(crate) async fn commit(&mut self, store: &Store) -> Result<(), Error> {
        let batch = self.batch();
        if !batch.events.is_empty() {
            store.commit(batch).await?;
        }
        self.world.forget_finished();
        Ok(())
    }

    pub(crate) fn submit(&mut self, spec: RunSpec, tasks: Vec<TaskSpec>) -> RunId {
        let submission = Submission { spec: Arc::new(spec), tasks, planned_at: self.now };
        match self.give(Input::Submit(submission)).expect("a valid plan") {
            Answer::Submitted(run) => run,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn register(
        &mut self,
        name: &str,
        slots: u32,
        inventory: Vec<Held>,
    ) -> SessionEpoch {
        let registration = Registration {
            inventory,
            ..Registration::new(WorkerId(name.to_owned()), slots, vec!["coder".into()])
        };
        match self.give(WorkerRequest::Register(registration)).expect("a registration") {
            Answer::Registered { session, .. } => session,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn claim(
        &mut self,
        (attempt, offer): (AttemptId, OfferSeq),
        worker: &str,
        session: SessionEpoch,
    ) -> Result<Holder, Rejection> {
        self.requests += 1;
        let worker = WorkerId(worker.to_owned());
        let claim = Claim {
            request: RequestId(self.requests),
            attempt,
            offer,
            worker: worker.clone(),
            session,
        };
        match self.give(WorkerRequest::Claim(claim))? {
            Answer::Granted(grant) => Ok(Holder { attempt, fence: grant.fence, worker, session }),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn finish(
        &mut self,
        holder: &Holder,
        outcome: Outcome,
    ) -> Result<Answer, Rejection> {
        self.give(WorkerRequest::Finished {
            holder: holder.clone(),
            report: Arc::new(report(outcome)),
        })
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

pub(crate) fn run(uid: u128, concurrency: u32) -> RunSpec {
    RunSpec {
        uid: uuid::Uuid::from_u128(uid),
        title: format!("Run {uid}"),
        source: PlanSource::Tasks,
        concurrency,
        retry: RetryPolicy { backoff_base: Duration::ZERO, ..RetryPolicy::default() },
        timeouts: Timeouts::default(),
        target: Some(Target { branch: "main".to_owned(), head: "a".repeat(40) }),
    }
}

pub(crate) fn task(key: &str, depends_on: &[u32]) -> TaskSpec {
    TaskSpec {
        key: key.to_owned(),
        title: format!("Task {key}, “quoted” and 'so'"),
        prompt: format!("Do {key}.\n\tAll of it; -- even this.\0"),
        agent: "coder".into(),
        repository: "project".into(),
        needs: Vec::new(),
        depends_on: depends_on.to_vec(),
        priority: 0,
        integrate: false,
        verify: true,
    }
}

pub(crate) fn report(outcome: Outcome) -> Report {
    let done = outcome == Outcome::Completed;
    let result = done.then(|| WorkResult {
        commit: "c".repeat(40),
        base: "b".repeat(40),
        bundle: "bundle".to_owned(),
        bundle_bytes: 1,
        files_changed: 1,
        lines_added: 1,
        lines_deleted: 0,
    });
    let verdict = if done { Verdict::Pass } else { Verdict::Fail };
    let check = |name: &str, verdict, detail: &str| Check {
        name: name.to_owned(),
        verdict,
        detail: detail.to_owned(),
        took: Duration::from_millis(12),
    };
    Report {
        outcome,
        summary: "the agent's words".to_owned(),
        exit: Some(ProcessExit { code: Some(0), signal: None }),
        verdict,
        checks: vec![
            check("exit code", Verdict::Pass, "0"),
            check("tests", verdict, "the end of\nthe output"),
        ],
        result,
        usage: Usage { input_tokens: 100, output_tokens: 20, cost_microusd: Some(7) },
    }
}

pub(crate) fn resume(run: RunId) -> Input {
    Input::Resume(Resumption { run, head: None, done: BTreeSet::new() })
}
