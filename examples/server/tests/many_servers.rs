//! Three server processes over one PostgreSQL, with twenty devices that go on while servers and database die.
//!
//! Everything is real: the program of this example, a cluster of the test's own, `kill -9`. In the end all replicas have
//! to be equal (P1), and everything that a device was told is saved has to be there (P2).

#[path = "../../../sync-store-sql/tests/common/cluster.rs"]
mod cluster;
#[path = "../src/model.rs"]
mod model;
mod process;

use cluster::Cluster;
use model::Todo;
use process::Server;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use sync_http::HttpReplica;
use sync_runtime::prelude::*;
use sync_runtime::replica::{Caller, Pull, Pulled, Replica};
use sync_runtime::{Syncable, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;
use uuid::Uuid;

const SERVERS: usize = 3;
const CLIENTS: usize = 20;
/// How many of them keep a file.
const WITH_FILE: usize = 5;
/// Of which this many are kept in sync by the library, and the others sync by themselves.
const KEPT: usize = 6;
/// Records that all of them edit.
const SHARED: usize = 5;
const LEVEL: &str = "error";
/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Random numbers, good enough to spread things.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A server that has its place, and may be dead just now.
struct Place {
    address: SocketAddr,
    database: String,
    server: Mutex<Option<Server>>,
}

impl Place {
    async fn new(database: String) -> Self {
        // What it cannot do without a database, it says each time.
        let first = Server::start_with(&database, LEVEL, Stdio::null()).await;
        Place { address: first.address, database, server: Mutex::new(Some(first)) }
    }

    fn url(&self) -> String {
        format!("http://{}/sync", self.address)
    }

    /// Starts it again, as whatever watches over processes does; it cannot while the database is away.
    async fn start(&self) {
        let until = Instant::now() + PATIENCE;
        let mut server = self.server.lock().await;
        while server.is_none() {
            let listen = self.address.to_string();
            *server = Server::try_start(&listen, &self.database, LEVEL, Stdio::null()).await;
            assert!(Instant::now() < until, "the server at {listen} does not start again");
        }
    }

    async fn kill(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.kill().await;
        }
    }

    async fn end(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.end_by("-TERM").await;
        }
    }
}

/// What happened, so that the test cannot succeed without anything having happened.
#[derive(Debug, Default)]
struct Happened {
    edits: AtomicUsize,
    synced: AtomicUsize,
    failed: AtomicUsize,
}

/// A device, with what its user was told is saved.
struct Device {
    name: String,
    workspace: Workspace,
    servers: Vec<HttpReplica>,
    /// The todos that only this device edits: their titles, or that they were deleted.
    own: BTreeMap<Uuid, Option<String>>,
    /// What it added to the minutes of those that all edit.
    added: BTreeMap<Uuid, i64>,
    dice: Dice,
}

impl Device {
    async fn edit(&mut self, shared: &[Uuid]) {
        let todos = self.workspace.collection::<Todo>().expect("registered");
        let living: Vec<Uuid> =
            self.own.iter().filter(|(_, title)| title.is_some()).map(|(id, _)| *id).collect();
        let number = self.own.len();
        let pick = |dice: &mut Dice, ids: &[Uuid]| ids[dice.below(ids.len() as u64) as usize];
        match self.dice.below(10) {
            0..4 => {
                let title = format!("{} {number}", self.name);
                let todo = Todo {
                    id: Uuid::now_v7(),
                    owner: "alice".into(),
                    title: title.clone(),
                    ..Todo::default()
                };
                let id = todos.create(todo).await.expect("a todo is made");
                self.own.insert(id, Some(title));
            }
            4..6 if !living.is_empty() => {
                let id = pick(&mut self.dice, &living);
                let title = format!("{} again {}", self.name, self.dice.below(1 << 30));
                todos.update(id, |todo| todo.title.clone_from(&title)).await.expect("a todo is saved");
                self.own.insert(id, Some(title));
            }
            6 if !living.is_empty() => {
                let id = pick(&mut self.dice, &living);
                assert!(todos.delete(id).await.expect("a todo is deleted"));
                self.own.insert(id, None);
            }
            _ => {
                let id = pick(&mut self.dice, shared);
                let minutes = 1 + self.dice.below(9) as i64;
                let change = |todo: &mut Todo| {
                    todo.minutes += minutes;
                    todo.done = !todo.done;
                };
                todos.update(id, change).await.expect("a todo is saved");
                *self.added.entry(id).or_default() += minutes;
            }
        }
    }

    /// Edits and syncs until it is told to end, whatever the servers do.
    async fn work(mut self, shared: Vec<Uuid>, happened: Arc<Happened>, end: watch::Receiver<bool>) -> Self {
        let kept = (self.name.as_str() < format!("device {KEPT:02}").as_str()).then(|| {
            let server = self.dice.below(SERVERS as u64) as usize;
            let happened = happened.clone();
            let tell = move |done: &sync_runtime::Result<_>| match done {
                Ok(_) => _ = happened.synced.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    happened.failed.fetch_add(1, Ordering::Relaxed);
                }
            };
            let every = Duration::from_secs(1);
            self.workspace.keep_in_sync(&self.servers[server]).every(every).on_sync(tell).start()
        });
        while !*end.borrow() {
            for _ in 0..1 + self.dice.below(3) {
                self.edit(&shared).await;
                happened.edits.fetch_add(1, Ordering::Relaxed);
            }
            if kept.is_none() {
                let server = self.dice.below(SERVERS as u64) as usize;
                match self.workspace.sync(&self.servers[server]).await {
                    Ok(_) => happened.synced.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        assert!(error.is_retryable(), "{} with server {server}: {error}", self.name);
                        happened.failed.fetch_add(1, Ordering::Relaxed)
                    }
                };
            }
            sleep(Duration::from_millis(20 + self.dice.below(200))).await;
        }
        if let Some(kept) = &kept {
            assert_eq!(kept.last_error().filter(|error| error.contains("panic")), None);
        }
        self
    }
}

/// Live records, tombstones and ancestry, as promise P1 compares them.
async fn picture(workspace: &Workspace) -> BTreeMap<String, String> {
    let engine = workspace.engine();
    let mut picture = BTreeMap::new();
    let mut since = None;
    loop {
        let pull = Pull { since, limit: 1_000, ..Pull::of(engine.models().clone()) };
        let Pulled::Page(feed) = engine.changes(&Caller::owner(), pull).await.expect("the feed is read")
        else {
            panic!("the engine does not know its own checkpoint {since:?}");
        };
        for update in feed.page.updates {
            let change = &update.state.change;
            let mut ancestry: Vec<_> = change.ancestry.entries().skip(1).collect();
            ancestry.sort();
            let record =
                update.state.record.as_ref().map(|record| Todo::from_record(record.clone()).expect("a todo"));
            picture.insert(change.name(), format!("{} {ancestry:?} {record:?}", change.revision()));
        }
        if !feed.more {
            return picture;
        }
        since = Some(feed.checkpoint);
    }
}

/// The todos that are there, and the tombstones.
fn split(picture: BTreeMap<String, String>) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    picture.into_iter().partition(|(_, shown)| !shown.ends_with("None"))
}

/// Three servers over one database, and twenty devices.
struct World {
    cluster: Cluster,
    places: Vec<Arc<Place>>,
    devices: Vec<Device>,
    shared: Vec<Uuid>,
    happened: Arc<Happened>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(seed: u64) -> Self {
        let cluster = Cluster::durable();
        let mut places = Vec::new();
        for _ in 0..SERVERS {
            places.push(Arc::new(Place::new(cluster.url()).await));
        }
        let token = places[0].server.lock().await.as_ref().expect("it runs").token("alice");
        let folder = tempfile::tempdir().expect("a folder");
        let mut devices = Vec::new();
        for number in 0..CLIENTS {
            let name = format!("device {number:02}");
            let file = format!("sqlite:{}", folder.path().join(format!("{number}.db")).display());
            let builder = match number % (CLIENTS / WITH_FILE) {
                0 => Workspace::builder(SqlStore::open(&file).await.expect("the file opens")),
                _ => Workspace::builder(MemoryStore::new()),
            };
            let workspace = builder.model::<Todo>().build().await.expect("a workspace");
            let servers = places.iter().map(|place| {
                let builder = HttpReplica::builder(&place.url()).token(&token);
                builder.request_timeout(Duration::from_secs(10)).build().expect("a URL")
            });
            let dice = Dice::new(seed + number as u64);
            let servers = servers.collect();
            let (own, added) = (BTreeMap::new(), BTreeMap::new());
            devices.push(Device { name, workspace, servers, own, added, dice });
        }
        let todos = devices[0].workspace.collection::<Todo>().expect("registered");
        let mut shared = Vec::new();
        for number in 0..SHARED {
            let title = format!("for all {number}");
            let todo = Todo { id: Uuid::now_v7(), owner: "alice".into(), title, ..Todo::default() };
            shared.push(todos.create(todo).await.expect("a todo is made"));
        }
        for device in &devices {
            device.workspace.sync(&device.servers[0]).await.expect("the first sync");
        }
        World { cluster, places, devices, shared, happened: Arc::default(), _folder: folder }
    }

    /// All devices edit and sync while something is done to the servers.
    async fn during(&mut self, work: impl AsyncFnOnce(&Cluster, &[Arc<Place>])) {
        let (end, ends) = watch::channel(false);
        let tasks: Vec<_> = std::mem::take(&mut self.devices)
            .into_iter()
            .map(|device| tokio::spawn(device.work(self.shared.clone(), self.happened.clone(), ends.clone())))
            .collect();
        work(&self.cluster, &self.places).await;
        end.send_replace(true);
        for task in tasks {
            self.devices.push(task.await.expect("a device goes on whatever happens"));
        }
    }

    /// Syncs each device with one server after the other, until nobody has anything to send or to fetch.
    async fn to_quiet(&self) {
        for round in 0..20 {
            let mut moved = 0;
            for (number, device) in self.devices.iter().enumerate() {
                let server = &device.servers[(number + round) % SERVERS];
                let report = device.workspace.sync(server).await.expect("all servers are there again");
                assert_eq!(report.rejected, vec![], "{} had something refused", device.name);
                assert_eq!(report.conflict_count(), 0, "{} has a conflict", device.name);
                moved += report.pushed + report.pulled + usize::from(!report.level);
            }
            if moved == 0 {
                return;
            }
        }
        panic!("they never come to rest");
    }

    /// P1 and P2.
    async fn assert_nothing_lost(&self) {
        let store = SqlStore::open(&self.cluster.url()).await.expect("the database opens");
        let server = Workspace::builder(store).model::<Todo>().build().await.expect("a workspace");
        let (expected, deleted) = split(picture(&server).await);
        for device in &self.devices {
            let conflicts = device.workspace.conflicts::<Todo>().await.expect("conflicts are read");
            assert!(conflicts.is_empty(), "{} has {conflicts:?}", device.name);
            let (here, gone) = split(picture(&device.workspace).await);
            assert_eq!(here, expected, "{} differs from the server", device.name);
            // What its maker deleted before anybody had seen it was in no scope: nobody is told of its tombstone.
            let other = gone.iter().find(|(todo, tombstone)| deleted.get(*todo) != Some(*tombstone));
            assert_eq!(other, None, "{} has another tombstone than the server", device.name);
        }
        let todos = server.collection::<Todo>().expect("registered").find(Query::all()).await.expect("todos");
        let there: BTreeMap<Uuid, Todo> = todos.into_iter().map(|todo| (todo.id, todo)).collect();
        let mut living = SHARED;
        for device in &self.devices {
            for (id, title) in &device.own {
                let found = there.get(id).map(|todo| &todo.title);
                assert_eq!(found, title.as_ref(), "what {} wrote last of {id}", device.name);
                living += usize::from(title.is_some());
            }
        }
        assert_eq!(there.len(), living, "nothing is there that nobody made");
        for id in &self.shared {
            let added: i64 = self.devices.iter().filter_map(|device| device.added.get(id)).sum();
            assert_eq!(there[id].minutes, added, "each increment counts, and none twice");
        }
        let records = there.len();
        println!("{records} records, {} changes; {:?}", expected.len(), self.happened);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_database_that_are_killed_at_random_lose_nothing() {
    let seconds =
        std::env::var("SYNC_KILL_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let seed = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_micros() as u64;
    println!("seed {seed}");
    let mut world = World::new(seed).await;
    let (mut servers, mut databases) = (0, 0);
    world
        .during(async |cluster, places| {
            let mut dice = Dice::new(seed);
            let until = Instant::now() + Duration::from_secs(seconds);
            let mut starting = Vec::new();
            while Instant::now() < until {
                sleep(Duration::from_millis(200 + dice.below(1_500))).await;
                if dice.below(4) == 0 {
                    tokio::task::block_in_place(|| {
                        cluster.kill();
                        std::thread::sleep(Duration::from_millis(dice.below(400)));
                        cluster.start();
                    });
                    databases += 1;
                } else {
                    let place = places[dice.below(SERVERS as u64) as usize].clone();
                    place.kill().await;
                    servers += 1;
                    let wait = Duration::from_millis(dice.below(1_000));
                    starting.push(tokio::spawn(async move {
                        sleep(wait).await;
                        place.start().await;
                    }));
                }
            }
            for start in starting {
                start.await.expect("a server starts again");
            }
        })
        .await;
    println!("killed {servers} servers and {databases} databases");
    world.to_quiet().await;
    world.assert_nothing_lost().await;
    let happened = &world.happened;
    let at_least = |counted: &AtomicUsize, least| counted.load(Ordering::Relaxed) >= least;
    assert!(servers >= seconds as usize / 6 && databases >= 1, "too few were killed");
    assert!(
        at_least(&happened.edits, 500) && at_least(&happened.synced, 100),
        "too little was done: {happened:?}"
    );
    assert!(at_least(&happened.failed, 1), "nothing was hit: {happened:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_through_one_server_is_soon_with_who_listens_to_another() {
    let world = World::new(3).await;
    let [writer, reader] = &world.devices[..2] else { panic!("there are two") };
    let todos = writer.workspace.collection::<Todo>().expect("registered");
    let mut watch = reader.workspace.collection::<Todo>().expect("registered").watch();
    watch.start().await.expect("it starts");
    let kept = reader.workspace.keep_in_sync(&reader.servers[1]).every(Duration::from_secs(600)).start();
    let mut times = Vec::new();
    for number in 0..30 {
        // So that no look comes in step with the edits.
        sleep(Duration::from_millis(40 + 37 * (number % 6))).await;
        let todo =
            Todo { id: Uuid::now_v7(), owner: "alice".into(), title: "soon".into(), ..Todo::default() };
        let id = todos.create(todo).await.expect("a todo is made");
        writer.workspace.sync(&writer.servers[0]).push_only().await.expect("pushed");
        let begun = Instant::now();
        let seen = tokio::time::timeout(PATIENCE, async {
            while !watch.next().await.expect("it watches").iter().any(|event| event.id == id) {}
        });
        seen.await.expect("it is seen");
        times.push(begun.elapsed());
    }
    assert_eq!(kept.last_error(), None);
    // The stream and what it listens to begin with the first ones.
    let mut times = times.split_off(10);
    times.sort();
    println!("there after {:?} (half of the times), {:?} at most", times[10], times[19]);
    assert!(times[10] < Duration::from_millis(80), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_loses_nothing() {
    let mut world = World::new(7).await;
    let mut slowest = Duration::ZERO;
    world
        .during(async |_, places| {
            for _ in 0..2 {
                for place in places {
                    sleep(Duration::from_secs(1)).await;
                    let begun = Instant::now();
                    place.end().await;
                    slowest = slowest.max(begun.elapsed());
                    place.start().await;
                }
            }
        })
        .await;
    println!("the slowest server took {slowest:?} to end");
    assert!(slowest < Duration::from_secs(10), "a server took {slowest:?} to end");
    world.to_quiet().await;
    world.assert_nothing_lost().await;
    let happened = &world.happened;
    assert!(happened.synced.load(Ordering::Relaxed) >= 50, "too little was done: {happened:?}");
}
