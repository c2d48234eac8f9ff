//! A store that fails where it is told to: before or after a call, or at commit.
//!
//! Nothing is drawn here: calls are counted, and a fault fires at its call. Whoever wants random faults draws them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sync_runtime::change::{Change, State};
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{ForeignKey, ModelSchema, Models};
use sync_runtime::store::{
    Access, Base, Feed, Put, Room, Saved, Store, Transaction, Unreadable, Work, Write,
};
use sync_runtime::version::{Position, ReplicaId, Stamp};
use sync_runtime::{BoxFuture, Error, ErrorKind, Result};

/// A call on a store or on a transaction at which a [`Fault`] can fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Call {
    /// [`Store::prepare`].
    Prepare,
    /// [`Store::version`].
    Version,
    /// [`Store::run`] as it begins: before it, nothing has happened; after it, the work has not begun.
    Begin,
    /// [`Store::run`] as it ends: before it, everything is rolled back; after it, everything is committed, but the
    /// caller is told that it failed.
    Commit,
    /// [`Transaction::replica`].
    Replica,
    /// [`Transaction::rename`].
    Rename,
    /// [`Transaction::newest`].
    Newest,
    /// [`Transaction::read`].
    Read,
    /// [`Transaction::select`].
    Select,
    /// [`Transaction::count`].
    Count,
    /// [`Transaction::changes`].
    Changes,
    /// [`Transaction::feed`].
    Feed,
    /// [`Transaction::save`].
    Save,
    /// [`Transaction::put`].
    Put,
    /// [`Transaction::keep_bases_through`].
    KeepBasesThrough,
    /// [`Transaction::bases`].
    Bases,
    /// [`Transaction::bases_between`].
    BasesBetween,
    /// [`Transaction::add_bases`].
    AddBases,
    /// [`Transaction::drop_bases`].
    DropBases,
    /// [`Transaction::untracked`].
    Untracked,
    /// [`Transaction::unreadable`].
    Unreadable,
    /// [`Transaction::retrack`].
    Retrack,
    /// [`Transaction::notes`].
    Notes,
    /// [`Transaction::note_all`].
    Note,
    /// [`Transaction::erase`].
    Erase,
    /// [`Transaction::states`].
    States,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// One failure to come: at which call, before or after it did its work, and as what error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    call: Option<Call>,
    when: When,
    /// How many such calls go well first.
    skip: u64,
    kind: ErrorKind,
}

impl Fault {
    /// Fails the next such call (any call with `None`) before it does anything.
    pub fn before(call: impl Into<Option<Call>>) -> Self {
        Fault { call: call.into(), when: When::Before, skip: 0, kind: ErrorKind::Storage }
    }

    /// Fails the next such call (any call with `None`) after it did its work.
    pub fn after(call: impl Into<Option<Call>>) -> Self {
        Fault { when: When::After, ..Fault::before(call) }
    }

    /// Lets so many such calls go well first, counted from when the fault is set.
    pub fn skip(self, calls: u64) -> Self {
        Fault { skip: calls, ..self }
    }

    /// Fails as this kind of error; without it as [`ErrorKind::Storage`].
    pub fn kind(self, kind: ErrorKind) -> Self {
        Fault { kind, ..self }
    }
}

/// The faults of a [`FaultStore`], shared with the test that sets them. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    set: Vec<Fault>,
    calls: Vec<Call>,
    fired: u64,
}

impl Faults {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a fault, which fires once. Several may be set; each counts for itself.
    pub fn set(&self, fault: Fault) {
        self.plan().set.push(fault);
    }

    /// Takes all faults back that have not fired yet.
    pub fn clear(&self) {
        self.plan().set.clear();
    }

    /// How many faults have fired.
    pub fn fired(&self) -> u64 {
        self.plan().fired
    }

    /// Every call since the last time this was asked, in order, those that failed included.
    ///
    /// A test that wants to fail at every point runs once without faults and counts these.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.plan().calls)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // A test that panicked elsewhere leaves a plan that is as good as before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, call: Call, when: When) -> Result<()> {
        let mut plan = self.plan();
        if when == When::Before {
            plan.calls.push(call);
        }
        let mut kind = None;
        plan.set.retain_mut(|fault| {
            if fault.when != when || fault.call.is_some_and(|wanted| wanted != call) {
                return true;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return true;
            }
            // Two faults that are due at one point are two failures: the second waits for the next such call.
            if kind.is_some() {
                return true;
            }
            kind = Some(fault.kind);
            false
        });
        let Some(kind) = kind else { return Ok(()) };
        plan.fired += 1;
        let when = if when == When::Before { "before" } else { "after" };
        Err(Error::new(kind, format!("a fault set on purpose {when} {call:?}")))
    }

    /// The call with its two points.
    async fn around<T>(&self, call: Call, made: impl Future<Output = Result<T>>) -> Result<T> {
        self.check(call, When::Before)?;
        let value = made.await?;
        self.check(call, When::After)?;
        Ok(value)
    }
}

/// A store over another one that fails where its [`Faults`] say so, and does nothing else.
///
/// ```
/// use sync_runtime::store::{Access, Room, Store, transact};
/// use sync_store_memory::MemoryStore;
/// use sync_testkit::{Call, Fault, FaultStore, Faults};
///
/// let faults = Faults::new();
/// let store = FaultStore::new(MemoryStore::new(), faults.clone());
/// let note = || transact(&store, Access::WRITE, |t| Box::pin(t.note(Room::Peer, "key", Some(vec![1]))));
/// # pollster::block_on(async {
/// faults.set(Fault::after(Call::Note));
/// assert!(note().await.is_err());
/// assert!(note().await.is_ok());
/// assert_eq!(faults.take_calls(), [Call::Begin, Call::Note, Call::Begin, Call::Note, Call::Commit]);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct FaultStore<S> {
    inner: S,
    faults: Faults,
}

impl<S> FaultStore<S> {
    /// This store with these faults.
    pub fn new(inner: S, faults: Faults) -> Self {
        FaultStore { inner, faults }
    }

    /// The store beneath, which never fails on purpose.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

#[sync_runtime::async_trait]
impl<S: Store> Store for FaultStore<S> {
    async fn prepare(&self, models: &Models, fresh: ReplicaId) -> Result<()> {
        self.faults.around(Call::Prepare, self.inner.prepare(models, fresh)).await
    }

    async fn run(&self, access: Access, work: Work) -> Result<()> {
        self.faults.check(Call::Begin, When::Before)?;
        let faults = self.faults.clone();
        let work = work.within(move |inner, work| {
            Box::pin(async move {
                faults.check(Call::Begin, When::After)?;
                work.run(&mut FaultTransaction { inner, faults: &faults }).await?;
                faults.check(Call::Commit, When::Before)
            })
        });
        self.inner.run(access, work).await?;
        self.faults.check(Call::Commit, When::After)
    }

    async fn plan(&self, models: &Models) -> Result<Vec<String>> {
        self.inner.plan(models).await
    }

    fn runs_inline(&self) -> bool {
        self.inner.runs_inline()
    }

    async fn foreign_keys(&self, models: &Models) -> Result<Vec<ForeignKey>> {
        self.inner.foreign_keys(models).await
    }

    async fn untold(&self) -> Result<Vec<(String, String)>> {
        self.inner.untold().await
    }

    async fn told(&self, schema: &'static ModelSchema) -> Result<()> {
        self.inner.told(schema).await
    }

    async fn version(&self) -> Result<u64> {
        self.faults.around(Call::Version, self.inner.version()).await
    }

    fn next_commit(&self) -> Option<BoxFuture<'static, ()>> {
        self.inner.next_commit()
    }
}

struct FaultTransaction<'t> {
    inner: &'t mut dyn Transaction,
    faults: &'t Faults,
}

#[sync_runtime::async_trait]
impl Transaction for FaultTransaction<'_> {
    async fn replica(&mut self) -> Result<ReplicaId> {
        self.faults.around(Call::Replica, self.inner.replica()).await
    }

    async fn history(&mut self) -> Result<Option<String>> {
        self.inner.history().await
    }

    async fn rename(&mut self, fresh: ReplicaId) -> Result<()> {
        self.faults.around(Call::Rename, self.inner.rename(fresh)).await
    }

    async fn newest(&mut self) -> Result<Position> {
        self.faults.around(Call::Newest, self.inner.newest()).await
    }

    async fn read(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Record>>> {
        self.faults.around(Call::Read, self.inner.read(schema, ids)).await
    }

    async fn select(&mut self, schema: &'static ModelSchema, selection: &Selection) -> Result<Vec<Record>> {
        self.faults.around(Call::Select, self.inner.select(schema, selection)).await
    }

    async fn count(&mut self, schema: &'static ModelSchema, filter: &Filter) -> Result<u64> {
        self.faults.around(Call::Count, self.inner.count(schema, filter)).await
    }

    async fn changes(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Change>>> {
        self.faults.around(Call::Changes, self.inner.changes(schema, ids)).await
    }

    async fn feed(&mut self, feed: &Feed) -> Result<Vec<State>> {
        self.faults.around(Call::Feed, self.inner.feed(feed)).await
    }

    async fn save(&mut self, writes: Vec<Write>, now: Stamp) -> Result<Vec<Saved>> {
        self.faults.around(Call::Save, self.inner.save(writes, now)).await
    }

    async fn put(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>> {
        self.faults.around(Call::Put, self.inner.put(states, now)).await
    }

    async fn keep_bases_through(&mut self, position: Option<Position>) -> Result<()> {
        self.faults.around(Call::KeepBasesThrough, self.inner.keep_bases_through(position)).await
    }

    async fn bases(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Vec<Base>>> {
        self.faults.around(Call::Bases, self.inner.bases(schema, ids)).await
    }

    async fn bases_between(&mut self, after: Position, through: Position) -> Result<Vec<Base>> {
        self.faults.around(Call::BasesBetween, self.inner.bases_between(after, through)).await
    }

    async fn add_bases(&mut self, bases: Vec<Base>) -> Result<()> {
        self.faults.around(Call::AddBases, self.inner.add_bases(bases)).await
    }

    async fn drop_bases(&mut self, until: Position) -> Result<()> {
        self.faults.around(Call::DropBases, self.inner.drop_bases(until)).await
    }

    async fn untracked(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>> {
        self.faults.around(Call::Untracked, self.inner.untracked(schema, only, after, limit)).await
    }

    async fn unreadable(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        limit: usize,
    ) -> Result<Vec<Unreadable>> {
        self.faults.around(Call::Unreadable, self.inner.unreadable(schema, only, limit)).await
    }

    async fn retrack(&mut self, schema: &'static ModelSchema, ids: &[Id], now: Stamp) -> Result<Vec<bool>> {
        self.faults.around(Call::Retrack, self.inner.retrack(schema, ids, now)).await
    }

    async fn notes(&mut self, room: Room, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.faults.around(Call::Notes, self.inner.notes(room, prefix)).await
    }

    async fn notes_after(
        &mut self,
        room: Room,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        self.faults.around(Call::Notes, self.inner.notes_after(room, prefix, after, limit)).await
    }

    async fn notes_of(&mut self, room: Room, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.faults.around(Call::Notes, self.inner.notes_of(room, keys)).await
    }

    async fn note_all(&mut self, room: Room, rows: Vec<(String, Option<Vec<u8>>)>) -> Result<()> {
        self.faults.around(Call::Note, self.inner.note_all(room, rows)).await
    }

    async fn erase(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<()> {
        self.faults.around(Call::Erase, self.inner.erase(schema, ids)).await
    }

    async fn states(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<State>>> {
        self.faults.around(Call::States, self.inner.states(schema, ids)).await
    }

    async fn states_within(
        &mut self,
        schema: &'static ModelSchema,
        ids: &[Id],
        bytes: usize,
    ) -> Result<Option<Vec<Option<State>>>> {
        self.faults.around(Call::States, self.inner.states_within(schema, ids, bytes)).await
    }
}
