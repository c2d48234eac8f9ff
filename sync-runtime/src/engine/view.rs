//! What a caller sees of the feed who may not read every scope.

use super::grants::{Grants, Word};
use super::parts::{Coverage, Parts};
use super::scopes::{self, Mark, Place, at, changes_in, exits_from, id_of};
use crate::caller::Caller;
use crate::change::{Change, State};
use crate::record::Id;
use crate::replica::Exit;
use crate::schema::Models;
use crate::store::{Feed, Room, Transaction};
use crate::version::Position;
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// How many records of a page are read at once; fewer where they are large.
const READ: usize = 1_000;
/// How many exits a page has at most.
const MOST_EXITS: usize = 10_000;

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
    /// The last position of each scope asked for at which something came or left, by what its keys begin with.
    newest: HashMap<String, Position>,
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
        let asked = match wish.scopes {
            Some(names) => parts.only(names),
            None => parts.clone(),
        };
        let unscoped = wish.scopes.is_none();
        let prefixes = asked.iter().map(|(scope, _)| changes_in(Some(scope)));
        let prefixes: Vec<String> = prefixes.chain(unscoped.then(|| changes_in(None))).collect();
        let (projected, newest) = scopes::progress(tx, models, &prefixes).await?;
        Ok(Some(View {
            asked,
            covered: parts,
            unwanted,
            unscoped,
            through: wish.through.map_or(projected, |through| through.min(projected)),
            projected,
            live_only: wish.first,
            newest: prefixes.into_iter().zip(newest).collect(),
        }))
    }

    /// Whether anything came to these changes, or left them, behind a position.
    fn moved(&self, changes: &str, after: Position) -> bool {
        self.newest.get(changes).is_some_and(|newest| *newest > after)
    }

    /// The changes asked for, as far as there are any behind a position.
    fn sources(&self, after: Position) -> Vec<(String, Option<BTreeSet<String>>)> {
        let scopes = self.asked.iter().map(|(scope, models)| (changes_in(Some(scope)), models.cloned()));
        let all = scopes.chain(self.unscoped.then(|| (changes_in(None), None)));
        all.filter(|(changes, _)| self.moved(changes, after)).collect()
    }

    /// Changes by position, as [`Transaction::feed`] gives them, of what the caller sees.
    pub(crate) async fn feed(
        &self,
        tx: &mut dyn Transaction,
        models: &Models,
        feed: &Feed,
    ) -> Result<Vec<State>> {
        let through = feed.through.min(self.through);
        let mut merged = Merged::new(self.sources(feed.after), feed.after, feed.limit);
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
                bytes = bytes.saturating_add(state.size());
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
        let moved = self.asked.iter().filter(|(scope, _)| self.moved(&changes_in(Some(scope)), after));
        for (scope, models) in moved {
            let prefix = exits_from(scope);
            let rows = tx.notes_after(Room::Scope, &prefix, &at(&prefix, after), MOST_EXITS).await?;
            for (key, bytes) in &rows {
                let Some(position) = position_of(key, &prefix).filter(|position| *position <= through) else {
                    break;
                };
                let mark: Mark = scopes::read(key, bytes)?;
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
            let place: Option<Place> = place.map(|bytes| scopes::read(&key, &bytes)).transpose()?;
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
                    let mark: Mark = scopes::read(&key, &bytes)?;
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
