//! The world of a run: one thread, a virtual clock, a seeded choice of who goes next.

use super::oracle::Oracle;
use super::random::{Random, Trace};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use sync_runtime::{BoxFuture, Engine, Env, Stamp};

/// Where the clocks of all worlds start: 2024-11-21.
const BEGIN: Stamp = 1_732_147_200_000_000;

/// The process that never crashes: messages on their way.
pub(crate) const NETWORK: usize = usize::MAX;

/// Where a crash comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    /// Inside a transaction, after it wrote something.
    Inside,
    /// Right after a commit, before anybody is told.
    Committed,
    /// Wherever it waits.
    Anywhere,
}

/// A replica's process.
#[derive(Debug)]
pub(crate) struct Process {
    /// The engine, while the process runs.
    pub(crate) engine: Option<Engine>,
    /// How often it was started.
    pub(crate) life: u64,
    /// How far its clock is off, in microseconds.
    pub(crate) clock: i64,
    /// Until which event it is offline.
    pub(crate) offline_until: usize,
    /// When it is started again after a crash.
    pub(crate) down_until: Stamp,
    /// Where it is to crash, after so many chances.
    pub(crate) crash: Option<(CrashPoint, usize)>,
    /// It has come to its crash.
    pub(crate) crashing: bool,
    /// How many syncs it has under way.
    pub(crate) busy: usize,
}

/// What all parts of a run share.
pub(crate) struct Inner {
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) now: Stamp,
    timers: BTreeMap<(Stamp, u64), Waker>,
    tickets: u64,
    spawned: Vec<(usize, BoxFuture<'static, ()>)>,
    pub(crate) processes: Vec<Process>,
    pub(crate) oracle: Oracle,
    /// What went wrong first.
    pub(crate) failure: Option<String>,
    /// Which event it is.
    pub(crate) event: usize,
    /// Whether links and stores behave.
    pub(crate) healed: bool,
    /// How often a store yields, in thousandths.
    pub(crate) yields: u32,
    log: Option<Vec<String>>,
}

/// A handle on the world.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<Inner>>);

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl Inner {
    /// Notes what happens, if somebody reads it.
    pub(crate) fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("#{} {:.3}s {}", self.event, (self.now - BEGIN) as f64 / 1e6, line()));
        }
    }

    /// Notes a broken promise; the first one counts.
    pub(crate) fn fail(&mut self, what: String) {
        self.log(|| format!("FAILED: {what}"));
        self.failure.get_or_insert(what);
    }

    pub(crate) fn check(&mut self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.fail(what);
        }
    }

    /// Whether a replica can be reached.
    pub(crate) fn is_offline(&self, replica: usize) -> bool {
        !self.healed && self.processes[replica].offline_until > self.event
    }

    /// Whether this life of a process has ended.
    pub(crate) fn is_dead(&self, replica: usize, life: u64) -> bool {
        let process = &self.processes[replica];
        process.life != life || process.crashing
    }

    /// Whether the process crashes here.
    pub(crate) fn crashes_at(&mut self, replica: usize, point: CrashPoint) -> bool {
        let process = &mut self.processes[replica];
        match &mut process.crash {
            Some((at, chances)) if *at == point => {
                *chances = chances.saturating_sub(1);
                process.crashing |= *chances == 0;
                *chances == 0
            }
            _ => false,
        }
    }

    /// A task of a process; it ends with it.
    pub(crate) fn spawn(&mut self, process: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.spawned.push((process, Box::pin(task)));
    }

    /// Lets time pass.
    fn advance(&mut self, to: Stamp) {
        self.now = self.now.max(to);
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            entry.remove().wake();
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, replicas: usize, yields: u32, logging: bool) -> World {
        let process = |_| Process {
            engine: None,
            life: 0,
            clock: 0,
            offline_until: 0,
            down_until: 0,
            crash: None,
            crashing: false,
            busy: 0,
        };
        World(Arc::new(Mutex::new(Inner {
            random: Random::new(seed),
            trace: Trace::new(),
            now: BEGIN,
            timers: BTreeMap::new(),
            tickets: 0,
            spawned: Vec::new(),
            processes: (0..replicas).map(process).collect(),
            oracle: Oracle::new(replicas),
            failure: None,
            event: 0,
            healed: false,
            yields,
            log: logging.then(Vec::new),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was logged.
    pub(crate) fn take_log(&self) -> Vec<String> {
        self.lock().log.take().unwrap_or_default()
    }

    /// Lets others go first, sometimes.
    pub(crate) async fn maybe_yield(&self) {
        let yields = {
            let mut inner = self.lock();
            let often = inner.yields;
            inner.random.chance(often)
        };
        if yields {
            yield_now().await;
        }
    }

    /// Ends after this long, by the virtual clock; lets others go first in any case.
    pub(crate) fn sleep(&self, micros: i64) -> Sleep {
        Sleep { world: self.clone(), micros, ticket: None }
    }
}

/// Lets others go first.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A timer of the virtual clock.
pub(crate) struct Sleep {
    world: World,
    micros: i64,
    ticket: Option<(Stamp, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = self.world.clone();
        let inner = &mut *world.lock();
        match self.ticket {
            Some(ticket) if ticket.0 <= inner.now => {
                inner.timers.remove(&ticket);
                self.ticket = None;
                self.micros = 0;
                return Poll::Ready(());
            }
            Some(ticket) => {
                inner.timers.insert(ticket, context.waker().clone());
            }
            None => {
                inner.tickets += 1;
                let ticket = (inner.now + self.micros.max(0), inner.tickets);
                self.ticket = Some(ticket);
                if ticket.0 <= inner.now {
                    context.waker().wake_by_ref();
                } else {
                    inner.timers.insert(ticket, context.waker().clone());
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.world.lock().timers.remove(&ticket);
        }
    }
}

/// The [`Env`] of one replica.
#[derive(Debug, Clone)]
pub(crate) struct SimEnv {
    pub(crate) world: World,
    pub(crate) replica: usize,
}

impl Env for SimEnv {
    fn now(&self) -> Stamp {
        let inner = self.world.lock();
        inner.now + inner.processes[self.replica].clock
    }

    fn random(&self, buffer: &mut [u8]) {
        let mut inner = self.world.lock();
        for chunk in buffer.chunks_mut(8) {
            let bytes = inner.random.number().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.world.sleep(i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 2)))
    }

    fn spawn(&self, _name: &str, task: BoxFuture<'static, ()>) {
        self.world.lock().spawn(self.replica, task);
    }
}

/// Wakes a task by setting a flag.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    number: u64,
    process: usize,
    flag: Arc<Flag>,
    waker: Waker,
    future: BoxFuture<'static, ()>,
}

/// Polls the tasks of all processes, one at a time.
pub(crate) struct Scheduler {
    world: World,
    tasks: Vec<Task>,
    started: u64,
    ready: Vec<usize>,
}

impl Scheduler {
    pub(crate) fn new(world: World) -> Self {
        Scheduler { world, tasks: Vec::new(), started: 0, ready: Vec::new() }
    }

    fn take_spawned(&mut self) {
        let spawned = std::mem::take(&mut self.world.lock().spawned);
        for (process, future) in spawned {
            self.started += 1;
            let flag = Arc::new(Flag(AtomicBool::new(true)));
            let waker = Waker::from(flag.clone());
            self.tasks.push(Task { number: self.started, process, flag, waker, future });
        }
    }

    /// Polls one task that can go on, or lets time pass until one can. Gives the process whose task was polled, and
    /// `None` when nothing is left to do.
    pub(crate) fn step(&mut self) -> Option<usize> {
        self.take_spawned();
        loop {
            self.ready.clear();
            let ready = self.tasks.iter().enumerate().filter(|(_, task)| task.flag.0.load(Ordering::Relaxed));
            self.ready.extend(ready.map(|(place, _)| place));
            let mut inner = self.world.lock();
            if self.ready.is_empty() {
                let next = inner.timers.first_key_value().map(|(key, _)| key.0)?;
                inner.advance(next);
                continue;
            }
            let place = self.ready[inner.random.below(self.ready.len())];
            let task = &mut self.tasks[place];
            let now = inner.now as u64;
            inner.trace.note(task.number);
            inner.trace.note(now);
            drop(inner);
            let process = task.process;
            task.flag.0.store(false, Ordering::Relaxed);
            if task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready() {
                drop(self.tasks.remove(place));
            }
            return Some(process);
        }
    }

    /// Lets this much time pass.
    pub(crate) fn pass(&mut self, micros: i64) {
        let mut inner = self.world.lock();
        let to = inner.now + micros;
        inner.advance(to);
    }

    /// Drops every task of a process.
    pub(crate) fn kill(&mut self, process: usize) {
        self.take_spawned();
        let (dead, alive): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.tasks).into_iter().partition(|task| task.process == process);
        self.tasks = alive;
        drop(dead);
        // What the dropped ones spawned goes with them.
        let mut inner = self.world.lock();
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut inner.spawned).into_iter().partition(|(of, _)| *of == process);
        inner.spawned = kept;
        drop(inner);
        drop(gone);
    }

    /// How many tasks are under way.
    pub(crate) fn count(&mut self) -> usize {
        self.take_spawned();
        self.tasks.len()
    }
}

/// Polls a future that waits for nobody else until it ends; `None` if it does not.
pub(crate) fn finish<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(done);
        }
    }
    None
}
