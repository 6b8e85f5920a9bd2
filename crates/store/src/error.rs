//! What can go wrong between us and the database, told apart by what one can do about it.

use std::io;
use std::path::{Path, PathBuf};

use kapelle_domain::engine::Defect;
use kapelle_domain::ids::EventSeq;

/// A cause from below, of whichever kind.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process leads over this store.
    #[error(
        "{} is in use by another process{}; use that one, or end it first",
        path.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The store's file.
        path: PathBuf,
        /// The process that holds it, when it could be found out.
        pid: Option<u32>,
    },
    /// There is nothing to read.
    #[error("there is no store at {}; a run creates it", path.display())]
    Missing {
        /// The file that isn't there.
        path: PathBuf,
    },
    /// The store was written by an older version, and reading doesn't migrate.
    #[error(
        "{} has schema {found}, this version reads schema {known}; open it once to lead, which migrates it",
        path.display()
    )]
    OlderSchema {
        /// The store's file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The store was written by a newer version; going back would lose what it knows.
    #[error(
        "{} was written by a newer version (schema {found}, this version knows {known}); upgrade, or put the backup from before the upgrade in its place",
        path.display()
    )]
    NewerSchema {
        /// The store's file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is a database, but none of ours.
    #[error("{} is a database of another program; choose another place for the store", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The SQLite library has a known way to lose data.
    #[error("SQLite {found} is too old: at least {required} is needed")]
    OldSqlite {
        /// The library's version.
        found: String,
        /// The oldest that will do.
        required: &'static str,
    },
    /// The file system can't keep a write-ahead log.
    #[error(
        "{} can't keep a write-ahead log (journal mode is `{mode}`); put the store on a local disk",
        path.display()
    )]
    NoWriteAheadLog {
        /// The store's file.
        path: PathBuf,
        /// The journal mode that it has instead.
        mode: String,
    },
    /// The file is damaged.
    #[error(
        "{} is damaged: {detail}; it was left as it is: move it aside with its `-wal` and `-shm` files, and put a backup in its place or start anew",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
        /// What the database said.
        source: Option<Cause>,
    },
    /// No room for what was to be written; nothing of it was kept.
    #[error("the disk is full while {doing} ({})", path.display())]
    DiskFull {
        /// What we were doing.
        doing: &'static str,
        /// The file that couldn't grow.
        path: PathBuf,
        /// What the system said.
        source: Cause,
    },
    /// The file or its directory can't be written.
    #[error("{} can't be written while {doing}", path.display())]
    ReadOnly {
        /// What we were doing.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Cause,
    },
    /// Somebody else held the database for too long.
    #[error("the database was busy for too long while {doing}")]
    Busy {
        /// What we were doing.
        doing: &'static str,
        /// What the database said.
        source: Cause,
    },
    /// A read took longer than it may; it was given up.
    #[error("{doing} took longer than {}", humane(*limit))]
    Deadline {
        /// What we were doing.
        doing: &'static str,
        /// How long it may take.
        limit: std::time::Duration,
    },
    /// The system refused.
    #[error("input or output failed while {doing} ({})", path.display())]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Cause,
    },
    /// The database refused for a reason that has no variant of its own.
    #[error("the database refused while {doing}")]
    Database {
        /// What we were doing.
        doing: &'static str,
        /// What it said.
        source: Cause,
    },
    /// Another coordinator has taken over; nothing was written.
    #[error("another coordinator leads over this store now")]
    Deposed,
    /// A write over a store that was opened to read, or closed.
    #[error("the store is not open to lead")]
    NotLeading,
    /// The events don't continue the log; nothing was written.
    #[error("event {found} was to follow event {last}; the log has no gaps")]
    Gap {
        /// The last event before.
        last: EventSeq,
        /// The event that doesn't follow it.
        found: EventSeq,
    },
    /// An event of a batch changes something whose state the batch doesn't hold.
    #[error("event {seq} changes {subject}, whose state is not part of the batch")]
    Incomplete {
        /// The event.
        seq: EventSeq,
        /// The run or task.
        subject: String,
    },
    /// Something could not be written as text.
    #[error("writing a row of `{table}` as text")]
    Encode {
        /// The table.
        table: &'static str,
        /// Why.
        source: Cause,
    },
    /// A row doesn't hold what it must.
    #[error("table `{table}`, row {key}: column `{column}` doesn't hold what it must")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The row, as names and values of its key.
        key: String,
        /// The column.
        column: &'static str,
        /// Why.
        source: Cause,
    },
    /// An event of the log doesn't fit those before it.
    #[error("event {seq} doesn't fit the events before it")]
    IllegalHistory {
        /// The event.
        seq: EventSeq,
        /// Why.
        source: Defect,
    },
    /// A table says something else than the log.
    #[error(
        "{subject} differs between the log and the tables: the log says {log}, the tables say {tables}"
    )]
    Diverged {
        /// What differs.
        subject: String,
        /// As it follows from the events.
        log: String,
        /// As the tables have it.
        tables: String,
    },
}

impl Error {
    /// Whether the same may succeed later without anybody mending the store: there may be room
    /// again, or whoever was in the way may be gone.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::DiskFull { .. } | Self::Busy { .. } | Self::Deadline { .. } | Self::Io { .. } => {
                true
            }
            Self::Locked { .. }
            | Self::Missing { .. }
            | Self::OlderSchema { .. }
            | Self::NewerSchema { .. }
            | Self::Foreign { .. }
            | Self::OldSqlite { .. }
            | Self::NoWriteAheadLog { .. }
            | Self::Corrupt { .. }
            | Self::ReadOnly { .. }
            | Self::Database { .. }
            | Self::Deposed
            | Self::NotLeading
            | Self::Gap { .. }
            | Self::Incomplete { .. }
            | Self::Encode { .. }
            | Self::Inconsistent { .. }
            | Self::IllegalHistory { .. }
            | Self::Diverged { .. } => false,
        }
    }
}

/// Where in our work a failure from below came up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) path: &'a Path,
    pub(crate) doing: &'static str,
}

impl Site<'_> {
    pub(crate) fn doing(self, doing: &'static str) -> Self {
        Self { doing, ..self }
    }

    /// The failure of a system call.
    pub(crate) fn io(self, source: io::Error) -> Error {
        let (doing, path) = (self.doing, self.path.to_owned());
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Error::DiskFull { doing, path, source: source.into() },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Error::ReadOnly { doing, path, source: source.into() }
            }
            _ => Error::Io { doing, path, source: source.into() },
        }
    }

    /// Damage that we saw ourselves.
    pub(crate) fn corrupt(self, detail: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.to_owned(), detail: detail.into(), source: None }
    }
}

fn humane(limit: std::time::Duration) -> String {
    format!("{} s", limit.as_secs())
}
