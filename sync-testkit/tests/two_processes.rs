//! Two processes with one file: both write to it and sync it with a server, and either is killed.
//!
//! The processes are real: this test binary runs itself, and kills are `kill -9`. A clock that goes faster than
//! the real one for everybody makes a lease run out in less than a second. What must happen where at which request
//! is in `one_file.rs`; here it is left to chance.

mod parties;

use parties::SqliteFile;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};
use sync_http::{AllowAll, HttpReplica, serve, sync_router};
use sync_runtime::prelude::*;
use sync_runtime::replica::Replica;
use sync_runtime::{AsReplica, BoxFuture, Env, ErrorKind, ReplicaId, Stamp, SystemEnv, Workspace};
use sync_store_sql::SqlStore;
use sync_testkit::flaky::{FlakyReplica, Request};

/// Where servers and syncs run.
static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().expect("a runtime"));

/// How much faster the clock goes: 5 seconds of a lease are a quarter of one.
const RATE: u32 = 20;
/// How many processes are killed at least, while the other one goes on.
const ROUNDS: usize = 6;
/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Note", table = "note", methods = false)]
struct Note {
    #[sync(id)]
    id: String,
    /// One word for each write.
    words: String,
    count: i64,
}

/// The system's environment with a clock that goes faster since `anchor`, the same for all processes.
#[derive(Debug, Clone, Copy)]
struct SwiftEnv {
    anchor: Stamp,
}

impl Env for SwiftEnv {
    fn now(&self) -> Stamp {
        self.anchor + (SystemEnv.now() - self.anchor) * i64::from(RATE)
    }

    fn random(&self, buffer: &mut [u8]) {
        SystemEnv.random(buffer);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        SystemEnv.sleep(time / RATE)
    }

    fn spawn(&self, name: &str, task: BoxFuture<'static, ()>) {
        SystemEnv.spawn(name, task);
    }
}

impl SwiftEnv {
    fn since(&self, begin: Stamp) -> Duration {
        Duration::from_micros(u64::try_from(self.now() - begin).expect("this clock only goes ahead"))
    }
}

async fn ids(device: &Workspace, server: &Workspace) -> (ReplicaId, ReplicaId) {
    (device.id().await.expect("an id"), server.id().await.expect("an id"))
}

async fn open(url: &str, env: SwiftEnv) -> Workspace {
    let store = SqlStore::open(url).await.expect("the file opens");
    Workspace::builder(store).model::<Note>().env(env).build().await.expect("the workspace opens")
}

async fn all(workspace: &Workspace) -> BTreeMap<String, Note> {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    let found = notes.find(Query::all()).await.expect("notes are found");
    found.into_iter().map(|note| (note.id.clone(), note)).collect()
}

fn note(id: &str, word: &str) -> Note {
    Note { id: id.into(), words: word.into(), count: 1 }
}

/// What a second process says, so that this one sees it even if that one is killed at once.
fn say(what: &str) {
    println!("\n{what}");
}

/// Not a test: what the tests below run in a second process.
#[test]
fn as_child() {
    let var = |name: &str| std::env::var(format!("TWO_PROCESSES_{name}"));
    let Ok(task) = var("TASK") else { return };
    let var = |name: &str| var(name).expect("the other process says it");
    let env = SwiftEnv { anchor: var("ANCHOR").parse().expect("a number") };
    RUNTIME.block_on(async {
        let device = open(&var("DEVICE"), env).await;
        let server: Arc<dyn Replica> = match var("SERVER") {
            url if url.starts_with("http") => Arc::new(HttpReplica::new(&url).expect("a good URL")),
            url => open(&url, env).await.to_replica(),
        };
        let name = var("NAME");
        say("ready");
        match task.as_str() {
            "work" => work(&device, &server, &name).await,
            "hold" => hold(&device, &server).await,
            "write" => write_on_demand(&device, &name).await,
            other => panic!("there is no task {other}"),
        }
    });
}

/// Writes and syncs until it is killed; says each write after it was acknowledged.
async fn work(device: &Workspace, server: &Arc<dyn Replica>, name: &str) {
    let notes = device.collection::<Note>().expect("the model is registered");
    for number in 0.. {
        let word = format!("{name}.{number}");
        match number % 4 {
            0 => {
                notes.create(note(&word, &word)).await.expect("a note is made");
            }
            1 => {
                let (left, right) = (note("left", &word), note("right", &word));
                let both = device.transaction(|tx| {
                    Box::pin(async move {
                        tx.upsert(&left).await?;
                        tx.upsert(&right).await
                    })
                });
                both.await.expect("two notes are saved");
            }
            _ => {
                // Both processes edit these.
                let append = |note: &mut Note| {
                    note.words = format!("{} {word}", note.words);
                    note.count += 1;
                };
                notes.update(format!("shared {}", number % 3), append).await.expect("a note is saved");
            }
        }
        say(&format!("wrote {word}"));
        if number % 6 == 5 {
            say("syncing");
            match device.sync(server).page_size(2).await {
                Ok(report) => {
                    assert_eq!(report.conflict_count(), 0, "{:?}", report.conflicts::<Note>());
                    assert_eq!(report.rejected, vec![]);
                    say("synced");
                }
                // The other one was in the way for very long.
                Err(error) if error.kind() == ErrorKind::Busy => say(&format!("waited: {error}")),
                Err(error) => panic!("{name} cannot sync: {error}"),
            }
        }
    }
}

/// Begins a sync and stays in it until it is killed.
async fn hold(device: &Workspace, server: &Arc<dyn Replica>) {
    let line = FlakyReplica::new(server);
    line.before(Request::Exchange, || {
        say("holding");
        Box::pin(std::future::pending())
    });
    let done = device.sync(&line).await;
    panic!("nobody answers, and still there is {done:?}");
}

/// Writes a note for each line that it reads.
async fn write_on_demand(device: &Workspace, name: &str) {
    let notes = device.collection::<Note>().expect("the model is registered");
    for (number, line) in std::io::stdin().lines().enumerate() {
        let id = line.expect("a line");
        notes.upsert(note(&id, &format!("{name}.{number}"))).await.expect("a note is saved");
        say(&format!("wrote {id}"));
    }
}

/// A second process, and what it said so far.
struct Process {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    fn start(task: &str, name: &str, device: &SqliteFile, server: &str, env: SwiftEnv) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "as_child", "--nocapture"])
            .envs([
                ("TWO_PROCESSES_TASK", task),
                ("TWO_PROCESSES_NAME", name),
                ("TWO_PROCESSES_DEVICE", &device.url()),
                ("TWO_PROCESSES_SERVER", server),
                ("TWO_PROCESSES_ANCHOR", &env.anchor.to_string()),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let (lines, out) = (said.clone(), child.stdout.take().expect("its output"));
        let reader = std::thread::spawn(move || {
            let known = ["ready", "wrote ", "syncing", "synced", "waited: ", "holding"];
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if known.iter().any(|begin| line.starts_with(begin)) {
                    lines.lock().expect("lines").push(line);
                }
            }
        });
        Process { child, said, reader: Some(reader) }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().expect("lines").clone()
    }

    /// Waits until what it said satisfies this; it must live as long.
    fn wait(&mut self, what: &str, satisfied: impl Fn(&[String]) -> bool) {
        let begin = Instant::now();
        while !satisfied(&self.said()) {
            assert_eq!(self.child.try_wait().expect("its state"), None, "it ended instead of: {what}");
            assert!(begin.elapsed() < PATIENCE, "in vain waited for: {what}; it said {:?}", self.said());
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Gives it a line to read.
    fn order(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("its input");
        std::io::Write::write_all(input, format!("{line}\n").as_bytes()).expect("it reads");
    }

    /// Ends it as `kill -9` does; gives all that it said.
    fn kill(mut self) -> Vec<String> {
        assert_eq!(self.child.try_wait().expect("its state"), None, "it ended by itself");
        self.end();
        self.said()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn syncs(said: &[String]) -> usize {
    said.iter().filter(|line| *line == "synced").count()
}

fn serve_over_http(workspace: &Workspace) -> String {
    let app = axum::Router::new().nest("/sync", sync_router(workspace.clone(), AllowAll));
    let listener = RUNTIME.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    RUNTIME.spawn(serve(listener, app));
    format!("http://{address}/sync")
}

/// A number below this one, not the same in two runs.
fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    SystemEnv.random(&mut bytes);
    u64::from_le_bytes(bytes) % below
}

/// Both processes work and sync, one after the other is killed and replaced, half of them in the middle of a sync;
/// then nothing that was acknowledged is lost, nothing is there twice, and nobody saw a conflict or took a new name.
fn either_is_killed(http: bool) {
    let env = SwiftEnv { anchor: SystemEnv.now() };
    let (device_file, server_file) = (SqliteFile::new(), SqliteFile::new());
    let server = RUNTIME.block_on(open(&server_file.url(), env));
    let address = if http { serve_over_http(&server) } else { server_file.url() };
    let server_notes = server.collection::<Note>().expect("the model is registered");

    let device = RUNTIME.block_on(open(&device_file.url(), env));
    RUNTIME.block_on(async {
        let notes = device.collection::<Note>().expect("the model is registered");
        for number in 0..3 {
            notes.create(note(&format!("shared {number}"), "begin")).await.expect("a note is made");
        }
        device.sync(&server).await.expect("they meet");
    });
    let names = RUNTIME.block_on(ids(&device, &server));
    device.close();
    drop(device);

    let start = |life: usize| Process::start("work", &format!("p{life}"), &device_file, &address, env);
    let mut lives = 2;
    let mut running = vec![start(0), start(1)];
    let mut said: HashMap<String, Vec<String>> = HashMap::new();
    let mut in_mid_sync = 0;
    let mut rounds = 0;
    while rounds < ROUNDS || in_mid_sync < 2 {
        let round = rounds;
        rounds += 1;
        assert!(rounds < 5 * ROUNDS, "kills hit no sync; the test proves little");
        for process in &mut running {
            process.wait("a first sync", |said| syncs(said) > 0);
        }
        RUNTIME.block_on(async {
            server_notes.create(note(&format!("server {round}"), "server")).await.expect("a note is made");
        });
        let mut victim = running.remove(0);
        let before = victim.said().len();
        match round % 2 {
            0 => {
                victim.wait("a sync that begins", |said| said[before..].iter().any(|line| line == "syncing"));
                std::thread::sleep(Duration::from_micros(random(6_000)));
            }
            _ => std::thread::sleep(Duration::from_millis(random(80))),
        }
        let last_words = victim.kill();
        in_mid_sync += usize::from(last_words.last().is_some_and(|line| line == "syncing"));
        said.insert(format!("killed {round}"), last_words);
        // The one that is left goes on, once the lease of the other has run out.
        let survivor = &mut running[0];
        let before = syncs(&survivor.said());
        survivor.wait("a sync after the kill", |said| syncs(said) > before + 1);
        running.push(start(lives));
        lives += 1;
    }
    for (number, process) in running.into_iter().enumerate() {
        said.insert(format!("left {number}"), process.kill());
    }

    let lines = said.values().flatten();
    let written: BTreeSet<&str> = lines.filter_map(|line| line.strip_prefix("wrote ")).collect();
    RUNTIME.block_on(async {
        let device = open(&device_file.url(), env).await;
        let report = device.sync(&server).await.expect("the last leases run out");
        assert!(report.level && report.rejected.is_empty(), "{report:?}");
        assert_eq!(report.conflict_count(), 0, "{:?}", report.conflicts::<Note>());
        assert_eq!(ids(&device, &server).await, names, "somebody took a new name");
        let (here, there) = (all(&device).await, all(&server).await);
        assert_eq!(here, there);
        assert_level_ancestries(&device, &server, &here).await;
        assert_all_once(&here, &written, lives);
        for round in 0..rounds {
            assert!(here.contains_key(&format!("server {round}")), "what the server wrote is here");
        }
    });
    for file in [&device_file, &server_file] {
        let sql = rusqlite::Connection::open(file.path()).expect("the file opens");
        let check: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
        assert_eq!(check, "ok");
    }
}

async fn assert_level_ancestries(device: &Workspace, server: &Workspace, ids: &BTreeMap<String, Note>) {
    let here = device.collection::<Note>().expect("the model is registered");
    let there = server.collection::<Note>().expect("the model is registered");
    for id in ids.keys() {
        let mine = here.find_last_change(id.as_str()).await.expect("a change").expect("it is tracked");
        let theirs = there.find_last_change(id.as_str()).await.expect("a change").expect("it is tracked");
        assert_eq!(mine.revision(), theirs.revision(), "{id}");
        assert_eq!(mine.ancestry, theirs.ancestry, "{id}");
    }
}

/// Every acknowledged write is there once; of each life, at most its last write is there without having been said.
fn assert_all_once(notes: &BTreeMap<String, Note>, written: &BTreeSet<&str>, lives: usize) {
    let mut found = BTreeSet::new();
    for note in notes.values().filter(|note| note.id.starts_with("shared ")) {
        let words: Vec<&str> = note.words.split(' ').skip(1).collect();
        assert_eq!(i64::try_from(words.len()), Ok(note.count - 1), "{note:?}");
        found.extend(words.iter().copied());
        let different: BTreeSet<&str> = words.iter().copied().collect();
        assert_eq!(different.len(), words.len(), "a write counted twice: {note:?}");
    }
    found.extend(notes.keys().filter(|id| id.starts_with('p')).map(String::as_str));
    // Those are overwritten on purpose; they were saved together, so they are the same.
    assert_eq!(notes["left"].words, notes["right"].words);
    let overwritten = |word: &str| number_of(word) % 4 == 1;
    let lost: Vec<_> = written.iter().filter(|word| !overwritten(word) && !found.contains(**word)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let unsaid = found.difference(written).count();
    assert!(unsaid <= lives, "{unsaid} writes that nobody made, of {lives} processes");
}

fn number_of(word: &str) -> usize {
    let (_, number) = word.split_once('.').expect("a word of a process");
    number.parse().expect("a number")
}

#[test]
fn either_of_two_processes_is_killed_beside_a_server_over_http() {
    either_is_killed(true);
}

#[test]
fn either_of_two_processes_is_killed_beside_a_server_in_a_file() {
    either_is_killed(false);
}

/// While one process lives and syncs, the other waits, for a bounded time, and is told for what; after the first was
/// killed, it waits no longer than the lease lasts.
#[test]
fn a_wait_for_the_lease_is_bounded_and_named() {
    let env = SwiftEnv { anchor: SystemEnv.now() };
    let (device_file, server_file) = (SqliteFile::new(), SqliteFile::new());
    let server = RUNTIME.block_on(open(&server_file.url(), env));
    let device = RUNTIME.block_on(open(&device_file.url(), env));
    RUNTIME.block_on(async {
        let notes = device.collection::<Note>().expect("the model is registered");
        notes.create(note("1", "foo")).await.expect("a note is made");
    });
    let mut other = Process::start("hold", "p0", &device_file, &server_file.url(), env);
    other.wait("the begin of a sync", |said| said.iter().any(|line| line == "holding"));
    let names = RUNTIME.block_on(ids(&device, &server));

    // Twice as long as a lease: the one who lives renews it.
    let begin = env.now();
    let error = RUNTIME.block_on(async { device.sync(&server).await }).expect_err("the pair is being synced");
    let waited = env.since(begin);
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.is_retryable());
    for part in ["another process", &names.1.to_string(), "its lease ends in"] {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }
    assert!((Duration::from_secs(29)..Duration::from_secs(120)).contains(&waited), "{waited:?}");

    other.kill();
    let begin = env.now();
    let report = RUNTIME.block_on(async { device.sync(&server).await }).expect("the lease runs out");
    let waited = env.since(begin);
    assert!(waited < Duration::from_secs(15), "a lease lasts 5 seconds, and this took {waited:?}");
    assert_eq!((report.pushed, report.level), (1, true));
    RUNTIME.block_on(async {
        assert_eq!(all(&server).await, all(&device).await);
        assert_eq!(ids(&device, &server).await, names);
    });
}

/// Two processes that find no file make it together, and are one replica.
#[test]
fn two_processes_make_one_file() {
    let env = SwiftEnv { anchor: SystemEnv.now() };
    for _ in 0..4 {
        let (device_file, server_file) = (SqliteFile::new(), SqliteFile::new());
        let server = RUNTIME.block_on(open(&server_file.url(), env));
        let start = |name| Process::start("write", name, &device_file, &server_file.url(), env);
        let mut both = [start("p0"), start("p1")];
        for (number, process) in both.iter_mut().enumerate() {
            process.order(&format!("note {number}"));
        }
        for process in &mut both {
            process.wait("its note", |said| said.iter().any(|line| line.starts_with("wrote")));
        }
        drop(both);
        RUNTIME.block_on(async {
            let device = open(&device_file.url(), env).await;
            let notes = device.collection::<Note>().expect("the model is registered");
            let me = device.id().await.expect("an id");
            for id in ["note 0", "note 1"] {
                let change = notes.find_last_change(id).await.expect("a change").expect("it is tracked");
                assert_eq!(change.revision().replica, me, "{id}");
            }
            let report = device.sync(&server).await.expect("it syncs");
            assert_eq!((report.pushed, report.level), (2, true));
        });
    }
}

/// A watcher is told what another process writes, be it with the library or with plain SQL.
#[test]
fn a_watch_sees_the_commits_of_other_processes() {
    let env = SwiftEnv { anchor: SystemEnv.now() };
    let file = SqliteFile::new();
    let device = RUNTIME.block_on(open(&file.url(), env));
    let mut watch = device.collection::<Note>().expect("the model is registered").watch();
    RUNTIME.block_on(watch.start()).expect("it starts");
    let mut told = |what: &str| {
        let next = async { tokio::time::timeout(PATIENCE, watch.next()).await };
        let events = RUNTIME.block_on(next).unwrap_or_else(|_| panic!("{what} was not told"));
        let events = events.expect("it watches").into_iter();
        events.map(|event| (event.id, event.deleted, event.from_peer)).collect::<Vec<_>>()
    };

    let mut other = Process::start("write", "p0", &file, &file.url(), env);
    other.wait("readiness", |said| !said.is_empty());
    for round in 0..3 {
        let id = format!("by the library {round}");
        other.order(&id);
        assert_eq!(told(&id), [(id.clone(), false, false)]);
    }
    let sqlite3 = |sql: &str| {
        let status = Command::new("sqlite3").arg(file.path()).arg(sql).status();
        assert!(status.expect("the sqlite3 program; `scripts/services` installs it").success(), "{sql}");
    };
    sqlite3("INSERT INTO note(id, words, count) VALUES ('by sqlite3', 'x', 1)");
    assert_eq!(told("an insert"), [("by sqlite3".to_owned(), false, false)]);
    sqlite3("UPDATE note SET count = 2 WHERE id = 'by the library 0'");
    assert_eq!(told("an update"), [("by the library 0".to_owned(), false, false)]);
    sqlite3("DELETE FROM note WHERE id = 'by sqlite3'");
    assert_eq!(told("a delete"), [("by sqlite3".to_owned(), true, false)]);
}
