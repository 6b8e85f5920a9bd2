//! What holds for every text and every roadmap.

use proptest::prelude::*;

use super::*;

#[test]
fn a_huge_text_is_refused_at_once() {
    for text in ["next ".repeat(200_000), "\u{1f680}".repeat(300_000), "x".repeat(1 << 20)] {
        let read = software().interpret(&text);
        assert_eq!((read.action, read.confidence), (Action::Suggest, 0.0));
        assert!(read.explanation.contains("at most 2000 characters"), "{}", read.explanation);
    }
}

#[test]
fn the_longest_text_is_read() {
    let text = format!("{} 2.1", "please ".repeat(280));
    assert!(text.len() <= GOAL_CHARS_MAX);
    assert_eq!(software().interpret(&text).matches[0].id, "2.1");
    let emoji = format!("run 2.1 {}", "\u{1f680}".repeat(GOAL_CHARS_MAX - 8));
    assert_eq!(software().interpret(&emoji).matches[0].id, "2.1");
}

#[test]
fn texts_without_words() {
    for text in ["", "   ", "\n\t", "...", "\"\"", "''", "—", "🚀🚀", "\u{0}", "\u{301}", "()[]{}"]
    {
        let read = software().interpret(text);
        assert_eq!((read.action, read.confidence), (Action::Suggest, 0.0), "{text:?}");
        assert!(!read.explanation.is_empty());
    }
}

#[test]
fn an_empty_and_a_finished_roadmap() {
    let empty = GoalIndex::build(&[]);
    let mut all_done = software_subjects();
    for subject in &mut all_done {
        subject.complete = true;
        subject.available = false;
    }
    let finished = GoalIndex::build(&all_done);
    for index in [&empty, &finished] {
        for text in ["next", "run everything", "next 3", "run in parallel", "parser"] {
            let read = index.interpret(text);
            assert_eq!(read.action, Action::Suggest, "{text}: {read:?}");
        }
        assert_eq!(index.interpret("status").action, Action::Status);
        assert_eq!(index.interpret("stop").action, Action::Stop);
    }
    let read = finished.interpret("next");
    assert!(read.explanation.contains("Nothing is left"), "{}", read.explanation);
}

#[test]
fn serialized_as_documented() {
    let read = software().interpret("2.1");
    let json = serde_json::to_value(&read).expect("plain data");
    let expected = serde_json::json!({
        "action": "run_single",
        "confidence": 0.97,
        "explanation": "Named by id 2.1.",
        "matches": [{"id": "2.1", "name": "Query Parser", "score": 0.97}],
    });
    assert_eq!(json, expected);
    let names = [
        (Action::RunParallel, "run_parallel"),
        (Action::RunBatch, "run_batch"),
        (Action::Suggest, "suggest"),
        (Action::Status, "status"),
        (Action::Stop, "stop"),
        (Action::ListAgents, "list_agents"),
        (Action::Unblock, "unblock"),
        (Action::Help, "help"),
    ];
    for (action, name) in names {
        assert_eq!(serde_json::to_value(action).expect("plain data"), name);
    }
}

#[test]
fn the_order_of_work_is_tag_then_batch_then_number() {
    let read = software().interpret("run everything");
    let ids: Vec<&str> = read.matches.iter().map(|found| found.id.as_str()).collect();
    assert_eq!(
        ids,
        ["2.2", "1.2", "1.9", "1.10", "2.1", "2.3", "3.1", "3.4", "3.5", "2.4", "3.2", "3.3"]
    );
}

/// Words that mean something, in any order, with anything between them.
fn sentences() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "run",
        "stop",
        "next",
        "all",
        "everything",
        "except",
        "not",
        "2.1",
        "2.1-2.3",
        "batch",
        "3",
        "and",
        "or",
        ",",
        ".",
        "parser",
        "gateway",
        "status",
        "page",
        "help",
        "who",
        "is",
        "why",
        "unblock",
        "the",
        "phase",
        "to",
        "in parallel",
        "two",
        "tasks",
        "\"",
        "after",
        "if",
        "qurey",
        "what",
        "rest",
        "words",
        "-",
        "–",
        "🚀",
        "don't",
        "but",
        "instead of",
        "9.9",
        "1.1",
        "?",
    ]);
    prop::collection::vec(words, 0..14).prop_map(|words| words.join(" "))
}

fn check_laws(index: &GoalIndex, text: &str) -> Result<(), TestCaseError> {
    let read = index.interpret(text);
    prop_assert!((0.0..=1.0).contains(&read.confidence), "{text:?}: {read:?}");
    prop_assert!(read.matches.iter().all(|found| (0.0..=1.0).contains(&found.score)));
    prop_assert!(!read.explanation.is_empty(), "{text:?}");
    prop_assert_eq!(&read, &index.interpret(text));
    let runs = matches!(read.action, Action::RunSingle | Action::RunParallel | Action::RunBatch);
    prop_assert!(read.confidence >= 0.5 || read.action == Action::Suggest, "{text:?}: {read:?}");
    prop_assert_eq!(
        read.action == Action::Stop,
        read.arguments.stop_target.is_some(),
        "{:?}: {:?}",
        text,
        read
    );
    if runs {
        prop_assert!(!read.matches.is_empty(), "{text:?}: {read:?}");
        for found in &read.matches {
            let complete = found.id == "1.1";
            let excluded = read.arguments.excluded.contains(&found.id);
            prop_assert!(!complete && !excluded, "{text:?}: {read:?}");
        }
        let single = read.matches.len() == 1;
        prop_assert!(read.action != Action::RunSingle || single, "{text:?}: {read:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_obeys_the_laws(text in "\\PC{0,60}") {
        check_laws(software(), &text)?;
    }

    #[test]
    fn any_sentence_obeys_the_laws(text in sentences()) {
        check_laws(software(), &text)?;
    }

    #[test]
    fn any_roadmap_can_be_indexed(
        rows in prop::collection::vec(("\\PC{0,8}", "\\PC{0,30}", "\\PC{0,20}", any::<bool>()), 0..6),
        text in "\\PC{0,30}",
    ) {
        let subjects: Vec<GoalSubject> = rows
            .into_iter()
            .map(|(id, name, label, flag)| GoalSubject {
                id,
                name,
                tag: flag.then(|| label.clone()),
                batch: Some(label.clone()),
                tasks: vec![label],
                complete: false,
                available: flag,
                ..GoalSubject::default()
            })
            .collect();
        let index = GoalIndex::build(&subjects);
        let names = subjects.iter().flat_map(|subject| [subject.name.clone(), subject.id.clone()]);
        for text in names.chain([text]) {
            let read = index.interpret(&text);
            prop_assert!((0.0..=1.0).contains(&read.confidence));
        }
    }

    #[test]
    fn what_is_excluded_by_id_never_runs(prefix in sentences(), id in 0_usize..13, suffix in sentences()) {
        let id = software_subjects()[id].id.clone();
        let text = format!("{prefix} . run everything except {id} . {suffix}");
        let read = software().interpret(&text);
        let runs = !matches!(read.action, Action::Suggest | Action::Status | Action::Unblock
            | Action::ListAgents | Action::Help | Action::Stop);
        prop_assert!(!runs || read.matches.iter().all(|found| found.id != id), "{text:?}: {read:?}");
    }

    #[test]
    fn an_unrelated_stream_changes_no_exact_id(
        name in "[a-z]{3,9} [a-z]{3,9}",
        task in "[a-z]{3,9} [a-z]{3,9} [a-z]{3,9}",
        id in 1_usize..13,
    ) {
        let mut subjects = software_subjects();
        let id = subjects[id].id.clone();
        subjects.push(GoalSubject {
            id: "77.7".to_owned(),
            name,
            tasks: vec![task],
            available: true,
            ..GoalSubject::default()
        });
        let index = GoalIndex::build(&subjects);
        for text in [format!("run {id}"), id.clone(), format!("start phase {id} please")] {
            let read = index.interpret(&text);
            prop_assert_eq!(read.action, Action::RunSingle, "{}: {:?}", text, read);
            prop_assert_eq!(&read.matches[0].id, &id);
            prop_assert!(read.confidence >= 0.9);
        }
    }
}
