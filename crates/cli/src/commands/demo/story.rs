//! The episodes of the demonstration, as they really went. Pure.

use crate::output::{Canvas, State, Tone, of_one_line};
use crate::view::{AttemptView, ReportView, TaskReport};

/// The lines that tell them: what came in between, and how it ended all the same.
pub(super) fn of(canvas: &Canvas, report: &ReportView) -> Vec<String> {
    let mut lines = Vec::new();
    for task in &report.tasks {
        let mut twists: Vec<String> =
            task.attempts.iter().filter_map(|one| failed_check(one).or(refusal(one))).collect();
        twists.extend(task.commands.iter().map(|said| {
            let attempt = said.attempt.map(|attempt| format!(" in try {attempt}"));
            let text = of_one_line(&said.text);
            format!("feedback \"{text}\" was {}{}", said.state, attempt.unwrap_or_default())
        }));
        if !twists.is_empty() {
            lines.extend(episode(canvas, task, twists));
        }
    }
    lines
}

fn episode(canvas: &Canvas, report: &TaskReport, twists: Vec<String>) -> Vec<String> {
    let task = &report.task;
    let mut lines = vec![format!("  {} {}", task.key, canvas.paint(Tone::Strong, &task.title))];
    let sign = canvas.paint(Tone::Warn, canvas.sign("↻", "~"));
    lines.extend(twists.iter().map(|twist| format!("    {sign} {twist}")));
    let tries = report.attempts.len();
    lines.push(match task.commit.as_deref().and_then(|commit| commit.get(..7)) {
        Some(commit) => {
            let sign = canvas.paint(Tone::Good, canvas.sign("✔", "+"));
            format!("    {sign} try {tries} was merged as {commit}")
        }
        None => {
            let state = State::of_task(&task.state).show(canvas);
            format!("    {state} {}", of_one_line(&task.reason)).trim_end().to_owned()
        }
    });
    lines.iter().map(|line| canvas.fit(line)).collect()
}

/// The check that failed in an attempt, with the line that says why.
fn failed_check(attempt: &AttemptView) -> Option<String> {
    let check = attempt.checks.iter().find(|check| check.verdict == "fail")?;
    let says = |line: &&str| line.contains("expected");
    let reason = check.detail.lines().find(says).or_else(|| check.detail.lines().last());
    let reason = of_one_line(reason.unwrap_or_default());
    Some(format!("try {}: the check `{}` failed: {reason}", attempt.number, check.name))
}

/// Why the result of an attempt was not integrated.
fn refusal(attempt: &AttemptView) -> Option<String> {
    let reason = of_one_line(attempt.refused.as_deref()?);
    Some(format!("try {} was not integrated: {reason}", attempt.number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;
    use crate::view::{CheckView, CommandView};

    #[test]
    fn only_what_really_happened_is_told() {
        let mut report = fixtures::report();
        for task in &mut report.tasks {
            task.attempts.clear();
            task.commands.clear();
        }
        assert_eq!(of(&Canvas::plain(), &report), [""; 0]);
        let detail = "average 1 2 6: expected 3, got 5\nFAILED tests/average.sh\n".to_owned();
        let check =
            CheckView { name: "tests".to_owned(), verdict: "fail".to_owned(), detail, took_ms: 1 };
        let attempt = AttemptView { checks: vec![check], ..fixtures::failed_attempt() };
        report.tasks[0].attempts = vec![attempt];
        let refused = Some("merge conflict in kit.sh".to_owned());
        let attempt = AttemptView { refused, checks: Vec::new(), ..fixtures::failed_attempt() };
        report.tasks[1].attempts = vec![attempt];
        report.tasks[1].commands = vec![CommandView {
            kind: "feedback".to_owned(),
            reason: None,
            seq: 1,
            text: "Bravo".to_owned(),
            at: 0,
            state: "applied".to_owned(),
            attempt: Some(1),
        }];
        insta::assert_snapshot!(of(&Canvas::plain(), &report).join("\n"), @r#"
          1.1 Storage
            ↻ try 1: the check `tests` failed: average 1 2 6: expected 3, got 5
            ✔ try 1 was merged as fedcba9
          1.2 Task parser
            ↻ try 1 was not integrated: merge conflict in kit.sh
            ↻ feedback "Bravo" was applied in try 1
            ● working
        "#);
    }
}
