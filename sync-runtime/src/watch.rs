//! Observing the records of a model.

use crate::Result;
use crate::change::Change;
use crate::engine::Engine;
use crate::engine::moves::{Follow, News};
use crate::syncable::{ModelId, Syncable};
use std::fmt;
use std::marker::PhantomData;

/// Tells which records of a model changed, whoever changed them.
///
/// It reads the feed, so it needs no memory of its own and misses nothing that is still the newest change of a
/// record; several changes of one record may be told as one. What left without a trace is told for a week. After
/// [`crate::Workspace::sign_in`] the records are another person's: nothing is told of those of the one before.
pub struct Watch<T> {
    changes: Follow,
    model: PhantomData<fn() -> T>,
}

impl<T: Syncable> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("model", &T::SCHEMA.name).field("after", &self.changes.after).finish()
    }
}

/// What happened to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<I> {
    /// The record's id.
    pub id: I,
    /// Whether the record is gone from this store: it was deleted, or left, as a scope, a subscription, or a filter does not
    /// cover it any more.
    pub deleted: bool,
    /// Whether a sync brought the change, exactly as it stands, or the record left.
    pub from_peer: bool,
}

impl<T: Syncable> Watch<T> {
    pub(crate) fn new(engine: Engine) -> Self {
        Watch { changes: Follow::new(engine, Some(T::SCHEMA)), model: PhantomData }
    }

    /// Waits until records change, and tells which. The first call starts with what is committed after it.
    ///
    /// # Errors
    /// What the store fails with; [`crate::ErrorKind::Closed`] when the workspace is closed.
    pub async fn next(&mut self) -> Result<Vec<Event<T::Id>>> {
        loop {
            let News { left, states } = self.changes.next().await?;
            let left = left.iter().filter_map(T::Id::from_id);
            let left = left.map(|id| Event { id, deleted: true, from_peer: true });
            let changed = states.iter().filter_map(|state| event(&state.change));
            let events: Vec<_> = left.chain(changed).collect();
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Starts here: what is committed from now on is told. [`Watch::next`] does it too.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn start(&mut self) -> Result<()> {
        self.changes.start().await
    }
}

fn event<I: ModelId>(change: &Change) -> Option<Event<I>> {
    Some(Event {
        id: I::from_id(&change.id)?,
        deleted: change.is_delete(),
        from_peer: change.origin.is_some(),
    })
}
