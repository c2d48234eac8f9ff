//! What came of a sync or replication.

use crate::change::State;
use crate::conflict::Conflict;
use crate::engine::Engine;
use crate::engine::inbox::{Matter, Parked};
use crate::engine::rebase::Rebased;
use crate::record::Id;
use crate::syncable::{Field, ModelId, Syncable};
use crate::value::Value;
use crate::version::{Checkpoint, ReplicaId};
use std::fmt;

/// What came of a sync.
pub struct SyncReport {
    /// The peer's replica id.
    pub peer: ReplicaId,
    /// How many records were sent.
    pub pushed: usize,
    /// How many records came.
    pub pulled: usize,
    /// How many round trips it took, apart from asking who the peer is.
    pub requests: usize,
    /// Whether nothing was left to do: apart from conflicts and refusals, both hold the same.
    pub level: bool,
    /// Records that one side refused. They are parked; everything else went on.
    pub rejected: Vec<Rejected>,
    pub(crate) merged: Vec<Rebased>,
    pub(crate) conflicts: Vec<(Parked, Option<State>)>,
    pub(crate) engine: Engine,
    pub(crate) swapped: bool,
}

impl fmt::Debug for SyncReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncReport")
            .field("peer", &self.peer)
            .field("pushed", &self.pushed)
            .field("pulled", &self.pulled)
            .field("requests", &self.requests)
            .field("level", &self.level)
            .field("merged", &self.merged.len())
            .field("conflicts", &self.conflicts.len())
            .field("rejected", &self.rejected)
            .finish()
    }
}

impl SyncReport {
    /// The conflicts of a model that this sync met, also such as stood before. They stay in the store until they
    /// are resolved; see [`crate::Workspace::conflicts`].
    pub fn conflicts<T: Syncable>(&self) -> Vec<Conflict<T>> {
        let read = self.conflicts.iter().filter_map(|(parked, mine)| {
            let conflict = Conflict::read(&self.engine, parked, mine.clone()).ok().flatten()?;
            Some(if self.swapped { conflict.swap_parties() } else { conflict })
        });
        read.collect()
    }

    /// How many conflicts of all models there are.
    pub fn conflict_count(&self) -> usize {
        self.conflicts.len()
    }
}

impl SyncReport {
    /// The records of a model that both sides had changed and that were merged, with what policies decided of them.
    pub fn merged<T: Syncable>(&self) -> Vec<Merged<T>> {
        self.merged.iter().filter_map(Merged::of).collect()
    }

    /// How many records of all models were merged.
    pub fn merged_count(&self) -> usize {
        self.merged.len()
    }
}

/// A record that both sides had changed, as it was merged.
#[derive(Debug)]
#[non_exhaustive]
pub struct Merged<T: Syncable> {
    /// The record's id.
    pub id: T::Id,
    /// The fields that both sides had changed, each decided by its policy. Empty where each side changed others.
    pub fields: Vec<MergedField<T::Field>>,
    /// The policy that decided a delete against an edit, if that is what met.
    pub on_delete: Option<&'static str>,
    /// The edited record that a delete took away.
    pub lost: Option<T>,
}

/// A field that both sides had changed, as its policy decided.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MergedField<F> {
    /// The field.
    pub field: F,
    /// Its policy, as the attribute writes it.
    pub policy: &'static str,
    /// The value that stands.
    pub kept: Value,
    /// The value of the other side that was lost; `None` where both went into the one that stands.
    pub lost: Option<Value>,
}

impl<T: Syncable> Merged<T> {
    fn of(rebased: &Rebased) -> Option<Self> {
        let id = T::Id::from_id(&rebased.id).filter(|_| rebased.schema.name == T::SCHEMA.name)?;
        let fields = rebased.decided.iter().filter_map(|decided| {
            Some(MergedField {
                field: T::Field::from_index(decided.place?)?,
                policy: decided.policy,
                kept: decided.kept.clone()?,
                lost: decided.lost.clone(),
            })
        });
        let on_delete = rebased.decided.iter().find(|decided| decided.place.is_none());
        // One of an older schema may not read any more.
        let lost = rebased.lost.as_ref().and_then(|state| T::from_record(state.record.clone()?).ok());
        Some(Merged {
            id,
            fields: fields.collect(),
            on_delete: on_delete.map(|decided| decided.policy),
            lost,
        })
    }
}

/// A record that one side refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// The model.
    pub model: &'static str,
    /// The record's id.
    pub id: Id,
    /// Whether this replica refused what the peer holds, rather than the peer what is here.
    pub by_us: bool,
    /// The code of an [`crate::ErrorKind`].
    pub code: String,
    /// A sentence for people.
    pub reason: String,
}

impl Rejected {
    pub(crate) fn of(parked: &Parked) -> Option<Rejected> {
        let (rejection, by_us) = match &parked.matter {
            Matter::Rejected { rejection, .. } => (rejection, false),
            Matter::Refused { rejection, .. } => (rejection, true),
            Matter::Conflict { .. } => return None,
        };
        let (code, reason) = (rejection.code.clone(), rejection.reason.clone());
        Some(Rejected { model: parked.schema.name, id: parked.id.clone(), by_us, code, reason })
    }
}

/// What came of a one-way replication.
#[derive(Debug)]
pub struct ReplicationReport {
    /// How many records were applied at the target.
    pub applied: usize,
    /// Where to go on from next time: pass them as `since`.
    pub checkpoints: Checkpoints,
    /// Whether nothing was left to do.
    pub level: bool,
    /// Records that the target refused.
    pub rejected: Vec<Rejected>,
    pub(crate) conflicts: ReplicationConflicts,
}

/// The newest checkpoints of both sides, taken before anything was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoints {
    /// Of the source.
    pub source: Checkpoint,
    /// Of the target.
    pub target: Checkpoint,
}

#[derive(Debug)]
pub(crate) enum ReplicationConflicts {
    /// Between a workspace and a peer: kept in the workspace's store.
    Kept(SyncReport),
    /// Between two remote replicas: the source's and the target's state.
    Loose(Vec<(State, State)>),
}

impl ReplicationReport {
    /// The conflicts of a model, with the source of the replication as source. Empty where neither side is a
    /// workspace of this process: nobody could keep and resolve them; see [`ReplicationReport::differences`].
    pub fn conflicts<T: Syncable>(&self) -> Vec<Conflict<T>> {
        match &self.conflicts {
            ReplicationConflicts::Kept(report) => report.conflicts(),
            ReplicationConflicts::Loose(_) => Vec::new(),
        }
    }

    /// How many conflicts of all models there are.
    pub fn conflict_count(&self) -> usize {
        match &self.conflicts {
            ReplicationConflicts::Kept(report) => report.conflict_count(),
            ReplicationConflicts::Loose(pairs) => pairs.len(),
        }
    }

    /// The states in conflict of two replicas that are both remote, source first.
    pub fn differences(&self) -> &[(State, State)] {
        match &self.conflicts {
            ReplicationConflicts::Kept(_) => &[],
            ReplicationConflicts::Loose(pairs) => pairs,
        }
    }
}
