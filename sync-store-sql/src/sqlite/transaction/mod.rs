//! One transaction: what each method of the contract does in SQL.

mod bases;
pub(super) mod late;
mod put;
mod read;
mod repair;
mod rows;
mod save;

pub(super) use rows::bind_key;

use super::checkpoint::log_pages;
use super::codec::Encoding;
use super::connection::{Conn, Lease, Settings};
use super::error::is_late;
use super::prepare;
use super::tables::{self, Table, Tables};
use rusqlite::OptionalExtension;
use rusqlite::types::ToSqlOutput;
use std::sync::Arc;
use sync_runtime::change::{Change, State};
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Base, Feed, Put, Room, Saved, Transaction, Unreadable, Write};
use sync_runtime::version::{Position, ReplicaId, Stamp};
use sync_runtime::{Error, ErrorKind, Result};

/// What the triggers are told, in `sync_state`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    stamp: Stamp,
    group: Option<Position>,
    /// The record that is being put, which they leave alone.
    put: Option<(i64, Id)>,
}

/// What the store knows of itself.
#[derive(Debug, Clone, Copy)]
struct Own {
    replica: ReplicaId,
    /// The replica id's number.
    number: i64,
    keep_through: Option<Position>,
}

/// What came of a transaction that was committed.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) wrote: bool,
    /// The pages that are in the write-ahead log now.
    pub(crate) log_pages: i32,
    /// The tables, if they had to be looked at again.
    pub(crate) tables: Option<Arc<Tables>>,
}

/// Why a transaction was not committed.
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// The connection, where only a constraint refused that is looked at in the end: the work may be done once more,
    /// carefully.
    pub(crate) late: Option<Box<Lease>>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed { error, late: None }
    }
}

/// A transaction on a lent connection. Dropped without [`SqliteTransaction::end`] it rolls back.
#[derive(Debug)]
pub(crate) struct SqliteTransaction {
    lease: Lease,
    settings: Arc<Settings>,
    tables: Arc<Tables>,
    refreshed: bool,
    write: bool,
    /// Whether a foreign key that is looked at in the end must refuse single records.
    careful: bool,
    /// Whether the triggers are off on this connection, because all that they would do is done here.
    bypass: bool,
    /// The connection's count of changed rows as the transaction began.
    changes: u64,
    /// The newest position, while it is known.
    newest: Option<Position>,
    /// The position of the first tracked change, which is the group of all of them.
    group: Option<Position>,
    /// The first position that the write at hand can have taken.
    first: Position,
    own: Option<Own>,
    told: Option<Told>,
    /// Why this transaction must not be committed, whatever the work returns.
    broken: Option<String>,
}

impl SqliteTransaction {
    pub(crate) fn new(
        lease: Lease,
        settings: Arc<Settings>,
        tables: Arc<Tables>,
        write: bool,
        careful: bool,
    ) -> Self {
        SqliteTransaction {
            lease,
            settings,
            tables,
            refreshed: false,
            write,
            careful,
            bypass: false,
            changes: 0,
            newest: None,
            group: None,
            first: 0,
            own: None,
            told: None,
            broken: None,
        }
    }

    /// Commits if the work went well, and rolls back if not. The lease rolls back what is left open.
    pub(crate) fn end(mut self, result: Result<()>) -> Result<Done, Failed> {
        result?;
        if let Some(why) = self.broken.take() {
            let message = format!("nothing was written to `{}`: {why}", self.settings.file);
            return Err(Error::new(ErrorKind::Storage, message).into());
        }
        if self.told.is_some() {
            self.tell(None)?;
        }
        let sql = &self.lease.conn()?.sql;
        let committed = sql.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        let wrote = sql.total_changes() != self.changes;
        if let Err(error) = committed {
            let late = is_late(&error).then(|| Box::new(self.lease));
            return Err(Failed { error: self.settings.failed(error), late });
        }
        Ok(Done { wrote, log_pages: log_pages(), tables: self.refreshed.then_some(self.tables) })
    }

    /// Runs SQL; an error names the file, and the transaction is not committed after it.
    fn sql<T>(&mut self, run: impl FnOnce(&mut Conn) -> rusqlite::Result<T>) -> Result<T> {
        match run(self.lease.conn()?) {
            Ok(value) => Ok(value),
            Err(error) => {
                self.broken.get_or_insert_with(|| error.to_string());
                Err(self.settings.failed(error))
            }
        }
    }

    fn writing(&self) -> Result<()> {
        if self.write {
            return Ok(());
        }
        let message = format!(
            "a write to `{}` in a transaction that was begun for reading; begin it with `Access::WRITE`",
            self.settings.file
        );
        Err(Error::new(ErrorKind::Usage, message))
    }

    fn table(&self, schema: &ModelSchema) -> Result<Arc<Table>> {
        self.tables.of(schema).cloned()
    }

    /// What has to be known before the work begins. For writing that is whether a program changed the database's schema since, and
    /// whether a write of ours can have any effect beside the one that we know of. If not, the triggers would do
    /// nothing but cost time, and are switched off on this connection, which is this transaction's alone.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.changes = self.lease.conn()?.sql.total_changes();
        if !self.write {
            return Ok(());
        }
        if self.sql(|conn| tables::schema_version(&conn.sql))? != self.tables.schema_version {
            let conn = self.lease.conn()?;
            self.tables = Arc::new(prepare::refreshed(&conn.sql, &self.settings, &self.tables)?);
            self.refreshed = true;
        }
        self.bypass = self.tables.simple;
        let bypass = self.bypass;
        self.sql(|conn| conn.set_triggers(!bypass))?;
        if self.refreshed { self.mend() } else { Ok(()) }
    }

    fn own(&mut self) -> Result<Own> {
        if let Some(own) = self.own {
            return Ok(own);
        }
        let own = self.sql(|conn| {
            let select = "SELECT me, keep_through FROM sync_state WHERE one = 1";
            let (number, keep_through) =
                conn.sql.prepare_cached(select)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Own { replica: conn.replicas.id(&conn.sql, number)?, number, keep_through })
        })?;
        self.own = Some(own);
        Ok(own)
    }

    fn newest_position(&mut self) -> Result<Position> {
        if let Some(newest) = self.newest {
            return Ok(newest);
        }
        let newest = self.sql(|conn| {
            conn.sql
                .prepare_cached("SELECT ifnull(max(position), 0) FROM sync_change")?
                .query_row([], |row| row.get(0))
        })?;
        // A reader's snapshot does not move, but it may not have begun before this.
        self.newest = Some(newest);
        Ok(newest)
    }

    /// The rows of a room that begin with a prefix, behind a key.
    fn notes_behind(
        &mut self,
        room: Room,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        self.sql(|conn| {
            let select =
                "SELECT key, value FROM sync_note WHERE room = ?1 AND key >= ?2 AND key > ?3 ORDER BY key";
            let mut select = conn.sql.prepare_cached(select)?;
            let mut rows = select.query([room.name(), prefix.max(after), after])?;
            let mut notes = Vec::new();
            while notes.len() < limit
                && let Some(row) = rows.next()?
            {
                let key: String = row.get(0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                notes.push((key, row.get(1)?));
            }
            Ok(notes)
        })
    }

    /// Tells the triggers, unless they know.
    fn tell(&mut self, told: Option<Told>) -> Result<()> {
        if self.bypass || self.told == told {
            return Ok(());
        }
        let (stamp, group, put) = match &told {
            Some(told) => (Some(told.stamp), told.group, told.put.as_ref()),
            None => (None, None, None),
        };
        let number = put.map(|(number, _)| *number);
        let encoding =
            number.and_then(|number| self.tables.numbered(number)).map(|table| table.id_encoding());
        self.sql(|conn| {
            let update =
                "UPDATE sync_state SET stamp = ?1, grp = ?2, put_model = ?3, put_id = ?4 WHERE one = 1";
            let mut update = conn.sql.prepare_cached(update)?;
            let value = put.map(|(_, id)| id.to_value());
            let id = match (&value, encoding) {
                (Some(value), Some(encoding)) => encoding.encode(value),
                _ => Encoding::null(),
            };
            update.execute(rusqlite::params![stamp, group, number, id])
        })?;
        self.told = told;
        Ok(())
    }

    /// A record was refused by a constraint: the statement is undone, and the rest stands, unless the table's own
    /// conflict clause undid everything.
    fn refused(&mut self, reason: String) -> Result<String> {
        if self.lease.conn()?.sql.is_autocommit() {
            let why = format!("a constraint rolled the whole transaction back ({reason})");
            self.broken = Some(why.clone());
            return Err(Error::new(ErrorKind::Constraint, format!("`{}`: {why}", self.settings.file)));
        }
        Ok(reason)
    }
}

impl Encoding {
    fn null() -> ToSqlOutput<'static> {
        ToSqlOutput::Owned(rusqlite::types::Value::Null)
    }
}

#[sync_runtime::async_trait]
impl Transaction for SqliteTransaction {
    async fn replica(&mut self) -> Result<ReplicaId> {
        Ok(self.own()?.replica)
    }

    async fn rename(&mut self, fresh: ReplicaId) -> Result<()> {
        self.writing()?;
        self.own = None;
        self.sql(|conn| {
            let number = conn.replicas.number(&conn.sql, fresh)?;
            conn.sql.execute("UPDATE sync_state SET me = ?1 WHERE one = 1", [number])
        })?;
        Ok(())
    }

    async fn newest(&mut self) -> Result<Position> {
        self.newest_position()
    }

    async fn read(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Record>>> {
        let table = self.table(schema)?;
        self.records(&table, ids)
    }

    async fn select(&mut self, schema: &'static ModelSchema, selection: &Selection) -> Result<Vec<Record>> {
        self.selected(schema, selection)
    }

    async fn count(&mut self, schema: &'static ModelSchema, filter: &Filter) -> Result<u64> {
        self.counted(schema, filter)
    }

    async fn changes(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Change>>> {
        let table = self.table(schema)?;
        self.changes_of(&table, ids)
    }

    async fn feed(&mut self, feed: &Feed) -> Result<Vec<State>> {
        self.fed(feed)
    }

    async fn save(&mut self, writes: Vec<Write>, now: Stamp) -> Result<Vec<Saved>> {
        self.saved(writes, now)
    }

    async fn put(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>> {
        self.put_all(states, now)
    }

    async fn keep_bases_through(&mut self, position: Option<Position>) -> Result<()> {
        self.writing()?;
        self.own = None;
        self.sql(|conn| {
            conn.sql.execute("UPDATE sync_state SET keep_through = ?1 WHERE one = 1", [position])
        })?;
        Ok(())
    }

    async fn bases(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Vec<Base>>> {
        let table = self.table(schema)?;
        ids.iter().map(|id| self.bases_of(&table, id)).collect()
    }

    async fn bases_between(&mut self, after: Position, through: Position) -> Result<Vec<Base>> {
        self.bases_in(after, through)
    }

    async fn add_bases(&mut self, bases: Vec<Base>) -> Result<()> {
        self.bases_added(bases)
    }

    async fn drop_bases(&mut self, until: Position) -> Result<()> {
        self.bases_dropped(until)
    }

    async fn untracked(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>> {
        self.untracked_ids(schema, only, after, limit)
    }

    async fn unreadable(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        limit: usize,
    ) -> Result<Vec<Unreadable>> {
        self.unreadable_rows(schema, only, limit)
    }

    async fn retrack(&mut self, schema: &'static ModelSchema, ids: &[Id], now: Stamp) -> Result<Vec<bool>> {
        self.retracked(schema, ids, now)
    }

    async fn notes(&mut self, room: Room, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.notes_behind(room, prefix, "", usize::MAX)
    }

    async fn notes_after(
        &mut self,
        room: Room,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        self.notes_behind(room, prefix, after, limit)
    }

    async fn notes_of(&mut self, room: Room, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.sql(|conn| {
            let select = "SELECT value FROM sync_note WHERE room = ?1 AND key = ?2";
            let mut select = conn.sql.prepare_cached(select)?;
            let mut value = |key: &String| select.query_row([room.name(), key], |row| row.get(0)).optional();
            keys.iter().map(&mut value).collect()
        })
    }

    async fn note_all(&mut self, room: Room, rows: Vec<(String, Option<Vec<u8>>)>) -> Result<()> {
        self.writing()?;
        self.sql(|conn| {
            for (key, value) in &rows {
                match value {
                    Some(value) => conn
                        .sql
                        .prepare_cached(
                            "INSERT INTO sync_note(room, key, value) VALUES (?1, ?2, ?3) \
                             ON CONFLICT(room, key) DO UPDATE SET value = excluded.value",
                        )?
                        .execute(rusqlite::params![room.name(), key, value])?,
                    None => conn
                        .sql
                        .prepare_cached("DELETE FROM sync_note WHERE room = ?1 AND key = ?2")?
                        .execute([room.name(), key])?,
                };
            }
            Ok(())
        })
    }

    async fn erase(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<()> {
        self.erased(schema, ids)
    }

    async fn states(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<State>>> {
        let table = self.table(schema)?;
        let changes = self.changes_of(&table, ids)?.into_iter();
        changes
            .map(|change| {
                let Some(change) = change else { return Ok(None) };
                let record = self.travelling(&table, &change)?;
                Ok(Some(State { change, record }))
            })
            .collect()
    }
}
