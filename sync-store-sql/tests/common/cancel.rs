//! A caller that goes away after any number of polls.

#![allow(unreachable_pub)]

use crate::plain::Plain;
use crate::world::{NOTE, World, me, models, note, saving};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use sync_runtime::store::{Access, Expect, Feed, Saved, Store, transact};
use sync_runtime::{Id, Result};
use sync_store_sql::SqlStore;

const POLLS: usize = 200;

/// Polls so many times, with some time in between, and drops what is not done then.
async fn poll_and_drop(mut work: Pin<Box<dyn Future<Output = Result<()>> + Send + '_>>, polls: usize) {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            done.expect("what is done went well");
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn save(store: &SqlStore, id: i64) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
    let write = saving(&NOTE, note(id, "saved", None), Expect::Any);
    Box::pin(transact(store, Access::WRITE, move |t| {
        Box::pin(async move {
            assert_eq!(t.save(vec![write], id).await?, [Saved::Tracked]);
            Ok(())
        })
    }))
}

fn pull(store: &SqlStore) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
    Box::pin(transact(store, Access::READ.feed(), |t| {
        Box::pin(async move { t.feed(&Feed { data: true, ..Feed::after(0) }).await.map(|_| ()) })
    }))
}

/// Leaves no transaction open and loses nothing that was acknowledged. `open` counts the transactions that the store has
/// open.
pub async fn a_dropped_caller_leaves_nothing_open(url: &str, mut plain: Box<dyn Plain>, open: &str) {
    // One connection: the next transaction gets the very one that the dropped caller had.
    let store = SqlStore::builder(url).connections(1).open().await.expect("it opens");
    store.prepare(&models(&[&NOTE]), me()).await.expect("prepared");
    for polls in 1..=POLLS {
        let id = polls as i64 * 10;
        poll_and_drop(save(&store, id), polls).await;
        poll_and_drop(pull(&store), polls).await;
        poll_and_drop(Box::pin(async { store.version().await.map(|_| ()) }), polls).await;
        save(&store, id + 1).await.expect("acknowledged");
        let found = plain.numbers(&format!("SELECT count(*) FROM note WHERE id = {}", id + 1)).await;
        assert_eq!(found, [1], "acknowledged, and not there: after {polls} polls");
    }
    // The last ones that were dropped may be on their way to their end still; one left open would never get there.
    let until = Instant::now() + Duration::from_secs(10);
    while plain.numbers(open).await != [0] {
        assert!(Instant::now() < until, "a transaction stays open");
        // MariaDB goes on telling what it told less than a tenth of a second ago.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A restart finds what was acknowledged.
pub fn what_was_acknowledged_is_there(url: &str) {
    let world = World::open(url, &[&NOTE]);
    for polls in 1..=POLLS as i64 {
        assert!(world.record(&NOTE, Id::Int(polls * 10 + 1)).is_some());
    }
}
