//! One transaction on a database of many writers: what each method of the contract does, a page at a time.
//!
//! The triggers track what is saved. What is put, they leave alone: its changes are written here, exactly as given.

mod bases;
mod notes;
mod put;
mod read;
mod repair;
pub(super) mod rows;
mod save;

use super::Shared;
use super::link::{Arg, Cell, Failure, Kind, Link, Row};
use super::statement::{Dialect, Statement};
use super::tables::{Table, Tables};
use rows::Replicas;
use std::collections::HashSet;
use std::sync::Arc;
use sync_runtime::change::{Change, State};
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Base, Feed, Put, Room, Saved, Transaction, Unreadable, Write};
use sync_runtime::version::{Position, ReplicaId, Stamp};
use sync_runtime::{Error, ErrorKind, Result};
use uuid::Uuid;

/// What the store knows of itself.
#[derive(Debug, Clone, Copy)]
struct Own {
    replica: ReplicaId,
    keep_through: Option<Position>,
}

/// Rows that were looked for.
#[derive(Debug)]
struct Looked {
    /// The number of their model.
    model: i64,
    asked: HashSet<Id>,
    there: HashSet<Id>,
}

/// What a feed goes on with.
#[derive(Debug)]
struct Next {
    feed: Feed,
    change: Option<Change>,
}

impl Next {
    /// Whether it answers this feed.
    fn is_of(&self, feed: &Feed) -> bool {
        let what = |feed: &Feed| {
            let schema = feed.schema.map(|schema| schema.name);
            (feed.after, feed.through, feed.not_from, schema, feed.limit, feed.data)
        };
        what(&self.feed) == what(feed)
    }
}

/// What has to happen after work that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It may be done again: another transaction was in the way.
    Conflict,
    /// It may be done again with savepoints: a constraint refused something.
    Refused,
    /// The connection cannot be used any more.
    Lost,
    /// Nothing helps.
    Failed,
}

/// The store inside a transaction that somebody else begins and ends; see [`SqlStore::in_transaction`].
///
/// [`SqlStore::in_transaction`]: crate::SqlStore::in_transaction
#[derive(Debug)]
pub struct SqlTransaction<'c> {
    link: Box<dyn Link + 'c>,
    shared: Arc<Shared>,
    tables: Arc<Tables>,
    replicas: Replicas,
    write: bool,
    /// Whether a refusal by a constraint must leave the rest standing, for which a savepoint stands before each write.
    careful: bool,
    /// What the store knows of itself, as it was read when the transaction began.
    begun_with: Option<Row>,
    own: Option<Own>,
    newest: Option<Position>,
    history: Option<String>,
    /// What the feed goes on with behind a position, where a page told.
    next: Option<Next>,
    /// The rows that were looked for last, as long as nothing was written since.
    looked: Option<Looked>,
    told: Option<Stamp>,
    /// Names what is written here together, until it has a position.
    group: Position,
    /// Whether the triggers leave some records alone.
    putting: bool,
    /// Whether the transaction goes on with other statements than ours.
    shared_with_app: bool,
    /// Whether the triggers were told anything at all.
    handed: bool,
    /// The bytes of rows that one statement may give.
    most: usize,
    ended: Option<Ended>,
}

impl<'c> SqlTransaction<'c> {
    pub(crate) fn new(
        link: Box<dyn Link + 'c>,
        shared: Arc<Shared>,
        tables: Arc<Tables>,
        write: bool,
        careful: bool,
    ) -> Self {
        let replicas = shared.replicas();
        SqlTransaction {
            link,
            shared,
            tables,
            replicas,
            write,
            careful,
            begun_with: None,
            own: None,
            newest: None,
            history: None,
            next: None,
            looked: None,
            told: None,
            group: put::Groups::unique(),
            putting: false,
            shared_with_app: false,
            handed: false,
            most: usize::MAX,
            ended: None,
        }
    }

    /// Takes what was read of the store itself when the transaction began.
    pub(crate) fn begun_with(&mut self, own: Option<Row>) {
        self.begun_with = own;
    }

    /// In a transaction of the app, which goes on whatever is refused here.
    pub(crate) fn of_app(link: Box<dyn Link + 'c>, shared: Arc<Shared>, tables: Arc<Tables>) -> Self {
        SqlTransaction { shared_with_app: true, ..SqlTransaction::new(link, shared, tables, true, true) }
    }

    /// What went wrong at the database, if anything did.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Takes away what must not outlive the transaction.
    async fn clean(&mut self) -> Result<()> {
        if let Some(clean) = self.cleaning() {
            self.execute(Statement::new(clean)).await?;
        }
        (self.told, self.putting, self.handed) = (None, false, false);
        Ok(())
    }

    /// The statement that does so, if there is anything to take away.
    pub(crate) fn cleaning(&self) -> Option<String> {
        self.dialect().clean(&self.shared.own).filter(|_| self.handed)
    }

    /// The replicas that this transaction got to know, which are known to all once it is committed.
    pub(crate) fn into_replicas(mut self) -> Replicas {
        self.replicas.own(None);
        self.replicas
    }

    fn dialect(&self) -> &'static dyn Dialect {
        self.shared.dialect
    }

    /// One of the library's own tables, quoted.
    fn own_table(&self, name: &str) -> String {
        self.shared.own_table(name)
    }

    fn failed(&mut self, failure: Failure) -> Error {
        let ended = match &failure {
            Failure::Conflict(_) => Ended::Conflict,
            Failure::Refused { .. } => Ended::Refused,
            Failure::Lost(_) => Ended::Lost,
            Failure::TooMuch => return failure.at(&self.shared.location),
            Failure::Denied(_) | Failure::Other(_) => Ended::Failed,
        };
        self.ended.get_or_insert(ended);
        failure.at(&self.shared.location)
    }

    /// Somebody wrote what this transaction saw otherwise: it has to be done again.
    fn overtaken(&mut self, what: &str) -> Error {
        self.ended.get_or_insert(Ended::Conflict);
        let message =
            format!("`{}`: another transaction wrote {what} at the same time", self.shared.location);
        Error::new(ErrorKind::Busy, message)
    }

    /// What ended the transaction at the database ended it here: some databases would run what follows by itself, and
    /// commit it.
    fn standing(&self) -> Result<()> {
        if !matches!(self.ended, Some(Ended::Conflict | Ended::Lost)) {
            return Ok(());
        }
        let message = format!(
            "`{}`: the transaction was undone, and nothing more can be done in it",
            self.shared.location
        );
        Err(Error::new(ErrorKind::Busy, message))
    }

    async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>> {
        self.standing()?;
        let fetched = self.link.fetch_within(&statement.sql, statement.args, self.most).await;
        fetched.map_err(|failure| self.failed(failure))
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64> {
        self.standing()?;
        let executed = self.link.execute(&statement.sql, statement.args).await;
        executed.map_err(|failure| self.failed(failure))
    }

    /// Runs a statement that a constraint may refuse, or a trigger ignore; it should touch so many rows. The inner error
    /// is the reason, and then nothing of it was done.
    async fn attempt(
        &mut self,
        statement: Statement,
        expected: u64,
        ignored: impl FnOnce() -> String + Send,
    ) -> Result<Result<(), Refusal>> {
        self.standing()?;
        if self.careful {
            self.script("SAVEPOINT sync_attempt").await?;
        }
        let executed = match self.link.execute(&statement.sql, statement.args).await {
            Ok(rows) if rows == expected => Ok(()),
            Ok(_) => Err(Failure::Refused { reason: ignored(), constraint: None }),
            Err(failure) => Err(failure),
        };
        match executed {
            Ok(()) if self.careful => {
                self.script("RELEASE SAVEPOINT sync_attempt").await?;
                Ok(Ok(()))
            }
            Ok(()) => Ok(Ok(())),
            Err(Failure::Refused { reason, constraint }) if self.careful => {
                self.script("ROLLBACK TO SAVEPOINT sync_attempt").await?;
                Ok(Err(Refusal { reason, constraint }))
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    async fn script(&mut self, sql: &str) -> Result<()> {
        self.standing()?;
        let run = self.link.script(sql).await;
        run.map_err(|failure| self.failed(failure))
    }

    fn writing(&self) -> Result<()> {
        if self.write {
            return Ok(());
        }
        let message = format!(
            "a write to `{}` in a transaction that was begun for reading; begin it with `Access::WRITE`",
            self.shared.location
        );
        Err(Error::new(ErrorKind::Usage, message))
    }

    fn table(&self, schema: &ModelSchema) -> Result<Arc<Table>> {
        self.tables.of(schema)
    }

    async fn own(&mut self) -> Result<Own> {
        if let Some(own) = self.own {
            return Ok(own);
        }
        let row = match self.begun_with.take() {
            Some(row) => Some(row),
            None => self.fetch(Statement::new(self.dialect().own(&self.shared.own))).await?.pop(),
        };
        let number = |cell: &Cell| match cell {
            Cell::Text(text) => text.parse().ok(),
            _ => None,
        };
        let Some([me, keep_through, newest, history]) = row.as_deref() else {
            return Err(rows::corrupt("the store does not know its own name"));
        };
        let (Some(me), Some(newest)) = (number(me), number(newest)) else {
            return Err(rows::corrupt("the store cannot read its own name"));
        };
        self.newest.get_or_insert(newest);
        if let Cell::Text(history) = history {
            self.history = Some(history.clone()).filter(|history| !history.is_empty());
        }
        if self.replicas.id(me).is_none() {
            self.read_replicas().await?;
        }
        let replica = self.replicas.id(me).ok_or_else(|| rows::corrupt("the store's own name is unknown"))?;
        let own = Own { replica, keep_through: number(keep_through) };
        self.replicas.own(Some(replica));
        self.own = Some(own);
        Ok(own)
    }

    async fn read_replicas(&mut self) -> Result<()> {
        let sql = format!("SELECT n, id FROM {}", self.own_table("replica"));
        for row in self.fetch(Statement::new(sql)).await? {
            if let [Cell::Int(number), Cell::Bytes(id)] = &row[..]
                && let Ok(id) = Uuid::from_slice(id)
            {
                self.replicas.add(*number, ReplicaId(id));
            }
        }
        Ok(())
    }

    /// Sees to it that these replicas have numbers.
    async fn know(&mut self, ids: impl IntoIterator<Item = ReplicaId>) -> Result<()> {
        let mut unknown: Vec<_> = ids.into_iter().filter(|id| self.replicas.number(*id).is_none()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        self.read_replicas().await?;
        unknown.sort_unstable();
        unknown.dedup();
        for id in unknown {
            if self.replicas.number(id).is_some() {
                continue;
            }
            let mut insert =
                Statement::new(format!("INSERT INTO {}(id) VALUES (", self.own_table("replica")));
            insert.bind(self.dialect(), Arg::bytes(id.0.as_bytes().to_vec())).push(") RETURNING n");
            match self.link.fetch(&insert.sql, insert.args).await {
                Ok(rows) => match rows.first().map(Vec::as_slice) {
                    Some([Cell::Int(number)]) => self.replicas.add(*number, id),
                    _ => return Err(rows::corrupt("a replica got no number")),
                },
                // Another transaction met the same replica for the first time.
                Err(Failure::Refused { .. }) => return Err(self.overtaken("the name of a replica")),
                Err(failure) => return Err(self.failed(failure)),
            }
        }
        Ok(())
    }

    /// Reads the names of replicas anew if one of these rows, whose change begins at a column, needs it.
    async fn know_all_in(&mut self, rows: &[Row], from: usize) -> Result<()> {
        for row in rows.iter().filter(|row| row[from] != Cell::Null) {
            let columns = &row[from..];
            if rows::names_unknown(&self.replicas, columns)? {
                self.own().await?;
                if rows::names_unknown(&self.replicas, columns)? {
                    return self.read_replicas().await;
                }
            }
        }
        Ok(())
    }

    /// Hands something to the triggers.
    async fn tell_all(&mut self, statements: Vec<Statement>) -> Result<()> {
        let listen = Some(()).filter(|()| self.shared_with_app && !self.handed);
        self.handed = true;
        if let Some(listen) = listen.and_then(|()| self.dialect().listen()) {
            self.fetch(listen).await?;
        }
        for statement in statements {
            self.fetch(statement).await?;
        }
        Ok(())
    }

    /// Hands the time of its writes to the triggers, unless they know.
    async fn tell(&mut self, now: Stamp) -> Result<()> {
        if self.told != Some(now) {
            self.tell_all(vec![self.dialect().tell_stamp(&self.shared.own, now, self.group)]).await?;
            self.told = Some(now);
        }
        Ok(())
    }
}

/// A number for a group that has no position yet, which no other one has.
#[cfg(feature = "mariadb")]
pub(super) fn unique_group() -> Position {
    put::Groups::unique()
}

/// Why a statement was refused by the database.
#[derive(Debug)]
struct Refusal {
    reason: String,
    constraint: Option<String>,
}

/// The condition on `c` for the changes of one model with these ids.
fn changes_of(statement: &mut Statement, dialect: &dyn Dialect, table: &Table, ids: &[Id]) {
    statement.push("c.model = ").bind(dialect, Arg::One(Kind::Int(4), Cell::Int(table.number))).push(" AND ");
    let keys = ids.iter().map(|id| Cell::Bytes(super::tables::key(id))).collect();
    dialect.one_of(statement, "c.id", Kind::Bytes, keys);
}

#[sync_runtime::async_trait]
impl Transaction for SqlTransaction<'_> {
    async fn replica(&mut self) -> Result<ReplicaId> {
        Ok(self.own().await?.replica)
    }

    async fn history(&mut self) -> Result<Option<String>> {
        self.own().await?;
        Ok(self.history.clone())
    }

    async fn rename(&mut self, fresh: ReplicaId) -> Result<()> {
        self.writing()?;
        self.know([fresh]).await?;
        let number = self.replicas.number(fresh).unwrap_or_default();
        let mut update = Statement::new(format!("UPDATE {} SET me = ", self.own_table("state")));
        update.bind(self.dialect(), Arg::One(Kind::Int(4), Cell::Int(number)));
        self.execute(update).await?;
        (self.begun_with, self.own) = (None, None);
        self.replicas.own(Some(fresh));
        Ok(())
    }

    async fn newest(&mut self) -> Result<Position> {
        if let Some(newest) = self.newest {
            return Ok(newest);
        }
        self.own().await?;
        self.newest.ok_or_else(|| rows::corrupt("the newest position is gone"))
    }

    async fn read(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Record>>> {
        let table = self.table(schema)?;
        self.records(&table, ids).await
    }

    async fn select(&mut self, schema: &'static ModelSchema, selection: &Selection) -> Result<Vec<Record>> {
        self.selected(schema, selection).await
    }

    async fn count(&mut self, schema: &'static ModelSchema, filter: &Filter) -> Result<u64> {
        self.counted(schema, filter).await
    }

    async fn changes(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Change>>> {
        let table = self.table(schema)?;
        self.changes_by_id(&table, ids).await
    }

    async fn feed(&mut self, feed: &Feed) -> Result<Vec<State>> {
        self.fed(feed).await
    }

    async fn save(&mut self, writes: Vec<Write>, now: Stamp) -> Result<Vec<Saved>> {
        let saved = self.saved(writes, now).await?;
        if self.shared_with_app {
            self.clean().await?;
        }
        Ok(saved)
    }

    async fn put(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>> {
        let put = self.put_all(states, now).await?;
        if self.shared_with_app {
            self.clean().await?;
        }
        Ok(put)
    }

    async fn keep_bases_through(&mut self, position: Option<Position>) -> Result<()> {
        self.writing()?;
        if self.own().await?.keep_through == position {
            return Ok(());
        }
        let mut update = Statement::new(format!("UPDATE {} SET keep_through = ", self.own_table("state")));
        update.bind(self.dialect(), Arg::optional(position));
        self.execute(update).await?;
        self.own = None;
        Ok(())
    }

    async fn bases(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Vec<Base>>> {
        let table = self.table(schema)?;
        self.bases_of(&table, ids).await
    }

    async fn bases_between(&mut self, after: Position, through: Position) -> Result<Vec<Base>> {
        self.bases_in(after, through).await
    }

    async fn add_bases(&mut self, bases: Vec<Base>) -> Result<()> {
        self.bases_added(bases).await
    }

    async fn drop_bases(&mut self, until: Position) -> Result<()> {
        self.bases_dropped(until).await
    }

    async fn untracked(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>> {
        self.untracked_ids(schema, only, after, limit).await
    }

    async fn unreadable(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        limit: usize,
    ) -> Result<Vec<Unreadable>> {
        self.unreadable_rows(schema, only, limit).await
    }

    async fn retrack(&mut self, schema: &'static ModelSchema, ids: &[Id], now: Stamp) -> Result<Vec<bool>> {
        self.retracked(schema, ids, now).await
    }

    async fn notes(&mut self, room: Room, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.notes_behind(room, prefix, None, None).await
    }

    async fn notes_after(
        &mut self,
        room: Room,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        self.notes_behind(room, prefix, Some(after), Some(limit)).await
    }

    async fn notes_of(&mut self, room: Room, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.notes_by_key(room, keys).await
    }

    async fn note_all(&mut self, room: Room, rows: Vec<(String, Option<Vec<u8>>)>) -> Result<()> {
        self.noted(room, rows).await
    }

    async fn erase(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<()> {
        self.erased(schema, ids).await
    }

    async fn states(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<State>>> {
        let table = self.table(schema)?;
        self.states_by_id(&table, ids).await
    }

    async fn states_within(
        &mut self,
        schema: &'static ModelSchema,
        ids: &[Id],
        bytes: usize,
    ) -> Result<Option<Vec<Option<State>>>> {
        self.most = bytes;
        let found = self.states(schema, ids).await;
        self.most = usize::MAX;
        match found {
            Err(error) if error.kind() == ErrorKind::TooLarge => Ok(None),
            found => found.map(Some),
        }
    }
}

/// The first bytes behind all that begin with these; `None` where there are none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
