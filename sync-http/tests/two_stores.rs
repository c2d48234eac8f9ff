//! One line to a server for the stores of two people.

mod common;

use axum::http::request::Parts;
use common::tokens::{Claims, Tokens};
use common::{served_with, url};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use sync_http::{HttpReplica, Policy, Refusal, SyncRoutes, TokenProvider};
use sync_runtime::prelude::*;
use sync_runtime::{Caller, Workspace};
use sync_store_memory::MemoryStore;
use tokio::sync::Notify;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Note {
    #[sync(id)]
    id: String,
    text: String,
}

async fn workspace() -> Workspace {
    Workspace::builder(MemoryStore::new()).model::<Note>().build().await.expect("it opens")
}

async fn write(workspace: &Workspace, id: &str, text: &str) {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    notes.create(Note { id: id.into(), text: text.into() }).await.expect("a note is made");
}

async fn ids(workspace: &Workspace) -> Vec<String> {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    notes.find(Query::all()).await.expect("notes are found").into_iter().map(|note| note.id).collect()
}

/// Lets in whoever has a good token, and notes who came where.
#[derive(Debug, Clone, Default)]
struct Guestbook(Tokens, Arc<Mutex<Vec<String>>>);

#[sync_runtime::async_trait]
impl Policy for Guestbook {
    async fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
        let path = request.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let caller = self.0.caller(request).await;
        let who = caller.as_ref().map_or("nobody", |caller| caller.subject().unwrap_or_default());
        self.1.lock().expect("no panic").push(format!("{who} {path}"));
        caller
    }
}

/// The session of an app: whose token is good now. Looking it up takes a while at the second time.
#[derive(Clone, Default)]
struct Session {
    token: Arc<Mutex<String>>,
    asked: Arc<AtomicU64>,
    waits: Arc<Notify>,
    goes_on: Arc<Notify>,
}

#[sync_runtime::async_trait]
impl TokenProvider for Session {
    async fn token(&self, _refused: Option<&str>) -> Option<String> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 1 {
            self.waits.notify_one();
            self.goes_on.notified().await;
        }
        Some(self.token.lock().expect("no panic").clone())
    }
}

/// Two people on one device, each with a store; the app has one line to the server, and changes the session while the last
/// sync of the first one still runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_for_two_stores_sends_no_queue_with_anothers_token() {
    let server = workspace().await;
    let guests = Guestbook::default();
    let address = served_with(SyncRoutes::new(server.clone(), guests.clone())).await;
    let session = Session::default();
    *session.token.lock().expect("no panic") = Claims::of("alice", "write").token();
    let line = HttpReplica::builder(&url(address)).token_provider(session.clone()).build().expect("a URL");
    let (of_alice, of_bob) = (workspace().await, workspace().await);
    write(&of_alice, "diary", "of alice").await;
    let (store, to) = (of_alice.clone(), line.clone());
    let hers = tokio::spawn(async move { store.sync(&to).await });
    session.waits.notified().await;
    *session.token.lock().expect("no panic") = Claims::of("bob", "write").token();
    of_bob.sync(&line).await.expect("it is his");
    session.goes_on.notify_one();
    let hers = hers.await.expect("no panic");
    assert!(hers.is_err(), "nothing of hers goes with his token");
    assert_eq!(ids(&server).await, Vec::<String>::new());
}
