//! rule: parents first, for foreign keys that no struct declares: the store lists them.

mod parties;

use parties::SqliteFile;
use sync_runtime::prelude::*;
use sync_runtime::replica::{Caller, Pull, Pulled, Replica};
use sync_runtime::store::{Access, Store, Work};
use sync_runtime::{ForeignKey, Models, ReplicaId, Result, Status, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;
use sync_testkit::flaky::{FlakyReplica, ids_of};

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(methods = false)]
struct Singer {
    #[sync(id)]
    id: i64,
    name: String,
}

/// It holds the id of a singer, and says so nowhere.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(methods = false)]
struct Album {
    #[sync(id)]
    id: i64,
    title: String,
    singer: i64,
    #[sync(local)]
    seen_with: Option<i64>,
}

/// A store whose database has these foreign keys.
#[derive(Debug, Clone)]
struct Keyed<S> {
    inner: S,
    keys: Vec<ForeignKey>,
}

#[sync_runtime::async_trait]
impl<S: Store> Store for Keyed<S> {
    async fn prepare(&self, models: &Models, fresh: ReplicaId) -> Result<()> {
        self.inner.prepare(models, fresh).await
    }

    async fn run(&self, access: Access, work: Work) -> Result<()> {
        self.inner.run(access, work).await
    }

    async fn foreign_keys(&self, models: &Models) -> Result<Vec<ForeignKey>> {
        assert!(models.get("Album").is_ok(), "it is told which models are meant");
        Ok(self.keys.clone())
    }

    async fn version(&self) -> Result<u64> {
        self.inner.version().await
    }
}

const OF_ALBUM: ForeignKey = ForeignKey { child: "Album", field: 2, parent: "Singer" };

async fn workspace(store: impl Store, keys: &[ForeignKey]) -> Workspace {
    let builder = Workspace::builder(Keyed { inner: store, keys: keys.to_vec() });
    builder.model::<Singer>().model::<Album>().build().await.expect("the workspace opens")
}

async fn make<T: Syncable>(workspace: &Workspace, value: T) {
    workspace.collection::<T>().expect("the model is registered").upsert(value).await.expect("it is saved");
}

async fn delete<T: Syncable>(workspace: &Workspace, id: impl Into<T::Id>) {
    let records = workspace.collection::<T>().expect("the model is registered");
    assert!(records.delete(id).await.expect("it is deleted"), "there was one");
}

async fn count<T: Syncable>(workspace: &Workspace) -> u64 {
    let records = workspace.collection::<T>().expect("the model is registered");
    records.count(Query::all()).await.expect("records are counted")
}

fn singer(id: i64) -> Singer {
    Singer { id, name: "foo".into() }
}

fn album(id: i64, singer: i64) -> Album {
    Album { id, title: "foo".into(), singer, seen_with: None }
}

/// The names of all records in the order in which they came.
async fn feed(workspace: &Workspace) -> Vec<String> {
    let models = workspace.engine().models().clone();
    let pull = Pull::of(models);
    match workspace.engine().changes(&Caller::owner(), pull).await.expect("a feed") {
        Pulled::Page(feed) => feed.page.updates.iter().map(|update| update.state.change.name()).collect(),
        other => panic!("no page: {other:?}"),
    }
}

/// Each kind of store twice, with these keys.
async fn pairs(keys: &[ForeignKey]) -> Vec<(Workspace, Workspace, Vec<SqliteFile>)> {
    let mut pairs = Vec::new();
    for (a_is_file, b_is_file) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut files = Vec::new();
        let mut sides = Vec::new();
        for is_file in [a_is_file, b_is_file] {
            sides.push(match is_file {
                true => {
                    let file = SqliteFile::new();
                    let store = SqlStore::open(&file.url()).await.expect("the file opens");
                    files.push(file);
                    workspace(store, keys).await
                }
                false => workspace(MemoryStore::new(), keys).await,
            });
        }
        let (b, a) = (sides.pop().expect("two"), sides.pop().expect("two"));
        pairs.push((a, b, files));
    }
    pairs
}

async fn pushed_pages(keys: &[ForeignKey], a: &Workspace, b: &Workspace) -> Vec<Vec<String>> {
    make(a, album(1, 7)).await;
    make(a, album(2, 7)).await;
    make(a, singer(7)).await;
    let line = FlakyReplica::new(b);
    let report = a.sync(&line).page_size(1).await.expect("it syncs");
    assert!(report.level && report.rejected.is_empty(), "{keys:?}: {report:?}");
    line.pages().iter().map(|page| ids_of(page).iter().map(ToString::to_string).collect()).collect()
}

#[test]
fn rule_parents_first_a_page_brings_the_parent_of_a_foreign_key() {
    pollster::block_on(async {
        for (a, b, _files) in pairs(&[OF_ALBUM]).await {
            assert_eq!(pushed_pages(&[OF_ALBUM], &a, &b).await[0], ["1", "7"]);
            assert_eq!(feed(&b).await, ["Singer 7", "Album 1", "Album 2"]);
        }
        for (a, b, _files) in pairs(&[]).await {
            assert_eq!(pushed_pages(&[], &a, &b).await, [["1"], ["2"], ["7"]], "nobody knows of the parent");
        }
    });
}

#[test]
fn rule_parents_first_a_pull_brings_it_too() {
    pollster::block_on(async {
        for (a, b, _files) in pairs(&[OF_ALBUM]).await {
            make(&b, album(1, 7)).await;
            make(&b, album(2, 8)).await;
            make(&b, singer(7)).await;
            let report = a.sync(&FlakyReplica::new(&b)).pull_only().page_size(1).await.expect("it syncs");
            assert!(report.level && report.rejected.is_empty(), "{report:?}");
            assert_eq!(feed(&a).await, ["Singer 7", "Album 1", "Album 2"]);
        }
    });
}

#[test]
fn rule_parents_first_a_tombstone_waits_for_a_live_child_by_a_foreign_key() {
    pollster::block_on(async {
        for keep in [true, false] {
            for (a, b, _files) in pairs(&[OF_ALBUM]).await {
                make(&a, singer(7)).await;
                assert!(a.sync(&b).await.expect("it syncs").level);
                delete::<Singer>(&a, 7).await;
                make(&b, album(1, 7)).await;
                let line = FlakyReplica::new(&b);
                let report = a.sync(&line).await.expect("it syncs");
                assert_eq!(report.conflict_count() + report.rejected.len(), 1, "{report:?}");
                assert_eq!((count::<Singer>(&b).await, count::<Album>(&b).await), (1, 1), "it waits");
                let status = a.status::<Singer>(7).await.expect("a status");
                assert_eq!(status, Some(Status::Conflicted));
                let conflict = a.conflicts::<Singer>().await.expect("conflicts").remove(0);
                let resolved = conflict.resolve_manually(keep.then(|| singer(7))).await;
                resolved.expect("it is resolved");
                let report = a.sync(&line).await.expect("it syncs");
                assert!(
                    report.level && report.rejected.is_empty() && report.conflict_count() == 0,
                    "{report:?}"
                );
                let left = u64::from(keep);
                for side in [&a, &b] {
                    assert_eq!((count::<Singer>(side).await, count::<Album>(side).await), (left, left));
                }
            }
        }
    });
}

#[test]
fn rule_parents_first_without_the_foreign_key_nothing_waits() {
    pollster::block_on(async {
        for (a, b, _files) in pairs(&[]).await {
            make(&a, singer(7)).await;
            assert!(a.sync(&b).await.expect("it syncs").level);
            delete::<Singer>(&a, 7).await;
            make(&b, album(1, 7)).await;
            let report = a.sync(&FlakyReplica::new(&b)).await.expect("it syncs");
            assert_eq!((report.conflict_count(), count::<Singer>(&b).await), (0, 0), "{report:?}");
        }
    });
}

/// What could not be declared, and what is told twice, changes nothing.
#[test]
fn keys_that_cannot_be_followed_are_left_out() {
    pollster::block_on(async {
        let keys = [
            ForeignKey { child: "Album", field: 2, parent: "Nobody" },
            ForeignKey { child: "Nobody", field: 0, parent: "Singer" },
            ForeignKey { child: "Album", field: 9, parent: "Singer" },
            ForeignKey { child: "Album", field: 3, parent: "Singer" },
        ];
        for (a, b, _files) in pairs(&keys).await {
            assert_eq!(pushed_pages(&keys, &a, &b).await, [["1"], ["2"], ["7"]]);
        }
        let twice = [OF_ALBUM, OF_ALBUM];
        for (a, b, _files) in pairs(&twice).await {
            assert_eq!(pushed_pages(&twice, &a, &b).await[0], ["1", "7"]);
            delete::<Singer>(&a, 7).await;
            delete::<Album>(&a, 1).await;
            delete::<Album>(&a, 2).await;
            assert!(a.sync(&FlakyReplica::new(&b)).await.expect("it syncs").level);
            assert_eq!((count::<Singer>(&b).await, count::<Album>(&b).await), (0, 0));
        }
    });
}
