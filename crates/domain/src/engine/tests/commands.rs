//! What becomes of commands, one story a rule.

use super::*;

fn running(tasks: Vec<TaskSpec>) -> (Stage, SessionEpoch, RunId, Holder) {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(plans::run(1, 1), tasks);
    let holder = stage.start_next("w", session);
    stage.effects.clear();
    (stage, session, run, holder)
}

fn two() -> Vec<TaskSpec> {
    vec![plans::task("a", &[]), plans::task("b", &[])]
}

fn names(settled: &[(u64, CommandState)]) -> Vec<(u64, &'static str)> {
    settled.iter().map(|(seq, state)| (*seq, state.name())).collect()
}

#[test]
fn a_command_is_accepted_then_delivered_then_applied() {
    let (mut stage, _, _, holder) = running(two());
    let task = holder.attempt.task;
    let receipt = stage.order(Scope::Task(task), CommandKind::Ping, "").remove(0);
    assert_eq!((receipt.attempt, receipt.state), (Some(1), CommandState::Accepted));
    assert!(matches!(stage.effects.last(), Some(Effect::Poke { .. })));
    let wanted = stage.look(&holder);
    assert_eq!(wanted.commands[0].state, CommandState::Delivered { attempt: 1 });
    let events = stage.log.len();
    stage.look(&holder);
    assert_eq!(stage.log.len(), events, "it is delivered once");
    stage.answer(&holder, receipt.seq, CommandAnswer::Applied);
    stage.answer(&holder, receipt.seq, CommandAnswer::Applied);
    assert_eq!(stage.settled(task), [(1, CommandState::Applied { attempt: 1 })]);
}

#[test]
fn feedback_that_an_agent_refuses_is_carried_into_the_next_attempt() {
    let (mut stage, session, _, holder) = running(vec![plans::task("a", &[])]);
    let task = holder.attempt.task;
    let receipt = stage.order(Scope::Task(task), CommandKind::Feedback, "use tabs").remove(0);
    let refused = CommandAnswer::Refused { reason: "it takes no lines".to_owned() };
    stage.answer(&holder, receipt.seq, refused);
    assert_eq!(stage.settled(task), [], "nobody has heard it yet");
    stage.finish(&holder, Outcome::AgentFailed).expect("accepted");
    stage.pass(Duration::from_secs(2));
    stage.start_next("w", session);
    assert_eq!(stage.settled(task), [(1, CommandState::Carried { attempt: 2 })]);
}

#[test]
fn a_stop_is_applied_by_the_end_and_rejected_when_it_came_too_late() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(targeted(1, 1), vec![integrated("a", &[])]);
    let holder = stage.start_next("w", session);
    let task = holder.attempt.task;
    stage.finish(&holder, Outcome::Completed).expect("accepted");
    let (branch, old, new) = ("main".to_owned(), "o".to_owned(), "n".to_owned());
    let attempt = holder.attempt;
    stage
        .give(Input::PrepareIntegration { attempt, branch, old, new: new.clone() })
        .expect("announced");
    stage.order(Scope::Run(run), CommandKind::Stop, "late");
    assert_eq!(names(&stage.settled(task)), [(1, "rejected")]);
    stage.give(Input::Integrated { attempt, commit: new }).expect("integrated");

    let (mut stage, _, run, holder) = running(two());
    stage.order(Scope::Run(run), CommandKind::Stop, "enough");
    let waiting = TaskId { run, index: 1 };
    assert_eq!(names(&stage.settled(waiting)), [(1, "applied")], "nothing ran yet");
    assert_eq!(stage.settled(holder.attempt.task), [], "the agent may still run");
    stage.finish(&holder, Outcome::Cancelled).expect("accepted");
    assert_eq!(names(&stage.settled(holder.attempt.task)), [(1, "applied")]);
}

#[test]
fn a_paused_agent_is_frozen_and_its_time_stands_still() {
    let (mut stage, _, run, holder) = running(vec![plans::task("a", &[])]);
    let task = holder.attempt.task;
    let paused = stage.order(Scope::Task(task), CommandKind::Pause, "lunch").remove(0);
    assert!(stage.look(&holder).paused);
    stage.answer(&holder, paused.seq, CommandAnswer::Applied);
    let beat = |stage: &mut Stage| {
        let held = vec![Held { attempt: holder.attempt, fence: holder.fence }];
        let (worker, session) = (holder.worker.clone(), holder.session);
        stage.give(WorkerRequest::Heartbeat { worker, session, held }).expect("heard");
    };
    for _ in 0..200 {
        stage.pass(Duration::from_secs(20));
        beat(&mut stage);
    }
    assert_eq!(stage.state(run, 0), "active", "an hour of pause is no hour of work");
    let resumed = stage.order(Scope::All, CommandKind::Resume, "").remove(0);
    assert!(!stage.look(&holder).paused);
    stage.answer(&holder, resumed.seq, CommandAnswer::Applied);
    for _ in 0..100 {
        stage.pass(Duration::from_secs(20));
        beat(&mut stage);
    }
    let timed_out = stage.log.iter().any(|(_, event)| {
        matches!(event, Event::Task { event: TaskEvent::AttemptEnded { report, .. }, .. }
            if report.outcome == Outcome::TimedOut)
    });
    assert!(timed_out, "its time has gone on since");
    assert_eq!(names(&stage.settled(task)), [(1, "applied"), (2, "applied")]);
}

#[test]
fn a_paused_task_does_not_start_and_an_offer_of_it_is_taken_back() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1, Vec::new());
    let run = stage.submit(plans::run(1, 1), vec![plans::task("a", &[])]);
    let offer = stage.offers()[0];
    let task = TaskId { run, index: 0 };
    let receipt = stage.order(Scope::Task(task), CommandKind::Pause, "wait").remove(0);
    assert_eq!(receipt.state, CommandState::Applied { attempt: 0 });
    let refused = stage.claim(offer, "w", session);
    assert_eq!(refused, Err(Rejection::ObsoleteOffer { attempt: offer.0 }));
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.state(run, 0), "ready");
    assert!(stage.offers().is_empty());
    stage.order(Scope::Task(task), CommandKind::Resume, "");
    let holder = stage.start_next("w", session);
    assert_eq!(holder.attempt.number, 2);
}

#[test]
fn a_redirect_puts_the_other_task_first_and_comes_back() {
    let tasks = vec![plans::task("a", &[]), plans::task("b", &[]), plans::task("c", &[])];
    let (mut stage, session, run, holder) = running(tasks);
    let task = |index| TaskId { run, index };
    let kind = CommandKind::Redirect { to: task(2) };
    stage.order(Scope::Attempt(holder.attempt), kind, "a waits for a library");
    assert_eq!(stage.look(&holder).cancel.as_deref(), Some("a waits for a library"));
    stage.finish(&holder, Outcome::Cancelled).expect("accepted");
    assert_eq!(names(&stage.settled(task(0))), [(1, "applied")]);
    let other = stage.start_next("w", session);
    assert_eq!(other.attempt.task, task(2), "it goes before b");
    stage.pass(Duration::from_secs(1));
    let why = stage.world.explain(task(0)).expect("a reason").reason;
    assert!(matches!(why, Waiting::Room { wait: Wait::Deferred { .. } }), "{why:?}");
    stage.finish(&other, Outcome::Completed).expect("accepted");
    let next = stage.start_next("w", session);
    assert_eq!((next.attempt.task, next.attempt.number), (task(0), 2), "nothing was burnt");
    let tally = stage.world.task(task(0)).expect("a task").record.tally;
    assert_eq!(tally, crate::task::Tally::default());
}

#[test]
fn a_task_that_was_stopped_waits_for_nothing_any_more() {
    let (mut stage, session, run, holder) =
        running(vec![plans::task("a", &[]), plans::task("b", &[])]);
    let task = |index| TaskId { run, index };
    stage.order(Scope::Task(task(0)), CommandKind::Redirect { to: task(1) }, "b first");
    stage.finish(&holder, Outcome::Cancelled).expect("accepted");
    let other = stage.start_next("w", session);
    stage.order(Scope::Task(task(0)), CommandKind::Stop, "not at all");
    stage.finish(&other, Outcome::Completed).expect("accepted");
    assert_eq!((stage.state(run, 0), stage.state(run, 1)), ("cancelled", "succeeded"));
}

#[test]
fn redirects_that_make_no_sense_are_refused() {
    let tasks = vec![plans::task("a", &[]), plans::task("b", &[0]), plans::task("c", &[])];
    let (mut stage, _, run, holder) = running(tasks);
    let task = |index| TaskId { run, index };
    let redirect = |from: u32, to: TaskId| Input::Command {
        scope: Scope::Task(task(from)),
        kind: CommandKind::Redirect { to },
        text: "go".to_owned(),
        request: None,
    };
    for input in
        [redirect(0, task(0)), redirect(0, task(1)), redirect(0, task(9)), redirect(2, task(1))]
    {
        let events = stage.log.len();
        assert!(stage.give(input.clone()).is_err(), "{input:?}");
        assert_eq!(stage.log.len(), events, "a refusal records nothing");
    }
    stage.give(redirect(0, task(2))).expect("this one does");
    drop(holder);
}

#[test]
fn a_restart_begins_anew_with_what_was_said_and_counts_nothing() {
    let (mut stage, session, _, holder) = running(vec![plans::task("a", &[])]);
    let task = holder.attempt.task;
    stage.order(Scope::Task(task), CommandKind::Restart, "wrong direction");
    stage.finish(&holder, Outcome::Cancelled).expect("accepted");
    stage.pass(Duration::from_secs(1));
    let next = stage.start_next("w", session);
    assert_eq!(next.attempt.number, 2);
    let record = &stage.world.task(task).expect("a task").record;
    assert_eq!(
        (record.feedback.as_slice(), record.tally.app),
        (&["wrong direction".to_owned()][..], 0)
    );
}

#[test]
fn commands_reach_the_tasks_of_a_worker_and_of_a_label() {
    let mut stage = Stage::new();
    let mut registration = Registration::new(WorkerId("big".to_owned()), 2, vec!["coder".into()]);
    registration.labels.insert("gpu".to_owned(), String::new());
    let Ok(Answer::Registered { session: big, .. }) =
        stage.give(WorkerRequest::Register(registration))
    else {
        panic!()
    };
    let small = stage.register("small", 1, Vec::new());
    stage.submit(plans::run(1, 3), ["a", "b", "c"].map(|key| plans::task(key, &[])).to_vec());
    let offers = stage.offers();
    let one = stage.claim(offers[0], "big", big).expect("a grant");
    let two = stage.claim(offers[1], "big", big).expect("a grant");
    let three = stage.claim(offers[2], "small", small).expect("a grant");
    let tasks =
        |receipts: Vec<Receipt>| receipts.iter().map(|receipt| receipt.task).collect::<Vec<_>>();
    let label = Scope::Label("gpu".parse().expect("a constraint"));
    let gpu = tasks(stage.order(label, CommandKind::Ping, ""));
    assert_eq!(gpu, [one.attempt.task, two.attempt.task]);
    let worker = Scope::Worker(WorkerId("small".to_owned()));
    assert_eq!(tasks(stage.order(worker, CommandKind::Ping, "")), [three.attempt.task]);
    let nobody = Input::Command {
        scope: Scope::Label("tpu".parse().expect("a constraint")),
        kind: CommandKind::Ping,
        text: String::new(),
        request: None,
    };
    assert!(matches!(stage.give(nobody), Err(Rejection::NothingMatches { .. })));
}

#[test]
fn one_command_stops_a_thousand_attempts() {
    let mut stage = Stage::new();
    let session = stage.register("w", 1_000, Vec::new());
    let tasks = (0..1_000).map(|index| plans::task(&format!("t{index}"), &[])).collect();
    let run = stage.submit(plans::run(1, 1_000), tasks);
    let holders: Vec<Holder> = stage
        .offers()
        .into_iter()
        .map(|offer| stage.claim(offer, "w", session).expect("a grant"))
        .collect();
    stage.effects.clear();
    assert_eq!(stage.order(Scope::All, CommandKind::Stop, "stop").len(), 1_000);
    assert_eq!(stage.effects.len(), 1_000, "each worker is told of each attempt");
    for holder in &holders {
        stage.finish(holder, Outcome::Cancelled).expect("accepted");
    }
    assert!(stage.world.run(run).expect("the run").is_finished());
}

#[test]
fn what_is_spared_goes_on_with_what_it_waits_for_and_the_rest_ends() {
    let tasks = vec![
        plans::task("a", &[]),
        plans::task("b", &[0]),
        plans::task("c", &[1]),
        plans::task("d", &[]),
        plans::task("e", &[1]),
    ];
    let (mut stage, _, run, holder) = running(tasks);
    let other = stage.submit(plans::run(7, 1), vec![plans::task("x", &[])]);
    let spared = Scope::AllBut([TaskId { run, index: 2 }].into());
    let receipts = stage.order(spared.clone(), CommandKind::Stop, "enough");
    let told: Vec<TaskId> = receipts.iter().map(|receipt| receipt.task).collect();
    assert_eq!(
        told,
        [TaskId { run, index: 3 }, TaskId { run, index: 4 }, TaskId { run: other, index: 0 }]
    );
    assert_eq!(holder.attempt.task, TaskId { run, index: 0 });
    let states: Vec<&str> = (0..5).map(|index| stage.state(run, index)).collect();
    assert_eq!(states, ["active", "blocked", "blocked", "cancelled", "cancelled"]);
    assert!(stage.world.run(other).is_none_or(crate::run::Run::is_finished));
    assert!(!stage.world.run(run).expect("the run").is_finished());
    let (kind, text) = (CommandKind::Stop, String::new());
    let again = Input::Command { scope: spared, kind, text, request: None };
    assert!(matches!(stage.give(again), Err(Rejection::NothingMatches { .. })));
    stage.finish(&holder, Outcome::Completed).expect("accepted");
    assert_eq!(stage.state(run, 2), "blocked");
}
