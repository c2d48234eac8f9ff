//! Whether a server lives, and whether it can answer.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use std::sync::Arc;
use std::time::Duration;
use sync_runtime::replica::Replica;
use sync_runtime::{AsReplica, Caller};
use tokio::time::timeout;

/// How long the store may take to answer.
const READY: Duration = Duration::from_secs(5);

/// Two routes for whoever watches over the server, without a policy, as they tell nothing of the records: `GET /health` is
/// 200 as long as the process answers, and `GET /ready` as long as the store does, else 503.
///
/// ```no_run
/// # fn example(workspace: sync_runtime::Workspace) {
/// use sync_http::{AllowAll, health_router, sync_router};
///
/// let app = axum::Router::new()
///     .nest("/sync", sync_router(workspace.clone(), AllowAll))
///     .merge(health_router(workspace));
/// # }
/// ```
pub fn health_router(replica: impl AsReplica) -> Router {
    Router::new()
        .route("/health", get(|| async { "it lives\n" }))
        .route("/ready", get(ready))
        .with_state(replica.to_replica())
}

async fn ready(State(replica): State<Arc<dyn Replica>>) -> (StatusCode, &'static str) {
    match timeout(READY, replica.describe(&Caller::owner())).await {
        Ok(Ok(_)) => (StatusCode::OK, "it is ready\n"),
        // Why is for the server's own log.
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "its store does not answer\n"),
    }
}
