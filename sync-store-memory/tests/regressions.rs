//! Histories that once went wrong, over memory stores.

#![allow(clippy::unwrap_used)]

use pollster::block_on;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use sync_runtime::change::{Change, State};
use sync_runtime::engine::Engine;
use sync_runtime::prelude::*;
use sync_runtime::replica::{
    Caller, Description, Diff, Exchange, Exchanged, Outcome, Pull, Pulled, RemoteWrite, Replica, Tell,
    Update, Wanted, Watching,
};
use sync_runtime::{Checkpoint, Error, ErrorKind, ModelSchema, Models, ReplicaId, Result, Status, Workspace};
use sync_store_memory::MemoryStore;

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Note {
    #[sync(id)]
    id: i64,
    text: String,
}

fn note(id: i64, text: &str) -> Note {
    Note { id, text: text.to_owned() }
}

async fn open() -> Workspace {
    Workspace::builder(MemoryStore::new()).model::<Note>().build().await.unwrap()
}

async fn write(workspace: &Workspace, id: i64, text: &str) {
    workspace.collection::<Note>().unwrap().upsert(note(id, text)).await.unwrap();
}

async fn text(workspace: &Workspace, id: i64) -> Option<String> {
    workspace.collection::<Note>().unwrap().get(id).await.unwrap().map(|note| note.text)
}

/// A replica whose answer to an exchange is lost on the way when it is told so; the exchange was done.
#[derive(Debug, Clone)]
struct Lossy {
    inner: Engine,
    lose: Arc<AtomicBool>,
}

impl Lossy {
    fn of(workspace: &Workspace) -> Self {
        Lossy { inner: workspace.engine().clone(), lose: Arc::default() }
    }

    fn lose(&self, yes: bool) {
        self.lose.store(yes, Ordering::Relaxed);
    }
}

#[sync_runtime::async_trait]
impl Replica for Lossy {
    async fn describe(&self, caller: &Caller) -> Result<Description> {
        self.inner.describe(caller).await
    }

    async fn exchange(&self, caller: &Caller, exchange: Exchange) -> Result<Exchanged> {
        let answer = self.inner.exchange(caller, exchange).await;
        match self.lose.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Unreachable, "the answer was lost")),
            false => answer,
        }
    }

    async fn changes(&self, caller: &Caller, pull: Pull) -> Result<Pulled> {
        self.inner.changes(caller, pull).await
    }

    async fn diff(&self, caller: &Caller, changes: Vec<Change>) -> Result<Diff> {
        self.inner.diff(caller, changes).await
    }

    async fn create_updates(&self, caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>> {
        self.inner.create_updates(caller, deltas).await
    }

    async fn bulk_update(
        &self,
        caller: &Caller,
        from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>> {
        self.inner.bulk_update(caller, from, updates).await
    }

    async fn checkpoint(&self, caller: &Caller) -> Result<Checkpoint> {
        self.inner.checkpoint(caller).await
    }

    async fn read(
        &self,
        caller: &Caller,
        schema: &'static ModelSchema,
        wanted: Wanted,
    ) -> Result<Vec<State>> {
        self.inner.read(caller, schema, wanted).await
    }

    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>> {
        self.inner.write(caller, writes).await
    }

    async fn watch(&self, caller: &Caller, watch: Watching, tell: Tell<'_>) -> Result<()> {
        self.inner.watch(caller, watch, tell).await
    }

    fn models(&self) -> Option<&Models> {
        None
    }

    fn engine(&self) -> Option<&Engine> {
        None
    }
}

/// Sends a group of five in parts of two, and edits these records of it after the first part, in one transaction.
async fn edited_between_parts(ids: &'static [i64]) {
    let (local, server) = (open().await, open().await);
    let notes = local.collection::<Note>().unwrap();
    notes.upsert_all((1..=5).map(|id| note(id, "first"))).await.unwrap();
    let edited = Arc::new(AtomicBool::new(false));
    let editor = notes.clone();
    let sync = local.sync(&server).page_size(2).progress(move |progress| {
        if progress.pushed > 0 && !edited.swap(true, Ordering::Relaxed) {
            block_on(editor.upsert_all(ids.iter().map(|id| note(*id, "edited")))).unwrap();
        }
    });
    sync.await.unwrap();
    local.sync(&server).await.unwrap();
    for id in 1..=5 {
        let expected = if ids.contains(&id) { "edited" } else { "first" };
        assert_eq!(text(&server, id).await.as_deref(), Some(expected), "{id} after editing {ids:?}");
    }
    assert_eq!(local.sync(&server).await.unwrap().pushed, 0);
}

/// The last part of a group took up what stood behind the group. A record of an earlier part that was edited
/// meanwhile came twice then, and the answers to it were never understood.
#[test]
fn rule_frozen_page_holds_while_a_group_goes_out_in_parts() {
    block_on(edited_between_parts(&[1]));
}

/// The same where nothing of the group is left to send.
#[test]
fn rule_frozen_page_holds_where_the_rest_of_a_group_was_written_again() {
    block_on(edited_between_parts(&[3, 4, 5]));
    block_on(edited_between_parts(&[1, 3, 4, 5]));
    block_on(edited_between_parts(&[1, 2, 3, 4, 5]));
}

/// Resolving a conflict with one peer dropped the state that was on its way to another.
#[test]
fn rule_frozen_page_is_sent_again_after_a_conflict_was_resolved() {
    block_on(async {
        let (local, a, b) = (open().await, open().await, open().await);
        let to_a = Lossy::of(&a);
        write(&local, 1, "first").await;
        local.sync(&to_a).await.unwrap();
        local.sync(&b).await.unwrap();
        write(&b, 1, "of b").await;
        write(&local, 1, "of mine").await;
        to_a.lose(true);
        local.sync(&to_a).await.unwrap_err();
        let name = local.id().await.unwrap();

        let report = local.sync(&b).await.unwrap();
        let conflict = report.conflicts::<Note>().pop().unwrap();
        conflict.resolve_manually(Some(note(1, "of both"))).await.unwrap();

        to_a.lose(false);
        local.sync(&to_a).await.unwrap();
        assert_eq!(local.id().await.unwrap(), name, "the page in flight was still known");
        assert_eq!(text(&a, 1).await.as_deref(), Some("of both"));
    });
}

/// A peer that took a new name stays behind as one that never gets anything any more.
#[test]
fn a_record_is_synced_again_after_its_peer_took_a_new_name() {
    block_on(async {
        let (local, server) = (open().await, open().await);
        write(&local, 1, "first").await;
        local.sync(&server).await.unwrap();
        assert_eq!(local.status::<Note>(1).await.unwrap(), Some(Status::Synced));
        server.restored().await.unwrap();
        write(&local, 1, "second").await;
        local.sync(&server).await.unwrap();
        assert_eq!(text(&server, 1).await.as_deref(), Some("second"));
        assert_eq!(local.status::<Note>(1).await.unwrap(), Some(Status::Synced));
        assert!(local.pending(10).await.unwrap().is_empty());
    });
}
