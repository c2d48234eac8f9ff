//! `LISTEN` and `NOTIFY`: what processes tell each other of their commits, heard over a connection of its own.

use crate::names::literal;
use crate::server::Server;
use crate::server::word::{Carrier, Unwanted};
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Executor, PgPool};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::timeout;

/// How long nothing may be heard before it is asked whether the connection still stands, and whether anybody watches.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the database may take to answer that, and to let the connection in.
const ANSWER: Duration = Duration::from_secs(5);
/// How many bytes the name of a channel may have.
const LONGEST_NAME: usize = 63;

/// Tells and hears of commits by notifications.
#[derive(Debug)]
pub(crate) struct Notify {
    pool: PgPool,
    channel: String,
}

impl Notify {
    /// For the schema that the library's own names begin with.
    pub(crate) fn new(pool: PgPool, own: &str) -> Self {
        // Two schemas whose names are cut to one hear of each other, which costs them a look.
        let mut channel = format!("sync_{}", own.trim_end_matches('.').trim_matches('"'));
        while channel.len() > LONGEST_NAME {
            channel.pop();
        }
        Notify { pool, channel }
    }

    /// Listens until nobody watches, or until the connection is lost.
    async fn hear(&self, server: &Weak<Server>) -> sqlx::Result<Unwanted> {
        // Not one of the store's own connections: of those there may be just one.
        let own = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let name = format!("syncable listens to {}", self.channel);
        let options = (*self.pool.connect_options()).clone().application_name(&name);
        let own = own.acquire_timeout(ANSWER).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await?;
        listener.eager_reconnect(false);
        listener.listen(&self.channel).await?;
        // Word comes in once this store hears itself over another connection. A pooler between may not hand it on.
        server.upgrade().ok_or(sqlx::Error::PoolClosed)?.tell();
        loop {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(word))) => {
                    server.upgrade().ok_or(sqlx::Error::PoolClosed)?.word.heard(word.payload());
                }
                Ok(Ok(None)) => return Err(sqlx::Error::WorkerCrashed),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    if server.upgrade().is_none_or(|server| !server.word.is_wanted()) {
                        return Ok(Unwanted);
                    }
                    let stands = timeout(ANSWER, listener.execute("SELECT 1")).await;
                    stands.map_err(|_| sqlx::Error::PoolTimedOut)??;
                }
            }
        }
    }
}

#[sync_runtime::async_trait]
impl Carrier for Notify {
    /// In a transaction of its own, after the one that it tells of: a notification locks all commits of the cluster
    /// against each other until its own is on the disk.
    async fn tell(&self, server: &Arc<Server>, me: &str) {
        let telling = format!("SELECT pg_notify({}, {})", literal(&self.channel), literal(me));
        let _ = server.clone().look(telling).await;
    }

    async fn listen(&self, server: &Weak<Server>) -> Option<Unwanted> {
        self.hear(server).await.ok()
    }
}
