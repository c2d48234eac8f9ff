//! Rights that are taken away, and the app's own rule, hold on every route.

mod common;

use axum::http::request::Parts;
use common::{JSON, raw, request, served_with, url};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use sync_http::{AllowAll, HttpReplica, Policy, Refusal, SyncRoutes};
use sync_runtime::prelude::*;
use sync_runtime::replica::Replica;
use sync_runtime::{Attempt, Caller, Checkpoint, Right, Ruling, Workspace};
use sync_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Note {
    #[sync(id)]
    id: String,
    text: String,
}

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Secret {
    #[sync(id)]
    id: String,
}

async fn newest(workspace: &Workspace) -> Checkpoint {
    Replica::checkpoint(workspace.engine(), &Caller::owner()).await.expect("a checkpoint")
}

async fn heard(address: SocketAddr, path: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.expect("connects");
    connection.write_all(&request("GET", path, &[], &[])).await.expect("is sent");
    connection
}

#[tokio::test]
async fn a_right_that_was_taken_away_ends_what_is_told_of_it() {
    struct May(Arc<AtomicBool>);
    #[sync_runtime::async_trait]
    impl Policy for May {
        async fn caller(&self, _: &Parts) -> Result<Caller, Refusal> {
            let right = if self.0.load(Ordering::SeqCst) { Right::Read } else { Right::Nothing };
            Ok(Caller::named("alice").with(Right::Read).with_on("Secret", right))
        }
    }
    let may = Arc::new(AtomicBool::new(true));
    let builder = Workspace::builder(MemoryStore::new()).model::<Note>().model::<Secret>();
    let server = builder.build().await.expect("it opens");
    let address = served_with(SyncRoutes::new(server.clone(), May(may.clone()))).await;
    let since = newest(&server).await;
    let mut stream = heard(address, &format!("/sync/v1/events?since={since}")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    may.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let secrets = server.collection::<Secret>().expect("the model is registered");
    secrets.create(Secret { id: "1".into() }).await.expect("a secret is made");
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(2), async {
        while stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {}
    })
    .await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("event: moved"), "half a second after the right was taken away");
}

#[tokio::test]
async fn the_rule_of_the_app_holds_for_every_route() {
    let builder = Workspace::builder(MemoryStore::new()).model::<Note>();
    let server =
        builder.on_incoming::<Note>(|_| Ruling::Reject("not today".into())).build().await.expect("it opens");
    let address = served_with(SyncRoutes::new(server.clone(), AllowAll)).await;
    let body =
        r#"{ "writes": [{ "model": "Note", "id": "1", "record": { "id": "1", "text": "all the same" } }] }"#;
    let answer = raw(address, &request("POST", "/sync/v1/write", &[JSON], body.as_bytes())).await;
    assert_eq!(answer.status, 403);
    let notes = server.collection::<Note>().expect("the model is registered");
    assert!(notes.get("1".to_owned()).await.expect("a note is read").is_none());
}

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Folder {
    #[sync(id)]
    id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Doc {
    #[sync(id)]
    id: String,
    #[sync(parent = Folder)]
    folder: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Revocable(Arc<AtomicBool>);

#[sync_runtime::async_trait]
impl Policy for Revocable {
    async fn caller(&self, _: &Parts) -> Result<Caller, Refusal> {
        let caller = Caller::named("a").with(Right::Write);
        Ok(if self.0.load(Ordering::Relaxed) { caller.with_on("Folder", Right::Nothing) } else { caller })
    }

    fn check(&self, _: &Caller, _: &Attempt<'_>) -> Result<(), String> {
        Ok(())
    }
}

async fn library() -> Workspace {
    let builder = Workspace::builder(MemoryStore::new()).model::<Folder>().model::<Doc>();
    builder.build().await.expect("it opens")
}

/// What was refused for now, of a model that may not be read any more, keeps nothing from being synced.
#[tokio::test]
async fn a_refusal_of_a_model_out_of_reach_stops_nothing() {
    let (server, device, policy) = (library().await, library().await, Revocable::default());
    let address = served_with(SyncRoutes::new(server.clone(), policy.clone())).await;
    let folders = device.collection::<Folder>().expect("the model is registered");
    folders.create(Folder { id: "f".into() }).await.expect("it is made");
    let line = HttpReplica::new(&url(address)).expect("a url");
    device.sync(&line).await.expect("a sync");
    let docs = server.collection::<Doc>().expect("the model is registered");
    docs.create(Doc { id: "d".into(), folder: Some("f".into()) }).await.expect("it is made");
    folders.delete("f".to_owned()).await.expect("it is deleted");
    let report = device.sync(&line).push_only().await.expect("a sync");
    assert_eq!(report.conflict_count(), 1, "the folder is needed still");
    policy.0.store(true, Ordering::Relaxed);
    let line = HttpReplica::new(&url(address)).expect("a url");
    let mine = device.collection::<Doc>().expect("the model is registered");
    mine.create(Doc { id: "last".into(), folder: None }).await.expect("it is made");
    device.sync(&line).await.expect("the sync succeeds");
}
