//! The replica-pair suite over a SQLite file and a PostgreSQL database.

mod parties;

use parties::{PostgresSchema, SqliteFile};
use sync_testkit::pairs::{Party, ReplicaPair};

#[derive(Debug)]
struct SqliteAndPostgres;

#[sync_runtime::async_trait]
impl ReplicaPair for SqliteAndPostgres {
    async fn a(&self) -> Box<dyn Party> {
        Box::new(SqliteFile::new())
    }

    async fn b(&self) -> Box<dyn Party> {
        Box::new(PostgresSchema::new())
    }
}

sync_testkit::replica_pairs!(SqliteAndPostgres);
