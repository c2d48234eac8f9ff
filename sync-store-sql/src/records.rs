//! Records on their way into a table and out of it, whatever the database.

use serde::de::DeserializeSeed;
use std::borrow::Cow;
use sync_runtime::codec::Reader;
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::store::Unreadable;
use sync_runtime::value::{self, FieldType};
use sync_runtime::{Error, ErrorKind, Value};

/// The reason for a write that an app's trigger made come to nothing.
pub(crate) fn ignored(schema: &ModelSchema) -> String {
    format!("a trigger on `{}` ignored it", schema.table)
}

/// The reason for a write after which an app's trigger took the row away.
pub(crate) fn taken_away(schema: &ModelSchema) -> String {
    format!("a trigger on `{}` deleted it", schema.table)
}

/// The error of a row that cannot be read: what stands in the column of a field instead of a value of its type.
pub(crate) fn misread(schema: &ModelSchema, field: usize, of: &str, found: &str) -> Error {
    let message = format!(
        "the field `{}` of {} {of} should hold a {}, but the table `{}` has {found}; correct it there",
        schema.fields[field].name, schema.name, schema.fields[field].ty, schema.table
    );
    Error::new(ErrorKind::InvalidValue, message)
}

/// A record as its row could be read.
#[derive(Clone)]
pub(crate) struct Reading {
    /// What cannot be read is absent.
    pub(crate) record: Record,
    /// The first field that cannot be read, with what stands there.
    pub(crate) misread: Option<(usize, String)>,
}

impl Reading {
    /// Reads the fields in their order, all or only those that travel, as `decode` gives them.
    pub(crate) fn of<E>(
        schema: &ModelSchema,
        local: bool,
        mut decode: impl FnMut(usize) -> Result<Result<Value, String>, E>,
    ) -> Result<Self, E> {
        let (mut values, mut misread) = (Vec::with_capacity(schema.fields.len()), None);
        for (index, field) in schema.fields.iter().enumerate() {
            if !local && field.local {
                values.push(None);
                continue;
            }
            let decoded = decode(index)?.and_then(|value| in_range(field, value));
            values.push(match decoded {
                Ok(value) => Some(value),
                Err(found) => {
                    misread.get_or_insert((index, found));
                    None
                }
            });
        }
        Ok(Reading { record: Record::new(values), misread })
    }

    /// The record, where all of it could be read.
    pub(crate) fn whole(self, schema: &ModelSchema) -> Result<Record, Error> {
        match self.fault(schema) {
            None => Ok(self.record),
            Some(fault) => Err(fault),
        }
    }

    /// Why it cannot be read, where it cannot.
    pub(crate) fn fault(&self, schema: &ModelSchema) -> Option<Error> {
        let (field, found) = self.misread.as_ref()?;
        let id = schema.id_of(&self.record).map(|id| id.to_string()).unwrap_or_default();
        Some(misread(schema, *field, &id, found))
    }

    /// What is told of it, where not all of it could be read.
    pub(crate) fn unreadable(self, schema: &'static ModelSchema) -> Option<Unreadable> {
        let field = self.misread.as_ref()?.0;
        let id = schema.id_of(&self.record).ok();
        let reason = self.fault(schema)?.to_string();
        Some(Unreadable::new(schema, id, field, reason))
    }
}

/// Whether a record of the model can have this id, so that a peer can read it. Another program may write what no record
/// has: a number out of range, an empty or a longer text, one with U+0000.
pub(crate) fn is_possible(schema: &ModelSchema, id: &Id) -> bool {
    // Every change that is fed is asked, and most ids are these.
    if matches!(id, Id::Uuid(_)) {
        return true;
    }
    let fits = |(place, value): &(usize, Value)| {
        Id::from_value(value).is_ok() && schema.fields[*place].check(value).is_ok()
    };
    schema.id_values(id).is_ok_and(|values| values.iter().all(fits))
}

/// The id of the record, if it is a possible one.
pub(crate) fn possible_id(schema: &ModelSchema, record: &Record) -> Option<Id> {
    schema.id_of(record).ok().filter(|id| is_possible(schema, id))
}

/// The value, unless it is a day or a time that databases have and no peer does.
fn in_range(field: &FieldSchema, value: Value) -> Result<Value, String> {
    if !matches!(field.ty, FieldType::Date | FieldType::Timestamp) {
        return Ok(value);
    }
    let checked = value::check(field.ty, &value);
    checked.map(|()| value).map_err(|error| format!("one out of range ({error})"))
}

/// Whether every field is present; the id need not be where one field is it.
pub(crate) fn is_whole(schema: &ModelSchema, record: &Record) -> bool {
    let composite = schema.has_composite_id();
    let fields = 0..schema.fields.len();
    fields.into_iter().all(|index| !composite && index == schema.id || record.get(index).is_some())
}

/// The record with a default for each absent field that travels.
///
/// The error is the reason to refuse it: a required field without a default is absent.
pub(crate) fn completed(schema: &ModelSchema, id: &Id, mut record: Record) -> Result<Record, String> {
    let travels = |record: &Record| !schema.has_composite_id() && record.is_all_that_travels(schema);
    if is_whole(schema, &record) || travels(&record) {
        return Ok(record);
    }
    if record.values().len() != schema.fields.len() {
        let mut whole = Record::absent(schema);
        whole.lay_over(&record);
        record = whole;
    }
    record.fill_missing(schema);
    if schema.has_composite_id() {
        match schema.identify(&mut record, id) {
            Ok(true) => {}
            Ok(false) => return Err(format!("{} {id}: the record has another id", schema.name)),
            Err(error) => return Err(format!("{} {id}: {error}", schema.name)),
        }
    }
    match schema.replicated().find(|(index, _)| *index != schema.id && record.get(*index).is_none()) {
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
