//! The parties of the pair tests.

#![allow(dead_code, reason = "each test uses some of the parties")]

#[path = "../../../sync-store-sql/tests/common/mariadb.rs"]
pub(crate) mod mariadb;
#[path = "../../../sync-store-sql/tests/common/postgres.rs"]
pub(crate) mod postgres;

use mariadb::Database;
use postgres::Schema;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use sync_runtime::replica::Replica;
use sync_runtime::{AsReplica, Workspace, WorkspaceBuilder};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;
use sync_testkit::pairs::Party;

/// A store in memory, in this process.
#[derive(Debug, Default)]
pub(crate) struct InMemory(MemoryStore);

#[sync_runtime::async_trait]
impl Party for InMemory {
    async fn builder(&self) -> WorkspaceBuilder {
        Workspace::builder(self.0.clone())
    }

    async fn reach(&self, workspace: &Workspace) -> Arc<dyn Replica> {
        workspace.to_replica()
    }

    async fn copy(&self) -> Box<dyn Party> {
        Box::new(InMemory(self.0.copy().await.expect("the store is copied")))
    }
}

/// A SQLite file in a folder of its own, which goes with it.
#[derive(Debug)]
pub(crate) struct SqliteFile {
    folder: PathBuf,
}

impl SqliteFile {
    /// A file that is not there yet.
    pub(crate) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("syncable-pair-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder is made");
        SqliteFile { folder }
    }

    /// A copy of the file as it stands.
    pub(crate) fn copied(&self) -> Self {
        let copy = SqliteFile::new();
        // Nobody writes just now, so file and log together are one state.
        for name in ["store.db", "store.db-wal"] {
            let from = self.folder.join(name);
            if from.exists() {
                std::fs::copy(from, copy.folder.join(name)).expect("the file is copied");
            }
        }
        copy
    }

    /// A builder over the file.
    pub(crate) async fn open(&self) -> WorkspaceBuilder {
        Workspace::builder(SqlStore::open(&self.url()).await.expect("the file opens"))
    }

    /// What a store of this or another process opens it by.
    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path().display())
    }

    /// Runs SQL on the file as another program.
    pub(crate) fn run(&self, script: &str) {
        let connection = rusqlite::Connection::open(self.path()).expect("the file opens");
        connection.execute_batch(script).expect("the script runs");
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("store.db")
    }
}

impl Drop for SqliteFile {
    fn drop(&mut self) {
        // A connection may hold it for a moment still; a folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[sync_runtime::async_trait]
impl Party for SqliteFile {
    async fn builder(&self) -> WorkspaceBuilder {
        self.open().await
    }

    async fn reach(&self, workspace: &Workspace) -> Arc<dyn Replica> {
        workspace.to_replica()
    }

    async fn copy(&self) -> Box<dyn Party> {
        Box::new(self.copied())
    }

    async fn sql(&self, script: &str) {
        self.run(script);
    }
}

/// A PostgreSQL schema, which goes with it.
#[derive(Debug)]
pub(crate) struct PostgresSchema(Schema);

impl PostgresSchema {
    pub(crate) fn new() -> Self {
        PostgresSchema(Schema::new())
    }
}

#[sync_runtime::async_trait]
impl Party for PostgresSchema {
    async fn builder(&self) -> WorkspaceBuilder {
        Workspace::builder(SqlStore::open(&self.0.url()).await.expect("the database opens"))
    }

    async fn reach(&self, workspace: &Workspace) -> Arc<dyn Replica> {
        workspace.to_replica()
    }

    async fn copy(&self) -> Box<dyn Party> {
        Box::new(PostgresSchema(self.0.copied()))
    }

    async fn sql(&self, script: &str) {
        self.0.sql(script);
    }
}

/// A MariaDB database, which goes with it.
#[derive(Debug)]
pub(crate) struct MariaDatabase(Database);

impl MariaDatabase {
    pub(crate) fn new() -> Self {
        MariaDatabase(Database::new())
    }
}

#[sync_runtime::async_trait]
impl Party for MariaDatabase {
    async fn builder(&self) -> WorkspaceBuilder {
        Workspace::builder(SqlStore::open(&self.0.url()).await.expect("the database opens"))
    }

    async fn reach(&self, workspace: &Workspace) -> Arc<dyn Replica> {
        workspace.to_replica()
    }

    async fn copy(&self) -> Box<dyn Party> {
        Box::new(MariaDatabase(self.0.copied()))
    }

    async fn sql(&self, script: &str) {
        self.0.sql(script);
    }
}
