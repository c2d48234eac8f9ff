//! One run: draws events, lets tasks go on in a drawn order, crashes, heals, and asks the oracle.

use super::models::{Note, Tag, Visit};
use super::oracle::Found;
use super::settings::Settings;
use super::store::{SimStore, look};
use super::work::App;
use super::world::{CrashPoint, NETWORK, Scheduler, SimEnv, World, finish};
use super::{Stores, Summary};
use std::sync::{Arc, Mutex};
use sync_runtime::replica::Limits;
use sync_runtime::report::SyncReport;
use sync_runtime::store::Store;
use sync_runtime::{Models, Ruling, Workspace};

/// How many steps the tasks of a run may take to end, once nothing new begins.
const DRAIN: usize = 200_000;
/// How many rounds of syncs over all links may be needed until all are level.
const ROUNDS: usize = 40;
/// How many rounds everybody resolves what they see. Two who decide differently about one record can go on for ever;
/// then one at a time decides, and the others learn of it first.
const EVERYBODY: usize = 15;
/// Longer than the lease that a crashed process leaves behind.
const LEASE: i64 = 16_000_000;
/// How many tasks may be under way at a time.
const TASKS: usize = 24;

/// A run under way.
pub(crate) struct Run {
    pub(crate) world: World,
    scheduler: Scheduler,
    settings: Arc<Settings>,
    stores: Vec<Arc<dyn Store>>,
    workspaces: Vec<Option<Workspace>>,
    models: Models,
    pairs: Vec<(usize, usize)>,
    summary: Summary,
}

impl Run {
    pub(crate) fn new(seed: u64, settings: &Settings, stores: &Stores<'_>, logging: bool) -> Run {
        let world = World::new(seed, settings.replicas, settings.yields, logging);
        world.lock().oracle.by_model = settings.by_model;
        world.lock().oracle.rules = settings.rules;
        world.lock().oracle.good_clocks = settings.wrong_clocks == 0 && settings.clock_jumps == 0;
        Run {
            scheduler: Scheduler::new(world.clone()),
            world,
            stores: (0..settings.replicas).map(stores).collect(),
            workspaces: vec![None; settings.replicas],
            models: Models::default(),
            pairs: settings.pairs(),
            settings: Arc::new(settings.clone()),
            summary: Summary::default(),
        }
    }

    /// Runs it to its end; the first broken promise is the error.
    pub(crate) fn go(&mut self) -> Result<Summary, String> {
        for replica in 0..self.settings.replicas {
            self.set_clock(replica, true);
            self.open(replica);
        }
        for event in 0..self.settings.events {
            self.world.lock().event = event;
            self.event();
            self.go_on()?;
        }
        self.heal()?;
        self.settle()?;
        self.check_all();
        let mut inner = self.world.lock();
        let verdict = inner.oracle.check_end();
        inner.check(verdict);
        self.summary.events = self.settings.events;
        self.summary.writes = inner.oracle.writes;
        self.summary.trace = inner.trace.hash();
        match inner.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(self.summary),
        }
    }

    /// Opens the workspace of a replica over its store.
    fn open(&mut self, replica: usize) {
        let life = {
            let mut inner = self.world.lock();
            inner.log(|| format!("{replica} starts"));
            inner.processes[replica].life
        };
        let store =
            SimStore { world: self.world.clone(), replica, life, store: self.stores[replica].clone() };
        let limits = Limits { page_records: self.settings.accepted_page, ..Limits::default() };
        let env = SimEnv { world: self.world.clone(), replica };
        let mut builder = Workspace::builder(store).env(env).limits(limits).model::<Note>();
        if self.settings.models > 1 {
            builder = builder.model::<Tag>();
        }
        if self.settings.models > 2 {
            builder = builder.model::<Visit>();
            if self.settings.rules && replica < self.settings.servers {
                builder = builder.on_incoming::<Visit>(|update| {
                    match Visit::rule(update.current.as_ref(), update.incoming.as_ref(), update.in_conflict) {
                        Some(stored) => Ruling::Store(stored),
                        None => Ruling::Pass,
                    }
                });
            }
        }
        let opened = finish(async {
            let workspace = builder.build().await?;
            let id = workspace.id().await?;
            Ok::<_, sync_runtime::Error>((workspace, id))
        });
        let mut inner = self.world.lock();
        match opened {
            Some(Ok((workspace, id))) => {
                inner.oracle.name(replica, id);
                inner.processes[replica].engine = Some(workspace.engine().clone());
                drop(inner);
                self.models = workspace.engine().models().clone();
                self.workspaces[replica] = Some(workspace);
            }
            Some(Err(error)) => inner.fail(format!("replica {replica} does not open: {error:?}")),
            None => inner.fail(format!("replica {replica} does not open: the store hangs")),
        }
    }

    fn app(&self, replica: usize) -> Option<App> {
        let workspace = self.workspaces[replica].clone()?;
        Some(App { world: self.world.clone(), settings: self.settings.clone(), replica, workspace })
    }

    /// One event of the faulty part.
    fn event(&mut self) {
        self.restart();
        let settings = self.settings.clone();
        let (what, replica) = {
            let mut inner = self.world.lock();
            (inner.random.below(1000) as u32, inner.random.below(settings.replicas))
        };
        let mut below = 0;
        let mut within = |share: u32| {
            below += share;
            what < below
        };
        if within(settings.crashes) {
            self.arm_crash(replica);
        } else if within(settings.offline) {
            let mut inner = self.world.lock();
            let (least, most) = settings.offline_window;
            let until = inner.event + inner.random.between(least as i64, most as i64) as usize;
            inner.log(|| format!("{replica} is offline until #{until}"));
            inner.processes[replica].offline_until = until;
        } else if within(settings.clock_jumps) {
            self.set_clock(replica, false);
        } else if within(settings.resolutions) {
            let model = self.world.lock().random.below(settings.models);
            if let Some(app) = self.app(replica) {
                self.world.lock().spawn(replica, async move {
                    app.resolve(model).await;
                });
            }
        } else if within(settings.writes) {
            if let Some(app) = self.app(replica) {
                self.world.lock().spawn(replica, app.write());
            }
        } else {
            self.begin_sync();
        }
    }

    fn begin_sync(&mut self) {
        let pair = {
            let mut inner = self.world.lock();
            inner.random.pick(&self.pairs)
        };
        let Some((from, to)) = pair else {
            return;
        };
        let Some(app) = self.app(from).filter(|_| self.world.lock().processes[from].busy < 2) else {
            return;
        };
        self.summary.syncs += 1;
        let life = {
            let mut inner = self.world.lock();
            inner.processes[from].busy += 1;
            inner.processes[from].life
        };
        let world = self.world.clone();
        self.world.lock().spawn(from, async move {
            app.sync(to).await;
            let process = &mut world.lock().processes[from];
            if process.life == life {
                process.busy -= 1;
            }
        });
    }

    fn arm_crash(&mut self, replica: usize) {
        let mut inner = self.world.lock();
        let (point, most) = match inner.random.below(3) {
            0 => (CrashPoint::Inside, 12),
            1 => (CrashPoint::Committed, 8),
            _ => (CrashPoint::Anywhere, 40),
        };
        let chances = 1 + inner.random.below(most);
        inner.log(|| format!("{replica} is to crash at {point:?}, chance {chances}"));
        inner.processes[replica].crash = Some((point, chances));
    }

    fn set_clock(&mut self, replica: usize, first: bool) {
        let mut inner = self.world.lock();
        let wrong = inner.random.chance(if first { self.settings.wrong_clocks } else { 700 });
        let most = self.settings.clock_error * 1_000_000;
        let clock = if wrong { inner.random.between(-most, most) } else { 0 };
        inner.log(|| format!("the clock of {replica} is off by {:.3}s", clock as f64 / 1e6));
        inner.processes[replica].clock = clock;
    }

    /// Lets tasks go on for a while.
    fn go_on(&mut self) -> Result<(), String> {
        let (pass, steps) = {
            let mut inner = self.world.lock();
            let gap = self.settings.gap * 1000;
            (inner.random.between(0, gap), inner.random.below(30))
        };
        self.scheduler.pass(pass);
        for _ in 0..steps {
            if !self.step()? {
                break;
            }
        }
        while self.scheduler.count() > TASKS {
            self.step()?;
        }
        Ok(())
    }

    /// One step of one task, and the crash that it comes to. `false` if there is nothing to do.
    fn step(&mut self) -> Result<bool, String> {
        let Some(process) = self.scheduler.step() else {
            return Ok(false);
        };
        let crashing = process != NETWORK && {
            let mut inner = self.world.lock();
            inner.crashes_at(process, CrashPoint::Anywhere);
            inner.processes[process].crashing
        };
        if crashing {
            self.crash(process);
        }
        match &self.world.lock().failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(true),
        }
    }

    /// Ends a process with all that it was doing, and looks at what its store holds.
    fn crash(&mut self, replica: usize) {
        self.summary.crashes += 1;
        let workspace = self.workspaces[replica].take();
        let engine = self.world.lock().processes[replica].engine.take();
        self.scheduler.kill(replica);
        drop((workspace, engine));
        {
            let mut inner = self.world.lock();
            inner.log(|| format!("{replica} crashes"));
            let down = match inner.random.chance(850) {
                true => inner.random.between(LEASE, LEASE + 4_000_000),
                false => inner.random.between(0, 2_000_000),
            };
            let now = inner.now;
            let process = &mut inner.processes[replica];
            process.life += 1;
            process.crash = None;
            process.crashing = false;
            process.busy = 0;
            process.down_until = now + down;
        }
        self.check_store(replica);
    }

    /// Starts what was down long enough.
    fn restart(&mut self) {
        for replica in 0..self.settings.replicas {
            let due = {
                let inner = self.world.lock();
                inner.healed || inner.processes[replica].down_until <= inner.now
            };
            if self.workspaces[replica].is_none() && due {
                self.open(replica);
            }
        }
    }

    /// Reads the store of a replica and compares it with what it must hold.
    fn check_store(&mut self, replica: usize) {
        let found: Option<sync_runtime::Result<Found>> = finish(look(&*self.stores[replica], &self.models));
        let mut inner = self.world.lock();
        match found {
            Some(Ok(found)) => {
                let verdict = inner.oracle.check_store(replica, &found);
                inner.check(verdict);
            }
            Some(Err(error)) => inner.fail(format!("the store of {replica} cannot be read: {error:?}")),
            None => inner.fail(format!("the store of {replica} cannot be read: it hangs")),
        }
    }

    fn check_all(&mut self) {
        for replica in 0..self.settings.replicas {
            self.check_store(replica);
        }
    }

    /// Ends all faults and lets everything under way come to its end.
    fn heal(&mut self) -> Result<(), String> {
        {
            let mut inner = self.world.lock();
            inner.healed = true;
            inner.event = self.settings.events;
            inner.log(|| "all is healed".to_owned());
            inner.processes.iter_mut().for_each(|process| process.crash = None);
        }
        self.restart();
        self.drain()?;
        self.scheduler.pass(LEASE);
        self.check_all();
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..DRAIN {
            if !self.step()? {
                return match self.scheduler.count() {
                    0 => Ok(()),
                    _ => Err("P8: tasks wait for something that never comes".to_owned()),
                };
            }
        }
        Err(format!("P8: the tasks of the run do not end within {DRAIN} steps"))
    }

    /// Syncs every pair until nothing travels any more, and resolves what is in conflict.
    fn settle(&mut self) -> Result<(), String> {
        let mut last = String::new();
        for round in 0..ROUNDS {
            let before = self.world.lock().oracle.changes;
            last.clear();
            for (from, to) in self.pairs.clone() {
                match self.sync_now(from, to)? {
                    Some(report) if report.level && report.pushed == 0 && report.pulled == 0 => {}
                    report => last = format!("{from} -> {to}: {report:?}"),
                }
                for replica in [from, to].into_iter().filter(|_| round < EVERYBODY) {
                    if self.resolve_now(replica)? {
                        last = format!("a conflict at {replica}");
                    }
                }
            }
            if round >= EVERYBODY {
                for replica in 0..self.settings.replicas {
                    if self.resolve_now(replica)? {
                        last = format!("a conflict at {replica}");
                        break;
                    }
                }
            }
            if last.is_empty() && self.world.lock().oracle.changes == before {
                return Ok(());
            }
        }
        Err(format!("P1: not quiet after {ROUNDS} rounds without faults; the last that moved: {last}"))
    }

    fn sync_now(&mut self, from: usize, to: usize) -> Result<Option<SyncReport>, String> {
        let Some(app) = self.app(from) else {
            return Err(format!("replica {from} is down after all was healed"));
        };
        let slot = Arc::new(Mutex::new(None));
        let filled = slot.clone();
        self.world.lock().spawn(from, async move {
            let report = app.sync(to).await;
            if let Ok(mut slot) = filled.lock() {
                *slot = report;
            }
        });
        self.drain()?;
        Ok(slot.lock().ok().and_then(|mut slot| slot.take()))
    }

    /// Resolves the conflicts of a replica; says whether there were any.
    fn resolve_now(&mut self, replica: usize) -> Result<bool, String> {
        let mut any = false;
        for model in 0..self.settings.models {
            // One record may be in conflict with every name that a peer ever had.
            let mut left = 8 * self.settings.records * self.settings.replicas;
            while let Some(app) = self.app(replica) {
                let slot = Arc::new(Mutex::new(false));
                let filled = slot.clone();
                self.world.lock().spawn(replica, async move {
                    let resolved = app.resolve(model).await;
                    if let Ok(mut slot) = filled.lock() {
                        *slot = resolved;
                    }
                });
                self.drain()?;
                let resolved = slot.lock().is_ok_and(|slot| *slot);
                if !resolved {
                    break;
                }
                any = true;
                self.summary.conflicts += 1;
                left = left.checked_sub(1).ok_or("P2: conflicts do not go away when they are resolved")?;
            }
        }
        Ok(any)
    }
}
