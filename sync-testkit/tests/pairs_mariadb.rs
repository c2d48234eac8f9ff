//! The replica-pair suite over a PostgreSQL and a MariaDB database.

mod parties;

use parties::{MariaDatabase, PostgresSchema};
use sync_testkit::pairs::{Party, ReplicaPair};

#[derive(Debug)]
struct PostgresAndMariaDb;

#[sync_runtime::async_trait]
impl ReplicaPair for PostgresAndMariaDb {
    async fn a(&self) -> Box<dyn Party> {
        Box::new(PostgresSchema::new())
    }

    async fn b(&self) -> Box<dyn Party> {
        Box::new(MariaDatabase::new())
    }
}

sync_testkit::replica_pairs!(PostgresAndMariaDb);
