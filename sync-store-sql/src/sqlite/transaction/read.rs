//! Reading: records and changes by id, queries, the feed.

use super::super::codec::{Affinity, Encoding};
use super::super::tables::Table;
use super::super::triggers::CHANGE;
use super::SqliteTransaction;
use super::rows::{self, Bad};
use crate::filter::{self, Terms};
use crate::records::{Reading, possible_id};
use rusqlite::types::{ToSqlOutput, Value as Owned};
use rusqlite::{CachedStatement, Row, Statement};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::LazyLock;
use sync_runtime::change::{Change, State};
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Feed, Unreadable};
use sync_runtime::{Error, ErrorKind, Result, Value};

impl SqliteTransaction {
    /// Like `sql`, for reads that also look into the values.
    pub(super) fn rows<T>(&mut self, read: impl FnOnce(&mut super::Conn) -> Result<T, Bad>) -> Result<T> {
        match read(self.lease.conn()?) {
            Ok(value) => Ok(value),
            Err(Bad::Value(error)) => Err(error),
            Err(Bad::Sql(error)) => self.sql(|_| Err(error)),
        }
    }

    /// The record with this id, with its local fields.
    pub(super) fn record(&mut self, table: &Table, id: &Id) -> Result<Option<Record>> {
        Ok(self.records(table, std::slice::from_ref(id))?.pop().flatten())
    }

    /// The records with these ids, with their local fields.
    pub(super) fn records(&mut self, table: &Table, ids: &[Id]) -> Result<Vec<Option<Record>>> {
        self.rows(|conn| {
            let mut select = conn.sql.prepare_cached(&table.sql.read)?;
            let mut records = Vec::with_capacity(ids.len());
            for id in ids {
                rows::bind_key(&mut select, table, id, |nth, _| nth + 1)?;
                records.push(first(&mut select, |row| rows::record(table, row, true))?);
            }
            Ok(records)
        })
    }

    /// A record with its local fields, as far as it can be read.
    pub(super) fn as_it_reads(&mut self, table: &Table, id: &Id) -> Result<Option<Reading>> {
        self.rows(|conn| {
            let mut select = conn.sql.prepare_cached(&table.sql.read)?;
            rows::bind_key(&mut select, table, id, |nth, _| nth + 1)?;
            first(&mut select, |row| rows::reading(table, row, true))
        })
    }

    pub(super) fn unreadable_rows(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        limit: usize,
    ) -> Result<Vec<Unreadable>> {
        let table = self.table(schema)?;
        let mut unreadable = Vec::new();
        if let Some(only) = only {
            for id in only {
                let reading = self.as_it_reads(&table, id)?;
                unreadable.extend(reading.and_then(|reading| reading.unreadable(schema)));
            }
            unreadable.truncate(limit);
            return Ok(unreadable);
        }
        self.rows(|conn| {
            let mut select = conn.sql.prepare_cached(&table.sql.select)?;
            let mut found = select.raw_query();
            while unreadable.len() < limit
                && let Some(row) = found.next()?
            {
                unreadable.extend(rows::reading(&table, row, true)?.unreadable(schema));
            }
            Ok(())
        })?;
        Ok(unreadable)
    }

    /// The record that a change stands for, without its local fields; `None` for a tombstone, and for one that cannot be
    /// read.
    pub(super) fn travelling(&mut self, table: &Table, change: &Change) -> Result<Option<Record>> {
        if change.is_delete() {
            return Ok(None);
        }
        let reading = self.as_it_travels(table, &change.id)?;
        Ok(reading.filter(|reading| reading.misread.is_none()).map(|reading| reading.record))
    }

    /// A record without its local fields, as far as it can be read.
    pub(super) fn as_it_travels(&mut self, table: &Table, id: &Id) -> Result<Option<Reading>> {
        self.rows(|conn| {
            let mut select = conn.sql.prepare_cached(&table.sql.travelling)?;
            rows::bind_key(&mut select, table, id, |nth, _| nth + 1)?;
            first(&mut select, |row| rows::reading(table, row, false))
        })
    }

    /// The change of this id.
    pub(super) fn change(&mut self, table: &Table, id: &Id) -> Result<Option<Change>> {
        Ok(self.changes_of(table, std::slice::from_ref(id))?.pop().flatten())
    }

    /// The changes of these ids.
    pub(super) fn changes_of(&mut self, table: &Table, ids: &[Id]) -> Result<Vec<Option<Change>>> {
        self.rows(|conn| {
            // Ids are often made in the order of time. Then those that come first stand behind all that are here, and
            // one look says it of a whole page.
            if let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max())
                && first != last
            {
                let mut any = conn.sql.prepare_cached(ANY_CHANGE_BETWEEN)?;
                any.raw_bind_parameter(1, table.number)?;
                rows::bind_id(&mut any, 2, table.id_encoding(), first)?;
                rows::bind_id(&mut any, 3, table.id_encoding(), last)?;
                if any.raw_query().next()?.is_none() {
                    return Ok(vec![None; ids.len()]);
                }
            }
            let mut select = conn.sql.prepare_cached(&CHANGE_OF)?;
            select.raw_bind_parameter(1, table.number)?;
            let mut changes = Vec::with_capacity(ids.len());
            for id in ids {
                rows::bind_id(&mut select, 2, table.id_encoding(), id)?;
                let change =
                    |row: &Row<'_>| rows::change(&conn.sql, &mut conn.replicas, table, id.clone(), row, 0);
                changes.push(first(&mut select, change)?);
            }
            Ok(changes)
        })
    }

    pub(super) fn exists(&mut self, table: &Table, id: &Id) -> Result<bool> {
        self.sql(|conn| {
            let mut select = conn.sql.prepare_cached(&table.sql.read)?;
            rows::bind_key(&mut select, table, id, |nth, _| nth + 1)?;
            let found = select.raw_query().next()?.is_some();
            Ok(found)
        })
    }

    pub(super) fn selected(
        &mut self,
        schema: &'static ModelSchema,
        selection: &Selection,
    ) -> Result<Vec<Record>> {
        let table = self.table(schema)?;
        let mut terms = Parameters::new(&table);
        let condition = filter::condition(&selection.filter, &mut terms)?;
        let mut order = Vec::with_capacity(selection.order.len() + 1);
        let by_id = schema.key().map(|place| (place, false));
        for (field, descending) in selection.order.iter().copied().chain(by_id) {
            let direction = if descending { " DESC" } else { "" };
            order.push(format!("{}{direction}", terms.column(field)?));
        }
        let limit = selection.limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let mut skip = i64::try_from(selection.skip).unwrap_or(i64::MAX);
        let sql = format!("{} WHERE {condition} ORDER BY {}", table.sql.select, order.join(", "));
        let values = terms.values;
        let enough = usize::try_from(limit).unwrap_or(usize::MAX);
        self.rows(|conn| {
            let mut records = Vec::new();
            loop {
                let mut select = conn.sql.prepare_cached(&format!("{sql} LIMIT {limit} OFFSET {skip}"))?;
                let mut found = select.query(rusqlite::params_from_iter(&values))?;
                let mut rows = 0;
                while let Some(row) = found.next()? {
                    rows += 1;
                    let reading = rows::reading(&table, row, true)?;
                    records.push(match selection.lenient {
                        // A row without an id is no record to anybody, and what comes behind it takes its place.
                        true if possible_id(schema, &reading.record).is_none() => continue,
                        true => reading.record,
                        false => reading.whole(schema)?,
                    });
                }
                if !selection.lenient || rows < limit || records.len() >= enough {
                    records.truncate(enough);
                    return Ok(records);
                }
                skip = skip.saturating_add(rows);
            }
        })
    }

    pub(super) fn counted(&mut self, schema: &'static ModelSchema, filter: &Filter) -> Result<u64> {
        let table = self.table(schema)?;
        let mut terms = Parameters::new(&table);
        let condition = filter::condition(filter, &mut terms)?;
        let sql = format!("SELECT count(*) FROM {} WHERE {condition}", table.name());
        let values = terms.values;
        let count: i64 = self.sql(|conn| {
            conn.sql.prepare_cached(&sql)?.query_row(rusqlite::params_from_iter(values), |row| row.get(0))
        })?;
        Ok(count.unsigned_abs())
    }

    pub(super) fn fed(&mut self, feed: &Feed) -> Result<Vec<State>> {
        let only = match feed.schema {
            Some(schema) => Some(self.table(schema)?.number),
            None => None,
        };
        let tables = self.tables.clone();
        self.rows(|conn| {
            let not_from = match feed.not_from {
                Some(peer) => conn.replicas.known(&conn.sql, peer)?,
                None => None,
            };
            let sql = format!(
                "SELECT {}, model, id FROM sync_change WHERE position > ?1 AND position <= ?2 \
                 AND (?3 IS NULL OR origin IS NOT ?3) AND (?4 IS NULL OR model = ?4) ORDER BY position",
                rows::change_columns()
            );
            let mut select = conn.sql.prepare_cached(&sql)?;
            let mut found = select.query(rusqlite::params![feed.after, feed.through, not_from, only])?;
            let mut states = Vec::new();
            let mut bytes = 0_usize;
            // Looking a statement up costs as much as the row.
            let mut reads: BTreeMap<i64, CachedStatement<'_>> = BTreeMap::new();
            while states.len() < feed.limit {
                let Some(row) = found.next()? else { break };
                // A model that this program did not register is no business of its feed.
                let Some(table) = tables.numbered(row.get(CHANGE.len())?) else { continue };
                let Some(id) = rows::possible_id(table, row, CHANGE.len() + 1)? else { continue };
                let change = rows::change(&conn.sql, &mut conn.replicas, table, id, row, 0)?;
                let mut record = None;
                if feed.data && !change.is_delete() {
                    let read = match reads.entry(table.number) {
                        Entry::Occupied(read) => read.into_mut(),
                        Entry::Vacant(read) => read.insert(conn.sql.prepare_cached(&table.sql.travelling)?),
                    };
                    match table.schema.has_composite_id() {
                        true => rows::bind_key(read, table, &change.id, |nth, _| nth + 1)?,
                        // As it stands in the row: another program may have written the id in another form.
                        false => {
                            read.raw_bind_parameter(
                                1,
                                ToSqlOutput::Borrowed(row.get_ref(CHANGE.len() + 1)?),
                            )?;
                        }
                    }
                    let mut found = read.raw_query();
                    if let Some(row) = found.next()? {
                        let reading = rows::reading(table, row, false)?;
                        record = Some(reading.record).filter(|_| reading.misread.is_none());
                    }
                    bytes = bytes.saturating_add(record.as_ref().map_or(0, Record::size));
                    if bytes > feed.bytes && !states.is_empty() {
                        break;
                    }
                }
                states.push(State { change, record });
            }
            Ok(states)
        })
    }

    /// The position of a record's change, if it has one that is no tombstone.
    pub(super) fn live_position(&mut self, table: &Table, id: &Id) -> Result<Option<i64>> {
        self.sql(|conn| {
            let select = "SELECT position FROM sync_change WHERE model = ?1 AND id = ?2 AND kind <> 2";
            let mut select = conn.sql.prepare_cached(select)?;
            select.raw_bind_parameter(1, table.number)?;
            rows::bind_id(&mut select, 2, table.id_encoding(), id)?;
            let mut found = select.raw_query();
            found.next()?.map(|row| row.get(0)).transpose()
        })
    }

    /// Whether a record exists and whether it has a change that is no tombstone, if the two differ.
    pub(super) fn is_broken(&mut self, table: &Table, id: &Id) -> Result<Option<bool>> {
        let exists = self.exists(table, id)?;
        let live = self.live_position(table, id)?.is_some();
        Ok((exists != live).then_some(exists))
    }

    pub(super) fn untracked_ids(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>> {
        let table = self.table(schema)?;
        if let Some(only) = only {
            let mut ids: Vec<&Id> = only.iter().filter(|id| after.is_none_or(|after| *id > after)).collect();
            ids.sort_unstable();
            ids.dedup();
            let mut found = Vec::new();
            for id in ids {
                if found.len() < limit && self.is_broken(&table, id)?.is_some() {
                    found.push(id.clone());
                }
            }
            return Ok(found);
        }
        if schema.has_composite_id() {
            return self.untracked_composite(&table, after, limit);
        }
        let (name, key, model) = (table.name(), &table.columns[schema.id].name, table.number);
        let beyond =
            |column: &str| if after.is_some() { format!("AND {column} > ?1") } else { String::new() };
        let sql = format!(
            "SELECT id FROM (
               SELECT t.{key} AS id FROM {name} t LEFT JOIN sync_change c ON c.model = {model} AND c.id = t.{key}
               WHERE (c.position IS NULL OR c.kind = 2) AND t.{key} IS NOT NULL {}
               UNION ALL
               SELECT c.id FROM sync_change c WHERE c.model = {model} AND c.kind <> 2 {}
                 AND NOT EXISTS (SELECT 1 FROM {name} t WHERE t.{key} = c.id))
             ORDER BY id",
            beyond(&format!("t.{key}")),
            beyond("c.id"),
        );
        self.possible_ids(&table, &sql, after, limit)
    }

    /// The ids that a statement finds behind one, its first parameter, without those that no record can have.
    fn possible_ids(
        &mut self,
        table: &Table,
        sql: &str,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>> {
        let (mut ids, mut skip) = (Vec::new(), 0_usize);
        self.sql(|conn| {
            loop {
                let most = i64::try_from(limit).unwrap_or(i64::MAX);
                let mut select = conn.sql.prepare_cached(&format!("{sql} LIMIT {most} OFFSET {skip}"))?;
                if let Some(after) = after {
                    rows::bind_id(&mut select, 1, table.id_encoding(), after)?;
                }
                let mut found = select.raw_query();
                let mut rows = 0;
                while let Some(row) = found.next()? {
                    rows += 1;
                    ids.extend(rows::possible_id(table, row, 0)?);
                }
                if rows < limit || ids.len() >= limit {
                    ids.truncate(limit);
                    return Ok(ids);
                }
                skip += rows;
            }
        })
    }

    /// As `untracked_ids`, where several fields make the id: a row's id is made out of it, and the row of a change is
    /// looked up by its parts, because that has an index.
    fn untracked_composite(&mut self, table: &Table, after: Option<&Id>, limit: usize) -> Result<Vec<Id>> {
        let (name, id, model) = (table.name(), table.id_of("t"), table.number);
        let beyond = if after.is_some() { "AND id > ?1" } else { "" };
        // The limit keeps SQLite from making the id anew wherever it is named.
        let rows = format!(
            "SELECT t.id FROM (SELECT {id} AS id FROM {name} t LIMIT -1) t \
             WHERE t.id IS NOT NULL {beyond} AND NOT EXISTS \
             (SELECT 1 FROM sync_change c WHERE c.model = {model} AND c.id = t.id AND c.kind <> 2) \
             ORDER BY t.id"
        );
        let changes =
            format!("SELECT id FROM sync_change WHERE model = {model} AND kind <> 2 {beyond} ORDER BY id");
        let mut ids = self.possible_ids(table, &rows, after, limit)?;
        self.sql(|conn| {
            let mut read = conn.sql.prepare_cached(&table.sql.read)?;
            let mut select = conn.sql.prepare_cached(&changes)?;
            if let Some(after) = after {
                rows::bind_id(&mut select, 1, table.id_encoding(), after)?;
            }
            let mut found = select.raw_query();
            let mut gone = Vec::new();
            while gone.len() < limit
                && let Some(row) = found.next()?
            {
                let Some(id) = rows::possible_id(table, row, 0)? else { continue };
                rows::bind_key(&mut read, table, &id, |nth, _| nth + 1)?;
                if read.raw_query().next()?.is_none() {
                    gone.push(id);
                }
            }
            ids.append(&mut gone);
            ids.sort_unstable();
            ids.truncate(limit);
            Ok(ids)
        })
    }
}

/// Whether there is any change of ids from `?2` to `?3`, which stand in SQL in the order that they have here.
const ANY_CHANGE_BETWEEN: &str =
    "SELECT 1 FROM sync_change WHERE model = ?1 AND id BETWEEN ?2 AND ?3 LIMIT 1";

/// The change of the record with id `?2` of model `?1`.
static CHANGE_OF: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM sync_change WHERE model = ?1 AND id = ?2", rows::change_columns())
});

/// The first row that a statement finds with the parameters that are bound.
fn first<T>(
    statement: &mut Statement<'_>,
    read: impl FnOnce(&Row<'_>) -> Result<T, Bad>,
) -> Result<Option<T>, Bad> {
    let mut found = statement.raw_query();
    found.next()?.map(read).transpose()
}

/// How many values one statement may have, which is what SQLite is built with.
const MOST_VALUES: usize = 32_766;

/// The values of a query, in the order of their placeholders.
struct Parameters<'t> {
    table: &'t Table,
    values: Vec<Owned>,
}

impl<'t> Parameters<'t> {
    fn new(table: &'t Table) -> Self {
        Parameters { table, values: Vec::new() }
    }

    fn encoding(&self, field: usize) -> Result<Encoding> {
        let column = self.table.columns.get(field).ok_or_else(|| {
            let message =
                format!("a query names field {field} of `{}`, which has none", self.table.schema.name);
            Error::new(ErrorKind::Usage, message)
        })?;
        Ok(column.encoding)
    }
}

impl Terms for Parameters<'_> {
    fn words(&self) -> &'static filter::Words {
        &filter::SQLITE
    }

    fn column(&self, field: usize) -> Result<String> {
        let collation = self.encoding(field)?.collation();
        let name = &self.table.columns[field].name;
        Ok(match collation {
            "BINARY" if self.table.columns[field].encoding.affinity() != Affinity::Text => name.clone(),
            _ => format!("{name} COLLATE {collation}"),
        })
    }

    fn bind(&mut self, field: usize, value: &Value) -> Result<String> {
        let encoding = self.encoding(field)?;
        if self.values.len() >= MOST_VALUES {
            let message = format!("a query compares with more than {MOST_VALUES} values; ask in parts");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        self.values.push(match encoding.encode(value) {
            ToSqlOutput::Borrowed(value) => Owned::try_from(value).unwrap_or(Owned::Null),
            ToSqlOutput::Owned(value) => value,
            _ => Owned::Null,
        });
        Ok(format!("?{}", self.values.len()))
    }
}
