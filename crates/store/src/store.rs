//! The store as its users hold it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kapelle_domain::ids::{EventSeq, Term};
use tokio::sync::Mutex;

use crate::commit::{self, Batch};
use crate::error::{Error, Site};
use crate::lock::Lock;
use crate::record::Table;
use crate::sqlite::{self, Connection, Pool, Transaction};

/// How long a read for a surface may take. A reader that stays keeps the log from being cut back.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);

pub(crate) static LEADER: Table =
    Table { name: "leader", key: &["id"], reading: "reading who leads and where the log ends" };

/// An open store. Closing it is polite; a store that isn't closed loses nothing.
#[derive(Debug)]
pub struct Store {
    pub(crate) path: PathBuf,
    pub(crate) epoch: Epochs,
    pub(crate) readers: Pool,
    pub(crate) lead: Option<Lead>,
}

/// What a store and its log are told apart by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epochs {
    pub(crate) identity: u64,
    pub(crate) log: u64,
}

/// What only the leader has.
#[derive(Debug)]
pub(crate) struct Lead {
    pub(crate) term: Term,
    /// `None` once the store is closed.
    pub(crate) seat: Mutex<Option<Seat>>,
}

/// The right to write, and the means.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Taken out for each commit and put back when that went well: after a failure, and when the
    /// caller went away in the middle, the next commit starts with a new connection rather than
    /// with one whose state is in doubt.
    pub(crate) connection: Option<Connection>,
    pub(crate) lock: Lock,
}

impl Store {
    /// Where the store lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of its log. Event numbers of logs with different epochs have nothing to do with
    /// each other; a restored store has another one than the store that was backed up, since the
    /// numbers after the backup mean other events in each.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.log
    }

    /// The identity that the store got when it was created, and that every copy of it keeps. What
    /// it left elsewhere (references, trailers of commits) is known by it.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.epoch.identity
    }

    /// The term of this leadership; `None` when the store was opened to read.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.lead.as_ref().map(|lead| lead.term)
    }

    /// Writes a batch, all of it or nothing. When this returns `Ok`, the batch survives the loss
    /// of power.
    ///
    /// # Errors
    /// [`Error::Deposed`] when another coordinator leads now, [`Error::Gap`] when the events don't
    /// continue the log, [`Error::Incomplete`] when the batch lacks the state of something that
    /// it changes, else whatever kept the database from it. After an [`Error::Io`] it isn't known
    /// whether the batch was kept: [`Store::last_seq`] tells.
    pub async fn commit(&self, batch: Batch) -> Result<(), Error> {
        let site = self.site("committing a batch");
        let lead = self.lead.as_ref().ok_or(Error::NotLeading)?;
        let mut seat = lead.seat.lock().await;
        let seat = seat.as_mut().ok_or(Error::NotLeading)?;
        let mut connection = match seat.connection.take() {
            Some(connection) => connection,
            None => sqlite::connect_writer(site).await?,
        };
        Box::pin(commit::write(&mut connection, site, lead.term, &batch)).await?;
        seat.connection = Some(connection);
        Ok(())
    }

    /// The number of the newest event; 0 in a new store.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn last_seq(&self) -> Result<EventSeq, Error> {
        let query = sqlx::query("SELECT id, last_seq FROM leader WHERE id = 1");
        let site = self.site(LEADER.reading);
        let mut transaction = self.begin_read(site.doing).await?;
        let rows = LEADER.select(&mut transaction, site, query).await?;
        match rows.first() {
            Some(row) => Ok(EventSeq(row.number("last_seq")?)),
            None => Err(site.corrupt("table `leader` has no row")),
        }
    }

    /// Ends all connections, which brings everything into the one file, and gives the lead back.
    /// Whatever is asked of the store afterwards fails.
    ///
    /// # Errors
    /// When the file couldn't be brought up to date; the log beside it then has the rest.
    pub async fn close(&self) -> Result<(), Error> {
        self.readers.close().await;
        let Some(lead) = &self.lead else { return Ok(()) };
        let seat = lead.seat.lock().await.take();
        match seat.and_then(|seat| Some((seat.connection?, seat.lock))) {
            // The last connection that may write moves the log into the file, still under the lock.
            Some((connection, _lock)) => {
                sqlite::close(connection, self.site("closing the store")).await
            }
            None => Ok(()),
        }
    }

    pub(crate) fn site(&self, doing: &'static str) -> Site<'_> {
        Site { path: &self.path, doing }
    }

    /// A view of one moment, whatever is committed meanwhile.
    pub(crate) async fn begin_read(
        &self,
        doing: &'static str,
    ) -> Result<Transaction<'static>, Error> {
        self.readers.begin().await.map_err(|error| sqlite::failure(self.site(doing), error))
    }

    /// Gives a read up when it takes too long.
    pub(crate) async fn in_time<T>(
        &self,
        doing: &'static str,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = READ_DEADLINE;
        tokio::time::timeout(limit, read).await.unwrap_or(Err(Error::Deadline { doing, limit }))
    }
}
