//! Giving a database back: everything of the library goes, the tables of the models stay.

use super::Sqlite;
use super::tables::{is_our_view, removed};
use super::triggers::EVENTS;
use crate::names::{self, quoted};
use rusqlite::Connection;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use sync_runtime::Result;

/// The tables of the library, but for those of bases.
const TABLES: [&str; 6] =
    ["sync_adding", "sync_change", "sync_model", "sync_note", "sync_replica", "sync_state"];

impl Sqlite {
    /// Removes the tracking of all models in one transaction. The store is closed afterwards.
    pub(crate) fn unadopt(&self) -> Result<()> {
        let mut lease = self.writer.take()?;
        self.begin(&mut lease, "BEGIN IMMEDIATE")?;
        let sql = &lease.conn()?.sql;
        remove(sql).and_then(|()| sql.execute_batch("COMMIT")).map_err(|error| {
            self.failed(error).context(format!("removing the tracking from `{}`", self.location()))
        })?;
        // What connections remember of the replica ids is true no more.
        self.removed.store(true, Ordering::Relaxed);
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// # Errors
    /// [`sync_runtime::ErrorKind::Closed`] after [`Sqlite::unadopt`].
    pub(super) fn check_not_removed(&self) -> Result<()> {
        match self.removed.load(Ordering::Relaxed) {
            true => Err(removed(self.location())),
            false => Ok(()),
        }
    }
}

/// Drops all that the library made, also for models that this program does not know.
fn remove(sql: &Connection) -> rusqlite::Result<()> {
    let made: bool = sql.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'sync_model')",
        [],
        |row| row.get(0),
    )?;
    if !made {
        return Ok(());
    }
    let mut select = sql.prepare("SELECT \"table\" FROM sync_model")?;
    let tables = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    drop(select);
    for table in tables {
        // First what names the tables that go.
        for event in EVENTS {
            drop_if_there(sql, "TRIGGER", &names::trigger_on(event, &table))?;
        }
        let view = names::change_view(&table);
        if is_our_view(sql, &view)? {
            drop_if_there(sql, "VIEW", &view)?;
        }
        for index in parent_indexes(sql, &table)? {
            drop_if_there(sql, "INDEX", &index)?;
        }
        drop_if_there(sql, "TABLE", &names::base_of(&table))?;
    }
    TABLES.iter().try_for_each(|table| drop_if_there(sql, "TABLE", table))
}

/// The indexes on the columns of a table that hold ids of parents.
fn parent_indexes(sql: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let start = names::parent_indexes(table);
    let mut select =
        sql.prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1 COLLATE NOCASE")?;
    let names = select.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(names.into_iter().filter(|name| name.starts_with(&start)).collect())
}

fn drop_if_there(sql: &Connection, kind: &str, name: &str) -> rusqlite::Result<()> {
    sql.execute_batch(&format!("DROP {kind} IF EXISTS {}", quoted(name)))
}
