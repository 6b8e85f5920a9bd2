//! Reading for surfaces: a page at a time, each page found by where the last one ended.
//!
//! Every read sees one committed moment and is given up when it takes too long. A limit above
//! [`PAGE_MAX`] means that.

use std::collections::BTreeMap;
use std::sync::Arc;

use kapelle_domain::admission::{Credential, Invitation, Register};
use kapelle_domain::attempt::{Attempt, Usage};
use kapelle_domain::command::Command;
use kapelle_domain::event::Recorded;
use kapelle_domain::ids::{CommandSeq, EventSeq, RunId, TaskId, Timestamp, WorkerId};
use kapelle_domain::plan::TaskSpec;
use kapelle_domain::run::{RunOutcome, RunRecord};
use kapelle_domain::task::TaskRecord;

use crate::commit::integer;
use crate::error::{Error, Site};
use crate::names;
use crate::record::{Record, Table};
use crate::sqlite::{Connection, Query};
use crate::store::Store;

/// The longest page.
const PAGE_MAX: u32 = 1000;

pub(crate) static RUN: Table = Table { name: "run", key: &["run_id"], reading: "reading runs" };
pub(crate) static TASK: Table =
    Table { name: "task", key: &["run_id", "task_index"], reading: "reading tasks" };
pub(crate) static ATTEMPT: Table = Table {
    name: "attempt",
    key: &["run_id", "task_index", "number"],
    reading: "reading attempts",
};
static COMMAND: Table =
    Table { name: "command", key: &["run_id", "task_index", "seq"], reading: "reading commands" };
static INVITATION: Table =
    Table { name: "invitation", key: &["invitation_id"], reading: "reading invitations" };
static CREDENTIAL: Table =
    Table { name: "credential", key: &["key"], reading: "reading credentials" };
pub(crate) static EVENT: Table = Table { name: "event", key: &["seq"], reading: "reading events" };
static COUNT: Table = Table { name: "task", key: &["state"], reading: "counting tasks" };

/// Which runs to list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those that stand like this.
    pub status: Option<RunStatus>,
    /// Only those before this one: the last of the page before.
    pub before: Option<RunId>,
    /// How many at most.
    pub limit: u32,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// It hasn't ended.
    Open,
    /// It has ended like this.
    Ended(RunOutcome),
}

/// A run without its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// Its id.
    pub id: RunId,
    /// Everything else.
    pub record: RunRecord,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTask {
    /// Its id.
    pub id: TaskId,
    /// What is to be done.
    pub spec: Arc<TaskSpec>,
    /// Where it stands.
    pub record: TaskRecord,
}

impl Store {
    /// Runs, newest first.
    ///
    /// # Errors
    /// When the database can't be read in time or a row doesn't hold what it must; so for every
    /// read below.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<StoredRun>, Error> {
        let before = integer(filter.before.map_or(u64::MAX, |run| run.0));
        let limit = page(filter.limit);
        let query = match filter.status {
            None => sqlx::query("SELECT run_id, record FROM run WHERE run_id < $1 ORDER BY run_id DESC LIMIT $2")
                .bind(before)
                .bind(limit),
            Some(RunStatus::Open) => sqlx::query(
                "SELECT run_id, record FROM run WHERE outcome IS NULL AND run_id < $1 ORDER BY run_id DESC LIMIT $2",
            )
            .bind(before)
            .bind(limit),
            Some(RunStatus::Ended(outcome)) => sqlx::query(
                "SELECT run_id, record FROM run WHERE outcome = $3 AND run_id < $1 ORDER BY run_id DESC LIMIT $2",
            )
            .bind(before)
            .bind(limit)
            .bind(outcome.name()),
        };
        self.list(&RUN, query, run_of).await
    }

    /// A run; `None` when there is none.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn run(&self, id: RunId) -> Result<Option<StoredRun>, Error> {
        let read = async {
            let mut transaction = self.begin_read(RUN.reading).await?;
            select_run(&mut transaction, self.site(RUN.reading), id).await
        };
        self.in_time(RUN.reading, read).await
    }

    /// The newest run, open or ended.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn latest_run(&self) -> Result<Option<StoredRun>, Error> {
        let mut runs = self.runs(RunFilter { status: None, before: None, limit: 1 }).await?;
        Ok(runs.pop())
    }

    /// Tasks of a run in the order of its plan, from the position `from` on.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn tasks(&self, run: RunId, from: u32, limit: u32) -> Result<Vec<StoredTask>, Error> {
        let read = async {
            let mut transaction = self.begin_read(TASK.reading).await?;
            let site = self.site(TASK.reading);
            let rows = select_tasks(&mut transaction, site, run, from.into(), page(limit)).await?;
            rows.iter().map(task_of).collect()
        };
        self.in_time(TASK.reading, read).await
    }

    /// A task; `None` when there is none.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn task(&self, id: TaskId) -> Result<Option<StoredTask>, Error> {
        let mut tasks = self.tasks(id.run, id.index, 1).await?;
        Ok(tasks.pop().filter(|task| task.id == id))
    }

    /// How many tasks of a run are in each state, by the state's name.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn task_counts(&self, run: RunId) -> Result<BTreeMap<String, u32>, Error> {
        let text = "SELECT state, COUNT(*) AS tasks FROM task WHERE run_id = $1 GROUP BY state ORDER BY state";
        let query = sqlx::query(text).bind(integer(run.0));
        let counts =
            self.list(&COUNT, query, |row| Ok((row.get("state")?, row.number("tasks")?))).await?;
        Ok(counts.into_iter().collect())
    }

    /// The attempts of a task, oldest first, each with its report once it has ended.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>, Error> {
        let text = "SELECT run_id, task_index, number, record FROM attempt
            WHERE run_id = $1 AND task_index = $2 ORDER BY number";
        let query = sqlx::query(text).bind(integer(task.run.0)).bind(i64::from(task.index));
        self.list(&ATTEMPT, query, |row| row.json("record")).await
    }

    /// What the attempts of each task of a run have used up so far. Tasks that nothing was reported
    /// of are left out.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn usages(&self, run: RunId) -> Result<BTreeMap<TaskId, Usage>, Error> {
        let text = "SELECT run_id, task_index, number, input_tokens, output_tokens, cost_microusd FROM attempt
            WHERE run_id = $1 AND input_tokens IS NOT NULL";
        let query = sqlx::query(text).bind(integer(run.0));
        let mut usages = BTreeMap::<TaskId, Usage>::new();
        for (task, usage) in self.list(&ATTEMPT, query, usage_of).await? {
            let sum = usages.entry(task).or_default();
            *sum = sum.plus(usage);
        }
        Ok(usages)
    }

    /// What was said to a task, oldest first, and what became of it.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn commands(&self, task: TaskId) -> Result<Vec<Command>, Error> {
        let text =
            "SELECT run_id, task_index, seq, kind, text, at, state, attempt, reason, request FROM command
            WHERE run_id = $1 AND task_index = $2 ORDER BY seq";
        let query = sqlx::query(text).bind(integer(task.run.0)).bind(i64::from(task.index));
        self.list(&COMMAND, query, command_of).await
    }

    /// The commands that came of a request, in the order of runs and their plans, and what became
    /// of each; none when the request has had no effect.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn commands_of(&self, request: &str) -> Result<Vec<(TaskId, Command)>, Error> {
        let text =
            "SELECT run_id, task_index, seq, kind, text, at, state, attempt, reason, request FROM command
            WHERE request = $1 ORDER BY run_id, task_index, seq";
        let query = sqlx::query(text).bind(request.to_owned());
        let read = |row: &Record| {
            let run = RunId(row.number("run_id")?);
            Ok((TaskId { run, index: row.number("task_index")? }, command_of(row)?))
        };
        self.list(&COMMAND, query, read).await
    }

    /// Events after `after`, oldest first: all of them, or those of a run and its tasks, or those
    /// of one task.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn events(
        &self,
        after: EventSeq,
        limit: u32,
        run: Option<RunId>,
        task: Option<TaskId>,
    ) -> Result<Vec<Recorded>, Error> {
        let query = match (task, run) {
            (Some(task), _) => sqlx::query(
                "SELECT seq, at, payload FROM event
                WHERE seq > $1 AND run_id = $3 AND task_index = $4 ORDER BY seq LIMIT $2",
            )
            .bind(integer(after.0))
            .bind(page(limit))
            .bind(integer(task.run.0))
            .bind(i64::from(task.index)),
            (None, Some(run)) => sqlx::query(
                "SELECT seq, at, payload FROM event WHERE seq > $1 AND run_id = $3 ORDER BY seq LIMIT $2",
            )
            .bind(integer(after.0))
            .bind(page(limit))
            .bind(integer(run.0)),
            (None, None) => sqlx::query("SELECT seq, at, payload FROM event WHERE seq > $1 ORDER BY seq LIMIT $2")
                .bind(integer(after.0))
                .bind(page(limit)),
        };
        self.list(&EVENT, query, event_of).await
    }

    /// Everybody who was invited to become a worker, or became one, oldest first.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub async fn register(&self) -> Result<Register, Error> {
        let invitations =
            "SELECT invitation_id, key, worker_id, uses_max, created_at, expires_at FROM invitation
            ORDER BY created_at, invitation_id";
        let credentials =
            "SELECT key, worker_id, invitation_id, issued_at, revoked_at FROM credential
            ORDER BY issued_at, key";
        Ok(Register {
            invitations: self.list(&INVITATION, sqlx::query(invitations), invitation_of).await?,
            credentials: self.list(&CREDENTIAL, sqlx::query(credentials), credential_of).await?,
        })
    }

    async fn list<T>(
        &self,
        table: &'static Table,
        query: Query,
        of: impl Fn(&Record) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let read = async {
            let mut transaction = self.begin_read(table.reading).await?;
            let rows = table.select(&mut transaction, self.site(table.reading), query).await?;
            rows.iter().map(of).collect()
        };
        self.in_time(table.reading, read).await
    }
}

pub(crate) async fn select_run(
    connection: &mut Connection,
    site: Site<'_>,
    id: RunId,
) -> Result<Option<StoredRun>, Error> {
    let query = sqlx::query("SELECT run_id, record FROM run WHERE run_id = $1").bind(integer(id.0));
    let rows = RUN.select(connection, site, query).await?;
    rows.first().map(run_of).transpose()
}

pub(crate) async fn select_tasks(
    connection: &mut Connection,
    site: Site<'_>,
    run: RunId,
    from: i64,
    limit: i64,
) -> Result<Vec<Record>, Error> {
    let text = "SELECT task.run_id, task.task_index, task.record, task_spec.spec
        FROM task JOIN task_spec ON task_spec.run_id = task.run_id AND task_spec.task_index = task.task_index
        WHERE task.run_id = $1 AND task.task_index >= $2 ORDER BY task.task_index LIMIT $3";
    let query = sqlx::query(text).bind(integer(run.0)).bind(from).bind(limit);
    TASK.select(connection, site, query).await
}

pub(crate) fn task_of(row: &Record) -> Result<StoredTask, Error> {
    let id = TaskId { run: RunId(row.number("run_id")?), index: row.number("task_index")? };
    Ok(StoredTask { id, spec: row.json("spec")?, record: row.json("record")? })
}

pub(crate) fn event_of(row: &Record) -> Result<Recorded, Error> {
    Ok(Recorded {
        seq: EventSeq(row.number("seq")?),
        at: Timestamp(row.get("at")?),
        event: row.json("payload")?,
    })
}

fn run_of(row: &Record) -> Result<StoredRun, Error> {
    Ok(StoredRun { id: RunId(row.number("run_id")?), record: row.json("record")? })
}

fn invitation_of(row: &Record) -> Result<Invitation, Error> {
    let worker: Option<String> = row.get("worker_id")?;
    Ok(Invitation {
        id: row.get("invitation_id")?,
        key: row.get("key")?,
        worker: worker.map(WorkerId),
        uses_max: row.number("uses_max")?,
        created_at: Timestamp(row.get("created_at")?),
        expires_at: Timestamp(row.get("expires_at")?),
    })
}

fn credential_of(row: &Record) -> Result<Credential, Error> {
    let revoked_at: Option<i64> = row.get("revoked_at")?;
    Ok(Credential {
        key: row.get("key")?,
        worker: WorkerId(row.get("worker_id")?),
        invitation: row.get("invitation_id")?,
        issued_at: Timestamp(row.get("issued_at")?),
        revoked_at: revoked_at.map(Timestamp),
    })
}

fn usage_of(row: &Record) -> Result<(TaskId, Usage), Error> {
    let task = TaskId { run: RunId(row.number("run_id")?), index: row.number("task_index")? };
    let usage = Usage {
        input_tokens: row.number("input_tokens")?,
        output_tokens: row.number("output_tokens")?,
        cost_microusd: row.optional_number("cost_microusd")?,
    };
    Ok((task, usage))
}

fn command_of(row: &Record) -> Result<Command, Error> {
    let name: String = row.get("state")?;
    let (attempt, reason) = (row.optional_number("attempt")?, row.get("reason")?);
    let state = names::parse_command_state(&name, attempt, reason);
    Ok(Command {
        seq: CommandSeq(row.number("seq")?),
        kind: row.json("kind")?,
        text: row.get("text")?,
        at: Timestamp(row.get("at")?),
        state: state.ok_or_else(|| {
            row.inconsistent("state", format!("`{name}` is no state of a command"))
        })?,
        request: row.get::<Option<String>>("request")?.map(Into::into),
    })
}

fn page(limit: u32) -> i64 {
    limit.min(PAGE_MAX).into()
}
