//! What is large: records, transactions, filters, answers. It is refused, or goes through; it stops nobody else.

mod common;

use common::tokens::{Claims, Tokens};
use common::{JSON, Plain, raw, request, served_with, url};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use sync_http::{AllowAll, HttpReplica, SyncRoutes};
use sync_runtime::Workspace;
use sync_runtime::prelude::*;
use sync_runtime::replica::Limits;
use sync_store_memory::MemoryStore;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Note {
    #[sync(id)]
    id: String,
    text: String,
}

async fn workspace(limits: Limits) -> Workspace {
    Workspace::builder(MemoryStore::new()).model::<Note>().limits(limits).build().await.expect("it opens")
}

async fn write(workspace: &Workspace, id: &str, text: &str) {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    match notes.get(id).await.expect("a note is read") {
        Some(_) => drop(notes.update(id, |note| note.text = text.into()).await.expect("a note is saved")),
        None => drop(notes.create(Note { id: id.into(), text: text.into() }).await.expect("a note is made")),
    }
}

async fn ids(workspace: &Workspace) -> Vec<String> {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    notes.find(Query::all()).await.expect("notes are found").into_iter().map(|note| note.id).collect()
}

async fn post(address: SocketAddr, path: &str, token: &str, body: impl std::fmt::Display) -> Plain {
    let body = zstd::bulk::compress(body.to_string().as_bytes(), 1).expect("compresses");
    let bearer = format!("Bearer {token}");
    let headers = [JSON, ("authorization", bearer.as_str()), ("content-encoding", "zstd")];
    raw(address, &request("POST", &format!("/sync{path}"), &headers, &body)).await
}

const MALLORY: &str = "5f0c3a9e1b7d4c2f8a6e0d9b4c7f1a23";

/// Fields that the server does not know count for the size of a record as those that it knows: one that grew past what an
/// answer holds would keep everything behind it from everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_record_of_unknown_fields_stops_nobody() {
    let server = workspace(Limits::default()).await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let to = server.id().await.expect("an id").to_string();
    let mallory = Claims::of("mallory", "write").token();
    let fields = |letter: &str| -> Map<String, Value> {
        (0..7).map(|n| (format!("{letter}{n}"), Value::String("x".repeat(4_000_000)))).collect()
    };
    let rev = |n: u64| format!("{}@{MALLORY}", 1_732_147_200_000_000_u64 + n);
    let mut whole = fields("a");
    whole.insert("text".into(), "small".into());
    let pages = [
        json!({ "model": "Note", "id": "big", "kind": "create", "rev": rev(0), "data": whole }),
        json!({ "model": "Note", "id": "big", "kind": "update", "rev": rev(1), "based_on": rev(0), "data": fields("b") }),
    ];
    for (number, page) in pages.iter().enumerate() {
        let push = json!({ "number": number + 1, "digest": number + 1, "updates": [page] });
        let exchange = json!({ "from": MALLORY, "to": to, "push": push });
        let answer = post(address, "/v1/exchange", &mallory, &exchange).await;
        assert_eq!(answer.status, 200, "the record is refused, and not the page");
    }
    assert_eq!(ids(&server).await, Vec::<String>::new());
    write(&server, "after", "an honest note").await;
    let device = workspace(Limits::default()).await;
    let alice = Claims::of("alice", "write").token();
    let line = HttpReplica::builder(&url(address)).token(alice).build().expect("a URL");
    write(&device, "mine", "of alice").await;
    device.sync(&line).await.expect("the sync succeeds");
    assert!(ids(&device).await.contains(&"after".to_owned()), "one record stops every device");
}

/// A record that is written by its id is within the limit too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_written_record_is_within_the_limit() {
    let small = Limits { record_bytes: 1_000, ..Limits::default() };
    let server = workspace(small).await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let alice = Claims::of("alice", "write").token();
    let record = json!({ "id": "1", "text": "x".repeat(100_000) });
    let body = format!(r#"{{"writes":[{{"model":"Note","id":"1","record":{record}}}]}}"#);
    let answer = post(address, "/v1/write", &alice, &body).await;
    assert_eq!(answer.status, 413, "record_bytes is {}", small.record_bytes);
}

/// The same ratios as the default limits, an eighth of a page in a body of an answer, at a thirty-second of the size.
fn scaled() -> Limits {
    Limits {
        body: 256 << 10,
        decompressed: 1 << 20,
        page_bytes: 128 << 10,
        record_bytes: 192 << 10,
        value_bytes: 128 << 10,
        ..Limits::default()
    }
}

/// A device with 600 small notes and its line, and a server where another device made all of them large since.
async fn behind(limits: Limits) -> (Workspace, HttpReplica) {
    let server = workspace(limits).await;
    let address = served_with(SyncRoutes::new(server, AllowAll)).await;
    let line = || HttpReplica::new(&url(address)).expect("a URL");
    let (a, b) = (workspace(limits).await, workspace(limits).await);
    let (line_a, line_b) = (line(), line());
    for n in 0..600 {
        write(&a, &format!("{n:03}"), "small").await;
    }
    a.sync(&line_a).await.expect("a first sync");
    b.sync(&line_b).await.expect("a first sync");
    for n in 0..600 {
        write(&b, &format!("{n:03}"), &format!("{n}").repeat(700)).await;
    }
    b.sync(&line_b).await.expect("b pushes");
    (a, line_a)
}

/// A page of small edits that meets large records is answered with all of those.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_conflicts_with_large_records_goes_through() {
    let (a, line) = behind(scaled()).await;
    for n in 0..600 {
        write(&a, &format!("{n:03}"), "small, of a").await;
    }
    assert_eq!(a.sync(&line).await.expect("it comes to an end").conflict_count(), 600);
}

/// So does a transaction that is larger than a page: what no answer holds comes with the pull.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transaction_of_conflicts_with_large_records_goes_through() {
    let (a, line) = behind(Limits { page_records: 100, ..scaled() }).await;
    let together = a.transaction(|tx| {
        Box::pin(async move {
            for n in 0..600 {
                tx.upsert(&Note { id: format!("{n:03}"), text: "small, of a".into() }).await?;
            }
            Ok(())
        })
    });
    together.await.expect("the transaction commits");
    let report = a.sync(&line).await.expect("it comes to an end");
    let conflicts = a.conflicts::<Note>().await.expect("conflicts are read");
    assert_eq!(conflicts.len(), 600, "{:?}", report.rejected.first());
    assert_eq!(a.rejected::<Note>().await.expect("what was refused is read").len(), 0);
    a.sync(&line).await.expect("and so does the next one");
}

/// A server with room for 256 KiB in one transaction, and a line to it for alice.
async fn narrow(page_records: usize) -> (Workspace, HttpReplica) {
    let limits = Limits { transaction_bytes: 256 << 10, page_records, ..Limits::default() };
    let server = workspace(limits).await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let alice = Claims::of("alice", "write").token();
    (server, HttpReplica::builder(&url(address)).token(alice).build().expect("a URL"))
}

/// Writes 600 notes in one transaction.
async fn write_together(workspace: &Workspace, text: &'static str) {
    let written = workspace.transaction(move |tx| {
        Box::pin(async move {
            for n in 0..600 {
                tx.upsert(&Note { id: format!("{n:03}"), text: text.into() }).await?;
            }
            Ok(())
        })
    });
    written.await.expect("the transaction commits");
}

/// A transaction that is more than a server has room for is refused as it was written, together, and told of; so is a small
/// one that changes more than that. What is written apart from it goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_there_is_no_room_for_is_refused_together() {
    static LONG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "x".repeat(500));
    for page_records in [100, 1_000] {
        let (server, line) = narrow(page_records).await;
        let device = workspace(Limits::default()).await;
        write_together(&device, &LONG).await;
        write(&device, "after", "by itself").await;
        let report = device.sync(&line).await.expect("it comes to an end");
        if page_records == 100 {
            assert_eq!((report.rejected.len(), ids(&server).await), (600, vec!["after".to_owned()]));
            assert!(report.rejected.iter().all(|rejected| rejected.code == "too_large"), "{report:?}");
        }
        for n in 0..600 {
            write(&device, &format!("{n:03}"), &format!("{n:03}{}", *LONG)).await;
        }
        assert_eq!(device.sync(&line).await.expect("a sync").rejected.len(), 0, "each by itself");
        assert_eq!(ids(&server).await.len(), 601);
        write_together(&device, "short").await;
        let report = device.sync(&line).await.expect("it comes to an end");
        assert_eq!(report.rejected.len(), 600, "what it changes is large");
        let notes = server.collection::<Note>().expect("the model is registered");
        let all = notes.find(Query::all()).await.expect("notes are found");
        assert!(all.iter().all(|note| note.text != "short"), "none of it was taken");
    }
}

/// A filter is looked at for each record, so the number of its parts is bounded however they nest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_have_a_bounded_number_of_parts() {
    let server = workspace(Limits::default()).await;
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let notes = server.collection::<Note>().expect("the model is registered");
    notes
        .upsert_all(
            (0..1000)
                .map(|n| Note { id: format!("{n:04}"), text: "a sentence of an ordinary note. ".repeat(8) }),
        )
        .await
        .expect("notes are made");
    let token = Claims::of("reader", "read").token();
    let part = json!({ "contains": { "field": "text", "text": "zz" } });
    let ten_thousand = json!({ "or": vec![part; 10_000] });
    let filter = json!({ "or": vec![ten_thousand; 70] });
    let body = format!(r#"{{"limit":1000,"data":false,"only":[{{"model":"Note","filter":{filter}}}]}}"#);
    let answer = post(address, "/v1/changes", &token, &body).await;
    assert_eq!(answer.status, 400, "700,000 parts are refused");
}

/// A transaction of more records than an answer may list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transaction_is_acknowledged() {
    let server = workspace(Limits::default()).await;
    let address = served_with(SyncRoutes::new(server.clone(), AllowAll)).await;
    let device = workspace(Limits::default()).await;
    let notes = device.collection::<Note>().expect("the model is registered");
    let many = (0..100_001).map(|n| Note { id: format!("{n:06}"), text: String::new() });
    notes.upsert_all(many).await.expect("one transaction");
    let line =
        HttpReplica::builder(&url(address)).request_timeout(Duration::from_secs(300)).build().expect("a URL");
    let report = device.sync(&line).await.expect("it comes to an end");
    assert_eq!((report.pushed, report.level), (100_001, true));
}

/// Whose note it is tells a method, which the store cannot ask for.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(scope = Self::team)]
struct Memo {
    #[sync(id)]
    id: String,
    team: String,
    text: String,
}

impl Memo {
    fn team(&self) -> String {
        self.team.clone()
    }
}

/// Who asks for one record at a time asks for no more work than who asks for a page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_limit_costs_no_more_than_a_large_one() {
    let server = Workspace::builder(MemoryStore::new()).model::<Memo>().build().await.expect("it opens");
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let memos = server.collection::<Memo>().expect("the model is registered");
    let many = (0..20_000).map(|n| Memo { id: format!("{n:06}"), team: "red".into(), text: String::new() });
    memos.upsert_all(many).await.expect("memos are made");
    let token = Claims::of("blue", "read").in_scopes(&["blue"]).token();
    let least = async |limit: usize| {
        let mut times = Vec::new();
        for _ in 0..3 {
            let begun = Instant::now();
            let wanted = format!(r#"{{"model":"Memo","filter":"all","limit":{limit}}}"#);
            assert_eq!(post(address, "/v1/read", &token, wanted).await.status, 200);
            times.push(begun.elapsed());
        }
        times.into_iter().min().unwrap_or_default()
    };
    let (large, small) = (least(1_000).await, least(1).await);
    // One look for each record was two hundred times as much.
    assert!(small < large * 8, "{small:?} for one record, {large:?} for a page");
}

/// However much of others' stands before it, who asks for a record of its own gets it; and learns nothing of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_records_of_others_are_in_nobodys_way() {
    let server = Workspace::builder(MemoryStore::new()).model::<Memo>().build().await.expect("it opens");
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let memos = server.collection::<Memo>().expect("the model is registered");
    for n in 0..12 {
        let (team, text) = ("red".to_owned(), "x".repeat(4 << 20));
        memos.create(Memo { id: format!("{n:02}"), team, text }).await.expect("a memo is made");
    }
    let blue = Memo { id: "99".into(), team: "blue".into(), text: "blue's".into() };
    memos.create(blue).await.expect("a memo is made");
    let token = Claims::of("blue", "read").in_scopes(&["blue"]).token();
    let answer = post(address, "/v1/read", &token, r#"{"model":"Memo","filter":"all","limit":1}"#).await;
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("blue's"));
}

/// P7, also by the route that need not name a replica.
#[tokio::test]
async fn what_was_purged_does_not_come_back_by_any_route() {
    let server = Workspace::builder(MemoryStore::new())
        .model::<Note>()
        .retention(Duration::ZERO, Duration::ZERO)
        .build()
        .await
        .expect("it opens");
    let address = served_with(SyncRoutes::new(server.clone(), Tokens::default())).await;
    let to = server.id().await.expect("an id").to_string();
    let token = Claims::of("mallory", "write").token();
    let note = json!({ "model": "Note", "id": "1", "kind": "create", "rev": format!("1732147200000000@{MALLORY}"), "data": { "text": "deleted long ago" } });
    let push = |number: u64| json!({ "from": MALLORY, "to": to, "push": { "number": number, "digest": number, "updates": [note] } });
    assert_eq!(post(address, "/v1/exchange", &token, push(1)).await.status, 200);
    server.collection::<Note>().expect("registered").delete("1".to_owned()).await.expect("deleted");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(server.purge().await.expect("it is purged"), 1);
    post(address, "/v1/exchange", &token, push(2)).await;
    post(address, "/v1/bulk-update", &token, json!({ "from": MALLORY, "updates": [note] })).await;
    assert_eq!(ids(&server).await, Vec::<String>::new());
    post(address, "/v1/bulk-update", &token, json!({ "updates": [note] })).await;
    assert_eq!(ids(&server).await, Vec::<String>::new());
}

/// The first page of a pull fits an answer, the second one does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_page_that_is_too_large_is_halved_too() {
    let limits = Limits { decompressed: 256 << 10, page_bytes: 1 << 20, ..Limits::default() };
    let server = workspace(limits).await;
    let address = served_with(SyncRoutes::new(server.clone(), AllowAll)).await;
    let notes = server.collection::<Note>().expect("registered");
    for n in 0..1_000 {
        notes.create(Note { id: format!("{n:04}"), text: String::new() }).await.expect("made");
    }
    for n in 1_000..2_000 {
        notes.create(Note { id: format!("{n:04}"), text: "x".repeat(500) }).await.expect("made");
    }
    let device = workspace(Limits::default()).await;
    let line = HttpReplica::new(&url(address)).expect("a URL");
    assert_eq!(device.sync(&line).await.expect("it comes in smaller pages").pulled, 2_000);
}

/// Where what is asked for beside a pushed record is too large, the record is not to blame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_is_too_large_keeps_no_record_back() {
    let limits = Limits { decompressed: 256 << 10, page_bytes: 1 << 20, ..Limits::default() };
    let server = workspace(limits).await;
    let address = served_with(SyncRoutes::new(server.clone(), AllowAll)).await;
    let notes = server.collection::<Note>().expect("registered");
    for n in 0..1_000 {
        notes.create(Note { id: format!("{n:04}"), text: "x".repeat(500) }).await.expect("made");
    }
    let device = workspace(Limits::default()).await;
    write(&device, "mine", "small").await;
    let report = device.sync(&HttpReplica::new(&url(address)).expect("a URL")).await.expect("a sync");
    assert_eq!((report.pushed, report.pulled, report.rejected.len()), (1, 1_000, 0), "{report:?}");
    assert!(ids(&server).await.contains(&"mine".to_owned()));
}
