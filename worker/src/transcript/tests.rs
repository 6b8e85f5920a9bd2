use kapelle_bus::CoordinatorEnd as _;
use kapelle_bus::memory::{self, MemoryCoordinator, MemoryWorker};
use kapelle_domain::attempt::Outcome;
use kapelle_domain::ids::{AttemptId, Fence, RunId, SessionEpoch, TaskId, WorkerId};
use pretty_assertions::assert_eq;
use tempfile::TempDir;

use super::*;
use crate::spool::attempt::{Owner, take_over};

const QUOTA: u64 = 1 << 20;
/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    root: TempDir,
    coordinator: MemoryCoordinator,
    worker: MemoryWorker,
    clock: Clock,
}

impl Stage {
    fn new() -> Self {
        let (coordinator, worker) = memory::bus();
        let root = tempfile::tempdir().unwrap();
        Self { root, coordinator, worker, clock: Clock::system() }
    }

    fn begin(&self) -> (Transcript, Delivery) {
        let owner = Owner {
            attempt: holder().attempt,
            fence: holder().fence,
            worker: holder().worker,
            key: "1.2".to_owned(),
            title: "Parser".to_owned(),
            agent: "coder".to_owned(),
            base: None,
        };
        let spool = AttemptSpool::create(self.root.path(), owner, QUOTA).unwrap();
        Transcript::begin(self.worker.clone(), holder(), self.clock.clone(), spool)
    }

    /// The next process of this worker.
    fn resume(&self) -> (Option<Report>, Delivery) {
        let mut found = take_over(self.root.path(), QUOTA, Timestamp(1), |_| false);
        assert_eq!(found.len(), 1);
        let found = found.remove(0);
        let holder = Holder { session: SessionEpoch(2), ..holder() };
        let (bus, clock) = (self.worker.clone(), self.clock.clone());
        (found.report, Delivery::resume(bus, holder, clock, found.spool))
    }

    /// Takes chunks until `count` lines have come. What is taken is acknowledged.
    async fn collect(&self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let inbound = soon("output", self.coordinator.output()).await.unwrap();
            let chunk = inbound.chunk;
            assert_eq!(chunk.first, texts.len() as u64 + 1, "in order and without gaps");
            texts.extend(chunk.lines.into_iter().map(|line| line.text));
            inbound.watermark.send(texts.len() as u64).unwrap();
        }
        texts
    }

    fn is_clean(&self) -> bool {
        std::fs::read_dir(self.root.path()).unwrap().next().is_none()
    }
}

fn holder() -> Holder {
    Holder {
        attempt: AttemptId { task: TaskId { run: RunId(1), index: 0 }, number: 1 },
        fence: Fence(3),
        worker: WorkerId("w".to_owned()),
        session: SessionEpoch(1),
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took more than {PATIENCE:?}"),
    }
}

#[tokio::test]
async fn what_is_said_arrives_while_the_attempt_goes_on_and_then_the_spool_goes() {
    let stage = Stage::new();
    let (transcript, mut delivery) = stage.begin();
    transcript.say("works");
    transcript.line(OutputLane::Stdout, "hello");
    assert_eq!(stage.collect(2).await, ["works", "hello"]);
    transcript.say("done");
    transcript.close();
    let rest = async {
        let inbound = soon("output", stage.coordinator.output()).await.unwrap();
        assert_eq!((inbound.chunk.first, inbound.chunk.lines.len()), (3, 1));
        inbound.watermark.send(3).unwrap();
    };
    let arrived = delivery.arrive(tokio::time::sleep(PATIENCE));
    let (arrived, ()) = tokio::join!(arrived, rest);
    assert!(arrived);
    delivery.remove().await;
    assert!(stage.is_clean());
}

#[tokio::test]
async fn a_coordinator_that_takes_nothing_makes_nobody_wait_and_loses_no_line() {
    let stage = Stage::new();
    let (transcript, mut delivery) = stage.begin();
    // More than a chunk, and nobody takes any of it.
    let said: Vec<String> = (0..5_000).map(|number| format!("line {number}")).collect();
    said.iter().for_each(|text| transcript.line(OutputLane::Stdout, text));
    transcript.keep_report(Report::stated(Outcome::Completed, "done")).await;
    transcript.close();
    assert!(!delivery.arrive(tokio::time::sleep(Duration::from_millis(50))).await);
    let (arrived, texts) =
        tokio::join!(delivery.arrive(tokio::time::sleep(PATIENCE)), stage.collect(said.len()));
    assert!(arrived);
    assert_eq!(texts, said);
}

#[tokio::test]
async fn a_flood_beyond_the_quota_ends_with_an_explicit_gap() {
    let stage = Stage::new();
    let (transcript, mut delivery) = stage.begin();
    let text = "x".repeat(10_000);
    (0..500).for_each(|_| transcript.line(OutputLane::Stdout, &text));
    transcript.close();
    let kept = usize::try_from(delivery.shared.state().spool.last()).unwrap() - 1;
    assert!((90..105).contains(&kept), "{kept} lines of 10 kB in 1 MiB");
    let (arrived, texts) =
        tokio::join!(delivery.arrive(tokio::time::sleep(PATIENCE)), stage.collect(kept + 1));
    assert!(arrived && texts[..kept].iter().all(|kept| *kept == text));
    let missing = 500 - kept;
    let gap =
        format!("[{missing} lines were left out here: the coordinator didn't take them in time]");
    assert_eq!(texts[kept], gap);
}

#[tokio::test]
async fn the_next_process_delivers_what_the_last_one_left() {
    let stage = Stage::new();
    let (transcript, delivery) = stage.begin();
    ["a", "b"].iter().for_each(|text| transcript.say(text));
    let report = Report::stated(Outcome::Completed, "done");
    transcript.keep_report(report.clone()).await;
    transcript.close();
    // A chunk arrives, its answer doesn't.
    let inbound = soon("output", stage.coordinator.output()).await.unwrap();
    assert_eq!(inbound.chunk.holder, holder());
    drop((inbound, transcript, delivery));
    // The sending task ends a moment after it was told to, and with it the lock.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while take_over(stage.root.path(), QUOTA, Timestamp(1), |_| false).is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the spool stays locked");
        tokio::task::yield_now().await;
    }
    let (found, mut delivery) = stage.resume();
    assert_eq!(found, Some(report));
    let rest = async {
        let inbound = soon("output", stage.coordinator.output()).await.unwrap();
        assert_eq!(inbound.chunk.holder.session, SessionEpoch(2));
        assert_eq!((inbound.chunk.first, inbound.chunk.lines.len()), (1, 2));
        inbound.watermark.send(2).unwrap();
    };
    let (arrived, ()) = tokio::join!(delivery.arrive(tokio::time::sleep(PATIENCE)), rest);
    assert!(arrived);
    delivery.remove().await;
    assert!(stage.is_clean());
}

#[tokio::test]
async fn a_line_that_is_too_long_says_what_is_missing() {
    let stage = Stage::new();
    let (transcript, _delivery) = stage.begin();
    transcript.say(&"ä".repeat(LINE_BYTES_MAX));
    let texts = stage.collect(1).await;
    assert!(
        texts[0].len() <= LINE_BYTES_MAX
            && texts[0].ends_with(" bytes of this line were not kept]")
    );
}
