//! Command words that are part of something else.

use super::Action::{
    Help, ListAgents, RunBatch, RunParallel, RunSingle, Status, Stop, Suggest, Unblock,
};
use super::*;

#[test]
fn words_inside_other_words_do_not_count() {
    for text in [
        "small parser",
        "wall",
        "installer for the query parser",
        "whole",
        "whoever",
        "context",
        "nextcloud",
        "extension",
        "helper",
        "helpless",
        "statusbar",
        "statuses",
        "unstoppable",
        "stopwatch",
        "shall",
        "tall",
        "overall",
        "interest",
        "forest",
        "restful",
        "arrest",
        "allocator",
        "fallback",
    ] {
        let read = software().interpret(text);
        let command = matches!(read.action, RunBatch | Stop | Status | ListAgents | Help | Unblock);
        assert!(!command, "{text}: {read:?}");
        let next = read.explanation.contains("Next in order");
        assert!(!next, "{text}: {read:?}");
    }
}

#[test]
fn a_stream_with_a_command_word_in_its_name_is_preferred() {
    check(
        software(),
        &[
            goal("status page", RunSingle, &["3.1"], SURE),
            goal("build the status page", RunSingle, &["3.1"], SURE),
            goal("the status page", RunSingle, &["3.1"], SURE),
            goal("help center", RunSingle, &["3.2"], SURE),
            goal("make the help center", RunSingle, &["3.2"], SURE),
            goal("stop words filter", RunSingle, &["2.3"], SURE),
            goal("implement stop words filter", RunSingle, &["2.3"], SURE),
            goal("next-gen optimizer", RunSingle, &["2.4"], SURE),
            goal("next gen optimizer", RunSingle, &["2.4"], SURE),
            goal("build the next-gen thing", RunSingle, &["2.4"], LIKELY),
            goal("status page and parser", RunParallel, &["3.1", "2.1"], LIKELY),
            goal("status of the status page", Status, &["3.1"], LIKELY),
            goal("help center status", Status, &["3.2"], LIKELY),
            goal("is the status page done", Status, &["3.1"], LIKELY),
            goal("stop the stop words filter", Stop, &["2.3"], LIKELY),
            goal("what is blocking the help center", Unblock, &["3.2"], LIKELY),
        ],
    );
    check(
        garden(),
        &[
            goal("all-hands rehearsal", RunSingle, &["W-3"], SURE),
            goal("all hands rehearsal", RunSingle, &["W-3"], SURE),
            goal("all-hands", RunSingle, &["W-3"], LIKELY),
            goal("who sits where chart", RunSingle, &["W-4"], SURE),
            goal("rest area", RunSingle, &["W-6"], SURE),
            goal("build the rest area", RunSingle, &["W-6"], SURE),
            goal("who works on the rest area", ListAgents, &["W-6"], LIKELY),
        ],
    );
}

#[test]
fn where_both_readings_hold_both_are_shown() {
    let read = software().interpret("stop words");
    assert_eq!(read.action, Suggest, "{read:?}");
    assert!(read.confidence < 0.9, "{read:?}");
    let readings = read.ambiguity.expect("two readings").readings;
    let actions: Vec<Action> = readings.iter().map(|reading| reading.action).collect();
    assert_eq!(actions, [Stop, RunSingle]);
    // The bare command stays one, and says that a stream has the word too.
    let read = software().interpret("status");
    assert_eq!(read.action, Status);
    assert!(read.confidence < 0.9 && read.explanation.contains("3.1 Status Page"), "{read:?}");
    assert!(read.ambiguity.is_some());
}

#[test]
fn the_same_words_are_commands_where_no_stream_has_them() {
    check(
        garden(),
        &[
            goal("status", Status, &[], SURE),
            goal("stop", Stop, &[], SURE),
            goal("next", RunSingle, &["G-1"], SURE),
            goal("status page", Suggest, WHATEVER, UNSURE),
            goal("stop words filter", Suggest, WHATEVER, UNSURE),
            goal("help center", Suggest, WHATEVER, UNSURE),
            goal("next-gen optimizer", Suggest, WHATEVER, UNSURE),
        ],
    );
}

#[test]
fn a_stream_named_like_a_command_is_asked_about() {
    let index = GoalIndex::build(&subjects(&[
        row("1", "Status", ("", ""), &[], "available"),
        row("2", "Everything", ("", ""), &[], "available"),
        row("3", "Getting Started", ("", ""), &[], "available"),
    ]));
    for text in ["status", "everything"] {
        let read = index.interpret(text);
        assert_eq!(read.action, Suggest, "{text}: {read:?}");
        assert!(read.confidence < 0.9 && read.ambiguity.is_some(), "{text}: {read:?}");
    }
    check(
        &index,
        &[
            goal("1", RunSingle, &["1"], SURE),
            goal("build status", RunSingle, &["1"], LIKELY),
            goal("getting started", RunSingle, &["3"], LIKELY),
            goal("run 2", RunSingle, &["2"], SURE),
            goal("run 2 tasks", RunParallel, &["1", "2"], LIKELY),
            goal("1 and 3", RunParallel, &["1", "3"], SURE),
            goal("1-3", RunParallel, &["1", "2", "3"], SURE),
        ],
    );
}

#[test]
fn numbers_of_other_things_are_no_ids() {
    check(
        software(),
        &[
            goal("upgrade python 2.1", Suggest, WHATEVER, UNSURE),
            goal("python-2.1", Suggest, WHATEVER, UNSURE),
            goal("v2.1", Suggest, WHATEVER, UNSURE),
            goal("2.1GB of logs", Suggest, WHATEVER, UNSURE),
        ],
    );
}

#[test]
fn names_in_other_scripts() {
    let index = GoalIndex::build(&subjects(&[
        row("1", "構文解析器", ("", ""), &[], "available"),
        row("2", "Café für Gäste", ("", ""), &["Überdachung"], "available"),
        row("3", "Регистр задач", ("", ""), &[], "available"),
    ]));
    check(
        &index,
        &[
            goal("構文解析器を作って", RunSingle, &["1"], LIKELY),
            goal("構文解析器", RunSingle, &["1"], SURE),
            goal("cafe fur gaste", RunSingle, &["2"], SURE),
            goal("CAFÉ", RunSingle, &["2"], LIKELY),
            goal("überdachung", RunSingle, &["2"], LIKELY),
            goal("регистр", RunSingle, &["3"], LIKELY),
            goal("¿qué sigue?", Suggest, WHATEVER, UNSURE),
            goal("🚀 регистр задач 🚀", RunSingle, &["3"], SURE),
        ],
    );
}

#[test]
fn ids_that_look_like_words_need_a_marker() {
    let index = GoalIndex::build(&subjects(&[
        row("a", "Alpha", ("", ""), &[], "available"),
        row("all", "Beta", ("", ""), &[], "available"),
        row("auth", "Gamma", ("", ""), &[], "available"),
        row("auth", "Delta", ("", ""), &[], "available"),
    ]));
    check(
        &index,
        &[
            goal("task a", RunSingle, &["a"], SURE),
            goal("run a task", RunSingle, &["a"], LIKELY),
            goal("phase all", RunSingle, &["all"], SURE),
            goal("auth", Suggest, &["auth", "auth"], ASKING),
        ],
    );
}
