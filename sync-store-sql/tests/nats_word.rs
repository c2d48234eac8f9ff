//! What one process commits, another one that has the same database open is told of at once over NATS, on PostgreSQL and on
//! MariaDB; and where NATS is away, it is found by looking.

#![cfg(all(feature = "nats", feature = "postgres", feature = "mariadb"))]

#[path = "common/mariadb.rs"]
mod mariadb;
#[path = "common/nats.rs"]
mod nats;
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/word.rs"]
mod word;

use futures_util::StreamExt;
use mariadb::Database;
use nats::{NatsServer, connect, shared_url};
use postgres::{RUNTIME, Schema};
use std::time::{Duration, Instant};
use sync_runtime::ErrorKind;
use sync_runtime::store::Store;
use sync_store_sql::SqlStore;
use tokio::time::{sleep, timeout};
use word::{EDITS, PATIENCE, Process, SOON, edits};

/// How long nothing has to come before it counts as not coming; word takes a few milliseconds.
const QUIET: Duration = Duration::from_millis(400);

/// With one connection to the database, and one of its own to NATS.
async fn open(database: &str, nats: &str) -> Process {
    let store = SqlStore::builder(database).connections(1).open().await.expect("the database opens");
    Process::over(store.tell_over_nats(connect(nats).await).expect("not in use")).await
}

async fn what_one_commits_wakes_who_watches_another(database: &str, elsewhere: &str) {
    let nats = shared_url();
    let (writer, reader) = (open(database, &nats).await, open(database, &nats).await);
    let stranger = open(elsewhere, &nats).await;
    let (mut sees, watching) = reader.watch().await;
    reader.hears().await;
    stranger.hears().await;
    let woken = stranger.store.next_commit().expect("it hears");
    let times = edits(&writer, &mut sees, 0..EDITS as i64).await;
    println!("seen after {:?} (half of the times), {:?} at most", times[EDITS / 2], times[EDITS - 1]);
    assert!(times[EDITS / 2] < SOON, "{times:?}");
    assert!(timeout(QUIET, woken).await.is_err(), "a store over another database was woken");
    watching.abort();
}

#[test]
fn what_one_process_commits_wakes_who_watches_another_on_postgres() {
    let (schema, other) = (Schema::new(), Schema::new());
    RUNTIME.block_on(what_one_commits_wakes_who_watches_another(&schema.url(), &other.url()));
    let listens =
        format!("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync%{}'", schema.0);
    assert_eq!(schema.psql(&listens).trim(), "0", "nobody listens to PostgreSQL");
}

#[test]
fn what_one_process_commits_wakes_who_watches_another_on_mariadb() {
    let (database, other) = (Database::new(), Database::new());
    RUNTIME.block_on(what_one_commits_wakes_who_watches_another(&database.url(), &other.url()));
}

async fn ones_own_word_wakes_once(database: &str) {
    let only = open(database, &shared_url()).await;
    only.hears().await;
    let woken = only.store.next_commit().expect("it hears");
    only.create(1).await;
    timeout(PATIENCE, woken).await.expect("the commit itself wakes who watches here");
    let again = only.store.next_commit().expect("it hears");
    assert!(timeout(QUIET, again).await.is_err(), "its own word woke it once more");
}

#[test]
fn ones_own_word_wakes_once_on_postgres() {
    let schema = Schema::new();
    RUNTIME.block_on(ones_own_word_wakes_once(&schema.url()));
}

#[test]
fn ones_own_word_wakes_once_on_mariadb() {
    let database = Database::new();
    RUNTIME.block_on(ones_own_word_wakes_once(&database.url()));
}

async fn nats_may_go_and_come_back(database: &str) {
    let mut nats = NatsServer::new();
    let (writer, reader) = (open(database, &nats.url()).await, open(database, &nats.url()).await);
    let (mut sees, watching) = reader.watch().await;
    reader.hears().await;
    let times = edits(&writer, &mut sees, 0..9).await;
    assert!(times[4] < SOON, "{times:?}");

    nats.kill();
    let begun = Instant::now();
    writer.create(1_000).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "telling held up a commit: {:?}", begun.elapsed());
    let seen = timeout(Duration::from_secs(2), sees.recv()).await.expect("it is seen").expect("watched");
    assert_eq!(seen.0, 1_000);
    let until = Instant::now() + Duration::from_secs(2);
    while reader.store.next_commit().is_some() {
        assert!(Instant::now() < until, "it takes itself for one that hears");
        sleep(Duration::from_millis(20)).await;
    }
    // More than a client would keep for later.
    for id in 2_000..2_040 {
        writer.create(id).await;
    }
    for id in 2_000..2_040 {
        let seen = timeout(Duration::from_secs(2), sees.recv()).await.expect("it is seen").expect("watched");
        assert_eq!(seen.0, id);
    }

    nats.start();
    reader.hears().await;
    writer.hears().await;
    let times = edits(&writer, &mut sees, 3_000..3_009).await;
    println!("and after it came back {:?}, {:?}", times[4], times[8]);
    assert!(times[4] < SOON, "{times:?}");
    watching.abort();
}

#[test]
fn nats_may_go_and_come_back_on_postgres() {
    let schema = Schema::new();
    RUNTIME.block_on(nats_may_go_and_come_back(&schema.url()));
}

#[test]
fn nats_may_go_and_come_back_on_mariadb() {
    let database = Database::new();
    RUNTIME.block_on(nats_may_go_and_come_back(&database.url()));
}

/// A server of its own, so that all that goes through it is of this database. Gives the UUID in the subject.
async fn nothing_of_the_records_travels(database: &str) -> uuid::Uuid {
    let nats = NatsServer::new();
    let (one, two) = (open(database, &nats.url()).await, open(database, &nats.url()).await);
    let mut all = connect(&nats.url()).await.subscribe(">").await.expect("subscribed");
    one.hears().await;
    two.hears().await;
    let begun = Instant::now();
    for id in 0..50 {
        one.create(id).await;
        two.create(1_000 + id).await;
    }
    sleep(Duration::from_millis(50)).await;
    let most = 2 * (begun.elapsed().as_millis() / 5 + 2);
    let (mut names, mut subjects, mut messages) = (Vec::new(), Vec::new(), 0);
    while let Ok(Some(message)) = timeout(QUIET, all.next()).await {
        messages += 1;
        names.push(String::from_utf8(message.payload.to_vec()).expect("text"));
        subjects.push(message.subject.to_string());
        assert!(message.headers.is_none() && message.reply.is_none(), "{message:?}");
    }
    names.sort();
    names.dedup();
    subjects.dedup();
    assert_eq!(names.len(), 2, "the names of the two stores: {names:?}");
    assert!(names.iter().all(|name| name.len() == 16 && u64::from_str_radix(name, 16).is_ok()), "{names:?}");
    let [subject] = subjects.as_slice() else { panic!("several subjects: {subjects:?}") };
    let database = subject.strip_prefix("syncable.commits.").expect("the library's own");
    assert!(messages > 2 && messages <= most, "{messages} messages, where {most} would be one in 5 ms each");
    uuid::Uuid::parse_str(database).expect("a UUID")
}

#[test]
fn nothing_of_the_records_travels_on_postgres() {
    let schema = Schema::new();
    let told = RUNTIME.block_on(nothing_of_the_records_travels(&schema.url()));
    let named = schema.psql("SELECT encode(id, 'hex')::uuid FROM sync_replica ORDER BY n LIMIT 1");
    assert_eq!(named.trim(), told.to_string());
}

#[test]
fn nothing_of_the_records_travels_on_mariadb() {
    let database = Database::new();
    let told = RUNTIME.block_on(nothing_of_the_records_travels(&database.url()));
    let named = database.mariadb("SELECT lower(hex(id)) FROM sync_replica ORDER BY n LIMIT 1");
    assert_eq!(named.trim(), told.simple().to_string());
}

#[test]
fn what_cannot_tell_over_nats_says_so() {
    RUNTIME.block_on(async {
        let nats = connect(&shared_url()).await;
        let file = SqlStore::open("sqlite::memory:").await.expect("it opens");
        let refused = file.tell_over_nats(nats.clone()).expect_err("a SQLite file");
        assert_eq!(refused.kind(), ErrorKind::Usage);
        assert!(refused.to_string().contains("SQLite"), "{refused}");
        let schema = Schema::new();
        let store = SqlStore::open(&schema.url()).await.expect("it opens");
        let _used = store.clone();
        let refused = store.tell_over_nats(nats).expect_err("one that is in use");
        assert_eq!(refused.kind(), ErrorKind::Usage);
        assert!(refused.to_string().contains("right after it was opened"), "{refused}");
    });
}
