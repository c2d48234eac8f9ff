//! Where records stand with the peers: synced, waiting, in conflict, refused; and what can be done with a refused one.

use crate::change::{Change, State};
use crate::conflict::Conflict;
use crate::engine::inbox::{self, Matter, Parked};
use crate::engine::leaving;
use crate::engine::left;
use crate::engine::notes::{self, PeerState};
use crate::engine::settle;
use crate::env::BoxFuture;
use crate::record::{Id, Record};
use crate::rectify::stamp_anew;
use crate::report::Rejected;
use crate::schema::{ModelSchema, Models};
use crate::store::{Access, Expect, Feed, Transaction, Unreadable, Write};
use crate::syncable::{ModelId, Syncable};
use crate::version::{Position, ReplicaId, Revision};
use crate::workspace::Workspace;
use crate::{Error, ErrorKind, Result, codec};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// How many changes are read at a time.
const BATCH: usize = 500;

/// Where a record stands with the peers of its workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Every peer that this workspace pushes to holds the record as it is here.
    Synced,
    /// It is to be sent.
    NeedsSync,
    /// Neither side knew of the other's edit; see [`Workspace::conflicts`].
    Conflicted,
    /// A peer, or this store, refuses it, with this reason.
    Rejected(String),
}

/// The records of a model by status, each by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statuses<I> {
    /// How many live records every peer holds as they are here.
    pub synced: u64,
    /// Records that are to be sent, deleted ones too.
    pub needs_sync: Vec<I>,
    /// Records in conflict.
    pub conflicted: Vec<I>,
    /// Records that are refused, with the reasons.
    pub rejected: Vec<(I, String)>,
}

/// A record that is to be sent. As serde writes it, it can be kept outside the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingChange {
    /// The model.
    pub model: &'static str,
    /// The record's id, as peers read it.
    #[serde(serialize_with = "write_id")]
    pub id: Id,
    /// Whether the record was deleted.
    pub deleted: bool,
    /// The revision that is to be sent.
    pub revision: Revision,
    /// The record as it is to be sent; `None` if it was deleted.
    pub record: Option<serde_json::Value>,
}

fn write_id<S: serde::Serializer>(id: &Id, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    codec::id(id).serialize(serializer)
}

impl PendingChange {
    fn of(state: State) -> Result<Self> {
        let State { change, record } = state;
        let json = |record: Record| -> Result<serde_json::Value> {
            let written = codec::wire_record(change.schema, &record, change.unknown.as_deref());
            serde_json::to_value(written).map_err(|error| {
                let message = format!("reading {} to be exported", change.name());
                Error::new(ErrorKind::InvalidValue, message).with_source(error)
            })
        };
        Ok(PendingChange {
            model: change.schema.name,
            deleted: change.is_delete(),
            revision: change.revision(),
            record: record.map(json).transpose()?,
            id: change.id.clone(),
        })
    }
}

type Peers = Vec<(ReplicaId, PeerState)>;

/// Whether every peer holds this change. Without peers nobody does.
fn is_everywhere(change: &Change, peers: &Peers) -> bool {
    let holds = |(peer, state): &(ReplicaId, PeerState)| {
        change.position <= state.pushed || change.origin == Some(*peer)
    };
    !peers.is_empty() && peers.iter().all(holds)
}

/// The states that some peer does not hold, from one position on; with where to go on, if there may be more.
async fn pending_after(
    tx: &mut dyn Transaction,
    peers: &Peers,
    schema: Option<&'static ModelSchema>,
    after: Position,
    data: bool,
) -> Result<(Vec<State>, Option<Position>)> {
    let not_from = match &peers[..] {
        [(only, _)] => Some(*only),
        _ => None,
    };
    let feed = Feed { limit: BATCH, not_from, schema, data, ..Feed::after(after) };
    let mut states = tx.feed(&feed).await?;
    let next = states.last().map(|state| state.change.position);
    // What cannot be read is not sent.
    let is_unread = |state: &State| data && state.lacks_record();
    states.retain(|state| !is_unread(state) && !is_everywhere(&state.change, peers));
    Ok((states, next))
}

fn first_pending(peers: &Peers) -> Position {
    peers.iter().map(|(_, peer)| peer.pushed).min().unwrap_or(0)
}

/// The two revisions of a conflict, which tell one version of it from another.
type Versions = (Option<Revision>, Revision);
/// The statuses of a model's records that are not synced.
type Open = BTreeMap<Id, (Status, Option<Versions>)>;

async fn open_statuses(
    tx: &mut dyn Transaction,
    models: &Models,
    schema: &'static ModelSchema,
) -> Result<Open> {
    let mut open = Open::new();
    let peers = notes::peers(tx).await?;
    let mut after = Some(first_pending(&peers));
    while let Some(from) = after {
        let (states, next) = pending_after(tx, &peers, Some(schema), from, false).await?;
        open.extend(states.into_iter().map(|state| (state.change.id, (Status::NeedsSync, None))));
        after = next;
    }
    for (parked, mine) in open_entries(tx, models, schema, None).await? {
        let status = match &parked.matter {
            Matter::Conflict { theirs, .. } => {
                let versions = (mine.as_ref().map(|mine| mine.change.revision()), theirs.change.revision());
                (Status::Conflicted, Some(versions))
            }
            Matter::Rejected { rejection, .. } | Matter::Refused { rejection, .. } => {
                if matches!(open.get(&parked.id), Some((Status::Conflicted, _))) {
                    continue;
                }
                (Status::Rejected(rejection.reason.clone()), None)
            }
        };
        open.insert(parked.id, status);
    }
    Ok(open)
}

/// The entries of a model, or of one record, that are still open, with this replica's state of each record.
async fn open_entries(
    tx: &mut dyn Transaction,
    models: &Models,
    schema: &'static ModelSchema,
    id: Option<&Id>,
) -> Result<Vec<(Parked, Option<State>)>> {
    let entries = inbox::list(tx, models, schema, id).await?;
    with_states(tx, entries).await
}

/// The entries that are still open, with the state of each record here.
pub(crate) async fn with_states(
    tx: &mut dyn Transaction,
    entries: Vec<Parked>,
) -> Result<Vec<(Parked, Option<State>)>> {
    let mut open = Vec::with_capacity(entries.len());
    for parked in entries {
        let mine = tx.states(parked.schema, std::slice::from_ref(&parked.id)).await?.pop().flatten();
        if !settle::is_settled(&parked.matter, mine.as_ref().map(|state| &state.change)) {
            open.push((parked, mine));
        }
    }
    Ok(open)
}

impl Workspace {
    /// The conflicts of a model that wait for a decision, with this replica as source.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    pub async fn conflicts<T: Syncable>(&self) -> Result<Vec<Conflict<T>>> {
        let open = self.open_entries(self.registered::<T>()?, None).await?;
        let read = open.iter().map(|(parked, mine)| Conflict::read(self.engine(), parked, mine.clone()));
        Ok(read.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The conflicts of one record, one for each peer that it conflicts with; empty where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    pub async fn conflicts_of<T: Syncable>(&self, id: impl Into<T::Id>) -> Result<Vec<Conflict<T>>> {
        let open = self.open_entries(self.registered::<T>()?, Some(id.into().to_id())).await?;
        let read = open.iter().map(|(parked, mine)| Conflict::read(self.engine(), parked, mine.clone()));
        Ok(read.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Records of a model that a peer or this store refuses.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    pub async fn rejected<T: Syncable>(&self) -> Result<Vec<Rejected>> {
        let open = self.open_entries(self.registered::<T>()?, None).await?;
        Ok(open.iter().filter_map(|(parked, _)| Rejected::of(parked)).collect())
    }

    /// Rows of a model with a value that no peer can take, which another program wrote; at most `limit`. No sync takes
    /// them along, until somebody corrects or deletes them. Reads the whole table.
    ///
    /// A sync that would have sent one reports it as refused too, see [`Workspace::rejected`].
    ///
    /// ```
    /// # use sync_runtime::{Workspace, prelude::*};
    /// # #[derive(Debug, Clone, PartialEq, Syncable)]
    /// # struct Reading { #[sync(id)] id: String, degrees: f64 }
    /// # async fn example(workspace: Workspace) -> sync_runtime::Result<()> {
    /// for row in workspace.unreadable::<Reading>(100).await? {
    ///     println!("{} {:?}, field {}: {}", row.model, row.id, row.field, row.reason);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    pub async fn unreadable<T: Syncable>(&self, limit: usize) -> Result<Vec<Unreadable>> {
        let schema = self.registered::<T>()?;
        let looked = self.engine().run(Access::READ.long().feed(), move |tx| {
            Box::pin(async move { tx.unreadable(schema, None, limit).await })
        });
        looked.await
    }

    /// Where a record stands; `None` if there never was one of this id.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    pub async fn status<T: Syncable>(&self, id: impl Into<T::Id>) -> Result<Option<Status>> {
        let schema = self.registered::<T>()?;
        let id = id.into().to_id();
        let open = self.open_entries(schema, Some(id.clone())).await?;
        let mut status = None;
        for (parked, _) in &open {
            match &parked.matter {
                Matter::Conflict { .. } => status = Some(Status::Conflicted),
                Matter::Rejected { rejection, .. } | Matter::Refused { rejection, .. } => {
                    status.get_or_insert(Status::Rejected(rejection.reason.clone()));
                }
            }
        }
        let sent = self.engine().read(move |tx| {
            Box::pin(async move {
                let ids = [id];
                if let Some(row) = tx.unreadable(schema, Some(&ids), 1).await?.pop() {
                    return Ok(Some(Status::Rejected(row.reason)));
                }
                let Some(change) = tx.changes(schema, &ids).await?.pop().flatten() else {
                    return Ok(None);
                };
                let is_sent = is_everywhere(&change, &notes::peers(tx).await?);
                Ok(Some(if is_sent { Status::Synced } else { Status::NeedsSync }))
            })
        });
        let sent = sent.await?;
        Ok(status.or(sent))
    }

    /// The records of a model by status. Reads what is open, and counts the rest.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`]; what the store fails with.
    pub async fn statuses<T: Syncable>(&self) -> Result<Statuses<T::Id>> {
        let (schema, models) = (self.registered::<T>()?, self.engine().models().clone());
        let read = self.engine().run(Access::READ.long().feed(), move |tx| {
            Box::pin(async move {
                let open = open_statuses(tx, &models, schema).await?;
                let ids: Vec<Id> = open.keys().cloned().collect();
                let live = tx.read(schema, &ids).await?.iter().flatten().count() as u64;
                Ok((open, tx.count(schema, &crate::query::Filter::All).await?.saturating_sub(live)))
            })
        });
        let (open, synced) = read.await?;
        let mut statuses =
            Statuses { synced, needs_sync: Vec::new(), conflicted: Vec::new(), rejected: Vec::new() };
        for (id, (status, _)) in open {
            let Some(id) = T::Id::from_id(&id) else { continue };
            match status {
                Status::Synced => {}
                Status::NeedsSync => statuses.needs_sync.push(id),
                Status::Conflicted => statuses.conflicted.push(id),
                Status::Rejected(reason) => statuses.rejected.push((id, reason)),
            }
        }
        Ok(statuses)
    }

    /// The records that are still to be sent to some peer, at most `limit`, oldest change first. Before the first
    /// sync that is everything. Reads only what is pending.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn pending(&self, limit: usize) -> Result<Vec<PendingChange>> {
        let states = self.engine().run(Access::READ.long().feed(), move |tx| {
            Box::pin(async move {
                let peers = notes::peers(tx).await?;
                let mut pending = Vec::new();
                let mut after = Some(first_pending(&peers));
                while let Some(from) = after.filter(|_| pending.len() < limit) {
                    let (states, next) = pending_after(tx, &peers, None, from, true).await?;
                    pending.extend(states);
                    after = next;
                }
                pending.truncate(limit);
                Ok(pending)
            })
        });
        states.await?.into_iter().map(PendingChange::of).collect()
    }

    /// Gives up the edit of a record that a peer refused: it becomes again what that peer holds, or is deleted if the
    /// peer never had it; one that is [`ErrorKind::Gone`] there goes from here too, without a trace. Needs no connection. The next sync tells the peer.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if no peer refuses the record as it is now; [`ErrorKind::UnknownModel`]; what the store
    /// fails with.
    pub async fn revert<T: Syncable>(&self, id: impl Into<T::Id>) -> Result<()> {
        self.with_rejected::<T, _>(id.into().to_id(), |tx, parked, mine, now| {
            Box::pin(async move {
                let Matter::Rejected { held, rejection, .. } = parked.matter.clone() else { return Ok(()) };
                let (schema, id) = (parked.schema, parked.id.clone());
                let record = held.and_then(|held| held.record);
                let name = parked.name();
                if rejection.code == ErrorKind::Gone.code() {
                    let erased = leaving::erase(tx, &leaving::tombstone(&mine), now).await?;
                    erased.map_err(|reason| {
                        Error::new(ErrorKind::Constraint, reason).context(format!("reverting {name}"))
                    })?;
                    left::note(tx, &[(schema, id)], now).await?;
                    return inbox::remove(tx, &parked).await;
                }
                for saved in tx.save(vec![Write { schema, id, record, expect: Expect::Any }], now).await? {
                    crate::collection::saved(saved, schema, &parked.id)
                        .map_err(|error| error.context(format!("reverting {name}")))?;
                }
                inbox::remove(tx, &parked).await
            })
        })
        .await
    }

    /// Sends a record that a peer refused once more with the next sync, as it is.
    ///
    /// # Errors
    /// As [`Workspace::revert`].
    pub async fn retry<T: Syncable>(&self, id: impl Into<T::Id>) -> Result<()> {
        self.with_rejected::<T, _>(id.into().to_id(), |tx, _, mine, now| {
            Box::pin(async move {
                // The entry is about the old revision, so it is open no more; what the peer holds stands in it.
                let mine = State { change: mine.change.unwritten(), ..mine };
                stamp_anew(tx, mine, None, now).await
            })
        })
        .await
    }

    /// Does something with the record of each peer's refusal, in one transaction.
    async fn with_rejected<T, F>(&self, id: Id, act: F) -> Result<()>
    where
        T: Syncable,
        F: for<'t> Fn(&'t mut dyn Transaction, Parked, State, i64) -> BoxFuture<'t, Result<()>>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let (schema, models) = (self.registered::<T>()?, self.engine().models().clone());
        let now = self.engine().write_clock().await?;
        self.engine()
            .run(Access::WRITE, move |tx| {
                Box::pin(async move {
                    let entries = open_entries(tx, &models, schema, Some(&id)).await?.into_iter();
                    let mut refused =
                        entries.filter(|(parked, _)| matches!(parked.matter, Matter::Rejected { .. }));
                    let Some((parked, Some(mine))) = refused.next() else {
                        let message = format!("no peer refuses {} {id} as it is now", schema.name);
                        return Err(Error::new(ErrorKind::NotFound, message));
                    };
                    act(tx, parked, mine, now).await
                })
            })
            .await
    }

    /// Tells which records of a model change their status, whatever changed it: an edit, a sync, a resolution, in this
    /// process or another.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`].
    pub fn watch_status<T: Syncable>(&self) -> Result<WatchStatus<T>> {
        self.registered::<T>()?;
        Ok(WatchStatus { workspace: self.clone(), last: None, seen: None, model: std::marker::PhantomData })
    }

    /// Tells when conflicts of a model come, change or go.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`].
    pub fn watch_conflicts<T: Syncable>(&self) -> Result<WatchConflicts<T>> {
        Ok(WatchConflicts { status: self.watch_status()? })
    }

    /// Parked entries that are still open, with this replica's state of each record.
    async fn open_entries(
        &self,
        schema: &'static ModelSchema,
        id: Option<Id>,
    ) -> Result<Vec<(Parked, Option<State>)>> {
        let models = self.engine().models().clone();
        self.engine()
            .run(Access::READ.long(), move |tx| {
                Box::pin(async move { open_entries(tx, &models, schema, id.as_ref()).await })
            })
            .await
    }
}

/// Tells which records change their status; see [`Workspace::watch_status`].
pub struct WatchStatus<T> {
    workspace: Workspace,
    last: Option<Open>,
    seen: Option<u64>,
    model: std::marker::PhantomData<fn() -> T>,
}

impl<T: Syncable> fmt::Debug for WatchStatus<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStatus").field("model", &T::SCHEMA.name).finish_non_exhaustive()
    }
}

impl<T: Syncable> WatchStatus<T> {
    /// Starts here: what changes from now on is told. [`WatchStatus::next`] does it too.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn start(&mut self) -> Result<()> {
        if self.last.is_none() {
            self.last = Some(self.read().await?);
        }
        Ok(())
    }

    /// Waits until the status of records changes, and tells which have which now.
    ///
    /// # Errors
    /// What the store fails with; [`ErrorKind::Closed`] when the workspace is closed.
    pub async fn next(&mut self) -> Result<Vec<(T::Id, Status)>> {
        self.start().await?;
        loop {
            let engine = self.workspace.engine();
            let committed = engine.next_commit();
            engine.still_open()?;
            let version = engine.store().version().await?;
            if self.seen != Some(version) {
                let now = self.read().await?;
                self.seen = Some(version);
                let before = self.last.replace(now.clone()).unwrap_or_default();
                let mut changed: Open = Open::new();
                for (id, status) in &now {
                    if before.get(id) != Some(status) {
                        changed.insert(id.clone(), status.clone());
                    }
                }
                for (id, (_, conflict)) in before {
                    if !now.contains_key(&id) {
                        changed.insert(id, (Status::Synced, conflict));
                    }
                }
                if !changed.is_empty() {
                    let typed = changed
                        .into_iter()
                        .filter_map(|(id, (status, _))| Some((T::Id::from_id(&id)?, status)));
                    return Ok(typed.collect());
                }
            }
            committed.await;
        }
    }

    async fn read(&self) -> Result<Open> {
        let models = self.workspace.engine().models().clone();
        let read = self.workspace.engine().run(Access::READ.long().feed(), move |tx| {
            Box::pin(async move { open_statuses(tx, &models, T::SCHEMA).await })
        });
        read.await
    }
}

/// Tells when conflicts come, change or go; see [`Workspace::watch_conflicts`].
pub struct WatchConflicts<T> {
    status: WatchStatus<T>,
}

impl<T: Syncable> fmt::Debug for WatchConflicts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchConflicts").field("model", &T::SCHEMA.name).finish_non_exhaustive()
    }
}

impl<T: Syncable> WatchConflicts<T> {
    /// Starts here: what changes from now on is told. [`WatchConflicts::next`] does it too.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn start(&mut self) -> Result<()> {
        self.status.start().await
    }

    /// Waits until conflicts come, change or go, and gives those that are open now.
    ///
    /// # Errors
    /// What the store fails with; [`ErrorKind::Closed`] when the workspace is closed.
    pub async fn next(&mut self) -> Result<Vec<Conflict<T>>> {
        self.status.start().await?;
        let conflicts = |open: &Open| -> BTreeMap<Id, Option<Versions>> {
            let conflicts = open.iter().filter(|(_, (status, _))| *status == Status::Conflicted);
            conflicts.map(|(id, (_, versions))| (id.clone(), *versions)).collect()
        };
        loop {
            let before = self.status.last.as_ref().map(conflicts).unwrap_or_default();
            self.status.next().await?;
            if self.status.last.as_ref().map(conflicts).unwrap_or_default() != before {
                return self.status.workspace.conflicts::<T>().await;
            }
        }
    }
}
