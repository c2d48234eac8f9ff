//! How two versions of a record become one: three-way, field by field, by what the struct says of each field.
//!
//! Plain functions on values: no I/O, no clock. One side changed a field: that side. Both to the same value: that
//! value, except for a `sum`, where both changes count. Both differently: the field's policy. A policy gets the two
//! sides in the order of their revisions, so whoever merges the same two versions comes to the same result.

mod fields;
mod nested;
mod sequence;
mod states;

pub use fields::{
    ListField, OrderedField, SumField, TextField, UnionField, list, merged_by, sum, text, union,
};
pub use nested::{NestedField, SyncFields, fields};
#[doc(hidden)]
pub use nested::{NestedOrdered, NestedSum, nested_fields};
pub(crate) use states::{Base, Combined, Decided, Versions, combine};

use crate::change::State;
use crate::engine::rebase;
use crate::value::Value;
use crate::version::{ReplicaId, Stamp};
use std::fmt;

/// Merges the values of one field that both sides changed: base, the older side, the newer one.
///
/// The error is the reason why it cannot; then the field is a conflict.
pub type MergeFn = fn(&Value, &Value, &Value) -> Result<Value, String>;

/// What decides over a field that both sides changed, each to another value.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Merge {
    /// Whoever resolves the conflict.
    Manual,
    /// The side that changed this field later.
    LastWrite,
    /// The side of the upstream replica, where one side is declared upstream.
    ServerWins,
    /// The side that is not the upstream replica, where one side is declared upstream.
    ClientWins,
    /// The smaller value; null is below all.
    Min,
    /// The larger value; null is below all.
    Max,
    /// What both sides added, also where they added the same; under the name that the attribute has, as a struct inside
    /// a field may have sums in it.
    Sum(&'static str, MergeFn),
    /// A function that merges the two with their base, under the name that the attribute has.
    Function(&'static str, MergeFn),
}

impl Merge {
    /// The policy as the attribute writes it.
    pub fn name(self) -> &'static str {
        match self {
            Merge::Manual => "manual",
            Merge::LastWrite => "last_write",
            Merge::ServerWins => "server_wins",
            Merge::ClientWins => "client_wins",
            Merge::Min => "min",
            Merge::Max => "max",
            Merge::Sum(name, _) | Merge::Function(name, _) => name,
        }
    }
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What decides where one side deleted the record that the other changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDelete {
    /// Whoever resolves the conflict.
    #[default]
    Manual,
    /// The record stays, as it was edited.
    KeepEdit,
    /// The record goes.
    KeepDelete,
    /// The side that wrote later.
    LastWrite,
}

impl OnDelete {
    /// The policy as the attribute writes it.
    pub fn name(self) -> &'static str {
        match self {
            OnDelete::Manual => "manual",
            OnDelete::KeepEdit => "keep_edit",
            OnDelete::KeepDelete => "keep_delete",
            OnDelete::LastWrite => "last_write",
        }
    }
}

/// One of the two sides of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// In a sync, this replica.
    Source,
    /// In a sync, the peer.
    Target,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Side {
        match self {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        }
    }
}

/// Merges two versions of one record, neither of which knew of the other, as a sync does: the state that stands, with an
/// ancestry that holds both. Where that is one of the two, it keeps its revision; else it is one of `me`, at `now`.
///
/// A base that is not exactly what both come from counts as none. See `sync_testkit::check_merge`, which proves with it
/// that the policies of a model keep the laws of merging.
///
/// # Errors
/// The places of the fields in dispute; none where the record as a whole is: a delete against an edit.
pub fn merge_states(
    base: Option<&State>,
    source: &State,
    target: &State,
    upstream: Option<Side>,
    (me, now): (ReplicaId, Stamp),
) -> Result<State, Vec<usize>> {
    let combined = combine(rebase::versions(source, target, base, upstream));
    match combined.is_settled() {
        true => Ok(rebase::standing(source, target, &combined, me, now)),
        false => Err(combined.disputed.iter().map(|dispute| dispute.place).collect()),
    }
}
