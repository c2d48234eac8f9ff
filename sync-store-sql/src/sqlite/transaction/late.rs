//! Foreign keys that are looked at when the transaction ends, where one refused it: the work is done once more, and each
//! call that puts states leaves out those that such a key would refuse.
//!
//! SQLite tells nobody which row it was, and cannot be made to look earlier. So the rows are looked at here, after all of
//! the call, because what a row refers to may have come with it.

use super::super::tables::Table;
use super::put::Groups;
use super::{SqliteTransaction, rows};
use crate::names::quoted;
use std::collections::{BTreeMap, BTreeSet};
use sync_runtime::Result;
use sync_runtime::change::State;
use sync_runtime::store::Put;
use sync_runtime::version::Stamp;

/// A foreign key: the table that has it, its columns, and what they refer to.
#[derive(Debug)]
struct Key {
    child: String,
    parent: String,
    /// Of the child, each with the one of the parent.
    columns: Vec<(String, String)>,
}

/// Whether a foreign key of any table is looked at late.
pub(in super::super) fn are_there(sql: &rusqlite::Connection) -> rusqlite::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' \
                  AND sql LIKE '%initially%deferred%')";
    sql.query_row(select, [], |row| row.get(0))
}

impl SqliteTransaction {
    /// Puts states; those that a foreign key would refuse at the end are refused now, and nothing of them is done.
    pub(super) fn put_carefully(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>> {
        let mut refused: BTreeMap<usize, String> = BTreeMap::new();
        // What is handed to the triggers goes with what is undone.
        self.tell(None)?;
        loop {
            self.sql(|conn| conn.sql.execute_batch("SAVEPOINT sync_late"))?;
            let wanted: Vec<State> = states
                .iter()
                .enumerate()
                .filter(|(place, _)| !refused.contains_key(place))
                .map(|(_, state)| state.clone())
                .collect();
            let outcomes = self.put_each(&wanted, &mut Groups::default(), now)?;
            let mut found = Vec::with_capacity(states.len());
            let mut outcomes = outcomes.into_iter();
            for place in 0..states.len() {
                found.push(match refused.get(&place) {
                    Some(reason) => Put::Refused(reason.clone()),
                    None => outcomes.next().unwrap_or(Put::Stored),
                });
            }
            let late = self.refused_late(states, &found)?;
            if late.is_empty() {
                self.sql(|conn| conn.sql.execute_batch("RELEASE sync_late"))?;
                return Ok(found);
            }
            self.sql(|conn| conn.sql.execute_batch("ROLLBACK TO sync_late; RELEASE sync_late"))?;
            self.lease.conn()?.replicas.forget();
            (self.newest, self.own, self.told) = (None, None, None);
            refused.extend(late);
        }
    }

    /// The places of the states that were put and that a foreign key refuses, with the reasons.
    fn refused_late(&mut self, states: &[State], outcomes: &[Put]) -> Result<Vec<(usize, String)>> {
        let mut keys: BTreeMap<&'static str, (Vec<Key>, Vec<Key>)> = BTreeMap::new();
        let mut refused = Vec::new();
        for (place, State { change, record }) in states.iter().enumerate() {
            if matches!(outcomes[place], Put::Refused(_)) {
                continue;
            }
            let table = self.table(change.schema)?;
            if !keys.contains_key(change.schema.name) {
                let found =
                    self.sql(|conn| Ok((own_keys(&conn.sql, &table)?, others_keys(&conn.sql, &table)?)))?;
                keys.insert(change.schema.name, found);
            }
            let (own, others) = &keys[change.schema.name];
            let looked: Vec<String> = match record {
                Some(_) => own.iter().map(|key| lacks_parent(&table, key)).collect(),
                None => others.iter().filter_map(|key| leaves_child(&table, key)).collect(),
            };
            let broken = self.sql(|conn| {
                for look in &looked {
                    let mut look = conn.sql.prepare_cached(look)?;
                    rows::bind_key(&mut look, &table, &change.id, |nth, _| nth + 1)?;
                    if look.raw_query().next()?.is_some() {
                        return Ok(true);
                    }
                }
                Ok(false)
            })?;
            if broken {
                refused.push((place, "FOREIGN KEY constraint failed".to_owned()));
            }
        }
        // What refers to a record that goes may be what is wrong, and then the record may go.
        if refused.iter().any(|(place, _)| states[*place].record.is_some()) {
            refused.retain(|(place, _)| states[*place].record.is_some());
        }
        Ok(refused)
    }
}

/// The foreign keys that a table has.
fn own_keys(sql: &rusqlite::Connection, table: &Table) -> rusqlite::Result<Vec<Key>> {
    keys(
        sql,
        "SELECT ?1, k.id, k.\"table\", k.\"from\", k.\"to\", k.seq FROM pragma_foreign_key_list(?1) k ORDER BY 2, 6",
        table,
    )
}

/// The foreign keys of any tables to this one.
fn others_keys(sql: &rusqlite::Connection, table: &Table) -> rusqlite::Result<Vec<Key>> {
    keys(
        sql,
        "SELECT s.name, k.id, k.\"table\", k.\"from\", k.\"to\", k.seq FROM sqlite_schema s, \
         pragma_foreign_key_list(s.name) k WHERE s.type = 'table' AND k.\"table\" = ?1 COLLATE NOCASE ORDER BY 1, 2, 6",
        table,
    )
}

fn keys(sql: &rusqlite::Connection, select: &str, table: &Table) -> rusqlite::Result<Vec<Key>> {
    let mut primary = sql.prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
    let mut select = sql.prepare(select)?;
    let mut found = select.query([table.schema.table])?;
    let mut keys: BTreeMap<(String, i64), Key> = BTreeMap::new();
    while let Some(row) = found.next()? {
        let (child, parent): (String, String) = (row.get(0)?, row.get(2)?);
        let to: Option<String> = row.get(4)?;
        let place = usize::try_from(row.get::<_, i64>(5)?).unwrap_or_default();
        // Without columns it is the parent's primary key that is meant.
        let to = match to {
            Some(to) => to,
            None => {
                let named = primary.query_map([&parent], |row| row.get(0))?;
                named.collect::<rusqlite::Result<Vec<String>>>()?.into_iter().nth(place).unwrap_or_default()
            }
        };
        let name = (child.clone(), row.get(1)?);
        let key = keys.entry(name).or_insert(Key { child, parent, columns: Vec::new() });
        key.columns.push((row.get(3)?, to));
    }
    Ok(keys.into_values().collect())
}

/// Finds the record with this id, if a row lacks that it refers to.
fn lacks_parent(table: &Table, key: &Key) -> String {
    let is_null = key.columns.iter().map(|(from, _)| format!(" AND {} IS NOT NULL", quoted(from)));
    let same =
        key.columns.iter().map(|(from, to)| format!("p.{} = {}.{}", quoted(to), table.name(), quoted(from)));
    format!(
        "SELECT 1 FROM {} WHERE {}{} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {})",
        table.name(),
        table.key_is(|nth, _| nth + 1),
        is_null.collect::<String>(),
        quoted(&key.parent),
        same.collect::<Vec<_>>().join(" AND ")
    )
}

/// Finds a row that refers to the record of this id, where the foreign key is to just the id.
fn leaves_child(table: &Table, key: &Key) -> Option<String> {
    let names: Vec<&str> = table.key().map(|(place, _)| table.schema.fields[place].name).collect();
    let part = |to: &String| names.iter().position(|name| name.eq_ignore_ascii_case(to));
    let parts: Option<Vec<usize>> = key.columns.iter().map(|(_, to)| part(to)).collect();
    let parts = parts.filter(|parts| parts.iter().collect::<BTreeSet<_>>().len() == names.len())?;
    let same =
        key.columns.iter().zip(parts).map(|((from, _), nth)| format!("{} = ?{}", quoted(from), nth + 1));
    Some(format!("SELECT 1 FROM {} WHERE {}", quoted(&key.child), same.collect::<Vec<_>>().join(" AND ")))
}
