//! What the library keeps of each scope, spread over partitions by scope: a pull of one scope reads one of them.

#![cfg(feature = "postgres")]

#[path = "common/postgres.rs"]
mod postgres;

use postgres::{RUNTIME, Schema};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use sync_runtime::prelude::*;
use sync_runtime::replica::{Exchange, Pull, Pulled, Replica};
use sync_runtime::{Caller, Checkpoint, ReplicaId, Right, Workspace};
use sync_store_sql::SqlStore;
use tokio::time::sleep;

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Sheet {
    #[sync(id)]
    id: i64,
    #[sync(scope)]
    project: String,
}

const PARTITIONS: u16 = 64;
const PROJECTS: i64 = 200;
const SHEETS: i64 = 1_000;

async fn open(schema: &Schema) -> Workspace {
    let url = format!("{}&application_name={}", schema.url(), schema.0);
    let store = SqlStore::builder(&url).partitions(PARTITIONS).open().await.expect("the database opens");
    Workspace::builder(store).model::<Sheet>().build().await.expect("the workspace opens")
}

/// The ids of what somebody's device pulls who may read this project, and how many sheets left it.
async fn pulled(
    workspace: &Workspace,
    project: &str,
    since: Option<Checkpoint>,
) -> (Vec<String>, usize, Checkpoint) {
    let caller = Caller::named("somebody").with(Right::Read).in_scope(project, Right::Read);
    let pull = Pull { since, ..Pull::of(workspace.engine().models().clone()) };
    let (from, to) = (ReplicaId(uuid::Uuid::from_u128(7)), workspace.id().await.expect("it has a name"));
    let exchange = Exchange { from, to, push: None, pull: Some(pull) };
    let answer = Replica::exchange(workspace.engine(), &caller, exchange).await.expect("the pull succeeds");
    let Some(Pulled::Page(feed)) = answer.pulled else { panic!("no page: {answer:?}") };
    let ids = feed.page.updates.iter().map(|update| update.state.change.id.to_string());
    (ids.collect(), feed.exits.len(), feed.checkpoint)
}

/// How often each partition was read, by an index or not.
fn scans(schema: &Schema) -> BTreeMap<String, u64> {
    let told = schema.psql(&format!(
        "SELECT relname, seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables \
         WHERE schemaname = '{}' AND relname LIKE 'sync_note_%'",
        schema.0
    ));
    told.lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(name, count)| (name.into(), count.parse().expect("a count")))
        .collect()
}

#[test]
fn a_pull_of_a_scope_reads_one_partition() {
    let schema = Schema::new();
    RUNTIME.block_on(async {
        let server = open(&schema).await;
        let sheets = server.collection::<Sheet>().expect("the model is registered");
        for id in 0..SHEETS {
            let project = format!("project {}", id % PROJECTS);
            sheets.create(Sheet { id, project }).await.expect("a sheet is made");
        }
        assert_eq!(pulled(&server, "project 7", None).await.0, ["7", "207", "407", "607", "807"]);
    });
    let projects = (0..PROJECTS).map(|number| format!("scope/s/project {number}"));
    let other = [
        "peer",
        "parked",
        "staged",
        "lease",
        "account",
        "scope",
        "scope/u",
        "scope/r/Sheet",
        "scope/x/project 7",
    ];
    let mut holders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for room in projects.chain(other.map(str::to_owned)) {
        // Also of a room in which nothing stands.
        let place = schema.psql(&format!(
            "SELECT r FROM generate_series(0, {PARTITIONS} - 1) r WHERE satisfies_hash_partition('sync_note'::regclass, \
             {PARTITIONS}, r, translate('{room}', '/', chr(31)))"
        ));
        holders.entry(format!("sync_note_{}", place.trim())).or_default().insert(room);
    }
    let mine = holders.iter().find(|(_, rooms)| rooms.contains("scope/s/project 7"));
    let mine = mine.expect("the scope has a partition").0.clone();
    // Those that are for nothing but other scopes.
    let others = holders
        .iter()
        .filter(|(name, rooms)| **name != mine && rooms.iter().all(|room| room.starts_with("scope/s/")));
    let others: Vec<&String> = others.map(|(name, _)| name).collect();
    assert!(others.len() > usize::from(PARTITIONS) / 2, "{holders:?}");

    // A connection tells the statistics what it did when it ends.
    let connections = format!("FROM pg_stat_activity WHERE application_name = '{}'", schema.0);
    let until = Instant::now() + Duration::from_secs(20);
    while schema.psql(&format!("SELECT count(*) {connections}")).trim() != "0" {
        assert!(Instant::now() < until, "its connections do not end");
        schema.psql(&format!("SELECT pg_terminate_backend(pid) {connections}"));
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_millis(500));
    let before = scans(&schema);
    RUNTIME.block_on(async {
        let server = open(&schema).await;
        let (ids, _, _) = pulled(&server, "project 7", None).await;
        assert_eq!(ids.len(), 5);
        drop(server);
        let until = Instant::now() + Duration::from_secs(20);
        while scans(&schema)[&mine] == before[&mine] {
            assert!(Instant::now() < until, "the scope's own partition was not read");
            sleep(Duration::from_millis(200)).await;
        }
    });
    let after = scans(&schema);
    for other in others {
        assert_eq!(after[other], before[other], "{other} is for nothing but {:?}", holders[other]);
    }
}

/// Who brings a pool of their own can have partitions too.
#[test]
fn a_store_over_a_pool_makes_partitions() {
    let schema = Schema::new();
    RUNTIME.block_on(async {
        let pool = sqlx::PgPool::connect(&schema.url()).await.expect("a pool");
        let store = SqlStore::pool_builder(pool.clone()).partitions(4).open().await.expect("the store opens");
        let server = Workspace::builder(store).model::<Sheet>().build().await.expect("the workspace opens");
        drop(server);
        pool.close().await;
    });
    let parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'sync_note'::regclass";
    assert_eq!(schema.psql(parts).trim(), "4");
}

/// Partitions change nothing of what is told: moves, exits, purges, a store that is opened again without the option.
#[test]
fn scopes_in_partitions_work_as_in_one_table() {
    let schema = Schema::new();
    RUNTIME.block_on(async {
        let server = open(&schema).await;
        let sheets = server.collection::<Sheet>().expect("the model is registered");
        for (id, project) in [(1, "a"), (2, "b"), (3, "a")] {
            sheets.create(Sheet { id, project: project.into() }).await.expect("a sheet is made");
        }
        let (ids, _, since) = pulled(&server, "a", None).await;
        assert_eq!(ids, ["1", "3"]);
        sheets.update(1, |sheet| sheet.project = "b".into()).await.expect("a sheet is saved");
        sheets.delete(3).await.expect("a sheet is deleted");
        let (ids, exits, _) = pulled(&server, "a", Some(since)).await;
        assert_eq!((ids, exits), (vec!["3".to_owned()], 1), "a tombstone, and one that left");
        drop(server);
        let store = SqlStore::builder(&schema.url()).open().await.expect("the database opens");
        let server = Workspace::builder(store).model::<Sheet>();
        let server = server.retention(Duration::ZERO, Duration::ZERO).build().await.expect("it opens");
        assert_eq!(pulled(&server, "b", None).await.0, ["2", "1"]);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(server.purge().await.expect("it is purged"), 1);
        let left = schema.psql("SELECT count(*) FROM sync_note WHERE room LIKE 'scope' || chr(31) || 'x%'");
        assert_eq!(left.trim(), "0", "exits are purged too");
    });
}
