//! Writing a batch: the events, and the state of everything that they changed, in one transaction.
//!
//! The tables beside the log are written from the records that the caller holds, not computed from
//! the events: each run and task once, however often it changed. What no record holds (attempts
//! that were followed by another, commands, workers) is taken from the events.

mod admission;
mod attempt;
mod command;
mod upsert;
mod worker;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use kapelle_domain::admission::Change;
use kapelle_domain::event::{Event, Recorded};
use kapelle_domain::ids::{EventSeq, RunId, TaskId, Term};
use kapelle_domain::plan::TaskSpec;
use kapelle_domain::run::RunRecord;
use kapelle_domain::task::TaskRecord;
use sqlx::Connection as _;

pub(crate) use self::upsert::integer;
use self::upsert::{Insert, Values};
use crate::error::{Error, Site};
use crate::sqlite::{self, BEGIN_WRITE, Connection};
use crate::store::LEADER;
use kapelle_domain::run::RunOutcome;

/// What is committed together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The events, numbered on from the end of the log.
    pub events: Vec<Recorded>,
    /// Each run that the events changed, as it is after all of them.
    pub runs: Vec<(RunId, RunRecord)>,
    /// Each task that the events changed, as it is after all of them.
    pub tasks: Vec<ChangedTask>,
    /// Who was invited, admitted or revoked. It isn't part of the log.
    pub admissions: Vec<Change>,
}

/// A task that changed in a batch.
#[derive(Debug, Clone)]
pub struct ChangedTask {
    /// Which.
    pub id: TaskId,
    /// What is to be done, when the task is new.
    pub spec: Option<Arc<TaskSpec>>,
    /// Where it stands.
    pub record: TaskRecord,
}

/// The tasks of a batch by their ids.
type Changed<'b> = HashMap<TaskId, &'b TaskRecord>;

static EVENT: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new("event", &["seq"], &["at", "run_id", "task_index", "kind", "payload"])
});
static RUN: LazyLock<Insert> = LazyLock::new(|| {
    Insert::or_update(
        "run",
        &["run_id"],
        &["uid", "title", "outcome", "submitted_at", "finished_at", "record"],
    )
});
static TASK_SPEC: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "task_spec",
        &["run_id", "task_index"],
        &["key", "title", "agent", "repository", "spec"],
    )
});
static TASK: LazyLock<Insert> = LazyLock::new(|| {
    Insert::or_update("task", &["run_id", "task_index"], &["state", "since", "record"])
});

/// Writes a batch, all of it or nothing.
pub(crate) async fn write(
    connection: &mut Connection,
    site: Site<'_>,
    term: Term,
    batch: &Batch,
) -> Result<(), Error> {
    let changed: Changed<'_> = batch.tasks.iter().map(|task| (task.id, &task.record)).collect();
    require_complete(batch, &changed)?;
    let mut transaction =
        connection.begin_with(BEGIN_WRITE).await.map_err(|error| sqlite::failure(site, error))?;
    advance(&mut transaction, site, term, &batch.events).await?;
    write_events(&mut transaction, site, &batch.events).await?;
    write_runs(&mut transaction, site, &batch.runs).await?;
    write_tasks(&mut transaction, site, &batch.tasks).await?;
    attempt::write(&mut transaction, site, &batch.events, &changed).await?;
    command::write(&mut transaction, site, &batch.events).await?;
    worker::write(&mut transaction, site, &batch.events).await?;
    admission::write(&mut transaction, site, &batch.admissions).await?;
    transaction.commit().await.map_err(|error| sqlite::failure(site, error))
}

/// A change whose outcome the batch doesn't hold would be in the log and nowhere else.
fn require_complete(batch: &Batch, changed: &Changed<'_>) -> Result<(), Error> {
    let runs: HashSet<RunId> = batch.runs.iter().map(|(id, _)| *id).collect();
    for recorded in &batch.events {
        let missing = match &recorded.event {
            Event::Run { run, .. } if !runs.contains(run) => run.to_string(),
            Event::Task { task, .. } if !changed.contains_key(task) => task.to_string(),
            Event::Run { .. } | Event::Task { .. } | Event::Worker { .. } => continue,
        };
        return Err(Error::Incomplete { seq: recorded.seq, subject: missing });
    }
    Ok(())
}

/// Moves the end of the log, if this leader still leads and the events continue it.
async fn advance(
    connection: &mut Connection,
    site: Site<'_>,
    term: Term,
    events: &[Recorded],
) -> Result<(), Error> {
    let Some(first) = events.first() else { return assert_term(connection, site, term).await };
    let before = EventSeq(first.seq.0.saturating_sub(1));
    let mut last = before;
    for recorded in events {
        if recorded.seq != last.next() {
            return Err(Error::Gap { last, found: recorded.seq });
        }
        last = recorded.seq;
    }
    let query =
        sqlx::query("UPDATE leader SET last_seq = $1 WHERE id = 1 AND term = $2 AND last_seq = $3")
            .bind(integer(last.0))
            .bind(integer(term.0))
            .bind(integer(before.0));
    let result =
        query.execute(&mut *connection).await.map_err(|error| sqlite::failure(site, error))?;
    if result.rows_affected() == 1 {
        return Ok(());
    }
    assert_term(connection, site, term).await?;
    let query = sqlx::query("SELECT id, last_seq FROM leader WHERE id = 1");
    let rows = LEADER.select(connection, site, query).await?;
    let last = rows.first().map_or(Ok(0), |row| row.number("last_seq"))?;
    Err(Error::Gap { last: EventSeq(last), found: first.seq })
}

async fn assert_term(connection: &mut Connection, site: Site<'_>, term: Term) -> Result<(), Error> {
    let query = sqlx::query("SELECT id, term FROM leader WHERE id = 1");
    let rows = LEADER.select(connection, site, query).await?;
    let current = rows.first().map(|row| row.number("term")).transpose()?;
    if current == Some(term.0) { Ok(()) } else { Err(Error::Deposed) }
}

async fn write_events(
    connection: &mut Connection,
    site: Site<'_>,
    events: &[Recorded],
) -> Result<(), Error> {
    let bind = |values: &mut Values, recorded: &Recorded| {
        let event = &recorded.event;
        values.number(recorded.seq.0)?;
        values.add(recorded.at.0)?;
        values.add(event.run().map(|run| integer(run.0)))?;
        values.add(event.task().map(|task| i64::from(task.index)))?;
        values.add(event.name())?;
        values.json(event)
    };
    EVENT.write(connection, site, events, bind).await
}

async fn write_runs(
    connection: &mut Connection,
    site: Site<'_>,
    runs: &[(RunId, RunRecord)],
) -> Result<(), Error> {
    let bind = |values: &mut Values, (id, record): &(RunId, RunRecord)| {
        values.number(id.0)?;
        values.add(record.spec.uid.to_string())?;
        values.add(record.spec.title.as_str())?;
        values.add(record.outcome.map(RunOutcome::name))?;
        values.add(record.submitted_at.0)?;
        values.add(record.finished_at.map(|at| at.0))?;
        values.json(record)
    };
    RUN.write(connection, site, runs, bind).await
}

async fn write_tasks(
    connection: &mut Connection,
    site: Site<'_>,
    tasks: &[ChangedTask],
) -> Result<(), Error> {
    let specs: Vec<(TaskId, &TaskSpec)> =
        tasks.iter().filter_map(|task| Some((task.id, &**task.spec.as_ref()?))).collect();
    let bind = |values: &mut Values, (id, spec): &(TaskId, &TaskSpec)| {
        values.task(*id)?;
        values.add(spec.key.as_str())?;
        values.add(spec.title.as_str())?;
        values.add(&*spec.agent)?;
        values.add(&*spec.repository)?;
        values.json(spec)
    };
    TASK_SPEC.write(connection, site, &specs, bind).await?;
    let bind = |values: &mut Values, task: &ChangedTask| {
        values.task(task.id)?;
        values.add(task.record.state.name())?;
        values.add(task.record.since.0)?;
        values.json(&task.record)
    };
    TASK.write(connection, site, tasks, bind).await
}
