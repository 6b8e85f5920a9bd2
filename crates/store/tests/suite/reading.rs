//! Pages, filters, and rows that don't hold what they must.

use kapelle_domain::attempt::Outcome;
use kapelle_domain::attempt::Usage;
use kapelle_domain::command::CommandKind;
use kapelle_domain::engine::{Input, Scope, WorkerRequest};
use kapelle_domain::event::Recorded;
use kapelle_domain::ids::{EventSeq, RunId, TaskId};
use kapelle_domain::run::RunOutcome;
use kapelle_domain::testing::Stage as _;
use kapelle_store::{Error, RunFilter, RunStatus, Store};

use crate::place::{Place, chain};
use crate::stage::{self, Stage};

/// Five runs: two succeeded, one failed, one cancelled, one open.
async fn five_runs(place: &Place) -> (Store, Stage) {
    let store = place.lead().await;
    let mut stage = Stage::new();
    let session = stage.register(stage::WORKER, 10, Vec::new());
    let plan = || vec![stage::task("a", &[]), stage::task("b", &[0])];
    for (uid, outcome) in
        [(1, Outcome::Completed), (2, Outcome::Unrunnable), (3, Outcome::Completed)]
    {
        stage.submit(stage::run(uid, 1), plan());
        while !stage.offers.is_empty() {
            stage.work_off(session, &outcome);
        }
        stage.commit(&store).await.expect("a commit");
    }
    let fourth = stage.submit(stage::run(4, 1), plan());
    stage.give(stop(Scope::Run(fourth))).expect("a stop");
    stage.submit(stage::run(5, 1), plan());
    stage.commit(&store).await.expect("a commit");
    (store, stage)
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_in_pages() {
    let place = Place::new();
    let (store, _stage) = five_runs(&place).await;
    let check = async |status, before: Option<u64>, limit, expected: &[u64]| {
        let filter = RunFilter { status, before: before.map(RunId), limit };
        let runs = store.runs(filter).await.expect("a read");
        assert_eq!(runs.iter().map(|run| run.id.0).collect::<Vec<_>>(), expected, "{filter:?}");
    };
    check(None, None, 10, &[5, 4, 3, 2, 1]).await;
    check(None, None, 2, &[5, 4]).await;
    check(None, Some(4), 2, &[3, 2]).await;
    check(None, Some(1), 2, &[]).await;
    check(Some(RunStatus::Open), None, 10, &[5]).await;
    check(Some(RunStatus::Ended(RunOutcome::Succeeded)), None, 10, &[3, 1]).await;
    check(Some(RunStatus::Ended(RunOutcome::Succeeded)), Some(3), 10, &[1]).await;
    check(Some(RunStatus::Ended(RunOutcome::Failed)), None, 10, &[2]).await;
    check(Some(RunStatus::Ended(RunOutcome::Cancelled)), None, 10, &[4]).await;
    let latest = store.latest_run().await.expect("a read").expect("a run");
    assert_eq!((latest.id, latest.record.spec.title.as_str()), (RunId(5), "Run 5"));
    assert_eq!(store.run(RunId(6)).await.expect("a read"), None);
    assert_eq!(store.run(RunId(u64::MAX)).await.expect("a read"), None);
}

#[tokio::test]
async fn tasks_attempts_and_costs_are_found() {
    let place = Place::new();
    let (store, stage) = five_runs(&place).await;
    let task = |index| TaskId { run: RunId(1), index };
    let tasks = store.tasks(RunId(1), 0, 10).await.expect("a read");
    assert_eq!(tasks.iter().map(|task| task.id.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(store.tasks(RunId(1), 1, 10).await.expect("a read"), tasks[1..]);
    assert_eq!(store.task(task(1)).await.expect("a read").as_ref(), tasks.get(1));
    assert_eq!(store.task(task(2)).await.expect("a read"), None);
    assert_eq!(*tasks[1].spec, stage::task("b", &[0]));
    assert_eq!(
        Some(&tasks[1].record.state),
        stage.world.task(task(1)).map(|task| &task.record.state)
    );

    let attempts = store.attempts(task(0)).await.expect("a read");
    let report = attempts[0].report.as_ref().expect("it has ended");
    assert_eq!((attempts.len(), report.checks.len()), (1, 2));
    let counts = store.task_counts(RunId(2)).await.expect("a read");
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [("failed".to_owned(), 1), ("skipped".to_owned(), 1)]
    );
    let usages = store.usages(RunId(1)).await.expect("a read");
    let of = |usage: &Usage| (usage.input_tokens, usage.output_tokens, usage.cost_microusd);
    let usages: Vec<_> = usages.iter().map(|(task, usage)| (task.index, of(usage))).collect();
    assert_eq!(usages, [(0, (100, 20, Some(7))), (1, (100, 20, Some(7)))]);
}

#[tokio::test]
async fn events_are_paged_by_where_the_last_page_ended() {
    let place = Place::new();
    let (store, stage) = five_runs(&place).await;
    let all = store.events(EventSeq(0), u32::MAX, None, None).await.expect("a read");
    assert_eq!(
        all.iter().map(|recorded| recorded.seq.0).collect::<Vec<_>>(),
        (1..=stage.last_seq.0).collect::<Vec<_>>()
    );
    let page = store.events(EventSeq(3), 2, None, None).await.expect("a read");
    assert_eq!(page, all[3..5]);
    let (run, task) = (RunId(3), TaskId { run: RunId(3), index: 1 });
    let of = |keep: &dyn Fn(&Recorded) -> bool| {
        all.iter().filter(|recorded| keep(recorded)).cloned().collect::<Vec<_>>()
    };
    let of_run = store.events(EventSeq(0), 1000, Some(run), None).await.expect("a read");
    assert_eq!(of_run, of(&|recorded| recorded.event.run() == Some(run)));
    let of_task = store.events(EventSeq(0), 1000, Some(run), Some(task)).await.expect("a read");
    assert_eq!(of_task, of(&|recorded| recorded.event.task() == Some(task)));
    assert_eq!(store.events(stage.last_seq, 10, None, None).await.expect("a read"), []);
}

#[tokio::test]
async fn rows_that_do_not_hold_what_they_must_are_named() {
    let cases = [
        (
            "UPDATE task SET record = '{' WHERE run_id = 5 AND task_index = 1",
            "task",
            "run_id=5 task_index=1",
            "record",
        ),
        (
            "UPDATE task_spec SET spec = '[]' WHERE run_id = 5 AND task_index = 0",
            "task",
            "run_id=5 task_index=0",
            "spec",
        ),
        ("UPDATE run SET record = 'null' WHERE run_id = 5", "run", "run_id=5", "record"),
        ("UPDATE run SET outcome = NULL WHERE run_id = 3", "run", "run_id=3", "outcome"),
        ("UPDATE run SET record = x'ff' WHERE run_id = 5", "run", "run_id=5", "record"),
        (
            "UPDATE task SET task_index = 4294967296 WHERE run_id = 5 AND task_index = 1;
            UPDATE task_spec SET task_index = 4294967296 WHERE run_id = 5 AND task_index = 1",
            "task",
            "run_id=5 task_index=4294967296",
            "task_index",
        ),
        (
            "DELETE FROM task WHERE run_id = 5 AND task_index = 0",
            "task",
            "run_id=5 task_index=1",
            "task_index",
        ),
        ("UPDATE worker SET session = -1", "run, worker", "", "last_session"),
    ];
    for (damage, table, key, column) in cases {
        let place = Place::new();
        let (store, _stage) = five_runs(&place).await;
        place.tamper(damage).await;
        let error = store.load().await.expect_err(damage);
        let Error::Inconsistent {
            table: found_table, key: found_key, column: found_column, ..
        } = &error
        else {
            panic!("{damage}: {error:?}");
        };
        assert_eq!(
            (*found_table, found_key.as_str(), *found_column),
            (table, key, column),
            "{}",
            chain(&error)
        );
        assert!(!error.is_transient());
    }
}

/// A task's own record holds its newest attempt only; what became of those before must not depend
/// on where the history was cut into batches.
#[tokio::test]
async fn attempts_that_began_and_ended_within_one_batch_are_kept() {
    for commits_between in [false, true] {
        let place = Place::new();
        let store = place.lead().await;
        let mut stage = Stage::new();
        let session = stage.register(stage::WORKER, 10, Vec::new());
        let run = stage.submit(stage::run(1, 1), vec![stage::task("a", &[])]);
        if commits_between {
            stage.commit(&store).await.expect("a commit");
        }
        stage.work_off(session, &Outcome::AgentFailed);
        stage.give(Input::Tick).expect("time can always pass");
        let second = stage.offers.remove(0);
        let holder = stage.claim(second, stage::WORKER, session).expect("a grant");
        if commits_between {
            stage.commit(&store).await.expect("a commit");
        }
        stage.give(WorkerRequest::Started(holder.clone())).expect("a start");
        stage.give(stop(Scope::Run(run))).expect("a stop");
        stage.finish(&holder, Outcome::Cancelled).expect("an end");
        stage.give(stage::resume(run)).expect("a resumption");
        stage.commit(&store).await.expect("a commit");

        let attempts = store.attempts(TaskId { run, index: 0 }).await.expect("a read");
        let expected: Vec<_> = stage.attempts.into_values().collect();
        let text = |attempts| serde_json::to_string(attempts).expect("it can be written");
        assert_eq!(attempts.len(), 3);
        assert_eq!(
            attempts[1].cancel.as_ref().map(|cancel| cancel.reason.as_str()),
            Some("enough")
        );
        assert_eq!(text(&attempts), text(&expected), "commits between: {commits_between}");
    }
}

#[tokio::test]
async fn the_commands_of_a_request_are_found_by_its_name() {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = Stage::new();
    let run = stage.submit(stage::run(1, 1), vec![stage::task("a", &[]), stage::task("b", &[])]);
    for (kind, request) in [(CommandKind::Feedback, None), (CommandKind::Stop, Some("enough-1"))] {
        let scope = Scope::Task(TaskId { run, index: 0 });
        let scope = if request.is_some() { Scope::All } else { scope };
        let (text, request) = ("enough".to_owned(), request.map(Into::into));
        stage.give(Input::Command { scope, kind, text, request }).expect("an order");
    }
    stage.commit(&store).await.expect("a commit");
    let found = store.commands_of("enough-1").await.expect("a read");
    let places: Vec<_> = found.iter().map(|(task, command)| (task.index, command.seq.0)).collect();
    assert_eq!(places, [(0, 2), (1, 1)]);
    assert!(found.iter().all(|(_, command)| command.state.name() == "applied"), "{found:?}");
    assert!(store.commands_of("enough").await.expect("a read").is_empty());
}

fn stop(scope: Scope) -> Input {
    Input::Command { scope, kind: CommandKind::Stop, text: "enough".to_owned(), request: None }
}
