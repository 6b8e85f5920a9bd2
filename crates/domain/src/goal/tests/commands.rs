//! Goals about the roadmap as a whole and about the fleet.

use super::Action::{
    Help, ListAgents, RunBatch, RunParallel, RunSingle, Status, Stop, Suggest, Unblock,
};
use super::*;

const ALL_SOFTWARE: &[&str] =
    &["1.2", "1.9", "1.10", "2.1", "2.2", "2.3", "2.4", "3.1", "3.2", "3.3", "3.4", "3.5"];
const ALL_GARDEN: &[&str] = &["G-1", "G-2", "G-3", "W-1", "W-2", "W-3", "W-4", "W-5", "W-6"];

#[test]
fn next() {
    let texts = [
        "next",
        "what's next",
        "What's next?",
        "whats next",
        "what next?",
        "do the next thing",
        "run the next task",
        "next one please",
        "proceed",
        "anything",
        "do anything useful",
        "pick something",
        "just do something",
        "surprise me",
        "what should I do next?",
        "what should we work on now",
        "get to work",
        "get started",
        "start",
        "run",
        "start working",
        "do some work",
        "go ahead",
        "Please start the next available stream",
    ];
    check_all(software(), &texts, RunSingle, &["2.2"]);
    check_all(garden(), &texts, RunSingle, &["G-1"]);
}

#[test]
fn next_without_what_is_excluded() {
    check(
        software(),
        &[
            goal("anything except 2.2", RunSingle, &["1.2"], LIKELY),
            goal("next, but not 2.2", RunSingle, &["1.2"], LIKELY),
            goal("the next one other than 2.2", RunSingle, &["1.2"], LIKELY),
        ],
    );
}

#[test]
fn everything() {
    let texts = [
        "all",
        "everything",
        "run everything",
        "Run all!",
        "do everything",
        "finish the roadmap",
        "complete the whole roadmap",
        "run all tasks",
        "run all the remaining streams",
        "do the rest",
        "the rest",
        "finish the rest of the roadmap",
        "do all of it",
        "finish what is left",
        "work through everything that is left",
        "every stream",
        "build the entire project",
        "run all available work streams",
        "implement everything on the roadmap",
        "please finish everything not started",
        "start whatever is ready",
        "keep going until everything is done, do it all",
    ];
    check_all(software(), &texts, RunBatch, ALL_SOFTWARE);
    check_all(garden(), &texts, RunBatch, ALL_GARDEN);
}

#[test]
fn everything_needs_plain_words() {
    for text in [
        "pause everything",
        "delete everything",
        "everything is broken",
        "undo all",
        "the small thing",
        "wholesale",
        "overall",
        "call",
        "alleviate the whole pain",
        "evrything breaks at random",
        "all quiet on the western front",
        "who moved everything",
    ] {
        let read = software().interpret(text);
        assert_ne!(read.action, RunBatch, "{text}: {read:?}");
    }
    check(
        software(),
        &[
            goal("everything", RunBatch, ALL_SOFTWARE, 0.5..=0.89),
            goal("run everything", RunBatch, ALL_SOFTWARE, SURE),
            goal("run evrything", RunBatch, ALL_SOFTWARE, 0.5..=0.89),
            goal("run everything tomorrow at noon", Suggest, WHATEVER, UNSURE),
            goal("run everything after 2.1", Suggest, WHATEVER, UNSURE),
            goal("should we do everything?", Suggest, WHATEVER, ASKING),
        ],
    );
}

#[test]
fn counts() {
    check(
        software(),
        &[
            goal("next 3", RunParallel, &["2.2", "1.2", "1.9"], LIKELY),
            goal("the next three", RunParallel, &["2.2", "1.2", "1.9"], LIKELY),
            goal("two tasks", RunParallel, &["2.2", "1.2"], LIKELY),
            goal("run 2 streams", RunParallel, &["2.2", "1.2"], LIKELY),
            goal("do a couple of things", RunParallel, &["2.2", "1.2"], LIKELY),
            goal("run 3 in parallel", RunParallel, &["2.2", "1.2", "1.9"], LIKELY),
            goal("run in parallel", RunParallel, &["2.2", "1.2", "1.9"], LIKELY),
            goal("one thing", RunSingle, &["2.2"], LIKELY),
            goal("two from batch 3", RunParallel, &["3.1", "3.4"], LIKELY),
            goal("next 0", Suggest, WHATEVER, UNSURE),
            goal("run 99999999999999999999999 tasks", Suggest, WHATEVER, UNSURE),
        ],
    );
    let read = software().interpret("run everything with 4 agents");
    assert_eq!((read.action, read.arguments.concurrency), (RunBatch, Some(4)), "{read:?}");
    let read = software().interpret("run everything, 2 at a time");
    assert_eq!((read.action, read.arguments.concurrency), (RunBatch, Some(2)), "{read:?}");
    let read = software().interpret("next 500");
    assert_eq!((read.action, read.arguments.count), (RunParallel, Some(500)));
    assert!(read.explanation.contains("no more are available"), "{}", read.explanation);
}

#[test]
fn status() {
    let texts = [
        "how is it going",
        "How's it going?",
        "hows it going",
        "how are things",
        "how far are we",
        "progress",
        "where are we",
        "overview",
        "show me the roadmap",
        "show progress",
        "give me a summary",
        "what's done",
        "what is left?",
        "what has been finished so far",
        "how many tasks are done?",
        "what remains",
        "are we done yet?",
        "are we there yet",
        "list all streams",
        "what can I run?",
        "what is available",
        "progress report",
        "what happened",
        "any news?",
        "show status",
    ];
    check_all(software(), &texts, Status, &[]);
    check_all(garden(), &texts, Status, &[]);
    check(
        garden(),
        &[
            goal("status", Status, &[], SURE),
            goal("statsu", Status, &[], 0.5..=0.89),
            goal("when will the cake be ready", Status, &["W-2"], LIKELY),
            goal("is the cake done?", Status, &["W-2"], LIKELY),
            goal("how is the greenhouse going", Status, &["G-4"], LIKELY),
            goal("status of W-2", Status, &["W-2"], SURE),
            goal("progress of the string quartet", Status, &["W-5"], SURE),
            goal("status W-9", Suggest, WHATEVER, UNSURE),
        ],
    );
}

#[test]
fn stop() {
    let target = |text: &str| {
        let read = software().interpret(text);
        assert_eq!(read.action, Stop, "{text}: {read:?}");
        read.arguments.stop_target.expect("a stop has a target")
    };
    for text in [
        "stop",
        "STOP!",
        "stop everything",
        "cancel everything",
        "stop all agents",
        "abort",
        "please stop now",
        "kill all workers",
        "stop it",
        "halt the run",
        "shut everything down",
        "stop working",
        "stop what is running",
        "ok, stop.",
        "everybody stop now",
    ] {
        assert_eq!(target(text), StopTarget::All, "{text}");
    }
    let streams =
        |ids: &[&str]| StopTarget::Streams(ids.iter().map(|id| (*id).to_owned()).collect());
    assert_eq!(target("stop 1.2"), streams(&["1.2"]));
    assert_eq!(target("cancel 1.2 and 2.1"), streams(&["1.2", "2.1"]));
    assert_eq!(target("stop the query parser"), streams(&["2.1"]));
    assert_eq!(target("please stop working on the telemetry"), streams(&["1.9"]));
    assert_eq!(target("stop agent 1.2"), streams(&["1.2"]));
    assert_eq!(target("stop everything except 1.2"), StopTarget::AllExcept(vec!["1.2".to_owned()]));
    // What waits, or is complete, can be spared like what can start.
    for spared in ["2.4", "3.3", "1.1"] {
        for text in [
            format!("stop everything except {spared}"),
            format!("stop all but {spared}"),
            format!("cancel all tasks except {spared}"),
            format!("stop everything but {spared}"),
        ] {
            assert_eq!(target(&text), StopTarget::AllExcept(vec![spared.to_owned()]), "{text}");
        }
    }
    assert_eq!(
        target("stop coder-1.2-1764977334"),
        StopTarget::Agents(vec!["coder-1.2-1764977334".to_owned()])
    );
    assert_eq!(
        target("stop agent claude-code-1.2-r7a1"),
        StopTarget::Agents(vec!["claude-code-1.2-r7a1".to_owned()])
    );
}

#[test]
fn stop_needs_to_know_what() {
    for text in [
        "don't stop",
        "never stop",
        "stop the unicorns",
        "stop 9.9",
        "stop the gateway",
        "stop when 2.1 is done",
        "stop the parser and start the telemetry",
        "bus stop",
        "non-stop",
        "stopwatch",
        "unstoppable",
        "stpo",
        "full stop handling in the grammar",
    ] {
        let read = software().interpret(text);
        assert_ne!(read.action, Stop, "{text}: {read:?}");
        assert!(read.arguments.stop_target.is_none(), "{text}: {read:?}");
    }
}

#[test]
fn who() {
    let texts = [
        "who is working?",
        "who's working",
        "what is running",
        "what's running right now?",
        "running",
        "running agents",
        "list agents",
        "show me the workers",
        "which agents are active",
        "what is everyone doing",
        "is anything running?",
        "how many agents are there",
        "what are the agents working on",
        "can you tell me what is running?",
    ];
    check_all(software(), &texts, ListAgents, &[]);
    check_all(garden(), &texts, ListAgents, &[]);
    check(
        software(),
        &[
            goal("who", ListAgents, &[], SURE),
            goal("who is working on 2.1", ListAgents, &["2.1"], SURE),
            goal("who works on the parser?", ListAgents, &["2.1"], LIKELY),
        ],
    );
}

#[test]
fn unblock() {
    check(
        software(),
        &[
            goal("unblock", Unblock, &[], SURE),
            goal("anything blocked?", Unblock, &[], SURE),
            goal("why can't 3.3 start", Unblock, &["3.3"], SURE),
            goal("what is blocked?", Unblock, &[], SURE),
            goal("what is blocking 3.3", Unblock, &["3.3"], SURE),
            goal("why is 3.3 not running", Unblock, &["3.3"], SURE),
            goal("why isn't 3.3 running?", Unblock, &["3.3"], SURE),
            goal("why is the payment gateway stuck", Unblock, &["3.3"], SURE),
            goal("unblock the payment gateway", Unblock, &["3.3"], SURE),
            goal("what does 3.3 wait for", Unblock, &["3.3"], SURE),
            goal("what's holding up 3.3", Unblock, &["3.3"], SURE),
            goal("show blockers", Unblock, &[], SURE),
            goal("unlock the payment gateway", RunSingle, &["3.3"], LIKELY),
        ],
    );
}

#[test]
fn help() {
    let texts = [
        "help",
        "Help!",
        "help me",
        "what can you do?",
        "how does this work",
        "usage",
        "how do I use this?",
        "what commands are there",
        "show help",
        "?",
    ];
    check_all(garden(), &texts, Help, &[]);
    check(
        software(),
        &[
            goal("help me with the parser", RunSingle, &["2.1"], LIKELY),
            goal("can you help build the query parser", RunSingle, &["2.1"], SURE),
        ],
    );
}

/// Compares goals that mean the same and must be likely enough to act on.
fn check_all(
    index: &GoalIndex,
    texts: &[&'static str],
    action: Action,
    ids: &'static [&'static str],
) {
    let rows: Vec<Expected> = texts.iter().map(|text| goal(text, action, ids, LIKELY)).collect();
    check(index, &rows);
}
