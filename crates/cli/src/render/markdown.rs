//! The report of a run as Markdown, for pull requests and mail.

use std::fmt::Write as _;

use kapelle_domain::attempt::NOTE;

use super::attempt::{changes, ending, of_check, took};
use super::report::short;
use super::task::{doing, usage_line};
use crate::output::{Canvas, State, duration, of_one_line};
use crate::view::{ReportView, TaskReport};

/// The report as a Markdown document.
#[must_use]
pub fn markdown(report: &ReportView, canvas: &Canvas) -> String {
    let run = &report.run;
    let state = State::of_task(&run.state).word();
    let took = duration(i64::try_from(report.took_ms).unwrap_or(i64::MAX));
    // Writing to a string cannot fail, here and below.
    let mut text = format!("# {}: {}\n\n{state} in {took}", run.id, escape(&run.title));
    if let Some(branch) = &run.branch {
        let _ = write!(text, ", results on `{branch}`");
    }
    let used = usage_line(&run.usage);
    if !used.is_empty() {
        let _ = write!(text, ", used {used}");
    }
    text.push_str(".\n\n| | Stream | Result | Tries |\n|---|---|---|---|\n");
    for TaskReport { task, attempts, .. } in &report.tasks {
        let state = State::of_task(&task.state);
        let result = match &task.commit {
            Some(commit) => format!("`{}`", short(commit)),
            None => escape(&doing(task)),
        };
        let name = format!("{} {}", task.key, escape(&task.title));
        let plain = Canvas { color: false, ..*canvas };
        let _ =
            writeln!(text, "| {} | {name} | {result} | {} |", state.show(&plain), attempts.len());
    }
    for report in report.tasks.iter().filter(|report| !report.attempts.is_empty()) {
        text.push_str(&task_section(report, canvas));
    }
    text
}

fn task_section(report: &TaskReport, canvas: &Canvas) -> String {
    let task = &report.task;
    let mut text = format!("\n## {} {}\n\n", task.key, escape(&task.title));
    for attempt in &report.attempts {
        let facts = [Some(ending(attempt)), took(canvas, attempt), changes(attempt)];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        let _ = writeln!(text, "{}. {}", attempt.number, escape(&facts.join(", ")));
        if let Some(summary) = attempt.summary.as_deref().filter(|summary| !summary.is_empty()) {
            let _ = writeln!(text, "   {}", escape(&of_one_line(summary)));
        }
        for check in &attempt.checks {
            let says = if check.name == NOTE {
                of_one_line(&check.detail)
            } else {
                of_check(check).word().to_owned()
            };
            let _ = writeln!(text, "   - {}: {}", escape(&check.name), escape(&says));
        }
        if let Some(reason) = &attempt.refused {
            let _ = writeln!(text, "   - not integrated: {}", escape(reason));
        }
    }
    text
}

/// `text` with every sign that Markdown or HTML could take for its own escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in of_one_line(text).chars() {
        if "\\`*_{}[]<>#|~!&$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    #[test]
    fn the_report_is_markdown_that_agents_cannot_break() {
        let mut report = fixtures::report();
        report.tasks[0].task.title = "A | pipe and <script>".to_owned();
        insta::assert_snapshot!(markdown(&report, &Canvas::plain()), @r#"
        # r-42: batch of 3 work streams

        running in 2m05s, results on `kapelle/r-42`, used $1.84, 12.3k tokens in, 1.2k out.

        | | Stream | Result | Tries |
        |---|---|---|---|
        | ✔ succeeded | 1.1 A \| pipe and \<script\> | `fedcba9876` | 0 |
        | ● working | 1.2 Task parser | edit src/api.rs | 2 |

        ## 1.2 Task parser

        1. checks failed, 1m30s, 3 files, +120 -8
           I have written the parser.
           - fmt: pass
           - lint: warning
           - test: fail
        2. completed, 1m30s, 3 files, +120 -8
           - not integrated: after merging, checks fail: \`test\`: linking error: twice
        "#);
    }
}
