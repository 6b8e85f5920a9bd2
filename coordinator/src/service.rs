//! What can be asked of a coordinator: one function for each use, whoever asks.
//!
//! HTTP, the command line and later tools translate to this and nothing more. No rule is decided
//! here: inputs go to the engine, answers are read from the store, which holds everything that
//! was ever committed, or from the engine's memory, where only that knows.

mod admission;
mod agents;
mod command;
mod error;
mod goal;
mod logs;
mod queries;
mod report;
mod select;
mod show;
mod submit;
mod taken;
mod turns;
pub mod view;
mod watch;
mod why;

use std::sync::Arc;

use kapelle_runtime::clock::Clock;
use kapelle_runtime::identity::Identity;
use kapelle_store::Store;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::dispatch::Engine;
use crate::project::Project;
use crate::transcripts::Transcripts;
use turns::Turns;

pub(crate) use command::Ordered;
pub use error::{Error, Kind};
pub(crate) use submit::wanted_target;
pub(crate) use watch::Keys;
pub use watch::Watched;

/// What the service is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The project.
    pub project: Project,
    /// The way to the engine.
    pub engine: Engine,
    /// What was committed.
    pub store: Arc<Store>,
    /// What agents print.
    pub transcripts: Transcripts,
    /// Lets machines into the fleet, where there is one.
    pub admission: Option<Admission>,
    /// The clock.
    pub clock: Clock,
    /// Mints the unique names of runs.
    pub identity: Arc<Identity>,
    /// What the process was started as, such as `run` or `up`.
    pub role: &'static str,
    /// Cancelled to have the process end in good order.
    pub shutdown: CancellationToken,
}

/// Everything that can be asked; cheap to clone.
#[derive(Debug, Clone)]
pub struct Service(Arc<Parts>, Arc<Turns>);

impl Service {
    /// A service over these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts), Arc::default())
    }

    /// The process that answers.
    #[must_use]
    pub fn health(&self) -> view::HealthView {
        view::HealthView {
            status: view::HealthView::status_of(self.is_draining()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            project: self.0.project.root().display().to_string(),
            role: self.0.role.to_owned(),
        }
    }

    /// Whether the coordinator can decide and record.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn ready(&self) -> Result<(), Error> {
        self.0.engine.read(|_| ()).await?;
        self.0.store.last_seq().await?;
        Ok(())
    }

    /// Asks the process to take nothing new, finish what runs, and end.
    pub fn shutdown(&self) {
        self.0.shutdown.cancel();
    }

    /// Whether it was asked to.
    fn is_draining(&self) -> bool {
        self.0.shutdown.is_cancelled()
    }

    /// Work that nobody would do must not be taken.
    fn require_takes_work(&self) -> Result<(), Error> {
        if self.is_draining() {
            return Err(Error {
                kind: Kind::Unavailable,
                code: "draining",
                message: "the coordinator is draining: it takes nothing new, and ends when what \
                          runs is done"
                    .to_owned(),
                hint: Some(
                    "do it again when it has ended; `kapelle status` shows what runs".to_owned(),
                ),
            });
        }
        Ok(())
    }
}
