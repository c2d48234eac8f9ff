//! The replica-pair suite over two stores in memory.

mod parties;

use parties::InMemory;
use sync_testkit::pairs::{Party, ReplicaPair};

#[derive(Debug)]
struct MemoryAndMemory;

#[sync_runtime::async_trait]
impl ReplicaPair for MemoryAndMemory {
    async fn a(&self) -> Box<dyn Party> {
        Box::new(InMemory::default())
    }

    async fn b(&self) -> Box<dyn Party> {
        Box::new(InMemory::default())
    }
}

sync_testkit::replica_pairs!(MemoryAndMemory);
