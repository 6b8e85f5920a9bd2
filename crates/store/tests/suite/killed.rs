//! A writer that is killed loses nothing that it was told is kept.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kapelle_domain::attempt::Outcome;
use kapelle_domain::ids::EventSeq;
use kapelle_domain::policy::Limits;
use kapelle_domain::testing::Stage as _;
use kapelle_store::{Checkpoint, Mode, OpenOptions, Store};

use crate::place::{Place, block_on};
use crate::stage::{self, Stage};

const PATH: &str = "KAPELLE_STORE_TEST_PATH";
const ROUNDS: u64 = 20;

/// This very program, as a process that runs one test of it.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.stdin(Stdio::null());
    command
}

#[test]
#[ignore = "it is the process that another test kills"]
fn commits_until_it_is_killed() {
    let path = std::env::var_os(PATH).expect("the test that kills says where").into();
    block_on(async {
        let store = Store::open(OpenOptions { path, mode: Mode::Lead, new_epoch: 1 })
            .await
            .expect("a store");
        let mut stage = Stage::recover(&store).await.expect("a coordinator");
        let session = stage.register(stage::WORKER, 100, Vec::new());
        stage.offers.clear();
        let mut out = std::io::stdout();
        for round in 0u128.. {
            let uid = u128::from(stage.last_seq.0) << 32 | round;
            stage.submit(
                stage::run(uid, 8),
                (0..8).map(|number| stage::task(&format!("t{number}"), &[])).collect(),
            );
            for outcome in [Outcome::AgentFailed, Outcome::Completed] {
                stage.commit(&store).await.expect("a commit");
                // Whoever reads this relies on it.
                writeln!(out, "\nkept {}", stage.last_seq)
                    .and_then(|()| out.flush())
                    .expect("somebody who listens");
                stage.work_off(session, &outcome);
                stage.now = stage.now.after(Duration::from_millis(1));
            }
            if round % 8 == 0 {
                store.checkpoint(Checkpoint::Passive).await.expect("a checkpoint");
            }
        }
    });
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let seed = u64::from(std::process::id());
    let mut random = seed;
    let mut kept = EventSeq(0);
    for round in 0..ROUNDS {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (after, pause) = ((random >> 33) % 25, Duration::from_micros((random >> 40) % 3000));
        let mut writer = child("killed::commits_until_it_is_killed")
            .env(PATH, place.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        kept = listen_and_kill(&mut writer, after, pause).max(kept);
        block_on(async {
            let store = place.lead().await;
            let last = store.last_seq().await.expect("the end of the log");
            assert!(
                last >= kept,
                "seed {seed}, round {round}: {kept} was acknowledged, the log ends at {last}"
            );
            store.check().await.expect("a sound file");
            let folded = store
                .verify_fold(Limits::default())
                .await
                .expect("tables that say what the log says");
            assert_eq!(folded.events, last.0, "seed {seed}, round {round}: no event is missing");
        });
    }
    assert!(kept > EventSeq(ROUNDS), "the writers got somewhere");
}

/// The last acknowledged number of a writer that is killed a moment after its `after`th.
fn listen_and_kill(writer: &mut Child, after: u64, pause: Duration) -> EventSeq {
    let mut lines = BufReader::new(writer.stdout.take().expect("its output")).lines();
    let mut kept = EventSeq(0);
    let mut listen = |count: u64| {
        let acknowledged = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("kept ")?.parse().ok());
        for seq in acknowledged.take(usize::try_from(count).expect("small")) {
            kept = EventSeq(seq);
        }
        kept
    };
    listen(after + 1);
    // Somewhere within the next commits; nothing waits for this.
    std::thread::sleep(pause);
    writer.kill().expect("to kill");
    writer.wait().expect("its end");
    // What it said before it was killed counts.
    listen(u64::MAX)
}
