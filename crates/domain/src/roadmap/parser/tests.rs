use pretty_assertions::assert_eq;

use crate::roadmap::{BatchRef, Roadmap, Status};

fn parse(text: &str) -> Roadmap {
    Roadmap::parse(text.as_bytes())
}

/// The diagnostics, as `line:column code`.
fn found(roadmap: &Roadmap) -> Vec<String> {
    let all = roadmap.diagnostics.iter();
    all.map(|found| format!("{}:{} {}", found.line, found.column, found.code)).collect()
}

/// Each stream with its batch, as `id in batch`.
fn batches(text: &str) -> Vec<String> {
    let streams = parse(text).streams;
    let label =
        |batch: &Option<BatchRef>| batch.as_ref().map_or("nothing".to_owned(), BatchRef::label);
    streams.iter().map(|stream| format!("{} in {}", stream.id, label(&stream.batch))).collect()
}

fn tasks(text: &str) -> Vec<(String, bool, u32)> {
    let tasks = parse(text).streams.remove(0).tasks;
    tasks.into_iter().map(|task| (task.text, task.done, task.depth)).collect()
}

#[test]
fn a_stream_stands_in_the_batch_or_section_above_it() {
    let cases: [(&str, &[&str]); 7] = [
        ("# Plan\n## Batch 3 (Safety)\n### 3.1 a\n### 3.2 b\n", &["3.1 in 3", "3.2 in 3"]),
        ("## Batch 3\n### Core\n#### 3.1 a\n", &["3.1 in 3"]),
        ("### Batch 3\n### 3.1 a\n### 3.2 b\n", &["3.1 in 3", "3.2 in 3"]),
        ("## Batch 3\n### 3.1 a\n## Later\n### 9.1 b\n", &["3.1 in 3", "9.1 in Later"]),
        ("# Plan\n## 3.1 a\n", &["3.1 in nothing"]),
        ("## Notes\n## 3.1 a\n", &["3.1 in nothing"]),
        (
            "## Phase 1: Base\n### 1.1 a\n## Phase 2: Rest\n### Step 2.1: b\n",
            &["1.1 in 1", "2.1 in 2"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(batches(text), expected, "{text}");
    }
}

#[test]
fn deeper_headings_belong_to_their_stream_and_others_end_it() {
    let text = "\
### Phase 1.1: One
- **Status:** Done
#### Step 1: Prepare
- [x] a
#### Stage two
- [x] b
#### Design Notes
Text.
### Aside
- [ ] c
";
    let roadmap = parse(text);
    assert_eq!(roadmap.streams.len(), 1);
    let texts: Vec<&str> = roadmap.streams[0].tasks.iter().map(|task| task.text.as_str()).collect();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(roadmap.streams[0].design_notes.as_deref(), Some("Text."));
    assert_eq!(roadmap.backlog.len(), 1);
    assert_eq!(found(&roadmap), ["10:3 tasks-outside-streams"]);
    let section = roadmap.section(&roadmap.streams[0]);
    assert!(section.starts_with("### Phase 1.1") && section.ends_with("Text."), "{section}");
}

#[test]
fn fields_below_a_field_are_its_own_unless_they_are_only_indented_badly() {
    let text = "\
### 1.1 a
- **Status:** Done
  - **Assigned To:** Ada
- **Notes:**
  - Status: irrelevant
  - **Effort:** irrelevant
- **Tasks:**
  - [x] a
  - **Effort:** S
";
    let roadmap = parse(text);
    let stream = &roadmap.streams[0];
    assert_eq!(stream.status, Status::Complete);
    assert_eq!(stream.assigned_to.as_deref(), Some("Ada"));
    assert_eq!(stream.effort.map(|effort| effort.as_str()), Some("S"));
    assert_eq!(stream.fields[0].value, "- Status: irrelevant\n- **Effort:** irrelevant");
    assert_eq!(found(&roadmap), Vec::<String>::new());
}

#[test]
fn values_may_stand_below_their_names() {
    let text = "\
### 1.1 a
**Status:**

✅ Complete

**Depends On:**
- [x] Phase 2.1
- Phase 2.2 (b)
- **Blocked By:** 2.3
- **Done When:** it works,
  also on Sundays
**Design Notes:**
    indented
        more
## 2.1 b
## 2.2 c
## 2.3 d
";
    let roadmap = parse(text);
    let stream = &roadmap.streams[0];
    let needs: Vec<&str> = stream.depends_on.iter().map(|id| id.as_str()).collect();
    assert_eq!(stream.status, Status::Complete);
    assert_eq!(needs, ["2.1", "2.2", "2.3"]);
    assert_eq!(stream.tasks, []);
    assert_eq!(stream.done_when.as_deref(), Some("it works,\nalso on Sundays"));
    assert_eq!(stream.design_notes.as_deref(), Some("indented\n    more"));
}

#[test]
fn tasks_nest_and_go_on_in_the_next_line() {
    let text = "\
### 1.1 a
* **Tasks:**
  * [x] one
    which goes on
    + [ ] two
\t\t1. [✅] three
  * [ ] four

  no part of it
- Group
  - [ ] five
";
    let row = |text: &str, done, depth| (text.to_owned(), done, depth);
    assert_eq!(
        tasks(text),
        [
            row("one which goes on", true, 0),
            row("two", false, 1),
            row("three", true, 2),
            row("four", false, 0),
            row("five", false, 0),
        ]
    );
}

#[test]
fn code_holds_no_structure_however_it_is_fenced() {
    let cases = [
        "```\n## 9.9 no\n- [ ] no\n```\n",
        "~~~text\n```\n## 9.9 no\n~~~\n",
        "````\n```\n## 9.9 no\n```\n````\n",
        "- Notes:\n\n  ```text\n  ## 9.9 no\n  - [ ] no\n  ```\n",
        "1. ```\n   ## 9.9 no\n   ```\n",
        "<!-- ## 9.9 no\n- [ ] no\n-->\n",
        "    ## 9.9 no\n",
    ];
    for code in cases {
        let text =
            format!("### 1.1 a\n- Status: Done\n{code}- [x] yes\n### 1.2 b\n- Status: Done\n");
        let roadmap = parse(&text);
        assert_eq!(roadmap.streams.len(), 2, "{text}");
        assert_eq!(roadmap.streams[0].tasks.len(), 1, "{text}");
        assert_eq!(found(&roadmap), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_fence_that_another_one_follows_ends_at_the_next_stream() {
    let text = "\
### 1.1 a
- Status: Done
```text
never closed
### 1.2 b
- Status: Done
```rust
## 9.9 no
```
### 1.3 c
- Status: Done
";
    let roadmap = parse(text);
    let ids: Vec<&str> = roadmap.streams.iter().map(|stream| stream.id.as_str()).collect();
    assert_eq!(ids, ["1.1", "1.2", "1.3"]);
    assert_eq!(found(&roadmap), ["3:1 unclosed-fence"]);
}

#[test]
fn line_ends_make_no_difference() {
    let text = "## Batch 1\n\n### 1.1 a\n\n- **Status:** Done\n- **Notes:**\n  - x\n\n    y\n- [x] t\n### 1.2 b\n";
    let plain = parse(text);
    for ending in ["\r\n", "\r"] {
        let other = parse(&text.replace('\n', ending));
        assert_eq!(other.streams.len(), plain.streams.len());
        for (one, two) in plain.streams.iter().zip(&other.streams) {
            assert!(one.says_the_same_as(two), "{one:?}\n{two:?}");
            assert_eq!(one.line, two.line);
        }
        assert_eq!(found(&other), found(&plain));
    }
}

#[test]
fn findings_of_one_kind_are_counted_when_they_are_too_many() {
    let text = "### 1.1 a\n- Status: Done\n".to_owned() + &"- [?] b\n".repeat(1_000);
    let roadmap = parse(&text);
    let odd = roadmap.diagnostics.iter().filter(|found| found.code == "unreadable-task-mark");
    let messages: Vec<&str> = odd.map(|found| found.message.as_str()).collect();
    assert_eq!(messages.len(), 101);
    assert_eq!(messages.last(), Some(&"900 more of this kind, the last one here"));
}

#[test]
fn batches_and_ranges_that_stand_for_too_much_hold_their_streams() {
    let streams: String =
        (0..600).map(|number| format!("### 1.{number} a\n- Depends On: Batch 1\n")).collect();
    let roadmap = parse(&format!("## Batch 1\n{streams}"));
    assert!(roadmap.diagnostics.iter().any(|found| found.code == "too-many-dependencies"));
    assert_eq!(roadmap.streams[0].depends_on.len(), 599);
    assert_eq!(roadmap.available(|_| false).len(), 0);
    let held = roadmap.streams.last().and_then(|stream| stream.on_hold.as_deref());
    assert_eq!(held, Some("depends on too many work streams"));
}

#[test]
fn tasks_are_no_part_of_the_text_around_them() {
    let text = "\
### 1.1 a
- **Status:** Done
#### Backend
Before.
- [x] a
  wrapped
- [ ] b
After.
";
    let stream = parse(text).streams.remove(0);
    assert_eq!(
        (stream.fields[0].name.as_str(), stream.fields[0].value.as_str()),
        ("Backend", "Before.\nAfter.")
    );
    assert_eq!(stream.tasks.len(), 2);
}

/// The ids and names of the streams.
fn named(text: &str) -> Vec<String> {
    let streams = parse(text).streams;
    streams.iter().map(|stream| format!("{} {}", stream.id, stream.name)).collect()
}

#[test]
fn an_underlined_line_is_a_heading_where_it_was_meant_as_one() {
    let cases: [(&str, &[&str]); 14] = [
        ("Phase 1.1: One\n  ---\n\n1.2 Two\n====\n", &["1.1 One", "1.2 Two"]),
        ("Phase 1.1: One  \r\n--\r\nPhase 1.2: Two\r\n=\r\n", &["1.1 One", "1.2 Two"]),
        ("Text.\n### 1.1 One\nmore\nPhase 1.2: Two\n---\n", &["1.1 One", "1.2 Two"]),
        ("### 1.1 One\n```\nPhase 1.2: Two\n---\n```\n", &["1.1 One"]),
        ("### 1.1 One\n```\nPhase 1.2: Two\n---\n", &["1.1 One", "1.2 Two"]),
        ("<!--\nPhase 1.2: Two\n---\n-->\n### 1.1 One\n", &["1.1 One"]),
        ("- Phase 1.2: Two\n---\n### 1.1 One\n", &["1.1 One"]),
        ("- text\n  Phase 1.2 two\n---\n### 1.1 One\n", &["1.1 One"]),
        ("> Phase 1.2: Two\n---\n### 1.1 One\n", &["1.1 One"]),
        ("    Phase 1.2: Two\n---\n### 1.1 One\n", &["1.1 One"]),
        ("Phase 1.2: Two\n\n---\n### 1.1 One\n", &["1.1 One"]),
        ("Phase 1.2: Two\n- --\n### 1.1 One\n", &["1.1 One"]),
        ("---\nPhase 1.2: Two\n---\n### 1.1 One\n", &["1.1 One"]),
        ("Phase 1.2: Two\n", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(named(text), expected, "{text}");
    }
}

#[test]
fn a_rule_below_text_is_no_heading() {
    for text in [
        "### 1.1 a\n**Status:** Done\n**Owner:** Ada\n---\n- [x] one\n",
        "### 1.1 a\n- **Status:** Done\n- **Owner:** Ada\n---\n- [x] one\n",
        "### 1.1 a\nStatus: Done\nOwner: Ada\n\nIt is done.\n---\n- [x] one\n",
        "### 1.1 a\nStatus: Done\nOwner: Ada\nand so on\n---\n- [x] one\n",
    ] {
        let roadmap = parse(text);
        let stream = &roadmap.streams[0];
        assert_eq!((stream.status, stream.tasks.len()), (Status::Complete, 1), "{text}");
        assert_eq!(stream.assigned_to.as_deref(), Some("Ada"), "{text}");
        assert_eq!(found(&roadmap), Vec::<String>::new(), "{text}");
    }
    let sentence = parse("### 1.1 a\n- Status: Done\n\nPhase 1.2 comes later.\n---\n");
    assert_eq!(sentence.streams.len(), 1);
    assert_eq!(found(&sentence), ["4:1 ambiguous-heading"]);
}

#[test]
fn what_follows_an_underlined_heading_is_no_part_of_the_one_before() {
    let text = "\
Phase 1.1: One
==============
Status: Done

Design Notes
------------
Text.

Later
=====
- [ ] a
";
    let roadmap = parse(text);
    assert_eq!(roadmap.streams[0].design_notes.as_deref(), Some("Text."));
    assert_eq!(roadmap.streams[0].tasks, []);
    assert_eq!(roadmap.backlog.len(), 1);
    assert_eq!(found(&roadmap), ["11:3 tasks-outside-streams"]);
}

#[test]
fn fields_and_tasks_in_a_block_quote_are_read() {
    let text = "\
### 1.1 a
> **Status:** Done
> **Depends On:** 1.2
>
>> - [x] one
>>   more of it
### 1.2 b
- **Status:** Done
- **Done When:** it works

> as was said
> on Sunday
";
    let roadmap = parse(text);
    let [one, two] = roadmap.streams.as_slice() else { panic!("{:?}", roadmap.streams) };
    assert_eq!((one.status, one.depends_on.len()), (Status::Complete, 1));
    assert_eq!(one.tasks[0].text, "one more of it");
    assert_eq!(two.done_when.as_deref(), Some("it works"));
    assert_eq!(found(&roadmap), Vec::<String>::new());
}

#[test]
fn a_quoted_work_stream_is_told_and_changes_nothing() {
    let text = "### 1.1 a\n\n> ## 1.2 b\n> - **Status:** Done\n> - [ ] c\n\n- **Status:** Open\n";
    let roadmap = parse(text);
    assert_eq!(
        (roadmap.streams[0].status, roadmap.streams[0].tasks.len()),
        (Status::NotStarted, 0)
    );
    assert_eq!(found(&roadmap), ["3:6 quoted-heading"]);
}

#[test]
fn every_task_mark_is_read_on_purpose() {
    let text = "### 1.1 a\n- Status: Open\n- [x] a\n- [X] b\n- [~] c\n- [/] d\n- [-] e\n- [?] f\n";
    let done: Vec<bool> = tasks(text).into_iter().map(|(_, done, _)| done).collect();
    assert_eq!(done, [true, true, false, false, false, false]);
    let roadmap = parse(text);
    assert_eq!(found(&roadmap), ["7:4 unreadable-task-mark", "8:4 unreadable-task-mark"]);
    assert!(roadmap.diagnostics[0].message.contains("write `[~]` if it was begun"));
}
