//! Changes, states and updates: one map with the tracking row and, where it comes along, the record.

use super::json::{Checked, Dropped};
use super::map::{Fields, Map, required, twice};
use super::record::{Fielded, IdOf, WrittenId};
use super::{Form, Reader};
use crate::change::{Change, ChangeKind, Group, Stamps, State};
use crate::record::{Id, Record, Unknown};
use crate::replica::Update;
use crate::schema::ModelSchema;
use crate::value::{FieldType, Value, check};
use crate::version::{Ancestry, Position, ReplicaId, Revision, STAMP_LIMIT, Stamp};
use crate::{ErrorKind, Result as Outcome};
use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serialize, Serializer};
use serde_json::Value as Json;
use std::fmt;

/// The most writers that one record's ancestry may name.
pub const MAX_ANCESTRY: usize = 10_000;

/// Something that a change stands in: a [`Change`], a [`State`] or an [`Update`].
pub trait Tracked: Sized {
    /// The change, the record where it comes along, and what a patch is based on.
    fn parts(&self) -> (&Change, Option<&Record>, Option<Revision>);

    /// The same from what was read.
    fn from_update(update: Update) -> Self;
}

impl Tracked for Change {
    fn parts(&self) -> (&Change, Option<&Record>, Option<Revision>) {
        (self, None, None)
    }

    fn from_update(update: Update) -> Self {
        update.state.change
    }
}

impl Tracked for State {
    fn parts(&self) -> (&Change, Option<&Record>, Option<Revision>) {
        (&self.change, self.record.as_ref(), None)
    }

    fn from_update(update: Update) -> Self {
        update.state
    }
}

impl Tracked for Update {
    fn parts(&self) -> (&Change, Option<&Record>, Option<Revision>) {
        (&self.state.change, self.state.record.as_ref(), self.based_on)
    }

    fn from_update(update: Update) -> Self {
        update
    }
}

/// A change, state or update to write. See [`super::wire`] and [`super::stored`].
pub struct Written<'a, T> {
    pub(super) tracked: &'a T,
    pub(super) form: Form,
}

impl<T: fmt::Debug> fmt::Debug for Written<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tracked.fmt(f)
    }
}

impl<T: Tracked> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (change, record, based_on) = self.tracked.parts();
        let stored = self.form == Form::Stored;
        let others = change.ancestry.others();
        let position = Some(change.position).filter(|position| *position != 0);
        let origin = change.origin.filter(|_| stored);
        let unknown = change.unknown.as_deref().filter(|fields| !fields.is_empty());
        let apart = unknown.filter(|_| stored);
        let fields = 4
            + usize::from(!others.is_empty())
            + usize::from(change.merged.is_some())
            + usize::from(change.previous.is_some())
            + usize::from(position.is_some())
            + usize::from(change.group.is_some())
            + usize::from(origin.is_some())
            + usize::from(based_on.is_some())
            + usize::from(apart.is_some())
            + usize::from(change.stamps.is_some())
            + usize::from(record.is_some());
        let mut map = serializer.serialize_map(Some(fields))?;
        map.serialize_entry("model", change.schema.name)?;
        map.serialize_entry("id", &WrittenId(&change.id))?;
        map.serialize_entry("kind", &change.kind)?;
        map.serialize_entry("rev", &change.revision())?;
        if !others.is_empty() {
            map.serialize_entry("ancestry", &Others(others))?;
        }
        if let Some((a, b)) = &change.merged {
            map.serialize_entry("merged", &[a, b])?;
        }
        if let Some(previous) = &change.previous {
            map.serialize_entry("prev", previous)?;
        }
        if let Some(position) = &position {
            map.serialize_entry("pos", position)?;
        }
        if let Some(group) = &change.group {
            map.serialize_entry("group", group)?;
        }
        if let Some(origin) = &origin {
            map.serialize_entry("origin", origin)?;
        }
        if let Some(based_on) = &based_on {
            map.serialize_entry("based_on", based_on)?;
        }
        if let Some(stamps) = &change.stamps {
            map.serialize_entry("stamps", stamps)?;
        }
        if let Some(unknown) = apart {
            map.serialize_entry("unknown", unknown)?;
        }
        if let Some(record) = record {
            let unknown = unknown.filter(|_| !stored);
            let (schema, form) = (change.schema, self.form);
            map.serialize_entry("data", &Fielded { schema, record, unknown, form, without_id: true })?;
        }
        map.end()
    }
}

/// The ancestry but for its current revision.
struct Others<'a>(&'a [(ReplicaId, Stamp)]);

impl Serialize for Others<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (replica, stamp) in self.0 {
            map.serialize_entry(replica, stamp)?;
        }
        map.end()
    }
}

/// Reads the entries of an ancestry, sorted by replica.
struct ReadOthers;

impl<'de> DeserializeSeed<'de> for ReadOthers {
    type Value = Vec<(ReplicaId, Stamp)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadOthers {
    type Value = Vec<(ReplicaId, Stamp)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from replica id to stamp")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((replica, stamp)) = map.next_entry::<ReplicaId, Stamp>()? {
            if entries.len() == MAX_ANCESTRY {
                let message = format_args!("more than {MAX_ANCESTRY} writers");
                return Err(de::Error::custom(message));
            }
            if !(0..STAMP_LIMIT).contains(&stamp) {
                return Err(de::Error::custom(format_args!("{stamp} is not a stamp")));
            }
            entries.push((replica, stamp));
        }
        // Sorted at once: entries taken in one by one in a hostile order would cost their square.
        entries.sort_unstable();
        match entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(twice(&pair[0].0.to_string())),
            None => Ok(entries),
        }
    }
}

/// The most fields whose own stamps a change may have.
const MAX_STAMPS: usize = 1_000;

/// Reads the stamps of fields, by name.
struct ReadStamps;

impl<'de> DeserializeSeed<'de> for ReadStamps {
    type Value = Stamps;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Stamps, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadStamps {
    type Value = Stamps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from field name to stamp")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stamps, A::Error> {
        let mut stamps = Stamps::new();
        while let Some((field, stamp)) = map.next_entry::<String, Stamp>()? {
            if stamps.len() == MAX_STAMPS {
                return Err(de::Error::custom(format_args!("more than {MAX_STAMPS} stamps of fields")));
            }
            if !(0..STAMP_LIMIT).contains(&stamp) {
                return Err(de::Error::custom(format_args!("{stamp} is not a stamp")));
            }
            if stamps.insert(field.clone(), stamp).is_some() {
                return Err(twice(&field));
            }
        }
        Ok(stamps)
    }
}

/// Reads the model of a change.
struct ReadModel<'r>(&'r Reader);

impl<'de> DeserializeSeed<'de> for ReadModel<'_> {
    type Value = Outcome<&'static ModelSchema>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ReadModel<'_> {
    type Value = Outcome<&'static ModelSchema>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a model")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.schema(name))
    }
}

/// A value whose meaning depends on the model: read at once if the model has come, else kept until it has.
enum Late<T> {
    Absent,
    Read(T),
    Kept(Json),
}

impl<T> Late<T> {
    fn finish<'de, S, E>(self, seed: S) -> Result<Option<T>, E>
    where
        S: DeserializeSeed<'de, Value = T>,
        E: de::Error,
    {
        match self {
            Late::Absent => Ok(None),
            Late::Read(value) => Ok(Some(value)),
            Late::Kept(json) => seed.deserialize(json).map(Some).map_err(E::custom),
        }
    }
}

/// A change, with its record where it came along, while it is read.
pub(super) struct Tracking<'r> {
    reader: &'r Reader,
    /// Whether a record of a model that is not registered is left out instead of refused.
    skip: bool,
    model: Option<Outcome<&'static ModelSchema>>,
    id: Late<Id>,
    kind: Option<ChangeKind>,
    revision: Option<Revision>,
    others: Vec<(ReplicaId, Stamp)>,
    merged: Option<(Revision, Revision)>,
    previous: Option<Revision>,
    position: Position,
    group: Option<Group>,
    origin: Option<ReplicaId>,
    stamps: Stamps,
    unknown: Unknown,
    data: Late<(Record, Unknown)>,
    based_on: Option<Revision>,
}

impl<'r> Tracking<'r> {
    pub(super) fn seed(reader: &'r Reader, skip: bool) -> Map<Self> {
        Map(Tracking {
            reader,
            skip,
            model: None,
            id: Late::Absent,
            kind: None,
            revision: None,
            others: Vec::new(),
            merged: None,
            previous: None,
            position: 0,
            group: None,
            origin: None,
            stamps: Stamps::new(),
            unknown: Unknown::new(),
            data: Late::Absent,
            based_on: None,
        })
    }

    fn known(&self) -> Option<&'static ModelSchema> {
        self.model.as_ref().and_then(|model| model.as_ref().ok().copied())
    }

    fn unknown_fields<E: de::Error>(&self, json: Json) -> Result<Unknown, E> {
        let value = Value::Json(json);
        check(FieldType::Json, &value).map_err(|error| self.reader.fail(ErrorKind::InvalidValue, error))?;
        match value {
            Value::Json(Json::Object(fields)) => Ok(fields.into_iter().collect()),
            _ => Err(E::custom("expected a map")),
        }
    }
}

impl<'de> Fields<'de> for Tracking<'_> {
    type Output = Option<Update>;
    const WHAT: &'static str = "a change";
    const NAMES: &'static [&'static str] = &[
        "model", "id", "kind", "rev", "ancestry", "merged", "prev", "pos", "group", "origin", "based_on",
        "stamps", "unknown", "data",
    ];

    fn field<A: MapAccess<'de>>(&mut self, place: usize, map: &mut A) -> Result<(), A::Error> {
        let (reader, known) = (self.reader, self.known());
        match Self::NAMES[place] {
            "model" => {
                let model = map.next_value_seed(ReadModel(reader))?;
                if let (Err(error), false) = (&model, self.skip) {
                    return Err(reader.fail(ErrorKind::UnknownModel, error));
                }
                self.model = Some(model);
            }
            "id" => {
                self.id = match known {
                    Some(schema) => Late::Read(map.next_value_seed(IdOf { schema, reader })?),
                    None => Late::Kept(map.next_value_seed(Checked::value(reader))?),
                }
            }
            "kind" => self.kind = Some(map.next_value()?),
            "rev" => self.revision = Some(map.next_value()?),
            "ancestry" => self.others = map.next_value_seed(ReadOthers)?,
            "merged" => self.merged = Some(map.next_value()?),
            "prev" => self.previous = Some(map.next_value()?),
            "pos" => self.position = map.next_value()?,
            "group" => self.group = Some(map.next_value()?),
            // Where a peer has a change from is its own affair.
            "origin" if reader.form == Form::Wire => {
                map.next_value_seed(Dropped::VALUE)?;
            }
            "origin" => self.origin = Some(map.next_value()?),
            "based_on" => self.based_on = Some(map.next_value()?),
            "stamps" => self.stamps = map.next_value_seed(ReadStamps)?,
            "unknown" => {
                let fields = map.next_value_seed(Checked::fields(reader))?;
                if reader.form == Form::Stored {
                    self.unknown = self.unknown_fields(fields)?;
                }
            }
            _ => {
                self.data = match known {
                    Some(schema) => {
                        Late::Read(map.next_value_seed(super::record::Fields { schema, reader })?)
                    }
                    None => Late::Kept(map.next_value_seed(Checked::fields(reader))?),
                }
            }
        }
        Ok(())
    }

    fn finish<E: de::Error>(self) -> Result<Option<Update>, E> {
        let reader = self.reader;
        let Ok(schema) = required(self.model, "model")? else {
            reader.skipped.set(reader.skipped.get() + 1);
            return Ok(None);
        };
        let id = required(self.id.finish(IdOf { schema, reader })?, "id")?;
        let named = |error: &dyn fmt::Display| E::custom(format_args!("{} {id}: {error}", schema.name));
        let kind: ChangeKind = required(self.kind, "kind")?;
        let current = required(self.revision, "rev")?;
        if self.position < 0 {
            return Err(named(&"a position is not below 0"));
        }
        let data = self.data.finish::<_, E>(super::record::Fields { schema, reader });
        let (record, mut unknown) = match data.map_err(|error| named(&error))? {
            Some((record, unknown)) => (Some(record), unknown),
            None => (None, Unknown::new()),
        };
        if kind == ChangeKind::Delete && record.is_some() {
            return Err(named(&"a delete has no data"));
        }
        let record = match record {
            Some(mut record) => match schema.identify(&mut record, &id) {
                Ok(true) => Some(record),
                Ok(false) => return Err(named(&"the data has another id")),
                Err(error) => return Err(named(&error)),
            },
            None => None,
        };
        unknown.extend(self.unknown);
        let change = Change {
            schema,
            id,
            kind,
            ancestry: Ancestry::new(current, self.others),
            merged: self.merged,
            previous: self.previous,
            position: self.position,
            group: self.group,
            origin: self.origin,
            unknown: (!unknown.is_empty()).then(|| Box::new(unknown)),
            stamps: (!self.stamps.is_empty()).then(|| Box::new(self.stamps)),
        };
        Ok(Some(Update { state: State { change, record }, based_on: self.based_on }))
    }

    fn place(&self, place: usize) -> String {
        let name = Self::NAMES[place];
        match (self.known(), &self.id) {
            (Some(schema), Late::Read(id)) => format!("{} {id}: {name}", schema.name),
            (Some(schema), _) => format!("{}: {name}", schema.name),
            (None, _) => name.to_owned(),
        }
    }
}
