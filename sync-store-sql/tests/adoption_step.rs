//! Adopting the rows of a database that somebody else made and filled: `Workspace::adopt`.

#![allow(clippy::unwrap_used)]

mod common;

use common::Folder;
use pollster::block_on;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use sync_runtime::prelude::*;
use sync_runtime::{Adopted, ErrorKind, Workspace, WorkspaceBuilder};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;

/// Named so that it comes after its children by name.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "person", adopt)]
struct Singer {
    #[sync(id)]
    id: i64,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(adopt)]
struct Album {
    #[sync(id)]
    id: String,
    title: String,
    #[sync(parent = Singer)]
    singer: Option<i64>,
}

const SINGERS: i64 = 2_350;
const ALBUMS: i64 = 1_200;

/// A file with rows of somebody else.
fn filled() -> Folder {
    let folder = Folder::new();
    let mut sql = connection(&folder);
    let tx = sql.transaction().unwrap();
    tx.execute_batch(
        "CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE album(id TEXT PRIMARY KEY, title TEXT NOT NULL, singer INTEGER REFERENCES person(id))",
    )
    .unwrap();
    for n in 1..=SINGERS {
        tx.execute("INSERT INTO person VALUES (?1, ?2)", (n * 3, format!("singer {n}"))).unwrap();
    }
    for n in 1..=ALBUMS {
        let row = (format!("a{n}"), format!("album {n}"), (n % 3 > 0).then_some(n * 3));
        tx.execute("INSERT INTO album VALUES (?1, ?2, ?3)", row).unwrap();
    }
    tx.commit().unwrap();
    folder
}

fn connection(folder: &Folder) -> Connection {
    let sql = Connection::open(folder.file()).unwrap();
    sql.busy_timeout(Duration::from_secs(5)).unwrap();
    sql
}

fn with_models(builder: WorkspaceBuilder) -> Workspace {
    block_on(builder.model::<Singer>().model::<Album>().build()).expect("the workspace opens")
}

fn open(folder: &Folder) -> Workspace {
    with_models(Workspace::builder(block_on(SqlStore::open(&folder.url())).expect("the file opens")))
}

fn in_memory() -> Workspace {
    with_models(Workspace::builder(MemoryStore::new()))
}

/// Every record, in short.
fn all(workspace: &Workspace) -> BTreeMap<String, String> {
    let singers = block_on(workspace.collection::<Singer>().unwrap().find(Query::all())).unwrap();
    let albums = block_on(workspace.collection::<Album>().unwrap().find(Query::all())).unwrap();
    let singers = singers.into_iter().map(|singer| (format!("singer {}", singer.id), format!("{singer:?}")));
    singers
        .chain(albums.into_iter().map(|album| (format!("album {}", album.id), format!("{album:?}"))))
        .collect()
}

/// Syncs to an empty replica, which then has all there is.
fn assert_syncs(workspace: &Workspace) -> BTreeMap<String, String> {
    let device = in_memory();
    let report = block_on(device.sync(workspace).into_future()).expect("it syncs");
    assert!(report.level && report.rejected.is_empty() && report.conflict_count() == 0, "{report:?}");
    let found = all(&device);
    assert_eq!(found, all(workspace), "everything arrived");
    found
}

/// Adopts, and gives what was told of it.
fn adopt_for(workspace: &Workspace, batches: usize) -> (u64, Vec<Adopted>) {
    let mut told = Vec::new();
    let adoption = workspace.adopt().progress(|step| {
        told.push(*step);
        if told.len() == batches { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let tracked = block_on(adoption.into_future()).expect("it adopts");
    (tracked, told)
}

fn tracked(folder: &Folder) -> i64 {
    folder.value("SELECT count(*) FROM sync_change")
}

fn short(told: &[Adopted]) -> Vec<(&'static str, u64, u64)> {
    told.iter().map(|step| (step.model, step.rows, step.total)).collect()
}

/// The same table, of which the struct does not say that it may be somebody else's.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(model = "Singer", table = "person", methods = false)]
struct OwnSinger {
    #[sync(id)]
    id: i64,
    name: String,
}

#[test]
fn a_table_of_others_is_used_only_where_that_is_allowed() {
    let with_own = async |adopt: bool, folder: &Folder| {
        let store = SqlStore::builder(&folder.url()).adopt(adopt).open().await?;
        Workspace::builder(store).model::<OwnSinger>().build().await
    };
    for by_the_model in [true, false] {
        let folder = filled();
        let error = block_on(with_own(false, &folder)).expect_err("it is somebody else's");
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
        let text = error.to_string();
        for part in ["`person`", "another program made it", "`#[sync(adopt)]`", "`SqlStoreBuilder::adopt`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let made: i64 = folder.value("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'sync%'");
        assert_eq!(made, 0, "nothing was made in somebody else's database");
        match by_the_model {
            true => drop(open(&folder)),
            false => drop(block_on(with_own(true, &folder)).expect("it was allowed for all models")),
        }
        // Once it is the store's, it is no longer somebody else's.
        block_on(with_own(false, &folder)).expect("it is known");
    }
}

#[test]
fn all_rows_are_tracked_in_batches_parents_first() {
    let folder = filled();
    let workspace = open(&folder);
    assert_eq!(tracked(&folder), 0, "opening tracks nothing by itself");
    let (count, told) = adopt_for(&workspace, usize::MAX);
    assert_eq!(count, (SINGERS + ALBUMS).unsigned_abs());
    let expected = [
        ("Singer", 100, 2_350),
        ("Singer", 1_100, 2_350),
        ("Singer", 2_100, 2_350),
        ("Singer", 2_350, 2_350),
        ("Album", 100, 1_200),
        ("Album", 1_100, 1_200),
        ("Album", 1_200, 1_200),
    ];
    assert_eq!(short(&told), expected);
    assert_eq!(assert_syncs(&workspace).len(), 3_550);
    let groups: i64 = folder.value("SELECT count(DISTINCT grp) FROM sync_change");
    assert_eq!(groups, 7, "each batch is a transaction of its own");
}

#[test]
fn a_second_time_there_is_nothing_to_do() {
    let folder = filled();
    let workspace = open(&folder);
    adopt_for(&workspace, usize::MAX);
    let newest = block_on(workspace.current_checkpoint()).unwrap();
    assert_eq!(adopt_for(&workspace, usize::MAX), (0, vec![]));
    assert_eq!(block_on(workspace.adopt().into_future()).expect("it adopts"), 0);
    assert_eq!(adopt_for(&open(&folder), usize::MAX), (0, vec![]), "after a restart too");
    assert_eq!(block_on(workspace.current_checkpoint()).unwrap(), newest);
}

#[test]
fn it_goes_on_where_it_was_ended() {
    let folder = filled();
    let (first, told) = adopt_for(&open(&folder), 2);
    assert_eq!((first, short(&told)), (1_100, vec![("Singer", 100, 2_350), ("Singer", 1_100, 2_350)]));
    assert_eq!(tracked(&folder), 1_100);
    let workspace = open(&folder);
    let (second, told) = adopt_for(&workspace, 4);
    assert_eq!(second, 1_250 + 100);
    assert_eq!(short(&told)[..2], [("Singer", 1_200, 2_350), ("Singer", 2_200, 2_350)]);
    assert_eq!(adopt_for(&workspace, usize::MAX).0, 1_100);
    assert_eq!(assert_syncs(&workspace).len(), 3_550);
}

/// Runs a future for so many polls, then drops it as it stands.
fn dropped_after<F: IntoFuture>(future: F, polls: usize) -> bool {
    let mut future = pin!(future.into_future());
    for _ in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

#[test]
fn dropped_anywhere_nothing_is_lost_and_nothing_twice() {
    let folder = filled();
    let mut polls = 1;
    while dropped_after(open(&folder).adopt(), polls) {
        polls += 1;
        assert!(polls < 1_000, "it comes to its end");
    }
    assert!(polls > 3, "it was dropped on its way: {polls}");
    // A transaction that was begun runs to its end whatever became of its caller.
    let workspace = open(&folder);
    let end = Instant::now() + Duration::from_secs(10);
    while block_on(workspace.adopt().into_future()).expect("it adopts") > 0 {
        assert!(Instant::now() < end);
    }
    assert_eq!(tracked(&folder), SINGERS + ALBUMS);
    let positions: i64 = folder.value("SELECT max(position) FROM sync_change");
    assert_eq!(positions, SINGERS + ALBUMS, "no row got a change twice");
    assert_eq!(assert_syncs(&workspace).len(), 3_550);
}

#[test]
fn two_stores_adopt_one_file_together() {
    let folder = filled();
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let adopters: Vec<_> = (0..2)
            .map(|_| {
                let workspace = open(&folder);
                scope.spawn(move || adopt_for(&workspace, usize::MAX).0)
            })
            .collect();
        adopters.into_iter().map(|adopter| adopter.join().unwrap()).collect()
    });
    assert_eq!(counts.iter().sum::<u64>(), 3_550, "{counts:?}");
    let positions: i64 = folder.value("SELECT max(position) FROM sync_change");
    assert_eq!(positions, 3_550, "no row got a change twice");
    assert_eq!(assert_syncs(&open(&folder)).len(), 3_550);
}

#[test]
fn other_writers_come_in_between_and_what_they_write_stays() {
    let folder = filled();
    let workspace = open(&folder);
    let other = connection(&folder);
    // Nobody waits: between batches no lock is held.
    other.busy_timeout(Duration::ZERO).unwrap();
    let singers = workspace.collection::<Singer>().unwrap();
    let mut batch = 0;
    let adoption = workspace.adopt().progress(move |step| {
        batch += 1;
        if step.model == "Singer" {
            // One row that is adopted already, and one that is not yet, in each way to write.
            for id in [batch * 3, 7_050 - batch * 3] {
                let update = other.execute("UPDATE person SET name = 'edited' WHERE id = ?1", [id]);
                assert_eq!(update.expect("nobody holds the file"), 1);
            }
            other.execute("DELETE FROM person WHERE id = ?1", [6_900 - batch * 3]).unwrap();
            other.execute("INSERT INTO person VALUES (?1, 'new')", [20_000 + batch]).unwrap();
            let new = Singer { id: 30_000 + batch, name: "by the library".into() };
            block_on(singers.create(new)).expect("a singer is made");
        }
        ControlFlow::Continue(())
    });
    let count = block_on(adoption.into_future()).expect("it adopts");
    // 4 batches of singers, each of which wrote to two rows that were not adopted yet; the last came too late.
    let changed_first = i64::try_from(count).unwrap();
    assert!((3_550 - 8..3_550).contains(&changed_first), "{count}");
    let found = assert_syncs(&workspace);
    assert_eq!(found.len(), 3_550 + 4);
    let edited = found.values().filter(|singer| singer.contains("edited")).count();
    assert_eq!(edited, 8);
    assert!(!found.contains_key("singer 6897"), "a deleted row does not come back");
}

#[test]
fn a_row_that_is_no_record_is_named_and_the_batches_before_it_stand() {
    let folder = filled();
    let sql = connection(&folder);
    sql.execute("UPDATE person SET name = x'ff' WHERE id = 4500", []).unwrap();
    let workspace = open(&folder);
    let error = block_on(workspace.adopt().into_future()).expect_err("no text");
    assert!(error.to_string().contains("adopting the rows of Singer"), "{error}");
    assert!(error.to_string().contains("4500"), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidValue, "{error}");
    assert_eq!(tracked(&folder), 1_100);
    sql.execute("UPDATE person SET name = 'mended' WHERE id = 4500", []).unwrap();
    assert_eq!(block_on(workspace.adopt().into_future()).expect("it adopts"), 3_550 - 1_100 - 1);
    assert_eq!(assert_syncs(&workspace).len(), 3_550);
}

#[test]
fn large_rows_make_small_batches() {
    let folder = Folder::new();
    let sql = connection(&folder);
    sql.execute_batch("CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT NOT NULL)").unwrap();
    for n in 0..150 {
        sql.execute("INSERT INTO person VALUES (?1, ?2)", (n, "x".repeat(100_000))).unwrap();
    }
    let told = adopt_for(&open(&folder), usize::MAX).1;
    let rows: Vec<u64> = told.iter().filter(|step| step.model == "Singer").map(|step| step.rows).collect();
    assert_eq!(rows, [100, 131, 150]);
}
