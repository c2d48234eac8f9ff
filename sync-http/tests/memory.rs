//! What a caller can make a server do with a few bytes.

mod common;

use common::tokens::{Claims, Tokens};
use common::{JSON, Shelf, raw, request, served_with};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use sync_http::{RateLimit, SyncRoutes};
use sync_runtime::Workspace;
use sync_runtime::prelude::*;
use sync_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Note {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    team: String,
    text: String,
}

async fn workspace() -> Workspace {
    Workspace::builder(MemoryStore::new()).model::<Note>().build().await.expect("it opens")
}

fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("KiB") / 1024
}

const MALLORY: &str = "5f0c3a9e1b7d4c2f8a6e0d9b4c7f1a23";

/// The peak is the process's, so one test at a time looks at it.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Large records that are asked for by their ids are not all in memory at once, whoever asks, and however.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_records_asked_for_by_id_are_read_in_portions() {
    let _alone = ALONE.lock().await;
    let server = workspace().await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let notes = server.collection::<Note>().expect("the model is registered");
    for n in 0..64 {
        let text = "x".repeat(4 << 20);
        let note = Note { id: format!("{n:02}"), team: "blue".into(), text };
        notes.create(note).await.expect("a note is made");
    }
    let bearer = format!("Bearer {}", Claims::of("writer", "write").in_scopes(&["blue"]).token());
    let ids: Vec<String> = (0..64).map(|n| format!("{n:02}")).collect();
    let rev = format!("1@{MALLORY}");
    let named = |kind: &str| {
        ids.iter().map(|id| json!({ "model": "Note", "id": id, "kind": kind, "rev": rev })).collect()
    };
    let (changes, deletes): (Vec<_>, Vec<_>) = (named("create"), named("delete"));
    let to = server.id().await.expect("an id").to_string();
    let push = json!({ "number": 1, "digest": 1, "updates": deletes });
    for (path, body, status) in [
        ("read", format!(r#"{{"model":"Note","ids":{}}}"#, json!(ids)), 413),
        ("read", r#"{"model":"Note","limit":64}"#.to_owned(), 413),
        ("create-updates", json!({ "deltas": changes }).to_string(), 413),
        ("diff", json!({ "changes": changes }).to_string(), 200),
        ("exchange", json!({ "from": MALLORY, "to": to, "push": push }).to_string(), 413),
        ("bulk-update", json!({ "from": MALLORY, "updates": deletes }).to_string(), 413),
    ] {
        let before = peak();
        let headers = [JSON, ("authorization", bearer.as_str())];
        let asked = request("POST", &format!("/sync/v1/{path}"), &headers, body.as_bytes());
        let answer = raw(address, &asked).await;
        assert_eq!(answer.status, status, "{path}");
        let grown = peak() - before;
        assert!(grown < 128, "{path}: {grown} MiB");
    }
}

/// Only so much of one subject takes memory at a time. What is at work is bounded, and what comes or goes, however slowly;
/// that keeps its next large request waiting, and nobody else's, nor a small one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_one_subject_take_turns() {
    let _alone = ALONE.lock().await;
    let server = workspace().await;
    let limit = RateLimit { at_work: 1, on_the_way: 32 << 20, ..RateLimit::default() };
    let routes = SyncRoutes::new(server.clone(), Tokens::default()).rate_limit(limit);
    let address = served_with(routes).await;
    let notes = server.collection::<Note>().expect("the model is registered");
    for n in 0..7 {
        let note = Note { id: format!("{n}"), team: "blue".into(), text: "x".repeat(4 << 20) };
        notes.create(note).await.expect("a note is made");
    }
    let asking = |name: &str, body: &str| {
        let bearer = format!("Bearer {}", Claims::of(name, "read").in_scopes(&["blue"]).token());
        request("POST", "/sync/v1/read", &[JSON, ("authorization", &bearer)], body.as_bytes())
    };
    let asks = async |name: &str, body: &str| {
        let asked = asking(name, body);
        tokio::time::timeout(Duration::from_secs(1), raw(address, &asked)).await.map(|answer| answer.status)
    };
    let small = r#"{"model":"Note","ids":[]}"#;
    let padded = format!("{small}{}", " ".repeat(7 << 20));
    // Five bodies that do not end have 35 of 32 MiB.
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut connection = TcpStream::connect(address).await.expect("connects");
        let asked = asking("alice", &padded);
        connection.write_all(&asked[..2_000]).await.expect("the begin is sent");
        held.push(connection);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(asks("alice", &padded).await.is_err(), "there is no room for one more of hers");
    assert_eq!(asks("bob", &padded).await.expect("nobody else waits"), 200);
    assert_eq!(asks("alice", small).await.expect("nor does a small one"), 200);
    drop(held);
    assert_eq!(asks("alice", &padded).await.expect("there is room again"), 200);
    // An answer that she does not read has 28 of 32 MiB.
    let large = asking("alice", r#"{"model":"Note","limit":7}"#);
    let mut slow = TcpStream::connect(address).await.expect("connects");
    slow.write_all(&large).await.expect("it is sent");
    let mut head = [0; 1024];
    slow.read_exact(&mut head).await.expect("it is answered");
    assert_eq!(asks("alice", r#"{"model":"Note","limit":7}"#).await.expect("an answer"), 503);
    assert_eq!(asks("bob", r#"{"model":"Note","limit":7}"#).await.expect("nobody else's"), 200);
    assert_eq!(asks("alice", small).await.expect("nor a small one"), 200);
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.expect("the rest is read");
    assert!(rest.len() > 28 << 20, "the answer is whole: {} bytes", rest.len());
    assert_eq!(asks("alice", r#"{"model":"Note","limit":7}"#).await.expect("there is room again"), 200);
}

/// Of one subject's requests so many are at work at a time, and the others come after them; nobody else's wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_one_subject_are_at_work_one_after_the_other() {
    let shelf = Arc::new(Shelf::default().slow(Duration::from_millis(300)));
    let limit = RateLimit { at_work: 1, ..RateLimit::default() };
    let address = served_with(SyncRoutes::new(shelf.clone(), Tokens::default()).rate_limit(limit)).await;
    let asks = |name: &str| {
        let bearer = format!("Bearer {}", Claims::of(name, "write").token());
        let headers = [JSON, ("authorization", bearer.as_str())];
        let asked = request("POST", "/sync/v1/bulk-update", &headers, br#"{"updates":[]}"#);
        tokio::spawn(async move { raw(address, &asked).await.status })
    };
    let all = [asks("alice"), asks("alice"), asks("bob")];
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(shelf.begun.load(Ordering::SeqCst), 2, "one of alice's, and bob's");
    for one in all {
        assert_eq!(one.await.expect("no panic"), 200);
    }
    assert_eq!(shelf.ended.load(Ordering::SeqCst), 3);
}

/// A name that this version does not know is read and dropped; what stands under it costs nothing to keep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_costs_no_memory() {
    let _alone = ALONE.lock().await;
    let address = served_with(SyncRoutes::new(workspace().await, Tokens::default())).await;
    let bearer = format!("Bearer {}", Claims::of("reader", "read").in_scopes(&["blue"]).token());
    let ask = async |what: &str, item: &[u8]| {
        // MessagePack: {"later": [item, item, …]}, 16 MiB of it.
        let items = (16 << 20) / item.len();
        let mut body = b"\x81\xa5later\xdd".to_vec();
        body.extend((items as u32).to_be_bytes());
        body.extend(item.iter().copied().cycle().take(items * item.len()));
        let sent = zstd::bulk::compress(&body, 1).expect("compresses");
        let headers = [
            ("content-type", "application/msgpack"),
            ("authorization", bearer.as_str()),
            ("content-encoding", "zstd"),
        ];
        let before = peak();
        let answer = raw(address, &request("POST", "/sync/v1/changes", &headers, &sent)).await;
        assert_eq!(answer.status, 200, "{what}");
        peak() - before
    };
    let flat = ask("a list of zeros", &[0]).await;
    let mut nested = vec![0x91; 60];
    nested.push(0xc0);
    let deep = ask("lists in lists", &nested).await;
    assert!(flat < 64 && deep < 64, "{flat} MiB and {deep} MiB for one request");
}

/// A number of one byte takes many in memory; of those that are kept there are only so many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_has_its_bounds() {
    let _alone = ALONE.lock().await;
    let server = workspace().await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let bearer = format!("Bearer {}", Claims::of("writer", "write").in_scopes(&["blue"]).token());
    let to = server.id().await.expect("an id").to_string();
    let push = async |records: usize, number: u64| {
        let numbers = "0,".repeat(400_000);
        let record = |n: usize| {
            let rev = format!("{}@{MALLORY}", 1_732_147_200_000_000_u64 + n as u64);
            format!(
                r#"{{"model":"Note","id":"{n}","kind":"create","rev":"{rev}","data":{{"team":"blue","text":"","later":[{numbers}0]}}}}"#
            )
        };
        let updates: Vec<_> = (0..records).map(record).collect();
        let body = format!(
            r#"{{"from":"{MALLORY}","to":"{to}","push":{{"number":{number},"digest":1,"updates":[{}]}}}}"#,
            updates.join(",")
        );
        let sent = zstd::bulk::compress(body.as_bytes(), 1).expect("compresses");
        let headers = [JSON, ("authorization", bearer.as_str()), ("content-encoding", "zstd")];
        let before = peak();
        let answer = raw(address, &request("POST", "/sync/v1/exchange", &headers, &sent)).await;
        (answer.status, peak() - before)
    };
    let (status, _) = push(1, 1).await;
    assert_eq!(status, 200, "one record may be as large as ever");
    let (status, grown) = push(40, 2).await;
    assert_eq!(status, 413, "it comes again in two");
    assert!(grown < 256, "{grown} MiB for one request");
}

/// Who may hand on what others wrote in one scope does not decide on the history of all.
#[tokio::test]
async fn a_right_in_one_scope_does_not_rename_the_server() {
    let server = workspace().await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let bearer =
        format!("Bearer {}", Claims::of("team blue's server", "replicate").in_scopes(&["blue"]).token());
    let before = server.id().await.expect("an id");
    let body = format!(r#"{{"from":"{MALLORY}","to":"{before}","pull":{{"since":"999@{before}"}}}}"#);
    let answer = raw(
        address,
        &request("POST", "/sync/v1/exchange", &[JSON, ("authorization", &bearer)], body.as_bytes()),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.id().await.expect("an id"), before);
}
