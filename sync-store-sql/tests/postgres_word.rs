//! What one process commits, another one that has the same database open is told of at once, over PostgreSQL's
//! `LISTEN` and `NOTIFY`; and where nobody tells, it is found by looking.

#![cfg(feature = "postgres")]

#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/word.rs"]
mod word;

use postgres::{RUNTIME, Schema};
use std::time::{Duration, Instant};
use sync_store_sql::SqlStore;
use tokio::time::{sleep, timeout};
use word::{EDITS, PATIENCE, Process, SOON, edits};

/// With one connection, of which listening must take none.
async fn open(schema: &Schema) -> Process {
    let store = SqlStore::builder(&schema.url()).connections(1).open().await.expect("the database opens");
    Process::over(store).await
}

/// The processes of the database that listen for this schema.
fn listeners(schema: &Schema) -> Vec<String> {
    let asked =
        format!("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'syncable%{}'", schema.0);
    schema.psql(&asked).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn what_one_process_commits_wakes_who_watches_another() {
    RUNTIME.block_on(async {
        let schema = Schema::new();
        let (writer, reader) = (open(&schema).await, open(&schema).await);
        assert_eq!(listeners(&schema).len(), 0, "nobody watches");
        let (mut sees, watching) = reader.watch().await;
        reader.hears().await;
        let listener = listeners(&schema);
        assert_eq!(listener.len(), 1, "only who watches listens, over one connection: {listener:?}");

        let times = edits(&writer, &mut sees, 0..EDITS as i64).await;
        println!("seen after {:?} (half of the times), {:?} at most", times[EDITS / 2], times[EDITS - 1]);
        assert!(times[EDITS / 2] < SOON, "{times:?}");

        // The connection is lost; what is committed meanwhile is found by looking.
        schema.psql(&format!("SELECT pg_terminate_backend({})", listener[0]));
        writer.create(1_000).await;
        let seen = timeout(Duration::from_secs(2), sees.recv()).await.expect("it is seen").expect("watched");
        assert_eq!(seen.0, 1_000);
        reader.hears().await;
        let again = listeners(&schema);
        assert!(again.len() == 1 && again != listener, "it listens again: {again:?} after {listener:?}");
        let times = edits(&writer, &mut sees, 2_000..2_000 + EDITS as i64).await;
        println!("and after it was lost {:?}, {:?}", times[EDITS / 2], times[EDITS - 1]);
        assert!(times[EDITS / 2] < SOON, "{times:?}");

        // Other programs tell nobody.
        schema.psql("INSERT INTO card(id, title) VALUES (3000, 'by psql')");
        let seen = timeout(Duration::from_secs(5), sees.recv()).await.expect("it is seen").expect("watched");
        assert_eq!(seen.0, 3_000);

        watching.abort();
        let until = Instant::now() + PATIENCE;
        while !listeners(&schema).is_empty() {
            assert!(Instant::now() < until, "it still listens, though nobody watches");
            sleep(Duration::from_millis(200)).await;
        }
        let (_sees, watching) = reader.watch().await;
        reader.hears().await;
        // A store that is closed listens no more, and at once.
        watching.abort();
        let _ = watching.await;
        drop(reader);
        let until = Instant::now() + Duration::from_secs(3);
        while !listeners(&schema).is_empty() {
            assert!(Instant::now() < until, "a closed store still listens");
            sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn a_schema_with_a_long_name_is_told_of_too() {
    RUNTIME.block_on(async {
        let mut schema = Schema::new();
        let long = format!("{}_{}", schema.0, "ü".repeat(30)).chars().take(40).collect::<String>();
        schema.sql(&format!("ALTER SCHEMA {} RENAME TO \"{long}\"", schema.0));
        schema.0 = long;
        let (writer, reader) = (open(&schema).await, open(&schema).await);
        let (mut sees, watching) = reader.watch().await;
        reader.hears().await;
        let times = edits(&writer, &mut sees, 0..9).await;
        assert!(times[4] < SOON, "{times:?}");
        watching.abort();
    });
}
