//! A deterministic simulator: replicas that write, sync, crash and lose messages, all drawn from one seed, on one
//! thread and a virtual clock; and an oracle that knows what must come of it.
//!
//! Run it over your own store:
//!
//! ```
//! use sync_testkit::sim::{Settings, simulate};
//! # use sync_store_memory::MemoryStore;
//!
//! for seed in 0..3 {
//!     if let Err(failure) = simulate(seed, &Settings::of(seed), |_replica| MemoryStore::new()) {
//!         panic!("{failure}");
//!     }
//! }
//! ```
//!
//! Each run has 2 to 5 replicas in a star, chain, ring or mesh. Events are drawn: writes, transactions over several
//! records, syncs, replications, resolutions, crashes, offline windows, clocks that are wrong. A crash drops every
//! future of a replica, at any point where it waits, inside a transaction, or right after a commit. Links lose
//! requests and answers, repeat requests, and bring them late. Then everything is healed, all pairs sync until
//! nothing moves, and conflicts are resolved.
//!
//! The oracle sees each transaction and each state that travels, keeps a graph of its own of which state came from
//! which, and checks:
//!
//! - P1: at the end all replicas hold the same records, tombstones and ancestries.
//! - P2: at each commit and at the end, nothing that was written is overwritten by what does not come from it; an
//!   ancestry claims nothing that was not seen; what counts as pushed is at the peer or parked.
//! - P3: no reported conflict is between a state and one that it comes from.
//! - P5: after each crash and at the end, record and change agree, and hold what was committed.
//! - P6: after each crash and at the end, what a pulled checkpoint covers is held or parked.
//! - P12: what was written in one transaction and not since is there together, after each commit; records that
//!   somebody else wrote beside it are left out.
//! - Only errors that belong to life happen; tasks end; syncs come to rest.
//!
//! A revision that a store took back under a new name counts as one with what replaced it: a conflict between
//! the two is not held to be false.
//!
//! The same seed gives the same run, if the store keeps to it: a transaction of the store must not wait for another
//! thread, and must not take time or randomness from elsewhere.

mod history;
mod link;
mod merges;
mod models;
mod oracle;
mod random;
mod run;
mod settings;
mod store;
mod work;
mod world;

#[doc(hidden)]
pub use random::Random;
pub use settings::{Settings, Topology};

use run::Run;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use sync_runtime::store::Store;

/// How many of the last events a failure shows.
const SHOWN: usize = 120;

type Stores<'a> = dyn Fn(usize) -> Arc<dyn Store> + 'a;

/// What a run without failure came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The hash of everything that happened, in order.
    pub trace: u64,
    /// Events of the faulty part.
    pub events: usize,
    /// Tracked writes.
    pub writes: u64,
    /// Syncs and replications that were begun in the faulty part.
    pub syncs: usize,
    /// Crashes that came to pass.
    pub crashes: usize,
    /// Conflicts that were resolved at the end.
    pub conflicts: usize,
}

/// A broken promise, and how to see it again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// Its settings.
    pub settings: Settings,
    /// What was broken.
    pub what: String,
    /// What happened before; only the end of it is displayed.
    pub events: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} breaks a promise", self.seed)?;
        writeln!(f, "settings: {:?}", self.settings)?;
        let last = self.events.len().saturating_sub(SHOWN);
        writeln!(f, "what happened last, of {} lines:", self.events.len())?;
        for event in &self.events[last..] {
            writeln!(f, "  {event}")?;
        }
        writeln!(f, "{}", self.what)?;
        write!(
            f,
            "again: SIM_SEED={} cargo test -p sync-testkit --test simulator one_seed -- --nocapture",
            self.seed
        )
    }
}

impl std::error::Error for Failure {}

/// Runs one seed over fresh stores; `stores` makes an empty one for the replica of this number.
///
/// # Errors
/// The first broken promise, with the events before it. A panic counts as one.
pub fn simulate<S: Store>(
    seed: u64,
    settings: &Settings,
    stores: impl Fn(usize) -> S,
) -> Result<Summary, Box<Failure>> {
    let stores = |replica| Arc::new(stores(replica)) as Arc<dyn Store>;
    let what = match attempt(seed, settings, &stores, false).0 {
        Ok(summary) => return Ok(summary),
        Err(what) => what,
    };
    // The same once more, with notes of what happens.
    let events = attempt(seed, settings, &stores, true).1;
    Err(Box::new(Failure { seed, settings: settings.clone(), what, events }))
}

fn attempt(
    seed: u64,
    settings: &Settings,
    stores: &Stores<'_>,
    logging: bool,
) -> (Result<Summary, String>, Vec<String>) {
    let mut run = Run::new(seed, settings, stores, logging);
    let done = catch_unwind(AssertUnwindSafe(|| run.go())).unwrap_or_else(|panic| {
        let told = panic.downcast_ref::<String>().cloned();
        let told = told.or_else(|| panic.downcast_ref::<&str>().map(|told| (*told).to_owned()));
        Err(format!("a panic: {}", told.unwrap_or_default()))
    });
    (done, run.world.take_log())
}
