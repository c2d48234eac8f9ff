//! Rows as records and changes, and back.

use super::super::codec::Encoding;
use super::super::connection::Replicas;
use super::super::tables::Table;
use super::super::triggers::CHANGE;
use crate::records::{Reading, is_possible};
use rusqlite::types::{Value as Owned, ValueRef};
use rusqlite::{Connection, Row, Statement};
use sync_runtime::change::{Change, ChangeKind, Stamps};
use sync_runtime::record::{Id, Record, Unknown};
use sync_runtime::version::{Ancestry, ReplicaId, Revision, Stamp};
use sync_runtime::{Error, ErrorKind, Result, Value};

/// What can go wrong with a row: SQLite, or what stands in it.
pub(super) enum Bad {
    Sql(rusqlite::Error),
    Value(Error),
}

impl From<rusqlite::Error> for Bad {
    fn from(error: rusqlite::Error) -> Self {
        Bad::Sql(error)
    }
}

impl From<Error> for Bad {
    fn from(error: Error) -> Self {
        Bad::Value(error)
    }
}

/// The columns of a change as [`change`] reads them, from `sync_change`.
pub(super) fn change_columns() -> String {
    CHANGE.join(", ")
}

/// The id that stands in this column; `None` for one that no record of the model can have, so that no peer could take
/// anything of it.
pub(super) fn possible_id(table: &Table, row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Id>> {
    let value = table.id_encoding().decode(row.get_ref(column)?).ok();
    let id = value.and_then(|value| Id::from_value(&value).ok());
    Ok(id.filter(|id| is_possible(table.schema, id)))
}

/// What the columns of a row hold, from the first one on: all fields or only those that travel.
pub(super) fn reading(table: &Table, row: &Row<'_>, local: bool) -> Result<Reading, Bad> {
    let mut columns = 0..;
    let reading = Reading::of(table.schema, local, |field| {
        let found = row.get_ref(columns.next().unwrap_or_default())?;
        Ok::<_, rusqlite::Error>(table.columns[field].encoding.decode(found))
    });
    Ok(reading?)
}

/// The record whose columns begin at the first one, all fields or only those that travel.
pub(super) fn record(table: &Table, row: &Row<'_>, local: bool) -> Result<Record, Bad> {
    Ok(reading(table, row, local)?.whole(table.schema)?)
}

fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("a tracking row is damaged: {what}; repair it with `rectify`"))
}

/// The change whose columns ([`CHANGE`]) begin at this one.
pub(super) fn change(
    sql: &Connection,
    replicas: &mut Replicas,
    table: &Table,
    id: Id,
    row: &Row<'_>,
    from: usize,
) -> Result<Change, Bad> {
    let kind = match row.get::<_, i64>(from)? {
        0 => ChangeKind::Create,
        1 => ChangeKind::Update,
        2 => ChangeKind::Delete,
        _ => return Err(corrupt("its kind is unknown").into()),
    };
    let mut replica = |number: i64| replicas.id(sql, number);
    let current = Revision { stamp: row.get(from + 2)?, replica: replica(row.get(from + 3)?)? };
    let ancestry = match row.get_ref(from + 4)? {
        ValueRef::Null => Ancestry::of(current),
        others => {
            let others: std::collections::BTreeMap<i64, Stamp> = others
                .as_bytes()
                .ok()
                .and_then(|text| serde_json::from_slice(text).ok())
                .ok_or_else(|| corrupt("its ancestry cannot be read"))?;
            let mut entries = Vec::with_capacity(others.len());
            for (number, stamp) in others {
                entries.push((replica(number)?, stamp));
            }
            Ancestry::new(current, entries)
        }
    };
    let previous = match (row.get::<_, Option<Stamp>>(from + 5)?, row.get::<_, Option<i64>>(from + 6)?) {
        (Some(stamp), Some(number)) => Some(Revision { stamp, replica: replica(number)? }),
        _ => None,
    };
    let origin = match row.get::<_, Option<i64>>(from + 8)? {
        Some(number) => Some(replica(number)?),
        None => None,
    };
    let merged = match row.get_ref(from + 9)? {
        ValueRef::Null => None,
        merged => {
            let parts: Option<(Stamp, i64, Stamp, i64)> =
                merged.as_bytes().ok().and_then(|text| serde_json::from_slice(text).ok());
            let (a, a_writer, b, b_writer) = parts.ok_or_else(|| corrupt("its merge cannot be read"))?;
            let a = Revision { stamp: a, replica: replica(a_writer)? };
            Some((a, Revision { stamp: b, replica: replica(b_writer)? }))
        }
    };
    let unknown = match row.get_ref(from + 10)? {
        ValueRef::Null => None,
        unknown => {
            let fields: Option<Unknown> =
                unknown.as_bytes().ok().and_then(|text| serde_json::from_slice(text).ok());
            Some(Box::new(fields.ok_or_else(|| corrupt("its unknown fields cannot be read"))?))
        }
    };
    let stamps = match row.get_ref(from + 11)? {
        ValueRef::Null => None,
        stamps => {
            let stamps: Option<Stamps> =
                stamps.as_bytes().ok().and_then(|text| serde_json::from_slice(text).ok());
            let stamps = stamps.ok_or_else(|| corrupt("the stamps of its fields cannot be read"))?;
            Some(Box::new(stamps))
        }
    };
    Ok(Change {
        schema: table.schema,
        id,
        kind,
        ancestry,
        merged,
        previous,
        position: row.get(from + 1)?,
        group: row.get(from + 7)?,
        origin,
        unknown,
        stamps,
    })
}

/// The columns of a change, in the order of [`CHANGE`].
pub(super) fn change_values(
    sql: &Connection,
    replicas: &mut Replicas,
    change: &Change,
) -> rusqlite::Result<[Owned; CHANGE.len()]> {
    let mut number = |replica: ReplicaId| replicas.number(sql, replica);
    let integer = |value: Option<i64>| value.map_or(Owned::Null, Owned::Integer);
    let current = change.revision();
    let mut others = serde_json::Map::new();
    for (replica, stamp) in change.ancestry.others() {
        others.insert(number(*replica)?.to_string(), (*stamp).into());
    }
    let others = match others.is_empty() {
        true => Owned::Null,
        false => Owned::Text(serde_json::Value::Object(others).to_string()),
    };
    let previous = match change.previous {
        Some(revision) => (Some(revision.stamp), Some(number(revision.replica)?)),
        None => (None, None),
    };
    let merged = match change.merged {
        Some((a, b)) => {
            let (a_writer, b_writer) = (number(a.replica)?, number(b.replica)?);
            Owned::Text(format!("[{},{a_writer},{},{b_writer}]", a.stamp, b.stamp))
        }
        None => Owned::Null,
    };
    let origin = match change.origin {
        Some(replica) => Some(number(replica)?),
        None => None,
    };
    let unknown = match change.unknown.as_deref() {
        Some(fields) => match serde_json::to_vec(fields) {
            Ok(bytes) => Owned::Blob(bytes),
            Err(error) => return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
        },
        None => Owned::Null,
    };
    let stamps = match change.stamps.as_deref().filter(|stamps| !stamps.is_empty()) {
        Some(stamps) => match serde_json::to_string(stamps) {
            Ok(text) => Owned::Text(text),
            Err(error) => return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
        },
        None => Owned::Null,
    };
    let kind = match change.kind {
        ChangeKind::Create => 0,
        ChangeKind::Update => 1,
        ChangeKind::Delete => 2,
    };
    Ok([
        Owned::Integer(kind),
        Owned::Integer(change.position),
        Owned::Integer(current.stamp),
        Owned::Integer(number(current.replica)?),
        others,
        integer(previous.0),
        integer(previous.1),
        integer(change.group),
        integer(origin),
        merged,
        unknown,
        stamps,
    ])
}

/// Binds an id as `sync_change` holds it.
pub(super) fn bind_id(
    statement: &mut Statement<'_>,
    parameter: usize,
    encoding: Encoding,
    id: &Id,
) -> rusqlite::Result<()> {
    use rusqlite::types::ToSqlOutput;
    match id {
        Id::Int(id) => statement.raw_bind_parameter(parameter, id),
        Id::Text(id) => {
            statement.raw_bind_parameter(parameter, ToSqlOutput::Borrowed(ValueRef::Text(id.as_bytes())))
        }
        Id::Uuid(id) => statement.raw_bind_parameter(parameter, encoding.encode(&Value::Uuid(*id))),
    }
}

/// Binds an id as its columns hold it: its n-th part, which is the field at this place, to the parameter that
/// `parameter` gives. One that no record of the model can have is bound as null, and no row has that.
pub(in super::super) fn bind_key(
    statement: &mut Statement<'_>,
    table: &Table,
    id: &Id,
    parameter: impl Fn(usize, usize) -> usize,
) -> rusqlite::Result<()> {
    if !table.schema.has_composite_id() {
        return bind_id(statement, parameter(0, table.schema.id), table.id_encoding(), id);
    }
    let parts = table.schema.id_values(id).unwrap_or_default();
    for (nth, (place, column)) in table.key().enumerate() {
        let value = parts.get(nth).map_or(&Value::Null, |(_, value)| value);
        statement.raw_bind_parameter(parameter(nth, place), column.encoding.encode(value))?;
    }
    Ok(())
}

/// Binds the fields that a statement sets, each to the parameter of its place behind `offset`; absent ones are left as
/// they are bound, which is null.
pub(super) fn bind_record(
    statement: &mut Statement<'_>,
    offset: usize,
    table: &Table,
    id: &Id,
    record: &Record,
) -> rusqlite::Result<()> {
    let most = statement.parameter_count() - offset;
    for (index, value) in record.values().iter().enumerate().take(most) {
        if !table.schema.is_key(index)
            && let Some(value) = value
        {
            statement.raw_bind_parameter(offset + index + 1, table.columns[index].encoding.encode(value))?;
        }
    }
    bind_key(statement, table, id, |_, place| offset + place + 1)
}
