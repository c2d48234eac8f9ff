//! Observing the records of a model.

use crate::Result;
use crate::engine::Engine;
use crate::record::Id;
use crate::store::{Access, Feed};
use crate::syncable::{ModelId, Syncable};
use crate::version::Position;
use futures_util::future::select;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// How long another program's write may go unnoticed.
const LOOK: Duration = Duration::from_millis(250);
/// How many changes are told at a time.
const BATCH: usize = 500;

/// Tells which records of a model changed, whoever changed them.
///
/// It reads the feed, so it needs no memory of its own and misses nothing that is still the newest change of a
/// record; several changes of one record may be told as one.
pub struct Watch<T> {
    engine: Engine,
    after: Option<Position>,
    seen: Option<u64>,
    model: PhantomData<fn() -> T>,
}

impl<T: Syncable> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("model", &T::SCHEMA.name).field("after", &self.after).finish()
    }
}

/// What happened to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<I> {
    /// The record's id.
    pub id: I,
    /// Whether the record is gone.
    pub deleted: bool,
    /// Whether a sync brought the change, exactly as it stands.
    pub from_peer: bool,
}

impl<T: Syncable> Watch<T> {
    pub(crate) fn new(engine: Engine) -> Self {
        Watch { engine, after: None, seen: None, model: PhantomData }
    }

    /// Waits until records change, and tells which. The first call starts with what is committed after it.
    ///
    /// # Errors
    /// What the store fails with; [`crate::ErrorKind::Closed`] when the workspace is closed.
    pub async fn next(&mut self) -> Result<Vec<Event<T::Id>>> {
        self.start().await?;
        loop {
            let (_, committed) = self.engine.commits();
            self.engine.still_open()?;
            let version = self.engine.store().version().await?;
            if self.seen != Some(version) {
                let after = self.after.unwrap_or(0);
                let (events, through) = self.read(after).await?;
                self.after = Some(through);
                // A full batch may have more behind it.
                self.seen = (events.len() < BATCH).then_some(version);
                if !events.is_empty() {
                    return Ok(events);
                }
                if self.seen.is_none() {
                    continue;
                }
            }
            select(committed, self.engine.env().sleep(LOOK)).await;
        }
    }

    /// Starts here: what is committed from now on is told. [`Watch::next`] does it too.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn start(&mut self) -> Result<()> {
        if self.after.is_none() {
            self.after = Some(self.engine.run(Access::READ.feed(), |tx| tx.newest()).await?);
        }
        Ok(())
    }

    async fn read(&self, after: Position) -> Result<(Vec<Event<T::Id>>, Position)> {
        let feed = Feed { schema: Some(T::SCHEMA), limit: BATCH, ..Feed::after(after) };
        let states = self
            .engine
            .run(Access::READ.feed(), move |tx| Box::pin(async move { tx.feed(&feed).await }))
            .await?;
        let through = states.last().map_or(after, |state| state.change.position);
        let events = states.into_iter().filter_map(|state| {
            let change = state.change;
            let id: &Id = &change.id;
            Some(Event {
                id: T::Id::from_id(id)?,
                deleted: change.is_delete(),
                from_peer: change.origin.is_some(),
            })
        });
        Ok((events.collect(), through))
    }
}
