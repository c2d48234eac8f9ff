//! The policy `fields`: a struct that is one JSON value merges field by field.

use super::fields::{OrderedField, REMOVED, SumField};
use super::{Merge, MergeFn};
use crate::syncable::FieldValue;
use crate::value::{FieldType, Value, ValueError, check};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// A struct that is one JSON value in a field of a model, and merges field by field. Derive it.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sync_runtime::prelude::*;
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, SyncFields)]
/// struct Address {
///     street: String,
///     #[sync(merge = "text")]
///     note: String,
/// }
///
/// #[derive(Debug, Clone, PartialEq, Syncable)]
/// struct Person {
///     #[sync(id)]
///     id: i64,
///     #[sync(json, merge = "fields")]
///     address: Address,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`fields` does not fit a field of type `{Self}`",
    note = "`fields` fits structs with `#[derive(SyncFields)]`, and `Option` of each",
    note = "`manual` and `with = path::to::function` fit every type, as do `last_write`, `server_wins` and \
            `client_wins` on a field of a model; `min` and `max` fit numbers, text and times, `sum` \
            integers and decimals, `union` sets and maps, `list` lists, `text` text"
)]
pub trait SyncFields {
    /// Its fields.
    const FIELDS: &'static [NestedField];
    /// The policy `fields` for a field of this type.
    const MERGE: Merge = fields::<Self>();
}

/// Null counts as a struct without fields; one that a side put there is a conflict.
#[diagnostic::do_not_recommend]
impl<T: SyncFields> SyncFields for Option<T> {
    const FIELDS: &'static [NestedField] = T::FIELDS;
}

/// A field of a struct that derives [`SyncFields`].
#[derive(Debug, Clone, Copy)]
pub struct NestedField {
    /// Its name in the JSON.
    pub name: &'static str,
    /// The value of its JSON.
    pub value: fn(&Json) -> Result<Value, ValueError>,
    /// The JSON of its value.
    pub json: fn(Value) -> Result<Json, ValueError>,
    /// What decides where both sides changed it.
    pub merge: Merge,
}

impl NestedField {
    /// A field whose policy looks at its JSON, or not at it at all; all but the name.
    pub const fn json(merge: Merge) -> Self {
        NestedField { name: "", value: value_of_json, json: json_of_value, merge }
    }

    /// A field whose policy looks at the value of the Rust type; all but the name.
    pub(super) const fn typed<T: FieldValue + Serialize + DeserializeOwned>(merge: Merge) -> Self {
        NestedField { name: "", value: value_of_type::<T>, json: json_of_type::<T>, merge }
    }
}

fn value_of_json(json: &Json) -> Result<Value, ValueError> {
    Ok(match json {
        Json::Null => Value::Null,
        json => Value::Json(json.clone()),
    })
}

fn json_of_value(value: Value) -> Result<Json, ValueError> {
    match value {
        Value::Null => Ok(Json::Null),
        Value::Json(json) => Ok(json),
        other => check(FieldType::Json, &other).map(|()| Json::Null),
    }
}

fn value_of_type<T: FieldValue + DeserializeOwned>(json: &Json) -> Result<Value, ValueError> {
    T::deserialize(json).map_err(|error| ValueError::new(error.to_string()))?.to_value()
}

fn json_of_type<T: FieldValue + Serialize>(value: Value) -> Result<Json, ValueError> {
    serde_json::to_value(T::from_value(value)?).map_err(|error| ValueError::new(error.to_string()))
}

/// The fields of a struct, out of the name and all the rest of each.
pub const fn nested_fields<const N: usize>(named: [(&'static str, NestedField); N]) -> [NestedField; N] {
    let mut fields = [NestedField::json(Merge::Manual); N];
    let mut place = 0;
    while place < N {
        let (name, field) = named[place];
        fields[place] = NestedField { name, ..field };
        place += 1;
    }
    fields
}

/// An [`OrderedField`] that serde can read and write.
#[diagnostic::on_unimplemented(
    message = "`min` and `max` do not fit a field of type `{Self}`",
    note = "`min` and `max` fit numbers, decimals, text, timestamps and dates, and `Option` of each",
    note = "`manual` and `with = path::to::function` fit every type, as do `last_write`, `server_wins` and \
            `client_wins` on a field of a model; `sum` fits integers and decimals, `union` sets and maps, \
            `list` lists, `text` text, `fields` structs with `#[derive(SyncFields)]`"
)]
pub trait NestedOrdered {
    /// A field of this type with the policy `min`.
    const MIN: NestedField;
    /// A field of this type with the policy `max`.
    const MAX: NestedField;
}

#[diagnostic::do_not_recommend]
impl<T: OrderedField + Serialize + DeserializeOwned> NestedOrdered for T {
    const MIN: NestedField = NestedField::typed::<T>(T::MERGE_MIN);
    const MAX: NestedField = NestedField::typed::<T>(T::MERGE_MAX);
}

/// A [`SumField`] that serde can read and write.
#[diagnostic::on_unimplemented(
    message = "`sum` does not fit a field of type `{Self}`",
    note = "`sum` fits integers and decimals, and `Option` of each; the sum of floats would depend on the order",
    note = "`manual` and `with = path::to::function` fit every type, as do `last_write`, `server_wins` and \
            `client_wins` on a field of a model; `min` and `max` fit numbers, text and times, `union` sets \
            and maps, `list` lists, `text` text, `fields` structs with `#[derive(SyncFields)]`"
)]
pub trait NestedSum {
    /// A field of this type with the policy `sum`.
    const SUM: NestedField;
}

#[diagnostic::do_not_recommend]
impl<T: SumField + Serialize + DeserializeOwned> NestedSum for T {
    const SUM: NestedField = NestedField::typed::<T>(T::MERGE);
}

/// The policy `fields` for a field of this type.
pub const fn fields<T: SyncFields + ?Sized>() -> Merge {
    let merge: MergeFn = |base, older, newer| merge_objects(T::FIELDS, base, older, newer);
    let mut place = 0;
    while place < T::FIELDS.len() {
        // Where one of the fields is a sum, equal changes of both sides count twice here too.
        if let Merge::Sum(..) = T::FIELDS[place].merge {
            return Merge::Sum("fields", merge);
        }
        place += 1;
    }
    Merge::Function("fields", merge)
}

fn merge_objects(
    fields: &[NestedField],
    base: &Value,
    older: &Value,
    newer: &Value,
) -> Result<Value, String> {
    let object = |value: &Value| match value {
        Value::Json(Json::Object(fields)) => Some(fields.clone()),
        _ => None,
    };
    let base = if base.is_null() { Some(Map::new()) } else { object(base) };
    let (Some(base), Some(older), Some(newer)) = (base, object(older), object(newer)) else {
        return Err(REMOVED.to_owned());
    };
    let mut merged = Map::new();
    let names: BTreeSet<&String> = base.keys().chain(older.keys()).chain(newer.keys()).collect();
    for name in names {
        let (before, a, b) = (base.get(name), older.get(name), newer.get(name));
        let field = fields.iter().find(|field| field.name == name);
        let counts = field.is_some_and(|field| matches!(field.merge, Merge::Sum(..)));
        let value = match (a == before, b == before) {
            (true, _) => b.cloned(),
            (_, true) => a.cloned(),
            _ if a == b && !counts => a.cloned(),
            _ => Some(merge_nested(field, before, a, b).map_err(|reason| format!("`{name}`: {reason}"))?),
        };
        merged.extend(value.map(|value| (name.clone(), value)));
    }
    let merged = Value::Json(Json::Object(merged));
    check(FieldType::Json, &merged).map_err(|error| error.to_string())?;
    Ok(merged)
}

/// Merges what both sides changed of one nested field.
fn merge_nested(
    field: Option<&NestedField>,
    base: Option<&Json>,
    older: Option<&Json>,
    newer: Option<&Json>,
) -> Result<Json, String> {
    let (Some(field), Some(older), Some(newer)) = (field, older, newer) else {
        return Err(REMOVED.to_owned());
    };
    let value = |json: &Json| (field.value)(json).map_err(|error| error.to_string());
    let (older, newer) = (value(older)?, value(newer)?);
    let before = base.map(value).transpose()?.unwrap_or(Value::Null);
    let merged = match field.merge {
        Merge::Min | Merge::Max => super::states::extreme(field.merge, &older, &newer).clone(),
        Merge::Sum(_, merge) | Merge::Function(_, merge) => match merge(&before, &older, &newer) {
            // Most functions cannot do without a base; what they say of its null would be no help.
            Err(_) if base.is_none() => return Err("both sides put it in".to_owned()),
            merged => merged?,
        },
        _ => return Err("both sides changed it".to_owned()),
    };
    (field.json)(merged).map_err(|error| error.to_string())
}
