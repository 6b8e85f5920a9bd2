//! From what people type to runs, tasks and attempts.
//!
//! `r-42` and `@last` are runs; `r-42/1.2` and `r-42/t3` are tasks; `1.2` is that task in the
//! newest run that has it; `#2` behind a task is its second attempt.

use kapelle_domain::ids::{AttemptId, RunId, TaskId};
use kapelle_store::StoredTask;

use super::{Error, Service, show};

/// Runs that are searched for a task given by its key alone.
const SEARCHED_RUNS_MAX: u32 = 50;

/// Tasks that are read at once.
const TASKS_PAGE: u32 = 500;

impl Service {
    /// A run by its id or `@last`.
    pub(super) async fn find_run(&self, text: &str) -> Result<RunId, Error> {
        if text == "@last" {
            let latest = self.0.store.latest_run().await?;
            return latest.map(|run| run.id).ok_or_else(|| {
                Error::not_found("no_runs", "there are no runs yet")
                    .hint("`kapelle run` starts one")
            });
        }
        text.parse().map_err(|_| {
            Error::invalid("malformed_id", format!("`{text}` is not a run"))
                .hint("a run is given as r-42, or as @last")
        })
    }

    /// A task by run and key, run and position, or key alone.
    pub(super) async fn find_task(&self, text: &str) -> Result<StoredTask, Error> {
        let unknown = || {
            Error::not_found("unknown_task", format!("there is no task {text}"))
                .hint("`kapelle status` lists the tasks; one is given as r-42/1.2, or as 1.2")
        };
        if let Ok(id) = text.parse::<TaskId>() {
            return self.0.store.task(id).await?.ok_or_else(unknown);
        }
        if let Some((run, key)) = text.split_once('/') {
            let run = self.find_run(run).await?;
            return self.task_by_key(run, key).await?.ok_or_else(unknown);
        }
        let filter =
            kapelle_store::RunFilter { status: None, before: None, limit: SEARCHED_RUNS_MAX };
        for run in self.0.store.runs(filter).await? {
            if let Some(task) = self.task_by_key(run.id, text).await? {
                return Ok(task);
            }
        }
        Err(unknown())
    }

    /// A task's attempt: the one behind `#`, else the newest.
    pub(super) async fn find_attempt(
        &self,
        text: &str,
    ) -> Result<(StoredTask, Option<AttemptId>), Error> {
        let (task, number) = match text.split_once('#') {
            Some((task, number)) => {
                let number: u32 = number.parse().map_err(|_| {
                    Error::invalid("malformed_id", format!("`{text}` is not an attempt"))
                        .hint("an attempt is given as r-42/1.2#1")
                })?;
                (self.find_task(task).await?, Some(number))
            }
            None => (self.find_task(text).await?, None),
        };
        let newest = task.record.attempt.as_ref().map(|attempt| attempt.number);
        let number = match (number, newest) {
            (Some(number), Some(newest)) if (1..=newest).contains(&number) => Some(number),
            (Some(number), _) => {
                let message =
                    format!("{} has no attempt {number}", show::name(task.id, &task.spec));
                return Err(Error::not_found("unknown_attempt", message));
            }
            (None, newest) => newest,
        };
        let attempt = number.map(|number| AttemptId { task: task.id, number });
        Ok((task, attempt))
    }

    /// All tasks of a run, in the order of its plan.
    pub(super) async fn tasks_of(&self, run: RunId) -> Result<Vec<StoredTask>, Error> {
        let mut tasks: Vec<StoredTask> = Vec::new();
        loop {
            let from = tasks.last().map_or(0, |task| task.id.index + 1);
            let page = self.0.store.tasks(run, from, TASKS_PAGE).await?;
            let full = page.len() >= usize::try_from(TASKS_PAGE).unwrap_or(usize::MAX);
            tasks.extend(page);
            if !full {
                return Ok(tasks);
            }
        }
    }

    async fn task_by_key(&self, run: RunId, key: &str) -> Result<Option<StoredTask>, Error> {
        let tasks = self.tasks_of(run).await?;
        Ok(tasks.into_iter().find(|task| task.spec.key == key))
    }
}
