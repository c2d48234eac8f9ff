//! A caller that goes away, after any number of polls, leaves no transaction open behind it and takes nothing back that
//! was acknowledged.

#![cfg(feature = "postgres")]

#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/world.rs"]
mod world;

use postgres::{RUNTIME, Schema};
use sqlx::{Connection, Executor, PgConnection, Row};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use sync_runtime::store::{Access, Expect, Feed, Saved, Store, transact};
use sync_runtime::{Id, Result};
use sync_store_sql::SqlStore;
use world::{NOTE, World, me, models, note, saving};

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

#[test]
fn a_dropped_caller_leaves_no_transaction_open_and_loses_nothing() {
    let schema = Schema::new();
    let url = format!("{}&application_name={}", schema.url(), schema.0);
    RUNTIME.block_on(async {
        // One connection: the next transaction gets the very one that the dropped caller had.
        let store = SqlStore::builder(&url).connections(1).open().await.expect("it opens");
        store.prepare(&models(&[&NOTE]), me()).await.expect("prepared");
        let mut plain = PgConnection::connect(&schema.url()).await.expect("a connection");
        for polls in 1..=POLLS {
            let id = polls as i64 * 10;
            poll_and_drop(save(&store, id), polls).await;
            poll_and_drop(pull(&store), polls).await;
            poll_and_drop(Box::pin(async { store.version().await.map(|_| ()) }), polls).await;
            save(&store, id + 1).await.expect("acknowledged");
            let found = sqlx::query("SELECT count(*) FROM note WHERE id = $1").bind(id + 1);
            let count: i64 = found.fetch_one(&mut plain).await.expect("a count").get(0);
            assert_eq!(count, 1, "acknowledged, and not there: after {polls} polls");
        }
        // The last ones that were dropped may be on their way to their end still; one left open would never get there.
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let open = sqlx::query(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL",
            );
            let open: i64 = open.bind(&schema.0).fetch_one(&mut plain).await.expect("a count").get(0);
            if open == 0 {
                break;
            }
            assert!(Instant::now() < until, "{open} transactions stay open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        plain.execute("SELECT 1").await.expect("it lives");
    });
    // A restart finds what was acknowledged.
    let world = World::open(&schema.url(), &[&NOTE]);
    for polls in 1..=POLLS as i64 {
        assert!(world.record(&NOTE, Id::Int(polls * 10 + 1)).is_some());
    }
}
