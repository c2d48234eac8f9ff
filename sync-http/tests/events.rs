//! The stream of events: who hears what, for how long, and a sync that is kept by it.

mod common;

use common::tokens::{Claims, Tokens, now};
use common::{request, served_with, url};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use sync_http::{AllowAll, HttpReplica, RateLimit, SyncRoutes, TokenProvider};
use sync_runtime::prelude::*;
use sync_runtime::replica::{Replica, Watching};
use sync_runtime::{Caller, Checkpoint, ErrorKind, Workspace};
use sync_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
    let note = Note { id: id.into(), text: text.into() };
    match notes.get(id).await.expect("a note is read") {
        Some(_) => drop(notes.update(id, |before| before.text = text.into()).await.expect("a note is saved")),
        None => drop(notes.create(note).await.expect("a note is made")),
    }
}

async fn newest(workspace: &Workspace) -> Checkpoint {
    Replica::checkpoint(workspace.engine(), &Caller::owner()).await.expect("a checkpoint")
}

/// A stream as it travels.
struct Stream {
    connection: TcpStream,
    bytes: Vec<u8>,
}

impl Stream {
    async fn open(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = TcpStream::connect(address).await.expect("connects");
        let path = format!("/sync/v1/events{query}");
        connection.write_all(&request("GET", &path, headers, &[])).await.expect("is sent");
        Stream { connection, bytes: Vec::new() }
    }

    /// What comes until there is this text; `None` if it ends before, or does not come in time.
    async fn until(&mut self, text: &str, time: Duration) -> Option<String> {
        let read = async {
            loop {
                let so_far = String::from_utf8_lossy(&self.bytes).into_owned();
                if so_far.contains(text) {
                    self.bytes.clear();
                    return Some(so_far);
                }
                if self.connection.read_buf(&mut self.bytes).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(time, read).await.ok().flatten()
    }

    /// Reads to the end; gives what came, and how long that took.
    async fn end(mut self) -> (String, Duration) {
        let begun = Instant::now();
        let read = self.connection.read_to_end(&mut self.bytes);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("it ends").expect("it is read");
        (String::from_utf8_lossy(&self.bytes).into_owned(), begun.elapsed())
    }
}

const SOON: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_millis(700);

/// Looks like the standard says, resumes where it was left, and tells nothing twice.
#[tokio::test]
async fn a_stream_resumes_where_it_was_left() {
    let server = workspace().await;
    let address = served_with(SyncRoutes::new(server.clone(), AllowAll)).await;
    write(&server, "1", "one").await;
    let mut stream = Stream::open(address, "", &[]).await;
    let first = newest(&server).await.to_string();
    let head = stream.until(&format!("id: {first}\n"), SOON).await.expect("what is there is told");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("event: moved\n") && head.contains("cache-control: no-cache"), "{head}");
    write(&server, "1", "two").await;
    let second = newest(&server).await.to_string();
    stream.until(&format!("data: {second}\n"), SOON).await.expect("what is new is told");
    drop(stream);
    let mut resumed = Stream::open(address, "", &[("last-event-id", &second)]).await;
    assert_eq!(resumed.until("data:", A_WHILE).await, None, "nothing was missed");
    let mut behind = Stream::open(address, &format!("?since={first}"), &[]).await;
    behind.until(&format!("data: {second}\n"), SOON).await.expect("what was missed is told");
    let mut wrong = Stream::open(address, "?from=me", &[]).await;
    let refused = wrong.until("}", SOON).await.expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("from=REPLICA"), "{refused}");
}

/// A stream ends within five seconds of the end of its token, or of its being revoked, and nothing is told after.
#[tokio::test]
async fn a_stream_does_not_outlive_its_token() {
    let server = workspace().await;
    let policy = Tokens::default();
    let address = served_with(SyncRoutes::new(server.clone(), policy.clone())).await;
    let bearer = |claims: &Claims| format!("Bearer {}", claims.token());
    let short = Claims { exp: now() + 2, ..Claims::of("short", "read") };
    let expiring = Stream::open(address, "", &[("authorization", &bearer(&short))]).await;
    let revoked =
        Stream::open(address, "", &[("authorization", &bearer(&Claims::of("revoked", "read")))]).await;
    let mut good =
        Stream::open(address, "", &[("authorization", &bearer(&Claims::of("good", "read")))]).await;
    let mut told =
        Stream::open(address, "", &[("authorization", &bearer(&Claims::of("told", "read")))]).await;
    told.until("data:", SOON).await.expect("it is open");
    policy.revoked.lock().expect("no panic").extend(["revoked".to_owned(), "told".to_owned()]);
    write(&server, "1", "after the revocation").await;
    let after = newest(&server).await.to_string();
    good.until(&format!("data: {after}\n"), SOON).await.expect("who may listen hears it");
    for stream in [told, revoked] {
        let (text, took) = stream.end().await;
        assert!(!text.contains(&after) && took < SOON, "after {took:?}: {text}");
    }
    let (_, took) = expiring.end().await;
    assert!(took < Duration::from_secs(2) + SOON, "{took:?}");
}

/// One subject has so many streams at a time; one that ends makes room, and others have theirs.
#[tokio::test]
async fn the_streams_of_one_subject_are_bounded() {
    let server = workspace().await;
    write(&server, "1", "one").await;
    let limit = RateLimit { streams: 2, ..RateLimit::default() };
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default()).rate_limit(limit)).await;
    let open = async |name: &str| {
        let bearer = format!("Bearer {}", Claims::of(name, "read").token());
        Stream::open(address, "", &[("authorization", &bearer)]).await
    };
    let mut streams = Vec::new();
    for name in ["alice", "alice", "bob"] {
        let mut stream = open(name).await;
        stream.until("data:", SOON).await.expect("it is open");
        streams.push(stream);
    }
    let refused = open("alice").await.until("}", SOON).await.expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 60"), "{refused}");
    drop(streams.remove(0));
    // The server sees it when it writes there.
    for n in 0..50 {
        write(&server, "1", &format!("{n}")).await;
        if open("alice").await.until("data:", A_WHILE).await.is_some() {
            return;
        }
    }
    panic!("one that ended still counts");
}

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Secret {
    #[sync(id)]
    id: String,
}

/// Who may not read a model does not hear of it.
#[tokio::test]
async fn a_stream_tells_of_what_its_caller_may_read() {
    struct NoSecrets;
    #[sync_runtime::async_trait]
    impl sync_http::Policy for NoSecrets {
        async fn caller(&self, _: &axum::http::request::Parts) -> Result<Caller, sync_http::Refusal> {
            let alice = Caller::named("alice").with(sync_runtime::Right::Read);
            Ok(alice.with_on("Secret", sync_runtime::Right::Nothing))
        }
    }
    let builder = Workspace::builder(MemoryStore::new()).model::<Note>().model::<Secret>();
    let server = builder.build().await.expect("it opens");
    let address = served_with(SyncRoutes::new(server.clone(), NoSecrets)).await;
    let since = newest(&server).await;
    let mut stream = Stream::open(address, &format!("?since={since}"), &[]).await;
    stream.until("\r\n\r\n", SOON).await.expect("it is open");
    let secrets = server.collection::<Secret>().expect("the model is registered");
    secrets.create(Secret { id: "1".into() }).await.expect("a secret is made");
    assert_eq!(stream.until("data:", A_WHILE).await, None);
    let mut late = Stream::open(address, &format!("?since={since}"), &[]).await;
    assert_eq!(late.until("data:", A_WHILE).await, None, "nor was there anything before");
    write(&server, "1", "a note").await;
    stream.until("data:", SOON).await.expect("notes are told");
}

/// What one device writes is on the other in a moment, although neither asks more than once an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_sync_hears_of_changes_at_once() {
    let server = workspace().await;
    let address = served_with(SyncRoutes::new(server.clone(), AllowAll)).await;
    let (a, b) = (workspace().await, workspace().await);
    let hour = Duration::from_secs(3600);
    let peers = [(); 2].map(|()| HttpReplica::new(&url(address)).expect("a URL"));
    let _kept =
        [(&a, &peers[0]), (&b, &peers[1])].map(|(it, peer)| it.keep_in_sync(peer).every(hour).start());
    let arrives = async |id: &str, text: &str| {
        let notes = b.collection::<Note>().expect("the model is registered");
        let begun = Instant::now();
        while notes.get(id).await.expect("a note is read").is_none_or(|note| note.text != text) {
            assert!(begun.elapsed() < SOON, "{text} does not arrive");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        begun.elapsed()
    };
    write(&a, "1", "first").await;
    arrives("1", "first").await;
    // Both listen by now.
    tokio::time::sleep(A_WHILE).await;
    let mut took = Vec::new();
    for n in 0..5 {
        write(&a, "1", &format!("edit {n}")).await;
        took.push(arrives("1", &format!("edit {n}")).await);
    }
    write(&server, "2", "of the server's own app").await;
    took.push(arrives("2", "of the server's own app").await);
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_millis(500), "{took:?}");
    let requests = peers[1].traffic().requests;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(peers[1].traffic().requests, requests, "who is level asks for nothing");
}

/// A token that the server refuses is asked for once more, and the request sent again; without another one it fails, and
/// nothing queued is lost.
#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    struct Session {
        first: String,
        second: Option<String>,
        renewed: Arc<AtomicU64>,
    }
    #[sync_runtime::async_trait]
    impl TokenProvider for Session {
        async fn token(&self, refused: Option<&str>) -> Option<String> {
            match refused {
                None if self.renewed.load(Ordering::SeqCst) > 0 && self.second.is_some() => {
                    self.second.clone()
                }
                None => Some(self.first.clone()),
                Some(refused) => {
                    assert_eq!(refused, self.first);
                    self.renewed.fetch_add(1, Ordering::SeqCst);
                    self.second.clone()
                }
            }
        }
    }
    let server = workspace().await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let device = workspace().await;
    write(&device, "1", "queued").await;
    let good = Claims::of("alice", "write");
    let expired = Claims { exp: now() - 5, ..good.clone() }.token();
    let renewed = Arc::new(AtomicU64::new(0));
    let session = |second: Option<String>| {
        let session = Session { first: expired.clone(), second, renewed: renewed.clone() };
        HttpReplica::builder(&url(address)).token_provider(session).build().expect("a URL")
    };
    let error = device.sync(&session(None)).await.expect_err("the token is not good");
    assert_eq!((error.kind(), renewed.load(Ordering::SeqCst)), (ErrorKind::Unauthorized, 1), "{error}");
    let told = Arc::new(AtomicU64::new(0));
    let listening = session(Some(good.token()));
    let counted = told.clone();
    let tell = move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let owner = Caller::owner();
    let listen = listening.watch(&owner, Watching::default(), &tell);
    let _ = tokio::time::timeout(A_WHILE, listen).await;
    assert_eq!(told.load(Ordering::SeqCst), 1, "a stream is opened with a renewed token too");
    renewed.store(0, Ordering::SeqCst);
    let report = device.sync(&session(Some(good.token()))).await.expect("the second is good");
    assert_eq!((report.pushed, renewed.load(Ordering::SeqCst)), (1, 1));
}
