//! Which policies fit which types, and the policies that look into a value.
//!
//! A trait for each such policy says which types it fits, so that a policy on a field of another type does not
//! compile.

use super::{Merge, NestedField, sequence};
use crate::syncable::{FieldValue, json_from_value, json_to_value};
use crate::value::{Value, ValueError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::hash::{BuildHasher, Hash};

/// A type that has an order: `min` and `max` fit it.
#[diagnostic::on_unimplemented(
    message = "`min` and `max` do not fit a field of type `{Self}`",
    note = "`min` and `max` fit numbers, decimals, text, timestamps and dates, and `Option` of each",
    note = "`manual` and `with = path::to::function` fit every type, as do `last_write`, `server_wins` and \
            `client_wins` on a field of a model; `sum` fits integers and decimals, `union` sets and maps, \
            `list` lists, `text` text, `fields` structs with `#[derive(SyncFields)]`"
)]
pub trait OrderedField: FieldValue {
    /// The policy `min` for a field of this type.
    const MERGE_MIN: Merge = Merge::Min;
    /// The policy `max` for a field of this type.
    const MERGE_MAX: Merge = Merge::Max;
}

/// A type whose changes can be added up: `sum` fits it.
#[diagnostic::on_unimplemented(
    message = "`sum` does not fit a field of type `{Self}`",
    note = "`sum` fits integers and decimals, and `Option` of each; the sum of floats would depend on the order",
    note = "`manual` and `with = path::to::function` fit every type, as do `last_write`, `server_wins` and \
            `client_wins` on a field of a model; `min` and `max` fit numbers, text and times, `union` sets \
            and maps, `list` lists, `text` text, `fields` structs with `#[derive(SyncFields)]`"
)]
pub trait SumField: FieldValue {
    /// The policy `sum` for a field of this type.
    const MERGE: Merge = sum::<Self>();

    /// The base with what both sides added to it; `None` where the type cannot hold that.
    fn sum(base: &Self, older: &Self, newer: &Self) -> Option<Self>;
}

/// A set or map: `union` fits it.
#[diagnostic::on_unimplemented(
    message = "`union` does not fit a field of type `{Self}`",
    note = "`union` fits `BTreeSet`, `BTreeMap` and `HashMap`, and `Option` of each",
    note = "`manual` and `with = path::to::function` fit every type, as do `last_write`, `server_wins` and \
            `client_wins` on a field of a model; `min` and `max` fit numbers, text and times, `sum` \
            integers and decimals, `list` lists, `text` text, `fields` structs with `#[derive(SyncFields)]`"
)]
pub trait UnionField: Serialize + DeserializeOwned {
    /// The policy `union` for a field of this type.
    const MERGE: Merge = union::<Self>();

    /// The base with what both sides put in and without what either removed.
    ///
    /// # Errors
    /// What both sides changed, each in another way.
    fn union(base: &Self, older: &Self, newer: &Self) -> Result<Self, String>;
}

/// A list: `list` fits it.
#[diagnostic::on_unimplemented(
    message = "`list` does not fit a field of type `{Self}`",
    note = "`list` fits `Vec`, but not bytes, and `Option` of it",
    note = "`manual` and `with = path::to::function` fit every type, as do `last_write`, `server_wins` and \
            `client_wins` on a field of a model; `min` and `max` fit numbers, text and times, `sum` \
            integers and decimals, `union` sets and maps, `text` text, `fields` structs with \
            `#[derive(SyncFields)]`"
)]
pub trait ListField {
    /// The policy `list` for a field of this type.
    const MERGE: Merge = list::<Self>();
}

/// Text: `text` fits it.
#[diagnostic::on_unimplemented(
    message = "`text` does not fit a field of type `{Self}`",
    note = "`text` fits `String` and `Option<String>`",
    note = "`manual` and `with = path::to::function` fit every type, as do `last_write`, `server_wins` and \
            `client_wins` on a field of a model; `min` and `max` fit numbers, text and times, `sum` \
            integers and decimals, `union` sets and maps, `list` lists, `fields` structs with \
            `#[derive(SyncFields)]`"
)]
pub trait TextField: FieldValue + Serialize + DeserializeOwned {
    /// The policy `text` for a field of this type.
    const MERGE: Merge = text::<Self>();
    /// A field of a struct that derives [`super::SyncFields`], with the policy `text`; all but its name.
    #[doc(hidden)]
    const NESTED: NestedField = NestedField::typed::<Self>(Self::MERGE);
}

macro_rules! ordered {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl OrderedField for $ty {}
    )*};
}

ordered!(i8, i16, i32, i64, u8, u16, u32, f32, f64, String, jiff::Timestamp, jiff::civil::Date);
#[cfg(feature = "chrono")]
ordered!(chrono::DateTime<chrono::Utc>, chrono::NaiveDate);
#[cfg(feature = "time")]
ordered!(time::OffsetDateTime, time::Date);
#[cfg(feature = "decimal")]
ordered!(rust_decimal::Decimal);

#[diagnostic::do_not_recommend]
impl<T: OrderedField> OrderedField for Option<T> {}

macro_rules! summed {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl SumField for $ty {
            fn sum(base: &Self, older: &Self, newer: &Self) -> Option<Self> {
                let wide = |n: &Self| i128::from(*n);
                Self::try_from(wide(older) + wide(newer) - wide(base)).ok()
            }
        }
    )*};
}

summed!(i8, i16, i32, i64, u8, u16, u32);

#[cfg(feature = "decimal")]
#[diagnostic::do_not_recommend]
impl SumField for rust_decimal::Decimal {
    fn sum(base: &Self, older: &Self, newer: &Self) -> Option<Self> {
        // The difference first: the sum of both sides may be more than there is, and their base nearly as much.
        let added = newer.checked_sub(*base)?;
        let sum = older.checked_add(added)?;
        // A decimal that does not fit is rounded without a word.
        (sum.checked_sub(added)? == *older && sum.scale() >= older.scale().max(newer.scale())).then_some(sum)
    }
}

/// Null counts as nothing added yet; one that a side put there is a conflict.
#[diagnostic::do_not_recommend]
impl<T: SumField + Default> SumField for Option<T> {
    fn sum(base: &Self, older: &Self, newer: &Self) -> Option<Self> {
        let nothing = T::default();
        T::sum(base.as_ref().unwrap_or(&nothing), older.as_ref()?, newer.as_ref()?).map(Some)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Ord + Clone + Serialize + DeserializeOwned> UnionField for BTreeSet<T> {
    fn union(base: &Self, older: &Self, newer: &Self) -> Result<Self, String> {
        let stays = |item: &&T| match base.contains(item) {
            true => older.contains(item) && newer.contains(item),
            false => true,
        };
        Ok(older.union(newer).filter(stays).cloned().collect())
    }
}

type LookUp<'f, 'm, K, V> = &'f dyn Fn(&K) -> Option<&'m V>;

/// Merges maps by key, with their ways to look up and to list.
fn union_of_maps<'m, K: 'm + Clone, V: 'm + Clone + PartialEq, M: FromIterator<(K, V)>>(
    keys: impl Iterator<Item = &'m K>,
    [base, older, newer]: [LookUp<'_, 'm, K, V>; 3],
) -> Result<M, String> {
    let mut merged = Vec::new();
    for key in keys {
        let (before, a, b) = (base(key), older(key), newer(key));
        let value = match (a == before, b == before) {
            (true, _) => b,
            (_, true) => a,
            _ if a == b => a,
            _ => return Err("both sides changed the value of one key".to_owned()),
        };
        merged.extend(value.map(|value| (key.clone(), value.clone())));
    }
    Ok(merged.into_iter().collect())
}

#[diagnostic::do_not_recommend]
impl<K, V> UnionField for BTreeMap<K, V>
where
    K: Ord + Clone + Serialize + DeserializeOwned,
    V: PartialEq + Clone + Serialize + DeserializeOwned,
{
    fn union(base: &Self, older: &Self, newer: &Self) -> Result<Self, String> {
        let keys: BTreeSet<&K> = older.keys().chain(newer.keys()).collect();
        union_of_maps(keys.into_iter(), [&|key| base.get(key), &|key| older.get(key), &|key| newer.get(key)])
    }
}

#[diagnostic::do_not_recommend]
impl<K, V, S> UnionField for HashMap<K, V, S>
where
    K: Hash + Eq + Clone + Serialize + DeserializeOwned,
    V: PartialEq + Clone + Serialize + DeserializeOwned,
    S: BuildHasher + Default,
{
    fn union(base: &Self, older: &Self, newer: &Self) -> Result<Self, String> {
        let keys = older.keys().chain(newer.keys().filter(|key| !older.contains_key(key)));
        union_of_maps(keys, [&|key| base.get(key), &|key| older.get(key), &|key| newer.get(key)])
    }
}

/// Null counts as empty; one that a side put there is a conflict.
#[diagnostic::do_not_recommend]
impl<T: UnionField + Default> UnionField for Option<T> {
    fn union(base: &Self, older: &Self, newer: &Self) -> Result<Self, String> {
        match (older, newer) {
            (Some(older), Some(newer)) => {
                let nothing = T::default();
                T::union(base.as_ref().unwrap_or(&nothing), older, newer).map(Some)
            }
            _ => Err(REMOVED.to_owned()),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<T> ListField for Vec<T> {}
#[diagnostic::do_not_recommend]
impl<T: ListField> ListField for Option<T> {}
#[diagnostic::do_not_recommend]
impl TextField for String {}
#[diagnostic::do_not_recommend]
impl TextField for Option<String> {}

pub(super) const REMOVED: &str = "one side removed what the other changed";

/// The policy `sum` for a field of this type.
pub const fn sum<T: SumField>() -> Merge {
    Merge::Sum("sum", |base, older, newer| {
        let base = if base.is_null() && !T::NULLABLE { Err(REMOVED.to_owned()) } else { read::<T>(base) };
        let sum = T::sum(&base?, &read(older)?, &read(newer)?);
        let sum = sum.ok_or_else(|| "the field cannot hold the sum of both changes".to_owned())?;
        sum.to_value().map_err(|error| error.to_string())
    })
}

fn read<T: FieldValue>(value: &Value) -> Result<T, String> {
    T::from_value(value.clone()).map_err(|error| error.to_string())
}

/// The policy `union` for a field of this type.
pub const fn union<T: UnionField>() -> Merge {
    Merge::Function("union", |base, older, newer| {
        let read = |value: &Value| json_from_value::<T>(value.clone()).map_err(|error| error.to_string());
        let merged = T::union(&read(base)?, &read(older)?, &read(newer)?)?;
        json_to_value(&merged).map_err(|error| error.to_string())
    })
}

/// The policy `list` for a field of this type.
pub const fn list<T: ListField + ?Sized>() -> Merge {
    Merge::Function("list", |base, older, newer| {
        let items = |value: &Value| match value {
            Value::Json(Json::Array(items)) => Ok(items.iter().map(Json::to_string).collect::<Vec<_>>()),
            _ => Err(REMOVED.to_owned()),
        };
        let before = if base.is_null() { Ok(Vec::new()) } else { items(base) };
        let (base, older, newer) = (before?, items(older)?, items(newer)?);
        let merged = sequence::list(&base, &older, &newer)?;
        let merged: Result<Vec<Json>, _> = merged.iter().map(|item| serde_json::from_str(item)).collect();
        Ok(Value::Json(Json::Array(merged.map_err(|error| error.to_string())?)))
    })
}

/// The policy `text` for a field of this type.
pub const fn text<T: TextField>() -> Merge {
    Merge::Function("text", |base, older, newer| match (base, older, newer) {
        (Value::Text(base), Value::Text(older), Value::Text(newer)) => {
            sequence::text(base, older, newer).map(Value::Text)
        }
        (Value::Null, Value::Text(older), Value::Text(newer)) => {
            sequence::text("", older, newer).map(Value::Text)
        }
        _ => Err(REMOVED.to_owned()),
    })
}

/// Merges by a user's function; the derive makes the [`super::MergeFn`] of `with` out of it.
///
/// # Errors
/// The function's own, as text.
pub fn merged_by<T, E: Display>(
    function: impl FnOnce(&T, &T, &T) -> Result<T, E>,
    from_value: impl Fn(Value) -> Result<T, ValueError>,
    to_value: impl FnOnce(&T) -> Result<Value, ValueError>,
    values: [&Value; 3],
) -> Result<Value, String> {
    let read = |value: &Value| from_value(value.clone()).map_err(|error| error.to_string());
    let [base, older, newer] = values.map(read);
    let merged = function(&base?, &older?, &newer?).map_err(|error| error.to_string())?;
    to_value(&merged).map_err(|error| error.to_string())
}
