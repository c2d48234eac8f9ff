//! Repairing what is tracked, and starting to track what was there before.

use crate::change::{Change, Group, State};
use crate::engine::apply::{horizon, kept_as_base};
use crate::record::Id;
use crate::store::{Access, Base, Put, Transaction};
use crate::syncable::{ModelId, Syncable};
use crate::version::{Ancestry, Stamp};
use crate::workspace::Workspace;
use crate::{Error, ErrorKind, Result};

/// How many records are looked at in one transaction when tracking is repaired.
const RECTIFY_BATCH: usize = 500;
impl Workspace {
    /// Says that a record was changed past the tracking, with triggers off: it gets a new revision with what it
    /// holds now, or a tombstone if it is gone, and travels. Returns `false` if there is neither record nor change.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    #[doc(alias = "rectifyChange")]
    pub async fn rectify_change<T: Syncable>(&self, id: impl Into<T::Id>) -> Result<bool> {
        let schema = self.registered::<T>()?;
        let (id, now) = (id.into().to_id(), self.engine().write_clock().await?);
        self.engine()
            .run(Access::WRITE, move |tx| {
                Box::pin(async move {
                    let ids = [id];
                    if tx.retrack(schema, &ids, now).await?.contains(&true) {
                        return Ok(true);
                    }
                    match tx.states(schema, &ids).await?.pop().flatten() {
                        // What was written past the tracking leaves no trace: the caller says that there was something.
                        Some(state) if state.record.is_some() => {
                            stamp_anew(tx, state, None, now).await?;
                            Ok(true)
                        }
                        _ => Ok(false),
                    }
                })
            })
            .await
    }

    /// Repairs the tracking of every record of a model: where triggers were off, or a table was there before.
    /// Gives how many were repaired. Works in batches, so it can be interrupted and run again.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    #[doc(alias = "rectifyAllChanges")]
    pub async fn rectify_all_changes<T: Syncable>(&self) -> Result<u64> {
        let schema = self.registered::<T>()?;
        let mut repaired = 0;
        let mut after: Option<Id> = None;
        loop {
            let now = self.engine().write_clock().await?;
            let batch = self.engine().run(Access::WRITE.long(), move |tx| {
                Box::pin(async move {
                    let ids = tx.untracked(schema, None, after.as_ref(), RECTIFY_BATCH).await?;
                    let done = tx.retrack(schema, &ids, now).await?;
                    Ok((ids.last().cloned(), done.into_iter().filter(|done| *done).count()))
                })
            });
            let (last, done) = batch.await?;
            repaired += done as u64;
            if last.is_none() {
                return Ok(repaired);
            }
            after = last;
        }
    }

    /// Starts tracking a model for the rows that are there already. The same as [`Workspace::rectify_all_changes`];
    /// new writes are tracked from the moment a workspace was opened with the model.
    ///
    /// # Errors
    /// As [`Workspace::rectify_all_changes`].
    #[doc(alias = "enableChangeTracking")]
    pub async fn enable_change_tracking<T: Syncable>(&self) -> Result<u64> {
        self.rectify_all_changes::<T>().await
    }

    /// Declares that the last change of a record knew of another replica's change, which then is not in conflict
    /// with it. The core of resolving a conflict; LoopBack's `updateLastChange`. Says whether it changed anything.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the record was never tracked; what the store fails with.
    #[doc(alias = "updateLastChange")]
    pub async fn update_last_change<T: Syncable>(
        &self,
        id: impl Into<T::Id>,
        knew: &Ancestry,
    ) -> Result<bool> {
        let schema = self.registered::<T>()?;
        let (id, knew, now) = (id.into().to_id(), knew.clone(), self.engine().write_clock().await?);
        self.engine()
            .run(Access::WRITE, move |tx| {
                Box::pin(async move {
                    let ids = [id];
                    let Some(state) = tx.states(schema, &ids).await?.pop().flatten() else {
                        let message = format!("there is no change of {} {}", schema.name, ids[0]);
                        return Err(Error::new(ErrorKind::NotFound, message));
                    };
                    let change = state.change;
                    if change.ancestry.holds(knew.current) {
                        return Ok(false);
                    }
                    let state = State { change: change.unwritten(), record: state.record };
                    stamp_anew(tx, state, Some(&knew), now).await?;
                    Ok(true)
                })
            })
            .await
    }
}

/// Gives a state, as it stands, a new revision of this replica that knew of `knew` too.
pub(crate) async fn stamp_anew(
    tx: &mut dyn Transaction,
    state: State,
    knew: Option<&Ancestry>,
    now: Stamp,
) -> Result<()> {
    let me = tx.replica().await?;
    let (horizon, until) = (horizon(tx).await?, tx.newest().await? + 1);
    if kept_as_base(&state.change, horizon) {
        tx.add_bases(vec![Base { state: state.clone(), until }]).await?;
    }
    let change = state.change;
    let ancestry = match knew {
        Some(knew) => change.ancestry.above(knew, now, me),
        None => change.ancestry.next(now, me),
    };
    let previous = Some(change.revision());
    let change = Change { ancestry, previous, merged: None, origin: None, group: Some(Group::MIN), ..change };
    let name = change.name();
    match tx.put(&[State { change, record: state.record }], now).await?.pop() {
        Some(Put::Refused(reason)) => {
            Err(Error::new(ErrorKind::Constraint, format!("the database refuses {name}: {reason}")))
        }
        _ => Ok(()),
    }
}
