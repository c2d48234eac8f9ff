//! Fields whose columns stood in their tables before the models had them: what is in them was never told to anybody. Each
//! record that has something there gets a change of it, as if that had just been written. What peers had sent of such a
//! field, kept among the unknown ones, is what stood in it before: a column that nobody wrote to takes it.

use super::Engine;
use super::apply::{horizon, kept_as_base};
use crate::change::{Change, Group, State};
use crate::codec::Reader;
use crate::record::Unknown;
use crate::schema::{FieldSchema, ModelSchema};
use crate::store::{Access, Base, Feed, Transaction};
use crate::version::{Position, Stamp};
use crate::{Result, Value};
use serde::de::DeserializeSeed;
use std::collections::{BTreeMap, BTreeSet};

/// How many records are read at a time.
const BATCH: usize = 500;

/// How many bytes of them are read at a time.
const BATCH_BYTES: usize = 4 << 20;

impl Engine {
    /// Tells what is in such columns. Cut off, it begins anew the next time.
    pub(super) async fn tell_untold(&self) -> Result<()> {
        let mut untold: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (model, field) in self.store().untold().await? {
            untold.entry(model).or_default().insert(field);
        }
        for (model, fields) in untold {
            // One that is not registered is told when it is.
            let Ok(model) = self.models().get(&model) else { continue };
            let schema = model.schema;
            let places = schema.replicated().filter(|(_, field)| fields.contains(field.name));
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            let (mut after, mut through) = (0, None);
            loop {
                let (now, places) = (self.write_clock().await?, places.clone());
                let step = self.run(Access::WRITE.long().feed(), move |tx| {
                    Box::pin(async move { tell(tx, schema, &places, (after, through), now).await })
                });
                let (next, end) = step.await?;
                through = Some(end);
                match next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            self.store().told(schema).await?;
        }
        Ok(())
    }
}

/// Tells of the next records behind a position, up to another one; gives where to go on, and that other one.
async fn tell(
    tx: &mut dyn Transaction,
    schema: &'static ModelSchema,
    places: &[usize],
    (after, through): (Position, Option<Position>),
    now: Stamp,
) -> Result<(Option<Position>, Position)> {
    let newest = tx.newest().await?;
    let through = through.unwrap_or(newest);
    let feed = Feed {
        through,
        schema: Some(schema),
        limit: BATCH,
        bytes: BATCH_BYTES,
        data: true,
        ..Feed::after(after)
    };
    let states = tx.feed(&feed).await?;
    let last = states.last().map(|state| state.change.position);
    let (me, horizon) = (tx.replica().await?, horizon(tx).await?);
    let (mut bases, mut told) = (Vec::new(), Vec::new());
    for State { change, record } in states {
        let Some(mut record) = record else { continue };
        let (mut change, mut before) = (change, record.clone());
        let (mut written, mut learned) = (Vec::new(), false);
        for place in places.iter().copied() {
            let field = &schema.fields[place];
            let sent = change.unknown.as_deref_mut().and_then(|unknown| unknown.remove(field.name));
            learned |= sent.is_some();
            let (missing, sent) = (field.missing(), sent.and_then(|sent| fitting(field, sent)));
            if let Some(sent) = &sent
                && record.get(place) == missing.as_ref()
            {
                record.set(place, sent.clone());
            }
            match sent.or(missing) {
                Some(value) => before.set(place, value),
                None => {
                    before.take(place);
                }
            }
            if before.get(place) != record.get(place) {
                written.push(place);
            }
        }
        if change.unknown.as_deref().is_some_and(Unknown::is_empty) {
            change.unknown = None;
        }
        // A field that was learned is no edit: the record keeps the revision that it came with.
        if !written.is_empty() {
            let until = newest + 1 + told.len() as Position;
            if kept_as_base(&change, horizon) {
                bases.push(Base { state: State { change: change.clone(), record: Some(before) }, until });
            }
            change = Change {
                ancestry: change.ancestry.next(now, me),
                previous: Some(change.revision()),
                stamps: change.stamps_after(|place| !written.contains(&place)),
                merged: None,
                origin: None,
                group: Some(Group::MIN),
                ..change
            };
        } else if !learned {
            continue;
        }
        told.push(State { change, record: Some(record) });
    }
    if !bases.is_empty() {
        tx.add_bases(bases).await?;
    }
    // One that the database refuses to write keeps the revision that it has, and is told with its next change.
    tx.put(&told, now).await?;
    Ok((last, through))
}

/// What a peer had sent as the field holds it, or `None` if it cannot.
fn fitting(field: &'static FieldSchema, sent: serde_json::Value) -> Option<Value> {
    let value = Reader::of([]).value(field).deserialize(sent).ok()?;
    field.check(&value).is_ok().then_some(value)
}
