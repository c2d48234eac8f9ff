//! Servers that answer as none should.

mod common;

use common::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use sync_http::HttpReplica;
use sync_runtime::change::{Change, State};
use sync_runtime::engine::Engine;
use sync_runtime::prelude::*;
use sync_runtime::replica::*;
use sync_runtime::{Checkpoint, ModelSchema, Models, ReplicaId, Result, Workspace};
use sync_store_memory::MemoryStore;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Tag {
    #[sync(id)]
    id: String,
}

/// A shelf that is asked again and again.
#[derive(Debug)]
struct Strange(Shelf, Arc<AtomicU64>, Fault);

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// There is more, and it never comes.
    ComesNoFurther,
    /// A time that no clock shows.
    NoSuchTime,
}

#[sync_runtime::async_trait]
impl Replica for Strange {
    async fn describe(&self, caller: &Caller) -> Result<Description> {
        self.0.describe(caller).await
    }
    async fn exchange(&self, caller: &Caller, exchange: Exchange) -> Result<Exchanged> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let is_pushed = exchange.push.is_some();
        let mut exchanged = self.0.exchange(caller, exchange).await?;
        match self.2 {
            Fault::ComesNoFurther => {
                if let Some(Pulled::Page(page)) = &mut exchanged.pulled {
                    page.page.updates.clear();
                    page.checkpoint.position = 0;
                    page.more = true;
                }
            }
            Fault::NoSuchTime => {
                exchanged.now = i64::MIN;
                exchanged.pushed = is_pushed.then_some(Pushed::ClockAhead);
            }
        }
        Ok(exchanged)
    }
    async fn changes(&self, caller: &Caller, pull: Pull) -> Result<Pulled> {
        self.0.changes(caller, pull).await
    }
    async fn diff(&self, caller: &Caller, changes: Vec<Change>) -> Result<Diff> {
        self.0.diff(caller, changes).await
    }
    async fn create_updates(&self, caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>> {
        self.0.create_updates(caller, deltas).await
    }
    async fn bulk_update(
        &self,
        caller: &Caller,
        from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>> {
        self.0.bulk_update(caller, from, updates).await
    }
    async fn checkpoint(&self, caller: &Caller) -> Result<Checkpoint> {
        self.0.checkpoint(caller).await
    }
    async fn read(
        &self,
        caller: &Caller,
        schema: &'static ModelSchema,
        wanted: Wanted,
    ) -> Result<Vec<State>> {
        self.0.read(caller, schema, wanted).await
    }
    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>> {
        self.0.write(caller, writes).await
    }
    async fn watch(&self, caller: &Caller, watch: Watching, tell: Tell<'_>) -> Result<()> {
        self.0.watch(caller, watch, tell).await
    }
    fn models(&self) -> Option<&Models> {
        self.0.models()
    }
    fn engine(&self) -> Option<&Engine> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_comes_no_further_ends() {
    let asked = Arc::new(AtomicU64::new(0));
    let address =
        served(Strange(Shelf::default().knowing(&[&TAG]), asked.clone(), Fault::ComesNoFurther)).await;
    let device = Workspace::builder(MemoryStore::new()).model::<Tag>().build().await.expect("it opens");
    let line = HttpReplica::new(&url(address)).expect("a URL");
    let ended = tokio::time::timeout(Duration::from_secs(20), device.sync(&line)).await;
    assert!(ended.is_ok(), "{} requests in 20 s, and no end", asked.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_cannot_be_is_not_believed() {
    let address = served(Strange(Shelf::default().knowing(&[&TAG]), Arc::default(), Fault::NoSuchTime)).await;
    let device = Workspace::builder(MemoryStore::new()).model::<Tag>().build().await.expect("it opens");
    let tags = device.collection::<Tag>().expect("registered");
    tags.create(Tag { id: "before".into() }).await.expect("made");
    let line = HttpReplica::new(&url(address)).expect("a URL");
    let broken = tokio::time::timeout(Duration::from_secs(20), device.sync(&line)).await;
    assert!(broken.expect("it ends").is_err());
    tags.create(Tag { id: "after".into() }).await.expect("made");
    let good = Workspace::builder(MemoryStore::new()).model::<Tag>().build().await.expect("it opens");
    let honest = served_with(sync_http::SyncRoutes::new(good.clone(), sync_http::AllowAll)).await;
    let line = HttpReplica::new(&url(honest)).expect("a URL");
    device.sync(&line).await.expect("an honest one takes both");
    let there = good.collection::<Tag>().expect("registered").find(Query::all()).await.expect("found");
    assert_eq!(there.len(), 2);
}
