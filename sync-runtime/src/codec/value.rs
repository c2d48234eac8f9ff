//! One value, written and read by the type of its field.

use super::Reader;
use super::json::{Checked, number};
use crate::value::{FieldType, Value, date_text, parse_date};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor, value as direct};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::Value as Json;
use std::fmt;
use uuid::Uuid;

/// The largest whole number that a JavaScript reader has exact: 2^53 - 1.
const EXACT: i64 = (1 << 53) - 1;

/// Writes a value: as a person would in JSON, as compact as it goes in a binary format.
pub(super) struct Written<'a>(pub(super) &'a Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let readable = serializer.is_human_readable();
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) | Value::Timestamp(value) => whole(*value, serializer),
            Value::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::Float(value) => Err(ser::Error::custom(format_args!("{value} is not a finite number"))),
            Value::Text(text) | Value::Decimal(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) if readable => serializer.serialize_str(&STANDARD.encode(bytes)),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::Uuid(uuid) if readable => {
                let mut text = Uuid::encode_buffer();
                serializer.serialize_str(uuid.as_hyphenated().encode_lower(&mut text))
            }
            Value::Uuid(uuid) => serializer.serialize_bytes(uuid.as_bytes()),
            Value::Date(day) => match date_text(*day) {
                Some(text) => serializer.serialize_str(&text),
                None => Err(ser::Error::custom(format_args!("day {day} is outside year 1 to year 9999"))),
            },
            Value::Json(json) => json.serialize(serializer),
        }
    }
}

/// A whole number, as text where JSON is written and a JavaScript reader would round it.
fn whole<S: Serializer>(value: i64, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() && !(-EXACT..=EXACT).contains(&value) {
        serializer.collect_str(&value)
    } else {
        serializer.serialize_i64(value)
    }
}

/// A whole number of 64 bits that JSON readers have exact: text beyond 2^53 - 1, and read from both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole(
    /// The number.
    pub u64,
);

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() && self.0 > EXACT as u64 {
            serializer.collect_str(&self.0)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Whole, E> {
                Ok(Whole(value))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Whole, E> {
                let unexpected = de::Unexpected::Str(text);
                text.parse().map(Whole).map_err(|_| E::invalid_value(unexpected, &self))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Reads a value by the type of its field, in either format's form.
///
/// What does not fit the type is read as what it is, so that the schema's check can name it; only what no
/// field could hold is an error here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typed<'r> {
    pub(super) ty: FieldType,
    pub(super) reader: &'r Reader,
}

impl<'de> DeserializeSeed<'de> for Typed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Typed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ty)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(match self.ty {
            FieldType::Json => Value::Json(Json::Bool(value)),
            _ => Value::Bool(value),
        })
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(match self.ty {
            FieldType::Float | FieldType::Float32 => Value::Float(value as f64),
            FieldType::Timestamp => Value::Timestamp(value),
            FieldType::Json => Value::Json(value.into()),
            _ => Value::Int(value),
        })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        match (i64::try_from(value), self.ty) {
            (Ok(value), _) => self.visit_i64(value),
            (Err(_), FieldType::Float | FieldType::Float32) => Ok(Value::Float(value as f64)),
            (Err(_), _) => Ok(Value::Json(value.into())),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        match self.ty {
            FieldType::Json => number(value).map(Value::Json),
            _ => Ok(Value::Float(value)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        let read = match self.ty {
            FieldType::Uuid => uuid_of(text).map(Value::Uuid),
            FieldType::Bytes => STANDARD.decode(text).ok().map(Value::Bytes),
            FieldType::Int { .. } => number_of(text).map(Value::Int),
            FieldType::Timestamp => number_of(text).map(Value::Timestamp),
            // Ten bytes and no more: a time of day would be lost without a word.
            FieldType::Date if text.len() == 10 => parse_date(text).map(Value::Date),
            FieldType::Decimal => Some(Value::Decimal(text.to_owned())),
            FieldType::Json => Some(Value::Json(Json::String(text.to_owned()))),
            _ => None,
        };
        Ok(read.unwrap_or_else(|| Value::Text(text.to_owned())))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(match self.ty {
            FieldType::Uuid => match Uuid::from_slice(bytes) {
                Ok(uuid) => Value::Uuid(uuid),
                Err(_) => Value::Bytes(bytes.to_owned()),
            },
            FieldType::Json => Value::Json(Json::String(STANDARD.encode(bytes))),
            _ => Value::Bytes(bytes.to_owned()),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Value, A::Error> {
        Checked::value(self.reader).deserialize(direct::SeqAccessDeserializer::new(items)).map(Value::Json)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Value, A::Error> {
        Checked::value(self.reader).deserialize(direct::MapAccessDeserializer::new(members)).map(Value::Json)
    }
}

/// A UUID with hyphens or without, or the base64 of its bytes, as a peer keeps it that does not know the type.
fn uuid_of(text: &str) -> Option<Uuid> {
    match text.len() {
        36 | 32 => Uuid::try_parse(text).ok(),
        24 => Uuid::from_slice(&STANDARD.decode(text).ok()?).ok(),
        _ => None,
    }
}

/// A whole number, written as this codec writes one.
fn number_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}
