//! Many writers and several pullers of one database.

#![allow(unreachable_pub)]

use crate::plain::Plain;
use crate::world::{NOTE, note, saving};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use sync_runtime::store::{Access, Expect, Feed, transact, transact_once};
use sync_runtime::{BoxFuture, Error, ErrorKind, Id, Value};
use sync_store_sql::SqlStore;

const WRITERS: i64 = 16;
const PULLERS: usize = 4;
const ROWS: i64 = 20_000;

/// Numbers that look random, the same in every run.
struct Draw(u64);

impl Draw {
    fn new(writer: i64) -> Self {
        Draw(0x9E37_79B9 + writer as u64 * 7_919)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// For how long a transaction stays open.
    fn while_open(&mut self) -> Duration {
        let longest = if self.below(20) == 0 { 300 } else { 12 };
        Duration::from_millis(self.below(longest))
    }
}

/// Writes its share of the rows in transactions that stay open for a while, some of which it rolls back. `code` says
/// with which others a row was written, where that is to be seen.
async fn write(mut connection: Box<dyn Plain>, writer: i64, grouped: bool) {
    let mut draw = Draw::new(writer);
    let (share, mut done, mut batch) = (ROWS / WRITERS, 0, 0);
    while done < share {
        let rows = (1 + draw.below(40) as i64).min(share - done);
        let first = 1 + writer * share + done;
        let together = if grouped { (writer * 1_000_000 + batch).to_string() } else { "NULL".into() };
        batch += 1;
        connection.run("BEGIN").await;
        let half = rows / 2;
        for (from, to) in [(first, first + half), (first + half, first + rows)] {
            let values: Vec<String> = (from..to).map(|n| format!("({n}, 'written', {together})")).collect();
            if !values.is_empty() {
                connection
                    .run(&format!("INSERT INTO note(id, title, code) VALUES {}", values.join(", ")))
                    .await;
            }
            tokio::time::sleep(draw.while_open()).await;
        }
        match draw.below(100) < 15 {
            true => connection.run("ROLLBACK").await,
            false => {
                connection.run("COMMIT").await;
                done += rows;
            }
        }
    }
}

/// The same by the library.
async fn save(store: SqlStore, writer: i64) {
    let mut draw = Draw::new(writer);
    let (share, mut done, mut batch) = (ROWS / WRITERS, 0, 0);
    while done < share {
        let rows = (1 + draw.below(40) as i64).min(share - done);
        let first = 1 + writer * share + done;
        let together = writer * 1_000_000 + batch;
        batch += 1;
        let (open, fails) = (draw.while_open(), draw.below(100) < 15);
        let saved = transact_once(&store, Access::WRITE, move |t| {
            Box::pin(async move {
                let half = rows / 2;
                for (from, to) in [(first, first + half), (first + half, first + rows)] {
                    let notes = (from..to).map(|n| note(n, "saved", Some(together)));
                    t.save(notes.map(|note| saving(&NOTE, note, Expect::Absent)).collect(), 5).await?;
                    tokio::time::sleep(open).await;
                }
                match fails {
                    true => Err(Error::new(ErrorKind::Usage, "as it happens")),
                    false => Ok(()),
                }
            })
        });
        match saved.await {
            Ok(()) => done += rows,
            Err(error) => assert_eq!(error.to_string(), "as it happens"),
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
            if let Some(Value::Int(code)) = record.get(2) {
                *together.entry(*code).or_default() += 1;
            }
        }
        if short {
            // Looking at all of them costs more than pulling: a sample is enough.
            if !together.is_empty() && (last_time || together.len().is_multiple_of(16)) {
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
    let notes = transact(store, Access::READ, |t| {
        Box::pin(async move { t.select(&NOTE, &sync_runtime::query::Selection::default()).await })
    });
    let mut committed: BTreeMap<i64, i64> = BTreeMap::new();
    for record in notes.await.expect("the notes") {
        if let Some(Value::Int(code)) = record.get(2) {
            *committed.entry(*code).or_default() += 1;
        }
    }
    for (code, count) in together {
        assert_eq!(committed.get(code), Some(count), "the transaction {code} was torn");
    }
}

/// Sixteen writers, every fourth of them the library, and four pullers: what was pulled is what was committed. `grouped`
/// says whether it is known what another program wrote together.
pub async fn nothing_is_skipped(
    store: SqlStore,
    connect: impl Fn() -> BoxFuture<'static, Box<dyn Plain>>,
    grouped: bool,
) {
    let ended = Arc::new(AtomicBool::new(false));
    let pullers: Vec<_> =
        (0..PULLERS).map(|n| tokio::spawn(pull(store.clone(), [1, 7, 23, 50][n], ended.clone()))).collect();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        writers.push(match writer % 4 {
            3 => tokio::spawn(save(store.clone(), writer)),
            _ => tokio::spawn(write(connect().await, writer, grouped)),
        });
    }
    for writer in writers {
        writer.await.expect("the writer ends well");
    }
    ended.store(true, Ordering::SeqCst);
    let committed: BTreeSet<i64> = connect().await.numbers("SELECT id FROM note").await.into_iter().collect();
    assert_eq!(committed.len() as i64, ROWS);
    for puller in pullers {
        let seen = puller.await.expect("the puller ends well");
        assert_eq!(committed.difference(&seen).collect::<Vec<_>>(), Vec::<&i64>::new(), "skipped");
        assert_eq!(seen.len(), committed.len());
    }
}

/// A reader that keeps to a plain sequence moves past the row that is still open: that the tests beside this one can
/// fail.
pub async fn a_plain_sequence_skips(mut slow: Box<dyn Plain>, mut quick: Box<dyn Plain>) {
    slow.run("BEGIN; INSERT INTO t(name) VALUES ('slow')").await;
    quick.run("INSERT INTO t(name) VALUES ('quick')").await;
    let seen = quick.numbers("SELECT n FROM t ORDER BY n").await;
    let last = *seen.last().expect("the quick row");
    slow.run("COMMIT").await;
    let page = quick.numbers(&format!("SELECT n FROM t WHERE n > {last} ORDER BY n")).await;
    assert!(page.is_empty(), "the slow row is behind the reader for ever");
}
