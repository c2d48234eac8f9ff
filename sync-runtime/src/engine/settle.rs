//! When nothing is left to do about what is parked.

use super::inbox::{Matter, Parked, list, remove};
use crate::Result;
use crate::change::Change;
use crate::record::Id;
use crate::schema::{ModelSchema, Models};
use crate::store::{Room, Transaction};
use crate::version::{Relation, ReplicaId, Revision, compare};

/// What a peer said of records.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Said {
    /// It stored just now what was pushed.
    Stored(ReplicaId),
    /// It knew before what was pushed, and may have it, or have had it where it cannot be read any more.
    Knew(ReplicaId),
    /// It holds them.
    Holds(ReplicaId),
}

/// A record of which something settled.
#[derive(Debug)]
pub(crate) struct Settled {
    schema: &'static ModelSchema,
    id: Id,
    /// What the peer holds of it, where that is known.
    held: Option<Revision>,
}

impl Settled {
    /// Of which the peer holds this.
    pub(crate) fn at(change: &Change) -> Self {
        Settled { schema: change.schema, id: change.id.clone(), held: Some(change.revision()) }
    }

    pub(crate) fn of(schema: &'static ModelSchema, id: Id) -> Self {
        Settled { schema, id, held: None }
    }
}

impl Said {
    /// Whether there is nothing left to do about what is parked with a peer, which holds this of it.
    fn settles(self, parked: &Parked, held: Option<Revision>) -> bool {
        let (Said::Stored(peer) | Said::Knew(peer) | Said::Holds(peer)) = self;
        if peer != parked.peer {
            return false;
        }
        match (self, &parked.matter) {
            (Said::Stored(_) | Said::Knew(_), Matter::Conflict { waiting: true, theirs, .. }) => {
                theirs.record.is_some()
            }
            (Said::Stored(_), Matter::Rejected { .. }) => true,
            // It has from others what it did not take from here.
            (Said::Holds(_), Matter::Rejected { revision, .. }) => held == Some(*revision),
            _ => false,
        }
    }
}

/// Removes the entries of these records that were settled: what the peer held is in the ancestry now, or the
/// refused revision is not the current one any more, or this peer took what waited, or stored what it had refused.
pub(crate) async fn settle(
    tx: &mut dyn Transaction,
    models: &Models,
    said: Said,
    records: Vec<Settled>,
) -> Result<()> {
    // Mostly nothing is parked at all: one look instead of one for each record.
    if records.is_empty() || tx.notes(Room::Parked, "").await?.is_empty() {
        return Ok(());
    }
    for Settled { schema, id, held } in records {
        let entries = list(tx, models, schema, Some(&id)).await?;
        if entries.is_empty() {
            continue;
        }
        let current = tx.changes(schema, std::slice::from_ref(&id)).await?.pop().flatten();
        for parked in entries {
            if said.settles(&parked, held) || is_settled(&parked.matter, current.as_ref()) {
                remove(tx, &parked).await?;
            }
        }
    }
    Ok(())
}

/// Whether nothing is left to do about an entry, given the record's change now.
pub(crate) fn is_settled(matter: &Matter, current: Option<&Change>) -> bool {
    match (matter, current) {
        // The delete descends from what the peer holds, and waits there.
        (Matter::Conflict { theirs, waiting: true, .. }, Some(current)) if theirs.record.is_some() => {
            !current.is_delete()
        }
        (Matter::Conflict { theirs, .. } | Matter::Refused { theirs, .. }, Some(current)) => {
            matches!(compare(&current.ancestry, &theirs.change.ancestry), Relation::Newer | Relation::Same)
        }
        (Matter::Rejected { revision, .. }, Some(current)) => current.revision() != *revision,
        (Matter::Rejected { .. }, None) => true,
        (_, None) => false,
    }
}
