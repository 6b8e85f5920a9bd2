//! The proof that the tables say what the log says.
//!
//! Replays every event through the very rules that live decisions go through, and compares what
//! comes out with what the tables hold.

use kapelle_domain::attempt::Attempt;
use kapelle_domain::engine::World;
use kapelle_domain::event::{Event, Recorded};
use kapelle_domain::ids::{EventSeq, RunId, Timestamp};
use kapelle_domain::policy::Limits;
use kapelle_domain::run::Run;
use serde::Serialize;

use crate::commit::integer;
use crate::error::{Error, Site};
use crate::load;
use crate::read;
use crate::record::Table;
use crate::sqlite::Connection;
use crate::store::{LEADER, Store};

/// How many events are held at once.
const PAGE: i64 = 1000;

static NEWEST: Table = Table { name: "run", key: &[], reading: "reading the newest run" };

/// What was compared, when nothing differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// How many events were replayed.
    pub events: u64,
    /// How many runs were compared: the open ones and the newest of the others.
    pub runs: usize,
    /// How many tasks were compared.
    pub tasks: usize,
}

impl Store {
    /// Replays the log and compares what follows from it with the tables. Reads everything once;
    /// sees one moment, whatever is committed meanwhile. The limits play no part in a replay.
    ///
    /// # Errors
    /// [`Error::Diverged`] for the first difference, [`Error::IllegalHistory`] when the log can't
    /// be replayed, [`Error::Gap`] when an event is missing, or what kept the database from it.
    pub async fn verify_fold(&self, limits: Limits) -> Result<Folded, Error> {
        let site = self.site("comparing the log with the tables");
        let mut transaction = self.begin_read(site.doing).await?;
        let (world, last) = replay(&mut transaction, site, limits).await?;
        compare_counters(&mut transaction, site, &world, last).await?;
        let mut folded = Folded { events: last.0, runs: 0, tasks: 0 };
        for run in world.runs() {
            compare_run(&mut transaction, site, run).await?;
            folded.runs += 1;
            folded.tasks += run.tasks.len();
        }
        compare_open_runs(&mut transaction, site, &world).await?;
        Ok(folded)
    }
}

async fn replay(
    connection: &mut Connection,
    site: Site<'_>,
    limits: Limits,
) -> Result<(World, EventSeq), Error> {
    let mut world = World::new(limits.clone());
    let mut last = EventSeq(0);
    loop {
        let page = events_after(connection, site, last, None).await?;
        if page.is_empty() {
            return Ok((world, last));
        }
        for recorded in page {
            if recorded.seq != last.next() {
                return Err(Error::Gap { last, found: recorded.seq });
            }
            if let Some(run) = forgotten(&world, &recorded.event) {
                recall(connection, site, &mut world, run, last).await?;
            }
            apply(&mut world, &recorded)?;
            last = recorded.seq;
        }
    }
}

fn apply(world: &mut World, recorded: &Recorded) -> Result<(), Error> {
    world
        .apply(recorded.at, &recorded.event)
        .map_err(|source| Error::IllegalHistory { seq: recorded.seq, source })
}

/// A world keeps few finished runs; one that was opened again has to be brought back first.
fn forgotten(world: &World, event: &Event) -> Option<RunId> {
    let run = event.run()?;
    let creates = matches!(
        event,
        Event::Run { event: kapelle_domain::event::RunEvent::Submitted { .. }, .. }
    );
    (!creates && world.run(run).is_none()).then_some(run)
}

/// Brings a run back as it was at the end of event `until`, from its own events.
async fn recall(
    connection: &mut Connection,
    site: Site<'_>,
    world: &mut World,
    id: RunId,
    until: EventSeq,
) -> Result<(), Error> {
    let mut alone = World::new(Limits::default());
    let mut last = EventSeq(0);
    'log: loop {
        let page = events_after(connection, site, last, Some(id)).await?;
        if page.is_empty() {
            break;
        }
        for recorded in page {
            if recorded.seq > until {
                break 'log;
            }
            apply(&mut alone, &recorded)?;
            last = recorded.seq;
        }
    }
    let Some(run) = alone.run(id) else { return Ok(()) };
    let tasks = run.tasks.iter().map(|task| (task.spec.clone(), task.record.clone())).collect();
    world
        .recall(id, run.record.clone(), tasks, Timestamp::default())
        .map_err(|source| Error::IllegalHistory { seq: last, source })
}

async fn events_after(
    connection: &mut Connection,
    site: Site<'_>,
    after: EventSeq,
    run: Option<RunId>,
) -> Result<Vec<Recorded>, Error> {
    let query = match run {
        None => sqlx::query("SELECT seq, at, payload FROM event WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(integer(after.0))
            .bind(PAGE),
        Some(run) => sqlx::query(
            "SELECT seq, at, payload FROM event WHERE seq > $1 AND run_id = $3 ORDER BY seq LIMIT $2",
        )
        .bind(integer(after.0))
        .bind(PAGE)
        .bind(integer(run.0)),
    };
    read::EVENT.select(connection, site, query).await?.iter().map(read::event_of).collect()
}

async fn compare_counters(
    connection: &mut Connection,
    site: Site<'_>,
    world: &World,
    last: EventSeq,
) -> Result<(), Error> {
    let query = sqlx::query("SELECT id, last_seq FROM leader WHERE id = 1");
    let rows = LEADER.select(connection, site, query).await?;
    let stored: Option<u64> = rows.first().map(|row| row.number("last_seq")).transpose()?;
    require_equal("the number of the last event", &Some(last.0), &stored)?;
    let query = sqlx::query("SELECT COALESCE(MAX(run_id), 0) AS newest FROM run");
    let rows = NEWEST.select(connection, site, query).await?;
    let stored: Option<u64> = rows.first().map(|row| row.number("newest")).transpose()?;
    let newest = world.runs().last().map_or(0, |run| run.id.0);
    require_equal("the newest run", &Some(newest), &stored)
}

async fn compare_run(connection: &mut Connection, site: Site<'_>, run: &Run) -> Result<(), Error> {
    let stored = read::select_run(connection, site, run.id).await?;
    require_equal(
        &run.id.to_string(),
        &Some(&run.record),
        &stored.as_ref().map(|run| &run.record),
    )?;
    let tasks = load::load_tasks(connection, site, run.id).await?;
    require_equal(&format!("the number of tasks of {}", run.id), &run.tasks.len(), &tasks.len())?;
    for (task, (spec, record)) in run.tasks.iter().zip(tasks) {
        require_equal(&format!("the specification of {}", task.id), &*task.spec, &*spec)?;
        require_equal(&task.id.to_string(), &task.record, &record)?;
    }
    compare_attempts(connection, site, run).await
}

/// The newest attempts; those before left no trace in the replayed memory.
async fn compare_attempts(
    connection: &mut Connection,
    site: Site<'_>,
    run: &Run,
) -> Result<(), Error> {
    let text = "SELECT run_id, task_index, number, record FROM attempt WHERE run_id = $1 ORDER BY task_index, number";
    let rows =
        read::ATTEMPT.select(connection, site, sqlx::query(text).bind(integer(run.id.0))).await?;
    let mut newest = std::collections::BTreeMap::new();
    for row in &rows {
        let attempt: Attempt = row.json("record")?;
        newest.insert(row.number::<u32>("task_index")?, attempt);
    }
    for task in &run.tasks {
        let subject = format!("the newest attempt of {}", task.id);
        require_equal(&subject, &task.record.attempt.as_ref(), &newest.get(&task.id.index))?;
    }
    Ok(())
}

async fn compare_open_runs(
    connection: &mut Connection,
    site: Site<'_>,
    world: &World,
) -> Result<(), Error> {
    let query = sqlx::query("SELECT run_id FROM run WHERE outcome IS NULL ORDER BY run_id");
    let rows = read::RUN.select(connection, site, query).await?;
    let stored =
        rows.iter().map(|row| row.number("run_id")).collect::<Result<Vec<u64>, Error>>()?;
    let open: Vec<u64> =
        world.runs().filter(|run| !run.is_finished()).map(|run| run.id.0).collect();
    require_equal("the list of open runs", &open, &stored)
}

/// Compares what would be stored: some fields live in memory only.
fn require_equal<T: Serialize>(subject: &str, log: &T, tables: &T) -> Result<(), Error> {
    let text = |value: &T| {
        serde_json::to_string(value)
            .map_err(|error| Error::Encode { table: "event", source: error.into() })
    };
    let (log, tables) = (text(log)?, text(tables)?);
    if log == tables {
        return Ok(());
    }
    Err(Error::Diverged { subject: subject.to_owned(), log, tables })
}
