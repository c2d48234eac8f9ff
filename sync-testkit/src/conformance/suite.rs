//! What a case works with: a store of its own, and the calls of the contract with little to write.

use super::StoreFactory;
use super::models::{models, task, text_id};
use std::sync::Arc;
use sync_runtime::change::{Change, ChangeKind, Stamps, State};
use sync_runtime::env::BoxFuture;
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::{Id, Record, Unknown};
use sync_runtime::schema::{ModelSchema, Models};
use sync_runtime::store::{
    Access, Base, Expect, Feed, Put, Room, Saved, Store, Transaction, Write, transact, transact_once,
};
use sync_runtime::version::{Ancestry, Position, ReplicaId, Revision, Stamp};
use sync_runtime::{Error, ErrorKind, Result};
use uuid::Uuid;

/// The time at which every case starts.
pub(crate) const NOW: Stamp = 1_700_000_000_000_000;

/// The replica id that a case's store starts with.
pub(crate) const ME: ReplicaId = ReplicaId(Uuid::from_u128(0xE));
/// A peer.
pub(crate) const PEER: ReplicaId = ReplicaId(Uuid::from_u128(0xA));
/// Another peer.
pub(crate) const OTHER: ReplicaId = ReplicaId(Uuid::from_u128(0xB));

/// One case's store.
pub struct Suite {
    /// Who makes and reopens it.
    pub(crate) factory: Box<dyn StoreFactory>,
    /// The store, prepared.
    pub(crate) store: Arc<dyn Store>,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Suite").field(&self.store).finish()
    }
}

/// A change without its schema, so that two can be compared and shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plain {
    pub(crate) model: &'static str,
    pub(crate) id: Id,
    pub(crate) kind: ChangeKind,
    pub(crate) ancestry: Ancestry,
    pub(crate) merged: Option<(Revision, Revision)>,
    pub(crate) previous: Option<Revision>,
    pub(crate) position: Position,
    pub(crate) group: Option<Position>,
    pub(crate) origin: Option<ReplicaId>,
    pub(crate) unknown: Unknown,
    pub(crate) stamps: Stamps,
}

/// The change without its schema; no unknown fields and none at all are the same.
pub(crate) fn plain(change: &Change) -> Plain {
    Plain {
        model: change.schema.name,
        id: change.id.clone(),
        kind: change.kind,
        ancestry: change.ancestry.clone(),
        merged: change.merged,
        previous: change.previous,
        position: change.position,
        group: change.group,
        origin: change.origin,
        unknown: change.unknown.as_deref().cloned().unwrap_or_default(),
        stamps: change.stamps.as_deref().cloned().unwrap_or_default(),
    }
}

/// A revision at so many microseconds after [`NOW`].
pub(crate) fn at(after: i64, replica: ReplicaId) -> Revision {
    Revision { stamp: NOW + after, replica }
}

/// A write of this record, whatever is there.
pub(crate) fn write(schema: &'static ModelSchema, record: Record) -> Write {
    let id = schema.id_of(&record).expect("the record has an id");
    Write { schema, id, record: Some(record), expect: Expect::Any }
}

/// A delete, whatever is there.
pub(crate) fn delete(schema: &'static ModelSchema, id: &Id) -> Write {
    Write { schema, id: id.clone(), record: None, expect: Expect::Any }
}

/// The same write, expecting this.
pub(crate) fn expecting(write: Write, expect: Expect) -> Write {
    Write { expect, ..write }
}

/// A state as a peer would have it: written by that peer and by nobody else, in no group.
pub(crate) fn brought(schema: &'static ModelSchema, record: Record, revision: Revision) -> State {
    let change = Change {
        schema,
        id: schema.id_of(&record).expect("the record has an id"),
        kind: ChangeKind::Create,
        ancestry: Ancestry::of(revision),
        merged: None,
        previous: None,
        position: 0,
        group: None,
        origin: Some(revision.replica),
        unknown: None,
        stamps: None,
    };
    State { change, record: Some(record) }
}

/// A tombstone as a peer would have it.
pub(crate) fn brought_tombstone(schema: &'static ModelSchema, id: &Id, revision: Revision) -> State {
    let change = Change {
        schema,
        id: id.clone(),
        kind: ChangeKind::Delete,
        ancestry: Ancestry::of(revision),
        merged: None,
        previous: None,
        position: 0,
        group: None,
        origin: Some(revision.replica),
        unknown: None,
        stamps: None,
    };
    State { change, record: None }
}

/// The same state, with something else about its change.
pub(crate) fn altered(mut state: State, alter: impl FnOnce(&mut Change)) -> State {
    alter(&mut state.change);
    state
}

/// The error with which a case makes its work fail.
pub(crate) fn on_purpose() -> Error {
    Error::new(ErrorKind::Usage, "failed on purpose")
}

impl Suite {
    /// A store of the factory, prepared with the suite's models under the replica id [`ME`].
    pub(crate) async fn start(mut factory: Box<dyn StoreFactory>) -> Self {
        let store = factory.open().await;
        store.prepare(&models(), ME).await.expect("a fresh store is prepared");
        Suite { factory, store }
    }

    /// Closes the store and opens it again with these models; false if this factory's stores do not outlive that.
    pub(crate) async fn reopen_with(&mut self, models: &Models) -> bool {
        let closed: Arc<dyn Store> = Arc::new(Closed);
        let store = std::mem::replace(&mut self.store, closed);
        match self.factory.reopen(store).await {
            Some(store) => {
                // A name that the store must not take, because it has one.
                store
                    .prepare(models, ReplicaId(Uuid::from_u128(0xBAD)))
                    .await
                    .expect("a reopened store is prepared");
                self.store = store;
                true
            }
            None => false,
        }
    }

    /// Closes the store and opens it again; false if this factory's stores do not outlive that.
    pub(crate) async fn reopen(&mut self) -> bool {
        self.reopen_with(&models()).await
    }

    /// Runs work in a transaction.
    pub(crate) async fn run<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Clone + Send + 'static,
    {
        transact(&*self.store, access, work).await
    }

    /// Runs work in a transaction, work that cannot be done twice.
    pub(crate) async fn run_once<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        transact_once(&*self.store, access, work).await
    }

    /// Runs work in a writing transaction that must not fail.
    pub(crate) async fn write<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Clone + Send + 'static,
    {
        self.run(Access::WRITE.feed(), work).await.expect("the transaction commits")
    }

    /// Runs work in a writing transaction that must not fail, work that cannot be done twice.
    pub(crate) async fn write_once<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        self.run_once(Access::WRITE, work).await.expect("the transaction commits")
    }

    /// Runs work in a reading transaction that must not fail.
    pub(crate) async fn look<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Clone + Send + 'static,
    {
        self.run(Access::READ.feed(), work).await.expect("the transaction reads")
    }

    /// Saves in a transaction of its own, at so many microseconds after [`NOW`].
    pub(crate) async fn save(&self, after: i64, writes: Vec<Write>) -> Vec<Saved> {
        self.write(move |t| Box::pin(async move { t.save(writes, NOW + after).await })).await
    }

    /// Saves one record, which must make a change.
    pub(crate) async fn track(&self, after: i64, schema: &'static ModelSchema, record: Record) {
        assert_eq!(self.save(after, vec![write(schema, record)]).await, [Saved::Tracked]);
    }

    /// Saves tasks with these ids in one transaction, all with the title `first`.
    pub(crate) async fn tasks(&self, after: i64, ids: &[&str]) {
        let writes = ids.iter().map(|id| write(&super::models::TASK, task(id, "first"))).collect();
        let saved = self.save(after, writes).await;
        assert!(saved.iter().all(|saved| *saved == Saved::Tracked), "{saved:?}");
    }

    /// Deletes one record, which must make a change.
    pub(crate) async fn remove(&self, after: i64, schema: &'static ModelSchema, id: &Id) {
        assert_eq!(self.save(after, vec![delete(schema, id)]).await, [Saved::Tracked]);
    }

    /// Puts states in a transaction of its own.
    pub(crate) async fn put(&self, states: Vec<State>) -> Vec<Put> {
        self.write(move |t| Box::pin(async move { t.put(&states, NOW).await })).await
    }

    /// Puts one state, which must be stored as given.
    pub(crate) async fn put_one(&self, state: State) {
        assert_eq!(self.put(vec![state]).await, [Put::Stored]);
    }

    /// The record with this id, local fields included.
    pub(crate) async fn record(&self, schema: &'static ModelSchema, id: &Id) -> Option<Record> {
        let ids = vec![id.clone()];
        let mut records = self.look(move |t| Box::pin(async move { t.read(schema, &ids).await })).await;
        assert_eq!(records.len(), 1, "one answer for one id");
        records.pop().flatten()
    }

    /// The task with this id.
    pub(crate) async fn task(&self, id: &str) -> Option<Record> {
        self.record(&super::models::TASK, &text_id(id)).await
    }

    /// The changes with these ids.
    pub(crate) async fn changes(&self, schema: &'static ModelSchema, ids: &[Id]) -> Vec<Option<Change>> {
        let ids = ids.to_vec();
        self.look(move |t| Box::pin(async move { t.changes(schema, &ids).await })).await
    }

    /// The change with this id, which must be there.
    pub(crate) async fn change(&self, schema: &'static ModelSchema, id: &Id) -> Plain {
        let changes = self.changes(schema, std::slice::from_ref(id)).await;
        plain(changes[0].as_ref().expect("the record is tracked"))
    }

    /// The change of the task with this id, which must be there.
    pub(crate) async fn task_change(&self, id: &str) -> Plain {
        self.change(&super::models::TASK, &text_id(id)).await
    }

    /// Records with their changes.
    pub(crate) async fn states(&self, schema: &'static ModelSchema, ids: &[Id]) -> Vec<Option<State>> {
        let ids = ids.to_vec();
        self.look(move |t| Box::pin(async move { t.states(schema, &ids).await })).await
    }

    /// The changes of a feed.
    pub(crate) async fn feed(&self, feed: Feed) -> Vec<State> {
        self.look(move |t| Box::pin(async move { t.feed(&feed).await })).await
    }

    /// The ids of a feed.
    pub(crate) async fn feed_ids(&self, feed: Feed) -> Vec<String> {
        self.feed(feed).await.iter().map(|state| state.change.id.to_string()).collect()
    }

    /// The records that match, in order.
    pub(crate) async fn select(&self, schema: &'static ModelSchema, selection: Selection) -> Vec<Record> {
        self.look(move |t| Box::pin(async move { t.select(schema, &selection).await })).await
    }

    /// How many records match.
    pub(crate) async fn count(&self, schema: &'static ModelSchema, filter: Filter) -> u64 {
        self.look(move |t| Box::pin(async move { t.count(schema, &filter).await })).await
    }

    /// The position of the newest change.
    pub(crate) async fn newest(&self) -> Position {
        self.look(|t| Box::pin(async move { t.newest().await })).await
    }

    /// The replica id.
    pub(crate) async fn replica(&self) -> ReplicaId {
        self.look(|t| Box::pin(async move { t.replica().await })).await
    }

    /// Takes another replica id.
    pub(crate) async fn rename(&self, fresh: ReplicaId) {
        self.write(move |t| Box::pin(async move { t.rename(fresh).await })).await
    }

    /// Asks for bases.
    pub(crate) async fn keep(&self, position: Option<Position>) {
        self.write(move |t| Box::pin(async move { t.keep_bases_through(position).await })).await
    }

    /// The bases of a task.
    pub(crate) async fn task_bases(&self, id: &str) -> Vec<Base> {
        let ids = vec![text_id(id)];
        let bases =
            self.look(move |t| Box::pin(async move { t.bases(&super::models::TASK, &ids).await })).await;
        let [bases] = <[Vec<Base>; 1]>::try_from(bases).expect("one answer for one id");
        bases
    }

    /// The bases in a range of positions.
    pub(crate) async fn bases_between(&self, after: Position, through: Position) -> Vec<Base> {
        self.look(move |t| Box::pin(async move { t.bases_between(after, through).await })).await
    }

    /// Keeps bases.
    pub(crate) async fn add_bases(&self, bases: Vec<Base>) {
        self.write(move |t| Box::pin(async move { t.add_bases(bases).await })).await
    }

    /// Drops bases.
    pub(crate) async fn drop_bases(&self, until: Position) {
        self.write(move |t| Box::pin(async move { t.drop_bases(until).await })).await
    }

    /// Sets or removes a note.
    pub(crate) async fn note(&self, room: Room, key: &str, value: Option<&[u8]>) {
        let (key, value) = (key.to_owned(), value.map(<[u8]>::to_vec));
        self.write(move |t| Box::pin(async move { t.note(room, &key, value).await })).await
    }

    /// The notes of a room.
    pub(crate) async fn notes(&self, room: Room, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let prefix = prefix.to_owned();
        self.look(move |t| Box::pin(async move { t.notes(room, &prefix).await })).await
    }

    /// The store's version.
    pub(crate) async fn version(&self) -> u64 {
        self.store.version().await.expect("the store has a version")
    }

    /// Everything that can be read, as text: two equal ones, and nothing happened in between.
    pub(crate) async fn everything(&self) -> String {
        self.look(|t| {
            Box::pin(async move {
                let mut shown = format!("{} at {}\n", t.replica().await?, t.newest().await?);
                for state in t.feed(&Feed { data: true, ..Feed::after(0) }).await? {
                    shown += &format!("{:?} {:?}\n", plain(&state.change), state.record);
                }
                for model in models().iter() {
                    shown += &format!("{:?}\n", t.select(model.schema, &Selection::default()).await?);
                }
                for base in t.bases_between(Position::MIN, Position::MAX).await? {
                    shown +=
                        &format!("{} {:?} {:?}\n", base.until, plain(&base.state.change), base.state.record);
                }
                for room in Room::ALL {
                    shown += &format!("{} {:?}\n", room.name(), t.notes(room, "").await?);
                }
                Ok(shown)
            })
        })
        .await
    }
}

/// Stands where a store was until it is opened again.
#[derive(Debug)]
struct Closed;

#[sync_runtime::async_trait]
impl Store for Closed {
    async fn prepare(&self, _: &Models, _: ReplicaId) -> Result<()> {
        Err(closed())
    }

    async fn run(&self, _: Access, _: sync_runtime::store::Work) -> Result<()> {
        Err(closed())
    }

    async fn version(&self) -> Result<u64> {
        Err(closed())
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store of this case is closed")
}
