//! Two processes with one file, where each of them is at a certain point: one of them syncs a pair at a time, by a
//! lease that expires, and what one learns the other one knows.
//!
//! Two workspaces over one file stand for two processes, in one task, so that one can be run while the other is
//! stopped at a certain request or transaction. Real processes, and real kills, are in `two_processes.rs`.

mod parties;

use futures_util::future::{Either, select};
use parties::SqliteFile;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use sync_runtime::prelude::*;
use sync_runtime::replica::{Exchange, Pull};
use sync_runtime::store::{Access, Store, Work};
use sync_runtime::{
    BoxFuture, Caller, Checkpoint, Env, ErrorKind, ForeignKey, Models, Replica, ReplicaId, SystemEnv,
    Workspace,
};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;
use sync_testkit::flaky::{FlakyReplica, Request};
use sync_testkit::pairs::BentEnv;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Note", table = "note", methods = false)]
struct Note {
    #[sync(id)]
    id: String,
    text: String,
}

/// The time that a lease lasts, and a little more.
const LAPSE: Duration = Duration::from_secs(6);

/// Two processes of a device with one file, and a server.
struct World {
    one: Workspace,
    other: Workspace,
    server: Workspace,
    clocks: Clocks,
    file: SqliteFile,
}

/// The clocks of all three, which go together.
#[derive(Clone)]
struct Clocks {
    all: [BentEnv; 3],
}

impl Clocks {
    fn ahead(&self, time: Duration) {
        for clock in &self.all {
            clock.ahead(i64::try_from(time.as_micros()).expect("a short time"));
        }
    }
}

async fn open(file: &SqliteFile, env: &BentEnv) -> Workspace {
    file.open().await.model::<Note>().env(env.clone()).build().await.expect("the file opens")
}

impl World {
    async fn new() -> Self {
        let clocks = Clocks { all: [(); 3].map(|()| BentEnv::new(Arc::new(SystemEnv))) };
        // It waits for a lease in vain in some tests: that must not last.
        clocks.all[1].haste(1000);
        let file = SqliteFile::new();
        let one = open(&file, &clocks.all[0]).await;
        let other = open(&file, &clocks.all[1]).await;
        let server = Workspace::builder(MemoryStore::new()).model::<Note>().env(clocks.all[2].clone());
        let server = server.build().await.expect("the server opens");
        World { one, other, server, clocks, file }
    }

    /// Both processes and the server hold the same notes, under the names that they had, without a conflict.
    async fn assert_level(&self, count: usize, names: (ReplicaId, ReplicaId), when: &str) {
        let report = self.one.sync(&self.server).await.expect("the last sync succeeds");
        assert!(report.level && report.rejected.is_empty(), "{when}: {report:?}");
        assert_eq!(report.conflict_count(), 0, "{when}: {:?}", report.conflicts::<Note>());
        assert_eq!(notes(&self.one).await, notes(&self.server).await, "{when}");
        assert_eq!(notes(&self.one).await.len(), count, "{when}");
        assert_eq!(ids(&self.one, &self.server).await, names, "{when}: somebody took a new name");
    }
}

async fn ids(device: &Workspace, server: &Workspace) -> (ReplicaId, ReplicaId) {
    (device.id().await.expect("an id"), server.id().await.expect("an id"))
}

async fn notes(workspace: &Workspace) -> Vec<Note> {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    let mut found = notes.find(Query::all()).await.expect("notes are found");
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

async fn write(workspace: &Workspace, id: &str, text: &str) {
    let notes = workspace.collection::<Note>().expect("the model is registered");
    notes.upsert(Note { id: id.into(), text: text.into() }).await.expect("a note is saved");
}

/// Where a process is stopped: just before or just after its nth exchange was done by the peer.
#[derive(Debug, Clone, Copy)]
struct Stop {
    nth: usize,
    after: bool,
}

/// A line on which one process is stopped for longer than its lease, while the other one edits, if it does, and
/// syncs. What it came to is checked at the end, not here.
fn stopping(world: &World, stop: Stop, edit: bool) -> FlakyReplica {
    let line = FlakyReplica::new(&world.server);
    for _ in 1..stop.nth {
        match stop.after {
            true => line.after(Request::Exchange, || Box::pin(async {})),
            false => line.before(Request::Exchange, || Box::pin(async {})),
        }
    }
    let (other, server, clocks) = (world.other.clone(), world.server.clone(), world.clocks.clone());
    let meanwhile = move || -> BoxFuture<'static, ()> {
        Box::pin(async move {
            clocks.ahead(LAPSE);
            if edit {
                write(&other, "shared", "by the other").await;
                write(&other, "new", "by the other").await;
            }
            let report = other.sync(&server).await.expect("the lease ran out, so the other one syncs");
            assert!(report.level, "{report:?}");
        })
    };
    match stop.after {
        true => line.after(Request::Exchange, meanwhile),
        false => line.before(Request::Exchange, meanwhile),
    }
    line
}

/// A process that was stopped for longer than its lease (a suspended machine) goes on where another one has taken
/// over: its late page has no effect, its late answer is not taken twice, and nobody takes a new name for it.
#[test]
fn a_process_that_outlived_its_lease_does_no_harm() {
    for nth in 1..=4 {
        for after in [false, true] {
            for (pushes, edit) in [(true, true), (true, false), (false, true), (false, false)] {
                let stop = Stop { nth, after };
                let when = format!("{stop:?}, pushes {pushes}, the other edits {edit}");
                pollster::block_on(async {
                    let world = World::new().await;
                    write(&world.one, "shared", "begin").await;
                    world.one.sync(&world.server).await.expect("they meet");
                    let names = ids(&world.one, &world.server).await;
                    for number in 0..4 {
                        write(&world.server, &format!("s{number}"), "of the server").await;
                    }
                    if pushes {
                        for number in 0..4 {
                            write(&world.one, &format!("d{number}"), "of the device").await;
                        }
                    }
                    let line = stopping(&world, stop, edit);
                    if let Err(error) = world.one.sync(&line).page_size(1).await {
                        assert_eq!(error.kind(), ErrorKind::Busy, "{when}: {error}");
                        assert!(error.is_retryable(), "{when}: {error}");
                        assert!(error.to_string().contains("another process"), "{when}: {error}");
                    }
                    assert!(world.clocks.all[0].now() > SystemEnv.now(), "{when}: it was never stopped");
                    let count = 5 + if pushes { 4 } else { 0 } + usize::from(edit);
                    world.assert_level(count, names, &when).await;
                });
            }
        }
    }
}

/// A long sync of short requests keeps its lease all the time: nobody else gets in.
#[test]
fn a_sync_of_many_short_requests_keeps_its_lease() {
    for pushes in [true, false] {
        pollster::block_on(async {
            let world = World::new().await;
            write(&world.one, "first", "foo").await;
            world.one.sync(&world.server).await.expect("they meet");
            let writer = if pushes { &world.one } else { &world.server };
            for number in 0..8 {
                write(writer, &format!("{number}"), "foo").await;
            }
            let peer = world.server.id().await.expect("an id").to_string();
            let line = FlakyReplica::new(&world.server);
            for request in 1..=8 {
                let (other, server, clocks) =
                    (world.other.clone(), world.server.clone(), world.clocks.clone());
                let peer = peer.clone();
                line.before(Request::Exchange, move || {
                    Box::pin(async move {
                        clocks.ahead(Duration::from_secs(4 * request));
                        let error = other.sync(&server).await.expect_err("the pair is being synced");
                        assert_eq!(error.kind(), ErrorKind::Busy, "request {request}: {error}");
                        assert!(error.to_string().contains(&peer), "{error}");
                        assert!(error.to_string().contains("its lease ends in"), "{error}");
                    })
                });
            }
            let report = world.one.sync(&line).page_size(1).await.expect("it keeps its lease");
            assert!(report.level && report.requests >= 8, "{report:?}");
            // At the end it is given back at once.
            world.other.sync(&world.server).await.expect("nobody syncs the pair any more");
        });
    }
}

/// The lease of a sync that was cut off goes on until it runs out, and not longer.
#[test]
fn a_lease_that_nobody_gives_back_runs_out() {
    pollster::block_on(async {
        let world = World::new().await;
        write(&world.one, "1", "foo").await;
        let line = FlakyReplica::new(&world.server);
        line.before(Request::Exchange, || Box::pin(std::future::pending()));
        let cut = SystemEnv.sleep(Duration::from_millis(50));
        match select(world.one.sync(&line).into_future(), cut).await {
            Either::Left((done, _)) => panic!("the peer never answers, but {done:?}"),
            Either::Right(((), sync)) => drop(sync),
        }

        let error = world.other.sync(&world.server).await.expect_err("the lease stands");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        world.clocks.ahead(LAPSE);
        let report = world.other.sync(&world.server).await.expect("it ran out");
        assert_eq!(report.pushed, 1);
        assert_eq!(notes(&world.server).await.len(), 1);
    });
}

/// One process learned from the server that the clock of their machine is wrong, and took a new name. The other one
/// learns it from the file: what it writes gives no reason for another new name.
#[test]
fn a_corrected_clock_is_known_to_all_processes() {
    pollster::block_on(async {
        let world = World::new().await;
        write(&world.other, "1", "foo").await;
        world.one.sync(&world.server).await.expect("they meet");
        let fast = Duration::from_secs(3600);
        for clock in &world.clocks.all[..2] {
            clock.ahead(fast.as_micros() as i64);
        }
        write(&world.one, "2", "foo").await;
        world.one.sync(&world.server).await.expect("the clock is corrected");
        let names = ids(&world.one, &world.server).await;
        for round in 1..=3 {
            for clock in &world.clocks.all[..2] {
                clock.ahead((fast + Duration::from_secs(2 * round)).as_micros() as i64);
            }
            write(&world.other, "1", &format!("of the other, {round}")).await;
            world.one.sync(&world.server).await.expect("it syncs");
        }
        world.assert_level(2, names, "after the other one wrote").await;
    });
}

/// After how many transactions what is done.
type Plan = (usize, BoxFuture<'static, ()>);

/// A store over a file that lets another process go first, once, after so many of its transactions. Clones are the
/// same.
#[derive(Clone)]
struct Interrupted {
    inner: SqlStore,
    plan: Arc<Mutex<Option<Plan>>>,
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interrupted").field(&self.inner).finish()
    }
}

impl Interrupted {
    async fn new(file: &SqliteFile) -> Self {
        let inner = SqlStore::open(&file.url()).await.expect("the file opens");
        Interrupted { inner, plan: Arc::default() }
    }

    fn after(&self, transactions: usize, meanwhile: BoxFuture<'static, ()>) {
        *self.plan.lock().expect("a plan") = Some((transactions, meanwhile));
    }

    fn is_done(&self) -> bool {
        self.plan.lock().expect("a plan").is_none()
    }

    /// What is to be done after one more transaction.
    fn due(&self) -> Option<BoxFuture<'static, ()>> {
        let mut plan = self.plan.lock().expect("a plan");
        let (left, meanwhile) = plan.take()?;
        if left == 1 {
            return Some(meanwhile);
        }
        *plan = Some((left - 1, meanwhile));
        None
    }
}

#[sync_runtime::async_trait]
impl Store for Interrupted {
    async fn prepare(&self, models: &Models, fresh: ReplicaId) -> sync_runtime::Result<()> {
        self.inner.prepare(models, fresh).await
    }

    async fn foreign_keys(&self, models: &Models) -> sync_runtime::Result<Vec<ForeignKey>> {
        self.inner.foreign_keys(models).await
    }

    async fn run(&self, access: Access, work: Work) -> sync_runtime::Result<()> {
        let done = self.inner.run(access, work).await;
        if let Some(meanwhile) = self.due() {
            meanwhile.await;
        }
        done
    }

    async fn version(&self) -> sync_runtime::Result<u64> {
        self.inner.version().await
    }
}

async fn former_names(workspace: &Workspace) -> usize {
    let description = Replica::describe(workspace.engine(), &Caller::owner()).await;
    description.expect("it describes itself").former.len()
}

/// Two processes find at once that the history of their file broke: it takes one new name, not two.
#[test]
fn a_broken_history_is_found_by_two_processes_and_mended_once() {
    for after in 1..=4 {
        pollster::block_on(async {
            let file = SqliteFile::new();
            let device = file.open().await.model::<Note>().build().await.expect("the file opens");
            write(&device, "1", "foo").await;
            let server = Workspace::builder(MemoryStore::new()).model::<Note>().build();
            device.sync(&server.await.expect("the server opens")).await.expect("it syncs");
            // What the server acknowledged stands above the newest change: the last commits are lost.
            file.run("DELETE FROM sync_change");
            let url = file.url();
            let other = Box::pin(async move {
                let store = SqlStore::open(&url).await.expect("the file opens");
                Workspace::builder(store).model::<Note>().build().await.expect("the other one opens it");
            });
            let store = Interrupted::new(&file).await;
            store.after(after, other);
            let one =
                Workspace::builder(store.clone()).model::<Note>().build().await.expect("this one opens it");
            assert!(store.is_done(), "opening takes fewer than {after} transactions");
            assert_eq!(former_names(&one).await, 1, "after {after} transactions");
        });
    }
}

/// Two processes that serve one file are both shown a checkpoint above the newest: it takes one new name, not two.
#[test]
fn a_checkpoint_above_the_newest_is_shown_to_two_processes() {
    for calls_changes in [true, false] {
        pollster::block_on(async {
            let file = SqliteFile::new();
            let other = file.open().await.model::<Note>().build().await.expect("the file opens");
            let me = other.id().await.expect("an id");
            let ask = move |server: Workspace| async move {
                let since = Some(Checkpoint::new(me, 1000));
                let models = server.engine().models().clone();
                let pull = Pull { since, limit: 10, ..Pull::of(models) };
                if calls_changes {
                    Replica::changes(server.engine(), &Caller::owner(), pull).await.expect("an answer");
                } else {
                    let from = ReplicaId(uuid::Uuid::from_u128(7));
                    let exchange = Exchange { from, to: me, push: None, pull: Some(pull) };
                    Replica::exchange(server.engine(), &Caller::owner(), exchange).await.expect("an answer");
                }
            };
            let store = Interrupted::new(&file).await;
            let one = Workspace::builder(store.clone()).model::<Note>().build().await;
            let one = one.expect("the file opens");
            // The transaction that finds it out is the first one, or comes after a look at how much there is to read.
            store.after(if calls_changes { 1 } else { 2 }, Box::pin(ask(other)));
            ask(one.clone()).await;
            assert!(store.is_done(), "the other one was asked");
            assert_ne!(one.id().await.expect("an id"), me);
            assert_eq!(former_names(&one).await, 1);
        });
    }
}

/// A note in conflict at the first process: its text was edited there and at the server.
async fn torn(world: &World) {
    write(&world.one, "1", "start").await;
    world.one.sync(&world.server).await.expect("the sync succeeds");
    write(&world.one, "1", "of one").await;
    write(&world.server, "1", "of the server").await;
    assert_eq!(world.one.sync(&world.server).await.expect("the sync succeeds").conflict_count(), 1);
}

/// Both processes see one conflict; the one that decides second is told that it moved, and overwrites nothing.
#[test]
fn a_conflict_is_resolved_once_by_two_processes() {
    pollster::block_on(async {
        let world = World::new().await;
        torn(&world).await;
        let first = world.one.conflicts::<Note>().await.expect("conflicts are read").remove(0);
        let second = world.other.conflicts::<Note>().await.expect("conflicts are read").remove(0);
        first.resolve_using_target().await.expect("it is resolved");
        assert_eq!(second.resolve_using_source().await.expect_err("it is gone").kind(), ErrorKind::Moved);
        let text = world.other.collection::<Note>().expect("a model").get("1").await.expect("a note is read");
        assert_eq!(text.map(|note| note.text).as_deref(), Some("of the server"));
    });
}

/// A conflict about a record that was deleted since it was read is told to have moved; read again, it can be resolved.
#[test]
fn a_conflict_of_a_record_that_is_gone() {
    pollster::block_on(async {
        let world = World::new().await;
        torn(&world).await;
        let conflict = world.one.conflicts::<Note>().await.expect("conflicts are read").remove(0);
        world.other.collection::<Note>().expect("a model").delete("1").await.expect("a note is deleted");
        assert_eq!(conflict.resolve_using_source().await.expect_err("it is gone").kind(), ErrorKind::Moved);
        let conflict = world.one.conflicts::<Note>().await.expect("conflicts are read").remove(0);
        assert_eq!((conflict.source(), conflict.kind()), (None, sync_runtime::ConflictKind::Delete));
        conflict.resolve_using_source().await.expect("it is resolved");
        world.one.sync(&world.server).await.expect("the sync succeeds");
        assert_eq!(notes(&world.server).await, []);
    });
}

/// A base that cannot be read, as one of an older schema, is none: the conflict is shown and resolved without it.
#[test]
fn a_base_that_cannot_be_read_is_none() {
    pollster::block_on(async {
        let world = World::new().await;
        torn(&world).await;
        let conflict = world.one.conflicts::<Note>().await.expect("conflicts are read").remove(0);
        assert_eq!(conflict.base().map(|note| note.text.as_str()), Some("start"));
        world.file.run(
            "UPDATE sync_note SET value = CAST(json_set(CAST(value AS TEXT), '$.base.data.text', 7) AS BLOB)
             WHERE room = 'parked'",
        );
        let conflict = world.one.conflicts::<Note>().await.expect("conflicts are read").remove(0);
        assert_eq!(conflict.base(), None);
        assert_eq!(conflict.fields(), [NoteField::Text]);
        conflict.resolve_using_target().await.expect("it is resolved");
        world.one.sync(&world.server).await.expect("the sync succeeds");
        assert_eq!(notes(&world.one).await, notes(&world.server).await);
    });
}

/// What nobody edited costs no row for a base, and none in the inbox.
#[test]
fn an_untouched_record_costs_nothing_for_merging() {
    pollster::block_on(async {
        let world = World::new().await;
        let here = world.one.collection::<Note>().expect("a model");
        let notes = (0..50).map(|n| Note { id: format!("{n}"), text: "start".into() });
        here.upsert_all(notes.collect::<Vec<_>>()).await.expect("notes are made");
        let there = world.server.collection::<Note>().expect("a model");
        there
            .create(Note { id: "of the server".into(), text: "start".into() })
            .await
            .expect("a note is made");
        world.one.sync(&world.server).await.expect("the sync succeeds");
        let rows = |table: &str, condition: &str| -> i64 {
            let sql = rusqlite::Connection::open(world.file.path()).expect("the file opens");
            let count = format!("SELECT count(*) FROM {table} WHERE {condition}");
            sql.query_row(&count, [], |row| row.get(0)).expect("rows are counted")
        };
        assert_eq!(rows("sync_base_note", "1"), 0);
        assert_eq!(rows("sync_note", "room = 'parked'"), 0);
        assert_eq!(rows("sync_change", "stamps IS NOT NULL OR unknown IS NOT NULL OR merged IS NOT NULL"), 0);
        // The base of an edit goes when the peer has acknowledged it.
        here.update("7", |note| note.text = "edited".into()).await.expect("a note is saved");
        assert_eq!(rows("sync_base_note", "1"), 1);
        world.one.sync(&world.server).await.expect("the sync succeeds");
        assert_eq!(rows("sync_base_note", "1"), 0);
    });
}
