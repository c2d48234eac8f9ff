//! Taking a new name: rule *one replica id, one history*.

use super::Engine;
use super::accounts;
use super::notes::{self, PeerState, PusherState};
use super::purge;
use crate::change::{Change, State};
use crate::env::{BoxFuture, MaybeSend, fresh_replica};
use crate::store::{Access, Feed, Room, Transaction};
use crate::version::{Ancestry, ReplicaId, Stamp};
use crate::{Error, ErrorKind, Result};

/// How many changes are stamped anew at a time.
const BATCH: usize = 500;
/// How often an answer may find the database in another history.
const LOOKS: usize = 3;
/// The key of the history that the database was last seen in.
const HISTORY_NOTE: &str = "history";
/// The key of whether somebody compared with what is here, who leaves no other trace.
const COMPARED_NOTE: &str = "compared";
/// The access of the transaction in which a new name is taken.
pub(crate) const RENAMING: Access = Access::WRITE.long().durable().feed();

impl Engine {
    /// Notices at open that the store's history broke: a peer's page stands above the newest change.
    pub(crate) async fn mend_history(&self) -> Result<()> {
        let broken = self.read(|tx| {
            Box::pin(async move {
                let newest = tx.newest().await?;
                let broken = notes::peers(tx).await?.iter().any(|(_, peer)| peer.sent() > newest);
                Ok(if broken { Some(tx.replica().await?) } else { None })
            })
        });
        if let Some(old) = broken.await? {
            self.take_new_name_after(old).await?;
        }
        Ok(())
    }

    /// Notices that the database goes on in another history than the store knows of: it was restored into another
    /// server, or a standby took over that lacked the last commits. What it gave out before may be given out again, so
    /// the store goes on under a new replica id.
    pub(crate) async fn check_history(&self) -> Result<()> {
        let history = self.read(|tx| Box::pin(async move { tx.history().await })).await?;
        let Some(history) = history.filter(|history| self.history_seen().as_ref() != Some(history)) else {
            return Ok(());
        };
        let (fresh, now, current) = (fresh_replica(&**self.env()), self.now(), history.clone());
        self.run(RENAMING, move |tx| {
            Box::pin(async move {
                let known: Option<String> = notes::load(tx, Room::Peer, HISTORY_NOTE).await?;
                if known.as_ref() == Some(&current) {
                    return Ok(());
                }
                if known.is_some() {
                    take_new_name(tx, fresh, now).await?;
                }
                notes::save(tx, Room::Peer, HISTORY_NOTE, &current).await
            })
        })
        .await?;
        self.saw_history(history);
        Ok(())
    }

    /// Notes, once, that somebody compares with what is here, and so may have it from here.
    pub(crate) async fn note_compared(&self) -> Result<()> {
        let known = self.read(|tx| Box::pin(notes::load::<bool>(tx, Room::Peer, COMPARED_NOTE)));
        if known.await?.is_some() {
            return Ok(());
        }
        self.run(Access::WRITE.durable(), |tx| {
            Box::pin(async move { notes::save(tx, Room::Peer, COMPARED_NOTE, &true).await })
        })
        .await
    }

    /// Runs work whose answer a peer gets, in the history that the store knows of. Where the database goes on in another
    /// one, the store takes its other name first.
    pub(crate) async fn answer<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: MaybeSend + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Clone + MaybeSend + 'static,
    {
        for _ in 0..LOOKS {
            let (work, seen) = (work.clone(), self.history_seen());
            let done = self.run(access, move |tx| {
                Box::pin(async move {
                    match tx.history().await? {
                        Some(history) if seen.as_ref() != Some(&history) => Ok(None),
                        _ => work(tx).await.map(Some),
                    }
                })
            });
            if let Some(done) = done.await? {
                return Ok(done);
            }
            self.check_history().await?;
        }
        let message = "the database went over into another history again and again; \
                       do the connections of the store lead to two databases?";
        Err(Error::new(ErrorKind::Busy, message))
    }

    /// Goes on under a new replica id, because of something that was seen under this one. Where another process, or
    /// task, has seen it too and was first, its new name stands.
    pub(crate) async fn take_new_name_after(&self, old: ReplicaId) -> Result<ReplicaId> {
        let (fresh, now) = (fresh_replica(&**self.env()), self.now());
        self.run(RENAMING, move |tx| {
            Box::pin(async move {
                let current = tx.replica().await?;
                if current != old {
                    return Ok(current);
                }
                take_new_name(tx, fresh, now).await?;
                Ok(fresh)
            })
        })
        .await
    }

    /// Goes on under a new replica id. What no peer has acknowledged is stamped anew on its bases; every peer is
    /// asked first what it lacks.
    pub(crate) async fn take_new_name(&self) -> Result<ReplicaId> {
        let fresh = fresh_replica(&**self.env());
        let now = self.now();
        self.run(RENAMING, move |tx| Box::pin(async move { take_new_name(tx, fresh, now).await })).await?;
        Ok(fresh)
    }
}

/// Goes on under this replica id, in this transaction.
pub(crate) async fn take_new_name(tx: &mut dyn Transaction, fresh: ReplicaId, now: Stamp) -> Result<()> {
    accounts::renew(tx).await?;
    go_on_as(tx, fresh, now).await
}

/// The same for who is signed in alone.
pub(crate) async fn go_on_as(tx: &mut dyn Transaction, fresh: ReplicaId, now: Stamp) -> Result<()> {
    let old = tx.replica().await?;
    tx.rename(fresh).await?;
    notes::add_former(tx, old).await?;
    let (peers, pushers) = (notes::peers(tx).await?, notes::pushers(tx).await?);
    // What only others read and write, as at a server, they know under the old name.
    let compared = notes::load::<bool>(tx, Room::Peer, COMPARED_NOTE).await?.unwrap_or_default();
    let is_served = peers.is_empty() && (compared || !pushers.is_empty() || purge::is_pulled(tx).await?);
    if !is_served {
        stamp_unsent_anew(tx, &peers, old, fresh, now).await?;
    }
    // Whoever pushes here numbers its pages anew: for them this is another replica.
    for (key, pusher) in pushers {
        // Whose replica id it is does not change, nor that it was here.
        let formerly = pusher.has_pushed();
        let anew = PusherState { formerly, subject: pusher.subject, ..PusherState::default() };
        notes::save(tx, Room::Peer, &key, &anew).await?;
    }
    super::serve::unstage(tx, super::serve::PUSHED).await?;
    let newest = tx.newest().await?;
    for (id, peer) in peers {
        notes::set_peer(tx, id, &peer.pushed_anew(newest)).await?;
    }
    let horizon = super::apply::horizon(tx).await?;
    tx.keep_bases_through(horizon).await
}

/// Stamps what no peer has under the new name.
async fn stamp_unsent_anew(
    tx: &mut dyn Transaction,
    peers: &[(ReplicaId, PeerState)],
    old: ReplicaId,
    fresh: ReplicaId,
    now: Stamp,
) -> Result<()> {
    let newest = tx.newest().await?;
    let acknowledged = peers.iter().map(|(_, peer)| peer.pushed).max().unwrap_or(0).min(newest);
    let mut after = acknowledged;
    loop {
        let feed = Feed { through: newest, limit: BATCH, data: true, ..Feed::after(after) };
        let states = tx.feed(&feed).await?;
        let Some(last) = states.last() else { return Ok(()) };
        after = last.change.position;
        let mut anew = Vec::new();
        for state in states {
            let early = peers.iter().any(|(_, peer)| peer.has_acknowledged(state.change.position));
            if state.change.revision().replica == old && state.change.origin.is_none() && !early {
                anew.push(stamped_anew(tx, state, acknowledged, old, fresh, now).await?);
            }
        }
        // Where the database refuses the values that it holds (a trigger that forbids updates), the edit keeps the
        // revision that it has and flows under the old name: to fail here would keep the store from syncing for ever.
        tx.put(&anew, now).await?;
    }
}

/// The same content under the new name, on top of the last state that a peer may have acknowledged.
async fn stamped_anew(
    tx: &mut dyn Transaction,
    state: State,
    acknowledged: i64,
    old: ReplicaId,
    fresh: ReplicaId,
    now: Stamp,
) -> Result<State> {
    let change = &state.change;
    let bases = tx.bases(change.schema, std::slice::from_ref(&change.id)).await?.into_iter().flatten();
    // One without a position never stood here, or lay aside: its origin says whether a peer has it.
    let held = |change: &Change| (1..=acknowledged).contains(&change.position) || change.origin.is_some();
    let held: Vec<_> = bases.filter(|base| held(&base.state.change)).collect();
    // What others wrote stays in the ancestry; of what this store wrote under the old name, only what a peer may hold.
    let mine = held.iter().filter_map(|base| base.state.change.ancestry.seen(old)).max();
    let others = change.ancestry.others().iter().copied().filter(|entry| entry.0 != old);
    let others: Vec<_> = others.chain(mine.map(|stamp| (old, stamp))).collect();
    let first = others.iter().map(|entry| entry.1 + 1).max().unwrap_or(0);
    let ancestry = Ancestry::new(crate::Revision { stamp: now.max(first), replica: fresh }, others);
    let base = held.iter().max_by_key(|base| base.until);
    let previous = base.map(|base| base.state.change.revision());
    let mut stamps = state.change.stamps;
    // A field was not written after the record, which the wrong clock may have said.
    for stamp in stamps.iter_mut().flat_map(|stamps| stamps.values_mut()) {
        *stamp = (*stamp).min(ancestry.current.stamp);
    }
    let change = Change { ancestry, previous, merged: None, stamps, ..state.change };
    Ok(State { change, record: state.record })
}
