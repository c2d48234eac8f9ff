//! How messages are read: by their names, or as one of several things.

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use std::fmt;

/// A message that is read by its names. The seeds may use what was read before, by the first identifier; the
/// last block puts the message together.
macro_rules! message {
    ($name:ident, $what:literal, |$message:ident, $reader:ident, $most:ident| {
        $($field:ident: $ty:ty = $seed:expr;)*
    } -> $output:ty { $($finish:tt)* }) => {
        #[derive(Clone)]
        pub(crate) struct $name<'r> {
            reader: &'r sync_runtime::codec::Reader,
            most: usize,
            $($field: Option<$ty>,)*
        }

        impl<'r> $name<'r> {
            /// Reads the message; no list of changes in it has more than `most`.
            pub(crate) fn seed(reader: &'r sync_runtime::codec::Reader, most: usize) -> sync_runtime::codec::Map<Self> {
                sync_runtime::codec::Map($name { reader, most, $($field: None,)* })
            }
        }

        impl<'de> sync_runtime::codec::Fields<'de> for $name<'_> {
            type Output = $output;
            const WHAT: &'static str = $what;
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            #[allow(unused_variables, reason = "not every message has lists or needs what came before")]
            fn field<A: serde::de::MapAccess<'de>>(&mut self, place: usize, map: &mut A) -> Result<(), A::Error> {
                let ($reader, $most) = (self.reader, self.most);
                match Self::NAMES[place] {
                    $(stringify!($field) => {
                        let $message = &*self;
                        let value = map.next_value_seed($seed)?;
                        self.$field = Some(value);
                    })*
                    _ => {}
                }
                Ok(())
            }

            fn finish<E: serde::de::Error>(self) -> Result<$output, E> {
                let $message = self;
                $($finish)*
            }
        }
    };
}

pub(crate) use message;

/// One of several things, said as a name alone or as a map with one name.
pub(crate) trait Choice<'de>: Sized {
    type Output;
    const WHAT: &'static str;

    /// The thing with this name and nothing more to say.
    fn alone(&self, name: &str) -> Option<Self::Output>;

    /// The thing with this name and what the map says of it; `None` if there is no such name.
    fn with<A: MapAccess<'de>>(&self, name: &str, map: &mut A) -> Result<Option<Self::Output>, A::Error>;
}

/// Reads a [`Choice`].
#[derive(Clone)]
pub(crate) struct Chosen<C>(pub(crate) C);

impl<'de, C: Choice<'de>> DeserializeSeed<'de> for Chosen<C> {
    type Value = C::Output;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<C::Output, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, C: Choice<'de>> Visitor<'de> for Chosen<C> {
    type Value = C::Output;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(C::WHAT)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<C::Output, E> {
        self.0.alone(name).ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<C::Output, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Err(de::Error::invalid_length(0, &self));
        };
        let chosen = self.0.with(&name, &mut map)?;
        let chosen = chosen.ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&name), &self))?;
        match map.next_key::<de::IgnoredAny>()? {
            None => Ok(chosen),
            Some(_) => Err(de::Error::custom(format_args!("more than one name where {} stands", C::WHAT))),
        }
    }
}
