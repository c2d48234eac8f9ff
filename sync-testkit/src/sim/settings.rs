//! What a run is made of: how many replicas, how they are linked, and how often what goes wrong.

use super::random::Random;

/// Who syncs with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// Every client with one server, with two servers also the servers with each other.
    Star,
    /// Each replica with the next one.
    Chain,
    /// Each replica with the next one, the last with the first.
    Ring,
    /// Each replica with every other.
    Mesh,
}

/// What a run is made of. Rates are in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Replicas, 2 to 5.
    pub replicas: usize,
    /// How many of them only answer: 1 or 2, fewer than there are replicas. Matters in a star.
    pub servers: usize,
    /// Who syncs with whom.
    pub topology: Topology,
    /// Whether the second of a pair may start a sync too.
    pub both_ways: bool,
    /// Records that are written, over all models.
    pub records: usize,
    /// Models, 1 to 3.
    pub models: usize,
    /// Events of the faulty part of the run: a write, a sync, a resolution, a crash, a jump of a clock.
    pub events: usize,
    /// The largest page that a syncing replica asks for.
    pub page: usize,
    /// The largest page that a replica accepts.
    pub accepted_page: usize,
    /// How many events are local writes.
    pub writes: u32,
    /// How many events resolve a conflict, if there is one.
    pub resolutions: u32,
    /// How many writes are transactions over several records.
    pub groups: u32,
    /// How many syncs go one way only, or are replications.
    pub one_way: u32,
    /// Whether single models are replicated too; then nothing is said of what was written together.
    pub by_model: bool,
    /// Requests that are lost.
    pub lost_requests: u32,
    /// Answers that are lost.
    pub lost_answers: u32,
    /// Requests that come twice.
    pub repeated: u32,
    /// Requests that come, or come again, after newer ones.
    pub late: u32,
    /// The longest time that a message travels, in milliseconds.
    pub delay: i64,
    /// The longest time between two events, in milliseconds.
    pub gap: i64,
    /// How many events crash a replica.
    pub crashes: u32,
    /// How many events begin an offline window.
    pub offline: u32,
    /// The length of an offline window in events, at least and at most.
    pub offline_window: (usize, usize),
    /// How many replicas have a wrong clock.
    pub wrong_clocks: u32,
    /// How far a wrong clock is off at most, in seconds.
    pub clock_error: i64,
    /// How many events set a clock anew.
    pub clock_jumps: u32,
    /// Whether servers have a rule for what is pushed to them.
    pub rules: bool,
    /// How often a store lets others go first, before, in or after a transaction.
    pub yields: u32,
}

impl Settings {
    /// Settings drawn from a seed: the worst bugs show only where the settings are unusual.
    pub fn drawn(seed: u64) -> Settings {
        let random = &mut Random::new(seed ^ 0x5e77_1465);
        let replicas = random.between(2, 5) as usize;
        let quiet = random.chance(100);
        let good_clocks = random.chance(500);
        let rate = |random: &mut Random, most: i64| match quiet {
            true => 0,
            false => random.between(0, most) as u32,
        };
        Settings {
            replicas,
            servers: random.between(1, 2).min(replicas as i64 - 1) as usize,
            topology: random
                .pick(&[Topology::Star, Topology::Star, Topology::Chain, Topology::Ring, Topology::Mesh])
                .unwrap_or(Topology::Star),
            both_ways: random.chance(300),
            records: random.between(2, 20) as usize,
            models: random.between(1, 3) as usize,
            events: 300,
            page: random.between(1, 8) as usize,
            accepted_page: random.between(1, 8) as usize,
            writes: random.between(250, 750) as u32,
            resolutions: random.between(0, 150) as u32,
            groups: random.between(0, 400) as u32,
            one_way: random.between(0, 250) as u32,
            by_model: random.chance(300),
            lost_requests: rate(random, 200),
            lost_answers: rate(random, 300),
            repeated: rate(random, 200),
            late: rate(random, 150),
            delay: random.between(0, 500),
            gap: random.between(1, 2000),
            crashes: rate(random, 40),
            offline: rate(random, 20),
            offline_window: (50, 450),
            wrong_clocks: if good_clocks { 0 } else { rate(random, 700) },
            clock_error: random.between(1, 3600),
            clock_jumps: if good_clocks { 0 } else { rate(random, 10) },
            yields: random.between(0, 400) as u32,
            rules: random.chance(400),
        }
    }

    /// Settings that are the same for every seed: some bugs show more often so.
    pub fn fixed() -> Settings {
        Settings {
            replicas: 4,
            servers: 1,
            topology: Topology::Star,
            both_ways: false,
            records: 8,
            models: 2,
            events: 300,
            page: 4,
            accepted_page: 8,
            writes: 500,
            resolutions: 80,
            groups: 150,
            one_way: 50,
            by_model: false,
            lost_requests: 100,
            lost_answers: 150,
            repeated: 100,
            late: 50,
            delay: 100,
            gap: 500,
            crashes: 20,
            offline: 10,
            offline_window: (50, 150),
            wrong_clocks: 250,
            clock_error: 300,
            clock_jumps: 2,
            rules: true,
            yields: 200,
        }
    }

    /// The settings of a seed: every fifth has the fixed ones.
    pub fn of(seed: u64) -> Settings {
        if seed.is_multiple_of(5) { Settings::fixed() } else { Settings::drawn(seed) }
    }

    /// Who syncs with whom, as (who begins, with whom).
    pub(crate) fn pairs(&self) -> Vec<(usize, usize)> {
        let count = self.replicas;
        let mut pairs = match self.topology {
            Topology::Star => {
                let servers = self.servers.min(count - 1);
                let clients = (servers..count).map(|client| (client, client % servers));
                let between = (1..servers).map(|server| (server, server - 1));
                between.chain(clients).collect()
            }
            Topology::Chain => (1..count).map(|replica| (replica, replica - 1)).collect::<Vec<_>>(),
            Topology::Ring => (0..count)
                .map(|replica| (replica, (replica + 1) % count))
                .filter(|pair| count > 2 || *pair == (0, 1))
                .collect(),
            Topology::Mesh => (1..count).flat_map(|late| (0..late).map(move |early| (late, early))).collect(),
        };
        if self.both_ways {
            let turned: Vec<_> = pairs.iter().map(|(first, second)| (*second, *first)).collect();
            pairs.extend(turned);
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_replica_is_linked() {
        for seed in 0..200 {
            let settings = Settings::drawn(seed);
            let pairs = settings.pairs();
            let mut reached = vec![0];
            while let Some((a, b)) = pairs.iter().find(|(a, b)| reached.contains(a) != reached.contains(b)) {
                reached.extend([*a, *b]);
            }
            reached.sort_unstable();
            reached.dedup();
            assert_eq!(reached.len(), settings.replicas, "{settings:?}");
        }
    }
}
