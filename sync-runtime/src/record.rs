//! A record as field values, its id, and the difference of two records.

use crate::schema::ModelSchema;
use crate::value::{FieldType, Value, ValueError};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// The most bytes that a text id may have.
pub const MAX_ID_BYTES: usize = 255;

/// Names one record of a model.
///
/// Where several fields make the id, it is one text: their values joined by `/`, in the order of the fields; a `/` in a
/// text is written `%2F`, and a `%` as `%25`.
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

    /// The id that several fields make together.
    ///
    /// ```
    /// use sync_runtime::{FieldType, Id};
    ///
    /// let id = Id::of_parts(vec![Id::Text("a/b".into()), Id::Int(7)])?;
    /// assert_eq!(id.to_string(), "a%2Fb/7");
    /// assert_eq!(id.parts(&[FieldType::Text, FieldType::I64])?, [Id::Text("a/b".into()), Id::Int(7)]);
    /// # Ok::<(), sync_runtime::ValueError>(())
    /// ```
    ///
    /// # Errors
    /// A [`ValueError`] if it is too long.
    pub fn of_parts(parts: Vec<Id>) -> Result<Id, ValueError> {
        let mut joined = String::new();
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                joined.push('/');
            }
            match part {
                Id::Text(text) => joined.push_str(&text.replace('%', "%25").replace('/', "%2F")),
                part => joined.push_str(&part.to_string()),
            }
        }
        Id::from_value(&Value::Text(joined))
    }

    /// The parts of an id that several fields of these types make together.
    ///
    /// # Errors
    /// A [`ValueError`] if it is none of such fields, or written in another way than [`Id::of_parts`] does.
    pub fn parts(&self, types: &[FieldType]) -> Result<Vec<Id>, ValueError> {
        let wrong = || ValueError::new(format!("`{self}` is not an id of {} parts", types.len()));
        let Id::Text(text) = self else { return Err(wrong()) };
        let texts: Vec<&str> = text.split('/').collect();
        if texts.len() != types.len() {
            return Err(wrong());
        }
        let parts = texts.into_iter().zip(types).map(|(text, ty)| match ty {
            FieldType::Uuid => text.parse().ok().map(Id::Uuid),
            FieldType::Text => Some(Id::Text(text.replace("%2F", "/").replace("%25", "%"))),
            _ => text.parse().ok().map(Id::Int),
        });
        let parts: Vec<Id> = parts.collect::<Option<_>>().ok_or_else(wrong)?;
        if parts.iter().any(|part| Id::from_value(&part.to_value()).is_err()) {
            return Err(wrong());
        }
        // One id, one text.
        if Id::of_parts(parts.clone())? != *self {
            return Err(wrong());
        }
        Ok(parts)
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
                .filter(|(place, _)| !schema.is_key(*place))
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
    for index in difference(schema, base, record).into_iter().chain(schema.key()) {
        if let Some(value) = record.get(index) {
            patch.set(index, value.clone());
        }
    }
    patch
}

/// Fields of a record that this replica's schema does not know, kept so that they are never erased.
pub type Unknown = BTreeMap<String, Json>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_several_fields_has_one_text() {
        let uuid = Uuid::from_u128(0xabc);
        let types = [FieldType::Text, FieldType::I64, FieldType::Uuid];
        for text in ["a", "a/b", "%", "%2F", "/", "%25/", "ä", "2F", "+1"] {
            for number in [0, -1, i64::MIN, i64::MAX] {
                let parts = vec![Id::Text(text.into()), Id::Int(number), Id::Uuid(uuid)];
                let id = Id::of_parts(parts.clone()).expect("it is an id");
                assert_eq!(id.parts(&types), Ok(parts), "{id}");
            }
        }
    }

    #[test]
    fn another_text_is_no_id_of_several_fields() {
        let types = [FieldType::Text, FieldType::I64];
        for text in ["a", "a/b", "a/+1", "a/01", "a/1/", "/1", "%2f/1", "%/1", "a%20/1", "a/1/2", "a/ 1"] {
            let error = Id::Text(text.into()).parts(&types).expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
        let uuid = "00000000-0000-0000-0000-000000000ABC/1";
        assert!(Id::Text(uuid.into()).parts(&[FieldType::Uuid, FieldType::I64]).is_err(), "in capitals");
        assert!(Id::Int(7).parts(&types).is_err());
        let long = vec![Id::Text("/".repeat(100)), Id::Int(1)];
        assert!(Id::of_parts(long).expect_err("too long").to_string().contains("at most 255 bytes"));
    }
}
