//! States that are put exactly as given: the triggers leave the record alone, and its change is written as it came.

use super::super::tables::Table;
use super::super::triggers::CHANGE;
use super::save::{Written, completed, ignored};
use super::{SqliteTransaction, rows};
use std::sync::LazyLock;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::store::Put;
use sync_runtime::version::{Position, Stamp};
use sync_runtime::{Result, record};

impl SqliteTransaction {
    pub(super) fn put_all(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>> {
        self.writing()?;
        for state in states {
            self.tables.of(state.change.schema)?;
        }
        let mut outcomes = Vec::with_capacity(states.len());
        // The group that the states of the run had, and the one that they get.
        let mut run: Option<(Position, Position)> = None;
        for State { change, record } in states {
            let table = self.table(change.schema)?;
            self.tell_put(&table, &change.id, now)?;
            if let Some(refused) = self.put_record(&table, change, record.as_ref())? {
                // What stood in the run before it keeps its group; without that, the next one begins it.
                run = run.filter(|(given, _)| Some(*given) == change.group);
                outcomes.push(Put::Refused(refused));
                continue;
            }
            let next = self.next_position()?;
            run = change.group.map(|given| run.filter(|run| run.0 == given).unwrap_or((given, next)));
            let group = run.map(|(_, position)| position);
            self.put_change(&table, &Change { group, position: next, ..change.clone() })?;
            self.newest = Some(next);
            outcomes.push(self.verified(&table, &change.id, record.as_ref())?);
        }
        Ok(outcomes)
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
        Ok(Some(ignored(table)))
    }

    /// Writes a change in the place of the one that the record has, if any.
    pub(super) fn put_change(&mut self, table: &Table, change: &Change) -> Result<()> {
        self.sql(|conn| {
            let values = rows::change_values(conn, change)?;
            // The short statement is all that a record needs which is new here.
            for statement in [&NEW_CHANGE, &PUT_CHANGE] {
                let mut put = conn.sql.prepare_cached(statement)?;
                put.raw_bind_parameter(1, table.number)?;
                rows::bind_id(&mut put, 2, table.id_column().encoding, &change.id)?;
                for (index, value) in values.iter().enumerate() {
                    put.raw_bind_parameter(index + 3, value)?;
                }
                if put.raw_execute()? > 0 {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Sets the change that stands at a position to another one of the same record, at its own position.
    pub(super) fn move_change(&mut self, from: Position, change: &Change) -> Result<()> {
        self.sql(|conn| {
            let values = rows::change_values(conn, change)?;
            let mut update = conn.sql.prepare_cached(&MOVE_CHANGE)?;
            update.raw_bind_parameter(1, from)?;
            for (index, value) in values.iter().enumerate() {
                update.raw_bind_parameter(index + 2, value)?;
            }
            update.raw_execute()
        })?;
        Ok(())
    }

    /// What the database made of the record, where it may make something else of it.
    fn verified(&mut self, table: &Table, id: &Id, given: Option<&Record>) -> Result<Put> {
        let Some(given) = given.filter(|_| table.verify) else { return Ok(Put::Stored) };
        let Some(stored) = self.record(table, id)? else { return Ok(Put::Stored) };
        let differs = record::difference(table.schema, given, &stored)
            .into_iter()
            .any(|field| given.get(field).is_some() && field != table.schema.id);
        Ok(match differs {
            true => Put::Differs(stored.without_local(table.schema)),
            false => Put::Stored,
        })
    }
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
    let values: Vec<_> = (1..=CHANGE.len() + 2).map(|number| format!("?{number}")).collect();
    format!("{insert} INTO sync_change(model, id, {}) VALUES ({})", CHANGE.join(", "), values.join(", "))
}

/// The whole row, unless the record has one.
static NEW_CHANGE: LazyLock<String> = LazyLock::new(|| insert_change("INSERT OR IGNORE"));

/// The whole row, in the place of the one that is there.
static PUT_CHANGE: LazyLock<String> = LazyLock::new(|| {
    let set = CHANGE.map(|column| format!("{column} = excluded.{column}"));
    format!("{} ON CONFLICT(model, id) DO UPDATE SET {}", insert_change("INSERT"), set.join(", "))
});
