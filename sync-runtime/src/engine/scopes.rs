//! In which scope each record is, and which ones it left: a projection of the feed, which pulls by scope read.
//!
//! It is brought up to date before somebody reads by scope, whoever wrote since, so that a write costs nothing more, and
//! a method can tell the scope as well as a field. In [`Room::Scope`] stand, by key:
//!
//! - `r`, model, id: the [`Place`] of a record;
//! - `s`, scope, position: a change in the scope; `u`, position: one of a model without scopes;
//! - `x`, scope, position: that a record left the scope;
//! - `s`, scope, nothing: the [`Newest`] of these, so that a pull looks into a scope only where something happened.

use super::Engine;
use super::notes;
use crate::caller::{Caller, Right};
use crate::change::State;
use crate::record::Id;
use crate::replica::Update;
use crate::schema::{ModelSchema, Models, ScopeRule};
use crate::store::{Access, Feed, PART_END, Room, Transaction};
use crate::value::FieldType;
use crate::version::{Position, Stamp};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Stands between the parts of a key.
pub(crate) const SEPARATOR: char = PART_END;
/// The key of how far the projection is.
const DONE: &str = "projected";
/// How many changes are looked at in one transaction.
const STEP: usize = 500;
/// Bytes of their records.
const STEP_BYTES: usize = 4 << 20;

/// How far the projection is, and by which rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    position: Position,
    rules: Vec<String>,
    /// Up to where it was once, by other rules: what it found then, exits too, stands there still.
    #[serde(default, skip_serializing_if = "is_zero")]
    formerly: Position,
}

fn is_zero(position: &Position) -> bool {
    *position == 0
}

/// The position of the last change in a scope, or of the last record that left it, as far as the projection is.
type Newest = Position;

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// `None` where its model has no scopes.
    #[serde(rename = "s")]
    pub(super) scope: Option<String>,
    /// Where its change stands; 0 before the projection came to it.
    #[serde(rename = "p")]
    position: Position,
    /// The scopes that it left, each with the position of the change that took it away.
    #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
    left: BTreeMap<String, Position>,
}

/// What stands at a position.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Mark {
    #[serde(rename = "m")]
    pub(super) model: String,
    #[serde(rename = "i")]
    pub(super) id: String,
    /// Whether the record is gone.
    #[serde(rename = "g", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
    /// [`State::size`] of the record, without its local fields.
    #[serde(rename = "z", default)]
    pub(super) size: usize,
}

impl Mark {
    pub(super) fn record_key(&self) -> String {
        record_key(&self.model, &self.id)
    }
}

/// A name in a key: nothing in it looks like the end of a part.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace(SEPARATOR, "%1F")
}

/// The name that was escaped so.
pub(crate) fn unescaped(escaped: &str) -> String {
    escaped.replace("%1F", &SEPARATOR.to_string()).replace("%25", "%")
}

fn record_key(model: &str, id: &str) -> String {
    format!("r{SEPARATOR}{model}{SEPARATOR}{id}")
}

/// What the keys of a scope's changes begin with, and the key of its [`Newest`]; `None` are the models without scopes.
pub(super) fn changes_in(scope: Option<&str>) -> String {
    match scope {
        Some(scope) => format!("s{SEPARATOR}{}{SEPARATOR}", escaped(scope)),
        None => format!("u{SEPARATOR}"),
    }
}

/// What the keys of a scope's exits begin with.
pub(super) fn exits_from(scope: &str) -> String {
    format!("x{SEPARATOR}{}{SEPARATOR}", escaped(scope))
}

pub(super) fn at(prefix: &str, position: Position) -> String {
    format!("{prefix}{position:020}")
}

/// The id that was written as this text.
pub(crate) fn id_of(schema: &ModelSchema, text: &str) -> Option<Id> {
    match schema.id_field().ty {
        _ if schema.has_composite_id() => Some(Id::Text(text.to_owned())),
        FieldType::Uuid => text.parse().ok().map(Id::Uuid),
        FieldType::Int { .. } => text.parse().ok().map(Id::Int),
        _ => Some(Id::Text(text.to_owned())),
    }
}

fn written(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Storage, "cannot write a scope's row").with_source(error))
}

pub(super) fn read<T: for<'de> Deserialize<'de>>(key: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let key = key.replace(SEPARATOR, "/");
        Error::new(ErrorKind::Storage, format!("the scope row {key} cannot be read")).with_source(error)
    })
}

/// Whether records of any model belong to scopes.
pub(crate) fn are_known(models: &Models) -> bool {
    models.iter().any(|model| model.schema.scope.is_some())
}

/// What tells the scopes of the models; where it is another than before, the projection is made anew.
fn rules(models: &Models) -> Vec<String> {
    // What was made before this kept no newest of each scope.
    let newest = "with the newest".to_owned();
    let rule = |schema: &ModelSchema| match schema.scope {
        None => format!("{}: none", schema.name),
        Some(ScopeRule::Field(place)) => {
            format!("{}: {}", schema.name, schema.fields.get(place).map_or("", |field| field.name))
        }
        Some(ScopeRule::By(_)) => format!("{}: a method", schema.name),
    };
    std::iter::once(newest).chain(models.iter().map(|model| rule(model.schema))).collect()
}

async fn done(tx: &mut dyn Transaction, models: &Models) -> Result<Done> {
    Ok(by_these_rules(notes::load(tx, Room::Scope, DONE).await?, models))
}

fn by_these_rules(done: Option<Done>, models: &Models) -> Done {
    let (done, rules) = (done.unwrap_or_default(), rules(models));
    match done.rules == rules {
        true => done,
        false => Done { position: 0, rules, formerly: done.position.max(done.formerly) },
    }
}

/// How far the projection is, and the newest of each of these prefixes ([`changes_in`]); 0 where nothing ever happened.
pub(super) async fn progress(
    tx: &mut dyn Transaction,
    models: &Models,
    prefixes: &[String],
) -> Result<(Position, Vec<Newest>)> {
    let keys: Vec<String> = [DONE.to_owned()].into_iter().chain(prefixes.iter().cloned()).collect();
    let mut rows = keys.iter().zip(tx.notes_of(Room::Scope, &keys).await?);
    let done = rows.next().and_then(|(key, row)| Some((key.as_str(), row?)));
    let done = by_these_rules(notes::parsed(done)?, models);
    let newest = rows.map(|(key, row)| row.map_or(Ok(0), |row| read(key, &row)));
    Ok((done.position, newest.collect::<Result<_>>()?))
}

/// Takes the next changes into the projection; whether there was nothing left to take.
async fn step(tx: &mut dyn Transaction, models: &Models, now: Stamp) -> Result<bool> {
    let mut done = done(tx, models).await?;
    let newest = tx.newest().await?;
    if done.position >= newest {
        return Ok(true);
    }
    let feed = Feed { limit: STEP, bytes: STEP_BYTES, data: true, ..Feed::after(done.position) };
    let states = tx.feed(&feed).await?;
    let through = states.last().map_or(newest, |state| state.change.position);
    let name = |state: &State| record_key(state.change.schema.name, &state.change.id.to_string());
    let keys: Vec<String> = states.iter().map(name).collect();
    let places = tx.notes_of(Room::Scope, &keys).await?;
    let mut rows: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    let mut moved = Vec::new();
    for ((state, key), before) in states.into_iter().zip(keys).zip(places) {
        let before: Option<Place> = before.map(|bytes| read(&key, &bytes)).transpose()?;
        let schema = state.change.schema;
        let position = state.change.position;
        let scope = match (&state.record, &before) {
            _ if schema.scope.is_none() => None,
            // What cannot tell its scope is nobody's.
            (Some(record), _) => Some(schema.scope_of(record).unwrap_or_default()),
            (None, Some(before)) => Some(before.scope.clone().unwrap_or_default()),
            (None, None) => Some(String::new()),
        };
        if before.as_ref().is_some_and(|before| before.position == position && before.scope != scope) {
            // Another rule tells another scope of a record that nobody wrote. Whoever has pulled past it has to hear of
            // it, so its change moves to the end.
            moved.push(state);
            continue;
        }
        let mut left = before.as_ref().map(|before| before.left.clone()).unwrap_or_default();
        let mark = Mark {
            model: schema.name.to_owned(),
            id: state.change.id.to_string(),
            gone: state.record.is_none(),
            size: state.size(),
        };
        let mark = written(&mark)?;
        // What is taken anew may stand before what was found formerly; to look there once more does no harm.
        let newest = written(&position.max(done.formerly))?;
        if position <= done.formerly {
            rows.extend(left.keys().map(|scope| (changes_in(Some(scope)), Some(newest.clone()))));
        }
        if let Some(before) = &before {
            rows.insert(at(&changes_in(before.scope.as_deref()), before.position), None);
            if let Some(old) = before.scope.as_ref().filter(|_| before.scope != scope) {
                left.insert(old.clone(), position);
                rows.insert(at(&exits_from(old), position), Some(mark.clone()));
                rows.insert(changes_in(Some(old)), Some(newest.clone()));
            }
        }
        if let Some(entered) = &scope
            && let Some(exit) = left.remove(entered)
        {
            rows.insert(at(&exits_from(entered), exit), None);
        }
        let changes = changes_in(scope.as_deref());
        rows.insert(at(&changes, position), Some(mark));
        rows.insert(changes, Some(newest));
        rows.insert(key, Some(written(&Place { scope, position, left })?));
    }
    for state in &mut moved {
        (state.change.group, state.change.origin) = (None, None);
    }
    if !moved.is_empty() {
        tx.put(&moved, now).await?;
    }
    done.position = through;
    rows.insert(DONE.to_owned(), Some(written(&done)?));
    tx.note_all(Room::Scope, rows.into_iter().collect()).await?;
    Ok(through >= newest && moved.is_empty())
}

impl Engine {
    /// Brings the projection up to date, where any model has scopes: afterwards it holds everything that was committed
    /// before.
    pub(crate) async fn project_scopes(&self) -> Result<()> {
        if !are_known(self.models()) {
            return Ok(());
        }
        let models = self.models().clone();
        let behind = self.run(Access::READ.feed(), move |tx| {
            Box::pin(async move { Ok(done(tx, &models).await?.position < tx.newest().await?) })
        });
        if !behind.await? {
            return Ok(());
        }
        loop {
            let (models, now) = (self.models().clone(), self.now());
            let level = self.run(Access::WRITE.long().feed(), move |tx| {
                Box::pin(async move { step(tx, &models, now).await })
            });
            if level.await? {
                return Ok(());
            }
        }
    }
}

/// Where a record is that came whole, and that whoever pushed it holds: its key, and its scope.
pub(crate) fn held(update: &Update) -> Option<(String, String)> {
    let State { change, record } = &update.state;
    let schema = change.schema;
    let record = record.as_ref().filter(|_| schema.scope.is_some() && update.based_on.is_none())?;
    Some((record_key(schema.name, &change.id.to_string()), schema.scope_of(record).ok()?))
}

/// Notes where records are that somebody holds, before the projection comes to them: were one deleted by then, its tombstone
/// would be in no scope, and who holds it would not be told.
pub(crate) async fn note_held(tx: &mut dyn Transaction, held: Vec<(String, String)>) -> Result<()> {
    let (keys, scopes): (Vec<String>, Vec<String>) = held.into_iter().unzip();
    if keys.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::new();
    let places = tx.notes_of(Room::Scope, &keys).await?;
    for ((key, scope), place) in keys.into_iter().zip(scopes).zip(places) {
        let place: Option<Place> = place.map(|bytes| read(&key, &bytes)).transpose()?;
        if place.is_none_or(|place| place.position == 0) {
            let place = Place { scope: Some(scope), position: 0, left: BTreeMap::new() };
            rows.push((key, Some(written(&place)?)));
        }
    }
    tx.note_all(Room::Scope, rows).await
}

/// Forgets where records were that are gone without a tombstone.
pub(crate) async fn forget(tx: &mut dyn Transaction, schema: &'static ModelSchema, ids: &[Id]) -> Result<()> {
    let keys: Vec<String> = ids.iter().map(|id| record_key(schema.name, &id.to_string())).collect();
    let places = tx.notes_of(Room::Scope, &keys).await?;
    let mut rows = BTreeMap::new();
    for (key, bytes) in keys.into_iter().zip(places) {
        let Some(bytes) = bytes else { continue };
        let place: Place = read(&key, &bytes)?;
        rows.insert(at(&changes_in(place.scope.as_deref()), place.position), None);
        rows.extend(place.left.iter().map(|(scope, position)| (at(&exits_from(scope), *position), None)));
        rows.insert(key, None);
    }
    tx.note_all(Room::Scope, rows.into_iter().collect()).await
}

/// Forgets the exits up to a position.
pub(crate) async fn forget_exits(tx: &mut dyn Transaction, through: Position) -> Result<()> {
    let mut after = String::new();
    loop {
        let rows = tx.notes_after(Room::Scope, "x", &after, STEP).await?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after.clone_from(last);
        let is_old = |key: &str| {
            let position = key.rsplit(SEPARATOR).next().and_then(|position| position.parse().ok());
            position.is_some_and(|position: Position| position <= through)
        };
        let old = rows.into_iter().map(|(key, _)| key).filter(|key| is_old(key));
        tx.note_all(Room::Scope, old.map(|key| (key, None)).collect()).await?;
    }
}

/// The scope of each state that is here, by what it is now; of a tombstone, the one that the record was in. `None` where
/// its model has no scopes.
pub(crate) async fn of_states<'s>(
    tx: &mut dyn Transaction,
    states: impl IntoIterator<Item = &'s State>,
) -> Result<Vec<Option<String>>> {
    let mut scopes = Vec::new();
    for state in states {
        let schema = state.change.schema;
        scopes.push(match &state.record {
            _ if schema.scope.is_none() => None,
            Some(record) => Some(schema.scope_of(record).unwrap_or_default()),
            None => {
                let key = record_key(schema.name, &state.change.id.to_string());
                let place: Option<Place> = notes::load(tx, Room::Scope, &key).await?;
                Some(place.and_then(|place| place.scope).unwrap_or_default())
            }
        });
    }
    Ok(scopes)
}

/// What a caller may do with each of these states.
pub(crate) async fn rights<'s>(
    tx: &mut dyn Transaction,
    caller: &Caller,
    states: impl IntoIterator<Item = &'s State> + Clone,
) -> Result<Vec<Right>> {
    let scopes = of_states(tx, states.clone()).await?;
    let right = |(state, scope): (&State, Option<String>)| {
        caller.right_in(state.change.schema, scope.as_deref().unwrap_or_default())
    };
    Ok(states.into_iter().zip(scopes).map(right).collect())
}

/// The scopes that changes touched: the one that the record is in, and those that it left with this change.
pub(crate) async fn touched(tx: &mut dyn Transaction, states: &[State]) -> Result<Vec<Vec<Option<String>>>> {
    let name = |state: &State| record_key(state.change.schema.name, &state.change.id.to_string());
    let keys: Vec<String> = states.iter().map(name).collect();
    let places = tx.notes_of(Room::Scope, &keys).await?;
    let mut touched = Vec::with_capacity(states.len());
    for ((state, key), place) in states.iter().zip(&keys).zip(places) {
        let place: Option<Place> = place.map(|bytes| read(key, &bytes)).transpose()?;
        let left = place.iter().flat_map(|place| &place.left);
        let left = left.filter(|(_, position)| **position == state.change.position);
        let mut scopes: Vec<Option<String>> = left.map(|(scope, _)| Some(scope.clone())).collect();
        match (&place, state.change.schema.scope) {
            (Some(place), _) => scopes.push(place.scope.clone()),
            // Not looked at yet: it is nobody's until it is.
            (None, Some(_)) => {}
            (None, None) => scopes.push(None),
        }
        touched.push(scopes);
    }
    Ok(touched)
}
