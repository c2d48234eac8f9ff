//! What the store holds, and the few ways to change it, each of which gives back what undoes it.
//!
//! Leaves the meaning of a write to [`crate::transaction`]; here stands only what must always agree: a row and
//! its place in the feed, a base and its places in the two indexes.

use serde::de::DeserializeSeed;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use sync_runtime::change::{Change, State as RecordState};
use sync_runtime::codec::Reader;
use sync_runtime::record::{Id, Record, Unknown};
use sync_runtime::schema::{ModelSchema, Models};
use sync_runtime::store::{Base, Room};
use sync_runtime::version::{Position, ReplicaId};
use sync_runtime::{Error, ErrorKind, FieldSchema, Result, Value};

/// A record and its change; either may be absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) record: Option<Arc<Record>>,
    pub(crate) change: Option<Arc<Change>>,
}

/// The kept bases of one record, oldest first.
pub(crate) type Bases = Vec<Arc<Base>>;

/// One model's rows.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) schema: &'static ModelSchema,
    /// By id, which is the order in which records of equal order come.
    pub(crate) rows: BTreeMap<Id, Row>,
    pub(crate) bases: BTreeMap<Id, Bases>,
}

/// The store's own few values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Meta {
    /// The replica id, once there is one.
    pub(crate) replica: Option<ReplicaId>,
    /// The position of the newest change.
    pub(crate) newest: Position,
    /// What `keep_bases_through` was last told.
    pub(crate) keep: Option<Position>,
}

/// Where a base stands in one of the two indexes: by a position, then by what it is of.
type BaseKey = (Position, &'static str, Id);

/// What the store holds.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) meta: Meta,
    tables: BTreeMap<&'static str, Table>,
    feed: BTreeMap<Position, Arc<Change>>,
    bases_by_position: BTreeSet<BaseKey>,
    bases_by_until: BTreeSet<BaseKey>,
    notes: BTreeMap<(Room, String), Vec<u8>>,
    /// The room of the last undo log, so that a transaction need not make one.
    spare: Vec<Undo>,
    /// The file behind the store, if there is one.
    #[cfg(feature = "file")]
    pub(crate) journal: Option<crate::journal::Journal>,
    /// What it holds of models that were not prepared, as it was read.
    #[cfg(feature = "file")]
    pub(crate) dormant: BTreeMap<String, crate::file::Dormant>,
}

/// What makes one change to the [`State`] undone.
#[derive(Debug)]
pub(crate) enum Undo {
    Row(&'static str, Id, Row),
    Bases(&'static str, Id, Bases),
    Note(Room, String, Option<Vec<u8>>),
}

impl State {
    /// The same content without the file behind it, which has one store.
    pub(crate) fn in_memory(&self) -> State {
        State {
            meta: self.meta,
            tables: self.tables.clone(),
            feed: self.feed.clone(),
            bases_by_position: self.bases_by_position.clone(),
            bases_by_until: self.bases_by_until.clone(),
            notes: self.notes.clone(),
            spare: Vec::new(),
            #[cfg(feature = "file")]
            journal: None,
            #[cfg(feature = "file")]
            dormant: self.dormant.clone(),
        }
    }

    /// The table of a registered model.
    pub(crate) fn table(&self, schema: &ModelSchema) -> Result<&Table> {
        self.tables.get(schema.name).ok_or_else(|| {
            let known: Vec<_> = self.tables.keys().copied().collect();
            let known = match known.is_empty() {
                true => "no model is".to_owned(),
                false => format!("registered are {}", known.join(", ")),
            };
            let message = format!("the memory store has no model `{}`; {known}", schema.name);
            Error::new(ErrorKind::UnknownModel, message)
        })
    }

    /// The record with this id, whatever its change says.
    #[cfg(feature = "planted")]
    pub(crate) fn record(&self, model: &str, id: &Id) -> Option<Arc<Record>> {
        self.tables.get(model)?.rows.get(id)?.record.clone()
    }

    /// All tables, by model.
    #[cfg(feature = "file")]
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// The row with this id; empty where there is none.
    pub(crate) fn row(&self, schema: &ModelSchema, id: &Id) -> Result<Row> {
        Ok(self.table(schema)?.rows.get(id).cloned().unwrap_or_default())
    }

    /// The changes after one position through another, in order.
    pub(crate) fn feed(&self, after: Position, through: Position) -> impl Iterator<Item = &Arc<Change>> {
        let from = after.saturating_add(1);
        // An empty range may not even be asked for.
        let range = (after < through).then(|| self.feed.range(from..=through));
        range.into_iter().flatten().map(|(_, change)| change)
    }

    /// The rows of a room whose keys start with this.
    pub(crate) fn notes<'a>(
        &'a self,
        room: Room,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let rows = self.notes.range((room, prefix.to_owned())..);
        let wanted = move |(of, key): &(Room, String)| *of == room && key.starts_with(prefix);
        rows.take_while(move |(key, _)| wanted(key)).map(|((_, key), value)| (key.as_str(), value.as_slice()))
    }

    /// The same behind a key.
    pub(crate) fn notes_after<'a>(
        &'a self,
        room: Room,
        prefix: &'a str,
        after: &str,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let from = match after < prefix {
            true => Bound::Included((room, prefix.to_owned())),
            false => Bound::Excluded((room, after.to_owned())),
        };
        let rows = self.notes.range((from, Bound::Unbounded));
        let wanted = move |(of, key): &(Room, String)| *of == room && key.starts_with(prefix);
        rows.take_while(move |(key, _)| wanted(key)).map(|((_, key), value)| (key.as_str(), value.as_slice()))
    }

    /// The bases whose state stood after one position, through another, by position.
    pub(crate) fn bases_between(&self, after: Position, through: Position) -> Vec<Arc<Base>> {
        let mut found = Vec::new();
        if after >= through {
            return found;
        }
        let first = (after.saturating_add(1), "", Id::Uuid(Default::default()));
        let keys = self.bases_by_position.range(first..).take_while(|key| key.0 <= through);
        for (position, model, id) in keys {
            let bases = self.tables.get(model).and_then(|table| table.bases.get(id));
            found.extend(
                bases.into_iter().flatten().filter(|base| base.state.change.position == *position).cloned(),
            );
        }
        found
    }

    /// The records that have a base that was overwritten at or before this position.
    pub(crate) fn overwritten_through(&self, until: Position) -> Vec<(&'static str, Id)> {
        let keys = self.bases_by_until.iter().take_while(|key| key.0 <= until);
        keys.map(|(_, model, id)| (*model, id.clone())).collect()
    }

    /// The bases of one record.
    pub(crate) fn bases(&self, model: &str, id: &Id) -> &[Arc<Base>] {
        self.tables.get(model).and_then(|table| table.bases.get(id)).map_or(&[], Vec::as_slice)
    }

    /// The value of one note.
    pub(crate) fn note(&self, room: Room, key: &str) -> Option<&Vec<u8>> {
        self.notes.get(&(room, key.to_owned()))
    }

    /// Sets a row, or removes it where both halves are absent; its change takes its place in the feed.
    pub(crate) fn set_row(&mut self, model: &'static str, id: Id, row: Row) -> Undo {
        let Some(table) = self.tables.get_mut(model) else {
            return Undo::Row(model, id, Row::default());
        };
        let (key, change) = (id.clone(), row.change.clone());
        let before = match row.record.is_some() || row.change.is_some() {
            true => table.rows.insert(key, row),
            false => table.rows.remove(&key),
        };
        let before = before.unwrap_or_default();
        let place = |change: &Option<Arc<Change>>| change.as_ref().map(|change| change.position);
        if place(&before.change) != place(&change)
            && let Some(position) = place(&before.change)
        {
            self.feed.remove(&position);
        }
        if let Some(change) = change {
            self.feed.insert(change.position, change);
        }
        Undo::Row(model, id, before)
    }

    /// Sets the bases of a record.
    pub(crate) fn set_bases(&mut self, model: &'static str, id: Id, bases: Bases) -> Undo {
        let Some(table) = self.tables.get_mut(model) else {
            return Undo::Bases(model, id, Bases::new());
        };
        for base in table.bases.get(&id).into_iter().flatten() {
            self.bases_by_position.remove(&(base.state.change.position, model, id.clone()));
            self.bases_by_until.remove(&(base.until, model, id.clone()));
        }
        for base in &bases {
            self.bases_by_position.insert((base.state.change.position, model, id.clone()));
            self.bases_by_until.insert((base.until, model, id.clone()));
        }
        let before = match bases.is_empty() {
            true => table.bases.remove(&id),
            false => table.bases.insert(id.clone(), bases),
        };
        Undo::Bases(model, id, before.unwrap_or_default())
    }

    /// Sets a note, or removes it with `None`.
    pub(crate) fn set_note(&mut self, room: Room, key: String, value: Option<Vec<u8>>) -> Undo {
        let before = match value {
            Some(value) => self.notes.insert((room, key.clone()), value),
            None => self.notes.remove(&(room, key.clone())),
        };
        Undo::Note(room, key, before)
    }

    /// An empty undo log.
    pub(crate) fn take_undo(&mut self) -> Vec<Undo> {
        std::mem::take(&mut self.spare)
    }

    /// Gives an undo log back that was used up; one that grew large is let go.
    pub(crate) fn give_undo(&mut self, undo: Vec<Undo>) {
        if undo.is_empty() && undo.capacity() <= 1024 {
            self.spare = undo;
        }
    }

    /// Takes one step back.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Row(model, id, row) => self.set_row(model, id, row),
            Undo::Bases(model, id, bases) => self.set_bases(model, id, bases),
            Undo::Note(room, key, value) => self.set_note(room, key, value),
        };
    }

    /// Makes a table for each model that has none, and fits the others to fields that came or went.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if there are records that the model as it is now cannot hold; nothing is
    /// changed then.
    pub(crate) fn prepare(&mut self, models: &Models) -> Result<()> {
        let mut made = Vec::new();
        for schema in models.iter().map(|model| model.schema) {
            match self.tables.get(schema.name) {
                // One of the same fields may have other rules.
                Some(table) if std::ptr::eq(table.schema, schema) => {}
                Some(table) => made.push(table.fitted_to(schema)?),
                None => made.push(match self.sleeping(schema)? {
                    Some(table) => table.fitted_to(schema)?,
                    None => Table::new(schema),
                }),
            }
        }
        for table in made {
            let model = table.schema.name;
            self.awake(table.schema);
            let changes = table.rows.values().filter_map(|row| row.change.clone());
            self.feed.extend(changes.map(|change| (change.position, change)));
            for (id, base) in
                table.bases.iter().flat_map(|(id, bases)| bases.iter().map(move |base| (id, base)))
            {
                self.bases_by_position.insert((base.state.change.position, model, id.clone()));
                self.bases_by_until.insert((base.until, model, id.clone()));
            }
            self.tables.insert(model, table);
        }
        Ok(())
    }

    /// Without a file nothing sleeps.
    #[cfg(not(feature = "file"))]
    fn sleeping(&self, _: &'static ModelSchema) -> Result<Option<Table>> {
        Ok(None)
    }

    #[cfg(not(feature = "file"))]
    fn awake(&mut self, _: &ModelSchema) {}
}

impl Table {
    pub(crate) fn new(schema: &'static ModelSchema) -> Self {
        Table { schema, rows: BTreeMap::new(), bases: BTreeMap::new() }
    }

    /// The same rows under another schema of the same model: values by field name; a new field takes what a peer has
    /// sent of it already, or its default.
    fn fitted_to(&self, schema: &'static ModelSchema) -> Result<Table> {
        let mut fitted = Table::new(schema);
        for (id, row) in &self.rows {
            let mut change = row.change.as_deref().map(|change| Change { schema, ..change.clone() });
            let unknown = change.as_mut().and_then(|change| change.unknown.as_deref_mut());
            let record = row.record.as_deref().map(|record| self.fit(schema, id, record, unknown, true));
            let record = record.transpose()?.map(Arc::new);
            fitted.rows.insert(id.clone(), Row { record, change: change.map(Arc::new) });
        }
        for (id, bases) in &self.bases {
            let fit = |base: &Arc<Base>| {
                let mut change = Change { schema, ..base.state.change.clone() };
                let unknown = change.unknown.as_deref_mut();
                let record = base.state.record.as_ref();
                let record = record.map(|record| self.fit(schema, id, record, unknown, false)).transpose()?;
                Ok(Arc::new(Base { state: RecordState { change, record }, until: base.until }))
            };
            fitted.bases.insert(id.clone(), bases.iter().map(fit).collect::<Result<_>>()?);
        }
        Ok(fitted)
    }

    fn fit(
        &self,
        schema: &'static ModelSchema,
        id: &Id,
        record: &Record,
        mut unknown: Option<&mut Unknown>,
        local: bool,
    ) -> Result<Record> {
        let mut fitted = Record::absent(schema);
        for (index, field) in schema.fields.iter().enumerate().filter(|(_, field)| local || !field.local) {
            let before = self.schema.position(field.name).and_then(|before| record.get(before)).cloned();
            let sent = unknown.as_deref_mut().and_then(|unknown| learnt(field, unknown));
            let Some(value) = before.or(sent).or_else(|| field.missing()) else {
                return Err(misfit(schema, id, field, "the field is new, required, and has no default"));
            };
            field.check(&value).map_err(|error| misfit(schema, id, field, error.message()))?;
            fitted.set(index, value);
        }
        Ok(fitted)
    }
}

/// Takes what a peer sent of a field before the model had it, if the field can hold it.
fn learnt(field: &'static FieldSchema, unknown: &mut Unknown) -> Option<Value> {
    if field.local {
        return None;
    }
    let sent = unknown.remove(field.name)?;
    let value = Reader::of([]).value(field).deserialize(sent).ok()?;
    field.check(&value).is_ok().then_some(value)
}

/// The error for a record that an altered model cannot hold.
fn misfit(schema: &ModelSchema, id: &Id, field: &FieldSchema, reason: &str) -> Error {
    let message = format!(
        "the stored {} {id} does not fit the model's field `{}`: {reason}; give the field a default or its old type",
        schema.name, field.name
    );
    Error::new(ErrorKind::Incompatible, message)
}
