//! Models for the tests, and a prepared store with the calls of the contract.

#![allow(dead_code, unreachable_pub)]

use sync_runtime::change::{Change, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, Model, ModelSchema, Models};
use sync_runtime::store::{
    Access, Base, Expect, Feed, Put, Saved, Store, Transaction, Write, transact, transact_once,
};
use sync_runtime::version::{Position, ReplicaId, Stamp};
use sync_runtime::{BoxFuture, FieldType, Result, Value};
use sync_store_sql::SqlStore;
use uuid::Uuid;

pub const fn field(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema::new(name, ty)
}

pub const fn optional(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema { nullable: true, ..field(name, ty) }
}

pub const fn local(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema { nullable: true, local: true, ..field(name, ty) }
}

/// Rows are easy to write in SQL; `code` is made unique by the tests that need that.
pub static NOTE: ModelSchema = ModelSchema {
    name: "Note",
    table: "note",
    fields: &[
        field("id", FieldType::I64),
        field("title", FieldType::Text),
        optional("code", FieldType::I64),
        optional("score", FieldType::Float),
        local("draft", FieldType::Text),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

/// A child of a note, with an id of another type.
pub static COMMENT: ModelSchema = ModelSchema {
    name: "Comment",
    table: "comment",
    fields: &[
        field("key", FieldType::Text),
        optional("note", FieldType::I64),
        field("text", FieldType::Text),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

pub static TODO: ModelSchema = ModelSchema {
    name: "Todo",
    table: "todo",
    fields: &[
        field("id", FieldType::Uuid),
        field("title", FieldType::Text),
        field("completed", FieldType::Bool),
        field("votes", FieldType::I64),
        field("notes", FieldType::Text),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

fn fine(_: &Record) -> Result<()> {
    Ok(())
}

pub fn models(schemas: &[&'static ModelSchema]) -> Models {
    let mut models = Models::default();
    for schema in schemas {
        models.add(Model { schema, check: fine });
    }
    models
}

pub fn me() -> ReplicaId {
    peer(1)
}

pub fn peer(number: u128) -> ReplicaId {
    ReplicaId(Uuid::from_u128(number))
}

/// A prepared store.
#[derive(Debug)]
pub struct World {
    pub store: SqlStore,
}

impl World {
    pub fn open(url: &str, schemas: &[&'static ModelSchema]) -> Self {
        World { store: open(url, schemas) }
    }

    /// The feed in short, where there is an executor already.
    pub async fn feed_in(&self, after: Position) -> Vec<String> {
        let feed = Feed::after(after);
        let fed =
            transact(&self.store, Access::READ.feed(), move |t| Box::pin(async move { t.feed(&feed).await }));
        fed.await.expect("a feed").into_iter().map(short).collect()
    }

    /// Whether there was anything to repair.
    pub fn retrack(&self, schema: &'static ModelSchema, ids: &[Id]) -> bool {
        let ids = ids.to_vec();
        let repaired =
            self.with(Access::WRITE, move |t| Box::pin(async move { t.retrack(schema, &ids, 9).await }));
        repaired.expect("repaired").contains(&true)
    }

    pub fn with<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        pollster::block_on(transact_once(&self.store, access, work))
    }

    pub fn save(&self, writes: Vec<Write>, now: Stamp) -> Vec<Saved> {
        let saved = transact(&self.store, Access::WRITE, move |t| Box::pin(t.save(writes, now)));
        pollster::block_on(saved).expect("saved")
    }

    pub fn put(&self, states: Vec<State>) -> Vec<Put> {
        self.with(Access::WRITE, move |t| Box::pin(async move { t.put(&states, 1_000).await })).expect("put")
    }

    pub fn keep_bases_through(&self, position: Position) {
        self.with(Access::WRITE, move |t| Box::pin(t.keep_bases_through(Some(position)))).expect("kept");
    }

    pub fn bases(&self, schema: &'static ModelSchema, id: Id) -> Vec<Base> {
        let bases =
            self.with(Access::READ.feed(), move |t| Box::pin(async move { t.bases(schema, &[id]).await }));
        bases.expect("bases").remove(0)
    }

    pub fn record(&self, schema: &'static ModelSchema, id: Id) -> Option<Record> {
        let read =
            self.with(Access::READ.feed(), move |t| Box::pin(async move { t.read(schema, &[id]).await }));
        read.expect("read").remove(0)
    }

    pub fn change(&self, schema: &'static ModelSchema, id: Id) -> Option<Change> {
        let read =
            self.with(Access::READ.feed(), move |t| Box::pin(async move { t.changes(schema, &[id]).await }));
        read.expect("read").remove(0)
    }

    pub fn feed(&self, after: Position) -> Vec<State> {
        let feed = Feed { data: true, ..Feed::after(after) };
        self.with(Access::READ.feed(), move |t| Box::pin(async move { t.feed(&feed).await })).expect("a feed")
    }

    /// The feed in short: `create 1 2`.
    pub fn told(&self, after: Position) -> Vec<String> {
        self.feed(after).into_iter().map(short).collect()
    }

    pub fn newest(&self) -> Position {
        self.with(Access::READ.feed(), |t| Box::pin(t.newest())).expect("a position")
    }

    pub fn untracked(&self, schema: &'static ModelSchema) -> Vec<Id> {
        self.with(Access::READ.feed(), move |t| Box::pin(t.untracked(schema, None, None, 1_000)))
            .expect("ids")
    }
}

/// A state in short: `create 1`.
fn short(state: State) -> String {
    format!("{} {}", state.change.kind, state.change.id)
}

pub fn open(url: &str, schemas: &[&'static ModelSchema]) -> SqlStore {
    let store = pollster::block_on(SqlStore::open(url)).expect("it opens");
    pollster::block_on(store.prepare(&models(schemas), me())).expect("it prepares");
    store
}

pub fn note(id: i64, title: &str, code: Option<i64>) -> Record {
    let code = code.map_or(Value::Null, Value::Int);
    Record::new(vec![
        Some(Value::Int(id)),
        Some(Value::Text(title.into())),
        Some(code),
        Some(Value::Null),
        Some(Value::Null),
    ])
}

pub fn saving(schema: &'static ModelSchema, record: Record, expect: Expect) -> Write {
    let id = schema.id_of(&record).expect("an id");
    Write { schema, id, record: Some(record), expect }
}

pub fn text(record: &Record, field: usize) -> String {
    match record.get(field) {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}
