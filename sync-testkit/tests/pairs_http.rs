//! The replica-pair suite over two SQLite files that reach each other over HTTP: a real server on a free port.

mod parties;

use parties::SqliteFile;
use std::sync::{Arc, LazyLock};
use sync_http::{AllowAll, HttpReplica, serve, sync_router};
use sync_runtime::replica::Replica;
use sync_runtime::{Workspace, WorkspaceBuilder};
use sync_testkit::pairs::{Case, Party, ReplicaPair};

/// Where the servers run, whatever a case does.
static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().expect("a runtime"));

/// A SQLite file whose workspace is served.
#[derive(Debug)]
struct Served(SqliteFile);

#[sync_runtime::async_trait]
impl Party for Served {
    async fn builder(&self) -> WorkspaceBuilder {
        self.0.open().await
    }

    async fn reach(&self, workspace: &Workspace) -> Arc<dyn Replica> {
        let app = axum::Router::new().nest("/sync", sync_router(workspace.clone(), AllowAll));
        let bound = RUNTIME.spawn(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = bound.await.expect("the runtime runs").expect("a port");
        let address = listener.local_addr().expect("an address");
        RUNTIME.spawn(serve(listener, app));
        Arc::new(HttpReplica::new(&format!("http://{address}/sync")).expect("a good address"))
    }

    async fn copy(&self) -> Box<dyn Party> {
        Box::new(Served(self.0.copied()))
    }

    async fn sql(&self, script: &str) {
        self.0.run(script);
    }
}

#[derive(Debug)]
struct SqliteHttpSqlite;

#[sync_runtime::async_trait]
impl ReplicaPair for SqliteHttpSqlite {
    async fn a(&self) -> Box<dyn Party> {
        Box::new(Served(SqliteFile::new()))
    }

    async fn b(&self) -> Box<dyn Party> {
        Box::new(Served(SqliteFile::new()))
    }

    fn run(&self, case: Case<'_>) {
        RUNTIME.block_on(case);
    }
}

sync_testkit::replica_pairs!(SqliteHttpSqlite);
sync_testkit::sql_replica_pairs!(SqliteHttpSqlite);
