//! Tasks of this process that end together, and the alarm when one fails that nothing goes on
//! without.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kapelle_runtime::telemetry::Chain;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that end together.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// Asks them to end.
    pub(super) end: CancellationToken,
    /// The tasks.
    pub(super) tasks: TaskTracker,
}

/// Says that the process is to end, and whether something failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Alarm {
    /// Somebody wants it to end, or it can't go on.
    pub(super) wanted: CancellationToken,
    failed: Arc<AtomicBool>,
}

impl Group {
    /// Runs a part without which nothing goes on. That it fails, or panics, raises the alarm.
    pub(super) fn run<P, E>(&self, name: &'static str, part: P, alarm: &Alarm)
    where
        P: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let running = self.tasks.spawn(part);
        let alarm = alarm.clone();
        // A second task watches the first: a panic would be swallowed otherwise.
        self.tasks.spawn(async move {
            match running.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => alarm.raise(name, &error),
                Err(panic) => alarm.raise(name, &panic),
            }
        });
    }

    /// Asks all to end, and waits until they have.
    pub(super) async fn finish(&self) {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Alarm {
    /// Whether something failed.
    pub(super) fn is_raised(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn raise(&self, part: &'static str, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(part, error = %Chain(error), "can't go on");
        self.failed.store(true, Ordering::Relaxed);
        self.wanted.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(
        part: impl Future<Output = Result<(), std::io::Error>> + Send + 'static,
    ) -> (bool, bool) {
        let (group, alarm) = (Group::default(), Alarm::default());
        group.run("part", part, &alarm);
        group.finish().await;
        (alarm.is_raised(), alarm.wanted.is_cancelled())
    }

    #[tokio::test]
    async fn a_part_that_fails_or_panics_ends_the_process() {
        assert_eq!(run(async { Ok(()) }).await, (false, false));
        let failing = async { Err(std::io::Error::other("the disk is gone")) };
        assert_eq!(run(failing).await, (true, true));
        assert_eq!(run(async { panic!("a mistake of ours") }).await, (true, true));
    }
}
