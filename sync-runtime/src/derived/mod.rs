//! What the code that the derive generates calls, so that the code itself stays a table and a few calls.

mod macros;

use crate::change::Change;
use crate::error::Result;
use crate::merge::{Merge, OnDelete};
use crate::methods::{self, ModelFuture, Replicate};
use crate::record::Record;
use crate::schema::{FieldSchema, ModelSchema, ParentModel, ScopeRule};
use crate::syncable::{FieldValue, IdPart, ModelId, Syncable, json_from_value, json_to_value};
use crate::value::{FieldType, Value, ValueError};
use crate::version::Checkpoint;
use crate::workspace::{AsReplica, Workspace};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use uuid::Uuid;

/// A type that `#[sync(json)]` can keep.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as one JSON value",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to `{Self}`"
)]
pub trait JsonValue: Sized {
    /// See [`FieldValue::to_value`].
    fn to_value(&self) -> Result<Value, ValueError>;

    /// See [`FieldValue::from_value`].
    fn from_value(value: Value) -> Result<Self, ValueError>;

    /// The next field of a record; `None` if it does not fit, as there is no placeholder of any type.
    fn from_reader(reader: &mut Reader) -> Option<Self>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> JsonValue for T {
    fn to_value(&self) -> Result<Value, ValueError> {
        json_to_value(self)
    }

    fn from_value(value: Value) -> Result<Self, ValueError> {
        json_from_value(value)
    }

    fn from_reader(reader: &mut Reader) -> Option<Self> {
        reader.next(json_from_value)
    }
}

/// Tells whether null is one of a JSON field's values: `<Json<T>>::COLUMN`, through an alias too.
///
/// The inherent constants win over that of [`NotNull`], which is the one of every other type.
#[derive(Debug)]
pub struct Json<T>(PhantomData<T>);

impl<T> Json<Option<T>> {
    /// An option without value is null.
    pub const COLUMN: &'static FieldSchema = &column(FieldType::Json, true);
}

impl Json<serde_json::Value> {
    /// A JSON value may be null.
    pub const COLUMN: &'static FieldSchema = &column(FieldType::Json, true);
}

impl Json<()> {
    /// JSON writes the unit as null.
    pub const COLUMN: &'static FieldSchema = &column(FieldType::Json, true);
}

/// See [`Json`].
pub trait NotNull {
    /// Null is none of the values.
    const COLUMN: &'static FieldSchema = &column(FieldType::Json, false);
}

impl<T> NotNull for Json<T> {}

/// The type itself. rustc reports what is wrong with `Same<T>` where that stands, not where `T` does.
pub type Same<T> = T;

/// Refuses the policy `list` on bytes, where it is called.
#[track_caller]
pub const fn no_bytes(column: &FieldSchema) {
    assert!(
        !matches!(column.ty, FieldType::Bytes),
        "`list` does not fit bytes; `manual`, `last_write`, `server_wins`, `client_wins` and `with = \
         path::to::function` do"
    );
}

/// A type of which there is a value where a record came without one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `Default`, so the field has no value in a record that lacks it",
    note = "name one: `#[sync(default = …)]`"
)]
pub trait HasDefault: Sized {
    /// The value.
    fn value() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> HasDefault for T {
    fn value() -> Self {
        T::default()
    }
}

/// The default of a field as a value. One that no store could hold is null, which the schema's check refuses.
pub fn default_value(value: Result<Value, ValueError>) -> Value {
    value.unwrap_or(Value::Null)
}

/// The id of a record, cloned. Like the next two it names the id's type through the model only, so that a type
/// that cannot be an id is reported once.
pub fn clone_id<T: Syncable>(id: &T::Id) -> T::Id {
    id.clone()
}

/// The id as a value of its field.
pub fn id_to_value<T: Syncable>(id: &T::Id) -> Result<Value, ValueError> {
    id.to_value()
}

/// The id of a record that is read.
pub fn id_from_reader<T: Syncable>(reader: &mut Reader) -> T::Id {
    T::Id::from_reader(reader)
}

/// The schema of the field of the id, all but its name.
pub const fn id_column<T: Syncable>() -> &'static FieldSchema {
    <T::Id as FieldValue>::COLUMN
}

/// The schema of a field that is one of several that make the id, all but its name.
pub const fn part_column<T: IdPart>() -> FieldSchema {
    FieldSchema { part_of_id: true, ..*T::COLUMN }
}

/// The schema of a field that travels and has no default, all but its name.
pub(crate) const fn column(ty: FieldType, nullable: bool) -> FieldSchema {
    FieldSchema { nullable, ..FieldSchema::new("", ty) }
}

/// The schemas of fields, out of the name and all the rest of each.
///
/// One call for all, as rustc takes longer to check a call for each.
pub const fn fields<const N: usize>(named: [(&'static str, &FieldSchema); N]) -> [FieldSchema; N] {
    let mut fields = [column(FieldType::Bool, false); N];
    let mut place = 0;
    while place < N {
        let (name, column) = named[place];
        fields[place] = FieldSchema { name, ..*column };
        place += 1;
    }
    fields
}

/// The schemas of fields, with what decides over those at these places.
pub const fn merged<const N: usize, const M: usize>(
    mut fields: [FieldSchema; N],
    policies: [(usize, Merge); M],
) -> [FieldSchema; N] {
    let mut next = 0;
    while next < M {
        let (place, merge) = policies[next];
        fields[place].merge = merge;
        next += 1;
    }
    fields
}

/// The schemas of fields, with the models whose ids those at these places hold.
pub const fn with_parents<const N: usize, const M: usize>(
    mut fields: [FieldSchema; N],
    parents: [(usize, ParentModel); M],
) -> [FieldSchema; N] {
    let mut next = 0;
    while next < M {
        let (place, parent) = parents[next];
        fields[place].parent = Some(parent);
        next += 1;
    }
    fields
}

/// A type that can hold the id of a record whose model has ids of the type `I`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the id of this parent, which is a `{I}`",
    note = "a field that names its parent has the type of the parent's id, or an `Option` of it"
)]
pub trait HoldsId<I> {}

#[diagnostic::do_not_recommend]
impl<I: ModelId> HoldsId<I> for I {}

#[diagnostic::do_not_recommend]
impl<I: ModelId> HoldsId<I> for Option<I> {}

/// The model of a parent whose id a field of the type `T` holds.
pub fn parent<T: HoldsId<P::Id>, P: Syncable>() -> &'static ModelSchema {
    P::SCHEMA
}

/// A type whose value can be the scope of a record.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the scope of a record",
    note = "a scope is a text, a whole number or a `Uuid`, or an `Option` of one; where it is made of more, give the \
            struct `#[sync(scope = Self::method)]`"
)]
pub trait ScopeField {}

macro_rules! scope_fields {
    ($($ty:ty),*) => { $(
        impl ScopeField for $ty {}
        impl ScopeField for Option<$ty> {}
    )* };
}

scope_fields!(String, Uuid, i8, i16, i32, i64, u8, u16, u32);

/// The scope stands in the field at this place.
pub const fn scope_field<T: ScopeField>(place: usize) -> ScopeRule {
    ScopeRule::Field(place)
}

/// What a method may answer that tells the scope of a record.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the scope that a method tells",
    note = "write the method as `fn(&self) -> String`, or let it answer with what a `String` can be made from"
)]
pub trait ScopeText {
    /// The scope.
    fn text(self) -> String;
}

#[diagnostic::do_not_recommend]
impl<T: Into<String>> ScopeText for T {
    fn text(self) -> String {
        self.into()
    }
}

/// What the struct's own method answered, as text.
pub fn scope_text<S: ScopeText>(scope: S) -> String {
    scope.text()
}

/// The scope that the struct's own method tells.
///
/// # Errors
/// If the record is not one of the struct.
pub fn scope_by<T: Syncable>(record: &Record, tell: impl FnOnce(&T) -> String) -> crate::Result<String> {
    Ok(tell(&T::from_record(record.clone())?))
}

/// A record from the values of its fields, in the order of the schema.
///
/// # Errors
/// The first refusal, with the field's name.
pub fn to_record<T: Syncable, const N: usize>(
    values: [Result<Value, ValueError>; N],
) -> Result<Record, ValueError> {
    let mut record = Vec::with_capacity(N);
    for (value, field) in values.into_iter().zip(T::SCHEMA.fields) {
        record.push(Some(value.map_err(|error| error.in_field(field.name))?));
    }
    Ok(Record::new(record))
}

/// Takes the values out of a record, in the order of the schema.
///
/// It keeps the first error to itself and gives placeholders from there on, so that the code of a model has no branch
/// for each field.
#[derive(Debug)]
pub struct Reader {
    schema: &'static ModelSchema,
    record: Record,
    next: usize,
    error: Option<ValueError>,
    /// Whether every field so far reads every value that its type lets pass.
    always: bool,
}

impl Reader {
    /// A reader that stands at the first field.
    pub(crate) fn new(schema: &'static ModelSchema, record: Record) -> Self {
        Reader { schema, record, next: 0, error: None, always: true }
    }

    /// Whether every record that passes the check of the schema reads.
    ///
    /// No where a field is local: it is read from its default, which nothing has checked.
    pub(crate) fn always_reads<T: Syncable>() -> bool {
        // After an error the reader looks at no value, so this only asks for each field. One that is kept as JSON has
        // no placeholder, and ends it.
        let mut reader = Reader::new(T::SCHEMA, Record::new(Vec::new()));
        reader.error = Some(unlike(T::SCHEMA));
        let read = T::from_reader(&mut reader);
        read.is_some() && reader.always && T::SCHEMA.fields.iter().all(|field| !field.local)
    }

    /// The next field; a placeholder if it does not fit, or if one before it did not.
    pub(crate) fn next_or_placeholder<T: FieldValue>(&mut self) -> T {
        self.always &= T::ALWAYS_READS;
        self.next(T::from_value).unwrap_or_else(T::placeholder)
    }

    /// The value of the next field; where it is absent its default, else null if the field may be null.
    ///
    /// `None` if the field is required and absent, or does not fit, or if one before it was so.
    fn next<T>(&mut self, read: impl FnOnce(Value) -> Result<T, ValueError>) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        let place = self.next;
        self.next += 1;
        let read = match self.schema.fields.get(place) {
            Some(field) => {
                let value = self.record.take(place).or_else(|| field.missing());
                let value = value.ok_or_else(|| ValueError::new("missing, and it has no default"));
                value.and_then(read).map_err(|error| error.in_field(field.name))
            }
            None => Err(unlike(self.schema)),
        };
        read.map_err(|error| self.error = Some(error)).ok()
    }

    /// The struct that was read, where all of its fields fit.
    ///
    /// # Errors
    /// The first error.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, ValueError> {
        match (self.error, read) {
            (None, Some(read)) => Ok(read),
            (Some(error), _) => Err(error),
            (None, None) => Err(unlike(self.schema)),
        }
    }
}

fn unlike(schema: &ModelSchema) -> ValueError {
    ValueError::new(format!("not a record of `{}`", schema.name))
}

/// The field at a place of the enum.
pub fn nth<F: Copy, const N: usize>(fields: [F; N], index: usize) -> Option<F> {
    fields.get(index).copied()
}

/// Writes the variant at a place of the enum, out of all of them with a space between each two.
///
/// # Errors
/// If the text cannot be written.
pub fn debug_variant(variants: &str, index: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(variants.split(' ').nth(index).unwrap_or_default())
}

/// See [`methods::replicate`].
pub fn replicate<'a, T: Syncable>(source: &'a dyn AsReplica, target: &'a dyn AsReplica) -> Replicate<'a, T> {
    methods::replicate(source, target)
}

/// See [`methods::rectify_change`].
pub fn rectify_change<T: Syncable>(workspace: &Workspace, id: T::Id) -> ModelFuture<'_, bool> {
    ModelFuture::new(Box::pin(methods::rectify_change::<T>(workspace, id)))
}

/// See [`methods::rectify_all_changes`].
pub fn rectify_all_changes<T: Syncable>(workspace: &Workspace) -> ModelFuture<'_, u64> {
    ModelFuture::new(Box::pin(methods::rectify_all_changes::<T>(workspace)))
}

/// See [`methods::changes`].
pub fn changes<T: Syncable>(
    replica: &dyn AsReplica,
    since: Option<Checkpoint>,
) -> ModelFuture<'_, Vec<Change>> {
    ModelFuture::new(Box::pin(methods::changes::<T>(replica, since)))
}

/// See [`methods::checkpoint`].
pub fn checkpoint(replica: &dyn AsReplica) -> ModelFuture<'_, Checkpoint> {
    ModelFuture::new(Box::pin(methods::checkpoint(replica)))
}

/// The answer of a `validate` function, with its error as text.
///
/// # Errors
/// The function's own.
pub fn validated<E: Display>(answer: Result<(), E>) -> Result<(), String> {
    answer.map_err(|error| error.to_string())
}

/// The fields of a struct that does not compile: stands in for the enum where none could be made.
pub struct NoField<T>(PhantomData<fn() -> T>);

impl<T> fmt::Debug for NoField<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoField")
    }
}

impl<T> Clone for NoField<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for NoField<T> {}

impl<T> PartialEq for NoField<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for NoField<T> {}

impl<T: Syncable<Field = Self>> crate::syncable::Field for NoField<T> {
    type Model = T;

    fn index(self) -> usize {
        0
    }

    fn from_index(_: usize) -> Option<Self> {
        None
    }
}

/// The schema of a struct that does not compile.
pub const NO_SCHEMA: &ModelSchema = &ModelSchema {
    name: "",
    table: "",
    fields: &[],
    id: 0,
    on_delete: OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// The body of a function of a struct that does not compile, so it never runs.
pub fn never<T>() -> T {
    unreachable!("the struct did not compile")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[derive(Syncable)]
    #[sync(methods = false)]
    struct Plain {
        #[sync(id)]
        id: Uuid,
        title: Option<String>,
        size: u8,
        share: f32,
        due: Option<jiff::Timestamp>,
    }

    #[derive(Syncable)]
    #[sync(methods = false)]
    struct List {
        #[sync(id)]
        id: i64,
        words: Vec<String>,
    }

    #[derive(Syncable)]
    #[sync(methods = false)]
    struct Kept {
        #[sync(id)]
        id: i64,
        #[sync(json)]
        words: Option<Vec<String>>,
    }

    #[derive(Syncable)]
    #[sync(methods = false)]
    struct Local {
        #[sync(id)]
        id: i64,
        #[sync(local)]
        draft: String,
    }

    #[test]
    fn records_are_read_to_be_checked_only_where_a_value_may_not_fit() {
        assert!(Reader::always_reads::<Plain>());
        assert!(!Reader::always_reads::<List>(), "the JSON may be of another shape");
        assert!(!Reader::always_reads::<Kept>(), "the JSON may be of another shape");
        assert!(!Reader::always_reads::<Local>(), "the default may not fit");
    }
}
