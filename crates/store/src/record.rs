//! Rows as they are read: each value either is what it must be, or names its table, row and column.

use serde::de::DeserializeOwned;
use sqlx::{Decode, Row as _, Type};

use crate::error::{Cause, Error, Site};
use crate::sqlite::{Connection, Db, Query, Row};

/// A table, or a join that is read as one.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns that identify a row. Every query selects them.
    pub(crate) key: &'static [&'static str],
    pub(crate) reading: &'static str,
}

/// A row of a table.
#[derive(Debug)]
pub(crate) struct Record {
    row: Row,
    table: &'static Table,
}

impl Table {
    pub(crate) async fn select(
        &'static self,
        connection: &mut Connection,
        site: Site<'_>,
        query: Query,
    ) -> Result<Vec<Record>, Error> {
        let rows = query.fetch_all(connection).await;
        let rows = rows.map_err(|error| crate::sqlite::failure(site.doing(self.reading), error))?;
        Ok(rows.into_iter().map(|row| Record { row, table: self }).collect())
    }
}

impl Record {
    pub(crate) fn get<'r, T>(&'r self, column: &'static str) -> Result<T, Error>
    where
        T: Decode<'r, Db> + Type<Db>,
    {
        self.row.try_get(column).map_err(|error| self.inconsistent(column, error))
    }

    /// A number that can't be negative and fits its type.
    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, Error>
    where
        T::Error: Into<Cause>,
    {
        T::try_from(self.get(column)?).map_err(|error| self.inconsistent(column, error))
    }

    pub(crate) fn optional_number<T: TryFrom<i64>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Error>
    where
        T::Error: Into<Cause>,
    {
        let value: Option<i64> = self.get(column)?;
        value.map(T::try_from).transpose().map_err(|error| self.inconsistent(column, error))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, Error> {
        serde_json::from_str(self.get(column)?).map_err(|error| self.inconsistent(column, error))
    }

    pub(crate) fn inconsistent(&self, column: &'static str, source: impl Into<Cause>) -> Error {
        let key: Vec<String> =
            self.table.key.iter().map(|name| format!("{name}={}", self.show(name))).collect();
        Error::Inconsistent {
            table: self.table.name,
            key: key.join(" "),
            column,
            source: source.into(),
        }
    }

    fn show(&self, column: &'static str) -> String {
        let number = self.row.try_get::<i64, _>(column).map(|number| number.to_string());
        number.or_else(|_| self.row.try_get::<String, _>(column)).unwrap_or_else(|_| "?".to_owned())
    }
}
