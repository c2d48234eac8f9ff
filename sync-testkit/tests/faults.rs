//! The fault layer: nothing is lost through it, and it fails exactly where it is told to.

use std::sync::Arc;
use sync_runtime::store::{Access, Room, Store, Transaction, transact};
use sync_runtime::version::ReplicaId;
use sync_runtime::{Error, ErrorKind, Id, ModelSchema, Models, Record, Result};
use sync_store_memory::MemoryStore;
use sync_testkit::{Call, Fault, FaultStore, Faults, StoreFactory};

/// A memory store under the layer, with no faults set.
#[derive(Default)]
struct Layered(MemoryStore);

#[sync_runtime::async_trait]
impl StoreFactory for Layered {
    async fn open(&mut self) -> Arc<dyn Store> {
        Arc::new(FaultStore::new(self.0.clone(), Faults::new()))
    }

    async fn reopen(&mut self, _: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        None
    }

    fn reads_beside_a_writer(&self) -> bool {
        false
    }

    async fn write_untracked(
        &mut self,
        _: &Arc<dyn Store>,
        schema: &'static ModelSchema,
        id: &Id,
        record: Option<Record>,
    ) -> bool {
        self.0.write_untracked(schema, id, record).await.expect("a prepared model");
        true
    }

    async fn make_unique(&mut self, _: &Arc<dyn Store>, _: &'static ModelSchema, _: usize) -> bool {
        false
    }
}

mod without_faults {
    use super::Layered;
    sync_testkit::store_conformance!(Layered::default());
}

async fn script(t: &mut dyn Transaction) -> Result<()> {
    t.newest().await?;
    t.note(Room::Peer, "a", Some(vec![1])).await?;
    t.rename(ReplicaId(uuid::Uuid::from_u128(2))).await?;
    t.notes(Room::Peer, "").await?;
    t.note(Room::Peer, "b", Some(vec![2])).await
}

async fn seen(store: &dyn Store) -> (ReplicaId, usize) {
    let seen = transact(store, Access::READ, |t| {
        Box::pin(async move { Ok((t.replica().await?, t.notes(Room::Peer, "").await?.len())) })
    });
    seen.await.expect("a read without faults")
}

fn prepared() -> (FaultStore<MemoryStore>, Faults) {
    let faults = Faults::new();
    let store = FaultStore::new(MemoryStore::new(), faults.clone());
    let first = ReplicaId(uuid::Uuid::from_u128(1));
    pollster::block_on(store.prepare(&Models::default(), first)).expect("prepared");
    faults.take_calls();
    (store, faults)
}

#[test]
fn a_fault_at_any_call_leaves_nothing_behind() {
    let (store, faults) = prepared();
    pollster::block_on(async {
        let run = || transact(&store, Access::WRITE, |t| Box::pin(script(t)));
        let before = seen(store.inner()).await;
        let script = [Call::Newest, Call::Note, Call::Rename, Call::Notes, Call::Note];
        let calls = [&[Call::Begin], &script[..], &[Call::Commit]].concat();
        for (n, call) in calls.iter().enumerate() {
            for fault in [Fault::before(None), Fault::after(None)] {
                faults.set(fault.clone().skip(n as u64));
                let error: Error = run().await.expect_err("the fault fires");
                assert_eq!(error.kind(), ErrorKind::Storage);
                assert!(error.to_string().contains(&format!("{call:?}")), "{error} at {call:?}");
                assert_eq!(faults.take_calls(), calls[..=n]);
                let committed = *call == Call::Commit && fault == Fault::after(None);
                assert_eq!(seen(store.inner()).await != before, committed, "{fault:?} at {call:?}");
            }
        }
        assert_eq!(faults.fired(), calls.len() as u64 * 2);
    });
}

#[test]
fn a_fault_of_a_named_call_lets_the_others_pass() {
    let (store, faults) = prepared();
    pollster::block_on(async {
        let run = || transact(&store, Access::WRITE, |t| Box::pin(script(t)));
        faults.set(Fault::before(Call::Note).skip(3).kind(ErrorKind::Busy));
        run().await.expect("two notes pass");
        let error = run().await.expect_err("the fourth does not");
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.is_retryable());
        run().await.expect("a fault fires once");
    });
}

#[test]
fn faults_can_be_taken_back() {
    let (store, faults) = prepared();
    pollster::block_on(async {
        faults.set(Fault::before(None));
        faults.clear();
        transact(&store, Access::WRITE, |t| Box::pin(script(t))).await.expect("no fault is left");
        assert_eq!(faults.fired(), 0);
    });
}

#[test]
fn the_calls_of_the_store_itself_fail_too() {
    let (store, faults) = prepared();
    pollster::block_on(async {
        for fault in [Fault::before(Call::Prepare), Fault::after(Call::Prepare)] {
            faults.set(fault);
            assert!(store.prepare(&Models::default(), ReplicaId(uuid::Uuid::nil())).await.is_err());
        }
        faults.set(Fault::before(Call::Version));
        assert!(store.version().await.is_err());
        assert!(store.version().await.is_ok());
    });
}

#[test]
fn two_faults_at_one_point_are_two_failures() {
    let (store, faults) = prepared();
    pollster::block_on(async {
        faults.set(Fault::before(Call::Version));
        faults.set(Fault::before(Call::Version));
        assert!(store.version().await.is_err());
        assert!(store.version().await.is_err());
        assert!(store.version().await.is_ok());
    });
}
