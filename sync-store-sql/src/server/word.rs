//! Word of commits between the processes that have one database open: so that who watches need not look all the time.
//!
//! It is a hint. What was committed stands in the feed, and whoever watches looks there from time to time, told or not.

use super::{Server, fraction};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use sync_runtime::BoxFuture;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long it is listened after the last one who watched.
const STILL_WATCHED: Duration = Duration::from_secs(5);

/// How long one waits after it told, so that a busy server does not tell of each of its commits.
const GAP: Duration = Duration::from_millis(5);
/// The wait after the first loss of what is listened to; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Nobody watches any more.
#[derive(Debug)]
pub(super) struct Unwanted;

/// What carries word from one process to the others.
#[sync_runtime::async_trait]
pub(super) trait Carrier: fmt::Debug + Send + Sync + 'static {
    /// Tells the others that this one has committed. Where it cannot, nobody is told.
    async fn tell(&self, server: &Arc<Server>, me: &str);

    /// Gives what comes in to the store, from the moment on at which it hears itself. Ends when nobody watches, or with
    /// `None` when nothing can come in any more.
    async fn listen(&self, server: &Weak<Server>) -> Option<Unwanted>;
}

/// What one open store tells and hears of commits.
#[derive(Debug)]
pub(super) struct Word {
    /// Names this store among those that tell each other, so that it need not listen to itself.
    me: String,
    /// `None` where nothing carries any.
    carrier: Option<Arc<dyn Carrier>>,
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

impl Word {
    pub(super) fn new(carrier: Option<Arc<dyn Carrier>>) -> Self {
        Word {
            me: format!("{:016x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8)),
            carrier,
            waits: AtomicBool::new(false),
            tells: tokio::sync::Mutex::new(()),
            hears: watch::Sender::new(false),
            listener: Mutex::default(),
        }
    }

    /// Something was committed here. Nobody waits until the others are told, and nothing depends on it.
    pub(super) fn tell(&self, server: &Arc<Server>) {
        self.hears.send_modify(|_| {});
        let Some(carrier) = self.carrier.clone() else { return };
        if self.waits.swap(true, Ordering::AcqRel) {
            return;
        }
        let told = server.clone();
        server.runtime.spawn(async move {
            let word = &told.word;
            // One at a time; what is committed until this one's turn is told by it.
            let _turn = word.tells.lock().await;
            word.waits.store(false, Ordering::Release);
            carrier.tell(&told, &word.me).await;
            tokio::time::sleep(GAP).await;
        });
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

    fn listen(&self, server: &Arc<Server>) {
        let Some(carrier) = &self.carrier else { return };
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.asked = Some(Instant::now());
        if listener.task.as_ref().is_none_or(AbortHandle::is_finished) {
            let listening = listen(carrier.clone(), Arc::downgrade(server));
            listener.task = Some(server.runtime.spawn(listening).abort_handle());
        }
    }

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

/// Listens as long as somebody watches, and again when that is lost.
async fn listen(carrier: Arc<dyn Carrier>, server: Weak<Server>) {
    let mut wait = FIRST_WAIT;
    loop {
        let begun = Instant::now();
        let ended = carrier.listen(&server).await;
        let Some(open) = server.upgrade() else { return };
        open.word.deaf();
        if let Some(Unwanted) = ended {
            return;
        }
        drop(open);
        wait = if begun.elapsed() > LONGEST_WAIT { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
        // So that the processes of a server that restarts do not come all at once.
        tokio::time::sleep(wait.mul_f64(0.5 + fraction() / 2.0)).await;
        if server.upgrade().is_none_or(|server| !server.word.is_wanted()) {
            return;
        }
    }
}
