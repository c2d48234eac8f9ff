//! The workspace: an app's models over a store, and all that can be done with them.

use crate::collection::{Collection, write_of, write_one};
use crate::engine::Engine;
use crate::engine::inbox::{self, Matter};
use crate::engine::notes;
use crate::engine::purge::Retention;
use crate::engine::replicate::{Replicated, Route, replicate};
use crate::engine::session::{self, Plan, Progress, Summary};
use crate::env::{BoxFuture, Env, MaybeSend, MaybeSync, fresh_uuid};
use crate::incoming::{Hooks, Incoming, Ruling};
use crate::live::{KeepInSync, LiveState};
use crate::query::{Condition, Only, narrowed};
use crate::replica::{Limits, Replica};
use crate::report::{Rejected, ReplicationConflicts, ReplicationReport, SyncReport};
use crate::schema::{ModelSchema, Models};
use crate::status::with_states;
use crate::store::{Access, Expect, Room, Store, Transaction, Write};
use crate::syncable::{ModelId, Syncable, model_of};
use crate::version::{Checkpoint, ReplicaId, Stamp};
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

/// An app's models over a store. Cheap to clone; clones are the same workspace.
///
/// ```
/// use sync_runtime::{Result, Workspace, prelude::*, store::Store};
///
/// #[derive(Debug, Clone, PartialEq, Syncable)]
/// struct Todo {
///     #[sync(id)]
///     id: String,
///     title: String,
/// }
///
/// async fn open(store: impl Store) -> Result<Workspace> {
///     Workspace::builder(store).model::<Todo>().build().await
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Workspace {
    engine: Engine,
}

/// Builds a [`Workspace`].
#[derive(Debug)]
#[must_use = "a workspace is opened by `build`"]
pub struct WorkspaceBuilder {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) models: Models,
    env: Option<Arc<dyn Env>>,
    limits: Limits,
    upstream: Option<Arc<dyn Replica>>,
    hooks: Hooks,
    retention: Retention,
}

impl WorkspaceBuilder {
    /// Registers a model.
    pub fn model<T: Syncable>(mut self) -> Self {
        self.models.add(model_of::<T>());
        self
    }

    /// Takes time, randomness, sleeping and spawning from here instead of from the system.
    pub fn env(mut self, env: impl Env) -> Self {
        self.env = Some(Arc::new(env));
        self
    }

    /// What this workspace accepts from its peers.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Declares a peer upstream: in a sync with it, `server_wins` fields take its side where both changed them, and
    /// `client_wins` fields this one's. In a sync with any other peer such a field is a conflict. Asks nobody yet.
    pub fn upstream(mut self, peer: &dyn AsReplica) -> Self {
        self.upstream = Some(peer.to_replica());
        self
    }

    /// Has a say in every update of a model that a peer pushes here, inside the transaction that takes it: it may refuse
    /// it, store something else in its place, or settle a conflict. What an authoritative server needs.
    ///
    /// The function sees values and gives one; it must not wait. What it decides goes to the peer with the answer. It is not
    /// asked about what leaves the record as it is.
    ///
    /// ```
    /// # use sync_runtime::{Ruling, WorkspaceBuilder, prelude::*};
    /// # #[derive(Debug, Clone, PartialEq, Syncable)]
    /// # struct Todo { #[sync(id)] id: String, title: String }
    /// fn with_rules(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    ///     builder.model::<Todo>().on_incoming::<Todo>(|update| match (&update.current, &update.incoming) {
    ///         (Some(_), None) => Ruling::Reject("todos are not deleted here".into()),
    ///         (Some(current), Some(_)) if update.in_conflict => Ruling::Store(Some(current.clone())),
    ///         _ => Ruling::Pass,
    ///     })
    /// }
    /// ```
    pub fn on_incoming<T: Syncable>(
        mut self,
        rule: impl Fn(&Incoming<'_, T>) -> Ruling<T> + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        self.hooks.add(rule);
        self
    }

    /// How long tombstones are kept: never shorter than `least` after the delete, and up to `most` where a replica that is
    /// known has not seen them; one that did not come for `most` is waited for no more. 90 and 365 days unless this says
    /// otherwise. A delete that no peer has yet, or that one refused, stays until that is settled.
    ///
    /// A replica that comes later than that compares everything: what was deleted stays so, what it edited is kept, and
    /// what it has is not sent again. It is purged once a day by [`Workspace::keep_in_sync`] and by the routes of a server,
    /// and by [`Workspace::purge`].
    pub fn retention(mut self, least: Duration, most: Duration) -> Self {
        self.retention = Retention::of(least, most);
        self
    }

    /// Opens the store for the models.
    ///
    /// # Errors
    /// What the store fails with: a file that is no database, columns that do not fit, a newer layout.
    pub async fn build(self) -> Result<Workspace> {
        #[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
        let env = self.env.unwrap_or_else(|| Arc::new(crate::SystemEnv));
        #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
        let env = self
            .env
            .ok_or_else(|| Error::new(ErrorKind::Usage, "in a browser the workspace needs an `env`"))?;
        let WorkspaceBuilder { store, models, limits, upstream, hooks, retention, .. } = self;
        let engine = Engine::open(store, models, env, limits, upstream, hooks, retention).await;
        Ok(Workspace { engine: engine.map_err(|error| error.context("opening the workspace"))? })
    }
}

impl Workspace {
    /// Builds a workspace over this store.
    pub fn builder(store: impl Store) -> WorkspaceBuilder {
        WorkspaceBuilder {
            store: Arc::new(store),
            models: Models::default(),
            env: None,
            limits: Limits::default(),
            upstream: None,
            hooks: Hooks::default(),
            retention: Retention::default(),
        }
    }

    /// The replica that this workspace is.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// This store's replica id.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn id(&self) -> Result<ReplicaId> {
        self.engine.id().await
    }

    /// The records of a model.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`] if the model is not registered; [`ErrorKind::Closed`] after [`Workspace::close`].
    pub fn collection<T: Syncable>(&self) -> Result<Collection<T>> {
        self.registered::<T>()?;
        if self.engine.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the workspace was closed"));
        }
        Ok(Collection::new(self.clone()))
    }

    pub(crate) fn registered<T: Syncable>(&self) -> Result<&'static ModelSchema> {
        Ok(self.engine.models().get(T::SCHEMA.name)?.schema)
    }

    /// Ends the use of this workspace and all its clones: every later call fails with [`ErrorKind::Closed`].
    pub fn close(&self) {
        self.engine.close();
    }

    /// Runs reads and writes of any models in one transaction: all of it happens or nothing, and it arrives at
    /// peers in one piece.
    ///
    /// ```
    /// # use sync_runtime::{Result, Workspace, prelude::*};
    /// # #[derive(Debug, Clone, PartialEq, Syncable)]
    /// # struct Todo { #[sync(id)] id: String, title: String }
    /// # async fn example(workspace: &Workspace) -> Result<()> {
    /// let title = workspace
    ///     .transaction(|tx| {
    ///         Box::pin(async move {
    ///             tx.upsert(&Todo { id: "a".into(), title: "eat food".into() }).await?;
    ///             let todo = tx.get::<Todo>(&"a".to_owned()).await?;
    ///             Ok(todo.map(|todo| todo.title))
    ///         })
    ///     })
    ///     .await?;
    /// assert_eq!(title.as_deref(), Some("eat food"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A database with many writers may undo a transaction that met another one. The work is then done again from its
    /// beginning, with a copy of what it was given, so it does nothing that must happen only once.
    ///
    /// # Errors
    /// What the work or the store fails with; nothing was written then.
    pub async fn transaction<R, F>(&self, work: F) -> Result<R>
    where
        R: MaybeSend + 'static,
        F: for<'t> FnOnce(&'t mut WorkspaceTransaction<'t>) -> BoxFuture<'t, Result<R>>
            + Clone
            + MaybeSend
            + 'static,
    {
        let (engine, now) = (self.engine.clone(), self.engine.write_clock().await?);
        self.engine
            .run(Access::WRITE.long(), move |tx| {
                Box::pin(async move {
                    let mut transaction = WorkspaceTransaction { tx, engine, now };
                    run_in(&mut transaction, work).await
                })
            })
            .await
    }

    /// Reads and writes of any models inside a transaction that somebody else begins and ends, such as one of the app's
    /// own database connection (`SqlStore::in_transaction`). What is observed here hears of it with the next look at
    /// the store.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn within<'t>(&self, tx: &'t mut dyn Transaction) -> Result<WorkspaceTransaction<'t>> {
        let (engine, now) = (self.engine.clone(), self.engine.write_clock().await?);
        Ok(WorkspaceTransaction { tx, engine, now })
    }

    /// Brings this workspace and a peer level: push, settle, pull. Await it, or set options first.
    ///
    /// ```
    /// # use sync_runtime::{AsReplica, Result, Workspace};
    /// # async fn example(local: &Workspace, server: &impl AsReplica) -> Result<()> {
    /// let report = local.sync(server).await?;
    /// println!("{} sent, {} came", report.pushed, report.pulled);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sync<'a>(&'a self, peer: &'a dyn AsReplica) -> Sync<'a> {
        let plan = Plan { push: true, pull: true, only: Ok(Vec::new()), page: usize::MAX, progress: None };
        Sync { workspace: self, peer, plan }
    }

    /// Syncs with a peer again and again, until the handle is dropped.
    pub fn keep_in_sync(&self, peer: &dyn AsReplica) -> KeepInSync {
        KeepInSync::new(self.clone(), peer.to_replica())
    }

    /// How this workspace stands with each peer that it is kept in sync with, in the order in which that was started: online
    /// or not, and why, how much is still to be sent, how far it is behind. Empty where it is kept in sync with none.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn connection(&self) -> Result<Vec<LiveState>> {
        let mut states = Vec::new();
        for kept in self.engine.kept() {
            states.push(kept.state_of(self).await?);
        }
        Ok(states)
    }

    /// The peers that this workspace has synced with.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn peers(&self) -> Result<Vec<ReplicaId>> {
        let peers = self.engine.read(|tx| Box::pin(async move { notes::peers(tx).await }));
        Ok(peers.await?.into_iter().map(|(peer, _)| peer).collect())
    }

    /// Forgets a peer that will not come back, such as a server that was replaced: it does not count any more for
    /// what is pending, and no bases are kept for it. What was parked with it stays. If it does come back, it is met
    /// anew and nothing is lost. Says whether it was known.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn forget_peer(&self, peer: ReplicaId) -> Result<bool> {
        self.engine
            .run(Access::WRITE, move |tx| {
                Box::pin(async move {
                    let peers = notes::peers(tx).await?;
                    tx.note(Room::Peer, &notes::peer_key(peer), None).await?;
                    let left = peers.iter().filter(|(other, _)| *other != peer);
                    if let Some(everywhere) = left.map(|(_, state)| state.pushed).min() {
                        tx.drop_bases(everywhere).await?;
                    }
                    Ok(peers.iter().any(|(other, _)| *other == peer))
                })
            })
            .await
    }

    /// Goes on under a new replica id: call it after this store was restored from a backup or copied, where it
    /// cannot notice by itself. Nothing is lost; peers are asked what they lack.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn restored(&self) -> Result<ReplicaId> {
        self.engine.take_new_name().await
    }

    /// Takes away the tombstones whose time has come, see [`WorkspaceBuilder::retention`]; gives how many went. Looks at
    /// every change once.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn purge(&self) -> Result<u64> {
        self.engine.purge().await
    }

    /// The newest checkpoint: everything committed here up to now, made durable first. LoopBack's `checkpoint`;
    /// unlike there nothing is opened or closed by it.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        newest_checkpoint(self).await
    }

    /// The newest checkpoint, as it is read, durable or not. LoopBack's `currentCheckpoint`.
    ///
    /// # Errors
    /// What the store fails with.
    #[doc(alias = "currentCheckpoint")]
    pub async fn current_checkpoint(&self) -> Result<Checkpoint> {
        self.engine.newest_checkpoint(Access::READ.feed()).await
    }

    async fn report(&self, summary: Summary, swapped: bool) -> Result<SyncReport> {
        let peer = summary.peer.ok_or_else(|| Error::new(ErrorKind::Protocol, "the peer has no name"))?;
        let open = match summary.parked.is_empty() {
            true => Vec::new(),
            false => {
                let parked = summary.parked;
                let states =
                    self.engine.run(Access::READ.long(), move |tx| Box::pin(with_states(tx, parked)));
                inbox::as_one(self.engine.models(), states.await?)
            }
        };
        let rejected = open.iter().filter_map(|(parked, _)| Rejected::of(parked)).collect();
        let conflicts =
            open.into_iter().filter(|(parked, _)| matches!(parked.matter, Matter::Conflict { .. })).collect();
        Ok(SyncReport {
            peer,
            pushed: summary.pushed,
            pulled: summary.pulled,
            requests: summary.requests,
            level: summary.level,
            rejected,
            merged: summary.rebased,
            conflicts,
            engine: self.engine.clone(),
            swapped,
        })
    }
}

/// Ties the lifetimes of a transaction and its work together.
async fn run_in<'t, R, F>(transaction: &'t mut WorkspaceTransaction<'t>, work: F) -> Result<R>
where
    F: FnOnce(&'t mut WorkspaceTransaction<'t>) -> BoxFuture<'t, Result<R>>,
{
    work(transaction).await
}

/// Reads and writes inside [`Workspace::transaction`].
pub struct WorkspaceTransaction<'t> {
    tx: &'t mut dyn Transaction,
    engine: Engine,
    now: Stamp,
}

impl fmt::Debug for WorkspaceTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkspaceTransaction").finish_non_exhaustive()
    }
}

impl WorkspaceTransaction<'_> {
    /// The record with this id, as this transaction sees it.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    pub async fn get<T: Syncable>(&mut self, id: &T::Id) -> Result<Option<T>> {
        let schema = self.engine.models().get(T::SCHEMA.name)?.schema;
        let found = self.tx.read(schema, &[id.to_id()]).await?.pop().flatten();
        Ok(found.map(T::from_record).transpose()?)
    }

    /// Makes a record and gives its id; see [`Collection::create`].
    ///
    /// # Errors
    /// As [`Collection::create`].
    pub async fn create<T: Syncable>(&mut self, mut value: T) -> Result<T::Id> {
        let env = self.engine.env().clone();
        if let Some(fresh) = value.id().filled(&|| fresh_uuid(&*env)) {
            value.set_id(fresh);
        }
        self.write(write_of(&value, Expect::Absent)?).await?;
        Ok(value.id())
    }

    /// Makes or replaces a record.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub async fn upsert<T: Syncable>(&mut self, value: &T) -> Result<()> {
        self.write(write_of(value, Expect::Any)?).await
    }

    /// Replaces a record that is there.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it is not; otherwise as [`Collection::upsert`].
    pub async fn update<T: Syncable>(&mut self, value: &T) -> Result<()> {
        self.write(write_of(value, Expect::Present)?).await
    }

    /// Deletes a record; says whether there was one.
    ///
    /// # Errors
    /// As [`Collection::delete`].
    pub async fn delete<T: Syncable>(&mut self, id: &T::Id) -> Result<bool> {
        let write = Write { schema: T::SCHEMA, id: id.to_id(), record: None, expect: Expect::Any };
        match self.write(write).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn write(&mut self, write: Write) -> Result<()> {
        self.engine.models().get(write.schema.name)?;
        let name = format!("{} {}", write.schema.name, write.id);
        let saved = write_one(&mut *self.tx, write, self.now).await;
        saved.map(|_| ()).map_err(|error| error.context(format!("writing {name} in a transaction")))
    }
}

/// What can be the source or target of a replication: a [`Workspace`] or any [`Replica`].
pub trait AsReplica: MaybeSend + MaybeSync {
    /// The replica.
    fn as_replica(&self) -> &dyn Replica;

    /// The replica, to keep.
    fn to_replica(&self) -> Arc<dyn Replica>;
}

impl AsReplica for Workspace {
    fn as_replica(&self) -> &dyn Replica {
        &self.engine
    }

    fn to_replica(&self) -> Arc<dyn Replica> {
        Arc::new(self.engine.clone())
    }
}

impl<R: Replica + Clone> AsReplica for R {
    fn as_replica(&self) -> &dyn Replica {
        self
    }

    fn to_replica(&self) -> Arc<dyn Replica> {
        Arc::new(self.clone())
    }
}

/// A sync about to run; await it.
#[derive(Debug)]
#[must_use = "a sync runs when it is awaited"]
pub struct Sync<'a> {
    workspace: &'a Workspace,
    peer: &'a dyn AsReplica,
    plan: Plan,
}

impl fmt::Debug for dyn AsReplica + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_replica().fmt(f)
    }
}

impl<'a> Sync<'a> {
    /// Only sends; nothing is pulled.
    pub fn push_only(mut self) -> Self {
        self.plan = Plan { push: true, pull: false, ..self.plan };
        self
    }

    /// Only pulls; nothing is sent.
    pub fn pull_only(mut self) -> Self {
        self.plan = Plan { push: false, pull: true, ..self.plan };
        self
    }

    /// Of this model pulls only the records that match; of other models everything. Said for several models, each is
    /// narrowed; for one model twice, both have to hold.
    ///
    /// A record that does not match any more leaves this store, and comes back when it does; an edit is sent first. When
    /// another filter is given than the last time, or none, revisions are compared and only what is lacking is sent. What
    /// a record refers to has to match as well to come along.
    ///
    /// ```
    /// # use sync_runtime::{AsReplica, Result, Workspace, prelude::*};
    /// # #[derive(Debug, Clone, PartialEq, Syncable)]
    /// # struct Todo { #[sync(id)] id: String, title: String, done: bool }
    /// # async fn example(phone: &Workspace, server: &impl AsReplica) -> Result<()> {
    /// phone.sync(server).only(TodoField::Done.eq(false)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn only<T: Syncable>(mut self, condition: Condition<T>) -> Self {
        self.plan.only = narrowed(self.plan.only, condition);
        self
    }

    pub(crate) fn only_what(mut self, only: Only) -> Self {
        self.plan.only = only;
        self
    }

    /// At most so many records travel at a time; the peer's own limit holds as well.
    pub fn page_size(mut self, records: usize) -> Self {
        self.plan.page = records;
        self
    }

    /// Tells how far the sync is, after each page.
    pub fn progress(mut self, tell: impl Fn(Progress) + Send + std::marker::Sync + 'static) -> Self {
        self.plan.progress = Some(Arc::new(tell));
        self
    }

    async fn run(self) -> Result<SyncReport> {
        let peer = self.peer.as_replica();
        let swapped = !self.plan.push;
        let mut summary = session::sync(&self.workspace.engine, peer, self.plan).await?;
        // A conflict that stood before is not met again: its record is neither sent nor does it come.
        if let Some(peer) = summary.peer {
            let engine = &self.workspace.engine;
            let models = engine.models().clone();
            let standing = engine.run(Access::READ.long(), move |tx| {
                Box::pin(async move { inbox::conflicts_with(tx, &models, peer).await })
            });
            summary.file(standing.await?);
        }
        self.workspace.report(summary, swapped).await
    }
}

impl<'a> IntoFuture for Sync<'a> {
    type Output = Result<SyncReport>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Replicates one way and reports.
pub(crate) async fn run_replication(
    source: &dyn AsReplica,
    target: &dyn AsReplica,
    route: Route,
) -> Result<ReplicationReport> {
    let (source, target) = (source.as_replica(), target.as_replica());
    let done: Replicated = replicate(source, target, &route).await?;
    let rejected = done.rejected.iter().map(|(state, rejection)| Rejected {
        model: state.change.schema.name,
        id: state.change.id.clone(),
        by_us: false,
        code: rejection.code.clone(),
        reason: rejection.reason.clone(),
    });
    let mut rejected: Vec<Rejected> = rejected.collect();
    // A pull is kept by its target, which sees the source as the peer.
    let keeper = match (target.engine(), source.engine()) {
        (Some(engine), _) => Some((engine, done.source, true)),
        (None, Some(engine)) => Some((engine, done.target, false)),
        (None, None) => None,
    };
    let conflicts = match keeper {
        Some((engine, peer, swapped)) => {
            let workspace = Workspace { engine: engine.clone() };
            let summary =
                Summary { peer: Some(peer), parked: done.parked, level: done.level, ..Summary::default() };
            let report = workspace.report(summary, swapped).await?;
            rejected.extend(report.rejected.iter().cloned());
            ReplicationConflicts::Kept(report)
        }
        None => ReplicationConflicts::Loose(done.loose),
    };
    let level = done.level;
    Ok(ReplicationReport { applied: done.applied, checkpoints: done.checkpoints, level, rejected, conflicts })
}

/// The newest checkpoint of a replica.
pub(crate) async fn newest_checkpoint(replica: &dyn AsReplica) -> Result<Checkpoint> {
    replica.as_replica().checkpoint(&crate::replica::Caller::owner()).await
}
