//! JSON values read with every check that one needs from outside: depth, duplicate names, size of numbers.

use super::Reader;
use super::map::twice;
use crate::value::MAX_JSON_DEPTH;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};
use std::collections::BTreeSet;
use std::fmt;

/// Reads any value as JSON; bytes become base64 text. Refuses a name that stands twice, anything nested deeper
/// than [`MAX_JSON_DEPTH`], and numbers that JSON does not have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked<'r> {
    /// At which depth the value stands; 1 is the value of a field.
    depth: usize,
    reader: &'r Reader,
}

/// What a value takes in memory that is an item of a list, whatever it takes in a message.
const ITEM: usize = size_of::<Json>();
/// The same of a member of a map, beside its name.
const MEMBER: usize = ITEM + size_of::<String>();

impl<'r> Checked<'r> {
    /// The value of a field.
    pub(super) fn value(reader: &'r Reader) -> Self {
        Checked { depth: 1, reader }
    }

    /// A map of such values, read before it is known whose fields they are.
    pub(super) fn fields(reader: &'r Reader) -> Self {
        Checked { depth: 0, reader }
    }

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        Ok(Checked { depth: deeper(self.depth)?, ..self })
    }
}

/// One level further down.
fn deeper<E: de::Error>(depth: usize) -> Result<usize, E> {
    if depth >= MAX_JSON_DEPTH {
        return Err(E::custom(format_args!("nested deeper than {MAX_JSON_DEPTH}")));
    }
    Ok(depth + 1)
}

/// A number as JSON has it.
pub(super) fn number<E: de::Error>(value: f64) -> Result<Json, E> {
    match Number::from_f64(value) {
        Some(number) => Ok(Json::Number(number)),
        None => Err(E::custom(format_args!("{value} is not a finite number"))),
    }
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        number(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Json, E> {
        Ok(Json::String(STANDARD.encode(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            self.reader.keep(ITEM)?;
            read.push(item);
        }
        Ok(Json::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if read.contains_key(&name) {
                return Err(twice(&name));
            }
            self.reader.keep(MEMBER + name.len())?;
            let value = members.next_value_seed(inner)?;
            read.insert(name, value);
        }
        Ok(Json::Object(read))
    }
}

/// How many names of a map are remembered that are not used.
const REMEMBERED: usize = 1_000;

/// Fails where a name that is not used stands twice, as far as names are remembered: memory stays bounded.
pub(super) fn remember<E: de::Error>(names: &mut BTreeSet<String>, name: String) -> Result<(), E> {
    if names.contains(&name) {
        return Err(twice(&name));
    }
    if names.len() < REMEMBERED {
        names.insert(name);
    }
    Ok(())
}

/// Reads something that a newer peer says and this program does not use, and keeps nothing of it. Refuses what is nested
/// deeper than [`MAX_JSON_DEPTH`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropped {
    depth: usize,
}

impl Dropped {
    pub(super) const VALUE: Dropped = Dropped { depth: 0 };

    fn deeper<E: de::Error>(self) -> Result<Dropped, E> {
        Ok(Dropped { depth: deeper(self.depth)? })
    }
}

impl<'de> DeserializeSeed<'de> for Dropped {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Dropped {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        number(value).map(drop)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            members.next_value_seed(inner)?;
            remember(&mut names, name)?;
        }
        Ok(())
    }
}
