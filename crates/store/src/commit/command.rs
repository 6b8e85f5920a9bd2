//! Rows of commands: what was ordered of tasks, and what became of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use kapelle_domain::command::{Command, CommandState};
use kapelle_domain::event::{Event, Recorded, TaskEvent};
use kapelle_domain::ids::{CommandSeq, TaskId, Timestamp};

use super::upsert::{Insert, Values, integer};
use crate::error::{Error, Site};
use crate::names;
use crate::sqlite::{self, Connection};

static COMMAND: LazyLock<Insert> = LazyLock::new(|| {
    let columns = ["kind", "text", "at", "state", "attempt", "reason", "settled_at", "request"];
    Insert::new("command", &["run_id", "task_index", "seq"], &columns)
});

struct Row<'b> {
    command: &'b Command,
    newest: Option<Newest<'b>>,
}

/// What became of a command last.
struct Newest<'b> {
    state: Cow<'b, CommandState>,
    at: Timestamp,
}

pub(super) async fn write(
    connection: &mut Connection,
    site: Site<'_>,
    events: &[Recorded],
) -> Result<(), Error> {
    let mut accepted: BTreeMap<(TaskId, CommandSeq), Row<'_>> = BTreeMap::new();
    let mut changed: BTreeMap<(TaskId, CommandSeq), Newest<'_>> = BTreeMap::new();
    for recorded in events {
        let Event::Task { task, event } = &recorded.event else { continue };
        let (seq, state) = match event {
            TaskEvent::CommandAccepted { command } => {
                accepted.insert((*task, command.seq), Row { command, newest: None });
                continue;
            }
            TaskEvent::CommandDelivered { seq, attempt } => {
                (*seq, Cow::Owned(CommandState::Delivered { attempt: *attempt }))
            }
            TaskEvent::CommandSettled { seq, state } => (*seq, Cow::Borrowed(state)),
            _ => continue,
        };
        let newest = Newest { state, at: recorded.at };
        match accepted.get_mut(&(*task, seq)) {
            Some(row) => row.newest = Some(newest),
            None => drop(changed.insert((*task, seq), newest)),
        }
    }
    let rows: Vec<_> = accepted.into_iter().collect();
    COMMAND.write(connection, site, &rows, bind).await?;
    for ((task, seq), newest) in changed {
        update(connection, site, task, seq, &newest).await?;
    }
    Ok(())
}

fn bind(
    values: &mut Values,
    ((task, seq), row): &((TaskId, CommandSeq), Row<'_>),
) -> Result<(), Error> {
    let state = row.newest.as_ref().map_or(&row.command.state, |newest| &newest.state);
    let parts = names::command_state(state);
    values.task(*task)?;
    values.number(seq.0)?;
    values.json(&row.command.kind)?;
    values.add(row.command.text.as_str())?;
    values.add(row.command.at.0)?;
    values.add(parts.name)?;
    values.add(parts.attempt.map(i64::from))?;
    values.add(parts.reason)?;
    values.add(row.newest.as_ref().and_then(Newest::settled_at))?;
    values.add(row.command.request.as_deref())
}

impl Newest<'_> {
    fn settled_at(&self) -> Option<i64> {
        self.state.is_settled().then_some(self.at.0)
    }
}

async fn update(
    connection: &mut Connection,
    site: Site<'_>,
    task: TaskId,
    seq: CommandSeq,
    newest: &Newest<'_>,
) -> Result<(), Error> {
    let parts = names::command_state(&newest.state);
    let text = "UPDATE command SET state = $1, attempt = $2, reason = $3, settled_at = $4
        WHERE run_id = $5 AND task_index = $6 AND seq = $7";
    let query = sqlx::query(text)
        .bind(parts.name)
        .bind(parts.attempt.map(i64::from))
        .bind(parts.reason.map(str::to_owned))
        .bind(newest.settled_at())
        .bind(integer(task.run.0))
        .bind(i64::from(task.index))
        .bind(integer(seq.0));
    query.execute(connection).await.map_err(|error| sqlite::failure(site, error))?;
    Ok(())
}
