//! A run, told from its beginning to its end.

use super::view::{ReportView, TaskReport};
use super::{Error, Service, show};

impl Service {
    /// A run with its tasks, their attempts and what was said to them.
    ///
    /// # Errors
    /// When there is no such run, or the store can't be read.
    pub async fn report(&self, id: &str) -> Result<ReportView, Error> {
        let id = self.find_run(id).await?;
        let run = self.stored_run(id).await?;
        let stored = self.tasks_of(id).await?;
        let views = self.task_views(id, &stored).await?;
        let mut tasks = Vec::with_capacity(stored.len());
        for (stored, task) in stored.iter().zip(views) {
            let commands = self.0.store.commands(stored.id).await?;
            tasks.push(TaskReport {
                task,
                attempts: self.attempt_views(stored).await?,
                commands: commands.iter().map(show::command).collect(),
            });
        }
        let end = run.record.finished_at.map_or_else(|| self.0.clock.now(), |at| at.0);
        let took_ms = u64::try_from(end.saturating_sub(run.record.submitted_at.0)).unwrap_or(0);
        Ok(ReportView {
            run: self.run_view(&run, &self.unmerged_at_hand().await?).await?,
            tasks,
            took_ms,
        })
    }
}
