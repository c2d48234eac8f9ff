//! Who polls a transaction: its caller, and if that is dropped in the middle, whoever needs the store next.
//!
//! Most transactions end inside one poll and cannot be cut. One whose work waits for something can: its future is then
//! kept here, still holding the lock, and the next who wants the lock drives it to its end first. So a transaction once
//! begun runs to its end, nobody ever sees half of it, and no thread or runtime is needed for that. On wasm32 a future
//! cannot be handed from task to task; there it is rolled back instead. If nobody uses the store again, it is
//! rolled back with the last handle, as if the process had ended.

use futures_util::future::{Either, FutureExt, Shared, select};
use futures_util::lock::{Mutex, OwnedMutexGuard};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use sync_runtime::{BoxFuture, Error, ErrorKind, Result};

/// A lock whose holder's future outlives the task that polled it.
pub(crate) struct Driver<S> {
    state: Arc<Mutex<S>>,
    /// The transaction that holds the lock and lost its caller.
    #[cfg(not(target_arch = "wasm32"))]
    left: std::sync::Mutex<Option<Shared<BoxFuture<'static, ()>>>>,
    /// Somebody who waits for the lock has to look at `left`.
    cut: event_listener::Event,
}

impl<S: Default> Default for Driver<S> {
    fn default() -> Self {
        Driver::new(S::default())
    }
}

impl<S> Driver<S> {
    pub(crate) fn new(state: S) -> Self {
        Driver {
            state: Arc::new(Mutex::new(state)),
            #[cfg(not(target_arch = "wasm32"))]
            left: std::sync::Mutex::new(None),
            cut: event_listener::Event::new(),
        }
    }

    /// Takes the lock, after everybody who has it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] inside a transaction of the same store, which would wait for itself.
    pub(crate) async fn lock(&self) -> Result<OwnedMutexGuard<S>> {
        loop {
            if let Some(state) = self.state.try_lock_owned() {
                return Ok(state);
            }
            if INSIDE.with_borrow(|stores| stores.contains(&self.key())) {
                let message = "a transaction of the memory store was begun inside another one of the same store, for \
                               which it would wait for ever; pass the transaction on instead";
                return Err(Error::new(ErrorKind::Usage, message));
            }
            let cut = self.cut.listen();
            if let Some(left) = self.left() {
                left.await;
                continue;
            }
            if let Either::Left((state, _)) = select(self.state.clone().lock_owned(), cut).await {
                return Ok(state);
            }
        }
    }

    /// Polls a future that holds the lock to its end.
    pub(crate) async fn run(&self, work: BoxFuture<'static, Result<()>>) -> Result<()> {
        Driven { driver: self, work: Some(Inside { store: self.key(), work }) }.await
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn left(&self) -> Option<Shared<BoxFuture<'static, ()>>> {
        // The lock is never held over a panic.
        let mut left = self.left.lock().ok()?;
        left.take_if(|left| left.peek().is_some());
        left.clone()
    }

    #[cfg(target_arch = "wasm32")]
    fn left(&self) -> Option<Shared<BoxFuture<'static, ()>>> {
        None
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn leave(&self, work: Inside) {
        // A panic would reach a caller who has nothing to do with it; the transaction rolled back by then.
        let work = std::panic::AssertUnwindSafe(work).catch_unwind().map(drop).boxed();
        if let Ok(mut left) = self.left.lock() {
            *left = Some(work.shared());
        }
        self.cut.notify(usize::MAX);
    }

    #[cfg(target_arch = "wasm32")]
    fn leave(&self, work: Inside) {
        drop(work);
    }

    fn key(&self) -> usize {
        Arc::as_ptr(&self.state).addr()
    }
}

struct Driven<'a, S> {
    driver: &'a Driver<S>,
    work: Option<Inside>,
}

impl<S> Future for Driven<'_, S> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(Err(Error::new(ErrorKind::Usage, "a transaction was polled after its end")));
        };
        let polled = work.poll_unpin(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<S> Drop for Driven<'_, S> {
    fn drop(&mut self) {
        // A panic of the work unwinds through here: there is nothing left to drive then.
        if let Some(work) = self.work.take()
            && !std::thread::panicking()
        {
            self.driver.leave(work);
        }
    }
}

thread_local! {
    /// The stores whose transactions are being polled on this thread, the innermost last.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Notes while it is polled that a transaction of this store is.
struct Inside {
    store: usize,
    work: BoxFuture<'static, Result<()>>,
}

impl Future for Inside {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                INSIDE.with_borrow_mut(Vec::pop);
            }
        }
        INSIDE.with_borrow_mut(|stores| stores.push(self.store));
        let _leave = Leave;
        self.work.poll_unpin(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_channel::oneshot;
    use futures_util::task::noop_waker_ref;

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        future.poll_unpin(&mut Context::from_waker(noop_waker_ref()))
    }

    /// A transaction that waits for the channel and then counts one up.
    fn waiting(
        mut count: OwnedMutexGuard<i32>,
        until: oneshot::Receiver<()>,
    ) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            assert!(until.await.is_ok(), "never released");
            *count += 1;
            Ok(())
        })
    }

    fn locked(driver: &Driver<i32>) -> OwnedMutexGuard<i32> {
        pollster::block_on(driver.lock()).expect("free")
    }

    #[test]
    fn the_next_one_drives_what_lost_its_caller() {
        let driver = Driver::new(0);
        let (release, released) = oneshot::channel();
        let mut caller = Box::pin(driver.run(waiting(locked(&driver), released)));
        assert!(poll(&mut caller).is_pending());
        drop(caller);
        let mut next = Box::pin(driver.lock());
        assert!(poll(&mut next).is_pending());
        release.send(()).expect("still there");
        assert_eq!(*pollster::block_on(next).expect("free"), 1);
        assert!(driver.left().is_none());
    }

    #[test]
    fn whoever_waits_already_is_woken_to_drive_it() {
        let driver = Arc::new(Driver::new(0));
        let (release, released) = oneshot::channel();
        let (dropped, was_dropped) = oneshot::channel::<()>();
        let mut caller = Box::pin(driver.run(waiting(locked(&driver), released)));
        assert!(poll(&mut caller).is_pending());
        let waiting = driver.clone();
        let thread = std::thread::spawn(move || {
            pollster::block_on(async move {
                let wish = async { *waiting.lock().await.expect("free") };
                let release = async {
                    was_dropped.await.expect("dropped");
                    release.send(()).expect("still there");
                };
                futures_util::future::join(wish, release).await.0
            })
        });
        // Long enough for the thread to wait; if it does not, the test proves less but does not fail.
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(caller);
        dropped.send(()).expect("the thread waits");
        assert_eq!(thread.join().expect("no panic"), 1);
    }

    #[test]
    fn one_of_two_drivers_may_go_too() {
        let driver = Driver::new(0);
        let (release, released) = oneshot::channel();
        let mut caller = Box::pin(driver.run(waiting(locked(&driver), released)));
        assert!(poll(&mut caller).is_pending());
        let mut first = Box::pin(driver.lock());
        let mut second = Box::pin(driver.lock());
        drop({
            assert!(poll(&mut first).is_pending());
            caller
        });
        assert!(poll(&mut first).is_pending());
        assert!(poll(&mut second).is_pending());
        drop(first);
        release.send(()).expect("still there");
        assert_eq!(*pollster::block_on(second).expect("free"), 1);
    }

    #[test]
    fn a_panic_in_what_was_left_reaches_nobody() {
        let driver = Driver::new(0);
        let (release, released) = oneshot::channel::<()>();
        let mut caller = Box::pin(driver.run(waiting(locked(&driver), released)));
        assert!(poll(&mut caller).is_pending());
        drop(caller);
        drop(release);
        assert_eq!(*locked(&driver), 0);
        assert_eq!(*locked(&driver), 0);
    }

    #[test]
    fn a_transaction_inside_a_transaction_is_refused() {
        let driver = Arc::new(Driver::new(0));
        let (state, inner) = (locked(&driver), driver.clone());
        let nested = async move {
            let _state = state;
            inner.lock().await.map(drop)
        };
        let error = pollster::block_on(driver.run(Box::pin(nested))).expect_err("it would wait for itself");
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("inside another one"), "{error}");
        assert_eq!(*locked(&driver), 0, "and the store goes on");
    }
}
