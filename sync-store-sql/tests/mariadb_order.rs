//! Positions on MariaDB are commit order as readers see it: nothing is skipped, whatever order concurrent
//! transactions commit in, and what the library wrote together is seen together.

#![cfg(feature = "mariadb")]

#[path = "common/mariadb.rs"]
mod mariadb;
#[path = "common/order.rs"]
mod order;
#[path = "common/plain.rs"]
mod plain;
#[path = "common/world.rs"]
mod world;

use mariadb::{Database, RUNTIME};
use plain::Plain;
use sqlx::{Connection, MySqlConnection};
use std::time::Duration;
use sync_runtime::BoxFuture;
use sync_runtime::store::{Expect, Saved};
use world::{NOTE, World, note, saving};

async fn connection(url: &str) -> MySqlConnection {
    MySqlConnection::connect(url).await.expect("a connection")
}

fn boxed(url: String) -> BoxFuture<'static, Box<dyn Plain>> {
    Box::pin(async move { Box::new(connection(&url).await) as Box<dyn Plain> })
}

async fn run(connection: &mut MySqlConnection, sql: String) {
    connection.run(&sql).await;
}

#[test]
fn nothing_is_skipped_with_sixteen_writers_and_four_pullers() {
    let database = Database::new();
    let store = World::open(&database.url(), &[&NOTE]).store;
    RUNTIME.block_on(order::nothing_is_skipped(store, || boxed(database.url()), false));
}

/// That the tests here can fail.
#[test]
fn with_a_plain_sequence_the_late_row_would_be_skipped() {
    let database = Database::new();
    database.sql("CREATE TABLE t(n BIGINT PRIMARY KEY AUTO_INCREMENT, name TEXT)");
    RUNTIME.block_on(async {
        order::a_plain_sequence_skips(boxed(database.url()).await, boxed(database.url()).await).await;
    });
}

#[test]
fn a_row_that_commits_late_is_not_skipped() {
    let database = Database::new();
    let world = World::open(&database.url(), &[&NOTE]);
    RUNTIME.block_on(async {
        let (mut slow, mut quick) = (connection(&database.url()).await, connection(&database.url()).await);
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
    let database = Database::new();
    let world = World::open(&database.url(), &[&NOTE]);
    RUNTIME.block_on(async {
        let mut idle = connection(&database.url()).await;
        run(&mut idle, "INSERT INTO note(id, title) VALUES (1, 'a')".into()).await;
        run(&mut idle, "BEGIN; UPDATE note SET title = 'open' WHERE id = 1".into()).await;
        let mut other = connection(&database.url()).await;
        run(
            &mut other,
            "SET innodb_lock_wait_timeout = 1; INSERT INTO note(id, title) VALUES (2, 'b')".into(),
        )
        .await;
        // What the open transaction holds waits, with what was written together with it, and nothing else does.
        assert_eq!(world.feed_in(0).await, ["create 2"]);
        let status = world.store.feed_status().await.expect("a status");
        assert_eq!(status.waiting, 1);
        assert!(status.oldest_writer.is_some_and(|open| open > Duration::ZERO), "{status:?}");
        run(&mut idle, "ROLLBACK".into()).await;
        assert_eq!(world.feed_in(1).await, ["create 1"]);
        // It tells what was so a tenth of a second ago.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let status = world.store.feed_status().await.expect("a status");
        assert_eq!((status.waiting, status.oldest_writer), (0, None));
    });
}

#[test]
fn what_was_written_together_is_numbered_together() {
    let database = Database::new();
    let world = World::open(&database.url(), &[&NOTE]);
    let both = [note(1, "a", None), note(2, "b", None)].map(|note| saving(&NOTE, note, Expect::Absent));
    assert_eq!(world.save(both.into(), 5), [Saved::Tracked, Saved::Tracked]);
    RUNTIME.block_on(async {
        let mut two = connection(&database.url()).await;
        // Somebody is writing one of the two: the other one does not go alone.
        run(&mut two, "BEGIN; UPDATE note SET title = 'c' WHERE id = 2".into()).await;
        assert_eq!(world.feed_in(0).await, [""; 0]);
        run(&mut two, "ROLLBACK".into()).await;
        assert_eq!(world.feed_in(0).await, ["create 1", "create 2"]);
    });
}
