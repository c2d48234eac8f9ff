//! Word of commits between the processes that have one database open: so that who watches need not look all the time.
//!
//! It is a hint. What was committed stands in the feed, and whoever watches looks there from time to time, told or not.

use super::Server;
#[cfg(feature = "postgres")]
use super::pool::Pool;
#[cfg(feature = "postgres")]
use super::postgres::Listening;
use crate::names::literal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use sync_runtime::BoxFuture;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long it is listened after the last one who watched.
const STILL_WATCHED: Duration = Duration::from_secs(5);

/// How long one waits after it told, so that a busy server does not tell of each of its commits.
pub(super) const GAP: Duration = Duration::from_millis(5);

/// What one open store tells and hears of commits.
#[derive(Debug)]
pub(super) struct Word {
    /// Names this store among those that tell each other, so that it need not listen to itself.
    me: String,
    /// Whether somebody waits for a turn to tell.
    waits: AtomicBool,
    tells: tokio::sync::Mutex<()>,
    /// Whether word of others' commits comes in; it moves with each commit.
    hears: watch::Sender<bool>,
    listener: Mutex<Listener>,
}

/// Who listens, as long as somebody watches.
#[derive(Debug, Default)]
struct Listener {
    asked: Option<Instant>,
    task: Option<AbortHandle>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The right to tell next.
#[derive(Debug)]
pub(super) struct Turn;

impl Turn {
    /// Waits until it has come. From now on commits need another turn.
    pub(super) async fn begin(self, word: &Word) -> tokio::sync::MutexGuard<'_, ()> {
        let turn = word.tells.lock().await;
        word.waits.store(false, Ordering::Release);
        turn
    }
}

impl Word {
    pub(super) fn new() -> Self {
        Word {
            me: format!("{:016x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8)),
            waits: AtomicBool::new(false),
            tells: tokio::sync::Mutex::new(()),
            hears: watch::Sender::new(false),
            listener: Mutex::default(),
        }
    }

    /// Something was committed here, or elsewhere.
    pub(super) fn committed(&self) {
        self.hears.send_modify(|_| {});
    }

    /// The turn to tell; `None` if somebody waits for one already.
    pub(super) fn turn(&self) -> Option<Turn> {
        (!self.waits.swap(true, Ordering::AcqRel)).then_some(Turn)
    }

    /// The statement that tells the others. It is a transaction of its own, after the one that it tells of: a notification
    /// locks all commits of the cluster against each other until its own is on the disk.
    pub(super) fn telling(&self, channel: &str) -> String {
        format!("SELECT pg_notify({}, {})", literal(channel), literal(&self.me))
    }

    /// See [`sync_runtime::store::Store::next_commit`].
    pub(super) fn next(&self, server: &Arc<Server>) -> Option<BoxFuture<'static, ()>> {
        // Taken before it is asked whether any word comes, so that none falls between the two.
        let mut hears = self.hears.subscribe();
        self.listen(server);
        if !*hears.borrow_and_update() {
            return None;
        }
        Some(Box::pin(async move {
            // Fails when the store is closed, which ends the wait as well.
            let _ = hears.changed().await;
        }))
    }

    #[cfg(feature = "postgres")]
    fn listen(&self, server: &Arc<Server>) {
        let Some(channel) = server.shared.dialect.channel(&server.shared.own) else { return };
        #[allow(irrefutable_let_patterns, reason = "with PostgreSQL alone there is no other pool")]
        let Pool::Postgres(pool) = &server.pool else { return };
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.asked = Some(Instant::now());
        if listener.task.as_ref().is_none_or(AbortHandle::is_finished) {
            let listening = Listening::new(Arc::downgrade(server), pool.connect_options(), channel);
            listener.task = Some(server.runtime.spawn(listening.run()).abort_handle());
        }
    }

    #[cfg(not(feature = "postgres"))]
    fn listen(&self, _: &Arc<Server>) {}

    /// Whether somebody watches, or did so just now.
    pub(super) fn is_wanted(&self) -> bool {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        self.hears.receiver_count() > 0 || listener.asked.is_some_and(|asked| asked.elapsed() < STILL_WATCHED)
    }

    /// Somebody told of a commit. Word comes in if it is from this store too.
    pub(super) fn heard(&self, from: &str) {
        self.hears.send_if_modified(|hears| {
            let first = !std::mem::replace(hears, true);
            first || from != self.me
        });
    }

    /// No word comes in any more; who waits for some has to look by themselves.
    pub(super) fn deaf(&self) {
        self.hears.send_replace(false);
    }
}
