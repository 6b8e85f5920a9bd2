//! Disks without room, and disks that can't be written: said clearly, nothing lost, and work goes on
//! when the disk allows it again.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kapelle_domain::attempt::Outcome;
use kapelle_domain::ids::EventSeq;
use kapelle_domain::policy::Limits;
use kapelle_domain::testing::Stage as _;
use kapelle_store::{Error, Mode, OpenOptions, Store};

use crate::killed::child;
use crate::place::{Place, block_on, chain};
use crate::stage::{self, Stage};

const DIRECTORY: &str = "KAPELLE_STORE_TEST_DIRECTORY";

async fn open(directory: &std::path::Path) -> Result<Store, Error> {
    let path = directory.join("state.db");
    Store::open(OpenOptions { path, mode: Mode::Lead, new_epoch: 1 }).await
}

/// Commits until that is refused. Returns the refusal and the last number that was accepted.
async fn fill(store: &Store) -> (Error, EventSeq) {
    let mut stage = Stage::recover(store).await.expect("a coordinator");
    let session = stage.register(stage::WORKER, 100, Vec::new());
    let mut kept = store.last_seq().await.expect("the end of the log");
    for uid in u128::from(kept.0) << 32.. {
        stage.submit(
            stage::run(uid, 8),
            (0..8).map(|number| stage::task(&format!("t{number}"), &[])).collect(),
        );
        stage.work_off(session, &Outcome::Completed);
        match stage.commit(store).await {
            Ok(()) => kept = stage.last_seq,
            Err(error) => return (error, kept),
        }
    }
    unreachable!("no disk is endless")
}

async fn require_intact(store: &Store, kept: EventSeq) {
    assert_eq!(store.last_seq().await.expect("the end of the log"), kept);
    let folded =
        store.verify_fold(Limits::default()).await.expect("tables that say what the log says");
    assert_eq!(folded.events, kept.0);
}

fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY).expect("the test that starts us says where").into()
}

#[test]
#[ignore = "it is the process that another test starts on a small disk"]
fn fills_a_small_disk() {
    let directory = directory();
    let ballast = directory.join("ballast");
    fs::write(&ballast, vec![1; 300 << 10]).expect("a ballast");
    block_on(async {
        let store = open(&directory).await.expect("a store");
        for _ in 0..3 {
            let (error, kept) = fill(&store).await;
            assert!(
                matches!(error, Error::DiskFull { .. }) && error.is_transient(),
                "{}",
                chain(&error)
            );
            assert!(error.to_string().contains("the disk is full while"), "{error}");
            require_intact(&store, kept).await;
        }
        fs::remove_file(&ballast).expect("room again");
        let before = store.last_seq().await.expect("the end of the log");
        let (_, kept) = fill(&store).await;
        assert!(kept > before, "writes resume when there is room");
        require_intact(&store, kept).await;
        drop(store);
        // Even opening needs a little room; that is said as clearly.
        if let Err(error) = open(&directory).await {
            assert!(error.is_transient(), "{}", chain(&error));
        }
    });
}

#[test]
#[ignore = "it is the process that another test starts with a limit on the size of its files"]
fn fills_what_it_may_write() {
    block_on(async {
        let store = open(&directory()).await.expect("a store");
        let (error, kept) = fill(&store).await;
        assert!(error.is_transient(), "{}", chain(&error));
        require_intact(&store, kept).await;
    });
}

#[test]
#[ignore = "it is the process that another test starts on a disk of its own"]
fn finds_its_disk_read_only() {
    let directory = directory();
    block_on(async {
        let store = open(&directory).await.expect("a store");
        let mut stage = Stage::recover(&store).await.expect("a coordinator");
        stage.submit(stage::run(1, 1), vec![stage::task("a", &[])]);
        stage.commit(&store).await.expect("a commit");
        store.close().await.expect("an orderly end");
        let remount = |how| {
            let status = Command::new("mount").args(["-o", how]).arg(&directory).status();
            assert!(status.is_ok_and(|status| status.success()), "{how}");
        };
        remount("remount,ro");
        let error = open(&directory).await.expect_err("it can't be written");
        assert!(
            matches!(error, Error::ReadOnly { .. }) && !error.is_transient(),
            "{}",
            chain(&error)
        );
        let path = directory.join("state.db");
        let reader = Store::open(OpenOptions { path, mode: Mode::Read, new_epoch: 1 }).await;
        let error = reader.expect_err("reading needs a file beside it");
        assert!(matches!(error, Error::ReadOnly { .. }), "{}", chain(&error));
        remount("remount,rw");
        let store = open(&directory).await.expect("the store again");
        require_intact(&store, stage.last_seq).await;
    });
}

/// Runs one test of this program with a small disk of its own at `DIRECTORY`. Where the system
/// gives no mount namespaces there is no such disk, and the test can't be made.
fn on_its_own_disk(test: &str) {
    let place = Place::new();
    let small = place.file("small");
    fs::create_dir(&small).expect("a mount point");
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        command
    };
    let mount = "mount -t tmpfs -o size=1500k tmpfs \"$0\"";
    if !unshare().arg(mount).arg(&small).status().is_ok_and(|status| status.success()) {
        eprintln!("no mount namespaces here: {test} is left out");
        return;
    }
    let process = child(test);
    let status = unshare()
        .arg(format!("{mount} && exec \"$@\""))
        .arg(&small)
        .arg(process.get_program())
        .args(process.get_args())
        .env(DIRECTORY, &small)
        .status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{status:?}");
}

#[test]
fn a_full_disk_is_said_and_lived_through() {
    on_its_own_disk("bad_disks::fills_a_small_disk");
}

#[test]
fn a_read_only_disk_is_said_and_lived_through() {
    on_its_own_disk("bad_disks::finds_its_disk_read_only");
}

#[test]
fn a_refused_write_loses_nothing_and_the_next_process_goes_on() {
    let place = Place::new();
    block_on(async { place.lead().await.close().await.expect("an orderly end") });
    let writer = child("bad_disks::fills_what_it_may_write");
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\""])
        .arg(writer.get_program())
        .args(writer.get_args())
        .env(DIRECTORY, place.path().parent().expect("its directory"))
        .status()
        .expect("a child");
    assert!(status.success(), "{status}");
    block_on(async {
        let store = place.lead().await;
        let before = store.last_seq().await.expect("the end of the log");
        assert!(before > EventSeq(0), "it got somewhere");
        require_intact(&store, before).await;
        let mut stage = Stage::recover(&store).await.expect("a coordinator");
        stage.submit(stage::run(1 << 100, 1), vec![stage::task("a", &[])]);
        stage.commit(&store).await.expect("writes resume");
        require_intact(&store, stage.last_seq).await;
    });
}
