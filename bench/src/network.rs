//! Syncs over loopback HTTP, against streaming the same rows raw.

use crate::Outcome;
use crate::figure::{median, print, seconds};
use crate::local::{open, runtime};
use crate::record::{INSERT, Item, insert, items, plain};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as Segment, State};
use axum::routing::{get, post};
use futures_util::StreamExt;
use rusqlite::{Connection, OpenFlags, params};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use sync_http::{AllowAll, HttpReplica, serve, sync_router};
use sync_runtime::prelude::*;
use sync_runtime::{SyncReport, Workspace};
use sync_store_memory::MemoryStore;
use uuid::Uuid;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const MANY: usize = 100_000;
const FEW: usize = 10_000;
const BATCH: usize = 1_000;
const IDLE_ROUNDS: usize = 400;

/// A server that serves a workspace, and a plain database beside it for the floors.
pub(crate) struct Server {
    pub url: String,
    workspace: Workspace,
    plain: PathBuf,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the file on a free port of the loopback.
pub(crate) async fn server(folder: &Path) -> Fallible<Server> {
    let workspace = open(&folder.join("server.db")).await?;
    let path = folder.join("plain-server.db");
    let state = Arc::new(Mutex::new(plain(&path)?));
    let floors = Router::new()
        .route("/rows", get(stream_rows))
        .route("/rows", post(take_rows))
        .route("/since/{position}", get(since))
        .route("/one", post(take_one))
        .route("/answer", post(answer))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state((state, path.clone()));
    let app = Router::new().nest("/sync", sync_router(workspace.clone(), AllowAll)).nest("/floor", floors);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(serve(listener, app));
    Ok(Server { url, workspace, plain: path, task })
}

type Floor = (Arc<Mutex<Connection>>, PathBuf);

fn as_json(row: &rusqlite::Row<'_>) -> rusqlite::Result<Value> {
    let id: Vec<u8> = row.get(0)?;
    let id = Uuid::from_slice(&id).unwrap_or_default();
    Ok(json!({
        "id": id, "title": row.get::<_, String>(1)?, "done": row.get::<_, bool>(2)?,
        "votes": row.get::<_, i64>(3)?, "notes": row.get::<_, String>(4)?,
    }))
}

fn insert_json(connection: &Connection, row: &Value) -> Fallible<()> {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    let id: Uuid = text("id").parse()?;
    let (done, votes) = (row["done"].as_bool(), row["votes"].as_i64());
    let id = id.as_bytes().as_slice();
    connection.prepare_cached(INSERT)?.execute(params![id, text("title"), done, votes, text("notes")])?;
    Ok(())
}

/// Streams every row as a line of JSON.
async fn stream_rows(State((_, path)): State<Floor>) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(8);
    tokio::task::spawn_blocking(move || {
        let read = || -> Fallible<()> {
            let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let mut statement = connection.prepare("SELECT id, title, done, votes, notes FROM item")?;
            let mut rows = statement.query([])?;
            let mut buffer = Vec::new();
            while let Some(row) = rows.next()? {
                serde_json::to_writer(&mut buffer, &as_json(row)?)?;
                buffer.push(b'\n');
                if buffer.len() > 64 << 10 {
                    sender.blocking_send(Ok(std::mem::take(&mut buffer)))?;
                }
            }
            sender.blocking_send(Ok(buffer))?;
            Ok(())
        };
        if let Err(error) = read() {
            let _ = sender.blocking_send(Err(std::io::Error::other(error.to_string())));
        }
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    Body::from_stream(stream)
}

/// Inserts every line that comes, in one transaction.
async fn insert_lines<E: std::error::Error + Send + Sync + 'static>(
    connection: &mut Connection,
    chunks: impl futures_util::Stream<Item = Result<impl AsRef<[u8]>, E>>,
) -> Fallible<usize> {
    let transaction = connection.transaction()?;
    let mut chunks = std::pin::pin!(chunks);
    let mut buffer: Vec<u8> = Vec::new();
    let mut count = 0;
    while let Some(chunk) = chunks.next().await {
        buffer.extend_from_slice(chunk?.as_ref());
        let mut start = 0;
        while let Some(length) = buffer[start..].iter().position(|byte| *byte == b'\n') {
            insert_json(&transaction, &serde_json::from_slice(&buffer[start..start + length])?)?;
            count += 1;
            start += length + 1;
        }
        buffer.drain(..start);
    }
    transaction.commit()?;
    Ok(count)
}

async fn take_rows(State((_, path)): State<Floor>, body: Body) -> String {
    let taken = tokio::task::spawn_blocking(move || {
        tokio::runtime::Handle::current().block_on(async {
            let mut connection = plain(&path)?;
            insert_lines(&mut connection, body.into_data_stream()).await
        })
    });
    match taken.await {
        Ok(Ok(count)) => count.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Reads by position, as an idle sync does.
async fn since(State((connection, _)): State<Floor>, Segment(position): Segment<i64>) -> String {
    let Ok(connection) = connection.lock() else { return String::new() };
    let read = || -> rusqlite::Result<Vec<Value>> {
        let mut statement = connection.prepare_cached(
            "SELECT id, title, done, votes, notes FROM item WHERE rowid > ?1 ORDER BY rowid LIMIT 100",
        )?;
        statement.query_map([position], as_json)?.collect()
    };
    serde_json::to_string(&read().unwrap_or_default()).unwrap_or_default()
}

/// What a route costs that only answers.
async fn answer(_: String) -> String {
    "x".repeat(crate::live::ANSWER)
}

async fn take_one(State((connection, _)): State<Floor>, body: String) -> String {
    let Ok(connection) = connection.lock() else { return String::new() };
    let taken =
        serde_json::from_str(&body).map_err(Into::into).and_then(|row| insert_json(&connection, &row));
    taken.map_or_else(|error| error.to_string(), |()| "1".to_owned())
}

impl Server {
    fn peer(&self) -> Fallible<HttpReplica> {
        Ok(HttpReplica::new(&format!("{}/sync", self.url))?)
    }

    /// Fills the workspace and the plain database.
    pub(crate) async fn fill(&self, count: usize) -> Outcome {
        let all = items(count);
        let mut connection = plain(&self.plain)?;
        let transaction = connection.transaction()?;
        for item in &all {
            insert(&transaction, item)?;
        }
        transaction.commit()?;
        let collection = self.workspace.collection::<Item>()?;
        for batch in all.chunks(BATCH) {
            collection.upsert_all(batch.iter().cloned()).await?;
        }
        Ok(())
    }

    async fn floor_pull(&self, into: &Path) -> Fallible<f64> {
        let mut connection = plain(into)?;
        let start = Instant::now();
        let answer = reqwest::get(format!("{}/floor/rows", self.url)).await?;
        insert_lines(&mut connection, answer.bytes_stream()).await?;
        Ok(seconds(start))
    }

    async fn timed_sync(&self, client: &Workspace, expected: usize) -> Fallible<f64> {
        let start = Instant::now();
        let report = client.sync(&self.peer()?).await?;
        let time = seconds(start);
        check(&report, expected)?;
        Ok(time)
    }
}

fn check(report: &SyncReport, expected: usize) -> Outcome {
    if report.pulled + report.pushed == expected && report.level && report.conflict_count() == 0 {
        return Ok(());
    }
    Err(format!("expected {expected} records to travel: {report:?}").into())
}

async fn in_memory() -> sync_runtime::Result<Workspace> {
    Workspace::builder(MemoryStore::new()).model::<Item>().build().await
}

pub(crate) fn pull() -> Outcome {
    runtime()?.block_on(async {
        let folder = tempfile::tempdir()?;
        let server = server(folder.path()).await?;
        server.fill(MANY).await?;
        let (mut floor, mut sqlite, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..3 {
            floor.push(server.floor_pull(&folder.path().join(format!("floor-{round}.db"))).await?);
            let client = open(&folder.path().join(format!("client-{round}.db"))).await?;
            sqlite.push(server.timed_sync(&client, MANY).await?);
            memory.push(server.timed_sync(&in_memory().await?, MANY).await?);
        }
        let floor = median(floor);
        print("pull/sqlite", MANY, median(sqlite), "s", Some(floor));
        print("pull/memory", MANY, median(memory), "s", Some(floor));
        Outcome::Ok(())
    })?;
    runtime()?.block_on(async {
        let folder = tempfile::tempdir()?;
        let server = server(folder.path()).await?;
        server.fill(FEW).await?;
        let peer = server.peer()?;
        check(&open(&folder.path().join("client.db")).await?.sync(&peer).await?, FEW)?;
        let json = reqwest::get(format!("{}/floor/rows", server.url)).await?.bytes().await?.len();
        print("pull/bytes", FEW, peer.traffic().received as f64, "bytes", Some(json as f64));
        Ok(())
    })
}

pub(crate) fn push() -> Outcome {
    runtime()?.block_on(async {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let folder = tempfile::tempdir()?;
            let server = server(folder.path()).await?;
            let mut connection = plain(&folder.path().join("floor.db"))?;
            let client = open(&folder.path().join("client.db")).await?;
            let collection = client.collection::<Item>()?;
            let all = items(MANY);
            for batch in all.chunks(BATCH) {
                collection.upsert_all(batch.iter().cloned()).await?;
            }
            let transaction = connection.transaction()?;
            for item in &all {
                insert(&transaction, item)?;
            }
            transaction.commit()?;
            floor.push(push_rows(&server, &folder.path().join("floor.db")).await?);
            ours.push(server.timed_sync(&client, MANY).await?);
        }
        print("push/sqlite", MANY, median(ours), "s", Some(median(floor)));
        Ok(())
    })
}

/// Streams the rows of a file to the server, which inserts them.
async fn push_rows(server: &Server, from: &Path) -> Fallible<f64> {
    let start = Instant::now();
    let nobody = Arc::new(Mutex::new(Connection::open_in_memory()?));
    let rows = stream_rows(State((nobody, from.to_owned()))).await.into_data_stream();
    let request = reqwest::Client::new().post(format!("{}/floor/rows", server.url));
    let count = request.body(reqwest::Body::wrap_stream(rows)).send().await?.text().await?;
    if count != MANY.to_string() {
        return Err(format!("the floor of push took {count}").into());
    }
    Ok(seconds(start))
}

pub(crate) fn scale() -> Outcome {
    runtime()?.block_on(async {
        let mut times = Vec::new();
        for count in [FEW, MANY] {
            let folder = tempfile::tempdir()?;
            let server = server(folder.path()).await?;
            server.fill(count).await?;
            let mut rounds = Vec::new();
            for round in 0..3 {
                let client = open(&folder.path().join(format!("client-{round}.db"))).await?;
                rounds.push(server.timed_sync(&client, count).await?);
            }
            times.push(median(rounds));
        }
        print("scale", MANY, times[1], "s", Some(times[0]));
        Ok(())
    })
}

pub(crate) fn idle() -> Outcome {
    runtime()?.block_on(async {
        let mut times = Vec::new();
        for count in [1_000, MANY] {
            let folder = tempfile::tempdir()?;
            let server = server(folder.path()).await?;
            server.fill(count).await?;
            let client = open(&folder.path().join("client.db")).await?;
            let peer = server.peer()?;
            client.sync(&peer).await?;
            let http = reqwest::Client::builder().tcp_nodelay(true).build()?;
            let (mut floor, mut ours, mut empty) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..IDLE_ROUNDS {
                let start = Instant::now();
                let request = http.post(format!("{}/floor/answer", server.url));
                request
                    .header("content-type", "application/msgpack")
                    .body("{}")
                    .send()
                    .await?
                    .bytes()
                    .await?;
                empty.push(seconds(start));
                let start = Instant::now();
                http.get(format!("{}/floor/since/{count}", server.url)).send().await?.bytes().await?;
                floor.push(seconds(start));
                let start = Instant::now();
                let report = client.sync(&peer).await?;
                ours.push(seconds(start));
                check(&report, 0)?;
            }
            let (floor, ours) = (median(floor) * 1e6, median(ours) * 1e6);
            print("idle", count, ours, "us", Some(floor));
            print("idle/empty", count, ours, "us", Some(median(empty) * 1e6));
            times.push(ours);
            let before = peer.traffic();
            client.sync(&peer).await?;
            let after = peer.traffic();
            let bytes = after.sent + after.received - before.sent - before.received;
            print("idle/requests", count, (after.requests - before.requests) as f64, "requests", None);
            print("idle/bytes", count, bytes as f64, "bytes", None);
            if count == MANY {
                one_change(&server, &client, &peer, &http, folder.path()).await?;
            }
        }
        print("idle/scale", MANY, times[1], "us", Some(times[0]));
        Ok(())
    })
}

/// One changed record: a sync against a row inserted raw on both sides and sent.
async fn one_change(
    server: &Server,
    client: &Workspace,
    peer: &HttpReplica,
    http: &reqwest::Client,
    folder: &Path,
) -> Outcome {
    let local = plain(&folder.join("floor-client.db"))?;
    let collection = client.collection::<Item>()?;
    let Some(known) = collection.find(Query::all().limit(1)).await?.pop() else {
        return Err("nothing came".into());
    };
    let (mut floor, mut ours, mut bytes, mut requests) = (Vec::new(), Vec::new(), 0, 0);
    for round in 0..IDLE_ROUNDS as i64 {
        let Some(row) = items(1).pop() else { continue };
        let start = Instant::now();
        insert(&local, &row)?;
        let body = json!({
            "id": row.id, "title": row.title, "done": row.done, "votes": row.votes, "notes": row.notes,
        });
        let taken = http.post(format!("{}/floor/one", server.url)).body(body.to_string()).send().await?;
        if taken.text().await? != "1" {
            return Err("the floor of one change failed".into());
        }
        floor.push(seconds(start));
        let before = peer.traffic();
        let start = Instant::now();
        collection.update(known.id, |item| item.votes = round + 1_000_000).await?;
        let report = client.sync(peer).await?;
        ours.push(seconds(start));
        check(&report, 1)?;
        let after = peer.traffic();
        bytes = after.sent + after.received - before.sent - before.received;
        requests = after.requests - before.requests;
    }
    print("one", MANY, median(ours) * 1e6, "us", Some(median(floor) * 1e6));
    print("one/requests", MANY, requests as f64, "requests", None);
    print("one/bytes", MANY, bytes as f64, "bytes", None);
    Ok(())
}
