//! Copies, checkpoints, and the proof that tables and log agree.

use kapelle_domain::attempt::Outcome;
use kapelle_domain::ids::RunId;
use kapelle_domain::policy::Limits;
use kapelle_domain::testing::Stage as _;
use kapelle_store::{Checkpoint, Error, Mode, OpenOptions, Store};

use crate::place::Place;
use crate::stage::{self, Stage};

async fn some_history(store: &Store, runs: u128) -> Stage {
    let mut stage = Stage::new();
    let session = stage.register(stage::WORKER, 10, Vec::new());
    for uid in 1..=runs {
        stage.submit(stage::run(uid, 2), vec![stage::task("a", &[]), stage::task("b", &[])]);
        stage.work_off(session, &Outcome::Unrunnable);
        stage.commit(store).await.expect("a commit");
    }
    stage
}

#[tokio::test]
async fn a_backup_is_a_store_of_its_own() {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = some_history(&store, 3).await;
    let target = place.file("backup.db");
    let kept = stage.last_seq;
    store.backup(&target).await.expect("a backup");
    stage.submit(stage::run(9, 1), vec![stage::task("late", &[])]);
    stage.commit(&store).await.expect("a commit after the backup");

    let options = OpenOptions { path: target.clone(), mode: Mode::Lead, new_epoch: 1 };
    let copy = Store::open(options).await.expect("the backup as a store");
    assert_eq!(copy.epoch(), store.epoch());
    assert_eq!(copy.last_seq().await.expect("the end of its log"), kept);
    copy.check().await.expect("a sound file");
    copy.verify_fold(Limits::default()).await.expect("tables that say what the log says");
    let again = store.backup(&target).await;
    assert!(again.is_err(), "what is there must not be overwritten");
}

#[tokio::test]
async fn a_backup_takes_the_place_of_a_store_and_nothing_is_lost() {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = some_history(&store, 3).await;
    let backup = place.file("backup.db");
    let kept = stage.last_seq;
    store.backup(&backup).await.expect("a backup");
    stage.submit(stage::run(9, 1), vec![stage::task("late", &[])]);
    stage.commit(&store).await.expect("a commit after the backup");
    let led = Store::restore(&backup, &place.path(), 2).await;
    assert!(matches!(led, Err(Error::Locked { .. })), "{led:?}");
    // As after a crash: the newest commits are in the log only.
    let crashed = Place::new();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(place.file(name), crashed.file(name)).expect("a copy");
    }
    let identity = store.identity();
    store.close().await.expect("an orderly end");

    for (at, first) in [(&place, true), (&crashed, true), (&place, false)] {
        let restored = Store::restore(&backup, &at.path(), 2).await.expect("a restore");
        assert_eq!(restored.folded.events, kept.0);
        let store = at.lead().await;
        assert_eq!(store.last_seq().await.expect("the end of its log"), kept);
        // Its next events are others than those that had the same numbers before.
        assert_eq!((store.epoch(), store.identity()), (2, identity));
        store.close().await.expect("an orderly end");
        let aside = at.file(if first { "state.db.replaced" } else { "state.db.replaced-2" });
        assert_eq!(restored.replaced.as_deref(), Some(aside.as_path()));
        if first {
            let options = OpenOptions { path: aside, mode: Mode::Read, new_epoch: 0 };
            let old = Store::open(options).await.expect("what was there before");
            assert_eq!(old.last_seq().await.expect("the end of its log"), stage.last_seq);
        }
        assert!(!at.file("state.db.restoring").exists());
    }
}

#[tokio::test]
async fn only_a_sound_backup_takes_the_place_of_a_store() {
    let place = Place::new();
    let store = place.lead().await;
    let stage = some_history(&store, 3).await;
    store.close().await.expect("an orderly end");
    let broken = Place::new();
    std::fs::copy(place.path(), broken.path()).expect("a copy");
    broken.tamper("UPDATE task SET record = replace(record, 'failed', 'cancelled')").await;
    let other = place.file("text.db");
    std::fs::write(&other, "no database at all, but long enough to be looked at".repeat(99))
        .expect("a file");
    for bad in [broken.path(), other, place.file("none.db")] {
        let refused = Store::restore(&bad, &place.path(), 2).await;
        assert!(refused.is_err(), "{bad:?}: {refused:?}");
        let store = place.lead().await;
        assert_eq!(store.last_seq().await.expect("the end of its log"), stage.last_seq);
        store.close().await.expect("an orderly end");
        assert!(!place.file("state.db.replaced").exists());
    }
    // Where the store is beyond help, or gone, a backup helps.
    let backup = place.file("backup.db");
    std::fs::copy(place.path(), &backup).expect("a copy");
    std::fs::write(place.path(), "damage").expect("a file");
    Store::restore(&backup, &place.path(), 2).await.expect("a restore");
    std::fs::remove_file(place.path()).expect("it is there");
    let restored = Store::restore(&backup, &place.path(), 2).await.expect("a restore");
    assert_eq!(restored.replaced, None);
    assert_eq!(place.lead().await.last_seq().await.expect("the end"), stage.last_seq);
}

#[tokio::test]
async fn a_checkpoint_empties_the_log() {
    let place = Place::new();
    let store = place.lead().await;
    let stage = some_history(&store, 20).await;
    let log = place.file("state.db-wal");
    assert!(log.metadata().expect("a log").len() > 0);
    assert!(
        store.checkpoint(Checkpoint::Passive).await.expect("a checkpoint"),
        "nobody is in the way"
    );
    assert!(store.checkpoint(Checkpoint::Truncate).await.expect("a checkpoint"));
    assert_eq!(log.metadata().expect("a log").len(), 0);
    assert_eq!(store.last_seq().await.expect("the end of the log"), stage.last_seq);
    store.verify_fold(Limits::default()).await.expect("nothing is lost");
}

#[tokio::test]
async fn tables_that_contradict_the_log_are_found() {
    let cases = [
        ("UPDATE leader SET last_seq = last_seq - 1", "the last event"),
        (
            "UPDATE task SET record = replace(record, '\"fence\":1', '\"fence\":2') WHERE run_id = 2 AND task_index = 1",
            "r-2/t1",
        ),
        (
            "UPDATE task_spec SET spec = replace(spec, 'Do b', 'Do c') WHERE run_id = 1 AND task_index = 1",
            "specification of r-1/t1",
        ),
        (
            "UPDATE attempt SET record = replace(record, 'words', 'lies') WHERE run_id = 1 AND task_index = 0",
            "attempt of r-1/t0",
        ),
        ("UPDATE run SET record = replace(record, 'failed', 'succeeded') WHERE run_id = 3", "r-3"),
        ("UPDATE run SET outcome = NULL WHERE run_id = 3", "open runs"),
        ("DELETE FROM run WHERE run_id = 3", "the newest run"),
    ];
    for (damage, subject) in cases {
        let place = Place::new();
        let store = place.lead().await;
        some_history(&store, 3).await;
        store.verify_fold(Limits::default()).await.expect("no difference yet");
        place.tamper(damage).await;
        let error = store.verify_fold(Limits::default()).await.expect_err(damage);
        assert!(
            matches!(&error, Error::Diverged { subject: found, .. } if found.contains(subject)),
            "{damage}: {error:?}"
        );
    }
    let place = Place::new();
    let store = place.lead().await;
    some_history(&store, 3).await;
    place.tamper("DELETE FROM event WHERE seq = 5").await;
    let error = store.verify_fold(Limits::default()).await.expect_err("an event is missing");
    assert!(matches!(error, Error::Gap { .. }), "{error:?}");
    place.tamper("DELETE FROM run WHERE run_id = 2").await;
    let error = store.check().await.expect_err("rows refer to what isn't there");
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}

/// A coordinator's memory keeps the newest hundred finished runs. A run that was forgotten and
/// opened again must not confuse the replay.
#[tokio::test]
async fn a_run_that_was_forgotten_and_resumed_can_be_replayed() {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = some_history(&store, 103).await;
    let first = RunId(1);
    assert!(stage.world.run(first).is_none(), "it must be forgotten for this to say anything");
    let (record, tasks) = store.load_run(first).await.expect("a load").expect("the run");
    stage.world.recall(first, record, tasks, stage.now).expect("a run that fits");
    stage.give(crate::stage::resume(first)).expect("a resumption");
    stage.commit(&store).await.expect("a commit");
    let folded =
        store.verify_fold(Limits::default()).await.expect("tables that say what the log says");
    assert_eq!((folded.events, folded.runs), (stage.last_seq.0, 103));
    assert_eq!(store.load().await.expect("a load").runs.len(), 1);
}
