//! A database that goes away in the middle of a sync, and comes back.

#![allow(unreachable_pub)]

use std::time::Duration;
use sync_runtime::prelude::*;
use sync_runtime::{ErrorKind, Syncable, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;

#[derive(Debug, Clone, PartialEq, Syncable)]
pub struct Card {
    #[sync(id)]
    pub id: i64,
    pub title: String,
}

/// A workspace over the database.
pub async fn server(url: &str) -> Workspace {
    let store = SqlStore::open(url).await.expect("the database opens");
    Workspace::builder(store).model::<Card>().build().await.expect("a workspace")
}

/// A workspace in memory.
pub async fn device() -> Workspace {
    Workspace::builder(MemoryStore::new()).model::<Card>().build().await.expect("a workspace")
}

/// The kind and the text of what a store fails with.
pub async fn refused(url: &str) -> (ErrorKind, bool, String) {
    let opened = async { Workspace::builder(SqlStore::open(url).await?).model::<Card>().build().await };
    let error = opened.await.expect_err("it does not open");
    (error.kind(), error.is_retryable(), error.to_string())
}

/// Sends 2,500 records to the database while it is stopped and started.
pub async fn loses_nothing(url: &str, mut stop: impl FnMut(), start: impl FnOnce()) {
    let (server, phone) = (server(url).await, device().await);
    let cards = phone.collection::<Card>().expect("registered");
    for id in 0..2_500 {
        cards.create(Card { id, title: "to be sent".into() }).await.expect("made");
    }
    let (syncing, other) = (phone.clone(), server.clone());
    let sync = tokio::spawn(async move { syncing.sync(&other).await });
    tokio::time::sleep(Duration::from_millis(60)).await;
    stop();
    if let Err(error) = sync.await.expect("it ends") {
        assert!(error.is_retryable(), "{error}");
    }
    start();
    phone.sync(&server).await.expect("synced");
    let served = server.collection::<Card>().expect("registered");
    assert_eq!(served.count(Query::all()).await.expect("counted"), 2_500);
    served.create(Card { id: 9_999, title: "after it".into() }).await.expect("it writes again");
}
