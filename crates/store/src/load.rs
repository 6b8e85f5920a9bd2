//! Loading what a coordinator's memory is built from.

use std::sync::Arc;

use kapelle_domain::engine::Snapshot;
use kapelle_domain::ids::{RunId, SessionEpoch};
use kapelle_domain::plan::TaskSpec;
use kapelle_domain::run::RunRecord;
use kapelle_domain::task::TaskRecord;
use kapelle_domain::worker::Registration;

use crate::error::{Error, Site};
use crate::names;
use crate::read;
use crate::record::Table;
use crate::sqlite::Connection;
use crate::store::Store;

/// A run's tasks in the order of its plan.
pub type LoadedTasks = Vec<(Arc<TaskSpec>, TaskRecord)>;

/// A run with its tasks.
pub type LoadedRun = (RunRecord, LoadedTasks);

static MAXIMA: Table =
    Table { name: "run, worker", key: &[], reading: "reading the newest numbers" };

static WORKER: Table =
    Table { name: "worker", key: &["worker_id"], reading: "reading the workers" };

impl Store {
    /// Everything that a coordinator must know to go on: the open runs, the workers of other
    /// processes, and the numbers that were given away already. Takes as long as it takes.
    ///
    /// # Errors
    /// When the database can't be read, or [`Error::Inconsistent`] for the first row that doesn't
    /// hold what it must.
    pub async fn load(&self) -> Result<Snapshot, Error> {
        let site = self.site("loading the open runs");
        let mut transaction = self.begin_read(site.doing).await?;
        let text = "SELECT (SELECT COALESCE(MAX(run_id), 0) FROM run) AS last_run,
            (SELECT COALESCE(MAX(session), 0) FROM worker) AS last_session";
        let rows = MAXIMA.select(&mut transaction, site, sqlx::query(text)).await?;
        let mut snapshot = Snapshot::default();
        if let Some(row) = rows.first() {
            snapshot.last_run = RunId(row.number("last_run")?);
            snapshot.last_session = SessionEpoch(row.number("last_session")?);
        }
        let text = "SELECT run_id, record FROM run WHERE outcome IS NULL ORDER BY run_id";
        for row in read::RUN.select(&mut transaction, site, sqlx::query(text)).await? {
            let id = RunId(row.number("run_id")?);
            let record: RunRecord = row.json("record")?;
            if record.outcome.is_some() {
                return Err(row.inconsistent("outcome", "the record says that the run has ended"));
            }
            let tasks = load_tasks(&mut transaction, site, id).await?;
            snapshot.runs.push((id, record, tasks));
        }
        let text = "SELECT worker_id, session, state, registration FROM worker
            WHERE state <> 'gone' ORDER BY worker_id";
        for row in WORKER.select(&mut transaction, site, sqlx::query(text)).await? {
            let registration: Registration = row.json("registration")?;
            let state: String = row.get("state")?;
            let duty = names::parse_worker_state(&state).ok_or_else(|| {
                row.inconsistent("state", format!("`{state}` is no state of a worker"))
            })?;
            // One that lived in a coordinator's process has died with it.
            if !registration.embedded {
                let session = SessionEpoch(row.number("session")?);
                snapshot.workers.push((registration, session, duty));
            }
        }
        Ok(snapshot)
    }

    /// A run with all its tasks, open or ended; `None` when there is none.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub async fn load_run(&self, id: RunId) -> Result<Option<LoadedRun>, Error> {
        let site = self.site("loading a run");
        let mut transaction = self.begin_read(site.doing).await?;
        let Some(run) = read::select_run(&mut transaction, site, id).await? else {
            return Ok(None);
        };
        let tasks = load_tasks(&mut transaction, site, id).await?;
        Ok(Some((run.record, tasks)))
    }
}

pub(crate) async fn load_tasks(
    connection: &mut Connection,
    site: Site<'_>,
    run: RunId,
) -> Result<LoadedTasks, Error> {
    let rows = read::select_tasks(connection, site, run, 0, i64::MAX).await?;
    let mut tasks = Vec::with_capacity(rows.len());
    for (position, row) in (0u32..).zip(&rows) {
        let task = read::task_of(row)?;
        // The plan names tasks by their positions: one that is missing would shift all others.
        if task.id.index != position {
            let found = format!("task {position} of the run is missing");
            return Err(row.inconsistent("task_index", found));
        }
        tasks.push((task.spec, task.record));
    }
    Ok(tasks)
}
