//! The simulator over the memory store: clean runs, and with the feature `planted` runs that must not be clean.
//!
//! `SIM_SEEDS` sets how many seeds run, `SIM_FIRST` where they begin, `SIM_SEED` the one of `one_seed`, which
//! with `SIM_ALL=1` shows all that happened before a failure.

#![allow(clippy::unwrap_used)]

use sync_store_memory::MemoryStore;
use sync_testkit::sim::{Failure, Settings, Summary, simulate};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

fn run(seed: u64) -> Result<Summary, Box<Failure>> {
    simulate(seed, &Settings::of(seed), |_| MemoryStore::new())
}

/// Runs every second of the seeds, so that two tests share them.
fn run_clean(turn: u64) {
    let (first, count) = (number("SIM_FIRST").unwrap_or(0), number("SIM_SEEDS").unwrap_or(20_000));
    let began = std::time::Instant::now();
    let mut all = Summary::default();
    for seed in (first..first + count).filter(|seed| seed % 2 == turn) {
        match run(seed) {
            Ok(one) => {
                all.events += one.events;
                all.writes += one.writes;
                all.syncs += one.syncs;
                all.crashes += one.crashes;
                all.conflicts += one.conflicts;
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("seeds {first} to {}, every second: {all:?}", first + count);
    println!("{:.0} events a second, {seconds:.1} s", all.events as f64 / seconds);
}

#[test]
fn even_seeds_are_clean() {
    run_clean(0);
}

#[test]
fn odd_seeds_are_clean() {
    run_clean(1);
}

/// The run that a failure asks for.
#[test]
fn one_seed() {
    match run(number("SIM_SEED").unwrap_or(1)) {
        Ok(summary) => println!("{summary:?}"),
        Err(failure) => {
            if number("SIM_ALL").is_some() {
                failure.events.iter().for_each(|event| println!("{event}"));
            }
            panic!("{failure}")
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..100 {
        let (first, second) = (run(seed).unwrap(), run(seed).unwrap());
        assert_eq!(first, second, "seed {seed}");
        assert_ne!(first.trace, run(seed + 100).unwrap().trace, "seed {seed} and another");
    }
}

#[cfg(feature = "planted")]
mod planted {
    use super::{Settings, run};
    use sync_runtime::planted::{Bug, plant};

    /// The most seeds that may pass before a bug of tracking or of messages is found.
    const SEEDS: u64 = 2_000;
    /// The same for bugs of merging.
    const SEEDS_OF_MERGING: u64 = 5_000;

    fn is_found(bug: Bug) {
        is_found_within(bug, SEEDS);
    }

    fn is_found_within(bug: Bug, seeds: u64) {
        plant(Some(bug));
        let found = (0..seeds).find_map(|seed| run(seed).err());
        plant(None);
        let failure = found.unwrap_or_else(|| panic!("{bug:?} was not found in {seeds} seeds"));
        println!("{bug:?} found at seed {}: {}", failure.seed, failure.what);
        let clean = run(failure.seed);
        assert!(clean.is_ok(), "the same seed without the bug: {}", clean.unwrap_err());
        assert_eq!(failure.settings, Settings::of(failure.seed));
    }

    #[test]
    fn a_checkpoint_before_its_data_is_found() {
        is_found(Bug::CheckpointFirst);
    }

    #[test]
    fn a_retry_applied_twice_is_found() {
        is_found(Bug::NoDedupe);
    }

    #[test]
    fn an_acknowledgement_that_clears_a_newer_edit_is_found() {
        is_found(Bug::AckClearsNewer);
    }

    #[test]
    fn a_pull_that_overwrites_an_edit_is_found() {
        is_found(Bug::PullOverwrites);
    }

    #[test]
    fn a_record_without_its_change_is_found() {
        is_found(Bug::NotAtomic);
    }

    #[test]
    fn the_base_of_the_first_edit_is_found() {
        is_found_within(Bug::FirstBase, SEEDS_OF_MERGING);
    }

    #[test]
    fn equal_increments_that_are_joined_are_found() {
        is_found_within(Bug::EqualIncrements, SEEDS_OF_MERGING);
    }

    #[test]
    fn a_patch_on_a_mere_ancestor_is_found() {
        is_found_within(Bug::LoosePatch, SEEDS_OF_MERGING);
    }

    #[test]
    fn last_write_by_the_stamp_of_the_record_is_found() {
        is_found_within(Bug::RecordStamp, SEEDS_OF_MERGING);
    }

    #[test]
    fn one_base_for_every_peer_is_found() {
        is_found_within(Bug::OneBase, SEEDS_OF_MERGING);
    }

    #[test]
    fn a_resolution_that_ignores_a_newer_version_is_found() {
        is_found_within(Bug::BlindResolution, SEEDS_OF_MERGING);
    }
}
