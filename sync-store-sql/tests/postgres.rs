//! The conformance suite on PostgreSQL.

#![cfg(feature = "postgres")]

#[path = "common/postgres.rs"]
mod postgres;

use postgres::Schema;
use std::sync::Arc;
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::Store;
use sync_runtime::value::{FieldType, Value, date_text};
use sync_store_sql::SqlStore;
use sync_testkit::StoreFactory;

struct Fresh(Schema);

impl Fresh {
    fn new() -> Self {
        Fresh(Schema::new())
    }

    async fn opened(&self) -> Arc<dyn Store> {
        Arc::new(SqlStore::open(&self.0.url()).await.expect("the store opens"))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as a literal, in the form that the documentation of the store names for its column.
fn literal(ty: FieldType, value: &Value) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Timestamp(micros) => {
            format!("timestamptz '1970-01-01 00:00:00Z' + make_interval(secs => {micros} / 1e6)")
        }
        Value::Float(x) => format!("'{x:?}'"),
        Value::Text(value) | Value::Decimal(value) => text(value),
        Value::Bytes(bytes) => {
            format!("'\\x{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        Value::Uuid(id) => format!("'{id}'"),
        Value::Date(day) => text(&date_text(*day).expect("a day")),
        Value::Json(json) => {
            format!("{}::{}", text(&json.to_string()), if ty == FieldType::Json { "json" } else { "text" })
        }
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
        let key = schema.id_values(id).expect("an id of the model").into_iter().map(|(place, part)| {
            let field = &schema.fields[place];
            format!("{} = {}", quoted(field.name), literal(field.ty, &part))
        });
        let key = key.collect::<Vec<_>>().join(" AND ");
        // As a program does that restores a dump: no trigger fires.
        let mut sql =
            format!("SET LOCAL session_replication_role = replica; DELETE FROM {table} WHERE {key}");
        if let Some(record) = record {
            let present: Vec<_> = schema
                .fields
                .iter()
                .enumerate()
                .filter_map(|(index, field)| {
                    Some((quoted(field.name), literal(field.ty, record.get(index)?)))
                })
                .collect();
            let (names, values): (Vec<_>, Vec<_>) = present.into_iter().unzip();
            sql += &format!("; INSERT INTO {table}({}) VALUES ({})", names.join(", "), values.join(", "));
        }
        self.0.sql(&sql);
        true
    }

    async fn make_unique(&mut self, _: &Arc<dyn Store>, schema: &'static ModelSchema, field: usize) -> bool {
        let column = quoted(schema.fields[field].name);
        self.0.sql(&format!("CREATE UNIQUE INDEX made_unique ON {}({column})", quoted(schema.table)));
        true
    }
}

sync_testkit::store_conformance!(Fresh::new());
