//! The conformance suite on a file and on a database in memory.

mod common;

use common::Folder;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use std::sync::Arc;
use sync_runtime::store::Store;
use sync_runtime::{Id, ModelSchema, Record, Value};
use sync_store_sql::SqlStore;
use sync_testkit::StoreFactory;

fn opened(url: &str) -> Arc<dyn Store> {
    Arc::new(pollster::block_on(SqlStore::open(url)).expect("the store opens"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as the documentation of the store says that it stands in a column.
fn sql(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::Null,
        Value::Bool(yes) => Sql::Integer((*yes).into()),
        Value::Int(n) | Value::Timestamp(n) => Sql::Integer(*n),
        Value::Float(x) => Sql::Real(*x),
        Value::Text(text) | Value::Decimal(text) => Sql::Text(text.clone()),
        Value::Bytes(bytes) => Sql::Blob(bytes.clone()),
        Value::Uuid(id) => Sql::Blob(id.as_bytes().to_vec()),
        Value::Date(day) => Sql::Text(sync_runtime::value::date_text(*day).expect("a day")),
        Value::Json(json) => Sql::Text(json.to_string()),
    }
}

struct File(Folder);

impl File {
    fn new() -> Self {
        File(Folder::new())
    }

    /// Another program, which has taken the triggers of this table away.
    fn without_triggers(&self, schema: &ModelSchema, run: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        let connection = Connection::open(self.0.file()).expect("it opens");
        let mut select = connection
            .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1")
            .expect("a query");
        let triggers: Vec<(String, String)> = select
            .query_map([schema.table], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .expect("triggers");
        assert!(!triggers.is_empty());
        connection.execute_batch("BEGIN IMMEDIATE").expect("it begins");
        for (name, _) in &triggers {
            connection.execute_batch(&format!("DROP TRIGGER {}", quoted(name))).expect("it drops");
        }
        run(&connection).expect("it writes");
        for (_, create) in &triggers {
            connection.execute_batch(create).expect("it makes them again");
        }
        connection.execute_batch("COMMIT").expect("it commits");
    }
}

#[sync_runtime::async_trait]
impl StoreFactory for File {
    async fn open(&mut self) -> Arc<dyn Store> {
        opened(&self.0.url())
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        drop(store);
        Some(opened(&self.0.url()))
    }

    fn reads_beside_a_writer(&self) -> bool {
        true
    }

    async fn write_untracked(
        &mut self,
        _: &Arc<dyn Store>,
        schema: &'static ModelSchema,
        id: &Id,
        record: Option<Record>,
    ) -> bool {
        let table = quoted(schema.table);
        let key = schema.id_values(id).expect("an id of the model");
        let (columns, parts): (Vec<_>, Vec<_>) = key
            .iter()
            .map(|(place, part)| (format!("{} = ?", quoted(schema.fields[*place].name)), sql(part)))
            .unzip();
        self.without_triggers(schema, |connection| {
            let delete = format!("DELETE FROM {table} WHERE {}", columns.join(" AND "));
            connection.execute(&delete, params_from_iter(parts))?;
            let Some(record) = record else { return Ok(()) };
            let present: Vec<_> = schema
                .fields
                .iter()
                .enumerate()
                .filter_map(|(index, field)| Some((quoted(field.name), sql(record.get(index)?))))
                .collect();
            let names: Vec<_> = present.iter().map(|(name, _)| name.as_str()).collect();
            let marks = vec!["?"; names.len()].join(", ");
            let insert = format!("INSERT INTO {table}({}) VALUES ({marks})", names.join(", "));
            connection.execute(&insert, params_from_iter(present.into_iter().map(|(_, value)| value)))?;
            Ok(())
        });
        true
    }

    async fn make_unique(&mut self, _: &Arc<dyn Store>, schema: &'static ModelSchema, field: usize) -> bool {
        let connection = Connection::open(self.0.file()).expect("it opens");
        let column = quoted(schema.fields[field].name);
        let create = format!("CREATE UNIQUE INDEX made_unique ON {}({column})", quoted(schema.table));
        connection.execute_batch(&create).expect("it is made");
        true
    }
}

mod file {
    use super::File;

    sync_testkit::store_conformance!(File::new());
}

/// A file in which another program keeps rows that refer to records, so that writes may cascade.
fn referred_to() -> File {
    let file = File::new();
    let connection = Connection::open(file.0.file()).expect("it opens");
    connection
        .execute_batch("CREATE TABLE watched(task REFERENCES task ON DELETE CASCADE ON UPDATE CASCADE)")
        .expect("it is made");
    file
}

mod file_with_triggers_on {
    use super::referred_to;

    sync_testkit::store_conformance!(referred_to());
}

struct Memory;

#[sync_runtime::async_trait]
impl StoreFactory for Memory {
    async fn open(&mut self) -> Arc<dyn Store> {
        opened("sqlite::memory:")
    }

    async fn reopen(&mut self, _: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        None
    }

    fn reads_beside_a_writer(&self) -> bool {
        false
    }

    async fn write_untracked(
        &mut self,
        _: &Arc<dyn Store>,
        _: &'static ModelSchema,
        _: &Id,
        _: Option<Record>,
    ) -> bool {
        false
    }

    async fn make_unique(&mut self, _: &Arc<dyn Store>, _: &'static ModelSchema, _: usize) -> bool {
        false
    }
}

mod memory {
    use super::Memory;

    sync_testkit::store_conformance!(Memory);
}
