//! What tests share that drive the engine: plans with nothing special about them, and what a
//! coordinator and its workers say to it. For the tests of this crate, and by the feature `testing`
//! for those of crates that keep what is decided. Never part of the product.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use uuid::Uuid;

use crate::attempt::{Outcome, ProcessExit, Report, Usage, Verdict, WorkResult};
use crate::engine::{
    Answer, Claim, Decision, Holder, Input, Moment, Rejection, Submission, WorkerRequest, World,
};
use crate::ids::{AttemptId, OfferSeq, RequestId, RunId, SessionEpoch, WorkerId};
use crate::plan::{PlanSource, RunSpec, TaskSpec};
use crate::policy::{RetryPolicy, Timeouts};
use crate::worker::{Held, Registration};

/// A world with a clock, that takes what it decides.
pub trait Stage {
    /// The world.
    fn world(&mut self) -> &mut World;

    /// The moment of what is decided now.
    fn moment(&self) -> Moment;

    /// A number that no claim had before.
    fn next_request(&mut self) -> RequestId;

    /// Applies what was decided, and remembers of it what the test needs.
    fn take(&mut self, decision: Decision);

    /// What a coordinator does with an input: decides, takes, settles.
    ///
    /// # Errors
    /// The engine's refusal.
    fn give(&mut self, input: impl Into<Input>) -> Result<Answer, Rejection> {
        let moment = self.moment();
        let decision = self.world().decide(moment, &input.into())?;
        let answer = decision.answer.clone();
        self.take(decision);
        loop {
            let next = self.world().settle();
            if next == Decision::default() {
                return Ok(answer);
            }
            self.take(next);
        }
    }

    /// Submits a plan, which must be valid.
    fn submit(&mut self, spec: RunSpec, tasks: Vec<TaskSpec>) -> RunId {
        let planned_at = self.moment().now;
        let submission = Submission { spec: Arc::new(spec), tasks, planned_at };
        match self.give(Input::Submit(submission)).expect("a valid plan") {
            Answer::Submitted(run) => run,
            other => panic!("{other:?}"),
        }
    }

    /// Registers a worker with the agent `coder`. One that lives with its coordinator is called
    /// `local`.
    fn register(&mut self, name: &str, slots: u32, inventory: Vec<Held>) -> SessionEpoch {
        let registration = Registration {
            inventory,
            embedded: name == "local",
            ..Registration::new(WorkerId(name.to_owned()), slots, vec!["coder".into()])
        };
        match self.give(WorkerRequest::Register(registration)).expect("a registration") {
            Answer::Registered { session, .. } => session,
            other => panic!("{other:?}"),
        }
    }

    /// Claims what was offered.
    ///
    /// # Errors
    /// The engine's refusal.
    fn claim(
        &mut self,
        (attempt, offer): (AttemptId, OfferSeq),
        worker: &str,
        session: SessionEpoch,
    ) -> Result<Holder, Rejection> {
        let (request, worker) = (self.next_request(), WorkerId(worker.to_owned()));
        let claim = Claim { request, attempt, offer, worker: worker.clone(), session };
        match self.give(WorkerRequest::Claim(claim))? {
            Answer::Granted(grant) => Ok(Holder { attempt, fence: grant.fence, worker, session }),
            other => panic!("{other:?}"),
        }
    }

    /// Ends an attempt.
    ///
    /// # Errors
    /// The engine's refusal.
    fn end(&mut self, holder: &Holder, report: Report) -> Result<Answer, Rejection> {
        let (holder, report) = (holder.clone(), Arc::new(report));
        self.give(WorkerRequest::Finished { holder, report })
    }
}

/// A task with nothing special about it.
#[must_use]
pub fn task(key: &str, depends_on: &[u32]) -> TaskSpec {
    TaskSpec {
        key: key.to_owned(),
        title: format!("Task {key}"),
        prompt: format!("Do {key}."),
        agent: "coder".into(),
        repository: "project".into(),
        needs: Vec::new(),
        depends_on: depends_on.to_vec(),
        priority: 0,
        integrate: false,
        verify: true,
    }
}

/// A run with nothing special about it.
#[must_use]
pub fn run(uid: u128, concurrency: u32) -> RunSpec {
    RunSpec {
        uid: Uuid::from_u128(uid),
        request: String::new(),
        title: format!("Run {uid}"),
        source: PlanSource::Tasks,
        concurrency,
        retry: RetryPolicy::default(),
        timeouts: Timeouts::default(),
        target: None,
    }
}

/// What a worker says of an attempt without checks; with a result when it is complete.
#[must_use]
pub fn report(outcome: Outcome) -> Report {
    let result = (outcome == Outcome::Completed).then(|| WorkResult {
        commit: "c".repeat(40),
        base: "b".repeat(40),
        bundle: "bundle".to_owned(),
        bundle_bytes: 1,
        files_changed: 1,
        lines_added: 1,
        lines_deleted: 0,
    });
    Report {
        outcome,
        summary: "the agent's words".to_owned(),
        exit: Some(ProcessExit { code: Some(0), signal: None }),
        verdict: Verdict::Pass,
        checks: Vec::new(),
        result,
        usage: Usage::default(),
    }
}
