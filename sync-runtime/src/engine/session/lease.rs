//! Who syncs a pair: one task of a process, one process of a file.
//!
//! A process that is killed gives nothing back, so a lease runs out by itself; one that was suspended for longer
//! finds out in the transaction of its next commit that another one has taken over, and commits nothing.

use super::Session;
use crate::engine::Engine;
use crate::engine::notes::{self, Lease, peer_key};
use crate::env::{BoxFuture, MaybeSend};
use crate::store::{Access, Room, Transaction};
use crate::version::{ReplicaId, Stamp};
use crate::{Error, ErrorKind, Result};
use futures_util::future::{Either, select};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// How long a lease on a pair lasts without being renewed: what others wait for after its holder was killed.
const LEASE: Duration = Duration::from_secs(5);
/// How long before its end a lease is renewed at the latest.
const MARGIN: Duration = Duration::from_secs(3);
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

/// The lease of one sync, as far as this process knows.
pub(super) struct Held {
    peer: ReplicaId,
    holder: ReplicaId,
    /// When it ends, by the clock of [`crate::Env`].
    until: AtomicI64,
    /// Whether another process has it.
    lost: AtomicBool,
}

impl Held {
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Fails where another process has taken the pair over, and renews the lease where it is time to. What the
    /// transaction commits after this is committed by the only one who syncs the pair.
    async fn check(&self, tx: &mut dyn Transaction, now: Stamp) -> Result<()> {
        let key = peer_key(self.peer);
        match notes::load::<Lease>(tx, Room::Lease, &key).await? {
            Some(lease) if lease.holder == self.holder => {
                if before_renewal(lease.until, now).is_none() {
                    self.write(tx, now).await?;
                }
                Ok(())
            }
            // Nobody has it any more, or somebody else: in between, another sync was there.
            _ => {
                self.lost.store(true, Ordering::Relaxed);
                let message = format!(
                    "another process took over the sync with {}, as nothing was heard of this one for {LEASE:?}",
                    self.peer
                );
                Err(Error::new(ErrorKind::Busy, message))
            }
        }
    }

    async fn write(&self, tx: &mut dyn Transaction, now: Stamp) -> Result<()> {
        let lease = Lease { holder: self.holder, until: now + micros(LEASE) };
        notes::save(tx, Room::Lease, &peer_key(self.peer), &lease).await?;
        self.until.store(lease.until, Ordering::Relaxed);
        Ok(())
    }

    /// The lease of another process, where there is one that has not run out.
    async fn of_another(&self, tx: &mut dyn Transaction, now: Stamp) -> Result<Option<Lease>> {
        let lease = notes::load::<Lease>(tx, Room::Lease, &peer_key(self.peer)).await?;
        Ok(lease.filter(|lease| {
            // A clock that was set back must not lock everybody out.
            lease.holder != self.holder && (now + 1..=now + micros(LEASE)).contains(&lease.until)
        }))
    }
}

/// How long a lease need not be renewed; `None` if it is time to. Where the clock was set back it is: others believe
/// no lease that lasts longer than they do.
fn before_renewal(until: Stamp, now: Stamp) -> Option<Duration> {
    let left = Duration::from_micros(u64::try_from(until - now).ok()?).checked_sub(MARGIN)?;
    Some(left).filter(|left| !left.is_zero() && *left <= LEASE - MARGIN)
}

fn micros(time: Duration) -> Stamp {
    time.as_micros() as Stamp
}

/// One process at a time syncs a pair: a row says who, and until when if nothing more is heard. With it comes the name that
/// this replica had as it was taken: all of a sync goes under that one.
pub(super) async fn lease(engine: &Engine, peer: ReplicaId) -> Result<(Arc<Held>, ReplicaId)> {
    let holder = engine.instance();
    let held = Held { peer, holder, until: AtomicI64::new(0), lost: AtomicBool::new(false) };
    let held = Arc::new(held);
    let mut waited = Duration::ZERO;
    loop {
        let (taking, now) = (held.clone(), engine.env().now());
        let other = engine.run(Access::WRITE, move |tx| {
            Box::pin(async move {
                let other = taking.of_another(tx, now).await?;
                if other.is_none() {
                    taking.write(tx, now).await?;
                }
                Ok((other, tx.replica().await?))
            })
        });
        let (mut other, me) = other.await?;
        if other.is_none() {
            return Ok((held, me));
        }
        // Whoever only looks does not stand in the holder's way.
        while let Some(lease) = other {
            let now = engine.env().now();
            if waited >= PATIENCE {
                let left = Duration::from_micros((lease.until - now).max(0) as u64);
                let message = format!(
                    "another process is syncing with {peer}; its lease ends in {left:?} at the latest"
                );
                return Err(Error::new(ErrorKind::Busy, message));
            }
            engine.env().sleep(LOOK).await;
            waited += LOOK;
            let (looking, now) = (held.clone(), engine.env().now());
            let look = engine.read(move |tx| Box::pin(async move { looking.of_another(tx, now).await }));
            other = look.await?;
        }
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
    /// Runs work in one transaction that writes, if this process still has the lease on the pair.
    pub(super) async fn run_leased<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: MaybeSend + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Clone + MaybeSend + 'static,
    {
        let (held, now) = (self.lease.clone(), self.engine.env().now());
        self.engine
            .run(access, move |tx| {
                Box::pin(async move {
                    held.check(tx, now).await?;
                    work(tx).await
                })
            })
            .await
    }

    /// Waits for the peer, and renews the lease while it lasts.
    pub(super) async fn holding_lease<T>(&self, work: BoxFuture<'_, Result<T>>) -> Result<T> {
        let mut work = work;
        loop {
            let (until, now) = (self.lease.until.load(Ordering::Relaxed), self.engine.env().now());
            let left = match before_renewal(until, now) {
                Some(left) => left,
                None => {
                    self.run_leased(Access::WRITE, |_| Box::pin(async { Ok(()) })).await?;
                    LEASE - MARGIN
                }
            };
            let timer = self.engine.env().sleep(left);
            match select(work, timer).await {
                Either::Left((done, _)) => return done,
                Either::Right(((), rest)) => work = rest,
            }
        }
    }
}
