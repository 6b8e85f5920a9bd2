use proptest::prelude::*;

use super::*;

const OUT: OutputStream = OutputStream::Stdout;

fn collect(limit: usize, chunks: &[&[u8]]) -> Vec<Output> {
    let mut output = Vec::new();
    let mut collector = Collector::new(limit);
    for chunk in chunks {
        collector.push(OUT, chunk, &mut |piece| output.push(piece));
    }
    collector.finish(OUT, &mut |piece| output.push(piece));
    output
}

fn line(text: impl Into<String>) -> Output {
    Output::Line { stream: OUT, text: text.into(), truncated: false }
}

fn piece(text: impl Into<String>) -> Output {
    Output::Line { stream: OUT, text: text.into(), truncated: true }
}

#[test]
fn bytes_become_lines() {
    let check = |chunks: &[&[u8]], expected: &[Output]| {
        assert_eq!(collect(DEFAULT, chunks), expected, "{chunks:?}");
    };
    const DEFAULT: usize = 1 << 20;
    check(&[], &[]);
    check(&[b"one\ntwo\n"], &[line("one"), line("two")]);
    check(&[b"on", b"e\nt", b"wo"], &[line("one"), line("two")]);
    check(&[b"\n\n"], &[line(""), line("")]);
    check(&[b"dos\r", b"\nbar\rsame\r\n"], &[line("dos"), line("bar\rsame")]);
    check(&["naïve ".as_bytes(), b"\xff\n"], &[line("naïve \u{fffd}")]);
}

#[test]
fn a_long_line_comes_in_pieces_that_cut_no_character() {
    let exact = "x".repeat(LINE_BYTES);
    assert_eq!(collect(1 << 20, &[exact.as_bytes(), b"\n"]), [line(exact.as_str())]);
    assert_eq!(collect(1 << 20, &[exact.as_bytes(), b"y\n"]), [piece(exact.as_str()), line("y")]);
    let odd = format!("{}€ and\n", "x".repeat(LINE_BYTES - 1));
    assert_eq!(
        collect(1 << 20, &[odd.as_bytes()]),
        [piece("x".repeat(LINE_BYTES - 1)), line("€ and")]
    );
    let binary = vec![0x80; LINE_BYTES + 1];
    assert_eq!(collect(1 << 20, &[&binary]).len(), 2);
}

#[test]
fn both_streams_share_the_limit() {
    let mut output = Vec::new();
    let mut collector = Collector::new(2 * (LINE_COST + 1));
    for stream in [OUT, OutputStream::Stderr, OUT] {
        collector.push(stream, b"x\n", &mut |piece| output.push(piece));
    }
    assert_eq!(output.len(), 2);
}

#[test]
fn the_end_of_too_much_is_delivered_without_a_gap_when_nothing_is_missing() {
    assert_eq!(collect(0, &[b"a\nb"]), [line("a"), line("b")]);
    assert_eq!(collect(LINE_COST + 1, &[b"a\n", b"b\n"]), [line("a"), line("b")]);
}

#[test]
fn a_single_endless_line_is_kept_at_both_ends() {
    let chunk = vec![b'x'; 1_000];
    let output = collect(LINE_BYTES + LINE_COST, &vec![chunk.as_slice(); 300]);
    let [first, gap, last] = output.as_slice() else { panic!("{output:?}") };
    assert_eq!(*first, piece("x".repeat(LINE_BYTES)));
    let bytes = (300_000 - LINE_BYTES - TAIL_BYTES) as u64;
    assert_eq!(*gap, Output::Gap { stream: OUT, bytes, lines: 0, reason: GapReason::OverLimit });
    assert_eq!(*last, line("x".repeat(TAIL_BYTES)));
}

proptest! {
    /// However the bytes arrive: every byte is delivered or counted, in at most as many messages
    /// as the queue holds, and with enough of a limit nothing is missing.
    #[test]
    fn every_byte_is_accounted_for(
        lines in prop::collection::vec((0_usize..200, 1_usize..400), 0..60),
        cuts in prop::collection::vec(1_usize..50_000, 1..20),
        limit in 0_usize..200_000,
    ) {
        let mut bytes = Vec::new();
        for (length, times) in lines {
            for _ in 0..times {
                bytes.extend(std::iter::repeat_n(b'x', length));
                bytes.push(b'\n');
            }
        }
        let mut chunks = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        let output = collect(limit, &chunks);
        prop_assert!(output.len() <= queue_bound(limit));
        let mut delivered = 0_u64;
        for piece in &output {
            delivered += match piece {
                Output::Line { text, .. } => text.len() as u64 + 1,
                Output::Gap { bytes, .. } => *bytes,
            };
        }
        prop_assert_eq!(delivered, bytes.len() as u64);
        if limit > bytes.len() * (LINE_COST + 1) {
            let complete = output.iter().all(|piece| matches!(piece, Output::Line { .. }));
            prop_assert!(complete);
        }
    }
}
