//! The project at a glance.

use std::fmt::Write as _;

use serde_json::Value;

use super::run::{counts_line, progress};
use super::task::tasks_table;
use super::worker::workers_table;
use crate::output::{Align, Canvas, Show, State, Table, Tone, age, bar, plural};
use crate::view::{RunView, StatusView, StreamView, TaskView};

/// Lines of work streams that `status` shows before it refers to the complete list.
const STREAMS_MAX: usize = 20;
/// The statuses in the order of a summary.
const STATUSES: [&str; 4] = ["complete", "in_progress", "not_started", "blocked"];

fn number(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// How the roadmap stands, in at most two lines.
#[must_use]
pub fn summary(canvas: &Canvas, status: &StatusView) -> String {
    let Some(roadmap) = &status.roadmap else {
        return "There is no roadmap.\n".to_owned();
    };
    let all: usize = status.counts.values().copied().map(number).sum();
    let done = number(status.counts.get("complete").copied().unwrap_or(0));
    let mut counts = Vec::new();
    for name in STATUSES {
        let count = status.counts.get(name).copied().unwrap_or(0);
        if count > 0 {
            let state = State::of_stream(name);
            counts.push(format!("{} {count} {}", state.sign(canvas), state.word()));
        }
    }
    counts.push(canvas.paint(Tone::Strong, &format!("{} can start now", status.available)));
    let head = format!("{roadmap}  {}  {done}/{all} complete", bar(canvas, done, all, 20));
    format!("{}\n{}\n", canvas.fit(&head), canvas.fit(&format!("  {}", counts.join("  "))))
}

fn section(canvas: &Canvas, text: &mut String, heading: &str, body: &str) {
    if !body.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}\n{body}", canvas.paint(Tone::Strong, heading));
    }
}

fn tasks<'t>(canvas: &Canvas, status: &'t StatusView, which: impl Fn(&TaskView) -> bool) -> String {
    let chosen = status.tasks.iter().filter(|task| which(task));
    tasks_table(canvas, chosen.map(|task: &'t TaskView| (task.id.clone(), task)))
}

fn streams(canvas: &Canvas, streams: &[&StreamView]) -> String {
    let columns = [("", Align::Left); 5];
    let mut table = Table::new(&columns, 1).indent(2);
    for stream in streams.iter().take(STREAMS_MAX) {
        table.row([
            stream.id.clone(),
            stream.name.clone(),
            stream
                .tag
                .as_ref()
                .map(|tag| format!("{}{tag}", canvas.sign("⭐", "*")))
                .unwrap_or_default(),
            stream.effort.clone().unwrap_or_default(),
            stream.reason.clone().unwrap_or_default(),
        ]);
    }
    let mut text = table.render(canvas);
    if let Some(more @ 1..) = streams.len().checked_sub(STREAMS_MAX) {
        let line = format!("  and {more} more: kapelle status -o json\n");
        text.push_str(&canvas.paint(Tone::Faint, &line));
    }
    text
}

fn runs(canvas: &Canvas, runs: &[RunView]) -> String {
    let mut table = Table::new(&[("", Align::Left); 5], 2).indent(2);
    for run in runs {
        let (done, all) = progress(&run.counts);
        table.row([
            run.id.clone(),
            State::of_task(&run.state).show(canvas),
            run.title.clone(),
            format!("{done}/{all}"),
            match run.finished_at {
                Some(finished) => age(canvas, finished),
                None => counts_line(canvas, &run.counts),
            },
        ]);
    }
    table.render(canvas)
}

impl Show for StatusView {
    fn text(&self, canvas: &Canvas) -> String {
        let mut text = summary(canvas, self);
        if self.draining {
            let line = "  The coordinator is draining: nothing new is started.";
            text.push_str(&canvas.fit(&canvas.paint(Tone::Warn, line)));
            text.push('\n');
        }
        if self.diagnostics > 0 {
            let findings = plural(number(self.diagnostics), "finding");
            let line = format!("  {findings} in the roadmap: kapelle roadmap check");
            text.push_str(&canvas.fit(&canvas.paint(Tone::Warn, &line)));
            text.push('\n');
        }
        let troubled = |task: &TaskView| matches!(task.state.as_str(), "failed" | "retry_wait");
        let working = |task: &TaskView| matches!(task.state.as_str(), "active" | "integrating");
        section(canvas, &mut text, "Needs a look", &tasks(canvas, self, troubled));
        section(canvas, &mut text, "Working", &tasks(canvas, self, working));
        let waiting = tasks(canvas, self, |task| !troubled(task) && !working(task));
        section(canvas, &mut text, "Waiting", &waiting);
        let available: Vec<&StreamView> = self.streams.iter().filter(|s| s.available).collect();
        // Those that a run has are among the tasks above.
        let unclaimed = |stream: &&StreamView| !stream.available && stream.claimed_by.is_none();
        let others: Vec<&StreamView> = self.streams.iter().filter(unclaimed).collect();
        section(canvas, &mut text, "Can start now", &streams(canvas, &available));
        section(canvas, &mut text, "Not available", &streams(canvas, &others));
        section(canvas, &mut text, "Open runs", &runs(canvas, &self.open_runs));
        section(canvas, &mut text, "Recent runs", &runs(canvas, &self.recent_runs));
        section(canvas, &mut text, "Workers", &workers_table(canvas, &self.workers));
        text
    }

    fn names(&self) -> Vec<String> {
        let available = self.streams.iter().filter(|stream| stream.available);
        available.map(|stream| stream.id.clone()).collect()
    }

    fn rows(&self) -> Vec<Value> {
        self.streams.iter().filter_map(|stream| serde_json::to_value(stream).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    #[test]
    fn what_needs_a_look_comes_first() {
        insta::assert_snapshot!(fixtures::status().text(&Canvas::plain()), @"
        plans/roadmap.md  ██████████░░░░░░░░░░  5/10 complete
          ✔ 5 complete  ● 1 in progress  ○ 3 not started  ⊘ 1 blocked  1 can start now
          2 findings in the roadmap: kapelle roadmap check

        Needs a look
          ✘ failed  r-42/1.4  Search  cargo test failed twice

        Working
          ● working  r-42/1.2  Task parser  1m02s  try 2  claude@laptop  $0.21  edit sr…

        Waiting
          ○ blocked  r-42/1.3  Registry  waits for 1.2

        Can start now
          1.5  Work stream registry  ⭐bootstrap  M

        Not available
          1.6  Decomposition  M  waits for 1.5

        Open runs
          r-42  ● running  batch of 3 wor…  1/3  ✔ 1 succeeded  ● 1 working  ○ 1 blocked

        Recent runs
          r-41  ✘ failed  a title that is much longer than what a line …  3/3  1h00m ago

        Workers
          laptop  1/3 busy  claude, codex  heard 4s ago
        ");
    }

    #[test]
    fn it_fits_into_forty_cells_of_ascii_but_for_the_users_own_text() {
        let canvas = Canvas { width: Some(40), ascii: true, ..Canvas::plain() };
        let text = fixtures::status().text(&canvas);
        for line in text.lines() {
            assert!(console::measure_text_width(line) <= 40, "{line:?}");
        }
        assert!(text.is_ascii(), "{text}");
    }

    #[test]
    fn a_project_without_roadmap_says_so() {
        let status = StatusView { roadmap: None, ..fixtures::status() };
        assert_eq!(summary(&Canvas::plain(), &status), "There is no roadmap.\n");
    }
}
