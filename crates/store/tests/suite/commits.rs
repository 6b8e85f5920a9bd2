//! What a commit refuses, and that a refusal leaves nothing behind.

use std::pin::pin;
use std::task::{Context, Waker};

use kapelle_domain::attempt::Outcome;
use kapelle_domain::engine::Input;
use kapelle_domain::ids::EventSeq;
use kapelle_domain::policy::Limits;
use kapelle_domain::testing::Stage as _;
use kapelle_store::{Batch, Error, Mode, Store};

use crate::place::Place;
use crate::stage::{self, Stage};

/// A stage with one finished run that is committed.
async fn stage_with_a_run(store: &Store) -> Stage {
    let mut stage = Stage::new();
    let session = stage.register(stage::WORKER, 4, Vec::new());
    stage.submit(stage::run(1, 2), vec![stage::task("a", &[]), stage::task("b", &[0])]);
    while !stage.offers.is_empty() {
        stage.work_off(session, &Outcome::Completed);
    }
    stage.commit(store).await.expect("a commit");
    stage
}

async fn require_unchanged(store: &Store, stage: &Stage) {
    assert_eq!(store.last_seq().await.expect("the end of the log"), stage.last_seq);
    store.verify_fold(Limits::default()).await.expect("tables that say what the log says");
}

#[tokio::test]
async fn a_log_with_a_gap_is_refused() {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = stage_with_a_run(&store).await;
    let before = stage.last_seq;
    stage.submit(stage::run(2, 1), vec![stage::task("a", &[])]);
    let batch = stage.batch();
    stage.last_seq = before;

    type Change = fn(&mut Batch);
    let changes: [(&str, Change); 4] = [
        ("one number too high", |batch| {
            batch.events.iter_mut().for_each(|event| event.seq = event.seq.next())
        }),
        ("one number too low", |batch| batch.events.iter_mut().for_each(|event| event.seq.0 -= 1)),
        ("one missing inside", |batch| drop(batch.events.remove(1))),
        ("one twice", |batch| batch.events.insert(1, batch.events[0].clone())),
    ];
    for (name, change) in changes {
        let mut wrong = batch.clone();
        change(&mut wrong);
        let result = store.commit(wrong).await;
        assert!(matches!(result, Err(Error::Gap { .. })), "{name}: {result:?}");
        require_unchanged(&store, &stage).await;
    }
    stage.last_seq = batch.events.last().expect("events").seq;
    store.commit(batch.clone()).await.expect("the batch as it was");
    require_unchanged(&store, &stage).await;
    let repeated = store.commit(batch).await;
    assert!(matches!(repeated, Err(Error::Gap { .. })), "{repeated:?}");
    require_unchanged(&store, &stage).await;
}

#[tokio::test]
async fn a_batch_without_the_state_of_what_it_changes_is_refused() {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = Stage::new();
    stage.submit(stage::run(1, 1), vec![stage::task("a", &[])]);
    let batch = stage.batch();
    for wrong in
        [Batch { runs: Vec::new(), ..batch.clone() }, Batch { tasks: Vec::new(), ..batch.clone() }]
    {
        let result = store.commit(wrong).await;
        assert!(matches!(result, Err(Error::Incomplete { .. })), "{result:?}");
    }
    let mut without_spec = batch;
    without_spec.tasks[0].spec = None;
    let result = store.commit(without_spec).await;
    assert!(matches!(result, Err(Error::Database { .. })), "{result:?}");
    assert_eq!(store.last_seq().await.expect("the end of the log"), EventSeq(0));
}

#[tokio::test]
async fn whoever_was_deposed_writes_nothing() {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = stage_with_a_run(&store).await;
    let kept = stage.last_seq;
    place.tamper("UPDATE leader SET term = term + 1").await;
    stage.submit(stage::run(2, 1), vec![stage::task("a", &[])]);
    for batch in [stage.batch(), Batch::default()] {
        let result = store.commit(batch).await;
        assert!(matches!(result, Err(Error::Deposed)), "{result:?}");
    }
    assert_eq!(store.last_seq().await.expect("the end of the log"), kept);
    assert_eq!(store.events(kept, 10, None, None).await.expect("events"), []);
}

#[tokio::test]
async fn a_reader_cannot_commit() {
    let place = Place::new();
    place.lead().await.close().await.expect("an orderly end");
    let reader = place.open(Mode::Read).await.expect("a store to read");
    let result = reader.commit(Batch::default()).await;
    assert!(matches!(result, Err(Error::NotLeading)), "{result:?}");
}

/// Whoever commits may be dropped at any point of it: what is then in the store is all of the
/// batch or nothing, and the next commit works.
#[tokio::test]
async fn an_abandoned_commit_is_whole_or_nothing() {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = stage_with_a_run(&store).await;
    let (mut kept, mut lost) = (0, 0);
    for patience in 0u8..60 {
        let before = store.last_seq().await.expect("the end of the log");
        stage.submit(stage::run(100 + u128::from(patience), 1), vec![stage::task("a", &[])]);
        let batch = stage.batch();
        {
            let mut commit = pin!(store.commit(batch));
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..patience {
                if commit.as_mut().poll(&mut context).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
                std::thread::yield_now();
            }
        }
        let after = store.last_seq().await.expect("the end of the log");
        assert!(
            after == before || after == stage.last_seq,
            "{before} -> {after} of {}",
            stage.last_seq
        );
        if after == before {
            lost += 1
        } else {
            kept += 1
        }
        stage = next_tick(&store).await;
    }
    require_unchanged(&store, &stage).await;
    assert!(lost > 0, "{kept} kept, {lost} lost: nothing was abandoned in time");
}

/// What was abandoned may still arrive while a coordinator recovers over it; the commit that finds
/// that out changes nothing, and the second recovery sees all.
async fn next_tick(store: &Store) -> Stage {
    match tick(store).await {
        Ok(stage) => stage,
        Err(error) => {
            assert!(matches!(error, Error::Gap { .. }), "{error:?}");
            tick(store).await.expect("nothing more was on its way")
        }
    }
}

async fn tick(store: &Store) -> Result<Stage, Error> {
    let mut stage = Stage::recover(store).await.expect("a coordinator over what is left");
    stage.give(Input::Tick).expect("time can always pass");
    stage.commit(store).await.map(|()| stage)
}
