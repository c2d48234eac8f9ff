//! The models' tables as they stand in a database of many writers.

use super::link::{Cell, Kind};
use crate::names;
use crate::records::Reading;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use sync_runtime::Result;
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{ForeignKey, ModelSchema};
use sync_runtime::value::{self, FieldType, Value};
use uuid::Uuid;

/// A column of a model's table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Quoted.
    pub(crate) name: String,
    pub(crate) ty: FieldType,
    pub(crate) kind: Kind,
    /// Whether the database fills it by itself.
    pub(crate) generated: bool,
    /// Whether the column may give another value back than was put in.
    pub(crate) lossy: bool,
    /// Its collation, where the dialect has to say it; else empty.
    pub(crate) collation: String,
}

impl Column {
    /// The value as the column holds it.
    pub(crate) fn encode(&self, value: &Value) -> Cell {
        match (value, self.kind) {
            (Value::Null, _) => Cell::Null,
            (Value::Bool(yes), Kind::Bool) => Cell::Bool(*yes),
            (Value::Bool(yes), _) => Cell::Int(i64::from(*yes)),
            (Value::Int(n), _) => Cell::Int(*n),
            // The shortest text that is this number and no other one.
            (Value::Float(x), Kind::Text) => Cell::Text(format!("{x:?}")),
            (Value::Float(x), _) => Cell::Float(*x),
            (Value::Text(text) | Value::Decimal(text), _) => Cell::Text(text.clone()),
            (Value::Bytes(bytes), _) => Cell::Bytes(bytes.clone()),
            (Value::Uuid(id), Kind::Uuid) => Cell::Uuid(*id),
            (Value::Uuid(id), Kind::Bytes) => Cell::Bytes(id.as_bytes().to_vec()),
            (Value::Uuid(id), _) => Cell::Text(id.hyphenated().to_string()),
            (Value::Timestamp(micros), Kind::Int(_)) => Cell::Int(*micros),
            (Value::Timestamp(micros), _) => Cell::Micros(*micros),
            (Value::Date(day), Kind::Int(_)) => Cell::Int(i64::from(*day)),
            (Value::Date(day), Kind::Text) => Cell::Text(value::date_text(*day).unwrap_or_default()),
            (Value::Date(day), _) => Cell::Day(*day),
            (Value::Json(json), _) => Cell::Text(json.to_string()),
        }
    }

    /// The number of a text.
    fn float(&self, text: &str) -> Option<f64> {
        let number = match self.ty {
            FieldType::Float32 => text.parse::<f32>().ok().map(f64::from),
            _ => text.parse::<f64>().ok(),
        };
        number.filter(|number| number.is_finite())
    }

    /// The value that a column holds.
    ///
    /// The error says what was found instead.
    pub(crate) fn decode(&self, found: Cell) -> Result<Value, String> {
        let value = match (self.ty, found) {
            (_, Cell::Null) => Value::Null,
            (FieldType::Bool, Cell::Bool(yes)) => Value::Bool(yes),
            (FieldType::Bool, Cell::Int(n @ (0 | 1))) => Value::Bool(n == 1),
            (FieldType::Int { .. }, Cell::Int(n)) => Value::Int(n),
            (FieldType::Float | FieldType::Float32, Cell::Float(x)) if x.is_finite() => Value::Float(x),
            (FieldType::Float | FieldType::Float32, Cell::Text(text)) => {
                self.float(&text).map(Value::Float).ok_or_else(|| Cell::Text(text).describe())?
            }
            (FieldType::Text, Cell::Text(text)) => Value::Text(text),
            (FieldType::Decimal, Cell::Text(text)) if matches!(text.as_str(), "NaN" | "Infinity") => {
                return Err(format!("the number {text}"));
            }
            (FieldType::Decimal, Cell::Text(text)) => Value::Decimal(text),
            (FieldType::Decimal, Cell::Int(n)) => Value::Decimal(n.to_string()),
            (FieldType::Bytes, Cell::Bytes(bytes)) => Value::Bytes(bytes),
            (FieldType::Uuid, Cell::Uuid(id)) => Value::Uuid(id),
            (FieldType::Uuid, Cell::Bytes(bytes)) => {
                Uuid::from_slice(&bytes).map(Value::Uuid).map_err(|_| Cell::Bytes(bytes).describe())?
            }
            (FieldType::Uuid, Cell::Text(text)) => {
                Uuid::try_parse(&text).map(Value::Uuid).map_err(|_| Cell::Text(text).describe())?
            }
            (FieldType::Timestamp, Cell::Int(micros) | Cell::Micros(micros)) => Value::Timestamp(micros),
            (FieldType::Date, Cell::Day(day)) => Value::Date(day),
            (FieldType::Date, Cell::Int(day)) => {
                Value::Date(i32::try_from(day).map_err(|_| Cell::Int(day).describe())?)
            }
            (FieldType::Date, Cell::Text(text)) => {
                value::parse_date(&text).map(Value::Date).ok_or_else(|| Cell::Text(text).describe())?
            }
            (FieldType::Json, Cell::Text(text)) => {
                serde_json::from_str(&text).map(Value::Json).map_err(|_| Cell::Text(text).describe())?
            }
            (_, other) => return Err(other.describe()),
        };
        Ok(value)
    }
}

/// What an id is, in every column that holds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdType {
    Int,
    Text,
    Uuid,
}

/// The id as `sync_change` has it: bytes whose order is that of the ids of one model.
pub(crate) fn key(id: &Id) -> Vec<u8> {
    match id {
        Id::Int(id) => (id ^ i64::MIN).to_be_bytes().to_vec(),
        Id::Text(id) => id.as_bytes().to_vec(),
        Id::Uuid(id) => id.as_bytes().to_vec(),
    }
}

/// The id of a key; `None` for bytes that are none.
pub(crate) fn id_of_key(ty: IdType, key: Vec<u8>) -> Option<Id> {
    Some(match ty {
        IdType::Int => Id::Int(i64::from_be_bytes(key.try_into().ok()?) ^ i64::MIN),
        IdType::Text => Id::Text(String::from_utf8(key).ok()?),
        IdType::Uuid => Id::Uuid(Uuid::from_slice(&key).ok()?),
    })
}

/// A model's table as it is in the database.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) schema: &'static ModelSchema,
    /// The model's number in `sync_change`.
    pub(crate) number: i64,
    /// Quoted, with the schema or database that it is in.
    pub(crate) name: String,
    /// The table of its bases, quoted likewise.
    pub(crate) base: String,
    /// One for each field of the schema, in its order.
    pub(crate) columns: Vec<Column>,
    /// The names of the constraints and indexes that keep the id unique.
    pub(crate) id_keys: Vec<String>,
    /// Whether the database may store other values than it was given.
    pub(crate) verify: bool,
}

impl Table {
    pub(crate) fn id_type(&self) -> IdType {
        match self.schema.id_field().ty {
            _ if self.schema.has_composite_id() => IdType::Text,
            FieldType::Uuid => IdType::Uuid,
            FieldType::Int { .. } => IdType::Int,
            _ => IdType::Text,
        }
    }

    /// The columns that travel, with the places of their fields.
    pub(crate) fn travelling(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.schema.replicated().map(|(index, _)| (index, &self.columns[index]))
    }

    /// The columns that can be written, with the places of their fields.
    pub(crate) fn written(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| !column.generated)
    }

    /// The names of all columns, or of those that travel, behind a prefix.
    pub(crate) fn names(&self, prefix: &str, local: bool) -> String {
        let columns = self.columns.iter().zip(self.schema.fields);
        let wanted = columns.filter(|(_, field)| local || field.replicated());
        wanted.map(|(column, _)| format!("{prefix}{}", column.name)).collect::<Vec<_>>().join(", ")
    }

    /// How many columns [`Table::names`] lists.
    pub(crate) fn width(&self, local: bool) -> usize {
        self.schema.fields.iter().filter(|field| local || field.replicated()).count()
    }

    /// What these cells hold, all fields or only those that travel.
    pub(crate) fn reading(&self, cells: impl IntoIterator<Item = Cell>, local: bool) -> Reading {
        let mut cells = cells.into_iter();
        let read = |field: usize| Ok(self.columns[field].decode(cells.next().unwrap_or(Cell::Null)));
        let Ok(reading) = Reading::of::<Infallible>(self.schema, local, read);
        reading
    }

    /// The record whose cells these are, all fields or only those that travel.
    pub(crate) fn record(&self, cells: impl IntoIterator<Item = Cell>, local: bool) -> Result<Record> {
        self.reading(cells, local).whole(self.schema)
    }
}

/// The tables of all models.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(super) foreign_keys: Vec<ForeignKey>,
    by_model: HashMap<&'static str, Arc<Table>>,
    by_number: HashMap<i64, Arc<Table>>,
}

impl Tables {
    pub(crate) fn of(&self, schema: &ModelSchema) -> Result<Arc<Table>> {
        self.by_model.get(schema.name).cloned().ok_or_else(|| {
            let mut known: Vec<_> = self.by_model.keys().copied().collect();
            known.sort_unstable();
            names::not_prepared(schema, &known)
        })
    }

    pub(crate) fn numbered(&self, number: i64) -> Option<&Arc<Table>> {
        self.by_number.get(&number)
    }

    /// All tables, in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<Table>> {
        let mut all: Vec<_> = self.by_number.values().cloned().collect();
        all.sort_by_key(|table| table.number);
        all
    }

    pub(crate) fn add(&mut self, table: Table) {
        let table = Arc::new(table);
        self.by_number.insert(table.number, table.clone());
        self.by_model.insert(table.schema.name, table);
    }
}

/// The columns of a change, as `sync_change` has them and, prefixed with `sync_`, each base table.
pub(crate) const CHANGE: [(&str, Kind); 12] = [
    ("kind", Kind::Int(2)),
    ("position", Kind::Int(8)),
    ("stamp", Kind::Int(8)),
    ("writer", Kind::Int(4)),
    ("others", Kind::JsonParsed),
    ("prev_stamp", Kind::Int(8)),
    ("prev_writer", Kind::Int(4)),
    ("grp", Kind::Int(8)),
    ("origin", Kind::Int(4)),
    ("merged", Kind::Text),
    ("unknown", Kind::Bytes),
    ("stamps", Kind::JsonParsed),
];

/// The columns of a change behind a prefix: `c.` for `sync_change`, `b.sync_` for a table of bases.
pub(crate) fn change_columns(prefix: &str) -> String {
    CHANGE.map(|(name, _)| format!("{prefix}{name}")).join(", ")
}
