//! Making one version of two that knew nothing of each other, by the policies of their model; what no policy may
//! decide is left for the inbox.

use super::apply::{amend, fits, horizon, kept_as_base};
use super::arrival::{Arrival, Merging};
use super::inbox::{self, Matter};
use super::notes;
use super::parents::{self, Step};
use crate::Result;
use crate::change::{Change, ChangeKind, RecordName, Stamps, State};
use crate::merge::{Base as MergeBase, Combined, Decided, Side, Versions, combine};
use crate::planted::{self, Bug};
use crate::record::{Id, Record, Unknown};
use crate::schema::ModelSchema;
use crate::store::{Base, Put, Transaction};
use crate::version::{Relation, ReplicaId, Revision, Stamp, compare};
use std::collections::{BTreeMap, HashMap};

/// A record that was merged, and what policies decided of it.
#[derive(Debug, Clone)]
pub(crate) struct Rebased {
    pub(crate) schema: &'static ModelSchema,
    pub(crate) id: Id,
    pub(crate) decided: Vec<Decided>,
    /// The side that did not stand where a delete met an edit.
    pub(crate) lost: Option<State>,
}

/// What came of conflicts.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rebased: Vec<Rebased>,
    /// What is left for people.
    pub(crate) left: Vec<(&'static ModelSchema, Id, Matter)>,
}

/// Both sides of one record.
struct Meeting {
    mine: State,
    theirs: State,
    base: Option<State>,
    /// Whether one edit may stand on both sides, so that nothing can be counted from the base.
    doubtful: bool,
}

/// Merges what the peer holds with what is here. Every one of `theirs` conflicted with the record as it is here.
pub(crate) async fn rebase(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    peer: ReplicaId,
    theirs: Vec<State>,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if theirs.is_empty() {
        return Ok(outcome);
    }
    let me = tx.replica().await?;
    let mut merged = Vec::new();
    for meeting in meetings(tx, arrival, theirs).await? {
        let combined = combine(meeting.versions(upstream(arrival)));
        let refusal = match arrival.merging {
            Merging::Never => Some(None),
            Merging::By { .. } if !combined.is_settled() => Some(None),
            Merging::By { .. } => {
                let state = standing(&meeting.mine, &meeting.theirs, &combined, me, arrival.now);
                match fits(&state, arrival) {
                    Ok(()) => {
                        merged.push((meeting, combined, state));
                        continue;
                    }
                    Err(error) => Some(Some(error.to_string())),
                }
            }
        };
        if let Some(reason) = refusal {
            outcome.leave(meeting, arrival, reason, false);
        }
    }
    let merged = without_waiting(tx, arrival, merged, &mut outcome).await?;
    store(tx, arrival, peer, merged, &mut outcome).await?;
    Ok(outcome)
}

/// rule: parents first. A policy deletes no record that has a live child here.
async fn without_waiting(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    merged: Vec<(Meeting, Combined, State)>,
    outcome: &mut Outcome,
) -> Result<Vec<(Meeting, Combined, State)>> {
    if !merged.iter().any(|(meeting, _, state)| state.record.is_none() && meeting.mine.record.is_some()) {
        return Ok(merged);
    }
    let steps: Vec<Step> = merged
        .iter()
        .map(|(meeting, _, state)| Step::new(&arrival.models, Some(&meeting.mine), state))
        .collect();
    let mut waiting = parents::waiting(tx, &arrival.models, &steps.iter().collect::<Vec<_>>()).await?;
    let mut free = Vec::with_capacity(merged.len());
    for (place, (meeting, combined, state)) in merged.into_iter().enumerate() {
        match waiting.remove(&place) {
            Some(child) => {
                let reason = parents::waits_for(&state.change.name(), &child);
                outcome.leave(meeting, arrival, Some(reason), true);
            }
            None => free.push((meeting, combined, state)),
        }
    }
    Ok(free)
}

impl Outcome {
    fn leave(&mut self, meeting: Meeting, arrival: &Arrival, reason: Option<String>, waiting: bool) {
        let Meeting { mine, theirs, base, doubtful } = meeting;
        let upstream = upstream(arrival).is_some();
        self.left.push((
            mine.change.schema,
            mine.change.id,
            Matter::Conflict { theirs, base, doubtful, upstream, reason, waiting },
        ));
    }
}

/// The side that is upstream: that of the peer, where it was declared so.
fn upstream(arrival: &Arrival) -> Option<Side> {
    match arrival.merging {
        Merging::By { upstream: true } => Some(Side::Target),
        _ => None,
    }
}

/// The records in conflict as they are here now, each with the state that both sides come from.
async fn meetings(tx: &mut dyn Transaction, arrival: &Arrival, theirs: Vec<State>) -> Result<Vec<Meeting>> {
    // Of a record that came twice, the last is what the peer holds.
    let mut newest: BTreeMap<RecordName, State> = BTreeMap::new();
    let mut order = Vec::new();
    for state in theirs {
        let name = state.change.record_name();
        if newest.insert(name.clone(), state).is_none() {
            order.push(name);
        }
    }
    let mut by_model: BTreeMap<&'static str, (&'static ModelSchema, Vec<Id>)> = BTreeMap::new();
    for state in newest.values() {
        let schema = state.change.schema;
        by_model.entry(schema.name).or_insert((schema, Vec::new())).1.push(state.change.id.clone());
    }
    let mut here: HashMap<RecordName, (State, Vec<State>)> = HashMap::new();
    for (schema, ids) in by_model.into_values() {
        let kept = tx.bases(schema, &ids).await?;
        for (state, bases) in tx.states(schema, &ids).await?.into_iter().zip(kept) {
            let Some(state) = state else { continue };
            let bases = bases.into_iter().map(|base| base.state).collect();
            here.insert(state.change.record_name(), (state, bases));
        }
    }
    let parked = inbox::states_in_conflicts(tx, &arrival.models, order.iter()).await?;
    let former = notes::former(tx).await?;
    let mut meetings = Vec::new();
    for name in order {
        let (Some(theirs), Some((mine, mut bases))) = (newest.remove(&name), here.remove(&name)) else {
            continue;
        };
        if compare(&mine.change.ancestry, &theirs.change.ancestry) != Relation::Concurrent {
            continue;
        }
        bases.extend(parked.get(&name).into_iter().flatten().cloned());
        if planted::on(Bug::OneBase) {
            bases.reverse();
        }
        let base = bases.into_iter().find(|state| is_base(state, &mine, &theirs));
        let doubtful = is_of_a_former_name(&former, &mine, &theirs);
        meetings.push(Meeting { mine, theirs, base, doubtful });
    }
    Ok(meetings)
}

/// Whether the peer holds an edit that this store made under a former name and that `mine` does not descend from. It may
/// be one whose answer was lost, and which `mine` has under the new name; merged, it would count twice.
fn is_of_a_former_name(former: &[ReplicaId], mine: &State, theirs: &State) -> bool {
    let (mine, theirs) = (&mine.change.ancestry, &theirs.change.ancestry);
    let unknown = |entry: Revision| former.contains(&entry.replica) && !mine.holds(entry);
    theirs.entries().any(unknown)
}

/// rule: exact base. Whether this is the state that both come from.
pub(crate) fn is_base(base: &State, mine: &State, theirs: &State) -> bool {
    if planted::on(Bug::OneBase) {
        return true;
    }
    if planted::on(Bug::FirstBase) {
        let base = base.change.revision();
        return mine.change.ancestry.holds(base) && theirs.change.ancestry.holds(base);
    }
    base.change.ancestry.is_meet_of(&mine.change.ancestry, &theirs.change.ancestry)
}

/// The two sides with what is known of their base.
pub(crate) fn versions<'a>(
    mine: &'a State,
    theirs: &'a State,
    base: Option<&'a State>,
    upstream: Option<Side>,
) -> Versions<'a> {
    let (a, b) = (&mine.change.ancestry, &theirs.change.ancestry);
    let base = match base {
        Some(base) if is_base(base, mine, theirs) => MergeBase::Exact(base),
        _ if a.entries().any(|entry| b.seen(entry.replica).is_some()) => MergeBase::Unknown,
        _ => MergeBase::Nothing,
    };
    Versions { base, source: mine, target: theirs, upstream }
}

impl Meeting {
    fn versions(&self, upstream: Option<Side>) -> Versions<'_> {
        versions(&self.mine, &self.theirs, self.base.as_ref().filter(|_| !self.doubtful), upstream)
    }
}

/// The state that a record gets by what its policies made of the two versions.
pub(crate) fn standing(
    mine: &State,
    theirs: &State,
    combined: &Combined,
    me: ReplicaId,
    now: Stamp,
) -> State {
    let Combined { record, unknown, stamps, .. } = combined;
    let state = on_both(mine, theirs, (record.clone(), unknown.clone(), stamps.clone()), me, now);
    let (newer, older) = match mine.change.revision() > theirs.change.revision() {
        true => (mine, theirs),
        false => (theirs, mine),
    };
    if !state.same_content(newer) {
        return state;
    }
    // Nothing was written but the newer side, both only know of each other now. The older side does not stand under its
    // revision: whoever merged the two by other means to the newer one would have another state of the same ancestry, and
    // of two such nobody can say from which of them a later edit comes.
    let ancestry = newer.change.ancestry.join_into(&older.change.ancestry);
    let (stamps, group) = (state.change.stamps, mine.change.group);
    State {
        change: Change { ancestry, origin: None, stamps, group, ..newer.change.clone() },
        record: state.record,
    }
}

/// The state of two versions on which the app has ruled: a revision of its own, like that of a resolution.
pub(super) fn ruled(
    mine: &State,
    theirs: &State,
    record: Option<Record>,
    me: ReplicaId,
    now: Stamp,
) -> State {
    let unknown = mine.change.unknown.clone().or_else(|| theirs.change.unknown.clone());
    let mut state = on_both(mine, theirs, (record, unknown, None), me, now);
    state.change.stamps = resolved_stamps(&state, mine, theirs);
    // It arrives together with what it was sent with.
    state.change.group = theirs.change.group;
    state
}

/// A new revision on top of both versions.
fn on_both(
    mine: &State,
    theirs: &State,
    (record, unknown, stamps): (Option<Record>, Option<Box<Unknown>>, Option<Box<Stamps>>),
    me: ReplicaId,
    now: Stamp,
) -> State {
    let kind = match (&record, &mine.record) {
        (None, _) => ChangeKind::Delete,
        (Some(_), None) => ChangeKind::Create,
        (Some(_), Some(_)) => ChangeKind::Update,
    };
    let change = Change {
        kind,
        ancestry: mine.change.ancestry.above(&theirs.change.ancestry, now, me),
        merged: Some(merged_pair(mine.change.revision(), theirs.change.revision())),
        previous: Some(mine.change.revision()),
        origin: None,
        unknown: unknown.filter(|_| record.is_some()),
        stamps: stamps.filter(|_| record.is_some()),
        ..mine.change.clone()
    };
    State { change, record }
}

/// The two revisions of a merge, in an order that does not depend on who merges.
pub(crate) fn merged_pair(a: Revision, b: Revision) -> (Revision, Revision) {
    (a.min(b), a.max(b))
}

/// Puts the merged states into the store, with the states before as bases.
async fn store(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    peer: ReplicaId,
    merged: Vec<(Meeting, Combined, State)>,
    outcome: &mut Outcome,
) -> Result<()> {
    if merged.is_empty() {
        return Ok(());
    }
    let horizon = horizon(tx).await?;
    let mut until = tx.newest().await?;
    let mut bases = Vec::with_capacity(merged.len() * 2);
    let mut states = Vec::with_capacity(merged.len());
    let mut met = Vec::with_capacity(merged.len());
    for (meeting, combined, state) in merged {
        until += 1;
        // What is overwritten here may be in a page that was sent and not answered.
        if kept_as_base(&meeting.mine.change, horizon) {
            bases.push(Base { state: meeting.mine.clone(), until });
        }
        bases.push(Base { state: common(&meeting.theirs, peer), until });
        states.push(state);
        met.push((meeting, combined));
    }
    tx.add_bases(bases).await?;
    let results = tx.put(&states, arrival.now).await?;
    for (((meeting, combined), state), result) in met.into_iter().zip(states).zip(results) {
        let refused = match result {
            Put::Stored => None,
            Put::Differs(record) => amend(tx, arrival, &state, record).await?.err(),
            Put::Refused(reason) => Some(reason),
        };
        if let Some(reason) = refused {
            outcome.leave(meeting, arrival, Some(reason), false);
            continue;
        }
        let lost = match (&meeting.mine.record, &meeting.theirs.record, &state.record) {
            (Some(_), None, None) => Some(meeting.mine),
            (None, Some(_), None) => Some(meeting.theirs),
            _ => None,
        };
        let (schema, id) = (state.change.schema, state.change.id);
        outcome.rebased.push(Rebased { schema, id, decided: combined.decided, lost });
    }
    Ok(())
}

/// After a rebase, the other side's state is what both have in common. It never stood here, so it has no position.
pub(crate) fn common(theirs: &State, peer: ReplicaId) -> State {
    let mut common = theirs.clone();
    common.change.origin = Some(peer);
    common.change.position = 0;
    common
}

/// When the fields of a resolved record were written: where it has a side's value, when that side wrote it.
pub(crate) fn resolved_stamps(resolved: &State, mine: &State, theirs: &State) -> Option<Box<Stamps>> {
    let record = resolved.record.as_ref()?;
    let schema = resolved.change.schema;
    let mut stamps = Stamps::new();
    for (place, field) in schema.replicated() {
        if !matches!(field.merge, crate::Merge::LastWrite) {
            continue;
        }
        let same =
            |side: &State| side.record.as_ref().is_some_and(|side| side.get(place) == record.get(place));
        let of = |side: &State| same(side).then(|| side.change.stamp_of(field.name));
        if let Some(stamp) = of(mine).max(of(theirs)) {
            stamps.insert(field.name.to_owned(), stamp);
        }
    }
    (!stamps.is_empty()).then(|| Box::new(stamps))
}
