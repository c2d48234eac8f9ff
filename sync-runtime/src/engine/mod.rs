//! The engine: a replica over any store. All decisions are made here, once.
//!
//! - `accounts`: whose records are here, and those of the others who signed in before.
//! - `decide`: what to do with an incoming change; plain functions on values.
//! - `page`: reading the feed in pages that keep groups whole.
//! - `adopt`: updates in the shape that a model has here.
//! - `admission`: what a caller may push.
//! - `apply`: taking updates into the store, as the target of a push or of a pull.
//! - `outbox`: freezing, acknowledging and renaming what is pushed.
//! - `purge`: tombstones that nobody waits for go.
//! - `reading`: what a caller reads, as much of it as it may see.
//! - `parts`: which scopes, or scopes of models, a caller's pull covers.
//! - `grants`: since when each replica gets which parts.
//! - `rebase`: one version of two, by the policies of the model.
//! - `inbox`: conflicts and refused records, kept until resolved.
//! - `keep_both`: two records of one id, told apart by a new one.
//! - `leaving`: records that left the scopes which this replica may read at a peer.
//! - `moves`: what is committed, as it is committed.
//! - `scopes`: in which scope each record is, and which ones it left.
//! - `view`: what of the feed a caller sees who may not read every scope.
//! - `seal`: checkpoints that cannot be made up.
//! - `exchange`: one round trip of a peer's: a page taken, a page given.
//! - `serve`: the [`crate::replica::Replica`] that others talk to.
//! - `session`: one sync with a peer.
//! - `replicate`: one way, between any two replicas.

pub(crate) mod accounts;
pub(crate) mod admission;
pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod arrival;
pub(crate) mod decide;
mod exchange;
mod grants;
pub(crate) mod inbox;
pub(crate) mod keep_both;
pub(crate) mod leaving;
pub(crate) mod left;
pub mod moves;
pub(crate) mod notes;
pub(crate) mod outbox;
pub(crate) mod page;
pub(crate) mod parents;
pub(crate) mod parts;
mod portions;
pub(crate) mod purge;
pub(crate) mod reading;
pub(crate) mod rebase;
pub(crate) mod rename;
pub(crate) mod replicate;
pub(crate) mod resolve;
pub(crate) mod scopes;
mod seal;
mod serve;
pub(crate) mod session;
pub(crate) mod settle;
pub(crate) mod unread;
mod untold;
mod view;

use crate::env::{BoxFuture, Env, MaybeSend, fresh_replica};
use crate::incoming::Hooks;
use crate::live;
use crate::merge::Merge;
use crate::replica::{Caller, Limits, Replica};
use crate::schema::{FieldSchema, Models};
use crate::store::{Access, Room, Store, Transaction, transact};
use crate::version::{ReplicaId, STAMP_LIMIT, Stamp};
use crate::{Error, ErrorKind, Result};
use event_listener::{Event, EventListener};
use purge::Retention;
use seal::Seal;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// A replica over a store. Cheap to clone; clones are the same replica.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    models: Models,
    env: Arc<dyn Env>,
    limits: Limits,
    /// The replica that `server_wins` and `client_wins` mean.
    upstream: Option<Arc<dyn Replica>>,
    hooks: Arc<Hooks>,
    /// Names this engine among others on the same store, for leases.
    instance: ReplicaId,
    /// How far the peers' clocks are ahead of this one's, once a peer said that ours is wrong.
    offset: AtomicI64,
    /// When that was read from the store, by this one.
    offset_read: AtomicI64,
    commits: AtomicU64,
    committed: Event,
    closed: AtomicBool,
    closes: Event,
    /// The history that the database went on in when it was last looked at.
    history: Mutex<Option<String>>,
    /// Peers that a task of this process is syncing with.
    busy: Mutex<Vec<ReplicaId>>,
    /// The tasks that keep it in sync.
    kept: Mutex<Vec<Weak<live::Shared>>>,
    retention: Retention,
    /// When this process last looked whether it is time to purge.
    purge_looked: AtomicI64,
    /// What checkpoints are sealed with.
    seal: OnceLock<Seal>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("store", &self.0.store).field("models", &self.0.models).finish()
    }
}

/// The access of a write of so many records.
pub(crate) fn sized_write(records: usize) -> Access {
    serve::sized(Access::WRITE, records)
}

const CLOCK_NOTE: &str = "clock";
/// How long, in microseconds, a correction of the clock by another process may go unnoticed.
const OFFSET_LASTS: i64 = 1_000_000;
const MODELS_NOTE: &str = "models";

impl Engine {
    /// Prepares the store for the models and opens it as a replica.
    ///
    /// # Errors
    /// What the store's [`Store::prepare`] and [`Store::foreign_keys`] fail with.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        mut models: Models,
        env: Arc<dyn Env>,
        limits: Limits,
        upstream: Option<Arc<dyn Replica>>,
        hooks: Hooks,
        retention: Retention,
    ) -> Result<Engine> {
        store.prepare(&models, fresh_replica(&*env)).await?;
        models.add_foreign_keys(store.foreign_keys(&models).await?);
        let engine = Engine(Arc::new(Inner {
            store,
            models,
            limits,
            upstream,
            hooks: Arc::new(hooks),
            instance: fresh_replica(&*env),
            purge_looked: AtomicI64::new(env.now()),
            retention,
            env,
            offset: AtomicI64::new(0),
            offset_read: AtomicI64::new(0),
            commits: AtomicU64::new(0),
            committed: Event::new(),
            closed: AtomicBool::new(false),
            closes: Event::new(),
            history: Mutex::new(None),
            busy: Mutex::new(Vec::new()),
            kept: Mutex::new(Vec::new()),
            seal: OnceLock::new(),
        }));
        engine.read_offset().await?;
        engine.seal().await?;
        engine.check_history().await?;
        engine.mend_history().await?;
        engine.meet_models().await?;
        engine.tell_untold().await?;
        // At the beginning it may take a while, and nobody waits for a page yet.
        engine.project_scopes().await?;
        Ok(engine)
    }

    /// Makes and upgrades what the models need, once more.
    pub(crate) async fn migrate(&self) -> Result<()> {
        self.0.store.prepare(&self.0.models, fresh_replica(&*self.0.env)).await?;
        self.tell_untold().await
    }

    /// Pulls passed by what was of models that were not registered then: where one is registered that was not the
    /// last time, revisions are compared once more.
    async fn meet_models(&self) -> Result<()> {
        let names: BTreeSet<String> =
            self.models().iter().map(|model| model.schema.name.to_owned()).collect();
        let known = self.read(|tx| {
            Box::pin(async move { notes::load::<BTreeSet<String>>(tx, Room::Peer, MODELS_NOTE).await })
        });
        let known = known.await?.unwrap_or_default();
        if names == known {
            return Ok(());
        }
        let added = !names.is_subset(&known);
        self.run(Access::WRITE, move |tx| {
            Box::pin(async move {
                let peers = if added { notes::peers(tx).await? } else { Vec::new() };
                for (id, peer) in peers {
                    notes::set_peer(tx, id, &peer.forgotten()).await?;
                }
                notes::save(tx, Room::Peer, MODELS_NOTE, &names).await
            })
        })
        .await
    }

    /// The models that this replica holds.
    pub fn models(&self) -> &Models {
        &self.0.models
    }

    /// What this replica accepts.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Time, randomness, sleeping and spawning.
    pub fn env(&self) -> &Arc<dyn Env> {
        &self.0.env
    }

    /// The clock, corrected by what peers said of it.
    pub fn now(&self) -> Stamp {
        let now = self.0.env.now().saturating_add(self.0.offset.load(Ordering::Relaxed));
        now.clamp(0, STAMP_LIMIT / 2)
    }

    /// The clock for a local write: corrected also by what another process with this store was told since.
    pub(crate) async fn write_clock(&self) -> Result<Stamp> {
        let now = self.0.env.now();
        let since = now - self.0.offset_read.load(Ordering::Relaxed);
        if !(0..OFFSET_LASTS).contains(&since) {
            self.read_offset().await?;
        }
        Ok(self.now())
    }

    /// Reads what peers said of this clock.
    pub(crate) async fn read_offset(&self) -> Result<()> {
        let read =
            self.read(|tx| Box::pin(async move { notes::load::<i64>(tx, Room::Peer, CLOCK_NOTE).await }));
        self.0.offset.store(read.await?.unwrap_or(0), Ordering::Relaxed);
        self.0.offset_read.store(self.0.env.now(), Ordering::Relaxed);
        Ok(())
    }

    /// What the app says of updates that are pushed here.
    pub(crate) fn hooks(&self) -> &Arc<Hooks> {
        &self.0.hooks
    }

    /// Whether this peer is the one that was declared upstream. Where nobody needs to know, nobody is asked.
    pub(crate) async fn is_upstream(&self, peer: ReplicaId) -> bool {
        let needs = |field: &FieldSchema| matches!(field.merge, Merge::ServerWins | Merge::ClientWins);
        let needed = self.models().iter().any(|model| model.schema.fields.iter().any(needs));
        match self.0.upstream.as_ref().filter(|_| needed) {
            // One that does not answer is not the peer, which just did.
            Some(upstream) => {
                upstream.describe(&Caller::owner()).await.is_ok_and(|upstream| upstream.replica == peer)
            }
            None => false,
        }
    }

    /// This store's replica id.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn id(&self) -> Result<ReplicaId> {
        self.read(|tx| tx.replica()).await
    }

    /// Ends the use of this replica: every later call fails with [`ErrorKind::Closed`].
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.closes.notify(usize::MAX);
        self.0.committed.notify(usize::MAX);
    }

    /// Whether the replica was closed.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// Ends when the replica is closed.
    pub(crate) async fn closes(&self) {
        let listener = self.0.closes.listen();
        if !self.is_closed() {
            listener.await;
        }
    }

    /// Fails with [`ErrorKind::Closed`] once the replica was closed.
    pub(crate) fn still_open(&self) -> Result<()> {
        match self.is_closed() {
            true => Err(Error::new(ErrorKind::Closed, "the workspace was closed")),
            false => Ok(()),
        }
    }

    /// How many transactions this engine committed, and a listener for the next one.
    pub(crate) fn commits(&self) -> (u64, EventListener) {
        let listener = self.0.committed.listen();
        (self.0.commits.load(Ordering::Acquire), listener)
    }

    /// The history that was last seen of the database.
    pub(crate) fn history_seen(&self) -> Option<String> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn saw_history(&self, history: String) {
        *self.0.history.lock().unwrap_or_else(PoisonError::into_inner) = Some(history);
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    pub(crate) fn instance(&self) -> ReplicaId {
        self.0.instance
    }

    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: MaybeSend + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Clone + MaybeSend + 'static,
    {
        self.run(Access::READ, work).await
    }

    /// Runs work in one transaction; tells the listeners where it wrote.
    pub(crate) async fn run<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: MaybeSend + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Clone + MaybeSend + 'static,
    {
        self.still_open()?;
        let done = transact(self.store(), access, work).await;
        if access.write {
            // Told after a failure too: with a lost connection nobody knows whether it was committed.
            self.0.commits.fetch_add(1, Ordering::AcqRel);
            self.0.committed.notify(usize::MAX);
        }
        done
    }

    /// Goes back to this clock as it is, once a peer's clock agrees with it again.
    pub(crate) async fn trust_clock(&self, peer_now: Stamp) -> Result<()> {
        let agrees = peer_now.saturating_sub(self.0.env.now()).saturating_abs() <= self.0.limits.clock_skew;
        if agrees && self.0.offset.swap(0, Ordering::Relaxed) != 0 {
            return self
                .run(Access::WRITE, |tx| {
                    Box::pin(async move { notes::save(tx, Room::Peer, CLOCK_NOTE, &0_i64).await })
                })
                .await;
        }
        Ok(())
    }

    /// Takes the peer's word that this clock is off by so much, and keeps it.
    pub(crate) async fn correct_clock(&self, peer_now: Stamp) -> Result<()> {
        let offset = peer_now.saturating_sub(self.0.env.now());
        self.0.offset.store(offset, Ordering::Relaxed);
        self.run(Access::WRITE, move |tx| {
            Box::pin(async move { notes::save(tx, Room::Peer, CLOCK_NOTE, &offset).await })
        })
        .await
    }

    /// What checkpoints are sealed with.
    pub(crate) async fn seal(&self) -> Result<Seal> {
        match self.0.seal.get() {
            Some(seal) => Ok(*seal),
            None => {
                let seal = self.read_seal().await?;
                Ok(*self.0.seal.get_or_init(|| seal))
            }
        }
    }

    /// Notes a task that keeps this replica in sync.
    pub(crate) fn keeps(&self, task: &Arc<live::Shared>) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|task| task.upgrade().is_some_and(|task| !task.is_over()));
        kept.push(Arc::downgrade(task));
    }

    /// The tasks that keep this replica in sync.
    pub(crate) fn kept(&self) -> Vec<Arc<live::Shared>> {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter_map(Weak::upgrade).filter(|task| !task.is_over()).collect()
    }

    /// Claims the right to sync with a peer in this process; `None` if a task has it.
    pub(crate) fn claim(&self, peer: ReplicaId) -> Option<Claim> {
        let mut busy = self.0.busy.lock().ok()?;
        if busy.contains(&peer) {
            return None;
        }
        busy.push(peer);
        Some(Claim { engine: self.clone(), peer })
    }
}

/// The right of one task to sync with a peer; given back when dropped.
pub(crate) struct Claim {
    engine: Engine,
    peer: ReplicaId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Ok(mut busy) = self.engine.0.busy.lock() {
            busy.retain(|peer| *peer != self.peer);
        }
    }
}
