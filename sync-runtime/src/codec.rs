//! Records, changes, states and updates as serde reads and writes them, in any format: by their schema.
//!
//! Two forms. The *wire* form has what travels: no local field, and unknown fields in the same map as the
//! others. The *stored* form is for this replica's own notes and journals: local fields too, where a change
//! came from, and unknown fields apart.
//!
//! - A change is a map: `model`, `id`, `kind`, `rev` (`stamp@replica`), and where there is something to say
//!   `ancestry` (the newest stamps of the other writers, by replica), `merged` (two revisions), `prev`, `pos`,
//!   `group`, `based_on`. With its record it has `data` as well: the record without its id.
//! - A record is a map from field name to value. Absent is unknown, null is null.
//! - A value is written by its type. JSON: a UUID with hyphens, bytes as base64, a whole number beyond
//!   2^53 - 1 as text, a timestamp in microseconds, a date as `YYYY-MM-DD`, a decimal as text. Binary formats:
//!   a UUID as 16 bytes, bytes as bytes, numbers as numbers. Readers take either.
//!
//! What is read may come from anybody: names stand once, at any depth; nothing nests deeper than 64; values
//! exist everywhere ([`crate::value::check`]); lists and ancestries are bounded. Formats and I/O are others'.
//!
//! ```
//! use sync_runtime::codec::{self, Reader};
//! use sync_runtime::{FieldSchema, FieldType, ModelSchema, Record, Value};
//!
//! const TITLE: FieldSchema = FieldSchema::new("title", FieldType::Text);
//! static NOTE: ModelSchema =
//!     ModelSchema { name: "Note", table: "note", fields: &[FieldSchema { name: "id", ..TITLE }, TITLE], id: 0, on_delete: sync_runtime::OnDelete::Manual, adopt: false, removed: &[], scope: None };
//!
//! let note = Record::new(vec![Some(Value::Text("7".into())), Some(Value::Text("eat".into()))]);
//! let json = codec::to_json(&codec::wire_record(&NOTE, &note, None))?;
//! assert_eq!(json, br#"{"id":"7","title":"eat"}"#);
//!
//! let reader = Reader::of([&NOTE]);
//! let (read, unknown) = reader.from_json(&json, reader.record(&NOTE), "reading a note")?;
//! assert_eq!(read, note);
//! assert!(unknown.is_empty());
//! # Ok::<(), sync_runtime::Error>(())
//! ```

mod change;
mod json;
mod map;
mod record;
mod value;

pub use change::{MAX_ANCESTRY, Tracked, Written};
pub use map::{Each, Fields, List, Map, Plain, required};
pub use record::{Fielded, IdOf, ValueOf};
pub use value::Whole;

use crate::record::{Id, Record, Unknown};
use crate::schema::{FieldSchema, ModelSchema, Models};
use crate::value::Value;
use crate::{Error, ErrorKind, Result};
use serde::de::{self, DeserializeSeed};
use serde::{Deserializer, Serialize};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

/// For whom something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For peers: only what travels.
    Wire,
    /// For this replica itself: everything.
    Stored,
}

/// A [`crate::change::Change`], [`crate::change::State`] or [`crate::replica::Update`] as peers read it.
pub fn wire<T: Tracked>(tracked: &T) -> Written<'_, T> {
    Written { tracked, form: Form::Wire }
}

/// A [`crate::change::Change`], [`crate::change::State`] or [`crate::replica::Update`] as this replica keeps it.
pub fn stored<T: Tracked>(tracked: &T) -> Written<'_, T> {
    Written { tracked, form: Form::Stored }
}

/// A record as peers read it, with its id.
pub fn wire_record<'a>(
    schema: &'static ModelSchema,
    record: &'a Record,
    unknown: Option<&'a Unknown>,
) -> Fielded<'a> {
    Fielded { schema, record, unknown, form: Form::Wire, without_id: false }
}

/// A record as this replica keeps it, with its id and local fields.
pub fn stored_record<'a>(schema: &'static ModelSchema, record: &'a Record) -> Fielded<'a> {
    Fielded { schema, record, unknown: None, form: Form::Stored, without_id: false }
}

/// An id as peers read it.
pub fn id(id: &Id) -> impl Serialize + '_ {
    record::WrittenId(id)
}

/// A value as peers read it.
pub fn value(value: &Value) -> impl Serialize + '_ {
    value::Written(value)
}

/// Something of the codec as JSON text.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] if it has a value that JSON cannot hold.
pub fn to_json(message: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(message)
        .map_err(|error| Error::new(ErrorKind::InvalidValue, format!("writing JSON: {error}")))
}

/// Which models a reader knows.
#[derive(Debug, Clone)]
enum Known {
    Registered(Models),
    These(Vec<&'static ModelSchema>),
}

/// Reads what this module writes, for the models that it knows.
///
/// It remembers why reading failed and what it left out, so one reader reads one message.
#[derive(Debug)]
pub struct Reader {
    known: Known,
    form: Form,
    keep_misfits: bool,
    skipped: Cell<u64>,
    /// How many bytes of memory there are for JSON values.
    room: Cell<usize>,
    failed: Cell<Option<ErrorKind>>,
}

impl Reader {
    /// Reads the wire form of records of registered models.
    pub fn new(models: &Models) -> Self {
        Reader::knowing(Known::Registered(models.clone()))
    }

    /// Reads the wire form of records of these models.
    pub fn of(schemas: impl IntoIterator<Item = &'static ModelSchema>) -> Self {
        Reader::knowing(Known::These(schemas.into_iter().collect()))
    }

    fn knowing(known: Known) -> Self {
        let (skipped, room, failed) = (Cell::new(0), Cell::new(usize::MAX), Cell::new(None));
        Reader { known, form: Form::Wire, keep_misfits: false, skipped, room, failed }
    }

    /// Reads the stored form instead.
    pub fn stored(self) -> Self {
        Reader { form: Form::Stored, ..self }
    }

    /// Reads a value that does not fit its field as what it is, instead of failing. Whoever takes the record
    /// in has to check it; so one record that does not fit is refused, and not its whole page.
    pub fn keeping_misfits(self) -> Self {
        Reader { keep_misfits: true, ..self }
    }

    /// Keeps JSON values for as long as they take at most about so many bytes of memory, all of the message together: a
    /// number may be one byte there and takes many here. More is [`ErrorKind::TooLarge`].
    pub fn within(self, bytes: usize) -> Self {
        Reader { room: Cell::new(bytes), ..self }
    }

    /// Takes memory for a part of a JSON value.
    fn keep<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.room.get().checked_sub(bytes) {
            Some(rest) => {
                self.room.set(rest);
                Ok(())
            }
            None => Err(self.fail(ErrorKind::TooLarge, "more JSON values than there is memory for")),
        }
    }

    /// A seed for one [`crate::change::Change`], [`crate::change::State`] or [`crate::replica::Update`].
    pub fn one<T: Tracked>(&self) -> One<'_, T> {
        One { reader: self, tracked: PhantomData }
    }

    /// A seed for a list of at most so many. Those of models that this reader does not know are left out and
    /// counted if `skip` says so, else they are an error.
    pub fn list<T: Tracked>(&self, most: usize, skip: bool) -> Many<'_, T> {
        Many { reader: self, most, skip, tracked: PhantomData }
    }

    /// A seed for a record and its unknown fields.
    pub fn record(&self, schema: &'static ModelSchema) -> record::Fields<'_> {
        record::Fields { schema, reader: self }
    }

    /// A seed for the id of a record of this model.
    pub fn id(&self, schema: &'static ModelSchema) -> IdOf<'_> {
        IdOf { schema, reader: self }
    }

    /// A seed for a value of this field; null is one.
    pub fn value(&self, field: &'static FieldSchema) -> ValueOf<'_> {
        ValueOf { field, reader: self }
    }

    /// The model with this name.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`] if this reader does not know it.
    pub fn schema(&self, name: &str) -> Result<&'static ModelSchema> {
        match &self.known {
            Known::Registered(models) => models.get(name).map(|model| model.schema),
            Known::These(schemas) => {
                schemas.iter().find(|schema| schema.name == name).copied().ok_or_else(|| {
                    Error::new(ErrorKind::UnknownModel, format!("the model `{name}` was not asked for"))
                })
            }
        }
    }

    /// How many changes were left out because their model is not known.
    pub fn skipped(&self) -> u64 {
        self.skipped.get()
    }

    /// An error for a format's deserializer that [`Reader::error`] gives this kind.
    pub fn fail<E: de::Error>(&self, kind: ErrorKind, message: impl fmt::Display) -> E {
        self.failed.set(Some(kind));
        E::custom(message)
    }

    /// What a format's deserializer failed with, as the project's error:
    /// [`ErrorKind::Protocol`] unless a value or a model was what did not fit.
    pub fn error(&self, error: impl fmt::Display, doing: impl Into<String>) -> Error {
        let kind = self.failed.get().unwrap_or(ErrorKind::Protocol);
        Error::new(kind, error.to_string()).context(doing)
    }

    /// Reads JSON text to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the text is not what the seed reads, [`ErrorKind::UnknownModel`] and
    /// [`ErrorKind::InvalidValue`] if a model or a value does not fit.
    pub fn from_json<'de, S: DeserializeSeed<'de>>(
        &self,
        json: &'de [u8],
        seed: S,
        doing: &str,
    ) -> Result<S::Value> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let read = seed.deserialize(&mut deserializer);
        read.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| self.error(error, doing))
    }

    /// Whether a field of this name is the one that the schema means: local ones are not known to peers.
    fn knows(&self, field: &FieldSchema) -> bool {
        !field.local || self.form == Form::Stored
    }
}

/// Reads one change, state or update.
#[derive(Debug, Clone, Copy)]
pub struct One<'r, T> {
    reader: &'r Reader,
    tracked: PhantomData<fn() -> T>,
}

impl<'de, T: Tracked> DeserializeSeed<'de> for One<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        let read = change::Tracking::seed(self.reader, false).deserialize(deserializer)?;
        required(read, "model").map(T::from_update)
    }
}

/// Reads a list of changes, states or updates.
#[derive(Debug, Clone, Copy)]
pub struct Many<'r, T> {
    reader: &'r Reader,
    most: usize,
    skip: bool,
    tracked: PhantomData<fn() -> T>,
}

/// One item of [`Many`]; `None` where it is left out.
#[derive(Clone, Copy)]
struct Item<'r> {
    reader: &'r Reader,
    skip: bool,
    most: usize,
    read: &'r Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Option<crate::replica::Update>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.read.get() == self.most {
            return Err(self
                .reader
                .fail(ErrorKind::TooLarge, format_args!("more than {} changes", self.most)));
        }
        self.read.set(self.read.get() + 1);
        change::Tracking::seed(self.reader, self.skip).deserialize(deserializer)
    }
}

impl<'de, T: Tracked> DeserializeSeed<'de> for Many<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        let item = Item { reader: self.reader, skip: self.skip, most: self.most, read: &Cell::new(0) };
        let read = List { item, most: usize::MAX, what: "changes" }.deserialize(deserializer)?;
        Ok(read.into_iter().flatten().map(T::from_update).collect())
    }
}
