//! What a caller reads: pages of the feed, comparisons, records; of each as much as the caller may see.

use super::grants::Grants;
use super::outbox::whole;
use super::page::{Cut, FeedPart, cut};
use super::parts::Coverage;
use super::portions::Portions;
use super::purge::{self, Horizon};
use super::scopes;
use super::seal::Seal;
use super::view::{Left, View, Wish};
use crate::Result;
use crate::caller::{Caller, Right};
use crate::change::{Change, State};
use crate::query::{Filter, Selection};
use crate::record::Id;
use crate::replica::{Diff, Exit, FeedPage, Limits, Page, Pull, Pulled};
use crate::schema::{Model, ModelSchema, Models};
use crate::store::Transaction;
use crate::version::{Relation, ReplicaId, compare};
use std::collections::{BTreeSet, HashMap};

/// How many records are looked through at a time for those that a caller may read.
const LOOKED_THROUGH: usize = 100;

/// Who asks for a page of the feed, and for which.
pub(super) struct Asked<'a> {
    pub(super) caller: &'a Caller,
    /// Of the checkpoints that this replica gives out.
    pub(super) seal: Seal,
    /// What this peer brought does not go back to it, but where it asks for scopes by name: it may have taken away what it
    /// had of them.
    pub(super) from: Option<ReplicaId>,
    pub(super) pull: &'a Pull,
    /// Whether this peer has pushed before, so that what it pushed may be gone by now without its knowing.
    pub(super) has_pushed: bool,
    /// Since when it gets which parts.
    pub(super) grants: &'a Grants,
    /// Up to where tombstones were purged, if that was read already.
    pub(super) horizon: Option<Horizon>,
}

/// The answer to a wish for changes.
pub(super) struct Answer {
    pub(super) pulled: Pulled,
    /// Whether the peer saw more of this history than there is.
    pub(super) ahead: bool,
    /// What is to be noted of which parts it gets; `None` where that is so already.
    pub(super) grants: Option<Grants>,
}

impl Answer {
    fn of(pulled: Pulled) -> Answer {
        Answer { pulled, ahead: false, grants: None }
    }
}

/// A page of the feed for a peer.
pub(super) async fn feed_page(
    tx: &mut dyn Transaction,
    me: ReplicaId,
    models: &Models,
    limits: &Limits,
    asked: Asked<'_>,
) -> Result<Answer> {
    let Asked { caller, seal, from, pull, has_pushed, grants, horizon } = asked;
    if let Some(schema) = pull.model {
        caller.needs(Right::Read, schema.name)?;
    }
    let after = match pull.since {
        None => 0,
        Some(since) if since.replica != me => return Ok(Answer::of(Pulled::UnknownCheckpoint)),
        Some(since) if since.position > tx.newest().await? => {
            let ahead = seal.believes(caller, models, since);
            return Ok(Answer { ahead, ..Answer::of(Pulled::UnknownCheckpoint) });
        }
        Some(since) => since.position,
    };
    let horizon = match horizon {
        Some(horizon) => horizon.position,
        None => purge::horizon(tx).await?.position,
    };
    // Who asks for a scope by its name says itself whether there may be something of it: by a checkpoint at the begin.
    let first = pull.data && pull.since.is_none() && !(has_pushed && pull.scopes.is_none());
    let compares = !pull.data && pull.since.is_none();
    if !first && !compares && after < horizon && pull.horizon < horizon {
        return Ok(Answer::of(Pulled::Purged));
    }
    let wish = Wish { scopes: pull.scopes.as_ref(), through: pull.through, first };
    let view = View::of(tx, models, caller, wish).await?;
    let scopes = view.as_ref().map(|view| view.asked.names());
    let unwanted = view.as_ref().map(|view| view.unwanted.names()).unwrap_or_default();
    let cut_at = Cut {
        after,
        not_from: from.filter(|_| pull.scopes.is_none()),
        schema: pull.model,
        records: pull.limit.clamp(1, limits.page_records),
        bytes: limits.page_bytes,
        data: pull.data || !pull.only.is_empty(),
        within: None,
        room: limits.page_records,
        view,
    };
    let mut part = cut(tx, models, &cut_at).await?;
    let (mut exits, mut withheld) = (Vec::new(), false);
    let renewed = cut_at.view.as_ref().map(|view| {
        let nothing_of = if first { view.asked.names() } else { BTreeSet::new() };
        grants.renewed(&view.covered, &nothing_of, view.projected)
    });
    if let Some(view) = cut_at.view.as_ref().filter(|_| !first) {
        let grants = renewed.as_ref().unwrap_or(grants);
        let left = view.exits(tx, models, after, part.through, grants).await?;
        withheld = left.withheld;
        let Left { exits: left, deleted, end, .. } = left;
        exits.extend(left.into_iter().filter(|exit| caller.right_on(exit.schema.name) >= Right::Read));
        if end < part.through {
            // So many left at once that the rest of the page comes with the next ones, in parts if need be.
            part.states.retain(|state| state.change.position <= end);
            part = FeedPart { through: end, more: true, group_open: false, early: Vec::new(), ..part };
        }
        part.states.extend(deleted);
    }
    let checkpoint = seal.checkpoint(me, part.through);
    // What stands in the view is in a scope that may be read; parents that come along may be in any.
    let may_read = |state: &State| match &state.record {
        Some(record) => caller.right_to(state.change.schema, record) >= Right::Read,
        None => caller.right_on(state.change.schema.name) >= Right::Read,
    };
    let may_come_along = |state: &State| {
        may_read(state)
            && !state.lacks_record()
            && (state.record.is_some() || cut_at.view.is_none() || state.change.schema.scope.is_none())
    };
    let knows = |state: &State| pull.models.get(state.change.schema.name).is_ok();
    let mut updates = Vec::with_capacity(part.states.len() + part.early.len());
    let mut skipped = 0;
    // A change whose record cannot be read is no news to anybody; that it is there stands in the comparison.
    let can_go = |state: &State| may_read(state) && !(pull.data && state.lacks_record());
    for mut state in part.states.into_iter().filter(can_go) {
        if let Some(scope) = unmatched(pull, &state) {
            if !first {
                let (schema, id) = (state.change.schema, state.change.id);
                exits.push(Exit { schema, id, scope, unmatched: true });
            }
            continue;
        }
        state.record = state.record.filter(|_| pull.data);
        match knows(&state) {
            true => updates.push(whole(state)),
            false => skipped += 1,
        }
    }
    updates.extend(part.early.into_iter().filter(|state| may_come_along(state) && knows(state)).map(whole));
    let readable = models.with_right(Right::Read, caller);
    let is_covered = |model: &Model| readable.get(model.schema.name).is_ok();
    let covers = match pull.models.iter().all(|model| is_covered(&model)) {
        true => None,
        false => {
            let covered = pull.models.iter().filter(is_covered);
            Some(covered.map(|model| model.schema.name.to_owned()).collect())
        }
    };
    let page = Page { updates, group_open: part.group_open };
    let ahead = part.newest - part.through;
    let feed = FeedPage {
        page,
        checkpoint,
        more: part.more,
        ahead: ahead.max(0),
        skipped,
        covers,
        scopes,
        unwanted,
        exits,
        withheld,
        horizon,
    };
    let grants = renewed.filter(|renewed| renewed != grants);
    Ok(Answer { grants, ..Answer::of(Pulled::Page(feed)) })
}

/// The scope of a record that does not match what is asked for.
fn unmatched(pull: &Pull, state: &State) -> Option<String> {
    let schema = state.change.schema;
    let (_, filter) = pull.only.iter().find(|(only, _)| only.name == schema.name)?;
    let record = state.record.as_ref().filter(|record| !filter.matches(record))?;
    Some(schema.scope_of(record).unwrap_or_default())
}

/// Those of the states that the caller may read.
pub(super) async fn readable(
    tx: &mut dyn Transaction,
    caller: &Caller,
    states: Vec<State>,
) -> Result<Vec<State>> {
    if caller.scopes().is_none() {
        return Ok(states);
    }
    let rights = scopes::rights(tx, caller, &states).await?;
    let seen = states.into_iter().zip(rights).filter(|(_, right)| *right >= Right::Read);
    Ok(seen.map(|(state, _)| state).collect())
}

/// Those of the states that a pull by the caller covers: what it may read, and has not left out by its subscriptions.
pub(super) async fn covered(
    tx: &mut dyn Transaction,
    models: &Models,
    caller: &Caller,
    states: Vec<State>,
) -> Result<Vec<State>> {
    let states = readable(tx, caller, states).await?;
    let Some(Coverage { parts, .. }) = Coverage::of(tx, models, caller).await? else { return Ok(states) };
    let scopes = scopes::of_states(tx, &states).await?;
    let is_covered = |(state, scope): &(State, Option<String>)| {
        scope.as_ref().is_none_or(|scope| parts.hold(state.change.schema.name, scope))
    };
    Ok(states.into_iter().zip(scopes).filter(is_covered).map(|(state, _)| state).collect())
}

/// Live records that match and that the caller may read, by id.
pub(super) async fn matching(
    tx: &mut dyn Transaction,
    caller: &Caller,
    mut portions: Portions,
    schema: &'static ModelSchema,
    filter: Filter,
    mut after: Option<Id>,
    limit: usize,
) -> Result<Vec<State>> {
    let scopes = caller.scopes().filter(|_| schema.scope.is_some());
    let in_scopes = scopes.as_ref().and_then(|scopes| schema.in_scopes(scopes.iter().map(String::as_str)));
    // Where only the record as a whole tells its scope, few of many may be the caller's.
    let looks_through = scopes.is_some() && in_scopes.is_none();
    let filter = Filter::And([filter].into_iter().chain(in_scopes).collect());
    let mut found = Vec::new();
    loop {
        let behind = after.as_ref().map(|id| schema.after_id(id)).transpose()?;
        let filter = Filter::And([filter.clone()].into_iter().chain(behind).collect());
        let wanted = if looks_through { LOOKED_THROUGH } else { limit - found.len() }.min(portions.next());
        let selection =
            Selection { filter, limit: Some(wanted as u64), lenient: true, ..Selection::default() };
        let records = tx.select(schema, &selection).await?;
        let ids: Vec<Id> =
            records.iter().map(|record| schema.id_of(record)).collect::<std::result::Result<_, _>>()?;
        let mut rest = &ids[..];
        while !rest.is_empty() {
            let mut states = portions.read(tx, schema, &mut rest).await?;
            states.retain(|state| !state.lacks_record());
            let mut states = readable(tx, caller, states).await?;
            states.truncate(limit - found.len());
            portions.answer(&states)?;
            found.extend(states);
        }
        // Where only the record as a whole tells its scope, others' were among them.
        if ids.len() < wanted || found.len() >= limit {
            return Ok(found);
        }
        after = ids.last().cloned();
    }
}

/// What of these changes is lacking here, and what conflicts.
///
/// A record that a pull by the caller does not cover is lacking to it, as one is that nobody made.
pub(crate) async fn diff(
    tx: &mut dyn Transaction,
    models: &Models,
    caller: &Caller,
    changes: Vec<Change>,
) -> Result<Diff> {
    let mut here: HashMap<(&'static str, Id), Change> = HashMap::new();
    for run in changes.chunk_by(|a, b| a.schema.name == b.schema.name) {
        let ids: Vec<Id> = run.iter().map(|change| change.id.clone()).collect();
        let schema = models.get(run[0].schema.name)?.schema;
        let found: Vec<Change> = match schema.scope.is_some() && caller.scopes().is_some() {
            false => tx.changes(schema, &ids).await?.into_iter().flatten().collect(),
            true => {
                let (mut portions, mut rest, mut found) = (Portions::endless(), &ids[..], Vec::new());
                while !rest.is_empty() {
                    let states = portions.read(tx, schema, &mut rest).await?;
                    let covered = covered(tx, models, caller, states).await?;
                    found.extend(covered.into_iter().map(|state| state.change));
                }
                found
            }
        };
        let found = found.into_iter();
        here.extend(found.map(|change| (change.record_name(), change)));
    }
    let scopes = Coverage::of(tx, models, caller).await?.map(|coverage| coverage.parts.names());
    let mut diff = Diff { scopes, ..Diff::default() };
    for change in changes {
        let Some(mine) = here.get(&change.record_name()) else {
            diff.absent.push(diff.deltas.len());
            diff.deltas.push(change);
            continue;
        };
        match compare(&change.ancestry, &mine.ancestry) {
            Relation::Newer => diff.deltas.push(change),
            Relation::Concurrent if change.is_delete() && mine.is_delete() => diff.deltas.push(change),
            Relation::Concurrent => diff.conflicts.push((change, mine.clone())),
            Relation::Same | Relation::Older if mine.ancestry.join(&change.ancestry) != mine.ancestry => {
                diff.deltas.push(change);
            }
            Relation::Same | Relation::Older => {}
        }
    }
    Ok(diff)
}
