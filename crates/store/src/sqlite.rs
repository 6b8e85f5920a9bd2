//! Whatever only SQLite has: how it is opened, what it calls its errors, how its log is kept short.
//!
//! The rest of the crate speaks in the aliases from here and in statements that PostgreSQL takes
//! as they are.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use crate::error::{Cause, Error, Site};

pub(crate) type Db = sqlx::Sqlite;
pub(crate) type Connection = sqlx::SqliteConnection;
pub(crate) type Transaction<'c> = sqlx::Transaction<'c, Db>;
pub(crate) type Arguments = sqlx::sqlite::SqliteArguments;
pub(crate) type Pool = sqlx::SqlitePool;
pub(crate) type Row = sqlx::sqlite::SqliteRow;
pub(crate) type Query = sqlx::query::Query<'static, Db, Arguments>;

/// What begins a transaction that will write. One that begins as a reader and then writes fails
/// at once when somebody else wrote in between, without waiting for its turn.
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// The oldest library without a known way to lose what was committed.
///
/// Before it, a write that met the restart of the log could be lost, and the file be damaged
/// (<https://www.sqlite.org/wal.html#walresetbug>).
const REQUIRED: (u32, u32, u32) = (3, 51, 3);
const REQUIRED_TEXT: &str = "3.51.3";

/// Says in the file that it is ours.
const APPLICATION_ID: i64 = 0x4b61_706c;

/// How long a connection waits for another: only ever for a checkpoint or a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of the log after which a commit moves them itself: a net for a leader that never finds
/// the time for a checkpoint of its own.
const CHECKPOINT_PAGES: &str = "8192";

/// The file of the log is cut back to this when it starts anew.
const LOG_BYTES_MAX: &str = "67108864";

/// Room for all the pages that a large commit changes, in KiB, so that none is written twice.
const WRITER_CACHE_KIB: &str = "-32768";

/// All the statements that a commit is made of, and some more: none is to be prepared twice.
const STATEMENTS_MAX: usize = 128;

const READERS_MAX: u32 = 4;

/// Files up to this size are checked whole whenever they are opened to lead.
const ALWAYS_CHECK_BYTES_MAX: u64 = 64 << 20;

/// Files up to this size are checked whole after an unclean end.
const CHECK_BYTES_MAX: u64 = 1 << 30;

/// The place of a value in a statement that is made of many. SQLite searches a list of all places
/// for each that has a name such as `$7`, which takes most of the time of a statement with hundreds
/// of them; one without a name is found at once.
pub(crate) fn placeholder(_number: usize) -> String {
    "?".to_owned()
}

/// What a file says of itself before anything of it is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) is_ours: bool,
    pub(crate) schema: i64,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_MAX)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0")
        .thread_name(|id| format!("store-{id}"))
        // Statements name no values, but are long; failures are reported by whoever gets them.
        .disable_statement_logging()
}

/// The connection that writes.
pub(crate) async fn connect_writer(site: Site<'_>) -> Result<Connection, Error> {
    let options = options(site.path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", LOG_BYTES_MAX)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", WRITER_CACHE_KIB);
    let mut connection = options.connect().await.map_err(|error| failure(site, error))?;
    let mode: String = pragma(&mut connection, site, "journal_mode").await?;
    if mode != "wal" {
        return Err(Error::NoWriteAheadLog { path: site.path.to_owned(), mode });
    }
    Ok(connection)
}

/// A connection to a file that doesn't exist yet, and that nobody else knows of.
pub(crate) async fn connect_new(site: Site<'_>) -> Result<Connection, Error> {
    let options = options(site.path).create_if_missing(true).synchronous(SqliteSynchronous::Full);
    options.connect().await.map_err(|error| failure(site, error))
}

/// A connection that can't change anything.
pub(crate) async fn connect_reader(site: Site<'_>) -> Result<Connection, Error> {
    options(site.path).read_only(true).connect().await.map_err(|error| failure(site, error))
}

/// The connections that surfaces read with.
pub(crate) async fn readers(site: Site<'_>, patience: Duration) -> Result<Pool, Error> {
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(patience)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options(site.path).read_only(true))
        .await
        .map_err(|error| failure(site, error))
}

/// Whether something was committed that isn't in the main file yet. After a clean end it is.
pub(crate) fn has_log(path: &Path) -> bool {
    let log = crate::lock::beside(path, "-wal");
    log.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

pub(crate) async fn require_version(
    connection: &mut Connection,
    site: Site<'_>,
) -> Result<(), Error> {
    let row = sqlx::query("SELECT sqlite_version()").fetch_one(connection).await;
    let found: String = row.and_then(|row| row.try_get(0)).map_err(|error| failure(site, error))?;
    if parse_version(&found).is_some_and(|version| version >= REQUIRED) {
        return Ok(());
    }
    Err(Error::OldSqlite { found, required: REQUIRED_TEXT })
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    let mut next = || parts.next()?.ok();
    Some((next()?, next()?, next()?))
}

pub(crate) async fn identify(
    connection: &mut Connection,
    site: Site<'_>,
) -> Result<Identity, Error> {
    let application: i64 = pragma(connection, site, "application_id").await?;
    let schema = pragma(connection, site, "user_version").await?;
    Ok(Identity { is_ours: application == APPLICATION_ID, schema })
}

/// Looks for damage where that is cheap: always in a small file; in a larger one only after an
/// unclean end; in a very large one never, because nobody would wait for it. Damage that is missed
/// here still fails the read that meets it.
pub(crate) async fn check_quickly(
    connection: &mut Connection,
    site: Site<'_>,
) -> Result<(), Error> {
    let bytes = site.path.metadata().map_err(|error| site.io(error))?.len();
    let bytes_max = if has_log(site.path) { CHECK_BYTES_MAX } else { ALWAYS_CHECK_BYTES_MAX };
    if bytes <= bytes_max { check(connection, site, "quick_check(1)").await } else { Ok(()) }
}

/// Looks for damage everywhere, in the file and in the references between rows.
pub(crate) async fn check_fully(connection: &mut Connection, site: Site<'_>) -> Result<(), Error> {
    check(connection, site, "integrity_check(1)").await?;
    let row = sqlx::query("PRAGMA foreign_key_check").fetch_optional(connection).await;
    let row = row.map_err(|error| failure(site, error))?;
    match row.map(|row| row.try_get::<String, _>(0)) {
        Some(Ok(table)) => {
            Err(site.corrupt(format!("table `{table}` refers to rows that don't exist")))
        }
        Some(Err(error)) => Err(failure(site, error)),
        None => Ok(()),
    }
}

async fn check(
    connection: &mut Connection,
    site: Site<'_>,
    name: &'static str,
) -> Result<(), Error> {
    let finding: String = pragma(connection, site, name).await?;
    if finding == "ok" {
        return Ok(());
    }
    Err(site.corrupt(finding.replace('\n', " ")))
}

async fn pragma<T>(
    connection: &mut Connection,
    site: Site<'_>,
    name: &'static str,
) -> Result<T, Error>
where
    T: for<'r> sqlx::Decode<'r, Db> + sqlx::Type<Db>,
{
    let row = sqlx::query(AssertSqlSafe(format!("PRAGMA {name}"))).fetch_one(connection).await;
    row.and_then(|row| row.try_get(0)).map_err(|error| failure(site, error))
}

/// Copies everything that is committed into a new file, complete and without gaps inside.
/// Copying the file itself would miss what is in the log.
pub(crate) async fn copy_into(
    connection: &mut Connection,
    site: Site<'_>,
    target: &Path,
) -> Result<(), Error> {
    let Some(text) = target.to_str() else {
        return Err(
            site.io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not UTF-8"))
        );
    };
    let query = sqlx::query("VACUUM INTO $1").bind(text.to_owned());
    query.execute(connection).await.map_err(|error| failure(site, error))?;
    // The copy is about to be relied upon.
    std::fs::File::open(target).and_then(|file| file.sync_all()).map_err(|error| site.io(error))
}

/// Moves the log into the main file. With `truncate` the log's file is emptied too, for which
/// readers and the writer have to wait. Returns whether all of it could be moved.
pub(crate) async fn checkpoint(
    connection: &mut Connection,
    site: Site<'_>,
    truncate: bool,
) -> Result<bool, Error> {
    let text =
        if truncate { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    let row =
        sqlx::query(text).fetch_one(connection).await.map_err(|error| failure(site, error))?;
    let column = |index: usize| row.try_get::<i64, _>(index).map_err(|error| failure(site, error));
    let (blocked, pages, moved) = (column(0)?, column(1)?, column(2)?);
    Ok(blocked == 0 && pages == moved)
}

/// A failure of the database, by what one can do about it.
pub(crate) fn failure(site: Site<'_>, error: sqlx::Error) -> Error {
    let Site { path, doing } = site;
    let path = path.to_owned();
    let error = match error {
        sqlx::Error::Database(error) => error,
        sqlx::Error::PoolTimedOut => return Error::Busy { doing, source: error.into() },
        sqlx::Error::Io(source) => return Error::Io { doing, path, source: source.into() },
        error => return Error::Database { doing, source: error.into() },
    };
    let code: u32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    // The database's own words; what sqlx puts around them only says them twice.
    let source: Cause = error.to_string().into();
    // https://www.sqlite.org/rescode.html; the low byte is the kind, the rest says more.
    match (code & 0xff, code) {
        // SQLITE_FULL; and no room for the index of the log.
        (13, _) | (_, 4874) => Error::DiskFull { doing, path, source },
        (8, _) => Error::ReadOnly { doing, path, source },
        (5 | 6, _) => Error::Busy { doing, source },
        (11 | 26, _) => {
            Error::Corrupt { path, detail: error.message().to_owned(), source: Some(source) }
        }
        // SQLITE_IOERR, SQLITE_CANTOPEN.
        (10 | 14, _) => Error::Io { doing, path, source },
        _ => Error::Database { doing, source },
    }
}

/// Ends a connection and tells when that is done.
pub(crate) async fn close(connection: Connection, site: Site<'_>) -> Result<(), Error> {
    connection.close().await.map_err(|error| failure(site, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for (text, enough) in [
            ("3.51.3", true),
            ("3.100.0", true),
            ("4.0.0", true),
            ("3.51.2", false),
            ("3.9.9", false),
        ] {
            assert_eq!(
                parse_version(text).map(|version| version >= REQUIRED),
                Some(enough),
                "{text}"
            );
        }
        assert_eq!(parse_version("three"), None);
    }
}
