//! The conformance suite on MariaDB.

#![cfg(feature = "mariadb")]

#[path = "common/mariadb.rs"]
mod mariadb;

use mariadb::Database;
use std::sync::Arc;
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::Store;
use sync_runtime::value::{FieldType, Value, date_text};
use sync_store_sql::SqlStore;
use sync_testkit::StoreFactory;

struct Fresh(Database);

impl Fresh {
    fn new() -> Self {
        Fresh(Database::new())
    }

    async fn opened(&self) -> Arc<dyn Store> {
        Arc::new(SqlStore::open(&self.0.url()).await.expect("the store opens"))
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn hex(bytes: &[u8]) -> String {
    format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A value as a literal, in the form that the documentation of the store names for its column.
fn literal(value: &Value) -> String {
    let text = |text: &str| format!("CONVERT({} USING utf8mb4)", hex(text.as_bytes()));
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Timestamp(micros) => format!("TIMESTAMP'1970-01-01 00:00:00' + INTERVAL {micros} MICROSECOND"),
        Value::Float(x) => format!("'{x:?}'"),
        Value::Text(value) | Value::Decimal(value) => text(value),
        Value::Bytes(bytes) => hex(bytes),
        Value::Uuid(id) => hex(id.as_bytes()),
        Value::Date(day) => text(&date_text(*day).expect("a day")),
        Value::Json(json) => text(&json.to_string()),
    }
}

#[sync_runtime::async_trait]
impl StoreFactory for Fresh {
    async fn open(&mut self) -> Arc<dyn Store> {
        self.opened().await
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        drop(store);
        Some(self.opened().await)
    }

    fn reads_beside_a_writer(&self) -> bool {
        true
    }

    fn tells_only_of_its_own_commits(&self) -> bool {
        false
    }

    async fn write_untracked(
        &mut self,
        _: &Arc<dyn Store>,
        schema: &'static ModelSchema,
        id: &Id,
        record: Option<Record>,
    ) -> bool {
        let table = quoted(schema.table);
        let key = schema.id_values(id).expect("an id of the model").into_iter();
        let key =
            key.map(|(place, part)| format!("{} = {}", quoted(schema.fields[place].name), literal(&part)));
        let mut sql = format!("DELETE FROM {table} WHERE {}", key.collect::<Vec<_>>().join(" AND "));
        if let Some(record) = record {
            let present: Vec<_> = schema
                .fields
                .iter()
                .enumerate()
                .filter_map(|(index, field)| Some((quoted(field.name), literal(record.get(index)?))))
                .collect();
            let (names, values): (Vec<_>, Vec<_>) = present.into_iter().unzip();
            sql += &format!("; INSERT INTO {table}({}) VALUES ({})", names.join(", "), values.join(", "));
        }
        self.0.without_triggers(schema.table, &sql);
        true
    }

    async fn make_unique(&mut self, _: &Arc<dyn Store>, schema: &'static ModelSchema, field: usize) -> bool {
        let field = &schema.fields[field];
        // An index takes so many characters of a long text.
        let length = if field.ty == FieldType::Text { "(191)" } else { "" };
        let (column, table) = (quoted(field.name), quoted(schema.table));
        // Named after the column, as MariaDB does by itself.
        self.0.sql(&format!("ALTER TABLE {table} ADD UNIQUE ({column}{length})"));
        true
    }
}

sync_testkit::store_conformance!(Fresh::new());
