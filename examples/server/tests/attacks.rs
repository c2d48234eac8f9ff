//! What a hostile client does to this server, as a process of its own, while an honest one goes on.
//!
//! Each attack has a row in `docs/security.md`, with what becomes of it. The honest client has to be served meanwhile, and
//! the server must not grow.

#[path = "../src/model.rs"]
mod model;
mod process;

use model::Todo;
use process::{Server, raw, request};
use serde_json::{Value, json};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sync_http::HttpReplica;
use sync_runtime::replica::Replica;
use sync_runtime::{Caller, ReplicaId, Workspace};
use sync_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use uuid::Uuid;

const MALLORY: &str = "5f0c3a9e1b7d4c2f8a6e0d9b4c7f1a23";
/// What is refused must be refused in this time.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long a request may take, and what the client does who does not hurry; with room for a slow machine.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// How much the server may grow over all attacks.
const GROWTH: u64 = 64 << 20;
/// One test at a time: what another one asks of the machine would be in the times of this.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What is sent, and which answers are right.
struct Attack {
    name: &'static str,
    bytes: Vec<u8>,
    /// The statuses of which the answer has one; 0 is a connection that is closed without one.
    right: &'static [u16],
    /// What the answer must say, where it says something.
    says: &'static str,
}

struct Mallory {
    token: String,
    server: ReplicaId,
}

impl Mallory {
    fn bytes(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", bearer.as_str())];
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            all.push(("content-type", "application/json"));
        }
        all.extend(headers);
        request("POST", path, &all, body)
    }

    fn json(&self, path: &str, body: &Value) -> Vec<u8> {
        self.bytes(path, &[], &serde_json::to_vec(body).expect("JSON"))
    }

    fn get(&self, path: &str) -> Vec<u8> {
        request("GET", path, &[("authorization", &format!("Bearer {}", self.token))], &[])
    }

    fn push(&self, number: u64, from: &str, updates: Value) -> Vec<u8> {
        let push = json!({ "number": number, "digest": number, "updates": updates });
        self.json("/sync/v1/exchange", &json!({ "from": from, "to": self.server, "push": push }))
    }

    fn todo(&self, rev: &str, data: Value) -> Value {
        let id = Uuid::now_v7();
        json!({ "model": "Todo", "id": id, "kind": "create", "rev": rev, "data": data })
    }

    fn attacks(&self, victim: ReplicaId) -> Vec<Attack> {
        let read = "/sync/v1/read";
        let attack = |name, bytes, right, says| Attack { name, bytes, right, says };
        let mine = json!({ "owner": "mallory", "title": "mine", "done": false, "flagged": false });
        let own = format!("1732147200000000@{MALLORY}");
        let many = |n: usize| (0..n).map(|_| self.todo(&own, mine.clone())).collect::<Vec<_>>();
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        let deep_filter = (0..40).fold(json!("all"), |inner, _| json!({ "not": inner }));
        let equals = |field: &str, value: &str| json!({ "compare": { "field": field, "is": "equal", "value": value } });
        let zeros = std::io::repeat(0).take(1 << 30);
        let mut gzip = Vec::new();
        flate2::bufread::GzEncoder::new(std::io::BufReader::new(zeros), flate2::Compression::best())
            .read_to_end(&mut gzip)
            .expect("a bomb");
        let zstd = zstd::stream::encode_all(std::io::repeat(0).take(1 << 30), 19).expect("a bomb");
        let skippable: Vec<u8> = (0..1_000).flat_map(|_| [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]).collect();
        let encoded = |name: &str, body: &[u8]| self.bytes(read, &[("content-encoding", name)], body);
        // The model comes first; `json!` would sort the names.
        let of = |model: &str, rest: String| {
            self.bytes(read, &[], format!("{{\"model\":{},{rest}}}", json!(model)).as_bytes())
        };
        let named = |model: &str| of(model, r#""ids":[]"#.into());
        let with_ids = |ids: Value| of("Todo", format!(r#""ids":{ids}"#));
        let filtered = |filter: Value| of("Todo", format!(r#""filter":{filter},"limit":10"#));
        let millions: Vec<String> = (0..1_000_000).map(|n| n.to_string()).collect();
        let duplicate = format!(r#"{{"model":"Todo","ids":["{0}"],"ids":["{0}"]}}"#, Uuid::nil());
        let msgpack_duplicate = [&[0x82][..], b"\xa5model\xa4Todo", b"\xa5model\xa4Todo"].concat();
        let header = "x".repeat(1 << 20);
        let victims = victim.to_string();
        vec![
            attack(
                "SQL in the name of a model",
                named("Todo\"; DROP TABLE todo; --"),
                &[422],
                "is not registered",
            ),
            attack("SQL in the name of a field", filtered(equals("title\" OR 1=1 --", "x")), &[400, 422], ""),
            attack("SQL in a value", filtered(equals("title", "' OR '1'='1")), &[200], ""),
            attack("SQL in an id", with_ids(json!(["' OR '1'='1"])), &[400, 422], ""),
            attack("a filter nested 40 deep", filtered(deep_filter), &[400], ""),
            attack(
                "a filter with a million values",
                filtered(json!({ "one_of": { "field": "title", "values": millions } })),
                &[400, 413, 422],
                "",
            ),
            attack("a name twice, in JSON", self.bytes(read, &[], duplicate.as_bytes()), &[400], "twice"),
            attack(
                "a name twice, in MessagePack",
                self.bytes(read, &[("content-type", "application/msgpack")], &msgpack_duplicate),
                &[400],
                "twice",
            ),
            attack("JSON nested 100,000 deep", self.bytes(read, &[], deep(100_000).as_bytes()), &[400], ""),
            attack(
                "MessagePack nested 100,000 deep",
                self.bytes(read, &[("content-type", "application/msgpack")], &vec![0x91; 100_000]),
                &[400],
                "",
            ),
            attack("1 GiB of zeros as gzip", encoded("gzip", &gzip), &[413], ""),
            attack("1 GiB of zeros as zstd", encoded("zstd", &zstd), &[413], ""),
            attack("zstd frames to skip", encoded("zstd", &skippable), &[400], ""),
            attack("gzip in gzip", encoded("gzip, gzip", &gzip), &[415], ""),
            attack("an unknown encoding", encoded("br", &gzip), &[415], ""),
            attack(
                "a body that announces 1 TiB",
                self.bytes(read, &[("content-length", "1099511627776")], b"{}"),
                &[400, 413],
                "",
            ),
            attack("a body of 9 MiB", self.bytes(read, &[], &vec![b' '; 9 << 20]), &[413, 0], ""),
            attack(
                "a header of 1 MiB",
                request("GET", "/sync/v1", &[("x-large", &header)], &[]),
                &[431, 0],
                "",
            ),
            attack("a page of 2,000 records", self.push(1, MALLORY, json!(many(2_000))), &[400, 413], ""),
            attack("an id of 300 bytes", with_ids(json!(["x".repeat(300)])), &[400, 422], ""),
            attack(
                "a stamp a year ahead",
                self.push(
                    1,
                    MALLORY,
                    json!([self.todo(&format!("1999999999999999@{MALLORY}"), mine.clone())]),
                ),
                &[200],
                "clock_ahead",
            ),
            attack(
                "a todo of somebody else's",
                self.push(
                    1,
                    MALLORY,
                    json!([self.todo(
                        &own,
                        json!({ "owner": "alice", "title": "", "done": false, "flagged": false })
                    )]),
                ),
                &[200],
                "mallory has not the right WRITE in its scope",
            ),
            attack(
                "an edit in the name of another replica",
                self.push(
                    2,
                    MALLORY,
                    json!([self.todo(&format!("1732147200000000@{victims}"), mine.clone())]),
                ),
                &[200],
                "has not the right REPLICATE",
            ),
            attack(
                "an ancestry that speaks for another's next edit",
                self.push(
                    3,
                    MALLORY,
                    json!([{
                        "model": "Todo", "id": Uuid::now_v7(), "kind": "create", "rev": own,
                        "ancestry": { victims.clone(): 1_999_999_999_999_999_i64 }, "data": mine
                    }]),
                ),
                &[200],
                "has not the right REPLICATE",
            ),
            attack(
                "a page under another's replica id",
                self.push(1, &victims, json!([])),
                &[403],
                "not one of mallory's",
            ),
            attack(
                "a pull under another's replica id",
                self.json("/sync/v1/exchange", &json!({ "from": victims, "to": self.server, "pull": {} })),
                &[403],
                "not one of mallory's",
            ),
            attack("a path out of the folder", self.get("/sync/v1/../../../../etc/passwd"), &[404], ""),
            attack(
                "an encoded path out of the folder",
                self.get("/sync/v1/%2e%2e%2f%2e%2e%2fetc/passwd"),
                &[404],
                "",
            ),
            attack(
                "a form of another site",
                self.bytes(read, &[("content-type", "text/plain")], b"{}"),
                &[415],
                "",
            ),
            attack("a checkpoint that is none", self.get("/sync/v1/changes?since=-1@../../x"), &[400], ""),
            attack(
                "a request that is none",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
                &[400, 0],
                "",
            ),
        ]
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// How long the honest client waits for each of its requests, until it is told to stop or has made so many.
async fn honest(client: HttpReplica, most: usize, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut times = Vec::new();
    while times.len() < most && !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        client.checkpoint(&Caller::owner()).await.expect("the honest client is served");
        times.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_are_refused_while_others_are_served() {
    let _alone = ALONE.lock().await;
    let server = Server::start("sqlite::memory:").await;
    let alice = server.client("alice");
    let device = Workspace::builder(MemoryStore::new()).model::<Todo>().build().await.expect("it opens");
    let todos = device.collection::<Todo>().expect("the model is registered");
    let todo = Todo {
        id: Uuid::now_v7(),
        owner: "alice".into(),
        title: "private".into(),
        done: false,
        minutes: 0,
        flagged: true,
    };
    todos.create(todo.clone()).await.expect("a todo is made");
    device.sync(&alice).await.expect("the sync succeeds");
    assert!(
        !todos.get(todo.id).await.expect("it is read").expect("it is there").flagged,
        "a field of the server's"
    );
    let never = Arc::new(AtomicBool::new(false));
    let mut quiet = honest(alice.clone(), 100, never).await;
    let memory = server.memory();

    let stop = Arc::new(AtomicBool::new(false));
    let meanwhile = tokio::spawn(honest(alice.clone(), usize::MAX, stop.clone()));
    let id = alice.describe(&Caller::owner()).await.expect("a description").replica;
    let mallory = Mallory { token: server.token("mallory"), server: id };
    for attack in mallory.attacks(device.id().await.expect("an id")) {
        let begun = Instant::now();
        let answer = raw(server.address, &attack.bytes).await;
        let took = begun.elapsed();
        let (name, text) = (attack.name, String::from_utf8_lossy(&answer.body));
        println!("{name}: {} after {took:?}", answer.status);
        assert!(attack.right.contains(&answer.status), "{name}: {} {text:.300}", answer.status);
        assert!(text.contains(attack.says), "{name}: {text:.300}");
        assert!(!text.contains("private") && !text.contains(&todo.id.to_string()), "{name}: {text:.300}");
        assert!(took < AT_ONCE, "{name}: {took:?}");
    }
    // Nothing of it was stored, nothing of the victim's is gone, and the server is who it was.
    assert_eq!(alice.checkpoint(&Caller::owner()).await.expect("a checkpoint").replica, id);
    device.sync(&alice).await.expect("the sync succeeds");
    assert_eq!(todos.find(sync_runtime::Query::all()).await.expect("todos").len(), 1);

    stop.store(true, Ordering::Relaxed);
    let mut during = meanwhile.await.expect("no panic");
    let (quiet, during) = (percentile(&mut quiet, 99), percentile(&mut during, 99));
    println!("the honest client's p99: {quiet:?} in quiet, {during:?} meanwhile");
    assert!(during <= quiet * 5 + Duration::from_millis(5), "{quiet:?} in quiet, {during:?} meanwhile");
    let grown = server.memory().saturating_sub(memory);
    println!("the server grew by {} KiB", grown >> 10);
    assert!(grown <= GROWTH, "{grown} bytes");
    server.end().await;
}

/// Who asks again and again is told when to come back, and others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_to_wait() {
    let _alone = ALONE.lock().await;
    let server = Server::start("sqlite::memory:").await;
    let get = request(
        "GET",
        "/sync/v1/changes",
        &[("authorization", &format!("Bearer {}", server.token("mallory")))],
        &[],
    );
    let mut refused = None;
    for _ in 0..5_000 {
        let answer = raw(server.address, &get).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("it is refused at last");
    assert_eq!((refused.status, refused.header("retry-after").as_deref()), (429, Some("1")));
    server.client("alice").checkpoint(&Caller::owner()).await.expect("others are served");
    server.end().await;
}

/// A hundred clients that do not say what they want, a hundred that do not send what they announced, and one that does not
/// read what it asked for: each loses its connection in its time, and others are served meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_lose_their_connections() {
    let _alone = ALONE.lock().await;
    let server = Server::start("sqlite::memory:").await;
    let (address, alice) = (server.address, server.client("alice"));
    let device = Workspace::builder(MemoryStore::new()).model::<Todo>().build().await.expect("it opens");
    let todos = device.collection::<Todo>().expect("the model is registered");
    for _ in 0..7 {
        let title = Uuid::now_v7().to_string().repeat(15_000);
        let todo = Todo { id: Uuid::now_v7(), owner: "alice".into(), title, ..Todo::default() };
        todos.create(todo).await.expect("a todo is made");
    }
    device.sync(&alice).await.expect("the sync succeeds");
    let bearer = format!("Bearer {}", server.token("alice"));
    let head = "POST /sync/v1/read HTTP/1.1\r\nhost: x\r\n".to_owned();
    let body = format!(
        "{head}authorization: {bearer}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
    );
    let pull = request("GET", "/sync/v1/changes?limit=1000", &[("authorization", &bearer)], &[]);
    let begun = Instant::now();
    let slow = |sent: Vec<u8>, reads: bool| async move {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        // So that the system takes little for a client that reads nothing.
        socket.set_recv_buffer_size(4096).expect("a small window");
        let mut connection = socket.connect(address).await.expect("connects");
        connection.write_all(&sent).await.expect("is sent");
        let mut answer = Vec::new();
        if !reads {
            // Longer than the server waits for somebody who takes nothing.
            tokio::time::sleep(REQUEST_TIME + Duration::from_secs(6)).await;
        }
        let _ = connection.read_to_end(&mut answer).await;
        (begun.elapsed(), answer)
    };
    let heads = (0..100).map(|_| tokio::spawn(slow(head.clone().into_bytes(), true))).collect::<Vec<_>>();
    let bodies = (0..100).map(|_| tokio::spawn(slow(body.clone().into_bytes(), true))).collect::<Vec<_>>();
    let reader = tokio::spawn(slow(pull, false));
    let stop = Arc::new(AtomicBool::new(false));
    let meanwhile = tokio::spawn(honest(alice, usize::MAX, stop.clone()));
    let most = REQUEST_TIME + Duration::from_secs(5);
    for (what, tasks) in [("head", heads), ("body", bodies)] {
        for task in tasks {
            let (took, answer) = task.await.expect("no panic");
            assert!(took < most, "a slow {what} had its connection for {took:?}");
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "a slow {what} is answered");
        }
    }
    let (_, answer) = reader.await.expect("no panic");
    let announced = 7 * 36 * 15_000;
    assert!(
        answer.len() < announced,
        "all of {announced} bytes came, {} did, to somebody who did not read",
        answer.len()
    );
    stop.store(true, Ordering::Relaxed);
    let mut times = meanwhile.await.expect("no panic");
    println!("the honest client's p99 meanwhile: {:?}", percentile(&mut times, 99));
    server.end().await;
}
