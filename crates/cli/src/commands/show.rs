//! `kapelle show`.

use clap::Args;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::render::TaskDetail;

/// What `show` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle show @last           the newest run
  kapelle show r-42
  kapelle show r-42/1.2        a task with its attempts
  kapelle show 1.2             the same in the newest run that has it")]
pub struct ShowArgs {
    /// A run or a task
    #[arg(default_value = "@last")]
    id: String,
}

impl ShowArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        app.with(Need::Read, async |client: &Client| {
            if is_run(&self.id) {
                app.console.show(&client.run(&self.id).await?)?;
            } else {
                let task = client.task(&self.id).await?;
                let attempts = client.attempts(&task.id).await?;
                let commands = client.commands(&task.id).await?;
                app.console.show(&TaskDetail { task, attempts, commands })?;
            }
            Ok(Exit::Ok)
        })
        .await
    }
}

/// Whether `id` is that of a run: `r-42` or `@last`.
pub(super) fn is_run(id: &str) -> bool {
    let numbered = id.strip_prefix("r-").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    numbered || id.starts_with('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_told_apart_from_tasks() {
        for run in ["r-1", "r-42", "@last"] {
            assert!(is_run(run), "{run}");
        }
        for task in ["r-42/1.2", "1.2", "r-", "r-x", "A.4", ""] {
            assert!(!is_run(task), "{task}");
        }
    }
}
