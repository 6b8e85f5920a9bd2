use std::io::Write as _;

use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::*;

const SMALL: Limits = Limits { segment_bytes: 200, quota_bytes: 2_000, record_bytes: 300 };

fn open(dir: &Path) -> Spool {
    let (spool, recovery) = Spool::open(dir, SMALL).unwrap();
    assert_eq!(recovery, Recovery::default());
    spool
}

fn pending(spool: &Spool) -> Vec<(u64, Vec<u8>)> {
    let records = spool.read(0, usize::MAX).unwrap();
    records.into_iter().map(|record| (record.seq, record.payload)).collect()
}

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let names = segment::list(dir).unwrap().into_iter();
    names.map(|first| dir.join(format!("{first:020}.seg"))).collect()
}

#[test]
fn records_come_back_in_order_until_they_are_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    assert_eq!((spool.last(), spool.sync().unwrap()), (0, 0));
    for number in 1..=20_u8 {
        assert_eq!(spool.append(&[number; 50]).unwrap(), u64::from(number));
    }
    assert_eq!(spool.sync().unwrap(), 20);
    assert!(segment_files(dir.path()).len() > 3);
    drop(spool);

    let mut spool = open(dir.path());
    spool.acknowledge(15).unwrap();
    spool.acknowledge(3).unwrap();
    let expected: Vec<_> = (16..=20_u8).map(|n| (u64::from(n), vec![n; 50])).collect();
    assert_eq!(pending(&spool), expected);
    assert_eq!(spool.pending_bytes(), 5 * 66);
    drop(spool);

    let mut spool = open(dir.path());
    assert_eq!(pending(&spool), expected);
    spool.acknowledge(20).unwrap();
    assert_eq!(pending(&spool), []);
    assert_eq!(segment_files(dir.path()).len(), 1);
    drop(spool);
    assert_eq!(open(dir.path()).append(b"next").unwrap(), 21);
}

#[test]
fn reading_stops_at_the_bytes_that_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for _ in 0..10 {
        spool.append(&[0; 50]).unwrap();
    }
    let numbers = |from, max_bytes| {
        let records = spool.read(from, max_bytes).unwrap().into_iter();
        records.map(|record| record.seq).collect::<Vec<_>>()
    };
    assert_eq!(numbers(0, 149), [1, 2]);
    assert_eq!(numbers(4, 150), [4, 5, 6]);
    assert_eq!(numbers(4, 0), [4]);
    assert_eq!(numbers(11, 150), [0; 0]);
}

#[test]
fn limits_are_refused_explicitly_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let error = spool.append(&[0; 301]).unwrap_err();
    assert_eq!(error.to_string(), "a record of 301 bytes; at most 300 are taken");
    let mut taken = 0;
    let error = loop {
        match spool.append(&[0; 84]) {
            Ok(seq) => taken = seq,
            Err(error) => break error,
        }
    };
    let words = "the spool holds 2000 of 2000 bytes that nobody has acknowledged";
    assert_eq!((taken, error.to_string().as_str()), (20, words));
    spool.acknowledge(1).unwrap();
    assert_eq!(spool.append(&[0; 84]).unwrap(), 21);
    assert!(matches!(spool.append(b""), Err(Error::QuotaExceeded { .. })));
    let error = spool.acknowledge(22).unwrap_err();
    assert_eq!(error.to_string(), "record 22 is acknowledged, but the last one is 21");
    assert_eq!(pending(&spool).len(), 20);
}

#[test]
fn two_cannot_have_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    assert!(matches!(Spool::open(dir.path(), SMALL), Err(Error::Locked { .. })));
    drop(spool);
    open(dir.path());
}

#[test]
fn what_the_disk_changed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for _ in 0..9 {
        spool.append(&[7; 50]).unwrap();
    }
    let files = segment_files(dir.path());
    assert_eq!(files.len(), 5);
    // The second record of the second segment; records 3 and 4 are in it.
    let mut bytes = fs::read(&files[1]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&files[1], &bytes).unwrap();
    fs::remove_file(&files[3]).unwrap();
    assert!(matches!(spool.read(4, 0), Err(Error::Corrupt { seq: 4, .. })));
    drop(spool);
    let (mut spool, recovery) = Spool::open(dir.path(), SMALL).unwrap();
    let missing = vec![4..=4, 7..=8];
    assert_eq!(recovery, Recovery { torn_bytes: 0, missing });
    let numbers: Vec<u64> = pending(&spool).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(numbers, [1, 2, 3, 5, 6, 9]);
    spool.acknowledge(8).unwrap();
    drop(spool);
    assert_eq!(pending(&open(dir.path())).len(), 1);

    fs::write(dir.path().join("00000000000000000001.seg"), "something else").unwrap();
    assert!(matches!(Spool::open(dir.path(), SMALL), Err(Error::NoSegment { .. })));
}

#[test]
fn numbers_that_were_acknowledged_and_then_lost_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for _ in 0..2 {
        spool.append(b"sent too early").unwrap();
    }
    spool.acknowledge(2).unwrap();
    drop(spool);
    let file = File::options().write(true).open(&segment_files(dir.path())[0]).unwrap();
    file.set_len(20).unwrap();
    let (mut spool, recovery) = Spool::open(dir.path(), SMALL).unwrap();
    assert_eq!(recovery, Recovery { torn_bytes: 12, missing: Vec::new() });
    assert_eq!(spool.append(b"").unwrap(), 3);
}

#[test]
fn a_lost_or_torn_watermark_only_repeats_records() {
    let torn = format!("{:020} {:020}\n", 19, 18);
    let absurd = format!("{0:020} {0:020}\n", u64::MAX);
    for content in ["", "12", "x\n", "\u{0}\u{0}\n", "19 19", torn.as_str(), absurd.as_str()] {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path());
        for _ in 0..20 {
            spool.append(&[0; 50]).unwrap();
        }
        spool.acknowledge(18).unwrap();
        drop(spool);
        fs::write(dir.path().join("acknowledged"), content).unwrap();
        let spool = open(dir.path());
        let numbers: Vec<u64> = pending(&spool).into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(numbers, (numbers[0]..=20).collect::<Vec<_>>(), "{content:?}");
        assert!(numbers[0] <= 19 && numbers[0] > 15, "{content:?}: {numbers:?}");
    }
}

#[test]
fn a_failure_that_leaves_the_end_in_doubt_lasts_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.append(&[1; 50]).unwrap();
    // A device that is always full, and that nothing can be cut off from.
    let full = File::options().read(true).append(true).open("/dev/full").unwrap();
    spool.segments.back_mut().unwrap().replace_file(full);
    let error = spool.append(&[2; 50]).unwrap_err();
    assert!(
        matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    );
    assert!(matches!(spool.append(b""), Err(Error::Broken)));
    assert!(matches!(spool.sync(), Err(Error::Broken)));
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(spool.append(&[2; 50]).unwrap(), 2);
    assert_eq!(pending(&spool).len(), 2);
}

/// A directory whose syncs cost nothing, where there is one: here power fails by our own hand.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[derive(Clone, Debug)]
enum Action {
    Append(usize),
    Sync,
    /// Acknowledges this share of what is pending.
    Acknowledge(f64),
    Reopen,
    /// Loses this share of what was not synced, and finds garbage in its place.
    PowerFailure(f64, Vec<u8>),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0_usize..=300).prop_map(Action::Append),
        2 => Just(Action::Sync),
        2 => (0.0..=1.0).prop_map(Action::Acknowledge),
        1 => Just(Action::Reopen),
        2 => ((0.0..=1.0), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(share, garbage)| Action::PowerFailure(share, garbage)),
    ]
}

/// What a spool is, without a disk.
#[derive(Debug, Default)]
struct Model {
    records: Vec<Vec<u8>>,
    acknowledged: usize,
    durable: usize,
}

impl Model {
    fn pending(&self) -> Vec<(u64, Vec<u8>)> {
        let numbered = (1..).zip(self.records.iter().cloned());
        numbered.skip(self.acknowledged).collect()
    }
}

/// Where the durable part of the last segment ends.
fn durable_length(spool: &Spool) -> u64 {
    let active = spool.segments.back().unwrap();
    active.length - active.bytes_after(spool.durable)
}

fn share_of(number: u64, share: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rough share of a small number"
    )]
    let part = (number as f64 * share) as u64;
    part.min(number)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A spool does what a list would do, but for a power failure, which takes some of the
    /// records that were not synced, the last ones first, and no other.
    #[test]
    fn it_behaves_like_its_model(actions in prop::collection::vec(action(), 1..60)) {
        let dir = in_memory();
        let mut spool = Some(open(dir.path()));
        let mut model = Model::default();
        for action in actions {
            let mut now = spool.take().unwrap();
            match action {
                Action::Append(length) => {
                    let payload = vec![u8::try_from(model.records.len() % 256).unwrap(); length];
                    match now.append(&payload) {
                        Ok(seq) => {
                            model.records.push(payload);
                            prop_assert_eq!(seq, model.records.len() as u64);
                        }
                        Err(Error::QuotaExceeded { pending, quota }) => {
                            let waiting = &model.records[model.acknowledged..];
                            let bytes: usize = waiting.iter().map(|r| r.len() + 16).sum();
                            prop_assert_eq!(pending, bytes as u64);
                            prop_assert!(pending + length as u64 + 16 > quota);
                        }
                        Err(error) => prop_assert!(false, "{error}"),
                    }
                    model.durable = usize::try_from(now.durable).unwrap();
                }
                Action::Sync => {
                    prop_assert_eq!(now.sync().unwrap(), model.records.len() as u64);
                    model.durable = model.records.len();
                }
                Action::Acknowledge(share) => {
                    // Only what is durable has been sent.
                    let sent = model.durable.saturating_sub(model.acknowledged);
                    model.acknowledged += usize::try_from(share_of(sent as u64, share)).unwrap();
                    now.acknowledge(model.acknowledged as u64).unwrap();
                }
                Action::Reopen => {
                    drop(now);
                    now = open(dir.path());
                    model.durable = model.records.len();
                }
                Action::PowerFailure(share, garbage) => {
                    let kept = durable_length(&now);
                    let length = now.segments.back().unwrap().length;
                    drop(now);
                    let path = segment_files(dir.path()).pop().unwrap();
                    let mut file = File::options().append(true).open(path).unwrap();
                    file.set_len(length - share_of(length - kept, share)).unwrap();
                    file.write_all(&garbage).unwrap();
                    let (found, recovery) = Spool::open(dir.path(), SMALL).unwrap();
                    now = found;
                    prop_assert!(recovery.missing.is_empty());
                    let last = usize::try_from(now.last()).unwrap();
                    prop_assert!((model.durable..=model.records.len()).contains(&last));
                    model.records.truncate(last);
                    model.durable = last;
                }
            }
            prop_assert_eq!(pending(&now), model.pending());
            prop_assert_eq!(now.acknowledged(), model.acknowledged as u64);
            // Acknowledged segments do not pile up.
            let on_disk: u64 = now.segments.iter().map(|segment| segment.length).sum();
            let slack = 2 * (SMALL.segment_bytes + 316) + 8 * now.segments.len() as u64;
            prop_assert!(on_disk <= now.pending_bytes() + slack);
            spool = Some(now);
        }
    }
}
