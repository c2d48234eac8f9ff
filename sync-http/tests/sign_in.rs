//! A device whose token becomes somebody else's: what one person has to send never goes out with another one's token.

mod common;

use axum::http::request::Parts;
use common::tokens::{Claims, Tokens, now};
use common::{served_with, url};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use sync_http::{HttpReplica, Policy, Refusal, SyncRoutes, TokenProvider};
use sync_runtime::prelude::*;
use sync_runtime::{Caller, ErrorKind, Workspace};
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

async fn write(workspace: &Workspace, id: &str) {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    notes.create(Note { id: id.into(), text: id.into() }).await.expect("a note is made");
}

async fn ids(workspace: &Workspace) -> Vec<String> {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    notes.find(Query::all()).await.expect("notes are found").into_iter().map(|note| note.id).collect()
}

/// Lets in whoever has a good token, and notes who came where.
#[derive(Debug, Clone, Default)]
struct Guestbook(Tokens, Arc<Mutex<Vec<String>>>);

impl Guestbook {
    /// Who came since the last look.
    fn read(&self) -> Vec<String> {
        std::mem::take(&mut *self.1.lock().expect("no panic"))
    }
}

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

/// Gives these tokens one after the other, the last one again and again; another one after a refusal.
#[derive(Clone, Default)]
struct Wallet {
    next: Arc<Mutex<VecDeque<String>>>,
    after_refusal: Arc<Mutex<Option<String>>>,
}

impl Wallet {
    fn hold(&self, tokens: &[&String]) {
        *self.next.lock().expect("no panic") = tokens.iter().copied().cloned().collect();
    }
}

#[sync_runtime::async_trait]
impl TokenProvider for Wallet {
    async fn token(&self, refused: Option<&str>) -> Option<String> {
        if refused.is_some() {
            return self.after_refusal.lock().expect("no panic").clone();
        }
        let mut tokens = self.next.lock().expect("no panic");
        if tokens.len() > 1 { tokens.pop_front() } else { tokens.front().cloned() }
    }
}

#[tokio::test]
async fn no_queue_is_sent_with_anothers_token() {
    let (server, phone) = (workspace().await, workspace().await);
    let guests = Guestbook::default();
    let address = served_with(SyncRoutes::new(server.clone(), guests.clone())).await;
    let wallet = Wallet::default();
    let url = format!("http://{address}/sync");
    let line = HttpReplica::builder(&url).token_provider(wallet.clone()).build().expect("a URL");
    let alice = Claims::of("alice", "write").token();
    let later = Claims { exp: now() + 7200, ..Claims::of("alice", "write") }.token();
    let expired = Claims { exp: now() - 5, ..Claims::of("alice", "write") }.token();
    let bob = Claims::of("bob", "write").token();
    let refused = async |what: &str| {
        let error = phone.sync(&line).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{what}: {error}");
        for token in [&alice, &later, &expired, &bob] {
            assert!(!error.to_string().contains(token.as_str()), "{what}: no secret in {error}");
        }
    };
    write(&phone, "1").await;
    wallet.hold(&[&alice]);
    phone.sync(&line).await.expect("it is hers");
    assert_eq!(guests.read(), ["alice v1", "alice exchange"]);

    write(&phone, "2").await;
    wallet.hold(&[&later]);
    phone.sync(&line).await.expect("it is hers, renewed");
    assert_eq!(guests.read(), ["alice v1", "alice exchange"], "another token is asked once whose it is");
    phone.sync(&line).await.expect("it is hers");
    assert_eq!(guests.read(), ["alice exchange"]);

    write(&phone, "3").await;
    wallet.hold(&[&bob]);
    refused("before a sync").await;
    assert_eq!(guests.read(), ["bob v1"]);
    wallet.hold(&[&alice]);
    phone.sync(&line).await.expect("it is hers again");
    write(&phone, "4").await;
    guests.read();

    wallet.hold(&[&alice, &bob]);
    refused("in the middle of a sync").await;
    assert_eq!(guests.read(), ["bob v1"]);

    wallet.hold(&[&alice, &expired]);
    *wallet.after_refusal.lock().expect("no panic") = Some(bob.clone());
    refused("instead of one that has expired").await;
    assert_eq!(guests.read(), ["nobody v1", "bob v1"]);
    wallet.hold(&[&alice, &expired]);
    *wallet.after_refusal.lock().expect("no panic") = Some(later.clone());
    assert_eq!(ids(&server).await, ["1", "2", "3"]);
    phone.sync(&line).await.expect("it is hers, renewed");
    assert_eq!(guests.read(), ["nobody v1", "alice v1", "alice exchange"]);
    write(&phone, "5").await;

    phone.sign_in("bob").await.expect("bob signs in");
    wallet.hold(&[&bob]);
    phone.sync(&line).await.expect("it is his");
    assert_eq!(ids(&server).await, ["1", "2", "3", "4"]);
    assert_eq!(ids(&phone).await, ["1", "2", "3", "4"]);
    phone.sign_in("alice").await.expect("alice is back");
    wallet.hold(&[&alice]);
    phone.sync(&line).await.expect("it is hers");
    assert_eq!(ids(&server).await, ["1", "2", "3", "4", "5"]);
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
    write(&of_alice, "diary").await;
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
