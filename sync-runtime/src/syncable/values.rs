//! How Rust values become field values: the types that a field can have.

use super::FieldValue;
use crate::value::{DATE_RANGE, FieldType, Value, ValueError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

fn mismatch<T>(ty: FieldType, value: &Value) -> Result<T, ValueError> {
    // Checking against the type gives the one message for a value of another type.
    match crate::value::check(ty, value) {
        Err(error) => Err(error),
        Ok(()) => Err(ValueError::new(format!("null, but {ty} was expected"))),
    }
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl FieldValue for $ty {
            const TYPE: FieldType = FieldType::Int { min: <$ty>::MIN as i64, max: <$ty>::MAX as i64 };
            const ALWAYS_READS: bool = true;

            fn to_value(&self) -> Result<Value, ValueError> {
                Ok(Value::Int(i64::from(*self)))
            }

            fn from_value(value: Value) -> Result<Self, ValueError> {
                match value {
                    Value::Int(n) => match <$ty>::try_from(n) {
                        Ok(n) => Ok(n),
                        Err(_) => mismatch(Self::TYPE, &value),
                    },
                    other => mismatch(Self::TYPE, &other),
                }
            }

            fn placeholder() -> Self {
                0
            }
        }
    )*};
}

integers!(i8, i16, i32, i64, u8, u16, u32);

/// Implements [`FieldValue`] for a type that is one variant of [`Value`] as it stands.
macro_rules! plain {
    ($($ty:ty, $field_type:expr, $variant:ident;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl FieldValue for $ty {
            const TYPE: FieldType = $field_type;
            const ALWAYS_READS: bool = true;

            fn to_value(&self) -> Result<Value, ValueError> {
                let value = Value::$variant(self.clone());
                crate::value::check(Self::TYPE, &value)?;
                Ok(value)
            }

            fn from_value(value: Value) -> Result<Self, ValueError> {
                match value {
                    Value::$variant(value) => Ok(value),
                    other => mismatch(Self::TYPE, &other),
                }
            }

            fn placeholder() -> Self {
                Self::default()
            }
        }
    )*};
}

plain! {
    bool, FieldType::Bool, Bool;
    f64, FieldType::Float, Float;
    String, FieldType::Text, Text;
    Vec<u8>, FieldType::Bytes, Bytes;
    Uuid, FieldType::Uuid, Uuid;
}

#[diagnostic::do_not_recommend]
impl FieldValue for &str {
    const TYPE: FieldType = FieldType::Text;

    fn to_value(&self) -> Result<Value, ValueError> {
        (*self).to_owned().to_value()
    }

    fn from_value(_: Value) -> Result<Self, ValueError> {
        // Only conditions take a borrowed text; a struct that is read back owns its fields.
        Err(ValueError::new("text that is read is a String"))
    }

    fn placeholder() -> Self {
        ""
    }
}

#[diagnostic::do_not_recommend]
impl FieldValue for f32 {
    const TYPE: FieldType = FieldType::Float32;
    const ALWAYS_READS: bool = true;

    fn to_value(&self) -> Result<Value, ValueError> {
        let value = Value::Float(f64::from(*self));
        crate::value::check(FieldType::Float, &value)?;
        Ok(value)
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        crate::value::check(Self::TYPE, &value)?;
        match value {
            Value::Float(x) => Ok(x as f32),
            other => mismatch(Self::TYPE, &other),
        }
    }

    fn placeholder() -> Self {
        0.0
    }
}

#[diagnostic::do_not_recommend]
impl<T: FieldValue> FieldValue for Option<T> {
    const TYPE: FieldType = T::TYPE;
    const NULLABLE: bool = true;
    const ALWAYS_READS: bool = T::ALWAYS_READS;

    fn to_value(&self) -> Result<Value, ValueError> {
        match self {
            Some(value) => value.to_value(),
            None => Ok(Value::Null),
        }
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }

    fn placeholder() -> Self {
        None
    }
}

/// Any serde value as one JSON value.
///
/// # Errors
/// A [`ValueError`] if it cannot be JSON, or has a value in it that no store could hold.
pub fn json_to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    let json = serde_json::to_value(value).map_err(|error| ValueError::new(format!("not JSON: {error}")))?;
    // Only a null can stand for what was no number, and most values have none in them.
    if has_null(&json) {
        crate::finite::check(value).map_err(|error| ValueError::new(error.to_string()))?;
    }
    if json.is_null() {
        return Ok(Value::Null);
    }
    let value = Value::Json(json);
    crate::value::check(FieldType::Json, &value)?;
    Ok(value)
}

fn has_null(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Null => true,
        serde_json::Value::Array(items) => items.iter().any(has_null),
        serde_json::Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

/// The serde value that was kept as one JSON value.
///
/// # Errors
/// A [`ValueError`] if the JSON is of another shape.
pub fn json_from_value<T: DeserializeOwned>(value: Value) -> Result<T, ValueError> {
    let json = match value {
        Value::Json(json) => json,
        Value::Null => serde_json::Value::Null,
        other => return mismatch(FieldType::Json, &other),
    };
    serde_json::from_value(json).map_err(|error| ValueError::new(error.to_string()))
}

/// A value that may stand inside a set, map or list field.
pub trait PlainValue: Serialize + DeserializeOwned {}

macro_rules! plain_values {
    ($($ty:ty),*) => {$(
        impl PlainValue for $ty {}
    )*};
}

plain_values!(bool, i8, i16, i32, i64, u16, u32, f32, f64, String, Uuid);
impl<T: PlainValue> PlainValue for Option<T> {}
impl<T: PlainValue> PlainValue for Vec<T> {}
impl<T: PlainValue + Ord> PlainValue for BTreeSet<T> {}
impl<V: PlainValue> PlainValue for BTreeMap<String, V> {}

macro_rules! collections {
    ($($(#[$($bound:tt)*])? $ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($($bound)*)?> FieldValue for $ty {
            const TYPE: FieldType = FieldType::Json;

            fn to_value(&self) -> Result<Value, ValueError> {
                json_to_value(self)
            }

            fn from_value(value: Value) -> Result<Self, ValueError> {
                json_from_value(value)
            }

            fn placeholder() -> Self {
                Self::default()
            }
        }
    )*};
}

collections!(
    #[T: PlainValue] Vec<T>,
    #[T: PlainValue + Ord] BTreeSet<T>,
    #[K: PlainValue + Ord, V: PlainValue] BTreeMap<K, V>
);

const FINER: &str = "finer than a microsecond, which not every database holds; round it first";

#[diagnostic::do_not_recommend]
impl FieldValue for jiff::Timestamp {
    const TYPE: FieldType = FieldType::Timestamp;
    const ALWAYS_READS: bool = true;

    fn to_value(&self) -> Result<Value, ValueError> {
        if self.subsec_nanosecond() % 1000 != 0 {
            return Err(ValueError::new(FINER));
        }
        timestamp_value(self.as_microsecond())
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Timestamp(micros) => {
                jiff::Timestamp::from_microsecond(micros).map_err(|error| ValueError::new(error.to_string()))
            }
            other => mismatch(Self::TYPE, &other),
        }
    }

    fn placeholder() -> Self {
        Self::default()
    }
}

fn timestamp_value(micros: i64) -> Result<Value, ValueError> {
    let value = Value::Timestamp(micros);
    crate::value::check(FieldType::Timestamp, &value)?;
    Ok(value)
}

fn date_value(days: i64) -> Result<Value, ValueError> {
    match i32::try_from(days) {
        Ok(days) if (DATE_RANGE.0..=DATE_RANGE.1).contains(&days) => Ok(Value::Date(days)),
        _ => Err(ValueError::new("dates run from year 1 to year 9999")),
    }
}

#[diagnostic::do_not_recommend]
impl FieldValue for jiff::civil::Date {
    const TYPE: FieldType = FieldType::Date;
    const ALWAYS_READS: bool = true;

    fn to_value(&self) -> Result<Value, ValueError> {
        let days = jiff::civil::date(1970, 1, 1).until(*self);
        date_value(days.map(|span| i64::from(span.get_days())).unwrap_or(i64::MAX))
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Date(days) => (jiff::civil::date(1970, 1, 1))
                .checked_add(
                    jiff::Span::new().try_days(days).map_err(|error| ValueError::new(error.to_string()))?,
                )
                .map_err(|error| ValueError::new(error.to_string())),
            other => mismatch(Self::TYPE, &other),
        }
    }

    fn placeholder() -> Self {
        Self::default()
    }
}

#[cfg(feature = "chrono")]
#[diagnostic::do_not_recommend]
impl FieldValue for chrono::DateTime<chrono::Utc> {
    const TYPE: FieldType = FieldType::Timestamp;
    const ALWAYS_READS: bool = true;

    fn to_value(&self) -> Result<Value, ValueError> {
        if !self.timestamp_subsec_nanos().is_multiple_of(1000) {
            return Err(ValueError::new(FINER));
        }
        // chrono writes the 61st second of a minute as one billion nanoseconds and more.
        if self.timestamp_subsec_nanos() >= 1_000_000_000 {
            return Err(ValueError::new("a leap second, which no database holds"));
        }
        timestamp_value(self.timestamp_micros())
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Timestamp(micros) => chrono::DateTime::from_timestamp_micros(micros)
                .ok_or_else(|| ValueError::new("timestamps run from year 1 to year 9999")),
            other => mismatch(Self::TYPE, &other),
        }
    }

    fn placeholder() -> Self {
        Self::default()
    }
}

#[cfg(feature = "chrono")]
#[diagnostic::do_not_recommend]
impl FieldValue for chrono::NaiveDate {
    const TYPE: FieldType = FieldType::Date;
    const ALWAYS_READS: bool = true;

    fn to_value(&self) -> Result<Value, ValueError> {
        date_value(self.signed_duration_since(chrono::NaiveDate::default()).num_days())
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Date(days) => chrono::NaiveDate::default()
                .checked_add_signed(chrono::TimeDelta::days(i64::from(days)))
                .ok_or_else(|| ValueError::new("dates run from year 1 to year 9999")),
            other => mismatch(Self::TYPE, &other),
        }
    }

    fn placeholder() -> Self {
        Self::default()
    }
}

#[cfg(feature = "time")]
#[diagnostic::do_not_recommend]
impl FieldValue for time::OffsetDateTime {
    const TYPE: FieldType = FieldType::Timestamp;
    const ALWAYS_READS: bool = true;

    fn to_value(&self) -> Result<Value, ValueError> {
        if !self.nanosecond().is_multiple_of(1000) {
            return Err(ValueError::new(FINER));
        }
        let micros = self.unix_timestamp_nanos() / 1000;
        timestamp_value(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Timestamp(micros) => {
                time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
                    .map_err(|error| ValueError::new(error.to_string()))
            }
            other => mismatch(Self::TYPE, &other),
        }
    }

    fn placeholder() -> Self {
        Self::UNIX_EPOCH
    }
}

#[cfg(feature = "time")]
#[diagnostic::do_not_recommend]
impl FieldValue for time::Date {
    const TYPE: FieldType = FieldType::Date;
    const ALWAYS_READS: bool = true;

    fn to_value(&self) -> Result<Value, ValueError> {
        date_value(i64::from(self.to_julian_day()) - JULIAN_DAY_OF_EPOCH)
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Date(days) => time::Date::from_julian_day(days + JULIAN_DAY_OF_EPOCH as i32)
                .map_err(|error| ValueError::new(error.to_string())),
            other => mismatch(Self::TYPE, &other),
        }
    }

    fn placeholder() -> Self {
        Self::MIN
    }
}

#[cfg(feature = "time")]
const JULIAN_DAY_OF_EPOCH: i64 = 2_440_588;

#[cfg(feature = "decimal")]
#[diagnostic::do_not_recommend]
impl FieldValue for rust_decimal::Decimal {
    const TYPE: FieldType = FieldType::Decimal;

    fn to_value(&self) -> Result<Value, ValueError> {
        Ok(Value::Decimal(self.to_string()))
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Decimal(text) => text.parse().map_err(|_| ValueError::new("not a decimal number")),
            other => mismatch(Self::TYPE, &other),
        }
    }

    fn placeholder() -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    fn round_trip<T: FieldValue + PartialEq + Debug>(value: T) {
        let stored = value.to_value().expect("can be held");
        crate::value::check(T::TYPE, &stored).expect("is of its type");
        assert_eq!(T::from_value(stored).expect("reads back"), value);
    }

    #[test]
    fn every_field_type_reads_back() {
        round_trip(true);
        round_trip(i64::MIN);
        round_trip(u32::MAX);
        round_trip(-0.0_f64);
        round_trip(0.1_f32);
        round_trip("Grüße 🎉".to_owned());
        round_trip(vec![0_u8, 255]);
        round_trip(Uuid::from_u128(5));
        round_trip(None::<i64>);
        round_trip(Some(5_i64));
        round_trip(vec!["a".to_owned()]);
        round_trip(BTreeSet::from([3_i64, 1]));
        round_trip(BTreeMap::from([("a".to_owned(), vec![1_i64])]));
        round_trip(jiff::Timestamp::from_microsecond(-1).expect("in range"));
        round_trip(jiff::civil::date(9999, 12, 31));
        round_trip(jiff::civil::date(1, 1, 1));
    }

    #[test]
    fn a_timestamp_finer_than_a_microsecond_is_refused() {
        let fine = jiff::Timestamp::from_nanosecond(1_001).expect("in range");
        assert!(fine.to_value().expect_err("too fine").to_string().contains("microsecond"));
    }

    #[test]
    fn a_narrow_integer_refuses_what_does_not_fit() {
        let error = u8::from_value(Value::Int(300)).expect_err("too large");
        assert_eq!(error.to_string(), "300 is outside 0 to 255");
    }

    #[cfg(feature = "chrono")]
    #[test]
    fn a_leap_second_is_refused() {
        let leap = chrono::DateTime::from_timestamp(1_483_228_799, 1_500_000_000).expect("in range");
        assert!(leap.to_value().expect_err("no database holds it").to_string().contains("leap second"));
    }

    #[test]
    fn what_json_would_turn_into_null_is_refused() {
        assert!(vec![Some(0.5), None].to_value().is_ok());
        let error = vec![Some(0.5), None, Some(f64::NAN)].to_value().expect_err("JSON has no NaN");
        assert_eq!(error.message(), "NaN inside JSON is not a finite number; JSON would turn it into null");
    }

    #[cfg(all(feature = "chrono", feature = "time", feature = "decimal"))]
    #[test]
    fn the_optional_types_read_back() {
        round_trip(chrono::DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("in range"));
        round_trip(chrono::NaiveDate::from_ymd_opt(2026, 11, 20).expect("a date"));
        round_trip(time::OffsetDateTime::from_unix_timestamp_nanos(-1_000).expect("in range"));
        round_trip(time::Date::from_julian_day(2_440_588).expect("a date"));
        round_trip(rust_decimal::Decimal::new(-1250, 2));
        assert_eq!(time::Date::from_julian_day(2_440_588).expect("a date").to_value(), Ok(Value::Date(0)));
    }
}
