//! What sounds like an order and is none, or is one with something in it that can't be heeded.

use super::Action::{RunBatch, RunParallel, RunSingle, Status, Suggest};
use super::*;
use crate::roadmap::Effort;

/// Not sure enough to be started without asking.
const ASKED: std::ops::RangeInclusive<f64> = 0.5..=0.79;
/// Sure enough.
const CLEAR: std::ops::RangeInclusive<f64> = 0.8..=1.0;

/// A roadmap with sizes and dependencies: 2.2 needs 2.1, and 2.4 both 2.2 and 2.3.
fn sized() -> GoalIndex {
    let row = |id: &str, name: &str, effort, depends_on: &[&str], available| GoalSubject {
        id: id.to_owned(),
        name: name.to_owned(),
        batch: Some(format!("Batch {}", &id[..1])),
        depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(),
        effort,
        available,
        ..GoalSubject::default()
    };
    let mut done = row("1.1", "Layout", Some(Effort::S), &[], false);
    done.complete = true;
    GoalIndex::build(&[
        done,
        row("2.1", "Query Parser", Some(Effort::S), &["1.1"], true),
        row("2.2", "Symbol Table", Some(Effort::Xs), &["2.1"], false),
        row("2.3", "Telemetry", Some(Effort::L), &[], true),
        row("2.4", "Optimizer", Some(Effort::S), &["2.2", "2.3"], false),
        row("3.1", "Storefront", Some(Effort::M), &[], true),
        row("3.2", "Payments", None, &[], true),
    ])
}

#[test]
fn statements_start_nothing() {
    for text in [
        "2.1 is done",
        "2.1 is finished already",
        "2.1 done",
        "phase 2.1 has been merged",
        "2.1 and 2.3 are done",
        "2.1 is done, start 2.3",
        "2.1 failed",
        "2.1 needs tests",
        "2.1 depends on 1.1",
        "2.1 looks good",
        "the query parser is broken",
        "query parser is done",
        "I finished 2.1",
        "we did 2.1",
        "someone is working on 2.1",
        "mark 2.1 as done",
    ] {
        let read = sized().interpret(text);
        assert!(!runs(&read), "{text}: {read:?}");
    }
    check(
        &sized(),
        &[
            goal("is 2.1 done?", Status, &["2.1"], CLEAR),
            goal("can we start 2.1?", Suggest, &["2.1"], ASKING),
            goal("would 2.1 work", Suggest, &["2.1"], ASKING),
            goal("get 2.1 done", RunSingle, &["2.1"], SURE),
            goal("I want 2.1 done", RunSingle, &["2.1"], SURE),
            goal("start 2.1 which is ready", RunSingle, &["2.1"], SURE),
            goal("set 2.1 to done", RunSingle, &["2.1"], ASKED),
            goal("check 2.1", RunSingle, &["2.1"], ASKED),
        ],
    );
}

fn runs(read: &Interpretation) -> bool {
    matches!(read.action, Action::RunSingle | Action::RunParallel | Action::RunBatch)
}

#[test]
fn what_can_not_be_heeded_is_told_and_asked_about() {
    for (text, told) in [
        ("run 2.1 tomorrow", "tomorrow"),
        ("run 2.1 twice", "twice"),
        ("run 2.1 three times", "three times"),
        ("run 2.1 every day", "every day"),
        ("run 2.1 next week", "next week"),
        ("run 2.1 in an hour", "in an hour"),
        ("run 2.1 in the next two hours", "in the next two hours"),
        ("run 2.1 at 5pm", "at 5pm"),
        ("run 2.1 at 5", "at 5"),
        ("run 2.1 by friday", "by friday"),
        ("run 2.1 later", "later"),
        ("run the query parser on monday", "on monday"),
        ("run 2.1 with codex", "with codex"),
        ("run 2.1 on gpu-1", "on gpu 1"),
        ("dry run 2.1", "dry run"),
        ("run 2.1 when I am back", "i am back"),
        ("run 2.1 as soon as 2.3 is done", "2.3 is done"),
    ] {
        let read = sized().interpret(text);
        assert_eq!(read.action, RunSingle, "{text}: {read:?}");
        assert_eq!(read.matches[0].id, "2.1", "{text}: {read:?}");
        assert!(ASKED.contains(&read.confidence), "{text}: {read:?}");
        let said = format!("The condition \"{told}\" is not acted on.");
        assert!(read.explanation.contains(&said), "{text}: {}", read.explanation);
    }
    check(
        &sized(),
        &[
            goal("run 2.1 now", RunSingle, &["2.1"], SURE),
            goal("run 2.1 again", RunSingle, &["2.1"], SURE),
            goal("run 2.1 today", RunSingle, &["2.1"], SURE),
            goal("run 2.1 if you can", RunSingle, &["2.1"], SURE),
            goal("run 2.1 with tests", RunSingle, &["2.1"], SURE),
            goal("run 2.1 with 4 agents", RunSingle, &["2.1"], SURE),
            goal("run 2.1 without frills", Suggest, WHATEVER, UNSURE),
            goal("leave 2.1 for later and run 2.3", RunSingle, &["2.3"], SURE),
            goal("run everything tomorrow", Suggest, WHATEVER, UNSURE),
            goal("next one tomorrow", Suggest, WHATEVER, UNSURE),
            goal("2.1 then 2.2", RunParallel, &["2.1", "2.2"], CLEAR),
            goal("2.1 then 2.3", RunParallel, &["2.1", "2.3"], ASKED),
            goal("2.1 or 2.3", Suggest, &["2.1", "2.3"], ASKED),
            goal("2.1 and then everything", RunSingle, &["2.1"], ASKED),
        ],
    );
    let nightly = GoalIndex::build(&[GoalSubject {
        id: "1".to_owned(),
        name: "Nightly Build".to_owned(),
        available: true,
        ..GoalSubject::default()
    }]);
    check(&nightly, &[goal("run the nightly build", RunSingle, &["1"], SURE)]);
}

#[test]
fn sizes_choose_by_effort() {
    check(
        &sized(),
        &[
            goal("run all the small ones", RunParallel, &["2.1", "2.2"], CLEAR),
            goal("run the small tasks", RunParallel, &["2.1", "2.2"], CLEAR),
            goal("all tiny streams", Suggest, WHATEVER, UNSURE),
            goal("the large ones", RunSingle, &["2.3"], CLEAR),
            goal("all M streams", RunSingle, &["3.1"], CLEAR),
            goal("everything of effort L", RunSingle, &["2.3"], CLEAR),
            goal("one small thing", RunSingle, &["2.1"], CLEAR),
            goal("two small ones", RunParallel, &["2.1", "2.2"], CLEAR),
            goal("the small ones in batch 2", RunParallel, &["2.1", "2.2"], CLEAR),
            goal("run the quick ones", RunParallel, &["2.1", "2.2"], ASKED),
            goal("run all the huge ones", Suggest, WHATEVER, UNSURE),
            goal("the smallest one", Suggest, WHATEVER, UNSURE),
            goal("everything but the small ones", RunBatch, &["2.3", "3.1"], CLEAR),
            goal("run all the new ones", Suggest, WHATEVER, UNSURE),
            goal("run all the blocked ones", Suggest, WHATEVER, UNSURE),
            goal("stop the small ones", Suggest, WHATEVER, UNSURE),
        ],
    );
    let read = sized().interpret("run all the small ones");
    for part in ["effort XS to S", "no effort for 3.2 Payments", "wait for others: 2.4"] {
        assert!(read.explanation.contains(part), "{part}: {}", read.explanation);
    }
    check(software(), &[goal("run all the small ones", Suggest, WHATEVER, UNSURE)]);
}

#[test]
fn going_on_is_not_starting_the_next() {
    for text in [
        "resume",
        "continue",
        "resume the run",
        "resume r-1",
        "resume everything",
        "keep going",
        "carry on",
        "go on",
        "keep working",
    ] {
        let read = sized().interpret(text);
        assert_eq!(read.action, Suggest, "{text}: {read:?}");
        assert!(read.explanation.contains("`kapelle resume`"), "{text}: {}", read.explanation);
    }
    check(
        &sized(),
        &[
            goal("continue with 2.1", RunSingle, &["2.1"], SURE),
            goal("resume 2.1", RunSingle, &["2.1"], ASKED),
            goal("go ahead", RunSingle, &["2.1"], SURE),
        ],
    );
}

#[test]
fn a_missing_point_is_asked_about() {
    for text in ["run 21", "start 21", "run 11"] {
        let read = sized().interpret(text);
        let id = if text.ends_with("21") { "2.1" } else { "1.1" };
        assert_eq!((read.action, read.matches.len()), (Suggest, 1), "{text}: {read:?}");
        assert_eq!(read.matches[0].id, id, "{text}: {read:?}");
    }
    check(
        &sized(),
        &[
            goal("run 2", RunParallel, &["2.1", "2.3"], CLEAR),
            goal("run 2 tasks", RunParallel, &["2.1", "2.3"], CLEAR),
            goal("run 99 tasks", RunParallel, &["2.1", "2.3", "3.1", "3.2"], ASKED),
        ],
    );
}

#[test]
fn who_needs_whom_is_read_off_the_roadmap() {
    let all_but_needing = &["2.1", "2.3", "3.1", "3.2"];
    check(
        &sized(),
        &[
            goal("everything that does not need 2.1", RunBatch, all_but_needing, CLEAR),
            goal("everything that doesn't depend on 2.1", RunBatch, all_but_needing, CLEAR),
            goal("everything not blocked by 2.1", RunBatch, all_but_needing, CLEAR),
            goal("everything that needs 2.1", Suggest, &["2.2", "2.4"], UNSURE),
            goal("run what depends on 2.1", Suggest, &["2.2", "2.4"], UNSURE),
            goal("everything independent of 2.1", Suggest, all_but_needing, UNSURE),
            goal("we need 2.1", RunSingle, &["2.1"], SURE),
            goal("stop what needs 2.1", Suggest, WHATEVER, UNSURE),
        ],
    );
    let excluded = sized().interpret("everything that does not need 2.1").arguments.excluded;
    assert_eq!(excluded, ["2.2", "2.4"]);
}
