//! What is known of a run while it is followed, and how that looks. Pure.

use std::collections::BTreeMap;

use crate::output::{Canvas, State, Tone, money, of_one_line};
use crate::render::{clock_time, counts_line, elapsed, progress, what, who};
use crate::view::{EventView, RunDetail, TaskView};

/// Running tasks that are shown one by one; more are counted.
const RUNNING_MAX: usize = 8;

/// A run as it was last seen.
#[derive(Debug)]
pub(super) struct Picture {
    detail: RunDetail,
}

impl Picture {
    pub(super) fn new(detail: RunDetail) -> Self {
        Self { detail }
    }

    /// Takes a newer view.
    pub(super) fn look(&mut self, detail: RunDetail) {
        *self = Self::new(detail);
    }

    /// Takes over what an event says, when nobody can be asked for a newer view.
    pub(super) fn apply(&mut self, event: &EventView) {
        let state = match event.kind.as_str() {
            "run_finished" if self.concerns(event) => {
                "ended".clone_into(&mut self.detail.run.state);
                return;
            }
            "attempt_ended" | "integration_queued" => "integrating",
            "retry_scheduled" => "retry_wait",
            "task_succeeded" => "succeeded",
            "task_failed" => "failed",
            "task_cancelled" => "cancelled",
            _ => return,
        };
        let mut tasks = self.detail.tasks.iter_mut();
        if let Some(task) = tasks.find(|task| Some(&task.id) == event.task.as_ref()) {
            state.clone_into(&mut task.state);
        }
        let mut counts = BTreeMap::new();
        for task in &self.detail.tasks {
            *counts.entry(task.state.clone()).or_default() += 1;
        }
        self.detail.run.counts = counts;
    }

    pub(super) fn run_id(&self) -> &str {
        &self.detail.run.id
    }

    pub(super) fn into_detail(self) -> RunDetail {
        self.detail
    }

    pub(super) fn has_ended(&self) -> bool {
        self.detail.run.state != "running"
    }

    /// How many agents are at work.
    pub(super) fn working(&self) -> usize {
        self.running().count()
    }

    fn running(&self) -> impl Iterator<Item = &TaskView> {
        let live = |task: &&TaskView| matches!(task.state.as_str(), "active" | "integrating");
        self.detail.tasks.iter().filter(live)
    }

    /// The agents of tasks that could run since before `before` while nothing else goes on.
    pub(super) fn waits_for_agents(&self, before: i64) -> Vec<String> {
        let moves = |task: &TaskView| {
            matches!(task.state.as_str(), "active" | "integrating" | "retry_wait")
        };
        let ready: Vec<&TaskView> =
            self.detail.tasks.iter().filter(|task| task.state == "ready").collect();
        if self.detail.tasks.iter().any(moves) || ready.iter().any(|task| task.since_at > before) {
            return Vec::new();
        }
        let mut agents: Vec<String> = ready.iter().map(|task| task.agent.clone()).collect();
        agents.sort();
        agents.dedup();
        agents
    }

    /// Whether an event belongs to the run.
    pub(super) fn concerns(&self, event: &EventView) -> bool {
        event.run.as_deref() == Some(self.run_id())
    }

    /// The line that an event deserves, if it deserves one. Where running tasks are shown anyway,
    /// only what ends or goes wrong does.
    pub(super) fn line(&self, canvas: &Canvas, event: &EventView, live: bool) -> Option<String> {
        let (sign, steady) = sign_of(canvas, &event.kind)?;
        if live && !steady {
            return None;
        }
        let mut tasks = self.detail.tasks.iter();
        let subject = match tasks.find(|task| Some(&task.id) == event.task.as_ref()) {
            Some(task) => format!("{} {}", task.key, canvas.paint(Tone::Strong, &task.title)),
            None => event.task.as_ref().or(event.run.as_ref()).cloned().unwrap_or_default(),
        };
        let time = canvas.paint(Tone::Faint, &clock_time(event.at));
        Some(canvas.fit(&format!("{time}  {sign} {subject}  {}", what(event))))
    }

    /// The lines of what runs now.
    pub(super) fn running_lines(&self, canvas: &Canvas) -> Vec<String> {
        let mut lines: Vec<String> =
            self.running().take(RUNNING_MAX).map(|task| running_line(canvas, task)).collect();
        if let Some(more @ 1..) = self.working().checked_sub(RUNNING_MAX) {
            let last = lines.len() - 1;
            lines[last] = canvas.paint(Tone::Faint, &format!("  and {} more", more + 1));
        }
        lines
    }

    /// How many tasks have ended, and how many there are.
    pub(super) fn progress(&self) -> (usize, usize) {
        progress(&self.detail.run.counts)
    }

    /// `3/7 done  ● 2 working  ○ 1 blocked  $1.84`
    pub(super) fn footer(&self, canvas: &Canvas) -> String {
        let (done, all) = self.progress();
        let mut parts = vec![
            format!("{} {done}/{all} done", self.run_id()),
            counts_line(canvas, &self.detail.run.counts),
        ];
        parts.extend(money(self.detail.run.usage.cost_microusd));
        parts.join("  ")
    }
}

fn running_line(canvas: &Canvas, task: &TaskView) -> String {
    let took = elapsed(canvas, task).unwrap_or_default();
    let tries = if task.attempt > 1 { format!("try {}", task.attempt) } else { String::new() };
    let doing = task.activity.as_ref().unwrap_or(&task.reason);
    let cost = money(task.usage.cost_microusd).unwrap_or_default();
    let parts = [
        format!("{} {}", State::of_task(&task.state).sign(canvas), task.key),
        canvas.paint(Tone::Strong, &task.title),
        canvas.paint(Tone::Faint, &who(task)),
        took,
        tries,
        cost,
        of_one_line(doing),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    canvas.fit(&parts.join("  "))
}

/// The sign of an event that deserves a line, and whether it does so even beside running lines.
fn sign_of(canvas: &Canvas, kind: &str) -> Option<(String, bool)> {
    let (tone, unicode, ascii, steady) = match kind {
        "task_succeeded" => (Tone::Good, "✔", "+", true),
        "task_failed" => (Tone::Bad, "✘", "x", true),
        "task_skipped" => (Tone::Faint, "⊘", "/", true),
        "task_cancelled" => (Tone::Warn, "■", "=", true),
        "retry_scheduled" => (Tone::Warn, "↻", "~", true),
        "integration_refused" => (Tone::Warn, "◑", "%", true),
        "attempt_suspected" => (Tone::Warn, "?", "?", true),
        "command_accepted" | "command_settled" => (Tone::Live, "›", ">", true),
        "target_switched" => (Tone::Warn, "→", "->", true),
        "attempt_claimed" => (Tone::Faint, "◌", ".", false),
        "attempt_started" => (Tone::Live, "●", "*", false),
        "attempt_recovered" => (Tone::Live, "●", "*", false),
        "attempt_ended" => (Tone::Faint, "·", "-", false),
        "integration_queued" => (Tone::Live, "◐", "%", false),
        "run_cancel_requested" | "task_cancel_requested" => (Tone::Warn, "■", "=", false),
        "run_reopened" | "task_revived" => (Tone::Live, "○", "o", false),
        _ => return None,
    };
    Some((canvas.paint(tone, canvas.sign(unicode, ascii)), steady))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;

    fn event(kind: &str) -> EventView {
        EventView {
            id: "e.1".to_owned(),
            seq: 1,
            at: 0,
            kind: kind.to_owned(),
            run: Some("r-42".to_owned()),
            task: Some("r-42/1.2".to_owned()),
            message: "as it happened".to_owned(),
            data: serde_json::Value::Null,
        }
    }

    #[test]
    fn what_runs_is_shown_in_lines_that_fit() {
        let picture = Picture::new(fixtures::detail());
        let canvas = Canvas::plain();
        let mut lines = picture.running_lines(&canvas);
        lines.push(picture.footer(&canvas));
        insta::assert_snapshot!(lines.join("\n"), @"
        ● 1.2  Task parser  claude@laptop  1m02s  try 2  $0.21  edit src/api.rs
        r-42 1/3 done  ✔ 1 succeeded  ● 1 working  ○ 1 blocked  $1.84
        ");
        let narrow = Canvas { width: Some(40), ..canvas };
        for line in picture.running_lines(&narrow) {
            assert!(console::measure_text_width(&line) <= 40, "{line:?}");
        }
    }

    #[test]
    fn at_most_eight_lines_are_shown() {
        let check = |running: usize, lines: usize, more: Option<&str>| {
            let mut detail = fixtures::detail();
            detail.tasks = (0..running).map(|_| fixtures::active()).collect();
            let shown = Picture::new(detail).running_lines(&Canvas::plain());
            assert_eq!(shown.len(), lines);
            let last = shown.last().filter(|line| line.contains("more")).map(|line| line.trim());
            assert_eq!(last, more);
        };
        check(0, 0, None);
        check(8, 8, None);
        check(9, 8, Some("and 2 more"));
        check(20, 8, Some("and 13 more"));
    }

    #[test]
    fn beside_running_lines_only_ends_and_troubles_are_told() {
        let picture = Picture::new(fixtures::detail());
        let told = |kind: &str, live| picture.line(&Canvas::plain(), &event(kind), live).is_some();
        for kind in ["task_succeeded", "task_failed", "retry_scheduled", "command_settled"] {
            assert!(told(kind, true) && told(kind, false), "{kind}");
        }
        for kind in ["attempt_started", "attempt_ended", "integration_queued"] {
            assert!(!told(kind, true) && told(kind, false), "{kind}");
        }
        for kind in ["attempt_offered", "dependencies_met", "task_submitted"] {
            assert!(!told(kind, true) && !told(kind, false), "{kind}");
        }
        let line = picture.line(&Canvas::plain(), &event("task_failed"), false).expect("a line");
        assert!(line.ends_with("✘ 1.2 Task parser  as it happened"), "{line}");
    }

    #[test]
    fn events_alone_tell_what_has_ended() {
        let mut picture = Picture::new(fixtures::detail());
        assert_eq!((picture.working(), picture.progress()), (1, (1, 3)));
        picture.apply(&event("task_succeeded"));
        assert_eq!((picture.working(), picture.progress()), (0, (2, 3)));
        assert!(!picture.has_ended());
        picture.apply(&EventView { run: Some("r-7".to_owned()), ..event("run_finished") });
        assert!(!picture.has_ended());
        picture.apply(&event("run_finished"));
        assert!(picture.has_ended());
    }

    #[test]
    fn a_run_that_waits_for_an_agent_nobody_has_is_noticed() {
        let since = fixtures::blocked().since_at;
        let check = |states: &[&str], before, expected: &[&str]| {
            let mut detail = fixtures::detail();
            let task =
                |state: &&str| TaskView { state: (*state).to_owned(), ..fixtures::blocked() };
            detail.tasks = states.iter().map(task).collect();
            assert_eq!(Picture::new(detail).waits_for_agents(before), expected, "{states:?}");
        };
        check(&["ready", "ready", "blocked"], since, &["claude"]);
        check(&["ready"], since - 1, &[]);
        check(&["ready", "active"], since, &[]);
        check(&["ready", "retry_wait"], since, &[]);
        check(&["succeeded", "blocked"], since, &[]);
    }
}
