use pretty_assertions::assert_eq;

use super::{Edit, EditError};
use crate::roadmap::{Roadmap, Status};

fn assignee(name: &str) -> Edit {
    Edit::SetAssignee(Some(name.to_owned()))
}

fn completed(date: &str) -> Edit {
    Edit::SetCompleted(date.to_owned())
}

fn edit(before: &str, id: &str, edits: &[Edit]) -> Result<String, EditError> {
    let edited = Roadmap::parse(before.as_bytes()).edit(&id.parse().unwrap(), edits)?;
    Ok(String::from_utf8(edited).unwrap())
}

/// Edits stream 1.1, whose text follows its heading.
#[track_caller]
fn check(before: &str, edits: &[Edit], expected: &str) {
    let before = format!("### 1.1: One\n{before}");
    let expected = format!("### 1.1: One\n{expected}");
    assert_eq!(edit(&before, "1.1", edits).as_deref(), Ok(expected.as_str()));
}

#[test]
fn a_status_keeps_sign_words_emphasis_and_remarks() {
    use Status::{Blocked, Complete, InProgress, NotStarted};
    let cases = [
        ("- **Status:** ⚪ Not Started\n", Complete, "- **Status:** ✅ Complete\n"),
        ("- **Status:** Not Started\n", InProgress, "- **Status:** In Progress\n"),
        ("- **Status:** ⚪\n", Blocked, "- **Status:** 🔴\n"),
        ("- Status: not_started\n", InProgress, "- Status: in_progress\n"),
        ("- Status: IN PROGRESS\n", Complete, "- Status: COMPLETE\n"),
        ("* __Status__: **⚪ Not Started**\n", Complete, "* __Status__: **✅ Complete**\n"),
        ("- **Status: ⚪ Not Started**\n", Complete, "- **Status: ✅ Complete**\n"),
        (
            "- **Status:** Done ✅ (by hand)\n",
            InProgress,
            "- **Status:** In Progress 🔄 (by hand)\n",
        ),
        (
            "- **Status:** 🔴 Blocked by 2.2 (see notes)\n",
            NotStarted,
            "- **Status:** ⚪ Not Started (see notes)\n",
        ),
        (
            "- **Status:** :red_circle: Blocked\n",
            Complete,
            "- **Status:** :white_check_mark: Complete\n",
        ),
        ("- **Status:** ✅ Not Started\n", Complete, "- **Status:** ✅ Complete\n"),
        ("- **Status:** On Hold\n", Blocked, "- **Status:** Blocked\n"),
        ("- **Status:** `who knows`\n", NotStarted, "- **Status:** `⚪ Not Started`\n"),
        ("- **Status:**\n", Complete, "- **Status:** ✅ Complete\n"),
        ("- **Status:** \n", Complete, "- **Status:** ✅ Complete\n"),
        ("- **Status:** ✔️ Done\r\n", Complete, "- **Status:** ✔️ Done\r\n"),
    ];
    for (before, status, expected) in cases {
        check(before, &[Edit::SetStatus(status)], expected);
    }
}

#[test]
fn a_status_in_the_heading_is_changed_there() {
    let edits = [Edit::SetStatus(Status::Complete)];
    let edited = edit("## ⚪ Phase 1.1: One\n\n- **Effort:** S\n", "1.1", &edits);
    assert_eq!(edited.as_deref(), Ok("## ✅ Phase 1.1: One\n\n- **Effort:** S\n"));
    let both = edit("## Phase 1.1: One ⚪\n- Status: Not Started\n", "1.1", &edits);
    assert_eq!(both.as_deref(), Ok("## Phase 1.1: One ✅\n- Status: Complete\n"));
    let ornament = edit("## Phase 1.1: Locks 🔒\n- Status: Not Started\n", "1.1", &edits);
    assert_eq!(ornament.as_deref(), Ok("## Phase 1.1: Locks 🔒\n- Status: Complete\n"));
}

#[test]
fn the_words_and_signs_of_the_file_are_used() {
    let rest = "\n### 1.2: Two\n- **Status:** ☑ Done\n- **Owner:** TBD\n- **Tasks:**\n  - [✅] a\n  - [✅] b\n  - [x] c\n";
    check(
        &format!("- **Status:** ⚪ Open\n- **Tasks:**\n  - [ ] a\n{rest}"),
        &[Edit::SetStatus(Status::Complete), Edit::MarkTasks { done: true }, assignee("Ada")],
        &format!("- **Status:** ☑ Done\n- **Owner:** Ada\n- **Tasks:**\n  - [✅] a\n{rest}"),
    );
    check(
        &format!("- **Owner:** _Ada_\n{rest}"),
        &[Edit::SetAssignee(None)],
        &format!("- **Owner:** _TBD_\n{rest}"),
    );
}

#[test]
fn a_missing_field_is_added_in_the_style_of_the_others() {
    let all = [completed("2031-05-04"), assignee("Ada"), Edit::SetStatus(Status::Complete)];
    check(
        "\r\n* **Effort**: S\r\n* **Done When**: it works\r\n  everywhere\r\n* **Note**: n\r\n",
        &all,
        "\r\n* **Status**: ✅ Complete\r\n* **Assigned To**: Ada\r\n* **Effort**: S\r\n\
         * **Done When**: it works\r\n  everywhere\r\n* **Completed**: 2031-05-04\r\n* **Note**: n\r\n",
    );
    check(
        "\nStatus: Open  \nEffort: S  \n\nText.\n",
        &all,
        "\nStatus: Complete  \nAssigned To: Ada  \nEffort: S  \nCompleted: 2031-05-04  \n\nText.\n",
    );
    check(
        "",
        &all,
        "- **Status:** ✅ Complete\n- **Assigned To:** Ada\n- **Completed:** 2031-05-04\n",
    );
    check(
        "- **Status:** Done",
        &[assignee("Ada"), completed("today")],
        "- **Status:** Done\n- **Assigned To:** Ada\n- **Completed:** today",
    );
    check("- Status: Done\n", &[Edit::SetAssignee(None)], "- Status: Done\n");
}

#[test]
fn a_heading_at_the_end_of_the_file_gets_its_own_line() {
    let edited = edit("## 1.1: One", "1.1", &[Edit::SetStatus(Status::Blocked)]);
    assert_eq!(edited.as_deref(), Ok("## 1.1: One\n- **Status:** 🔴 Blocked"));
}

#[test]
fn a_stream_that_its_dependencies_hold_up_can_be_edited() {
    let rest = "- Depends On: Phase 1.2.x.99999999999999999\n";
    for status in Status::ALL {
        let edits = [Edit::SetStatus(status)];
        let expected = format!("- Status: {}\n{rest}", status.words());
        check(&format!("- Status: Blocked\n{rest}"), &edits, &expected);
    }
    let words = "- Depends On: the lawyers\n";
    check(
        &format!("- Status: Blocked\n{words}"),
        &[Edit::SetStatus(Status::InProgress)],
        &format!("- Status: In Progress\n{words}"),
    );
}

#[test]
fn tasks_are_marked_in_the_spelling_of_the_stream() {
    let done = [Edit::MarkTasks { done: true }];
    check("- [ ] a\n  * [X] b\n- [] c\n", &done, "- [X] a\n  * [X] b\n- [X] c\n");
    check("- [x] a\n- [✅] b\n", &[Edit::MarkTasks { done: false }], "- [ ] a\n- [ ] b\n");
    check("```\n- [ ] code\n```\n- [ ] a\n", &done, "```\n- [ ] code\n```\n- [x] a\n");
}

#[test]
fn values_keep_their_emphasis_unless_it_would_not_hold() {
    check("- Owner: `a`\n- x: y\n", &[assignee("b-1")], "- Owner: `b-1`\n- x: y\n");
    check("- Owner: _a_\n", &[assignee("b_1")], "- Owner: b_1\n");
    check("- Owner: a\n- Owner: b\n", &[assignee("c")], "- Owner: c\n- Owner: b\n");
}

#[test]
fn what_can_not_be_edited_is_an_error() {
    let file = "# 1.1: A\n- Status: Done\n# 1.2: B\n# 1.2: C\n";
    for value in ["a\nb", "a\r", "\u{1b}[31m", "a\u{2028}b"] {
        let error = edit(file, "1.1", &[assignee(value)]);
        assert_eq!(error, Err(EditError::NotOneLine { value: value.to_owned() }));
    }
    let unknown = "7.7".parse().unwrap();
    assert_eq!(edit(file, "7.7", &[]), Err(EditError::UnknownStream { id: unknown }));
    let id = "1.2".parse().unwrap();
    let twice = EditError::DuplicateId { id, first: 3, second: 4 };
    assert_eq!(edit(file, "1.2", &[completed("now")]), Err(twice));
    let id: crate::roadmap::StreamId = "1.1".parse().unwrap();
    for value in ["none", "**Ada**", ""] {
        let differs = EditError::ReadsDifferently { id: id.clone(), line: 1 };
        assert_eq!(edit(file, "1.1", &[assignee(value)]), Err(differs), "{value:?}");
    }
}

#[test]
fn bytes_that_are_no_utf8_stay() {
    let before = b"# 1.1: A\xff\n- Status: \xfeDone\n- Owner: x\xc3\n";
    let edited = Roadmap::parse(before).edit(&"1.1".parse().unwrap(), &[assignee("Ada")]).unwrap();
    assert_eq!(edited, b"# 1.1: A\xff\n- Status: \xfeDone\n- Owner: Ada\n");
}

#[test]
fn underlined_headings_and_quotes_keep_their_form() {
    let edits =
        [Edit::SetStatus(Status::Complete), assignee("Ada"), Edit::MarkTasks { done: true }];
    let edited = edit("Phase 1.1: [One](x) ⚪\n------\n\n- [/] a\n- [-] b\n", "1.1", &edits);
    let expected = "Phase 1.1: [One](x) ✅\n------\n- **Assigned To:** Ada\n\n- [x] a\n- [x] b\n";
    assert_eq!(edited.as_deref(), Ok(expected));
    let edited = edit("1.1 One\n===\n", "1.1", &edits[..1]);
    assert_eq!(edited.as_deref(), Ok("1.1 One\n===\n- **Status:** ✅ Complete\n"));
    check(
        "\n> **Status:** ⚪ Not Started\n> - [ ] a\n",
        &edits,
        "\n> **Status:** ✅ Complete\n> **Assigned To:** Ada\n> - [x] a\n",
    );
    check(
        ">  * __Status__: open\n",
        &edits,
        ">  * __Status__: complete\n>  * __Assigned To__: Ada\n",
    );
}
