//! A record as a map from field name to value.

use super::json::Checked;
use super::map::{Name, Named, twice};
use super::value::{Typed, Written};
use super::{Form, Reader};
use crate::ErrorKind;
use crate::record::{Id, Record, Unknown};
use crate::schema::{FieldSchema, ModelSchema};
use crate::value::{FieldType, Value, check};
use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serialize, Serializer};
use std::fmt;

/// A record to write: a map of the values that are present.
#[derive(Debug, Clone, Copy)]
pub struct Fielded<'a> {
    pub(super) schema: &'static ModelSchema,
    pub(super) record: &'a Record,
    /// Unknown fields, which travel in the same map.
    pub(super) unknown: Option<&'a Unknown>,
    pub(super) form: Form,
    /// Whether the id is left out, because it stands beside the record.
    pub(super) without_id: bool,
}

impl<'a> Fielded<'a> {
    fn values(self) -> impl Iterator<Item = (&'static FieldSchema, &'a Value)> {
        let fields = self.schema.fields.iter().enumerate();
        fields.filter_map(move |(place, field)| {
            let left_out =
                (field.local && self.form == Form::Wire) || (self.without_id && self.schema.is_key(place));
            if left_out { None } else { self.record.get(place).map(|value| (field, value)) }
        })
    }

    /// A field that the schema has learnt to know since is the record's own.
    fn unknown(self) -> impl Iterator<Item = (&'a String, &'a serde_json::Value)> {
        let travels = move |name: &str| self.schema.replicated().any(|(_, field)| field.name == name);
        self.unknown.into_iter().flatten().filter(move |(name, _)| !travels(name))
    }
}

impl Serialize for Fielded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.values().count() + self.unknown().count();
        let mut map = serializer.serialize_map(Some(fields))?;
        for (field, value) in self.values() {
            map.serialize_entry(field.name, &Written(value))?;
        }
        for (name, value) in self.unknown() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Reads a record and the fields that its schema does not know.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'r> {
    pub(super) schema: &'static ModelSchema,
    pub(super) reader: &'r Reader,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = (Record, Unknown);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = (Record, Unknown);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fields of a {}", self.schema.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let fields = self.schema.fields;
        let (mut record, mut unknown, mut next) = (Record::absent(self.schema), Unknown::new(), 0);
        let in_field = |name: &str, error: &dyn fmt::Display| {
            <A::Error as de::Error>::custom(format_args!("field `{name}`: {error}"))
        };
        while let Some(name) =
            map.next_key_seed(Name { known: fields.len(), at: |i: usize| fields[i].name, next })?
        {
            let name = match name {
                Named::Known(place) if self.reader.knows(&fields[place]) => {
                    let field = &fields[place];
                    if record.get(place).is_some() {
                        return Err(twice(field.name));
                    }
                    let value = map.next_value_seed(Typed { ty: field.ty, reader: self.reader });
                    let value = value.map_err(|error| in_field(field.name, &error))?;
                    if !self.reader.keep_misfits
                        && let Err(error) = field.check(&value)
                    {
                        return Err(self.reader.fail(ErrorKind::InvalidValue, error));
                    }
                    record.set(place, value);
                    next = place + 1;
                    continue;
                }
                // A local field is another field than the one that a peer has under the same name.
                Named::Known(place) => fields[place].name.to_owned(),
                Named::Other(name) => name,
            };
            let value = map.next_value_seed(Checked::value(self.reader));
            let value = Value::Json(value.map_err(|error| in_field(&name, &error))?);
            if let Err(error) = check(FieldType::Json, &value) {
                return Err(self.reader.fail(ErrorKind::InvalidValue, error.in_field(&name)));
            }
            match value {
                Value::Json(value) if !unknown.contains_key(&name) => unknown.insert(name, value),
                _ => return Err(twice(&name)),
            };
        }
        Ok((record, unknown))
    }
}

/// An id to write, by its type.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenId<'a>(pub(super) &'a Id);

impl Serialize for WrittenId<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Id::Text(id) => serializer.serialize_str(id),
            id => Written(&id.to_value()).serialize(serializer),
        }
    }
}

/// Reads the id of a record of this model.
#[derive(Debug, Clone, Copy)]
pub struct IdOf<'r> {
    pub(super) schema: &'static ModelSchema,
    pub(super) reader: &'r Reader,
}

impl<'de> DeserializeSeed<'de> for IdOf<'_> {
    type Value = Id;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Id, D::Error> {
        if self.schema.has_composite_id() {
            let value = Typed { ty: FieldType::Text, reader: self.reader }.deserialize(deserializer)?;
            let id = Id::from_value(&value).and_then(|id| self.schema.id_values(&id).map(|_| id));
            return id.map_err(|error| self.reader.fail(ErrorKind::InvalidValue, error.in_field("id")));
        }
        let field = self.schema.id_field();
        let value = Typed { ty: field.ty, reader: self.reader }.deserialize(deserializer)?;
        let id = field.check(&value).and_then(|()| Id::from_value(&value));
        id.map_err(|error| self.reader.fail(ErrorKind::InvalidValue, error.in_field(field.name)))
    }
}

/// Reads one value of a field, such as a query compares with.
#[derive(Debug, Clone, Copy)]
pub struct ValueOf<'r> {
    pub(super) field: &'static FieldSchema,
    pub(super) reader: &'r Reader,
}

impl<'de> DeserializeSeed<'de> for ValueOf<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = Typed { ty: self.field.ty, reader: self.reader }.deserialize(deserializer)?;
        match check(self.field.ty, &value) {
            Ok(()) => Ok(value),
            Err(error) => Err(self.reader.fail(ErrorKind::InvalidValue, error.in_field(self.field.name))),
        }
    }
}
