//! The world as a case bends it: a clock that is wrong, and sleeps that are short and remembered.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use sync_runtime::{BoxFuture, Env, Stamp};

/// An environment over another one. Clones are the same.
#[derive(Debug, Clone)]
pub struct BentEnv {
    inner: Arc<dyn Env>,
    bent: Arc<Bent>,
}

#[derive(Debug)]
struct Bent {
    /// Added to the clock, in microseconds.
    ahead: AtomicI64,
    /// What the clock shows always; negative if it runs.
    frozen: AtomicI64,
    /// What sleeps are divided by.
    haste: AtomicU32,
    slept: Mutex<Vec<Duration>>,
}

impl BentEnv {
    /// The other environment, not bent yet.
    pub fn new(inner: Arc<dyn Env>) -> Self {
        let bent = Bent {
            ahead: AtomicI64::new(0),
            frozen: AtomicI64::new(-1),
            haste: AtomicU32::new(1),
            slept: Mutex::default(),
        };
        BentEnv { inner, bent: Arc::new(bent) }
    }

    /// Sets the clock so many microseconds ahead; negative is behind.
    pub fn ahead(&self, micros: i64) {
        self.bent.frozen.store(-1, Ordering::Relaxed);
        self.bent.ahead.store(micros, Ordering::Relaxed);
    }

    /// Stops the clock at this stamp.
    pub fn freeze(&self, at: Stamp) {
        self.bent.frozen.store(at, Ordering::Relaxed);
    }

    /// Makes sleeps so many times shorter than they are asked for.
    pub fn haste(&self, times: u32) {
        self.bent.haste.store(times.max(1), Ordering::Relaxed);
    }

    /// The sleeps that were asked for so far, in order.
    pub fn slept(&self) -> Vec<Duration> {
        self.bent.slept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Env for BentEnv {
    fn now(&self) -> Stamp {
        match self.bent.frozen.load(Ordering::Relaxed) {
            at if at >= 0 => at,
            _ => (self.inner.now() + self.bent.ahead.load(Ordering::Relaxed)).max(0),
        }
    }

    fn random(&self, buffer: &mut [u8]) {
        self.inner.random(buffer);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.bent.slept.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        self.inner.sleep(time / self.bent.haste.load(Ordering::Relaxed))
    }

    fn spawn(&self, name: &str, task: BoxFuture<'static, ()>) {
        self.inner.spawn(name, task);
    }
}
