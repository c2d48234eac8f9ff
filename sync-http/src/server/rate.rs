//! How often one caller may ask.

use crate::problem::Problem;
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use sync_runtime::{Caller, ErrorKind};

/// After so many requests the callers are forgotten who have their whole burst again.
const FORGET: u32 = 10_000;

/// How often one caller may ask: so many requests at once, and so many a second in the long run.
///
/// ```
/// use sync_http::RateLimit;
///
/// assert_eq!(RateLimit::default(), RateLimit { burst: 1_000, per_second: 100 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests at once.
    pub burst: u32,
    /// Requests a second.
    pub per_second: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        RateLimit { burst: 1_000, per_second: 100 }
    }
}

/// The requests of all callers.
pub(super) struct Rates {
    limiter: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
    asked: AtomicU32,
}

impl Rates {
    pub(super) fn new(limit: RateLimit) -> Self {
        let number = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(number(limit.per_second)).allow_burst(number(limit.burst));
        Rates { limiter: RateLimiter::hashmap(quota), asked: AtomicU32::new(0) }
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
            let problem =
                Problem::new(ErrorKind::Busy, "too many requests; ask again later").with_status(429);
            Problem { retry_after: Some(wait.as_secs() + 1), ..problem }
        })
    }
}
