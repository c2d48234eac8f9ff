//! What stands in the journal, and when: the entry of a commit, what a start reads back, and compaction.
//!
//! An entry is MessagePack with names: the store's own few values, then each thing that the commit touched as it stands
//! now. Records and changes are written by the stored form of [`sync_runtime::codec`], so by the names of their fields;
//! a start leaves them in that form until a model of their name is prepared.

use crate::journal::{Cut, Journal};
use crate::state::{Bases, Meta, Row, State, Table, Undo};
use crate::transaction::MemoryTransaction;
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use sync_runtime::change::{Change, State as RecordState};
use sync_runtime::codec::{self, Reader};
use sync_runtime::record::Id;
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Base, Room};
use sync_runtime::version::{Position, ReplicaId};
use sync_runtime::{Error, ErrorKind, Result};

/// How many things stand in one entry of a compacted journal.
const COMPACTED: usize = 500;

/// One model's rows and bases in their stored form, by the stored form of their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dormant {
    rows: BTreeMap<ByteBuf, StoredRow>,
    bases: BTreeMap<ByteBuf, Vec<StoredBase>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct StoredRow {
    record: Option<ByteBuf>,
    change: Option<ByteBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredBase {
    state: ByteBuf,
    until: Position,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    replica: Option<ReplicaId>,
    newest: Position,
    keep: Option<Position>,
    set: Vec<Set>,
}

/// One thing as it stands after a commit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Set {
    Row { model: String, id: ByteBuf, row: StoredRow },
    Bases { model: String, id: ByteBuf, bases: Vec<StoredBase> },
    Note { room: String, key: String, value: Option<ByteBuf> },
}

/// Opens or makes a journal and reads what it holds.
pub(crate) fn open(path: &Path) -> Result<(State, Option<Cut>)> {
    let mut state = State::default();
    let mut dormant: BTreeMap<String, Dormant> = BTreeMap::new();
    let (journal, cut) = Journal::open(path, |payload| {
        let Entry { replica, newest, keep, set } = decoded(payload)?;
        state.meta = Meta { replica, newest, keep };
        for set in set {
            match set {
                Set::Row { model, id, row: StoredRow { record: None, change: None } } => {
                    dormant.entry(model).or_default().rows.remove(&id);
                }
                Set::Row { model, id, row } => {
                    dormant.entry(model).or_default().rows.insert(id, row);
                }
                Set::Bases { model, id, bases } if bases.is_empty() => {
                    dormant.entry(model).or_default().bases.remove(&id);
                }
                Set::Bases { model, id, bases } => {
                    dormant.entry(model).or_default().bases.insert(id, bases);
                }
                Set::Note { room, key, value } => {
                    let known = Room::ALL.into_iter().find(|known| known.name() == room);
                    let room = known.ok_or_else(|| newer(format!("the room `{room}`")))?;
                    state.set_note(room, key, value.map(ByteBuf::into_vec));
                }
            }
        }
        Ok(())
    })?;
    (state.journal, state.dormant) = (Some(journal), dormant);
    if cut.as_ref().is_some_and(|cut| cut.kept_in.is_some()) {
        // Commits may be gone, and their positions would be given out again: this is another history now.
        state.meta.replica = None;
        compacted(&mut state)?;
    }
    Ok((state, cut))
}

/// Puts what a transaction did into the file, and onto the disk if it is to be durable. A transaction that fails here
/// is rolled back, in the file as well.
pub(crate) async fn keep(mut transaction: MemoryTransaction, durable: bool) -> Result<MemoryTransaction> {
    if transaction.state.journal.is_none() {
        return Ok(transaction);
    }
    let entry = match transaction.changed() {
        true => Some(encoded(&entry_of(&transaction.state, transaction.undo())?)?),
        false => None,
    };
    let Some(journal) = &mut transaction.state.journal else { return Ok(transaction) };
    let good = journal.len();
    if let Some(entry) = entry {
        journal.append(&entry)?;
    }
    let sync = durable && journal.is_unsynced();
    let compact = journal.is_overgrown();
    if !sync && !compact {
        return Ok(transaction);
    }
    // Both wait for the disk, so on a thread that may wait.
    blocking::unblock(move || {
        if sync && let Some(journal) = &mut transaction.state.journal {
            journal.sync(good)?;
        }
        if compact {
            // The commit is in the file; that the file stays long is no reason to fail it.
            let _ = compacted(&mut transaction.state);
        }
        Ok(transaction)
    })
    .await
}

impl State {
    /// What the file holds of a model that was not prepared before.
    pub(crate) fn sleeping(&self, schema: &'static ModelSchema) -> Result<Option<Table>> {
        self.dormant.get(schema.name).map(|dormant| dormant.table(schema)).transpose()
    }

    /// Forgets the stored form of a model that is prepared now.
    pub(crate) fn awake(&mut self, schema: &ModelSchema) {
        self.dormant.remove(schema.name);
    }
}

impl Dormant {
    fn table(&self, schema: &'static ModelSchema) -> Result<Table> {
        let mut table = Table::new(schema);
        for (id, row) in &self.rows {
            let id = id_of(schema, id)?;
            let read = |doing: &str| format!("reading the {doing} of {} {id}", schema.name);
            let change: Option<Change> = match &row.change {
                Some(change) => Some(one(schema, change, &read("change"))?),
                None => None,
            };
            let record = match &row.record {
                Some(record) => {
                    let reader = Reader::of([schema]).stored();
                    let (record, _) = seeded(&reader, record, reader.record(schema), &read("record"))?;
                    Some(record)
                }
                None => None,
            };
            let row = Row { record: record.map(Arc::new), change: change.map(Arc::new) };
            table.rows.insert(id, row);
        }
        for (id, bases) in &self.bases {
            let id = id_of(schema, id)?;
            let doing = format!("reading a base of {} {id}", schema.name);
            let base = |base: &StoredBase| {
                let state: RecordState = one(schema, &base.state, &doing)?;
                Ok(Arc::new(Base { state, until: base.until }))
            };
            table.bases.insert(id, bases.iter().map(base).collect::<Result<Bases>>()?);
        }
        Ok(table)
    }
}

/// What a commit touched, as it stands now.
fn entry_of(state: &State, undo: &[Undo]) -> Result<Entry> {
    let (mut rows, mut bases, mut notes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut set = Vec::new();
    for undo in undo {
        match undo {
            Undo::Row(model, id, _) if rows.insert((model, id)) => {
                let Some(table) = state.tables().find(|table| table.schema.name == *model) else { continue };
                let row = table.rows.get(id).cloned().unwrap_or_default();
                set.push(set_row(table.schema, id, &row)?);
            }
            Undo::Bases(model, id, _) if bases.insert((model, id)) => {
                set.push(set_bases(model, id, state.bases(model, id))?);
            }
            Undo::Note(room, key, _) if notes.insert((room, key)) => {
                set.push(set_note(*room, key, state.note(*room, key).map(Vec::as_slice)));
            }
            _ => {}
        }
    }
    Ok(entry(state, set))
}

fn entry(state: &State, set: Vec<Set>) -> Entry {
    let Meta { replica, newest, keep } = state.meta;
    Entry { replica, newest, keep, set }
}

fn set_row(schema: &'static ModelSchema, id: &Id, row: &Row) -> Result<Set> {
    let record = row.record.as_deref().map(|record| encoded(&codec::stored_record(schema, record)));
    let change = row.change.as_deref().map(|change| encoded(&codec::stored(change)));
    let row = StoredRow {
        record: record.transpose()?.map(ByteBuf::from),
        change: change.transpose()?.map(ByteBuf::from),
    };
    Ok(Set::Row { model: schema.name.to_owned(), id: encoded(&codec::id(id))?.into(), row })
}

fn set_bases(model: &str, id: &Id, bases: &[Arc<Base>]) -> Result<Set> {
    let stored = |base: &Arc<Base>| {
        Ok(StoredBase { state: encoded(&codec::stored(&base.state))?.into(), until: base.until })
    };
    let bases = bases.iter().map(stored).collect::<Result<_>>()?;
    Ok(Set::Bases { model: model.to_owned(), id: encoded(&codec::id(id))?.into(), bases })
}

fn set_note(room: Room, key: &str, value: Option<&[u8]>) -> Set {
    let value = value.map(|value| ByteBuf::from(value.to_vec()));
    Set::Note { room: room.name().to_owned(), key: key.to_owned(), value }
}

/// Replaces the journal by one that holds what is there now and nothing that was.
fn compacted(state: &mut State) -> Result<()> {
    let Some(mut journal) = state.journal.take() else { return Ok(()) };
    let compacted = journal.compact(Payloads::of(state));
    state.journal = Some(journal);
    compacted
}

/// The entries of a compacted journal, a bounded number of things in each, so that not all are in memory twice.
struct Payloads<'a> {
    state: &'a State,
    set: Box<dyn Iterator<Item = Result<Set>> + 'a>,
    /// Whether the first one was given, which an empty store has too.
    begun: bool,
}

impl<'a> Payloads<'a> {
    fn of(state: &'a State) -> Self {
        let tables = state.tables().flat_map(|table| {
            let rows = table.rows.iter().map(|(id, row)| set_row(table.schema, id, row));
            rows.chain(table.bases.iter().map(|(id, bases)| set_bases(table.schema.name, id, bases)))
        });
        let sleeping = state.dormant.iter().flat_map(|(model, dormant)| {
            let row = |(id, row): (&ByteBuf, &StoredRow)| {
                Ok(Set::Row { model: model.clone(), id: id.clone(), row: row.clone() })
            };
            let base = |(id, bases): (&ByteBuf, &Vec<StoredBase>)| {
                Ok(Set::Bases { model: model.clone(), id: id.clone(), bases: bases.clone() })
            };
            dormant.rows.iter().map(row).chain(dormant.bases.iter().map(base))
        });
        let notes = Room::ALL.into_iter().flat_map(|room| {
            state.notes(room, "").map(move |(key, value)| Ok(set_note(room, key, Some(value))))
        });
        Payloads { state, set: Box::new(tables.chain(sleeping).chain(notes)), begun: false }
    }
}

impl Iterator for Payloads<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let set: Result<Vec<Set>> = self.set.by_ref().take(COMPACTED).collect();
        if self.begun && set.as_ref().is_ok_and(Vec::is_empty) {
            return None;
        }
        self.begun = true;
        Some(set.and_then(|set| encoded(&entry(self.state, set))))
    }
}

fn encoded(value: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(|error| {
        Error::new(ErrorKind::Storage, format!("writing an entry of the memory store's journal: {error}"))
            .with_source(error)
    })
}

fn decoded(payload: &[u8]) -> Result<Entry> {
    rmp_serde::from_slice(payload).map_err(|error| newer(format!("an entry ({error})")))
}

fn id_of(schema: &'static ModelSchema, id: &[u8]) -> Result<Id> {
    let reader = Reader::of([schema]).stored();
    seeded(&reader, id, reader.id(schema), &format!("reading an id of {}", schema.name))
}

fn one<T: codec::Tracked>(schema: &'static ModelSchema, stored: &[u8], doing: &str) -> Result<T> {
    let reader = Reader::of([schema]).stored();
    seeded(&reader, stored, reader.one(), doing)
}

/// Reads something in its stored form. What does not fit the model any more is named.
fn seeded<'de, S>(reader: &Reader, stored: &'de [u8], seed: S, doing: &str) -> Result<S::Value>
where
    S: DeserializeSeed<'de>,
{
    seed.deserialize(&mut rmp_serde::Deserializer::from_read_ref(stored)).map_err(|error| {
        let reason = reader.error(error, doing);
        let message =
            format!("{reason}; the model may have changed: give the field its old type, or a new name");
        Error::new(ErrorKind::Incompatible, message).with_source(reason)
    })
}

fn newer(what: String) -> Error {
    let message = format!("{what} that this version does not know; update the program");
    Error::new(ErrorKind::Incompatible, message)
}
