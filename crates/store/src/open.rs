//! Opening a store: to lead, which creates, checks and migrates, or to read, which changes nothing.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use kapelle_domain::ids::Term;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use crate::error::{Error, Site};
use crate::lock::{Lock, beside};
use crate::sqlite::{self, Connection};
use crate::store::{Epochs, LEADER, Lead, Seat, Store};

/// Every migration there ever was, oldest first. Append only; each sets the schema's number, which
/// is its place in this list, from 1.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        20_260_801_000_000,
        "initial",
        include_str!("../migrations/sqlite/20260801000000_initial.sql"),
    ),
    (
        20_261_128_000_000,
        "commands",
        include_str!("../migrations/sqlite/20261128000000_commands.sql"),
    ),
    (
        20_261_201_000_000,
        "admission",
        include_str!("../migrations/sqlite/20261201000000_admission.sql"),
    ),
    (
        20_261_202_000_000,
        "requests",
        include_str!("../migrations/sqlite/20261202000000_requests.sql"),
    ),
    (20_261_203_000_000, "log", include_str!("../migrations/sqlite/20261203000000_log.sql")),
];

/// How a store is to be opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The database file. Beside it lie its log (`-wal`, `-shm`) and the lock (`.lock`).
    pub path: PathBuf,
    /// What for.
    pub mode: Mode,
    /// The identity that a store gets when this call creates it: a random number.
    pub new_epoch: u64,
}

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To write. Creates and migrates; only one at a time.
    Lead,
    /// To read, also while somebody leads.
    Read,
}

impl Store {
    /// Opens a store. To lead, the store is created when it doesn't exist, an older one is
    /// migrated after a backup was laid beside it, and its term begins.
    ///
    /// # Errors
    /// One variant of [`Error`] for each thing that one can mend: the store is led by another
    /// process, missing, damaged, of another program, too new, or can't be written.
    pub async fn open(options: OpenOptions) -> Result<Self, Error> {
        let OpenOptions { path, mode, new_epoch } = options;
        let site = Site { path: &path, doing: "opening the store" };
        // The database must stay the same one, wherever the process goes.
        let path = std::path::absolute(&path).map_err(|error| site.io(error))?;
        match mode {
            Mode::Lead => open_to_lead(path, new_epoch).await,
            Mode::Read => open_to_read(path).await,
        }
    }
}

async fn open_to_lead(path: PathBuf, new_epoch: u64) -> Result<Store, Error> {
    let site = Site { path: &path, doing: "opening the store to lead" };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| site.io(error))?;
    }
    let lock = Lock::acquire(&path)?;
    let migrator = migrator(MIGRATIONS);
    if !exists(site)? {
        create(site, &migrator, new_epoch).await?;
    }
    let schema = inspect(site, known_schema()).await?;
    let mut writer = sqlite::connect_writer(site).await?;
    if schema < known_schema() {
        migrate(&mut writer, site, &migrator, schema).await?;
    }
    let term = begin_term(&mut writer, site).await?;
    let epoch = read_epoch(&mut writer, site).await?;
    let readers = sqlite::readers(site, crate::store::READ_DEADLINE).await?;
    let seat = Seat { connection: Some(writer), lock };
    let lead = Lead { term, seat: Some(seat).into() };
    Ok(Store { path, epoch, readers, lead: Some(lead) })
}

async fn open_to_read(path: PathBuf) -> Result<Store, Error> {
    let site = Site { path: &path, doing: "opening the store to read" };
    if !exists(site)? {
        return Err(Error::Missing { path });
    }
    let epoch = read_identity(site).await.map_err(|error| unless_writable(site, error))?;
    let readers = sqlite::readers(site, crate::store::READ_DEADLINE).await?;
    Ok(Store { path, epoch, readers, lead: None })
}

async fn read_identity(site: Site<'_>) -> Result<Epochs, Error> {
    let mut connection = sqlite::connect_reader(site).await?;
    let (found, known) = (identify(&mut connection, site, known_schema()).await?, known_schema());
    if found < known {
        return Err(Error::OlderSchema { path: site.path.to_owned(), found, known });
    }
    let epoch = read_epoch(&mut connection, site).await?;
    sqlite::close(connection, site).await?;
    Ok(epoch)
}

/// Readers share an index of the log in a file beside the store. Where that can't be written the
/// database says no more than that it can't open something; the system says why.
fn unless_writable(site: Site<'_>, error: Error) -> Error {
    let site = site.doing("laying the index of its log beside it, which reading needs");
    match (&error, File::options().append(true).open(site.path)) {
        (Error::Io { .. }, Err(denied)) => site.io(denied),
        _ => error,
    }
}

fn known_schema() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations.iter().map(|&(version, name, text)| {
        Migration::new(
            version,
            Cow::Borrowed(name),
            MigrationType::Simple,
            text.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

/// Whether the file is there. A store comes into being whole, so less than that is damage, and
/// must not be taken for a new beginning.
fn exists(site: Site<'_>) -> Result<bool, Error> {
    match site.path.metadata() {
        Ok(metadata) if metadata.len() == 0 => Err(site.corrupt("the file is empty")),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if sqlite::has_log(site.path) {
                return Err(site.corrupt("the file is gone, but its log (`-wal`) is there"));
            }
            Ok(false)
        }
        Err(error) => Err(site.io(error)),
    }
}

/// Builds the store under another name and moves it into its place when it is complete.
async fn create(site: Site<'_>, migrator: &Migrator, epoch: u64) -> Result<(), Error> {
    let draft = beside(site.path, ".new");
    for leftover in [draft.clone(), beside(&draft, "-journal")] {
        match std::fs::remove_file(leftover) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(site.io(error)),
        }
    }
    let draft_site = Site { path: &draft, doing: "creating the store" };
    let mut connection = sqlite::connect_new(draft_site).await?;
    sqlite::require_version(&mut connection, draft_site).await?;
    run_migrations(&mut connection, draft_site, migrator).await?;
    sqlx::query("INSERT INTO leader (id, term, last_seq, epoch) VALUES (1, 0, 0, $1)")
        .bind(epoch.cast_signed())
        .execute(&mut connection)
        .await
        .map_err(|error| sqlite::failure(draft_site, error))?;
    sqlite::close(connection, draft_site).await?;
    std::fs::rename(&draft, site.path).map_err(|error| draft_site.io(error))?;
    sync_directory(site)
}

fn sync_directory(site: Site<'_>) -> Result<(), Error> {
    let Some(directory) = site.path.parent() else { return Ok(()) };
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| site.io(error))
}

/// Looks at a file without changing it: whether it is ours, sound, and not from the future.
async fn inspect(site: Site<'_>, known: i64) -> Result<i64, Error> {
    let mut connection = sqlite::connect_reader(site).await?;
    sqlite::require_version(&mut connection, site).await?;
    let schema = identify(&mut connection, site, known).await?;
    sqlite::check_quickly(&mut connection, site.doing("checking the store for damage")).await?;
    sqlite::close(connection, site).await?;
    Ok(schema)
}

async fn identify(connection: &mut Connection, site: Site<'_>, known: i64) -> Result<i64, Error> {
    let identity = sqlite::identify(connection, site).await?;
    if !identity.is_ours {
        return Err(Error::Foreign { path: site.path.to_owned() });
    }
    if identity.schema > known {
        return Err(Error::NewerSchema {
            path: site.path.to_owned(),
            found: identity.schema,
            known,
        });
    }
    Ok(identity.schema)
}

/// Brings an older store up to date. What it was before lies beside it afterwards.
async fn migrate(
    connection: &mut Connection,
    site: Site<'_>,
    migrator: &Migrator,
    schema: i64,
) -> Result<(), Error> {
    let backup = unused_name(site.path, schema);
    tracing::info!(path = %site.path.display(), from = schema, backup = %backup.display(), "the store is migrated");
    sqlite::copy_into(connection, site.doing("copying the store before a migration"), &backup)
        .await?;
    sync_directory(site)?;
    run_migrations(connection, site.doing("migrating the store"), migrator).await
}

fn unused_name(path: &Path, schema: i64) -> PathBuf {
    let first = beside(path, &format!(".v{schema}.backup"));
    let others = (2u32..).map(|number| beside(path, &format!(".v{schema}.backup-{number}")));
    let mut names = std::iter::once(first.clone()).chain(others);
    names.find(|name| !name.exists()).unwrap_or(first)
}

async fn run_migrations(
    connection: &mut Connection,
    site: Site<'_>,
    migrator: &Migrator,
) -> Result<(), Error> {
    match migrator.run(connection).await {
        Ok(()) => Ok(()),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
            Err(sqlite::failure(site, error))
        }
        Err(error) => Err(Error::Database { doing: site.doing, source: error.into() }),
    }
}

/// From here on, whoever led before can't commit any more.
async fn begin_term(connection: &mut Connection, site: Site<'_>) -> Result<Term, Error> {
    let query = sqlx::query("UPDATE leader SET term = term + 1 WHERE id = 1 RETURNING id, term");
    let rows = LEADER.select(connection, site, query).await?;
    match rows.first() {
        Some(row) => Ok(Term(row.number("term")?)),
        None => Err(site.corrupt("table `leader` has no row")),
    }
}

async fn read_epoch(connection: &mut Connection, site: Site<'_>) -> Result<Epochs, Error> {
    let select = "SELECT id, epoch, COALESCE(log_epoch, epoch) AS log FROM leader WHERE id = 1";
    let rows = LEADER.select(connection, site, sqlx::query(select)).await?;
    match rows.first() {
        Some(row) => Ok(Epochs {
            identity: row.get::<i64>("epoch")?.cast_unsigned(),
            log: row.get::<i64>("log")?.cast_unsigned(),
        }),
        None => Err(site.corrupt("table `leader` has no row")),
    }
}

#[cfg(test)]
mod tests;
