//! What is opened, what is refused, and in which words.

use std::fs;
use std::os::unix::fs::FileExt as _;

use kapelle_domain::attempt::Outcome;
use kapelle_domain::ids::{EventSeq, Term};
use kapelle_domain::testing::Stage as _;
use kapelle_store::{Error, Mode};

use crate::place::{EPOCH, Place, chain};
use crate::stage::{self, Stage};

#[tokio::test]
async fn each_leader_begins_a_term_of_the_same_store() {
    let place = Place::new();
    for term in 1..4 {
        let store = place.lead().await;
        assert_eq!((store.term(), store.epoch()), (Some(Term(term)), EPOCH));
        assert_eq!(store.last_seq().await.expect("the end of the log"), EventSeq(0));
        store.close().await.expect("an orderly end");
    }
}

#[tokio::test]
async fn a_second_leader_is_told_who_leads() {
    let place = Place::new();
    let first = place.lead().await;
    let second = place.open(Mode::Lead).await.expect_err("only one may lead");
    let own = std::process::id();
    assert!(matches!(&second, Error::Locked { pid: Some(pid), .. } if *pid == own), "{second:?}");
    assert!(second.to_string().contains(&format!("process {own}")), "{second}");
    drop(first);
    place.lead().await;
}

#[tokio::test]
async fn readers_see_what_is_committed_while_somebody_leads() {
    let place = Place::new();
    let store = place.lead().await;
    let reader = place.open(Mode::Read).await.expect("a store to read");
    let mut stage = Stage::new();
    for uid in 1..4 {
        let run = stage.submit(stage::run(uid, 1), vec![stage::task("a", &[])]);
        assert_eq!(reader.run(run).await.expect("a read"), None);
        stage.commit(&store).await.expect("a commit");
        let seen = reader.run(run).await.expect("a read").expect("the run");
        assert_eq!(Some(&seen.record), stage.world.run(run).map(|run| &run.record));
        assert_eq!(reader.last_seq().await.expect("a read"), stage.last_seq);
    }
    assert_eq!((reader.term(), reader.epoch()), (None, EPOCH));
}

#[tokio::test]
async fn reading_creates_nothing() {
    let place = Place::new();
    let error = place.open(Mode::Read).await.expect_err("there is nothing");
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    assert!(!place.path().exists());
}

#[tokio::test]
async fn stores_of_other_versions_and_programs_are_refused_and_left_alone() {
    type Expected = fn(&Error, Mode) -> bool;
    let cases: [(&'static str, Expected); 3] = [
        ("PRAGMA user_version = 99", |error, _| {
            matches!(error, Error::NewerSchema { found: 99, .. })
        }),
        ("PRAGMA application_id = 1", |error, _| matches!(error, Error::Foreign { .. })),
        ("PRAGMA user_version = 0", |error, mode| {
            mode == Mode::Lead || matches!(error, Error::OlderSchema { .. })
        }),
    ];
    for (change, expected) in cases {
        let place = Place::new();
        place.lead().await.close().await.expect("an orderly end");
        place.tamper(change).await;
        let before = fs::read(place.path()).expect("the file");
        for mode in [Mode::Read, Mode::Lead] {
            if let Err(error) = place.open(mode).await {
                assert!(expected(&error, mode), "{change}, {mode:?}: {error:?}");
                assert_eq!(fs::read(place.path()).expect("the file"), before, "{change}, {mode:?}");
            } else {
                assert_eq!((change, mode), ("PRAGMA user_version = 0", Mode::Lead));
            }
        }
    }
}

/// A store with enough in it that every page matters.
async fn filled() -> Place {
    let place = Place::new();
    let store = place.lead().await;
    let mut stage = Stage::new();
    let session = stage.register(stage::WORKER, 100, Vec::new());
    for uid in 1..20 {
        stage.submit(stage::run(uid, 4), vec![stage::task("a", &[]), stage::task("b", &[])]);
        stage.work_off(session, &Outcome::Completed);
        stage.commit(&store).await.expect("a commit");
    }
    store.close().await.expect("an orderly end");
    place
}

#[tokio::test]
async fn damage_is_named_and_never_taken_for_an_empty_store() {
    let overwrite = |place: &Place, at: u64, bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(place.path()).expect("the file");
        file.write_all_at(bytes, at).expect("to overwrite");
    };
    let cut = |place: &Place, bytes: u64| {
        let file = fs::OpenOptions::new().write(true).open(place.path()).expect("the file");
        file.set_len(bytes).expect("to cut");
    };
    type Damage<'d> = &'d dyn Fn(&Place);
    let damages: [(&str, bool, Damage<'_>); 6] = [
        ("the header is overwritten", true, &|place| overwrite(place, 0, &[b'x'; 100])),
        ("a page in the middle is overwritten", false, &|place| {
            let pages = place.path().metadata().expect("the file").len() / 4096;
            overwrite(place, pages / 2 * 4096, &[0xa5; 4096]);
        }),
        ("the second page is overwritten", false, &|place| overwrite(place, 4096, &[0x5a; 4096])),
        ("the file is cut in half", false, &|place| {
            cut(place, place.path().metadata().expect("the file").len() / 2)
        }),
        ("the file is empty", true, &|place| cut(place, 0)),
        ("the file is gone and its log is not", true, &|place| {
            fs::remove_file(place.path()).expect("to remove");
            fs::write(place.file("state.db-wal"), [1; 4096]).expect("a log");
        }),
    ];
    for (name, reads_see, damage) in damages {
        let place = filled().await;
        damage(&place);
        let before = fs::read(place.path()).ok();
        let error = place.open(Mode::Lead).await.expect_err(name);
        assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error:?}");
        assert!(!error.is_transient());
        let text = chain(&error);
        assert!(
            text.contains("state.db is damaged") && text.contains("move it aside"),
            "{name}: {text}"
        );
        let error = place.open(Mode::Read).await.err();
        assert!(!reads_see || matches!(error, Some(Error::Corrupt { .. })), "{name}: {error:?}");
        assert_eq!(fs::read(place.path()).ok(), before, "{name}: it must be left as it is");
    }
}

#[tokio::test]
async fn a_store_is_created_whole_or_not_at_all() {
    let place = Place::new();
    // What a creation that was killed leaves behind.
    fs::write(place.file("state.db.new"), b"half a database").expect("a leftover");
    let store = place.lead().await;
    assert_eq!(store.last_seq().await.expect("the end of the log"), EventSeq(0));
    assert!(!place.file("state.db.new").exists());
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let place = Place::new();
    fs::write(place.file("state.db"), b"in the way").expect("a file");
    let path = place.file("state.db/inner/state.db");
    let options = kapelle_store::OpenOptions { path, mode: Mode::Lead, new_epoch: 1 };
    let error = kapelle_store::Store::open(options).await.expect_err("a file is in the way");
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("inner/state.db"), "{error}");
}
