//! Rows as changes, and back.

use super::super::link::{Cell, Row};
use super::super::tables::{CHANGE, Table};
use std::collections::HashMap;
use sync_runtime::change::{Change, ChangeKind, Stamps};
use sync_runtime::record::{Id, Unknown};
use sync_runtime::version::{Ancestry, Position, ReplicaId, Revision, Stamp};
use sync_runtime::{Error, ErrorKind, Result};

/// The replica ids that the database has numbers for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replicas {
    by_number: HashMap<i64, ReplicaId>,
    by_id: HashMap<ReplicaId, i64>,
    /// The name of the store itself in this transaction, once it was read.
    own: Option<ReplicaId>,
}

/// Stands for the store itself in a change that has no position yet: a trigger that need not look for the store's name
/// is the faster for it.
pub(crate) const OWN: i64 = 0;

impl Replicas {
    pub(crate) fn add(&mut self, number: i64, id: ReplicaId) {
        self.by_number.insert(number, id);
        self.by_id.insert(id, number);
    }

    pub(crate) fn number(&self, id: ReplicaId) -> Option<i64> {
        self.by_id.get(&id).copied()
    }

    /// The store has this name from now on, or, without one, another one than it had.
    pub(crate) fn own(&mut self, own: Option<ReplicaId>) {
        self.own = own;
    }

    pub(crate) fn id(&self, number: i64) -> Option<ReplicaId> {
        match number {
            OWN => self.own,
            number => self.by_number.get(&number).copied(),
        }
    }

    fn known(&self, number: i64) -> Result<ReplicaId> {
        self.id(number).ok_or_else(|| corrupt("a replica in it has no name"))
    }

    fn numbered(&self, id: ReplicaId) -> Result<i64> {
        self.number(id).ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("the replica {id} has no number in this transaction"))
        })
    }
}

pub(crate) fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("a tracking row is damaged: {what}; repair it with `rectify`"))
}

fn integer(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Int(n) => Some(*n),
        _ => None,
    }
}

fn text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

type Others = std::collections::BTreeMap<i64, Stamp>;
type Merged = (Stamp, i64, Stamp, i64);

fn others(cell: &Cell) -> Result<Others> {
    match text(cell) {
        None => Ok(Others::new()),
        Some(text) => serde_json::from_str(text).map_err(|_| corrupt("its ancestry cannot be read")),
    }
}

fn merged(cell: &Cell) -> Result<Option<Merged>> {
    let parse = |text| serde_json::from_str(text).map_err(|_| corrupt("its merge cannot be read"));
    text(cell).map(parse).transpose()
}

/// Whether the change whose columns ([`CHANGE`]) these are names a replica that is not known.
pub(crate) fn names_unknown(replicas: &Replicas, row: &[Cell]) -> Result<bool> {
    let unknown = |number: i64| replicas.id(number).is_none();
    let written = [3, 6, 8].into_iter().filter_map(|column| integer(&row[column])).any(unknown);
    let merged = merged(&row[9])?.is_some_and(|(_, a, _, b)| unknown(a) || unknown(b));
    Ok(written || merged || others(&row[4])?.into_keys().any(unknown))
}

/// A position as it is seen: what has none yet stands behind all that have one.
pub(crate) fn position(stored: i64) -> Position {
    if stored < 0 { Position::MAX } else { stored }
}

/// The change whose columns ([`CHANGE`]) these are.
pub(crate) fn change(replicas: &Replicas, table: &Table, id: Id, row: &[Cell]) -> Result<Change> {
    let kind = match integer(&row[0]) {
        Some(0) => ChangeKind::Create,
        Some(1) => ChangeKind::Update,
        Some(2) => ChangeKind::Delete,
        _ => return Err(corrupt("its kind is unknown")),
    };
    let required = |column: usize| integer(&row[column]).ok_or_else(|| corrupt("a column is null"));
    let current = Revision { stamp: required(2)?, replica: replicas.known(required(3)?)? };
    let others = others(&row[4])?.into_iter();
    let others: Result<Vec<_>> = others.map(|(number, stamp)| Ok((replicas.known(number)?, stamp))).collect();
    let previous = match (integer(&row[5]), integer(&row[6])) {
        (Some(stamp), Some(number)) => Some(Revision { stamp, replica: replicas.known(number)? }),
        _ => None,
    };
    let merged = match merged(&row[9])? {
        Some((a, a_writer, b, b_writer)) => Some((
            Revision { stamp: a, replica: replicas.known(a_writer)? },
            Revision { stamp: b, replica: replicas.known(b_writer)? },
        )),
        None => None,
    };
    let unknown = match &row[10] {
        Cell::Bytes(bytes) => {
            let fields: Unknown =
                serde_json::from_slice(bytes).map_err(|_| corrupt("its unknown fields cannot be read"))?;
            Some(Box::new(fields))
        }
        _ => None,
    };
    let stamps = match text(&row[11]) {
        Some(text) => {
            let stamps: Stamps =
                serde_json::from_str(text).map_err(|_| corrupt("the stamps of its fields cannot be read"))?;
            Some(Box::new(stamps))
        }
        None => None,
    };
    Ok(Change {
        schema: table.schema,
        id,
        kind,
        ancestry: Ancestry::new(current, others?),
        merged,
        previous,
        position: position(required(1)?),
        group: integer(&row[7]),
        origin: integer(&row[8]).map(|number| replicas.known(number)).transpose()?,
        unknown,
        stamps,
    })
}

/// The replicas that a change names.
pub(crate) fn replicas_of(change: &Change) -> impl Iterator<Item = ReplicaId> {
    let merged = change.merged.into_iter().flat_map(|(a, b)| [a.replica, b.replica]);
    change
        .ancestry
        .entries()
        .map(|revision| revision.replica)
        .chain(change.previous.map(|revision| revision.replica))
        .chain(change.origin)
        .chain(merged)
        .collect::<Vec<_>>()
        .into_iter()
}

/// The columns of a change, in the order of [`CHANGE`]; the position is left to the caller.
pub(crate) fn change_cells(replicas: &Replicas, change: &Change) -> Result<Row> {
    let json = |value: serde_json::Result<String>| {
        value.map(Cell::Text).map_err(|error| {
            Error::new(ErrorKind::InvalidValue, format!("tracking {}", change.name())).with_source(error)
        })
    };
    let current = change.revision();
    let mut others = serde_json::Map::new();
    for (replica, stamp) in change.ancestry.others() {
        others.insert(replicas.numbered(*replica)?.to_string(), (*stamp).into());
    }
    let others = match others.is_empty() {
        true => Cell::Null,
        false => Cell::Text(serde_json::Value::Object(others).to_string()),
    };
    let number = |replica: Option<ReplicaId>| replica.map(|replica| replicas.numbered(replica)).transpose();
    let merged = match change.merged {
        Some((a, b)) => {
            let (a_writer, b_writer) = (replicas.numbered(a.replica)?, replicas.numbered(b.replica)?);
            Cell::Text(format!("[{},{a_writer},{},{b_writer}]", a.stamp, b.stamp))
        }
        None => Cell::Null,
    };
    let unknown = match change.unknown.as_deref() {
        Some(fields) => match json(serde_json::to_string(fields))? {
            Cell::Text(text) => Cell::Bytes(text.into_bytes()),
            other => other,
        },
        None => Cell::Null,
    };
    let stamps = match change.stamps.as_deref().filter(|stamps| !stamps.is_empty()) {
        Some(stamps) => json(serde_json::to_string(stamps))?,
        None => Cell::Null,
    };
    let kind = match change.kind {
        ChangeKind::Create => 0,
        ChangeKind::Update => 1,
        ChangeKind::Delete => 2,
    };
    let row = vec![
        Cell::Int(kind),
        Cell::Int(change.position),
        Cell::Int(current.stamp),
        Cell::Int(replicas.numbered(current.replica)?),
        others,
        change.previous.map(|revision| revision.stamp).into(),
        number(change.previous.map(|revision| revision.replica))?.into(),
        change.group.into(),
        number(change.origin)?.into(),
        merged,
        unknown,
        stamps,
    ];
    debug_assert_eq!(row.len(), CHANGE.len());
    Ok(row)
}
