//! The report of a run for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::attempt::{attempts_text, commands_text};
use super::run::header;
use super::task::{doing, usage_line};
use crate::output::{Canvas, Show, State, Tone};
use crate::view::ReportView;

impl Show for ReportView {
    fn text(&self, canvas: &Canvas) -> String {
        let mut text = header(canvas, &self.run);
        for report in &self.tasks {
            let task = &report.task;
            let state = State::of_task(&task.state).show(canvas);
            let line = format!(
                "{state}  {}  {}",
                canvas.paint(Tone::Strong, &task.key),
                canvas.paint(Tone::Strong, &task.title)
            );
            text.push_str(&canvas.fit(&line));
            text.push('\n');
            let outcome = match &task.commit {
                Some(commit) => format!("integrated as {}", short(commit)),
                None => doing(task),
            };
            if !outcome.is_empty() {
                text.push_str(&canvas.fit(&format!("  {outcome}")));
                text.push('\n');
            }
            text.push_str(&attempts_text(canvas, &report.attempts));
            text.push_str(&commands_text(canvas, &report.commands));
        }
        let used = usage_line(&self.run.usage);
        if !used.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\nused {used}");
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.tasks.iter().map(|report| report.task.id.clone()).collect()
    }

    fn rows(&self) -> Vec<Value> {
        self.tasks.iter().filter_map(|report| serde_json::to_value(report).ok()).collect()
    }
}

/// The first ten digits of a commit.
pub(super) fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    #[test]
    fn a_report_tells_every_attempt() {
        insta::assert_snapshot!(fixtures::report().text(&Canvas::plain()), @"
        r-42  ● running  batch of 3 work streams
          ██████░░░░░░░░░░░░░░  1/3 in 2m05s  ✔ 1 succeeded  ● 1 working  ○ 1 blocked
          results go to kapelle/r-42 at 0123456789
          the working copy has changes, so results go to a branch
          not merged yet: git merge kapelle/r-42

        ✔ succeeded  1.1  Storage
          integrated as fedcba9876
        ● working  1.2  Task parser
          edit src/api.rs
          ✘ try 1: checks failed, 1m30s, 3 files, +120 -8, laptop
              I have written the parser.
              ✔ pass  fmt (<1s)
              ! warning  lint (1s)
                exit code 3
                line too long
              ✘ fail  test (12s)
                test parser::dots ... FAILED
                assertion failed
          ✔ try 2: completed, 1m30s, 3 files, +120 -8, laptop
              ✘ not integrated: after merging, checks fail: `test`:
                linking
                error: twice
          › use the existing tokenizer (told to try 2)

        used $1.84, 12.3k tokens in, 1.2k out
        ");
    }
}
