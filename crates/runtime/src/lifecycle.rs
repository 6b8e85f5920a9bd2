//! How a process ends: who is asked to stop, in what order, and how long anyone may take.
//!
//! Two tokens say it all. *Soft* asks every component to stop admitting work and to drain; *hard*
//! asks it to drop what it holds. Soft is a child of hard, so hard implies soft. The first signal
//! cancels soft, the second hard; a failing component cancels soft, and so does
//! [`Lifecycle::shutdown`], which escalates to hard when the grace is over.
//!
//! Every long-lived task of a process is spawned here, so that none outlives it unseen.
//! Components that want the results of their own tasks keep a `JoinSet` instead.

use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::Chain;

/// How long tasks may take to return once hard is cancelled. They have nothing left to wait
/// for then; one that has not returned after this is stuck, and is given up.
const HARD_GRACE: Duration = Duration::from_secs(5);

/// A component of the process, as [`Lifecycle::spawn`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceKind {
    /// Names the component in logs.
    pub name: &'static str,
    /// What its failure means for the process.
    pub on_error: OnError,
}

/// What the failure (or panic) of a component means for the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The process cannot do its work without it: drain and end with a failure.
    Shutdown,
    /// The process is poorer without it but goes on.
    Log,
}

/// The process's tasks and the two tokens that end them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    signals: TaskTracker,
    ended: CancellationToken,
    failed: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

/// How the process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// A component with [`OnError::Shutdown`] failed: the exit code must not be zero.
    pub failed: bool,
    /// A signal asked for the end.
    pub interrupted: bool,
    /// Hard was cancelled: by a second signal, or because the grace was over.
    pub forced: bool,
    /// Tasks that did not return even so. They die with the process.
    pub stuck: usize,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A running process without tasks; no signal is handled yet.
    #[must_use]
    pub fn new() -> Self {
        let hard = CancellationToken::new();
        Self {
            soft: hard.child_token(),
            hard,
            tasks: TaskTracker::new(),
            signals: TaskTracker::new(),
            ended: CancellationToken::new(),
            failed: Arc::default(),
            interrupted: Arc::default(),
        }
    }

    /// Cancelled when work must not be admitted any more and what runs should drain.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when there is no time left to drain.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Runs a component until it returns. It must end soon after [`Self::soft`] is cancelled
    /// (draining) and at once when [`Self::hard`] is. An error or a panic is logged, with its
    /// causes, and answered as `kind.on_error` says.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn spawn<F, E>(&self, kind: ServiceKind, service: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let running = self.tasks.spawn(service);
        let lifecycle = self.clone();
        // A second task watches the first, so that a panic is seen and not only swallowed.
        self.tasks.spawn(async move {
            match running.await {
                Ok(Ok(())) => tracing::debug!(service = kind.name, "service ended"),
                Ok(Err(error)) => lifecycle.answer_failure(kind, &error),
                Err(panic) => lifecycle.answer_failure(kind, &panic),
            }
        });
    }

    fn answer_failure(&self, kind: ServiceKind, error: &(dyn Error + 'static)) {
        match kind.on_error {
            OnError::Shutdown => {
                tracing::error!(service = kind.name, error = %Chain(error), "service failed");
                self.failed.store(true, Ordering::SeqCst);
                self.soft.cancel();
            }
            OnError::Log => {
                tracing::warn!(service = kind.name, error = %Chain(error), "service failed");
            }
        }
    }

    /// Takes over SIGINT and SIGTERM: the first cancels soft, the second hard. A client that
    /// wants the usual effect of Ctrl-C does not call this.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn install_signals(&self) -> io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let lifecycle = self.clone();
        self.signals.spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = lifecycle.ended.cancelled() => return,
                }
                lifecycle.interrupted.store(true, Ordering::SeqCst);
                if lifecycle.soft.is_cancelled() {
                    tracing::warn!("second signal: stopping at once");
                    lifecycle.hard.cancel();
                } else {
                    tracing::info!("signal: draining; a second one stops at once");
                    lifecycle.soft.cancel();
                }
            }
        });
        Ok(())
    }

    /// Drains and waits for every task: cancels soft, hard after `grace`, and gives up on tasks
    /// that still do not return. Signals are obeyed until it returns.
    pub async fn shutdown(&self, grace: Duration) -> Ending {
        self.soft.cancel();
        self.tasks.close();
        let drained = tokio::select! {
            () = self.tasks.wait() => true,
            () = self.hard.cancelled() => false,
            () = tokio::time::sleep(grace) => false,
        };
        if !drained {
            self.hard.cancel();
            // Whether they made it or not is counted below.
            let _ = tokio::time::timeout(HARD_GRACE, self.tasks.wait()).await;
        }
        self.ended.cancel();
        self.signals.close();
        self.signals.wait().await;
        Ending {
            failed: self.failed.load(Ordering::SeqCst),
            interrupted: self.interrupted.load(Ordering::SeqCst),
            forced: self.hard.is_cancelled(),
            // Two tasks each: the service and its watcher.
            stuck: self.tasks.len().div_ceil(2),
        }
    }
}

#[cfg(test)]
mod tests;
