//! Word of commits over NATS, where a database carries none, or where too many processes listen to it.

use super::Server;
use super::link::Cell;
use super::word::{Carrier, Unwanted};
use async_nats::Client;
use async_nats::connection::State;
use futures_util::StreamExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use uuid::Uuid;

/// How often it is looked whether the connection still stands, and whether anybody watches.
const LOOK: Duration = Duration::from_millis(250);

/// Tells and hears of commits over a connection that the app has to NATS.
#[derive(Debug)]
pub(crate) struct Nats {
    client: Client,
    /// Known once the store is prepared.
    subject: OnceCell<String>,
}

impl Nats {
    pub(crate) fn new(client: Client) -> Self {
        Nats { client, subject: OnceCell::new() }
    }

    /// The subject of this database: the name that it got when the library's tables were made in it, which no other
    /// database has but a copy of it. A copy costs a look. `None` where the database does not answer.
    async fn subject(&self, server: &Arc<Server>) -> Option<&str> {
        let named = self.subject.get_or_try_init(|| async {
            let first = format!("SELECT id FROM {} ORDER BY n LIMIT 1", server.shared.own_table("replica"));
            match server.clone().look(first).await.unwrap_or_default().first().map(Vec::as_slice) {
                Some([Cell::Bytes(id)]) => Uuid::from_slice(id).map(subject).map_err(drop),
                _ => Err(()),
            }
        });
        named.await.ok().map(String::as_str)
    }

    /// Which connection to NATS this is, while there is one. The client comes back by itself, and does not say so.
    fn connection(&self) -> Option<u64> {
        let connected = self.client.connection_state() == State::Connected;
        connected.then(|| self.client.statistics().connects.load(Ordering::Relaxed))
    }
}

fn subject(database: Uuid) -> String {
    format!("syncable.commits.{database}")
}

#[sync_runtime::async_trait]
impl Carrier for Nats {
    async fn tell(&self, server: &Arc<Server>, me: &str) {
        // The client would keep it until there is a connection, and keep the app's own messages waiting behind it.
        if self.connection().is_none() {
            return;
        }
        let Some(subject) = self.subject(server).await else { return };
        let _ = self.client.publish(subject.to_owned(), me.to_owned().into()).await;
    }

    async fn listen(&self, server: &Weak<Server>) -> Option<Unwanted> {
        let subject = self.subject(&server.upgrade()?).await?.to_owned();
        let mut words = self.client.subscribe(subject).await.ok()?;
        let mut listened = None;
        loop {
            let open = server.upgrade()?;
            if !open.word.is_wanted() {
                return Some(Unwanted);
            }
            let connection = self.connection();
            if connection != listened {
                // What was told in between has not come, and what goes out from now on finds this one listening.
                open.word.deaf();
                listened = connection;
                if connection.is_some() {
                    open.tell();
                }
            }
            drop(open);
            match timeout(LOOK, words.next()).await {
                Ok(Some(word)) => {
                    let from = str::from_utf8(&word.payload).unwrap_or_default();
                    server.upgrade()?.word.heard(from);
                }
                // The app has closed its client.
                Ok(None) => return None,
                Err(_) => {}
            }
        }
    }
}
