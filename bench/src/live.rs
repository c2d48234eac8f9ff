//! A thousand clients that listen to one server, a process of its own: how soon an edit by one is with the others, against
//! a bare route that answers the same requests; and what they cost while nothing happens.

use crate::Outcome;
use crate::figure::{median, print};
use crate::local::runtime;
use crate::memory::ServerProcess;
use crate::record::{Item, item};
use futures_util::future::try_join_all;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sync_http::HttpReplica;
use sync_runtime::replica::Replica;
use sync_runtime::{Caller, Checkpoint, Workspace};
use sync_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const CLIENTS: usize = 1_000;
const ROUNDS: usize = 15;
/// How long the clients are watched while nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// About what the answer to a pull of one record has; the floor answers with as much.
pub(crate) const ANSWER: usize = 600;

/// A connection that asks one thing after the other.
struct Asking {
    connection: TcpStream,
    buffer: Vec<u8>,
}

impl Asking {
    async fn connect(address: SocketAddr) -> Fallible<Self> {
        let connection = TcpStream::connect(address).await?;
        connection.set_nodelay(true)?;
        Ok(Asking { connection, buffer: Vec::new() })
    }

    /// Posts JSON, and reads the answer to its end.
    async fn post(&mut self, path: &str, body: &str) -> Fallible<String> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.connection.write_all(format!("{head}{body}").as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.connection.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end])?;
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or("no length")?;
            let body = self.buffer.get(end + 4..end + 4 + length.parse::<usize>()?);
            match (head.starts_with("HTTP/1.1 200"), body) {
                (true, Some(body)) => return Ok(String::from_utf8(body.to_vec())?),
                (true, None) => {}
                (false, _) => return Err(String::from_utf8_lossy(&self.buffer).into()),
            }
        }
    }
}

/// One client: listens, and pulls when it hears something; or asks the bare route when it is told to.
struct Client {
    events: TcpStream,
    asking: Asking,
    from: Uuid,
    to: String,
    since: Checkpoint,
}

impl Client {
    async fn connect(address: SocketAddr, since: Checkpoint) -> Fallible<Self> {
        let mut events = TcpStream::connect(address).await?;
        let request = format!("GET /sync/v1/events?since={since} HTTP/1.1\r\nhost: bench\r\n\r\n");
        events.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if events.read_buf(&mut head).await? == 0 {
                return Err("no stream of events".into());
            }
        }
        let to = since.replica.to_string();
        Ok(Client { events, asking: Asking::connect(address).await?, from: Uuid::now_v7(), to, since })
    }

    /// Waits for an event, and pulls what there is.
    async fn hear(&mut self) -> Fallible<()> {
        let mut heard = Vec::new();
        let checkpoint = loop {
            if self.events.read_buf(&mut heard).await? == 0 {
                return Err("the stream of events ended".into());
            }
            let text = std::str::from_utf8(&heard)?;
            let data = text.split_once("data: ").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((data, _)) = data {
                break data.trim().parse()?;
            }
        };
        let pull = json!({ "since": self.since, "limit": 1000, "data": true });
        let exchange = json!({ "from": self.from.simple().to_string(), "to": self.to, "pull": pull });
        let answer = self.asking.post("/sync/v1/exchange", &exchange.to_string()).await?;
        if !answer.contains("\"rev\"") {
            return Err(format!("the pull brought nothing: {answer}").into());
        }
        self.since = checkpoint;
        Ok(())
    }

    async fn ask_the_floor(&mut self) -> Fallible<()> {
        let body =
            json!({ "from": self.from, "to": self.to, "pull": { "since": self.since, "limit": 1000 } });
        self.asking.post("/floor/answer", &body.to_string()).await.map(drop)
    }
}

/// What the clients do next, since when.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Hear(Instant),
    Floor(Instant),
}

async fn live(
    mut client: Client,
    mut turns: watch::Receiver<Option<Turn>>,
    done: mpsc::Sender<f64>,
) -> Fallible<()> {
    while turns.changed().await.is_ok() {
        let turn = *turns.borrow_and_update();
        let begun = match turn {
            Some(Turn::Hear(begun)) => {
                client.hear().await?;
                begun
            }
            Some(Turn::Floor(begun)) => {
                client.ask_the_floor().await?;
                begun
            }
            None => continue,
        };
        done.send(begun.elapsed().as_secs_f64() * 1e3).await?;
    }
    Ok(())
}

/// The times of all clients in one round, sorted.
async fn round(done: &mut mpsc::Receiver<f64>) -> Fallible<Vec<f64>> {
    let mut times = Vec::with_capacity(CLIENTS);
    while times.len() < CLIENTS {
        let next = tokio::time::timeout(Duration::from_secs(30), done.recv()).await;
        times.push(
            next.map_err(|_| format!("only {} clients are done", times.len()))?
                .ok_or("the clients are gone")?,
        );
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

pub(crate) fn live_updates() -> Outcome {
    runtime()?.block_on(async {
        let folder = tempfile::tempdir()?;
        let server = ServerProcess::start(folder.path())?;
        let address: SocketAddr = server.url.trim_start_matches("http://").parse()?;
        let peer = HttpReplica::new(&format!("{}/sync", server.url))?;
        let writer = Workspace::builder(MemoryStore::new()).model::<Item>().build().await?;
        let items = writer.collection::<Item>()?;
        let edited = items.create(item(0)).await?;
        writer.sync(&peer).await?;
        let since = peer.checkpoint(&Caller::owner()).await?;

        let before = server.resident()?;
        let (turn, _) = watch::channel(None);
        let (sender, mut done) = mpsc::channel(CLIENTS);
        let mut clients = Vec::with_capacity(CLIENTS);
        for _ in 0..CLIENTS / 50 {
            clients.extend(try_join_all((0..50).map(|_| Client::connect(address, since))).await?);
        }
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|client| tokio::spawn(live(client, turn.subscribe(), sender.clone())))
            .collect();
        let each = (server.resident()?.saturating_sub(before)) as f64 / CLIENTS as f64 / 1024.0;
        let busy = server.cpu()?;
        tokio::time::sleep(IDLE).await;
        let idle = (server.cpu()? - busy) / IDLE.as_secs_f64() * 100.0;

        let turn = Arc::new(turn);
        let (mut p50, mut p99, mut floor50, mut floor99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for n in 0..ROUNDS {
            turn.send_replace(Some(Turn::Floor(Instant::now())));
            let times = round(&mut done).await?;
            floor50.push(times[CLIENTS / 2]);
            floor99.push(times[CLIENTS * 99 / 100]);
            items.update(edited, |item| item.votes = n as i64 + 1).await?;
            turn.send_replace(Some(Turn::Hear(Instant::now())));
            writer.sync(&peer).push_only().await?;
            let times = round(&mut done).await?;
            p50.push(times[CLIENTS / 2]);
            p99.push(times[CLIENTS * 99 / 100]);
        }
        tasks.iter().for_each(|task| task.abort());
        print("live/p50", CLIENTS, median(p50), "ms", Some(median(floor50)));
        print("live/p99", CLIENTS, median(p99), "ms", Some(median(floor99)));
        print("live/idle", CLIENTS, idle, "% of a core", None);
        print("live/memory", CLIENTS, each, "KiB each", None);
        print("live/server", CLIENTS, server.peak()? as f64 / f64::from(1 << 20), "MiB", None);
        Ok(())
    })
}
