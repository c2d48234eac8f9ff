//! rule: durable before seen. The power fails, and what was committed since the last durable transaction is gone:
//! nobody else may have seen any of it.
//!
//! Whether a durable transaction of a store really is on the disk is for the store's own tests.

use futures_util::future::{Either, select};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use sync_runtime::change::{Change, State};
use sync_runtime::prelude::*;
use sync_runtime::replica::{Exchange, Page, Pull, PushPage, RemoteWrite, Update, Wanted};
use sync_runtime::store::{Access, Feed, Store, Work, transact};
use sync_runtime::{
    BoxFuture, Caller, Checkpoint, Engine, Env, ErrorKind, ForeignKey, Id, Models, Replica, ReplicaId,
    Result, Revision, Status, SystemEnv, Workspace,
};
use sync_store_memory::MemoryStore;
use sync_testkit::flaky::{FlakyReplica, Request};
use sync_testkit::pairs::BentEnv;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Note", table = "note")]
struct Note {
    #[sync(id)]
    id: String,
    text: String,
}

fn note(id: &str, text: &str) -> Note {
    Note { id: id.into(), text: text.into() }
}

/// A store whose commits are in memory, as a database has them in the cache of its system, and on the disk as of the
/// last durable transaction.
#[derive(Debug, Clone)]
struct Machine {
    cache: MemoryStore,
    disk: Arc<Mutex<MemoryStore>>,
}

impl Machine {
    fn new() -> Self {
        Machine { cache: MemoryStore::new(), disk: Arc::default() }
    }

    async fn write_back(&self) -> Result<()> {
        let copy = self.cache.copy().await?;
        *self.disk.lock().expect("a disk") = copy;
        Ok(())
    }

    /// The same machine after the power failed.
    async fn without_power(&self) -> Self {
        let disk = self.disk.lock().expect("a disk").clone();
        let cache = disk.copy().await.expect("no transaction is open");
        Machine { cache, disk: Arc::new(Mutex::new(disk)) }
    }
}

#[sync_runtime::async_trait]
impl Store for Machine {
    async fn prepare(&self, models: &Models, fresh: ReplicaId) -> Result<()> {
        self.cache.prepare(models, fresh).await?;
        self.write_back().await
    }

    async fn foreign_keys(&self, models: &Models) -> Result<Vec<ForeignKey>> {
        self.cache.foreign_keys(models).await
    }

    async fn run(&self, access: Access, work: Work) -> Result<()> {
        self.cache.run(access, work).await?;
        if access.durable {
            self.write_back().await?;
        }
        Ok(())
    }

    async fn version(&self) -> Result<u64> {
        self.cache.version().await
    }
}

/// A machine with the workspace that runs on it.
struct Computer {
    machine: Machine,
    workspace: Workspace,
    env: BentEnv,
}

impl Computer {
    async fn new() -> Self {
        Computer::start(Machine::new(), BentEnv::new(Arc::new(SystemEnv))).await
    }

    async fn start(machine: Machine, env: BentEnv) -> Self {
        let workspace = Workspace::builder(machine.clone()).model::<Note>().env(env.clone()).build().await;
        Computer { machine, workspace: workspace.expect("it opens"), env }
    }

    /// The power fails, and the machine starts again.
    async fn restart(&mut self) {
        self.begin(self.machine.without_power().await).await;
    }

    /// The program on it is ended, and begins again.
    async fn begin(&mut self, machine: Machine) {
        self.workspace.close();
        // The lease of a sync that was cut runs out meanwhile, by the clock that all computers have.
        self.env.ahead(self.env.now() - SystemEnv.now() + 16_000_000);
        *self = Computer::start(machine, self.env.clone()).await;
    }

    fn engine(&self) -> &Engine {
        self.workspace.engine()
    }

    async fn id(&self) -> ReplicaId {
        self.workspace.id().await.expect("an id")
    }

    async fn put(&self, id: &str, text: &str) {
        let notes = self.workspace.collection::<Note>().expect("the model is registered");
        notes.upsert(note(id, text)).await.expect("a note is saved");
    }

    async fn text(&self, id: &str) -> Option<String> {
        let notes = self.workspace.collection::<Note>().expect("the model is registered");
        notes.get(id).await.expect("a note is read").map(|note| note.text)
    }

    /// All that it holds, tombstones included, looked at without making it durable.
    async fn states(&self) -> Vec<State> {
        let feed = Feed { data: true, ..Feed::after(0) };
        let read =
            transact(&self.machine.cache, Access::READ, |tx| Box::pin(async move { tx.feed(&feed).await }));
        read.await.expect("the feed is read")
    }

    /// Records and tombstones by id.
    async fn picture(&self) -> BTreeMap<String, (Revision, Option<sync_runtime::Record>)> {
        let states = self.states().await.into_iter();
        states.map(|state| (state.change.name(), (state.change.revision(), state.record))).collect()
    }
}

/// What a call on a server is about: a change that it had just committed, and one that it does not have.
#[derive(Clone)]
struct Subject {
    server: ReplicaId,
    mine: Change,
    theirs: Update,
}

impl Subject {
    fn pull(&self, engine: &Engine) -> Pull {
        Pull { limit: 10, ..Pull::of(engine.models().clone()) }
    }

    fn exchange(&self, push: Option<PushPage>, pull: Option<Pull>) -> Exchange {
        Exchange { from: self.theirs.state.change.revision().replica, to: self.server, push, pull }
    }
}

type Ask = for<'a> fn(&'a Engine, Subject) -> BoxFuture<'a, Result<()>>;

/// Every call by which somebody learns of a change of a replica, or is told that it was taken.
const CALLS: [(&str, Ask); 9] = [
    ("exchange, pulling", |engine, subject| {
        Box::pin(async move {
            let exchange = subject.exchange(None, Some(subject.pull(engine)));
            engine.exchange(&Caller::owner(), exchange).await.map(drop)
        })
    }),
    ("exchange, pushing", |engine, subject| {
        Box::pin(async move {
            let page = Page { updates: vec![subject.theirs.clone()], group_open: false };
            let push = PushPage { number: 1, digest: 1, page };
            engine.exchange(&Caller::owner(), subject.exchange(Some(push), None)).await.map(drop)
        })
    }),
    ("changes", |engine, subject| {
        Box::pin(async move { engine.changes(&Caller::owner(), subject.pull(engine)).await.map(drop) })
    }),
    ("diff", |engine, subject| {
        Box::pin(async move { engine.diff(&Caller::owner(), vec![subject.mine]).await.map(drop) })
    }),
    ("create_updates", |engine, subject| {
        Box::pin(async move { engine.create_updates(&Caller::owner(), vec![subject.mine]).await.map(drop) })
    }),
    ("bulk_update", |engine, subject| {
        Box::pin(
            async move { engine.bulk_update(&Caller::owner(), None, vec![subject.theirs]).await.map(drop) },
        )
    }),
    ("checkpoint", |engine, _| Box::pin(async move { engine.checkpoint(&Caller::owner()).await.map(drop) })),
    ("read", |engine, subject| {
        Box::pin(async move {
            let wanted = Wanted::Ids(vec![subject.mine.id]);
            engine.read(&Caller::owner(), Note::SCHEMA, wanted).await.map(drop)
        })
    }),
    ("write", |engine, subject| {
        Box::pin(async move {
            let State { change, record } = subject.theirs.state;
            let write = RemoteWrite { schema: change.schema, id: change.id, record, expect: None };
            engine.write(&Caller::owner(), vec![write]).await.map(drop)
        })
    }),
];

/// Whatever a replica tells of its changes, and whatever it says that it took, is on its disk first.
#[test]
fn rule_durable_before_seen_nothing_is_told_before_it_is_on_the_disk() {
    for (name, ask) in CALLS {
        pollster::block_on(async {
            let (mut server, device) = (Computer::new().await, Computer::new().await);
            server.put("mine", "of the server").await;
            device.put("theirs", "of the device").await;
            let subject = Subject {
                server: server.id().await,
                mine: server.states().await.remove(0).change,
                theirs: Update { state: device.states().await.remove(0), based_on: None },
            };
            ask(server.engine(), subject).await.expect("it answers");
            let before = server.picture().await;
            server.restart().await;
            assert_eq!(server.picture().await, before, "{name}");
            assert_eq!(server.text("mine").await.as_deref(), Some("of the server"), "{name}");
        });
    }
}

/// The test above can fail: what nobody was told may be lost.
#[test]
fn what_nobody_was_told_may_be_lost() {
    pollster::block_on(async {
        let mut computer = Computer::new().await;
        let id = computer.id().await;
        computer.put("1", "foo").await;
        computer.restart().await;
        assert_eq!(computer.text("1").await, None);
        assert_eq!(computer.id().await, id);
    });
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Whose power fails at an exchange, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    /// The device's, before the request has arrived.
    DeviceBefore,
    /// The device's, after the server has answered.
    DeviceAfter,
    /// The server's, after it has answered; the device gets the answer.
    ServerAfter,
    /// The server's, after it has answered; the answer is lost.
    ServerAnswerLost,
}

/// A device that syncs with a server, and a backup that replicates from it, each of which may lose its power.
struct World {
    device: Computer,
    server: Computer,
    backup: Computer,
    /// What the backup has replicated up to; kept by somebody else.
    since: Option<Checkpoint>,
    ids: [ReplicaId; 3],
    random: Random,
    seed: u64,
    writes: u64,
    cuts: u64,
}

impl World {
    async fn new(seed: u64) -> Self {
        let env = BentEnv::new(Arc::new(SystemEnv));
        let start = || Computer::start(Machine::new(), env.clone());
        let (device, server, backup) = (start().await, start().await, start().await);
        let ids = [device.id().await, server.id().await, backup.id().await];
        let random = Random(seed);
        World { device, server, backup, since: None, ids, random, seed, writes: 0, cuts: 0 }
    }

    async fn step(&mut self) {
        match self.random.below(10) {
            0..4 => self.write().await,
            4 => self.sync().await,
            5 | 6 => self.cut_sync().await,
            7 => self.replicate().await,
            8 => self.lose_power_of_device().await,
            _ => match self.random.below(2) {
                0 => self.lose_power_of_server().await,
                _ => self.backup.restart().await,
            },
        }
        let ids = [self.device.id().await, self.server.id().await, self.backup.id().await];
        assert_eq!(ids, self.ids, "seed {}: somebody took a new name", self.seed);
        let (device, server) = (self.device.picture().await, self.server.picture().await);
        for (name, (revision, record)) in &device {
            if let Some((same, other)) = server.get(name)
                && same == revision
            {
                assert_eq!(record, other, "seed {}: two contents of {name} at {revision}", self.seed);
            }
        }
    }

    /// Each record is written at one place, so that there are no conflicts.
    async fn write(&mut self) {
        self.writes += 1;
        let (computer, whose) = match self.random.below(2) {
            0 => (&self.device, "d"),
            _ => (&self.server, "s"),
        };
        let id = format!("{whose}{}", self.random.below(5));
        if self.random.below(5) == 0 {
            let notes = computer.workspace.collection::<Note>().expect("the model is registered");
            notes.delete(id).await.expect("a note is deleted");
        } else {
            computer.put(&id, &self.writes.to_string()).await;
        }
    }

    async fn sync(&self) {
        let line = FlakyReplica::new(&self.server.workspace);
        let report = self.device.workspace.sync(&line).page_size(2).await.expect("it syncs");
        assert!(report.level && report.rejected.is_empty(), "seed {}: {report:?}", self.seed);
        assert_eq!(report.conflict_count(), 0, "seed {}", self.seed);
    }

    /// A sync in which the power fails.
    async fn cut_sync(&mut self) {
        let nth = 1 + self.random.below(4);
        let cut = match self.random.below(4) {
            0 => Cut::DeviceBefore,
            1 => Cut::DeviceAfter,
            2 => Cut::ServerAfter,
            _ => Cut::ServerAnswerLost,
        };
        let line = FlakyReplica::new(&self.server.workspace);
        for _ in 1..nth {
            line.before(Request::Exchange, || Box::pin(async {}));
            line.after(Request::Exchange, || Box::pin(async {}));
        }
        let (stop, stopped) = futures_channel::oneshot::channel::<()>();
        let down = line.clone();
        let hook = move || -> BoxFuture<'static, ()> {
            down.down(true);
            if cut != Cut::ServerAfter {
                // Nobody listens any more only where the test has failed already.
                let _ = stop.send(());
                return Box::pin(std::future::pending());
            }
            Box::pin(async {})
        };
        match cut {
            Cut::DeviceBefore => line.before(Request::Exchange, hook),
            _ => line.after(Request::Exchange, hook),
        }
        if !self.meets(&line, stopped).await {
            return;
        }
        self.cuts += 1;
        match cut {
            Cut::DeviceBefore | Cut::DeviceAfter => self.lose_power_of_device().await,
            Cut::ServerAfter => self.lose_power_of_server().await,
            Cut::ServerAnswerLost => {
                self.lose_power_of_server().await;
                // The device's power is on; its program was ended while it waited.
                self.device.begin(self.device.machine.clone()).await;
            }
        }
    }

    /// Syncs until it is stopped, or ends; says whether the line has met the cut.
    async fn meets(&self, line: &FlakyReplica, stopped: futures_channel::oneshot::Receiver<()>) -> bool {
        let stopped = async {
            // Where the hook is dropped unused, the sync ends by itself.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let sync = self.device.workspace.sync(line).page_size(2).into_future();
        match select(sync, pin!(stopped)).await {
            Either::Left((Ok(_), _)) => line.is_down(),
            Either::Left((Err(error), _)) => {
                assert_eq!(error.kind(), ErrorKind::Unreachable, "seed {}: {error}", self.seed);
                true
            }
            Either::Right(_) => true,
        }
    }

    async fn replicate(&mut self) {
        let mut replicate = Note::replicate(&self.server.workspace, &self.backup.workspace).page_size(2);
        if let Some(since) = self.since {
            replicate = replicate.since(since);
        }
        let report = replicate.await.expect("it replicates");
        assert!(report.level, "seed {}: {report:?}", self.seed);
        self.since = Some(report.checkpoints.source);
    }

    /// What the server has of the device was on the device's disk before it left.
    async fn lose_power_of_device(&mut self) {
        self.device.restart().await;
        self.assert_has_what_was_seen(&self.device, &[&self.server]).await;
    }

    /// What the device and the backup have of the server was on its disk, and so was what it acknowledged.
    async fn lose_power_of_server(&mut self) {
        let acknowledged = self.synced_of_device().await;
        self.server.restart().await;
        self.assert_has_what_was_seen(&self.server, &[&self.device, &self.backup]).await;
        let server = self.server.picture().await;
        for (name, revision) in acknowledged {
            let held = server.get(&name).map(|(revision, _)| *revision);
            assert_eq!(held, Some(revision), "seed {}: {name} was acknowledged and lost", self.seed);
        }
    }

    /// What the device wrote and believes the server to hold.
    async fn synced_of_device(&self) -> Vec<(String, Revision)> {
        let mut synced = Vec::new();
        for state in self.device.states().await {
            let Id::Text(id) = &state.change.id else { panic!("another kind of id") };
            let status = self.device.workspace.status::<Note>(id.as_str()).await.expect("a status");
            if id.starts_with('d') && status == Some(Status::Synced) {
                synced.push((state.change.name(), state.change.revision()));
            }
        }
        synced
    }

    async fn assert_has_what_was_seen(&self, writer: &Computer, others: &[&Computer]) {
        let me = writer.id().await;
        let mine: BTreeMap<_, _> =
            writer.states().await.into_iter().map(|state| (state.change.name(), state.change)).collect();
        for other in others {
            for change in other.states().await.into_iter().map(|state| state.change) {
                if change.revision().replica == me {
                    let held = mine.get(&change.name());
                    let held = held.is_some_and(|mine| mine.ancestry.holds(change.revision()));
                    assert!(held, "seed {}: {} was seen and lost", self.seed, change.name());
                }
            }
        }
    }

    async fn end(&mut self) {
        self.sync().await;
        self.replicate().await;
        let (device, server) = (self.device.picture().await, self.server.picture().await);
        assert_eq!(device, server, "seed {}", self.seed);
        assert_eq!(self.backup.picture().await, server, "seed {}: the backup misses something", self.seed);
    }
}

/// A device, a server and a backup write, sync, replicate and lose their power, also in the middle of a sync: nobody
/// has seen what is lost, nobody takes a new name for it, and in the end all hold the same.
#[test]
fn rule_durable_before_seen_over_random_histories() {
    let (mut cuts, first) = (0, SystemEnv.now() as u64);
    for seed in (0..150).chain(first..first + 150) {
        pollster::block_on(async {
            let mut world = World::new(seed).await;
            for _ in 0..60 {
                world.step().await;
            }
            world.end().await;
            cuts += world.cuts;
        });
    }
    assert!(cuts > 500, "only {cuts} syncs were cut");
}
