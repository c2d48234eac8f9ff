//! A server's database is put back to a backup, by PostgreSQL's own programs, after devices had synced 500 edits more:
//! they notice, and bring back what it lost, over HTTP and with the rights that this takes. And a device that was wiped
//! starts clean.

#[path = "../../sync-store-sql/tests/common/cluster.rs"]
mod cluster;
mod parties;

use cluster::{Cluster, done};
use parties::SqliteFile;
use std::collections::BTreeMap;
use std::process::Command;
use sync_http::{HttpReplica, Policy, Refusal, serve, sync_router};
use sync_runtime::prelude::*;
use sync_runtime::replica::{Pull, Pulled, Replica};
use sync_runtime::{Caller, ReplicaId, Right, SyncReport, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;

const DEVICES: usize = 3;
/// What is there before the backup.
const BEFORE: usize = 30;
/// What is edited after it.
const EDITS: usize = 500;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Task {
    #[sync(id)]
    id: String,
    title: String,
    #[sync(merge = "sum")]
    votes: i64,
}

/// The bearer token is the name of the device.
struct Names;

#[sync_runtime::async_trait]
impl Policy for Names {
    async fn caller(&self, request: &axum::http::request::Parts) -> Result<Caller, Refusal> {
        let given = request.headers.get("authorization").and_then(|value| value.to_str().ok());
        let name = given.and_then(|value| value.strip_prefix("Bearer "));
        let name = name.ok_or_else(|| Refusal::unauthorized("sign in first"))?;
        let right = if name.ends_with("who writes") { Right::Write } else { Right::Replicate };
        Ok(Caller::named(name).with(right))
    }
}

/// A server over a database.
struct Server {
    workspace: Workspace,
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn open(database: &str) -> Self {
        let store = SqlStore::open(database).await.expect("the database opens");
        let workspace = Workspace::builder(store).model::<Task>().build().await.expect("a workspace");
        let app = axum::Router::new().nest("/sync", sync_router(workspace.clone(), Names));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/sync", listener.local_addr().expect("an address"));
        let task = tokio::spawn(async move { serve(listener, app).await.expect("it serves") });
        Server { workspace, url, task }
    }

    fn close(self) {
        self.workspace.close();
        self.task.abort();
    }

    async fn id(&self) -> ReplicaId {
        self.workspace.id().await.expect("a name")
    }

    fn for_caller(&self, name: &str) -> HttpReplica {
        HttpReplica::builder(&self.url).token(name).build().expect("a URL")
    }
}

/// A device with its user's edits.
struct Device {
    name: String,
    workspace: Workspace,
    made: usize,
}

impl Device {
    async fn open(name: &str, database: Option<&str>) -> Self {
        let builder = match database {
            Some(url) => Workspace::builder(SqlStore::open(url).await.expect("the file opens")),
            None => Workspace::builder(MemoryStore::new()),
        };
        let workspace = builder.model::<Task>().build().await.expect("a workspace");
        Device { name: name.to_owned(), workspace, made: 0 }
    }

    /// Makes records, edits and deletes its own, and votes for the one that all have.
    async fn edit(&mut self) {
        let tasks = self.workspace.collection::<Task>().expect("registered");
        let own = |number: usize| format!("{} {number}", self.name);
        let number = self.made;
        self.made += 1;
        let back = |by: usize| own(number.saturating_sub(by));
        match number % 5 {
            3 => {
                let title = format!("edited at {number}");
                tasks.update(back(2), |task| task.title.clone_from(&title)).await.expect("saved");
            }
            4 => match number % 2 {
                0 => assert!(tasks.delete(back(4)).await.expect("deleted")),
                _ => drop(tasks.update("shared".to_owned(), |task| task.votes += 1).await.expect("saved")),
            },
            _ => {
                let task = Task { id: own(number), title: "made".into(), votes: 1 };
                tasks.create(task).await.expect("made");
            }
        }
    }

    async fn sync(&self, server: &Server) -> SyncReport {
        let peer = server.for_caller(&self.name);
        let report = self.workspace.sync(&peer).await.expect("the sync succeeds");
        assert_eq!(report.rejected, vec![], "{} had something refused", self.name);
        assert_eq!(report.conflict_count(), 0, "{} has a conflict: {report:?}", self.name);
        report
    }
}

async fn to_quiet(devices: &[Device], server: &Server) {
    for _ in 0..10 {
        let mut moved = 0;
        for device in devices {
            let report = device.sync(server).await;
            moved += report.pushed + report.pulled + usize::from(!report.level);
        }
        if moved == 0 {
            return;
        }
    }
    panic!("they never come to rest");
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
            let record = update.state.record.as_ref().map(|record| Task::from_record(record.clone()));
            picture.insert(change.name(), format!("{} {ancestry:?} {record:?}", change.revision()));
        }
        if !feed.more {
            return picture;
        }
        since = Some(feed.checkpoint);
    }
}

async fn tasks(workspace: &Workspace) -> BTreeMap<String, Task> {
    let found = workspace.collection::<Task>().expect("registered").find(Query::all()).await.expect("tasks");
    found.into_iter().map(|task| (task.id.clone(), task)).collect()
}

/// How the backup is made and put back.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// `pg_basebackup` in the place of the data, and the server starts anew.
    InPlace,
    /// The same under a server that goes on.
    UnderAnOpenServer,
    /// `pg_dump` into a new cluster.
    Dump,
    /// In place; before anybody else comes back, a new device writes so much that the positions of the time that was lost
    /// are given out again. Nothing but the pages that the others pushed gives it away then.
    PositionsGivenOutAgain,
    /// The same, and whoever restored it said so. A device that only read has pushed no page.
    Told,
}

impl How {
    fn positions_come_again(self) -> bool {
        matches!(self, How::PositionsGivenOutAgain | How::Told)
    }
}

fn restored(how: How) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let cluster = Cluster::new();
        let mut server = Server::open(&cluster.url()).await;
        let file = SqliteFile::new();
        let mut devices = Vec::new();
        for number in 0..DEVICES {
            let file = (number == 0).then(|| file.url());
            devices.push(Device::open(&format!("device {number}"), file.as_deref()).await);
        }
        let shared = Task { id: "shared".into(), title: "voted for by all".into(), votes: 0 };
        devices[0].workspace.collection::<Task>().expect("registered").create(shared).await.expect("made");
        to_quiet(&devices, &server).await;
        for number in 0..BEFORE {
            devices[number % DEVICES].edit().await;
        }
        to_quiet(&devices, &server).await;

        let (backup, dump) = match how {
            How::Dump => {
                (None, Some(done(Command::new("pg_dump").args([&cluster.url(), "--no-owner"])).stdout))
            }
            _ => (Some(cluster.backup()), None),
        };
        let (name, before) = (server.id().await, tasks(&server.workspace).await);
        for number in 0..EDITS {
            let device = &mut devices[number % DEVICES];
            device.edit().await;
            if number % 23 == 0 {
                device.sync(&server).await;
            }
        }
        to_quiet(&devices, &server).await;
        if how != How::PositionsGivenOutAgain {
            let reader = Device::open("a device that reads", None).await;
            reader.sync(&server).await;
            devices.push(reader);
        }
        let expected = tasks(&server.workspace).await;
        let votes = expected["shared"].votes;
        assert!(expected.len() > before.len() + EDITS / 3 && votes > before["shared"].votes, "much happened");

        let fresh;
        match (backup, dump) {
            (Some(backup), _) if how == How::UnderAnOpenServer => cluster.restore(backup),
            (Some(backup), _) => {
                server.close();
                cluster.restore(backup);
                server = Server::open(&cluster.url()).await;
            }
            (None, dump) => {
                server.close();
                fresh = Cluster::new();
                let dump = dump.expect("a dump");
                let script = format!("{}.sql", fresh.folder.display());
                std::fs::write(&script, dump).expect("a file");
                done(Command::new("psql").args([&fresh.url(), "-Xqv", "ON_ERROR_STOP=1", "-f", &script]));
                std::fs::remove_file(&script).expect("removed");
                server = Server::open(&fresh.url()).await;
            }
        }
        assert_eq!(tasks(&server.workspace).await, before, "the database is as it was");

        if how == How::Told {
            server.workspace.restored().await.expect("it takes a new name");
        }
        let mut more = BTreeMap::new();
        if how.positions_come_again() {
            let mut late = Device::open("a new device", None).await;
            late.sync(&server).await;
            let new = late.workspace.collection::<Task>().expect("registered");
            for number in 0..EDITS * 2 {
                let task = Task { id: format!("late {number}"), title: "late".into(), votes: 0 };
                new.create(task.clone()).await.expect("made");
                more.insert(task.id.clone(), task);
                late.made += 1;
            }
            late.sync(&server).await;
            devices.push(late);
        }
        to_quiet(&devices, &server).await;
        if how != How::PositionsGivenOutAgain {
            assert_ne!(server.id().await, name, "a new name for a new history");
        }
        let expected: BTreeMap<String, Task> = expected.into_iter().chain(more).collect();
        let there = tasks(&server.workspace).await;
        let lost: Vec<_> = expected.iter().filter(|(id, task)| there.get(*id) != Some(task)).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {:?}", lost.len(), expected.len(), lost.first());
        assert_eq!(there.len(), expected.len(), "what was deleted stays so");
        let level = picture(&server.workspace).await;
        for device in &devices {
            assert_eq!(picture(&device.workspace).await, level, "{} differs from the server", device.name);
        }
        server.close();
    });
}

#[test]
fn a_restored_base_backup_gets_back_what_it_lost() {
    restored(How::InPlace);
}

#[test]
fn a_base_backup_restored_under_an_open_server_gets_back_what_it_lost() {
    restored(How::UnderAnOpenServer);
}

#[test]
fn a_restored_dump_gets_back_what_it_lost() {
    restored(How::Dump);
}

#[test]
fn a_restore_is_noticed_after_its_positions_were_given_out_again() {
    restored(How::PositionsGivenOutAgain);
}

#[test]
fn a_restore_that_was_told_of_is_noticed_by_whoever_only_reads() {
    restored(How::Told);
}

#[test]
fn a_wiped_device_starts_clean() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let cluster = Cluster::new();
        let server = Server::open(&cluster.url()).await;
        let (file, other) = (SqliteFile::new(), SqliteFile::new());
        // It has no more rights than a device of a user.
        let name = "a device who writes";
        let mut phone = Device::open(name, Some(&file.url())).await;
        let shared = Task { id: "shared".into(), title: "voted for".into(), votes: 0 };
        phone.workspace.collection::<Task>().expect("registered").create(shared).await.expect("made");
        for _ in 0..50 {
            phone.edit().await;
        }
        phone.sync(&server).await;
        let (was, expected) = (phone.workspace.id().await.expect("a name"), tasks(&server.workspace).await);
        assert!(expected.len() > 20);
        phone.workspace.close();
        drop(file);

        let mut phone = Device { made: phone.made, ..Device::open(name, Some(&other.url())).await };
        assert_ne!(phone.workspace.id().await.expect("a name"), was, "another store, another name");
        let report = phone.sync(&server).await;
        assert_eq!(report.pushed, 0, "it has nothing to say");
        assert_eq!(tasks(&phone.workspace).await, expected, "it has what the server has");
        assert_eq!(tasks(&server.workspace).await, expected, "the server lost nothing");
        for _ in 0..50 {
            phone.edit().await;
        }
        to_quiet(std::slice::from_ref(&phone), &server).await;
        assert_eq!(picture(&phone.workspace).await, picture(&server.workspace).await);
        assert!(tasks(&server.workspace).await.len() > expected.len());
        server.close();
    });
}
