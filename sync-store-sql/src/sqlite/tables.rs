//! The tables of the models as they are in the database.

use super::codec::Encoding;
use super::statements::Statements;
use super::unique::UniqueKey;
use crate::names::{self, quoted};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::sync::Arc;
use sync_runtime::schema::{ForeignKey, ModelSchema};
use sync_runtime::{Error, ErrorKind, Result};

/// A column of a model's table.
#[derive(Debug)]
pub(crate) struct Column {
    /// Quoted.
    pub(crate) name: String,
    pub(crate) encoding: Encoding,
    /// Whether the database fills it by itself.
    pub(crate) generated: bool,
}

/// A model's table as it is in the database.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) schema: &'static ModelSchema,
    /// The model's number in `sync_change`.
    pub(crate) number: i64,
    /// One for each field of the schema, in its order.
    pub(crate) columns: Vec<Column>,
    /// Columns of removed fields that a row needs a value for, quoted, each with one as SQL.
    pub(crate) removed: Vec<(String, &'static str)>,
    pub(crate) unique: Vec<UniqueKey>,
    /// Whether a column in a unique key is computed.
    pub(crate) computed_key: bool,
    /// The names by which the row id can be written that no column has; none where there is no row id.
    pub(crate) rowid_names: Vec<&'static str>,
    /// Whether the row id is no column.
    pub(crate) rowid_is_hidden: bool,
    /// A name of the row id in the table of its bases, which has columns of the model's.
    pub(crate) base_rowid: &'static str,
    /// Whether a write to this table touches no other record.
    pub(crate) simple: bool,
    /// Whether the database may store other values than it was given.
    pub(crate) verify: bool,
    pub(crate) sql: Statements,
}

impl Table {
    pub(crate) fn name(&self) -> String {
        quoted(self.schema.table)
    }

    /// The columns that travel.
    pub(crate) fn travelling_columns(&self) -> Vec<&str> {
        self.schema.replicated().map(|(index, _)| self.columns[index].name.as_str()).collect()
    }
}

/// The tables of all models, as they were when the database's schema had this version.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    by_model: HashMap<&'static str, Arc<Table>>,
    by_number: HashMap<i64, Arc<Table>>,
    /// Those between the models, as they were when the store was prepared.
    pub(crate) foreign_keys: Vec<ForeignKey>,
    pub(crate) schema_version: i64,
    /// Whether no write to any of them has an effect on anything but its own record.
    pub(crate) simple: bool,
    /// Whether a foreign key of any table is looked at when a transaction ends.
    pub(crate) late: bool,
    /// Those that had lost all of their triggers, so that rows may have been written past the tracking.
    pub(super) remade: Vec<&'static ModelSchema>,
    /// The first replica id that the database ever had, which tells that its tracking is still the same one.
    pub(super) first: Option<Vec<u8>>,
}

impl Tables {
    /// No tables yet.
    pub(super) fn new() -> Self {
        Tables { simple: true, ..Tables::default() }
    }

    pub(crate) fn of(&self, schema: &ModelSchema) -> Result<&Arc<Table>> {
        self.by_model.get(schema.name).ok_or_else(|| {
            let mut known: Vec<_> = self.by_model.keys().copied().collect();
            known.sort_unstable();
            names::not_prepared(schema, &known)
        })
    }

    pub(crate) fn numbered(&self, number: i64) -> Option<&Arc<Table>> {
        self.by_number.get(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_number.values()
    }

    pub(super) fn add(&mut self, table: Table) {
        let table = Arc::new(table);
        self.simple &= table.simple;
        self.by_number.insert(table.number, table.clone());
        self.by_model.insert(table.schema.name, table);
    }
}

/// The first replica id of the database, or `None` where nothing is tracked.
pub(super) fn first_replica(sql: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    match kind_of(sql, "sync_replica")? {
        Some(_) => {
            sql.query_row("SELECT id FROM sync_replica ORDER BY n LIMIT 1", [], |row| row.get(0)).optional()
        }
        None => Ok(None),
    }
}

/// The error for a store whose tracking was taken away.
pub(super) fn removed(file: &str) -> Error {
    let message = format!("the tracking was removed from `{file}` while this store was open; open it again");
    Error::new(ErrorKind::Closed, message)
}

pub(crate) fn schema_version(sql: &Connection) -> rusqlite::Result<i64> {
    sql.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

/// `table`, `view` or `index`, or `None` if nothing has this name.
pub(super) fn kind_of(sql: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    sql.query_row(
        "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type <> 'trigger'",
        [name],
        |row| row.get(0),
    )
    .optional()
}

/// What a view of changes begins to read, by which it is known to be one.
pub(super) const CHANGES: &str = "FROM sync_change c JOIN sync_replica w";

/// Whether there is a view of this name that shows changes.
pub(super) fn is_our_view(sql: &Connection, name: &str) -> rusqlite::Result<bool> {
    sql.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = ?1 COLLATE NOCASE
         AND instr(sql, ?2) > 0)",
        [name, CHANGES],
        |row| row.get(0),
    )
}
