//! Keeping in sync: at the start, after local writes, when the peer says that it has something, and from time to time,
//! until dropped.

use crate::caller::Caller;
use crate::change;
use crate::engine::notes;
use crate::env::Env;
use crate::query::{Condition, Only, narrowed};
use crate::replica::{Replica, Watching};
use crate::report::SyncReport;
use crate::store::{Access, Feed};
use crate::syncable::Syncable;
use crate::version::{Checkpoint, ReplicaId, Stamp};
use crate::workspace::Workspace;
use crate::{Error, ErrorKind, Result};
use event_listener::Event;
use futures_util::future::{Either, pending, select};
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

/// How often it is looked whether what was waited for has come.
const LOOK: Duration = Duration::from_millis(250);
/// How many changes are counted at a time.
const BATCH: usize = 1_000;

type Observer = Arc<dyn Fn(&Result<SyncReport>) + Send + Sync>;

/// Settings for keeping a workspace in sync with a peer; see [`Workspace::keep_in_sync`].
#[must_use = "nothing is synced before `start`"]
pub struct KeepInSync {
    workspace: Workspace,
    peer: Arc<dyn Replica>,
    every: Duration,
    pull: bool,
    only: Only,
    observer: Option<Observer>,
}

impl fmt::Debug for KeepInSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepInSync").field("peer", &self.peer).field("every", &self.every).finish()
    }
}

impl KeepInSync {
    pub(crate) fn new(workspace: Workspace, peer: Arc<dyn Replica>) -> Self {
        KeepInSync { workspace, peer, every: EVERY, pull: true, only: Ok(Vec::new()), observer: None }
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

    /// Of this model pulls only the records that match; see [`crate::workspace::Sync::only`].
    pub fn only<T: Syncable>(mut self, condition: Condition<T>) -> Self {
        self.only = narrowed(self.only, condition);
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
        let workspace = self.workspace.clone();
        workspace.engine().keeps(&shared);
        let task = run(self, shared.clone());
        workspace.engine().env().spawn("syncable-keep-in-sync", Box::pin(task));
        Live { workspace, shared }
    }
}

/// What the task that keeps a workspace in sync tells of itself.
#[derive(Default)]
pub(crate) struct Shared {
    stopped: AtomicBool,
    stop: Event,
    wake: Event,
    /// The peer said that it has something.
    moved: Event,
    /// A sync has succeeded.
    met: Event,
    /// Somebody else has signed in.
    turned: Event,
    state: Mutex<State>,
}

#[derive(Default, Clone)]
struct State {
    connection: Connection,
    peer: Option<ReplicaId>,
    /// What the peer said last that it has.
    told: Option<Checkpoint>,
    last_success: Option<Stamp>,
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
    /// The last sync failed, as happens without a network; waiting to try again.
    Offline,
    /// The last sync was refused, and the next one will be too unless something is done: a token that is not good, a right
    /// that is missing, schemas that do not fit each other. [`LiveState::error`] says which.
    Blocked,
    /// It was stopped.
    Stopped,
}

/// How a workspace stands that is kept in sync, see [`Workspace::connection`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveState {
    /// What is being done.
    pub connection: Connection,
    /// With whom; `None` before the first sync has ended.
    pub peer: Option<ReplicaId>,
    /// When a sync succeeded last, in microseconds since 1970; `None` if none did since it was started.
    pub last_success: Option<Stamp>,
    /// About how many changes of the peer are not here yet, as far as it has said; 0 where nothing is known.
    pub behind: u64,
    /// How many changes of this workspace are not at the peer yet.
    pub pending: u64,
    /// Why the last sync failed, or `None` if it did not.
    pub error: Option<String>,
}

/// A workspace being kept in sync. Ends when dropped; a sync that is running then is cut, which loses nothing.
#[must_use = "the sync ends when this is dropped"]
pub struct Live {
    workspace: Workspace,
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

    /// How it stands.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn state(&self) -> Result<LiveState> {
        self.shared.state_of(&self.workspace).await
    }

    /// Waits until everything that was written here up to now is at the peer, or parked with the reason why not.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the workspace is closed meanwhile, [`ErrorKind::Unreachable`] when it is not kept in sync
    /// any more, and what the store fails with. A peer that cannot be reached is waited for.
    pub async fn flush(&self) -> Result<()> {
        let engine = self.workspace.engine();
        let newest = engine.run(Access::READ.feed(), |tx| tx.newest()).await?;
        loop {
            let met = self.shared.met.listen();
            engine.still_open()?;
            let State { connection, peer, .. } = self.shared.read();
            if connection == Connection::Stopped {
                return Err(Error::new(ErrorKind::Unreachable, "the workspace is not kept in sync any more"));
            }
            if let Some(peer) = peer {
                let pushed =
                    engine.read(move |tx| Box::pin(async move { Ok(notes::peer(tx, peer).await?.pushed) }));
                if pushed.await? >= newest {
                    return Ok(());
                }
            }
            // A failed sync may have ended in between; whoever waits for it looks again from time to time.
            select(met, engine.env().sleep(LOOK)).await;
        }
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
    /// How the workspace stands with this peer.
    pub(crate) async fn state_of(&self, workspace: &Workspace) -> Result<LiveState> {
        let State { connection, peer, told, last_success, error, .. } = self.read();
        let Some(id) = peer else {
            return Ok(LiveState { connection, peer, last_success, behind: 0, pending: 0, error });
        };
        let counted = workspace.engine().run(Access::READ.long().feed(), move |tx| {
            Box::pin(async move {
                let peer = notes::peer(tx, id).await?;
                let mut pending = 0;
                let mut after = peer.pushed;
                loop {
                    let feed = Feed { not_from: Some(id), limit: BATCH, ..Feed::after(after) };
                    let states = tx.feed(&feed).await?;
                    let Some(last) = states.last() else { return Ok((peer.pulled, pending)) };
                    after = last.change.position;
                    let there = |state: &&change::State| peer.has_acknowledged(state.change.position);
                    pending += (states.len() - states.iter().filter(there).count()) as u64;
                }
            })
        });
        let (pulled, pending) = counted.await?;
        let behind = match (told, pulled) {
            (Some(told), Some(pulled)) if told.replica == pulled.replica => told.position - pulled.position,
            _ => 0,
        };
        let behind = u64::try_from(behind).unwrap_or(0);
        Ok(LiveState { connection, peer, last_success, behind, pending, error })
    }

    /// Begins anew for somebody else who has signed in.
    pub(crate) fn turn_over(&self) {
        self.turned.notify(usize::MAX);
        self.wake.notify(usize::MAX);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.read().connection == Connection::Stopped
    }

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
        let hear = async {
            match settings.pull {
                true => hear(&settings, &shared).await,
                false => pending().await,
            }
        };
        let closes = Box::pin(settings.workspace.engine().closes());
        let work = select(Box::pin(keep(&settings, &shared)), Box::pin(hear));
        select(select(stop, closes), work).await;
    }
    shared.set(|state| state.connection = Connection::Stopped);
}

async fn keep(settings: &KeepInSync, shared: &Shared) {
    let engine = settings.workspace.engine();
    while !engine.is_closed() {
        let (wake, moved) = (shared.wake.listen(), shared.moved.listen());
        shared.set(|state| state.connection = Connection::Syncing);
        let sync = settings.workspace.sync(&settings.peer).only_what(settings.only.clone());
        let done = if settings.pull { sync.await } else { sync.push_only().await };
        if let Some(tell) = &settings.observer {
            tell(&done);
        }
        match &done {
            Ok(report) => shared.set(|state| {
                *state = State {
                    connection: Connection::Online,
                    peer: Some(report.peer),
                    told: state.told,
                    last_success: Some(engine.env().now()),
                    synced: state.synced + 1,
                    failed: 0,
                    error: None,
                };
            }),
            Err(error) => shared.set(|state| {
                state.connection = match error.is_retryable() {
                    true => Connection::Offline,
                    false => Connection::Blocked,
                };
                state.failed = state.failed.saturating_add(1);
                state.error = Some(error.to_string());
            }),
        }
        match done {
            Ok(report) => {
                shared.met.notify(usize::MAX);
                // Where that fails it is tried again after a while.
                let _ = engine.purge_daily().await;
                idle(settings, report.peer, select(wake, moved)).await;
            }
            // A peer that has something says nothing of when it wants to be asked again.
            Err(error) => {
                let wait = back_off(&**engine.env(), shared.read().failed, settings.every, Some(&error));
                select(engine.env().sleep(wait), wake).await;
            }
        }
    }
}

/// Listens to what the peer says, and begins again whenever that ends: it may end at any time, as the syncs from time to
/// time miss nothing.
async fn hear(settings: &KeepInSync, shared: &Shared) {
    let engine = settings.workspace.engine();
    let env = &**engine.env();
    let mut failed = 0;
    while !engine.is_closed() {
        let (met, turned) = (shared.met.listen(), shared.turned.listen());
        let Some(peer) = shared.read().peer else {
            met.await;
            continue;
        };
        let since = env.now();
        let ended = match select(Box::pin(listen(settings, peer, shared)), turned).await {
            Either::Left((ended, _)) => ended,
            // What is told from now on is told to another one.
            Either::Right(_) => {
                met.await;
                continue;
            }
        };
        let lasted = Duration::from_micros(u64::try_from(env.now() - since).unwrap_or(0));
        failed = if lasted > LONGEST_WAIT { 1 } else { failed + 1 };
        let wait = match ended {
            Ok(()) => back_off(env, failed, settings.every, None),
            Err(error) => back_off(env, failed, settings.every, Some(&error)),
        };
        env.sleep(wait).await;
    }
}

async fn listen(settings: &KeepInSync, peer: ReplicaId, shared: &Shared) -> Result<()> {
    let engine = settings.workspace.engine();
    let pulled =
        engine.read(move |tx| Box::pin(async move { Ok(notes::peer(tx, peer).await?.pulled) })).await?;
    let watching = Watching { from: Some(engine.id().await?), since: pulled };
    let tell = |checkpoint| {
        shared.set(|state| state.told = Some(checkpoint));
        shared.moved.notify(usize::MAX);
    };
    settings.peer.watch(&Caller::owner(), watching, &tell).await
}

/// Waits for a local write, the time, or somebody who asks.
async fn idle(settings: &KeepInSync, peer: ReplicaId, mut wake: impl Future + Unpin) {
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
fn back_off(env: &dyn Env, failed: u32, every: Duration, error: Option<&Error>) -> Duration {
    let longest = LONGEST_WAIT.max(every);
    let wait = FIRST_WAIT.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(longest);
    let wait = match error {
        Some(error) if !error.is_retryable() => wait.max(every.min(longest)),
        _ => wait,
    };
    let mut byte = [0];
    env.random(&mut byte);
    let wait = wait.mul_f64(0.5 + f64::from(byte[0]) / 512.0);
    wait.max(error.and_then(Error::retry_after).unwrap_or_default())
}
