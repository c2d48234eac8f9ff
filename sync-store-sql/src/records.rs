//! Records on their way into a table, whatever the database.

use serde::de::DeserializeSeed;
use std::borrow::Cow;
use sync_runtime::Value;
use sync_runtime::codec::Reader;
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, ModelSchema};

/// The reason for a write that an app's trigger made come to nothing.
pub(crate) fn ignored(schema: &ModelSchema) -> String {
    format!("a trigger on `{}` ignored it", schema.table)
}

/// Whether every field is present; the id need not be.
pub(crate) fn is_whole(schema: &ModelSchema, record: &Record) -> bool {
    let fields = 0..schema.fields.len();
    fields.into_iter().all(|index| schema.is_key(index) || record.get(index).is_some())
}

/// The record with a default for each absent field that travels.
///
/// The error is the reason to refuse it: a required field without a default is absent.
pub(crate) fn completed(schema: &ModelSchema, id: &Id, mut record: Record) -> Result<Record, String> {
    if is_whole(schema, &record) || record.is_all_that_travels(schema) {
        return Ok(record);
    }
    if record.values().len() != schema.fields.len() {
        let mut whole = Record::absent(schema);
        whole.lay_over(&record);
        record = whole;
    }
    record.fill_missing(schema);
    match schema.replicated().find(|(index, _)| !schema.is_key(*index) && record.get(*index).is_none()) {
        Some((_, field)) => {
            Err(format!("{} {id}: field `{}` is missing and has no default", schema.name, field.name))
        }
        None => Ok(record),
    }
}

/// The record with a default for each absent local field that has one.
pub(crate) fn with_local_defaults<'r>(schema: &ModelSchema, record: &'r Record) -> Cow<'r, Record> {
    if is_whole(schema, record) {
        return Cow::Borrowed(record);
    }
    let mut whole = record.clone();
    for (index, field) in schema.fields.iter().enumerate().filter(|(_, field)| field.local) {
        if record.get(index).is_none()
            && let Some(value) = field.missing()
        {
            whole.set(index, value);
        }
    }
    Cow::Owned(whole)
}

/// The value as the field holds it, or `None` if it cannot.
pub(crate) fn fitting(field: &'static FieldSchema, sent: serde_json::Value) -> Option<Value> {
    let value = Reader::of([]).value(field).deserialize(sent).ok()?;
    field.check(&value).is_ok().then_some(value)
}
