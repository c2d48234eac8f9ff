//! Positions on PostgreSQL are commit order as readers see it: nothing is skipped, whatever order concurrent
//! transactions commit in, and what was written together is seen together.

#![cfg(feature = "postgres")]

#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/world.rs"]
mod world;

use postgres::{RUNTIME, Schema};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use sync_runtime::store::{Access, Feed, transact};
use sync_runtime::{Id, Value};
use sync_store_sql::SqlStore;
use world::{NOTE, World};

const WRITERS: i64 = 16;
const PULLERS: usize = 4;
const ROWS: i64 = 20_000;

/// Numbers that look random, the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

async fn connection(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("a connection")
}

async fn run(connection: &mut PgConnection, sql: String) {
    connection.execute(AssertSqlSafe(sql.clone())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Writes its share of the rows in transactions that stay open for a while, some of which it rolls back. `code` says
/// with which others a row was written.
async fn write(url: String, writer: i64) {
    let mut connection = connection(&url).await;
    let mut draw = Draw(0x9E37_79B9 + writer as u64 * 7_919);
    let (share, mut done, mut batch) = (ROWS / WRITERS, 0, 0);
    while done < share {
        let rows = (1 + draw.below(40) as i64).min(share - done);
        let first = 1 + writer * share + done;
        let together = writer * 1_000_000 + batch;
        batch += 1;
        run(&mut connection, "BEGIN".into()).await;
        let half = rows / 2;
        for (from, to) in [(first, first + half), (first + half, first + rows)] {
            let insert = format!(
                "INSERT INTO note(id, title, code) SELECT n, 'written', {together} FROM generate_series({from}, {to} - 1) n"
            );
            run(&mut connection, insert).await;
            let longest = if draw.below(20) == 0 { 300 } else { 12 };
            tokio::time::sleep(Duration::from_millis(draw.below(longest))).await;
        }
        match draw.below(100) < 15 {
            true => run(&mut connection, "ROLLBACK".into()).await,
            false => {
                run(&mut connection, "COMMIT".into()).await;
                done += rows;
            }
        }
    }
}

/// Pulls pages until nothing more is written; gives the ids that it saw. Whenever it has come to the end, it has seen
/// each transaction whole or not at all.
async fn pull(store: SqlStore, limit: usize, ended: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    let mut together: BTreeMap<i64, i64> = BTreeMap::new();
    let mut after = 0;
    loop {
        let last_time = ended.load(Ordering::SeqCst);
        let feed = Feed { limit, data: true, ..Feed::after(after) };
        let page =
            transact(&store, Access::READ.feed(), move |t| Box::pin(async move { t.feed(&feed).await }));
        let page = page.await.expect("a page");
        let short = page.len() < limit;
        for state in page {
            assert!(state.change.position > after, "positions rise");
            after = state.change.position;
            let (Id::Int(id), Some(record)) = (state.change.id, state.record) else { panic!("a note") };
            assert!(seen.insert(id), "note {id} came twice");
            let Some(Value::Int(code)) = record.get(2) else { panic!("a code") };
            *together.entry(*code).or_default() += 1;
        }
        if short {
            let codes: Vec<String> = together.keys().map(i64::to_string).collect();
            if !codes.is_empty() {
                check_whole(&store, &together).await;
            }
            if last_time {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Of each transaction of which anything was seen, everything that is committed was seen.
async fn check_whole(store: &SqlStore, together: &BTreeMap<i64, i64>) {
    let counts = transact(store, Access::READ, |t| {
        Box::pin(async move { t.select(&NOTE, &sync_runtime::query::Selection::default()).await })
    });
    // Looking at all of them costs more than pulling: a sample is enough.
    if !together.len().is_multiple_of(16) {
        return;
    }
    let mut committed: BTreeMap<i64, i64> = BTreeMap::new();
    for record in counts.await.expect("the notes") {
        if let Some(Value::Int(code)) = record.get(2) {
            *committed.entry(*code).or_default() += 1;
        }
    }
    for (code, count) in together {
        assert_eq!(committed.get(code), Some(count), "the transaction {code} was torn");
    }
}

#[test]
fn nothing_is_skipped_with_sixteen_writers_and_four_pullers() {
    let schema = Schema::new();
    let store = World::open(&schema.url(), &[&NOTE]).store;
    let ended = Arc::new(AtomicBool::new(false));
    RUNTIME.block_on(async {
        let pullers: Vec<_> = (0..PULLERS)
            .map(|n| tokio::spawn(pull(store.clone(), [1, 7, 23, 50][n], ended.clone())))
            .collect();
        let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(write(schema.url(), n))).collect();
        for writer in writers {
            writer.await.expect("the writer ends well");
        }
        ended.store(true, Ordering::SeqCst);
        let mut plain = connection(&schema.url()).await;
        let rows = plain.fetch_all("SELECT id FROM note").await.expect("rows");
        let committed: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(committed.len() as i64, ROWS);
        for puller in pullers {
            let seen = puller.await.expect("the puller ends well");
            assert_eq!(committed.difference(&seen).collect::<Vec<_>>(), Vec::<&i64>::new(), "skipped");
            assert_eq!(seen.len(), committed.len());
        }
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

/// That the test above can fail: with positions from a sequence, the reader moves past the row that is still open.
#[test]
fn with_a_plain_sequence_the_late_row_would_be_skipped() {
    let schema = Schema::new();
    schema.sql("CREATE TABLE t(n bigserial PRIMARY KEY, name text)");
    RUNTIME.block_on(async {
        let (mut slow, mut quick) = (connection(&schema.url()).await, connection(&schema.url()).await);
        run(&mut slow, "BEGIN; INSERT INTO t(name) VALUES ('slow')".into()).await;
        run(&mut quick, "INSERT INTO t(name) VALUES ('quick')".into()).await;
        let read = "SELECT n, name FROM t WHERE n > $1 ORDER BY n";
        let page = sqlx::query(read).bind(0_i64).fetch_all(&mut quick).await.expect("a page");
        let seen: i64 = page.last().expect("the quick row").get(0);
        run(&mut slow, "COMMIT".into()).await;
        let page = sqlx::query(read).bind(seen).fetch_all(&mut quick).await.expect("a page");
        assert!(page.is_empty(), "the slow row is behind the reader for ever");
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
