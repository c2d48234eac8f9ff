//! The replica-pair suite over a store in memory and a SQLite file.

mod parties;

use parties::{InMemory, SqliteFile};
use sync_testkit::pairs::{Party, ReplicaPair};

#[derive(Debug)]
struct MemoryAndSqlite;

#[sync_runtime::async_trait]
impl ReplicaPair for MemoryAndSqlite {
    async fn a(&self) -> Box<dyn Party> {
        Box::new(InMemory::default())
    }

    async fn b(&self) -> Box<dyn Party> {
        Box::new(SqliteFile::new())
    }
}

sync_testkit::replica_pairs!(MemoryAndSqlite);
sync_testkit::sql_replica_pairs!(MemoryAndSqlite);
