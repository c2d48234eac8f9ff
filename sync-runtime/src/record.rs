//! A record as field values, its id, and the difference of two records.

use crate::schema::ModelSchema;
use crate::value::{Value, ValueError};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// The most bytes that a text id may have.
pub const MAX_ID_BYTES: usize = 255;

/// Names one record of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// A UUID.
    Uuid(Uuid),
    /// Text of 1 to 255 bytes.
    Text(String),
    /// A whole number.
    Int(i64),
}

impl Id {
    /// The id as a value of its field.
    pub fn to_value(&self) -> Value {
        match self {
            Id::Uuid(id) => Value::Uuid(*id),
            Id::Text(id) => Value::Text(id.clone()),
            Id::Int(id) => Value::Int(*id),
        }
    }

    /// The id that a value holds.
    ///
    /// # Errors
    /// A [`ValueError`] if the value is of another type, empty, too long, or has U+0000 in it.
    pub fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Uuid(id) => Ok(Id::Uuid(*id)),
            Value::Int(id) => Ok(Id::Int(*id)),
            Value::Text(id) if id.is_empty() => Err(ValueError::new("an id is not empty")),
            Value::Text(id) if id.len() > MAX_ID_BYTES => {
                Err(ValueError::new(format!("an id has at most {MAX_ID_BYTES} bytes, not {}", id.len())))
            }
            Value::Text(id) if id.contains('\0') => Err(ValueError::new("an id has no U+0000")),
            Value::Text(id) => Ok(Id::Text(id.clone())),
            _ => Err(ValueError::new("an id is a uuid, text or an integer")),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Uuid(id) => id.fmt(f),
            Id::Text(id) => f.write_str(id),
            Id::Int(id) => id.fmt(f),
        }
    }
}

/// The values of one record, in the order of its model's fields.
///
/// A field may be absent, which is not the same as null: absent means unknown, in a patch "unchanged".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(Vec<Option<Value>>);

impl Record {
    /// A record with these values; there is one for each field of its model.
    pub fn new(values: Vec<Option<Value>>) -> Self {
        Record(values)
    }

    /// A record of this model with every field absent.
    pub fn absent(schema: &ModelSchema) -> Self {
        Record(vec![None; schema.fields.len()])
    }

    /// The value at this place, or `None` if it is absent.
    pub fn get(&self, field: usize) -> Option<&Value> {
        self.0.get(field).and_then(Option::as_ref)
    }

    /// Sets the value at this place.
    ///
    /// # Panics
    /// If the model has no such field.
    pub fn set(&mut self, field: usize, value: Value) {
        self.0[field] = Some(value);
    }

    /// Takes the value at this place out, which leaves it absent.
    pub fn take(&mut self, field: usize) -> Option<Value> {
        self.0.get_mut(field).and_then(Option::take)
    }

    /// All values in order.
    pub fn values(&self) -> &[Option<Value>] {
        &self.0
    }

    /// About how many bytes the record takes.
    pub fn size(&self) -> usize {
        self.0.iter().flatten().map(|value| value.size() + 8).sum()
    }

    /// Lays the present values of `patch` over this record.
    pub fn lay_over(&mut self, patch: &Record) {
        for (mine, theirs) in self.0.iter_mut().zip(&patch.0) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
    }

    /// This record without the fields that stay on the device.
    pub fn without_local(mut self, schema: &ModelSchema) -> Self {
        for (value, field) in self.0.iter_mut().zip(schema.fields) {
            if field.local {
                *value = None;
            }
        }
        self
    }

    /// Whether every field that travels is present, and no local one. The id may be absent.
    pub fn is_all_that_travels(&self, schema: &ModelSchema) -> bool {
        let fields = schema.fields.iter().enumerate();
        self.0.len() == schema.fields.len()
            && fields
                .filter(|(place, _)| *place != schema.id)
                .all(|(place, field)| self.0[place].is_some() != field.local)
    }

    /// Gives every absent field that travels its default.
    pub fn fill_missing(&mut self, schema: &ModelSchema) {
        for (value, field) in self.0.iter_mut().zip(schema.fields) {
            if value.is_none() && field.replicated() {
                *value = field.missing();
            }
        }
    }
}

/// The places of the fields that travel and whose values differ.
pub fn difference(schema: &ModelSchema, a: &Record, b: &Record) -> Vec<usize> {
    schema.replicated().map(|(index, _)| index).filter(|index| a.get(*index) != b.get(*index)).collect()
}

/// The patch that makes `base` into `record`: the id and the fields that differ.
pub fn patch(schema: &ModelSchema, base: &Record, record: &Record) -> Record {
    let mut patch = Record::absent(schema);
    for index in difference(schema, base, record).into_iter().chain([schema.id]) {
        if let Some(value) = record.get(index) {
            patch.set(index, value.clone());
        }
    }
    patch
}

/// Fields of a record that this replica's schema does not know, kept so that they are never erased.
pub type Unknown = BTreeMap<String, Json>;
