//! The conformance suite on the store without a file.

use std::sync::Arc;
use sync_runtime::store::Store;
use sync_runtime::{Id, ModelSchema, Record};
use sync_store_memory::MemoryStore;
use sync_testkit::StoreFactory;

/// Keeps a handle, so that it can write behind the back of the one that the suite has.
#[derive(Default)]
struct Memory(MemoryStore);

#[sync_runtime::async_trait]
impl StoreFactory for Memory {
    async fn open(&mut self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
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

sync_testkit::store_conformance!(Memory::default());
