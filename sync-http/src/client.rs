//! A remote server as a replica.
//!
//! Each call is one request. Nothing is retried here: what may be tried again says so, and when is decided by
//! whoever syncs.

mod builder;
mod events;
mod request;

pub use builder::{HttpReplicaBuilder, TokenProvider};
pub use request::Traffic;

use crate::format::Format;
use crate::message::Chosen;
use crate::wire::{self, path};
use request::{Connection, Good, Method};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use sync_runtime::change::{Change, State};
use sync_runtime::codec::{Plain, Reader};
use sync_runtime::engine::Engine;
use sync_runtime::replica::{
    Caller, Description, Diff, Exchange, Exchanged, Limits, Outcome, Pull, Pulled, RemoteWrite, Replica,
    Tell, Update, Wanted, Watching,
};
use sync_runtime::{Checkpoint, ErrorKind, ModelSchema, Models, ReplicaId, Result};

/// The most changes that an answer may list; how many bytes they have is limited apart.
const MOST_ANSWERED: usize = 100_000;

/// A remote server as a replica. Making one does no I/O, so an app starts in a tunnel; clones share their
/// connections.
///
/// Works under any executor: where no tokio runtime is current, requests run on a background thread. Dropping a
/// call cancels its request.
///
/// ```
/// use sync_http::HttpReplica;
///
/// let server = HttpReplica::new("https://example.org/sync")?;
/// assert_eq!(server.traffic().requests, 0);
///
/// let error = HttpReplica::new("example.org/sync").unwrap_err();
/// assert!(error.to_string().contains("https://example.org/sync"), "{error}");
/// # Ok::<(), sync_runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct HttpReplica(Arc<Inner>);

struct Inner {
    connection: Connection,
    format: Format,
    /// What the server said of itself; dropped when another replica answers.
    description: Mutex<Option<Description>>,
}

impl fmt::Debug for HttpReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpReplica").field(&self.url()).finish()
    }
}

impl HttpReplica {
    /// The replica at this URL, where the server's app nests its sync routes.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the URL is none, is not `http` or `https`, or has a query, a fragment or
    /// credentials in it.
    pub fn new(url: &str) -> Result<Self> {
        Self::builder(url).build()
    }

    /// The same with a token, other headers, other times to wait.
    pub fn builder(url: &str) -> HttpReplicaBuilder {
        HttpReplicaBuilder::new(url)
    }

    /// The URL.
    pub fn url(&self) -> &str {
        self.0.connection.url()
    }

    /// What travelled so far, over this replica and its clones.
    pub fn traffic(&self) -> Traffic {
        self.0.connection.traffic()
    }

    fn made(connection: Connection, format: Format) -> Self {
        HttpReplica(Arc::new(Inner { connection, format, description: Mutex::default() }))
    }

    /// What the server said of itself, where it was asked before.
    fn described<T>(&self, use_it: impl FnOnce(&Description) -> T) -> Option<T> {
        let description = self.0.description.lock().unwrap_or_else(PoisonError::into_inner);
        description.as_ref().map(use_it)
    }

    /// Asks the server again what it is, the next time.
    fn forget_description(&self) {
        *self.0.description.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn limits(&self) -> Limits {
        self.described(|description| description.limits).unwrap_or_default()
    }

    /// The names of the wanted models; `None` if they are all that the server is known to have.
    fn wanted(&self, models: &Models) -> Option<Vec<&'static str>> {
        let all = self.described(|server| server.models.iter().all(|model| models.get(&model.name).is_ok()));
        match all {
            Some(true) => None,
            _ => Some(models.iter().map(|model| model.schema.name).collect()),
        }
    }

    /// Whether a page covers models that the server did not name when it described itself.
    fn is_outdated(&self, pulled: &Pulled, wanted: Option<&[&'static str]>) -> bool {
        let Pulled::Page(page) = pulled else { return false };
        let names =
            |name: &str| self.described(|server| server.models.iter().any(|model| model.name == name));
        let covered = wanted.unwrap_or_default().iter().filter(|name| page.covers(name));
        covered.into_iter().any(|name| names(name) == Some(false))
    }

    /// What the server says at a path; with it the token that it was asked with. Without a caller it is asked who it is.
    async fn get<T>(
        &self,
        caller: Option<&Caller>,
        path: &str,
        read: impl FnOnce(Format, &[u8], &Reader) -> Result<T>,
    ) -> Result<(T, Option<String>)> {
        let call = self.0.connection.call(caller, Method::Get, path, self.0.format, None, self.limits());
        let Good { format, body, token } = call.await?;
        let read = read(format, &body, &Reader::of([]));
        Ok((read.map_err(|error| self.0.connection.answered(path, error))?, token))
    }

    async fn post<T>(
        &self,
        caller: &Caller,
        path: &str,
        message: &impl Serialize,
        reader: impl FnOnce() -> Reader,
        read: impl FnOnce(Format, &[u8], &Reader) -> Result<T>,
    ) -> Result<T> {
        let body = self.0.format.write(message)?;
        let (connection, format) = (&self.0.connection, self.0.format);
        let call = connection.call(Some(caller), Method::Post, path, format, Some(body), self.limits());
        let Good { format, body, .. } = call.await?;
        // A record that does not fit its model stays for the one who takes it in to refuse.
        let reader = reader().keeping_misfits();
        read(format, &body, &reader).map_err(|error| self.0.connection.answered(path, error))
    }

    /// Sends items in as many requests as the server's limits make of them.
    async fn in_parts<'a, T, M, R>(
        &self,
        caller: &Caller,
        path: &str,
        items: &'a [T],
        message: impl Fn(&'a [T]) -> M,
        schemas: impl Fn(&T) -> &'static ModelSchema,
        read: impl Fn(Format, &[u8], &Reader) -> Result<R>,
    ) -> Result<Vec<R>>
    where
        M: Serialize,
    {
        let (mut at, mut size, mut parts) = (0, self.limits().page_records.max(1), Vec::new());
        while at < items.len() {
            let part = &items[at..items.len().min(at + size)];
            let reader = || Reader::of(by_name(part.iter().map(&schemas)));
            match self.post(caller, path, &message(part), reader, &read).await {
                Ok(answer) => {
                    at += part.len();
                    parts.push(answer);
                }
                Err(error) if error.kind() == ErrorKind::TooLarge && part.len() > 1 => size = part.len() / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(parts)
    }
}

/// The models among these, each once.
fn by_name(schemas: impl Iterator<Item = &'static ModelSchema>) -> Vec<&'static ModelSchema> {
    let schemas: BTreeMap<_, _> = schemas.map(|schema| (schema.name, schema)).collect();
    schemas.into_values().collect()
}

#[sync_runtime::async_trait]
impl Replica for HttpReplica {
    async fn describe(&self, _caller: &Caller) -> Result<Description> {
        if let Some(description) = self.described(Clone::clone)
            && self.0.connection.goes_on_as_known().await
        {
            return Ok(description);
        }
        let read = |format: Format, body: &[u8], reader: &Reader| {
            format.read(body, reader, Plain::<Description>::seed(), "reading a description")
        };
        let (description, token) = self.get(None, "", read).await?;
        self.0.connection.is_known_as(description.subject.clone(), token);
        *self.0.description.lock().unwrap_or_else(PoisonError::into_inner) = Some(description.clone());
        Ok(description)
    }

    async fn exchange(&self, caller: &Caller, exchange: Exchange) -> Result<Exchanged> {
        let wanted = exchange.pull.as_ref().and_then(|pull| self.wanted(&pull.models));
        let text = wire::ExchangeText::of(&exchange, wanted.as_deref());
        let reader = || match (&exchange.pull, &exchange.push) {
            (Some(pull), _) => Reader::new(&pull.models),
            (None, Some(push)) => {
                Reader::of(by_name(push.page.updates.iter().map(|update| update.state.change.schema)))
            }
            (None, None) => Reader::of([]),
        };
        let read = |format: Format, body: &[u8], reader: &Reader| {
            let seed = wire::ReadExchanged::seed(reader, MOST_ANSWERED);
            format.read(body, reader, seed, "reading the answer to an exchange")
        };
        let exchanged = self.post(caller, path::EXCHANGE, &text, reader, read).await;
        if exchanged.as_ref().is_err_and(|error| error.kind() == ErrorKind::UnknownModel) {
            // It had the model when it described itself: it is not to be seen any more.
            self.forget_description();
        }
        let exchanged = exchanged?;
        if exchanged.replica != exchange.to
            || exchanged.pulled.as_ref().is_some_and(|it| self.is_outdated(it, wanted.as_deref()))
        {
            self.forget_description();
        }
        Ok(exchanged)
    }

    async fn changes(&self, caller: &Caller, pull: Pull) -> Result<Pulled> {
        let wanted = self.wanted(&pull.models);
        let text = wire::PullText::of(&pull, wanted.as_deref());
        let read = |format: Format, body: &[u8], reader: &Reader| {
            let seed = Chosen(wire::ReadPulled(reader, MOST_ANSWERED));
            format.read(body, reader, seed, "reading changes")
        };
        self.post(caller, path::CHANGES, &text, || Reader::new(&pull.models), read).await
    }

    async fn diff(&self, caller: &Caller, changes: Vec<Change>) -> Result<Diff> {
        let read = |format: Format, body: &[u8], reader: &Reader| {
            format.read(body, reader, wire::ReadDiff::seed(reader, MOST_ANSWERED), "reading a diff")
        };
        let text = |part| wire::ChangesText::from(part);
        let parts = self.in_parts(caller, path::DIFF, &changes, text, |change| change.schema, read).await?;
        let joined = parts.into_iter().reduce(|mut diff, part| {
            let before = diff.deltas.len();
            diff.absent.extend(part.absent.into_iter().map(|place| place.saturating_add(before)));
            diff.deltas.extend(part.deltas);
            diff.conflicts.extend(part.conflicts);
            // What may be read can change between the parts.
            diff.scopes = match (diff.scopes, part.scopes) {
                (Some(before), Some(now)) => Some(before.intersection(&now).cloned().collect()),
                (before, now) => before.or(now),
            };
            diff
        });
        Ok(joined.unwrap_or_default())
    }

    async fn create_updates(&self, caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>> {
        let read = |format: Format, body: &[u8], reader: &Reader| {
            format.read(body, reader, wire::ReadUpdates::seed(reader, MOST_ANSWERED), "reading updates")
        };
        let text = |part| wire::DeltasText::from(part);
        let parts =
            self.in_parts(caller, path::CREATE_UPDATES, &deltas, text, |change| change.schema, read).await?;
        Ok(parts.into_iter().flatten().collect())
    }

    async fn bulk_update(
        &self,
        caller: &Caller,
        from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>> {
        let read = |format: Format, body: &[u8], reader: &Reader| {
            format.read(body, reader, wire::ReadOutcomes::seed(reader, MOST_ANSWERED), "reading outcomes")
        };
        let text = |part| wire::BulkText::of(from, part);
        let schema = |update: &Update| update.state.change.schema;
        let parts = self.in_parts(caller, path::BULK_UPDATE, &updates, text, schema, read).await?;
        Ok(parts.into_iter().flatten().collect())
    }

    async fn checkpoint(&self, caller: &Caller) -> Result<Checkpoint> {
        let read = |format: Format, body: &[u8], reader: &Reader| {
            let seed = Plain::<wire::CheckpointText>::seed();
            format.read(body, reader, seed, "reading a checkpoint").map(|text| text.checkpoint)
        };
        let (checkpoint, _) = self.get(Some(caller), path::CHECKPOINT, read).await?;
        if self.described(|description| description.replica != checkpoint.replica) == Some(true) {
            self.forget_description();
        }
        Ok(checkpoint)
    }

    async fn read(
        &self,
        caller: &Caller,
        schema: &'static ModelSchema,
        wanted: Wanted,
    ) -> Result<Vec<State>> {
        let read = |format: Format, body: &[u8], reader: &Reader| {
            format.read(body, reader, wire::ReadStates::seed(reader, MOST_ANSWERED), "reading records")
        };
        match &wanted {
            Wanted::Ids(ids) => {
                let text = |part| wire::WantedText::ids(schema, part);
                let parts = self.in_parts(caller, path::READ, ids, text, |_| schema, read).await?;
                Ok(parts.into_iter().flatten().collect())
            }
            Wanted::Matching { filter, after, limit } => {
                let text = wire::WantedText::matching(schema, filter, after.as_ref(), *limit);
                self.post(caller, path::READ, &text, || Reader::of([schema]), read).await
            }
        }
    }

    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>> {
        let read = |format: Format, body: &[u8], reader: &Reader| {
            format.read(body, reader, wire::ReadStates::seed(reader, MOST_ANSWERED), "reading records")
        };
        let reader = || Reader::of(by_name(writes.iter().map(|write| write.schema)));
        self.post(caller, path::WRITE, &wire::WritesText::from(writes.as_slice()), reader, read).await
    }

    async fn watch(&self, _caller: &Caller, watch: Watching, tell: Tell<'_>) -> Result<()> {
        let from = watch.from.map(|from| format!("from={from}"));
        let since = watch.since.map(|since| format!("since={since}"));
        let query = from.into_iter().chain(since).collect::<Vec<_>>().join("&");
        self.0.connection.listen(&format!("{}?{query}", path::EVENTS), tell).await
    }

    fn models(&self) -> Option<&Models> {
        None
    }

    fn engine(&self) -> Option<&Engine> {
        None
    }
}
