//! Transcripts of attempts, page by page.

use std::time::Duration;

use kapelle_domain::attempt::Phase;

use super::view::LogPage;
use super::{Error, Service};

/// Lines on a page.
const LINES_MAX: u32 = 1_000;

/// How long a request may wait for the next line.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl Service {
    /// The lines of an attempt after line `after`. When there is none yet and the attempt isn't
    /// over, it waits up to `wait` for one.
    ///
    /// # Errors
    /// When there is no such task or attempt, or its transcript can't be read.
    pub async fn logs(
        &self,
        id: &str,
        after: u64,
        limit: u32,
        wait: Duration,
    ) -> Result<LogPage, Error> {
        let limit = usize::try_from(limit.clamp(1, LINES_MAX)).unwrap_or(usize::MAX);
        let transcripts = &self.0.transcripts;
        let deadline = self
            .0
            .clock
            .now()
            .saturating_add(i64::try_from(wait.min(WAIT_MAX).as_millis()).unwrap_or(0));
        loop {
            let seen = transcripts.arrived();
            let (task, attempt) = self.find_attempt(id).await?;
            let left = u64::try_from(deadline.saturating_sub(self.0.clock.now())).unwrap_or(0);
            let Some(attempt) = attempt else {
                if left == 0 {
                    let name = format!("{}/{}#0", task.id.run, task.spec.key);
                    let complete = task.record.state.is_ended();
                    return Ok(LogPage { attempt: name, lines: Vec::new(), next: 0, complete });
                }
                transcripts.changed(Some(seen), Duration::from_millis(left.min(1_000))).await;
                continue;
            };
            let newest =
                task.record.attempt.as_ref().filter(|newest| newest.number == attempt.number);
            let over = newest.is_none_or(|newest| newest.phase == Phase::Ended);
            let lines = transcripts.page(attempt, after, limit).await.map_err(|error| {
                Error::internal("transcript", format!("the transcript can't be read: {error}"))
            })?;
            if !lines.is_empty() || over || left == 0 {
                let next = lines.last().map_or(after, |line| line.n);
                let complete = over && lines.len() < limit;
                let attempt = format!("{}/{}#{}", task.id.run, task.spec.key, attempt.number);
                return Ok(LogPage { attempt, lines, next, complete });
            }
            // The end of the attempt brings no line; so it is looked for once a second as well.
            transcripts.changed(Some(seen), Duration::from_millis(left.min(1_000))).await;
        }
    }
}
