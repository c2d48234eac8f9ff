//! What is committed, as it is committed, by whoever it is: told to those who listen.

use super::Engine;
use super::grants::Grants;
use super::left;
use super::scopes;
use super::view::{View, Wish};
use crate::caller::{Caller, Right};
use crate::change::State;
use crate::record::Id;
use crate::replica::{Replica, Watching};
use crate::schema::ModelSchema;
use crate::store::{Access, Feed};
use crate::version::{Checkpoint, Position, ReplicaId};
use crate::{Error, ErrorKind, Result};
use futures_util::future::{pending, select};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long another process's commit may go unnoticed where nobody tells of it.
const LOOK: Duration = Duration::from_millis(250);
/// The same where the store is told of commits: what writes past the library tells nobody, and word may be lost.
const LOOK_IF_TOLD: Duration = Duration::from_secs(1);
/// How many changes are told at a time.
pub(crate) const BATCH: usize = 500;

/// The changes of a replica as they are committed.
///
/// It reads the feed, so it needs no memory of its own and misses nothing that is still the newest change of a record;
/// several changes of one record may come as one.
pub(crate) struct Follow {
    pub(crate) engine: Engine,
    /// Only this model, with what leaves of it.
    schema: Option<&'static ModelSchema>,
    pub(crate) after: Option<Point>,
    seen: Option<u64>,
}

/// Up to where a replica was followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    position: Position,
    /// How many records had left.
    left: u64,
}

/// What came of following.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Records of the one model that left without a trace. One that is back by now is among the changes.
    pub(crate) left: Vec<Id>,
    pub(crate) states: Vec<State>,
}

impl Follow {
    pub(crate) fn new(engine: Engine, schema: Option<&'static ModelSchema>) -> Self {
        Follow { engine, schema, after: None, seen: None }
    }

    /// Starts here: what is committed from now on comes.
    pub(crate) async fn start(&mut self) -> Result<()> {
        if self.after.is_none() {
            let now = self.engine.run(Access::READ.feed(), |tx| {
                Box::pin(
                    async move { Ok(Point { position: tx.newest().await?, left: left::count(tx).await? }) },
                )
            });
            self.after = Some(now.await?);
        }
        Ok(())
    }

    /// Waits until there is something. The first call starts, where that was not done.
    pub(crate) async fn next(&mut self) -> Result<News> {
        self.start().await?;
        loop {
            let committed = self.engine.next_commit();
            self.engine.still_open()?;
            let version = self.engine.store().version().await?;
            if self.seen != Some(version) {
                let (news, is_all) = self.read().await?;
                self.seen = is_all.then_some(version);
                if !news.states.is_empty() || !news.left.is_empty() {
                    return Ok(news);
                }
                if self.seen.is_none() {
                    continue;
                }
            }
            committed.await;
        }
    }

    /// What there is, and whether that is all.
    async fn read(&mut self) -> Result<(News, bool)> {
        let (schema, from) = (self.schema, self.after.unwrap_or(Point { position: 0, left: 0 }));
        let read = self.engine.run(Access::READ.feed(), move |tx| {
            Box::pin(async move {
                let (left, gone) = match schema {
                    Some(schema) => left::after(tx, schema, from.left, BATCH).await?,
                    None => (Vec::new(), from.left),
                };
                // A database that was restored under this process goes on from an earlier position.
                let after = from.position.min(tx.newest().await?);
                let states = tx.feed(&Feed { schema, limit: BATCH, ..Feed::after(after) }).await?;
                let position = states.last().map_or(after, |state| state.change.position);
                Ok((News { left, states }, Point { position, left: gone }))
            })
        });
        let (news, point) = read.await?;
        // A full batch may have more behind it.
        let is_all = news.states.len() < BATCH && point.left.saturating_sub(from.left) < BATCH as u64;
        self.after = Some(point);
        Ok((news, is_all))
    }
}

/// The moves of a replica, one after the other; see [`Engine::moves`].
pub struct Moves {
    follow: Follow,
    /// What was read and not told yet.
    read: Vec<State>,
}

impl std::fmt::Debug for Moves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moves").field("after", &self.follow.after).finish_non_exhaustive()
    }
}

impl Moves {
    /// Starts here: what is committed from now on comes. [`Moves::next`] does it too.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn start(&mut self) -> Result<()> {
        self.follow.start().await
    }

    /// Waits for the next one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What the store fails with; [`ErrorKind::Closed`] when the replica is closed.
    pub async fn next(&mut self) -> Result<Moved> {
        if self.read.is_empty() {
            self.read = self.follow.next().await?.states;
        }
        let states = &self.read;
        let Some(last) = states.last() else {
            return Err(Error::new(ErrorKind::Usage, "a move without a change"));
        };
        let engine = &self.follow.engine;
        let (seal, replica) = (engine.seal().await?, engine.id().await?);
        let checkpoint = seal.checkpoint(replica, last.change.position);
        let scopes = match scopes::are_known(engine.models()) {
            true => {
                engine.project_scopes().await?;
                let names: Vec<State> = states.iter().map(without_record).collect();
                engine.read(move |tx| Box::pin(async move { scopes::touched(tx, &names).await })).await?
            }
            false => vec![vec![None]; states.len()],
        };
        let mut brought_by = BTreeMap::new();
        for (state, scopes) in states.iter().zip(scopes) {
            let (schema, origin) = (state.change.schema, state.change.origin);
            for scope in scopes {
                let brought =
                    brought_by.entry((schema.name, scope)).or_insert(Brought { schema, by: origin });
                if brought.by != origin {
                    brought.by = None;
                }
            }
        }
        self.read.clear();
        Ok(Moved { checkpoint, brought_by })
    }
}

/// What was committed of a model in a scope.
#[derive(Debug, Clone, Copy)]
struct Brought {
    schema: &'static ModelSchema,
    /// The peer that brought all of it, if one did.
    by: Option<ReplicaId>,
}

/// That something was committed.
#[derive(Debug, Clone)]
pub struct Moved {
    checkpoint: Checkpoint,
    /// By model and scope.
    brought_by: BTreeMap<(&'static str, Option<String>), Brought>,
}

impl Moved {
    /// It ends here.
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// Whether there is something in it for this caller that the peer `from` has not brought itself.
    pub fn concerns(&self, caller: &Caller, from: Option<ReplicaId>) -> bool {
        self.brought_by.iter().any(|((_, scope), Brought { schema, by })| {
            let right = caller.right_in(schema, scope.as_deref().unwrap_or_default());
            right >= Right::Read && (by.is_none() || *by != from)
        })
    }
}

/// What names a state, without its content.
fn without_record(state: &State) -> State {
    State { change: state.change.clone(), record: None }
}

impl Engine {
    /// Ends at the next commit, or when it is time to look for one that nobody told of. It counts from this call on: who
    /// calls it, then looks and then waits misses nothing.
    pub(crate) fn next_commit(&self) -> impl Future<Output = ()> + use<> {
        let (_, committed) = self.commits();
        let told = self.store().next_commit();
        let look = if told.is_some() { LOOK_IF_TOLD } else { LOOK };
        let told = told.unwrap_or_else(|| Box::pin(pending()));
        let env = self.env().clone();
        async move {
            select(committed, select(told, env.sleep(look))).await;
        }
    }

    /// A checkpoint behind what was committed for this caller since the one that it has; `None` if nothing was.
    ///
    /// # Errors
    /// What the store fails with; [`ErrorKind::Forbidden`] if the caller may not read.
    pub async fn moved_since(&self, caller: &Caller, watch: Watching) -> Result<Option<Checkpoint>> {
        let newest = self.checkpoint(caller).await?;
        let Some(mut since) = watch.since.filter(|since| since.replica == newest.replica) else {
            return Ok(Some(newest));
        };
        if scopes::are_known(self.models()) {
            self.project_scopes().await?;
        }
        while since.position < newest.position {
            let (after, caller) = (since.position, caller.clone());
            let models = self.models().clone();
            let looked = self.run(Access::READ.feed(), move |tx| {
                Box::pin(async move {
                    let feed = Feed { not_from: watch.from, limit: BATCH, ..Feed::after(after) };
                    let Some(view) = View::of(tx, &models, &caller, Wish::default()).await? else {
                        let states = tx.feed(&feed).await?;
                        let is_for = |state: &State| caller.right_on(state.change.schema.name) >= Right::Read;
                        return Ok((
                            states.iter().any(is_for),
                            states.last().map(|state| state.change.position),
                        ));
                    };
                    let states = view.feed(tx, &models, &feed).await?;
                    let is_for = |state: &State| caller.right_on(state.change.schema.name) >= Right::Read;
                    let left = view.exits(tx, &models, after, view.through, &Grants::default()).await?;
                    let has_left = left.withheld || !left.exits.is_empty();
                    Ok((
                        has_left || states.iter().any(is_for),
                        states.last().map(|state| state.change.position),
                    ))
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
        Moves { follow: Follow::new(self.clone(), None), read: Vec::new() }
    }
}
