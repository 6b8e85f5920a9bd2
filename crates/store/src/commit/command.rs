//! Rows of commands: what was said to tasks, and what became of it.

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
    let columns = ["text", "at", "state", "attempt", "settled_at"];
    Insert::new("command", &["run_id", "task_index", "seq"], &columns)
});

struct Accepted<'b> {
    command: &'b Command,
    settled: Option<Settled<'b>>,
}

#[derive(Clone, Copy)]
struct Settled<'b> {
    state: &'b CommandState,
    at: Timestamp,
}

pub(super) async fn write(
    connection: &mut Connection,
    site: Site<'_>,
    events: &[Recorded],
) -> Result<(), Error> {
    let mut accepted: BTreeMap<(TaskId, CommandSeq), Accepted<'_>> = BTreeMap::new();
    let mut settled: Vec<(TaskId, CommandSeq, Settled<'_>)> = Vec::new();
    for recorded in events {
        let Event::Task { task, event } = &recorded.event else { continue };
        if let TaskEvent::CommandAccepted { command } = event {
            accepted.insert((*task, command.seq), Accepted { command, settled: None });
        } else if let TaskEvent::CommandSettled { seq, state } = event {
            let end = Settled { state, at: recorded.at };
            match accepted.get_mut(&(*task, *seq)) {
                Some(accepted) => accepted.settled = Some(end),
                None => settled.push((*task, *seq, end)),
            }
        }
    }
    let rows: Vec<_> = accepted.into_iter().collect();
    COMMAND.write(connection, site, &rows, bind).await?;
    for (task, seq, end) in settled {
        settle(connection, site, task, seq, end).await?;
    }
    Ok(())
}

fn bind(
    values: &mut Values,
    ((task, seq), accepted): &((TaskId, CommandSeq), Accepted<'_>),
) -> Result<(), Error> {
    let (state, attempt) =
        names::command_state(accepted.settled.map_or(&accepted.command.state, |end| end.state));
    values.task(*task)?;
    values.number(seq.0)?;
    values.add(accepted.command.text.as_str())?;
    values.add(accepted.command.at.0)?;
    values.add(state)?;
    values.add(attempt.map(i64::from))?;
    values.add(accepted.settled.map(|end| end.at.0))
}

async fn settle(
    connection: &mut Connection,
    site: Site<'_>,
    task: TaskId,
    seq: CommandSeq,
    end: Settled<'_>,
) -> Result<(), Error> {
    let (state, attempt) = names::command_state(end.state);
    let text = "UPDATE command SET state = $1, attempt = $2, settled_at = $3
        WHERE run_id = $4 AND task_index = $5 AND seq = $6";
    let query = sqlx::query(text)
        .bind(state)
        .bind(attempt.map(i64::from))
        .bind(end.at.0)
        .bind(integer(task.run.0))
        .bind(i64::from(task.index))
        .bind(integer(seq.0));
    query.execute(connection).await.map_err(|error| sqlite::failure(site, error))?;
    Ok(())
}
