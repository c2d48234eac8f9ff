//! Every route for every kind of caller: nobody gets more than their right.

mod common;

use common::tokens::{Claims, Tokens, now};
use common::{JSON, Plain, raw, request, served_with};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use sync_http::SyncRoutes;
use sync_runtime::prelude::*;
use sync_runtime::{ReplicaId, Workspace};
use sync_store_memory::MemoryStore;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Note {
    #[sync(id)]
    id: String,
    text: String,
}

const MARKER: &str = "what only readers see";
const DEVICE: &str = "5f0c3a9e1b7d4c2f8a6e0d9b4c7f1a23";
const OTHER: &str = "77777777777777777777777777777777";

async fn server() -> (SocketAddr, Workspace) {
    let workspace = Workspace::builder(MemoryStore::new()).model::<Note>().build().await.expect("it opens");
    let notes = workspace.collection::<Note>().expect("the model is registered");
    notes.create(Note { id: "1".into(), text: MARKER.into() }).await.expect("a note is made");
    let routes = SyncRoutes::new(workspace.clone(), Tokens::default());
    (served_with(routes).await, workspace)
}

/// What comes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// This status, and nothing changes.
    Status(u16),
    /// 200, and the note is stored.
    Stored,
    /// 200, and the note is refused for want of a right.
    Refused,
}
use Comes::{Refused, Status, Stored};

/// A route with a body to send, and what comes of it for those with no right, to read, to write and to replicate.
struct Row {
    method: &'static str,
    path: &'static str,
    /// In the order that the protocol asks for.
    body: fn(ReplicaId) -> String,
    comes: [Comes; 4],
}

/// A note as a replica would push it.
fn note(id: &str, by: &str) -> Value {
    let rev = format!("1732147200000000@{by}");
    json!({ "model": "Note", "id": id, "kind": "create", "rev": rev, "data": { "text": "new" } })
}

fn nothing(_: ReplicaId) -> String {
    String::new()
}

const READERS: [Comes; 4] = [Status(403), Status(200), Status(200), Status(200)];

const TABLE: [Row; 13] = [
    Row { method: "GET", path: "/v1", body: nothing, comes: READERS },
    Row {
        method: "POST",
        path: "/v1/exchange",
        body: |to| json!({ "from": DEVICE, "to": to, "pull": { "limit": 10 } }).to_string(),
        comes: READERS,
    },
    Row {
        method: "POST",
        path: "/v1/exchange",
        body: |to| {
            json!({ "from": DEVICE, "to": to, "push": { "number": 1, "digest": 1, "updates": [note("2", DEVICE)] } }).to_string()
        },
        comes: [Status(403), Refused, Stored, Stored],
    },
    Row { method: "GET", path: "/v1/changes", body: nothing, comes: READERS },
    Row { method: "POST", path: "/v1/changes", body: |_| json!({ "limit": 10 }).to_string(), comes: READERS },
    Row {
        method: "POST",
        path: "/v1/diff",
        body: |_| json!({ "changes": [note("1", OTHER)] }).to_string(),
        comes: READERS,
    },
    Row {
        method: "POST",
        path: "/v1/create-updates",
        body: |_| json!({ "deltas": [note("1", OTHER)] }).to_string(),
        comes: READERS,
    },
    Row {
        method: "POST",
        path: "/v1/bulk-update",
        body: |_| json!({ "from": DEVICE, "updates": [note("2", DEVICE)] }).to_string(),
        comes: [Status(403), Refused, Stored, Stored],
    },
    Row {
        method: "POST",
        path: "/v1/bulk-update",
        body: |_| json!({ "from": DEVICE, "updates": [note("2", OTHER)] }).to_string(),
        comes: [Status(403), Refused, Refused, Stored],
    },
    Row { method: "GET", path: "/v1/checkpoint", body: nothing, comes: READERS },
    Row {
        method: "POST",
        path: "/v1/read",
        body: |_| r#"{ "model": "Note", "ids": ["1"] }"#.into(),
        comes: READERS,
    },
    Row {
        method: "POST",
        path: "/v1/write",
        body: |_| {
            r#"{ "writes": [{ "model": "Note", "id": "2", "record": { "id": "2", "text": "new" } }] }"#.into()
        },
        comes: [Status(403), Status(403), Stored, Stored],
    },
    Row { method: "GET", path: "/v1/events", body: nothing, comes: READERS },
];

async fn call(address: SocketAddr, row: &Row, to: ReplicaId, token: Option<&str>) -> Plain {
    let body = (row.body)(to).into_bytes();
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![JSON];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let request = request(row.method, &format!("/sync{}", row.path), &headers, &body);
    match row.path {
        // A stream does not end by itself.
        "/v1/events" => common::raw_head(address, &request).await,
        _ => raw(address, &request).await,
    }
}

/// What came of a call, by the answer and by what is stored since.
async fn came(workspace: &Workspace, answer: &Plain) -> Comes {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    let stored = notes.get("2").await.expect("a note is read").is_some();
    let text = String::from_utf8_lossy(&answer.body);
    match answer.status {
        200 if stored => Stored,
        200 if text.contains("forbidden") => Refused,
        status => {
            assert!(!stored, "{status}, and it is stored");
            Status(status)
        }
    }
}

#[tokio::test]
async fn every_route_for_every_right() {
    let rights = ["nothing", "read", "write", "replicate"];
    for row in &TABLE {
        for (right, expected) in rights.into_iter().zip(row.comes) {
            let (address, workspace) = server().await;
            let id = workspace.id().await.expect("an id");
            let answer = call(address, row, id, Some(&Claims::of("alice", right).token())).await;
            let what = format!("{} {} with the right {right}: {answer:?}", row.method, row.path);
            assert_eq!(came(&workspace, &answer).await, expected, "{what}");
            if answer.status != 200 {
                answer.problem();
                assert!(!what.contains(MARKER) && !what.contains("Note"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_without_a_good_token_gets_anywhere() {
    let (address, workspace) = server().await;
    let id = workspace.id().await.expect("an id");
    let good = Claims::of("alice", "replicate");
    let foreign = Claims { aud: "shop".into(), ..good.clone() };
    let expired = Claims { exp: now() - 5, ..good.clone() };
    let unsigned = {
        let token = good.token();
        let (_, rest) = token.split_once('.').expect("a token");
        let (payload, _) = rest.split_once('.').expect("a token");
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")
    };
    let tampered = {
        let token = good.token();
        let cut = token.len() - 4;
        format!("{}AAAA", &token[..cut])
    };
    let tokens = [
        ("anonymous", None),
        ("not a token", Some("hunter2".to_owned())),
        ("expired", Some(expired.token())),
        ("another audience", Some(foreign.token())),
        ("another algorithm", Some(good.signed(Algorithm::HS512))),
        ("no algorithm", Some(unsigned)),
        ("another signature", Some(tampered)),
    ];
    for row in &TABLE {
        for (who, token) in &tokens {
            let answer = call(address, row, id, token.as_deref()).await;
            let what = format!("{} {}, {who}: {answer:?}", row.method, row.path);
            assert_eq!(came(&workspace, &answer).await, Status(401), "{what}");
            assert_eq!(answer.problem().1, "unauthorized", "{what}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}");
            assert!(!what.contains(MARKER), "{what}");
        }
    }
}

#[test]
fn the_table_has_every_route() {
    let routes: BTreeSet<_> = SyncRoutes::paths().collect();
    let rows: BTreeSet<_> = TABLE.iter().map(|row| (row.method, row.path.to_owned())).collect();
    assert_eq!(rows, routes);
}

/// A stamp ahead of the clock is refused on every way in: it would win against whatever others write until then.
#[tokio::test]
async fn no_stamp_is_ahead_of_the_clock() {
    let (address, workspace) = server().await;
    let token = format!("Bearer {}", Claims::of("alice", "write").token());
    let post = async |path: &str, body: Value| {
        let headers = [JSON, ("authorization", token.as_str())];
        raw(address, &request("POST", &format!("/sync{path}"), &headers, body.to_string().as_bytes())).await
    };
    let to = workspace.id().await.expect("an id");
    let note = |id: &str, by: &str, stamp: i64| json!({ "model": "Note", "id": id, "kind": "create", "rev": format!("{stamp}@{by}"), "data": { "text": "new" } });
    let now = i64::try_from(now()).expect("a time") * 1_000_000;
    let year = 365 * 24 * 3_600 * 1_000_000;
    // Both replica ids are hers from here on.
    for (device, id) in [(DEVICE, "a"), (OTHER, "b")] {
        let push = json!({ "number": 1, "digest": 1, "updates": [note(id, device, now)] });
        let answer = post("/v1/exchange", json!({ "from": device, "to": to, "push": push })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let ahead = json!({ "from": DEVICE, "updates": [note("c", DEVICE, now + year), note("d", DEVICE, now)] });
    let answer = post("/v1/bulk-update", ahead).await;
    let told = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 200 && told.contains("correct the clock"), "{told}");
    // Nor on top of a stamp that she only says was there.
    let mut on_top = note("g", DEVICE, now + year + 1);
    on_top["ancestry"] = json!({ OTHER: now + year });
    let updates = json!([note("e", OTHER, now + year), on_top, note("f", DEVICE, now)]);
    let push = json!({ "number": 2, "digest": 2, "updates": updates });
    let answer = post("/v1/exchange", json!({ "from": DEVICE, "to": to, "push": push })).await;
    let told = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 200 && told.matches("correct the clock").count() == 2, "{told}");
    let notes = workspace.collection::<Note>().expect("the model is registered");
    let found = notes.find(Query::all()).await.expect("notes are found").into_iter();
    assert_eq!(found.map(|note| note.id).collect::<Vec<_>>(), ["1", "a", "b", "d", "f"]);
}
