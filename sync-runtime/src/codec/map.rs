//! Maps with known names and lists of bounded length: what every message is made of.

use super::json::{Dropped, remember};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

/// The fields of a message that travels as a map. [`Map`] reads it.
///
/// A name stands at most once; names that are not listed are read, checked and dropped, so that a newer peer
/// may say more.
pub trait Fields<'de>: Sized {
    /// What was read.
    type Output;
    /// What the message is, with its article, for errors.
    const WHAT: &'static str;
    /// The names, at most 64; faster to read if they come in this order.
    const NAMES: &'static [&'static str];

    /// Reads the value of the name at this place.
    ///
    /// # Errors
    /// What is wrong with the value.
    fn field<A: MapAccess<'de>>(&mut self, place: usize, map: &mut A) -> Result<(), A::Error>;

    /// What has been read.
    ///
    /// # Errors
    /// What is missing or does not fit together.
    fn finish<E: de::Error>(self) -> Result<Self::Output, E>;

    /// Where an error in the field at this place happened.
    fn place(&self, place: usize) -> String {
        Self::NAMES.get(place).copied().unwrap_or_default().to_owned()
    }
}

/// Reads a message by its [`Fields`].
#[derive(Debug, Clone, Copy)]
pub struct Map<F>(
    /// The message before anything was read.
    pub F,
);

impl<'de, F: Fields<'de>> DeserializeSeed<'de> for Map<F> {
    type Value = F::Output;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<F::Output, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: Fields<'de>> Visitor<'de> for Map<F> {
    type Value = F::Output;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(F::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<F::Output, A::Error> {
        let mut message = self.0;
        let (mut next, mut seen, mut others) = (0, 0_u64, BTreeSet::new());
        while let Some(name) = map.next_key_seed(Name { known: F::NAMES.len(), at: |i| F::NAMES[i], next })? {
            match name {
                Named::Known(place) => {
                    if seen & (1 << place) != 0 {
                        return Err(twice(F::NAMES[place]));
                    }
                    seen |= 1 << place;
                    next = place + 1;
                    if let Err(error) = message.field(place, &mut map) {
                        return Err(de::Error::custom(format_args!("{}: {error}", message.place(place))));
                    }
                }
                Named::Other(name) => {
                    map.next_value_seed(Dropped::VALUE)?;
                    remember(&mut others, name)?;
                }
            }
        }
        message.finish()
    }
}

/// The error for a name that stands twice in one map.
pub(super) fn twice<E: de::Error>(name: &str) -> E {
    E::custom(format_args!("the name `{name}` stands twice"))
}

/// The error for a name without which a message says nothing.
///
/// # Errors
/// Always fails where the value is absent.
pub fn required<T, E: de::Error>(value: Option<T>, name: &'static str) -> Result<T, E> {
    value.ok_or_else(|| E::missing_field(name))
}

/// Reads a name as the place it has among the known ones, tried first where the names stand in order.
pub(super) struct Name<N> {
    pub(super) known: usize,
    pub(super) at: N,
    pub(super) next: usize,
}

/// A name of a map.
pub(super) enum Named {
    Known(usize),
    Other(String),
}

impl<'de, N: Fn(usize) -> &'static str> DeserializeSeed<'de> for Name<N> {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<N: Fn(usize) -> &'static str> Visitor<'_> for Name<N> {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Named, E> {
        if self.next < self.known && (self.at)(self.next) == name {
            return Ok(Named::Known(self.next));
        }
        match (0..self.known).find(|place| (self.at)(*place) == name) {
            Some(place) => Ok(Named::Known(place)),
            None => Ok(Named::Other(name.to_owned())),
        }
    }
}

/// Reads a list of at most so many items, each with a copy of one seed.
#[derive(Debug, Clone, Copy)]
pub struct List<S> {
    /// Reads one item.
    pub item: S,
    /// The most items.
    pub most: usize,
    /// What the items are, in the plural, for errors.
    pub what: &'static str,
}

/// Room that is made before the items have come; a peer's announced length is not believed beyond it.
const BELIEVED: usize = 1024;

impl<'de, S: DeserializeSeed<'de> + Clone> DeserializeSeed<'de> for List<S> {
    type Value = Vec<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Clone> Visitor<'de> for List<S> {
    type Value = Vec<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {}", self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::with_capacity(items.size_hint().unwrap_or(0).min(BELIEVED));
        while let Some(item) = items.next_element_seed(self.item.clone())? {
            if read.len() == self.most {
                let message = format_args!("more than {} {}", self.most, self.what);
                return Err(de::Error::custom(message));
            }
            read.push(item);
        }
        Ok(read)
    }
}

/// A seed that reads what `Deserialize` reads.
#[derive(Debug)]
pub struct Plain<T>(PhantomData<fn() -> T>);

impl<T> Plain<T> {
    /// The seed.
    pub const fn seed() -> Self {
        Plain(PhantomData)
    }
}

impl<T> Clone for Plain<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Plain<T> {}

impl<'de, T: serde::Deserialize<'de>> DeserializeSeed<'de> for Plain<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}

/// Writes each item of a slice through a function that dresses it.
pub struct Each<'a, T, F>(
    /// The items.
    pub &'a [T],
    /// Dresses one item.
    pub F,
);

impl<T, F> fmt::Debug for Each<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items", self.0.len())
    }
}

impl<'a, T, O: Serialize, F: Fn(&'a T) -> O> Serialize for Each<'a, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            list.serialize_element(&(self.1)(item))?;
        }
        list.end()
    }
}
