//! Saves and deletes on behalf of the app: the change is decided here, from what stands in the database, and written
//! beside the record. The triggers leave the record alone meanwhile, or are off.

use super::super::error::refusal;
use super::super::tables::Table;
use super::{SqliteTransaction, Told, rows};
use crate::records::{Reading, completed, ignored, is_whole, taken_away, with_local_defaults};
use sync_runtime::Result;
use sync_runtime::change::{Change, ChangeKind, Stamps, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::store::{Base, Expect, Saved, Write};
use sync_runtime::version::{Ancestry, Position, Revision, Stamp};

/// What came of one statement on a record.
pub(super) enum Written {
    /// So many rows.
    Rows(usize),
    Refused(String),
}

/// Why no record of the table's model can have this id. One of a single field is what its column makes of it.
pub(super) fn no_id(table: &Table, id: &Id) -> Option<String> {
    let checked = table.schema.has_composite_id().then(|| table.schema.id_values(id));
    checked?.err().map(|error| format!("{}: {error}", table.schema.name))
}

/// What a tracked write does to a record.
pub(super) enum Edit {
    Create,
    /// Only here does a field stay as it was, so only here are there stamps of fields.
    Update(Option<Box<Stamps>>),
    Delete,
}

impl SqliteTransaction {
    pub(super) fn saved(&mut self, writes: Vec<Write>, now: Stamp) -> Result<Vec<Saved>> {
        self.writing()?;
        // Looked up first, so that a call fails before it has written anything.
        for write in &writes {
            self.tables.of(write.schema)?;
        }
        let mut outcomes = Vec::with_capacity(writes.len());
        for Write { schema, id, record, expect } in writes {
            let table = self.table(schema)?;
            outcomes.push(match record {
                None => self.save_delete(&table, &id, expect, now)?,
                Some(record) => match completed(schema, &id, record) {
                    Err(reason) => Saved::Refused(reason),
                    Ok(record) if expect == Expect::Absent => {
                        self.save_new(&table, &id, &record, expect, now)?
                    }
                    // Without triggers an insert that comes to nothing has no effect, so there is no need to look first.
                    Ok(record) if expect == Expect::Any && self.bypass => {
                        match self.save_new(&table, &id, &record, Expect::Absent, now)? {
                            Saved::Exists => self.save_over(&table, &id, &record, expect, now)?,
                            saved => saved,
                        }
                    }
                    Ok(record) => self.save_over(&table, &id, &record, expect, now)?,
                },
            });
        }
        Ok(outcomes)
    }

    fn save_delete(&mut self, table: &Table, id: &Id, expect: Expect, now: Stamp) -> Result<Saved> {
        let change = self.change(table, id)?;
        match expect {
            Expect::At(revision) if change.as_ref().map(Change::revision) != Some(revision) => {
                return Ok(if self.exists(table, id)? { Saved::Moved } else { Saved::Missing });
            }
            Expect::Absent if self.exists(table, id)? => return Ok(Saved::Exists),
            _ => {}
        }
        let old = match &change {
            Some(change) if !change.is_delete() && self.is_kept(change)? => {
                self.travelling(table, change)?.map(Some)
            }
            _ => None,
        };
        self.tell_put(table, id, now)?;
        match self.delete_row(table, id)? {
            Written::Refused(reason) => Ok(Saved::Refused(reason)),
            Written::Rows(0) => Ok(Saved::Missing),
            Written::Rows(_) => self.tracked(table, id, change, old, Edit::Delete, now),
        }
    }

    fn save_new(
        &mut self,
        table: &Table,
        id: &Id,
        record: &Record,
        expect: Expect,
        now: Stamp,
    ) -> Result<Saved> {
        self.tell_put(table, id, now)?;
        match self.insert(table, id, record)? {
            Written::Refused(reason) => return Ok(Saved::Refused(reason)),
            Written::Rows(0) => {
                self.clear_notes(table)?;
                return Ok(match expect == Expect::Absent && self.exists(table, id)? {
                    true => Saved::Exists,
                    false => Saved::Refused(ignored(table.schema)),
                });
            }
            Written::Rows(_) => {}
        }
        if self.is_taken_away(table, id)? {
            return Ok(Saved::Refused(taken_away(table.schema)));
        }
        // Most new records were never heard of before, so that is tried before it is asked.
        if self.track_first(table, id, now)? {
            return Ok(Saved::Tracked);
        }
        let change = self.change(table, id)?;
        // A live change whose record was gone stands for a state that nobody knows any more.
        let old = change.as_ref().filter(|change| change.is_delete()).map(|_| None);
        self.tracked(table, id, change, old, Edit::Create, now)
    }

    fn save_over(
        &mut self,
        table: &Table,
        id: &Id,
        record: &Record,
        expect: Expect,
        now: Stamp,
    ) -> Result<Saved> {
        // What cannot be read of it differs from anything that is given.
        let Some(old) = self.as_it_reads(table, id)? else {
            return match expect {
                Expect::Any => self.save_new(table, id, record, expect, now),
                _ => Ok(Saved::Missing),
            };
        };
        let Reading { record: old, misread } = old;
        let change = self.change(table, id)?;
        if let Expect::At(revision) = expect
            && change.as_ref().map(Change::revision) != Some(revision)
        {
            return Ok(Saved::Moved);
        }
        let live = change.as_ref().is_some_and(|change| !change.is_delete());
        let travels_same = table
            .schema
            .replicated()
            .all(|(index, _)| table.schema.is_key(index) || record.get(index) == old.get(index));
        if live && travels_same {
            return self.save_local(table, id, record, &old, now);
        }
        self.tell_put(table, id, now)?;
        match self.update(table, id, record)? {
            Written::Refused(reason) => Ok(Saved::Refused(reason)),
            Written::Rows(0) => Ok(Saved::Refused(ignored(table.schema))),
            Written::Rows(_) => {
                let Some(before) = change.as_ref().filter(|_| live) else {
                    return self.tracked(table, id, change, None, Edit::Create, now);
                };
                let edit = match self.is_taken_away(table, id)? {
                    true => Edit::Delete,
                    false => Edit::Update(self.stamps_after(table, before, &old, record)?),
                };
                let old = Some(Some(old.without_local(table.schema))).filter(|_| misread.is_none());
                self.tracked(table, id, change, old, edit, now)
            }
        }
    }

    /// Saves a record of which nothing that travels differs. A trigger of the app may still make it differ.
    fn save_local(
        &mut self,
        table: &Table,
        id: &Id,
        record: &Record,
        old: &Record,
        now: Stamp,
    ) -> Result<Saved> {
        if record.values().iter().zip(old.values()).all(|(value, old)| value.is_none() || value == old) {
            return Ok(Saved::Unchanged);
        }
        let before = self.newest_position()?;
        let group = Some(self.group.unwrap_or(before + 1));
        self.tell(Some(Told { stamp: now, group, put: None }))?;
        if let Written::Refused(reason) = self.update(table, id, record)? {
            return Ok(Saved::Refused(reason));
        }
        if self.bypass {
            return Ok(Saved::Unchanged);
        }
        self.newest = None;
        let tracked = self.change(table, id)?.is_some_and(|change| change.position > before);
        if tracked {
            self.group.get_or_insert(before + 1);
        }
        Ok(if tracked { Saved::Tracked } else { Saved::Unchanged })
    }

    /// Makes the first change of a record; false if it has one already.
    fn track_first(&mut self, table: &Table, id: &Id, now: Stamp) -> Result<bool> {
        let me = self.own()?.number;
        let position = self.next_position()?;
        let group = self.group.unwrap_or(self.first);
        let rows = self.sql(|conn| {
            let insert = "INSERT INTO sync_change(position, model, id, kind, stamp, writer, grp) \
                          VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6) ON CONFLICT(model, id) DO NOTHING";
            let mut insert = conn.sql.prepare_cached(insert)?;
            insert.raw_bind_parameter(1, position)?;
            insert.raw_bind_parameter(2, table.number)?;
            rows::bind_id(&mut insert, 3, table.id_encoding(), id)?;
            insert.raw_bind_parameter(4, now)?;
            insert.raw_bind_parameter(5, me)?;
            insert.raw_bind_parameter(6, group)?;
            insert.raw_execute()
        })?;
        if rows > 0 {
            self.newest = Some(position);
            self.group = Some(group);
        }
        Ok(rows > 0)
    }

    /// When the fields were written of a record that was just updated.
    fn stamps_after(
        &mut self,
        table: &Table,
        before: &Change,
        old: &Record,
        given: &Record,
    ) -> Result<Option<Box<Stamps>>> {
        let same = |new: &Record, place| table.schema.is_key(place) || new.get(place) == old.get(place);
        let stamps = |new: &Record| before.stamps_after(|place| same(new, place));
        // Where the database may have stored something else, that tells which fields stay; it is only read where any
        // field could have a stamp.
        let stored = match table.verify && before.stamps_after(|_| true).is_some() {
            true => self.record(table, &before.id)?,
            false => None,
        };
        Ok(stamps(stored.as_ref().unwrap_or(given)))
    }

    /// Makes a change on top of the one before, and keeps the state before as base if that is asked for. `old` is the
    /// record of that state, which a tombstone has not; without it, nobody knows the state.
    pub(super) fn tracked(
        &mut self,
        table: &Table,
        id: &Id,
        before: Option<Change>,
        old: Option<Option<Record>>,
        edit: Edit,
        now: Stamp,
    ) -> Result<Saved> {
        let (kind, stamps) = match edit {
            Edit::Create => (ChangeKind::Create, None),
            Edit::Update(stamps) => (ChangeKind::Update, stamps),
            Edit::Delete => (ChangeKind::Delete, None),
        };
        let position = self.next_position()?;
        let group = self.group.unwrap_or(self.first);
        let own = self.own()?;
        let unknown = before.as_ref().and_then(|before| before.unknown.clone());
        let change = Change {
            schema: table.schema,
            id: id.clone(),
            kind,
            ancestry: match &before {
                Some(before) => before.ancestry.next(now, own.replica),
                None => Ancestry::of(Revision { stamp: now, replica: own.replica }),
            },
            merged: None,
            previous: before.as_ref().map(Change::revision),
            position,
            group: Some(group),
            origin: None,
            unknown: unknown.filter(|_| kind != ChangeKind::Delete),
            stamps,
        };
        match before {
            Some(before) => {
                self.move_change(before.position, &change)?;
                if let Some(record) = old
                    && self.is_kept(&before)?
                {
                    let state = State { change: before, record };
                    self.add_base(table, &Base { state, until: position })?;
                }
            }
            None => self.put_change(table, &change)?,
        }
        self.newest = Some(position);
        self.group = Some(group);
        Ok(Saved::Tracked)
    }

    /// Whether the state that this change stands for is to be kept when it is overwritten.
    fn is_kept(&mut self, change: &Change) -> Result<bool> {
        let through = self.own()?.keep_through;
        Ok(through.is_some_and(|through| change.position <= through || change.origin.is_some()))
    }

    /// Tells the triggers to leave this record alone, and which stamp and group anything else gets.
    pub(super) fn tell_put(&mut self, table: &Table, id: &Id, now: Stamp) -> Result<()> {
        self.first = self.newest_position()? + 1;
        if self.bypass {
            return Ok(());
        }
        let group = Some(self.group.unwrap_or(self.first));
        self.tell(Some(Told { stamp: now, group, put: Some((table.number, id.clone())) }))
    }

    /// The position of the change of a record that was just written. Other records that triggers and cascades wrote
    /// meanwhile have theirs already.
    pub(super) fn next_position(&mut self) -> Result<Position> {
        if !self.bypass {
            self.newest = None;
        }
        Ok(self.newest_position()? + 1)
    }

    /// Runs a statement that a constraint may refuse.
    pub(super) fn attempt(
        &mut self,
        run: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<usize>,
    ) -> Result<Written> {
        match run(&self.lease.conn()?.sql) {
            Ok(rows) => Ok(Written::Rows(rows)),
            Err(error) => match refusal(&error) {
                Some(reason) => Ok(Written::Refused(self.refused(reason)?)),
                None => self.sql(|_| Err(error)),
            },
        }
    }

    /// Inserts a record unless there is one of this id; absent local fields take their defaults.
    pub(super) fn insert(&mut self, table: &Table, id: &Id, record: &Record) -> Result<Written> {
        if let Some(reason) = no_id(table, id) {
            return Ok(Written::Refused(reason));
        }
        let record = &*with_local_defaults(table.schema, record);
        self.attempt(|sql| {
            let mut insert = sql.prepare_cached(&table.sql.insert)?;
            rows::bind_record(&mut insert, 0, table, id, record)?;
            insert.raw_execute()
        })
    }

    /// Updates a record; absent fields stay as they are.
    pub(super) fn update(&mut self, table: &Table, id: &Id, record: &Record) -> Result<Written> {
        let dynamic;
        let statement = if is_whole(table.schema, record) {
            &table.sql.update
        } else if record.is_all_that_travels(table.schema) {
            &table.sql.update_travelling
        } else {
            dynamic = table.update_of(|index, _| record.get(index).is_some());
            &dynamic
        };
        self.attempt(|sql| {
            let mut update = sql.prepare_cached(statement)?;
            rows::bind_record(&mut update, 0, table, id, record)?;
            update.raw_execute()
        })
    }

    pub(super) fn delete_row(&mut self, table: &Table, id: &Id) -> Result<Written> {
        self.attempt(|sql| {
            let mut delete = sql.prepare_cached(&table.sql.delete)?;
            rows::bind_key(&mut delete, table, id, |nth, _| nth + 1)?;
            delete.raw_execute()
        })
    }

    /// Whether a trigger of the app's deleted the row that was just written. The library's leave it alone meanwhile.
    pub(super) fn is_taken_away(&mut self, table: &Table, id: &Id) -> Result<bool> {
        Ok(!self.bypass && table.verify && !self.exists(table, id)?)
    }

    /// Takes away what the trigger noted for an insert that did not happen.
    pub(super) fn clear_notes(&mut self, table: &Table) -> Result<()> {
        if self.bypass {
            return Ok(());
        }
        self.sql(|conn| conn.sql.prepare_cached(&table.sql.clear_notes)?.execute([]))?;
        Ok(())
    }
}
