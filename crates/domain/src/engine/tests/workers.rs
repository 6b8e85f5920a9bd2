//! Workers: where tasks may go, silence, duty, and what is left of attempts that were given up.

use super::*;
use crate::attempt::WorkResult;
use crate::worker::{Duty, InvalidRegistration, ProtocolRange};

fn labelled(name: &str, labels: &[(&str, &str)]) -> Registration {
    let pairs = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
    Registration {
        labels: pairs.collect(),
        ..Registration::new(WorkerId(name.to_owned()), 1, vec!["coder".into()])
    }
}

fn register(stage: &mut Stage, registration: Registration) -> (SessionEpoch, Standing) {
    match stage.give(WorkerRequest::Register(registration)).expect("a registration") {
        Answer::Registered { session, standing } => (session, standing),
        other => panic!("{other:?}"),
    }
}

fn needing(key: &str, needs: &[&str]) -> TaskSpec {
    let needs = needs.iter().map(|text| text.parse().expect("a constraint")).collect();
    TaskSpec { needs, ..plans::task(key, &[]) }
}

#[test]
fn a_task_goes_only_where_its_constraints_fit() {
    let mut stage = Stage::new();
    let (plain, standing) = register(&mut stage, labelled("plain", &[]));
    assert_eq!(standing.classes.len(), 1, "the agent's own class");
    let run = stage.submit(plans::run(1, 2), vec![needing("a", &["gpu", "memory_gb>=16"])]);
    let why = |stage: &Stage| {
        let reason = stage.world.explain(TaskId { run, index: 0 }).expect("a reason").reason;
        match reason {
            Waiting::Room { wait: Wait::NoWorker { missing, .. } } => missing,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(why(&stage), ["gpu", "memory_gb>=16"]);
    register(&mut stage, labelled("small", &[("gpu", ""), ("memory_gb", "8")]));
    assert_eq!(why(&stage), ["memory_gb>=16"]);
    let (big, standing) =
        register(&mut stage, labelled("big", &[("gpu", ""), ("memory_gb", "32")]));
    assert_eq!(standing.classes.len(), 2);
    let offer = stage.offers()[0];
    let refused = stage.claim(offer, "plain", plain);
    assert!(matches!(refused, Err(Rejection::Ineligible { .. })), "{refused:?}");
    stage.claim(offer, "big", big).expect("a grant");
}

#[test]
fn workers_are_hailed_when_a_class_is_new() {
    let mut stage = Stage::new();
    register(&mut stage, labelled("plain", &[]));
    register(&mut stage, labelled("big", &[("gpu", "")]));
    stage.submit(plans::run(1, 2), vec![needing("a", &["gpu"]), plans::task("b", &[])]);
    let hailed: Vec<_> = stage
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Hail { worker } => Some(worker.0.as_str()),
            Effect::Offer { .. } | Effect::Poke { .. } | Effect::Integrate { .. } => None,
        })
        .collect();
    assert_eq!(hailed, ["big"]);
}

#[test]
fn a_worker_that_failed_a_task_is_asked_last() {
    let mut stage = Stage::new();
    let (one, two) = (stage.register("one", 1, Vec::new()), stage.register("two", 1, Vec::new()));
    stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let broken = stage.start_next("one", one);
    stage.finish(&broken, Outcome::Infrastructure).expect("accepted");
    stage.pass(Duration::from_secs(2));
    let offer = stage.offers()[0];
    let refused = stage.claim(offer, "one", one);
    assert!(matches!(refused, Err(Rejection::PreferOther { .. })), "{refused:?}");
    stage.now = stage.now.after(Duration::from_secs(4));
    let mut patient = reopen(&stage);
    patient.claim(offer, "one", one).expect("nobody better came");
    stage.claim(offer, "two", two).expect("a grant");
}

fn reopen(stage: &Stage) -> Stage {
    super::stories::reopened(stage)
}

#[test]
fn a_cached_repository_is_preferred() {
    let mut stage = Stage::new();
    let (cold, _) = register(&mut stage, labelled("cold", &[]));
    let warm = Registration { cached: vec!["project".into()], ..labelled("warm", &[]) };
    let (warm, _) = register(&mut stage, warm);
    stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let offer = stage.offers()[0];
    let refused = stage.claim(offer, "cold", cold);
    assert!(matches!(refused, Err(Rejection::PreferOther { .. })), "{refused:?}");
    stage.claim(offer, "warm", warm).expect("a grant");
}

#[test]
fn a_silent_worker_is_offered_nothing_and_is_gone_in_the_end() {
    let mut stage = Stage::with_limits(Limits::default());
    let session = stage.register("w", 1, Vec::new());
    stage.pass(Duration::from_secs(31));
    stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    assert!(stage.offers().is_empty());
    let worker = WorkerId("w".to_owned());
    let beat = |stage: &mut Stage| {
        let (worker, held) = (worker.clone(), Vec::new());
        stage.give(WorkerRequest::Heartbeat { worker, session, held })
    };
    beat(&mut stage).expect("heard");
    assert_eq!(stage.offers().len(), 1, "it is back");
    stage.pass(Duration::from_secs(31));
    stage.pass(Duration::from_secs(600));
    assert_eq!(stage.world.workers().count(), 0);
    let unknown = Err(Rejection::UnknownWorker { worker: worker.clone() });
    assert_eq!(beat(&mut stage), unknown, "it has to register again");
}

#[test]
fn nothing_expires_for_an_absence_of_the_coordinator() {
    let mut stage = Stage::with_limits(Limits::default());
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let holder = stage.start_next("w", session);
    stage.now = stage.now.after(Duration::from_secs(1200));
    stage.world.forgive_silence(stage.now);
    stage.pass(Duration::from_secs(29));
    let attempt = stage.world.task(holder.attempt.task).expect("a task").live_attempt();
    assert_eq!(attempt.map(|attempt| attempt.phase), Some(crate::attempt::Phase::Running));
    assert_eq!(stage.world.workers().filter(|worker| worker.suspect).count(), 0);
    assert_eq!(stage.state(run, 0), "active");
}

#[test]
fn a_new_coordinator_knows_the_sessions_of_other_processes() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let holder = stage.start_next("w", session);
    let mut after = reopen(&stage);
    after.give(Input::Recover { reported: Vec::new() }).expect("recovered");
    after.finish(&holder, Outcome::Completed).expect("under the same session");
}

#[test]
fn a_late_result_is_kept_once_and_never_counts() {
    let mut stage = Stage::new();
    let one = stage.register("one", 1, Vec::new());
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let zombie = stage.start_next("one", one);
    stage.pass(Duration::from_secs(31));
    stage.pass(Duration::from_secs(600));
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.offers().len(), 1, "it was given up");
    assert_eq!(stage.finish(&zombie, Outcome::Completed), Ok(Answer::Orphaned));
    let events = stage.log.len();
    assert_eq!(stage.finish(&zombie, Outcome::Completed), Ok(Answer::Orphaned), "said twice");
    assert_eq!(stage.log.len(), events);
    let record = &stage.world.task(TaskId { run, index: 0 }).expect("a task").record;
    assert_eq!(record.orphans.len(), 1);
    assert_ne!(record.state.name(), "succeeded");
    let forged = Holder { fence: crate::ids::Fence(99), ..zombie };
    assert!(stage.finish(&forged, Outcome::Completed).is_err(), "never granted, never kept");
}

#[test]
fn the_next_attempt_goes_on_from_a_snapshot_unless_the_work_was_wrong() {
    let check = |outcome: Outcome, goes_on: bool| {
        let mut stage = Stage::new();
        let session = stage.register("w", 1, Vec::new());
        stage.submit(targeted(1, 1), vec![plans::task("a", &[])]);
        let holder = stage.start_next("w", session);
        let foreign = report(Outcome::Completed).result.expect("a result");
        let work = WorkResult { base: "a".repeat(40), ..foreign.clone() };
        let keep = |work| WorkerRequest::Snapshot { holder: holder.clone(), work };
        assert!(stage.give(keep(foreign)).is_err(), "it stands elsewhere than it was sent");
        stage.give(keep(work.clone())).expect("kept");
        stage.finish(&holder, outcome.clone()).expect("accepted");
        stage.pass(Duration::from_secs(60));
        let offer = stage.offers()[0];
        let (request, worker) = (RequestId(500), WorkerId("w".to_owned()));
        let claim = Claim { request, attempt: offer.0, offer: offer.1, worker, session };
        let Ok(Answer::Granted(grant)) = stage.give(WorkerRequest::Claim(claim)) else { panic!() };
        assert_eq!(grant.snapshot.is_some(), goes_on, "{outcome:?}");
        let task = stage.world.task(offer.0.task).expect("a task");
        let from = task.grant().expect("granted").goes_on_from;
        assert_eq!(from, goes_on.then_some(1), "and which one is known");
        if goes_on {
            assert!(grant.prompt.contains("## Work in progress"), "{}", grant.prompt);
            assert_eq!(grant.base, Some(work.base), "it stands on its own base");
        }
    };
    check(Outcome::Infrastructure, true);
    check(Outcome::Interrupted, true);
    check(Outcome::AgentFailed, false);
    check(Outcome::ChecksFailed, false);
}

#[test]
fn a_cordoned_worker_keeps_what_it_has_and_takes_nothing_new() {
    let mut stage = Stage::new();
    let session = stage.register("w", 2, Vec::new());
    stage.submit(plans::run(1, 1), vec![plans::task("a", &[]), plans::task("b", &[])]);
    let holder = stage.start_next("w", session);
    let worker = WorkerId("w".to_owned());
    let duty = |duty| Input::SetDuty { worker: worker.clone(), duty };
    stage.give(duty(Duty::Cordoned)).expect("cordoned");
    stage.finish(&holder, Outcome::Completed).expect("accepted");
    assert!(stage.offers().is_empty());
    let session = stage.register("w", 2, Vec::new());
    assert!(stage.offers().is_empty(), "it outlives the session");
    stage.give(duty(Duty::Active)).expect("uncordoned");
    stage.start_next("w", session);
    stage.give(duty(Duty::Draining)).expect("draining");
    assert!(stage.give(duty(Duty::Active)).is_err(), "it may have gone already");
}

#[test]
fn registrations_that_make_no_sense_are_refused() {
    let mut stage = Stage::new();
    let mut refused = |change: fn(&mut Registration)| {
        let mut registration = labelled("w", &[]);
        change(&mut registration);
        match stage.give(WorkerRequest::Register(registration)) {
            Err(Rejection::InvalidRegistration { reason }) => reason,
            other => panic!("{other:?}"),
        }
    };
    for name in ["", "W", "a.b", "a b", "*", ">", "-a", "é"] {
        let mut registration = labelled("w", &[]);
        registration.worker = WorkerId(name.to_owned());
        assert!(registration.validate().is_err(), "{name:?}");
    }
    let range = ProtocolRange { oldest: 7, newest: 9 };
    let reason = refused(|registration| {
        registration.protocol = ProtocolRange { oldest: 7, newest: 9 };
    });
    assert_eq!(reason, InvalidRegistration::Protocol { range });
    refused(|registration| registration.slots = u32::MAX);
    refused(|registration| drop(registration.labels.insert("a b".to_owned(), String::new())));
}
