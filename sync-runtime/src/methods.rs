//! The functions behind the methods that the derive puts on a struct, and replication of all models.

use crate::change::Change;
use crate::engine::replicate::Route;
use crate::env::BoxFuture;
use crate::query::{Condition, Filter, Query};
use crate::replica::{Caller, Pull, Pulled};
use crate::report::ReplicationReport;
use crate::schema::Models;
use crate::syncable::{Syncable, model_of};
use crate::value::ValueError;
use crate::version::Checkpoint;
use crate::workspace::{AsReplica, Workspace, newest_checkpoint, run_replication};
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A one-way replication about to run; await it, or set options first.
#[derive(Debug)]
#[must_use = "a replication runs when it is awaited"]
pub struct Replicate<'a, T> {
    source: &'a dyn AsReplica,
    target: &'a dyn AsReplica,
    filter: Result<Option<Filter>, ValueError>,
    route: Route,
    model: PhantomData<fn() -> T>,
}

impl<'a, T: Syncable> Replicate<'a, T> {
    /// Only changes after this checkpoint of the source; see [`ReplicationReport::checkpoints`]. Without it
    /// everything is compared, and only what the target lacks is sent.
    pub fn since(mut self, checkpoint: Checkpoint) -> Self {
        self.route.since = Some(checkpoint);
        self
    }

    /// Only records that match. Deletes always go, as nobody can tell any more whether they would match.
    pub fn filter(mut self, condition: Condition<T>) -> Self {
        let selection = Query::all().filter(condition).selection();
        self.filter = selection.map(|selection| Some(selection.filter));
        self
    }

    /// At most so many records travel at a time; the target's own limit holds as well.
    pub fn page_size(mut self, records: usize) -> Self {
        self.route.page = records;
        self
    }
}

impl<'a, T: Syncable> IntoFuture for Replicate<'a, T> {
    type Output = Result<ReplicationReport>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let route = Route { filter: self.filter?, ..self.route };
            let doing = || format!("replicating {}", T::SCHEMA.name);
            run_replication(self.source, self.target, route).await.map_err(|error| error.context(doing()))
        })
    }
}

/// What the other methods of the derive give; await it for the answer.
///
/// A type of its own, because rustc checks its name in the signatures of every model, and a box of a future takes it
/// twice as long.
///
/// ```
/// use sync_runtime::ModelFuture;
/// use sync_runtime::prelude::*;
///
/// #[derive(Debug, Clone, Syncable)]
/// struct Note {
///     #[sync(id)]
///     id: i64,
/// }
///
/// fn repair(workspace: &sync_runtime::Workspace) -> ModelFuture<'_, u64> {
///     Note::rectify_all_changes(workspace)
/// }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct ModelFuture<'a, T>(BoxFuture<'a, Result<T>>);

impl<'a, T> ModelFuture<'a, T> {
    pub(crate) fn new(future: BoxFuture<'a, Result<T>>) -> Self {
        ModelFuture(future)
    }
}

impl<T> Future for ModelFuture<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for ModelFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelFuture")
    }
}

/// Replicates one model one way; the derive's `replicate`.
pub fn replicate<'a, T: Syncable>(source: &'a dyn AsReplica, target: &'a dyn AsReplica) -> Replicate<'a, T> {
    let mut models = Models::default();
    models.add(model_of::<T>());
    let route = Route { schema: Some(T::SCHEMA), filter: None, since: None, page: usize::MAX, models };
    Replicate { source, target, filter: Ok(None), route, model: PhantomData }
}

/// Replicates all models one way, from the beginning or from a checkpoint of the source.
///
/// # Errors
/// What either replica fails with.
pub async fn replicate_all(
    source: &dyn AsReplica,
    target: &dyn AsReplica,
    since: Option<Checkpoint>,
) -> Result<ReplicationReport> {
    let known = source.as_replica().models().or(target.as_replica().models());
    let models = known.cloned().ok_or_else(|| {
        let message = "replicating all models between two remote replicas: neither tells which there are; \
                       replicate model by model";
        Error::new(ErrorKind::Usage, message)
    })?;
    let route = Route { schema: None, filter: None, since, page: usize::MAX, models };
    run_replication(source, target, route).await.map_err(|error| error.context("replicating"))
}

/// Repairs the tracking of one record; the derive's `rectify_change`.
///
/// # Errors
/// As [`Workspace::rectify_change`].
pub async fn rectify_change<T: Syncable>(workspace: &Workspace, id: T::Id) -> Result<bool> {
    workspace.rectify_change::<T>(id).await
}

/// Repairs the tracking of all records; the derive's `rectify_all_changes`.
///
/// # Errors
/// As [`Workspace::rectify_all_changes`].
pub async fn rectify_all_changes<T: Syncable>(workspace: &Workspace) -> Result<u64> {
    workspace.rectify_all_changes::<T>().await
}

/// The changes of one model since a checkpoint, or all; the derive's `changes`.
///
/// # Errors
/// [`ErrorKind::Incompatible`] if the checkpoint is not of this replica's history; what the replica fails with.
pub async fn changes<T: Syncable>(replica: &dyn AsReplica, since: Option<Checkpoint>) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut since = since;
    loop {
        let mut models = Models::default();
        models.add(model_of::<T>());
        let pull = Pull { since, data: false, model: Some(T::SCHEMA), ..Pull::of(models) };
        let Pulled::Page(feed) = replica.as_replica().changes(&Caller::owner(), pull).await? else {
            let message = format!("the changes of {} since a checkpoint of another history", T::SCHEMA.name);
            return Err(Error::new(ErrorKind::Incompatible, message));
        };
        changes.extend(feed.page.updates.into_iter().map(|update| update.state.change));
        if !feed.more {
            return Ok(changes);
        }
        since = Some(feed.checkpoint);
    }
}

/// The newest checkpoint of a replica; the derive's `checkpoint`.
///
/// # Errors
/// What the replica fails with.
pub async fn checkpoint(replica: &dyn AsReplica) -> Result<Checkpoint> {
    newest_checkpoint(replica).await
}
