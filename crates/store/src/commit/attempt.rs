//! Rows of attempts and of their checks.
//!
//! A task's record holds its newest attempt only. When another followed within the same batch, the
//! end of the one before is in the events alone, so that its row is folded from them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use kapelle_domain::attempt::{Attempt, Check};
use kapelle_domain::event::{Event, Recorded, TaskEvent, Which};
use kapelle_domain::ids::{AttemptId, TaskId, Timestamp};

use super::Changed;
use super::upsert::{Insert, Values, integer};
use crate::error::{Error, Site};
use crate::read::ATTEMPT as ATTEMPT_ROW;
use crate::sqlite::Connection;

static ATTEMPT: LazyLock<Insert> = LazyLock::new(|| {
    let columns = [
        "phase",
        "worker",
        "fence",
        "offered_at",
        "started_at",
        "ended_at",
        "outcome",
        "verdict",
        "summary",
        "input_tokens",
        "output_tokens",
        "cost_microusd",
        "record",
    ];
    Insert::or_update("attempt", &["run_id", "task_index", "number"], &columns)
});
static CHECK: LazyLock<Insert> = LazyLock::new(|| {
    let key = ["run_id", "task_index", "number", "position"];
    Insert::new("check_result", &key, &["name", "verdict", "detail", "took_ms"])
});

/// What happened to a task's attempts within a batch.
#[derive(Default)]
struct Story<'b> {
    events: Vec<(Timestamp, &'b TaskEvent)>,
    /// The oldest attempt that something happened to.
    oldest: Option<u32>,
}

pub(super) async fn write(
    connection: &mut Connection,
    site: Site<'_>,
    events: &[Recorded],
    changed: &Changed<'_>,
) -> Result<(), Error> {
    let mut attempts: Vec<(AttemptId, Cow<'_, Attempt>)> = Vec::new();
    for (task, story) in stories(events) {
        let newest = changed.get(&task).and_then(|record| record.attempt.as_ref());
        let Some(newest) = newest else { continue };
        if let Some(oldest) = story.oldest.filter(|oldest| *oldest < newest.number) {
            let stored = stored(connection, site, AttemptId { task, number: oldest }).await?;
            let earlier = superseded(stored, &story.events).into_iter();
            attempts.extend(
                earlier.map(|attempt| {
                    (AttemptId { task, number: attempt.number }, Cow::Owned(attempt))
                }),
            );
        }
        attempts.push((AttemptId { task, number: newest.number }, Cow::Borrowed(newest)));
    }
    ATTEMPT.write(connection, site, &attempts, bind_attempt).await?;
    CHECK.write(connection, site, &checks(events), bind_check).await
}

/// The events that changed attempts, by task.
fn stories(events: &[Recorded]) -> BTreeMap<TaskId, Story<'_>> {
    let mut stories: BTreeMap<TaskId, Story<'_>> = BTreeMap::new();
    for recorded in events {
        if let Event::Task { task, event } = &recorded.event
            && let Some(attempt) = event.changed_attempt()
        {
            let story = stories.entry(*task).or_default();
            story.events.push((recorded.at, event));
            story.oldest = story.oldest.or(match attempt {
                Which::Numbered(number) => Some(number),
                Which::Newest => None,
            });
        }
    }
    stories
}

async fn stored(
    connection: &mut Connection,
    site: Site<'_>,
    id: AttemptId,
) -> Result<Option<Attempt>, Error> {
    let text = "SELECT run_id, task_index, number, record FROM attempt
        WHERE run_id = $1 AND task_index = $2 AND number = $3";
    let query = sqlx::query(text)
        .bind(integer(id.task.run.0))
        .bind(i64::from(id.task.index))
        .bind(i64::from(id.number));
    let rows = ATTEMPT_ROW.select(connection, site, query).await?;
    rows.first().map(|row| row.json("record")).transpose()
}

/// The attempts that another one followed, as the events leave them.
fn superseded(stored: Option<Attempt>, events: &[(Timestamp, &TaskEvent)]) -> Vec<Attempt> {
    let mut past = Vec::new();
    let mut current = stored;
    for (at, event) in events {
        if let TaskEvent::Offered { attempt, offer } = event
            && current.as_ref().is_none_or(|current| current.number != *attempt)
        {
            past.extend(current.take());
            current = Some(Attempt::offered(*at, *attempt, *offer));
        } else if let Some(current) = &mut current {
            current.follow(*at, event);
        }
    }
    past
}

fn bind_attempt(
    values: &mut Values,
    (id, attempt): &(AttemptId, Cow<'_, Attempt>),
) -> Result<(), Error> {
    let grant = attempt.grant.as_ref();
    let report = attempt.report.as_deref();
    values.task(id.task)?;
    values.add(i64::from(id.number))?;
    values.add(attempt.phase.name())?;
    values.add(grant.map(|grant| grant.worker.0.as_str()))?;
    values.add(grant.map(|grant| integer(grant.fence.0)))?;
    values.add(attempt.offered_at.0)?;
    values.add(attempt.started_at.map(|at| at.0))?;
    values.add(attempt.ended_at.map(|at| at.0))?;
    values.add(report.map(|report| report.outcome.name()))?;
    values.add(report.map(|report| report.verdict.name()))?;
    values.add(report.map(|report| report.summary.as_str()))?;
    values.add(report.map(|report| integer(report.usage.input_tokens)))?;
    values.add(report.map(|report| integer(report.usage.output_tokens)))?;
    values.add(report.and_then(|report| report.usage.cost_microusd).map(integer))?;
    values.json(&**attempt)
}

struct CheckRow<'b> {
    attempt: AttemptId,
    position: i64,
    check: &'b Check,
}

fn checks(events: &[Recorded]) -> Vec<CheckRow<'_>> {
    let mut rows = Vec::new();
    for recorded in events {
        if let Event::Task { task, event: TaskEvent::AttemptEnded { attempt, report } } =
            &recorded.event
        {
            let attempt = AttemptId { task: *task, number: *attempt };
            let checks = (0i64..).zip(&report.checks);
            rows.extend(checks.map(|(position, check)| CheckRow { attempt, position, check }));
        }
    }
    rows
}

fn bind_check(values: &mut Values, row: &CheckRow<'_>) -> Result<(), Error> {
    values.task(row.attempt.task)?;
    values.add(i64::from(row.attempt.number))?;
    values.add(row.position)?;
    values.add(row.check.name.as_str())?;
    values.add(row.check.verdict.name())?;
    values.add(row.check.detail.as_str())?;
    values.number(u64::try_from(row.check.took.as_millis()).unwrap_or(u64::MAX))
}
