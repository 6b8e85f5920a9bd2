use super::*;

/// What a text refers to where there are 1.1 to 1.4 and 2.1, and what else is said of it.
fn shown(text: &str) -> String {
    let known = |id: &StreamId| matches!(id.as_str(), "1.1" | "1.2" | "1.3" | "1.4" | "2.1");
    let Reading { references, unread, malformed, oddities } = read(text, 0, &known);
    let mut shown: Vec<String> = references
        .iter()
        .map(|reference| {
            let mark = if reference.marked_complete { "+" } else { "" };
            match &reference.target {
                Target::Stream(id) => format!("{id}{mark}"),
                Target::Number(id) => format!("#{id}{mark}"),
                Target::Batch(number) => format!("batch {number}{mark}"),
                Target::Range(from, to) => format!("{} to {}{mark}", from.id, to.id),
            }
        })
        .collect();
    let slice = |span: &Span| &text[span.start..span.end];
    shown.extend(unread.iter().map(|span| format!("unread {:?}", slice(span))));
    shown.extend(malformed.iter().map(|span| format!("malformed {:?}", slice(span))));
    shown.extend(oddities.iter().map(|(odd, span)| {
        let odd = format!("{odd:?}").to_lowercase();
        format!("{odd} {:?}", slice(span))
    }));
    shown.join("; ")
}

fn check(cases: &[(&str, &str)]) {
    let differs = |(text, expected): &&(&str, &str)| shown(text) != *expected;
    let wrong: Vec<String> = cases
        .iter()
        .filter(differs)
        .map(|(text, expected)| format!("{text:?}: expected {expected}, read {}", shown(text)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn references_are_found_where_they_are_meant() {
    check(&[
        ("Phase 1.4 ✅, Phase 2.1", "1.4+; 2.1"),
        ("1.4, 2.1", "1.4; 2.1"),
        ("Phases 1, 2 and 3", "1; 2; 3"),
        ("Step 1.1 & Step 1.2 / 1.3", "1.1; 1.2; 1.3"),
        ("**Phase 1.4** (registry), [Phase 2.1](#phase-21)", "1.4; 2.1"),
        ("Phase A.4", "A.4"),
        ("2.3a", "2.3a"),
        ("3", "#3"),
        ("Batch 2, Sprints 3-5", "batch 2; batch 3; batch 4; batch 5"),
        ("1.1 - 1.4", "1.1 to 1.4"),
        ("Phase 1.1 to Phase 1.4", "1.1 to 1.4"),
        ("Phase 1.2 - 3 days of work", "1.2"),
        ("needs Phase 1.4 first", "1.4"),
        ("1.1 (after Phase 1.3)", "1.1; 1.3"),
        ("[Phase 1.4][1.2], [2.1][]", "1.4; 2.1"),
        ("~~Phase 1.1~~", ""),
        ("None", ""),
        ("N/A", ""),
        ("—", ""),
        ("None (can start at once)", ""),
        ("None - can start at once", ""),
        ("TBD, Phase 1.2", "1.2"),
        ("1.1, the lawyers", "1.1; unread \"the lawyers\""),
        ("Python 3.11", "unread \"Python 3.11\""),
        ("Phase 1..2", "malformed \"1..2\""),
    ]);
}

#[test]
fn every_id_of_a_work_stream_counts_wherever_it_stands() {
    for text in [
        "1.1 ✅ 1.2 ✅",
        "1.1 1.2",
        "1.1\t1.2",
        "1.1\u{A0}1.2",
        "#1.1 #1.2",
        "1.1<br>1.2",
        "1.1<br/>1.2",
        "1.1 → 1.2",
        "1.1 -> 1.2",
        "1.1 > 1.2",
        "1.1 then 1.2",
        "1.1 as well as 1.2",
        "1.1 with 1.2",
        "1.1 und 1.2",
        "1.1, und 1.2",
        "1.1 Setup and 1.2 Tests",
        "1.1 Setup, 1.2 Tests",
        "1.1 Setup 1.2 Tests",
        "1.1 [1.2](y)",
        "[1.1](a) [1.2](b)",
        "1.1、1.2",
        "1.1，1.2",
        "1.1；1.2",
        "1.1和1.2",
        "1.1 (and 1.2)",
        "1.1 (1.2)",
        "1.1, and 1.2.",
        "both 1.1 and 1.2",
        "after 1.1, after 1.2",
        "completion of 1.1 and of 1.2",
        "\"1.1\", \"1.2\"",
        "“1.1” “1.2”",
        "1.1: Setup; 1.2: Tests.",
        "1.1/1.2",
        "1.1+1.2",
        "Phase1.1, Phase1.2",
        "finish 1.1 so that 1.2 can be used",
        "`1.1` `1.2`",
        "Python 1.1, 1.2 days",
    ] {
        let read = shown(text).replace('+', "");
        assert_eq!(read, "1.1; 1.2", "{text:?}");
    }
}

#[test]
fn ranges_hold_in_both_directions() {
    check(&[
        ("1.1-1.3", "1.1 to 1.3"),
        ("1.3-1.1", "1.1 to 1.3"),
        ("Phase 1.3 – Phase 1.1", "1.1 to 1.3"),
        ("1.1 up to 1.3", "1.1 to 1.3"),
        ("1.1 bis 1.3", "1.1 to 1.3"),
        ("1.1~1.3", "1.1 to 1.3"),
        ("1.1 (Setup) - 1.3 (Tests)", "1.1 to 1.3"),
        ("1.1-9.9", "1.1 to 9.9"),
        ("Batches 5-3", "batch 5; batch 3; batch 4"),
        ("1.1 - 2.5 days", "1.1"),
    ]);
}

#[test]
fn what_looks_like_an_id_counts_where_one_is_meant() {
    check(&[
        ("1.1 9.9", "1.1; 9.9"),
        ("1.1 and 9.9", "1.1; 9.9"),
        ("1.1 (and 9.9)", "1.1; 9.9"),
        ("1.1 (Setup) 9.9 (Tests)", "1.1; 9.9"),
        ("after 9.9", "9.9"),
        ("P1.1, S9.9", "P1.1; S9.9"),
        ("1.1 Setup 9.9 Tests", "1.1; stray \"9.9\""),
        ("1.1 (needs Python 3.11)", "1.1; stray \"3.11\""),
        ("Python 3.11", "unread \"Python 3.11\""),
        ("Python >= 3.11", "unread \"Python >= 3.11\""),
        ("1.1, Node18.2", "1.1; unread \"Node18.2\""),
        ("1.1, 3 days", "1.1; unread \"3 days\""),
        ("1.1 after 2 weeks and a 2nd look", "1.1"),
        ("1.1, https://example.org/1.2", "1.1; unread \"https://example.org/1.2\""),
        ("1.1 <!-- 1.2 -->", "1.1"),
        ("lib1.2", "unread \"lib1.2\""),
        ("1.2.3", "1.2.3"),
    ]);
}

#[test]
fn what_is_ruled_out_is_told() {
    check(&[
        ("not 1.2", "ruledout \"1.2\""),
        ("1.1, not Phase 1.2", "1.1; ruledout \"1.2\""),
        ("1.1 (was 1.2)", "1.1; ruledout \"1.2\""),
        ("1.1 instead of 1.2", "1.1; ruledout \"1.2\""),
        ("no longer 1.2", "ruledout \"1.2\""),
        ("neither 1.1 nor 1.2", "ruledout \"1.1\"; ruledout \"1.2\""),
        ("None (was Phase 1.2)", "ruledout \"1.2\""),
        ("None - 1.2 is optional", "ruledout \"1.2\""),
        ("TBD (1.2?)", "1.2"),
        ("not before 1.2", "1.2; doubtful \"1.2\""),
        ("can't start without 1.2", "1.2; doubtful \"1.2\""),
        ("independent of 1.2", "1.2; doubtful \"1.2\""),
        ("not 1.1 but 1.2", "1.2; ruledout \"1.1\"; doubtful \"1.2\""),
        ("1.1 is not done, 1.2", "1.1; 1.2"),
        ("~~1.1~~ 1.2", "1.2"),
        ("version 1.2", "unread \"version 1.2\"; version \"1.2\""),
        ("v1.2 of the tool", "unread \"v1.2 of the tool\"; version \"1.2\""),
        ("tool@1.2", "unread \"tool@1.2\"; version \"1.2\""),
        ("v3.1 of the tool", "unread \"v3.1 of the tool\""),
    ]);
}
