//! Purging: tombstones and exits go once everybody who is known has seen them, or nobody is waited for any more.
//!
//! The store remembers up to where it purged, as a position and as a stamp. Who comes with an older checkpoint compares
//! everything; who has no good one cannot bring back what is not newer than that stamp.

use super::Engine;
use super::grants::{self, Grants};
use super::inbox;
use super::left;
use super::notes::{self, PeerState};
use super::scopes;
use crate::Result;
use crate::change::{Change, State};
use crate::record::Id;
use crate::schema::ModelSchema;
use crate::store::{Access, Feed, Room, Transaction};
use crate::version::{Position, ReplicaId, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The key of the horizon.
const HORIZON: &str = "purged";
/// What the keys of the replicas that pull here begin with.
const PULLERS: &str = "seen/";
/// What the keys of the replicas begin with that wrote what was purged.
const WRITERS: &str = "gone/";
/// How many changes are looked at in one transaction.
const STEP: usize = 500;
/// How often it is looked whether it is time, in microseconds.
const LOOK: Stamp = 3_600_000_000;
/// How often it is purged, and how often a replica's progress is noted, in microseconds.
const DAY: Stamp = 24 * LOOK;

/// How long tombstones are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Never shorter than this, in microseconds.
    pub(crate) least: Stamp,
    /// And for this long, where a known replica has not seen them. One that was not seen for so long is known no more.
    pub(crate) most: Stamp,
}

impl Retention {
    pub(crate) fn of(least: Duration, most: Duration) -> Self {
        let micros = |time: Duration| Stamp::try_from(time.as_micros()).unwrap_or(Stamp::MAX);
        Retention { least: micros(least), most: micros(most.max(least)) }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Retention { least: 90 * DAY, most: 365 * DAY }
    }
}

/// Up to where tombstones are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Horizon {
    pub(crate) position: Position,
    pub(crate) stamp: Stamp,
    /// When it was last looked for more.
    at: Stamp,
}

/// How far a replica has pulled here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    position: Position,
    at: Stamp,
    /// Whether it has only asked for everything up to there, and not shown that it has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    asked: bool,
    /// The horizon up to which it has compared.
    #[serde(default)]
    compared: Position,
}

impl Seen {
    /// Whether nothing was purged that it had not seen.
    pub(crate) fn is_good(self, horizon: Horizon) -> bool {
        horizon.position == 0 || !self.asked && self.position.max(self.compared) >= horizon.position
    }

    /// What is to be noted of a replica that asks for everything up to a position: it is known from then on.
    pub(crate) fn asks(self, position: Position, now: Stamp) -> Option<Seen> {
        (self.at == 0).then_some(Seen { position, at: now, asked: true, compared: 0 })
    }

    /// What is to be noted of a replica that shows a position now, and the horizon up to which it has compared; `None` where
    /// what is known will do. It is a write, so that happens once a day, and when it comes past the horizon.
    pub(crate) fn after(
        self,
        position: Position,
        compared: Position,
        horizon: Horizon,
        now: Stamp,
    ) -> Option<Seen> {
        let shown = Seen { position, at: now, asked: false, compared };
        let is_past = (self.asked || !self.is_good(horizon)) && shown.is_good(horizon);
        (is_past || now - self.at >= DAY || self.at > now).then_some(shown)
    }
}

pub(crate) fn horizon_key() -> String {
    HORIZON.to_owned()
}

pub(crate) fn seen_key(replica: ReplicaId) -> String {
    format!("{PULLERS}{replica}")
}

/// Where it stands that a replica wrote something that was purged.
pub(crate) fn writer_key(replica: ReplicaId) -> String {
    format!("{WRITERS}{replica}")
}

pub(crate) async fn horizon(tx: &mut dyn Transaction) -> Result<Horizon> {
    Ok(notes::load(tx, Room::Peer, HORIZON).await?.unwrap_or_default())
}

/// Notes that records up to this stamp were taken away without a tombstone, after this was the newest position: whoever has
/// seen no more than that has to compare.
pub(crate) async fn raise(tx: &mut dyn Transaction, stamp: Stamp, after: Position) -> Result<()> {
    let before = horizon(tx).await?;
    // Where positions are given out at the commit, what went has taken none, nor did what went before it.
    let position = tx.newest().await?.max(after + 1).max(before.position + 1);
    let raised = Horizon { position, stamp: before.stamp.max(stamp), ..before };
    notes::save(tx, Room::Peer, HORIZON, &raised).await
}

/// Whether any replica that is known has pulled here.
pub(crate) async fn is_pulled(tx: &mut dyn Transaction) -> Result<bool> {
    Ok(!tx.notes_after(Room::Peer, PULLERS, PULLERS, 1).await?.is_empty())
}

/// Notes who wrote what is gone without a trace: of theirs, what is not newer is not taken for new.
pub(crate) async fn note_writers(
    tx: &mut dyn Transaction,
    changes: impl Iterator<Item = &Change>,
) -> Result<()> {
    let writers: BTreeSet<ReplicaId> =
        changes.flat_map(|change| change.ancestry.entries().map(|revision| revision.replica)).collect();
    let rows = writers.into_iter().map(|replica| (writer_key(replica), Some(Vec::new())));
    tx.note_all(Room::Peer, rows.collect()).await
}

/// Up to where every known replica has seen everything; `None` where nobody is known. Forgets those that were not seen for
/// the longest time.
async fn seen_by_all(
    tx: &mut dyn Transaction,
    peers: &[(ReplicaId, PeerState)],
    now: Stamp,
    retention: Retention,
) -> Result<Option<Position>> {
    let mut seen: Option<Position> = None;
    let mut add = |position: Position| seen = Some(seen.map_or(position, |other| other.min(position)));
    for (_, peer) in peers {
        add(peer.pushed);
    }
    let mut forgotten = Vec::new();
    for (key, bytes) in tx.notes(Room::Peer, PULLERS).await? {
        match serde_json::from_slice::<Seen>(&bytes) {
            Ok(seen) if now.saturating_sub(seen.at) < retention.most => add(seen.position),
            _ => {
                let replica = key.strip_prefix(PULLERS).and_then(|replica| replica.parse().ok());
                forgotten.extend(replica.map(|replica| (grants::key(replica), None)));
                forgotten.push((key, None));
            }
        }
    }
    tx.note_all(Room::Peer, forgotten).await?;
    Ok(seen)
}

/// Purges among the next changes behind a position; gives where to go on, and how many went.
async fn step(
    tx: &mut dyn Transaction,
    after: Position,
    now: Stamp,
    retention: Retention,
) -> Result<(Option<Position>, u64)> {
    let peers = notes::peers(tx).await?;
    let seen = seen_by_all(tx, &peers, now, retention).await?;
    let states = tx.feed(&Feed { limit: STEP, ..Feed::after(after) }).await?;
    let next = states.last().map(|state| state.change.position).filter(|_| states.len() == STEP);
    let is_due = |change: &Change| {
        let age = now.saturating_sub(change.revision().stamp);
        let is_seen = seen.is_none_or(|seen| change.position <= seen);
        // P1: a delete that was made here is lost with its tombstone while no peer has it, however long that takes.
        let mut at_peers = peers.iter().map(|(_, peer)| peer.has_acknowledged(change.position));
        let is_lost = change.origin.is_none() && !peers.is_empty() && !at_peers.any(|has_it| has_it);
        change.is_delete() && age > retention.least && (is_seen || age > retention.most) && !is_lost
    };
    let due: Vec<State> = states.into_iter().filter(|state| is_due(&state.change)).collect();
    // A delete that a peer refused waits for somebody to decide.
    let due = inbox::not_parked(tx, due).await?;
    let mut horizon = horizon(tx).await?;
    let before = horizon.position;
    let mut by_model: BTreeMap<&'static str, (&'static ModelSchema, Vec<Id>)> = BTreeMap::new();
    for State { change, .. } in &due {
        horizon.position = horizon.position.max(change.position);
        horizon.stamp = horizon.stamp.max(change.revision().stamp);
        let of_model = by_model.entry(change.schema.name).or_insert((change.schema, Vec::new()));
        of_model.1.push(change.id.clone());
    }
    // Who stands behind it has compared up to there, and not seen these.
    if !due.is_empty() && horizon.position == before {
        horizon.position += 1;
    }
    for (schema, ids) in by_model.into_values() {
        tx.erase(schema, &ids).await?;
        scopes::forget(tx, schema, &ids).await?;
    }
    note_writers(tx, due.iter().map(|state| &state.change)).await?;
    if next.is_none() {
        horizon.at = now;
    }
    notes::save(tx, Room::Peer, HORIZON, &horizon).await?;
    Ok((next, due.len() as u64))
}

impl Engine {
    /// Takes away the tombstones whose time has come; gives how many.
    ///
    /// # Errors
    /// What the store fails with; what was purged before stays so.
    pub(crate) async fn purge(&self) -> Result<u64> {
        let (now, retention) = (self.now(), self.0.retention);
        let (mut after, mut purged) = (Some(0), 0);
        while let Some(from) = after {
            let done = self.run(Access::WRITE.long().feed(), move |tx| {
                Box::pin(async move { step(tx, from, now, retention).await })
            });
            let (next, gone) = done.await?;
            (after, purged) = (next, purged + gone);
        }
        let by_scope = scopes::are_known(self.models());
        self.run(Access::WRITE.long(), move |tx| {
            Box::pin(async move {
                left::forget(tx, now).await?;
                let through = horizon(tx).await?.position;
                if by_scope { scopes::forget_exits(tx, through).await } else { Ok(()) }
            })
        })
        .await?;
        Ok(purged)
    }

    /// Purges if that was not done for a day, by whoever uses the store.
    pub(crate) async fn purge_daily(&self) -> Result<()> {
        let now = self.now();
        let looked = self.0.purge_looked.swap(now, Ordering::Relaxed);
        if (looked..looked.saturating_add(LOOK)).contains(&now) {
            self.0.purge_looked.store(looked, Ordering::Relaxed);
            return Ok(());
        }
        let last = self.read(|tx| Box::pin(async move { horizon(tx).await })).await?.at;
        if !(last..last.saturating_add(DAY)).contains(&now) {
            self.purge().await?;
        }
        Ok(())
    }

    /// Has somebody see to it that the store is purged once a day; waits for nothing. For servers, which call it from time
    /// to time.
    pub fn purge_in_background(&self) {
        let looked = self.0.purge_looked.load(Ordering::Relaxed);
        if (looked..looked.saturating_add(LOOK)).contains(&self.now()) {
            return;
        }
        let engine = self.clone();
        self.env().spawn(
            "syncable-purge",
            Box::pin(async move {
                // It is tried again after a while.
                let _ = engine.purge_daily().await;
            }),
        );
    }

    /// Notes how far a replica has pulled and which parts it gets, where that is worth a write.
    pub(super) async fn note_puller(
        &self,
        replica: ReplicaId,
        seen: Option<Seen>,
        granted: Option<Grants>,
    ) -> Result<()> {
        self.run(Access::WRITE, move |tx| {
            Box::pin(async move {
                if let Some(seen) = seen {
                    notes::save(tx, Room::Peer, &seen_key(replica), &seen).await?;
                }
                match granted {
                    Some(granted) => notes::save(tx, Room::Peer, &grants::key(replica), &granted).await,
                    None => Ok(()),
                }
            })
        })
        .await
    }
}
