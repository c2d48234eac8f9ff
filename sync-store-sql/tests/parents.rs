//! Columns that hold the id of a parent have an index, so that a delete finds children without reading all records.

#![allow(clippy::unwrap_used, dead_code)]

mod common;

use common::*;
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::Store;
use sync_runtime::{FieldSchema, FieldType};
use sync_store_sql::SqlStore;

static CHILD: ModelSchema = ModelSchema {
    name: "Child",
    table: "child",
    fields: &[
        field("id", FieldType::Uuid),
        FieldSchema { parent: Some(|| &TODO), ..optional("todo", FieldType::Uuid) },
        FieldSchema { parent: Some(|| &CHILD), ..optional("elder", FieldType::Uuid) },
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

#[test]
fn a_column_with_the_id_of_a_parent_has_one_index() {
    let folder = Folder::new();
    folder.run(
        Program::Linked,
        "CREATE TABLE child(id BLOB PRIMARY KEY NOT NULL, todo BLOB, elder BLOB);
         CREATE INDEX mine ON child(elder, todo)",
    );
    for _ in 0..2 {
        let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
        pollster::block_on(store.prepare(&models(&[&TODO, &CHILD]), me())).unwrap();
    }
    let sql = rusqlite::Connection::open(folder.0.join("test.db")).unwrap();
    let mut indexes = sql
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'child' AND sql NOT NULL",
        )
        .unwrap();
    let names: Vec<String> = indexes.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(names, ["mine", "sync_parent_child.todo"]);
    let plan: String = sql
        .query_row("EXPLAIN QUERY PLAN SELECT * FROM child WHERE todo IN (x'00', x'01')", [], |row| {
            row.get(3)
        })
        .unwrap();
    assert!(plan.contains("USING INDEX sync_parent_child.todo"), "{plan}");
}

#[test]
fn a_foreign_key_to_another_model_has_one_index() {
    let world = World::after(
        "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL, code INTEGER, score REAL, draft TEXT);
         CREATE TABLE comment(\"key\" TEXT PRIMARY KEY, Note INTEGER REFERENCES note, text TEXT NOT NULL)",
        &[&NOTE, &COMMENT],
    );
    pollster::block_on(world.store.prepare(&models(&[&NOTE, &COMMENT]), me())).unwrap();
    let indexes: String = world.folder.value(
        "SELECT group_concat(name) FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'comment' AND sql NOT NULL",
    );
    assert_eq!(indexes, "sync_parent_comment.note");
}
