//! Rows of workers: their newest session and how it stands. Rare, so each event writes its own.

use kapelle_domain::event::{Event, Recorded, WorkerEvent};
use kapelle_domain::ids::{Timestamp, WorkerId};
use kapelle_domain::worker::Duty;

use super::upsert::integer;
use crate::error::{Error, Site};
use crate::names;
use crate::sqlite::{self, Connection};

pub(super) async fn write(
    connection: &mut Connection,
    site: Site<'_>,
    events: &[Recorded],
) -> Result<(), Error> {
    for recorded in events {
        let Event::Worker { worker, event } = &recorded.event else { continue };
        let query = match event {
            WorkerEvent::Registered { registration, session } => {
                // A cordon outlives the session, as in the engine.
                let text = "INSERT INTO worker (worker_id, session, state, since, reason, registration)
                    VALUES ($1, $2, 'registered', $3, NULL, $4)
                    ON CONFLICT (worker_id) DO UPDATE SET session = excluded.session,
                        state = CASE worker.state WHEN 'cordoned' THEN 'cordoned' ELSE excluded.state END,
                        since = excluded.since, reason = excluded.reason, registration = excluded.registration";
                let json = serde_json::to_string(registration);
                let json =
                    json.map_err(|error| Error::Encode { table: "worker", source: error.into() })?;
                sqlx::query(text)
                    .bind(worker.0.clone())
                    .bind(integer(session.0))
                    .bind(recorded.at.0)
                    .bind(json)
            }
            WorkerEvent::Draining => on_duty(worker, Duty::Draining, recorded.at),
            WorkerEvent::DutyChanged { duty } => on_duty(worker, *duty, recorded.at),
            // Silence is of one moment; only what came of it is a state.
            WorkerEvent::Suspected | WorkerEvent::Recovered => continue,
            WorkerEvent::Gone { reason } => sqlx::query(
                "UPDATE worker SET state = 'gone', since = $1, reason = $2 WHERE worker_id = $3",
            )
            .bind(recorded.at.0)
            .bind(reason.clone())
            .bind(worker.0.clone()),
        };
        query.execute(&mut *connection).await.map_err(|error| sqlite::failure(site, error))?;
    }
    Ok(())
}

fn on_duty(worker: &WorkerId, duty: Duty, at: Timestamp) -> sqlite::Query {
    sqlx::query("UPDATE worker SET state = $1, since = $2 WHERE worker_id = $3")
        .bind(names::worker_state(duty))
        .bind(at.0)
        .bind(worker.0.clone())
}
