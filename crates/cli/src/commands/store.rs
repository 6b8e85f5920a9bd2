//! `kapelle store`: copies of the state database, and looking after it.
//!
//! These commands work on the database itself. They need no coordinator; one that works meanwhile
//! is in the way of none but `restore` and `migrate`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kapelle_domain::policy::Limits;
use kapelle_runtime::identity;
use kapelle_store::{Error as StoreError, Folded, Mode, OpenOptions, Restored, Store};
use serde::Serialize;

use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Canvas, Show, plural};

/// What `store` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle store backup ../kapelle-state.db
  kapelle store check
  kapelle store check ../kapelle-state.db
  kapelle store restore ../kapelle-state.db

A backup holds the database: runs, tasks, attempts, events. Transcripts (.kapelle/logs) and results
that wait for integration (.kapelle/results) are files of their own.")]
pub struct StoreArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a complete copy into a new file, while work goes on
    Backup {
        /// The new file
        file: PathBuf,
    },
    /// Look for damage, and whether the tables say what the event log says
    Check {
        /// A backup, instead of the database in use
        file: Option<PathBuf>,
    },
    /// Verify a backup and put it in the place of the database, which is moved aside
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Bring the database of an older version up to date; any run does it too
    Migrate,
}

impl StoreArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let at = |file: PathBuf| std::path::absolute(&file).map_err(Error::file("find", file));
        match self.what {
            What::Backup { file } => {
                app.console.show(&backup(&place(app).await?, at(file)?).await?)
            }
            What::Check { file: Some(file) } => app.console.show(&check(at(file)?).await?),
            What::Check { file: None } => app.console.show(&check(place(app).await?).await?),
            What::Restore { file } => {
                let restored = restore(&at(file)?, place(app).await?).await?;
                app.console.show(&restored)?;
                app.console.hint(
                    "what was integrated since the backup is in git, and done again by `kapelle \
                     resume`; `kapelle stop` ends the open runs instead",
                );
                Ok(())
            }
            What::Migrate => app.console.show(&migrate(place(app).await?).await?),
        }?;
        Ok(Exit::Ok)
    }
}

/// The database of the project.
async fn place(app: &App) -> Result<PathBuf, Error> {
    let project = app.project().await?;
    Ok(project.config().store.path(project.root()))
}

async fn open(path: &Path, mode: Mode) -> Result<Store, StoreError> {
    Store::open(OpenOptions { path: path.to_owned(), mode, new_epoch: new_epoch() }).await
}

/// A random number. SQL integers are signed.
fn new_epoch() -> u64 {
    identity::seed() >> 1
}

async fn backup(place: &Path, file: PathBuf) -> Result<Backup, Error> {
    if file.exists() {
        let message = format!("{} exists already", file.display());
        return Err(Error::usage(message, "name a new file; backups are never overwritten"));
    }
    let store = open(place, Mode::Read).await?;
    if let Err(error) = store.backup(&file).await {
        // Half a copy is none.
        drop(std::fs::remove_file(&file));
        return Err(error.into());
    }
    let bytes = file.metadata().map_err(Error::file("read", &file))?.len();
    store.close().await?;
    Ok(Backup { file, bytes })
}

async fn check(place: PathBuf) -> Result<Checked, Error> {
    let store = open(&place, Mode::Read).await?;
    store.check().await?;
    let folded = store.verify_fold(Limits::default()).await?;
    store.close().await?;
    Ok(Checked { store: place, verified: folded.into() })
}

async fn restore(file: &Path, place: PathBuf) -> Result<RestoredView, Error> {
    let Restored { replaced, folded } = Store::restore(file, &place, new_epoch()).await?;
    Ok(RestoredView { store: place, replaced, verified: folded.into() })
}

async fn migrate(place: PathBuf) -> Result<Migrated, Error> {
    let from = match open(&place, Mode::Read).await {
        Ok(store) => {
            store.close().await?;
            None
        }
        Err(StoreError::OlderSchema { found, .. }) => Some(found),
        Err(error) => return Err(error.into()),
    };
    if from.is_some() {
        open(&place, Mode::Lead).await?.close().await?;
    }
    Ok(Migrated { store: place, from })
}

#[derive(Debug, Serialize)]
struct Backup {
    file: PathBuf,
    bytes: u64,
}

/// What was compared, and found to agree.
#[derive(Debug, Serialize)]
struct Verified {
    events: u64,
    runs: usize,
    tasks: usize,
}

#[derive(Debug, Serialize)]
struct Checked {
    store: PathBuf,
    #[serde(flatten)]
    verified: Verified,
}

#[derive(Debug, Serialize)]
struct RestoredView {
    store: PathBuf,
    replaced: Option<PathBuf>,
    #[serde(flatten)]
    verified: Verified,
}

#[derive(Debug, Serialize)]
struct Migrated {
    store: PathBuf,
    from: Option<i64>,
}

impl From<Folded> for Verified {
    fn from(Folded { events, runs, tasks }: Folded) -> Self {
        Self { events, runs, tasks }
    }
}

fn name(path: &Path) -> Vec<String> {
    vec![path.display().to_string()]
}

impl Show for Backup {
    fn text(&self, _: &Canvas) -> String {
        format!("{}: a complete copy, {} bytes\n", self.file.display(), self.bytes)
    }

    fn names(&self) -> Vec<String> {
        name(&self.file)
    }
}

impl Verified {
    fn text(&self) -> String {
        format!(
            "{} in the log; {} and {} in the tables say the same",
            plural(usize::try_from(self.events).unwrap_or(usize::MAX), "event"),
            plural(self.runs, "run"),
            plural(self.tasks, "task")
        )
    }
}

impl Show for Checked {
    fn text(&self, _: &Canvas) -> String {
        format!("{}: no damage. {}.\n", self.store.display(), self.verified.text())
    }

    fn names(&self) -> Vec<String> {
        name(&self.store)
    }
}

impl Show for RestoredView {
    fn text(&self, _: &Canvas) -> String {
        let aside = self.replaced.as_ref().map_or_else(String::new, |replaced| {
            format!("What was there before is {}.\n", replaced.display())
        });
        format!("{}: restored. {}.\n{aside}", self.store.display(), self.verified.text())
    }

    fn names(&self) -> Vec<String> {
        name(&self.store)
    }
}

impl Show for Migrated {
    fn text(&self, _: &Canvas) -> String {
        match self.from {
            Some(from) => format!(
                "{}: migrated from schema {from}; what it was before lies beside it.\n",
                self.store.display()
            ),
            None => format!("{}: up to date.\n", self.store.display()),
        }
    }

    fn names(&self) -> Vec<String> {
        name(&self.store)
    }
}
