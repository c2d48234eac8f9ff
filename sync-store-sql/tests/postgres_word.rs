//! What one process commits, another one that has the same database open is told of at once, over PostgreSQL's
//! `LISTEN` and `NOTIFY`; and where nobody tells, it is found by looking.

#![cfg(feature = "postgres")]

#[path = "common/postgres.rs"]
mod postgres;

use postgres::{RUNTIME, Schema};
use std::time::{Duration, Instant};
use sync_runtime::store::Store;
use sync_runtime::{Syncable, Workspace};
use sync_store_sql::SqlStore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

/// How soon an edit has to be seen, half of the times; a look every 250 ms would take 125.
const SOON: Duration = Duration::from_millis(60);
const EDITS: usize = 20;
/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Card {
    #[sync(id)]
    id: i64,
    title: String,
}

/// A store, with what watches it.
struct Process {
    store: SqlStore,
    workspace: Workspace,
}

impl Process {
    /// With one connection, of which listening must take none.
    async fn open(schema: &Schema) -> Self {
        let store = SqlStore::builder(&schema.url()).connections(1).open().await.expect("the database opens");
        let workspace = Workspace::builder(store.clone()).model::<Card>().build().await.expect("a workspace");
        Process { store, workspace }
    }

    async fn create(&self, id: i64) {
        let cards = self.workspace.collection::<Card>().expect("registered");
        cards.create(Card { id, title: "a card".into() }).await.expect("made");
    }

    /// The ids that are seen here from now on, with the time.
    async fn watch(&self) -> (UnboundedReceiver<(i64, Instant)>, tokio::task::JoinHandle<()>) {
        let mut watch = self.workspace.collection::<Card>().expect("registered").watch();
        watch.start().await.expect("it starts");
        let (seen, sees) = unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                // What fails while the database is away is tried again.
                let Ok(events) = watch.next().await else { continue };
                for event in events {
                    let _ = seen.send((event.id, Instant::now()));
                }
            }
        });
        (sees, task)
    }

    /// Waits until word of commits comes in.
    async fn hears(&self) {
        let until = Instant::now() + PATIENCE;
        while self.store.next_commit().is_none() {
            assert!(Instant::now() < until, "no word of commits comes in");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The processes of the database that listen for this schema.
fn listeners(schema: &Schema) -> Vec<String> {
    let asked =
        format!("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'syncable%{}'", schema.0);
    schema.psql(&asked).split_whitespace().map(str::to_owned).collect()
}

/// How long after the commit through one each edit is seen by who watches the other; sorted.
async fn edits(
    writer: &Process,
    sees: &mut UnboundedReceiver<(i64, Instant)>,
    ids: std::ops::Range<i64>,
) -> Vec<Duration> {
    let mut times = Vec::new();
    for id in ids {
        // So that no look comes in step with the edits.
        sleep(Duration::from_millis(37 * (id as u64 % 5) + 20)).await;
        writer.create(id).await;
        let committed = Instant::now();
        let (seen, at) = timeout(PATIENCE, sees.recv()).await.expect("it is seen").expect("it is watched");
        assert_eq!(seen, id);
        times.push(at.saturating_duration_since(committed));
    }
    times.sort();
    times
}

#[test]
fn what_one_process_commits_wakes_who_watches_another() {
    RUNTIME.block_on(async {
        let schema = Schema::new();
        let (writer, reader) = (Process::open(&schema).await, Process::open(&schema).await);
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
        let (writer, reader) = (Process::open(&schema).await, Process::open(&schema).await);
        let (mut sees, watching) = reader.watch().await;
        reader.hears().await;
        let times = edits(&writer, &mut sees, 0..9).await;
        assert!(times[4] < SOON, "{times:?}");
        watching.abort();
    });
}
