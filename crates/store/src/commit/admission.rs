//! Rows of invitations and credentials. Rare, so each change writes its own.

use kapelle_domain::admission::{Change, Credential, Invitation};

use crate::error::{Error, Site};
use crate::sqlite::{self, Connection};

pub(super) async fn write(
    connection: &mut Connection,
    site: Site<'_>,
    changes: &[Change],
) -> Result<(), Error> {
    for change in changes {
        match change {
            Change::Invited(invitation) => invite(connection, site, invitation).await?,
            Change::Admitted(credential) => admit(connection, site, credential).await?,
            Change::Revoked { worker, at } => {
                let withdraw = sqlx::query("DELETE FROM invitation WHERE worker_id = $1")
                    .bind(worker.0.clone());
                let revoke = sqlx::query(
                    "UPDATE credential SET revoked_at = $1 WHERE worker_id = $2 AND revoked_at IS NULL",
                )
                .bind(at.0)
                .bind(worker.0.clone());
                for query in [withdraw, revoke] {
                    execute(connection, site, query).await?;
                }
            }
        }
    }
    Ok(())
}

async fn invite(
    connection: &mut Connection,
    site: Site<'_>,
    invitation: &Invitation,
) -> Result<(), Error> {
    let Invitation { id, key, worker, uses_max, created_at, expires_at } = invitation;
    let query = sqlx::query(
        "INSERT INTO invitation (invitation_id, key, worker_id, uses_max, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id.clone())
    .bind(key.clone())
    .bind(worker.as_ref().map(|worker| worker.0.clone()))
    .bind(i64::from(*uses_max))
    .bind(created_at.0)
    .bind(expires_at.0);
    execute(connection, site, query).await
}

/// One that is there already is what it was.
async fn admit(
    connection: &mut Connection,
    site: Site<'_>,
    credential: &Credential,
) -> Result<(), Error> {
    let Credential { key, worker, invitation, issued_at, revoked_at } = credential;
    let query = sqlx::query(
        "INSERT INTO credential (key, worker_id, invitation_id, issued_at, revoked_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING",
    )
    .bind(key.clone())
    .bind(worker.0.clone())
    .bind(invitation.clone())
    .bind(issued_at.0)
    .bind(revoked_at.map(|at| at.0));
    execute(connection, site, query).await
}

async fn execute(
    connection: &mut Connection,
    site: Site<'_>,
    query: sqlite::Query,
) -> Result<(), Error> {
    query.execute(connection).await.map_err(|error| sqlite::failure(site, error))?;
    Ok(())
}
