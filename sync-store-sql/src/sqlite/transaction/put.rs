//! States that are put exactly as given: the triggers leave the record alone, and its change is written as it came.

use super::super::connection::Replicas;
use super::super::error::refusal;
use super::super::statements::{ROWS, many};
use super::super::tables::Table;
use super::super::triggers::CHANGE;
use super::save::{Written, no_id};
use super::{SqliteTransaction, rows};
use crate::records::{Reading, completed, ignored, taken_away};
use rusqlite::types::Value;
use rusqlite::{Connection, Statement};
use std::sync::LazyLock;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::store::Put;
use sync_runtime::version::{Position, Stamp};
use sync_runtime::{Result, record};

/// The groups of states that are put: each run of equal ones gets the position of its first state.
#[derive(Default)]
pub(super) struct Groups(Option<(Position, Position)>);

impl Groups {
    /// The group of the next state, which gets this position.
    fn next(&mut self, given: Option<Position>, position: Position) -> Option<Position> {
        self.0 = given.map(|given| self.0.filter(|run| run.0 == given).unwrap_or((given, position)));
        self.0.map(|(_, group)| group)
    }

    /// A state was refused. What stood in the run before it keeps its group; without that, the next one begins it.
    fn refused(&mut self, given: Option<Position>) {
        self.0 = self.0.filter(|run| Some(run.0) == given);
    }
}

impl SqliteTransaction {
    pub(super) fn put_all(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>> {
        self.writing()?;
        for state in states {
            self.tables.of(state.change.schema)?;
        }
        match self.careful {
            true => self.put_carefully(states, now),
            false => self.put_each(states, &mut Groups::default(), now),
        }
    }

    pub(super) fn put_each(&mut self, states: &[State], groups: &mut Groups, now: Stamp) -> Result<Vec<Put>> {
        let mut outcomes = Vec::with_capacity(states.len());
        let mut many = true;
        while let Some(State { change, record }) = states.get(outcomes.len()) {
            let table = self.table(change.schema)?;
            let new = self.put_new(&table, &states[outcomes.len()..], groups, &mut many)?;
            if new > 0 {
                outcomes.resize(outcomes.len() + new, Put::Stored);
                continue;
            }
            self.tell_put(&table, &change.id, now)?;
            if let Some(refused) = self.put_record(&table, change, record.as_ref())? {
                groups.refused(change.group);
                outcomes.push(Put::Refused(refused));
                continue;
            }
            if record.is_some() && self.is_taken_away(&table, &change.id)? {
                self.retracked(change.schema, std::slice::from_ref(&change.id), now)?;
                groups.refused(change.group);
                outcomes.push(Put::Refused(taken_away(change.schema)));
                continue;
            }
            let made = match record.is_some() && table.verify {
                true => self.as_it_travels(&table, &change.id)?,
                false => None,
            };
            if let Some(fault) = made.as_ref().and_then(|made| made.fault(change.schema)) {
                self.retracked(change.schema, std::slice::from_ref(&change.id), now)?;
                groups.refused(change.group);
                outcomes.push(Put::Refused(fault.to_string()));
                continue;
            }
            let position = self.next_position()?;
            let group = groups.next(change.group, position);
            self.put_change(&table, &Change { group, position, ..change.clone() })?;
            self.newest = Some(position);
            outcomes.push(verified(&table, record.as_ref(), made));
        }
        Ok(outcomes)
    }

    /// Puts states of one table for as long as they are new here and nothing stands in their way, which is most of a
    /// first pull; gives how many. It does what the long way does, but looks each statement up once, and takes several
    /// in one statement for as long as `many` of them together are not refused.
    fn put_new(
        &mut self,
        table: &Table,
        states: &[State],
        groups: &mut Groups,
        many: &mut bool,
    ) -> Result<usize> {
        let is_new = |state: &State| {
            let is_whole = |record: &Record| {
                // None is local: a local field keeps its default here, whatever came.
                record.is_all_that_travels(table.schema) && record.values().iter().all(Option::is_some)
            };
            state.change.schema.name == table.schema.name
                && state.change.kind == ChangeKind::Create
                && state.record.as_ref().is_some_and(is_whole)
                && no_id(table, &state.change.id).is_none()
        };
        if !self.bypass || table.verify || !states.first().is_some_and(is_new) {
            return Ok(0);
        }
        let mut position = self.newest_position()?;
        let (count, refused) = self.sql(|conn| {
            let mut insert = conn.sql.prepare_cached(&table.sql.insert)?;
            let mut put = conn.sql.prepare_cached(&NEW_CHANGE)?;
            let mut together = 0;
            if *many {
                let new = states.iter().take_while(|state| is_new(state)).count();
                let new = &states[..new - new % ROWS];
                together = put_many(&conn.sql, &mut conn.replicas, table, new, groups, &mut position)?;
                *many = together == new.len();
            }
            for (count, state) in states.iter().enumerate().skip(together) {
                let (change, Some(record)) = (&state.change, &state.record) else { return Ok((count, None)) };
                if !is_new(state) {
                    return Ok((count, None));
                }
                rows::bind_record(&mut insert, 0, table, &change.id, record)?;
                match insert.raw_execute() {
                    Ok(0) => return Ok((count, None)),
                    Ok(_) => {}
                    Err(error) => return refusal(&error).map(|reason| (count, Some(reason))).ok_or(error),
                }
                position += 1;
                let group = groups.next(change.group, position);
                let change = Change { group, position, ..change.clone() };
                let values = rows::change_values(&conn.sql, &mut conn.replicas, &change)?;
                if bind_change(&mut put, 0, table, &change.id, &values)?.raw_execute()? == 0 {
                    let mut put = conn.sql.prepare_cached(&PUT_CHANGE)?;
                    bind_change(&mut put, 0, table, &change.id, &values)?.raw_execute()?;
                }
            }
            Ok((states.len(), None))
        })?;
        self.newest = Some(position);
        if let Some(reason) = refused {
            // The long way says so once more, unless nothing is left to go on with.
            self.refused(reason)?;
        }
        Ok(count)
    }

    /// Writes the record; gives the reason if a constraint refuses it.
    fn put_record(
        &mut self,
        table: &Table,
        change: &Change,
        record: Option<&Record>,
    ) -> Result<Option<String>> {
        let id = &change.id;
        let Some(record) = record else {
            // One that nobody could read stays as it is.
            if !change.is_delete() {
                return Ok(None);
            }
            return Ok(match self.delete_row(table, id)? {
                Written::Refused(reason) => Some(reason),
                Written::Rows(_) => None,
            });
        };
        let whole;
        let record = if record.is_all_that_travels(table.schema) {
            record
        } else {
            match completed(table.schema, id, record.clone().without_local(table.schema)) {
                Ok(completed) => whole = completed,
                Err(reason) => return Ok(Some(reason)),
            }
            &whole
        };
        // One that its writer had just made is most likely absent here.
        let mut insert = change.kind == ChangeKind::Create;
        for _ in 0..2 {
            let written = match insert {
                true => self.insert(table, id, record)?,
                false => self.update(table, id, record)?,
            };
            match written {
                Written::Refused(reason) => return Ok(Some(reason)),
                Written::Rows(0) if insert => self.clear_notes(table)?,
                Written::Rows(0) => {}
                Written::Rows(_) => return Ok(None),
            }
            insert = !insert;
        }
        Ok(Some(ignored(table.schema)))
    }

    /// Writes a change in the place of the one that the record has, if any.
    pub(super) fn put_change(&mut self, table: &Table, change: &Change) -> Result<()> {
        self.sql(|conn| {
            let values = rows::change_values(&conn.sql, &mut conn.replicas, change)?;
            // The short statement is all that a record needs which is new here.
            for statement in [&NEW_CHANGE, &PUT_CHANGE] {
                let mut put = conn.sql.prepare_cached(statement)?;
                if bind_change(&mut put, 0, table, &change.id, &values)?.raw_execute()? > 0 {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Sets the change that stands at a position to another one of the same record, at its own position.
    pub(super) fn move_change(&mut self, from: Position, change: &Change) -> Result<()> {
        self.sql(|conn| {
            let values = rows::change_values(&conn.sql, &mut conn.replicas, change)?;
            let mut update = conn.sql.prepare_cached(&MOVE_CHANGE)?;
            update.raw_bind_parameter(1, from)?;
            for (index, value) in values.iter().enumerate() {
                update.raw_bind_parameter(index + 2, value)?;
            }
            update.raw_execute()
        })?;
        Ok(())
    }
}

/// What the database made of the record, where it may make something else of it and it was read again.
fn verified(table: &Table, given: Option<&Record>, made: Option<Reading>) -> Put {
    let (Some(given), Some(Reading { record: stored, .. })) = (given, made) else { return Put::Stored };
    let differs = record::difference(table.schema, given, &stored)
        .into_iter()
        .any(|field| given.get(field).is_some() && !table.schema.is_key(field));
    match differs {
        true => Put::Differs(stored.without_local(table.schema)),
        false => Put::Stored,
    }
}

/// Puts states that are new here, [`ROWS`] in a statement; gives how many it did before something stood in the way.
fn put_many(
    sql: &Connection,
    replicas: &mut Replicas,
    table: &Table,
    states: &[State],
    groups: &mut Groups,
    position: &mut Position,
) -> rusqlite::Result<usize> {
    if states.is_empty() || !table.fits_many() {
        return Ok(0);
    }
    let mut insert = sql.prepare_cached(&table.sql.insert_many)?;
    let mut put = sql.prepare_cached(&NEW_CHANGES)?;
    for (done, states) in states.chunks_exact(ROWS).enumerate() {
        for (row, State { change, record }) in states.iter().enumerate() {
            if let Some(record) = record {
                rows::bind_record(&mut insert, row * table.columns.len(), table, &change.id, record)?;
            }
        }
        match insert.raw_execute() {
            Ok(_) => {}
            Err(error) if refusal(&error).is_some() => return Ok(done * ROWS),
            Err(error) => return Err(error),
        }
        let mut changes = Vec::with_capacity(ROWS);
        for (row, State { change, .. }) in states.iter().enumerate() {
            *position += 1;
            let group = groups.next(change.group, *position);
            let change = Change { group, position: *position, ..change.clone() };
            let values = rows::change_values(sql, replicas, &change)?;
            bind_change(&mut put, row * COLUMNS, table, &change.id, &values)?;
            changes.push((change, values));
        }
        if put.raw_execute()? < ROWS {
            // Not every one is the first of its record: it takes the place of the one that is there.
            let mut put = sql.prepare_cached(&PUT_CHANGE)?;
            for (change, values) in &changes {
                bind_change(&mut put, 0, table, &change.id, values)?.raw_execute()?;
            }
        }
    }
    Ok(states.len())
}

/// The columns of `sync_change`.
const COLUMNS: usize = CHANGE.len() + 2;

/// Binds the whole row, to the parameters behind `offset`.
fn bind_change<'s, 'c>(
    put: &'s mut Statement<'c>,
    offset: usize,
    table: &Table,
    id: &Id,
    values: &[Value; CHANGE.len()],
) -> rusqlite::Result<&'s mut Statement<'c>> {
    put.raw_bind_parameter(offset + 1, table.number)?;
    rows::bind_id(put, offset + 2, table.id_encoding(), id)?;
    for (index, value) in values.iter().enumerate() {
        put.raw_bind_parameter(offset + index + 3, value)?;
    }
    Ok(put)
}

/// The whole row, at another position.
static MOVE_CHANGE: LazyLock<String> = LazyLock::new(|| {
    let mut number = 1;
    let set = CHANGE.map(|column| {
        number += 1;
        format!("{column} = ?{number}")
    });
    format!("UPDATE sync_change SET {} WHERE position = ?1", set.join(", "))
});

/// The whole row.
fn insert_change(insert: &str) -> String {
    let values: Vec<_> = (1..=COLUMNS).map(|number| format!("?{number}")).collect();
    format!("{insert} INTO sync_change(model, id, {}) VALUES ({})", CHANGE.join(", "), values.join(", "))
}

/// [`ROWS`] whole rows, without those whose record has one.
static NEW_CHANGES: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<_> = (1..=COLUMNS).collect();
    format!(
        "INSERT OR IGNORE INTO sync_change(model, id, {}) VALUES {}",
        CHANGE.join(", "),
        many(COLUMNS, &columns, &[])
    )
});

/// The whole row, unless the record has one.
static NEW_CHANGE: LazyLock<String> = LazyLock::new(|| insert_change("INSERT OR IGNORE"));

/// The whole row, in the place of the one that is there.
static PUT_CHANGE: LazyLock<String> = LazyLock::new(|| {
    let set = CHANGE.map(|column| format!("{column} = excluded.{column}"));
    format!("{} ON CONFLICT(model, id) DO UPDATE SET {}", insert_change("INSERT"), set.join(", "))
});
