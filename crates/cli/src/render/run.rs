//! Runs: one in a line, a page of them, one with its tasks, one that would be started.

use std::collections::BTreeMap;

use serde_json::Value;

use super::task::tasks_table;
use crate::output::{Align, Canvas, Show, State, Table, Tone, age, bar, duration, money, plural};
use crate::view::{RunAccepted, RunDetail, RunPage, RunView};

/// The states of tasks in the order in which people want to hear of them.
const ORDER: [&str; 9] = [
    "succeeded",
    "failed",
    "active",
    "integrating",
    "retry_wait",
    "ready",
    "blocked",
    "cancelled",
    "skipped",
];

/// How many tasks have ended, and how many there are.
#[must_use]
pub fn progress(counts: &BTreeMap<String, u32>) -> (usize, usize) {
    let ended = ["succeeded", "failed", "cancelled", "skipped"];
    let number = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let done = ended.iter().filter_map(|state| counts.get(*state)).copied().map(number).sum();
    (done, counts.values().copied().map(number).sum())
}

/// `3 succeeded · 1 failed · 2 working`
#[must_use]
pub fn counts_line(canvas: &Canvas, counts: &BTreeMap<String, u32>) -> String {
    let parts = ORDER.iter().filter_map(|name| {
        let count = counts.get(*name).copied().filter(|count| *count > 0)?;
        let state = State::of_task(name);
        Some(format!("{} {count} {}", state.sign(canvas), state.word()))
    });
    parts.collect::<Vec<_>>().join(canvas.sign("  ", "  "))
}

fn took(canvas: &Canvas, run: &RunView) -> String {
    duration(run.finished_at.unwrap_or(canvas.now) - run.submitted_at)
}

impl Show for RunPage {
    fn text(&self, canvas: &Canvas) -> String {
        if self.runs.is_empty() {
            return "No runs yet.\n".to_owned();
        }
        let columns = [
            ("run", Align::Left),
            ("state", Align::Left),
            ("done", Align::Right),
            ("started", Align::Left),
            ("took", Align::Right),
            ("cost", Align::Right),
            ("title", Align::Left),
        ];
        let mut table = Table::new(&columns, 6);
        for run in &self.runs {
            let (done, all) = progress(&run.counts);
            table.row([
                run.id.clone(),
                State::of_task(&run.state).show(canvas),
                format!("{done}/{all}"),
                age(canvas, run.submitted_at),
                took(canvas, run),
                money(run.usage.cost_microusd).unwrap_or_default(),
                run.title.clone(),
            ]);
        }
        table.render(canvas)
    }

    fn names(&self) -> Vec<String> {
        self.runs.iter().map(|run| run.id.clone()).collect()
    }

    fn rows(&self) -> Vec<Value> {
        self.runs.iter().filter_map(|run| serde_json::to_value(run).ok()).collect()
    }
}

/// The head of everything that is about one run.
pub(super) fn header(canvas: &Canvas, run: &RunView) -> String {
    let (done, all) = progress(&run.counts);
    let mut lines = vec![
        format!(
            "{}  {}  {}",
            canvas.paint(Tone::Strong, &run.id),
            State::of_task(&run.state).show(canvas),
            canvas.paint(Tone::Strong, &run.title)
        ),
        format!(
            "  {}  {done}/{all} in {}  {}",
            bar(canvas, done, all, 20),
            took(canvas, run),
            counts_line(canvas, &run.counts)
        ),
    ];
    if let Some(branch) = &run.branch {
        let head: String = run.head.iter().flat_map(|head| head.chars().take(10)).collect();
        let at = if head.is_empty() { String::new() } else { format!(" at {head}") };
        lines.push(format!("  results go to {branch}{at}"));
    }
    if let Some(note) = &run.note {
        lines.push(format!("  {note}"));
    }
    if let Some(branch) = run.branch.as_ref().filter(|_| run.unmerged) {
        lines.push(format!("  not merged yet: git merge {branch}"));
    }
    let mut text: String = lines.iter().map(|line| canvas.fit(line) + "\n").collect();
    text.push('\n');
    text
}

impl Show for RunDetail {
    fn text(&self, canvas: &Canvas) -> String {
        header(canvas, &self.run)
            + &tasks_table(canvas, self.tasks.iter().map(|t| (t.key.clone(), t)))
    }

    fn names(&self) -> Vec<String> {
        vec![self.run.id.clone()]
    }
}

impl Show for RunAccepted {
    fn text(&self, canvas: &Canvas) -> String {
        let tasks = plural(self.tasks.len(), "task");
        let mut text = match &self.run {
            Some(run) => format!(
                "{} {}: {tasks}, up to {} at once\n",
                canvas.paint(Tone::Strong, &run.id),
                run.title,
                run.concurrency
            ),
            None => format!("Would run {tasks}; nothing has been started.\n"),
        };
        let columns = [
            ("id", Align::Left),
            ("name", Align::Left),
            ("agent", Align::Left),
            ("after", Align::Left),
        ];
        let mut table = Table::new(&columns, 1).indent(2);
        for task in &self.tasks {
            let after = task.depends_on.join(", ");
            table.row([task.key.clone(), task.title.clone(), task.agent.clone(), after]);
        }
        text.push_str(&table.render(canvas));
        for note in &self.notes {
            text.push_str(&canvas.fit(&format!("  {note}")));
            text.push('\n');
        }
        text
    }

    fn names(&self) -> Vec<String> {
        match &self.run {
            Some(run) => vec![run.id.clone()],
            None => self.tasks.iter().map(|task| task.key.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use crate::view::PlannedTask;

    #[test]
    fn a_run_shows_its_tasks_with_their_reasons() {
        insta::assert_snapshot!(fixtures::detail().text(&Canvas::plain()), @"
        r-42  ● running  batch of 3 work streams
          ██████░░░░░░░░░░░░░░  1/3 in 2m05s  ✔ 1 succeeded  ● 1 working  ○ 1 blocked
          results go to kapelle/r-42 at 0123456789
          the working copy has changes, so results go to a branch
          not merged yet: git merge kapelle/r-42

          ✔ succeeded  1.1  Storage                                   integrated
          ● working    1.2  Task parser  1m02s  try 2  claude@laptop  $0.21  edit src/a…
          ○ blocked    1.3  Registry                                  waits for 1.2
        ");
    }

    #[test]
    fn runs_are_listed_in_lines_that_fit() {
        let page = RunPage { runs: vec![fixtures::run(), fixtures::finished_run()], next: None };
        insta::assert_snapshot!(page.text(&Canvas::plain()), @"
        RUN   STATE      DONE  STARTED     TOOK   COST  TITLE
        r-42  ● running   1/3  2m05s ago  2m05s  $1.84  batch of 3 work streams
        r-41  ✘ failed    3/3  2h00m ago  1h00m         a title that is much longer tha…
        ");
        assert_eq!(page.names(), ["r-42", "r-41"]);
        assert_eq!(page.rows().len(), 2);
        let none = RunPage { runs: Vec::new(), next: None };
        assert_eq!(none.text(&Canvas::plain()), "No runs yet.\n");
    }

    #[test]
    fn a_dry_run_says_that_nothing_was_started() {
        let planned = |key: &str, after: &[&str]| PlannedTask {
            key: key.to_owned(),
            title: format!("Stream {key}"),
            agent: "claude".to_owned(),
            depends_on: after.iter().map(|&key| key.to_owned()).collect(),
            needs: Vec::new(),
        };
        let accepted = RunAccepted {
            run: None,
            tasks: vec![planned("1.2", &[]), planned("1.3", &["1.2"])],
            notes: vec!["results would go to kapelle/r-43".to_owned()],
        };
        insta::assert_snapshot!(accepted.text(&Canvas::plain()), @"
        Would run 2 tasks; nothing has been started.
          ID   NAME        AGENT   AFTER
          1.2  Stream 1.2  claude
          1.3  Stream 1.3  claude  1.2
          results would go to kapelle/r-43
        ");
        assert_eq!(accepted.names(), ["1.2", "1.3"]);
    }
}
