//! What a model is to stores and peers: its name, its table, its fields.

use crate::caller::{Caller, Right};
use crate::merge::{Merge, OnDelete};
use crate::query::{Comparison, Filter};
use crate::record::{Id, Record};
use crate::value::{self, FieldType, Value, ValueError};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Gives the model of a parent.
pub type ParentModel = fn() -> &'static ModelSchema;

/// One field of a model.
#[derive(Debug, Clone, Copy)]
pub struct FieldSchema {
    /// The field's name on the wire, in queries and as column.
    pub name: &'static str,
    /// Its type.
    pub ty: FieldType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether it stays on this device.
    pub local: bool,
    /// Whether only the server sets it, and whoever has the right [`crate::Right::Replicate`] there.
    pub server: bool,
    /// The value for peers and rows that lack the field; `None` if such a record is refused.
    pub default: Option<fn() -> Value>,
    /// What decides where both sides of a conflict changed it.
    pub merge: Merge,
    /// The model of the record whose id the field holds, where `#[sync(parent = …)]` says one. It is asked for, as
    /// a model may be its own parent; the name is what counts.
    pub parent: Option<ParentModel>,
    /// Whether the field is one of several that make the id together, see [`ModelSchema::key`].
    pub part_of_id: bool,
}

impl FieldSchema {
    /// A required field that travels, without anything else that could be said of it.
    ///
    /// ```
    /// use sync_runtime::{FieldSchema, FieldType};
    ///
    /// const NOTES: FieldSchema = FieldSchema { nullable: true, ..FieldSchema::new("notes", FieldType::Text) };
    /// assert!(NOTES.replicated());
    /// ```
    pub const fn new(name: &'static str, ty: FieldType) -> Self {
        FieldSchema {
            name,
            ty,
            nullable: false,
            local: false,
            server: false,
            default: None,
            merge: Merge::Manual,
            parent: None,
            part_of_id: false,
        }
    }

    /// Whether the field travels.
    pub fn replicated(&self) -> bool {
        !self.local
    }

    /// The value of a record that came without this field: its default, else null where null is allowed.
    ///
    /// Returns `None` where the field is required and has no default.
    pub fn missing(&self) -> Option<Value> {
        match self.default {
            Some(default) => Some(default()),
            None if self.nullable => Some(Value::Null),
            None => None,
        }
    }

    /// Checks a value of this field: its type, its range, null only where allowed.
    ///
    /// # Errors
    /// A [`ValueError`] that names the field.
    pub fn check(&self, value: &Value) -> Result<(), ValueError> {
        if value.is_null() && !self.nullable {
            return Err(ValueError::new("null, but the field is not optional").in_field(self.name));
        }
        value::check(self.ty, value).map_err(|error| error.in_field(self.name))
    }
}

/// What tells the scope of a record: the partition that it belongs to (tenant, user, project).
#[derive(Debug, Clone, Copy)]
pub enum ScopeRule {
    /// The field at this place: a text, a whole number or a UUID, as text. Null is the empty scope.
    Field(usize),
    /// This function of the record.
    By(fn(&Record) -> Result<String>),
}

/// A model as stores and peers see it. The derive makes one for each struct.
#[derive(Debug)]
pub struct ModelSchema {
    /// The model's name on the wire and in reports.
    pub name: &'static str,
    /// The table that holds its records.
    pub table: &'static str,
    /// Its fields, in the order of the struct. A [`Record`] has its values in the same order.
    pub fields: &'static [FieldSchema],
    /// Which of the fields is the id; where several make it, the first of them.
    pub id: usize,
    /// What decides where one side deleted what the other changed.
    pub on_delete: OnDelete,
    /// Whether its records may live in a table that was there before and that somebody else made.
    pub adopt: bool,
    /// The names of fields that it had once. Their columns stay as they are, and a new record needs no value for them.
    pub removed: &'static [&'static str],
    /// What tells the scope of a record; `None` where everybody who may read the model may read all of it.
    pub scope: Option<ScopeRule>,
}

impl ModelSchema {
    /// Whether several fields make the id. The id of a record is then one text out of them, see [`Id::of_parts`].
    pub fn has_composite_id(&self) -> bool {
        self.fields.get(self.id).is_some_and(|field| field.part_of_id)
    }

    /// The places of the fields that make the id, in order; most models have one.
    pub fn key(&self) -> impl Iterator<Item = usize> + use<> {
        let (id, fields) = (self.id, self.fields);
        (id..fields.len()).filter(move |place| *place == id || fields[*place].part_of_id)
    }

    /// Whether the field at this place is the id, or a part of it.
    pub fn is_key(&self, place: usize) -> bool {
        place == self.id || self.fields[place].part_of_id
    }

    /// The field that is the id; where several make it, the first of them.
    pub fn id_field(&self) -> &'static FieldSchema {
        &self.fields[self.id]
    }

    /// Where the field with this name stands, or `None` if there is none.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The fields that travel, with their places; the id is among them.
    pub fn replicated(&self) -> impl Iterator<Item = (usize, &'static FieldSchema)> + use<> {
        self.fields.iter().enumerate().filter(|(_, field)| field.replicated())
    }

    /// The fields that hold the id of a parent, each with its place and the name of the parent's model.
    ///
    /// ```
    /// use sync_runtime::prelude::*;
    ///
    /// #[derive(Syncable)]
    /// struct Artist {
    ///     #[sync(id)]
    ///     id: i64,
    ///     name: String,
    /// }
    ///
    /// #[derive(Syncable)]
    /// struct Album {
    ///     #[sync(id)]
    ///     id: i64,
    ///     #[sync(parent = Artist)]
    ///     artist: Option<i64>,
    /// }
    ///
    /// assert_eq!(Album::SCHEMA.parents().collect::<Vec<_>>(), [(1, "Artist")]);
    /// assert_eq!(Artist::SCHEMA.parents().count(), 0);
    /// ```
    pub fn parents(&self) -> impl Iterator<Item = (usize, &'static str)> + use<> {
        let fields = self.fields.iter().enumerate();
        fields.filter_map(|(place, field)| Some((place, field.parent?().name)))
    }

    /// Whether equal changes of both sides may count twice, so that equal records need not be the same.
    pub(crate) fn counts(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.merge, Merge::Sum(..)))
    }

    /// Whether records of this schema are records of the other: the same fields in the same places.
    pub(crate) fn fits(&self, other: &ModelSchema) -> bool {
        let same = |(a, b): (&FieldSchema, &FieldSchema)| {
            (a.name, a.ty, a.nullable, a.local) == (b.name, b.ty, b.nullable, b.local)
        };
        std::ptr::eq(self, other)
            || self.id == other.id
                && self.has_composite_id() == other.has_composite_id()
                && self.key().eq(other.key())
                && self.fields.len() == other.fields.len()
                && self.fields.iter().zip(other.fields).all(same)
    }

    /// The id of a record.
    ///
    /// # Errors
    /// A [`ValueError`] if the record has no usable id.
    pub fn id_of(&self, record: &Record) -> Result<Id, ValueError> {
        let part = |place: usize| {
            let field = &self.fields[place];
            match record.get(place) {
                Some(value) => Id::from_value(value).map_err(|error| error.in_field(field.name)),
                None => Err(ValueError::new("the id is missing").in_field(field.name)),
            }
        };
        match self.has_composite_id() {
            false => part(self.id),
            true => Id::of_parts(self.key().map(part).collect::<Result<Vec<_>, _>>()?),
        }
    }

    /// The values of the fields that make the id, each with its place.
    ///
    /// # Errors
    /// A [`ValueError`] if a record of this model cannot have the id.
    pub fn id_values(&self, id: &Id) -> Result<Vec<(usize, Value)>, ValueError> {
        if !self.has_composite_id() {
            return Ok(vec![(self.id, id.to_value())]);
        }
        let key: Vec<usize> = self.key().collect();
        let types: Vec<FieldType> = key.iter().map(|place| self.fields[*place].ty).collect();
        let parts = id.parts(&types)?;
        Ok(key.into_iter().zip(parts.iter().map(Id::to_value)).collect())
    }

    /// Gives the record this id where it has none yet; `false` if it has another one.
    ///
    /// # Errors
    /// A [`ValueError`] if a record of this model cannot have the id.
    pub fn identify(&self, record: &mut Record, id: &Id) -> Result<bool, ValueError> {
        for (place, value) in self.id_values(id)? {
            if record.get(place).is_some_and(|other| *other != value) {
                return Ok(false);
            }
            record.set(place, value);
        }
        Ok(true)
    }

    /// The records whose ids come after this one in the order of ids.
    ///
    /// # Errors
    /// A [`ValueError`] if a record of this model cannot have the id.
    pub(crate) fn after_id(&self, id: &Id) -> Result<Filter, ValueError> {
        let mut before = Vec::new();
        let mut any = Vec::new();
        for (place, value) in self.id_values(id)? {
            let here = Filter::Compare(place, Comparison::Greater, value.clone());
            any.push(Filter::And(before.iter().cloned().chain([here]).collect()));
            before.push(Filter::Compare(place, Comparison::Equal, value));
        }
        Ok(Filter::Or(any))
    }

    /// The scope of a record of this model; empty where the model has none, and where the field that holds it is null or
    /// absent.
    ///
    /// ```
    /// use sync_runtime::prelude::*;
    ///
    /// #[derive(Syncable)]
    /// struct Task {
    ///     #[sync(id)]
    ///     id: i64,
    ///     #[sync(scope)]
    ///     project: String,
    /// }
    ///
    /// let task = Task { id: 1, project: "bridge".into() };
    /// assert_eq!(Task::SCHEMA.scope_of(&task.to_record().expect("a record")).expect("a scope"), "bridge");
    /// ```
    ///
    /// # Errors
    /// If the record is not one of the struct whose method tells the scope.
    pub fn scope_of(&self, record: &Record) -> Result<String> {
        let place = match self.scope {
            None => return Ok(String::new()),
            Some(ScopeRule::By(tell)) => return tell(record),
            Some(ScopeRule::Field(place)) => place,
        };
        Ok(match record.get(place) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Uuid(id)) => id.hyphenated().to_string(),
            _ => String::new(),
        })
    }

    /// The records of these scopes, where a field holds the scope; `None` where only the record as a whole tells it.
    pub(crate) fn in_scopes<'s>(&self, scopes: impl Iterator<Item = &'s str>) -> Option<Filter> {
        let Some(ScopeRule::Field(place)) = self.scope else { return None };
        let field = self.fields.get(place)?;
        let value = |scope: &str| match field.ty {
            FieldType::Text => Some(Value::Text(scope.to_owned())),
            FieldType::Int { .. } => scope.parse().ok().map(Value::Int),
            FieldType::Uuid => scope.parse().ok().map(Value::Uuid),
            _ => None,
        };
        let is = |value| Filter::Compare(place, Comparison::Equal, value);
        Some(Filter::Or(
            scopes.filter_map(value).filter(|value| field.check(value).is_ok()).map(is).collect(),
        ))
    }

    /// Gives the fields that are the server's own the values that they have here; of a record that is not here, their
    /// defaults.
    pub(crate) fn keep_server_fields(&self, record: &mut Record, here: Option<&Record>) {
        for (place, field) in self.fields.iter().enumerate().filter(|(_, field)| field.server) {
            let kept = here.and_then(|here| here.get(place).cloned()).or_else(|| field.missing());
            if let Some(kept) = kept {
                record.set(place, kept);
            }
        }
    }

    /// Checks every value of a whole record.
    ///
    /// # Errors
    /// A [`ValueError`] that names the first field that is missing, or that no store could hold.
    pub fn check(&self, record: &Record) -> Result<(), ValueError> {
        for (index, field) in self.fields.iter().enumerate() {
            match record.get(index) {
                Some(value) => field.check(value)?,
                None if field.local => {}
                None => return Err(ValueError::new("missing, and it has no default").in_field(field.name)),
            }
        }
        self.id_of(record).map(|_| ())
    }
}

/// A registered model: its schema and the check that its struct brings.
#[derive(Clone, Copy)]
pub struct Model {
    /// The schema.
    pub schema: &'static ModelSchema,
    /// Checks that a record reads as the struct and passes its `validate`.
    pub check: fn(&Record) -> Result<()>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Model").field(&self.schema.name).finish()
    }
}

/// The models of a workspace, by name.
///
/// ```
/// # use sync_runtime::{Models, ModelSchema};
/// let models = Models::default();
/// assert_eq!(models.get("Todo").unwrap_err().to_string(), "the model `Todo` is not registered; no model is");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Models {
    all: Arc<BTreeMap<&'static str, Model>>,
    /// The foreign keys that a store found and no field declares, by the model of the child.
    found: Arc<BTreeMap<&'static str, Vec<ForeignKey>>>,
}

/// A field of which the database says that it holds the id of another record.
///
/// ```
/// use sync_runtime::{ForeignKey, prelude::*};
///
/// #[derive(Syncable)]
/// struct Album {
///     #[sync(id)]
///     id: i64,
///     title: String,
///     artist: i64,
/// }
///
/// // `artist INTEGER REFERENCES artist(id)`, for the model of the table `artist`.
/// let field = Album::SCHEMA.position("artist").expect("a field");
/// let key = ForeignKey { child: Album::SCHEMA.name, field, parent: "Artist" };
/// assert_eq!((key.child, key.field), ("Album", 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignKey {
    /// The model that has the field.
    pub child: &'static str,
    /// The place of the field.
    pub field: usize,
    /// The model of the record whose id the field holds; it may be that of the child.
    pub parent: &'static str,
}

impl Models {
    /// Adds a model; one of the same name is replaced.
    pub fn add(&mut self, model: Model) {
        Arc::make_mut(&mut self.all).insert(model.schema.name, model);
    }

    /// Counts these foreign keys as declared parents. One that could not be declared is left out: on a local field, to an id
    /// of several fields, or between models of which one is not registered.
    pub(crate) fn add_foreign_keys(&mut self, keys: Vec<ForeignKey>) {
        for key in keys {
            let (Ok(child), Ok(parent)) = (self.get(key.child), self.get(key.parent)) else { continue };
            let travels = child.schema.fields.get(key.field).is_some_and(FieldSchema::replicated);
            let is_known =
                self.parents_of(child.schema).any(|known| known == (key.field, parent.schema.name));
            if travels && !is_known && !parent.schema.has_composite_id() {
                Arc::make_mut(&mut self.found).entry(child.schema.name).or_default().push(key);
            }
        }
    }

    /// The model with this name.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownModel`], with the names that are registered.
    pub fn get(&self, name: &str) -> Result<Model> {
        self.all.get(name).copied().ok_or_else(|| {
            let known: Vec<_> = self.all.keys().copied().collect();
            let known = match known.is_empty() {
                true => "no model is".to_owned(),
                false => format!("registered are {}", known.join(", ")),
            };
            let message = format!("the model `{name}` is not registered; {known}");
            Error::new(ErrorKind::UnknownModel, message)
        })
    }

    /// The fields of a model that hold the id of a parent, each with its place and the name of the parent's model: those
    /// that are declared, and those of which the database says so.
    pub(crate) fn parents_of(&self, schema: &ModelSchema) -> impl Iterator<Item = (usize, &'static str)> {
        let found = self.found.get(schema.name).map_or(&[][..], Vec::as_slice);
        schema.parents().chain(found.iter().map(|key| (key.field, key.parent)))
    }

    /// The models with a field that holds the id of a record of this model, each with the place of that field.
    pub(crate) fn children_of(&self, parent: &str) -> impl Iterator<Item = (&'static ModelSchema, usize)> {
        self.iter().flat_map(move |model| {
            let places = self.parents_of(model.schema).filter(move |(_, name)| *name == parent);
            places.map(move |(place, _)| (model.schema, place))
        })
    }

    /// Those of the models on which the caller has at least this right.
    pub fn with_right(&self, right: Right, caller: &Caller) -> Models {
        let may = |name: &str| caller.right_on(name) >= right;
        if self.all.keys().all(|name| may(name)) {
            return self.clone();
        }
        let all =
            self.all.iter().filter(|(name, _)| may(name)).map(|(name, model)| (*name, *model)).collect();
        Models { all: Arc::new(all), found: self.found.clone() }
    }

    /// All models, by name.
    pub fn iter(&self) -> impl Iterator<Item = Model> + '_ {
        self.all.values().copied()
    }
}
