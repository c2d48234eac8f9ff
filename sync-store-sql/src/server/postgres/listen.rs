//! `LISTEN`: what other processes tell of their commits, over a connection of its own.

use crate::server::{Server, fraction};
use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long nothing may be heard before it is asked whether the connection still stands, and whether anybody watches.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the database may take to answer that, and to let the connection in.
const ANSWER: Duration = Duration::from_secs(5);
/// The wait after the first loss of the connection; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Listens to a channel for a store.
#[derive(Debug)]
pub(crate) struct Listening {
    server: Weak<Server>,
    options: Arc<PgConnectOptions>,
    channel: String,
}

/// Nobody watches any more.
struct Unwanted;

impl Listening {
    pub(crate) fn new(server: Weak<Server>, options: Arc<PgConnectOptions>, channel: String) -> Self {
        Listening { server, options, channel }
    }

    /// Listens as long as somebody watches, and connects again when the connection is lost.
    pub(crate) async fn run(self) {
        let mut wait = FIRST_WAIT;
        loop {
            let begun = Instant::now();
            let ended = self.listen().await;
            let Some(server) = self.server.upgrade() else { return };
            server.word.deaf();
            if let Ok(Unwanted) = ended {
                return;
            }
            drop(server);
            wait = if begun.elapsed() > LONGEST_WAIT { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            // So that the processes of a server that restarts do not come all at once.
            tokio::time::sleep(wait.mul_f64(0.5 + fraction() / 2.0)).await;
            if self.server.upgrade().is_none_or(|server| !server.word.is_wanted()) {
                return;
            }
        }
    }

    /// Listens until nobody watches, or until the connection is lost.
    async fn listen(&self) -> sqlx::Result<Unwanted> {
        // Not one of the store's own connections: of those there may be just one.
        let own = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let name = format!("syncable listens to {}", self.channel);
        let options = (*self.options).clone().application_name(&name);
        let own = own.acquire_timeout(ANSWER).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await?;
        listener.eager_reconnect(false);
        listener.listen(&self.channel).await?;
        // Word comes in once this store hears itself over another connection. A pooler between may not hand it on.
        self.server.upgrade().ok_or(sqlx::Error::PoolClosed)?.tell();
        loop {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(word))) => {
                    self.server.upgrade().ok_or(sqlx::Error::PoolClosed)?.word.heard(word.payload());
                }
                Ok(Ok(None)) => return Err(sqlx::Error::WorkerCrashed),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    if self.server.upgrade().is_none_or(|server| !server.word.is_wanted()) {
                        return Ok(Unwanted);
                    }
                    let stands = timeout(ANSWER, listener.execute("SELECT 1")).await;
                    stands.map_err(|_| sqlx::Error::PoolTimedOut)??;
                }
            }
        }
    }
}
