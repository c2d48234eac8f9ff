//! Positions on PostgreSQL are commit order as readers see it: nothing is skipped, whatever order concurrent
//! transactions commit in, and what was written together is seen together.

#![cfg(feature = "postgres")]

#[path = "common/order.rs"]
mod order;
#[path = "common/plain.rs"]
mod plain;
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/world.rs"]
mod world;

use plain::Plain;
use postgres::{RUNTIME, Schema};
use sqlx::{Connection, PgConnection};
use std::time::Duration;
use sync_runtime::BoxFuture;
use world::{NOTE, World};

async fn connection(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("a connection")
}

fn boxed(url: String) -> BoxFuture<'static, Box<dyn Plain>> {
    Box::pin(async move { Box::new(connection(&url).await) as Box<dyn Plain> })
}

async fn run(connection: &mut PgConnection, sql: String) {
    connection.run(&sql).await;
}

#[test]
fn nothing_is_skipped_with_sixteen_writers_and_four_pullers() {
    let schema = Schema::new();
    let store = World::open(&schema.url(), &[&NOTE]).store;
    RUNTIME.block_on(order::nothing_is_skipped(store, || boxed(schema.url()), true));
}

/// That the tests here can fail.
#[test]
fn with_a_plain_sequence_the_late_row_would_be_skipped() {
    let schema = Schema::new();
    schema.sql("CREATE TABLE t(n bigserial PRIMARY KEY, name text)");
    RUNTIME.block_on(async {
        order::a_plain_sequence_skips(boxed(schema.url()).await, boxed(schema.url()).await).await;
    });
}

#[test]
fn a_row_that_commits_late_is_not_skipped() {
    let schema = Schema::new();
    let world = World::open(&schema.url(), &[&NOTE]);
    RUNTIME.block_on(async {
        let (mut slow, mut quick) = (connection(&schema.url()).await, connection(&schema.url()).await);
        run(&mut slow, "BEGIN; INSERT INTO note(id, title) VALUES (1, 'slow')".into()).await;
        run(&mut quick, "INSERT INTO note(id, title) VALUES (2, 'quick')".into()).await;
        // The one that is open does not hold up the other one.
        assert_eq!(world.feed_in(0).await, ["create 2"]);
        run(&mut slow, "COMMIT".into()).await;
        assert_eq!(world.feed_in(1).await, ["create 1"]);
    });
}

#[test]
fn an_open_transaction_blocks_no_other_program_and_no_pull() {
    let schema = Schema::new();
    let world = World::open(&schema.url(), &[&NOTE]);
    RUNTIME.block_on(async {
        let mut idle = connection(&schema.url()).await;
        run(&mut idle, "INSERT INTO note(id, title) VALUES (1, 'a')".into()).await;
        run(&mut idle, "BEGIN; UPDATE note SET title = 'open' WHERE id = 1".into()).await;
        let mut other = connection(&schema.url()).await;
        run(&mut other, "SET lock_timeout = '200ms'; INSERT INTO note(id, title) VALUES (2, 'b')".into())
            .await;
        // What the open transaction holds waits, with what was written together with it, and nothing else does.
        assert_eq!(world.feed_in(0).await, ["create 2"]);
        let status = world.store.feed_status().await.expect("a status");
        assert_eq!(status.waiting, 1);
        assert!(status.oldest_writer.is_some_and(|open| open > Duration::ZERO), "{status:?}");
        run(&mut idle, "ROLLBACK".into()).await;
        assert_eq!(world.feed_in(1).await, ["create 1"]);
        let status = world.store.feed_status().await.expect("a status");
        assert_eq!((status.waiting, status.oldest_writer), (0, None));
    });
}

#[test]
fn what_was_written_together_is_numbered_together() {
    let schema = Schema::new();
    let world = World::open(&schema.url(), &[&NOTE]);
    RUNTIME.block_on(async {
        let (mut one, mut two) = (connection(&schema.url()).await, connection(&schema.url()).await);
        run(&mut one, "BEGIN; INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b'); COMMIT".into()).await;
        // Somebody is writing one of the two: the other one does not go alone.
        run(&mut two, "BEGIN; UPDATE note SET title = 'c' WHERE id = 2".into()).await;
        assert_eq!(world.feed_in(0).await, [""; 0]);
        run(&mut two, "ROLLBACK".into()).await;
        assert_eq!(world.feed_in(0).await, ["create 1", "create 2"]);
    });
}
