//! Reading and writing records.

use super::no;
use crate::filter::{FilterText, ReadFilter};
use crate::message::message;
use serde::de;
use serde::{Serialize, Serializer};
use sync_runtime::codec::{self, Each, Fielded, List, Plain, Reader, required};
use sync_runtime::query::Filter;
use sync_runtime::replica::{RemoteWrite, Wanted};
use sync_runtime::{ErrorKind, Id, ModelSchema, Revision};

pub(super) struct IdText<'a>(pub(super) &'a Id);

impl Serialize for IdText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::id(self.0).serialize(serializer)
    }
}

type IdsText<'a> = Each<'a, Id, fn(&'a Id) -> IdText<'a>>;

/// What to read, to write.
#[derive(Serialize)]
pub(crate) struct WantedText<'a> {
    model: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<IdsText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<FilterText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<IdText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
}

impl<'a> WantedText<'a> {
    fn nothing(schema: &'static ModelSchema) -> Self {
        WantedText { model: schema.name, ids: None, filter: None, after: None, limit: None }
    }

    /// These records.
    pub(crate) fn ids(schema: &'static ModelSchema, ids: &'a [Id]) -> Self {
        WantedText { ids: Some(Each(ids, IdText)), ..Self::nothing(schema) }
    }

    /// Records that match.
    pub(crate) fn matching(
        schema: &'static ModelSchema,
        filter: &'a Filter,
        after: Option<&'a Id>,
        limit: usize,
    ) -> Self {
        let (filter, limit) = (Some(FilterText::of(schema, filter)), Some(limit));
        WantedText { filter, after: after.map(IdText), limit, ..Self::nothing(schema) }
    }
}

/// The model of a message, which has to come before what depends on it.
pub(super) fn model<E: de::Error>(reader: &Reader, name: Option<&String>) -> Result<&'static ModelSchema, E> {
    let name = name.ok_or_else(|| E::custom("`model` has to come first"))?;
    reader.schema(name).map_err(|error| reader.fail(ErrorKind::UnknownModel, error))
}

message! { ReadWanted, "what to read", |message, reader, most| {
    model: String = Plain::seed();
    ids: Vec<Id> = List { item: reader.id(model(reader, message.model.as_ref())?), most, what: "ids" };
    filter: Filter = ReadFilter::seed(reader, model(reader, message.model.as_ref())?);
    after: Id = reader.id(model(reader, message.model.as_ref())?);
    limit: usize = Plain::seed();
} -> (&'static ModelSchema, Wanted) {
    let schema = model(message.reader, message.model.as_ref())?;
    let wanted = match message.ids {
        Some(ids) => Wanted::Ids(ids),
        None => Wanted::Matching {
            filter: message.filter.unwrap_or(Filter::All),
            after: message.after,
            limit: message.limit.unwrap_or(message.most).min(message.most),
        },
    };
    Ok((schema, wanted))
}}

#[derive(Serialize)]
struct WriteText<'a> {
    model: &'static str,
    id: IdText<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Fielded<'a>>,
    #[serde(skip_serializing_if = "no")]
    delete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<Revision>,
}

/// Writes to send.
#[derive(Serialize)]
pub(crate) struct WritesText<'a> {
    writes: Each<'a, RemoteWrite, fn(&'a RemoteWrite) -> WriteText<'a>>,
}

impl<'a> From<&'a [RemoteWrite]> for WritesText<'a> {
    fn from(writes: &'a [RemoteWrite]) -> Self {
        fn text(write: &RemoteWrite) -> WriteText<'_> {
            WriteText {
                model: write.schema.name,
                id: IdText(&write.id),
                record: write.record.as_ref().map(|record| codec::wire_record(write.schema, record, None)),
                delete: write.record.is_none(),
                expect: write.expect,
            }
        }
        WritesText { writes: Each(writes, text) }
    }
}

type Parts = (sync_runtime::Record, sync_runtime::record::Unknown);

message! { ReadWrite, "a write", |message, reader, most| {
    model: String = Plain::seed();
    id: Id = reader.id(model(reader, message.model.as_ref())?);
    record: Parts = reader.record(model(reader, message.model.as_ref())?);
    delete: bool = Plain::seed();
    expect: Revision = Plain::seed();
} -> RemoteWrite {
    let reader = message.reader;
    let schema = model(reader, message.model.as_ref())?;
    let id = required(message.id, "id")?;
    let named = |what: String| E::custom(format_args!("{} {id}: {what}", schema.name));
    let record = match (message.record, message.delete.unwrap_or(false)) {
        (None, true) => None,
        (Some((_, unknown)), false) if !unknown.is_empty() => {
            let names: Vec<_> = unknown.keys().map(String::as_str).collect();
            return Err(named(format!("the model has no field {}", names.join(", "))));
        }
        (Some((mut record, _)), false) => {
            let identified = schema.identify(&mut record, &id);
            if !identified.map_err(|error| reader.fail(ErrorKind::InvalidValue, error))? {
                let message = format_args!("{} {id}: the record has another id", schema.name);
                return Err(reader.fail(ErrorKind::InvalidValue, message));
            }
            Some(record)
        }
        _ => return Err(named("say either `record` or `\"delete\": true`".to_owned())),
    };
    Ok(RemoteWrite { schema, id, record, expect: message.expect })
}}

message! { ReadWrites, "writes", |message, reader, most| {
    writes: Vec<RemoteWrite> = List { item: ReadWrite::seed(reader, most), most, what: "writes" };
} -> Vec<RemoteWrite> {
    required(message.writes, "writes")
}}
