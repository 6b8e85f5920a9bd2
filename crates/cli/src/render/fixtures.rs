//! Views for the tests of renderings.

use std::collections::BTreeMap;

use crate::view::{
    AttemptView, ChangesView, CheckView, CommandView, GoalMatch, GoalView, ReportView, RunDetail,
    RunView, StatusView, StreamView, TaskReport, TaskView, UsageView, WorkerDuty, WorkerView,
};

/// The moment of [`Canvas::plain`](crate::output::Canvas::plain).
const NOW: i64 = 1_772_357_400_000;

fn usage(cost: Option<u64>) -> UsageView {
    UsageView { input_tokens: 12_345, output_tokens: 1_200, cost_microusd: cost }
}

pub(crate) fn run() -> RunView {
    let counts = [("succeeded", 1), ("active", 1), ("blocked", 1)];
    RunView {
        id: "r-42".to_owned(),
        title: "batch of 3 work streams".to_owned(),
        state: "running".to_owned(),
        branch: Some("kapelle/r-42".to_owned()),
        head: Some("0123456789abcdef".to_owned()),
        note: Some("the working copy has changes, so results go to a branch".to_owned()),
        unmerged: true,
        submitted_at: NOW - 125_000,
        finished_at: None,
        concurrency: 3,
        counts: counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        usage: usage(Some(1_840_000)),
    }
}

pub(crate) fn finished_run() -> RunView {
    let counts = [("succeeded", 2), ("failed", 1)];
    RunView {
        id: "r-41".to_owned(),
        title: "a title that is much longer than what a line of a terminal can show".to_owned(),
        state: "failed".to_owned(),
        branch: Some("main".to_owned()),
        note: None,
        unmerged: false,
        submitted_at: NOW - 7_200_000,
        finished_at: Some(NOW - 3_600_000),
        counts: counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        usage: UsageView::default(),
        ..run()
    }
}

fn task(key: &str, title: &str, state: &str, reason: &str) -> TaskView {
    TaskView {
        id: format!("r-42/{key}"),
        run: "r-42".to_owned(),
        key: key.to_owned(),
        title: title.to_owned(),
        state: state.to_owned(),
        since_at: NOW - 60_000,
        reason: reason.to_owned(),
        agent: "claude".to_owned(),
        attempt: 1,
        phase: None,
        worker: None,
        started_at: None,
        activity: None,
        commit: None,
        depends_on: Vec::new(),
        needs: Vec::new(),
        usage: UsageView::default(),
    }
}

pub(crate) fn succeeded() -> TaskView {
    TaskView {
        commit: Some("fedcba9876543210".to_owned()),
        ..task("1.1", "Storage", "succeeded", "integrated")
    }
}

pub(crate) fn active() -> TaskView {
    TaskView {
        attempt: 2,
        phase: Some("running".to_owned()),
        worker: Some("laptop".to_owned()),
        started_at: Some(NOW - 62_000),
        activity: Some("edit src/api.rs".to_owned()),
        usage: usage(Some(210_000)),
        ..task("1.2", "Task parser", "active", "")
    }
}

pub(crate) fn blocked() -> TaskView {
    TaskView {
        attempt: 0,
        depends_on: vec!["1.2".to_owned()],
        needs: Vec::new(),
        ..task("1.3", "Registry", "blocked", "waits for 1.2")
    }
}

pub(crate) fn failed() -> TaskView {
    task("1.4", "Search", "failed", "cargo test failed twice")
}

pub(crate) fn detail() -> RunDetail {
    RunDetail { run: run(), tasks: vec![succeeded(), active(), blocked()] }
}

pub(crate) fn failed_attempt() -> AttemptView {
    AttemptView {
        id: "r-42/1.2#1".to_owned(),
        number: 1,
        phase: "ended".to_owned(),
        outcome: Some("checks_failed".to_owned()),
        summary: Some("I have written the parser.".to_owned()),
        verdict: Some("fail".to_owned()),
        checks: vec![
            CheckView {
                name: "fmt".to_owned(),
                verdict: "pass".to_owned(),
                detail: String::new(),
                took_ms: 900,
            },
            CheckView {
                name: "lint".to_owned(),
                verdict: "pass".to_owned(),
                detail: "only a warning, so it doesn't count: exit code 3\nline too long"
                    .to_owned(),
                took_ms: 1_000,
            },
            CheckView {
                name: "test".to_owned(),
                verdict: "fail".to_owned(),
                detail: "test parser::dots ... FAILED\nassertion failed".to_owned(),
                took_ms: 12_000,
            },
        ],
        worker: Some("laptop".to_owned()),
        claimed_at: Some(NOW - 200_000),
        started_at: Some(NOW - 190_000),
        ended_at: Some(NOW - 100_000),
        exit_code: Some(0),
        signal: None,
        changes: Some(ChangesView { files: 3, lines_added: 120, lines_deleted: 8 }),
        result_commit: None,
        goes_on_from: None,
        refused: None,
        usage: UsageView::default(),
    }
}

pub(crate) fn refused_attempt() -> AttemptView {
    AttemptView {
        id: "r-42/1.2#2".to_owned(),
        number: 2,
        outcome: Some("completed".to_owned()),
        summary: None,
        verdict: Some("pass".to_owned()),
        checks: Vec::new(),
        goes_on_from: None,
        refused: Some("after merging, checks fail: `test`:\nlinking\nerror: twice".to_owned()),
        ..failed_attempt()
    }
}

pub(crate) fn command() -> CommandView {
    CommandView {
        kind: "feedback".to_owned(),
        reason: None,
        seq: 1,
        text: "use the existing\ntokenizer".to_owned(),
        at: NOW - 30_000,
        state: "applied".to_owned(),
        attempt: Some(2),
    }
}

pub(crate) fn report() -> ReportView {
    let one = |task, attempts, commands| TaskReport { task, attempts, commands };
    ReportView {
        run: run(),
        tasks: vec![
            one(succeeded(), Vec::new(), Vec::new()),
            one(active(), vec![failed_attempt(), refused_attempt()], vec![command()]),
        ],
        took_ms: 125_000,
    }
}

fn stream(id: &str, name: &str, available: bool, reason: Option<&str>) -> StreamView {
    StreamView {
        id: id.to_owned(),
        name: name.to_owned(),
        batch: Some("1".to_owned()),
        tag: available.then(|| "bootstrap".to_owned()),
        status: "not_started".to_owned(),
        effort: Some("M".to_owned()),
        available,
        reason: reason.map(str::to_owned),
        claimed_by: None,
        unmerged_in: None,
    }
}

pub(crate) fn status() -> StatusView {
    let counts = [("complete", 5), ("in_progress", 1), ("not_started", 3), ("blocked", 1)];
    StatusView {
        roadmap: Some("plans/roadmap.md".to_owned()),
        counts: counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        available: 1,
        diagnostics: 2,
        streams: vec![
            stream("1.5", "Work stream registry", true, None),
            stream("1.6", "Decomposition", false, Some("waits for 1.5")),
        ],
        tasks: vec![blocked(), active(), failed()],
        open_runs: vec![run()],
        recent_runs: vec![finished_run()],
        workers: vec![WorkerView {
            id: "laptop".to_owned(),
            slots: 3,
            held: 1,
            agents: vec!["claude".to_owned(), "codex".to_owned()],
            labels: BTreeMap::new(),
            duty: WorkerDuty::Active,
            suspect: false,
            embedded: true,
            build: "0.1.0".to_owned(),
            programs: Vec::new(),
            cached: Vec::new(),
            protocol: (1, 1),
            seen_at: NOW - 4_000,
        }],
        draining: false,
    }
}

pub(crate) fn goal() -> GoalView {
    GoalView {
        action: "run_single".to_owned(),
        confidence: 0.92,
        explanation: "“task parser” is the name of 1.2".to_owned(),
        matches: vec![
            GoalMatch { id: "1.2".to_owned(), name: "Task parser".to_owned(), score: 0.92 },
            GoalMatch { id: "1.6".to_owned(), name: "Decomposition".to_owned(), score: 0.31 },
        ],
        excluded: Vec::new(),
        concurrency: None,
        agents: Vec::new(),
    }
}
