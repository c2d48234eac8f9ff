//! States that are put exactly as given: the triggers leave the records alone, and their changes are written as they
//! came.

use super::super::link::{Cell, Kind};
use super::super::statement::{Rows, Statement, Then, in_parts};
use super::super::tables::{CHANGE, Table, key};
use super::save::{Op, batch};
use super::{SqlTransaction, rows};
use crate::records::{Reading, completed, taken_away, with_local_defaults};
use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use sync_runtime::change::{Change, State};
use sync_runtime::record::Id;
use sync_runtime::store::Put;
use sync_runtime::version::{Position, Stamp};
use sync_runtime::{Result, record};

/// The groups of states that are put. Until a change has its position, its group has any number that no other one has;
/// the numbering gives each group the position of its first change.
#[derive(Default)]
pub(super) struct Groups(Option<(Position, Position)>);

impl Groups {
    /// The group of the next state.
    fn next(&mut self, given: Option<Position>) -> Option<Position> {
        self.0 = given.map(|given| self.0.filter(|run| run.0 == given).unwrap_or((given, Self::unique())));
        self.0.map(|(_, group)| group)
    }

    /// Below zero, where neither positions are nor the database's own numbers of transactions.
    pub(super) fn unique() -> Position {
        let random = RandomState::new().build_hasher().finish();
        -((random >> 2) as Position) - 1
    }
}

impl SqlTransaction<'_> {
    pub(super) async fn put_all(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>> {
        self.writing()?;
        for state in states {
            self.tables.of(state.change.schema)?;
        }
        self.know(states.iter().flat_map(|state| rows::replicas_of(&state.change))).await?;
        let mut outcomes = Vec::with_capacity(states.len());
        let mut groups = Groups::default();
        let mut rest = states;
        while !rest.is_empty() {
            let part;
            (part, rest) = rest.split_at(batch(rest, |state| (state.change.schema.name, &state.change.id)));
            outcomes.extend(self.put_part(part, &mut groups, now).await?);
        }
        Ok(outcomes)
    }

    /// Puts states of one model, no record twice.
    async fn put_part(&mut self, states: &[State], groups: &mut Groups, now: Stamp) -> Result<Vec<Put>> {
        let table = self.table(states[0].change.schema)?;
        let schema = table.schema;
        let ids: Vec<Id> = states.iter().map(|state| state.change.id.clone()).collect();
        // The transaction sees what it saw before. Rows are locked as they are written, which is before their changes are.
        let looked =
            self.looked.take().filter(|looked| looked.model == table.number && !self.shared_with_app);
        let there = match looked.filter(|looked| ids.iter().all(|id| looked.asked.contains(id))) {
            Some(looked) => looked.there,
            None => self.locked_ids(&table, &ids).await?,
        };
        let keys = ids.iter().map(|id| Cell::Bytes(key(id))).collect();
        self.tell_all(self.dialect().tell_put(&self.shared.own, Some((table.number, keys)))).await?;
        self.putting = true;
        let travelling: Vec<usize> = table
            .travelling()
            .filter(|(field, column)| !schema.is_key(*field) && !column.generated)
            .map(|(field, _)| field)
            .collect();
        let mut outcomes = vec![Put::Stored; states.len()];
        let mut ops = Vec::with_capacity(states.len());
        for (place, State { change, record }) in states.iter().enumerate() {
            let is_there = there.contains(&change.id);
            let Some(record) = record else {
                // One that nobody could read stays as it is.
                if is_there && change.is_delete() {
                    ops.push((place, Op::Delete));
                }
                continue;
            };
            match completed(schema, &change.id, record.clone().without_local(schema)) {
                Err(reason) => outcomes[place] = Put::Refused(reason),
                Ok(_) if is_there && travelling.is_empty() => {}
                Ok(record) if is_there => ops.push((place, Op::Update(travelling.clone(), record))),
                Ok(record) => {
                    ops.push((place, Op::Insert(with_local_defaults(schema, &record).into_owned())));
                }
            }
        }
        for (place, reason) in self.write_rows(&table, &ids, ops).await? {
            outcomes[place] = Put::Refused(reason);
        }
        let read = if table.verify { self.as_they_travel(&table, &ids).await? } else { Vec::new() };
        let mut taken = Vec::new();
        for ((place, state), found) in states.iter().enumerate().zip(&read) {
            let reason = match found {
                None => Some(taken_away(schema)),
                Some(found) => found.fault(schema).map(|fault| fault.to_string()),
            };
            if let (Some(reason), Some(_), Put::Stored) = (reason, &state.record, &outcomes[place]) {
                outcomes[place] = Put::Refused(reason);
                taken.push(state.change.id.clone());
            }
        }
        let stored = states.iter().zip(&outcomes).filter(|(_, put)| **put == Put::Stored);
        let changes: Vec<Change> = stored
            .map(|(State { change, .. }, _)| Change { group: groups.next(change.group), ..change.clone() })
            .collect();
        self.write_changes(&table, &changes).await?;
        if !taken.is_empty() {
            self.retracked(schema, &taken, now).await?;
        }
        differing(&table, states, read, &mut outcomes);
        Ok(outcomes)
    }

    /// Which of these records are there; their rows are locked until the transaction ends.
    pub(super) async fn locked_ids(&mut self, table: &Table, ids: &[Id]) -> Result<HashSet<Id>> {
        let dialect = self.dialect();
        let mut select =
            Statement::new(format!("SELECT {} FROM {} t WHERE ", table.key_names("t."), table.name));
        table.one_of(dialect, &mut select, "t.", ids);
        select.push(dialect.lock(false));
        let found = self.fetch(select).await?;
        found.into_iter().map(|row| table.id(row)).collect()
    }

    /// Writes changes in the place of those that the records have, at positions that they get once they are committed.
    pub(super) async fn write_changes(&mut self, table: &Table, changes: &[Change]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        if self.own().await?.keep_through.is_some() {
            let ids: Vec<&Id> = changes.iter().map(|change| &change.id).collect();
            self.close_bases(table, &ids).await?;
        }
        let names: Vec<(String, Kind)> = [("model".to_owned(), Kind::Int(4)), ("id".to_owned(), Kind::Bytes)]
            .into_iter()
            .chain(
                CHANGE
                    .iter()
                    .filter(|(name, _)| *name != "position")
                    .map(|(name, kind)| ((*name).to_owned(), *kind)),
            )
            .collect();
        let mut rows = Vec::with_capacity(changes.len());
        for change in changes {
            let mut row = vec![Cell::Int(table.number), Cell::Bytes(key(&change.id))];
            let cells = rows::change_cells(&self.replicas, change)?.into_iter().zip(CHANGE);
            row.extend(cells.filter(|(_, (name, _))| *name != "position").map(|(cell, _)| cell));
            rows.push(row);
        }
        let set: Vec<String> = CHANGE.map(|(name, _)| name.to_owned()).to_vec();
        let into = self.own_table("change");
        for rows in in_parts(self.dialect(), rows) {
            let computed = vec![("position", self.dialect().pending_position(&self.shared.own))];
            let rows = Rows { into: &into, columns: names.clone(), rows, computed };
            let insert = self.dialect().insert(rows, Then::Replace { key: "model, id", set: &set });
            self.execute(insert).await?;
        }
        Ok(())
    }

    /// From now on the triggers track every record again.
    pub(super) async fn put_no_more(&mut self) -> Result<()> {
        if std::mem::take(&mut self.putting) {
            self.tell_all(self.dialect().tell_put(&self.shared.own, None)).await?;
        }
        Ok(())
    }
}

/// What the database made of the records, where it may make something else of them and they were `read` again.
fn differing(table: &Table, states: &[State], read: Vec<Option<Reading>>, outcomes: &mut [Put]) {
    for ((state, stored), outcome) in states.iter().zip(read).zip(outcomes) {
        let (Some(given), Some(Reading { record: stored, .. }), Put::Stored) =
            (&state.record, stored, &*outcome)
        else {
            continue;
        };
        let differs = record::difference(table.schema, given, &stored)
            .into_iter()
            .any(|field| given.get(field).is_some() && !table.schema.is_key(field));
        if differs {
            *outcome = Put::Differs(stored.without_local(table.schema));
        }
    }
}
