//! Statements that write many rows at once.
//!
//! A statement for each of a few sizes, so that the database prepares each once and a batch of any
//! length is made of them.

use kapelle_domain::ids::TaskId;
use serde::Serialize;
use sqlx::{Arguments as _, Encode, Type};

use crate::error::{Cause, Error, Site};
use crate::sqlite::{self, Arguments, Connection, Db};

/// How many rows one statement writes, largest first: any number of rows takes few statements, each
/// of which costs a change of threads. The largest times the widest table stays far below what
/// databases bind in one statement (32,766 values).
const ROWS: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];

/// The statements that write rows of one table.
#[derive(Debug)]
pub(super) struct Insert {
    table: &'static str,
    width: usize,
    texts: [String; ROWS.len()],
}

/// The values of some rows, in the order of the columns.
#[derive(Debug)]
pub(super) struct Values {
    table: &'static str,
    arguments: Arguments,
}

impl Insert {
    /// Rows that don't exist yet; one that does is an error.
    pub(super) fn new(table: &'static str, key: &[&str], columns: &[&str]) -> Self {
        Self::with_suffix(table, key, columns, "")
    }

    /// Rows that may exist; they then get the new values.
    pub(super) fn or_update(table: &'static str, key: &[&str], columns: &[&str]) -> Self {
        let changes: Vec<String> =
            columns.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let suffix =
            format!(" ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), changes.join(", "));
        Self::with_suffix(table, key, columns, &suffix)
    }

    fn with_suffix(table: &'static str, key: &[&str], columns: &[&str], suffix: &str) -> Self {
        let names = [key, columns].concat();
        let width = names.len();
        let texts = ROWS.map(|rows| {
            let row = |row: usize| {
                let places: Vec<String> =
                    (1..=width).map(|column| sqlite::placeholder(row * width + column)).collect();
                format!("({})", places.join(", "))
            };
            let rows: Vec<String> = (0..rows).map(row).collect();
            format!("INSERT INTO {table} ({}) VALUES {}{suffix}", names.join(", "), rows.join(", "))
        });
        Self { table, width, texts }
    }

    /// Writes the rows; `bind` gives the values of one, all of its columns in order.
    pub(super) async fn write<T>(
        &'static self,
        connection: &mut Connection,
        site: Site<'_>,
        mut rows: &[T],
        bind: impl Fn(&mut Values, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut ready = self.fill_one(&mut rows, &bind)?;
        while let Some((text, values)) = ready {
            // The next values are made while the database works on these, on a thread of its own.
            let execute = sqlx::query_with(text, values.arguments).execute(&mut *connection);
            let (result, next) = tokio::join!(execute, async { self.fill_one(&mut rows, &bind) });
            result.map_err(|error| sqlite::failure(site, error))?;
            ready = next?;
        }
        Ok(())
    }

    /// The largest statement that the rows fill, with their values; `None` after the last.
    fn fill_one<T>(
        &'static self,
        rows: &mut &[T],
        bind: impl Fn(&mut Values, &T) -> Result<(), Error>,
    ) -> Result<Option<(&'static str, Values)>, Error> {
        for (size, text) in ROWS.iter().zip(&self.texts) {
            if let Some((chunk, rest)) = rows.split_at_checked(*size) {
                let mut values = Values { table: self.table, arguments: Arguments::default() };
                values.arguments.reserve(size * self.width, 0);
                for row in chunk {
                    bind(&mut values, row)?;
                }
                *rows = rest;
                return Ok(Some((text, values)));
            }
        }
        Ok(None)
    }
}

impl Values {
    pub(super) fn add<'v, T: Encode<'v, Db> + Type<Db>>(&mut self, value: T) -> Result<(), Error> {
        self.arguments.add(value).map_err(|source| self.refused(source))
    }

    pub(super) fn number(&mut self, value: u64) -> Result<(), Error> {
        self.add(integer(value))
    }

    pub(super) fn task(&mut self, id: TaskId) -> Result<(), Error> {
        self.number(id.run.0)?;
        self.add(i64::from(id.index))
    }

    pub(super) fn json<T: Serialize>(&mut self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|source| self.refused(source.into()))?;
        self.add(text)
    }

    fn refused(&self, source: Cause) -> Error {
        Error::Encode { table: self.table, source }
    }
}

/// The stored form of a count. None of ours comes near the largest that a column holds.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
