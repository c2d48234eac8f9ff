//! How often one caller may ask. How much of it is at work at a time, `turns` says.

use crate::problem::Problem;
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use sync_runtime::{Caller, ErrorKind};

/// After so many requests the callers are forgotten who have their whole burst again.
const FORGET: u32 = 10_000;
/// After how many seconds to ask for a stream again that was one too many.
const WAIT_FOR_STREAM: u64 = 60;

/// How often one caller may ask: so many requests at once, and so many a second in the long run.
///
/// ```
/// use sync_http::RateLimit;
///
/// let limit = RateLimit::default();
/// assert_eq!((limit.burst, limit.per_second, limit.streams), (1_000, 100, 100));
/// assert_eq!((limit.at_work, limit.on_the_way), (16, 256 << 20));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests at once.
    pub burst: u32,
    /// Requests a second.
    pub per_second: u32,
    /// Requests at work at the same time, at one process; one with a large body counts for a quarter of them. More wait for
    /// their turn, for at most the request time.
    pub at_work: u32,
    /// Bytes of large bodies that are coming, and of large answers that are not yet read, at the same time, at one process.
    pub on_the_way: usize,
    /// Streams of events that are open at the same time, at one process.
    pub streams: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        RateLimit { burst: 1_000, per_second: 100, at_work: 16, on_the_way: 256 << 20, streams: 100 }
    }
}

/// The requests of all callers.
pub(super) struct Rates {
    limiter: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
    asked: AtomicU32,
    /// How many streams each subject has open.
    streams: Mutex<HashMap<String, u32>>,
    most_streams: u32,
}

/// A stream that counts for its subject while it is open.
pub(super) struct OpenStream {
    rates: Arc<Rates>,
    subject: String,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut streams = self.rates.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = streams.get_mut(&self.subject) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                streams.remove(&self.subject);
            }
        }
    }
}

impl Rates {
    pub(super) fn new(limit: RateLimit) -> Self {
        let number = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(number(limit.per_second)).allow_burst(number(limit.burst));
        Rates {
            limiter: RateLimiter::hashmap(quota),
            asked: AtomicU32::new(0),
            streams: Mutex::default(),
            most_streams: limit.streams,
        }
    }

    /// Counts a stream of this caller for as long as what it gives is kept. The owner of the store may have any number.
    pub(super) fn open(self: &Arc<Self>, caller: &Caller) -> Result<Option<OpenStream>, Problem> {
        let Some(subject) = caller.subject() else { return Ok(None) };
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let open = streams.get(subject).copied().unwrap_or(0);
        if open >= self.most_streams {
            return Err(too_many("streams of events", WAIT_FOR_STREAM));
        }
        streams.insert(subject.to_owned(), open + 1);
        Ok(Some(OpenStream { rates: self.clone(), subject: subject.to_owned() }))
    }

    /// Counts a request of this caller, or says when to ask again. The owner of the store may ask always.
    pub(super) fn count(&self, caller: &Caller) -> Result<(), Problem> {
        let Some(subject) = caller.subject() else { return Ok(()) };
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET == FORGET - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(&subject.to_owned()).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            too_many("requests", wait.as_secs() + 1)
        })
    }
}

pub(super) fn too_many(what: &str, seconds: u64) -> Problem {
    let detail = format!("too many {what}; ask again later");
    Problem { retry_after: Some(seconds), ..Problem::new(ErrorKind::Busy, detail).with_status(429) }
}
