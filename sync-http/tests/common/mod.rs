//! A small replica to serve, a server to serve it, and a client that can send anything.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use sync_http::{AllowAll, Policy, SyncRoutes, serve};
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::engine::Engine;
use sync_runtime::record::{Id, Record};
use sync_runtime::replica::{
    Caller, Description, Diff, Exchange, Exchanged, FeedPage, Limits, ModelDescription, Outcome, Page, Pull,
    Pulled, Pushed, Rejection, RemoteWrite, Replica, Tell, Update, Wanted, Watching,
};
use sync_runtime::schema::Model;
use sync_runtime::{
    Ancestry, Checkpoint, Error, ErrorKind, FieldSchema, FieldType, ModelSchema, Models, ReplicaId, Result,
    Revision, Right, Value,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

const fn field(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema::new(name, ty)
}

pub static TODO: ModelSchema = ModelSchema {
    name: "Todo",
    table: "todo",
    fields: &[
        field("id", FieldType::Uuid),
        field("title", FieldType::Text),
        field("completed", FieldType::Bool),
        field("rank", FieldType::I64),
        FieldSchema { nullable: true, ..field("notes", FieldType::Text) },
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

pub static TAG: ModelSchema = ModelSchema {
    name: "Tag",
    table: "tag",
    fields: &[field("id", FieldType::Text)],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

pub fn models(schemas: &[&'static ModelSchema]) -> Models {
    let mut models = Models::default();
    schemas.iter().for_each(|schema| models.add(Model { schema, check: |_| Ok(()) }));
    models
}

pub const ME: ReplicaId = ReplicaId(Uuid::from_u128(0x0193_a1b2_c3d4_7e8f_9a0b_0000_0000_0001));
pub const PEER: ReplicaId = ReplicaId(Uuid::from_u128(0x0193_a1b2_c3d4_7e8f_9a0b_0000_0000_0002));

/// A fresh-looking id for each number.
pub fn todo_id(n: u64) -> Uuid {
    let mixed = u128::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    uuid::Builder::from_random_bytes(mixed.to_be_bytes()).into_uuid()
}

pub fn todo(n: u64, title: &str) -> State {
    let values = [
        Value::Uuid(todo_id(n)),
        Value::Text(title.to_owned()),
        Value::Bool(n.is_multiple_of(2)),
        Value::Int(n as i64),
        Value::Text(format!(
            "notes on {title}, number {n}, with a good hundred characters of text like a person types"
        )),
    ];
    let record = Record::new(values.into_iter().map(Some).collect());
    state(&TODO, Id::Uuid(todo_id(n)), Some(record), n as i64)
}

pub fn tag(name: &str) -> State {
    let record = Record::new(vec![Some(Value::Text(name.to_owned()))]);
    state(&TAG, Id::Text(name.to_owned()), Some(record), 1)
}

pub fn state(schema: &'static ModelSchema, id: Id, record: Option<Record>, n: i64) -> State {
    let kind = if record.is_some() { ChangeKind::Create } else { ChangeKind::Delete };
    let current = Revision { stamp: 1_732_147_200_000_000 + n, replica: PEER };
    let change = Change {
        schema,
        id,
        kind,
        ancestry: Ancestry::new(current, [(ReplicaId(Uuid::from_u128(7)), 5)]),
        merged: None,
        previous: None,
        position: 0,
        group: None,
        origin: None,
        unknown: None,
        stamps: None,
    };
    State { change, record }
}

pub fn update(state: State) -> Update {
    Update { state, based_on: None }
}

pub fn pull(since: Option<Checkpoint>, limit: usize) -> Pull {
    Pull { since, limit, ..Pull::of(models(&[&TODO, &TAG])) }
}

/// A replica in memory that says everything there is to say, by simple rules.
#[derive(Debug)]
pub struct Shelf {
    models: Models,
    limits: Limits,
    states: Mutex<BTreeMap<(&'static str, String), State>>,
    pub begun: AtomicU64,
    pub ended: AtomicU64,
    /// How long a call of `bulk_update` takes, between its begin and its end.
    pub slowness: Duration,
}

impl Default for Shelf {
    fn default() -> Self {
        Shelf {
            models: models(&[&TODO, &TAG]),
            limits: Limits::default(),
            states: Mutex::default(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            slowness: Duration::ZERO,
        }
    }
}

impl Shelf {
    pub fn with(states: impl IntoIterator<Item = State>) -> Self {
        let shelf = Shelf::default();
        states.into_iter().for_each(|state| shelf.put(state));
        shelf
    }

    pub fn limited(limits: Limits) -> Self {
        Shelf { limits, ..Shelf::default() }
    }

    pub fn knowing(self, schemas: &[&'static ModelSchema]) -> Self {
        Shelf { models: models(schemas), ..self }
    }

    pub fn slow(self, slowness: Duration) -> Self {
        Shelf { slowness, ..self }
    }

    pub fn len(&self) -> usize {
        self.states.lock().expect("not poisoned").len()
    }

    pub fn put(&self, mut state: State) {
        let mut states = self.states.lock().expect("not poisoned");
        state.change.position = states.values().map(|state| state.change.position).max().unwrap_or(0) + 1;
        state.change.group = Some(state.change.position);
        states.insert((state.change.schema.name, state.change.id.to_string()), state);
    }

    fn held(&self, change: &Change) -> Option<State> {
        let states = self.states.lock().expect("not poisoned");
        states.get(&(change.schema.name, change.id.to_string())).cloned()
    }

    fn feed(&self) -> Vec<State> {
        let states = self.states.lock().expect("not poisoned");
        let mut feed: Vec<_> = states.values().cloned().collect();
        feed.sort_by_key(|state| state.change.position);
        feed
    }

    fn newest(&self) -> Checkpoint {
        Checkpoint::new(ME, self.feed().last().map_or(0, |state| state.change.position))
    }

    fn apply(&self, update: Update) -> Outcome {
        let title = match update.state.record.as_ref().and_then(|record| record.get(1)) {
            Some(Value::Text(title)) => title.as_str(),
            _ => "",
        };
        let held = self.held(&update.state.change);
        match (title, &update.state.record, held) {
            (_, _, Some(held)) if held.change.revision() == update.state.change.revision() => Outcome::Known,
            ("panic", ..) => panic!("a hook of the app panics, as the test wants it to"),
            ("storage", ..) => Outcome::Rejected(Rejection { code: "invalid".into(), reason: "no".into() }),
            ("amend", ..) => Outcome::Amended(Box::new(todo(99, "amended"))),
            ("conflict", ..) => Outcome::Conflict(Box::new(todo(98, "theirs"))),
            ("whole", ..) => Outcome::NeedWhole,
            (_, Some(record), _) => match update.state.change.schema.check(record) {
                Ok(()) => {
                    self.put(update.state);
                    Outcome::Applied
                }
                Err(error) => {
                    Outcome::Rejected(Rejection { code: "invalid_value".into(), reason: error.to_string() })
                }
            },
            (_, None, _) => {
                self.put(update.state);
                Outcome::Applied
            }
        }
    }

    fn pulled(&self, pull: &Pull) -> Pulled {
        let after = match pull.since {
            Some(since) if since.replica != ME => return Pulled::UnknownCheckpoint,
            since => since.map_or(0, |since| since.position),
        };
        let mut states: Vec<_> =
            self.feed().into_iter().filter(|state| state.change.position > after).collect();
        let more = states.len() > pull.limit;
        states.truncate(pull.limit);
        let position = states.last().map_or(after, |state| state.change.position);
        if let Some(schema) = pull.model {
            states.retain(|state| state.change.schema.name == schema.name);
        }
        let updates = states.into_iter().map(|mut state| {
            state.record = state.record.filter(|_| pull.data);
            update(state)
        });
        let page = Page { updates: updates.collect(), group_open: false };
        let ahead = self.newest().position - position;
        Pulled::Page(FeedPage {
            page,
            checkpoint: Checkpoint::new(ME, position),
            more,
            ahead,
            skipped: 0,
            covers: None,
            scopes: None,
            unwanted: BTreeSet::new(),
            exits: Vec::new(),
            withheld: false,
            horizon: 0,
        })
    }
}

#[sync_runtime::async_trait]
impl Replica for Shelf {
    async fn describe(&self, _caller: &Caller) -> Result<Description> {
        let described = |schema: &'static ModelSchema| ModelDescription {
            name: schema.name.to_owned(),
            fields: schema
                .replicated()
                .map(|(_, f)| (f.name.to_owned(), f.ty.to_string(), f.nullable))
                .collect(),
        };
        let models = self.models.iter().map(|model| described(model.schema)).collect();
        Ok(Description {
            replica: ME,
            former: Vec::new(),
            now: 1_732_147_200_000_000,
            limits: self.limits,
            subject: None,
            models,
        })
    }

    async fn exchange(&self, _caller: &Caller, exchange: Exchange) -> Result<Exchanged> {
        let nothing =
            Exchanged { replica: ME, now: 1_732_147_200_000_000, taken: 0, pushed: None, pulled: None };
        if exchange.to != ME {
            return Ok(nothing);
        }
        let pushed = exchange.push.map(|push| match push.number {
            999 => Pushed::TakeNewName,
            998 => Pushed::Expected(u64::MAX - 1),
            997 => Pushed::ClockAhead,
            _ if push.page.group_open => Pushed::Staged,
            _ => Pushed::Applied(push.page.updates.into_iter().map(|update| self.apply(update)).collect()),
        });
        Ok(Exchanged { pushed, pulled: exchange.pull.map(|pull| self.pulled(&pull)), ..nothing })
    }

    async fn changes(&self, _caller: &Caller, pull: Pull) -> Result<Pulled> {
        Ok(self.pulled(&pull))
    }

    async fn diff(&self, _caller: &Caller, changes: Vec<Change>) -> Result<Diff> {
        let mut diff = Diff::default();
        for change in changes {
            match self.held(&change) {
                None => diff.deltas.push(change),
                Some(held) if held.change.revision() == change.revision() => {}
                Some(held) => diff.conflicts.push((change, held.change)),
            }
        }
        Ok(diff)
    }

    async fn create_updates(&self, _caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>> {
        Ok(deltas.iter().filter_map(|change| self.held(change)).map(update).collect())
    }

    async fn bulk_update(
        &self,
        _caller: &Caller,
        _from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.slowness).await;
        let outcomes = updates.into_iter().map(|update| self.apply(update)).collect();
        self.ended.fetch_add(1, Ordering::SeqCst);
        Ok(outcomes)
    }

    async fn checkpoint(&self, _caller: &Caller) -> Result<Checkpoint> {
        Ok(self.newest())
    }

    async fn read(
        &self,
        _caller: &Caller,
        schema: &'static ModelSchema,
        wanted: Wanted,
    ) -> Result<Vec<State>> {
        let mut states = self.feed();
        states.retain(|state| state.change.schema.name == schema.name);
        match wanted {
            Wanted::Ids(ids) => states.retain(|state| ids.contains(&state.change.id)),
            Wanted::Matching { filter, after, limit } => {
                states.retain(|state| state.record.as_ref().is_some_and(|record| filter.matches(record)));
                states.retain(|state| after.as_ref().is_none_or(|after| state.change.id > *after));
                states.truncate(limit);
            }
        }
        Ok(states)
    }

    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>> {
        if caller.right_on(TODO.name) < Right::Write {
            return Err(Error::new(ErrorKind::Forbidden, "this caller may only read"));
        }
        let mut states = Vec::new();
        for write in writes {
            if write.expect.is_some_and(|revision| revision.stamp == 1) {
                return Err(Error::new(
                    ErrorKind::Moved,
                    format!("Todo {} is in another revision", write.id),
                ));
            }
            if let Some(Value::Text(title)) = write.record.as_ref().and_then(|record| record.get(1)) {
                match title.as_str() {
                    "storage" => {
                        return Err(Error::new(ErrorKind::Storage, "/home/alice/secret.db: disk full"));
                    }
                    "busy" => {
                        let error = Error::new(ErrorKind::Busy, "the write lock is taken");
                        return Err(error.with_retry_after(Duration::from_secs(7)));
                    }
                    _ => {}
                }
            }
            let state = state(write.schema, write.id, write.record, 500);
            self.put(state.clone());
            states.push(state);
        }
        Ok(states)
    }

    async fn watch(&self, _caller: &Caller, _watch: Watching, _tell: Tell<'_>) -> Result<()> {
        Err(Error::new(ErrorKind::Usage, "a shelf does not move by itself"))
    }

    fn models(&self) -> Option<&Models> {
        Some(&self.models)
    }

    fn engine(&self) -> Option<&Engine> {
        None
    }
}

/// Serves the replica at `/sync` on a free port.
pub async fn served(replica: impl Replica) -> SocketAddr {
    served_with(SyncRoutes::new(Arc::new(replica), AllowAll)).await
}

pub async fn served_by(replica: impl Replica, policy: impl Policy) -> SocketAddr {
    served_with(SyncRoutes::new(Arc::new(replica), policy)).await
}

pub async fn served_with(routes: SyncRoutes) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let app = axum::Router::new().nest("/sync", routes.router());
    tokio::spawn(serve(listener, app));
    address
}

pub fn url(address: SocketAddr) -> String {
    format!("http://{address}/sync")
}

/// An answer as a plain client sees it.
#[derive(Debug)]
pub struct Plain {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Plain {
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem's status, code and detail.
    pub fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status, "{json}");
        assert!(json["title"].is_string() && json["type"].is_string(), "{json}");
        let text = |name: &str| json[name].as_str().expect(name).to_owned();
        (self.status, text("code"), text("detail"))
    }
}

/// Sends bytes as they are, and reads until the server closes.
pub async fn raw(address: SocketAddr, request: &[u8]) -> Plain {
    let mut connection = TcpStream::connect(address).await.expect("connects");
    // A server that refuses early may close before all was written.
    let _ = connection.write_all(request).await;
    let mut bytes = Vec::new();
    let _ = connection.read_to_end(&mut bytes).await;
    parse(&bytes)
}

/// Sends bytes as they are, and reads no further than the head and what comes with it; what is a problem is read whole.
pub async fn raw_head(address: SocketAddr, request: &[u8]) -> Plain {
    let mut connection = TcpStream::connect(address).await.expect("connects");
    connection.write_all(request).await.expect("is sent");
    let mut bytes = Vec::new();
    loop {
        let read = connection.read_buf(&mut bytes).await.expect("is answered");
        if bytes.windows(4).any(|window| window == b"\r\n\r\n")
            && (bytes.starts_with(b"HTTP/1.1 200") || read == 0)
        {
            return parse(&bytes);
        }
        assert_ne!(read, 0, "it ends in its head");
    }
}

pub fn parse(bytes: &[u8]) -> Plain {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Plain { status, head, body: bytes[end + 4..].to_vec() }
}

/// A request with these headers; the connection closes after it.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if method != "GET" {
        request += &format!("content-length: {}\r\n", body.len());
    }
    [(request + "\r\n").into_bytes(), body.to_vec()].concat()
}

pub const JSON: (&str, &str) = ("content-type", "application/json");
