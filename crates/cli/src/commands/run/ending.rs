//! How a run that was followed ended: told at the end, and in the exit code.

use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Canvas, Format, Show as _};
use crate::render::notes;
use crate::view::{ReportView, RunDetail, TaskReport};

/// Commands that are suggested after a failure.
const WHY_MAX: usize = 3;

/// Prints how a run ended, with the commands that come next.
pub(in crate::commands) fn tell(app: &App, report: &ReportView) -> Result<Exit, Error> {
    let exit = exit(report);
    match app.console.format() {
        Format::Json | Format::Ndjson => app.console.show_one(report)?,
        Format::Table => {
            app.console.data(&closing(&app.console.out(), report))?;
            for (note, keys) in notes(report) {
                app.console.warn(&format!("{note} ({})", keys.join(", ")));
            }
            for hint in next(report) {
                app.console.hint(&hint);
            }
        }
        // Its id was printed when it began.
        Format::Name => {}
    }
    Ok(exit)
}

fn closing(canvas: &Canvas, report: &ReportView) -> String {
    let tasks = report.tasks.iter().map(|report| report.task.clone()).collect();
    RunDetail { run: report.run.clone(), tasks }.text(canvas)
}

/// 0 when everything succeeded, 11 when only checks failed, 15 when no agent could be run at all,
/// else 10.
fn exit(report: &ReportView) -> Exit {
    let failed: Vec<&TaskReport> =
        report.tasks.iter().filter(|report| report.task.state == "failed").collect();
    let all_ended_as = |outcome: &str| {
        let last = |report: &TaskReport| report.attempts.last()?.outcome.clone();
        !failed.is_empty() && failed.iter().all(|report| last(report).as_deref() == Some(outcome))
    };
    let stopped = report.tasks.iter().any(|report| report.task.state == "cancelled");
    if report.run.state == "succeeded" {
        Exit::Ok
    } else if !stopped && all_ended_as("checks_failed") {
        Exit::VerificationFailed
    } else if !stopped && all_ended_as("unrunnable") {
        Exit::Unplaceable
    } else {
        Exit::TasksFailed
    }
}

/// What could be typed next.
fn next(report: &ReportView) -> Vec<String> {
    let run = &report.run;
    let failed = report.tasks.iter().filter(|report| report.task.state == "failed");
    let mut hints: Vec<String> =
        failed.take(WHY_MAX).map(|report| format!("kapelle why {}", report.task.id)).collect();
    if run.state != "succeeded" {
        hints.push(format!("kapelle resume {} tries the rest again", run.id));
    }
    hints.push(format!("kapelle report {} tells it all", run.id));
    if let Some(branch) = run.branch.as_deref().filter(|_| run.unmerged) {
        hints.push(format!("git merge {branch} takes the results into your branch"));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;
    use crate::view::AttemptView;

    fn report(run_state: &str, tasks: &[(&str, &str)]) -> ReportView {
        let mut report = fixtures::report();
        run_state.clone_into(&mut report.run.state);
        let one = |(state, outcome): &(&str, &str)| {
            let mut task = fixtures::failed();
            (*state).clone_into(&mut task.state);
            let outcome = Some((*outcome).to_owned());
            let attempts = vec![AttemptView { outcome, ..fixtures::failed_attempt() }];
            TaskReport { task, attempts, commands: Vec::new() }
        };
        report.tasks = tasks.iter().map(one).collect();
        report
    }

    #[test]
    fn the_exit_code_says_what_kind_of_failure_it_was() {
        let check = |state, tasks: &[(&str, &str)], expected| {
            assert_eq!(exit(&report(state, tasks)), expected, "{tasks:?}");
        };
        check("succeeded", &[("succeeded", "completed")], Exit::Ok);
        check("failed", &[("failed", "checks_failed")], Exit::VerificationFailed);
        check(
            "failed",
            &[("failed", "checks_failed"), ("skipped", "checks_failed")],
            Exit::VerificationFailed,
        );
        check(
            "failed",
            &[("failed", "checks_failed"), ("failed", "agent_failed")],
            Exit::TasksFailed,
        );
        check("failed", &[("failed", "timed_out")], Exit::TasksFailed);
        check("failed", &[("failed", "unrunnable")], Exit::Unplaceable);
        check("cancelled", &[("cancelled", "cancelled")], Exit::TasksFailed);
    }

    #[test]
    fn the_next_commands_fit_the_ending() {
        let failed = report("failed", &[("failed", "checks_failed")]);
        insta::assert_snapshot!(next(&failed).join("\n"), @"
        kapelle why r-42/1.4
        kapelle resume r-42 tries the rest again
        kapelle report r-42 tells it all
        git merge kapelle/r-42 takes the results into your branch
        ");
        let mut merged = report("succeeded", &[]);
        merged.run.unmerged = false;
        assert_eq!(next(&merged), ["kapelle report r-42 tells it all"]);
    }
}
