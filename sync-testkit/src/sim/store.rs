//! The store of a replica: tells the oracle what every transaction did, lets others go first, and dies where it is
//! told to.

use super::oracle::{Found, Known, Step};
use super::world::{CrashPoint, World, yield_now};
use std::future::pending;
use std::sync::Arc;
use sync_runtime::change::{Change, State};
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{ForeignKey, ModelSchema, Models};
use sync_runtime::store::{
    Access, Base, Expect, Feed, Put, Room, Saved, Store, Transaction, Unreadable, Work, Write, transact,
};
use sync_runtime::version::{Checkpoint, Position, ReplicaId, Stamp};
use sync_runtime::{Error, ErrorKind, Result};

/// A store under observation, for one life of its process.
#[derive(Debug, Clone)]
pub(crate) struct SimStore {
    pub(crate) world: World,
    pub(crate) replica: usize,
    pub(crate) life: u64,
    pub(crate) store: Arc<dyn Store>,
}

#[sync_runtime::async_trait]
impl Store for SimStore {
    async fn prepare(&self, models: &Models, fresh: ReplicaId) -> Result<()> {
        self.store.prepare(models, fresh).await
    }

    async fn run(&self, access: Access, work: Work) -> Result<()> {
        self.world.maybe_yield().await;
        if !access.write {
            self.store.run(access, work).await?;
            self.world.maybe_yield().await;
            return Ok(());
        }
        let this = self.clone();
        let observed = work.within(move |tx, work| {
            Box::pin(async move {
                let mut tx = SimTransaction { tx, at: this, steps: Vec::new(), renaming: false };
                work.run(&mut tx).await?;
                tx.point(CrashPoint::Inside).await?;
                let SimTransaction { at, steps, .. } = tx;
                // Nothing comes between this and the commit.
                if !steps.is_empty() {
                    let mut inner = at.world.lock();
                    for step in &steps {
                        inner.log(|| format!("{} commits {step:?}", at.replica));
                    }
                    let verdict = inner.oracle.commit(at.replica, steps);
                    inner.check(verdict);
                }
                Ok(())
            })
        });
        self.store.run(access, observed).await?;
        if self.world.lock().crashes_at(self.replica, CrashPoint::Committed) {
            pending::<()>().await;
        }
        self.world.maybe_yield().await;
        Ok(())
    }

    async fn plan(&self, models: &Models) -> Result<Vec<String>> {
        self.store.plan(models).await
    }

    fn runs_inline(&self) -> bool {
        self.store.runs_inline()
    }

    async fn foreign_keys(&self, models: &Models) -> Result<Vec<ForeignKey>> {
        self.store.foreign_keys(models).await
    }

    async fn untold(&self) -> Result<Vec<(String, String)>> {
        self.store.untold().await
    }

    async fn told(&self, schema: &'static ModelSchema) -> Result<()> {
        self.store.told(schema).await
    }

    async fn version(&self) -> Result<u64> {
        self.store.version().await
    }
}

struct SimTransaction<'t> {
    tx: &'t mut dyn Transaction,
    at: SimStore,
    steps: Vec<Step>,
    renaming: bool,
}

impl SimTransaction<'_> {
    /// A point inside the transaction: others may go first, and the process may die here.
    async fn point(&mut self, point: CrashPoint) -> Result<()> {
        let (crashes, yields) = {
            let mut inner = self.at.world.lock();
            let crashes = inner.crashes_at(self.at.replica, point);
            let often = inner.yields / 8;
            (crashes, inner.random.chance(often))
        };
        if crashes || yields {
            // With `crashes` nobody polls this again but the store, which finds the process dead.
            yield_now().await;
        }
        if self.at.world.lock().is_dead(self.at.replica, self.at.life) {
            return Err(Error::new(ErrorKind::Storage, "the process died inside the transaction"));
        }
        Ok(())
    }

    async fn observe_put(&mut self, change: &Change, record: Option<Record>) -> Result<()> {
        let ids = [change.id.clone()];
        let stored = self.tx.changes(change.schema, &ids).await?.pop().flatten();
        if let Some(stored) = stored {
            let record = record.map(|record| record.without_local(change.schema));
            self.steps.push(Step::Put { change: stored, record, renaming: self.renaming });
        }
        Ok(())
    }
}

#[sync_runtime::async_trait]
impl Transaction for SimTransaction<'_> {
    async fn replica(&mut self) -> Result<ReplicaId> {
        self.tx.replica().await
    }

    async fn history(&mut self) -> Result<Option<String>> {
        self.tx.history().await
    }

    async fn rename(&mut self, fresh: ReplicaId) -> Result<()> {
        self.tx.rename(fresh).await?;
        self.renaming = true;
        self.steps.push(Step::Renamed(fresh));
        Ok(())
    }

    async fn newest(&mut self) -> Result<Position> {
        self.tx.newest().await
    }

    async fn read(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Record>>> {
        self.tx.read(schema, ids).await
    }

    async fn select(&mut self, schema: &'static ModelSchema, selection: &Selection) -> Result<Vec<Record>> {
        self.tx.select(schema, selection).await
    }

    async fn count(&mut self, schema: &'static ModelSchema, filter: &Filter) -> Result<u64> {
        self.tx.count(schema, filter).await
    }

    async fn changes(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Change>>> {
        self.tx.changes(schema, ids).await
    }

    async fn feed(&mut self, feed: &Feed) -> Result<Vec<State>> {
        self.tx.feed(feed).await
    }

    async fn save(&mut self, writes: Vec<Write>, now: Stamp) -> Result<Vec<Saved>> {
        let mut outcomes = Vec::with_capacity(writes.len());
        // One at a time, so that each change is seen even where one record is written twice.
        for write in writes {
            let Write { schema, ref id, expect, .. } = write;
            let ids = [id.clone()];
            let saved = self.tx.save(vec![write], now).await?;
            if saved == [Saved::Tracked]
                && let Some(state) = self.tx.states(schema, &ids).await?.pop().flatten()
            {
                if let Expect::At(revision) = expect
                    && state.change.previous != Some(revision)
                {
                    let name = state.change.name();
                    let mut inner = self.at.world.lock();
                    inner.fail(format!("{name} was written over another revision than {revision}"));
                }
                self.steps.push(Step::Saved(state.change, state.record));
            }
            outcomes.extend(saved);
            self.point(CrashPoint::Inside).await?;
        }
        Ok(outcomes)
    }

    async fn put(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>> {
        let given: Vec<_> = states.iter().map(|state| (state.change.clone(), state.record.clone())).collect();
        let outcomes = self.tx.put(states, now).await?;
        for ((change, record), outcome) in given.into_iter().zip(&outcomes) {
            match outcome {
                Put::Stored => self.observe_put(&change, record).await?,
                Put::Differs(stored) => self.observe_put(&change, Some(stored.clone())).await?,
                Put::Refused(_) => {}
            }
        }
        self.point(CrashPoint::Inside).await?;
        Ok(outcomes)
    }

    async fn keep_bases_through(&mut self, position: Option<Position>) -> Result<()> {
        self.tx.keep_bases_through(position).await
    }

    async fn bases(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Vec<Base>>> {
        self.tx.bases(schema, ids).await
    }

    async fn bases_between(&mut self, after: Position, through: Position) -> Result<Vec<Base>> {
        self.tx.bases_between(after, through).await
    }

    async fn add_bases(&mut self, bases: Vec<Base>) -> Result<()> {
        self.tx.add_bases(bases).await
    }

    async fn drop_bases(&mut self, until: Position) -> Result<()> {
        self.tx.drop_bases(until).await
    }

    async fn untracked(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>> {
        self.tx.untracked(schema, only, after, limit).await
    }

    async fn unreadable(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        limit: usize,
    ) -> Result<Vec<Unreadable>> {
        self.tx.unreadable(schema, only, limit).await
    }

    async fn retrack(&mut self, schema: &'static ModelSchema, ids: &[Id], now: Stamp) -> Result<Vec<bool>> {
        self.tx.retrack(schema, ids, now).await
    }

    async fn notes(&mut self, room: Room, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.tx.notes(room, prefix).await
    }

    async fn notes_after(
        &mut self,
        room: Room,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        self.tx.notes_after(room, prefix, after, limit).await
    }

    async fn notes_of(&mut self, room: Room, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.tx.notes_of(room, keys).await
    }

    async fn note_all(&mut self, room: Room, rows: Vec<(String, Option<Vec<u8>>)>) -> Result<()> {
        self.tx.note_all(room, rows).await?;
        self.point(CrashPoint::Inside).await
    }

    async fn erase(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<()> {
        self.tx.erase(schema, ids).await?;
        self.point(CrashPoint::Inside).await
    }

    async fn states(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<State>>> {
        self.tx.states(schema, ids).await
    }

    async fn states_within(
        &mut self,
        schema: &'static ModelSchema,
        ids: &[Id],
        bytes: usize,
    ) -> Result<Option<Vec<Option<State>>>> {
        self.tx.states_within(schema, ids, bytes).await
    }
}

/// Reads what a store holds, past its observation.
pub(crate) async fn look(store: &dyn Store, models: &Models) -> Result<Found> {
    let models = models.clone();
    transact(store, Access::READ, move |tx| {
        Box::pin(async move {
            let mut found = Found::default();
            for model in models.iter() {
                let ids = tx.untracked(model.schema, None, None, usize::MAX).await?;
                found.untracked.extend(ids.iter().map(|id| format!("{} {id}", model.schema.name)));
            }
            found.states = tx.feed(&Feed { data: true, ..Feed::after(0) }).await?;
            for (key, bytes) in tx.notes(Room::Peer, "to/").await? {
                found.peers.extend(peer_state(&key, &bytes));
            }
            found.parked = tx.notes(Room::Parked, "").await?.into_iter().map(|(key, _)| key).collect();
            Ok(found)
        })
    })
    .await
}

/// What the engine remembers of a peer: its id, how far it acknowledged, what was pulled.
fn peer_state(key: &str, bytes: &[u8]) -> Option<Known> {
    let peer = key.strip_prefix("to/")?.parse().ok()?;
    let row: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let pulled = row.get("pulled").and_then(|pulled| pulled.as_str()?.parse::<Checkpoint>().ok());
    let pushed = row.get("pushed")?.as_i64()?;
    Some((peer, pushed, pulled.map(|pulled| (pulled.replica, pulled.position))))
}
