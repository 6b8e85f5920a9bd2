//! Attempts and what was said to them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kapelle_domain::attempt::{NOTE, ONLY_A_WARNING};

use super::task::usage_line;
use crate::output::{Canvas, State, Tone, duration, of_one_line, plural};
use crate::view::{AttemptView, CheckView, CommandView, ReportView, TaskReport};

/// Lines of a failed check's output that are shown.
const DETAIL_LINES_MAX: usize = 12;

/// What is known of how an attempt ended, in words.
pub(super) fn ending(attempt: &AttemptView) -> String {
    let mut words = match &attempt.outcome {
        Some(outcome) => outcome.replace('_', " "),
        None => attempt.phase.clone(),
    };
    if let Some(code) = attempt.exit_code.filter(|code| *code != 0) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(words, ", exit code {code}");
    }
    if let Some(signal) = attempt.signal {
        let _ = write!(words, ", signal {signal}");
    }
    words
}

pub(super) fn took(canvas: &Canvas, attempt: &AttemptView) -> Option<String> {
    let started = attempt.started_at?;
    Some(duration(attempt.ended_at.unwrap_or(canvas.now) - started))
}

/// `3 files, +120 -8`
pub(super) fn changes(attempt: &AttemptView) -> Option<String> {
    let changes = attempt.changes?;
    let files = plural(usize::try_from(changes.files).unwrap_or(usize::MAX), "file");
    Some(format!("{files}, +{} -{}", changes.lines_added, changes.lines_deleted))
}

/// Attempts, oldest first, with their checks.
pub(super) fn attempts_text(canvas: &Canvas, attempts: &[AttemptView]) -> String {
    let mut text = String::new();
    for attempt in attempts {
        let verdict = match attempt.verdict.as_deref() {
            Some(verdict) => State::of_verdict(verdict).sign(canvas),
            None => canvas.sign("·", "-").to_owned(),
        };
        let facts = [took(canvas, attempt), changes(attempt), attempt.worker.clone()];
        let mut line = format!("  {verdict} try {}: {}", attempt.number, ending(attempt));
        for fact in facts.into_iter().flatten() {
            line = format!("{line}, {fact}");
        }
        let used = usage_line(&attempt.usage);
        if !used.is_empty() {
            line = format!("{line}, {used}");
        }
        push(canvas, &mut text, &line);
        if let Some(summary) = attempt.summary.as_deref().filter(|summary| !summary.is_empty()) {
            push(canvas, &mut text, &format!("      {}", of_one_line(summary)));
        }
        if let Some(earlier) = attempt.goes_on_from {
            push(canvas, &mut text, &format!("      went on from the work of try {earlier}"));
        }
        for check in &attempt.checks {
            text.push_str(&check_text(canvas, check));
        }
        if let Some(reason) = &attempt.refused {
            let mut lines = reason.lines();
            let first = lines.next().unwrap_or_default();
            let sign = State::of_verdict("fail").sign(canvas);
            push(canvas, &mut text, &format!("      {sign} not integrated: {first}"));
            push_end(canvas, &mut text, lines);
        }
    }
    text
}

fn check_text(canvas: &Canvas, check: &CheckView) -> String {
    let mut text = String::new();
    if check.name == NOTE {
        let sign = canvas.paint(Tone::Warn, canvas.sign("▲", "!"));
        push(canvas, &mut text, &format!("      {sign} note  {}", of_one_line(&check.detail)));
        return text;
    }
    let took = duration(i64::try_from(check.took_ms).unwrap_or(i64::MAX));
    let verdict = of_check(check).show(canvas);
    push(canvas, &mut text, &format!("      {verdict}  {} ({took})", check.name));
    let warning = check.detail.strip_prefix(ONLY_A_WARNING);
    if check.verdict != "pass" || warning.is_some() {
        push_end(canvas, &mut text, warning.unwrap_or(&check.detail).lines());
    }
    text
}

/// What a check says, and whether that only is a warning.
pub(super) fn of_check(check: &CheckView) -> State {
    if check.detail.starts_with(ONLY_A_WARNING) {
        State::warning()
    } else {
        State::of_verdict(&check.verdict)
    }
}

/// The end of an output says more than its beginning.
fn push_end<'l>(canvas: &Canvas, text: &mut String, lines: impl Iterator<Item = &'l str>) {
    let lines: Vec<&str> = lines.collect();
    for line in lines.iter().skip(lines.len().saturating_sub(DETAIL_LINES_MAX)) {
        push(canvas, text, &format!("        {}", canvas.paint(Tone::Faint, line)));
    }
}

/// What people should know of results that are in, each with the tasks that it is about.
#[must_use]
pub fn notes(report: &ReportView) -> BTreeMap<String, Vec<String>> {
    let mut notes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for TaskReport { task, attempts, .. } in &report.tasks {
        let last = attempts.last().filter(|_| task.state == "succeeded");
        let checks = last.into_iter().flat_map(|attempt| &attempt.checks);
        for note in checks.filter(|check| check.name == NOTE) {
            notes.entry(of_one_line(&note.detail)).or_default().push(task.key.clone());
        }
    }
    notes
}

/// What was said, and what became of it.
pub(super) fn commands_text(canvas: &Canvas, commands: &[CommandView]) -> String {
    let mut text = String::new();
    for command in commands {
        let fate = match (command.state.as_str(), command.attempt) {
            ("applied", Some(attempt)) => format!("told to try {attempt}"),
            ("carried", Some(attempt)) => format!("part of the prompt of try {attempt}"),
            ("accepted", _) => "not told yet".to_owned(),
            ("expired", _) => "never told: the task ended before".to_owned(),
            (state, _) => state.to_owned(),
        };
        let sign = canvas.sign("›", ">");
        push(canvas, &mut text, &format!("  {sign} {} ({fate})", of_one_line(&command.text)));
    }
    text
}

fn push(canvas: &Canvas, text: &mut String, line: &str) {
    text.push_str(&canvas.fit(line));
    text.push('\n');
}
