//! What a caller can make a server do with a few bytes.

mod common;

use common::tokens::{Claims, Tokens};
use common::{JSON, raw, request, served_with};
use serde_json::json;
use sync_http::SyncRoutes;
use sync_runtime::Workspace;
use sync_runtime::prelude::*;
use sync_store_memory::MemoryStore;
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
    let bearer = format!("Bearer {}", Claims::of("reader", "read").in_scopes(&["blue"]).token());
    let ids: Vec<String> = (0..64).map(|n| format!("{n:02}")).collect();
    let changes: Vec<_> = ids
        .iter()
        .map(|id| json!({ "model": "Note", "id": id, "kind": "create", "rev": "1@5f0c3a9e1b7d4c2f8a6e0d9b4c7f1a23" }))
        .collect();
    for (path, body, status) in [
        ("read", format!(r#"{{"model":"Note","ids":{}}}"#, json!(ids)), 413),
        ("read", r#"{"model":"Note","limit":64}"#.to_owned(), 413),
        ("create-updates", json!({ "deltas": changes }).to_string(), 413),
        ("diff", json!({ "changes": changes }).to_string(), 200),
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

/// Who may hand on what others wrote in one scope does not decide on the history of all.
#[tokio::test]
async fn a_right_in_one_scope_does_not_rename_the_server() {
    let server = workspace().await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let bearer =
        format!("Bearer {}", Claims::of("team blue's server", "replicate").in_scopes(&["blue"]).token());
    let before = server.id().await.expect("an id");
    let body = format!(
        r#"{{"from":"5f0c3a9e1b7d4c2f8a6e0d9b4c7f1a23","to":"{before}","pull":{{"since":"999@{before}"}}}}"#
    );
    let answer = raw(
        address,
        &request("POST", "/sync/v1/exchange", &[JSON, ("authorization", &bearer)], body.as_bytes()),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.id().await.expect("an id"), before);
}
