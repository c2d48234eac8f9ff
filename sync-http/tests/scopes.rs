//! Scopes over HTTP: every byte that a client is sent is searched for what is another scope's.

mod common;

use common::tokens::{Claims, Tokens};
use common::{JSON, raw, request, served_with};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use sync_http::{HttpReplica, SyncRoutes};
use sync_runtime::prelude::*;
use sync_runtime::{Caller, ErrorKind, Workspace, replica::Replica};
use sync_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Note {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    team: String,
    text: String,
}

/// Stands in ids, scopes and texts that only the red team may see.
const CANARY: &str = "canary";

async fn workspace() -> Workspace {
    Workspace::builder(MemoryStore::new()).model::<Note>().build().await.expect("it opens")
}

async fn put(workspace: &Workspace, id: &str, team: &str, text: &str) {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    let note = Note { id: id.into(), team: team.into(), text: text.into() };
    notes.upsert(note).await.expect("a note is saved");
}

async fn ids(workspace: &Workspace) -> Vec<String> {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    let found = notes.find(sync_runtime::Query::all()).await.expect("notes are found");
    found.into_iter().map(|note| note.id).collect()
}

/// A line to the server that keeps what comes back over it.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<u8>>>);

impl Tap {
    async fn before(&self, server: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let tap = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.expect("connects");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let tap = tap.clone();
                tokio::spawn(async move {
                    let mut bytes = vec![0; 1 << 16];
                    while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                        tap.0.lock().expect("no panic").extend_from_slice(&bytes[..read]);
                        if to_client.write_all(&bytes[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    /// What came so far.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

fn client(address: SocketAddr, claims: &Claims, json: bool) -> HttpReplica {
    let builder =
        HttpReplica::builder(&format!("http://{address}/sync")).token(claims.token()).compress(false);
    let builder = if json { builder.json() } else { builder };
    builder.build().expect("a client")
}

fn blue() -> Claims {
    Claims::of("blue", "write").in_scopes(&["blue"])
}

fn red() -> Claims {
    Claims::of("red", "write").in_scopes(&["canary red", "blue"])
}

/// Through pulls, moves, deletes, conflicts, refusals, comparisons, events, every route by hand and errors: no byte that
/// is sent to one team is of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_another_scope_is_sent() {
    for json in [true, false] {
        let server = workspace().await;
        let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
        let tap = Tap::default();
        let line = client(tap.before(address).await, &blue(), json);
        let (a, of_red) = (workspace().await, workspace().await);
        put(&server, "canary-1", "canary red", "canary text").await;
        put(&server, "1", "blue", "for blue").await;
        put(&server, "2", "blue", "for blue").await;
        put(&server, "canary-2", "green", "in green, before blue may read that").await;
        a.sync(&line).await.expect("a first pull");
        assert_eq!(ids(&a).await, ["1", "2"]);
        let live = a.keep_in_sync(&line).every(Duration::from_secs(60)).start();
        // Moves, changes and deletes that concern the others, one way and another.
        put(&server, "1", "canary red", "canary: moved away").await;
        put(&server, "canary-1", "canary red", "canary: changed").await;
        put(&server, "3", "blue", "made for blue").await;
        let begun = Instant::now();
        while ids(&a).await != ["2", "3"] {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never came: {:?}", ids(&a).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(live);
        put(&server, "2", "canary red", "canary: back and forth").await;
        put(&server, "2", "blue", "back").await;
        // A conflict, and an edit of what has gone.
        a.sync(&line).await.expect("a pull");
        put(&a, "2", "blue", "of a").await;
        put(&a, "3", "blue", "of a").await;
        put(&server, "2", "blue", "of the server").await;
        put(&server, "3", "canary red", "canary: gone").await;
        let report = a.sync(&line).await.expect("a sync");
        assert_eq!((report.conflict_count(), report.rejected.len()), (1, 1), "{report:?}");
        // Ids that are taken where nobody of blue may look.
        put(&a, "canary-1", "blue", "mine").await;
        put(&a, "4", "canary red", "mine").await;
        let report = a.sync(&line).await.expect("a sync");
        assert!(report.rejected.len() >= 2, "{report:?}");
        // What was in a scope before they might read it, whoever asks and however.
        workspace().await.sync(&client(address, &red(), json)).await.expect("somebody looks where it is");
        put(&server, "canary-2", "canary red", "canary: left green").await;
        put(&server, "5", "green", "of green").await;
        let both = blue().in_scopes(&["blue", "green"]);
        let line_of_both = client(tap.before(address).await, &both, json);
        a.sync(&line_of_both).await.expect("a sync");
        assert!(ids(&a).await.contains(&"5".to_owned()), "green came");
        let later = workspace().await;
        put(&later, "6", "green", "mine").await;
        later.sync(&line_of_both).push_only().await.expect("a push");
        later.sync(&line_of_both).await.expect("a sync");
        Note::replicate(&line_of_both, &workspace().await).await.expect("one way");
        let notes = server.collection::<Note>().expect("the model is registered");
        notes.delete("canary-1".to_owned()).await.expect("deleted");
        a.sync(&line).await.expect("a sync");
        // Comparisons, and a pull from the beginning.
        let again = workspace().await;
        put(&again, "2", "blue", "mine").await;
        Note::replicate(&again, &line).await.expect("one way");
        Note::replicate(&line, &again).await.expect("the other way");
        let sent = tap.text();
        assert!(sent.contains("for blue"), "the tap is on the line");
        // What blue said itself comes back in refusals; the rest is red's.
        let told = sent.replace("Note canary-1: blue has not", "");
        let found = told.match_indices(CANARY).map(|(at, _)| {
            let (from, to) = (at.saturating_sub(120), (at + 120).min(told.len()));
            String::from_utf8_lossy(&told.as_bytes()[from..to]).into_owned()
        });
        assert_eq!(found.collect::<Vec<_>>(), Vec::<String>::new(), "json: {json}");
        // The same search does find it where it may be.
        let tap = Tap::default();
        of_red.sync(&client(tap.before(address).await, &red(), json)).await.expect("a sync");
        assert!(tap.text().contains("canary: gone"));
    }
}

/// The routes by hand, as somebody would call them who guesses ids: hidden records answer as those that are not there.
#[tokio::test]
async fn a_guessed_id_tells_nothing() {
    let server = workspace().await;
    put(&server, "canary-1", "canary red", "canary text").await;
    put(&server, "1", "blue", "for blue").await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let bearer = format!("Bearer {}", blue().token());
    let headers = [JSON, ("authorization", bearer.as_str())];
    let replica = "77777777777777777777777777777777";
    let change =
        |id: &str| json!({ "model": "Note", "id": id, "kind": "create", "rev": format!("5@{replica}") });
    let write = |id: &str| json!({ "writes": [{ "model": "Note", "id": id, "record": { "id": id, "team": "blue", "text": "" }, "expect": format!("5@{replica}") }] });
    for (path, body) in [
        ("read", &(|id: &str| json!({ "model": "Note", "ids": [id] })) as &dyn Fn(&str) -> serde_json::Value),
        ("diff", &|id: &str| json!({ "changes": [change(id)] })),
        ("create-updates", &|id: &str| json!({ "deltas": [change(id)] })),
        ("write", &write),
        ("write", &|id: &str| json!({ "writes": [{ "model": "Note", "id": id, "delete": true }] })),
    ] {
        let mut answers = Vec::new();
        for id in ["canary-1", "nobody-1"] {
            let body = body(id).to_string().into_bytes();
            let answer = raw(address, &request("POST", &format!("/sync/v1/{path}"), &headers, &body)).await;
            let text = String::from_utf8_lossy(&answer.body).replace(id, "ID");
            answers.push((answer.status, text));
        }
        assert_eq!(answers[0], answers[1], "{path}");
        assert!(!answers[0].1.contains(CANARY), "{path}: {answers:?}");
    }
}

/// Who may read no scope at all gets along, and gets nothing.
#[tokio::test]
async fn a_caller_without_scopes_gets_nothing() {
    let server = workspace().await;
    put(&server, "1", "blue", "for blue").await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let device = workspace().await;
    let line = client(address, &Claims::of("nobody", "replicate"), false);
    put(&device, "2", "blue", "mine").await;
    let report = device.sync(&line).await.expect("a sync");
    assert_eq!((report.rejected.len(), ids(&device).await), (1, vec!["2".to_owned()]));
    assert_eq!(report.rejected[0].code, ErrorKind::Forbidden.code());
    assert_eq!(ids(&server).await, ["1"]);
    let described = line.describe(&Caller::owner()).await.expect("it describes itself");
    assert_eq!(described.models.len(), 1, "the model is there; its scopes are not");
}
