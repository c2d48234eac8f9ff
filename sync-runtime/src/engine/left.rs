//! What left this store without a trace, for those who observe it: the feed has nothing of it any more.
//!
//! In [`Room::Peer`] stands how many left, and for a while each that did, by its number.

use super::notes;
use super::scopes::id_of;
use crate::Result;
use crate::record::Id;
use crate::schema::ModelSchema;
use crate::store::{Room, Transaction};
use crate::version::Stamp;
use serde::{Deserialize, Serialize};

/// The key of how many left.
const COUNT: &str = "left";
/// What the keys of those who left begin with.
const LEFT: &str = "left/";
/// How long one is told to those who come late, in microseconds: a week.
const TOLD: Stamp = 7 * 24 * 3_600_000_000;
/// How many are looked at in one step.
const STEP: usize = 500;

/// A record that left.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    model: String,
    id: String,
    at: Stamp,
}

fn key(number: u64) -> String {
    format!("{LEFT}{number:020}")
}

/// How many left up to now.
pub(crate) async fn count(tx: &mut dyn Transaction) -> Result<u64> {
    Ok(notes::load(tx, Room::Peer, COUNT).await?.unwrap_or_default())
}

/// Notes that records left.
pub(crate) async fn note(
    tx: &mut dyn Transaction,
    left: &[(&'static ModelSchema, Id)],
    now: Stamp,
) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let mut number = count(tx).await?;
    let mut rows = Vec::with_capacity(left.len());
    for (schema, id) in left {
        number += 1;
        let (key, row) = (key(number), Row { model: schema.name.to_owned(), id: id.to_string(), at: now });
        let value = notes::written(Room::Peer, &key, &row)?;
        rows.push((key, Some(value)));
    }
    tx.note_all(Room::Peer, rows).await?;
    notes::save(tx, Room::Peer, COUNT, &number).await
}

/// The records of a model among those that left after so many had, and how many had with the last of them.
pub(crate) async fn after(
    tx: &mut dyn Transaction,
    schema: &'static ModelSchema,
    number: u64,
    limit: usize,
) -> Result<(Vec<Id>, u64)> {
    // A database that was restored under this process has seen fewer.
    let mut number = number.min(count(tx).await?);
    let mut left = Vec::new();
    for (key, bytes) in tx.notes_after(Room::Peer, LEFT, &key(number), limit).await? {
        let row: Row = notes::parse(Room::Peer, &key, &bytes)?;
        number = key.strip_prefix(LEFT).and_then(|number| number.parse().ok()).unwrap_or(number);
        left.extend(id_of(schema, &row.id).filter(|_| row.model == schema.name));
    }
    Ok((left, number))
}

/// Forgets those that left long ago.
pub(crate) async fn forget(tx: &mut dyn Transaction, now: Stamp) -> Result<()> {
    loop {
        let rows = tx.notes_after(Room::Peer, LEFT, LEFT, STEP).await?;
        let is_old = |bytes: &[u8]| {
            let row = serde_json::from_slice::<Row>(bytes);
            row.is_ok_and(|row| now.saturating_sub(row.at) > TOLD)
        };
        let old: Vec<_> =
            rows.iter().take_while(|(_, bytes)| is_old(bytes)).map(|(key, _)| (key.clone(), None)).collect();
        let ended = old.len() < STEP;
        tx.note_all(Room::Peer, old).await?;
        if ended {
            return Ok(());
        }
    }
}
