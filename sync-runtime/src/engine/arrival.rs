//! Where updates come from, and what holds for them here.

use super::admission::Pusher;
use crate::change::{Change, State};
use crate::incoming::Ruled;
use crate::replica::Limits;
use crate::schema::{ModelSchema, Models};
use crate::version::{ReplicaId, Stamp};

/// Where updates come from, and what holds for them here.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) models: Models,
    /// Who brought them; `None` if that is not known.
    pub(crate) from: Option<ReplicaId>,
    pub(crate) now: Stamp,
    /// What a record that comes has to keep to.
    pub(crate) limits: Limits,
    /// Whether conflicts are merged.
    pub(crate) merging: Merging,
    /// Who pushes, and what the app has to say of it; `None` where nobody pushes.
    pub(crate) pushed_by: Option<Pusher>,
    /// The newest stamp of the tombstones that were purged; 0 where none was, or nobody pushes.
    pub(crate) purged: Stamp,
    /// Whether the one who pushes may not have seen all of them.
    pub(crate) unseen: bool,
}

impl Arrival {
    /// How many bytes the records may have that one transaction takes or finds here; `None` where it is the owner who brings
    /// them, or nobody pushes.
    pub(super) fn room(&self) -> Option<usize> {
        let pusher = self.pushed_by.as_ref()?;
        pusher.caller.subject().map(|_| self.limits.transaction_bytes)
    }

    /// The latest stamp that is taken.
    pub(super) fn latest(&self) -> Stamp {
        self.now.saturating_add(self.limits.clock_skew)
    }

    /// Whether the app has a say in updates of this model.
    pub(super) fn rules_on(&self, schema: &ModelSchema) -> bool {
        self.pushed_by.as_ref().is_some_and(|pusher| pusher.hooks.has(schema))
    }

    /// P7: whether a change of a record that is not here may be of one that was deleted so long ago that nobody here
    /// remembers it.
    pub(super) fn may_be_gone(&self, change: &Change) -> bool {
        let revision = change.revision();
        // What a replica makes of which nothing was ever purged here cannot have been deleted here.
        let is_first = self
            .pushed_by
            .as_ref()
            .is_some_and(|pusher| pusher.is_first && pusher.replica == Some(revision.replica));
        self.purged > 0 && revision.stamp <= self.purged && !change.is_delete() && !is_first
    }

    /// Whether a record of any model may be taken.
    pub(super) fn may_write_any(&self) -> bool {
        let may = |pusher: &Pusher| self.models.iter().any(|model| pusher.may_write(model.schema).is_ok());
        self.pushed_by.as_ref().is_none_or(may)
    }

    /// What the app says of a conflict with an update that is pushed here.
    pub(super) fn settle(&self, current: &State, incoming: &State) -> Ruled {
        match &self.pushed_by {
            Some(pusher) => pusher.ask(Some(current), incoming, true),
            None => Ruled::Pass,
        }
    }

    /// What becomes of an update that is pushed here and fits.
    pub(super) fn admit(&self, current: Option<&State>, incoming: &State) -> Ruled {
        match &self.pushed_by {
            Some(pusher) => pusher.admit(current, incoming),
            None => Ruled::Pass,
        }
    }
}

/// Whether conflicts are merged by the policies of their models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merging {
    /// Every conflict is somebody else's: this is the target of a push, or a replication that goes one way.
    Never,
    /// In a sync, by this side.
    By {
        /// Whether the peer is this replica's upstream.
        upstream: bool,
    },
}
