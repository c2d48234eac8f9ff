//! Keeping two records that were made apart under one id: the peer's keeps the id, and this replica's goes on under a new
//! one, with its children.

use super::inbox::{Matter, Parked, list};
use super::notes;
use super::resolve::{self, Resolution, keep_parents, standing};
use crate::change::{Change, State};
use crate::collection::write_one;
use crate::env::BoxFuture;
use crate::query::{Filter, Selection};
use crate::record::{Id, Record, Unknown};
use crate::schema::{ModelSchema, Models};
use crate::store::{Expect, Put, Transaction, Write};
use crate::version::{ReplicaId, Revision, Stamp};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeSet;

/// Resolves a conflict so that both records stay, in one transaction. Fails as [`standing`], and where the two may be
/// one record.
pub(crate) async fn keep_both(
    tx: &mut dyn Transaction,
    models: &Models,
    parked: &Parked,
    mine: Option<Revision>,
    new_id: Id,
    now: Stamp,
) -> Result<()> {
    let (entry, current) = standing(tx, models, parked, mine).await?;
    let name = entry.name();
    if let Some(why) = may_be_one(&entry, &current) {
        let message = format!("{name} cannot be kept twice: {why}; choose a side, or merge the two");
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let mut writers: BTreeSet<ReplicaId> = writers(&current.change).collect();
    let mut own = notes::former(tx).await?;
    own.push(tx.replica().await?);
    if own.iter().any(|name| writers.contains(name)) {
        writers.extend(own);
    }
    let doing = format!("keeping {name} as {new_id}");
    let moving = Moving { models, peer: entry.peer, writers, now };
    moving.apart(tx, entry, current, new_id).await.map_err(|error| error.context(doing))
}

/// Why the two sides of a conflict may be versions of one record; `None` if each was made by itself.
fn may_be_one(entry: &Parked, mine: &State) -> Option<&'static str> {
    let Matter::Conflict { theirs, doubtful, .. } = &entry.matter else {
        return Some("it is not in conflict");
    };
    if mine.record.is_none() || theirs.record.is_none() {
        return Some("one side deleted it");
    }
    // What was sent under a former name may have come to stand at the peer.
    let related = writers(&mine.change).any(|writer| theirs.change.ancestry.seen(writer).is_some());
    (related || *doubtful).then_some("both sides may come from one record")
}

fn writers(change: &Change) -> impl Iterator<Item = ReplicaId> {
    change.ancestry.entries().map(|entry| entry.replica)
}

/// What holds for all records that move.
struct Moving<'m> {
    models: &'m Models,
    peer: ReplicaId,
    /// Who wrote the record that gets a new id.
    writers: BTreeSet<ReplicaId>,
    now: Stamp,
}

impl Moving<'_> {
    /// Gives the record of this replica a new id, and the old id to that of the peer.
    fn apart<'a>(
        &'a self,
        tx: &'a mut dyn Transaction,
        entry: Parked,
        mine: State,
        new_id: Id,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (schema, old) = (entry.schema, entry.id.clone());
            let Some(record) = tx.read(schema, std::slice::from_ref(&old)).await?.pop().flatten() else {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no {} {old}", schema.name)));
            };
            let revision = Some(mine.change.revision());
            resolve::resolve(tx, self.models, &entry, revision, Resolution::Theirs, self.now).await?;
            self.forget_local(tx, schema, &old).await?;
            self.create(tx, schema, record, &old, &new_id, mine.change.unknown).await?;
            self.children(tx, schema, &old, &new_id).await
        })
    }

    /// The fields that stay on the device were those of the record that moved.
    async fn forget_local(
        &self,
        tx: &mut dyn Transaction,
        schema: &'static ModelSchema,
        id: &Id,
    ) -> Result<()> {
        let Some(mut record) = tx.read(schema, std::slice::from_ref(id)).await?.pop().flatten() else {
            return Ok(());
        };
        for (place, field) in schema.fields.iter().enumerate().filter(|(_, field)| field.local) {
            if let Some(value) = field.missing() {
                record.set(place, value);
            }
        }
        let write = Write { schema, id: id.clone(), record: Some(record), expect: Expect::Present };
        write_one(tx, write, self.now).await.map(drop)
    }

    /// Makes a record that was here under an old id.
    async fn create(
        &self,
        tx: &mut dyn Transaction,
        schema: &'static ModelSchema,
        mut record: Record,
        old: &Id,
        new: &Id,
        unknown: Option<Box<Unknown>>,
    ) -> Result<()> {
        for (place, value) in schema.id_values(new)? {
            record.set(place, value);
        }
        // It may have itself as parent.
        for (place, parent) in self.models.parents_of(schema) {
            let names_itself = record.get(place).is_some_and(|value| *value == old.to_value());
            if parent == schema.name && names_itself && !schema.is_key(place) {
                record.set(place, new.to_value());
            }
        }
        (self.models.get(schema.name)?.check)(&record)?;
        let write = Write { schema, id: new.clone(), record: Some(record), expect: Expect::Absent };
        write_one(tx, write, self.now).await?;
        let Some(mut state) = tx.states(schema, std::slice::from_ref(new)).await?.pop().flatten() else {
            return Ok(());
        };
        if unknown.is_some() {
            state.change.unknown = unknown;
            if let Some(Put::Refused(reason)) = tx.put(std::slice::from_ref(&state), self.now).await?.pop() {
                let message = format!("the database refuses {} {new}: {reason}", schema.name);
                return Err(Error::new(ErrorKind::Constraint, message));
            }
        }
        keep_parents(tx, self.models, &state, self.now).await
    }

    /// Has the children of a record that moved name its new id.
    async fn children(
        &self,
        tx: &mut dyn Transaction,
        schema: &'static ModelSchema,
        old: &Id,
        new: &Id,
    ) -> Result<()> {
        for (child, place) in self.models.children_of(schema.name) {
            let filter = Filter::OneOf(place, vec![old.to_value()]);
            let found = tx.select(child, &Selection { filter, ..Selection::default() }).await?;
            let ids = found.iter().map(|record| child.id_of(record)).collect::<Result<Vec<_>, _>>()?;
            let changes = tx.changes(child, &ids).await?;
            for ((mut record, id), change) in found.into_iter().zip(ids).zip(changes) {
                // One that is not tracked yet was written here.
                let is_ours = change.iter().flat_map(writers).all(|writer| self.writers.contains(&writer));
                if !is_ours || (child.name, &id) == (schema.name, old) {
                    continue;
                }
                record.set(place, new.to_value());
                if child.is_key(place) {
                    self.rename(tx, child, id, record, change).await?;
                    continue;
                }
                (self.models.get(child.name)?.check)(&record)?;
                let write = Write { schema: child, id, record: Some(record), expect: Expect::Present };
                write_one(tx, write, self.now).await?;
            }
        }
        Ok(())
    }

    /// Moves a child whose id is made of that of its parent: it is deleted and made anew.
    async fn rename(
        &self,
        tx: &mut dyn Transaction,
        schema: &'static ModelSchema,
        old: Id,
        record: Record,
        change: Option<Change>,
    ) -> Result<()> {
        let new = schema.id_of(&record)?;
        let mut entries = list(tx, self.models, schema, Some(&old)).await?.into_iter();
        let entry = entries.find(|entry| entry.peer == self.peer);
        let mine = tx.states(schema, std::slice::from_ref(&old)).await?.pop().flatten();
        // The two sites may have made a child of one id too.
        if let (Some(entry), Some(mine)) = (entry, mine)
            && may_be_one(&entry, &mine).is_none()
        {
            return self.apart(tx, entry, mine, new).await;
        }
        let unknown = change.and_then(|change| change.unknown);
        let delete = Write { schema, id: old.clone(), record: None, expect: Expect::Present };
        // Its own children need a parent at any time; without any, what is unique in it is free first.
        if self.models.children_of(schema.name).next().is_none() {
            write_one(tx, delete, self.now).await?;
            return self.create(tx, schema, record, &old, &new, unknown).await;
        }
        self.create(tx, schema, record, &old, &new, unknown).await?;
        Box::pin(self.children(tx, schema, &old, &new)).await?;
        write_one(tx, delete, self.now).await.map(drop)
    }
}
