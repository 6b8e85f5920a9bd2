//! Keeping a store well: copies, checks, and a short log. None of it waits for the writer or makes
//! it wait, except where it says so.

use std::path::Path;

use crate::error::Error;
use crate::sqlite;
use crate::store::Store;

/// How far a checkpoint goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// Moves what nobody needs in the log any more. Makes nobody wait.
    Passive,
    /// Waits for readers and empties the log's file; commits wait meanwhile. For idle times.
    Truncate,
}

impl Store {
    /// Writes a complete copy into a new file, as of one moment, while work goes on. Copying the
    /// file by other means loses what is in its log.
    ///
    /// # Errors
    /// When `target` exists or can't be written.
    pub async fn backup(&self, target: &Path) -> Result<(), Error> {
        let site = self.site("copying the store");
        let mut connection = sqlite::connect_reader(site).await?;
        sqlite::copy_into(&mut connection, site, target).await?;
        sqlite::close(connection, site).await
    }

    /// Looks for damage everywhere in the file. Takes some seconds for each gigabyte.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the first thing that is wrong.
    pub async fn check(&self) -> Result<(), Error> {
        let site = self.site("checking the store for damage");
        let mut connection = sqlite::connect_reader(site).await?;
        sqlite::check_fully(&mut connection, site).await?;
        sqlite::close(connection, site).await
    }

    /// Moves the log into the main file, off the path of commits. To be called beside them: about
    /// every second while there are any, and with [`Checkpoint::Truncate`] when there is nothing
    /// else to do. Left undone, a commit does it now and then, and takes that much longer. Returns
    /// whether all of the log could be moved.
    ///
    /// # Errors
    /// When the file can't be written, or the store was opened to read.
    pub async fn checkpoint(&self, how: Checkpoint) -> Result<bool, Error> {
        let site = self.site("moving the log into the store's file");
        if self.lead.is_none() {
            return Err(Error::NotLeading);
        }
        let mut connection = sqlite::connect_writer(site).await?;
        let truncate = how == Checkpoint::Truncate;
        let complete = sqlite::checkpoint(&mut connection, site, truncate).await?;
        sqlite::close(connection, site).await?;
        Ok(complete)
    }
}
