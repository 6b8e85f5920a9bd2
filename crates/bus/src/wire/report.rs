//! Reports of workers about the end of an attempt.

use std::time::Duration;

use kapelle_domain::attempt::{Check, Outcome, ProcessExit, Report, Usage, Verdict, WorkResult};
use kapelle_proto::v1;

use super::{Malformed, millis, unknown};

pub(super) fn report(report: &Report) -> v1::Report {
    let Report { outcome, summary, exit, verdict: found, checks, result, usage } = report;
    let retry_after = match outcome {
        Outcome::RateLimited { retry_after } => millis(*retry_after),
        Outcome::Completed
        | Outcome::ChecksFailed
        | Outcome::AgentFailed
        | Outcome::TimedOut
        | Outcome::Infrastructure
        | Outcome::Unrunnable
        | Outcome::Cancelled
        | Outcome::Lost
        | Outcome::Interrupted
        | Outcome::Withdrawn => 0,
    };
    v1::Report {
        outcome: kind(outcome).into(),
        retry_after_ms: retry_after,
        summary: summary.clone(),
        exit: exit.map(|ProcessExit { code, signal }| v1::ProcessExit { code, signal }),
        verdict: verdict(*found).into(),
        checks: checks.iter().map(check).collect(),
        result: result.as_ref().map(work),
        usage: Some(v1::Usage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cost_microusd: usage.cost_microusd,
        }),
    }
}

pub(super) fn read_report(report: v1::Report) -> Result<Report, Malformed> {
    let outcome = read_outcome(report.outcome, report.retry_after_ms)?;
    let usage = report.usage.unwrap_or_default();
    Ok(Report {
        outcome,
        summary: report.summary,
        exit: report.exit.map(|v1::ProcessExit { code, signal }| ProcessExit { code, signal }),
        verdict: read_verdict(report.verdict)?,
        checks: report.checks.into_iter().map(read_check).collect::<Result<_, _>>()?,
        result: report.result.map(read_work),
        usage: Usage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cost_microusd: usage.cost_microusd,
        },
    })
}

fn kind(outcome: &Outcome) -> v1::Outcome {
    match outcome {
        Outcome::Completed => v1::Outcome::Completed,
        Outcome::ChecksFailed => v1::Outcome::ChecksFailed,
        Outcome::AgentFailed => v1::Outcome::AgentFailed,
        Outcome::TimedOut => v1::Outcome::TimedOut,
        Outcome::RateLimited { .. } => v1::Outcome::RateLimited,
        Outcome::Infrastructure => v1::Outcome::Infrastructure,
        Outcome::Unrunnable => v1::Outcome::Unrunnable,
        Outcome::Cancelled => v1::Outcome::Cancelled,
        Outcome::Lost => v1::Outcome::Lost,
        Outcome::Interrupted => v1::Outcome::Interrupted,
        Outcome::Withdrawn => v1::Outcome::Withdrawn,
    }
}

fn read_outcome(value: i32, retry_after_ms: u64) -> Result<Outcome, Malformed> {
    Ok(match v1::Outcome::try_from(value).map_err(|_| unknown("outcome", value))? {
        v1::Outcome::Unspecified => return Err(unknown("outcome", value)),
        v1::Outcome::Completed => Outcome::Completed,
        v1::Outcome::ChecksFailed => Outcome::ChecksFailed,
        v1::Outcome::AgentFailed => Outcome::AgentFailed,
        v1::Outcome::TimedOut => Outcome::TimedOut,
        v1::Outcome::RateLimited => {
            Outcome::RateLimited { retry_after: Duration::from_millis(retry_after_ms) }
        }
        v1::Outcome::Infrastructure => Outcome::Infrastructure,
        v1::Outcome::Unrunnable => Outcome::Unrunnable,
        v1::Outcome::Cancelled => Outcome::Cancelled,
        v1::Outcome::Lost => Outcome::Lost,
        v1::Outcome::Interrupted => Outcome::Interrupted,
        v1::Outcome::Withdrawn => Outcome::Withdrawn,
    })
}

fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Pass => v1::Verdict::Pass,
        Verdict::Fail => v1::Verdict::Fail,
        Verdict::Unknown => v1::Verdict::Unknown,
    }
}

fn read_verdict(value: i32) -> Result<Verdict, Malformed> {
    Ok(match v1::Verdict::try_from(value).map_err(|_| unknown("verdict", value))? {
        v1::Verdict::Unspecified => return Err(unknown("verdict", value)),
        v1::Verdict::Pass => Verdict::Pass,
        v1::Verdict::Fail => Verdict::Fail,
        v1::Verdict::Unknown => Verdict::Unknown,
    })
}

fn check(check: &Check) -> v1::Check {
    v1::Check {
        name: check.name.clone(),
        verdict: verdict(check.verdict).into(),
        detail: check.detail.clone(),
        took_ms: millis(check.took),
    }
}

fn read_check(check: v1::Check) -> Result<Check, Malformed> {
    Ok(Check {
        name: check.name,
        verdict: read_verdict(check.verdict)?,
        detail: check.detail,
        took: Duration::from_millis(check.took_ms),
    })
}

pub(super) fn work(result: &WorkResult) -> v1::WorkResult {
    v1::WorkResult {
        commit: result.commit.clone(),
        base: result.base.clone(),
        bundle: result.bundle.clone(),
        bundle_bytes: result.bundle_bytes,
        files_changed: result.files_changed,
        lines_added: result.lines_added,
        lines_deleted: result.lines_deleted,
    }
}

pub(super) fn read_work(result: v1::WorkResult) -> WorkResult {
    WorkResult {
        commit: result.commit,
        base: result.base,
        bundle: result.bundle,
        bundle_bytes: result.bundle_bytes,
        files_changed: result.files_changed,
        lines_added: result.lines_added,
        lines_deleted: result.lines_deleted,
    }
}
