//! A store in a folder of its own, models for it, and other programs that write to it.

#![allow(dead_code, unreachable_pub)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use sync_runtime::change::{Change, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, Model, ModelSchema, Models};
use sync_runtime::store::{Access, Base, Expect, Feed, Put, Saved, Store, Transaction, Write, transact};
use sync_runtime::version::{Position, ReplicaId, Stamp};
use sync_runtime::{BoxFuture, FieldType, Result, Value};
use sync_store_sql::SqlStore;
use uuid::Uuid;

pub const fn field(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema {
        name,
        ty,
        nullable: false,
        local: false,
        default: None,
        merge: sync_runtime::Merge::Manual,
        parent: None,
        part_of_id: false,
    }
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

/// Another program that writes to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The `sqlite3` program of the system.
    Sqlite3,
    /// A program with the SQLite that is linked here.
    Linked,
}

pub const PROGRAMS: [Program; 2] = [Program::Sqlite3, Program::Linked];

/// A folder that is removed at the end.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sync-sql-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }

    pub fn file(&self) -> String {
        self.0.join("test.db").to_string_lossy().into_owned()
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.file())
    }

    /// Runs SQL in another program; statements that fail do not stop it, and are told of.
    pub fn run(&self, program: Program, sql: &str) -> String {
        match program {
            Program::Sqlite3 => {
                let mut child = Command::new("sqlite3")
                    .arg(self.file())
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("the sqlite3 program; `scripts/services` installs it");
                std::io::Write::write_all(&mut child.stdin.take().expect("its input"), sql.as_bytes())
                    .expect("it reads");
                let output = child.wait_with_output().expect("it ends");
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
            }
            Program::Linked => {
                let connection = rusqlite::Connection::open(self.file()).expect("it opens");
                // As other programs have it.
                connection.execute_batch("PRAGMA foreign_keys = OFF").expect("a pragma");
                let mut told = String::new();
                for statement in sql.split(";\n") {
                    if let Err(error) = connection.execute_batch(statement) {
                        told.push_str(&error.to_string());
                    }
                }
                told
            }
        }
    }

    /// One value, read by the linked SQLite.
    pub fn value<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        let connection = rusqlite::Connection::open(self.file()).expect("it opens");
        connection.query_row(sql, [], |row| row.get(0)).expect("one value")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A prepared store and its folder.
#[derive(Debug)]
pub struct World {
    pub store: SqlStore,
    pub folder: Folder,
}

impl World {
    pub fn new(schemas: &[&'static ModelSchema]) -> Self {
        Self::after("", schemas)
    }

    /// A store over a file in which this was done before.
    pub fn after(sql: &str, schemas: &[&'static ModelSchema]) -> Self {
        let folder = Folder::new();
        if !sql.is_empty() {
            assert_eq!(folder.run(Program::Linked, sql), "");
        }
        let store = open(&folder.url(), schemas);
        World { store, folder }
    }

    pub fn run(&self, program: Program, sql: &str) -> String {
        self.folder.run(program, sql)
    }

    /// Runs SQL that must go well.
    pub fn sql(&self, program: Program, sql: &str) {
        assert_eq!(self.run(program, sql), "", "{sql}");
    }

    pub fn with<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        pollster::block_on(transact(&self.store, access, work))
    }

    pub fn save(&self, writes: Vec<Write>, now: Stamp) -> Vec<Saved> {
        self.with(Access::WRITE, move |t| Box::pin(t.save(writes, now))).expect("saved")
    }

    pub fn put(&self, states: Vec<State>) -> Vec<Put> {
        self.with(Access::WRITE, move |t| Box::pin(async move { t.put(&states, 1_000).await })).expect("put")
    }

    pub fn keep_bases_through(&self, position: Position) {
        self.with(Access::WRITE, move |t| Box::pin(t.keep_bases_through(Some(position)))).expect("kept");
    }

    pub fn bases(&self, schema: &'static ModelSchema, id: Id) -> Vec<Base> {
        let bases = self.with(Access::READ, move |t| Box::pin(async move { t.bases(schema, &[id]).await }));
        bases.expect("bases").remove(0)
    }

    pub fn record(&self, schema: &'static ModelSchema, id: Id) -> Option<Record> {
        let read = self.with(Access::READ, move |t| Box::pin(async move { t.read(schema, &[id]).await }));
        read.expect("read").remove(0)
    }

    pub fn change(&self, schema: &'static ModelSchema, id: Id) -> Option<Change> {
        let read = self.with(Access::READ, move |t| Box::pin(async move { t.changes(schema, &[id]).await }));
        read.expect("read").remove(0)
    }

    pub fn feed(&self, after: Position) -> Vec<State> {
        let feed = Feed { data: true, ..Feed::after(after) };
        self.with(Access::READ, move |t| Box::pin(async move { t.feed(&feed).await })).expect("a feed")
    }

    /// The feed in short: `create 1 2`.
    pub fn told(&self, after: Position) -> Vec<String> {
        let told = |state: State| format!("{} {}", state.change.kind, state.change.id);
        self.feed(after).into_iter().map(told).collect()
    }

    pub fn newest(&self) -> Position {
        self.with(Access::READ, |t| Box::pin(t.newest())).expect("a position")
    }

    pub fn untracked(&self, schema: &'static ModelSchema) -> Vec<Id> {
        self.with(Access::READ, move |t| Box::pin(t.untracked(schema, None, None, 1_000))).expect("ids")
    }
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
