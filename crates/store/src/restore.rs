//! Putting a backup in the place of a store. Nothing of what was there is lost.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kapelle_domain::policy::Limits;

use crate::error::{Error, Site};
use crate::fold::Folded;
use crate::lock::{Lock, beside};
use crate::open::{Mode, OpenOptions};
use crate::sqlite;
use crate::store::Store;

/// What lies beside a database and is named after it.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What came of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the store lies now that was there before; its log, if it has one, is beside it.
    pub replaced: Option<PathBuf>,
    /// What was verified.
    pub folded: Folded,
}

impl Store {
    /// Puts a copy of `backup` in the place of the store at `place`, which may be damaged or
    /// missing, and moves that aside. The backup is verified before anything is moved, and migrated
    /// when it is of an older version; the file itself stays as it is. The log of the copy goes by
    /// `new_epoch`, a random number, from here on.
    ///
    /// # Errors
    /// When somebody leads over the store, when the backup is not sound, or when the copy can't be
    /// made. Everything is as it was then. Cut off in the end, it is to be done again.
    pub async fn restore(backup: &Path, place: &Path, new_epoch: u64) -> Result<Restored, Error> {
        let site = Site { path: place, doing: "restoring the store" };
        let directory = place.parent().filter(|directory| !directory.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(|error| site.io(error))?;
        let _lock = Lock::acquire(place)?;
        let draft = beside(place, ".restoring");
        clear(&draft, site)?;
        let folded = copy(backup, &draft).await?;
        rename_log(&draft, new_epoch).await?;
        let replaced = put_aside(place, site)?;
        fs::rename(&draft, place).map_err(|error| site.io(error))?;
        fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| site.io(error))?;
        clear(&draft, site)?;
        Ok(Restored { replaced, folded })
    }
}

/// Makes a complete and up to date copy, and verifies it.
async fn copy(backup: &Path, draft: &Path) -> Result<Folded, Error> {
    let open =
        |path: &Path, mode| Store::open(OpenOptions { path: path.to_owned(), mode, new_epoch: 0 });
    match open(backup, Mode::Read).await {
        Ok(store) => {
            // Here an error still names the file that people know.
            verify(&store).await?;
            store.close().await?;
        }
        // It can be verified once it is up to date, as its copy will be.
        Err(Error::OlderSchema { .. }) => {}
        Err(error) => return Err(error),
    }
    let site = Site { path: backup, doing: "copying the backup" };
    let mut connection = sqlite::connect_reader(site).await?;
    sqlite::copy_into(&mut connection, site, draft).await?;
    sqlite::close(connection, site).await?;
    let store = open(draft, Mode::Lead).await?;
    let folded = verify(&store).await?;
    store.close().await?;
    Ok(folded)
}

/// Whoever knows a place in the log that the backup was made of must learn that it is not in this
/// one: the same numbers will be given to other events.
async fn rename_log(draft: &Path, epoch: u64) -> Result<(), Error> {
    let site = Site { path: draft, doing: "naming the log of the copy" };
    let mut connection = sqlite::connect_writer(site).await?;
    sqlx::query("UPDATE leader SET log_epoch = $1 WHERE id = 1")
        .bind(epoch.cast_signed())
        .execute(&mut connection)
        .await
        .map_err(|error| sqlite::failure(site, error))?;
    sqlite::close(connection, site).await
}

async fn verify(store: &Store) -> Result<Folded, Error> {
    store.check().await?;
    store.verify_fold(Limits::default()).await
}

/// Gives what is there a second name, with its log; then only the log is taken away. So there is a
/// store in the place at every moment, and a complete one beside it.
fn put_aside(place: &Path, site: Site<'_>) -> Result<Option<PathBuf>, Error> {
    let names = (1u32..).map(|number| match number {
        1 => beside(place, ".replaced"),
        _ => beside(place, &format!(".replaced-{number}")),
    });
    let mut free = names.filter(|name| !taken(name));
    let Some(aside) = free.next() else { return Ok(None) };
    let mut found = false;
    for companion in ["", "-wal", "-shm"] {
        match fs::hard_link(beside(place, companion), beside(&aside, companion)) {
            Ok(()) => found = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(site.io(error)),
        }
    }
    // What is written after this must not be taken for the log of another file.
    for companion in COMPANIONS {
        remove(&beside(place, companion), site)?;
    }
    Ok(found.then_some(aside))
}

fn taken(name: &Path) -> bool {
    std::iter::once("").chain(COMPANIONS).any(|companion| beside(name, companion).exists())
}

/// Removes a draft with all that was made around it.
fn clear(draft: &Path, site: Site<'_>) -> Result<(), Error> {
    for suffix in std::iter::once("").chain(COMPANIONS).chain([".lock"]) {
        remove(&beside(draft, suffix), site)?;
    }
    let name = draft.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in draft.parent().into_iter().flat_map(fs::read_dir).flatten().flatten() {
        // What a migration laid beside it; the backup itself is still there.
        if entry.file_name().to_string_lossy().starts_with(&format!("{name}.v")) {
            remove(&entry.path(), site)?;
        }
    }
    Ok(())
}

fn remove(path: &Path, site: Site<'_>) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(site.io(error)),
    }
}
