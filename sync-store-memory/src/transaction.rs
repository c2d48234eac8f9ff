//! One transaction: what each method of the contract does to the [`State`], with a step back kept for each change.

use crate::state::{Row, State, Undo};
use futures_util::lock::OwnedMutexGuard;
use std::sync::Arc;
use sync_runtime::change::{Change, ChangeKind, State as RecordState};
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Base, Expect, Feed, Put, Room, Saved, Transaction, Write};
use sync_runtime::version::{Ancestry, Position, ReplicaId, Stamp};
use sync_runtime::{Error, ErrorKind, Result};

/// A transaction. Dropped without [`MemoryTransaction::commit`] it rolls back, so an error, a panic and a dropped
/// future all leave the store as it was.
#[derive(Debug)]
pub(crate) struct MemoryTransaction {
    pub(crate) state: OwnedMutexGuard<State>,
    undo: Vec<Undo>,
    before: crate::state::Meta,
    write: bool,
    /// The position of the first tracked change, which is the group of all of them.
    group: Option<Position>,
}

impl MemoryTransaction {
    pub(crate) fn begin(mut state: OwnedMutexGuard<State>, write: bool) -> Self {
        let undo = state.take_undo();
        MemoryTransaction { before: state.meta, state, undo, write, group: None }
    }

    /// Whether anything was changed so far.
    pub(crate) fn changed(&self) -> bool {
        !self.undo.is_empty() || self.before != self.state.meta
    }

    /// Makes what was done stay.
    pub(crate) fn commit(mut self) {
        self.undo.clear();
        self.before = self.state.meta;
    }

    /// What would undo what was done so far.
    #[cfg(feature = "file")]
    pub(crate) fn undo(&self) -> &[Undo] {
        &self.undo
    }

    fn writing(&self) -> Result<()> {
        if self.write {
            return Ok(());
        }
        let message = "a write in a transaction of the memory store that was begun for reading";
        Err(Error::new(ErrorKind::Usage, message))
    }

    fn me(&self) -> Result<ReplicaId> {
        self.state.meta.replica.ok_or_else(|| {
            Error::new(ErrorKind::Usage, "the memory store has no replica id yet; call `prepare` first")
        })
    }

    pub(crate) fn set_row(&mut self, schema: &'static ModelSchema, id: Id, row: Row) {
        let undo = self.state.set_row(schema.name, id, row);
        self.undo.push(undo);
    }

    /// Sets a record with a change of its own on top of the one before, and keeps the state before as base if it
    /// is wanted.
    fn track(
        &mut self,
        schema: &'static ModelSchema,
        id: Id,
        before: Row,
        record: Option<Arc<Record>>,
        now: Stamp,
    ) -> Result<()> {
        let me = self.me()?;
        let last = before.change.as_deref();
        // A row whose change is missing or a tombstone was never seen by anybody: it is made now.
        let live = before.record.is_some() && last.is_some_and(|change| !change.is_delete());
        let kind = match (live, record.is_some()) {
            (_, false) => ChangeKind::Delete,
            (true, true) => ChangeKind::Update,
            (false, true) => ChangeKind::Create,
        };
        let position = self.state.meta.newest + 1;
        let change = Change {
            schema,
            id: id.clone(),
            kind,
            ancestry: Ancestry::after(last.map(|change| &change.ancestry), now, me),
            merged: None,
            previous: last.map(Change::revision),
            position,
            group: Some(*self.group.get_or_insert(position)),
            origin: None,
            unknown: last.and_then(|change| change.unknown.clone()).filter(|_| record.is_some()),
            stamps: match (last, before.record.as_deref(), record.as_deref()) {
                (Some(last), Some(old), Some(new)) if live => {
                    last.stamps_after(|place| old.get(place) == new.get(place))
                }
                _ => None,
            },
        };
        self.state.meta.newest = position;
        self.keep_base(schema, &id, &before, position);
        self.set_row(schema, id, Row { record, change: Some(Arc::new(change)) });
        Ok(())
    }

    fn keep_base(&mut self, schema: &'static ModelSchema, id: &Id, before: &Row, until: Position) {
        let (Some(through), Some(change)) = (self.state.meta.keep, &before.change) else { return };
        let wanted = change.position <= through || change.origin.is_some();
        // A live change whose record is gone stands for a state that nobody knows any more.
        let known = change.is_delete() != before.record.is_some();
        if wanted && known {
            let record = before.record.as_deref().map(|record| record.clone().without_local(schema));
            let state = RecordState { change: Change::clone(change), record };
            self.add_base(schema, id, Base { state, until });
        }
    }

    fn add_base(&mut self, schema: &'static ModelSchema, id: &Id, base: Base) {
        let name = |base: &Base| (base.state.change.revision(), base.state.change.position);
        let mut bases = self.state.bases(schema.name, id).to_vec();
        bases.retain(|kept| name(kept) != name(&base));
        bases.push(Arc::new(base));
        bases.sort_by_key(|base| (base.state.change.position, base.until));
        let undo = self.state.set_bases(schema.name, id.clone(), bases);
        self.undo.push(undo);
    }

    fn save_one(&mut self, write: Write, now: Stamp) -> Result<Saved> {
        let Write { schema, id, record, expect } = write;
        let before = self.state.row(schema, &id)?;
        let refused = match (expect, &before.record) {
            (Expect::Absent, Some(_)) => Some(Saved::Exists),
            (Expect::Present | Expect::At(_), None) => Some(Saved::Missing),
            (Expect::At(revision), Some(_)) => {
                let current = before.change.as_deref().map(Change::revision);
                (current != Some(revision)).then_some(Saved::Moved)
            }
            _ => None,
        };
        if let Some(refused) = refused {
            return Ok(refused);
        }
        let Some(record) = record else {
            if before.record.is_none() {
                return Ok(Saved::Missing);
            }
            self.track(schema, id, before, None, now)?;
            return Ok(Saved::Tracked);
        };
        let record = match completed(schema, &id, record, before.record.as_deref()) {
            Ok(record) => record,
            Err(reason) => return Ok(Saved::Refused(reason)),
        };
        let tracked = before.change.as_deref().is_some_and(|change| !change.is_delete());
        match before.record.as_deref() {
            Some(old) if tracked && travels_same(schema, old, &record) => {
                if *old != record {
                    self.set_row(schema, id, Row { record: Some(Arc::new(record)), change: before.change });
                }
                Ok(Saved::Unchanged)
            }
            _ => {
                self.track(schema, id, before, Some(Arc::new(record)), now)?;
                Ok(Saved::Tracked)
            }
        }
    }

    fn put_one(&mut self, state: RecordState, group: Option<Position>) -> Result<Put> {
        let RecordState { mut change, record } = state;
        let (schema, id) = (change.schema, change.id.clone());
        let before = self.state.row(schema, &id)?;
        let record = match record {
            Some(record) => {
                match completed(schema, &id, record.without_local(schema), before.record.as_deref()) {
                    Ok(record) => Some(Arc::new(record)),
                    Err(reason) => return Ok(Put::Refused(reason)),
                }
            }
            // Nobody could read it, so nobody takes it away.
            None if !change.is_delete() => before.record,
            None => None,
        };
        change.position = self.state.meta.newest + 1;
        change.group = group;
        self.state.meta.newest = change.position;
        self.set_row(schema, id, Row { record, change: Some(Arc::new(change)) });
        Ok(Put::Stored)
    }

    /// What is wrong with the tracking of a row, which is what `untracked` lists and `retrack` repairs.
    fn is_untracked(row: &Row) -> bool {
        let live = row.change.as_deref().is_some_and(|change| !change.is_delete());
        row.record.is_some() != live
    }
}

#[cfg(feature = "planted")]
impl MemoryTransaction {
    /// With the bug [`sync_runtime::planted::Bug::NotAtomic`] on, a rolled back record stays, without its change.
    fn planted(&self, undo: Undo) -> Undo {
        match undo {
            Undo::Row(model, id, row) if sync_runtime::planted::on(sync_runtime::planted::Bug::NotAtomic) => {
                let record = self.state.record(model, &id);
                Undo::Row(model, id, Row { record, ..row })
            }
            undo => undo,
        }
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        while let Some(undo) = self.undo.pop() {
            #[cfg(feature = "planted")]
            let undo = self.planted(undo);
            self.state.undo(undo);
        }
        self.state.meta = self.before;
        let undo = std::mem::take(&mut self.undo);
        self.state.give_undo(undo);
    }
}

/// The record with a value for every field: absent local ones stay as they were, any other takes its default.
///
/// The error is the reason to refuse the record: a required field without a default is absent.
fn completed(
    schema: &'static ModelSchema,
    id: &Id,
    mut record: Record,
    before: Option<&Record>,
) -> std::result::Result<Record, String> {
    if record.values().len() == schema.fields.len() && record.values().iter().all(Option::is_some) {
        return Ok(record);
    }
    let mut values = Vec::with_capacity(schema.fields.len());
    for (index, field) in schema.fields.iter().enumerate() {
        let kept = || before.filter(|_| field.local).and_then(|before| before.get(index)).cloned();
        let Some(value) = record.take(index).or_else(kept).or_else(|| field.missing()) else {
            return Err(format!(
                "{} {id}: field `{}` is missing and has no default",
                schema.name, field.name
            ));
        };
        values.push(Some(value));
    }
    Ok(Record::new(values))
}

/// Whether no field that travels differs, without making a list of those that do.
fn travels_same(schema: &ModelSchema, a: &Record, b: &Record) -> bool {
    schema.replicated().all(|(index, _)| a.get(index) == b.get(index))
}

/// The record of a state: none for a tombstone, and without local fields.
fn travelling(row: &Row) -> Option<Record> {
    let change = row.change.as_deref().filter(|change| !change.is_delete())?;
    Some(row.record.as_deref()?.clone().without_local(change.schema))
}

#[sync_runtime::async_trait]
impl Transaction for MemoryTransaction {
    async fn replica(&mut self) -> Result<ReplicaId> {
        self.me()
    }

    async fn rename(&mut self, fresh: ReplicaId) -> Result<()> {
        self.writing()?;
        self.state.meta.replica = Some(fresh);
        Ok(())
    }

    async fn newest(&mut self) -> Result<Position> {
        Ok(self.state.meta.newest)
    }

    async fn read(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Record>>> {
        let table = self.state.table(schema)?;
        Ok(ids.iter().map(|id| table.rows.get(id).and_then(|row| row.record.as_deref().cloned())).collect())
    }

    async fn select(&mut self, schema: &'static ModelSchema, selection: &Selection) -> Result<Vec<Record>> {
        let table = self.state.table(schema)?;
        let records = table.rows.values().filter_map(|row| row.record.as_deref());
        let matching = records.filter(|record| selection.filter.matches(record));
        let skip = usize::try_from(selection.skip).unwrap_or(usize::MAX);
        let limit = selection.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        // The rows are in the order of their ids as texts, which is that of the fields only where one field is the id.
        if selection.order.is_empty() && !schema.has_composite_id() {
            return Ok(matching.skip(skip).take(limit).cloned().collect());
        }
        let mut sorted: Vec<&Record> = matching.collect();
        sorted.sort_by(|a, b| selection.compare(schema, a, b));
        Ok(sorted.into_iter().skip(skip).take(limit).cloned().collect())
    }

    async fn count(&mut self, schema: &'static ModelSchema, filter: &Filter) -> Result<u64> {
        let records = self.state.table(schema)?.rows.values().filter_map(|row| row.record.as_deref());
        Ok(records.filter(|record| filter.matches(record)).count() as u64)
    }

    async fn changes(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Change>>> {
        let table = self.state.table(schema)?;
        let change = |id: &Id| table.rows.get(id).and_then(|row| row.change.as_deref().cloned());
        Ok(ids.iter().map(change).collect())
    }

    async fn feed(&mut self, feed: &Feed) -> Result<Vec<RecordState>> {
        if let Some(schema) = feed.schema {
            self.state.table(schema)?;
        }
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for change in self.state.feed(feed.after, feed.through) {
            if found.len() >= feed.limit {
                break;
            }
            let brought = feed.not_from.is_some() && change.origin == feed.not_from;
            if brought || feed.schema.is_some_and(|schema| schema.name != change.schema.name) {
                continue;
            }
            let mut state = RecordState { change: Change::clone(change), record: None };
            if feed.data {
                state.record = travelling(&self.state.row(change.schema, &change.id)?);
                bytes = bytes.saturating_add(state.size());
                if bytes > feed.bytes && !found.is_empty() {
                    break;
                }
            }
            found.push(state);
        }
        Ok(found)
    }

    async fn save(&mut self, writes: Vec<Write>, now: Stamp) -> Result<Vec<Saved>> {
        self.writing()?;
        // Looked up first, so that a call fails before it has written anything.
        writes.iter().try_for_each(|write| self.state.table(write.schema).map(|_| ()))?;
        self.me()?;
        writes.into_iter().map(|write| self.save_one(write, now)).collect()
    }

    async fn put(&mut self, states: &[RecordState], _now: Stamp) -> Result<Vec<Put>> {
        self.writing()?;
        states.iter().try_for_each(|state| self.state.table(state.change.schema).map(|_| ()))?;
        let mut outcomes = Vec::with_capacity(states.len());
        // The group that the states of the run had, and the one that they get.
        let mut run: Option<(Position, Position)> = None;
        for state in states {
            run = state.change.group.map(|group| match run {
                Some((given, position)) if given == group => (given, position),
                _ => (group, self.state.meta.newest + 1),
            });
            outcomes.push(self.put_one(state.clone(), run.map(|(_, position)| position))?);
        }
        Ok(outcomes)
    }

    async fn keep_bases_through(&mut self, position: Option<Position>) -> Result<()> {
        self.writing()?;
        self.state.meta.keep = position;
        Ok(())
    }

    async fn bases(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Vec<Base>>> {
        self.state.table(schema)?;
        let bases =
            |id: &Id| self.state.bases(schema.name, id).iter().map(|base| Base::clone(base)).collect();
        Ok(ids.iter().map(bases).collect())
    }

    async fn bases_between(&mut self, after: Position, through: Position) -> Result<Vec<Base>> {
        Ok(self.state.bases_between(after, through).iter().map(|base| Base::clone(base)).collect())
    }

    async fn add_bases(&mut self, bases: Vec<Base>) -> Result<()> {
        self.writing()?;
        bases.iter().try_for_each(|base| self.state.table(base.state.change.schema).map(|_| ()))?;
        for mut base in bases {
            let (schema, id) = (base.state.change.schema, base.state.change.id.clone());
            base.state.record = base.state.record.map(|record| record.without_local(schema));
            self.add_base(schema, &id, base);
        }
        Ok(())
    }

    async fn drop_bases(&mut self, until: Position) -> Result<()> {
        self.writing()?;
        for (model, id) in self.state.overwritten_through(until) {
            let left =
                self.state.bases(model, &id).iter().filter(|base| base.until > until).cloned().collect();
            let undo = self.state.set_bases(model, id, left);
            self.undo.push(undo);
        }
        Ok(())
    }

    async fn untracked(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>> {
        let table = self.state.table(schema)?;
        let broken = |id: &&Id| {
            after.is_none_or(|after| *id > after) && table.rows.get(id).is_some_and(Self::is_untracked)
        };
        let mut ids: Vec<&Id> = match only {
            Some(only) => only.iter().filter(broken).collect(),
            None => table.rows.keys().filter(broken).take(limit).collect(),
        };
        ids.sort_unstable();
        ids.dedup();
        Ok(ids.into_iter().take(limit).cloned().collect())
    }

    async fn retrack(&mut self, schema: &'static ModelSchema, ids: &[Id], now: Stamp) -> Result<Vec<bool>> {
        self.writing()?;
        self.me()?;
        let mut repaired = Vec::with_capacity(ids.len());
        for id in ids {
            let row = self.state.row(schema, id)?;
            let broken = Self::is_untracked(&row);
            if broken {
                let record = row.record.clone();
                self.track(schema, id.clone(), row, record, now)?;
            }
            repaired.push(broken);
        }
        Ok(repaired)
    }

    async fn notes(&mut self, room: Room, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let rows = self.state.notes(room, prefix);
        Ok(rows.map(|(key, value)| (key.to_owned(), value.to_vec())).collect())
    }

    async fn notes_after(
        &mut self,
        room: Room,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let rows = self.state.notes_after(room, prefix, after).take(limit);
        Ok(rows.map(|(key, value)| (key.to_owned(), value.to_vec())).collect())
    }

    async fn notes_of(&mut self, room: Room, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(keys.iter().map(|key| self.state.note(room, key).cloned()).collect())
    }

    async fn note_all(&mut self, room: Room, rows: Vec<(String, Option<Vec<u8>>)>) -> Result<()> {
        self.writing()?;
        for (key, value) in rows {
            let undo = self.state.set_note(room, key, value);
            self.undo.push(undo);
        }
        Ok(())
    }

    async fn erase(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<()> {
        self.writing()?;
        for id in ids {
            let row = self.state.row(schema, id)?;
            if row.record.is_none() && row.change.as_deref().is_some_and(Change::is_delete) {
                self.set_row(schema, id.clone(), Row::default());
                let undo = self.state.set_bases(schema.name, id.clone(), Vec::new());
                self.undo.push(undo);
            }
        }
        Ok(())
    }

    async fn states(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<RecordState>>> {
        let table = self.state.table(schema)?;
        let state = |id: &Id| {
            let row = table.rows.get(id)?;
            Some(RecordState { change: row.change.as_deref()?.clone(), record: travelling(row) })
        };
        Ok(ids.iter().map(state).collect())
    }
}
