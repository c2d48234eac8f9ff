//! Time, randomness, sleeping and spawning: the only way the engine reaches for the world outside.

use crate::version::{ReplicaId, STAMP_LIMIT, Stamp};
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use uuid::Uuid;

/// A future in a box; `Send` except on wasm32, where nothing is.
#[cfg(not(target_arch = "wasm32"))]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A future in a box; `Send` except on wasm32, where nothing is.
#[cfg(target_arch = "wasm32")]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// `Send` except on wasm32.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + ?Sized> MaybeSend for T {}
/// `Send` except on wasm32.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSend {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSend for T {}

/// `Sync` except on wasm32: an `Arc` of what is not `Send` is not `Sync`.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSync: Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Sync + ?Sized> MaybeSync for T {}
/// `Sync` except on wasm32: an `Arc` of what is not `Send` is not `Sync`.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSync {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSync for T {}

/// What the engine needs of the world. Tests inject a virtual clock and a seeded source of randomness.
pub trait Env: Debug + Send + Sync + 'static {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> Stamp;

    /// Fills the buffer with random bytes.
    fn random(&self, buffer: &mut [u8]);

    /// Ends after this long.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;

    /// Runs a task until it ends, whatever happens to the caller.
    fn spawn(&self, name: &str, task: BoxFuture<'static, ()>);
}

/// A fresh random replica id.
pub(crate) fn fresh_replica(env: &dyn Env) -> ReplicaId {
    let mut bytes = [0; 16];
    env.random(&mut bytes);
    ReplicaId(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// A fresh v7 UUID, by this environment's clock and randomness.
pub(crate) fn fresh_uuid(env: &dyn Env) -> Uuid {
    let mut bytes = [0; 10];
    env.random(&mut bytes);
    let millis = (env.now().max(0) / 1000) as u64;
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

/// A clock's microseconds within what a stamp can be.
pub fn clamp_stamp(micros: i128) -> Stamp {
    micros.clamp(0, i128::from(STAMP_LIMIT) - 1) as Stamp
}

/// The system's clock and randomness, a timer thread, and a thread for each task; needs no async runtime.
///
/// ```
/// use sync_runtime::{Env, SystemEnv};
///
/// assert!(SystemEnv.now() > 1_700_000_000_000_000);
/// ```
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnv;

#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
impl Env for SystemEnv {
    fn now(&self) -> Stamp {
        use std::time::{SystemTime, UNIX_EPOCH};
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => clamp_stamp(since.as_micros() as i128),
            Err(_) => 0,
        }
    }

    fn random(&self, buffer: &mut [u8]) {
        // Without randomness two stores could take one name; there is nothing sound to go on with.
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(futures_timer::Delay::new(time))
    }

    fn spawn(&self, name: &str, task: BoxFuture<'static, ()>) {
        let thread = std::thread::Builder::new().name(name.to_owned());
        if let Err(error) = thread.spawn(move || pollster::block_on(task)) {
            eprintln!("syncable: no thread for {name}: {error}");
        }
    }
}
