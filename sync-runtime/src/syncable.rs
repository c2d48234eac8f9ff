//! What the derive implements, and what the types of fields and ids implement.

mod values;

pub use values::{PlainValue, json_from_value, json_to_value};

use crate::derived::{Reader, column};
use crate::query::{Comparison, Condition};
use crate::record::{Id, Record};
use crate::schema::{FieldSchema, Model, ModelSchema};
use crate::value::{FieldType, Value, ValueError};
use crate::{Error, ErrorKind};
use std::fmt::Debug;
use uuid::Uuid;

/// A struct whose records can be kept, tracked and replicated. Derive it.
///
/// ```
/// use sync_runtime::prelude::*;
///
/// #[derive(Debug, Clone, PartialEq, Syncable)]
/// struct Note {
///     #[sync(id)]
///     id: i64,
///     text: String,
/// }
///
/// let note = Note { id: 7, text: "hello".into() };
/// let record = note.to_record()?;
/// assert_eq!(Note::from_record(record)?, note);
/// assert_eq!(Note::SCHEMA.name, "Note");
/// # Ok::<(), sync_runtime::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    note = "add `#[derive(Syncable)]` to `{Self}`"
)]
pub trait Syncable: Sized + Send + Sync + 'static {
    /// The type of the id.
    type Id: ModelId;
    /// The enum that names the fields.
    type Field: Field<Model = Self>;
    /// The model as stores and peers see it.
    const SCHEMA: &'static ModelSchema;

    /// The record's id.
    fn id(&self) -> Self::Id;

    /// Sets the record's id; `create` calls it where the id was left empty.
    fn set_id(&mut self, id: Self::Id);

    /// The record's values, local fields included.
    ///
    /// # Errors
    /// A [`ValueError`] that names the field whose value no store could hold.
    fn to_record(&self) -> Result<Record, ValueError>;

    /// The struct that has these values; absent fields take their defaults.
    ///
    /// # Errors
    /// A [`ValueError`] that names the field that does not fit.
    fn from_record(record: Record) -> Result<Self, ValueError> {
        let mut reader = Reader::new(Self::SCHEMA, record);
        let value = Self::from_reader(&mut reader);
        reader.finish(value)
    }

    /// The struct whose fields the reader gives one after the other; the reader knows whether they all fit.
    #[doc(hidden)]
    fn from_reader(reader: &mut Reader) -> Option<Self>;

    /// Whether the struct has a `validate` function of its own.
    #[doc(hidden)]
    const VALIDATES: bool = false;

    /// What the struct's own `validate` function says; fine where it has none.
    ///
    /// # Errors
    /// The function's message.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// The fields that travel and differ between two records, in the order of the struct.
    ///
    /// # Errors
    /// A [`ValueError`] if one of the two has a value that no store could hold.
    fn difference(&self, other: &Self) -> Result<Vec<Self::Field>, ValueError> {
        let places = crate::record::difference(Self::SCHEMA, &self.to_record()?, &other.to_record()?);
        Ok(places.into_iter().filter_map(Self::Field::from_index).collect())
    }
}

/// The registration of a model: its schema and check.
pub fn model_of<T: Syncable>() -> Model {
    let check = match T::VALIDATES || !Reader::always_reads::<T>() {
        true => check_record::<T>,
        false => check_values::<T>,
    };
    Model { schema: T::SCHEMA, check }
}

/// The check of a model that reads every record whose values pass, so that none is copied only to try.
fn check_values<T: Syncable>(record: &Record) -> Result<(), Error> {
    Ok(T::SCHEMA.check(record)?)
}

fn check_record<T: Syncable>(record: &Record) -> Result<(), Error> {
    T::SCHEMA.check(record)?;
    let value = T::from_record(record.clone())?;
    value.validate().map_err(|reason| Error::new(ErrorKind::Invalid, reason))
}

/// The enum that names the fields of a model; the derive makes it.
pub trait Field: Copy + Debug + Eq + Send + Sync + 'static {
    /// The model.
    type Model: Syncable<Field = Self>;

    /// Where the field stands in the schema.
    fn index(self) -> usize;

    /// The field at this place, or `None` if there is none.
    fn from_index(index: usize) -> Option<Self>;

    /// The field's name on the wire and as column.
    fn name(self) -> &'static str {
        Self::Model::SCHEMA.fields[self.index()].name
    }

    /// Records whose field equals this; null equals null.
    fn eq(self, value: impl FieldValue) -> Condition<Self::Model> {
        Condition::compare(self, Comparison::Equal, value)
    }

    /// Records whose field differs from this.
    fn ne(self, value: impl FieldValue) -> Condition<Self::Model> {
        Condition::compare(self, Comparison::NotEqual, value)
    }

    /// Records whose field is less than this.
    fn lt(self, value: impl FieldValue) -> Condition<Self::Model> {
        Condition::compare(self, Comparison::Less, value)
    }

    /// Records whose field is this or less.
    fn le(self, value: impl FieldValue) -> Condition<Self::Model> {
        Condition::compare(self, Comparison::LessOrEqual, value)
    }

    /// Records whose field is greater than this.
    fn gt(self, value: impl FieldValue) -> Condition<Self::Model> {
        Condition::compare(self, Comparison::Greater, value)
    }

    /// Records whose field is this or greater.
    fn ge(self, value: impl FieldValue) -> Condition<Self::Model> {
        Condition::compare(self, Comparison::GreaterOrEqual, value)
    }

    /// Records whose field has one of these values.
    fn one_of<V: FieldValue>(self, values: impl IntoIterator<Item = V>) -> Condition<Self::Model> {
        Condition::one_of(self, values)
    }

    /// Records whose text has this in it.
    fn contains(self, part: &str) -> Condition<Self::Model> {
        Condition::contains(self, part)
    }
}

/// A type that a field can have: how it becomes a [`Value`] and back.
///
/// ```
/// use sync_runtime::{FieldValue, Value};
///
/// assert_eq!(u8::from_value(Value::Int(255)), Ok(255));
/// assert_eq!(u8::from_value(Value::Int(256)).unwrap_err().to_string(), "256 is outside 0 to 255");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a `Syncable` struct",
    note = "fields are bool, integers that fit i64, f32, f64, String, Vec<u8>, Uuid, timestamps, dates, sets, maps and lists of plain values, and Option of each",
    note = "any type with Serialize and Deserialize can be kept as one JSON value with `#[sync(json)]`"
)]
// Its implementations are marked `do_not_recommend`: the notes above say which types there are, and rustc would list
// them again, in another order with every feature.
pub trait FieldValue: Sized {
    /// The type that stores and peers see.
    const TYPE: FieldType;
    /// Whether null is one of the values.
    const NULLABLE: bool = false;
    /// Whether every value that [`TYPE`](FieldValue::TYPE) lets pass reads back. If so, a record that arrives need not
    /// be read to be accepted.
    const ALWAYS_READS: bool = false;
    /// The schema of a field of this type, all but its name: one constant, which rustc checks faster than two.
    #[doc(hidden)]
    const COLUMN: &'static FieldSchema = &column(Self::TYPE, Self::NULLABLE);

    /// The value for stores and peers.
    ///
    /// # Errors
    /// A [`ValueError`] if no store could hold it.
    fn to_value(&self) -> Result<Value, ValueError>;

    /// The Rust value.
    ///
    /// # Errors
    /// A [`ValueError`] if the value is of another type or out of range.
    fn from_value(value: Value) -> Result<Self, ValueError>;

    /// Any value, the cheaper the better. It stands in a struct that is thrown away, since one of its fields does not
    /// fit; so the code of a model needs no branch for each field.
    fn placeholder() -> Self;

    /// The next field of a record that is read; a placeholder if it does not fit, which the reader remembers.
    #[doc(hidden)]
    fn from_reader(reader: &mut Reader) -> Self {
        reader.next_or_placeholder()
    }
}

/// A type that an id can have: `Uuid`, `String` or `i64`, or a tuple of them where several fields make the id.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the id of a `Syncable` struct",
    note = "an id is a Uuid, a String or an i64"
)]
pub trait ModelId: FieldValue + Clone + Debug + Eq + Send + Sync + 'static {
    /// The id for stores and peers.
    fn to_id(&self) -> Id;

    /// The Rust id, or `None` if this id is of another type.
    fn from_id(id: &Id) -> Option<Self>;

    /// A fresh id in place of an empty one, from the source of new UUIDs; `None` if this one is to be kept.
    fn filled(&self, _fresh: &dyn Fn() -> Uuid) -> Option<Self> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl ModelId for Uuid {
    fn to_id(&self) -> Id {
        Id::Uuid(*self)
    }

    fn from_id(id: &Id) -> Option<Self> {
        match id {
            Id::Uuid(id) => Some(*id),
            _ => None,
        }
    }

    fn filled(&self, fresh: &dyn Fn() -> Uuid) -> Option<Self> {
        self.is_nil().then(fresh)
    }
}

#[diagnostic::do_not_recommend]
impl ModelId for String {
    fn to_id(&self) -> Id {
        Id::Text(self.clone())
    }

    fn from_id(id: &Id) -> Option<Self> {
        match id {
            Id::Text(id) => Some(id.clone()),
            _ => None,
        }
    }

    fn filled(&self, fresh: &dyn Fn() -> Uuid) -> Option<Self> {
        self.is_empty().then(|| fresh().to_string())
    }
}

#[diagnostic::do_not_recommend]
impl ModelId for i64 {
    fn to_id(&self) -> Id {
        Id::Int(*self)
    }

    fn from_id(id: &Id) -> Option<Self> {
        match id {
            Id::Int(id) => Some(*id),
            _ => None,
        }
    }
}

/// A type that a part of an id can have: `Uuid`, `String` or `i64`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of the id of a `Syncable` struct",
    note = "each part of an id is a Uuid, a String or an i64"
)]
pub trait IdPart: ModelId {}

#[diagnostic::do_not_recommend]
impl IdPart for Uuid {}

#[diagnostic::do_not_recommend]
impl IdPart for String {}

#[diagnostic::do_not_recommend]
impl IdPart for i64 {}

macro_rules! composite_ids {
    ($(($($part:ident $place:tt),*))*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($part: IdPart),*> FieldValue for ($($part,)*) {
            const TYPE: FieldType = FieldType::Text;

            fn to_value(&self) -> Result<Value, ValueError> {
                // A part that no id has is refused here, one that is too long with the others too.
                $(Id::from_value(&self.$place.to_id().to_value())?;)*
                Id::of_parts(vec![$(self.$place.to_id()),*]).map(|id| id.to_value())
            }

            fn from_value(value: Value) -> Result<Self, ValueError> {
                let id = Id::from_value(&value)?;
                Self::from_id(&id).ok_or_else(|| ValueError::new(format!("`{id}` is not an id of these parts")))
            }

            fn placeholder() -> Self {
                ($($part::placeholder(),)*)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<$($part: IdPart),*> ModelId for ($($part,)*) {
            fn to_id(&self) -> Id {
                let parts = vec![$(self.$place.to_id()),*];
                // Too long for an id it is refused where it is saved; where it is looked for there is none.
                Id::of_parts(parts).unwrap_or_else(|_| Id::Text(String::new()))
            }

            fn from_id(id: &Id) -> Option<Self> {
                let parts = id.parts(&[$(<$part as FieldValue>::TYPE),*]).ok()?;
                Some(($($part::from_id(parts.get($place)?)?,)*))
            }
        }
    )*};
}

composite_ids! { (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) }
