//! The two formats that a message may travel in. Same names, same structure.

use serde::Serialize;
use serde::de::{DeserializeSeed, Error as _};
use sync_runtime::codec::{self, Reader};
use sync_runtime::{Error, ErrorKind, Result};

/// How deep a message may nest: the 64 of a JSON value, and the message around it.
const MAX_DEPTH: usize = 80;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// MessagePack.
    Binary,
    /// JSON text.
    Json,
}

impl Format {
    /// The media type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Format::Binary => "application/msgpack",
            Format::Json => "application/json",
        }
    }

    /// The format with this media type, parameters aside; `None` if it is another.
    pub(crate) fn of_media_type(text: &str) -> Option<Self> {
        let name = text.split(';').next().unwrap_or_default().trim();
        let formats = [Format::Binary, Format::Json];
        formats.into_iter().find(|format| format.media_type().eq_ignore_ascii_case(name))
    }

    /// Writes a message.
    pub(crate) fn write(self, message: &impl Serialize) -> Result<Vec<u8>> {
        match self {
            Format::Json => codec::to_json(message),
            Format::Binary => {
                let mut bytes = Vec::with_capacity(256);
                let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
                match message.serialize(&mut serializer) {
                    Ok(()) => Ok(bytes),
                    Err(error) => {
                        Err(Error::new(ErrorKind::InvalidValue, format!("writing MessagePack: {error}")))
                    }
                }
            }
        }
    }

    /// Reads a message to its end.
    pub(crate) fn read<'de, S: DeserializeSeed<'de>>(
        self,
        bytes: &'de [u8],
        reader: &Reader,
        seed: S,
        doing: &str,
    ) -> Result<S::Value> {
        match self {
            Format::Json => reader.from_json(bytes, seed, doing),
            Format::Binary => {
                let mut rest = bytes;
                let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
                deserializer.set_max_depth(MAX_DEPTH);
                let read = seed.deserialize(&mut deserializer);
                let read = read.and_then(|value| match deserializer.get_ref().is_empty() {
                    true => Ok(value),
                    false => Err(rmp_serde::decode::Error::custom("there is more behind the message")),
                });
                read.map_err(|error| reader.error(error, doing))
            }
        }
    }
}
