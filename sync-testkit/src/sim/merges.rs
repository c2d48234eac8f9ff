//! What a merge must come to, worked out from the graph of what happened, apart from the engine's vectors and bases.

use super::history::Node;
use super::models::Visit;
use std::cmp::Ordering;
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::{Record, Syncable, Value};

/// What both sides of a merge come from.
#[derive(Clone, Copy)]
pub(crate) enum Common<'a> {
    /// This state, and nothing beside it.
    State(&'a Node),
    /// Nothing: both were made on their own.
    Nothing,
    /// Something, but no one state.
    Something,
}

/// The content of a merge, where `later` says which side wrote last if the stamps do not, with the stamps of its fields; `None` where people have to decide.
pub(crate) fn merged(
    schema: &'static ModelSchema,
    mine: &Node,
    theirs: &Node,
    common: Common<'_>,
    later: Option<Ordering>,
) -> Option<(Option<Record>, Vec<i64>)> {
    let newer = if mine.ancestry.current > theirs.ancestry.current { mine } else { theirs };
    let whole = |node: &Node| Some((node.content.clone(), node.stamps.clone()));
    let (a, b) = match (&mine.content, &theirs.content) {
        (Some(a), Some(b)) => (a, b),
        (None, None) => return whole(newer),
        (edited, _) => {
            let (edit, delete) = if edited.is_some() { (mine, theirs) } else { (theirs, mine) };
            return match schema.on_delete.name() {
                "keep_edit" => whole(edit),
                "keep_delete" => whole(delete),
                "last_write" => whole(newer),
                _ => None,
            };
        }
    };
    let mut record = a.clone();
    let mut stamps = mine.stamps.clone();
    for (place, field) in schema.replicated().filter(|(place, _)| *place != schema.id) {
        let base = match common {
            Common::State(base) => base.content.as_ref().and_then(|base| base.get(place)),
            _ => None,
        };
        let sides = [(a.get(place)?, mine.stamps[place]), (b.get(place)?, theirs.stamps[place])];
        let known = matches!(common, Common::State(_) | Common::Nothing);
        let order = |a: i64, b: i64| later.unwrap_or_else(|| a.cmp(&b));
        let (value, stamp) = field_of(
            field,
            base,
            known,
            sides,
            order(sides[0].1, sides[1].1),
            mine.ancestry.current < theirs.ancestry.current,
        )?;
        record.set(place, value);
        stamps[place] = stamp;
    }
    Some((Some(record), stamps))
}

fn field_of(
    field: &FieldSchema,
    base: Option<&Value>,
    known: bool,
    [(a, a_stamp), (b, b_stamp)]: [(&Value, i64); 2],
    later: Ordering,
    b_is_newer: bool,
) -> Option<(Value, i64)> {
    let of_a = || Some((a.clone(), a_stamp));
    let of_b = || Some((b.clone(), b_stamp));
    let sum = field.merge.name() == "sum";
    match base {
        Some(base) if a == base && b == base => return Some((a.clone(), a_stamp.max(b_stamp))),
        Some(base) if a == base => return of_b(),
        Some(base) if b == base => return of_a(),
        _ => {}
    }
    if a == b && !(sum && (base.is_some() || !known)) {
        return Some((a.clone(), a_stamp.max(b_stamp)));
    }
    match (field.merge.name(), base) {
        ("sum", Some(Value::Int(base))) => {
            let (Value::Int(a), Value::Int(b)) = (a, b) else { return None };
            Some((Value::Int(a + b - base), a_stamp.max(b_stamp)))
        }
        ("last_write", _) => match later {
            Ordering::Less => of_b(),
            Ordering::Greater => of_a(),
            // Written in the same microsecond; who wrote it decides.
            Ordering::Equal if b_is_newer => of_b(),
            Ordering::Equal => of_a(),
        },
        ("min", _) => {
            if a.order(b) == Ordering::Less {
                of_a()
            } else {
                of_b()
            }
        }
        ("max", _) => {
            if a.order(b) == Ordering::Less {
                of_b()
            } else {
                of_a()
            }
        }
        _ => None,
    }
}

/// What the rule of a server makes of a pushed update; `None` if it lets it pass.
pub(crate) fn ruled(
    schema: &'static ModelSchema,
    current: Option<&Record>,
    incoming: Option<&Record>,
    in_conflict: bool,
) -> Option<Option<Record>> {
    if schema.name != Visit::SCHEMA.name {
        return None;
    }
    let read = |record: Option<&Record>| record.and_then(|record| Visit::from_record(record.clone()).ok());
    let ruling = Visit::rule(read(current).as_ref(), read(incoming).as_ref(), in_conflict)?;
    Some(ruling.and_then(|visit| visit.to_record().ok()))
}
