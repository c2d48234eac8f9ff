//! In which scope each record is, and which ones it left: a projection of the feed, which pulls by scope read.
//!
//! It is brought up to date before somebody reads by scope, whoever wrote since, so that a write costs nothing more, and
//! a method can tell the scope as well as a field. In [`Room::Scope`] stand, by key:
//!
//! - `r`, model, id: the [`Place`] of a record;
//! - `s`, scope, position: a change in the scope; `u`, position: one of a model without scopes;
//! - `x`, scope, position: that a record left the scope.

use super::Engine;
use super::grants::{Grants, Word};
use super::notes;
use super::parts::{Coverage, Parts};
use crate::caller::{Caller, Right};
use crate::change::{Change, State};
use crate::record::Id;
use crate::replica::{Exit, Update};
use crate::schema::{ModelSchema, Models, ScopeRule};
use crate::store::{Access, Feed, PART_END, Room, Transaction};
use crate::value::FieldType;
use crate::version::{Position, Stamp};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Stands between the parts of a key.
pub(crate) const SEPARATOR: char = PART_END;
/// The key of how far the projection is.
const DONE: &str = "projected";
/// How many changes are looked at in one transaction.
const STEP: usize = 500;
/// Bytes of their records.
const STEP_BYTES: usize = 4 << 20;
/// How many records of a page are read at once; fewer where they are large.
const READ: usize = 1_000;
/// How many exits a page has at most.
const MOST_EXITS: usize = 10_000;

/// How far the projection is, and by which rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    position: Position,
    rules: Vec<String>,
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// `None` where its model has no scopes.
    #[serde(rename = "s")]
    scope: Option<String>,
    /// Where its change stands; 0 before the projection came to it.
    #[serde(rename = "p")]
    position: Position,
    /// The scopes that it left, each with the position of the change that took it away.
    #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
    left: BTreeMap<String, Position>,
}

/// What stands at a position.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    #[serde(rename = "m")]
    model: String,
    #[serde(rename = "i")]
    id: String,
    /// Whether the record is gone.
    #[serde(rename = "g", default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
    /// [`crate::Record::size`] of the record, without its local fields.
    #[serde(rename = "z", default)]
    size: usize,
}

impl Mark {
    fn record_key(&self) -> String {
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

/// What the keys of a scope's changes begin with; `None` are the models without scopes.
fn changes_in(scope: Option<&str>) -> String {
    match scope {
        Some(scope) => format!("s{SEPARATOR}{}{SEPARATOR}", escaped(scope)),
        None => format!("u{SEPARATOR}"),
    }
}

/// What the keys of a scope's exits begin with.
fn exits_from(scope: &str) -> String {
    format!("x{SEPARATOR}{}{SEPARATOR}", escaped(scope))
}

fn at(prefix: &str, position: Position) -> String {
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

fn read<T: for<'de> Deserialize<'de>>(key: &str, bytes: &[u8]) -> Result<T> {
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
    let rule = |schema: &ModelSchema| match schema.scope {
        None => format!("{}: none", schema.name),
        Some(ScopeRule::Field(place)) => {
            format!("{}: {}", schema.name, schema.fields.get(place).map_or("", |field| field.name))
        }
        Some(ScopeRule::By(_)) => format!("{}: a method", schema.name),
    };
    models.iter().map(|model| rule(model.schema)).collect()
}

async fn done(tx: &mut dyn Transaction, models: &Models) -> Result<Done> {
    let done: Done = notes::load(tx, Room::Scope, DONE).await?.unwrap_or_default();
    let rules = rules(models);
    Ok(if done.rules == rules { done } else { Done { position: 0, rules } })
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
            size: state.record.as_ref().map_or(0, crate::Record::size),
        };
        let mark = written(&mark)?;
        if let Some(before) = &before {
            rows.insert(at(&changes_in(before.scope.as_deref()), before.position), None);
            if let Some(old) = before.scope.as_ref().filter(|_| before.scope != scope) {
                left.insert(old.clone(), position);
                rows.insert(at(&exits_from(old), position), Some(mark.clone()));
            }
        }
        if let Some(entered) = &scope
            && let Some(exit) = left.remove(entered)
        {
            rows.insert(at(&exits_from(entered), exit), None);
        }
        rows.insert(at(&changes_in(scope.as_deref()), position), Some(mark));
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

/// What a caller sees of the feed who may not read every scope.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The parts that are asked for.
    pub(crate) asked: Parts,
    /// All that the caller gets.
    pub(crate) covered: Parts,
    /// What it may read and does not want.
    pub(crate) unwanted: Parts,
    /// Whether records of models without scopes are asked for.
    unscoped: bool,
    /// Only changes up to here.
    pub(crate) through: Position,
    /// Up to here it is known what is in which scope.
    pub(crate) projected: Position,
    /// Whether the records that are gone are left out.
    live_only: bool,
}

/// What of the scopes a pull is for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish<'a> {
    /// Only these.
    pub(crate) scopes: Option<&'a BTreeSet<String>>,
    /// Only up to here.
    pub(crate) through: Option<Position>,
    /// Whether the one who asks has nothing of them yet.
    pub(crate) first: bool,
}

impl View {
    /// The caller's view; `None` if it sees everything that the models let it.
    pub(crate) async fn of(
        tx: &mut dyn Transaction,
        models: &Models,
        caller: &Caller,
        wish: Wish<'_>,
    ) -> Result<Option<View>> {
        let Some(Coverage { parts, unwanted }) = Coverage::of(tx, models, caller).await? else {
            return Ok(None);
        };
        let projected = done(tx, models).await?.position;
        Ok(Some(View {
            asked: match wish.scopes {
                Some(names) => parts.only(names),
                None => parts.clone(),
            },
            covered: parts,
            unwanted,
            unscoped: wish.scopes.is_none(),
            through: wish.through.map_or(projected, |through| through.min(projected)),
            projected,
            live_only: wish.first,
        }))
    }

    fn sources(&self) -> Vec<(String, Option<BTreeSet<String>>)> {
        let scopes = self.asked.iter().map(|(scope, models)| (changes_in(Some(scope)), models.cloned()));
        scopes.chain(self.unscoped.then(|| (changes_in(None), None))).collect()
    }

    /// Changes by position, as [`Transaction::feed`] gives them, of what the caller sees.
    pub(crate) async fn feed(
        &self,
        tx: &mut dyn Transaction,
        models: &Models,
        feed: &Feed,
    ) -> Result<Vec<State>> {
        let through = feed.through.min(self.through);
        let mut merged = Merged::new(self.sources(), feed.after, feed.limit);
        let mut found: Vec<State> = Vec::new();
        let mut bytes = 0_usize;
        loop {
            let (mut marks, mut expected) = (Vec::new(), bytes);
            // Not more are read than the page holds, so that memory stays bounded.
            while marks.len() < READ.min(feed.limit - found.len()) && (!feed.data || expected <= feed.bytes) {
                let Some((position, mark)) = merged.next(tx).await? else { break };
                if position > through {
                    merged.end();
                    break;
                }
                let is_wanted = !(mark.gone && self.live_only)
                    && feed.schema.is_none_or(|schema| schema.name == mark.model);
                if is_wanted {
                    expected = expected.saturating_add(mark.size);
                    marks.push((position, mark));
                }
            }
            if marks.is_empty() {
                return Ok(found);
            }
            for state in states_at(tx, models, &marks, feed.data).await? {
                if feed.not_from.is_some() && state.change.origin == feed.not_from {
                    continue;
                }
                let size = state.record.as_ref().map_or(0, crate::Record::size);
                bytes = bytes.saturating_add(size);
                if feed.data && bytes > feed.bytes && !found.is_empty() {
                    return Ok(found);
                }
                found.push(state);
            }
            if found.len() >= feed.limit {
                return Ok(found);
            }
        }
    }

    /// What left the scopes asked for between two positions.
    pub(crate) async fn exits(
        &self,
        tx: &mut dyn Transaction,
        models: &Models,
        after: Position,
        through: Position,
        grants: &Grants,
    ) -> Result<Left> {
        let (mut exits, mut end) = (Vec::new(), through);
        for (scope, models) in self.asked.iter() {
            let prefix = exits_from(scope);
            let rows = tx.notes_after(Room::Scope, &prefix, &at(&prefix, after), MOST_EXITS).await?;
            for (key, bytes) in &rows {
                let Some(position) = position_of(key, &prefix).filter(|position| *position <= through) else {
                    break;
                };
                let mark: Mark = read(key, bytes)?;
                // One that nobody asked for stands here too, so that it counts for how far the look went.
                let is_asked = models.is_none_or(|models| models.contains(&mark.model));
                let word = grants.word(scope, models.map(|_| mark.model.as_str()), position);
                exits.push((position, scope.clone(), mark, is_asked, word));
            }
        }
        exits.sort_by_key(|(position, ..)| *position);
        if exits.len() >= MOST_EXITS {
            end = end.min(exits[MOST_EXITS - 1].0);
            exits.retain(|(position, ..)| *position <= end);
        }
        exits.retain(|(_, _, _, is_asked, _)| *is_asked);
        let keys: Vec<String> = exits.iter().map(|(_, _, mark, ..)| mark.record_key()).collect();
        let places = tx.notes_of(Room::Scope, &keys).await?;
        let mut left = Left { exits: Vec::new(), withheld: false, deleted: Vec::new(), end };
        for (((_, scope, mark, _, word), key), place) in exits.into_iter().zip(keys).zip(places) {
            let place: Option<Place> = place.map(|bytes| read(&key, &bytes)).transpose()?;
            let now = place.and_then(|place| place.scope);
            let is_in = |parts: &Parts| now.as_ref().is_some_and(|now| parts.hold(&mark.model, now));
            let Ok(model) = models.get(&mark.model) else { continue };
            let Some(id) = id_of(model.schema, &mark.id) else { continue };
            if !is_in(&self.covered) {
                match word {
                    Word::Told => left.exits.push(Exit { schema: model.schema, id, scope, unmatched: false }),
                    Word::Withheld => left.withheld = true,
                    Word::Needless => {}
                }
            } else if !is_in(&self.asked) {
                // Where it is now is pulled by itself, for the first time perhaps, and then without tombstones.
                let found = tx.changes(model.schema, std::slice::from_ref(&id)).await?.pop().flatten();
                let deleted = found.filter(Change::is_delete).map(|change| State { change, record: None });
                left.deleted.extend(deleted);
            }
        }
        Ok(left)
    }
}

/// What left scopes.
pub(crate) struct Left {
    /// What is in no scope that the caller gets.
    pub(crate) exits: Vec<Exit>,
    /// Whether there are such that the replica is not told of, and that it may have.
    pub(crate) withheld: bool,
    /// The tombstones of what was deleted in a scope that the caller gets and that is not asked for just now.
    pub(crate) deleted: Vec<State>,
    /// Up to where this is all that left.
    pub(crate) end: Position,
}

fn position_of(key: &str, prefix: &str) -> Option<Position> {
    key.strip_prefix(prefix)?.parse().ok()
}

/// The changes of several scopes in one order.
struct Merged {
    sources: Vec<Source>,
    batch: usize,
}

struct Source {
    prefix: String,
    /// Only changes of these models; `None` are all.
    models: Option<BTreeSet<String>>,
    /// The last key that was read.
    after: String,
    read: VecDeque<(Position, Mark)>,
    ended: bool,
}

impl Merged {
    fn new(sources: Vec<(String, Option<BTreeSet<String>>)>, after: Position, limit: usize) -> Self {
        let batch = (limit.min(READ) / sources.len().max(1)).max(8);
        let source = |(prefix, models): (String, Option<BTreeSet<String>>)| {
            let after = at(&prefix, after.max(0));
            Source { prefix, models, after, read: VecDeque::new(), ended: false }
        };
        Merged { sources: sources.into_iter().map(source).collect(), batch }
    }

    /// There is nothing more to come.
    fn end(&mut self) {
        self.sources.clear();
    }

    async fn next(&mut self, tx: &mut dyn Transaction) -> Result<Option<(Position, Mark)>> {
        for source in &mut self.sources {
            while source.read.is_empty() && !source.ended {
                let rows = tx.notes_after(Room::Scope, &source.prefix, &source.after, self.batch).await?;
                source.ended = rows.len() < self.batch;
                for (key, bytes) in rows {
                    let position = position_of(&key, &source.prefix).ok_or_else(|| {
                        Error::new(ErrorKind::Storage, "the key of a scope's row cannot be read")
                    })?;
                    let mark: Mark = read(&key, &bytes)?;
                    if source.models.as_ref().is_none_or(|models| models.contains(&mark.model)) {
                        source.read.push_back((position, mark));
                    }
                    source.after = key;
                }
            }
        }
        let first = |source: &Source| source.read.front().map(|(position, _)| *position);
        let nearest = self.sources.iter_mut().filter(|source| !source.read.is_empty());
        Ok(nearest.min_by_key(|source| first(source)).and_then(|source| source.read.pop_front()))
    }
}

/// The states that stand at these positions. What was written again since stands further on.
async fn states_at(
    tx: &mut dyn Transaction,
    models: &Models,
    marks: &[(Position, Mark)],
    data: bool,
) -> Result<Vec<State>> {
    let mut wanted: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
    for (_, mark) in marks {
        let Ok(model) = models.get(&mark.model) else { continue };
        wanted.entry(model.schema.name).or_default().extend(id_of(model.schema, &mark.id));
    }
    let mut found: HashMap<Position, State> = HashMap::new();
    for (name, ids) in wanted {
        let schema = models.get(name)?.schema;
        let states: Vec<State> = match data {
            true => tx.states(schema, &ids).await?.into_iter().flatten().collect(),
            false => {
                let changes = tx.changes(schema, &ids).await?.into_iter().flatten();
                changes.map(|change| State { change, record: None }).collect()
            }
        };
        found.extend(states.into_iter().map(|state| (state.change.position, state)));
    }
    Ok(marks.iter().filter_map(|(position, _)| found.remove(position)).collect())
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
