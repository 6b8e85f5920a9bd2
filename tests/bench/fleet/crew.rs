//! The process that all workers of a fleet are in, from the coordinator's side.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::{ChildStdin, Command};
use tokio::sync::oneshot;

use crate::stage::Stage;

/// The process. It ends when this is dropped.
pub(super) struct Crew {
    /// It works for as long as this is open.
    lifeline: Option<ChildStdin>,
    printed: oneshot::Receiver<Vec<u8>>,
}

impl Crew {
    pub(super) fn start(stage: &mut Stage, url: &str, workers: u32, slots: u32) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe().context("finding this program")?)
            .args(["fleet-workers", "--nats", url])
            .args(["--workers", &workers.to_string(), "--slots", &slots.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the workers")?;
        let lifeline = child.stdin.take();
        let (sender, printed) = oneshot::channel();
        stage.tend(async move {
            let output = child.wait_with_output().await.context("waiting for the workers")?;
            ensure!(output.status.success(), "the workers ended with {}", output.status);
            // Nobody may want it any more.
            drop(sender.send(output.stdout));
            std::future::pending().await
        });
        Ok(Self { lifeline, printed })
    }

    /// Ends it. Returns how long each claim has waited for its answer.
    pub(super) async fn finish(self, stage: &mut Stage) -> Result<Vec<Duration>> {
        drop(self.lifeline);
        let printed = stage.wait(async { Ok(self.printed.await?) }).await?;
        let micros: Vec<u64> = serde_json::from_slice(&printed).context("reading the claims")?;
        Ok(micros.into_iter().map(Duration::from_micros).collect())
    }
}
