//! Two processes with one database, here two stores of one process, of which one watches what the other commits.

#![allow(unreachable_pub)]

use std::time::{Duration, Instant};
use sync_runtime::store::Store;
use sync_runtime::{Syncable, Workspace};
use sync_store_sql::SqlStore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

/// How soon an edit has to be seen, half of the times; a look every 250 ms would take 125.
pub const SOON: Duration = Duration::from_millis(60);
pub const EDITS: usize = 20;
/// The longest that anything here is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Syncable)]
pub struct Card {
    #[sync(id)]
    pub id: i64,
    pub title: String,
}

/// A store, with what watches it.
pub struct Process {
    pub store: SqlStore,
    pub workspace: Workspace,
}

impl Process {
    pub async fn over(store: SqlStore) -> Self {
        let workspace = Workspace::builder(store.clone()).model::<Card>().build().await.expect("a workspace");
        Process { store, workspace }
    }

    pub async fn create(&self, id: i64) {
        let cards = self.workspace.collection::<Card>().expect("registered");
        cards.create(Card { id, title: "a card".into() }).await.expect("made");
    }

    /// The ids that are seen here from now on, with the time.
    pub async fn watch(&self) -> (UnboundedReceiver<(i64, Instant)>, tokio::task::JoinHandle<()>) {
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
    pub async fn hears(&self) {
        let until = Instant::now() + PATIENCE;
        while self.store.next_commit().is_none() {
            assert!(Instant::now() < until, "no word of commits comes in");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// How long after the commit through one each edit is seen by who watches the other; sorted.
pub async fn edits(
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
