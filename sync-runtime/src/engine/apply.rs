//! Taking updates into the store: compares every revision again inside the transaction, and gives one outcome
//! for each. The same for the target of a push and for a pull.

use super::admission::Authors;
use super::adopt::adopted;
use super::arrival::Arrival;
use super::decide::{Verdict, decide};
use super::notes;
use super::outbox::whole;
use super::parents::{self, Step};
use super::{rebase, unread};
use crate::caller::Right;
use crate::change::{Change, ChangeKind, Group, Stamps, State};
use crate::incoming::Ruled;
use crate::merge::Merge;
use crate::planted::{self, Bug};
use crate::record::{Id, Record};
use crate::replica::{Outcome, Rejection, Update};
use crate::schema::ModelSchema;
use crate::store::{Base, Put, Transaction};
use crate::version::{Ancestry, Position, Relation, ReplicaId, Revision, Stamp, compare};
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// How often a database may store something else than it was given before the record is refused.
const AMENDMENTS: usize = 3;

/// What came of updates.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// One for each update.
    pub(crate) outcomes: Vec<Outcome>,
    /// The updates that were not taken because of a conflict or a refusal, with their places.
    pub(crate) left: Vec<(usize, Update)>,
    /// Why those of them wait that delete a record which has a live child here; their outcomes are conflicts.
    pub(crate) waiting: HashMap<usize, String>,
    /// Whether something was stored that the one who brought it does not hold exactly so.
    pub(crate) news: bool,
}

impl Applied {
    /// The update at this place is refused.
    fn refuse(&mut self, place: usize, update: Update, rejection: Rejection) {
        self.outcomes[place] = Outcome::Rejected(rejection);
        self.left.push((place, update));
    }
}

/// A state on its way into the store, for the update at this place.
struct Pending {
    place: usize,
    state: State,
    /// The update as it came, where the state is not just that.
    update: Option<Update>,
    /// Whether the state is a revision of its own, which the one who brought the update does not have.
    ruled: bool,
    /// What it does to the family of the record, where models have families.
    step: Option<Step>,
}

impl Pending {
    /// Something else is to be stored, on top of what came.
    fn rule(&mut self, record: Option<Record>, me: ReplicaId, now: Stamp) {
        let ruled = on_top(&self.state, record, me, now);
        if !ruled.same_content(&self.state) {
            self.replace(ruled);
        }
    }

    /// The same is to be stored as a revision of its own: what came may be older than a tombstone that is forgotten here and
    /// remembered elsewhere, where it would be passed over.
    fn renew(&mut self, me: ReplicaId, now: Stamp) {
        self.replace(on_top(&self.state, self.state.record.clone(), me, now));
    }

    fn replace(&mut self, ruled: State) {
        let mut sent = std::mem::replace(&mut self.state, ruled);
        sent.change.origin = None;
        self.update.get_or_insert_with(|| whole(sent));
        self.ruled = true;
    }

    /// The update as it came. Who brought it is of this store.
    fn into_update(mut self) -> Update {
        self.state.change.origin = None;
        self.update.unwrap_or_else(|| whole(self.state))
    }
}

/// Applies updates in order. Nothing is refused as a whole: each update has an outcome of its own.
pub(crate) async fn apply(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    updates: Vec<Update>,
) -> Result<Applied> {
    // Asked for once something is overwritten.
    let mut until: Option<Option<Position>> = None;
    let families = parents::are_known(&arrival.models);
    let mut applied = Applied::default();
    applied.outcomes.resize_with(updates.len(), || Outcome::Known);
    let mut refused: Vec<(Pending, String)> = Vec::new();
    let mut rest: VecDeque<(usize, Update)> = VecDeque::with_capacity(updates.len());
    let mut authors = Authors::default();
    for (place, update) in updates.into_iter().enumerate() {
        let allowed = arrival.pushed_by.as_ref().map(|pusher| pusher.may_write(update.state.change.schema));
        match allowed.unwrap_or(Ok(())).and_then(|()| adopted(&arrival.models, &update)) {
            Ok(changed) => rest.push_back((place, changed.unwrap_or(update))),
            Err(error) => applied.refuse(place, update, rejection(&error)),
        }
    }
    while !rest.is_empty() {
        let length = batch_length(&rest);
        let batch: Vec<(usize, Update)> = rest.drain(..length).collect();
        let changes = batch.iter().map(|(_, update)| &update.state.change);
        let mut current = current_states(tx, arrival, changes).await?.ok_or_else(|| too_much(arrival))?;
        let lacking = current.values().flat_map(HashMap::values).filter(|here| here.lacks_record());
        let mut unreadable = unread::refusals(tx, lacking.map(|here| &here.change)).await?;
        if until.is_none() && current.values().any(|states| !states.is_empty()) {
            until = Some(horizon(tx).await?);
        }
        let mut pending = Vec::with_capacity(batch.len());
        let mut decided = Vec::with_capacity(batch.len());
        for (place, update) in batch {
            let change = &update.state.change;
            let here = current.get_mut(change.schema.name).and_then(|states| states.remove(&change.id));
            let verdict = match decide(&update, here.as_ref()) {
                // The app rules on whole records.
                Verdict::Conflict if update.based_on.is_some() && arrival.rules_on(change.schema) => {
                    Verdict::NeedWhole
                }
                Verdict::Known if planted::on(Bug::NoDedupe) => Verdict::Take(change.ancestry.clone()),
                Verdict::Conflict if planted::on(Bug::PullOverwrites) => {
                    Verdict::Take(change.ancestry.clone())
                }
                verdict => verdict,
            };
            decided.push((place, update, here, verdict));
        }
        // What was written together waits for the one that is needed whole.
        let torn = decided.iter().filter(|(_, _, _, verdict)| *verdict == Verdict::NeedWhole);
        let torn: HashSet<Group> = torn.filter_map(|(_, update, _, _)| update.state.change.group).collect();
        for (place, update, here, verdict) in decided {
            if let Some(pusher) = &arrival.pushed_by {
                let right = match &here {
                    Some(here) => authors.right_here(tx, pusher, here).await?,
                    None => Right::Replicate,
                };
                // Whether an update is known says what came last: of a record that is hidden, that is for nobody.
                let hidden = here.as_ref().filter(|_| right < Right::Read);
                let checked = match hidden {
                    Some(here) if authors.has_come(tx, pusher, &update, here).await? => continue,
                    _ if hidden.is_none() && verdict == Verdict::Known => continue,
                    _ if right < Right::Write => Err(pusher.out_of_scope(&update.state.change)),
                    _ => authors.check(tx, pusher, &update, here.as_ref(), arrival.latest()).await?,
                };
                if let Err(refused) = checked {
                    applied.refuse(place, update, refused);
                    continue;
                }
            }
            // What nobody can read here, nobody may overwrite unseen.
            if let Some(refused) = unreadable.remove(&update.state.change.record_name())
                && verdict != Verdict::Known
            {
                applied.refuse(place, update, refused);
                continue;
            }
            let waits = update.state.change.group.is_some_and(|group| torn.contains(&group));
            let verdict = if waits && verdict != Verdict::Known { Verdict::NeedWhole } else { verdict };
            let taken = match (verdict, &here) {
                (Verdict::Known, _) => continue,
                (_, None) if arrival.unseen && arrival.may_be_gone(&update.state.change) => {
                    let reason = format!(
                        "{} may have been deleted here so long ago that nobody remembers it",
                        update.state.change.name()
                    );
                    let code = ErrorKind::Gone.code().to_owned();
                    applied.refuse(place, update, Rejection { code, reason });
                    continue;
                }
                _ if !update.state.change.ancestry.is_sound() => {
                    let reason = format!("the ancestry of {} cannot be true", update.state.change.name());
                    let code = ErrorKind::Protocol.code().to_owned();
                    applied.refuse(place, update, Rejection { code, reason });
                    continue;
                }
                (Verdict::NeedWhole, _) => {
                    applied.outcomes[place] = Outcome::NeedWhole;
                    continue;
                }
                (Verdict::Conflict, Some(here)) => match arrival.settle(here, &update.state) {
                    Ruled::Pass => {
                        applied.outcomes[place] = Outcome::Conflict(Box::new(here.clone()));
                        applied.left.push((place, update));
                        continue;
                    }
                    Ruled::Reject(rejection) => {
                        applied.refuse(place, update, rejection);
                        continue;
                    }
                    Ruled::Store(record) => {
                        let state =
                            rebase::ruled(here, &update.state, record, tx.replica().await?, arrival.now);
                        Pending { place, state, update: Some(update), ruled: true, step: None }
                    }
                },
                (Verdict::Join(ancestry), Some(here)) => {
                    let state = joined(here, &update, ancestry, arrival);
                    let checked = arrival.pushed_by.as_ref().map(|pusher| pusher.check(Some(here), &state));
                    if let Some(Err(refused)) = checked {
                        applied.refuse(place, update, refused);
                        continue;
                    }
                    Pending { place, state, update: Some(update), ruled: false, step: None }
                }
                (Verdict::Take(ancestry), here) => {
                    let mut pending = taken(place, update, here.as_ref(), ancestry, arrival);
                    if let Err(error) = fits(&pending.state, arrival) {
                        applied.refuse(place, pending.into_update(), rejection(&error));
                        continue;
                    }
                    match arrival.admit(here.as_ref(), &pending.state) {
                        Ruled::Pass => {}
                        Ruled::Reject(rejection) => {
                            applied.refuse(place, pending.into_update(), rejection);
                            continue;
                        }
                        Ruled::Store(record) => pending.rule(record, tx.replica().await?, arrival.now),
                    }
                    if here.is_none() && !pending.ruled && arrival.may_be_gone(&pending.state.change) {
                        pending.renew(tx.replica().await?, arrival.now);
                    }
                    pending
                }
                (Verdict::Conflict | Verdict::Join(_), None) => {
                    return Err(Error::new(ErrorKind::Usage, "a decision against a state that is not there"));
                }
            };
            let step = families.then(|| Step::new(&arrival.models, here.as_ref(), &taken.state));
            let base = here.filter(|here| kept_as_base(&here.change, until.flatten()));
            pending.push((Pending { step, ..taken }, base));
        }
        let mut bases = Vec::new();
        let mut next = tx.newest().await?;
        let pending = in_order(pending).into_iter().map(|(pending, base)| {
            next += 1;
            bases.extend(base.map(|state| Base { state, until: next }));
            pending
        });
        let pending = pending.collect();
        if !bases.is_empty() {
            tx.add_bases(bases).await?;
        }
        refused.extend(put(tx, arrival, pending, &mut applied).await?);
        refused = again(tx, arrival, refused, &mut applied).await?;
    }
    for (pending, reason) in refused {
        if let Some(here) = deleted_by(tx, &pending).await? {
            applied.outcomes[pending.place] = Outcome::Conflict(Box::new(here));
            applied.waiting.insert(pending.place, reason);
            applied.left.push((pending.place, pending.into_update()));
            continue;
        }
        let code = ErrorKind::Constraint.code().to_owned();
        applied.refuse(pending.place, pending.into_update(), Rejection { code, reason });
    }
    Ok(applied)
}

/// rule: parents first. The states in the order in which they are put, each with what it overwrites.
fn in_order(mut pending: Vec<(Pending, Option<State>)>) -> Vec<(Pending, Option<State>)> {
    let steps: Vec<Step> = pending.iter_mut().filter_map(|(pending, _)| pending.step.take()).collect();
    if steps.len() < pending.len() {
        return pending;
    }
    let order = parents::order(&steps);
    let mut slots: Vec<_> = pending
        .into_iter()
        .zip(steps)
        .map(|((pending, base), step)| Some((Pending { step: Some(step), ..pending }, base)))
        .collect();
    order.into_iter().filter_map(|place| slots[place].take()).collect()
}

/// What a refused tombstone would have deleted; a parent whose live child a constraint protects.
async fn deleted_by(tx: &mut dyn Transaction, pending: &Pending) -> Result<Option<State>> {
    if pending.state.record.is_some() || pending.ruled {
        return Ok(None);
    }
    let change = &pending.state.change;
    let here = tx.states(change.schema, std::slice::from_ref(&change.id)).await?.pop().flatten();
    Ok(here.filter(|here| here.record.is_some()))
}

/// How many updates are decided at once. A record that comes twice is decided the second time by what the first one
/// left; it waits with all that was written together with it.
fn batch_length(updates: &VecDeque<(usize, Update)>) -> usize {
    let mut seen = HashSet::new();
    let mut group: Option<(Group, usize)> = None;
    for (place, (_, update)) in updates.iter().enumerate() {
        let change = &update.state.change;
        group = change.group.map(|this| match group {
            Some((before, begin)) if before == this => (this, begin),
            _ => (this, place),
        });
        if !seen.insert((change.schema.name, &change.id)) {
            let begin = group.map_or(place, |(_, begin)| begin);
            return if begin == 0 { place } else { begin };
        }
    }
    updates.len()
}

/// The position through which peers may hold states of this replica; `None` if it never pushed.
pub(crate) async fn horizon(tx: &mut dyn Transaction) -> Result<Option<Position>> {
    Ok(notes::peers(tx).await?.iter().map(|(_, peer)| peer.seen()).max())
}

/// Whether a peer may hold this state, so that it is kept as base when it is overwritten.
pub(crate) fn kept_as_base(change: &Change, horizon: Option<Position>) -> bool {
    horizon.is_some_and(|through| change.position <= through || change.origin.is_some())
}

/// An error as the reason why a record was refused.
pub(crate) fn rejection(error: &Error) -> Rejection {
    Rejection { code: error.kind().code().to_owned(), reason: error.to_string() }
}

type ByModel = BTreeMap<&'static str, HashMap<Id, State>>;

/// What is here of the records of these changes; `None` where that is more than there is room for.
async fn current_states(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    changes: impl Iterator<Item = &Change>,
) -> Result<Option<ByModel>> {
    let mut wanted: BTreeMap<&'static str, (&'static ModelSchema, Vec<Id>)> = BTreeMap::new();
    for change in changes {
        wanted.entry(change.schema.name).or_insert((change.schema, Vec::new())).1.push(change.id.clone());
    }
    let mut room = arrival.room();
    let mut found = ByModel::new();
    for (name, (schema, ids)) in wanted {
        let states = match &mut room {
            None => tx.states(schema, &ids).await?,
            Some(room) => {
                let Some(states) = tx.states_within(schema, &ids, *room).await? else { return Ok(None) };
                *room = room.saturating_sub(states.iter().flatten().map(State::size).sum());
                states
            }
        };
        let states = states.into_iter().flatten();
        found.insert(name, states.map(|state| (state.change.id.clone(), state)).collect());
    }
    Ok(Some(found))
}

/// Whether more stands here in the place of these updates than there is room for.
pub(super) async fn meets_too_much(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    updates: &[Update],
) -> Result<bool> {
    let changes = updates.iter().map(|update| &update.state.change);
    Ok(current_states(tx, arrival, changes).await?.is_none())
}

fn too_much(arrival: &Arrival) -> Error {
    let message = format!(
        "the records that these updates change have more than {} bytes, which is all that one transaction may have; send \
         fewer at once",
        arrival.limits.transaction_bytes
    );
    Error::new(ErrorKind::TooLarge, message)
}

/// The state after the ancestries were joined; the content stands.
fn joined(here: &State, update: &Update, ancestry: Ancestry, arrival: &Arrival) -> State {
    let origin = arrival.from.filter(|_| ancestry == update.state.change.ancestry);
    let merged = match ancestry.current == here.change.revision() {
        true => here.change.merged,
        false => update.state.change.merged,
    };
    let group = update.state.change.group;
    // A state that is older than what is here says nothing new of it.
    let stamps = match compare(&update.state.change.ancestry, &here.change.ancestry) {
        Relation::Older => here.change.stamps.clone(),
        _ => later_stamps(&here.change, &update.state.change, ancestry.current),
    };
    let change = Change { ancestry, origin, merged, group, stamps, ..here.change.clone() };
    State { change, record: here.record.clone() }
}

/// The later stamp of each field that has one of its own on a side, where this revision stands for both.
fn later_stamps(a: &Change, b: &Change, standing: Revision) -> Option<Box<Stamps>> {
    // A field that is not named was written with its record; the older revision does not say so for the newer one.
    let named = |change: &Change| match change.revision() > standing && !change.is_delete() {
        true => change.stamps_after(|_| true),
        false => change.stamps.clone(),
    };
    let (mine, theirs) = (named(a), named(b));
    if mine == theirs {
        return mine;
    }
    let names = mine.iter().chain(&theirs).flat_map(|stamps| stamps.keys());
    Some(Box::new(names.map(|name| (name.clone(), a.stamp_of(name).max(b.stamp_of(name)))).collect()))
}

/// What was joined here with what the update comes from may have written a field later, to the value that it has.
fn keep_later_stamps(change: &mut Change, record: Option<&Record>, here: &State) {
    let (Some(record), Some(mine)) = (record, here.record.as_ref()) else { return };
    for (place, field) in change.schema.replicated() {
        let later = here.change.stamp_of(field.name);
        if matches!(field.merge, Merge::LastWrite)
            && record.get(place) == mine.get(place)
            && later > change.stamp_of(field.name)
        {
            change.stamps.get_or_insert_default().insert(field.name.to_owned(), later);
        }
    }
}

/// No field was written after the record was: a peer's word is bounded by its own ancestry.
fn bounded(stamps: &mut Option<Box<Stamps>>, ancestry: &Ancestry) {
    let newest = ancestry.newest();
    for stamp in stamps.iter_mut().flat_map(|stamps| stamps.values_mut()) {
        *stamp = (*stamp).min(newest);
    }
}

/// The state after the update was taken.
fn taken(
    place: usize,
    mut update: Update,
    here: Option<&State>,
    ancestry: Ancestry,
    arrival: &Arrival,
) -> Pending {
    let schema = update.state.change.schema;
    let origin = arrival.from.filter(|_| ancestry == update.state.change.ancestry);
    bounded(&mut update.state.change.stamps, &ancestry);
    // Most of a first pull: what comes is the whole record, and nothing is here. It is not worth a copy.
    let as_it_came = here.is_none()
        && update.based_on.is_none()
        && match &update.state.record {
            Some(record) => record.is_all_that_travels(schema),
            None => update.state.change.unknown.is_none(),
        };
    if as_it_came {
        let mut state = update.state;
        state.change.ancestry = ancestry;
        state.change.origin = origin;
        return Pending { place, state, update: None, ruled: false, step: None };
    }
    let mut change = Change { ancestry, origin, ..update.state.change.clone() };
    let record = update.state.record.as_ref().map(|data| {
        let mut record = match here.and_then(|here| here.record.as_ref()) {
            // A field that an older peer does not know keeps its value here.
            Some(mine) => mine.clone(),
            None => Record::absent(schema),
        };
        record.lay_over(data);
        record.fill_missing(schema);
        record.without_local(schema)
    });
    if update.based_on.is_some()
        && let Some(unknown) = here.and_then(|here| here.change.unknown.as_deref())
    {
        let fields = change.unknown.get_or_insert_default();
        for (name, value) in unknown {
            fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    if record.is_none() {
        change.unknown = None;
    }
    if let Some(here) = here.filter(|_| change.ancestry != update.state.change.ancestry) {
        keep_later_stamps(&mut change, record.as_ref(), here);
    }
    Pending { place, state: State { change, record }, update: Some(update), ruled: false, step: None }
}

/// Whether a state that came is one that may stand here.
pub(crate) fn fits(state: &State, arrival: &Arrival) -> Result<()> {
    let State { change, record } = state;
    let Some(record) = record else {
        if !change.is_delete() {
            let message = format!("the update of {} has no record", change.name());
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        return Ok(());
    };
    arrival.limits.check(change.schema, &change.id, record, change.unknown_size())?;
    let model = arrival.models.get(change.schema.name)?;
    (model.check)(record).map_err(|error| error.context(change.name()))?;
    if change.schema.id_of(record)? != change.id {
        let message = format!("the record of {} has another id", change.name());
        return Err(Error::new(ErrorKind::InvalidValue, message));
    }
    Ok(())
}

/// Puts states into the store; gives back those that a constraint refuses, and the tombstones that wait.
async fn put(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    pending: Vec<Pending>,
    applied: &mut Applied,
) -> Result<Vec<(Pending, String)>> {
    let (pending, mut refused) = without_waiting(tx, arrival, pending).await?;
    if pending.is_empty() {
        return Ok(refused);
    }
    let (states, rest): (Vec<_>, Vec<_>) = pending
        .into_iter()
        .map(|pending| (pending.state, (pending.place, pending.update, pending.ruled, pending.step)))
        .unzip();
    let results = tx.put(&states, arrival.now).await?;
    for ((state, (place, update, ruled, step)), result) in states.into_iter().zip(rest).zip(results) {
        let reason = match result {
            Put::Stored => {
                applied.news |= state.change.origin.is_none();
                applied.outcomes[place] = match ruled {
                    true => Outcome::Amended(Box::new(state)),
                    false => Outcome::Applied,
                };
                continue;
            }
            Put::Refused(reason) => reason,
            Put::Differs(record) => match amend(tx, arrival, &state, record).await? {
                Ok(state) => {
                    applied.news = true;
                    applied.outcomes[place] = Outcome::Amended(Box::new(state));
                    continue;
                }
                Err(reason) => reason,
            },
        };
        refused.push((Pending { place, state, update, ruled, step }, reason));
    }
    Ok(refused)
}

/// rule: parents first. Takes out the tombstones of records that have a live child here, which no constraint may be
/// there to protect; a cascade would even take the child along, with edits that nobody has seen.
async fn without_waiting(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    pending: Vec<Pending>,
) -> Result<(Vec<Pending>, Vec<(Pending, String)>)> {
    let steps: Vec<&Step> = pending.iter().filter_map(|pending| pending.step.as_ref()).collect();
    let mut waiting = match steps.len() == pending.len() {
        true => parents::waiting(tx, &arrival.models, &steps).await?,
        false => HashMap::new(),
    };
    let (mut free, mut wait) = (Vec::with_capacity(pending.len()), Vec::new());
    for (place, pending) in pending.into_iter().enumerate() {
        match waiting.remove(&place) {
            Some(child) => {
                let reason = parents::waits_for(&pending.state.change.name(), &child);
                wait.push((pending, reason));
            }
            None => free.push(pending),
        }
    }
    Ok((free, wait))
}

/// rule: one revision, one content. What the database made of a record is a revision of its own, on top of the
/// one that was sent.
pub(crate) async fn amend(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    sent: &State,
    mut record: Record,
) -> Result<Result<State, String>> {
    let me = tx.replica().await?;
    for _ in 0..AMENDMENTS {
        let mut state = on_top(sent, Some(record), me, arrival.now);
        state.change.group = Some(Group::MIN);
        match tx.put(std::slice::from_ref(&state), arrival.now).await?.pop() {
            Some(Put::Differs(other)) => record = other,
            Some(Put::Refused(reason)) => return Ok(Err(reason)),
            Some(Put::Stored) | None => return Ok(Ok(state)),
        }
    }
    Ok(Err(format!("the database changes {} anew with every write", sent.change.name())))
}

/// A revision of this replica on top of one that was sent, with this content.
pub(super) fn on_top(sent: &State, record: Option<Record>, me: ReplicaId, now: Stamp) -> State {
    let stamps = match (&sent.record, &record) {
        (Some(sent_record), Some(record)) => {
            sent.change.stamps_after(|place| sent_record.get(place) == record.get(place))
        }
        _ => None,
    };
    let change = Change {
        kind: if record.is_some() { sent.change.kind } else { ChangeKind::Delete },
        ancestry: sent.change.ancestry.next(now, me),
        previous: Some(sent.change.revision()),
        merged: None,
        origin: None,
        unknown: sent.change.unknown.clone().filter(|_| record.is_some()),
        stamps,
        ..sent.change.clone()
    };
    let kind = match change.kind {
        ChangeKind::Delete if record.is_some() => ChangeKind::Create,
        kind => kind,
    };
    State { change: Change { kind, ..change }, record }
}

/// rule: parents first. What a constraint refused is tried again, for as long as that helps: its parent may have
/// stood later in the page.
async fn again(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    mut refused: Vec<(Pending, String)>,
    applied: &mut Applied,
) -> Result<Vec<(Pending, String)>> {
    loop {
        let before = refused.len();
        if before == 0 {
            return Ok(refused);
        }
        let pending = refused.into_iter().map(|(pending, _)| pending).collect();
        refused = put(tx, arrival, pending, applied).await?;
        if refused.len() == before {
            return Ok(refused);
        }
    }
}
