//! Where a test's store lives, and how tests open it.

use std::path::PathBuf;

use kapelle_store::{Error, Mode, OpenOptions, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// A directory of its own for one store.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

pub(crate) const EPOCH: u64 = 0xfeed_0000_0000_0001;

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.file("state.db")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) async fn open(&self, mode: Mode) -> Result<Store, Error> {
        Store::open(OpenOptions { path: self.path(), mode, new_epoch: EPOCH }).await
    }

    pub(crate) async fn lead(&self) -> Store {
        self.open(Mode::Lead).await.expect("a store to lead")
    }

    /// Goes past the store, as damage and other programs do.
    pub(crate) async fn tamper(&self, statement: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.path()).foreign_keys(false);
        let mut connection = options.connect().await.expect("a connection");
        sqlx::raw_sql(statement).execute(&mut connection).await.expect("a legal statement");
        connection.close().await.expect("an orderly end");
    }
}

/// Runs a test to its end on one thread.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime").block_on(test)
}

/// Every cause, for messages that are looked for words.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
