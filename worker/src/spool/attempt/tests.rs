use kapelle_domain::attempt::{Outcome, WorkResult};
use kapelle_domain::ids::{RunId, TaskId};
use pretty_assertions::assert_eq;

use super::*;

const QUOTA: u64 = 64 * 1024;
const NOW: Timestamp = Timestamp(77);

pub(crate) fn owner(number: u32, fence: u64) -> Owner {
    Owner {
        attempt: AttemptId { task: TaskId { run: RunId(1), index: 0 }, number },
        fence: Fence(fence),
        worker: WorkerId("w".to_owned()),
        key: "1.2".to_owned(),
        title: "Parser".to_owned(),
        agent: "coder".to_owned(),
        base: Some("a".repeat(40)),
    }
}

fn line(text: &str) -> OutputLine {
    OutputLine { at: Timestamp(7), lane: OutputLane::Stdout, text: text.to_owned() }
}

fn report(bundle: &str) -> Report {
    let result = WorkResult {
        commit: "c".repeat(40),
        base: "b".repeat(40),
        bundle: bundle.to_owned(),
        bundle_bytes: 1,
        files_changed: 1,
        lines_added: 1,
        lines_deleted: 0,
    };
    Report { result: Some(result), ..Report::stated(Outcome::Completed, "done") }
}

fn taken(root: &Path) -> Vec<Found> {
    take_over(root, QUOTA, NOW, |_| false)
}

fn sync(spool: &mut AttemptSpool) {
    if let Some(unsynced) = spool.unsynced().unwrap() {
        let outcome = unsynced.sync();
        spool.synced(&unsynced, outcome).unwrap();
    }
}

/// Everything that is to be sent, acknowledged as it comes: number and text.
fn drained(spool: &mut AttemptSpool) -> Vec<(u64, String)> {
    sync(spool);
    let mut all = Vec::new();
    while let Some((first, lines)) = spool.next_lines(200, NOW).unwrap() {
        let last = first + lines.len() as u64 - 1;
        all.extend((first..).zip(lines.into_iter().map(|line| line.text)));
        spool.acknowledge(last).unwrap();
    }
    all
}

fn texts(all: &[(u64, String)]) -> Vec<(u64, &str)> {
    all.iter().map(|(number, text)| (*number, text.as_str())).collect()
}

fn last_segment(root: &Path) -> PathBuf {
    let dir = root.join("r-1-t0-1-f3");
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "seg")).max().unwrap()
}

#[test]
fn only_what_is_durable_is_sent_and_it_comes_back_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = AttemptSpool::create(root.path(), owner(1, 3), QUOTA).unwrap();
    let lanes = [OutputLane::Stdout, OutputLane::Stderr, OutputLane::Agent, OutputLane::Worker];
    let said: Vec<OutputLine> = lanes
        .into_iter()
        .map(|lane| OutputLine { lane, ..line("a \"b\"\n\u{1b}[0m ⭐") })
        .collect();
    said.iter().for_each(|line| spool.line(line));
    assert_eq!(spool.next_lines(1 << 20, NOW).unwrap(), None, "nothing was synced");
    sync(&mut spool);
    assert_eq!(spool.next_lines(1 << 20, NOW).unwrap(), Some((1, said)));
}

#[test]
fn a_finished_attempt_is_found_with_its_report_and_the_rest_of_its_transcript() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(reported(root.path()), []);
    let mut spool = AttemptSpool::create(root.path(), owner(1, 3), QUOTA).unwrap();
    ["a", "b", "c"].iter().for_each(|text| spool.line(&line(text)));
    sync(&mut spool);
    spool.acknowledge(1).unwrap();
    assert_eq!(reported(root.path()), [], "it is not finished");
    spool.place().keep_report(report("/results/x")).unwrap();
    let held = owner(1, 3).held();
    let waiting = Reported { held, bundle: Some("/results/x".into()) };
    assert_eq!(reported(root.path()), std::slice::from_ref(&waiting));
    assert_eq!(taken(root.path()).len(), 0, "the worker that has it is alive");
    drop(spool);

    let [found] = &mut taken(root.path())[..] else { panic!("one was left") };
    assert_eq!(found.spool.owner(), &owner(1, 3));
    assert_eq!(found.report, Some(report("/results/x")));
    assert_eq!(texts(&drained(&mut found.spool)), [(2, "b"), (3, "c")]);
    found.spool.place().remove().unwrap();
    assert_eq!(reported(root.path()), []);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn the_transcript_of_one_that_was_cut_off_ends_with_that() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = AttemptSpool::create(root.path(), owner(1, 3), QUOTA).unwrap();
    ["a", "b"].iter().for_each(|text| spool.line(&line(text)));
    drained(&mut spool);
    spool.line(&line("c"));
    drop(spool);
    // A write that the crash interrupted.
    let mut file = File::options().append(true).open(last_segment(root.path())).unwrap();
    file.write_all(b"\x20\0\0\0half a record").unwrap();
    drop(file);

    let [found] = &mut taken(root.path())[..] else { panic!("one was left") };
    assert_eq!(found.report, None);
    let rest = drained(&mut found.spool);
    assert_eq!(
        texts(&rest),
        [
            (3, "c"),
            (4, "[17 bytes at the end were no whole line and are left out]"),
            (5, "the worker was cut off here; what came after is not known"),
        ]
    );
}

#[test]
fn lines_beyond_the_quota_are_one_line_in_their_place() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = AttemptSpool::create(root.path(), owner(1, 3), QUOTA).unwrap();
    let mut said = 0..;
    let mut say = |spool: &mut AttemptSpool, count: usize| {
        for number in said.by_ref().take(count) {
            spool.line(&line(&format!("{number} {}", "x".repeat(1_000))));
        }
    };
    say(&mut spool, 200);
    let kept = spool.last();
    assert!((50..63).contains(&kept), "{kept} lines of more than 1000 bytes in 64 KiB");
    sync(&mut spool);
    spool.acknowledge(kept / 2).unwrap();
    say(&mut spool, 100);
    spool.mark_gap(NOW).unwrap();
    spool.mark_gap(NOW).unwrap();
    assert!(spool.pending_bytes() <= QUOTA + RESERVE_BYTES);
    let all = drained(&mut spool);
    let number = |text: &str| text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
    let gap = |text: &str| {
        let lines = text.strip_prefix('[')?.split(' ').next()?.parse::<u64>().ok();
        lines.filter(|_| text.ends_with("left out here: the coordinator didn't take them in time]"))
    };
    // Every line that was said is there, or counted where it is missing.
    let mut next = kept / 2;
    let mut gaps = 0;
    for (_, text) in &all {
        match (number(text), gap(text)) {
            (Some(number), _) => {
                assert_eq!(number, next);
                next += 1;
            }
            (None, Some(lines)) => {
                next += lines;
                gaps += 1;
            }
            (None, None) => panic!("{text}"),
        }
    }
    assert_eq!((next, gaps), (300, 2));
}

#[test]
fn lines_that_the_disk_has_lost_are_counted_under_their_numbers() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = AttemptSpool::create(root.path(), owner(1, 3), 32 << 20).unwrap();
    // Enough for several segments.
    let text = "x".repeat(60_000);
    (0..200).for_each(|_| spool.line(&line(&text)));
    spool.place().keep_report(report("x")).unwrap();
    drop(spool);
    let dir = root.path().join("r-1-t0-1-f3");
    let mut names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    let first_of =
        |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let lost = first_of(&names[1])..first_of(&names[2]);
    fs::write(&names[1], vec![0; 100]).unwrap();
    // A record that was changed, in the last segment.
    let mut bytes = fs::read(&names[2]).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&names[2], bytes).unwrap();

    let [found] = &mut taken(root.path())[..] else { panic!("one was left") };
    assert!(found.report.is_some(), "a damaged transcript keeps no report from its way");
    let all = drained(&mut found.spool);
    let count = lost.end - lost.start;
    assert!(
        all.contains(&(lost.end - 1, format!("[{count} lines were lost on the worker's disk]"))),
        "{:?}",
        all.iter().filter(|(_, t)| t.len() < 200).collect::<Vec<_>>()
    );
    assert_eq!(all.iter().filter(|(_, kept)| *kept == text).count() as u64, lost.start - 1);
}

#[test]
fn what_cannot_be_taken_over_is_left_alone_and_what_is_nothing_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let make = |number, content: Option<&str>, name: &str| {
        let spool = AttemptSpool::create(root.path(), owner(number, 3), QUOTA).unwrap();
        let dir = spool.dir.clone();
        drop(spool);
        match content {
            Some(content) => fs::write(dir.join(name), content).unwrap(),
            None => fs::remove_file(dir.join(name)).unwrap(),
        }
        dir
    };
    let newer = make(1, Some(r#"{"version": 2, "owner": "of another form"}"#), OWNER);
    let nobody = make(2, None, OWNER);
    let torn = make(3, Some("{\"vers"), OWNER);
    let damaged = make(4, Some("[]"), REPORT);
    fs::write(root.path().join("a file"), "").unwrap();
    assert_eq!(taken(root.path()).len(), 0);
    assert_eq!(reported(root.path()), []);
    assert!(newer.exists() && damaged.exists(), "somebody may know what to do with them");
    assert!(!nobody.exists() && !torn.exists());
}

#[test]
fn each_grant_has_a_spool_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let one = AttemptSpool::create(root.path(), owner(1, 3), QUOTA).unwrap();
    let two = AttemptSpool::create(root.path(), owner(1, 4), QUOTA).unwrap();
    let again = AttemptSpool::create(root.path(), owner(1, 3), QUOTA);
    assert!(matches!(again, Err(Error::Locked { .. })), "{again:?}");
    one.place().keep_report(report("of another history")).unwrap();
    drop((one, two));
    let mut again = AttemptSpool::create(root.path(), owner(1, 3), QUOTA).unwrap();
    again.line(&line("a"));
    assert_eq!(texts(&drained(&mut again)), [(1, "a")]);
    assert_eq!(reported(root.path()), []);
}

#[test]
fn a_removal_that_a_crash_interrupts_leaves_no_false_word() {
    // As far as the removal got: the owner is gone, then the report as well.
    for gone in [&[OWNER][..], &[OWNER, REPORT]] {
        let root = tempfile::tempdir().unwrap();
        let mut spool = AttemptSpool::create(root.path(), owner(1, 3), QUOTA).unwrap();
        spool.line(&line("a"));
        drained(&mut spool);
        spool.place().keep_report(report("x")).unwrap();
        let dir = spool.dir.clone();
        drop(spool);
        gone.iter().for_each(|name| fs::remove_file(dir.join(name)).unwrap());
        let mut found = taken(root.path());
        assert_eq!(found.len(), 2 - gone.len());
        for found in &mut found {
            assert_eq!(found.report, Some(report("x")));
            assert_eq!(drained(&mut found.spool), []);
        }
    }
}
