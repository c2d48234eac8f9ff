//! rule: parents first. Which records of a page wait for which, which parents a page brings along, and which
//! tombstones wait because a live child stands here.

use crate::Result;
use crate::change::{Change, Group, RecordName, State};
use crate::query::{Filter, Selection};
use crate::record::Id;
use crate::schema::{ModelSchema, Models};
use crate::store::{Feed, Transaction};
use crate::value::Value;
use crate::version::{Position, ReplicaId};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How many changes are read at once to find what was written together with a parent.
const WINDOW: usize = 64;
/// How many parents are asked for children at once. Databases limit the values of a statement.
const ASKED: usize = 500;

/// The records whose ids the fields of this one hold.
pub(super) fn parents_of(models: &Models, state: &State) -> Vec<RecordName> {
    let Some(record) = &state.record else { return Vec::new() };
    let held = models.parents_of(state.change.schema).filter_map(|(place, parent)| {
        let id = record.get(place).and_then(|value| Id::from_value(value).ok())?;
        Some((parent, id))
    });
    held.collect()
}

/// What one update does to the family of its record.
#[derive(Debug, Clone)]
pub(super) struct Step {
    record: RecordName,
    schema: &'static ModelSchema,
    group: Option<Group>,
    /// Whether it deletes a record that is here.
    deletes: bool,
    /// Its parents as it stands here.
    before: Vec<RecordName>,
    /// Its parents as it will stand.
    after: Vec<RecordName>,
}

impl Step {
    /// The step from the state here to the one that is put.
    pub(super) fn new(models: &Models, here: Option<&State>, put: &State) -> Self {
        Step {
            record: put.change.record_name(),
            schema: put.change.schema,
            group: put.change.group,
            deletes: put.record.is_none() && here.is_some_and(|here| here.record.is_some()),
            before: here.map(|here| parents_of(models, here)).unwrap_or_default(),
            after: parents_of(models, put),
        }
    }
}

/// Whether any model has a parent; where none does there is nothing to look at.
pub(crate) fn are_known(models: &Models) -> bool {
    models.iter().any(|model| models.parents_of(model.schema).next().is_some())
}

/// The models, parents before their children. Where they have each other as parents, by name.
pub(crate) fn models_in_order(models: &Models) -> Vec<&'static ModelSchema> {
    let all: Vec<&'static ModelSchema> = models.iter().map(|model| model.schema).collect();
    let place = |parent: &str| all.iter().position(|schema| schema.name == parent);
    let waits = |schema: &&'static ModelSchema| {
        models.parents_of(schema).filter_map(|(_, parent)| place(parent)).collect()
    };
    let waits: Vec<Vec<usize>> = all.iter().map(waits).collect();
    after_what_they_wait_for(&waits).into_iter().map(|place| all[place]).collect()
}

/// The order in which these steps are taken: parents before their children where they are written, children before
/// their parents where they are deleted. Nothing else moves, and what was written together stays together.
///
/// Where records wait for each other in a circle, each comes where it stood.
pub(super) fn order(steps: &[Step]) -> Vec<usize> {
    let places: HashMap<&RecordName, usize> =
        steps.iter().enumerate().map(|(place, step)| (&step.record, place)).collect();
    let mut waits = vec![Vec::new(); steps.len()];
    for (place, step) in steps.iter().enumerate() {
        for parent in step.after.iter().filter_map(|parent| places.get(parent)) {
            if *parent != place && !steps[*parent].deletes {
                waits[place].push(*parent);
            }
        }
        for parent in step.before.iter().filter_map(|parent| places.get(parent)) {
            if *parent != place && steps[*parent].deletes {
                waits[*parent].push(place);
            }
        }
    }
    if waits.iter().all(Vec::is_empty) {
        return (0..steps.len()).collect();
    }
    // What was written together is one unit, or it would arrive in pieces.
    let mut units: Vec<Vec<usize>> = Vec::new();
    let mut unit_of = Vec::with_capacity(steps.len());
    let mut of_group: HashMap<Group, usize> = HashMap::new();
    for (place, step) in steps.iter().enumerate() {
        let next = units.len();
        let unit = step.group.map_or(next, |group| *of_group.entry(group).or_insert(next));
        if unit == next {
            units.push(Vec::new());
        }
        units[unit].push(place);
        unit_of.push(unit);
    }
    let among_units: Vec<Vec<usize>> = units
        .iter()
        .map(|unit| unit.iter().flat_map(|place| &waits[*place]).map(|place| unit_of[*place]).collect())
        .collect();
    let mut order = Vec::with_capacity(steps.len());
    for unit in after_what_they_wait_for(&among_units) {
        let unit = &units[unit];
        let here: HashMap<usize, usize> = unit.iter().enumerate().map(|(at, place)| (*place, at)).collect();
        let within: Vec<Vec<usize>> = unit
            .iter()
            .map(|place| waits[*place].iter().filter_map(|place| here.get(place).copied()).collect())
            .collect();
        order.extend(after_what_they_wait_for(&within).into_iter().map(|at| unit[at]));
    }
    order
}

/// Numbers in order, but each after those that it waits for. Without recursion: a chain may be as long as a page.
fn after_what_they_wait_for(waits: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(waits.len());
    let mut seen = vec![false; waits.len()];
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..waits.len() {
        if !std::mem::replace(&mut seen[start], true) {
            path.push((start, 0));
        }
        while let Some((node, next)) = path.last_mut() {
            let Some(other) = waits[*node].get(*next).copied() else {
                order.push(*node);
                path.pop();
                continue;
            };
            *next += 1;
            if !std::mem::replace(&mut seen[other], true) {
                path.push((other, 0));
            }
        }
    }
    order
}

/// The deletes among these steps that wait, as the record has a live child here that does not go with it; each by
/// its place, with one such child.
pub(super) async fn waiting(
    tx: &mut dyn Transaction,
    models: &Models,
    steps: &[&Step],
) -> Result<HashMap<usize, RecordName>> {
    let mut blocked: HashMap<usize, RecordName> = HashMap::new();
    let deletes = steps.iter().enumerate().filter(|(_, step)| step.deletes);
    let places: HashMap<&RecordName, usize> = deletes.map(|(place, step)| (&step.record, place)).collect();
    if places.is_empty() {
        return Ok(blocked);
    }
    // Those whose parent goes too: parent and child by their places.
    let mut together = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let parents =
            |of: &[RecordName]| of.iter().filter_map(|parent| places.get(parent)).copied().collect();
        let (before, after): (Vec<usize>, Vec<usize>) = (parents(&step.before), parents(&step.after));
        match step.deletes {
            true => together.extend(before.into_iter().map(|parent| (parent, place))),
            false => blocked.extend(after.into_iter().map(|parent| (parent, step.record.clone()))),
        }
    }
    let mut by_model: BTreeMap<&'static str, Vec<&Id>> = BTreeMap::new();
    for (name, id) in places.keys() {
        by_model.entry(name).or_default().push(id);
    }
    for (model, mut ids) in by_model {
        ids.sort();
        for (child, place) in models.children_of(model) {
            // What becomes of these is in the steps.
            let own: HashSet<&Id> = steps
                .iter()
                .filter(|step| step.schema.name == child.name)
                .map(|step| &step.record.1)
                .collect();
            for ids in ids.chunks(ASKED) {
                for (parent, found) in live_children(tx, child, place, ids, &own).await? {
                    if let Some(place) = places.get(&(model, parent)) {
                        blocked.entry(*place).or_insert((child.name, found));
                    }
                }
            }
        }
    }
    // A child that stays makes its parent stay.
    loop {
        let stays = together.iter().find(|(parent, child)| {
            parent != child && blocked.contains_key(child) && !blocked.contains_key(parent)
        });
        let Some((parent, child)) = stays else { return Ok(blocked) };
        blocked.insert(*parent, steps[*child].record.clone());
    }
}

/// Why a tombstone waits.
pub(super) fn waits_for(parent: &str, (model, id): &RecordName) -> String {
    format!("{parent} cannot be deleted here: {model} {id}, whose parent it is, is not deleted")
}

/// One live child of each of these parents that has any apart from `but`, as parent and child.
async fn live_children(
    tx: &mut dyn Transaction,
    child: &'static ModelSchema,
    place: usize,
    parents: &[&Id],
    but: &HashSet<&Id>,
) -> Result<Vec<(Id, Id)>> {
    let mut found: BTreeMap<Id, Id> = BTreeMap::new();
    let mut open: Vec<&Id> = parents.to_vec();
    let mut after: Option<Id> = None;
    // A parent of many is left out of the next look, so that it hides no other.
    while !open.is_empty() {
        let values = open.iter().map(|id| id.to_value()).collect();
        let mut filter = vec![Filter::OneOf(place, values)];
        if let Some(after) = after.take() {
            filter.push(child.after_id(&after)?);
        }
        let limit = ASKED + but.len().min(ASKED);
        let filter = Filter::And(filter);
        let selection =
            Selection { filter, limit: Some(limit as u64), lenient: true, ..Selection::default() };
        let records = tx.select(child, &selection).await?;
        let full = records.len() == limit;
        for record in &records {
            let id = child.id_of(record)?;
            if let Some(parent) = record.get(place).and_then(|value| Id::from_value(value).ok())
                && !but.contains(&id)
            {
                found.entry(parent).or_insert(id);
            }
        }
        let Some(last) = records.last().filter(|_| full) else { break };
        after = Some(child.id_of(last)?);
        open.retain(|id| !found.contains_key(*id));
    }
    Ok(found.into_iter().collect())
}

/// The live descendants of a record, children before their parents.
pub(super) async fn descendants(
    tx: &mut dyn Transaction,
    models: &Models,
    of: RecordName,
) -> Result<Vec<(&'static ModelSchema, Id)>> {
    let mut seen = HashSet::from([of.clone()]);
    let mut found = Vec::new();
    let mut level = vec![of];
    while !level.is_empty() {
        let mut by_model: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
        for (model, id) in level.drain(..) {
            by_model.entry(model).or_default().push(id.to_value());
        }
        for (model, ids) in by_model {
            for (child, place) in models.children_of(model) {
                for ids in ids.chunks(ASKED) {
                    let filter = Filter::OneOf(place, ids.to_vec());
                    let selection = Selection { filter, lenient: true, ..Selection::default() };
                    for record in tx.select(child, &selection).await? {
                        let id = child.id_of(&record)?;
                        if seen.insert((child.name, id.clone())) {
                            level.push((child.name, id.clone()));
                            found.push((child, id));
                        }
                    }
                }
            }
        }
    }
    found.reverse();
    Ok(found)
}

/// What a page may bring along.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// The parents of these states, and theirs, that stand behind a position of the feed, by position: each with all that
/// was written together with it. `None` where they are more than there is room for.
///
/// What stands at or before the position was sent already, or is on its way in the same page.
pub(super) async fn behind(
    tx: &mut dyn Transaction,
    models: &Models,
    states: &[State],
    through: Position,
    not_from: Option<ReplicaId>,
    room: Room,
) -> Result<Option<Vec<State>>> {
    let mut seen: HashSet<RecordName> = states.iter().map(|state| state.change.record_name()).collect();
    let mut wanted: HashSet<RecordName> = states.iter().flat_map(|state| parents_of(models, state)).collect();
    let mut early: Vec<State> = Vec::new();
    let mut bytes: usize = 0;
    loop {
        wanted.retain(|name| seen.insert(name.clone()));
        let mut later = Vec::new();
        for (schema, ids) in by_schema(models, wanted.drain()) {
            let changes = tx.changes(schema, &ids).await?.into_iter().flatten();
            later.extend(changes.filter(|change| {
                change.position > through
                    && !change.is_delete()
                    && (not_from.is_none() || change.origin != not_from)
            }));
        }
        if later.is_empty() {
            early.sort_by_key(|state| state.change.position);
            return Ok(Some(early));
        }
        let left = room.records.saturating_sub(early.len());
        let Some(together) = with_their_groups(tx, later, not_from, left).await? else {
            return Ok(None);
        };
        for (schema, ids) in by_schema(models, together.into_iter()) {
            for state in tx.states(schema, &ids).await?.into_iter().flatten() {
                // One that was found as a mate before may be wanted as a parent now.
                if early.iter().any(|other| other.change.position == state.change.position) {
                    continue;
                }
                bytes += state.size();
                seen.insert(state.change.record_name());
                wanted.extend(parents_of(models, &state));
                early.push(state);
            }
        }
        if early.len() > room.records || bytes > room.bytes {
            return Ok(None);
        }
    }
}

/// Records by their models, as those are registered; of a model that is not there is nothing to look for.
fn by_schema(
    models: &Models,
    names: impl Iterator<Item = RecordName>,
) -> Vec<(&'static ModelSchema, Vec<Id>)> {
    let mut ids: BTreeMap<&'static str, Vec<Id>> = BTreeMap::new();
    for (model, id) in names {
        ids.entry(model).or_default().push(id);
    }
    ids.into_iter().filter_map(|(name, ids)| Some((models.get(name).ok()?.schema, ids))).collect()
}

/// These records with all that was written together with each; `None` where that is more than `most`.
async fn with_their_groups(
    tx: &mut dyn Transaction,
    mut changes: Vec<Change>,
    not_from: Option<ReplicaId>,
    most: usize,
) -> Result<Option<Vec<RecordName>>> {
    changes.sort_by_key(|change| change.position);
    let mut found: Vec<RecordName> = Vec::new();
    let mut done: HashSet<Group> = HashSet::new();
    // The last part of the feed that was read: it may hold the next group too.
    let mut window: Vec<Change> = Vec::new();
    for change in changes {
        let Some(group) = change.group else {
            found.push(change.record_name());
            continue;
        };
        if !done.insert(group) {
            continue;
        }
        let is_whole = |window: &[Change]| {
            window.iter().any(|other| other.position == change.position)
                && window.first().is_some_and(|first| first.group != Some(group))
                && window.last().is_some_and(|last| last.group != Some(group))
        };
        if !is_whole(&window) {
            // A group is named by the position of its first change.
            let mut after = group.min(change.position) - 1;
            window.clear();
            loop {
                let feed = Feed { not_from, limit: WINDOW, ..Feed::after(after) };
                let read = tx.feed(&feed).await?;
                let ends =
                    read.len() < WINDOW || read.last().is_some_and(|last| last.change.group != Some(group));
                after = read.last().map_or(after, |last| last.change.position);
                window.extend(read.into_iter().map(|state| state.change));
                if ends || window.len() > most + WINDOW {
                    break;
                }
            }
        }
        let mates = window.iter().filter(|other| other.group == Some(group));
        found.extend(mates.map(Change::record_name));
        if found.len() > most {
            return Ok(None);
        }
    }
    Ok(Some(found))
}
