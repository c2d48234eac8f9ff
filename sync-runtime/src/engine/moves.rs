//! What is committed, as it is committed, by whoever it is: told to those who listen.

use super::Engine;
use crate::caller::{Caller, Right};
use crate::change::State;
use crate::replica::{Replica, Watching};
use crate::schema::ModelSchema;
use crate::store::{Access, Feed};
use crate::version::{Checkpoint, Position, ReplicaId};
use crate::{Error, ErrorKind, Result};
use futures_util::future::select;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long another process's commit may go unnoticed.
const LOOK: Duration = Duration::from_millis(250);
/// How many changes are told at a time.
pub(crate) const BATCH: usize = 500;

/// The changes of a replica as they are committed.
///
/// It reads the feed, so it needs no memory of its own and misses nothing that is still the newest change of a record;
/// several changes of one record may come as one.
pub(crate) struct Follow {
    pub(crate) engine: Engine,
    /// Only this model.
    schema: Option<&'static ModelSchema>,
    pub(crate) after: Option<Position>,
    seen: Option<u64>,
}

impl Follow {
    pub(crate) fn new(engine: Engine, schema: Option<&'static ModelSchema>) -> Self {
        Follow { engine, schema, after: None, seen: None }
    }

    /// Starts here: what is committed from now on comes.
    pub(crate) async fn start(&mut self) -> Result<()> {
        if self.after.is_none() {
            self.after = Some(self.engine.run(Access::READ.feed(), |tx| tx.newest()).await?);
        }
        Ok(())
    }

    /// Waits until there are changes. The first call starts, where that was not done.
    pub(crate) async fn next(&mut self) -> Result<Vec<State>> {
        self.start().await?;
        loop {
            let (_, committed) = self.engine.commits();
            self.engine.still_open()?;
            let version = self.engine.store().version().await?;
            if self.seen != Some(version) {
                let states = self.read().await?;
                // A full batch may have more behind it.
                self.seen = (states.len() < BATCH).then_some(version);
                if !states.is_empty() {
                    return Ok(states);
                }
                if self.seen.is_none() {
                    continue;
                }
            }
            select(committed, self.engine.env().sleep(LOOK)).await;
        }
    }

    async fn read(&mut self) -> Result<Vec<State>> {
        let after = self.after.unwrap_or(0);
        let feed = Feed { schema: self.schema, limit: BATCH, ..Feed::after(after) };
        let read = self.engine.run(Access::READ.feed(), move |tx| {
            Box::pin(async move {
                // A database that was restored under this process goes on from an earlier position.
                let after = after.min(tx.newest().await?);
                Ok((after, tx.feed(&Feed { after, ..feed }).await?))
            })
        });
        let (after, states) = read.await?;
        self.after = Some(states.last().map_or(after, |state| state.change.position));
        Ok(states)
    }
}

/// The moves of a replica, one after the other; see [`Engine::moves`].
pub struct Moves(Follow);

impl std::fmt::Debug for Moves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moves").field("after", &self.0.after).finish()
    }
}

impl Moves {
    /// Starts here: what is committed from now on comes. [`Moves::next`] does it too.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn start(&mut self) -> Result<()> {
        self.0.start().await
    }

    /// Waits for the next one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What the store fails with; [`ErrorKind::Closed`] when the replica is closed.
    pub async fn next(&mut self) -> Result<Moved> {
        let states = self.0.next().await?;
        let Some(last) = states.last() else {
            return Err(Error::new(ErrorKind::Usage, "a move without a change"));
        };
        let checkpoint = Checkpoint { replica: self.0.engine.id().await?, position: last.change.position };
        let mut brought_by = BTreeMap::new();
        for state in &states {
            let origin = state.change.origin;
            let by = brought_by.entry(state.change.schema.name).or_insert(origin);
            if *by != origin {
                *by = None;
            }
        }
        Ok(Moved { checkpoint, brought_by })
    }
}

/// That something was committed.
#[derive(Debug, Clone)]
pub struct Moved {
    checkpoint: Checkpoint,
    /// The models of what was committed; each with the peer that brought all of it, if one did.
    brought_by: BTreeMap<&'static str, Option<ReplicaId>>,
}

impl Moved {
    /// It ends here.
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// Whether there is something in it for this caller that the peer `from` has not brought itself.
    pub fn concerns(&self, caller: &Caller, from: Option<ReplicaId>) -> bool {
        let mut moved = self.brought_by.iter();
        moved.any(|(model, by)| caller.right_on(model) >= Right::Read && (by.is_none() || *by != from))
    }
}

impl Engine {
    /// A checkpoint behind what was committed for this caller since the one that it has; `None` if nothing was.
    ///
    /// # Errors
    /// What the store fails with; [`ErrorKind::Forbidden`] if the caller may not read.
    pub async fn moved_since(&self, caller: &Caller, watch: Watching) -> Result<Option<Checkpoint>> {
        let newest = self.checkpoint(caller).await?;
        let Some(mut since) = watch.since.filter(|since| since.replica == newest.replica) else {
            return Ok(Some(newest));
        };
        while since.position < newest.position {
            let (after, caller) = (since.position, caller.clone());
            let looked = self.run(Access::READ.feed(), move |tx| {
                Box::pin(async move {
                    let feed = Feed { not_from: watch.from, limit: BATCH, ..Feed::after(after) };
                    let states = tx.feed(&feed).await?;
                    let is_for = |state: &State| caller.right_on(state.change.schema.name) >= Right::Read;
                    Ok((states.iter().any(is_for), states.last().map(|state| state.change.position)))
                })
            });
            match looked.await? {
                (true, _) => return Ok(Some(newest)),
                (false, Some(position)) => since.position = position,
                (false, None) => break,
            }
        }
        Ok(None)
    }

    /// What is committed from the first call of [`Moves::next`] on, by this process or another one.
    pub fn moves(&self) -> Moves {
        Moves(Follow::new(self.clone(), None))
    }
}
