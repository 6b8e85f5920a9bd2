//! Laws: nothing panics, and an edit changes what it is to change and nothing else.

use proptest::prelude::*;

use super::{CIRCLE, DRESSED, ORCHARD, UNTIDY};
use crate::roadmap::{Edit, EditError, Roadmap, Severity, Status, StreamId};

/// What people and broken tools put into files.
const ODDITIES: [&str; 32] = [
    "\r",
    "\t",
    "\0",
    "\u{FEFF}",
    "\u{202E}",
    "`",
    "```",
    "~~~",
    "<!--",
    "-->",
    "**",
    "_",
    "#",
    "### 1.1: ",
    "- ",
    "[ ] ",
    "[✅]",
    "✅",
    "\u{FE0F}",
    "🔴",
    "~~",
    "](",
    "- **Status:** ",
    "1.2-9.9",
    "> ",
    "> - [ ] ",
    "> **Status:** ",
    "\n---\n",
    "\n===\n",
    "[-] ",
    "[x](",
    "\\",
];

#[derive(Debug, Clone)]
enum Mutation {
    Delete(usize),
    Duplicate(usize),
    Swap(usize, usize),
    Insert(usize, &'static str),
    Byte(usize, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<usize>;
    prop_oneof![
        at().prop_map(Mutation::Delete),
        at().prop_map(Mutation::Duplicate),
        (at(), at()).prop_map(|(one, other)| Mutation::Swap(one, other)),
        (at(), prop::sample::select(&ODDITIES[..])).prop_map(|(at, odd)| Mutation::Insert(at, odd)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let mut lines: Vec<Vec<u8>> =
        bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let count = lines.len().max(1);
    let length = bytes.len() + 1;
    match *mutation {
        Mutation::Insert(at, odd) => {
            bytes.splice(at % length..at % length, odd.bytes());
            return;
        }
        Mutation::Byte(at, byte) => {
            bytes.insert(at % length, byte);
            return;
        }
        _ if lines.is_empty() => return,
        Mutation::Delete(at) => drop(lines.remove(at % count)),
        Mutation::Duplicate(at) => lines.insert(at % count, lines[at % count].clone()),
        Mutation::Swap(one, other) => lines.swap(one % count, other % count),
    }
    *bytes = lines.concat();
}

/// A fixture that a few mishaps befell.
fn mishap() -> impl Strategy<Value = Vec<u8>> {
    let fixture = prop::sample::select(vec![ORCHARD, UNTIDY, CIRCLE, DRESSED]);
    (fixture, prop::collection::vec(mutation(), 0..6)).prop_map(|(fixture, mutations)| {
        let mut bytes = fixture.to_vec();
        mutations.iter().for_each(|mutation| mutate(&mut bytes, mutation));
        bytes
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        prop::sample::select(&Status::ALL[..]).prop_map(Edit::SetStatus),
        "[A-Z][a-z]{1,8}[-_][a-z0-9]{1,6}".prop_map(|name| Edit::SetAssignee(Some(name))),
        Just(Edit::SetAssignee(None)),
        "20[0-9]{2}-0[1-9]-[12][0-9]".prop_map(Edit::SetCompleted),
        any::<bool>().prop_map(|done| Edit::MarkTasks { done }),
    ]
}

/// Reads everything that can be read of a roadmap.
fn use_all(bytes: &[u8]) {
    let roadmap = Roadmap::parse(bytes);
    assert_eq!(roadmap.source(), bytes);
    for diagnostic in &roadmap.diagnostics {
        assert!(diagnostic.line >= 1 && diagnostic.column >= 1, "{diagnostic:?}");
        let shown = diagnostic.render(bytes, "roadmap.md");
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }
    roadmap
        .streams
        .iter()
        .for_each(|stream| assert!(roadmap.section(stream).len() <= bytes.len() * 3));
    assert_eq!(roadmap.availability().len(), roadmap.streams.len());
    assert_eq!(roadmap.has_errors(), roadmap.count_diagnostics(Severity::Error) > 0);
    serde_json::to_string(&roadmap.view()).unwrap();
}

/// Whether `stream` says what `edit` asked for.
fn says(roadmap: &Roadmap, id: &StreamId, edit: &Edit) -> bool {
    let stream = roadmap.stream(id).unwrap();
    match edit {
        Edit::SetStatus(status) => stream.status == *status,
        Edit::SetAssignee(name) => stream.assigned_to == *name,
        Edit::SetCompleted(date) => stream.completed.as_ref() == Some(date),
        Edit::MarkTasks { done } => stream.tasks.iter().all(|task| task.done == *done),
    }
}

/// Edits every stream; those that are refused are counted.
fn edit_all(bytes: &[u8], edit: &Edit) -> usize {
    let before = Roadmap::parse(bytes);
    let mut refused = 0;
    for (position, stream) in before.streams.iter().enumerate() {
        let edited = match before.edit(&stream.id, std::slice::from_ref(edit)) {
            Ok(edited) => edited,
            Err(EditError::DuplicateId { .. }) => continue,
            Err(EditError::ReadsDifferently { .. }) => {
                refused += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let after = Roadmap::parse(&edited);
        assert!(says(&after, &stream.id, edit), "{edit:?} of {}", stream.id);
        for (other, (one, two)) in before.streams.iter().zip(&after.streams).enumerate() {
            assert!(other == position || one.says_the_same_as(two), "{edit:?} changed {}", one.id);
        }
        // Bytes outside of the stream's section are as they were.
        let section = stream.layout.section;
        assert_eq!(edited[..section.start], bytes[..section.start]);
        assert!(edited.ends_with(&bytes[section.end..]));
        assert_eq!(after.edit(&stream.id, std::slice::from_ref(edit)).as_deref(), Ok(&edited[..]));
    }
    refused
}

#[test]
fn no_edit_of_a_fixture_is_refused() {
    let edits = Status::ALL.map(Edit::SetStatus).into_iter().chain([
        Edit::SetAssignee(Some("Ada_1".to_owned())),
        Edit::SetAssignee(None),
        Edit::SetCompleted("2031-05-04".to_owned()),
        Edit::MarkTasks { done: true },
        Edit::MarkTasks { done: false },
    ]);
    for edit in edits {
        for fixture in [ORCHARD, UNTIDY, CIRCLE, DRESSED] {
            assert_eq!(edit_all(fixture, &edit), 0, "{edit:?}");
        }
    }
}

#[test]
fn a_value_s_edit_touches_one_line() {
    let edit = [Edit::SetStatus(Status::Complete)];
    let edited = Roadmap::parse(UNTIDY).edit(&"1.2".parse().unwrap(), &edit).unwrap();
    let changed = |one: &[u8], two: &[u8]| {
        let lines =
            |bytes: &[u8]| bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
        lines(one).into_iter().zip(lines(two)).filter(|(a, b)| a != b).count()
    };
    assert_eq!(changed(UNTIDY, &edited), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        use_all(&bytes);
    }

    #[test]
    fn any_mixture_of_oddities_is_read(
        parts in prop::collection::vec(
            prop_oneof![
                prop::sample::select(&ODDITIES[..]).prop_map(str::to_owned),
                "[a-z0-9.: \n-]{0,6}",
            ],
            0..60,
        )
    ) {
        use_all(parts.concat().as_bytes());
    }

    #[test]
    fn a_fixture_after_a_mishap_is_read(bytes in mishap()) {
        use_all(&bytes);
    }

    #[test]
    fn an_edit_changes_what_was_asked_and_nothing_else(bytes in mishap(), edit in edit()) {
        edit_all(&bytes, &edit);
    }
}
