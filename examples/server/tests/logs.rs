//! What the server says of its work: enough to watch over it, and nothing of what it keeps.

#[path = "../src/model.rs"]
mod model;
mod process;

use model::Todo;
use process::{Server, raw, request};
use sync_runtime::replica::Replica;
use sync_runtime::{Caller, Workspace};
use sync_store_memory::MemoryStore;
use uuid::Uuid;

const CANARY: &str = "canary-in-a-record";

/// At every level, through a sync, a refusal, a conflict, nonsense and a failing path, the log has neither what is in a
/// record nor a token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_no_records_and_no_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let file = std::fs::File::create(&log).expect("a file");
    let server = Server::start_with("sqlite::memory:", "trace", file).await;
    let token = server.token("alice");
    let alice = server.client("alice");
    let devices = [(); 2].map(|()| Workspace::builder(MemoryStore::new()).model::<Todo>());
    let [a, b] = devices;
    let (a, b) = (a.build().await.expect("it opens"), b.build().await.expect("it opens"));
    let [of_a, of_b] = [&a, &b].map(|device| device.collection::<Todo>().expect("the model is registered"));
    let todo = |owner: &str, text: &str| Todo {
        id: Uuid::now_v7(),
        owner: owner.into(),
        title: format!("{CANARY} {text}"),
        ..Todo::default()
    };
    let mine = todo("alice", "first");
    let id = of_a.create(mine).await.expect("a todo is made");
    of_a.create(todo("bob", "not mine")).await.expect("a todo is made");
    let report = a.sync(&alice).await.expect("the sync succeeds");
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    b.sync(&alice).await.expect("the sync succeeds");
    of_a.update(id, |todo| todo.title = format!("{CANARY} of a")).await.expect("saved");
    of_b.update(id, |todo| todo.title = format!("{CANARY} of b")).await.expect("saved");
    a.sync(&alice).await.expect("the sync succeeds");
    assert_eq!(b.sync(&alice).await.expect("the sync succeeds").conflict_count(), 1);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let nonsense = format!(r#"{{"model":"{CANARY}","ids":["{CANARY}"]}}"#);
    raw(server.address, &request("POST", "/sync/v1/read", &headers, nonsense.as_bytes())).await;
    raw(server.address, &request("GET", &format!("/sync/v1/changes?model={CANARY}"), &headers, &[])).await;
    let figures = raw(server.address, &request("GET", "/metrics", &[], &[])).await;
    server.end().await;
    let text = std::fs::read_to_string(&log).expect("the log");
    assert!(text.contains("sync_request") && text.contains("call=\"exchange\""), "{text:.2000}");
    // What a URL says is the client's own doing; the library logs none.
    let lines: Vec<_> = text.lines().filter(|line| line.contains(CANARY) || line.contains(&token)).collect();
    assert_eq!(lines, Vec::<&str>::new());
    let figures = String::from_utf8(figures.body).expect("text");
    for name in [
        "sync_requests_total",
        "sync_request_seconds",
        "sync_pushed_records_total",
        "sync_answered_bytes_total",
    ] {
        assert!(figures.contains(name), "{name} is missing in {figures}");
    }
    assert!(!figures.contains(CANARY) && !figures.contains("alice"), "{figures}");
}

/// The health routes answer without a token; the policy's do not.
#[tokio::test]
async fn health_is_for_everybody() {
    let server = Server::start("sqlite::memory:").await;
    for (path, status) in [("/health", 200), ("/ready", 200), ("/sync/v1", 401), ("/", 404)] {
        assert_eq!(raw(server.address, &request("GET", path, &[], &[])).await.status, status, "{path}");
    }
    server.client("alice").describe(&Caller::owner()).await.expect("a description");
    server.end().await;
}

/// Two processes over one database are one server: what a device pushes to one, another pulls from the other, and hears of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_are_one_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("shared.db").display());
    let (first, second) = (Server::start(&database).await, Server::start(&database).await);
    let builder = || Workspace::builder(MemoryStore::new()).model::<Todo>();
    let (a, b) = (builder().build().await.expect("it opens"), builder().build().await.expect("it opens"));
    let hour = std::time::Duration::from_secs(3600);
    let live = b.keep_in_sync(&second.client("alice")).every(hour).start();
    let todos = a.collection::<Todo>().expect("the model is registered");
    while live.synced() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let todo = Todo { id: Uuid::now_v7(), owner: "alice".into(), title: "eat".into(), ..Todo::default() };
    todos.create(todo.clone()).await.expect("a todo is made");
    a.sync(&first.client("alice")).await.expect("the sync succeeds");
    let begun = std::time::Instant::now();
    while b.collection::<Todo>().expect("registered").get(todo.id).await.expect("it is read").is_none() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "it does not arrive");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(live);
    first.end().await;
    second.end().await;
}
