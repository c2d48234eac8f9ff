//! Changes: the tracking row of a record, and the state it stood for.

use crate::merge::Merge;
use crate::planted::{self, Bug};
use crate::record::{Id, Record, Unknown};
use crate::schema::ModelSchema;
use crate::value::json_size;
use crate::version::{Ancestry, Position, ReplicaId, Revision, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What happened to a record last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was made.
    Create,
    /// It was changed.
    Update,
    /// It was deleted; the change is its tombstone.
    Delete,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChangeKind::Create => "create",
            ChangeKind::Update => "update",
            ChangeKind::Delete => "delete",
        })
    }
}

/// The transaction that wrote a change, as its store numbers them: equal numbers next to each other, one
/// transaction. What is put into a store gets the store's own number; only which are equal matters.
pub type Group = i64;

/// When fields were last written, by name, as far as that was before the revision of the change.
///
/// A field that is not named was written with the current revision, so a record that nobody edited has none.
pub type Stamps = BTreeMap<String, Stamp>;

/// A record's tracking row: one for each record ever seen, tombstones included.
#[derive(Debug, Clone)]
pub struct Change {
    /// The model of the record.
    pub schema: &'static ModelSchema,
    /// The record's id.
    pub id: Id,
    /// What happened last.
    pub kind: ChangeKind,
    /// The revision, and the newest stamps seen of all who wrote the record.
    pub ancestry: Ancestry,
    /// The two revisions that this one merged, if it is a merge.
    pub merged: Option<(Revision, Revision)>,
    /// The revision before this one, if there was one.
    pub previous: Option<Revision>,
    /// Where the change stands in its store's commit order; 0 before it is stored.
    pub position: Position,
    /// The transaction that wrote it; `None` where the database does not tell.
    pub group: Option<Group>,
    /// The peer that brought it exactly as it stands; `None` once anything about it changed here.
    pub origin: Option<ReplicaId>,
    /// Fields that this replica's schema does not know.
    pub unknown: Option<Box<Unknown>>,
    /// When the fields were written that merge by their own stamp ([`Merge::LastWrite`]).
    pub stamps: Option<Box<Stamps>>,
}

impl Change {
    /// About how many bytes the fields have that are not known here.
    pub(crate) fn unknown_size(&self) -> usize {
        let fields = self.unknown.iter().flat_map(|fields| fields.iter());
        fields.map(|(name, value)| name.len() + json_size(value) + 8).sum()
    }

    /// The revision that the record is in.
    pub fn revision(&self) -> Revision {
        self.ancestry.current
    }

    /// Whether the record is gone.
    pub fn is_delete(&self) -> bool {
        self.kind == ChangeKind::Delete
    }

    /// When the field of this name was last written.
    pub fn stamp_of(&self, field: &str) -> Stamp {
        let own = self.stamps.as_deref().and_then(|stamps| stamps.get(field));
        let own = own.filter(|_| !planted::on(Bug::RecordStamp));
        own.copied().unwrap_or(self.ancestry.current.stamp)
    }

    /// The stamps after a tracked write on top of this change; `same` says whether the field at a place stays as it
    /// was. A store asks for them where there was a record before and there is one after; else there are none.
    ///
    /// Written fields take the stamp of the new revision, which is the one of any field that is not named.
    pub fn stamps_after(&self, same: impl Fn(usize) -> bool) -> Option<Box<Stamps>> {
        let schema = self.schema;
        if self.stamps.is_none() && !schema.fields.iter().any(|field| matches!(field.merge, Merge::LastWrite))
        {
            return None;
        }
        let mut stamps = self.stamps.as_deref().cloned().unwrap_or_default();
        for (place, field) in schema.replicated() {
            if !same(place) {
                stamps.remove(field.name);
            } else if matches!(field.merge, Merge::LastWrite) {
                stamps.insert(field.name.to_owned(), self.stamp_of(field.name));
            }
        }
        (!stamps.is_empty()).then(|| Box::new(stamps))
    }

    /// The same before it takes another revision that writes no field: what is not named would count as written with that.
    pub(crate) fn unwritten(mut self) -> Change {
        if !self.is_delete() {
            self.stamps = self.stamps_after(|_| true);
        }
        self
    }

    /// `Todo 0193…`, for messages.
    pub fn name(&self) -> String {
        format!("{} {}", self.schema.name, self.id)
    }

    /// Which record it is of.
    pub(crate) fn record_name(&self) -> RecordName {
        (self.schema.name, self.id.clone())
    }
}

/// A record by model and id.
pub(crate) type RecordName = (&'static str, Id);

/// A record as a store holds it: its change and, unless it was deleted, its values.
#[derive(Debug, Clone)]
pub struct State {
    /// The tracking row.
    pub change: Change,
    /// The values; `None` for a tombstone.
    pub record: Option<Record>,
}

impl State {
    /// Whether it lacks the record that its change says there is: the row is gone past the tracking, or has a value that
    /// cannot be read ([`crate::store::Transaction::unreadable`]).
    pub fn lacks_record(&self) -> bool {
        self.record.is_none() && !self.change.is_delete()
    }

    /// About how many bytes its values take, those of fields that are not known here included; 0 for a tombstone.
    ///
    /// ```
    /// # use sync_runtime::change::{Change, ChangeKind, State};
    /// # use sync_runtime::version::{Ancestry, ReplicaId, Revision};
    /// # use sync_runtime::{Id, prelude::*};
    /// #[derive(Debug, Clone, PartialEq, Syncable)]
    /// struct Note {
    ///     #[sync(id)]
    ///     id: i64,
    ///     text: String,
    /// }
    ///
    /// # let revision = Revision { stamp: 1, replica: ReplicaId(uuid::Uuid::nil()) };
    /// # let change = Change {
    /// #     schema: Note::SCHEMA, id: Id::Int(1), kind: ChangeKind::Create, ancestry: Ancestry::of(revision), merged: None,
    /// #     previous: None, position: 1, group: None, origin: None, unknown: None, stamps: None,
    /// # };
    /// let record = Note { id: 1, text: "x".repeat(1_000) }.to_record()?;
    /// let state = State { change, record: Some(record) };
    /// assert!((1_000..1_100).contains(&state.size()));
    /// # Ok::<(), sync_runtime::Error>(())
    /// ```
    pub fn size(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.size() + self.change.unknown_size())
    }

    /// Whether two states hold the same content: all fields that travel, unknown ones included, bit by bit.
    pub fn same_content(&self, other: &State) -> bool {
        let schema = self.change.schema;
        let values = match (&self.record, &other.record) {
            (None, None) => true,
            (Some(a), Some(b)) => crate::record::difference(schema, a, b).is_empty(),
            _ => false,
        };
        let unknown =
            |state: &State| state.change.unknown.as_deref().filter(|fields| !fields.is_empty()).cloned();
        values && (self.record.is_none() || unknown(self) == unknown(other))
    }
}
