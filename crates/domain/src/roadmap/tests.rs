//! What untidy roadmaps are read as, and laws that hold for any bytes.

use pretty_assertions::assert_eq;

use super::{Effort, Roadmap, Status, WhyNot, WorkStream};

mod graph;
mod laws;

const ORCHARD: &[u8] = include_bytes!("fixtures/orchard.md");
const UNTIDY: &[u8] = include_bytes!("fixtures/untidy.md");
const CIRCLE: &[u8] = include_bytes!("fixtures/circle.md");
const DRESSED: &[u8] = include_bytes!("fixtures/dressed.md");

fn codes(roadmap: &Roadmap) -> Vec<&'static str> {
    roadmap.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

/// `line:column severity[code]: message`, one a line.
fn findings(bytes: &[u8]) -> String {
    let roadmap = Roadmap::parse(bytes);
    let lines = roadmap.diagnostics.iter().map(|found| {
        let super::Diagnostic { severity, code, message, line, column, .. } = found;
        format!("{line}:{column} {severity}[{code}]: {message}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn ids(streams: &[WorkStream]) -> Vec<&str> {
    streams.iter().map(|stream| stream.id.as_str()).collect()
}

/// Parses a text with one work stream.
#[track_caller]
fn one(text: &str) -> WorkStream {
    let mut roadmap = Roadmap::parse(text.as_bytes());
    assert_eq!(roadmap.streams.len(), 1, "{text:?}");
    roadmap.streams.remove(0)
}

#[test]
fn headings_announce_a_stream_at_any_depth() {
    let cases = [
        ("# Phase 1.2: Name", "1.2", "Name"),
        ("## 1.2 Name", "1.2", "Name"),
        ("###### Task 1.2 - Name ######", "1.2", "Name"),
        ("### **Phase 1.2:** Name", "1.2", "Name"),
        ("### Work Stream A.4: Name", "A.4", "Name"),
        ("### Phase 2.3a — Name", "2.3a", "Name"),
        ("### ✅ Phase 1.02: Name", "1.2", "Name"),
        ("### Phase 7: Name", "7", "Name"),
        ("### Phase 1.2", "1.2", "1.2"),
        ("\u{FEFF}### Phase 1.2: Name", "1.2", "Name"),
    ];
    for (heading, id, name) in cases {
        let stream = one(heading);
        assert_eq!((stream.id.as_str(), stream.name.as_str()), (id, name), "{heading:?}");
    }
    for heading in ["### Notes", "### 2031.12 report", "    ### 1.2: code", "####### 1.2: seven"] {
        assert_eq!(Roadmap::parse(heading.as_bytes()).streams.len(), 0, "{heading:?}");
    }
}

#[test]
fn fields_are_read_in_every_dress() {
    let fields = [
        "- **Status:** Done",
        "* **Status**: Done",
        "+ __Status:__ _Done_",
        "  - Status: `Done`",
        "\t-\tStatus:\tDone\t",
        "Status: Done",
        "**Status: Done**",
        "1. **Status:** ✅ Done (see below)",
        "- 📌 **State:** ~~Blocked~~ Done",
    ];
    for field in fields {
        for ending in ["\n", "\r\n", "\r"] {
            let text = format!("### 1.1: One{ending}{ending}{field}{ending}");
            assert_eq!(one(&text).status, Status::Complete, "{text:?}");
        }
    }
}

#[test]
fn values_lose_their_emphasis_and_unknown_fields_stay() {
    let roadmap = Roadmap::parse(UNTIDY);
    let [first, second] = roadmap.streams.as_slice() else { panic!("{:?}", roadmap.streams) };
    assert_eq!(first.name, "First thing");
    assert_eq!(first.assigned_to.as_deref(), Some("Kite"));
    assert_eq!(first.completed_by.as_deref(), Some("Kite and Owl"));
    assert_eq!(first.fields[0].name, "Weather");
    assert_eq!(first.fields[0].value, "fair\nand dry");
    let carriage = one("### 1.1: One\r- Weather: fair\r  and dry\r    and calm\r");
    assert_eq!(carriage.fields[0].value, "fair\nand dry\n  and calm");
    assert_eq!((first.line, second.line), (3, 11));
    assert_eq!(second.status, Status::NotStarted);
    let tasks: Vec<_> =
        second.tasks.iter().map(|task| (task.text.as_str(), task.done, task.depth)).collect();
    assert_eq!(tasks, [("one", true, 0), ("two", false, 1)]);
}

#[test]
fn fenced_code_holds_neither_tasks_nor_streams() {
    let roadmap = Roadmap::parse(ORCHARD);
    assert_eq!(ids(&roadmap.streams), ["1.1", "1.2", "2.1", "2.2", "2.9", "2.10"]);
    let pump = &roadmap.streams[3];
    assert_eq!(pump.tasks, []);
    assert!(pump.design_notes.as_deref().unwrap().contains("nor is this a phase"));
    assert_eq!(roadmap.backlog.len(), 1);
}

#[test]
fn what_is_never_closed_does_not_swallow_the_rest() {
    for opened in ["```", "~~~~ text", "<!--", "- ```rust"] {
        let text = format!("### 1.1: One\n{opened}\n### 1.2: Two\n- Status: Done\n");
        let roadmap = Roadmap::parse(text.as_bytes());
        assert_eq!(ids(&roadmap.streams), ["1.1", "1.2"], "{text:?}");
        let code = if opened == "<!--" { "unclosed-comment" } else { "unclosed-fence" };
        assert!(codes(&roadmap).contains(&code), "{text:?}: {:?}", codes(&roadmap));
    }
    let hidden = "<!--\n### 1.1: One\n-->\n### 1.2: Two\n- Status: Done\n";
    assert_eq!(ids(&Roadmap::parse(hidden.as_bytes()).streams), ["1.2"]);
}

#[test]
fn efforts_are_sizes_with_weights() {
    let cases = [("XS", Some(1)), ("small", Some(2)), ("**M** (a day)", Some(4)), ("L", Some(8))];
    for (text, points) in cases.into_iter().chain([("Extra Large", Some(16)), ("some", None)]) {
        let stream = one(&format!("### 1.1: One\n- Effort: {text}\n"));
        assert_eq!(stream.effort.map(Effort::points), points, "{text:?}");
    }
}

#[test]
fn dependencies_are_resolved_wherever_they_are_meant() {
    let streams = "## Batch 1\n### 1.1: a\n### 1.2: b\n### 1.3: c\n## Batch 2\n### 2.1: d\n";
    let cases: [(&str, &[&str]); 10] = [
        ("Phase 1.1 ✅, Phase 1.3", &["1.1", "1.3"]),
        ("1.1, 1.1 and 1.2", &["1.1", "1.2"]),
        ("[Phase 1.2](#b); `1.3`", &["1.2", "1.3"]),
        ("Batch 1", &["1.1", "1.2", "1.3"]),
        ("Phases 1.1-1.3", &["1.1", "1.2", "1.3"]),
        ("1.2 through 2.1", &["1.2", "1.3", "2.1"]),
        ("1.1 (needs Python 3.11)", &["1.1"]),
        ("None", &[]),
        ("~~1.1~~ 1.2", &["1.2"]),
        ("Phase 7.7", &["7.7"]),
    ];
    for (text, expected) in cases {
        let text = format!("{streams}## Batch 3\n### 3.1: e\n- Depends On: {text}\n");
        let roadmap = Roadmap::parse(text.as_bytes());
        let last = roadmap.streams.last().unwrap();
        let found: Vec<&str> = last.depends_on.iter().map(super::StreamId::as_str).collect();
        assert_eq!(found, expected, "{text}");
    }
}

/// The dependencies of 3.1 in a roadmap with 1.1 to 1.3 and 2.1, as `Depends On` and the findings.
fn depends(text: &str) -> (Vec<String>, Vec<String>) {
    let streams = "## Batch 1\n### 1.1: a\n### 1.2: b\n### 1.3: c\n## Batch 2\n### 2.1: d\n";
    let text = format!("{streams}## Batch 3\n### 3.1: e\n- Depends On: {text}\n");
    let roadmap = Roadmap::parse(text.as_bytes());
    let last = roadmap.streams.last().unwrap();
    let found = roadmap
        .diagnostics
        .iter()
        .filter(|found| !matches!(found.code, "missing-status" | "stale-dependency-mark"));
    let found = found.map(|found| format!("{}: {}", found.code, found.message));
    (last.depends_on.iter().map(ToString::to_string).collect(), found.collect())
}

#[test]
fn no_dependency_is_lost_without_a_word() {
    let cases: [(&str, &[&str], &[&str]); 9] = [
        ("1.1 ✅ 1.2 ✅", &["1.1", "1.2"], &[]),
        ("1.1 Setup and 1.2 Tests.", &["1.1", "1.2"], &[]),
        ("1.3-1.1", &["1.1", "1.2", "1.3"], &[]),
        (
            "1.2-9.9",
            &["1.2", "1.3", "2.1", "9.9"],
            &["unknown-dependency: there is no work stream 9.9 in this file"],
        ),
        ("Batches 1 to 2", &["1.1", "1.2", "1.3", "2.1"], &[]),
        ("Phases 1-2", &["1.1", "1.2", "1.3", "2.1"], &[]),
        (
            "1.1 Setup 1.4 Tests",
            &["1.1"],
            &["free-text-dependency: there is no work stream 1.4; the number is kept as text"],
        ),
        (
            "1.1, not 1.2",
            &["1.1"],
            &[
                "ambiguous-dependency: the words before 1.2 rule it out, so it adds no dependency; take it out, or strike it out: `~~1.2~~`",
            ],
        ),
        (
            "1.1 and version 1.2",
            &["1.1"],
            &[
                "ambiguous-dependency: 1.2 is taken for a version, so it is no dependency; write `Phase 1.2` if the work stream is meant",
            ],
        ),
    ];
    for (text, expected, findings) in cases {
        let (found, said) = depends(text);
        assert_eq!(
            (&found[..], &said[..]),
            (&strings(expected)[..], &strings(findings)[..]),
            "{text}"
        );
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn prose_behind_the_dependencies_is_none_of_them() {
    for (text, expected) in [
        ("**Depends On:** 1.1\n\nMuch like 1.2 and 1.3.\n", &["1.1"][..]),
        ("**Depends On:** 1.1,\n1.2\n\nMuch like 1.3.\n", &["1.1", "1.2"]),
        ("**Depends On:**\n\n- 1.1\n\n- 1.2\n\nMuch like 1.3.\n", &["1.1", "1.2"]),
        ("**Depends On:** 1.1\n\n- Much like 1.3.\n", &["1.1"]),
        ("#### Dependencies\n\nFirst 1.1.\n\nThen 1.2.\n", &["1.1", "1.2"]),
    ] {
        let text = format!("### 1.1: a\n### 1.2: b\n### 1.3: c\n### 2.1: d\n{text}");
        let roadmap = Roadmap::parse(text.as_bytes());
        let found = roadmap.streams[3].depends_on.iter().map(ToString::to_string);
        assert_eq!(found.collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn nothing_is_found_in_nothing() {
    for bytes in [&b""[..], b"\xEF\xBB\xBF", b"\n\r\n\r", b" ", b"just text"] {
        let roadmap = Roadmap::parse(bytes);
        assert_eq!((roadmap.streams.len(), codes(&roadmap)), (0, vec!["no-streams"]), "{bytes:?}");
        assert_eq!(roadmap.source(), bytes);
    }
}

#[test]
fn bytes_that_are_no_utf8_are_found_and_read_around() {
    let roadmap = Roadmap::parse(b"### 1.1: Caf\xe9\n- Status: Done\n- Owner: \xff\xfe\n");
    assert_eq!(roadmap.streams[0].name, "Caf\u{FFFD}");
    assert_eq!(roadmap.streams[0].status, Status::Complete);
    let places: Vec<_> = roadmap.diagnostics.iter().map(|d| (d.code, d.line, d.column)).collect();
    assert_eq!(places[..2], [("invalid-utf8", 1, 13), ("invalid-utf8", 3, 10)]);
    let wide: Vec<u8> = "### 1.1: A\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wide = [&[0xff, 0xfe][..], &wide].concat();
    assert!(codes(&Roadmap::parse(&wide)).contains(&"utf-16"));
}

#[test]
fn what_is_available_comes_in_the_order_of_urgency() {
    let text = "\
## Batch 2
### 2.1: later
### 1.10: ten
### 1.9: nine
## Batch 1
### 3.1: plain
### 3.2: urgent ⭐ PRIORITY
### 3.3: first ⭐ Bootstrap
";
    let roadmap = Roadmap::parse(text.as_bytes());
    let available: Vec<&str> =
        roadmap.available(|_| false).iter().map(|stream| stream.id.as_str()).collect();
    assert_eq!(available, ["3.3", "3.2", "3.1", "1.9", "1.10", "2.1"]);
    let left = roadmap.available(|id| id.as_str().starts_with('3'));
    assert_eq!(
        left.iter().map(|stream| stream.id.as_str()).collect::<Vec<_>>(),
        ["1.9", "1.10", "2.1"]
    );
}

#[test]
fn availability_believes_dependencies_rather_than_marks() {
    let roadmap = Roadmap::parse(ORCHARD);
    let all: Vec<_> = roadmap
        .availability()
        .into_iter()
        .map(|a| (roadmap.streams[a.position].id.to_string(), a.why_not, a.stale_mark))
        .collect();
    let waits = |id: &str| Some(WhyNot::WaitsFor(vec![id.parse().unwrap()]));
    let busy = Some(WhyNot::InProgress { assignee: Some("Heron".to_owned()) });
    let row = |id: &str, why_not, stale| (id.to_owned(), why_not, stale);
    assert_eq!(
        all,
        [
            row("1.1", Some(WhyNot::Complete), false),
            row("2.2", None, true),
            row("1.2", busy, false),
            row("2.1", waits("1.2"), false),
            row("2.9", waits("2.1"), false),
            row("2.10", None, false),
        ]
    );
}

#[test]
fn what_contradicts_itself_is_not_available() {
    let roadmap = Roadmap::parse(CIRCLE);
    let why_not: Vec<_> = roadmap
        .availability()
        .into_iter()
        .map(|a| (roadmap.streams[a.position].line, a.why_not))
        .collect();
    assert_eq!(
        why_not,
        [
            (1, Some(WhyNot::InCycle)),
            (5, Some(WhyNot::InCycle)),
            (9, Some(WhyNot::DuplicateId)),
            (13, Some(WhyNot::DuplicateId)),
            (16, Some(WhyNot::Complete)),
        ]
    );
    let held = Roadmap::parse(b"# 1.1: a\n- Status: Someday\n# 1.2: b\n- Depends On: 9.9\n");
    let why_not: Vec<_> = held.availability().into_iter().map(|a| a.why_not).collect();
    let unknown = WhyNot::UnknownDependency(vec!["9.9".parse().unwrap()]);
    assert_eq!(why_not, [Some(WhyNot::OnHold("Someday".to_owned())), Some(unknown)]);
}

#[test]
fn every_finding_has_its_place() {
    insta::assert_snapshot!(findings(CIRCLE), @r#"
    3:13 error[dependency-cycle]: 1.1 → 1.2 → 1.1 depend on each other in a circle; take one of these dependencies away
    7:18 error[unknown-dependency]: there is no work stream 4.4 in this file; did you mean 1.4?
    11:13 error[self-dependency]: 1.3 depends on itself; take this dependency away
    13:5 error[duplicate-id]: 1.3 is the id of the work stream in line 9 too; give each its own
    14:9 warning[unknown-status]: `Someday` is no status that is known, so 1.3 won't be started; write Complete, In Progress, Not Started or Blocked
    16:5 warning[complete-with-open-tasks]: 1.4 is marked complete, but 2 of its tasks are open
    17:9 warning[inconsistent-complete]: 1.4 is marked complete, but 1.1, which it depends on, isn't
    22:1 warning[unclosed-fence]: this code fence is never closed; it is taken to end at the next work stream
    "#);
    insta::assert_snapshot!(
        findings(UNTIDY),
        @"14:34 error[unknown-dependency]: there is no work stream 1.7 in this file; did you mean 1.1?"
    );
    insta::assert_snapshot!(findings(ORCHARD), @r#"
    47:15 info[stale-blocked-mark]: 2.2 is marked blocked, but everything it depends on is complete: it can start
    67:3 info[tasks-outside-streams]: this task belongs to no work stream; it is kept as backlog, and nothing runs it
    "#);
    insta::assert_snapshot!(findings(DRESSED), @r#"
    23:17 info[stale-blocked-mark]: 1.2 is marked blocked, but everything it depends on is complete: it can start
    28:8 warning[unreadable-task-mark]: the mark `-` is taken for an open task; write `[~]` if it was begun, and take out what was given up
    45:7 warning[quoted-heading]: a heading in a block quote begins no work stream; take the `>` away if it is to begin one
    52:3 info[tasks-outside-streams]: this task belongs to no work stream; it is kept as backlog, and nothing runs it
    "#);
}

#[test]
fn other_findings_have_their_places_too() {
    let text = "\
###Phase 1.1: No space
- Status: ✅ Not Started
- Status: Done
- Effort: heaps
- Depends On: the lawyers
### Phase 1.2345678901234567: Malformed
### 1.2:
- Status: Done
- Depends On: 1.1 ✅
## Batch 9
### No id
- Status: Done
";
    insta::assert_snapshot!(findings(text.as_bytes()), @r#"
    1:1 warning[heading-without-space]: a heading needs a space behind its `#` marks
    2:11 warning[conflicting-status]: sign and word say different things; the word counts: Not Started
    3:3 warning[duplicate-field]: `Status` stands here a second time; the first one counts
    4:11 warning[unknown-effort]: `heaps` is no effort; write XS, S, M, L or XL
    5:15 warning[free-text-dependency]: `the lawyers` names no work stream; it is kept as text and holds nothing up
    6:11 error[malformed-id]: `1.2345678901234567` can't be a work stream's id; write numbers joined by dots, such as `1.2`
    7:5 warning[missing-name]: this work stream has no name
    8:11 warning[inconsistent-complete]: 1.2 is marked complete, but 1.1, which it depends on, isn't
    9:15 info[stale-dependency-mark]: 1.1 is marked complete here, but in line 1 it isn't
    11:5 warning[stream-without-id]: this section has a status but no id, so it is no work stream; write `### 1.2: Name`
    "#);
}

#[test]
fn findings_of_one_line_have_each_their_own_column() {
    let text = "\
### 1.1: a
- Status: Done ⚪
- Depends On: 1.3, 8.1-8.9, x.1.2.3.4.5.6.7, 1.2, 7.7
### 1.2: b
- Status: Open
- Depends On: 1.3, 1.1, Phase 6.6, 1.2
### 1.3: c
- Status: Done
";
    insta::assert_snapshot!(findings(text.as_bytes()), @r#"
    2:11 warning[inconsistent-complete]: 1.1 is marked complete, but 1.2, which it depends on, isn't
    2:16 warning[conflicting-status]: sign and word say different things; the word counts: Complete
    3:20 error[unknown-dependency]: there is no work stream 8.1 in this file; did you mean 1.1?
    3:24 error[unknown-dependency]: there is no work stream 8.9 in this file
    3:29 warning[free-text-dependency]: `x.1.2.3.4.5.6.7` names no work stream; it is kept as text and holds nothing up
    3:46 error[dependency-cycle]: 1.1 → 1.2 → 1.1 depend on each other in a circle; take one of these dependencies away
    3:51 error[unknown-dependency]: there is no work stream 7.7 in this file
    6:31 error[unknown-dependency]: there is no work stream 6.6 in this file
    6:36 error[self-dependency]: 1.2 depends on itself; take this dependency away
    "#);
}

#[test]
fn a_dressed_plan_is_read_like_a_plain_one() {
    let roadmap = Roadmap::parse(DRESSED);
    let shown: Vec<String> = roadmap
        .streams
        .iter()
        .map(|stream| {
            let tasks: Vec<String> = stream
                .tasks
                .iter()
                .map(|task| format!("{}{}", task.text, if task.done { "+" } else { "" }))
                .collect();
            let needs: Vec<&str> = stream.depends_on.iter().map(super::StreamId::as_str).collect();
            format!(
                "{} {:?} in {:?}: {} {:?} {needs:?} {tasks:?}",
                stream.id,
                stream.name,
                stream.batch.as_ref().map(|batch| (batch.label(), batch.title.as_str())),
                stream.status,
                stream.assigned_to,
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    1.1 "Fence & gate" in Some(("1", "Yard")): complete Some("Crane") [] ["posts+", "*rails* and wire+"]
    1.2 "Path along the_fence" in Some(("1", "Yard")): blocked None ["1.1"] ["dig", "gravel", "edge it", "sweep"]
    1.3 "Pond" in Some(("1", "Yard")): not_started None [] []
    "#);
    assert_eq!(roadmap.backlog.len(), 1);
}

#[test]
fn a_finding_shows_its_line_with_a_caret() {
    let roadmap = Roadmap::parse(CIRCLE);
    let unknown = roadmap.diagnostics.iter().find(|d| d.code == "unknown-dependency").unwrap();
    insta::assert_snapshot!(unknown.render(roadmap.source(), "plans/\u{1b}road.md"), @r#"
    error[unknown-dependency]: there is no work stream 4.4 in this file; did you mean 1.4?
     --> plans/�road.md:7:18
      |
    7 | Depends On: 1.1, 4.4
      |                  ^^^
    "#);
}

#[test]
fn the_view_keeps_its_names() {
    let roadmap = Roadmap::parse(UNTIDY);
    insta::assert_json_snapshot!(roadmap.view(), @r#"
    {
      "streams": [
        {
          "id": "1.1",
          "name": "First thing",
          "batch": null,
          "tag": null,
          "status": "complete",
          "assigned_to": "Kite",
          "depends_on": [],
          "depends_text": null,
          "effort": null,
          "done_when": null,
          "tasks": [],
          "line": 3
        },
        {
          "id": "1.2",
          "name": "Second thing",
          "batch": null,
          "tag": null,
          "status": "not_started",
          "assigned_to": null,
          "depends_on": [
            "1.1",
            "1.7"
          ],
          "depends_text": "[1.1](#first), 1.7",
          "effort": null,
          "done_when": null,
          "tasks": [
            {
              "text": "one",
              "done": true,
              "depth": 0
            },
            {
              "text": "two",
              "done": false,
              "depth": 1
            }
          ],
          "line": 11
        }
      ],
      "diagnostics": [
        {
          "severity": "error",
          "code": "unknown-dependency",
          "message": "there is no work stream 1.7 in this file; did you mean 1.1?",
          "line": 14,
          "column": 34
        }
      ]
    }
    "#);
}
