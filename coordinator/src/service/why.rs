//! Why something isn't running, in words.

use std::time::Duration;

use kapelle_domain::attempt::{FailureClass, Phase, Verdict};
use kapelle_domain::engine::{Explanation, Wait, Waiting};
use kapelle_domain::ids::{TaskId, Timestamp};
use kapelle_domain::prompt::tail;
use kapelle_domain::roadmap::Status;
use kapelle_domain::selection::{self, Taken};
use kapelle_domain::task::{Failure, TaskState};
use kapelle_domain::words::plural;
use kapelle_store::StoredTask;

use super::view::WhyView;
use super::{Error, Kind, Service, show, taken};

/// The longest quotation of a failure.
const DETAIL_BYTES_MAX: usize = 2_000;

impl Service {
    /// Why a task, or a work stream that no run has, isn't running; or what it is doing.
    ///
    /// # Errors
    /// When there is neither, or the store or the roadmap can't be read.
    pub async fn why(&self, id: &str) -> Result<WhyView, Error> {
        let task = match self.find_task(id).await {
            Ok(task) => task,
            Err(error) if error.kind == Kind::NotFound => return self.why_stream(id, error).await,
            Err(error) => return Err(error),
        };
        let view = self.task_view(&task).await?;
        let mut details = Vec::new();
        let mut hints = Vec::new();
        if matches!(task.record.state, TaskState::Succeeded { .. }) {
            self.add_what_follows(&view.key, &mut details, &mut hints).await?;
        }
        if let Some(cancel) = &task.record.cancel {
            details.push(format!("it was ordered to end: {cancel}"));
        }
        if let Some(reason) = &task.record.paused {
            details.push(format!("it is paused: {reason}"));
            hints.push(format!("kapelle resume {}", view.id));
        }
        if let Some(explanation) = self.explanation(task.id).await? {
            self.add_holders(&explanation, &mut details).await?;
            if self.is_draining() && is_to_start(&explanation.reason) {
                hints.push(format!("kapelle resume {}, when it has ended", view.run));
            } else {
                hints.extend(hint(&explanation.reason, &view.id));
            }
        }
        if let Some(snapshot) =
            task.record.snapshot.as_ref().filter(|_| !task.record.state.is_ended())
        {
            let (attempt, files) = (snapshot.attempt, snapshot.work.files_changed);
            let kept = format!("work in progress of attempt {attempt} is kept ({files} files)");
            details.push(format!("{kept}; if it is cut off, the next one goes on from there"));
        }
        let attempts = self.0.store.attempts(task.id).await?;
        let mut refusals = self.refusals(&task, &attempts).await?;
        for attempt in attempts {
            let from = attempt.grant.as_ref().and_then(|grant| grant.goes_on_from);
            details.extend(from.map(|earlier| {
                format!("attempt {} went on from the work of attempt {earlier}", attempt.number)
            }));
            let Some(report) = &attempt.report else { continue };
            let outcome = report.outcome.name();
            details
                .push(format!("attempt {} ended ({outcome}): {}", attempt.number, report.summary));
            let failed = report.checks.iter().filter(|check| check.verdict != Verdict::Pass);
            details.extend(failed.map(|check| {
                format!("  check `{}`: {}", check.name, tail(&check.detail, DETAIL_BYTES_MAX))
            }));
            details.extend(refusals.remove(&attempt.number).map(|reason| {
                format!("  its result was not integrated: {}", tail(&reason, DETAIL_BYTES_MAX))
            }));
        }
        if matches!(task.record.state, TaskState::Failed { .. }) {
            hints.push(format!("kapelle logs {}", view.id));
            hints.push(format!("kapelle resume {}", view.run));
        }
        Ok(WhyView {
            id: view.id.clone(),
            title: view.title.clone(),
            answer: format!("{}: {}", view.state, view.reason),
            details,
            task: Some(view),
            hints,
        })
    }

    /// What is left to do for a work stream that a run has done.
    async fn add_what_follows(
        &self,
        key: &str,
        details: &mut Vec<String>,
        hints: &mut Vec<String>,
    ) -> Result<(), Error> {
        let Ok((_, roadmap)) = self.0.project.roadmap().await else { return Ok(()) };
        let found = roadmap.streams.iter().find(|stream| stream.id.as_str() == key);
        let Some(stream) = found.filter(|stream| stream.status != Status::Complete) else {
            return Ok(());
        };
        if let Some(branch) = self.unmerged(Some(&roadmap)).await?.get(&stream.id) {
            details.push(selection::unmerged_in(branch));
            hints.push(taken::merge_command(branch));
        } else {
            details.push("the roadmap doesn't call it complete; it can be run again".to_owned());
            hints.push(format!("kapelle run {key}"));
        }
        Ok(())
    }

    async fn why_stream(&self, id: &str, unknown: Error) -> Result<WhyView, Error> {
        let Ok((_, roadmap)) = self.0.project.roadmap().await else { return Err(unknown) };
        let availability = roadmap.availability();
        let found =
            availability.iter().find(|known| roadmap.streams[known.position].id.as_str() == id);
        let Some(found) = found else { return Err(unknown) };
        let stream = &roadmap.streams[found.position];
        let taken = self.taken(self.unmerged(Some(&roadmap)).await?).await?;
        let (answer, hints) = match (&found.why_not, taken.get(&stream.id)) {
            (_, Some(Taken::Unmerged(branch))) => {
                (selection::unmerged_in(branch), vec![taken::merge_command(branch)])
            }
            (None, Some(Taken::By(task))) => {
                (format!("{task} works on it"), vec![format!("kapelle why {task}")])
            }
            (None, None) => ("nobody has started it".to_owned(), vec![format!("kapelle run {id}")]),
            (Some(why_not), Some(Taken::By(_)) | None) => {
                (selection::explain(why_not, &taken), Vec::new())
            }
        };
        let stale = "it is marked blocked, but everything that it depends on is complete";
        Ok(WhyView {
            id: id.to_owned(),
            title: stream.name.clone(),
            answer,
            details: found.stale_mark.then(|| stale.to_owned()).into_iter().collect(),
            task: None,
            hints,
        })
    }

    /// Who has what a task waits for.
    async fn add_holders(
        &self,
        explanation: &Explanation,
        details: &mut Vec<String>,
    ) -> Result<(), Error> {
        if !matches!(explanation.reason, Waiting::Room { .. }) {
            return Ok(());
        }
        let holders = self
            .0
            .engine
            .read(|world| {
                let live = world
                    .runs()
                    .flat_map(|run| &run.tasks)
                    .filter(|task| task.live_attempt().is_some());
                live.map(|task| show::name(task.id, &task.spec)).collect::<Vec<_>>()
            })
            .await?;
        if !holders.is_empty() {
            details.push(format!("running now: {}", holders.join(", ")));
        }
        Ok(())
    }
}

/// Why nothing is started any more.
pub(super) const DRAINING: &str = "the coordinator is draining: nothing new is started";

/// Whether it waits for nothing but to be started by the coordinator.
pub(super) fn is_to_start(reason: &Waiting) -> bool {
    match reason {
        Waiting::Room { wait } => !matches!(wait, Wait::Paused { .. } | Wait::Deferred { .. }),
        Waiting::Next | Waiting::Retry { .. } => true,
        Waiting::Dependencies { .. }
        | Waiting::Offered
        | Waiting::Held { .. }
        | Waiting::Reported { .. }
        | Waiting::Integration { .. }
        | Waiting::Hindered { .. }
        | Waiting::Succeeded { .. }
        | Waiting::Failed { .. }
        | Waiting::Cancelled
        | Waiting::Skipped { .. } => false,
    }
}

fn hint(reason: &Waiting, id: &str) -> Option<String> {
    match reason {
        Waiting::Room { wait: Wait::NoWorker { .. } } | Waiting::Reported { .. } => {
            Some("kapelle resume, or kapelle up".to_owned())
        }
        Waiting::Held { .. } => Some(format!("kapelle logs -f {id}")),
        Waiting::Dependencies { on } => on.first().map(|key| format!("kapelle why {key}")),
        Waiting::Skipped { because } => Some(format!("kapelle why {because}")),
        Waiting::Hindered { .. }
        | Waiting::Room { .. }
        | Waiting::Next
        | Waiting::Offered
        | Waiting::Retry { .. }
        | Waiting::Integration { .. }
        | Waiting::Succeeded { .. }
        | Waiting::Failed { .. }
        | Waiting::Cancelled => None,
    }
}

/// An explanation in one line.
pub(super) fn in_words(explanation: &Explanation, now_ms: i64) -> String {
    match &explanation.reason {
        Waiting::Dependencies { on } => format!("waits for {}", on.join(", ")),
        Waiting::Room { wait } => wait_in_words(wait),
        Waiting::Next => "is offered next".to_owned(),
        Waiting::Offered => "is offered; no worker has taken it yet".to_owned(),
        Waiting::Held { worker, phase, started_at, paused } => {
            let since = started_at.map(|at| span(Timestamp(now_ms).since(at))).unwrap_or_default();
            match phase {
                Phase::Claimed => format!("is being prepared on {worker}"),
                Phase::Running if *paused => format!("is paused on {worker}"),
                Phase::Running => format!("runs on {worker} for {since}"),
                Phase::Suspect => format!("nothing was heard of {worker} lately"),
                Phase::Cancelling => format!("is being stopped on {worker}"),
                Phase::Offered | Phase::Ended => format!("is with {worker}"),
            }
        }
        Waiting::Reported { worker } => {
            format!("its agent has ended; the report waits to be delivered by {worker}")
        }
        Waiting::Retry { until, class } => {
            let wait = span(until.since(Timestamp(now_ms)));
            format!("{}; tried again in {wait}", class_in_words(*class))
        }
        Waiting::Integration { ahead: 0 } => "its result is being integrated".to_owned(),
        Waiting::Integration { ahead } => {
            format!("its result waits in the merge queue behind {ahead}")
        }
        Waiting::Hindered { reason, times, until } => {
            let wait = span(until.since(Timestamp(now_ms)));
            format!(
                "its result is kept, and integrated later (try {} in {wait}): {reason}",
                times + 1
            )
        }
        Waiting::Succeeded { commit: Some(commit) } => {
            format!("integrated in {}", show::short(commit))
        }
        Waiting::Succeeded { commit: None } => "done".to_owned(),
        Waiting::Failed { failure } => failed(failure, explanation.task),
        Waiting::Cancelled => {
            explanation.cancel.clone().unwrap_or_else(|| "stopped by order".to_owned())
        }
        Waiting::Skipped { because } => format!("{because}, which it depends on, didn't succeed"),
    }
}

/// The same for a task whose run is no longer in memory.
pub(super) fn of_ended(task: &StoredTask, keys: &[String]) -> String {
    match &task.record.state {
        TaskState::Succeeded { commit: Some(commit) } => {
            format!("integrated in {}", show::short(commit))
        }
        TaskState::Succeeded { commit: None } => "done".to_owned(),
        TaskState::Failed { failure } => failed(failure, task.id),
        TaskState::Cancelled { .. } => "stopped by order".to_owned(),
        TaskState::Skipped { because } => {
            let index = usize::try_from(*because).unwrap_or(usize::MAX);
            let key = keys.get(index).cloned().unwrap_or_default();
            format!("{key}, which it depends on, didn't succeed")
        }
        TaskState::Blocked
        | TaskState::Ready
        | TaskState::Active
        | TaskState::RetryWait { .. }
        | TaskState::Integrating { .. } => "its run is not loaded".to_owned(),
    }
}

fn failed(failure: &Failure, task: TaskId) -> String {
    match failure.class {
        FailureClass::Integration => format!(
            "its result is kept and could not be integrated: {}; `kapelle resume {}` tries it again, \
             without an agent",
            failure.reason, task.run
        ),
        FailureClass::Application
        | FailureClass::Infrastructure
        | FailureClass::RateLimit
        | FailureClass::Final
        | FailureClass::Uncounted => failure.reason.clone(),
    }
}

fn wait_in_words(wait: &Wait) -> String {
    let full = |limit: u32, what: &str, of: &str| {
        let be = if limit == 1 { "is" } else { "are" };
        format!("{}{of} {be} live, and more may not be", plural(limit, what))
    };
    match wait {
        Wait::RunConcurrency { limit } => full(*limit, "task", " of the run"),
        Wait::TotalLimit { limit } => full(*limit, "task", ""),
        Wait::AgentLimit { agent, limit } => {
            full(*limit, "attempt", &format!(" of the agent {agent}"))
        }
        Wait::RepositoryLimit { limit, .. } => full(*limit, "attempt", " in this repository"),
        Wait::NoWorker { agent, missing } if missing.is_empty() => {
            format!("no worker is there that has the agent {agent}")
        }
        Wait::NoWorker { agent, missing } => {
            format!("no worker with the agent {agent} fits {}", missing.join(", "))
        }
        Wait::Paused { reason } => format!("it is paused: {reason}"),
        Wait::Deferred { until, reason } => format!("it waits for {until} by order: {reason}"),
        Wait::NoFreeSlot { agent } => format!("every worker that has the agent {agent} is full"),
    }
}

fn class_in_words(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Application => "the last attempt failed",
        FailureClass::Infrastructure => "the machinery failed",
        FailureClass::RateLimit => "its provider asked to wait",
        FailureClass::Integration => "its result could not be integrated",
        FailureClass::Final => "it can't be run",
        FailureClass::Uncounted => "it was interrupted",
    }
}

/// A time span as people read it.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_the_right_number() {
        let check = |wait: Wait, expected: &str| assert_eq!(wait_in_words(&wait), expected);
        let run = |limit| Wait::RunConcurrency { limit };
        check(run(1), "1 task of the run is live, and more may not be");
        check(run(3), "3 tasks of the run are live, and more may not be");
        check(Wait::TotalLimit { limit: 1 }, "1 task is live, and more may not be");
        let agent = Wait::AgentLimit { agent: "fox".into(), limit: 2 };
        check(agent, "2 attempts of the agent fox are live, and more may not be");
    }
}
