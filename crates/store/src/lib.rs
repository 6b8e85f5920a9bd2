//! Durable state: the history of everything that happened, and tables of how things stand.
//!
//! The only user of `sqlx`. A [`Store`] is opened by one coordinator to lead, or by anyone to
//! read. All writing is [`Store::commit`]: a [`Batch`] of events with the final state of what they
//! changed, in one transaction that also asserts that its writer still leads and that the log has
//! no gap. The log is the truth; [`Store::verify_fold`] proves that the tables say the same.
//!
//! Nothing is decided here: what may follow what is in `kapelle-domain`. The statements are
//! written so that PostgreSQL takes the same text; whatever only SQLite has is in `sqlite`.

mod commit;
mod error;
mod fold;
mod load;
mod lock;
mod names;
mod open;
mod read;
mod record;
mod restore;
mod sqlite;
mod store;
mod upkeep;

pub use commit::{Batch, ChangedTask};
pub use error::Error;
pub use fold::Folded;
pub use load::{LoadedRun, LoadedTasks};
pub use open::{Mode, OpenOptions};
pub use read::{RunFilter, RunStatus, StoredRun, StoredTask};
pub use restore::Restored;
pub use store::Store;
pub use upkeep::Checkpoint;
