//! Keeping in sync: at the start, after local writes, and from time to time, until dropped.

use crate::engine::notes;
use crate::env::Env;
use crate::replica::Replica;
use crate::report::SyncReport;
use crate::store::Access;
use crate::workspace::Workspace;
use crate::{Error, Result};
use event_listener::{Event, EventListener};
use futures_util::future::{Either, select};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a sync is run when nothing else asks for one.
const EVERY: Duration = Duration::from_secs(60);
/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How long local writes are gathered before they are sent together.
const GATHER: Duration = Duration::from_millis(50);

type Observer = Arc<dyn Fn(&Result<SyncReport>) + Send + Sync>;

/// Settings for keeping a workspace in sync with a peer; see [`Workspace::keep_in_sync`].
#[must_use = "nothing is synced before `start`"]
pub struct KeepInSync {
    workspace: Workspace,
    peer: Arc<dyn Replica>,
    every: Duration,
    pull: bool,
    observer: Option<Observer>,
}

impl fmt::Debug for KeepInSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepInSync").field("peer", &self.peer).field("every", &self.every).finish()
    }
}

impl KeepInSync {
    pub(crate) fn new(workspace: Workspace, peer: Arc<dyn Replica>) -> Self {
        KeepInSync { workspace, peer, every: EVERY, pull: true, observer: None }
    }

    /// How often to sync when nothing is written here; a minute if not set.
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// Only sends; nothing is pulled.
    pub fn one_way(mut self) -> Self {
        self.pull = false;
        self
    }

    /// Tells what came of each sync.
    pub fn on_sync(mut self, tell: impl Fn(&Result<SyncReport>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(tell));
        self
    }

    /// Starts; the first sync runs at once. It goes on until the handle is dropped.
    pub fn start(self) -> Live {
        let shared = Arc::new(Shared::default());
        let env = self.workspace.engine().env().clone();
        let task = run(self, shared.clone());
        env.spawn("syncable-keep-in-sync", Box::pin(task));
        Live { shared }
    }
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    stop: Event,
    wake: Event,
    state: Mutex<State>,
}

#[derive(Default, Clone)]
struct State {
    connection: Connection,
    synced: u64,
    failed: u32,
    error: Option<String>,
}

/// What a kept sync is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Connection {
    /// The first sync has not ended yet.
    #[default]
    Starting,
    /// The last sync succeeded; waiting for something to do.
    Online,
    /// A sync is running.
    Syncing,
    /// The last sync failed; waiting to try again.
    Offline,
    /// It was stopped.
    Stopped,
}

/// A workspace being kept in sync. Ends when dropped; a sync that is running then is cut, which loses nothing.
#[must_use = "the sync ends when this is dropped"]
pub struct Live {
    shared: Arc<Shared>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("connection", &self.connection()).finish()
    }
}

impl Live {
    /// What it is doing.
    pub fn connection(&self) -> Connection {
        self.shared.read().connection
    }

    /// How many syncs succeeded.
    pub fn synced(&self) -> u64 {
        self.shared.read().synced
    }

    /// Why the last sync failed, or `None` if it did not.
    pub fn last_error(&self) -> Option<String> {
        self.shared.read().error
    }

    /// Syncs now instead of when the time has come, also while waiting after a failure.
    pub fn sync_now(&self) {
        self.shared.wake.notify(usize::MAX);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.stop.notify(usize::MAX);
    }
}

impl Shared {
    fn read(&self) -> State {
        self.state.lock().map(|state| state.clone()).unwrap_or_default()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        if let Ok(mut state) = self.state.lock() {
            change(&mut state);
        }
    }
}

async fn run(settings: KeepInSync, shared: Arc<Shared>) {
    let stop = shared.stop.listen();
    if !shared.stopped.load(Ordering::Acquire) {
        select(stop, Box::pin(keep(&settings, &shared))).await;
    }
    shared.set(|state| state.connection = Connection::Stopped);
}

async fn keep(settings: &KeepInSync, shared: &Shared) {
    let engine = settings.workspace.engine();
    while !engine.is_closed() {
        let wake = shared.wake.listen();
        shared.set(|state| state.connection = Connection::Syncing);
        let sync = settings.workspace.sync(&settings.peer);
        let done = if settings.pull { sync.await } else { sync.push_only().await };
        if let Some(tell) = &settings.observer {
            tell(&done);
        }
        match &done {
            Ok(_) => shared.set(|state| {
                *state = State {
                    connection: Connection::Online,
                    synced: state.synced + 1,
                    failed: 0,
                    error: None,
                };
            }),
            Err(error) => shared.set(|state| {
                state.connection = Connection::Offline;
                state.failed = state.failed.saturating_add(1);
                state.error = Some(error.to_string());
            }),
        }
        match done {
            Ok(report) => idle(settings, report.peer, wake).await,
            Err(error) => {
                let wait = back_off(&**engine.env(), shared.read().failed, settings.every, &error);
                select(engine.env().sleep(wait), wake).await;
            }
        }
    }
}

/// Waits for a local write, the time, or somebody who asks.
async fn idle(settings: &KeepInSync, peer: crate::ReplicaId, mut wake: EventListener) {
    let engine = settings.workspace.engine();
    let mut time = engine.env().sleep(settings.every);
    loop {
        let (_, committed) = engine.commits();
        let waiting = engine.run(Access::READ.feed(), move |tx| {
            Box::pin(async move { Ok(tx.newest().await? > notes::peer(tx, peer).await?.sent()) })
        });
        if waiting.await.unwrap_or(false) {
            engine.env().sleep(GATHER).await;
            return;
        }
        match select(time, select(committed, wake)).await {
            Either::Left(_) | Either::Right((Either::Right(_), _)) => return,
            Either::Right((Either::Left((_, rest)), left)) => (time, wake) = (left, rest),
        }
    }
}

/// How long to wait after so many failures: doubling, with jitter, never shorter than the server asked for.
fn back_off(env: &dyn Env, failed: u32, every: Duration, error: &Error) -> Duration {
    let longest = LONGEST_WAIT.max(every);
    let wait = FIRST_WAIT.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(longest);
    let wait = if error.is_retryable() { wait } else { wait.max(every.min(longest)) };
    let mut byte = [0];
    env.random(&mut byte);
    let wait = wait.mul_f64(0.5 + f64::from(byte[0]) / 512.0);
    wait.max(error.retry_after().unwrap_or_default())
}
