//! One story a rule.

use std::collections::BTreeSet;

use super::*;
use crate::task::{Prepared, Tally};

#[test]
fn a_chain_runs_in_order_and_ends_the_run() {
    let mut stage = Stage::new();
    let session = stage.register("w", 2, Vec::new());
    let run = stage.submit(plans::run(1, 2), vec![plans::task("a", &[]), plans::task("b", &[0])]);
    assert_eq!((stage.state(run, 0), stage.state(run, 1)), ("active", "blocked"));
    let first = stage.start_next("w", session);
    stage.finish(&first, Outcome::Completed).expect("accepted");
    assert_eq!((stage.state(run, 0), stage.state(run, 1)), ("succeeded", "active"));
    let second = stage.start_next("w", session);
    stage.finish(&second, Outcome::Completed).expect("accepted");
    let names: Vec<_> = stage.log.iter().map(|(_, event)| event.name()).collect();
    assert_eq!(names.last(), Some(&"run_finished"));
    assert!(stage.world.run(run).expect("the run").is_finished());
}

#[test]
fn a_submission_that_is_repeated_is_one_run() {
    let mut stage = Stage::new();
    let one = stage.submit(plans::run(7, 1), vec![plans::task("a", &[])]);
    let events = stage.log.len();
    let two = stage.submit(plans::run(7, 1), vec![plans::task("a", &[])]);
    assert_eq!((one, stage.log.len()), (two, events));
}

#[test]
fn no_more_is_offered_than_there_is_room_for() {
    let tasks = || ["a", "b", "c", "d"].map(|key| plans::task(key, &[])).to_vec();
    let per_agent =
        |limit| Limits { per_agent: [("coder".to_owned(), limit)].into(), ..Limits::default() };
    for (limits, concurrency, slots, expected) in [
        (Limits::default(), 4, 4, 4),
        (Limits::default(), 2, 4, 2),
        (Limits::default(), 4, 3, 3),
        (Limits { total: 1, ..Limits::default() }, 4, 4, 1),
        (per_agent(2), 4, 4, 2),
        (Limits { per_repository: 3, ..Limits::default() }, 4, 4, 3),
    ] {
        let mut stage = Stage::with_limits(limits);
        stage.register("w", slots, Vec::new());
        stage.submit(plans::run(1, concurrency), tasks());
        assert_eq!(stage.offers().len(), expected);
    }
}

#[test]
fn higher_priority_goes_first() {
    let mut stage = Stage::new();
    stage.register("w", 1, Vec::new());
    let urgent = TaskSpec { priority: 5, ..plans::task("urgent", &[]) };
    let run = stage.submit(plans::run(1, 1), vec![plans::task("later", &[]), urgent]);
    assert_eq!((stage.state(run, 0), stage.state(run, 1)), ("ready", "active"));
}

#[test]
fn a_claim_is_exclusive_and_its_retry_gets_the_same_grant() {
    let mut stage = Stage::new();
    let (one, two) = (stage.register("one", 1, Vec::new()), stage.register("two", 1, Vec::new()));
    stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let offer = stage.offers()[0];
    let claim = Claim {
        request: RequestId(9),
        attempt: offer.0,
        offer: offer.1,
        worker: WorkerId("one".to_owned()),
        session: one,
    };
    let first = stage.give(WorkerRequest::Claim(claim.clone()));
    let events = stage.log.len();
    assert_eq!(stage.give(WorkerRequest::Claim(claim)), first, "the lost answer is given again");
    assert_eq!(stage.log.len(), events);
    assert_eq!(stage.claim(offer, "two", two), Err(Rejection::Taken { attempt: offer.0 }));
}

#[test]
fn a_grant_that_never_starts_is_offered_again_under_a_new_fence() {
    let mut stage = Stage::new();
    let (one, two) = (stage.register("one", 1, Vec::new()), stage.register("two", 1, Vec::new()));
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let offer = stage.offers()[0];
    let silent = stage.claim(offer, "one", one).expect("a grant");
    stage.pass(Duration::from_secs(61));
    let again = stage.offers()[0];
    assert_eq!(again.0, offer.0, "it is the same attempt, nothing was burnt");
    assert_eq!(stage.claim(offer, "two", two), Err(Rejection::ObsoleteOffer { attempt: offer.0 }));
    let holder = stage.claim(again, "two", two).expect("a grant");
    assert!(holder.fence > silent.fence);
    let late = stage.give(WorkerRequest::Started(silent.clone()));
    assert_eq!(late, Err(Rejection::Fenced { attempt: silent.attempt, fence: silent.fence }));
    stage.give(WorkerRequest::Started(holder)).expect("a start");
    assert_eq!(stage.state(run, 0), "active");
}

#[test]
fn a_silent_worker_is_suspect_then_lost_and_its_late_result_is_refused() {
    let mut stage = Stage::new();
    let (one, two) = (stage.register("one", 1, Vec::new()), stage.register("two", 1, Vec::new()));
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let zombie = stage.start_next("one", one);
    stage.pass(Duration::from_secs(31));
    assert!(stage.offers().is_empty(), "a suspect is not replaced");
    let heartbeat = WorkerRequest::Heartbeat {
        worker: zombie.worker.clone(),
        session: one,
        held: vec![Held { attempt: zombie.attempt, fence: zombie.fence }],
    };
    stage.give(heartbeat).expect("heard");
    stage.pass(Duration::from_secs(29));
    assert_eq!(stage.log.last().map(|(_, event)| event.name()), Some("attempt_recovered"));
    stage.pass(Duration::from_secs(2));
    stage.pass(Duration::from_secs(600));
    stage.pass(Duration::from_secs(60));
    let successor = stage.start_next("two", two);
    assert_eq!(successor.attempt.number, 2);
    assert_eq!(stage.finish(&zombie, Outcome::Completed), Ok(Answer::Orphaned));
    let refused = stage.finish(&zombie, Outcome::AgentFailed);
    assert_eq!(refused, Err(Rejection::Fenced { attempt: zombie.attempt, fence: zombie.fence }));
    assert_eq!(stage.state(run, 0), "active");
    stage.finish(&successor, Outcome::Completed).expect("accepted");
    assert_eq!(stage.state(run, 0), "succeeded");
}

#[test]
fn failures_count_against_their_own_budgets() {
    use Outcome::{AgentFailed, ChecksFailed, Infrastructure, Interrupted, TimedOut, Unrunnable};
    let check = |outcomes: &[Outcome], expected: &str| {
        let mut stage = Stage::new();
        let session = stage.register("w", 1, Vec::new());
        let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
        for outcome in outcomes {
            let holder = stage.start_next("w", session);
            stage.finish(&holder, outcome.clone()).expect("accepted");
            stage.pass(Duration::from_secs(60));
        }
        assert_eq!(stage.state(run, 0), expected, "{outcomes:?}");
    };
    check(&[AgentFailed], "active");
    check(&[AgentFailed, ChecksFailed], "failed");
    check(&[Infrastructure, Infrastructure], "active");
    check(&[Infrastructure, Infrastructure, Infrastructure], "failed");
    check(&[Infrastructure, TimedOut, Infrastructure], "active");
    check(&vec![Interrupted; 50], "active");
    check(&[Unrunnable], "failed");
}

#[test]
fn a_rate_limit_waits_as_long_as_asked_and_burns_nothing() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let holder = stage.start_next("w", session);
    let retry_after = Duration::from_secs(120);
    stage.finish(&holder, Outcome::RateLimited { retry_after }).expect("accepted");
    stage.pass(Duration::from_secs(119));
    assert_eq!(stage.state(run, 0), "retry_wait");
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.state(run, 0), "active");
}

#[test]
fn what_depends_on_a_failure_is_skipped_and_a_resume_tries_it_all_again() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let tasks = vec![plans::task("a", &[]), plans::task("b", &[0]), plans::task("c", &[1])];
    let run = stage.submit(plans::run(1, 1), tasks);
    let holder = stage.start_next("w", session);
    stage.finish(&holder, Outcome::Unrunnable).expect("accepted");
    let states = |stage: &Stage| [0, 1, 2].map(|index| stage.state(run, index));
    assert_eq!(states(&stage), ["failed", "skipped", "skipped"]);
    assert!(stage.world.run(run).expect("the run").is_finished());
    stage.give(Input::Resume(resumption(run))).expect("resumed");
    assert_eq!(states(&stage), ["active", "blocked", "blocked"]);
    for _ in 0..3 {
        let holder = stage.start_next("w", session);
        stage.finish(&holder, Outcome::Completed).expect("accepted");
    }
    assert_eq!(states(&stage), ["succeeded"; 3]);
    assert_eq!(stage.give(Input::Resume(resumption(run))), Err(Rejection::NothingToResume { run }));
}

#[test]
fn a_stop_ends_what_waits_at_once_and_what_runs_when_it_is_confirmed() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let tasks = vec![plans::task("a", &[]), plans::task("b", &[]), plans::task("c", &[0])];
    let run = stage.submit(plans::run(1, 1), tasks);
    let holder = stage.start_next("w", session);
    stage.order(Scope::Run(run), CommandKind::Stop, "enough");
    let states = |stage: &Stage| [0, 1, 2].map(|index| stage.state(run, index));
    assert_eq!(states(&stage), ["active", "cancelled", "cancelled"]);
    let poke = Effect::Poke { worker: holder.worker.clone(), attempt: holder.attempt };
    assert_eq!(std::mem::take(&mut stage.effects), [poke]);
    let wanted = stage.look(&holder);
    assert_eq!(wanted.cancel.as_deref(), Some("enough"));
    // The agent was faster than the order: the order was recorded first and wins.
    stage.finish(&holder, Outcome::Completed).expect("accepted");
    assert_eq!(states(&stage), ["cancelled"; 3]);
    assert_eq!(stage.finish(&holder, Outcome::Completed), Ok(Answer::Done), "said twice");
}

#[test]
fn a_stop_that_nobody_confirms_ends_unconfirmed() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    stage.start_next("w", session);
    stage.order(Scope::All, CommandKind::Stop, "enough");
    stage.pass(Duration::from_secs(60));
    let task = stage.world.task(TaskId { run, index: 0 }).expect("a task");
    assert_eq!(task.record.state, TaskState::Cancelled { unconfirmed: true });
}

#[test]
fn what_is_said_reaches_the_running_agent_or_the_next_one() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let task = TaskId { run, index: 0 };
    let holder = stage.start_next("w", session);
    stage.order(Scope::Task(task), CommandKind::Feedback, "use tabs");
    let wanted = stage.look(&holder);
    assert_eq!(wanted.commands.len(), 1);
    let seq = wanted.commands[0].seq;
    stage.answer(&holder, seq, CommandAnswer::Applied);
    stage.order(Scope::Task(task), CommandKind::Feedback, "and be brief");
    stage.finish(&holder, Outcome::AgentFailed).expect("accepted");
    stage.pass(Duration::from_secs(2));
    stage.effects.retain(|effect| matches!(effect, Effect::Offer { .. }));
    let offer = stage.offers()[0];
    let claim = Claim {
        request: RequestId(77),
        attempt: offer.0,
        offer: offer.1,
        worker: WorkerId("w".to_owned()),
        session,
    };
    let Ok(Answer::Granted(grant)) = stage.give(WorkerRequest::Claim(claim)) else { panic!() };
    assert!(grant.prompt.contains("use tabs") && grant.prompt.contains("and be brief"));
    assert!(grant.prompt.contains("the agent's words"), "the failure is told as well");
    let record = &stage.world.task(task).expect("a task").record;
    assert!(record.pending.is_empty(), "{:?}", record.pending);
}

#[test]
fn a_result_is_integrated_once_and_moves_the_base_of_what_follows() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(targeted(1, 1), vec![integrated("a", &[]), integrated("b", &[0])]);
    let holder = stage.start_next("w", session);
    stage.finish(&holder, Outcome::Completed).expect("accepted");
    assert_eq!(stage.state(run, 0), "integrating");
    let attempt = holder.attempt;
    assert_eq!(std::mem::take(&mut stage.effects), [Effect::Integrate { attempt }]);
    let commit = "d".repeat(40);
    let prepare = Input::PrepareIntegration {
        attempt,
        branch: "main".to_owned(),
        old: "a".repeat(40),
        new: commit.clone(),
    };
    stage.give(prepare.clone()).expect("announced");
    let receipts = stage.order(Scope::Task(attempt.task), CommandKind::Stop, "late");
    assert_eq!(receipts[0].state.name(), "rejected", "the announcement has won");
    let done = Input::Integrated { attempt, commit: commit.clone() };
    stage.give(done.clone()).expect("integrated");
    assert_eq!(stage.give(done), Ok(Answer::Done), "said twice");
    assert_eq!(stage.state(run, 0), "succeeded");
    let next = stage.start_next("w", session);
    let task = stage.world.task(next.attempt.task).expect("a task");
    assert_eq!(task.grant().and_then(|grant| grant.base.clone()), Some(commit));
    assert!(stage.give(prepare).is_err(), "an integration that is over can't be announced");
}

#[test]
fn a_conflict_goes_back_to_an_agent_with_the_reason() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(targeted(1, 1), vec![integrated("a", &[])]);
    let holder = stage.start_next("w", session);
    stage.finish(&holder, Outcome::Completed).expect("accepted");
    stage.effects.clear();
    let refuse = Input::RefuseIntegration {
        attempt: holder.attempt,
        class: RefusalClass::Work,
        reason: "conflict in src/lib.rs".to_owned(),
    };
    stage.give(refuse).expect("refused");
    assert_eq!(stage.state(run, 0), "retry_wait");
    stage.pass(Duration::from_secs(2));
    let record = &stage.world.task(TaskId { run, index: 0 }).expect("a task").record;
    assert_eq!(record.lessons, ["conflict in src/lib.rs"]);
    assert_eq!(stage.state(run, 0), "active");
}

/// A result that something beside it keeps from being integrated: `times` in a row.
fn hindered(
    stage: &mut Stage,
    attempt: AttemptId,
    times: std::ops::RangeInclusive<u32>,
    for_person: bool,
) {
    for times in times {
        let class = RefusalClass::Hindered { times, for_person, undone: false };
        let reason = "index.lock exists".to_owned();
        stage.give(Input::RefuseIntegration { attempt, class, reason }).expect("noted");
    }
}

#[test]
fn what_hinders_an_integration_costs_no_attempt() {
    for for_person in [false, true] {
        let mut stage = Stage::new();
        let session = stage.register("w", 1, Vec::new());
        let run = stage.submit(targeted(1, 1), vec![integrated("a", &[]), integrated("b", &[0])]);
        let holder = stage.start_next("w", session);
        stage.finish(&holder, Outcome::Completed).expect("accepted");
        let attempt = holder.attempt;
        let prepared =
            Prepared { branch: "main".to_owned(), old: "a".repeat(40), new: "d".repeat(40) };
        let Prepared { branch, old, new } = prepared.clone();
        stage.give(Input::PrepareIntegration { attempt, branch, old, new }).expect("announced");
        if !for_person {
            hindered(&mut stage, attempt, 1..=9, false);
            hindered(&mut stage, attempt, 9..=9, false);
            assert_eq!(stage.state(run, 0), "integrating", "it is tried again");
            let explained = stage.world.explain(attempt.task).expect("a task").reason;
            assert!(matches!(explained, Waiting::Hindered { times: 9, .. }), "{explained:?}");
        }
        let last = if for_person { 1 } else { 10 };
        hindered(&mut stage, attempt, last..=last, for_person);
        assert_eq!([0, 1].map(|index| stage.state(run, index)), ["failed", "skipped"]);
        assert!(stage.world.task(attempt.task).expect("a task").record.keeps_result());
        let mut after = reopened(&stage);
        let resumption = Resumption { run, head: None, done: BTreeSet::new() };
        after.give(Input::Resume(resumption)).expect("opened again");
        assert_eq!(after.effects, [Effect::Integrate { attempt }], "no agent works again");
        let state = &after.world.task(attempt.task).expect("a task").record.state;
        assert_eq!(*state, TaskState::Integrating { prepared: Some(prepared) });
        hindered(&mut after, attempt, 1..=9, false);
        assert_eq!(after.state(run, 0), "integrating", "it has the whole budget again");
        let commit = "d".repeat(40);
        after.give(Input::Integrated { attempt, commit }).expect("integrated");
        let record = &after.world.task(attempt.task).expect("a task").record;
        assert_eq!((record.tally, &record.hindrance), (Tally::default(), &None));
        assert_eq!(after.state(run, 1), "active", "what depends on it goes on");
    }
}

#[test]
fn a_restart_forgets_nothing_and_expires_nothing() {
    let mut stage = Stage::new();
    let session = stage.register("w", 4, Vec::new());
    let tasks = vec![integrated("a", &[]), integrated("b", &[]), plans::task("c", &[0])];
    let run = stage.submit(targeted(1, 3), tasks);
    let offers = stage.offers();
    let done = stage.claim(offers[0], "w", session).expect("a grant");
    stage.give(WorkerRequest::Started(done.clone())).expect("a start");
    stage.finish(&done, Outcome::Completed).expect("accepted");
    let held = stage.claim(offers[1], "w", session).expect("a grant");
    stage.give(WorkerRequest::Started(held.clone())).expect("a start");
    stage.now = stage.now.after(Duration::from_secs(3600));
    let mut after = reopened(&stage);
    after.give(Input::Recover { reported: Vec::new() }).expect("recovered");
    after.pass(Duration::from_secs(5));
    assert_eq!(
        [0, 1, 2].map(|index| after.state(run, index)),
        ["integrating", "active", "blocked"]
    );
    assert_eq!(after.effects, [Effect::Integrate { attempt: done.attempt }]);
    let brought = vec![Held { attempt: held.attempt, fence: held.fence }];
    let session = after.register("w", 4, brought);
    let holder = Holder { session, ..held };
    after.finish(&holder, Outcome::Completed).expect("the paid work is accepted");
}

#[test]
fn an_embedded_worker_dies_with_its_coordinator_and_its_attempts_count_for_nothing() {
    let mut stage = Stage::new();
    for round in 0..20 {
        let session = stage.register("local", 1, Vec::new());
        if round == 0 {
            stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
        }
        stage.start_next("local", session);
        let mut next = reopened(&stage);
        next.give(Input::Recover { reported: Vec::new() }).expect("recovered");
        next.pass(Duration::ZERO);
        stage = next;
    }
    assert_eq!(stage.state(RunId(1), 0), "ready");
}

/// Two tasks of a worker in the coordinator's process that were running when it was killed. The
/// report of the first one lies on disk; a coordinator without a worker has looked at both.
fn killed_with_a_report_on_disk() -> (Stage, RunId, [Holder; 2]) {
    let mut stage = Stage::new();
    let session = stage.register("local", 2, Vec::new());
    let run = stage.submit(targeted(1, 2), vec![integrated("a", &[]), integrated("b", &[])]);
    let offers = stage.offers();
    let holders = [0, 1].map(|index: usize| {
        let holder = stage.claim(offers[index], "local", session).expect("a grant");
        stage.give(WorkerRequest::Started(holder.clone())).expect("a start");
        holder
    });
    let mut after = reopened(&stage);
    after.give(Input::Recover { reported: vec![held(&holders[0])] }).expect("recovered");
    after.pass(Duration::from_secs(24 * 3600));
    (after, run, holders)
}

fn held(holder: &Holder) -> Held {
    Held { attempt: holder.attempt, fence: holder.fence }
}

#[test]
fn a_report_on_disk_waits_for_its_worker_however_long_that_takes() {
    let (mut stage, run, [done, cut_off]) = killed_with_a_report_on_disk();
    assert_eq!((stage.state(run, 0), stage.state(run, 1)), ("active", "ready"));
    let waiting = Waiting::Reported { worker: done.worker.clone() };
    let why = stage.world.explain(done.attempt.task).expect("a task");
    assert_eq!(why.reason, waiting);
    // A commit that fails costs the memory, but not what was found on disk.
    let mut reloaded = reopened(&stage);
    reloaded.world.take_over_sessions(stage.world.clone());
    assert_eq!(reloaded.world.explain(done.attempt.task).expect("a task").reason, waiting);

    let session = stage.register("local", 2, vec![held(&done), held(&cut_off)]);
    let again = Holder { session, ..done.clone() };
    assert_eq!(stage.offers().len(), 1, "only what was cut off is made again");
    let late = stage.finish(&Holder { session, ..cut_off.clone() }, Outcome::Completed);
    assert_eq!(late, Err(Rejection::Fenced { attempt: cut_off.attempt, fence: cut_off.fence }));
    assert!(stage.finish(&done, Outcome::Completed).is_err(), "its session is of the past");
    stage.finish(&again, Outcome::Completed).expect("the work that was done is accepted");
    assert_eq!(stage.state(run, 0), "integrating");
    assert_eq!(stage.finish(&again, Outcome::Completed), Ok(Answer::Done), "said twice");
}

#[test]
fn a_worker_that_comes_back_without_its_report_has_lost_it() {
    let (mut stage, run, [done, _]) = killed_with_a_report_on_disk();
    let earlier = Held { attempt: AttemptId { number: 7, ..done.attempt }, fence: done.fence };
    stage.register("local", 2, vec![earlier]);
    assert_eq!(stage.state(run, 0), "retry_wait");
}

#[test]
fn a_worker_that_came_back_has_the_usual_time_to_deliver() {
    let (mut stage, run, [done, _]) = killed_with_a_report_on_disk();
    stage.register("local", 2, vec![held(&done)]);
    stage.pass(Duration::from_secs(29));
    assert_eq!(stage.state(run, 0), "active");
    stage.pass(Duration::from_secs(2));
    stage.pass(Duration::from_secs(600));
    assert_eq!(stage.state(run, 0), "retry_wait", "it was silent for too long");
}

#[test]
fn an_order_to_stop_wins_over_a_report_that_waits() {
    let (mut stage, run, [done, _]) = killed_with_a_report_on_disk();
    stage.order(Scope::Run(run), CommandKind::Stop, "enough");
    assert!(stage.world.run(run).expect("the run").is_finished(), "nobody has to confirm it");
    let session = stage.register("local", 2, vec![held(&done)]);
    assert!(stage.finish(&Holder { session, ..done }, Outcome::Completed).is_err());

    let mut stage = Stage::new();
    let session = stage.register("local", 1, Vec::new());
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let holder = stage.start_next("local", session);
    stage.order(Scope::All, CommandKind::Stop, "enough");
    let mut after = reopened(&stage);
    after.give(Input::Recover { reported: vec![held(&holder)] }).expect("recovered");
    assert_eq!(after.state(run, 0), "cancelled");
}

#[test]
fn a_grant_has_its_whole_time_to_start_again_after_a_restart() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let offer = stage.offers()[0];
    let holder = stage.claim(offer, "w", session).expect("a grant");
    stage.now = stage.now.after(Duration::from_secs(3600));
    let mut after = reopened(&stage);
    after.give(Input::Recover { reported: Vec::new() }).expect("recovered");
    after.pass(Duration::from_secs(59));
    assert!(after.offers().is_empty());
    let session = after.register("w", 1, vec![held(&holder)]);
    after.give(WorkerRequest::Started(Holder { session, ..holder })).expect("it starts");
}

/// The same store under a new coordinator.
pub(super) fn reopened(stage: &Stage) -> Stage {
    let runs = stage.world.runs().map(|run| {
        let tasks = run.tasks.iter().map(|task| (Arc::clone(&task.spec), task.record.clone()));
        (run.id, run.record.clone(), tasks.collect())
    });
    let remote = stage.world.workers().filter(|worker| !worker.registration.embedded);
    let workers = remote.map(|worker| (worker.registration.clone(), worker.session, worker.duty));
    let snapshot = Snapshot {
        last_run: stage.world.last_run,
        last_session: stage.world.last_session,
        runs: runs.collect(),
        workers: workers.collect(),
    };
    let world = World::restore(stage.world.limits.clone(), snapshot, stage.now).expect("fits");
    Stage { world, now: stage.now, random: 0, log: Vec::new(), effects: Vec::new(), requests: 1000 }
}

fn of_roadmap(uid: u128) -> RunSpec {
    let source = crate::plan::PlanSource::Roadmap { path: "ROADMAP.md".to_owned(), goal: None };
    RunSpec { source, ..targeted(uid, 2) }
}

#[test]
fn a_work_stream_is_done_by_one_run_and_not_again_by_an_older_plan() {
    let mut stage = Stage::new();
    let session = stage.register("w", 2, Vec::new());
    stage.submit(of_roadmap(1), vec![plans::task("1.1", &[])]);
    let planned_at = stage.now;
    let submission = |uid| Submission {
        spec: Arc::new(of_roadmap(uid)),
        tasks: vec![plans::task("1.1", &[])],
        planned_at,
    };
    let holder = stage.start_next("w", session);
    let claimed = Err(Rejection::Claimed { key: "1.1".to_owned(), by: holder.attempt.task });
    assert_eq!(stage.give(Input::Submit(submission(2))), claimed, "it is being done");
    stage.now = stage.now.after(Duration::from_secs(1));
    stage.finish(&holder, Outcome::Completed).expect("accepted");
    assert_eq!(stage.give(Input::Submit(submission(3))), claimed, "it was done meanwhile");
    let mut later = submission(4);
    later.planned_at = stage.now.after(Duration::from_secs(1));
    stage.give(Input::Submit(later)).expect("whoever plans it now has seen that it is done");
}

#[test]
fn a_resumption_takes_what_was_done_meanwhile_and_starts_from_where_the_target_is() {
    let mut stage = Stage::new();
    let session = stage.register("w", 2, Vec::new());
    let tasks = vec![plans::task("1.1", &[]), plans::task("1.2", &[0]), plans::task("1.3", &[])];
    let run = stage.submit(of_roadmap(1), tasks);
    for offer in stage.offers() {
        let holder = stage.claim(offer, "w", session).expect("a grant");
        stage.finish(&holder, Outcome::Unrunnable).expect("accepted");
    }
    let done = TaskId { run, index: 0 };
    let resumption = Resumption { run, head: Some("b".repeat(40)), done: [done].into() };
    stage.give(Input::Resume(resumption)).expect("resumed");
    assert_eq!([0, 1, 2].map(|index| stage.state(run, index)), ["succeeded", "active", "active"]);
    let offers = stage.offers();
    stage.claim(offers[0], "w", session).expect("a grant");
    let task = stage.world.task(offers[0].0.task).expect("a task");
    assert_eq!(task.grant().and_then(|grant| grant.base.clone()), Some("b".repeat(40)));
}

#[test]
fn memory_does_not_grow_with_history() {
    let mut stage = Stage::new();
    let mut end = |number: u128, tasks: usize| {
        let tasks = (0..tasks).map(|key| plans::task(&key.to_string(), &[])).collect();
        let run = stage.submit(plans::run(number, 1), tasks);
        let (scope, kind) = (Scope::Run(run), CommandKind::Stop);
        let (text, request) = (String::new(), None);
        stage.give(Input::Command { scope, kind, text, request }).expect("an end");
        assert!(stage.world.run(run).expect("the run").is_finished());
        stage.world.forget_finished();
        let runs: Vec<RunId> = stage.world.runs().map(|run| run.id).collect();
        (run, runs)
    };
    let (large, known) = end(1, 12_000);
    assert_eq!(known, [large], "the newest is kept, however large");
    let (small, known) = end(2, 10);
    assert_eq!(known, [small], "two are more than may be kept");
    for number in 3..=110 {
        end(number, 1);
    }
    let (newest, known) = end(111, 1);
    assert_eq!((known.len(), known.last()), (100, Some(&newest)));
}
