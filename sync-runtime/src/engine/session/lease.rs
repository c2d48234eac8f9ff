//! Who syncs a pair: one task of a process, one process of a file.

use super::Session;
use crate::engine::Engine;
use crate::engine::notes::{self, Lease, peer_key};
use crate::env::BoxFuture;
use crate::store::{Access, Room};
use crate::version::ReplicaId;
use crate::{Error, ErrorKind, Result};
use futures_util::future::{Either, select};
use std::time::Duration;

/// How long a lease on a pair lasts without being renewed.
const LEASE: Duration = Duration::from_secs(15);
/// How long a sync waits for another one of the same pair.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// One task of a process at a time syncs a pair.
pub(super) async fn claim(engine: &Engine, peer: ReplicaId) -> Result<crate::engine::Claim> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(claim) = engine.claim(peer) {
            return Ok(claim);
        }
        if waited >= PATIENCE {
            let message =
                format!("another sync with {peer} has been running in this process for {PATIENCE:?}");
            return Err(Error::new(ErrorKind::Busy, message));
        }
        engine.env().sleep(LOOK).await;
        waited += LOOK;
    }
}

/// One process at a time syncs a pair: a row says who, and until when if nothing more is heard.
pub(super) async fn lease(engine: &Engine, peer: ReplicaId) -> Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        let (holder, now) = (engine.instance(), engine.env().now());
        let taken = engine.run(Access::WRITE, move |tx| {
            Box::pin(async move {
                let key = peer_key(peer);
                if let Some(lease) = notes::load::<Lease>(tx, Room::Lease, &key).await?
                    && lease.holder != holder
                    && lease.until > now
                    // A clock that was set back must not lock everybody out.
                    && lease.until <= now + LEASE.as_micros() as i64
                {
                    return Ok(Some(lease));
                }
                let until = now + LEASE.as_micros() as i64;
                notes::save(tx, Room::Lease, &key, &Lease { holder, until }).await?;
                Ok(None)
            })
        });
        let Some(other) = taken.await? else {
            return Ok(());
        };
        if waited >= PATIENCE {
            let left = Duration::from_micros((other.until - now).max(0) as u64);
            let message =
                format!("another process is syncing with {peer}; its lease ends in {left:?} at the latest");
            return Err(Error::new(ErrorKind::Busy, message));
        }
        engine.env().sleep(LOOK).await;
        waited += LOOK;
    }
}

pub(super) async fn release(engine: &Engine, peer: ReplicaId) -> Result<()> {
    let holder = engine.instance();
    engine
        .run(Access::WRITE, move |tx| {
            Box::pin(async move {
                let key = peer_key(peer);
                match notes::load::<Lease>(tx, Room::Lease, &key).await? {
                    Some(lease) if lease.holder == holder => tx.note(Room::Lease, &key, None).await,
                    _ => Ok(()),
                }
            })
        })
        .await
}

impl Session<'_> {
    /// Waits for the peer, and renews the lease while it lasts.
    pub(super) async fn holding_lease<T>(&self, work: BoxFuture<'_, Result<T>>) -> Result<T> {
        let mut work = work;
        loop {
            let timer = self.engine.env().sleep(LEASE / 3);
            match select(work, timer).await {
                Either::Left((done, _)) => return done,
                Either::Right(((), rest)) => {
                    work = rest;
                    lease(self.engine, self.id).await?;
                }
            }
        }
    }
}
