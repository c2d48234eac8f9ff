//! The values that exist, decided once: what every store and every wire format can hold to the bit.
//!
//! A value that SQLite, PostgreSQL, MariaDB or JSON could not give back unchanged is refused where it is
//! written, on every store alike, so that no replica learns of it only when it syncs.

use serde_json::Value as Json;
use std::cmp::Ordering;
use std::fmt;
use uuid::Uuid;

/// The most bytes that one value may have: 4 MiB.
pub const MAX_VALUE_BYTES: usize = 4 << 20;
/// How deep arrays and objects may nest inside one JSON value.
pub const MAX_JSON_DEPTH: usize = 64;
/// The first and last microsecond that every database can hold: year 1 to year 9999, UTC.
pub const TIMESTAMP_RANGE: (i64, i64) = (-62_135_596_800_000_000, 253_402_300_799_999_999);
/// The first and last day that every database can hold, in days since 1970-01-01: year 1 to year 9999.
pub const DATE_RANGE: (i32, i32) = (-719_162, 2_932_896);

/// The type of a field, as all stores and peers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldType {
    /// `bool`.
    Bool,
    /// A whole number between the two bounds, both included.
    Int {
        /// The smallest value of the Rust type.
        min: i64,
        /// The largest value of the Rust type.
        max: i64,
    },
    /// `f64`, finite.
    Float,
    /// `f32`, finite.
    Float32,
    /// UTF-8 text without U+0000.
    Text,
    /// Bytes.
    Bytes,
    /// A UUID.
    Uuid,
    /// A point in time, in microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// A day of the proleptic Gregorian calendar.
    Date,
    /// A decimal number with its scale.
    Decimal,
    /// Any JSON value.
    Json,
}

impl FieldType {
    /// `i64` without bounds.
    pub const I64: FieldType = FieldType::Int { min: i64::MIN, max: i64::MAX };
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::Bool => f.write_str("bool"),
            FieldType::Int { min, max } if (*min, *max) == (i64::MIN, i64::MAX) => f.write_str("integer"),
            FieldType::Int { min, max } => write!(f, "integer from {min} to {max}"),
            FieldType::Float => f.write_str("float"),
            FieldType::Float32 => f.write_str("32-bit float"),
            FieldType::Text => f.write_str("text"),
            FieldType::Bytes => f.write_str("bytes"),
            FieldType::Uuid => f.write_str("uuid"),
            FieldType::Timestamp => f.write_str("timestamp"),
            FieldType::Date => f.write_str("date"),
            FieldType::Decimal => f.write_str("decimal"),
            FieldType::Json => f.write_str("json"),
        }
    }
}

/// One value of one field.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value; only a nullable field may have it.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number; 32-bit floats are widened, which is exact.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A UUID.
    Uuid(Uuid),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// The decimal's text, such as `-12.50`: optional sign, digits, optional fraction.
    Decimal(String),
    /// A JSON value.
    Json(Json),
}

impl Value {
    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// About how many bytes the value takes in memory and on the wire.
    pub fn size(&self) -> usize {
        match self {
            Value::Text(text) | Value::Decimal(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Uuid(_) => 16,
            Value::Json(json) => json_size(json),
            _ => 8,
        }
    }

    /// Where the value stands among others of its type: null first, text by its bytes.
    ///
    /// Stores order and compare exactly like this, whatever their collation.
    pub fn order(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            // As databases compare numbers: both zeros are one. Infinities and NaN do not exist here.
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Decimal(a), Value::Decimal(b)) => decimal_order(a, b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Json(a), Value::Json(b)) => a.to_string().cmp(&b.to_string()),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Float(_) => 3,
            Value::Text(_) => 4,
            Value::Bytes(_) => 5,
            Value::Uuid(_) => 6,
            Value::Timestamp(_) => 7,
            Value::Date(_) => 8,
            Value::Decimal(_) => 9,
            Value::Json(_) => 10,
        }
    }
}

/// Equal to the bit: `0.0` and `-0.0` differ, as do the decimals `1.0` and `1.00`.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Text(a), Value::Text(b)) | (Value::Decimal(a), Value::Decimal(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Uuid(a), Value::Uuid(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Date(a), Value::Date(b)) => a == b,
            (Value::Json(a), Value::Json(b)) => json_same(a, b),
            _ => false,
        }
    }
}

impl Eq for Value {}

/// Why a value was refused: which field, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    field: Option<String>,
    message: String,
}

impl ValueError {
    /// A refusal with this reason.
    pub fn new(message: impl Into<String>) -> Self {
        ValueError { field: None, message: message.into() }
    }

    /// Names the field; the outermost name wins.
    pub fn in_field(mut self, name: &str) -> Self {
        self.field = Some(name.to_owned());
        self
    }

    /// The field that was refused, or `None` if the whole record was.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The reason alone.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "field `{field}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ValueError {}

impl From<ValueError> for crate::Error {
    fn from(error: ValueError) -> Self {
        crate::Error::new(crate::ErrorKind::InvalidValue, error.to_string()).with_source(error)
    }
}

/// Checks that a value exists everywhere: of the field's type, in range, and held to the bit by every store.
///
/// Null passes: whether a field may be null is the schema's question.
///
/// # Errors
/// A [`ValueError`] that says what no store could hold, without the field's name.
pub fn check(ty: FieldType, value: &Value) -> Result<(), ValueError> {
    match (ty, value) {
        (_, Value::Null) | (FieldType::Bool, Value::Bool(_)) | (FieldType::Uuid, Value::Uuid(_)) => Ok(()),
        (FieldType::Int { min, max }, Value::Int(n)) => {
            if (min..=max).contains(n) {
                Ok(())
            } else {
                Err(ValueError::new(format!("{n} is outside {min} to {max}")))
            }
        }
        (FieldType::Float, Value::Float(x)) => check_finite(*x),
        (FieldType::Float32, Value::Float(x)) => {
            check_finite(*x)?;
            if f64::from(*x as f32).to_bits() == x.to_bits() {
                Ok(())
            } else {
                Err(ValueError::new(format!("{x} is not exactly a 32-bit float")))
            }
        }
        (FieldType::Text, Value::Text(text)) => check_text(text),
        (FieldType::Bytes, Value::Bytes(bytes)) => check_size(bytes.len()),
        (FieldType::Timestamp, Value::Timestamp(t)) => {
            if (TIMESTAMP_RANGE.0..=TIMESTAMP_RANGE.1).contains(t) {
                Ok(())
            } else {
                Err(ValueError::new("timestamps run from year 1 to year 9999"))
            }
        }
        (FieldType::Date, Value::Date(day)) => {
            if (DATE_RANGE.0..=DATE_RANGE.1).contains(day) {
                Ok(())
            } else {
                Err(ValueError::new("dates run from year 1 to year 9999"))
            }
        }
        (FieldType::Decimal, Value::Decimal(text)) => {
            if is_decimal(text) {
                Ok(())
            } else {
                Err(ValueError::new("not a decimal number of at most 29 digits"))
            }
        }
        (FieldType::Json, Value::Json(json)) => {
            check_size(json_size(json))?;
            check_json(json, 1)
        }
        (ty, value) => Err(ValueError::new(format!("expected {ty}, found {}", name_of(value)))),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Uuid(_) => "a uuid",
        Value::Timestamp(_) => "a timestamp",
        Value::Date(_) => "a date",
        Value::Decimal(_) => "a decimal",
        Value::Json(_) => "a JSON value",
    }
}

fn check_finite(x: f64) -> Result<(), ValueError> {
    if x.is_finite() { Ok(()) } else { Err(ValueError::new(format!("{x} is not a finite number"))) }
}

fn check_text(text: &str) -> Result<(), ValueError> {
    if text.contains('\0') {
        return Err(ValueError::new("text with U+0000 cannot be stored by every database"));
    }
    check_size(text.len())
}

fn check_size(bytes: usize) -> Result<(), ValueError> {
    if bytes <= MAX_VALUE_BYTES {
        Ok(())
    } else {
        Err(ValueError::new(format!("{bytes} bytes; a value has at most {MAX_VALUE_BYTES}")))
    }
}

/// How deep a JSON value nests; 1 for one that is no list and no object.
pub(crate) fn json_depth(json: &Json) -> usize {
    1 + match json {
        Json::Array(items) => items.iter().map(json_depth).max().unwrap_or(0),
        Json::Object(items) => items.values().map(json_depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn check_json(json: &Json, depth: usize) -> Result<(), ValueError> {
    if depth > MAX_JSON_DEPTH {
        return Err(ValueError::new(format!("JSON nested deeper than {MAX_JSON_DEPTH}")));
    }
    match json {
        Json::String(text) if text.contains('\0') => {
            Err(ValueError::new("text with U+0000 cannot be stored by every database"))
        }
        Json::Number(number) if number.is_u64() && number.as_i64().is_none() => {
            Err(ValueError::new(format!("the integer {number} inside JSON is above {}", i64::MAX)))
        }
        Json::Array(items) => items.iter().try_for_each(|item| check_json(item, depth + 1)),
        Json::Object(members) => members.iter().try_for_each(|(name, item)| {
            if name.contains('\0') {
                return Err(ValueError::new("a JSON name with U+0000 cannot be stored by every database"));
            }
            check_json(item, depth + 1)
        }),
        _ => Ok(()),
    }
}

pub(crate) fn json_size(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) => 4,
        Json::Number(_) => 8,
        Json::String(text) => text.len() + 2,
        Json::Array(items) => items.iter().map(|item| json_size(item) + 1).sum::<usize>() + 2,
        Json::Object(members) => {
            members.iter().map(|(name, item)| name.len() + json_size(item) + 4).sum::<usize>() + 2
        }
    }
}

fn json_same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => a.as_f64().map(f64::to_bits) == b.as_f64().map(f64::to_bits),
            _ => false,
        },
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| json_same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| json_same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    !whole.is_empty()
        && !fraction.is_empty()
        && whole.len() + fraction.len() <= 30
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
}

/// Orders two decimals by their number, then by their scale.
fn decimal_order(a: &str, b: &str) -> Ordering {
    fn parts(text: &str) -> (bool, &str, &str) {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        (negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction)
    }
    let ((a_negative, a_whole, a_fraction), (b_negative, b_whole, b_fraction)) = (parts(a), parts(b));
    let magnitude = (a_whole.len().cmp(&b_whole.len()))
        .then_with(|| a_whole.cmp(b_whole))
        .then_with(|| a_fraction.cmp(b_fraction));
    match (a_negative, b_negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => magnitude,
        (true, true) => magnitude.reverse(),
    }
}

/// The day as `YYYY-MM-DD`, or `None` outside [`DATE_RANGE`].
pub fn date_text(day: i32) -> Option<String> {
    let epoch = jiff::civil::date(1970, 1, 1);
    if !(DATE_RANGE.0..=DATE_RANGE.1).contains(&day) {
        return None;
    }
    epoch.checked_add(jiff::Span::new().days(day)).ok().map(|date| date.to_string())
}

/// The day of `YYYY-MM-DD`, or `None` if the text is none or outside [`DATE_RANGE`].
pub fn parse_date(text: &str) -> Option<i32> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let day = jiff::civil::date(1970, 1, 1).until(date).ok()?.get_days();
    (DATE_RANGE.0..=DATE_RANGE.1).contains(&day).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_cannot_hold_is_refused() {
        let deep = (0..MAX_JSON_DEPTH).fold(Json::Null, |inner, _| Json::Array(vec![inner]));
        let cases = [
            (FieldType::Float, Value::Float(f64::NAN), "NaN is not a finite number"),
            (FieldType::Float, Value::Float(f64::INFINITY), "inf is not a finite number"),
            (FieldType::Float32, Value::Float(0.1), "0.1 is not exactly a 32-bit float"),
            (
                FieldType::Text,
                Value::Text("a\0b".into()),
                "text with U+0000 cannot be stored by every database",
            ),
            (FieldType::Int { min: 0, max: 255 }, Value::Int(256), "256 is outside 0 to 255"),
            (FieldType::Timestamp, Value::Timestamp(i64::MAX), "timestamps run from year 1 to year 9999"),
            (FieldType::Date, Value::Date(i32::MIN), "dates run from year 1 to year 9999"),
            (FieldType::Decimal, Value::Decimal("1e5".into()), "not a decimal number of at most 29 digits"),
            (FieldType::Json, Value::Json(deep), "JSON nested deeper than 64"),
            (
                FieldType::Json,
                Value::Json(u64::MAX.into()),
                "the integer 18446744073709551615 inside JSON is above",
            ),
            (FieldType::Text, Value::Int(1), "expected text, found an integer"),
        ];
        for (ty, value, message) in cases {
            let error = check(ty, &value).expect_err(message);
            assert!(error.to_string().starts_with(message), "{error} is not {message}");
        }
    }

    #[test]
    fn what_every_store_holds_passes() {
        let cases = [
            (FieldType::I64, Value::Int(i64::MIN)),
            (FieldType::Float, Value::Float(-0.0)),
            (FieldType::Float, Value::Float(f64::from_bits(1))),
            (FieldType::Float32, Value::Float(f64::from(0.1_f32))),
            (FieldType::Timestamp, Value::Timestamp(TIMESTAMP_RANGE.1)),
            (FieldType::Decimal, Value::Decimal("-12.50".into())),
            (FieldType::Text, Value::Null),
        ];
        for (ty, value) in cases {
            assert_eq!(check(ty, &value), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn values_are_equal_to_the_bit() {
        assert_ne!(Value::Float(0.0), Value::Float(-0.0));
        assert_ne!(Value::Json(serde_json::json!([0.0])), Value::Json(serde_json::json!([-0.0])));
        assert_ne!(Value::Json(serde_json::json!(1)), Value::Json(serde_json::json!(1.0)));
        assert_eq!(
            Value::Json(serde_json::json!({"a": 1, "b": 2})),
            Value::Json(serde_json::json!({"b": 2, "a": 1}))
        );
    }

    #[test]
    fn decimals_are_ordered_by_number() {
        let mut sorted = ["10", "-2", "9.5", "-10.25", "0", "9.50001", "-0.5"];
        sorted.sort_by(|a, b| decimal_order(a, b));
        assert_eq!(sorted, ["-10.25", "-2", "-0.5", "0", "9.5", "9.50001", "10"]);
        assert_eq!(decimal_order("1.0", "1.00"), Ordering::Equal);
        assert_eq!(decimal_order("-0.0", "0"), Ordering::Equal);
    }

    #[test]
    fn days_and_their_text_agree() {
        for (day, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (DATE_RANGE.0, "0001-01-01"),
            (DATE_RANGE.1, "9999-12-31"),
        ] {
            assert_eq!(date_text(day).as_deref(), Some(text));
            assert_eq!(parse_date(text), Some(day));
        }
        assert_eq!(parse_date("2026-02-30"), None);
    }
}
